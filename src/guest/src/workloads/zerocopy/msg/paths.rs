//! `msg-zerocopy/paths`: each way that a buffer may go, by protocol and device.
//!
//! Every successful call is completed exactly once, the code says whether its
//! pages were copied, and every byte arrives.

use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};

use kregress_wire::{ParamInfo, WorkloadInfo};
use rustix::net::SendFlags;

use super::super::errqueue::Pages;
use super::super::loopback::{FAMILY, Family};
use super::super::patience::{Limits, Patience};
use super::super::pattern::Pattern;
use super::super::{memory, sys as options};
use super::line::Line;
use super::place::{self, Neighbour, PATHS, Path, Place, Room};
use super::stuck;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::workloads::netns::{begin_census, expect_all_gone};

const PROTOCOLS: &[&str] = &["tcp", "udp", "udp-gso", "udp-more", "udp-cork", "udp-fragments"];

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "msg-zerocopy/paths",
    summary: "MSG_ZEROCOPY by protocol and device: completions exactly once, copied or not, each byte checked",
    params: &[
        ParamInfo::Choice {
            name: "protocol",
            summary: "tcp; udp in one packet; with UDP_SEGMENT; made of parts by MSG_MORE or UDP_CORK; in fragments",
            choices: PROTOCOLS,
            default: "tcp",
        },
        FAMILY,
        ParamInfo::Choice {
            name: "path",
            summary: "device that packets go through; dummy swallows them and takes no tcp",
            choices: PATHS,
            default: "loopback",
        },
        ParamInfo::Int { name: "batches", summary: "batches of sends", min: 1, max: 100_000, default: 24 },
    ],
    metrics: &[],
    modules: place::MODULES,
};

/// How data is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
    Gso,
    More,
    Cork,
    Fragments,
}

impl Protocol {
    fn of(context: &Context<'_>) -> Result<Self, Stop> {
        match context.choice("protocol")? {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            "udp-gso" => Ok(Self::Gso),
            "udp-more" => Ok(Self::More),
            "udp-cork" => Ok(Self::Cork),
            "udp-fragments" => Ok(Self::Fragments),
            other => Err(Stop::Error(format!("parameter `protocol` is `{other}`, none of {PROTOCOLS:?}"))),
        }
    }

    /// Bytes of one call, at least and at most.
    fn sizes(self) -> (usize, usize) {
        match self {
            Self::Tcp => (1, 40_000),
            // Fits into one packet, from within a page to across two.
            Self::Udp => (1, 1400),
            Self::Gso => (SEGMENT + 1, 20 * SEGMENT),
            Self::More | Self::Cork => (1, 300),
            Self::Fragments => (2000, 20_000),
        }
    }

    /// Calls that make one datagram, at least and at most.
    fn parts(self) -> (usize, usize) {
        if matches!(self, Self::More | Self::Cork) { (2, 4) } else { (1, 1) }
    }
}

/// What the completions have to say. Whatever comes back to a receiver is copied
/// (`skb_orphan_frags_rx()`), and so is a datagram whose checksum the device cannot
/// compute, because it is made of several calls or goes in fragments
/// (`__ip_append_data()`).
fn expected(protocol: Protocol, path: Path) -> Pages {
    match (path, protocol) {
        (Path::Dummy, Protocol::Udp | Protocol::Gso) => Pages::Shared,
        _ => Pages::Copied,
    }
}

/// Payload of the packets that `UDP_SEGMENT` cuts.
const SEGMENT: usize = 1200;

/// Calls that may wait for their completion: `net.core.optmem_max` was 20480 before 6.8.
const WINDOW: u64 = 8;

const MTU: u32 = 1500;

/// `UDP_CORK` and `UDP_SEGMENT` of include/uapi/linux/udp.h.
const UDP_CORK: i32 = 1;
const UDP_SEGMENT: i32 = 103;

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let _modules = Loaded::load(place::MODULES)?;
    let (protocol, family, path) = (Protocol::of(context)?, Family::of(context)?, Path::of(context)?);
    let batches = context.count("batches")?;
    if protocol == Protocol::Tcp && path == Path::Dummy {
        return Err(Stop::Error(
            "`tcp` needs a receiver, and behind `dummy` is none\nhint: choose another path or protocol"
                .into(),
        ));
    }
    let limits = Limits::of(context)?;
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let place = Place::build(context, path, family, MTU, Neighbour::Known)?;
    exchange(context, &place, protocol, family, expected(protocol, path), batches, limits.patience())?;
    place.settle(limits.patience())?;
    drop(place);
    expect_all_gone(context, &mut census, 2).map(drop)
}

