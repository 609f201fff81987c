//! `netns/drain`: how long the kernel takes to clean up namespaces that died
//! together.
//!
//! A namespace is gone when the round of `cleanup_net` that took it has ended.
//! The workqueue tracepoints tell that exactly; the count of namespaces tells
//! it to the interval of the probes, and is asked in any case.

use std::time::Duration;
use std::{fs, io};

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use super::{begin_census, expect_all_gone, not_gone, ns, time};
use crate::context::{Context, Stop, WorkloadResult};
use crate::netns::{CreateError, Home, Look, Namespace, Register, inspect};
use crate::trace::{self, Drain, Rounds};
use crate::ucount::Gone;
use crate::{clock, ffi, procfs};

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
        ParamInfo::Choice {
            name: "completion",
            summary: "what tells the end: workqueue tracepoints, the count of namespaces, or the best there is",
            choices: &["auto", "tracepoints", "ucount"],
            default: "auto",
        },
    ],
    metrics: &[
        time("create_time", "one unshare call"),
        time("drain_time", "from the close of the first last descriptor to the end of the last cleanup"),
        time("queue_delay", "from the queueing of the cleanup to its start; with tracepoints only"),
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
    ],
    modules: &[],
};

/// Pause between two looks at the trace. The times are in the trace, so a look
/// that comes late costs nothing. A reader that waits in the trace would be woken
/// by every event, and on kernels that cannot filter (before 6.3) by thousands:
/// a step in the numbers that is ours.
const READ_INTERVAL: Duration = Duration::from_millis(1);

/// What tells the end of a drain.
enum Completion {
    /// Exact, and tells the rounds too.
    Tracepoints(trace::Instance),
    /// To the interval of the probes.
    Ucount,
}

impl Completion {
    fn choose(ctx: &Context<'_>) -> Result<Self, Stop> {
        let wanted = ctx.choice("completion")?;
        if !matches!(wanted, "auto" | "tracepoints" | "ucount") {
            let text = format!("parameter `completion` is `{wanted}`, which is none of its choices");
            return Err(Stop::Error(text));
        }
        if wanted == "ucount" {
            ctx.note("completion", "ucount")?;
            return Ok(Self::Ucount);
        }
        match trace::Instance::start() {
            Ok(instance) => {
                let filter = if instance.filtered() { "" } else { ", unfiltered" };
                ctx.note("completion", format!("tracepoints{filter}"))?;
                Ok(Self::Tracepoints(instance))
            }
            Err(reason) if wanted == "tracepoints" => Err(Stop::Skip(reason)),
            Err(reason) => {
                ctx.note("completion", format!("ucount: {reason}"))?;
                Ok(Self::Ucount)
            }
        }
    }
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let count = ctx.count("namespaces")?;
    let rounds = u64::try_from(ctx.count("rounds")?).map_err(|error| Stop::Error(error.to_string()))?;
    let mut completion = Completion::choose(ctx)?;
    let home = Home::here()?;
    let (mut census, mut spare) = begin_census(ctx)?;
    let mut register = Register::default();
    let mut memory = Memory::default();
    for done in 1..=rounds {
        census.open()?;
        let (held, create_ns) = fill(&home, spare, count, &mut register)?;
        ctx.checked(Look::Socket.checks() * u64::try_from(held.len()).unwrap_or(0));
        let drain_ns = match &mut completion {
            Completion::Tracepoints(instance) => {
                let (dropped_ns, drain) = drain_traced(ctx, instance, held)?;
                ctx.sample("queue_delay", ns(drain.queue_delay_ns))?;
                ctx.sample("rounds", ns(drain.rounds))?;
                // The trace says that it is over; the count has to agree.
                spare = expect_all_gone(ctx, &mut census, count)?;
                drain.ended_ns.saturating_sub(dropped_ns)
            }
            Completion::Ucount => {
                census.close()?;
                let dropped_ns = clock::monotonic_ns();
                drop(held);
                spare = expect_all_gone(ctx, &mut census, count)?;
                spare.at_ns.saturating_sub(dropped_ns)
            }
        };
        register.all_gone();
        memory.look();
        ctx.sample("drain_time", ns(drain_ns))?;
        ctx.samples("create_time", create_ns.into_iter().map(ns).collect())?;
        ctx.progress(done, rounds)?;
    }
    if let Some(kept) = memory.kept() {
        ctx.sample("memory_kept", kept)?;
    }
    Ok(())
}

