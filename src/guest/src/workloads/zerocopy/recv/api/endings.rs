//! How a connection and a mapping end: FIN, RST, close, fork.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{RecvFlags, sockopt};

use super::super::super::child::{Child, close_in_child};
use super::super::super::memory::page_size;
use super::super::super::patience::Patience;
use super::super::super::table::Table;
use super::super::bench::{Bench, NOTHING, Row, anonymous, mapped, number, skip, window};
use super::super::sys::{Answer, Request};
use super::super::touch::{NO_PAGE, Touch, touch};
use crate::context::Stop;

pub(super) const ROWS: &[Row] = &[
    ("FIN", fin),
    ("data and FIN", data_and_fin),
    ("RST", reset),
    ("close with a live mapping", close),
    ("pages of a closed connection", outlive),
    ("fork with a mapping", fork),
    ("a mapping that a child inherits", inherit),
];

fn fin(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.fresh()?;
    let area = window(talk.receiver(), 1)?;
    let request = Request::to(&area, 0, page_size());
    talk.finish()?;
    for time in ["once", "twice"] {
        table.answer(time, &talk.ask(&request), &Err(Errno::IO));
    }
    // Whether there is a mapping is not asked.
    let nowhere = Request { length: number(page_size()), ..Request::default() };
    table.answer("without a mapping", &talk.ask(&nowhere), &Err(Errno::IO));
    let received = rustix::net::recv(talk.receiver(), &mut [0; 1], RecvFlags::DONTWAIT).map(|(got, _)| got);
    table.same("recv", &received, &Ok(0));
    Ok(())
}

fn data_and_fin(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.fresh()?;
    let area = window(talk.receiver(), 4)?;
    let request = Request::to(&area, 0, 4 * page);
    talk.send(10)?;
    talk.finish()?;
    // The FIN has a place in the stream, so it counts.
    let expected = Answer { skip: 10, inq: 11, ..NOTHING };
    table.answer("10 bytes", &talk.ask(&request), &Ok(expected));
    talk.recv(10)?;
    table.answer("10 bytes, read", &talk.ask(&request), &Err(Errno::IO));

    let mut talk = bench.talk()?;
    talk.send_pages(2)?;
    talk.finish()?;
    let begin = talk.at();
    let expected = Answer { inq: 1, ..mapped(2 * page) };
    table.answer("two pages", &talk.ask(&request), &Ok(expected));
    table.expect("their data", talk.look(&area, 0, 2 * page, begin), "right");
    table.answer("two pages, mapped", &talk.ask(&request), &Err(Errno::IO));
    table.expect("their data at the end", talk.look(&area, 0, 2 * page, begin), "right");
    Ok(())
}

fn reset(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    for queued in [0, 100] {
        let mut talk = bench.fresh()?;
        talk.send(queued)?;
        let (sender, receiver) = talk.into_ends();
        let area = window(receiver.as_fd(), 1)?;
        reset_and_wait(bench.patience, sender, &receiver)?;
        let request = Request::to(&area, 0, page);
        let first = Answer { err: -libc::ECONNRESET, ..skip_or_nothing(queued) };
        table.answer(format!("{queued} bytes queued"), &request.ask(receiver.as_fd()), &Ok(first));
        table.answer(
            format!("{queued} bytes queued, again"),
            &request.ask(receiver.as_fd()),
            &Ok(skip_or_nothing(queued)),
        );
    }
    // A structure without the field leaves the error to others.
    let talk = bench.fresh()?;
    let (sender, receiver) = talk.into_ends();
    let (area, buffer) = (window(receiver.as_fd(), 1)?, anonymous(1)?);
    reset_and_wait(bench.patience, sender, &receiver)?;
    table.same("optlen 20", &Request::to(&area, 0, page).ask_sized(receiver.as_fd(), 20, &buffer), &Ok(20));
    let error =
        sockopt::socket_error(&receiver).map_err(|errno| Stop::Error(format!("SO_ERROR: {errno}")))?;
    table.call("SO_ERROR after that", &error, Err(Errno::CONNRESET));
    Ok(())
}

fn skip_or_nothing(queued: usize) -> Answer {
    if queued == 0 { NOTHING } else { skip(queued) }
}

/// Closes one end so that it sends an RST, and waits until the other has it.
pub(super) fn reset_and_wait(
    patience: Patience<'_>,
    sender: OwnedFd,
    receiver: &OwnedFd,
) -> Result<(), Stop> {
    sockopt::set_socket_linger(&sender, Some(Duration::ZERO))
        .map_err(|errno| Stop::Error(format!("setsockopt SO_LINGER: {errno}")))?;
    drop(sender);
    patience.wait(receiver.as_fd(), PollFlags::empty(), || "the RST of the peer".into()).map(drop)
}

