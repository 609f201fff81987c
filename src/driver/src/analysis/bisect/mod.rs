//! Bisection of a number over a git history: who made the change, and how
//! probable that is. Pure functions of what was measured; the session that builds and boots is a command.
//!
//! # The model
//!
//! One commit of the range made the step from the old level to the new one. A
//! commit is new where it contains the guilty one ([`Dag::contains`]), old
//! otherwise; on a line that is "before or after", and with merges it stays right.
//! Neither the levels nor the spread of boots are known: they are
//! particles that the endpoints weigh (`levels`, `rates`), and the posterior of a suspect is its prior ([`prior`])
//! times the likelihood of all boots, summed over the particles ([`posterior`]).
//! So nobody has to choose a threshold, an uncertain endpoint makes uncertain
//! answers, and a boot counts for what it is worth.
//!
//! # The loop
//!
//! The caller has boots of both endpoints, and knows from `compare`'s gate that they
//! differ: this module finds who did it, not whether anything was done. Then
//!
//! 1. [`posterior`] weighs the suspects,
//! 2. [`standing`] says whether one of them is the answer, and which boots its boundary lacks,
//! 3. [`choose`] names the commit to measure next: information about its side per second of
//!    building and booting, so that it stays with a kernel while boots of it still pay,
//! 4. the caller boots, and starts over.
//!
//! Everything is a function of the boots: the same boots give the same answer, in
//! whatever order they came, so that a session resumes by being read again.
//!
//! # What cannot be tested
//!
//! A commit that does not build or boot is set aside: it is not measured, and stays a
//! suspect. Suspects that no testable commit tells apart are a [`Class`]; the answer is a class.
//!
//! # Without noise
//!
//! [`exact_next`] bisects numbers that do not vary with one boot a step.
//!
//! `simulation` is the proof: histories of which the guilty commit is known. A change of
//! the method that does not hold there is wrong, not the test.

mod choice;
mod dag;
mod evidence;
mod exact;
mod forecast;
mod information;
mod levels;
mod particle;
mod posterior;
mod prior;
mod rates;
#[cfg(test)]
mod simulation;
mod standing;

pub use choice::choose;
pub use dag::{Dag, DagError};
pub use evidence::{Choice, Costs, Evidence, Kind};
pub use exact::{Contradiction, Exact, ExactStep, Side, exact_next};
pub use forecast::{Forecast, forecast};
pub use levels::{Difference, difference};
pub use posterior::{Posterior, posterior};
pub use prior::{Touch, prior};
pub use standing::{Class, Standing, credible_set, standing};
