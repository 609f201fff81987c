//! Finished kernels by what went into them, and requests by the kernel that they
//! came to.
//!
//! An entry is written beside the others and renamed into place, so that nobody
//! ever sees half of one; who comes second takes what is there. Nothing in an
//! entry changes afterwards, but that what is known of its warnings may become
//! more.
//!
//! ```text
//! store/KEY/meta.json  vmlinux  vmlinux.debug  bzImage  config  sources  warnings  build.log  lib/modules/RELEASE/
//! requests/REQUEST.json
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

use super::cache;
use super::error::{At as _, FileError};
use super::hash::Digest;
use super::image::ImageFormat;
use super::warnings::WARNINGS;
use crate::clock;

/// Version of entries and requests. It is part of every key, so that a newer
/// kregress does not look at what an older one wrote.
const FORMAT: u32 = 1;

/// List of the source files of a kernel, one a line, sorted.
pub(super) const SOURCES: &str = "sources";

/// Prefix of directories that are no entries yet.
const PARTIAL: &str = ".partial-";

/// After this long nobody is still writing an entry: a day, in seconds.
const STALE: i64 = 24 * 60 * 60;

/// Everything that decides a kernel.
#[derive(Debug, Serialize)]
pub(super) struct Inputs<'a> {
    /// Of the source.
    pub(super) source: &'a str,
    /// Of the resolved configuration.
    pub(super) config: &'a str,
    /// Of compiler and linker.
    pub(super) compiler: &'a str,
    /// Make variables that show in the result, in their order.
    pub(super) flags: &'a [(&'a str, &'a str)],
}

/// Everything that a user asked for, before make has resolved anything.
#[derive(Debug, Serialize)]
pub(super) struct Asked<'a> {
    /// Of the source.
    pub(super) source: &'a str,
    /// Merged fragments.
    pub(super) fragments: &'a str,
    /// Hash of the base configuration.
    pub(super) base: Option<&'a str>,
    /// Of compiler and linker.
    pub(super) compiler: &'a str,
    /// Make variables that show in the result, in their order.
    pub(super) flags: &'a [(&'a str, &'a str)],
    /// That symbols may be lacking. Left out where they may not, as in requests
    /// from before there was a choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lacking: Option<&'a str>,
}

/// Hash of a canonical form: JSON with fields in the order of the type.
fn digest<T: Serialize>(kind: &str, value: &T) -> Digest {
    // Maps with keys that are no strings cannot be written; there are none.
    Digest::of(serde_json::to_vec(&(FORMAT, kind, value)).unwrap_or_default())
}

impl Inputs<'_> {
    /// Key of the kernel in the store.
    pub(super) fn key(&self) -> Digest {
        digest("kernel", self)
    }
}

impl Asked<'_> {
    /// Name of the request.
    pub(super) fn request(&self) -> Digest {
        digest("request", self)
    }
}

/// What is remembered of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    /// `uname -r`.
    pub(super) release: String,
    /// Which of the images to boot.
    pub(super) format: ImageFormat,
    /// Whether there is `lib/modules/RELEASE`.
    pub(super) modules: Modules,
    /// Compiler and linker.
    pub(super) compiler: String,
    /// Of the resolved configuration.
    pub(super) config: Digest,
    /// Of the image to boot. Two commits with the same image, and the same
    /// modules, differ in nothing that a boot could show.
    pub(super) image: Digest,
    /// Of the modules; none without modules, and of entries from before it was
    /// looked at.
    pub(super) modules_digest: Option<Digest>,
    /// Seconds that make ran for it.
    pub(super) seconds: u64,
}

/// Whether a kernel has modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Modules {
    None,
    Some,
}

/// A request that was answered before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    /// The kernel.
    pub(super) key: Digest,
    /// Optional symbols that its tree does not know, with the reason.
    pub(super) absent: Vec<String>,
    /// What the gate could not check, and why.
    pub(super) unverified: Option<String>,
}

/// A kernel in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) key: Digest,
    pub(super) meta: Meta,
    directory: PathBuf,
}

