//! What a comparison of two kernels sets out to do, and what it comes to.

use super::KernelName;

/// Behind the name of a kernel that is compared with itself: the sides have to
/// have names of their own.
pub const AGAIN: &str = " (again)";

/// A comparison as planned. With the results of its run it is all that is
/// needed to judge it again.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonPlan {
    /// What it is measured against.
    pub base: KernelName,
    /// What is judged.
    pub head: KernelName,
    /// Boots of a side at each look, ascending.
    pub looks: Vec<u32>,
    /// Smallest relative effect of noisy metrics that counts.
    pub floor: f64,
    /// Smallest relative effect of exact metrics that counts.
    pub exact_floor: f64,
    /// A test of the plan that finds out where the time of teardown went: run once on
    /// each side where a teardown changed, and not otherwise.
    pub profile: Option<String>,
    /// Words for what may differ between the sides beside the kernel.
    pub allowed: Vec<String>,
    /// Noise of this host as measured before.
    pub noise: Vec<NoiseOf>,
}

/// Noise between boots of one and the same kernel.
#[derive(Debug, Clone, PartialEq)]
pub struct NoiseOf {
    /// Full name of the test.
    pub test: String,
    /// Name of the metric.
    pub metric: String,
    /// Standard deviation of the boots' medians, as a share of them.
    pub relative_sd: f64,
    /// Boots that it was measured in.
    pub boots: u32,
}

/// What a comparison comes to, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Overall {
    /// A gating metric regressed, or a test fails that did not.
    Regressed,
    /// The harness failed so that a side was not measured.
    Failed,
    /// Something that gates is not known.
    Inconclusive,
    /// Nothing regressed and something improved.
    Improved,
    /// Nothing changed.
    Unchanged,
}

impl Overall {
    /// All of them, in their order.
    pub const ALL: [Self; 5] =
        [Self::Regressed, Self::Failed, Self::Inconclusive, Self::Improved, Self::Unchanged];

    /// One word, as in records and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Failed => "failed",
            Self::Inconclusive => "inconclusive",
            Self::Improved => "improved",
            Self::Unchanged => "unchanged",
        }
    }

    /// Exit code of a comparison that came to its end.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Regressed => 1,
            Self::Failed => 3,
            Self::Inconclusive => 4,
            Self::Improved | Self::Unchanged => 0,
        }
    }
}
