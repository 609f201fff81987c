//! The statistics that verdicts stand on: textbook procedures over slices of
//! numbers.
//!
//! Nothing here knows what a boot, a metric or a verdict is. What does not
//! follow from the data (a seed, a bound) is a constant beside its reason, so
//! that the same numbers give the same answer everywhere.

mod fisher;
mod holm;
mod huber;
mod permutation;
mod power;
mod sample;
mod welch;

pub use fisher::{Fisher, fisher};
pub use holm::holm;
pub use huber::huber_mean;
pub use permutation::{Permutation, permutation};
pub use power::{BOOTS_AT_MOST, boots_for_equivalence, boots_for_significance, detectable};
pub use sample::{Sample, median, median_error};
pub use welch::{Welch, welch};
