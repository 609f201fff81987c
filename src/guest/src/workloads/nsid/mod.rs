//! Workloads about the numbers by which one namespace knows others.

use crate::context::Workload;

/// Workloads of this area.
pub(super) const ALL: &[Workload] = &[];
