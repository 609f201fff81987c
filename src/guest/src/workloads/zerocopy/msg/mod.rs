//! The suite `msg-zerocopy`: what the kernel promises of sends with
//! `MSG_ZEROCOPY`, one promise after the other.
//!
//! Throughput over loopback is for [`super::send`]. Owns the workloads and what
//! they share: places to send to, a socket with a ledger of its completions, a
//! stream that stands still, and a user whose memory is counted.

mod endings;
mod errno;
mod limits;
mod line;
mod order;
mod paths;
mod place;
mod reuse;
mod stuck;
mod sys;
mod user;
#[cfg(test)]
mod wrap;

use crate::context::Workload;

/// Workloads of the suite.
pub(super) const PATHS: Workload = Workload { info: &paths::INFO, run: paths::run };
/// As above.
pub(super) const LIMITS: Workload = Workload { info: &limits::INFO, run: limits::run };
/// As above.
pub(super) const REUSE: Workload = Workload { info: &reuse::INFO, run: reuse::run };
/// As above.
pub(super) const ERRNO: Workload = Workload { info: &errno::INFO, run: errno::run };
/// As above.
pub(super) const ENDINGS: Workload = Workload { info: &endings::INFO, run: endings::run };
/// As above.
pub(super) const ORDER: Workload = Workload { info: &order::INFO, run: order::run };
