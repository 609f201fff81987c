//! The cases that a test reported of itself, several boots put together, and their
//! words. Pure.

use std::collections::HashMap;

use super::cases::Case;
use super::text_safety;
use crate::model::{SubtestCounts, SubtestVerdict};
use crate::results::{Standing, Subtest, Turn};

/// A case in all boots of its test.
#[derive(Debug)]
pub(crate) struct Told<'a> {
    /// As the boot said in which it went worst.
    pub(crate) subtest: &'a Subtest,
    /// Boots in which it went like that, and in which it was seen.
    pub(crate) like_this: usize,
    pub(crate) seen: usize,
}

impl Told<'_> {
    /// Its name, fit for a report.
    pub(crate) fn name(&self) -> String {
        text_safety::name(self.subtest.name())
    }

    /// What is said of its verdict, and in how many boots where that is not all.
    pub(crate) fn reason(&self) -> String {
        let boots = match (self.like_this, self.seen) {
            (like_this, seen) if like_this < seen => format!("{like_this} of {seen} boots"),
            _ => String::new(),
        };
        let parts = [boots, text_safety::title(&self.subtest.reason)];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ")
    }

    pub(crate) fn is_wrong(&self) -> bool {
        matches!(self.subtest.verdict, SubtestVerdict::Fail | SubtestVerdict::Error)
    }
}

/// How grave a verdict is: a failure that one boot saw happened.
fn gravity(verdict: SubtestVerdict) -> u8 {
    match verdict {
        SubtestVerdict::Fail => 5,
        SubtestVerdict::Error => 4,
        SubtestVerdict::Xfail => 3,
        SubtestVerdict::Todo => 2,
        SubtestVerdict::Skip => 1,
        SubtestVerdict::Pass => 0,
    }
}

/// Every case of a test, in the order in which they were reported first.
pub(crate) fn of_case<'a>(case: &Case<'a>) -> Vec<Told<'a>> {
    let mut told: Vec<Told<'a>> = Vec::new();
    let mut index: HashMap<&[String], usize> = HashMap::new();
    let speakers = case.turns.iter().filter_map(|turn: &Turn<'a>| match turn.standing {
        // What a later attempt made good is told of the test.
        Standing::Flaky => turn.attempts.last().copied(),
        _ => Some(turn.speaker()),
    });
    for subtest in speakers.flat_map(|result| &result.subtests) {
        let at = *index.entry(&subtest.path).or_insert(told.len());
        match told.get_mut(at) {
            None => told.push(Told { subtest, like_this: 1, seen: 1 }),
            Some(known) => {
                known.seen += 1;
                if subtest.verdict == known.subtest.verdict {
                    known.like_this += 1;
                } else if gravity(subtest.verdict) > gravity(known.subtest.verdict) {
                    (known.subtest, known.like_this) = (subtest, 1);
                }
            }
        }
    }
    told
}

/// `7 subtests: 5 passed, 1 failed, 1 skipped`; none where there are none.
pub(crate) fn counted(told: &[Told<'_>]) -> Option<String> {
    let counts = SubtestCounts::of(told.iter().map(|it| it.subtest.verdict));
    (counts.total() > 0).then(|| counts.text())
}

/// Those that went wrong.
pub(crate) fn wrong<'a, 'b>(told: &'b [Told<'a>]) -> Vec<&'b Told<'a>> {
    told.iter().filter(|it| it.is_wrong()).collect()
}

#[cfg(test)]
#[path = "subtests_tests.rs"]
mod tests;
