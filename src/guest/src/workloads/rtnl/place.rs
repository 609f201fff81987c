//! A namespace in which devices are made, seen from inside: a connection for
//! requests, a listener for notifications, and what both should agree on.
//!
//! Connections keep their namespace alive: it can die only after this is
//! dropped.

use std::collections::{BTreeMap, BTreeSet};

use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::ledger::{Entry, Ledger};
use crate::context::{Context, Stop, WorkloadResult};
use crate::netlink::link;
use crate::netlink::{Listener, Route};
use crate::netns::Namespace;

/// `RTNLGRP_LINK` (include/uapi/linux/rtnetlink.h).
const GROUP: u32 = 1;

/// A namespace with its devices.
#[derive(Debug)]
pub(super) struct Place {
    /// For messages of tests.
    name: &'static str,
    pub(super) route: Route,
    listener: Listener,
    ledger: Ledger,
    /// Devices that every namespace of this kernel has.
    given: BTreeSet<String>,
}

impl Place {
    /// In the namespace that the calling thread is in.
    pub(super) fn here(name: &'static str) -> Result<Self, Stop> {
        let mut route = Route::here()?;
        let listener = Listener::join(&[GROUP])?;
        let links = dump(&mut route)?;
        let ledger = Ledger::new(links.values().copied());
        Ok(Self { name, route, listener, ledger, given: links.into_keys().collect() })
    }

    /// Index of a device.
    pub(super) fn index(&mut self, device: &str) -> Result<u32, Stop> {
        link::index(&mut self.route, device)
            .map_err(|error| error.stop(&format!("RTM_GETLINK of {device} in {}", self.name)))
    }

    /// Asserts that there are these devices, beside those that every namespace
    /// has, and that the notifications have told so.
    pub(super) fn expect(&mut self, ctx: &Context<'_>, devices: &[&str]) -> WorkloadResult {
        let links = dump(&mut self.route)?;
        let found: BTreeSet<&str> =
            links.keys().map(String::as_str).filter(|name| !self.given.contains(*name)).collect();
        let expected: BTreeSet<&str> = devices.iter().copied().collect();
        ctx.check(found == expected, || {
            format!("{} should have the devices {expected:?}, and has {found:?}", self.name)
        })?;
        let notices = self
            .listener
            .take()
            .map_err(|error| Stop::Error(format!("RTNLGRP_LINK of {}: {error}", self.name)))?;
        for notice in &notices {
            if let Some(entry) = entry(&notice.message) {
                held(ctx, self.name, self.ledger.enter(entry))?;
            }
        }
        held(ctx, self.name, self.ledger.compare(&links.values().copied().collect()))
    }
}

/// As an assertion.
fn held(ctx: &Context<'_>, place: &str, result: Result<(), String>) -> WorkloadResult {
    let broken = result.err();
    ctx.check(broken.is_none(), || format!("in {place}: {}", broken.unwrap_or_default()))
}

/// Goes to a namespace.
pub(super) fn enter(namespace: &Namespace) -> Result<(), Stop> {
    namespace.enter().map_err(|error| Stop::Fail(format!("setns to a network namespace: {error}")))
}

/// Names and indexes of all devices.
pub(super) fn dump(route: &mut Route) -> Result<BTreeMap<String, u32>, Stop> {
    let links = link::all(route).map_err(|error| error.stop("the dump of devices"))?;
    let mut found = BTreeMap::new();
    for link in &links {
        let name = link::name(link)
            .ok_or_else(|| Stop::Fail(format!("device {} has no name", link.header.index)))?;
        if found.insert(name.to_owned(), link.header.index).is_some() {
            return Err(Stop::Fail(format!("device `{name}` is twice in one dump")));
        }
    }
    Ok(found)
}

/// Notifications of bridges about their ports have a family of their own.
fn entry(message: &RouteNetlinkMessage) -> Option<Entry> {
    let own = |link: &LinkMessage| link.header.interface_family == AddressFamily::Unspec;
    match message {
        RouteNetlinkMessage::NewLink(link) if own(link) => Some(Entry::There(link.header.index)),
        RouteNetlinkMessage::DelLink(link) if own(link) => Some(Entry::Gone(link.header.index)),
        _ => None,
    }
}
