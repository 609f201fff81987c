//! JUnit XML, as CI systems read it. The only room that names junit-report.
//!
//! One level of suites, for some readers see no other: a suite per suite and
//! kernel, and one per kernel for its health. Names hold no time, hash or boot
//! number, so that they mean the same test in every run. Several boots are one
//! test case. `results/README.md` says how they add up.
//!
//! junit-report knows neither `skipped` on a suite nor `line` on a test case,
//! and nothing at all on the root. publish-unit-test-result counts a skipped
//! test as passed without the first and places annotations by the second, so
//! `annotate` adds them to the finished tree. Metrics are in `run.json`; no
//! reader of JUnit looks at properties.

use std::io::Write;

use junit_report::{Duration, OffsetDateTime, Report, TestCase, TestCaseBuilder, TestSuite};
use quick_xml::Writer;
use quick_xml::events::{BytesStart, Event};

use super::cases::{Case, Over, cases, measures, verdict_text};
use super::{allowed, repeat, text_safety};
use crate::model::Verdict;
use crate::results::format::{Run, TestResult};
use crate::results::{self, Blame, Counts, Health, JUNIT_FILE, ResultsError, health};

/// Name of the whole, and first part of every class name.
const ROOT: &str = "kregress";

/// Name of the suite and the test case that tell of a kernel's health.
const HEALTH: &str = "kernel-health";

/// Boots of one test that are told of in full.
const BOOTS_TOLD: usize = 5;

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the JUnit report: {0}")]
pub struct JunitError(String);

/// Writes the report of a run.
///
/// # Errors
///
/// Fails when `out` does.
pub fn write(run: &Run, out: impl Write) -> Result<(), JunitError> {
    let suites = suites(run);
    let mut report = Report::new();
    report.add_testsuites(suites.iter().map(|suite| suite.xml.clone()));
    let mut xml = Vec::new();
    report.write_xml(&mut xml).map_err(|error| JunitError(error.to_string()))?;
    annotate(&xml, &suites, out)
}

/// Writes `junit.xml` into the run's directory.
///
/// # Errors
///
/// Fails when the disk does.
pub fn save(run: &Run) -> Result<std::path::PathBuf, ResultsError> {
    let path = run.plan.directory.join(JUNIT_FILE);
    results::replace(&path, |file| write(run, file).map_err(std::io::Error::other))?;
    Ok(path)
}

/// A suite, and what junit-report cannot hold of it.
struct Suite {
    xml: TestSuite,
    file: Option<String>,
    /// Of each test case.
    lines: Vec<Option<u64>>,
}

fn suites(run: &Run) -> Vec<Suite> {
    let mut suites: Vec<Suite> = Vec::new();
    for case in cases(run) {
        let name = text_safety::name(format!("{} on {}", case.test.suite, case.kernel));
        let class = class(&case.test.suite, case.kernel);
        let at = suites.iter().position(|suite| suite.xml.name == name);
        let at = at.unwrap_or_else(|| {
            let file = case.test.file.as_ref().map(text_safety::name);
            suites.push(Suite { xml: suite(run, &name, &class), file, lines: Vec::new() });
            suites.len() - 1
        });
        suites[at].xml.add_testcase(test_case(run, &case, &class));
        suites[at].lines.push(case.test.file.as_ref().map(|_| case.test.line));
    }
    for health in health(run) {
        let class = class(HEALTH, &health.kernel);
        let mut xml = suite(run, &text_safety::name(format!("{HEALTH} on {}", health.kernel)), &class);
        xml.add_testcase(health_case(run, &health, &class));
        suites.push(Suite { xml, file: None, lines: vec![None] });
    }
    suites
}

fn class(suite: &str, kernel: &str) -> String {
    text_safety::name(format!("{ROOT}.{suite}.{kernel}"))
}

fn suite(run: &Run, name: &str, class: &str) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.package = class.to_owned();
    // RFC 3339 has no years beyond 9999, and junit-report asks for no other.
    let started = OffsetDateTime::from_unix_timestamp(run.plan.started_unix).ok();
    suite.timestamp =
        started.filter(|time| (0..=9999).contains(&time.year())).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    suite
}

