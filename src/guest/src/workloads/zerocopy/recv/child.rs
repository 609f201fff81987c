//! Children: copies of this process that do one thing, or touch memory that this
//! process had better not.

use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;

use rustix::io::{Errno, Result};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, WaitOptions, WaitStatus, kill_process, waitid, waitpid,
};

use crate::context::Stop;
use crate::{ffi, procfs};

/// A process that was forked, killed and reaped when dropped.
#[derive(Debug)]
pub(super) struct Child(Option<Pid>);

impl Child {
    /// Runs a closure in a copy of this process, whose exit code it gives.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when this process has more than one thread, or cannot be
    /// forked.
    pub(super) fn run(body: impl FnOnce() -> i32) -> std::result::Result<Self, Stop> {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let threads = procfs::threads(own).len();
        if threads != 1 {
            return Err(Stop::Error(format!("a process with `{threads}` threads cannot be forked safely")));
        }
        // SAFETY: there is one thread, as was just counted.
        match unsafe { ffi::fork() }.map_err(|error| Stop::Error(format!("fork: {error}")))? {
            ffi::Fork::Child => ffi::exit_now(body()),
            ffi::Fork::Parent(pid) => Ok(Self(Some(pid))),
        }
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when it cannot be waited for.
    pub(super) fn wait(mut self) -> std::result::Result<WaitStatus, Stop> {
        let reaped = self
            .0
            .take()
            .map_or(Ok(None), |pid| rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty())));
        match reaped {
            Ok(Some((_, status))) => Ok(status),
            Ok(None) => Err(Stop::Error("a child vanished".into())),
            Err(errno) => Err(Stop::Error(format!("waitpid: {errno}"))),
        }
    }

    /// Sends SIGKILL.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when it cannot be killed.
    pub(super) fn kill(&self) -> std::result::Result<(), Stop> {
        self.0
            .map_or(Ok(()), |pid| kill_process(pid, Signal::KILL))
            .map_err(|errno| Stop::Error(format!("kill of a child: {errno}")))
    }

    /// Whether it has not ended; it can be waited for all the same.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when it cannot be asked for.
    pub(super) fn is_alive(&self) -> std::result::Result<bool, Stop> {
        let Some(pid) = self.0 else { return Ok(false) };
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(pid), options)
            .map(|ended| ended.is_none())
            .map_err(|errno| Stop::Error(format!("waitid: {errno}")))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            // After an error; it may be gone already.
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

/// Copies the address space for a process that ends at once, and reaps it. Safe
/// with any number of threads: the child runs nothing but its end.
///
/// # Errors
///
/// Those of `fork` and `waitpid`.
pub(super) fn fork_and_end() -> Result<()> {
    // SAFETY: a plain system call without the C library's handlers; the child
    // makes one more, and touches no lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) };
    if pid == 0 {
        ffi::exit_now(0);
    }
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    };
    rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::empty())).map(drop)
}

/// Closes a descriptor in a child whose parent goes on to own it.
pub(super) fn close_in_child(file: &OwnedFd) {
    // SAFETY: called in a child that ends with `_exit`: there the owner, which is
    // a copy, never closes it again.
    unsafe { libc::close(file.as_raw_fd()) };
}

/// How a byte is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// A load.
    Read,
    /// A store.
    Write,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touched {
    /// Nothing.
    Fine,
    /// A signal, with its `si_code`.
    Signal(i32, i32),
}

/// Load or store where a mapping has no page, or one that may not be written.
pub(super) const NO_PAGE: Touched = Touched::Signal(libc::SIGBUS, libc::BUS_ADRERR);
/// Access that the mapping forbids (`SEGV_ACCERR`, which the crate lacks).
pub(super) const FORBIDDEN: Touched = Touched::Signal(libc::SIGSEGV, 2);
/// Access where nothing is mapped (`SEGV_MAPERR`).
pub(super) const NOTHING_MAPPED: Touched = Touched::Signal(libc::SIGSEGV, 1);

/// Bits of an exit code that hold the signal; `si_code` is above.
const SIGNAL_BITS: u32 = 5;

extern "C" fn tell_signal(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid `info`.
    let code = unsafe { (*info).si_code };
    ffi::exit_now(signal | (code & 7) << SIGNAL_BITS)
}

/// Touches an address in a child, which catches what it gets for that: so the
/// kernel does not log it.
///
/// # Errors
///
/// As [`Child::run`] and [`Child::wait`].
pub(super) fn touch(address: u64, how: Touch) -> std::result::Result<Touched, Stop> {
    let child = Child::run(|| {
        // SAFETY: zeros are an empty mask and no flags.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_flags = libc::SA_SIGINFO;
        action.sa_sigaction = tell_signal as *const () as usize;
        for signal in [libc::SIGBUS, libc::SIGSEGV] {
            // SAFETY: the handler only ends the process.
            if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
                return 255;
            }
        }
        let byte = ptr::with_exposed_provenance_mut::<u8>(usize::try_from(address).unwrap_or(0));
        match how {
            // SAFETY: the worst is a signal. The address is that of an area, and
            // this process ends now.
            Touch::Read => drop(unsafe { byte.read_volatile() }),
            // SAFETY: as above.
            Touch::Write => unsafe { byte.write_volatile(1) },
        }
        0
    })?;
    let status = child.wait()?;
    match status.exit_status() {
        Some(0) => Ok(Touched::Fine),
        Some(code) if code < 255 => Ok(Touched::Signal(code & ((1 << SIGNAL_BITS) - 1), code >> SIGNAL_BITS)),
        _ => Err(Stop::Error(format!("the child that touched `{address:#x}` ended with {status:?}"))),
    }
}
