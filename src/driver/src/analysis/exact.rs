//! The rule for metrics that do not vary: by their values.
//!
//! It holds for every metric where the clock counts instructions, and for
//! counts of which each side always gave the same value. One boot a side
//! suffices in the first case; in the second somebody has to have looked more
//! than once, for a single count is always the same as itself: three boots a
//! side, or boots with at least three samples that agree.
//!
//! A metric has changed where its value did, by the floor or more in proportion
//! to the value that is nearer to zero (so both directions are judged alike; from
//! zero to anything is always a change), and a count by one or more.
//!
//! # The floor under instruction counts
//!
//! The value of a boot is the median of its samples, and these are draws: the
//! workload starts each at another phase of the timer tick. They are the same
//! draws in every run, but a kernel with one instruction more sees others. So
//! the floor is at least three standard errors of the difference of the medians
//! as they scatter within the boots: robust ones, which the same samples always
//! give (`stats::median_error`). Where boots of one side differ (other seeds),
//! half of their range counts as an error too. A single sample in a single boot
//! shows no scatter: its floor is that of the rules alone.

use kregress_wire::Kind;

use super::comparison::{Change, Estimate, Rule};
use super::gate::{Gate, no_value};
use super::stats::median;
use super::subject::{Boot, Judgement, Subject, worse};
use crate::model::Accel;

/// Standard errors that a change has to have.
const ERRORS: f64 = 3.0;

/// A count changes by one at least.
const COUNT_STEP: f64 = 1.0;

/// Boots a side, or samples in each boot, that have to agree before a count is
/// taken for one that does not vary.
const REPEATS: u32 = 3;

/// Whether a metric is judged by its values.
#[must_use]
pub fn is_exact(subject: &Subject<'_>) -> bool {
    subject.accel == Accel::Icount
        || (subject.kind == Kind::Count && never_varied(subject.base) && never_varied(subject.head))
}

fn never_varied(boots: &[Boot]) -> bool {
    let Some(first) = boots.first() else { return false };
    let between = boots.iter().all(|boot| boot.value.median == first.value.median);
    let within =
        boots.iter().all(|boot| boot.value.samples >= REPEATS && boot.value.lowest == boot.value.highest);
    between && (boots.len() >= REPEATS as usize || within)
}

/// Judges a metric by its values.
#[must_use]
pub fn judge_exact(subject: &Subject<'_>, gate: &Gate) -> Judgement {
    let (Some(base), Some(head)) = (Value::of(subject.base), Value::of(subject.head)) else {
        let why = no_value(subject)
            .unwrap_or(super::comparison::Undecided::NoValue { reason: "no value".to_owned() });
        return Judgement::unknown(Rule::Exact, why, gate.exact_floor, None);
    };
    let difference = head.value - base.value;
    let near = base.value.abs().min(head.value.abs());
    let scatter = ERRORS * base.error.hypot(head.error);
    let step = if subject.kind == Kind::Count { COUNT_STEP } else { 0.0 };
    let floor = (gate.exact_floor * near).max(scatter).max(step);
    let change = if difference == 0.0 || difference.abs() < floor {
        Change::Unchanged
    } else if difference * worse(subject.better) > 0.0 {
        Change::Regressed
    } else {
        Change::Improved
    };
    let relative = |distance: f64| Some(distance / base.value.abs()).filter(|share| share.is_finite());
    let floor = relative(floor).unwrap_or(gate.exact_floor);
    Judgement {
        rule: Rule::Exact,
        change,
        estimate: relative(difference).map(|change| Estimate {
            base: base.value,
            head: head.value,
            change,
            low: change,
            high: change,
            confidence: 1.0,
        }),
        p: None,
        p_permutation: None,
        p_holm: None,
        floor,
        noise: None,
        detectable: relative(1.0).map(|_| floor),
    }
}

/// The value of a side.
struct Value {
    value: f64,
    error: f64,
}

impl Value {
    fn of(boots: &[Boot]) -> Option<Self> {
        let medians: Vec<f64> = boots.iter().map(|boot| boot.value.median).collect();
        let value = median(&medians)?;
        let lowest = medians.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = medians.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let within = boots.iter().map(|boot| boot.error).fold(0.0, f64::max);
        Some(Self { value, error: within.max(highest / 2.0 - lowest / 2.0) })
    }
}
