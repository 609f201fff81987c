//! Holders that are connections, whole or in the making, and packets that wait
//! for their rest.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

use netlink_packet_route::link::LinkAttribute;
use rustix::io::{Errno, read, write};
use rustix::net::sockopt::{Timeout, set_socket_linger, set_socket_timeout};
use rustix::net::{
    AddressFamily, Protocol, SendFlags, SocketFlags, SocketType, accept_with, bind, connect, connect_unspec,
    getsockname, ipproto, listen, send, socket_with,
};

use super::super::frames::{self, Mac};
use super::super::leak::{DEVICE, PEER, Stage};
use super::super::place::Place;
use super::{Held, packet_socket};
use crate::clock;
use crate::context::{Context, Stop};
use crate::ffi::{self, PlainOption};
use crate::netlink::neigh::{self, Entry};
use crate::netlink::{ip, link};

const NEAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const FAR: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// An address that nobody has.
const NOBODY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 77);

/// Requests, or fragments of each family, that are pending at the same time.
const COUNT: u16 = 4;

/// Pause between two looks.
const POLL: Duration = Duration::from_micros(500);

/// How often the kernel sends the end of a connection again, whose descriptor is
/// closed, before it gives up: the least that is not "as usual". Belongs to the
/// namespace, and dies with it.
const ORPHANS: &str = "/proc/sys/net/ipv4/tcp_orphan_retries";

/// Both ends of a connection.
#[derive(Debug)]
pub(in super::super) struct Talk {
    near: OwnedFd,
    far: OwnedFd,
    abort: Abort,
}

/// How an end is made to forget the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Abort {
    /// By a close that does not linger.
    Linger,
    /// By a connect to nobody: the socket on top of several ones does not heed
    /// the other.
    Disconnect,
}

impl Talk {
    /// Ends it in good order, the far end first.
    pub(super) fn finish(self) -> Result<(), Stop> {
        drop(self.far);
        let mut rest = [0; 16];
        match read(&self.near, &mut rest[..]) {
            Ok(0) => Ok(()),
            other => Err(Stop::Fail(format!(
                "the other end of a connection was closed, and a read gave {other:?} where 0 is the end"
            ))),
        }
    }

    /// Ends it at once, with no word to the other end.
    pub(super) fn abort(self) -> Result<(), Stop> {
        for socket in [&self.near, &self.far] {
            match self.abort {
                Abort::Linger => set_socket_linger(socket, Some(Duration::ZERO)),
                Abort::Disconnect => connect_unspec(socket),
            }
            .map_err(|error| Stop::Fail(format!("a connection cannot be given up: {error}")))?;
        }
        Ok(())
    }
}

/// Addresses of both ends, and neither waits long for the other when it has gone.
fn address(stage: &mut Stage) -> Result<(), Stop> {
    let hurry = || fs::write(ORPHANS, "1").map_err(|error| Stop::Error(format!("{ORPHANS}: {error}")));
    let give = |place: &mut Place, index, address: Ipv4Addr| {
        ip::add_address(&mut place.route, index, IpAddr::V4(address), 24)
            .map_err(|error| error.stop(&format!("the address {address}/24")))
    };
    hurry()?;
    give(&mut stage.in_near, stage.device, NEAR)?;
    give(&mut stage.in_far, stage.peer, FAR)?;
    stage.over_there(|_| hurry())
}

fn failed(what: &str, error: impl std::fmt::Display) -> Stop {
    Stop::Fail(format!("{what}: {error}"))
}

/// A connection between the namespaces over the device, which carries something.
fn talk(
    ctx: &Context<'_>,
    stage: &mut Stage,
    protocol: Option<Protocol>,
    abort: Abort,
) -> Result<Talk, Stop> {
    address(stage)?;
    let socket = || -> Result<OwnedFd, Stop> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, protocol).map_err(
            |error| match (error, protocol) {
                (Errno::PROTONOSUPPORT | Errno::NOPROTOOPT, Some(_)) => {
                    Stop::Skip("no sockets of the protocol 262; needs CONFIG_MPTCP".into())
                }
                _ => failed("socket(SOCK_STREAM)", error),
            },
        )?;
        for end in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&socket, end, Some(ctx.remaining()))
                .map_err(|error| failed("a timeout of a socket", error))?;
        }
        Ok(socket)
    };
    let listener = socket()?;
    bind(&listener, &SocketAddrV4::new(NEAR, 0)).map_err(|error| failed("bind", error))?;
    listen(&listener, 1).map_err(|error| failed("listen", error))?;
    let to = getsockname(&listener).map_err(|error| failed("getsockname", error))?;
    let far = stage.over_there(|_| {
        let client = socket()?;
        connect(&client, &to).map_err(|error| failed("connect", error))?;
        Ok(client)
    })?;
    let near = accept_with(&listener, SocketFlags::CLOEXEC).map_err(|error| failed("accept", error))?;
    set_socket_timeout(&near, Timeout::Recv, Some(ctx.remaining()))
        .map_err(|error| failed("a timeout of a socket", error))?;
    Ok(Talk { near, far, abort })
}

