//! Where the ends of a connection live: in one network namespace with nothing
//! but `lo`, or in two that a veth pair connects.
//!
//! Owns namespaces, devices, addresses and MTU, and opens sockets there; knows
//! nothing of what is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use kregress_wire::ParamInfo;
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};

use super::super::connection::{self, Pair};
use super::super::ends::{add_address, running};
use super::super::loopback::{Family, segment_size};
use super::super::memory::page_size;
use super::super::patience::Patience;
use super::super::sys;
use crate::context::{Context, Stop};
use crate::netlink::{Route, link};
use crate::netns::{Home, Namespace};

/// Way between the ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Path {
    /// Both in one namespace.
    Loopback,
    /// Two namespaces and a veth pair.
    Veth,
}

/// The words of the parameter `path`.
pub(super) const PATHS: &[&str] = &["loopback", "veth"];

/// The parameter itself.
pub(super) const PATH: ParamInfo = ParamInfo::Choice {
    name: "path",
    summary: "lo of one namespace, or a veth pair between two",
    choices: PATHS,
    default: "loopback",
};

/// Modules that the path needs.
pub(super) const MODULES: &[&str] = &["veth"];

/// Room of a socket on both ends, in bytes; the kernel doubles it.
pub(super) const ROOM: usize = 4 << 20;

/// Bytes sent at once to make a window grow.
const WARM_UP: usize = 64 << 10;

/// Rounds after which the window has to have grown. It doubles with each, from
/// 64 KiB to twice the largest segment.
const WARM_UP_ROUNDS: usize = 200;

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
            other => Err(Stop::Error(format!("parameter `path` is `{other}`, none of {PATHS:?}"))),
        }
    }
}

/// Namespaces and the way between them. The thread that made it is in the one
/// that receives until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    family: Family,
    home: Home,
    sending: Namespace,
    receiving: Namespace,
    address: IpAddr,
}

fn set_up(call: &'static str) -> impl Fn(Errno) -> Stop {
    move |errno| Stop::Error(format!("{call}: {errno}"))
}

impl Place {
    /// Makes the namespaces, with an MTU whose segments hold whole pages.
    ///
    /// # Errors
    ///
    /// [`Stop::Skip`] for a kernel without namespaces, veth or the family, or
    /// with pages larger than segments.
    pub(super) fn new(path: Path, family: Family, patience: Patience<'_>) -> Result<Self, Stop> {
        let page = u32::try_from(page_size()).unwrap_or(u32::MAX);
        let mtu = family.page_filling_mtu(page).ok_or_else(|| {
            Stop::Skip(format!("no segment holds a whole page of this machine, `{page}` bytes"))
        })?;
        let home = Home::here()?;
        let made = match path {
            Path::Loopback => loopback(family, mtu),
            Path::Veth => veth(family, mtu, patience),
        };
        match made {
            Ok((sending, receiving, address)) => Ok(Self { family, home, sending, receiving, address }),
            Err(stop) => {
                // The reason why there is no place says more.
                let _ = home.back();
                Err(stop)
            }
        }
    }

    /// Version of the Internet protocol.
    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// A TCP socket of the end that receives.
    ///
    /// # Errors
    ///
    /// [`Stop::Skip`] for a kernel without the family.
    pub(super) fn socket(&self) -> Result<OwnedFd, Stop> {
        tcp(self.family)
    }

    /// A socket of the end that receives that is none of TCP.
    ///
    /// # Errors
    ///
    /// As [`Self::socket`].
    pub(super) fn datagram_socket(&self) -> Result<OwnedFd, Stop> {
        let kind = SocketType::DGRAM;
        rustix::net::socket_with(domain(self.family), kind, SocketFlags::CLOEXEC, None)
            .map_err(set_up("socket"))
    }

    /// Waits until all connections are over; their sockets are closed. To be called
    /// before the place is dropped.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when time runs out.
    pub(super) fn settle(&self, patience: Patience<'_>) -> Result<(), Stop> {
        // The thread stays in the one that receives.
        for place in [&self.sending, &self.receiving] {
            place
                .enter()
                .map_err(|error| Stop::Error(format!("setns to an end of the connection: {error}")))?;
            connection::wait_until_over(patience)?;
        }
        Ok(())
    }

    /// A listening socket, whose connections have `room` bytes to receive.
    ///
    /// # Errors
    ///
    /// As [`Self::socket`].
    pub(super) fn listen(&self, room: usize) -> Result<(OwnedFd, SocketAddr), Stop> {
        let listener = self.socket()?;
        // Before the handshake: it fixes the scale of the window.
        connection::receive_room(listener.as_fd(), room)?;
        let address = SocketAddr::from((self.address, 0));
        rustix::net::bind(&listener, &address)
            .map_err(|errno| Stop::Error(format!("bind to `{}`: {errno}", self.address)))?;
        rustix::net::listen(&listener, 8).map_err(set_up("listen"))?;
        let name = rustix::net::getsockname(&listener).map_err(set_up("getsockname"))?;
        let name = SocketAddr::try_from(name).map_err(set_up("getsockname"))?;
        Ok((listener, name))
    }

    /// Opens a connection whose receiver has `room` bytes; neither end blocks,
    /// and neither waits for more to send.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when the handshake does not come to its end.
    pub(super) fn connect(&self, room: usize, patience: Patience<'_>) -> Result<Pair, Stop> {
        let (listener, address) = self.listen(room)?;
        let enter = |place: &Namespace| {
            place.enter().map_err(|error| Stop::Error(format!("setns to an end of the connection: {error}")))
        };
        enter(&self.sending)?;
        let sender = tcp(self.family);
        enter(&self.receiving)?;
        let sender = sender?;
        connection::send_room(sender.as_fd(), ROOM)?;
        sockopt::set_tcp_nodelay(&sender, true).map_err(set_up("setsockopt TCP_NODELAY"))?;
        connection::connect(listener.as_fd(), sender, address, patience)
    }

