//! `tcp-zerocopy/scaling`: how much faster mapping is than copying, and what more
//! threads bring and cost.
//!
//! Nobody looks at the bytes: the time is the kernel's. Page faults and TLB
//! shootdowns are counted from /proc.

use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::RecvFlags;

use super::super::connection::Pair;
use super::super::loopback::Family;
use super::super::memory::page_size;
use super::super::patience::{Limits, Patience};
use super::super::pattern::Load;
use super::super::table::in_words;
use super::super::transmit;
use super::bench::{assert_supported, window};
use super::place::{Path, Place};
use super::sys::{Area, Request};
use super::tangle::crew::{Crew, Member, Role};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::workloads::netns::{begin_census, expect_all_gone};

const fn rate(name: &'static str, summary: &'static str) -> MetricInfo {
    MetricInfo { name, summary, unit: Unit::BytesPerSecond, kind: Kind::Rate, better: Better::Higher }
}

const fn count(name: &'static str, summary: &'static str) -> MetricInfo {
    MetricInfo { name, summary, unit: Unit::One, kind: Kind::Ratio, better: Better::Lower }
}

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "tcp-zerocopy/scaling",
    summary: "threads of one address space, each with its connections, receive by mapping and then by copying",
    params: &[
        ParamInfo::Int { name: "threads", summary: "threads that receive", min: 1, max: 64, default: 2 },
        ParamInfo::Int {
            name: "connections",
            summary: "connections of each of them; each has a thread that sends",
            min: 1,
            max: 64,
            default: 1,
        },
        ParamInfo::Int {
            name: "mebibytes",
            summary: "data per connection and way in MiB",
            min: 1,
            max: 4096,
            default: 8,
        },
    ],
    metrics: &[
        rate("mapped_rate", "bytes received per second by mapping, of all threads"),
        rate("copied_rate", "bytes received per second by recv, of all threads"),
        MetricInfo {
            name: "mapped_to_copied",
            summary: "the one rate in hundredths of the other",
            unit: Unit::Percent,
            kind: Kind::Ratio,
            better: Better::Higher,
        },
        count("faults", "page faults per MiB that was received by mapping"),
        count("shootdowns", "TLB shootdowns per MiB that was received by mapping, of all processors"),
    ],
    modules: &[],
};

/// Pages of the mapping of one thread, and of the buffer of one that copies.
const PAGES: usize = 128;

/// How much is received by how many.
#[derive(Debug, Clone, Copy)]
struct Shape {
    threads: usize,
    /// Of each thread.
    connections: usize,
    /// Of each connection.
    bytes: u64,
}

impl Shape {
    fn total(self) -> u64 {
        self.bytes * (self.threads * self.connections) as u64
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Mapping,
    Copying,
}

/// Page faults without I/O of all threads, of `/proc/PID/stat`.
fn minor_faults(stat: &str) -> Option<u64> {
    // The name may hold anything; the field is the eighth behind it.
    stat.get(stat.rfind(')')? + 1..)?.split_whitespace().nth(7)?.parse().ok()
}

/// TLB shootdowns of all processors, of `/proc/interrupts`; 0 where there is one.
fn shootdowns(interrupts: &str) -> u64 {
    let line = interrupts.lines().find_map(|line| line.trim_start().strip_prefix("TLB:"));
    line.map_or(0, |line| line.split_whitespace().map_while(|word| word.parse::<u64>().ok()).sum())
}

fn read(path: &str) -> Result<String, Stop> {
    fs::read_to_string(path).map_err(|error| Stop::Error(format!("cannot read {path}: {error}")))
}

fn counters() -> Result<(u64, u64), Stop> {
    let faults = minor_faults(&read("/proc/self/stat")?)
        .ok_or_else(|| Stop::Error("/proc/self/stat cannot be understood".into()))?;
    Ok((faults, shootdowns(&read("/proc/interrupts")?)))
}

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let shape = Shape {
        threads: context.count("threads")?,
        connections: context.count("connections")?,
        bytes: (context.count("mebibytes")? as u64) << 20,
    };
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let limits = Limits::of(context)?;
    {
        let place = Place::new(Path::Loopback, Family::Ipv4, limits.patience())?;
        assert_supported(&place)?;
        let total = shape.total();
        let before = counters()?;
        let mapped_ns = transfer(context, &place, Way::Mapping, shape, &limits)?;
        let after = counters()?;
        let copied_ns = transfer(context, &place, Way::Copying, shape, &limits)?;
        let rate = |ns: u64| total as f64 * 1e9 / ns.max(1) as f64;
        let mebibytes = (total >> 20).max(1) as f64;
        context.sample("mapped_rate", rate(mapped_ns))?;
        context.sample("copied_rate", rate(copied_ns))?;
        context.sample("mapped_to_copied", 100.0 * rate(mapped_ns) / rate(copied_ns))?;
        context.sample("faults", after.0.saturating_sub(before.0) as f64 / mebibytes)?;
        context.sample("shootdowns", after.1.saturating_sub(before.1) as f64 / mebibytes)?;
    }
    expect_all_gone(context, &mut census, 1).map(drop)
}

