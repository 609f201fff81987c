//! What the completions of a ring may be: one result for each request, and one
//! notification behind it if and only if the result announced it.
//!
//! Pure. A completion that may not be is named; the ledger goes on with the
//! others, so that a test can name all.

use std::collections::BTreeMap;

use crate::uring::{self, Completion};

/// What a request is, as far as its completions go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Has one completion.
    Plain,
    /// `SEND_ZC` or `SENDMSG_ZC`.
    Zerocopy,
    /// The same with `IORING_SEND_ZC_REPORT_USAGE`.
    Reporting,
}

/// The first completion of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Bytes, or a negative error number.
    pub(super) result: i32,
    /// Whether a notification was announced.
    pub(super) more: bool,
    /// Results of the ring that came before it.
    pub(super) nth: usize,
}

/// The second one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Notice {
    /// Whether the kernel says that it copied.
    pub(super) copied: bool,
    /// When it was read.
    pub(super) at_ns: u64,
}

/// A completion that must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Violation {
    /// Nobody asked for it.
    #[error("a completion of request `{}` arrived, which was never made: result {}, flags {:#x}", .0.id, .0.result, .0.flags)]
    Unknown(Completion),
    /// Flags that such a completion does not have.
    #[error("request {} was completed with flags `{:#x}` and result {}", .0.id, .0.flags, .0.result)]
    Flags(Completion),
    /// One that is no send announced more.
    #[error("request {} is no zerocopy send, and its completion has F_MORE (result {})", .0.id, .0.result)]
    MoreOfPlain(Completion),
    /// A second result.
    #[error("request {} was completed twice: with {first} and with {}", .second.id, .second.result)]
    ResultTwice {
        /// Result of the first one.
        first: i32,
        /// The other.
        second: Completion,
    },
    /// A notification before the result.
    #[error("the notification of request {} came before its result", .0.id)]
    NotificationFirst(Completion),
    /// A notification that was not announced.
    #[error("request {} was completed with {result} and without F_MORE, and then notified all the same", .notification.id)]
    NotAnnounced {
        /// Result of the request.
        result: i32,
        /// The notification.
        notification: Completion,
    },
    /// A second notification.
    #[error("request {} was notified twice", .0.id)]
    NotificationTwice(Completion),
    /// A notification whose result says what it cannot say.
    #[error("the notification of request {} has result `{:#x}`{}", .0.id, .0.result, if *.1 == Kind::Reporting { "" } else { ", and no usage report was asked for" })]
    Usage(Completion, Kind),
}

impl Violation {
    /// Number of the request.
    pub(super) fn id(&self) -> u64 {
        match self {
            Self::Unknown(it)
            | Self::Flags(it)
            | Self::MoreOfPlain(it)
            | Self::NotificationFirst(it)
            | Self::NotificationTwice(it)
            | Self::Usage(it, _)
            | Self::ResultTwice { second: it, .. }
            | Self::NotAnnounced { notification: it, .. } => it.id,
        }
    }
}

#[derive(Debug, Clone)]
struct Account {
    kind: Kind,
    since_ns: u64,
    outcome: Option<Outcome>,
    notice: Option<Notice>,
}

impl Account {
    fn settled(&self) -> bool {
        self.outcome.is_some_and(|outcome| !outcome.more || self.notice.is_some())
    }
}

/// The requests of one ring and their completions.
#[derive(Debug, Clone, Default)]
pub(super) struct Ledger {
    accounts: BTreeMap<u64, Account>,
    settled: usize,
    results: usize,
}

impl Ledger {
    /// Enters a request, and gives it its number.
    pub(super) fn submitted(&mut self, kind: Kind, now_ns: u64) -> u64 {
        let id = self.accounts.len() as u64;
        self.accounts.insert(id, Account { kind, since_ns: now_ns, outcome: None, notice: None });
        id
    }

    /// Requests so far.
    pub(super) fn made(&self) -> usize {
        self.accounts.len()
    }

    /// Takes a completion.
    ///
    /// # Errors
    ///
    /// One that must not be. What it says for certain is taken all the same.
    pub(super) fn take(&mut self, completion: Completion, now_ns: u64) -> Result<(), Violation> {
        let Some(account) = self.accounts.get_mut(&completion.id) else {
            return Err(Violation::Unknown(completion));
        };
        let before = account.settled();
        let taken = if completion.flags & uring::NOTIFICATION == 0 {
            let nth = self.results;
            self.results += 1;
            result(account, completion, nth)
        } else {
            notification(account, completion, now_ns)
        };
        self.settled += usize::from(account.settled() && !before);
        taken
    }

    /// Result of a request, once it is there.
    pub(super) fn outcome(&self, id: u64) -> Option<Outcome> {
        self.accounts.get(&id)?.outcome
    }

    /// Notification of a request, once it is there.
    pub(super) fn notice(&self, id: u64) -> Option<Notice> {
        self.accounts.get(&id)?.notice
    }