/// Something goes each way and arrives.
fn exchange(ctx: &Context<'_>, talk: &Talk) -> Result<(), Stop> {
    const WORD: &[u8] = b"held";
    for (from, to) in [(&talk.far, &talk.near), (&talk.near, &talk.far)] {
        write(from, WORD).map_err(|error| failed("a write to a connection", error))?;
        let mut heard = [0; 16];
        let length = read(to, &mut heard[..]).map_err(|error| failed("a read from a connection", error))?;
        ctx.check(heard.get(..length) == Some(WORD), || {
            format!("{WORD:?} was sent, and {:?} came", heard.get(..length).unwrap_or_default())
        })?;
    }
    Ok(())
}

/// A connection that can go several ways.
pub(super) fn mptcp(ctx: &Context<'_>, stage: &mut Stage) -> Result<Held, Stop> {
    /// `MPTCP_INFO_FLAG_FALLBACK`, `MPTCP_INFO_FLAG_REMOTE_KEY_RECEIVED`
    /// (include/uapi/linux/mptcp.h).
    const PLAIN: u32 = 1;
    const KEYS: u32 = 2;
    let talk = talk(ctx, stage, Some(ipproto::MPTCP), Abort::Disconnect)?;
    exchange(ctx, &talk)?;
    // A connection that has become a plain one has no such option any more, as on
    // a kernel that never had it. One that was never connected tells which it is.
    let alone =
        socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::MPTCP))
            .map_err(|error| failed("socket(IPPROTO_MPTCP)", error))?;
    match ffi::mptcp_flags(&alone) {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
            return Err(Stop::Skip("no MPTCP_INFO, which came with Linux 5.16; needs CONFIG_MPTCP".into()));
        }
        other => other.map_err(|error| failed("MPTCP_INFO of a new socket", error))?,
    };
    for (end, socket) in [("near", &talk.near), ("far", &talk.far)] {
        let flags = ffi::mptcp_flags(socket);
        ctx.check(flags.as_ref().is_ok_and(|flags| flags & (PLAIN | KEYS) == KEYS), || {
            format!(
                "the {end} end of a connection by several ways is a plain one: MPTCP_INFO gives {flags:?}"
            )
        })?;
    }
    Ok(Held { talk: Some(talk), ..Held::default() })
}

/// A connection that the kernel encrypts.
pub(super) fn tls(ctx: &Context<'_>, stage: &mut Stage) -> Result<Held, Stop> {
    /// `TLS_1_2_VERSION`, `TLS_CIPHER_AES_GCM_128`.
    const VERSION: u16 = 0x0303;
    const CIPHER: u16 = 51;
    let talk = talk(ctx, stage, None, Abort::Linger)?;
    // `struct tls12_crypto_info_aes_gcm_128`: vector, key, salt, sequence.
    let key = [&VERSION.to_ne_bytes()[..], &CIPHER.to_ne_bytes(), &[3; 8 + 16 + 4], &[0; 8]].concat();
    for socket in [&talk.near, &talk.far] {
        ffi::set_plain_option(socket, PlainOption::UpperProtocol, b"tls\0").map_err(|error| {
            match error.raw_os_error() {
                Some(libc::ENOENT) => Stop::Skip(format!("TCP_ULP of tls: {error}; needs CONFIG_TLS")),
                _ => failed("TCP_ULP of tls", error),
            }
        })?;
        for option in [PlainOption::TlsSend, PlainOption::TlsReceive] {
            ffi::set_plain_option(socket, option, &key).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT) => {
                    Stop::Skip(format!("{option:?} of a key of AES: {error}; needs CONFIG_CRYPTO_GCM"))
                }
                _ => failed(&format!("setsockopt({option:?})"), error),
            })?;
        }
    }
    exchange(ctx, &talk)?;
    Ok(Held { talk: Some(talk), ..Held::default() })
}

/// Hardware address of a device.
fn hardware(place: &mut Place, device: &str) -> Result<Mac, Stop> {
    let link = link::find(&mut place.route, device).map_err(|error| error.stop("RTM_GETLINK"))?;
    let address = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(address) => address[..].try_into().ok(),
        _ => None,
    });
    address.ok_or_else(|| Stop::Fail(format!("{device} has no hardware address")))
}

