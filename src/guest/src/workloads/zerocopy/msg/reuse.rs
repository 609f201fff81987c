//! `msg-zerocopy/reuse`: a buffer that is written to again.
//!
//! Before its completion the receiver has to get the new bytes, and the checker
//! has to see that they are wrong: that shows that the kernel borrows pages at all,
//! and that every other test of this suite would notice. After its completion the
//! receiver has to get the old ones.

use std::os::fd::AsFd;

use kregress_wire::{ParamInfo, WorkloadInfo};
use rustix::net::SendFlags;

use super::super::loopback::{FAMILY, Family};
use super::super::memory::Pages;
use super::super::patience::{Limits, Patience};
use super::super::pattern::{Mismatch, Pattern};
use super::line::Line;
use super::place::{self, Neighbour, Path, Place, Room};
use super::stuck::{self, Stuck};
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::workloads::netns::{begin_census, expect_all_gone};

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "msg-zerocopy/reuse",
    summary: "overwrites buffers before their completion, which must be seen, and after it, which must not",
    params: &[
        FAMILY,
        ParamInfo::Int { name: "rounds", summary: "rounds of each kind", min: 1, max: 10_000, default: 4 },
    ],
    metrics: &[],
    modules: place::MODULES,
};

/// Bytes of a stream that are overwritten: many pages and a part of one.
const STREAM: usize = 100_000;

/// Bytes of a datagram, in one packet.
const DATAGRAM: usize = 1400;

/// When the buffer is written to again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum When {
    Never,
    Before,
    After,
}

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let _modules = Loaded::load(place::MODULES)?;
    let family = Family::of(context)?;
    let rounds = context.count("rounds")? as u64;
    let limits = Limits::of(context)?;
    let patience = limits.patience();
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let mut rng = context.rng();
    for round in 0..rounds {
        let place = Place::build(context, Path::Loopback, family, stuck::MTU, Neighbour::Known)?;
        for when in [When::Never, When::Before] {
            queued(context, &place, family, when, rng.u64(..), patience)?;
        }
        received(context, &place, family, rng.u64(..), patience)?;
        drop(place);
        for when in [When::Never, When::Before, When::After] {
            let neighbour = if when == When::After { Neighbour::Known } else { Neighbour::Unknown };
            let place = Place::build(context, Path::Veth, family, stuck::MTU, neighbour)?;
            datagram(context, &place, family, when, rng.u64(..), patience)?;
        }
        context.progress(round + 1, rounds)?;
    }
    expect_all_gone(context, &mut census, 2).map(drop)
}

/// Two contents of one buffer.
struct Contents {
    old: Pattern,
    new: Pattern,
    buffer: Pages,
    bytes: usize,
}

impl Contents {
    fn new(seed: u64, bytes: usize) -> Result<Self, Stop> {
        let mut buffer =
            Pages::new(bytes).map_err(|errno| Stop::Error(format!("mmap of `{bytes}` bytes: {errno}")))?;
        let (old, new) = (Pattern::new(seed, bytes as u64), Pattern::new(!seed, bytes as u64));
        old.fill(&mut buffer[..bytes], 0);
        Ok(Self { old, new, buffer, bytes })
    }

    fn send(&self, line: &mut Line) -> WorkloadResult {
        line.send_all(&self.buffer[..self.bytes], SendFlags::empty())
    }

    fn overwrite(&mut self) {
        self.new.fill(&mut self.buffer[..self.bytes], 0);
    }

    /// Asserts that what arrived is what `when` makes of it.
    fn judge(&self, context: &Context<'_>, data: &[u8], when: When) -> WorkloadResult {
        let seen = self.old.check(data, 0);
        match when {
            When::Never => {
                context.check(seen.is_ok(), || format!("in a buffer that nobody wrote to, {}", words(&seen)))
            }
            When::After => context.check(seen.is_ok(), || {
                format!("a buffer was overwritten after its completion, and {}", words(&seen))
            }),
            When::Before => {
                context.check(seen.is_err(), || {
                    "a buffer was overwritten before its completion, and the old bytes arrived: \
                     the kernel did not borrow it"
                        .into()
                })?;
                let new = self.new.check(data, 0);
                context.check(new.is_ok(), || {
                    format!(
                        "a buffer was overwritten before it was sent, and of the new bytes {}",
                        words(&new)
                    )
                })
            }
        }
    }
}

