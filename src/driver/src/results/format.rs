//! What is written to disk: `run.json`, and what the lines of `events.jsonl` are about;
//! the lines themselves are in `event`.
//!
//! Owns the shape of the files and nothing else: no I/O, no decisions. The
//! types are apart from the model, so that a change of the model does not
//! change files that others read; `results/run.schema.json` and
//! `results/event.schema.json` describe them, `results/README.md` explains
//! them. A field may be added within [`VERSION`]; a field that goes, a new
//! meaning or a new word in a fixed choice needs the next version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kregress_wire::{Better, Breakdown, Kind, Unit, Value};
use serde::{Deserialize, Serialize};

pub use super::event::{Event, Line};
use super::sharded::{Merged, Shard};
use super::subtest::Subtest;
use super::words::{
    AccelWord, BackendWord, EvidenceSourceWord, FaultWord, FindingKindWord, RootFsWord, VerdictWord,
    accel_choice, decimal, guest_root, overall, params,
};
use crate::console::FindingKind;
use crate::model::{
    Accel, AccelChoice, Backend, BootFault, EvidenceSource, GuestRoot, Overall, RootFs, Trouble, Verdict,
};

/// Version of `run.json` and of the event lines together.
///
/// 2: accelerator `icount`; comparisons. Everything of 1 reads as it did.
pub const VERSION: u32 = 2;

fn one() -> u32 {
    1
}

/// What a run set out to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Name of the run and of its directory.
    pub id: String,
    /// Absolute path of its directory when it was made. Where it was read from
    /// may be elsewhere; readers of files replace it.
    pub directory: PathBuf,
    /// Version of the kregress that made it.
    pub kregress: String,
    /// Command line as typed, program first.
    pub command: Vec<String>,
    /// Seconds since 1970, UTC.
    pub started_unix: i64,
    /// Seed of everything random. Text on disk: many readers of JSON round
    /// integers above 2^53.
    #[serde(with = "decimal")]
    pub seed: u64,
    /// Machine as asked for.
    pub machine: Machine,
    /// Facts about the host.
    pub host: BTreeMap<String, String>,
    /// Boots asked for of each kernel: verdicts that each test has in the end, of
    /// first attempts. 0 in a comparison, which asks for boots as it goes on; see
    /// [`Run::asked`].
    pub boots_per_kernel: u32,
    /// How often a test that did not pass is repeated, each time in a fresh boot.
    #[serde(default)]
    pub retries: u32,
    /// Boots that may run at the same time; 0 where that was not recorded.
    #[serde(default)]
    pub side_by_side: u32,
    /// Boots that measure times had the host for themselves, on processors of their own.
    #[serde(default)]
    pub quiet_host: bool,
    /// Kernels in the order of the command line.
    pub kernels: Vec<String>,
    /// Tests in order of execution.
    pub tests: Vec<Test>,
    /// Two of the kernels are compared, by these rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comparison: Option<ComparisonPlan>,
    /// It does one shard of a plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<Shard>,
    /// It was joined from the runs of a plan's shards, and nothing was booted for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged: Option<Merged>,
}

/// How two kernels of a run are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonPlan {
    /// What it is measured against, by its name among the kernels.
    pub base: String,
    /// What is judged.
    pub head: String,
    /// Boots of a side at each look, ascending.
    pub looks: Vec<u32>,
    /// Smallest relative effect of noisy metrics that counts.
    pub floor: f64,
    /// Smallest relative effect of exact metrics that counts.
    pub exact_floor: f64,
    /// A test that is run once on each side where a teardown changed, to find out
    /// where its time went, and not otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// What may differ between the sides beside the kernel.
    pub allowed: Vec<String>,
    /// Noise of the host as it was known when the run began.
    pub noise: Vec<Noise>,
}

/// Noise between boots of one and the same kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Full name of the test.
    pub test: String,
    /// Name of the metric.
    pub metric: String,
    /// Standard deviation of the boots' medians, as a share of them.
    pub relative_sd: f64,
    /// Boots that it was measured in.
    pub boots: u32,
}

