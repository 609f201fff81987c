//! One boot of some tests of a measurement: its plan, and what is told of it.

use std::sync::Mutex;
use std::time::Duration;

use kregress_wire::{Nonce, PROTOCOL, Plan, PlannedTest};

use super::Measurement;
use super::boot::Seat;
use super::errands::{Ended, Errand, How};
use super::exchange::{Action, SessionTest};
use super::machine::Lab;
use super::session::Session;
use super::slots::{Purpose, Quiet};
use super::watchdog::Limits;
use crate::guest::{programs, qemu};
use crate::model::{
    Accel, Allowances, Backend, BootEnd, BootFault, BootId, BootInfo, Exec, Observer, RunEvent, TestResult,
    TroubleKind, Verdict,
};
use crate::results::{BootDir, milliseconds};
use crate::{chain, interrupt};

/// Where the boots of a run tell what happens. One speaks at a time.
pub(super) struct Ear<'a> {
    observer: Mutex<Heard<'a>>,
}

struct Heard<'a> {
    observer: &'a mut dyn Observer,
    /// Why the observer no longer does its work.
    lost: Option<String>,
}

impl<'a> Ear<'a> {
    pub(super) fn new(observer: &'a mut dyn Observer) -> Self {
        Self { observer: Mutex::new(Heard { observer, lost: None }) }
    }

