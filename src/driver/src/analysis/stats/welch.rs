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
