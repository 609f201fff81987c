//! Verdicts on chosen numbers, and what holds of all numbers.

use kregress_wire::{Better, Kind};
use proptest::prelude::*;

use super::comparison::{Change, Rule, Undecided, Weight};
use super::{Boot, EXACT_FLOOR, FLOOR, Family, Gate, Judgement, Subject, judge};
use crate::model::Accel;

/// One boot for each value, with that value as its only sample.
pub(super) fn boots(values: &[f64]) -> Vec<Boot> {
    (1..).zip(values).filter_map(|(boot, value)| Boot::of(boot, &[*value])).collect()
}

/// A time under TCG.
pub(super) fn time<'a>(base: &'a [Boot], head: &'a [Boot]) -> Subject<'a> {
    Subject {
        kind: Kind::Time,
        better: Better::Lower,
        weight: Weight::Gates,
        accel: Accel::Tcg,
        noise: None,
        base,
        head,
    }
}

fn judge_times(base: &[f64], head: &[f64]) -> Judgement {
    judge(&[time(&boots(base), &boots(head))], Gate::default()).remove(0)
}

fn judge_kind(kind: Kind, base: &[f64], head: &[f64]) -> Judgement {
    judge(&[Subject { kind, ..time(&boots(base), &boots(head)) }], Gate::default()).remove(0)
}

fn times(values: &[f64], factor: f64) -> Vec<f64> {
    values.iter().map(|value| value * factor).collect()
}

const CALM: [f64; 6] = [100.0, 101.0, 99.0, 100.5, 99.5, 100.2];

#[test]
fn a_clear_difference_is_a_regression_with_its_size() {
    let judged = judge_times(&CALM, &times(&CALM, 1.08));
    assert_eq!((judged.rule, &judged.change), (Rule::Noisy, &Change::Regressed));
    let estimate = judged.estimate.expect("an estimate");
    assert!((estimate.change - 0.08).abs() < 1e-9);
    assert!(estimate.low < 0.08 && 0.08 < estimate.high && estimate.high < 0.1);
    assert!((estimate.head / estimate.base - 1.08).abs() < 1e-9);
    assert_eq!((judged.floor, estimate.confidence), (FLOOR, 0.95));
    assert!(judged.p < Some(1e-6) && judged.p_holm == judged.p);
    assert!((judged.p_permutation.expect("a p") - 2.0 / 924.0).abs() < 1e-12);
}

#[test]
fn more_of_a_rate_is_an_improvement() {
    let (base, head) = (boots(&CALM), boots(&times(&CALM, 1.08)));
    let rate = Subject { kind: Kind::Rate, better: Better::Higher, ..time(&base, &head) };
    assert_eq!(judge(&[rate], Gate::default())[0].change, Change::Improved);
}

#[test]
fn a_certain_difference_below_the_floor_is_none() {
    let judged = judge_times(&CALM, &times(&CALM, 1.02));
    assert_eq!(judged.change, Change::Unchanged);
    assert!(judged.p < Some(0.001));
}

#[test]
fn the_floor_is_twice_the_noise_where_that_is_more() {
    let (base, head) = (boots(&CALM), boots(&times(&CALM, 1.08)));
    let subject = Subject { noise: Some(0.045), ..time(&base, &head) };
    let judged = judge(&[subject], Gate::default()).remove(0);
    assert!((judged.floor - 0.09).abs() < 1e-12);
    assert_eq!((judged.noise, judged.change), (Some(0.045), Change::Unchanged));
}

#[test]
fn noise_that_came_with_the_change_does_not_hide_it() {
    let base: Vec<f64> = (0..24).map(|i| 100.0 + f64::from(i % 3)).collect();
    let head: Vec<f64> = (0..24).map(|i| if i % 2 == 0 { 101.0 } else { 200.0 + f64::from(i % 5) }).collect();
    let judged = judge_times(&base, &head);
    assert_eq!((judged.floor, judged.change), (FLOOR, Change::Regressed));
}

