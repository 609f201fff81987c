//! `kregress series`: checks a patch series patch by patch.
//!
//! Reads it, builds the base and each patch on it, boots what differs, measures base
//! against tip, and searches among the patches for whoever made the tip slower. What
//! all of it means is for `series::judge`, how it is shown for `report::series`.

mod boots;
mod kernels;
mod speed;
pub(super) mod stored;
mod warnings;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;

use self::kernels::Bank;
use super::bisect::tree;
use super::report::{Form, ReportFormat};
use super::watch::Watch;
use super::{Context, MessageFormat, compare, usage};
use crate::config::{self, Project, machine_text};
use crate::guest::programs;
use crate::lab::Lab;
use crate::model::{AllowRule, KernelName, Machine, RunEvent, Source, Test, first_line};
use crate::report::json;
use crate::report::look::Look;
use crate::report::series as report;
use crate::results::{self, RunDir};
use crate::series::checked::{
    Apply, Build, Checked, Image, Outcome, Performance, Revision, VERSION, Warnings,
};
use crate::series::judge::{self, Course};
use crate::series::{self, Asked, Fate, Series, SeriesError};
use crate::{chain, clock, interrupt, paths};

/// Directory of all series below the results.
const DIRECTORY: &str = "series";

/// What is kept of a series in its own.
const RECORD: &str = "series.json";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Request {
    /// `BASE..TIP`, or a file or directory of mails.
    pub series: String,
    /// An entry of `kregress.yaml`, or the path of a repository.
    pub tree: String,
    /// What patches of mails are put on.
    pub base: Option<String>,
    /// Suites, tests or patterns.
    pub tests: Vec<String>,
    /// Repetitions of a test that did not pass.
    pub retries: u32,
    /// How base and tip are compared; its rest holds for all boots.
    pub judged: compare::Asked,
}

/// A series on its way, with every name resolved.
struct Check<'a> {
    context: &'a Context,
    request: &'a Request,
    project: Project,
    machine: Machine,
    tests: Vec<Test>,
    started: Instant,
    directory: RunDir,
    checked: Checked,
}

/// Runs the command. Gives the exit code.
///
/// # Errors
///
/// Fails on wrong words, on a series that cannot be read, and when the host cannot carry
/// the builds or boots at all.
pub fn run(context: &Context, request: &Request, form: Form<'_>) -> anyhow::Result<u8> {
    form.check_beside_events(context)?;
    check_form(form)?;
    let mut project = context.project()?;
    config::check_expiry(&project.allow, clock::today()).map_err(usage)?;
    let machine = context.machine(&project)?;
    let tests = super::tests(&project, &request.tests, &machine)?;
    programs::check(&tests, &machine).map_err(usage)?;
    // The revision is another one for each kernel.
    let (repository, spec) = tree(&project, &request.tree, "HEAD")?;
    project.allow = allowed(&project.allow, &spec.name);
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let env = context.build_env(&project)?;
    let mut watch = Watch::new(context.messages);
    let asked = Asked::parse(&request.series, Path::exists).map_err(usage)?;
    let waiting = || watch.say("waiting for another series of this repository".to_owned());
    let series =
        series::read(&asked, &repository, request.base.as_deref(), &env, waiting).map_err(refused)?;
    let lab = Lab::equip(machine.backend, &paths::cache()?)?;
    let directory = RunDir::create(&context.results.join(DIRECTORY))?;
    let mut environment = vec![("machine".to_owned(), machine_text(&machine))];
    environment.extend(super::run::host_facts(&lab));
    let checked = Checked {
        version: VERSION,
        kind: DIRECTORY.to_owned(),
        id: directory.id().0.clone(),
        directory: directory.path().display().to_string(),
        kregress: env!("CARGO_PKG_VERSION").to_owned(),
        command: context.argv.clone(),
        started_unix: clock::unix_seconds(),
        elapsed_ms: 0,
        asked: request.series.clone(),
        tree: request.tree.clone(),
        cover: series.cover.as_ref().map(|cover| cover.subject.clone()),
        environment,
        revisions: revisions(&series),
        defects: Vec::new(),
        performance: Performance::NotMeasured { reason: "it was stopped before".to_owned() },
        notes: series.notes.iter().map(ToString::to_string).collect(),
        made_of: Vec::new(),
        outcome: Outcome::Interrupted,
    };
    let started = clock::now();
    let mut check = Check { context, request, project, machine, tests, started, directory, checked };
    watch.say(report::begins(&check.checked));
    for note in check.checked.notes.clone() {
        watch.show(&RunEvent::Notice(note));
    }
    let bank = Bank::fill(&repository, spec, &env, &mut check.checked, &mut watch, &|it| report::built(it))?;
    check.keep(Course::Stopped)?;
    drop(watch);
    if let Err(error) = look(&mut check, &bank) {
        // What was seen until then is of use, and is not what a user stopped.
        let reason = chain::text(error.as_ref());
        check.checked.notes.push(format!("it ended early: {}", first_line(&reason)));
        if matches!(check.checked.performance, Performance::NotMeasured { .. }) {
            let reason = "the host could not go on".to_owned();
            check.checked.performance = Performance::NotMeasured { reason };
        }
        check.keep(Course::Failed)?;
        return Err(error);
    }
    check.keep(if interrupt::requested() { Course::Stopped } else { Course::Whole })?;
    show(context, &check.checked, form)?;
    Ok(check.checked.outcome.exit_code())
}

