//! `tcp-zerocopy/integrity`: every byte that is read through a mapping is the one
//! that was sent, as long as it is mapped, whatever is mapped beside it.

mod model;
pub(super) mod receiver;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use rustix::event::PollFlags;
use rustix::fs::MemfdFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::Shutdown;
use rustix::pipe::{PipeFlags, SpliceFlags};

use super::super::inflight::{self, Order, Pace};
use super::super::loopback::{FAMILY, Family};
use super::super::memory::page_size;
use super::super::patience::{Limits, Patience, both_ends};
use super::super::pattern::{Load, Pattern};
use super::super::transmit;
use super::place::{MODULES, PATH, Path, Place};
use super::sys::Area;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::workloads::netns::{begin_census, expect_all_gone};
use receiver::Receiver;

const SENDERS: &[&str] = &["msg-zerocopy", "splice", "sendfile", "vmsplice"];

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "tcp-zerocopy/integrity",
    summary: "a receiver that maps, moves, discards and copies at random; every page of its mapping is known",
    params: &[
        ParamInfo::Choice {
            name: "sender",
            summary: "how the data is sent; pages of a file and of memory must never be mapped",
            choices: SENDERS,
            default: "msg-zerocopy",
        },
        PATH,
        FAMILY,
        ParamInfo::Int {
            name: "mebibytes",
            summary: "data in MiB; a part of a page is added",
            min: 1,
            max: 256,
            default: 4,
        },
        ParamInfo::Int {
            name: "min_share",
            summary: "part of the data in % that has to be mapped; not asked of sendfile and vmsplice",
            min: 0,
            max: 100,
            default: 90,
        },
    ],
    metrics: &[MetricInfo {
        name: "mapped_share",
        summary: "part of the bytes that arrived by mapping",
        unit: Unit::Percent,
        kind: Kind::Ratio,
        better: Better::Higher,
    }],
    modules: MODULES,
};

/// Bytes that one call is asked to send.
const CHUNK_PAGES: usize = 16;

/// Chunks under way at once with `MSG_ZEROCOPY`.
const BUFFERS: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sender {
    MsgZerocopy,
    Splice,
    Sendfile,
    Vmsplice,
}

impl Sender {
    fn of(context: &Context<'_>) -> Result<Self, Stop> {
        match context.choice("sender")? {
            "msg-zerocopy" => Ok(Self::MsgZerocopy),
            "splice" => Ok(Self::Splice),
            "sendfile" => Ok(Self::Sendfile),
            "vmsplice" => Ok(Self::Vmsplice),
            other => Err(Stop::Error(format!("parameter `sender` is `{other}`, none of {SENDERS:?}"))),
        }
    }

    /// Whether its pages may be mapped: those that belong to nobody else.
    fn gives_pages_away(self) -> bool {
        matches!(self, Self::MsgZerocopy | Self::Splice)
    }

    /// Sends everything; what it gives back has to live until all has arrived.
    fn send(
        self,
        socket: BorrowedFd<'_>,
        family: Family,
        pattern: Pattern,
        patience: Patience<'_>,
    ) -> Result<Source, Stop> {
        let (load, chunk) = (Load::Verified(pattern), CHUNK_PAGES * page_size());
        match self {
            Self::MsgZerocopy => {
                let order = Order { socket, family, load, unit: chunk, buffers: BUFFERS, pace: Pace::Stream };
                inflight::transmit(order, patience).map(|_| Source::default())
            }
            Self::Splice => transmit::splice(socket, load, chunk, patience).map(|()| Source::default()),
            Self::Sendfile => sendfile(socket, pattern, patience),
            Self::Vmsplice => vmsplice(socket, pattern, patience),
        }
    }
}

/// Where the pages are from. A page whose file or memory is gone belongs to
/// nobody else, and may be mapped then.
#[derive(Debug, Default)]
struct Source {
    _file: Option<OwnedFd>,
    _memory: Option<Area>,
}

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let _loaded = Loaded::load(INFO.modules)?;
    let (sender, path, family) = (Sender::of(context)?, Path::of(context)?, Family::of(context)?);
    let mut rng = context.rng();
    // A ragged end, so that there is always something that cannot be mapped.
    let bytes = ((context.count("mebibytes")? as u64) << 20) + rng.u64(1..page_size() as u64);
    let pattern = Pattern::new(rng.u64(..), bytes);
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let limits = Limits::of(context)?;
    let tally = {
        let place = Place::new(path, family, limits.patience())?;
        let pair = place.connect_warm(limits.patience())?;
        let (sending, receiving) = (pair.sender.as_fd(), pair.receiver.as_fd());
        if sender == Sender::MsgZerocopy {
            inflight::enable(sending)?;
        }
        let receiver = Receiver::new(receiving, pattern, rng)?;
        let (source, tally) = both_ends(
            &limits,
            |patience| sender.send(sending, family, pattern, patience),
            |patience| receiver.run(context, patience),
        )?;
        if sender == Sender::MsgZerocopy {
            inflight::assert_quiet(sending, family)?;
        }
        drop((source, pair));
        place.settle(limits.patience())?;
        tally
    };
    context.checked(tally.checks);
    let share = 100.0 * tally.mapped as f64 / tally.bytes().max(1) as f64;
    if sender.gives_pages_away() {
        let least = context.int("min_share")? as f64;
        context.check(share >= least, || {
            format!("only {share:.2} % of {bytes} bytes were mapped; at least {least} % are expected")
        })?;
    } else {
        context.check(tally.mapped == 0, || {
            format!(
                "`{}` bytes were mapped that belong to {}",
                tally.mapped,
                if sender == Sender::Sendfile { "a file" } else { "the memory of the sender" }
            )
        })?;
    }
    context.sample("mapped_share", share)?;
    context.note("calls", tally.calls.to_string())?;
    expect_all_gone(context, &mut census, 1).map(drop)
}