#[test]
fn noise_that_drowns_everything_is_inconclusive_and_says_how_many_boots_it_takes() {
    let base: Vec<f64> = (0..24).map(|i| if i % 2 == 0 { 90.0 } else { 110.0 }).collect();
    let (base, head) = (boots(&base), boots(&times(&base, 1.04)));
    let judged = judge(&[Subject { noise: Some(0.01), ..time(&base, &head) }], Gate::default()).remove(0);
    let Change::Inconclusive(Undecided::NeedsBoots(more)) = judged.change else { panic!("{judged:?}") };
    assert!(more > 100 && more <= 1000, "{more}");
    assert!(judged.detectable > Some(0.1), "{judged:?}");
}

#[test]
fn fewer_boots_than_the_first_look_give_numbers_and_no_verdict() {
    let judged = judge_times(&CALM[..5], &times(&CALM[..5], 2.0));
    let Change::Inconclusive(Undecided::NeedsBoots(more)) = judged.change else { panic!("{judged:?}") };
    assert!((1..=2).contains(&more), "{more}");
    assert!(judged.estimate.is_some() && judged.p.is_some());
}

#[test]
fn the_side_with_fewer_boots_decides_which_look_it_is() {
    let long = [CALM, CALM].concat();
    assert!(judge_times(&long, &times(&CALM[..5], 2.0)).is_open());
    assert_eq!(judge_times(&long, &times(&CALM, 2.0)).change, Change::Regressed);
}

#[test]
fn one_boot_of_a_time_is_too_few() {
    let judged = judge_times(&CALM, &[200.0]);
    assert_eq!(judged.change, Change::Inconclusive(Undecided::TooFewBoots { base: 6, head: 1 }));
}

#[test]
fn a_side_without_values_is_named() {
    let judged = judge_times(&CALM, &[]);
    let reason = "no boot of head has a value".to_owned();
    assert_eq!(judged.change, Change::Inconclusive(Undecided::NoValue { reason }));
    assert!(!judged.is_open());
}

#[test]
fn samples_that_are_no_numbers_do_not_count() {
    assert_eq!(Boot::of(1, &[f64::NAN, f64::INFINITY]), None);
    let boot = Boot::of(7, &[f64::NAN, 3.0, 1.0, 2.0]).expect("three numbers");
    let value = boot.value;
    assert_eq!((value.boot, value.lowest, value.median, value.highest, value.samples), (7, 1.0, 2.0, 3.0, 3));
}

#[test]
fn the_permutation_test_has_a_veto() {
    // Welch's test believes that six boots without noise are a kernel without
    // noise. Six of the other kernel's boots could well look like them.
    let head: Vec<f64> = (0..24).map(|i| if i % 2 == 0 { 100.0 } else { 120.0 + f64::from(i) }).collect();
    let judged = judge_times(&[100.0, 100.1, 99.9, 100.2, 99.8, 100.0], &head);
    let (welch, permutation) = (judged.p.expect("a p"), judged.p_permutation.expect("a p"));
    assert!(welch < 0.001 && permutation > 0.001, "{welch} {permutation}");
    assert_eq!(judged.p_holm, judged.p_permutation);
    assert!(judged.is_open());
}

#[test]
fn six_boots_are_not_asked_for_a_smaller_permutation_p_than_they_can_give() {
    let apart = judge_times(&CALM, &times(&CALM, 1.5));
    assert!(apart.p_permutation > Some(0.002) && apart.p_holm < Some(0.001));
    assert_eq!(apart.change, Change::Regressed);
}

#[test]
fn times_of_zero_are_compared_as_plain_numbers() {
    let judged = judge_times(&[0.0, 10.0, 11.0, 10.0, 9.0, 10.0], &[30.0, 31.0, 29.0, 30.0, 32.0, 30.0]);
    assert_eq!(judged.change, Change::Regressed);
    let estimate = judged.estimate.expect("an estimate");
    assert!((estimate.base - 50.0 / 6.0).abs() < 1e-9, "{estimate:?}");
    assert!((estimate.change - (182.0 / 50.0 - 1.0)).abs() < 1e-9);
}

