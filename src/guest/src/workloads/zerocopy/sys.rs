//! The system calls of these workloads that rustix does not offer.
//!
//! Each is a thin and safe wrapper; nothing here decides what a result means.

use std::mem::MaybeUninit;
use std::os::fd::RawFd;

use rustix::io::{Errno, Result};

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn checked(result: i32) -> Result<i32> {
    if result < 0 { Err(last_error()) } else { Ok(result) }
}

/// `setsockopt` with a number.
///
/// # Errors
///
/// Those of the call.
pub(super) fn set_option(socket: RawFd, level: i32, name: i32, value: i32) -> Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointer and the length describe `value`, which outlives the call.
    checked(unsafe { libc::setsockopt(socket, level, name, (&raw const value).cast(), length) }).map(drop)
}

/// `getsockopt` of a number.
///
/// # Errors
///
/// Those of the call.
pub(super) fn get_option(socket: RawFd, level: i32, name: i32) -> Result<i32> {
    let mut value = 0_i32;
    let mut length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the pointers describe `value` and `length`, which outlive the call;
    // the kernel writes at most `length` bytes, and any bytes make an `i32`.
    checked(unsafe { libc::getsockopt(socket, level, name, (&raw mut value).cast(), &raw mut length) })?;
    Ok(value)
}

/// `struct tcp_zerocopy_receive` of include/uapi/linux/tcp.h, as it is since
/// 5.12; shorter ones were its prefixes.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct TcpZerocopyReceive {
    /// In: where the data shall be mapped.
    pub(super) address: u64,
    /// In: bytes that may be mapped there. Out: bytes that were.
    pub(super) length: u32,
    /// Out: bytes to be read with `recv` before anything can be mapped again.
    pub(super) recv_skip_hint: u32,
    /// Out: bytes queued.
    pub(super) inq: u32,
    /// Out: error of the socket, negative.
    pub(super) err: i32,
    /// In: where data that cannot be mapped shall be copied.
    pub(super) copybuf_address: u64,
    /// In: size of that place. Out: bytes copied.
    pub(super) copybuf_len: i32,
    /// In: `TCP_RECEIVE_ZEROCOPY_FLAG_*`.
    pub(super) flags: u32,
    /// In: where control messages shall be put.
    pub(super) msg_control: u64,
    /// In: size of that place. Out: bytes of control messages.
    pub(super) msg_controllen: u64,
    /// In and out: `TCP_CMSG_TS`.
    pub(super) msg_flags: u32,
    /// In: 0.
    pub(super) reserved: u32,
}

const _: () = assert!(size_of::<TcpZerocopyReceive>() == 64, "the kernel's struct has 64 bytes");

/// `getsockopt(TCP_ZEROCOPY_RECEIVE)`, which takes a request and answers in it.
///
/// # Safety
///
/// The kernel replaces the pages of `address..address + length`, and writes to
/// the places that `copybuf_address` and `msg_control` name: nobody may hold
/// references into them.
///
/// # Errors
///
/// Those of the call.
pub(super) unsafe fn zerocopy_receive(socket: RawFd, request: &mut TcpZerocopyReceive) -> Result<()> {
    let mut length = size_of::<TcpZerocopyReceive>() as libc::socklen_t;
    let request = (request as *mut TcpZerocopyReceive).cast();
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_ZEROCOPY_RECEIVE);
    // SAFETY: the pointers describe the request and its length, which outlive the
    // call and are valid for any bytes; the caller vouches for what it points to.
    checked(unsafe { libc::getsockopt(socket, level, name, request, &raw mut length) }).map(drop)
}

/// `recvmsg(MSG_ERRQUEUE)` without data: bytes of control messages, and flags.
///
/// # Errors
///
/// Those of the call; `EAGAIN` when the queue is empty.
pub(super) fn receive_error(socket: RawFd, control: &mut [usize]) -> Result<(usize, i32)> {
    // SAFETY: `msghdr` is plain data for which zero means "nothing there".
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(control) as _;
    // SAFETY: the message names no data and one control buffer, with its size;
    // both outlive the call, and the words of the buffer are valid for any bytes.
    let received =
        unsafe { libc::recvmsg(socket, &raw mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) };
    if received < 0 {
        return Err(last_error());
    }
    // The type of the length differs between C libraries.
    #[expect(clippy::unnecessary_cast, reason = "needed with musl")]
    Ok((message.msg_controllen as usize, message.msg_flags))
}

/// Sets the MTU of the interface `lo` in the namespace of `socket` and brings it up.
///
/// # Errors
///
/// Those of the named `ioctl`.
pub(super) fn raise_loopback(socket: RawFd, mtu: i32) -> std::result::Result<(), (&'static str, Errno)> {
    // SAFETY: `ifreq` is plain data for which zero is valid.
    let mut request: libc::ifreq = unsafe { MaybeUninit::zeroed().assume_init() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed() as libc::c_char;
    }
    let call = |name: libc::c_ulong, request: &mut libc::ifreq| {
        // The type of the request's number differs between C libraries.
        // SAFETY: all three requests used here read or write one `ifreq`, which
        // outlives the call.
        checked(unsafe { libc::ioctl(socket, name as _, request as *mut libc::ifreq) })
    };
    request.ifr_ifru.ifru_mtu = mtu;
    call(libc::SIOCSIFMTU as _, &mut request).map_err(|errno| ("ioctl SIOCSIFMTU on `lo`", errno))?;
    call(libc::SIOCGIFFLAGS as _, &mut request).map_err(|errno| ("ioctl SIOCGIFFLAGS on `lo`", errno))?;
    // SAFETY: SIOCGIFFLAGS has just filled this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    call(libc::SIOCSIFFLAGS as _, &mut request).map_err(|errno| ("ioctl SIOCSIFFLAGS on `lo`", errno))?;
    Ok(())
}

/// `mincore`: for each page of a mapping, whether the lowest bit of its byte
/// says that it is there.
///
/// # Errors
///
/// Those of the call; `ENOMEM` when the range is not mapped.
pub(super) fn residency(address: *mut u8, pages: &mut [u8], page_size: usize) -> Result<()> {
    let length = pages.len() * page_size;
    // SAFETY: the call reads no memory of the range, only its page tables, and
    // writes one byte per page: that is the length of `pages`.
    checked(unsafe { libc::mincore(address.cast(), length, pages.as_mut_ptr()) }).map(drop)
}
