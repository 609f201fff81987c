//! The structure of a request: its sizes, its reserved parts, where its
//! pointers may lead, and which sockets take it.

use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::mm::ProtFlags;

use super::super::super::memory::page_size;
use super::super::super::sys as plain;
use super::super::super::table::Table;
use super::super::bench::{Bench, NOTHING, Row, anonymous, mapped, number, skip, window};
use super::super::sys::{Answer, Area, Request, Room, ask_at};
use crate::context::Stop;

pub(super) const ROWS: &[Row] = &[
    ("optlen", sizes),
    ("optlen with a page queued", sizes_with_data),
    ("reserved parts", reserved),
    ("alignment", alignment),
    ("bad pointers", pointers),
    ("bad places to copy to", bad_copies),
    ("other sockets", sockets),
];

/// Size of the structure since 5.12.
const SIZE: usize = 64;
/// `address` and `length`, the least that is taken.
const LEAST: usize = 12;
/// What stands behind the structure, to see what is overwritten.
const CANARY: u8 = 0xa5;

fn sizes(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let talk = bench.fresh()?;
    let area = window(talk.receiver(), 1)?;
    let request = Request::to(&area, 0, page_size());
    let buffer = anonymous(2)?;
    let socket = talk.receiver();
    for len in [i32::MIN, -1].into_iter().chain(0..LEAST as i32) {
        table.call(format!("{len}"), &request.ask_sized(socket, len, &buffer), Err(Errno::INVAL));
    }
    for len in LEAST as i32..=SIZE as i32 {
        let given = request.ask_sized(socket, len, &buffer);
        table.same(format!("{len}, and what it is then"), &given, &Ok(len));
    }
    for len in [SIZE + 1, SIZE + 4, 2 * SIZE, 2 * page_size()] {
        buffer.write(SIZE, &vec![0; 2 * page_size() - SIZE]);
        let given = request.ask_sized(socket, len as i32, &buffer);
        table.same(format!("{len} with zeros behind the structure"), &given, &Ok(SIZE as i32));
        for wrong in [SIZE, len - 1] {
            buffer.write(SIZE, &vec![0; 2 * page_size() - SIZE]);
            buffer.write(wrong, &[1]);
            let given = request.ask_sized(socket, len as i32, &buffer);
            table.call(format!("{len} with a 1 at {wrong}"), &given, Err(Errno::INVAL));
        }
    }
    Ok(())
}

/// The kernel writes as much as it was told to, and the fields that are in it.
fn sizes_with_data(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    const FIELDS: [usize; 10] = [LEAST, 16, 20, 24, 32, 36, 40, 48, 56, SIZE];
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 1)?;
    let buffer = anonymous(1)?;
    for size in FIELDS {
        talk.send_pages(1)?;
        talk.splice(&[100])?;
        let begin = talk.at();
        buffer.write(0, &[CANARY; 2 * SIZE]);
        let request = Request::to(&area, 0, page_size());
        let given = request.ask_sized(talk.receiver(), size as i32, &buffer);
        talk.took(page_size());
        table.same(format!("{size}"), &given, &Ok(size as i32));
        table.expect(format!("{size}: the page"), talk.look(&area, 0, page_size(), begin), "right");
        let mut found = [0; 2 * SIZE];
        buffer.read(0, &mut found);
        let word = |at: usize| u32::from_le_bytes([found[at], found[at + 1], found[at + 2], found[at + 3]]);
        table.same(format!("{size}: length"), &word(8), &number(page_size()));
        if size >= 20 {
            table.same(format!("{size}: inq"), &word(16), &100);
        }
        let mut expected = [CANARY; 2 * SIZE];
        request.put(&buffer, 0);
        buffer.read(0, &mut expected[..SIZE]);
        let untouched = found[size..] == expected[size..];
        table.same(format!("{size}: what is behind is left alone"), &untouched, &true);
        talk.recv(100)?;
    }
    Ok(())
}

