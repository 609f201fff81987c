//! Workloads that enter and leave namespaces, and read those of others.

mod errno;
mod ping_pong;
mod readers;
mod routers;

use crate::context::Workload;

/// Workloads of this area.
pub(super) const ALL: &[Workload] = &[
    Workload { info: &errno::INFO, run: errno::run },
    Workload { info: &ping_pong::INFO, run: ping_pong::run },
    Workload { info: &readers::INFO, run: readers::run },
    Workload { info: &routers::INFO, run: routers::run },
];
