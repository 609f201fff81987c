//! The machine that a kernel boots on.

use std::fmt;

/// Machine as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Machine {
    /// How instructions are executed.
    pub accel: AccelChoice,
    /// Who builds the QEMU command line and the root file system.
    pub backend: Backend,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Guest memory in bytes.
    pub memory: u64,
}

impl Default for Machine {
    fn default() -> Self {
        Self { accel: AccelChoice::Auto, backend: Backend::Qemu, cpus: 2, memory: 1 << 30 }
    }
}

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AccelChoice {
    /// KVM when a kernel really boots under it, else TCG; the choice is said aloud.
    Auto,
    /// This and no other.
    Only(Accel),
}

/// What a boot really uses. Times from different accelerators are never compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Accel {
    /// Hardware virtualisation.
    Kvm,
    /// QEMU's translator.
    Tcg,
    /// The same with a clock that counts instructions: nothing of the host's time
    /// reaches the guest, and what it measures is the same in every run.
    Icount,
    /// None: the kernel of the host itself.
    Native,
}

impl Accel {
    /// Every accelerator, in the order of the declaration.
    pub const ALL: [Self; 4] = [Self::Kvm, Self::Tcg, Self::Icount, Self::Native];

    /// As written on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
            Self::Icount => "icount",
            Self::Native => "native",
        }
    }
}

impl fmt::Display for Accel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who prepares the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Backend {
    /// Our own initramfs and command line.
    Qemu,
    /// virtme-ng as an external tool: the host's userland in the guest.
    VirtmeNg,
    /// No guest: a process on the host's own kernel. By `--local` only.
    Local,
}

impl Backend {
    /// As written on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Qemu => "qemu",
            Self::VirtmeNg => "virtme-ng",
            Self::Local => "local",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
