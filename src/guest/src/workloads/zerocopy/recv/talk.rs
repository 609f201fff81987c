//! One connection whose data is known byte by byte, sent so that it is clear
//! what the receiver can map.
//!
//! Owns the positions of both ends in the stream.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags};

use super::super::connection::Pair;
use super::super::memory::page_size;
use super::super::patience::Patience;
use super::super::pattern::Pattern;
use super::super::table::outcome;
use super::place::{Place, ROOM};
use super::sys::{self, Answer, Area, Request};
use crate::clock;
use crate::context::Stop;

/// Pause between two looks at how much has arrived: `poll` tells of the first
/// byte only, and `SO_RCVLOWAT` would change what is tested.
const ARRIVAL_POLL: Duration = Duration::from_micros(50);

/// Longer than any stream.
const STREAM: u64 = 1 << 40;

/// A connection and what it carries.
#[derive(Debug)]
pub(super) struct Talk<'a> {
    pair: Pair,
    patience: Patience<'a>,
    pattern: Pattern,
    /// Position behind the last byte that was sent.
    sent: u64,
    /// Position of the next byte to be received.
    at: u64,
}

fn failed(call: &str) -> impl Fn(Errno) -> Stop {
    move |errno| Stop::Fail(format!("{call}: {errno}"))
}

impl<'a> Talk<'a> {
    /// A connection with segments of whole pages.
    ///
    /// # Errors
    ///
    /// As [`Place::connect_warm`].
    pub(super) fn new(place: &Place, seed: u64, patience: Patience<'a>) -> Result<Self, Stop> {
        let pair = place.connect_warm(patience)?;
        Ok(Self { pair, patience, pattern: Pattern::new(seed, STREAM), sent: 0, at: 0 })
    }

    /// A connection on which nothing was sent.
    ///
    /// # Errors
    ///
    /// As [`Place::connect`].
    pub(super) fn fresh(place: &Place, seed: u64, patience: Patience<'a>) -> Result<Self, Stop> {
        let pair = place.connect(ROOM, patience)?;
        Ok(Self { pair, patience, pattern: Pattern::new(seed, STREAM), sent: 0, at: 0 })
    }

