//! `kregress plan`: what a run would do, in shards, as a file; and `kregress run --plan`,
//! which does one of them.

use std::fmt::Write as _;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::run::{Asked, Effort, Wanted, carry_out};
use super::{Context, PASSED, unless_reader_left, usage};
use crate::config::Project;
use crate::exec::shell_line;
use crate::lab::{self, Quiet};
use crate::model::{KernelSpec, ShardOf, Test};
use crate::report::{quantity, text_safety};
use crate::results::from_machine;
use crate::shards::{self, Here, Part, Plan};
use crate::{clock, config, paths};

/// Jobs that a matrix of GitHub Actions may have.
const GITHUB_JOBS: u32 = 256;

/// What stdout carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanFormat {
    /// A line for each shard.
    Human,
    /// The plan itself.
    Json,
    /// A line for `$GITHUB_OUTPUT`, with the matrix of a job.
    Github,
}

/// How it is planned, and where the plan goes.
#[derive(Debug, Clone)]
pub struct Wish {
    /// Shards at most.
    pub shards: NonZeroU32,
    /// What stdout carries.
    pub format: PlanFormat,
    /// The file.
    pub output: PathBuf,
}

/// Runs `kregress plan`. Gives the exit code.
///
/// # Errors
///
/// Fails on wrong words, and when the plan cannot be written.
pub fn run(
    context: &Context,
    tests: &[String],
    kernels: &[String],
    effort: Effort,
    wish: &Wish,
) -> anyhow::Result<u8> {
    if wish.format == PlanFormat::Github && wish.shards.get() > GITHUB_JOBS {
        return Err(usage(anyhow::anyhow!(
            "`--shards {}` is more than a matrix of GitHub Actions may have\nhint: {GITHUB_JOBS} at most",
            wish.shards
        )));
    }
    let project = context.project()?;
    config::check_expiry(&project.allow, clock::today()).map_err(usage)?;
    let kernels = context.kernels(&project, kernels)?;
    let machine = context.machine(&project)?;
    let tests = super::tests(&project, tests, &machine)?;
    let Effort { boots, retries, quiet } = effort;
    let here = Here {
        project: &project,
        machine: &machine,
        kernels: &kernels,
        tests: &tests,
        boots,
        retries,
        quiet,
        seed: context.seed,
    };
    let expected = lab::expected(&tests, &paths::cache()?);
    let bundles = shards::bundles(&tests, &expected, machine.accel);
    let plan = Plan::new(shards::work(&here), &shards::spread(&bundles, wish.shards));
    // What cannot be run must not be planned.
    Plan::parse(&wish.output, &plan.to_bytes()?).map_err(usage)?;
    plan.write(&wish.output)?;
    if plan.count() < wish.shards.get() {
        anstream::eprintln!("note: {}", fewer(&plan, tests.len(), wish.shards));
    }
    let text = match wish.format {
        PlanFormat::Human => human(&plan, &wish.output),
        PlanFormat::Json => String::from_utf8_lossy(&plan.to_bytes()?).into_owned(),
        PlanFormat::Github => format!("matrix={}\n", matrix(&plan)),
    };
    let mut out = anstream::stdout().lock();
    unless_reader_left(out.write_all(text.as_bytes()).and_then(|()| out.flush()))?;
    Ok(PASSED)
}

fn fewer(plan: &Plan, tests: usize, asked: NonZeroU32) -> String {
    let why = match usize::try_from(plan.count()) {
        Ok(count) if count == tests => "there are no more tests",
        _ => "tests that are read beside each other are not put apart",
    };
    format!("{} shards in place of {asked}: {why}", plan.count())
}

/// A matrix for `strategy.matrix`, by `fromJSON`. Nothing in it is a text of others.
fn matrix(plan: &Plan) -> serde_json::Value {
    let job = |part: &Part| serde_json::json!({ "shard": part.number, "of": plan.count() });
    let jobs: Vec<_> = plan.shards().iter().map(job).collect();
    serde_json::json!({ "include": jobs })
}

