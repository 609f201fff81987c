//! Receiving by mapping, in full: what the interface promises, that data is
//! right, what threads do to each other, and what is left afterwards.
//!
//! Owns the workloads of the suite `tcp-zerocopy`, but for
//! `tcp-zerocopy/receive`, which is older and simpler.

mod accounting;
mod answers;
mod api;
mod bench;
mod integrity;
mod options;
mod place;
mod scaling;
mod sys;
mod talk;
mod tangle;
mod touch;

use crate::context::Workload;

/// What the interface promises.
pub(super) const API: Workload = Workload { info: &api::INFO, run: api::run };
/// Whether data is right.
pub(super) const INTEGRITY: Workload = Workload { info: &integrity::INFO, run: integrity::run };
/// What goes together with other options.
pub(super) const OPTIONS: Workload = Workload { info: &options::INFO, run: options::run };
/// What is left afterwards.
pub(super) const ACCOUNTING: Workload = Workload { info: &accounting::INFO, run: accounting::run };
/// What threads do to each other.
pub(super) const TANGLE: Workload = Workload { info: &tangle::INFO, run: tangle::run };
/// What mapping and threads bring.
pub(super) const SCALING: Workload = Workload { info: &scaling::INFO, run: scaling::run };
