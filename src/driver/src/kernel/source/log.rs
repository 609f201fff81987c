//! The history between revisions, as a bisection walks it: which commits could
//! have made the difference, how they descend from each other, and which files
//! each of them changed. Reads the user's repository and writes nothing.
//!
//! Two or three gits for the whole history, not some for each commit: ten
//! thousand commits of Linux take seconds.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::process::Output;

use super::git::{Repository, stderr, success};
use crate::exec::Cmd;
use crate::kernel::env::Tools;
use crate::kernel::error::{Fault, KernelProblem};

/// A question for [`history`].
#[derive(Debug, Clone, Copy)]
pub struct Between<'a> {
    /// The user's repository: its top or its `.git`.
    pub repository: &'a Path,
    /// A revision that is known to be good: the one to measure.
    pub good: &'a str,
    /// More of them.
    pub others_good: &'a [String],
    /// A revision that is known to be bad.
    pub bad: &'a str,
    /// Only commits that change something below these, relative to the top of
    /// the tree; all where there are none. Taken literally, no patterns.
    pub paths: &'a [String],
    /// Which parents are followed.
    pub parents: Parents,
}

/// Which parents of a merge are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parents {
    /// All of them.
    All,
    /// The first: a merge stands for everything that it brought.
    First,
}

/// A commit, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// All digits of it.
    pub hash: String,
    /// First line of its message. Anybody may have written it: it can hold any
    /// character but a line feed.
    pub subject: String,
    /// `Name <email>`, as hostile as the subject.
    pub author: String,
    /// When it was committed, as in ISO 8601.
    pub date: String,
}

/// A commit that could have made the difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub commit: Commit,
    /// Where its parents are in [`History::commits`], always before itself;
    /// those outside are left out. With paths the nearest ancestors that
    /// [`history`] kept.
    pub parents: Vec<usize>,
    /// Every file that it changed, also outside of the paths asked for. Of a
    /// merge those that are as in none of its parents; where only first parents
    /// are followed, all that differ from the first.
    pub files: Vec<String>,
}

/// Commits from good to bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History {
    /// The good end that is measured.
    pub good: Commit,
    /// More commits that are known to be good.
    pub others_good: Vec<Commit>,
    /// The bad end that is measured. Where paths leave it out of `commits`, the
    /// last of these has the same files below the paths.
    pub bad: Commit,
    /// Parents before children; never empty. All others are ancestors of the
    /// last one.
    pub commits: Vec<Candidate>,
}

/// Why there is no history to search.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The repository or a revision is not there, or git does not want to.
    #[error(transparent)]
    Problem(#[from] KernelProblem),
    /// No difference to search for.
    #[error("`{good}` and `{bad}` are the same commit {hash}\nhint: the good one has to be an older one")]
    Same {
        /// As given.
        good: String,
        /// As given.
        bad: String,
        /// What both are.
        hash: String,
    },
    /// The wrong way round.
    #[error("`{good}` comes after `{bad}`, and the good one has to come before\nhint: are they swapped?")]
    Swapped {
        /// As given.
        good: String,
        /// As given.
        bad: String,
    },
    /// Branches that went different ways.
    #[error(
        "`{good}` is not an ancestor of `{bad}`\nhint: measure from `{base}`, the newest commit that both have"
    )]
    Apart {
        /// As given.
        good: String,
        /// As given.
        bad: String,
        /// The merge base.
        base: String,
    },
    /// Branches that never had anything in common.
    #[error("`{good}` and `{bad}` have no commit in common\nhint: both have to be of one history")]
    Unrelated {
        /// As given.
        good: String,
        /// As given.
        bad: String,
    },
    /// No suspects.
    #[error(
        "no commit between `{good}` and `{bad}` changes anything below {}\n\
         hint: paths are relative to the top of the tree",
        listed(paths)
    )]
    Nothing {
        /// As given.
        good: String,
        /// As given.
        bad: String,
        /// As given.
        paths: Vec<String>,
    },
    /// Candidates that are not there.
    #[error(
        "`{}` is shallow: commits between `{good}` and `{bad}` are missing\n\
         hint: `git fetch --unshallow` brings the rest of its history, in a workflow a larger `fetch-depth`",
        repository.display()
    )]
    Shallow {
        /// Which.
        repository: PathBuf,
        /// As given.
        good: String,
        /// As given.
        bad: String,
    },
    /// Git said what we do not understand.
    #[error("git told the history of `{}` in words that are not understood", repository.display())]
    Unreadable {
        /// Of which repository.
        repository: PathBuf,
    },
}

impl HistoryError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Problem(problem) => problem.fault(),
            Self::Unreadable { .. } => Fault::Host,
            _ => Fault::Request,
        }
    }
}

fn listed(paths: &[String]) -> String {
    paths.iter().map(|path| format!("`{path}`")).collect::<Vec<_>>().join(", ")
}

/// Fields of a record, each ended by a NUL: no message, name or path has one.
/// Two before the first begin the record; behind the last field and behind a
/// file there is at most one more.
const FORMAT: &str = "--format=tformat:%x00%x00%H%x00%P%x00%an <%ae>%x00%cI%x00%s";

