//! Until when the waits of a test may last: a little less than the host has
//! patience, so that the guest's own words arrive before it is ended.
//!
//! Owns that moment; waits for nothing itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kregress_wire::PlannedTest;

use crate::clock;

/// The end of a test's time or of the silence that the host bears, whichever
/// comes first. Clones share what was heard.
#[derive(Debug, Clone)]
pub struct Deadline(Arc<Limits>);

#[derive(Debug)]
struct Limits {
    end_ns: u64,
    silence_ns: u64,
    /// When the host last heard of the test.
    heard_ns: AtomicU64,
}

impl Deadline {
    /// The limits of a test that begins now.
    #[must_use]
    pub fn of(test: &PlannedTest) -> Self {
        Self::new(patience(test.timeout_ms), patience(test.silence_ms))
    }

    /// Waits end after `limit`, and at the latest `silence` after the last word
    /// to the host.
    #[must_use]
    pub fn new(limit: Duration, silence: Duration) -> Self {
        let now = clock::monotonic_ns();
        Self(Arc::new(Limits {
            end_ns: now.saturating_add(clock::duration_ns(limit)),
            silence_ns: clock::duration_ns(silence),
            heard_ns: AtomicU64::new(now),
        }))
    }

    /// The host hears of the test now.
    pub(crate) fn heard(&self) {
        self.0.heard_ns.store(clock::monotonic_ns(), Ordering::Relaxed);
    }

    /// Time left for a wait during which the host hears nothing.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.0.left_ns(clock::monotonic_ns()))
    }
}

impl Limits {
    fn left_ns(&self, now_ns: u64) -> u64 {
        let silent_ns = self.heard_ns.load(Ordering::Relaxed).saturating_add(self.silence_ns);
        self.end_ns.min(silent_ns).saturating_sub(now_ns)
    }
}

/// What a workload may take of a limit of the host: all but a fifth, for a look at
/// what is stuck takes time too, and half a second less at least unless that is
/// most of it.
fn patience(limit_ms: u64) -> Duration {
    let reserve = (limit_ms / 5).max(500).min(limit_ms / 2);
    Duration::from_millis(limit_ms - reserve)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(end_ns: u64, silence_ns: u64, heard_ns: u64) -> Limits {
        Limits { end_ns, silence_ns, heard_ns: AtomicU64::new(heard_ns) }
    }

    #[test]
    fn waits_end_before_the_host_loses_patience() {
        let milliseconds = [0, 100, 1_000, 5_000, 60_000].map(|ms| patience(ms).as_millis());
        assert_eq!(milliseconds, [0, 50, 500, 4_000, 48_000]);
    }

    #[test]
    fn a_silent_wait_ends_with_the_silence_that_the_host_bears() {
        assert_eq!(limits(100, 40, 10).left_ns(20), 30);
    }

    #[test]
    fn a_test_that_speaks_may_wait_until_its_end() {
        assert_eq!(limits(100, 40, 70).left_ns(80), 20);
    }

    #[test]
    fn nothing_is_left_when_either_limit_is_over() {
        assert_eq!(limits(100, 40, 10).left_ns(60), 0);
        assert_eq!(limits(100, 40, 90).left_ns(110), 0);
    }

    #[test]
    fn a_word_to_the_host_begins_the_silence_anew_for_every_clone() {
        let deadline = Deadline::new(Duration::from_secs(3600), Duration::ZERO);
        let clone = deadline.clone();
        assert_eq!(clone.remaining(), Duration::ZERO);
        let before = deadline.0.heard_ns.load(Ordering::Relaxed);
        while clock::monotonic_ns() == before {}
        deadline.heard();
        assert!(clone.0.heard_ns.load(Ordering::Relaxed) > before);
    }
}
