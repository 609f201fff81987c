//! Requests about the numbers by which one network namespace knows others.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};

use super::{RequestError, Route};

/// `RTNLGRP_NSID`.
pub(crate) const GROUP: u32 = 28;

/// No number (`NETNSA_NSID_NOT_ASSIGNED`).
pub(crate) const NOT_ASSIGNED: i32 = -1;

/// How a request names the namespace that it is about.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Peer<'a> {
    /// A descriptor of it.
    Fd(BorrowedFd<'a>),
    /// A process in it.
    Pid(u32),
    /// The number that it has.
    Id(i32),
}

impl Peer<'_> {
    fn attribute(self) -> NsidAttribute {
        match self {
            Self::Fd(fd) => NsidAttribute::Fd(u32::try_from(fd.as_raw_fd()).unwrap_or(u32::MAX)),
            Self::Pid(pid) => NsidAttribute::Pid(pid),
            Self::Id(id) => NsidAttribute::Id(id),
        }
    }
}

fn message(attributes: Vec<NsidAttribute>) -> NsidMessage {
    let mut message = NsidMessage::default();
    message.attributes = attributes;
    message
}

/// Gives a namespace a number; [`NOT_ASSIGNED`] lets the kernel choose.
///
/// # Errors
///
/// `EEXIST` when the number is taken or the namespace has one.
pub(crate) fn assign(route: &mut Route, peer: Peer<'_>, id: i32) -> Result<(), RequestError> {
    let attributes = vec![NsidAttribute::Id(id), peer.attribute()];
    route.act(RouteNetlinkMessage::NewNsId(message(attributes)), 0)
}

/// The number of a namespace, `None` if it has none.
///
/// # Errors
///
/// `ENOENT` for a number that nobody has.
pub(crate) fn number(route: &mut Route, peer: Peer<'_>) -> Result<Option<i32>, RequestError> {
    let request = RouteNetlinkMessage::GetNsId(message(vec![peer.attribute()]));
    let answers = route.get(request)?;
    let Some(RouteNetlinkMessage::NewNsId(answer)) = answers.first() else {
        return Err(RequestError::Garbled(format!("RTM_GETNSID was answered with {answers:?}")));
    };
    id(answer)
        .map(|id| (id != NOT_ASSIGNED).then_some(id))
        .ok_or_else(|| RequestError::Garbled(format!("RTM_NEWNSID without NETNSA_NSID: {answer:?}")))
}

/// All numbers that are given in the connection's namespace.
///
/// # Errors
///
/// As [`super::Connection::dump`].
pub(crate) fn all(route: &mut Route) -> Result<Vec<i32>, RequestError> {
    let answers = route.dump(&RouteNetlinkMessage::GetNsId(NsidMessage::default()))?;
    answers
        .iter()
        .map(|answer| match answer {
            RouteNetlinkMessage::NewNsId(message) => {
                id(message).ok_or_else(|| RequestError::Garbled(format!("no NETNSA_NSID in {message:?}")))
            }
            other => Err(RequestError::Garbled(format!("RTM_GETNSID was answered with {other:?}"))),
        })
        .collect()
}

/// The number that a message is about.
pub(crate) fn id(message: &NsidMessage) -> Option<i32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) => Some(*id),
        _ => None,
    })
}
