//! `rtnl/parallel`: devices made and deleted on every processor at once, each in a
//! namespace of its own. With one lock for all, more processors bring nothing.

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use super::kind::create;
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::no_kind;
use crate::gate::on_all;
use crate::modules::Loaded;
use crate::netlink::{Route, link};
use crate::netns::Home;
use crate::workloads::netns::{begin_census, expect_all_gone, ns};
use crate::{affinity, clock};

const fn rate(name: &'static str, summary: &'static str) -> MetricInfo {
    MetricInfo { name, summary, unit: Unit::PerSecond, kind: Kind::Rate, better: Better::Higher }
}

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "rtnl/parallel",
    summary: "makes and deletes devices on every processor at once",
    params: &[ParamInfo::Int {
        name: "count",
        summary: "devices that each thread makes and deletes",
        min: 1,
        max: 1_000_000,
        default: 40,
    }],
    metrics: &[
        rate("rate_one", "devices made and deleted per second by one thread"),
        rate("rate_all", "devices made and deleted per second by a thread on every processor"),
        MetricInfo {
            name: "scaling",
            summary: "rate of all threads as a share of the rate of one",
            unit: Unit::Percent,
            kind: Kind::Ratio,
            better: Better::Higher,
        },
    ],
    modules: &["dummy"],
};

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let count = ctx.count("count")?;
    let _modules = Loaded::load(INFO.modules)?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let cpus = affinity::cpus().map_err(|error| Stop::Error(format!("sched_getaffinity: {error}")))?;
    let mut rates = Vec::new();
    for threads in 1..=cpus.len() {
        let elapsed_ns = together(cpus.get(..threads).unwrap_or(&cpus), count)?;
        let made = u64::try_from(count * threads).map_err(|error| Stop::Error(error.to_string()))?;
        ctx.checked(made);
        rates.push(ns(made) * 1e9 / ns(elapsed_ns.max(1)));
        drop(expect_all_gone(ctx, &mut census, threads)?);
        census.open()?;
    }
    let (Some(one), Some(all)) = (rates.first(), rates.last()) else {
        return Err(Stop::Error("no processor to run on".into()));
    };
    let curve: Vec<String> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    ctx.note("rates", curve.join(" "))?;
    ctx.sample("rate_one", *one)?;
    ctx.sample("rate_all", *all)?;
    ctx.sample("scaling", all / one * 100.0)
}

/// A thread on each of these processors, all at once, each in a namespace of its
/// own; from the start to the end of the last, in nanoseconds.
pub(super) fn together(cpus: &[usize], count: usize) -> Result<u64, Stop> {
    let (started_ns, ended_ns) = on_all(cpus, |ticket| {
        let home = Home::here()?;
        let namespace = create()?;
        let mut route = Route::here()?;
        ticket.pass()?;
        for _ in 0..count {
            make_and_delete(&mut route)?;
        }
        let ended_ns = clock::monotonic_ns();
        home.back()?;
        drop((route, namespace));
        Ok(ended_ns)
    })?;
    let last_ns = ended_ns.into_iter().max().unwrap_or(started_ns);
    Ok(last_ns.saturating_sub(started_ns))
}

/// One device comes, is seen, and goes.
fn make_and_delete(route: &mut Route) -> Result<(), Stop> {
    link::create(route, "d0", "dummy", None, Vec::new())
        .map_err(|error| no_kind(&error, "dummy", "CONFIG_DUMMY"))?;
    let index = link::index(route, "d0").map_err(|error| error.stop("RTM_GETLINK of a new device"))?;
    link::delete(route, index).map_err(|error| error.stop("RTM_DELLINK of a new device"))
}
