//! What a bisection found, as plain data.
//!
//! `outcome` makes it from the record of a session, `report::bisected` shows it;
//! neither decides anything a second time.

use serde::{Deserialize, Serialize};

use crate::analysis::BreakdownChange;
use crate::results::format::Metric;

/// A bisection, finished or not.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bisected {
    /// Name of the session: that of its directory.
    pub session: String,
    /// Absolute path of the session's directory.
    pub directory: String,
    /// Command line that began it, program first.
    pub command: Vec<String>,
    /// The tree, as named by the user.
    pub tree: String,
    /// What was asked.
    pub question: Question,
    /// The machine and accelerator, and facts about host and compiler: name and value.
    pub environment: Vec<(String, String)>,
    /// The endpoint without the change.
    pub good: Commit,
    /// One value for each boot of `good` that counts for the search, as in [`Row::values`].
    pub good_values: Vec<f64>,
    /// The endpoint with the change.
    pub bad: Commit,
    /// Every commit between, parents before children; the last one is `bad`, or has
    /// its tree as far as the paths go that were asked for.
    pub commits: Vec<Row>,
    /// Searches after the first, each over a part of the range, in their order.
    pub later: Vec<Search>,
    /// Bad against good, as far as it was measured.
    pub endpoints: Option<Effect>,
    /// How it ended, or where it stands.
    pub ending: Ending,
    /// Answers, in the order in which they were found; more than one where the first
    /// explains too little of the difference.
    pub answers: Vec<Answer>,
    /// The most probable suspects of the search that is under way or was cut off, most
    /// probable first, until they hold the confidence that was asked for.
    pub suspects: Vec<Suspect>,
    /// What it has cost.
    pub spent: Spent,
    /// What is still to come, by what is known; none where nothing is.
    pub remaining: Option<Remaining>,
    /// Whole sentences for people: symbols that revisions lack, commits set aside,
    /// other good revisions taken at their word.
    pub notes: Vec<String>,
}

/// What is searched for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "of", rename_all = "kebab-case")]
pub enum Question {
    /// A number.
    Metric {
        /// Full name of the test.
        test: String,
        /// The metric, with unit and direction.
        metric: Metric,
        /// How it was judged, once that is known.
        rule: Option<Rule>,
        /// Standard deviation that a build as such adds, as a share; none for exact ones.
        layout_noise: Option<f64>,
    },
    /// A test that fails.
    Test {
        /// Full name of the test.
        test: String,
    },
    /// A finding in the kernel log.
    Finding {
        /// Full name of the test that provokes it.
        test: String,
        /// The text that its title contains.
        title: String,
    },
}

/// How a number was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// By probability.
    Noisy,
    /// By its values: one boot a step.
    Exact,
}

/// A commit, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    /// Full hash.
    pub hash: String,
    /// First line of its message.
    pub subject: String,
    /// `Name <address>`.
    pub author: String,
    /// When it was committed, ISO 8601.
    pub date: String,
}

/// A commit of the range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The commit.
    pub commit: Commit,
    /// Indices of its parents in the range.
    pub parents: Vec<usize>,
    /// Probability that it is the culprit, by the first search; 0 to 1.
    pub probability: f64,
    /// One value for each boot that counts for the search: of a metric in its unit, of
    /// a test 1 where it failed in this way and 0 where it passed.
    pub values: Vec<f64>,
    /// What became of it.
    pub state: State,
}

/// A search over a part of the range.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Search {
    /// Full hash of its end without the change.
    pub good: String,
    /// Full hash of its end with the change.
    pub bad: String,
    /// Its commits by their places in the range, each with the probability that it is the
    /// culprit by this search; 0 to 1.
    pub probabilities: Vec<(usize, f64)>,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// It was never looked at.
    Untouched,
    /// It was booted.
    Measured,
    /// Its image is that of another commit, which was booted in its place.
    SameImage {
        /// Full hash of that one.
        of: String,
    },
    /// It cannot be built, or gives no number; it stays a suspect.
    SetAside {
        /// Why, first line.
        reason: String,
    },
}

