//! From recorded runs to a [`Comparison`]. Pure: the same record gives the same
//! comparison, whenever and wherever it is read.
//!
//! A run of `compare` is judged look by look, as it was when the boots were
//! made: a verdict that fell at six boots stays although other metrics of the
//! test needed twelve.

use super::breakdown;
use super::classes::{self, Classed};
use super::comparison::{
    Change, Comparison, Overall, Rules, TestChange, TestClass, Tries, Undecided, Weight,
};
use super::family::Family;
use super::gate::{EXACT_FLOOR, FLOOR, Gate, LOOKS, Look};
use super::refuse::{self, Refused, What};
use super::side::Measured;
use super::subject::{Boot, Judgement, Subject};
use super::weight::{PROFILE, weight, weight_of_samples};
use crate::model::{self, Accel, Verdict, first_line};
use crate::results::format::{ComparisonPlan, Metric, Noise, Run, Test, TestResult};
use crate::results::to_test;

/// Boots of a side that the profile of a teardown gets where the clock is the host's. With
/// one, the scatter of what nobody touched hid fifty microseconds that somebody
/// slept; three tell them apart.
const PROFILES: u32 = 3;

/// Boots a side before the first look: enough for tests that pass and have no
/// numbers that vary.
const SCOUTS: u32 = 2;

/// What stored runs are compared by.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Smallest relative effect of noisy metrics that counts.
    pub floor: f64,
    /// What may differ beside the kernel.
    pub allowed: Vec<What>,
    /// Noise of the host, where it is known.
    pub noise: Vec<Noise>,
}

impl Default for Terms {
    fn default() -> Self {
        Self { floor: FLOOR, allowed: Vec::new(), noise: Vec::new() }
    }
}

/// More boots that a comparison needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Full names of the tests, in the order of the plan.
    pub tests: Vec<String>,
    /// The first turn that is missing of each.
    pub from: u32,
    /// The last one.
    pub until: u32,
    /// Why, in one line.
    pub why: String,
}

/// The comparison that a run was made for; none of one that compares nothing.
/// Of a run that goes on or was killed it is what is known so far.
#[must_use]
pub fn of_run(run: &Run) -> Option<Comparison> {
    let plan = run.plan.comparison.as_ref()?;
    Some(Table::of_run(run, plan).comparison())
}

/// What a run of a comparison needs next; none where it has all that it can get.
/// Everything that was asked for before must have its verdicts.
#[must_use]
pub fn next(run: &Run) -> Option<Request> {
    let plan = run.plan.comparison.as_ref()?;
    let table = Table::of_run(run, plan);
    table.more(plan).or_else(|| table.profile(plan))
}

/// Compares what two runs measured.
///
/// # Errors
///
/// Fails when the sides differ in more than their kernels, and that was not allowed.
pub fn of_runs(base: Measured<'_>, head: Measured<'_>, terms: &Terms) -> Result<Comparison, Refused> {
    let differences = refuse::differences(&refuse::of_measured(base), &refuse::of_measured(head));
    let reservations = refuse::check(&differences, &terms.allowed)?;
    let boots = |it: Measured<'_>| it.run.plan.tests.iter().map(|test| it.run.asked(&test.id)).max();
    let boots = boots(base).unwrap_or(0).min(boots(head).unwrap_or(0));
    // Numbers that are all there are looked at once, by the threshold that they
    // would have had at the last look that they reach.
    let look = LOOKS.iter().rev().find(|look| look.boots <= boots).copied().unwrap_or(LOOKS[0]);
    let gate = Gate { looks: vec![look], floor: terms.floor, exact_floor: EXACT_FLOOR };
    Ok(Table::new(base, head, gate, &[u32::MAX], &terms.noise, reservations).comparison())
}

/// Boots of a side at each look where there may be no more than `most`.
#[must_use]
pub fn looks(accel: Accel, most: Option<u32>) -> Vec<u32> {
    if accel == Accel::Icount {
        return vec![1];
    }
    let mut looks: Vec<u32> = LOOKS.iter().map(|look| look.boots).collect();
    if let Some(most) = most {
        let above = looks.iter().any(|look| *look > most);
        looks.retain(|look| *look <= most);
        if above && looks.last() != Some(&most) {
            looks.push(most);
        }
    }
    looks
}

