//! `nsid/links`: devices that lead from one namespace to another, and those that
//! move there, make the kernel give numbers by itself.
//!
//! `peernet2id_alloc` gives one when a message has to name another namespace
//! (`IFLA_LINK_NETNSID`, `IFLA_NEW_NETNSID`; net/core/rtnetlink.c,
//! net/core/dev.c), and must not give one to a namespace that is about to die.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, AsRawFd as _};

use kregress_wire::{ParamInfo, WorkloadInfo};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoGre, InfoIpTunnel, InfoVeth, InfoVlan, InfoVxlan, LinkAttribute, LinkMessage,
};
use rustix::io::Errno;

use super::ledger::{Fate, Line};
use super::observer::Observer;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::netlink::{Reach, RequestError, link, nsid};
use crate::netns::Home;
use crate::ucount::Census;
use crate::workloads::netns::{begin_census, expect_all_gone};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "nsid/links",
    summary: "checks the ids that the kernel gives by itself for devices across namespaces",
    params: &[
        ParamInfo::Choice {
            name: "kind",
            summary: "veth: a pair across; dummy: moved there and back; others: moved away from what they stand on",
            choices: &["veth", "dummy", "vxlan", "ipip", "sit", "gre", "ip6tnl", "vlan", "macvlan"],
            default: "veth",
        },
        ParamInfo::Int {
            name: "rounds",
            summary: "how often, each time in fresh namespaces",
            min: 1,
            max: 10_000,
            default: 2,
        },
    ],
    metrics: &[],
    modules: &["veth", "dummy", "vxlan", "ipip", "sit", "ip_gre", "ip6_tunnel", "8021q", "macvlan"],
};

/// `RTNLGRP_LINK`.
const LINKS: u32 = 1;

/// The device that all is about.
const DEVICE: &str = "krg0";

/// What it stands on, where it stands on something.
const LOWER: &str = "krg1";

/// Documentation addresses: a tunnel of its own beside the fallback device.
const REMOTE4: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const REMOTE6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// What is known of a kind.
struct Kind {
    name: String,
    /// The option that brings it.
    config: &'static str,
    modules: &'static [&'static str],
}

impl Kind {
    fn of(name: &str) -> Result<Self, Stop> {
        let (config, modules): (_, &[&str]) = match name {
            "veth" => ("CONFIG_VETH", &["veth"]),
            "dummy" => ("CONFIG_DUMMY", &["dummy"]),
            "vxlan" => ("CONFIG_VXLAN", &["vxlan"]),
            "ipip" => ("CONFIG_NET_IPIP", &["ipip"]),
            "sit" => ("CONFIG_IPV6_SIT", &["sit"]),
            "gre" => ("CONFIG_NET_IPGRE", &["ip_gre"]),
            "ip6tnl" => ("CONFIG_IPV6_TUNNEL", &["ip6_tunnel"]),
            "vlan" => ("CONFIG_VLAN_8021Q", &["dummy", "8021q"]),
            "macvlan" => ("CONFIG_MACVLAN", &["dummy", "macvlan"]),
            other => {
                let text = format!("parameter `kind` is `{other}`, which is none of its choices");
                return Err(Stop::Error(text));
            }
        };
        Ok(Self { name: name.to_owned(), config, modules })
    }

    /// Whether it stands on a device of the same namespace.
    fn has_lower(&self) -> bool {
        matches!(&*self.name, "vlan" | "macvlan")
    }

    fn data(&self) -> Option<InfoData> {
        match &*self.name {
            "vxlan" => Some(InfoData::Vxlan(vec![InfoVxlan::Id(42)])),
            "ipip" | "sit" => Some(InfoData::IpTunnel(vec![InfoIpTunnel::Remote(IpAddr::V4(REMOTE4))])),
            "ip6tnl" => Some(InfoData::IpTunnel(vec![InfoIpTunnel::Remote(IpAddr::V6(REMOTE6))])),
            "gre" => Some(InfoData::GreTun(vec![InfoGre::Remote(REMOTE4)])),
            "vlan" => Some(InfoData::Vlan(vec![InfoVlan::Id(5)])),
            _ => None,
        }
    }

