//! A bisection that git itself has under way, and the commit that it waits for.
//! Reads the user's repositories and writes nothing.

use std::path::{Path, PathBuf};

use super::error::SourceError;
use super::git::{Repository, git, success};
use crate::kernel::env::Tools;
use crate::kernel::error::KernelProblem;

/// There from `git bisect start` to `git bisect reset`, for each work tree
/// (git's builtin/bisect.c).
const STARTED: &str = "BISECT_START";

/// What names the commit to test: the first where nothing is checked out,
/// `git bisect start --no-checkout`.
const WAITING: [&str; 2] = ["BISECT_HEAD^{commit}", "HEAD^{commit}"];

/// The commit that a bisection of git's waits for: of the work tree around `place`,
/// where `git bisect run` starts its commands, or else of `repository`. All digits of
/// it; the repository has it.
///
/// # Errors
///
/// [`SourceError::NoBisection`] where neither bisects, [`SourceError::UnknownRevision`]
/// where another repository does that has other commits.
pub fn bisecting(place: &Path, repository: &Path, tools: &Tools) -> Result<String, KernelProblem> {
    let named = Repository::open(tools, repository)?;
    let bisects = |directory: &PathBuf| directory.join(STARTED).is_file();
    let around = git_dir(place, tools)?.filter(bisects);
    let Some(git_dir) = around.or_else(|| Some(named.git_dir().to_owned()).filter(bisects)) else {
        return Err(SourceError::NoBisection { repository: named.path().to_owned() }.into());
    };
    for name in WAITING {
        let parse = git(tools, &[]).env("GIT_DIR", &git_dir).args(["rev-parse", "--verify", "--quiet", name]);
        if let Some(commit) = success(&parse.run()?) {
            return named.commit(commit.trim());
        }
    }
    Err(SourceError::NoBisection { repository: named.path().to_owned() }.into())
}

/// That of the work tree that a directory is in, if it is in one.
fn git_dir(place: &Path, tools: &Tools) -> Result<Option<PathBuf>, KernelProblem> {
    let parse = git(tools, &[]).arg("-C").arg(place).args(["rev-parse", "--absolute-git-dir"]);
    Ok(success(&parse.run()?).map(|said| PathBuf::from(said.trim_end_matches('\n'))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::{commit, git as run_git};

    /// A repository with commits `1` to `5`, each under a tag of its name.
    fn five() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("tempdir");
        run_git(dir.path(), &["init", "-q"]);
        for what in ["one", "two", "three", "four", "five"] {
            std::fs::write(dir.path().join("file"), what).expect("write");
            commit(dir.path(), what);
            run_git(dir.path(), &["tag", what]);
        }
        dir
    }

    fn ask(place: &Path, repository: &Path) -> Result<String, String> {
        bisecting(place, repository, &Tools::from_environment()).map_err(|error| error.to_string())
    }

    fn copy_of(repository: &Path) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("tempdir");
        let from = repository.to_str().expect("utf-8");
        run_git(dir.path(), &["clone", "-q", from, "."]);
        dir
    }

    #[test]
    fn it_is_what_git_has_checked_out() {
        let tree = five();
        run_git(tree.path(), &["bisect", "start", "five", "one"]);
        let three = run_git(tree.path(), &["rev-parse", "three"]);
        assert_eq!(ask(tree.path(), tree.path()), Ok(three.clone()));
        std::fs::create_dir(tree.path().join("below")).expect("mkdir");
        assert_eq!(ask(&tree.path().join("below"), tree.path()), Ok(three));
    }

    #[test]
    fn where_nothing_is_checked_out_it_is_what_git_would() {
        let tree = five();
        run_git(tree.path(), &["bisect", "start", "--no-checkout", "five", "one"]);
        assert_eq!(
            run_git(tree.path(), &["rev-parse", "HEAD"]),
            run_git(tree.path(), &["rev-parse", "five"])
        );
        assert_eq!(ask(tree.path(), tree.path()), Ok(run_git(tree.path(), &["rev-parse", "three"])));
    }

    #[test]
    fn a_bisection_here_goes_before_the_head_of_a_tree_elsewhere() {
        let tree = five();
        let copy = copy_of(tree.path());
        run_git(copy.path(), &["bisect", "start", "five", "one"]);
        let three = run_git(copy.path(), &["rev-parse", "three"]);
        assert_eq!(ask(copy.path(), tree.path()), Ok(three.clone()));
        // From elsewhere the tree itself is asked.
        let elsewhere = tempfile::tempdir().expect("tempdir");
        assert_eq!(ask(elsewhere.path(), copy.path()), Ok(three));
    }

    #[test]
    fn head_of_a_tree_where_nobody_bisects_is_no_answer() {
        let tree = five();
        let said = ask(tree.path(), tree.path()).expect_err("no bisection");
        assert!(said.contains("has a bisection of git's under way"), "{said}");
        run_git(tree.path(), &["bisect", "start", "five", "one"]);
        run_git(tree.path(), &["bisect", "reset"]);
        ask(tree.path(), tree.path()).expect_err("its bisection is over");
    }

    #[test]
    fn a_commit_of_another_history_is_unknown() {
        let (tree, other) = (five(), five());
        std::fs::write(other.path().join("file"), "else").expect("write");
        run_git(other.path(), &["commit", "-q", "-a", "--amend", "-m", "else"]);
        run_git(other.path(), &["bisect", "start", "HEAD", "four"]);
        let said = ask(other.path(), tree.path()).expect_err("unknown");
        assert!(said.contains("is no revision of"), "{said}");
    }
}
