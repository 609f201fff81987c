//! A TCP connection that stands still: its receiver has less room than there is
//! ahead of what is looked at.
//!
//! No sleep and no guess: whatever is sent behind the plug stays in the sender's
//! queue until somebody reads the plug.

use std::os::fd::{AsFd, OwnedFd};

use rustix::net::sockopt;

use super::super::loopback::Family;
use super::super::patience::Patience;
use super::super::pattern::Pattern;
use super::line::Line;
use super::place::{Place, Room};
use crate::context::Stop;

/// Room of the receiver, which the kernel doubles; both hold less than the plug.
const RECEIVER: usize = 64 << 10;

/// Bytes ahead.
pub(super) const PLUG: usize = 512 << 10;

/// Room of the sender, which the kernel doubles: the plug and what is behind it. Not
/// so much that the notifications of a full queue, one for each half a mebibyte, take
/// more than `net.core.optmem_max`, which was 20480 before 6.8.
const SENDER: usize = 4 << 20;

/// Bytes that a full queue pins at most: the kernel doubles the room, and the last
/// call may exceed it.
pub(super) const PINNED: u64 = 2 * SENDER as u64 + (1 << 20);

/// Maximum size of packets that streams flow well with through so small a window.
pub(super) const MTU: u32 = 1500;

/// Both ends.
#[derive(Debug)]
pub(super) struct Stuck {
    /// The end that sends.
    pub(super) line: Line,
    /// The other end.
    pub(super) far: Far,
}

/// The end that receives, when somebody reads there.
#[derive(Debug)]
pub(super) struct Far {
    receiver: OwnedFd,
    plug: Pattern,
}

impl Stuck {
    /// A connection with the plug in it.
    ///
    /// # Errors
    ///
    /// Those of the sockets, and [`Stop::Fail`] when the sender does not take the plug.
    pub(super) fn open(
        place: &Place,
        family: Family,
        seed: u64,
        patience: Patience<'_>,
    ) -> Result<Self, Stop> {
        let pair = place.tcp(Room { sender: SENDER, receiver: RECEIVER }, patience)?;
        let mut stuck = Self {
            line: Line::open(pair.sender, family)?,
            far: Far { receiver: pair.receiver, plug: Pattern::new(seed, PLUG as u64) },
        };
        stuck.plug()?;
        Ok(stuck)
    }

    /// Puts a plug in behind everything.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when the sender does not take it.
    pub(super) fn plug(&mut self) -> Result<(), Stop> {
        let room = sockopt::socket_send_buffer_size(self.line.socket());
        let room = room.map_err(|errno| Stop::Error(format!("getsockopt SO_SNDBUF: {errno}")))?;
        if room < SENDER {
            return Err(Stop::Error(format!("SO_SNDBUF is `{room}` bytes, `{SENDER}` were asked for")));
        }
        let mut data = vec![0; PLUG];
        self.far.plug.fill(&mut data, 0);
        let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
        let mut at = 0;
        while at < PLUG {
            let sent = rustix::net::send(self.line.socket(), &data[at..], flags).map_err(|errno| {
                Stop::Fail(format!("send at byte {at} of `{PLUG}` with room for all: {errno}"))
            })?;
            at += sent;
        }
        Ok(())
    }
}

impl Far {
    /// Reads the plug, which sets the stream free.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it does not come or is damaged.
    pub(super) fn pull(&self, patience: Patience<'_>) -> Result<(), Stop> {
        let data = read(&self.receiver, PLUG, patience)?;
        self.plug.check(&data, 0).map_err(|mismatch| Stop::Fail(format!("ahead of the data, {mismatch}")))
    }

    /// Reads what is behind the plug.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it does not come.
    pub(super) fn read(&self, bytes: usize, patience: Patience<'_>) -> Result<Vec<u8>, Stop> {
        read(&self.receiver, bytes, patience)
    }

    /// Waits for the end of the stream.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when something else comes.
    pub(super) fn end(&self, patience: Patience<'_>) -> Result<(), Stop> {
        match patience.receive(self.receiver.as_fd(), &mut [0; 16], || "the end of the stream".into())? {
            0 => Ok(()),
            more => Err(Stop::Fail(format!("`{more}` bytes arrived where the stream should end"))),
        }
    }
}

/// Reads exactly so many bytes of a stream.
///
/// # Errors
///
/// [`Stop::Fail`] when they do not come.
pub(super) fn read(socket: &OwnedFd, bytes: usize, patience: Patience<'_>) -> Result<Vec<u8>, Stop> {
    let mut data = vec![0; bytes];
    let mut at = 0;
    while at < bytes {
        let got = patience.receive(socket.as_fd(), &mut data[at..], || format!("byte {at} of {bytes}"))?;
        if got == 0 {
            return Err(Stop::Fail(format!("the stream ended after `{at}` of `{bytes}` bytes")));
        }
        at += got;
    }
    Ok(data)
}
