//! Directories of runs: names, creation, lock, finding them again.
//!
//! ```text
//! results/
//!   .locks/20261120-231502-k3f9      held by the process that makes the run
//!   20261120-231502-k3f9/            one run; see results/README.md
//! ```
//!
//! The lock lies beside the runs and not in one, so that whoever deletes or
//! moves a run's directory cannot take the lock away under its owner.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::ResultsError;
use crate::model::{BootId, RunId};

/// The record, rewritten as the run goes on.
pub const RUN_FILE: &str = "run.json";
/// One event per line, only ever appended to.
pub const EVENTS_FILE: &str = "events.jsonl";
/// JUnit report, written at the end.
pub const JUNIT_FILE: &str = "junit.xml";
/// Kernel log of a boot, raw.
pub const CONSOLE_LOG: &str = "console.log";

const LOCKS: &str = ".locks";

/// How often a taken name is answered with another one.
const NAME_ATTEMPTS: u32 = 100;

/// A new run's directory. Others see the run as live as long as this exists.
#[derive(Debug)]
pub struct RunDir {
    id: RunId,
    path: PathBuf,
    lock: Lock,
}

#[derive(Debug)]
struct Lock {
    path: PathBuf,
    // Closing it gives the lock back.
    _file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While the lock is still held: whoever finds no file sees a dead run,
        // which from here on it is.
        let _ = fs::remove_file(&self.path);
    }
}

impl RunDir {
    /// Makes the directory of a new run below `results`, which is made too if
    /// it is missing, and proves that it can be written to.
    ///
    /// # Errors
    ///
    /// Fails when the directory cannot be made or locked.
    pub fn create(results: &Path) -> Result<Self, ResultsError> {
        Self::create_named(results, || {
            run_id(crate::clock::unix_seconds(), || char::from(*fastrand::choice(SUFFIX).unwrap_or(&b'0')))
        })
    }

    fn create_named(results: &Path, mut name: impl FnMut() -> RunId) -> Result<Self, ResultsError> {
        let locks = results.join(LOCKS);
        fs::create_dir_all(&locks)
            .map_err(|source| ResultsError::Unwritable { path: results.to_owned(), source })?;
        let results = fs::canonicalize(results)
            .map_err(|source| ResultsError::Unwritable { path: results.to_owned(), source })?;
        for _ in 0..NAME_ATTEMPTS {
            if let Some(dir) = Self::try_create(&results, name())? {
                return Ok(dir);
            }
        }
        Err(ResultsError::NoName { path: results, attempts: NAME_ATTEMPTS })
    }

    /// `None` when the name is taken.
    fn try_create(results: &Path, id: RunId) -> Result<Option<Self>, ResultsError> {
        let path = results.join(&id.0);
        let unwritable = |source| ResultsError::Unwritable { path: results.to_owned(), source };
        let lock_path = results.join(LOCKS).join(&id.0);
        let file = match OpenOptions::new().write(true).create_new(true).open(&lock_path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(unwritable(error)),
        };
        // From here on the lock file goes with `lock` whatever fails.
        let lock = Lock { path: lock_path.clone(), _file: file };
        // Waits for nobody: a reader holds the lock only for the moment of its look.
        lock._file.lock().map_err(|source| ResultsError::Lock { path: lock_path, source })?;
        match fs::create_dir(&path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(unwritable(error)),
        }
        Ok(Some(Self { id, path, lock }))
    }

    /// Takes the directory of a run that is over, or whose process died, to go on with
    /// it. None when another process holds it.
    ///
    /// # Errors
    ///
    /// Fails when there is no such directory, or its lock cannot be taken.
    pub fn reopen(path: &Path) -> Result<Option<Self>, ResultsError> {
        let read = |source| ResultsError::Read { path: path.to_owned(), source };
        let path = fs::canonicalize(path).map_err(read)?;
        let (Some(results), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(ResultsError::NoRecord { path });
        };
        let id = RunId(name.to_string_lossy().into_owned());
        let locks = results.join(LOCKS);
        let lock_path = locks.join(&id.0);
        let unlockable = |source| ResultsError::Lock { path: lock_path.clone(), source };
        fs::create_dir_all(&locks).map_err(unlockable)?;
        for _ in 0..NAME_ATTEMPTS {
            // A process that died has left its file behind, without a lock on it.
            let file = OpenOptions::new().write(true).create(true).truncate(false).open(&lock_path);
            let file = file.map_err(unlockable)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(source)) => return Err(unlockable(source)),
            }
            // Whoever had it may have taken its name away since it was opened: a lock on
            // what has no name keeps nobody out.
            if is_at(&file, &lock_path).map_err(unlockable)? {
                return Ok(Some(Self { id, path, lock: Lock { path: lock_path.clone(), _file: file } }));
            }
        }
        Ok(None)
    }

    /// Name of the run.
    #[must_use]
    pub fn id(&self) -> &RunId {
        &self.id
    }

    /// Absolute path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a boot of this run keeps its files.
    #[must_use]
    pub fn boot(&self, boot: BootId) -> BootDir {
        BootDir::new(&self.path, boot)
    }

    /// Gives the lock back: from now on the run counts as over.
    pub fn unlock(self) {
        drop(self.lock);
    }
}

