//! `netns/profile`: what the rounds of `cleanup_net` spend their time on, by
//! pernet operation.
//!
//! Twice: first everything is traced, a few levels deep and on one processor, to
//! learn the names of what `cleanup_net` calls; then only those, and the waits
//! within them. No name of an operation is written here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kregress_wire::{Breakdown, BreakdownRow, ParamInfo, Phase, WorkloadInfo};

use super::{begin_census, expect_all_gone, ns, time};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::{self, Dress, Wardrobe};
use crate::netns::{Home, Register};
use crate::quantile::quantile;
use crate::trace::{Call, CounterError, Graph, Profiler, Scope};
use crate::ucount::{Census, Gone, cleanup_runs};

use super::drain::fill;

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/profile",
    summary: "finds out what a teardown spends its time on, by pernet operation",
    params: &[
        ParamInfo::Int {
            name: "namespaces",
            summary: "namespaces that die together",
            min: 1,
            max: 2_000,
            default: 50,
        },
        ParamInfo::Int { name: "rounds", summary: "how often they die", min: 1, max: 100, default: 2 },
        ParamInfo::Choice {
            name: "dress",
            summary: "what a namespace wears: as of netns/drain",
            choices: dress::CHOICES,
            default: "bare",
        },
    ],
    metrics: &[
        time("round_time", "one round, with the tracer"),
        time("rcu_wait", "of a round, waiting for grace periods and RCU callbacks"),
        time("rtnl_wait", "of a round, waiting for the RTNL"),
    ],
    modules: dress::MODULES,
};

/// Waits for grace periods and for what they set free.
const RCU_WAITS: [&str; 5] =
    ["synchronize_rcu", "synchronize_rcu_expedited", "synchronize_net", "rcu_barrier", "synchronize_srcu"];
const RTNL_LOCK: &str = "rtnl_lock";
const RTNL_UNLOCK: &str = "rtnl_unlock";

/// Pause between two looks whether a cleanup has ended.
const POLL: Duration = Duration::from_millis(1);

/// Levels below `cleanup_net` of the first look: an operation may stand below
/// two functions that walk the list of operations.
const LEVELS: u32 = 4;

/// Levels below an operation in the second look: the wait, and what calls it.
const WITHIN: u32 = 3;

/// Namespaces of the first look. Two, so that walks show.
const FIRST_LOOK: usize = 2;

/// A function that calls nothing, or that operations call too, is a helper like
/// `kfree` or `down_read` if it takes less than this with the tracer at work: the
/// kernel calls it everywhere, and to trace it would cost more than all the rest.
/// An operation is called by nobody else.
const DEAR_NS: u64 = 100_000;

/// Functions of net/core/net_namespace.c that walk the list of operations, where
/// the compiler left them: their callees count as those of `cleanup_net`.
fn walks(name: &str) -> bool {
    name.starts_with("ops_")
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (namespaces, rounds) = (ctx.count("namespaces")?, ctx.count("rounds")?);
    let wardrobe = Wardrobe::open(Dress::named(ctx.choice("dress")?)?)?;
    wardrobe.tell(ctx)?;
    let home = Home::here()?;
    let (census, spare) = begin_census(ctx)?;
    let mut scene = Scene { home, census, register: Register::default(), wardrobe };
    let (graph, spare) = scene.watch(ctx, Scope::Everything(LEVELS), spare, FIRST_LOOK, 1)?;
    let names = functions(&graph);
    ctx.check(!names.is_empty(), || "cleanup_net calls nothing".into())?;
    ctx.note("functions", names.len().to_string())?;
    let (graph, _spare) =
        scene.watch(ctx, Scope::Only(&names, LEVELS + WITHIN), spare, namespaces, rounds)?;
    let breakdown = breakdown(&graph, namespaces * rounds)?;
    let named = breakdown.rows.iter().any(|row| !RCU_WAITS.contains(&row.function.as_str()));
    ctx.check(named, || "no pernet operation was seen in a teardown".into())?;
    ctx.breakdown(breakdown.clone())?;
    let sum: u64 = breakdown.rows.iter().map(|row| row.total_ns).sum();
    ctx.check(sum <= breakdown.total_ns, || {
        format!("the parts of the rounds take {sum} ns, the rounds {} ns", breakdown.total_ns)
    })?;
    let per_round = |total: u64| ns(total) / ns(breakdown.rounds.max(1));
    ctx.sample("round_time", per_round(breakdown.total_ns))?;
    ctx.sample("rcu_wait", per_round(breakdown.rows.iter().map(|row| row.rcu_ns).sum()))?;
    ctx.sample("rtnl_wait", per_round(breakdown.rows.iter().map(|row| row.rtnl_ns).sum()))
}

