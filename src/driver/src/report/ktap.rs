//! `--format ktap`: KTAP version 1 (Documentation/dev-tools/ktap.rst), for the
//! parsers that kernel people have. Suites are nested in kernels, tests in
//! suites; numbers are diagnostic lines. Pure.
//!
//! | here | in KTAP |
//! |---|---|
//! | pass, flaky | `ok`; a flaky one says so in a diagnostic line |
//! | fail | `not ok`, `# TIMEOUT` where it is one |
//! | skip | `ok`, `# SKIP` |
//! | error | `not ok`, `# ERROR`: nothing is known of the kernel |
//! | a subtest | nested in its test; xfail `ok`, `# XFAIL`, todo `not ok`, `# TODO` |
//! | regressed, or a new failure | `not ok`; `# TODO` where it decides nothing |
//! | known on base | `not ok`, `# TODO` |
//! | inconclusive | `ok`, `# SKIP`: nothing is known |

use super::cases::{Case, cases, measures, verdict_text};
use super::compared::{self, Compared};
use super::{subtests, text_safety};
use crate::analysis::{MetricChange, TestChange, TestClass, Weight};
use crate::model::{FailureKind, SubtestVerdict, Verdict};
use crate::results::format::Run;
use crate::results::{Blame, Health, Standing, health};

/// Longest message in a diagnostic.
const LINES: usize = 10;

/// A test or a suite of them.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Node {
    name: String,
    outcome: Outcome,
    diagnostics: Vec<String>,
    children: Vec<Node>,
}

/// What stands in a line of KTAP.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Outcome {
    Ok,
    Skip(String),
    Xfail(String),
    NotOk,
    Timeout,
    Todo(String),
    Error(String),
}

impl Outcome {
    /// Whether the line begins with `ok`.
    fn is_ok(&self) -> bool {
        matches!(self, Self::Ok | Self::Skip(_) | Self::Xfail(_))
    }

    /// Whether whatever holds it is `ok` as far as it is concerned. What is
    /// known to fail fails nothing.
    fn is_harmless(&self) -> bool {
        self.is_ok() || matches!(self, Self::Todo(_))
    }

    fn directive(&self) -> String {
        let directive = match self {
            Self::Ok | Self::NotOk => String::new(),
            Self::Timeout => " # TIMEOUT".to_owned(),
            Self::Skip(why) => format!(" # SKIP {why}"),
            Self::Xfail(why) => format!(" # XFAIL {why}"),
            Self::Todo(why) => format!(" # TODO {why}"),
            Self::Error(why) => format!(" # ERROR {why}"),
        };
        directive.trim_end().to_owned()
    }
}

impl Node {
    fn leaf(name: impl AsRef<[u8]>, outcome: Outcome) -> Self {
        Self { name: word(name), outcome, diagnostics: Vec::new(), children: Vec::new() }
    }

    /// A suite: as good as the worst of what it holds.
    fn suite(name: impl AsRef<[u8]>, children: Vec<Self>) -> Self {
        let outcome = match children.as_slice() {
            [] => Outcome::Skip("no tests".to_owned()),
            all if all.iter().all(|it| matches!(it.outcome, Outcome::Skip(_))) => {
                Outcome::Skip("everything was skipped".to_owned())
            }
            all if all.iter().all(|it| it.outcome.is_harmless()) => Outcome::Ok,
            _ => Outcome::NotOk,
        };
        Self { name: word(name), outcome, diagnostics: Vec::new(), children }
    }

    fn say(&mut self, line: &str) {
        let text = text_safety::body(line);
        let lines = text.lines().filter(|line| !line.trim().is_empty()).take(LINES);
        self.diagnostics.extend(lines.map(str::to_owned));
    }
}

/// A name in which nothing can be taken for a directive.
fn word(text: impl AsRef<[u8]>) -> String {
    let name = text_safety::name(text).replace('#', "%23");
    if name.is_empty() { "unnamed".to_owned() } else { name }
}

/// The reason behind a directive.
fn reason(text: &str) -> String {
    text_safety::title(text)
}

