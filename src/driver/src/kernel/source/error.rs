//! Why there is no kernel source where the user said it is.

use std::io;
use std::path::{Path, PathBuf};

use crate::kernel::diagnose::not_clean_hint;
use crate::kernel::error::Fault;

/// Why a source cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nothing is there.
    #[error("cannot find the {what} `{}`: {source}{hint}", path.display())]
    Missing {
        /// What should be there.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
        /// What to do, from a new line.
        hint: String,
    },
    /// A pattern that is none.
    #[error("`{pattern}` is no file pattern: {problem}")]
    BadPattern {
        /// As given.
        pattern: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A pattern that matches nothing.
    #[error("no {what} matches `{pattern}`{hint}")]
    NoMatch {
        /// What should be there.
        what: &'static str,
        /// As given.
        pattern: String,
        /// What to do, from a new line.
        hint: String,
    },
    /// A file where a directory should be.
    #[error("`{}` is not a directory\nhint: for a tarball write `tarball:` in place of `directory:`", path.display())]
    NotDirectory {
        /// Which.
        path: PathBuf,
    },
    /// A directory where a file should be.
    #[error("`{}` is not a file\nhint: for an unpacked tree write `directory:` in place of `tarball:`", path.display())]
    NotFile {
        /// Which.
        path: PathBuf,
    },
    /// No git repository.
    #[error(
        "`{}` is not a git repository\nhint: for a source tree without git write `directory:` in place of `git:`",
        path.display()
    )]
    NotRepository {
        /// Which.
        path: PathBuf,
    },
    /// A revision that the repository does not have.
    #[error("`{revision}` is no revision of `{}`{}", repository.display(), revision_hint(nearest, *history))]
    UnknownRevision {
        /// The repository.
        repository: PathBuf,
        /// As given.
        revision: String,
        /// Branches and tags that are spelt alike.
        nearest: Vec<String>,
        /// How much of the history is there.
        history: History,
    },
    /// Git does not want to.
    #[error("git cannot {what} `{}`:{}", repository.display(), indented(said))]
    Git {
        /// Infinitive: `read`.
        what: &'static str,
        /// The repository.
        repository: PathBuf,
        /// Its words.
        said: String,
    },
    /// Nothing that `git bisect run` could have started us for.
    #[error(
        "neither the current directory nor `{}` has a bisection of git's under way\n\
         hint: `git bisect run` starts this; to measure one revision by hand, name it with --bad REV",
        repository.display()
    )]
    NoBisection {
        /// The tree that was named.
        repository: PathBuf,
    },
    /// A tree of files that no commit is known of.
    #[error("`{revision}` is a tree without a commit\nhint: name a commit, a branch or a tag")]
    NotCommit {
        /// As given.
        revision: String,
    },
    /// A patch file that is none.
    #[error("`{}` is no patch that git reads:{}\nhint: make one with `git diff` or `git format-patch`",
            path.display(), indented(said))]
    NotPatch {
        /// Which.
        path: PathBuf,
        /// Git's words.
        said: String,
    },
    /// A mail that is none.
    #[error("git cannot read {}:{}", place.map_or("it".to_owned(), |place| format!("mail {place} of it")), indented(said))]
    NotMail {
        /// Which of several, from 1; none where git cannot tell them apart.
        place: Option<usize>,
        /// Git's words.
        said: String,
    },
    /// A commit that cannot be taken back.
    #[error(
        "`{culprit}` cannot be reverted on `{revision}`: later changes are in the way in {}",
        files.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ")
    )]
    RevertConflicts {
        /// What should be taken back.
        culprit: String,
        /// On what.
        revision: String,
        /// Where it conflicts; file names are of the repository and may hold any character.
        files: Vec<String>,
    },
    /// A tree of something else.
    #[error("`{}` is no kernel source that we can build: {lacks}{}", path.display(), nested_hint(nested.as_deref()))]
    NotKernel {
        /// The tree, or the archive that it is in.
        path: PathBuf,
        /// What is missing.
        lacks: String,
        /// A kernel tree one level down.
        nested: Option<PathBuf>,
    },
    /// A tree that was built in.
    #[error(
        "`{}` has been built in (there is `{trace}`), so kbuild refuses to build it elsewhere\nhint: {}",
        path.display(), not_clean_hint(path)
    )]
    NotClean {
        /// The tree.
        path: PathBuf,
        /// What is left of the build.
        trace: &'static str,
    },
    /// An archive that cannot be unpacked.
    #[error("cannot unpack `{}`:{}{hint}", path.display(), indented(said))]
    Archive {
        /// Which.
        path: PathBuf,
        /// The words of the program that tried.
        said: String,
        /// What to do, from a new line.
        hint: &'static str,
    },
    /// A package without a kernel in it.
    #[error(
        "package `{}` holds no kernel image: no `boot/vmlinuz-*`\n\
         hint: a package such as `linux-image-amd64` only depends on the real one, whose name has the version in it",
        path.display()
    )]
    NoKernel {
        /// The package.
        path: PathBuf,
    },
    /// Something that is booted as it is.
    #[error("`{what}` is not kernel source and is never built")]
    NotBuilt {
        /// Which.
        what: String,
    },
}

/// How much of a repository's history is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// All.
    Full,
    /// Cut off: `git clone --depth`.
    Shallow,
}

impl SourceError {
    /// Something that is not there.
    pub(super) fn missing(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Missing { what, path: path.to_owned(), source, hint: String::new() }
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Git { .. } | Self::Archive { .. } => Fault::Host,
            Self::RevertConflicts { .. } => Fault::Tree,
            _ => Fault::Request,
        }
    }

    /// The same of an archive in place of the directory it was unpacked to.
    pub(super) fn inside_archive(self, archive: &Path) -> Self {
        match self {
            Self::NotKernel { lacks, .. } => {
                Self::NotKernel { path: archive.to_owned(), lacks, nested: None }
            }
            other => other,
        }
    }
}

fn revision_hint(nearest: &[String], history: History) -> String {
    let mut hints = Vec::new();
    if !nearest.is_empty() {
        let names: Vec<_> = nearest.iter().map(|name| format!("`{name}`")).collect();
        hints.push(format!("there is {}", names.join(", ")));
    }
    if history == History::Shallow {
        hints.push(
            "the repository is shallow: `git fetch --unshallow` brings the rest of its history".to_owned(),
        );
    }
    hints.iter().map(|hint| format!("\nhint: {hint}")).collect()
}

fn nested_hint(nested: Option<&Path>) -> String {
    nested.map(|path| format!("\nhint: there is one in `{}`", path.display())).unwrap_or_default()
}

fn indented(said: &str) -> String {
    said.trim().lines().map(|line| format!("\n  {line}")).collect()
}
