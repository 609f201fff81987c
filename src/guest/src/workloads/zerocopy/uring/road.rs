//! The ways that packets of these tests go: over `lo`, over a veth pair into
//! another namespace, or into a dummy device where they end.
//!
//! Owns namespaces, devices, addresses and sockets; knows nothing of rings.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto};

use super::super::connection::{self, Pair};
use super::super::ends::{add_address, running};
use super::super::loopback::Family;
use super::super::patience::Patience;
use crate::context::Stop;
use crate::dress::no_kind;
use crate::ffi;
use crate::netlink::Route;
use crate::netlink::link::{self, Switch};
use crate::netns::Namespace;

/// Modules of the devices.
pub(super) const MODULES: &[&str] = &["dummy", "veth"];

/// Where packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// Through the loopback device.
    Lo,
    /// Through a pair of devices, into another namespace.
    Veth,
    /// Nowhere: a device takes them and frees them, without a copy.
    Dummy,
}

/// The words of the parameter `path`.
pub(super) const PATHS: &[&str] = &["lo", "veth", "dummy"];

impl Path {
    /// Reads the parameter.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] for anything but [`PATHS`].
    pub(super) fn of(word: &str) -> Result<Self, Stop> {
        match word {
            "lo" => Ok(Self::Lo),
            "veth" => Ok(Self::Veth),
            "dummy" => Ok(Self::Dummy),
            other => Err(Stop::Error(format!("parameter `path` is `{other}`, none of {PATHS:?}"))),
        }
    }
}

/// MTU of the dummy device: a whole datagram of any size in one packet, because
/// fragments are copied.
const DUMMY_MTU: i32 = 65_535;

/// The two ends of a path.
#[derive(Debug)]
pub(super) struct Road {
    family: Family,
    near: Namespace,
    far: Namespace,
    target: IpAddr,
}

fn address(family: Family, host: u8) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::new(10, 9, 9, host).into(),
        Family::Ipv6 => Ipv6Addr::new(0xfd00, 9, 9, 9, 0, 0, 0, host.into()).into(),
    }
}

fn localhost(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
    }
}

fn stop<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Stop {
    move |error| Stop::Error(format!("{what}: {error}"))
}

/// A fresh namespace with `lo` up, in which the calling thread is then.
fn namespace() -> Result<Namespace, Stop> {
    let namespace = Namespace::create().map_err(|error| error.stop(0))?;
    let socket = open(Family::Ipv4, SocketType::DGRAM)?;
    ffi::bring_up(&socket, "lo").map_err(stop("setting `lo` up"))?;
    Ok(namespace)
}

/// Sets a device up and gives it its address, which can be used at once.
fn furnish(
    route: &mut Route,
    device: &str,
    family: Family,
    host: u8,
    patience: Patience<'_>,
) -> Result<(), Stop> {
    let index = link::index(route, device).map_err(|error| error.stop("RTM_GETLINK"))?;
    link::switch(route, index, Switch::Up).map_err(|error| error.stop("setting a device up"))?;
    add_address(route, index, address(family, host), patience)
}

impl Road {
    /// Builds it in fresh namespaces; the calling thread is at its near end then.
    ///
    /// # Errors
    ///
    /// [`Stop::Skip`] for a kernel without the devices or the family,
    /// [`Stop::Error`] or [`Stop::Fail`] for what else goes wrong.
    pub(super) fn build(path: Path, family: Family, patience: Patience<'_>) -> Result<Self, Stop> {
        let far = namespace()?;
        // Tells a kernel without the family.
        drop(open(family, SocketType::DGRAM)?);
        let (near, target) = match path {
            Path::Lo => (Namespace::current().map_err(stop("opening a namespace"))?, localhost(family)),
            Path::Dummy => {
                let mut route = Route::here()?;
                link::create(&mut route, "dummy0", "dummy", None, Vec::new())
                    .map_err(|error| no_kind(&error, "dummy", "CONFIG_DUMMY"))?;
                let socket = open(Family::Ipv4, SocketType::DGRAM)?;
                ffi::set_mtu(&socket, "dummy0", DUMMY_MTU).map_err(stop("the MTU of `dummy0`"))?;
                furnish(&mut route, "dummy0", family, 1, patience)?;
                (Namespace::current().map_err(stop("opening a namespace"))?, address(family, 2))
            }
            Path::Veth => {
                let near = namespace()?;
                let mut route = Route::here()?;
                let mut peer = LinkMessage::default();
                peer.attributes = vec![
                    LinkAttribute::IfName("veth0".into()),
                    LinkAttribute::NetNsFd(far.as_fd().as_raw_fd()),
                ];
                let data = InfoData::Veth(InfoVeth::Peer(peer));
                link::create(&mut route, "veth0", "veth", Some(data), Vec::new())
                    .map_err(|error| no_kind(&error, "veth", "CONFIG_VETH"))?;
                furnish(&mut route, "veth0", family, 1, patience)?;
                far.enter().map_err(stop("setns"))?;
                let mut other = Route::here()?;
                furnish(&mut other, "veth0", family, 2, patience)?;
                running(&mut other, "veth0", patience)?;
                near.enter().map_err(stop("setns"))?;
                running(&mut route, "veth0", patience)?;
                (near, address(family, 2))
            }
        };
        Ok(Self { family, near, far, target })
    }

