//! What a build needs of its surroundings: the cache, the fragments, programs,
//! and a way to be stopped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use super::cache::Cache;
use super::kconfig::Lacking;
use super::selftests::Wanted;
use crate::exec::Cmd;
use crate::model::FragmentName;

/// Everything that [`obtain`](super::obtain) works with.
#[derive(Debug, Clone)]
pub struct BuildEnv {
    /// Where sources, build directories and finished kernels are kept.
    pub cache: Cache,
    /// Text of every kconfig fragment there is.
    pub fragments: BTreeMap<FragmentName, String>,
    /// What becomes of symbols that a tree does not know.
    pub lacking: Lacking,
    /// Selftests that are built with a kernel.
    pub selftests: Wanted,
    /// Compilers at once.
    pub jobs: NonZeroUsize,
    /// Where programs are looked for.
    pub tools: Tools,
    /// Whether to stop; looked at ten times a second.
    pub interrupted: fn() -> bool,
}

impl BuildEnv {
    /// The usual surroundings: programs from `PATH`, one compiler per CPU, Ctrl-C.
    pub fn new(cache: impl Into<PathBuf>, fragments: BTreeMap<FragmentName, String>) -> Self {
        Self {
            cache: Cache::new(cache),
            fragments,
            lacking: Lacking::Refused,
            selftests: Wanted::new(),
            jobs: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            tools: Tools::from_environment(),
            interrupted: crate::interrupt::requested,
        }
    }
}

/// Programs of the host, looked up in one search path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    path: OsString,
}

impl Tools {
    /// Looks in `PATH`.
    #[must_use]
    pub fn from_environment() -> Self {
        // What POSIX systems fall back to when nobody set it.
        Self { path: std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()) }
    }

    /// Looks in this search path, with `:` between directories.
    pub fn in_path(path: impl Into<OsString>) -> Self {
        Self { path: path.into() }
    }

    /// Where a program is.
    #[must_use]
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path).map(|dir| dir.join(program)).find(|file| {
            let metadata = std::fs::metadata(file);
            metadata.is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
        })
    }

    /// A command that runs a program of this path, speaks English and finds its
    /// own helpers in the same path.
    pub(super) fn cmd(&self, program: &str) -> Cmd {
        let found = self.find(program).map_or_else(|| program.into(), PathBuf::into_os_string);
        Cmd::new(found).env("PATH", self.path.clone()).env("LC_ALL", "C")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_the_order_of_the_path() {
        let dirs: Vec<_> = (0..3).map(|_| tempfile::tempdir().expect("tempdir")).collect();
        let tools =
            Tools::in_path(std::env::join_paths(dirs.iter().map(tempfile::TempDir::path)).expect("path"));
        // Not executable, a directory, and at last a program.
        std::fs::write(dirs[0].path().join("make"), "").expect("write");
        std::fs::create_dir(dirs[1].path().join("make")).expect("mkdir");
        let program = dirs[2].path().join("make");
        std::fs::write(&program, "").expect("write");
        assert_eq!(tools.find("make"), None);
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("chmod");
        assert_eq!(tools.find("make"), Some(program));
    }
}