fn gate(plan: &ComparisonPlan) -> Gate {
    let looks = plan.looks.iter().zip(LOOKS).map(|(boots, look)| Look { boots: *boots, ..look });
    Gate { looks: looks.collect(), floor: plan.floor, exact_floor: plan.exact_floor }
}

/// Turns at which it is decided who needs more of them.
fn stages(plan: &ComparisonPlan) -> Vec<u32> {
    let first = plan.looks.first().copied().unwrap_or(1).min(SCOUTS);
    let mut stages = vec![first];
    stages.extend(plan.looks.iter().filter(|look| **look > first));
    stages
}

/// A metric of a test that both sides have.
struct Row<'a> {
    test: &'a Test,
    metric: &'a Metric,
    weight: Weight,
    noise: Option<f64>,
    base: Vec<Boot>,
    head: Vec<Boot>,
}

impl Row<'_> {
    /// Samples of the boot that has fewest.
    fn fewest_samples(&self) -> Option<u32> {
        self.base.iter().chain(&self.head).map(|boot| boot.value.samples).min()
    }

    fn subject(&self, accel: Accel) -> Subject<'_> {
        Subject {
            kind: self.metric.kind,
            better: self.metric.better,
            weight: weight_of_samples(self.weight, accel, self.metric.kind, self.fewest_samples()),
            accel,
            noise: self.noise,
            base: &self.base,
            head: &self.head,
        }
    }
}

/// Everything that is judged.
struct Table<'a> {
    base: Measured<'a>,
    head: Measured<'a>,
    rules: Rules,
    rows: Vec<Row<'a>>,
    accel: Accel,
    judgements: Vec<Judgement>,
    tests: Vec<Classed>,
    health: Option<Classed>,
    reservations: Vec<String>,
    /// Sentences about what the sides do not have alike.
    apart: Vec<String>,
}

impl<'a> Table<'a> {
    fn of_run(run: &'a Run, plan: &'a ComparisonPlan) -> Self {
        let side = |kernel| Measured { run, kernel };
        let (base, head) = (side(plan.base.as_str()), side(plan.head.as_str()));
        let differences = refuse::differences(&refuse::of_measured(base), &refuse::of_measured(head));
        // What was not allowed was refused before the first boot.
        let reservations = differences.iter().map(ToString::to_string).collect();
        let asked = run.plan.tests.iter().map(|test| run.asked(&test.id)).max().unwrap_or(0);
        let stages: Vec<u32> = stages(plan).into_iter().filter(|stage| *stage <= asked).collect();
        Self::new(base, head, gate(plan), &stages, &plan.noise, reservations)
    }

    fn new(
        base: Measured<'a>,
        head: Measured<'a>,
        gate: Gate,
        stages: &[u32],
        noise: &[Noise],
        reservations: Vec<String>,
    ) -> Self {
        let detectors = |side: Measured<'_>| side.facts().is_some_and(|kernel| !kernel.detectors.is_empty());
        let instrumented = detectors(base) || detectors(head);
        let mut apart = Vec::new();
        let mut rows = Vec::new();
        let mut tests = Vec::new();
        for test in &base.run.plan.tests {
            let there = match head.test(&test.id) {
                Some(there) if same_test(test, there) => there,
                Some(_) => {
                    apart.push(format!(
                        "`{}` is another test on head: its workload or parameters differ.",
                        test.id
                    ));
                    continue;
                }
                None => {
                    apart.push(format!("`{}` was not run on head.", test.id));
                    continue;
                }
            };
            if base.run.asked(&test.id) == 0 && head.run.asked(&test.id) == 0 {
                continue;
            }
            tests.push(classes::of_test(test, base, head));
            if is_profile(base.run, test) {
                // For its breakdown: its times are no numbers to judge.
                continue;
            }
            for metric in &test.metrics {
                if !there.metrics.contains(metric) {
                    apart.push(format!(
                        "`{}` of `{}` is another metric on head, or none.",
                        metric.name, test.id
                    ));
                    continue;
                }
                let known = noise.iter().find(|it| it.test == test.id && it.metric == metric.name);
                rows.push(Row {
                    test,
                    metric,
                    weight: if instrumented { Weight::Informs } else { weight(test, metric) },
                    noise: known.map(|it| it.relative_sd),
                    base: Vec::new(),
                    head: Vec::new(),
                });
            }
        }
        for test in head.run.plan.tests.iter().filter(|test| base.test(&test.id).is_none()) {
            apart.push(format!("`{}` was not run on base.", test.id));
        }
        let accel = base.accel().or(head.accel()).unwrap_or(Accel::Tcg);
        let mut family = Family::new(gate);
        let mut judgements = Vec::new();
        for stage in stages {
            for row in &mut rows {
                row.base = base.values(&base.results(&row.test.id), &row.metric.name, *stage);
                row.head = head.values(&head.results(&row.test.id), &row.metric.name, *stage);
            }
            let subjects: Vec<Subject<'_>> = rows.iter().map(|row| row.subject(accel)).collect();
            judgements = family.look(&subjects);
        }
        let subjects: Vec<Subject<'_>> = rows.iter().map(|row| row.subject(accel)).collect();
        let rules = family.gate().rules(family.gating(&subjects));
        let health = classes::of_health(base, head);
        // Before the first stage nothing was judged.
        if judgements.len() < rows.len() {
            rows.clear();
        }
        Self { base, head, rules, rows, accel, judgements, tests, health, reservations, apart }
    }