    /// What a refused creation means.
    fn refused(&self, error: &RequestError) -> Stop {
        match error.errno() {
            Some(Errno::OPNOTSUPP) => {
                Stop::Skip(format!("the kernel has no devices of kind {}; needs {}", self.name, self.config))
            }
            _ => error.stop(&format!("creation of a device of kind {}", self.name)),
        }
    }
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let kind = Kind::of(ctx.choice("kind")?)?;
    let rounds = u64::try_from(ctx.count("rounds")?).map_err(|error| Stop::Error(error.to_string()))?;
    let _modules = Loaded::load(kind.modules)?;
    let home = Home::here()?;
    let (mut census, spare) = begin_census(ctx)?;
    drop(spare);
    for done in 1..=rounds {
        let groups = [LINKS, nsid::GROUP];
        let side = |name: &str| Observer::create_hearing(&home, name.into(), &groups, Reach::Own);
        let (a, b) = (side("the first namespace")?, side("the second namespace")?);
        let survivor = match &*kind.name {
            "veth" => across(ctx, &mut census, &kind, a, b)?,
            "dummy" => there_and_back(ctx, &mut census, &kind, a, b)?,
            _ => away(ctx, &mut census, &kind, a, b)?,
        };
        drop(survivor);
        census.keep(0);
        drop(expect_all_gone(ctx, &mut census, 1)?);
        census.open()?;
        ctx.progress(done, rounds)?;
    }
    // The fresh namespaces of the last probes.
    expect_all_gone(ctx, &mut census, 1).map(drop)
}

/// A pair with an end on each side; the second one dies.
fn across(
    ctx: &Context<'_>,
    census: &mut Census,
    kind: &Kind,
    mut a: Observer,
    mut b: Observer,
) -> Result<Observer, Stop> {
    let mut peer = LinkMessage::default();
    peer.attributes =
        vec![LinkAttribute::IfName(DEVICE.into()), LinkAttribute::NetNsFd(b.place.as_fd().as_raw_fd())];
    let data = InfoData::Veth(InfoVeth::Peer(peer));
    link::create(&mut a.route, DEVICE, &kind.name, Some(data), vec![])
        .map_err(|error| kind.refused(&error))?;
    let ends = (found(&mut a, DEVICE)?, found(&mut b, DEVICE)?);
    let id_of_b = expect_implicit(ctx, &mut a, &b)?;
    let id_of_a = expect_implicit(ctx, &mut b, &a)?;
    expect_link_netnsid(ctx, &ends.0, id_of_b, &a)?;
    expect_link_netnsid(ctx, &ends.1, id_of_a, &b)?;
    hear(ctx, &mut a, "when a pair was made")?;
    hear(ctx, &mut b, "when a pair was made")?;
    expect_end(ctx, census, b, &mut a, ends.0.header.index, id_of_b)?;
    Ok(a)
}

/// A device that is made in the first namespace, and stays tied to it after it
/// moved to the second; the first one dies.
fn away(
    ctx: &Context<'_>,
    census: &mut Census,
    kind: &Kind,
    mut a: Observer,
    mut b: Observer,
) -> Result<Observer, Stop> {
    let mut more = Vec::new();
    if kind.has_lower() {
        let lower = Kind::of("dummy")?;
        link::create(&mut a.route, LOWER, &lower.name, None, vec![])
            .map_err(|error| lower.refused(&error))?;
        more.push(LinkAttribute::Link(found(&mut a, LOWER)?.header.index));
    }
    link::create(&mut a.route, DEVICE, &kind.name, kind.data(), more)
        .map_err(|error| kind.refused(&error))?;
    hear(ctx, &mut a, "when a device was made")?;
    let (there, id_of_b) = shift(ctx, &mut a, &mut b, DEVICE)?;
    let id_of_a = expect_implicit(ctx, &mut b, &a)?;
    expect_link_netnsid(ctx, &there, id_of_a, &b)?;
    a.ledger.expect(Line { from: None, id: id_of_b }, Fate::Given);
    expect_moved(ctx, &mut a, &there, id_of_b)?;
    hear(ctx, &mut b, "when a device moved in")?;
    expect_end(ctx, census, a, &mut b, there.header.index, id_of_a)?;
    Ok(b)
}

