//! System calls with arguments that no safe interface takes: wrong pointers and
//! wrong lengths.
//!
//! Each is safe to call with anything; what the results mean is decided elsewhere.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::{Errno, Result};

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// `send` from an address that need not be mapped.
///
/// # Errors
///
/// Those of the call.
pub(super) fn send_from(socket: BorrowedFd<'_>, address: usize, length: usize, flags: i32) -> Result<usize> {
    // SAFETY: the kernel only reads there, and checks whether it can.
    let sent = unsafe { libc::send(socket.as_raw_fd(), address as *const libc::c_void, length, flags) };
    usize::try_from(sent).map_err(|_| last_error())
}

/// `setsockopt` of `SO_ZEROCOPY` with an address and a length that need not be right.
///
/// # Errors
///
/// Those of the call.
pub(super) fn set_zerocopy_from(socket: BorrowedFd<'_>, address: usize, length: u32) -> Result<()> {
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ZEROCOPY);
    let value = address as *const libc::c_void;
    // SAFETY: the kernel only reads there, and checks whether it can.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, length) };
    if result < 0 { Err(last_error()) } else { Ok(()) }
}

/// `getsockopt` of `SO_ZEROCOPY` that claims room for `claimed` bytes: the bytes,
/// preset to `0xaa`, and the length that the kernel gives. At most eight are claimed.
///
/// # Errors
///
/// Those of the call.
pub(super) fn get_zerocopy_into(socket: BorrowedFd<'_>, claimed: i32) -> Result<([u8; 8], u32)> {
    let mut bytes = [0xaa; 8];
    // The kernel reads the length as a signed number.
    let mut length = claimed.min(8).cast_unsigned();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ZEROCOPY);
    let (value, length_at) = (bytes.as_mut_ptr().cast(), &raw mut length);
    // SAFETY: both pointers are to live memory, of which the kernel writes at most
    // what was claimed, or nothing for a negative claim.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, value, length_at) };
    if result < 0 { Err(last_error()) } else { Ok((bytes, length)) }
}

/// `recvmsg(MSG_ERRQUEUE)` without `MSG_DONTWAIT` and with room for `room` words of
/// control data: bytes of data, bytes of control data, and flags.
///
/// # Errors
///
/// Those of the call.
pub(super) fn receive_error_with(socket: BorrowedFd<'_>, room: usize) -> Result<(usize, usize, i32)> {
    let mut control = vec![0_usize; room];
    // SAFETY: `msghdr` is plain data for which zero means "nothing there".
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control[..]) as _;
    // SAFETY: the message names one control buffer with its size; both outlive the call.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_ERRQUEUE) };
    let got = usize::try_from(got).map_err(|_| last_error())?;
    Ok((got, message.msg_controllen as usize, message.msg_flags))
}
