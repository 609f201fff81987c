//! The rule for metrics that vary from boot to boot.
//!
//! The boot is the unit: what is compared are the medians of boots, never their
//! samples. With [`Look`]s at 6, 12 and 24 boots a side a metric has
//!
//! - *regressed* (or, the other way, improved) where p, after Holm's correction
//!   over the metrics of its weight, is below the look's threshold and the
//!   difference reaches the floor;
//! - *not changed* where the 97.5 % bound of the difference towards worse stays
//!   inside the floor;
//! - else no verdict yet. After the last look that is the verdict.
//!
//! The thresholds add up to 0.01: that is the chance of a wrong verdict of a
//! change in the whole comparison, before the floor makes it smaller.
//!
//! What is seen to be no regression but looks like an improvement (its interval
//! is on the better side of zero and reaches the floor) stays without a verdict
//! as long as there are looks to come, and is unchanged after the last.
//!
//! # Scales
//!
//! Times and rates are compared by their logarithms: noise and effects are
//! factors there. Counts that vary, and metrics with a value that is zero or
//! less, are compared by plain differences, which count in proportion to the
//! mean of the side that is nearer to zero, so that both directions are judged
//! alike. On both scales a floor of 5 % is a factor of 1.05 up or down.
//!
//! # The floor
//!
//! At least what the caller asks for and twice the noise between boots of one
//! kernel. Where no noise was measured before, it is that of the calmer of the
//! two sides: a change that makes a metric restless must not hide behind the
//! noise that it brought. A count that varies changes by half at least, which
//! is half of the smallest step that it can make.
//!
//! # Two tests
//!
//! Welch's test decides; it assumes that boots are roughly normal. The
//! permutation test assumes nothing and can give no p below `2 / C(2n, n)`: 0.002
//! with six boots a side, whatever the data. Where it does not reject at the
//! look's threshold, or at four times its smallest p if that is larger, although
//! Welch's test does, its p is the one that counts.

use kregress_wire::Kind;

use super::comparison::{Change, Estimate, Rule, Rules, Undecided, Weight};
use super::stats::{
    Permutation, Sample, Welch, boots_for_equivalence, boots_for_significance, detectable, permutation, welch,
};
use super::subject::{Boot, Judgement, Subject, worse};

/// Coverage of the intervals that are shown and that "not changed" stands on.
pub const CONFIDENCE: f64 = 0.95;

/// Times the noise that an effect has to have.
const NOISE_FACTOR: f64 = 2.0;

/// A count that varies has changed by this much at least.
const COUNT_STEP: f64 = 0.5;

/// The permutation test has a veto down to so many times its smallest p.
const VETO: f64 = 4.0;

/// A moment at which a verdict may fall.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Boots of a side.
    pub boots: u32,
    /// Two-sided p below which there is a difference.
    pub threshold: f64,
}

/// The looks of `compare`.
pub const LOOKS: [Look; 3] = [
    Look { boots: 6, threshold: 0.001 },
    Look { boots: 12, threshold: 0.003 },
    Look { boots: 24, threshold: 0.006 },
];

/// Smallest relative effect that counts by default.
pub const FLOOR: f64 = 0.05;

/// The same on a host that does nothing else.
pub const QUIET_FLOOR: f64 = 0.02;

/// The same of exact metrics.
pub const EXACT_FLOOR: f64 = 0.005;

/// How metrics are judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// Looks, the fewest boots first.
    pub looks: Vec<Look>,
    /// Smallest relative effect of noisy metrics that counts.
    pub floor: f64,
    /// Smallest relative effect of exact metrics that counts.
    pub exact_floor: f64,
}

impl Default for Gate {
    fn default() -> Self {
        Self { looks: LOOKS.to_vec(), floor: FLOOR, exact_floor: EXACT_FLOOR }
    }
}

impl Gate {
    /// Position of the last look that so many boots a side suffice for.
    #[must_use]
    pub fn look(&self, boots: u32) -> Option<usize> {
        self.looks.iter().rposition(|look| look.boots <= boots)
    }

    /// The first look that needs more boots than these.
    #[must_use]
    pub fn next_look(&self, boots: u32) -> Option<Look> {
        self.looks.iter().copied().find(|look| look.boots > boots)
    }

