//! `uring-zerocopy/links`: zerocopy sends that depend on each other, that wait, and
//! that are cancelled while they wait.
//!
//! Whatever becomes of a request, its notification comes if and only if its result
//! announced it, and the peer reads what the results say was sent.

use std::os::fd::{AsFd, AsRawFd};

use kregress_wire::{ParamInfo, WorkloadInfo};
use rustix::event::{EventfdFlags, eventfd};
use rustix::io::Errno;
use rustix::net::{SendFlags, Shutdown};

use super::super::connection::Pair;
use super::super::loopback::{FAMILY, Family};
use super::super::memory::Pages;
use super::super::patience::{Limits, Patience};
use super::super::pattern::Pattern;
use super::bench::{self, Bench, Forgotten, More};
use super::client::in_words;
use super::ledger::{Kind, Ledger};
use super::road::{Path, Road, Room};
use crate::context::{Context, Stop, WorkloadResult};
use crate::uring::{Foreign, Limit, Message, Request, Span, Tie};

const FORGOTTEN: &[&str] = &["counted", "failure"];

const DRAINS: &[&str] = &["before", "after"];

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "uring-zerocopy/links",
    summary: "linked, drained, timed and cancelled zerocopy sends",
    params: &[
        FAMILY,
        ParamInfo::Choice {
            name: "drain",
            summary: "whether IOSQE_IO_DRAIN is tried before the ring has seen a notification, or after, \
                      when kernels that count completions wait for ever",
            choices: DRAINS,
            default: "before",
        },
        ParamInfo::Choice {
            name: "forgotten",
            summary: "whether a notification that a cancelled link did not announce is counted, or a failure",
            choices: FORGOTTEN,
            default: "counted",
        },
    ],
    metrics: &[],
    modules: &[],
};

/// Bytes of a request.
const UNIT: u32 = 4096;

const SENT: i32 = UNIT.cast_signed();

/// Requests of one part of the test, at most.
const UNITS: usize = 16;

const BAD: Span = Span { address: 0x1000, len: UNIT };

/// Far more than there is room for.
const BIG: usize = 1 << 20;

/// One part of the test on a connection and a ring of its own; how many
/// notifications were not announced.
type Part = fn(&Context<'_>, Stage, Patience<'_>) -> Result<u64, Stop>;

/// Says which part has failed.
fn within<T>(name: &str, result: Result<T, Stop>) -> Result<T, Stop> {
    result.map_err(|stop| match stop {
        Stop::Fail(text) => Stop::Fail(format!("{name}: {text}")),
        other => other,
    })
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let family = Family::of(ctx)?;
    let after = match ctx.choice("drain")? {
        "before" => false,
        "after" => true,
        other => return Err(Stop::Error(format!("parameter `drain` is `{other}`, none of {DRAINS:?}"))),
    };
    let forgotten = match ctx.choice("forgotten")? {
        "counted" => Forgotten::Counted,
        "failure" => Forgotten::Refused,
        other => {
            return Err(Stop::Error(format!("parameter `forgotten` is `{other}`, none of {FORGOTTEN:?}")));
        }
    };
    drop(bench::open()?);
    let limits = Limits::of(ctx)?;
    let patience = limits.patience();
    let road = Road::build(Path::Lo, family, patience)?;
    let mut rng = ctx.rng();
    let mut count = 0;
    let wide: [(&str, Part); 2] = [("chains", chains), ("workers", workers)];
    for (name, part) in wide {
        let stage = Stage::set(&road, Room::WIDE, rng.u64(..), forgotten, patience)?;
        count += within(name, part(ctx, stage, patience))?;
    }
    let blocked: [(&str, Part); 6] = [
        ("resumed", resumed),
        ("cancelled", cancelled),
        ("cancelled in the middle", cancelled_in_the_middle),
        ("cancelled in a worker", cancelled_in_a_worker),
        ("timed", timed),
        ("cut short", cut_short),
    ];
    for (name, part) in blocked {
        let room = Room { send: 64 << 10, ..Room::STALLED };
        let stage = Stage::set(&road, room, rng.u64(..), forgotten, patience)?;
        count += within(name, part(ctx, stage, patience))?;
    }
    // Last: newer kernels may hang here.
    let stage = Stage::set(&road, Room::WIDE, rng.u64(..), forgotten, patience)?;
    within(
        "drain",
        if after { drain_after(ctx, &stage, patience) } else { drain_before(ctx, stage, patience) },
    )?;
    // Told where it is so, and only there.
    if count > 0 {
        ctx.note("notifications-not-announced", count.to_string())?;
    }
    Ok(())
}