/// How much larger (or smaller) something is on one side than on the other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Effect {
    /// Of a metric.
    Level {
        /// Geometric mean of boots without (median of exact metrics), in the metric's unit.
        old: f64,
        /// The same with.
        new: f64,
        /// `new / old - 1`; none where `old` is zero.
        change: Option<f64>,
        /// Lower end of its interval; equal to it for exact metrics.
        low: Option<f64>,
        /// Upper end.
        high: Option<f64>,
        /// Coverage of the interval; 1 for exact metrics.
        confidence: f64,
        /// Boots of the side that has fewer.
        boots: u32,
    },
    /// Of a test.
    Rate {
        /// Boots without that failed in this way.
        old_failed: u32,
        /// Boots without.
        old: u32,
        /// Boots with that failed in this way.
        new_failed: u32,
        /// Boots with.
        new: u32,
    },
}

/// How a bisection ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "ending", rename_all = "kebab-case")]
pub enum Ending {
    /// It goes on, or was cut off: `kregress bisect --resume`.
    Unfinished,
    /// Every answer stands in `answers`.
    Found,
    /// The endpoints do not differ, or not enough to see it.
    NotReproduced {
        /// Why, in one sentence.
        reason: String,
        /// About so many boots a side would do, where that is known.
        needs_boots: Option<u32>,
    },
    /// An endpoint cannot be built, or gives no number.
    EndpointFailed {
        /// Full hash.
        commit: String,
        /// Why, whole text.
        reason: String,
    },
    /// Measured commits contradict each other: no single commit explains them.
    Contradiction {
        /// Which, in one sentence.
        reason: String,
    },
    /// The budget is spent.
    BudgetSpent,
    /// Nothing that can be tested tells more, and no class is sure enough.
    Exhausted,
}

/// A commit, or a class of commits that nothing that can be tested tells apart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// The suspects: one, or all of a class; parents before children.
    pub commits: Vec<Commit>,
    /// That it is one of them.
    pub probability: f64,
    /// The nearest commit without, that was measured.
    pub before: Commit,
    /// The nearest commit with, that was measured.
    pub after: Commit,
    /// `after` against `before` in fresh boots.
    pub confirmation: Confirmation,
    /// Share of the difference between the endpoints that it explains, on the scale of
    /// the analysis; none where it is not known.
    pub explains: Option<f64>,
    /// The answer undone on top of the bad endpoint.
    pub reverted: Reverted,
    /// Where the time went before and after, for metrics of teardown.
    pub breakdown: Option<BreakdownChange>,
    /// Files that it changes, where it is one commit.
    pub files: Vec<String>,
}

/// What fresh boots of the two sides of an answer said.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "confirmation", rename_all = "kebab-case")]
pub enum Confirmation {
    /// They were not made, or not all.
    Pending,
    /// They differ as the endpoints do.
    Confirmed {
        /// By so much; these boots were not used to find it.
        effect: Effect,
    },
    /// They do not differ, or not surely.
    NotConfirmed {
        /// What was measured.
        effect: Option<Effect>,
        /// Why not, in one sentence.
        reason: String,
    },
    /// Both are the same image: whatever this commit does, it does not do it to this kernel.
    NoOp,
}

/// What became of the bad endpoint with the answer taken out.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "reverted", rename_all = "kebab-case")]
pub enum Reverted {
    /// It was not tried, or not yet.
    NotTried {
        /// Why, in one sentence.
        reason: String,
    },
    /// It does not come out cleanly.
    Conflicts {
        /// Files in conflict.
        files: Vec<String>,
    },
    /// It was taken out and could not be measured.
    Failed {
        /// Why, first line.
        reason: String,
    },
    /// Without it the bad endpoint is surely nearer to the good one.
    Verified {
        /// Bad (`new`) against bad without it (`old`).
        effect: Effect,
    },
    /// It is still as bad without it, or not surely better.
    StillBad {
        /// Bad (`new`) against bad without it (`old`).
        effect: Option<Effect>,
    },
}

/// A suspect of a search that gave no answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Suspect {
    /// Who.
    pub commit: Commit,
    /// That it is the culprit.
    pub probability: f64,
}

/// What a bisection has cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spent {
    /// Kernels built.
    pub builds: u32,
    /// Kernels that were in the store.
    pub cached: u32,
    /// Kernels that could not be built.
    pub failed_builds: u32,
    /// Boots.
    pub boots: u32,
    /// Commits measured in the searches, endpoints not counted.
    pub steps: u32,
    /// Seconds of building and booting.
    pub seconds: f64,
}

/// What is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Remaining {
    /// Kernels to build.
    pub builds: f64,
    /// Boots.
    pub boots: f64,
    /// Seconds.
    pub seconds: f64,
}
