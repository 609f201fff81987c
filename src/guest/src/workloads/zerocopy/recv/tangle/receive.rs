//! The threads that receive. What they find is judged by who else may have
//! written to where they look.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::PoisonError;

use fastrand::Rng;
use rustix::event::PollFlags;
use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::RecvFlags;

use super::super::super::memory::page_size;
use super::super::super::patience::Patience;
use super::super::super::pattern::Pattern;
use super::super::super::table::in_words;
use super::super::sys::{Answer, Area, CLEAN_HINT, Request};
use super::marks::{PIECE, locate};
use super::{Crew, Line, PAGES};
use crate::context::Stop;

/// A random request.
fn request<'a>(area: &'a Area, rng: &mut Rng) -> (usize, Request<'a>) {
    let first = rng.usize(..PAGES);
    let flags = if rng.bool() { CLEAN_HINT } else { 0 };
    let pages = rng.usize(1..=PAGES);
    (first, Request { flags, ..Request::to(area, first * page_size(), pages * page_size()) })
}

/// Whether an answer is about pages that were asked for, and that lie in an area of
/// [`PAGES`] from the page `first` on: only then may one look at them.
fn is_within(answer: &Answer, first: usize, asked: u32) -> bool {
    let behind = (PAGES - first) * page_size();
    let length = answer.length as usize;
    length.is_multiple_of(page_size()) && answer.length <= asked && length <= behind
}

