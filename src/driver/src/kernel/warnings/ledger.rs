//! What is known of the objects in a build directory: of each that was compiled
//! since somebody keeps count, the warnings of its last compilation. It lies
//! beside the directory:
//!
//! ```text
//! trees/FAMILY/build-X/  build-X.warnings  build-X.making
//! ```
//!
//! `build-X.making` is there while make runs. What is newer than it, or than the
//! ledger, and was not heard of, was compiled without anybody listening: by a make
//! that was killed with us, or by an older kregress. Such objects are forgotten,
//! and a new epoch begins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::Warning;
use super::parse::{self, Roots};
use super::snapshot::{self, WarningOnDisk};
use crate::kernel::cache;
use crate::kernel::error::{At as _, FileError};

/// Version of [`LedgerFile`].
const VERSION: u32 = 1;

/// What is known of a build directory. Its family's lock is held.
#[derive(Debug)]
pub(in crate::kernel) struct Ledger {
    build: PathBuf,
    roots: Roots,
    /// When make began.
    since: SystemTime,
    /// Within one epoch an object of which nothing was heard was not compiled.
    pub(super) epoch: String,
    /// Warnings of everything that was made, by target.
    pub(super) heard: BTreeMap<String, Vec<Warning>>,
    /// What was made since `since`.
    made: BTreeSet<String>,
}

/// `build-X.warnings`.
#[derive(Debug, Serialize, Deserialize)]
struct LedgerFile {
    version: u32,
    epoch: String,
    heard: BTreeMap<String, Vec<WarningOnDisk>>,
}

impl Ledger {
    /// Reads what is known, and says that make is about to run.
    pub(in crate::kernel) fn begin(source: &Path, build: &Path) -> Result<Self, FileError> {
        let (file, marker) = (file_of(build), marker_of(build));
        let known_since = modified(&marker).or_else(|| modified(&file));
        let (epoch, heard) = read(&file).unwrap_or_else(|| (new_epoch(), BTreeMap::new()));
        let (build, roots) = (build.to_owned(), Roots::new(source, build));
        let since = SystemTime::UNIX_EPOCH;
        let mut ledger = Self { build, roots, since, epoch, heard, made: BTreeSet::new() };
        if let Some(known_since) = known_since
            && ledger.forget_unheard(known_since) == Forgot::Some
        {
            // Before the marker gets another time, by which nobody could tell.
            ledger.write()?;
        }
        fs::write(&marker, "").at("write", &marker)?;
        ledger.since = modified(&marker).unwrap_or(since);
        Ok(ledger)
    }

    /// Takes in the log of what make did since the beginning.
    pub(in crate::kernel) fn hear(&mut self, log: &str) {
        let made = parse::parse(log, &self.roots);
        self.made.extend(made.keys().cloned());
        self.heard.extend(made);
        self.forget_unheard(self.since);
    }

    /// Keeps what is known. That it cannot be kept costs a compilation later and
    /// nothing else.
    pub(in crate::kernel) fn end(self) {
        if self.write().is_ok() {
            let _ = cache::remove(&marker_of(&self.build));
        }
    }

    fn write(&self) -> Result<(), FileError> {
        let on_disk = |warnings: &Vec<Warning>| warnings.iter().map(WarningOnDisk::from).collect();
        let heard = self.heard.iter().map(|(target, it)| (target.clone(), on_disk(it))).collect();
        let file = LedgerFile { version: VERSION, epoch: self.epoch.clone(), heard };
        cache::write_json(&file_of(&self.build), &file)
    }

    /// Objects in the build directory, whichever kernel they are of, by name.
    pub(super) fn objects(&self) -> BTreeSet<String> {
        objects(&self.build).map(|(name, _)| name).collect()
    }

    /// Forgets objects that were made after `since` without a word.
    fn forget_unheard(&mut self, since: SystemTime) -> Forgot {
        let newer = objects(&self.build).filter(|(_, modified)| modified.is_none_or(|time| time > since));
        let unheard: Vec<_> = newer.map(|(name, _)| name).filter(|name| !self.made.contains(name)).collect();
        if unheard.is_empty() {
            return Forgot::Nothing;
        }
        self.epoch = new_epoch();
        unheard.iter().for_each(|name| _ = self.heard.remove(name));
        Forgot::Some
    }
}

/// Whether anything was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Forgot {
    Nothing,
    Some,
}

/// Names that kbuild gives to what compilers and linkers make.
fn is_object(name: &str) -> bool {
    name.ends_with(".o") || name.ends_with(".s") || name == "vmlinux"
}

/// Objects with the time of their making.
fn objects(build: &Path) -> impl Iterator<Item = (String, Option<SystemTime>)> {
    WalkDir::new(build).into_iter().filter_map(Result::ok).filter_map(move |entry| {
        let name = entry.path().strip_prefix(build).ok()?.to_str()?;
        let is_object = entry.file_type().is_file() && is_object(name);
        is_object.then(|| (name.to_owned(), entry.metadata().ok().and_then(|it| it.modified().ok())))
    })
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

fn file_of(build: &Path) -> PathBuf {
    build.with_extension("warnings")
}

fn marker_of(build: &Path) -> PathBuf {
    build.with_extension("making")
}

fn read(path: &Path) -> Option<(String, BTreeMap<String, Vec<Warning>>)> {
    let file: LedgerFile = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    let heard = file.heard.into_iter().map(|(target, it)| (target, snapshot::to_warnings(it)));
    (file.version == VERSION).then(|| (file.epoch, heard.collect()))
}

fn new_epoch() -> String {
    format!("{:016x}", fastrand::u64(..))
}