impl Entry {
    pub(super) fn image(&self) -> PathBuf {
        self.directory.join(self.meta.format.name())
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("config")
    }

    /// The list of its source files. Entries from before it was made have none.
    pub(super) fn sources(&self) -> Option<PathBuf> {
        Some(self.directory.join(SOURCES)).filter(|path| path.is_file())
    }

    /// Where what is known of its warnings is, or would be: entries from before it
    /// was kept have none.
    pub(super) fn warnings(&self) -> PathBuf {
        self.directory.join(WARNINGS)
    }

    /// Hash of everything that boots, where that is known.
    pub(super) fn boots(&self) -> Option<Digest> {
        match self.meta.modules {
            Modules::None => Some(self.meta.image),
            Modules::Some => {
                let modules = self.meta.modules_digest?;
                Some(Digest::of(format!("{} {modules}", self.meta.image)))
            }
        }
    }

    pub(super) fn modules(&self) -> Option<PathBuf> {
        match self.meta.modules {
            Modules::None => None,
            Modules::Some => Some(self.directory.join("lib/modules").join(&self.meta.release)),
        }
    }
}

/// `meta.json`.
#[derive(Debug, Serialize, Deserialize)]
struct MetaFile {
    format: u32,
    key: String,
    release: String,
    boot: ImageOnDisk,
    modules: bool,
    compiler: String,
    config_sha256: String,
    image_sha256: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    modules_sha256: Option<String>,
    build_seconds: u64,
    /// Name and size of every file without which the entry is worth nothing.
    files: Vec<(String, u64)>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
enum ImageOnDisk {
    #[serde(rename = "vmlinux")]
    Vmlinux,
    #[serde(rename = "bzImage")]
    BzImage,
}

/// `requests/REQUEST.json`.
#[derive(Debug, Serialize, Deserialize)]
struct RequestFile {
    format: u32,
    key: String,
    absent: Vec<String>,
    unverified: Option<String>,
}

/// Finished kernels. Cheap to make; reads and writes only when asked.
#[derive(Debug, Clone)]
pub struct Store {
    entries: PathBuf,
    requests: PathBuf,
}

impl Store {
    pub(super) fn new(entries: PathBuf, requests: PathBuf) -> Self {
        Self { entries, requests }
    }

    /// Directory with one entry per kernel.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.entries
    }

    /// The kernel of a key, if it is there and whole.
    pub(super) fn lookup(&self, key: Digest) -> Option<Entry> {
        let directory = self.entries.join(key.to_string());
        let meta = read_meta(&directory, key)?;
        Some(Entry { key, meta, directory })
    }

    /// The kernel that a request came to, if both are still there.
    pub(super) fn recall(&self, request: Digest) -> Option<(Entry, Answer)> {
        let file: RequestFile = serde_json::from_slice(&fs::read(self.request_path(request)).ok()?).ok()?;
        let key = Digest::parse(&file.key).filter(|_| file.format == FORMAT)?;
        Some((self.lookup(key)?, Answer { key, absent: file.absent, unverified: file.unverified }))
    }

    /// Remembers what a request came to.
    pub(super) fn remember(&self, request: Digest, answer: &Answer) -> Result<(), FileError> {
        let file = RequestFile {
            format: FORMAT,
            key: answer.key.to_string(),
            absent: answer.absent.clone(),
            unverified: answer.unverified.clone(),
        };
        cache::write_json(&self.request_path(request), &file)
    }

    fn request_path(&self, request: Digest) -> PathBuf {
        self.requests.join(format!("{request}.json"))
    }

