//! Makes the guest after a test as it was before the first: ends what the test
//! left running, and takes back the settings that it changed.
//!
//! A workload takes back its own changes; this is for those that crashed.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

use crate::{procfs, trace};

/// Settings that workloads change.
const SYSCTLS: &[&str] = &[
    crate::ucount::LIMIT,
    "/proc/sys/net/core/optmem_max",
    "/proc/sys/net/core/high_order_alloc_disable",
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/wmem_max",
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/ipv4/tcp_wmem",
];

/// How the guest was found.
#[derive(Debug)]
pub(crate) struct Room {
    sysctls: Vec<(&'static str, String)>,
}

impl Room {
    /// Remembers the settings of this moment.
    pub(crate) fn as_found() -> Self {
        let read = |path: &&'static str| Some((*path, fs::read_to_string(path).ok()?));
        Self { sysctls: SYSCTLS.iter().filter_map(read).collect() }
    }

    /// Puts everything back and says what had to be done, as pairs for notes.
    ///
    /// Returns only when no process of the test is left: one that cannot die
    /// must not be there when the next test measures.
    pub(crate) fn restore(&mut self) -> Vec<(String, String)> {
        let mut notes = Vec::new();
        let killed = end_children();
        if !killed.is_empty() {
            notes.push(("leftover-processes".to_owned(), killed.join(", ")));
        }
        for (path, value) in &self.sysctls {
            if fs::read_to_string(path).is_ok_and(|now| now != *value) {
                let done = match fs::write(path, value) {
                    Ok(()) => "put back".to_owned(),
                    Err(error) => format!("cannot be put back: {error}"),
                };
                notes.push((format!("leftover:{path}"), done));
            }
        }
        for instance in trace::remove_leftovers() {
            notes.push((format!("leftover:{instance}"), "removed".into()));
        }
        notes
    }
}

/// Kills and reaps every process below this one; their names. As PID 1 or
/// subreaper we inherit the children of those that die.
fn end_children() -> Vec<String> {
    let mut killed = Vec::new();
    let own = getpid().as_raw_nonzero().get();
    loop {
        // Zombies first: they are orphans that ended by themselves.
        match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => continue,
            Err(_) => return killed,
            Ok(None) => {}
        }
        let processes = procfs::processes();
        let alive = |stat: &&procfs::Stat| stat.pid != own && stat.state != 'Z';
        for child in procfs::descendants(&processes, own).into_iter().filter(alive) {
            if Pid::from_raw(child.pid).is_some_and(|pid| kill_process(pid, Signal::KILL).is_ok()) {
                killed.push(format!("{} ({})", child.comm, child.pid));
            }
        }
        // The kernel wakes us for each one that is gone.
        if wait(WaitOptions::empty()).is_err_and(|error| error != Errno::INTR) {
            return killed;
        }
    }
}
