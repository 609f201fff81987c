//! io_uring zerocopy sends: every request has one result, and one notification
//! behind it if and only if the result says so.
//!
//! Owns the workloads of the suite `uring-zerocopy`. What is `unsafe` about
//! io_uring is in [`crate::uring`].

mod client;
mod ledger;
mod road;
mod send;
mod sender;

use crate::context::Workload;

/// Workloads of this part of the area.
pub(super) const SEND: Workload = Workload { info: &send::INFO, run: send::run };
