//! `nsid/bystander`: what somebody who has nothing to do with it waits for his
//! requests while many numbers end and their namespaces are taken apart.
//!
//! One thread asks, and looks between two requests whether the cleanup is over.

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use rustix::io::Errno;

use super::crowd::Crowd;
use super::marked::Marked;
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::netlink::{RequestError, Route, link};
use crate::netns::Home;
use crate::quantile::quantile;
use crate::ucount::{Census, Gone};
use crate::workloads::netns::{begin_census, expect_all_gone, ns, time};
use std::time::Duration;

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "nsid/bystander",
    summary: "measures the latency of unrelated requests while many namespace ids end",
    params: &[
        ParamInfo::Int { name: "live", summary: "namespaces that live on", min: 1, max: 10_000, default: 16 },
        ParamInfo::Int {
            name: "dying",
            summary: "namespaces that die together, each with an id in every live one",
            min: 1,
            max: 10_000,
            default: 20,
        },
        ParamInfo::Int { name: "rounds", summary: "how often they do", min: 1, max: 10_000, default: 3 },
        ParamInfo::Int {
            name: "quiet",
            summary: "requests of each sort in a round while nothing dies",
            min: 1,
            max: 1_000_000,
            default: 50,
        },
    ],
    metrics: &[
        time("get_p50", "half of the RTM_GETLINK during a cleanup take at most this"),
        time("get_p99", "99 of 100 RTM_GETLINK during a cleanup take at most this"),
        time("get_max", "the longest RTM_GETLINK during a cleanup"),
        ratio("get_ratio", "p99 of RTM_GETLINK during a cleanup, over that while nothing dies"),
        time(
            "change_p50",
            "half of the creations and removals of a device during a cleanup take at most this",
        ),
        time("change_p99", "99 of 100 creations and removals during a cleanup take at most this"),
        time("change_max", "the longest creation or removal during a cleanup"),
        ratio("change_ratio", "p99 of creations and removals during a cleanup, over that while nothing dies"),
    ],
    modules: &["dummy"],
};

/// A quotient of like things, in hundredths.
const fn ratio(name: &'static str, summary: &'static str) -> MetricInfo {
    MetricInfo { name, summary, unit: Unit::Percent, kind: Kind::Ratio, better: Better::Lower }
}

/// Times of requests.
#[derive(Debug, Default)]
struct Latencies {
    get_ns: Vec<u64>,
    change_ns: Vec<u64>,
}

impl Latencies {
    /// One request of each sort.
    fn ask(&mut self, route: &mut Route) -> Result<(), Stop> {
        let refused = |error: RequestError| match error.errno() {
            Some(Errno::OPNOTSUPP) => {
                Stop::Skip("the kernel has no devices of kind dummy; needs CONFIG_DUMMY".into())
            }
            _ => error.stop("a request of a bystander"),
        };
        let start = clock::monotonic_ns();
        link::find(route, "lo").map_err(refused)?;
        let got = clock::monotonic_ns();
        link::create(route, DEVICE, "dummy", None, vec![]).map_err(refused)?;
        let made = clock::monotonic_ns();
        let index = link::index(route, DEVICE).map_err(refused)?;
        let found = clock::monotonic_ns();
        link::delete(route, index).map_err(refused)?;
        let removed = clock::monotonic_ns();
        self.get_ns.push(got.saturating_sub(start));
        self.change_ns.extend([made.saturating_sub(got), removed.saturating_sub(found)]);
        Ok(())
    }

    fn report(&mut self, ctx: &Context<'_>, quiet: &mut Self) -> Result<(), Stop> {
        let sorts = [
            ("get", &mut self.get_ns, &mut quiet.get_ns),
            ("change", &mut self.change_ns, &mut quiet.change_ns),
        ];
        for (name, busy, quiet) in sorts {
            let mut of = |per_mille| quantile(busy, per_mille);
            let (Some(p50), Some(p99), Some(max)) = (of(500), of(990), of(1000)) else {
                return Err(Stop::Error("no request was made during a cleanup".into()));
            };
            ctx.sample(&format!("{name}_p50"), ns(p50))?;
            ctx.sample(&format!("{name}_p99"), ns(p99))?;
            ctx.sample(&format!("{name}_max"), ns(max))?;
            let usual = quantile(quiet, 990).map_or(1, |usual| usual.max(1));
            ctx.sample(&format!("{name}_ratio"), 100.0 * ns(p99) / ns(usual))?;
        }
        Ok(())
    }
}

