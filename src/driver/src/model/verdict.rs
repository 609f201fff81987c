//! Verdicts. There is no default one: what was not said by a well-formed
//! message is an error of the harness.

/// How a test ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every assertion held and nothing was found in the kernel log.
    Pass {
        /// Assertions made; never 0.
        checks: u64,
    },
    /// The kernel is at fault.
    Fail(Failure),
    /// The kernel or the machine lacks what the test needs.
    Skip {
        /// What is missing.
        reason: String,
    },
    /// The harness or its host failed: nothing is known of the kernel.
    Error(Trouble),
}

impl Verdict {
    /// One word: `pass`, `fail`, `skip` or `error`.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Pass { .. } => "pass",
            Self::Fail(_) => "fail",
            Self::Skip { .. } => "skip",
            Self::Error(_) => "error",
        }
    }
}

/// The first line of a message, which is its title.
#[must_use]
pub fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

/// What the kernel did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Which class of wrong.
    pub kind: FailureKind,
    /// Expected and seen, in one or more lines; the first is a title.
    pub message: String,
}

/// Classes of failure; each is a `type` in JUnit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// A workload's assertion did not hold.
    Assertion,
    /// The kernel log holds a warning or worse.
    Finding,
    /// The kernel panicked.
    Panic,
    /// A fault or `BUG()` in kernel mode, which ends the kernel (`oops=panic`).
    Oops,
    /// The kernel, or a part of it, makes no progress: it answers nothing any
    /// more, `cleanup_net` is stuck, or one of its own detectors said so.
    Hang,
    /// The test's time limit passed in a guest that answers and of which nothing
    /// is seen to be stuck.
    Timeout,
}

impl FailureKind {
    /// As written in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Assertion => "assertion",
            Self::Finding => "finding",
            Self::Panic => "panic",
            Self::Oops => "oops",
            Self::Hang => "hang",
            Self::Timeout => "timeout",
        }
    }
}

/// What the harness or its host did wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Which class of wrong.
    pub kind: TroubleKind,
    /// What happened, where, what to do.
    pub message: String,
}

/// Classes of trouble; each is a `type` in JUnit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TroubleKind {
    /// The workload says that it could not do its work.
    Workload,
    /// The guest went away without a word from its kernel.
    Lost,
    /// The boot ended before this test was reached, and no other boot took it.
    NotReached,
    /// The guest said something that is not our protocol.
    Protocol,
    /// QEMU, the disk, a process of the host.
    Host,
    /// The run ended before the test did; seen when reading a killed run.
    Unfinished,
    /// The user interrupted the run.
    Interrupted,
}

impl TroubleKind {
    /// As written in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Workload => "workload",
            Self::Lost => "lost",
            Self::NotReached => "not-reached",
            Self::Protocol => "protocol",
            Self::Host => "host",
            Self::Unfinished => "unfinished",
            Self::Interrupted => "interrupted",
        }
    }
}
