//! (in progress)

pub mod kconfig;
