//! Whether the gate can be trusted on this host: boots of one kernel, split at
//! random into two sides again and again, must not differ.
//!
//! A split shares its boots with the others, so that many splits of few boots
//! are no independent trials: the rate says how this set of boots behaves, and a
//! host that is only now and then restless shows it in other sets.

use super::comparison::{Change, Comparison, MetricChange, Weight};
use super::family::judge;
use super::gate::{Gate, LOOKS, Look};
use super::subject::{Boot, Subject};
use crate::model::Accel;

/// What splitting the boots of a kernel against itself came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FalseAlarms {
    /// Splits that were judged.
    pub splits: u32,
    /// Those in which a gating metric was said to have changed.
    pub alarms: u32,
    /// Boots of a side in each.
    pub boots: u32,
}

/// Judges so many random splits of the boots of a comparison of a kernel with
/// itself, each as a comparison of its own. The same seed gives the same splits.
#[must_use]
pub fn false_alarms(comparison: &Comparison, splits: u32, seed: u64) -> Option<FalseAlarms> {
    let gating: Vec<&MetricChange> =
        comparison.metrics.iter().filter(|metric| metric.weight == Weight::Gates).collect();
    let smallest = gating.iter().map(|metric| (metric.base.len() + metric.head.len()) / 2).min()?;
    let boots = u32::try_from(smallest).ok().filter(|boots| *boots >= 2)?;
    let accel = comparison.base.accel.unwrap_or(Accel::Tcg);
    // With fewer boots than the first look there would be no verdict at all.
    let threshold = LOOKS.iter().rev().find(|look| look.boots <= boots).unwrap_or(&LOOKS[0]).threshold;
    let gate = Gate {
        looks: vec![Look { boots, threshold }],
        floor: comparison.rules.floor,
        exact_floor: comparison.rules.exact_floor,
    };
    let pools: Vec<Vec<Boot>> = gating.iter().map(|metric| pool(metric)).collect();
    let mut random = Random(seed);
    let mut alarms = 0;
    for _ in 0..splits {
        let sides: Vec<(Vec<Boot>, Vec<Boot>)> = pools
            .iter()
            .map(|pool| {
                let mut shuffled = pool.clone();
                random.shuffle(&mut shuffled);
                let head = shuffled.split_off(shuffled.len() / 2);
                (shuffled, head)
            })
            .collect();
        let subjects: Vec<Subject<'_>> = gating
            .iter()
            .zip(&sides)
            .map(|(metric, (base, head))| Subject {
                kind: metric.metric.kind,
                better: metric.metric.better,
                weight: metric.weight,
                accel,
                noise: None,
                base,
                head,
            })
            .collect();
        let changed = |change: &Change| matches!(change, Change::Regressed | Change::Improved);
        alarms += u32::from(judge(&subjects, gate.clone()).iter().any(|it| changed(&it.change)));
    }
    Some(FalseAlarms { splits, alarms, boots })
}

/// The boots of both sides.
fn pool(metric: &MetricChange) -> Vec<Boot> {
    // How far the samples of a boot scatter matters to exact metrics only, whose
    // boots are all alike.
    metric.base.iter().chain(&metric.head).map(|value| Boot { value: *value, error: 0.0 }).collect()
}

/// xorshift64* (Vigna 2016): splits that anyone can repeat.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        let mut x = self.0 | 1;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.0 = x;
        // The lowest bits of the product are its weakest.
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let chosen = self.next() % (last as u64 + 1);
            items.swap(last, usize::try_from(chosen).unwrap_or(last));
        }
    }
}

#[cfg(test)]
mod tests {
    use kregress_wire::{Better, Kind, Unit};

    use super::*;
    use crate::analysis::{BootValue, Rule, Rules, Side};
    use crate::results::format::Metric;

    fn comparison(base: &[f64], head: &[f64]) -> Comparison {
        let side = |kernel: &str| Side {
            kernel: kernel.to_owned(),
            run: "r".to_owned(),
            release: None,
            identity: None,
            accel: Some(Accel::Tcg),
            boots: 6,
        };
        let boots = |values: &[f64]| -> Vec<BootValue> {
            let boot = |median: &f64| BootValue {
                boot: 1,
                median: *median,
                lowest: *median,
                highest: *median,
                samples: 5,
            };
            values.iter().map(boot).collect()
        };
        let metric = MetricChange {
            test: "t".to_owned(),
            metric: Metric {
                name: "time".to_owned(),
                summary: String::new(),
                unit: Unit::Nanoseconds,
                kind: Kind::Time,
                better: Better::Lower,
            },
            rule: Rule::Noisy,
            weight: Weight::Gates,
            base: boots(base),
            head: boots(head),
            change: Change::Unchanged,
            estimate: None,
            p: None,
            p_permutation: None,
            p_holm: None,
            floor: 0.05,
            noise: None,
            detectable: None,
        };
        Comparison {
            base: side("k"),
            head: side("k (again)"),
            rules: Rules {
                looks: vec![6],
                thresholds: vec![0.001],
                floor: 0.05,
                exact_floor: 0.005,
                gating: 1,
            },
            metrics: vec![metric],
            tests: Vec::new(),
            breakdowns: Vec::new(),
            reservations: Vec::new(),
            not_measured: Vec::new(),
        }
    }

    #[test]
    fn quiet_boots_raise_no_alarm_however_they_are_split() {
        let found = false_alarms(
            &comparison(&[100.0, 101.0, 99.0, 100.5, 99.5, 100.2], &[100.1, 99.9, 101.2, 98.8, 100.0, 100.4]),
            500,
            1,
        );
        assert_eq!(found, Some(FalseAlarms { splits: 500, alarms: 0, boots: 6 }));
    }

    #[test]
    fn the_same_seed_gives_the_same_splits() {
        let restless = comparison(&[100.0, 200.0, 101.0, 199.0, 100.0, 200.0], &[100.5; 6]);
        assert_eq!(false_alarms(&restless, 300, 7), false_alarms(&restless, 300, 7));
    }

    #[test]
    fn two_populations_are_noticed_where_a_split_happens_to_part_them() {
        // Six of a side, all fast against all slow, is one split of 462.
        let parted = comparison(
            &[100.0, 100.1, 99.9, 100.0, 100.1, 99.9],
            &[200.0, 200.1, 199.9, 200.0, 200.1, 199.9],
        );
        let found = false_alarms(&parted, 5000, 1).expect("enough boots");
        assert!(found.alarms > 0 && found.alarms < 50, "{found:?}");
    }

    #[test]
    fn too_few_boots_or_no_metric_at_all_say_nothing() {
        assert_eq!(false_alarms(&comparison(&[1.0], &[1.0]), 10, 1), None);
        let mut none = comparison(&[1.0; 6], &[1.0; 6]);
        none.metrics.clear();
        assert_eq!(false_alarms(&none, 10, 1), None);
    }

    #[test]
    fn a_shuffle_loses_nothing() {
        let mut items: Vec<u32> = (0..50).collect();
        Random(3).shuffle(&mut items);
        assert_ne!(items, (0..50).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..50).collect::<Vec<_>>());
    }
}