struct Scene {
    home: Home,
    census: Census,
    register: Register,
    wardrobe: Wardrobe,
}

impl Scene {
    /// Drains under the tracer.
    fn watch(
        &mut self,
        ctx: &Context<'_>,
        scope: Scope<'_>,
        mut spare: Gone,
        namespaces: usize,
        rounds: usize,
    ) -> Result<(Graph, Gone), Stop> {
        self.census.open()?;
        // Made before the tracer hooks anything, as far as that goes: creation is
        // not of interest.
        let (mut held, _) = fill(&self.home, spare, namespaces, &mut self.register, &self.wardrobe)?;
        let profiler = Profiler::start(scope).map_err(|error| match error {
            CounterError::Lacks(reason) => Stop::Skip(reason),
            CounterError::Failed(reason) => Stop::Error(format!("cannot profile: {reason}")),
        })?;
        let mut round = 1;
        let spare = loop {
            drop(held);
            spare = expect_all_gone(ctx, &mut self.census, namespaces)?;
            self.register.all_gone();
            if round == rounds {
                break spare;
            }
            round += 1;
            self.census.open()?;
            (held, _) = fill(&self.home, spare, namespaces, &mut self.register, &self.wardrobe)?;
        };
        // The count is right before the round has returned.
        while cleanup_runs() {
            if ctx.remaining().is_zero() {
                return Err(Stop::Fail("all namespaces are gone, and their cleanup does not end".into()));
            }
            clock::poll_interval(POLL);
        }
        let graph = profiler.finish().map_err(|reason| Stop::Error(format!("cannot profile: {reason}")))?;
        if graph.lost {
            return Err(Stop::Error(
                "the kernel dropped events of the profile\nhint: take fewer `namespaces` or `rounds`".into(),
            ));
        }
        ctx.check(!graph.roots.is_empty(), || {
            format!("{namespaces} namespaces are gone, and no round of cleanup_net was traced")
        })?;
        Ok((graph, spare))
    }
}

/// Calls of a round that count as its parts, in order.
fn parts(root: &Call) -> Vec<&Call> {
    let mut parts = Vec::new();
    let mut open: Vec<&Call> = root.children.iter().rev().collect();
    while let Some(call) = open.pop() {
        if walks(&call.name) && !call.children.is_empty() {
            open.extend(call.children.iter().rev());
        } else {
            parts.push(call);
        }
    }
    parts
}

/// Names to trace in the second look: the parts, the walks that they stand in, and
/// the waits.
fn functions(graph: &Graph) -> Vec<String> {
    let mut names: BTreeSet<String> = BTreeSet::new();
    for root in &graph.roots {
        let parts = parts(root);
        let mut within = BTreeSet::new();
        for part in &parts {
            called(part, &mut within);
        }
        let mut by_name: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
        for part in &parts {
            by_name.entry(&part.name).or_default().push(part);
        }
        for (name, calls) in by_name {
            let helps = within.contains(name) || calls.iter().all(|call| call.children.is_empty());
            let mut times: Vec<u64> = calls.iter().map(|call| call.duration_ns).collect();
            // The median: a helper may be interrupted.
            if !helps || quantile(&mut times, 500) >= Some(DEAR_NS) {
                names.insert(name.to_owned());
            }
        }
        let mut open: Vec<&Call> = root.children.iter().collect();
        while let Some(call) = open.pop() {
            if walks(&call.name) {
                names.insert(call.name.clone());
                open.extend(&call.children);
            }
        }
    }
    if names.is_empty() {
        return Vec::new();
    }
    let waits = RCU_WAITS.into_iter().chain([RTNL_LOCK, RTNL_UNLOCK]);
    names.extend(waits.map(str::to_owned));
    names.into_iter().collect()
}

/// Names of all that a call has called.
fn called<'a>(call: &'a Call, names: &mut BTreeSet<&'a str>) {
    for child in &call.children {
        names.insert(&child.name);
        called(child, names);
    }
}

/// Time of the outermost calls of these functions, the call itself included.
fn waited(call: &Call, functions: &[&str]) -> u64 {
    if functions.contains(&call.name.as_str()) {
        return call.duration_ns;
    }
    call.children.iter().map(|child| waited(child, functions)).sum()
}

