//! `msg-zerocopy/send`: sends whose buffers the kernel borrows, and their
//! completions.
//!
//! First which sends are numbered at all, then two transfers: in one every byte
//! is checked, in the other nobody looks and the time is taken.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use rustix::event::{EventfdFlags, eventfd};

use super::connection::Pair;
use super::datagrams::Datagrams;
use super::inflight::{self, Order, Pace, Sent};
use super::loopback::{self, FAMILY, Family};
use super::numbering;
use super::patience::{Limits, Patience, both_ends};
use super::pattern::{Load, Pattern};
use crate::context::{Context, Stop, Workload, WorkloadResult};

/// The workload.
pub(in crate::workloads) const SEND: Workload = Workload { info: &INFO, run };

const PROTOCOLS: &[&str] = &["tcp", "udp"];

static INFO: WorkloadInfo = WorkloadInfo {
    name: "msg-zerocopy/send",
    summary: "MSG_ZEROCOPY over loopback: each send completed exactly once, each byte checked",
    params: &[
        ParamInfo::Choice {
            name: "protocol",
            summary: "transport protocol",
            choices: PROTOCOLS,
            default: "tcp",
        },
        FAMILY,
        ParamInfo::Int {
            name: "count",
            summary: "sends per transfer; two transfers are made",
            min: 1,
            max: 1_000_000,
            default: 2000,
        },
        ParamInfo::Int {
            name: "bytes",
            summary: "bytes per send; a UDP datagram holds at most 65507, with ipv6 65527",
            min: 1,
            max: 1 << 20,
            default: 16_384,
        },
        ParamInfo::Int {
            name: "window",
            summary: "sends that may wait for their completion; above 20 or so, ENOBUFS shows where \
                      net.core.optmem_max is 20480",
            min: 1,
            max: 256,
            default: 16,
        },
    ],
    metrics: &[
        MetricInfo {
            name: "throughput",
            summary: "bytes sent and completed per second when nobody looks at them",
            unit: Unit::BytesPerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
        MetricInfo {
            name: "completion_latency",
            summary: "from the beginning of a send to the reading of its completion",
            unit: Unit::Nanoseconds,
            kind: Kind::Time,
            better: Better::Lower,
        },
        MetricInfo {
            name: "completions",
            summary: "messages in the error queue per send; fewer where the kernel merges them",
            unit: Unit::One,
            kind: Kind::Ratio,
            better: Better::Lower,
        },
    ],
    modules: &[],
};

/// The words of the parameter `protocol`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    protocol: Protocol,
    family: Family,
    count: u64,
    bytes: usize,
    window: usize,
}

impl Settings {
    fn of(context: &Context<'_>) -> Result<Self, Stop> {
        let protocol = match context.choice("protocol")? {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            other => {
                return Err(Stop::Error(format!("parameter `protocol` is `{other}`, none of {PROTOCOLS:?}")));
            }
        };
        let family = Family::of(context)?;
        let bytes = context.count("bytes")?.max(1);
        let largest = family.largest_datagram();
        if protocol == Protocol::Udp && bytes > largest {
            return Err(Stop::Error(format!(
                "parameter `bytes` is `{bytes}`, but a UDP datagram holds at most {largest}\n\
                 hint: choose fewer bytes, or `protocol: tcp`"
            )));
        }
        let count = context.count("count")?.max(1) as u64;
        Ok(Self { protocol, family, count, bytes, window: context.count("window")?.max(1) })
    }

    fn connect(&self, patience: Patience<'_>) -> Result<Pair, Stop> {
        match self.protocol {
            Protocol::Tcp => loopback::tcp_pair(self.family, patience),
            Protocol::Udp => {
                let (bytes, window) = (self.bytes.max(numbering::LONGEST), self.window.max(numbering::SENDS));
                loopback::udp_pair(self.family, bytes, window)
            }
        }
    }
}

fn run(context: &Context<'_>) -> WorkloadResult {
    let settings = Settings::of(context)?;
    loopback::enter(loopback::DEFAULT_MTU)?;
    let limits = Limits::of(context)?;
    let mut rng = context.rng();
    let pair = settings.connect(limits.patience())?;
    numbering::check(context, &pair, settings.protocol, settings.family, rng.u64(..), limits.patience())?;
    drop(pair);

    let length = settings.count * settings.bytes as u64;
    let verified = Load::Verified(Pattern::new(rng.u64(..), length));
    let first = transfer(context, &settings, verified, &limits)?;
    let second = transfer(context, &settings, Load::Timed(length), &limits)?;

    context.note("enobufs", (first.refusals + second.refusals).to_string())?;
    let seconds = second.elapsed_ns.max(1) as f64 / 1e9;
    context.sample("throughput", length as f64 / seconds)?;
    context.sample("completions", second.notifications as f64 / second.calls.max(1) as f64)?;
    context.samples("completion_latency", thinned(&second.latencies_ns))
}

/// At most a few thousand of the values, evenly taken: a median needs no more.
fn thinned(values: &[u64]) -> Vec<f64> {
    const MOST: usize = 4096;
    values.iter().step_by(values.len().div_ceil(MOST).max(1)).map(|ns| *ns as f64).collect()
}

