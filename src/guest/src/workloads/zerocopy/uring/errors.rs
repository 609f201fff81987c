//! `uring-zerocopy/errors`: what the kernel answers to every wrong request, and
//! that its notification comes if and only if the answer announced it.
//!
//! Right requests stand between the wrong ones: what they sent, and nothing else,
//! arrives.

use std::net::{Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use kregress_wire::WorkloadInfo;
use rustix::event::{EventfdFlags, PollFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::super::connection::Pair;
use super::super::locked::{self, Root};
use super::super::loopback::{FAMILY, Family};
use super::super::memory::{Pages, page_size};
use super::super::patience::{Limits, Patience};
use super::bench::{self, Bench, More};
use super::ledger::Kind;
use super::road::{self, Path, Road, Room};
use super::sender::Op;
use crate::context::{Context, Stop, WorkloadResult};
use crate::uring::{Cliff, Destination, Foreign, Message, Request, Span, Tie};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "uring-zerocopy/errors",
    summary: "the answer to every wrong SEND_ZC and SENDMSG_ZC, and whether it is notified",
    params: &[FAMILY],
    metrics: &[],
    modules: &[],
};

/// Bytes of a request that is right.
const GOOD: u32 = 4096;

/// An address where nothing is: the kernel lets nobody map so low
/// (`vm.mmap_min_addr`), or nobody does.
const NOWHERE: Span = Span { address: 0x1000, len: GOOD };

/// A flag of zerocopy sends that no kernel knows.
const UNKNOWN_FLAG: u16 = 1 << 15;

/// A descriptor that is not open.
const CLOSED: i32 = 1 << 20;

/// Parts of a message beyond `UIO_MAXIOV`.
const TOO_MANY_PARTS: usize = 1025;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let family = Family::of(ctx)?;
    drop(bench::open()?);
    let limits = Limits::of(ctx)?;
    let patience = limits.patience();
    let road = Road::build(Path::Lo, family, patience)?;
    let mut pages = Pages::new(4 * page_size()).map_err(|errno| Stop::Error(format!("mmap: {errno}")))?;
    pages.fill(0x5a);
    let good = Span { len: GOOD, ..Span::of(&pages) };
    let all = [
        requests(ctx, &road, good, patience),
        files(ctx, good, patience),
        streams(ctx, &road, family, good, patience),
        datagrams(ctx, &road, family, good, patience),
        registered(ctx, &road, &pages, patience),
        full(ctx, &road, patience),
        limited(ctx, &road, &pages, patience),
    ];
    merged(all)
}

/// All that was wrong in any of them.
fn merged(all: impl IntoIterator<Item = WorkloadResult>) -> WorkloadResult {
    let mut texts = Vec::new();
    for result in all {
        match result {
            Ok(()) => {}
            Err(Stop::Fail(text)) => texts.push(text),
            Err(other) => return Err(other),
        }
    }
    if texts.is_empty() { Ok(()) } else { Err(Stop::Fail(texts.join("; "))) }
}

const OPS: [(Op, &str); 2] = [(Op::Send, "SEND_ZC"), (Op::SendMsg, "SENDMSG_ZC")];

/// A request of the kind, and what has to live until it is submitted.
fn plain(op: Op, socket: i32, bytes: Span) -> (Request, Option<Message>) {
    match op {
        Op::Send => (Request::send(socket, bytes), None),
        Op::SendMsg => {
            let message = Message::new(&[bytes], None);
            (Request::sendmsg(socket, &message), Some(message))
        }
    }
}

/// Asks with both kinds of request.
fn both(
    bench: &mut Bench,
    (socket, what): (i32, &str),
    bytes: Span,
    (result, more): (i32, More),
    patience: Patience<'_>,
) -> WorkloadResult {
    for (op, name) in OPS {
        let (request, message) = plain(op, socket, bytes);
        bench.ask(format!("{name} {what}"), request, result, more, patience)?;
        drop(message);
    }
    Ok(())
}