/// Sums the rounds up by part.
fn breakdown(graph: &Graph, namespaces: usize) -> Result<Breakdown, Stop> {
    let mut rows: BTreeMap<(Phase, &str), BreakdownRow> = BTreeMap::new();
    for root in &graph.roots {
        let mut phase = Phase::PreExit;
        for call in parts(root) {
            match phase {
                Phase::Exit | Phase::ExitRtnl => {}
                Phase::PreExit if RCU_WAITS.contains(&call.name.as_str()) => phase = Phase::Exit,
                Phase::PreExit => {}
            }
            if call.name == RTNL_LOCK && phase == Phase::Exit {
                phase = Phase::ExitRtnl;
            }
            let row = rows.entry((phase, &call.name)).or_insert_with(|| BreakdownRow {
                phase,
                function: call.name.clone(),
                calls: 0,
                total_ns: 0,
                rcu_ns: 0,
                rtnl_ns: 0,
            });
            row.calls += 1;
            row.total_ns += call.duration_ns;
            row.rcu_ns += waited(call, &RCU_WAITS);
            row.rtnl_ns += waited(call, &[RTNL_LOCK]);
            if call.name == RTNL_UNLOCK && phase == Phase::ExitRtnl {
                phase = Phase::Exit;
            }
        }
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    rows.sort_by(|a, b| b.total_ns.cmp(&a.total_ns).then_with(|| a.function.cmp(&b.function)));
    let count = |count: usize| u64::try_from(count).map_err(|error| Stop::Error(error.to_string()));
    Ok(Breakdown {
        rounds: count(graph.roots.len())?,
        namespaces: count(namespaces)?,
        total_ns: graph.roots.iter().map(|root| root.duration_ns).sum(),
        rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(name: &str, duration_ns: u64, children: Vec<Call>) -> Call {
        Call { name: name.to_owned(), duration_ns, children }
    }

    /// Shaped as a round of 6.12 with a wait in one operation.
    fn round() -> Call {
        let wait = call("synchronize_net", 40, vec![call("synchronize_rcu_expedited", 39, vec![])]);
        let exits = vec![
            call("default_device_exit_batch", 60, vec![call("rtnl_lock", 5, vec![]), wait]),
            call("kfree", 1, vec![]),
            call("xfrm_net_exit", 100, vec![call("synchronize_rcu", 98, vec![])]),
            call("xfrm_net_exit", 100, vec![call("synchronize_rcu", 97, vec![])]),
        ];
        let undo = vec![
            call("nf_pre_exit", 3, vec![]),
            call("synchronize_rcu_expedited", 20, vec![]),
            call("rtnl_lock", 7, vec![]),
            call("fib_exit_rtnl", 4, vec![]),
            call("rtnl_unlock", 1, vec![]),
            call("ops_exit_list", 260, exits),
        ];
        let children = vec![
            call("down_read", 1, vec![]),
            call("ops_undo_list", 300, undo),
            call("rcu_barrier", 50, vec![]),
        ];
        call("cleanup_net", 400, children)
    }

    fn sums() -> Breakdown {
        breakdown(&Graph { roots: vec![round()], lost: false }, 2).expect("sums")
    }

    fn row(function: &str) -> BreakdownRow {
        sums().rows.into_iter().find(|row| row.function == function).expect("a row")
    }

    #[test]
    fn the_dearest_operation_comes_first_with_what_it_waited() {
        let first = &sums().rows[0];
        assert_eq!((first.function.as_str(), first.calls, first.total_ns), ("xfrm_net_exit", 2, 200));
        assert_eq!((first.phase, first.rcu_ns, first.rtnl_ns), (Phase::Exit, 195, 0));
    }

    #[test]
    fn a_wait_within_a_wait_counts_once() {
        let row = row("default_device_exit_batch");
        assert_eq!((row.rcu_ns, row.rtnl_ns), (40, 5));
    }

    #[test]
    fn phases_are_told_by_the_grace_period_and_the_lock() {
        let phases =
            ["nf_pre_exit", "fib_exit_rtnl", "xfrm_net_exit", "rcu_barrier"].map(|name| row(name).phase);
        assert_eq!(phases, [Phase::PreExit, Phase::ExitRtnl, Phase::Exit, Phase::Exit]);
    }

    #[test]
    fn parts_do_not_take_longer_than_the_whole() {
        let sums = sums();
        assert!(sums.rows.iter().map(|row| row.total_ns).sum::<u64>() <= sums.total_ns);
    }

    #[test]
    fn the_second_look_has_the_parts_the_walks_and_the_waits() {
        let names = functions(&Graph { roots: vec![round()], lost: false });
        for name in [
            "xfrm_net_exit",
            "ops_exit_list",
            "ops_undo_list",
            "rcu_barrier",
            "synchronize_net",
            "rtnl_unlock",
        ] {
            assert!(names.iter().any(|found| found == name), "{name}");
        }
        assert!(!names.iter().any(|found| found == "kfree"), "a helper");
        assert_eq!(functions(&Graph::default()), Vec::<String>::new());
    }
}
