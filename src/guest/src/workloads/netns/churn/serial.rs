//! One namespace after the other: the two benchmarks.
//!
//! Kept as lean as a loop in C. Some namespaces are looked at closely; the
//! time for that is not counted.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, WaitOptions, waitpid};

use super::{MOST_SAMPLES, Round, Steps, Stopwatch, Stride, lean};
use crate::clock;
use crate::context::Stop;
use crate::ffi::{self, Fork, SharedNumber};
use crate::netns::{CreateError, Home, Look, Namespace, Register, inspect};
use crate::procfs::{self, Toll};

/// How many namespaces of a round are looked at.
const LOOKS: usize = 8;

/// Each call leaves the namespace of the one before, which then dies.
pub(super) fn unshare(steps: Steps<'_, '_>, count: usize, register: &mut Register) -> Result<Round, Stop> {
    let home = Home::here()?;
    let (sample, look) = (Stride::new(count, MOST_SAMPLES), Stride::new(count, LOOKS));
    let mut round = Round { namespaces: count, ..Round::default() };
    round.create_ns.reserve(MOST_SAMPLES);
    let mut watch = Stopwatch::start()?;
    for step in 0..count {
        if sample.chooses(step) {
            let before = clock::monotonic_ns();
            create(step)?;
            round.create_ns.push(clock::monotonic_ns().saturating_sub(before));
            steps.tell(step)?;
        } else {
            create(step)?;
        }
        if look.chooses(step) {
            watch.paused(|| {
                let here = Namespace::current().map_err(|error| CreateError::Open(error).stop(step))?;
                register.enter_cookie(inspect(&here, Look::Proc)?)?;
                steps.ctx.checked(Look::Proc.checks());
                Ok(())
            })?;
        }
    }
    (round.elapsed_ns, round.cpu) = watch.stop()?;
    home.back()?;
    round.dropped_ns = clock::monotonic_ns();
    Ok(round)
}

fn create(step: usize) -> Result<(), Stop> {
    ffi::unshare_net().map_err(|error| CreateError::Unshare(error).stop(step))
}

/// Each namespace lives as long as the process that makes it.
pub(super) fn fork(steps: Steps<'_, '_>, count: usize, register: &mut Register) -> Result<Round, Stop> {
    expect_one_thread()?;
    // Before the number that the children write to.
    lean::slim_down()?;
    let home = Home::here()?;
    let (sample, look) = (Stride::new(count, MOST_SAMPLES), Stride::new(count, LOOKS));
    let mut round = Round { namespaces: count, ..Round::default() };
    let spent = SharedNumber::new().map_err(|error| Stop::Error(format!("mmap: {error}")))?;
    let toll = Toll::now();
    let mut watch = Stopwatch::start()?;
    for step in 0..count {
        let sampled = sample.chooses(step);
        // SAFETY: this process has one thread, as was just checked, and its
        // children make system calls only.
        match unsafe { ffi::fork_bare() }.map_err(fork_failed)? {
            Fork::Child if sampled => {
                let before = clock::monotonic_ns();
                let created = ffi::unshare_net();
                spent.set(clock::monotonic_ns().saturating_sub(before));
                ffi::exit_now(code(created));
            }
            Fork::Child => ffi::exit_now(code(ffi::unshare_net())),
            Fork::Parent(child) => expect_created(child, step, toll)?,
        }
        if sampled {
            round.create_ns.push(spent.get());
            steps.tell(step)?;
        }
        if look.chooses(step) {
            watch.paused(|| {
                look_at_child(&home, step, toll, register)?;
                steps.ctx.checked(Look::Proc.checks());
                Ok(())
            })?;
        }
    }
    (round.elapsed_ns, round.cpu) = watch.stop()?;
    round.dropped_ns = clock::monotonic_ns();
    Ok(round)
}

fn fork_failed(error: std::io::Error) -> Stop {
    Stop::Fail(format!("fork failed: {error}"))
}

/// What `fork` without `exec` asks for.
fn expect_one_thread() -> Result<(), Stop> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    match procfs::threads(own).len() {
        1 => Ok(()),
        threads => {
            Err(Stop::Error(format!("the workload's process has {threads} threads, it needs to have 1")))
        }
    }
}

/// Exit code of a child: 0, or the number of the error.
fn code(created: rustix::io::Result<()>) -> i32 {
    created.map_or_else(Errno::raw_os_error, |()| 0)
}

/// `toll` is the kernel's from before, to tell who killed a child.
fn expect_created(child: Pid, step: usize, toll: Toll) -> Result<(), Stop> {
    let status = loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => break status,
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(Stop::Error(format!("waitpid: {error}"))),
        }
    };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(0), _) => Ok(()),
        (Some(error), _) => Err(CreateError::Unshare(Errno::from_raw_os_error(error)).stop(step)),
        (None, _) if Toll::now().oom_kills > toll.oom_kills => {
            Err(Stop::Fail(format!("the kernel ran out of memory and killed child number {step}")))
        }
        (None, signal) => {
            Err(Stop::Error(format!("child number {step} was killed by signal {}", signal.unwrap_or(0))))
        }
    }
}

/// Makes one more child, which stays in its namespace until it was looked at.
fn look_at_child(home: &Home, step: usize, toll: Toll, register: &mut Register) -> Result<(), Stop> {
    let pipe = || {
        let ends = pipe_with(PipeFlags::CLOEXEC).map_err(|error| Stop::Error(format!("pipe: {error}")))?;
        Ok::<(OwnedFd, OwnedFd), Stop>(ends)
    };
    let ((ready, tell_ready), (done, tell_done)) = (pipe()?, pipe()?);
    // SAFETY: the caller's process has one thread, and the child makes system
    // calls only.
    match unsafe { ffi::fork_bare() }.map_err(fork_failed)? {
        Fork::Child => {
            drop((ready, tell_done));
            let created = ffi::unshare_net();
            // What is not told is told by the exit code.
            let _ = std::fs::File::from(tell_ready).write_all(&[1]);
            // Ends when the other side is dropped.
            let _ = std::fs::File::from(done).read(&mut [0]);
            ffi::exit_now(code(created));
        }
        Fork::Parent(child) => {
            drop((tell_ready, done));
            let looked = look_from_outside(home, child, ready);
            drop(tell_done);
            expect_created(child, step, toll)?;
            register.enter_cookie(looked?)
        }
    }
}

fn look_from_outside(home: &Home, child: Pid, ready: OwnedFd) -> Result<crate::netns::Identity, Stop> {
    let told = std::fs::File::from(ready).read_exact(&mut [0]);
    told.map_err(|error| Stop::Error(format!("a child did not come to its namespace: {error}")))?;
    let namespace = Namespace::of(child)
        .map_err(|error| Stop::Error(format!("cannot open the namespace of a child: {error}")))?;
    namespace.enter().map_err(|error| Stop::Fail(format!("setns to the namespace of a child: {error}")))?;
    let identity = inspect(&namespace, Look::Proc);
    home.back()?;
    identity
}
