//! The user's git repository: which tree a revision is, and which tree a work
//! tree would be if it were committed. Nothing in the repository is written: no
//! file, object, reference, index or configuration.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Output;

use super::error::{History, SourceError};
use super::family_name;
use crate::exec::Cmd;
use crate::kernel::cache;
use crate::kernel::env::Tools;
use crate::kernel::error::{At as _, FileError, KernelProblem};
use crate::kernel::hash::Digest;

/// Variables that would make git look at another repository, another index or
/// other objects than we say. A kregress started by a git hook has them set.
const FOREIGN: [&str; 13] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INDEX_VERSION",
    "GIT_OBJECT_DIRECTORY",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_NAMESPACE",
    "GIT_PREFIX",
    "GIT_CONFIG",
    "GIT_CONFIG_PARAMETERS",
    "GIT_SHALLOW_FILE",
    "GIT_CEILING_DIRECTORIES",
];

/// Settings for every git of ours, over those of the user.
const SETTINGS: [(&str, &str); 6] = [
    // Hooks are the user's programs for the user's work.
    ("core.hooksPath", "/dev/null"),
    // Would leave a daemon behind.
    ("core.fsmonitor", "false"),
    // Would write into the user's repository.
    ("core.splitIndex", "false"),
    ("core.untrackedCache", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
];

/// How alike two names are, from 0 to 1, for one to be offered in place of the
/// other. From experience: `v6.12-rc` and `v6.12-rc1` are at 0.98, two random
/// branch names at 0.5.
const ALIKE: f64 = 0.85;

/// A git that obeys nobody but us.
pub(super) fn git(tools: &Tools, more: &[(&str, &str)]) -> Cmd {
    let mut cmd = FOREIGN.iter().fold(tools.cmd("git"), |cmd, name| cmd.env_remove(*name));
    let settings: Vec<_> = SETTINGS.iter().chain(more).collect();
    for (index, (key, value)) in settings.iter().enumerate() {
        cmd =
            cmd.env(format!("GIT_CONFIG_KEY_{index}"), *key).env(format!("GIT_CONFIG_VALUE_{index}"), *value);
    }
    cmd.env("GIT_CONFIG_COUNT", settings.len().to_string())
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
}

/// A repository of the user's.
#[derive(Debug, Clone)]
pub(super) struct Repository {
    tools: Tools,
    /// What the user named, without symbolic links.
    path: PathBuf,
    /// `.git`, or that of a linked work tree.
    git_dir: PathBuf,
    /// `.git` of the main work tree.
    common_dir: PathBuf,
}

/// A revision, resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// None if the revision is a bare tree.
    pub(super) commit: Option<String>,
    pub(super) tree: String,
}

/// A work tree as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) tree: String,
    /// Where those of its objects are that the repository does not have.
    pub(super) objects: PathBuf,
}

impl Repository {
    /// The repository whose top or `.git` is at `path`; none further up.
    pub(super) fn open(tools: &Tools, path: &Path) -> Result<Self, KernelProblem> {
        let path =
            fs::canonicalize(path).map_err(|source| SourceError::missing("git repository", path, source))?;
        if !path.is_dir() {
            return Err(SourceError::NotRepository { path }.into());
        }
        // kregress itself is often developed in a repository above.
        let ceiling = path.parent().map_or_else(OsString::new, |parent| parent.as_os_str().to_owned());
        let output = git(tools, &[])
            .env("GIT_CEILING_DIRECTORIES", ceiling)
            .arg("-C")
            .arg(&path)
            .args(["rev-parse", "--path-format=absolute", "--git-dir", "--git-common-dir"])
            .run()?;
        let Some(said) = success(&output) else {
            let said = stderr(&output);
            let error = if said.contains("not a git repository") {
                SourceError::NotRepository { path }
            } else {
                SourceError::Git { what: "read", repository: path, said }
            };
            return Err(error.into());
        };
        match said.lines().collect::<Vec<_>>()[..] {
            [git_dir, common_dir] => Ok(Self {
                tools: tools.clone(),
                git_dir: git_dir.into(),
                common_dir: common_dir.into(),
                path,
            }),
            _ => Err(SourceError::Git { what: "read", repository: path, said }.into()),
        }
    }

    /// Name of what the cache keeps of it; the same for all its work trees.
    pub(super) fn family(&self) -> String {
        let digest = Digest::of(self.common_dir.as_os_str().as_encoded_bytes());
        // `/home/me/linux/.git` is known as linux, `/srv/linux.git` too.
        let name = match self.common_dir.file_name() {
            Some(name) if name == ".git" => self.common_dir.parent().unwrap_or(&self.common_dir).to_owned(),
            _ => self.common_dir.with_extension(""),
        };
        family_name(&name, &digest)
    }

    /// What the user named.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Its own directory, with neither a work tree nor anything of ours in it.
    pub(super) fn git_dir(&self) -> &Path {
        &self.git_dir
    }

    /// Where its objects are.
    pub(super) fn objects(&self) -> PathBuf {
        self.common_dir.join("objects")
    }

    /// Whether its history is cut off: `git clone --depth`.
    pub(super) fn is_shallow(&self) -> bool {
        self.common_dir.join("shallow").exists()
    }

    /// Commits whose parents are cut off.
    pub(super) fn cut_off(&self) -> Vec<String> {
        let text = fs::read_to_string(self.common_dir.join("shallow")).unwrap_or_default();
        text.lines().map(|line| line.trim().to_owned()).collect()
    }

