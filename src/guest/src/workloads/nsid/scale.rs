//! `nsid/scale`: what the end of numbers costs, against the namespaces that live
//! and the numbers that they have.
//!
//! `unhash_nsid` walks the live namespaces for each one that dies, and the
//! numbers of each until it has found it; since 7.0 (kernel commit 7acee67a6bce)
//! once for all that die together.

use kregress_wire::{ParamInfo, WorkloadInfo};

use super::crowd::Crowd;
use super::marked::Marked;
use super::{count, sample};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::netns::Home;
use crate::workloads::netns::{begin_census, expect_all_gone, ns, time};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "nsid/scale",
    summary: "measures how the end of namespace ids grows with live namespaces and their ids",
    params: &[
        ParamInfo::Int { name: "live", summary: "namespaces that live on", min: 1, max: 10_000, default: 16 },
        ParamInfo::Int {
            name: "ids",
            summary: "ids that each of them has for the dying; at most as many as die",
            min: 0,
            max: 10_000,
            default: 16,
        },
        ParamInfo::Int {
            name: "dying",
            summary: "namespaces that die together",
            min: 1,
            max: 10_000,
            default: 16,
        },
        ParamInfo::Int { name: "rounds", summary: "how often they do", min: 1, max: 10_000, default: 3 },
    ],
    metrics: &[
        time("drain_time", "from the drop of the dying to the end of their cleanup"),
        time(
            "unhash_time",
            "from the drop to the last RTM_DELNSID of the last live namespace; with ids only",
        ),
        count("ended", "RTM_DELNSID that all live namespaces hear together in one round"),
    ],
    modules: &[],
};

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (live, ids, dying) = (ctx.count("live")?, ctx.count("ids")?, ctx.count("dying")?);
    let rounds = u64::try_from(ctx.count("rounds")?).map_err(|error| Stop::Error(error.to_string()))?;
    let ids = ids.min(dying);
    let home = Home::here()?;
    let (mut census, spare) = begin_census(ctx)?;
    let mut crowd = Crowd::gather(ctx, &home, live)?;
    let mut fresh = spare.fresh;
    census.keep(crowd.len());
    for done in 1..=rounds {
        let victims = crowd.face(ctx, &home, Marked::adopt(fresh, &home)?, (dying, ids))?;
        census.close()?;
        ctx.dither();
        let dropped_ns = clock::monotonic_ns();
        drop(victims);
        let (heard, over) = crowd.hear_last(ctx, &mut census, ids)?;
        let told_ns = clock::monotonic_ns();
        let gone = match over {
            Some(gone) => gone,
            None => expect_all_gone(ctx, &mut census, dying)?,
        };
        census.open()?;
        let ended = crowd.settle(ctx, heard)?;
        ctx.check(ended == live * ids, || {
            format!("{live} namespaces with {ids} numbers each heard of {ended} ends")
        })?;
        ctx.sample("drain_time", ns(gone.at_ns.saturating_sub(dropped_ns)))?;
        if ids > 0 {
            ctx.sample("unhash_time", ns(told_ns.saturating_sub(dropped_ns)))?;
        }
        ctx.sample("ended", sample(ended))?;
        fresh = gone.fresh;
        ctx.progress(done, rounds)?;
    }
    drop((crowd, fresh));
    census.keep(0);
    expect_all_gone(ctx, &mut census, live + 1).map(drop)
}
