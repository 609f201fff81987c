//! A ring together with the account of its requests.

use std::os::fd::AsFd;

use rustix::event::PollFlags;
use rustix::io::Errno;

use super::super::patience::Patience;
use super::ledger::{Kind, Ledger, Outcome, Violation};
use crate::clock;
use crate::context::Stop;
use crate::uring::{Operation, Request, Ring, Span};

/// A ring whose every completion is checked.
#[derive(Debug)]
pub(super) struct Client {
    ring: Ring,
    ledger: Ledger,
    violations: Vec<Violation>,
}

/// Makes a ring that knows these operations.
///
/// # Errors
///
/// [`Stop::Skip`] for a kernel without them, [`Stop::Error`] for everything else.
pub(super) fn open(entries: u32, operations: &[Operation]) -> Result<Client, Stop> {
    let ring = Ring::new(entries).map_err(|error| {
        let text = format!("io_uring_setup: {error}");
        match error.raw_os_error() {
            Some(libc::ENOSYS) => Stop::Skip(format!("the kernel lacks CONFIG_IO_URING ({text})")),
            Some(libc::EPERM) => Stop::Skip(format!("io_uring is not permitted ({text}); needs CONFIG_IO_URING and kernel.io_uring_disabled=0")),
            Some(libc::EINVAL) => Stop::Skip(format!(
                "the kernel's io_uring lacks IORING_SETUP_SUBMIT_ALL, and with it SEND_ZC ({text}); needs CONFIG_IO_URING of a newer kernel"
            )),
            _ => Stop::Error(text),
        }
    })?;
    for operation in operations {
        let known = ring
            .knows(*operation)
            .map_err(|error| Stop::Error(format!("io_uring_register IORING_REGISTER_PROBE: {error}")))?;
        if !known {
            let name = match operation {
                Operation::Send => "IORING_OP_SEND_ZC",
                Operation::SendMsg => "IORING_OP_SENDMSG_ZC",
            };
            return Err(Stop::Skip(format!(
                "the kernel's io_uring lacks {name}; needs CONFIG_NET and CONFIG_IO_URING of a newer kernel"
            )));
        }
    }
    Ok(Client { ring, ledger: Ledger::default(), violations: Vec::new() })
}

impl Client {
    /// Submits requests together, and returns their numbers, which are in order.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the queue is full, [`Stop::Fail`] when the kernel does
    /// not take all of them.
    pub(super) fn submit(&mut self, requests: &[(Kind, Request)]) -> Result<Vec<u64>, Stop> {
        let mut ids = Vec::with_capacity(requests.len());
        for (kind, request) in requests {
            let id = self.ledger.submitted(*kind, clock::monotonic_ns());
            if !self.ring.push(&request.clone().number(id)) {
                return Err(Stop::Error("the submission queue is full".into()));
            }
            ids.push(id);
        }
        let mut left = requests.len();
        while left > 0 {
            match self.ring.submit() {
                Ok(0) => {
                    return Err(Stop::Fail(format!("io_uring_enter took none of {left} requests")));
                }
                Ok(taken) => left = left.saturating_sub(taken),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(error) => return Err(Stop::Fail(format!("io_uring_enter of {left} requests: {error}"))),
            }
        }
        self.collect();
        Ok(ids)
    }

    /// Submits one request.
    ///
    /// # Errors
    ///
    /// As [`Self::submit`].
    pub(super) fn submit_one(&mut self, kind: Kind, request: Request) -> Result<u64, Stop> {
        let ids = self.submit(&[(kind, request)])?;
        ids.first().copied().ok_or_else(|| Stop::Error("a request got no number".into()))
    }

    /// Takes the completions that are there.
    pub(super) fn collect(&mut self) {
        while let Some(completion) = self.ring.next() {
            if let Err(violation) = self.ledger.take(completion, clock::monotonic_ns()) {
                self.violations.push(violation);
            }
        }
    }

    /// What is known of the requests.
    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The ring itself, for what is no request.
    pub(super) fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Registers buffers.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when the kernel does not take them.
    pub(super) fn register(&self, buffers: &[Span]) -> Result<(), Stop> {
        self.ring
            .register(buffers)
            .map_err(|error| Stop::Fail(format!("io_uring_register IORING_REGISTER_BUFFERS: {error}")))
    }

    /// Waits until something is so.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it does not come to be, with what was waited for.
    pub(super) fn wait_until(
        &mut self,
        patience: Patience<'_>,
        what: impl Fn(&Ledger) -> String,
        holds: impl Fn(&Ledger) -> bool,
    ) -> Result<(), Stop> {
        loop {
            self.collect();
            if holds(&self.ledger) {
                return Ok(());
            }
            patience.wait(self.ring.as_fd(), PollFlags::IN, || what(&self.ledger))?;
        }
    }

    /// Waits for the result of a request.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] when it does not come.
    pub(super) fn result(&mut self, id: u64, patience: Patience<'_>) -> Result<Outcome, Stop> {
        self.wait_until(
            patience,
            |_| format!("the result of request {id}"),
            |ledger| ledger.outcome(id).is_some(),
        )?;
        let outcome = self.ledger.outcome(id);
        outcome.ok_or_else(|| Stop::Error(format!("request {id} lost its result")))
    }

    /// Waits until every request has all its completions, and then until another
    /// one has come and gone, behind which a completion too many would show.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with what is missing.
    pub(super) fn settle(&mut self, patience: Patience<'_>) -> Result<(), Stop> {
        self.wait_until(patience, Ledger::missing, Ledger::all_done)?;
        let last = self.submit_one(Kind::Plain, Request::nop())?;
        self.result(last, patience).map(drop)
    }

    /// Completions that must not have been.
    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What the rings lost, in words.
    pub(super) fn losses(&mut self) -> Vec<String> {
        let (overflow, dropped) = self.ring.lost();
        let overflow = (overflow > 0).then(|| format!("{overflow} completions found no room in the queue"));
        let dropped = (dropped > 0).then(|| format!("{dropped} requests were dropped by the kernel"));
        overflow.into_iter().chain(dropped).collect()
    }

    /// Asserts that there was none of either, at the end: how many assertions that was.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with the first few.
    pub(super) fn faultless(&mut self) -> Result<u64, Stop> {
        let mut all: Vec<String> = self.violations.iter().map(ToString::to_string).collect();
        all.extend(self.losses());
        if all.is_empty() { Ok(self.ledger.made() as u64) } else { Err(Stop::Fail(listed(&all))) }
    }
}

/// A few deviations in words; how many more there are.
pub(super) fn listed(all: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown = all.get(..SHOWN).unwrap_or(all).join("; ");
    match all.len().saturating_sub(SHOWN) {
        0 => shown,
        rest => format!("{shown}; and {rest} more"),
    }
}

/// A result in words.
pub(super) fn in_words(result: i32) -> String {
    if (-4095..0).contains(&result) {
        format!("{result} ({})", Errno::from_raw_os_error(-result))
    } else {
        result.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_with_the_meaning_of_their_number() {
        assert_eq!(in_words(100), "100");
        assert!(in_words(-22).starts_with("-22 ("), "{}", in_words(-22));
        assert_eq!(in_words(i32::MIN), i32::MIN.to_string());
    }

    #[test]
    fn many_deviations_are_cut_and_counted() {
        let all: Vec<String> = (0..15).map(|n| n.to_string()).collect();
        assert!(listed(&all).ends_with("11; and 3 more"), "{}", listed(&all));
        assert_eq!(listed(&all[..2]), "0; 1");
    }
}
