//! A private network namespace with nothing but a loopback interface, and
//! pairs of connected sockets in it.
//!
//! Owns addresses, MTU and buffer sizes; knows nothing of what is sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use kregress_wire::ParamInfo;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use rustix::thread::UnshareFlags;

use super::connection::{self, Pair};
use super::patience::Patience;
use super::sys;
use crate::context::{Context, Stop};

/// Version of the Internet protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Version 4.
    Ipv4,
    /// Version 6.
    Ipv6,
}

/// The words of the parameter `family`.
pub(super) const FAMILIES: &[&str] = &["ipv4", "ipv6"];

/// The parameter itself.
pub(super) const FAMILY: ParamInfo = ParamInfo::Choice {
    name: "family",
    summary: "version of the Internet protocol",
    choices: FAMILIES,
    default: "ipv4",
};

/// MTU of `lo` when nobody sets it.
pub(super) const DEFAULT_MTU: u32 = 65_536;

/// Room that a TCP socket is given on both ends, in bytes: several segments of
/// the largest size, so that a full window never splits one.
const TCP_BUFFER: usize = 4 << 20;

const TCP_HEADER: u32 = 20;
/// Timestamps, which Linux sends by default, with their padding.
const TCP_OPTIONS: u32 = 12;

impl Family {
    /// Reads the parameter `family`.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] for anything but [`FAMILIES`].
    pub(super) fn of(context: &Context<'_>) -> Result<Self, Stop> {
        match context.choice("family")? {
            "ipv4" => Ok(Self::Ipv4),
            "ipv6" => Ok(Self::Ipv6),
            other => Err(Stop::Error(format!("parameter `family` is `{other}`, none of {FAMILIES:?}"))),
        }
    }

    fn header(self) -> u32 {
        match self {
            Self::Ipv4 => 20,
            Self::Ipv6 => 40,
        }
    }

    fn address(self) -> SocketAddr {
        let address: IpAddr = match self {
            Self::Ipv4 => Ipv4Addr::LOCALHOST.into(),
            Self::Ipv6 => Ipv6Addr::LOCALHOST.into(),
        };
        (address, 0).into()
    }

    /// Largest payload of a UDP datagram, in bytes.
    pub(super) fn largest_datagram(self) -> usize {
        // The length field of IPv4 covers its header, that of IPv6 does not.
        match self {
            Self::Ipv4 => 65_535 - 20 - 8,
            Self::Ipv6 => 65_535 - 8,
        }
    }

    /// MTU with which a TCP segment of the largest size holds whole pages and
    /// nothing else; `None` where pages are larger than segments.
    ///
    /// Only a page that a segment fills from its first byte to its last can be
    /// mapped by the receiver (`can_map_frag()` in net/ipv4/tcp.c).
    pub(super) fn page_filling_mtu(self, page_size: u32) -> Option<u32> {
        let overhead = self.header() + TCP_HEADER + TCP_OPTIONS;
        let pages = (65_535 - overhead).checked_div(page_size)?;
        (pages > 0).then(|| pages * page_size + overhead)
    }

    fn socket(self, kind: SocketType) -> Result<OwnedFd, Stop> {
        let (family, option) = match self {
            Self::Ipv4 => (AddressFamily::INET, "CONFIG_INET"),
            Self::Ipv6 => (AddressFamily::INET6, "CONFIG_IPV6"),
        };
        let protocol = if kind == SocketType::STREAM { ipproto::TCP } else { ipproto::UDP };
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        rustix::net::socket_with(family, kind, flags, Some(protocol)).map_err(|errno| match errno {
            Errno::AFNOSUPPORT => Stop::Skip(format!("the kernel lacks {option} (socket: {errno})")),
            _ => Stop::Error(format!("socket: {errno}")),
        })
    }
}

fn set_up(call: &'static str) -> impl Fn(Errno) -> Stop {
    move |errno| Stop::Error(format!("{call}: {errno}"))
}

/// Moves the calling thread, and those that it starts from now on, into a new
/// network namespace whose `lo` is up.
///
/// # Errors
///
/// [`Stop::Skip`] for a kernel without namespaces or IPv4, [`Stop::Error`]
/// without the privilege or when the interface cannot be set up.
pub(super) fn enter(mtu: u32) -> Result<(), Stop> {
    // SAFETY: the file table stays shared; only the network namespace changes.
    let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
    unshared.map_err(|errno| match errno {
        Errno::INVAL => Stop::Skip(format!("the kernel lacks CONFIG_NET_NS (unshare: {errno})")),
        Errno::PERM => {
            Stop::Error(format!("unshare of the network namespace: {errno}\nhint: run it as root"))
        }
        _ => Stop::Error(format!("unshare of the network namespace: {errno}")),
    })?;
    let socket = Family::Ipv4.socket(SocketType::DGRAM)?;
    let mtu = i32::try_from(mtu).map_err(|_| Stop::Error(format!("an MTU of `{mtu}` is impossible")))?;
    sys::raise_loopback(socket.as_raw_fd(), mtu)
        .map_err(|(call, errno)| Stop::Error(format!("{call}: {errno}")))
}

