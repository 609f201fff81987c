//! What a program and the KTAP that it printed come to together. Pure.
//!
//! Neither covers up for the other: a failure among the cases is one whatever the
//! exit code says, and an exit code whatever the cases say.

use kregress_wire::{ExecResult, Outcome};

use crate::ktap::Report;
use crate::model::{Subtest, SubtestCounts, SubtestVerdict};

/// Cases that a message names.
const NAMED: usize = 3;

/// The outcome of a test, from that of its program and what it reported.
pub(super) fn outcome(program: &Outcome, result: ExecResult, report: &Report) -> Outcome {
    let counts = SubtestCounts::of(report.subtests.iter().map(|it| it.verdict));
    let failed = named(report, SubtestVerdict::Fail, "failed");
    let wrong = named(report, SubtestVerdict::Error, "in error");
    match program {
        Outcome::Error { .. } | Outcome::TimedOut { .. } => program.clone(),
        Outcome::Fail { message } => match failed.or(wrong) {
            Some(cases) => Outcome::Fail { message: format!("{cases}\n{message}") },
            None => program.clone(),
        },
        Outcome::Pass { .. } | Outcome::Skip { .. } => {
            if let Some(message) = failed {
                return Outcome::Fail { message };
            }
            if let Some(message) = wrong {
                return Outcome::Error { message };
            }
            let checks = counts.pass + counts.expected;
            match (program, &report.skipped) {
                (Outcome::Skip { reason }, _) => {
                    let why = report.skipped.as_ref().or(first_reason(report));
                    Outcome::Skip { reason: why.filter(|why| !why.is_empty()).unwrap_or(reason).clone() }
                }
                (_, Some(reason)) if counts.total() == 0 => {
                    let nothing = "the program skipped all of its tests";
                    Outcome::Skip {
                        reason: if reason.is_empty() { nothing.to_owned() } else { reason.clone() },
                    }
                }
                _ if counts.total() == 0 && result == ExecResult::Selftest => program.clone(),
                _ if counts.total() == 0 && result == ExecResult::KernelLog => Outcome::Error {
                    message: "the kernel log has no KTAP\n\
                              hint: KUnit prints it with CONFIG_KUNIT, unless `kunit.enable=0` is on the command line"
                        .to_owned(),
                },
                _ if counts.total() == 0 => Outcome::Error {
                    message: "the program reported no subtest\n\
                              hint: KTAP begins with a version, `KTAP version 1`, or with a plan, `1..N`"
                        .to_owned(),
                },
                _ if checks == 0 => {
                    let why = first_reason(report).map(|why| format!(": {why}")).unwrap_or_default();
                    Outcome::Skip { reason: format!("all subtests were skipped{why}") }
                }
                _ => Outcome::Pass { checks: checks as u64 },
            }
        }
    }
}

/// Why the first skipped case was.
fn first_reason(report: &Report) -> Option<&String> {
    let skipped = report.subtests.iter().filter(|it| it.verdict == SubtestVerdict::Skip);
    skipped.map(|it| &it.reason).find(|reason| !reason.is_empty())
}

