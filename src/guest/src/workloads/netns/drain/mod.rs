//! `netns/drain`: how long the kernel takes to clean up namespaces that died
//! together.
//!
//! A namespace is gone when the round of `cleanup_net` that took it has ended.
//! The workqueue tracepoints tell that exactly; the count of namespaces tells
//! it to the interval of the probes, and is asked in any case.

mod batch;
mod count;
mod memory;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

pub(super) use batch::{Completion, drain_traced, fill};
pub(super) use count::{Counted, Counting, FUNCTIONS};

use self::memory::Memory;
use super::{begin_census, expect_all_gone, ns, time};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::{self, Dress, Wardrobe};
use crate::netns::{Home, Look, Register};
use crate::ucount::{Census, Gone};
use crate::work_time::{WorkTime, Workers};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/drain",
    summary: "measures how long namespaces that died together take to be cleaned up",
    params: &[
        ParamInfo::Int {
            name: "namespaces",
            summary: "namespaces that die together",
            min: 1,
            max: 20_000,
            default: 50,
        },
        ParamInfo::Int {
            name: "rounds",
            summary: "how often they are made and die",
            min: 1,
            max: 10_000,
            default: 20,
        },
        ParamInfo::Int {
            name: "counting",
            summary: "rounds after those, in which calls are counted and no time is taken",
            min: 0,
            max: 1_000,
            default: 2,
        },
        ParamInfo::Choice {
            name: "dress",
            summary: "what a namespace wears: nothing, a veth pair, addresses and routes, sockets in TIME_WAIT, policies, rules, tunnel devices",
            choices: dress::CHOICES,
            default: "bare",
        },
        ParamInfo::Choice {
            name: "completion",
            summary: "what tells the end: workqueue tracepoints, the count of namespaces, or the best there is",
            choices: &["auto", "tracepoints", "ucount"],
            default: "auto",
        },
    ],
    metrics: &[
        time("create_time", "one unshare call"),
        time("drain_time", "from the first close to the end of the last cleanup"),
        time("queue_delay", "from the queueing of the cleanup to its start; with tracepoints only"),
        time(
            "work_time",
            "processor time of the workers that execute cleanup_net, for one drain: its cost without its waits",
        ),
        MetricInfo {
            name: "rounds",
            summary: "executions of cleanup_net for one drain; with tracepoints only",
            unit: Unit::One,
            kind: Kind::Count,
            better: Better::Lower,
        },
        MetricInfo {
            name: "memory_kept",
            summary: "slab and per-processor memory after the last drain, less that after the first",
            unit: Unit::Bytes,
            kind: Kind::Bytes,
            better: Better::Lower,
        },
        calls("synchronize_rcu", "calls of synchronize_rcu per round of cleanup"),
        calls("synchronize_rcu_expedited", "calls of synchronize_rcu_expedited per round"),
        calls("synchronize_net", "calls of synchronize_net per round"),
        calls("rcu_barrier", "calls of rcu_barrier per round"),
        calls("rtnl_lock", "calls of rtnl_lock per round"),
        calls("msleep", "calls of msleep per round: something was waited for by polling"),
        calls("delnsid", "RTM_DELNSID per round, heard by one survivor that has a number for each namespace"),
    ],
    modules: dress::MODULES,
};

/// A metric of calls per round.
const fn calls(name: &'static str, summary: &'static str) -> MetricInfo {
    MetricInfo { name, summary, unit: Unit::One, kind: Kind::Count, better: Better::Lower }
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let count = ctx.count("namespaces")?;
    let rounds = u64::try_from(ctx.count("rounds")?).map_err(|error| Stop::Error(error.to_string()))?;
    let counting = ctx.count("counting")?;
    let wardrobe = Wardrobe::open(Dress::named(ctx.choice("dress")?)?)?;
    wardrobe.tell(ctx)?;
    let mut completion = Completion::choose(ctx)?;
    let home = Home::here()?;
    let (mut census, mut spare) = begin_census(ctx)?;
    let mut register = Register::default();
    let mut memory = Memory::default();
    for done in 1..=rounds {
        census.open()?;
        let (held, create_ns) = fill(&home, spare, count, &mut register, &wardrobe)?;
        ctx.checked(Look::Socket.checks() * u64::try_from(held.len()).unwrap_or(0));
        let before = WorkTime::now();
        ctx.dither();
        let (drain_ns, workers) = match &mut completion {
            Completion::Tracepoints(instance) => {
                let (dropped_ns, drain) = drain_traced(ctx, instance, held)?;
                ctx.sample("queue_delay", ns(drain.queue_delay_ns))?;
                ctx.sample("rounds", ns(drain.rounds))?;
                // The trace says that it is over; the count has to agree.
                spare = expect_all_gone(ctx, &mut census, count)?;
                (drain.ended_ns.saturating_sub(dropped_ns), Workers::These(drain.workers))
            }
            Completion::Ucount => {
                census.close()?;
                let dropped_ns = clock::monotonic_ns();
                drop(held);
                spare = expect_all_gone(ctx, &mut census, count)?;
                (spare.at_ns.saturating_sub(dropped_ns), Workers::All)
            }
        };
        ctx.sample("work_time", ns(WorkTime::now().since(&before, &workers)))?;
        register.all_gone();
        wardrobe.expect_put_away()?;
        ctx.checked(1);
        memory.look();
        ctx.sample("drain_time", ns(drain_ns))?;
        ctx.samples("create_time", create_ns.into_iter().map(ns).collect())?;
        ctx.progress(done, rounds)?;
    }
    if let Some(kept) = memory.kept() {
        ctx.sample("memory_kept", kept)?;
    }
    // The tracer of times must not run beside that of calls.
    drop(completion);
    count_calls(ctx, counting, count, Scene { home, census, spare, register, wardrobe })
}

/// What a drain needs beside its size.
struct Scene {
    home: Home,
    census: Census,
    spare: Gone,
    register: Register,
    wardrobe: Wardrobe,
}

/// Drains again, with a count in place of a clock.
fn count_calls(ctx: &Context<'_>, rounds: usize, namespaces: usize, mut scene: Scene) -> WorkloadResult {
    if rounds == 0 {
        return Ok(());
    }
    let Ok(mut counting) = Counting::begin(ctx)? else { return Ok(()) };
    let mut spare = scene.spare;
    for _ in 0..rounds {
        scene.census.open()?;
        let (held, _) = fill(&scene.home, spare, namespaces, &mut scene.register, &scene.wardrobe)?;
        let (counted, gone) = counting.drain(ctx, &mut scene.census, held)?;
        spare = gone;
        scene.register.all_gone();
        for (function, calls) in counted.per_round() {
            ctx.sample(function, calls)?;
        }
    }
    Ok(())
}