/// Makes namespaces until `count` are held, the given one included; with the
/// time that each one took.
fn fill(
    home: &Home,
    first: Gone,
    count: usize,
    register: &mut Register,
) -> Result<(Vec<Namespace>, Vec<u64>), Stop> {
    let mut held = Vec::with_capacity(count);
    let mut create_ns = Vec::with_capacity(count);
    first.fresh.enter().map_err(|error| Stop::Fail(format!("setns to a new namespace: {error}")))?;
    register.enter(inspect(&first.fresh, Look::Socket)?)?;
    create_ns.push(first.create_ns);
    held.push(first.fresh);
    while held.len() < count {
        let before = clock::monotonic_ns();
        let created = ffi::unshare_net();
        create_ns.push(clock::monotonic_ns().saturating_sub(before));
        let namespace = created.map_err(CreateError::Unshare).and_then(|()| Namespace::hold());
        let namespace = namespace.map_err(|error| error.stop(held.len()))?;
        register.enter(inspect(&namespace, Look::Socket)?)?;
        held.push(namespace);
    }
    home.back()?;
    Ok((held, create_ns))
}

/// Drops the namespaces and waits for the end of the last round; when the drop
/// began, and what the rounds were.
fn drain_traced(
    ctx: &Context<'_>,
    instance: &mut trace::Instance,
    held: Vec<Namespace>,
) -> Result<(u64, Drain), Stop> {
    let failed = |error: io::Error| Stop::Error(format!("cannot read the trace: {error}"));
    let (count, patience) = (held.len(), ctx.remaining());
    let mut rounds = Rounds::default();
    // Whatever is in there by now is of the drain before.
    instance.read().map_err(failed)?;
    let dropped_ns = clock::monotonic_ns();
    drop(held);
    loop {
        for point in instance.read().map_err(failed)? {
            rounds.push(point);
        }
        if rounds.lost() {
            return Err(Stop::Error(
                "the trace lost events, so the end of the drain is not known\n\
                 hint: `completion: ucount` does without the trace"
                    .into(),
            ));
        }
        if let Some(drain) = rounds.drain() {
            return Ok((dropped_ns, drain));
        }
        if ctx.remaining() == Duration::ZERO {
            return Err(not_gone(count, patience));
        }
        clock::poll_interval(READ_INTERVAL);
    }
}

/// Memory of the kernel after the first and the last drain. The first one fills
/// the kernel's caches; what grows after it is not given back.
#[derive(Debug, Default)]
struct Memory {
    first: Option<u64>,
    last: Option<u64>,
}

impl Memory {
    fn look(&mut self) {
        let now = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kernel_memory(&text));
        match self.first {
            None => self.first = now,
            Some(_) => self.last = now,
        }
    }

    fn kept(&self) -> Option<f64> {
        Some(ns(self.last?) - ns(self.first?))
    }
}

/// Bytes in slab caches and per-processor areas: where namespaces live.
fn kernel_memory(meminfo: &str) -> Option<u64> {
    let bytes = |key| procfs::meminfo_bytes(meminfo, key);
    Some(bytes("Slab")? + bytes("Percpu")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_memory_is_slabs_and_areas_of_processors() {
        let meminfo = "MemTotal: 9 kB\nSlab:  100 kB\nSReclaimable: 40 kB\nPercpu:   7 kB\n";
        assert_eq!(kernel_memory(meminfo), Some(107 * 1024));
        assert_eq!(kernel_memory("Slab: 100 kB\n"), None);
    }

    #[test]
    fn memory_that_came_back_counts_below_zero() {
        assert_eq!(Memory { first: Some(5000), last: Some(4000) }.kept(), Some(-1000.0));
        assert_eq!(Memory { first: Some(5000), last: None }.kept(), None);
    }
}