    /// Git's refusal to do something; `what` is an infinitive.
    pub(super) fn refused(&self, what: &'static str, said: String) -> SourceError {
        SourceError::Git { what, repository: self.path.clone(), said }
    }

    /// A git in this repository that sees no work tree and no index of the user's.
    pub(super) fn git(&self, more: &[(&str, &str)]) -> Cmd {
        git(&self.tools, more).env("GIT_DIR", &self.git_dir)
    }

    /// Finds out what a revision is.
    pub(super) fn resolve(&self, revision: &str) -> Result<Resolved, KernelProblem> {
        self.resolve_with(revision, None)
    }

    /// The same where commits of ours are revisions too, whose objects are in a
    /// directory of the cache.
    pub(super) fn resolve_with(
        &self,
        revision: &str,
        objects: Option<&Path>,
    ) -> Result<Resolved, KernelProblem> {
        let parse = |what: &str| {
            let git = with_objects(self.git(&[]), objects);
            git.args(["rev-parse", "--verify", "--end-of-options", what]).run()
        };
        let output = parse(revision)?;
        let Some(object) = success(&output) else {
            let said = stderr(&output);
            if said.contains("ambiguous") {
                let repository = self.path.clone();
                return Err(SourceError::Git { what: "find the revision in", repository, said }.into());
            }
            return Err(self.unknown(revision)?.into());
        };
        // Not in one go: `:/text^{tree}` would search for another text.
        let object = object.trim();
        let tree = parse(&format!("{object}^{{tree}}"))?;
        let Some(tree) = success(&tree) else { return Err(self.unknown(revision)?.into()) };
        let commit = success(&parse(&format!("{object}^{{commit}}"))?);
        Ok(Resolved { commit: commit.map(|commit| commit.trim().to_owned()), tree: tree.trim().to_owned() })
    }

    /// Finds out which commit a revision is.
    pub(super) fn commit(&self, revision: &str) -> Result<String, KernelProblem> {
        let resolved = self.resolve(revision)?;
        resolved.commit.ok_or_else(|| SourceError::NotCommit { revision: revision.to_owned() }.into())
    }

    fn unknown(&self, revision: &str) -> Result<SourceError, KernelProblem> {
        let refs = self
            .git(&[])
            .args(["for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags", "refs/remotes"])
            .run()?;
        let refs = success(&refs).unwrap_or_default();
        Ok(SourceError::UnknownRevision {
            repository: self.path.clone(),
            revision: revision.to_owned(),
            nearest: nearest(revision, refs.lines()),
            history: if self.is_shallow() { History::Shallow } else { History::Full },
        })
    }

    /// Takes the work tree as it stands, changes and new files included, ignored
    /// files not. New objects go into `family`, a directory of the cache.
    pub(super) fn snapshot(&self, family: &Path) -> Result<Snapshot, KernelProblem> {
        let objects = family.join("objects");
        cache::create_dir(&objects)?;
        // A copy of the index knows which files are unchanged, so that only the
        // others are read.
        let scratch = tempfile::Builder::new().prefix("snapshot-").tempdir_in(family).at("create", family)?;
        let index = scratch.path().join("index");
        copy_index(&self.git_dir.join("index"), &index)?;
        let git = |args: &[&str]| -> Result<String, KernelProblem> {
            let cmd = self
                .git(&[("advice.addEmbeddedRepo", "false"), ("core.safecrlf", "false")])
                .env("GIT_WORK_TREE", &self.path)
                .env("GIT_INDEX_FILE", &index)
                .env("GIT_OBJECT_DIRECTORY", &objects)
                .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.objects())
                .current_dir(&self.path)
                .args(args.iter().copied());
            let output = cmd.run()?;
            success(&output).ok_or_else(|| {
                let repository = self.path.clone();
                SourceError::Git { what: "take a snapshot of", repository, said: stderr(&output) }.into()
            })
        };
        git(&["add", "--all", "--", "."])?;
        let tree = git(&["write-tree"])?.trim().to_owned();
        Ok(Snapshot { tree, objects })
    }
}

/// A git that finds objects in this directory too.
pub(super) fn with_objects(cmd: Cmd, objects: Option<&Path>) -> Cmd {
    match objects {
        Some(objects) => cmd.env("GIT_ALTERNATE_OBJECT_DIRECTORIES", objects),
        None => cmd,
    }
}

/// Copies an index with its time. Git takes files that changed at or after that
/// time for changed even if they look the same; a younger copy would hide them.
fn copy_index(from: &Path, to: &Path) -> Result<(), FileError> {
    let metadata = match fs::metadata(from) {
        Ok(metadata) => metadata,
        // Nothing was ever added.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).at("read", from),
    };
    let modified = metadata.modified().at("read", from)?;
    fs::copy(from, to).at("copy", from)?;
    let copy = File::options().write(true).open(to).at("write", to)?;
    copy.set_modified(modified).at("write", to)
}

pub(super) fn success(output: &Output) -> Option<String> {
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(super) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Up to three names that are spelt like `wanted`, the most similar first.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<_> = names
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_spelt_alike_are_offered_best_first() {
        let names = ["master", "v6.12", "v6.12-rc1", "v6.1", "topic/net_mutex"];
        assert_eq!(nearest("v6.12-rc", names.into_iter()), ["v6.12-rc1", "v6.12", "v6.1"]);
        assert_eq!(nearest("mastr", names.into_iter()), ["master"]);
        assert_eq!(nearest("0123abcd", names.into_iter()), Vec::<String>::new());
    }
}