fn reserved(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 1)?;
    let request = Request::to(&area, 0, page_size());
    for reserved in [1, 0x8000_0000, u32::MAX] {
        let answer = talk.ask(&Request { reserved, ..request });
        table.answer(format!("reserved {reserved:#x}"), &answer, &Err(Errno::INVAL));
    }
    // TCP_CMSG_INQ, which belongs to recvmsg, then anything.
    for msg_flags in [1, 3, 4, 0x8000_0000, u32::MAX] {
        let answer = talk.ask(&Request { msg_flags, ..request });
        table.answer(format!("msg_flags {msg_flags:#x}"), &answer, &Err(Errno::INVAL));
    }
    let answer = talk.ask(&Request { msg_flags: 2, ..request });
    table.answer("msg_flags TCP_CMSG_TS without time stamps", &answer, &Ok(NOTHING));
    for flags in [2, 0xffff_fffe, u32::MAX] {
        let answer = talk.ask(&Request { flags, ..request });
        table.answer(format!("flags {flags:#x} with nothing queued"), &answer, &Ok(NOTHING));
        talk.send_pages(1)?;
        let begin = talk.at();
        let answer = talk.ask(&Request { flags, ..request });
        table.answer(format!("flags {flags:#x} with a page"), &answer, &Ok(mapped(page_size())));
        table.expect(format!("flags {flags:#x}: the page"), talk.look(&area, 0, page_size(), begin), "right");
    }
    Ok(())
}

fn alignment(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 4)?;
    for queued in ["nothing", "two pages"] {
        for offset in [1, 8, 2048, page_size() - 1, page_size() + 1] {
            let answer = talk.ask(&Request::to(&area, offset, 2 * page_size()));
            table.answer(format!("{offset} with {queued} queued"), &answer, &Err(Errno::INVAL));
        }
        if queued == "nothing" {
            talk.send_pages(2)?;
        }
    }
    table.same("pages there", &area.populated(), &Ok(vec![false; 4]));
    talk.drain()
}

fn pointers(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 1)?;
    let request = Request::to(&area, 0, page_size());
    let page = page_size();
    let buffer = anonymous(3)?;
    // The structure, its length, and what cannot be read.
    let (value, len) = (0, page - 4);
    buffer.write(len, &(SIZE as i32).to_ne_bytes());
    request.put(&buffer, value);
    buffer.protect(1, 1, ProtFlags::empty()).map_err(|errno| Stop::Error(format!("mprotect: {errno}")))?;
    let mut expect = |what: &str, value, len, expected| {
        table.call(what, &ask_at(talk.receiver(), value, len), expected);
    };
    let (good_value, good_len) = (Some((&buffer, value)), Some((&buffer, len)));
    let bad = Some((&buffer, page));
    expect("none is bad", good_value, good_len, Ok(()));
    expect("optval is null", None, good_len, Err(Errno::FAULT));
    expect("optlen is null", good_value, None, Err(Errno::FAULT));
    expect("optval cannot be read", bad, good_len, Err(Errno::FAULT));
    expect("optlen cannot be read", good_value, bad, Err(Errno::FAULT));
    request.put(&buffer, page - 4 - SIZE);
    expect("the structure ends before the hole", Some((&buffer, page - 4 - SIZE)), good_len, Ok(()));
    expect("the structure lies across the hole", Some((&buffer, page - 8)), good_len, Err(Errno::FAULT));
    // Longer than the structure: the kernel looks for zeros in the hole.
    request.put(&buffer, page - SIZE);
    buffer.write(0, &(SIZE as i32 + 8).to_ne_bytes());
    expect("zeros cannot be looked for", Some((&buffer, page - SIZE)), Some((&buffer, 0)), Err(Errno::FAULT));
    // May be read, not written.
    request.put(&buffer, 2 * page);
    buffer.protect(2, 1, ProtFlags::READ).map_err(|errno| Stop::Error(format!("mprotect: {errno}")))?;
    buffer.write(0, &(SIZE as i32).to_ne_bytes());
    expect("optval cannot be written", Some((&buffer, 2 * page)), Some((&buffer, 0)), Err(Errno::FAULT));
    talk.send_pages(1)?;
    let begin = talk.at();
    let answer = talk.ask(&request);
    table.answer("a page after all that", &answer, &Ok(mapped(page)));
    table.expect("its data", talk.look(&area, 0, page, begin), "right");
    Ok(())
}

