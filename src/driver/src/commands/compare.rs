//! `kregress compare`: two kernels in turns until their numbers are known, or two
//! runs that were made before.

use std::path::Path;

use super::pair::{self, Emulated, Pair, Place, Planner, Profile};
use super::report::Form;
use super::{Context, MessageFormat, report, usage};
use crate::analysis::compare::{self, Request, Terms};
use crate::analysis::refuse::What;
use crate::analysis::{EXACT_FLOOR, FLOOR, Measured, QUIET_FLOOR};
use crate::config;
use crate::lab::Quiet;
use crate::model::NoiseOf;
use crate::report::compared::Compared;
use crate::results::format::Run;
use crate::results::{self, Summary};

/// How a comparison is made.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Boots of a side at most.
    pub boots: Option<u32>,
    /// Smallest change that counts, as a share.
    pub floor: Option<f64>,
    /// What may differ beside the kernel.
    pub allowed: Vec<What>,
    /// What boots that measure times are granted.
    pub quiet: Quiet,
    /// Whether times decide under emulation.
    pub emulated: Emulated,
}

impl Asked {
    pub(super) fn floor(&self) -> f64 {
        let usual = if self.quiet == Quiet::Alone { QUIET_FLOOR } else { FLOOR };
        self.floor.unwrap_or(usual)
    }
}

/// Runs the command. Gives the exit code.
///
/// # Errors
///
/// Fails on wrong words, when the sides differ in more than their kernels, and
/// when the host cannot carry a run at all.
pub fn run(
    context: &Context,
    [base, head]: [&str; 2],
    tests: &[String],
    asked: &Asked,
    form: Form<'_>,
) -> anyhow::Result<u8> {
    form.check_beside_events(context)?;
    match (stored(context, base)?, stored(context, head)?) {
        (Some(base), Some(head)) => offline(context, [&base, &head], tests, asked, form),
        (None, None) => live(context, [base, head], tests, asked, form),
        (Some(_), None) => Err(mixed(base, head)),
        (None, Some(_)) => Err(mixed(head, base)),
    }
}

fn mixed(run: &str, other: &str) -> anyhow::Error {
    usage(anyhow::anyhow!(
        "`{run}` is a run and `{other}` is none: kernels are compared with kernels, runs with runs\n\
         hint: `kregress run --kernel {other}` makes a run of it; `kregress report` names the last one"
    ))
}

/// Asks for boots until every metric has its verdict.
pub(super) struct Looking;

impl Planner for Looking {
    fn noise(&self, place: &Place<'_>) -> Vec<NoiseOf> {
        super::noise::known(place)
    }

    fn next(&self, run: &Run) -> Option<Request> {
        compare::next(run)
    }
}

fn live(
    context: &Context,
    kernels: [&str; 2],
    tests: &[String],
    asked: &Asked,
    form: Form<'_>,
) -> anyhow::Result<u8> {
    let project = context.project()?;
    let pair = Pair {
        kernels: pair::named(context, &project, kernels)?,
        tests: super::tests(&project, tests, &context.machine(&project)?)?,
        boots: asked.boots,
        floor: asked.floor(),
        exact_floor: EXACT_FLOOR,
        allowed: &asked.allowed,
        quiet: asked.quiet,
        profile: Profile::OnDemand,
        emulated: asked.emulated,
    };
    let results::Finished { run, saved } = pair::measure(context, &project, pair, &Looking)?;
    let junit = super::save_junit(context, &run);
    let to_people = context.messages == MessageFormat::Human || form.output.is_some();
    if let (true, Some(comparison)) = (to_people, compare::of_run(&run)) {
        let compared = Compared { comparison: &comparison, overall: comparison.overall(), runs: &[&run] };
        report::show(&compared, form)?;
    }
    saved?;
    junit?;
    Ok(Summary::of(&run).exit_code())
}

/// A run that was made before, and which of its kernels.
struct Stored {
    run: Run,
    kernel: String,
}

/// The run of this name, `RUN` or `RUN:KERNEL`; none where it is not the name of
/// one. A kernel of the project is never taken for a run.
fn stored(context: &Context, text: &str) -> anyhow::Result<Option<Stored>> {
    let (name, kernel) = match text.split_once(':') {
        Some((name, kernel)) => (name, Some(kernel)),
        None => (text, None),
    };
    let is_path = Path::new(name).join(results::RUN_FILE).is_file()
        || Path::new(name).join(results::EVENTS_FILE).is_file();
    // Names of runs begin with their date.
    let is_name = name.len() >= 8 && name.bytes().take(8).all(|byte| byte.is_ascii_digit());
    if !is_path && !is_name {
        return Ok(None);
    }
    if !is_path && context.project().is_ok_and(|project| project.kernel(name).is_some()) {
        return Ok(None);
    }
    let run = results::load(&results::find(&context.results, Some(name)).map_err(usage)?)?;
    let kernel = match (kernel, run.plan.kernels.as_slice()) {
        (Some(kernel), kernels) if kernels.iter().any(|it| it == kernel) => kernel.to_owned(),
        (None, [only]) => only.clone(),
        (kernel, kernels) => {
            let what = match kernel {
                Some(kernel) => format!("run `{name}` has no kernel `{kernel}`"),
                None => format!("run `{name}` has {} kernels", kernels.len()),
            };
            let first = kernels.first().map_or("KERNEL", String::as_str);
            return Err(usage(anyhow::anyhow!(
                "{what}\nhint: name one of {}: `{name}:{first}`",
                kernels.join(", ")
            )));
        }
    };
    Ok(Some(Stored { run, kernel }))
}

fn offline(
    context: &Context,
    sides: [&Stored; 2],
    tests: &[String],
    asked: &Asked,
    form: Form<'_>,
) -> anyhow::Result<u8> {
    if asked.boots.is_some() {
        return Err(usage(anyhow::anyhow!(
            "--boots has no meaning where nothing is booted\nhint: leave it out"
        )));
    }
    let project = context.project()?;
    let mut runs = sides.map(|side| side.run.clone());
    if !tests.is_empty() {
        let wanted = config::select(&project.suites, tests).map_err(usage)?;
        let wanted: Vec<String> = wanted.iter().map(|test| test.id.to_string()).collect();
        for run in &mut runs {
            run.plan.tests.retain(|test| wanted.contains(&test.id));
        }
    }
    let [base, head] = [0, 1].map(|at| Measured { run: &runs[at], kernel: &sides[at].kernel });
    let terms =
        Terms { floor: asked.floor(), allowed: asked.allowed.clone(), noise: super::noise::of_run(base) };
    let comparison = compare::of_runs(base, head, &terms).map_err(usage)?;
    if context.messages == MessageFormat::Json {
        report::write(&crate::report::json::line(&comparison)?, &mut std::io::stdout().lock())?;
    }
    if context.messages == MessageFormat::Human || form.output.is_some() {
        let [base, head] = &runs;
        let compared =
            Compared { comparison: &comparison, overall: comparison.overall(), runs: &[base, head] };
        report::show(&compared, form)?;
    }
    Ok(comparison.overall().exit_code())
}
