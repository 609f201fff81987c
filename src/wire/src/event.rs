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
    /// Where the time of the test went, function by function. At most once.
    Breakdown {
        /// [`crate::PlannedTest::id`].
        test: u32,
        /// The breakdown.
        breakdown: Breakdown,
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
        /// As [`crate::stacks`] has it, and words about what could not be had.
        text: String,
    },
    /// No test runs any more; the kernel is given time to complain of what they
    /// left behind. The host waits a little longer than the limit.
    Settling {
        /// At most this long, in milliseconds, on any machine.
        limit_ms: u64,
    },
    /// Every test of the plan has been reported; the guest powers off.
    Bye,
}

/// What the rounds of `cleanup_net` spent their time on. The tracer that finds
/// it out slows everything down: shares are of worth, times only among each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Breakdown {
    /// Rounds that were looked at.
    pub rounds: u64,
    /// Namespaces that died in them.
    pub namespaces: u64,
    /// Time of all of them, in nanoseconds.
    pub total_ns: u64,
    /// What they called, dearest first.
    pub rows: Vec<BreakdownRow>,
}

/// A function that `cleanup_net` calls: a pernet operation, or a wait of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BreakdownRow {
    /// When in the round.
    pub phase: Phase,
    /// Name of the function, from the trace.
    pub function: String,
    /// Calls in all rounds.
    pub calls: u64,
    /// Time of all calls, in nanoseconds.
    pub total_ns: u64,
    /// Of that, waiting for grace periods and RCU callbacks.
    pub rcu_ns: u64,
    /// Of that, waiting for the RTNL.
    pub rtnl_ns: u64,
}

/// A part of a round of `cleanup_net` (net/core/net_namespace.c), told by what
/// separates the parts: the first grace period, and the RTNL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Up to the first grace period: `->pre_exit()`.
    PreExit,
    /// With the RTNL held by `cleanup_net` itself: `->exit_rtnl()`.
    ExitRtnl,
    /// After that: `->exit()`, `->exit_batch()`, and what follows.
    Exit,
}

impl Phase {
    /// As written in results.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::PreExit => "pre-exit",
            Self::ExitRtnl => "exit-rtnl",
            Self::Exit => "exit",
        }
    }
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
    /// What the test ran did not come to its end in time.
    TimedOut {
        /// What was ended, and when.
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
