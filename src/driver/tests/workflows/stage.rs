//! What the cases have in common: a directory for everything, programs that do nothing but
//! say what was asked of them, and what is left when all is over.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use kregress::exec::Cmd;
use serde_json::Value;
use walkdir::WalkDir;

use crate::fake_kernel::fake_qemu;
use crate::runner::{Ran, World};

/// Files of an artifact that are looked at, in bytes: every report of ours is smaller.
const LARGEST: u64 = 4 << 20;

/// Puts in the place of the compiler who has compiled already.
const CARGO: &str = "install -D \"$KREGRESS_BUILT\" \"$CARGO_TARGET_DIR/release/kregress\"";

/// Programs that would change the host.
const STUBS: [(&str, &str); 7] = [
    ("cargo", CARGO),
    ("sudo", ":"),
    ("udevadm", ":"),
    ("apt-get", ":"),
    ("apt-cache", "echo 'linux-source-6.12 - source'"),
    ("dpkg-query", "exit 1"),
    ("make", ":"),
];

/// Everything of a case: gone with it.
pub(crate) struct Stage {
    root: tempfile::TempDir,
    pub(crate) world: World,
}

/// What is left of a case.
pub(crate) struct Seen {
    pub(crate) ran: Ran,
    /// Text files of the artifacts, by the name of the artifact and the path in it.
    pub(crate) files: BTreeMap<String, String>,
    /// What was asked of programs that would change the host.
    pub(crate) asked: BTreeSet<String>,
}

impl Stage {
    /// With these directories as the repository that calls.
    pub(crate) fn new(repository: Vec<PathBuf>) -> Self {
        let root = tempfile::tempdir().expect("a directory");
        let stubs = root.path().join("stubs");
        fs::create_dir(&stubs).expect("a directory");
        let asked = root.path().join("asked");
        let mut world = World::new(root.path().to_owned(), repository, stubs.clone());
        world.env = [
            ("KREGRESS_BUILT", env!("CARGO_BIN_EXE_kregress").to_owned()),
            ("KREGRESS_QEMU", fake_qemu().display().to_string()),
            ("ASKED", asked.display().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec();
        let stage = Self { root, world };
        for (name, script) in STUBS {
            stage.stub(&stubs, name, script);
        }
        stage
    }

    /// A program that writes down its words, and does this.
    pub(crate) fn stub(&self, place: &Path, name: &str, script: &str) {
        // By a child: a file that a thread of ours has open for writing cannot be run.
        let write = "printf '#!/bin/sh\\necho \"%s $*\" >>\"$ASKED\"\\n%s\\n' \"$2\" \"$3\" >\"$1\"; chmod 755 \"$1\"";
        let words: [OsString; 3] = [place.join(name).into(), name.into(), script.into()];
        Cmd::new("sh").args(["-c", write, "sh"]).args(words).read().expect("a stub");
    }

    /// Runs a workflow of this repository.
    pub(crate) fn run(&self, file: &str, event: &str, inputs: &Value) -> Seen {
        let ran = self.world.run(file, event, inputs);
        Seen { ran, files: self.files(), asked: self.asked() }
    }

    fn asked(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(self.root.path().join("asked")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn files(&self) -> BTreeMap<String, String> {
        let root = self.root.path().join("services/artifacts").join(&self.world.run);
        let mut files = BTreeMap::new();
        for entry in WalkDir::new(&root).into_iter().filter_map(Result::ok) {
            let small = entry.metadata().is_ok_and(|it| it.is_file() && it.len() < LARGEST);
            if let (true, Ok(text)) = (small, fs::read_to_string(entry.path())) {
                let name = entry.path().strip_prefix(&root).expect("below").display().to_string();
                files.insert(name, text);
            }
        }
        files
    }
}

impl Seen {
    /// A file of an artifact; `*` stands for one directory of any name.
    #[track_caller]
    pub(crate) fn file(&self, path: &str) -> &str {
        let matches = |name: &str| {
            let (mut pattern, mut parts) = (path.split('/'), name.split('/'));
            pattern.by_ref().zip(parts.by_ref()).all(|(a, b)| a == "*" || a == b)
                && path.split('/').count() == name.split('/').count()
        };
        let names: Vec<&String> = self.files.keys().collect();
        let found = self.files.iter().find(|(name, _)| matches(name));
        found.map_or_else(|| panic!("no `{path}` in {names:?}"), |(_, text)| text.as_str())
    }
}
