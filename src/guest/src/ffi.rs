//! System calls that rustix does not offer, each behind a safe function.
//!
//! Those that only one subject needs are with it: io_uring in `uring`, the address
//! space and the sockets of zerocopy in the `sys` modules of its workloads. What the
//! results mean is decided elsewhere.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fd::AsFd;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use rustix::process::Pid;
use rustix::thread::UnshareFlags;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Moves the calling thread, and no other, into a new network namespace.
pub(crate) fn unshare_net() -> rustix::io::Result<()> {
    // SAFETY: `CLONE_NEWNET` changes only which network namespace later calls
    // of this thread see. Memory and descriptor tables stay shared as they are.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}

/// Reads a plain number by `getsockopt`.
fn get_socket_number<T: Copy + Default>(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<T> {
    let mut value = T::default();
    let mut length = libc::socklen_t::try_from(size_of::<T>()).map_err(io::Error::other)?;
    // SAFETY: `value` is writable and `length` tells its size; the callers below
    // instantiate `T` with integers, and arrays of them, only, of which every bit
    // pattern is valid.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut value).cast::<libc::c_void>(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

/// Cookie of the network namespace that a socket belongs to: never given twice
/// during one boot, unlike inode numbers. `ENOPROTOOPT` before Linux 5.14.
pub(crate) fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    get_socket_number(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NETNS_COOKIE)
}

/// Turns on `SO_ZEROCOPY`.
pub(crate) fn set_zerocopy(socket: impl AsFd) -> io::Result<()> {
    let one: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of::<libc::c_int>()).map_err(io::Error::other)?;
    // SAFETY: `one` is readable and of the length given.
    check(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ZEROCOPY,
            (&raw const one).cast::<libc::c_void>(),
            length,
        )
    })
    .map(drop)
}

/// Asks whether `io_uring_setup` is there, without setting one up.
pub(crate) fn probe_io_uring() -> io::Result<()> {
    let null = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel answers a null pointer with `EFAULT` and does nothing.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 1_u32, null) };
    let error = if result < 0 { io::Error::last_os_error() } else { return Ok(()) };
    // The call got as far as reading its argument.
    if error.raw_os_error() == Some(libc::EFAULT) { Ok(()) } else { Err(error) }
}

/// Asks whether a file can be mapped for reading.
pub(crate) fn probe_mmap(file: impl AsFd) -> io::Result<()> {
    let length = rustix::param::page_size();
    let anywhere = std::ptr::null_mut();
    // SAFETY: the kernel chooses an address where nothing of ours is mapped.
    let area = unsafe { mmap(anywhere, length, ProtFlags::READ, MapFlags::SHARED, file, 0) }?;
    // SAFETY: exactly what was mapped above; nobody else knows of it.
    unsafe { munmap(area, length) }?;
    Ok(())
}

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

/// Sets a network device of the caller's namespace up.
pub(crate) fn bring_up(socket: impl AsFd, device: &str) -> io::Result<()> {
    let mut request = request_of(device)?;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: `request` is a valid `ifreq` and outlives the call.
    check(unsafe { libc::ioctl(socket, libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: SIOCGIFFLAGS filled this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    let up = libc::c_short::try_from(libc::IFF_UP).map_err(io::Error::other)?;
    request.ifr_ifru.ifru_flags = flags | up;
    // SAFETY: as above; the kernel only reads.
    check(unsafe { libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw mut request) }).map(drop)
}

/// Sets the size of a socket's receive buffer in bytes, above the system's limit if
/// need be (`SO_RCVBUFFORCE`; the kernel doubles it). Needs `CAP_NET_ADMIN`.
pub(crate) fn force_receive_buffer(socket: impl AsFd, bytes: u32) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).map_err(io::Error::other)?;
    let length = libc::socklen_t::try_from(size_of_val(&bytes)).map_err(io::Error::other)?;
    // SAFETY: the option is an integer, which `bytes` is, and outlives the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVBUFFORCE,
            (&raw const bytes).cast::<libc::c_void>(),
            length,
        )
    })
    .map(drop)
}

