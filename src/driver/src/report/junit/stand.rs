//! How a test case stands that is no test of a run: a metric that is judged, a patch that
//! has to build.

use junit_report::{Duration, TestCaseBuilder};

use crate::report::text_safety;

/// How a case stands: with the type of what is wrong, and a text that begins with a title.
pub(super) enum Stand {
    Good,
    Failure(&'static str, String),
    Error(&'static str, String),
    Skipped(&'static str, String),
}

impl Stand {
    /// A case that stands so, under a name that is safe.
    pub(super) fn case(&self, name: &str, time: Duration) -> TestCaseBuilder {
        let title = |text: &str| text_safety::title(text);
        let mut builder = match self {
            Self::Good => TestCaseBuilder::success(name, time),
            Self::Failure(kind, text) => TestCaseBuilder::failure(name, time, kind, &title(text)),
            Self::Error(kind, text) => TestCaseBuilder::error(name, time, kind, &title(text)),
            Self::Skipped(kind, text) => TestCaseBuilder::skipped_with_cause(name, kind, &title(text)),
        };
        builder.testcase.time = time;
        builder
    }

    /// Whether it is red.
    pub(super) fn is_red(&self) -> bool {
        matches!(self, Self::Failure(..) | Self::Error(..))
    }
}
