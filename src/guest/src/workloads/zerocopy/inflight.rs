//! Sends with `MSG_ZEROCOPY`: who may write to a buffer, and what the error
//! queue says.
//!
//! A buffer is written again only when every send from it was reported as
//! completed: until then the kernel may read it, at the latest to retransmit.
//! Every report is checked; at the end each send was reported exactly once.

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendFlags, Shutdown, sockopt};

use super::completions::Completions;
use super::errqueue::{self, QueueError};
use super::loopback::Family;
use super::memory::{self, Pages};
use super::patience::Patience;
use super::pattern::Load;
use super::sys;
use crate::clock;
use crate::context::Stop;

/// `MSG_ZEROCOPY`, together with what keeps a test alive and awake.
pub(super) const ZEROCOPY: SendFlags = SendFlags::from_bits_retain(
    libc::MSG_ZEROCOPY.cast_unsigned()
        | libc::MSG_DONTWAIT.cast_unsigned()
        | libc::MSG_NOSIGNAL.cast_unsigned(),
);

/// What may be wrong when the first send has no memory for its notification.
pub(super) const OPTMEM_HINT: &str = "\nhint: net.core.optmem_max has to be 1024 at the least";

/// What keeps a sender from being too fast for its receiver.
#[derive(Debug, Clone, Copy)]
pub(super) enum Pace<'a> {
    /// A stream, which the kernel throttles; its end is announced to the peer.
    Stream,
    /// Datagrams, which the kernel drops: the receiver adds 1 to an eventfd for
    /// each that it took, and at most `ahead` are on their way.
    Datagrams {
        /// The eventfd, not blocking.
        taken: BorrowedFd<'a>,
        /// Datagrams that the receiver has room for.
        ahead: u64,
    },
}

/// A job for [`transmit`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    /// Connected, not blocking, with `SO_ZEROCOPY` on.
    pub(super) socket: BorrowedFd<'a>,
    /// Of the socket.
    pub(super) family: Family,
    /// What is sent.
    pub(super) load: Load,
    /// Bytes that one call is asked to send.
    pub(super) unit: usize,
    /// Buffers of that size; so many calls can be under way.
    pub(super) buffers: usize,
    /// Transport.
    pub(super) pace: Pace<'a>,
}

/// What [`transmit`] saw.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// Successful calls.
    pub(super) calls: u64,
    /// Messages in the error queue.
    pub(super) notifications: u64,
    /// Calls that failed for want of memory for notifications.
    pub(super) refusals: u64,
    /// From the beginning of each call to the reading of its completion.
    pub(super) latencies_ns: Vec<u64>,
    /// From the first call to the last completion.
    pub(super) elapsed_ns: u64,
}

/// Switches `SO_ZEROCOPY` on.
///
/// # Errors
///
/// [`Stop::Skip`] for a kernel without it, [`Stop::Fail`] when it refuses.
pub(super) fn enable(socket: BorrowedFd<'_>) -> Result<(), Stop> {
    sys::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, 1).map_err(|errno| match errno {
        Errno::NOPROTOOPT => Stop::Skip(format!(
            "the kernel lacks MSG_ZEROCOPY (setsockopt SO_ZEROCOPY: {errno}); TCP has it since 4.14"
        )),
        Errno::OPNOTSUPP => Stop::Skip(format!(
            "the kernel lacks MSG_ZEROCOPY for this protocol (setsockopt SO_ZEROCOPY: {errno}); UDP has it since 5.0"
        )),
        _ => Stop::Fail(format!("setsockopt SO_ZEROCOPY to 1: {errno}")),
    })
}

/// Sends everything, and waits until all of it is completed.
///
/// # Errors
///
/// [`Stop::Fail`] when a call fails that should not, or a completion is lost,
/// doubled, foreign or claims that pages were shared, which on loopback they
/// never are. [`Stop::Error`] without memory, or when the other end gave up.
pub(super) fn transmit(order: Order<'_>, patience: Patience<'_>) -> Result<Sent, Stop> {
    let mut sender = Sender::new(order)?;
    let begin_ns = clock::monotonic_ns();
    sender.run(patience)?;
    sender.sent.elapsed_ns = clock::monotonic_ns().saturating_sub(begin_ns);
    sender.sent.calls = sender.completions.made();
    Ok(sender.sent)
}

