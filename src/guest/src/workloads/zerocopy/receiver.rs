//! The receiving end of `tcp-zerocopy/receive`: maps what can be mapped, copies
//! the rest, looks at every byte, and at the mapped ones a second time.

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::RecvFlags;

use super::memory::{self, Populated, Window};
use super::patience::Patience;
use super::pattern::{Load, Mismatch};
use crate::clock;
use crate::context::{Context, Stop};

/// Size of one mapping in bytes, rounded to whole pages: several segments of the
/// largest size, far less than the socket's buffer.
const WINDOW: usize = 512 << 10;

/// Room for what cannot be mapped, in bytes.
const COPY_BUFFER: usize = 64 << 10;

/// How often in a row a socket may be called readable and then have nothing.
/// Nothing is known to make it happen even once; a kernel in which it happens
/// for ever would keep us busy until the time is out.
const IDLE_CALLS: u32 = 100;

/// What is done to a mapping before it is used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Release {
    /// `madvise(MADV_DONTNEED)`.
    Dontneed,
    /// `munmap`, and `mmap` in its place.
    Remap,
    /// Nothing: the kernel unmaps the old pages when it maps new ones.
    Overwrite,
}

/// What the receiver of one connection counted.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    /// Bytes received.
    pub(super) at: u64,
    /// Those of them that were mapped.
    pub(super) mapped: u64,
    /// Calls of `TCP_ZEROCOPY_RECEIVE`.
    pub(super) calls: u64,
    /// Assertions made.
    pub(super) checks: u64,
    /// From the first readable byte to the end of the stream.
    pub(super) elapsed_ns: u64,
}

impl Tally {
    /// Part of the bytes that were mapped, in %.
    pub(super) fn share(&self) -> f64 {
        100.0 * self.mapped as f64 / self.at.max(1) as f64
    }
}

/// A window and what is in it.
struct Mapping {
    window: Window,
    /// Position in the stream of its first byte, and bytes.
    holds: Option<(u64, usize)>,
}

/// The receiving end of one connection.
pub(super) struct Receiver<'a> {
    socket: BorrowedFd<'a>,
    load: Load,
    release: Release,
    mappings: Vec<Mapping>,
    /// The mapping whose turn it is.
    turn: usize,
    copy: Vec<u8>,
    tally: Tally,
}

/// Whether there is more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Progress,
    Nothing,
    End,
}

impl<'a> Receiver<'a> {
    /// Prepares to receive the load; `hold` mappings are kept, and `release` is
    /// done to the oldest before it is used again.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when the socket cannot be mapped.
    pub(super) fn new(
        socket: BorrowedFd<'a>,
        load: Load,
        hold: usize,
        release: Release,
    ) -> Result<Self, Stop> {
        let mappings = (0..hold).map(|_| Ok(Mapping { window: map(socket)?, holds: None }));
        Ok(Self {
            socket,
            load,
            release,
            mappings: mappings.collect::<Result<_, Stop>>()?,
            turn: 0,
            copy: vec![0; COPY_BUFFER],
            tally: Tally::default(),
        })
    }

    fn verifies(&self) -> bool {
        matches!(self.load, Load::Verified(_))
    }

    /// Receives until the end of the stream, which has to be that of the load.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] for everything that the kernel does wrong, or does not do
    /// in time.
    pub(super) fn run(&mut self, context: &Context<'_>, patience: Patience<'_>) -> Result<(), Stop> {
        /// Signs of life per connection.
        const REPORTS: u64 = 16;
        let total = self.load.length();
        let mut idle = 0;
        let mut next_report = 0;
        let mut begin = None;
        loop {
            let at = self.tally.at;
            patience.wait(self.socket, PollFlags::IN, || format!("data at byte {at} of {total}"))?;
            let begin_ns = *begin.get_or_insert_with(clock::monotonic_ns);
            match self.step()? {
                Step::Progress => idle = 0,
                Step::Nothing if idle < IDLE_CALLS => idle += 1,
                Step::Nothing => {
                    return Err(Stop::Fail(format!(
                        "poll calls the socket readable at byte {at} of {total}, but {IDLE_CALLS} calls of \
                         TCP_ZEROCOPY_RECEIVE found neither data nor the end"
                    )));
                }
                Step::End if at != total => {
                    return Err(Stop::Fail(format!(
                        "TCP_ZEROCOPY_RECEIVE gave EIO, the end of the stream, after `{at}` of `{total}` bytes"
                    )));
                }
                Step::End => {
                    self.tally.elapsed_ns = clock::monotonic_ns().saturating_sub(begin_ns);
                    return self.assert_end();
                }
            }
            if self.tally.at > total {
                let extra = self.tally.at - total;
                return Err(Stop::Fail(format!(
                    "`{extra}` bytes more arrived than the {total} that were sent"
                )));
            }
            if self.tally.at >= next_report {
                context.progress(self.tally.at, total)?;
                next_report = self.tally.at + total / REPORTS;
            }
        }
    }

