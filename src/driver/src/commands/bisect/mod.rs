//! `kregress bisect`: finds the commit that changed a number or broke a test.
//!
//! Reads the history, begins or resumes a session, and does what `bisect::next` says
//! until nothing is left.

mod ask;
mod drive;
mod fix;
mod kernels;
mod once;
mod scribe;

use std::path::PathBuf;

use anyhow::Context as _;

pub(super) use self::ask::{Range, tree};
pub(super) use self::drive::Stopped;
use self::drive::drive;
use self::kernels::Shop;
pub use self::once::{ABORT, Once, refuse, run as once};
use super::report::{Form, ReportFormat};
use super::{Context, HOST, INCONCLUSIVE, INTERRUPTED, MessageFormat, PASSED, usage};
use crate::bisect::bisected::{Bisected, Confirmation, Ending};
use crate::bisect::session::{self, Session};
use crate::bisect::{self, Grant};
use crate::config::Project;
use crate::kernel::Parents;
use crate::lab::Quiet;
use crate::report::bisected as report;
use crate::report::look::Look;
use crate::{interrupt, paths};

/// How sure an answer has to be, unless something else is said.
pub const CONFIDENCE: f64 = 0.95;

/// What a build adds by its layout, unless something else is said, as a share: from
/// experience with kernels of which nothing but the placement of code differs.
pub const LAYOUT_NOISE: f64 = 0.005;

/// What is searched for.
#[derive(Debug, Clone)]
pub enum Want {
    /// `SUITE/TEST:METRIC`.
    Metric(String),
    /// `SUITE/TEST`.
    Test(String),
    /// A finding that `SUITE/TEST` provokes.
    Finding {
        /// The test.
        test: String,
        /// A part of the finding's title.
        title: String,
    },
}

/// A bisection that begins.
#[derive(Debug, Clone)]
pub struct Search {
    /// An entry of `kregress.yaml`, or the path of a repository.
    pub tree: String,
    /// The revision without the change.
    pub good: String,
    /// Others of which it is said that they are without it.
    pub others_good: Vec<String>,
    /// The revision with it.
    pub bad: String,
    /// What is searched for.
    pub want: Want,
    /// Only commits that change something there.
    pub paths: Vec<String>,
    /// Which parents of merges are followed.
    pub parents: Parents,
    /// How sure an answer has to be; 0 to 1.
    pub confidence: f64,
    /// Smallest change that counts, as a share.
    pub floor: f64,
    /// Standard deviation that a build as such adds, as a share.
    pub layout_noise: f64,
    /// Applied wherever it applies.
    pub fix_build: Option<PathBuf>,
    /// What boots that measure times are granted; of all boots of the session.
    pub quiet: Quiet,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub enum Request {
    /// A bisection from the beginning.
    Begin(Box<Search>),
    /// One that was cut off goes on.
    Resume(String),
    /// One is judged again by its record; nothing is booted.
    Replay {
        /// Which.
        session: String,
        /// In place of the recorded confidence.
        confidence: Option<f64>,
        /// In place of the recorded layout noise.
        layout_noise: Option<f64>,
    },
}

/// Runs the command. Gives the exit code.
///
/// # Errors
///
/// Fails on wrong words, on a history that cannot be searched, and when the host cannot
/// carry the boots.
pub fn run(context: &Context, request: &Request, grant: Grant, form: Form<'_>) -> anyhow::Result<u8> {
    form.check_beside_events(context)?;
    check_form(form)?;
    let mut session = match request {
        Request::Begin(search) => ask::begin(context, search)?,
        Request::Resume(which) => {
            let path = session::find(&context.results, which).map_err(usage)?;
            Session::resume(&path)?
        }
        Request::Replay { session, confidence, layout_noise } => {
            let path = session::find(&context.results, session).map_err(usage)?;
            let state = session::read(&path)?;
            let mut plan = state.plan.clone();
            plan.confidence = confidence.unwrap_or(plan.confidence);
            plan.layout_noise = layout_noise.unwrap_or(plan.layout_noise);
            let state = state.with_plan(plan);
            let directory = std::fs::canonicalize(&path).unwrap_or(path);
            let budget = grant.budget(&state);
            let found = bisect::outcome(&state, &budget, &directory.display().to_string());
            show(context, &found, form)?;
            return Ok(PASSED);
        }
    };
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let project = context.project()?;
    let (found, stopped) = carry_out(context, &project, &mut session, &grant)?;
    show(context, &found, form)?;
    Ok(match stopped {
        Stopped::Interrupted => INTERRUPTED,
        Stopped::Done => exit_code(&found),
    })
}

/// Searches among these commits. The session is left as by the command, which can
/// resume it.
///
/// # Errors
///
/// As [`run`].
pub(super) fn among(
    context: &Context,
    project: &Project,
    search: &Search,
    range: Range,
) -> anyhow::Result<(Bisected, Stopped)> {
    let mut session = ask::begin_in(context, project, search, range)?;
    carry_out(context, project, &mut session, &Grant::default())
}

fn carry_out(
    context: &Context,
    project: &Project,
    session: &mut Session,
    grant: &Grant,
) -> anyhow::Result<(Bisected, Stopped)> {
    let mut shop = Shop::open(context, project, session.state())?;
    let budget = grant.budget(session.state());
    let stopped = drive(context, session, &mut shop, &budget);
    let directory = session.path().display().to_string();
    let found = bisect::outcome(session.state(), &budget, &directory);
    let kept = keep(session, &found);
    let stopped = match stopped {
        Ok(stopped) => stopped,
        Err(error) => {
            let resume = format!("go on with `kregress bisect --resume {}`", found.session);
            return Err(error.context(format!("the bisection was cut off; {resume}")));
        }
    };
    kept?;
    Ok((found, stopped))
}

/// The forms that a bisection has.
fn check_form(form: Form<'_>) -> anyhow::Result<()> {
    match form.format {
        ReportFormat::Human
        | ReportFormat::Html
        | ReportFormat::Markdown
        | ReportFormat::Text
        | ReportFormat::Json => Ok(()),
        ReportFormat::Junit | ReportFormat::Ktap | ReportFormat::Annotations => Err(usage(anyhow::anyhow!(
            "a bisection is no list of tests: it has no such form\n\
             hint: take `html`, `markdown`, `text` or `json`"
        ))),
    }
}

fn bytes(found: &Bisected, format: ReportFormat, look: Look) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match format {
        ReportFormat::Human | ReportFormat::Junit | ReportFormat::Ktap | ReportFormat::Annotations => {
            report::human(found, look, &mut bytes)?;
        }
        ReportFormat::Html => bytes = report::html(found).into_bytes(),
        ReportFormat::Markdown => bytes = report::markdown(found).into_bytes(),
        ReportFormat::Text => bytes = report::text(found).into_bytes(),
        ReportFormat::Json => report::json(found, &mut bytes)?,
    }
    Ok(bytes)
}

