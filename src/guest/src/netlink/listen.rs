//! Notifications: what the kernel tells members of a group, in order.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::reply::{Frames, Reply};
use super::{RECEIVE, RequestError};
use crate::context::Stop;
use crate::ffi;

/// Bytes of notifications that may wait, and twice that with the kernel's
/// bookkeeping: tens of thousands of them. `SO_RCVBUFFORCE` ignores the system's limit.
const BUFFER: u32 = 64 << 20;

/// Hears the notifications of some groups of the routing family.
pub(crate) struct Listener {
    socket: Socket,
    /// Room for one datagram, kept from one to the next.
    buffer: Vec<u8>,
    /// The kernel tells a loss once, and drops in silence until the socket is
    /// empty again (`netlink_overrun`, net/netlink/af_netlink.c).
    lost: bool,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("socket", &self.socket.as_raw_fd()).finish_non_exhaustive()
    }
}

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What happened.
    pub(crate) message: RouteNetlinkMessage,
    /// Where: the number that the listener's namespace has for that one, `None`
    /// for its own.
    pub(crate) from: Option<i32>,
}

/// Whose notifications are heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Those of the listener's own namespace.
    Own,
    /// Also those of every namespace that has a number in the listener's
    /// (`NETLINK_LISTEN_ALL_NSID`).
    All,
}

impl Listener {
    /// Listens in the namespace of the calling thread. Groups are `RTNLGRP_*`
    /// of include/uapi/linux/rtnetlink.h.
    pub(crate) fn join(groups: &[u32]) -> Result<Self, Stop> {
        Self::join_with(groups, Reach::Own, BUFFER)
    }

    /// As [`Self::join`], and hears as far as `reach`.
    pub(crate) fn join_reaching(groups: &[u32], reach: Reach) -> Result<Self, Stop> {
        Self::join_with(groups, reach, BUFFER)
    }

    /// As [`Self::join`], with room for only so many bytes of notifications. The
    /// kernel doubles the number, and has a smallest one of its own.
    pub(crate) fn join_with(groups: &[u32], reach: Reach, buffer: u32) -> Result<Self, Stop> {
        let failed = |what: &str, error: io::Error| Stop::Error(format!("{what}: {error}"));
        let mut socket =
            Socket::new(NETLINK_ROUTE).map_err(|error| failed("socket(NETLINK_ROUTE)", error))?;
        socket.bind_auto().map_err(|error| failed("bind of a netlink socket", error))?;
        match ffi::force_receive_buffer(&socket, buffer) {
            // Root of a mere user namespace: as much as the host allows, and what
            // does not fit is noticed.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                let room = i32::try_from(buffer).unwrap_or(i32::MAX);
                socket.set_rx_buf_sz(room).map_err(|error| failed("setsockopt(SO_RCVBUF)", error))?;
            }
            other => other.map_err(|error| failed("setsockopt(SO_RCVBUFFORCE)", error))?,
        }
        if reach == Reach::All {
            socket
                .set_listen_all_namespaces(true)
                .map_err(|error| failed("setsockopt(NETLINK_LISTEN_ALL_NSID)", error))?;
        }
        for group in groups {
            socket
                .add_membership(*group)
                .map_err(|error| failed(&format!("membership in netlink group {group}"), error))?;
        }
        Ok(Self { socket, buffer: vec![0; RECEIVE], lost: false })
    }

    /// What has come since the last call, without waiting.
    ///
    /// # Errors
    ///
    /// [`RequestError::Lost`] when the kernel had to drop some: then nothing can
    /// be concluded from what is missing, now or later, so every further call
    /// fails in the same way.
    pub(crate) fn take(&mut self) -> Result<Vec<Notice>, RequestError> {
        let mut notices = Vec::new();
        while let Some((length, from)) = self.receive()? {
            let bytes = self.buffer.get(..length).ok_or_else(|| {
                RequestError::Garbled(format!("a datagram of {length} bytes does not fit into {RECEIVE}"))
            })?;
            for frame in Frames::of(bytes) {
                let reply = frame.and_then(super::reply::Frame::reply).map_err(RequestError::Garbled)?;
                if let Reply::Message { message, .. } = reply {
                    notices.push(Notice { message, from });
                }
            }
        }
        Ok(notices)
    }

    /// One datagram: its length, and where it is from. `None` when none is there.
    fn receive(&mut self) -> Result<Option<(usize, Option<i32>)>, RequestError> {
        if self.lost {
            return Err(RequestError::Lost);
        }
        loop {
            match ffi::receive_notification(&self.socket, &mut self.buffer) {
                Ok(received) => return Ok(Some(received)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => {
                    let meaning = super::interpret(error);
                    self.lost = matches!(meaning, Err(RequestError::Lost));
                    meaning?;
                }
            }
        }
    }

    /// Waits until something has come, a loss included, at most so long; whether
    /// it has.
    pub(crate) fn wait(&self, patience: std::time::Duration) -> Result<bool, RequestError> {
        let limit = rustix::event::Timespec::try_from(patience)
            .map_err(|_| RequestError::Socket(io::ErrorKind::InvalidInput.into()))?;
        let mut descriptors = [PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN)];
        match poll(&mut descriptors, Some(&limit)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(RequestError::Socket(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn empty() -> Listener {
        let mut socket = Socket::new(NETLINK_ROUTE).expect("a socket");
        socket.bind_auto().expect("bind");
        Listener { socket, buffer: vec![0; RECEIVE], lost: false }
    }

    #[test]
    fn nothing_is_heard_where_nothing_happens() {
        let mut listener = empty();
        assert!(!listener.wait(Duration::ZERO).expect("poll"));
        assert_eq!(listener.take().expect("nothing"), []);
    }

    #[test]
    fn a_loss_is_not_forgotten() {
        let mut listener = Listener { lost: true, ..empty() };
        for _ in 0..2 {
            assert!(matches!(listener.take(), Err(RequestError::Lost)));
        }
    }
}
