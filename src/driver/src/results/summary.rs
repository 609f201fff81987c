//! What a run adds up to, and with which exit code. Pure.
//!
//! | code | when |
//! |---|---|
//! | 130 | the user interrupted it |
//! | 1 | the kernel failed: a test, or a finding or panic outside of tests |
//! | 3 | the harness or host failed, the run did not come to its end, or there is nothing in it |
//! | 4 | every test was skipped: nothing was learned of the kernel |
//! | 0 | otherwise |
//!
//! From top to bottom, so a failed test outweighs an error: what was seen of
//! the kernel stays true however the harness fared, and a script that tries
//! again on 3 must not lose it. Skipped tests beside passed ones are no error;
//! reports say how many there are.

use serde::Serialize;

use super::format::{Run, State, TestResult};
use super::health::{Blame, health};
use crate::model::Verdict;

/// How many of each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Passed.
    pub pass: u64,
    /// Failed by the kernel.
    pub fail: u64,
    /// Skipped.
    pub skip: u64,
    /// Failed by the harness or host.
    pub error: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.pass + self.fail + self.skip + self.error
    }

    /// One more.
    pub fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Pass { .. } => self.pass += 1,
            Verdict::Fail(_) => self.fail += 1,
            Verdict::Skip { .. } => self.skip += 1,
            Verdict::Error(_) => self.error += 1,
        }
    }
}

/// What a run adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// One for each planned kernel, boot and test.
    pub verdicts: Counts,
    /// Kernels by their health apart from tests; none is ever skipped.
    pub kernels: Counts,
    /// Exit code of the command that made the run.
    exit_code: u8,
}

impl Summary {
    /// Adds up a run.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let mut verdicts = Counts::default();
        for result in &run.results {
            verdicts.add(&result.verdict);
        }
        let mut kernels = Counts::default();
        for health in health(run) {
            match health.blame() {
                None => kernels.pass += 1,
                Some(Blame::Kernel) => kernels.fail += 1,
                Some(Blame::Harness) => kernels.error += 1,
            }
        }
        let exit_code = exit_code(run.state, verdicts, kernels);
        Self { verdicts, kernels, exit_code }
    }

    /// Exit code of the command that made the run.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

fn exit_code(state: State, verdicts: Counts, kernels: Counts) -> u8 {
    let complete = match state {
        State::Interrupted => return 130,
        State::Finished => true,
        State::Running | State::Unfinished => false,
    };
    if verdicts.fail + kernels.fail > 0 {
        1
    } else if verdicts.error + kernels.error > 0 || verdicts.total() == 0 || !complete {
        3
    } else if verdicts.pass == 0 {
        4
    } else {
        0
    }
}

/// The result that speaks for several boots of one test: a failure before an
/// error before a skip before a pass, the first of its kind. A failure that
/// one boot saw happened, whatever the others saw; a skip among passes is the
/// smaller claim.
#[must_use]
pub fn worst<'a>(results: &[&'a TestResult]) -> Option<&'a TestResult> {
    let rank = |result: &TestResult| match result.verdict {
        Verdict::Fail(_) => 0,
        Verdict::Error(_) => 1,
        Verdict::Skip { .. } => 2,
        Verdict::Pass { .. } => 3,
    };
    // The first of equals, so that the message is that of the earliest boot.
    results.iter().copied().min_by_key(|result| rank(result))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BootEnd, RunEvent, TroubleKind};
    use crate::results::testing::{self, fold};

    /// One kernel and boot, with these verdicts of tests `a`, `b`, ...
    fn code(results: &[RunEvent], rest: &[RunEvent]) -> u8 {
        let names = ["smoke/a", "smoke/b"];
        let mut events = testing::started(&["stable"], &names[..results.len()], 1);
        events.push(testing::boot(1, "stable"));
        events.extend_from_slice(results);
        events.extend_from_slice(rest);
        Summary::of(&fold(&events).close(State::Unfinished)).exit_code()
    }

    fn end() -> [RunEvent; 2] {
        [testing::ended(1, BootEnd::Clean), testing::finished()]
    }

    fn pass(test: &str) -> RunEvent {
        RunEvent::TestFinished(testing::pass(test, "stable", 1))
    }

    fn fail(test: &str) -> RunEvent {
        RunEvent::TestFinished(testing::fail(test, "stable", 1, "x"))
    }

    fn skip(test: &str) -> RunEvent {
        RunEvent::TestFinished(testing::skip(test, "stable", 1, "no CONFIG_XFRM"))
    }

    fn error(test: &str) -> RunEvent {
        RunEvent::TestFinished(testing::error(test, "stable", Some(1), TroubleKind::Host))
    }

    #[test]
    fn all_passed_is_0() {
        assert_eq!(code(&[pass("smoke/a"), pass("smoke/b")], &end()), 0);
    }

    #[test]
    fn skipped_beside_passed_is_0() {
        assert_eq!(code(&[pass("smoke/a"), skip("smoke/b")], &end()), 0);
    }

    #[test]
    fn nothing_but_skipped_is_inconclusive() {
        assert_eq!(code(&[skip("smoke/a"), skip("smoke/b")], &end()), 4);
    }

    #[test]
    fn a_failure_is_1_even_beside_an_error() {
        assert_eq!(code(&[pass("smoke/a"), fail("smoke/b")], &end()), 1);
        assert_eq!(code(&[error("smoke/a"), fail("smoke/b")], &end()), 1);
    }

    #[test]
    fn an_error_is_3() {
        assert_eq!(code(&[pass("smoke/a"), error("smoke/b")], &end()), 3);
    }

    #[test]
    fn a_finding_outside_of_tests_is_1_although_every_test_passed() {
        let found = [&[testing::boot_finding(1, "WARNING: x")], &end()[..]].concat();
        assert_eq!(code(&[pass("smoke/a")], &found), 1);
    }

    #[test]
    fn a_run_that_did_not_come_to_its_end_is_3_although_every_test_passed() {
        assert_eq!(code(&[pass("smoke/a")], &[testing::ended(1, BootEnd::Clean)]), 3);
    }

    #[test]
    fn an_interrupted_run_is_130_whatever_it_saw() {
        let interrupted =
            RunEvent::RunFinished { elapsed: std::time::Duration::from_secs(1), interrupted: true };
        assert_eq!(code(&[fail("smoke/a")], &[interrupted]), 130);
    }

    #[test]
    fn a_run_of_nothing_is_3() {
        assert_eq!(code(&[], &end()), 3);
    }

    #[test]
    fn several_boots_speak_with_the_worst_voice_and_the_first_of_it() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 4);
        for id in 1..=4 {
            events.push(testing::boot(id, "stable"));
        }
        events.extend([
            RunEvent::TestFinished(testing::pass("smoke/a", "stable", 1)),
            RunEvent::TestFinished(testing::error("smoke/a", "stable", Some(2), TroubleKind::Lost)),
            RunEvent::TestFinished(testing::fail("smoke/a", "stable", 3, "first")),
            RunEvent::TestFinished(testing::fail("smoke/a", "stable", 4, "second")),
        ]);
        let run = fold(&events).close(State::Unfinished);
        let all: Vec<&TestResult> = run.results.iter().collect();
        assert_eq!(worst(&all).expect("some").boot, Some(3));
        assert_eq!(worst(&all[..2]).expect("some").boot, Some(2));
        assert_eq!(worst(&[]), None);
    }
}
