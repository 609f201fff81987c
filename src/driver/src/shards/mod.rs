//! A run in parts, on machines that know nothing of each other: the plan that says who
//! does what, and the way back from their run directories to one run.
//!
//! `spread` says which tests go together and where, `fit` whether a plan is of what is
//! found here, `join` what the runs of the shards come to; all three are pure. `plan` is
//! the file, `intake` the only place that reads directories of others, and `collect`
//! sorts what was read. Must not boot or build, and believes nothing that it reads.

mod collect;
mod fit;
mod intake;
mod join;
mod plan;
mod spread;

#[cfg(test)]
mod testing;

pub use collect::{Collected, Refused, collect};
pub use fit::{Here, differences, work};
pub use intake::{Cut, Found, IntakeError, Origin, Quota, search};
pub use join::{Asked, Elsewhere, Joined, KernelsDiffer, Moved, join};
pub use plan::{COPY_FILE, Entry, Part, Plan, PlanError, Work};
pub use spread::{Bundle, bundles, spread};
