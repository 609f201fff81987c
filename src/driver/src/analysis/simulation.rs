//! The truth of the gate: what it says of kernels of which we know the answer.
//!
//! Boots and iterations with the noise that netns teardown has: a factor for
//! the boot (normal on the logarithms), and within it heavy-tailed iterations
//! (Student's t with three degrees of freedom, standard deviation 10 %), of
//! which the gate sees the median.

use kregress_wire::{Better, Kind};

use super::comparison::{BootValue, Change, Weight};
use super::stats::median;
use super::{Boot, Family, Gate, Subject};
use crate::model::Accel;

/// Iterations of a boot.
const ITERATIONS: usize = 100;

/// Boots whose iterations are really drawn; others borrow from these, for the
/// iterations are what takes the time.
const DRAWN: usize = 1000;

/// What makes the boots of one kernel differ.
#[derive(Clone, Copy)]
struct Noise {
    /// Standard deviation of the factor of a boot.
    boot: f64,
    /// Share of boots that something slows down by up to half.
    slow: f64,
}

impl Noise {
    fn of(boot: f64) -> Self {
        Self { boot, slow: 0.0 }
    }
}

struct Lab {
    rng: fastrand::Rng,
    spare: Option<f64>,
    /// Medians of the iterations of a boot, as relative deviations.
    medians: Vec<f64>,
}

impl Lab {
    fn new(seed: u64) -> Self {
        let mut lab = Self { rng: fastrand::Rng::with_seed(seed), spare: None, medians: Vec::new() };
        lab.medians = (0..DRAWN)
            .map(|_| {
                let iterations: Vec<f64> = (0..ITERATIONS).map(|_| 0.1 * lab.heavy()).collect();
                median(&iterations).expect("iterations")
            })
            .collect();
        lab
    }

    /// A normal number, by Marsaglia's polar method.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        loop {
            let (x, y) = (2.0 * self.rng.f64() - 1.0, 2.0 * self.rng.f64() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                let factor = (-2.0 * square.ln() / square).sqrt();
                self.spare = Some(y * factor);
                return x * factor;
            }
        }
    }

    /// Student's t with three degrees of freedom, scaled to standard deviation 1.
    fn heavy(&mut self) -> f64 {
        let chi: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / chi.sqrt()
    }

    /// A boot of a kernel whose metric is `truth`.
    fn boot(&mut self, truth: f64, noise: Noise) -> Boot {
        let mut factor = (noise.boot * self.normal()).exp();
        if noise.slow > 0.0 && self.rng.f64() < noise.slow {
            factor *= 1.1 + 0.4 * self.rng.f64();
        }
        let within = self.medians[self.rng.usize(..DRAWN)];
        let median = truth * factor * (1.0 + within);
        let value = BootValue { boot: 1, median, lowest: median, highest: median, samples: 1 };
        Boot { value, error: 0.0 }
    }
}

/// What came of a comparison.
struct Outcome {
    changes: Vec<Change>,
    boots: u32,
}

impl Outcome {
    /// Whether a change was seen in any metric.
    fn alarm(&self) -> bool {
        self.changes.iter().any(|change| matches!(change, Change::Regressed | Change::Improved))
    }

    fn all(&self, wanted: &Change) -> bool {
        self.changes.iter().all(|change| change == wanted)
    }
}

/// A comparison of times with all its looks; `truths` are the metrics of head,
/// those of base are 1.
fn compare(lab: &mut Lab, truths: &[f64], noise: Noise) -> Outcome {
    compare_boots(Kind::Time, truths.len(), |metric, side| {
        lab.boot(if side == Side::Head { truths[metric] } else { 1.0 }, noise)
    })
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Base,
    Head,
}

/// The same of metrics of any kind, with boots from where the caller has them.
fn compare_boots(kind: Kind, metrics: usize, mut boot: impl FnMut(usize, Side) -> Boot) -> Outcome {
    let mut family = Family::new(Gate::default());
    let mut sides: Vec<(Vec<Boot>, Vec<Boot>)> = vec![Default::default(); metrics];
    let mut boots = 0;
    let mut changes = Vec::new();
    while let Some(next) = family.next_look(boots) {
        for (metric, (base, head)) in sides.iter_mut().enumerate() {
            if family.is_open(metric) {
                while base.len() < next as usize {
                    base.push(boot(metric, Side::Base));
                    head.push(boot(metric, Side::Head));
                }
            }
        }
        let subjects: Vec<Subject<'_>> = sides
            .iter()
            .map(|(base, head)| Subject {
                kind,
                better: Better::Lower,
                weight: Weight::Gates,
                accel: Accel::Tcg,
                noise: None,
                base,
                head,
            })
            .collect();
        changes = family.look(&subjects).into_iter().map(|judgement| judgement.change).collect();
        boots = next;
    }
    Outcome { changes, boots }
}

/// Shares of so many comparisons of one metric.
struct Shares {
    regressed: f64,
    improved: f64,
    unchanged: f64,
    /// Boots a side, on average.
    boots: f64,
}

fn shares(seed: u64, comparisons: u32, truth: f64, noise: Noise) -> Shares {
    let mut lab = Lab::new(seed);
    let outcomes: Vec<Outcome> = (0..comparisons).map(|_| compare(&mut lab, &[truth], noise)).collect();
    let share = |wanted: Change| {
        let count = outcomes.iter().filter(|outcome| outcome.all(&wanted)).count();
        count as f64 / f64::from(comparisons)
    };
    Shares {
        regressed: share(Change::Regressed),
        improved: share(Change::Improved),
        unchanged: share(Change::Unchanged),
        boots: outcomes.iter().map(|outcome| f64::from(outcome.boots)).sum::<f64>() / f64::from(comparisons),
    }
}

