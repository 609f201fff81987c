//! `kregress selfcheck`: one kernel against itself, which says how noisy this
//! host is and how often it would be wrong about a change.

use std::io::{self, Write as _};

use super::pair::{self, Emulated, Pair, Place, Planner, Profile};
use super::{Context, INTERRUPTED, MessageFormat, noise, unless_reader_left};
use crate::analysis::compare::{self, Request};
use crate::analysis::selfcheck::{FalseAlarms, false_alarms};
use crate::analysis::{Comparison, EXACT_FLOOR, FLOOR, Measured, noise as measured};
use crate::lab::Quiet;
use crate::model::{NoiseOf, Overall};
use crate::report::look::Look;
use crate::report::selfcheck as report;
use crate::results::format::{Run, State};
use crate::results::{self, Summary};

/// Random splits of the boots that are judged: enough that one per cent is told
/// from none.
const SPLITS: u32 = 2000;

/// Asks for the same boots of everything that is measured in time; of the rest,
/// two a side.
struct Whole {
    boots: u32,
}

impl Planner for Whole {
    fn noise(&self, _: &Place<'_>) -> Vec<NoiseOf> {
        // The noise is the question.
        Vec::new()
    }

    fn next(&self, run: &Run) -> Option<Request> {
        let tests: Vec<String> = run.plan.tests.iter().map(|test| test.id.clone()).collect();
        let asked = tests.iter().any(|test| run.asked(test) > 0);
        let why = format!("{} boots a side of one kernel", self.boots);
        (!asked && !tests.is_empty()).then_some(Request { tests, from: 1, until: self.boots, why })
    }
}

/// Runs the command. Gives the exit code.
///
/// # Errors
///
/// Fails on wrong words, and when the host cannot carry a run at all.
pub fn run(
    context: &Context,
    kernel: Option<&str>,
    tests: &[String],
    boots: u32,
    quiet: Quiet,
) -> anyhow::Result<u8> {
    let project = context.project()?;
    let default = project.default_kernel.to_string();
    let kernel = kernel.unwrap_or(&default);
    let pair = Pair {
        kernels: pair::named(context, &project, [kernel, kernel])?,
        tests: super::tests(&project, tests, &context.machine(&project)?)?,
        boots: Some(boots),
        floor: FLOOR,
        exact_floor: EXACT_FLOOR,
        allowed: &[],
        quiet,
        profile: Profile::Never,
        emulated: Emulated::Decides,
    };
    let results::Finished { run, saved } = pair::measure(context, &project, pair, &Whole { boots })?;
    let junit = super::save_junit(context, &run);
    saved?;
    junit?;
    let Some(comparison) = compare::of_run(&run) else { return Ok(Summary::of(&run).exit_code()) };
    let found = measured::of(&comparison);
    let alarms = false_alarms(&comparison, SPLITS, context.seed);
    let base = Measured { run: &run, kernel: &comparison.base.kernel };
    let complete = run.state == State::Finished;
    let place = if complete && !found.is_empty() { noise::keep(base, found.clone())? } else { None };
    if context.messages == MessageFormat::Human {
        let mut text = Vec::new();
        let shown = report::Shown { comparison: &comparison, noise: &found, alarms, place: place.as_deref() };
        report::write(&shown, &run, Look::of_stdout(), &mut text)?;
        unless_reader_left(write_all(&text))?;
    }
    Ok(exit_code(&run, &comparison, alarms))
}

fn write_all(text: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text)?;
    out.flush()
}

/// 1 where the kernel differs from itself, or would be said to in more than one
/// split of a hundred.
fn exit_code(run: &Run, comparison: &Comparison, alarms: Option<FalseAlarms>) -> u8 {
    let often = alarms.is_some_and(|it| it.alarms.saturating_mul(100) > it.splits);
    match (run.state, comparison.overall()) {
        (State::Interrupted, _) => INTERRUPTED,
        (_, Overall::Failed) => Overall::Failed.exit_code(),
        (_, Overall::Regressed | Overall::Improved) => 1,
        (_, Overall::Inconclusive | Overall::Unchanged) if often => 1,
        (_, Overall::Inconclusive | Overall::Unchanged) => 0,
    }
}
