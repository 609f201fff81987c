//! `rtnl/moves`: what refuses a move, and moves while namespaces die at either
//! end. In the end every device is where the model has it.

use std::os::fd::AsFd as _;
use std::os::fd::AsRawFd as _;
use std::thread;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, Prop};
use rustix::io::Errno;

use super::kind::create;
use super::place::{Place, enter};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::no_kind;
use crate::modules::Loaded;
use crate::netlink::{RequestError, Route, link};
use crate::netns::{Home, Namespace};
use crate::workloads::netns::{begin_census, expect_all_gone, ns};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "rtnl/moves",
    summary: "moves devices between namespaces while others die at either end",
    params: &[ParamInfo::Int {
        name: "rounds",
        summary: "how often each device moves there and back",
        min: 1,
        max: 100_000,
        default: 10,
    }],
    metrics: &[MetricInfo {
        name: "move_time",
        summary: "one move there or back, beside the others",
        unit: Unit::Nanoseconds,
        kind: Kind::Time,
        better: Better::Lower,
    }],
    modules: &["dummy"],
};

/// Devices that go there and back, each on a thread of its own.
const TRAVELLERS: [&str; 2] = ["m0", "m1"];

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let rounds = ctx.count("rounds")?;
    let _modules = Loaded::load(INFO.modules)?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let mut start = Place::here("the namespace of the start")?;
    refusals(ctx, &home)?;
    race(ctx, &home, rounds)?;
    drop(expect_all_gone(ctx, &mut census, 2)?);
    start.expect(ctx, &[])
}

fn dummy(route: &mut Route, name: &str) -> Result<u32, Stop> {
    link::create(route, name, "dummy", None, Vec::new())
        .map_err(|error| no_kind(&error, "dummy", "CONFIG_DUMMY"))?;
    link::index(route, name).map_err(|error| error.stop(&format!("RTM_GETLINK of {name}")))
}

/// Another name for a device (`RTM_NEWLINKPROP`).
fn also_known_as(route: &mut Route, index: u32, name: &str) -> Result<(), RequestError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())])];
    route.act(RouteNetlinkMessage::NewLinkProp(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Moves that cannot be, with the errors of `__dev_change_net_namespace`
/// (net/core/dev.c).
fn refusals(ctx: &Context<'_>, home: &Home) -> WorkloadResult {
    let a = create()?;
    let mut in_a = Place::here("the first namespace")?;
    let b = create()?;
    let mut in_b = Place::here("the second namespace")?;
    home.back()?;
    let x0 = dummy(&mut in_a.route, "x0")?;
    let x1 = dummy(&mut in_a.route, "x1")?;
    let taken = dummy(&mut in_b.route, "x0")?;
    also_known_as(&mut in_a.route, x1, "alias").map_err(|error| error.stop("RTM_NEWLINKPROP"))?;
    also_known_as(&mut in_b.route, taken, "alias").map_err(|error| error.stop("RTM_NEWLINKPROP"))?;
    let there = || LinkAttribute::NetNsFd(b.as_fd().as_raw_fd());
    let number = i32::try_from(taken).map_err(|_| Stop::Fail(format!("a device has index {taken}")))?;
    let cases = [
        ("whose name is taken there", x0, vec![there()], Errno::EXIST),
        ("whose other name is taken there", x1, vec![there()], Errno::EXIST),
        (
            "that asks for an index that is taken there",
            x0,
            vec![there(), LinkAttribute::IfName("free".into()), LinkAttribute::NewIfIndex(number)],
            Errno::BUSY,
        ),
    ];
    for (what, index, attributes, expected) in cases {
        let result = link::change(&mut in_a.route, index, attributes);
        let errno = result.as_ref().err().and_then(RequestError::errno);
        ctx.check(errno == Some(expected), || {
            format!(
                "a move of a device {what} should fail with `{expected}`, and was answered with {result:?}"
            )
        })?;
        in_a.expect(ctx, &["x0", "x1"])?;
        in_b.expect(ctx, &["x0"])?;
    }
    drop((in_a, in_b, a, b));
    Ok(())
}

/// Travellers go to and fro between A and B. Meanwhile namespaces send half of
/// their devices to A and die with the rest, and others get devices from A and
/// die with them.
fn race(ctx: &Context<'_>, home: &Home, rounds: usize) -> WorkloadResult {
    let a = create()?;
    let mut in_a = Place::here("the first namespace")?;
    let b = create()?;
    let mut in_b = Place::here("the second namespace")?;
    home.back()?;
    for name in TRAVELLERS {
        dummy(&mut in_a.route, name)?;
    }
    let (times, kept) = thread::scope(|scope| {
        let travellers: Vec<_> =
            TRAVELLERS.iter().map(|name| scope.spawn(|| travel(name, &a, &b, rounds))).collect();
        let visitors = scope.spawn(|| visit(&a, rounds));
        let mut times = Vec::new();
        for traveller in travellers {
            times.extend(traveller.join().map_err(|_| Stop::Error("a thread panicked".into()))??);
        }
        let kept = visitors.join().map_err(|_| Stop::Error("a thread panicked".into()))??;
        Ok::<_, Stop>((times, kept))
    })?;
    ctx.samples("move_time", times.into_iter().map(ns).collect())?;
    let expected: Vec<&str> = TRAVELLERS.iter().copied().chain(kept.iter().map(String::as_str)).collect();
    in_a.expect(ctx, &expected)?;
    in_b.expect(ctx, &[])?;
    drop((in_a, in_b, a, b));
    Ok(())
}

/// There and back; the time of each move.
fn travel(name: &str, a: &Namespace, b: &Namespace, rounds: usize) -> Result<Vec<u64>, Stop> {
    let home = Home::here()?;
    enter(a)?;
    let mut in_a = Route::here()?;
    enter(b)?;
    let mut in_b = Route::here()?;
    home.back()?;
    let mut times = Vec::with_capacity(2 * rounds);
    for _ in 0..rounds {
        for (route, to) in [(&mut in_a, b), (&mut in_b, a)] {
            let index = link::index(route, name).map_err(|error| error.stop("RTM_GETLINK of a traveller"))?;
            let before = clock::monotonic_ns();
            link::move_to(route, index, to.as_fd()).map_err(|error| error.stop("a move beside others"))?;
            times.push(clock::monotonic_ns().saturating_sub(before));
        }
    }
    Ok(times)
}

/// Namespaces come and go beside the travellers; the devices that they leave
/// in A.
fn visit(a: &Namespace, rounds: usize) -> Result<Vec<String>, Stop> {
    let home = Home::here()?;
    enter(a)?;
    let mut in_a = Route::here()?;
    let mut kept = Vec::new();
    for round in 0..rounds {
        // One that sends a device away and dies with another.
        let source = create()?;
        let mut route = Route::here()?;
        let name = format!("kept{round}");
        let index = dummy(&mut route, &name)?;
        dummy(&mut route, "lost")?;
        link::move_to(&mut route, index, a.as_fd())
            .map_err(|error| error.stop("a move out of a namespace that dies"))?;
        kept.push(name);
        // One that gets a device and dies with it.
        let target = create()?;
        enter(a)?;
        let index = dummy(&mut in_a, &format!("gone{round}"))?;
        link::move_to(&mut in_a, index, target.as_fd())
            .map_err(|error| error.stop("a move into a namespace that dies"))?;
        drop((source, route, target));
    }
    home.back()?;
    Ok(kept)
}
