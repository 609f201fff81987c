//! What may be mapped, with which rights, and what happens to who touches it.

use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::os::fd::AsFd;

use super::super::super::memory::page_size;
use super::super::super::table::Table;
use super::super::bench::{Bench, Row, anonymous, mapped, window};
use super::super::sys::{Area, Request};
use super::super::touch::{FORBIDDEN, NO_PAGE, NOTHING_MAPPED, Touch, Touched, touch};
use crate::context::Stop;

pub(super) const ROWS: &[Row] = &[
    ("mmap", rights),
    ("mprotect", protect),
    ("mmap of other sockets", other_sockets),
    ("an untouched mapping", untouched),
    ("a mapped page", touched),
    ("mremap", remap),
    ("MADV_DONTNEED", discard),
    ("a private mapping", private),
];

fn rights(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let talk = bench.fresh()?;
    let (read, write, exec) = (ProtFlags::READ, ProtFlags::WRITE, ProtFlags::EXEC);
    for (name, sharing) in [("shared", MapFlags::SHARED), ("private", MapFlags::PRIVATE)] {
        let mut expect = |what: &str, access, expected| {
            let area = Area::of(talk.receiver(), 1, access, sharing);
            table.call(format!("{name}, {what}"), &area, expected);
        };
        expect("read", read, Ok(()));
        expect("nothing", ProtFlags::empty(), Ok(()));
        expect("write", write, Err(Errno::PERM));
        expect("read and write", read | write, Err(Errno::PERM));
        expect("execute", exec, Err(Errno::PERM));
        expect("read and execute", read | exec, Err(Errno::PERM));
    }
    // The state of the socket does not matter.
    let unconnected = bench.place.socket()?;
    table.call("a socket that was never connected", &Area::window(unconnected.as_fd(), 1), Ok(()));
    let (listener, _) = bench.place.listen(1 << 20)?;
    table.call("a socket that listens", &Area::window(listener.as_fd(), 1), Ok(()));
    Ok(())
}

fn protect(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let talk = bench.fresh()?;
    let (read, write, exec) = (ProtFlags::READ, ProtFlags::WRITE, ProtFlags::EXEC);
    for (name, sharing) in [("shared", MapFlags::SHARED), ("private", MapFlags::PRIVATE)] {
        let area = Area::of(talk.receiver(), 2, read, sharing)
            .map_err(|errno| Stop::Fail(format!("{name} mmap to read: {errno}")))?;
        let mut expect = |what: &str, access, expected| {
            table.call(format!("{name}, {what}"), &area.protect(0, 1, access), expected);
        };
        expect("write", write, Err(Errno::ACCESS));
        expect("read and write", read | write, Err(Errno::ACCESS));
        expect("execute", exec, Err(Errno::ACCESS));
        expect("read and execute", read | exec, Err(Errno::ACCESS));
        expect("nothing", ProtFlags::empty(), Ok(()));
        expect("read again", read, Ok(()));
    }
    Ok(())
}

fn other_sockets(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let datagrams = bench.place.datagram_socket()?;
    table.call("UDP", &Area::window(datagrams.as_fd(), 1), Err(Errno::NODEV));
    let local = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Stop::Error(format!("a UNIX socket: {errno}")))?;
    table.call("UNIX", &Area::window(local.as_fd(), 1), Err(Errno::NODEV));
    Ok(())
}

fn untouched(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let talk = bench.fresh()?;
    let area = window(talk.receiver(), 2)?;
    table.same("pages there", &area.populated(), &Ok(vec![false; 2]));
    table.same("a load", &touch(area.at(0), Touch::Read, bench.patience)?, &NO_PAGE);
    table.same(
        "a load of the last byte",
        &touch(area.at(2 * page_size() - 1), Touch::Read, bench.patience)?,
        &NO_PAGE,
    );
    table.same("a store", &touch(area.at(0), Touch::Write, bench.patience)?, &FORBIDDEN);
    // The kernel gets an error where a program gets a signal.
    let (_reader, writer) = rustix::pipe::pipe().map_err(|errno| Stop::Error(format!("pipe: {errno}")))?;
    table.call("write() from it", &area.write_out(writer.as_fd(), 0, 16), Err(Errno::FAULT));
    Ok(())
}

