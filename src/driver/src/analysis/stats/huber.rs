//! A mean that outliers do not carry away.

use super::median;

/// Distance from the mean, in standard deviations, from which a value counts less.
const CORNER: f64 = 1.5;

/// Rounds after which the mean has settled to far below any noise.
const ROUNDS: u32 = 30;

/// Huber's mean of values with standard deviation `sd`, begun at the median; none
/// of an empty slice. Each value weighs 1 up to 1.5 standard deviations from the
/// mean, and less in proportion to its distance beyond.
#[must_use]
pub fn huber_mean(values: &[f64], sd: f64) -> Option<f64> {
    let mut mean = median(values)?;
    let corner = CORNER * sd;
    for _ in 0..ROUNDS {
        let (mut sum, mut total) = (0.0, 0.0);
        for value in values {
            let distance = (value - mean).abs();
            let weight = if distance <= corner { 1.0 } else { corner / distance };
            sum += weight * (value - mean);
            total += weight;
        }
        let step = sum / total;
        if !step.is_finite() {
            break;
        }
        mean += step;
        if step.abs() <= 1e-9 * sd {
            break;
        }
    }
    Some(mean)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(ours: Option<f64>, theirs: f64) {
        assert!((ours.expect("values") - theirs).abs() < 1e-6, "{ours:?} is not {theirs}");
    }

    #[test]
    fn values_that_lie_together_have_their_mean() {
        close(huber_mean(&[1.0, 2.0, 4.0], 2.0), 7.0 / 3.0);
        close(huber_mean(&[5.0], 0.1), 5.0);
        assert_eq!(huber_mean(&[], 1.0), None);
    }

    #[test]
    fn an_outlier_pulls_as_far_as_a_value_at_the_corner() {
        // The mean m solves (1 - m) + (1.2 - m) + (1.4 - m) + 1.5 * 0.2 = 0.
        close(huber_mean(&[1.0, 1.2, 1.4, 99.0], 0.2), 1.3);
        close(huber_mean(&[1.0, 1.2, 1.4, 1e9], 0.2), 1.3);
    }

    #[test]
    fn without_any_spread_it_is_the_median() {
        close(huber_mean(&[1.0, 1.0, 1.0, 7.0], 0.0), 1.0);
        close(huber_mean(&[2.0; 5], 0.0), 2.0);
    }
}
