//! `msg-zerocopy/errno`: what every right and wrong request comes to, and which
//! calls have a number.
//!
//! Tells all deviations, not only the first.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use kregress_wire::WorkloadInfo;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SendFlags, Shutdown, SocketFlags, SocketType, ipproto, sockopt};

use super::super::errqueue;
use super::super::inflight::{self, ZEROCOPY};
use super::super::locked;
use super::super::loopback::{FAMILY, Family};
use super::super::patience::{Limits, Patience};
use super::super::sys as options;
use super::super::table::Table;
use super::line::Line;
use super::place::{self, Neighbour, Path, Place, Room};
use super::stuck::{self, Stuck};
use super::sys;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::workloads::netns::{begin_census, expect_all_gone};

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "msg-zerocopy/errno",
    summary: "the answer to every right and wrong request, and which calls have a number",
    params: &[FAMILY],
    metrics: &[],
    modules: place::MODULES,
};

/// Bytes of a send: more than a page.
const UNIT: usize = 5000;

/// Room for everything.
const ROOMY: Room = Room { sender: 4 << 20, receiver: 4 << 20 };

/// `IPPROTO_UDPLITE`.
const UDPLITE: u32 = 136;

/// A protocol for experiments (RFC 3692).
const EXPERIMENT: u32 = 253;

/// What every row works with.
#[derive(Clone, Copy)]
struct Scene<'a, 'c> {
    context: &'a Context<'c>,
    place: &'a Place,
    family: Family,
    patience: Patience<'a>,
    seed: u64,
}

type Row = (&'static str, fn(Scene<'_, '_>, &mut Table) -> WorkloadResult);

const ROWS: &[Row] = &[
    ("the setting of tcp", tcp_setting),
    ("the setting of udp", udp_setting),
    ("sockets without zerocopy", others),
    ("an accepted socket", inherited),
    ("a stream", stream),
    ("a full socket", full),
    ("datagrams", datagrams),
    ("the error queue", queue),
];

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let _modules = Loaded::load(place::MODULES)?;
    locked::room_for(stuck::PINNED)?;
    let family = Family::of(context)?;
    let limits = Limits::of(context)?;
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let mut table = Table::default();
    {
        let place = Place::build(context, Path::Loopback, family, stuck::MTU, Neighbour::Known)?;
        let (patience, seed) = (limits.patience(), context.rng().u64(..));
        let scene = Scene { context, place: &place, family, patience, seed };
        for (done, (name, row)) in ROWS.iter().enumerate() {
            table.begin(name);
            let result = row(scene, &mut table);
            table.take(result)?;
            context.progress(done as u64 + 1, ROWS.len() as u64)?;
        }
    }
    table.begin("the namespaces afterwards");
    let gone = expect_all_gone(context, &mut census, 1).map(drop);
    table.take(gone)?;
    table.verdict(context)
}

fn tcp_setting(scene: Scene<'_, '_>, table: &mut Table) -> WorkloadResult {
    let pair = scene.place.tcp(ROOMY, scene.patience)?;
    setting(table, pair.sender.as_fd());
    Ok(())
}

fn udp_setting(scene: Scene<'_, '_>, table: &mut Table) -> WorkloadResult {
    let (sender, _receiver) = scene.place.udp(1 << 20)?;
    setting(table, sender.as_fd());
    Ok(())
}

fn set(socket: BorrowedFd<'_>, value: i32) -> Result<(), Errno> {
    options::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY, value)
}

fn get(socket: BorrowedFd<'_>) -> Result<i32, Errno> {
    options::get_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ZEROCOPY)
}

