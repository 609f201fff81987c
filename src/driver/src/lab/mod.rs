//! The engine: plans boots, runs them side by side, emits events, survives what
//! guests do.
//!
//! Every question of the tool ("run", and later "compare", "series", "bisect")
//! is asked of this engine in the same words: measure these tests on this
//! kernel, in so many boots more. It never judges a number.
//!
//! `share` says which tests share a boot, `slots` how many boots the host
//! carries, `errands` what comes next and what follows from an end; all three
//! are pure. `launch` tells one boot to observers, `machine` and `boot` carry it
//! out, and `session` decides what its guest's bytes mean.

#[cfg(test)]
mod blind_tests;
mod boot;
mod boot_hint;
mod channels;
mod console_text;
mod durations;
mod errands;
mod exchange;
mod exec;
mod heard_time;
mod ladder;
mod launch;
mod logs;
mod machine;
#[cfg(test)]
mod output_tests;
mod pin;
mod qmp;
mod record;
mod registers;
mod scratch;
mod session;
#[cfg(test)]
mod session_tests;
mod share;
pub mod shell;
mod slots;
#[cfg(test)]
mod stuck_tests;
mod verdict;
mod watchdog;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub use exchange::{Action, Input, SessionTest};
pub use machine::{Lab, LabError};
pub use pin::unquiet;
pub use qmp::{Answer, Query};
pub use record::Judged;
pub use session::Session;
pub(crate) use share::purpose;
pub(crate) use slots::Purpose;
pub use slots::{Host, Quiet, Slots};
pub use watchdog::Limits;

use self::durations::Durations;
use self::errands::{Errands, GivenUp, Next, Wanted};
use self::launch::Ear;
use crate::guest::accel::{self, Decision};
use crate::interrupt;
use crate::kernel::Kernel;
use crate::model::{
    Accel, AllowRule, BootId, KernelName, Machine, Observer, RunEvent, Test, TestResult, Trouble,
    TroubleKind, Turn, Verdict,
};

/// What to measure on one kernel.
#[derive(Debug, Clone)]
pub struct Measurement<'a> {
    /// The kernel, ready to boot.
    pub kernel: &'a Kernel,
    /// Added to its command line.
    pub cmdline: &'a [String],
    /// Findings that turn nothing red.
    pub allow: &'a [AllowRule],
    /// Tests in order.
    pub tests: &'a [Test],
    /// Turns of each: it is measured once in each, every time in another boot. They
    /// go on where an earlier measurement of the run ended.
    pub turns: RangeInclusive<u32>,
    /// How often a test that did not pass is repeated, every time in another boot.
    pub retries: u32,
    /// The machine as asked for.
    pub machine: &'a Machine,
    /// Which accelerator that means here.
    pub decision: Decision,
    /// Seed of the run.
    pub seed: u64,
    /// Directory of the run, absolute.
    pub run_dir: &'a Path,
}

impl Measurement<'_> {
    /// Factor on the time limits of its boots.
    #[must_use]
    pub fn slowdown(&self) -> f64 {
        accel::slowdown(self.decision.accel, &self.kernel.info.detectors)
    }
}

/// Numbers of the boots of one run, over all of its measurements.
#[derive(Debug, Default)]
pub struct BootNumbers(u32);

impl BootNumbers {
    /// Goes on behind this number.
    #[must_use]
    pub fn after(last: u32) -> Self {
        Self(last)
    }
}

/// What tests are expected to take, each in one boot of a machine without slowdown, by
/// what this host has seen of them.
#[must_use]
pub fn expected(tests: &[Test], cache: &Path) -> Vec<Duration> {
    let durations = Durations::within(cache);
    tests.iter().map(|test| durations.estimate(test, 1.0)).collect()
}

/// A test that passed somewhere: its name, how long it took, and the factor by which
/// everything takes longer there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Took<'a> {
    /// Full name.
    pub test: &'a str,
    /// From its start to its end.
    pub elapsed: Duration,
    /// 1 on a machine without slowdown.
    pub slowdown: f64,
}

/// Learns what tests take that ran on other hosts, for plans that are made here.
pub fn learn<'a>(seen: impl IntoIterator<Item = Took<'a>>, cache: &Path) {
    let mut durations = Durations::within(cache);
    for Took { test, elapsed, slowdown } in seen {
        durations.learn(test, elapsed, slowdown);
    }
    durations.save();
}