/// Sends frames from the far end.
fn inject(stage: &mut Stage, sent: &[Vec<u8>]) -> Result<(), Stop> {
    let peer = stage.peer;
    stage.over_there(|_| {
        let socket = packet_socket(peer)?;
        for frame in sent {
            send(&socket, frame, SendFlags::empty()).map_err(|error| failed("a frame", error))?;
        }
        Ok(())
    })
}

/// Waits until a file of the near namespace says so.
fn until(ctx: &Context<'_>, what: &str, mut holds: impl FnMut() -> io::Result<bool>) -> Result<(), Stop> {
    let enough = ctx.remaining() / 2;
    loop {
        if holds().map_err(|error| failed(what, error))? {
            ctx.checked(1);
            return Ok(());
        }
        if ctx.remaining() < enough {
            return Err(Stop::Fail(format!("{what} did not come about")));
        }
        clock::poll_interval(POLL);
    }
}

/// Connections that a client began and never completes. Whoever accepts would
/// wait for it; the kernel asks again and gives up some seconds later.
pub(super) fn requests(ctx: &Context<'_>, stage: &mut Stage) -> Result<Held, Stop> {
    address(stage)?;
    let listener = TcpListener::bind((NEAR, 0)).map_err(|error| failed("a listener", error))?;
    let port = listener.local_addr().map_err(|error| failed("the listener's address", error))?.port();
    let (to, from) = (hardware(&mut stage.in_near, DEVICE)?, hardware(&mut stage.in_far, PEER)?);
    // The answers go to the other end, which passes them over.
    neigh::add(&mut stage.in_near.route, stage.device, IpAddr::V4(NOBODY), Entry::Permanent(from))
        .map_err(|error| error.stop("a neighbour"))?;
    let frames: Vec<_> = (1..=COUNT)
        .map(|n| frames::ethernet(to, from, frames::IPV4, &frames::syn((NOBODY, 2000 + n), (NEAR, port))))
        .collect();
    inject(stage, &frames)?;
    until(ctx, "requests for connections that are pending", || {
        let table = fs::read_to_string("/proc/thread-self/net/tcp")?;
        Ok(pending(&table) == usize::from(COUNT))
    })?;
    Ok(Held { near: vec![listener.into()], ..Held::default() })
}

/// Sockets in the state `TCP_SYN_RECV`.
fn pending(table: &str) -> usize {
    table.lines().filter(|line| line.split_whitespace().nth(3) == Some("03")).count()
}

/// First fragments of both families.
pub(super) fn fragments(ctx: &Context<'_>, stage: &mut Stage) -> Result<Held, Stop> {
    const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
    const SOMEBODY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x77);
    address(stage)?;
    let (to, from) = (hardware(&mut stage.in_near, DEVICE)?, hardware(&mut stage.in_far, PEER)?);
    let mut sent = Vec::new();
    for n in 1..=COUNT {
        sent.push(frames::ethernet(to, from, frames::IPV4, &frames::fragment4(n, FAR, NEAR)));
        let six = frames::fragment6(n.into(), SOMEBODY, ALL_NODES);
        sent.push(frames::ethernet(ALL_NODES_MAC, from, frames::IPV6, &six));
    }
    inject(stage, &sent)?;
    until(ctx, "fragments that wait for their rest", || {
        let four = fs::read_to_string("/proc/thread-self/net/sockstat")?;
        let six = fs::read_to_string("/proc/thread-self/net/sockstat6")?;
        Ok([in_use(&four, "FRAG:"), in_use(&six, "FRAG6:")] == [Some(COUNT); 2])
    })?;
    Ok(Held::default())
}

/// Datagrams in reassembly: `FRAG: inuse 4 memory 2832`.
fn in_use(sockstat: &str, key: &str) -> Option<u16> {
    let line = sockstat.lines().find_map(|line| line.strip_prefix(key))?;
    let mut words = line.split_whitespace();
    words.find(|word| *word == "inuse")?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_sockets_in_the_third_state() {
        let table = "  sl  local_address rem_address   st tx_queue\n\
                     \x20  0: 0100090A:1F90 00000000:0000 0A 00000000:00000000\n\
                     \x20  1: 0100090A:1F90 4D00090A:07D1 03 00000000:00000000\n";
        assert_eq!((pending(table), pending("")), (1, 0));
    }

    #[test]
    fn fragments_are_counted_by_family() {
        let text = "UDP: inuse 3 mem 0\nFRAG: inuse 4 memory 2832\n";
        assert_eq!((in_use(text, "FRAG:"), in_use(text, "FRAG6:")), (Some(4), None));
    }
}