    /// As the comparison records it, with the number of metrics that share the
    /// error probability.
    #[must_use]
    pub fn rules(&self, gating: u32) -> Rules {
        Rules {
            looks: self.looks.iter().map(|look| look.boots).collect(),
            thresholds: self.looks.iter().map(|look| look.threshold).collect(),
            floor: self.floor,
            exact_floor: self.exact_floor,
            gating,
        }
    }
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Scale {
    /// By their logarithms.
    Logarithms,
    /// As they are, divided by this number so that no square of one overflows.
    Plain(f64),
}

/// What the boots of a noisy metric say, before they are judged together with others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reading {
    scale: Scale,
    base: Sample,
    head: Sample,
    welch: Welch,
    permutation: Option<Permutation>,
    /// On the scale.
    floor: f64,
    noise: f64,
    worse: f64,
    weight: Weight,
    boots: u32,
}

impl Reading {
    /// Reads a metric; what is missing where there is nothing to test.
    pub(super) fn of(subject: &Subject<'_>, gate: &Gate) -> Result<Self, Undecided> {
        if let Some(why) = missing(subject) {
            return Err(why);
        }
        let medians = |boots: &[Boot]| boots.iter().map(|boot| boot.value.median).collect::<Vec<_>>();
        let (mut a, mut b) = (medians(subject.base), medians(subject.head));
        let scale = Scale::of(subject.kind, &a, &b);
        for value in a.iter_mut().chain(&mut b) {
            *value = scale.apply(*value);
        }
        let (base, head) = (Sample::of(&a), Sample::of(&b));
        let few = Undecided::TooFewBoots { base: base.n, head: head.n };
        let welch = welch(&base, &head).ok_or(few)?;
        let unit = scale.unit(&base, &head);
        let noise = match subject.noise {
            Some(relative) => relative.max(0.0) * unit,
            None => base.sd().min(head.sd()),
        };
        Ok(Self {
            scale,
            base,
            head,
            welch,
            permutation: permutation(&a, &b),
            floor: scale.floor(subject.kind, gate.floor, noise, unit),
            noise,
            worse: worse(subject.better),
            weight: subject.weight,
            boots: subject.boots(),
        })
    }

    pub(super) fn weight(&self) -> Weight {
        self.weight
    }

    /// The p that counts: Welch's, or that of the other test where it has a veto.
    /// Before the first look there is no threshold to disagree about.
    pub(super) fn careful_p(&self, gate: &Gate) -> f64 {
        let Welch { p, .. } = self.welch;
        let (Some(check), Some(look)) = (self.permutation, gate.look(self.boots)) else { return p };
        let threshold = gate.looks[look].threshold;
        let veto = threshold.max(VETO * check.smallest);
        if p < threshold && check.p > veto { check.p } else { p }
    }

    /// The judgement, with p corrected for the `family` of metrics that this one
    /// belongs to; without a verdict where `look` is none.
    pub(super) fn judge(&self, p_holm: f64, family: usize, look: Option<usize>, gate: &Gate) -> Judgement {
        let family = family.max(1) as f64;
        // Below the first look: what its threshold could show with so many boots.
        let threshold = look.or(Some(0)).and_then(|look| gate.looks.get(look)).map_or(0.01, |l| l.threshold);
        let detectable = detectable(&self.welch, threshold / family, self.floor);
        Judgement {
            rule: Rule::Noisy,
            change: self.verdict(p_holm, look, gate).unwrap_or_else(|| {
                let last = gate.looks.last().map_or(threshold, |look| look.threshold);
                Change::Inconclusive(Undecided::NeedsBoots(self.needs(last / family, gate)))
            }),
            estimate: self.estimate(),
            p: Some(self.welch.p),
            p_permutation: self.permutation.map(|check| check.p),
            p_holm: Some(p_holm),
            floor: self.relative(self.floor).unwrap_or(gate.floor),
            noise: match self.scale {
                Scale::Logarithms => Some(self.noise),
                Scale::Plain(_) => self.relative(self.noise),
            },
            detectable: self.relative(detectable),
        }
    }

    fn verdict(&self, p_holm: f64, look: Option<usize>, gate: &Gate) -> Option<Change> {
        let look_index = look?;
        let look = gate.looks.get(look_index)?;
        let towards_worse = self.worse * self.welch.difference;
        if self.welch.error == 0.0 && towards_worse == 0.0 {
            return Some(Change::Unchanged);
        }
        if p_holm < look.threshold && towards_worse.abs() >= self.floor {
            return Some(if towards_worse > 0.0 { Change::Regressed } else { Change::Improved });
        }
        let half = self.welch.half_width(CONFIDENCE);
        let bound = towards_worse + half;
        let seems_better = towards_worse + half < 0.0 && towards_worse - half <= -self.floor;
        let last = look_index + 1 == gate.looks.len();
        (bound < self.floor && (last || !seems_better)).then_some(Change::Unchanged)
    }