/// `SO_ZEROCOPY` itself (`sk_setsockopt()`, `sk_getsockopt()` in net/core/sock.c).
fn setting(table: &mut Table, socket: BorrowedFd<'_>) {
    table.same("SO_ZEROCOPY at first", &get(socket), &Ok(0));
    for value in [0, 1] {
        table.same(format!("SO_ZEROCOPY to {value}"), &set(socket, value), &Ok(()));
        table.same(format!("SO_ZEROCOPY set to {value}"), &get(socket), &Ok(value));
    }
    for value in [2, -1, i32::MAX, i32::MIN] {
        table.same(format!("SO_ZEROCOPY to {value}"), &set(socket, value), &Err(Errno::INVAL));
    }
    table.same("SO_ZEROCOPY after wrong values", &get(socket), &Ok(1));
    let zero = [0_i32; 2];
    let here = zero.as_ptr().expose_provenance();
    for length in 0..4 {
        let result = sys::set_zerocopy_from(socket, here, length);
        table.same(format!("SO_ZEROCOPY of {length} bytes"), &result, &Err(Errno::INVAL));
    }
    table.same("SO_ZEROCOPY from nowhere", &sys::set_zerocopy_from(socket, 0, 4), &Err(Errno::FAULT));
    table.same("SO_ZEROCOPY after wrong lengths", &get(socket), &Ok(1));
    let result = sys::set_zerocopy_from(socket, here, 8);
    table.same("SO_ZEROCOPY of 8 bytes, which begin with 0", &result, &Ok(()));
    table.same("SO_ZEROCOPY after that", &get(socket), &Ok(0));
    table.same("SO_ZEROCOPY to 1", &set(socket, 1), &Ok(()));
    let one = 1_i32.to_ne_bytes();
    for claimed in 0..=8_i32 {
        let mut bytes = [0xaa; 8];
        let given = claimed.min(4).unsigned_abs();
        bytes[..given as usize].copy_from_slice(&one[..given as usize]);
        let result = sys::get_zerocopy_into(socket, claimed);
        table.same(format!("SO_ZEROCOPY read into {claimed} bytes"), &result, &Ok((bytes, given)));
    }
    let result = sys::get_zerocopy_into(socket, -1);
    table.same("SO_ZEROCOPY read into -1 bytes", &result, &Err(Errno::INVAL));
}

fn domain(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::INET,
        Family::Ipv6 => AddressFamily::INET6,
    }
}

/// Sockets that have no zerocopy: there the flag is passed over.
fn others(scene: Scene<'_, '_>, table: &mut Table) -> WorkloadResult {
    let Scene { context, place, family, .. } = scene;
    let protocol = |number: u32| std::num::NonZeroU32::new(number).map(Protocol::from_raw);
    let icmp = if family == Family::Ipv4 { ipproto::ICMP } else { ipproto::ICMPV6 };
    let inet = domain(family);
    let kinds = [
        ("unix stream", AddressFamily::UNIX, SocketType::STREAM, None),
        ("unix datagram", AddressFamily::UNIX, SocketType::DGRAM, None),
        ("netlink", AddressFamily::NETLINK, SocketType::RAW, None),
        ("packet", AddressFamily::PACKET, SocketType::DGRAM, None),
        ("raw icmp", inet, SocketType::RAW, Some(icmp)),
        ("raw udp", inet, SocketType::RAW, Some(ipproto::UDP)),
        ("raw tcp", inet, SocketType::RAW, Some(ipproto::TCP)),
        ("raw ip", inet, SocketType::RAW, protocol(255)),
        ("udplite", inet, SocketType::DGRAM, protocol(UDPLITE)),
    ];
    for (name, domain, kind, protocol) in kinds {
        let made = place.within(|| {
            Ok(rustix::net::socket_with(domain, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol))
        })?;
        let socket = match made {
            Ok(socket) => socket,
            // Not every kernel has all of them.
            Err(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT | Errno::SOCKTNOSUPPORT) => {
                context.note("absent", name)?;
                continue;
            }
            Err(errno) => return Err(Stop::Error(format!("socket of kind {name}: {errno}"))),
        };
        for value in [0, 1, 2] {
            let result = set(socket.as_fd(), value);
            table.same(format!("{name}: SO_ZEROCOPY to {value}"), &result, &Err(Errno::OPNOTSUPP));
        }
        table.same(format!("{name}: SO_ZEROCOPY"), &get(socket.as_fd()), &Ok(0));
    }
    let data = vec![1; 1000];
    let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Stop::Error(format!("socketpair: {errno}")))?;
    let sent = rustix::net::send(&pair.0, &data, ZEROCOPY);
    table.same("unix stream: send with MSG_ZEROCOPY", &sent, &Ok(1000));
    let raw = place.within(|| {
        let kind = (SocketType::RAW, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol(EXPERIMENT));
        rustix::net::socket_with(inet, kind.0, kind.1, kind.2)
            .map_err(|errno| Stop::Error(format!("raw socket: {errno}")))
    })?;
    let to = match family {
        Family::Ipv4 => std::net::SocketAddr::from(([127, 0, 0, 1], 0)),
        Family::Ipv6 => std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, 0)),
    };
    let connected = rustix::net::connect(&raw, &to);
    table.same("raw: connect", &connected, &Ok(()));
    table.same("raw: send with MSG_ZEROCOPY", &rustix::net::send(&raw, &data, ZEROCOPY), &Ok(1000));
    let got = rustix::net::recv(&raw, &mut vec![0; 2000][..], rustix::net::RecvFlags::DONTWAIT);
    // A raw socket sees its own packet, for IPv4 with its header.
    let whole = if family == Family::Ipv4 { 1020 } else { 1000 };
    table.same("raw: what was sent arrives", &got.map(|(got, _)| got), &Ok(whole));
    let left = sys::receive_error_with(raw.as_fd(), 32).map(|_| ());
    table.same("raw: MSG_ERRQUEUE after a send with MSG_ZEROCOPY", &left, &Err(Errno::AGAIN));
    Ok(())
}

