//! The lines of `events.jsonl`: what is told while a run goes on. By the rules of
//! `format`, with whose version they are; `results/event.schema.json` describes them.

use serde::{Deserialize, Serialize};

use super::format::{BootEnd, Evidence, Finding, Guest, Kernel, Launch, Plan, TestResult};
use super::words::OverallWord;
use crate::model::Overall;

/// One thing that happened. `kernel-objects` and `test-progress` are told to
/// whoever reads stdout, and are not kept in `events.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// First of a run.
    RunStarted(Plan),
    /// A step of having a kernel begins.
    KernelStep {
        /// Whose.
        kernel: String,
        /// What is being done.
        what: String,
    },
    /// Compilation goes on.
    KernelObjects {
        /// Whose.
        kernel: String,
        /// Objects made.
        done: u64,
        /// Estimate of all; 0 when unknown.
        estimated: u64,
        /// Since compilation began, in milliseconds.
        compiling_ms: u64,
        /// Last line of the log.
        line: String,
    },
    /// A kernel is there.
    KernelReady(Kernel),
    /// A kernel cannot be had.
    KernelFailed {
        /// Which.
        kernel: String,
        /// Why.
        reason: String,
    },
    /// Something to know that changes no verdict.
    Notice {
        /// What.
        text: String,
    },
    /// More boots are asked for: these tests are to be measured on every kernel
    /// up to and with this turn.
    TurnsAsked {
        /// Full names of the tests.
        tests: Vec<String>,
        /// The last turn of each.
        until: u32,
        /// Why, in one line.
        why: String,
    },
    /// A QEMU was started.
    BootStarted(Launch),
    /// The guest said hello.
    BootReady {
        /// Which boot.
        boot: u32,
        /// What it said.
        guest: Guest,
        /// From `exec` of QEMU to the hello, in nanoseconds.
        exec_to_hello_ns: u64,
    },
    /// A test began.
    TestStarted {
        /// Which boot.
        boot: u32,
        /// Full name of the test.
        test: String,
    },
    /// A test goes on.
    TestProgress {
        /// Which boot.
        boot: u32,
        /// Full name of the test.
        test: String,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
    /// A test has its verdict.
    TestFinished(TestResult),
    /// The kernel log of a boot holds something outside of every test.
    BootFinding {
        /// Which boot.
        boot: u32,
        /// What.
        finding: Finding,
    },
    /// A step of looking at a guest over its limit while no test ran.
    BootEvidence {
        /// Which boot.
        boot: u32,
        /// What came of it.
        evidence: Evidence,
    },
    /// A boot is over.
    BootFinished {
        /// Which boot.
        boot: u32,
        /// How.
        end: BootEnd,
        /// From `exec` of QEMU to its end, in nanoseconds.
        lived_ns: u64,
    },
    /// The kernels of a comparison were compared.
    Compared {
        /// What it comes to.
        #[serde(with = "OverallWord")]
        overall: Overall,
    },
    /// Last of a run.
    RunFinished {
        /// The user asked to stop.
        interrupted: bool,
    },
}

/// One line of `events.jsonl` and of `--message-format json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`VERSION`](super::format::VERSION) of the writer.
    pub version: u32,
    /// Number of the line, from 0, without gaps.
    pub seq: u64,
    /// Since the start of the run, in milliseconds.
    pub elapsed_ms: u64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}
