//! What the guest reports, and what the host may ask of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::Nonce;

/// One message of the guest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Event {
    /// First message of a session.
    Hello(Hello),
    /// The test begins; its marker is in the kernel log.
    Started {
        /// [`crate::PlannedTest::id`].
        test: u32,
    },
    /// More observations of one metric, in the order in which they were made.
    Samples {
        /// [`crate::PlannedTest::id`].
        test: u32,
        /// A metric that the workload describes.
        metric: String,
        /// In the unit that the workload's [`crate::MetricInfo`] gives.
        values: Vec<f64>,
    },
    /// A fact about how the test was run, for instance `completion` =
    /// `tracepoints`. Kept with the result.
    Note {
        /// [`crate::PlannedTest::id`].
        test: u32,
        /// What the fact is about, one word.
        key: String,
        /// The fact.
        value: String,
    },
    /// The test is alive: feeds the no-output timer, and says how far it is.
    Progress {
        /// [`crate::PlannedTest::id`].
        test: u32,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
    /// The test ended. Nothing else is said of it afterwards.
    Finished {
        /// [`crate::PlannedTest::id`].
        test: u32,
        /// How it ended.
        outcome: Outcome,
        /// Guest time from start to end, in nanoseconds.
        elapsed_ns: u64,
    },
    /// Answer to [`Request::Diagnose`]: stacks and whatever explains a hang.
    Diagnosis {
        /// Plain text of several lines.
        text: String,
    },
    /// Every test of the plan has been reported; the guest powers off.
    Bye,
}

/// Who the guest is and what its kernel can do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Hello {
    /// [`crate::PROTOCOL`] of the guest.
    pub protocol: u32,
    /// From the plan.
    pub nonce: Nonce,
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -v`.
    pub kernel_version: String,
    /// CPUs online.
    pub cpus: u32,
    /// `MemTotal` in bytes.
    pub memory_bytes: u64,
    /// Guest's monotonic clock at this message, in nanoseconds.
    pub uptime_ns: u64,
    /// Circumstances to be recorded with every number: clock source, RCU
    /// settings, command line.
    pub facts: BTreeMap<String, String>,
    /// Probed features and what was found, for instance `net-ns` = `yes`.
    pub features: BTreeMap<String, String>,
}

/// How a test ended, in the words of the workload itself.
///
/// There is no default: a test of which no outcome arrived was lost, and that
/// is for the host to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Outcome {
    /// Every assertion held.
    Pass {
        /// How many assertions were made. The host refuses a pass with none.
        checks: u64,
    },
    /// The kernel broke an assertion.
    Fail {
        /// What was expected and what was seen.
        message: String,
    },
    /// The kernel or machine lacks something that the test needs.
    Skip {
        /// What is missing, with the kernel option that brings it.
        reason: String,
    },
    /// The harness failed: nothing is known of the kernel.
    Error {
        /// What went wrong, where.
        message: String,
    },
}

/// What the host may ask while a test runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Report stacks of the running test and of the workers it may wait for.
    Diagnose,
}
