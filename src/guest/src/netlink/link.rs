//! Requests about network devices.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};

use super::{RequestError, Route};

/// Makes a device. `kind` is the kernel's word (`dummy`); `data` what belongs to
/// it; `more` whatever else the request carries (`IFLA_LINK`, `IFLA_MASTER`).
///
/// # Errors
///
/// `EOPNOTSUPP` for a kind that the kernel lacks, `EEXIST` for a name that is taken.
pub(crate) fn create(
    route: &mut Route,
    name: &str,
    kind: &str,
    data: Option<InfoData>,
    more: Vec<LinkAttribute>,
) -> Result<(), RequestError> {
    let mut info = vec![LinkInfo::Kind(InfoKind::from(kind))];
    info.extend(data.map(LinkInfo::Data));
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(info)];
    message.attributes.extend(more);
    route.act(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Deletes a device.
///
/// # Errors
///
/// `ENODEV` when it is not there.
pub(crate) fn delete(route: &mut Route, index: u32) -> Result<(), RequestError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    route.act(RouteNetlinkMessage::DelLink(message), 0)
}

/// Changes attributes of a device, but not those of its kind.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn change(
    route: &mut Route,
    index: u32,
    attributes: Vec<LinkAttribute>,
) -> Result<(), RequestError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = attributes;
    route.act(RouteNetlinkMessage::SetLink(message), 0)
}

/// Changes what belongs to the kind of a device (`rtnl_link_ops::changelink`). This
/// is `RTM_NEWLINK` without `NLM_F_CREATE`: `RTM_SETLINK` passes over it.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn change_kind(
    route: &mut Route,
    index: u32,
    kind: &str,
    data: InfoData,
) -> Result<(), RequestError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes =
        vec![LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::from(kind)), LinkInfo::Data(data)])];
    route.act(RouteNetlinkMessage::NewLink(message), 0)
}

/// Which way a device is switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// `IFF_UP` set.
    Up,
    /// `IFF_UP` cleared.
    Down,
}

/// Switches a device up or down.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn switch(route: &mut Route, index: u32, way: Switch) -> Result<(), RequestError> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.change_mask = LinkFlags::Up;
    if way == Switch::Up {
        message.header.flags = LinkFlags::Up;
    }
    route.act(RouteNetlinkMessage::SetLink(message), 0)
}

/// Moves a device to another namespace.
///
/// # Errors
///
/// `EINVAL` for an immutable device, `EEXIST` when its name is taken there.
pub(crate) fn move_to(route: &mut Route, index: u32, namespace: BorrowedFd<'_>) -> Result<(), RequestError> {
    change(route, index, vec![LinkAttribute::NetNsFd(namespace.as_raw_fd())])
}

/// Puts a device under a master.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn enslave(route: &mut Route, index: u32, master: u32) -> Result<(), RequestError> {
    change(route, index, vec![LinkAttribute::Controller(master)])
}

/// Frees a device of its master.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn release(route: &mut Route, index: u32) -> Result<(), RequestError> {
    change(route, index, vec![LinkAttribute::Controller(0)])
}

/// All devices of the connection's namespace.
///
/// # Errors
///
/// As [`super::Connection::dump`].
pub(crate) fn all(route: &mut Route) -> Result<Vec<LinkMessage>, RequestError> {
    let answers = route.dump(&RouteNetlinkMessage::GetLink(LinkMessage::default()))?;
    answers
        .into_iter()
        .map(|answer| match answer {
            RouteNetlinkMessage::NewLink(link) => Ok(link),
            other => Err(RequestError::Garbled(format!("RTM_GETLINK was answered with {other:?}"))),
        })
        .collect()
}

/// A device by its name.
///
/// # Errors
///
/// `ENODEV` when it is not there.
pub(crate) fn find(route: &mut Route, name: &str) -> Result<LinkMessage, RequestError> {
    let mut message = LinkMessage::default();
    message.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    let answers = route.get(RouteNetlinkMessage::GetLink(message))?;
    match answers.into_iter().next() {
        Some(RouteNetlinkMessage::NewLink(link)) => Ok(link),
        other => Err(RequestError::Garbled(format!("RTM_GETLINK was answered with {other:?}"))),
    }
}

/// Index of a device by its name.
///
/// # Errors
///
/// `ENODEV` when it is not there.
pub(crate) fn index(route: &mut Route, name: &str) -> Result<u32, RequestError> {
    find(route, name).map(|link| link.header.index)
}

/// Name that a message gives.
pub(crate) fn name(link: &LinkMessage) -> Option<&str> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}
