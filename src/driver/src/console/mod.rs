//! From the bytes of a kernel console to findings. Pure: no I/O, no clocks.
//!
//! `line` makes clean lines of bytes, `rules` knows which of them begin a
//! report, `block` collects a report, `stack` and `title` read and name it, and
//! `scanner` puts them together. New formats cost a rule and a log in
//! `testdata/console`.

mod block;
#[cfg(test)]
mod corpus;
mod line;
mod place;
mod rules;
mod scanner;
mod stack;
#[cfg(test)]
mod tests;
mod title;
mod virtme;
mod work;

pub use place::{Frame, Place, PlaceKind, SourceLine};
pub use rules::{expected, never_allowed, switches_off, title_begins};
pub use scanner::Scanner;

/// Functions of a stack that make a fingerprint. With more, callers that have
/// nothing to do with the bug tell equal bugs apart.
const FINGERPRINT: usize = 5;

use crate::model::Allowance;

/// Something in the kernel log that must not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which class of wrong.
    pub kind: FindingKind,
    /// The line that names it, without time stamps, addresses, process numbers
    /// and offsets: equal bugs have equal titles.
    pub title: String,
    /// Function names of its stack, innermost first; may be empty.
    pub stack: Vec<String>,
    /// More about each function of the stack, in its order.
    pub frames: Vec<Frame>,
    /// Byte offset of its first line in the console log.
    pub start: u64,
    /// Byte offset behind its last line.
    pub end: u64,
    /// Why it turns nothing red; the classifier itself allows nothing.
    pub allowed: Option<Allowance>,
}

impl Finding {
    /// What equal bugs have in common, whatever they were called: the five
    /// innermost functions, joined with `:`, without those that only wait or take
    /// a lock for the others; the title where there is no stack.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        if self.stack.is_empty() {
            return self.title.clone();
        }
        stack::cause(&self.stack).iter().take(FINGERPRINT).map(String::as_str).collect::<Vec<_>>().join(":")
    }
}

/// Classes of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// `Kernel panic - not syncing`.
    Panic,
    /// A fault in kernel mode.
    Oops,
    /// `BUG()`, corrupted lists or slabs, bad pages.
    Bug,
    /// `WARN()`.
    Warning,
    /// A lock order or context that may deadlock.
    Lockdep,
    /// A sanitiser's report.
    Sanitizer,
    /// A task, CPU, worker or grace period that makes no progress.
    Hang,
    /// A reference or object that was not given back.
    Leak,
    /// The OOM killer or a failed allocation.
    Memory,
    /// The kernel began anew in the middle of the log.
    Reboot,
    /// A detector gave up or the log has a hole: that nothing was found after
    /// it proves nothing.
    Blind,
}

impl FindingKind {
    /// Every kind, in the order of the declaration.
    pub const ALL: [Self; 11] = [
        Self::Panic,
        Self::Oops,
        Self::Bug,
        Self::Warning,
        Self::Lockdep,
        Self::Sanitizer,
        Self::Hang,
        Self::Leak,
        Self::Memory,
        Self::Reboot,
        Self::Blind,
    ];

    /// As written in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Oops => "oops",
            Self::Bug => "bug",
            Self::Warning => "warning",
            Self::Lockdep => "lockdep",
            Self::Sanitizer => "sanitizer",
            Self::Hang => "hang",
            Self::Leak => "leak",
            Self::Memory => "memory",
            Self::Reboot => "reboot",
            Self::Blind => "blind",
        }
    }
}

/// What a [`Scanner`] hands out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A finding, complete or as far as it came.
    Finding(Finding),
    /// A line that the guest wrote into the kernel log.
    Marker(Marker),
    /// The init of a guest that is not ours says that it will start nothing: why, and
    /// what helps. It may go on doing nothing for ever.
    GaveUp(String),
}

/// A line of the guest in the kernel log, behind [`kregress_wire::MARKER`]. The
/// guest is not trusted: whoever can write `/dev/kmsg` there can write these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Marker {
    /// `begin ID NAME`: what follows belongs to this test.
    Begin {
        /// [`kregress_wire::PlannedTest::id`].
        id: u32,
        /// [`kregress_wire::PlannedTest::name`].
        name: String,
        /// Byte offset behind the marker's line.
        at: u64,
    },
    /// `end ID WORD`: what follows belongs to no test.
    End {
        /// [`kregress_wire::PlannedTest::id`].
        id: u32,
        /// How it ended.
        word: String,
        /// Byte offset of the marker's line.
        at: u64,
    },
    /// Anything else.
    Other(String),
}