/// Directory of one boot, `boots/N` in the run's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootDir {
    path: PathBuf,
    relative: PathBuf,
}

impl BootDir {
    /// The directory of `boot` in the run at `run`; not created here.
    #[must_use]
    pub fn new(run: &Path, boot: BootId) -> Self {
        let relative = Path::new("boots").join(boot.to_string());
        Self { path: run.join(&relative), relative }
    }

    /// Creates it.
    ///
    /// # Errors
    ///
    /// Fails when the disk does.
    pub fn create(&self) -> Result<(), ResultsError> {
        fs::create_dir_all(&self.path)
            .map_err(|source| ResultsError::Write { path: self.path.clone(), source })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory relative to the run, as [`crate::model::BootInfo`] says it.
    #[must_use]
    pub fn relative(&self) -> &Path {
        &self.relative
    }

    /// Kernel log, raw bytes as they came.
    #[must_use]
    pub fn console(&self) -> PathBuf {
        self.path.join(CONSOLE_LOG)
    }

    /// Raw output of tests.
    #[must_use]
    pub fn output(&self) -> PathBuf {
        self.path.join("output.log")
    }

    /// Messages of the guest, one JSON value per line.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.path.join(EVENTS_FILE)
    }

    /// Samples of the guest, one JSON value per message, without any time: two boots
    /// in virtual time can be compared byte by byte.
    #[must_use]
    pub fn samples(&self) -> PathBuf {
        self.path.join("samples.jsonl")
    }

    /// What the guest was asked to do.
    #[must_use]
    pub fn plan(&self) -> PathBuf {
        self.path.join("plan.json")
    }

    /// What QEMU or virtme-ng itself said.
    #[must_use]
    pub fn machine(&self) -> PathBuf {
        self.path.join("machine.log")
    }

    /// The exact command as a shell would take it.
    #[must_use]
    pub fn command(&self) -> PathBuf {
        self.path.join("qemu.cmd")
    }
}

/// Letters of the random part of a run's name.
const SUFFIX: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// `20261120-231502-k3f9`: UTC, then four random letters. Names sort by time.
fn run_id(unix: i64, mut letter: impl FnMut() -> char) -> RunId {
    let time = jiff::Timestamp::from_second(unix).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let suffix: String = (0..4).map(|_| letter()).collect();
    RunId(format!("{}-{suffix}", time.strftime("%Y%m%d-%H%M%S")))
}

/// Whether a name has the form of [`run_id`]; other directories below the
/// results are no business of ours.
fn is_run_id(name: &str) -> bool {
    let digits = |text: &str, n| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let mut parts = name.splitn(3, '-');
    let mut part = || parts.next().unwrap_or_default();
    digits(part(), 8) && digits(part(), 6) && {
        let suffix = part();
        suffix.len() == 4 && suffix.bytes().all(|b| SUFFIX.contains(&b))
    }
}

/// Whether an open file is the one at `path`.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a process holds the lock of the run in `dir`.
///
/// # Errors
///
/// Fails when the lock is there and cannot be asked.
pub(crate) fn is_live(dir: &Path) -> Result<bool, ResultsError> {
    let (Some(results), Some(name)) = (dir.parent(), dir.file_name()) else { return Ok(false) };
    let path = results.join(LOCKS).join(name);
    // The directory may come from elsewhere: a pipe in this place must not be waited for.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(ResultsError::Lock { path, source }),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(source)) => Err(ResultsError::Lock { path, source }),
    }
}

