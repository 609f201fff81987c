//! Mails taken apart, and patches made commits, by git and on a bench in the
//! cache.
//!
//! There is no work tree, and no `git am`: it wants one, which of Linux is more
//! than a gigabyte, and keeps its state in the user's repository. What it is made
//! of wants neither: `git mailsplit` and `git mailinfo` read mails, `git apply
//! --cached` changes an index, `git commit-tree` makes the commit. The user's
//! repository is read and never written; only the times of objects of its own that
//! a patch comes to again are set, as git does against `git gc`, where it may. New
//! objects go beside those of snapshots into `FAMILY/objects`, where a build finds them, so each commit is a revision
//! like any other; they need no reference, as nobody collects garbage there.
//!
//! The bench is one directory with one lock. Whoever comes next clears away what
//! one that was killed has left.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use super::edit::SETTINGS;
use super::error::SourceError;
use super::git::{Repository, Resolved, stderr, success};
use crate::exec::Cmd;
use crate::kernel::cache::{self, Lock, Locked};
use crate::kernel::env::BuildEnv;
use crate::kernel::error::{At as _, FileError, KernelProblem};

/// How lines of a file of mails end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineEnds {
    /// In LF; a CR before it is of what is patched.
    Unix,
    /// In CR LF: a mail program saved the file, and what is patched has none.
    Dos,
}

/// A mail, decoded by git: character sets, transfer encodings and parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Which of the file, from 1.
    pub place: usize,
    /// As it was split off, with all of its headers.
    pub raw: Vec<u8>,
    /// Lines `Author: `, `Email: `, `Subject: ` and `Date: `, each where there is
    /// one, in UTF-8.
    pub headers: Vec<u8>,
    /// What comes before the diff, and, where there is one, a last line
    /// `Message-ID: `.
    pub text: Vec<u8>,
    /// From the first line that looks like a diff, or from `---`, to the end.
    pub diff: Vec<u8>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// All digits of it.
    pub commit: String,
    /// Hash of its tree.
    pub tree: String,
}

/// A patch, as a commit is made of it.
#[derive(Debug, Clone, Copy)]
pub struct Change<'a> {
    /// What `git apply` reads.
    pub diff: &'a [u8],
    /// Whole, with its first line.
    pub message: &'a str,
    /// Name of who wrote it.
    pub name: &'a str,
    /// Their address.
    pub email: &'a str,
    /// Seconds since 1970 and the offset from UTC: `1767225600 +0100`.
    pub date: &'a str,
}

/// What putting a patch on top came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pushed {
    /// It is a commit now.
    Made(Revision),
    /// It does not apply.
    Refused {
        /// Git's words, which name the patch `patch`.
        said: String,
        /// Whether the tree has all of it.
        presence: Presence,
    },
}

/// Whether all that a patch does was done before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It could be taken back as it is.
    There,
    /// Not all of it.
    NotThere,
}

/// Stands for a name or an address that git would not take.
const UNKNOWN: &str = "unknown";

/// What git strips from the ends of names and addresses (`crud` in its ident.c);
/// of nothing else it makes no commit.
const CRUD: &str = ".,:;<>\"\\'";

/// A place of our own to work at, for one repository. Gone with the value.
#[derive(Debug)]
pub struct Bench {
    repository: Repository,
    objects: PathBuf,
    dir: PathBuf,
    interrupted: fn() -> bool,
    _lock: Lock,
}

impl Bench {
    /// Takes the bench of a repository; `waiting` is called once when somebody
    /// else has it.
    ///
    /// # Errors
    ///
    /// Fails when there is no such repository, the cache cannot be written, or the
    /// user asks to stop.
    pub fn open(repository: &Path, env: &BuildEnv, waiting: impl FnOnce()) -> Result<Self, KernelProblem> {
        let repository = Repository::open(&env.tools, repository)?;
        let family = env.cache.family(&repository.family());
        env.cache.create()?;
        let lock = match cache::lock(&family.join("series.lock"), env.interrupted, waiting)? {
            Locked::AtOnce(lock) | Locked::AfterWaiting(lock) => lock,
            Locked::Interrupted => {
                return Err(KernelProblem::Interrupted { doing: "waiting for another series".to_owned() });
            }
        };
        let (dir, objects) = (family.join("series"), family.join("objects"));
        cache::remove(&dir)?;
        cache::create_dir(&dir)?;
        cache::create_dir(&objects)?;
        Ok(Self { repository, objects, dir, interrupted: env.interrupted, _lock: lock })
    }

