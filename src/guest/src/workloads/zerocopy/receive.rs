//! `tcp-zerocopy/receive`: one TCP connection whose receiver maps what arrives.
//!
//! Two connections, one after the other: on the first every byte is checked, on
//! the second nobody looks at the bytes and the time is taken.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use rustix::io::Errno;

use super::inflight::{self, Order, Pace};
use super::loopback::{self, FAMILY, Family};
use super::memory;
use super::patience::{Limits, Patience, both_ends};
use super::pattern::{Load, Pattern};
use super::receiver::{Receiver, Release, Tally};
use super::{sys, transmit};
use crate::context::{Context, Stop, Workload, WorkloadResult};

/// The workload.
pub(in crate::workloads) const RECEIVE: Workload = Workload { info: &INFO, run };

const SENDERS: &[&str] = &["msg-zerocopy", "splice", "send"];
const RELEASES: &[&str] = &["dontneed", "remap", "overwrite"];

static INFO: WorkloadInfo = WorkloadInfo {
    name: "tcp-zerocopy/receive",
    summary: "one TCP connection over loopback, received with TCP_ZEROCOPY_RECEIVE and checked byte by byte",
    params: &[
        ParamInfo::Choice {
            name: "sender",
            summary: "how the data is sent; pages of `send` may be of a kind that cannot be mapped",
            choices: SENDERS,
            default: "msg-zerocopy",
        },
        FAMILY,
        ParamInfo::Int {
            name: "mebibytes",
            summary: "data per connection in MiB; two connections are made, and a part of a page is added to each",
            min: 1,
            max: 4096,
            default: 16,
        },
        ParamInfo::Int {
            name: "chunk_pages",
            summary: "pages that one call is asked to send",
            min: 1,
            max: 256,
            default: 16,
        },
        ParamInfo::Int {
            name: "hold",
            summary: "mappings that are kept, and checked a second time, before one is used again",
            min: 1,
            max: 64,
            default: 4,
        },
        ParamInfo::Choice {
            name: "release",
            summary: "what is done to a mapping before it is used again: madvise, a new mmap, or nothing",
            choices: RELEASES,
            default: "dontneed",
        },
        ParamInfo::Int {
            name: "min_share",
            summary: "part of the data in % that has to be mapped; not asked of the sender `send`",
            min: 0,
            max: 100,
            default: 90,
        },
    ],
    metrics: &[
        MetricInfo {
            name: "mapped_share",
            summary: "part of the bytes that arrived by mapping, per connection",
            unit: Unit::Percent,
            kind: Kind::Ratio,
            better: Better::Higher,
        },
        MetricInfo {
            name: "throughput",
            summary: "bytes received per second when nobody looks at them",
            unit: Unit::BytesPerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
        MetricInfo {
            name: "bytes_per_call",
            summary: "bytes that one call of TCP_ZEROCOPY_RECEIVE accounts for, without looking at them",
            unit: Unit::Bytes,
            kind: Kind::Ratio,
            better: Better::Higher,
        },
    ],
    modules: &[],
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    MsgZerocopy,
    Splice,
    Send,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    sender: Sender,
    family: Family,
    bytes: u64,
    chunk: usize,
    hold: usize,
    release: Release,
    /// In %; `None` when nothing is promised.
    min_share: Option<f64>,
}

impl Settings {
    fn of(context: &Context<'_>) -> Result<Self, Stop> {
        let sender = match context.choice("sender")? {
            "msg-zerocopy" => Sender::MsgZerocopy,
            "splice" => Sender::Splice,
            "send" => Sender::Send,
            other => {
                return Err(Stop::Error(format!("parameter `sender` is `{other}`, none of {SENDERS:?}")));
            }
        };
        let release = match context.choice("release")? {
            "dontneed" => Release::Dontneed,
            "remap" => Release::Remap,
            "overwrite" => Release::Overwrite,
            other => {
                return Err(Stop::Error(format!("parameter `release` is `{other}`, none of {RELEASES:?}")));
            }
        };
        // A ragged end, so that there is always something that cannot be mapped.
        let ragged = context.rng().u64(1..memory::page_size() as u64);
        Ok(Self {
            sender,
            family: Family::of(context)?,
            bytes: ((context.count("mebibytes")? as u64) << 20) + ragged,
            chunk: context.count("chunk_pages")?.max(1) * memory::page_size(),
            hold: context.count("hold")?.max(1),
            release,
            min_share: (sender != Sender::Send).then_some(context.int("min_share")? as f64),
        })
    }
}

fn run(context: &Context<'_>) -> WorkloadResult {
    let settings = Settings::of(context)?;
    let page_size = u32::try_from(memory::page_size()).unwrap_or(u32::MAX);
    let mtu = settings.family.page_filling_mtu(page_size).ok_or_else(|| {
        Stop::Skip(format!("no segment of loopback holds a whole page of this machine, `{page_size}` bytes"))
    })?;
    loopback::enter(mtu)?;
    let limits = Limits::of(context)?;
    let seed = context.rng().u64(..);
    let verified = Load::Verified(Pattern::new(seed, settings.bytes));
    let first = transfer(context, &settings, verified, &limits)?;
    let second = transfer(context, &settings, Load::Timed(settings.bytes), &limits)?;

    context.samples("mapped_share", vec![first.share(), second.share()])?;
    let seconds = second.elapsed_ns.max(1) as f64 / 1e9;
    context.sample("throughput", second.at as f64 / seconds)?;
    context.sample("bytes_per_call", second.at as f64 / second.calls.max(1) as f64)
}

/// One connection from the handshake to the end of the stream.
fn transfer(context: &Context<'_>, settings: &Settings, load: Load, limits: &Limits) -> Result<Tally, Stop> {
    let pair = loopback::tcp_pair(settings.family, limits.patience())?;
    let (sending, receiving) = (pair.sender.as_fd(), pair.receiver.as_fd());
    assert_supported(receiving)?;
    if settings.sender == Sender::MsgZerocopy {
        inflight::enable(sending)?;
    }
    let mut receiver = Receiver::new(receiving, load, settings.hold, settings.release)?;
    let ((), ()) = both_ends(
        limits,
        |patience| send(sending, settings, load, patience),
        |patience| receiver.run(context, patience),
    )?;
    if settings.sender == Sender::MsgZerocopy {
        inflight::assert_quiet(sending, settings.family)?;
    }
    // At the end: the first segments are bounded by half of a window that has
    // not grown yet.
    let segment = loopback::segment_size(&pair.sender)?;
    if !segment.is_multiple_of(memory::page_size()) {
        return Err(Stop::Error(format!(
            "segments hold `{segment}` bytes, which is no multiple of the page size\n\
             hint: are TCP timestamps off (net.ipv4.tcp_timestamps)?"
        )));
    }
    let tally = receiver.finish()?;
    context.checked(tally.checks);
    if let Some(least) = settings.min_share {
        let (share, mapped, all) = (tally.share(), tally.mapped, tally.at);
        context.check(share >= least, || {
            format!("only {share:.2} % were mapped, {mapped} of {all} bytes; at least {least} % are expected")
        })?;
    }
    Ok(tally)
}

fn send(socket: BorrowedFd<'_>, settings: &Settings, load: Load, patience: Patience<'_>) -> Result<(), Stop> {
    /// Chunks under way at once with `MSG_ZEROCOPY`.
    const BUFFERS: usize = 16;
    match settings.sender {
        Sender::MsgZerocopy => {
            let order = Order {
                socket,
                family: settings.family,
                load,
                unit: settings.chunk,
                buffers: BUFFERS,
                pace: Pace::Stream,
            };
            inflight::transmit(order, patience).map(drop)
        }
        Sender::Splice => transmit::splice(socket, load, settings.chunk, patience),
        Sender::Send => transmit::copy(socket, load, settings.chunk, patience),
    }
}

/// Asks for nothing, to learn whether the kernel knows the request.
fn assert_supported(socket: BorrowedFd<'_>) -> Result<(), Stop> {
    let mut nothing = sys::TcpZerocopyReceive::default();
    // SAFETY: a request of length 0 without buffers names no memory.
    unsafe { sys::zerocopy_receive(socket.as_raw_fd(), &mut nothing) }.map_err(|errno| match errno {
        Errno::NOPROTOOPT => Stop::Skip(format!(
            "the kernel lacks TCP_ZEROCOPY_RECEIVE (getsockopt: {errno}); it is there since 4.18 with CONFIG_MMU"
        )),
        _ => Stop::Fail(format!("getsockopt TCP_ZEROCOPY_RECEIVE of length 0 on an idle connection: {errno}")),
    })
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
    fn another_word_is_an_error_that_lists_the_known_ones() {
        let settings = with_params(&INFO, &[("sender", "pigeon".into())], Settings::of);
        let text = r#"parameter `sender` is `pigeon`, none of ["msg-zerocopy", "splice", "send"]"#;
        assert_eq!(settings.map(drop), Err(Stop::Error(text.into())));
    }

    #[test]
    fn the_data_never_ends_at_a_page_and_the_share_is_promised_by_two_senders() {
        for (sender, share) in [("msg-zerocopy", Some(90.0)), ("splice", Some(90.0)), ("send", None)] {
            let changes = [("sender", sender.into()), ("mebibytes", 3.into())];
            let settings = with_params(&INFO, &changes, Settings::of).expect("known words");
            assert_eq!(settings.min_share, share);
            assert!(settings.bytes > 3 << 20 && !settings.bytes.is_multiple_of(memory::page_size() as u64));
        }
    }
}
