//! `nsid/dump`: a list of numbers is whole, however long it is.
//!
//! The kernel puts as many numbers into a datagram as it has room for and goes
//! on in the next one (`rtnl_net_dumpid`, net/core/net_namespace.c). 6.12.117
//! does not go on: it returns 0 for a datagram that is full, as if that were the
//! end, so that it lists 134 numbers at most. 6.1.192 lists all of them.

use kregress_wire::{ParamInfo, WorkloadInfo};

use super::marked::Marked;
use super::observer::Observer;
use super::{count, sample};
use crate::context::{Context, Stop, WorkloadResult};
use crate::netlink::{Reach, Route};
use crate::netns::Home;
use crate::workloads::netns::{begin_census, expect_all_gone};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "nsid/dump",
    summary: "checks that a dump lists every namespace id exactly once",
    params: &[ParamInfo::Int {
        name: "ids",
        summary: "ids that there are; one datagram of a fresh socket holds 134",
        min: 1,
        max: 20_000,
        default: 100,
    }],
    metrics: &[count("listed", "ids in one dump")],
    modules: &[],
};

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let ids = ctx.count("ids")?;
    let steps = u64::try_from(ids).map_err(|error| Stop::Error(error.to_string()))?;
    let home = Home::here()?;
    let (mut census, spare) = begin_census(ctx)?;
    let mut observer = Observer::create(&home, "the observer".into(), Reach::Own)?;
    let mut held = vec![Marked::adopt(spare.fresh, &home)?];
    while held.len() < ids {
        held.push(Marked::create_away(&home, held.len())?);
        ctx.progress(u64::try_from(held.len()).unwrap_or(steps), steps)?;
    }
    let given: Vec<i32> =
        held.iter().map(|peer| observer.assign(ctx, peer, None)).collect::<Result<_, _>>()?;
    observer.settle(ctx, "while numbers were given")?;
    for (id, peer) in given.iter().zip(&held) {
        observer.expect_leads_to(ctx, *id, Some(peer))?;
    }
    // A socket that has received much gets larger datagrams than a fresh one.
    observer.expect_listed(ctx, given.clone())?;
    observer.expect_listed(ctx, given.clone())?;
    observer.place.enter()?;
    observer.route = Route::here()?;
    home.back()?;
    observer.expect_listed(ctx, given)?;
    ctx.sample("listed", sample(ids))?;
    drop((observer, held));
    expect_all_gone(ctx, &mut census, ids + 1).map(drop)
}
