//! A comparison in words and numbers that every form of report shares: the
//! order of its rows, the signs of its verdicts, `p` for people. Pure; judges
//! nothing.

use kregress_wire::Unit;

use super::quantity::Scale;
use super::text_safety;
use crate::analysis::{
    BootValue, BreakdownChange, Change, Comparison, Estimate, FunctionChange, MetricChange, Overall, Rule,
    Share, Side, TestChange, TestClass, Tries, Undecided, Weight,
};
use crate::results::format::Run;

/// A comparison with what it was made of.
#[derive(Debug, Clone, Copy)]
pub struct Compared<'a> {
    /// What was found.
    pub comparison: &'a Comparison,
    /// What it comes to.
    pub overall: Overall,
    /// The runs that its sides were measured in: one, or two that were compared
    /// afterwards.
    pub runs: &'a [&'a Run],
}

impl<'a> Compared<'a> {
    /// The run that a side was measured in, where it is at hand.
    pub(crate) fn run_of(&self, side: &Side) -> Option<&'a Run> {
        self.runs.iter().copied().find(|run| run.plan.id == side.run).or(match self.runs {
            [only] => Some(only),
            _ => None,
        })
    }

    /// Metrics, what matters most first: regressed, unknown, improved, unchanged;
    /// what gates before what informs; large before small.
    pub(crate) fn metrics(&self) -> Vec<&'a MetricChange> {
        let mut metrics: Vec<&MetricChange> = self.comparison.metrics.iter().collect();
        metrics.sort_by(|a, b| {
            let key = |it: &MetricChange| (verdict(&it.change), u8::from(it.weight == Weight::Informs));
            key(a).cmp(&key(b)).then_with(|| size(b).total_cmp(&size(a)))
        });
        metrics
    }

    /// How many metrics have this verdict.
    pub(crate) fn count(&self, wanted: Verdict) -> usize {
        self.comparison.metrics.iter().filter(|it| verdict(&it.change) == wanted).count()
    }

    /// Tests of which there is something to say.
    pub(crate) fn changed_tests(&self) -> Vec<&'a TestChange> {
        let mut tests: Vec<_> =
            self.comparison.tests.iter().filter(|test| test.class != TestClass::Same).collect();
        tests.sort_by_key(|test| grade(test.class));
        tests
    }

    /// The accelerators that the numbers were measured under: one word, or both.
    pub(crate) fn accel(&self) -> String {
        let name = |side: &Side| side.accel.map_or("never booted", crate::model::Accel::name);
        let (base, head) = (name(&self.comparison.base), name(&self.comparison.head));
        if base == head { base.to_owned() } else { format!("{base} against {head}") }
    }

    /// One sentence that says what it comes to.
    pub(crate) fn headline(&self) -> String {
        let many = |count: usize, one: &str, more: &str| match count {
            0 => None,
            1 => Some(format!("1 {one}")),
            count => Some(format!("{count} {more}")),
        };
        let class = |class| self.comparison.tests.iter().filter(|test| test.class == class).count();
        let parts = [
            many(self.count(Verdict::Regressed), "metric is worse", "metrics are worse"),
            many(
                class(TestClass::NewFailure),
                "test fails that passed on base",
                "tests fail that passed on base",
            ),
            many(
                class(TestClass::WorseFlaky),
                "test fails more often than on base",
                "tests fail more often than on base",
            ),
            many(self.count(Verdict::Inconclusive), "metric is not known yet", "metrics are not known yet"),
            many(self.count(Verdict::Improved), "metric is better", "metrics are better"),
            many(
                class(TestClass::Fixed),
                "test passes that failed on base",
                "tests pass that failed on base",
            ),
            many(self.count(Verdict::Unchanged), "metric is unchanged", "metrics are unchanged"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.as_slice() {
            [] => "nothing was compared".to_owned(),
            parts => parts.join(", "),
        }
    }

    /// Functions whose time explains most of what a test's teardown gained: name
    /// and sentence, of the breakdown with the largest difference.
    pub(crate) fn culprit(&self) -> Option<String> {
        let gain = |it: &BreakdownChange| it.head_round_ns - it.base_round_ns;
        let breakdown = self.comparison.breakdowns.iter().max_by(|a, b| gain(a).total_cmp(&gain(b)))?;
        let first = breakdown.functions.first()?;
        let head = first.head?;
        let before = first.base.map_or(0.0, |share| share.ns);
        // Less than half as much again is noise of the tracer, no explanation.
        if self.count(Verdict::Regressed) == 0 || head.ns < 1.5 * before || first.certain_ns <= 0.0 {
            return None;
        }
        let time = |ns| quantity(Unit::Nanoseconds, ns);
        let waits = head.rcu_ns / head.ns * 100.0;
        let waits =
            if waits >= 50.0 { format!(", {waits:.0} % of it waiting for RCU") } else { String::new() };
        let name = text_safety::name(&first.function);
        let before = if first.base.is_some() { time(before) } else { "nothing".to_owned() };
        Some(format!("{name} takes {} for each namespace, {before} on base{waits}", time(head.ns)))
    }
}

/// The function that makes most of the difference that is certain, in a sentence;
/// none where nothing is certain of the first.
pub(crate) fn what_grew(change: &BreakdownChange) -> Option<String> {
    let first = change.functions.first()?;
    let rcu = |share: &Option<Share>| share.as_ref().map_or(0.0, |share| share.rcu_ns);
    let more = |function: &FunctionChange| function.certain_ns.max(0.0);
    let whole: f64 = change.functions.iter().map(more).sum();
    let (most, waiting) = (more(first), rcu(&first.head) - rcu(&first.base));
    if whole <= 0.0 {
        return Some("no function took longer in every boot of head than in every boot of base".to_owned());
    }
    if most <= 0.0 {
        return None;
    }
    let waits = if waiting > most / 2.0 { ", most of it waiting for RCU grace periods" } else { "" };
    let name = text_safety::name(&first.function);
    Some(format!("{:.0} % of what grew is {name}{waits}", most / whole * 100.0))
}

/// A verdict without its reason, in the order in which rows are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    Regressed,
    Inconclusive,
    Improved,
    Unchanged,
}