/// A connection, a ring, and memory of which every unit says its place.
struct Stage {
    bench: Bench,
    pair: Pair,
    pages: Pages,
    pattern: Pattern,
    /// Units that were handed out.
    used: usize,
    /// Bytes without a pattern that the peer reads first.
    filler: u64,
    forgotten: Forgotten,
}

impl Stage {
    fn set(
        road: &Road,
        room: Room,
        seed: u64,
        forgotten: Forgotten,
        patience: Patience<'_>,
    ) -> Result<Self, Stop> {
        let len = BIG.max(UNITS * UNIT as usize);
        let mut pages =
            Pages::new(len).map_err(|errno| Stop::Error(format!("mmap of `{len}` bytes: {errno}")))?;
        let pattern = Pattern::new(seed, len as u64);
        pattern.fill(&mut pages, 0);
        let pair = road.tcp(room, patience)?;
        Ok(Self { bench: bench::open()?, pair, pages, pattern, used: 0, filler: 0, forgotten })
    }

    fn socket(&self) -> i32 {
        self.pair.sender.as_raw_fd()
    }

    /// A request for the next bytes that the peer shall read.
    fn next(&mut self) -> Request {
        let offset = u32::try_from(self.used).unwrap_or(0) * UNIT;
        self.used += 1;
        Request::send(self.socket(), Span { len: UNIT, ..Span::of(&self.pages).from(offset) })
    }

    /// A request for bytes that the peer never reads.
    fn unsent(&self) -> Request {
        let last = Span::of(&self.pages).from(u32::try_from(self.pages.len()).unwrap_or(0) - UNIT);
        Request::send(self.socket(), last)
    }

    fn bad(&self) -> Request {
        Request::send(self.socket(), BAD)
    }

    /// Fills the socket with bytes of no interest.
    fn fill(&mut self) -> WorkloadResult {
        let bytes = vec![0; 64 << 10];
        loop {
            match rustix::net::send(&self.pair.sender, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => self.filler += sent as u64,
                Err(Errno::AGAIN) => return Ok(()),
                Err(errno) => return Err(Stop::Fail(format!("send to a socket that fills up: {errno}"))),
            }
        }
    }

    /// Reads what there is to read: filler, then `due` bytes of the pattern from
    /// `first` on, then the end.
    fn read(&mut self, first: u64, due: u64, patience: Patience<'_>) -> WorkloadResult {
        rustix::net::shutdown(&self.pair.sender, Shutdown::Write)
            .map_err(|errno| Stop::Fail(format!("shutdown: {errno}")))?;
        let mut buffer = vec![0; 64 << 10];
        let (filler, mut at) = (self.filler, 0);
        loop {
            let what = || format!("byte {at} of {}", filler + due);
            let got = patience.receive(self.pair.receiver.as_fd(), &mut buffer, what)?;
            if got == 0 {
                break;
            }
            let skip = usize::try_from(filler.saturating_sub(at)).unwrap_or(usize::MAX).min(got);
            let place = first + (at + skip as u64 - filler.min(at + skip as u64));
            let checked = self.pattern.check(&buffer[skip..got], place);
            checked.map_err(|mismatch| Stop::Fail(format!("in the stream received, {mismatch}")))?;
            at += got as u64;
        }
        self.bench.expect(at == filler + due, || {
            format!("results say that {due} bytes were sent, and {} arrived", at.saturating_sub(filler))
        });
        Ok(())
    }

