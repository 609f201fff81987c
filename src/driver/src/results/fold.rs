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
pub(crate) const MAX_VERDICTS: u128 = 1 << 20;

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
    /// Turns beyond all reason.
    #[error("{tests} tests up to turn {until} are too much: a run may have {MAX_VERDICTS} verdicts")]
    TooManyTurns {
        /// How many tests.
        tests: usize,
        /// The last turn.
        until: u32,
    },
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
    #[error("`{test}` on `{kernel}` already has the verdict of its turn {repeat}, attempt {attempt}")]
    SecondVerdict {
        /// Full name of the test.
        test: String,
        /// The kernel.
        kernel: String,
        /// Which of the boots asked for.
        repeat: u32,
        /// Which attempt.
        attempt: u32,
    },
    /// A verdict of a turn or attempt that nobody asked for.
    #[error("`{test}` on `{kernel}` has no turn {repeat}, attempt {attempt}: {why}")]
    NoTurn {
        /// Full name of the test.
        test: String,
        /// The kernel.
        kernel: String,
        /// Which of the boots asked for.
        repeat: u32,
        /// Which attempt.
        attempt: u32,
        /// Why not.
        why: &'static str,
    },
}

/// Attempts so far at one test in one of the boots asked for.
#[derive(Debug, Clone, Copy)]
struct Attempts {
    count: u32,
    /// The last one did not pass, so that another may follow.
    open: bool,
}

/// Verdicts so far of each kernel and test, by the boot asked for.
type Verdicts = HashMap<String, HashMap<String, BTreeMap<u32, Attempts>>>;

/// Whether a test with this verdict may be tried again.
fn may_be_tried_again(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Fail(_) | Verdict::Error(_) => true,
        Verdict::Pass { .. } | Verdict::Skip { .. } => false,
    }
}

fn no_verdicts(plan: &Plan) -> Result<Verdicts, FoldError> {
    let turns = u128::from(plan.boots_per_kernel) * (1 + u128::from(plan.retries));
    let planned = plan.kernels.len() as u128 * plan.tests.len() as u128 * turns;
    if planned > MAX_VERDICTS {
        return Err(FoldError::TooMuch(planned));
    }
    let tests: HashMap<_, _> = plan.tests.iter().map(|test| (test.id.clone(), BTreeMap::new())).collect();
    Ok(plan.kernels.iter().map(|kernel| (kernel.clone(), tests.clone())).collect())
}

/// Turns that are asked for later count for the same limit.
fn check_turns(plan: &Plan, tests: usize, until: u32) -> Result<(), FoldError> {
    let turns = u128::from(until) * (1 + u128::from(plan.retries));
    match plan.kernels.len() as u128 * tests as u128 * turns > MAX_VERDICTS {
        true => Err(FoldError::TooManyTurns { tests, until }),
        false => Ok(()),
    }
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
            turns: BTreeMap::new(),
            overall: None,
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
        let until = run.turns.values().copied().max().unwrap_or(0);
        check_turns(&run.plan, run.turns.len(), until)?;
        for result in &run.results {
            let tests = verdicts.get_mut(&result.kernel);
            if let Some(seen) = tests.and_then(|tests| tests.get_mut(&result.test)) {
                let open = may_be_tried_again(&result.verdict);
                let attempts = seen.entry(result.repeat).or_insert(Attempts { count: 0, open });
                *attempts = Attempts { count: attempts.count.max(result.attempt), open };
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
            Event::TurnsAsked { tests, until, .. } => {
                tests.iter().try_for_each(|test| self.known_test(test))?;
                check_turns(&self.run.plan, self.run.turns.len() + tests.len(), until)?;
                for test in tests {
                    let turns = self.run.turns.entry(test).or_insert(until);
                    *turns = until.max(*turns);
                }
            }
            Event::Compared { overall } => self.run.overall = Some(overall),
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
        let plan = &self.run.plan;
        let asked = self.run.asked(&result.test);
        let (repeat, attempt) = (result.repeat, result.attempt);
        let Some(tests) = self.verdicts.get_mut(&result.kernel) else {
            return Err(FoldError::UnknownKernel(result.kernel));
        };
        let Some(seen) = tests.get_mut(&result.test) else {
            return Err(FoldError::UnknownTest(result.test));
        };
        let no_turn = |why| {
            let (test, kernel) = (result.test.clone(), result.kernel.clone());
            Err(FoldError::NoTurn { test, kernel, repeat, attempt, why })
        };
        let before = seen.get(&repeat).copied();
        let count = before.map_or(0, |before| before.count);
        if attempt <= count && attempt > 0 {
            let (test, kernel) = (result.test, result.kernel);
            return Err(FoldError::SecondVerdict { test, kernel, repeat, attempt });
        }
        if repeat == 0 || repeat > asked {
            return no_turn("fewer boots were asked for");
        }
        if attempt > plan.retries.saturating_add(1) {
            return no_turn("the plan asks for fewer retries");
        }
        if attempt != count + 1 {
            return no_turn("the attempt before it has no verdict");
        }
        if before.is_some_and(|before| !before.open) {
            return no_turn("the attempt before it needed no other");
        }
        seen.insert(repeat, Attempts { count: attempt, open: may_be_tried_again(&result.verdict) });
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
                for repeat in (1..=self.run.asked(&test.id)).filter(|it| !seen.contains_key(it)) {
                    let boot = self.run.boots.iter().find(|boot| {
                        boot.launch.kernel == *kernel
                            && boot.launch.repeat == repeat
                            && boot.running.as_ref() == Some(&test.id)
                    });
                    missing.push(self.lost(kernel, &test.id, repeat, boot, seen.len()));
                }
            }
        }
        self.run.results.append(&mut missing);
    }

    fn lost(&self, kernel: &str, test: &str, repeat: u32, boot: Option<&Boot>, seen: usize) -> TestResult {
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
                format!("{end}; {seen} of {} boots have come to this test", self.run.asked(test))
            }
        };
        let kind = match self.run.state {
            State::Interrupted => TroubleKind::Interrupted,
            State::Running | State::Finished | State::Unfinished => TroubleKind::Unfinished,
        };
        let boot = boot.map(|boot| boot.launch.id);
        TestResult::never_came(test, kernel, boot, repeat, Trouble { kind, message })
    }
}

#[cfg(test)]
#[path = "fold_tests.rs"]
mod tests;
