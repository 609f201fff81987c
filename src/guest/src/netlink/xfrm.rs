//! Transformation policies.

use std::net::Ipv4Addr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_xfrm::policy::{DelGetMessage, ModifyMessage};
use netlink_packet_xfrm::{Address, XfrmMessage};
use netlink_sys::protocols::NETLINK_XFRM;

use super::{Connection, RequestError};
use crate::context::Stop;

/// A connection of the transformation family.
pub(crate) type Xfrm = Connection<XfrmMessage>;

/// `XFRM_POLICY_OUT` (include/uapi/linux/xfrm.h).
const DIRECTION_OUT: u8 = 1;

/// No limit (`XFRM_INF`).
const UNLIMITED: u64 = u64::MAX;

impl Xfrm {
    /// Opens one in the namespace of the calling thread.
    pub(crate) fn policies() -> Result<Self, Stop> {
        Self::open(NETLINK_XFRM).map_err(|error| match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT) => {
                Stop::Skip("no transformation policies; needs CONFIG_XFRM_USER".into())
            }
            _ => Stop::Error(format!("socket(NETLINK_XFRM): {error}")),
        })
    }

    /// Lets packets to an address pass, as a policy says.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub(crate) fn add_policy(&mut self, to: Ipv4Addr) -> Result<(), RequestError> {
        let mut message = ModifyMessage::default();
        let policy = &mut message.user_policy_info;
        policy.selector.family = u16::try_from(libc::AF_INET).unwrap_or_default();
        policy.selector.daddr = Address::from_ipv4(&to);
        policy.selector.prefixlen_d = 32;
        policy.direction = DIRECTION_OUT;
        policy.lifetime_cfg.soft_byte_limit = UNLIMITED;
        policy.lifetime_cfg.hard_byte_limit = UNLIMITED;
        policy.lifetime_cfg.soft_packet_limit = UNLIMITED;
        policy.lifetime_cfg.hard_packet_limit = UNLIMITED;
        self.act(XfrmMessage::AddPolicy(message), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// How many policies the namespace has.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub(crate) fn count(&mut self) -> Result<usize, RequestError> {
        Ok(self.dump(&XfrmMessage::GetPolicy(DelGetMessage::default()))?.len())
    }
}