    /// Reads the whole memory as it was sent, and no more.
    fn read_whole(&mut self, patience: Patience<'_>) -> WorkloadResult {
        let mut buffer = vec![0; 64 << 10];
        let mut at = 0;
        while at < self.pages.len() {
            let most = buffer.len().min(self.pages.len() - at);
            let what = || format!("byte {at} of a request that waits for room");
            let got = patience.receive(self.pair.receiver.as_fd(), &mut buffer[..most], what)?;
            if got == 0 {
                return Err(Stop::Fail(format!("the stream ended at byte {at} of a request that waited")));
            }
            let checked = self.pattern.check(&buffer[..got], at as u64);
            checked.map_err(|mismatch| Stop::Fail(format!("in the stream received, {mismatch}")))?;
            at += got;
        }
        Ok(())
    }

    /// The same for all units that were handed out.
    fn read_units(&mut self, patience: Patience<'_>) -> WorkloadResult {
        let due = self.used as u64 * u64::from(UNIT);
        self.read(0, due, patience)
    }

    /// How many notifications were not announced.
    fn close(self, ctx: &Context<'_>, patience: Patience<'_>) -> Result<u64, Stop> {
        self.bench.close_with(ctx, self.forgotten, patience)
    }

    /// Waits until every result is there.
    fn results(&mut self, ids: &[u64], patience: Patience<'_>) -> WorkloadResult {
        let missing = |ledger: &Ledger| ids.iter().any(|id| ledger.outcome(*id).is_none());
        self.bench.client().wait_until(patience, Ledger::missing, |ledger| !missing(ledger))
    }

    /// That results came in the order of these requests.
    fn in_order(&mut self, what: &str, ids: &[u64]) {
        let ledger = self.bench.client().ledger();
        let order: Vec<_> = ids.iter().filter_map(|id| ledger.outcome(*id)).map(|it| it.nth).collect();
        self.bench.expect(order.is_sorted(), || format!("{what}: the results came in the order {order:?}"));
    }
}

const CANCELLED: i32 = -libc::ECANCELED;

const SEND: Kind = Kind::Zerocopy;

/// Chains: each one begins when the one before has succeeded.
fn chains(ctx: &Context<'_>, mut stage: Stage, patience: Patience<'_>) -> Result<u64, Stop> {
    let (one, two, three) = (stage.next(), stage.next(), stage.next());
    let ids = stage.bench.put_all(vec![
        ("the first of a chain", SEND, one.tie(Tie::Link), SENT, More::Yes),
        ("the second of a chain", SEND, two.tie(Tie::Link), SENT, More::Yes),
        ("the third of a chain", SEND, three, SENT, More::Yes),
    ])?;
    stage.results(&ids, patience)?;
    stage.in_order("a chain", &ids);

    let (bad, unsent) = (stage.bad(), stage.unsent());
    let ids = stage.bench.put_all(vec![
        ("a bad head of a chain", SEND, bad.tie(Tie::Link), -libc::EFAULT, More::Yes),
        ("the one behind a bad head", SEND, unsent.clone().tie(Tie::Link), CANCELLED, More::Forgotten),
        ("the last one behind a bad head", SEND, unsent, CANCELLED, More::Forgotten),
    ])?;
    stage.results(&ids, patience)?;
    stage.in_order("a chain with a bad head", &ids);

    let (good, bad, unsent) = (stage.next(), stage.bad(), stage.unsent());
    let ids = stage.bench.put_all(vec![
        ("the head before a bad one", SEND, good.tie(Tie::Link), SENT, More::Yes),
        ("a bad one in the middle", SEND, bad.tie(Tie::Link), -libc::EFAULT, More::Yes),
        ("the one behind a bad one", SEND, unsent, CANCELLED, More::Forgotten),
    ])?;
    stage.results(&ids, patience)?;
    stage.in_order("a chain with a bad one in the middle", &ids);

    // One that is refused when it is read breaks the whole chain.
    let (head, wrong, tail) = (stage.unsent(), stage.unsent(), stage.unsent());
    let wrong = wrong.foreign(Foreign::Address3, 1);
    let ids = stage.bench.put_all(vec![
        ("the head before a refused one", SEND, head.tie(Tie::Link), CANCELLED, More::Either),
        ("a refused one in a chain", SEND, wrong.tie(Tie::Link), -libc::EINVAL, More::No),
        ("the one behind a refused one", SEND, tail, CANCELLED, More::Forgotten),
    ])?;
    stage.results(&ids, patience)?;

    let (bad, good) = (stage.bad(), stage.next());
    let ids = stage.bench.put_all(vec![
        ("a bad head of a hard link", SEND, bad.tie(Tie::HardLink), -libc::EFAULT, More::Yes),
        ("the one behind a hard link", SEND, good, SENT, More::Yes),
    ])?;
    stage.results(&ids, patience)?;
    stage.in_order("a hard link", &ids);

    // SENDMSG_ZC, and neighbours of another kind.
    let offset = u32::try_from(stage.used).unwrap_or(0) * UNIT;
    stage.used += 1;
    let message = Message::new(&[Span { len: UNIT, ..Span::of(&stage.pages).from(offset) }], None);
    let send = Request::sendmsg(stage.socket(), &message).tie(Tie::Link);
    let last = stage.next();
    let ids = stage.bench.put_all(vec![
        ("a nop before a send", Kind::Plain, Request::nop().tie(Tie::Link), 0, More::No),
        ("SENDMSG_ZC behind a nop", SEND, send, SENT, More::Yes),
        ("a nop behind a send", Kind::Plain, Request::nop().tie(Tie::Link), 0, More::No),
        ("SEND_ZC behind a nop", SEND, last, SENT, More::Yes),
    ])?;
    drop(message);
    stage.results(&ids, patience)?;
    stage.in_order("a mixed chain", &ids);

    // In time: the limit is void.
    let (good, limit) = (stage.next(), Limit::new(900_000_000));
    let ids = stage.bench.put_all(vec![
        ("a send within its time", SEND, good.tie(Tie::Link), SENT, More::Yes),
        ("a time limit that was kept", Kind::Plain, Request::timeout(&limit), CANCELLED, More::No),
    ])?;
    stage.results(&ids, patience)?;
    stage.read_units(patience)?;
    stage.close(ctx, patience)
}

