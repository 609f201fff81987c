//! Devices and addresses of the ends of a connection: what has to be waited for
//! until packets are taken.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, State};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::patience::Patience;
use crate::clock;
use crate::context::Stop;
use crate::netlink::{Route, link};

/// Pause between two looks at something that the kernel finishes in a worker.
const LOOK: Duration = Duration::from_millis(1);

/// Routes of IPv6 of the calling thread's namespace.
const ROUTES: &str = "/proc/thread-self/net/ipv6_route";

/// Gives a device of the calling thread's namespace an address, and waits until
/// packets to it are taken. The device has to be up.
///
/// # Errors
///
/// [`Stop::Fail`] when that does not come to be, [`Stop::Error`] when the kernel does
/// not want the address.
pub(super) fn add_address(
    route: &mut Route,
    device: u32,
    address: IpAddr,
    patience: Patience<'_>,
) -> Result<(), Stop> {
    let mut message = AddressMessage::default();
    message.header.index = device;
    (message.header.family, message.header.prefix_len) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, 24),
        IpAddr::V6(_) => (AddressFamily::Inet6, 64),
    };
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    if address.is_ipv6() {
        // To look for a duplicate takes a second.
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    route
        .act(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(|error| error.stop("RTM_NEWADDR"))?;
    let IpAddr::V6(address) = address else { return Ok(()) };
    // A worker of the kernel adds the local route afterwards, even where no
    // duplicate is looked for (`addrconf_dad_work()` in net/ipv6/addrconf.c).
    loop {
        let routes = fs::read_to_string(ROUTES)
            .map_err(|error| Stop::Error(format!("cannot read {ROUTES}: {error}")))?;
        if has_host_route(&routes, address) {
            return Ok(());
        }
        patience.check(|| format!("the local route of `{address}`"))?;
        clock::poll_interval(LOOK);
    }
}

/// Whether a route of a single address is there.
fn has_host_route(routes: &str, address: Ipv6Addr) -> bool {
    let start = format!("{:032x} 80 ", u128::from(address));
    routes.lines().any(|line| line.starts_with(&start))
}

/// Waits until a device passes packets; its link-layer address.
///
/// # Errors
///
/// [`Stop::Fail`] when it never does.
pub(super) fn running(route: &mut Route, name: &str, patience: Patience<'_>) -> Result<Vec<u8>, Stop> {
    loop {
        let found = link::find(route, name).map_err(|error| error.stop("RTM_GETLINK"))?;
        // Packets are dropped until the kernel's worker has seen the carrier
        // (`linkwatch_do_dev()` in net/core/link_watch.c), which sets this too.
        let up = found.attributes.contains(&LinkAttribute::OperState(State::Up));
        let address = found.attributes.into_iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(address) => Some(address),
            _ => None,
        });
        match address {
            Some(address) if up => return Ok(address),
            _ => patience.check(|| format!("the carrier of `{name}`"))?,
        }
        clock::poll_interval(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_of_the_whole_network_is_not_that_of_an_address() {
        let address = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
        let network = "20010db8000000000000000000000000 40 00000000000000000000000000000000 00\n";
        let host = "20010db8000000000000000000000002 80 00000000000000000000000000000000 00\n";
        assert!(!has_host_route(network, address));
        assert!(has_host_route(&format!("{network}{host}"), address));
        assert!(!has_host_route("", address));
    }
}