/// The user's settings for logs that people read.
const PLAIN: [&str; 9] = [
    "-z",
    "--encoding=UTF-8",
    "--no-show-signature",
    "--no-mailmap",
    "--no-notes",
    "--no-color",
    "--no-renames",
    "--no-relative",
    FORMAT,
];

/// Reads the commits that are ancestors of the bad revision and of no good one.
///
/// With paths it is the simplified history that `git log -- PATH` shows:
/// commits that change nothing below them are left out and their children
/// become children of their nearest ancestors, and of a merge that took one
/// side whole only that side is followed.
///
/// # Errors
///
/// Every good revision has to be an ancestor of the bad one, the commits
/// between them have to be there, and there has to be one.
pub fn history(asked: &Between<'_>, tools: &Tools) -> Result<History, HistoryError> {
    let repository = Repository::open(tools, asked.repository)?;
    let log = Log { repository: &repository, asked };
    let bad = repository.commit(asked.bad)?;
    let mut good = Vec::new();
    for revision in std::iter::once(asked.good).chain(asked.others_good.iter().map(String::as_str)) {
        let hash = repository.commit(revision)?;
        log.check_order(revision, &hash, &bad)?;
        good.push(hash);
    }
    let mut others_good = log.endpoints(&good)?.into_iter();
    let good_end = others_good.next().ok_or_else(|| log.unreadable())?;
    let bad_end = log.endpoints(std::slice::from_ref(&bad))?.pop().ok_or_else(|| log.unreadable())?;
    log.check_whole(&good, &bad)?;
    let commits = commits(log.between(&good, &bad)?);
    if commits.is_empty() {
        return Err(HistoryError::Nothing {
            good: log.good(),
            bad: asked.bad.to_owned(),
            paths: asked.paths.to_vec(),
        });
    }
    Ok(History { good: good_end, others_good: others_good.collect(), bad: bad_end, commits })
}

/// What is in a commit, and when that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authored {
    /// Hash of its tree.
    pub tree: String,
    /// As in ISO 8601.
    pub date: String,
    /// How many parents it has: more than one is a merge.
    pub parents: usize,
}

/// Reads tree, author's date and parents of each of these commits, in their order.
///
/// # Errors
///
/// Fails when the repository or one of the commits is not there.
pub fn authored(repository: &Path, commits: &[String], tools: &Tools) -> Result<Vec<Authored>, HistoryError> {
    let repository = Repository::open(tools, repository)?;
    let cmd = repository.git(&[]).current_dir(repository.git_dir());
    let cmd = cmd.args(["log", "--no-walk=unsorted", "--no-patch", "--no-show-signature"]);
    let output = cmd.arg("--format=tformat:%T %aI %P").args(commits).run().map_err(KernelProblem::from)?;
    let Some(said) = success(&output) else {
        return Err(KernelProblem::from(repository.refused("read commits of", stderr(&output))).into());
    };
    let authored: Option<Vec<_>> = said
        .lines()
        .map(|line| {
            let mut words = line.split_whitespace();
            let (tree, date) = (words.next()?.to_owned(), words.next()?.to_owned());
            Some(Authored { tree, date, parents: words.count() })
        })
        .collect();
    let unreadable = || HistoryError::Unreadable { repository: repository.path().to_owned() };
    authored.filter(|it| it.len() == commits.len()).ok_or_else(unreadable)
}

/// A repository and what is asked of it.
struct Log<'a> {
    repository: &'a Repository,
    asked: &'a Between<'a>,
}

