//! From words to the plan of a bisection: the tree, the question, the history.

use std::path::PathBuf;

use super::{Search, Want};
use crate::analysis::compare::times_teardown;
use crate::bisect::bisected::Commit;
use crate::bisect::record::{Candidate, Plan, Question, VERSION};
use crate::bisect::session::Session;
use crate::clock;
use crate::commands::pair::PROFILE;
use crate::commands::{Context, usage};
use crate::config::{self, Project};
use crate::kernel::{self, Between, Fault, Tools};
use crate::lab::Quiet;
use crate::model::{FragmentName, KernelSpec, Source, Suite, Test};
use crate::results::{to_machine, to_metric};

/// The commits among which is searched.
pub(in crate::commands) struct Range {
    /// The end without the change.
    pub(in crate::commands) good: Commit,
    /// Others of which it is said that they are without it.
    pub(in crate::commands) others_good: Vec<Commit>,
    /// The end with the change.
    pub(in crate::commands) bad: Commit,
    /// All after `good` up to `bad`, parents before children.
    pub(in crate::commands) commits: Vec<Candidate>,
}

/// Reads the history and begins a session.
pub(super) fn begin(context: &Context, search: &Search) -> anyhow::Result<Session> {
    let project = context.project()?;
    let (repository, _) = tree(&project, &search.tree, &search.bad)?;
    // A mistyped test is told before the history is read.
    question(&project, &search.want)?;
    if let Some(patch) = &search.fix_build
        && !patch.is_file()
    {
        return Err(usage(anyhow::anyhow!(
            "there is no patch `{}`\nhint: --fix-build takes a file as `git diff` writes it",
            patch.display()
        )));
    }
    let between = Between {
        repository: &repository,
        good: &search.good,
        others_good: &search.others_good,
        bad: &search.bad,
        paths: &search.paths,
        parents: search.parents,
    };
    let history =
        kernel::history(&between, &Tools::from_environment()).map_err(|error| match error.fault() {
            Fault::Request | Fault::Tree => usage(error),
            Fault::Host | Fault::Interrupted => error.into(),
        })?;
    let candidate =
        |it: kernel::Candidate| Candidate { commit: commit(it.commit), parents: it.parents, files: it.files };
    let mut commits: Vec<Candidate> = history.commits.into_iter().map(candidate).collect();
    // What is outside of the paths and behind the last commit inside is the bad end's.
    if let Some(last) =
        commits.len().checked_sub(1).filter(|last| commits[*last].commit.hash != history.bad.hash)
    {
        let commit = commit(history.bad.clone());
        commits.push(Candidate { commit, parents: vec![last], files: Vec::new() });
    }
    if let Some(patch) = &search.fix_build {
        // Whether it applies there does not matter, but a letter applies nowhere.
        kernel::apply(&repository, &search.bad, patch, &context.build_env(&project)?).map_err(usage)?;
    }
    let range = Range {
        good: commit(history.good),
        others_good: history.others_good.into_iter().map(commit).collect(),
        bad: commit(history.bad),
        commits,
    };
    begin_in(context, &project, search, range)
}

/// Begins a session that searches among these commits, whatever the search says of
/// revisions.
pub(super) fn begin_in(
    context: &Context,
    project: &Project,
    search: &Search,
    range: Range,
) -> anyhow::Result<Session> {
    let machine = context.machine(project)?;
    let (repository, spec) = tree(project, &search.tree, &range.bad.hash)?;
    let (question, test) = question(project, &search.want)?;
    let fix_build = search.fix_build.as_deref().map(std::fs::canonicalize).transpose()?;
    let profile = profile(project, &search.want, &test);
    Ok(Session::begin(&context.results, |id| Plan {
        version: VERSION,
        kregress: env!("CARGO_PKG_VERSION").to_owned(),
        id: id.0.clone(),
        command: context.argv.clone(),
        started_unix: clock::unix_seconds(),
        tree: search.tree.clone(),
        repository: repository.clone(),
        fragments: spec.fragments.iter().map(ToString::to_string).collect(),
        machine: to_machine(&machine),
        seed: context.seed,
        quiet_host: search.quiet == Quiet::Alone,
        fix_build,
        question,
        profile,
        confidence: search.confidence,
        floor: search.floor,
        layout_noise: search.layout_noise,
        good: range.good,
        others_good: range.others_good,
        bad: range.bad,
        paths: search.paths.clone(),
        commits: range.commits,
    })?)
}