    fn heard(&self) -> std::sync::MutexGuard<'_, Heard<'a>> {
        // An observer that panicked has lost an event at worst.
        self.observer.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Tells an event.
    ///
    /// # Errors
    ///
    /// Fails when the observer does, now or before.
    pub(super) fn tell(&self, event: &RunEvent) -> anyhow::Result<()> {
        let mut heard = self.heard();
        let result = heard.observer.observe(event);
        if let Err(error) = &result {
            heard.lost.get_or_insert_with(|| chain::text(error.as_ref()));
        }
        result
    }

    /// Why results can no longer be recorded, if so.
    pub(super) fn lost(&self) -> Option<String> {
        self.heard().lost.clone()
    }
}

/// Plans one boot of these tests.
fn plan(measurement: &Measurement<'_>, errand: &Errand, nonce: Nonce, slowdown: f64, limits: Limits) -> Plan {
    let repeat = errand.turn.repeat;
    let tests = errand.tests.iter().map(|index| {
        let test = &measurement.tests[*index];
        PlannedTest {
            id: u32::try_from(*index).unwrap_or(u32::MAX),
            name: test.id.to_string(),
            workload: test.workload.clone(),
            params: test.params.clone(),
            timeout_ms: milliseconds(test.timeout.mul_f64(slowdown)),
            silence_ms: milliseconds(limits.no_output),
            seed: seed_of(measurement.seed, repeat, &test.id.to_string()),
            exec: test
                .exec
                .as_ref()
                .and_then(|exec| programs::planned(exec, measurement.kernel, measurement.machine)),
        }
    });
    // What it lacks is told best by the guest itself, before our limit passes.
    let patience_ms = u64::try_from(limits.boot.as_millis() * 2 / 3).unwrap_or(u64::MAX);
    let carrier = qemu::carrier(measurement.decision.accel);
    Plan {
        protocol: PROTOCOL,
        nonce,
        seed: seed_of(measurement.seed, repeat, ""),
        patience_ms,
        carrier,
        tests: tests.collect(),
        shell: None,
    }
}

/// Seed of one test in one of the boots asked for (of the boot itself without a
/// name): a function of the run's seed and these two, so that it does not depend on
/// what else is selected, and is the same for every kernel (FNV-1a). Boots of a
/// kernel differ in it: what is drawn is part of the noise and no bias.
fn seed_of(run: u64, repeat: u32, name: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in run.to_le_bytes().into_iter().chain(repeat.to_le_bytes()).chain(name.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash
}

/// What ties a guest to its boot. Random, unless time is virtual: then even this must
/// be the same in every run.
fn nonce(lab: &Lab, measurement: &Measurement<'_>, errand: &Errand) -> Nonce {
    match measurement.decision.accel {
        Accel::Icount => {
            let half = |name| seed_of(measurement.seed, errand.turn.repeat, name).to_le_bytes();
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&half("nonce, first half"));
            bytes[8..].copy_from_slice(&half("nonce, second half"));
            Nonce::from_bytes(bytes)
        }
        Accel::Kvm | Accel::Tcg | Accel::Native => lab.nonce(),
    }
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
            exec: test.exec.as_ref().map(Exec::result),
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

/// Whether another boot may show something else. Not where the host, the user or
/// the order of things is to blame.
fn may_be_tried_again(verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Fail(_) => true,
        Verdict::Pass { .. } | Verdict::Skip { .. } => false,
        Verdict::Error(trouble) => match trouble.kind {
            TroubleKind::Workload | TroubleKind::Lost | TroubleKind::Protocol => true,
            TroubleKind::NotReached
            | TroubleKind::Host
            | TroubleKind::Unfinished
            | TroubleKind::Interrupted => false,
        },
    }
}

/// Carries out an errand, and says what is left of it. Nothing of it is running
/// any more when this returns.
pub(super) fn launch(
    lab: &Lab,
    measurement: &Measurement<'_>,
    errand: &Errand,
    id: BootId,
    ear: &Ear<'_>,
    quiet: Quiet,
) -> Ended {
    let mut left = errand.tests.clone();
    let mut missed = Vec::new();
    let seat = match (quiet, errand.need.purpose) {
        (Quiet::Alone, Purpose::Timing) => Seat::Own(measurement.machine.cpus),
        _ => Seat::Any,
    };
    let (boot, how) = match try_launch(lab, measurement, errand, (id, seat), ear, &mut left, &mut missed) {
        Ok(how) => (Some(id), how),
        Err(reason) => (None, How::Impossible(reason)),
    };
    let how = if let Some(reason) = ear.lost() {
        How::Stopped(TroubleKind::Host, format!("cannot record the results: {reason}"))
    } else if interrupt::requested() {
        How::Stopped(TroubleKind::Interrupted, "interrupted by the user".to_owned())
    } else {
        how
    };
    Ended { boot, left, missed, how }
}

/// The same; fails with the reason why the host could not start or carry it.
fn try_launch(
    lab: &Lab,
    measurement: &Measurement<'_>,
    errand: &Errand,
    (id, seat): (BootId, Seat),
    ear: &Ear<'_>,
    left: &mut Vec<usize>,
    missed: &mut Vec<usize>,
) -> Result<How, String> {
    let slowdown = measurement.slowdown();
    let limits = lab.limits(measurement);
    let plan = plan(measurement, errand, nonce(lab, measurement, errand), slowdown, limits);
    let boot_dir = BootDir::new(measurement.run_dir, id);
    let prepared = lab.prepare(measurement, &plan, &boot_dir).map_err(|error| chain::text(&error))?;
    let started = ear.tell(&RunEvent::BootStarted(BootInfo {
        id,
        kernel: measurement.kernel.info.name.clone(),
        turn: errand.turn,
        accel: measurement.decision.accel,
        machine: measurement.machine.clone(),
        command: prepared.command.argv(),
        tests: errand.tests.iter().map(|index| measurement.tests[*index].id.clone()).collect(),
        directory: boot_dir.relative().to_owned(),
        slowdown,
    }));
    if let Err(error) = started {
        return Err(chain::text(error.as_ref()));
    }
    let mut session = Session::new(plan.nonce.clone(), session_tests(measurement, &plan, slowdown), limits)
        .allowing(Allowances::of_kernel(measurement.allow, &measurement.kernel.info.name.0))
        .on_root(measurement.machine.rootfs);
    let mut end = BootEnd::Lost { reason: "the boot ended without a word".to_owned() };
    let outcome = lab.carry_out(prepared, seat, &mut session, &mut |at, action| {
        let test = |id: u32| measurement.tests[id as usize].id.clone();
        let event = match action {
            Action::Hello(hello) => RunEvent::BootReady { boot: id, hello: *hello, exec_to_hello: at },
            Action::Started(started) => RunEvent::TestStarted { boot: id, test: test(started) },
            Action::Progress { test: running, done, total } => {
                RunEvent::TestProgress { boot: id, test: test(running), done, total }
            }
            Action::BootFinding(finding) => RunEvent::BootFinding { boot: id, finding },
            Action::BootEvidence(evidence) => RunEvent::BootEvidence { boot: id, evidence },
            Action::Notice(text) => RunEvent::Notice(format!("boot {id}: {text}")),
            Action::Judged(judged) => {
                let judged = *judged;
                let index = judged.id as usize;
                left.retain(|left| *left != index);
                if may_be_tried_again(&judged.verdict) {
                    missed.push(index);
                }
                RunEvent::TestFinished(TestResult {
                    test: test(judged.id),
                    boot: Some(id),
                    kernel: measurement.kernel.info.name.clone(),
                    turn: errand.turn,
                    verdict: judged.verdict,
                    elapsed: judged.elapsed,
                    samples: judged.samples,
                    notes: judged.notes,
                    breakdown: judged.breakdown,
                    subtests: judged.subtests,
                    findings: judged.findings,
                    evidence: judged.evidence,
                    log: judged.log,
                })
            }
            Action::Ended(how) => {
                end = how;
                return Ok(());
            }
            Action::Kill
            | Action::Terminate
            | Action::Diagnose
            | Action::AskMonitor(_)
            | Action::Heard(_) => return Ok(()),
        };
        // What another boot could not have recorded, this one cannot either.
        match ear.tell(&event) {
            Ok(()) => ear.lost().map_or(Ok(()), |reason| Err(anyhow::anyhow!(reason))),
            Err(error) => Err(error),
        }
    });
    missed.sort_unstable();
    let (elapsed, end, failed) = match outcome {
        Ok(elapsed) => (elapsed, end, None),
        Err(error) => {
            let reason = chain::text(&error);
            let end = BootEnd::NotBooted { reason: reason.clone(), fault: BootFault::Unknown };
            (Duration::ZERO, end, Some(reason))
        }
    };
    // A failure to tell is kept by the ear, and asked of it by the caller.
    let _ = ear.tell(&RunEvent::BootFinished { boot: id, end: end.clone(), elapsed });
    match failed {
        Some(reason) => Err(reason),
        None => Ok(How::Booted(end)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_of_a_test_depends_on_run_repeat_and_name_only() {
        assert_eq!(seed_of(1, 1, "smoke/a"), seed_of(1, 1, "smoke/a"));
        let others = [seed_of(2, 1, "smoke/a"), seed_of(1, 2, "smoke/a"), seed_of(1, 1, "smoke/b")];
        assert!(others.iter().all(|other| *other != seed_of(1, 1, "smoke/a")));
    }
}