#[test]
fn nothing_against_nothing_is_unchanged_whatever_the_kind() {
    for kind in [Kind::Time, Kind::Rate, Kind::Bytes, Kind::Count, Kind::Ratio] {
        let judged = judge_kind(kind, &[0.0; 6], &[0.0; 6]);
        assert_eq!((judged.change, judged.estimate), (Change::Unchanged, None), "{kind:?}");
    }
}

#[test]
fn memory_that_was_none_and_is_some_is_a_regression_of_unknown_proportion() {
    let judged = judge_kind(Kind::Bytes, &[0.0; 6], &[4096.0, 4096.0, 4160.0, 4096.0, 4096.0, 4160.0]);
    assert_eq!((judged.change, judged.estimate, judged.detectable), (Change::Regressed, None, None));
    assert_eq!(judged.floor, FLOOR);
}

#[test]
fn memory_around_zero_is_judged_by_its_noise() {
    let base = [-4096.0, 4096.0, 0.0, 0.0, -8192.0, 8192.0];
    let head = [4096.0, -4096.0, 0.0, 4096.0, -8192.0, 8192.0];
    assert_eq!(judge_kind(Kind::Bytes, &base, &head).change, Change::Unchanged);
}

#[test]
fn a_count_that_varies_is_judged_by_statistics() {
    let base = [50.0, 51.0, 50.0, 50.0, 51.0, 50.0];
    let same = judge_kind(Kind::Count, &base, &[51.0, 50.0, 50.0, 51.0, 50.0, 50.0]);
    assert_eq!((same.rule, same.change), (Rule::Noisy, Change::Unchanged));
    let more = judge_kind(Kind::Count, &base, &[60.0, 61.0, 60.0, 61.0, 60.0, 61.0]);
    assert_eq!((more.rule, more.change), (Rule::Noisy, Change::Regressed));
}

#[test]
fn a_rare_event_on_one_side_is_no_change_of_a_count() {
    let mut head = [0.0; 24];
    head[3] = 1.0;
    assert_eq!(judge_kind(Kind::Count, &[0.0; 24], &head).change, Change::Unchanged);
}

#[test]
fn a_count_that_never_varied_is_judged_by_its_value() {
    let judged = judge_kind(Kind::Count, &[0.0; 6], &[52.0; 6]);
    assert_eq!((judged.rule, judged.change, judged.estimate), (Rule::Exact, Change::Regressed, None));
    assert_eq!((judged.p, judged.floor), (None, EXACT_FLOOR));
}

#[test]
fn a_verdict_that_has_fallen_stays() {
    let mut family = Family::new(Gate::default());
    let (base, head) = (boots(&CALM), boots(&times(&CALM, 1.2)));
    assert_eq!(family.next_look(0), Some(6));
    let first = family.look(&[time(&base, &head)]);
    assert_eq!((&first[0].change, family.next_look(6)), (&Change::Regressed, None));
    let (base, head) = (boots(&[100.0, 130.0].repeat(6)), boots(&[100.0, 130.0].repeat(6)));
    assert_eq!(family.look(&[time(&base, &head)]), first);
}

#[test]
fn who_has_no_verdict_gets_more_boots_up_to_the_last_look() {
    let restless: Vec<f64> = (0..24).map(|i| if i % 2 == 0 { 90.0 } else { 110.0 }).collect();
    let slower = times(&restless, 1.04);
    let mut family = Family::new(Gate::default());
    for (boots_had, next) in [(6, Some(12)), (12, Some(24)), (24, None)] {
        let calm = boots(&CALM);
        let (base, head) = (boots(&restless[..boots_had]), boots(&slower[..boots_had]));
        let noisy = Subject { noise: Some(0.01), ..time(&base, &head) };
        family.look(&[time(&calm, &calm), noisy]);
        assert_eq!((family.is_open(0), family.is_open(1)), (false, true));
        assert_eq!(family.next_look(boots_had as u32), next);
    }
}

