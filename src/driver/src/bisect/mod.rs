//! Which commit changed a number, or broke a test.
//!
//! A planner over the engine, as `compare` is: it says which kernels are built and which
//! boots are made next, and what they come to. What it knows is its record
//! (`bisect.jsonl` in the session's directory), a line for each kernel and each boot, on
//! the disk before anything is done on the strength of it:
//!
//! ```text
//! record (lines) -> state (fold) -> walk: next step, or outcome -> bisected (plain data)
//! ```
//!
//! All of these are pure. The statistics are `analysis::bisect`'s, kernels are had and
//! booted by `commands::bisect`, and `session` keeps the record.

mod ahead;
pub mod bisected;
mod leg;
mod outcome;
mod pair;
mod rates;
pub mod record;
mod search;
pub mod session;
mod state;
#[cfg(test)]
mod tests;
mod walk;

pub use outcome::outcome;
pub use state::{Missing, State};
pub use walk::{Budget, Grant, Next, next};