/// Time from the first byte to the end of the last stream.
fn transfer(
    context: &Context<'_>,
    place: &Place,
    way: Way,
    shape: Shape,
    limits: &Limits,
) -> Result<u64, Stop> {
    let patience = limits.patience();
    let all = shape.threads * shape.connections;
    let pairs: Vec<Pair> = (0..all).map(|_| place.connect_warm(patience)).collect::<Result<_, _>>()?;
    let ended_ns = AtomicU64::new(0);
    let mapped = AtomicU64::new(0);
    let mut members = Vec::new();
    for pairs in pairs.chunks(shape.connections) {
        let (ended_ns, mapped) = (&ended_ns, &mapped);
        for pair in pairs {
            members.push(Member {
                name: "send",
                role: Role::Work,
                body: Box::new(move |_: &Crew| {
                    let load = Load::Timed(shape.bytes);
                    transmit::splice(pair.sender.as_fd(), load, 16 * page_size(), patience)
                }),
            });
        }
        members.push(Member {
            name: "receive",
            role: Role::Work,
            body: Box::new(move |crew: &Crew| {
                let share = receive(crew, pairs, way, shape.bytes, patience)?;
                mapped.fetch_add(share, Ordering::Relaxed);
                ended_ns.fetch_max(clock::monotonic_ns(), Ordering::Relaxed);
                Ok(())
            }),
        });
    }
    let begin_ns = clock::monotonic_ns();
    crew_of(context, members, shape.total(), &pairs)?;
    let mapped = mapped.load(Ordering::Relaxed);
    context.check((mapped > 0) == (way == Way::Mapping), || {
        format!("`{mapped}` bytes were mapped by threads that receive by {way:?}")
    })?;
    Ok(ended_ns.load(Ordering::Relaxed).saturating_sub(begin_ns))
}

fn crew_of(context: &Context<'_>, members: Vec<Member<'_>>, total: u64, pairs: &[Pair]) -> Result<(), Stop> {
    Crew::default().run(context, members, total, || {
        for end in pairs.iter().flat_map(|pair| [&pair.sender, &pair.receiver]) {
            let _ = rustix::net::shutdown(end, rustix::net::Shutdown::Both);
        }
    })
}

/// One connection of a thread that receives.
struct Stream<'a> {
    socket: BorrowedFd<'a>,
    /// Without one its data is copied.
    area: Option<Area>,
    total: u64,
    at: u64,
    mapped: u64,
}

impl<'a> Stream<'a> {
    fn new(pair: &'a Pair, way: Way, total: u64) -> Result<Self, Stop> {
        let socket = pair.receiver.as_fd();
        let area = if way == Way::Mapping { Some(window(socket, PAGES)?) } else { None };
        Ok(Self { socket, area, total, at: 0, mapped: 0 })
    }

