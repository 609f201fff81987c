//! Netfilter tables.

use netlink_packet_core::{NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, ExpressionAttribute, Hook, HookNumber, InetHookNumber, ListAttribute,
    NfTablesMessage, RuleAttribute, RuleMessage, TableAttribute, TableMessage,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{
    NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily,
};
use netlink_sys::protocols::NETLINK_NETFILTER;
use rustix::io::Errno;

use super::{Connection, RequestError};
use crate::context::Stop;

/// A connection of the netfilter family.
pub(crate) type Nft = Connection<NetfilterMessage>;

/// `NFNL_SUBSYS_NFTABLES` (include/uapi/linux/netfilter/nfnetlink.h).
const SUBSYSTEM: u16 = 10;

/// Kernel modules of tables, chains and the expressions used here.
pub(crate) const MODULES: &[&str] = &["nf_tables", "nft_ct", "nf_conntrack"];

const TABLE: &str = "kregress";
const CHAIN: &str = "input";

fn message(resource: u16, inner: impl Into<NetfilterMessageInner>) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(NetfilterProtoFamily::IPv4, 0, resource), inner)
}

/// The end of a test whose rules cannot be made, in a namespace that has none yet.
pub(crate) fn no_rules(error: &RequestError) -> Stop {
    match error.errno() {
        // No such subsystem or family; no such type of chain or expression.
        Some(Errno::OPNOTSUPP | Errno::NOENT) => Stop::Skip(format!(
            "no netfilter tables ({error}); needs CONFIG_NF_TABLES and CONFIG_NF_TABLES_IPV4"
        )),
        _ => error.stop("a batch of netfilter rules"),
    }
}

impl Nft {
    /// Opens one in the namespace of the calling thread.
    pub(crate) fn here() -> Result<Self, Stop> {
        Self::open(NETLINK_NETFILTER).map_err(|error| match error.raw_os_error() {
            Some(libc::EPROTONOSUPPORT) => Stop::Skip("no netfilter tables; needs CONFIG_NF_TABLES".into()),
            _ => Stop::Error(format!("socket(NETLINK_NETFILTER): {error}")),
        })
    }

    /// Makes a table with a chain on the input hook and `rules` rules in it, each of which
    /// counts packets.
    ///
    /// # Errors
    ///
    /// What the kernel says against it; then nothing of it is there.
    pub(crate) fn add_rules(&mut self, rules: usize) -> Result<(), RequestError> {
        let name = |name: &str| name.to_owned();
        let table = TableMessage { attributes: vec![TableAttribute::Name(name(TABLE))] };
        let hook = vec![Hook::Number(HookNumber::Inet(InetHookNumber::LocalIn)), Hook::Priority(0)];
        let chain = ChainMessage {
            attributes: vec![
                ChainAttribute::Table(name(TABLE)),
                ChainAttribute::Name(name(CHAIN)),
                ChainAttribute::Hook(hook),
                ChainAttribute::Type(name("filter")),
            ],
        };
        let counter = ListAttribute::Element(vec![ExpressionAttribute::Name(name("counter"))]);
        let rule = RuleMessage {
            attributes: vec![
                RuleAttribute::Table(name(TABLE)),
                RuleAttribute::Chain(name(CHAIN)),
                RuleAttribute::Expressions(vec![counter]),
            ],
        };
        let mut batch = vec![
            (message(SUBSYSTEM, ControlMessage::BatchBegin), 0),
            (message(0, NfTablesMessage::NewTable(table)), NLM_F_CREATE | NLM_F_ACK),
            (message(0, NfTablesMessage::NewChain(chain)), NLM_F_CREATE | NLM_F_ACK),
        ];
        for _ in 0..rules {
            let flags = NLM_F_CREATE | NLM_F_APPEND | NLM_F_ACK;
            batch.push((message(0, NfTablesMessage::NewRule(rule.clone())), flags));
        }
        batch.push((message(SUBSYSTEM, ControlMessage::BatchEnd), 0));
        self.batch(batch)
    }

    /// How many rules the namespace has.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub(crate) fn count(&mut self) -> Result<usize, RequestError> {
        let request = NfTablesMessage::GetRule(RuleMessage { attributes: Vec::new() });
        Ok(self.dump(&message(0, request))?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Refusal;
    use super::*;

    #[test]
    fn only_what_the_kernel_lacks_is_a_skip() {
        let stop = |errno| no_rules(&RequestError::Refused(Refusal { errno, text: None }));
        for errno in [Errno::OPNOTSUPP, Errno::NOENT] {
            assert!(matches!(stop(errno), Stop::Skip(text) if text.contains("CONFIG_NF_TABLES")));
        }
        for errno in [Errno::INVAL, Errno::NOMEM, Errno::PERM, Errno::EXIST] {
            assert!(matches!(stop(errno), Stop::Fail(_)), "{errno}");
        }
        assert!(matches!(no_rules(&RequestError::Lost), Stop::Error(_)));
    }
}