    /// Boots a side that are missing, by what is known of difference and noise.
    fn needs(&self, alpha: f64, gate: &Gate) -> u32 {
        let first = gate.looks.first().map_or(0, |look| look.boots);
        let sd = (f64::midpoint(self.base.variance, self.head.variance)).sqrt();
        let towards_worse = self.worse * self.welch.difference;
        let total = if towards_worse.abs() >= self.floor {
            boots_for_significance(towards_worse, sd, alpha)
        } else {
            boots_for_equivalence(self.floor - towards_worse, sd, CONFIDENCE)
        };
        // Where the boots at hand should have been enough and were not, the
        // estimate of the noise is what failed: a quarter more then.
        total.max(first).saturating_sub(self.boots).max(self.boots.div_ceil(4))
    }

    fn estimate(&self) -> Option<Estimate> {
        let half = self.welch.half_width(CONFIDENCE);
        let at = |difference: f64| match self.scale {
            Scale::Logarithms => difference.exp_m1(),
            Scale::Plain(_) => difference / self.base.mean.abs(),
        };
        let estimate = Estimate {
            base: self.scale.undo(self.base.mean),
            head: self.scale.undo(self.head.mean),
            change: at(self.welch.difference),
            low: at(self.welch.difference - half),
            high: at(self.welch.difference + half),
            confidence: CONFIDENCE,
        };
        [estimate.change, estimate.low, estimate.high].iter().all(|end| end.is_finite()).then_some(estimate)
    }

    /// A distance on the scale as a relative change of base.
    fn relative(&self, distance: f64) -> Option<f64> {
        let relative = match self.scale {
            Scale::Logarithms => distance.exp_m1(),
            Scale::Plain(_) => distance / self.base.mean.abs(),
        };
        relative.is_finite().then_some(relative)
    }
}

impl Scale {
    fn of(kind: Kind, base: &[f64], head: &[f64]) -> Self {
        let values = || base.iter().chain(head);
        if kind != Kind::Count && values().all(|&value| value > 0.0) {
            return Self::Logarithms;
        }
        let largest = values().fold(0.0_f64, |largest, value| largest.max(value.abs()));
        Self::Plain(if largest > 0.0 { largest } else { 1.0 })
    }

    fn apply(self, value: f64) -> f64 {
        match self {
            Self::Logarithms => value.ln(),
            Self::Plain(by) => value / by,
        }
    }

    fn undo(self, value: f64) -> f64 {
        match self {
            Self::Logarithms => value.exp(),
            Self::Plain(by) => value * by,
        }
    }

    /// What a relative change of 100 % is on the scale, to first order.
    fn unit(self, base: &Sample, head: &Sample) -> f64 {
        match self {
            Self::Logarithms => 1.0,
            Self::Plain(_) => base.mean.abs().min(head.mean.abs()),
        }
    }

    /// The floor on the scale, from the relative one and from noise on the scale.
    fn floor(self, kind: Kind, relative: f64, noise: f64, unit: f64) -> f64 {
        match self {
            Self::Logarithms => relative.max(NOISE_FACTOR * noise).ln_1p(),
            Self::Plain(by) => {
                let step = if kind == Kind::Count { COUNT_STEP / by } else { 0.0 };
                (relative * unit).max(NOISE_FACTOR * noise).max(step)
            }
        }
    }
}

/// What keeps a noisy metric from being tested.
fn missing(subject: &Subject<'_>) -> Option<Undecided> {
    no_value(subject).or_else(|| {
        let count = |boots: &[Boot]| u32::try_from(boots.len()).unwrap_or(u32::MAX);
        let (base, head) = (count(subject.base), count(subject.head));
        (base < 2 || head < 2).then_some(Undecided::TooFewBoots { base, head })
    })
}

/// Which side has no value, in words.
pub(super) fn no_value(subject: &Subject<'_>) -> Option<Undecided> {
    let reason = match (subject.base.is_empty(), subject.head.is_empty()) {
        (false, false) => return None,
        (true, true) => "no boot of either kernel has a value",
        (true, false) => "no boot of base has a value",
        (false, true) => "no boot of head has a value",
    };
    Some(Undecided::NoValue { reason: reason.to_owned() })
}
