//! Bisection without noise: one boot says on which side a commit is.

use std::collections::{BTreeMap, BTreeSet};

use super::dag::Dag;
use super::evidence::Evidence;
use super::standing::{Class, Classes};

/// What a commit measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// As the good endpoint.
    Old,
    /// As the bad endpoint.
    New,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq)]
pub enum ExactStep {
    /// This commit is to be measured.
    Measure(usize),
    /// This is the answer; its probability is 1.
    Found(Class),
    /// No single commit explains what was measured.
    Contradiction(Contradiction),
}

/// Why no single commit can be guilty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// `old` contains `new` and does not show what it shows: the change came and
    /// went, or the numbers are not exact.
    Returned {
        /// A commit that is new.
        new: usize,
        /// A commit that contains it and is old.
        old: usize,
    },
    /// These are new and share no commit that may be guilty: the change came more than once.
    Several {
        /// Commits that are new.
        new: Vec<usize>,
    },
}

/// Commits that may be guilty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exact {
    /// The oldest first.
    pub feasible: Vec<usize>,
}

impl Exact {
    /// Those that everything measured agrees with.
    #[must_use]
    pub fn of(dag: &Dag, sides: &BTreeMap<usize, Side>) -> Self {
        let agrees = |suspect: usize| {
            sides.iter().all(|(&commit, &side)| dag.contains(commit, suspect) == (side == Side::New))
        };
        Self { feasible: (0..dag.len()).filter(|&suspect| agrees(suspect)).collect() }
    }
}

/// The next step of an exact bisection of the range whose last commit is new.
///
/// The commit to measure halves what is feasible, or leaves no more than the next
/// smaller power of two, so that a line of n commits takes at most `ceil(log2 n)`
/// steps; among those, kernels that are there already go first.
#[must_use]
pub fn exact_next(
    dag: &Dag,
    sides: &BTreeMap<usize, Side>,
    set_aside: &BTreeSet<usize>,
    cached: &BTreeSet<usize>,
) -> ExactStep {
    let Exact { feasible } = Exact::of(dag, sides);
    let Some(&any) = feasible.first() else {
        return ExactStep::Contradiction(contradiction(dag, sides));
    };
    let evidence = Evidence { set_aside: set_aside.clone(), ..Evidence::default() };
    let classes = Classes::of(dag, &evidence);
    if feasible.iter().all(|&suspect| classes.name(suspect) == classes.name(any)) {
        return ExactStep::Found(classes.describe(dag, classes.name(any), 1.0));
    }
    let counts = dag.counts(&feasible);
    // What may be left without a step more in the worst case.
    let enough = feasible.len().next_power_of_two() / 2;
    let split = (0..dag.tip())
        .filter(|commit| !set_aside.contains(commit) && !sides.contains_key(commit))
        .map(|commit| (counts[commit].max(feasible.len() - counts[commit]), commit))
        .filter(|(left, _)| *left < feasible.len())
        .min_by_key(|&(left, commit)| {
            let ready = cached.contains(&commit);
            (left.max(enough), !ready, left, commit)
        });
    match split {
        Some((_, commit)) => ExactStep::Measure(commit),
        // Every testable commit that tells suspects apart was measured: the rest is one class.
        None => ExactStep::Found(classes.describe(dag, classes.name(any), 1.0)),
    }
}

