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

/// Pauses between two looks at something that cannot be waited for.
#[expect(clippy::disallowed_methods, reason = "this is the room for it")]
pub fn poll_interval(interval: Duration) {
    std::thread::sleep(interval);
}