/// An accepted socket has the setting of its listener, and numbers of its own.
fn inherited(scene: Scene<'_, '_>, table: &mut Table) -> WorkloadResult {
    let Scene { place, family, patience, .. } = scene;
    let set_up = |what: &'static str| move |errno: Errno| Stop::Error(format!("{what}: {errno}"));
    let (listener, client) = place.within(|| {
        let make = || {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            rustix::net::socket_with(domain(family), SocketType::STREAM, flags, None)
                .map_err(set_up("socket"))
        };
        Ok((make()?, make()?))
    })?;
    table.same("tcp: SO_ZEROCOPY of a socket that is to listen", &set(listener.as_fd(), 1), &Ok(()));
    let sent = rustix::net::send(&listener, &[1; 10], ZEROCOPY);
    table.same("tcp: send without a connection", &sent, &Err(Errno::PIPE));
    rustix::net::listen(&listener, 1).map_err(set_up("listen"))?;
    let to = rustix::net::getsockname(&listener).and_then(std::net::SocketAddr::try_from);
    let port = to.map_err(set_up("getsockname"))?.port();
    let to = match family {
        Family::Ipv4 => std::net::SocketAddr::from(([127, 0, 0, 1], port)),
        Family::Ipv6 => std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port)),
    };
    match rustix::net::connect(&client, &to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(errno) => return Err(Stop::Fail(format!("connect to {to}: {errno}"))),
    }
    patience.wait(listener.as_fd(), PollFlags::IN, || format!("a connection to accept at {to}"))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let accepted = rustix::net::accept_with(&listener, flags).map_err(set_up("accept"))?;
    table.same("tcp: SO_ZEROCOPY of an accepted socket", &get(accepted.as_fd()), &Ok(1));
    let mut line = Line::open(accepted, family)?;
    line.send_all(&[1; UNIT], SendFlags::empty())?;
    line.settle(patience)?;
    stuck::read(&client, UNIT, patience).map(drop)
}

/// A call that has to fail and to have no number.
fn fails(table: &mut Table, what: &str, line: &mut Line, result: Result<usize, Errno>, expected: Errno) {
    table.same(what, &result, &Err(expected));
    let early = line.assert_pending("only calls that failed were made").map_err(|stop| stop.to_string());
    table.same(format!("{what}: nothing is reported"), &early, &Ok(()));
}

fn from_nowhere(line: &Line, length: usize) -> Result<usize, Errno> {
    sys::send_from(line.socket(), 0, length, ZEROCOPY.bits().cast_signed())
}

/// Only events that nobody asked for.
fn unasked(socket: BorrowedFd<'_>) -> Result<PollFlags, Errno> {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    Ok(fds[0].revents())
}

