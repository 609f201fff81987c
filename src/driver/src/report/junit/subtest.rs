//! A test case for each case that a test reported of itself.
//!
//! It stands behind the test case of its test, which has the exit code and the
//! kernel log, and has that name before its own. What was expected to fail is no
//! failure: readers of JUnit have no word for it, so its output tells.

use junit_report::{TestCase, TestCaseBuilder};

use super::super::cases::Case;
use super::super::subtests::Told;
use super::super::text_safety;
use super::rounded;
use crate::model::SubtestVerdict;

/// `type` of a failure and of an error.
const KIND: &str = "subtest";

pub(super) fn test_case(case: &Case<'_>, told: &Told<'_>, class: &str) -> TestCase {
    let name = text_safety::name(format!("{} / {}", case.test.name, told.subtest.name()));
    let time = rounded(told.subtest.elapsed_ns.unwrap_or(0));
    let reason = told.reason();
    let title = if reason.is_empty() { "no reason given".to_owned() } else { text_safety::title(&reason) };
    let mut builder = match told.subtest.verdict {
        SubtestVerdict::Pass | SubtestVerdict::Xfail | SubtestVerdict::Todo => {
            TestCaseBuilder::success(&name, time)
        }
        SubtestVerdict::Fail => TestCaseBuilder::failure(&name, time, KIND, &title),
        SubtestVerdict::Error => TestCaseBuilder::error(&name, time, KIND, &title),
        SubtestVerdict::Skip => TestCaseBuilder::skipped_with_cause(&name, "skip", &title),
    };
    builder.testcase.time = time;
    builder.set_classname(class);
    if let Some(file) = &case.test.file {
        builder.set_filepath(&text_safety::name(file));
    }
    if told.is_wrong() {
        builder.set_trace(&text_safety::body(format!("{title}\n{}", told.subtest.diagnostics)));
    }
    if matches!(told.subtest.verdict, SubtestVerdict::Xfail | SubtestVerdict::Todo) {
        let word = told.subtest.verdict.word();
        builder
            .set_system_out(&text_safety::output(format!("{word}: {reason}\n{}", told.subtest.diagnostics)));
    }
    builder.build()
}
