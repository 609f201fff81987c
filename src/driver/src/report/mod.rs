//! How a run is shown: on the screen while it goes on, as a table at its end,
//! as JUnit for CI, as events for programs.
//!
//! Reads the record of a run, decides nothing about it and never changes it.
//! Text that comes from a kernel or guest goes through [`text_safety`] here,
//! whatever it went through before.

mod allowed;
mod breakdown;
mod cases;
mod columns;
pub mod comparison_human;
pub mod human;
pub mod json;
pub mod junit;
pub mod look;
pub mod progress;
mod quantity;
mod repeat;
pub mod selfcheck;
pub mod text_safety;
mod troubles;
