//! `kregress bisect --git-bisect`: one revision measured, for `git bisect run`.
//!
//! The exit code is git's: 0 good, 1 bad, 125 cannot be said of this revision, 128 the
//! host cannot go on.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kregress_wire::{Better, Unit};

use super::scribe::{HostFault, Word, outcome, word};
use super::{Want, ask, cache, fix};
use crate::analysis::stats::median;
use crate::bisect::record::{Outcome, Question};
use crate::commands::watch::Watch;
use crate::commands::{Context, fail, usage};
use crate::console::Finding;
use crate::kernel::{self, Fault, Lacking, Tools};
use crate::lab::{self, BootNumbers, Host, Lab, Measurement, Quiet, Slots};
use crate::model::{BootId, Edit, KernelSpec, Observer, RunEvent, Source, TestResult, first_line};
use crate::report::text_safety;
use crate::results::RunDir;
use crate::{chain, interrupt};

/// Good.
const GOOD: u8 = 0;
/// Bad.
const BAD: u8 = 1;
/// This revision cannot be tested.
const SKIP: u8 = 125;
/// Ends `git bisect run`.
pub const ABORT: u8 = 128;

/// Directory of these runs below the results.
const RUNS: &str = "git-bisect";

/// One revision, measured.
#[derive(Debug, Clone)]
pub struct Once {
    /// An entry of `kregress.yaml`, or the path of a repository.
    pub tree: String,
    /// The revision, if it is not the one that git's bisection waits for.
    pub revision: Option<String>,
    /// What is measured.
    pub want: Want,
    /// Beyond this value a revision is bad: a number with or without a unit, `5ms`.
    pub threshold: Option<String>,
    /// Boots: the median of a metric counts, and any failure of a test.
    pub boots: u32,
    /// Applied where it applies.
    pub fix_build: Option<PathBuf>,
    /// What boots that measure times are granted.
    pub quiet: Quiet,
}

/// What a revision is.
#[derive(Debug, Clone, PartialEq)]
enum Said {
    Good(String),
    Bad(String),
    Nothing(String),
}

/// Runs the command. Gives the exit code for git: an error of ours must end its
/// bisection, not blame a commit.
#[must_use]
pub fn run(context: &Context, once: &Once) -> u8 {
    match measure(context, once) {
        Ok(said) => {
            let (code, text) = match said {
                Said::Good(why) => (GOOD, format!("good: {why}")),
                Said::Bad(why) => (BAD, format!("bad: {why}")),
                Said::Nothing(why) => (SKIP, format!("skip: {why}")),
            };
            let mut out = std::io::stdout().lock();
            // Git reads the exit code; nobody may be reading this.
            let _ = std::io::Write::write_all(&mut out, format!("{}\n", text_safety::title(text)).as_bytes());
            code
        }
        Err(error) => refuse(&error),
    }
}

/// Says what is wrong. Gives the exit code that ends git's bisection: any other would be
/// a verdict on a commit.
#[must_use]
pub fn refuse(error: &anyhow::Error) -> u8 {
    let _ = fail(error);
    ABORT
}

