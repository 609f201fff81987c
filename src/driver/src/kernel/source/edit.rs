//! Trees with a change that no commit has: a patch applied, a commit taken back.
//!
//! The user's repository is read and never written: new objects go into a
//! directory of the cache, and the index is a temporary one. There is no work
//! tree; what a tree becomes is decided on its objects alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::error::SourceError;
use super::git::{Repository, stderr, success};
use crate::exec::Cmd;
use crate::kernel::cache;
use crate::kernel::env::BuildEnv;
use crate::kernel::error::{At as _, KernelProblem};

/// What applying a patch came to. Trees are named by their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Patched {
    /// This tree.
    Applied(String),
    /// Everything in the patch is there already.
    NotNeeded,
    /// The tree is another one than the patch is for; git's words, on one line.
    DoesNotApply(String),
}

/// What taking a commit back came to. Trees are named by their hash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reverted {
    /// This tree.
    Reverted(String),
    /// Nothing of the commit is there any more.
    NotNeeded,
    /// Later changes are in the way, in these files.
    Conflicts(Vec<String>),
}

/// Tries a patch file on a revision, without building anything.
///
/// # Errors
///
/// Fails when the repository, the revision or the file is not there, and when
/// the file is no patch.
pub fn apply(
    repository: &Path,
    revision: &str,
    patch: &Path,
    env: &BuildEnv,
) -> Result<Patched, KernelProblem> {
    let repository = Repository::open(&env.tools, repository)?;
    let tree = repository.resolve(revision)?.tree;
    Editor::new(&repository, env)?.apply(&tree, patch)
}

/// Tries to take a commit back on a revision, without building anything. Of a
/// merge all that it brought to its first parent is taken back.
///
/// # Errors
///
/// Fails when the repository or one of the revisions is not there.
pub fn revert(
    repository: &Path,
    revision: &str,
    culprit: &str,
    env: &BuildEnv,
) -> Result<Reverted, KernelProblem> {
    let repository = Repository::open(&env.tools, repository)?;
    let tree = repository.resolve(revision)?.tree;
    Editor::new(&repository, env)?.revert(&tree, culprit)
}

/// Settings of the user's that would change what a patch is or does.
pub(super) const SETTINGS: [(&str, &str); 3] =
    [("apply.whitespace", "nowarn"), ("apply.ignoreWhitespace", "no"), ("core.autocrlf", "false")];

/// Makes trees of the trees of a repository.
#[derive(Debug)]
pub(super) struct Editor<'a> {
    repository: &'a Repository,
    /// Of the cache; there a build finds them.
    objects: PathBuf,
    /// Index and patches. Gone with the editor.
    scratch: tempfile::TempDir,
}

impl<'a> Editor<'a> {
    pub(super) fn new(repository: &'a Repository, env: &BuildEnv) -> Result<Self, KernelProblem> {
        let family = env.cache.family(&repository.family());
        let objects = family.join("objects");
        env.cache.create()?;
        cache::create_dir(&objects)?;
        let scratch = tempfile::Builder::new().prefix("edit-").tempdir_in(&family).at("create", &family)?;
        Ok(Self { repository, objects, scratch })
    }

    /// Where those objects of its trees are that the repository does not have.
    pub(super) fn objects(&self) -> &Path {
        &self.objects
    }

    /// Applies a patch file, if it applies.
    pub(super) fn apply(&self, tree: &str, patch: &Path) -> Result<Patched, KernelProblem> {
        let patch = fs::canonicalize(patch).map_err(|source| SourceError::missing("patch", patch, source))?;
        // Reads it and touches nothing.
        let parsed = self.git().args(["apply", "--numstat"]).arg(&patch).run()?;
        if !parsed.status.success() {
            return Err(SourceError::NotPatch { path: patch, said: stderr(&parsed) }.into());
        }
        self.read_tree(tree)?;
        let git_apply = || self.git().args(["apply", "--cached"]);
        let applied = git_apply().arg(&patch).run()?;
        if applied.status.success() {
            return Ok(Patched::Applied(self.write_tree()?));
        }
        let there = git_apply().args(["--check", "--reverse"]).arg(&patch).run()?;
        Ok(if there.status.success() {
            Patched::NotNeeded
        } else {
            Patched::DoesNotApply(first_error(&applied))
        })
    }