/// What `poll` says of a socket now.
fn now(socket: impl AsFd) -> Result<PollFlags, Stop> {
    let mut files = [PollFd::new(&socket, PollFlags::IN | PollFlags::RDHUP)];
    poll(&mut files, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
        .map_err(|errno| Stop::Error(format!("poll: {errno}")))?;
    Ok(files[0].revents())
}

/// Once round the path: whatever was sent before has arrived then, on this CPU
/// and in this order.
fn round(bench: &Bench<'_>) -> Result<(), Stop> {
    let mut talk = bench.fresh()?;
    talk.send(1)?;
    talk.recv(1)?;
    talk.finish()
}

fn close(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 2)?;
    talk.send_pages(1)?;
    let answer = talk.ask(&Request::to(&area, 0, 2 * page_size()));
    table.answer("a page", &answer, &Ok(mapped(page_size())));
    let half = window(talk.receiver(), 1)?;
    let expected = talk.content(talk.at() - page_size() as u64, page_size());
    let (sender, receiver) = talk.into_ends();
    drop(receiver);
    round(bench)?;
    table.same("the peer after close", &now(&sender)?, &PollFlags::empty());
    half.unmap().map_err(|errno| Stop::Fail(format!("munmap: {errno}")))?;
    round(bench)?;
    table.same("the peer after munmap of one of two mappings", &now(&sender)?, &PollFlags::empty());
    table.same("the page is right", &(area.copy(0, page_size()) == Ok(Some(expected))), &true);
    area.unmap().map_err(|errno| Stop::Fail(format!("munmap: {errno}")))?;
    bench.patience.wait(sender.as_fd(), PollFlags::RDHUP, || {
        "the FIN of a socket whose descriptor is closed and whose last mapping is gone".into()
    })?;
    table.same("the peer after munmap of both", &now(&sender)?, &(PollFlags::IN | PollFlags::RDHUP));
    Ok(())
}

/// Pages belong to whoever maps them, not to the connection they came by.
fn outlive(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let (mut talk, other) = (bench.talk()?, bench.other_talk()?);
    let area = window(other.receiver(), 4)?;
    talk.send_pages(4)?;
    let expected = talk.content(talk.at(), 4 * page);
    table.answer("four pages", &talk.ask(&Request::to(&area, 0, 4 * page)), &Ok(mapped(4 * page)));
    drop(talk);
    // Freed pages would be given to others by now.
    for _ in 0..4 {
        let mut more = bench.other_talk()?;
        more.send_pages(16)?;
        more.drain()?;
    }
    table.same("pages there", &area.populated(), &Ok(vec![true; 4]));
    table.same("their data is right", &(area.copy(0, 4 * page) == Ok(Some(expected))), &true);
    Ok(())
}

fn fork(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let page = page_size();
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 3)?;
    talk.send_pages(2)?;
    let begin = talk.at();
    table.answer("two pages", &talk.ask(&Request::to(&area, 0, 3 * page)), &Ok(mapped(2 * page)));
    // The child has the pages too; what it does with its own does not matter.
    let child = Child::run(|_| {
        let right = talk.look(&area, 0, 2 * page, begin) == "right";
        let gone = area.discard(0, 2) == Ok(()) && area.populated() == Ok(vec![false; 3]);
        Ok(i32::from(!right) | i32::from(!gone) << 1)
    })?;
    let status = child.wait(bench.patience, "the end of a child that discards what is mapped")?;
    table.same("in the child: 1 wrong data, 2 MADV_DONTNEED", &status.exit_status(), &Some(0));
    table.expect("in the parent", talk.look(&area, 0, 2 * page, begin), "right");
    table.same("a load behind them", &touch(area.at(2 * page), Touch::Read, bench.patience)?, &NO_PAGE);
    // The child receives, into its own mapping, from the common socket.
    talk.send_pages(1)?;
    let third = talk.at();
    let child = Child::run(|_| {
        let answer = Request::to(&area, 0, page).ask(talk.receiver());
        let right = talk.look(&area, 0, page, third) == "right";
        Ok(i32::from(answer != Ok(mapped(page))) | i32::from(!right) << 1)
    })?;
    let status = child.wait(bench.patience, "the end of a child that receives")?;
    table.same("received in the child: 1 answer, 2 data", &status.exit_status(), &Some(0));
    talk.took(page);
    table.expect("in the parent then", talk.look(&area, 0, 2 * page, begin), "right");
    talk.send_pages(1)?;
    let fourth = talk.at();
    table.answer("received in the parent", &talk.ask(&Request::to(&area, 0, page)), &Ok(mapped(page)));
    table.expect("its data", talk.look(&area, 0, page, fourth), "right");
    Ok(())
}

/// A mapping in a child keeps the socket as its own would.
fn inherit(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let talk = bench.fresh()?;
    let area = window(talk.receiver(), 1)?;
    let (sender, receiver) = talk.into_ends();
    let (wait, go) = rustix::pipe::pipe().map_err(|errno| Stop::Error(format!("pipe: {errno}")))?;
    let (raw_go, raw_receiver, raw_sender) = (&go, &receiver, &sender);
    let mut child = Child::run(|voice| {
        // Keeps nothing but the mapping.
        close_in_child(raw_go);
        close_in_child(raw_receiver);
        close_in_child(raw_sender);
        voice.done();
        Ok(i32::from(retry_on_intr(|| rustix::io::read(&wait, &mut [0; 1])) != Ok(1)))
    })?;
    // Before that its descriptors would keep the connection, whatever becomes of the
    // mapping.
    child.hear(bench.patience, "closed its descriptors")?;
    drop(receiver);
    area.unmap().map_err(|errno| Stop::Fail(format!("munmap: {errno}")))?;
    round(bench)?;
    table.same("the peer while the child has it", &now(&sender)?, &PollFlags::empty());
    rustix::io::write(&go, &[1]).map_err(|errno| Stop::Error(format!("write: {errno}")))?;
    let status = child.wait(bench.patience, "the end of a child with a mapping")?;
    table.same("the child", &status.exit_status(), &Some(0));
    bench.patience.wait(sender.as_fd(), PollFlags::RDHUP, || "the FIN when the child is gone".into())?;
    Ok(())
}