/// `2 of 7 subtests failed: a, b / c`, and a line for what is said of each; none if
/// there is none.
fn named(report: &Report, verdict: SubtestVerdict, word: &str) -> Option<String> {
    let those: Vec<&Subtest> = report.subtests.iter().filter(|it| it.verdict == verdict).collect();
    let names: Vec<String> = those.iter().take(NAMED).map(|it| it.name()).collect();
    let more = those.len().checked_sub(NAMED).filter(|more| *more > 0);
    let more = more.map(|more| format!(" and {more} more")).unwrap_or_default();
    let mut text =
        format!("{} of {} subtests {word}: {}{more}", those.len(), report.subtests.len(), names.join(", "));
    for it in those.iter().take(NAMED).filter(|it| !it.reason.is_empty()) {
        text.push_str(&format!("\n{}: {}", it.name(), it.reason));
    }
    (!those.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(words: &[SubtestVerdict]) -> Report {
        let subtest = |(number, verdict): (usize, &SubtestVerdict)| Subtest {
            path: vec![format!("t{number}")],
            verdict: *verdict,
            reason: String::new(),
            elapsed: None,
            diagnostics: String::new(),
        };
        Report { subtests: words.iter().enumerate().map(subtest).collect(), skipped: None }
    }

    fn outcome(program: &Outcome, report: &Report) -> Outcome {
        super::outcome(program, ExecResult::Ktap, report)
    }

    #[test]
    fn a_selftest_may_report_no_case_at_all() {
        let of = |program: &Outcome, words: &[SubtestVerdict]| {
            super::outcome(program, ExecResult::Selftest, &report(words))
        };
        assert_eq!(of(&EXIT_0, &[]), EXIT_0);
        assert_eq!(of(&fail(), &[]), fail());
        assert_eq!(of(&skip(), &[]), skip());
        assert!(matches!(of(&EXIT_0, &[SubtestVerdict::Fail]), Outcome::Fail { .. }));
    }

    const EXIT_0: Outcome = Outcome::Pass { checks: 1 };

    fn skip() -> Outcome {
        Outcome::Skip { reason: "`t` exited with code 4".into() }
    }

    fn fail() -> Outcome {
        Outcome::Fail { message: "`t` exited with code 1".into() }
    }

    #[test]
    fn a_pass_needs_cases_and_none_that_failed() {
        use SubtestVerdict::{Error, Fail, Pass, Skip, Todo, Xfail};
        assert_eq!(outcome(&EXIT_0, &report(&[Pass, Skip, Xfail, Todo])), Outcome::Pass { checks: 3 });
        let nothing = outcome(&EXIT_0, &report(&[]));
        assert!(
            matches!(&nothing, Outcome::Error { message } if message.starts_with("the program reported no subtest\nhint: "))
        );
        let failed = outcome(&EXIT_0, &report(&[Pass, Fail, Error]));
        assert_eq!(failed, Outcome::Fail { message: "1 of 3 subtests failed: t1".into() });
        let wrong = outcome(&EXIT_0, &report(&[Pass, Error]));
        assert_eq!(wrong, Outcome::Error { message: "1 of 2 subtests in error: t1".into() });
    }

    #[test]
    fn what_was_skipped_is_skipped_with_the_reason() {
        use SubtestVerdict::{Fail, Pass, Skip};
        let mut all = report(&[Skip, Skip]);
        all.subtests[1].reason = "no veth".into();
        let reason = "all subtests were skipped: no veth".to_owned();
        assert_eq!(outcome(&EXIT_0, &all), Outcome::Skip { reason });
        let plan = Report { skipped: Some("not root".into()), ..report(&[]) };
        assert_eq!(outcome(&EXIT_0, &plan), Outcome::Skip { reason: "not root".into() });
        assert_eq!(outcome(&skip(), &plan), Outcome::Skip { reason: "not root".into() });
        assert_eq!(outcome(&skip(), &report(&[])), skip());
        assert_eq!(outcome(&skip(), &report(&[Pass])), skip());
        assert!(matches!(outcome(&skip(), &report(&[Fail])), Outcome::Fail { .. }));
    }

    #[test]
    fn an_exit_code_fails_whatever_the_cases_say() {
        assert_eq!(outcome(&fail(), &report(&[SubtestVerdict::Pass])), fail());
        let message = "4 of 5 subtests failed: t0, t1, t2 and 1 more\n`t` exited with code 1".to_owned();
        let mut cases = [SubtestVerdict::Fail; 5];
        cases[4] = SubtestVerdict::Pass;
        assert_eq!(outcome(&fail(), &report(&cases)), Outcome::Fail { message });
        let late = Outcome::TimedOut { message: "too late".into() };
        assert_eq!(outcome(&late, &report(&[SubtestVerdict::Pass])), late);
    }
}