fn test_case(run: &Run, case: &Case<'_>, class: &str) -> TestCase {
    let name = text_safety::name(&case.test.name);
    let nanoseconds = case.results.iter().fold(0_u64, |sum, result| sum.saturating_add(result.elapsed_ns));
    let time = rounded(nanoseconds);
    let (kind, text) = verdict_text(&case.worst().verdict);
    let title = match (text_safety::title(text), case.boots()) {
        (title, None) => title,
        (title, Some(boots)) => text_safety::title(format!("{boots}: {title}")),
    };
    let mut builder = match &case.worst().verdict {
        Verdict::Pass { .. } => TestCaseBuilder::success(&name, time),
        Verdict::Fail(_) => TestCaseBuilder::failure(&name, time, kind, &title),
        Verdict::Error(_) => TestCaseBuilder::error(&name, time, kind, &title),
        Verdict::Skip { .. } => TestCaseBuilder::skipped_with_cause(&name, kind, &title),
    };
    builder.testcase.time = time;
    builder.set_classname(class);
    if let Some(file) = &case.test.file {
        builder.set_filepath(&text_safety::name(file));
    }
    if matches!(case.worst().verdict, Verdict::Fail(_) | Verdict::Error(_)) {
        builder.set_trace(&text_safety::body(told(run, case)));
    }
    let output = output(run, case);
    if !output.is_empty() {
        builder.set_system_out(&text_safety::output(output));
    }
    builder.build()
}

/// Seconds with three decimals at most.
fn rounded(nanoseconds: u64) -> Duration {
    Duration::milliseconds(i64::try_from(nanoseconds / 1_000_000).unwrap_or(i64::MAX))
}

/// What went wrong in each boot, with the way to see more and to see it again.
fn told(run: &Run, case: &Case<'_>) -> String {
    let mut text = String::new();
    for result in case.like_worst().take(BOOTS_TOLD) {
        let (kind, message) = verdict_text(&result.verdict);
        text.push_str(&format!("{}: {kind}\n{}\n", place(run, result), message.trim_end()));
        for finding in result.findings.iter().filter(|finding| finding.allowed.is_none()) {
            // The message often is the title of the first finding.
            if !message.starts_with(&finding.title) {
                text.push_str(&format!("{}: {}\n", finding.kind.name(), finding.title));
            }
            text.extend(finding.trace().iter().map(|function| format!("    {function}\n")));
        }
        if let Some(boot) = result.boot.and_then(|id| run.boot(id)) {
            text.push_str(&format!("log: {}/{}\n", boot.launch.directory, results::CONSOLE_LOG));
        }
        text.push('\n');
    }
    let left = case.like_worst().count().saturating_sub(BOOTS_TOLD);
    if left > 0 {
        text.push_str(&format!("and {left} more boots\n\n"));
    }
    text + &format!("repeat: {}\n", repeat::line(run, case.worst()))
}

/// `boot 2 (tcg)`, or that there was none.
fn place(run: &Run, result: &TestResult) -> String {
    match (result.boot, result.boot.and_then(|id| run.boot(id))) {
        (Some(id), Some(boot)) => format!("boot {id} ({})", boot.launch.accel),
        (Some(id), None) => format!("boot {id}"),
        (None, _) => "no boot".to_owned(),
    }
}

/// Metrics, what was allowed, and the logs of the boots that went wrong.
fn output(run: &Run, case: &Case<'_>) -> String {
    let mut text = String::new();
    for measure in measures(run, case) {
        let [median, spread, over] = measure.texts();
        let spread = if spread.is_empty() { spread } else { format!(", {spread}") };
        let which = if matches!(measure.over, Over::Boots(_)) { "median of boot medians" } else { "median" };
        text.push_str(&format!(
            "{}: {which} {median}{spread}, {over}, {}\n",
            measure.metric.name, measure.accel
        ));
    }
    text.extend(case.results.iter().map(|result| allowed::lines(&result.findings)));
    if matches!(case.worst().verdict, Verdict::Pass { .. }) {
        return text;
    }
    for result in case.like_worst().filter(|result| !result.log.is_empty()) {
        text.push_str(&format!("--- {}\n{}\n", place(run, result), result.log.trim_end()));
    }
    text
}

