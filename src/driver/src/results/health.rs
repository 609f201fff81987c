//! What is to be said of a kernel apart from its tests: findings outside of
//! every test, and boots that did not end as they should. Pure.

use super::format::{Boot, BootEnd, Finding, Run, State};
use crate::console;
use crate::model::{BootFault, Verdict};

/// Who is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blame {
    /// The harness or its host: nothing is known of the kernel.
    Harness,
    /// The kernel.
    Kernel,
}

/// Something wrong with a kernel or its boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthProblem {
    /// Who is at fault.
    pub blame: Blame,
    /// One word, as in the verdicts: `panic`, `warning`, `lost` and so on.
    pub kind: &'static str,
    /// The boot, if there was one.
    pub boot: Option<u32>,
    /// The test whose verdict already tells of it.
    pub told_by: Option<String>,
    /// One line, or more of which the first is a title.
    pub message: String,
    /// The stack, innermost first, as [`Finding::trace`] has it.
    pub stack: Vec<String>,
}

/// Health of one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The kernel.
    pub kernel: String,
    /// In the order of its boots; empty if all is well.
    pub problems: Vec<HealthProblem>,
}

impl Health {
    /// The gravest blame; none if all is well. What is known of the kernel
    /// weighs more than what is not.
    #[must_use]
    pub fn blame(&self) -> Option<Blame> {
        self.problems.iter().map(|problem| problem.blame).max()
    }
}

/// Health of every kernel of the run, in the order of the plan.
#[must_use]
pub fn health(run: &Run) -> Vec<Health> {
    let mut kernels: Vec<&String> = Vec::new();
    for kernel in &run.plan.kernels {
        if !kernels.contains(&kernel) {
            kernels.push(kernel);
        }
    }
    kernels.into_iter().map(|kernel| of_kernel(run, kernel)).collect()
}

fn of_kernel(run: &Run, kernel: &str) -> Health {
    let mut problems = Vec::new();
    for failed in run.failed_kernels.iter().filter(|failed| failed.kernel == kernel) {
        problems.push(harness("kernel", None, format!("the kernel cannot be had: {}", failed.reason)));
    }
    let mut boots = run.boots.iter().filter(|boot| boot.launch.kernel == kernel).peekable();
    if boots.peek().is_none() && problems.is_empty() {
        let kind = if run.state == State::Interrupted { "interrupted" } else { "unfinished" };
        problems.push(harness(kind, None, "no boot of this kernel was started".to_owned()));
    }
    for boot in boots {
        let mut end = bad_end(run, boot);
        let mut findings: Vec<&Finding> = unallowed(&boot.findings).collect();
        // What kept a kernel from coming up is told first, and once.
        if let Some(BootEnd::NotBooted { reason, fault: BootFault::Kernel }) = &boot.end
            && let Some(mut problem) = end.take()
        {
            if let Some(at) = findings.iter().position(|it| reason.lines().next() == Some(&it.title)) {
                problem.stack.clone_from(&findings.remove(at).stack);
            }
            problems.push(problem);
        }
        problems.extend(findings.into_iter().map(|finding| HealthProblem {
            blame: Blame::Kernel,
            kind: finding.kind.name(),
            boot: Some(boot.launch.id),
            told_by: None,
            message: finding.title.clone(),
            stack: finding.trace(),
        }));
        problems.extend(end);
    }
    Health { kernel: kernel.to_owned(), problems }
}

fn unallowed(findings: &[Finding]) -> impl Iterator<Item = &Finding> {
    findings.iter().filter(|finding| finding.allowed.is_none())
}

/// Whether a detector of the kernel was off: such a boot is ended for a fresh
/// one, and the finding itself was told or allowed.
fn is_blinded(run: &Run, boot: &Boot) -> bool {
    let of_tests = run.results.iter().filter(|result| result.boot == Some(boot.launch.id));
    let mut findings = of_tests.flat_map(|result| &result.findings).chain(&boot.findings);
    findings.any(|finding| console::switches_off(finding.kind, &finding.title))
}

fn harness(kind: &'static str, boot: Option<u32>, message: String) -> HealthProblem {
    HealthProblem { blame: Blame::Harness, kind, boot, told_by: None, message, stack: Vec::new() }
}

