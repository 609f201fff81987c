//! The permutation test of a difference of means: how often values dealt out at
//! random to two sides differ as much. It assumes no distribution.

use std::cmp::Ordering;

use super::Sample;

/// Up to so many ways of dealing, all are tried: 8 against 8 boots. In the
/// worst case that is a fifth of a millisecond.
const EXACT_AT_MOST: u64 = 12_870;

/// Beyond that, so many random deals at most. The smallest p is then 2e-4, far
/// below every threshold that this test is held against.
const DEALS: u32 = 9_999;

/// Random deals end as soon as so many in either direction were at least as
/// extreme: p is known to a sixth then, and it is nowhere near a threshold.
const EXTREMES: u32 = 40;

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
/// Twice the smaller tail, as `scipy.stats.permutation_test` has it. All deals
/// where there are few (as with its `n_resamples=inf`), else random ones from a fixed seed, with the stopping
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
    let (small, observed) = match a.len().cmp(&b.len()) {
        Ordering::Less => (a.len(), sum(a)),
        Ordering::Greater => (b.len(), sum(b)),
        // Either side would do, and both have to give the same random deals.
        Ordering::Equal => (a.len(), sum(a).abs()),
    };
    let scale = pooled.iter().map(|value| value.abs()).sum::<f64>();
    if !observed.is_finite() || !scale.is_finite() {
        return None;
    }
    let deals = Deals { pooled: &pooled, small, observed, rounding: 1e-9 * scale };
    let (tails, ways) = match ways(pooled.len(), small) {
        Some(ways) => (deals.all(), ways as f64),
        None => deals.some(),
    };
    Some(Permutation { p: (2.0 * tails.smaller() / ways).min(1.0), smallest: 2.0 / ways.max(2.0) })
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
    /// Sum of the smaller side.
    observed: f64,
    /// Sums that differ by no more are the same.
    rounding: f64,
}

/// How many deals gave a sum at most, and at least, as large as the one observed.
#[derive(Default)]
struct Tails {
    below: u32,
    above: u32,
}

impl Tails {
    fn smaller(&self) -> f64 {
        f64::from(self.below.min(self.above))
    }
}

impl Deals<'_> {
    fn count(&self, sum: f64, tails: &mut Tails) {
        tails.below += u32::from(sum <= self.observed + self.rounding);
        tails.above += u32::from(sum >= self.observed - self.rounding);
    }

    fn all(&self) -> Tails {
        let mut tails = Tails::default();
        self.count_from(0, self.small, 0.0, &mut tails);
        tails
    }

    /// Counts the deals that add `missing` of the values from `start` on to what
    /// sums up to `sum`.
    fn count_from(&self, start: usize, missing: usize, sum: f64, tails: &mut Tails) {
        if missing == 0 {
            self.count(sum, tails);
            return;
        }
        for i in start..=self.pooled.len() - missing {
            self.count_from(i + 1, missing - 1, sum + self.pooled[i], tails);
        }
    }

    /// Random deals, and how many they were.
    fn some(&self) -> (Tails, f64) {
        let mut rng = fastrand::Rng::with_seed(SEED);
        let mut values = self.pooled.to_vec();
        let mut tails = Tails::default();
        for deal in 1..=DEALS {
            let mut sum = 0.0;
            for i in 0..self.small {
                let j = rng.usize(i..values.len());
                values.swap(i, j);
                sum += values[i];
            }
            self.count(sum, &mut tails);
            if tails.below.min(tails.above) == EXTREMES {
                return (tails, f64::from(deal));
            }
        }
        // The deal at hand is one of them.
        (Tails { below: tails.below + 1, above: tails.above + 1 }, f64::from(DEALS + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn p(a: &[f64], b: &[f64]) -> f64 {
        permutation(a, b).expect("finite").p
    }

    fn same(ours: f64, theirs: f64) {
        assert!((ours - theirs).abs() < 1e-12, "{ours} is not {theirs}");
    }

    const A: [f64; 6] = [52.1, 53.4, 51.9, 52.8, 54.0, 52.3];
    const B: [f64; 6] = [55.2, 54.1, 56.3, 53.9, 55.0, 57.1];
    const G: [f64; 12] = [1.02, 0.97, 1.01, 0.99, 1.03, 0.98, 1.0, 1.04, 0.96, 1.015, 0.985, 1.005];
    const H: [f64; 12] = [1.03, 1.0, 1.05, 1.01, 0.99, 1.06, 1.02, 1.04, 0.995, 1.025, 1.035, 1.045];

    #[test]
    fn all_deals_of_six_boots_a_side_are_those_of_scipy() {
        // stats.permutation_test((A, B), f, n_resamples=np.inf), f = difference of means
        same(p(&A, &B), 0.004_329_004_329_004_329);
    }

    #[test]
    fn sides_of_other_size_are_dealt_as_scipy_deals_them() {
        same(p(&[10.1, 10.4, 9.8], &[10.9, 30.5, 11.2, 10.7, 11.0]), 0.035_714_285_714_285_71);
    }

    #[test]
    fn ties_count_as_scipy_counts_them() {
        same(p(&[1.0, 1.0, 2.0, 2.0], &[1.0, 2.0, 3.0, 3.0]), 0.4);
        same(p(&[0.0; 6], &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]), 1.0);
    }

    #[test]
    fn random_deals_come_near_to_all_of_them() {
        // All 2 704 156 deals, by scipy: 0.020657831870646515.
        let ours = p(&G, &H);
        assert!((ours / 0.020_657_8 - 1.0).abs() < 0.3, "{ours}");
    }

    #[test]
    fn sides_that_never_meet_have_the_smallest_p() {
        let low: Vec<f64> = (0..6).map(f64::from).collect();
        let high: Vec<f64> = (10..16).map(f64::from).collect();
        let exact = permutation(&low, &high).expect("finite");
        same(exact.p, 2.0 / 924.0);
        same(exact.smallest, exact.p);
        let low: Vec<f64> = (0..24).map(f64::from).collect();
        let high: Vec<f64> = (30..54).map(f64::from).collect();
        let random = permutation(&low, &high).expect("finite");
        same(random.p, 2e-4);
        same(random.smallest, random.p);
    }

    #[test]
    fn equal_values_are_no_difference() {
        same(p(&[5.0; 6], &[5.0; 6]), 1.0);
        same(p(&[0.1; 24], &[0.1; 24]), 1.0);
    }

    #[test]
    fn neither_side_nor_order_matters() {
        let mut reversed = G;
        reversed.reverse();
        same(p(&G, &H), p(&H, &G));
        same(p(&reversed, &H), p(&G, &H));
    }

    #[test]
    fn nothing_and_no_numbers_are_not_dealt() {
        assert_eq!(permutation(&[], &[1.0]), None);
        assert_eq!(permutation(&[f64::NAN], &[1.0]), None);
        assert_eq!(permutation(&[f64::MAX, f64::MAX, -f64::MAX], &[f64::MAX, f64::MAX]), None);
    }

    #[test]
    fn the_number_of_deals_is_known_as_long_as_all_are_tried() {
        assert_eq!(ways(12, 6), Some(924));
        assert_eq!(ways(16, 8), Some(12_870));
        assert_eq!(ways(18, 9), None);
        assert_eq!(ways(100_000, 50_000), None);
        assert_eq!(ways(100, 1), Some(100));
    }
}