fn bad_copies(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    const EFAULT: i32 = -libc::EFAULT;
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 2)?;
    let hole = anonymous(1)?;
    hole.protect(0, 1, ProtFlags::empty()).map_err(|errno| Stop::Error(format!("mprotect: {errno}")))?;
    let copy = Some(Room { area: &hole, offset: 0, len: page });
    talk.send(100)?;
    let answer = talk.ask(&Request { copy, ..Request::to(&area, 0, page) });
    table.answer("100 bytes", &answer, &Err(Errno::FAULT));
    table.answer("100 bytes, without", &talk.ask(&Request::to(&area, 0, page)), &Ok(skip(100)));
    talk.recv(100)?;
    // A page is mapped, and what follows it cannot be copied.
    talk.splice(&[page, 100])?;
    let begin = talk.at();
    let answer = talk.ask(&Request { copy, ..Request::to(&area, 0, page) });
    // What the kernel leaves in the field for bytes is its error.
    let expected = Answer { length: number(page), inq: 100, copied: EFAULT, ..NOTHING };
    table.answer("a page and 100 bytes", &answer, &Ok(expected));
    table.expect("the page", talk.look(&area, 0, page, begin), "right");
    talk.recv(100)?;
    // The socket itself cannot be written to.
    let copy = Some(Room { area: &area, offset: 0, len: page });
    talk.send(100)?;
    let answer = talk.ask(&Request { copy, ..Request::to(&area, page, page) });
    table.answer("100 bytes into a mapping of the socket", &answer, &Err(Errno::FAULT));
    table.expect("the page that is there", talk.look(&area, 0, page, begin), "right");
    talk.recv(100)
}

fn sockets(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let talk = bench.fresh()?;
    let area = window(talk.receiver(), 1)?;
    let request = Request::to(&area, 0, page_size());
    let fresh = bench.place.socket()?;
    table.answer("never connected", &request.ask(fresh.as_fd()), &Ok(NOTHING));
    let (listener, _) = bench.place.listen(1 << 20)?;
    table.answer("LISTEN", &request.ask(listener.as_fd()), &Err(Errno::NOTCONN));
    let unaligned = Request { address: request.address + 1, ..request };
    table.answer("LISTEN, unaligned", &unaligned.ask(listener.as_fd()), &Err(Errno::INVAL));
    let own = Area::window(listener.as_fd(), 1).map_err(|errno| Stop::Fail(format!("mmap: {errno}")))?;
    let to_own = Request::to(&own, 0, page_size());
    table.answer("LISTEN, its own mapping", &to_own.ask(listener.as_fd()), &Err(Errno::NOTCONN));
    let datagrams = bench.place.datagram_socket()?;
    let udp = match bench.place.family() {
        super::Family::Ipv4 => Errno::OPNOTSUPP,
        super::Family::Ipv6 => Errno::NOPROTOOPT,
    };
    table.answer("UDP", &request.ask(datagrams.as_fd()), &Err(udp));
    let set = plain::set_option(
        std::os::fd::AsRawFd::as_raw_fd(&talk.receiver()),
        libc::IPPROTO_TCP,
        libc::TCP_ZEROCOPY_RECEIVE,
        0,
    );
    table.call("setsockopt", &set, Err(Errno::NOPROTOOPT));
    Ok(())
}
