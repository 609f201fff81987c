//! io_uring zerocopy sends: every request has one result, and one notification
//! behind it if and only if the result says so.
//!
//! Owns the workloads of the suite `uring-zerocopy`. What is `unsafe` about
//! io_uring is in [`crate::uring`].

mod bench;
mod books;
mod client;
mod close;
mod errors;
mod ledger;
mod links;
mod road;
mod send;
mod sender;

use crate::context::Workload;

/// Transfers.
pub(super) const SEND: Workload = Workload { info: &send::INFO, run: send::run };

/// Every error.
pub(super) const ERRORS: Workload = Workload { info: &errors::INFO, run: errors::run };

/// Requests that depend on each other, and such that are cancelled.
pub(super) const LINKS: Workload = Workload { info: &links::INFO, run: links::run };

/// Ends of rings, processes, sockets and buffers.
pub(super) const CLOSE: Workload = Workload { info: &close::INFO, run: close::run };
