//! `tcp-zerocopy/options`: receiving by mapping together with what else a socket
//! can be asked for.

mod stamps;
mod waking;

use std::os::fd::AsFd;

use kregress_wire::WorkloadInfo;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

use super::super::loopback::{FAMILY, Family};
use super::super::memory::page_size;
use super::super::patience::{Limits, both_ends};
use super::super::pattern::{Load, Pattern};
use super::super::table::Table;
use super::super::transmit;
use super::bench::{Bench, NOTHING, Row, anonymous, assert_supported, mapped, number, window};
use super::integrity::receiver::{Receiver, Tally};
use super::place::{MODULES, PATH, Path, Place};
use super::sys::{Answer, Request, Room};
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::sysctl::Sysctl;
use crate::workloads::netns::{begin_census, expect_all_gone};

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "tcp-zerocopy/options",
    summary: "TCP_ZEROCOPY_RECEIVE with SO_RCVLOWAT, poll, MSG_PEEK, urgent data, time stamps and small buffers",
    params: &[PATH, FAMILY],
    metrics: &[],
    modules: MODULES,
};

const ROWS: &[&[Row]] = &[
    waking::ROWS,
    stamps::ROWS,
    &[
        ("MSG_PEEK", peek),
        ("MSG_TRUNC", truncate),
        ("urgent data", urgent),
        ("urgent data in line", urgent_inline),
    ],
];

/// Global, and seen from the first namespace only.
const HIGH_ORDER: &str = "/proc/sys/net/core/high_order_alloc_disable";

/// Of data that was sent by copying into single pages, the least share in percent that
/// has to be mapped. From experience it is 92 to 99, and 0 where pages are larger.
const LEAST_SHARE: f64 = 50.0;

/// Data of a transfer, in bytes, without its ragged end.
const BYTES: u64 = 1 << 20;

/// Room of a small receiver in bytes, which the kernel doubles: less than the
/// largest segment.
const SMALL_ROOM: usize = 12 << 10;

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let _loaded = Loaded::load(INFO.modules)?;
    let (path, family) = (Path::of(context)?, Family::of(context)?);
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let limits = Limits::of(context)?;
    let mut table = Table::default();
    {
        let place = Place::new(path, family, limits.patience())?;
        assert_supported(&place)?;
        let bench = Bench { place: &place, patience: limits.patience(), seed: context.rng().u64(..) };
        bench.run(context, ROWS, &mut table)?;
        table.begin("a small receive buffer");
        let result = transfer(context, &place, SMALL_ROOM, &limits);
        table.take(result.map(drop))?;
        table.begin("the connections afterwards");
        table.take(place.settle(limits.patience()))?;
    }
    table.begin("high_order_alloc_disable");
    let result = order_zero(context, path, family, &limits);
    table.take(result)?;
    table.begin("the namespaces afterwards");
    let gone = expect_all_gone(context, &mut census, 1).map(drop);
    table.take(gone)?;
    table.verdict(context)
}

/// Sends by copying, and receives at random.
fn transfer(context: &Context<'_>, place: &Place, room: usize, limits: &Limits) -> Result<Tally, Stop> {
    let mut rng = context.rng();
    let pattern = Pattern::new(rng.u64(..), BYTES + rng.u64(1..page_size() as u64));
    let pair = if room == SMALL_ROOM {
        place.connect(room, limits.patience())?
    } else {
        place.connect_warm(limits.patience())?
    };
    let receiver = Receiver::new(pair.receiver.as_fd(), pattern, rng)?;
    let ((), tally) = both_ends(
        limits,
        |patience| transmit::copy(pair.sender.as_fd(), Load::Verified(pattern), 16 * page_size(), patience),
        |patience| receiver.run(context, patience),
    )?;
    context.checked(tally.checks);
    Ok(tally)
}

/// Data that was sent by copying lies in pages of a larger order, which cannot be
/// mapped, unless there are none.
fn order_zero(context: &Context<'_>, path: Path, family: Family, limits: &Limits) -> Result<(), Stop> {
    let mut setting = match Sysctl::open(HIGH_ORDER) {
        Ok(setting) => setting,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return context.note(
                "high_order_alloc_disable",
                "not seen from here: there since Linux 5.14, in the first network namespace only",
            );
        }
        Err(error) => return Err(Stop::Error(format!("cannot read {HIGH_ORDER}: {error}"))),
    };
    // The setting can be written from the first namespace only.
    let mapped = || {
        let place = Place::new(path, family, limits.patience())?;
        let tally = transfer(context, &place, super::place::ROOM, limits)?;
        place.settle(limits.patience())?;
        Ok(100.0 * tally.mapped as f64 / tally.bytes().max(1) as f64)
    };
    let usual = mapped()?;
    setting.set("1").map_err(|error| Stop::Error(error.to_string()))?;
    let share = mapped()?;
    let shares = format!("{share:.1} % with high_order_alloc_disable, {usual:.1} % without");
    context.note("mapped-share-of-send", &shares)?;
    context.check(share >= LEAST_SHARE && usual <= share / 2.0, || {
        format!(
            "of what send copied were mapped: {shares}; right are {LEAST_SHARE} % or more with it, and at most half \
             of that without"
        )
    })?;
    drop(setting);
    Ok(())
}

