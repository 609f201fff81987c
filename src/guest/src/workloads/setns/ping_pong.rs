//! `setns/ping-pong`: one thread goes to and fro between two namespaces.
//!
//! From 3.0 to 3.16 each call waited for a grace period, five milliseconds and
//! more (728dba3a39c6 ended that). That would come back as calls of
//! `synchronize_rcu` by the task, which are counted apart from the times.

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::netns::{Home, Namespace};
use crate::quantile::quantile;
use crate::trace::{Caller, Counter, CounterError};
use crate::workloads::netns::{begin_census, expect_all_gone, ns, time};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "setns/ping-pong",
    summary: "goes to and fro between two namespaces",
    params: &[
        ParamInfo::Int {
            name: "count",
            summary: "calls of setns that are timed",
            min: 2,
            max: 10_000_000,
            default: 2000,
        },
        ParamInfo::Int {
            name: "counting",
            summary: "calls of setns in which the waits are counted",
            min: 1,
            max: 20_000,
            default: 200,
        },
    ],
    metrics: &[
        time("setns_p50", "half of the calls take no longer"),
        time("setns_p99", "99 of a hundred calls take no longer"),
        MetricInfo {
            name: "synchronize_rcu",
            summary: "calls of synchronize_rcu by the task for each setns",
            unit: Unit::One,
            kind: Kind::Count,
            better: Better::Lower,
        },
    ],
    modules: &[],
};

/// Waits for grace periods, and the system call itself, which proves that the
/// count sees the task.
const WAITS: [&str; 3] = ["synchronize_rcu", "synchronize_rcu_expedited", "synchronize_net"];
const CALL: &str = "__x64_sys_setns";

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let count = ctx.count("count")?;
    let counting = ctx.count("counting")?;
    let home = Home::here()?;
    let (mut census, first) = begin_census(ctx)?;
    let second = Namespace::create().map_err(|error| error.stop(1))?;
    home.back()?;
    let places = [first.fresh, second];
    let inodes = places.iter().map(Namespace::inode).collect::<Result<Vec<_>, _>>();
    let inodes = inodes.map_err(|error| Stop::Error(format!("fstat of a namespace: {error}")))?;
    let mut times = Vec::with_capacity(count);
    for step in 0..count {
        let place = &places[step % 2];
        let before = clock::monotonic_ns();
        let entered = place.enter();
        times.push(clock::monotonic_ns().saturating_sub(before));
        entered.map_err(|error| Stop::Fail(format!("setns number {step}: {error}")))?;
        // A look now and then is enough: a call that did nothing shows at once.
        if step % 64 < 2 {
            let here = Namespace::current().and_then(|namespace| namespace.inode());
            let here = here.map_err(|error| Stop::Error(format!("the own namespace: {error}")))?;
            ctx.check(here == inodes[step % 2], || {
                format!("after setns to the namespace {} the thread is in {here}", inodes[step % 2])
            })?;
            ctx.progress(u64::try_from(step).unwrap_or(0), u64::try_from(count).unwrap_or(0))?;
        }
    }
    for (metric, per_mille) in [("setns_p50", 500), ("setns_p99", 990)] {
        if let Some(value) = quantile(&mut times, per_mille) {
            ctx.sample(metric, ns(value))?;
        }
    }
    let counted = count_waits(ctx, &places, counting);
    home.back()?;
    drop(places);
    drop(expect_all_gone(ctx, &mut census, 2)?);
    counted
}

fn count_waits(ctx: &Context<'_>, places: &[Namespace; 2], count: usize) -> WorkloadResult {
    let task = rustix::thread::gettid().as_raw_nonzero().get();
    let functions = [WAITS[0], WAITS[1], WAITS[2], CALL];
    let mut counter = match Counter::start(&functions, Caller::Task(task)) {
        Ok(counter) => counter,
        Err(CounterError::Lacks(reason)) => {
            return Err(Stop::Skip(format!("calls of synchronize_rcu cannot be counted: {reason}")));
        }
        Err(CounterError::Failed(reason)) => {
            return Err(Stop::Error(format!("cannot count calls: {reason}")));
        }
    };
    ctx.note("calls", counter.describe())?;
    counter.expect(&[WAITS[0], CALL]).map_err(Stop::Error)?;
    let failed = |error: std::io::Error| Stop::Error(format!("cannot count calls: {error}"));
    counter.reset().map_err(failed)?;
    for step in 0..count {
        places[step % 2].enter().map_err(|error| Stop::Fail(format!("setns number {step}: {error}")))?;
    }
    let hooked = counter.functions().to_vec();
    let tally = counter.read().map_err(failed)?;
    let expected = u64::try_from(count).unwrap_or(u64::MAX);
    if tally.calls(CALL) != expected {
        return Err(Stop::Error(format!(
            "the tracer saw {} of {expected} calls of setns",
            tally.calls(CALL)
        )));
    }
    for wait in WAITS.into_iter().filter(|wait| hooked.contains(wait)) {
        let calls = tally.calls(wait);
        if wait == WAITS[0] {
            ctx.sample("synchronize_rcu", ns(calls) / ns(expected.max(1)))?;
        }
        ctx.check(calls == 0, || format!("{count} calls of setns made {calls} calls of {wait}"))?;
    }
    Ok(())
}
