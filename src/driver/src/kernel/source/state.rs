//! Identity of a directory that no git looks after: names, modes, sizes and
//! times of all its files, as make itself would judge them. Contents are not
//! read.

use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use walkdir::WalkDir;

use crate::kernel::error::{At as _, FileError};
use crate::kernel::hash::{Digest, Hasher};

/// Hashes the state of everything below `root`, `.git` at the top excepted.
/// About half a second for a kernel tree that is in the page cache.
pub(super) fn hash(root: &Path) -> Result<Digest, FileError> {
    let mut hasher = Hasher::default();
    let entries = WalkDir::new(root).sort_by_file_name().into_iter();
    for entry in entries.filter_entry(|entry| entry.depth() != 1 || entry.file_name() != ".git") {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            FileError { action: "read", path, source: error.into() }
        })?;
        // Directories show in the names of their files; their own times change
        // with every editor's temporary file.
        if entry.file_type().is_dir() {
            continue;
        }
        let path = entry.path();
        let metadata = match entry.metadata() {
            Ok(metadata) => metadata,
            Err(error) => {
                return Err(FileError { action: "read", path: path.to_owned(), source: error.into() });
            }
        };
        hasher.piece(path.strip_prefix(root).unwrap_or(path).as_os_str().as_bytes());
        hasher.piece(metadata.mode().to_le_bytes());
        if entry.file_type().is_symlink() {
            hasher.piece(fs::read_link(path).at("read", path)?.as_os_str().as_bytes());
        } else {
            hasher.piece(metadata.size().to_le_bytes());
            hasher.piece(metadata.mtime().to_le_bytes());
            hasher.piece(metadata.mtime_nsec().to_le_bytes());
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::{Duration, UNIX_EPOCH};

    struct Fixture(tempfile::TempDir);

    impl Fixture {
        fn new() -> Self {
            let fixture = Self(tempfile::tempdir().expect("tempdir"));
            fs::create_dir_all(fixture.0.path().join("net/core")).expect("mkdir");
            fixture.write("Makefile", "VERSION = 6", 1);
            fixture.write("net/core/dev.c", "int x;", 2);
            fixture
        }

        /// Writes a file with a fixed time.
        fn write(&self, name: &str, text: &str, seconds: u64) {
            let path = self.0.path().join(name);
            fs::write(&path, text).expect("write");
            let file = File::options().write(true).open(&path).expect("open");
            file.set_modified(UNIX_EPOCH + Duration::from_secs(seconds)).expect("time");
        }

        fn hash(&self) -> Digest {
            hash(self.0.path()).expect("hash")
        }
    }

    #[test]
    fn the_same_state_has_the_same_hash_wherever_it_lies() {
        assert_eq!(Fixture::new().hash(), Fixture::new().hash());
    }

    #[test]
    fn every_change_that_make_would_see_changes_the_hash() {
        let fixture = Fixture::new();
        let mut seen = vec![fixture.hash()];
        let mut changed = |what: &str| {
            let hash = fixture.hash();
            assert!(!seen.contains(&hash), "{what}");
            seen.push(hash);
        };
        fixture.write("net/core/dev.c", "int y;", 3);
        changed("time");
        fixture.write("net/core/dev.c", "int yy;", 3);
        changed("size");
        let path = fixture.0.path().join("net/core/dev.c");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        changed("mode");
        fs::rename(&path, fixture.0.path().join("net/dev.c")).expect("rename");
        changed("name");
        symlink("a", fixture.0.path().join("link")).expect("symlink");
        changed("a link");
        fs::remove_file(fixture.0.path().join("link")).expect("unlink");
        symlink("b", fixture.0.path().join("link")).expect("symlink");
        changed("target of a link");
        fs::remove_file(fixture.0.path().join("Makefile")).expect("unlink");
        changed("a file less");
    }

    #[test]
    fn the_repository_at_the_top_and_empty_directories_do_not_count() {
        let fixture = Fixture::new();
        let before = fixture.hash();
        fs::create_dir_all(fixture.0.path().join(".git/refs")).expect("mkdir");
        fixture.write(".git/HEAD", "x", 9);
        fs::create_dir(fixture.0.path().join("empty")).expect("mkdir");
        assert_eq!(fixture.hash(), before);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = hash(Path::new("/nonexistent/linux")).expect_err("missing");
        assert!(error.to_string().starts_with("cannot read `/nonexistent/linux`: "), "{error}");
    }
}
