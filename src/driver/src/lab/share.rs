//! Which tests share a boot when several boots may run side by side. Pure.
//!
//! A boot costs a second or two, so tests are only spread where that is little
//! beside what they take. Tests that measure times are kept apart from those
//! that only pass or fail: the latter may run beside anything.

use std::time::Duration;

use kregress_wire::Kind;

use super::slots::{Purpose, Slots};
use crate::model::Test;

/// What a boot must be worth: tests of less are put with others. From experience,
/// a boot under TCG takes 1 to 3 s until its first test.
const WORTH_A_BOOT: Duration = Duration::from_secs(5);

/// Tests that run in one boot, in the order of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Share {
    /// Indices into the tests of the measurement.
    pub(super) tests: Vec<usize>,
    /// What the boot is for.
    pub(super) purpose: Purpose,
    /// What its tests are expected to take.
    pub(super) estimate: Duration,
}

/// What a test asks of its boot.
pub(crate) fn purpose(test: &Test) -> Purpose {
    let timed = test.metrics.iter().any(|metric| matches!(metric.kind, Kind::Time | Kind::Rate));
    if timed { Purpose::Timing } else { Purpose::Function }
}

fn purpose_of(tests: &[Test], share: &[usize]) -> Purpose {
    share.iter().map(|at| purpose(&tests[*at])).min().unwrap_or(Purpose::Function)
}

/// Spreads tests over boots. Every test is in one share, and the order within a
/// share is that of the plan.
pub(super) fn shares(
    tests: &[Test],
    estimate: &dyn Fn(&Test) -> Duration,
    slots: &Slots,
    cpus: usize,
) -> Vec<Share> {
    let share = |tests_of_share: Vec<usize>| {
        let estimate = tests_of_share.iter().map(|at| estimate(&tests[*at])).sum();
        Share { purpose: purpose_of(tests, &tests_of_share), estimate, tests: tests_of_share }
    };
    let all = share((0..tests.len()).collect());
    if tests.is_empty() {
        return Vec::new();
    }
    if slots.side_by_side == 1 || all.estimate < WORTH_A_BOOT * 2 {
        return vec![all];
    }
    let of = |wanted: Purpose| {
        let indices = (0..tests.len()).filter(|at| purpose(&tests[*at]) == wanted);
        share(indices.collect())
    };
    let function = of(Purpose::Function);
    if function.estimate < WORTH_A_BOOT {
        return cut(all, tests, estimate, slots, cpus);
    }
    // However little the others take: in one boot with these, all would have to
    // leave the processors to them.
    let timing = of(Purpose::Timing);
    let mut shares = cut(timing, tests, estimate, slots, cpus);
    shares.extend(cut(function, tests, estimate, slots, cpus));
    shares
}

/// Spreads tests over boots where time is virtual: those of a suite together, so
/// that its samples do not depend on what else is selected, nor on how fast the host
/// is. No boot disturbs another.
pub(super) fn by_suite(tests: &[Test], estimate: &dyn Fn(&Test) -> Duration) -> Vec<Share> {
    let mut shares: Vec<Share> = Vec::new();
    for (at, test) in tests.iter().enumerate() {
        let same = |share: &&mut Share| tests[share.tests[0]].id.suite == test.id.suite;
        match shares.iter_mut().find(same) {
            Some(share) => {
                share.tests.push(at);
                share.estimate += estimate(test);
            }
            None => {
                shares.push(Share { tests: vec![at], purpose: Purpose::Function, estimate: estimate(test) });
            }
        }
    }
    shares
}

/// Cuts tests of one purpose into as many boots as pay.
fn cut(
    whole: Share,
    tests: &[Test],
    estimate: &dyn Fn(&Test) -> Duration,
    slots: &Slots,
    cpus: usize,
) -> Vec<Share> {
    let at_once = match whole.purpose {
        Purpose::Timing => slots.side_by_side.min(slots.cores / cpus.max(1)),
        // Boots of different length fill the gaps of each other.
        Purpose::Function => slots.side_by_side * 2,
    };
    let paying = whole.estimate.as_millis() / WORTH_A_BOOT.as_millis();
    let parts = at_once.min(usize::try_from(paying).unwrap_or(usize::MAX)).max(1);
    let target = whole.estimate.div_f64(f64::from(u32::try_from(parts).unwrap_or(u32::MAX)));
    let mut shares: Vec<Share> = Vec::new();
    for at in whole.tests {
        let takes = estimate(&tests[at]);
        let fits = shares.last().is_some_and(|share| share.estimate + takes / 2 <= target);
        match shares.last_mut() {
            Some(share) if fits => {
                share.tests.push(at);
                share.estimate += takes;
            }
            _ => shares.push(Share { tests: vec![at], purpose: whole.purpose, estimate: takes }),
        }
    }
    for share in &mut shares {
        share.purpose = purpose_of(tests, &share.tests);
    }
    shares
}

