//! A comparison as JUnit: a case for each test of head, red where head is worse
//! than base and not where base is as bad.

use junit_report::{Duration, TestCase};

use super::stand::Stand;
use super::{Rest, Suite, class, suite};
use crate::analysis::{
    Change, Comparison, Estimate, HEALTH, MetricChange, TestChange, TestClass, Tries, Undecided, Weight,
};
use crate::report::text_safety;
use crate::results::format::Run;

/// Type of a failure for a number that got worse.
const REGRESSION: &str = "PerfRegression";

/// The suites of a comparison.
pub(super) fn suites(run: &Run, comparison: &Comparison) -> Vec<Suite> {
    let mut suites: Vec<Suite> = Vec::new();
    let head = &comparison.head.kernel;
    for test in &comparison.tests {
        let planned = run.plan.tests.iter().find(|planned| planned.id == test.test);
        let (of_suite, short) = match planned {
            Some(planned) => (planned.suite.as_str(), planned.name.as_str()),
            None => (HEALTH, HEALTH),
        };
        let name = text_safety::name(format!("{of_suite} on {head}"));
        let class = class(of_suite, head);
        let at = suites.iter().position(|suite| suite.xml.name == name);
        let at = at.unwrap_or_else(|| {
            let file = planned.and_then(|planned| planned.file.as_ref()).map(text_safety::name);
            let of = of_suite.to_owned();
            suites.push(Suite {
                of,
                xml: suite(run.plan.started_unix, &name, &class),
                file,
                cases: Vec::new(),
            });
            suites.len() - 1
        });
        let metrics: Vec<&MetricChange> =
            comparison.metrics.iter().filter(|metric| metric.test == test.test).collect();
        let file = planned.and_then(|planned| planned.file.as_deref());
        suites[at].xml.add_testcase(case(short, &class, file, test, &metrics));
        let line = planned.filter(|planned| planned.file.is_some()).map(|planned| planned.line);
        suites[at].cases.push(Rest { line, reruns: Vec::new() });
    }
    suites
}

fn case(
    name: &str,
    class: &str,
    file: Option<&str>,
    test: &TestChange,
    metrics: &[&MetricChange],
) -> TestCase {
    let name = text_safety::name(name);
    let stand = stand(test, metrics);
    let mut builder = stand.case(&name, Duration::ZERO);
    builder.set_classname(class);
    if let Some(file) = file {
        builder.set_filepath(&text_safety::name(file));
    }
    let output = output(test, metrics);
    if stand.is_red() {
        builder.set_trace(&text_safety::body(&output));
    }
    builder.set_system_out(&text_safety::output(output));
    builder.build()
}

fn stand(test: &TestChange, metrics: &[&MetricChange]) -> Stand {
    let message = test.message.clone().unwrap_or_default();
    let gates = || metrics.iter().filter(|metric| metric.weight == Weight::Gates);
    let regressed = gates().find(|metric| metric.change == Change::Regressed);
    let learned = |tries: Tries| tries.passed + tries.failed + tries.skipped > 0;
    match test.class {
        TestClass::NewFailure => return Stand::Failure("NewFailure", message),
        TestClass::WorseFlaky => return Stand::Failure("WorseFlaky", message),
        TestClass::NotComparable if !learned(test.base) || !learned(test.head) => {
            return Stand::Error("not-measured", message);
        }
        _ => {}
    }
    if let Some(metric) = regressed {
        return Stand::Failure(REGRESSION, line(metric));
    }
    let unknown = gates().find(|metric| {
        !matches!(metric.change, Change::Inconclusive(Undecided::NoValue { .. }))
            && matches!(metric.change, Change::Inconclusive(_))
    });
    match (test.class, unknown) {
        (TestClass::Suspect, _) => {
            let (failed, base) = (test.head.failed, test.base.failed);
            Stand::Skipped(
                "inconclusive",
                format!("failed {failed} times on head, {base} on base: {message}"),
            )
        }
        (TestClass::NotComparable, _) => Stand::Skipped("inconclusive", format!("not comparable: {message}")),
        (_, Some(metric)) => Stand::Skipped("inconclusive", format!("inconclusive: {}", line(metric))),
        (_, None) if test.head.passed + test.head.failed == 0 && test.head.skipped > 0 => {
            Stand::Skipped("inconclusive", message)
        }
        (_, None) => Stand::Good,
    }
}

/// A metric in one line: `drain_time: +12.3 % (+9.8 .. +15.1) against base, p = 0.00002, 6 boots`.
fn line(metric: &MetricChange) -> String {
    let name = &metric.metric.name;
    let size = metric.estimate.map_or_else(String::new, |estimate| format!(" {}", size(estimate)));
    let p = metric.p_holm.map(|p| format!(", p = {p:.2e}")).unwrap_or_default();
    let boots = metric.base.len().min(metric.head.len());
    let more = match metric.change {
        Change::Inconclusive(Undecided::NeedsBoots(more)) => format!(", about {more} more would tell"),
        _ => String::new(),
    };
    format!("{name}:{size} against base{p}, {boots} boots a side{more}")
}

fn size(estimate: Estimate) -> String {
    let percent = |share: f64| format!("{:+.1}", share * 100.0);
    let Estimate { change, low, high, .. } = estimate;
    if low == high {
        format!("{} %", percent(change))
    } else {
        format!("{} % ({} .. {})", percent(change), percent(low), percent(high))
    }
}

fn output(test: &TestChange, metrics: &[&MetricChange]) -> String {
    let side = |tries: Tries| {
        format!(
            "{} passed, {} failed, {} skipped, {} with errors",
            tries.passed, tries.failed, tries.skipped, tries.errors
        )
    };
    let mut text = format!("base: {}\nhead: {}\n", side(test.base), side(test.head));
    text.extend(test.message.iter().map(|message| format!("{message}\n")));
    for metric in metrics {
        let verdict = match metric.change {
            Change::Regressed => "regressed",
            Change::Improved => "improved",
            Change::Unchanged => "unchanged",
            Change::Inconclusive(_) => "inconclusive",
        };
        text.push_str(&format!("{verdict}: {}\n", line(metric)));
    }
    text
}