    /// One call of `TCP_ZEROCOPY_RECEIVE`, and `recv` of what it asks to skip.
    fn step(&mut self) -> Result<Step, Stop> {
        self.prepare()?;
        let (at, socket) = (self.tally.at, self.socket);
        let mapping = &mut self.mappings[self.turn];
        let size = mapping.window.len();
        self.tally.calls += 1;
        let received = match retry_on_intr(|| mapping.window.receive(socket)) {
            Ok(received) => received,
            // What the end of the stream looks like: tcp_zerocopy_receive() in
            // net/ipv4/tcp.c.
            Err(Errno::IO) => return Ok(Step::End),
            Err(errno) => {
                return Err(Stop::Fail(format!("getsockopt TCP_ZEROCOPY_RECEIVE at byte {at}: {errno}")));
            }
        };
        if let Some(errno) = received.error {
            return Err(Stop::Fail(format!(
                "TCP_ZEROCOPY_RECEIVE at byte {at} reports a broken socket: {errno}"
            )));
        }
        let mapped = received.mapped;
        if mapped > size || !mapped.is_multiple_of(memory::page_size()) {
            return Err(Stop::Fail(format!(
                "TCP_ZEROCOPY_RECEIVE at byte {at} claims to have mapped `{mapped}` bytes into a window of `{size}`"
            )));
        }
        if mapped > 0 {
            mapping.holds = Some((at, mapped));
            self.look(self.turn, "mapped")?;
            self.turn = (self.turn + 1) % self.mappings.len();
            self.tally.at += mapped as u64;
            self.tally.mapped += mapped as u64;
        }
        self.skip(received.skip)?;
        Ok(if mapped + received.skip > 0 { Step::Progress } else { Step::Nothing })
    }

    /// Makes the mapping whose turn it is fit for the next call.
    fn prepare(&mut self) -> Result<(), Stop> {
        let Some((at, len)) = self.mappings[self.turn].holds else { return Ok(()) };
        // Held while others came and went: still the same bytes?
        if self.mappings.len() > 1 {
            self.look(self.turn, "mapped for a while")?;
        }
        let verifies = self.verifies();
        let mapping = &mut self.mappings[self.turn];
        mapping.holds = None;
        match self.release {
            Release::Overwrite => {}
            Release::Dontneed => {
                mapping
                    .window
                    .discard()
                    .map_err(|errno| Stop::Fail(format!("madvise MADV_DONTNEED of socket pages: {errno}")))?;
                if verifies {
                    let left = mapping.window.populated(len).map_err(mincore)?;
                    self.tally.checks += 1;
                    if left != Populated::None {
                        return Err(Stop::Fail(format!(
                            "after madvise MADV_DONTNEED pages are still mapped where bytes {at}..{} were",
                            at + len as u64
                        )));
                    }
                }
            }
            Release::Remap => {
                let fresh = map(self.socket)?;
                let old = std::mem::replace(&mut mapping.window, fresh);
                old.unmap().map_err(|errno| Stop::Fail(format!("munmap of socket pages: {errno}")))?;
            }
        }
        Ok(())
    }

