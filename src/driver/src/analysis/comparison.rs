//! What a comparison of two kernels found, as plain data.
//!
//! `compare` makes it, `report` shows it; neither decides anything a second time.

use serde::{Serialize, Serializer};

use crate::model::Accel;
pub use crate::model::Overall;
use crate::results::format::Metric;

/// A comparison of two kernels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// What it is measured against.
    pub base: Side,
    /// What is judged.
    pub head: Side,
    /// How it was judged.
    pub rules: Rules,
    /// Every metric of every test that has one, in the order of the plan.
    pub metrics: Vec<MetricChange>,
    /// Every test, in the order of the plan.
    pub tests: Vec<TestChange>,
    /// Where the time of teardown went, of tests that found out on both sides.
    pub breakdowns: Vec<BreakdownChange>,
    /// Differences between the sides beside the kernel, each with both values,
    /// that the user allowed. Numbers stand under this reservation.
    pub reservations: Vec<String>,
    /// What was not measured, and why: whole sentences.
    pub not_measured: Vec<String>,
}

/// One of the two kernels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Side {
    /// As named in the run.
    pub kernel: String,
    /// The run that it was measured in.
    pub run: String,
    /// `uname -r`, where a boot got that far.
    pub release: Option<String>,
    /// Key in the store, or hash of the image.
    pub identity: Option<String>,
    /// The accelerator of its boots; none if there was no boot.
    #[serde(serialize_with = "name")]
    pub accel: Option<Accel>,
    /// Boots that said hello.
    pub boots: u32,
}

#[expect(clippy::ref_option, reason = "serde hands a reference to the field")]
fn name<S: Serializer>(accel: &Option<Accel>, serializer: S) -> Result<S::Ok, S::Error> {
    accel.map(Accel::name).serialize(serializer)
}

/// How metrics were judged.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rules {
    /// Boots of a side at each look.
    pub looks: Vec<u32>,
    /// Threshold of p at each look, before it is divided among the gating metrics.
    pub thresholds: Vec<f64>,
    /// Smallest relative effect of noisy metrics that counts, before noise raises it.
    pub floor: f64,
    /// Smallest relative effect of exact metrics that counts.
    pub exact_floor: f64,
    /// Metrics that share the error probability.
    pub gating: u32,
}

/// What one metric of one test did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MetricChange {
    /// Full name of the test.
    pub test: String,
    /// The metric.
    pub metric: Metric,
    /// How it was judged.
    pub rule: Rule,
    /// Whether it can turn the comparison red.
    pub weight: Weight,
    /// The boots of base, in the order of their turns.
    pub base: Vec<BootValue>,
    /// The boots of head, in the order of their turns.
    pub head: Vec<BootValue>,
    /// The verdict.
    pub change: Change,
    /// Size of the difference; none where one side has no value or base is zero.
    pub estimate: Option<Estimate>,
    /// Two-sided p of Welch's test on the logarithms of the boots' medians; noisy metrics only.
    pub p: Option<f64>,
    /// Two-sided p of the permutation test on the same, as a check of the other.
    pub p_permutation: Option<f64>,
    /// `p` (or `p_permutation`, where that has a veto) after Holm's correction over
    /// the noisy metrics of the same weight.
    pub p_holm: Option<f64>,
    /// Smallest relative effect that counts for this metric, noise considered.
    pub floor: f64,
    /// Noise between boots of one kernel that `floor` considers, as a relative
    /// standard deviation; none where it is unknown.
    pub noise: Option<f64>,
    /// Smallest relative effect that this many boots could have shown.
    pub detectable: Option<f64>,
}

/// One boot's value of a metric. The boot is the unit: samples are never pooled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BootValue {
    /// Number of the boot in its run.
    pub boot: u32,
    /// Median of its samples, in the metric's unit.
    pub median: f64,
    /// Smallest sample.
    pub lowest: f64,
    /// Largest sample.
    pub highest: f64,
    /// How many.
    pub samples: u32,
}

