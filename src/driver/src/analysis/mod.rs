//! What numbers mean: whether two kernels differ, by how much, and how sure that is.
//!
//! Pure functions over stored results. Nothing here boots, reads a clock or
//! touches a file; the loops that ask the lab for more boots are commands.

pub mod bisect;
mod breakdown;
mod classes;
pub mod compare;
mod comparison;
mod exact;
mod family;
mod gate;
pub mod noise;
mod passes;
pub mod refuse;
pub mod selfcheck;
mod side;
#[cfg(test)]
mod simulation;
pub mod stats;
mod subject;
#[cfg(test)]
mod tests;
mod weight;

pub use breakdown::breakdown_change;
pub use classes::HEALTH;
pub use comparison::{
    BootValue, BreakdownChange, Change, Comparison, Estimate, FunctionChange, MetricChange, Overall, Rule,
    Rules, Share, Side, TestChange, TestClass, Tries, Undecided, Weight,
};
pub use exact::{is_exact, judge_exact};
pub use family::{Family, judge};
pub use gate::{CONFIDENCE, EXACT_FLOOR, FLOOR, Gate, LOOKS, Look, QUIET_FLOOR};
pub use passes::{FAILURE_THRESHOLD, Passes, classify};
pub use side::{Measured, is_sound};
pub use subject::{Boot, Judgement, Subject};
pub use weight::{EmulatedTimes, refuse_emulated_times};