/// Machine as asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// How instructions are executed.
    #[serde(with = "accel_choice")]
    pub accel: AccelChoice,
    /// Who prepares the guest.
    #[serde(with = "BackendWord")]
    pub backend: Backend,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Guest memory in bytes.
    pub memory_bytes: u64,
    /// What the root of a guest of virtme-ng is made of; left out where it was not chosen.
    #[serde(default, with = "RootFsWord", skip_serializing_if = "is_default")]
    pub rootfs: RootFs,
    /// Directory that is the root of a guest of virtme-ng; left out where that is the host's.
    #[serde(default, with = "guest_root", skip_serializing_if = "Option::is_none")]
    pub root: Option<GuestRoot>,
}

fn is_default(rootfs: &RootFs) -> bool {
    *rootfs == RootFs::default()
}

/// A planned test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// Full name, `suite/test[param=value]`.
    pub id: String,
    /// Its suite.
    pub suite: String,
    /// The name without its suite.
    pub name: String,
    /// Name in the guest's registry.
    pub workload: String,
    /// Every parameter of the workload.
    #[serde(with = "params")]
    pub params: BTreeMap<String, Value>,
    /// On an unloaded machine with KVM, in milliseconds.
    pub timeout_ms: u64,
    /// Metrics to show, in the order of the suite.
    pub metrics: Vec<Metric>,
    /// Suite file, relative to the project, if it is known.
    pub file: Option<String>,
    /// Line of the test in it, from 1.
    pub line: u64,
}

/// A metric of a test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Name, unique within the test.
    pub name: String,
    /// What one sample is.
    pub summary: String,
    /// Unit of the samples.
    pub unit: Unit,
    /// Nature of the samples.
    pub kind: Kind,
    /// Which direction is an improvement.
    pub better: Better,
}

/// A kernel that is ready to boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// As named in the run.
    pub name: String,
    /// What is booted.
    pub image: String,
    /// Key in the store, or hash of the image.
    pub identity: String,
    /// `uname -r` where it is known before the boot.
    pub release: Option<String>,
    /// Detectors that are built in; the times of a kernel that has any are worth
    /// nothing beside those of others.
    #[serde(default)]
    pub detectors: Vec<String>,
    /// Source, tree id, compiler and the like.
    pub facts: BTreeMap<String, String>,
}

/// A launch of one kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Launch {
    /// Number in the run, from 1, in the order of launch.
    pub id: u32,
    /// Which kernel.
    pub kernel: String,
    /// Which of the boots asked for it serves, from 1.
    #[serde(default = "one")]
    pub repeat: u32,
    /// Which attempt at its tests it is, from 1.
    #[serde(default = "one")]
    pub attempt: u32,
    /// Accelerator in use.
    #[serde(with = "AccelWord")]
    pub accel: Accel,
    /// Machine as asked for.
    pub machine: Machine,
    /// Exact command, program first.
    pub command: Vec<String>,
    /// Tests planned for this boot, by full name.
    pub tests: Vec<String>,
    /// Directory of the boot, relative to the run.
    pub directory: String,
    /// Factor on every time limit; none if it was no finite number.
    pub slowdown: Option<f64>,
}

/// What the guest said of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// `uname -r`.
    pub kernel_release: String,
    /// `uname -v`.
    pub kernel_version: String,
    /// CPUs online.
    pub cpus: u32,
    /// `MemTotal` in bytes.
    pub memory_bytes: u64,
    /// Guest's monotonic clock at its hello, in nanoseconds.
    pub uptime_ns: u64,
    /// Circumstances of every number: clock source, RCU settings, command line.
    pub facts: BTreeMap<String, String>,
    /// Probed features and what was found.
    pub features: BTreeMap<String, String>,
}