    /// Takes a commit back, if nothing is in the way.
    pub(super) fn revert(&self, tree: &str, culprit: &str) -> Result<Reverted, KernelProblem> {
        let culprit = self.repository.commit(culprit)?;
        let patch = self.scratch.path().join("culprit.patch");
        let difference = self
            .git()
            .args(["diff-tree", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff"])
            .args(["--no-textconv", "--src-prefix=a/", "--dst-prefix=b/"])
            .arg(format!("--output={}", patch.display()));
        let parent = format!("{culprit}^1");
        let has_parent =
            self.git().args(["rev-parse", "--verify", "--quiet", &parent]).run()?.status.success();
        let difference = if has_parent {
            difference.args([parent, culprit])
        } else {
            difference.args(["--root", "--no-commit-id"]).arg(culprit)
        };
        self.said(&difference.run()?)?;
        if fs::metadata(&patch).at("read", &patch)?.len() == 0 {
            return Ok(Reverted::NotNeeded);
        }
        self.read_tree(tree)?;
        let reverted = self.git().args(["apply", "--cached", "--3way", "--reverse"]).arg(&patch).run()?;
        if !reverted.status.success() {
            return Ok(Reverted::Conflicts(self.conflicts(&reverted)?));
        }
        let made = self.write_tree()?;
        Ok(if made == tree { Reverted::NotNeeded } else { Reverted::Reverted(made) })
    }

    /// A git that knows our index and our objects, and no work tree but an empty
    /// directory.
    fn git(&self) -> Cmd {
        self.repository
            .git(&SETTINGS)
            .env("GIT_WORK_TREE", self.scratch.path())
            .env("GIT_INDEX_FILE", self.scratch.path().join("index"))
            .env("GIT_OBJECT_DIRECTORY", &self.objects)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.repository.objects())
            .current_dir(self.scratch.path())
    }

    fn said(&self, output: &Output) -> Result<String, KernelProblem> {
        success(output).ok_or_else(|| self.repository.refused("edit a tree of", stderr(output)).into())
    }

    fn read_tree(&self, tree: &str) -> Result<(), KernelProblem> {
        cache::remove(&self.scratch.path().join("index"))?;
        self.said(&self.git().args(["read-tree", tree]).run()?)?;
        Ok(())
    }

    fn write_tree(&self) -> Result<String, KernelProblem> {
        Ok(self.said(&self.git().arg("write-tree").run()?)?.trim().to_owned())
    }

    /// Files that git could not merge: those left in stages, or, where it did
    /// not come to merging, those that it names.
    fn conflicts(&self, refusal: &Output) -> Result<Vec<String>, KernelProblem> {
        let list = self.said(&self.git().args(["ls-files", "--unmerged", "-z"]).run()?)?;
        let mut files: Vec<_> =
            list.split('\0').filter_map(|entry| Some(entry.split_once('\t')?.1.to_owned())).collect();
        if files.is_empty() {
            let said = stderr(refusal);
            let named = said.lines().filter_map(|line| {
                let (file, _) = line.strip_prefix("error: ")?.rsplit_once(": ")?;
                Some(file.strip_prefix("patch failed: ").unwrap_or(file).to_owned())
            });
            files.extend(named);
        }
        files.sort();
        files.dedup();
        Ok(files)
    }
}

/// The first of git's errors, on one line.
fn first_error(output: &Output) -> String {
    let said = stderr(output);
    let line = said.lines().find_map(|line| line.strip_prefix("error: ")).unwrap_or_default();
    if line.is_empty() { "git names no reason".to_owned() } else { line.to_owned() }
}

#[cfg(test)]
#[path = "edit_tests.rs"]
mod tests;
