//! Where built selftests are kept: an entry by what went into it, written beside the
//! others and renamed into place. Nothing in an entry changes afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::super::cache;
use super::super::error::{At as _, FileError};
use super::super::hash::Digest;
use super::Standing;

/// Version of entries. It is part of every key.
const FORMAT: u32 = 1;

/// Prefix of directories that are no entries yet.
const PARTIAL: &str = ".partial-";

/// Everything that decides an entry.
#[derive(Debug, Serialize)]
pub(super) struct Key<'a> {
    /// Of the source.
    pub(super) source: &'a str,
    /// Of compiler and linker.
    pub(super) compiler: &'a str,
    /// Make variables, in their order.
    pub(super) flags: &'a [(&'a str, &'a str)],
    /// Directory below `tools/testing/selftests`.
    pub(super) collection: &'a str,
    /// What is wanted of it.
    pub(super) programs: &'a BTreeSet<String>,
}

impl Key<'_> {
    pub(super) fn digest(&self) -> Digest {
        // Maps with keys that are no strings cannot be written; there are none.
        Digest::of(serde_json::to_vec(&(FORMAT, "selftests", self)).unwrap_or_default())
    }
}

/// `meta.json`.
#[derive(Debug, Serialize, Deserialize)]
struct MetaFile {
    format: u32,
    key: String,
    /// None where the tree has no such collection.
    programs: Option<BTreeMap<String, StandingOnDisk>>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StandingOnDisk {
    /// With what it seems to start and could not be built.
    Ready(BTreeMap<String, String>),
    Unknown,
    Failed(String),
}

/// Entries in one directory.
#[derive(Debug)]
pub(super) struct Shelf {
    entries: PathBuf,
}

/// Programs of an entry; none where the tree has no such collection.
pub(super) type Programs = Option<BTreeMap<String, Standing>>;

impl Shelf {
    pub(super) fn new(entries: PathBuf) -> Self {
        Self { entries }
    }

    pub(super) fn entry(&self, key: Digest) -> PathBuf {
        self.entries.join(key.to_string())
    }

    /// Held by who builds an entry.
    pub(super) fn lock(&self, key: Digest) -> PathBuf {
        self.entries.join(format!("{key}.lock"))
    }

    /// What was built before.
    pub(super) fn lookup(&self, key: Digest) -> Option<Programs> {
        let text = fs::read(self.entry(key).join("meta.json")).ok()?;
        let file: MetaFile = serde_json::from_slice(&text).ok()?;
        let is_it = file.format == FORMAT && file.key == key.to_string();
        let programs = file
            .programs
            .map(|programs| programs.into_iter().map(|(name, standing)| (name, standing.into())).collect());
        is_it.then_some(programs)
    }

    /// Begins an entry. Dropping it removes it.
    pub(super) fn stage(&self) -> Result<TempDir, FileError> {
        cache::create_dir(&self.entries)?;
        tempfile::Builder::new().prefix(PARTIAL).tempdir_in(&self.entries).at("create", &self.entries)
    }

    /// Puts an entry into its place. The caller holds its lock, so what is there
    /// is damaged.
    pub(super) fn commit(&self, staged: TempDir, key: Digest, programs: &Programs) -> Result<(), FileError> {
        let target = self.entry(key);
        let programs = programs.as_ref().map(|programs| {
            programs.iter().map(|(name, standing)| (name.clone(), standing.clone().into())).collect()
        });
        let file = MetaFile { format: FORMAT, key: key.to_string(), programs };
        cache::write_json(&staged.path().join("meta.json"), &file)?;
        // A temporary directory is private; an entry is as open as the cache is.
        fs::set_permissions(staged.path(), fs::Permissions::from_mode(0o755)).at("write", staged.path())?;
        cache::remove(&target)?;
        fs::rename(staged.path(), &target).at("create", &target)?;
        // Moved away: nothing is left to clean up.
        let _ = staged.keep();
        Ok(())
    }
}

impl From<StandingOnDisk> for Standing {
    fn from(standing: StandingOnDisk) -> Self {
        match standing {
            StandingOnDisk::Ready(lacks) => Self::Ready(lacks),
            StandingOnDisk::Unknown => Self::Unknown,
            StandingOnDisk::Failed(error) => Self::Failed(error),
        }
    }
}

impl From<Standing> for StandingOnDisk {
    fn from(standing: Standing) -> Self {
        match standing {
            Standing::Ready(lacks) => Self::Ready(lacks),
            Standing::Unknown => Self::Unknown,
            Standing::Failed(error) => Self::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_again_and_only_under_its_key() {
        let dir = tempfile::tempdir().expect("tempdir");
        let shelf = Shelf::new(dir.path().join("selftests"));
        let programs = BTreeSet::from(["tls".to_owned()]);
        let key = |source| {
            Key { source, compiler: "gcc", flags: &[], collection: "net", programs: &programs }.digest()
        };
        assert_eq!(shelf.lookup(key("a")), None);
        let failed = BTreeMap::from([("tls".to_owned(), Standing::Failed("numa.h".into()))]);
        let staged = shelf.stage().expect("staged");
        shelf.commit(staged, key("a"), &Some(failed.clone())).expect("committed");
        assert_eq!(shelf.lookup(key("a")), Some(Some(failed)));
        assert_eq!(shelf.lookup(key("b")), None);
    }

    #[test]
    fn a_damaged_entry_is_built_again() {
        let dir = tempfile::tempdir().expect("tempdir");
        let shelf = Shelf::new(dir.path().to_owned());
        let key = Digest::of("x");
        fs::create_dir(shelf.entry(key)).expect("mkdir");
        fs::write(shelf.entry(key).join("meta.json"), "{").expect("write");
        assert_eq!(shelf.lookup(key), None);
        shelf.commit(shelf.stage().expect("staged"), key, &None).expect("committed");
        assert_eq!(shelf.lookup(key), Some(None));
    }
}