/// Waits for data and asks for it, from the page `first` on; `None` at the end.
fn ask(
    line: &Line,
    (first, request): (usize, &Request<'_>),
    patience: Patience<'_>,
    allowed: &[Errno],
) -> Result<Option<Answer>, Stop> {
    patience.wait(line.receiver(), PollFlags::IN, || "data for one of several threads".into())?;
    match retry_on_intr(|| request.ask(line.receiver())) {
        Ok(answer) if answer.err != 0 => {
            Err(Stop::Fail(format!("TCP_ZEROCOPY_RECEIVE tells of error {}", answer.err)))
        }
        Ok(answer) if !is_within(&answer, first, request.length) => Err(Stop::Fail(format!(
            "asked for `{}` bytes at page {first} of {PAGES}, TCP_ZEROCOPY_RECEIVE answers `{answer:?}`",
            request.length
        ))),
        Ok(answer) => Ok(Some(answer)),
        Err(Errno::IO) => Ok(None),
        Err(errno) if allowed.contains(&errno) => Ok(Some(Answer::default())),
        Err(errno) => Err(Stop::Fail(format!("getsockopt TCP_ZEROCOPY_RECEIVE: {}", in_words(errno)))),
    }
}

/// Reads what could not be mapped; less when another thread was faster, or when it
/// is more than one mapping holds.
fn recv(line: &Line, bytes: usize) -> Result<Vec<u8>, Stop> {
    let bytes = bytes.min(PAGES * page_size());
    let mut buffer = vec![0; bytes];
    if bytes == 0 {
        return Ok(buffer);
    }
    match retry_on_intr(|| rustix::net::recv(line.receiver(), &mut buffer[..], RecvFlags::DONTWAIT)) {
        Ok((got, _)) => buffer.truncate(got),
        Err(Errno::AGAIN) => buffer.clear(),
        Err(errno) => return Err(Stop::Fail(format!("recv of `{bytes}` bytes: {errno}"))),
    }
    Ok(buffer)
}

fn end(line: &Line, at: u64) -> Result<(), Stop> {
    let total = line.pattern.length();
    if at == total {
        Ok(())
    } else {
        Err(Stop::Fail(format!("the stream ended after `{at}` of `{total}` bytes")))
    }
}

/// Socket and mapping belong to this thread alone; the address space does not.
pub(super) fn alone(
    crew: &Crew,
    line: &Line,
    area: &Area,
    mut rng: Rng,
    patience: Patience<'_>,
) -> Result<(), Stop> {
    let mut at = 0;
    let mut page = vec![0; page_size()];
    loop {
        if crew.is_over() {
            return Ok(());
        }
        let (first, request) = request(area, &mut rng);
        let Some(answer) = ask(line, (first, &request), patience, &[])? else { return end(line, at) };
        let mapped = answer.length as usize / page_size();
        for number in first..first + mapped {
            read_present(area, number, &mut page)?;
            line.pattern
                .check(&page, at)
                .map_err(|mismatch| Stop::Fail(format!("in data that was mapped, {mismatch}")))?;
            at += page_size() as u64;
        }
        let read = recv(line, answer.skip as usize)?;
        line.pattern
            .check(&read, at)
            .map_err(|mismatch| Stop::Fail(format!("in data that was read, {mismatch}")))?;
        at += read.len() as u64;
        crew.received(mapped * page_size() + read.len());
        crew.checked(mapped as u64 + 1);
    }
}

/// A page that has to be there: the kernel is asked first, so that a missing one
/// is a failure and no signal.
fn read_present(area: &Area, number: usize, page: &mut [u8]) -> Result<(), Stop> {
    let populated = area.populated().map_err(|errno| Stop::Error(format!("mincore: {errno}")))?;
    if !populated.get(number).copied().unwrap_or(false) {
        return Err(Stop::Fail(format!("page {number} was mapped just now and is not there")));
    }
    area.read(number * page_size(), page);
    Ok(())
}

/// The socket is another thread's too: what comes is some part of the stream,
/// and nobody else gets it.
pub(super) fn shared(
    crew: &Crew,
    line: &Line,
    area: &Area,
    mut rng: Rng,
    patience: Patience<'_>,
) -> Result<(), Stop> {
    let mut page = vec![0; page_size()];
    let mark = |bytes: &[u8], how: &str| {
        let Some(position) = locate(&line.pattern, bytes) else {
            return Err(Stop::Fail(format!(
                "`{}` bytes that were {how} are no part of the stream",
                bytes.len()
            )));
        };
        let mut marks = line.marks.lock().unwrap_or_else(PoisonError::into_inner);
        match marks.take(position, bytes.len()) {
            None => Ok(()),
            Some(twice) => Err(Stop::Fail(format!("byte {twice} was given twice; now it was {how}"))),
        }
    };
    loop {
        if crew.is_over() {
            return Ok(());
        }
        let (first, request) = request(area, &mut rng);
        let Some(answer) = ask(line, (first, &request), patience, &[])? else { return Ok(()) };
        let mapped = answer.length as usize / page_size();
        for number in first..first + mapped {
            read_present(area, number, &mut page)?;
            mark(&page, "mapped")?;
        }
        let read = recv(line, answer.skip as usize)?;
        if !read.is_empty() {
            mark(&read, "read")?;
        }
        crew.received(mapped * page_size() + read.len());
        crew.checked(2 * mapped as u64 + 1);
    }
}

/// Copies a page through the kernel, which is not ended by one that is gone.
struct Peep(OwnedFd);

impl Peep {
    fn new() -> Result<Self, Stop> {
        rustix::fs::memfd_create("kregress", MemfdFlags::CLOEXEC).map(Self).map_err(|errno| match errno {
            Errno::NOSYS => Stop::Skip("the kernel lacks CONFIG_MEMFD_CREATE (memfd_create)".into()),
            _ => Stop::Error(format!("memfd_create: {errno}")),
        })
    }

    /// Bytes from the beginning of the page on, none when it is not there.
    fn page(&self, area: &Area, number: usize, page: &mut [u8]) -> Result<usize, Stop> {
        let harness = |errno| Stop::Error(format!("a file in memory: {errno}"));
        rustix::fs::seek(&self.0, SeekFrom::Start(0)).map_err(harness)?;
        match area.write_out(self.0.as_fd(), number * page_size(), page.len()) {
            Ok(written) => rustix::io::pread(&self.0, &mut page[..written], 0).map_err(harness),
            Err(Errno::FAULT) => Ok(0),
            Err(errno) => Err(Stop::Fail(format!("write() from a mapping: {}", in_words(errno)))),
        }
    }
}

/// Whether every piece is a part of one of two streams. While it was copied the
/// page may have been exchanged for another: then one piece is of both.
fn of_either(one: &Pattern, other: &Pattern, page: &[u8]) -> bool {
    let found: Vec<Option<(u8, u64)>> = page
        .chunks_exact(PIECE)
        .map(|piece| {
            let first = locate(one, piece).map(|position| (0, position));
            first.or_else(|| locate(other, piece).map(|position| (1, position)))
        })
        .collect();
    found.iter().enumerate().all(|(at, place)| {
        let before = at.checked_sub(1).and_then(|before| found[before]);
        let after = found.get(at + 1).copied().flatten();
        place.is_some() || is_torn(before, after, at, found.len())
    })
}

/// Whether the piece number `at` of `pieces`, which stands between two others of
/// streams and at positions, is where one page ended and another began.
fn is_torn(before: Option<(u8, u64)>, after: Option<(u8, u64)>, at: usize, pieces: usize) -> bool {
    match (before, after) {
        (Some((stream, position)), Some(after)) => after != (stream, position + 2 * PIECE as u64),
        // At an edge of the page one of the two cannot be seen; elsewhere it is
        // damaged too.
        (Some(_), None) => at + 1 == pieces,
        (None, Some(_)) => at == 0,
        (None, None) => false,
    }
}

/// The mapping is that of another connection too, whose pages may come in the
/// place of ours at any time: what is there is of one of the two.
pub(super) fn over_each_other(
    crew: &Crew,
    line: &Line,
    beside: Pattern,
    area: &Area,
    mut rng: Rng,
    patience: Patience<'_>,
) -> Result<(), Stop> {
    let (mut at, peep, mut page) = (0, Peep::new()?, vec![0; page_size()]);
    loop {
        if crew.is_over() {
            return Ok(());
        }
        let (first, mut request) = request(area, &mut rng);
        // With the hint a page of the other may be found in the second attempt
        // too, which the kernel gives up then with EBUSY.
        request.flags = 0;
        let Some(answer) = ask(line, (first, &request), patience, &[Errno::BUSY])? else {
            return end(line, at);
        };
        let mapped = answer.length as usize / page_size();
        for number in first..first + mapped.min(4) {
            let there = peep.page(area, number, &mut page)?;
            if !of_either(&line.pattern, &beside, &page[..there]) {
                return Err(Stop::Fail(format!("page {number} holds data of neither connection")));
            }
        }
        at = past(crew, line, at, &answer)?;
    }
}

/// Reads what could not be mapped; where the stream goes on.
fn past(crew: &Crew, line: &Line, at: u64, answer: &Answer) -> Result<u64, Stop> {
    let at = at + u64::from(answer.length);
    let read = recv(line, answer.skip as usize)?;
    line.pattern
        .check(&read, at)
        .map_err(|mismatch| Stop::Fail(format!("in data that was read, {mismatch}")))?;
    crew.received(answer.length as usize + read.len());
    crew.checked(u64::from(answer.length) / page_size() as u64 + 1);
    Ok(at + read.len() as u64)
}

/// The mapping comes and goes: what is mapped may be lost at once, and memory may
/// be in its place.
pub(super) fn losing(
    crew: &Crew,
    line: &Line,
    area: &Area,
    mut rng: Rng,
    patience: Patience<'_>,
) -> Result<(), Stop> {
    let (mut at, peep, mut page) = (0, Peep::new()?, vec![0; page_size()]);
    loop {
        if crew.is_over() {
            return Ok(());
        }
        let (first, request) = request(area, &mut rng);
        let Some(answer) = ask(line, (first, &request), patience, &[Errno::INVAL])? else {
            return end(line, at);
        };
        let mapped = answer.length as usize / page_size();
        for number in 0..mapped.min(4) {
            let there = peep.page(area, first + number, &mut page)?;
            let position = at + (number * page_size()) as u64;
            let mut expected = vec![0; there];
            line.pattern.fill(&mut expected, position);
            // The page may be exchanged for an empty one while it is copied.
            let wrong =
                page[..there].iter().zip(&expected).position(|(byte, right)| byte != right && *byte != 0);
            if let Some(wrong) = wrong {
                let byte = position + wrong as u64;
                return Err(Stop::Fail(format!("byte {byte} is neither what was sent nor zero")));
            }
        }
        at = past(crew, line, at, &answer)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: usize = 4096;

    fn page(pattern: &Pattern, position: u64) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        pattern.fill(&mut page, position);
        page
    }

    #[test]
    fn a_page_may_be_of_either_stream_or_change_in_the_middle_of_a_copy() {
        let (one, other) = (Pattern::new(1, 1 << 20), Pattern::new(2, 1 << 20));
        let (first, second) = (page(&one, 8192), page(&other, 4096));
        assert!(of_either(&one, &other, &first) && of_either(&one, &other, &second));
        for cut in [30, 64, 100, 2048, 4050] {
            let torn = [&first[..cut], &second[cut..]].concat();
            assert!(of_either(&one, &other, &torn), "{cut}");
        }
    }

    #[test]
    fn a_page_of_neither_or_a_damaged_one_is_seen() {
        let (one, other) = (Pattern::new(1, 1 << 20), Pattern::new(2, 1 << 20));
        assert!(!of_either(&one, &other, &page(&Pattern::new(3, 1 << 20), 0)));
        let mut damaged = page(&one, 4096);
        damaged[1000] ^= 1;
        assert!(!of_either(&one, &other, &damaged));
        assert!(!of_either(&one, &other, &[0; PAGE]));
    }

    #[test]
    fn two_damaged_pieces_side_by_side_are_seen() {
        let (one, other) = (Pattern::new(1, 1 << 20), Pattern::new(2, 1 << 20));
        for piece in [0, 1, 30, PAGE / PIECE - 2] {
            let mut damaged = page(&one, 4096);
            damaged[piece * PIECE..(piece + 2) * PIECE].fill(0xee);
            assert!(!of_either(&one, &other, &damaged), "{piece}");
        }
    }

    #[test]
    fn an_answer_is_about_what_was_asked_for_and_lies_in_the_area() {
        let page = page_size();
        let within = |length: usize, first, asked: usize| {
            let number = |bytes: usize| u32::try_from(bytes).expect("few bytes");
            is_within(&Answer { length: number(length), ..Answer::default() }, first, number(asked))
        };
        assert!(within(0, PAGES - 1, page));
        assert!(within(PAGES * page, 0, PAGES * page));
        assert!(within(page, PAGES - 1, PAGES * page));
        assert!(!within(2 * page, PAGES - 1, PAGES * page), "behind the area");
        assert!(!within(2 * page, 0, page), "more than was asked for");
        assert!(!within(page + 1, 0, 2 * page), "a part of a page");
    }
}
