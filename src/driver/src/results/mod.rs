//! Runs on disk: their directories, their record, and what it adds up to.
//!
//! Owns `results/<run>/` except for the files of a boot, which the engine
//! writes to the paths given here. `results/README.md` is the format for
//! people. Knows nothing of how a run is shown.

mod convert;
mod dir;
mod disk;
mod event;
mod fold;
pub mod format;
mod health;
mod load;
mod recorder;
mod sharded;
mod standing;
mod subtest;
mod summary;
mod words;

#[cfg(test)]
mod schema;
#[cfg(test)]
pub(crate) mod testing;

use std::io;
use std::path::PathBuf;

pub(crate) use convert::{
    event as to_event, from_machine, machine as to_machine, metric as to_metric, milliseconds,
    planned as to_test,
};
pub use dir::{BootDir, CONSOLE_LOG, EVENTS_FILE, JUNIT_FILE, RUN_FILE, RunDir, find};
pub(crate) use dir::{holding, is_live, meant};
pub(crate) use disk::LineLog;
pub use disk::replace;
pub(crate) use fold::MAX_VERDICTS;
pub use fold::{Fold, FoldError};
pub use format::Run;
pub use health::{Blame, Health, HealthProblem, health};
pub use load::load;
pub(crate) use load::{Files, load_files};
pub(crate) use recorder::with_summary;
pub use recorder::{Finished, Recorder};
pub use sharded::{Merged, MergedShard, Shard};
pub use standing::{Standing, Turn, turns};
pub use subtest::Subtest;
pub use summary::{Counts, Summary};
pub(crate) use words::decimal;

/// Why a run cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    /// The directory for all runs.
    #[error(
        "cannot write to the results directory `{path}`: {source}\n\
         hint: choose another one with `--results DIR`"
    )]
    Unwritable {
        /// The directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Every name that was tried is taken.
    #[error(
        "cannot name a new run in `{path}`: {attempts} names were all taken\n\
         hint: is the clock of this machine right?"
    )]
    NoName {
        /// The results directory.
        path: PathBuf,
        /// How many were tried.
        attempts: u32,
    },
    /// The lock.
    #[error(
        "cannot lock `{path}`: {source}\n\
         hint: the results directory must be on a file system with `flock`; `--results DIR` chooses another"
    )]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file of the run.
    #[error("cannot write `{path}`: {source}{}", hint_for(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file or directory of the run.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The engine told something that does not follow.
    #[error("the record of the run refuses an event: {0}")]
    Inconsistent(#[from] FoldError),
    /// There is nothing to be found.
    #[error("there are no runs in `{path}`\nhint: `kregress run` makes one; `--results DIR` looks elsewhere")]
    NoRuns {
        /// The results directory.
        path: PathBuf,
    },
    /// No run of this name.
    #[error(
        "there is no run `{which}` in `{path}`; the latest ones are{}\n\
         hint: name one of them, a beginning of its name, or the path of a run's directory",
        list(runs)
    )]
    NoSuchRun {
        /// The results directory.
        path: PathBuf,
        /// As asked for.
        which: String,
        /// The runs that there are.
        runs: Vec<String>,
    },
    /// More than one run of this name.
    #[error("`{which}` is the beginning of {} runs{}\nhint: give more of the name", runs.len(), list(runs))]
    Ambiguous {
        /// As asked for.
        which: String,
        /// The runs that match.
        runs: Vec<String>,
    },
    /// A directory without a usable record.
    #[error(
        "`{path}` holds no record of a run: it was killed before it wrote down its plan, or it is no run\n\
         hint: `kregress report` with another run's name, or run again"
    )]
    NoRecord {
        /// The directory.
        path: PathBuf,
    },
    /// A record that cannot be understood.
    #[error("`{path}` is damaged: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// A record of a newer program.
    #[error(
        "`{path}` has version {found} of the format; this kregress reads up to {}\n\
         hint: read it with the kregress that wrote it, or a newer one",
        format::VERSION
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Version in the file.
        found: u32,
    },
}

fn hint_for(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "\nhint: make room; what was recorded so far stays readable with `kregress report`"
        }
        _ => "",
    }
}

/// The last few names, one per line.
fn list(runs: &[String]) -> String {
    const SHOWN: usize = 8;
    if runs.is_empty() {
        return " none".to_owned();
    }
    runs[runs.len().saturating_sub(SHOWN)..].iter().map(|name| format!("\n  {name}")).collect()
}
