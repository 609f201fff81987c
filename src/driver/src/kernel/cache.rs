//! The cache directory: where each thing lies in it, and who may use it when.
//!
//! ```text
//! CACHEDIR.TAG
//! store/KEY/         finished kernels, see store.rs
//! requests/          what was asked before, and which KEY it came to
//! sources/SHA256/    unpacked tarballs and packages
//! trees/FAMILY/      locks, objects, work tree and build directories of one family of sources,
//!                    with what is known of the warnings in each
//! selftests/KEY/     built selftests, see selftests/mod.rs
//! logs/              one log per request
//! hashes/            hashes of large files
//! estimates/         objects per configuration, for progress
//! ```
//!
//! Everything here can be deleted at any time when no kregress runs; it is then
//! made again.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::{At as _, FileError};
use super::hash::FileHasher;
use super::store::Store;
use crate::clock;

/// Interval at which a lock held by another process is tried.
const LOCK_POLL: Duration = Duration::from_millis(100);

/// Tells backup programs to leave a directory out; see bford.info/cachedir.
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n\
                   # Kernels built by kregress. Can be deleted when no kregress runs.\n";

/// The cache directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    root: PathBuf,
}

impl Cache {
    /// At `root`, which need not exist.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Its directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Finished kernels.
    #[must_use]
    pub fn store(&self) -> Store {
        Store::new(self.root.join("store"), self.root.join("requests"))
    }

    /// Unpacked archives.
    pub(super) fn sources(&self) -> PathBuf {
        self.root.join("sources")
    }

    /// Built selftests.
    pub(super) fn selftests(&self) -> PathBuf {
        self.root.join("selftests")
    }

    /// Everything that is kept of one family of sources.
    pub(super) fn family(&self, name: &str) -> PathBuf {
        self.root.join("trees").join(name)
    }

    /// Build logs.
    pub(super) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Numbers of objects of earlier builds.
    pub(super) fn estimates(&self) -> PathBuf {
        self.root.join("estimates")
    }

    /// Hashes of large files.
    pub(super) fn hasher(&self) -> FileHasher {
        FileHasher::new(self.root.join("hashes"))
    }

    /// Makes sure that the directory exists.
    pub(super) fn create(&self) -> Result<(), FileError> {
        create_dir(&self.root)?;
        let tag = self.root.join("CACHEDIR.TAG");
        match File::create_new(&tag) {
            Ok(mut file) => file.write_all(TAG.as_bytes()).at("write", tag),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error).at("create", tag),
        }
    }
}

/// Writes a file that readers see whole or not at all.
pub(super) fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    create_dir(directory)?;
    // Temporary files are private; the cache is as open as its directory.
    let readable = fs::Permissions::from_mode(0o644);
    let file = tempfile::Builder::new().permissions(readable).tempfile_in(directory);
    let mut file = file.at("create", directory)?;
    serde_json::to_writer_pretty(&mut file, value).map_err(io::Error::from).at("write", path)?;
    file.write_all(b"\n").at("write", path)?;
    file.persist(path).map_err(|error| error.error).at("write", path)?;
    Ok(())
}

/// Makes a directory and those above it.
pub(super) fn create_dir(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).at("create", path)
}

/// Removes a directory tree or file if it is there.
pub(super) fn remove(path: &Path) -> Result<(), FileError> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).at("remove", path),
    };
    if metadata.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.at("remove", path)
}

/// The right to use something that only one process may use at a time. It ends
/// with the value, and with the process, however that ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// How a lock was taken.
#[derive(Debug)]
pub(super) enum Locked {
    /// Nobody else had it.
    AtOnce(Lock),
    /// Somebody else had it, and may have changed what it guards.
    AfterWaiting(Lock),
    /// We were told to stop while we waited.
    Interrupted,
}

/// Takes the lock file `path`; `waiting` is called once when that takes long.
pub(super) fn lock(
    path: &Path,
    interrupted: fn() -> bool,
    waiting: impl FnOnce(),
) -> Result<Locked, FileError> {
    if let Some(parent) = path.parent() {
        create_dir(parent)?;
    }
    // Never removed: a lock on a deleted file guards nothing.
    let file = File::options().create(true).truncate(false).write(true).open(path).at("create", path)?;
    match file.try_lock() {
        Ok(()) => return Ok(Locked::AtOnce(Lock { _file: file })),
        Err(TryLockError::WouldBlock) => waiting(),
        Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
    }
    loop {
        if interrupted() {
            return Ok(Locked::Interrupted);
        }
        clock::poll_interval(LOCK_POLL);
        match file.try_lock() {
            Ok(()) => return Ok(Locked::AfterWaiting(Lock { _file: file })),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error).at("lock", path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_is_tagged_once() {
        let dir = tempfile::tempdir().expect("tempdir");
        let cache = Cache::new(dir.path().join("a/b"));
        cache.create().expect("create");
        cache.create().expect("again");
        let tag = fs::read_to_string(cache.root().join("CACHEDIR.TAG")).expect("tag");
        assert!(tag.starts_with("Signature: 8a477f597d28d172789f06886806bc55"), "{tag}");
    }

    #[test]
    fn a_cache_below_a_file_says_where() {
        let dir = tempfile::tempdir().expect("tempdir");
        fs::write(dir.path().join("file"), "").expect("write");
        let error = Cache::new(dir.path().join("file/cache")).create().expect_err("not a directory");
        assert!(error.to_string().contains("/file/cache`: "), "{error}");
    }

    #[test]
    fn a_free_lock_is_taken_at_once() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("x/lock");
        let first = lock(&path, || false, || panic!("nobody has it")).expect("lock");
        assert!(matches!(first, Locked::AtOnce(_)));
        drop(first);
        let again = lock(&path, || false, || panic!("nobody has it")).expect("lock");
        assert!(matches!(again, Locked::AtOnce(_)));
    }

    #[test]
    fn a_taken_lock_is_waited_for() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("lock");
        let mut holder = Some(lock(&path, || false, || ()).expect("lock"));
        // It is given back only when the other one says that it waits.
        let second = lock(&path, || false, || drop(holder.take())).expect("lock");
        assert!(matches!(second, Locked::AfterWaiting(_)));
    }

    #[test]
    fn waiting_for_a_lock_can_be_interrupted() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("lock");
        let _holder = lock(&path, || false, || ()).expect("lock");
        assert!(matches!(lock(&path, || true, || ()).expect("lock"), Locked::Interrupted));
    }

    #[test]
    fn removing_takes_files_trees_and_nothing() {
        let dir = tempfile::tempdir().expect("tempdir");
        let tree = dir.path().join("tree");
        create_dir(&tree.join("deep")).expect("mkdir");
        remove(&tree).expect("tree");
        assert!(!tree.exists());
        remove(&tree).expect("nothing");
        fs::write(&tree, "").expect("write");
        remove(&tree).expect("file");
        assert!(!tree.exists());
    }
}
