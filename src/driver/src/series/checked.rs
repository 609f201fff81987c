//! What became of a series, patch by patch, as plain data.
//!
//! `commands/series` collects it and `judge` says what is wrong since when;
//! `report::series` shows it. Neither decides anything a second time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::results::Standing;

/// Version of [`Checked`] on the disk.
pub const VERSION: u32 = 1;

/// A series that was checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// Always `series`.
    pub kind: String,
    /// Name of the directory.
    pub id: String,
    /// Absolute path of the directory.
    pub directory: String,
    /// Version of the kregress that made it.
    pub kregress: String,
    /// Command line, program first.
    pub command: Vec<String>,
    /// Seconds since 1970, UTC.
    pub started_unix: i64,
    /// Milliseconds that it took.
    pub elapsed_ms: u64,
    /// The series as named by the user.
    pub asked: String,
    /// The tree as named by the user.
    pub tree: String,
    /// Title of the cover letter.
    pub cover: Option<String>,
    /// Machine, host and compiler: name and value.
    pub environment: Vec<(String, String)>,
    /// The base, and each patch on it in order: what is said of a place is about
    /// this list, so 0 is the base.
    pub revisions: Vec<Revision>,
    /// What is wrong, in the order of the first patch that may have brought it.
    pub defects: Vec<Defect>,
    /// Base against tip.
    pub performance: Performance,
    /// Whole sentences for people.
    pub notes: Vec<String>,
    /// Runs and sessions of which it is made: name and path.
    pub made_of: Vec<(String, String)>,
    /// What it comes to.
    pub outcome: Outcome,
}

/// The base, or the state of the tree after a patch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Revision {
    /// Number of the patch in its series; none of the base.
    pub number: Option<u32>,
    /// Title.
    pub subject: String,
    /// `Name <address>`, where it is known.
    pub author: Option<String>,
    /// When it was written, as in ISO 8601, where it is known.
    pub date: Option<String>,
    /// Files that it touches; none of the base.
    pub files: Vec<String>,
    /// All digits of the commit; none of a patch that was not applied.
    pub commit: Option<String>,
    /// Whether the patch applies.
    pub apply: Apply,
    /// What became of its build.
    pub build: Build,
    /// Warnings of its build that the last revision before it that builds does not have.
    pub warnings: Warnings,
    /// What it boots.
    pub image: Image,
    /// Findings outside of tests and boots that ended badly; the first line is a title.
    pub troubles: Vec<Trouble>,
    /// What each test came to, by its full name. Of a revision with the image of
    /// another one there are none: those of that one are its own.
    pub tests: BTreeMap<String, Tested>,
}

/// Whether a patch applies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "apply", rename_all = "kebab-case")]
pub enum Apply {
    /// It does; so does the base.
    Applies,
    /// It does not.
    Refused {
        /// Files and hunks, and perhaps a hint.
        reason: String,
    },
    /// One before it does not.
    NotReached,
}

/// What became of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "build", rename_all = "kebab-case")]
pub enum Build {
    /// It was compiled.
    Built {
        /// Seconds that it took.
        seconds: f64,
    },
    /// It was compiled by an earlier command.
    Stored,
    /// It does not compile.
    Failed {
        /// The first error and what belongs to it; the first line is a title.
        reason: String,
        /// Where that error is.
        place: Option<Place>,
        /// Path of everything that was said.
        log: Option<String>,
        /// Seconds until then.
        seconds: f64,
    },
    /// There is nothing to build, or somebody asked to stop.
    NotTried,
    /// The host could not build it.
    NotKnown {
        /// Why.
        reason: String,
    },
}

/// A line of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Relative to the tree.
    pub file: String,
    /// From 1.
    pub line: Option<u32>,
}

/// What a build warns of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "warnings", rename_all = "kebab-case")]
pub enum Warnings {
    /// Compared with those of the last revision before it that builds.
    Compared {
        /// Those that it did not have.
        new: Vec<Warning>,
        /// Those that are no longer there.
        gone: Vec<Warning>,
    },
    /// It is the base, or has no build.
    NoneToCompare,
    /// Nobody knows what its compiler said.
    NotKnown {
        /// Why.
        reason: String,
    },
}

/// A warning of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// Where, if the tool says so.
    pub place: Option<Place>,
    /// What the tool says, with the flag that asks for it.
    pub message: String,
    /// The same of two warnings that are the same, wherever their lines are.
    pub identity: String,
}

/// What a revision boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "image", rename_all = "kebab-case")]
pub enum Image {
    /// One that no revision before it has.
    Own,
    /// That of another one, which was booted in its place.
    SameAs {
        /// Which of the revisions.
        revision: usize,
    },
    /// None: it was not built.
    Missing,
}

/// Something wrong with a kernel apart from its tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// Who is at fault.
    pub blame: Blame,
    /// One word: `panic`, `warning`, `lost`.
    pub kind: String,
    /// The first line is a title.
    pub message: String,
}

/// Who is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// The kernel.
    Kernel,
    /// The harness or its host: nothing is known of the kernel.
    Harness,
}

/// What a test came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tested {
    /// What its attempts come to.
    pub standing: Standing,
    /// One word for the way in which it did not pass; empty where it did.
    pub kind: String,
    /// Why it did not pass; the first line is a title.
    pub message: String,
    /// Attempts that did not pass.
    pub missed: u32,
    /// Attempts, each in a boot of its own.
    pub attempts: u32,
    /// Time of all attempts, in milliseconds.
    pub elapsed_ms: u64,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Defect {
    /// In which way.
    pub what: What,
    /// Name of the test, `SUITE/TEST:METRIC`, or the place of a warning; empty of others.
    pub name: String,
    /// The first line is a title.
    pub message: String,
    /// Where in the source, if that is known.
    pub place: Option<Place>,
    /// Since when.
    pub since: Since,
    /// The revision that has it no more.
    pub until: Option<usize>,
}

