//! The command line. The only file that names clap.
//!
//! Turns words into requests; what they mean is for `commands`.

mod judged;
mod run;
mod series;
mod shards;

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use self::judged::JudgedWords;
use self::run::RunWords;
use self::series::SeriesWords;
use self::shards::{MergeWords, PlanWords};
use crate::analysis::refuse::What;
use crate::bisect::{Budget, Grant};
use crate::commands::bisect::{self, CONFIDENCE, LAYOUT_NOISE, Once, Request, Search, Want};
use crate::commands::list::{Format as ListFormat, ListKind};
use crate::commands::report::{Form, ReportFormat};
use crate::commands::{self, Context, MessageFormat};
use crate::kernel::Parents;
use crate::lab::Quiet;

/// What clap needs to know of our exit codes: usage errors are 2.
pub const USAGE: u8 = 2;

#[derive(Debug, Parser)]
#[command(
    name = "kregress",
    version,
    about = "Did this change break, leak, deadlock or slow down network namespaces or zerocopy?",
    after_help = "Exit codes: 0 passed, 1 a test failed or a metric regressed, 2 usage or configuration, 3 harness or host failed, 4 inconclusive, 130 interrupted.",
    max_term_width = 100
)]
struct Cli {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// Heading of the options that every command takes: without one of their own they
/// stand between those of a command.
const SHARED: &str = "Options of every command";

#[derive(Debug, Args)]
struct Shared {
    /// Machine to boot on: accel=auto|kvm|tcg|icount, backend=qemu|virtme-ng, cpus=N, memory=SIZE, rootfs=auto|9p|virtiofs, root=DIR
    #[arg(long, global = true, help_heading = SHARED, value_name = "KEY=VALUE,...")]
    machine: Option<String>,
    /// Directory of the run directories
    #[arg(long, global = true, help_heading = SHARED, value_name = "DIR", default_value = "results")]
    results: PathBuf,
    /// Configuration in place of kregress.yaml
    #[arg(long, global = true, help_heading = SHARED, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What stdout carries: text for people or one JSON event per line
    #[arg(long, global = true, help_heading = SHARED, value_enum, default_value_t = Message::Human)]
    message_format: Message,
    /// Compilations at once, and boots side by side [default: one per CPU, boots as memory allows]
    #[arg(long, short = 'j', global = true, help_heading = SHARED, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// Write the JUnit of each suite to DIR/TEST-SUITE.xml too, where CI looks for it; that of a shard to DIR/TEST-SUITE-SHARD.xml
    #[arg(long, global = true, help_heading = SHARED, value_name = "DIR")]
    junit: Option<PathBuf>,
    /// Seed of everything random
    #[arg(long, global = true, help_heading = SHARED, value_name = "N", default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Message {
    Human,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what this host can do, and what to install
    Doctor,
    /// List kernels, suites, tests and metrics
    List {
        /// Only these
        #[arg(value_enum)]
        what: Option<ListWhat>,
    },
    /// Build kernels, or find them in the store
    Build {
        /// Names of kregress.yaml, paths to images, or TREE@REVISION, with +FRAGMENT behind it [default: the default kernel]
        #[arg(value_name = "KERNEL")]
        kernels: Vec<String>,
        /// Build nothing: print one word for all that decides these kernels, to name a cache of the store with
        #[arg(long)]
        key: bool,
    },
    /// Boot kernels and run tests
    Run(RunWords),
    /// Spread what a run would do over shards, and write down who does what
    Plan(PlanWords),
    /// Join the runs of shards into one run; what a shard did not leave is an error
    Merge(MergeWords),
    /// Measure two kernels in turns and judge every metric, or judge two runs made before
    Compare {
        /// Kernel to measure against: K or K+FRAGMENT; or a run: RUN or RUN:KERNEL
        base: String,
        /// Kernel, or run, that is judged
        head: String,
        /// Suites, tests, or patterns with `*` [default: smoke; of runs, all that both have]
        #[arg(value_name = "SUITE|TEST")]
        tests: Vec<String>,
        /// What may differ between the sides beside the kernel; the comparison then stands under that reservation
        #[arg(long, value_name = "WHAT", value_enum, value_delimiter = ',')]
        allow_different: Vec<Different>,
        #[command(flatten)]
        judged: JudgedWords,
        #[command(flatten)]
        shape: Shape,
    },
    /// Measure a kernel against itself: how noisy this host is, and how often it would be wrong
    Selfcheck {
        /// Suites, tests, or patterns with `*` [default: smoke]
        #[arg(value_name = "SUITE|TEST")]
        tests: Vec<String>,
        /// Kernel to boot [default: the default kernel]
        #[arg(long, short = 'k', value_name = "KERNEL")]
        kernel: Option<String>,
        /// Boots of each side
        #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(2..))]
        boots: u32,
        /// Boots that measure times run alone, on processors of their own
        #[arg(long)]
        quiet_host: bool,
    },
    /// Check a patch series patch by patch: it applies, builds, boots, passes and is not slower
    Series(SeriesWords),
    /// Boot a kernel and type commands in it, or run one
    Shell {
        /// Kernel to boot [default: the default kernel]
        #[arg(long, short = 'k', value_name = "KERNEL")]
        kernel: Option<String>,
        /// Run this in place of a shell; without a terminal it reads nothing
        #[arg(last = true, value_name = "COMMAND")]
        command: Vec<String>,
    },
    /// Find the commit that changed a number or broke a test, with its probability
    Bisect(Box<BisectWords>),
    /// Show a run again
    Report {
        /// A run or a series: directory, name or unique beginning of a name [default: the latest run]
        #[arg(value_name = "RUN")]
        run: Option<String>,
        #[command(flatten)]
        shape: Shape,
    },
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("begin").args(["metric", "test"]))]
struct BisectWords {
    /// A kernel of kind git of kregress.yaml, or the path of a repository; with +FRAGMENT behind it
    #[arg(long, value_name = "TREE", conflicts_with_all = ["resume", "replay"])]
    tree: Option<String>,
    /// A revision without the change; more of them leave out what they contain
    #[arg(long, value_name = "REV", conflicts_with_all = ["resume", "replay", "git_bisect"])]
    good: Vec<String>,
    /// The revision with the change [with --git-bisect: the one that git has checked out]
    #[arg(long, value_name = "REV", conflicts_with_all = ["resume", "replay"])]
    bad: Option<String>,
    /// The number that changed
    #[arg(long, value_name = "SUITE/TEST:METRIC", conflicts_with_all = ["resume", "replay"])]
    metric: Option<String>,
    /// The test that fails, or with --finding the one that provokes it
    #[arg(long, value_name = "SUITE/TEST", conflicts_with_all = ["resume", "replay"])]
    test: Option<String>,
    /// A part of the title of a finding in the kernel log: `KASAN: use-after-free`
    #[arg(long, value_name = "TEXT", requires = "test", conflicts_with = "metric")]
    finding: Option<String>,
    /// Only commits that change something there; may be given several times
    #[arg(long = "path", value_name = "PATH", conflicts_with_all = ["resume", "replay", "git_bisect"])]
    paths: Vec<String>,
    /// Follow only the first parent of merges: the answer may be a merge
    #[arg(long, conflicts_with_all = ["resume", "replay", "git_bisect"])]
    first_parent: bool,
    /// How sure the answer has to be [default: 95]
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with_all = ["resume", "git_bisect"])]
    confidence: Option<f64>,
    /// Smallest change of a noisy metric that counts [default: 5, with --quiet-host 2]
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with_all = ["resume", "replay", "git_bisect"])]
    floor: Option<f64>,
    /// Standard deviation that a build as such adds to a noisy metric, by where it puts the code [default: 0.5]
    #[arg(long, value_name = "PERCENT", value_parser = percent, conflicts_with_all = ["resume", "git_bisect"])]
    layout_noise: Option<f64>,
    /// A patch that makes revisions build; applied wherever it applies
    #[arg(long, value_name = "PATCH", conflicts_with_all = ["resume", "replay"])]
    fix_build: Option<PathBuf>,
    /// Stop at the first look after so many boots, `40boots`, or so much building and booting, `90m` or `2h`; with a `+` before it, beyond what the session has taken so far
    #[arg(long, value_name = "BUDGET", value_parser = budget, conflicts_with = "git_bisect")]
    budget: Option<Grant>,
    /// Boots that measure times run alone, on processors of their own
    #[arg(long, conflicts_with_all = ["resume", "replay"])]
    quiet_host: bool,
    /// Go on with a session that was cut off: its name, a beginning of it, or its directory
    #[arg(long, value_name = "SESSION", conflicts_with_all = ["replay", "git_bisect"])]
    resume: Option<String>,
    /// Judge a session again by its record, and boot nothing
    #[arg(long, value_name = "SESSION", conflicts_with = "git_bisect")]
    replay: Option<String>,
    /// Measure one revision for `git bisect run`: exit code 0 good, 1 bad, 125 skip, 128 stop
    #[arg(long)]
    git_bisect: bool,
    /// With --git-bisect: the value beyond which the metric is bad
    #[arg(long, value_name = "VALUE", requires = "git_bisect", allow_hyphen_values = true)]
    threshold: Option<String>,
    /// With --git-bisect: boots, of which the median counts
    #[arg(long, value_name = "N", requires = "git_bisect", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    boots: u32,
    #[command(flatten)]
    shape: Shape,
}

