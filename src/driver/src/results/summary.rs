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
//! again on 3 must not lose it. Skipped tests beside passed ones are no error,
//! nor are flaky ones, for which somebody asked for retries; reports say how
//! many there are.
//!
//! A comparison has the exit code of what it came to: 1 regressed, 3 a side was
//! not measured, 4 inconclusive, 0 otherwise.

use std::collections::BTreeMap;

use serde::Serialize;

use super::format::{Run, State, TestResult};
use super::health::{Blame, health};
use super::standing::{Standing, turns};
use crate::model::Overall;

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
    /// Passed after a failure or an error.
    pub flaky: u64,
}

impl Counts {
    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.pass + self.fail + self.skip + self.error + self.flaky
    }

    /// One more.
    pub fn add(&mut self, standing: Standing) {
        match standing {
            Standing::Pass => self.pass += 1,
            Standing::Fail => self.fail += 1,
            Standing::Skip => self.skip += 1,
            Standing::Error => self.error += 1,
            Standing::Flaky => self.flaky += 1,
        }
    }

    /// One less, where there is one.
    pub fn remove(&mut self, standing: Standing) {
        let count = match standing {
            Standing::Pass => &mut self.pass,
            Standing::Fail => &mut self.fail,
            Standing::Skip => &mut self.skip,
            Standing::Error => &mut self.error,
            Standing::Flaky => &mut self.flaky,
        };
        *count = count.saturating_sub(1);
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
        let mut of_test: BTreeMap<(&str, &str), Vec<&TestResult>> = BTreeMap::new();
        for result in &run.results {
            of_test.entry((&result.kernel, &result.test)).or_default().push(result);
        }
        let mut verdicts = Counts::default();
        for turn in of_test.values().flat_map(|results| turns(results)) {
            verdicts.add(turn.standing);
        }
        let mut kernels = Counts::default();
        for health in health(run) {
            match health.blame() {
                None => kernels.pass += 1,
                Some(Blame::Kernel) => kernels.fail += 1,
                Some(Blame::Harness) => kernels.error += 1,
            }
        }
        let exit_code = match (&run.plan.comparison, run.state) {
            (Some(_), State::Finished) => run.overall.map_or(3, Overall::exit_code),
            (Some(_), State::Interrupted) => 130,
            (Some(_), State::Running | State::Unfinished) => 3,
            (None, state) => exit_code(state, verdicts, kernels),
        };
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
    } else if verdicts.pass + verdicts.flaky == 0 {
        4
    } else {
        0
    }
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
    fn a_test_that_passed_on_retry_is_counted_as_flaky_and_fails_nothing() {
        let attempt = |mut result: crate::model::TestResult, attempt| {
            result.turn = crate::model::Turn { repeat: 1, attempt };
            RunEvent::TestFinished(result)
        };
        let mut info = testing::info(&["stable"], &["smoke/a", "smoke/b"], 1);
        info.retries = 1;
        let events = [
            RunEvent::RunStarted(info),
            testing::boot(1, "stable"),
            testing::boot(2, "stable"),
            attempt(testing::fail("smoke/a", "stable", 1, "x"), 1),
            attempt(testing::fail("smoke/b", "stable", 1, "x"), 1),
            attempt(testing::pass("smoke/a", "stable", 2), 2),
        ];
        let flaky = [&events[..], &[attempt(testing::pass("smoke/b", "stable", 2), 2)], &end()].concat();
        let summary = |events: &[RunEvent]| Summary::of(&fold(events).close(State::Unfinished));
        assert_eq!(summary(&flaky).verdicts, Counts { flaky: 2, ..Counts::default() });
        let ends = [testing::ended(2, BootEnd::Clean)];
        assert_eq!(
            summary(&[&flaky[..flaky.len() - 1], &ends, &flaky[flaky.len() - 1..]].concat()).exit_code(),
            0
        );
        let failed =
            [&events[..], &[attempt(testing::fail("smoke/b", "stable", 2, "x"), 2)], &end()].concat();
        assert_eq!(summary(&failed).verdicts, Counts { flaky: 1, fail: 1, ..Counts::default() });
        assert_eq!(summary(&failed).exit_code(), 1);
    }
}
