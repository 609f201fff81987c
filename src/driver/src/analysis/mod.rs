//! What numbers mean: whether two kernels differ, by how much, and how sure that is.
//!
//! Pure functions over stored results. Nothing here boots, reads a clock or
//! touches a file; the loops that ask the lab for more boots are commands.

mod comparison;

pub use comparison::{
    BootValue, BreakdownChange, Change, Comparison, Estimate, FunctionChange, MetricChange, Overall, Rule,
    Rules, Share, Side, TestChange, TestClass, Tries, Undecided, Weight,
};
