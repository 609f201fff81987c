//! What is known before anything is booted: which files commits touch, and which
//! kernels are the same.

use super::dag::Dag;
use super::posterior::sane;

/// What a commit changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Touch {
    /// Files that the suite names as its subject.
    SuitePaths,
    /// Other files that the built kernels contain, or it is not known which they contain.
    Elsewhere,
    /// No file that is in the built kernels.
    NotInKernel,
}

impl Touch {
    /// Weight as a suspect, by judgement: never zero, for lists of files are made by
    /// people and build systems.
    fn weight(self) -> f64 {
        match self {
            Self::SuitePaths => 10.0,
            Self::Elsewhere => 1.0,
            Self::NotInKernel => 0.01,
        }
    }
}

/// Weights of the commits, which sum to 1. Commits beyond the end of `touches` count as
/// touching something elsewhere.
///
/// `same_image` are pairs with the same image, to the bit (none is the good
/// endpoint): a commit that one of the two contains and the other does not
/// changed nothing and weighs nothing. A pair that would leave no suspect at all
/// is passed over.
#[must_use]
pub fn prior(touches: &[Touch], same_image: &[(Option<usize>, Option<usize>)], dag: &Dag) -> Vec<f64> {
    let mut weights: Vec<f64> = (0..dag.len())
        .map(|commit| touches.get(commit).copied().unwrap_or(Touch::Elsewhere).weight())
        .collect();
    let has =
        |kernel: Option<usize>, suspect: usize| kernel.is_some_and(|commit| dag.contains(commit, suspect));
    for &(one, other) in same_image {
        let acquitted = |suspect: usize| has(one, suspect) != has(other, suspect);
        if (0..dag.len()).any(|suspect| weights[suspect] > 0.0 && !acquitted(suspect)) {
            for (suspect, weight) in weights.iter_mut().enumerate() {
                if acquitted(suspect) {
                    *weight = 0.0;
                }
            }
        }
    }
    sane(&weights, dag.len())
}

#[cfg(test)]
mod tests {
    use super::super::simulation::line;
    use super::*;

    #[test]
    fn files_make_suspects_and_never_acquit_altogether() {
        let touches = [Touch::SuitePaths, Touch::Elsewhere, Touch::NotInKernel];
        let weights = prior(&touches, &[], &line(4));
        let expected = [10.0, 1.0, 0.01, 1.0].map(|weight| weight / 12.01);
        for (ours, expected) in weights.iter().zip(expected) {
            assert!((ours - expected).abs() < 1e-12, "{weights:?}");
        }
    }

    #[test]
    fn between_two_kernels_that_are_the_same_nobody_changed_anything() {
        let weights = prior(&[], &[(Some(1), Some(3)), (None, Some(0))], &line(5));
        assert_eq!(weights, [0.0, 0.5, 0.0, 0.0, 0.5]);
    }

    #[test]
    fn the_same_kernels_at_both_ends_acquit_nobody() {
        assert_eq!(
            prior(&[], &[(None, Some(3)), (Some(0), Some(1))], &line(4)),
            [1.0, 0.0, 1.0, 1.0].map(|w: f64| w / 3.0)
        );
    }

    #[test]
    fn branches_with_the_same_kernel_acquit_both() {
        let dag = Dag::new(vec![vec![], vec![0], vec![0], vec![1, 2]]).expect("a range");
        assert_eq!(prior(&[], &[(Some(1), Some(2))], &dag), [0.5, 0.0, 0.0, 0.5]);
    }
}
