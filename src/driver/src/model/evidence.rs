//! What was found out about a guest that no longer did what it should.

/// One step of looking at such a guest, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Which step.
    pub source: EvidenceSource,
    /// What came of it, also if that is nothing. The first line is a title.
    pub text: String,
}

/// Steps, in the order in which they are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvidenceSource {
    /// Stacks of tasks, asked of our agent in the guest.
    Agent,
    /// Registers of the CPUs, asked twice of QEMU's monitor.
    Registers,
    /// An NMI to the CPUs, which makes the kernel panic with a backtrace.
    Nmi,
    /// SIGTERM to the machine's process.
    Sigterm,
    /// SIGKILL to it.
    Sigkill,
}

impl EvidenceSource {
    /// Every source, in the order of the declaration.
    pub const ALL: [Self; 5] = [Self::Agent, Self::Registers, Self::Nmi, Self::Sigterm, Self::Sigkill];

    /// As written in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Registers => "registers",
            Self::Nmi => "nmi",
            Self::Sigterm => "sigterm",
            Self::Sigkill => "sigkill",
        }
    }
}