    /// Begins an entry.
    pub(super) fn stage(&self) -> Result<Staged, FileError> {
        cache::create_dir(&self.entries)?;
        self.remove_stale();
        let directory = tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&self.entries);
        Ok(Staged { directory: directory.at("create", &self.entries)? })
    }

    /// Puts an entry into its place. If another process was faster, its entry
    /// stays and is given back.
    pub(super) fn commit(&self, staged: Staged, key: Digest, meta: &Meta) -> Result<Entry, FileError> {
        let target = self.entries.join(key.to_string());
        let partial = staged.directory.path();
        cache::write_json(&partial.join("meta.json"), &meta_file(partial, key, meta)?)?;
        // A temporary directory is private; an entry is as open as the cache is.
        open_to_readers(partial).at("write", partial)?;
        loop {
            match fs::rename(partial, &target) {
                Ok(()) => break,
                Err(error) if is_occupied(&error) => {
                    if let Some(entry) = self.lookup(key) {
                        return Ok(entry);
                    }
                    // Damaged: half deleted, or a disk that was full.
                    self.put_aside(&target)?;
                }
                Err(error) => return Err(error).at("create", &target),
            }
        }
        // Moved away: nothing is left to clean up.
        let _ = staged.directory.keep();
        Ok(Entry { key, meta: meta.clone(), directory: target })
    }

    fn put_aside(&self, broken: &Path) -> Result<(), FileError> {
        let aside =
            tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&self.entries).at("create", &self.entries)?;
        match fs::rename(broken, aside.path().join("broken")) {
            Ok(()) => Ok(()),
            // Another process did the same.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error).at("remove", broken),
        }
    }

    /// Removes what processes that were killed left behind. What cannot be
    /// removed is left to the next time.
    fn remove_stale(&self) {
        let Ok(entries) = fs::read_dir(&self.entries) else { return };
        for entry in entries.filter_map(Result::ok) {
            let is_partial = entry.file_name().to_string_lossy().starts_with(PARTIAL);
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            let age = modified.ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|since| {
                clock::unix_seconds().saturating_sub(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
            });
            if is_partial && age.is_some_and(|age| age > STALE) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// An entry that is being written. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Staged {
    directory: tempfile::TempDir,
}

impl Staged {
    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }
}

fn is_occupied(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

fn open_to_readers(directory: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

fn meta_file(directory: &Path, key: Digest, meta: &Meta) -> Result<MetaFile, FileError> {
    let mut files = Vec::new();
    for name in ["vmlinux", "bzImage", "config"] {
        let path = directory.join(name);
        match fs::metadata(&path) {
            Ok(metadata) => files.push((name.to_owned(), metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).at("read", path),
        }
    }
    Ok(MetaFile {
        format: FORMAT,
        key: key.to_string(),
        release: meta.release.clone(),
        boot: match meta.format {
            ImageFormat::Vmlinux => ImageOnDisk::Vmlinux,
            ImageFormat::BzImage => ImageOnDisk::BzImage,
        },
        modules: meta.modules == Modules::Some,
        compiler: meta.compiler.clone(),
        config_sha256: meta.config.to_string(),
        image_sha256: meta.image.to_string(),
        modules_sha256: meta.modules_digest.map(|digest| digest.to_string()),
        build_seconds: meta.seconds,
        files,
    })
}

/// Reads an entry, `None` if any of it is missing or not as it was written.
fn read_meta(directory: &Path, key: Digest) -> Option<Meta> {
    let file: MetaFile = serde_json::from_slice(&fs::read(directory.join("meta.json")).ok()?).ok()?;
    let is_whole = |(name, size): &(String, u64)| {
        fs::metadata(directory.join(name)).is_ok_and(|metadata| metadata.len() == *size)
    };
    if file.format != FORMAT || file.key != key.to_string() || !file.files.iter().all(is_whole) {
        return None;
    }
    if file.modules && !directory.join("lib/modules").join(&file.release).is_dir() {
        return None;
    }
    Some(Meta {
        format: match file.boot {
            ImageOnDisk::Vmlinux => ImageFormat::Vmlinux,
            ImageOnDisk::BzImage => ImageFormat::BzImage,
        },
        modules: if file.modules { Modules::Some } else { Modules::None },
        config: Digest::parse(&file.config_sha256)?,
        image: Digest::parse(&file.image_sha256)?,
        modules_digest: match file.modules_sha256 {
            Some(hex) => Some(Digest::parse(&hex)?),
            None => None,
        },
        release: file.release,
        compiler: file.compiler,
        seconds: file.build_seconds,
    })
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
