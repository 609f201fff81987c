//! Workloads about network devices: their life, their moves between namespaces,
//! their death with one.

mod fallback;
mod frames;
mod holders;
mod kind;
mod kinds;
mod leak;
mod ledger;
mod moves;
mod parallel;
mod place;
mod readers;
mod roll;
mod stack;
mod tun;
mod wait;

use crate::context::Workload;

/// Workloads of this area.
pub(super) const ALL: &[Workload] = &[
    Workload { info: &kind::INFO, run: kind::run },
    Workload { info: &tun::INFO, run: tun::run },
    Workload { info: &fallback::INFO, run: fallback::run },
    Workload { info: &stack::INFO, run: stack::run },
    Workload { info: &moves::INFO, run: moves::run },
    Workload { info: &parallel::INFO, run: parallel::run },
    Workload { info: &wait::INFO, run: wait::run },
    Workload { info: &leak::INFO, run: leak::run },
    Workload { info: &readers::INFO, run: readers::run },
];
