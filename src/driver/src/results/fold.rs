//! From the lines of a run to its record. Pure, and the only way to make one:
//! what a live run believes and what is read of a dead one cannot differ.
//!
//! Holds the rule that every planned kernel, boot and test has exactly one
//! verdict: a second one is refused as it comes, a missing one becomes an
//! error when the record is closed.

use std::collections::{BTreeMap, HashMap};

use super::convert::new_boot;
use super::format::{Boot, Event, KernelFailure, Line, Plan, Run, State, TestResult, VERSION};
use crate::model::{Trouble, TroubleKind, Verdict};

/// Verdicts that a run may have. Bounds the memory that a damaged or forged
/// record can make a reader take; at ten verdicts a second it is a day's run.
const MAX_VERDICTS: u128 = 1 << 20;

/// Why a line does not follow from the lines before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// The first line is something else.
    #[error("a run begins with `run-started`")]
    NotStarted,
    /// A second beginning.
    #[error("the run has already begun")]
    StartedTwice,
    /// Something after the end.
    #[error("the run is already over")]
    Over,
    /// Lines are missing or doubled.
    #[error("line {found} stands where line {expected} is due")]
    Sequence {
        /// Next number in order.
        expected: u64,
        /// Number in the line.
        found: u64,
    },
    /// A plan beyond all reason.
    #[error("the plan asks for {0} verdicts, the limit is {MAX_VERDICTS}")]
    TooMuch(u128),
    /// A kernel that is not in the plan.
    #[error("kernel `{0}` is not part of the run")]
    UnknownKernel(String),
    /// A test that is not in the plan.
    #[error("test `{0}` is not part of the run")]
    UnknownTest(String),
    /// A boot that was never launched.
    #[error("boot {0} was never started")]
    UnknownBoot(u32),
    /// A boot number used twice.
    #[error("boot {0} was already started")]
    BootTwice(u32),
    /// One verdict too many.
    #[error("`{test}` on `{kernel}` already has its verdict{}", of_boot(*boot))]
    SecondVerdict {
        /// Full name of the test.
        test: String,
        /// The kernel.
        kernel: String,
        /// The boot, if it is the boot that is doubled.
        boot: Option<u32>,
    },
}

fn of_boot(boot: Option<u32>) -> String {
    boot.map(|boot| format!(" of boot {boot}")).unwrap_or_default()
}

/// Verdicts so far of each kernel and test: the boots they came from.
type Verdicts = HashMap<String, HashMap<String, Vec<Option<u32>>>>;

fn no_verdicts(plan: &Plan) -> Result<Verdicts, FoldError> {
    let planned = plan.kernels.len() as u128 * plan.tests.len() as u128 * u128::from(plan.boots_per_kernel);
    if planned > MAX_VERDICTS {
        return Err(FoldError::TooMuch(planned));
    }
    let tests: HashMap<_, _> = plan.tests.iter().map(|test| (test.id.clone(), Vec::new())).collect();
    Ok(plan.kernels.iter().map(|kernel| (kernel.clone(), tests.clone())).collect())
}

/// A record in the making.
#[derive(Debug)]
pub struct Fold {
    run: Run,
    verdicts: Verdicts,
    boots: HashMap<u32, usize>,
}

impl Fold {
    /// Begins with the first line.
    ///
    /// # Errors
    ///
    /// Fails when it is not the first line of a run.
    pub fn begin(line: Line) -> Result<Self, FoldError> {
        if line.seq != 0 {
            return Err(FoldError::Sequence { expected: 0, found: line.seq });
        }
        let Event::RunStarted(plan) = line.event else { return Err(FoldError::NotStarted) };
        let verdicts = no_verdicts(&plan)?;
        let run = Run {
            version: VERSION,
            state: State::Running,
            events: 1,
            elapsed_ms: line.elapsed_ms,
            plan,
            kernels: Vec::new(),
            failed_kernels: Vec::new(),
            boots: Vec::new(),
            results: Vec::new(),
            notices: Vec::new(),
        };
        Ok(Self { run, verdicts, boots: HashMap::new() })
    }

    /// Goes on with a record that was read in one piece. What in it is not in
    /// its plan is left as it is.
    ///
    /// # Errors
    ///
    /// Fails when the plan is beyond all reason.
    pub fn resume(run: Run) -> Result<Self, FoldError> {
        let mut verdicts = no_verdicts(&run.plan)?;
        for result in &run.results {
            let tests = verdicts.get_mut(&result.kernel);
            if let Some(seen) = tests.and_then(|tests| tests.get_mut(&result.test)) {
                seen.push(result.boot);
            }
        }
        let boots = run.boots.iter().enumerate().map(|(index, boot)| (boot.launch.id, index)).collect();
        Ok(Self { run, verdicts, boots })
    }

