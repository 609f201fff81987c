//! The results of a run by kernel and test, several boots put together. Pure.

use std::collections::HashMap;

use kregress_wire::Unit;

use crate::model::{Accel, Verdict};
use crate::results::format::{Metric, Run, Test, TestResult};
use crate::results::{Standing, Turn, turns};

/// One test on one kernel, in all its boots.
#[derive(Debug)]
pub(crate) struct Case<'a> {
    pub(crate) kernel: &'a str,
    pub(crate) test: &'a Test,
    /// In the order in which they came; every attempt.
    pub(crate) results: Vec<&'a TestResult>,
    /// The same by the boot asked for; at least one.
    pub(crate) turns: Vec<Turn<'a>>,
}

/// All cases: kernels in the order of the plan, the tests of each likewise.
pub(crate) fn cases(run: &Run) -> Vec<Case<'_>> {
    let mut results: HashMap<(&str, &str), Vec<&TestResult>> = HashMap::new();
    for result in &run.results {
        results.entry((&result.kernel, &result.test)).or_default().push(result);
    }
    let mut cases = Vec::new();
    for kernel in &run.plan.kernels {
        for test in &run.plan.tests {
            // Taken out, so that a name that stands twice in a plan makes one case.
            if let Some(results) = results.remove(&(kernel.as_str(), test.id.as_str())) {
                let turns = turns(&results);
                cases.push(Case { kernel, test, results, turns });
            }
        }
    }
    cases
}

impl<'a> Case<'a> {
    /// How it stands in all boots: a failure before an error before a flaky pass
    /// before a skip before a pass. A failure that one boot saw happened, whatever
    /// the others saw; a skip among passes is the smaller claim.
    pub(crate) fn standing(&self) -> Standing {
        self.turns.iter().map(|turn| turn.standing).min().unwrap_or(Standing::Error)
    }

    /// The turns that stand as the case does, the first of them first.
    pub(crate) fn like_worst(&self) -> impl Iterator<Item = &Turn<'a>> {
        let standing = self.standing();
        self.turns.iter().filter(move |turn| turn.standing == standing)
    }

    /// The result that speaks for all boots: of the earliest turn that stands as
    /// the case does, and there the attempt that made it so.
    pub(crate) fn worst(&self) -> &'a TestResult {
        // A case is made of at least one result.
        self.like_worst().next().map_or(self.results[0], Turn::speaker)
    }

    /// What there is to say of boots and attempts beside the verdict: `2 of 3 boots
    /// (4, 6)`, `passed at attempt 2`, `in 3 attempts`; none where there is nothing.
    pub(crate) fn boots(&self) -> Option<String> {
        const SHOWN: usize = 5;
        if matches!(self.standing(), Standing::Pass) {
            return None;
        }
        let mut parts = Vec::new();
        if self.turns.len() > 1 {
            let speakers = self.like_worst().filter_map(|turn| turn.speaker().boot);
            let numbers: Vec<String> = speakers.map(|boot| boot.to_string()).collect();
            let mut text = format!("{} of {} boots", self.like_worst().count(), self.turns.len());
            if !numbers.is_empty() {
                let more = if numbers.len() > SHOWN { ", ..." } else { "" };
                let shown = numbers[..numbers.len().min(SHOWN)].join(", ");
                text.push_str(&format!(" ({shown}{more})"));
            }
            parts.push(text);
        }
        let attempts = self.like_worst().map(|turn| turn.attempts.len()).max().unwrap_or(1);
        if self.standing() == Standing::Flaky {
            parts.push(format!("passed at attempt {attempts}"));
        } else if attempts > 1 {
            parts.push(format!("in {attempts} attempts"));
        }
        Some(parts.join(", ")).filter(|text| !text.is_empty())
    }
}

/// What a verdict says: one word for its class, and its text.
pub(crate) fn verdict_text(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Pass { .. } => ("pass", ""),
        Verdict::Fail(failure) => (failure.kind.name(), &failure.message),
        Verdict::Skip { reason } => ("skip", reason),
        Verdict::Error(trouble) => (trouble.kind.name(), &trouble.message),
    }
}

/// A metric of a case: the median over boots of each boot's median.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Measure<'a> {
    pub(crate) metric: &'a Metric,
    /// All of it was measured under this accelerator.
    pub(crate) accel: Accel,
    pub(crate) median: f64,
    /// Smallest and largest of whatever `over` says.
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) over: Over,
}

/// What a spread is taken over. The boot is the unit of statistics; with one
/// boot there is only the spread of samples within it, which says less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Medians of so many boots.
    Boots(usize),
    /// So many samples of the only boot.
    SamplesOfOneBoot(usize),
}

/// The metrics of a case that the suite asks for, of the boots that passed,
/// each accelerator apart.
pub(crate) fn measures<'a>(run: &Run, case: &Case<'a>) -> Vec<Measure<'a>> {
    let mut measures = Vec::new();
    for metric in &case.test.metrics {
        for accel in Accel::ALL {
            let boots: Vec<&[f64]> = case
                .results
                .iter()
                .filter(|result| matches!(result.verdict, Verdict::Pass { .. }))
                .filter(|result| {
                    result.boot.and_then(|id| run.boot(id)).is_some_and(|it| it.launch.accel == accel)
                })
                .filter_map(|result| result.samples.get(&metric.name))
                .map(Vec::as_slice)
                .filter(|samples| !samples.is_empty())
                .collect();
            measures.extend(measure(metric, accel, &boots));
        }
    }
    measures
}

