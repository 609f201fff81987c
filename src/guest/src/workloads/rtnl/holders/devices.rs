//! Holders that are other devices, queues or nexthops.

use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;

use netlink_packet_route::link::{InfoData, LinkAttribute};
use rustix::io::Errno;

use super::super::kinds::{Attribute, encode};
use super::super::leak::Stage;
use super::{Held, holds};
use crate::context::{Context, Stop};
use crate::dress::no_kind;
use crate::netlink::RequestError;
use crate::netlink::link::{self, Switch};
use crate::netlink::raw::{Raw, RawRoute, attribute};

/// A kind of device that is made on top of another one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Upper {
    kind: &'static str,
    symbol: &'static str,
    /// Tells two of them from each other where they have to differ.
    data: fn(u16) -> Attribute,
}

pub(super) const MACVLAN: Upper =
    // `IFLA_MACVLAN_MODE`, `MACVLAN_MODE_BRIDGE`.
    Upper { kind: "macvlan", symbol: "CONFIG_MACVLAN", data: |_| Attribute::U32(1, 4) };
pub(super) const VLAN: Upper =
    // `IFLA_VLAN_ID`.
    Upper { kind: "vlan", symbol: "CONFIG_VLAN_8021Q", data: |tag| Attribute::U16(1, tag) };

/// One on top of the device, and one that then goes to the other namespace.
pub(super) fn upper(stage: &mut Stage, upper: &Upper) -> Result<Held, Stop> {
    for (name, tag) in [("u0", 7), ("u1", 8)] {
        let data = InfoData::Other(encode(&[(upper.data)(tag)], 0));
        let lower = vec![LinkAttribute::Link(stage.device)];
        link::create(&mut stage.in_near.route, name, upper.kind, Some(data), lower)
            .map_err(|error| no_kind(&error, upper.kind, upper.symbol))?;
        let index = stage.in_near.index(name)?;
        link::switch(&mut stage.in_near.route, index, Switch::Up)
            .map_err(|error| error.stop("a device on top up"))?;
    }
    let index = stage.in_near.index("u1")?;
    link::move_to(&mut stage.in_near.route, index, stage.far.as_fd())
        .map_err(|error| error.stop("a move of a device on top"))?;
    let index = stage.in_far.index("u1")?;
    link::switch(&mut stage.in_far.route, index, Switch::Up)
        .map_err(|error| error.stop("a device on top up, elsewhere"))?;
    Ok(Held { upper: &["u0"], upper_far: &["u1"], ..Held::default() })
}

/// `RTM_NEWQDISC` and others, include/uapi/linux/rtnetlink.h.
mod tc {
    pub(super) const NEW_QDISC: u16 = 36;
    pub(super) const GET_QDISC: u16 = 38;
    pub(super) const NEW_FILTER: u16 = 44;
    pub(super) const GET_FILTER: u16 = 46;
    /// `TC_H_ROOT`.
    pub(super) const ROOT: u32 = u32::MAX;
    /// `TC_H_CLSACT`.
    pub(super) const CLSACT: u32 = 0xffff_fff1;
    /// `TC_H_MAJ(TC_H_CLSACT)`.
    pub(super) const HANDLE: u32 = 0xffff_0000;
    /// `TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_EGRESS)`.
    pub(super) const EGRESS: u32 = 0xffff_fff3;
    /// `TCA_KIND`, `TCA_OPTIONS`.
    pub(super) const KIND: u16 = 1;
    pub(super) const OPTIONS: u16 = 2;
}

/// `struct tcmsg`.
fn tcmsg(kind: u16, device: u32, handle: u32, parent: u32, info: u32) -> Raw {
    let numbers = [device, handle, parent, info].map(u32::to_ne_bytes).concat();
    Raw::new(kind, &[&[0; 4], &numbers])
}

/// A queue with a timer, the hooks of clsact, and on a device beside it a filter
/// whose action sends to the device and holds it (net/sched/act_mirred.c).
pub(super) fn qdisc(ctx: &Context<'_>, stage: &mut Stage) -> Result<Held, Stop> {
    const BESIDE: &str = "y0";
    link::create(&mut stage.in_near.route, BESIDE, "dummy", None, Vec::new())
        .map_err(|error| no_kind(&error, "dummy", "CONFIG_DUMMY"))?;
    let beside = stage.in_near.index(BESIDE)?;
    let device = stage.device;
    let mut raw = RawRoute::raw()?;
    let mut add = |device, handle, parent, kind: &str, symbol| {
        let name = [kind.as_bytes(), b"\0"].concat();
        raw.create(tcmsg(tc::NEW_QDISC, device, handle, parent, 0).with(tc::KIND, &name))
            .map_err(|error| lacking(&error, symbol, &format!("RTM_NEWQDISC of {kind}")))
    };
    add(device, 0x1_0000, tc::ROOT, "fq", "CONFIG_NET_SCH_FQ")?;
    add(device, tc::HANDLE, tc::CLSACT, "clsact", "CONFIG_NET_SCH_INGRESS")?;
    add(beside, tc::HANDLE, tc::CLSACT, "clsact", "CONFIG_NET_SCH_INGRESS")?;
    let filters = |raw: &mut RawRoute| {
        raw.dump(&tcmsg(tc::GET_FILTER, beside, 0, tc::EGRESS, 0))
            .map(|all| all.len())
            .map_err(|error| error.stop("the dump of filters"))
    };
    let before = filters(&mut raw)?;
    raw.create(redirect(beside, device)).map_err(|error| {
        lacking(&error, "CONFIG_NET_CLS_MATCHALL and CONFIG_NET_ACT_MIRRED", "RTM_NEWTFILTER of matchall")
    })?;
    let found = filters(&mut raw)?;
    ctx.check(found > before, || "a filter was made, and is not there".into())?;
    let all =
        raw.dump(&tcmsg(tc::GET_QDISC, 0, 0, 0, 0)).map_err(|error| error.stop("the dump of qdiscs"))?;
    // At 4 is the device, at 8 the handle. Own ones have a handle of their own.
    let here = all.iter().filter(|it| it.u32_at(4) == Some(device) && it.u32_at(8).is_some_and(|it| it != 0));
    holds(ctx, here.count(), 2, "qdiscs of the device")?;
    Ok(Held { beside: &[BESIDE], ..Held::default() })
}

