//! The rule for tests that pass or fail: by repeats on both sides.
//!
//! Fisher's exact test says whether a test fails more often on one side than
//! chance explains. Only first attempts that passed or failed count; what was
//! skipped or broken by the harness says nothing of the kernel.

use super::comparison::{TestClass, Tries};
use super::stats::fisher;

/// One-sided p from which on a difference of the shares of failures counts; the
/// same error probability that metrics have. Five failures of five against none
/// of five reach it.
pub const FAILURE_THRESHOLD: f64 = 0.01;

/// More verdicts a side than this are not asked for: what they would tell from
/// chance fails so rarely that its place is a longer hunt.
const REPEATS_AT_MOST: u32 = 50;

/// What the verdicts of a test on both sides come to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Passes {
    /// In one word.
    pub class: TestClass,
    /// Probability of so large a difference by chance alone, in the direction that
    /// it has; none where nothing failed or there is nothing to compare.
    pub p: Option<f64>,
    /// Repeats on each side after which the class should be certain, if the test
    /// goes on failing as often as it did; none where it is, or where more than a
    /// sensible number would be needed.
    pub more: Option<u32>,
}

/// Classifies a test.
#[must_use]
pub fn classify(base: Tries, head: Tries) -> Passes {
    let (tried_base, tried_head) = (verdicts(base), verdicts(head));
    let plain = |class| Passes { class, p: None, more: None };
    if tried_base == 0 || tried_head == 0 {
        // Skipped wherever it got as far as a verdict.
        let skipped = |tries: Tries| verdicts(tries) == 0 && tries.skipped > 0;
        return plain(if skipped(base) && skipped(head) {
            TestClass::Same
        } else {
            TestClass::NotComparable
        });
    }
    if base.failed == 0 && head.failed == 0 {
        return plain(TestClass::Same);
    }
    let table = fisher((base.failed, tried_base), (head.failed, tried_head));
    let more_often = share(head) > share(base);
    let p = if more_often { table.more } else { table.less };
    let certain = p <= FAILURE_THRESHOLD;
    let class = match (base.failed, head.failed) {
        (0, _) if certain => TestClass::NewFailure,
        (0, _) => TestClass::Suspect,
        (_, 0) if certain => TestClass::Fixed,
        (_, 0) => TestClass::KnownOnBase,
        _ if certain && more_often => TestClass::WorseFlaky,
        _ => TestClass::KnownOnBase,
    };
    let more = if certain { None } else { repeats(base, head) };
    Passes { class, p: Some(p), more }
}

fn verdicts(tries: Tries) -> u32 {
    tries.passed.saturating_add(tries.failed)
}

fn share(tries: Tries) -> f64 {
    f64::from(tries.failed) / f64::from(verdicts(tries).max(1))
}

