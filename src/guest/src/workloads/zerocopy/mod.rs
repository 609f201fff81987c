//! Zerocopy networking: receiving by mapping, sending without copying, both with
//! `MSG_ZEROCOPY` and with io_uring.
//!
//! Each workload opens its connections in network namespaces of its own, over `lo`,
//! across a veth pair, or to a dummy device. Here are the two workloads for
//! throughput and what all of them share; the suites are in [`recv`], [`msg`] and
//! [`uring`]. The harness is reached through [`crate::context::Context`] only.

mod child;
mod completions;
mod connection;
mod datagrams;
mod ends;
mod errqueue;
mod inflight;
mod locked;
mod loopback;
mod memory;
mod msg;
mod numbering;
mod patience;
mod pattern;
mod receive;
mod receiver;
mod recv;
mod send;
mod sys;
mod table;
#[cfg(test)]
mod test_params;
mod transmit;
mod uring;

use crate::context::Workload;

/// Workloads of this area.
pub(super) const ALL: &[Workload] = &[
    receive::RECEIVE,
    send::SEND,
    recv::API,
    recv::INTEGRITY,
    recv::OPTIONS,
    recv::ACCOUNTING,
    recv::TANGLE,
    recv::SCALING,
    msg::PATHS,
    msg::ORDER,
    msg::LIMITS,
    msg::REUSE,
    msg::ERRNO,
    msg::ENDINGS,
    uring::SEND,
    uring::ERRORS,
    uring::LINKS,
    uring::CLOSE,
];
