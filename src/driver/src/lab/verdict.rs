//! The verdict of a test that reported: its own words, what the kernel log
//! holds, and what it measured. Pure.

use std::collections::BTreeMap;

use kregress_wire::{Outcome, stacks};

use crate::console::{Finding, FindingKind};
use crate::model::{Failure, FailureKind, Trouble, TroubleKind, Verdict};

/// Class of a failure of which a finding is the first that is known.
pub(super) fn kind_of(finding: FindingKind) -> FailureKind {
    match finding {
        FindingKind::Panic => FailureKind::Panic,
        FindingKind::Oops => FailureKind::Oops,
        FindingKind::Hang => FailureKind::Hang,
        FindingKind::Bug
        | FindingKind::Warning
        | FindingKind::Lockdep
        | FindingKind::Sanitizer
        | FindingKind::Leak
        | FindingKind::Memory
        | FindingKind::Reboot
        | FindingKind::Blind => FailureKind::Finding,
    }
}

/// Verdict from what a workload said and what the kernel log shows.
pub(super) fn verdict(
    outcome: &Outcome,
    findings: &[Finding],
    required: &[String],
    samples: &BTreeMap<String, Vec<f64>>,
) -> Verdict {
    let trouble = |message: String| Verdict::Error(Trouble { kind: TroubleKind::Workload, message });
    // A workload that gave up on a stuck cleanup_net saw what we would have seen
    // a little later.
    let kind = |message: &str| match stacks::is_unfinished(message) {
        true => FailureKind::Hang,
        false => FailureKind::Assertion,
    };
    let fail = |message: &String| Verdict::Fail(Failure { kind: kind(message), message: message.clone() });
    match outcome {
        Outcome::Fail { message } => return fail(message),
        Outcome::TimedOut { message } => {
            return Verdict::Fail(Failure { kind: FailureKind::Timeout, message: message.clone() });
        }
        _ => {}
    }
    let findings: Vec<_> = findings.iter().filter(|finding| finding.allowed.is_none()).collect();
    let valid: Vec<_> = findings.iter().filter(|finding| finding.kind != FindingKind::Blind).collect();
    if let Some(first) = valid.first() {
        let more = match valid.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        return Verdict::Fail(Failure {
            kind: kind_of(first.kind),
            message: format!("{}{more}", first.title),
        });
    }
    if let Some(blind) = findings.first() {
        return invalid(&blind.title);
    }
    match outcome {
        Outcome::Pass { checks: 0 } => {
            trouble("the workload reported a pass without any assertion".to_owned())
        }
        Outcome::Pass { checks } => {
            match required.iter().find(|metric| samples.get(*metric).is_none_or(Vec::is_empty)) {
                Some(metric) => trouble(format!("the workload passed but reported no sample of `{metric}`")),
                None => Verdict::Pass { checks: *checks },
            }
        }
        Outcome::Skip { reason } => Verdict::Skip { reason: reason.clone() },
        Outcome::Error { message } => trouble(message.clone()),
        Outcome::Fail { message } | Outcome::TimedOut { message } => fail(message),
    }
}

/// The verdict of a test that began with a detector of the kernel switched off:
/// that nothing was found in it proves nothing.
pub(super) fn valid(verdict: Verdict, blinded: Option<&str>) -> Verdict {
    match (verdict, blinded) {
        (Verdict::Pass { .. }, Some(title)) => invalid(title),
        (verdict, _) => verdict,
    }
}

fn invalid(title: &str) -> Verdict {
    let message = format!("the result is not valid, a detector of the kernel gave up: {title}");
    Verdict::Error(Trouble { kind: TroubleKind::Workload, message })
}
