//! What is known of the warnings of one kernel, as the store keeps it with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Warning;
use super::ledger::Ledger;
use crate::kernel::cache;
use crate::kernel::error::FileError;

/// Name of the file in an entry of the store.
pub(in crate::kernel) const WARNINGS: &str = "warnings";

/// Version of [`SnapshotFile`].
const VERSION: u32 = 1;

/// What kbuild links apart from what `vmlinux.o` and modules are made of: nothing
/// lists it, so that all that is there counts. Compared with what builds of 6.12
/// left.
const APART: [&str; 9] = [
    "arch/x86/boot/",
    "arch/x86/entry/vdso/",
    "arch/x86/purgatory/",
    "arch/x86/realmode/",
    "arch/x86/tools/",
    "init/version-timestamp.o",
    "scripts/",
    "tools/",
    "usr/",
];

/// What is known of the warnings of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::kernel) struct Snapshot {
    /// Of the ledger that it was taken from.
    pub(super) epoch: String,
    /// Objects of the kernel of which nothing was heard: they were compiled before
    /// that epoch.
    pub(super) unheard: BTreeSet<String>,
    /// By what was being made; only what had warnings.
    pub(super) warnings: BTreeMap<String, Vec<Warning>>,
}

/// The file.
#[derive(Debug, Serialize, Deserialize)]
struct SnapshotFile {
    version: u32,
    epoch: String,
    unheard: BTreeSet<String>,
    warnings: BTreeMap<String, Vec<WarningOnDisk>>,
}

/// A [`Warning`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WarningOnDisk {
    file: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    function: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flag: Option<String>,
}

impl From<&Warning> for WarningOnDisk {
    fn from(warning: &Warning) -> Self {
        let Warning { file, line, function, source, message, flag } = warning.clone();
        Self { file, line, function, source, message, flag }
    }
}

pub(super) fn to_warnings(on_disk: Vec<WarningOnDisk>) -> Vec<Warning> {
    let warning = |it: WarningOnDisk| {
        let WarningOnDisk { file, line, function, source, message, flag } = it;
        Warning { file, line, function, source, message, flag }
    };
    on_disk.into_iter().map(warning).collect()
}

impl Snapshot {
    /// Of the kernel that was just made in the directory of a ledger. `linked`
    /// are the objects of `vmlinux` and of the modules; where they are not known,
    /// everything in the directory counts.
    pub(in crate::kernel) fn of(ledger: &Ledger, linked: Option<&BTreeSet<String>>) -> Self {
        let counts = |target: &String| {
            let is_apart = || target.starts_with('.') || APART.iter().any(|dir| target.starts_with(dir));
            // The directory also has objects of other kernels.
            !is_part(target) || linked.is_none_or(|linked| linked.contains(target)) || is_apart()
        };
        let unheard = ledger.objects().into_iter().filter(|object| !ledger.heard.contains_key(object));
        let warnings = ledger.heard.iter().filter(|(target, said)| !said.is_empty() && counts(target));
        Self {
            epoch: ledger.epoch.clone(),
            unheard: unheard.filter(counts).collect(),
            warnings: warnings.map(|(target, said)| (target.clone(), said.clone())).collect(),
        }
    }

    /// Reads it; `None` if it is not there or of another version.
    pub(in crate::kernel) fn read(path: &Path) -> Option<Self> {
        let file: SnapshotFile = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let warnings = file.warnings.into_iter().map(|(target, said)| (target, to_warnings(said)));
        let warnings = warnings.collect();
        (file.version == VERSION).then_some(Self { epoch: file.epoch, unheard: file.unheard, warnings })
    }

    /// Writes it, whole or not at all.
    pub(in crate::kernel) fn write(&self, path: &Path) -> Result<(), FileError> {
        let on_disk = |said: &Vec<Warning>| said.iter().map(WarningOnDisk::from).collect();
        let warnings = self.warnings.iter().map(|(target, said)| (target.clone(), on_disk(said))).collect();
        let (epoch, unheard) = (self.epoch.clone(), self.unheard.clone());
        cache::write_json(path, &SnapshotFile { version: VERSION, epoch, unheard, warnings })
    }
}

/// Whether it is a compiled part of something, which another kernel need not have.
/// What is made once for every kernel is none: `vmlinux.o`, `kernel/bounds.s`.
fn is_part(target: &str) -> bool {
    target.contains('/') && target.ends_with(".o")
}