fn write(nodes: &[Node], depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    out.push_str(&format!("{indent}KTAP version 1\n{indent}1..{}\n", nodes.len()));
    for (number, node) in (1..).zip(nodes) {
        if !node.children.is_empty() {
            let mut inner = String::new();
            write(&node.children, depth + 1, &mut inner);
            // The name of a subtest stands behind the version that opens it.
            let (version, rest) = inner.split_once('\n').unwrap_or((&inner, ""));
            out.push_str(&format!("{version}\n{indent}  # Subtest: {}\n{rest}", node.name));
        }
        for line in &node.diagnostics {
            out.push_str(&format!("{indent}# {line}\n"));
        }
        let ok = if node.outcome.is_ok() { "ok" } else { "not ok" };
        out.push_str(&format!("{indent}{ok} {number} {}{}\n", node.name, node.outcome.directive()));
    }
}

fn text(nodes: &[Node]) -> String {
    let mut out = String::new();
    write(nodes, 0, &mut out);
    out
}

/// Puts nodes under the suite that their name begins with.
fn by_suite(tests: Vec<(String, Node)>) -> Vec<Node> {
    let mut suites: Vec<(String, Vec<Node>)> = Vec::new();
    for (suite, node) in tests {
        match suites.iter_mut().find(|(name, _)| *name == suite) {
            Some((_, nodes)) => nodes.push(node),
            None => suites.push((suite, vec![node])),
        }
    }
    suites.into_iter().map(|(name, nodes)| Node::suite(name, nodes)).collect()
}

fn split(test: &str) -> (String, &str) {
    test.split_once('/').map_or_else(|| ("tests".to_owned(), test), |(suite, name)| (suite.to_owned(), name))
}

/// The report of a run: a suite for each kernel, with the suites of its tests
/// and its health.
#[must_use]
pub fn of_run(run: &Run) -> String {
    text(&nodes_of_run(run))
}

fn nodes_of_run(run: &Run) -> Vec<Node> {
    let cases = cases(run);
    let kernels = health(run);
    let nodes = kernels.iter().map(|kernel| {
        let tests = cases.iter().filter(|case| *case.kernel == kernel.kernel);
        let tests = tests.map(|case| (case.test.suite.clone(), case_node(run, case))).collect();
        let mut suites = by_suite(tests);
        suites.push(health_node(kernel));
        Node::suite(&kernel.kernel, suites)
    });
    nodes.collect()
}

fn case_node(run: &Run, case: &Case<'_>) -> Node {
    let worst = &case.worst().verdict;
    let (kind, message) = verdict_text(worst);
    let outcome = match (case.standing(), worst) {
        (Standing::Pass | Standing::Flaky, _) => Outcome::Ok,
        (Standing::Skip, _) => Outcome::Skip(reason(message)),
        (Standing::Error, _) => Outcome::Error(reason(message)),
        (Standing::Fail, Verdict::Fail(failure)) if failure.kind == FailureKind::Timeout => Outcome::Timeout,
        (Standing::Fail, _) => Outcome::NotOk,
    };
    let mut node = Node::leaf(&case.test.name, outcome);
    if case.standing() != Standing::Pass {
        let boots = case.boots().map(|boots| format!(", {boots}")).unwrap_or_default();
        node.say(&format!("{}: {kind}{boots}", case.standing().word()));
        node.say(message);
    }
    node.children = subtests::of_case(case).iter().map(subtest_node).collect();
    for measure in measures(run, case) {
        let [median, spread, over] = measure.texts();
        let name = text_safety::name(&measure.metric.name);
        node.say(&format!("{name} ({}): {median}, {spread} ({over})", measure.accel));
    }
    for finding in case.results.iter().flat_map(|result| &result.findings).take(LINES) {
        let allowed = if finding.allowed.is_some() { "allowed " } else { "" };
        node.say(&format!("{allowed}{}: {}", finding.kind.name(), text_safety::title(&finding.title)));
    }
    node
}

