//! What is mapped, copied or left to be read, depending on what is queued.

use rustix::io::Errno;

use super::super::super::memory::page_size;
use super::super::super::table::Table;
use super::super::bench::{Bench, NOTHING, Row, anonymous, mapped, number, skip, window};
use super::super::sys::{Answer, Area, CLEAN_HINT, Request, Room};
use super::super::talk::Talk;
use crate::context::Stop;

pub(super) const ROWS: &[Row] = &[
    ("less than a page", less_than_a_page),
    ("length", lengths),
    ("a foreign mapping", foreign),
    ("a mapping of another connection", of_another),
    ("the end of a mapping", end_of_mapping),
    ("copybuf", copies),
    ("copybuf behind pages", stragglers),
    ("data that cannot be mapped between pages", between),
    ("pages that are not whole", ragged),
    ("many pages", many),
    ("pages behind those mapped", behind),
    ("TLB_CLEAN_HINT", clean_hint),
];

fn less_than_a_page(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let area = window(talk.receiver(), 2)?;
    let request = Request::to(&area, 0, 2 * page_size());
    table.answer("nothing", &talk.ask(&request), &Ok(NOTHING));
    for bytes in [1, 100, page_size() - 1] {
        talk.send(bytes)?;
        table.answer(format!("{bytes} bytes"), &talk.ask(&request), &Ok(skip(bytes)));
        table.answer(format!("{bytes} bytes, again"), &talk.ask(&request), &Ok(skip(bytes)));
        talk.recv(bytes)?;
        table.answer(format!("{bytes} bytes, after recv"), &talk.ask(&request), &Ok(NOTHING));
    }
    table.same("pages there", &area.populated(), &Ok(vec![false; 2]));
    Ok(())
}

fn lengths(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 8)?;
    talk.send_pages(4)?;
    let queued = number(4 * page);
    for length in [0, 1, page - 1] {
        let expected = Answer { skip: number(length), inq: queued, ..NOTHING };
        table.answer(format!("{length}"), &talk.ask(&Request::to(&area, 0, length)), &Ok(expected));
    }
    table.same("pages there", &area.populated(), &Ok(vec![false; 8]));
    let begin = talk.at();
    let one = Answer { length: number(page), inq: queued - number(page), ..NOTHING };
    table.answer("a page and a half", &talk.ask(&Request::to(&area, 0, page + page / 2)), &Ok(one));
    table.same(
        "pages there",
        &area.populated().map(|pages| pages[..3].to_vec()),
        &Ok(vec![true, false, false]),
    );
    let more = Request { length: u32::MAX, ..Request::to(&area, page, 0) };
    table.answer("as much as can be said", &talk.ask(&more), &Ok(mapped(3 * page)));
    table.expect("the data", talk.look(&area, 0, 4 * page, begin), "right");
    let there = [true; 4].into_iter().chain([false; 4]).collect();
    table.same("pages there", &area.populated(), &Ok(there));
    Ok(())
}

fn foreign(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let memory = anonymous(2)?;
    memory.write(0, &[7; 16]);
    let area = window(talk.receiver(), 2)?;
    // The lowest pages can never be mapped (vm.mmap_min_addr).
    let places =
        [("memory", memory.at(0)), ("nowhere", page as u64), ("the end", area.at(2 * page)), ("0", 0)];
    let ask = |talk: &mut Talk<'_>, address| {
        talk.ask(&Request { address, length: number(page), ..Request::default() })
    };
    // Whether the mapping is one is asked only when there is a page to map.
    for (name, address) in places {
        table.answer(format!("{name}, nothing queued"), &ask(&mut talk, address), &Ok(NOTHING));
    }
    talk.send(100)?;
    for (name, address) in places {
        table.answer(format!("{name}, 100 bytes queued"), &ask(&mut talk, address), &Ok(skip(100)));
    }
    talk.recv(100)?;
    talk.send_pages(1)?;
    for (name, address) in places {
        if name == "the end" {
            // Another mapping may begin there.
            continue;
        }
        table.answer(format!("{name}, a page queued"), &ask(&mut talk, address), &Err(Errno::INVAL));
    }
    let mut kept = [0; 16];
    memory.read(0, &mut kept);
    table.same("the memory", &kept, &[7; 16]);
    let begin = talk.at();
    table.answer("the page after all that", &talk.ask(&Request::to(&area, 0, page)), &Ok(mapped(page)));
    table.expect("its data", talk.look(&area, 0, page, begin), "right");
    Ok(())
}

