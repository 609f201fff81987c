//! How many boots a difference takes, and what a number of boots can show.
//!
//! By the normal approximation of the power of Welch's test, with Student's
//! quantiles in place of the normal ones: about one boot off the noncentral
//! distribution from four boots on, which is nothing beside what is not known of
//! the noise. For alpha 0.01 and power 0.8 it comes to `11.7 / d^2 + 2` or so,
//! with `d` the difference in standard deviations.

use super::Welch;
use super::welch::t_quantile;

/// Chance with which the effects and numbers named here are to be seen.
const POWER: f64 = 0.8;

/// No number of boots beyond this is named: who reads "1000" knows that the
/// noise has to go down first, and the estimate is worth nothing out there.
pub const BOOTS_AT_MOST: u32 = 1000;

/// Smallest difference that would have been found significant at `alpha`
/// (two-sided) and seen to be at least `floor` four times out of five, by
/// samples of the size and spread that `welch` saw.
#[must_use]
pub fn detectable(welch: &Welch, alpha: f64, floor: f64) -> f64 {
    if welch.error == 0.0 {
        return floor;
    }
    let chance = t_quantile(POWER, welch.freedom) * welch.error;
    let significant = t_quantile(1.0 - alpha / 2.0, welch.freedom) * welch.error;
    chance + significant.max(floor)
}

/// Values a side until a difference is significant at `alpha` (two-sided), four
/// times out of five, where each side has standard deviation `sd`. At most
/// [`BOOTS_AT_MOST`].
#[must_use]
pub fn boots_for_significance(difference: f64, sd: f64, alpha: f64) -> u32 {
    boots(difference, sd, 1.0 - alpha / 2.0)
}

/// Values a side until the end of a confidence interval of `coverage` that lies
/// towards a limit stays inside it, four times out of five, where the difference
/// is `distance` away from that limit. At most [`BOOTS_AT_MOST`], which is also
/// the answer for a difference at the limit or beyond.
#[must_use]
pub fn boots_for_equivalence(distance: f64, sd: f64, coverage: f64) -> u32 {
    boots(distance, sd, f64::midpoint(1.0, coverage))
}

fn boots(distance: f64, sd: f64, quantile: f64) -> u32 {
    let effect = (distance / sd).abs();
    if sd == 0.0 && distance != 0.0 {
        return 2;
    }
    if effect.is_nan() || effect == 0.0 {
        return BOOTS_AT_MOST;
    }
    // The quantiles depend on the number, which grows until they agree. With
    // those of the normal distribution it is too small at first.
    let normal = t_quantile(quantile, f64::INFINITY) + t_quantile(POWER, f64::INFINITY);
    let first = (2.0 * (normal / effect).powi(2)).clamp(2.0, f64::from(BOOTS_AT_MOST)) as u32;
    (first..BOOTS_AT_MOST)
        .find(|&n| {
            let freedom = f64::from(2 * (n - 1));
            let needed = t_quantile(quantile, freedom) + t_quantile(POWER, freedom);
            needed * (2.0 / f64::from(n)).sqrt() <= effect
        })
        .unwrap_or(BOOTS_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::super::{Sample, welch};
    use super::*;

    #[test]
    fn numbers_of_boots_are_within_one_or_two_of_the_noncentral_distribution() {
        // statsmodels: TTestIndPower().solve_power(effect_size=d, alpha=a, power=.8)
        let expected = [
            (1.0, 0.01, 25.07),
            (1.5, 0.01, 12.14),
            (2.0, 0.01, 7.66),
            (3.0, 0.01, 4.52),
            (1.0, 0.001, 36.89),
            (2.0, 0.001, 11.33),
            (3.0, 0.001, 6.61),
        ];
        for (effect, alpha, boots) in expected {
            let ours = f64::from(boots_for_significance(effect, 1.0, alpha));
            assert!((boots - 0.1..boots + 2.0).contains(&ours), "{effect} {alpha}: {ours}, not {boots}");
        }
    }

    #[test]
    fn the_sign_of_a_difference_does_not_matter() {
        assert_eq!(boots_for_significance(-0.08, 0.04, 0.01), boots_for_significance(0.08, 0.04, 0.01));
    }

    #[test]
    fn no_number_of_boots_is_absurd() {
        assert_eq!(boots_for_significance(0.0, 1.0, 0.01), BOOTS_AT_MOST);
        assert_eq!(boots_for_significance(1e-9, 1.0, 0.01), BOOTS_AT_MOST);
        assert_eq!(boots_for_significance(f64::NAN, 1.0, 0.01), BOOTS_AT_MOST);
        assert_eq!(boots_for_significance(1.0, 0.0, 0.01), 2);
        assert_eq!(boots_for_significance(0.0, 0.0, 0.01), BOOTS_AT_MOST);
        assert_eq!(boots_for_equivalence(0.0, 1.0, 0.95), BOOTS_AT_MOST);
        assert!(boots_for_equivalence(1e6, 1.0, 0.95) <= 3);
    }

    #[test]
    fn what_can_be_detected_lies_above_the_floor_and_shrinks_with_boots() {
        let test = |n: usize| {
            let values: Vec<f64> = (0..n).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
            welch(&Sample::of(&values), &Sample::of(&values)).expect("enough")
        };
        // statsmodels: solve_power(nobs1=12, alpha=.001, power=.8) = 1.925 standard deviations.
        let sd = Sample::of(&[1.0, -1.0].repeat(6)).sd();
        let found = detectable(&test(12), 0.001, 0.0) / sd;
        assert!((found - 1.925).abs() < 0.06, "{found}");
        assert!(detectable(&test(24), 0.001, 0.0) < detectable(&test(12), 0.001, 0.0));
        assert!(detectable(&test(24), 0.001, 9.0) > 9.0);
    }

    #[test]
    fn without_noise_the_floor_is_what_can_be_detected() {
        let flat = Sample::of(&[2.0; 6]);
        assert_eq!(detectable(&welch(&flat, &flat).expect("enough"), 0.001, 0.05), 0.05);
    }
}
