//! Which metrics can turn a comparison red.
//!
//! A tail or a quotient is decided by a few samples of a boot, and a quotient of
//! two noisy numbers by the noise of both: they are shown, and what they are made
//! of is judged. So are the times of tests that trace, for the tracer is the
//! larger part of them, and delays, which are the scheduler's of the moment.

use kregress_wire::{Kind, MetricInfo};

use super::comparison::Weight;
use crate::model::{self, Accel};
use crate::results::format::{Metric, Test};

/// Parts of names that say that a metric is about the tail of a distribution.
const TAILS: [&str; 7] = ["p90", "p95", "p99", "p999", "max", "longest", "worst"];

/// Part of names of metrics that tell how long something waited for a processor.
const DELAY: &str = "delay";

/// Samples of a boot below which a time in virtual time shows one phase against the
/// kernel's tick, or too few to tell how much the phase does: then the numbers of two
/// kernels differ by where they met the tick. From experience.
const PHASES: u32 = 5;

/// The workload whose times are those of its tracer.
pub(super) const PROFILE: &str = "netns/profile";

/// Whether it is a tail or a delay.
fn is_shown_only(metric: &str) -> bool {
    metric.split('_').any(|part| TAILS.contains(&part) || part == DELAY)
}

/// What the verdict on a metric of this test does.
pub(super) fn weight(test: &Test, metric: &Metric) -> Weight {
    if is_shown_only(&metric.name) || metric.kind == Kind::Ratio || test.workload == PROFILE {
        Weight::Informs
    } else {
        Weight::Gates
    }
}

/// What is left of that weight for a metric with so many samples in the boot that
/// has fewest.
pub(super) fn weight_of_samples(weight: Weight, accel: Accel, kind: Kind, fewest: Option<u32>) -> Weight {
    let timed = matches!(kind, Kind::Time | Kind::Rate);
    match accel {
        Accel::Icount if timed && fewest.is_some_and(|fewest| fewest < PHASES) => Weight::Informs,
        Accel::Icount | Accel::Kvm | Accel::Tcg | Accel::Native => weight,
    }
}

/// Times and rates of a test whose verdicts decide, by name.
fn times(test: &model::Test) -> impl Iterator<Item = &'static str> {
    let traced = test.workload == PROFILE;
    let decides = move |metric: &&MetricInfo| {
        !traced && !is_shown_only(metric.name) && matches!(metric.kind, Kind::Time | Kind::Rate)
    };
    test.metrics.iter().filter(decides).map(|metric| metric.name)
}

/// Times were to decide where nothing takes the time that it takes on hardware.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{count} of the tests decide by time, `{test}` for one (`{metric}`), and under `{accel}` every instruction \
     is emulated\nhint: `--machine accel=icount` decides by instructions, on any host; or name tests that only \
     count; or leave out `--no-emulated-times`"
)]
pub struct EmulatedTimes {
    accel: Accel,
    count: usize,
    test: String,
    metric: &'static str,
}

/// Refuses tests that decide by time where it is emulated and not virtual.
///
/// # Errors
///
/// Under TCG, when at least one of them does.
pub fn refuse_emulated_times<'a>(
    accel: Accel,
    tests: impl IntoIterator<Item = &'a model::Test>,
) -> Result<(), EmulatedTimes> {
    match accel {
        Accel::Kvm | Accel::Icount | Accel::Native => return Ok(()),
        Accel::Tcg => {}
    }
    let found: Vec<_> =
        tests.into_iter().filter_map(|test| times(test).next().map(|metric| (test, metric))).collect();
    match found.first() {
        None => Ok(()),
        Some((test, metric)) => {
            Err(EmulatedTimes { accel, count: found.len(), test: test.id.to_string(), metric })
        }
    }
}

#[cfg(test)]
mod tests {
    use kregress_wire::{Better, Unit};

    use super::*;
    use crate::results::format::Event;
    use crate::results::{testing, to_event};

    fn of(workload: &str, name: &str, kind: Kind) -> Weight {
        let Event::RunStarted(plan) = to_event(&testing::started(&["k"], &["s/t"], 1)[0]) else {
            unreachable!("a plan")
        };
        let test = Test { workload: workload.to_owned(), ..plan.tests[0].clone() };
        let metric = Metric {
            name: name.to_owned(),
            summary: String::new(),
            unit: Unit::Nanoseconds,
            kind,
            better: Better::Lower,
        };
        weight(&test, &metric)
    }

    #[test]
    fn tails_ratios_and_times_with_a_tracer_inform_and_the_rest_gates() {
        for (workload, name, kind, expected) in [
            ("netns/drain", "drain_time", Kind::Time, Weight::Gates),
            ("netns/drain", "synchronize_rcu", Kind::Count, Weight::Gates),
            ("netns/churn", "maximum_rate", Kind::Rate, Weight::Gates),
            ("netns/storm", "create_p50", Kind::Time, Weight::Gates),
            ("netns/storm", "create_p99", Kind::Time, Weight::Informs),
            ("netns/storm", "create_max", Kind::Time, Weight::Informs),
            ("netns/churn", "scaling", Kind::Ratio, Weight::Informs),
            ("netns/profile", "round_time", Kind::Time, Weight::Informs),
            ("netns/drain", "queue_delay", Kind::Time, Weight::Informs),
        ] {
            assert_eq!(of(workload, name, kind), expected, "{workload} {name}");
        }
    }

    #[test]
    fn in_virtual_time_a_few_samples_of_a_time_inform() {
        let gates = |accel, kind, fewest| weight_of_samples(Weight::Gates, accel, kind, fewest);
        assert_eq!(gates(Accel::Icount, Kind::Time, Some(PHASES - 1)), Weight::Informs);
        assert_eq!(gates(Accel::Icount, Kind::Time, Some(PHASES)), Weight::Gates);
        assert_eq!(gates(Accel::Icount, Kind::Count, Some(1)), Weight::Gates);
        assert_eq!(gates(Accel::Tcg, Kind::Time, Some(1)), Weight::Gates);
        assert_eq!(gates(Accel::Icount, Kind::Time, None), Weight::Gates);
    }

    #[test]
    fn times_decide_nothing_under_emulation_and_counts_do() {
        let mut tests = testing::info(&["k"], &["s/timed[n=1]", "s/timed[n=2]", "s/counted"], 1).tests;
        tests[2].metrics.retain(|metric| metric.kind == Kind::Count);
        let refused = refuse_emulated_times(Accel::Tcg, &tests).expect_err("refused");
        insta::assert_snapshot!(refused, @r"
        2 of the tests decide by time, `s/timed[n=1]` for one (`drain_time`), and under `tcg` every instruction is emulated
        hint: `--machine accel=icount` decides by instructions, on any host; or name tests that only count; or leave out `--no-emulated-times`
        ");
        assert_eq!(refuse_emulated_times(Accel::Tcg, &tests[2..]), Ok(()));
        for accel in [Accel::Kvm, Accel::Icount, Accel::Native] {
            assert_eq!(refuse_emulated_times(accel, &tests), Ok(()));
        }
    }
}
