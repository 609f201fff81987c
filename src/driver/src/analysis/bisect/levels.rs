//! What boots say where each is a number: two levels and a spread, all unknown.
//!
//! The unknowns are particles, drawn around what the endpoints show and weighted
//! by how well they explain the endpoints. Boots are Student's t with five
//! degrees of freedom around their level: one in twenty that something slows
//! down must not decide. Where a build as such shifts the numbers, more boots of
//! the same kernel do not help beyond that shift: there the robust mean of the
//! boots of a kernel is what is explained, with the shift in its error.

use super::particle::{Explained, Particle};
use crate::analysis::stats::{huber_mean, median};

/// Particles. With 200 the answer depends on which were drawn in one of some hundred
/// bisections; from 400 on it does not (by experience).
const PARTICLES: usize = 400;

/// The particles are the same ones every time.
const SEED: u64 = 0x6b72_6567;

/// Degrees of freedom of the boots.
const FREEDOM: f64 = 5.0;

/// The robust mean of so many boots is about normal: it has that many times [`FREEDOM`].
const NORMAL: f64 = 4.0;

/// Proposals are wider than what the endpoints show by this, for weights can take
/// away what is too wide but cannot add what is not there.
const WIDER: f64 = 1.3;

/// Variance of the robust mean in units of that of the mean of normal numbers;
/// larger than theory has it (1.04), because the boots are few.
const ROBUST: f64 = 1.2;

/// Median of absolute deviations to standard deviation, for normal numbers.
const DEVIATIONS: f64 = 1.4826;

/// The spread is at least this share of the difference between the endpoints: boots
/// of both that agree by chance must not make every other number impossible.
const LEAST_SPREAD: f64 = 0.01;

/// The spread as a share of the difference where no endpoint was booted twice.
const UNKNOWN_SPREAD: f64 = 0.25;

/// How far the endpoints are apart, whatever outliers there are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Level of the bad one less that of the good one.
    pub difference: f64,
    /// Its standard error; infinite where an endpoint has no boots.
    pub error: f64,
}

/// How far the endpoints are apart, by robust means and a robust spread. It is
/// known well enough for a bisection once the error is a sixth of the difference:
/// with fewer boots of the endpoints, answers are less certain than they seem.
#[must_use]
pub fn difference(good: &[f64], bad: &[f64]) -> Difference {
    let (good, bad) = (finite(good), finite(bad));
    let spread = robust_spread(&good, &bad);
    let difference = End::of(&bad, spread).middle - End::of(&good, spread).middle;
    let error = spread * (1.0 / good.len() as f64 + 1.0 / bad.len() as f64).sqrt();
    Difference { difference, error }
}

/// Pairs of levels and spreads, weighted by the endpoints.
pub(super) fn particles(good: &[f64], bad: &[f64], layout: f64) -> Vec<Particle> {
    let (good, bad, layout) = (finite(good), finite(bad), sane(layout));
    let spread = robust_spread(&good, &bad);
    let (old, new) = (End::of(&good, spread), End::of(&bad, spread));
    let freedom = (good.len() + bad.len()).saturating_sub(2).max(1) as f64;
    let mut rng = Normals(fastrand::Rng::with_seed(SEED));
    (0..PARTICLES)
        .map(|_| {
            let deviation = (WIDER / freedom).sqrt() * rng.normal();
            let drawn_spread = spread * deviation.exp();
            let (old_level, old_density) = old.draw(&mut rng, layout);
            let (new_level, new_density) = new.draw(&mut rng, layout);
            let proposed = old_density + new_density - deviation * deviation * freedom / (2.0 * WIDER);
            let explained = [(&old, old_level), (&new, new_level)]
                .map(|(end, level)| {
                    end.within(drawn_spread, layout) + end.around(level, drawn_spread, layout)
                })
                .iter()
                .sum::<f64>();
            Particle {
                old: old_level,
                new: new_level,
                spread: drawn_spread,
                log_weight: explained - proposed,
            }
        })
        .collect()
}

/// How well each particle explains the boots of one commit.
pub(super) fn explain(particles: &[Particle], boots: &[f64], layout: f64) -> Vec<Explained> {
    let (boots, layout) = (finite(boots), sane(layout));
    let typical = median(&particles.iter().map(|particle| particle.spread).collect::<Vec<_>>());
    let end = End::of(&boots, typical.unwrap_or(1.0));
    particles
        .iter()
        .map(|particle| {
            let within = end.within(particle.spread, layout);
            Explained {
                as_old: within + end.around(particle.old, particle.spread, layout),
                as_new: within + end.around(particle.new, particle.spread, layout),
            }
        })
        .collect()
}

/// Boots of one kernel.
struct End<'a> {
    boots: &'a [f64],
    middle: f64,
    spread: f64,
}

impl<'a> End<'a> {
    fn of(boots: &'a [f64], spread: f64) -> Self {
        Self { boots, middle: huber_mean(boots, spread).unwrap_or(0.0), spread }
    }

    fn error(&self, spread: f64, layout: f64) -> f64 {
        (layout * layout + ROBUST * spread * spread / self.boots.len().max(1) as f64).sqrt()
    }

    /// A level that these boots may have, and the logarithm of its density.
    fn draw(&self, rng: &mut Normals, layout: f64) -> (f64, f64) {
        let drawn = rng.student_6();
        let level = self.middle + WIDER * self.error(self.spread, layout) * drawn;
        (level, -3.5 * (1.0 + drawn * drawn / 6.0).ln())
    }