/// Asserts that the error queue is empty when it has to be.
///
/// # Errors
///
/// [`Stop::Fail`] with the message that is in it.
pub(super) fn assert_quiet(socket: BorrowedFd<'_>, family: Family) -> Result<(), Stop> {
    match errqueue::next(socket, family).map_err(queue_stop)? {
        None => Ok(()),
        Some(left) => Err(Stop::Fail(format!(
            "every send was completed, and then the error queue held one more completion, of sends {}..={}",
            left.first, left.last
        ))),
    }
}

/// Errors of the error queue are the kernel's.
pub(super) fn queue_stop(error: QueueError) -> Stop {
    Stop::Fail(error.to_string())
}

/// A send that waits for its completion.
#[derive(Debug, Clone, Copy)]
struct Held {
    buffer: usize,
    since_ns: u64,
}

/// Bytes of a buffer that are still to be sent.
#[derive(Debug, Clone, Copy)]
struct Part {
    buffer: usize,
    offset: usize,
    len: usize,
}

/// Why the next call has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Obstacle {
    /// The socket is full.
    Room,
    /// Every buffer is in use, or all is sent: only a completion helps.
    Completion,
    /// The receiver has to take a datagram.
    Receiver,
}

struct Sender<'a> {
    order: Order<'a>,
    memory: Pages,
    stride: usize,
    /// Sends under way from each buffer.
    in_use: Vec<usize>,
    held: BTreeMap<u64, Held>,
    completions: Completions,
    /// Position behind the last byte that is in a buffer.
    loaded: u64,
    part: Option<Part>,
    /// Datagrams that the receiver took.
    taken: u64,
    sent: Sent,
}

impl<'a> Sender<'a> {
    fn new(order: Order<'a>) -> Result<Self, Stop> {
        let stride = order.unit.next_multiple_of(memory::page_size());
        let size = stride * order.buffers;
        let mut memory = Pages::new(size)
            .map_err(|errno| Stop::Error(format!("mmap of `{size}` bytes to send: {errno}")))?;
        // Untouched pages would all be the same page of zeros.
        memory.fill(1);
        Ok(Self {
            order,
            memory,
            stride,
            in_use: vec![0; order.buffers],
            held: BTreeMap::new(),
            completions: Completions::new(),
            loaded: 0,
            part: None,
            taken: 0,
            sent: Sent::default(),
        })
    }

    fn run(&mut self, patience: Patience<'_>) -> Result<(), Stop> {
        let mut announced = false;
        loop {
            self.reap()?;
            let obstacle = match self.next_part() {
                Ok(Some(part)) => match self.push(part)? {
                    None => continue,
                    Some(obstacle) => obstacle,
                },
                Ok(None) => {
                    if !announced && matches!(self.order.pace, Pace::Stream) {
                        let shut = rustix::net::shutdown(self.order.socket, Shutdown::Write);
                        shut.map_err(|errno| Stop::Fail(format!("shutdown of the sending end: {errno}")))?;
                        announced = true;
                    }
                    if self.completions.outstanding() == 0 {
                        return Ok(());
                    }
                    Obstacle::Completion
                }
                Err(obstacle) => obstacle,
            };
            self.wait(obstacle, patience)?;
        }
    }

