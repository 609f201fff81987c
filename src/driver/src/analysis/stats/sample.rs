//! What a handful of numbers comes to: mean, variance, median, and how far the
//! median can be trusted.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::factorial::ln_binomial;

/// Size, mean and variance of a sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// How many values.
    pub n: u32,
    /// Their arithmetic mean; 0 for none.
    pub mean: f64,
    /// Their variance with `n - 1` in the denominator; 0 for fewer than two.
    pub variance: f64,
}

impl Sample {
    /// Summary of `values`.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let n = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let Some(&first) = values.first() else { return Self { n: 0, mean: 0.0, variance: 0.0 } };
        // Around the first value and not around zero: equal values have a
        // variance of exactly nothing then, which is a case of its own.
        let shift = values.iter().map(|value| value - first).sum::<f64>() / f64::from(n);
        let mean = first + shift;
        let squares = values.iter().map(|value| (value - first - shift).powi(2)).sum::<f64>();
        let variance = if n < 2 { 0.0 } else { squares / f64::from(n - 1) };
        Self { n, mean, variance }
    }

    /// Standard deviation.
    #[must_use]
    pub fn sd(&self) -> f64 {
        self.variance.sqrt()
    }
}

/// Median; none of an empty slice. Values that cannot be ordered (NaN) go last.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    median_of_sorted(&sorted)
}

fn median_of_sorted(sorted: &[f64]) -> Option<f64> {
    let n = sorted.len();
    let upper = *sorted.get(n / 2)?;
    if n % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(n / 2 - 1)?;
    // Halves first: the sum of two large values would be infinite.
    Some(lower / 2.0 + upper / 2.0)
}

/// Robust standard error of the median; 0 for fewer than two values.
///
/// Price and Bonett, "Estimating the variance of the sample median" (2001): the
/// distance of two order statistics about `sqrt(n)` ranks from the middle, over
/// the width that the binomial distribution gives that distance. It assumes
/// nothing of the shape: outliers do not reach it, and where values fall into
/// two heaps of like size (a timer tick inside or not) it spans both.
#[must_use]
pub fn median_error(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    if n < 2 {
        return 0.0;
    }
    let rank = (((n + 1) as f64 / 2.0 - (n as f64).sqrt()).round() as usize).max(1);
    let (Some(low), Some(high)) = (sorted.get(rank - 1), sorted.get(n - rank)) else { return 0.0 };
    let error = (high / 2.0 - low / 2.0) / standard_errors(n, rank);
    if error.is_finite() { error } else { 0.0 }
}

/// Half the distance between the `rank`-th smallest and largest of `n` values,
/// in standard errors of the median.
fn standard_errors(n: usize, rank: usize) -> f64 {
    // By then the ranks are `sqrt(n)`, that is two standard deviations of the
    // binomial distribution, from the middle.
    if n > 200 {
        return 2.0;
    }
    let outside: f64 = (0..rank)
        .map(|below| (ln_binomial(n as u64, below as u64) - n as f64 * std::f64::consts::LN_2).exp())
        .sum();
    // Two values of any distribution lie on both sides of the median half of
    // the time, so this is never zero.
    -Normal::standard().inverse_cdf(outside.clamp(1e-12, 0.45))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_variance_are_those_of_the_textbook() {
        let sample = Sample::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]);
        assert_eq!((sample.n, sample.mean), (8, 5.0));
        assert!((sample.variance - 32.0 / 7.0).abs() < 1e-12);
    }

    #[test]
    fn equal_values_have_no_variance_at_all() {
        assert_eq!(Sample::of(&[0.1; 7]), Sample { n: 7, mean: 0.1, variance: 0.0 });
    }

    #[test]
    fn nothing_and_one_value_are_no_division_by_zero() {
        assert_eq!(Sample::of(&[]), Sample { n: 0, mean: 0.0, variance: 0.0 });
        assert_eq!(Sample::of(&[3.0]), Sample { n: 1, mean: 3.0, variance: 0.0 });
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[9.0, 1.0, 2.0, 4.0]), Some(3.0));
        assert_eq!(median(&[f64::MAX, f64::MAX]), Some(f64::MAX));
    }

    #[test]
    fn the_error_of_the_median_is_that_of_the_normal_distribution_where_values_are_normal() {
        // 101 quantiles of the standard normal distribution; sqrt(pi / 2 / 101) = 0.1247.
        let values: Vec<f64> =
            (1..=101).map(|i| Normal::standard().inverse_cdf((f64::from(i) - 0.5) / 101.0)).collect();
        assert!((median_error(&values) - 0.1247).abs() < 0.01, "{}", median_error(&values));
    }

    #[test]
    fn two_values_say_little_of_their_median() {
        // Half of the distance is 0.674 standard errors: they include the median half of the time.
        assert!((median_error(&[1.0, 2.0]) - 0.5 / 0.674_489_75).abs() < 1e-6);
        assert_eq!(median_error(&[1.0]), 0.0);
    }

    #[test]
    fn an_outlier_does_not_reach_the_error_of_the_median() {
        let mut values: Vec<f64> = (0..21).map(f64::from).collect();
        let calm = median_error(&values);
        values[20] = 1e9;
        assert_eq!(median_error(&values), calm);
        assert_eq!(median_error(&[5.0; 21]), 0.0);
    }

    #[test]
    fn two_heaps_are_spanned() {
        let values: Vec<f64> = (0..20).map(|i| if i % 2 == 0 { 2.77 } else { 3.89 }).collect();
        assert!(median_error(&values) > 0.25);
    }
}