    /// Logarithm of the likelihood of what the boots say of the spread alone, but for a constant.
    fn within(&self, spread: f64, layout: f64) -> f64 {
        if self.boots.is_empty() || layout == 0.0 {
            return 0.0;
        }
        // Less the one number that the mean is.
        log_density(self.boots, self.middle, spread, FREEDOM) + spread.ln()
    }

    /// The same of what they say of the level.
    fn around(&self, level: f64, spread: f64, layout: f64) -> f64 {
        if self.boots.is_empty() {
            return 0.0;
        }
        if layout == 0.0 {
            return log_density(self.boots, level, spread, FREEDOM);
        }
        let freedom = FREEDOM * (self.boots.len() as f64).min(NORMAL);
        log_density(&[self.middle], level, self.error(spread, layout), freedom)
    }
}

/// Logarithm of the density of independent numbers, but for a constant: Student's t around `level`.
fn log_density(numbers: &[f64], level: f64, spread: f64, freedom: f64) -> f64 {
    // One logarithm for eight of them is what makes this fast; their product stays finite.
    let tails: f64 = numbers
        .chunks(8)
        .map(|chunk| chunk.iter().map(|x| 1.0 + (((x - level) / spread).powi(2) / freedom).min(1e30)))
        .map(|terms| terms.product::<f64>().ln())
        .sum();
    -(freedom + 1.0) / 2.0 * tails - numbers.len() as f64 * spread.ln()
}

fn sane(layout: f64) -> f64 {
    if layout.is_finite() { layout.max(0.0) } else { 0.0 }
}

fn finite(boots: &[f64]) -> Vec<f64> {
    boots.iter().copied().filter(|boot| boot.is_finite()).collect()
}

/// Standard deviation of boots of one kernel, by both endpoints.
fn robust_spread(good: &[f64], bad: &[f64]) -> f64 {
    let (Some(of_good), Some(of_bad)) = (median(good), median(bad)) else { return 1.0 };
    let away = |boots: &[f64], middle: f64| boots.iter().map(move |boot| (boot - middle).abs()).collect();
    let mut deviations: Vec<f64> = away(good, of_good);
    deviations.extend::<Vec<f64>>(away(bad, of_bad));
    // A median takes one number away from each endpoint.
    let n = deviations.len() as f64;
    let few = (n / (n - 2.0).max(1.0)).sqrt();
    let difference = (of_bad - of_good).abs();
    let least = (LEAST_SPREAD * difference).max(f64::EPSILON * (1.0 + of_good.abs().max(of_bad.abs())));
    let spread = match good.len().max(bad.len()) {
        0 | 1 => UNKNOWN_SPREAD * difference,
        _ => DEVIATIONS * few * median(&deviations).unwrap_or(0.0),
    };
    if spread.is_finite() { spread.max(least) } else { 1.0 }
}

/// Normal numbers and what is made of them.
struct Normals(fastrand::Rng);

impl Normals {
    /// By Marsaglia's polar method; the second number that it gives is not used.
    fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.0.f64() - 1.0, 2.0 * self.0.f64() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * square.ln() / square).sqrt();
            }
        }
    }

    /// Student's t with six degrees of freedom.
    fn student_6(&mut self) -> f64 {
        // A sum of three exponential numbers is half a chi square of six.
        let chi: f64 = (0..3).map(|_| -2.0 * (1.0 - self.0.f64()).ln()).sum();
        self.normal() / (chi / 6.0).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outlier_does_not_hide_how_far_the_endpoints_are_apart() {
        let good = [0.0, 0.1, -0.1, 0.05, -0.05, 0.02, -0.02, 0.0];
        let bad = good.map(|boot| boot + 1.0);
        let plain = difference(&good, &bad);
        assert!((plain.difference - 1.0).abs() < 1e-9 && plain.error < 0.06, "{plain:?}");
        let mut disturbed = bad;
        disturbed[3] = 40.0;
        let disturbed = difference(&good, &disturbed);
        assert!((disturbed.difference - 1.0).abs() < 0.05 && disturbed.error < 0.08, "{disturbed:?}");
    }

    #[test]
    fn endpoints_without_boots_are_not_known_to_differ() {
        assert_eq!(difference(&[], &[1.0]).error, f64::INFINITY);
        assert_eq!(difference(&[0.0, 0.0], &[]).error, f64::INFINITY);
        // The same number twice is not taken for certain.
        let same = difference(&[0.0, 0.0], &[1.0, 1.0]);
        assert!(same.error > 0.0 && same.error < 0.02, "{same:?}");
    }

    #[test]
    fn particles_lie_around_what_the_endpoints_show() {
        let (good, bad) = ([10.0, 10.2, 9.8, 10.1], [12.0, 12.2, 11.8, 12.1]);
        let particles = particles(&good, &bad, 0.0);
        let total: f64 = particles.iter().map(|particle| particle.log_weight.exp()).sum();
        let mean = |of: fn(&Particle) -> f64| {
            particles.iter().map(|particle| of(particle) * particle.log_weight.exp()).sum::<f64>() / total
        };
        assert!((mean(|p| p.old) - 10.03).abs() < 0.1 && (mean(|p| p.new) - 12.03).abs() < 0.1);
        assert!((0.08..0.4).contains(&mean(|p| p.spread)), "{}", mean(|p| p.spread));
    }
}