fn of_another(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let (mut one, mut other) = (bench.talk()?, bench.other_talk()?);
    let page = page_size();
    let area = window(one.receiver(), 4)?;
    one.send_pages(2)?;
    other.send_pages(2)?;
    let (first, second) = (one.at(), other.at());
    // Which socket it is of is not asked.
    table.answer("two pages of its own", &one.ask(&Request::to(&area, 0, 2 * page)), &Ok(mapped(2 * page)));
    table.answer(
        "two of another",
        &other.ask(&Request::to(&area, 2 * page, 2 * page)),
        &Ok(mapped(2 * page)),
    );
    table.expect("its own", one.look(&area, 0, 2 * page, first), "right");
    table.expect("those of the other", other.look(&area, 2 * page, 2 * page, second), "right");
    other.send_pages(1)?;
    let second = other.at();
    table.answer("one over its own", &other.ask(&Request::to(&area, page, page)), &Ok(mapped(page)));
    table.expect("the first", one.look(&area, 0, page, first), "right");
    table.expect("the one in its place", other.look(&area, page, page, second), "right");
    // Neither connection needs the other, nor do its pages.
    drop(one);
    table.expect("with the socket of the mapping closed", other.look(&area, page, page, second), "right");
    other.send_pages(1)?;
    let second = other.at();
    table.answer("one more", &other.ask(&Request::to(&area, 0, page)), &Ok(mapped(page)));
    table.expect("its data", other.look(&area, 0, page, second), "right");
    Ok(())
}

/// What is asked for ends where the mapping does, whatever follows.
fn end_of_mapping(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let (mut talk, other) = (bench.talk()?, bench.other_talk()?);
    let page = page_size();
    // One mapping, one of another socket, and memory.
    let area = anonymous(6)?;
    let place = |first, pages, socket| {
        area.replace(first, pages, socket).map_err(|errno| Stop::Fail(format!("mmap over memory: {errno}")))
    };
    place(0, 2, talk.receiver())?;
    place(2, 2, other.receiver())?;
    talk.send_pages(6)?;
    let begin = talk.at();
    let expected = Answer { length: number(2 * page), inq: number(4 * page), ..NOTHING };
    table.answer("six pages into two", &talk.ask(&Request::to(&area, 0, 6 * page)), &Ok(expected));
    table.same("pages there", &area.populated(), &Ok(vec![true, true, false, false, false, false]));
    let expected = Answer { length: number(page), inq: number(3 * page), ..NOTHING };
    table.answer("from its last page on", &talk.ask(&Request::to(&area, page, 6 * page)), &Ok(expected));
    table.same("pages there", &area.populated(), &Ok(vec![true, true, false, false, false, false]));
    table.expect("the first", talk.look(&area, 0, page, begin), "right");
    table.expect("the last", talk.look(&area, page, page, begin + 2 * page as u64), "right");
    talk.drain()
}

fn room(area: &Area, len: usize) -> Option<Room<'_>> {
    Some(Room { area, offset: 0, len })
}

fn copied(talk: &Talk<'_>, area: &Area, bytes: usize, position: u64) -> String {
    let mut found = vec![0; bytes];
    area.read(0, &mut found);
    if found == talk.content(position, bytes) { "right".into() } else { "wrong".into() }
}

