//! Two kernels against each other: the endpoints, the sides of an answer, the bad
//! endpoint with and without it. Says what is known and how many boots more it takes.
//!
//! Metrics are judged by the gate of `compare`, with its looks at 6, 12 and 24 boots;
//! exact ones by their values; tests and findings by the rates at which they show.
//! Endpoints get more boots than their verdict needs, for the levels that the search
//! stands on are theirs (`ci-bisect`: fixed small numbers of boots there made answers
//! that were right in 80 of 100 cases where 95 were claimed).

use super::bisected::Effect;
use super::rates;
use super::record::{BootLine, Outcome, Plan, Question};
use crate::analysis::bisect::difference;
use crate::analysis::stats::{Sample, median, welch};
use crate::analysis::{
    Boot, BootValue, CONFIDENCE, Change, EXACT_FLOOR, Family, Gate, Judgement, LOOKS, Look, Subject,
    Undecided, Weight, is_exact, judge_exact,
};
use crate::model::Accel;
use crate::results::format::Metric;

/// Turns before the first look: one tells the accelerator and how long a boot takes,
/// two whether a count varies.
const SCOUTS: [u32; 2] = [1, 2];

/// Turns after which a count that never varied is exact; as in `analysis::exact`.
const COUNT_TURNS: u32 = 4;

/// Most turns of an endpoint.
const ENDPOINT_TURNS: u32 = 40;

/// The last look at two sides. Its threshold is that of the one before it: a false alarm
/// here is found out by the fresh boots of the answer.
const LAST_LOOK: Look = Look { boots: ENDPOINT_TURNS, threshold: 0.006 };

/// Endpoints are known well enough where the standard error of their difference is so
/// small a part of it.
const PRECISION: f64 = 6.0;

/// Boots without a value after which a kernel is taken to have none.
const SILENT: usize = 2;

/// Turns at which rates are looked at.
const RATE_LOOKS: [u32; 5] = [3, 6, 12, 24, 40];

/// Rates differ where it is so probable that they do by [`RATE_STEP`].
const RATE_SURE: f64 = 0.99;

/// They do not where it is as improbable as this.
const RATE_UNLIKELY: f64 = 0.05;

/// Smallest difference of rates that counts.
const RATE_STEP: f64 = 0.1;

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub(super) enum What<'a> {
    /// A metric, with the smallest relative change that counts where it is noisy, and
    /// how it was judged before, if it was.
    Metric(&'a Metric, f64, Option<Judge>),
    /// Whether something shows.
    Showing,
}

impl<'a> What<'a> {
    /// What a plan asks for.
    pub(super) fn of(plan: &'a Plan, known: Option<Judge>) -> Self {
        match &plan.question {
            Question::Metric { metric, .. } => Self::Metric(metric, plan.floor, known),
            Question::Test { .. } | Question::Finding { .. } => Self::Showing,
        }
    }
}

/// How far it is pursued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Aim {
    /// Until there is a verdict.
    Verdict,
    /// Until the levels of both sides are known well.
    Levels,
}

/// Which side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Old,
    New,
}

/// How values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// By their logarithms.
    Logarithms,
    /// As they are.
    Plain,
}

impl Scale {
    /// A value on the scale.
    pub(super) fn apply(self, value: f64) -> f64 {
        match self {
            Self::Logarithms => value.ln(),
            Self::Plain => value,
        }
    }
}

/// By what a commit between is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Judge {
    /// By probability, on this scale.
    Noisy(Scale),
    /// By which of these two values is nearer.
    Exact {
        /// Without the change.
        old: f64,
        /// With it.
        new: f64,
    },
    /// By how often it shows.
    Rates,
}

/// What two sides come to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    /// Not known before this many turns.
    More { until: u32, why: String },
    /// They differ.
    Changed { effect: Effect, judge: Judge },
    /// They do not.
    Unchanged { effect: Option<Effect> },
    /// Nobody knows, and these were all boots that there are.
    Unsure { effect: Option<Effect>, needs: Option<u32> },
    /// A side gives nothing to compare.
    Silent { side: Side, reason: String },
}

