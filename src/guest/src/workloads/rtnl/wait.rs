//! `rtnl/wait`: how long requests wait for the lock of all network devices, while
//! threads in namespaces of their own make and delete some.

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use super::parallel::together;
use crate::affinity;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::quantile::quantile;
use crate::trace::{CounterError, Waits};
use crate::workloads::netns::{begin_census, expect_all_gone, ns, time};

/// The lock, `net/core/rtnetlink.c`.
const LOCK: &str = "rtnl_mutex";

/// Rounds are repeated until so many waits were seen, for the sake of the 99th
/// percentile.
const ENOUGH: usize = 100;

/// Most rounds. Two threads for each processor wait for each other in nearly
/// every request; this is for a kernel in which they do not.
const MOST_ROUNDS: usize = 5;

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "rtnl/wait",
    summary: "how long requests wait for the lock of all devices",
    params: &[ParamInfo::Int {
        name: "count",
        summary: "devices that each thread makes and deletes in a round",
        min: 1,
        max: 1_000_000,
        default: 30,
    }],
    metrics: &[
        time("rtnl_wait_p50", "half of the waits were no longer"),
        time("rtnl_wait_p99", "99 of 100 waits were no longer"),
        time("rtnl_wait_max", "the longest wait"),
        MetricInfo {
            name: "waits",
            summary: "waits for each hundred requests",
            unit: Unit::Percent,
            kind: Kind::Ratio,
            better: Better::Lower,
        },
    ],
    modules: &["dummy"],
};

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let count = ctx.count("count")?;
    let _modules = Loaded::load(INFO.modules)?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    // Before threads are pinned: it takes processors away for a moment.
    let mut waits = Waits::start(LOCK).map_err(|error| match error {
        CounterError::Lacks(what) => Stop::Skip(what),
        CounterError::Failed(what) => Stop::Error(what),
    })?;
    let cpus = affinity::cpus().map_err(|error| Stop::Error(format!("sched_getaffinity: {error}")))?;
    let threads: Vec<usize> = cpus.iter().chain(&cpus).copied().collect();
    let trace = |error: std::io::Error| Stop::Error(format!("the trace of {LOCK}: {error}"));
    let mut requests = 0;
    for _ in 0..MOST_ROUNDS {
        together(&threads, count)?;
        // A device is made, asked for, and deleted.
        requests += 3 * count * threads.len();
        ctx.checked(u64::try_from(threads.len()).unwrap_or(u64::MAX));
        drop(expect_all_gone(ctx, &mut census, threads.len())?);
        census.open()?;
        if waits.read().map_err(trace)?.waited_ns().len() >= ENOUGH {
            break;
        }
    }
    let ledger = waits.read().map_err(trace)?;
    let mut waited = ledger.waited_ns().to_vec();
    let seen = waited.len();
    // Without a wait there is nothing to say of their length.
    if seen == 0 {
        return ctx.check(false, || {
            format!(
                "{} threads made and deleted devices at once and none of them ever waited for {LOCK}: \
                 it no longer protects all of this, or its tracepoints are silent",
                threads.len()
            )
        });
    }
    for (name, per_mille) in [("rtnl_wait_p50", 500), ("rtnl_wait_p99", 990), ("rtnl_wait_max", 1000)] {
        if let Some(value) = quantile(&mut waited, per_mille) {
            ctx.sample(name, ns(value))?;
        }
    }
    let share = |count: usize| u64::try_from(count).map(ns).map_err(|error| Stop::Error(error.to_string()));
    ctx.sample("waits", share(seen)? / share(requests)? * 100.0)?;
    ctx.note("waits", format!("{seen} in {requests} requests"))
}