fn human(plan: &Plan, file: &Path) -> String {
    let mut text = String::new();
    let runs = plan.work().kernels.len() as u64 * u64::from(plan.work().boots_per_kernel);
    let width = plan.count().to_string().len();
    let file = text_safety::verbatim(file.display().to_string());
    let line = |words: [&str; 4]| shell_line(&words);
    for part in plan.shards() {
        let expected = quantity::seconds(part.expected_ms.saturating_mul(runs));
        let tests = match part.tests.as_slice() {
            [test] => test.clone(),
            tests => format!("{} tests", tests.len()),
        };
        // Nothing fails that writes into a text.
        let _ = writeln!(text, "shard {:>width$}  {expected:>9}  {tests}", part.number);
    }
    let _ = writeln!(text, "plan:   {file}, id {}", plan.id());
    let _ = writeln!(text, "each:   {} --shard N", line(["kregress", "run", "--plan", &file]));
    let _ = writeln!(text, "then:   {} DIRECTORY...", line(["kregress", "merge", "--plan", &file]));
    text
}

/// Runs one shard of a plan. Gives the exit code.
///
/// # Errors
///
/// Fails when there is no such plan or shard, when the plan is not of what is found
/// here, and when the host cannot carry a run at all.
pub fn shard(context: &Context, file: &Path, number: u32) -> anyhow::Result<u8> {
    let plan = Plan::read(file).map_err(usage)?;
    let Some(part) = plan.shard(number) else {
        return Err(usage(anyhow::anyhow!(
            "there is no shard `{number}` in `{}`\nhint: its shards are 1 to {}",
            file.display(),
            plan.count()
        )));
    };
    let project = context.project()?;
    config::check_expiry(&project.allow, clock::today()).map_err(usage)?;
    let work = plan.work();
    let effort = Effort {
        boots: work.boots_per_kernel,
        retries: work.retries,
        quiet: if work.quiet_host { Quiet::Alone } else { Quiet::Shared },
    };
    let machine = from_machine(&work.machine);
    let kernels = kernels_of(&project, &plan);
    let tests = tests_of(&project, plan.work().tests.iter().map(|test| test.id.as_str()));
    let here = shards::work(&Here {
        project: &project,
        machine: &machine,
        kernels: &kernels,
        tests: &tests,
        boots: effort.boots,
        retries: effort.retries,
        quiet: effort.quiet,
        seed: work.seed,
    });
    let differences = shards::differences(work, &here);
    if !differences.is_empty() {
        return Err(usage(misfit(file, &differences)));
    }
    let tests = tests_of(&project, part.tests.iter().map(String::as_str));
    let of = ShardOf { plan: plan.id().to_owned(), number, of: plan.count() };
    let asked = Asked {
        machine,
        wanted: kernels.into_iter().map(Wanted::Spec).collect(),
        tests,
        effort,
        seed: work.seed,
        part: Some((plan, of)),
    };
    carry_out(context, &project, asked)
}

/// Differences that are shown.
const SHOWN: usize = 8;

fn misfit(file: &Path, differences: &[String]) -> anyhow::Error {
    let shown: String = differences.iter().take(SHOWN).map(|it| format!("\n  {it}")).collect();
    let more = match differences.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    anyhow::anyhow!(
        "the plan `{}` is not of what is found here:{shown}{more}\n\
         hint: run its shards with the kregress and the files that it was made with, or make it again with \
         `kregress plan`",
        file.display()
    )
}

/// Kernels of the plan that there are here.
fn kernels_of(project: &Project, plan: &Plan) -> Vec<KernelSpec> {
    let resolve = |name: &str| project.resolve(&project.parse_request(name).ok()?).ok();
    plan.work().kernels.iter().filter_map(|kernel| resolve(&kernel.name)).collect()
}

/// Tests of these names that there are here, in their order.
fn tests_of<'a>(project: &Project, ids: impl Iterator<Item = &'a str>) -> Vec<Test> {
    let all = project.suites.iter().flat_map(|suite| &suite.tests);
    let all: std::collections::HashMap<String, &Test> = all.map(|test| (test.id.to_string(), test)).collect();
    ids.filter_map(|id| all.get(id).map(|test| (*test).clone())).collect()
}