fn bound(family: Family, kind: SocketType) -> Result<(OwnedFd, SocketAddr), Stop> {
    let socket = family.socket(kind)?;
    let address = family.address();
    rustix::net::bind(&socket, &address).map_err(|errno| match errno {
        Errno::ADDRNOTAVAIL => Stop::Error(format!(
            "bind to `{}`: {errno}\nhint: is net.ipv6.conf.default.disable_ipv6 set?",
            address.ip()
        )),
        _ => Stop::Error(format!("bind to `{}`: {errno}", address.ip())),
    })?;
    let name = rustix::net::getsockname(&socket).map_err(set_up("getsockname"))?;
    let name = SocketAddr::try_from(name).map_err(set_up("getsockname"))?;
    Ok((socket, name))
}

/// Opens a TCP connection; neither end blocks.
///
/// # Errors
///
/// [`Stop::Skip`] for a kernel without the family, [`Stop::Fail`] when the
/// handshake does not come to its end, [`Stop::Error`] for everything else.
pub(super) fn tcp_pair(family: Family, patience: Patience<'_>) -> Result<Pair, Stop> {
    let (listener, address) = bound(family, SocketType::STREAM)?;
    // Before the handshake: it fixes the scale of the window.
    let receive_room = sockopt::set_socket_recv_buffer_size_force(&listener, TCP_BUFFER);
    unless_forbidden(receive_room).map_err(set_up("setsockopt SO_RCVBUFFORCE"))?;
    rustix::net::listen(&listener, 1).map_err(set_up("listen"))?;
    let sender = family.socket(SocketType::STREAM)?;
    let send_room = sockopt::set_socket_send_buffer_size_force(&sender, TCP_BUFFER);
    unless_forbidden(send_room).map_err(set_up("setsockopt SO_SNDBUFFORCE"))?;
    connection::connect(listener.as_fd(), sender, address, patience)
}

/// A buffer of TCP that root of a mere user namespace may not enlarge grows by
/// itself, to less.
fn unless_forbidden(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    if result == Err(Errno::PERM) { Ok(()) } else { result }
}

/// Bytes of payload in the largest segment that this end sends.
///
/// # Errors
///
/// [`Stop::Error`] when the kernel does not tell.
pub(super) fn segment_size(socket: &OwnedFd) -> Result<usize, Stop> {
    let size = sys::get_option(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_MAXSEG);
    let size = size.map_err(set_up("getsockopt TCP_MAXSEG"))?;
    usize::try_from(size).map_err(|_| Stop::Error(format!("getsockopt TCP_MAXSEG gave `{size}`")))
}

/// Connects two UDP sockets with each other; neither blocks. The receiving one
/// has room for `window` datagrams of `bytes` bytes.
///
/// # Errors
///
/// [`Stop::Skip`] for a kernel without the family, [`Stop::Error`] for
/// everything else.
pub(super) fn udp_pair(family: Family, bytes: usize, window: usize) -> Result<Pair, Stop> {
    let (sender, sender_address) = bound(family, SocketType::DGRAM)?;
    let (receiver, receiver_address) = bound(family, SocketType::DGRAM)?;
    rustix::net::connect(&sender, &receiver_address).map_err(set_up("connect of a datagram socket"))?;
    rustix::net::connect(&receiver, &sender_address).map_err(set_up("connect of a datagram socket"))?;
    // What a datagram is charged with: its pages, at worst of twice the size of
    // what is in them, and the kernel's own structures. The page for the latter
    // is generous, and from experience.
    let charge = 2 * bytes.next_multiple_of(4096) + 4096;
    connection::receive_room(receiver.as_fd(), charge * window)?;
    Ok(Pair { sender, receiver })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifteen_small_pages_fit_into_a_segment() {
        assert_eq!(Family::Ipv4.page_filling_mtu(4096), Some(61_492));
        assert_eq!(Family::Ipv6.page_filling_mtu(4096), Some(61_512));
    }

    #[test]
    fn larger_pages_leave_fewer_and_the_largest_none() {
        assert_eq!(Family::Ipv4.page_filling_mtu(16_384), Some(3 * 16_384 + 52));
        assert_eq!(Family::Ipv6.page_filling_mtu(16_384), Some(3 * 16_384 + 72));
        assert_eq!(Family::Ipv4.page_filling_mtu(65_536), None);
        assert_eq!(Family::Ipv4.page_filling_mtu(0), None);
    }

    #[test]
    fn a_datagram_is_bounded_by_its_length_field() {
        assert_eq!(Family::Ipv4.largest_datagram(), 65_507);
        assert_eq!(Family::Ipv6.largest_datagram(), 65_527);
    }
}
