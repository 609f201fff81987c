//! A memory cgroup (version 2), in a hierarchy that is mounted for it.

use std::ffi::CStr;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::context::Stop;

/// Memory that the processes in it may have, in bytes.
pub(super) const LIMIT: usize = 24 << 20;

/// Bytes per processor that stay charged for later (`MEMCG_CHARGE_BATCH`,
/// mm/memcontrol.c: 64 pages), and as much for small objects that are freed later.
pub(super) const SLACK: u64 = 2 * 64 * 4096;

/// Name of the process that goes beyond the limit. The driver's rules for the
/// console allow what the kernel says of it.
pub(super) const VICTIM: &CStr = c"memcg-victim";

/// Where the hierarchy is mounted.
const ROOT: &str = "/tmp/kregress-cgroup2";

/// A cgroup; removed, and its hierarchy unmounted, when dropped.
#[derive(Debug)]
pub(super) struct Group {
    path: PathBuf,
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> Stop {
    Stop::Error(format!("{what}: {error}"))
}

impl Group {
    /// Makes one with a limit.
    ///
    /// # Errors
    ///
    /// [`Stop::Skip`] for a kernel without memory cgroups of version 2.
    pub(super) fn new() -> Result<Self, Stop> {
        fs::create_dir_all(ROOT).map_err(|error| failed(ROOT, &error))?;
        mount("none", ROOT, "cgroup2", MountFlags::empty(), None).map_err(|errno| match errno {
            rustix::io::Errno::NODEV => {
                Stop::Skip("the kernel lacks CONFIG_CGROUPS (mount of cgroup2: no such file system)".into())
            }
            _ => failed("mount of cgroup2", &errno),
        })?;
        let group = Self { path: Path::new(ROOT).join("kregress") };
        let controllers = fs::read_to_string(format!("{ROOT}/cgroup.controllers"))
            .map_err(|error| failed("cgroup.controllers", &error))?;
        if !controllers.split_whitespace().any(|name| name == "memory") {
            return Err(Stop::Skip(
                "memory cgroups of version 2 are not there; they need CONFIG_MEMCG, and no mount of version 1".into(),
            ));
        }
        fs::write(format!("{ROOT}/cgroup.subtree_control"), "+memory")
            .map_err(|error| failed("cgroup.subtree_control", &error))?;
        fs::create_dir_all(&group.path).map_err(|error| failed("mkdir of a cgroup", &error))?;
        group.set("memory.max", &LIMIT.to_string())?;
        Ok(group)
    }

    fn set(&self, file: &str, value: &str) -> Result<(), Stop> {
        fs::write(self.path.join(file), value).map_err(|error| failed(file, &error))
    }

    fn read(&self, file: &str) -> Result<String, Stop> {
        fs::read_to_string(self.path.join(file)).map_err(|error| failed(file, &error))
    }

    /// File that a process writes 0 to in order to join.
    pub(super) fn tasks(&self) -> PathBuf {
        self.path.join("cgroup.procs")
    }

    /// Processes that were killed in it.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the kernel does not tell.
    pub(super) fn kills(&self) -> Result<u64, Stop> {
        let text = self.read("memory.events")?;
        event(&text, "oom_kill").ok_or_else(|| Stop::Error(format!("memory.events lacks oom_kill: {text:?}")))
    }

    /// Bytes that are charged to it.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the kernel does not tell.
    pub(super) fn current(&self) -> Result<u64, Stop> {
        let text = self.read("memory.current")?;
        text.trim().parse().map_err(|_| Stop::Error(format!("memory.current is {text:?}")))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nothing can be done about a failure but to leave it behind.
        let _ = fs::remove_dir(&self.path);
        let _ = unmount(ROOT, UnmountFlags::DETACH);
        let _ = fs::remove_dir(ROOT);
    }
}

/// A counter of `memory.events`.
fn event(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_matched_by_its_whole_name() {
        let text = "low 0\nhigh 0\nmax 12\noom 2\noom_kill 1\noom_group_kill 7\n";
        assert_eq!(event(text, "oom_kill"), Some(1));
        assert_eq!(event(text, "oom"), Some(2));
        assert_eq!(event(text, "none"), None);
    }

    #[test]
    fn the_name_of_the_victim_fits_into_a_task() {
        assert!(VICTIM.to_bytes().len() < 16);
    }
}
