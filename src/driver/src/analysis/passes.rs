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
