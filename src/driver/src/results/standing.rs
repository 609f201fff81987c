//! Where a test stands when it was tried more than once. Pure.
//!
//! Every attempt keeps its verdict. A test that passed only on a later attempt
//! is flaky: no failure, for the user asked to try again, and no plain pass.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::format::TestResult;
use crate::model::Verdict;

/// What the attempts at a test come to, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// The kernel failed in one attempt at least, and passed in none.
    Fail,
    /// The harness or its host failed, and the kernel passed in no attempt.
    Error,
    /// It passed after it had not.
    Flaky,
    /// The kernel or the machine lacks what the test needs.
    Skip,
    /// It passed at the first attempt.
    Pass,
}

impl Standing {
    /// One word: that of the verdict, or `flaky`.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Error => "error",
            Self::Flaky => "flaky",
            Self::Skip => "skip",
            Self::Pass => "pass",
        }
    }

    /// Where one attempt leaves a test.
    #[must_use]
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Pass { .. } => Self::Pass,
            Verdict::Fail(_) => Self::Fail,
            Verdict::Skip { .. } => Self::Skip,
            Verdict::Error(_) => Self::Error,
        }
    }

    /// Where the next attempt leaves it. What did not pass at first and does now is
    /// flaky; what never passes stands as its worst attempt.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        match (self, next) {
            (Self::Fail | Self::Error, Self::Pass) => Self::Flaky,
            (before, next) => before.min(next),
        }
    }
}

/// The attempts at one test in one of the boots asked for.
#[derive(Debug, Clone)]
pub struct Turn<'a> {
    /// What they come to.
    pub standing: Standing,
    /// In their order; at least one.
    pub attempts: Vec<&'a TestResult>,
}

impl<'a> Turn<'a> {
    fn of(mut attempts: Vec<&'a TestResult>) -> Self {
        attempts.sort_by_key(|result| result.attempt);
        let each = attempts.iter().map(|result| Standing::of(&result.verdict));
        let standing = each.reduce(Standing::then).unwrap_or(Standing::Error);
        Self { standing, attempts }
    }

    /// The attempt that says why it stands as it does: the first of the gravest.
    #[must_use]
    pub fn speaker(&self) -> &'a TestResult {
        let first = self.attempts.iter().copied().min_by_key(|result| Standing::of(&result.verdict));
        // A turn is made of at least one attempt.
        first.unwrap_or(self.attempts[0])
    }

    /// Attempts that did not pass, in their order.
    pub fn missed(&self) -> impl Iterator<Item = &'a TestResult> {
        let missed = |result: &&TestResult| matches!(result.verdict, Verdict::Fail(_) | Verdict::Error(_));
        self.attempts.iter().copied().filter(missed)
    }
}

/// Puts the results of one test on one kernel together by the boot asked for,
/// in the order in which the first of each came. Records from before there were
/// attempts do not tell boots apart: a second first attempt is another turn.
#[must_use]
pub fn turns<'a>(results: &[&'a TestResult]) -> Vec<Turn<'a>> {
    let mut turns: Vec<Vec<&TestResult>> = Vec::new();
    let mut latest: HashMap<u32, usize> = HashMap::new();
    for result in results {
        let at = latest.get(&result.repeat).copied();
        let at = at.filter(|at| turns[*at].iter().all(|other| other.attempt != result.attempt));
        match at {
            Some(at) => turns[at].push(result),
            None => {
                latest.insert(result.repeat, turns.len());
                turns.push(vec![result]);
            }
        }
    }
    turns.into_iter().map(Turn::of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TroubleKind;
    use crate::results::convert;
    use crate::results::format::Event;
    use crate::results::testing;

    fn result(repeat: u32, attempt: u32, word: &str) -> TestResult {
        let model = match word {
            "pass" => testing::pass("smoke/a", "stable", attempt),
            "fail" => testing::fail("smoke/a", "stable", attempt, &format!("attempt {attempt}")),
            "skip" => testing::skip("smoke/a", "stable", attempt, "no XFRM"),
            _ => testing::error("smoke/a", "stable", Some(attempt), TroubleKind::Lost),
        };
        let event = crate::model::RunEvent::TestFinished(model);
        let Event::TestFinished(result) = convert::event(&event) else { unreachable!("a result") };
        TestResult { repeat, attempt, ..result }
    }

    fn standing(words: &[&str]) -> (Standing, u32) {
        let results: Vec<_> = (1..).zip(words).map(|(attempt, word)| result(1, attempt, word)).collect();
        let turns = turns(&results.iter().collect::<Vec<_>>());
        assert_eq!(turns.len(), 1);
        (turns[0].standing, turns[0].speaker().attempt)
    }

    #[test]
    fn a_pass_after_a_failure_is_flaky_and_the_failure_speaks() {
        assert_eq!(standing(&["fail", "pass"]), (Standing::Flaky, 1));
        assert_eq!(standing(&["error", "fail", "pass"]), (Standing::Flaky, 2));
        assert_eq!(standing(&["error", "pass"]), (Standing::Flaky, 1));
    }

    #[test]
    fn what_never_passed_stands_as_its_worst_attempt() {
        assert_eq!(standing(&["fail", "fail"]), (Standing::Fail, 1));
        assert_eq!(standing(&["error", "fail"]), (Standing::Fail, 2));
        assert_eq!(standing(&["error", "error"]), (Standing::Error, 1));
        // A feature that is there once and not the next time explains no failure away.
        assert_eq!(standing(&["fail", "skip"]), (Standing::Fail, 1));
    }

    #[test]
    fn one_attempt_stands_as_it_is() {
        for (word, expected) in [
            ("pass", Standing::Pass),
            ("fail", Standing::Fail),
            ("skip", Standing::Skip),
            ("error", Standing::Error),
        ] {
            assert_eq!(standing(&[word]), (expected, 1));
        }
    }

    #[test]
    fn boots_asked_for_are_told_apart() {
        let results =
            [result(2, 1, "pass"), result(1, 1, "fail"), result(1, 2, "pass"), result(3, 1, "fail")];
        let turns = turns(&results.iter().collect::<Vec<_>>());
        let standings: Vec<_> = turns.iter().map(|turn| turn.standing).collect();
        assert_eq!(standings, [Standing::Pass, Standing::Flaky, Standing::Fail]);
    }

    #[test]
    fn boots_of_an_old_record_are_no_attempts() {
        let results = [result(1, 1, "fail"), result(1, 1, "pass")];
        let turns = turns(&results.iter().collect::<Vec<_>>());
        let standings: Vec<_> = turns.iter().map(|turn| turn.standing).collect();
        assert_eq!(standings, [Standing::Fail, Standing::Pass]);
    }
}
