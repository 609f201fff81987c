//! Children: copies of this process that do one thing, and say how far they are.
//!
//! Every wait for one is bounded. What a child fails with, its parent does.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, kill_process, pidfd_open, waitpid};

use super::patience::{Patience, caught};
use crate::context::Stop;
use crate::{clock, ffi, procfs};

/// Exit code of a child that fails; why is in its pipe.
const FAILED: i32 = 254;

/// Said for each step; a [`Stop`] begins with another byte.
const STEP: u8 = b'.';

/// How long a child that was killed after an error may take to end, in looks and
/// the pause between them. Whoever is not gone then is left to the test's own end.
const LOOKS: u32 = 500;
const PAUSE: Duration = Duration::from_millis(2);

/// What a child says with.
#[derive(Debug)]
pub(super) struct Voice(OwnedFd);

impl Voice {
    /// Tells the parent that one step more is done. Once the parent has many steps
    /// to hear of, the rest are not told.
    pub(super) fn done(&self) {
        let _ = rustix::io::write(&self.0, &[STEP]);
    }
}

/// A process that was forked, killed and reaped when dropped.
#[derive(Debug)]
pub(super) struct Child {
    pid: Option<Pid>,
    /// Readable when it has ended.
    end: OwnedFd,
    pipe: OwnedFd,
    /// What it has said and nobody heard yet.
    said: Vec<u8>,
}

impl Child {
    /// Runs a closure in a copy of this process, whose exit code it gives.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when this process has more than one thread, or cannot be
    /// forked.
    pub(super) fn run(body: impl FnOnce(&Voice) -> Result<i32, Stop>) -> Result<Self, Stop> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let threads = procfs::threads(own).len();
        if threads != 1 {
            return Err(Stop::Error(format!("a process with `{threads}` threads cannot be forked safely")));
        }
        let (pipe, voice) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
            .map_err(|errno| Stop::Error(format!("pipe: {errno}")))?;
        let voice = Voice(voice);
        // SAFETY: there is one thread, as was just counted.
        let pid = match unsafe { ffi::fork() }.map_err(|error| Stop::Error(format!("fork: {error}")))? {
            ffi::Fork::Child => {
                let code = caught("a child", || body(&voice)).unwrap_or_else(|stop| {
                    let _ = rustix::io::write(&voice.0, &in_bytes(&stop));
                    FAILED
                });
                ffi::exit_now(code)
            }
            ffi::Fork::Parent(pid) => pid,
        };
        let end = ended_later(pid).inspect_err(|_| end_now(pid))?;
        Ok(Self { pid: Some(pid), end, pipe, said: Vec::new() })
    }

    /// Waits until it has done one step more.
    ///
    /// # Errors
    ///
    /// What the child fails with; [`Stop::Fail`] when it ends otherwise, or when time
    /// runs out.
    pub(super) fn hear(&mut self, patience: Patience<'_>, step: &str) -> Result<(), Stop> {
        loop {
            if self.said.first() == Some(&STEP) {
                self.said.remove(0);
                return Ok(());
            }
            patience.wait(self.pipe.as_fd(), PollFlags::IN, || format!("a child that {step}"))?;
            if !self.listen()? {
                let status = self.reap(patience, &format!("the end of a child that should have {step}"))?;
                return Err(Stop::Fail(format!("a child {} before it {step}", ended(status))));
            }
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// What the child fails with; [`Stop::Fail`] when time runs out.
    pub(super) fn wait(mut self, patience: Patience<'_>, what: &str) -> Result<WaitStatus, Stop> {
        self.reap(patience, what)
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when it cannot be killed.
    pub(super) fn kill(&self) -> Result<(), Stop> {
        self.pid
            .map_or(Ok(()), |pid| kill_process(pid, Signal::KILL))
            .map_err(|errno| Stop::Error(format!("kill of a child: {errno}")))
    }

    fn reap(&mut self, patience: Patience<'_>, what: &str) -> Result<WaitStatus, Stop> {
        let pid = self.pid.ok_or_else(|| Stop::Error(format!("nobody is left to wait for: {what}")))?;
        let status = reap(pid, &self.end, patience, what)?;
        self.pid = None;
        while self.listen()? {}
        let stop = self.said.iter().position(|byte| *byte != STEP).and_then(|at| of_bytes(&self.said[at..]));
        stop.map_or(Ok(status), Err)
    }

    /// Takes what it has said since; false when that is nothing.
    fn listen(&mut self) -> Result<bool, Stop> {
        let mut buffer = [0; 512];
        match retry_on_intr(|| rustix::io::read(&self.pipe, &mut buffer)) {
            Ok(0) | Err(Errno::AGAIN) => Ok(false),
            Ok(got) => {
                self.said.extend(&buffer[..got]);
                Ok(true)
            }
            Err(errno) => Err(Stop::Error(format!("read of a child's pipe: {errno}"))),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            end_now(pid);
        }
    }
}

/// Kills and reaps a child after an error; it may be gone already.
fn end_now(pid: Pid) {
    let _ = kill_process(pid, Signal::KILL);
    for _ in 0..LOOKS {
        match waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(None) | Err(Errno::INTR) => clock::poll_interval(PAUSE),
            Ok(Some(_)) | Err(_) => return,
        }
    }
}

/// How a process ended, in words.
pub(super) fn ended(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("ended with exit code `{code}`"),
        (None, Some(signal)) => format!("was ended by signal `{signal}`"),
        (None, None) => "did not end".to_owned(),
    }
}