fn exchange(
    context: &Context<'_>,
    place: &Place,
    protocol: Protocol,
    family: Family,
    expected: Pages,
    batches: usize,
    patience: Patience<'_>,
) -> WorkloadResult {
    const STREAM: Room = Room { sender: 4 << 20, receiver: 4 << 20 };
    const DATAGRAMS: usize = 4 << 20;
    let (sender, receiver) = if protocol == Protocol::Tcp {
        let pair = place.tcp(STREAM, patience)?;
        (pair.sender, Some(pair.receiver))
    } else {
        place.udp(DATAGRAMS)?
    };
    if protocol == Protocol::Gso {
        option(&sender, UDP_SEGMENT, SEGMENT as i32)?;
    }
    let mut rng = context.rng();
    let mut line = Line::open(sender, family)?;
    let (least, most) = protocol.sizes();
    let total = batches as u64;
    for batch in 0..total {
        let messages = rng.u64(1..=WINDOW / protocol.parts().1 as u64);
        let mut buffers = Vec::new();
        let mut due = VecDeque::new();
        for _ in 0..messages {
            let (fewest, largest) = protocol.parts();
            let parts = rng.usize(fewest..=largest);
            let mut message = Vec::new();
            if protocol == Protocol::Cork {
                // So that nothing but the corked datagram can be completed.
                line.settle(patience)?;
                option(line.socket(), UDP_CORK, 1)?;
            }
            for part in 1..=parts {
                let length = rng.usize(least..=most);
                let start = rng.usize(..memory::page_size());
                let mut pages = memory::Pages::new(start + length)
                    .map_err(|errno| Stop::Error(format!("mmap of `{length}` bytes to send: {errno}")))?;
                Pattern::new(rng.u64(..), length as u64).fill(&mut pages[start..start + length], 0);
                let last = part == parts || protocol == Protocol::Cork;
                let more = if last { SendFlags::empty() } else { SendFlags::MORE };
                line.send_all(&pages[start..start + length], more)?;
                message.extend_from_slice(&pages[start..start + length]);
                // They stay as they are until their completion.
                buffers.push(pages);
            }
            if protocol == Protocol::Cork {
                line.assert_pending("their datagram is corked")?;
                option(line.socket(), UDP_CORK, 0)?;
            }
            due.push_back(message);
        }
        if let Some(receiver) = &receiver {
            receive(context, receiver, protocol, due, patience)?;
        }
        line.settle(patience)?;
        drop(buffers);
        context.progress(batch + 1, total)?;
    }
    if let Some(wrong) = line.other_than(expected) {
        return Err(Stop::Fail(format!(
            "the completion of sends {}..={} says `{:?}`, `{expected:?}` was expected",
            wrong.first, wrong.last, wrong.pages
        )));
    }
    context.checked(line.made() + line.seen.len() as u64);
    context.note("sends", line.made().to_string())?;
    context.note("notifications", line.seen.len().to_string())
}

fn option(socket: impl AsFd, name: i32, value: i32) -> Result<(), Stop> {
    use std::os::fd::AsRawFd as _;
    options::set_option(socket.as_fd().as_raw_fd(), libc::SOL_UDP, name, value)
        .map_err(|errno| Stop::Error(format!("setsockopt of UDP option {name} to `{value}`: {errno}")))
}

/// Takes what was sent, datagrams in any order: UDP promises none.
fn receive(
    context: &Context<'_>,
    receiver: &OwnedFd,
    protocol: Protocol,
    due: VecDeque<Vec<u8>>,
    patience: Patience<'_>,
) -> WorkloadResult {
    if protocol == Protocol::Tcp {
        let expected: Vec<u8> = due.into_iter().flatten().collect();
        let data = stuck::read(receiver, expected.len(), patience)?;
        return context.check(data == expected, || {
            let at = data.iter().zip(&expected).take_while(|(a, b)| a == b).count();
            format!("byte {at} of the `{}` bytes of a batch is wrong", expected.len())
        });
    }
    let cut = if protocol == Protocol::Gso { SEGMENT } else { usize::MAX };
    let mut due: Vec<Vec<u8>> =
        due.iter().flat_map(|message| message.chunks(cut)).map(<[u8]>::to_vec).collect();
    let mut buffer = vec![0; 65_536];
    while !due.is_empty() {
        let what = || format!("{} datagrams of a batch", due.len());
        let got = patience.receive(receiver.as_fd(), &mut buffer, what)?;
        let which = due.iter().position(|bytes| *bytes == buffer[..got]);
        context.check(which.is_some(), || {
            format!("a datagram of `{got}` bytes arrived that is none of the {} on their way", due.len())
        })?;
        due.swap_remove(which.unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::zerocopy::test_params::{choices, with_params};

    #[test]
    fn every_word_that_a_suite_may_use_is_understood() {
        for (name, word) in choices(&INFO) {
            let all = |context: &Context<'_>| {
                (Protocol::of(context).is_ok(), Family::of(context).is_ok(), Path::of(context).is_ok())
            };
            assert_eq!(
                with_params(&INFO, &[(name, word.into())], all),
                (true, true, true),
                "{name} = {word}"
            );
        }
    }

    #[test]
    fn only_whole_datagrams_that_nobody_receives_keep_their_pages() {
        assert_eq!(expected(Protocol::Udp, Path::Dummy), Pages::Shared);
        assert_eq!(expected(Protocol::More, Path::Dummy), Pages::Copied);
        assert_eq!(expected(Protocol::Udp, Path::Veth), Pages::Copied);
    }

    #[test]
    fn a_stream_into_a_device_without_a_receiver_is_refused_with_a_way_out() {
        let changes = [("protocol", "tcp".into()), ("path", "dummy".into())];
        let result = with_params(&INFO, &changes, run);
        let Err(Stop::Error(text)) = result else { panic!("{result:?}") };
        assert!(text.contains("hint: "), "{text}");
    }

    #[test]
    fn datagrams_fit_where_they_have_to() {
        let payload = MTU as usize - 40 - 8;
        assert!(Protocol::Udp.sizes().1 <= payload && SEGMENT <= payload);
        assert!(Protocol::More.sizes().1 * Protocol::More.parts().1 <= payload);
        assert!(Protocol::Fragments.sizes().0 > payload);
        // UDP_MAX_SEGMENTS was 64 up to 6.9.
        assert!(Protocol::Gso.sizes().1 <= 64 * SEGMENT && Protocol::Gso.sizes().1 <= 65_507);
    }
}