/// What the bystander makes and removes.
const DEVICE: &str = "krg0";

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (live, dying, quiet) = (ctx.count("live")?, ctx.count("dying")?, ctx.count("quiet")?);
    let rounds = u64::try_from(ctx.count("rounds")?).map_err(|error| Stop::Error(error.to_string()))?;
    let _modules = Loaded::load(INFO.modules)?;
    let home = Home::here()?;
    let (mut census, spare) = begin_census(ctx)?;
    let mut crowd = Crowd::gather(ctx, &home, live)?;
    let place = Marked::create(0)?;
    let mut route = Route::here()?;
    home.back()?;
    let devices = device_names(&mut route)?;
    census.keep(crowd.len() + 1);
    let mut fresh = spare.fresh;
    for done in 1..=rounds {
        let victims = crowd.face(ctx, &home, Marked::adopt(fresh, &home)?, (dying, dying))?;
        let mut usual = Latencies::default();
        for _ in 0..quiet {
            usual.ask(&mut route)?;
        }
        census.close()?;
        drop(victims);
        let mut busy = Latencies::default();
        let gone = ask_until_gone(ctx, &mut census, &mut route, &mut busy, dying)?;
        census.open()?;
        let ended = crowd.settle(ctx, Vec::new())?;
        ctx.check(ended == live * dying, || {
            format!("{live} namespaces with {dying} numbers each heard of {ended} ends")
        })?;
        let left = device_names(&mut route)?;
        ctx.check(left == devices, || {
            format!("the bystander left devices: there were {devices:?}, there are {left:?}")
        })?;
        busy.report(ctx, &mut usual)?;
        fresh = gone.fresh;
        ctx.progress(done, rounds)?;
    }
    drop((crowd, place, route, fresh));
    census.keep(0);
    expect_all_gone(ctx, &mut census, live + 2).map(drop)
}

/// Asks until the cleanup is over.
fn ask_until_gone(
    ctx: &Context<'_>,
    census: &mut Census,
    route: &mut Route,
    busy: &mut Latencies,
    dying: usize,
) -> Result<Gone, Stop> {
    loop {
        busy.ask(route)?;
        if ctx.remaining().is_zero() {
            // Waits no longer, and tells what the kernel is at.
            return expect_all_gone(ctx, census, dying);
        }
        if let Some(gone) = census.wait(Duration::ZERO)? {
            ctx.checked(1);
            return Ok(gone);
        }
        // A report of life, not of how far it is.
        ctx.progress(0, 1)?;
    }
}

/// Devices of the place where the bystander asks.
fn device_names(route: &mut Route) -> Result<Vec<String>, Stop> {
    let links = link::all(route).map_err(|error| error.stop("dump of RTM_GETLINK"))?;
    Ok(links.iter().filter_map(link::name).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kregress_wire::Event;

    use super::*;
    use crate::deadline::Deadline;

    #[test]
    fn the_ratio_is_that_of_the_slowest_hundredth() {
        let params = BTreeMap::new();
        let mut events = Vec::new();
        let mut sink = |event| {
            events.push(event);
            Ok(())
        };
        let ctx = Context::new(0, &params, 0, Deadline::new(Duration::ZERO, Duration::ZERO), &mut sink);
        let mut busy = Latencies { get_ns: vec![10, 40, 20], change_ns: vec![5] };
        let mut quiet = Latencies { get_ns: vec![20, 10], change_ns: vec![10] };
        busy.report(&ctx, &mut quiet).expect("reported");
        let seen: Vec<_> = events
            .into_iter()
            .filter_map(|event| match event {
                Event::Samples { metric, values, .. } => Some((metric, values)),
                _ => None,
            })
            .collect();
        let of =
            |name: &str| seen.iter().find(|(metric, _)| metric == name).map(|(_, values)| values.clone());
        assert_eq!(of("get_p50"), Some(vec![20.0]));
        assert_eq!(of("get_max"), Some(vec![40.0]));
        assert_eq!((of("get_ratio"), of("change_ratio")), (Some(vec![200.0]), Some(vec![50.0])));
        for metric in INFO.metrics {
            assert!(of(metric.name).is_some(), "{}", metric.name);
        }
    }

    #[test]
    fn a_cleanup_without_a_request_says_nothing() {
        let params = BTreeMap::new();
        let mut sink = |_| Ok(());
        let ctx = Context::new(0, &params, 0, Deadline::new(Duration::ZERO, Duration::ZERO), &mut sink);
        let mut quiet = Latencies { get_ns: vec![1], change_ns: vec![1] };
        let stop = Latencies::default().report(&ctx, &mut quiet).expect_err("nothing");
        assert_eq!(stop, Stop::Error("no request was made during a cleanup".into()));
    }
}