fn stream(scene: Scene<'_, '_>, table: &mut Table) -> WorkloadResult {
    let Scene { place, family, patience, .. } = scene;
    let pair = place.tcp(ROOMY, patience)?;
    let mut line = Line::open(pair.sender, family)?;
    let data = vec![7; UNIT];
    let result = from_nowhere(&line, UNIT);
    fails(table, "tcp: send from nowhere", &mut line, result, Errno::FAULT);
    let empty = rustix::net::send(line.socket(), &[], ZEROCOPY);
    table.same("tcp: send of nothing", &empty, &Ok(0));
    table.same("tcp: POLLERR before any send", &unasked(line.socket()), &Ok(PollFlags::empty()));
    // It has number 0, or the ledger says so.
    line.send_all(&data, SendFlags::empty())?;
    line.settle(patience)?;
    let result = from_nowhere(&line, UNIT);
    fails(table, "tcp: send from nowhere after another", &mut line, result, Errno::FAULT);
    table.same("tcp: SO_ZEROCOPY to 0", &set(line.socket(), 0), &Ok(()));
    let sent = rustix::net::send(line.socket(), &data, ZEROCOPY);
    table.same("tcp: send with MSG_ZEROCOPY without SO_ZEROCOPY", &sent, &Ok(UNIT));
    table.same("tcp: SO_ZEROCOPY to 1", &set(line.socket(), 1), &Ok(()));
    line.send_all(&data, SendFlags::empty())?;
    line.settle(patience)?;
    let error = sockopt::socket_error(line.socket());
    table.same("tcp: SO_ERROR after completions", &error, &Ok(Ok(())));
    stuck::read(&pair.receiver, 3 * UNIT, patience)?;
    rustix::net::shutdown(line.socket(), Shutdown::Write)
        .map_err(|errno| Stop::Fail(format!("shutdown: {errno}")))?;
    let result = line.send(&data, SendFlags::empty());
    fails(table, "tcp: send after shutdown", &mut line, result, Errno::PIPE);
    Ok(())
}

/// A socket that is full, and calls that take a part.
fn full(scene: Scene<'_, '_>, table: &mut Table) -> WorkloadResult {
    let Scene { place, family, patience, seed, .. } = scene;
    let mut stuck = Stuck::open(place, family, seed, patience)?;
    let data = vec![7; 1 << 20];
    let (mut taken, mut partial) = (0, 0);
    loop {
        match stuck.line.send(&data, SendFlags::empty()) {
            Ok(sent) => {
                taken += sent;
                partial += u64::from(sent < data.len());
            }
            Err(Errno::AGAIN) => break,
            Err(errno) => return Err(Stop::Fail(format!("send at byte {taken} behind the plug: {errno}"))),
        }
        // No socket is given so much room.
        if taken > 1 << 30 {
            return Err(Stop::Fail(format!("`{taken}` bytes were taken, and nobody reads")));
        }
    }
    table.same("tcp: some call to a filling socket takes a part", &(partial > 0), &true);
    let result = stuck.line.send(&data, SendFlags::empty());
    fails(table, "tcp: send to a full socket", &mut stuck.line, result, Errno::AGAIN);
    table.same(
        "tcp: POLLERR while nothing is completed",
        &unasked(stuck.line.socket()),
        &Ok(PollFlags::empty()),
    );
    stuck.far.pull(patience)?;
    let arrived = stuck.far.read(taken, patience)?;
    table.same(
        "tcp: what arrives of the calls that took a part",
        &arrived.iter().all(|byte| *byte == 7),
        &true,
    );
    stuck.line.settle(patience)?;
    let result = from_nowhere(&stuck.line, UNIT);
    fails(table, "tcp: send from nowhere on a socket that was full", &mut stuck.line, result, Errno::FAULT);
    // The next number follows that of the last call that succeeded.
    stuck.line.send_all(&data[..UNIT], SendFlags::empty())?;
    stuck.far.read(UNIT, patience)?;
    stuck.line.settle(patience)
}

