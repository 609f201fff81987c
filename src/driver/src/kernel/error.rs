//! Why a kernel cannot be had, and whose fault that is.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use super::compiler::ToolsError;
use super::diagnose::Diagnosis;
use super::image::ImageError;
use super::kconfig::{DotConfigError, FragmentError, GateError, MergeError};
use super::source::SourceError;
use crate::exec::ExecError;
use crate::model::{FragmentName, KernelName};

/// A file or directory that does not do what is needed of it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`: {source}{}", path.display(), file_hint(source))]
pub struct FileError {
    /// Infinitive: `read`, `create`.
    pub action: &'static str,
    /// Which.
    pub path: PathBuf,
    /// The system's words.
    pub source: io::Error,
}

fn file_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: free a few GiB there, or set `KREGRESS_CACHE` to a directory on a larger file system"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "\nhint: set `KREGRESS_CACHE` to a directory that can be written"
        }
        _ => "",
    }
}

/// Says of which file an I/O error is.
pub(super) trait At<T> {
    /// `action` is an infinitive.
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, FileError>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, FileError> {
        self.map_err(|source| FileError { action, path: path.as_ref().to_owned(), source })
    }
}

/// Whose fault it is that a kernel cannot be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The kernel entry asks for something that does not exist or cannot be.
    Request,
    /// The tree does not build: another revision might.
    Tree,
    /// This host lacks a tool, space or a permission.
    Host,
    /// The user asked to stop.
    Interrupted,
}

/// Why a kernel cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("kernel `{kernel}`: {problem}")]
pub struct KernelError {
    /// Which.
    pub kernel: KernelName,
    /// Why not.
    pub problem: KernelProblem,
}

impl KernelError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.problem.fault()
    }
}

/// What stands between us and a kernel.
#[derive(Debug, thiserror::Error)]
pub enum KernelProblem {
    /// The source is not there, or is none.
    #[error(transparent)]
    Source(Box<SourceError>),
    /// The image is not there, or is none.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A fragment that nobody wrote.
    #[error("no kconfig fragment is named `{fragment}`{}", names_hint(known))]
    UnknownFragment {
        /// The name as given.
        fragment: FragmentName,
        /// Names that exist, the most similar first.
        known: Vec<FragmentName>,
    },
    /// Neither fragments nor a base configuration.
    #[error("it is built from source but has no configuration\nhint: add `fragments: [base]` to its entry")]
    Unconfigured,
    /// A fragment that cannot be read.
    #[error(transparent)]
    Fragment(#[from] FragmentError),
    /// Fragments that do not go together.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// A configuration that cannot be read.
    #[error("configuration `{}`: {source}", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: DotConfigError,
    },
    /// The kernel's own tools dropped what was asked for.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Programs or headers are missing.
    #[error(transparent)]
    Tools(#[from] ToolsError),
    /// Make failed.
    #[error(transparent)]
    Build(Box<BuildFailure>),
    /// Make succeeded without making what it should.
    #[error("make ended well but there is no `{}`\nfull log: `{}`", path.display(), log.display())]
    Unmade {
        /// What is missing.
        path: PathBuf,
        /// The full log.
        log: PathBuf,
    },
    /// The source was changed while it was built.
    #[error(
        "`{}` changed while it was being built; the result belongs to no state of it\n\
         hint: build again when nothing writes there, or keep the source in a git repository: then a snapshot is built",
        path.display()
    )]
    Changed {
        /// The source directory.
        path: PathBuf,
    },
    /// Selftests of a kernel without source.
    #[error(
        "its selftests are part of its source, of which it has none\n\
         hint: use a kernel with `git`, `directory` or `tarball`, or leave out tests with `selftests`"
    )]
    NoSelftests,
    /// The user asked to stop.
    #[error("interrupted while {doing}\nhint: the same command goes on where this one stopped")]
    Interrupted {
        /// Present participle and object.
        doing: String,
    },
    /// A file of the cache or of the user's.
    #[error(transparent)]
    File(#[from] FileError),
    /// A helper program.
    #[error(transparent)]
    Exec(#[from] ExecError),
}

impl KernelProblem {
    /// Whose fault it is. A bisection keeps a commit whose *tree* is at fault as
    /// unbuildable, and stops for the others.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Source(source) => source.fault(),
            Self::Image(_)
            | Self::UnknownFragment { .. }
            | Self::Unconfigured
            | Self::NoSelftests
            | Self::Fragment(_)
            | Self::Merge(_)
            | Self::Config { .. } => Fault::Request,
            Self::Gate(_) | Self::Unmade { .. } => Fault::Tree,
            Self::Build(failure) => failure.fault(),
            Self::Tools(_) | Self::Changed { .. } | Self::File(_) | Self::Exec(_) => Fault::Host,
            Self::Interrupted { .. } => Fault::Interrupted,
        }
    }

    /// Says of which kernel it is.
    pub(super) fn of(self, kernel: &KernelName) -> KernelError {
        KernelError { kernel: kernel.clone(), problem: self }
    }
}

