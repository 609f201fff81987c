//! Where kernel source comes from: what identifies it, and how to get it into a
//! directory that can be built from.
//!
//! The user's trees are read and never written: git revisions and git work trees
//! are built from a work tree of our own, tarballs from an unpacked copy, and a
//! plain directory with all output elsewhere.

mod archive;
mod bench;
mod bisecting;
mod checkout;
mod edit;
mod error;
mod git;
mod log;
mod package;
mod state;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) use archive::{Packing, find_archive, unpack};
pub use bench::{Bench, Change, LineEnds, Mail, Presence, Pushed, Revision, Stack};
pub use bisecting::bisecting;
pub use edit::{Patched, Reverted, apply, revert};
pub use error::SourceError;
pub use log::{Authored, Between, Candidate, Commit, History, HistoryError, Parents, authored, history};
pub(super) use package::contents;

use super::env::BuildEnv;
use super::error::{At as _, KernelProblem};
use super::hash::Digest;
use crate::model::{Edit, Source};
use edit::Editor;
use git::Repository;

/// Source of a kernel, identified but perhaps not yet on disk.
#[derive(Debug)]
pub(super) struct Tree {
    /// Equal for equal contents: kind and hash.
    pub(super) identity: String,
    /// Name of the directory in the cache that trees of the same origin share.
    pub(super) family: String,
    /// What to record about it.
    pub(super) facts: BTreeMap<String, String>,
    origin: Origin,
}

#[derive(Debug)]
enum Origin {
    Git { repository: Repository, tree: String, objects: Option<PathBuf> },
    Tarball { path: PathBuf, digest: Digest },
    Directory { path: PathBuf },
}

/// Identifies a source that is built. Reads much, writes only into the cache.
pub(super) fn identify(source: &Source, env: &BuildEnv) -> Result<Tree, KernelProblem> {
    match source {
        Source::Git { repository, revision } => identify_revision(repository, revision, env),
        Source::Edited { repository, revision, edits } => identify_edited(repository, revision, edits, env),
        Source::Directory(path) => identify_directory(path, env),
        Source::Tarball(pattern) => identify_tarball(pattern, env),
        Source::Image { image, .. } => {
            Err(SourceError::NotBuilt { what: image.display().to_string() }.into())
        }
        Source::Deb(package) => Err(SourceError::NotBuilt { what: package.clone() }.into()),
    }
}

fn identify_revision(path: &Path, revision: &str, env: &BuildEnv) -> Result<Tree, KernelProblem> {
    let repository = Repository::open(&env.tools, path)?;
    let family = repository.family();
    // A patch that became a commit is in none of the user's repositories.
    let objects = Some(env.cache.family(&family).join("objects")).filter(|objects| objects.is_dir());
    let resolved = repository.resolve_with(revision, objects.as_deref())?;
    let mut facts = BTreeMap::new();
    facts.insert("source".to_owned(), format!("git `{}` at `{revision}`", path.display()));
    facts.insert("tree".to_owned(), resolved.tree.clone());
    if let Some(commit) = resolved.commit {
        facts.insert("commit".to_owned(), commit);
    }
    Ok(Tree {
        identity: git_identity(&resolved.tree),
        family,
        facts,
        origin: Origin::Git { repository, tree: resolved.tree, objects },
    })
}

/// A revision with changes, which has a tree that no commit has. What the
/// changes came to is in the facts.
fn identify_edited(
    path: &Path,
    revision: &str,
    edits: &[Edit],
    env: &BuildEnv,
) -> Result<Tree, KernelProblem> {
    let plain = identify_revision(path, revision, env)?;
    let Origin::Git { repository, mut tree, .. } = plain.origin else {
        return Err(SourceError::NotRepository { path: path.to_owned() }.into());
    };
    let editor = Editor::new(&repository, env)?;
    let mut notes = Vec::new();
    for edit in edits {
        let (edited, note) = match edit {
            Edit::Fix(patch) => {
                let name = patch.display();
                match editor.apply(&tree, patch)? {
                    Patched::Applied(edited) => (edited, format!("patch `{name}` applied")),
                    Patched::NotNeeded => (tree, format!("patch `{name}` not needed")),
                    Patched::DoesNotApply(why) => (tree, format!("patch `{name}` does not apply: {why}")),
                }
            }
            Edit::Revert(culprit) => match editor.revert(&tree, culprit)? {
                Reverted::Reverted(edited) => (edited, format!("`{culprit}` reverted")),
                Reverted::NotNeeded => (tree, format!("`{culprit}` not there any more")),
                Reverted::Conflicts(files) => {
                    let (culprit, revision) = (culprit.clone(), revision.to_owned());
                    return Err(SourceError::RevertConflicts { culprit, revision, files }.into());
                }
            },
        };
        tree = edited;
        notes.push(note);
    }
    let mut facts = plain.facts;
    facts.insert("tree".to_owned(), tree.clone());
    facts.insert("edits".to_owned(), notes.join("; "));
    let objects = Some(editor.objects().to_owned());
    Ok(Tree {
        identity: git_identity(&tree),
        family: plain.family,
        facts,
        origin: Origin::Git { repository, tree, objects },
    })
}

