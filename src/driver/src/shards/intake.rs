//! Reads directories that come from elsewhere: an archive of another job, another
//! machine, anybody. Nothing in them is obeyed.
//!
//! Only regular files with the names of a run are opened, one path component after the
//! other and without following links, so that no name leads out of the directory; no
//! more than a bound is read of each. What is written goes into files that are new.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

use super::plan::{COPY_FILE, Plan, PlanError};
use crate::chain;
use crate::model::BootId;
use crate::report::text_safety;
use crate::results::format::{Run, State};
use crate::results::{self, BootDir, EVENTS_FILE, Files, RUN_FILE, ResultsError};

/// Longest record that is read, in bytes. From experience a test with few samples takes
/// 2 to 20 KiB of it, so this is a day's run.
const RECORD: u64 = 256 << 20;

/// Entries of a results directory that are looked at.
const ENTRIES: usize = 10_000;

/// Why a directory is not read.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// It cannot be opened.
    #[error("cannot read `{path}`: {source}\nhint: name directories of runs, or one that holds such")]
    Open {
        /// The directory or file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// It is something that no run leaves.
    #[error("`{path}` is {what}, which no run makes there: it is not read")]
    Odd {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file beyond all reason.
    #[error("`{path}` is longer than {limit} bytes, which is the most that is read of it")]
    TooLong {
        /// The file.
        path: PathBuf,
        /// The limit.
        limit: u64,
    },
    /// Its record.
    #[error(transparent)]
    Record(#[from] ResultsError),
    /// Its plan.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A file of ours.
    #[error("cannot write `{path}`: {source}\nhint: is there room on the disk?")]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

/// A directory that is open.
#[derive(Debug)]
struct Place {
    fd: OwnedFd,
    path: PathBuf,
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Place {
    /// A directory that the user named; a link to one is as good.
    fn named(path: &Path) -> Result<Self, IntakeError> {
        match openat(CWD, path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Self { fd, path: path.to_owned() }),
            Err(error) => Err(IntakeError::Open { path: path.to_owned(), source: error.into() }),
        }
    }

    /// A directory in this one; none where there is none.
    fn below(&self, name: &str) -> Result<Option<Self>, IntakeError> {
        let path = self.path.join(name);
        match openat(&self.fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd, path })),
            Err(Errno::NOENT) => Ok(None),
            // A link, with O_DIRECTORY, is no directory.
            Err(Errno::NOTDIR | Errno::LOOP) => Err(IntakeError::Odd { path, what: "no directory" }),
            Err(error) => Err(IntakeError::Open { path, source: error.into() }),
        }
    }

    /// A regular file in it; none where there is nothing of that name.
    fn file(&self, name: &str) -> Result<Option<File>, IntakeError> {
        let path = self.path.join(name);
        let open = |source: io::Error| IntakeError::Open { path: path.clone(), source };
        // Whoever opens a pipe without NONBLOCK waits for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => File::from(fd),
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(IntakeError::Odd { path, what: "a symbolic link" }),
            Err(Errno::NXIO) => return Err(IntakeError::Odd { path, what: "a socket" }),
            Err(error) => return Err(open(error.into())),
        };
        if !file.metadata().map_err(open)?.is_file() {
            return Err(IntakeError::Odd { path, what: "no regular file" });
        }
        Ok(Some(file))
    }

    fn bytes(&self, name: &str) -> Result<Option<Vec<u8>>, IntakeError> {
        let Some(file) = self.file(name)? else { return Ok(None) };
        let path = self.path.join(name);
        let failed = |source| IntakeError::Open { path: path.clone(), source };
        let mut bytes = Vec::new();
        // It may grow while it is read, or be one great hole.
        if file.metadata().map_err(failed)?.len() <= RECORD {
            file.take(RECORD + 1).read_to_end(&mut bytes).map_err(failed)?;
            if bytes.len() as u64 <= RECORD {
                return Ok(Some(bytes));
            }
        }
        Err(IntakeError::TooLong { path, limit: RECORD })
    }

    fn holds(&self, name: &str) -> bool {
        !matches!(self.file(name), Ok(None))
    }
}

impl Files for Place {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ResultsError> {
        self.bytes(name).map_err(|error| ResultsError::Damaged {
            path: self.path.join(name),
            reason: chain::text(&error),
        })
    }
}

/// How a directory came to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// By its own name.
    Named,
    /// It lies in a directory that was named.
    Within,
}

/// A directory that may be of a shard, with what could be read of it.
#[derive(Debug)]
pub struct Found {
    /// As named.
    pub path: PathBuf,
    /// How it was come by.
    pub origin: Origin,
    /// Its copy of the plan; none where it has none.
    pub plan: Result<Option<Plan>, IntakeError>,
    /// Its record.
    pub run: Result<Run, IntakeError>,
    /// A process still works on it.
    pub goes_on: Result<bool, ResultsError>,
    place: Place,
}

