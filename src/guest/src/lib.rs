//! Everything of kregress that runs inside the virtual machine.
//!
//! Linux only, no async runtime, no YAML, no command line of its own. Every
//! system call is checked, and what went wrong is said with the call's name.

pub mod clock;
pub mod context;
pub mod workloads;

pub use context::{Context, Stop, Workload, WorkloadResult};
