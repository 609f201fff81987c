//! What listeners have to hear about numbers, against what they heard. Pure.
//!
//! Notices about one number come in order; between numbers the order says
//! nothing: namespaces that die together are taken in no particular order.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use netlink_packet_route::RouteNetlinkMessage;

use crate::netlink::{Notice, nsid};

/// What happened to a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It was given: `RTM_NEWNSID`.
    Given,
    /// It ended: `RTM_DELNSID`.
    Ended,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Given => "RTM_NEWNSID",
            Self::Ended => "RTM_DELNSID",
        }
    }
}

/// A number, and whose it is: `from` is the number that the listener has for
/// that namespace, `None` for its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    /// Where the number is valid.
    pub(super) from: Option<i32>,
    /// The number.
    pub(super) id: i32,
}

/// What one listener has to hear.
#[derive(Debug, Default)]
pub(super) struct Ledger(BTreeMap<Line, Entry>);

/// What has to be heard of one number.
#[derive(Debug, Default)]
struct Entry {
    /// All of it, in this order.
    must: Vec<Fate>,
    /// Then perhaps this.
    may: Option<Fate>,
}

impl Entry {
    fn agrees(&self, heard: &[Fate]) -> bool {
        match heard.strip_prefix(&self.must[..]) {
            Some([]) => true,
            Some([last]) => Some(*last) == self.may,
            _ => false,
        }
    }
}

impl Ledger {
    /// This has to be heard, once.
    pub(super) fn expect(&mut self, line: Line, fate: Fate) {
        self.0.entry(line).or_default().must.push(fate);
    }

    /// This may be heard, once and after all else.
    pub(super) fn allow(&mut self, line: Line, fate: Fate) {
        self.0.entry(line).or_default().may = Some(fate);
    }

    /// How many notices have to come.
    pub(super) fn count(&self) -> usize {
        self.0.values().map(|entry| entry.must.len()).sum()
    }

    /// Compares with what was heard, and begins anew.
    ///
    /// # Errors
    ///
    /// What is missing and what is too much, in words.
    pub(super) fn settle(&mut self, heard: &[Notice]) -> Result<(), String> {
        let expected = std::mem::take(&mut self.0);
        let mut seen: BTreeMap<Line, Vec<Fate>> = BTreeMap::new();
        for notice in heard {
            let (line, fate) = read(notice)?;
            seen.entry(line).or_default().push(fate);
        }
        let lines = expected.keys().chain(seen.keys().filter(|line| !expected.contains_key(line)));
        let (nothing, silence) = (Entry::default(), Vec::new());
        let wrong: Vec<String> = lines
            .filter_map(|line| {
                let wanted = expected.get(line).unwrap_or(&nothing);
                let got = seen.get(line).unwrap_or(&silence);
                (!wanted.agrees(got)).then(|| {
                    let place = line.from.map_or(String::new(), |from| format!(" of namespace {from}"));
                    let wanted = list(&wanted.must);
                    format!("number {}{place}: expected {wanted}, heard {}", line.id, list(got))
                })
            })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(summary(&wrong)) }
    }
}

/// What a notice says.
fn read(notice: &Notice) -> Result<(Line, Fate), String> {
    let (fate, message) = match &notice.message {
        RouteNetlinkMessage::NewNsId(message) => (Fate::Given, message),
        RouteNetlinkMessage::DelNsId(message) => (Fate::Ended, message),
        other => return Err(format!("a notice of another kind: {other:?}")),
    };
    let id = nsid::id(message).ok_or_else(|| format!("a notice without number: {message:?}"))?;
    Ok((Line { from: notice.from, id }, fate))
}

/// Numbers were given and ended in no order that is known, and none is left: as
/// many ends as beginnings for each. How many.
///
/// The order says nothing here. `unhash_nsid` frees a number first and tells
/// afterwards, so that it may be given again before; `peernet2id_alloc` lets go
/// of the namespace before it tells.
///
/// # Errors
///
/// What does not come out even, in words.
pub(super) fn balance(heard: &[Notice]) -> Result<usize, String> {
    let mut counts: BTreeMap<Line, (usize, usize)> = BTreeMap::new();
    for notice in heard {
        let (line, fate) = read(notice)?;
        let (given, ended) = counts.entry(line).or_default();
        match fate {
            Fate::Given => *given += 1,
            Fate::Ended => *ended += 1,
        }
    }
    let uneven = counts.iter().filter(|(_, (given, ended))| given != ended);
    let uneven: Vec<String> = uneven
        .map(|(line, (given, ended))| {
            format!("number {} was given {given} times and ended {ended} times", line.id)
        })
        .collect();
    if uneven.is_empty() { Ok(counts.values().map(|(given, _)| given).sum()) } else { Err(summary(&uneven)) }
}

fn list(fates: &[Fate]) -> String {
    if fates.is_empty() {
        return "nothing".into();
    }
    fates.iter().map(|fate| fate.name()).collect::<Vec<_>>().join(" ")
}