/// Devices that are tied to nothing: the number is for the notice of the move
/// alone. The second namespace dies with one of them in it.
fn there_and_back(
    ctx: &Context<'_>,
    census: &mut Census,
    kind: &Kind,
    mut a: Observer,
    mut b: Observer,
) -> Result<Observer, Stop> {
    for name in [DEVICE, LOWER] {
        link::create(&mut a.route, name, &kind.name, None, vec![]).map_err(|error| kind.refused(&error))?;
    }
    hear(ctx, &mut a, "when devices were made")?;
    let (there, id_of_b) = shift(ctx, &mut a, &mut b, DEVICE)?;
    a.ledger.expect(Line { from: None, id: id_of_b }, Fate::Given);
    expect_moved(ctx, &mut a, &there, id_of_b)?;
    let none = b.number_of(&a.place)?;
    ctx.check(none.is_none(), || {
        format!("a device that is tied to nothing moved in and brought number {none:?}")
    })?;
    ctx.check(link_netnsid(&there).is_none(), || {
        format!("a device that is tied to nothing has IFLA_LINK_NETNSID {:?}", link_netnsid(&there))
    })?;
    // The number is there by now.
    let (second, same) = shift(ctx, &mut a, &mut b, LOWER)?;
    ctx.check(same == id_of_b, || format!("number {id_of_b} has become {same}"))?;
    expect_moved(ctx, &mut a, &second, id_of_b)?;
    let (back, id_of_a) = shift(ctx, &mut b, &mut a, DEVICE)?;
    b.ledger.expect(Line { from: None, id: id_of_a }, Fate::Given);
    expect_moved(ctx, &mut b, &back, id_of_a)?;
    hear(ctx, &mut a, "when a device came back")?;
    a.ledger.expect(Line { from: None, id: id_of_b }, Fate::Ended);
    expect_death(ctx, census, b)?;
    let gone = hear(ctx, &mut a, "when the second namespace died")?;
    ctx.check(gone.is_empty(), || format!("{} devices are gone where none was", gone.len()))?;
    a.expect_free(ctx, id_of_b)?;
    found(&mut a, DEVICE)?;
    Ok(a)
}

/// Moves a device; what it is on the other side, and the number that the side it
/// left has for that one.
fn shift(
    ctx: &Context<'_>,
    from: &mut Observer,
    to: &mut Observer,
    name: &str,
) -> Result<(LinkMessage, i32), Stop> {
    let index = found(from, name)?.header.index;
    link::move_to(&mut from.route, index, to.place.as_fd())
        .map_err(|error| error.stop("a move to another namespace"))?;
    let left = link::find(&mut from.route, name).err().and_then(|error| error.errno());
    ctx.check(left == Some(Errno::NODEV), || {
        format!("a device that moved away is still asked about with {left:?} in {}", from.name)
    })?;
    let there = found(to, name)?;
    let id = from.number_of(&to.place)?;
    let id = id.ok_or_else(|| Stop::Fail(format!("a move out of {} gave no number", from.name)))?;
    from.expect_leads_to(ctx, id, Some(&to.place))?;
    Ok((there, id))
}

/// The kernel gave a number by itself; it has to be heard of once.
fn expect_implicit(ctx: &Context<'_>, at: &mut Observer, peer: &Observer) -> Result<i32, Stop> {
    let id = at.number_of(&peer.place)?;
    let id = id.ok_or_else(|| Stop::Fail(format!("{} has no number for the other side", at.name)))?;
    at.expect_leads_to(ctx, id, Some(&peer.place))?;
    at.ledger.expect(Line { from: None, id }, Fate::Given);
    Ok(id)
}

fn expect_link_netnsid(ctx: &Context<'_>, link: &LinkMessage, id: i32, at: &Observer) -> Result<(), Stop> {
    let said = link_netnsid(link);
    ctx.check(said == Some(id), || {
        format!("IFLA_LINK_NETNSID in {} is {said:?}, the number of the other side is {id}", at.name)
    })
}

/// One notice of the device's end, which says where it has gone.
fn expect_moved(ctx: &Context<'_>, left: &mut Observer, there: &LinkMessage, id: i32) -> Result<(), Stop> {
    let gone = hear(ctx, left, "when a device moved away")?;
    let said: Vec<_> = gone.iter().map(destination).collect();
    let index = i32::try_from(there.header.index).ok();
    ctx.check(said == [(Some(id), index)], || {
        format!(
            "RTM_DELLINK of a move out of {} says {said:?} instead of namespace {id} and index {index:?}",
            left.name
        )
    })
}

