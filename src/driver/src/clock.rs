//! The only reader of clocks, and the only sleeper.

use std::time::{Duration, Instant};

/// Monotonic time.
#[expect(clippy::disallowed_methods, reason = "this is the room for it")]
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, UTC.
#[expect(clippy::disallowed_methods, reason = "this is the room for it")]
#[must_use]
pub fn unix_seconds() -> i64 {
    jiff::Timestamp::now().as_second()
}

/// Today's date, UTC.
#[expect(clippy::disallowed_methods, reason = "this is the room for it")]
#[must_use]
pub fn today() -> jiff::civil::Date {
    jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// The time stamp counter of this processor, with the monotonic time in nanoseconds at
/// which it was read; none where there is no such counter.
#[must_use]
pub fn tsc() -> Option<(u64, u64)> {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    let start = *START.get_or_init(now);
    // The reading that was interrupted least.
    let best = (0..16).filter_map(|_| {
        let (before, at, after) = (read_tsc()?, now(), read_tsc()?);
        let ns = u64::try_from(at.saturating_duration_since(start).as_nanos()).ok()?;
        Some((after.checked_sub(before)?, before.midpoint(after), ns))
    });
    best.min_by_key(|(width, ..)| *width).map(|(_, ticks, ns)| (ticks, ns))
}

#[cfg(target_arch = "x86_64")]
fn read_tsc() -> Option<u64> {
    // SAFETY: the instruction only reads a register, and every x86-64 processor has it. A
    // process for which it was switched off (PR_SET_TSC) has done so itself.
    Some(unsafe { core::arch::x86_64::_rdtsc() })
}

#[cfg(not(target_arch = "x86_64"))]
fn read_tsc() -> Option<u64> {
    None
}

/// Pauses between two looks at something that cannot be waited for.
#[expect(clippy::disallowed_methods, reason = "this is the room for it")]
pub fn poll_interval(interval: Duration) {
    std::thread::sleep(interval);
}
