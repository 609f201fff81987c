//! Receiving by mapping, in full: what the interface promises, that data is
//! right, what threads do to each other, and what is left afterwards.
//!
//! Owns the workloads of the suite `tcp-zerocopy`, but for
//! `tcp-zerocopy/receive`, which is older and simpler.

mod api;
mod place;
mod sys;
mod table;
mod talk;

use crate::context::Workload;

/// Workloads of this part.
pub(super) const API: Workload = Workload { info: &api::INFO, run: api::run };
