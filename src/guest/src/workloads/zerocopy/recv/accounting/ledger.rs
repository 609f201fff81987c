//! Where memory is: what the kernel says of it, and what it does not.
//!
//! The parsers are pure. A page whose last user forgot it is in no list: it is
//! neither free nor counted as anything. So the sum of everything that is counted
//! falls by it, whatever else the system does with its memory.

use std::fs;
use std::io;

use crate::context::Stop;
use crate::procfs;

/// Kinds of memory in `/proc/meminfo` that do not overlap; those that a kernel
/// does not know count as 0.
const KINDS: [&str; 10] = [
    "MemFree",
    "Buffers",
    "Cached",
    "SwapCached",
    "AnonPages",
    "Slab",
    "KernelStack",
    "PageTables",
    "SecPageTables",
    "Percpu",
];

/// What `/proc/net/sockstat` says of TCP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sockets {
    /// Of this namespace, not counting those that wait for their end.
    pub(super) in_use: u64,
    /// Closed and not yet ended, of all namespaces.
    pub(super) orphans: u64,
    /// Pages charged to all of them, of all namespaces.
    pub(super) pages: u64,
}

/// Parses `/proc/net/sockstat`.
pub(super) fn sockets(text: &str) -> Option<Sockets> {
    let value = |key| procfs::sockstat(text, "TCP", key);
    Some(Sockets { in_use: value("inuse")?, orphans: value("orphan")?, pages: value("mem")? })
}

/// Pages in the lists of single processors, of `/proc/zoneinfo`: free, and not
/// counted as that.
pub(super) fn listed_pages(zoneinfo: &str) -> u64 {
    zoneinfo.lines().filter_map(|line| line.trim().strip_prefix("count:")?.trim().parse::<u64>().ok()).sum()
}

/// Processors that run, of `/proc/stat`.
pub(super) fn processors(stat: &str) -> u64 {
    let is_one = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    stat.lines().filter(is_one).count() as u64
}

/// Pages by which the difference of two looks at `RssFile` may be off: before 6.2 a
/// thread keeps up to 64 to itself (`TASK_RSS_EVENTS_THRESH`, mm/memory.c), since then
/// every processor up to a batch, in either direction (`compute_batch_value()`,
/// lib/percpu_counter.c).
pub(super) fn rss_slack_pages(processors: u64) -> u64 {
    let batch = (2 * processors).max(32);
    (2 * batch * processors).max(2 * 64)
}

/// Bytes that `/proc/meminfo` counts as anything.
pub(super) fn counted(meminfo: &str) -> u64 {
    KINDS.iter().filter_map(|kind| procfs::meminfo_bytes(meminfo, kind)).sum()
}

/// One look at all of it, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Ledger {
    /// Memory that is counted as nothing.
    pub(super) unaccounted: u64,
    /// Of the kernel's small objects.
    pub(super) slab: u64,
    /// What a program could have.
    pub(super) available: u64,
}

fn read(path: &str) -> Result<String, Stop> {
    fs::read_to_string(path).map_err(|error| Stop::Error(format!("cannot read {path}: {error}")))
}

impl Ledger {
    /// Looks now.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when `/proc` cannot be read.
    pub(super) fn now() -> Result<Self, Stop> {
        // Counters of single processors are added up only now and then.
        match fs::write("/proc/sys/vm/stat_refresh", "1") {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Stop::Error(format!("cannot write to /proc/sys/vm/stat_refresh: {error}")));
            }
            _ => {}
        }
        let (meminfo, zoneinfo) = (read("/proc/meminfo")?, read("/proc/zoneinfo")?);
        let bytes = |key| procfs::meminfo_bytes(&meminfo, key).unwrap_or(0);
        let known = counted(&meminfo) + listed_pages(&zoneinfo) * rustix::param::page_size() as u64;
        Ok(Self {
            unaccounted: bytes("MemTotal").saturating_sub(known),
            slab: bytes("Slab"),
            available: bytes("MemAvailable"),
        })
    }
}

/// What TCP has, in the namespace of the calling thread.
///
/// # Errors
///
/// [`Stop::Error`] when `/proc` cannot be read or understood.
pub(super) fn sockets_now() -> Result<Sockets, Stop> {
    const PATH: &str = "/proc/thread-self/net/sockstat";
    let text = read(PATH)?;
    sockets(&text).ok_or_else(|| Stop::Error(format!("{PATH} cannot be understood: {text:?}")))
}

/// Bytes of pages that are no anonymous ones in the address space of this
/// process: those of files, and those that a socket put there.
///
/// # Errors
///
/// [`Stop::Error`] when `/proc` cannot be read.
pub(super) fn resident_file_bytes() -> Result<u64, Stop> {
    let text = read("/proc/self/status")?;
    procfs::meminfo_bytes(&text, "RssFile")
        .ok_or_else(|| Stop::Error("/proc/self/status does not tell RssFile".into()))
}

/// As [`rss_slack_pages`], of this machine.
///
/// # Errors
///
/// [`Stop::Error`] when `/proc` cannot be read.
pub(super) fn rss_slack_now() -> Result<u64, Stop> {
    Ok(rss_slack_pages(processors(&read("/proc/stat")?).max(1)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SOCKSTAT: &str = "sockets: used 9\nTCP: inuse 3 orphan 1 tw 2 alloc 5 mem 77\nUDP: inuse 0 mem 4\n";

    #[test]
    fn tcp_is_read_from_its_own_line() {
        assert_eq!(sockets(SOCKSTAT), Some(Sockets { in_use: 3, orphans: 1, pages: 77 }));
        assert_eq!(sockets("UDP: inuse 0 mem 4\n"), None);
        assert_eq!(sockets("TCP: inuse 3 orphan\n"), None);
    }

    #[test]
    fn pages_in_lists_of_all_processors_and_zones_are_added() {
        let zoneinfo = "Node 0, zone DMA\n  pages free 10\n  pagesets\n    cpu: 0\n              count:    5\n\
                        \x20             high:  9\n    cpu: 1\n              count: 7\n";
        assert_eq!(listed_pages(zoneinfo), 12);
        assert_eq!(listed_pages(""), 0);
    }

    #[test]
    fn processors_are_counted_and_their_sum_is_none() {
        assert_eq!(processors("cpu  9 8 7\ncpu0 4 4 3\ncpu13 5 4 4\ncpufreq 1\nintr 9\n"), 2);
        assert_eq!(processors(""), 0);
    }

    #[test]
    fn resident_pages_are_off_by_more_the_more_processors_there_are() {
        let slack: Vec<u64> = [1, 2, 4, 16, 64].map(rss_slack_pages).to_vec();
        assert_eq!(slack, [128, 128, 256, 1024, 16_384]);
    }

    #[test]
    fn only_kinds_that_do_not_overlap_are_added() {
        let meminfo =
            "MemTotal: 100 kB\nMemFree: 10 kB\nMemAvailable: 50 kB\nCached: 3 kB\nMapped: 2 kB\nSlab: 4 kB\n";
        assert_eq!(counted(meminfo), 17 * 1024);
    }

    proptest! {
        #[test]
        fn no_parser_panics(text in "\\PC{0,200}") {
            let _ = sockets(&text);
            let _ = listed_pages(&text);
            let _ = processors(&text);
            let _ = counted(&text);
        }
    }
}
