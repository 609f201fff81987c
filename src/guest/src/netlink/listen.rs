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
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("socket", &self.socket.as_raw_fd()).finish()
    }
}

/// One notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    /// What happened.
    pub(crate) message: RouteNetlinkMessage,
}

impl Listener {
    /// Listens in the namespace of the calling thread. Groups are `RTNLGRP_*`
    /// of include/uapi/linux/rtnetlink.h.
    pub(crate) fn join(groups: &[u32]) -> Result<Self, Stop> {
        let failed = |what: &str, error: io::Error| Stop::Error(format!("{what}: {error}"));
        let mut socket =
            Socket::new(NETLINK_ROUTE).map_err(|error| failed("socket(NETLINK_ROUTE)", error))?;
        socket.bind_auto().map_err(|error| failed("bind of a netlink socket", error))?;
        ffi::force_receive_buffer(&socket, BUFFER)
            .map_err(|error| failed("setsockopt(SO_RCVBUFFORCE)", error))?;
        for group in groups {
            socket
                .add_membership(*group)
                .map_err(|error| failed(&format!("membership in netlink group {group}"), error))?;
        }
        socket.set_non_blocking(true).map_err(|error| failed("fcntl of a netlink socket", error))?;
        Ok(Self { socket })
    }

    /// What has come since the last call, without waiting.
    ///
    /// # Errors
    ///
    /// [`RequestError::Lost`] when the kernel had to drop some: then nothing can
    /// be concluded from what is missing.
    pub(crate) fn take(&mut self) -> Result<Vec<Notice>, RequestError> {
        let mut notices = Vec::new();
        loop {
            let mut buffer = Vec::with_capacity(RECEIVE);
            match self.socket.recv(&mut buffer, 0) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(notices),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => return Err(RequestError::Lost),
                Err(error) => return Err(RequestError::Socket(error)),
            }
            for frame in Frames::of(&buffer) {
                let reply = frame.and_then(super::reply::Frame::reply).map_err(RequestError::Garbled)?;
                if let Reply::Message { message, .. } = reply {
                    notices.push(Notice { message });
                }
            }
        }
    }

    /// Waits until something has come, at most so long; whether it has.
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
