//! A repository of a user in the middle of their work, and series of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use kregress::exec::Cmd;
use kregress::kernel::BuildEnv;
use kregress::series::{Asked, Fate, Patch, Series, SeriesError, read};
use tempfile::TempDir;

/// The file that most patches are about.
pub(crate) const FILE: &str = "net/core/dev.c";

/// Its lines, with these replaced.
pub(crate) fn lines(changed: &[(usize, &str)]) -> String {
    let line = |at: usize| match changed.iter().find(|(changed, _)| *changed == at) {
        Some((_, text)) => format!("\t{text}\n"),
        None => format!("\tline {at};\n"),
    };
    (1..=40).map(line).collect()
}

/// All files of a repository, with contents and times.
pub(crate) struct Everything(BTreeMap<PathBuf, (Vec<u8>, SystemTime)>);

/// A repository with a commit on `main`, tagged `base`, and three patches on top
/// of it on `topic`.
pub(crate) struct Repository {
    dir: TempDir,
}

impl Repository {
    pub(crate) fn new() -> Self {
        let repository = Self { dir: tempfile::tempdir().expect("a directory") };
        fs::create_dir_all(repository.tree().join("net/core")).expect("a directory");
        fs::create_dir(repository.path("home")).expect("a directory");
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository.commit(&[(FILE, &lines(&[])), ("Kconfig", "config A\n")], "start");
        repository.git(&["tag", "base"]);
        repository.git(&["checkout", "--quiet", "-b", "topic"]);
        repository.commit(&[(FILE, &lines(&[(5, "five;")]))], "net: fünf lines — really\n\nBecause.");
        repository
            .commit(&[(FILE, &lines(&[(5, "five;"), (20, "twenty;")])), ("new.c", "int x;\n")], "net: more");
        repository
            .commit(&[(FILE, &lines(&[(5, "five;"), (20, "twenty;"), (35, "last;")]))], "net: the last");
        repository
    }

    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(below)
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.path("linux")
    }

    pub(crate) fn write(&self, below: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(&path, text).expect("a file");
        path
    }

    /// Runs git in the repository, deaf to the configuration of whoever runs us.
    pub(crate) fn git(&self, args: &[&str]) -> String {
        let identity = ["AUTHOR", "COMMITTER"].into_iter().flat_map(|who| {
            [("NAME", "A U Thör"), ("EMAIL", "author@example.org"), ("DATE", "1767225600 +0100")]
                .map(|(what, value)| (format!("GIT_{who}_{what}"), value))
        });
        let cmd = Cmd::new("git")
            .env("HOME", self.path("home"))
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("XDG_CONFIG_HOME", self.path("home"))
            .current_dir(self.tree())
            .args(args.iter().copied());
        identity.fold(cmd, |cmd, (key, value)| cmd.env(key, value)).read().expect("git").trim().to_owned()
    }

    /// Commits everything, with these files.
    pub(crate) fn commit(&self, files: &[(&str, &str)], message: &str) {
        for (file, text) in files {
            self.write(&format!("linux/{file}"), text);
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", message]);
    }

    pub(crate) fn rev(&self, revision: &str) -> String {
        self.git(&["rev-parse", revision])
    }

    /// Writes `base..topic` to a directory, as `git format-patch` does with these
    /// arguments.
    pub(crate) fn format_patch(&self, args: &[&str]) -> PathBuf {
        let out = self.path("out");
        let out_arg = format!("--output-directory={}", out.display());
        let fixed: &[&str] = &["format-patch", "--quiet", &out_arg, "--base=base"];
        self.git(&[fixed, args, &["base..topic"]].concat());
        out
    }

    /// The same as one text.
    pub(crate) fn mbox(&self, args: &[&str]) -> String {
        let fixed: &[&str] = &["format-patch", "--stdout", "--base=base"];
        format!("{}\n", self.git(&[fixed, args, &["base..topic"]].concat()))
    }

    pub(crate) fn env(&self) -> BuildEnv {
        let mut env = BuildEnv::new(self.path("cache"), BTreeMap::new());
        env.interrupted = || false;
        env
    }

    pub(crate) fn read(&self, word: &str, base: Option<&str>) -> Result<Series, SeriesError> {
        let asked = Asked::parse(word, Path::exists)?;
        read(&asked, &self.tree(), base, &self.env(), || ())
    }

    /// Reads a file or directory.
    #[track_caller]
    pub(crate) fn mails(&self, path: &Path) -> Series {
        self.read(&path.display().to_string(), None).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Why there is no series, with our own directory called `[DIR]`.
    #[track_caller]
    pub(crate) fn refused(&self, word: &Path, base: Option<&str>) -> String {
        let error = self.read(&word.display().to_string(), base).expect_err("no series");
        self.plain(&error.to_string())
    }

    pub(crate) fn plain(&self, text: &str) -> String {
        text.replace(&self.dir.path().display().to_string(), "[DIR]")
    }

    /// Everything in the work tree and in `.git`: names, contents and times, but of
    /// objects not the times, which git sets when it would write one again.
    pub(crate) fn everything(&self) -> Everything {
        let objects = self.tree().join(".git/objects");
        let entries = walkdir::WalkDir::new(self.tree()).into_iter().map(|entry| entry.expect("an entry"));
        let describe = |entry: walkdir::DirEntry| {
            let contents = if entry.file_type().is_file() { fs::read(entry.path()) } else { Ok(Vec::new()) };
            let modified = entry.metadata().expect("metadata").modified().expect("a time");
            let is_object = entry.file_type().is_file() && entry.path().starts_with(&objects);
            let modified = if is_object { SystemTime::UNIX_EPOCH } else { modified };
            (entry.into_path(), (contents.expect("contents"), modified))
        };
        Everything(entries.map(describe).collect())
    }

    /// Nothing there is another than before.
    #[track_caller]
    pub(crate) fn check_unchanged(&self, before: &Everything) {
        let now = self.everything();
        let paths: BTreeSet<_> = before.0.keys().chain(now.0.keys()).collect();
        let changed: Vec<_> =
            paths.into_iter().filter(|path| before.0.get(*path) != now.0.get(*path)).collect();
        assert!(changed.is_empty(), "{changed:?}");
    }

    /// What the bench of the only family of the cache has left.
    pub(crate) fn left_on_the_bench(&self) -> Vec<String> {
        let family = fs::read_dir(self.path("cache/trees")).expect("trees").next().expect("a family");
        let family = fs::read_dir(family.expect("a family").path()).expect("the family");
        let mut names: Vec<_> =
            family.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

/// The trees that patches came to.
pub(crate) fn trees(series: &Series) -> Vec<String> {
    let tree = |patch: &Patch| match &patch.fate {
        Fate::Committed { tree, .. } => tree.clone(),
        other => format!("{other:?}"),
    };
    series.patches.iter().map(tree).collect()
}

/// What the user is told beside the patches.
pub(crate) fn told(series: &Series) -> String {
    series.notes.iter().map(|note| format!("{note}\n")).collect()
}

/// Number, title and files of each patch.
pub(crate) fn listed(series: &Series) -> String {
    let line = |patch: &Patch| format!("{} {}: {}\n", patch.number, patch.subject, patch.files.join(" "));
    series.patches.iter().map(line).collect()
}