impl BisectWords {
    fn run(self, context: &Context) -> anyhow::Result<u8> {
        let quiet = if self.quiet_host { Quiet::Alone } else { Quiet::Shared };
        if self.git_bisect {
            let want = match self.wanted() {
                Ok(want) => want,
                Err(error) => return Ok(bisect::refuse(&error)),
            };
            let once = Once {
                tree: self.tree.unwrap_or_else(|| ".".to_owned()),
                revision: self.bad,
                want,
                threshold: self.threshold,
                boots: self.boots,
                fix_build: self.fix_build,
                quiet,
            };
            return Ok(bisect::once(context, &once));
        }
        let grant = self.budget.unwrap_or_default();
        let request = match (&self.resume, &self.replay) {
            (Some(session), _) => Request::Resume(session.clone()),
            (None, Some(session)) => Request::Replay {
                session: session.clone(),
                confidence: self.confidence.map(sure).transpose()?,
                layout_noise: self.layout_noise,
            },
            (None, None) => Request::Begin(Box::new(self.search(quiet)?)),
        };
        let form = Form { format: self.shape.format.format(), output: self.shape.output.as_deref() };
        bisect::run(context, &request, grant, form)
    }

    fn wanted(&self) -> anyhow::Result<Want> {
        match (&self.metric, &self.test, &self.finding) {
            (Some(metric), _, _) => Ok(Want::Metric(metric.clone())),
            (None, Some(test), Some(title)) => Ok(Want::Finding { test: test.clone(), title: title.clone() }),
            (None, Some(test), None) => Ok(Want::Test(test.clone())),
            (None, None, _) => Err(missing(
                "nothing says what is searched for",
                "--metric SUITE/TEST:METRIC, or --test SUITE/TEST",
            )),
        }
    }

