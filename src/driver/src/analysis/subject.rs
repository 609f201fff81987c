//! What is judged and what comes of it: the boots of one metric on both sides,
//! and the verdict with the numbers that it stands on.

use kregress_wire::{Better, Kind};

use super::comparison::{BootValue, Change, Estimate, MetricChange, Rule, Undecided, Weight};
use super::stats::{median, median_error};
use crate::model::Accel;
use crate::results::format::Metric;

/// One boot's value of a metric, and how far it can be trusted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Boot {
    /// The value.
    pub value: BootValue,
    /// Robust standard error of its median, in the metric's unit: how much the
    /// samples of this boot leave open.
    pub error: f64,
}

impl Boot {
    /// What the samples of the boot come to; none where there are none. Samples
    /// that are no finite numbers do not count.
    #[must_use]
    pub fn of(boot: u32, samples: &[f64]) -> Option<Self> {
        let finite: Vec<f64> = samples.iter().copied().filter(|sample| sample.is_finite()).collect();
        let value = BootValue {
            boot,
            median: median(&finite)?,
            lowest: finite.iter().copied().fold(f64::INFINITY, f64::min),
            highest: finite.iter().copied().fold(f64::NEG_INFINITY, f64::max),
            samples: u32::try_from(finite.len()).unwrap_or(u32::MAX),
        };
        Some(Self { value, error: median_error(&finite) })
    }
}

/// A metric of one test with the boots of both sides.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// Nature of the samples.
    pub kind: Kind,
    /// Which direction is an improvement.
    pub better: Better,
    /// Whether it gates.
    pub weight: Weight,
    /// What the boots ran on; the same on both sides.
    pub accel: Accel,
    /// Noise between boots of one kernel, as a relative standard deviation, where
    /// it was measured for this host before.
    pub noise: Option<f64>,
    /// Boots of base that have a value.
    pub base: &'a [Boot],
    /// The same of head.
    pub head: &'a [Boot],
}

impl Subject<'_> {
    /// Boots of the side that has fewer.
    #[must_use]
    pub fn boots(&self) -> u32 {
        u32::try_from(self.base.len().min(self.head.len())).unwrap_or(u32::MAX)
    }
}

/// The verdict on a metric, with the numbers that it stands on; as in [`MetricChange`].
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// How it was judged.
    pub rule: Rule,
    /// The verdict.
    pub change: Change,
    /// Size of the difference.
    pub estimate: Option<Estimate>,
    /// Two-sided p of Welch's test.
    pub p: Option<f64>,
    /// Two-sided p of the permutation test.
    pub p_permutation: Option<f64>,
    /// The more careful of both after Holm's correction over the noisy metrics of
    /// the same weight.
    pub p_holm: Option<f64>,
    /// Smallest relative effect that counts, noise considered.
    pub floor: f64,
    /// Noise between boots that the floor considers, as a relative standard deviation.
    pub noise: Option<f64>,
    /// Smallest relative effect that these boots could have shown.
    pub detectable: Option<f64>,
}

impl Judgement {
    /// Nothing can be said, for this reason.
    pub(super) fn unknown(rule: Rule, why: Undecided, floor: f64, noise: Option<f64>) -> Self {
        Self {
            rule,
            change: Change::Inconclusive(why),
            estimate: None,
            p: None,
            p_permutation: None,
            p_holm: None,
            floor,
            noise,
            detectable: None,
        }
    }

    /// Whether more boots could give it a verdict.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.change, Change::Inconclusive(Undecided::NeedsBoots(_) | Undecided::TooFewBoots { .. }))
    }

    /// As a row of the comparison.
    #[must_use]
    pub fn into_change(self, test: String, metric: Metric, subject: &Subject<'_>) -> MetricChange {
        let values = |boots: &[Boot]| boots.iter().map(|boot| boot.value).collect();
        MetricChange {
            test,
            metric,
            rule: self.rule,
            weight: subject.weight,
            base: values(subject.base),
            head: values(subject.head),
            change: self.change,
            estimate: self.estimate,
            p: self.p,
            p_permutation: self.p_permutation,
            p_holm: self.p_holm,
            floor: self.floor,
            noise: self.noise,
            detectable: self.detectable,
        }
    }
}

/// Sign of a difference that is a change for the worse.
pub(super) fn worse(better: Better) -> f64 {
    match better {
        Better::Lower => 1.0,
        Better::Higher => -1.0,
    }
}