    fn is_complete(&self) -> bool {
        self.at >= self.total
    }

    fn cut_off(&self) -> Stop {
        Stop::Fail(format!("the stream ended after `{}` of `{}` bytes", self.at, self.total))
    }

    /// Takes what is there, once; how much that was.
    fn take(&mut self, buffer: &mut [u8]) -> Result<u64, Stop> {
        let before = self.at;
        let mut left = buffer.len();
        if let Some(area) = &self.area {
            match retry_on_intr(|| Request::to(area, 0, PAGES * page_size()).ask(self.socket)) {
                Ok(answer) if answer.err != 0 => {
                    return Err(Stop::Fail(format!("TCP_ZEROCOPY_RECEIVE tells of error {}", answer.err)));
                }
                Ok(answer) => {
                    self.at += u64::from(answer.length);
                    self.mapped += u64::from(answer.length);
                    left = answer.skip as usize;
                }
                Err(Errno::IO) => return Err(self.cut_off()),
                Err(errno) => {
                    return Err(Stop::Fail(format!("getsockopt TCP_ZEROCOPY_RECEIVE: {}", in_words(errno))));
                }
            }
        }
        if left > 0 {
            let room = left.min(buffer.len());
            let part = &mut buffer[..room];
            match retry_on_intr(|| rustix::net::recv(self.socket, &mut *part, RecvFlags::DONTWAIT)) {
                Ok((0, _)) => return Err(self.cut_off()),
                Ok((got, _)) => self.at += got as u64,
                Err(errno) => return Err(Stop::Fail(format!("recv of bytes that are there: {errno}"))),
            }
        }
        if self.at > self.total {
            return Err(Stop::Fail(format!("`{}` of {} bytes came", self.at, self.total)));
        }
        Ok(self.at - before)
    }
}

/// Receives all connections to their ends; bytes that were mapped.
fn receive(crew: &Crew, pairs: &[Pair], way: Way, total: u64, patience: Patience<'_>) -> Result<u64, Stop> {
    let mut streams: Vec<Stream<'_>> =
        pairs.iter().map(|pair| Stream::new(pair, way, total)).collect::<Result<_, _>>()?;
    let mut buffer = vec![0; PAGES * page_size()];
    // Others fail too.
    while !crew.is_over() {
        let mut open: Vec<&mut Stream<'_>> =
            streams.iter_mut().filter(|stream| !stream.is_complete()).collect();
        if open.is_empty() {
            crew.checked(streams.len() as u64);
            break;
        }
        let sockets: Vec<_> = open.iter().map(|stream| (stream.socket, PollFlags::IN)).collect();
        let at = open[0].at;
        let ready = patience.wait_for(&sockets, || format!("data at byte {at} of {total}"))?;
        for (stream, _) in open.iter_mut().zip(ready).filter(|(_, events)| !events.is_empty()) {
            let came = stream.take(&mut buffer)?;
            crew.received(usize::try_from(came).unwrap_or(usize::MAX));
        }
    }
    Ok(streams.iter().map(|stream| stream.mapped).sum())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn faults_are_read_behind_a_name_with_blanks_and_parentheses() {
        let stat = "27 (a) (b c) S 1 27 27 0 -1 4194560 1234 0 7 0 3 12";
        assert_eq!(minor_faults(stat), Some(1234));
        assert_eq!(minor_faults("27 (a) S 1"), None);
    }

    #[test]
    fn shootdowns_of_all_processors_are_added() {
        let text = "           CPU0       CPU1\n  0:  7  8  IO-APIC\nTLB:  12   30   TLB shootdowns\n";
        assert_eq!(shootdowns(text), 42);
        assert_eq!(shootdowns("  0:  7  8  IO-APIC\n"), 0);
    }

    proptest! {
        #[test]
        fn no_parser_panics(text in "\\PC{0,200}") {
            let _ = minor_faults(&text);
            let _ = shootdowns(&text);
        }
    }
}
