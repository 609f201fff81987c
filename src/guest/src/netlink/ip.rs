//! Requests about addresses and routes.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{RequestError, Route};

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// Gives a device an address.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn add_address(
    route: &mut Route,
    device: u32,
    address: IpAddr,
    prefix: u8,
) -> Result<(), RequestError> {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = device;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    route.act(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Where packets of a route go.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Via {
    /// Out of this device.
    Device(u32),
    /// To this neighbour.
    Gateway(IpAddr),
}

/// Adds a route of the main table; a `prefix` of 0 makes it the default one.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn add_route(
    route: &mut Route,
    destination: IpAddr,
    prefix: u8,
    via: Via,
) -> Result<(), RequestError> {
    let wire = |address| match address {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    let mut message = RouteMessage::default();
    message.header.address_family = family(destination);
    message.header.destination_prefix_length = prefix;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.kind = RouteType::Unicast;
    message.header.scope = match via {
        Via::Device(_) if destination.is_ipv4() => RouteScope::Link,
        _ => RouteScope::Universe,
    };
    if prefix > 0 {
        message.attributes.push(RouteAttribute::Destination(wire(destination)));
    }
    message.attributes.push(match via {
        Via::Device(index) => RouteAttribute::Oif(index),
        Via::Gateway(address) => RouteAttribute::Gateway(wire(address)),
    });
    route.act(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
}
