//! `rtnl/leak`: a device is deleted, and its namespace dies, while something
//! holds on to them. Both go, unless a descriptor has a right to the namespace;
//! then it lives exactly as long as the descriptor.

use std::os::fd::{AsFd as _, AsRawFd as _};

use kregress_wire::{ParamInfo, WorkloadInfo};
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};

use super::holders::{self, Held, Holder};
use super::kind::create;
use super::place::{Place, enter};
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::no_kind;
use crate::modules::Loaded;
use crate::netlink::link::{self, Switch};
use crate::netns::{Home, Namespace};
use crate::ucount::Census;
use crate::workloads::netns::{begin_census, expect_all_gone, expect_left};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "rtnl/leak",
    summary: "deletes a device, and lets its namespace die, while something holds them",
    params: &[ParamInfo::Choice {
        name: "holder",
        summary: "what holds the device or its namespace",
        choices: holders::NAMES,
        default: "multicast",
    }],
    metrics: &[],
    modules: holders::MODULES,
};

/// The device that is held.
pub(super) const DEVICE: &str = "x0";
/// Its peer, in the other namespace.
pub(super) const PEER: &str = "x1";

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let holder = Holder::named(ctx.choice("holder")?)?;
    let _modules = Loaded::load(&[&["veth"], holder.modules()].concat())?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let mut start = Place::here("the namespace of the start")?;
    for end in [End::Device, End::Namespace] {
        // Whatever becomes of the test, its thread is back where it began.
        let result = hold_and_end(ctx, holder, end, &home, &mut census);
        home.back()?;
        result?;
        drop(expect_all_gone(ctx, &mut census, 2)?);
        census.open()?;
        start.expect(ctx, &[])?;
    }
    Ok(())
}

/// What ends while it is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The device, by `RTM_DELLINK`.
    Device,
    /// The namespace, by the drop of every reference but the holder's.
    Namespace,
}

/// Two namespaces with a device between them.
#[derive(Debug)]
pub(super) struct Stage {
    /// Where the device is that is held.
    pub(super) near: Namespace,
    /// Where its peer is.
    pub(super) far: Namespace,
    pub(super) in_near: Place,
    pub(super) in_far: Place,
    /// Index of the device.
    pub(super) device: u32,
    /// Index of the peer.
    pub(super) peer: u32,
}

impl Stage {
    /// Leaves the calling thread in the near one.
    fn set() -> Result<Self, Stop> {
        let far = create()?;
        let mut in_far = Place::here("the namespace of the peer")?;
        let near = create()?;
        let mut in_near = Place::here("the namespace of the device")?;
        let mut other = LinkMessage::default();
        other.attributes =
            vec![LinkAttribute::IfName(PEER.to_owned()), LinkAttribute::NetNsFd(far.as_fd().as_raw_fd())];
        let pair = Some(InfoData::Veth(InfoVeth::Peer(other)));
        link::create(&mut in_near.route, DEVICE, "veth", pair, Vec::new())
            .map_err(|error| no_kind(&error, "veth", "CONFIG_VETH"))?;
        let (device, peer) = (in_near.index(DEVICE)?, in_far.index(PEER)?);
        for (place, index) in [(&mut in_near, device), (&mut in_far, peer)] {
            link::switch(&mut place.route, index, Switch::Up)
                .map_err(|error| error.stop("an end of a pair up"))?;
        }
        Ok(Self { near, far, in_near, in_far, device, peer })
    }

    /// Does something in the far namespace, and comes back to the near one.
    pub(super) fn over_there<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, Stop>,
    ) -> Result<T, Stop> {
        enter(&self.far)?;
        let result = work(self);
        enter(&self.near)?;
        result
    }
}

fn hold_and_end(
    ctx: &Context<'_>,
    holder: Holder,
    end: End,
    home: &Home,
    census: &mut Census,
) -> WorkloadResult {
    let mut stage = Stage::set()?;
    let mut held = holder.hold(ctx, &mut stage)?;
    home.back()?;
    stage.in_near.expect(ctx, &with(&[&[DEVICE], held.upper, held.beside]))?;
    stage.in_far.expect(ctx, &with(&[&[PEER], held.upper_far]))?;
    match end {
        End::Device => device_ends(ctx, stage, held),
        End::Namespace => {
            let Stage { near, far, in_near, mut in_far, .. } = stage;
            drop((near, in_near));
            if held.pins() {
                still_there(ctx, census, &mut in_far, &held)?;
                held.finish()?;
            }
            drop(expect_left(ctx, census, 1)?);
            in_far.expect(ctx, &[])?;
            drop((held, in_far, far));
            Ok(())
        }
    }
}

/// The request comes back, and both ends are gone with all that was on top.
fn device_ends(ctx: &Context<'_>, mut stage: Stage, mut held: Held) -> WorkloadResult {
    link::delete(&mut stage.in_near.route, stage.device)
        .map_err(|error| error.stop("RTM_DELLINK of a device that is held"))?;
    stage.in_near.expect(ctx, held.beside)?;
    stage.in_far.expect(ctx, &[])?;
    held.expect_told(ctx)?;
    held.abort()?;
    drop((held, stage));
    Ok(())
}

/// The holder's descriptor keeps the namespace alive.
///
/// That something has not begun cannot be waited for. But namespaces are taken
/// down in the order in which they lose their last reference (one worker, and
/// one list: `cleanup_net`): when one is gone that was given up after this one,
/// this one would be gone as well, and the peer of its device with it.
fn still_there(ctx: &Context<'_>, census: &mut Census, in_far: &mut Place, held: &Held) -> WorkloadResult {
    drop(expect_left(ctx, census, 2)?);
    drop(expect_left(ctx, census, 2)?);
    in_far.expect(ctx, &with(&[&[PEER], held.upper_far]))
}

fn with<'a>(names: &[&[&'a str]]) -> Vec<&'a str> {
    names.concat()
}