/// Finds a run: by nothing (the latest), its name, the beginning of its name
/// if only one run has it, or the path of its directory.
///
/// # Errors
///
/// Fails when there is no such run or more than one.
pub fn find(results: &Path, which: Option<&str>) -> Result<PathBuf, ResultsError> {
    let Some(which) = which else {
        let latest = runs(results)?.pop();
        return latest
            .map(|name| results.join(name))
            .ok_or_else(|| ResultsError::NoRuns { path: results.to_owned() });
    };
    let path = Path::new(which);
    if which.contains('/') || path.join(EVENTS_FILE).exists() || path.join(RUN_FILE).exists() {
        return find_path(path);
    }
    let runs = runs(results)?;
    let meant = meant(&runs, which);
    match meant.as_slice() {
        [name] => Ok(results.join(name)),
        [] => Err(ResultsError::NoSuchRun { path: results.to_owned(), which: which.to_owned(), runs }),
        _ => Err(ResultsError::Ambiguous { which: which.to_owned(), runs: meant }),
    }
}

/// The names that a user can mean: the one that is written so, or else all that begin so.
pub(crate) fn meant(names: &[String], which: &str) -> Vec<String> {
    match names.iter().find(|name| *name == which) {
        Some(name) => vec![name.clone()],
        None => names.iter().filter(|name| name.starts_with(which)).cloned().collect(),
    }
}

