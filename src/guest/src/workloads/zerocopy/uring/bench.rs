//! A row of questions to the kernel, each with the answer that it has to give. All
//! wrong answers are told, not only the first.

use std::collections::BTreeSet;

use super::super::patience::Patience;
use super::client::{self, Client, in_words, listed};
use super::ledger::{Kind, Outcome, Violation};
use crate::context::{Context, Stop, WorkloadResult};
use crate::uring::Request;

/// Whether a result has to announce a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// It has to.
    Yes,
    /// It must not.
    No,
    /// Kernels differ. Either way the notification comes as announced.
    Either,
    /// As [`Self::Either`], but for a request that is cancelled because the one before
    /// it failed: kernels forget the announcement and notify all the same
    /// (`io_req_tw_fail_links`, io_uring/timeout.c, in 6.1 and 6.12).
    Forgotten,
}

/// What becomes of a notification that was forgotten to be announced
/// ([`More::Forgotten`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Forgotten {
    /// It is counted.
    Counted,
    /// It is a failure.
    Refused,
}

#[derive(Debug, Clone)]
struct Question {
    id: u64,
    what: String,
    result: i32,
    more: More,
}

impl Question {
    /// What is wrong with an answer.
    fn judge(&self, outcome: Outcome) -> Option<String> {
        let what = &self.what;
        if outcome.result != self.result {
            let (due, came) = (in_words(self.result), in_words(outcome.result));
            return Some(format!("{what} should come to {due}, and came to {came}"));
        }
        match (self.more, outcome.more) {
            (More::Yes, false) => Some(format!("{what} came to {} without F_MORE", outcome.result)),
            (More::No, true) => Some(format!("{what} came to {} with F_MORE", outcome.result)),
            _ => None,
        }
    }
}

/// Questions to one ring.
#[derive(Debug)]
pub(super) struct Bench {
    client: Client,
    questions: Vec<Question>,
    deviations: Vec<String>,
}

impl Bench {
    /// With this ring.
    pub(super) fn new(client: Client) -> Self {
        Self { client, questions: Vec::new(), deviations: Vec::new() }
    }

