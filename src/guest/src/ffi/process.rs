//! Processes: how they come, end, share a number, and what they have used.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

use super::check;

/// Processor time in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct CpuTime {
    /// Spent in user mode.
    pub(crate) user_ns: u64,
    /// Spent in the kernel on behalf of the caller.
    pub(crate) system_ns: u64,
}

impl std::ops::Add for CpuTime {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { user_ns: self.user_ns + other.user_ns, system_ns: self.system_ns + other.system_ns }
    }
}

impl std::ops::Sub for CpuTime {
    type Output = Self;

    /// Never below 0: the kernel divides processor time into user and system by
    /// sampling, and may correct a division afterwards.
    fn sub(self, other: Self) -> Self {
        Self {
            user_ns: self.user_ns.saturating_sub(other.user_ns),
            system_ns: self.system_ns.saturating_sub(other.system_ns),
        }
    }
}

/// Processor time of this process, its threads and its reaped children.
pub(crate) fn cpu_time() -> io::Result<CpuTime> {
    Ok(usage(libc::RUSAGE_SELF)? + usage(libc::RUSAGE_CHILDREN)?)
}

/// Processor time of the calling thread.
pub(crate) fn thread_cpu_time() -> io::Result<CpuTime> {
    usage(libc::RUSAGE_THREAD)
}

/// Processor time of another process, its threads included, in nanoseconds; none
/// once it is gone. Works for threads of the kernel: each is a process of its own
/// (`pid_for_clock`, kernel/time/posix-cpu-timers.c). Exact, for it comes from the
/// scheduler (`task_sched_runtime`) and not from ticks.
pub(crate) fn cpu_time_of(pid: i32) -> Option<u64> {
    let mut clock = std::mem::MaybeUninit::<libc::clockid_t>::uninit();
    // SAFETY: `clock` is writable and of the right type.
    if unsafe { libc::clock_getcpuclockid(pid, clock.as_mut_ptr()) } != 0 {
        return None;
    }
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call before succeeded, so `clock` is filled; `time` is writable and
    // of the right type.
    check(unsafe { libc::clock_gettime(clock.assume_init(), &raw mut time) }).ok()?;
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec).ok()?, u64::try_from(time.tv_nsec).ok()?);
    Some(seconds * 1_000_000_000 + nanoseconds)
}

