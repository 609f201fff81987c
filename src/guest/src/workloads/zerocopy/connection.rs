//! A TCP connection between two sockets that somebody else has made, and how much
//! room sockets have.
//!
//! Where the ends live is the business of whoever makes the sockets.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};

use super::patience::Patience;
use crate::context::Stop;

/// Two ends of one connection.
#[derive(Debug)]
pub(super) struct Pair {
    /// The end that sends.
    pub(super) sender: OwnedFd,
    /// The end that receives.
    pub(super) receiver: OwnedFd,
}

/// Connects a socket with a listening one at `to`, in blocking mode or not; the end
/// that receives does not block.
///
/// # Errors
///
/// [`Stop::Fail`] when the handshake does not come to its end.
pub(super) fn connect(
    listener: BorrowedFd<'_>,
    sender: OwnedFd,
    to: SocketAddr,
    patience: Patience<'_>,
) -> Result<Pair, Stop> {
    match rustix::net::connect(&sender, &to) {
        Ok(()) => {}
        Err(Errno::INPROGRESS) => {
            patience.wait(sender.as_fd(), PollFlags::OUT, || format!("the connection to {to}"))?;
            let error = sockopt::socket_error(&sender)
                .map_err(|errno| Stop::Error(format!("getsockopt SO_ERROR: {errno}")))?;
            error.map_err(|errno| Stop::Fail(format!("connect to {to}: {errno}")))?;
        }
        Err(errno) => return Err(Stop::Fail(format!("connect to {to}: {errno}"))),
    }
    patience.wait(listener, PollFlags::IN, || format!("a connection to accept at {to}"))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let receiver = rustix::net::accept_with(listener, flags)
        .map_err(|errno| Stop::Fail(format!("accept at {to}: {errno}")))?;
    Ok(Pair { sender, receiver })
}

/// Which buffer of a socket.
#[derive(Debug, Clone, Copy)]
enum Buffer {
    Receive,
    Send,
}

/// Gives a socket room for `bytes` bytes to receive; the kernel doubles it. On a
/// listening socket, and before the handshake: it fixes the scale of the window.
///
/// # Errors
///
/// [`Stop::Skip`] without `CAP_NET_ADMIN` of the machine, when its limit is lower.
pub(super) fn receive_room(socket: BorrowedFd<'_>, bytes: usize) -> Result<(), Stop> {
    room(socket, Buffer::Receive, bytes)
}

/// Gives a socket room for `bytes` bytes to send; the kernel doubles it.
///
/// # Errors
///
/// As [`receive_room`].
pub(super) fn send_room(socket: BorrowedFd<'_>, bytes: usize) -> Result<(), Stop> {
    room(socket, Buffer::Send, bytes)
}

fn room(socket: BorrowedFd<'_>, buffer: Buffer, bytes: usize) -> Result<(), Stop> {
    let failed = |what: &'static str| move |errno: Errno| Stop::Error(format!("{what}: {errno}"));
    let (force, forcing) = match buffer {
        Buffer::Receive => (sockopt::set_socket_recv_buffer_size_force(socket, bytes), "SO_RCVBUFFORCE"),
        Buffer::Send => (sockopt::set_socket_send_buffer_size_force(socket, bytes), "SO_SNDBUFFORCE"),
    };
    match force {
        Ok(()) => return Ok(()),
        Err(Errno::PERM) => {}
        Err(errno) => return Err(Stop::Error(format!("setsockopt {forcing}: {errno}"))),
    }
    // Root of a mere user namespace gets what the machine allows to everybody.
    let (got, limit) = match buffer {
        Buffer::Receive => {
            sockopt::set_socket_recv_buffer_size(socket, bytes).map_err(failed("setsockopt SO_RCVBUF"))?;
            (sockopt::socket_recv_buffer_size(socket), "net.core.rmem_max")
        }
        Buffer::Send => {
            sockopt::set_socket_send_buffer_size(socket, bytes).map_err(failed("setsockopt SO_SNDBUF"))?;
            (sockopt::socket_send_buffer_size(socket), "net.core.wmem_max")
        }
    };
    let got = got.map_err(failed("getsockopt of a buffer"))? / 2;
    if got < bytes {
        return Err(Stop::Skip(format!(
            "a socket needs room for {bytes} bytes and gets {got}; needs CAP_NET_ADMIN of the machine, or \
             a larger {limit}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rustix::net::{AddressFamily, SocketType, socket};

    use super::*;

    #[test]
    fn a_socket_has_the_room_that_it_was_given() {
        let socket = socket(AddressFamily::INET, SocketType::DGRAM, None).expect("socket");
        receive_room(socket.as_fd(), 65_536).expect("room");
        send_room(socket.as_fd(), 65_536).expect("room");
        assert_eq!(sockopt::socket_recv_buffer_size(&socket), Ok(131_072));
        assert_eq!(sockopt::socket_send_buffer_size(&socket), Ok(131_072));
    }
}