    fn comparison(self) -> Comparison {
        let breakdowns = if self.teardown_is_unchanged() { Vec::new() } else { self.breakdowns() };
        let not_measured = self.not_measured(!breakdowns.is_empty());
        let Self { base, head, rules, rows, accel, judgements, tests, health, reservations, .. } = self;
        let row = |(row, judgement): (Row<'_>, Judgement)| {
            let (test, metric) = (row.test.id.clone(), row.metric.clone());
            judgement.into_change(test, metric, &row.subject(accel))
        };
        let tests = tests.into_iter().chain(health).map(|it| it.change).collect();
        Comparison {
            base: base.side(),
            head: head.side(),
            rules,
            metrics: rows.into_iter().zip(judgements).map(row).collect(),
            tests,
            breakdowns,
            reservations,
            not_measured,
        }
    }

    fn breakdowns(&self) -> Vec<super::BreakdownChange> {
        let change = |test: &Test| {
            breakdown::change(&test.id, &self.base.results(&test.id), &self.head.results(&test.id))
        };
        self.base.run.plan.tests.iter().filter_map(change).collect()
    }

    /// Whether a side never came up, so that more boots would say nothing.
    fn is_one_sided(&self) -> bool {
        self.base.never_up().is_some() || self.head.never_up().is_some()
    }

    /// More boots of the tests that have no verdict yet.
    fn more(&self, plan: &ComparisonPlan) -> Option<Request> {
        let run = self.base.run;
        let stages = stages(plan);
        let planned = || run.plan.tests.iter().filter(|test| !is_profile(run, test));
        let done = planned().map(|test| run.asked(&test.id)).max().unwrap_or(0);
        if done == 0 {
            let tests: Vec<String> = planned().map(|test| test.id.clone()).collect();
            let until = *stages.first()?;
            let why = format!("{} a side to begin with", boots(until));
            return Some(Request { tests, from: 1, until, why }).filter(|it| !it.tests.is_empty());
        }
        if self.is_one_sided() {
            return None;
        }
        let until = *stages.iter().find(|stage| **stage > done)?;
        let undecided = |test: &str| {
            let rows = self.rows.iter().zip(&self.judgements);
            rows.filter(|(row, judgement)| {
                row.test.id == test && row.weight == Weight::Gates && judgement.is_open()
            })
            .count()
        };
        let repeats = until <= classes::REPEATS.max(plan.looks.first().copied().unwrap_or(0));
        let unsure = |test: &str| repeats && self.tests.iter().any(|it| it.change.test == test && it.open);
        // What a kernel log held outside of tests may belong to any of them.
        let unwell = repeats && self.health.as_ref().is_some_and(|it| it.open);
        let (mut metrics, mut verdicts, mut tests) = (0, 0, Vec::new());
        // Who left it at fewer boots has all of its verdicts.
        for test in planned().filter(|test| run.asked(&test.id) == done) {
            let (here, open) = (undecided(&test.id), unsure(&test.id));
            metrics += here;
            verdicts += usize::from(open);
            if here > 0 || open || unwell {
                tests.push(test.id.clone());
            }
        }
        if tests.is_empty() {
            return None;
        }
        let mut parts = Vec::new();
        if metrics > 0 {
            parts.push(format!("{} undecided", counted(metrics, "metric")));
        }
        if verdicts > 0 {
            parts.push(format!("{} not certain to fail or pass", counted(verdicts, "test")));
        }
        if unwell {
            parts.push("the health of the kernels is not certain".to_owned());
        }
        let look = plan.looks.iter().position(|look| *look == done);
        let look = look.map(|at| format!("look {} of {}: ", at + 1, plan.looks.len())).unwrap_or_default();
        let why = format!("{look}{} a side: {}", boots(done), parts.join(", "));
        Some(Request { tests, from: done + 1, until, why })
    }

