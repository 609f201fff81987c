//! A program as a test: its exit code is the verdict, its output goes to the host,
//! which reads KTAP out of it where the plan says so.
//!
//! The program has a mount namespace of its own, so that what it mounts ends with
//! it, reads from `/dev/null`, and prints into a pipe: a program may open its own
//! standard output again, which a port of the machine does not allow. What it
//! leaves running is ended by the session.

use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use kregress_wire::{Exec, WorkloadInfo};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::context::{Context, Stop, Workload, WorkloadResult};
use crate::{clock, ffi, relay};

pub(super) const EXEC: Workload = Workload {
    info: &WorkloadInfo {
        name: Exec::WORKLOAD,
        summary: "a program, judged by its exit code or by the KTAP that it prints",
        params: &[],
        metrics: &[],
        modules: &[],
    },
    run,
};

/// Longest time in which the host hears nothing of a program that prints nothing.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// From SIGTERM to SIGKILL for a program over its limit. Of the time that the host
/// leaves us beyond the limit it is the smaller part.
const GRACE: Duration = Duration::from_millis(200);

fn run(context: &Context<'_>) -> WorkloadResult {
    let exec = context.program()?;
    let [program, ..] = exec.command.as_slice() else {
        return Err(Stop::Error("the plan names a program without a name".to_owned()));
    };
    own_mounts().map_err(|error| Stop::Error(format!("cannot make a mount namespace: {error}")))?;
    let mut running = start(exec).map_err(|error| {
        let directory = &exec.directory;
        Stop::Error(format!("cannot start `{program}` in `{directory}`: {error}"))
    })?;
    let lost = |error: io::Error| Stop::Error(format!("cannot follow `{program}`: {error}"));
    let start = clock::monotonic_ns();
    let elapsed = || Duration::from_nanos(clock::monotonic_ns().saturating_sub(start));
    let whole = context.remaining().as_secs().max(1);
    loop {
        // Also keeps the host's patience with silence: the program may have nothing to say.
        context.progress(elapsed().as_secs().min(whole - 1), whole)?;
        // Having been heard just now, what is left is left of the time limit.
        let left = context.remaining();
        if left.is_zero() {
            let ran = elapsed();
            running.end().map_err(lost)?;
            return Err(Stop::TimedOut(format!("`{program}` was ended after {ran:.1?}, its time limit")));
        }
        if let Some(status) = running.follow(left.min(SIGN_OF_LIFE)).map_err(lost)? {
            return verdict(context, program, status);
        }
    }
}

fn verdict(context: &Context<'_>, program: &str, status: ExitStatus) -> WorkloadResult {
    match (status.code(), status.signal()) {
        (Some(Exec::SKIP), _) => Err(Stop::Skip(format!("`{program}` exited with code {}", Exec::SKIP))),
        (Some(code), _) => context.check(code == 0, || format!("`{program}` exited with code {code}")),
        (None, signal) => {
            let signal = signal.unwrap_or_default();
            let name = relay::signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned);
            context.check(false, || format!("`{program}` was killed by {name}"))
        }
    }
}

/// What is mounted from now on is seen by this process and its children only.
fn own_mounts() -> io::Result<()> {
    ffi::unshare_mounts()?;
    Ok(mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?)
}

/// A program that was started.
struct Running {
    child: Child,
    pid: Pid,
    exit: rustix::fd::OwnedFd,
    output: PipeReader,
    /// Somebody holds the other end of its output.
    open: bool,
}

fn start(exec: &Exec) -> io::Result<Running> {
    let (output, stdout) = io::pipe()?;
    let (program, args) = exec.command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    #[expect(clippy::disallowed_methods, reason = "the program is the test")]
    let mut command = Command::new(program);
    command
        .args(args)
        .current_dir(&exec.directory)
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stdout)
        .env_remove(crate::LIBRARY_PATH)
        .process_group(0);
    for (name, value) in [("HOME", "/"), ("TMPDIR", "/tmp")] {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let child = command.spawn()?;
    // Our copies of the writing end.
    drop(command);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| io::Error::other("the process has no id"))?;
    let exit = pidfd_open(pid, PidfdFlags::empty())?;
    rustix::io::ioctl_fionbio(&output, true)?;
    Ok(Running { child, pid, exit, output, open: true })
}

impl Running {
    /// Passes output on until the program has ended or `limit` has passed. What
    /// the program left running may hold its output open: that is not waited for.
    fn follow(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let timeout = Timespec::try_from(limit).map_err(io::Error::other)?;
        let mut fds = vec![PollFd::new(&self.exit, PollFlags::IN)];
        if self.open {
            fds.push(PollFd::new(&self.output, PollFlags::IN));
        }
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let gone = fds.first().is_some_and(|fd| !fd.revents().is_empty());
        if !gone {
            self.pass_on(1)?;
            return Ok(None);
        }
        // What it printed is in the pipe, and no more of it than fits in there. What
        // another process prints meanwhile must not keep us here.
        self.pass_on(32)?;
        self.child.wait().map(Some)
    }

    /// Passes so many pieces of output on at most.
    fn pass_on(&mut self, pieces: usize) -> io::Result<()> {
        let mut chunk = [0; 65_536];
        for _ in 0..pieces {
            if !self.open {
                break;
            }
            match self.output.read(&mut chunk) {
                Ok(0) => self.open = false,
                // Without a channel for it the output is lost, and the test goes on.
                Ok(count) => drop(io::stderr().write_all(chunk.get(..count).unwrap_or_default())),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Ends the program and its process group.
    fn end(&mut self) -> io::Result<()> {
        // One that is gone already has what it is to get.
        let _ = kill_process_group(self.pid, Signal::TERM);
        let start = clock::monotonic_ns();
        let mut ended = None;
        while ended.is_none() {
            let waited = Duration::from_nanos(clock::monotonic_ns().saturating_sub(start));
            let Some(left) = GRACE.checked_sub(waited).filter(|left| !left.is_zero()) else { break };
            ended = self.follow(left)?;
        }
        let _ = kill_process_group(self.pid, Signal::KILL);
        if ended.is_none() {
            self.child.wait()?;
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing happens where it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
