//! A TCP connection between two sockets that somebody else has made, and how much
//! room sockets have.
//!
//! Where the ends live is the business of whoever makes the sockets.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::{SocketFlags, sockopt};

use super::patience::Patience;
use crate::context::Stop;
use crate::{clock, procfs};

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

/// What counts the TCP sockets of a namespace, by family.
const COUNTED: [(&str, &str); 2] =
    [("/proc/thread-self/net/sockstat", "TCP"), ("/proc/thread-self/net/sockstat6", "TCP6")];

/// Pause between two looks at whether connections are over.
const OVER_POLL: Duration = Duration::from_millis(2);

/// Waits until the connections of this thread's namespace, whose sockets are closed, are
/// over, for as long as both ends have a way to each other. A closed socket keeps its
/// namespace until the peer has acknowledged its FIN; if the device goes away with the
/// other namespace before a lost one was sent again, that is after the last of eight
/// attempts (`tcp_orphan_retries()`, net/ipv4/tcp_timer.c), which takes a minute and more.
///
/// # Errors
///
/// [`Stop::Fail`] when time runs out, [`Stop::Error`] when nothing counts them.
pub(super) fn wait_until_over(patience: Patience<'_>) -> Result<(), Stop> {
    for (file, line) in COUNTED {
        loop {
            let text = match std::fs::read_to_string(file) {
                Ok(text) => text,
                // Without IPv6 there is no such file.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && line == "TCP6" => break,
                Err(error) => return Err(Stop::Error(format!("cannot read {file}: {error}"))),
            };
            let used = procfs::sockstat(&text, line, "inuse")
                .ok_or_else(|| Stop::Error(format!("{file} has no `inuse` in `{line}`")))?;
            if used == 0 {
                break;
            }
            patience.check(|| format!("the end of `{used}` connections whose sockets are closed"))?;
            clock::poll_interval(OVER_POLL);
        }
    }
    Ok(())
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