    /// The profile where a teardown changed and nothing says where its time went.
    fn profile(&self, plan: &ComparisonPlan) -> Option<Request> {
        let profile = plan.profile.as_ref()?;
        let run = self.base.run;
        let asked = run.asked(profile) > 0;
        if asked || self.is_one_sided() || !self.teardown_changed() || !self.breakdowns().is_empty() {
            return None;
        }
        let why = format!("a teardown changed: {profile} finds out where its time went");
        let most = plan.looks.last().copied().unwrap_or(1);
        let until = if self.accel == Accel::Icount { 1 } else { PROFILES.min(most) };
        Some(Request { tests: vec![profile.clone()], from: 1, until, why })
    }

    /// Whether the end of namespaces was timed and is the same on both sides. What
    /// two traced rounds differ in is noise then, and no difference to explain.
    fn teardown_is_unchanged(&self) -> bool {
        let mut judged = self.rows.iter().zip(&self.judgements).filter_map(|(row, judgement)| {
            (row.weight == Weight::Gates && is_teardown(row.test)).then_some(&judgement.change)
        });
        let timed = judged.clone().next().is_some();
        timed && judged.all(|change| *change == Change::Unchanged) && !self.teardown_changed()
    }

    /// Whether a test that times the end of namespaces changed.
    fn teardown_changed(&self) -> bool {
        let changed = |(row, judgement): (&Row<'_>, &Judgement)| {
            row.weight == Weight::Gates
                && is_teardown(row.test)
                && matches!(judgement.change, Change::Regressed | Change::Improved)
        };
        let broke = |test: &Classed| {
            let class = test.change.class;
            let planned = self.base.test(&test.change.test);
            matches!(class, TestClass::NewFailure | TestClass::Fixed | TestClass::WorseFlaky)
                && planned.is_some_and(is_teardown)
        };
        self.rows.iter().zip(&self.judgements).any(changed) || self.tests.iter().any(broke)
    }

    /// Whole sentences about what these numbers do not say.
    fn not_measured(&self, has_breakdown: bool) -> Vec<String> {
        let mut sentences = Vec::new();
        for (side, measured) in [("base", self.base), ("head", self.head)] {
            if let Some((_, reason)) = measured.never_up() {
                sentences.push(format!("Nothing was measured on {side}, `{}`: {reason}.", measured.kernel));
            }
        }
        let detectors =
            |side: Measured<'_>| side.facts().map(|it| it.detectors.join(", ")).unwrap_or_default();
        for (side, measured) in [("base", self.base), ("head", self.head)] {
            let names = detectors(measured);
            if !names.is_empty() {
                sentences.push(format!(
                    "No number can decide: {side} has {names} built in, and times beside detectors say little."
                ));
            }
        }
        for test in &self.tests {
            sentences.extend(self.skipped(&test.change));
        }
        for (row, judgement) in self.rows.iter().zip(&self.judgements) {
            let silent = row.base.is_empty() && row.head.is_empty();
            let passed = |tries: Tries| tries.passed > 0;
            let test = self.tests.iter().find(|it| it.change.test == row.test.id);
            let ran = test.is_some_and(|it| passed(it.change.base) && passed(it.change.head));
            let one = matches!(judgement.change, Change::Inconclusive(Undecided::NoValue { .. }));
            if ran && one {
                let which = match (silent, row.base.is_empty()) {
                    (true, _) => "either kernel",
                    (false, true) => "base",
                    (false, false) => "head",
                };
                sentences.push(format!("`{}` gave no `{}` on {which}.", row.test.id, row.metric.name));
            }
        }
        if !has_breakdown && self.teardown_changed() {
            sentences.push("Where the time of teardown went was not measured on both sides.".to_owned());
        }
        match self.accel {
            Accel::Tcg if !self.rows.is_empty() => sentences.push(
                "No time is that of hardware: under tcg every instruction is emulated, so that only \
                 proportions say something."
                    .to_owned(),
            ),
            Accel::Icount if !self.rows.is_empty() => sentences.push(
                "No time is that of hardware: under icount the clock counts instructions, and caches \
                 and memory cost nothing."
                    .to_owned(),
            ),
            _ => {}
        }
        sentences.extend(self.apart.iter().cloned());
        sentences
    }