fn bad_end(run: &Run, boot: &Boot) -> Option<HealthProblem> {
    let id = boot.launch.id;
    let told_by = run.results.iter().find(|result| {
        result.boot == Some(id) && matches!(result.verdict, Verdict::Fail(_) | Verdict::Error(_))
    });
    let told_by = told_by.map(|result| result.test.clone());
    let problem = |blame, kind, what: &str, told_by: Option<String>| {
        let during = told_by.as_ref().map(|test| format!(" during {test}")).unwrap_or_default();
        let message = match what.split_once(": ") {
            Some((what, why)) => format!("boot {id} {what}{during}: {why}"),
            None => format!("boot {id} {what}{during}"),
        };
        Some(HealthProblem { blame, kind, boot: Some(id), told_by, message, stack: Vec::new() })
    };
    match &boot.end {
        Some(BootEnd::Clean) => None,
        // The finding outside of tests and the end tell of one and the same.
        Some(BootEnd::Panicked { reason }) if boot.findings.iter().any(|it| it.title == *reason) => None,
        Some(BootEnd::Panicked { reason }) => {
            problem(Blame::Kernel, "panic", &format!("panicked: {reason}"), told_by)
        }
        Some(BootEnd::Lost { reason }) => {
            problem(Blame::Harness, "lost", &format!("was lost: {reason}"), told_by)
        }
        // A limit that passed is the verdict of the test that passed it.
        Some(BootEnd::Killed { .. }) if told_by.is_some() || run.state == State::Interrupted => None,
        Some(BootEnd::Killed { .. }) if is_blinded(run, boot) => None,
        Some(BootEnd::Killed { reason }) => {
            problem(Blame::Harness, "host", &format!("was killed: {reason}"), None)
        }
        Some(BootEnd::Hung { reason }) => {
            let message = format!("boot {id} hung outside of every test: {reason}");
            Some(HealthProblem {
                blame: Blame::Kernel,
                kind: "hang",
                boot: Some(id),
                told_by: None,
                message,
                stack: Vec::new(),
            })
        }
        Some(BootEnd::NotBooted { reason, fault }) => {
            let blame = match fault {
                BootFault::Kernel => Blame::Kernel,
                BootFault::Unknown => Blame::Harness,
            };
            // That a test was not reached says nothing of a kernel that is to blame.
            let told_by = told_by.filter(|_| *fault == BootFault::Unknown);
            let message = format!("boot {id} never came up: {reason}");
            Some(HealthProblem { blame, kind: "boot", boot: Some(id), told_by, message, stack: Vec::new() })
        }
        None if run.state == State::Interrupted => None,
        None => problem(Blame::Harness, "unfinished", "has no end in the record", told_by),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::FindingKind;
    use crate::model::{self, RunEvent, TroubleKind};
    use crate::results::testing::{self, fold};

    fn texts(events: &[RunEvent]) -> String {
        let run = fold(events).close(State::Unfinished);
        let text =
            |problem: HealthProblem| format!("{:?} {}: {}", problem.blame, problem.kind, problem.message);
        health(&run).remove(0).problems.into_iter().map(text).collect::<Vec<_>>().join("\n")
    }

    fn one_boot(end: model::BootEnd) -> Vec<RunEvent> {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([testing::boot(1, "stable"), testing::ended(1, end)]);
        events
    }

    #[test]
    fn a_kernel_whose_boots_end_well_is_healthy() {
        let events = testing::whole_run(&["stable"], &["smoke/a"], 2);
        assert_eq!(texts(&events), "");
    }

    #[test]
    fn a_finding_outside_of_tests_is_the_kernels_fault() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([
            testing::boot(1, "stable"),
            testing::boot_finding(1, "WARNING: possible circular locking dependency detected"),
            testing::ended(1, model::BootEnd::Clean),
        ]);
        assert_eq!(texts(&events), "Kernel warning: WARNING: possible circular locking dependency detected");
    }

    #[test]
    fn an_allowed_finding_makes_no_kernel_ill() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([
            testing::boot(1, "stable"),
            RunEvent::BootFinding { boot: model::BootId(1), finding: testing::allowed("WARNING: x") },
            testing::ended(1, model::BootEnd::Clean),
        ]);
        assert_eq!(texts(&events), "");
    }

    #[test]
    fn a_boot_that_was_ended_because_a_detector_was_off_is_no_trouble_of_its_own() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        let mut finding = testing::allowed("WARNING: possible recursive locking detected in foo");
        finding.kind = FindingKind::Lockdep;
        let mut result = testing::pass("smoke/a", "stable", 1);
        result.findings.push(finding);
        events.extend([
            testing::boot(1, "stable"),
            RunEvent::TestFinished(result),
            testing::ended(1, model::BootEnd::Killed { reason: "ended for a fresh boot".into() }),
        ]);
        assert_eq!(texts(&events), "");
    }

    #[test]
    fn a_panic_between_tests_is_told_once() {
        let title = "Kernel panic - not syncing: Fatal exception";
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([
            testing::boot(1, "stable"),
            testing::boot_finding(1, title),
            testing::ended(1, model::BootEnd::Panicked { title: title.into() }),
        ]);
        assert_eq!(texts(&events).lines().count(), 1);
    }

    #[test]
    fn a_panic_during_a_test_names_the_test_that_tells_of_it() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([
            testing::boot(1, "stable"),
            RunEvent::TestFinished(testing::fail("smoke/a", "stable", 1, "panic")),
            testing::ended(1, model::BootEnd::Panicked { title: "Oops: 0000".into() }),
        ]);
        assert_eq!(texts(&events), "Kernel panic: boot 1 panicked during smoke/a: Oops: 0000");
    }

    #[test]
    fn a_boot_that_was_killed_for_a_tests_time_limit_is_that_tests_matter() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([
            testing::boot(1, "stable"),
            RunEvent::TestFinished(testing::fail("smoke/a", "stable", 1, "timeout")),
            testing::ended(1, model::BootEnd::Killed { reason: "limit".into() }),
        ]);
        assert_eq!(texts(&events), "");
    }

    #[test]
    fn a_boot_that_is_lost_or_never_came_up_is_the_harness_until_something_says_otherwise() {
        let lost = one_boot(model::BootEnd::Lost { reason: "QEMU exited with 1".into() });
        assert_eq!(texts(&lost), "Harness lost: boot 1 was lost: QEMU exited with 1");
        let dark = one_boot(model::BootEnd::NotBooted {
            reason: "no hello in 60 s".into(),
            fault: BootFault::Unknown,
        });
        assert_eq!(texts(&dark), "Harness boot: boot 1 never came up: no hello in 60 s");
    }

    #[test]
    fn a_boot_that_failed_by_the_kernels_fault_is_the_kernels() {
        let reason = "Kernel panic - not syncing: stack-protector".to_owned();
        let panicked = one_boot(model::BootEnd::NotBooted { reason, fault: BootFault::Kernel });
        assert_eq!(
            texts(&panicked),
            "Kernel boot: boot 1 never came up: Kernel panic - not syncing: stack-protector"
        );
        let hung = one_boot(model::BootEnd::Hung { reason: "it was silent between two tests".into() });
        assert_eq!(
            texts(&hung),
            "Kernel hang: boot 1 hung outside of every test: it was silent between two tests"
        );
    }

    #[test]
    fn the_panic_that_kept_a_kernel_from_coming_up_is_told_once_and_as_that() {
        let title = "Kernel panic - not syncing: stack-protector";
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        let end = model::BootEnd::NotBooted { reason: title.into(), fault: BootFault::Kernel };
        events.extend([testing::boot(1, "stable"), testing::boot_finding(1, title), testing::ended(1, end)]);
        assert_eq!(texts(&events), format!("Kernel boot: boot 1 never came up: {title}"));
        let run = fold(&events).close(State::Unfinished);
        assert_eq!(health(&run)[0].problems[0].stack, ["free_netdev", "cleanup_net"]);
    }

    #[test]
    fn a_kernel_of_which_nothing_was_seen_is_not_healthy() {
        let events = testing::started(&["stable"], &["smoke/a"], 1);
        assert_eq!(texts(&events), "Harness unfinished: no boot of this kernel was started");
    }

    #[test]
    fn a_boot_without_an_end_in_a_dead_run_is_unfinished() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.extend([testing::boot(1, "stable"), testing::begun(1, "smoke/a")]);
        assert_eq!(texts(&events), "Harness unfinished: boot 1 has no end in the record during smoke/a");
    }

    #[test]
    fn the_kernels_fault_outweighs_the_harness() {
        let mut events = one_boot(model::BootEnd::Lost { reason: "x".into() });
        events.insert(2, testing::boot_finding(1, "BUG: sleeping function called from invalid context"));
        events.insert(
            3,
            RunEvent::TestFinished(testing::error("smoke/a", "stable", Some(1), TroubleKind::Lost)),
        );
        let run = fold(&events).close(State::Unfinished);
        assert_eq!(health(&run)[0].blame(), Some(Blame::Kernel));
    }
}
