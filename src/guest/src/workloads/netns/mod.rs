//! Workloads that create and destroy network namespaces.

mod churn;
mod drain;
mod fail_nth;
mod jobs;
mod kill;
mod killer;
mod limit;
mod profile;
mod slope;
mod soak;
mod storm;

use std::time::Duration;

use kregress_wire::stacks::{self, Cleanup, Motion};
use kregress_wire::{Better, Kind, MetricInfo, Unit};

use crate::context::{Context, Stop, Workload};
use crate::diagnose;
use crate::procfs;
use crate::ucount::{Census, Gone};

/// Workloads of this area.
pub(super) const ALL: &[Workload] = &[
    Workload { info: &churn::INFO, run: churn::run },
    Workload { info: &jobs::INFO, run: jobs::run },
    Workload { info: &storm::INFO, run: storm::run },
    Workload { info: &kill::INFO, run: kill::run },
    Workload { info: &limit::INFO, run: limit::run },
    Workload { info: &fail_nth::INFO, run: fail_nth::run },
    Workload { info: &soak::INFO, run: soak::run },
    Workload { info: &drain::INFO, run: drain::run },
    Workload { info: &slope::INFO, run: slope::run },
    Workload { info: &profile::INFO, run: profile::run },
];

/// A metric of which less is better.
pub(in crate::workloads) const fn time(name: &'static str, summary: &'static str) -> MetricInfo {
    MetricInfo { name, summary, unit: Unit::Nanoseconds, kind: Kind::Time, better: Better::Lower }
}

/// Begins to count: everything left by earlier tests is gone, and what belongs
/// to others is known and told.
pub(in crate::workloads) fn begin_census(ctx: &Context<'_>) -> Result<(Census, Gone), Stop> {
    let (census, fresh) = Census::begin(ctx.remaining() / 2)?;
    if census.baseline() > 0 {
        ctx.note("foreign-namespaces", census.baseline().to_string())?;
    }
    Ok((census, fresh))
}

/// Waits until every namespace is gone, as an assertion.
pub(in crate::workloads) fn expect_all_gone(
    ctx: &Context<'_>,
    census: &mut Census,
    count: usize,
) -> Result<Gone, Stop> {
    let patience = ctx.remaining();
    match census.wait(patience)? {
        Some(gone) => {
            ctx.checked(1);
            Ok(gone)
        }
        None => Err(not_gone(count, patience)),
    }
}

/// Waits until no more than `left` namespaces of the test are alive, as an
/// assertion. What it gives is one more.
pub(in crate::workloads) fn expect_left(
    ctx: &Context<'_>,
    census: &mut Census,
    left: usize,
) -> Result<Gone, Stop> {
    census.keep(left);
    let gone = expect_all_gone(ctx, census, 1);
    census.keep(0);
    census.open()?;
    gone
}

/// Closed TCP sockets whose connections are not over, if there are any: each keeps
/// its namespace (`sk_net_refcnt`, net/core/sock.c), for up to two minutes where the
/// peer is silent (`tcp_orphan_retries()`, net/ipv4/tcp_timer.c).
fn orphans() -> String {
    let text = std::fs::read_to_string("/proc/thread-self/net/sockstat").unwrap_or_default();
    match procfs::sockstat(&text, "TCP", "orphan") {
        Some(count) if count > 0 => {
            format!("; {count} closed TCP sockets of unfinished connections keep theirs")
        }
        _ => String::new(),
    }
}

/// The failure of a drain that does not come to its end. A worker that does not
/// get on is told as the host tells it when a limit of its own passes.
fn not_gone(count: usize, waited: Duration) -> Stop {
    let report = diagnose::netns_workers();
    let namespaces = format!(
        "{count} network namespaces are not gone {:.1} s after their last reference was dropped{}",
        waited.as_secs_f64(),
        orphans()
    );
    let report_end = report.trim_end();
    Stop::Fail(match stacks::cleanup(&report) {
        Some(Cleanup { functions, motion: Motion::Still }) => {
            format!("{}\n{namespaces}\n{report_end}", stacks::unfinished(waited, &functions))
        }
        _ => {
            let worker = stacks::brief(&report).unwrap_or_else(|| "no stack".to_owned());
            format!("{namespaces}; the kernel's worker: {worker}\n{report_end}")
        }
    })
}

/// Nanoseconds as a sample. Exact up to 104 days.
#[expect(clippy::cast_precision_loss, reason = "a sample is a double")]
pub(in crate::workloads) fn ns(value: u64) -> f64 {
    value as f64
}
