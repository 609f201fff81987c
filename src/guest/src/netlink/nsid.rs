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

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `RTM_NEWNSID`.
    New,
    /// `RTM_GETNSID`.
    Get,
    /// `RTM_GETNSID` with `NLM_F_DUMP`.
    Dump,
    /// `RTM_DELNSID`, which is no request that the kernel knows.
    Delete,
}

/// Sends a request as it stands, sensible or not; what was answered.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn request(
    route: &mut Route,
    kind: Kind,
    attributes: Vec<NsidAttribute>,
) -> Result<Vec<NsidMessage>, RequestError> {
    let request = message(attributes);
    let answers = match kind {
        Kind::New => route.get(RouteNetlinkMessage::NewNsId(request)),
        Kind::Get => route.get(RouteNetlinkMessage::GetNsId(request)),
        Kind::Dump => route.dump(&RouteNetlinkMessage::GetNsId(request)),
        Kind::Delete => route.get(RouteNetlinkMessage::DelNsId(request)),
    }?;
    let understand = |answer| match answer {
        RouteNetlinkMessage::NewNsId(message) => Ok(message),
        other => Err(RequestError::Garbled(format!("a request about numbers was answered with {other:?}"))),
    };
    answers.into_iter().map(understand).collect()
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
    let answers = request(route, Kind::Get, vec![peer.attribute()])?;
    match answers.first() {
        Some(answer) => assigned(answer),
        None => Err(RequestError::Garbled("RTM_GETNSID has no answer".into())),
    }
}

fn assigned(answer: &NsidMessage) -> Result<Option<i32>, RequestError> {
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
    let answers = request(route, Kind::Dump, Vec::new())?;
    let listed =
        |answer| assigned(answer)?.ok_or_else(|| RequestError::Garbled("number -1 is listed".into()));
    answers.iter().map(listed).collect()
}

/// The number that a message is about.
pub(crate) fn id(message: &NsidMessage) -> Option<i32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::Id(id) => Some(*id),
        _ => None,
    })
}

/// The number that a message gives beside that, for a request about the numbers
/// of another namespace: the one in the connection's own.
pub(crate) fn current_id(message: &NsidMessage) -> Option<i32> {
    message.attributes.iter().find_map(|attribute| match attribute {
        NsidAttribute::CurrentNsid(id) => Some(*id),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_of_minus_one_is_none() {
        assert!(matches!(assigned(&message(vec![NsidAttribute::Id(NOT_ASSIGNED)])), Ok(None)));
        assert!(matches!(assigned(&message(vec![NsidAttribute::Id(0)])), Ok(Some(0))));
        let error = assigned(&message(vec![NsidAttribute::CurrentNsid(3)])).expect_err("no number");
        assert!(error.to_string().contains("RTM_NEWNSID without NETNSA_NSID"), "{error}");
    }

    #[test]
    fn both_numbers_of_an_answer_are_told_apart() {
        let answer = message(vec![NsidAttribute::CurrentNsid(3), NsidAttribute::Id(4)]);
        assert_eq!((id(&answer), current_id(&answer)), (Some(4), Some(3)));
    }
}
