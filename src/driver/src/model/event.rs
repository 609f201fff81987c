//! What happens during a run, as told to everyone who records or shows it.
//!
//! The engine emits, observers listen; neither knows the other.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kregress_wire::{Breakdown, Hello};

use super::{
    Accel, ComparisonPlan, Detector, Evidence, KernelName, Machine, Overall, Subtest, SuiteName, Test,
    TestId, Verdict,
};
use crate::console::Finding;

/// Name of a run and of its directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub String);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Number of a boot within its run, from 1, in the order of launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BootId(pub u32);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What a run set out to do.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// Its name.
    pub id: RunId,
    /// Absolute path of its directory.
    pub directory: PathBuf,
    /// Command line as typed, program first.
    pub command: Vec<String>,
    /// Version of kregress.
    pub version: String,
    /// Seconds since 1970, UTC.
    pub started_unix: i64,
    /// Seed of everything random.
    pub seed: u64,
    /// Machine as asked for.
    pub machine: Machine,
    /// Kernels in the order of the command line.
    pub kernels: Vec<KernelName>,
    /// Tests in order of execution.
    pub tests: Vec<Test>,
    /// File of each suite, relative to the project: where reports point to.
    pub suite_files: BTreeMap<SuiteName, String>,
    /// Boots asked for of each kernel; 0 where [`RunEvent::TurnsAsked`] asks for them.
    pub boots: u32,
    /// How often a test that did not pass is repeated, each time in a fresh boot.
    pub retries: u32,
    /// Boots that may run at the same time.
    pub side_by_side: u32,
    /// Boots that measure times have the host for themselves, on processors of their own.
    pub quiet_host: bool,
    /// Facts about the host: CPU model, kernel, QEMU.
    pub host: BTreeMap<String, String>,
    /// Two of the kernels are compared.
    pub comparison: Option<ComparisonPlan>,
    /// It does one shard of a plan.
    pub shard: Option<ShardOf>,
}

/// A part of a plan, of which other runs do the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardOf {
    /// Id of the plan.
    pub plan: String,
    /// Number of the shard, from 1.
    pub number: u32,
    /// Shards of the plan.
    pub of: u32,
}

/// A kernel that is ready to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelInfo {
    /// As named in the run.
    pub name: KernelName,
    /// What was booted.
    pub image: PathBuf,
    /// Key in the store, or hash of the image.
    pub identity: String,
    /// `6.12.117` and the like, where it is known before the boot.
    pub release: Option<String>,
    /// Detectors that are built in.
    pub detectors: Vec<Detector>,
    /// Facts: source, tree id, compiler, hash of the configuration, whether the store had it.
    pub facts: BTreeMap<String, String>,
}

/// Which of the measurements that were asked for something belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turn {
    /// Which of the boots asked for of the kernel, from 1. More than one launch may
    /// serve it: tests are spread over machines, and what a dead guest never
    /// reached runs in a fresh one.
    pub repeat: u32,
    /// From 1; more than that where a test did not pass and is tried again.
    pub attempt: u32,
}

impl Turn {
    /// The first attempt at one of the boots asked for.
    #[must_use]
    pub fn first(repeat: u32) -> Self {
        Self { repeat, attempt: 1 }
    }

    /// The attempt after this one.
    #[must_use]
    pub fn again(self) -> Self {
        Self { attempt: self.attempt.saturating_add(1), ..self }
    }
}

/// A launch of one kernel.
#[derive(Debug, Clone)]
pub struct BootInfo {
    /// Number in the run.
    pub id: BootId,
    /// Which kernel.
    pub kernel: KernelName,
    /// What it is for.
    pub turn: Turn,
    /// Accelerator in use.
    pub accel: Accel,
    /// Machine as asked for.
    pub machine: Machine,
    /// Exact command, program first.
    pub command: Vec<String>,
    /// Tests planned for this boot.
    pub tests: Vec<TestId>,
    /// Directory of the boot, relative to the run.
    pub directory: PathBuf,
    /// Factor on every time limit, and why.
    pub slowdown: f64,
}

/// A test that has a verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct TestResult {
    /// Which test.
    pub test: TestId,
    /// The boot that ran it; none if no boot reached it.
    pub boot: Option<BootId>,
    /// The kernel it was for.
    pub kernel: KernelName,
    /// Which of its verdicts this is.
    pub turn: Turn,
    /// How it ended.
    pub verdict: Verdict,
    /// Host time from start to verdict.
    pub elapsed: Duration,
    /// Samples by metric, in the order in which they came.
    pub samples: BTreeMap<String, Vec<f64>>,
    /// Facts about how it ran.
    pub notes: BTreeMap<String, String>,
    /// Where the time went, if the workload found out.
    pub breakdown: Option<Breakdown>,
    /// What it reported of its parts, in their order; empty where it does not.
    pub subtests: Vec<Subtest>,
    /// Findings in its part of the kernel log.
    pub findings: Vec<Finding>,
    /// What was found out about the guest when a limit had passed, in the order
    /// of the steps; empty where none did.
    pub evidence: Vec<Evidence>,
    /// Last lines of the kernel log and raw output that belong to it, for people.
    pub log: String,
}