    fn search(&self, quiet: Quiet) -> anyhow::Result<Search> {
        let want = self.wanted()?;
        let tree = self.tree.clone().ok_or_else(|| missing("no tree is named", "--tree TREE"))?;
        let bad = self.bad.clone().ok_or_else(|| missing("no bad revision is named", "--bad REV"))?;
        let (good, others_good) =
            self.good.split_first().ok_or_else(|| missing("no good revision is named", "--good REV"))?;
        let confidence = sure(self.confidence.unwrap_or(CONFIDENCE))?;
        let usual = match quiet {
            Quiet::Alone => crate::analysis::QUIET_FLOOR,
            Quiet::Shared => crate::analysis::FLOOR,
        };
        Ok(Search {
            tree,
            good: good.clone(),
            others_good: others_good.to_vec(),
            bad,
            want,
            paths: self.paths.clone(),
            parents: if self.first_parent { Parents::First } else { Parents::All },
            confidence,
            floor: self.floor.unwrap_or(usual),
            layout_noise: self.layout_noise.unwrap_or(LAYOUT_NOISE),
            fix_build: self.fix_build.clone(),
            quiet,
        })
    }
}

fn missing(what: &str, flag: &str) -> anyhow::Error {
    commands::usage(anyhow::anyhow!("{what}\nhint: {flag}; `kregress bisect --help` shows all"))
}

