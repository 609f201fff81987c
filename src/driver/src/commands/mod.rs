//! (in progress)

pub mod list;
