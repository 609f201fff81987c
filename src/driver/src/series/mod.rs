//! Patch series: from what a user names to a checked row of patches on a base.
//!
//! ```text
//! BASE..TIP -------------------------> history ------------------+
//! mbox, .patch, directory -> mails -> letters -> ordered -> base -> commits -> Series
//! ```
//!
//! What mails mean is decided here, by pure functions; how they are encoded, and
//! whether a patch applies, is for git, which `kernel::Bench` calls. Nothing here
//! builds or boots, and nothing is written but into the cache: a patch of a mail
//! is a commit that the user's repository does not have, and still a revision that
//! `kernel::obtain` builds.

mod asked;
pub mod checked;
mod collect;
mod error;
mod hunk;
pub mod judge;
mod letter;
mod order;
mod refusal;
pub mod stored;
mod subject;
mod trailer;

use std::fmt;

pub use asked::{Asked, Range};
pub use collect::read;
pub use error::SeriesError;
pub use hunk::Hunk;
pub use letter::{Flow, Place};
pub use order::Named;
pub use refusal::{Refusal, Remark, Trouble};

/// Patches on a base. Subjects, names, files and texts are of whoever wrote them:
/// they may hold any character.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Series {
    /// What the first patch is put on.
    pub base: Base,
    /// What was written about all of them.
    pub cover: Option<Cover>,
    /// In their order; never empty. Behind one that was refused none was tried.
    pub patches: Vec<Patch>,
    /// What the user should know, in sentences.
    pub notes: Vec<Note>,
}

/// The commit that a series begins at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// All digits of it.
    pub commit: String,
    /// Hash of its tree.
    pub tree: String,
    /// First line of its message.
    pub subject: String,
}

/// A cover letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cover {
    /// Without what is in brackets before it.
    pub subject: String,
    /// All of it, without the signature.
    pub text: String,
}

/// One patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patch {
    /// From 1; of a patch that is alone the number in its subject.
    pub number: u32,
    /// Without what is in brackets before it.
    pub subject: String,
    /// `Name <email>`; none of a bare diff.
    pub author: Option<String>,
    /// When it was written, as in ISO 8601; none where nobody says so.
    pub date: Option<String>,
    /// Files that it touches; none of a patch that git cannot read.
    pub files: Vec<String>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is a commit, of the user's or of our own.
    Committed {
        /// All digits of it.
        commit: String,
        /// Hash of its tree.
        tree: String,
    },
    /// It does not apply.
    Refused(Refusal),
    /// One before it does not apply.
    NotReached,
}

/// Something about a series that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A mail that is not one of the patches.
    LeftOut(LeftOut),
    /// A patch of several that was named alone.
    Alone {
        /// Which.
        number: u32,
        /// Of how many.
        total: u32,
    },
    /// The user's base has commits that the series does not begin after.
    BaseMoved {
        /// As given.
        base: String,
        /// Where the series leaves it.
        fork: String,
    },
    /// The mails name another base than the user.
    BaseOverridden {
        /// What the mails say.
        commit: String,
        /// Where.
        place: Place,
    },
    /// Patches that the series says are needed first.
    Prerequisites(Vec<String>),
}

/// A mail that is not one of the patches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Its title.
    pub subject: String,
    /// Where it is.
    pub place: Place,
    /// Why it is none.
    pub why: Why,
}

/// Why a mail is no patch of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It answers one, or passes it on.
    Reply,
    /// There is none in it.
    NoDiff,
    /// The same mail came before.
    Twice,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self.why {
            Why::Reply => "an answer",
            Why::NoDiff => "no patch",
            Why::Twice => "there before",
        };
        write!(f, "{}, `{}`, is {why}", self.place, self.subject)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeftOut(left) => write!(f, "{left}, and left out"),
            Self::Alone { number, total } => write!(f, "this is patch {number} of {total} alone"),
            Self::BaseMoved { base, fork } => {
                write!(f, "`{base}` has moved on: the series begins at {}", short(fork))
            }
            Self::BaseOverridden { commit, place } => {
                write!(f, "{place} is for commit {}, and another one was asked for", short(commit))
            }
            Self::Prerequisites(patches) => {
                let count = match patches.len() {
                    1 => "a patch".to_owned(),
                    count => format!("{count} patches"),
                };
                let ids: Vec<_> = patches.iter().map(|id| short(id)).collect();
                write!(f, "the series needs {count} that it does not have: patch-id {}", ids.join(", "))
            }
        }
    }
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}
