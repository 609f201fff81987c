//! How long a machine was listened to. Pure: the caller reads the clock.

use std::time::{Duration, Instant};

/// Time in which a machine was listened to. While we were stopped, or the whole
/// host was, it may have said much that is still to be heard: such time counts
/// against nobody's limit.
#[derive(Debug)]
pub(super) struct HeardTime {
    counted: Duration,
    last: Instant,
}

impl HeardTime {
    /// Longest time between two looks that is counted: looks are 50 ms apart, and
    /// whatever keeps us away for longer is no fault of the machine. Short, since
    /// what was said meanwhile is heard only after it has passed.
    const LONGEST: Duration = Duration::from_millis(300);

    /// Begins to count at this moment.
    pub(super) fn begin(now: Instant) -> Self {
        Self { counted: Duration::ZERO, last: now }
    }

    /// What is counted at this moment.
    pub(super) fn now(&self, now: Instant) -> Duration {
        self.counted + now.saturating_duration_since(self.last).min(Self::LONGEST)
    }

    /// Listens again from this moment on. Gives what was not counted, if any.
    pub(super) fn look(&mut self, now: Instant) -> Option<Duration> {
        let gap = now.saturating_duration_since(self.last);
        (self.counted, self.last) = (self.counted + gap.min(Self::LONGEST), now);
        gap.checked_sub(Self::LONGEST).filter(|lost| !lost.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_that_is_looked_at_often_counts_in_full() {
        let start = crate::clock::now();
        let mut time = HeardTime::begin(start);
        for tenth in 1..=50 {
            assert_eq!(time.look(start + SECOND / 10 * tenth), None);
        }
        assert_eq!(time.now(start + SECOND * 5), SECOND * 5);
    }

    #[test]
    fn a_host_that_slept_has_lost_nobody_his_limit() {
        let start = crate::clock::now();
        let mut time = HeardTime::begin(start);
        let woken = start + SECOND * 3600;
        assert_eq!(time.now(woken), HeardTime::LONGEST);
        assert_eq!(time.look(woken), Some(SECOND * 3600 - HeardTime::LONGEST));
        assert_eq!(time.now(woken + SECOND / 10), HeardTime::LONGEST + SECOND / 10);
    }

    #[test]
    fn a_clock_that_goes_backwards_counts_nothing() {
        let start = crate::clock::now();
        let mut time = HeardTime::begin(start + SECOND);
        assert_eq!(time.look(start), None);
        assert_eq!(time.now(start), Duration::ZERO);
    }
}
