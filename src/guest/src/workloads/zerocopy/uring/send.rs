//! `uring-zerocopy/send`: `SEND_ZC` and `SENDMSG_ZC`, their results and their
//! notifications.
//!
//! First sends that the peer does not take, whose buffers are the kernel's as long;
//! then two transfers: in one every byte is checked, in the other nobody looks and
//! the time is taken.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use super::super::loopback::{FAMILY, Family};
use super::super::patience::{Limits, Patience, both_ends};
use super::super::pattern::{Load, Pattern};
use super::client;
use super::ledger::Kind as RequestKind;
use super::road::{MODULES, PATHS, Path, Road, Room};
use super::sender::{self, Buffers, Memory, Op, Order, Sent, Shape};
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::uring::{Operation, Span};

const OPS: &[&str] = &["send", "sendmsg"];

const MEMORIES: &[&str] = &["plain", "registered"];

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "uring-zerocopy/send",
    summary: "io_uring SEND_ZC: one result and one notification per request, each byte checked",
    params: &[
        ParamInfo::Choice { name: "op", summary: "request", choices: OPS, default: "send" },
        ParamInfo::Choice {
            name: "buffer",
            summary: "memory that the kernel pins for each request, or that was registered before",
            choices: MEMORIES,
            default: "plain",
        },
        ParamInfo::Choice {
            name: "path",
            summary: "TCP over lo or a veth pair, which copies, or UDP into a dummy device, which does not",
            choices: PATHS,
            default: "lo",
        },
        FAMILY,
        ParamInfo::Int {
            name: "count",
            summary: "buffers sent per transfer; two transfers are made",
            min: 1,
            max: 1_000_000,
            default: 200,
        },
        ParamInfo::Int {
            name: "bytes",
            summary: "bytes per request; at most 65507 into a dummy device",
            min: 2,
            max: 1 << 20,
            default: 16_384,
        },
        ParamInfo::Int {
            name: "window",
            summary: "buffers: so many requests can wait for their notification",
            min: 1,
            max: 64,
            default: 8,
        },
    ],
    metrics: &[
        MetricInfo {
            name: "throughput",
            summary: "bytes sent and notified per second when nobody looks at them",
            unit: Unit::BytesPerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
        MetricInfo {
            name: "notification_latency",
            summary: "from the submission of a request to the reading of its notification",
            unit: Unit::Nanoseconds,
            kind: Kind::Time,
            better: Better::Lower,
        },
    ],
    modules: MODULES,
};

#[derive(Debug, Clone, Copy)]
struct Settings {
    op: Op,
    memory: Memory,
    path: Path,
    family: Family,
    count: u64,
    bytes: usize,
    window: usize,
}

impl Settings {
    fn of(ctx: &Context<'_>) -> Result<Self, Stop> {
        let op = match ctx.choice("op")? {
            "send" => Op::Send,
            "sendmsg" => Op::SendMsg,
            other => return Err(Stop::Error(format!("parameter `op` is `{other}`, none of {OPS:?}"))),
        };
        let memory = match ctx.choice("buffer")? {
            "plain" => Memory::Plain,
            "registered" => Memory::Registered,
            other => {
                return Err(Stop::Error(format!("parameter `buffer` is `{other}`, none of {MEMORIES:?}")));
            }
        };
        let (path, family) = (Path::of(ctx.choice("path")?)?, Family::of(ctx)?);
        let bytes = ctx.count("bytes")?.max(2);
        let most = family.largest_datagram();
        if path == Path::Dummy && bytes > most {
            return Err(Stop::Error(format!(
                "parameter `bytes` is `{bytes}`, but a UDP datagram holds at most {most}\n\
                 hint: choose fewer bytes, or another `path`"
            )));
        }
        let (count, window) = (ctx.count("count")?.max(1) as u64, ctx.count("window")?.max(1));
        Ok(Self { op, memory, path, family, count, bytes, window })
    }

    fn operations(&self) -> &'static [Operation] {
        match self.op {
            Op::Send => &[Operation::Send],
            Op::SendMsg => &[Operation::SendMsg],
        }
    }

    fn entries(&self) -> u32 {
        u32::try_from(self.window.max(HELD) + 1).unwrap_or(u32::MAX).next_power_of_two()
    }
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let settings = Settings::of(ctx)?;
    drop(client::open(settings.entries(), settings.operations())?);
    let _modules = Loaded::load(INFO.modules)?;
    let limits = Limits::of(ctx)?;
    let road = Road::build(settings.path, settings.family, limits.patience())?;
    let mut rng = ctx.rng();
    if settings.path != Path::Dummy {
        held(ctx, &settings, &road, rng.u64(..), limits.patience())?;
    }
    let length = settings.count * settings.bytes as u64;
    let verified = Load::Verified(Pattern::new(rng.u64(..), length));
    let (first, second) = match settings.path {
        Path::Dummy => {
            let before = datagrams_out(settings.family)?;
            let first = datagrams(ctx, &settings, &road, verified, limits.patience())?;
            let second = datagrams(ctx, &settings, &road, Load::Timed(length), limits.patience())?;
            let out = datagrams_out(settings.family)? - before;
            let due = 2 * settings.count;
            ctx.check(out == due, || format!("{due} datagrams were sent, and the kernel counted {out}"))?;
            (first, second)
        }
        Path::Lo | Path::Veth => (
            stream(ctx, &settings, &road, verified, &limits)?,
            stream(ctx, &settings, &road, Load::Timed(length), &limits)?,
        ),
    };
    ctx.note("requests", (first.requests + second.requests).to_string())?;
    ctx.note("short", (first.short + second.short).to_string())?;
    let seconds = second.elapsed_ns.max(1) as f64 / 1e9;
    ctx.sample("throughput", length as f64 / seconds)?;
    let latencies = second.latencies_ns.iter().map(|ns| *ns as f64);
    ctx.samples("notification_latency", latencies.collect())
}