fn copies(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 2)?;
    let buffer = anonymous(3)?;
    let all = |bytes: usize| Ok(Answer { copied: bytes as i32, ..NOTHING });
    for (sent, len) in [(100, page), (100, 100), (1, 1), (page, page), (page + 100, 2 * page)] {
        talk.splice(&[sent.min(page), sent.saturating_sub(page)][..1 + usize::from(sent > page)])?;
        let begin = talk.at();
        // What fits is copied, pages too, and the mapping is not asked for.
        let request = Request { copy: room(&buffer, len), length: number(page), ..Request::default() };
        table.answer(format!("{sent} bytes and room for {len}"), &talk.ask(&request), &all(sent));
        table.expect(format!("{sent} bytes"), copied(&talk, &buffer, sent, begin), "right");
    }
    // Room for less than is queued is used for nothing but what follows a page.
    talk.send(100)?;
    let request = Request { copy: room(&buffer, 99), ..Request::to(&area, 0, page) };
    table.answer("100 bytes and room for 99", &talk.ask(&request), &Ok(skip(100)));
    talk.recv(100)?;
    let request = Request { copy: room(&buffer, page), ..Request::to(&area, 0, page) };
    table.answer("nothing and room for a page", &talk.ask(&request), &Ok(NOTHING));
    table.same("pages there", &area.populated(), &Ok(vec![false; 2]));
    Ok(())
}

fn stragglers(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 4)?;
    let buffer = anonymous(1)?;
    for (len, copied_bytes) in [(100, 100), (page, 100), (60, 60)] {
        talk.splice(&[page, page, 100])?;
        let begin = talk.at();
        let request = Request { copy: room(&buffer, len), ..Request::to(&area, 0, 4 * page) };
        let left = 100 - copied_bytes;
        let expected =
            Answer { length: number(2 * page), copied: copied_bytes as i32, inq: number(left), ..NOTHING };
        table.answer(format!("two pages, 100 bytes and room for {len}"), &talk.ask(&request), &Ok(expected));
        table.expect("the pages", talk.look(&area, 0, 2 * page, begin), "right");
        let position = begin + 2 * page as u64;
        table.expect("what follows", copied(&talk, &buffer, copied_bytes, position), "right");
        talk.recv(left)?;
    }
    Ok(())
}

fn between(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 8)?;
    talk.send_pages(3)?;
    talk.send(100)?;
    talk.send_pages(2)?;
    let begin = talk.at();
    let request = Request::to(&area, 0, 8 * page);
    let left = number(2 * page + 100);
    let expected = Answer { length: number(3 * page), skip: 100, inq: left, ..NOTHING };
    table.answer("three pages, 100 bytes, two pages", &talk.ask(&request), &Ok(expected));
    table.expect("the three", talk.look(&area, 0, 3 * page, begin), "right");
    table.same(
        "pages there",
        &area.populated().map(|pages| pages.iter().filter(|page| **page).count()),
        &Ok(3),
    );
    // Nothing is mapped across what has to be read.
    let expected = Answer { skip: 100, inq: left, ..NOTHING };
    let rest = Request::to(&area, 3 * page, 5 * page);
    table.answer("without reading", &talk.ask(&rest), &Ok(expected));
    talk.recv(40)?;
    rest_of_piece(table, "having read 40", &talk.ask(&rest), 60, left - 40);
    talk.recv(60)?;
    table.answer("having read all", &talk.ask(&rest), &Ok(mapped(2 * page)));
    table.expect("the two", talk.look(&area, 3 * page, 2 * page, begin + 3 * page as u64 + 100), "right");
    table.expect("the three then", talk.look(&area, 0, 3 * page, begin), "right");
    Ok(())
}

/// In the middle of a piece the kernel may say that all of its packet has to be
/// read, and how much is in one depends on how packets were joined.
fn rest_of_piece(table: &mut Table, what: &str, found: &Result<Answer, Errno>, least: u32, inq: u32) {
    let skip = found.as_ref().map_or(0, |answer| answer.skip);
    table.answer(what, found, &Ok(Answer { skip: skip.clamp(least, inq), inq, ..NOTHING }));
}