/// A confidence with which there are answers.
fn sure(confidence: f64) -> anyhow::Result<f64> {
    if (0.5..1.0).contains(&confidence) {
        return Ok(confidence);
    }
    Err(commands::usage(anyhow::anyhow!(
        "an answer with a confidence of `{} %` is none, or never comes\nhint: --confidence takes 50 to 99.99",
        (confidence * 1e4).round() / 1e2
    )))
}

/// A budget: boots or time.
fn budget(text: &str) -> Result<Grant, String> {
    let (amount, grant): (&str, fn(Budget) -> Grant) = match text.strip_prefix('+') {
        Some(more) => (more, Grant::More),
        None => (text, Grant::Whole),
    };
    let end = amount.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(amount.len());
    let (number, unit) = amount.split_at(end);
    let number: f64 = number.parse().map_err(|_| format!("`{text}` is no budget: 40boots, 90m, 2h"))?;
    let time = |seconds: f64| Ok(grant(Budget { seconds: Some(number * seconds), boots: None }));
    match unit.trim() {
        "boots" | "boot" if number.fract() == 0.0 && number <= 1e6 => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole and bounded")]
            let boots = number as u32;
            Ok(grant(Budget { boots: Some(boots), seconds: None }))
        }
        "s" => time(1.0),
        "m" | "min" => time(60.0),
        "h" => time(3600.0),
        _ => Err(format!("`{text}` is no budget: 40boots, 90m, 2h")),
    }
}

