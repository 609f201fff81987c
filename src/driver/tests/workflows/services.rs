//! What GitHub keeps between jobs: caches and artifacts, as directories. And the lines of
//! a log that the runner would take for commands.

use std::fs;
use std::path::{Path, PathBuf};

use kregress::exec::Cmd;
use walkdir::WalkDir;

/// Copies what is in a directory, links as links.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    Cmd::new("cp").args(["-a", "--"]).arg(from.join(".")).arg(to).read().expect("copied");
}

/// Caches and artifacts of all runs of a test.
pub(crate) struct Services {
    root: PathBuf,
}

impl Services {
    pub(crate) fn new(root: PathBuf) -> Self {
        fs::create_dir_all(root.join("caches")).expect("a directory");
        Self { root }
    }

    /// Names that a cache was saved under.
    pub(crate) fn caches(&self) -> Vec<String> {
        names(&self.root.join("caches"))
    }

    /// Restores the cache of this key, or the newest that begins with one of these; gives
    /// the name of what it restored.
    pub(crate) fn restore(&self, key: &str, prefixes: &[&str], paths: &[PathBuf]) -> Option<String> {
        let all = self.caches();
        let begins = |prefix: &&str| all.iter().rev().find(|name| name.starts_with(*prefix)).cloned();
        let found = all.iter().find(|name| *name == key).cloned();
        let found = found.or_else(|| prefixes.iter().find_map(begins))?;
        for (at, path) in paths.iter().enumerate() {
            let kept = self.root.join("caches").join(&found).join(at.to_string());
            if kept.exists() {
                copy(&kept, path);
            }
        }
        Some(found)
    }

    /// Saves a cache; one that is there is never changed.
    pub(crate) fn save(&self, key: &str, paths: &[PathBuf]) {
        assert!(!key.is_empty() && !key.contains(','), "no key of a cache: `{key}`");
        let place = self.root.join("caches").join(key);
        if place.exists() {
            return;
        }
        for (at, path) in paths.iter().enumerate().filter(|(_, path)| path.exists()) {
            copy(path, &place.join(at.to_string()));
        }
    }

    fn artifact(&self, run: &str, name: &str) -> PathBuf {
        self.root.join("artifacts").join(run).join(name)
    }

    /// Keeps files below the nearest directory that holds all of them.
    pub(crate) fn upload(&self, run: &str, name: &str, paths: &[PathBuf]) {
        let place = self.artifact(run, name);
        if place.exists() {
            fs::remove_dir_all(&place).expect("overwritten");
        }
        match paths {
            [only] if only.is_dir() => copy(only, &place),
            paths => {
                let parent = paths[0].parent().expect("a parent");
                assert!(paths.iter().all(|path| path.parent() == Some(parent)), "{paths:?}");
                fs::create_dir_all(&place).expect("a directory");
                for path in paths {
                    Cmd::new("cp").arg("-a").arg(path).arg(&place).read().expect("copied");
                }
            }
        }
        Self::travelled(&place);
    }

    /// What does not travel: hidden files stay behind, and some names are refused.
    fn travelled(place: &Path) {
        for entry in WalkDir::new(place).min_depth(1).contents_first(true) {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_str().expect("UTF-8");
            assert!(!name.contains(['"', ':', '<', '>', '|', '*', '?', '\r', '\n', '\\']), "refused: {name}");
            if name.starts_with('.') {
                let gone = if entry.file_type().is_dir() { fs::remove_dir_all } else { fs::remove_file };
                gone(entry.path()).expect("left behind");
            }
        }
    }

    /// Artifacts of a run, by name.
    pub(crate) fn artifacts(&self, run: &str) -> Vec<String> {
        names(&self.root.join("artifacts").join(run))
    }

    /// Where an artifact lies.
    pub(crate) fn place(&self, run: &str, name: &str) -> PathBuf {
        self.artifact(run, name)
    }
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<_> = entries.map(|entry| name(entry.expect("an entry"))).collect();
    names.sort();
    names
}

/// The commands in a log, whole lines, as the runner finds them: `::name ...::` at the
/// beginning of a line behind blanks, and the old `##[name]` anywhere.
pub(crate) fn commands(log: &str) -> Vec<&str> {
    let mut stopped: Option<&str> = None;
    let mut found = Vec::new();
    for line in log.lines() {
        let trimmed = line.trim_start();
        if let Some(token) = stopped {
            if trimmed.strip_prefix("::").and_then(|rest| rest.strip_suffix("::")) == Some(token) {
                stopped = None;
            }
            continue;
        }
        if let Some(token) = trimmed.strip_prefix("::stop-commands::") {
            stopped = Some(token.trim());
            continue;
        }
        let is_new = trimmed.strip_prefix("::").is_some_and(|rest| rest.contains("::"));
        if is_new || line.contains("##[") {
            found.push(line);
        }
    }
    assert_eq!(stopped, None, "commands stay stopped behind this step:\n{log}");
    found
}

#[test]
fn commands_are_found_where_the_runner_finds_them_and_not_between_the_tokens() {
    let log = "a\n::error title=x::y\n  ::warning::z\nb ##[error]c\n::stop-commands::t\n::error::no\n::t::\nx ::error::y\n";
    assert_eq!(commands(log), ["::error title=x::y", "  ::warning::z", "b ##[error]c"]);
}