/// The first few, and how many there are.
fn summary(wrong: &[String]) -> String {
    const SHOWN: usize = 5;
    let mut text = wrong.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if wrong.len() > SHOWN {
        // Writing to a string does not fail.
        let _ = write!(text, "; and {} more", wrong.len() - SHOWN);
    }
    text
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::nsid::{NsidAttribute, NsidMessage};
    use proptest::prelude::*;

    use super::*;

    fn notice(from: Option<i32>, id: i32, fate: Fate) -> Notice {
        let mut message = NsidMessage::default();
        message.attributes = vec![NsidAttribute::Id(id)];
        let message = match fate {
            Fate::Given => RouteNetlinkMessage::NewNsId(message),
            Fate::Ended => RouteNetlinkMessage::DelNsId(message),
        };
        Notice { message, from }
    }

    fn of(lines: &[(Option<i32>, i32, Fate)]) -> Ledger {
        let mut ledger = Ledger::default();
        for (from, id, fate) in lines {
            ledger.expect(Line { from: *from, id: *id }, *fate);
        }
        ledger
    }

    fn wrong(lines: &[(Option<i32>, i32, Fate)], heard: &[Notice]) -> String {
        of(lines).settle(heard).expect_err("differs")
    }

    #[test]
    fn a_notice_that_never_came_is_told() {
        let text = wrong(&[(None, 7, Fate::Ended)], &[]);
        assert_eq!(text, "number 7: expected RTM_DELNSID, heard nothing");
    }

    #[test]
    fn a_notice_that_came_twice_is_told() {
        let twice = [notice(None, 7, Fate::Ended), notice(None, 7, Fate::Ended)];
        let text = wrong(&[(None, 7, Fate::Ended)], &twice);
        assert_eq!(text, "number 7: expected RTM_DELNSID, heard RTM_DELNSID RTM_DELNSID");
    }

    #[test]
    fn a_notice_from_elsewhere_is_not_ones_own() {
        let text = wrong(&[(None, 7, Fate::Ended)], &[notice(Some(3), 7, Fate::Ended)]);
        assert_eq!(
            text,
            "number 7: expected RTM_DELNSID, heard nothing; \
             number 7 of namespace 3: expected nothing, heard RTM_DELNSID"
        );
    }

    #[test]
    fn an_end_before_the_beginning_is_told() {
        let lines = [(None, 7, Fate::Given), (None, 7, Fate::Ended)];
        let text = wrong(&lines, &[notice(None, 7, Fate::Ended), notice(None, 7, Fate::Given)]);
        assert_eq!(text, "number 7: expected RTM_NEWNSID RTM_DELNSID, heard RTM_DELNSID RTM_NEWNSID");
    }

    #[test]
    fn what_is_allowed_may_come_once_and_only_at_the_end() {
        let heard = |fates: &[Fate]| {
            let mut ledger = of(&[(None, 7, Fate::Given)]);
            ledger.allow(Line { from: None, id: 7 }, Fate::Ended);
            let heard: Vec<_> = fates.iter().map(|fate| notice(None, 7, *fate)).collect();
            ledger.settle(&heard).is_ok()
        };
        use Fate::{Ended, Given};
        assert!(heard(&[Given]) && heard(&[Given, Ended]));
        assert!(!heard(&[Given, Ended, Ended]) && !heard(&[Ended, Given]) && !heard(&[Given, Given]));
        assert!(!heard(&[]) && !heard(&[Ended]));
    }

    #[test]
    fn many_deviations_are_counted_and_few_are_shown() {
        let lines: Vec<_> = (0..20).map(|id| (None, id, Fate::Given)).collect();
        let text = wrong(&lines, &[]);
        assert!(text.ends_with("; and 15 more"), "{text}");
    }

    #[test]
    fn a_ledger_is_empty_after_it_was_settled() {
        let mut ledger = of(&[(None, 7, Fate::Given)]);
        assert_eq!(ledger.count(), 1);
        assert_eq!(ledger.settle(&[notice(None, 7, Fate::Given)]), Ok(()));
        assert_eq!((ledger.count(), ledger.settle(&[])), (0, Ok(())));
    }

    #[test]
    fn a_notice_of_another_kind_is_told() {
        let message = RouteNetlinkMessage::NewLink(netlink_packet_route::link::LinkMessage::default());
        let text = Ledger::default().settle(&[Notice { message, from: None }]).expect_err("a link");
        assert!(text.starts_with("a notice of another kind: "), "{text}");
    }

    #[test]
    fn what_is_given_has_to_end_as_often() {
        use Fate::{Ended, Given};
        let of =
            |fates: &[Fate]| balance(&fates.iter().map(|fate| notice(None, 7, *fate)).collect::<Vec<_>>());
        assert_eq!((of(&[]), of(&[Given, Ended, Given, Ended])), (Ok(0), Ok(2)));
        // The next one before the end of the one before, and an end too soon.
        assert_eq!((of(&[Given, Given, Ended, Ended]), of(&[Ended, Given])), (Ok(2), Ok(1)));
        assert_eq!(of(&[Given]), Err("number 7 was given 1 times and ended 0 times".into()));
        assert_eq!(of(&[Given, Ended, Ended]), Err("number 7 was given 1 times and ended 2 times".into()));
    }

    proptest! {
        #[test]
        fn any_order_between_numbers_is_right_and_any_loss_is_not(
            ids in proptest::collection::btree_set(any::<i32>(), 1..20), seed: u64, lost: prop::sample::Index,
        ) {
            let lines: Vec<_> =
                ids.iter().flat_map(|id| [(None, *id, Fate::Given), (None, *id, Fate::Ended)]).collect();
            let mut ends: Vec<_> = ids.iter().map(|id| notice(None, *id, Fate::Ended)).collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut ends);
            let mut heard: Vec<_> = ids.iter().map(|id| notice(None, *id, Fate::Given)).collect();
            heard.append(&mut ends);
            prop_assert_eq!(of(&lines).settle(&heard), Ok(()));
            heard.remove(lost.index(heard.len()));
            prop_assert!(of(&lines).settle(&heard).is_err());
        }
    }
}