fn health_case(run: &Run, health: &Health, class: &str) -> TestCase {
    let time = Duration::ZERO;
    let worst = health.problems.iter().find(|problem| Some(problem.blame) == health.blame());
    let mut builder = match worst {
        None => TestCaseBuilder::success(HEALTH, time),
        Some(problem) => {
            let more = health.problems.len() - 1;
            let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
            let title = text_safety::title(&problem.message);
            let title = text_safety::title(format!("{title}{more}"));
            match problem.blame {
                Blame::Kernel => TestCaseBuilder::failure(HEALTH, time, problem.kind, &title),
                Blame::Harness => TestCaseBuilder::error(HEALTH, time, problem.kind, &title),
            }
        }
    };
    builder.set_classname(class);
    if !health.problems.is_empty() {
        let mut text = String::new();
        for problem in &health.problems {
            text.push_str(&format!("{}: {}\n", problem.kind, problem.message.trim_end()));
            text.extend(problem.stack.iter().map(|function| format!("    {function}\n")));
            if let Some(boot) = problem.boot.and_then(|id| run.boot(id)) {
                text.push_str(&format!("log: {}/{}\n", boot.launch.directory, results::CONSOLE_LOG));
            }
            text.push('\n');
        }
        builder.set_trace(&text_safety::body(text));
    }
    let boots = run.boots.iter().filter(|boot| boot.launch.kernel == health.kernel);
    let output: String = boots.map(|boot| allowed::lines(&boot.findings)).collect();
    if !output.is_empty() {
        builder.set_system_out(&text_safety::output(output));
    }
    builder.build()
}

/// Adds the attributes that junit-report does not know, one element per line.
fn annotate(xml: &[u8], suites: &[Suite], out: impl Write) -> Result<(), JunitError> {
    let failed = |error: &dyn std::fmt::Display| JunitError(error.to_string());
    let mut reader = quick_xml::Reader::from_reader(xml);
    let mut writer = Writer::new_with_indent(out, b' ', 1);
    let mut suite = suites.iter();
    let mut lines = [].iter();
    loop {
        let mut annotated = |mut tag: BytesStart<'static>| {
            match tag.name().as_ref() {
                b"testsuites" => annotate_root(&mut tag, suites),
                b"testsuite" => {
                    if let Some(suite) = suite.next() {
                        tag.push_attribute(("skipped", suite.xml.skipped().to_string().as_str()));
                        if let Some(file) = &suite.file {
                            tag.push_attribute(("file", file.as_str()));
                        }
                        lines = suite.lines.iter();
                    }
                }
                b"testcase" => {
                    if let Some(Some(line)) = lines.next() {
                        tag.push_attribute(("line", line.to_string().as_str()));
                    }
                }
                _ => {}
            }
            tag
        };
        let event = match reader.read_event().map_err(|error| failed(&error))? {
            Event::Eof => break,
            Event::Start(tag) => Event::Start(annotated(tag.into_owned())),
            Event::Empty(tag) => Event::Empty(annotated(tag.into_owned())),
            other => other,
        };
        writer.write_event(event).map_err(|error| failed(&error))?;
    }
    writer.into_inner().write_all(b"\n").map_err(|error| failed(&error))
}

fn annotate_root(tag: &mut BytesStart<'_>, suites: &[Suite]) {
    let sum = |count: fn(&TestSuite) -> usize| suites.iter().map(|suite| count(&suite.xml)).sum::<usize>();
    let milliseconds: i128 = suites.iter().map(|suite| suite.xml.time().whole_milliseconds()).sum();
    let seconds = format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    tag.push_attribute(("name", ROOT));
    tag.push_attribute(("tests", sum(TestSuite::tests).to_string().as_str()));
    tag.push_attribute(("failures", sum(TestSuite::failures).to_string().as_str()));
    tag.push_attribute(("errors", sum(TestSuite::errors).to_string().as_str()));
    tag.push_attribute(("skipped", sum(TestSuite::skipped).to_string().as_str()));
    tag.push_attribute(("time", seconds.as_str()));
}

/// What the report of a run adds up to: test cases, not boots.
#[must_use]
pub fn counts(run: &Run) -> Counts {
    let mut counts = Counts::default();
    for case in cases(run) {
        counts.add(&case.worst().verdict);
    }
    for health in health(run) {
        match health.blame() {
            None => counts.pass += 1,
            Some(Blame::Kernel) => counts.fail += 1,
            Some(Blame::Harness) => counts.error += 1,
        }
    }
    counts
}

#[cfg(test)]
#[path = "junit_tests.rs"]
mod tests;