    /// A socket at the far end, bound.
    fn bound(&self, kind: SocketType) -> Result<(OwnedFd, SocketAddr), Stop> {
        self.far.enter().map_err(stop("setns"))?;
        let socket = open(self.family, kind);
        self.near.enter().map_err(stop("setns"))?;
        let socket = socket?;
        rustix::net::bind(&socket, &SocketAddr::from((self.target, 0)))
            .map_err(|errno| Stop::Error(format!("bind to `{}`: {errno}", self.target)))?;
        let name = rustix::net::getsockname(&socket).map_err(stop("getsockname"))?;
        Ok((socket, SocketAddr::try_from(name).map_err(stop("getsockname"))?))
    }

    /// Opens a TCP connection from the near to the far end; neither end blocks.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when the handshake does not come to its end, [`Stop::Error`]
    /// for everything else.
    pub(super) fn tcp(&self, room: Room, patience: Patience<'_>) -> Result<Pair, Stop> {
        let (listener, address) = self.bound(SocketType::STREAM)?;
        // Before the handshake: it fixes the scale of the window.
        connection::receive_room(listener.as_fd(), room.receive)?;
        rustix::net::listen(&listener, 1).map_err(stop("listen"))?;
        let sender = open(self.family, SocketType::STREAM)?;
        connection::send_room(sender.as_fd(), room.send)?;
        connection::connect(listener.as_fd(), sender, address, patience)
    }

    /// A datagram socket at the near end, connected to the far end.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when it cannot be had.
    pub(super) fn datagrams(&self) -> Result<OwnedFd, Stop> {
        /// The discard service.
        const PORT: u16 = 9;
        let socket = open(self.family, SocketType::DGRAM)?;
        rustix::net::connect(&socket, &SocketAddr::from((self.target, PORT)))
            .map_err(stop("connect of a datagram socket"))?;
        Ok(socket)
    }

    /// A datagram socket at the far end, and its address.
    ///
    /// # Errors
    ///
    /// As [`Self::datagrams`].
    pub(super) fn datagram_receiver(&self) -> Result<(OwnedFd, SocketAddr), Stop> {
        self.bound(SocketType::DGRAM)
    }
}

/// Buffers of a connection, in bytes; the kernel doubles them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Of the sending end.
    pub(super) send: usize,
    /// Of the receiving end.
    pub(super) receive: usize,
}

impl Room {
    /// For a transfer that never waits long.
    pub(super) const WIDE: Self = Self { send: 4 << 20, receive: 4 << 20 };

    /// The receiver takes little before somebody reads, the sender much: what is
    /// sent stays with the sender, and so do its notifications.
    pub(super) const STALLED: Self = Self { send: 4 << 20, receive: 16 << 10 };
}

/// A socket in the namespace of the calling thread, not blocking.
///
/// # Errors
///
/// [`Stop::Skip`] for a kernel without the family, else [`Stop::Error`].
pub(super) fn open(family: Family, kind: SocketType) -> Result<OwnedFd, Stop> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_a_path_and_no_other() {
        let paths: Vec<Path> = PATHS.iter().map(|word| Path::of(word).expect("a path")).collect();
        assert_eq!(paths, [Path::Lo, Path::Veth, Path::Dummy]);
        assert!(matches!(Path::of("wire"), Err(Stop::Error(_))));
    }

    #[test]
    fn the_ends_of_a_pair_are_neighbours() {
        assert_eq!(address(Family::Ipv4, 2).to_string(), "10.9.9.2");
        assert_eq!(address(Family::Ipv6, 1).to_string(), "fd00:9:9:9::1");
    }
}
