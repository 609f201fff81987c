//! Sends a load by `SEND_ZC` or `SENDMSG_ZC` from a few buffers, none of which
//! is written to before the kernel has given it back.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::net::Shutdown;

use super::super::memory::Pages;
use super::super::patience::Patience;
use super::super::pattern::Load;
use super::client::{Client, in_words};
use super::ledger::Kind;
use crate::clock;
use crate::context::Stop;
use crate::uring::{Message, REPORT_USAGE, Request, Span};

/// Why a test of [`Op::SendMsg`] from [`Memory::Registered`] is skipped.
pub(super) const NO_REGISTERED_MESSAGES: &str =
    "the kernel's SENDMSG_ZC takes no registered buffers; needs CONFIG_IO_URING of a newer kernel";

/// The request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    /// `SEND_ZC`.
    Send,
    /// `SENDMSG_ZC`, in two parts.
    SendMsg,
}

/// Where data is sent from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Memory {
    /// Memory that the kernel pins for each request.
    Plain,
    /// Memory that was registered with the ring.
    Registered,
}

/// Whether requests depend on each other's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// A stream, whose end is told to the peer. Requests may be cut short.
    Stream,
    /// Each request is one datagram.
    Datagrams,
}

/// A job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Order<'a> {
    /// Connected.
    pub(super) socket: BorrowedFd<'a>,
    /// Kind of request.
    pub(super) op: Op,
    /// Kind of buffer.
    pub(super) memory: Memory,
    /// Stream or datagrams.
    pub(super) shape: Shape,
    /// What is sent.
    pub(super) load: Load,
    /// Bytes of a request.
    pub(super) unit: usize,
    /// Buffers of that size.
    pub(super) buffers: usize,
    /// What usage reports have to say: whether the data was copied.
    pub(super) copied: bool,
}

/// What was seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Sent {
    /// Requests, each with a result and a notification.
    pub(super) requests: u64,
    /// Of these, such that sent less than they were asked to.
    pub(super) short: u64,
    /// From the submission of each request to the reading of its notification.
    pub(super) latencies_ns: Vec<u64>,
    /// From the first request to the last notification.
    pub(super) elapsed_ns: u64,
}

/// Buffers side by side.
pub(super) struct Buffers {
    pages: Pages,
    unit: usize,
    /// Requests that were made from each.
    users: Vec<Vec<u64>>,
}

impl Buffers {
    /// So many, of so many bytes each.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] without memory.
    pub(super) fn new(count: usize, unit: usize) -> Result<Self, Stop> {
        let pages = Pages::new(count * unit)
            .map_err(|errno| Stop::Error(format!("mmap of `{count}` buffers of `{unit}` bytes: {errno}")))?;
        Ok(Self { pages, unit, users: vec![Vec::new(); count] })
    }

    /// All of them, for registration.
    pub(super) fn whole(&self) -> Span {
        Span::of(&self.pages)
    }

    /// One of them.
    pub(super) fn bytes(&mut self, number: usize) -> &mut [u8] {
        let (start, unit) = (number * self.unit, self.unit);
        &mut self.pages[start..start + unit]
    }
}

impl std::fmt::Debug for Buffers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Buffers").field("count", &self.users.len()).finish_non_exhaustive()
    }
}

/// Makes a request, and what has to live until it is submitted.
pub(super) fn request(op: Op, memory: Memory, socket: i32, bytes: Span) -> (Request, Option<Message>) {
    let (request, message) = match op {
        Op::Send => (Request::send(socket, bytes), None),
        Op::SendMsg => {
            let half = bytes.len / 2;
            let message = Message::new(&[Span { len: half, ..bytes }, bytes.from(half)], None);
            (Request::sendmsg(socket, &message), Some(message))
        }
    };
    let request = match memory {
        Memory::Plain => request,
        Memory::Registered => request.registered(0),
    };
    (request.zerocopy_flags(REPORT_USAGE), message)
}

