//! What a measurement can tell: the mutual information of who is guilty and the
//! number that will be measured, in nats.

use std::f64::consts::{LN_2, PI};

/// Points over which a density is summed. The trapezoidal rule over a sum of normal
/// densities is exact but for rounding once its step is below their width.
const POINTS: u32 = 64;

/// The sum goes so many standard deviations beyond the outermost means.
const REACH: f64 = 4.0;

/// Density of a normal number with the expectation and variance of one of the answers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Normal {
    /// Probability of the answer.
    pub(super) share: f64,
    pub(super) mean: f64,
    pub(super) variance: f64,
}

/// Of a number that is normal under each answer.
pub(super) fn of_normals(answers: &[Normal]) -> f64 {
    let answers: Vec<&Normal> = answers.iter().filter(|answer| answer.share > 0.0).collect();
    let ends = |sign: f64| answers.iter().map(move |a| sign * a.mean + REACH * a.variance.sqrt());
    let highest = ends(1.0).fold(f64::NEG_INFINITY, f64::max);
    let lowest = -ends(-1.0).fold(f64::NEG_INFINITY, f64::max);
    let step = (highest - lowest) / f64::from(POINTS);
    if answers.len() < 2 || !step.is_finite() || step <= 0.0 {
        return 0.0;
    }
    let mut entropy = 0.0;
    for point in 0..=POINTS {
        let x = lowest + step * f64::from(point);
        let density: f64 = answers
            .iter()
            .map(|a| {
                a.share * (-(x - a.mean).powi(2) / (2.0 * a.variance)).exp() / (2.0 * PI * a.variance).sqrt()
            })
            .sum();
        entropy -= step * plogp(density);
    }
    let of_each: f64 = answers.iter().map(|a| a.share * 0.5 * (LN_2 + PI.ln() + 1.0 + a.variance.ln())).sum();
    (entropy - of_each).max(0.0)
}

/// Of an outcome out of a few: for each answer its probability and those of the outcomes.
pub(super) fn of_outcomes(answers: &[(f64, &[f64])]) -> f64 {
    let Some(outcomes) = answers.iter().map(|(_, outcomes)| outcomes.len()).min() else { return 0.0 };
    let mixed = |outcome: usize| answers.iter().map(|(share, outcomes)| share * outcomes[outcome]).sum();
    let entropy: f64 = (0..outcomes).map(|outcome| -plogp(mixed(outcome))).sum();
    let of_each: f64 = answers
        .iter()
        .map(|(share, outcomes)| -share * outcomes.iter().copied().map(plogp).sum::<f64>())
        .sum();
    (entropy - of_each).max(0.0)
}

fn plogp(p: f64) -> f64 {
    if p > 0.0 { p * p.ln() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn two(new: f64, distance: f64) -> f64 {
        of_normals(&[
            Normal { share: 1.0 - new, mean: 0.0, variance: 1.0 },
            Normal { share: new, mean: distance, variance: 1.0 },
        ])
    }

    #[test]
    fn a_certain_answer_to_an_even_question_is_one_bit() {
        assert!((two(0.5, 12.0) - LN_2).abs() < 1e-3);
        assert!((of_outcomes(&[(0.5, &[1.0, 0.0]), (0.5, &[0.0, 1.0])]) - LN_2).abs() < 1e-12);
    }

    #[test]
    fn a_small_difference_tells_by_its_square() {
        // q (1 - q) d^2 / 2, the first term of the series.
        assert!(
            (two(0.3, 0.2) / (0.3 * 0.7 * 0.2_f64.powi(2) / 2.0) - 1.0).abs() < 0.15,
            "{}",
            two(0.3, 0.2)
        );
    }

    #[test]
    fn a_difference_of_two_is_that_of_the_binary_gaussian_channel() {
        // Capacity of BPSK at 0 dB as textbooks table it: 0.486 bits.
        assert!((two(0.5, 2.0) / LN_2 - 0.486).abs() < 1e-3, "{}", two(0.5, 2.0) / LN_2);
    }

    #[test]
    fn what_is_known_cannot_be_told() {
        assert!(two(0.0, 3.0) < 1e-9 && two(1.0, 3.0) < 1e-9 && two(0.5, 0.0) < 1e-3);
        assert!(of_outcomes(&[(0.4, &[0.3, 0.7]), (0.6, &[0.3, 0.7])]) < 1e-12);
        assert_eq!((of_normals(&[]), of_outcomes(&[])), (0.0, 0.0));
    }

    proptest! {
        #[test]
        fn nothing_tells_more_than_there_is_to_know(
            new in 0.0..=1.0_f64, distance in 0.0..50.0_f64, rate in 0.0..=1.0_f64, other in 0.0..=1.0_f64,
        ) {
            let unknown = -plogp(new) - plogp(1.0 - new);
            prop_assert!((0.0..=unknown + 2e-3).contains(&two(new, distance)));
            let told = of_outcomes(&[(1.0 - new, &[rate, 1.0 - rate]), (new, &[other, 1.0 - other])]);
            prop_assert!((0.0..=unknown + 1e-9).contains(&told));
        }
    }
}
