//! One guess at what the range does not tell by itself: what commits measure
//! before the change, and what after it.

/// A guess.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Particle {
    /// Level, or rate of failures, before the change.
    pub(super) old: f64,
    /// The same after it.
    pub(super) new: f64,
    /// Standard deviation of a boot.
    pub(super) spread: f64,
    /// Logarithm of its weight, by the endpoints.
    pub(super) log_weight: f64,
}

/// Logarithms of the likelihood of the boots of one commit under one particle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Explained {
    /// Where the commit does not have the change.
    pub(super) as_old: f64,
    /// Where it has it.
    pub(super) as_new: f64,
}
