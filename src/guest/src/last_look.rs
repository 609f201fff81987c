//! The last look at a kernel after its tests: lets it say what it still has to
//! say, and asks what it only tells when asked.
//!
//! A device that is not given back is reported after seconds, a leak when
//! somebody scans for it. Both belong to no test but to the boot. A guest in
//! which nothing is under way pays three looks at the list of processes.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use crate::clock;
use crate::kmsg::{self, Level};
use crate::procfs::{self, Stat};

/// Leaks are asked for and told here.
const KMEMLEAK: &str = "/sys/kernel/debug/kmemleak";

/// How old an object must be before it is called a leak (`MSECS_MIN_AGE`,
/// mm/kmemleak.c), and a little more for the rounding to jiffies.
const MIN_AGE: Duration = Duration::from_millis(5_050);

/// Longest that two scans may take; from experience, a scan of a guest of 1 GiB
/// takes less than a second under TCG, and KASAN makes it ten times slower.
const SCANS: Duration = Duration::from_secs(20);

/// Leaks that are told. More of them say nothing new.
const MAX_LEAKS: usize = 20;

/// Lines of one leak: head, origin, dump and 16 frames.
const MAX_LINES: usize = 30;

/// The kernel complains of a device that is not given back after this long
/// (`netdev_unregister_timeout_secs`, net/core/dev.c; since 5.13).
const UNREGISTER_TIMEOUT: &str = "/proc/sys/net/core/netdev_unregister_timeout_secs";

/// Where that cannot be read.
const USUAL_TIMEOUT: Duration = Duration::from_secs(10);

/// The timeout is whatever a test left there.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

/// One round of cleanup beyond the timeout.
const ROUND: Duration = Duration::from_secs(5);

/// Pause between two looks, and how many in a row must find nothing: between
/// queueing and start of a cleanup nothing shows.
const POLL: Duration = Duration::from_millis(10);
const CALM: u32 = 3;

/// What is remembered of the beginning, for the end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LastLook {
    /// Kernel time before which objects are of the kernel's own start, where
    /// kmemleak errs: it does not see pointers from memory that is not its own.
    born: Option<u64>,
}

impl LastLook {
    /// Remembers this moment.
    pub(crate) fn begin() -> Self {
        let list = || fs::read_to_string("/proc/timer_list").ok();
        let born = Path::new(KMEMLEAK).exists().then(list).flatten();
        Self { born: born.and_then(|text| jiffies(&text)) }
    }

    /// Looks. `settling` is told before each wait how long it may take.
    ///
    /// # Errors
    ///
    /// Fails when the host cannot be told.
    pub(crate) fn take(self, settling: &mut dyn FnMut(Duration) -> io::Result<()>) -> io::Result<()> {
        wait_for_cleanup(settling)?;
        if may_scan() {
            settling(SCANS + MIN_AGE)?;
            if let Err(error) = self.scan() {
                kmsg::log(Level::Warning, &format!("cannot look for leaks in {KMEMLEAK}: {error}"));
            }
        }
        Ok(())
    }

    /// Scans twice: the first scan takes the checksum of what nobody points to,
    /// the second one reports what has not changed since (`update_checksum()`).
    /// A pointer on its way between two lists is missed by one of them only.
    fn scan(self) -> io::Result<()> {
        fs::write(KMEMLEAK, "scan")?;
        clock::poll_interval(MIN_AGE);
        fs::write(KMEMLEAK, "scan")?;
        let text = String::from_utf8_lossy(&fs::read(KMEMLEAK)?).into_owned();
        let leaks = leaks(&text, self.born);
        for leak in leaks.iter().take(MAX_LEAKS) {
            kmsg::quote(Level::Warning, leak);
        }
        if leaks.len() > MAX_LEAKS {
            kmsg::log(Level::Notice, &format!("{} more leaks are left out", leaks.len() - MAX_LEAKS));
        }
        Ok(())
    }
}

fn may_scan() -> bool {
    fs::OpenOptions::new().write(true).open(KMEMLEAK).is_ok()
}

/// Waits while namespaces or their devices are dying, as long as the kernel
/// takes to complain of one that cannot.
fn wait_for_cleanup(settling: &mut dyn FnMut(Duration) -> io::Result<()>) -> io::Result<()> {
    if is_calm() {
        return Ok(());
    }
    let limit = timeout(fs::read_to_string(UNREGISTER_TIMEOUT).ok().as_deref()) + ROUND;
    settling(limit)?;
    let start = clock::monotonic_ns();
    while !is_calm() {
        if Duration::from_nanos(clock::monotonic_ns().saturating_sub(start)) >= limit {
            kmsg::log(Level::Warning, &format!("namespaces were still being cleaned up after {limit:.0?}"));
            break;
        }
        clock::poll_interval(POLL);
    }
    Ok(())
}

fn is_calm() -> bool {
    for look in 0..CALM {
        if look > 0 {
            clock::poll_interval(POLL);
        }
        if procfs::processes().iter().any(is_cleaning) {
            return false;
        }
    }
    true
}

