//! The machine that a kernel boots on.

use std::fmt;
use std::path::{Path, PathBuf};

/// Machine as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Machine {
    /// How instructions are executed.
    pub accel: AccelChoice,
    /// Who builds the QEMU command line and the root file system.
    pub backend: Backend,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Guest memory in bytes.
    pub memory: u64,
    /// What the guest's root is made of, on virtme-ng; our own guests need none.
    pub rootfs: RootFs,
    /// Directory that is the guest's root, on virtme-ng. None is that of the host.
    pub root: Option<GuestRoot>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            accel: AccelChoice::Auto,
            backend: Backend::Qemu,
            cpus: 2,
            memory: 1 << 30,
            rootfs: RootFs::Auto,
            root: None,
        }
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

/// Directory that is the root of a guest of virtme-ng. An absolute path that nothing on
/// its way can take for something else: virtme-ng hands it to a shell as it is, and QEMU
/// ends it at a comma.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestRoot(PathBuf);

impl GuestRoot {
    /// The path, if it is one.
    #[must_use]
    pub fn new(path: &str) -> Option<Self> {
        let plain = |c: char| c.is_alphanumeric() || "/._+@-".contains(c);
        (path.starts_with('/') && path.chars().all(plain)).then(|| Self(path.into()))
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl fmt::Display for GuestRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}

/// How the files of the host come into a guest of virtme-ng.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum RootFs {
    /// virtiofs where the host can serve it, else 9p.
    #[default]
    Auto,
    /// By QEMU itself: works everywhere.
    NineP,
    /// By virtiofsd, several times faster.
    Virtiofs,
}

impl RootFs {
    /// Every choice, in the order of the declaration.
    pub const ALL: [Self; 3] = [Self::Auto, Self::NineP, Self::Virtiofs];

    /// As written on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::NineP => "9p",
            Self::Virtiofs => "virtiofs",
        }
    }
}

impl fmt::Display for RootFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
