//! Namespaces to send in: over loopback, over a veth pair to another namespace,
//! or into a dummy device, with a neighbour that may be kept unknown.
//!
//! Packets to a neighbour that is not known wait, with the sender's pages, until
//! it is: that keeps a datagram under way for as long as a test likes.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily as WireFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

use super::super::connection::{self, Pair};
use super::super::ends::{add_address, running};
use super::super::loopback::Family;
use super::super::patience::{Limits, Patience};
use crate::context::{Context, Stop};
use crate::netlink::link::{self, Switch};
use crate::netlink::{RequestError, Route};
use crate::netns::{Home, Namespace};

/// The words of the parameter `path`.
pub(super) const PATHS: &[&str] = &["loopback", "veth", "dummy"];

/// Modules that the devices need.
pub(super) const MODULES: &[&str] = &["veth", "dummy", "ipv6"];

/// What packets go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// `lo`: the receiver is in the same namespace.
    Loopback,
    /// A pair of virtual Ethernet devices; the receiver is in another namespace.
    Veth,
    /// A device that swallows everything.
    Dummy,
}

impl Path {
    /// Reads the parameter `path`.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] for anything but [`PATHS`].
    pub(super) fn of(context: &Context<'_>) -> Result<Self, Stop> {
        match context.choice("path")? {
            "loopback" => Ok(Self::Loopback),
            "veth" => Ok(Self::Veth),
            "dummy" => Ok(Self::Dummy),
            other => Err(Stop::Error(format!("parameter `path` is `{other}`, none of {PATHS:?}"))),
        }
    }
}

/// Whether the neighbour is known from the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Neighbour {
    /// Packets go out at once.
    Known,
    /// Packets wait for [`Place::resolve`].
    Unknown,
}

/// Sizes of the buffers of a TCP connection, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// `SO_SNDBUF`, which the kernel doubles.
    pub(super) sender: usize,
    /// `SO_RCVBUF`, likewise.
    pub(super) receiver: usize,
}

const DEVICE: &str = "zc0";
const PEER: &str = "zc1";

/// Address of the neighbour behind a dummy device: locally administered.
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// Probes for an unknown neighbour before packets to it are dropped: one a
/// second, so more than any test takes.
const PROBES: &str = "10000";

/// Room for packets that wait for their neighbour, in bytes.
const WAITING: &str = "16777216";

/// One or two namespaces with a way between sender and receiver.
#[derive(Debug)]
pub(super) struct Place {
    home: Home,
    here: Namespace,
    there: Option<Namespace>,
    path: Path,
    family: Family,
    device: u32,
    /// Link-layer address of the neighbour.
    neighbour: Vec<u8>,
}

impl Place {
    /// Makes it; the calling thread ends where it began.
    ///
    /// # Errors
    ///
    /// [`Stop::Skip`] for a kernel without the devices or the family.
    pub(super) fn build(
        context: &Context<'_>,
        path: Path,
        family: Family,
        mtu: u32,
        neighbour: Neighbour,
    ) -> Result<Self, Stop> {
        let limits = Limits::of(context)?;
        let home = Home::here()?;
        let made = Self::make(limits.patience(), path, family, mtu, neighbour);
        home.back()?;
        let (here, there, device, neighbour) = made?;
        Ok(Self { home, here, there, path, family, device, neighbour })
    }