impl Verdict {
    /// In words.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Inconclusive => "inconclusive",
            Self::Improved => "improved",
            Self::Unchanged => "unchanged",
        }
    }

    /// A sign that says the same without a colour.
    pub(crate) fn sign(self) -> char {
        match self {
            Self::Regressed => '✗',
            Self::Inconclusive => '?',
            Self::Improved => '✓',
            Self::Unchanged => '=',
        }
    }
}

/// The verdict without its reason.
pub(crate) fn verdict(change: &Change) -> Verdict {
    match change {
        Change::Regressed => Verdict::Regressed,
        Change::Inconclusive(_) => Verdict::Inconclusive,
        Change::Improved => Verdict::Improved,
        Change::Unchanged => Verdict::Unchanged,
    }
}

/// Why a metric has no verdict; none of one that has.
pub(crate) fn why(change: &Change) -> Option<String> {
    let Change::Inconclusive(undecided) = change else { return None };
    Some(match undecided {
        Undecided::NeedsBoots(1) => "needs about 1 more boot a side".to_owned(),
        Undecided::NeedsBoots(boots) => format!("needs about {boots} more boots a side"),
        Undecided::TooFewBoots { base, head } => {
            format!("too few boots have a value: {base} of base, {head} of head")
        }
        Undecided::NoValue { reason } => text_safety::title(reason),
    })
}

/// In words, with its sign.
pub(crate) fn overall(overall: Overall) -> (char, &'static str) {
    match overall {
        Overall::Regressed => ('✗', "regressed"),
        Overall::Failed => ('!', "not measured"),
        Overall::Inconclusive => ('?', "inconclusive"),
        Overall::Improved => ('✓', "improved"),
        Overall::Unchanged => ('=', "unchanged"),
    }
}

/// In words, with its sign.
pub(crate) fn class(class: TestClass) -> (char, &'static str) {
    match class {
        TestClass::NewFailure => ('✗', "new failure"),
        TestClass::WorseFlaky => ('✗', "fails more often"),
        TestClass::Suspect => ('?', "suspect"),
        TestClass::NotComparable => ('?', "not comparable"),
        TestClass::Fixed => ('✓', "fixed"),
        TestClass::KnownOnBase => ('=', "known on base"),
        TestClass::Same => ('=', "same"),
    }
}