/// Boots what was built, and measures it.
fn look(check: &mut Check<'_>, bank: &Bank) -> anyhow::Result<()> {
    if !interrupt::requested() {
        boots::boot(check, bank)?;
        check.keep(Course::Stopped)?;
    }
    if !interrupt::requested() {
        speed::measure(check, bank)?;
    }
    Ok(())
}

impl Check<'_> {
    /// Judges what is known so far, and leaves it and its reports in the directory.
    fn keep(&mut self, course: Course) -> anyhow::Result<()> {
        let it = &mut self.checked;
        it.defects = judge::defects(&it.revisions, &it.performance);
        it.outcome = judge::outcome(&it.revisions, &it.defects, &it.performance, course);
        it.elapsed_ms = results::milliseconds(clock::now().saturating_duration_since(self.started));
        for (name, format) in [
            (RECORD, ReportFormat::Json),
            (results::JUNIT_FILE, ReportFormat::Junit),
            ("report.html", ReportFormat::Html),
        ] {
            let bytes = bytes(it, format, Look::PLAIN)?;
            let path = self.directory.path().join(name);
            results::replace(&path, |out| std::io::Write::write_all(out, &bytes))?;
        }
        if let Some(directory) = &self.context.junit {
            crate::report::junit::save_series(it, directory)?;
        }
        Ok(())
    }

    /// Notes of what a part was made.
    fn made_of(&mut self, what: &str, path: &Path) {
        self.checked.made_of.push((what.to_owned(), path.display().to_string()));
    }
}

/// Whose fault it is that a series cannot be read.
fn refused(error: SeriesError) -> anyhow::Error {
    use crate::kernel::Fault;
    match error.fault() {
        Fault::Request | Fault::Tree => usage(error),
        Fault::Host | Fault::Interrupted => error.into(),
    }
}

/// Rules for known findings that hold for the tree, whatever its kernels are called here.
fn allowed(rules: &[AllowRule], tree: &KernelName) -> Vec<AllowRule> {
    // An entry is `linux`, and a revision of it `linux@HEAD`.
    let entry = tree.0.split_once('@').map_or(tree.0.as_str(), |(entry, _)| entry);
    let of_this = rules.iter().filter(|rule| rule.is_of(&tree.0) || rule.is_of(entry));
    of_this.map(|rule| AllowRule { kernels: Vec::new(), ..rule.clone() }).collect()
}

/// The base and the patches, of which nothing is known yet.
fn revisions(series: &Series) -> Vec<Revision> {
    let base = Revision {
        number: None,
        subject: series.base.subject.clone(),
        author: None,
        date: None,
        files: Vec::new(),
        commit: Some(series.base.commit.clone()),
        apply: Apply::Applies,
        build: Build::NotTried,
        warnings: Warnings::NoneToCompare,
        image: Image::Missing,
        troubles: Vec::new(),
        tests: std::collections::BTreeMap::new(),
    };
    let patches = series.patches.iter().map(|patch| {
        let (commit, apply) = match &patch.fate {
            Fate::Committed { commit, .. } => (Some(commit.clone()), Apply::Applies),
            Fate::Refused(refusal) => (None, Apply::Refused { reason: refusal.to_string() }),
            Fate::NotReached => (None, Apply::NotReached),
        };
        Revision {
            number: Some(patch.number),
            subject: patch.subject.clone(),
            author: patch.author.clone(),
            date: patch.date.clone(),
            files: patch.files.clone(),
            commit,
            apply,
            ..base.clone()
        }
    });
    std::iter::once(base.clone()).chain(patches).collect()
}

/// The name of a revision among the kernels of a run.
fn kernel_name(revision: &Revision) -> KernelName {
    KernelName(revision.number.map_or_else(|| "base".to_owned(), |number| format!("patch-{number}")))
}

/// The kernel of a commit of a repository.
fn source(repository: &Path, commit: &str) -> Source {
    Source::Git { repository: PathBuf::from(repository), revision: commit.to_owned() }
}

/// The forms that a series has.
fn check_form(form: Form<'_>) -> anyhow::Result<()> {
    match form.format {
        ReportFormat::Human
        | ReportFormat::Html
        | ReportFormat::Markdown
        | ReportFormat::Text
        | ReportFormat::Junit
        | ReportFormat::Annotations
        | ReportFormat::Json => Ok(()),
        ReportFormat::Ktap => Err(usage(anyhow::anyhow!(
            "a series has no such form\nhint: take `html`, `markdown`, `text`, `junit` or `json`; the runs that \
             it is made of have it: `kregress report --format ktap`"
        ))),
    }
}

fn bytes(checked: &Checked, format: ReportFormat, look: Look) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match format {
        ReportFormat::Human | ReportFormat::Ktap => report::human(checked, look, &mut bytes)?,
        ReportFormat::Html => bytes = report::html(checked).into_bytes(),
        ReportFormat::Markdown => bytes = report::markdown(checked).into_bytes(),
        ReportFormat::Text => bytes = report::text(checked).into_bytes(),
        ReportFormat::Junit => report::junit(checked, &mut bytes)?,
        ReportFormat::Annotations => bytes = report::annotations(checked).into_bytes(),
        ReportFormat::Json => report::json(checked, &mut bytes)?,
    }
    Ok(bytes)
}

/// Shows what became of it.
fn show(context: &Context, checked: &Checked, form: Form<'_>) -> anyhow::Result<()> {
    if context.messages == MessageFormat::Json && form.output.is_none() {
        return super::report::write(&json::line(checked)?, &mut std::io::stdout().lock());
    }
    form.put(|look| bytes(checked, form.format, look))
}