/// Requests of a peer that does not read. 64 KiB each, they are far more than the
/// window of [`Room::STALLED`], so that the last ones are not sent.
const HELD: usize = 16;

/// Sends to a peer that does not read. The last buffers are still the kernel's: they
/// are not notified, and what is written to them now is what the peer reads later.
/// That proves both that the kernel did not copy and that the notifications mean
/// something.
fn held(
    ctx: &Context<'_>,
    settings: &Settings,
    road: &Road,
    seed: u64,
    patience: Patience<'_>,
) -> WorkloadResult {
    const UNIT: usize = 64 << 10;
    /// Buffers at the end that cannot have been sent.
    const LATE: usize = HELD / 2;
    let pair = road.tcp(Room::STALLED, patience)?;
    let mut client = client::open(settings.entries(), settings.operations())?;
    let mut buffers = Buffers::new(HELD, UNIT)?;
    if settings.memory == Memory::Registered {
        client.register(&[buffers.whole()])?;
    }
    let total = (HELD * UNIT) as u64;
    let (early, late) = (Pattern::new(seed, total), Pattern::new(!seed, total));
    let mut ids = Vec::new();
    for number in 0..HELD {
        let bytes = buffers.bytes(number);
        early.fill(bytes, (number * UNIT) as u64);
        let span = Span::of(bytes);
        let socket = pair.sender.as_raw_fd();
        let (request, message) = sender::request(settings.op, settings.memory, socket, span);
        let id = client.submit_one(RequestKind::Reporting, request)?;
        drop(message);
        let outcome = client.result(id, patience)?;
        if number == 0
            && outcome.result == -libc::EINVAL
            && (settings.op, settings.memory) == (Op::SendMsg, Memory::Registered)
        {
            return Err(Stop::Skip(sender::NO_REGISTERED_MESSAGES.into()));
        }
        let whole = usize::try_from(outcome.result) == Ok(UNIT) && outcome.more;
        ctx.check(whole, || {
            format!(
                "request {number} of {UNIT} bytes, for which there is room, came to {}{}",
                client::in_words(outcome.result),
                if outcome.more { "" } else { " without F_MORE" }
            )
        })?;
        ids.push(id);
    }
    client.collect();
    let late_ids = &ids[HELD - LATE..];
    let told = late_ids.iter().find(|id| client.ledger().notice(**id).is_some());
    ctx.check(told.is_none(), || {
        format!(
            "request {} was notified before its data was sent: the peer has read nothing",
            told.copied().unwrap_or(0)
        )
    })?;
    for number in HELD - LATE..HELD {
        late.fill(buffers.bytes(number), (number * UNIT) as u64);
    }
    let mut buffer = vec![0; UNIT];
    let mut at = 0;
    while at < total {
        let got = patience.receive(pair.receiver.as_fd(), &mut buffer, || format!("byte {at} of {total}"))?;
        ctx.check(got > 0, || format!("the stream ended after `{at}` of `{total}` bytes"))?;
        let edge = ((HELD - LATE) * UNIT) as u64;
        // A piece may lie on both sides.
        let before = usize::try_from(edge.saturating_sub(at)).unwrap_or(usize::MAX).min(got);
        let read = early.check(&buffer[..before], at);
        let read = read.and_then(|()| late.check(&buffer[before..got], at + before as u64));
        read.map_err(|mismatch| {
            Stop::Fail(format!(
                "of buffers that changed before their notification the peer did not read the change: {mismatch}"
            ))
        })?;
        at += got as u64;
    }
    client.settle(patience)?;
    for id in &ids {
        let copied = client.ledger().notice(*id).is_some_and(|notice| notice.copied);
        ctx.check(copied, || format!("request {id} over {:?} was reported as not copied", settings.path))?;
    }
    ctx.checked(client.faultless()?);
    Ok(())
}

