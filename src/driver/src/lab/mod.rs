//! The engine: plans boots, runs them, emits events, survives what guests do.
//!
//! Every question of the tool ("run", and later "compare", "series", "bisect")
//! is asked of this engine in the same words: measure these tests on this
//! kernel, so many boots. It never judges a number.

mod boot;
mod boot_hint;
mod console_text;
mod exchange;
mod machine;
mod record;
mod scratch;
mod session;
#[cfg(test)]
mod session_tests;
mod verdict;
mod watchdog;

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use kregress_wire::{Nonce, PROTOCOL, Plan, PlannedTest};

pub use exchange::{Action, Input, SessionTest};
pub use machine::{Lab, LabError};
pub use record::Judged;
pub use session::Session;
pub use watchdog::Limits;

use crate::guest::accel::Decision;
use crate::kernel::Kernel;
use crate::model::{
    AllowRule, Allowances, Backend, BootEnd, BootId, BootInfo, KernelName, Machine, Observer, RunEvent, Test,
    TestResult, Trouble, TroubleKind, Verdict,
};
use crate::results::BootDir;
use crate::{chain, interrupt};

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
    /// The machine as asked for.
    pub machine: Machine,
    /// Which accelerator that means here.
    pub decision: Decision,
    /// Seed of the run.
    pub seed: u64,
    /// Directory of the run, absolute.
    pub run_dir: &'a Path,
}

/// Numbers the boots of a run.
#[derive(Debug, Default)]
pub struct BootNumbers(u32);

impl BootNumbers {
    fn next(&mut self) -> BootId {
        self.0 += 1;
        BootId(self.0)
    }
}

/// Launches in a row that give no verdict at all before the rest of the tests
/// is given up.
const FRUITLESS: u32 = 2;

/// Runs every test of the measurement once, in one boot if the guest lives, in
/// as many as it takes if it dies: what a dead guest never reached runs in a
/// fresh one.
///
/// # Errors
///
/// Fails only when an observer does, that is, when results can no longer be
/// recorded. Everything else ends in verdicts.
pub fn measure(
    lab: &Lab,
    measurement: &Measurement<'_>,
    numbers: &mut BootNumbers,
    observer: &mut dyn Observer,
) -> anyhow::Result<()> {
    let mut left: VecDeque<usize> = (0..measurement.tests.len()).collect();
    let mut fruitless = 0;
    while !left.is_empty() {
        if interrupt::requested() {
            return give_up(
                measurement,
                &left,
                None,
                TroubleKind::Interrupted,
                "interrupted by the user",
                observer,
            );
        }
        let id = numbers.next();
        let before = left.len();
        let end = launch(lab, measurement, id, &mut left, observer)?;
        if left.is_empty() || interrupt::requested() {
            continue;
        }
        fruitless = if left.len() < before { 0 } else { fruitless + 1 };
        let reason = match end {
            Launch::Impossible(reason) => {
                return give_up(measurement, &left, None, TroubleKind::Host, &reason, observer);
            }
            Launch::Ended(BootEnd::NotBooted { reason }) => format!("the kernel did not boot: {reason}"),
            Launch::Ended(_) if fruitless < FRUITLESS => continue,
            Launch::Ended(_) => format!("{FRUITLESS} boots in a row ended before a test had a verdict"),
        };
        return give_up(measurement, &left, Some(id), TroubleKind::NotReached, &reason, observer);
    }
    Ok(())
}

/// Errors for tests that no boot will reach.
fn give_up(
    measurement: &Measurement<'_>,
    left: &VecDeque<usize>,
    boot: Option<BootId>,
    kind: TroubleKind,
    message: &str,
    observer: &mut dyn Observer,
) -> anyhow::Result<()> {
    let tests = left.iter().map(|index| &measurement.tests[*index]);
    not_run(tests, &measurement.kernel.info.name, boot, kind, message, observer)
}

/// Reports tests that did not run as errors, each with the reason.
///
/// # Errors
///
/// Fails when the observer does.
pub fn not_run<'a>(
    tests: impl IntoIterator<Item = &'a Test>,
    kernel: &KernelName,
    boot: Option<BootId>,
    kind: TroubleKind,
    message: &str,
    observer: &mut dyn Observer,
) -> anyhow::Result<()> {
    for test in tests {
        observer.observe(&RunEvent::TestFinished(TestResult {
            test: test.id.clone(),
            boot,
            kernel: kernel.clone(),
            verdict: Verdict::Error(Trouble { kind, message: message.to_owned() }),
            elapsed: Duration::ZERO,
            samples: Default::default(),
            notes: Default::default(),
            breakdown: None,
            findings: Vec::new(),
            log: String::new(),
        }))?;
    }
    Ok(())
}

enum Launch {
    Ended(BootEnd),
    /// The host could not start the machine.
    Impossible(String),
}

/// Plans one boot of the tests that are left.
fn plan(measurement: &Measurement<'_>, left: &VecDeque<usize>, nonce: Nonce, slowdown: f64) -> Plan {
    let tests = left.iter().map(|index| {
        let test = &measurement.tests[*index];
        PlannedTest {
            id: *index as u32,
            name: test.id.to_string(),
            workload: test.workload.clone(),
            params: test.params.clone(),
            // The guest bounds its own waits a little earlier than we do.
            timeout_ms: u64::try_from(test.timeout.mul_f64(slowdown * 0.9).as_millis()).unwrap_or(u64::MAX),
            seed: seed_of(measurement.seed, &test.id.to_string()),
        }
    });
    Plan { protocol: PROTOCOL, nonce, seed: measurement.seed, tests: tests.collect() }
}

