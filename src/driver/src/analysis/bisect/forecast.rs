//! What a bisection will cost, roughly: told before it starts and while it goes on.

use super::evidence::{Costs, Kind};

/// Standard deviations between the levels where nothing is known of them.
const TYPICAL: f64 = 3.0;

/// A step cannot take fewer boots than this on average: the cheapest mistake is to go
/// on with one boot where the boundary needs three.
const LEAST_BOOTS: f64 = 1.0;

/// Boots of a commit at the boundary of the answer, beyond those that its step took.
const BOUNDARY: f64 = 2.0;

/// What is still to come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forecast {
    /// Kernels to build.
    pub builds: f64,
    /// Boots.
    pub boots: f64,
    /// Both in seconds.
    pub seconds: f64,
}

/// What is left to do until one of the suspects is as probable as `confidence`.
///
/// Steps are the entropy of the suspects in bits, as far as the answer needs
/// them. A step takes `2 ln((1 - a) / a) / d^2` boots as Wald's test does, with
/// `a` the step's share of the error that is left and `d` the difference in
/// standard deviations of a boot; where `effect_over_spread` is none, three.
#[must_use]
pub fn forecast(
    suspects: &[f64],
    kind: Kind,
    effect_over_spread: Option<f64>,
    costs: &Costs,
    confidence: f64,
) -> Forecast {
    let entropy: f64 = suspects.iter().filter(|share| **share > 0.0).map(|share| -share * share.log2()).sum();
    let most = suspects.iter().copied().fold(0.0, f64::max);
    if most >= confidence || suspects.len() < 2 {
        return Forecast { builds: 0.0, boots: 0.0, seconds: 0.0 };
    }
    let steps = entropy.max(1.0 - most);
    let error = ((1.0 - confidence) / steps.ceil().max(1.0)).clamp(1e-6, 0.4);
    let effect = effect_over_spread.filter(|effect| *effect > 0.0).unwrap_or(TYPICAL);
    let by_test = 2.0 * ((1.0 - error) / error).ln() / (effect * effect);
    let boundary = match kind {
        Kind::Levels { .. } => 2.0 * BOUNDARY,
        Kind::Rates => 0.0,
    };
    let boots = steps * by_test.max(LEAST_BOOTS) + boundary;
    let builds = steps;
    Forecast { builds, boots, seconds: builds * costs.build + boots * costs.boot }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEVELS: Kind = Kind::Levels { layout: 0.0 };

    fn of(suspects: usize, effect: Option<f64>) -> Forecast {
        let costs = Costs { boot: 10.0, build: 100.0, ..Costs::default() };
        forecast(&vec![1.0 / suspects as f64; suspects], LEVELS, effect, &costs, 0.95)
    }

    #[test]
    fn an_answer_that_is_there_costs_nothing() {
        assert_eq!(of(1, None), Forecast { builds: 0.0, boots: 0.0, seconds: 0.0 });
        let sure = forecast(&[0.96, 0.04], LEVELS, None, &Costs::default(), 0.95);
        assert_eq!((sure.builds, sure.boots), (0.0, 0.0));
    }

    #[test]
    fn kernels_are_the_bits_that_are_not_known() {
        let ahead = of(128, Some(3.0));
        assert_eq!(ahead.builds, 7.0);
        assert_eq!(ahead.seconds, ahead.builds * 100.0 + ahead.boots * 10.0);
        assert!((of(1024, Some(3.0)).builds - 10.0).abs() < 1e-9);
    }

    #[test]
    fn boots_are_about_those_of_the_simulation() {
        // `simulation::table`: the cost less builds and about 6, 18 and 40 boots of each endpoint.
        for (effect, boots) in [(5.0, 17.0), (2.0, 26.0), (1.0, 66.0)] {
            let ours = of(128, Some(effect)).boots;
            assert!((0.6..1.6).contains(&(ours / boots)), "{effect}: {ours}, not {boots}");
        }
    }

    #[test]
    fn nothing_known_of_the_effect_is_three_and_nothing_is_beyond_numbers() {
        assert_eq!(of(128, None), of(128, Some(3.0)));
        assert_eq!(of(128, Some(0.0)), of(128, Some(3.0)));
        assert!(of(128, Some(f64::NAN)).seconds.is_finite() && of(128, Some(1e-3)).boots > 1e4);
    }
}
