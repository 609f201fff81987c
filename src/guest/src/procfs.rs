//! Reads what `/proc` says of processes, memory and devices.
//!
//! The parsers are pure and take whatever a kernel may write: what they do not
//! understand they leave out.

use std::fs;
use std::path::Path;

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stat {
    /// Process id.
    pub(crate) pid: i32,
    /// Name, at most 15 bytes; longer for a kernel worker that runs something.
    pub(crate) comm: String,
    /// `R`, `S`, `D`, `Z` and so on.
    pub(crate) state: char,
    /// Parent.
    pub(crate) parent: i32,
}

/// Parses a line of `/proc/PID/stat`. The name stands in parentheses and may
/// hold blanks and parentheses itself, so it ends at the last one.
pub(crate) fn parse_stat(line: &str) -> Option<Stat> {
    let open = line.find('(')?;
    let close = line.rfind(')')?;
    let pid = line.get(..open)?.trim().parse().ok()?;
    let comm = line.get(open + 1..close)?.to_owned();
    let mut rest = line.get(close + 1..)?.split_whitespace();
    let state = rest.next()?.chars().next()?;
    let parent = rest.next()?.parse().ok()?;
    Some(Stat { pid, comm, state, parent })
}

/// All processes that can be read; one that ends meanwhile is left out.
pub(crate) fn processes() -> Vec<Stat> {
    numbers_in(Path::new("/proc"))
        .into_iter()
        .filter_map(|pid| parse_stat(&String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/stat")).ok()?)))
        .collect()
}

/// Thread ids of a process.
pub(crate) fn threads(pid: i32) -> Vec<i32> {
    numbers_in(Path::new(&format!("/proc/{pid}/task")))
}

fn numbers_in(directory: &Path) -> Vec<i32> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found: Vec<i32> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    found.sort_unstable();
    found
}

/// The processes below `root` in the tree of parents, `root` included.
pub(crate) fn descendants(processes: &[Stat], root: i32) -> Vec<&Stat> {
    let mut family = vec![root];
    let mut next = 0;
    while let Some(parent) = family.get(next).copied() {
        next += 1;
        for child in processes.iter().filter(|stat| stat.parent == parent) {
            if !family.contains(&child.pid) {
                family.push(child.pid);
            }
        }
    }
    processes.iter().filter(|stat| family.contains(&stat.pid)).collect()
}

/// A value of `/proc/meminfo`, in bytes.
pub(crate) fn meminfo_bytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// A counter of `/proc/vmstat`.
pub(crate) fn vmstat(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// A number of `/proc/net/sockstat` or `sockstat6`: of a protocol, by its name.
pub(crate) fn sockstat(text: &str, protocol: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(protocol)?.strip_prefix(':'))?;
    let mut words = line.split_whitespace();
    while let (Some(name), Some(value)) = (words.next(), words.next()) {
        if name == key {
            return value.parse().ok();
        }
    }
    None
}

/// Names of the devices in `/proc/net/dev`, which begins with two lines of
/// headings; `None` if it does not look like that.
pub(crate) fn net_devices(text: &str) -> Option<Vec<&str>> {
    let mut lines = text.lines();
    if !lines.next()?.starts_with("Inter-|") || !lines.next()?.contains("|bytes") {
        return None;
    }
    Some(lines.filter_map(|line| Some(line.split_once(':')?.0.trim())).collect())
}

/// Bit of `/proc/sys/kernel/tainted` that an oops sets (`TAINT_DIE`).
pub(crate) const TAINT_DIE: u64 = 1 << 7;

/// What a kernel did to its processes so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Toll {
    /// `/proc/sys/kernel/tainted`.
    pub(crate) taint: u64,
    /// Processes killed for want of memory.
    pub(crate) oom_kills: u64,
}