/// Where a class of tests stands among the others.
pub(crate) fn grade(class: TestClass) -> Verdict {
    match class {
        TestClass::NewFailure | TestClass::WorseFlaky => Verdict::Regressed,
        TestClass::Suspect | TestClass::NotComparable => Verdict::Inconclusive,
        TestClass::Fixed => Verdict::Improved,
        TestClass::KnownOnBase | TestClass::Same => Verdict::Unchanged,
    }
}

/// `3 failed, 9 passed`.
pub(crate) fn tries(tries: Tries) -> String {
    let parts = [
        (tries.failed, "failed"),
        (tries.errors, "with errors"),
        (tries.skipped, "skipped"),
        (tries.passed, "passed"),
    ];
    let shown: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if shown.is_empty() { "never ran".to_owned() } else { shown.join(", ") }
}

fn size(metric: &MetricChange) -> f64 {
    match &metric.estimate {
        Some(estimate) if estimate.change > -1.0 => estimate.change.ln_1p().abs(),
        // From nothing to something, or the other way: larger than any factor.
        _ => f64::INFINITY,
    }
}

/// What each side came to: the estimate's, or the median of its boots.
pub(crate) fn values(metric: &MetricChange) -> [Option<f64>; 2] {
    match &metric.estimate {
        Some(estimate) => [Some(estimate.base), Some(estimate.head)],
        None => [middle(&metric.base), middle(&metric.head)],
    }
}

/// The same with units.
pub(crate) fn value_texts(metric: &MetricChange) -> [String; 2] {
    values(metric).map(|value| value.map_or_else(|| "none".to_owned(), |it| quantity(metric.metric.unit, it)))
}

/// A value in the unit that people say.
pub(crate) fn quantity(unit: Unit, value: f64) -> String {
    Scale::of(unit, value).quantity(value)
}

/// Median of the boots.
pub(crate) fn middle(boots: &[BootValue]) -> Option<f64> {
    let mut medians: Vec<f64> = boots.iter().map(|boot| boot.median).collect();
    medians.sort_by(f64::total_cmp);
    let half = medians.len() / 2;
    match medians.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(medians[half]),
        _ => Some(f64::midpoint(medians[half - 1], medians[half])),
    }
}

/// `+3.2 %`, or `x16.0` where hundredths say nothing any more.
pub(crate) fn change_text(change: f64) -> String {
    if !change.is_finite() {
        return "?".to_owned();
    }
    if change >= 2.0 {
        return format!("x{}", figures(1.0 + change));
    }
    let percent = change * 100.0;
    let decimals = if percent.abs() < 10.0 { 1 } else { 0 };
    let text = format!("{percent:+.decimals$} %");
    // What rounds to nothing has no direction.
    if text.trim_matches(|c: char| !c.is_ascii_digit()).chars().all(|c| c == '0' || c == '.') {
        "0 %".to_owned()
    } else {
        text
    }
}

fn figures(factor: f64) -> String {
    match factor {
        f if f < 10.0 => format!("{f:.2}"),
        f if f < 100.0 => format!("{f:.1}"),
        f if f < 1e6 => format!("{f:.0}"),
        f => format!("{f:.1e}"),
    }
}

/// The difference: its size, or what there is to say in place of it.
pub(crate) fn effect(metric: &MetricChange) -> String {
    match (&metric.estimate, values(metric)) {
        (Some(estimate), _) => change_text(estimate.change),
        (None, [Some(base), Some(head)]) if base == head => "0 %".to_owned(),
        (None, [Some(_), Some(_)]) => "from 0".to_owned(),
        _ => "-".to_owned(),
    }
}

/// Where the difference lies: `x14.9 to x16.8`; none where it is exact or unknown.
pub(crate) fn interval(estimate: Option<&Estimate>) -> Option<String> {
    let estimate = estimate.filter(|it| it.low < it.high)?;
    Some(format!("{} to {}", change_text(estimate.low), change_text(estimate.high)))
}

/// How often chance alone would do as much: `below 1 in 1000`.
pub(crate) fn chance(p: f64) -> String {
    match p {
        p if !p.is_finite() => "not known".to_owned(),
        p if p < 1e-6 => "below 1 in a million".to_owned(),
        p if p < 1e-3 => "below 1 in 1000".to_owned(),
        p if p < 0.1 => format!("1 in {:.0}", 1.0 / p),
        p if p >= 0.95 => "nearly always".to_owned(),
        p => format!("{:.0} in 10", (p * 10.0).round().max(1.0)),
    }
}