/// A filter on one device whose action sends everything to another.
fn redirect(from: u32, to: u32) -> Raw {
    /// `TCA_MATCHALL_ACT`.
    const ACTIONS: u16 = 2;
    /// `TCA_ACT_KIND`, `TCA_ACT_OPTIONS`.
    const ACTION_KIND: u16 = 1;
    const ACTION_OPTIONS: u16 = 2;
    /// `TCA_MIRRED_PARMS`.
    const PARAMETERS: u16 = 2;
    /// `TC_ACT_STOLEN`.
    const STOLEN: u32 = 4;
    /// `TCA_EGRESS_REDIR`.
    const REDIRECT: u32 = 1;
    // Priority 1, and `ETH_P_ALL` in the order of the network.
    let info = (1 << 16) | u32::from(3_u16.to_be());
    // `struct tc_mirred`: number, capabilities, action, two counts, what, where.
    let parameters = [0, 0, STOLEN, 0, 0, REDIRECT, to].map(u32::to_ne_bytes).concat();
    let action =
        [attribute(ACTION_KIND, b"mirred\0"), attribute(ACTION_OPTIONS, &attribute(PARAMETERS, &parameters))]
            .concat();
    // Actions are numbered from 1.
    let actions = attribute(ACTIONS, &attribute(1, &action));
    tcmsg(tc::NEW_FILTER, from, 0, tc::EGRESS, info).with(tc::KIND, b"matchall\0").with(tc::OPTIONS, &actions)
}

/// Two nexthops on the device, a group of them, and a route through the group.
pub(super) fn nexthop(ctx: &Context<'_>, stage: &mut Stage) -> Result<Held, Stop> {
    const NEW: u16 = 104;
    const GET: u16 = 106;
    const NEW_ROUTE: u16 = 24;
    /// `NHA_ID`, `NHA_GROUP`, `NHA_OIF`.
    const ID: u16 = 1;
    const GROUP: u16 = 2;
    const DEVICE: u16 = 5;
    /// `RTA_DST`, `RTA_NH_ID`.
    const DESTINATION: u16 = 1;
    const NEXTHOP: u16 = 30;
    // `struct nhmsg`: family, scope, protocol, nothing, flags.
    let nexthop = |kind, family: i32| {
        let family = u8::try_from(family).unwrap_or_default();
        Raw::new(kind, &[&[family, 0, 0, 0], &[0; 4]])
    };
    let mut raw = RawRoute::raw()?;
    let mut members = Vec::new();
    for id in [1_u32, 2] {
        let message =
            nexthop(NEW, libc::AF_INET).with(ID, &id.to_ne_bytes()).with(DEVICE, &stage.device.to_ne_bytes());
        raw.create(message).map_err(|error| lacking(&error, "CONFIG_INET", "RTM_NEWNEXTHOP"))?;
        // `struct nexthop_grp`: the nexthop, its weight less one, nothing.
        members.extend([&id.to_ne_bytes()[..], &[0; 4]].concat());
    }
    let six =
        nexthop(NEW, libc::AF_INET6).with(ID, &3_u32.to_ne_bytes()).with(DEVICE, &stage.device.to_ne_bytes());
    raw.create(six).map_err(|error| error.stop("RTM_NEWNEXTHOP of IPv6"))?;
    let group = nexthop(NEW, libc::AF_UNSPEC).with(ID, &4_u32.to_ne_bytes()).with(GROUP, &members);
    raw.create(group).map_err(|error| error.stop("RTM_NEWNEXTHOP of a group"))?;
    // `struct rtmsg`: family, prefixes, type of service, table main, protocol
    // static, scope, unicast, flags.
    let family = u8::try_from(libc::AF_INET).unwrap_or_default();
    let route = Raw::new(NEW_ROUTE, &[&[family, 24, 0, 0, 254, 4, 0, 1], &[0; 4]])
        .with(DESTINATION, &Ipv4Addr::new(10, 9, 3, 0).octets())
        .with(NEXTHOP, &4_u32.to_ne_bytes());
    raw.create(route).map_err(|error| error.stop("a route through a group of nexthops"))?;
    let all = raw.dump(&nexthop(GET, libc::AF_UNSPEC)).map_err(|error| error.stop("the dump of nexthops"))?;
    holds(ctx, all.len(), 4, "nexthops")?;
    Ok(Held::default())
}

/// A refusal that may mean that the kernel has no such thing.
fn lacking(error: &RequestError, symbol: &str, what: &str) -> Stop {
    match error.errno() {
        Some(Errno::NOENT | Errno::OPNOTSUPP) => Stop::Skip(format!("{what}: {error}; needs {symbol}")),
        _ => error.stop(what),
    }
}