    fn make(
        patience: Patience<'_>,
        path: Path,
        family: Family,
        mtu: u32,
        neighbour: Neighbour,
    ) -> Result<(Namespace, Option<Namespace>, u32, Vec<u8>), Stop> {
        let there = match path {
            Path::Veth => Some(Namespace::create().map_err(|error| error.stop(0))?),
            Path::Loopback | Path::Dummy => None,
        };
        let here = Namespace::create().map_err(|error| error.stop(1))?;
        let mut route = Route::here()?;
        let lo = link::index(&mut route, "lo").map_err(|error| error.stop("RTM_GETLINK of `lo`"))?;
        let limit = |route: &mut Route, index| {
            link::change(route, index, vec![LinkAttribute::Mtu(mtu)])
                .and_then(|()| link::switch(route, index, Switch::Up))
                .map_err(|error| error.stop("setting a device up"))
        };
        if path == Path::Loopback {
            limit(&mut route, lo)?;
            return Ok((here, None, lo, Vec::new()));
        }
        let kind = if path == Path::Veth { "veth" } else { "dummy" };
        let data = there.as_ref().map(|there| {
            let mut peer = LinkMessage::default();
            peer.attributes =
                vec![LinkAttribute::IfName(PEER.into()), LinkAttribute::NetNsFd(there.as_fd().as_raw_fd())];
            InfoData::Veth(InfoVeth::Peer(peer))
        });
        match link::create(&mut route, DEVICE, kind, data, vec![]) {
            Ok(()) => {}
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
                let option = kind.to_ascii_uppercase();
                return Err(Stop::Skip(format!(
                    "the kernel has no device of kind {kind}; needs CONFIG_{option}"
                )));
            }
            Err(error) => return Err(error.stop(&format!("creation of a {kind}"))),
        }
        let device = link::index(&mut route, DEVICE).map_err(|error| error.stop("RTM_GETLINK"))?;
        if path == Path::Dummy {
            // It has none by default, and then no neighbour is ever unknown.
            ask_for_neighbours(&mut route, device).map_err(|error| error.stop("clearing IFF_NOARP"))?;
        }
        limit(&mut route, device)?;
        if neighbour == Neighbour::Unknown {
            patient(family)?;
        }
        let (from, to) = addresses(path, family);
        add_address(&mut route, device, from, patience)?;
        let mut known = NOBODY.to_vec();
        if let Some(there) = &there {
            enter(there)?;
            let mut other = Route::here()?;
            let index = link::index(&mut other, PEER).map_err(|error| error.stop("RTM_GETLINK"))?;
            limit(&mut other, index)?;
            let bearer = match neighbour {
                Neighbour::Known => index,
                Neighbour::Unknown => silent(&mut other)?,
            };
            add_address(&mut other, bearer, to, patience)?;
            known = running(&mut other, PEER, patience)?;
            enter(&here)?;
            running(&mut route, DEVICE, patience)?;
        }
        if neighbour == Neighbour::Known {
            resolve(&mut route, device, to, &known)?;
        }
        Ok((here, there, device, known))
    }

    /// Address of the receiver.
    fn to(&self) -> IpAddr {
        addresses(self.path, self.family).1
    }

    /// Somebody to send datagrams to whose link-layer address needs no asking:
    /// a group.
    pub(super) fn group(&self) -> SocketAddr {
        const DISCARD: u16 = 9;
        match self.family {
            Family::Ipv4 => SocketAddr::new(Ipv4Addr::new(224, 0, 0, 1).into(), DISCARD),
            Family::Ipv6 => {
                SocketAddrV6::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1), DISCARD, 0, self.device).into()
            }
        }
    }

    /// Runs something in the sender's namespace.
    ///
    /// # Errors
    ///
    /// Those of `body`, and when there is no way there or back.
    pub(super) fn within<T>(&self, body: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
        self.inside(&self.here, body)
    }

    fn inside<T>(&self, namespace: &Namespace, body: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
        enter(namespace)?;
        let result = body();
        self.home.back()?;
        result
    }

    /// Waits until all connections are over; their sockets are closed. To be called
    /// before the place is dropped.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when time runs out.
    pub(super) fn settle(&self, patience: Patience<'_>) -> Result<(), Stop> {
        for place in [&self.here, self.receiving()] {
            self.inside(place, || connection::wait_until_over(patience))?;
        }
        Ok(())
    }

    fn receiving(&self) -> &Namespace {
        self.there.as_ref().unwrap_or(&self.here)
    }

    /// Makes the neighbour known: what waits for it goes out.
    ///
    /// # Errors
    ///
    /// When the kernel does not want it.
    pub(super) fn resolve(&self) -> Result<(), Stop> {
        self.within(|| resolve(&mut Route::here()?, self.device, self.to(), &self.neighbour))
    }

    /// Forgets the neighbour: packets wait again.
    ///
    /// # Errors
    ///
    /// When the kernel does not want it.
    pub(super) fn forget(&self) -> Result<(), Stop> {
        self.within(|| {
            let message = entry(self.device, self.to(), &self.neighbour);
            let done = Route::here()?.act(RouteNetlinkMessage::DelNeighbour(message), 0);
            done.map_err(|error| error.stop("RTM_DELNEIGH"))
        })
    }

    /// Lets the search for the neighbour fail soon, which drops what waits for it.
    ///
    /// # Errors
    ///
    /// When the kernel does not want it.
    pub(super) fn give_up(&self) -> Result<(), Stop> {
        let version = version(self.family);
        self.within(|| {
            write(&format!("/proc/sys/net/{version}/neigh/{DEVICE}/mcast_solicit"), "1")?;
            write(&format!("/proc/sys/net/{version}/neigh/{DEVICE}/ucast_solicit"), "1")
        })
    }

    /// A UDP socket that sends to the other end, and that end with room for
    /// `room` bytes; a dummy device has none.
    ///
    /// # Errors
    ///
    /// Those of the sockets.
    pub(super) fn udp(&self, room: usize) -> Result<(OwnedFd, Option<OwnedFd>), Stop> {
        // Somewhere to send to where nobody listens.
        const DISCARD: u16 = 9;
        let (receiver, to) = if self.path == Path::Dummy {
            (None, SocketAddr::new(self.to(), DISCARD))
        } else {
            let (receiver, to) =
                self.inside(self.receiving(), || bound(self.family, SocketType::DGRAM, self.to()))?;
            // What a small datagram is charged with is several times its size.
            connection::receive_room(receiver.as_fd(), room)?;
            (Some(receiver), to)
        };
        let sender = self.within(|| socket(self.family, SocketType::DGRAM))?;
        connection::send_room(sender.as_fd(), room)?;
        rustix::net::connect(&sender, &to)
            .map_err(|errno| Stop::Error(format!("connect of a datagram socket to {to}: {errno}")))?;
        Ok((sender, receiver))
    }

    /// A TCP connection.
    ///
    /// # Errors
    ///
    /// Those of the sockets; [`Stop::Fail`] when the handshake fails.
    pub(super) fn tcp(&self, room: Room, patience: Patience<'_>) -> Result<Pair, Stop> {
        let (listener, to) =
            self.inside(self.receiving(), || bound(self.family, SocketType::STREAM, self.to()))?;
        let set_up = |what: &'static str| move |errno: Errno| Stop::Error(format!("{what}: {errno}"));
        // Before the handshake, so that the window is of that size from the start.
        connection::receive_room(listener.as_fd(), room.receiver)?;
        rustix::net::listen(&listener, 1).map_err(set_up("listen"))?;
        let sender = self.within(|| socket(self.family, SocketType::STREAM))?;
        connection::send_room(sender.as_fd(), room.sender)?;
        connection::connect(listener.as_fd(), sender, to, patience)
    }
}

