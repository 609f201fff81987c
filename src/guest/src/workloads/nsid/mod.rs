//! Workloads about the numbers by which one namespace knows others.
//!
//! Those are namespace ids (`nsid`, `peernet2id_alloc` and `unhash_nsid` in
//! net/core/net_namespace.c).

mod bystander;
mod crowd;
mod dump;
mod errno;
mod ledger;
mod links;
mod lost;
mod marked;
mod notify;
mod observer;
mod race;
mod scale;

use kregress_wire::{Better, Kind, MetricInfo, Unit};

use crate::context::Workload;

/// Workloads of this area.
pub(super) const ALL: &[Workload] = &[
    Workload { info: &errno::INFO, run: errno::run },
    Workload { info: &dump::INFO, run: dump::run },
    Workload { info: &notify::INFO, run: notify::run },
    Workload { info: &lost::INFO, run: lost::run },
    Workload { info: &links::INFO, run: links::run },
    Workload { info: &race::INFO, run: race::run },
    Workload { info: &scale::INFO, run: scale::run },
    Workload { info: &bystander::INFO, run: bystander::run },
];

/// A number of events that is the same whenever the kernel does the same.
const fn count(name: &'static str, summary: &'static str) -> MetricInfo {
    MetricInfo { name, summary, unit: Unit::One, kind: Kind::Count, better: Better::Lower }
}

/// A count as a sample. Exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "a sample is a double")]
fn sample(count: usize) -> f64 {
    count as f64
}