fn contradiction(dag: &Dag, sides: &BTreeMap<usize, Side>) -> Contradiction {
    let on = |wanted: Side| sides.iter().filter(move |(_, side)| **side == wanted).map(|(&commit, _)| commit);
    for new in on(Side::New) {
        if let Some(old) = on(Side::Old).find(|&old| dag.contains(old, new)) {
            return Contradiction::Returned { new, old };
        }
    }
    Contradiction::Several { new: on(Side::New).collect() }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{line, merges};
    use super::*;
    use proptest::prelude::*;

    /// Bisects with the truth at hand: the class and how many commits were measured.
    fn bisect(
        dag: &Dag,
        guilty: usize,
        set_aside: &BTreeSet<usize>,
        cached: &BTreeSet<usize>,
    ) -> (Class, usize) {
        let mut sides = BTreeMap::new();
        loop {
            match exact_next(dag, &sides, set_aside, cached) {
                ExactStep::Found(class) => return (class, sides.len()),
                ExactStep::Measure(commit) => {
                    let side = if dag.contains(commit, guilty) { Side::New } else { Side::Old };
                    assert_eq!(sides.insert(commit, side), None, "{commit} was measured before");
                    assert!(!set_aside.contains(&commit));
                }
                ExactStep::Contradiction(why) => panic!("{why:?}"),
            }
        }
    }

    fn sides(sides: &[(usize, Side)]) -> BTreeMap<usize, Side> {
        sides.iter().copied().collect()
    }

    #[test]
    fn one_commit_is_guilty_without_a_boot() {
        let (class, steps) = bisect(&line(1), 0, &BTreeSet::new(), &BTreeSet::new());
        assert_eq!((class.suspects, class.before, class.after, steps), (vec![0], None, 0, 0));
    }

    #[test]
    fn a_kernel_that_is_there_goes_first_where_it_costs_no_step() {
        let cached = BTreeSet::from([3, 60]);
        // Of a hundred, 64 may be left.
        let next = |commits| exact_next(&line(commits), &BTreeMap::new(), &BTreeSet::new(), &cached);
        assert_eq!(next(100), ExactStep::Measure(60));
        assert_eq!(next(128), ExactStep::Measure(63));
    }

    #[test]
    fn a_side_that_comes_back_is_a_contradiction() {
        let measured = sides(&[(2, Side::New), (5, Side::Old)]);
        let step = exact_next(&line(8), &measured, &BTreeSet::new(), &BTreeSet::new());
        assert_eq!(step, ExactStep::Contradiction(Contradiction::Returned { new: 2, old: 5 }));
    }

    #[test]
    fn two_branches_that_are_both_new_have_two_culprits() {
        let dag = Dag::new(vec![vec![], vec![], vec![0, 1]]).expect("a range");
        let measured = sides(&[(0, Side::New), (1, Side::New)]);
        let step = exact_next(&dag, &measured, &BTreeSet::new(), &BTreeSet::new());
        assert_eq!(step, ExactStep::Contradiction(Contradiction::Several { new: vec![0, 1] }));
    }

    proptest! {
        #[test]
        fn a_line_takes_no_more_steps_than_the_logarithm(
            commits in 1..300_usize, guilty: prop::sample::Index,
            cached in proptest::collection::btree_set(0..300_usize, 0..20),
        ) {
            let guilty = guilty.index(commits);
            let (class, steps) = bisect(&line(commits), guilty, &BTreeSet::new(), &cached);
            prop_assert_eq!(class.suspects, vec![guilty]);
            prop_assert_eq!((class.before, class.after), (guilty.checked_sub(1), guilty));
            prop_assert!(steps as u32 <= commits.next_power_of_two().ilog2(), "{} steps", steps);
        }

        #[test]
        fn whatever_does_not_build_the_class_has_the_culprit_and_only_what_looks_like_it(
            commits in 1..100_usize, seed: u64, guilty: prop::sample::Index,
            broken in proptest::collection::btree_set(0..100_usize, 0..40),
        ) {
            let dag = merges(commits, seed);
            let guilty = guilty.index(dag.len());
            let broken: BTreeSet<usize> = broken.into_iter().filter(|&commit| commit < dag.tip()).collect();
            let (class, _) = bisect(&dag, guilty, &broken, &BTreeSet::new());
            prop_assert!(class.suspects.contains(&guilty));
            let testable: Vec<usize> = (0..dag.len()).filter(|commit| !broken.contains(commit)).collect();
            let alike = |suspect: usize| {
                testable.iter().all(|&commit| dag.contains(commit, suspect) == dag.contains(commit, guilty))
            };
            let expected: Vec<usize> = (0..dag.len()).filter(|&suspect| alike(suspect)).collect();
            prop_assert_eq!(&class.suspects, &expected);
            prop_assert!(dag.contains(class.after, guilty) && !broken.contains(&class.after));
            for before in class.before.into_iter().chain(class.beside) {
                prop_assert!(!dag.contains(before, guilty) && !broken.contains(&before));
            }
        }
    }
}
