//! What is said of a conversation that is over: the verdict of the test that
//! ran, and how the boot ended.

use std::time::Duration;

use kregress_wire::stacks;

use super::{Cause, Session};
use crate::console::{Finding, FindingKind};
use crate::guest::accel::NO_HELLO;
use crate::lab::boot_hint::boot_hint;
use crate::lab::ladder::Conclusion;
use crate::lab::verdict::kind_of;
use crate::model::{BootEnd, BootFault, Failure, FailureKind, Trouble, TroubleKind, Verdict};

/// Why the kernel panics of itself after a report that says more: an oops
/// (`oops_end`, arch/x86/kernel/dumpstack.c), and its detectors of hangs
/// (kernel/watchdog.c, kernel/hung_task.c, kernel/rcu/tree_stall.h).
const AFTER_OOPS: [&str; 1] = ["Fatal exception"];
const AFTER_HANG: [&str; 5] =
    ["softlockup: hung tasks", "Hard LOCKUP", "hung_task: blocked tasks", "RCU Stall", "workqueue lockup"];

/// Whether the kernel says that something does not get on: one of its detectors of
/// hangs, or a device that is not given back (`netdev_wait_allrefs_any`,
/// net/core/dev.c).
pub(super) fn is_complaint(finding: &Finding) -> bool {
    finding.kind == FindingKind::Hang || finding.title.starts_with("unregister_netdevice: waiting for ")
}

impl Session {
    /// Keeps what ended the kernel. A panic that only repeats what led to it does
    /// not displace the first cause.
    pub(super) fn note_cause(&mut self, finding: &Finding) {
        let says = |reasons: &[&str]| reasons.iter().any(|reason| finding.title.contains(reason));
        let led_to_it = |kinds: &[FindingKind]| self.recent.clone().filter(|it| kinds.contains(&it.kind));
        let cause = match finding.kind {
            // Our command line (`oops=panic`) makes it the end of the kernel.
            FindingKind::Oops => Some(finding.clone()),
            FindingKind::Panic if says(&AFTER_OOPS) => {
                led_to_it(&[FindingKind::Bug]).or_else(|| Some(finding.clone()))
            }
            FindingKind::Panic if says(&AFTER_HANG) => {
                let hang = || Finding { kind: FindingKind::Hang, ..finding.clone() };
                led_to_it(&[FindingKind::Hang]).or_else(|| Some(hang()))
            }
            FindingKind::Panic => Some(finding.clone()),
            _ => {
                self.recent = Some(finding.clone());
                None
            }
        };
        if self.fatal.is_none() {
            self.fatal = cause;
        }
    }

    /// Verdict of the test that was running when the guest ended.
    pub(super) fn verdict_of_the_dead(&self, index: usize) -> Verdict {
        let trouble = |kind, message: String| Verdict::Error(Trouble { kind, message });
        let lost = |status: Option<&str>| {
            let status = status.map_or(String::new(), |status| format!(": {status}"));
            trouble(
                TroubleKind::Lost,
                format!(
                    "the guest went away without a word from its kernel{status}\nhint: console.log has what it said before"
                ),
            )
        };
        if let Some(finding) = &self.fatal
            && !matches!(self.cause, Some(Cause::Interrupted | Cause::Host(_)))
        {
            let kind = match finding.kind {
                // `BUG()` is an oops to the kernel.
                FindingKind::Bug => FailureKind::Oops,
                kind => kind_of(kind),
            };
            return Verdict::Fail(Failure { kind, message: finding.title.clone() });
        }
        match &self.cause {
            Some(Cause::TestTimeout { what, limit }) => {
                self.verdict_over_the_limit(what, *limit, &self.records[index].findings)
            }
            Some(Cause::Protocol(reason)) => {
                trouble(TroubleKind::Protocol, format!("the guest broke the protocol: {reason}"))
            }
            Some(Cause::Host(reason)) => trouble(TroubleKind::Host, reason.clone()),
            Some(Cause::Interrupted) => {
                trouble(TroubleKind::Interrupted, "interrupted by the user".to_owned())
            }
            Some(Cause::Lost { status }) => lost(status.as_deref()),
            Some(Cause::BootTimeout | Cause::Silence | Cause::Blinded { .. }) | None => lost(None),
        }
    }

