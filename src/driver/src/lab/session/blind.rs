//! What a conversation makes of a kernel whose detectors are off, and of one that
//! asks for time to complain.

use std::time::Duration;

use super::{Cause, Marks, Phase, Session};
use crate::console::{self, Finding};
use crate::lab::record::Record;

/// Longest that a kernel is given to settle after its tests at once, and how
/// often: for what is dying, and for leaks.
const LONGEST_SETTLING: Duration = Duration::from_secs(60);
const SETTLINGS: u32 = 2;

/// Since when a detector of the kernel is off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Blinded {
    pub(super) title: String,
    since: Since,
    /// The test that did it; none where none ran.
    owner: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Its start: another boot would end no better.
    Boot,
    /// A test, or the time after one.
    Tests,
}

impl Session {
    /// Gives the kernel time to complain after the last test. The guest says how
    /// long, within bounds that are ours.
    pub(super) fn settling(&mut self, at: Duration, limit: Duration) -> Result<(), String> {
        if self.running.is_some() || self.records.iter().any(Record::is_planned) {
            return Err("it waited for the kernel to settle before its tests were over".to_owned());
        }
        if self.phase != Phase::Talking || self.settled == SETTLINGS {
            return Err("it waited for the kernel to settle once too often".to_owned());
        }
        self.settled += 1;
        self.watchdog.between_tests(at, limit.min(LONGEST_SETTLING) + self.limits.no_output);
        Ok(())
    }

    /// Keeps the finding with which a detector went off, of this test or of none.
    pub(super) fn note_blindness(&mut self, finding: &Finding, owner: Option<usize>) {
        if self.blinded.is_none() && console::switches_off(finding.kind, &finding.title) {
            let in_tests = owner.is_some() || self.console_marks == Marks::Seen;
            let since = if in_tests { Since::Tests } else { Since::Boot };
            self.blinded = Some(Blinded { title: finding.title.clone(), since, owner });
        }
    }

    /// Whether a test began when one before it had switched a detector off: the
    /// guest is ahead of its kernel's log. What it says does not count.
    pub(super) fn runs_again(&self, record: &Record) -> bool {
        let since = self.blinded.as_ref().map(|blinded| blinded.since);
        record.blinded.is_some() && since == Some(Since::Tests)
    }

    /// Ends a boot in which a test switched a detector off: what still runs, and
    /// what is to come, would prove less than it seems. It runs in a fresh one.
    pub(super) fn end_if_blinded(&mut self, at: Duration) {
        let more = self.running.is_some()
            || self.records.iter().any(|it| it.is_planned() || it.is_reported() && self.runs_again(it));
        if let Some(Blinded { title, since: Since::Tests, owner }) = &self.blinded
            && more
            && owner.is_none_or(|owner| self.records[owner].is_judged())
            && self.phase == Phase::Talking
        {
            let title = title.clone();
            self.end_with(at, Cause::Blinded { title });
        }
    }

    /// Whether the boot was ended by us, and by no fault of what ran.
    pub(super) fn was_cut_off(&self) -> bool {
        matches!(self.cause, Some(Cause::Blinded { .. })) && self.fatal.is_none()
    }
}