    /// Compares the bytes of a mapping with what was sent.
    fn look(&mut self, turn: usize, how: &str) -> Result<(), Stop> {
        let mapping = &self.mappings[turn];
        let Some((at, len)) = mapping.holds.filter(|_| self.verifies()) else { return Ok(()) };
        // To touch a page that is missing would kill us with SIGBUS.
        match mapping.window.populated(len).map_err(mincore)? {
            Populated::All => {}
            Populated::None => {
                return Err(Stop::Fail(format!("none of `{len}` bytes {how} at byte {at} is there")));
            }
            Populated::Without(page) => {
                let position = at + (page * memory::page_size()) as u64;
                return Err(Stop::Fail(format!(
                    "of `{len}` bytes {how} at byte {at} the page of byte {position} is not there"
                )));
            }
        }
        self.tally.checks += 2;
        self.load.check(mapping.window.bytes(), at).map_err(|mismatch| wrong(how, &mismatch))
    }

    /// Reads what could not be mapped.
    fn skip(&mut self, promised: usize) -> Result<(), Stop> {
        let mut left = promised;
        while left > 0 {
            let room = left.min(self.copy.len());
            let at = self.tally.at;
            let buffer = &mut self.copy[..room];
            let received =
                retry_on_intr(|| rustix::net::recv(self.socket, &mut *buffer, RecvFlags::DONTWAIT));
            match received {
                Ok((got, _)) if (1..=room).contains(&got) => {
                    self.load.check(&self.copy[..got], at).map_err(|mismatch| wrong("copied", &mismatch))?;
                    self.tally.checks += 1;
                    self.tally.at += got as u64;
                    left -= got;
                }
                Ok((got, _)) => {
                    return Err(Stop::Fail(format!(
                        "recv of `{room}` bytes at byte {at} gave `{got}`, though recv_skip_hint was `{promised}`"
                    )));
                }
                Err(errno) => {
                    return Err(Stop::Fail(format!(
                        "recv of `{room}` bytes at byte {at}: {errno}, though recv_skip_hint was `{promised}`"
                    )));
                }
            }
        }
        Ok(())
    }

    /// After EIO the stream is at its end for every call.
    fn assert_end(&mut self) -> Result<(), Stop> {
        self.prepare()?;
        let again = match self.mappings[self.turn].window.receive(self.socket) {
            Err(Errno::IO) => None,
            Err(errno) => Some(errno.to_string()),
            Ok(received) => Some(format!("`{}` bytes", received.mapped + received.skip)),
        };
        if let Some(again) = again {
            return Err(Stop::Fail(format!(
                "TCP_ZEROCOPY_RECEIVE gave EIO, the end of the stream, and then {again}"
            )));
        }
        let received =
            retry_on_intr(|| rustix::net::recv(self.socket, &mut self.copy[..], RecvFlags::DONTWAIT));
        self.tally.checks += 3;
        match received {
            Ok((0, _)) => Ok(()),
            Ok((got, _)) => Err(Stop::Fail(format!(
                "TCP_ZEROCOPY_RECEIVE gave EIO, the end of the stream, and then recv gave `{got}` bytes"
            ))),
            Err(errno) => Err(Stop::Fail(format!("recv at the end of the stream: {errno}"))),
        }
    }

    /// Looks a last time at everything that is still mapped, and unmaps it.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it is not the same any more, or cannot be unmapped.
    pub(super) fn finish(mut self) -> Result<Tally, Stop> {
        for turn in 0..self.mappings.len() {
            self.look(turn, "mapped to the end")?;
        }
        for mapping in self.mappings {
            let unmapped = mapping.window.unmap();
            unmapped.map_err(|errno| Stop::Fail(format!("munmap of socket pages: {errno}")))?;
        }
        Ok(self.tally)
    }
}

fn map(socket: BorrowedFd<'_>) -> Result<Window, Stop> {
    let size = WINDOW.next_multiple_of(memory::page_size());
    // Whether the kernel has the hook is known by now: then this has to work.
    Window::new(socket, size)
        .map_err(|errno| Stop::Fail(format!("mmap of `{size}` bytes of a TCP socket: {errno}")))
}

fn mincore(errno: Errno) -> Stop {
    Stop::Error(format!("mincore of socket pages: {errno}"))
}

fn wrong(how: &str, mismatch: &Mismatch) -> Stop {
    Stop::Fail(format!("in data that was {how}, {mismatch}"))
}
