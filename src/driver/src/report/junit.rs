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

mod comparison;
mod files;
mod series;
mod stand;
mod subtest;

use std::io::Write;

use junit_report::{Duration, OffsetDateTime, Report, TestCase, TestCaseBuilder, TestSuite};
use quick_xml::Writer;
use quick_xml::events::{BytesCData, BytesStart, Event};

use super::cases::{Case, Over, cases, measures, verdict_text};
use super::{allowed, repeat, subtests, text_safety};
use crate::analysis::compare;
use crate::model::{SubtestVerdict, Verdict};
use crate::results::format::{Evidence, Run, TestResult};
use crate::results::{self, Blame, Counts, Health, JUNIT_FILE, ResultsError, Standing, Turn, health};
use crate::series::checked::Checked;

pub use files::{save_each, save_series};

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
    write_suites(&suites(run), out)
}

/// Writes the report of a series: a suite for each patch.
///
/// # Errors
///
/// Fails when `out` does.
pub fn of_series(checked: &Checked, out: impl Write) -> Result<(), JunitError> {
    write_suites(&series::suites(checked), out)
}

fn write_suites(suites: &[Suite], out: impl Write) -> Result<(), JunitError> {
    let mut report = Report::new();
    report.add_testsuites(suites.iter().map(|suite| suite.xml.clone()));
    let mut xml = Vec::new();
    report.write_xml(&mut xml).map_err(|error| JunitError(error.to_string()))?;
    annotate(&xml, suites, out)
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
    /// Name of the suite, without the kernel.
    of: String,
    xml: TestSuite,
    file: Option<String>,
    /// Of each test case.
    cases: Vec<Rest>,
}

/// What junit-report cannot hold of a test case.
#[derive(Default)]
struct Rest {
    line: Option<u64>,
    reruns: Vec<Rerun>,
}

fn suites(run: &Run) -> Vec<Suite> {
    if let Some(found) = compare::of_run(run) {
        return comparison::suites(run, &found);
    }
    let mut suites: Vec<Suite> = Vec::new();
    for case in cases(run) {
        let name = text_safety::name(format!("{} on {}", case.test.suite, case.kernel));
        let class = class(&case.test.suite, case.kernel);
        let at = suites.iter().position(|suite| suite.xml.name == name);
        let at = at.unwrap_or_else(|| {
            let file = case.test.file.as_ref().map(text_safety::name);
            let of = case.test.suite.clone();
            suites.push(Suite {
                of,
                xml: suite(run.plan.started_unix, &name, &class),
                file,
                cases: Vec::new(),
            });
            suites.len() - 1
        });
        suites[at].xml.add_testcase(test_case(run, &case, &class));
        let line = case.test.file.as_ref().map(|_| case.test.line);
        suites[at].cases.push(Rest { line, reruns: reruns(run, &case) });
        for told in subtests::of_case(&case) {
            suites[at].xml.add_testcase(subtest::test_case(&case, &told, &class));
            suites[at].cases.push(Rest { line, reruns: Vec::new() });
        }
    }
    for health in health(run) {
        let class = class(HEALTH, &health.kernel);
        let mut xml = suite(
            run.plan.started_unix,
            &text_safety::name(format!("{HEALTH} on {}", health.kernel)),
            &class,
        );
        xml.add_testcase(health_case(run, &health, &class));
        suites.push(Suite { of: HEALTH.to_owned(), xml, file: None, cases: vec![Rest::default()] });
    }
    suites
}

fn class(suite: &str, kernel: &str) -> String {
    text_safety::name(format!("{ROOT}.{suite}.{kernel}"))
}

fn suite(started_unix: i64, name: &str, class: &str) -> TestSuite {
    let mut suite = TestSuite::new(name);
    suite.package = class.to_owned();
    // RFC 3339 has no years beyond 9999, and junit-report asks for no other.
    let started = OffsetDateTime::from_unix_timestamp(started_unix).ok();
    suite.timestamp =
        started.filter(|time| (0..=9999).contains(&time.year())).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    suite
}