/// Calls until all is sent; waits where the socket is full.
fn all(
    call: &str,
    socket: BorrowedFd<'_>,
    bytes: usize,
    patience: Patience<'_>,
    mut send: impl FnMut(usize) -> rustix::io::Result<usize>,
) -> Result<(), Stop> {
    let mut done = 0;
    while done < bytes {
        match retry_on_intr(|| send(done)) {
            Ok(sent) if (1..=bytes - done).contains(&sent) => done += sent,
            Ok(sent) => {
                return Err(Stop::Fail(format!("{call} of `{}` bytes claims `{sent}`", bytes - done)));
            }
            Err(Errno::AGAIN) => {
                patience.wait(socket, PollFlags::OUT, || format!("room in the sending socket for {call}"))?;
            }
            Err(errno) => return Err(Stop::Fail(format!("{call}: {errno}"))),
        }
    }
    Ok(())
}

fn finish(socket: BorrowedFd<'_>) -> Result<(), Stop> {
    rustix::net::shutdown(socket, Shutdown::Write)
        .map_err(|errno| Stop::Fail(format!("shutdown of the sending end: {errno}")))
}

fn content(pattern: Pattern) -> Result<Vec<u8>, Stop> {
    let bytes = usize::try_from(pattern.length()).map_err(|_| Stop::Error("too much data".into()))?;
    let mut content = vec![0; bytes];
    pattern.fill(&mut content, 0);
    Ok(content)
}

/// From a file in memory: its pages travel, and stay those of the file.
fn sendfile(socket: BorrowedFd<'_>, pattern: Pattern, patience: Patience<'_>) -> Result<Source, Stop> {
    let content = content(pattern)?;
    let memfd = |errno| Stop::Error(format!("memfd: {errno}"));
    let file = rustix::fs::memfd_create("kregress", MemfdFlags::CLOEXEC).map_err(|errno| match errno {
        Errno::NOSYS => {
            Stop::Skip("the kernel lacks memfd_create; needs CONFIG_SHMEM or CONFIG_MEMFD_CREATE".into())
        }
        _ => memfd(errno),
    })?;
    let mut written = 0;
    while written < content.len() {
        written += retry_on_intr(|| rustix::io::write(&file, &content[written..])).map_err(memfd)?;
    }
    let mut offset = 0;
    all("sendfile", socket, content.len(), patience, |done| {
        rustix::fs::sendfile(socket, &file, Some(&mut offset), content.len() - done)
    })?;
    finish(socket)?;
    Ok(Source { _file: Some(file), ..Source::default() })
}

/// From memory through a pipe: the pages travel, and stay those of the memory,
/// which must not be written to until everything has arrived.
fn vmsplice(socket: BorrowedFd<'_>, pattern: Pattern, patience: Patience<'_>) -> Result<Source, Stop> {
    let content = content(pattern)?;
    let pipe = |errno| Stop::Error(format!("a pipe: {errno}"));
    let area = Area::anonymous(content.len().div_ceil(page_size())).map_err(pipe)?;
    area.write(0, &content);
    let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(pipe)?;
    let room = CHUNK_PAGES * page_size();
    rustix::pipe::fcntl_setpipe_size(&writer, room).map_err(pipe)?;
    let mut at = 0;
    while at < content.len() {
        let chunk = room.min(content.len() - at);
        let put = area.vmsplice(writer.as_fd(), at, chunk).map_err(pipe)?;
        all("splice of memory", socket, put, patience, |done| {
            rustix::pipe::splice(&reader, None, socket, None, put - done, SpliceFlags::empty())
        })?;
        at += put;
    }
    finish(socket)?;
    Ok(Source { _memory: Some(area), ..Source::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::zerocopy::test_params::{choices, with_params};

    #[test]
    fn every_word_that_a_suite_may_use_is_understood() {
        for (name, word) in choices(&INFO) {
            let understood = with_params(&INFO, &[(name, word.into())], |context| {
                Sender::of(context).and(Path::of(context).map(drop)).and(Family::of(context).map(drop))
            });
            assert_eq!(understood, Ok(()), "{name} = {word}");
        }
    }

    #[test]
    fn only_pages_that_nobody_else_has_may_be_mapped() {
        let away = |word: &str| {
            with_params(&INFO, &[("sender", word.into())], |context| {
                Sender::of(context).map(Sender::gives_pages_away)
            })
        };
        assert_eq!([away("msg-zerocopy"), away("splice")], [Ok(true), Ok(true)]);
        assert_eq!([away("sendfile"), away("vmsplice")], [Ok(false), Ok(false)]);
    }
}
