//! What to boot, before it is built or found.

use std::fmt;
use std::path::PathBuf;

/// Name of a kernel entry in `kregress.yaml`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KernelName(pub String);

impl fmt::Display for KernelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a kconfig fragment: the stem of `kconfigs/NAME.config`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FragmentName(pub String);

impl fmt::Display for FragmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where a kernel comes from. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A revision of a git repository; built from a worktree of our own.
    Git {
        /// The user's repository.
        repository: PathBuf,
        /// Anything that `git rev-parse` takes.
        revision: String,
    },
    /// A revision of a git repository with changes that no commit has. Nothing is
    /// written to the repository.
    Edited {
        /// The user's repository.
        repository: PathBuf,
        /// Anything that `git rev-parse` takes.
        revision: String,
        /// In their order.
        edits: Vec<Edit>,
    },
    /// A source directory as it stands, changes included.
    Directory(PathBuf),
    /// A source tarball: a path, or a glob pattern of which the newest version is taken.
    Tarball(String),
    /// A bootable image (`bzImage` or an ELF `vmlinux`), never built.
    Image {
        /// The file.
        image: PathBuf,
        /// `/lib/modules/RELEASE` that belongs to it.
        modules: Option<PathBuf>,
        /// Its `.config`, for the record and for better messages.
        config: Option<PathBuf>,
    },
    /// A distribution's package of a kernel image: a path or a glob pattern.
    /// Unpacked, never installed.
    Deb(String),
}

/// A change to a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// A patch file that is applied where it applies: trees in which it is
    /// already, or to which it does not belong, stay as they are. An absolute path.
    Fix(PathBuf),
    /// A commit of the same repository that is taken back. Of a merge that is all
    /// that it brought to its first parent. Where that conflicts there is no kernel.
    Revert(String),
}

/// A kernel entry of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelSpec {
    /// Name of the entry, or what the user typed in its place.
    pub name: KernelName,
    /// Where it comes from.
    pub source: Source,
    /// Merged in this order; empty for kernels that are not built.
    pub fragments: Vec<FragmentName>,
    /// A complete `.config` to start from in place of `allnoconfig`.
    pub base_config: Option<PathBuf>,
    /// Appended to the kernel command line of every boot.
    pub cmdline: Vec<String>,
}

/// A kernel as named on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelRequest {
    /// An entry of `kregress.yaml`.
    Name(String),
    /// A path to a bootable image.
    Image(PathBuf),
    /// `TREE@REVISION`: an entry of kind git with another revision, or a path
    /// to a repository.
    Revision {
        /// Name of an entry, or a path.
        tree: String,
        /// Anything that `git rev-parse` takes.
        revision: String,
    },
    /// `KERNEL+FRAGMENT+FRAGMENT`: one of the others with more fragments.
    With {
        /// What they are added to.
        kernel: Box<KernelRequest>,
        /// Behind those of the kernel, in this order.
        fragments: Vec<FragmentName>,
    },
}
