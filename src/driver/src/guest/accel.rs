//! Which accelerator a boot uses, and why.
//!
//! A device file proves nothing: there are hosts where `/dev/kvm` opens, KVM
//! initialises, a toy payload runs, and every real kernel hangs. So the choice
//! rests on a canary: the kernel itself, booted once under KVM with a short
//! limit. The verdict is kept per boot of the host, QEMU and kernel.
//!
//! Decides; the canary's boot is carried out by the lab.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::model::{Accel, AccelChoice, Detector};

/// How long the canary may take to say hello. From experience: a KVM guest
/// needs a third of a second, on a loaded nested host three.
pub const CANARY_LIMIT: Duration = Duration::from_secs(10);

/// An accelerator, and the words that explain it to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What the boots use.
    pub accel: Accel,
    /// Why, as a sentence without subject: `KVM does not work: ...`.
    pub reason: String,
}

/// KVM was demanded and is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`accel=kvm` was asked for, but {0}\nhint: `--machine accel=tcg` works everywhere; `kregress doctor` tells more about KVM"
)]
pub struct KvmUnavailable(pub String);

/// State of `/dev/kvm`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// There is none.
    Absent,
    /// It does not open.
    Denied(String),
    /// We may open it, which says little.
    Opens,
}

impl Device {
    /// Looks at `/dev/kvm`.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self::at(Path::new("/dev/kvm"))
    }

    /// Looks at a device without opening it: there may be one whose `open` never
    /// returns. Only the canary opens it, and the canary has a limit.
    fn at(path: &Path) -> Self {
        match access(path, Access::READ_OK | Access::WRITE_OK) {
            Ok(()) => Self::Opens,
            Err(Errno::NOENT) => Self::Absent,
            Err(error) => Self::Denied(io::Error::from(error).to_string()),
        }
    }
}

/// What became of the canary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Canary {
    /// It said hello.
    Sang {
        /// Milliseconds from the start of QEMU.
        after_ms: u64,
    },
    /// It did not.
    Died {
        /// What was seen.
        reason: String,
    },
}

/// First words of a session that waited for a hello in vain.
pub const NO_HELLO: &str = "it said no hello";

impl Canary {
    /// Whether this is a verdict on KVM, and not on the circumstances of one try.
    #[must_use]
    pub fn speaks_of_kvm(&self) -> bool {
        match self {
            Self::Sang { .. } => true,
            Self::Died { reason } => reason.starts_with(NO_HELLO),
        }
    }
}

/// Decides; boots the canary only where its verdict matters.
///
/// # Errors
///
/// The outer error is the canary's: the host could not even try. The inner one
/// is the answer that KVM was demanded and is not to be had.
pub fn decide<E>(
    choice: AccelChoice,
    device: &Device,
    canary: impl FnOnce() -> Result<Canary, E>,
) -> Result<Result<Decision, KvmUnavailable>, E> {
    let (demanded, fallback) = match choice {
        AccelChoice::Only(Accel::Tcg) => {
            return Ok(Ok(Decision { accel: Accel::Tcg, reason: "TCG as asked for".to_owned() }));
        }
        AccelChoice::Only(Accel::Icount) => {
            let reason = "virtual time as asked for: the clock counts instructions".to_owned();
            return Ok(Ok(Decision { accel: Accel::Icount, reason }));
        }
        AccelChoice::Only(Accel::Native) => {
            return Ok(Ok(Decision { accel: Accel::Native, reason: "the kernel of this host".to_owned() }));
        }
        AccelChoice::Only(Accel::Kvm) => (true, ""),
        AccelChoice::Auto => (false, "TCG: "),
    };
    let problem = match device {
        Device::Absent => "this host has no /dev/kvm".to_owned(),
        Device::Denied(error) => format!("/dev/kvm does not open: {error}"),
        Device::Opens => match canary()? {
            Canary::Sang { after_ms } => {
                let reason = format!("KVM: the kernel came up in {after_ms} ms");
                return Ok(Ok(Decision { accel: Accel::Kvm, reason }));
            }
            Canary::Died { reason } => {
                format!("/dev/kvm is there but the kernel does not boot under it: {reason}")
            }
        },
    };
    if demanded {
        return Ok(Err(KvmUnavailable(problem)));
    }
    Ok(Ok(Decision { accel: Accel::Tcg, reason: format!("{fallback}{problem}") }))
}

/// Where verdicts of canaries are kept.
#[derive(Debug, Clone)]
pub struct Memory {
    dir: PathBuf,
}

impl Memory {
    /// Verdicts below the cache directory.
    #[must_use]
    pub fn within(cache: &Path) -> Self {
        Self { dir: cache.join("probe") }
    }

