//! Which tests go to which shard. Pure, and the same for the same figures.
//!
//! Every shard boots every kernel of the plan, so that times which are compared with
//! each other were taken on one host.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::lab::{Purpose, purpose};
use crate::model::{Accel, AccelChoice, Test};

/// Tests that must not be apart, by their places in the plan, ascending.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Never empty.
    pub tests: Vec<usize>,
    /// What they are expected to take.
    pub takes: Duration,
}

/// Binds tests together that must not be apart: those of a matrix that measures times,
/// for its numbers are read beside each other; and in virtual time those of a suite,
/// for there its numbers depend on what ran before in the same boot. A test without a figure takes no time.
#[must_use]
pub fn bundles(tests: &[Test], takes: &[Duration], accel: AccelChoice) -> Vec<Bundle> {
    let together = |one: &Test, other: &Test| match accel {
        AccelChoice::Only(Accel::Icount) => one.id.suite == other.id.suite,
        AccelChoice::Auto | AccelChoice::Only(_) => {
            purpose(one) == Purpose::Timing
                && (&one.id.suite, &one.id.test) == (&other.id.suite, &other.id.test)
        }
    };
    let mut bundles: Vec<Bundle> = Vec::new();
    for (at, test) in tests.iter().enumerate() {
        let takes = takes.get(at).copied().unwrap_or_default();
        match bundles.iter_mut().find(|bundle| together(test, &tests[bundle.tests[0]])) {
            Some(bundle) => {
                bundle.tests.push(at);
                bundle.takes = bundle.takes.saturating_add(takes);
            }
            None => bundles.push(Bundle { tests: vec![at], takes }),
        }
    }
    bundles
}

/// Spreads bundles over so many shards, or as many as there are bundles: the longest
/// first, each to the shard with the least (LPT; Graham 1969: the longest shard takes at
/// most 4/3 of the least that is possible). No shard is empty.
#[must_use]
pub fn spread(bundles: &[Bundle], shards: NonZeroU32) -> Vec<Bundle> {
    let most = usize::try_from(shards.get()).unwrap_or(usize::MAX);
    let mut spread = vec![Bundle { tests: Vec::new(), takes: Duration::ZERO }; bundles.len().min(most)];
    let mut longest_first: Vec<&Bundle> = bundles.iter().collect();
    // Stable: what takes the same goes in the order of the plan.
    longest_first.sort_by_key(|bundle| std::cmp::Reverse(bundle.takes));
    for bundle in longest_first {
        // Of shards with nothing to do the empty one, though its tests may be expected
        // to take no time at all.
        if let Some(least) = spread.iter_mut().min_by_key(|shard| (shard.takes, shard.tests.len())) {
            least.tests.extend(&bundle.tests);
            least.takes = least.takes.saturating_add(bundle.takes);
        }
    }
    for shard in &mut spread {
        shard.tests.sort_unstable();
    }
    spread
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::results::testing;

    fn seconds(seconds: &[u64]) -> Vec<Duration> {
        seconds.iter().copied().map(Duration::from_secs).collect()
    }

    fn tests(ids: &[&str]) -> Vec<Test> {
        testing::info(&["k"], ids, 1).tests
    }

    fn without_times(mut tests: Vec<Test>) -> Vec<Test> {
        tests.iter_mut().for_each(|test| test.metrics.clear());
        tests
    }

    fn places(bundles: &[Bundle]) -> Vec<Vec<usize>> {
        bundles.iter().map(|bundle| bundle.tests.clone()).collect()
    }

    fn shards(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).expect("a number of shards")
    }

    #[test]
    fn a_matrix_that_measures_times_stays_together_and_one_that_does_not_may_be_apart() {
        let ids = ["t/drain[n=1]", "t/other", "t/drain[n=9]", "u/drain[n=1]"];
        let takes = seconds(&[1, 2, 3, 4]);
        let timing = bundles(&tests(&ids), &takes, AccelChoice::Auto);
        assert_eq!(places(&timing), [vec![0, 2], vec![1], vec![3]]);
        assert_eq!(timing[0].takes, Duration::from_secs(4));
        let functional = bundles(&without_times(tests(&ids)), &takes, AccelChoice::Auto);
        assert_eq!(functional.len(), 4);
    }

    #[test]
    fn in_virtual_time_a_suite_stays_together() {
        let tests = without_times(tests(&["t/a", "u/a", "t/b", "u/b"]));
        let icount = bundles(&tests, &[], AccelChoice::Only(Accel::Icount));
        assert_eq!(places(&icount), [[0, 2], [1, 3]]);
    }

    #[test]
    fn the_longest_are_placed_first_and_the_rest_fills_up() {
        let one = |at, takes| Bundle { tests: vec![at], takes: Duration::from_secs(takes) };
        let all = [one(0, 1), one(1, 5), one(2, 3), one(3, 2), one(4, 1)];
        assert_eq!(places(&spread(&all, shards(2))), [vec![0, 1], vec![2, 3, 4]]);
        assert_eq!(spread(&all, shards(9)).len(), 5);
        assert_eq!(spread(&[], shards(3)), []);
    }

    proptest! {
        #[test]
        fn every_test_is_in_one_shard_none_is_empty_and_no_bundle_is_torn(
            sizes in prop::collection::vec((1_usize..4, 0_u64..1000), 0..40),
            count in 1_u32..12,
        ) {
            let mut next = 0;
            let all: Vec<Bundle> = sizes.iter().map(|(size, takes)| {
                let tests = (next..next + size).collect();
                next += size;
                Bundle { tests, takes: Duration::from_millis(*takes) }
            }).collect();
            let found = spread(&all, shards(count));
            prop_assert_eq!(found.len(), all.len().min(count as usize));
            prop_assert!(found.iter().all(|shard| !shard.tests.is_empty() && shard.tests.is_sorted()));
            let mut seen: Vec<usize> = found.iter().flat_map(|shard| shard.tests.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..next).collect::<Vec<_>>());
            for bundle in &all {
                let homes = found.iter().filter(|shard| shard.tests.contains(&bundle.tests[0]));
                prop_assert!(homes.clone().all(|home| bundle.tests.iter().all(|at| home.tests.contains(at))));
            }
            // What was put last on the longest shard was put where there was the least.
            let longest = found.iter().map(|shard| shard.takes).max().unwrap_or_default();
            let shortest = found.iter().map(|shard| shard.takes).min().unwrap_or_default();
            let bundle = all.iter().map(|bundle| bundle.takes).max().unwrap_or_default();
            prop_assert!(longest - shortest <= bundle, "{:?} and {:?}", longest, shortest);
            prop_assert_eq!(spread(&all, shards(count)), found);
        }
    }
}
