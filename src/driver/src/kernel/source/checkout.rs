//! A work tree of our own for a git repository of the user's.
//!
//! It has no `.git`: the user's repository is told where our work tree and our
//! index are, each time. So nothing is registered in the repository, no
//! reference moves, no hook runs, and a repository that cannot be written will
//! do. From one tree to the next only the files that differ are written, so that
//! make rebuilds only what depends on them.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::SourceError;
use super::git::{Repository, with_objects};
use super::is_kernel_makefile;
use crate::exec::{Cmd, ExecError};
use crate::kernel::cache;
use crate::kernel::env::BuildEnv;
use crate::kernel::error::{At as _, FileError, KernelProblem};
use crate::kernel::run::{self, RunError};

/// Settings of the user's that are about the user's work tree, not ours.
const SETTINGS: [(&str, &str); 4] = [
    ("core.sparseCheckout", "false"),
    ("core.autocrlf", "false"),
    ("core.fileMode", "true"),
    ("submodule.recurse", "false"),
];

/// Makes `FAMILY/source` hold exactly `tree`. The family's lock is held.
pub(super) fn update(
    family: &Path,
    repository: &Repository,
    tree: &str,
    objects: Option<&Path>,
    env: &BuildEnv,
    step: &mut dyn FnMut(String),
) -> Result<PathBuf, KernelProblem> {
    if let Some(lacks) = lacks(repository, tree, objects)? {
        let path = repository.path().to_owned();
        return Err(SourceError::NotKernel { path, lacks, nested: None }.into());
    }
    let source = family.join("source");
    let index = family.join("source.index");
    let pending = family.join("source.pending");
    let was_interrupted = pending.exists();
    cache::remove(&family.join("source.index.lock"))?;
    cache::create_dir(&source)?;
    fs::write(&pending, tree).at("write", &pending)?;
    let doing = format!("checking out {}", short(tree));
    step(doing.clone());
    let git = with_objects(repository.git(&SETTINGS), objects)
        .env("GIT_WORK_TREE", &source)
        .env("GIT_INDEX_FILE", &index)
        .current_dir(&source);
    let read_tree = git.clone().args(["read-tree", "--reset", "-u", tree]);
    match run::patiently(&read_tree, env.interrupted) {
        Ok(()) => {}
        Err(RunError::Exec(ExecError::Failed { stderr, .. })) => {
            if stderr.contains("No space left on device") {
                let source_error = std::io::Error::from(std::io::ErrorKind::StorageFull);
                return Err(FileError { action: "check out into", path: source, source: source_error }.into());
            }
            let repository = repository.path().to_owned();
            return Err(SourceError::Git { what: "check out of", repository, said: stderr }.into());
        }
        Err(error) => return Err(error.while_doing(doing)),
    }
    if was_interrupted {
        remove_strangers(&git, &source)?;
    }
    cache::remove(&pending)?;
    Ok(source)
}

/// Removes files that git does not know: a checkout that was killed wrote them
/// before it wrote its index, and nobody else will ever take them away.
fn remove_strangers(git: &Cmd, source: &Path) -> Result<(), KernelProblem> {
    let list = git.clone().args(["ls-files", "--others", "-z"]).read()?;
    for name in list.split('\0').filter(|name| !name.is_empty()) {
        cache::remove(&source.join(name))?;
    }
    Ok(())
}

fn short(tree: &str) -> &str {
    &tree[..tree.len().min(12)]
}

/// Looks before a checkout of a gigabyte or so. Gives what the tree lacks, if it
/// is no kernel.
pub(super) fn lacks(
    repository: &Repository,
    tree: &str,
    objects: Option<&Path>,
) -> Result<Option<String>, ExecError> {
    for file in super::KERNEL_FILES {
        let blob = format!("{tree}:{file}");
        let git = with_objects(repository.git(&[]), objects);
        let output = git.args(["cat-file", "blob", blob.as_str()]).run()?;
        if !output.status.success() {
            return Ok(Some(format!("tree {} has no `{file}`", short(tree))));
        }
        if file == "Makefile" && !is_kernel_makefile(&String::from_utf8_lossy(&output.stdout)) {
            return Ok(Some("its `Makefile` names no kernel version".to_owned()));
        }
    }
    Ok(None)
}