fn measure<'a>(metric: &'a Metric, accel: Accel, boots: &[&[f64]]) -> Option<Measure<'a>> {
    let medians: Vec<f64> = boots.iter().filter_map(|samples| median(samples)).collect();
    let (spread, over) = match boots {
        [] => return None,
        [only] => (*only, Over::SamplesOfOneBoot(only.len())),
        several => (medians.as_slice(), Over::Boots(several.len())),
    };
    let low = spread.iter().copied().fold(f64::INFINITY, f64::min);
    let high = spread.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    Some(Measure { metric, accel, median: median(&medians)?, low, high, over })
}

/// The middle, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

impl Measure<'_> {
    /// Median with its unit, spread, and what it is taken over.
    pub(crate) fn texts(&self) -> [String; 3] {
        let typical = if self.median == 0.0 { self.high } else { self.median };
        let scale = super::quantity::Scale::of(self.metric.unit, typical);
        let exact = self.low == self.high && self.metric.unit == Unit::One;
        let spread = if exact {
            "always the same".to_owned()
        } else {
            format!("{} .. {}", scale.number(self.low), scale.quantity(self.high))
        };
        let over = match self.over {
            Over::Boots(boots) => format!("{boots} boots"),
            Over::SamplesOfOneBoot(1) => "1 sample".to_owned(),
            Over::SamplesOfOneBoot(samples) => format!("{samples} samples"),
        };
        let spread = if self.over == Over::SamplesOfOneBoot(1) { String::new() } else { spread };
        [scale.quantity(self.median), spread, over]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RunEvent, TestResult, TroubleKind, Turn};
    use crate::results::format::State;
    use crate::results::testing::{self, fold};

    fn run(boots: u32, results: Vec<RunEvent>) -> Run {
        let mut events = testing::started(&["stable"], &["smoke/a"], boots);
        events.extend((1..=boots).map(|id| testing::boot(id, "stable")));
        events.extend(results);
        fold(&events).close(State::Unfinished)
    }

    fn pass(boot: u32, samples: &[f64]) -> RunEvent {
        let mut result = testing::pass("smoke/a", "stable", boot);
        result.samples.insert("drain_time".into(), samples.to_vec());
        result.samples.remove("rounds");
        RunEvent::TestFinished(result)
    }

    #[test]
    fn the_median_of_boots_is_not_the_median_of_samples() {
        // Pooled, the many samples of boot 1 would win.
        let many = vec![1e6; 100];
        let run = run(3, vec![pass(1, &many), pass(2, &[3e6]), pass(3, &[5e6, 3e6, 4e6])]);
        let cases = cases(&run);
        let measures = measures(&run, &cases[0]);
        assert_eq!(measures[0].texts(), ["3.00 ms", "1.00 .. 4.00 ms", "3 boots"]);
    }

    #[test]
    fn one_boot_shows_the_spread_of_its_samples_and_says_so() {
        let one = run(1, vec![pass(1, &[1e6, 2e6, 6e6])]);
        let cases_of_one = cases(&one);
        let measures_of_one = measures(&one, &cases_of_one[0]);
        assert_eq!(measures_of_one[0].texts(), ["2.00 ms", "1.00 .. 6.00 ms", "3 samples"]);
        let single = run(1, vec![pass(1, &[1e6])]);
        assert_eq!(measures(&single, &cases(&single)[0])[0].texts(), ["1.00 ms", "", "1 sample"]);
    }

    #[test]
    fn boots_that_did_not_pass_and_boots_without_samples_do_not_count() {
        let mut failed = testing::fail("smoke/a", "stable", 1, "x");
        failed.samples.insert("drain_time".into(), vec![9e9]);
        let run = run(3, vec![RunEvent::TestFinished(failed), pass(2, &[]), pass(3, &[2e6])]);
        let measures = measures(&run, &cases(&run)[0]);
        assert_eq!(measures[0].over, Over::SamplesOfOneBoot(1));
    }

    #[test]
    fn accelerators_are_never_mixed() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 2);
        for (id, accel) in [(1, Accel::Kvm), (2, Accel::Tcg)] {
            let mut boot = testing::boot_info(id, "stable");
            boot.accel = accel;
            events.push(RunEvent::BootStarted(boot));
        }
        events.extend([pass(1, &[1e6]), pass(2, &[9e6])]);
        let run = fold(&events).close(State::Unfinished);
        let measures = measures(&run, &cases(&run)[0]);
        let each: Vec<_> = measures.iter().map(|it| (it.accel, it.median)).collect();
        assert_eq!(each, [(Accel::Kvm, 1e6), (Accel::Tcg, 9e6)]);
    }

    #[test]
    fn a_case_says_which_boots_went_wrong() {
        let never = testing::error("smoke/a", "stable", None, TroubleKind::NotReached);
        let run = run(
            3,
            vec![
                pass(1, &[1.0]),
                RunEvent::TestFinished(TestResult { turn: Turn::first(2), ..never }),
                RunEvent::TestFinished(testing::fail("smoke/a", "stable", 3, "x")),
            ],
        );
        let cases = cases(&run);
        assert_eq!(cases[0].worst().boot, Some(3));
        assert_eq!(cases[0].boots().as_deref(), Some("1 of 3 boots (3)"));
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_two() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[]), None);
    }
}
