//! When the receiver is woken: `SO_RCVLOWAT`, `poll`, and edges of `epoll`.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::super::super::memory::page_size;
use super::super::super::sys as plain;
use super::super::super::table::Table;
use super::super::bench::{Bench, NOTHING, Row, mapped, number, window};
use super::super::sys::{Answer, Request};
use crate::context::Stop;

pub(super) const ROWS: &[Row] =
    &[("SO_RCVLOWAT", low_water), ("SO_RCVLOWAT and FIN", low_water_fin), ("EPOLLET", edges)];

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

fn set_low_water(socket: BorrowedFd<'_>, bytes: usize) -> Result<(), Stop> {
    let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
    plain::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVLOWAT, bytes)
        .map_err(|errno| Stop::Fail(format!("setsockopt SO_RCVLOWAT to `{bytes}`: {errno}")))
}

fn readable(socket: BorrowedFd<'_>) -> Result<PollFlags, Stop> {
    let mut files = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
    poll(&mut files, Some(&NOW)).map_err(|errno| Stop::Error(format!("poll: {errno}")))?;
    Ok(files[0].revents())
}

/// `poll` tells when so much is queued; mapping takes what is there.
fn low_water(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 4)?;
    let request = Request::to(&area, 0, 4 * page);
    set_low_water(talk.receiver(), 3 * page)?;
    talk.send_pages_quietly(2)?;
    table.same("two pages of three", &readable(talk.receiver())?, &PollFlags::empty());
    talk.send_pages(1)?;
    table.same("three of three", &readable(talk.receiver())?, &PollFlags::IN);
    let one = Answer { length: number(page), inq: number(2 * page), ..NOTHING };
    let begin = talk.at();
    table.answer("one page", &talk.ask(&Request::to(&area, 0, page)), &Ok(one));
    table.same("two are left", &readable(talk.receiver())?, &PollFlags::empty());
    table.answer(
        "what is below the mark",
        &talk.ask(&Request::to(&area, page, 3 * page)),
        &Ok(mapped(2 * page)),
    );
    table.expect("the data", talk.look(&area, 0, 3 * page, begin), "right");
    table.answer("nothing is left", &talk.ask(&request), &Ok(NOTHING));
    Ok(())
}

/// The end of the stream is told, however little is queued.
fn low_water_fin(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 4)?;
    set_low_water(talk.receiver(), 3 * page)?;
    talk.send_pages_quietly(1)?;
    table.same("a page of three", &readable(talk.receiver())?, &PollFlags::empty());
    talk.finish()?;
    table.same("and the FIN", &readable(talk.receiver())?, &PollFlags::IN);
    let last = Answer { inq: 1, ..mapped(page) };
    table.answer("the page", &talk.ask(&Request::to(&area, 0, 4 * page)), &Ok(last));
    Ok(())
}

/// One event for data that comes, none for data that stays.
fn edges(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 8)?;
    let failed = |errno| Stop::Error(format!("epoll: {errno}"));
    let queue = epoll::create(CreateFlags::CLOEXEC).map_err(failed)?;
    let flags = EventFlags::IN | EventFlags::ET;
    epoll::add(&queue, talk.receiver(), EventData::new_u64(7), flags).map_err(failed)?;
    let events = || -> Result<usize, Stop> {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 4];
        epoll::wait(&queue, &mut events[..], Some(&NOW)).map_err(failed)
    };
    table.same("before data", &events()?, &0);
    talk.send_pages(4)?;
    table.same("when it came", &events()?, &1);
    table.same("again", &events()?, &0);
    let two = Answer { length: number(2 * page), inq: number(2 * page), ..NOTHING };
    table.answer("two of four pages", &talk.ask(&Request::to(&area, 0, 2 * page)), &Ok(two));
    table.same("with two left", &events()?, &0);
    talk.send_pages(1)?;
    table.same("when one more came", &events()?, &1);
    table.answer("the three", &talk.ask(&Request::to(&area, 2 * page, 6 * page)), &Ok(mapped(3 * page)));
    table.same("when all is mapped", &events()?, &0);
    talk.send_pages(1)?;
    table.same("when one came to an empty queue", &events()?, &1);
    talk.finish()?;
    table.same("when the FIN came", &events()?, &1);
    Ok(())
}