/// Names of the directories in this one that hold a file, in their order; none where it
/// cannot be read.
pub(crate) fn holding(directory: &Path, file: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let holding = entries.filter(|entry| entry.path().join(file).is_file());
    let mut names: Vec<String> =
        holding.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

/// A run's directory, or a file in it.
fn find_path(path: &Path) -> Result<PathBuf, ResultsError> {
    let dir = if path.is_file() { path.parent().unwrap_or(path) } else { path };
    let dir = fs::canonicalize(dir).map_err(|source| ResultsError::Read { path: path.to_owned(), source })?;
    if dir.join(EVENTS_FILE).exists() || dir.join(RUN_FILE).exists() {
        Ok(dir)
    } else {
        Err(ResultsError::NoRecord { path: dir })
    }
}

/// Names of all runs, oldest first.
fn runs(results: &Path) -> Result<Vec<String>, ResultsError> {
    let entries = match fs::read_dir(results) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(ResultsError::Read { path: results.to_owned(), source }),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|source| ResultsError::Read { path: results.to_owned(), source })?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_run_id(&name) && entry.path().is_dir() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(name: &str) -> RunId {
        RunId(name.to_owned())
    }

    fn run_in(results: &Path, name: &str) -> RunDir {
        RunDir::create_named(results, || id(name)).expect("create")
    }

    #[test]
    fn a_name_is_utc_and_four_letters() {
        let mut letters = "k3f9".chars();
        assert_eq!(run_id(1_795_216_502, || letters.next().expect("letter")), id("20261120-231502-k3f9"));
        assert!(is_run_id("20261120-231502-k3f9"));
        for other in ["latest", "20261120-231502", "20261120-231502-K3F9", "20261120-231502-k3f99", ".locks"]
        {
            assert!(!is_run_id(other), "{other}");
        }
    }

    #[test]
    fn two_runs_in_one_directory_take_different_names() {
        let results = tempfile::tempdir().expect("results");
        let first = run_in(results.path(), "20261120-231502-aaaa");
        let mut names = ["20261120-231502-aaaa", "20261120-231502-bbbb"].into_iter();
        let second =
            RunDir::create_named(results.path(), || id(names.next().expect("name"))).expect("second");
        assert_eq!(second.id().0, "20261120-231502-bbbb");
        assert_ne!(first.path(), second.path());
        assert!(is_live(first.path()).expect("lock") && is_live(second.path()).expect("lock"));
    }

    #[test]
    fn threads_that_start_runs_at_once_all_get_one() {
        let results = tempfile::tempdir().expect("results");
        let make = || RunDir::create(results.path()).expect("create");
        let dirs: Vec<RunDir> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().expect("thread")).collect()
        });
        assert_eq!(runs(results.path()).expect("list").len(), dirs.len());
    }

    #[test]
    fn a_name_that_stays_taken_is_an_error_and_no_endless_loop() {
        let results = tempfile::tempdir().expect("results");
        fs::create_dir(results.path().join("20261120-231502-aaaa")).expect("mkdir");
        let error = RunDir::create_named(results.path(), || id("20261120-231502-aaaa")).expect_err("taken");
        assert!(matches!(error, ResultsError::NoName { attempts: 100, .. }), "{error}");
        let locks = fs::read_dir(results.path().join(LOCKS)).expect("locks").count();
        assert_eq!(locks, 0, "a lock file was left behind");
    }

    #[test]
    fn a_run_is_live_until_its_owner_lets_go() {
        let results = tempfile::tempdir().expect("results");
        let dir = run_in(results.path(), "20261120-231502-aaaa");
        let path = dir.path().to_owned();
        assert!(is_live(&path).expect("lock"));
        dir.unlock();
        assert!(!is_live(&path).expect("lock"));
    }

    #[test]
    fn a_lock_file_that_nobody_holds_is_a_dead_run() {
        let results = tempfile::tempdir().expect("results");
        let locks = results.path().join(LOCKS);
        fs::create_dir(&locks).expect("mkdir");
        fs::write(locks.join("20261120-231502-aaaa"), "").expect("write");
        assert!(!is_live(&results.path().join("20261120-231502-aaaa")).expect("lock"));
    }

    #[test]
    fn results_that_are_a_file_are_refused_with_a_hint() {
        let scratch = tempfile::tempdir().expect("scratch");
        let results = scratch.path().join("results");
        fs::write(&results, "").expect("write");
        let error = RunDir::create(&results).expect_err("a file").to_string();
        let error = error.replace(&scratch.path().display().to_string(), "/scratch");
        insta::assert_snapshot!(error, @r"
        cannot write to the results directory `/scratch/results`: Not a directory (os error 20)
        hint: choose another one with `--results DIR`
        ");
    }

    #[test]
    fn the_latest_run_is_found_without_a_name() {
        let results = tempfile::tempdir().expect("results");
        for name in ["20261120-231502-zzzz", "20261121-000000-aaaa", "not-a-run"] {
            fs::create_dir(results.path().join(name)).expect("mkdir");
        }
        let latest = find(results.path(), None).expect("latest");
        assert!(latest.ends_with("20261121-000000-aaaa"), "{}", latest.display());
    }

    #[test]
    fn a_run_is_found_by_name_beginning_or_path() {
        let results = tempfile::tempdir().expect("results");
        let one = run_in(results.path(), "20261120-231502-aaaa");
        fs::write(one.path().join(EVENTS_FILE), "").expect("write");
        run_in(results.path(), "20261121-000000-aaaa");
        let found = |which: &str| find(results.path(), Some(which)).expect(which);
        for which in ["20261120-231502-aaaa", "20261120"] {
            assert!(found(which).ends_with("20261120-231502-aaaa"), "{which}");
        }
        assert_eq!(found(&one.path().display().to_string()), one.path());
        assert_eq!(found(&one.path().join(EVENTS_FILE).display().to_string()), one.path());
    }

    #[test]
    fn a_beginning_of_several_names_lists_them() {
        let results = tempfile::tempdir().expect("results");
        run_in(results.path(), "20261120-231502-aaaa");
        run_in(results.path(), "20261120-231502-bbbb");
        let error = find(results.path(), Some("20261120")).expect_err("two");
        insta::assert_snapshot!(error, @r"
        `20261120` is the beginning of 2 runs
          20261120-231502-aaaa
          20261120-231502-bbbb
        hint: give more of the name
        ");
    }

    #[test]
    fn an_unknown_name_shows_the_runs_there_are() {
        let results = tempfile::tempdir().expect("results");
        run_in(results.path(), "20261120-231502-aaaa");
        let error = find(results.path(), Some("2025")).expect_err("none").to_string();
        let error = error.replace(&results.path().display().to_string(), "/results");
        insta::assert_snapshot!(error, @r"
        there is no run `2025` in `/results`; the latest ones are
          20261120-231502-aaaa
        hint: name one of them, a beginning of its name, or the path of a run's directory
        ");
    }

    #[test]
    fn no_runs_at_all_is_said_plainly() {
        let results = tempfile::tempdir().expect("results");
        let missing = results.path().join("none");
        let error = find(&missing, None).expect_err("none").to_string();
        let error = error.replace(&results.path().display().to_string(), "/scratch");
        insta::assert_snapshot!(error, @r"
        there are no runs in `/scratch/none`
        hint: `kregress run` makes one; `--results DIR` looks elsewhere
        ");
    }

    #[test]
    fn the_files_of_a_boot_lie_in_its_directory() {
        let boot = BootDir::new(Path::new("/r"), BootId(3));
        assert_eq!(boot.relative(), Path::new("boots/3"));
        assert_eq!(boot.console(), Path::new("/r/boots/3/console.log"));
        assert_eq!(boot.output(), Path::new("/r/boots/3/output.log"));
        assert_eq!(boot.events(), Path::new("/r/boots/3/events.jsonl"));
        assert_eq!(boot.command(), Path::new("/r/boots/3/qemu.cmd"));
    }
}
