//! Why there is no series.

use std::path::{Path, PathBuf};

use super::asked::Range;
use super::letter::Place;
use super::order::Named;
use super::{LeftOut, Why, short};
use crate::kernel::{Fault, HistoryError, KernelProblem};

/// Why what the user named is no series.
#[derive(Debug, thiserror::Error)]
pub enum SeriesError {
    /// A repository, a revision, a file of the cache, or git.
    #[error(transparent)]
    Problem(#[from] KernelProblem),
    /// A history that cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// A file with mails that git cannot read.
    #[error("`{}`: {problem}", path.display())]
    Mail {
        /// Which.
        path: PathBuf,
        /// Why not.
        problem: KernelProblem,
    },
    /// A word that is nothing.
    #[error(
        "`{word}` is neither a range of commits nor a file\n\
         hint: a range is `BASE..{}`; patches are a mbox, a `.patch` file, or a directory of `git format-patch`",
        if word.is_empty() { "TIP" } else { word }
    )]
    NeitherRangeNorFile {
        /// As given.
        word: String,
    },
    /// A symmetric difference.
    #[error(
        "`{word}` is no range that has a base: three dots mean the commits of both sides\nhint: write `{meant}`"
    )]
    ThreeDots {
        /// As given.
        word: String,
        /// What was probably meant.
        meant: Range,
    },
    /// A range with a base of its own, and another.
    #[error("`{range}` has its base in it, and `{base}` is given too\nhint: leave `--base` out")]
    BaseOfRange {
        /// As given.
        range: Range,
        /// As given.
        base: String,
    },
    /// Nothing between two revisions.
    #[error("there is no commit in `{range}`: `{}` has all of `{}`\nhint: are they swapped?", range.base, range.tip)]
    EmptyRange {
        /// As given.
        range: Range,
    },
    /// A range that is no row of patches.
    #[error(
        "`{range}` has the merge {} `{subject}` in it, and a series is one patch after the other\n\
         hint: `git rebase {}` makes it one; `kregress bisect` searches histories with merges",
        short(commit), range.base
    )]
    Merge {
        /// As given.
        range: Range,
        /// The merge.
        commit: String,
        /// First line of its message.
        subject: String,
    },
    /// A file that cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// Something that is neither a file nor a directory.
    #[error(
        "`{}` is neither a file nor a directory\nhint: write what it gives to a file first",
        path.display()
    )]
    NotFile {
        /// Which.
        path: PathBuf,
    },
    /// A file that has to be unpacked first.
    #[error("`{}` is compressed\nhint: `{program} {}` unpacks it", path.display(), path.display())]
    Compressed {
        /// Which.
        path: PathBuf,
        /// What unpacks it.
        program: &'static str,
    },
    /// A directory of something else.
    #[error(
        "`{}` has no file `*.patch` in it\nhint: name a directory that `git format-patch -o` wrote to, or a mbox",
        path.display()
    )]
    NoPatchFiles {
        /// Which.
        path: PathBuf,
    },
    /// Mails, but no patch.
    #[error("there is no patch in `{}`{}", what.display(), without_patches(what, left_out))]
    NoPatches {
        /// File or directory.
        what: PathBuf,
        /// What is in it.
        left_out: Vec<LeftOut>,
    },
    /// A patch that changes nothing.
    #[error(
        "{place}, `{subject}`, has no diff in it\nhint: was it cut off, or made by `git commit --allow-empty`?"
    )]
    NoDiff {
        /// Its title.
        subject: String,
        /// Where it is.
        place: Place,
    },
    /// An old version and a new one.
    #[error(
        "`{}` has versions {} of a series in it\nhint: {}",
        what.display(), versions.iter().map(|it| format!("v{it}")).collect::<Vec<_>>().join(" and "),
        one_version(what)
    )]
    SeveralVersions {
        /// File or directory.
        what: PathBuf,
        /// Which.
        versions: Vec<u32>,
    },
    /// Patches that are not there.
    #[error(
        "{} of {total} {} missing in `{}`\nhint: `b4 am` fetches a series from the list; a part of one can be \
         checked as a range of commits",
        patches(numbers), if numbers.len() == 1 { "is" } else { "are" }, what.display()
    )]
    Missing {
        /// File or directory.
        what: PathBuf,
        /// Which; not more than a few.
        numbers: Vec<u32>,
        /// How many there should be.
        total: u32,
    },
    /// A number twice.
    #[error(
        "{} is there twice: {first}, {second}\nhint: take out the one that does not belong to the series",
        if *number == 0 { "the cover letter".to_owned() } else { format!("patch {number}") }
    )]
    Doubled {
        /// 0 is the cover letter.
        number: u32,
        /// Where.
        first: Place,
        /// And where again.
        second: Place,
    },
    /// Parts of different series.
    #[error(
        "{place} is of {second} patches, and others are of {first}\nhint: take out what is of another series"
    )]
    Totals {
        /// What the first says.
        first: u32,
        /// What this one says.
        second: u32,
        /// Which.
        place: Place,
    },
    /// A number that cannot be.
    #[error("{place} says that it is patch {number} of {total}\nhint: correct its subject")]
    Beyond {
        /// Its number.
        number: u32,
        /// Of how many.
        total: u32,
        /// Which.
        place: Place,
    },
    /// A patch that is not counted among others that are.
    #[error(
        "{place}, `{subject}`, has no number, and others have\n\
         hint: take it out, or give it a number as in `[PATCH 2/3]`"
    )]
    Unnumbered {
        /// Its title.
        subject: String,
        /// Which.
        place: Place,
    },
    /// Nothing to put the patches on.
    #[error(
        "`{}` does not say which commit its patches are for\n\
         hint: name it with `--base REV`; `git format-patch --base=auto` and b4 write it down",
        what.display()
    )]
    NoBase {
        /// File or directory.
        what: PathBuf,
    },
    /// A commit that was never fetched.
    #[error(
        "{place} is for commit {}, which `{}` does not have\n\
         hint: `git fetch` it, or name another one with `--base REV`",
        short(commit), repository.display()
    )]
    BaseAbsent {
        /// As it is written there.
        commit: String,
        /// Where it is written.
        place: Place,
        /// Where it is not.
        repository: PathBuf,
    },
    /// Two commits to begin at.
    #[error(
        "{} is for commit {}, {} for {}\nhint: name the right one with `--base REV`",
        first.place, short(&first.commit), second.place, short(&second.commit)
    )]
    Bases {
        /// The one.
        first: Box<Named>,
        /// The other.
        second: Box<Named>,
    },
}