/// Something in the kernel log that must not be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Which class of wrong.
    #[serde(with = "FindingKindWord")]
    pub kind: FindingKind,
    /// The line that names it.
    pub title: String,
    /// Function names of its stack, innermost first.
    pub stack: Vec<String>,
    /// More about each of them, in the same order; empty where nothing is known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub frames: Vec<Frame>,
    /// Byte offset of its first line in the boot's console log.
    pub start: u64,
    /// Byte offset behind its last line.
    pub end: u64,
    /// Why it turns nothing red; none of a finding that does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Allowance>,
}

/// A frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// As the kernel printed it: `function+0x12/0x34 [module]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Lines of the source, the innermost inlined function first; empty without
    /// debug information.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<SourceLine>,
}

/// A line of the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceLine {
    /// The function that the line is of.
    pub function: String,
    /// Relative to the kernel tree.
    pub file: String,
    /// From 1.
    pub line: u32,
}

impl Finding {
    /// The stack for people, innermost first: `function file:line` where the
    /// line is known, with a line for each function that was inlined.
    #[must_use]
    pub fn trace(&self) -> Vec<String> {
        let mut trace = Vec::new();
        for (at, function) in self.stack.iter().enumerate() {
            let lines = self.frames.get(at).map(|frame| frame.lines.as_slice()).unwrap_or_default();
            match lines {
                [] => trace.push(function.clone()),
                [inlined @ .., last] => {
                    let text = |line: &SourceLine| format!("{} {}:{}", line.function, line.file, line.line);
                    trace.extend(inlined.iter().map(|line| format!("{} (inlined)", text(line))));
                    trace.push(text(last));
                }
            }
        }
        trace
    }
}

/// A rule of the project file that allows a finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allowance {
    /// Why.
    pub reason: String,
    /// Last day, `2027-01-31`, UTC.
    pub expires: String,
}

/// A step of looking at a guest over its limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which step.
    #[serde(with = "EvidenceSourceWord")]
    pub source: EvidenceSource,
    /// What came of it; the first line is a title.
    pub text: String,
}

/// The verdict of one test in one boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// Full name of the test.
    pub test: String,
    /// The kernel it was for.
    pub kernel: String,
    /// The boot that ran it; none if no boot reached it.
    pub boot: Option<u32>,
    /// Which of the boots asked for it belongs to, from 1.
    #[serde(default = "one")]
    pub repeat: u32,
    /// From 1; a test that did not pass may be tried again, and every attempt stands.
    #[serde(default = "one")]
    pub attempt: u32,
    /// `verdict` and what belongs to it.
    #[serde(flatten, with = "VerdictWord")]
    pub verdict: Verdict,
    /// Host time from start to verdict, in nanoseconds.
    pub elapsed_ns: u64,
    /// Samples by metric, in the order in which they came; finite numbers only.
    pub samples: BTreeMap<String, Vec<f64>>,
    /// Facts about how it ran.
    pub notes: BTreeMap<String, String>,
    /// Where the time went, if the workload found out. Runs from before it was
    /// recorded do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breakdown: Option<Breakdown>,
    /// What it reported of its parts; only of tests that do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subtests: Vec<Subtest>,
    /// Findings in its part of the kernel log.
    pub findings: Vec<Finding>,
    /// What was found out about the guest when a limit had passed. Only where
    /// one did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// Last lines of the kernel log and raw output that belong to it.
    pub log: String,
}