/// Judges the boots that two sides had in so many turns each.
pub(super) fn judge(what: What<'_>, aim: Aim, old: &[&BootLine], new: &[&BootLine]) -> Verdict {
    let turns = count(old.len().min(new.len()));
    if turns == 0 {
        return Verdict::More { until: SCOUTS[0], why: "a boot of each side to begin with".to_owned() };
    }
    for (side, boots) in [(Side::Old, old), (Side::New, new)] {
        if let Some(reason) = silent(boots) {
            return Verdict::Silent { side, reason };
        }
    }
    match what {
        What::Metric(metric, floor, known) => numbers(metric, (floor, known), aim, old, new, turns),
        What::Showing => rates(old, new, turns),
    }
}

/// Turns that a verdict takes at least where the clock is the host's. What was not judged
/// yet is taken to be noisy, and counts not to vary.
pub(super) fn least(what: What<'_>) -> u32 {
    match what {
        What::Metric(_, _, Some(Judge::Exact { .. })) => SCOUTS[1],
        What::Metric(metric, _, None) if metric.kind == kregress_wire::Kind::Count => SCOUTS[1],
        What::Metric(..) => LOOKS[0].boots,
        What::Showing => RATE_LOOKS[0],
    }
}

/// Why boots say nothing, if there were enough of them and none does.
pub(super) fn silent(boots: &[&BootLine]) -> Option<String> {
    let mut reason = None;
    for boot in boots {
        match &boot.outcome {
            Outcome::Nothing { reason: why } => reason = Some(why.clone()),
            Outcome::Value { .. } | Outcome::Clean | Outcome::Shows { .. } => return None,
        }
    }
    reason.filter(|_| boots.len() >= SILENT)
}

/// The values of boots that have one.
pub(super) fn values(boots: &[&BootLine]) -> Vec<Boot> {
    let value = |line: &&BootLine| match line.outcome {
        Outcome::Value { median, lowest, highest, samples, error } => {
            let boot = line.boot.unwrap_or(0);
            Some(Boot { value: BootValue { boot, median, lowest, highest, samples }, error })
        }
        Outcome::Clean | Outcome::Shows { .. } | Outcome::Nothing { .. } => None,
    };
    boots.iter().filter_map(value).collect()
}

/// 1 for each boot that shows what is searched for, 0 for each that does not.
pub(super) fn shows(boots: &[&BootLine]) -> Vec<f64> {
    let shown = |line: &&BootLine| match line.outcome {
        Outcome::Shows { .. } => Some(1.0),
        Outcome::Clean => Some(0.0),
        Outcome::Value { .. } | Outcome::Nothing { .. } => None,
    };
    boots.iter().filter_map(shown).collect()
}