fn test_case(run: &Run, case: &Case<'_>, class: &str) -> TestCase {
    let name = text_safety::name(&case.test.name);
    let nanoseconds = case.results.iter().fold(0_u64, |sum, result| sum.saturating_add(result.elapsed_ns));
    let time = rounded(nanoseconds);
    let standing = case.standing();
    let (kind, text) = verdict_text(&case.worst().verdict);
    let title = match (text_safety::title(text), case.boots()) {
        (title, None) => title,
        (title, Some(boots)) => text_safety::title(format!("{boots}: {title}")),
    };
    let mut builder = match standing {
        // What went wrong before is added by `annotate`.
        Standing::Pass | Standing::Flaky => TestCaseBuilder::success(&name, time),
        Standing::Fail => TestCaseBuilder::failure(&name, time, kind, &title),
        Standing::Error => TestCaseBuilder::error(&name, time, kind, &title),
        Standing::Skip => TestCaseBuilder::skipped_with_cause(&name, kind, &title),
    };
    builder.testcase.time = time;
    builder.set_classname(class);
    if let Some(file) = &case.test.file {
        builder.set_filepath(&text_safety::name(file));
    }
    if matches!(standing, Standing::Fail | Standing::Error) {
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
    let missed: Vec<&TestResult> = case.like_worst().flat_map(Turn::missed).collect();
    for result in missed.iter().take(BOOTS_TOLD) {
        text.push_str(&told_of(run, result));
        text.push('\n');
    }
    let left = missed.len().saturating_sub(BOOTS_TOLD);
    if left > 0 {
        text.push_str(&format!("and {left} more boots\n\n"));
    }
    text + &format!("repeat: {}\n", repeat::line(run, case.worst()))
}

/// What went wrong in one boot.
fn told_of(run: &Run, result: &TestResult) -> String {
    let (kind, message) = verdict_text(&result.verdict);
    let mut text = format!("{}: {kind}\n{}\n", place(run, result), message.trim_end());
    for finding in result.findings.iter().filter(|finding| finding.allowed.is_none()) {
        // The message often is the title of the first finding.
        if !message.starts_with(&finding.title) {
            text.push_str(&format!("{}: {}\n", finding.kind.name(), finding.title));
        }
        text.extend(finding.trace().iter().map(|function| format!("    {function}\n")));
    }
    text.push_str(&titles(&result.evidence));
    if let Some(boot) = result.boot.and_then(|id| run.boot(id)) {
        text.push_str(&format!("log: {}/{}\n", boot.launch.directory, results::CONSOLE_LOG));
    }
    text
}

/// An attempt that did not pass and does not decide how its test case stands.
struct Rerun {
    /// By the XML report of Maven's Surefire, which is where Jenkins and others
    /// took it from: `flakyFailure` and `flakyError` where a later attempt passed,
    /// `rerunFailure` and `rerunError` where none did.
    element: &'static str,
    kind: String,
    title: String,
    text: String,
}

/// Attempts beside those that `told` speaks of: all that went wrong of a flaky
/// case; of others, those after the first.
fn reruns(run: &Run, case: &Case<'_>) -> Vec<Rerun> {
    let rerun = |flaky: bool, result: &TestResult| {
        let (kind, message) = verdict_text(&result.verdict);
        let element = match (flaky, &result.verdict) {
            (true, Verdict::Error(_)) => "flakyError",
            (true, _) => "flakyFailure",
            (false, Verdict::Error(_)) => "rerunError",
            (false, _) => "rerunFailure",
        };
        Rerun {
            element,
            kind: kind.to_owned(),
            title: text_safety::title(message),
            text: text_safety::body(told_of(run, result)),
        }
    };
    let of_turn = |turn: &Turn<'_>| -> Vec<Rerun> {
        let flaky = turn.standing == Standing::Flaky;
        let told = if flaky { 0 } else { 1 };
        turn.missed().skip(told).map(|result| rerun(flaky, result)).collect()
    };
    case.turns.iter().flat_map(of_turn).take(BOOTS_TOLD).collect()
}

/// What each step of looking at a guest came to.
fn titles(evidence: &[Evidence]) -> String {
    let title = |it: &Evidence| format!("{}: {}\n", it.source.name(), text_safety::title(&it.text));
    evidence.iter().map(title).collect()
}

/// The whole of it.
fn whole(place: &str, evidence: &[Evidence]) -> String {
    let text = |it: &Evidence| format!("--- {place}, {}\n{}\n", it.source.name(), it.text.trim_end());
    evidence.iter().map(text).collect()
}

/// `boot 2 (tcg)`, or that there was none.
fn place(run: &Run, result: &TestResult) -> String {
    let attempt = match result.attempt {
        1 => String::new(),
        attempt => format!(", attempt {attempt}"),
    };
    let place = match (result.boot, result.boot.and_then(|id| run.boot(id))) {
        (Some(id), Some(boot)) => format!("boot {id} ({})", boot.launch.accel),
        (Some(id), None) => format!("boot {id}"),
        (None, _) => "no boot".to_owned(),
    };
    place + &attempt
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
    if case.standing() == Standing::Pass {
        return text;
    }
    // The end is what is kept if it is too much.
    for result in case.like_worst().map(Turn::speaker) {
        if !result.log.is_empty() {
            text.push_str(&format!("--- {}\n{}\n", place(run, result), result.log.trim_end()));
        }
        text.push_str(&whole(&place(run, result), &result.evidence));
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
                text.push_str(&titles(&boot.evidence));
                text.push_str(&format!("log: {}/{}\n", boot.launch.directory, results::CONSOLE_LOG));
            }
            text.push('\n');
        }
        builder.set_trace(&text_safety::body(text));
    }
    let boots = run.boots.iter().filter(|boot| boot.launch.kernel == health.kernel);
    let output: String = boots
        .map(|boot| {
            allowed::lines(&boot.findings) + &whole(&format!("boot {}", boot.launch.id), &boot.evidence)
        })
        .collect();
    if !output.is_empty() {
        builder.set_system_out(&text_safety::output(output));
    }
    builder.build()
}