/// A namespace dies; the device on the other side goes with it, and the number.
fn expect_end(
    ctx: &Context<'_>,
    census: &mut Census,
    dying: Observer,
    other: &mut Observer,
    index: u32,
    id: i32,
) -> Result<(), Stop> {
    other.ledger.expect(Line { from: None, id }, Fate::Ended);
    expect_death(ctx, census, dying)?;
    let gone = hear(ctx, other, "when the other side died")?;
    let said: Vec<_> = gone.iter().map(|link| (link.header.index, destination(link))).collect();
    ctx.check(said == [(index, (None, None))], || {
        format!("RTM_DELLINK of what was tied to a dead namespace: {said:?}, index {index} was expected once")
    })?;
    let left = link::find(&mut other.route, DEVICE).err().and_then(|error| error.errno());
    ctx.check(left == Some(Errno::NODEV), || {
        format!("a device that was tied to a dead namespace is asked about with {left:?}")
    })?;
    other.expect_free(ctx, id)?;
    other.expect_listed(ctx, vec![])
}

fn expect_death(ctx: &Context<'_>, census: &mut Census, dying: Observer) -> Result<(), Stop> {
    drop(dying);
    census.keep(1);
    drop(expect_all_gone(ctx, census, 1)?);
    census.open()
}

/// What was heard of numbers is as expected; the ends of devices among the rest.
fn hear(ctx: &Context<'_>, at: &mut Observer, when: &str) -> Result<Vec<LinkMessage>, Stop> {
    let mut numbers = Vec::new();
    let mut gone = Vec::new();
    for notice in at.take()? {
        match notice.message {
            RouteNetlinkMessage::DelLink(link) => gone.push(link),
            RouteNetlinkMessage::NewLink(_) => {}
            _ => numbers.push(notice),
        }
    }
    at.settle_with(ctx, &numbers, when)?;
    Ok(gone)
}

fn found(at: &mut Observer, name: &str) -> Result<LinkMessage, Stop> {
    link::find(&mut at.route, name)
        .map_err(|error| error.stop(&format!("RTM_GETLINK of {name} in {}", at.name)))
}

fn link_netnsid(link: &LinkMessage) -> Option<i32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkNetNsId(id) => Some(*id),
        _ => None,
    })
}

/// Where a device has gone: `IFLA_NEW_NETNSID` and `IFLA_NEW_IFINDEX`.
fn destination(link: &LinkMessage) -> (Option<i32>, Option<i32>) {
    let mut place = (None, None);
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::NewNetnsId(id) => place.0 = Some(*id),
            LinkAttribute::NewIfIndex(index) => place.1 = Some(*index),
            _ => {}
        }
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_that_can_be_chosen_is_known_with_its_option_and_modules() {
        let Some(ParamInfo::Choice { choices, .. }) = INFO.params.first() else { panic!("a choice") };
        for name in *choices {
            let kind = Kind::of(name).expect("known");
            assert!(kind.config.starts_with("CONFIG_"), "{name}");
            assert!(kind.modules.iter().all(|module| INFO.modules.contains(module)), "{name}");
        }
        assert!(Kind::of("bridge").is_err());
    }

    #[test]
    fn a_kind_that_the_kernel_lacks_is_a_skip_with_its_option() {
        let refusal = |errno| RequestError::Refused(crate::netlink::Refusal { errno, text: None });
        let kind = Kind::of("vxlan").expect("known");
        assert_eq!(
            kind.refused(&refusal(Errno::OPNOTSUPP)),
            Stop::Skip("the kernel has no devices of kind vxlan; needs CONFIG_VXLAN".into())
        );
        assert!(matches!(kind.refused(&refusal(Errno::EXIST)), Stop::Fail(_)));
    }

    #[test]
    fn a_notice_of_a_move_says_where_to() {
        let mut link = LinkMessage::default();
        assert_eq!(destination(&link), (None, None));
        link.attributes = vec![LinkAttribute::NewIfIndex(7), LinkAttribute::NewNetnsId(0)];
        assert_eq!(destination(&link), (Some(0), Some(7)));
    }
}
