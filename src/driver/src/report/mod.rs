//! How a run is shown: on the screen while it goes on, as a table at its end,
//! as a page or as text afterwards, as JUnit and KTAP for CI, as events for
//! programs. A comparison is shown likewise; `compared` has the words for it.
//!
//! Reads the record of a run, decides nothing about it and never changes it.
//! Text that comes from a kernel or guest goes through [`text_safety`] here,
//! whatever it went through before.

mod allowed;
pub mod annotations;
pub mod bisected;
mod breakdown;
mod cases;
mod columns;
pub mod compared;
pub mod comparison_human;
mod environment;
mod families;
pub mod html;
pub mod human;
mod indented;
pub mod json;
pub mod junit;
pub mod ktap;
pub mod look;
pub mod markdown;
pub mod progress;
pub mod quantity;
mod repeat;
pub mod selfcheck;
pub mod series;
mod subtests;
#[cfg(test)]
pub(crate) mod testdata;
pub mod text;
pub mod text_safety;
mod troubles;
mod unmeasured;
