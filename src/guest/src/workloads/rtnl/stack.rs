//! `rtnl/stack`: devices upon devices, taken apart in every order.

use std::os::fd::{AsFd as _, AsRawFd as _};

use kregress_wire::WorkloadInfo;
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};

use super::kind::create;
use super::kinds::{Attribute, encode};
use super::place::Place;
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::no_kind;
use crate::modules::Loaded;
use crate::netlink::Route;
use crate::netlink::link::{self, Switch};
use crate::netns::{Home, Namespace};
use crate::ucount::Census;
use crate::workloads::netns::{begin_census, expect_all_gone, expect_left};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "rtnl/stack",
    summary: "takes a vlan on a bond on a veth apart, from every side",
    params: &[],
    metrics: &[],
    modules: &["veth", "bonding", "8021q"],
};

const ALL: [&str; 3] = ["veth0", "bond0", "vlan0"];

/// From which side the stack is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// The uppermost device first.
    Top,
    /// The one in the middle first.
    Middle,
    /// The lowest first.
    Bottom,
    /// The namespace of the lowest one's peer dies.
    Peer,
    /// The namespace dies with all of it.
    Namespace,
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let _modules = Loaded::load(INFO.modules)?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let mut start = Place::here("the namespace of the start")?;
    for side in [Side::Top, Side::Middle, Side::Bottom, Side::Peer, Side::Namespace] {
        take_apart(ctx, side, &home, &mut census)?;
        drop(expect_all_gone(ctx, &mut census, 2)?);
        census.open()?;
        start.expect(ctx, &[])?;
    }
    Ok(())
}

fn take_apart(ctx: &Context<'_>, side: Side, home: &Home, census: &mut Census) -> WorkloadResult {
    let far = create()?;
    let near = create()?;
    let mut place = Place::here("the namespace of the stack")?;
    build(&mut place.route, &far)?;
    home.back()?;
    place.expect(ctx, &ALL)?;
    let delete = |place: &mut Place, name: &str| {
        let index = place.index(name)?;
        link::delete(&mut place.route, index).map_err(|error| error.stop(&format!("RTM_DELLINK of {name}")))
    };
    match side {
        Side::Top => {
            delete(&mut place, "vlan0")?;
            place.expect(ctx, &["veth0", "bond0"])?;
            delete(&mut place, "bond0")?;
            place.expect(ctx, &["veth0"])?;
            delete(&mut place, "veth0")?;
            place.expect(ctx, &[])?;
        }
        // The vlan dies with the bond; the port is set free.
        Side::Middle => {
            delete(&mut place, "bond0")?;
            place.expect(ctx, &["veth0"])?;
        }
        // The bond loses its only port, and lives on.
        Side::Bottom => {
            delete(&mut place, "veth0")?;
            place.expect(ctx, &["bond0", "vlan0"])?;
            delete(&mut place, "bond0")?;
            place.expect(ctx, &[])?;
        }
        Side::Peer => {
            drop(far);
            drop(expect_left(ctx, census, 1)?);
            place.expect(ctx, &["bond0", "vlan0"])?;
        }
        Side::Namespace => {}
    }
    drop((place, near));
    Ok(())
}

/// Makes the stack in the connection's namespace, up from its bottom; the peer of
/// the lowest device is in the other one.
fn build(route: &mut Route, far: &Namespace) -> Result<(), Stop> {
    let mut peer = LinkMessage::default();
    peer.attributes =
        vec![LinkAttribute::IfName("far".into()), LinkAttribute::NetNsFd(far.as_fd().as_raw_fd())];
    link::create(route, "veth0", "veth", Some(InfoData::Veth(InfoVeth::Peer(peer))), Vec::new())
        .map_err(|error| no_kind(&error, "veth", "CONFIG_VETH"))?;
    let mode = InfoData::Other(encode(&[Attribute::U8(1, 1)], 0));
    link::create(route, "bond0", "bond", Some(mode), Vec::new())
        .map_err(|error| no_kind(&error, "bond", "CONFIG_BONDING"))?;
    let index =
        |route: &mut Route, name: &str| link::index(route, name).map_err(|error| error.stop("RTM_GETLINK"));
    let (veth, bond) = (index(route, "veth0")?, index(route, "bond0")?);
    link::enslave(route, veth, bond).map_err(|error| error.stop("veth0 as a port of bond0"))?;
    link::switch(route, bond, Switch::Up).map_err(|error| error.stop("bond0 up"))?;
    let tag = InfoData::Other(encode(&[Attribute::U16(1, 7)], 0));
    link::create(route, "vlan0", "vlan", Some(tag), vec![LinkAttribute::Link(bond)])
        .map_err(|error| no_kind(&error, "vlan", "CONFIG_VLAN_8021Q"))?;
    let vlan = index(route, "vlan0")?;
    link::switch(route, vlan, Switch::Up).map_err(|error| error.stop("vlan0 up"))
}