    /// When a request was submitted.
    pub(super) fn since_ns(&self, id: u64) -> u64 {
        self.accounts.get(&id).map_or(0, |account| account.since_ns)
    }

    /// Whether everything that belongs to a request has arrived: then its buffer is
    /// its owner's again.
    pub(super) fn done(&self, id: u64) -> bool {
        self.accounts.get(&id).is_none_or(Account::settled)
    }

    /// Whether that is so of all.
    pub(super) fn all_done(&self) -> bool {
        self.settled == self.accounts.len()
    }

    /// Requests of which something has not arrived, with their results.
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, Option<Outcome>)> {
        let open = self.accounts.iter().filter(|(_, account)| !account.settled());
        open.map(|(id, account)| (*id, account.outcome))
    }

    /// What has not arrived, in words.
    pub(super) fn missing(&self) -> String {
        const SHOWN: usize = 6;
        let open: Vec<String> = self
            .open()
            .map(|(id, outcome)| match outcome {
                None => format!("the result of request {id}"),
                Some(outcome) => format!(
                    "the notification of request {id}, which was completed with {} and F_MORE",
                    outcome.result
                ),
            })
            .collect();
        let rest = open.len().saturating_sub(SHOWN);
        let shown = open.get(..SHOWN).unwrap_or(&open).join(", ");
        if rest == 0 { shown } else { format!("{shown} and {rest} more") }
    }
}

fn result(account: &mut Account, completion: Completion, nth: usize) -> Result<(), Violation> {
    if completion.flags & !uring::MORE != 0 {
        return Err(Violation::Flags(completion));
    }
    let more = completion.flags & uring::MORE != 0;
    if let Some(first) = account.outcome {
        return Err(Violation::ResultTwice { first: first.result, second: completion });
    }
    // Taken all the same: the request has its result.
    account.outcome =
        Some(Outcome { result: completion.result, more: more && account.kind != Kind::Plain, nth });
    if more && account.kind == Kind::Plain {
        return Err(Violation::MoreOfPlain(completion));
    }
    Ok(())
}