/// Whether a worker is at a round of `cleanup_net`: `kworker/u8:2+netns`. After
/// it, until it takes other work, a `-` stands in place of the `+`
/// (`wq_worker_comm()`).
fn is_cleaning(process: &Stat) -> bool {
    process.comm.starts_with("kworker/") && process.comm.ends_with("+netns")
}

fn timeout(text: Option<&str>) -> Duration {
    let seconds = text.and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
    seconds.unwrap_or(USUAL_TIMEOUT).min(LONGEST_TIMEOUT)
}

/// The kernel's clock of ticks, out of `/proc/timer_list`.
fn jiffies(timer_list: &str) -> Option<u64> {
    timer_list.lines().find_map(|line| line.trim().strip_prefix("jiffies: ")?.trim().parse().ok())
}

/// The objects in the text of kmemleak, each with its lines, without those that
/// were made before `born`.
fn leaks(text: &str, born: Option<u64>) -> Vec<String> {
    let mut leaks: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("unreferenced object ") {
            leaks.push(vec![line]);
        } else if let Some(leak) = leaks.last_mut().filter(|leak| leak.len() < MAX_LINES) {
            leak.push(line);
        }
    }
    let is_ours = |leak: &Vec<&str>| match (born, leak.iter().find_map(|line| made(line))) {
        (Some(born), Some(made)) => made >= born,
        _ => true,
    };
    leaks.into_iter().filter(is_ours).map(|lines| lines.join("\n")).collect()
}

/// The tick in `  comm "ip", pid 412, jiffies 4294937296`; 6.1 has the age
/// behind it.
fn made(line: &str) -> Option<u64> {
    let (_, after) = line.trim_start().strip_prefix("comm ")?.rsplit_once(", jiffies ")?;
    after.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &str = "\
unreferenced object 0xffff888004a3c000 (size 192):
  comm \"swapper/0\", pid 1, jiffies 4294667300
  hex dump (first 32 bytes):
    00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  ................
  backtrace (crc 0):
    kmemleak_alloc+0x41/0x80
    acpi_init+0x12/0x40
unreferenced object 0xffff888004a3d000 (size 64):
  comm \"a, jiffies 1\", pid 412, jiffies 4294669100 (age 12.104s)
  hex dump (first 32 bytes):
    6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b 6b  kkkkkkkkkkkkkkkk
  backtrace:
    [<00000000a1b2c3d4>] ops_init+0x39/0x130
";

    #[test]
    fn what_the_kernel_left_at_its_start_is_no_leak_of_ours() {
        assert_eq!(leaks(TEXT, None).len(), 2);
        let ours = leaks(TEXT, Some(4_294_669_000));
        assert_eq!(ours.len(), 1);
        assert!(
            ours[0].starts_with("unreferenced object 0xffff888004a3d000 (size 64):\n  comm "),
            "{ours:?}"
        );
        assert!(ours[0].ends_with("ops_init+0x39/0x130"), "{ours:?}");
    }

    #[test]
    fn an_object_whose_age_is_not_known_is_told() {
        assert_eq!(leaks("unreferenced object 0x1 (size 8):\n  comm odd\n", Some(7)).len(), 1);
        assert!(leaks("", Some(7)).is_empty());
        assert!(leaks("something else\n", None).is_empty());
    }

    #[test]
    fn the_kernels_ticks_are_read_from_its_timers() {
        let text = "Timer List Version: v0.9\nHRTIMER_MAX_CLOCK_BASES: 8\n\ncpu: 0\n clock 0:\njiffies: 4294937296\n";
        assert_eq!(jiffies(text), Some(4_294_937_296));
        assert_eq!(jiffies("now at 1 nsecs\n"), None);
    }

    #[test]
    fn a_worker_is_busy_while_a_plus_stands_before_its_queue() {
        let stat = |comm: &str| Stat { pid: 9, comm: comm.into(), state: 'D', parent: 2 };
        assert!(is_cleaning(&stat("kworker/u8:2+netns")));
        for comm in ["kworker/u8:2-netns", "kworker/u8:2+events", "kworker/u8:2", "netns", "x+netns"] {
            assert!(!is_cleaning(&stat(comm)), "{comm}");
        }
    }

    #[test]
    fn the_kernels_patience_is_taken_within_bounds() {
        assert_eq!(timeout(Some("3\n")), Duration::from_secs(3));
        assert_eq!(timeout(Some("1000000\n")), LONGEST_TIMEOUT);
        assert_eq!(timeout(None), USUAL_TIMEOUT);
        assert_eq!(timeout(Some("soon")), USUAL_TIMEOUT);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_leak_is_long(text in "(unreferenced object |comm |, jiffies |[0-9\n ]|\\PC){0,60}") {
            for leak in leaks(&text, Some(3)) {
                prop_assert!(leak.lines().count() <= MAX_LINES);
            }
            let _ = jiffies(&text);
        }
    }
}
