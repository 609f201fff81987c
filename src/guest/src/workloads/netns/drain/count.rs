//! Counts what the kernel does for a drain: calls of a few functions by the
//! worker, and the notifications that a survivor hears.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::time::Duration;

use netlink_packet_route::RouteNetlinkMessage;
use rustix::io::Errno;

use super::super::{expect_all_gone, ns};
use crate::clock;
use crate::context::{Context, Stop};
use crate::netlink::nsid::{self, Peer};
use crate::netlink::{Listener, Route};
use crate::netns::Namespace;
use crate::trace::{Caller, Counter, CounterError};
use crate::ucount::{Census, Gone};

/// What is counted, where the kernel can: waits for grace periods, the lock that
/// everything goes through, and waiting by polling.
pub(in super::super) const FUNCTIONS: &[&str] = &[
    "synchronize_rcu",
    "synchronize_rcu_expedited",
    "synchronize_net",
    "rcu_barrier",
    "rtnl_lock",
    "msleep",
];

/// Pause between two looks at the trace after the last namespace is gone.
const POLL: Duration = Duration::from_millis(1);

/// Counts drains.
#[derive(Debug)]
pub(in super::super) struct Counting(Counter);

/// What one drain took.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Counted {
    /// Executions of `cleanup_net`.
    pub(in super::super) rounds: u64,
    /// Calls by function, and notifications as `delnsid`.
    pub(in super::super) calls: Vec<(&'static str, u64)>,
}

impl Counted {
    /// Everything divided by the rounds.
    pub(in super::super) fn per_round(&self) -> Vec<(&'static str, f64)> {
        self.calls.iter().map(|(name, calls)| (*name, ns(*calls) / ns(self.rounds.max(1)))).collect()
    }
}

impl Counting {
    /// Hooks the functions; while nothing happens, please. Says in a note how, or
    /// why not. The inner error is what the kernel lacks.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the kernel has a tracer and it cannot be used.
    pub(in super::super) fn begin(ctx: &Context<'_>) -> Result<Result<Self, String>, Stop> {
        match Counter::start(FUNCTIONS, Caller::Cleanup) {
            Ok(counter) => {
                ctx.note("calls", counter.describe())?;
                Ok(Ok(Self(counter)))
            }
            Err(CounterError::Lacks(reason)) => {
                ctx.note("calls", format!("not counted: {reason}"))?;
                Ok(Err(reason))
            }
            Err(CounterError::Failed(reason)) => Err(Stop::Error(format!("cannot count calls: {reason}"))),
        }
    }

    /// Whether calls of this function are counted.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the kernel does not let us trace it.
    pub(in super::super) fn expect(&self, function: &str) -> Result<(), Stop> {
        self.0.expect(&[function]).map_err(Stop::Error)
    }

    /// What is counted on this kernel.
    fn functions(&self) -> &[&'static str] {
        self.0.functions()
    }

    /// Drops namespaces and counts what that takes. Called in the namespace of
    /// the start, which is given a number for each of them first.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when one is not gone, or was not announced exactly once.
    pub(in super::super) fn drain(
        &mut self,
        ctx: &Context<'_>,
        census: &mut Census,
        held: Vec<Namespace>,
    ) -> Result<(Counted, Gone), Stop> {
        let count = held.len();
        let mut route = Route::here()?;
        let mut listener = Listener::join(&[nsid::GROUP])?;
        let mut ids = BTreeSet::new();
        for namespace in &held {
            let peer = Peer::Fd(namespace.as_fd());
            match nsid::assign(&mut route, peer, nsid::NOT_ASSIGNED) {
                // Whoever looks at a device whose peer is there has the kernel give a number
                // (`rtnl_fill_link_netnsid`, net/core/rtnetlink.c): udev does, in a guest with
                // a whole userland.
                Err(error) if error.errno() == Some(Errno::EXIST) => {}
                answer => answer.map_err(|error| error.stop("RTM_NEWNSID for a namespace"))?,
            }
            let id =
                nsid::number(&mut route, peer).map_err(|error| error.stop("RTM_GETNSID of a namespace"))?;
            let id = id.ok_or_else(|| Stop::Fail("a namespace has no number after RTM_NEWNSID".into()))?;
            ctx.check(ids.insert(id), || format!("two namespaces have the number {id}"))?;
        }
        self.0.reset().map_err(trace_failed)?;
        drop(held);
        let gone = expect_all_gone(ctx, census, count)?;
        let mut counted = self.finished(ctx)?;
        let heard = goodbyes(&mut listener)?;
        let expected: Vec<i32> = ids.into_iter().collect();
        let mut sorted = heard.clone();
        sorted.sort_unstable();
        ctx.check(sorted == expected, || {
            format!(
                "{} namespaces with a number died, and RTM_DELNSID came for {}: expected each number of {expected:?} once, got {sorted:?}",
                expected.len(), sorted.len()
            )
        })?;
        counted.calls.push(("delnsid", u64::try_from(heard.len()).unwrap_or(u64::MAX)));
        Ok((counted, gone))
    }

    /// Waits for the end of the last round, which comes right after the last
    /// namespace has left the count.
    fn finished(&mut self, ctx: &Context<'_>) -> Result<Counted, Stop> {
        loop {
            let tally = self.0.read().map_err(trace_failed)?;
            let (begun, ended) = tally.rounds();
            if begun > 0 && begun == ended {
                let tally = tally.clone();
                let calls = self.functions().iter().map(|name| (*name, tally.calls(name))).collect();
                return Ok(Counted { rounds: ended, calls });
            }
            if ctx.remaining() == Duration::ZERO {
                return Err(Stop::Fail(format!(
                    "all namespaces are gone, but of {begun} rounds of cleanup only {ended} have ended"
                )));
            }
            clock::poll_interval(POLL);
        }
    }
}

fn trace_failed(error: std::io::Error) -> Stop {
    Stop::Error(format!("cannot count calls: {error}"))
}

/// The numbers of all RTM_DELNSID that have come.
fn goodbyes(listener: &mut Listener) -> Result<Vec<i32>, Stop> {
    let notices = listener.take().map_err(|error| Stop::Error(format!("RTNLGRP_NSID: {error}")))?;
    Ok(notices
        .iter()
        .filter_map(|notice| match &notice.message {
            RouteNetlinkMessage::DelNsId(message) => nsid::id(message),
            _ => None,
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_told_per_round() {
        let counted = Counted { rounds: 2, calls: vec![("rtnl_lock", 6), ("delnsid", 5)] };
        assert_eq!(counted.per_round(), [("rtnl_lock", 3.0), ("delnsid", 2.5)]);
    }
}
