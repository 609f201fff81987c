//! A case that a test reported of itself, on disk.

use serde::{Deserialize, Serialize};

use super::words::SubtestVerdictWord;
use crate::model::{self, SubtestVerdict};

/// A case that a test reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subtest {
    /// Its name, behind the names of the tests that it is nested in.
    pub path: Vec<String>,
    /// How it ended.
    #[serde(with = "SubtestVerdictWord")]
    pub verdict: SubtestVerdict,
    /// What was said of the verdict.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// Time that it took, in nanoseconds; none where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ns: Option<u64>,
    /// Last lines that were printed before its result.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub diagnostics: String,
}

impl Subtest {
    /// The names joined, for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.join(" / ")
    }
}

impl From<&model::Subtest> for Subtest {
    fn from(subtest: &model::Subtest) -> Self {
        let nanoseconds = |time: std::time::Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            path: subtest.path.clone(),
            verdict: subtest.verdict,
            reason: subtest.reason.clone(),
            elapsed_ns: subtest.elapsed.map(nanoseconds),
            diagnostics: subtest.diagnostics.clone(),
        }
    }
}
