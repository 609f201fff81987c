//! What holds references on a device or a namespace: the list, and how each of
//! them is brought about.

mod connections;
mod devices;
mod memberships;

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::sockopt::socket_error;

use super::leak::Stage;
use crate::context::{Context, Stop, WorkloadResult};
use crate::ffi;

/// Names of [`Holder`], as suites say them.
pub(super) const NAMES: &[&str] = &[
    "multicast",
    "neighbours",
    "packet",
    "qdisc",
    "nexthop",
    "macvlan",
    "vlan",
    "requests",
    "fragments",
    "mptcp",
    "tls",
];

/// Modules that holders need where the kernel has them as modules.
pub(super) const MODULES: &[&str] = &[
    "veth",
    "dummy",
    "macvlan",
    "8021q",
    "sch_fq",
    "sch_ingress",
    "cls_matchall",
    "act_mirred",
    "tls",
    "gcm",
    "aes_generic",
    "ghash_generic",
    "ctr",
];

/// What holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// Memberships of groups, by sockets and by addresses.
    Multicast,
    /// Permanent neighbours and proxies.
    Neighbours,
    /// Sockets bound to the device.
    Packet,
    /// Queues of the device, and a filter elsewhere that sends to it.
    Qdisc,
    /// Nexthop objects, and a route by one.
    Nexthop,
    /// A device on top, and one more in the other namespace.
    Macvlan,
    /// The same.
    Vlan,
    /// Connections that their client never completes.
    Requests,
    /// Packets that wait for their rest.
    Fragments,
    /// A connection by several ways at once.
    Mptcp,
    /// A connection with encryption on top.
    Tls,
}

impl Holder {
    /// By its name in a suite.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] for a name that is none.
    pub(super) fn named(name: &str) -> Result<Self, Stop> {
        Ok(match name {
            "multicast" => Self::Multicast,
            "neighbours" => Self::Neighbours,
            "packet" => Self::Packet,
            "qdisc" => Self::Qdisc,
            "nexthop" => Self::Nexthop,
            "macvlan" => Self::Macvlan,
            "vlan" => Self::Vlan,
            "requests" => Self::Requests,
            "fragments" => Self::Fragments,
            "mptcp" => Self::Mptcp,
            "tls" => Self::Tls,
            other => {
                return Err(Stop::Error(format!(
                    "parameter `holder` is `{other}`, which is none of its choices"
                )));
            }
        })
    }

    /// Modules of this one, beside that of the pair.
    pub(super) fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Qdisc => &["dummy", "sch_fq", "sch_ingress", "cls_matchall", "act_mirred"],
            Self::Macvlan => &["macvlan"],
            Self::Vlan => &["8021q"],
            Self::Tls => &["tls", "gcm", "aes_generic", "ghash_generic", "ctr"],
            _ => &[],
        }
    }

    /// Makes it hold the device; called, and left, in the near namespace.
    ///
    /// # Errors
    ///
    /// Skips where the kernel has no such thing.
    pub(super) fn hold(self, ctx: &Context<'_>, stage: &mut Stage) -> Result<Held, Stop> {
        match self {
            Self::Multicast => memberships::multicast(ctx, stage),
            Self::Neighbours => memberships::neighbours(ctx, stage),
            Self::Packet => memberships::packet(stage),
            Self::Qdisc => devices::qdisc(ctx, stage),
            Self::Nexthop => devices::nexthop(ctx, stage),
            Self::Macvlan => devices::upper(stage, &devices::MACVLAN),
            Self::Vlan => devices::upper(stage, &devices::VLAN),
            Self::Requests => connections::requests(ctx, stage),
            Self::Fragments => connections::fragments(ctx, stage),
            Self::Mptcp => connections::mptcp(ctx, stage),
            Self::Tls => connections::tls(ctx, stage),
        }
    }
}

/// What a holder has made.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Sockets of the near namespace, which keep it alive.
    pub(super) near: Vec<OwnedFd>,
    /// A connection between the namespaces, which keeps both alive.
    talk: Option<connections::Talk>,
    /// Devices on top, which go when the device goes.
    pub(super) upper: &'static [&'static str],
    /// The same, in the far namespace.
    pub(super) upper_far: &'static [&'static str],
    /// Devices that stay when the device goes.
    pub(super) beside: &'static [&'static str],
    /// Whether the sockets are told that their device goes.
    pub(super) told: Told,
}

/// Whether a socket learns that its device goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Told {
    /// It does not depend on it.
    #[default]
    Nothing,
    /// Its error is `ENETDOWN`.
    NetDown,
}

impl Held {
    /// Whether it keeps the near namespace alive.
    pub(super) fn pins(&self) -> bool {
        !self.near.is_empty() || self.talk.is_some()
    }

    /// After the device is gone: whether its sockets know.
    pub(super) fn expect_told(&self, ctx: &Context<'_>) -> WorkloadResult {
        if self.told == Told::Nothing {
            return Ok(());
        }
        for socket in &self.near {
            let error = socket_error(socket)
                .map_err(|error| Stop::Error(format!("getsockopt(SO_ERROR): {error}")))?;
            ctx.check(error == Err(Errno::NETDOWN), || {
                format!("the device of a bound socket is gone, and its error is {error:?}, not ENETDOWN")
            })?;
        }
        Ok(())
    }

    /// Lets go, with the device still there.
    pub(super) fn finish(&mut self) -> Result<(), Stop> {
        self.near.clear();
        self.talk.take().map_or(Ok(()), connections::Talk::finish)
    }

    /// Lets go, with the device gone.
    pub(super) fn abort(&mut self) -> Result<(), Stop> {
        self.near.clear();
        self.talk.take().map_or(Ok(()), connections::Talk::abort)
    }
}

/// A check that the holder holds indeed, before anything ends.
fn holds(ctx: &Context<'_>, found: usize, wanted: usize, what: &str) -> WorkloadResult {
    ctx.check(found == wanted, || format!("{wanted} {what} were made, {found} are there"))
}

/// A socket for frames of one device. Only a kernel that does not know the family
/// is a reason to skip.
fn packet_socket(device: u32) -> Result<OwnedFd, Stop> {
    ffi::packet_socket(device).map_err(|error| match error.raw_os_error() {
        Some(libc::EAFNOSUPPORT) => Stop::Skip("no AF_PACKET sockets; needs CONFIG_PACKET".into()),
        _ => Stop::Fail(format!("a packet socket on device {device}: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_a_holder_and_its_modules_are_declared() {
        for name in NAMES {
            let holder = Holder::named(name).expect("a holder");
            assert!(holder.modules().iter().all(|module| MODULES.contains(module)), "{name}");
        }
        assert!(matches!(Holder::named("nobody"), Err(Stop::Error(_))));
    }
}