/// Measures everything, as many boots side by side as the slots allow: every test
/// of every measurement has one verdict for each of its turns, and one more for
/// each repetition. What a dead guest never reached runs in a fresh one.
///
/// # Errors
///
/// Fails only when the observer does, that is, when results can no longer be
/// recorded. Everything else ends in verdicts.
pub fn measure(
    lab: &Lab,
    measurements: &[Measurement<'_>],
    slots: Slots,
    numbers: &mut BootNumbers,
    observer: &mut dyn Observer,
) -> anyhow::Result<()> {
    let durations = Durations::within(lab.cache());
    // One for all: the tests that come before a test in its boot are the same on
    // every kernel, whatever its detectors cost.
    let slowdown = measurements.iter().map(Measurement::slowdown).fold(1.0, f64::max);
    let wanted: Vec<Wanted> =
        measurements.iter().map(|it| wanted(it, &durations, slowdown, &slots)).collect();
    let workers =
        slots.side_by_side.min(wanted.iter().map(|it| it.shares.len() * it.turns.clone().count()).sum());
    let mut learner = Learner::new(observer, measurements, durations);
    let ear = Ear::new(&mut learner);
    let floor = Floor {
        quiet: slots.quiet,
        state: Mutex::new(State { errands: Errands::new(&wanted, slots), boots: numbers.0 }),
        news: Condvar::new(),
    };
    std::thread::scope(|scope| {
        for worker in 1..workers {
            let (floor, ear) = (&floor, &ear);
            // With fewer threads the same is done more slowly.
            let _ = std::thread::Builder::new()
                .name(format!("boot-{worker}"))
                .spawn_scoped(scope, move || floor.work(lab, measurements, ear));
        }
        floor.work(lab, measurements, &ear);
    });
    numbers.0 = floor.state().boots;
    if let Some(reason) = ear.lost() {
        anyhow::bail!("cannot record the results: {reason}");
    }
    learner.durations.save();
    Ok(())
}

fn wanted(measurement: &Measurement<'_>, durations: &Durations, slowdown: f64, slots: &Slots) -> Wanted {
    let cpus = measurement.machine.cpus as usize;
    let estimate = |test: &Test| durations.estimate(test, slowdown);
    let shares = match measurement.decision.accel {
        Accel::Icount => share::by_suite(measurement.tests, &estimate),
        Accel::Kvm | Accel::Tcg | Accel::Native => share::shares(measurement.tests, &estimate, slots, cpus),
    };
    Wanted { shares, turns: measurement.turns.clone(), retries: measurement.retries, cpus }
}

/// What the threads that boot share.
struct Floor {
    /// What boots that measure times are granted.
    quiet: Quiet,
    state: Mutex<State>,
    /// Something ended.
    news: Condvar,
}

struct State {
    errands: Errands,
    /// Boots that were launched.
    boots: u32,
}

impl Floor {
    fn state(&self) -> MutexGuard<'_, State> {
        // A thread that panicked takes the whole run with it anyway.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one errand after the other until nothing is left.
    fn work(&self, lab: &Lab, measurements: &[Measurement<'_>], ear: &Ear<'_>) {
        loop {
            let mut state = self.state();
            if interrupt::requested() {
                let given_up = state.errands.stop(TroubleKind::Interrupted, "interrupted by the user");
                drop(state);
                tell_given_up(&given_up, measurements, ear);
                state = self.state();
            }
            let (ticket, errand) = match state.errands.next() {
                Next::Go(ticket, errand) => (ticket, errand),
                Next::Done => break,
                Next::Wait => {
                    drop(self.news.wait(state).unwrap_or_else(PoisonError::into_inner));
                    continue;
                }
            };
            state.boots += 1;
            let id = BootId(state.boots);
            drop(state);
            let ended = launch::launch(lab, &measurements[errand.measurement], &errand, id, ear, self.quiet);
            let given_up = self.state().errands.ended(ticket, errand, ended);
            tell_given_up(&given_up, measurements, ear);
            self.news.notify_all();
        }
        self.news.notify_all();
    }
}

fn tell_given_up(given_up: &[GivenUp], measurements: &[Measurement<'_>], ear: &Ear<'_>) {
    for it in given_up {
        let measurement = &measurements[it.measurement];
        for index in &it.tests {
            let result = not_reached(
                &measurement.tests[*index],
                &measurement.kernel.info.name,
                (it.boot, it.turn),
                it.kind,
                &it.reason,
            );
            // A failure to tell is kept by the ear.
            let _ = ear.tell(&RunEvent::TestFinished(result));
        }
    }
}

/// Learns from results how long tests take, and passes everything on.
struct Learner<'a> {
    observer: &'a mut dyn Observer,
    slowdowns: HashMap<KernelName, f64>,
    durations: Durations,
}

impl<'a> Learner<'a> {
    fn new(
        observer: &'a mut dyn Observer,
        measurements: &'a [Measurement<'a>],
        durations: Durations,
    ) -> Self {
        let slowdowns = measurements.iter().map(|it| (it.kernel.info.name.clone(), it.slowdown()));
        Self { observer, slowdowns: slowdowns.collect(), durations }
    }
}

impl Observer for Learner<'_> {
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        if let RunEvent::TestFinished(result) = event
            && matches!(result.verdict, Verdict::Pass { .. })
        {
            let slowdown = self.slowdowns.get(&result.kernel).copied().unwrap_or(1.0);
            self.durations.learn(&result.test.to_string(), result.elapsed, slowdown);
        }
        self.observer.observe(event)
    }
}

/// Reports tests of one turn that did not run as errors, each with the reason.
///
/// # Errors
///
/// Fails when the observer does.
pub fn not_run<'a>(
    tests: impl IntoIterator<Item = &'a Test>,
    kernel: &KernelName,
    turn: Turn,
    kind: TroubleKind,
    message: &str,
    observer: &mut dyn Observer,
) -> anyhow::Result<()> {
    for test in tests {
        let result = not_reached(test, kernel, (None, turn), kind, message);
        observer.observe(&RunEvent::TestFinished(result))?;
    }
    Ok(())
}

fn not_reached(
    test: &Test,
    kernel: &KernelName,
    (boot, turn): (Option<BootId>, Turn),
    kind: TroubleKind,
    message: &str,
) -> TestResult {
    TestResult {
        test: test.id.clone(),
        boot,
        kernel: kernel.clone(),
        turn,
        verdict: Verdict::Error(Trouble { kind, message: message.to_owned() }),
        elapsed: Duration::ZERO,
        samples: Default::default(),
        notes: Default::default(),
        breakdown: None,
        subtests: Vec::new(),
        findings: Vec::new(),
        evidence: Vec::new(),
        log: String::new(),
    }
}
