//! The permutation test of a difference of means: how often values dealt out at
//! random to two sides differ as much. It assumes no distribution.

use super::Sample;

/// Up to so many ways of dealing, all are tried: 8 against 8 boots. In the
/// worst case that is a fifth of a millisecond.
const EXACT_AT_MOST: u64 = 12_870;

/// Beyond that, so many random deals at most. The smallest p is then 1e-4, far
/// below every threshold that this test is held against.
const DEALS: u32 = 9_999;

/// Random deals end as soon as so many were at least as extreme: p is known to
/// a seventh then, and it is nowhere near a threshold.
const EXTREMES: u32 = 50;

/// Any number; always the same one, so that a verdict is a function of its data.
const SEED: u64 = 0x6b72_6567_7265_7373;

/// What the permutation test says of two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Permutation {
    /// Two-sided p; never zero, for the deal at hand is one of those that count.
    pub p: f64,
    /// The smallest p that samples of this size could give.
    pub smallest: f64,
}

/// Two-sided permutation test on the difference of the means of `a` and `b`;
/// none where a side is empty or a value is not finite.
///
/// All deals where there are few (as `scipy.stats.permutation_test` with
/// `n_resamples=inf`), else random ones from a fixed seed, with the stopping
/// rule of Besag and Clifford, "Sequential Monte Carlo p-values" (1991). Neither
/// the order of the values nor that of the sides matters.
#[must_use]
pub fn permutation(a: &[f64], b: &[f64]) -> Option<Permutation> {
    if a.is_empty() || b.is_empty() || a.iter().chain(b).any(|value| !value.is_finite()) {
        return None;
    }
    let mut pooled: Vec<f64> = a.iter().chain(b).copied().collect();
    pooled.sort_by(f64::total_cmp);
    let centre = Sample::of(&pooled).mean;
    // Around their mean the values of a side sum up to the difference of means,
    // times a constant; and the sum of one side is that of the other, negated.
    for value in &mut pooled {
        *value -= centre;
    }
    let sum = |side: &[f64]| side.iter().map(|value| value - centre).sum::<f64>();
    let observed = sum(a).abs().max(sum(b).abs());
    let scale = pooled.iter().map(|value| value.abs()).sum::<f64>();
    if !observed.is_finite() || !scale.is_finite() {
        return None;
    }
    // Deals that are the same but for rounding count as the same.
    let extreme = observed - 1e-9 * scale;
    let small = a.len().min(b.len());
    let deals = Deals { pooled: &pooled, small, extreme };
    let ways = ways(pooled.len(), small);
    Some(match ways {
        Some(ways) => {
            // Sides of the same size: every deal has its mirror image, as extreme.
            let smallest = if a.len() == b.len() && observed > 0.0 { 2.0 } else { 1.0 } / ways as f64;
            Permutation { p: deals.count_all() as f64 / ways as f64, smallest }
        }
        None => Permutation { p: deals.at_random(), smallest: 1.0 / f64::from(DEALS + 1) },
    })
}

/// In how many ways `small` of `n` can be chosen, as long as all can be tried.
fn ways(n: usize, small: usize) -> Option<u64> {
    let mut ways: u64 = 1;
    for i in 0..small as u64 {
        ways = ways * (n as u64 - i) / (i + 1);
        if ways > EXACT_AT_MOST {
            return None;
        }
    }
    Some(ways)
}

struct Deals<'a> {
    /// All values, around their mean.
    pooled: &'a [f64],
    /// Size of the smaller side.
    small: usize,
    /// Sums of the smaller side from here on are at least as extreme.
    extreme: f64,
}

impl Deals<'_> {
    fn is_extreme(&self, sum: f64) -> bool {
        sum.abs() >= self.extreme
    }

    fn count_all(&self) -> u64 {
        self.count_from(0, self.small, 0.0)
    }

    /// Extreme ones among the deals that add `missing` of the values from
    /// `start` on to what sums up to `sum`.
    fn count_from(&self, start: usize, missing: usize, sum: f64) -> u64 {
        if missing == 0 {
            return u64::from(self.is_extreme(sum));
        }
        let last = self.pooled.len() - missing;
        (start..=last).map(|i| self.count_from(i + 1, missing - 1, sum + self.pooled[i])).sum()
    }

    fn at_random(&self) -> f64 {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let mut values = self.pooled.to_vec();
        let mut extremes = 0;
        for deal in 1..=DEALS {
            let mut sum = 0.0;
            for i in 0..self.small {
                let j = rng.usize(i..values.len());
                values.swap(i, j);
                sum += values[i];
            }
            extremes += u32::from(self.is_extreme(sum));
            if extremes == EXTREMES {
                return f64::from(EXTREMES) / f64::from(deal);
            }
        }
        f64::from(extremes + 1) / f64::from(DEALS + 1)
    }
}
