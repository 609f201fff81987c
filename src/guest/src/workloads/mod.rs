//! The registry of workloads.

mod zerocopy;

use kregress_wire::WorkloadInfo;

use crate::context::Workload;

/// Every workload, in the order in which `kregress list` shows them.
pub const ALL: &[Workload] = &[zerocopy::RECEIVE, zerocopy::SEND];

/// What the workloads say of themselves, for the driver's validation.
pub fn infos() -> impl Iterator<Item = &'static WorkloadInfo> {
    ALL.iter().map(|workload| workload.info)
}

/// The workload of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Workload> {
    ALL.iter().find(|workload| workload.info.name == name)
}