/// How a metric was judged, `p` in words: what stands in the column `by chance`.
pub(crate) fn evidence(metric: &MetricChange) -> String {
    match (metric.rule, metric.p_holm.or(metric.p)) {
        (Rule::Exact, _) => "exact".to_owned(),
        (Rule::Noisy, Some(p)) => chance(p),
        (Rule::Noisy, None) => "not known".to_owned(),
    }
}

/// A smallest effect beyond this tells nobody anything.
pub(crate) const TELLING: f64 = 10.0;

/// The smallest effect that could have been seen, where it tells something.
pub(crate) fn detectable(metric: &MetricChange) -> Option<f64> {
    metric.detectable.filter(|least| *least < TELLING)
}

/// `12+12`: boots of base and head with a value.
pub(crate) fn boots(metric: &MetricChange) -> String {
    format!("{}+{}", metric.base.len(), metric.head.len())
}

/// How comparisons are judged, in sentences.
pub(crate) fn rules(comparison: &Comparison) -> Vec<String> {
    let rules = &comparison.rules;
    let mut told = vec!["The boot is the unit: each has one value, the median of its samples.".to_owned()];
    let looks: Vec<String> = rules.looks.iter().map(u32::to_string).collect();
    let thresholds: Vec<String> = rules.thresholds.iter().map(|p| format!("{p}")).collect();
    if !looks.is_empty() {
        told.push(format!(
            "Times and rates: Welch's test on the logarithms, with looks at {} boots a side (p below {}), divided \
             among {} gating metrics after Holm; differences under {} or under twice the noise do not count.",
            looks.join(", "),
            thresholds.join(", "),
            rules.gating,
            change_text(rules.floor).trim_start_matches('+')
        ));
    }
    told.push(format!(
        "Counts, and whatever is measured in virtual time: compared exactly; differences under {} do not count.",
        change_text(rules.exact_floor).trim_start_matches('+')
    ));
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testdata;

    #[test]
    fn a_small_change_is_told_in_hundredths_and_a_large_one_as_a_factor() {
        let texts = [0.0, 0.0001, -0.0003, 0.052, -0.31, 0.99, 2.0, 15.0, 1e9].map(change_text);
        assert_eq!(texts, ["0 %", "0 %", "0 %", "+5.2 %", "-31 %", "+99 %", "x3.00", "x16.0", "x1.0e9"]);
        assert_eq!(change_text(f64::NAN), "?");
    }

    #[test]
    fn p_is_told_as_how_often_chance_does_it() {
        let texts = [1e-9, 4e-4, 0.02, 0.31, 0.97, 1.0, f64::NAN].map(chance);
        let told = [
            "below 1 in a million",
            "below 1 in 1000",
            "1 in 50",
            "3 in 10",
            "nearly always",
            "nearly always",
            "not known",
        ];
        assert_eq!(texts, told);
    }

    #[test]
    fn what_regressed_stands_first_and_the_largest_of_it_at_the_top() {
        let data = testdata::regression();
        let compared = data.compared(&[]);
        let order: Vec<_> = compared.metrics().iter().map(|it| verdict(&it.change)).collect();
        let mut sorted = order.clone();
        sorted.sort();
        assert_eq!(order, sorted);
        assert_eq!(compared.metrics()[0].metric.name, "synchronize_rcu_slope", "from 0 to 1 has no factor");
    }

    #[test]
    fn the_headline_counts_and_the_culprit_is_named() {
        let data = testdata::regression();
        let compared = data.compared(&[]);
        assert!(compared.headline().starts_with("6 metrics are worse, 1 test fails that passed on base"));
        let culprit = compared.culprit().expect("a culprit");
        assert!(
            culprit.starts_with("xfrm_net_exit takes 15.") && culprit.ends_with("96 % of it waiting for RCU"),
            "{culprit}"
        );
    }

    #[test]
    fn nothing_is_blamed_where_nothing_regressed() {
        let data = testdata::unchanged();
        assert_eq!(data.compared(&[]).culprit(), None);
        let empty = testdata::empty();
        assert_eq!(empty.compared(&[]).headline(), "nothing was compared");
    }
}
