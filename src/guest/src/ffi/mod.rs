//! System calls that rustix does not offer, each behind a safe function.
//!
//! Those that only one subject needs are with it: io_uring in `uring`, the address
//! space and the sockets of zerocopy in the `sys` modules of its workloads. What the
//! results mean is decided elsewhere.

mod device;
mod process;

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};

use rustix::fd::AsFd;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::thread::UnshareFlags;

pub(crate) use device::{TunLayer, bring_up, set_mtu, tun_attach, tun_device, tun_keep};
pub(crate) use process::{
    CpuTime, Fork, SharedNumber, cpu_time, cpu_time_of, exit_now, fork, fork_and_end, fork_bare,
    keep_from_children, probe_clone3, sibling_in_new_net, thread_cpu_time, thread_local_address,
    unshare_user_net_and_mounts,
};

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Moves the calling thread, and no other, into a new network namespace.
pub(crate) fn unshare_net() -> rustix::io::Result<()> {
    // SAFETY: `CLONE_NEWNET` changes only which network namespace later calls
    // of this thread see. Memory and descriptor tables stay shared as they are.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }
}

/// Moves this process, which has one thread, into a mount namespace of its own.
pub(crate) fn unshare_mounts() -> rustix::io::Result<()> {
    // SAFETY: `CLONE_NEWNS` changes only which mounts later calls see. It implies
    // `CLONE_FS`; memory and descriptor tables stay shared as they are.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