/// Adds the attributes and elements that junit-report does not know, one element
/// per line.
fn annotate(xml: &[u8], suites: &[Suite], out: impl Write) -> Result<(), JunitError> {
    let failed = |error: &dyn std::fmt::Display| JunitError(error.to_string());
    let mut reader = quick_xml::Reader::from_reader(xml);
    let mut writer = Writer::new_with_indent(out, b' ', 1);
    let mut suite = suites.iter();
    let mut cases = [].iter();
    // Attempts of the test case that is open.
    let mut reruns: &[Rerun] = &[];
    loop {
        let event = reader.read_event().map_err(|error| failed(&error))?.into_owned();
        let is_case = |tag: &BytesStart<'_>| tag.name().as_ref() == b"testcase";
        let event = match event {
            Event::Eof => break,
            Event::Start(tag) => Event::Start(annotated(tag, suites, &mut suite, &mut cases, &mut reruns)),
            Event::Empty(tag) => {
                let case = is_case(&tag);
                let tag = annotated(tag, suites, &mut suite, &mut cases, &mut reruns);
                if case && !reruns.is_empty() {
                    let end = tag.to_end().into_owned();
                    writer.write_event(Event::Start(tag)).map_err(|error| failed(&error))?;
                    write_reruns(std::mem::take(&mut reruns), &mut writer).map_err(|error| failed(&error))?;
                    Event::End(end)
                } else {
                    Event::Empty(tag)
                }
            }
            Event::End(tag) if tag.name().as_ref() == b"testcase" => {
                write_reruns(std::mem::take(&mut reruns), &mut writer).map_err(|error| failed(&error))?;
                Event::End(tag)
            }
            other => other,
        };
        writer.write_event(event).map_err(|error| failed(&error))?;
    }
    writer.into_inner().write_all(b"\n").map_err(|error| failed(&error))
}

/// A tag with what junit-report does not know of it.
fn annotated<'a>(
    mut tag: BytesStart<'static>,
    suites: &'a [Suite],
    suite: &mut std::slice::Iter<'a, Suite>,
    cases: &mut std::slice::Iter<'a, Rest>,
    reruns: &mut &'a [Rerun],
) -> BytesStart<'static> {
    match tag.name().as_ref() {
        b"testsuites" => annotate_root(&mut tag, suites),
        b"testsuite" => {
            if let Some(suite) = suite.next() {
                tag.push_attribute(("skipped", suite.xml.skipped().to_string().as_str()));
                if let Some(file) = &suite.file {
                    tag.push_attribute(("file", file.as_str()));
                }
                *cases = suite.cases.iter();
            }
        }
        b"testcase" => {
            if let Some(case) = cases.next() {
                if let Some(line) = case.line {
                    tag.push_attribute(("line", line.to_string().as_str()));
                }
                *reruns = &case.reruns;
            }
        }
        _ => {}
    }
    tag
}

fn write_reruns(reruns: &[Rerun], writer: &mut Writer<impl Write>) -> std::io::Result<()> {
    for rerun in reruns {
        writer
            .create_element(rerun.element)
            .with_attributes([("message", rerun.title.as_str()), ("type", rerun.kind.as_str())])
            .write_inner_content(|writer| {
                writer.create_element("stackTrace").write_inner_content(|writer| {
                    // The end of a section within it makes it two.
                    BytesCData::escaped(&rerun.text)
                        .try_for_each(|part| writer.write_event(Event::CData(part)))
                })?;
                Ok(())
            })?;
    }
    Ok(())
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
        counts.add(case.standing());
        for told in subtests::of_case(&case) {
            *match told.subtest.verdict {
                SubtestVerdict::Pass | SubtestVerdict::Xfail | SubtestVerdict::Todo => &mut counts.pass,
                SubtestVerdict::Fail => &mut counts.fail,
                SubtestVerdict::Skip => &mut counts.skip,
                SubtestVerdict::Error => &mut counts.error,
            } += 1;
        }
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
