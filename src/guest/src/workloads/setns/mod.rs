//! Workloads that enter and leave namespaces, and read those of others.

use crate::context::Workload;

/// Workloads of this area.
pub(super) const ALL: &[Workload] = &[];
