//! Which sends the kernel numbers, and so promises to complete.
//!
//! Absence is not waited for: a send that must not be numbered is followed by
//! one that must, and the number of the latter tells.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::SendFlags;

use super::connection::Pair;
use super::errqueue::{self, Notification, Pages};
use super::inflight;
use super::loopback::Family;
use super::patience::Patience;
use super::pattern::Pattern;
use super::send::Protocol;
use super::sys;
use crate::context::{Context, Stop, WorkloadResult};

/// Bytes per send: more than one page, not whole ones.
const UNIT: usize = 5000;

/// Bytes of the longest send, for the receiver's room.
pub(super) const LONGEST: usize = UNIT;

/// Sends in all, for the receiver's room.
pub(super) const SENDS: usize = 5;

const PLAIN: SendFlags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);

/// Checks it on a fresh pair of sockets.
///
/// # Errors
///
/// [`Stop::Fail`] when a send is numbered that must not be, or the other way
/// round, or when `SO_ZEROCOPY` takes a value that is none; [`Stop::Skip`] for
/// a kernel without it.
pub(super) fn check(
    context: &Context<'_>,
    pair: &Pair,
    protocol: Protocol,
    family: Family,
    seed: u64,
    patience: Patience<'_>,
) -> WorkloadResult {
    let socket = pair.sender.as_fd();
    let pattern = Pattern::new(seed, 4 * UNIT as u64);
    let mut data = vec![0; 4 * UNIT];
    pattern.fill(&mut data, 0);
    let units: Vec<&[u8]> = data.chunks(UNIT).collect();
    let mut numbers = 0..;
    let mut expect = |after: &str| {
        let number = numbers.next().unwrap_or_default();
        completion(context, socket, family, number, after, patience)
    };

    refuse_other_values(context, socket)?;
    send(context, socket, units[0], inflight::ZEROCOPY, "with MSG_ZEROCOPY but without SO_ZEROCOPY")?;
    inflight::enable(socket)?;
    let on = get_zerocopy(socket)?;
    context.check(on == 1, || format!("SO_ZEROCOPY was set to 1 and is `{on}`"))?;
    send(context, socket, units[1], inflight::ZEROCOPY, "with MSG_ZEROCOPY")?;
    expect("a send without SO_ZEROCOPY")?;

    send(context, socket, &[], inflight::ZEROCOPY, "with MSG_ZEROCOPY")?;
    // An empty datagram is not empty: the length that decides counts the header
    // of UDP (net/ipv4/ip_output.c, __ip_append_data()).
    if protocol == Protocol::Udp {
        expect("an empty datagram")?;
    }
    send(context, socket, units[2], PLAIN, "without MSG_ZEROCOPY")?;
    send(context, socket, units[3], inflight::ZEROCOPY, "with MSG_ZEROCOPY")?;
    expect("a send of nothing, and one without MSG_ZEROCOPY")?;

    let receiver = pair.receiver.as_fd();
    match protocol {
        Protocol::Tcp => expect_stream(context, receiver, &pattern, patience)?,
        Protocol::Udp => {
            let due = units.into_iter().chain([&[][..]]).collect();
            expect_datagrams(context, receiver, due, patience)?;
        }
    }
    context.checked(1);
    inflight::assert_quiet(socket, family)
}

/// Waits for the completion of the only send that is under way.
fn completion(
    context: &Context<'_>,
    socket: BorrowedFd<'_>,
    family: Family,
    number: u32,
    after: &str,
    patience: Patience<'_>,
) -> WorkloadResult {
    let found = loop {
        if let Some(found) = errqueue::next(socket, family).map_err(inflight::queue_stop)? {
            break found;
        }
        patience.wait(socket, PollFlags::empty(), || format!("the completion of zerocopy send {number}"))?;
    };
    let expected = Notification { first: number, last: number, pages: Pages::Copied };
    context.check(found == expected, || {
        format!(
            "after {after}, the next completion is that of sends {}..={} ({:?}); {number}..={number} (Copied) \
             was expected",
            found.first, found.last, found.pages
        )
    })
}

fn expect_stream(
    context: &Context<'_>,
    socket: BorrowedFd<'_>,
    pattern: &Pattern,
    patience: Patience<'_>,
) -> WorkloadResult {
    let total = pattern.length();
    let mut buffer = vec![0; UNIT];
    let mut at = 0;
    while at < total {
        let got = patience.receive(socket, &mut buffer, || format!("byte {at} of {total}"))?;
        context.check(got > 0, || format!("the stream ended after `{at}` of `{total}` bytes"))?;
        pattern
            .check(&buffer[..got], at)
            .map_err(|mismatch| Stop::Fail(format!("in the data of the first sends, {mismatch}")))?;
        context.checked(1);
        at += got as u64;
    }
    Ok(())
}

/// Takes datagrams in any order: UDP promises none.
fn expect_datagrams(
    context: &Context<'_>,
    socket: BorrowedFd<'_>,
    mut due: Vec<&[u8]>,
    patience: Patience<'_>,
) -> WorkloadResult {
    let mut buffer = vec![0; 2 * UNIT];
    while !due.is_empty() {
        let got =
            patience.receive(socket, &mut buffer, || format!("{} of the first datagrams", due.len()))?;
        let Some(which) = due.iter().position(|bytes| *bytes == &buffer[..got]) else {
            let left = due.len();
            return Err(Stop::Fail(format!(
                "a datagram of `{got}` bytes arrived that is none of the {left} on their way"
            )));
        };
        context.checked(1);
        due.swap_remove(which);
    }
    Ok(())
}

fn get_zerocopy(socket: BorrowedFd<'_>) -> Result<i32, Stop> {
    sys::get_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY)
        .map_err(|errno| Stop::Fail(format!("getsockopt SO_ZEROCOPY: {errno}")))
}

/// Only 0 and 1 are values (net/core/sock.c).
fn refuse_other_values(context: &Context<'_>, socket: BorrowedFd<'_>) -> WorkloadResult {
    for value in [2, -1] {
        let result = sys::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, value);
        if result == Err(Errno::NOPROTOOPT) || result == Err(Errno::OPNOTSUPP) {
            // Says which kernel is too old, as for the value 1.
            inflight::enable(socket)?;
        }
        context.check(result == Err(Errno::INVAL), || {
            let outcome = result.map_or_else(|errno| errno.to_string(), |()| "success".into());
            format!("setsockopt SO_ZEROCOPY to `{value}`: {outcome}, EINVAL was expected")
        })?;
    }
    let off = get_zerocopy(socket)?;
    context.check(off == 0, || format!("SO_ZEROCOPY was never set to 1 and is `{off}`"))
}

fn send(
    context: &Context<'_>,
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    flags: SendFlags,
    how: &str,
) -> WorkloadResult {
    let asked = bytes.len();
    let sent = retry_on_intr(|| rustix::net::send(socket, bytes, flags)).map_err(|errno| {
        let hint = if errno == Errno::NOBUFS { inflight::OPTMEM_HINT } else { "" };
        Stop::Fail(format!("send of `{asked}` bytes {how}: {errno}{hint}"))
    })?;
    context.check(sent == asked, || format!("send of `{asked}` bytes {how} claims to have sent `{sent}`"))
}