    /// The ring.
    pub(super) fn client(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Submits a request whose result is known before, without waiting for it.
    ///
    /// # Errors
    ///
    /// As [`Client::submit`].
    pub(super) fn put(
        &mut self,
        what: impl Into<String>,
        kind: Kind,
        request: Request,
        result: i32,
        more: More,
    ) -> Result<u64, Stop> {
        let id = self.client.submit_one(kind, request)?;
        self.questions.push(Question { id, what: what.into(), result, more });
        Ok(id)
    }

    /// What a request that was submitted has to come to.
    pub(super) fn due(&mut self, id: u64, what: &str, result: i32, more: More) {
        self.questions.push(Question { id, what: what.into(), result, more });
    }

    /// Submits requests together. Of each: what it is, its kind, itself, its result,
    /// and whether it is notified.
    ///
    /// # Errors
    ///
    /// As [`Client::submit`].
    pub(super) fn put_all(
        &mut self,
        requests: Vec<(&str, Kind, Request, i32, More)>,
    ) -> Result<Vec<u64>, Stop> {
        let together: Vec<(Kind, Request)> =
            requests.iter().map(|(_, kind, request, _, _)| (*kind, request.clone())).collect();
        let ids = self.client.submit(&together)?;
        for (id, (what, _, _, result, more)) in ids.iter().zip(requests) {
            self.due(*id, what, result, more);
        }
        Ok(ids)
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    ///
    /// As [`Client::result`].
    pub(super) fn ask(
        &mut self,
        what: impl Into<String>,
        request: Request,
        result: i32,
        more: More,
        patience: Patience<'_>,
    ) -> Result<Outcome, Stop> {
        let what = what.into();
        let id = self.put(what.clone(), Kind::Zerocopy, request, result, more)?;
        self.client.result(id, patience).map_err(|stop| match stop {
            Stop::Fail(text) => Stop::Fail(format!("{what}: {text}")),
            other => other,
        })
    }

    /// Notes something else that is not as it should be.
    pub(super) fn expect(&mut self, holds: bool, message: impl FnOnce() -> String) {
        if !holds {
            self.deviations.push(message());
        }
    }

    /// Ends: everything that is due arrives, and everything was right.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with all that was not.
    pub(super) fn close(self, ctx: &Context<'_>, patience: Patience<'_>) -> WorkloadResult {
        self.close_with(ctx, Forgotten::Refused, patience).map(drop)
    }

    /// The same: how many notifications were forgotten to be announced, where this is
    /// only counted.
    ///
    /// # Errors
    ///
    /// As [`Self::close`].
    pub(super) fn close_with(
        mut self,
        ctx: &Context<'_>,
        forgotten: Forgotten,
        patience: Patience<'_>,
    ) -> Result<u64, Stop> {
        match self.client.settle(patience) {
            Ok(()) => {}
            // What is missing is told below, by name.
            Err(Stop::Fail(_)) => {
                let lost: Vec<String> = self
                    .client
                    .ledger()
                    .open()
                    .map(|(id, outcome)| match outcome {
                        None => format!("{} has no result", self.name(id)),
                        Some(outcome) => format!(
                            "{} came to {} with F_MORE, and was never notified",
                            self.name(id),
                            in_words(outcome.result)
                        ),
                    })
                    .collect();
                self.deviations.extend(lost);
            }
            Err(other) => return Err(other),
        }
        let wrong: Vec<String> = self
            .questions
            .iter()
            .filter_map(|question| question.judge(self.client.ledger().outcome(question.id)?))
            .collect();
        let known = self.forgotten(forgotten);
        let violations: Vec<String> = self
            .client
            .violations()
            .iter()
            .enumerate()
            .filter(|(number, _)| !known.contains(number))
            .map(|(_, violation)| violation)
            .map(|violation| format!("{}: {violation}", self.name(violation.id())))
            .collect();
        let losses = self.client.losses();
        let all: Vec<String> =
            self.deviations.into_iter().chain(wrong).chain(violations).chain(losses).collect();
        ctx.checked(2 * self.questions.len() as u64);
        ctx.check(all.is_empty(), || listed(&all))?;
        Ok(known.len() as u64)
    }

    /// Which violations are only counted: of each such request the first.
    fn forgotten(&self, forgotten: Forgotten) -> BTreeSet<usize> {
        let mut seen = BTreeSet::new();
        let mut known = BTreeSet::new();
        for (number, violation) in self.client.violations().iter().enumerate() {
            let id = violation.id();
            let excused = self.questions.iter().any(|it| it.id == id && it.more == More::Forgotten)
                && matches!(violation, Violation::NotAnnounced { .. })
                && forgotten == Forgotten::Counted;
            if excused && seen.insert(id) {
                known.insert(number);
            }
        }
        known
    }

    fn name(&self, id: u64) -> &str {
        let question = self.questions.iter().find(|question| question.id == id);
        question.map_or("a request of no interest", |question| &question.what)
    }
}

/// Opens a ring for questions.
///
/// # Errors
///
/// As [`client::open`].
pub(super) fn open() -> Result<Bench, Stop> {
    use crate::uring::Operation;
    client::open(64, &[Operation::Send, Operation::SendMsg]).map(Bench::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(result: i32, more: More) -> Question {
        Question { id: 0, what: "a send".into(), result, more }
    }

    fn outcome(result: i32, more: bool) -> Outcome {
        Outcome { result, more, nth: 0 }
    }

    #[test]
    fn the_right_answer_is_right() {
        assert_eq!(question(-22, More::No).judge(outcome(-22, false)), None);
        assert_eq!(question(5, More::Yes).judge(outcome(5, true)), None);
        for more in [false, true] {
            assert_eq!(question(-22, More::Either).judge(outcome(-22, more)), None);
        }
    }

    #[test]
    fn a_wrong_result_and_a_wrong_flag_are_named() {
        let text = question(-22, More::No).judge(outcome(-14, false)).expect("wrong");
        assert!(text.starts_with("a send should come to -22 (") && text.contains("came to -14 ("), "{text}");
        let text = question(-14, More::Yes).judge(outcome(-14, false)).expect("wrong");
        assert_eq!(text, "a send came to -14 without F_MORE");
        let text = question(-14, More::No).judge(outcome(-14, true)).expect("wrong");
        assert_eq!(text, "a send came to -14 with F_MORE");
    }
}
