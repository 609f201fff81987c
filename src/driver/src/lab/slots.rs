//! How many boots may run side by side on this host. Pure, but for reading what
//! the host has.

use std::num::NonZeroUsize;

use crate::model::{Backend, Machine};

/// Memory that QEMU takes beside the guest's, in bytes: its code, its buffers and
/// TCG's translations. From experience: 150 to 250 MiB with our suites.
const BESIDE_GUEST: u64 = 256 << 20;

/// Share of the available memory that boots may take, in percent: the page cache
/// of images and logs, and everybody else, need the rest.
const SHARE: u64 = 80;

/// What the host has for boots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Processors that this process may use.
    pub cores: usize,
    /// Memory that can be had without swapping, in bytes; none if unknown.
    pub available: Option<u64>,
}

impl Host {
    /// This host, now.
    #[must_use]
    pub fn now() -> Self {
        let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        Self {
            cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            available: available(&meminfo),
        }
    }
}

/// `MemAvailable` (proc_meminfo(5)) in bytes.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Whether boots that measure times share the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quiet {
    /// With other boots, as long as each virtual CPU has a processor.
    Shared,
    /// With no other boot, and on processors of their own.
    Alone,
}

/// How many boots may run side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slots {
    /// Boots at most.
    pub side_by_side: usize,
    /// Processors of the host.
    pub cores: usize,
    /// What boots that measure times are granted.
    pub quiet: Quiet,
}

/// What one boot takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Virtual CPUs.
    pub cpus: usize,
    /// What it is for.
    pub purpose: Purpose,
}

/// What a boot is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// Its tests measure times or rates, which others would disturb.
    Timing,
    /// Its tests only pass or fail.
    Function,
}

impl Slots {
    /// One boot at a time.
    #[must_use]
    pub fn one(cores: usize) -> Self {
        Self { side_by_side: 1, cores, quiet: Quiet::Shared }
    }

    /// As many as were asked for, or as the host has processors, and never more
    /// than its memory holds; with the reason where it is fewer than asked for.
    #[must_use]
    pub fn of(machine: &Machine, asked: Option<usize>, quiet: Quiet, host: Host) -> (Self, Option<String>) {
        let wanted = match machine.backend {
            // There is but one kernel.
            Backend::Local => 1,
            Backend::Qemu | Backend::VirtmeNg => asked.unwrap_or(host.cores).max(1),
        };
        let each = machine.memory.saturating_add(BESIDE_GUEST);
        let fitting = host.available.map(|bytes| bytes / 100 * SHARE / each);
        let fitting = fitting.map_or(usize::MAX, |count| usize::try_from(count).unwrap_or(usize::MAX)).max(1);
        let side_by_side = wanted.min(fitting);
        let reason = match asked {
            Some(asked) if side_by_side < asked.max(1) && machine.backend != Backend::Local => Some(format!(
                "{side_by_side} boots side by side instead of {asked}: {} MiB of memory are available, and each boot needs {} MiB",
                host.available.unwrap_or(0) >> 20,
                each >> 20,
            )),
            _ => None,
        };
        (Self { side_by_side, cores: host.cores, quiet }, reason)
    }