/// At most one false alarm in a hundred, of comparisons of `metrics` metrics.
fn rarely_alarms(seed: u64, comparisons: u32, metrics: usize, noise: Noise) {
    let mut lab = Lab::new(seed);
    let truths = vec![1.0; metrics];
    let alarms = (0..comparisons).filter(|_| compare(&mut lab, &truths, noise).alarm()).count();
    assert!(alarms as f64 <= 0.01 * f64::from(comparisons), "{alarms} false alarms of {comparisons}");
}

#[test]
fn a_kernel_against_itself_is_rarely_said_to_have_changed() {
    rarely_alarms(1, 2000, 1, Noise::of(0.02));
    rarely_alarms(2, 2000, 1, Noise::of(0.04));
}

#[test]
fn slow_boots_are_no_change_either() {
    rarely_alarms(3, 2000, 1, Noise { boot: 0.02, slow: 0.05 });
    rarely_alarms(4, 2000, 1, Noise { boot: 0.04, slow: 0.05 });
}

#[test]
fn thirty_metrics_raise_no_more_false_alarms_than_one() {
    rarely_alarms(5, 500, 30, Noise::of(0.02));
    rarely_alarms(6, 250, 30, Noise::of(0.04));
}

#[test]
fn thirty_metrics_with_slow_boots_raise_no_more_false_alarms_than_one() {
    rarely_alarms(7, 250, 30, Noise { boot: 0.02, slow: 0.05 });
}

#[test]
fn thirty_counts_that_vary_raise_few_false_alarms() {
    // Counts that are sometimes one and sometimes two, each with a probability
    // of its own: those that seldom vary look exact at the first look.
    let mut rng = fastrand::Rng::with_seed(15);
    let alarms = (0..500)
        .filter(|_| {
            let chances: Vec<f64> = (0..30).map(|_| rng.f64()).collect();
            let count = |metric: usize, _| {
                let value = if rng.f64() < chances[metric] { 2.0 } else { 1.0 };
                Boot::of(1, &[value]).expect("a value")
            };
            compare_boots(Kind::Count, 30, count).alarm()
        })
        .count();
    assert!(alarms <= 5, "{alarms} false alarms of 500");
}

#[test]
fn a_kernel_against_itself_is_unchanged_and_takes_few_boots() {
    let calm = shares(8, 1000, 1.0, Noise::of(0.02));
    assert!(calm.unchanged >= 0.99, "{}", calm.unchanged);
    assert!(calm.boots <= 9.0, "{}", calm.boots);
    let restless = shares(9, 1000, 1.0, Noise::of(0.04));
    assert!(restless.unchanged >= 0.97, "{}", restless.unchanged);
}

#[test]
fn eight_percent_are_caught() {
    let shares = shares(10, 2000, 1.08, Noise::of(0.02));
    assert!(shares.regressed >= 0.99, "{}", shares.regressed);
    assert!(shares.boots <= 14.0, "{}", shares.boots);
}

#[test]
fn eight_percent_less_are_an_improvement() {
    let shares = shares(11, 1000, 1.0 / 1.08, Noise::of(0.02));
    assert!(shares.improved >= 0.98, "{}", shares.improved);
    assert_eq!(shares.regressed, 0.0);
}

#[test]
fn twenty_percent_are_caught_at_the_first_look_or_the_second() {
    let shares = shares(12, 1000, 1.2, Noise::of(0.02));
    assert!(shares.regressed >= 0.999, "{}", shares.regressed);
    assert!(shares.boots <= 6.5, "{}", shares.boots);
}

#[test]
fn one_regression_among_thirty_metrics_is_caught_and_named() {
    let mut lab = Lab::new(13);
    let mut truths = vec![1.0; 30];
    truths[17] = 1.1;
    let caught = (0..200)
        .filter(|_| compare(&mut lab, &truths, Noise::of(0.02)).changes[17] == Change::Regressed)
        .count();
    assert!(caught >= 198, "{caught}");
}

#[test]
fn what_is_called_detectable_is_found_four_times_out_of_five() {
    // Boots of 24 a side at noise 1.6 %, the floor out of the way.
    let mut lab = Lab::new(14);
    let gate = || Gate { floor: 0.0001, ..Gate::default() };
    let side = |lab: &mut Lab, truth: f64| -> Vec<Boot> {
        (0..24)
            .map(|_| {
                let mut boot = lab.boot(1.0, Noise::of(0.0));
                boot.value.median = truth * (0.016 * lab.normal()).exp();
                boot
            })
            .collect()
    };
    let judge = |base: &[Boot], head: &[Boot]| {
        let subject = Subject {
            kind: Kind::Time,
            better: Better::Lower,
            weight: Weight::Gates,
            accel: Accel::Tcg,
            noise: Some(0.0),
            base,
            head,
        };
        super::judge(&[subject], gate()).remove(0)
    };
    let mut found = 0;
    let mut promised = 0.0;
    for _ in 0..500 {
        let (base, head) = (side(&mut lab, 1.0), side(&mut lab, 1.0));
        promised += judge(&base, &head).detectable.expect("noise") / 500.0;
    }
    for _ in 0..500 {
        let (base, head) = (side(&mut lab, 1.0), side(&mut lab, 1.0 + promised));
        found += u32::from(judge(&base, &head).change == Change::Regressed);
    }
    assert!((375..=425).contains(&found), "{found} of 500 at {promised}");
}