fn usage(who: libc::c_int) -> io::Result<CpuTime> {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` is writable and of the right type.
    check(unsafe { libc::getrusage(who, usage.as_mut_ptr()) })?;
    // SAFETY: getrusage succeeded, so it filled the structure.
    let usage = unsafe { usage.assume_init() };
    Ok(CpuTime { user_ns: nanoseconds(usage.ru_utime), system_ns: nanoseconds(usage.ru_stime) })
}

fn nanoseconds(time: libc::timeval) -> u64 {
    let (seconds, micros) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_usec));
    seconds.unwrap_or(0) * 1_000_000_000 + micros.unwrap_or(0) * 1_000
}

/// Which side of a [`fork`] a process is on.
#[derive(Debug)]
pub(crate) enum Fork {
    /// The new process; it ends with [`exit_now`].
    Child,
    /// The old one.
    Parent(Pid),
}

/// Duplicates the process.
///
/// # Safety
///
/// The process has one thread: in the child of a process with more, a lock may
/// be held for ever by a thread that is not there.
pub(crate) unsafe fn fork() -> io::Result<Fork> {
    // SAFETY: the caller guarantees that there is one thread.
    let pid = check(unsafe { libc::fork() })?;
    Ok(Pid::from_raw(pid).map_or(Fork::Child, Fork::Parent))
}

/// Forks without what the C library does around it, which writes to pages that
/// are then copied.
///
/// # Safety
///
/// The process has one thread, and the child does nothing but make system calls
/// and [`exit_now`].
pub(crate) unsafe fn fork_bare() -> io::Result<Fork> {
    // SAFETY: the caller vouches for all of it.
    unsafe { clone() }
}

/// Copies the address space for a process that ends at once; somebody has to reap
/// it. Any number of threads may do other things meanwhile.
pub(crate) fn fork_and_end() -> io::Result<Pid> {
    // SAFETY: of the other threads the child has what they left in memory, locks that
    // nobody will ever open among it. It touches none: all it does is a system call
    // that ends it, which neither runs destructors nor handlers of the C library.
    match unsafe { clone() }? {
        Fork::Child => exit_now(0),
        Fork::Parent(pid) => Ok(pid),
    }
}

/// The system call that is `fork`.
///
/// # Safety
///
/// The child does nothing but make system calls and [`exit_now`].
unsafe fn clone() -> io::Result<Fork> {
    let none: libc::c_ulong = 0;
    let flags = libc::c_ulong::from(libc::SIGCHLD.unsigned_abs());
    // SAFETY: without flags, and with the stack where it is, `clone` is `fork`;
    // for the rest the caller vouches.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, none, none, none, none) };
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    Ok(Pid::from_raw(check(pid)?).map_or(Fork::Child, Fork::Parent))
}

/// Arguments of `clone3` as of its first version (`CLONE_ARGS_SIZE_VER0`,
/// include/uapi/linux/sched.h).
#[repr(C, align(8))]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Asks whether `clone3` is there, which is since Linux 5.3, without making a
/// process.
pub(crate) fn probe_clone3() -> io::Result<()> {
    let null = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: arguments of no length are refused with `EINVAL`, and not read.
    let result = unsafe { libc::syscall(libc::SYS_clone3, null, 0_usize) };
    let error = if result < 0 { io::Error::last_os_error() } else { return Ok(()) };
    if error.raw_os_error() == Some(libc::EINVAL) { Ok(()) } else { Err(error) }
}

/// Makes a process in a network namespace of its own, by one call of `clone3`. It
/// is a child of the caller's parent, who reaps it even when the caller is killed.
///
/// # Safety
///
/// As of [`fork_bare`].
pub(crate) unsafe fn sibling_in_new_net() -> io::Result<Fork> {
    let flags = u64::from((libc::CLONE_NEWNET | libc::CLONE_PARENT).unsigned_abs());
    // With CLONE_PARENT the signal to the parent is that of the caller.
    let arguments = CloneArguments { flags, ..CloneArguments::default() };
    // SAFETY: the arguments are readable and of the length given; memory is copied
    // and the stack stays where it is, as with `fork`; for the rest the caller
    // vouches.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of::<CloneArguments>()) };
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    Ok(Pid::from_raw(check(pid)?).map_or(Fork::Child, Fork::Parent))
}

/// Keeps the mapping out of children that are forked from now on.
///
/// # Safety
///
/// No such child may touch the mapping.
pub(crate) unsafe fn keep_from_children(start: usize, length: usize) -> io::Result<()> {
    let start = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: memory of this process stays as it is; for the children the caller
    // vouches.
    check(unsafe { libc::madvise(start, length, libc::MADV_DONTFORK) }).map(drop)
}

/// An address in the memory that belongs to the calling thread alone, in which
/// the C library finds itself.
pub(crate) fn thread_local_address() -> usize {
    // SAFETY: only the address is taken.
    unsafe { libc::__errno_location() }.expose_provenance()
}

/// Ends the process without running destructors or exit handlers: the way out
/// for a child that shares its parent's open files.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: `_exit` only ends the process.
    unsafe { libc::_exit(code) }
}

/// A number that a process shares with the children that it forks.
#[derive(Debug)]
pub(crate) struct SharedNumber(NonNull<AtomicU64>);

// SAFETY: what it points to is atomic, and stays mapped as long as it lives.
unsafe impl Sync for SharedNumber {}

impl SharedNumber {
    /// Starts at 0.
    pub(crate) fn new() -> io::Result<Self> {
        let (anywhere, length) = (std::ptr::null_mut(), size_of::<AtomicU64>());
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address where nothing of ours is mapped.
        let area = unsafe { mmap_anonymous(anywhere, length, access, MapFlags::SHARED) }?;
        NonNull::new(area.cast()).map(Self).ok_or_else(|| io::Error::other("mmap gave a null pointer"))
    }

    /// Sets it for everybody.
    pub(crate) fn set(&self, value: u64) {
        self.number().store(value, Ordering::Release);
    }

    /// What it is now.
    pub(crate) fn get(&self) -> u64 {
        self.number().load(Ordering::Acquire)
    }

    fn number(&self) -> &AtomicU64 {
        // SAFETY: mapped, aligned to a page and zeroed by `new`, unmapped only
        // by `drop`.
        unsafe { self.0.as_ref() }
    }
}

impl Drop for SharedNumber {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; no reference outlives `self`. If it
        // fails the page stays until the process ends.
        let _ = unsafe { munmap(self.0.as_ptr().cast(), size_of::<AtomicU64>()) };
    }
}

/// Moves this process into a new user namespace in which every user and group
/// is itself, and into network and mount namespaces that belong to it.
///
/// Fails with `EINVAL` where the process has more than one thread, and with
/// `ENOSPC` or `EPERM` where user namespaces are forbidden.
pub(crate) fn unshare_user_net_and_mounts() -> io::Result<()> {
    // Only a process outside of the new namespace may map more than one user
    // (user_namespaces(7)), so one has to stay outside.
    let (asked, ask) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    let own = rustix::process::getpid().as_raw_nonzero();
    // SAFETY: `unshare` below fails unless there is one thread, and what the
    // child does before it ends takes no lock that another thread could hold
    // but the allocator's, which then is ours to hold.
    match unsafe { fork() }? {
        Fork::Child => {
            drop(ask);
            let mut word = [0];
            let told = rustix::io::read(&asked, &mut word).is_ok_and(|count| count == 1);
            let map = |file: &str| {
                let path = format!("/proc/{own}/{file}");
                std::fs::OpenOptions::new()
                    .write(true)
                    .open(path)
                    .and_then(|mut file| std::io::Write::write_all(&mut file, b"0 0 4294967295\n"))
            };
            exit_now(i32::from(!(told && map("uid_map").is_ok() && map("gid_map").is_ok())));
        }
        Fork::Parent(child) => {
            drop(asked);
            let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWNS;
            // SAFETY: these change which users, networks and mounts later calls
            // see. Memory and descriptor tables stay shared as they are.
            let moved = unsafe { rustix::thread::unshare_unsafe(flags) };
            if moved.is_ok() {
                // A child that is gone shows below.
                let _ = rustix::io::write(&ask, b"x");
            }
            drop(ask);
            let status = rustix::process::waitpid(Some(child), rustix::process::WaitOptions::empty())?;
            moved?;
            match status.and_then(|(_, status)| status.exit_status()) {
                Some(0) => Ok(()),
                _ => Err(io::Error::other("the users of the new namespace cannot be mapped")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_number_keeps_what_was_set() {
        let number = SharedNumber::new().expect("mmap");
        assert_eq!(number.get(), 0);
        number.set(u64::MAX);
        assert_eq!(number.get(), u64::MAX);
    }

    #[test]
    fn processor_time_does_not_run_backwards() {
        let before = cpu_time().expect("getrusage");
        let after = cpu_time().expect("getrusage");
        assert!(after.user_ns >= before.user_ns && after.system_ns >= before.system_ns);
    }
}