/// Repeats on each side until the shares seen would be certain to differ.
fn repeats(base: Tries, head: Tries) -> Option<u32> {
    let (n, m) = (verdicts(base), verdicts(head));
    let (share_base, share_head) = (share(base), share(head));
    (1..=REPEATS_AT_MOST).find(|&more| {
        let expected =
            |tries: Tries, share: f64| tries.failed.saturating_add((f64::from(more) * share).round() as u32);
        let (a, b) = (expected(base, share_base), expected(head, share_head));
        let table = fisher((a, n.saturating_add(more)), (b, m.saturating_add(more)));
        (if share_head > share_base { table.more } else { table.less }) <= FAILURE_THRESHOLD
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use TestClass::{Fixed, KnownOnBase, NewFailure, NotComparable, Same, Suspect, WorseFlaky};
    use proptest::prelude::*;

    fn tries(passed: u32, failed: u32) -> Tries {
        Tries { passed, failed, skipped: 0, errors: 0 }
    }

    fn class(base: Tries, head: Tries) -> TestClass {
        classify(base, head).class
    }

    #[test]
    fn what_passes_on_both_sides_is_the_same() {
        assert_eq!(classify(tries(1, 0), tries(6, 0)), Passes { class: Same, p: None, more: None });
    }

    #[test]
    fn one_failure_on_head_is_a_suspect_until_it_was_repeated() {
        let once = classify(tries(1, 0), tries(0, 1));
        assert_eq!((once.class, once.p, once.more), (Suspect, Some(0.5), Some(4)));
        // Four more of each, and all as before.
        let often = classify(tries(5, 0), tries(0, 5));
        assert_eq!((often.class, often.more), (NewFailure, None));
    }

    #[test]
    fn six_failures_of_six_are_new_and_two_are_a_suspect() {
        assert_eq!(class(tries(6, 0), tries(0, 6)), NewFailure);
        assert_eq!(class(tries(6, 0), tries(1, 5)), NewFailure);
        let twice = classify(tries(6, 0), tries(4, 2));
        assert_eq!(twice.class, Suspect);
        assert!(twice.more.is_some_and(|more| (10..=20).contains(&more)), "{:?}", twice.more);
    }

    #[test]
    fn what_fails_on_both_sides_is_known() {
        assert_eq!(
            classify(tries(0, 3), tries(0, 3)),
            Passes { class: KnownOnBase, p: Some(1.0), more: None }
        );
        assert_eq!(class(tries(10, 2), tries(9, 3)), KnownOnBase);
    }

    #[test]
    fn what_fails_much_more_often_is_worse() {
        // stats.fisher_exact([[9, 16], [2, 28]], alternative="greater").pvalue
        let worse = classify(tries(28, 2), tries(16, 9));
        assert_eq!(worse.class, WorseFlaky);
        assert!((worse.p.expect("failures") - 0.008_284_034_980_140_962).abs() < 1e-12);
    }

    #[test]
    fn what_failed_and_passes_now_is_fixed_when_it_was_repeated() {
        assert_eq!(class(tries(0, 6), tries(6, 0)), Fixed);
        assert_eq!(class(tries(0, 1), tries(1, 0)), KnownOnBase);
        assert_eq!(class(tries(20, 1), tries(21, 0)), KnownOnBase);
    }

    #[test]
    fn what_became_rarer_but_stays_is_known() {
        assert_eq!(class(tries(0, 20), tries(15, 5)), KnownOnBase);
    }

    #[test]
    fn skipped_on_both_sides_is_the_same_and_on_one_side_is_not_comparable() {
        let skipped = Tries { skipped: 2, ..Tries::default() };
        assert_eq!(class(skipped, skipped), Same);
        assert_eq!(class(skipped, tries(2, 0)), NotComparable);
        assert_eq!(class(tries(0, 2), skipped), NotComparable);
    }

    #[test]
    fn errors_of_the_harness_are_no_verdict_on_a_kernel() {
        let broken = Tries { errors: 3, ..Tries::default() };
        assert_eq!(class(tries(3, 0), broken), NotComparable);
        assert_eq!(class(broken, broken), NotComparable);
        assert_eq!(class(Tries::default(), Tries::default()), NotComparable);
        assert_eq!(class(Tries { errors: 2, ..tries(3, 0) }, tries(5, 0)), Same);
    }

    #[test]
    fn a_hopeless_number_of_repeats_is_not_asked_for() {
        assert_eq!(classify(tries(100, 1), tries(100, 1)).more, None);
        assert_eq!(classify(tries(1000, 0), tries(999, 1)).more, None);
    }

    proptest! {
        #[test]
        fn probabilities_are_some_and_worse_is_never_said_of_fewer_failures(
            a in 0..300_u32, b in 0..300_u32, c in 0..300_u32, d in 0..300_u32
        ) {
            let (base, head) = (tries(a, b), tries(c, d));
            let result = classify(base, head);
            prop_assert!(result.p.is_none_or(|p| (0.0..=1.0).contains(&p)));
            if matches!(result.class, NewFailure | WorseFlaky | Suspect) {
                prop_assert!(share(head) > share(base));
            }
            if result.class == NewFailure {
                prop_assert_eq!(class(head, base), Fixed);
            }
        }
    }
}
