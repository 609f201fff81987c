//! How fast the time stamp counter of a guest counts whose processors are emulated:
//! QEMU's emulator gives it the host's own (`cpu_get_host_ticks()`, QEMU's
//! include/qemu/timer.h).
//!
//! A kernel finds the rate out against the PIT while it boots. When the host takes the
//! processor away in between, it finds a rate that is too low, and never corrects one that
//! is off by more than a percent (`tsc_refine_calibration_work()`, arch/x86/kernel/tsc.c).
//! Its clock is then fast: of 611 boots on a loaded host 9 ran 4 to 100 times too fast, with
//! times that are wrong by as much, and with soft lockups and stalls that were none. So it
//! is told.

use std::sync::OnceLock;
use std::time::Duration;

use crate::clock;

/// Between two readings. Each is known to a microsecond, so that the rate is to some 50 ppm.
const APART: Duration = Duration::from_millis(20);

/// Rates that readings may come to while the counter is constant, in one million parts of
/// each other.
const SPREAD_PPM: u64 = 500;

/// Rates that a counter may have, in kHz.
const PLAUSIBLE: std::ops::RangeInclusive<u64> = 100_000..=10_000_000;

/// A reading of the counter, and when, in nanoseconds.
type Reading = (u64, u64);

/// The words for the command line of an emulated kernel; none where the host's counter is not
/// constant, or is none.
#[must_use]
pub fn cmdline() -> Option<String> {
    static RATE: OnceLock<Option<u64>> = OnceLock::new();
    let rate = RATE.get_or_init(|| rate(&readings()?));
    rate.map(|khz| format!("tsc_early_khz={khz}"))
}

fn readings() -> Option<Vec<Reading>> {
    let mut readings = vec![clock::tsc()?];
    for _ in 0..3 {
        clock::poll_interval(APART);
        readings.push(clock::tsc()?);
    }
    Some(readings)
}

/// The rate in kHz, if all readings agree about it.
fn rate(readings: &[Reading]) -> Option<u64> {
    let between = |pair: &[Reading]| -> Option<u64> {
        let (ticks, ns) = (pair[1].0.checked_sub(pair[0].0)?, pair[1].1.checked_sub(pair[0].1)?);
        u128::from(ticks).checked_mul(1_000_000)?.checked_div(u128::from(ns))?.try_into().ok()
    };
    let rates: Vec<u64> = readings.windows(2).map(between).collect::<Option<_>>()?;
    let (least, most) = (*rates.iter().min()?, *rates.iter().max()?);
    let whole = between(&[*readings.first()?, *readings.last()?])?;
    let agree = (most - least).saturating_mul(1_000_000) <= least.saturating_mul(SPREAD_PPM);
    (agree && PLAUSIBLE.contains(&whole)).then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Readings 20 ms apart of a counter of 2.6 GHz.
    fn steady() -> Vec<Reading> {
        (0..4).map(|at| (1_000_000 + at * 52_000_000, 77 + at * 20_000_000)).collect()
    }

    #[test]
    fn a_steady_counter_has_a_rate() {
        assert_eq!(rate(&steady()), Some(2_600_000));
    }

    #[test]
    fn a_reading_that_came_late_does_no_harm() {
        // A microsecond between the counter and the clock.
        let mut readings = steady();
        readings[3].1 += 1000;
        let rate = rate(&readings).expect("a rate");
        assert!(rate.abs_diff(2_600_000) < 100, "{rate}");
    }

    #[test]
    fn a_counter_that_changes_its_rate_is_not_told() {
        let mut readings = steady();
        readings[3].0 += 1_000_000;
        assert_eq!(rate(&readings), None);
    }

    #[test]
    fn a_counter_that_stands_or_jumps_back_is_not_told() {
        assert_eq!(rate(&[(5, 0), (5, 20_000_000), (5, 40_000_000)]), None);
        assert_eq!(rate(&[(5, 0), (4, 20_000_000)]), None);
        assert_eq!(rate(&[(5, 0), (6, 0)]), None);
        assert_eq!(rate(&[(5, 0)]), None);
    }
}
