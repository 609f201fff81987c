//! Workloads about network devices: their life, their moves between namespaces, their death with one.

use crate::context::Workload;

/// Workloads of this area.
pub(super) const ALL: &[Workload] = &[];
