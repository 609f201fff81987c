//! What zerocopy sends are charged with, and whether all of it comes back: sockets,
//! their memory, pinned pages, and the user's locked memory.

use std::fs;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, disable_transparent_huge_pages, set_capabilities};

use super::super::memory::{Pages, page_size};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::procfs;
use crate::uring::{Ring, Span};

/// Pages that the user may lock.
pub(super) const LIMIT: usize = 1024;

/// Pages of TCP memory that a processor may keep for itself
/// (`SK_MEMORY_PCPU_RESERVE`, include/net/sock.h): the sum is off by as much.
const RESERVE: u64 = 256;

const POLL: Duration = Duration::from_millis(1);

/// Line `TCP` of `/proc/net/sockstat`, as far as it counts what all namespaces have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tcp {
    /// Sockets.
    alloc: u64,
    /// Pages.
    mem: u64,
}

impl Tcp {
    fn parse(text: &str) -> Option<Self> {
        let of = |key| procfs::sockstat(text, "TCP", key);
        Some(Self { alloc: of("alloc")?, mem: of("mem")? })
    }

    fn now() -> Result<Self, Stop> {
        const PATH: &str = "/proc/thread-self/net/sockstat";
        let text =
            fs::read_to_string(PATH).map_err(|error| Stop::Error(format!("cannot read {PATH}: {error}")))?;
        Self::parse(&text).ok_or_else(|| Stop::Error(format!("{PATH} has no line of TCP: {text:?}")))
    }
}

/// A size of `/proc/self/status` in pages.
fn status_pages(text: &str, key: &str, page: u64) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024 / page)
}

/// Pages that are pinned in this process (`VmPin`).
pub(super) fn pinned() -> Result<u64, Stop> {
    const PATH: &str = "/proc/self/status";
    let text =
        fs::read_to_string(PATH).map_err(|error| Stop::Error(format!("cannot read {PATH}: {error}")))?;
    status_pages(&text, "VmPin", page_size() as u64)
        .ok_or_else(|| Stop::Error(format!("{PATH} does not tell VmPin")))
}

/// The accounts before a test.
#[derive(Debug)]
pub(super) struct Books {
    tcp: Tcp,
    ring: Ring,
    pages: Pages,
}

impl Books {
    /// Opens them. From now on this process has a limit of locked memory.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the limit cannot be set or is used up already.
    pub(super) fn open() -> Result<Self, Stop> {
        let failed = |what: &str, errno: rustix::io::Errno| Stop::Error(format!("{what}: {errno}"));
        // A huge page is charged as a whole. A kernel without them refuses.
        let _ = disable_transparent_huge_pages(true);
        let limit = Some((LIMIT * page_size()) as u64);
        setrlimit(Resource::Memlock, Rlimit { current: limit, maximum: limit })
            .map_err(|errno| failed("setrlimit RLIMIT_MEMLOCK", errno))?;
        let mut sets = capabilities(None).map_err(|errno| failed("capget", errno))?;
        sets.effective.remove(CapabilitySet::IPC_LOCK);
        set_capabilities(None, sets).map_err(|errno| failed("capset", errno))?;
        let pages = Pages::new(LIMIT * page_size()).map_err(|errno| failed("mmap", errno))?;
        let ring = Ring::new(1).map_err(|error| Stop::Error(format!("io_uring_setup: {error}")))?;
        let books = Self { tcp: Tcp::now()?, ring, pages };
        if !books.free(LIMIT)? {
            return Err(Stop::Error(format!(
                "{} of the {LIMIT} pages that this user may lock are locked before the test begins",
                books.charged()?
            )));
        }
        Ok(books)
    }

    /// Whether so many pages can be locked at this moment: by doing it.
    fn free(&self, pages: usize) -> Result<bool, Stop> {
        let len = u32::try_from(pages * page_size()).unwrap_or(u32::MAX);
        match self.ring.register(&[Span { len, ..Span::of(&self.pages) }]) {
            Ok(()) => {
                let back = self.ring.unregister();
                back.map_err(|error| Stop::Fail(format!("taking a registered buffer back: {error}")))?;
                Ok(true)
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) => Ok(false),
            Err(error) => Err(Stop::Error(format!("io_uring_register: {error}"))),
        }
    }