/// Seed of one test: a function of the run's seed and the test's name, so that
/// it does not depend on what else is selected (FNV-1a).
fn seed_of(run: u64, name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in run.to_le_bytes().into_iter().chain(name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

fn session_tests(measurement: &Measurement<'_>, plan: &Plan, slowdown: f64) -> Vec<SessionTest> {
    let of = |planned: &PlannedTest| {
        let test = &measurement.tests[planned.id as usize];
        let workload = kregress_guest::workloads::find(&test.workload);
        let required = test.metrics.iter().map(|metric| metric.name.to_owned());
        SessionTest {
            id: planned.id,
            name: test.id.clone(),
            timeout: test.timeout.mul_f64(slowdown.max(1.0)),
            known_metrics: workload
                .map(|workload| workload.info.metrics.iter().map(|metric| metric.name.to_owned()).collect())
                .unwrap_or_default(),
            required_metrics: match measurement.machine.backend {
                Backend::Qemu | Backend::VirtmeNg => required.collect(),
                // Tracers are the host's, so what they would tell is missing.
                Backend::Local => Vec::new(),
            },
        }
    };
    plan.tests.iter().map(of).collect()
}

/// One boot. Tests that got a verdict are taken out of `left`.
fn launch(
    lab: &Lab,
    measurement: &Measurement<'_>,
    id: BootId,
    left: &mut VecDeque<usize>,
    observer: &mut dyn Observer,
) -> anyhow::Result<Launch> {
    let slowdown = lab.slowdown(measurement);
    let plan = plan(measurement, left, lab.nonce(), slowdown);
    let boot_dir = BootDir::new(measurement.run_dir, id);
    let prepared = match lab.prepare(measurement, &plan, &boot_dir) {
        Ok(prepared) => prepared,
        Err(error) => return Ok(Launch::Impossible(chain::text(&error))),
    };
    observer.observe(&RunEvent::BootStarted(BootInfo {
        id,
        kernel: measurement.kernel.info.name.clone(),
        accel: measurement.decision.accel,
        machine: measurement.machine,
        command: prepared.command.argv(),
        tests: left.iter().map(|index| measurement.tests[*index].id.clone()).collect(),
        directory: boot_dir.relative().to_owned(),
        slowdown,
    }))?;
    let mut session = Session::new(
        plan.nonce.clone(),
        session_tests(measurement, &plan, slowdown),
        lab.limits(measurement),
    )
    .allowing(Allowances::of_kernel(measurement.allow, &measurement.kernel.info.name.0));
    let mut end = BootEnd::Lost { reason: "the boot ended without a word".to_owned() };
    let mut lost_observer = None;
    let outcome = lab.carry_out(prepared, &mut session, &mut |at, action| {
        let test = |id: u32| measurement.tests[id as usize].id.clone();
        let event = match action {
            Action::Hello(hello) => RunEvent::BootReady { boot: id, hello: *hello, exec_to_hello: at },
            Action::Started(started) => RunEvent::TestStarted { boot: id, test: test(started) },
            Action::Progress { test: running, done, total } => {
                RunEvent::TestProgress { boot: id, test: test(running), done, total }
            }
            Action::BootFinding(finding) => RunEvent::BootFinding { boot: id, finding },
            Action::Notice(text) => RunEvent::Notice(format!("boot {id}: {text}")),
            Action::Judged(judged) => {
                let judged = *judged;
                left.retain(|index| *index != judged.id as usize);
                RunEvent::TestFinished(TestResult {
                    test: test(judged.id),
                    boot: Some(id),
                    kernel: measurement.kernel.info.name.clone(),
                    verdict: judged.verdict,
                    elapsed: judged.elapsed,
                    samples: judged.samples,
                    notes: judged.notes,
                    breakdown: judged.breakdown,
                    findings: judged.findings,
                    log: judged.log,
                })
            }
            Action::Ended(how) => {
                end = how;
                return Ok(());
            }
            Action::Kill | Action::Diagnose | Action::Heard(_) => return Ok(()),
        };
        let result = observer.observe(&event);
        if let Err(error) = &result {
            lost_observer.get_or_insert_with(|| chain::text(error.as_ref()));
        }
        result
    });
    if let Some(reason) = lost_observer {
        anyhow::bail!("cannot record the results: {reason}");
    }
    let (elapsed, end) = match outcome {
        Ok(elapsed) => (elapsed, end),
        Err(error) => {
            let reason = chain::text(&error);
            let end = BootEnd::NotBooted { reason: reason.clone() };
            observer.observe(&RunEvent::BootFinished { boot: id, end, elapsed: Duration::ZERO })?;
            return Ok(Launch::Impossible(reason));
        }
    };
    observer.observe(&RunEvent::BootFinished { boot: id, end: end.clone(), elapsed })?;
    Ok(Launch::Ended(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_of_a_test_depends_on_run_and_name_only() {
        assert_eq!(seed_of(1, "smoke/a"), seed_of(1, "smoke/a"));
        assert_ne!(seed_of(1, "smoke/a"), seed_of(2, "smoke/a"));
        assert_ne!(seed_of(1, "smoke/a"), seed_of(1, "smoke/b"));
    }
}