fn measure(context: &Context, once: &Once) -> anyhow::Result<Said> {
    let project = context.project()?;
    let machine = context.machine(&project)?;
    let (repository, spec) = ask::tree(&project, &once.tree, once.revision.as_deref().unwrap_or("HEAD"))?;
    let revision = match &once.revision {
        Some(revision) => revision.clone(),
        // Not HEAD of the tree: it may be another work tree, where HEAD stands still.
        None => kernel::bisecting(Path::new("."), &repository, &Tools::from_environment()).map_err(usage)?,
    };
    let (question, test) = ask::question(&project, &once.want)?;
    let threshold = match (&question, once.threshold.as_deref()) {
        (Question::Metric { metric, .. }, Some(text)) => Some(threshold(text, metric.unit).map_err(usage)?),
        (Question::Metric { metric, .. }, None) => {
            return Err(usage(anyhow::anyhow!(
                "nothing says which value of `{}` is bad\nhint: --threshold VALUE, for instance `{}`",
                metric.name,
                example(metric.unit)
            )));
        }
        (Question::Test { .. } | Question::Finding { .. }, Some(_)) => {
            return Err(usage(anyhow::anyhow!(
                "--threshold is for metrics\nhint: leave it out, or name a metric with --metric"
            )));
        }
        (Question::Test { .. } | Question::Finding { .. }, None) => None,
    };
    let source = match &once.fix_build {
        Some(patch) => Source::Edited {
            repository,
            revision,
            edits: vec![Edit::Fix(std::fs::canonicalize(patch).map_err(|error| {
                usage(anyhow::anyhow!("cannot read the patch `{}`: {error}", patch.display()))
            })?)],
        },
        None => Source::Git { repository, revision },
    };
    let spec = KernelSpec { source, ..spec };
    let lab = Lab::equip(machine.backend, &cache()?)?;
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let mut env = context.build_env_for(&project, std::slice::from_ref(&test), &machine)?;
    env.lacking = Lacking::Recorded;
    let mut watch = Watch::new(context.messages);
    let kernel = match fix::obtain(&spec, &env, &mut watch) {
        Ok((kernel, _)) => kernel,
        Err(error) => match error.fault() {
            Fault::Tree => return Ok(Said::Nothing(first_line(&chain::text(&error)))),
            Fault::Request | Fault::Host | Fault::Interrupted => return Err(error.into()),
        },
    };
    let decision = lab.decide(&kernel, &machine)?;
    let asked = context.jobs.map(NonZeroUsize::get);
    let (slots, _) = Slots::of(&machine, asked, once.quiet, Host::now());
    let directory = RunDir::create(&context.results.join(RUNS))?;
    let tests = [test];
    let measurement = Measurement {
        kernel: &kernel,
        cmdline: &spec.cmdline,
        allow: &project.allow,
        tests: &tests,
        turns: 1..=once.boots,
        retries: 0,
        machine: &machine,
        decision,
        seed: context.seed,
        run_dir: directory.path(),
    };
    let mut heard = Heard { watch: &mut watch, results: Vec::new(), findings: Vec::new() };
    lab::measure(&lab, &[measurement], slots, &mut BootNumbers::default(), &mut heard)?;
    if interrupt::requested() {
        anyhow::bail!("interrupted");
    }
    let outcomes = heard.outcomes(&question)?;
    Ok(say(&question, threshold, &outcomes))
}

/// A value as people write it, in the unit of a metric.
fn threshold(text: &str, unit: Unit) -> anyhow::Result<f64> {
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '-' | '+'))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let factor = match (suffix.trim(), unit) {
        ("", _) | ("ns", Unit::Nanoseconds) | ("B", Unit::Bytes) | ("%", Unit::Percent) => 1.0,
        ("us" | "µs", Unit::Nanoseconds) => 1e3,
        ("ms", Unit::Nanoseconds) => 1e6,
        ("s", Unit::Nanoseconds) => 1e9,
        ("KiB", Unit::Bytes) => 1024.0,
        ("MiB", Unit::Bytes) => 1_048_576.0,
        (_, _) => f64::NAN,
    };
    let value = number.parse::<f64>().map_or(f64::NAN, |number| number * factor);
    if value.is_finite() {
        return Ok(value);
    }
    anyhow::bail!("`{text}` is no value of this metric\nhint: --threshold {}", example(unit))
}

/// How a value of a unit may be written.
fn example(unit: Unit) -> &'static str {
    match unit {
        Unit::Nanoseconds => "2.5ms",
        Unit::One => "1",
        Unit::Bytes => "64KiB",
        Unit::PerSecond | Unit::BytesPerSecond => "1000",
        Unit::Percent => "5%",
    }
}

/// Collects what boots say.
struct Heard<'a> {
    watch: &'a mut Watch,
    results: Vec<TestResult>,
    findings: Vec<(BootId, Finding)>,
}

impl Heard<'_> {
    /// What each boot says on the question.
    ///
    /// # Errors
    ///
    /// Fails where the host could not carry one of them.
    fn outcomes(&self, question: &Question) -> Result<Vec<Outcome>, HostFault> {
        let of = |result: &TestResult| {
            if let Word::OfHost(fault) = word(&result.verdict) {
                return Err(fault);
            }
            let outside = self.findings.iter().filter(|(boot, _)| result.boot == Some(*boot));
            let outside: Vec<Finding> = outside.map(|(_, finding)| finding.clone()).collect();
            Ok(outcome(question, result, &outside))
        };
        self.results.iter().map(of).collect()
    }
}