fn numbers(
    metric: &Metric,
    (floor, known): (f64, Option<Judge>),
    aim: Aim,
    old: &[&BootLine],
    new: &[&BootLine],
    turns: u32,
) -> Verdict {
    let accel = accel(old);
    let (base, head) = (values(old), values(new));
    let subject = subject(metric, accel, &base, &head);
    let gate = Gate { floor, exact_floor: EXACT_FLOOR, looks: all_looks().collect() };
    let settled = accel == Accel::Icount || turns >= SCOUTS[1];
    // What was exact at the endpoints needs no proof again that it does not vary.
    let was_exact = matches!(known, Some(Judge::Exact { .. })) && agree(&base) && agree(&head);
    if settled && !base.is_empty() && !head.is_empty() && (was_exact || is_exact(&subject)) {
        return exact(&judge_exact(&subject, &gate), &subject);
    }
    let scale = scale(metric, &base, &head);
    // A count is taken for exact after so many boots at the latest.
    let count = (metric.kind == kregress_wire::Kind::Count).then_some(COUNT_TURNS);
    let steps = SCOUTS.into_iter().chain(count).chain(all_looks().map(|look| look.boots));
    let next = steps.clone().find(|step| *step > turns);
    let judgement = looks(&gate, metric, accel, &base, &head);
    let effect = effect(scale, &base, &head);
    match judgement.map(|it| it.change) {
        Some(Change::Regressed | Change::Improved) => {
            if aim == Aim::Levels && turns < ENDPOINT_TURNS && !precise(scale, &base, &head) {
                let why = "the levels of the endpoints are not known well enough yet".to_owned();
                return Verdict::More { until: turns + 1, why };
            }
            match effect {
                Some(effect) => Verdict::Changed { effect, judge: Judge::Noisy(scale) },
                None => Verdict::Unsure { effect: None, needs: None },
            }
        }
        Some(Change::Unchanged) => Verdict::Unchanged { effect },
        Some(Change::Inconclusive(why)) if next.is_none() => {
            let needs = match why {
                Undecided::NeedsBoots(boots) => Some(boots),
                Undecided::TooFewBoots { .. } | Undecided::NoValue { .. } => None,
            };
            Verdict::Unsure { effect, needs }
        }
        Some(Change::Inconclusive(_)) | None => match next {
            Some(until) => Verdict::More { until, why: format!("a look at {until} boots a side") },
            None => Verdict::Unsure { effect, needs: None },
        },
    }
}

/// Whether all boots have the same value.
fn agree(boots: &[Boot]) -> bool {
    boots.windows(2).all(|pair| pair[0].value.median == pair[1].value.median)
}

/// Those of `compare`, and one more: who bisects has many boots before him anyway.
fn all_looks() -> impl Iterator<Item = Look> + Clone {
    LOOKS.into_iter().chain([LAST_LOOK])
}

/// The judgement after every look that there are boots for; none before the first.
fn looks(gate: &Gate, metric: &Metric, accel: Accel, base: &[Boot], head: &[Boot]) -> Option<Judgement> {
    let mut family = Family::new(gate.clone());
    let mut judgement = None;
    for look in all_looks() {
        let boots = look.boots as usize;
        if let (Some(base), Some(head)) = (base.get(..boots), head.get(..boots)) {
            judgement = family.look(&[subject(metric, accel, base, head)]).pop();
        }
    }
    judgement
}

fn subject<'a>(metric: &Metric, accel: Accel, base: &'a [Boot], head: &'a [Boot]) -> Subject<'a> {
    Subject {
        kind: metric.kind,
        better: metric.better,
        weight: Weight::Gates,
        accel,
        // The floor is what the user asks for: that there is a difference is the claim
        // which is to be explained, and not searched for among many.
        noise: Some(0.0),
        base,
        head,
    }
}

fn exact(judgement: &Judgement, subject: &Subject<'_>) -> Verdict {
    let level = |boots: &[Boot]| {
        let medians: Vec<f64> = boots.iter().map(|boot| boot.value.median).collect();
        median(&medians)
    };
    let (Some(old), Some(new)) = (level(subject.base), level(subject.head)) else {
        return Verdict::Unsure { effect: None, needs: None };
    };
    let change = judgement.estimate.map(|it| it.change);
    let boots = subject.boots();
    let effect = Effect::Level { old, new, change, low: change, high: change, confidence: 1.0, boots };
    match judgement.change {
        Change::Regressed | Change::Improved => Verdict::Changed { effect, judge: Judge::Exact { old, new } },
        Change::Unchanged => Verdict::Unchanged { effect: Some(effect) },
        Change::Inconclusive(_) => Verdict::Unsure { effect: Some(effect), needs: None },
    }
}

/// The scale of a metric's values.
fn scale(metric: &Metric, base: &[Boot], head: &[Boot]) -> Scale {
    let positive = base.iter().chain(head).all(|boot| boot.value.median > 0.0);
    if metric.kind != kregress_wire::Kind::Count && positive { Scale::Logarithms } else { Scale::Plain }
}

