//! The only reader of clocks in the guest, and the only sleeper.

use std::time::Duration;

use rustix::thread::{NanosleepRelativeResult, nanosleep};
use rustix::time::{ClockId, Timespec, clock_gettime};

fn nanoseconds(time: Timespec) -> u64 {
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000_000 + nanos.unwrap_or(0)
}

/// A time in nanoseconds; the largest number for one that is longer.
pub(crate) fn duration_ns(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// `CLOCK_MONOTONIC` in nanoseconds; the clock of traces with `trace_clock=mono`.
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::Monotonic))
}

/// CPU time of this process in nanoseconds.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime))
}

/// Pauses between two looks at something that cannot be waited for.
pub fn poll_interval(interval: Duration) {
    let mut left = Timespec::try_from(interval).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
    while let NanosleepRelativeResult::Interrupted(rest) = nanosleep(&left) {
        left = rest;
    }
}

/// Length of the kernel's tick in nanoseconds, that is 1/`CONFIG_HZ`: the
/// resolution of the coarse clocks (`KTIME_LOW_RES`, include/linux/hrtimer_defs.h).
#[must_use]
pub fn tick_ns() -> u64 {
    nanoseconds(rustix::time::clock_getres(ClockId::MonotonicCoarse))
}