    /// Whether a boot may start beside those that run.
    #[must_use]
    pub fn admit(&self, running: &[Need], next: Need) -> bool {
        if running.is_empty() {
            return true;
        }
        if running.len() >= self.side_by_side {
            return false;
        }
        let timing = |need: &Need| need.purpose == Purpose::Timing;
        if !timing(&next) && !running.iter().any(timing) {
            return true;
        }
        let cpus: usize = running.iter().map(|need| need.cpus).sum();
        self.quiet == Quiet::Shared && cpus + next.cpus <= self.cores
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GIB: u64 = 1 << 30;

    fn host(cores: usize, gibibytes: u64) -> Host {
        Host { cores, available: Some(gibibytes * GIB) }
    }

    fn slots(asked: Option<usize>, host: Host) -> (Slots, Option<String>) {
        Slots::of(&Machine::default(), asked, Quiet::Shared, host)
    }

    const TIMING: Need = Need { cpus: 2, purpose: Purpose::Timing };
    const FUNCTION: Need = Need { cpus: 2, purpose: Purpose::Function };

    #[test]
    fn there_are_as_many_boots_as_processors() {
        assert_eq!(slots(None, host(8, 64)).0.side_by_side, 8);
        assert_eq!(slots(Some(3), host(8, 64)).0.side_by_side, 3);
    }

    #[test]
    fn memory_sets_a_limit_and_says_so_only_where_more_was_asked_for() {
        let (found, reason) = slots(None, host(8, 4));
        assert_eq!((found.side_by_side, reason), (2, None));
        let (found, reason) = slots(Some(6), host(8, 4));
        assert_eq!(found.side_by_side, 2);
        insta::assert_snapshot!(
            reason.expect("a reason"),
            @"2 boots side by side instead of 6: 4096 MiB of memory are available, and each boot needs 1280 MiB"
        );
    }

    #[test]
    fn one_boot_is_always_tried() {
        assert_eq!(slots(None, Host { cores: 2, available: Some(0) }).0.side_by_side, 1);
        assert_eq!(slots(None, Host { cores: 1, available: None }).0.side_by_side, 1);
    }

    #[test]
    fn the_hosts_own_kernel_runs_one_plan_at_a_time() {
        let machine = Machine { backend: Backend::Local, ..Machine::default() };
        let (slots, reason) = Slots::of(&machine, Some(4), Quiet::Shared, host(8, 64));
        assert_eq!((slots.side_by_side, reason), (1, None));
    }

    #[test]
    fn functional_boots_may_take_more_processors_than_there_are() {
        let slots = Slots { side_by_side: 4, cores: 2, quiet: Quiet::Shared };
        assert!(slots.admit(&[FUNCTION; 3], FUNCTION));
        assert!(!slots.admit(&[FUNCTION; 4], FUNCTION));
    }

    #[test]
    fn a_timing_boot_shares_processors_with_nobody() {
        let slots = Slots { side_by_side: 4, cores: 4, quiet: Quiet::Shared };
        assert!(slots.admit(&[TIMING], TIMING));
        assert!(!slots.admit(&[TIMING; 2], TIMING));
        assert!(slots.admit(&[FUNCTION], TIMING));
        assert!(!slots.admit(&[FUNCTION; 2], TIMING));
        assert!(!slots.admit(&[TIMING, FUNCTION], FUNCTION));
    }

    #[test]
    fn on_a_quiet_host_a_timing_boot_is_alone() {
        let slots = Slots { side_by_side: 8, cores: 16, quiet: Quiet::Alone };
        assert!(!slots.admit(&[FUNCTION], TIMING));
        assert!(!slots.admit(&[TIMING], FUNCTION));
        assert!(slots.admit(&[], TIMING));
        assert!(slots.admit(&[FUNCTION], FUNCTION));
    }

    #[test]
    fn meminfo_is_read_in_kibibytes() {
        assert_eq!(available("MemTotal: 9 kB\nMemAvailable:   2048 kB\n"), Some(2 << 20));
        assert_eq!(available("MemAvailable: many"), None);
        assert_eq!(available(""), None);
    }

    proptest! {
        #[test]
        fn whatever_is_admitted_leaves_timing_boots_their_processors(
            cores in 1_usize..32,
            jobs in 1_usize..32,
            needs in proptest::collection::vec((1_usize..8, any::<bool>()), 1..40),
        ) {
            let slots = Slots { side_by_side: jobs, cores, quiet: Quiet::Shared };
            let mut running = Vec::new();
            for (cpus, timing) in needs {
                let purpose = if timing { Purpose::Timing } else { Purpose::Function };
                let next = Need { cpus, purpose };
                if slots.admit(&running, next) {
                    running.push(next);
                }
            }
            let taken: usize = running.iter().map(|need| need.cpus).sum();
            let timing = running.iter().any(|need| need.purpose == Purpose::Timing);
            prop_assert!(!running.is_empty() && running.len() <= jobs);
            prop_assert!(!timing || running.len() == 1 || taken <= cores);
        }
    }
}