/// In workers of the kernel, where the order of completions is harder to keep.
fn workers(ctx: &Context<'_>, mut stage: Stage, patience: Patience<'_>) -> Result<u64, Stop> {
    for _ in 0..UNITS / 2 {
        let (request, name) = (stage.next().tie(Tie::Async), "a send in a worker");
        let id = stage.bench.put(name, SEND, request, SENT, More::Yes)?;
        // One at a time: workers do not keep the order of the stream.
        stage.results(&[id], patience)?;
    }
    let bad = stage.bad().tie(Tie::Async);
    let id = stage.bench.put("a bad send in a worker", SEND, bad, -libc::EFAULT, More::Yes)?;
    // Before the end of the stream would be another reason to fail.
    stage.results(&[id], patience)?;
    stage.read_units(patience)?;
    stage.close(ctx, patience)
}

/// A send that waits for all that came before it.
fn drain_before(ctx: &Context<'_>, mut stage: Stage, patience: Patience<'_>) -> WorkloadResult {
    let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|errno| Stop::Error(format!("eventfd: {errno}")))?;
    let wait = Request::poll_readable(event.as_raw_fd());
    let send = stage.next().tie(Tie::Drain);
    let readable = i32::from(libc::POLLIN);
    let ids = stage.bench.put_all(vec![
        ("a wait for an event", Kind::Plain, wait, readable, More::No),
        ("a send that drains", SEND, send, SENT, More::Yes),
    ])?;
    stage.bench.client().collect();
    let early = stage.bench.client().ledger().outcome(ids[1]);
    stage.bench.expect(early.is_none(), || "a send with IO_DRAIN overtook the request before it".into());
    rustix::io::write(&event, &1_u64.to_ne_bytes())
        .map_err(|errno| Stop::Error(format!("write: {errno}")))?;
    stage.results(&ids[..1], patience)?;
    stage.results(&ids[1..], patience).map_err(|stop| match stop {
        Stop::Fail(text) => Stop::Fail(format!(
            "a send with IO_DRAIN never began, though what was before it has ended: {text}"
        )),
        other => other,
    })?;
    stage.in_order("a drain", &ids);
    stage.read_units(patience)?;
    stage.close(ctx, patience).map(drop)
}

