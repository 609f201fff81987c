//! A receiver that does everything that the interface allows, at random, and
//! knows after each step what every page of its mapping has to hold.

use std::os::fd::BorrowedFd;

use fastrand::Rng;
use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::RecvFlags;

use super::super::super::memory::page_size;
use super::super::super::patience::Patience;
use super::super::super::pattern::{Mismatch, Pattern};
use super::super::super::table::in_words;
use super::super::sys::{Area, CLEAN_HINT, Request, Room};
use super::model::Model;
use crate::context::{Context, Stop};

/// Pages of the mapping: several segments, and no multiple of one.
const PAGES: usize = 128;

/// Pages that are looked at again after each step.
const AGAIN: usize = 4;

/// How often in a row a socket may be called readable and then have nothing.
const IDLE_CALLS: u32 = 100;

/// What was received.
#[derive(Debug, Default, Clone, Copy)]
pub(in super::super) struct Tally {
    /// Bytes by mapping.
    pub(in super::super) mapped: u64,
    /// Bytes into `copybuf`.
    pub(in super::super) copied: u64,
    /// Bytes by `recv`.
    pub(in super::super) read: u64,
    /// Requests.
    pub(in super::super) calls: u64,
    /// Assertions.
    pub(in super::super) checks: u64,
}

impl Tally {
    /// All of them.
    pub(in super::super) fn bytes(&self) -> u64 {
        self.mapped + self.copied + self.read
    }
}

/// The receiving end.
pub(in super::super) struct Receiver<'a> {
    socket: BorrowedFd<'a>,
    pattern: Pattern,
    rng: Rng,
    area: Area,
    copy: Area,
    model: Model,
    buffer: Vec<u8>,
    tally: Tally,
}

fn wrong(how: &str, mismatch: &Mismatch) -> Stop {
    Stop::Fail(format!("in data that was {how}, {mismatch}"))
}

impl<'a> Receiver<'a> {
    /// Maps the socket.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it cannot be mapped.
    pub(in super::super) fn new(socket: BorrowedFd<'a>, pattern: Pattern, rng: Rng) -> Result<Self, Stop> {
        let area = Area::window(socket, PAGES)
            .map_err(|errno| Stop::Fail(format!("mmap of `{PAGES}` pages of a TCP socket: {errno}")))?;
        let copy = Area::anonymous(1).map_err(|errno| Stop::Error(format!("mmap: {errno}")))?;
        Ok(Self {
            socket,
            pattern,
            rng,
            area,
            copy,
            model: Model::new(PAGES, page_size()),
            buffer: vec![0; PAGES * page_size()],
            tally: Tally::default(),
        })
    }

    /// Receives until the end of the stream, and looks at everything at the end.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] for the first thing that is wrong.
    pub(in super::super) fn run(
        mut self,
        context: &Context<'_>,
        patience: Patience<'_>,
    ) -> Result<Tally, Stop> {
        let total = self.pattern.length();
        let mut idle = 0;
        loop {
            let at = self.tally.bytes();
            patience.wait(self.socket, PollFlags::IN, || format!("data at byte {at} of {total}"))?;
            self.prepare()?;
            if !self.step()? {
                break;
            }
            idle = if self.tally.bytes() == at { idle + 1 } else { 0 };
            if idle > IDLE_CALLS {
                return Err(Stop::Fail(format!(
                    "poll calls the socket readable at byte {at} of {total}, but {IDLE_CALLS} calls of \
                     TCP_ZEROCOPY_RECEIVE found neither data nor the end"
                )));
            }
            context.progress(at, total)?;
        }
        let (at, tally) = (self.tally.bytes(), self.tally);
        if at != total {
            return Err(Stop::Fail(format!(
                "the stream ended after `{at}` of `{total}` bytes: {} mapped, {} copied, {} read",
                tally.mapped, tally.copied, tally.read
            )));
        }
        let end = retry_on_intr(|| rustix::net::recv(self.socket, &mut self.buffer[..], RecvFlags::DONTWAIT));
        if !matches!(end, Ok((0, _))) {
            return Err(Stop::Fail(format!("EIO, the end of the stream, and then recv gave {end:?}")));
        }
        self.look(0..PAGES, "mapped, and is there at the end")?;
        self.area.unmap().map_err(|errno| Stop::Fail(format!("munmap of socket pages: {errno}")))?;
        Ok(self.tally)
    }

