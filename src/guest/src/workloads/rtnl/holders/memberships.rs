//! Holders that are entries in tables of a device, or sockets on it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::neighbour::NeighbourFlags;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::net::sockopt::{set_ip_add_membership_with_ifindex, set_ipv6_add_membership};

use super::super::leak::Stage;
use super::{Held, Told, holds, packet_socket};
use crate::context::{Context, Stop};
use crate::ffi::{self, PlainOption};
use crate::netlink::Route;
use crate::netlink::neigh::{self, Entry};

/// Groups of each family that sockets join.
const GROUPS: u8 = 4;

/// Group that the kernel joins for the sake of an address.
const AUTOMATIC: u8 = 200;

fn group4(n: u8) -> Ipv4Addr {
    Ipv4Addr::new(239, 9, 0, n)
}

fn group6(n: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 9, n.into())
}

/// One socket joins groups of both families; the kernel joins one of each by itself.
pub(super) fn multicast(ctx: &Context<'_>, stage: &mut Stage) -> Result<Held, Stop> {
    let failed = |what: &str, error: io::Error| Stop::Fail(format!("{what}: {error}"));
    let four = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(|error| failed("a socket", error))?;
    let six = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)).map_err(|error| match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => Stop::Skip("no IPv6 sockets; needs CONFIG_IPV6".into()),
        _ => failed("an IPv6 socket", error),
    })?;
    for n in 1..=GROUPS {
        set_ip_add_membership_with_ifindex(&four, &group4(n), &Ipv4Addr::UNSPECIFIED, stage.device)
            .map_err(|error| failed("IP_ADD_MEMBERSHIP", error.into()))?;
        set_ipv6_add_membership(&six, &group6(n), stage.device)
            .map_err(|error| failed("IPV6_ADD_MEMBERSHIP", error.into()))?;
    }
    automatic(&mut stage.in_near.route, stage.device)?;
    let read = |path: &str| fs::read_to_string(path).map_err(|error| failed(path, error));
    let (igmp, mld) = (read("/proc/thread-self/net/igmp")?, read("/proc/thread-self/net/igmp6")?);
    let joined = (1..=GROUPS).chain([AUTOMATIC]).map(|n| {
        let four = format!("{:08X} ", u32::from_ne_bytes(group4(n).octets()));
        let six: String = group6(n).octets().iter().map(|byte| format!("{byte:02x}")).collect();
        usize::from(igmp.contains(&four)) + usize::from(mld.contains(&six))
    });
    holds(ctx, joined.sum(), 2 * (usize::from(GROUPS) + 1), "memberships")?;
    Ok(Held { near: vec![four.into(), six.into()], ..Held::default() })
}

/// Addresses of groups that the kernel joins by a socket of its own
/// (`IFA_F_MCAUTOJOIN`, `ip_mc_autojoin_config`).
fn automatic(route: &mut Route, device: u32) -> Result<(), Stop> {
    let addresses = [(IpAddr::V4(group4(AUTOMATIC)), 32), (IpAddr::V6(group6(AUTOMATIC)), 128)];
    for (address, prefix) in addresses {
        let mut message = AddressMessage::default();
        message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        message.header.prefix_len = prefix;
        message.header.index = device;
        message.attributes = vec![
            AddressAttribute::Local(address),
            AddressAttribute::Address(address),
            AddressAttribute::Flags(AddressFlags::Mcautojoin | AddressFlags::Nodad),
        ];
        route
            .act(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
            .map_err(|error| error.stop("an address with IFA_F_MCAUTOJOIN"))?;
    }
    Ok(())
}

/// Neighbours that stay for ever, and proxies, which have a reference of their own
/// on the device (`pneigh_lookup`, net/core/neighbour.c).
pub(super) fn neighbours(ctx: &Context<'_>, stage: &mut Stage) -> Result<Held, Stop> {
    const COUNT: u8 = 8;
    let device = stage.device;
    let route = &mut stage.in_near.route;
    let addresses = |net: u8, n: u8| {
        let six = Ipv6Addr::new(0xfd09, 0, 0, net.into(), 0, 0, 0, n.into());
        [IpAddr::V4(Ipv4Addr::new(10, 9, net, n)), IpAddr::V6(six)]
    };
    for n in 1..=COUNT {
        for (net, entry) in [(1, Entry::Permanent([2, 0, 0, 0, 0, n])), (2, Entry::Proxy)] {
            for address in addresses(net, n) {
                neigh::add(route, device, address, entry)
                    .map_err(|error| error.stop(&format!("the neighbour {address} ({entry:?})")))?;
            }
        }
    }
    for (flags, what) in [(NeighbourFlags::empty(), "neighbours"), (NeighbourFlags::Proxy, "proxies")] {
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let all = neigh::all(route, family, flags)
                .map_err(|error| error.stop(&format!("the dump of {what}")))?;
            // The kernel has some of its own, for groups.
            let own = all.iter().filter(|it| it.header.ifindex == device && it.attributes.iter().any(ours));
            holds(ctx, own.count(), COUNT.into(), what)?;
        }
    }
    Ok(Held::default())
}

fn ours(attribute: &netlink_packet_route::neighbour::NeighbourAttribute) -> bool {
    use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute};
    match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => address.octets()[0] == 10,
        NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => address.segments()[0] == 0xfd09,
        _ => false,
    }
}

/// One socket by itself that makes the device promiscuous, and two that share
/// what comes in (a fanout group hangs itself onto the device in their place).
pub(super) fn packet(stage: &mut Stage) -> Result<Held, Stop> {
    /// `PACKET_MR_PROMISC`.
    const PROMISCUOUS: u16 = 1;
    /// The number of a group, and `PACKET_FANOUT_HASH`.
    const GROUP: u32 = 7;
    let socket = || packet_socket(stage.device);
    let set = |socket, option, value: &[u8]| {
        ffi::set_plain_option(socket, option, value)
            .map_err(|error| Stop::Fail(format!("setsockopt({option:?}) of a packet socket: {error}")))
    };
    let sockets = vec![socket()?, socket()?, socket()?];
    if let [alone, shared @ ..] = &sockets[..] {
        // `struct packet_mreq`: device, what, length of the address, the address.
        let membership =
            [&stage.device.to_ne_bytes()[..], &PROMISCUOUS.to_ne_bytes(), &[0; 2], &[0; 8]].concat();
        set(alone, PlainOption::PacketMembership, &membership)?;
        for socket in shared {
            set(socket, PlainOption::PacketFanout, &GROUP.to_ne_bytes())?;
        }
    }
    Ok(Held { near: sockets, told: Told::NetDown, ..Held::default() })
}