/// Sends everything and waits until all of it is notified.
///
/// # Errors
///
/// [`Stop::Fail`] when a request fails, a completion is lost, doubled or false, or
/// the usage report says what is not so. [`Stop::Skip`] for a kernel that does not
/// take registered buffers for the request.
pub(super) fn send(mut client: Client, order: Order<'_>, patience: Patience<'_>) -> Result<Sent, Stop> {
    let mut buffers = Buffers::new(order.buffers, order.unit)?;
    if order.memory == Memory::Registered {
        client.register(&[buffers.whole()])?;
    }
    let begin_ns = clock::monotonic_ns();
    let (mut sent, mut position, mut number) = (Sent::default(), 0, 0);
    while position < order.load.length() {
        let users = std::mem::take(&mut buffers.users[number]);
        client.wait_until(
            patience,
            |ledger| format!("buffer {number} to be given back: {}", ledger.missing()),
            |ledger| users.iter().all(|id| ledger.done(*id)),
        )?;
        for id in users {
            account(&client, id, order, &mut sent)?;
        }
        let left = usize::try_from(order.load.length() - position).unwrap_or(usize::MAX);
        let len = left.min(order.unit);
        let bytes = &mut buffers.bytes(number)[..len];
        order.load.fill(bytes, position);
        let span = Span::of(bytes);
        buffers.users[number] = chunk(&mut client, order, span, position, &mut sent, patience)?;
        position += len as u64;
        number = (number + 1) % order.buffers;
    }
    if order.shape == Shape::Stream {
        rustix::net::shutdown(order.socket, Shutdown::Write)
            .map_err(|errno| Stop::Fail(format!("shutdown of the sending end: {errno}")))?;
    }
    client.settle(patience)?;
    sent.elapsed_ns = clock::monotonic_ns().saturating_sub(begin_ns);
    for id in std::mem::take(&mut buffers.users).into_iter().flatten() {
        account(&client, id, order, &mut sent)?;
    }
    client.faultless()?;
    Ok(sent)
}

/// Sends one buffer, by more than one request where the socket takes less. Only one
/// request at a time waits for its result: of two, the later one might overtake.
fn chunk(
    client: &mut Client,
    order: Order<'_>,
    bytes: Span,
    position: u64,
    sent: &mut Sent,
    patience: Patience<'_>,
) -> Result<Vec<u64>, Stop> {
    let mut ids = Vec::new();
    let mut offset = 0;
    while offset < bytes.len {
        let part = bytes.from(offset);
        let (request, message) = request(order.op, order.memory, order.socket.as_raw_fd(), part);
        let id = client.submit_one(Kind::Reporting, request)?;
        drop(message);
        let outcome = client.result(id, patience)?;
        let at = position + u64::from(offset);
        let taken = match u32::try_from(outcome.result) {
            Ok(taken) if (1..=part.len).contains(&taken) => taken,
            _ if id == 0
                && outcome.result == -libc::EINVAL
                && (order.op, order.memory) == (Op::SendMsg, Memory::Registered) =>
            {
                return Err(Stop::Skip(NO_REGISTERED_MESSAGES.into()));
            }
            _ => {
                return Err(Stop::Fail(format!(
                    "a request for `{}` bytes at byte {at} came to {}",
                    part.len,
                    in_words(outcome.result)
                )));
            }
        };
        if !outcome.more {
            return Err(Stop::Fail(format!("a request that sent {taken} bytes announced no notification")));
        }
        if taken < part.len {
            sent.short += 1;
            if order.shape == Shape::Datagrams {
                let len = part.len;
                return Err(Stop::Fail(format!("a datagram of `{len}` bytes was sent with {taken}")));
            }
        }
        ids.push(id);
        offset += taken;
    }
    Ok(ids)
}

/// Judges a request that is done.
fn account(client: &Client, id: u64, order: Order<'_>, sent: &mut Sent) -> Result<(), Stop> {
    let Some(notice) = client.ledger().notice(id) else {
        return Err(Stop::Error(format!("request {id} is done without a notification")));
    };
    if notice.copied != order.copied {
        let word = |copied| if copied { "copied" } else { "not copied" };
        return Err(Stop::Fail(format!(
            "the notification of request {id} says that its data was {}, and it was {}",
            word(notice.copied),
            word(order.copied)
        )));
    }
    sent.requests += 1;
    sent.latencies_ns.push(notice.at_ns.saturating_sub(client.ledger().since_ns(id)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_lie_side_by_side_and_do_not_overlap() {
        let mut buffers = Buffers::new(3, 100).expect("memory");
        for number in 0..3 {
            buffers.bytes(number).fill(number as u8 + 1);
        }
        let first = Span::of(buffers.bytes(0)).address;
        assert_eq!(buffers.whole().address, first);
        assert_eq!(Span::of(buffers.bytes(2)).address, first + 200);
        assert!(buffers.bytes(1).iter().all(|byte| *byte == 2));
    }
}
