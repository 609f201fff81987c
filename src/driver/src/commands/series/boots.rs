//! Boots of a series: every kernel that differs, with the tests that were asked for.

use super::kernels::Bank;
use super::{Check, kernel_name};
use crate::commands::run::{self, Asked, Effort, Wanted};
use crate::model::Verdict;
use crate::results::format::{Run, TestResult};
use crate::results::{self, Finished, Standing, health, turns};
use crate::series::checked::{Blame, Image, Revision, Tested, Trouble};

/// Boots each image once, with repetitions of what did not pass.
///
/// # Errors
///
/// Fails where the host cannot carry the boots at all, and where they cannot be recorded.
pub(super) fn boot(check: &mut Check<'_>, bank: &Bank) -> anyhow::Result<()> {
    let own = |at: &usize| check.checked.revisions[*at].image == Image::Own;
    let booted: Vec<usize> = (0..check.checked.revisions.len()).filter(own).collect();
    let specs: Vec<_> = booted.iter().filter_map(|at| bank.spec(*at)).cloned().collect();
    if specs.is_empty() {
        return Ok(());
    }
    let asked = Asked {
        machine: check.machine.clone(),
        wanted: specs.into_iter().map(Wanted::Spec).collect(),
        tests: check.tests.clone(),
        effort: Effort { boots: 1, retries: check.request.retries, quiet: check.request.judged.quiet },
        seed: check.context.seed,
        part: None,
    };
    let Finished { run, saved } = run::execute(check.context, &check.project, asked)?;
    check.made_of("patches", &run.plan.directory);
    for at in booted {
        take(&mut check.checked.revisions[at], &run);
    }
    let junit = crate::report::junit::save(&run);
    saved?;
    junit?;
    Ok(())
}

/// What the run says of a revision.
fn take(revision: &mut Revision, run: &Run) {
    let kernel = kernel_name(revision).0;
    for test in &run.plan.tests {
        let of_this = |result: &&TestResult| result.kernel == kernel && result.test == test.id;
        let results: Vec<&TestResult> = run.results.iter().filter(of_this).collect();
        for turn in turns(&results) {
            let missed = turn.missed().count();
            let (kind, message) = why(turn.standing, turn.speaker());
            let elapsed = turn.attempts.iter().map(|it| it.elapsed_ns / 1_000_000).sum();
            let tested = Tested {
                standing: turn.standing,
                kind,
                message,
                missed: u32::try_from(missed).unwrap_or(u32::MAX),
                attempts: u32::try_from(turn.attempts.len()).unwrap_or(u32::MAX),
                elapsed_ms: elapsed,
            };
            revision.tests.insert(test.id.clone(), tested);
        }
    }
    let of_this = health(run).into_iter().filter(|health| health.kernel == kernel);
    // What a test tells already is told by the test.
    let problems = of_this.flat_map(|health| health.problems).filter(|problem| problem.told_by.is_none());
    revision.troubles = problems
        .map(|problem| Trouble {
            blame: match problem.blame {
                results::Blame::Kernel => Blame::Kernel,
                results::Blame::Harness => Blame::Harness,
            },
            kind: problem.kind.to_owned(),
            message: problem.message,
        })
        .collect();
}

/// Why a test did not pass: one word, and more.
fn why(standing: Standing, result: &TestResult) -> (String, String) {
    if standing == Standing::Pass {
        return (String::new(), String::new());
    }
    match &result.verdict {
        Verdict::Pass { .. } => (String::new(), String::new()),
        Verdict::Fail(failure) => (failure.kind.name().to_owned(), failure.message.clone()),
        Verdict::Skip { reason } => ("skipped".to_owned(), reason.clone()),
        Verdict::Error(trouble) => (trouble.kind.name().to_owned(), trouble.message.clone()),
    }
}
