//! A process that kills others in the middle of making a namespace, one after the
//! other, until it is told to stop: `netns/kill` as a part of something larger.

use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use super::kill::{LONGEST, reap};
use crate::clock;
use crate::context::Stop;
use crate::ffi::{self, Fork, SharedNumber};

/// The process, which is gone when this is dropped.
#[derive(Debug)]
pub(super) struct Killer {
    process: Option<Pid>,
    over: SharedNumber,
    killed: SharedNumber,
}

impl Killer {
    /// Starts it; while this process has one thread. `rng` says how long each
    /// victim lives.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when the kernel makes no process.
    pub(super) fn start(rng: &mut fastrand::Rng) -> Result<Self, Stop> {
        let number = || SharedNumber::new().map_err(|error| Stop::Error(format!("mmap: {error}")));
        let mut killer = Self { process: None, over: number()?, killed: number()? };
        let mut own = rng.fork();
        // SAFETY: this process has one thread.
        match unsafe { ffi::fork() }.map_err(|error| Stop::Fail(format!("fork failed: {error}")))? {
            Fork::Child => ffi::exit_now(killer.work(&mut own)),
            Fork::Parent(process) => killer.process = Some(process),
        }
        Ok(killer)
    }

    /// Kills until told, one victim at least; the exit code, which is 0 or an error
    /// number.
    fn work(&self, rng: &mut fastrand::Rng) -> i32 {
        // Neither this process nor its victim outlives the test.
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        loop {
            // SAFETY: this process has one thread, and the child makes system calls
            // only.
            let victim = match unsafe { ffi::fork_bare() } {
                Ok(Fork::Child) => make_until_killed(),
                Ok(Fork::Parent(victim)) => victim,
                Err(error) => return error.raw_os_error().unwrap_or(libc::EINVAL),
            };
            let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
            clock::poll_interval(Duration::from_nanos(rng.u64(..longest)));
            // One that has ended by itself is not reaped yet.
            let _ = kill_process(victim, Signal::KILL);
            match reap(victim) {
                Ok(None) => self.killed.set(self.killed.get() + 1),
                Ok(Some(code)) => return code,
                Err(_) => return libc::ECHILD,
            }
            if self.over.get() != 0 {
                return 0;
            }
        }
    }

    /// Ends it, after its last victim: how many there were.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when a victim could not make namespaces, or not be made.
    pub(super) fn stop(mut self) -> Result<u64, Stop> {
        self.over.set(1);
        let Some(process) = self.process.take() else { return Ok(0) };
        match reap(process)? {
            None => Err(Stop::Error("the process that kills others was killed itself".into())),
            Some(0) => Ok(self.killed.get()),
            Some(code) => Err(Stop::Fail(format!(
                "a task that makes namespaces until it is killed: {}",
                Errno::from_raw_os_error(code)
            ))),
        }
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        if let Some(process) = self.process.take() {
            let _ = kill_process(process, Signal::KILL);
            let _ = reap(process);
        }
    }
}

fn make_until_killed() -> ! {
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    loop {
        if let Err(error) = ffi::unshare_net() {
            ffi::exit_now(Errno::raw_os_error(error));
        }
    }
}