impl Toll {
    /// Reads it now; what the kernel does not tell counts as nothing.
    pub(crate) fn now() -> Self {
        let taint = fs::read_to_string("/proc/sys/kernel/tainted").ok();
        let vm = fs::read_to_string("/proc/vmstat").ok();
        Self {
            taint: taint.and_then(|text| text.trim().parse().ok()).unwrap_or(0),
            oom_kills: vm.and_then(|text| vmstat(&text, "oom_kill")).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_process_is_read_from_its_stat_line() {
        let line = "27 (kworker/u4:1+netns) D 2 0 0 0 -1 69238880 0 0 0 0 3 12 0 0 20 0 1 0 9";
        let stat = parse_stat(line).expect("a stat line");
        assert_eq!(stat, Stat { pid: 27, comm: "kworker/u4:1+netns".into(), state: 'D', parent: 2 });
    }

    #[test]
    fn a_name_with_parentheses_and_blanks_does_not_shift_the_fields() {
        let stat = parse_stat("7 (a) R 99 (b) S 1 7 7 0 -1 0").expect("a stat line");
        assert_eq!(stat, Stat { pid: 7, comm: "a) R 99 (b".into(), state: 'S', parent: 1 });
    }

    #[test]
    fn descendants_include_the_children_of_children_and_nobody_else() {
        let stat = |pid, parent| Stat { pid, comm: "x".into(), state: 'S', parent };
        let all = [stat(1, 0), stat(5, 9), stat(9, 1), stat(12, 5), stat(13, 1), stat(2, 0)];
        let family: Vec<i32> = descendants(&all, 9).iter().map(|stat| stat.pid).collect();
        assert_eq!(family, [5, 9, 12]);
    }

    #[test]
    fn numbers_of_sockets_are_read_from_the_line_of_their_protocol() {
        let text = "sockets: used 9\nTCP: inuse 3 orphan 1 tw 0 alloc 4 mem 2\nUDP: inuse 1 mem 0\n";
        assert_eq!(sockstat(text, "TCP", "inuse"), Some(3));
        assert_eq!(sockstat(text, "TCP", "mem"), Some(2));
        assert_eq!(sockstat(text, "UDP", "inuse"), Some(1));
        assert_eq!(sockstat(text, "TCP6", "inuse"), None);
        assert_eq!(sockstat("TCP: orphan 1\n", "TCP", "inuse"), None);
        assert_eq!(sockstat("TCP: inuse\n", "TCP", "inuse"), None);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let stat = |pid, parent| Stat { pid, comm: "x".into(), state: 'S', parent };
        assert_eq!(descendants(&[stat(3, 4), stat(4, 3)], 3).len(), 2);
    }

    #[test]
    fn own_process_is_among_the_processes() {
        let own = i32::try_from(std::process::id()).expect("pid");
        assert!(processes().iter().any(|stat| stat.pid == own));
        assert!(threads(own).contains(&own));
    }

    #[test]
    fn meminfo_values_are_bytes() {
        let text = "MemTotal:        1000912 kB\nMemFree:          950000 kB\nHugePages_Total:       3\n";
        assert_eq!(meminfo_bytes(text, "MemTotal"), Some(1_000_912 * 1024));
        assert_eq!(meminfo_bytes(text, "Mem"), None);
        assert_eq!(meminfo_bytes(text, "HugePages_Total"), None);
    }

    #[test]
    fn a_vmstat_counter_is_matched_by_its_whole_name() {
        let text = "oom_kill_other 9\noom_kill 2\n";
        assert_eq!(vmstat(text, "oom_kill"), Some(2));
        assert_eq!(vmstat(text, "oom"), None);
    }

    // As 6.1.192 and 6.12.117 print it, here with a second device.
    const NET_DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
  sit0:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
";

    #[test]
    fn devices_are_listed_without_the_headings() {
        assert_eq!(net_devices(NET_DEV), Some(vec!["lo", "sit0"]));
        assert_eq!(net_devices(""), None);
        assert_eq!(net_devices("lo: 1\nlo: 2\n"), None);
    }

    proptest! {
        #[test]
        fn no_parser_panics(text in "\\PC{0,200}") {
            let _ = parse_stat(&text);
            let _ = meminfo_bytes(&text, "MemTotal");
            let _ = vmstat(&text, "oom_kill");
            let _ = net_devices(&text);
        }

        #[test]
        fn any_name_survives_in_a_stat_line(comm in "[ -~]{0,15}", parent in 0..i32::MAX) {
            let stat = parse_stat(&format!("42 ({comm}) S {parent} 1 1")).expect("a stat line");
            prop_assert_eq!(stat.comm, comm);
            prop_assert_eq!(stat.parent, parent);
        }
    }
}
