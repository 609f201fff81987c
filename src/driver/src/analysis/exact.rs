//! The rule for metrics that do not vary: by their values.
//!
//! It holds for every metric where the clock counts instructions, and for
//! counts of which each side always gave the same value. One boot a side
//! suffices in the first case; in the second somebody has to have looked more
//! than once, for a single count is always the same as itself: four boots a
//! side, or boots with at least four samples that all agree. A count that is a
//! toss of a coin shows one face four times to base and the other four times to
//! head in one of 128 cases.
//!
//! A metric has changed where its value did, by the floor or more in proportion
//! to the value that is nearer to zero (so both directions are judged alike; from
//! zero to anything is always a change), and a count by nearly one or more.
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

use super::comparison::{Change, Estimate, Rule, Undecided};
use super::gate::{Gate, no_value};
use super::stats::median;
use super::subject::{Boot, Judgement, Subject, worse};
use crate::model::Accel;

/// Standard errors that a change has to have.
const ERRORS: f64 = 3.0;

/// A count changes by so much at least. Medians of whole numbers may differ by a half
/// where nothing changed. But calls for each namespace, told as a slope, come out as 0.99
/// where each has one: what more rounds wait for is taken off (`netns/slope` of the guest).
const COUNT_STEP: f64 = 0.75;

/// Boots a side, or samples in each boot, that have to agree before a count is
/// taken for one that does not vary.
const REPEATS: u32 = 4;

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
        let why = no_value(subject).unwrap_or(Undecided::NoValue { reason: String::new() });
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

#[cfg(test)]
mod tests {
    use super::super::tests::{boots, time};
    use super::*;
    use kregress_wire::Better;

    fn counts<'a>(base: &'a [Boot], head: &'a [Boot]) -> Subject<'a> {
        Subject { kind: Kind::Count, ..time(base, head) }
    }

    fn icount<'a>(base: &'a [Boot], head: &'a [Boot]) -> Subject<'a> {
        Subject { accel: Accel::Icount, ..time(base, head) }
    }

    fn one_boot(samples: &[f64]) -> Vec<Boot> {
        Boot::of(1, samples).into_iter().collect()
    }

    fn verdict(subject: &Subject<'_>) -> Change {
        judge_exact(subject, &Gate::default()).change
    }

    #[test]
    fn a_count_is_exact_where_each_side_always_gave_the_same() {
        let (zeros, many) = (boots(&[0.0; 4]), boots(&[52.0; 5]));
        assert!(is_exact(&counts(&zeros, &many)));
        let restless = boots(&[52.0, 52.0, 52.0, 53.0]);
        assert!(!is_exact(&counts(&zeros, &restless)));
        assert!(!is_exact(&counts(&restless, &zeros)));
    }

    #[test]
    fn a_count_that_was_seen_once_is_not_known_to_be_constant() {
        let (once, thrice) = (boots(&[3.0]), boots(&[4.0; 3]));
        assert!(!is_exact(&counts(&once, &once)));
        assert!(!is_exact(&counts(&thrice, &thrice)));
        assert!(!is_exact(&counts(&[], &thrice)));
    }

    #[test]
    fn samples_of_one_boot_that_agree_are_enough_for_a_count() {
        let (base, head) = (one_boot(&[0.0; 5]), one_boot(&[52.0; 5]));
        assert!(is_exact(&counts(&base, &head)));
        assert_eq!(verdict(&counts(&base, &head)), Change::Regressed);
        assert!(!is_exact(&counts(&base, &one_boot(&[52.0, 52.0, 52.0, 53.0]))));
    }

    #[test]
    fn a_time_of_the_hosts_clock_is_never_exact() {
        let same = boots(&[5.0; 6]);
        assert!(!is_exact(&time(&same, &same)));
        assert!(is_exact(&icount(&same, &same)));
    }

