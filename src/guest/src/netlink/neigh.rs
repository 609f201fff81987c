//! Requests about neighbours.

use std::net::IpAddr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{RequestError, Route};

/// What an entry is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A neighbour that is for ever at this hardware address.
    Permanent([u8; 6]),
    /// An address for which this host answers.
    Proxy,
}

/// Enters a neighbour of a device.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn add(route: &mut Route, device: u32, address: IpAddr, entry: Entry) -> Result<(), RequestError> {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    let (family, destination) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.attributes.push(NeighbourAttribute::Destination(destination));
    match entry {
        Entry::Permanent(hardware) => {
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(hardware.into()));
        }
        Entry::Proxy => message.header.flags = NeighbourFlags::Proxy,
    }
    route.act(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// All neighbours of one family, or those of both that are proxies.
///
/// # Errors
///
/// As [`super::Connection::dump`].
pub(crate) fn all(
    route: &mut Route,
    family: AddressFamily,
    flags: NeighbourFlags,
) -> Result<Vec<NeighbourMessage>, RequestError> {
    let mut request = NeighbourMessage::default();
    request.header.family = family;
    request.header.flags = flags;
    let answers = route.dump(&RouteNetlinkMessage::GetNeighbour(request))?;
    answers
        .into_iter()
        .map(|answer| match answer {
            RouteNetlinkMessage::NewNeighbour(neighbour) => Ok(neighbour),
            other => Err(RequestError::Garbled(format!("RTM_GETNEIGH was answered with {other:?}"))),
        })
        .collect()
}