fn notification(account: &mut Account, completion: Completion, now_ns: u64) -> Result<(), Violation> {
    if completion.flags != uring::NOTIFICATION {
        return Err(Violation::Flags(completion));
    }
    let Some(outcome) = account.outcome else { return Err(Violation::NotificationFirst(completion)) };
    if !outcome.more {
        return Err(Violation::NotAnnounced { result: outcome.result, notification: completion });
    }
    if account.notice.is_some() {
        return Err(Violation::NotificationTwice(completion));
    }
    let usage = completion.result.cast_unsigned();
    let copied = usage == uring::COPIED;
    // Whatever it says, the buffer is free.
    account.notice = Some(Notice { copied, at_ns: now_ns });
    if usage != 0 && !(copied && account.kind == Kind::Reporting) {
        return Err(Violation::Usage(completion, account.kind));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COPIED: i32 = i32::MIN;

    fn completion(id: u64, result: i32, flags: u32) -> Completion {
        Completion { id, result, flags }
    }

    fn done(id: u64, result: i32) -> Completion {
        completion(id, result, uring::MORE)
    }

    fn notice(id: u64, result: i32) -> Completion {
        completion(id, result, uring::NOTIFICATION)
    }

    fn with(kinds: &[Kind]) -> Ledger {
        let mut ledger = Ledger::default();
        for kind in kinds {
            ledger.submitted(*kind, 0);
        }
        ledger
    }

    #[test]
    fn a_send_is_done_when_its_announced_notification_is_there() {
        let mut ledger = with(&[Kind::Zerocopy]);
        assert_eq!(ledger.missing(), "the result of request 0");
        ledger.take(done(0, 100), 5).expect("a result");
        assert!(!ledger.done(0) && !ledger.all_done());
        assert_eq!(
            ledger.missing(),
            "the notification of request 0, which was completed with 100 and F_MORE"
        );
        ledger.take(notice(0, 0), 9).expect("a notification");
        assert!(ledger.done(0) && ledger.all_done());
        assert_eq!(ledger.outcome(0), Some(Outcome { result: 100, more: true, nth: 0 }));
        assert_eq!(ledger.notice(0), Some(Notice { copied: false, at_ns: 9 }));
        assert_eq!(ledger.missing(), "");
    }

    #[test]
    fn a_send_without_announcement_is_done_at_once() {
        let mut ledger = with(&[Kind::Zerocopy, Kind::Plain]);
        ledger.take(completion(0, -22, 0), 0).expect("a result");
        ledger.take(completion(1, 0, 0), 0).expect("a result");
        assert_eq!(ledger.outcome(1).map(|outcome| outcome.nth), Some(1));
        assert!(ledger.all_done());
        let second = notice(0, 0);
        let error = ledger.take(second, 0).expect_err("not announced");
        assert_eq!(error, Violation::NotAnnounced { result: -22, notification: second });
        assert_eq!(
            error.to_string(),
            "request 0 was completed with -22 and without F_MORE, and then notified all the same"
        );
    }

    #[test]
    fn every_completion_comes_once_and_in_its_order() {
        let mut ledger = with(&[Kind::Zerocopy]);
        assert_eq!(ledger.take(notice(0, 0), 0), Err(Violation::NotificationFirst(notice(0, 0))));
        ledger.take(done(0, 1), 0).expect("a result");
        let twice = Violation::ResultTwice { first: 1, second: done(0, 2) };
        assert_eq!(ledger.take(done(0, 2), 0), Err(twice));
        ledger.take(notice(0, 0), 0).expect("a notification");
        assert_eq!(ledger.take(notice(0, 0), 0), Err(Violation::NotificationTwice(notice(0, 0))));
        assert_eq!(ledger.take(done(9, 0), 0), Err(Violation::Unknown(done(9, 0))));
    }

    #[test]
    fn usage_is_reported_only_where_it_was_asked_for() {
        let mut ledger = with(&[Kind::Zerocopy, Kind::Reporting, Kind::Reporting, Kind::Reporting]);
        for id in 0..4 {
            ledger.take(done(id, 1), 0).expect("a result");
        }
        let error = ledger.take(notice(0, COPIED), 0).expect_err("not asked for");
        assert_eq!(
            error.to_string(),
            "the notification of request 0 has result `0x80000000`, and no usage report was asked for"
        );
        ledger.take(notice(1, COPIED), 0).expect("copied");
        ledger.take(notice(2, 0), 0).expect("not copied");
        assert_eq!(ledger.notice(1).map(|notice| notice.copied), Some(true));
        assert_eq!(ledger.notice(2).map(|notice| notice.copied), Some(false));
        assert_eq!(ledger.take(notice(3, 7), 0), Err(Violation::Usage(notice(3, 7), Kind::Reporting)));
        assert!(ledger.all_done(), "a wrong notification frees the buffer all the same");
    }

    #[test]
    fn flags_that_do_not_belong_there_are_named() {
        let mut ledger = with(&[Kind::Zerocopy, Kind::Plain]);
        for flags in [1, 4, 16, uring::MORE | 4] {
            let wrong = completion(0, 0, flags);
            assert_eq!(ledger.take(wrong, 0), Err(Violation::Flags(wrong)));
        }
        assert_eq!(ledger.take(done(1, 0), 0), Err(Violation::MoreOfPlain(done(1, 0))));
        assert!(ledger.done(1));
        ledger.take(done(0, 0), 0).expect("a result");
        let both = completion(0, 0, uring::NOTIFICATION | uring::MORE);
        assert_eq!(ledger.take(both, 0), Err(Violation::Flags(both)));
    }

    #[test]
    fn a_long_list_of_what_is_missing_is_cut() {
        let text = with(&[Kind::Plain; 9]).missing();
        assert!(text.ends_with("the result of request 5 and 3 more"), "{text}");
    }

    proptest! {
        #[test]
        fn any_order_of_right_completions_settles_everything(
            sends in prop::collection::vec((any::<i32>(), any::<bool>()), 1..40),
            keys in prop::collection::vec(any::<u32>(), 80),
            lost: prop::sample::Index,
        ) {
            let mut ledger = with(&vec![Kind::Reporting; sends.len()]);
            let mut stream: Vec<(u32, Completion)> = Vec::new();
            for (n, (result, more)) in sends.iter().enumerate() {
                let (id, first) = (n as u64, keys[2 * n] / 2);
                stream.push((first, completion(id, *result, if *more { uring::MORE } else { 0 })));
                if *more {
                    // Somewhere behind its result.
                    let behind = first + 1 + keys[2 * n + 1] / 2 % (u32::MAX / 2 - first / 2);
                    stream.push((behind, notice(id, if n % 2 == 0 { 0 } else { COPIED })));
                }
            }
            stream.sort_by_key(|(key, _)| *key);
            let last = stream.remove(lost.index(stream.len())).1;
            for (_, completion) in &stream {
                if completion.id != last.id {
                    prop_assert_eq!(ledger.take(*completion, 0), Ok(()));
                }
            }
            prop_assert!(!ledger.all_done(), "one is lost");
            let open: Vec<u64> = ledger.open().map(|(id, _)| id).collect();
            prop_assert_eq!(open, vec![last.id]);
        }

        #[test]
        fn no_completion_makes_it_panic_or_settle_twice(
            completions in prop::collection::vec((0_u64..5, any::<i32>(), 0_u32..32), 0..60),
        ) {
            let mut ledger = with(&[Kind::Plain, Kind::Zerocopy, Kind::Reporting, Kind::Zerocopy]);
            for (id, result, flags) in completions {
                let _ = ledger.take(completion(id, result, flags), 0);
                let open = (0..4).filter(|id| !ledger.done(*id)).count();
                prop_assert_eq!(ledger.all_done(), open == 0);
                prop_assert_eq!(ledger.missing().is_empty(), open == 0);
            }
        }
    }
}