    /// The record so far.
    #[must_use]
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// Takes the next line; on an error the record stays as it was.
    ///
    /// # Errors
    ///
    /// Fails when the line does not follow from those before it.
    pub fn apply(&mut self, line: Line) -> Result<(), FoldError> {
        if self.run.state != State::Running {
            return Err(FoldError::Over);
        }
        if line.seq != self.run.events {
            return Err(FoldError::Sequence { expected: self.run.events, found: line.seq });
        }
        self.take(line.event)?;
        self.run.events += 1;
        // A clock that is set back must not make the run younger.
        self.run.elapsed_ms = self.run.elapsed_ms.max(line.elapsed_ms);
        Ok(())
    }

    fn take(&mut self, event: Event) -> Result<(), FoldError> {
        match event {
            Event::RunStarted(_) => return Err(FoldError::StartedTwice),
            Event::KernelStep { kernel, .. } | Event::KernelObjects { kernel, .. } => {
                self.known_kernel(&kernel)?;
            }
            Event::KernelReady(kernel) => {
                self.known_kernel(&kernel.name)?;
                self.run.kernels.push(kernel);
            }
            Event::KernelFailed { kernel, reason } => {
                self.known_kernel(&kernel)?;
                self.run.failed_kernels.push(KernelFailure { kernel, reason });
            }
            Event::Notice { text } => self.run.notices.push(text),
            Event::BootStarted(launch) => {
                self.known_kernel(&launch.kernel)?;
                if self.boots.contains_key(&launch.id) {
                    return Err(FoldError::BootTwice(launch.id));
                }
                self.boots.insert(launch.id, self.run.boots.len());
                self.run.boots.push(new_boot(launch));
            }
            Event::BootReady { boot, guest, exec_to_hello_ns } => {
                let boot = self.boot(boot)?;
                boot.guest = Some(guest);
                boot.exec_to_hello_ns = Some(exec_to_hello_ns);
            }
            Event::TestStarted { boot, test } => {
                self.known_test(&test)?;
                self.boot(boot)?.running = Some(test);
            }
            Event::TestProgress { boot, test, .. } => {
                self.known_test(&test)?;
                self.boot(boot)?;
            }
            Event::TestFinished(result) => self.finished(result)?,
            Event::BootFinding { boot, finding } => self.boot(boot)?.findings.push(finding),
            Event::BootEvidence { boot, evidence } => self.boot(boot)?.evidence.push(evidence),
            Event::BootFinished { boot, end, lived_ns } => {
                let boot = self.boot(boot)?;
                boot.end = Some(end);
                boot.lived_ns = Some(lived_ns);
            }
            Event::RunFinished { interrupted } => {
                self.run.state = if interrupted { State::Interrupted } else { State::Finished };
                self.fill();
            }
        }
        Ok(())
    }

    fn finished(&mut self, result: TestResult) -> Result<(), FoldError> {
        if let Some(boot) = result.boot {
            self.boot(boot)?;
        }
        let planned = usize::try_from(self.run.plan.boots_per_kernel).unwrap_or(usize::MAX);
        let Some(tests) = self.verdicts.get_mut(&result.kernel) else {
            return Err(FoldError::UnknownKernel(result.kernel));
        };
        let Some(seen) = tests.get_mut(&result.test) else {
            return Err(FoldError::UnknownTest(result.test));
        };
        let doubled = result.boot.filter(|_| seen.contains(&result.boot));
        if doubled.is_some() || seen.len() >= planned {
            return Err(FoldError::SecondVerdict { test: result.test, kernel: result.kernel, boot: doubled });
        }
        seen.push(result.boot);
        if let Some(boot) = result.boot {
            let boot = self.boot(boot)?;
            if boot.running.as_ref() == Some(&result.test) {
                boot.running = None;
            }
        }
        self.run.results.push(result);
        Ok(())
    }

    fn known_kernel(&self, name: &str) -> Result<(), FoldError> {
        let known = self.verdicts.contains_key(name);
        if known { Ok(()) } else { Err(FoldError::UnknownKernel(name.to_owned())) }
    }

    fn known_test(&self, id: &str) -> Result<(), FoldError> {
        // Every kernel has the same tests.
        let known = self.verdicts.values().next().is_some_and(|tests| tests.contains_key(id));
        if known { Ok(()) } else { Err(FoldError::UnknownTest(id.to_owned())) }
    }

    fn boot(&mut self, id: u32) -> Result<&mut Boot, FoldError> {
        let index = self.boots.get(&id).ok_or(FoldError::UnknownBoot(id))?;
        Ok(&mut self.run.boots[*index])
    }

    /// Ends the record with what is known. `state` holds for a run that did
    /// not come to its end; verdicts that are missing become errors.
    #[must_use]
    pub fn close(mut self, state: State) -> Run {
        if self.run.state == State::Running {
            self.run.state = state;
            self.fill();
        }
        self.run
    }