/// How a metric is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// By statistics over boots.
    Noisy,
    /// By its values: each boot of a side gave the same, or the clock counts instructions.
    Exact,
}

/// What a metric's verdict does to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Weight {
    /// Its regression is a regression of the comparison.
    Gates,
    /// It is shown.
    Informs,
}

/// The verdict on a metric.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "kebab-case")]
pub enum Change {
    /// Better than base beyond the floor.
    Improved,
    /// Worse than base beyond the floor.
    Regressed,
    /// No difference of the floor or more.
    Unchanged,
    /// Not known.
    Inconclusive(Undecided),
}

/// Why a metric has no verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undecided {
    /// The noise is too large for the boots there were; about so many more a side would do.
    NeedsBoots(u32),
    /// A side has fewer than two boots with a value of a noisy metric.
    TooFewBoots {
        /// Boots of base with a value.
        base: u32,
        /// Boots of head with a value.
        head: u32,
    },
    /// A side has no value at all.
    NoValue {
        /// Which, and why as far as that is known.
        reason: String,
    },
}

/// Size of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Geometric mean of base, in the metric's unit (plain mean of counts and where
    /// a value is not positive; median of exact metrics).
    pub base: f64,
    /// The same of head.
    pub head: f64,
    /// `head / base - 1`; in proportion to the size of base where that is negative.
    pub change: f64,
    /// Lower end of the confidence interval of `change`; equal to it for exact metrics.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Coverage of the interval, for instance 0.95; 1 for exact metrics.
    pub confidence: f64,
}

/// What a test's verdicts did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TestChange {
    /// Full name.
    pub test: String,
    /// In boots of base.
    pub base: Tries,
    /// In boots of head.
    pub head: Tries,
    /// What that comes to.
    pub class: TestClass,
    /// First line of the first failure of head, or of base where head has none.
    pub message: Option<String>,
}

/// Verdicts of a test in the boots of one side, first attempts only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tries {
    /// Passed.
    pub passed: u32,
    /// Failed: the kernel's doing.
    pub failed: u32,
    /// Skipped.
    pub skipped: u32,
    /// The harness or its host failed.
    pub errors: u32,
}

/// What the verdicts of a test on both sides come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestClass {
    /// Passes on both sides, or is skipped on both.
    Same,
    /// Passes on base, fails on head.
    NewFailure,
    /// Fails on base, passes on head.
    Fixed,
    /// Fails on both, more often on head than chance explains.
    WorseFlaky,
    /// Fails on both, or so rarely that nothing can be said of head alone.
    KnownOnBase,
    /// Failed once or twice on head only: not often enough to tell from chance.
    Suspect,
    /// One side was never measured, or skipped what the other ran.
    NotComparable,
}

/// Where the time of a round of teardown went, base against head.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BreakdownChange {
    /// Full name of the test that found out.
    pub test: String,
    /// Time of a round of base, in nanoseconds, with the tracer.
    pub base_round_ns: f64,
    /// The same of head.
    pub head_round_ns: f64,
    /// Functions, the largest certain difference first.
    pub functions: Vec<FunctionChange>,
}

/// What one function under `cleanup_net` cost on each side.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FunctionChange {
    /// Its name, from the trace.
    pub function: String,
    /// On base; none where it was not called.
    pub base: Option<Share>,
    /// On head; none where it was not called.
    pub head: Option<Share>,
    /// Nanoseconds that every boot of head took more for each namespace than every boot
    /// of base; below zero where every boot took less, zero where boots overlap.
    pub certain_ns: f64,
}

/// What one function cost for each namespace that died.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Share {
    /// Calls.
    pub calls: f64,
    /// Time, in nanoseconds.
    pub ns: f64,
    /// Of that, waiting for grace periods and RCU callbacks.
    pub rcu_ns: f64,
    /// Of that, waiting for the RTNL.
    pub rtnl_ns: f64,
}

impl Serialize for Overall {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}