    /// The user's repository.
    #[must_use]
    pub fn repository(&self) -> &Path {
        self.repository.path()
    }

    /// Takes a file of mails apart: an mbox, or a single mail.
    ///
    /// # Errors
    ///
    /// Fails when git cannot read them, or the user asks to stop.
    pub fn mails(&self, file: &[u8], ends: LineEnds) -> Result<Vec<Mail>, KernelProblem> {
        let (mbox, split) = (self.dir.join("mbox"), self.dir.join("split"));
        fs::write(&mbox, file).at("write", &mbox)?;
        cache::remove(&split)?;
        cache::create_dir(&split)?;
        let keep = match ends {
            LineEnds::Unix => Some("--keep-cr"),
            LineEnds::Dos => None,
        };
        let cmd = self.git().args(["mailsplit", "-b"]).args(keep).args(["-osplit", "--", "mbox"]);
        let output = cmd.run()?;
        if !output.status.success() {
            return Err(SourceError::NotMail { place: None, said: stderr(&output) }.into());
        }
        let entries = fs::read_dir(&split).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut paths: Vec<_> = entries.at("read", &split)?.into_iter().map(|entry| entry.path()).collect();
        // Names are numbers with leading zeros, up to 9999 of the same length.
        paths.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
        paths.iter().enumerate().map(|(at, path)| self.mail(path, at + 1)).collect()
    }

    fn mail(&self, path: &Path, place: usize) -> Result<Mail, KernelProblem> {
        self.check_interrupted("reading patches")?;
        let cmd = self
            .git()
            // The user's settings for `am` are not ours. Numbers are in the subject, so it is kept.
            .args(["mailinfo", "-k", "--message-id", "--no-scissors", "--quoted-cr=nowarn"])
            .args(["--encoding=UTF-8", "text", "diff"])
            .input(path);
        let output = cmd.run()?;
        if !output.status.success() {
            return Err(SourceError::NotMail { place: Some(place), said: stderr(&output) }.into());
        }
        Ok(Mail {
            place,
            raw: read(path)?,
            headers: output.stdout,
            text: read(&self.dir.join("text"))?,
            diff: read(&self.dir.join("diff"))?,
        })
    }

    /// Files that a patch names, as git reads it; none of a patch that it cannot
    /// read.
    ///
    /// # Errors
    ///
    /// Fails when git does not start, or the cache cannot be written.
    pub fn files(&self, diff: &[u8]) -> Result<Vec<String>, KernelProblem> {
        self.write("patch", diff)?;
        let output = self.git().args(["apply", "--numstat", "-z", "patch"]).run()?;
        let said = success(&output).unwrap_or_default();
        Ok(said.split('\0').filter_map(|entry| Some(entry.splitn(3, '\t').nth(2)?.to_owned())).collect())
    }