impl From<SourceError> for KernelProblem {
    fn from(error: SourceError) -> Self {
        Self::Source(Box::new(error))
    }
}

fn names_hint(known: &[FragmentName]) -> String {
    if known.is_empty() {
        return String::new();
    }
    let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
    format!("\nhint: there are {}", names.join(", "))
}

/// A make that failed.
#[derive(Debug)]
pub struct BuildFailure {
    /// What was being done: `configuring`, `compiling`.
    pub doing: &'static str,
    /// First error of the log, if one was recognised.
    pub diagnosis: Option<Diagnosis>,
    /// How make ended.
    pub status: ExitStatus,
    /// The full log.
    pub log: PathBuf,
}

impl BuildFailure {
    fn fault(&self) -> Fault {
        match &self.diagnosis {
            Some(diagnosis) if !diagnosis.cause.is_tree() => Fault::Host,
            // Make that dies of a signal was killed, and not by the tree.
            None if self.status.code().is_none() => Fault::Host,
            _ => Fault::Tree,
        }
    }
}

impl std::error::Error for BuildFailure {}

impl fmt::Display for BuildFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: ", self.doing)?;
        match &self.diagnosis {
            Some(diagnosis) => write!(f, "{diagnosis}")?,
            None => write!(f, "make ended with {} and named no error", self.status)?,
        }
        write!(f, "\nfull log: `{}`", self.log.display())?;
        match self.diagnosis.as_ref().and_then(|diagnosis| diagnosis.hint.as_ref()) {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::diagnose::Cause;
    use std::os::unix::process::ExitStatusExt as _;

    fn failure(diagnosis: Option<Diagnosis>, status: ExitStatus) -> BuildFailure {
        BuildFailure { doing: "compiling", diagnosis, status, log: "/cache/logs/net-next.log".into() }
    }

    fn diagnosis(cause: Cause) -> Diagnosis {
        Diagnosis {
            file: Some("net/core/dev.c".into()),
            line: Some(412),
            message: "expected ';' before 'return'".into(),
            excerpt: vec!["  412 |         int x".into()],
            included_from: None,
            cause,
            hint: Some("do something".into()),
        }
    }

    #[test]
    fn a_failed_build_shows_its_first_error_its_log_and_a_hint() {
        let exit_2 = ExitStatus::from_raw(2 << 8);
        insta::assert_snapshot!(failure(Some(diagnosis(Cause::Code)), exit_2), @r"
        compiling failed: net/core/dev.c:412: expected ';' before 'return'
            412 |         int x
        full log: `/cache/logs/net-next.log`
        hint: do something
        ");
        insta::assert_snapshot!(failure(None, exit_2), @"
        compiling failed: make ended with exit status: 2 and named no error
        full log: `/cache/logs/net-next.log`
        ");
    }

    #[test]
    fn a_failed_build_blames_the_tree_only_for_what_the_tree_did() {
        let exit_2 = ExitStatus::from_raw(2 << 8);
        assert_eq!(failure(Some(diagnosis(Cause::Code)), exit_2).fault(), Fault::Tree);
        assert_eq!(failure(Some(diagnosis(Cause::DiskFull)), exit_2).fault(), Fault::Host);
        assert_eq!(failure(None, exit_2).fault(), Fault::Tree);
        let killed = ExitStatus::from_raw(9);
        assert_eq!(failure(None, killed).fault(), Fault::Host);
    }

    #[test]
    fn a_full_disk_says_how_to_move_the_cache() {
        let full = FileError {
            action: "write",
            path: "/cache/x".into(),
            source: io::Error::from(io::ErrorKind::StorageFull),
        };
        let text = full.to_string();
        assert!(text.starts_with("cannot write `/cache/x`: "), "{text}");
        assert!(text.contains("\nhint: free a few GiB there, or set `KREGRESS_CACHE`"), "{text}");
    }

    #[test]
    fn an_unknown_fragment_names_those_that_exist() {
        let error = KernelProblem::UnknownFragment {
            fragment: FragmentName("bse".into()),
            known: vec![FragmentName("base".into()), FragmentName("netns".into())],
        }
        .of(&KernelName("default".into()));
        insta::assert_snapshot!(error, @"
        kernel `default`: no kconfig fragment is named `bse`
        hint: there are `base`, `netns`
        ");
        assert_eq!(error.fault(), Fault::Request);
    }
}