    /// One error for each planned verdict that is missing.
    fn fill(&mut self) {
        // Two plans may name a test or kernel twice; the verdicts are those of one.
        let mut done = std::collections::HashSet::new();
        let mut missing = Vec::new();
        for kernel in &self.run.plan.kernels {
            for test in &self.run.plan.tests {
                if !done.insert((kernel, &test.id)) {
                    continue;
                }
                let seen = &self.verdicts[kernel][&test.id];
                let planned = usize::try_from(self.run.plan.boots_per_kernel).unwrap_or(usize::MAX);
                let mut running = self.run.boots.iter().filter(|boot| {
                    boot.launch.kernel == *kernel
                        && boot.running.as_ref() == Some(&test.id)
                        && !seen.contains(&Some(boot.launch.id))
                });
                for _ in seen.len()..planned {
                    missing.push(self.lost(kernel, &test.id, running.next(), seen.len()));
                }
            }
        }
        self.run.results.append(&mut missing);
    }

    fn lost(&self, kernel: &str, test: &str, boot: Option<&Boot>, seen: usize) -> TestResult {
        let failed = self.run.failed_kernels.iter().find(|failed| failed.kernel == kernel);
        let end = match self.run.state {
            State::Running => "the run still goes on",
            State::Finished => "the run ended without a verdict",
            State::Interrupted => "the run was interrupted",
            State::Unfinished => "the run ended in mid-work (killed, or out of disk)",
        };
        let message = match (boot, failed) {
            (Some(boot), _) => format!("{end}; boot {} was at this test", boot.launch.id),
            (None, Some(failed)) => format!("kernel `{kernel}` cannot be had: {}", failed.reason),
            (None, None) if seen == 0 => format!("{end}; no boot has come to this test"),
            (None, None) => {
                format!("{end}; {seen} of {} boots have come to this test", self.run.plan.boots_per_kernel)
            }
        };
        let kind = match self.run.state {
            State::Interrupted => TroubleKind::Interrupted,
            State::Running | State::Finished | State::Unfinished => TroubleKind::Unfinished,
        };
        TestResult {
            test: test.to_owned(),
            kernel: kernel.to_owned(),
            boot: boot.map(|boot| boot.launch.id),
            verdict: Verdict::Error(Trouble { kind, message }),
            elapsed_ns: 0,
            samples: BTreeMap::new(),
            notes: BTreeMap::new(),
            breakdown: None,
            findings: Vec::new(),
            evidence: Vec::new(),
            log: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{BootEnd, RunEvent};
    use crate::results::testing::{self, fold, lines};

    fn messages(run: &Run) -> Vec<String> {
        let text = |result: &TestResult| {
            let message = match &result.verdict {
                Verdict::Error(trouble) => format!("{}: {}", trouble.kind.name(), trouble.message),
                other => other.word().to_owned(),
            };
            let boot = result.boot.map_or("-".to_owned(), |boot| boot.to_string());
            format!("{} {} {boot} {message}", result.kernel, result.test)
        };
        run.results.iter().map(text).collect()
    }

    #[test]
    fn a_killed_run_has_an_error_for_each_verdict_that_never_came() {
        let mut events = testing::started(&["stable"], &["smoke/a", "smoke/b"], 2);
        events.extend([
            testing::boot(1, "stable"),
            testing::begun(1, "smoke/a"),
            RunEvent::TestFinished(testing::pass("smoke/a", "stable", 1)),
            testing::begun(1, "smoke/b"),
        ]);
        let run = fold(&events).close(State::Unfinished);
        assert_eq!(run.state, State::Unfinished);
        insta::assert_snapshot!(messages(&run).join("\n"), @r"
        stable smoke/a 1 pass
        stable smoke/a - unfinished: the run ended in mid-work (killed, or out of disk); 1 of 2 boots have come to this test
        stable smoke/b 1 unfinished: the run ended in mid-work (killed, or out of disk); boot 1 was at this test
        stable smoke/b - unfinished: the run ended in mid-work (killed, or out of disk); no boot has come to this test
        ");
    }

    #[test]
    fn a_run_that_ends_in_good_order_but_forgot_a_test_has_an_error_for_it() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.push(testing::finished());
        let run = fold(&events).close(State::Unfinished);
        assert_eq!(run.state, State::Finished);
        insta::assert_snapshot!(
            messages(&run).join("\n"),
            @"stable smoke/a - unfinished: the run ended without a verdict; no boot has come to this test"
        );
    }

    #[test]
    fn the_tests_of_a_kernel_that_cannot_be_had_say_why() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.push(RunEvent::KernelFailed { kernel: testing::kernel("stable"), reason: "no flex".into() });
        let run = fold(&events).close(State::Unfinished);
        insta::assert_snapshot!(
            messages(&run).join("\n"),
            @"stable smoke/a - unfinished: kernel `stable` cannot be had: no flex"
        );
    }

    #[test]
    fn a_second_verdict_of_one_boot_is_refused_and_changes_nothing() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 3);
        events.push(testing::boot(1, "stable"));
        events.push(RunEvent::TestFinished(testing::pass("smoke/a", "stable", 1)));
        let mut fold = fold(&events);
        let before = fold.run().clone();
        let mut again =
            lines(&[RunEvent::TestFinished(testing::fail("smoke/a", "stable", 1, "x"))]).remove(0);
        again.seq = before.events;
        let error = fold.apply(again).expect_err("second verdict");
        assert_eq!(error.to_string(), "`smoke/a` on `stable` already has its verdict of boot 1");
        assert_eq!(*fold.run(), before);
    }

    #[test]
    fn more_verdicts_than_boots_asked_for_are_refused() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.push(testing::boot(1, "stable"));
        events.push(testing::boot(2, "stable"));
        events.push(RunEvent::TestFinished(testing::pass("smoke/a", "stable", 1)));
        let mut fold = fold(&events);
        let mut more = lines(&[RunEvent::TestFinished(testing::pass("smoke/a", "stable", 2))]).remove(0);
        more.seq = fold.run().events;
        let error = fold.apply(more).expect_err("one too many");
        assert_eq!(error.to_string(), "`smoke/a` on `stable` already has its verdict");
    }

    #[test]
    fn a_gap_in_the_lines_is_refused() {
        let mut fold = fold(&testing::started(&["stable"], &["smoke/a"], 1));
        let mut line = lines(&[testing::finished()]).remove(0);
        line.seq = 5;
        let error = fold.apply(line).expect_err("gap");
        assert_eq!(error, FoldError::Sequence { expected: 1, found: 5 });
    }

    #[test]
    fn what_is_not_in_the_plan_is_refused() {
        let start = testing::started(&["stable"], &["smoke/a"], 1);
        let stray = |event: RunEvent| {
            let mut fold = fold(&start);
            let mut line = lines(&[event]).remove(0);
            line.seq = 1;
            fold.apply(line).expect_err("stray").to_string()
        };
        assert_eq!(stray(testing::boot(1, "other")), "kernel `other` is not part of the run");
        assert_eq!(stray(testing::begun(4, "smoke/a")), "boot 4 was never started");
        assert_eq!(stray(testing::begun(4, "smoke/z")), "test `smoke/z` is not part of the run");
        assert_eq!(stray(start[0].clone()), "the run has already begun");
    }

    #[test]
    fn a_plan_beyond_all_reason_is_refused_before_memory_is_taken() {
        let line = lines(&testing::started(&["stable"], &["smoke/a"], u32::MAX)).remove(0);
        let error = Fold::begin(line).expect_err("too much");
        assert_eq!(error.to_string(), "the plan asks for 4294967295 verdicts, the limit is 1048576");
    }

    #[test]
    fn nothing_follows_the_end() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.push(testing::finished());
        let mut fold = fold(&events);
        let mut line = lines(&[testing::boot(1, "stable")]).remove(0);
        line.seq = 2;
        assert_eq!(fold.apply(line).expect_err("over"), FoldError::Over);
    }

    #[test]
    fn a_boot_keeps_what_the_guest_said_and_how_it_ended() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([
            testing::boot(1, "stable"),
            testing::ready(1),
            testing::boot_finding(1, "WARNING: CPU: 0 PID: 9 at net/core/dev.c:123"),
            testing::ended(1, BootEnd::Clean),
        ]);
        let run = fold(&events).close(State::Unfinished);
        let boot = run.boot(1).expect("boot 1");
        assert_eq!(boot.guest.as_ref().expect("hello").kernel_release, "6.12.117");
        assert_eq!(boot.findings[0].title, "WARNING: CPU: 0 PID: 9 at net/core/dev.c:123");
        assert_eq!(boot.end, Some(super::super::format::BootEnd::Clean));
    }

    proptest! {
        #[test]
        fn wherever_a_run_is_cut_each_planned_verdict_is_there_once(cut in 1_usize..40, boots in 1_u32..4) {
            let events = testing::whole_run(&["a", "b"], &["smoke/x", "smoke/y[n=1]"], boots);
            let cut = cut.min(events.len());
            let run = fold(&events[..cut]).close(State::Unfinished);
            let mut count = BTreeMap::new();
            for result in &run.results {
                *count.entry((result.kernel.clone(), result.test.clone())).or_insert(0) += 1;
            }
            prop_assert_eq!(count.len(), 4);
            prop_assert!(count.values().all(|n| *n == boots), "{:?}", count);
        }
    }
}
