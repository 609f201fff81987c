//! A socket with `SO_ZEROCOPY` and the ledger of its completions.
//!
//! Counts an id for every successful call with the flag and takes every
//! notification; a range that does not belong is a failure at once.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::SendFlags;

use super::super::completions::Completions;
use super::super::errqueue::{self, Notification, Pages};
use super::super::inflight::{self, ZEROCOPY};
use super::super::loopback::Family;
use super::super::patience::Patience;
use crate::context::Stop;

/// The sending end.
#[derive(Debug)]
pub(super) struct Line {
    socket: OwnedFd,
    family: Family,
    completions: Completions,
    /// Notifications in the order in which they were read.
    pub(super) seen: Vec<Notification>,
}

impl Line {
    /// Switches `SO_ZEROCOPY` on.
    ///
    /// # Errors
    ///
    /// As [`inflight::enable`].
    pub(super) fn open(socket: OwnedFd, family: Family) -> Result<Self, Stop> {
        inflight::enable(socket.as_fd())?;
        Ok(Self { socket, family, completions: Completions::new(), seen: Vec::new() })
    }

    /// The socket.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// One call with `MSG_ZEROCOPY` and `more`; if it succeeds it has an id. For
    /// streams, data must not be empty.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn send(&mut self, bytes: &[u8], more: SendFlags) -> Result<usize, Errno> {
        let sent = retry_on_intr(|| rustix::net::send(&self.socket, bytes, ZEROCOPY | more))?;
        self.completions.sent();
        Ok(sent)
    }

    /// As [`Self::send`] for a call that has to take everything.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it does not.
    pub(super) fn send_all(&mut self, bytes: &[u8], more: SendFlags) -> Result<(), Stop> {
        let asked = bytes.len();
        match self.send(bytes, more) {
            Ok(sent) if sent == asked => Ok(()),
            Ok(sent) => Err(Stop::Fail(format!(
                "send of `{asked}` bytes with MSG_ZEROCOPY took `{sent}`, and there was room for all"
            ))),
            Err(errno) => {
                let hint = if errno == Errno::NOBUFS { inflight::OPTMEM_HINT } else { "" };
                Err(Stop::Fail(format!("send of `{asked}` bytes with MSG_ZEROCOPY: {errno}{hint}")))
            }
        }
    }

    /// As [`Self::send_all`], for datagrams to somebody else.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it does not.
    pub(super) fn send_to(&mut self, bytes: &[u8], to: &SocketAddr) -> Result<(), Stop> {
        let asked = bytes.len();
        match retry_on_intr(|| rustix::net::sendto(&self.socket, bytes, ZEROCOPY, to)) {
            Ok(sent) if sent == asked => {
                self.completions.sent();
                Ok(())
            }
            result => {
                Err(Stop::Fail(format!("sendto of `{asked}` bytes with MSG_ZEROCOPY came to {result:?}")))
            }
        }
    }

    /// Calls that succeeded.
    pub(super) fn made(&self) -> u64 {
        self.completions.made()
    }

    /// Reads all notifications that are there.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] for a range that was never sent or was completed before.
    pub(super) fn reap(&mut self) -> Result<(), Stop> {
        while let Some(found) =
            errqueue::next(self.socket.as_fd(), self.family).map_err(inflight::queue_stop)?
        {
            self.completions
                .completed(found.first, found.last)
                .map_err(|error| Stop::Fail(error.to_string()))?;
            self.seen.push(found);
        }
        Ok(())
    }

    /// Waits until no more than `left` calls have no completion.
    ///
    /// # Errors
    ///
    /// As [`Self::reap`], and [`Stop::Fail`] when a completion does not come.
    pub(super) fn wait(&mut self, left: u64, patience: Patience<'_>) -> Result<(), Stop> {
        loop {
            self.reap()?;
            if self.completions.outstanding() <= left {
                return Ok(());
            }
            let completions = &self.completions;
            let what = || format!("the completion of {}", completions.missing());
            patience.wait(self.socket.as_fd(), PollFlags::empty(), what)?;
        }
    }

    /// Waits for every completion, and looks that there is none too many.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub(super) fn settle(&mut self, patience: Patience<'_>) -> Result<(), Stop> {
        self.wait(0, patience)?;
        inflight::assert_quiet(self.socket.as_fd(), self.family)
    }

    /// Looks that no completion is there although calls wait for one.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with the completion that came too early.
    pub(super) fn assert_pending(&mut self, why: &str) -> Result<(), Stop> {
        let before = self.seen.len();
        self.reap()?;
        match self.seen.get(before) {
            None => Ok(()),
            Some(early) => Err(Stop::Fail(format!(
                "sends {}..={} are reported as completed although {why}",
                early.first, early.last
            ))),
        }
    }

    /// The first notification whose code is not this one.
    pub(super) fn other_than(&self, pages: Pages) -> Option<Notification> {
        self.seen.iter().copied().find(|found| found.pages != pages)
    }

    /// Closes the socket, whatever is under way.
    pub(super) fn close(self) {
        drop(self.socket);
    }
}