    /// Key of a verdict: it holds until the host reboots, QEMU changes, or
    /// another kernel is meant.
    #[must_use]
    pub fn key(host_boot: &str, qemu: &str, kernel: &str) -> String {
        let mut hasher = Sha256::new();
        for part in [host_boot, qemu, kernel] {
            hasher.update((part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }

    /// A verdict that was kept; one that cannot be read is asked for anew.
    #[must_use]
    pub fn recall(&self, key: &str) -> Option<Canary> {
        serde_json::from_slice(&std::fs::read(self.dir.join(key)).ok()?).ok()
    }

    /// Keeps a verdict.
    ///
    /// # Errors
    ///
    /// Fails when the cache cannot be written.
    pub fn keep(&self, key: &str, canary: &Canary) -> io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let file = tempfile::NamedTempFile::new_in(&self.dir)?;
        serde_json::to_writer(&file, canary).map_err(io::Error::other)?;
        file.persist(self.dir.join(key)).map(drop).map_err(|error| error.error)
    }
}

/// Identity of this boot of the host.
#[must_use]
pub fn host_boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// How many times slower than a KVM guest a boot is expected to be, for its
/// time limits. Factors from experience; what several detectors cost adds up and
/// does not multiply.
#[must_use]
pub fn slowdown(accel: Accel, detectors: &[Detector]) -> f64 {
    let accel = match accel {
        Accel::Kvm | Accel::Native => 1.0,
        Accel::Tcg => 4.0,
        // One thread for all CPUs, and no shortcut between its blocks of code.
        Accel::Icount => 12.0,
    };
    accel * (1.0 + detectors.iter().map(|detector| detector.slowdown() - 1.0).sum::<f64>())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn decided(choice: AccelChoice, device: &Device, canary: Canary) -> Result<Decision, KvmUnavailable> {
        decide(choice, device, || Ok::<_, Infallible>(canary)).expect("infallible")
    }

    fn dead() -> Canary {
        Canary::Died { reason: "it said no hello within 10s".to_owned() }
    }

    #[test]
    fn a_device_that_opens_but_hangs_every_kernel_means_tcg_and_says_so() {
        assert!(dead().speaks_of_kvm());
        let decision = decided(AccelChoice::Auto, &Device::Opens, dead()).expect("a fallback");
        assert_eq!(decision.accel, Accel::Tcg);
        insta::assert_snapshot!(decision.reason, @"TCG: /dev/kvm is there but the kernel does not boot under it: it said no hello within 10s");
    }

    #[test]
    fn a_kernel_that_boots_under_kvm_means_kvm() {
        let decision =
            decided(AccelChoice::Auto, &Device::Opens, Canary::Sang { after_ms: 300 }).expect("kvm");
        assert_eq!(decision.accel, Accel::Kvm);
    }

    #[test]
    fn a_device_is_not_opened_to_look_at_it() {
        let dir = tempfile::tempdir().expect("dir");
        assert_eq!(Device::at(&dir.path().join("kvm")), Device::Absent);
        // To open it for reading or writing alone would block for ever, and to open
        // it for both would make a reader and a writer of us.
        let fifo = dir.path().join("fifo");
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, mode).expect("a fifo");
        assert_eq!(Device::at(&fifo), Device::Opens);
        let write = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::NONBLOCK;
        assert_eq!(rustix::fs::open(&fifo, write, mode).err(), Some(Errno::NXIO), "it has a reader");
    }

    #[test]
    fn no_device_means_tcg_without_a_canary() {
        let decision =
            decide(AccelChoice::Auto, &Device::Absent, || Err("must not boot")).expect("no canary");
        assert_eq!(decision.expect("a fallback").accel, Accel::Tcg);
    }

    #[test]
    fn tcg_as_asked_for_needs_no_canary() {
        let choice = AccelChoice::Only(Accel::Tcg);
        let decision = decide(choice, &Device::Opens, || Err("must not boot")).expect("no canary");
        assert_eq!(decision.expect("tcg").accel, Accel::Tcg);
    }

    #[test]
    fn kvm_that_was_demanded_is_never_replaced() {
        for (device, canary) in [
            (Device::Absent, dead()),
            (Device::Denied("Permission denied (os error 13)".to_owned()), dead()),
            (Device::Opens, dead()),
        ] {
            let error = decided(AccelChoice::Only(Accel::Kvm), &device, canary).expect_err("refused");
            assert!(error.to_string().contains("hint: `--machine accel=tcg`"), "{error}");
        }
    }

    #[test]
    fn a_verdict_is_kept_per_host_boot_qemu_and_kernel() {
        let dir = tempfile::tempdir().expect("dir");
        let memory = Memory::within(dir.path());
        let key = Memory::key("boot", "qemu 7.2", "kernel");
        assert_eq!(memory.recall(&key), None);
        memory.keep(&key, &dead()).expect("keep");
        assert_eq!(memory.recall(&key), Some(dead()));
        for other in [
            Memory::key("reboot", "qemu 7.2", "kernel"),
            Memory::key("boot", "qemu 8.0", "kernel"),
            Memory::key("boot", "qemu 7.2", "other"),
            Memory::key("bootqemu 7.2", "", "kernel"),
        ] {
            assert_eq!(memory.recall(&other), None);
        }
    }

    #[test]
    fn a_damaged_verdict_is_asked_for_anew() {
        let dir = tempfile::tempdir().expect("dir");
        let memory = Memory::within(dir.path());
        memory.keep("key", &dead()).expect("keep");
        std::fs::write(dir.path().join("probe/key"), "{").expect("damage");
        assert_eq!(memory.recall("key"), None);
    }

    #[test]
    fn limits_grow_with_the_accelerator_and_with_detectors() {
        let kasan = Detector::Kasan.slowdown();
        assert_eq!(slowdown(Accel::Kvm, &[]), 1.0);
        assert_eq!(slowdown(Accel::Tcg, &[]), 4.0);
        assert_eq!(slowdown(Accel::Tcg, &[Detector::Kasan]), 4.0 * kasan);
        let both = slowdown(Accel::Kvm, &[Detector::Kasan, Detector::Lockdep]);
        assert_eq!(both, kasan + Detector::Lockdep.slowdown() - 1.0);
    }
}