    #[test]
    fn from_none_to_one_is_a_regression_of_no_proportion() {
        let (none, one) = (boots(&[0.0; 3]), boots(&[1.0; 3]));
        let worse = judge_exact(&counts(&none, &one), &Gate::default());
        assert_eq!((worse.change, worse.estimate, worse.detectable), (Change::Regressed, None, None));
        let better = judge_exact(&counts(&one, &none), &Gate::default());
        assert_eq!(better.change, Change::Improved);
        assert_eq!(better.estimate.map(|estimate| estimate.change), Some(-1.0));
        assert_eq!(verdict(&counts(&none, &none)), Change::Unchanged);
    }

    #[test]
    fn a_call_for_nearly_each_namespace_is_a_regression() {
        let (none, slope) = (one_boot(&[0.0; 5]), one_boot(&[0.995; 5]));
        assert_eq!(verdict(&counts(&none, &slope)), Change::Regressed);
        assert_eq!(verdict(&counts(&none, &one_boot(&[0.5; 5]))), Change::Unchanged);
    }

    #[test]
    fn a_large_count_changes_by_half_a_percent_at_least() {
        let base = boots(&[10_000.0; 3]);
        assert_eq!(verdict(&counts(&base, &boots(&[10_049.0; 3]))), Change::Unchanged);
        assert_eq!(verdict(&counts(&base, &boots(&[10_050.0; 3]))), Change::Regressed);
    }

    #[test]
    fn half_a_call_more_is_no_change_of_a_count() {
        assert_eq!(verdict(&counts(&one_boot(&[1.0, 1.0]), &one_boot(&[1.0, 2.0]))), Change::Unchanged);
    }

    #[test]
    fn one_boot_of_instruction_counts_shows_one_percent() {
        let samples: Vec<f64> = (0..21).map(|i| 52.65e6 + 3e3 * f64::from(i % 7 - 3)).collect();
        let more: Vec<f64> = samples.iter().map(|sample| sample * 1.01).collect();
        let (base, head) = (one_boot(&samples), one_boot(&more));
        let judged = judge_exact(&icount(&base, &head), &Gate::default());
        assert_eq!((judged.rule, judged.change), (Rule::Exact, Change::Regressed));
        let estimate = judged.estimate.expect("base is not zero");
        assert!((estimate.change - 0.01).abs() < 1e-12);
        assert_eq!(
            (estimate.low, estimate.high, estimate.confidence),
            (estimate.change, estimate.change, 1.0)
        );
        assert_eq!((judged.floor, judged.detectable), (0.005, Some(0.005)));
    }

    #[test]
    fn scatter_over_the_phases_of_the_tick_raises_the_floor() {
        let samples: Vec<f64> = (0..9).map(|i| 2.8e6 + 1.3e5 * f64::from(i)).collect();
        let more: Vec<f64> = samples.iter().map(|sample| sample * 1.02).collect();
        let (base, head) = (one_boot(&samples), one_boot(&more));
        let judged = judge_exact(&icount(&base, &head), &Gate::default());
        assert_eq!(judged.change, Change::Unchanged);
        assert!(judged.floor > 0.1, "{}", judged.floor);
    }

    #[test]
    fn boots_with_other_seeds_raise_the_floor_by_what_they_differ() {
        let (base, head) = (boots(&[100.0, 104.0]), boots(&[105.0, 105.0]));
        let judged = judge_exact(&icount(&base, &head), &Gate::default());
        assert_eq!(judged.change, Change::Unchanged);
        assert!((judged.floor - 6.0 / 102.0).abs() < 1e-12);
    }

    #[test]
    fn fewer_instructions_are_an_improvement_and_a_lower_rate_is_none() {
        let (base, head) = (boots(&[100.0]), boots(&[98.0]));
        assert_eq!(verdict(&icount(&base, &head)), Change::Improved);
        let rate = Subject { better: Better::Higher, kind: Kind::Rate, ..icount(&base, &head) };
        assert_eq!(verdict(&rate), Change::Regressed);
    }

    #[test]
    fn a_side_without_a_boot_has_no_verdict() {
        let one = boots(&[1.0]);
        let judged = judge_exact(&icount(&one, &[]), &Gate::default());
        assert!(matches!(judged.change, Change::Inconclusive(Undecided::NoValue { .. })));
    }
}