/// How a boot ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootEnd {
    /// The guest said goodbye and powered off.
    Clean,
    /// The kernel panicked or died on its own.
    Panicked {
        /// Title of the finding.
        title: String,
    },
    /// The guest went away without a word.
    Lost {
        /// What was seen of it.
        reason: String,
    },
    /// Killed by us.
    Killed {
        /// Which limit passed, or who asked.
        reason: String,
    },
    /// Never reached its hello.
    NotBooted {
        /// What is known, with a hint.
        reason: String,
        /// Who is at fault.
        fault: BootFault,
    },
    /// The kernel stopped getting on while no test ran, and was killed.
    Hung {
        /// What is known of the place.
        reason: String,
    },
}

impl BootEnd {
    /// What there is to say of an end that was no clean one.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Clean => None,
            Self::Panicked { title } => Some(title),
            Self::Lost { reason }
            | Self::Killed { reason }
            | Self::NotBooted { reason, .. }
            | Self::Hung { reason } => Some(reason),
        }
    }
}

/// Who is at fault for a kernel that does not come up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootFault {
    /// It panicked or stood still inside of itself, for no want of ours.
    Kernel,
    /// It may lack what our guest needs, or the host or machine is to blame.
    Unknown,
}

/// Progress of building a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step begins: unpacking, checking out, configuring, compiling.
    Step {
        /// Whose.
        kernel: KernelName,
        /// Present participle and object, for instance `unpacking linux-source-6.12.tar.xz`.
        what: String,
    },
    /// Compilation goes on.
    Objects {
        /// Whose.
        kernel: KernelName,
        /// Objects made.
        done: u64,
        /// Estimate of all; 0 when unknown.
        estimated: u64,
        /// Since compilation began.
        elapsed: Duration,
        /// Last line of the log.
        line: String,
    },
    /// It is there.
    Ready(KernelInfo),
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub enum RunEvent {
    /// First of a run.
    RunStarted(RunInfo),
    /// A kernel is being built or found.
    Build(BuildEvent),
    /// A kernel cannot be had; its tests are errors.
    KernelFailed {
        /// Which.
        kernel: KernelName,
        /// Why, whole text.
        reason: String,
    },
    /// Something that the user should know but that changes no verdict.
    Notice(String),
    /// More boots are asked for: these tests are to be measured on every kernel
    /// up to and with this turn.
    TurnsAsked {
        /// Which tests.
        tests: Vec<TestId>,
        /// The last turn of each.
        until: u32,
        /// Why, in one line.
        why: String,
    },
    /// A QEMU was started.
    BootStarted(BootInfo),
    /// The guest said hello.
    BootReady {
        /// Which boot.
        boot: BootId,
        /// What it said.
        hello: Hello,
        /// From `exec` of QEMU to the hello.
        exec_to_hello: Duration,
    },
    /// A test began.
    TestStarted {
        /// Which boot.
        boot: BootId,
        /// Which test.
        test: TestId,
    },
    /// A test goes on.
    TestProgress {
        /// Which boot.
        boot: BootId,
        /// Which test.
        test: TestId,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
    /// A test has its verdict. Exactly one for every planned test and turn.
    TestFinished(TestResult),
    /// The kernel log of a boot holds something outside of every test.
    BootFinding {
        /// Which boot.
        boot: BootId,
        /// What.
        finding: Finding,
    },
    /// A step of looking at a guest over its limit while no test ran.
    BootEvidence {
        /// Which boot.
        boot: BootId,
        /// What came of it.
        evidence: Evidence,
    },
    /// The boot is over; no process of it is left.
    BootFinished {
        /// Which boot.
        boot: BootId,
        /// How.
        end: BootEnd,
        /// From `exec` of QEMU to its end.
        elapsed: Duration,
    },
    /// The kernels of a comparison were compared.
    Compared(Overall),
    /// Last of a run.
    RunFinished {
        /// Since its start.
        elapsed: Duration,
        /// The user asked to stop.
        interrupted: bool,
    },
}

/// Someone who records or shows a run.
pub trait Observer: Send {
    /// Takes one event.
    ///
    /// # Errors
    ///
    /// Fails when it can no longer do its work, for instance on a full disk.
    /// The engine then ends the run in good order.
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()>;
}