fn peek(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 4)?;
    talk.send_pages(4)?;
    let begin = talk.at();
    let looked = |talk: &super::talk::Talk<'_>, bytes: usize| {
        let mut buffer = vec![0; bytes];
        let got = rustix::net::recv(talk.receiver(), &mut buffer[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        match got {
            Ok((got, _)) if buffer[..got] == talk.content(talk.at(), got) => format!("{got} right bytes"),
            Ok((got, _)) => format!("{got} wrong bytes"),
            Err(errno) => errno.to_string(),
        }
    };
    table.expect(
        "a page and a half",
        looked(&talk, page + page / 2),
        format!("{} right bytes", page + page / 2),
    );
    let two = Answer { length: number(2 * page), inq: number(2 * page), ..NOTHING };
    table.answer("two pages", &talk.ask(&Request::to(&area, 0, 2 * page)), &Ok(two));
    table.expect("the rest", looked(&talk, 4 * page), format!("{} right bytes", 2 * page));
    table.answer("it", &talk.ask(&Request::to(&area, 2 * page, 2 * page)), &Ok(mapped(2 * page)));
    table.expect("the data", talk.look(&area, 0, 4 * page, begin), "right");
    table.expect("nothing is left", looked(&talk, 1), Errno::AGAIN.to_string());
    Ok(())
}

/// Throws data away without copying it.
fn truncate(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 4)?;
    talk.send_pages(4)?;
    let mut unused = vec![0; page];
    let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
    let got = rustix::net::recv(talk.receiver(), &mut unused[..], flags).map(|(got, _)| got);
    table.same("recv", &got, &Ok(page));
    talk.took(page);
    let begin = talk.at();
    table.answer("the others", &talk.ask(&Request::to(&area, 0, 4 * page)), &Ok(mapped(3 * page)));
    table.expect("their data", talk.look(&area, 0, 3 * page, begin), "right");
    Ok(())
}

/// Mapping stops at the mark, and cannot go beyond it: only `recv` can.
fn urgent(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 4)?;
    talk.send_pages(2)?;
    let begin = talk.at();
    talk.send_urgent()?;
    talk.send_behind_urgent(2)?;
    let request = Request::to(&area, 0, 4 * page);
    // inq goes on to the end, and counts the urgent byte.
    let left = number(2 * page + 1);
    let expected = Answer { length: number(2 * page), inq: left, ..NOTHING };
    table.answer("up to the mark", &talk.ask(&request), &Ok(expected));
    table.expect("its data", talk.look(&area, 0, 2 * page, begin), "right");
    table.answer("at the mark", &talk.ask(&request), &Ok(Answer { inq: left, ..NOTHING }));
    let copy = anonymous(1)?;
    let room = Some(Room { area: &copy, offset: 0, len: page });
    let with_room = Request { copy: room, ..request };
    table.answer("at the mark, with room", &talk.ask(&with_room), &Ok(Answer { inq: left, ..NOTHING }));
    let mut byte = [0];
    let flags = RecvFlags::OOB | RecvFlags::DONTWAIT;
    let got = rustix::net::recv(talk.receiver(), &mut byte[..], flags).map(|(got, _)| got);
    table.same("the urgent byte", &(got, byte[0] == talk.content(talk.at(), 1)[0]), &(Ok(1), true));
    // Leaves the urgent byte out.
    talk.took(1);
    talk.recv(page)?;
    let begin = talk.at();
    table.answer("behind it", &talk.ask(&Request::to(&area, 2 * page, 2 * page)), &Ok(mapped(page)));
    table.expect("its data", talk.look(&area, 2 * page, page, begin), "right");
    Ok(())
}

fn urgent_inline(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 4)?;
    rustix::net::sockopt::set_socket_oobinline(talk.receiver(), true)
        .map_err(|errno| Stop::Error(format!("setsockopt SO_OOBINLINE: {errno}")))?;
    talk.send_pages(2)?;
    let begin = talk.at();
    talk.send_flags(1, SendFlags::OOB)?;
    talk.send_pages(1)?;
    let request = Request::to(&area, 0, 4 * page);
    let expected = Answer { length: number(2 * page), skip: 1, inq: number(page + 1), ..NOTHING };
    table.answer("two pages, the byte, a page", &talk.ask(&request), &Ok(expected));
    table.expect("the two", talk.look(&area, 0, 2 * page, begin), "right");
    talk.recv(1)?;
    let begin = talk.at();
    table.answer("behind it", &talk.ask(&Request::to(&area, 2 * page, page)), &Ok(mapped(page)));
    table.expect("its data", talk.look(&area, 2 * page, page, begin), "right");
    Ok(())
}