fn enter(namespace: &Namespace) -> Result<(), Stop> {
    namespace.enter().map_err(|error| Stop::Fail(format!("setns: {error}")))
}

fn addresses(path: Path, family: Family) -> (IpAddr, IpAddr) {
    match (path, family) {
        (Path::Loopback, Family::Ipv4) => (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()),
        (Path::Loopback, Family::Ipv6) => (Ipv6Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()),
        // Networks of documentation (RFC 5737, RFC 3849).
        (_, Family::Ipv4) => (Ipv4Addr::new(198, 51, 100, 1).into(), Ipv4Addr::new(198, 51, 100, 2).into()),
        (_, Family::Ipv6) => {
            let address = |n| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n).into();
            (address(1), address(2))
        }
    }
}

fn ask_for_neighbours(route: &mut Route, device: u32) -> Result<(), RequestError> {
    let mut message = LinkMessage::default();
    message.header.index = device;
    message.header.change_mask = LinkFlags::Noarp;
    route.act(RouteNetlinkMessage::SetLink(message), 0)
}

fn entry(device: u32, to: IpAddr, neighbour: &[u8]) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = device;
    message.header.state = NeighbourState::Permanent;
    let (family, destination) = match to {
        IpAddr::V4(to) => (WireFamily::Inet, NeighbourAddress::Inet(to)),
        IpAddr::V6(to) => (WireFamily::Inet6, NeighbourAddress::Inet6(to)),
    };
    message.header.family = family;
    message.attributes = vec![
        NeighbourAttribute::Destination(destination),
        NeighbourAttribute::LinkLayerAddress(neighbour.to_vec()),
    ];
    message
}