    /// The bytes for the next call; `None` when all are sent.
    fn next_part(&mut self) -> Result<Option<Part>, Obstacle> {
        if self.part.is_some() {
            return Ok(self.part);
        }
        let left = self.order.load.length() - self.loaded;
        if left == 0 {
            return Ok(None);
        }
        if let Pace::Datagrams { ahead, .. } = self.order.pace
            && self.completions.made() - self.taken >= ahead
        {
            return Err(Obstacle::Receiver);
        }
        let buffer = self.in_use.iter().position(|sends| *sends == 0).ok_or(Obstacle::Completion)?;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.order.unit);
        self.order.load.fill(&mut self.memory[buffer * self.stride..][..len], self.loaded);
        self.loaded += len as u64;
        self.part = Some(Part { buffer, offset: 0, len });
        Ok(self.part)
    }

    fn push(&mut self, part: Part) -> Result<Option<Obstacle>, Stop> {
        let bytes = &self.memory[part.buffer * self.stride..][part.offset..part.len];
        let since_ns = clock::monotonic_ns();
        let sent = match retry_on_intr(|| rustix::net::send(self.order.socket, bytes, ZEROCOPY)) {
            Ok(sent) => sent,
            Err(Errno::AGAIN) => return Ok(Some(Obstacle::Room)),
            Err(Errno::NOBUFS) => {
                self.sent.refusals += 1;
                // Each notification that waits, or will come, is charged to the
                // socket (net.core.optmem_max). With none, there is no excuse.
                if self.completions.outstanding() == 0 {
                    return Err(Stop::Fail(format!(
                        "send of `{}` bytes with MSG_ZEROCOPY: {} while no completion was outstanding{OPTMEM_HINT}",
                        bytes.len(),
                        Errno::NOBUFS
                    )));
                }
                return Ok(Some(Obstacle::Completion));
            }
            Err(errno) => {
                let len = bytes.len();
                return Err(Stop::Fail(format!("send of `{len}` bytes with MSG_ZEROCOPY: {errno}")));
            }
        };
        let whole = sent == bytes.len();
        if sent == 0 || sent > bytes.len() || (!whole && matches!(self.order.pace, Pace::Datagrams { .. })) {
            let len = bytes.len();
            return Err(Stop::Fail(format!(
                "send of `{len}` bytes with MSG_ZEROCOPY claims to have sent `{sent}`"
            )));
        }
        let number = self.completions.sent();
        self.held.insert(number, Held { buffer: part.buffer, since_ns });
        self.in_use[part.buffer] += 1;
        self.part = (!whole).then_some(Part { offset: part.offset + sent, ..part });
        Ok(None)
    }

    /// Reads every notification that is there.
    fn reap(&mut self) -> Result<(), Stop> {
        while let Some(notification) =
            errqueue::next(self.order.socket, self.order.family).map_err(queue_stop)?
        {
            self.sent.notifications += 1;
            let (first, last) = (notification.first, notification.last);
            let range =
                self.completions.completed(first, last).map_err(|error| Stop::Fail(error.to_string()))?;
            if notification.pages != errqueue::Pages::Copied {
                return Err(Stop::Fail(format!(
                    "the completion of sends {first}..={last} lacks SO_EE_CODE_ZEROCOPY_COPIED: \
                     loopback always copies"
                )));
            }
            let now_ns = clock::monotonic_ns();
            for number in range {
                if let Some(held) = self.held.remove(&number) {
                    self.in_use[held.buffer] -= 1;
                    self.sent.latencies_ns.push(now_ns.saturating_sub(held.since_ns));
                }
            }
        }
        Ok(())
    }

    fn wait(&mut self, obstacle: Obstacle, patience: Patience<'_>) -> Result<(), Stop> {
        let events = if obstacle == Obstacle::Room { PollFlags::OUT } else { PollFlags::empty() };
        let mut files = vec![(self.order.socket, events)];
        if let (Pace::Datagrams { taken, .. }, Obstacle::Receiver) = (self.order.pace, obstacle) {
            files.push((taken, PollFlags::IN));
        }
        let completions = &self.completions;
        let ready = patience.wait_for(&files, || {
            let (loaded, length) = (self.loaded, self.order.load.length());
            match obstacle {
                Obstacle::Room => format!("room in the sending socket, at byte {loaded} of {length}"),
                Obstacle::Completion => format!("the completion of {}", completions.missing()),
                Obstacle::Receiver => {
                    format!("the receiver, who has taken {} of {} datagrams", self.taken, completions.made())
                }
            }
        })?;
        if let Pace::Datagrams { taken, .. } = self.order.pace
            && ready.get(1).is_some_and(|events| events.contains(PollFlags::IN))
        {
            let mut count = [0; 8];
            rustix::io::read(taken, &mut count)
                .map_err(|errno| Stop::Error(format!("read of the eventfd: {errno}")))?;
            self.taken += u64::from_ne_bytes(count);
        }
        // A notification raises the same flag as a broken connection.
        if ready[0].contains(PollFlags::ERR) {
            let error = sockopt::socket_error(self.order.socket)
                .map_err(|errno| Stop::Error(format!("getsockopt SO_ERROR: {errno}")))?;
            error.map_err(|errno| Stop::Fail(format!("the sending socket broke: {errno}")))?;
        }
        Ok(())
    }
}