/// A file that is readable when the process has ended.
fn ended_later(pid: Pid) -> Result<OwnedFd, Stop> {
    pidfd_open(pid, PidfdFlags::empty()).map_err(|errno| Stop::Error(format!("pidfd_open: {errno}")))
}

fn reap(pid: Pid, end: &OwnedFd, patience: Patience<'_>, what: &str) -> Result<WaitStatus, Stop> {
    patience.wait(end.as_fd(), PollFlags::IN, || what.to_owned())?;
    match retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty())) {
        Ok(Some((_, status))) => Ok(status),
        Ok(None) => Err(Stop::Error("a child vanished".into())),
        Err(errno) => Err(Stop::Error(format!("waitpid: {errno}"))),
    }
}

/// Copies the address space for a process that ends at once, and reaps it. Safe with
/// any number of threads.
///
/// # Errors
///
/// [`Stop::Fail`] when it cannot be forked, or does not end.
pub(super) fn fork_and_end(patience: Patience<'_>) -> Result<(), Stop> {
    let pid = ffi::fork_and_end().map_err(|error| Stop::Fail(format!("fork: {error}")))?;
    let end = ended_later(pid).inspect_err(|_| end_now(pid))?;
    reap(pid, &end, patience, "the end of a child that does nothing").map(drop)
}

/// Rests until somebody kills this process.
pub(super) fn until_killed() -> ! {
    loop {
        // Nothing to wait for: only a signal ends it.
        let _ = rustix::event::poll(&mut [], None);
    }
}

/// Closes a descriptor in a child whose parent goes on to own it.
pub(super) fn close_in_child(file: &OwnedFd) {
    // SAFETY: called in a child that ends with `_exit`: there the owner, which is
    // a copy, never closes it again.
    unsafe { libc::close(file.as_raw_fd()) };
}

/// What is sent through a pipe.
fn in_bytes(stop: &Stop) -> Vec<u8> {
    let (kind, text) = match stop {
        Stop::Fail(text) => ('F', text),
        Stop::TimedOut(text) => ('T', text),
        Stop::Skip(text) => ('S', text),
        Stop::Error(text) => ('E', text),
    };
    format!("{kind}{text}").into_bytes()
}

/// What came through one; `None` when it cannot be understood.
fn of_bytes(bytes: &[u8]) -> Option<Stop> {
    let (kind, text) = bytes.split_first()?;
    let text = String::from_utf8_lossy(text).into_owned();
    match kind {
        b'F' => Some(Stop::Fail(text)),
        b'T' => Some(Stop::TimedOut(text)),
        b'S' => Some(Stop::Skip(text)),
        b'E' => Some(Stop::Error(text)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_child_fails_with_comes_through_a_pipe_as_it_was() {
        for stop in [
            Stop::Fail("byte 7 is wrong".into()),
            Stop::Skip("no CONFIG_MEMCG".into()),
            Stop::Error("fork: é".into()),
            Stop::Fail(String::new()),
        ] {
            assert_eq!(of_bytes(&in_bytes(&stop)), Some(stop));
        }
    }

    #[test]
    fn no_stop_can_be_taken_for_a_step() {
        for stop in [Stop::Fail(".".into()), Stop::Skip(".".into()), Stop::Error(".".into())] {
            assert_ne!(in_bytes(&stop).first(), Some(&STEP));
        }
        assert_eq!(of_bytes(&[STEP]), None);
        assert_eq!(of_bytes(b""), None);
    }

    proptest! {
        #[test]
        fn whatever_a_child_says_is_taken(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = of_bytes(&bytes);
        }
    }
}