fn resolve(route: &mut Route, device: u32, to: IpAddr, neighbour: &[u8]) -> Result<(), Stop> {
    let message = entry(device, to, neighbour);
    route
        .act(RouteNetlinkMessage::NewNeighbour(message), NLM_F_CREATE | NLM_F_REPLACE)
        .map_err(|error| error.stop("RTM_NEWNEIGH"))
}

fn write(path: &str, value: &str) -> Result<(), Stop> {
    fs::write(path, value).map_err(|error| Stop::Error(format!("cannot write `{value}` to {path}: {error}")))
}

/// Lets packets of the caller's namespace wait for their neighbour.
fn patient(family: Family) -> Result<(), Stop> {
    let version = version(family);
    write(&format!("/proc/sys/net/{version}/neigh/{DEVICE}/mcast_solicit"), PROBES)?;
    write(&format!("/proc/sys/net/{version}/neigh/{DEVICE}/unres_qlen_bytes"), WAITING)
}

/// A device of the caller's namespace whose addresses no neighbour gets an answer
/// about: they are not those of the device at which the question arrives.
fn silent(route: &mut Route) -> Result<u32, Stop> {
    // Neighbour discovery (`ndisc_recv_ns()` in net/ipv6/ndisc.c) is so by itself.
    write("/proc/sys/net/ipv4/conf/all/arp_ignore", "1")?;
    let lo = link::index(route, "lo").map_err(|error| error.stop("RTM_GETLINK of `lo`"))?;
    link::switch(route, lo, Switch::Up).map_err(|error| error.stop("setting `lo` up"))?;
    Ok(lo)
}

fn version(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "ipv4",
        Family::Ipv6 => "ipv6",
    }
}

fn socket(family: Family, kind: SocketType) -> Result<OwnedFd, Stop> {
    let (domain, option) = match family {
        Family::Ipv4 => (AddressFamily::INET, "CONFIG_INET"),
        Family::Ipv6 => (AddressFamily::INET6, "CONFIG_IPV6"),
    };
    let protocol = if kind == SocketType::STREAM { ipproto::TCP } else { ipproto::UDP };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(domain, kind, flags, Some(protocol)).map_err(|errno| match errno {
        Errno::AFNOSUPPORT => Stop::Skip(format!("the kernel lacks {option} (socket: {errno})")),
        _ => Stop::Error(format!("socket: {errno}")),
    })
}

fn bound(family: Family, kind: SocketType, address: IpAddr) -> Result<(OwnedFd, SocketAddr), Stop> {
    let socket = socket(family, kind)?;
    rustix::net::bind(&socket, &SocketAddr::new(address, 0))
        .map_err(|errno| Stop::Error(format!("bind to `{address}`: {errno}")))?;
    let name = rustix::net::getsockname(&socket).and_then(SocketAddr::try_from);
    let name = name.map_err(|errno| Stop::Error(format!("getsockname: {errno}")))?;
    Ok((socket, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_have_addresses_of_one_network_and_of_their_own() {
        for family in [Family::Ipv4, Family::Ipv6] {
            for path in [Path::Veth, Path::Dummy] {
                let (from, to) = addresses(path, family);
                assert_ne!(from, to);
                assert_eq!(from.is_ipv6(), family == Family::Ipv6);
            }
        }
    }
}
