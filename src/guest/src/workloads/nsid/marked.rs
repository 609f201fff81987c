//! Namespaces that can be recognised through a number: the `lo` of each one has
//! an MTU that no other's has.
//!
//! What a number leads to shows in `RTM_GETLINK` with `IFLA_TARGET_NETNSID`. The
//! mark is set without netlink: a closed netlink socket holds its namespace for
//! another grace period, and these are about to die.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicI32, Ordering};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

use crate::context::Stop;
use crate::ffi;
use crate::netlink::{RequestError, Route, nsid};
use crate::netns::{Home, Namespace};

/// A namespace with a mark.
#[derive(Debug)]
pub(super) struct Marked {
    namespace: Namespace,
    mark: u32,
}

/// Above the usual one, 65536. `lo` takes any.
const FIRST: i32 = 1_000_000;

impl Marked {
    /// Makes one and leaves the calling thread in it. `nth` is for the message.
    pub(super) fn create(nth: usize) -> Result<Self, Stop> {
        Self::mark_here(Namespace::create().map_err(|error| error.stop(nth))?)
    }

    /// Makes one, and goes back.
    pub(super) fn create_away(home: &Home, nth: usize) -> Result<Self, Stop> {
        let created = Self::create(nth)?;
        home.back()?;
        Ok(created)
    }

    /// Marks one that is there already, and goes back.
    pub(super) fn adopt(namespace: Namespace, home: &Home) -> Result<Self, Stop> {
        namespace.enter().map_err(|error| Stop::Fail(format!("setns to a new namespace: {error}")))?;
        let marked = Self::mark_here(namespace)?;
        home.back()?;
        Ok(marked)
    }

    fn mark_here(namespace: Namespace) -> Result<Self, Stop> {
        static NEXT: AtomicI32 = AtomicI32::new(FIRST);
        let mark = NEXT.fetch_add(1, Ordering::Relaxed);
        let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
            .map_err(|error| Stop::Error(format!("socket(AF_INET): {error}\nhint: needs CONFIG_INET")))?;
        ffi::set_mtu(&socket, "lo", mark)
            .map_err(|error| Stop::Error(format!("ioctl(SIOCSIFMTU) of `lo`: {error}")))?;
        let mark = u32::try_from(mark).map_err(|error| Stop::Error(format!("mark {mark}: {error}")))?;
        Ok(Self { namespace, mark })
    }

    /// What [`leads_to`] says of numbers for this one.
    pub(super) fn mark(&self) -> u32 {
        self.mark
    }

    /// Moves the calling thread there.
    pub(super) fn enter(&self) -> Result<(), Stop> {
        self.namespace.enter().map_err(|error| Stop::Fail(format!("setns to a namespace: {error}")))
    }

    /// As a request names it.
    pub(super) fn peer(&self) -> nsid::Peer<'_> {
        nsid::Peer::Fd(self.as_fd())
    }
}

impl AsFd for Marked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.namespace.as_fd()
    }
}

/// Mark of the namespace that a number leads to; `None` if it leads nowhere. One
/// without `lo`, which is being taken apart, must not be found: `ENODEV` stands.
pub(super) fn leads_to(route: &mut Route, id: i32) -> Result<Option<u32>, RequestError> {
    let mut request = LinkMessage::default();
    request.header.index = 1;
    request.attributes = vec![LinkAttribute::IfNetnsId(id)];
    let answers = match route.get(RouteNetlinkMessage::GetLink(request)) {
        Ok(answers) => answers,
        // `rtnl_get_net_ns_capable` finds none, or one that is about to die.
        Err(RequestError::Refused(refusal)) if refusal.errno == Errno::INVAL => return Ok(None),
        Err(error) => return Err(error),
    };
    let mtu = answers.iter().find_map(|answer| match answer {
        RouteNetlinkMessage::NewLink(link) => link.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Mtu(mtu) => Some(*mtu),
            _ => None,
        }),
        _ => None,
    });
    mtu.map(Some).ok_or_else(|| RequestError::Garbled(format!("`lo` without IFLA_MTU: {answers:?}")))
}