    /// Whether the user is charged with so many pages of locked memory, or more.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the kernel does not let it be found out.
    pub(super) fn charged_with(&self, pages: usize) -> Result<bool, Stop> {
        match (LIMIT + 1).checked_sub(pages) {
            Some(rest @ 1..=LIMIT) => Ok(!self.free(rest)?),
            Some(_) => Ok(pages == 0),
            None => Ok(false),
        }
    }

    /// Pages of locked memory that the user is charged with. Takes some time.
    ///
    /// # Errors
    ///
    /// As [`Self::charged_with`].
    pub(super) fn charged(&self) -> Result<usize, Stop> {
        let (mut least, mut more) = (0, LIMIT + 1);
        while more - least > 1 {
            let middle = usize::midpoint(least, more);
            if self.charged_with(middle)? { least = middle } else { more = middle }
        }
        Ok(least)
    }

    /// Asserts that everything has come back, or does so soon.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with what did not.
    pub(super) fn balance(&self, ctx: &Context<'_>) -> WorkloadResult {
        wait(ctx, || {
            if !self.charged_with(1)? {
                return Ok(None);
            }
            // Counted only where somebody will read it.
            let pages = if ctx.remaining().is_zero() { self.charged()?.to_string() } else { "some".into() };
            Ok(Some(format!("{pages} pages of locked memory are still charged to the user")))
        })?;
        wait(ctx, || match pinned()? {
            0 => Ok(None),
            pages => Ok(Some(format!("{pages} pages of this process are still pinned"))),
        })?;
        let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
        let slack = 2 * RESERVE * cpus;
        wait(ctx, || {
            let (now, before) = (Tcp::now()?, self.tcp);
            let more = now.alloc > before.alloc || now.mem > before.mem + slack;
            Ok(more.then(|| {
                format!(
                    "{} TCP sockets with {} pages are left, {} with {} there were before",
                    now.alloc, now.mem, before.alloc, before.mem
                )
            }))
        })
    }
}

/// Waits until nothing is wrong any more.
fn wait(ctx: &Context<'_>, wrong: impl Fn() -> Result<Option<String>, Stop>) -> WorkloadResult {
    loop {
        // Asked before the look: the last look is made when the time is over.
        let over = ctx.remaining().is_zero();
        match wrong()? {
            None => return ctx.check(true, String::new),
            Some(text) => ctx.check(!over, || format!("{text}, long after the last request ended"))?,
        }
        clock::poll_interval(POLL);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sockets_and_pages_are_those_of_tcp() {
        let text = "sockets: used 9\nTCP: inuse 1 orphan 0 tw 8 alloc 3 mem 7\nUDP: inuse 0 mem 5\n";
        assert_eq!(Tcp::parse(text), Some(Tcp { alloc: 3, mem: 7 }));
        assert_eq!(Tcp::parse("UDP: inuse 0 mem 5\n"), None);
        assert_eq!(Tcp::parse("TCP: inuse 1 alloc\n"), None);
    }

    #[test]
    fn pinned_pages_are_counted_in_pages() {
        let text = "VmPeak:\t  9 kB\nVmLck:\t  4 kB\nVmPin:\t   64 kB\n";
        assert_eq!(status_pages(text, "VmPin", 4096), Some(16));
        assert_eq!(status_pages(text, "VmP", 4096), None);
        assert_eq!(status_pages("VmPin: 64\n", "VmPin", 4096), None);
    }

    proptest! {
        #[test]
        fn no_parser_panics(text in "\\PC{0,200}") {
            let _ = Tcp::parse(&text);
            let _ = Tcp::parse(&format!("TCP:{text}"));
            let _ = status_pages(&text, "VmPin", 4096);
        }
    }
}