    /// The end that receives.
    pub(super) fn receiver(&self) -> BorrowedFd<'_> {
        self.pair.receiver.as_fd()
    }

    /// The end that sends.
    pub(super) fn sender(&self) -> BorrowedFd<'_> {
        self.pair.sender.as_fd()
    }

    /// Both ends.
    pub(super) fn into_ends(self) -> (OwnedFd, OwnedFd) {
        (self.pair.sender, self.pair.receiver)
    }

    /// Position of the next byte to be received.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes sent and not received.
    pub(super) fn under_way(&self) -> usize {
        usize::try_from(self.sent - self.at).unwrap_or(usize::MAX)
    }

    /// Says that bytes were received by other means than [`Self::recv`].
    pub(super) fn took(&mut self, bytes: usize) {
        self.at += bytes as u64;
    }

    /// What belongs at a position.
    pub(super) fn content(&self, position: u64, bytes: usize) -> Vec<u8> {
        let mut content = vec![0; bytes];
        self.pattern.fill(&mut content, position);
        content
    }

    /// Sends pages that can be mapped, one page of a pipe each, and waits until
    /// they have arrived.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when they cannot be sent, or do not arrive.
    pub(super) fn send_pages(&mut self, pages: usize) -> Result<(), Stop> {
        self.splice(&vec![page_size(); pages])
    }

    /// As [`Self::send_pages`], with pages that hold so many bytes.
    ///
    /// # Errors
    ///
    /// As [`Self::send_pages`].
    pub(super) fn splice(&mut self, parts: &[usize]) -> Result<(), Stop> {
        self.splice_parts(parts)?;
        self.arrived()
    }

    fn splice_parts(&mut self, parts: &[usize]) -> Result<(), Stop> {
        let pipe = |errno| Stop::Error(format!("a pipe: {errno}"));
        // With O_DIRECT every write begins a page.
        let (reader, writer) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::DIRECT).map_err(pipe)?;
        let room = parts.len().max(1) * page_size();
        rustix::pipe::fcntl_setpipe_size(&writer, room).map_err(pipe)?;
        for part in parts {
            let content = self.content(self.sent, *part);
            let written = retry_on_intr(|| rustix::io::write(&writer, &content)).map_err(pipe)?;
            if written != *part {
                return Err(Stop::Error(format!("the pipe took `{written}` of `{part}` bytes")));
            }
            self.sent += written as u64;
        }
        let mut left: usize = parts.iter().sum();
        while left > 0 {
            let sender = self.pair.sender.as_fd();
            match retry_on_intr(|| {
                rustix::pipe::splice(&reader, None, sender, None, left, SpliceFlags::NONBLOCK)
            }) {
                Ok(sent) if (1..=left).contains(&sent) => left -= sent,
                Ok(sent) => return Err(Stop::Fail(format!("splice of `{left}` bytes claims `{sent}`"))),
                Err(Errno::AGAIN) => {
                    self.patience.wait(sender, PollFlags::OUT, || "room in the sending socket".into())?;
                }
                Err(errno) => return Err(Stop::Fail(format!("splice to the socket: {errno}"))),
            }
        }
        Ok(())
    }

    /// Sends bytes that may be of a kind that cannot be mapped, and waits until
    /// they have arrived.
    ///
    /// # Errors
    ///
    /// As [`Self::send_pages`].
    pub(super) fn send(&mut self, bytes: usize) -> Result<(), Stop> {
        self.send_flags(bytes, SendFlags::empty())
    }

    /// As [`Self::send`], with flags.
    ///
    /// # Errors
    ///
    /// As [`Self::send_pages`].
    pub(super) fn send_flags(&mut self, bytes: usize, flags: SendFlags) -> Result<(), Stop> {
        let content = self.content(self.sent, bytes);
        let flags = flags | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = rustix::net::send(&self.pair.sender, &content, flags).map_err(failed("send"))?;
        if sent != bytes {
            return Err(Stop::Error(format!(
                "send took `{sent}` of `{bytes}` bytes: the buffer is too small"
            )));
        }
        self.sent += sent as u64;
        self.arrived()
    }

    /// As [`Self::send_pages`], for a receiver that `poll` does not call readable.
    ///
    /// # Errors
    ///
    /// As [`Self::send_pages`].
    pub(super) fn send_pages_quietly(&mut self, pages: usize) -> Result<(), Stop> {
        self.splice_parts(&vec![page_size(); pages])?;
        self.queued(self.under_way())
    }

    /// Sends one urgent byte.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it cannot be sent.
    pub(super) fn send_urgent(&mut self) -> Result<(), Stop> {
        let content = self.content(self.sent, 1);
        let flags = SendFlags::OOB | SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        rustix::net::send(&self.pair.sender, &content, flags).map_err(failed("send MSG_OOB"))?;
        self.sent += 1;
        // POLLPRI: the mark is known; the byte itself is not counted as queued.
        self.patience.wait(self.receiver(), PollFlags::PRI, || "the urgent mark".into()).map(drop)
    }

    /// As [`Self::send_pages`] behind a mark up to which all counts as queued. A
    /// second connection would not tell when they are there, so their
    /// acknowledgement does.
    ///
    /// # Errors
    ///
    /// As [`Self::send_pages`].
    pub(super) fn send_behind_urgent(&mut self, pages: usize) -> Result<(), Stop> {
        self.splice_parts(&vec![page_size(); pages])?;
        loop {
            // SIOCOUTQ: bytes that the peer has not acknowledged.
            let left = sys::unacknowledged(self.sender()).map_err(failed("ioctl SIOCOUTQ"))?;
            if left == 0 {
                return Ok(());
            }
            self.patience.wait(self.sender(), PollFlags::OUT, || format!("`{left}` acknowledgements"))?;
            clock::poll_interval(ARRIVAL_POLL);
        }
    }

    /// Waits until everything that was sent is queued.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when time runs out.
    pub(super) fn arrived(&self) -> Result<(), Stop> {
        self.queued(self.under_way())
    }

    fn queued(&self, due: usize) -> Result<(), Stop> {
        loop {
            let queued = sys::queued(self.receiver()).map_err(failed("ioctl SIOCINQ"))?;
            if queued >= due {
                return Ok(());
            }
            // Returns at once, as the sender has room; notices that time is out.
            self.patience.wait(self.sender(), PollFlags::OUT, || {
                format!("`{due}` bytes, of which `{queued}` have arrived")
            })?;
            clock::poll_interval(ARRIVAL_POLL);
        }
    }

    /// Ends the sending half, and waits until the receiver knows.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it does not learn of it.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        rustix::net::shutdown(&self.pair.sender, Shutdown::Write).map_err(failed("shutdown"))?;
        self.patience.wait(self.receiver(), PollFlags::RDHUP, || "the FIN of the peer".into()).map(drop)
    }

    /// Receives with `recv`, and looks at what it gives.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it is not what was sent.
    pub(super) fn recv(&mut self, bytes: usize) -> Result<(), Stop> {
        let mut buffer = vec![0; bytes];
        let mut have = 0;
        while have < bytes {
            let rest = &mut buffer[have..];
            match retry_on_intr(|| rustix::net::recv(&self.pair.receiver, &mut *rest, RecvFlags::DONTWAIT)) {
                Ok((0, _)) => {
                    return Err(Stop::Fail(format!("the stream ends after `{have}` of `{bytes}` bytes")));
                }
                Ok((got, _)) => have += got,
                Err(errno) => {
                    return Err(Stop::Fail(format!("recv of `{bytes}` bytes that are there: {errno}")));
                }
            }
        }
        self.pattern
            .check(&buffer, self.at)
            .map_err(|mismatch| Stop::Fail(format!("in data from recv, {mismatch}")))?;
        self.at += bytes as u64;
        Ok(())
    }

    /// Takes everything that is queued with `recv`.
    ///
    /// # Errors
    ///
    /// As [`Self::recv`].
    pub(super) fn drain(&mut self) -> Result<(), Stop> {
        self.recv(self.under_way())
    }

    /// Makes a request; what was mapped or copied counts as received.
    pub(super) fn ask(&mut self, request: &Request<'_>) -> Result<Answer, Errno> {
        let answer = retry_on_intr(|| request.ask(self.pair.receiver.as_fd()))?;
        self.at += u64::from(answer.length) + u64::try_from(answer.copied).unwrap_or(0);
        Ok(answer)
    }

    /// Says what is wrong with the pages of an area from a byte on, which shall
    /// hold the stream from a position on: `right`, or the difference.
    pub(super) fn look(&self, area: &Area, offset: usize, bytes: usize, position: u64) -> String {
        let (first, last) = (offset / page_size(), (offset + bytes).div_ceil(page_size()));
        let populated = match area.populated() {
            Ok(populated) => populated,
            Err(errno) => return format!("mincore: {}", outcome::<()>(&Err(errno))),
        };
        if let Some(missing) = (first..last).find(|page| !populated.get(*page).copied().unwrap_or(false)) {
            return format!("page {missing} is not there");
        }
        let mut found = vec![0; bytes];
        area.read(offset, &mut found);
        match self.pattern.check(&found, position) {
            Ok(()) => "right".into(),
            Err(mismatch) => mismatch.to_string(),
        }
    }
}