/// Whether the difference is known to a sixth of itself.
fn precise(scale: Scale, base: &[Boot], head: &[Boot]) -> bool {
    let values =
        |boots: &[Boot]| -> Vec<f64> { boots.iter().map(|boot| scale.apply(boot.value.median)).collect() };
    let found = difference(&values(base), &values(head));
    found.error * PRECISION <= found.difference.abs()
}

/// The difference by all boots, with the interval of Welch's test.
fn effect(scale: Scale, base: &[Boot], head: &[Boot]) -> Option<Effect> {
    let (old, new) = (sample(scale, base), sample(scale, head));
    let welch = welch(&old, &new)?;
    let half = welch.half_width(CONFIDENCE);
    let relative = |difference: f64| {
        let relative = match scale {
            Scale::Logarithms => difference.exp_m1(),
            Scale::Plain => difference / old.mean.abs(),
        };
        Some(relative).filter(|it| it.is_finite())
    };
    let level = |mean: f64| match scale {
        Scale::Logarithms => mean.exp(),
        Scale::Plain => mean,
    };
    Some(Effect::Level {
        old: level(old.mean),
        new: level(new.mean),
        change: relative(welch.difference),
        low: relative(welch.difference - half),
        high: relative(welch.difference + half),
        confidence: CONFIDENCE,
        boots: count(base.len().min(head.len())),
    })
}

fn sample(scale: Scale, boots: &[Boot]) -> Sample {
    let values: Vec<f64> = boots.iter().map(|boot| scale.apply(boot.value.median)).collect();
    Sample::of(&values)
}

fn rates(old: &[&BootLine], new: &[&BootLine], turns: u32) -> Verdict {
    let (base, head) = (shows(old), shows(new));
    let failed = |boots: &[f64]| count(boots.iter().filter(|boot| **boot > 0.5).count());
    let effect = Effect::Rate {
        old_failed: failed(&base),
        old: count(base.len()),
        new_failed: failed(&head),
        new: count(head.len()),
    };
    let next = RATE_LOOKS.iter().copied().find(|look| *look > turns);
    let more = |until: u32| Verdict::More { until, why: format!("a look at {until} boots a side") };
    let look = RATE_LOOKS.contains(&turns) || next.is_none();
    if let (false, Some(until)) = (look, next) {
        return more(until);
    }
    let sure = rates::differ(&base, &head, RATE_STEP);
    match next {
        _ if sure >= RATE_SURE => Verdict::Changed { effect, judge: Judge::Rates },
        Some(until) => more(until),
        None if sure <= RATE_UNLIKELY => Verdict::Unchanged { effect: Some(effect) },
        None => Verdict::Unsure { effect: Some(effect), needs: rate_boots(&base, &head) },
    }
}

/// Boots of a side that would tell the rates apart which these have, to 99 % in four of
/// five cases (normal approximation); none where they are too near each other.
fn rate_boots(old: &[f64], new: &[f64]) -> Option<u32> {
    // Quantiles of 99 and 80 %.
    const QUANTILES: f64 = 2.33 + 0.84;
    let rate = |boots: &[f64]| (boots.iter().sum::<f64>() + 0.5) / (boots.len() as f64 + 1.0);
    let (old, new) = (rate(old), rate(new));
    let variance = old * (1.0 - old) + new * (1.0 - new);
    let beyond = new - old - RATE_STEP;
    let boots = QUANTILES.powi(2) * variance / beyond.powi(2);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and bounded")]
    let boots = (beyond > 0.0 && boots < 1e4).then(|| boots.ceil() as u32);
    boots
}

fn accel(boots: &[&BootLine]) -> Accel {
    let name = boots.first().map_or("", |boot| boot.accel.as_str());
    Accel::ALL.into_iter().find(|accel| accel.name() == name).unwrap_or(Accel::Tcg)
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