    /// As [`Self::connect`], and sends until segments hold whole pages: the
    /// first are bounded by half of a window that has not grown yet.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when they never do.
    pub(super) fn connect_warm(&self, patience: Patience<'_>) -> Result<Pair, Stop> {
        let pair = self.connect(ROOM, patience)?;
        let mut buffer = vec![0; WARM_UP];
        for _ in 0..WARM_UP_ROUNDS {
            if segment_size(&pair.sender)?.is_multiple_of(page_size()) {
                return Ok(pair);
            }
            let flags = rustix::net::SendFlags::NOSIGNAL | rustix::net::SendFlags::DONTWAIT;
            let mut left = rustix::net::send(&pair.sender, &buffer, flags)
                .map_err(|errno| Stop::Fail(format!("send on a new connection: {errno}")))?;
            while left > 0 {
                let got = patience.receive(pair.receiver.as_fd(), &mut buffer[..left], || {
                    format!("`{left}` bytes that make the window grow")
                })?;
                if got == 0 {
                    return Err(Stop::Fail("a new connection came to its end".into()));
                }
                left -= got;
            }
        }
        let segment = segment_size(&pair.sender)?;
        Err(Stop::Error(format!(
            "segments hold `{segment}` bytes, which is no multiple of the page size\n\
             hint: are TCP timestamps off (net.ipv4.tcp_timestamps)?"
        )))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // If it fails the namespaces stay, and the census at the end says so.
        let _ = self.home.back();
    }
}

fn domain(family: Family) -> AddressFamily {
    match family {
        Family::Ipv4 => AddressFamily::INET,
        Family::Ipv6 => AddressFamily::INET6,
    }
}

fn tcp(family: Family) -> Result<OwnedFd, Stop> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(domain(family), SocketType::STREAM, flags, Some(ipproto::TCP)).map_err(|errno| {
        match (errno, family) {
            (Errno::AFNOSUPPORT, Family::Ipv4) => Stop::Skip("the kernel lacks CONFIG_INET".into()),
            (Errno::AFNOSUPPORT, Family::Ipv6) => Stop::Skip("the kernel lacks CONFIG_IPV6".into()),
            _ => Stop::Error(format!("socket: {errno}")),
        }
    })
}

fn create() -> Result<Namespace, Stop> {
    Namespace::create().map_err(|error| error.stop(0))
}

fn current() -> Result<Namespace, Stop> {
    Namespace::current().map_err(|error| Stop::Error(format!("the namespace of this thread: {error}")))
}

type Ends = (Namespace, Namespace, IpAddr);

fn loopback(family: Family, mtu: u32) -> Result<Ends, Stop> {
    let receiving = create()?;
    let socket = tcp(family)?;
    let mtu = i32::try_from(mtu).map_err(|_| Stop::Error(format!("an MTU of `{mtu}` is impossible")))?;
    sys::raise_loopback(socket.as_raw_fd(), mtu)
        .map_err(|(call, errno)| Stop::Error(format!("{call}: {errno}")))?;
    let address = match family {
        Family::Ipv4 => Ipv4Addr::LOCALHOST.into(),
        Family::Ipv6 => Ipv6Addr::LOCALHOST.into(),
    };
    Ok((current()?, receiving, address))
}

/// Addresses of the two ends, for documentation both.
fn addresses(family: Family) -> [IpAddr; 2] {
    match family {
        Family::Ipv4 => [Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::new(192, 0, 2, 2).into()],
        Family::Ipv6 => {
            let end = |last| Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last).into();
            [end(1), end(2)]
        }
    }
}

fn veth(family: Family, mtu: u32, patience: Patience<'_>) -> Result<Ends, Stop> {
    let sending = create()?;
    let mut far = Route::here()?;
    let receiving = create()?;
    let mut near = Route::here()?;
    // Also tells whether the kernel has the family.
    drop(tcp(family)?);
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName("end0".into()),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::NetNsFd(sending.as_fd().as_raw_fd()),
    ];
    let data = Some(InfoData::Veth(InfoVeth::Peer(peer)));
    link::create(&mut near, "end1", "veth", data, vec![LinkAttribute::Mtu(mtu)]).map_err(
        |error| match error.errno() {
            Some(Errno::OPNOTSUPP) => Stop::Skip("the kernel lacks CONFIG_VETH".into()),
            _ => error.stop("creation of a veth pair"),
        },
    )?;
    let ends = addresses(family);
    let places = [&sending, &receiving];
    let mut indices = Vec::new();
    for (route, name) in [(&mut far, "end0"), (&mut near, "end1")] {
        let index = link::index(route, name).map_err(|error| error.stop("the index of a veth device"))?;
        link::switch(route, index, link::Switch::Up).map_err(|error| error.stop("raising a veth device"))?;
        indices.push(index);
    }
    // The one that receives is the last, and the thread stays there.
    for (((route, name), index), (place, address)) in
        [(&mut far, "end0"), (&mut near, "end1")].into_iter().zip(indices).zip(places.into_iter().zip(ends))
    {
        place.enter().map_err(|error| Stop::Error(format!("setns to an end of a veth pair: {error}")))?;
        running(route, name, patience)?;
        add_address(route, index, address, patience)?;
    }
    Ok((sending, receiving, ends[1]))
}