    /// Tells a kernel that is stuck from one that is slow, and from a machine
    /// that is stuck.
    fn verdict_over_the_limit(&self, what: &str, limit: Duration, findings: &[Finding]) -> Verdict {
        let fail = |kind, message| Verdict::Fail(Failure { kind, message });
        // What the kernel says is stuck explains more than where we see it wait.
        let complaint = findings.iter().find(|finding| is_complaint(finding));
        match (self.conclusion(), complaint) {
            (Conclusion::CleanupStuck(stack), complaint) => {
                let stuck = stacks::unfinished(limit, &stack);
                let message = complaint.map_or(stuck.clone(), |it| format!("{}; {stuck}", it.title));
                fail(FailureKind::Hang, message)
            }
            (Conclusion::Alive { cleanup: Some(place) }, Some(complaint)) => {
                let title = &complaint.title;
                fail(FailureKind::Hang, format!("{what}: {title}; cleanup_net is at work in {place}"))
            }
            (_, Some(complaint)) => fail(FailureKind::Hang, format!("{what}: {}", complaint.title)),
            (Conclusion::Frozen { place, .. }, None) => {
                let place = place.map_or(String::new(), |place| format!(": {place}"));
                fail(FailureKind::Hang, format!("{what}, and the guest does not answer{place}"))
            }
            (Conclusion::Machine(reason), None) => {
                let message = format!("{what}, and the machine itself is at fault: {reason}");
                Verdict::Error(Trouble { kind: TroubleKind::Host, message })
            }
            (Conclusion::Alive { cleanup: Some(place) }, None) => {
                fail(FailureKind::Timeout, format!("{what}; cleanup_net is at work in {place}"))
            }
            (Conclusion::Alive { cleanup: None } | Conclusion::Unknown, None) => {
                fail(FailureKind::Timeout, what.to_owned())
            }
        }
    }

    fn conclusion(&self) -> Conclusion {
        self.ladder.as_ref().map_or(Conclusion::Unknown, |ladder| ladder.conclusion())
    }

    /// How the boot ended.
    pub(super) fn end(&self) -> BootEnd {
        let said_hello = self.watchdog.reached_hello();
        let status = match &self.cause {
            None => {
                return match &self.fatal {
                    Some(finding) => BootEnd::Panicked { title: finding.title.clone() },
                    None => BootEnd::Clean,
                };
            }
            Some(Cause::Interrupted) => {
                return BootEnd::Killed { reason: "interrupted by the user".to_owned() };
            }
            Some(Cause::Host(reason)) => return BootEnd::Killed { reason: reason.clone() },
            Some(Cause::Blinded { title }) if self.fatal.is_none() => {
                let reason = format!("ended for a fresh boot, a detector of the kernel was off: {title}");
                return BootEnd::Killed { reason };
            }
            Some(Cause::Blinded { .. }) => None,
            Some(Cause::Lost { status: Some(status) }) if !said_hello => {
                Some(format!("the machine ended before the hello of its guest: {status}"))
            }
            Some(Cause::Lost { status }) => status.clone(),
            Some(Cause::Protocol(reason)) => Some(format!("it broke the protocol: {reason}")),
            Some(Cause::BootTimeout) => Some(format!("{NO_HELLO} within {:.0?}", self.limits.boot)),
            Some(Cause::Silence) => Some("it was silent between two tests".to_owned()),
            Some(Cause::TestTimeout { what, .. }) => Some(what.clone()),
        };
        let status = status.unwrap_or_else(|| "its channels closed".to_owned());
        if !said_hello {
            return self.not_booted(status);
        }
        match (&self.fatal, &self.cause, self.conclusion()) {
            (Some(finding), ..) => BootEnd::Panicked { title: finding.title.clone() },
            (None, Some(Cause::TestTimeout { .. } | Cause::Protocol(_)), _) => {
                BootEnd::Killed { reason: status }
            }
            (None, Some(Cause::Silence), Conclusion::CleanupStuck(stack)) => BootEnd::Hung {
                reason: format!("{status}: {}", stacks::unfinished(self.limits.no_output, &stack)),
            },
            (None, Some(Cause::Silence), Conclusion::Frozen { place, .. }) => {
                let place = place.map_or(String::new(), |place| format!(": {place}"));
                BootEnd::Hung { reason: format!("{status}, and the guest does not answer{place}") }
            }
            (None, ..) => BootEnd::Lost { reason: status },
        }
    }

    /// The end of a guest without a hello. What our guest lacks in the kernel is
    /// no fault of the kernel.
    fn not_booted(&self, status: String) -> BootEnd {
        let stuck = match self.conclusion() {
            Conclusion::CleanupStuck(stack) => Some(format!("in {}", stacks::chain(&stack))),
            Conclusion::Frozen { place, in_kernel: true } => place,
            _ => None,
        };
        let hang = self.recent.as_ref().filter(|finding| finding.kind == FindingKind::Hang);
        let (mut reason, mut fault) = match (&self.fatal, &self.last_words) {
            // The guest's own words know what is missing.
            (_, Some(words)) => (words.clone(), BootFault::Unknown),
            (Some(finding), None) => (finding.title.clone(), BootFault::Kernel),
            (None, None) => match (hang, &stuck) {
                (Some(hang), _) => (format!("{status}: {}", hang.title), BootFault::Kernel),
                (None, Some(place)) => (format!("{status}: {place}"), BootFault::Kernel),
                (None, None) => (status, BootFault::Unknown),
            },
        };
        if !reason.contains("\nhint: ")
            && let Some(hint) = boot_hint(&reason)
        {
            // A silence has this hint whatever is behind it.
            if hang.is_none() && stuck.is_none() {
                fault = BootFault::Unknown;
            }
            reason = format!("{reason}\nhint: {hint}");
        }
        BootEnd::NotBooted { reason, fault }
    }
}
