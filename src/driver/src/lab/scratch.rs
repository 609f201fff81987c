//! Directories for sockets and guest images that are gone when their owner is,
//! even when the owner was killed.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

/// Longest path of a unix socket (`sun_path` in unix(7), less its final zero).
const SOCKET_PATH: usize = 107;

/// Room for the names of our sockets behind the directory.
const SOCKET_NAME: usize = 16;

/// Held by the owner of a directory. Whoever makes or sweeps directories holds
/// their parent itself.
const LOCK: &str = "lock";

/// A directory of our own, removed on drop.
#[derive(Debug)]
pub(super) struct Scratch {
    dir: tempfile::TempDir,
    /// Held for life: tells the sweep that the owner is alive.
    _lock: File,
}

impl Scratch {
    /// Makes a directory below `parent`, mode 0700, first clearing away what
    /// killed processes left there.
    ///
    /// # Errors
    ///
    /// Fails when the directory cannot be made.
    pub(super) fn new(parent: &Path) -> io::Result<Self> {
        if parent.as_os_str().len() + "/xxxxxx/".len() + SOCKET_NAME > SOCKET_PATH {
            let dir = tempfile::Builder::new().prefix("kregress-").rand_bytes(6).tempdir()?;
            return Self::own(dir);
        }
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
        // Nobody sweeps while a directory is there but its lock not yet held.
        let making = File::open(parent)?;
        making.lock()?;
        sweep(parent);
        Self::own(tempfile::Builder::new().prefix("").rand_bytes(6).tempdir_in(parent)?)
    }

    fn own(dir: tempfile::TempDir) -> io::Result<Self> {
        let lock = File::create_new(dir.path().join(LOCK))?;
        lock.lock()?;
        Ok(Self { dir, _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes directories whose owner is dead. What cannot be removed stays: it is
/// a few kilobytes, and not worth failing a run for.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for dir in entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir()) {
        if is_abandoned(&dir) {
            let _ = std::fs::remove_dir_all(dir);
        }
    }
}

fn is_abandoned(dir: &Path) -> bool {
    // Without a lock file it may be one that is just being made.
    File::open(dir.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_goes_with_its_owner() {
        let parent = tempfile::tempdir().expect("parent");
        let scratch = Scratch::new(parent.path()).expect("scratch");
        let path = scratch.path().to_owned();
        assert!(path.is_dir());
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_lives_stays() {
        let parent = tempfile::tempdir().expect("parent");
        let dead = parent.path().join("dead");
        std::fs::create_dir(&dead).expect("dir");
        std::fs::write(dead.join(LOCK), "").expect("lock");
        let alive = Scratch::new(parent.path()).expect("scratch");
        assert!(!dead.exists());
        let _second = Scratch::new(parent.path()).expect("scratch");
        assert!(alive.path().exists());
    }

    #[test]
    fn a_parent_too_long_for_sockets_is_replaced() {
        let parent = tempfile::tempdir().expect("parent");
        let long = parent.path().join("x".repeat(100));
        let scratch = Scratch::new(&long).expect("scratch");
        assert!(scratch.path().as_os_str().len() + SOCKET_NAME <= SOCKET_PATH);
    }
}