#[cfg(test)]
mod tests {
    use kregress_wire::{Better, MetricInfo, Unit};
    use proptest::prelude::*;

    use super::*;
    use crate::lab::slots::Quiet;
    use crate::results::testing;

    const TIME: MetricInfo = MetricInfo {
        name: "drain_time",
        summary: "",
        unit: Unit::Nanoseconds,
        kind: Kind::Time,
        better: Better::Lower,
    };

    fn test(name: &str, purpose: Purpose) -> Test {
        let metrics = match purpose {
            Purpose::Timing => vec![TIME],
            Purpose::Function => Vec::new(),
        };
        Test {
            id: testing::test_id(&format!("suite/{name}")),
            workload: "netns/drain".to_owned(),
            params: [].into(),
            timeout: Duration::from_secs(60),
            metrics,
            exec: None,
            line: 1,
        }
    }

    /// Tests as letters: `t` measures times, `f` does not; each takes so many seconds.
    fn spread(letters: &str, seconds: u64, side_by_side: usize, cores: usize) -> Vec<String> {
        let purpose = |letter| if letter == 't' { Purpose::Timing } else { Purpose::Function };
        let tests: Vec<Test> = letters.chars().map(|letter| test("x", purpose(letter))).collect();
        let slots = Slots { side_by_side, cores, quiet: Quiet::Shared };
        let shares = shares(&tests, &|_| Duration::from_secs(seconds), &slots, 2);
        let letters: Vec<char> = letters.chars().collect();
        let word = |share: &Share| share.tests.iter().map(|at| letters[*at]).collect();
        shares.iter().map(word).collect()
    }

    #[test]
    fn one_slot_means_one_boot() {
        assert_eq!(spread("tftftf", 60, 1, 8), ["tftftf"]);
    }

    #[test]
    fn a_short_run_is_one_boot() {
        assert_eq!(spread("tftf", 1, 8, 16), ["tftf"]);
        assert_eq!(spread("", 1, 8, 16), Vec::<String>::new());
    }

    #[test]
    fn functional_tests_are_spread_and_timing_tests_stay_together_on_a_small_host() {
        assert_eq!(spread("ffffffff", 5, 2, 2), ["ff", "ff", "ff", "ff"]);
        assert_eq!(spread("tttttttt", 5, 2, 2), ["tttttttt"]);
        assert_eq!(spread("tftftftf", 5, 2, 2), ["tttt", "f", "f", "f", "f"]);
    }

    #[test]
    fn timing_tests_are_spread_where_each_boot_has_processors_of_its_own() {
        assert_eq!(spread("tttttttt", 5, 8, 8), ["tt", "tt", "tt", "tt"]);
    }

    #[test]
    fn a_few_functional_tests_go_with_the_timing_tests_but_not_the_other_way_round() {
        assert_eq!(spread("ttttttff", 2, 2, 2), ["ttttttff"]);
        assert_eq!(spread("tfffffff", 2, 2, 2), ["t", "ffff", "fff"]);
    }

    proptest! {
        #[test]
        fn every_test_is_in_one_share_and_no_function_boot_holds_a_timing_test(
            timed in proptest::collection::vec(any::<bool>(), 0..60),
            seconds in proptest::collection::vec(0_u64..40, 60),
            side_by_side in 1_usize..9,
            cores in 1_usize..17,
        ) {
            let purpose_at = |at: usize| if timed[at] { Purpose::Timing } else { Purpose::Function };
            let tests: Vec<Test> =
                (0..timed.len()).map(|at| test(&format!("x[n={at}]"), purpose_at(at))).collect();
            let slots = Slots { side_by_side, cores, quiet: Quiet::Shared };
            let takes = |test: &Test| {
                let at = tests.iter().position(|other| other.id == test.id).expect("known");
                Duration::from_secs(seconds[at])
            };
            let shares = shares(&tests, &takes, &slots, 2);
            let mut seen: Vec<usize> = shares.iter().flat_map(|share| share.tests.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..tests.len()).collect::<Vec<_>>());
            for share in &shares {
                prop_assert!(share.tests.is_sorted() && !share.tests.is_empty());
                let timing = share.tests.iter().any(|at| timed[*at]);
                prop_assert_eq!(share.purpose == Purpose::Timing, timing);
                prop_assert_eq!(share.estimate.as_secs(), share.tests.iter().map(|at| seconds[*at]).sum::<u64>());
            }
        }
    }
}
