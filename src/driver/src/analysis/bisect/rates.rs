//! What boots say where each shows a failure or does not: two rates, the one
//! after the change higher.
//!
//! The prior is that of Jeffreys, which is even on the scale `p = sin^2(angle)`:
//! so the particles are a grid of angles, weighted by the endpoints. Stronger
//! priors have made others overconfident.

use std::f64::consts::FRAC_PI_2;

use super::particle::{Explained, Particle};

/// Angles; one step is the error of a rate that 160 boots gave.
const ANGLES: u32 = 40;

/// Rate from which a boot counts as one that shows the failure.
const FAILED: f64 = 0.5;

/// Pairs of rates, weighted by the endpoints.
pub(super) fn particles(good: &[f64], bad: &[f64]) -> Vec<Particle> {
    let (good, bad) = (Tries::of(good), Tries::of(bad));
    let rate = |angle: u32| (FRAC_PI_2 * (f64::from(angle) + 0.5) / f64::from(ANGLES)).sin().powi(2);
    (0..ANGLES)
        .flat_map(|angle| (angle + 1..ANGLES).map(move |higher| (angle, higher)))
        .map(|(lower, higher)| {
            let (old, new) = (rate(lower), rate(higher));
            let spread = f64::midpoint(old * (1.0 - old), new * (1.0 - new)).sqrt();
            Particle { old, new, spread, log_weight: good.explained_by(old) + bad.explained_by(new) }
        })
        .collect()
}

/// How well each particle explains the boots of one commit.
pub(super) fn explain(particles: &[Particle], boots: &[f64]) -> Vec<Explained> {
    let tries = Tries::of(boots);
    particles
        .iter()
        .map(|particle| Explained {
            as_old: tries.explained_by(particle.old),
            as_new: tries.explained_by(particle.new),
        })
        .collect()
}

/// Boots that show the failure, among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tries {
    pub(super) failed: u32,
    pub(super) passed: u32,
}

impl Tries {
    pub(super) fn of(boots: &[f64]) -> Self {
        let count = |wanted: bool| {
            let of_them = boots.iter().filter(|boot| boot.is_finite() && (**boot >= FAILED) == wanted);
            u32::try_from(of_them.count()).unwrap_or(u32::MAX)
        };
        Self { failed: count(true), passed: count(false) }
    }

    fn explained_by(self, rate: f64) -> f64 {
        f64::from(self.failed) * rate.ln() + f64::from(self.passed) * (1.0 - rate).ln()
    }
}