/// One connection on which everything is sent with the flag.
fn transfer(context: &Context<'_>, settings: &Settings, load: Load, limits: &Limits) -> Result<Sent, Stop> {
    let pair = settings.connect(limits.patience())?;
    let (sending, receiving) = (pair.sender.as_fd(), pair.receiver.as_fd());
    inflight::enable(sending)?;
    let taken = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|errno| Stop::Error(format!("eventfd: {errno}")))?;
    let ahead = settings.window as u64;
    let order = Order {
        socket: sending,
        family: settings.family,
        load,
        unit: settings.bytes,
        buffers: settings.window,
        pace: match settings.protocol {
            Protocol::Tcp => Pace::Stream,
            Protocol::Udp => Pace::Datagrams { taken: taken.as_fd(), ahead },
        },
    };
    let (sent, checks) = both_ends(
        limits,
        |patience| inflight::transmit(order, patience),
        |patience| match settings.protocol {
            Protocol::Tcp => receive_stream(context, receiving, load, patience),
            Protocol::Udp => {
                let due = Datagrams::new(load, settings.bytes, ahead);
                receive_datagrams(context, receiving, due, &taken, patience)
            }
        },
    )?;
    inflight::assert_quiet(sending, settings.family)?;
    // Of the receiver, and one for every send that was completed exactly once.
    context.checked(checks + sent.calls);
    context.check(sent.calls >= settings.count, || {
        format!("{} sends were made of at least {}", sent.calls, settings.count)
    })?;
    Ok(sent)
}

/// Signs of life per transfer.
const REPORTS: u64 = 16;

fn receive_stream(
    context: &Context<'_>,
    socket: BorrowedFd<'_>,
    load: Load,
    patience: Patience<'_>,
) -> Result<u64, Stop> {
    let total = load.length();
    let mut buffer = vec![0; 256 << 10];
    let (mut at, mut checks, mut next_report) = (0, 0, 0);
    loop {
        let got = patience.receive(socket, &mut buffer, || format!("data at byte {at} of {total}"))?;
        if got == 0 {
            break;
        }
        let mismatch = load.check(&buffer[..got], at);
        mismatch.map_err(|mismatch| Stop::Fail(format!("in the stream received, {mismatch}")))?;
        checks += 1;
        at += got as u64;
        if at >= next_report {
            context.progress(at, total)?;
            next_report = at + total / REPORTS;
        }
    }
    if at != total {
        return Err(Stop::Fail(format!("the stream ended after `{at}` of `{total}` bytes")));
    }
    Ok(checks + 1)
}

fn receive_datagrams(
    context: &Context<'_>,
    socket: BorrowedFd<'_>,
    mut due: Datagrams,
    taken: &OwnedFd,
    patience: Patience<'_>,
) -> Result<u64, Stop> {
    // One byte more than any datagram has: one that is too long shows.
    let mut buffer = vec![0; 65_536];
    let total = due.total();
    let mut next_report = 0;
    while !due.complete() {
        let got = patience.receive(socket, &mut buffer, || format!("datagram {} of {total}", due.taken()))?;
        due.take(&buffer[..got]).map_err(|error| Stop::Fail(error.to_string()))?;
        let told = rustix::io::write(taken, &1_u64.to_ne_bytes());
        told.map_err(|errno| Stop::Error(format!("write to the eventfd: {errno}")))?;
        if due.taken() >= next_report {
            context.progress(due.taken(), total)?;
            next_report = due.taken() + total / REPORTS;
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::zerocopy::test_params::{choices, with_params};

    #[test]
    fn every_word_that_a_suite_may_use_is_understood() {
        for (name, word) in choices(&INFO) {
            let settings = with_params(&INFO, &[(name, word.into())], Settings::of);
            settings.unwrap_or_else(|stop| panic!("{name} = {word}: {stop}"));
        }
    }

    #[test]
    fn a_datagram_that_cannot_be_is_refused_with_a_way_out() {
        let of = |protocol: &str, bytes: i64| {
            with_params(&INFO, &[("protocol", protocol.into()), ("bytes", bytes.into())], Settings::of)
        };
        of("udp", 65_507).expect("the largest");
        of("tcp", 65_508).expect("a stream has no such limit");
        let text = "parameter `bytes` is `65508`, but a UDP datagram holds at most 65507\n\
                    hint: choose fewer bytes, or `protocol: tcp`";
        assert_eq!(of("udp", 65_508).map(drop), Err(Stop::Error(text.into())));
    }

    #[test]
    fn few_latencies_are_all_kept_and_many_are_thinned() {
        assert_eq!(thinned(&[]), Vec::<f64>::new());
        assert_eq!(thinned(&[3, 1, 2]), [3.0, 1.0, 2.0]);
        let many: Vec<u64> = (0..10_000).collect();
        let few = thinned(&many);
        assert_eq!(&few[..3], [0.0, 3.0, 6.0]);
        assert_eq!(few.len(), 3334);
    }
}