    fn skipped(&self, change: &TestChange) -> Option<String> {
        let skipped = |tries: Tries| tries.passed + tries.failed == 0 && tries.skipped > 0;
        let which = match (skipped(change.base), skipped(change.head)) {
            (false, false) => return None,
            (true, true) => "both kernels",
            (true, false) => "base",
            (false, true) => "head",
        };
        let side = if skipped(change.base) { self.base } else { self.head };
        let reason = |result: &&TestResult| match &result.verdict {
            Verdict::Skip { reason } => Some(first_line(reason)),
            _ => None,
        };
        let reason = side.results(&change.test).iter().find_map(reason).unwrap_or_default();
        Some(format!("`{}` was skipped on {which}: {reason}.", change.test))
    }
}

/// Whether a test was only run to find out where the time of a teardown went.
fn is_profile(run: &Run, test: &Test) -> bool {
    run.plan.comparison.as_ref().is_some_and(|plan| plan.profile.as_ref() == Some(&test.id))
}

/// Whether two plans mean the same by a name.
fn same_test(base: &Test, head: &Test) -> bool {
    base.workload == head.workload && base.params == head.params
}

/// Metrics of tests that time how namespaces end.
const ENDS: [&str; 3] = ["drain_time", "slope", "synchronize_rcu_slope"];

/// Whether a test times how namespaces end, so that a change of it may be
/// explained by what `cleanup_net` does.
#[must_use]
pub fn times_teardown(test: &model::Test) -> bool {
    is_cleanup(&test.workload) && test.metrics.iter().any(|metric| ENDS.contains(&metric.name))
}

/// Whether a test measures something that can turn a comparison red.
#[must_use]
pub fn decides(test: &model::Test) -> bool {
    let test = to_test(test, None);
    test.metrics.iter().any(|metric| weight(&test, metric) == Weight::Gates)
}

fn is_teardown(test: &Test) -> bool {
    is_cleanup(&test.workload) && test.metrics.iter().any(|metric| ENDS.contains(&metric.name.as_str()))
}

fn is_cleanup(workload: &str) -> bool {
    workload.starts_with("netns/") && workload != PROFILE
}

fn boots(count: u32) -> String {
    counted(count as usize, "boot")
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

impl Comparison {
    /// What it comes to.
    #[must_use]
    pub fn overall(&self) -> Overall {
        let gates = || self.metrics.iter().filter(|metric| metric.weight == Weight::Gates);
        let any = |change: &Change| gates().any(|metric| metric.change == *change);
        let class = |class: TestClass| self.tests.iter().any(|test| test.class == class);
        if any(&Change::Regressed) || class(TestClass::NewFailure) || class(TestClass::WorseFlaky) {
            return Overall::Regressed;
        }
        let learned = |tries: Tries| tries.passed + tries.failed + tries.skipped > 0;
        let broken = |tries: Tries| !learned(tries) && tries.errors > 0;
        let unmeasured = self.tests.iter().any(|test| broken(test.base) || broken(test.head));
        if unmeasured || self.base.boots == 0 || self.head.boots == 0 {
            return Overall::Failed;
        }
        let unknown = gates().any(|metric| match &metric.change {
            // What neither kernel can tell is told among the things that were not measured.
            Change::Inconclusive(Undecided::NoValue { .. }) => {
                metric.base.is_empty() != metric.head.is_empty() && self.should_have_value(&metric.test)
            }
            Change::Inconclusive(_) => true,
            Change::Improved | Change::Regressed | Change::Unchanged => false,
        });
        let ran = self.tests.iter().any(|test| test.base.passed + test.base.failed > 0);
        if unknown || !ran || class(TestClass::Suspect) || class(TestClass::NotComparable) {
            return Overall::Inconclusive;
        }
        if any(&Change::Improved) || class(TestClass::Fixed) { Overall::Improved } else { Overall::Unchanged }
    }

    /// Whether a metric without a value is missed: its test passed on both sides.
    fn should_have_value(&self, test: &str) -> bool {
        self.tests.iter().any(|it| it.test == test && it.base.passed > 0 && it.head.passed > 0)
    }
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