/// A drain when everything has been notified.
fn drain_after(ctx: &Context<'_>, stage: &Stage, patience: Patience<'_>) -> WorkloadResult {
    let mut client = super::client::open(8, &[])?;
    client.submit_one(SEND, stage.unsent())?;
    client.settle(patience)?;
    let id = client.submit_one(Kind::Plain, Request::nop().tie(Tie::Drain))?;
    let outcome = client.result(id, patience).map_err(|stop| match stop {
        Stop::Fail(text) => Stop::Fail(format!("a nop with IO_DRAIN behind a notification: {text}")),
        other => other,
    })?;
    ctx.check(outcome.result == 0, || format!("a nop with IO_DRAIN came to {}", in_words(outcome.result)))?;
    client.collect();
    ctx.checked(client.faultless()?);
    Ok(())
}

/// Waits for room, again and again, and has sent all in the end.
fn resumed(ctx: &Context<'_>, mut stage: Stage, patience: Patience<'_>) -> Result<u64, Stop> {
    let whole = Span::of(&stage.pages);
    let half = whole.len / 2;
    let message = Message::new(&[Span { len: half, ..whole }, whole.from(half)], None);
    for (what, request) in [
        ("SEND_ZC that waited for room", Request::send(stage.socket(), whole)),
        ("SENDMSG_ZC that waited for room", Request::sendmsg(stage.socket(), &message)),
    ] {
        let request = request.message_flags(WAIT_FOR_ALL);
        let id = stage.bench.put(what, SEND, request, whole.len.cast_signed(), More::Yes)?;
        let early = stage.bench.client().ledger().outcome(id);
        stage.bench.expect(early.is_none(), || format!("{what} did not wait: {early:?}"));
        stage.read_whole(patience)?;
        stage.results(&[id], patience)?;
    }
    drop(message);
    stage.read(0, 0, patience)?;
    stage.close(ctx, patience)
}

/// Cancelled before a byte was sent.
fn cancelled(ctx: &Context<'_>, mut stage: Stage, patience: Patience<'_>) -> Result<u64, Stop> {
    stage.fill()?;
    let (blocked, behind) = (stage.unsent().tie(Tie::Link), stage.unsent());
    let ids = stage.bench.put_all(vec![
        ("a send to a full socket that was cancelled", SEND, blocked, CANCELLED, More::Either),
        ("the one behind a cancelled send", SEND, behind, CANCELLED, More::Forgotten),
    ])?;
    stage.bench.client().collect();
    let early = ids.iter().any(|id| stage.bench.client().ledger().outcome(*id).is_some());
    stage.bench.expect(!early, || "a send to a full socket did not wait".into());
    let cancel = Request::cancel(ids[0]);
    stage.bench.put("the cancellation of a send that waits", Kind::Plain, cancel.clone(), 0, More::No)?;
    stage.results(&ids, patience)?;
    let name = "the cancellation of a send that is gone";
    stage.bench.put(name, Kind::Plain, cancel, -libc::ENOENT, More::No)?;
    stage.read(0, 0, patience)?;
    stage.close(ctx, patience)
}

/// All bytes or none, as the caller asks.
const WAIT_FOR_ALL: u32 = libc::MSG_WAITALL.cast_unsigned();

/// Cancelled when some bytes were sent: the result is their number.
fn cancelled_in_the_middle(ctx: &Context<'_>, mut stage: Stage, patience: Patience<'_>) -> Result<u64, Stop> {
    let whole = Span::of(&stage.pages);
    let big = Request::send(stage.socket(), whole).message_flags(WAIT_FOR_ALL).tie(Tie::Link);
    let behind = stage.unsent();
    let ids = stage.bench.client().submit(&[(SEND, big), (SEND, behind)])?;
    let early = ids.iter().any(|id| stage.bench.client().ledger().outcome(*id).is_some());
    stage
        .bench
        .expect(!early, || "a send with MSG_WAITALL of more than there is room for did not wait".into());
    let cancel = Request::cancel(ids[0]);
    stage.bench.put("the cancellation of a send in its middle", Kind::Plain, cancel, 0, More::No)?;
    stage.results(&ids, patience)?;
    let sent = part(&mut stage, ids[0], "a send that was cancelled in its middle");
    let behind = "the one behind a send that was cancelled in its middle";
    stage.bench.due(ids[1], behind, CANCELLED, More::Forgotten);
    stage.read(0, sent, patience)?;
    stage.close(ctx, patience)
}