#[test]
fn a_look_is_one_chance_and_not_one_for_each_boot() {
    let mut family = Family::new(Gate::default());
    let restless = [90.0, 110.0, 95.0, 105.0, 100.0, 99.0];
    let (base, head) = (boots(&restless), boots(&times(&restless, 1.07)));
    let noise = Some(0.01);
    assert!(family.look(&[Subject { noise, ..time(&base, &head) }])[0].is_open());
    // Seven boots without a trace of noise are still at the look of six.
    let (base, head) = (boots(&[100.0; 7]), boots(&[107.0; 7]));
    let again = family.look(&[Subject { noise, ..time(&base, &head) }]);
    assert!(again[0].is_open() && again[0].p == Some(0.0));
    let (base, head) = (boots(&[100.0; 12]), boots(&[107.0; 12]));
    assert_eq!(family.look(&[Subject { noise, ..time(&base, &head) }])[0].change, Change::Regressed);
}

#[test]
fn metrics_share_the_error_probability_with_those_of_their_weight_only() {
    // p of this pair alone is a little below 0.001.
    let base = [100.0, 103.0, 97.0, 101.0, 99.0, 102.0];
    let (a, b) = (boots(&base), boots(&times(&base, 1.072)));
    let pair = Subject { noise: Some(0.01), ..time(&a, &b) };
    let alone = judge(&[pair], Gate::default()).remove(0);
    assert_eq!((alone.p_holm, &alone.change), (alone.p, &Change::Regressed));
    let (calm, other) = (boots(&CALM), boots(&CALM));
    let mut metrics = vec![time(&calm, &other); 9];
    metrics.push(pair);
    let among = judge(&metrics, Gate::default()).remove(9);
    assert!((among.p_holm.expect("a p") / alone.p.expect("a p") - 10.0).abs() < 1e-6);
    assert!(among.is_open());
    for metric in &mut metrics[..9] {
        metric.weight = Weight::Informs;
    }
    assert_eq!(judge(&metrics, Gate::default()).remove(9), alone);
}

#[test]
fn what_was_found_to_have_changed_hands_its_share_on_and_what_is_unchanged_does_not() {
    let restless: Vec<f64> = (0..12).map(|i| if i % 2 == 0 { 90.0 } else { 110.0 }).collect();
    let slower = times(&restless, 1.04);
    let p_holm_of_last = |first: &[f64]| {
        let mut family = Family::new(Gate::default());
        let mut factor = None;
        for n in [6, 12] {
            let (calm, other) = (boots(&CALM), boots(first));
            let (base, head) = (boots(&restless[..n]), boots(&slower[..n]));
            let noisy = Subject { noise: Some(0.01), ..time(&base, &head) };
            let judged = family.look(&[time(&calm, &other), noisy]).remove(1);
            factor = judged.p_holm.zip(judged.p).map(|(holm, p)| holm / p);
        }
        factor.expect("p")
    };
    assert!((p_holm_of_last(&times(&CALM, 2.0)) - 1.0).abs() < 1e-9);
    assert!(p_holm_of_last(&CALM) > 1.5);
}

#[test]
fn only_noisy_metrics_that_gate_share_the_error_probability() {
    let (a, b, count) = (boots(&CALM), boots(&CALM), boots(&[3.0; 6]));
    let exact = Subject { kind: Kind::Count, ..time(&count, &count) };
    let shown = Subject { weight: Weight::Informs, ..time(&a, &b) };
    let subjects = [time(&a, &b), exact, shown];
    let mut family = Family::new(Gate::default());
    family.look(&subjects);
    assert_eq!(family.gating(&subjects), 1);
}

#[test]
fn values_out_of_this_world_are_judged_without_nonsense() {
    for value in [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, -1.0, 0.0] {
        let values = [value, 1.0, 2.0, value, 3.0, value];
        for kind in [Kind::Time, Kind::Count] {
            for (base, head) in [(&values, &CALM), (&CALM, &values), (&values, &values)] {
                let judged = judge_kind(kind, base, head);
                sane(&judged).unwrap_or_else(|why| panic!("{value} {kind:?}: {why}: {judged:?}"));
            }
        }
    }
}