/// Shows what was found.
fn show(context: &Context, found: &Bisected, form: Form<'_>) -> anyhow::Result<()> {
    if context.messages == MessageFormat::Json && form.output.is_none() {
        let json = String::from_utf8(bytes(found, ReportFormat::Json, Look::PLAIN)?)?;
        // A line, as events are: strings have no line ends.
        let line: String = json.lines().map(str::trim_start).chain(["\n"]).collect();
        return super::report::write(line.as_bytes(), &mut std::io::stdout().lock());
    }
    form.put(|look| bytes(found, form.format, look))
}

/// Leaves the report and the log of git in the session's directory.
fn keep(session: &Session, found: &Bisected) -> anyhow::Result<()> {
    let leave = |name: &str, bytes: &[u8]| {
        crate::results::replace(&session.path().join(name), |out| std::io::Write::write_all(out, bytes))
    };
    leave("bisect.log", report::gitlog(found).as_bytes())?;
    leave("report.html", &bytes(found, ReportFormat::Html, Look::PLAIN)?)?;
    leave("bisect.json", &bytes(found, ReportFormat::Json, Look::PLAIN)?)?;
    Ok(())
}

fn exit_code(found: &Bisected) -> u8 {
    match found.ending {
        // What is confirmed stays so where the budget ended what comes after.
        Ending::Found | Ending::BudgetSpent => {
            let confirmed = |confirmation: &Confirmation| match confirmation {
                Confirmation::Confirmed { .. } => true,
                Confirmation::Pending | Confirmation::NotConfirmed { .. } | Confirmation::NoOp => false,
            };
            let any = found.answers.iter().any(|answer| confirmed(&answer.confirmation));
            if any { PASSED } else { INCONCLUSIVE }
        }
        Ending::EndpointFailed { .. } => HOST,
        Ending::Unfinished
        | Ending::NotReproduced { .. }
        | Ending::Contradiction { .. }
        | Ending::Exhausted => INCONCLUSIVE,
    }
}

/// The cache, for kernels and sources.
fn cache() -> anyhow::Result<PathBuf> {
    Ok(paths::cache()?)
}