/// Takes one notification from a netlink socket without waiting: its length,
/// which is that of the datagram even if `buffer` is too short for it, and the
/// number of the namespace that it is from (`NETLINK_LISTEN_ALL_NSID`,
/// include/uapi/linux/netlink.h), `None` for the socket's own.
pub(crate) fn receive_notification(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<(usize, Option<i32>)> {
    /// Room for one control message with a number, aligned as its header.
    #[repr(C)]
    struct Control(libc::cmsghdr, [u8; 16]);
    // SAFETY: plain C structures for which zeros are valid.
    let (mut message, mut control): (libc::msghdr, Control) = unsafe { std::mem::zeroed() };
    let mut part =
        libc::iovec { iov_base: buffer.as_mut_ptr().cast::<libc::c_void>(), iov_len: buffer.len() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast::<libc::c_void>();
    #[expect(clippy::useless_conversion, reason = "needed with musl")]
    let room = size_of::<Control>().try_into().map_err(io::Error::other)?;
    message.msg_controllen = room;
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: all pointers are to live memory of the lengths given.
    let length = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut message, flags) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: recvmsg filled the control part and said how long it is.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
    while !header.is_null() {
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR give headers within the control part.
        let found = unsafe { *header };
        if (found.cmsg_level, found.cmsg_type) == (libc::SOL_NETLINK, libc::NETLINK_LISTEN_ALL_NSID) {
            // SAFETY: the kernel puts an integer there, perhaps unaligned.
            let number = unsafe { libc::CMSG_DATA(header).cast::<i32>().read_unaligned() };
            return Ok((length, Some(number)));
        }
        // SAFETY: as for the first one.
        header = unsafe { libc::CMSG_NXTHDR(&raw const message, header) };
    }
    Ok((length, None))
}

/// Sets the largest size of packet of a device, in the namespace of the socket.
pub(crate) fn set_mtu(socket: impl AsFd, device: &str, bytes: i32) -> io::Result<()> {
    let mut request = request_of(device)?;
    request.ifr_ifru.ifru_mtu = bytes;
    // SAFETY: `request` is a valid `ifreq` and outlives the call.
    check(unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFMTU, &raw mut request) }).map(drop)
}

/// `setns` with a descriptor that is none.
pub(crate) fn setns_bad_descriptor() -> rustix::io::Result<()> {
    // SAFETY: the call takes two integers, and changes at most the namespace of the
    // calling thread.
    match unsafe { libc::setns(-1, libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => {
            Err(rustix::io::Errno::from_io_error(&io::Error::last_os_error())
                .unwrap_or(rustix::io::Errno::INVAL))
        }
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

/// Options of sockets whose value is plain data, without a pointer in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlainOption {
    /// `PACKET_ADD_MEMBERSHIP`: `struct packet_mreq`.
    PacketMembership,
    /// `PACKET_FANOUT`: a group, and how packets are shared in it.
    PacketFanout,
    /// `TCP_ULP`: the name of the protocol on top.
    UpperProtocol,
    /// `TLS_TX`: `struct tls12_crypto_info_*`.
    TlsSend,
    /// `TLS_RX`: the same for what is received.
    TlsReceive,
}

/// Sets such an option.
pub(crate) fn set_plain_option(socket: impl AsFd, option: PlainOption, value: &[u8]) -> io::Result<()> {
    let (level, option) = match option {
        PlainOption::PacketMembership => (libc::SOL_PACKET, libc::PACKET_ADD_MEMBERSHIP),
        PlainOption::PacketFanout => (libc::SOL_PACKET, libc::PACKET_FANOUT),
        PlainOption::UpperProtocol => (libc::SOL_TCP, libc::TCP_ULP),
        PlainOption::TlsSend => (libc::SOL_TLS, libc::TLS_TX),
        PlainOption::TlsReceive => (libc::SOL_TLS, libc::TLS_RX),
    };
    let length = libc::socklen_t::try_from(value.len()).map_err(io::Error::other)?;
    let value = value.as_ptr().cast::<libc::c_void>();
    // SAFETY: `value` is readable and of the length given, and none of these
    // options makes the kernel follow what is in it.
    check(unsafe { libc::setsockopt(socket.as_fd().as_raw_fd(), level, option, value, length) }).map(drop)
}

/// A socket for frames of every protocol that go through one device, headers
/// included (`AF_PACKET`, `SOCK_RAW`).
pub(crate) fn packet_socket(device: u32) -> io::Result<OwnedFd> {
    let every = u16::try_from(libc::ETH_P_ALL).map_err(io::Error::other)?.to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: takes three integers.
    let socket = check(unsafe { libc::socket(libc::AF_PACKET, kind, i32::from(every)) })?;
    // SAFETY: a descriptor that nobody else knows.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: a plain C structure for which zeros are valid.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::sa_family_t::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
    address.sll_protocol = every;
    address.sll_ifindex = i32::try_from(device).map_err(io::Error::other)?;
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    let pointer = (&raw const address).cast::<libc::sockaddr>();
    // SAFETY: `address` is readable and of the length given.
    check(unsafe { libc::bind(socket.as_raw_fd(), pointer, length) })?;
    Ok(socket)
}

/// The flags of `MPTCP_INFO`. `EOPNOTSUPP` before Linux 5.16, and of a connection
/// that has become one of plain TCP.
pub(crate) fn mptcp_flags(socket: impl AsFd) -> io::Result<u32> {
    /// include/linux/socket.h, include/uapi/linux/mptcp.h.
    const SOL_MPTCP: libc::c_int = 284;
    const MPTCP_INFO: libc::c_int = 1;
    // Six bytes of counts come before, and two of nothing.
    let [_, _, flags] = get_socket_number::<[u32; 3]>(socket.as_fd(), SOL_MPTCP, MPTCP_INFO)?;
    Ok(flags)
}

/// A request about a device, by its name.
fn request_of(device: &str) -> io::Result<libc::ifreq> {
    // SAFETY: `ifreq` is a plain C structure for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // The last byte stays 0: the name is a C string.
    if device.len() >= request.ifr_name.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(request)
}

/// What goes through a device of the tun driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TunLayer {
    /// Packets (`IFF_TUN`).
    Packets,
    /// Frames (`IFF_TAP`).
    Frames,
}

/// Makes a device of the tun driver, or takes up one that was left there, in the
/// namespace in which `file` was opened (`TUNSETIFF`).
pub(crate) fn tun_attach(file: impl AsFd, device: &str, layer: TunLayer) -> io::Result<()> {
    let layer = match layer {
        TunLayer::Packets => libc::IFF_TUN,
        TunLayer::Frames => libc::IFF_TAP,
    };
    let mut request = request_of(device)?;
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(layer | libc::IFF_NO_PI).map_err(io::Error::other)?;
    // SAFETY: `request` is a valid `ifreq` and outlives the call. A file of another
    // kind does not know the request.
    check(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), libc::TUNSETIFF, &raw mut request) }).map(drop)
}