const SENT: i32 = GOOD.cast_signed();

/// What is wrong about the request itself, on a good connection.
fn requests(ctx: &Context<'_>, road: &Road, good: Span, patience: Patience<'_>) -> WorkloadResult {
    let pair = road.tcp(Room::WIDE, patience)?;
    let socket = pair.sender.as_raw_fd();
    let mut bench = bench::open()?;
    let mut due = 0;
    for (op, name) in OPS {
        let mut ask = |what: &str, change: &dyn Fn(Request) -> Request, result, more| {
            let (request, message) = plain(op, socket, good);
            let asked = bench.ask(format!("{name} {what}"), change(request), result, more, patience);
            drop(message);
            asked.map(drop)
        };
        ask("that is right", &|it| it, SENT, More::Yes)?;
        // Refused before there is a notification.
        ask("with CQE_SKIP_SUCCESS", &|it| it.tie(Tie::SkipSuccess), -libc::EINVAL, More::No)?;
        ask("with addr3", &|it| it.foreign(Foreign::Address3, 1), -libc::EINVAL, More::No)?;
        ask("with padding", &|it| it.foreign(Foreign::Padding, 1), -libc::EINVAL, More::No)?;
        ask("with BUFFER_SELECT", &|it| it.tie(Tie::BufferSelect), -libc::EOPNOTSUPP, More::No)?;
        // Refused before, or after.
        ask("with an unknown flag", &|it| it.zerocopy_flags(UNKNOWN_FLAG), -libc::EINVAL, More::Either)?;
        // Refused after.
        ask("with a file index", &|it| it.foreign(Foreign::FileIndex, 1), -libc::EINVAL, More::Yes)?;
        if op == Op::SendMsg {
            ask("with addr2", &|it| it.foreign(Foreign::Address2, 1), -libc::EINVAL, More::Yes)?;
        }
        ask("that is right, after those", &|it| it, SENT, More::Yes)?;
        due += 2 * u64::from(GOOD);
    }
    let nothing = Span { len: 0, ..good };
    both(&mut bench, (socket, "of 0 bytes"), nothing, (0, More::Yes), patience)?;
    both(&mut bench, (socket, "from a bad address"), NOWHERE, (-libc::EFAULT, More::Yes), patience)?;
    let kernel = Span { address: 0xffff_8000_0000_0000, len: GOOD };
    both(
        &mut bench,
        (socket, "from an address of the kernel"),
        kernel,
        (-libc::EFAULT, More::Yes),
        patience,
    )?;
    let cliff = Cliff::new().map_err(|errno| Stop::Error(format!("mmap: {errno}")))?;
    let over = cliff.span(16);
    both(&mut bench, (socket, "over the end of a mapping"), over, (-libc::EFAULT, More::Yes), patience)?;
    messages(&mut bench, socket, good, patience)?;
    both(&mut bench, (socket, "that is right, at the end"), good, (SENT, More::Yes), patience)?;
    due += 2 * u64::from(GOOD);
    expect_exactly(&mut bench, &pair, due, patience)?;
    bench.close(ctx, patience)
}

/// What is wrong about a message.
fn messages(bench: &mut Bench, socket: i32, good: Span, patience: Patience<'_>) -> WorkloadResult {
    let request = Request::sendmsg_at(socket, NOWHERE.address);
    let what = "SENDMSG_ZC of a message at a bad address";
    bench.ask(what, request, -libc::EFAULT, More::Yes, patience)?;
    let message = Message::new(&[good], None).with_parts_at(NOWHERE.address, 1);
    let what = "SENDMSG_ZC of parts at a bad address";
    bench.ask(what, Request::sendmsg(socket, &message), -libc::EFAULT, More::Yes, patience)?;
    let message = Message::new(&vec![good; TOO_MANY_PARTS], None);
    let what = "SENDMSG_ZC of too many parts";
    // sendmsg(2) says EMSGSIZE, and so does 6.18; before, io_uring read the parts first
    // (io_msg_copy_hdr) and had an answer of its own.
    let id = bench.client().submit_one(Kind::Zerocopy, Request::sendmsg(socket, &message))?;
    let result = bench.client().result(id, patience)?.result;
    bench.due(id, what, if result == -libc::EMSGSIZE { result } else { -libc::EINVAL }, More::Yes);
    let message = Message::new(&[], None);
    let what = "SENDMSG_ZC of no parts";
    bench.ask(what, Request::sendmsg(socket, &message), 0, More::Yes, patience).map(drop)
}