fn order<'a>(settings: &Settings, socket: BorrowedFd<'a>, load: Load) -> Order<'a> {
    Order {
        socket,
        op: settings.op,
        memory: settings.memory,
        shape: if settings.path == Path::Dummy { Shape::Datagrams } else { Shape::Stream },
        load,
        unit: settings.bytes,
        buffers: settings.window,
        // Who loops packets back copies what is not its own (skb_orphan_frags_rx).
        copied: settings.path != Path::Dummy,
    }
}

/// One TCP connection on which everything is sent.
fn stream(
    ctx: &Context<'_>,
    settings: &Settings,
    road: &Road,
    load: Load,
    limits: &Limits,
) -> Result<Sent, Stop> {
    let pair = road.tcp(Room::WIDE, limits.patience())?;
    let order = order(settings, pair.sender.as_fd(), load);
    let (sent, checks) = both_ends(
        limits,
        |patience| {
            // The ring belongs to the thread that uses it.
            let client = client::open(settings.entries(), settings.operations())?;
            sender::send(client, order, patience)
        },
        |patience| receive(ctx, pair.receiver.as_fd(), load, patience),
    )?;
    ctx.checked(checks + sent.requests);
    Ok(sent)
}

fn datagrams(
    ctx: &Context<'_>,
    settings: &Settings,
    road: &Road,
    load: Load,
    patience: Patience<'_>,
) -> Result<Sent, Stop> {
    let socket = road.datagrams()?;
    let client = client::open(settings.entries(), settings.operations())?;
    let sent = sender::send(client, order(settings, socket.as_fd(), load), patience)?;
    ctx.checked(sent.requests);
    ctx.progress(1, 1)?;
    Ok(sent)
}

/// Reads a stream to its end: how many pieces were compared.
fn receive(
    ctx: &Context<'_>,
    socket: BorrowedFd<'_>,
    load: Load,
    patience: Patience<'_>,
) -> Result<u64, Stop> {
    let total = load.length();
    let mut buffer = vec![0; 256 << 10];
    let (mut at, mut checks) = (0, 0);
    loop {
        let got = patience.receive(socket, &mut buffer, || format!("data at byte {at} of {total}"))?;
        if got == 0 {
            break;
        }
        let mismatch = load.check(&buffer[..got], at);
        mismatch.map_err(|mismatch| Stop::Fail(format!("in the stream received, {mismatch}")))?;
        checks += 1;
        at += got as u64;
        ctx.progress(at, total)?;
    }
    if at != total {
        return Err(Stop::Fail(format!("the stream ended after `{at}` of `{total}` bytes")));
    }
    Ok(checks + 1)
}

/// Datagrams that the namespace of the calling thread has sent.
fn datagrams_out(family: Family) -> Result<u64, Stop> {
    let (path, parse): (_, fn(&str) -> Option<u64>) = match family {
        Family::Ipv4 => ("/proc/thread-self/net/snmp", udp4_out),
        Family::Ipv6 => ("/proc/thread-self/net/snmp6", udp6_out),
    };
    let text =
        fs::read_to_string(path).map_err(|error| Stop::Error(format!("cannot read {path}: {error}")))?;
    parse(&text).ok_or_else(|| Stop::Error(format!("{path} does not count datagrams")))
}

/// Of two lines `Udp:`: names and numbers.
fn udp4_out(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Udp:"));
    let (mut names, mut numbers) = (lines.next()?.split_whitespace(), lines.next()?.split_whitespace());
    numbers.nth(names.position(|name| name == "OutDatagrams")?)?.parse().ok()
}

fn udp6_out(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Udp6OutDatagrams"))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::super::test_params::{choices, with_params};
    use super::*;

    #[test]
    fn every_word_that_a_suite_may_use_is_understood() {
        for (name, word) in choices(&INFO) {
            let settings = with_params(&INFO, &[(name, word.into())], Settings::of);
            settings.unwrap_or_else(|stop| panic!("{name} = {word}: {stop}"));
        }
    }

    #[test]
    fn a_datagram_that_cannot_be_is_refused_with_a_way_out() {
        let of =
            |path: &str| with_params(&INFO, &[("path", path.into()), ("bytes", 65_508.into())], Settings::of);
        of("lo").expect("a stream has no such limit");
        let Err(Stop::Error(text)) = of("dummy").map(drop) else { panic!("an error") };
        assert!(text.contains("holds at most 65507\nhint: "), "{text}");
    }

    #[test]
    fn datagrams_are_counted_by_the_name_of_the_column() {
        let text = "Ip: Forwarding\nIp: 2\nUdp: InDatagrams NoPorts OutDatagrams\nUdp: 5 0 77\nUdpLite: OutDatagrams\nUdpLite: 1\n";
        assert_eq!(udp4_out(text), Some(77));
        assert_eq!(udp4_out("Udp: OutDatagrams\n"), None);
        assert_eq!(udp6_out("Udp6InDatagrams     3\nUdp6OutDatagrams  \t 9\n"), Some(9));
        assert_eq!(udp6_out(""), None);
    }
}