fn datagrams(scene: Scene<'_, '_>, table: &mut Table) -> WorkloadResult {
    let Scene { place, family, patience, .. } = scene;
    let (sender, receiver) = place.udp(1 << 20)?;
    let mut line = Line::open(sender, family)?;
    let data = vec![7; 70_000];
    let result = from_nowhere(&line, 1000);
    fails(table, "udp: send from nowhere", &mut line, result, Errno::FAULT);
    let result = from_nowhere(&line, UNIT);
    fails(table, "udp: send from nowhere in fragments", &mut line, result, Errno::FAULT);
    let result = line.send(&data[..family.largest_datagram() + 1], SendFlags::empty());
    fails(table, "udp: send of one byte too many", &mut line, result, Errno::MSGSIZE);
    line.send_all(&data[..family.largest_datagram()], SendFlags::empty())?;
    line.settle(patience)?;
    // An empty datagram is not empty: the length that decides counts the header.
    line.send_all(&[], SendFlags::empty())?;
    line.settle(patience)?;
    table.same("udp: SO_ZEROCOPY to 0", &set(line.socket(), 0), &Ok(()));
    let sent = rustix::net::send(line.socket(), &data[..1000], ZEROCOPY);
    table.same("udp: send with MSG_ZEROCOPY without SO_ZEROCOPY", &sent, &Ok(1000));
    table.same("udp: SO_ZEROCOPY to 1", &set(line.socket(), 1), &Ok(()));
    line.send_all(&data[..1000], SendFlags::empty())?;
    line.settle(patience)?;
    // A call that fails within a datagram of several parts has no number either.
    line.send_all(&data[..500], SendFlags::MORE)?;
    let result = sys::send_from(line.socket(), 0, 500, (ZEROCOPY | SendFlags::MORE).bits().cast_signed());
    table.same("udp: the second part from nowhere", &result, &Err(Errno::FAULT));
    // The whole datagram is gone with it, and its first part completed.
    line.wait(0, patience)?;
    line.send_all(&data[..500], SendFlags::empty())?;
    line.settle(patience)?;
    drop(receiver);
    let lone = place.within(|| unconnected(family))?;
    let mut line = Line::open(lone, family)?;
    let result = line.send(&data[..1000], SendFlags::empty());
    fails(table, "udp: send to nobody", &mut line, result, Errno::DESTADDRREQ);
    Ok(())
}

fn unconnected(family: Family) -> Result<OwnedFd, Stop> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(domain(family), SocketType::DGRAM, flags, None)
        .map_err(|errno| Stop::Error(format!("socket: {errno}")))
}

/// The error queue.
fn queue(scene: Scene<'_, '_>, table: &mut Table) -> WorkloadResult {
    let Scene { place, family, patience, .. } = scene;
    let pair = place.tcp(ROOMY, patience)?;
    let datagrams = place.udp(1 << 20)?;
    for (name, sender, receiver) in
        [("tcp", pair.sender, Some(pair.receiver)), ("udp", datagrams.0, datagrams.1)]
    {
        // The error queue is never waited for, even by sockets that may.
        rustix::io::ioctl_fionbio(&sender, false)
            .map_err(|errno| Stop::Error(format!("FIONBIO: {errno}")))?;
        let empty = sys::receive_error_with(sender.as_fd(), 32);
        table.same(format!("{name}: MSG_ERRQUEUE of an empty queue"), &empty, &Err(Errno::AGAIN));
        let mut line = Line::open(sender, family)?;
        for round in 0..2 {
            line.send_all(&[1; UNIT], SendFlags::empty())?;
            let events =
                patience.wait(line.socket(), PollFlags::empty(), || "POLLERR for a completion".into())?;
            table.same(format!("{name}: events for a completion"), &events, &PollFlags::ERR);
            table.same(format!("{name}: events again"), &unasked(line.socket()), &Ok(PollFlags::ERR));
            if round == 0 {
                line.settle(patience)?;
            }
        }
        // Without room the notification is gone all the same.
        let cut = sys::receive_error_with(line.socket(), 0);
        let expected = (0, 0, libc::MSG_ERRQUEUE | libc::MSG_CTRUNC);
        table.same(format!("{name}: MSG_ERRQUEUE without room for it"), &cut, &Ok(expected));
        let left = errqueue::next(line.socket(), family).map_err(inflight::queue_stop)?;
        table.same(format!("{name}: the queue after that"), &left, &None);
        let events = unasked(line.socket());
        table.same(format!("{name}: events when all is read"), &events, &Ok(PollFlags::empty()));
        drop(receiver);
    }
    Ok(())
}