fn words(seen: &Result<(), Mismatch>) -> String {
    seen.as_ref().err().map_or_else(String::new, ToString::to_string)
}

/// A stream whose data waits in the sender's queue.
fn queued(
    context: &Context<'_>,
    place: &Place,
    family: Family,
    when: When,
    seed: u64,
    patience: Patience<'_>,
) -> WorkloadResult {
    let mut stuck = Stuck::open(place, family, seed, patience)?;
    let mut contents = Contents::new(seed ^ 1, STREAM)?;
    contents.send(&mut stuck.line)?;
    if when == When::Before {
        contents.overwrite();
    }
    stuck.line.assert_pending("their receiver has no room for them")?;
    stuck.far.pull(patience)?;
    let data = stuck.far.read(STREAM, patience)?;
    contents.judge(context, &data, when)?;
    stuck.line.settle(patience)
}

/// A stream that the receiver's kernel has, and the receiver has not read.
fn received(
    context: &Context<'_>,
    place: &Place,
    family: Family,
    seed: u64,
    patience: Patience<'_>,
) -> WorkloadResult {
    let pair = place.tcp(Room { sender: 4 << 20, receiver: 4 << 20 }, patience)?;
    let mut line = Line::open(pair.sender, family)?;
    let mut contents = Contents::new(seed, STREAM)?;
    contents.send(&mut line)?;
    line.settle(patience)?;
    contents.overwrite();
    let data = stuck::read(&pair.receiver, STREAM, patience)?;
    contents.judge(context, &data, When::After)
}

/// A datagram that waits for its neighbour, or for its reader.
fn datagram(
    context: &Context<'_>,
    place: &Place,
    family: Family,
    when: When,
    seed: u64,
    patience: Patience<'_>,
) -> WorkloadResult {
    let (sender, receiver) = place.udp(1 << 20)?;
    let receiver = receiver.ok_or_else(|| Stop::Error("the place has no receiver".into()))?;
    let mut line = Line::open(sender, family)?;
    let mut contents = Contents::new(seed, DATAGRAM)?;
    contents.send(&mut line)?;
    match when {
        When::After => {
            line.settle(patience)?;
            contents.overwrite();
        }
        When::Never | When::Before => {
            line.assert_pending("their neighbour is not known")?;
            if when == When::Before {
                contents.overwrite();
            }
            place.resolve()?;
        }
    }
    let mut data = vec![0; 2 * DATAGRAM];
    let got = patience.receive(receiver.as_fd(), &mut data, || "a datagram".into())?;
    context
        .check(got == DATAGRAM, || format!("a datagram of `{got}` bytes arrived, `{DATAGRAM}` were sent"))?;
    contents.judge(context, &data[..got], when)?;
    line.settle(patience)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::zerocopy::test_params::with_params;

    fn judge(data: fn(&mut Contents) -> Vec<u8>, when: When) -> WorkloadResult {
        let mut contents = Contents::new(5, 5000).expect("memory");
        let data = data(&mut contents);
        with_params(&INFO, &[], |context| contents.judge(context, &data, when))
    }

    fn old(contents: &mut Contents) -> Vec<u8> {
        contents.buffer[..contents.bytes].to_vec()
    }

    fn new(contents: &mut Contents) -> Vec<u8> {
        contents.overwrite();
        old(contents)
    }

    fn mixed(contents: &mut Contents) -> Vec<u8> {
        let mut data = old(contents);
        let fresh = new(contents);
        data[4096..].copy_from_slice(&fresh[4096..]);
        data
    }

    #[test]
    fn old_bytes_are_right_unless_they_were_overwritten_in_time() {
        judge(old, When::Never).expect("right");
        judge(old, When::After).expect("right");
        judge(old, When::Before).expect_err("nothing was borrowed");
    }

    #[test]
    fn new_bytes_are_right_only_if_they_were_written_before() {
        judge(new, When::Before).expect("seen as corruption");
        judge(new, When::After).expect_err("the completion came too early");
        judge(new, When::Never).expect_err("corruption");
    }

    #[test]
    fn a_page_that_is_half_old_is_never_right() {
        for when in [When::Never, When::Before, When::After] {
            judge(mixed, when).expect_err("neither");
        }
    }
}