/// Probabilities are some, and nothing is infinite.
fn sane(judged: &Judgement) -> Result<(), String> {
    for p in [judged.p, judged.p_permutation, judged.p_holm].into_iter().flatten() {
        if !(0.0..=1.0).contains(&p) {
            return Err(format!("p is {p}"));
        }
    }
    if judged.p_permutation == Some(0.0) {
        return Err("a permutation test without the deal at hand".to_owned());
    }
    let estimate = judged.estimate.iter().flat_map(|e| [e.base, e.head, e.change, e.low, e.high]);
    for number in estimate.chain([judged.floor]).chain(judged.noise).chain(judged.detectable) {
        if !number.is_finite() {
            return Err(format!("{number}"));
        }
    }
    Ok(())
}

fn mirrored(change: &Change) -> Change {
    match change {
        Change::Improved => Change::Regressed,
        Change::Regressed => Change::Improved,
        other => other.clone(),
    }
}

fn is_change(change: &Change) -> bool {
    matches!(change, Change::Improved | Change::Regressed)
}

fn sides() -> impl Strategy<Value = (Vec<f64>, Vec<f64>)> {
    let side = || prop::collection::vec(90.0..110.0_f64, 2..26);
    (side(), side(), 0.7..1.4_f64)
        .prop_map(|(base, head, factor)| (base, head.iter().map(|value| value * factor).collect()))
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Time, Kind::Count, Kind::Rate, Kind::Bytes, Kind::Ratio])
}

proptest! {
    #[test]
    fn swapping_the_sides_mirrors_a_change((base, head) in sides(), kind in kinds()) {
        let there = judge_kind(kind, &base, &head);
        let back = judge_kind(kind, &head, &base);
        if is_change(&there.change) || is_change(&back.change) {
            prop_assert_eq!(mirrored(&there.change), back.change);
        }
        prop_assert!((there.p.unwrap_or(0.0) - back.p.unwrap_or(0.0)).abs() < 1e-9);
        prop_assert_eq!(there.p_permutation, back.p_permutation);
    }

    #[test]
    fn the_unit_does_not_matter((base, head) in sides(), kind in kinds(), power in -30..30_i32) {
        prop_assume!(kind != Kind::Count);
        let unit = 2.0_f64.powi(power);
        let (here, there) = (judge_kind(kind, &base, &head), judge_kind(kind, &times(&base, unit), &times(&head, unit)));
        prop_assert_eq!(&here.change, &there.change);
        prop_assert!((here.p.unwrap_or(0.0) - there.p.unwrap_or(0.0)).abs() < 1e-6);
        let size = |judged: &Judgement| judged.estimate.map_or(0.0, |estimate| estimate.change);
        prop_assert!((size(&here) - size(&there)).abs() < 1e-9);
    }

    #[test]
    fn the_same_boots_on_both_sides_are_never_a_change(values in prop::collection::vec(-10.0..1000.0_f64, 1..30), kind in kinds()) {
        let judged = judge_kind(kind, &values, &values);
        prop_assert!(!is_change(&judged.change), "{judged:?}");
    }

    #[test]
    fn numbers_are_sane(
        base in prop::collection::vec(prop::num::f64::ANY, 0..10),
        head in prop::collection::vec(prop::num::f64::ANY, 0..10),
        kind in kinds(),
        icount in prop::sample::select(vec![Accel::Icount, Accel::Tcg]),
    ) {
        let (base, head) = (boots(&base), boots(&head));
        let subject = Subject { kind, accel: icount, ..time(&base, &head) };
        let judged = judge(&[subject], Gate::default()).remove(0);
        prop_assert!(sane(&judged).is_ok(), "{:?}: {judged:?}", sane(&judged));
    }
}