/// As the record has it.
fn commit(commit: kernel::Commit) -> Commit {
    let kernel::Commit { hash, subject, author, date } = commit;
    Commit { hash, subject, author, date }
}

/// The name of a kernel of this revision: fragments of the tree stand behind it.
fn kernel_at(project: &Project, tree: &str, revision: &str) -> String {
    let (mut tree, mut fragments) = (tree, String::new());
    while let Some((rest, last)) = tree.rsplit_once('+')
        && !rest.is_empty()
        && project.fragments.get(&FragmentName(last.to_owned())).is_some()
    {
        fragments.insert_str(0, &format!("+{last}"));
        tree = rest;
    }
    format!("{tree}@{revision}{fragments}")
}

/// The repository of a tree, and how its kernels are built.
pub(in crate::commands) fn tree(
    project: &Project,
    tree: &str,
    revision: &str,
) -> anyhow::Result<(PathBuf, KernelSpec)> {
    let request = project.parse_request(&kernel_at(project, tree, revision)).map_err(usage)?;
    let spec = project.resolve(&request).map_err(usage)?;
    match &spec.source {
        Source::Git { repository, .. } => Ok((repository.clone(), spec)),
        Source::Edited { .. }
        | Source::Directory(_)
        | Source::Tarball(_)
        | Source::Image { .. }
        | Source::Deb(_) => Err(usage(anyhow::anyhow!(
            "`{tree}` has no history\nhint: --tree takes a kernel of kind `git`, or the path of a repository"
        ))),
    }
}

/// What is asked, with the test that answers it.
pub(super) fn question(project: &Project, want: &Want) -> anyhow::Result<(Question, Test)> {
    match want {
        Want::Metric(text) => {
            let Some((name, metric)) = text.rsplit_once(':').filter(|(_, metric)| !metric.contains(']'))
            else {
                return Err(usage(anyhow::anyhow!(
                    "`{text}` names no metric\n\
                     hint: like this: `netns-teardown/drain[namespaces=200]:drain_time`; \
                     `kregress list metrics` shows them"
                )));
            };
            let test = one_test(project, name)?;
            let Some(found) = test.metrics.iter().find(|it| it.name == metric) else {
                let known: Vec<&str> = test.metrics.iter().map(|it| it.name).collect();
                return Err(usage(anyhow::anyhow!(
                    "test `{}` has no metric `{metric}`\nhint: it has {}",
                    test.id,
                    known.join(", ")
                )));
            };
            Ok((Question::Metric { test: test.id.to_string(), metric: to_metric(found) }, test))
        }
        Want::Test(name) => {
            let test = one_test(project, name)?;
            Ok((Question::Test { test: test.id.to_string() }, test))
        }
        Want::Finding { test, title } => {
            let test = one_test(project, test)?;
            Ok((Question::Finding { test: test.id.to_string(), title: title.clone() }, test))
        }
    }
}

fn one_test(project: &Project, name: &str) -> anyhow::Result<Test> {
    let mut tests = config::select(&project.suites, &[name.to_owned()]).map_err(usage)?;
    match tests.len() {
        1 => Ok(tests.remove(0)),
        many => {
            let known: Vec<String> = tests.iter().take(6).map(|test| format!("`{}`", test.id)).collect();
            Err(usage(anyhow::anyhow!(
                "`{name}` names {many} tests, and a bisection follows one\nhint: for instance {}",
                known.join(", ")
            )))
        }
    }
}

/// The test that finds out where the time of a teardown goes, where it is one that is
/// bisected.
fn profile(project: &Project, want: &Want, test: &Test) -> Option<String> {
    match want {
        Want::Metric(_) if times_teardown(test) => {}
        Want::Metric(_) | Want::Test(_) | Want::Finding { .. } => return None,
    }
    let found = config::select(&project.suites, &[PROFILE.to_owned()]).ok()?;
    (found.len() == 1).then(|| PROFILE.to_owned())
}

/// The suite of a test.
pub(super) fn suite(project: &Project, test: &Test) -> anyhow::Result<Suite> {
    let found = project.suites.iter().find(|suite| suite.name == test.id.suite);
    found.cloned().ok_or_else(|| anyhow::anyhow!("suite `{}` is gone", test.id.suite))
}