/// Reads directories of runs, and those in directories of such (`results/`) which have a
/// copy of a plan.
///
/// # Errors
///
/// Fails when one that was named cannot be opened. What is wrong with the content of one
/// is part of what was found.
pub fn search(directories: &[PathBuf]) -> Result<Vec<Found>, IntakeError> {
    let mut found = Vec::new();
    for path in directories {
        let place = Place::named(path)?;
        if [EVENTS_FILE, RUN_FILE, COPY_FILE].iter().any(|name| place.holds(name)) {
            found.push(read(place, Origin::Named));
            continue;
        }
        let mut names = Vec::new();
        let open = |source| IntakeError::Open { path: path.clone(), source };
        for entry in fs::read_dir(path).map_err(open)?.take(ENTRIES) {
            names.push(entry.map_err(open)?.file_name());
        }
        names.sort();
        for name in names {
            // What is no directory, cannot be opened, or cannot be shown is none of a run.
            if let Some(name) = name.to_str().filter(|name| text_safety::verbatim(name) == *name)
                && let Ok(Some(below)) = place.below(name)
                && below.holds(COPY_FILE)
            {
                found.push(read(below, Origin::Within));
            }
        }
    }
    Ok(found)
}

fn read(place: Place, origin: Origin) -> Found {
    // Before the files, as in `results::load`.
    let whole = fs::canonicalize(&place.path).unwrap_or_else(|_| place.path.clone());
    let goes_on = results::is_live(&whole);
    let plan = place.bytes(COPY_FILE).and_then(|bytes| match bytes {
        Some(bytes) => Ok(Some(Plan::parse(&place.path.join(COPY_FILE), &bytes)?)),
        None => Ok(None),
    });
    let run = results::load_files(&place.path, State::Unfinished, &place).map_err(Into::into);
    Found { path: place.path.clone(), origin, plan, run, goes_on, place }
}

/// What may still be copied, in bytes: a bound on the disk that others can fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Of one file.
    pub file: u64,
    /// Of all that follow.
    pub left: u64,
}

impl Default for Quota {
    fn default() -> Self {
        // The longest log of our suites has 3 MiB; one that is flooded has no end.
        Self { file: 256 << 20, left: 8 << 30 }
    }
}

/// A file that was not copied whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Where it comes from.
    pub path: PathBuf,
    /// Why, to stand behind its name.
    pub why: String,
}

impl Found {
    /// Copies the files of a boot into a directory of ours, which is made. What is no
    /// file of a boot is left behind; what is cut or refused is told.
    ///
    /// # Errors
    ///
    /// Fails when our own disk does.
    pub fn copy_boot(&self, from: BootId, to: &BootDir, quota: &mut Quota) -> Result<Vec<Cut>, IntakeError> {
        to.create()?;
        let mut cuts = Vec::new();
        let boot = match self.place.below("boots").and_then(|boots| match boots {
            Some(boots) => boots.below(&from.to_string()),
            None => Ok(None),
        }) {
            Ok(Some(boot)) => boot,
            Ok(None) => return Ok(cuts),
            Err(error) => {
                let path = self.path.join("boots").join(from.to_string());
                return Ok(vec![Cut { path, why: chain::text(&error) }]);
            }
        };
        let files =
            [to.console(), to.output(), to.events(), to.samples(), to.plan(), to.machine(), to.command()];
        for ours in files {
            let Some(name) = ours.file_name().and_then(|name| name.to_str()) else { continue };
            let cut = |why| Cut { path: boot.path.join(name), why };
            match boot.file(name) {
                Ok(None) => {}
                Ok(Some(theirs)) => cuts.extend(copy(theirs, &ours, quota)?.map(cut)),
                Err(error) => cuts.push(cut(chain::text(&error))),
            }
        }
        Ok(cuts)
    }
}

/// Gives the reason why not all of it was copied.
fn copy(theirs: File, ours: &Path, quota: &mut Quota) -> Result<Option<String>, IntakeError> {
    let failed = |source| IntakeError::Write { path: ours.to_owned(), source };
    let limit = quota.file.min(quota.left);
    let mut written = OpenOptions::new().write(true).create_new(true).open(ours).map_err(failed)?;
    let mut theirs = theirs.take(limit);
    let count = io::copy(&mut theirs, &mut written).map_err(failed)?;
    quota.left -= count;
    let more = theirs.into_inner().read(&mut [0]).map_err(failed)? > 0;
    Ok(more.then(|| format!("only its first {count} bytes are kept")))
}

#[cfg(test)]
#[path = "intake_tests.rs"]
mod tests;