/// That this many bytes arrive, and no more.
fn expect_exactly(bench: &mut Bench, pair: &Pair, due: u64, patience: Patience<'_>) -> WorkloadResult {
    rustix::net::shutdown(&pair.sender, Shutdown::Write)
        .map_err(|errno| Stop::Fail(format!("shutdown: {errno}")))?;
    let mut buffer = vec![0; 64 << 10];
    let mut total = 0_u64;
    loop {
        let got =
            patience.receive(pair.receiver.as_fd(), &mut buffer, || format!("byte {total} of {due}"))?;
        let wrong = buffer[..got].iter().position(|byte| *byte != 0x5a);
        bench.expect(wrong.is_none(), || format!("byte {total} and following have bytes that nobody sent"));
        total += got as u64;
        if got == 0 {
            break;
        }
    }
    bench.expect(total == due, || format!("right requests sent {due} bytes, and {total} arrived"));
    Ok(())
}

/// Files that cannot send so.
fn files(ctx: &Context<'_>, good: Span, patience: Patience<'_>) -> WorkloadResult {
    let mut bench = bench::open()?;
    let mut ask = |socket: i32, what: &str, result: i32| {
        both(&mut bench, (socket, what), good, (result, More::Yes), patience)
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    for (kind, what) in
        [(SocketType::STREAM, "to an AF_UNIX stream"), (SocketType::DGRAM, "to an AF_UNIX datagram socket")]
    {
        match rustix::net::socketpair(AddressFamily::UNIX, kind, flags, None) {
            Ok((one, other)) => {
                ask(one.as_raw_fd(), what, -libc::EOPNOTSUPP)?;
                drop(other);
            }
            Err(Errno::AFNOSUPPORT) => ctx.note("unix", "none: needs CONFIG_UNIX")?,
            Err(errno) => return Err(Stop::Error(format!("socketpair: {errno}"))),
        }
    }
    let file = eventfd(0, EventfdFlags::CLOEXEC).map_err(|errno| Stop::Error(format!("eventfd: {errno}")))?;
    ask(file.as_raw_fd(), "to an eventfd", -libc::ENOTSOCK)?;
    ask(CLOSED, "to a descriptor that is not open", -libc::EBADF)?;
    ask(-1, "to descriptor -1", -libc::EBADF)?;
    bench.close(ctx, patience)
}

/// Connections that are over, or never began.
fn streams(
    ctx: &Context<'_>,
    road: &Road,
    family: Family,
    good: Span,
    patience: Patience<'_>,
) -> WorkloadResult {
    let mut bench = bench::open()?;
    for (op, name) in OPS {
        let mut ask = |socket: &OwnedFd, what: &str, result: i32| {
            let (request, message) = plain(op, socket.as_raw_fd(), good);
            let asked = bench.ask(format!("{name} {what}"), request, result, More::Yes, patience);
            drop(message);
            asked.map(drop)
        };
        // A peer that closes with unread data resets the connection.
        let pair = road.tcp(Room::WIDE, patience)?;
        rustix::net::send(&pair.sender, b"unread", SendFlags::NOSIGNAL)
            .map_err(|errno| Stop::Fail(format!("send: {errno}")))?;
        patience.wait(pair.receiver.as_fd(), PollFlags::IN, || "data at the peer".into())?;
        drop(pair.receiver);
        patience.wait(pair.sender.as_fd(), PollFlags::RDHUP, || "the reset of a connection".into())?;
        ask(&pair.sender, "after a reset", -libc::ECONNRESET)?;
        ask(&pair.sender, "again after a reset", -libc::EPIPE)?;
        let pair = road.tcp(Room::WIDE, patience)?;
        rustix::net::shutdown(&pair.sender, Shutdown::Write)
            .map_err(|errno| Stop::Fail(format!("shutdown: {errno}")))?;
        ask(&pair.sender, "after shutdown", -libc::EPIPE)?;
        ask(&road::open(family, SocketType::STREAM)?, "to a socket that was never connected", -libc::EPIPE)?;
    }
    bench.close(ctx, patience)
}

/// What is wrong about a datagram.
fn datagrams(
    ctx: &Context<'_>,
    road: &Road,
    family: Family,
    good: Span,
    patience: Patience<'_>,
) -> WorkloadResult {
    let mut bench = bench::open()?;
    let (receiver, address) = road.datagram_receiver()?;
    let socket = road::open(family, SocketType::DGRAM)?;
    let fd = socket.as_raw_fd();
    let largest = family.largest_datagram();
    let long = Pages::new(largest + 1).map_err(|errno| Stop::Error(format!("mmap: {errno}")))?;
    let too_long = Span { len: u32::try_from(largest + 1).unwrap_or(u32::MAX), ..Span::of(&long) };
    both(&mut bench, (fd, "to nobody"), good, (-libc::EDESTADDRREQ, More::Yes), patience)?;
    let right = || Destination::new(address);
    for (what, bytes, to, result) in [
        ("of a datagram", good, right(), SENT),
        ("of a datagram that is too long", too_long, right(), -libc::EMSGSIZE),
        ("to an address that is too short", good, right().with_len(2), -libc::EINVAL),
        ("of an empty datagram", Span { len: 0, ..good }, right(), 0),
        ("of a datagram from a bad address", NOWHERE, right(), -libc::EFAULT),
    ] {
        let request = Request::send_to(fd, bytes, &to);
        bench.ask(format!("SEND_ZC {what}"), request, result, More::Yes, patience)?;
        let message = Message::new(&[bytes], Some(to));
        let request = Request::sendmsg(fd, &message);
        bench.ask(format!("SENDMSG_ZC {what}"), request, result, More::Yes, patience)?;
    }
    let request = Request::send_to_address_at(fd, good, Span { len: 16, ..NOWHERE });
    bench.ask("SEND_ZC to an address at a bad place", request, -libc::EFAULT, More::Yes, patience)?;
    let to = right().with_len(200);
    let request = Request::send_to(fd, good, &to);
    bench.ask("SEND_ZC to an address that is too long", request, -libc::EINVAL, More::Yes, patience)?;
    if family == Family::Ipv4 {
        let other = Destination::new(SocketAddr::from((Ipv6Addr::LOCALHOST, 9)));
        let request = Request::send_to(fd, good, &other);
        let what = "SEND_ZC to an address of IPv6 by a socket of IPv4";
        bench.ask(what, request, -libc::EAFNOSUPPORT, More::Yes, patience)?;
    }
    // Of each kind one with data, and one without.
    let mut lengths = Vec::new();
    let mut buffer = vec![0; 65_536];
    for number in 0..4 {
        let got = patience.receive(receiver.as_fd(), &mut buffer, || format!("datagram {number} of 4"))?;
        lengths.push(got);
    }
    lengths.sort_unstable();
    let due = [0, 0, GOOD as usize, GOOD as usize];
    bench.expect(lengths == due, || format!("datagrams of {lengths:?} bytes arrived, sent were {due:?}"));
    let more = rustix::net::recv(&receiver, &mut buffer[..], RecvFlags::DONTWAIT);
    bench.expect(more == Err(Errno::AGAIN), || "a datagram of a request that failed arrived".into());
    // Nobody is there: the answer of the peer is the result of the next request.
    drop(receiver);
    rustix::net::connect(&socket, &address).map_err(|errno| Stop::Error(format!("connect: {errno}")))?;
    for (op, name) in OPS {
        let (request, message) = plain(op, fd, good);
        bench.ask(format!("{name} to a port that is closed"), request, SENT, More::Yes, patience)?;
        patience.wait(socket.as_fd(), PollFlags::empty(), || "the refusal of a datagram".into())?;
        let (request, again) = plain(op, fd, good);
        let what = format!("{name} after a refusal");
        bench.ask(what, request, -libc::ECONNREFUSED, More::Yes, patience)?;
        drop((message, again));
    }
    bench.close(ctx, patience)
}

/// Registered buffers, and what is not within them.
fn registered(ctx: &Context<'_>, road: &Road, pages: &Pages, patience: Patience<'_>) -> WorkloadResult {
    let pair = road.tcp(Room::WIDE, patience)?;
    let socket = pair.sender.as_raw_fd();
    let mut bench = bench::open()?;
    let whole = Span::of(pages);
    let ask = |bench: &mut Bench, what: &str, index: u16, bytes: Span, result: i32| {
        let request = Request::send(socket, bytes).registered(index);
        bench.ask(format!("SEND_ZC {what}"), request, result, More::Yes, patience).map(drop)
    };
    ask(&mut bench, "from a buffer of a ring that has none", 0, whole, -libc::EFAULT)?;
    let refused = |bench: &mut Bench, what: &str, result: std::io::Result<()>, errno: i32| {
        let got = result.as_ref().err().and_then(std::io::Error::raw_os_error);
        bench.expect(got == Some(errno), || {
            format!(
                "{what} should be refused with {}, and came to {result:?}",
                super::client::in_words(-errno)
            )
        });
    };
    let taken = bench.client().ring().unregister();
    refused(&mut bench, "taking back buffers that were never registered", taken, libc::ENXIO);
    let taken = bench.client().ring().register(&[NOWHERE]);
    refused(&mut bench, "registering a buffer at a bad address", taken, libc::EFAULT);
    bench.client().register(&[whole])?;
    let taken = bench.client().ring().register(&[whole]);
    refused(&mut bench, "registering buffers twice", taken, libc::EBUSY);
    let bytes = i32::try_from(whole.len).unwrap_or(i32::MAX);
    ask(&mut bench, "of a whole buffer", 0, whole, bytes)?;
    ask(&mut bench, "of the end of a buffer", 0, whole.from(whole.len - 1), 1)?;
    ask(&mut bench, "of no bytes at the end of a buffer", 0, whole.from(whole.len), 0)?;
    ask(&mut bench, "from an index beyond the last", 1, whole, -libc::EFAULT)?;
    let early = Span { address: whole.address - 1, len: 2 };
    ask(&mut bench, "from before a buffer", 0, early, -libc::EFAULT)?;
    let late = Span { len: 2, ..whole.from(whole.len - 1) };
    ask(&mut bench, "beyond the end of a buffer", 0, late, -libc::EFAULT)?;
    let wrapped = Span { address: u64::MAX - 10, len: 100 };
    ask(&mut bench, "beyond the end of all addresses", 0, wrapped, -libc::EFAULT)?;
    expect_exactly(&mut bench, &pair, u64::from(whole.len) + 1, patience)?;
    // Some kernels wait in it for notifications, which come when this returns.
    let taken = bench.client().ring().unregister();
    bench.expect(taken.is_ok(), || format!("taking registered buffers back came to {taken:?}"));
    ask(&mut bench, "from a buffer that was taken back", 0, whole, -libc::EFAULT)?;
    bench.close(ctx, patience)
}

/// A socket without room, and a request that does not wait.
fn full(ctx: &Context<'_>, road: &Road, patience: Patience<'_>) -> WorkloadResult {
    /// More than both buffers hold together.
    const MOST: usize = 64;
    let pages = Pages::new(64 << 10).map_err(|errno| Stop::Error(format!("mmap: {errno}")))?;
    for (op, name) in OPS {
        let mut bench = bench::open()?;
        let pair = road.tcp(Room { send: 128 << 10, ..Room::STALLED }, patience)?;
        let mut refused = false;
        for _ in 0..MOST {
            let (request, message) = plain(op, pair.sender.as_raw_fd(), Span::of(&pages));
            let id = bench.client().submit_one(Kind::Zerocopy, request.message_flags(DONT_WAIT))?;
            drop(message);
            let outcome = bench.client().result(id, patience)?;
            if outcome.result <= 0 {
                refused = true;
                let right = outcome.result == -libc::EAGAIN && outcome.more;
                bench.expect(right, || {
                    let result = super::client::in_words(outcome.result);
                    format!(
                        "{name} with MSG_DONTWAIT to a full socket came to {result}, F_MORE {}",
                        outcome.more
                    )
                });
                break;
            }
        }
        bench.expect(refused, || format!("{name}: {MOST} requests of 64 KiB did not fill a small socket"));
        // The peer goes without reading: what waits is thrown away.
        drop(pair);
        bench.close(ctx, patience)?;
    }
    Ok(())
}

const DONT_WAIT: u32 = libc::MSG_DONTWAIT.cast_unsigned();

/// The limit of locked memory, which holds for who has no `CAP_IPC_LOCK`.
fn limited(ctx: &Context<'_>, road: &Road, pages: &Pages, patience: Patience<'_>) -> WorkloadResult {
    if locked::root()? == Root::Namespace {
        return ctx.note("locked-memory", "not tested: it is counted for a user of the host");
    }
    let page = page_size() as u64;
    let failed = |what: &str, errno: Errno| Stop::Error(format!("{what}: {errno}"));
    // A send of n pages is charged with n + 2 (io_notif_account_mem).
    let limit = 5 * page;
    setrlimit(Resource::Memlock, Rlimit { current: Some(limit), maximum: Some(limit) })
        .map_err(|errno| failed("setrlimit", errno))?;
    let mut sets = capabilities(None).map_err(|errno| failed("capget", errno))?;
    sets.effective.remove(CapabilitySet::IPC_LOCK);
    set_capabilities(None, sets).map_err(|errno| failed("capset", errno))?;
    let pair = road.tcp(Room::WIDE, patience)?;
    let socket = pair.sender.as_raw_fd();
    let mut bench = bench::open()?;
    let of = |count: u64| Span { len: u32::try_from(count * page).unwrap_or(0), ..Span::of(pages) };
    let mut sent = 0;
    for (what, count, result) in [
        ("within the limit of locked memory", 3, None),
        ("beyond the limit of locked memory", 4, Some(-libc::ENOMEM)),
        ("within the limit of locked memory, again", 3, None),
    ] {
        let bytes = of(count);
        let due = result.unwrap_or(bytes.len.cast_signed());
        let request = Request::send(socket, bytes);
        let outcome = bench.ask(format!("SEND_ZC {what}"), request, due, More::Yes, patience)?;
        // What is wrong is told at the end: until then it counts as it is.
        sent += u64::try_from(outcome.result).unwrap_or(0);
        // The next one needs what this one was charged with.
        let done = super::ledger::Ledger::all_done;
        bench.client().wait_until(patience, super::ledger::Ledger::missing, done)?;
    }
    expect_exactly(&mut bench, &pair, sent, patience)?;
    bench.close(ctx, patience)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_of_all_parts_are_told_and_other_ends_come_first() {
        let fail = |text: &str| Err(Stop::Fail(text.into()));
        assert_eq!(merged([Ok(()), Ok(())]), Ok(()));
        assert_eq!(merged([fail("one"), Ok(()), fail("two")]), fail("one; two"));
        let skip = Err(Stop::Skip("no".into()));
        assert_eq!(merged([fail("one"), skip.clone()]), skip);
    }
}
