//! The record of a bisection: `bisect.jsonl`, one JSON value a line, each on the disk
//! before anything is done on the strength of it.
//!
//! Owns the shape of the lines and reading them; no I/O, no decisions. Everything that
//! a bisection knows is a function of these lines (`state`), so that one that was
//! killed goes on where it was, and another one can judge the same boots again. A
//! field may be added within [`VERSION`]; a field that goes or a new meaning needs the
//! next one.

use std::path::PathBuf;

use kregress_wire::Breakdown;
use serde::{Deserialize, Serialize};

use super::bisected::Commit;
use crate::results::format::{Machine, Metric};

/// Version of the lines.
pub const VERSION: u32 = 1;

/// Name of the file in the session's directory.
pub const FILE: &str = "bisect.jsonl";

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "kebab-case")]
pub enum Line {
    /// What is searched for, and where. The first line, and only there.
    Plan(Box<Plan>),
    /// A kernel was built or found, or cannot be.
    Kernel(KernelLine),
    /// How the commits touch what is measured, in the order of the plan: known when
    /// the endpoints are built.
    Touches {
        /// One for each commit.
        touches: Vec<Touched>,
    },
    /// Facts about machine, host and compiler, when the endpoints were built.
    Place {
        /// Name and value of each, in the order in which they are shown.
        facts: Vec<(String, String)>,
    },
    /// Kernels of these commits were in the store when the search began.
    Stored {
        /// Indices into the commits of the plan.
        commits: Vec<usize>,
    },
    /// Boots were asked for. Each has its line later on, unless the session was cut off.
    Asked(Asked),
    /// A boot of the last boots that were asked for is over.
    Boot(BootLine),
    /// A commit does not come out of the bad endpoint, or, without files, nothing of it
    /// is left there.
    Conflicts {
        /// Full hash of the commit.
        culprit: String,
        /// Files in conflict.
        files: Vec<String>,
    },
}

/// What is searched for, and where.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of all lines.
    pub version: u32,
    /// Version of the kregress that began it.
    pub kregress: String,
    /// Name of the session and of its directory.
    pub id: String,
    /// Command line as typed, program first.
    pub command: Vec<String>,
    /// Seconds since 1970, UTC.
    pub started_unix: i64,
    /// The tree, as named by the user.
    pub tree: String,
    /// The repository.
    pub repository: PathBuf,
    /// Kconfig fragments of the kernels.
    pub fragments: Vec<String>,
    /// Machine as asked for.
    pub machine: Machine,
    /// Seed of everything random.
    pub seed: u64,
    /// Boots that measure times have the host for themselves.
    #[serde(default)]
    pub quiet_host: bool,
    /// Applied to every commit to which it applies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix_build: Option<PathBuf>,
    /// What is asked.
    pub question: Question,
    /// A test that finds out where the time of a teardown goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// How sure an answer has to be.
    pub confidence: f64,
    /// Smallest relative change of a noisy metric that counts.
    pub floor: f64,
    /// Standard deviation that a build as such adds to a noisy metric, as a share.
    pub layout_noise: f64,
    /// The endpoint without the change.
    pub good: Commit,
    /// Other revisions of which it is said that they are without it.
    #[serde(default)]
    pub others_good: Vec<Commit>,
    /// The endpoint with the change.
    pub bad: Commit,
    /// Where commits have to change something to be among `commits`; anywhere where this
    /// is empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// The commits between, parents before children. The last one is measured as `bad`.
    pub commits: Vec<Candidate>,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Question {
    /// Which commit changed a number.
    Metric {
        /// Full name of the test.
        test: String,
        /// The metric.
        metric: Metric,
    },
    /// Which commit made a test fail.
    Test {
        /// Full name of the test.
        test: String,
    },
    /// Which commit brought a finding into the kernel log.
    Finding {
        /// Full name of the test that provokes it.
        test: String,
        /// A part of its title.
        title: String,
    },
}

impl Question {
    /// Full name of the test that is run.
    #[must_use]
    pub fn test(&self) -> &str {
        match self {
            Self::Metric { test, .. } | Self::Test { test } | Self::Finding { test, .. } => test,
        }
    }
}

/// A commit that may be the culprit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who.
    #[serde(flatten)]
    pub commit: Commit,
    /// Indices of its parents among the candidates.
    pub parents: Vec<usize>,
    /// Files that it changes.
    pub files: Vec<String>,
}

/// Something that is built and booted.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// A commit, by its full hash.
    Commit(String),
    /// The bad endpoint without this commit.
    Without(String),
}

impl Target {
    /// Full hash of the commit that it is, or is without.
    #[must_use]
    pub fn hash(&self) -> &str {
        match self {
            Self::Commit(hash) | Self::Without(hash) => hash,
        }
    }

    /// As the kernel is named on the screen: short hashes.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Commit(hash) => short(hash).to_owned(),
            Self::Without(hash) => format!("bad without {}", short(hash)),
        }
    }
}

/// The first twelve letters of a hash.
#[must_use]
pub fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

/// What became of building a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KernelLine {
    /// Of what.
    pub target: Target,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: KernelOutcome,
}

