//! (in progress)

pub mod list;
pub mod report;