fn subtest_node(told: &subtests::Told<'_>) -> Node {
    let why = reason(&told.reason());
    let outcome = match told.subtest.verdict {
        SubtestVerdict::Pass => Outcome::Ok,
        SubtestVerdict::Fail => Outcome::NotOk,
        SubtestVerdict::Skip => Outcome::Skip(why.clone()),
        SubtestVerdict::Xfail => Outcome::Xfail(why.clone()),
        SubtestVerdict::Todo => Outcome::Todo(why.clone()),
        SubtestVerdict::Error => Outcome::Error(why.clone()),
    };
    let mut node = Node::leaf(told.name(), outcome);
    if told.subtest.verdict == SubtestVerdict::Fail {
        node.say(&why);
    }
    if told.is_wrong() {
        node.say(&told.subtest.diagnostics);
    }
    node
}

fn health_node(health: &Health) -> Node {
    let outcome = match health.blame() {
        None => Outcome::Ok,
        Some(Blame::Kernel) => Outcome::NotOk,
        Some(Blame::Harness) => {
            Outcome::Error(reason(health.problems.first().map_or("", |problem| problem.message.as_str())))
        }
    };
    let mut node = Node::leaf("kernel-health", outcome);
    for problem in health.problems.iter().take(LINES) {
        node.say(&format!("{}: {}", problem.kind, problem.message));
    }
    node
}

/// The report of a comparison: a suite for each suite, with its tests and the
/// metrics of each.
#[must_use]
pub fn of_comparison(compared: &Compared<'_>) -> String {
    text(&nodes_of_comparison(compared))
}

fn nodes_of_comparison(compared: &Compared<'_>) -> Vec<Node> {
    let comparison = compared.comparison;
    let tests = comparison.tests.iter().map(|test| {
        let (suite, name) = split(&test.test);
        (suite, test_node(name, test))
    });
    let metrics = comparison.metrics.iter().map(|metric| {
        let (suite, name) = split(&metric.test);
        (suite, metric_node(&format!("{name} {}", metric.metric.name), metric, &compared.accel()))
    });
    by_suite(tests.chain(metrics).collect())
}

fn test_node(name: &str, test: &TestChange) -> Node {
    let (_, word) = compared::class(test.class);
    let outcome = match test.class {
        TestClass::NewFailure | TestClass::WorseFlaky => Outcome::NotOk,
        TestClass::KnownOnBase => Outcome::Todo(word.to_owned()),
        TestClass::Suspect | TestClass::NotComparable => Outcome::Skip(word.to_owned()),
        TestClass::Same | TestClass::Fixed => Outcome::Ok,
    };
    let mut node = Node::leaf(name, outcome);
    if test.class != TestClass::Same {
        node.say(&format!(
            "{word}: base {}; head {}",
            compared::tries(test.base),
            compared::tries(test.head)
        ));
        node.say(test.message.as_deref().unwrap_or_default());
    }
    node
}

fn metric_node(name: &str, metric: &MetricChange, accel: &str) -> Node {
    let verdict = compared::verdict(&metric.change);
    let outcome = match (verdict, metric.weight) {
        (compared::Verdict::Regressed, Weight::Gates) => Outcome::NotOk,
        (compared::Verdict::Regressed, Weight::Informs) => {
            Outcome::Todo("regressed, shown only, decides nothing".to_owned())
        }
        (compared::Verdict::Inconclusive, _) => {
            Outcome::Skip(format!("inconclusive, {}", compared::why(&metric.change).unwrap_or_default()))
        }
        (compared::Verdict::Improved | compared::Verdict::Unchanged, _) => Outcome::Ok,
    };
    let mut node = Node::leaf(name, outcome);
    let [base, head] = compared::value_texts(metric);
    let interval = compared::interval(metric.estimate.as_ref());
    let interval = interval.map(|it| format!(" ({it})")).unwrap_or_default();
    node.say(&format!(
        "{} ({accel}): base {base}, head {head}, change {}{interval}, by chance {}, boots {}",
        verdict.word(),
        compared::effect(metric),
        compared::evidence(metric),
        compared::boots(metric)
    ));
    node
}

#[cfg(test)]
#[path = "ktap_tests.rs"]
mod tests;