    /// Now and then gives pages back, or moves the mapping with what is in it.
    fn prepare(&mut self) -> Result<(), Stop> {
        match self.rng.u8(..16) {
            0..4 => {
                let first = self.rng.usize(..PAGES);
                let pages = self.rng.usize(1..=PAGES - first);
                self.area
                    .discard(first, pages)
                    .map_err(|errno| Stop::Fail(format!("madvise of socket pages: {errno}")))?;
                self.model.discarded(first..first + pages);
            }
            4 => {
                let place = Area::anonymous(PAGES).map_err(|errno| Stop::Error(format!("mmap: {errno}")))?;
                self.area
                    .move_over(place)
                    .map_err(|errno| Stop::Fail(format!("mremap of socket pages: {errno}")))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// One request, and `recv` of what it does not map; false at the end.
    fn step(&mut self) -> Result<bool, Stop> {
        let page = page_size();
        let first = self.rng.usize(..PAGES);
        // Also beyond the end of the mapping, and not always whole pages.
        let length = self.rng.usize(page..=PAGES * page);
        let copy = (self.rng.u8(..4) == 0).then(|| self.rng.usize(1..page));
        let copy = copy.map(|len| Room { area: &self.copy, offset: 0, len });
        let flags = if self.rng.u8(..4) == 0 { CLEAN_HINT } else { 0 };
        let request = Request { copy, flags, ..Request::to(&self.area, first * page, length) };
        let at = self.tally.bytes();
        self.tally.calls += 1;
        let answer = match retry_on_intr(|| request.ask(self.socket)) {
            Ok(answer) => answer,
            Err(Errno::IO) => return Ok(false),
            Err(errno) => {
                let errno = in_words(errno);
                return Err(Stop::Fail(format!("getsockopt TCP_ZEROCOPY_RECEIVE at byte {at}: {errno}")));
            }
        };
        let (mapped, skip) = (answer.length as usize, answer.skip as usize);
        let asked = (length / page).min(PAGES - first);
        let copied = usize::try_from(answer.copied).unwrap_or(usize::MAX);
        let room = copy.map_or(0, |room| room.len);
        if !mapped.is_multiple_of(page) || mapped > asked * page || copied > room || answer.err != 0 {
            return Err(Stop::Fail(format!(
                "asked for `{length}` bytes at page {first} of {PAGES} and room for `{room}`, \
                 TCP_ZEROCOPY_RECEIVE at byte {at} answers `{answer:?}`"
            )));
        }
        self.model.received(first, asked, mapped / page, at);
        self.tally.mapped += mapped as u64;
        self.tally.checks += 1;
        self.look(first..first + mapped / page, "mapped just now")?;
        if copied > 0 {
            let at = self.tally.bytes();
            let bytes = &mut self.buffer[..copied];
            self.copy.read(0, bytes);
            self.pattern.check(bytes, at).map_err(|mismatch| wrong("copied to copybuf", &mismatch))?;
            self.tally.copied += copied as u64;
            self.tally.checks += 1;
        }
        self.read(skip)?;
        for _ in 0..AGAIN {
            let page = self.rng.usize(..PAGES);
            self.look(page..page + 1, "mapped earlier")?;
        }
        Ok(true)
    }

    /// Compares all pages with the model, and the data of some.
    fn look(&mut self, pages: std::ops::Range<usize>, how: &str) -> Result<(), Stop> {
        let page = page_size();
        let populated = self
            .area
            .populated()
            .map_err(|errno| Stop::Error(format!("mincore of socket pages: {errno}")))?;
        let at = self.tally.bytes();
        if let Some(contradiction) = self.model.seen(&populated) {
            return Err(Stop::Fail(format!(
                "before byte {at}, looking at data that was {how}: {contradiction}"
            )));
        }
        self.tally.checks += 1;
        for number in pages {
            let Some(position) = self.model.slots()[number].position() else { continue };
            let bytes = &mut self.buffer[..page];
            self.area.read(number * page, bytes);
            self.pattern.check(bytes, position).map_err(|mismatch| wrong(how, &mismatch))?;
            self.tally.checks += 1;
        }
        Ok(())
    }

    /// Reads what could not be mapped; all of it has to be there.
    fn read(&mut self, promised: usize) -> Result<(), Stop> {
        let mut left = promised;
        while left > 0 {
            let at = self.tally.bytes();
            let room = left.min(self.buffer.len());
            let bytes = &mut self.buffer[..room];
            match retry_on_intr(|| rustix::net::recv(self.socket, &mut *bytes, RecvFlags::DONTWAIT)) {
                Ok((got, _)) if (1..=room).contains(&got) => {
                    self.pattern
                        .check(&self.buffer[..got], at)
                        .map_err(|mismatch| wrong("read with recv", &mismatch))?;
                    self.tally.read += got as u64;
                    self.tally.checks += 1;
                    left -= got;
                }
                other => {
                    return Err(Stop::Fail(format!(
                        "recv of `{room}` bytes at byte {at} gave {other:?}, though recv_skip_hint was `{promised}`"
                    )));
                }
            }
        }
        Ok(())
    }
}
