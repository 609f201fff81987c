//! The session of a bisection on the disk: `RESULTS/bisect/ID/`, with the record, and the
//! files of each boot as in a run.
//!
//! Owns the record's file: each line is on the disk when [`Session::write`] returns. One
//! process at a time has it; whoever comes after one that was killed goes on with what
//! is there.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::record::{self, FILE, Line, Plan, RecordError};
use super::state::State;
use crate::model::RunId;
use crate::results::{self, LineLog, ResultsError, RunDir};

/// Directory of all sessions below the results.
const SESSIONS: &str = "bisect";

/// Why a session cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// Its directory.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// Its record cannot be written.
    #[error(
        "cannot write the record `{path}`: {source}\n\
         hint: make room, then go on with `kregress bisect --resume {}`",
        path.parent().unwrap_or(path).display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Its record cannot be read.
    #[error("cannot read the record `{path}`: {source}\nhint: it has to be there, and yours to read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Its record cannot be understood.
    #[error(
        "`{path}` is no record of a bisection that can be read: {reason}\n\
         hint: `--resume` and `--replay` take sessions of this kregress or an older one"
    )]
    Record {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: RecordError,
    },
    /// Another process works on it.
    #[error("session `{path}` is in use by another kregress\nhint: wait for it, or stop it first")]
    Busy {
        /// The directory.
        path: PathBuf,
    },
    /// No session of this name.
    #[error(
        "there is no session `{which}` in `{path}`{}\n\
         hint: name one of them, a beginning of its name, or the path of its directory",
        list(known)
    )]
    Unknown {
        /// Directory of the sessions.
        path: PathBuf,
        /// As asked for.
        which: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// More than one.
    #[error("`{which}` is the beginning of {} sessions{}\nhint: give more of the name", known.len(), list(known))]
    Ambiguous {
        /// As asked for.
        which: String,
        /// Those that match.
        known: Vec<String>,
    },
}

fn list(known: &[String]) -> String {
    const SHOWN: usize = 8;
    match known {
        [] => "; there are none".to_owned(),
        known => {
            let skipped = known.len().saturating_sub(SHOWN);
            format!("; the latest ones are {}", known[skipped..].join(", "))
        }
    }
}

/// A session that this process works on.
#[derive(Debug)]
pub struct Session {
    directory: RunDir,
    file: PathBuf,
    log: LineLog<File>,
    state: State,
}

impl Session {
    /// Begins a session below `results`; `plan` is told its name.
    ///
    /// # Errors
    ///
    /// Fails when the directory or the record cannot be made.
    pub fn begin(results: &Path, plan: impl FnOnce(&RunId) -> Plan) -> Result<Self, SessionError> {
        let directory = RunDir::create(&results.join(SESSIONS))?;
        let plan = plan(directory.id());
        let file = directory.path().join(FILE);
        let opened = OpenOptions::new().append(true).create_new(true).open(&file);
        let log = opened.map_err(|source| SessionError::Write { path: file.clone(), source })?;
        let state = State::new(plan.clone());
        let mut session = Self { directory, file, log: LineLog::new(log), state };
        session.write(Line::Plan(Box::new(plan)))?;
        Ok(session)
    }

    /// Goes on with the session at `path`. A line that was being written when it was cut
    /// off is taken away.
    ///
    /// # Errors
    ///
    /// Fails when another process works on it, and when its record cannot be read.
    pub fn resume(path: &Path) -> Result<Self, SessionError> {
        let Some(directory) = RunDir::reopen(path)? else {
            return Err(SessionError::Busy { path: path.to_owned() });
        };
        let file = directory.path().join(FILE);
        let (state, whole) = load(&file)?;
        let open = || -> io::Result<File> {
            let log = OpenOptions::new().append(true).open(&file)?;
            log.set_len(whole)?;
            Ok(log)
        };
        let log = open().map_err(|source| SessionError::Write { path: file.clone(), source })?;
        Ok(Self { directory, file, log: LineLog::after(log, whole), state })
    }

    /// What is known.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Its directory, absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a line, and takes it for known when it is on the disk.
    ///
    /// # Errors
    ///
    /// Fails when the disk does.
    pub fn write(&mut self, line: Line) -> Result<(), SessionError> {
        let written = record::write(&line).map_err(io::Error::from).and_then(|bytes| {
            self.log.append(&bytes)?;
            self.log.sync()
        });
        written.map_err(|source| SessionError::Write { path: self.file.clone(), source })?;
        self.state.take(line);
        Ok(())
    }

    /// Number of the last boot that left anything: one that was cut off has a directory
    /// and no line.
    #[must_use]
    pub fn last_boot(&self) -> u32 {
        let entries = fs::read_dir(self.path().join("boots")).into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        numbers.max().unwrap_or(0).max(self.state.last_boot())
    }
}

/// Reads the record of the session at `path`; nothing is locked or changed.
///
/// # Errors
///
/// Fails when there is none that can be read.
pub fn read(path: &Path) -> Result<State, SessionError> {
    load(&path.join(FILE)).map(|(state, _)| state)
}

fn load(file: &Path) -> Result<(State, u64), SessionError> {
    let bytes = fs::read(file).map_err(|source| SessionError::Read { path: file.to_owned(), source })?;
    let read =
        record::read(&bytes).map_err(|reason| SessionError::Record { path: file.to_owned(), reason })?;
    let mut state = State::new(read.plan);
    for line in read.lines {
        state.take(line);
    }
    Ok((state, read.whole))
}

/// Finds a session: by its path, its name, or the beginning of its name.
///
/// # Errors
///
/// Fails when there is no such session or more than one.
pub fn find(directory: &Path, which: &str) -> Result<PathBuf, SessionError> {
    let given = Path::new(which);
    if given.join(FILE).is_file() {
        return Ok(given.to_owned());
    }
    if given.is_file() && given.file_name().is_some_and(|name| name == FILE) {
        return Ok(given.parent().unwrap_or(given).to_owned());
    }
    let sessions = directory.join(SESSIONS);
    let known = results::holding(&sessions, FILE);
    let meant = results::meant(&known, which);
    match meant.as_slice() {
        [name] => Ok(sessions.join(name)),
        [] => Err(SessionError::Unknown { path: sessions, which: which.to_owned(), known }),
        _ => Err(SessionError::Ambiguous { which: which.to_owned(), known: meant }),
    }
}