impl SeriesError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Problem(problem) | Self::Mail { problem, .. } => problem.fault(),
            Self::History(error) => error.fault(),
            _ => Fault::Request,
        }
    }
}

fn patches(numbers: &[u32]) -> String {
    let list: Vec<_> = numbers.iter().map(u32::to_string).collect();
    match &list[..] {
        [one] => format!("patch {one}"),
        [most @ .., last] => format!("patches {} and {last}", most.join(", ")),
        [] => "a patch".to_owned(),
    }
}

fn one_version(what: &Path) -> String {
    if what.is_dir() {
        "`git format-patch -o` a new directory, or remove the files of the others".to_owned()
    } else {
        "`b4 am` takes the newest only, and `b4 am -v N` another".to_owned()
    }
}

fn without_patches(what: &Path, left_out: &[LeftOut]) -> String {
    let listed: String = left_out.iter().map(|it| format!("\n  {it}")).collect();
    let cover = what.extension().is_some_and(|extension| extension == "cover");
    let hint = if cover {
        "it is a cover letter; name the `.mbx` beside it"
    } else if left_out.iter().any(|it| it.why == Why::Reply) {
        "answers are no patches, whatever they quote; `b4 am` fetches what they answer"
    } else {
        "a patch is what `git diff` or `git format-patch` writes"
    };
    format!("{listed}\nhint: {hint}")
}