/// What became of building a kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kernel", rename_all = "kebab-case")]
pub enum KernelOutcome {
    /// It is there.
    Ready {
        /// Key in the store.
        identity: String,
        /// Hash of the image; kernels with the same one do the same.
        image: Option<String>,
        /// Seconds that it took; none of those that were in the store.
        built_in: Option<f64>,
        /// Symbols that were asked for and that the revision does not have.
        lacks: Vec<String>,
        /// What became of the patch of `--fix-build`.
        #[serde(default)]
        fix: FixUse,
    },
    /// This revision cannot be built.
    Unbuildable {
        /// Why, whole text.
        reason: String,
        /// Seconds until that was known; none in older records.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failed_in: Option<f64>,
    },
}

/// What becomes of the patch of `--fix-build` in a kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FixUse {
    /// It is in there if there is one and it applies.
    #[default]
    WhereItApplies,
    /// It is not: with it the revision does not build, and without it it does.
    LeftOut,
}

/// How a commit touches what is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touched {
    /// It changes files that the suite says it is about.
    Suite,
    /// It changes other files of the kernel.
    Elsewhere,
    /// No file that it changes is part of the kernels of the endpoints.
    NotInKernel,
}

/// What boots are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Both endpoints in turns, until the difference is known.
    Endpoints,
    /// A commit between.
    Search,
    /// Both sides of an answer, in fresh boots.
    Confirm,
    /// The bad endpoint with and without the answer.
    Revert,
    /// Where the time goes on both sides of the answer.
    Profile,
}

/// Boots that were asked for: every target in every turn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Number of the search, from 0; there is another where one commit explains too
    /// little.
    pub leg: u32,
    /// What for.
    pub phase: Phase,
    /// What is booted; several in turns.
    pub targets: Vec<Target>,
    /// The first turn.
    pub from: u32,
    /// The last one.
    pub until: u32,
    /// Why, in one line.
    pub why: String,
}

/// A boot that is over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BootLine {
    /// Number of the search.
    pub leg: u32,
    /// What it was for.
    pub phase: Phase,
    /// What was booted.
    pub target: Target,
    /// Which of the turns asked for.
    pub turn: u32,
    /// Number of the boot, and of its directory; none where no boot reached the test.
    pub boot: Option<u32>,
    /// The accelerator.
    pub accel: String,
    /// Its share of the time that the boots asked for took, in seconds.
    pub seconds: f64,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Where the time of teardown went, of boots for the profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breakdown: Option<Breakdown>,
}

/// What came of a boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "came", rename_all = "kebab-case")]
pub enum Outcome {
    /// The metric has a value.
    Value {
        /// Median of its samples, in the metric's unit.
        median: f64,
        /// Smallest sample.
        lowest: f64,
        /// Largest sample.
        highest: f64,
        /// How many.
        samples: u32,
        /// Robust standard error of the median, in the metric's unit.
        error: f64,
    },
    /// The test passed, or what is searched for was not found.
    Clean,
    /// The test failed, or what is searched for was found.
    Shows {
        /// What, first line.
        message: String,
        /// Class of the failure, as in `run.json`.
        class: String,
    },
    /// It says nothing: another failure, a skipped test, a guest that was lost.
    Nothing {
        /// Why, first line.
        reason: String,
    },
}

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// No plan at its beginning.
    #[error("it does not begin with the plan of a bisection")]
    NoPlan,
    /// A line in its middle that is none.
    #[error("line {line}: {reason}")]
    Line {
        /// From 1.
        line: usize,
        /// What the reader of JSON says.
        reason: String,
    },
    /// From a newer kregress.
    #[error("it has version {found}; this kregress reads up to {VERSION}")]
    Version {
        /// Of the file.
        found: u64,
    },
}

/// A record, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// Its plan.
    pub plan: Plan,
    /// The other lines.
    pub lines: Vec<Line>,
    /// Length in bytes up to the last whole line: what follows was being written when
    /// the session was cut off, and nothing was done on its strength.
    pub whole: u64,
}

/// Reads the text of a record.
///
/// # Errors
///
/// Fails where it has no plan, a version that is too new, or a line in its middle that
/// cannot be understood.
pub fn read(text: &[u8]) -> Result<Read, RecordError> {
    let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let mut lines = text[..whole].split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let first = lines.next().ok_or(RecordError::NoPlan)?;
    let value: serde_json::Value = serde_json::from_slice(first).map_err(|_| RecordError::NoPlan)?;
    if value.get("record").and_then(serde_json::Value::as_str) != Some("plan") {
        return Err(RecordError::NoPlan);
    }
    let found = value.get("version").and_then(serde_json::Value::as_u64).ok_or(RecordError::NoPlan)?;
    if found > u64::from(VERSION) {
        return Err(RecordError::Version { found });
    }
    let parse = |line: usize, text: &[u8]| {
        serde_json::from_slice::<Line>(text).map_err(|error| {
            // To its reader each line is the first.
            let said = error.to_string();
            let reason = said.split(" at line 1 column ").next().unwrap_or(&said).to_owned();
            RecordError::Line { line, reason }
        })
    };
    let Line::Plan(plan) = parse(1, first)? else { return Err(RecordError::NoPlan) };
    let rest = lines.enumerate().map(|(at, line)| parse(at + 2, line)).collect::<Result<Vec<_>, _>>()?;
    let whole = u64::try_from(whole).unwrap_or(u64::MAX);
    Ok(Read { plan: *plan, lines: rest, whole })
}

/// A line as it is written, with its newline.
///
/// # Errors
///
/// Fails for a number that JSON does not have; there is none in what boots say.
pub fn write(line: &Line) -> Result<Vec<u8>, serde_json::Error> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes)
}
