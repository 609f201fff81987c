//! Workloads about network devices: their life, their moves between namespaces,
//! their death with one.

mod kind;
mod kinds;
mod ledger;
mod place;

use crate::context::Workload;

/// Workloads of this area.
pub(super) const ALL: &[Workload] = &[Workload { info: &kind::INFO, run: kind::run }];