impl Log<'_> {
    /// A git for which paths are those of the tree, wherever we stand.
    fn git(&self) -> Cmd {
        self.repository.git(&[]).env("GIT_LITERAL_PATHSPECS", "1").current_dir(self.repository.git_dir())
    }

    fn good(&self) -> String {
        self.asked.good.to_owned()
    }

    /// Whether a good commit is an ancestor of the bad one, and if not, why.
    fn check_order(&self, revision: &str, good: &str, bad: &str) -> Result<(), HistoryError> {
        let (good_name, bad_name) = (revision.to_owned(), self.asked.bad.to_owned());
        if good == bad {
            return Err(HistoryError::Same { good: good_name, bad: bad_name, hash: bad.to_owned() });
        }
        // Exits with 1 where there is none.
        let output = self.git().args(["merge-base", good, bad]).run().map_err(KernelProblem::from)?;
        let base = match output.status.code() {
            Some(0) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            Some(1) => String::new(),
            _ => return Err(self.failed(&output)),
        };
        if base == good {
            return Ok(());
        }
        if self.repository.is_shallow() {
            // A fork that is seen is the true one where nothing is cut off on either side.
            if base.is_empty() || base == bad {
                return Err(self.shallow());
            }
            self.check_whole(std::slice::from_ref(&base), bad)?;
            self.check_whole(std::slice::from_ref(&base), good)?;
        }
        Err(match base.as_str() {
            "" => HistoryError::Unrelated { good: good_name, bad: bad_name },
            base if base == bad => HistoryError::Swapped { good: good_name, bad: bad_name },
            base => HistoryError::Apart { good: good_name, bad: bad_name, base: base.to_owned() },
        })
    }

    fn endpoints(&self, hashes: &[String]) -> Result<Vec<Commit>, HistoryError> {
        let cmd = self.git().args(["log", "--no-walk=unsorted", "--no-patch"]).args(PLAIN);
        let records = self.records(&cmd.args(hashes))?;
        Ok(records.into_iter().map(Record::commit).collect())
    }

    /// No commit between the ends may be one whose parents were cut off.
    fn check_whole(&self, good: &[String], bad: &str) -> Result<(), HistoryError> {
        let cut = self.repository.cut_off();
        if cut.is_empty() {
            return Ok(());
        }
        let cmd = self.git().args(["rev-list", bad]).args(excluded(good));
        let output = cmd.run().map_err(KernelProblem::from)?;
        if !output.status.success() {
            return Err(self.failed(&output));
        }
        let cut: BTreeSet<_> = cut.iter().map(String::as_str).collect();
        if String::from_utf8_lossy(&output.stdout).lines().any(|hash| cut.contains(hash)) {
            return Err(self.shallow());
        }
        Ok(())
    }

    fn between(&self, good: &[String], bad: &str) -> Result<Vec<Record>, HistoryError> {
        let merges: &[&str] = match self.asked.parents {
            Parents::All => &["--diff-merges=combined"],
            Parents::First => &["--first-parent", "--diff-merges=first-parent"],
        };
        let cmd = self
            .git()
            .args(["log", "--topo-order", "--reverse", "--parents", "--full-diff", "--name-only"])
            .args(merges.iter().copied())
            .args(PLAIN)
            .arg(bad)
            .args(excluded(good))
            .arg("--")
            .args(self.asked.paths);
        self.records(&cmd)
    }

    fn records(&self, cmd: &Cmd) -> Result<Vec<Record>, HistoryError> {
        let output = cmd.run().map_err(KernelProblem::from)?;
        if !output.status.success() {
            return Err(self.failed(&output));
        }
        records(&output.stdout).ok_or_else(|| self.unreadable())
    }

    fn failed(&self, output: &Output) -> HistoryError {
        KernelProblem::from(self.repository.refused("read the history of", stderr(output))).into()
    }

    fn shallow(&self) -> HistoryError {
        HistoryError::Shallow {
            repository: self.repository.path().to_owned(),
            good: self.good(),
            bad: self.asked.bad.to_owned(),
        }
    }

    fn unreadable(&self) -> HistoryError {
        HistoryError::Unreadable { repository: self.repository.path().to_owned() }
    }
}

fn excluded(good: &[String]) -> impl Iterator<Item = String> {
    good.iter().map(|hash| format!("^{hash}"))
}

/// What git says of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Record {
    hash: String,
    parents: Vec<String>,
    author: String,
    date: String,
    subject: String,
    files: Vec<String>,
}

impl Record {
    fn commit(self) -> Commit {
        Commit { hash: self.hash, subject: self.subject, author: self.author, date: self.date }
    }
}

/// Takes the output of [`FORMAT`] with `-z --name-only` apart. None if it is not
/// of that form.
fn records(bytes: &[u8]) -> Option<Vec<Record>> {
    let mut records = Vec::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut fields = rest.strip_prefix(b"\0\0")?.splitn(6, |&byte| byte == 0);
        let mut next = || fields.next().map(|field| String::from_utf8_lossy(field).into_owned());
        let (hash, parents, author, date, subject) = (next()?, next()?, next()?, next()?, next()?);
        let is_hash = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let parents: Vec<_> = parents.split(' ').filter(|it| !it.is_empty()).map(str::to_owned).collect();
        if !is_hash(&hash) || !parents.iter().all(|parent| is_hash(parent)) {
            return None;
        }
        rest = fields.next()?;
        // What git puts between a commit and its files: a line feed, or of a
        // merge a NUL.
        let nuls = rest.iter().take_while(|&&byte| byte == 0).count();
        if nuls % 2 == 1 || rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        let mut files = Vec::new();
        while rest.first().is_some_and(|&byte| byte != 0) {
            let end = rest.iter().position(|&byte| byte == 0)?;
            files.push(String::from_utf8_lossy(&rest[..end]).into_owned());
            rest = &rest[end + 1..];
        }
        records.push(Record { hash, parents, author, date, subject, files });
    }
    Some(records)
}

/// Turns names of parents into places.
fn commits(records: Vec<Record>) -> Vec<Candidate> {
    let places: HashMap<_, _> =
        records.iter().enumerate().map(|(place, record)| (record.hash.clone(), place)).collect();
    let candidate = |mut record: Record| Candidate {
        parents: record.parents.iter().filter_map(|parent| places.get(parent).copied()).collect(),
        files: std::mem::take(&mut record.files),
        commit: record.commit(),
    };
    records.into_iter().map(candidate).collect()
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
