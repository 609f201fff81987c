//! (in progress)

pub mod report;
