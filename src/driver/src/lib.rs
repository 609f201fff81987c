//! The host side of kregress. See `ARCHITECTURE.md` for the map.
//!
//! Data flows one way: config, plan, kernel, guest image, boot, session and
//! console, results, report. The library exists for the binary and for tests;
//! its interface is not stable.

pub mod analysis;
pub mod bisect;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod console;
pub mod exec;
pub mod guest;
pub mod interrupt;
pub mod kernel;
pub mod ktap;
pub mod lab;
pub mod model;
pub mod paths;
pub mod report;
pub mod results;
pub mod series;
pub mod shards;
pub mod symbols;