    /// Gets ready to put patches on top of a revision.
    ///
    /// # Errors
    ///
    /// Fails when the repository has no such commit.
    pub fn stack(&self, revision: &str) -> Result<Stack<'_>, KernelProblem> {
        let Resolved { commit, tree } = self.repository.resolve_with(revision, Some(&self.objects))?;
        let commit = commit.ok_or_else(|| SourceError::NotCommit { revision: revision.to_owned() })?;
        cache::remove(&self.dir.join("index"))?;
        self.said(&self.git().args(["read-tree", &tree]).run()?)?;
        Ok(Stack { bench: self, top: Revision { commit, tree } })
    }

    /// First line of a commit's message.
    ///
    /// # Errors
    ///
    /// Fails when there is no such commit.
    pub fn subject(&self, revision: &Revision) -> Result<String, KernelProblem> {
        let cmd = self.git().args(["log", "-1", "--no-show-signature", "--no-patch", "--format=%s"]);
        Ok(self.said(&cmd.arg(&revision.commit).run()?)?.trim_end().to_owned())
    }

    /// A git that knows our index and our objects, and no work tree but the bench.
    fn git(&self) -> Cmd {
        let more: Vec<_> = SETTINGS.into_iter().chain([("i18n.commitEncoding", "UTF-8")]).collect();
        self.repository
            .git(&more)
            .env("GIT_WORK_TREE", &self.dir)
            .env("GIT_INDEX_FILE", self.dir.join("index"))
            .env("GIT_OBJECT_DIRECTORY", &self.objects)
            .env("GIT_ALTERNATE_OBJECT_DIRECTORIES", self.repository.objects())
            .current_dir(&self.dir)
    }

    fn said(&self, output: &Output) -> Result<String, KernelProblem> {
        success(output).ok_or_else(|| self.repository.refused("put patches on", stderr(output)).into())
    }

    fn write(&self, name: &str, contents: &[u8]) -> Result<(), FileError> {
        let path = self.dir.join(name);
        fs::write(&path, contents).at("write", path)
    }

    fn check_interrupted(&self, doing: &str) -> Result<(), KernelProblem> {
        if (self.interrupted)() {
            return Err(KernelProblem::Interrupted { doing: doing.to_owned() });
        }
        Ok(())
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What stays is cleared away by the next one.
        let _ = cache::remove(&self.dir);
    }
}

/// Patches on a revision. There is one at a time: they share the bench's index.
#[derive(Debug)]
pub struct Stack<'a> {
    bench: &'a Bench,
    top: Revision,
}

impl Stack<'_> {
    /// The commit that the next patch is put on.
    #[must_use]
    pub fn top(&self) -> &Revision {
        &self.top
    }

    /// Makes a patch a commit on top of the others. The same patches on the same
    /// base are always the same commits. One that does not apply changes nothing.
    ///
    /// # Errors
    ///
    /// Fails when git does not work, or the user asks to stop.
    pub fn push(&mut self, change: &Change<'_>) -> Result<Pushed, KernelProblem> {
        let bench = self.bench;
        bench.check_interrupted("putting patches on")?;
        bench.write("patch", change.diff)?;
        let apply = || bench.git().args(["apply", "--cached"]);
        let applied = apply().arg("patch").run()?;
        if !applied.status.success() {
            let there = apply().args(["--check", "--reverse", "patch"]).run()?.status.success();
            let presence = if there { Presence::There } else { Presence::NotThere };
            return Ok(Pushed::Refused { said: stderr(&applied), presence });
        }
        let tree = bench.said(&bench.git().arg("write-tree").run()?)?.trim().to_owned();
        // Git takes no NUL.
        bench.write("message", change.message.replace('\0', "").as_bytes())?;
        let (name, email) = (identity(change.name), identity(change.email));
        // The committer is not whoever runs us: another one would make other commits.
        let cmd = ["AUTHOR", "COMMITTER"].into_iter().fold(bench.git(), |cmd, who| {
            cmd.env(format!("GIT_{who}_NAME"), &name)
                .env(format!("GIT_{who}_EMAIL"), &email)
                .env(format!("GIT_{who}_DATE"), format!("@{}", change.date))
        });
        let cmd = cmd.args(["commit-tree", &tree, "-p", &self.top.commit, "-F", "message"]);
        let commit = bench.said(&cmd.run()?)?.trim().to_owned();
        self.top = Revision { commit, tree };
        Ok(Pushed::Made(self.top.clone()))
    }

    /// Files that differ between an earlier revision and the top.
    ///
    /// # Errors
    ///
    /// Fails when git does not work.
    pub fn changed_since(&self, earlier: &Revision) -> Result<Vec<String>, KernelProblem> {
        let cmd = self.bench.git().args(["diff-tree", "-r", "-z", "--no-renames", "--name-only"]);
        let said = self.bench.said(&cmd.args([&earlier.tree, &self.top.tree]).run()?)?;
        Ok(said.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }
}

fn identity(text: &str) -> String {
    let plain = text.replace('\0', "");
    let names_nobody = plain.chars().all(|c| c.is_ascii_control() || c == ' ' || CRUD.contains(c));
    if names_nobody { UNKNOWN.to_owned() } else { plain }
}

fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).at("read", path)
}

#[cfg(test)]
#[path = "bench_tests.rs"]
mod tests;