fn identify_directory(path: &Path, env: &BuildEnv) -> Result<Tree, KernelProblem> {
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(source) => return Err(SourceError::missing("source directory", path, source).into()),
    };
    if !path.is_dir() {
        return Err(SourceError::NotDirectory { path }.into());
    }
    check_kernel(&path)?;
    let mut facts = BTreeMap::new();
    facts.insert("source".to_owned(), format!("directory `{}`", path.display()));
    // Without git its work trees are directories like any other.
    if path.join(".git").exists() && env.tools.find("git").is_some() {
        let repository = Repository::open(&env.tools, &path)?;
        let family = repository.family();
        let snapshot = repository.snapshot(&env.cache.family(&family))?;
        // A repository may ignore the sources in it: nothing was ever added, or
        // it is Debian's source package, whose .gitignore begins with `/*`.
        if checkout::lacks(&repository, &snapshot.tree, Some(&snapshot.objects))?.is_none() {
            facts.insert("tree".to_owned(), snapshot.tree.clone());
            return Ok(Tree {
                identity: git_identity(&snapshot.tree),
                family,
                facts,
                origin: Origin::Git { repository, tree: snapshot.tree, objects: Some(snapshot.objects) },
            });
        }
    }
    let digest = state::hash(&path)?;
    facts.insert("tree".to_owned(), digest.to_string());
    let family = family_name(&path, &Digest::of(path.as_os_str().as_encoded_bytes()));
    Ok(Tree { identity: format!("state:{digest}"), family, facts, origin: Origin::Directory { path } })
}

fn identify_tarball(pattern: &str, env: &BuildEnv) -> Result<Tree, KernelProblem> {
    let path = find_archive(pattern, Packing::Tar)?;
    let digest = env.cache.hasher().hash(&path).at("read", &path)?;
    let mut facts = BTreeMap::new();
    facts.insert("source".to_owned(), format!("tarball `{}`", path.display()));
    facts.insert("tree".to_owned(), digest.to_string());
    let family = family_name(&path, &digest);
    Ok(Tree {
        identity: format!("tarball:{digest}"),
        family,
        facts,
        origin: Origin::Tarball { path, digest },
    })
}

fn git_identity(tree: &str) -> String {
    format!("git-tree:{tree}")
}

/// A name that people recognise and that is unique.
fn family_name(path: &Path, digest: &Digest) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split(".tar").next().unwrap_or_default();
    let plain: String = name.chars().filter(|&c| c.is_ascii_alphanumeric() || "._-".contains(c)).collect();
    let plain = plain.trim_start_matches('.');
    let plain = if plain.is_empty() { "tree" } else { plain };
    format!("{}-{}", &plain[..plain.len().min(60)], digest.short())
}

impl Tree {
    /// Puts the source into a directory to build from. The family's lock is held
    /// by the caller.
    pub(super) fn prepare(
        &self,
        env: &BuildEnv,
        step: &mut dyn FnMut(String),
    ) -> Result<PathBuf, KernelProblem> {
        match &self.origin {
            Origin::Git { repository, tree, objects } => {
                let family = env.cache.family(&self.family);
                checkout::update(&family, repository, tree, objects.as_deref(), env, step)
            }
            Origin::Tarball { path, digest } => {
                let unpacked = unpack(path, digest, Packing::Tar, env, step)?;
                let root = archive::root_of(&unpacked)?;
                check_kernel(&root).map_err(|error| error.inside_archive(path))?;
                Ok(root)
            }
            Origin::Directory { path } => {
                check_clean(path)?;
                Ok(path.clone())
            }
        }
    }

    /// Whether the directory that it is prepared in serves other revisions too, and
    /// holds this one only as long as the family's lock is held.
    pub(super) fn shares_its_directory(&self) -> bool {
        matches!(self.origin, Origin::Git { .. })
    }

    /// Checks, after a build, that what was built is what was identified. Only a
    /// plain directory can change under us.
    pub(super) fn check_unchanged(&self) -> Result<(), KernelProblem> {
        let Origin::Directory { path } = &self.origin else { return Ok(()) };
        if format!("state:{}", state::hash(path)?) == self.identity {
            Ok(())
        } else {
            Err(KernelProblem::Changed { path: path.clone() })
        }
    }
}

/// Files without which nothing of ours can be built from a tree.
const KERNEL_FILES: [&str; 3] = ["Makefile", "Kconfig", "arch/x86/Makefile"];

/// Whether the text of a top Makefile is a kernel's.
fn is_kernel_makefile(text: &str) -> bool {
    let defines = |name: &str| {
        text.lines()
            .any(|line| line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('=')))
    };
    defines("VERSION") && defines("PATCHLEVEL")
}

/// Whether a directory is a kernel tree that we can build.
fn check_kernel(path: &Path) -> Result<(), SourceError> {
    let not_kernel =
        |lacks: String| SourceError::NotKernel { path: path.to_owned(), lacks, nested: nested_kernel(path) };
    for file in KERNEL_FILES {
        if !path.join(file).is_file() {
            return Err(not_kernel(format!("it has no `{file}`")));
        }
    }
    let makefile = fs::read(path.join("Makefile")).unwrap_or_default();
    if is_kernel_makefile(&String::from_utf8_lossy(&makefile)) {
        Ok(())
    } else {
        Err(not_kernel("its `Makefile` names no kernel version".to_owned()))
    }
}

/// A kernel tree one level down, for a hint.
fn nested_kernel(path: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(path).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    let mut kernels: Vec<_> =
        entries.filter(|inside| KERNEL_FILES.iter().all(|file| inside.join(file).is_file())).collect();
    kernels.sort();
    kernels.into_iter().next()
}

/// Whether a directory was never built in: kbuild refuses `O=` otherwise.
fn check_clean(path: &Path) -> Result<(), SourceError> {
    // The same as in target `outputmakefile` of the kernel's Makefile.
    let traces = [".config", "include/config", "arch/x86/include/generated"];
    match traces.iter().find(|trace| path.join(trace).exists()) {
        Some(trace) => Err(SourceError::NotClean { path: path.to_owned(), trace }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