impl Observer for Heard<'_> {
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        self.watch.show(event);
        match event {
            RunEvent::TestFinished(result) => self.results.push(result.clone()),
            RunEvent::BootFinding { boot, finding } => self.findings.push((*boot, finding.clone())),
            _ => {}
        }
        Ok(())
    }
}

/// What the boots of a revision come to.
fn say(question: &Question, threshold: Option<f64>, outcomes: &[Outcome]) -> Said {
    let why = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Nothing { reason } => Some(reason.clone()),
        Outcome::Value { .. } | Outcome::Clean | Outcome::Shows { .. } => None,
    });
    let nothing = || Said::Nothing(why.clone().unwrap_or_else(|| "no boot said anything".to_owned()));
    if let (Question::Metric { metric, .. }, Some(threshold)) = (question, threshold) {
        let values = outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Value { median, .. } => Some(*median),
            Outcome::Clean | Outcome::Shows { .. } | Outcome::Nothing { .. } => None,
        });
        let Some(value) = median(&values.collect::<Vec<_>>()) else { return nothing() };
        let is_bad = match metric.better {
            Better::Lower => value > threshold,
            Better::Higher => value < threshold,
        };
        let shown = crate::report::quantity::value(value, metric.unit);
        return if is_bad { Said::Bad(shown) } else { Said::Good(shown) };
    }
    let shown = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Shows { message, .. } => Some(message.clone()),
        Outcome::Value { .. } | Outcome::Clean | Outcome::Nothing { .. } => None,
    });
    match shown {
        Some(message) => Said::Bad(message),
        None if outcomes.contains(&Outcome::Clean) => Said::Good("it does not show".to_owned()),
        None => nothing(),
    }
}

#[cfg(test)]
mod tests {
    use kregress_wire::Kind;

    use super::*;
    use crate::results::format::Metric;

    fn time() -> Question {
        let metric = Metric {
            name: "drain_time".to_owned(),
            summary: String::new(),
            unit: Unit::Nanoseconds,
            kind: Kind::Time,
            better: Better::Lower,
        };
        Question::Metric { test: "netns-teardown/drain".to_owned(), metric }
    }

    fn value(median: f64) -> Outcome {
        Outcome::Value { median, lowest: median, highest: median, samples: 1, error: 0.0 }
    }

    fn silent() -> Outcome {
        Outcome::Nothing { reason: "panic: oops".to_owned() }
    }

    #[test]
    fn a_metric_is_bad_beyond_the_threshold_by_the_median_of_its_boots() {
        let said = |values: &[f64]| {
            let outcomes: Vec<Outcome> = values.iter().copied().map(value).collect();
            say(&time(), Some(10.0), &outcomes)
        };
        assert!(matches!(said(&[9.0, 9.5, 40.0]), Said::Good(_)));
        assert!(matches!(said(&[9.0, 11.0, 40.0]), Said::Bad(_)));
        assert!(matches!(said(&[10.0]), Said::Good(_)), "the threshold itself is not beyond it");
    }

    #[test]
    fn a_threshold_has_the_unit_of_its_metric_or_none() {
        let time = |text| threshold(text, Unit::Nanoseconds).ok();
        assert_eq!((time("2.5ms"), time("250"), time("3 s")), (Some(2.5e6), Some(250.0), Some(3e9)));
        assert_eq!((time("3MiB"), time("ms"), time("")), (None, None, None));
        assert_eq!(threshold("1", Unit::One).ok(), Some(1.0));
    }

    #[test]
    fn what_dies_before_it_gives_a_number_is_skipped_and_says_why() {
        assert_eq!(say(&time(), Some(10.0), &[silent()]), Said::Nothing("panic: oops".to_owned()));
        assert!(matches!(say(&time(), Some(10.0), &[silent(), value(5.0)]), Said::Good(_)));
    }

    #[test]
    fn one_failure_makes_a_test_bad_and_another_failure_makes_it_nothing() {
        let question = Question::Test { test: "smoke/a".to_owned() };
        let shows = Outcome::Shows { message: "lost 3".to_owned(), class: "assertion".to_owned() };
        let bad = say(&question, None, &[Outcome::Clean, shows]);
        assert_eq!(bad, Said::Bad("lost 3".to_owned()));
        assert!(matches!(say(&question, None, &[Outcome::Clean, silent()]), Said::Good(_)));
        assert!(matches!(say(&question, None, &[silent()]), Said::Nothing(_)));
    }
}
