//! Welch's test: whether two means differ, with unequal variances allowed.

use statrs::distribution::{ContinuousCDF, Normal, StudentsT};

use super::Sample;

/// What Welch's test says of two samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Welch {
    /// Mean of the second less mean of the first.
    pub difference: f64,
    /// Its standard error.
    pub error: f64,
    /// Degrees of freedom after Welch and Satterthwaite; infinite where neither sample varies.
    pub freedom: f64,
    /// Two-sided p.
    pub p: f64,
}

impl Welch {
    /// Half the width of the confidence interval of the difference with this
    /// two-sided coverage, for instance 0.95.
    #[must_use]
    pub fn half_width(&self, coverage: f64) -> f64 {
        if self.error == 0.0 { 0.0 } else { t_quantile((1.0 + coverage) / 2.0, self.freedom) * self.error }
    }
}

/// Compares the means of `a` and `b`; none where one has fewer than two values
/// or the numbers are beyond what a float can square.
///
/// Samples that do not vary at all are equal (p 1) or not (p 0).
#[must_use]
pub fn welch(a: &Sample, b: &Sample) -> Option<Welch> {
    if a.n < 2 || b.n < 2 {
        return None;
    }
    let difference = b.mean - a.mean;
    let (va, vb) = (a.variance / f64::from(a.n), b.variance / f64::from(b.n));
    let error = (va + vb).sqrt();
    if !difference.is_finite() || !error.is_finite() {
        return None;
    }
    if error == 0.0 {
        let p = if difference == 0.0 { 1.0 } else { 0.0 };
        return Some(Welch { difference, error, freedom: f64::INFINITY, p });
    }
    // By shares of the variance: squares of tiny variances would underflow.
    let (wa, wb) = (va / (va + vb), vb / (va + vb));
    let freedom = 1.0 / (wa * wa / f64::from(a.n - 1) + wb * wb / f64::from(b.n - 1));
    let t = (difference / error).abs();
    let p = if t.is_finite() { 2.0 * t_below(-t, freedom) } else { 0.0 };
    Some(Welch { difference, error, freedom, p: p.clamp(0.0, 1.0) })
}

/// Probability of a value below `t` of Student's distribution.
fn t_below(t: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(0.5, |distribution| distribution.cdf(t))
}

/// The value that Student's distribution stays below with probability `p`.
pub(super) fn t_quantile(p: f64, freedom: f64) -> f64 {
    if freedom.is_infinite() {
        return Normal::standard().inverse_cdf(p);
    }
    StudentsT::new(0.0, 1.0, freedom).map_or(0.0, |distribution| distribution.inverse_cdf(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(a: &[f64], b: &[f64]) -> Welch {
        welch(&Sample::of(a), &Sample::of(b)).expect("two values each")
    }

    fn same(ours: f64, theirs: f64) {
        assert!((ours / theirs - 1.0).abs() < 1e-9, "{ours} is not {theirs}");
    }

    const A: [f64; 6] = [52.1, 53.4, 51.9, 52.8, 54.0, 52.3];
    const B: [f64; 6] = [55.2, 54.1, 56.3, 53.9, 55.0, 57.1];

    #[test]
    fn p_freedom_and_interval_are_those_of_scipy() {
        // r = stats.ttest_ind(B, A, equal_var=False); r.pvalue, r.df, r.confidence_interval(.95)
        let test = compare(&A, &B);
        same(test.p, 0.002_743_332_136_467_979_5);
        same(test.freedom, 8.636_243_865_485_328);
        same(test.difference - test.half_width(0.95), 1.133_741_401_487_842);
        same(test.difference + test.half_width(0.95), 3.899_591_931_845_504);
    }

    #[test]
    fn logarithms_are_tested_as_scipy_tests_them() {
        // stats.ttest_ind(np.log(B), np.log(A), equal_var=False)
        let test = compare(&A.map(f64::ln), &B.map(f64::ln));
        same(test.p, 0.002_441_773_903_194_711_7);
        same(test.difference - test.half_width(0.95), 0.021_297_446_216_644_922);
    }

    #[test]
    fn sides_of_other_size_and_spread_are_tested_as_scipy_tests_them() {
        // stats.ttest_ind(D, C, equal_var=False)
        let test = compare(&[10.1, 10.4, 9.8], &[10.9, 30.5, 11.2, 10.7, 11.0]);
        same(test.p, 0.290_615_460_837_082_4);
        same(test.freedom, 4.015_676_302_609_156);
        same(test.difference + test.half_width(0.95), 15.612_138_801_228_864);
    }

    #[test]
    fn p_far_in_the_tail_keeps_its_digits() {
        // stats.ttest_ind(F, E, equal_var=False).pvalue
        let e = [100.0, 100.1, 99.9, 100.05, 99.95, 100.02];
        let test = compare(&e, &e.map(|value| value + 8.0));
        assert!((test.p / 3.145_436_340_533_401_5e-19 - 1.0).abs() < 1e-6, "{}", test.p);
    }

    #[test]
    fn values_that_do_not_vary_are_equal_or_not() {
        assert_eq!(compare(&[3.0; 4], &[3.0; 2]).p, 1.0);
        let different = compare(&[3.0; 4], &[3.1; 4]);
        assert_eq!((different.p, different.half_width(0.95)), (0.0, 0.0));
    }

    #[test]
    fn one_side_that_does_not_vary_is_tested_against_the_spread_of_the_other() {
        let test = compare(&[3.0; 5], &[3.0, 3.0, 3.0, 3.0, 4.0]);
        assert_eq!(test.freedom, 4.0);
        assert!((test.p - 0.373_900_966_3).abs() < 1e-6, "{}", test.p);
    }

    #[test]
    fn one_value_is_not_compared() {
        assert_eq!(welch(&Sample::of(&[1.0]), &Sample::of(&[1.0, 2.0])), None);
        assert_eq!(welch(&Sample::of(&[1.0, 2.0]), &Sample::of(&[])), None);
    }

    #[test]
    fn numbers_too_large_to_square_are_not_compared() {
        assert_eq!(welch(&Sample::of(&[1e300, -1e300]), &Sample::of(&[0.0, 1.0])), None);
    }

    #[test]
    fn tiny_variances_do_not_lose_the_degrees_of_freedom() {
        let tiny = [1e-170, 2e-170, 3e-170];
        assert!((compare(&[1.0, 2.0, 3.0], &[2.0, 3.0, 4.0]).freedom - 4.0).abs() < 1e-12);
        // Squares of these are zero as far as floats go: they do not vary.
        assert!(compare(&tiny, &tiny).freedom.is_infinite());
    }
}