/// In which way something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// A patch does not apply.
    Apply,
    /// It does not build.
    Build,
    /// The compiler warns.
    Warning,
    /// The kernel does not boot, or its log holds a finding outside of tests.
    Boot,
    /// A test fails.
    Test,
    /// A number is worse.
    Metric,
}

/// Since when something is wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "since", rename_all = "kebab-case")]
pub enum Since {
    /// It was so before the first patch.
    Base,
    /// One of these patches brought it; never empty.
    Patches {
        /// Which of the revisions, ascending.
        revisions: Vec<usize>,
        /// That it is one of them; 1 where there is no doubt by chance.
        probability: f64,
    },
    /// It was not seen before, and nothing is known of what was before.
    NotKnown {
        /// Why, in one sentence.
        reason: String,
    },
}

/// Base against tip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "performance", rename_all = "kebab-case")]
pub enum Performance {
    /// None of the tests measures anything that decides.
    NotAsked,
    /// Both boot the same image.
    SameImage,
    /// It was not, for its times would decide nothing here.
    Undecided {
        /// Why, in one sentence.
        reason: String,
    },
    /// It could not be measured, or not to its end.
    NotMeasured {
        /// Why, in one sentence.
        reason: String,
    },
    /// It was measured: each test up to the last patch with which it passes.
    Measured {
        /// Worse, better, the same or not known: one word.
        verdict: Verdict,
        /// Metrics that decide and are not the same, the worst first.
        changes: Vec<Change>,
        /// Metrics that decide and are the same.
        unchanged: u32,
        /// Metrics that decide and are not known.
        unknown: u32,
    },
}

/// Word of a comparison; of several the last one in this order counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing changed.
    Unchanged,
    /// Something is better, and nothing is worse.
    Improved,
    /// Something that decides is not known, and nothing is worse.
    Inconclusive,
    /// A side was not measured.
    NotMeasured,
    /// Something that decides is worse.
    Regressed,
}

/// What became of a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Full name of the test.
    pub test: String,
    /// Name of the metric.
    pub metric: String,
    /// The revision that was measured against the base: the last one where the test
    /// passes.
    pub head: usize,
    /// `regressed`, `improved` or `inconclusive`.
    pub verdict: Verdict,
    /// `128.5 ms to 960.1 ms, x7.47`.
    pub text: String,
    /// What that stands on: `x6.90 to x8.02, by chance below 1 in 1000, 6+6 boots`.
    pub basis: String,
    /// The patches that did it.
    pub found: Found,
}

/// Who changed a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "found", rename_all = "kebab-case")]
pub enum Found {
    /// Nobody looked: it is not worse, or there was no time.
    NotSearched,
    /// It was searched for by another metric of the same test.
    With {
        /// Full name of test and metric.
        name: String,
    },
    /// A search has answers that fresh boots confirmed: more than one where the first
    /// explains too little of the difference.
    Patches {
        /// In the order in which they were found; never empty.
        answers: Vec<Answer>,
    },
    /// A search has no answer that stands.
    Nobody {
        /// Why, in one sentence.
        reason: String,
    },
}

/// Patches of which one changed a metric.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Which of the revisions, ascending; never empty.
    pub revisions: Vec<usize>,
    /// That it is one of them; 0 to 1.
    pub probability: f64,
    /// What the search says of it, in a sentence.
    pub claim: String,
}

/// What a series comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every patch applies and builds without a new warning, boots, and fails no test
    /// that passed before; and the tip is not slower.
    Good,
    /// A patch breaks something, and it stays so.
    Broken,
    /// A patch breaks something, and a later one repairs it: it cannot be bisected
    /// across.
    Repaired,
    /// Whether the tip is slower is not known, or every test was skipped.
    Inconclusive,
    /// The harness or host failed, and no patch is known to be wrong.
    NotKnown,
    /// The user stopped it.
    Interrupted,
}

impl Outcome {
    /// Exit code of the command.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Broken | Self::Repaired => 1,
            Self::NotKnown => 3,
            Self::Inconclusive => 4,
            Self::Interrupted => 130,
        }
    }

    /// One word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Broken => "broken",
            Self::Repaired => "broken and repaired",
            Self::Inconclusive => "inconclusive",
            Self::NotKnown => "error",
            Self::Interrupted => "interrupted",
        }
    }
}

impl Revision {
    /// Whether there is a kernel of it.
    #[must_use]
    pub fn is_built(&self) -> bool {
        match self.build {
            Build::Built { .. } | Build::Stored => true,
            Build::Failed { .. } | Build::NotTried | Build::NotKnown { .. } => false,
        }
    }
}

impl Checked {
    /// The revision whose boots speak for this one.
    #[must_use]
    pub fn booted(&self, revision: usize) -> &Revision {
        booted(&self.revisions, revision)
    }
}

/// The revision whose boots speak for the one of this index.
#[must_use]
pub fn booted(revisions: &[Revision], at: usize) -> &Revision {
    match revisions[at].image {
        Image::SameAs { revision } => &revisions[revision],
        Image::Own | Image::Missing => &revisions[at],
    }
}