/// Lets the device stay when its last descriptor is closed (`TUNSETPERSIST`).
pub(crate) fn tun_keep(file: impl AsFd) -> io::Result<()> {
    let yes: libc::c_ulong = 1;
    // SAFETY: the request takes a number.
    check(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), libc::TUNSETPERSIST, yes) }).map(drop)
}

/// Name of the device (`TUNGETIFF`). `EBADFD` when there is none any more.
pub(crate) fn tun_device(file: impl AsFd) -> io::Result<String> {
    let mut request = request_of("")?;
    // SAFETY: `request` is a valid `ifreq`, writable, and outlives the call.
    check(unsafe { libc::ioctl(file.as_fd().as_raw_fd(), libc::TUNGETIFF, &raw mut request) })?;
    let name = request.ifr_name.map(|byte| u8::from_ne_bytes(byte.to_ne_bytes()));
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    Ok(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_no_device_of_the_tun_driver_says_so() {
        let file = std::fs::File::open("/dev/null").expect("open");
        assert_eq!(tun_device(&file).expect_err("no device").raw_os_error(), Some(libc::ENOTTY));
        assert_eq!(tun_keep(&file).expect_err("no device").raw_os_error(), Some(libc::ENOTTY));
        let long = tun_attach(&file, "sixteen-letters!", TunLayer::Frames).expect_err("too long");
        assert_eq!(long.raw_os_error(), Some(libc::ENAMETOOLONG));
        let other = tun_attach(&file, "x0", TunLayer::Packets).expect_err("no device");
        assert_eq!(other.raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn a_device_name_without_room_for_its_end_is_refused() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        let error = bring_up(&socket, "sixteen-letters!").expect_err("too long");
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
        let error = bring_up(&socket, "no-such-device").expect_err("missing");
        assert_eq!(error.raw_os_error(), Some(libc::ENODEV));
    }

    #[test]
    fn the_mtu_of_a_device_that_is_not_there_cannot_be_set() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        let error = set_mtu(&socket, "sixteen-letters!", 1).expect_err("too long");
        assert_eq!(error.raw_os_error(), Some(libc::ENAMETOOLONG));
        set_mtu(&socket, "no-such-device", 1500).expect_err("missing, or not permitted");
    }

    #[test]
    fn a_datagram_is_taken_with_its_whole_length_and_none_is_not_waited_for() {
        let (one, other) = std::os::unix::net::UnixDatagram::pair().expect("a pair");
        let mut buffer = [0; 4];
        let error = receive_notification(&one, &mut buffer).expect_err("nothing is there");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        other.send(b"longer").expect("sent");
        assert_eq!(receive_notification(&one, &mut buffer).expect("received"), (6, None));
        assert_eq!(&buffer, b"long");
    }

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
