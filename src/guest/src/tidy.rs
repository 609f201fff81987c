//! Makes the guest after a test as it was before the first: ends what the test
//! left running, and takes back the settings that it changed.
//!
//! A workload takes back its own changes; this is for those that crashed.

use std::fs;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, wait};

use crate::session::Place;
use crate::{alone, procfs, trace};

/// Settings that workloads change.
const SYSCTLS: &[&str] = &[
    crate::ucount::LIMIT,
    crate::dress::TUNNELS,
    "/proc/sys/net/core/optmem_max",
    "/proc/sys/net/core/high_order_alloc_disable",
    "/proc/sys/net/core/rmem_max",
    "/proc/sys/net/core/wmem_max",
    "/proc/sys/net/ipv4/tcp_rmem",
    "/proc/sys/net/ipv4/tcp_wmem",
];

/// How the guest was found.
#[derive(Debug)]
pub(crate) struct Room<'a> {
    sysctls: Sysctls,
    place: Place<'a>,
}

impl<'a> Room<'a> {
    /// Remembers the settings of this moment.
    pub(crate) fn as_found(place: Place<'a>) -> Self {
        let read = |path: &&'static str| Some((*path, fs::read_to_string(path).ok()?));
        Self { sysctls: Sysctls(SYSCTLS.iter().filter_map(read).collect()), place }
    }

    /// Puts everything back and says what had to be done, as pairs for notes.
    ///
    /// Returns only when no process of the test is left: one that cannot die
    /// must not be there when the next test measures.
    pub(crate) fn restore(&self) -> Vec<(String, String)> {
        let mut notes = Vec::new();
        let killed = end_children();
        if !killed.is_empty() {
            notes.push(("leftover-processes".to_owned(), killed.join(", ")));
        }
        notes.extend(self.sysctls.restore());
        if matches!(self.place, Place::Host(_)) {
            // Tracers and processors are the host's, and out of a test's reach.
            return notes;
        }
        for instance in trace::remove_leftovers() {
            notes.push((format!("leftover:{instance}"), "removed".into()));
        }
        if trace::switch_off() {
            notes.push(("leftover:tracer".to_owned(), "switched off".into()));
        }
        for cpu in alone::bring_back() {
            notes.push((format!("leftover:{cpu}"), "was offline".into()));
        }
        notes
    }
}

/// Paths of settings with the values that they had.
#[derive(Debug)]
struct Sysctls(Vec<(&'static str, String)>);

impl Sysctls {
    fn restore(&self) -> Vec<(String, String)> {
        let changed =
            |(path, value): &&(&str, String)| fs::read_to_string(path).is_ok_and(|now| now != *value);
        let put_back = |(path, value): &(&str, String)| match fs::write(path, value) {
            Ok(()) => (format!("leftover:{path}"), "put back".to_owned()),
            Err(error) => (format!("leftover:{path}"), format!("cannot be put back: {error}")),
        };
        self.0.iter().filter(changed).map(put_back).collect()
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

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader};
    use std::process::{Command, Stdio};

    use super::*;

    /// Set in a process of its own for what must not happen in the one that
    /// runs the other tests.
    const ALONE: &str = "KREGRESS_TEST_ALONE";

    #[test]
    fn processes_of_a_test_are_ended_wherever_they_hid() {
        if std::env::var_os(ALONE).is_some() {
            return hide_and_seek();
        }
        let own = std::env::current_exe().expect("test binary");
        let name = "tidy::tests::processes_of_a_test_are_ended_wherever_they_hid";
        #[expect(clippy::disallowed_methods, reason = "a test that needs processes")]
        let output = Command::new(own).args([name, "--exact"]).env(ALONE, "1").output().expect("run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn hide_and_seek() {
        rustix::process::set_child_subreaper(Some(getpid())).expect("subreaper");
        // One in a session of its own, one orphan, one that ends by itself.
        let script = "setsid sleep 1000 & (sleep 1000 & exec true) & true & echo ready; wait";
        #[expect(clippy::disallowed_methods, reason = "a test that needs processes")]
        let mut command = Command::new("/bin/sh");
        let mut shell = command.args(["-c", script]).stdout(Stdio::piped()).spawn().expect("spawn");
        let mut line = String::new();
        BufReader::new(shell.stdout.take().expect("stdout")).read_line(&mut line).expect("read");
        let killed = end_children();
        assert!(killed.iter().any(|name| name.starts_with("sh (")), "{killed:?}");
        assert!(wait(WaitOptions::NOHANG).is_err_and(|error| error == Errno::CHILD));
        assert_eq!(end_children(), Vec::<String>::new());
        shell.wait().expect_err("was reaped with the others");
    }

    #[test]
    fn a_setting_that_a_test_changed_is_put_back_and_told() {
        let file = tempfile::NamedTempFile::new().expect("file");
        fs::write(file.path(), "131072\n").expect("write");
        let path: &'static str = Box::leak(file.path().to_str().expect("path").into());
        let sysctls = Sysctls(vec![(path, "131072\n".into())]);
        assert_eq!(sysctls.restore(), []);
        fs::write(path, "256\n").expect("write");
        assert_eq!(sysctls.restore(), [(format!("leftover:{path}"), "put back".to_owned())]);
        assert_eq!(fs::read_to_string(path).expect("read"), "131072\n");
    }
}
