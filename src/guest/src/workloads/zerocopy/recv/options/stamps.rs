//! Time stamps, which come as control messages of a request.

use std::os::fd::AsRawFd;

use rustix::time::{ClockId, clock_gettime};

use super::super::super::memory::page_size;
use super::super::super::sys as plain;
use super::super::super::table::Table;
use super::super::answers::told;
use super::super::bench::{Bench, NOTHING, Row, anonymous, mapped, window};
use super::super::sys::{Answer, Area, Request, Room};
use super::super::talk::Talk;
use crate::context::Stop;

pub(super) const ROWS: &[Row] = &[
    ("SO_TIMESTAMPNS", |bench, table| stamped(bench, table, &NANOSECONDS)),
    ("SO_TIMESTAMPING", |bench, table| stamped(bench, table, &TIMESTAMPING)),
    ("no time stamps asked for", unstamped),
];

/// `TCP_CMSG_TS` (include/uapi/linux/tcp.h).
const WANT_STAMP: u32 = 2;
/// Room for control messages.
const ROOM: usize = 256;
/// Size of a `cmsghdr`.
const HEADER: usize = 16;
/// The kernel begins to stamp a moment after it was asked to
/// (`net_enable_timestamp()` leaves it to a worker); so many packets may pass.
const ATTEMPTS: usize = 1000;

struct Kind {
    option: i32,
    value: i32,
    /// Bytes behind the header: one `timespec`, or three.
    payload: usize,
}

const NANOSECONDS: Kind = Kind { option: libc::SO_TIMESTAMPNS, value: 1, payload: 16 };
const TIMESTAMPING: Kind = Kind {
    option: libc::SO_TIMESTAMPING,
    value: (libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE).cast_signed(),
    payload: 48,
};

fn ask_for(talk: &Talk<'_>, kind: &Kind, value: i32) -> Result<(), Stop> {
    plain::set_option(talk.receiver().as_raw_fd(), libc::SOL_SOCKET, kind.option, value)
        .map_err(|errno| Stop::Fail(format!("setsockopt of option {}: {errno}", kind.option)))
}

fn real_ns() -> i128 {
    let now = clock_gettime(ClockId::Realtime);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

fn number(area: &Area, offset: usize) -> i64 {
    let mut bytes = [0; 8];
    area.read(offset, &mut bytes);
    i64::from_ne_bytes(bytes)
}

fn stamped(bench: &Bench<'_>, table: &mut Table, kind: &Kind) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let (area, control) = (window(talk.receiver(), 2)?, anonymous(1)?);
    ask_for(&talk, kind, kind.value)?;
    let request = |len| Request {
        control: Some(Room { area: &control, offset: 0, len }),
        msg_flags: WANT_STAMP,
        ..Request::to(&area, 0, 2 * page)
    };
    let used = HEADER + kind.payload;
    let with = |len: usize| Answer { control: (len - used) as u64, ..mapped(page) };
    let mut found = None;
    for _ in 0..ATTEMPTS {
        let before = real_ns();
        talk.send_pages(1)?;
        let answer = talk.ask(&request(ROOM));
        let after = real_ns();
        // Without a stamp the room is what it was.
        if answer != Ok(Answer { control: ROOM as u64, ..mapped(page) }) {
            found = Some((before, answer, after));
            break;
        }
    }
    let Some((before, answer, after)) = found else {
        return Err(Stop::Fail(format!("none of {ATTEMPTS} packets has a time stamp")));
    };
    table.answer("a page with a stamp", &answer, &Ok(with(ROOM)));
    if answer == Ok(with(ROOM)) {
        let kind_word = i64::from(kind.option) << 32 | i64::from(libc::SOL_SOCKET);
        table.same("cmsg_len", &number(&control, 0), &(used as i64));
        table.same("cmsg_level and cmsg_type", &number(&control, 8), &kind_word);
        let stamp =
            i128::from(number(&control, HEADER)) * 1_000_000_000 + i128::from(number(&control, HEADER + 8));
        table.same("it is of the time between send and receive", &(before <= stamp && stamp <= after), &true);
    }
    // Into copybuf, and by the whole queue.
    let copy = anonymous(1)?;
    talk.send(100)?;
    let copied =
        talk.ask(&Request { copy: Some(Room { area: &copy, offset: 0, len: page }), ..request(ROOM) });
    table.expect(
        "100 bytes into copybuf",
        told(&copied),
        told(&Ok(Answer { copied: 100, control: (ROOM - used) as u64, ..NOTHING })),
    );
    // Room for less: the flag says so (MSG_CTRUNC).
    talk.send_pages(1)?;
    let cut = talk.ask(&request(HEADER - 1));
    let flag = libc::MSG_CTRUNC.cast_unsigned();
    let expected = Answer { msg_flags: flag, control: (HEADER - 1) as u64, ..mapped(page) };
    table.answer("no room", &cut, &Ok(expected));
    ask_for(&talk, kind, 0)
}

fn unstamped(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let (area, control) = (window(talk.receiver(), 1)?, anonymous(1)?);
    talk.send_pages(1)?;
    let request = Request {
        control: Some(Room { area: &control, offset: 0, len: ROOM }),
        msg_flags: WANT_STAMP,
        ..Request::to(&area, 0, page)
    };
    let expected = Answer { control: ROOM as u64, ..mapped(page) };
    table.answer("a page", &talk.ask(&request), &Ok(expected));
    table.same("the room", &number(&control, 0), &0);
    Ok(())
}
