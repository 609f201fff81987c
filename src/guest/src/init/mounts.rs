//! The file systems that the guest needs, as tables.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::fs;
use std::io;

use rustix::io::Errno;
use rustix::mount::{MountFlags, mount};

/// What it means when a mount fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    /// Nothing works without it.
    Required,
    /// Some tests are skipped without it.
    Optional,
}

/// One line of the table.
#[derive(Debug, Clone, Copy)]
struct Mount {
    fs: &'static str,
    target: &'static str,
    flags: MountFlags,
    data: Option<&'static CStr>,
    need: Need,
    /// The kernel option that brings it.
    symbol: &'static str,
}

const PLAIN: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
const NO_DEVICES: MountFlags = MountFlags::NOSUID.union(MountFlags::NODEV);

/// In this order: the later ones lie within the earlier ones.
const INIT: &[Mount] = &[
    Mount {
        fs: "devtmpfs",
        target: "/dev",
        flags: MountFlags::NOSUID,
        data: Some(c"mode=0755"),
        need: Need::Required,
        symbol: "CONFIG_DEVTMPFS",
    },
    Mount {
        fs: "proc",
        target: "/proc",
        flags: PLAIN,
        data: None,
        need: Need::Required,
        symbol: "CONFIG_PROC_FS",
    },
    Mount {
        fs: "sysfs",
        target: "/sys",
        flags: PLAIN,
        data: None,
        need: Need::Required,
        symbol: "CONFIG_SYSFS",
    },
    Mount {
        fs: "tmpfs",
        target: "/tmp",
        flags: NO_DEVICES,
        data: Some(c"mode=1777"),
        need: Need::Optional,
        symbol: "CONFIG_TMPFS",
    },
    Mount {
        fs: "tmpfs",
        target: "/run",
        flags: NO_DEVICES,
        data: Some(c"mode=0755"),
        need: Need::Optional,
        symbol: "CONFIG_TMPFS",
    },
    Mount {
        fs: "tmpfs",
        target: "/dev/shm",
        flags: NO_DEVICES,
        data: Some(c"mode=1777"),
        need: Need::Optional,
        symbol: "CONFIG_TMPFS",
    },
    DEBUGFS,
    TRACEFS,
    Mount {
        fs: "cgroup2",
        target: "/sys/fs/cgroup",
        flags: PLAIN,
        data: None,
        need: Need::Optional,
        symbol: "CONFIG_CGROUPS",
    },
];

/// What a root file system of somebody else's may have left out.
const AGENT: &[Mount] = &[DEBUGFS, TRACEFS];

/// What an interactive guest has in addition.
const SHELL: &[Mount] = &[Mount {
    fs: "devpts",
    target: "/dev/pts",
    flags: MountFlags::NOSUID.union(MountFlags::NOEXEC),
    data: Some(c"mode=0620,ptmxmode=0666"),
    need: Need::Required,
    symbol: "CONFIG_UNIX98_PTYS",
}];

const DEBUGFS: Mount = Mount {
    fs: "debugfs",
    target: "/sys/kernel/debug",
    flags: PLAIN,
    data: None,
    need: Need::Optional,
    symbol: "CONFIG_DEBUG_FS",
};

const TRACEFS: Mount = Mount {
    fs: "tracefs",
    target: "/sys/kernel/tracing",
    flags: PLAIN,
    data: None,
    need: Need::Optional,
    symbol: "CONFIG_FTRACE",
};

/// A file system without which the guest cannot work.
#[derive(Debug, thiserror::Error)]
#[error("cannot mount {fs} on {target}: {source}\nhint: the kernel needs {symbol}=y")]
pub(crate) struct MountError {
    fs: &'static str,
    target: &'static str,
    symbol: &'static str,
    source: io::Error,
}

/// Mounts everything that an init needs. Optional ones that fail become facts.
///
/// # Errors
///
/// Fails when a required one does.
pub(crate) fn as_init(facts: &mut BTreeMap<String, String>) -> Result<(), MountError> {
    mount_all(INIT, "", facts)
}

/// Mounts what a terminal needs.
///
/// # Errors
///
/// Fails where the kernel has no pseudoterminals.
pub(crate) fn for_shell(facts: &mut BTreeMap<String, String>) -> Result<(), MountError> {
    mount_all(SHELL, "", facts)
}

/// Mounts what is missing in a system that somebody else has booted.
///
/// # Errors
///
/// None of these is required today, so none.
pub(crate) fn as_agent(facts: &mut BTreeMap<String, String>) -> Result<(), MountError> {
    let mounted = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mount_all(AGENT, &mounted, facts)
}

fn mount_all(table: &[Mount], mounted: &str, facts: &mut BTreeMap<String, String>) -> Result<(), MountError> {
    let is_due = |entry: &&Mount| !is_mounted(mounted, entry.target) && !travelled_with_us(entry);
    for entry in table.iter().filter(is_due) {
        if let Err(source) = mount_one(entry) {
            let &Mount { fs, target, symbol, .. } = entry;
            match entry.need {
                Need::Required => return Err(MountError { fs, target, symbol, source }),
                Need::Optional => {
                    let text = format!("not mounted: {source}; needs {symbol}");
                    facts.insert(format!("mount:{target}"), text);
                }
            }
        }
    }
    Ok(())
}

/// Whether the guest image brought files to a place for passing ones: those of a
/// program whose project lies in `/tmp`. A mount would hide them.
fn travelled_with_us(entry: &Mount) -> bool {
    entry.fs == "tmpfs" && fs::read_dir(entry.target).is_ok_and(|mut entries| entries.next().is_some())
}

/// Whether the text of `/proc/self/mounts` has something at `target`.
fn is_mounted(mounts: &str, target: &str) -> bool {
    mounts.lines().any(|line| line.split(' ').nth(1) == Some(target))
}

fn mount_one(entry: &Mount) -> io::Result<()> {
    // A mount point within /sys is made by the kernel or not at all.
    if !entry.target.starts_with("/sys/") {
        fs::create_dir_all(entry.target)?;
    }
    match mount(entry.fs, entry.target, entry.fs, entry.flags, entry.data) {
        // Already there.
        Ok(()) | Err(Errno::BUSY) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_found_by_its_whole_path() {
        let mounts = "proc /proc proc rw 0 0\ntracefs /sys/kernel/tracing tracefs rw 0 0\n";
        assert!(is_mounted(mounts, "/sys/kernel/tracing"));
        assert!(!is_mounted(mounts, "/sys/kernel/trac"));
        assert!(!is_mounted(mounts, "tracefs"));
    }

    #[test]
    fn nothing_is_mounted_over_what_it_contains() {
        for (at, entry) in INIT.iter().enumerate() {
            let inside = |later: &Mount| later.target.starts_with(&format!("{}/", entry.target));
            assert!(!INIT[..at].iter().any(inside), "{} hides an earlier mount", entry.target);
        }
    }

    #[test]
    fn a_required_mount_names_the_kernel_option() {
        let source = Errno::NODEV.into();
        let error = MountError { fs: "devtmpfs", target: "/dev", symbol: "CONFIG_DEVTMPFS", source };
        assert_eq!(
            error.to_string(),
            "cannot mount devtmpfs on /dev: No such device (os error 19)\n\
             hint: the kernel needs CONFIG_DEVTMPFS=y"
        );
    }
}