impl TestResult {
    /// The error in place of a verdict that never came.
    pub(crate) fn never_came(test: &str, kernel: &str, boot: Option<u32>, repeat: u32, why: Trouble) -> Self {
        Self {
            test: test.to_owned(),
            kernel: kernel.to_owned(),
            boot,
            repeat,
            attempt: 1,
            verdict: Verdict::Error(why),
            elapsed_ns: 0,
            samples: BTreeMap::new(),
            notes: BTreeMap::new(),
            breakdown: None,
            subtests: Vec::new(),
            findings: Vec::new(),
            evidence: Vec::new(),
            log: String::new(),
        }
    }
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "kebab-case")]
pub enum BootEnd {
    /// The guest said goodbye and powered off.
    Clean,
    /// The kernel panicked or died on its own.
    Panicked {
        /// Title of the finding.
        reason: String,
    },
    /// The guest went away without a word.
    Lost {
        /// What was seen of it.
        reason: String,
    },
    /// Killed by kregress.
    Killed {
        /// Which limit passed, or who asked.
        reason: String,
    },
    /// Never reached its hello.
    NotBooted {
        /// What is known.
        reason: String,
        /// Who is at fault.
        #[serde(with = "FaultWord")]
        fault: BootFault,
    },
    /// Stopped getting on while no test ran.
    Hung {
        /// What is known of the place.
        reason: String,
    },
}

/// A boot with everything that became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Boot {
    /// How it was launched.
    #[serde(flatten)]
    pub launch: Launch,
    /// What the guest said; none if it never did.
    pub guest: Option<Guest>,
    /// From `exec` of QEMU to the hello, in nanoseconds.
    pub exec_to_hello_ns: Option<u64>,
    /// The test that runs, or ran when the record ends.
    pub running: Option<String>,
    /// Findings outside of every test.
    pub findings: Vec<Finding>,
    /// What was found out about the guest when a limit had passed while no test
    /// ran. Only where one did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<Evidence>,
    /// How it ended; none while it runs or if the run died first.
    pub end: Option<BootEnd>,
    /// From `exec` of QEMU to its end, in nanoseconds.
    pub lived_ns: Option<u64>,
}

/// A kernel that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFailure {
    /// Which.
    pub kernel: String,
    /// Why.
    pub reason: String,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It goes on; in a file that nobody locks it means that the run was killed.
    Running,
    /// It came to its end.
    Finished,
    /// The user stopped it, and it ended in good order.
    Interrupted,
    /// It ended without saying so: killed, crashed, out of disk.
    Unfinished,
}

/// A run as far as it is known: the content of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// [`VERSION`] of the writer.
    pub version: u32,
    /// Where it stands.
    pub state: State,
    /// Event lines that this record sums up.
    pub events: u64,
    /// Time of the last of them, since the start, in milliseconds.
    pub elapsed_ms: u64,
    /// What it set out to do.
    pub plan: Plan,
    /// Kernels that were there, in the order in which they came.
    pub kernels: Vec<Kernel>,
    /// Kernels that could not be had.
    pub failed_kernels: Vec<KernelFailure>,
    /// In the order of launch.
    pub boots: Vec<Boot>,
    /// In the order in which they came. Complete unless `state` is `running`:
    /// then one for each kernel, boot asked for and test, and one more for each
    /// further attempt.
    pub results: Vec<TestResult>,
    /// Things to know that change no verdict.
    pub notices: Vec<String>,
    /// The last turn asked for of each test, where that is beyond the plan.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub turns: BTreeMap<String, u32>,
    /// What the comparison of its kernels came to.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "overall")]
    pub overall: Option<Overall>,
}

impl Run {
    /// The boot of this number.
    #[must_use]
    pub fn boot(&self, id: u32) -> Option<&Boot> {
        self.boots.iter().find(|boot| boot.launch.id == id)
    }

    /// Boots asked for of this test on each kernel: verdicts that it has in the
    /// end, of first attempts.
    #[must_use]
    pub fn asked(&self, test: &str) -> u32 {
        self.turns.get(test).copied().unwrap_or(0).max(self.plan.boots_per_kernel)
    }

    /// The kernel of this name, if it was there.
    #[must_use]
    pub fn kernel(&self, name: &str) -> Option<&Kernel> {
        self.kernels.iter().find(|kernel| kernel.name == name)
    }

    /// Console log of a boot.
    #[must_use]
    pub fn console_log(&self, boot: &Boot) -> PathBuf {
        self.plan.directory.join(Path::new(&boot.launch.directory)).join(super::dir::CONSOLE_LOG)
    }
}
