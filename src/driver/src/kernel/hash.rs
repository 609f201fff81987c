//! SHA-256 of text and files. Hashes of large files are remembered by path,
//! size, time and inode, so that a tarball is read once and not at every start.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use walkdir::WalkDir;

use super::cache;
use super::error::{At as _, FileError};

/// Version of [`Memo`] on disk.
const MEMO_VERSION: u32 = 1;

/// A SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Digest([u8; 32]);

impl Digest {
    /// Of bytes.
    pub(super) fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self(Sha256::digest(bytes.as_ref()).into())
    }

    /// The first 12 hexadecimal digits, for names that people read.
    pub(super) fn short(&self) -> String {
        let mut hex = self.to_string();
        hex.truncate(12);
        hex
    }

    /// From 64 hexadecimal digits.
    pub(super) fn parse(hex: &str) -> Option<Self> {
        if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(hex.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Hashes what comes in pieces. Each piece is preceded by its length, so that
/// two different sequences never run together into the same bytes.
#[derive(Debug, Default)]
pub(super) struct Hasher(Sha256);

impl Hasher {
    /// Adds a piece.
    pub(super) fn piece(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    /// Ends it.
    pub(super) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// What tells that a file is the one that was hashed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    size: u64,
    mtime: i64,
    mtime_nanoseconds: i64,
    // An `mv` of another file into place may keep size and mtime.
    ctime: i64,
    ctime_nanoseconds: i64,
    inode: u64,
    device: u64,
}

impl Stamp {
    fn of(metadata: &fs::Metadata) -> Self {
        Self {
            size: metadata.size(),
            mtime: metadata.mtime(),
            mtime_nanoseconds: metadata.mtime_nsec(),
            ctime: metadata.ctime(),
            ctime_nanoseconds: metadata.ctime_nsec(),
            inode: metadata.ino(),
            device: metadata.dev(),
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Memo {
    version: u32,
    path: String,
    stamp: Stamp,
    sha256: String,
}

/// Hashes files, and remembers.
#[derive(Debug, Clone)]
pub(super) struct FileHasher {
    directory: PathBuf,
}

impl FileHasher {
    /// With its memory in `directory`, which need not exist.
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Hash of a file's contents; read only if it changed since the last time.
    pub(super) fn hash(&self, path: &Path) -> io::Result<Digest> {
        let before = Stamp::of(&fs::metadata(path)?);
        let memo = self.directory.join(format!("{}.json", Digest::of(path.as_os_str().as_bytes()).short()));
        if let Some(digest) = recall(&memo, path, &before) {
            return Ok(digest);
        }
        let digest = of_file(path)?;
        // A file that changed meanwhile is hashed again the next time. That the
        // memory cannot be written costs time and nothing else.
        if Stamp::of(&fs::metadata(path)?) == before {
            let record = Memo {
                version: MEMO_VERSION,
                path: path.to_string_lossy().into_owned(),
                stamp: before,
                sha256: digest.to_string(),
            };
            let _ = cache::write_json(&memo, &record);
        }
        Ok(digest)
    }
}

fn recall(memo: &Path, path: &Path, stamp: &Stamp) -> Option<Digest> {
    let record: Memo = serde_json::from_slice(&fs::read(memo).ok()?).ok()?;
    let same = record.version == MEMO_VERSION && record.path == path.to_string_lossy();
    (same && record.stamp == *stamp).then(|| Digest::parse(&record.sha256)).flatten()
}

/// Hash of a file's contents.
pub(super) fn of_file(path: &Path) -> io::Result<Digest> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest(hasher.finalize().into())),
            n => hasher.update(&buffer[..n]),
        }
    }
}

/// Hash of a directory: names and contents of all files below it. Links are not
/// followed and count by where they lead.
pub(super) fn of_tree(top: &Path) -> Result<Digest, FileError> {
    let mut hasher = Hasher::default();
    for entry in WalkDir::new(top).sort_by_file_name() {
        let entry = entry.map_err(io::Error::from).at("read", top)?;
        let path = entry.path();
        hasher.piece(path.strip_prefix(top).unwrap_or(path).as_os_str().as_bytes());
        if entry.file_type().is_file() {
            hasher.piece(of_file(path).at("read", path)?.0);
        } else if entry.path_is_symlink() {
            hasher.piece(fs::read_link(path).at("read", path)?.as_os_str().as_bytes());
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_the_sha256_in_hexadecimal() {
        let digest = Digest::of("abc");
        assert_eq!(
            digest.to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "FIPS 180-2, appendix B.1"
        );
        assert_eq!(digest.short(), "ba7816bf8f01");
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
    }

    #[test]
    fn what_is_no_digest_does_not_parse() {
        for text in ["", "ba78", &"x".repeat(64), &"é".repeat(32)] {
            assert_eq!(Digest::parse(text), None, "{text}");
        }
    }

    #[test]
    fn pieces_do_not_run_together() {
        let digest = |pieces: &[&str]| {
            let mut hasher = Hasher::default();
            pieces.iter().for_each(|piece| hasher.piece(piece));
            hasher.finish()
        };
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["ab", "c"]), digest(&["ab", "c"]));
    }

    #[test]
    fn an_unchanged_file_is_not_read_twice() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("tarball");
        fs::write(&file, "abc").expect("write");
        let hasher = FileHasher::new(dir.path().join("memory"));
        let digest = hasher.hash(&file).expect("hash");
        assert_eq!(digest, Digest::of("abc"));

        // Only the memory can give this answer.
        let memo =
            fs::read_dir(dir.path().join("memory")).expect("memory").next().expect("one").expect("entry");
        let text = fs::read_to_string(memo.path()).expect("memo");
        let planted = Digest::of("planted");
        fs::write(memo.path(), text.replace(&digest.to_string(), &planted.to_string())).expect("plant");
        assert_eq!(hasher.hash(&file).expect("hash"), planted);
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("tarball");
        fs::write(&file, "abc").expect("write");
        let hasher = FileHasher::new(dir.path().join("memory"));
        hasher.hash(&file).expect("hash");
        let other = dir.path().join("other");
        fs::write(&other, "xyz").expect("write");
        fs::rename(&other, &file).expect("rename");
        assert_eq!(hasher.hash(&file).expect("hash"), Digest::of("xyz"));
    }

    #[test]
    fn a_damaged_memory_is_ignored() {
        let dir = tempfile::tempdir().expect("tempdir");
        let file = dir.path().join("tarball");
        fs::write(&file, "abc").expect("write");
        let memory = dir.path().join("memory");
        let hasher = FileHasher::new(memory.clone());
        hasher.hash(&file).expect("hash");
        for entry in fs::read_dir(&memory).expect("memory") {
            fs::write(entry.expect("entry").path(), "{").expect("damage");
        }
        assert_eq!(hasher.hash(&file).expect("hash"), Digest::of("abc"));
    }
}