/// Only a piece that is a whole page can be mapped.
fn ragged(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 4)?;
    let request = Request::to(&area, 0, 4 * page);
    for parts in [&[page - 1, 1][..], &[1, page - 1], &[page / 2, page / 2], &[page - 8, 8, page - 8, 8]] {
        talk.splice(parts)?;
        let all = parts.iter().sum();
        table.answer(format!("{parts:?}"), &talk.ask(&request), &Ok(skip(all)));
        talk.recv(all)?;
    }
    table.same("pages there", &area.populated(), &Ok(vec![false; 4]));
    // Part of a page was read: the rest of it is no page any more.
    talk.send_pages(2)?;
    talk.recv(1)?;
    let begin = talk.at();
    let (least, inq) = (number(page - 1), number(2 * page - 1));
    rest_of_piece(table, "two pages, a byte of which was read", &talk.ask(&request), least, inq);
    talk.recv(page - 1)?;
    table.answer("and then the rest of its page", &talk.ask(&request), &Ok(mapped(page)));
    table.expect("the other", talk.look(&area, 0, page, begin + page as u64 - 1), "right");
    Ok(())
}

/// More than fit into a batch of the kernel (32), and into a segment (15 or 16).
fn many(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 100)?;
    talk.send_pages(100)?;
    let begin = talk.at();
    let expected = Answer { length: number(47 * page), inq: number(53 * page), ..NOTHING };
    table.answer("47 of 100 pages", &talk.ask(&Request::to(&area, 0, 47 * page)), &Ok(expected));
    let there = (0..100).map(|page| page < 47).collect();
    table.same("pages there", &area.populated(), &Ok(there));
    table.answer("the others", &talk.ask(&Request::to(&area, 47 * page, 53 * page)), &Ok(mapped(53 * page)));
    table.expect("all of them", talk.look(&area, 0, 100 * page, begin), "right");
    Ok(())
}

/// What was asked for and not mapped is empty, what was not asked for stays.
fn behind(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 8)?;
    talk.send_pages(8)?;
    let begin = talk.at();
    table.answer("eight pages", &talk.ask(&Request::to(&area, 0, 8 * page)), &Ok(mapped(8 * page)));
    // Two that can be mapped, one that cannot: three are queued.
    talk.send_pages(2)?;
    talk.splice(&[page / 2, page / 2])?;
    let next = talk.at();
    let expected = Answer { length: number(2 * page), skip: number(page), inq: number(page), ..NOTHING };
    table.answer("two over them", &talk.ask(&Request::to(&area, 0, 8 * page)), &Ok(expected));
    let there = vec![true, true, false, true, true, true, true, true];
    table.same("pages there", &area.populated(), &Ok(there));
    table.expect("the two", talk.look(&area, 0, 2 * page, next), "right");
    table.expect("the old ones", talk.look(&area, 3 * page, 5 * page, begin + 3 * page as u64), "right");
    talk.recv(page)
}

fn clean_hint(bench: &Bench<'_>, table: &mut Table) -> Result<(), Stop> {
    let mut talk = bench.talk()?;
    let page = page_size();
    let area = window(talk.receiver(), 40)?;
    let request = Request { flags: CLEAN_HINT, ..Request::to(&area, 0, 40 * page) };
    talk.send_pages(40)?;
    let begin = talk.at();
    table.answer("into an empty mapping", &talk.ask(&request), &Ok(mapped(40 * page)));
    table.expect("its data", talk.look(&area, 0, 40 * page, begin), "right");
    // A hint that is wrong: the kernel finds pages, removes them and goes on.
    talk.send_pages(40)?;
    let begin = talk.at();
    table.answer("into a full one", &talk.ask(&request), &Ok(mapped(40 * page)));
    table.expect("its data", talk.look(&area, 0, 40 * page, begin), "right");
    // Empty at first, and pages from the middle of a batch on.
    for first in [1, 7, 31, 33] {
        area.discard(0, first).map_err(|errno| Stop::Fail(format!("madvise: {errno}")))?;
        talk.send_pages(40)?;
        let begin = talk.at();
        table.answer(format!("{first} empty pages"), &talk.ask(&request), &Ok(mapped(40 * page)));
        table.expect(format!("{first} empty pages: data"), talk.look(&area, 0, 40 * page, begin), "right");
    }
    Ok(())
}