/// Bytes of a request that must have sent some and not all.
fn part(stage: &mut Stage, id: u64, what: &str) -> u64 {
    let outcome = stage.bench.client().ledger().outcome(id);
    let (result, more) = outcome.map_or((0, false), |it| (it.result, it.more));
    let sent = u64::try_from(result).unwrap_or(0);
    let right = (1..stage.pages.len() as u64).contains(&sent) && more;
    stage.bench.expect(right, || {
        format!("{what} should come to a part of its bytes and F_MORE, and came to {}", in_words(result))
    });
    sent
}

/// Cancelled in a worker of the kernel.
fn cancelled_in_a_worker(ctx: &Context<'_>, mut stage: Stage, patience: Patience<'_>) -> Result<u64, Stop> {
    stage.fill()?;
    let blocked = stage.unsent().tie(Tie::Async);
    let id = stage.bench.client().submit_one(SEND, blocked)?;
    // The worker has to be found first; until then there may be nothing to cancel.
    loop {
        let cancel = stage.bench.client().submit_one(Kind::Plain, Request::cancel(id))?;
        let outcome = stage.bench.client().result(cancel, patience)?;
        match -outcome.result {
            // Cancelled, or being told to stop.
            0 | libc::EALREADY => break,
            // Between two places where it could be found.
            libc::ENOENT if stage.bench.client().ledger().outcome(id).is_none() => {
                ctx.check(!ctx.remaining().is_zero(), || "a send in a worker can never be cancelled".into())?;
            }
            _ => {
                let text = in_words(outcome.result);
                stage
                    .bench
                    .expect(false, || format!("the cancellation of a send in a worker came to {text}"));
                break;
            }
        }
    }
    let outcome = stage.bench.client().result(id, patience)?;
    let right = [CANCELLED, -libc::EINTR].contains(&outcome.result);
    stage
        .bench
        .expect(right, || format!("a cancelled send in a worker came to {}", in_words(outcome.result)));
    stage.read(0, 0, patience)?;
    stage.close(ctx, patience)
}

/// Ended by its time limit.
fn timed(ctx: &Context<'_>, mut stage: Stage, patience: Patience<'_>) -> Result<u64, Stop> {
    stage.fill()?;
    let (blocked, limit) = (stage.unsent().tie(Tie::Link), Limit::new(1_000_000));
    let ids = stage.bench.put_all(vec![
        ("a send to a full socket whose time was over", SEND, blocked, CANCELLED, More::Either),
        ("a time limit that was over", Kind::Plain, Request::timeout(&limit), -libc::ETIME, More::No),
    ])?;
    stage.results(&ids, patience)?;
    stage.read(0, 0, patience)?;
    stage.close(ctx, patience)
}

/// A send that wants all and does not wait: what it sent is less, which breaks the
/// chain.
fn cut_short(ctx: &Context<'_>, mut stage: Stage, patience: Patience<'_>) -> Result<u64, Stop> {
    let whole = Span::of(&stage.pages);
    let flags = WAIT_FOR_ALL | libc::MSG_DONTWAIT.cast_unsigned();
    let big = Request::send(stage.socket(), whole).message_flags(flags).tie(Tie::Link);
    let behind = stage.unsent();
    let ids = stage.bench.client().submit(&[(SEND, big), (SEND, behind)])?;
    stage.results(&ids, patience)?;
    let sent = part(&mut stage, ids[0], "a send with MSG_WAITALL and MSG_DONTWAIT");
    stage.bench.due(ids[1], "the one behind a send that was cut short", CANCELLED, More::Forgotten);
    stage.read(0, sent, patience)?;
    stage.close(ctx, patience)
}

#[cfg(test)]
mod tests {
    use super::super::super::test_params::choices;
    use super::*;

    #[test]
    fn units_fit_into_the_memory_and_leave_the_last_one_alone() {
        assert!((UNITS + 1) * UNIT as usize <= BIG);
        assert!(choices(&INFO).contains(&("drain", "after")));
    }
}