/// How something is shown, and where.
#[derive(Debug, Args)]
struct Shape {
    /// Form of the report
    #[arg(long, value_enum, default_value_t = Report::Human)]
    format: Report,
    /// Write the report there, and not to standard output
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

/// A number of hundredths, as a share.
fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim_end_matches('%').trim_end().parse::<f64>();
    match number {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number / 100.0),
        _ => Err(format!("`{text}` is no number from 0 to 100")),
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Different {
    Accel,
    Backend,
    Cpus,
    Memory,
    Config,
    Compiler,
    Harness,
    Host,
    Seed,
}

impl Different {
    fn what(self) -> What {
        match self {
            Self::Accel => What::Accel,
            Self::Backend => What::Backend,
            Self::Cpus => What::Cpus,
            Self::Memory => What::Memory,
            Self::Config => What::Config,
            Self::Compiler => What::Compiler,
            Self::Harness => What::Harness,
            Self::Host => What::Host,
            Self::Seed => What::Seed,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ListWhat {
    Kernels,
    Suites,
    Tests,
    Metrics,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Report {
    /// The table at the end of a run
    Human,
    /// One self-contained page with plots
    Html,
    /// For a pull request, or the summary of a job
    Markdown,
    /// At most ten annotations, as commands for the log of a GitHub workflow
    Annotations,
    /// 72 columns, for a commit message or a cover letter
    Text,
    /// JUnit XML, for CI
    Junit,
    /// KTAP version 1
    Ktap,
    /// The whole record
    Json,
}

impl Report {
    fn format(self) -> ReportFormat {
        match self {
            Self::Human => ReportFormat::Human,
            Self::Html => ReportFormat::Html,
            Self::Markdown => ReportFormat::Markdown,
            Self::Annotations => ReportFormat::Annotations,
            Self::Text => ReportFormat::Text,
            Self::Junit => ReportFormat::Junit,
            Self::Ktap => ReportFormat::Ktap,
            Self::Json => ReportFormat::Json,
        }
    }
}

/// Parses the command line and runs the command. Gives the exit code.
#[must_use]
pub fn main(args: Vec<OsString>) -> u8 {
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors; clap says which stream is meant.
            // A closed stream leaves nobody to tell.
            let _ = error.print();
            // To git, an exit code for wrong words would be a verdict on a commit.
            if error.use_stderr() && args.iter().any(|word| word == "--git-bisect") {
                return bisect::ABORT;
            }
            return u8::try_from(error.exit_code()).unwrap_or(USAGE);
        }
    };
    let shared = cli.shared;
    let context = Context {
        argv: args.iter().map(|word| word.to_string_lossy().into_owned()).collect(),
        machine: shared.machine,
        results: shared.results,
        config: shared.config,
        junit: shared.junit,
        messages: match shared.message_format {
            Message::Human => MessageFormat::Human,
            Message::Json => MessageFormat::Json,
        },
        jobs: shared.jobs,
        seed: shared.seed,
    };
    let list_format = match context.messages {
        MessageFormat::Human => ListFormat::Human,
        MessageFormat::Json => ListFormat::Json,
    };
    let result = match cli.command {
        Command::Doctor => commands::doctor::run(&context),
        Command::List { what } => {
            let kind = what.map_or(ListKind::All, |what| match what {
                ListWhat::Kernels => ListKind::Kernels,
                ListWhat::Suites => ListKind::Suites,
                ListWhat::Tests => ListKind::Tests,
                ListWhat::Metrics => ListKind::Metrics,
            });
            context
                .project()
                .and_then(|project| commands::list::run(&project, kind, list_format, &mut anstream::stdout()))
                .map(|()| commands::PASSED)
        }
        Command::Build { kernels, key: true } => commands::build::key(&context, &kernels),
        Command::Build { kernels, key: false } => commands::build::run(&context, &kernels),
        Command::Run(words) => words.run(&context),
        Command::Plan(words) => words.run(&context),
        Command::Merge(words) => words.run(&context),
        Command::Compare { base, head, tests, allow_different, judged, shape } => {
            let asked = judged.asked(allow_different.into_iter().map(Different::what).collect());
            let form = Form { format: shape.format.format(), output: shape.output.as_deref() };
            commands::compare::run(&context, [&base, &head], &tests, &asked, form)
        }
        Command::Selfcheck { tests, kernel, boots, quiet_host } => {
            let quiet = if quiet_host { Quiet::Alone } else { Quiet::Shared };
            commands::selfcheck::run(&context, kernel.as_deref(), &tests, boots, quiet)
        }
        Command::Series(words) => words.run(&context),
        Command::Shell { kernel, command } => commands::shell::run(&context, kernel.as_deref(), &command),
        Command::Bisect(words) => words.run(&context),
        Command::Report { run, shape: Shape { format, output } } => {
            let form = Form { format: format.format(), output: output.as_deref() };
            let written = commands::report::run(&context.results, run.as_deref(), form);
            written.map(|()| commands::PASSED)
        }
    };
    match result {
        Ok(code) => code,
        Err(error) => commands::fail(&error),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_budget_is_boots_or_time_and_says_which() {
        let seconds = |seconds| Budget { boots: None, seconds: Some(seconds) };
        assert_eq!(budget("40boots"), Ok(Grant::Whole(Budget { boots: Some(40), seconds: None })));
        assert_eq!(budget("1.5h"), Ok(Grant::Whole(seconds(5400.0))));
        assert_eq!(budget("+90m"), Ok(Grant::More(seconds(5400.0))));
        assert_eq!(budget("90m"), budget("5400s"));
        for wrong in ["", "40", "h", "1.5boots", "-3h", "+", "++3h", "2 weeks", "1e9boots"] {
            assert!(budget(wrong).is_err(), "{wrong}");
        }
    }
}