fn touched(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 3)?;
    talk.send_pages(2)?;
    let answer = talk.ask(&Request::to(&area, 0, 2 * page_size()));
    table.answer("two pages", &answer, &Ok(mapped(2 * page_size())));
    table.same("pages there", &area.populated(), &Ok(vec![true, true, false]));
    table.same("a load", &touch(area.at(0), Touch::Read, bench.patience)?, &Touched::Fine);
    table.same("a store", &touch(area.at(0), Touch::Write, bench.patience)?, &FORBIDDEN);
    table.same(
        "a store to the last byte",
        &touch(area.at(2 * page_size() - 1), Touch::Write, bench.patience)?,
        &FORBIDDEN,
    );
    table.same(
        "a load behind them",
        &touch(area.at(2 * page_size()), Touch::Read, bench.patience)?,
        &NO_PAGE,
    );
    table.expect(
        "its data after all that",
        talk.look(&area, 0, 2 * page_size(), talk.at() - 2 * page_size() as u64),
        "right",
    );
    area.protect(0, 1, ProtFlags::empty()).map_err(|errno| Stop::Fail(format!("mprotect: {errno}")))?;
    table.same("a load from PROT_NONE", &touch(area.at(0), Touch::Read, bench.patience)?, &FORBIDDEN);
    area.protect(0, 1, ProtFlags::READ).map_err(|errno| Stop::Fail(format!("mprotect: {errno}")))?;
    table.expect(
        "and when it may be read again",
        talk.look(&area, 0, 2 * page_size(), talk.at() - 2 * page_size() as u64),
        "right",
    );
    Ok(())
}

fn remap(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let mut area = window(talk.receiver(), 4)?;
    talk.send_pages(4)?;
    let begin = talk.at();
    table.answer("four pages", &talk.ask(&Request::to(&area, 0, 4 * page)), &Ok(mapped(4 * page)));
    table.call("to half of it", &area.resize(2), Ok(()));
    table.expect("what is left", talk.look(&area, 0, 2 * page, begin), "right");
    let old = area.at(0);
    table.call("to another place", &area.move_over(anonymous(area.pages())?), Ok(()));
    table.expect("what travelled", talk.look(&area, 0, 2 * page, begin), "right");
    table.same("a load from the old place", &touch(old, Touch::Read, bench.patience)?, &NOTHING_MAPPED);
    table.same("a store to the new one", &touch(area.at(0), Touch::Write, bench.patience)?, &FORBIDDEN);
    table.call("its rights", &area.protect(0, 1, ProtFlags::READ | ProtFlags::WRITE), Err(Errno::ACCESS));
    talk.send_pages(2)?;
    let begin = talk.at();
    table.answer("two pages there", &talk.ask(&Request::to(&area, 0, 2 * page)), &Ok(mapped(2 * page)));
    table.expect("their data", talk.look(&area, 0, 2 * page, begin), "right");
    Ok(())
}

fn discard(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 4)?;
    talk.send_pages(4)?;
    let begin = talk.at();
    table.answer("four pages", &talk.ask(&Request::to(&area, 0, 4 * page)), &Ok(mapped(4 * page)));
    table.call("of the middle", &area.discard(1, 2), Ok(()));
    table.same("pages there", &area.populated(), &Ok(vec![true, false, false, true]));
    table.same("a load from the middle", &touch(area.at(page), Touch::Read, bench.patience)?, &NO_PAGE);
    table.expect("the first page", talk.look(&area, 0, page, begin), "right");
    table.expect("the last page", talk.look(&area, 3 * page, page, begin + 3 * page as u64), "right");
    talk.send_pages(2)?;
    let middle = talk.at();
    table.answer(
        "two pages into the gap",
        &talk.ask(&Request::to(&area, page, 2 * page)),
        &Ok(mapped(2 * page)),
    );
    table.expect("their data", talk.look(&area, page, 2 * page, middle), "right");
    table.expect("the first page then", talk.look(&area, 0, page, begin), "right");
    table.expect("the last page then", talk.look(&area, 3 * page, page, begin + 3 * page as u64), "right");
    Ok(())
}

fn private(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = Area::of(talk.receiver(), 2, ProtFlags::READ, MapFlags::PRIVATE)
        .map_err(|errno| Stop::Fail(format!("private mmap to read: {errno}")))?;
    talk.send_pages(2)?;
    let begin = talk.at();
    table.answer("two pages", &talk.ask(&Request::to(&area, 0, 2 * page)), &Ok(mapped(2 * page)));
    table.expect("their data", talk.look(&area, 0, 2 * page, begin), "right");
    table.same("a store", &touch(area.at(0), Touch::Write, bench.patience)?, &FORBIDDEN);
    Ok(())
}
