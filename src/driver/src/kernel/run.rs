//! Runs the programs that take long: waits for them, follows their log, and
//! ends them when the user asks to stop.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use super::error::{At as _, FileError, KernelProblem};
use crate::exec::{Cmd, ExecError};

/// Interval at which the log and Ctrl-C are looked at.
const POLL: Duration = Duration::from_millis(100);

/// A line longer than this is cut: it is not for people any more.
const LONGEST_LINE: usize = 4096;

/// Why a program did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// It could not be started or waited for, or failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Its log cannot be written or read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The user asked to stop. The program and its children are gone.
    #[error("interrupted")]
    Interrupted,
}

impl RunError {
    /// As a problem of a kernel; `doing` is a present participle with its object.
    pub(super) fn while_doing(self, doing: impl Into<String>) -> KernelProblem {
        match self {
            Self::Exec(error) => error.into(),
            Self::File(error) => error.into(),
            Self::Interrupted => KernelProblem::Interrupted { doing: doing.into() },
        }
    }
}

/// A log that programs write and we read along.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    writer: File,
    reader: File,
    /// Read but not yet a whole line.
    partial: Vec<u8>,
}

impl Log {
    /// Starts a new log in place of an old one.
    pub(super) fn create(path: PathBuf) -> Result<Self, FileError> {
        if let Some(parent) = path.parent() {
            super::cache::create_dir(parent)?;
        }
        // A new file, so that whoever still reads the old one keeps it.
        super::cache::remove(&path)?;
        let writer = File::options().create(true).append(true).open(&path).at("create", &path)?;
        let reader = File::open(&path).at("read", &path)?;
        Ok(Self { path, writer, reader, partial: Vec::new() })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// All of it, lossily decoded.
    pub(super) fn text(&self) -> Result<String, FileError> {
        let bytes = std::fs::read(&self.path).at("read", &self.path)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Runs a command to its end; what it writes goes to the log, and to `lines`
    /// as it comes, a few lines at a time; ten times a second, with no lines when
    /// there are none.
    pub(super) fn run(
        &mut self,
        cmd: &Cmd,
        interrupted: fn() -> bool,
        lines: &mut dyn FnMut(&[String]),
    ) -> Result<ExitStatus, RunError> {
        writeln!(self.writer, "$ {}", cmd.display()).at("write", &self.path)?;
        // What we write ourselves is no news.
        self.fresh_lines()?;
        let mut running = cmd.start(&self.writer)?;
        loop {
            let status = running.wait_timeout(POLL)?;
            lines(&self.fresh_lines()?);
            match status {
                Some(status) => return Ok(status),
                None if interrupted() => {
                    running.stop();
                    return Err(RunError::Interrupted);
                }
                None => {}
            }
        }
    }

    fn fresh_lines(&mut self) -> Result<Vec<String>, FileError> {
        let mut bytes = Vec::new();
        self.reader.read_to_end(&mut bytes).at("read", &self.path)?;
        self.partial.extend_from_slice(&bytes);
        Ok(split_lines(&mut self.partial))
    }
}

/// Takes whole lines off the front; the rest stays.
fn split_lines(partial: &mut Vec<u8>) -> Vec<String> {
    let Some(end) = partial.iter().rposition(|&byte| byte == b'\n') else { return Vec::new() };
    let rest = partial.split_off(end + 1);
    let whole = std::mem::replace(partial, rest);
    let whole = whole.strip_suffix(b"\n").unwrap_or(&whole);
    whole
        .split(|&byte| byte == b'\n')
        .map(|line| String::from_utf8_lossy(&line[..line.len().min(LONGEST_LINE)]).into_owned())
        .collect()
}

/// Runs a command that says little to its end.
pub(super) fn patiently(cmd: &Cmd, interrupted: fn() -> bool) -> Result<(), RunError> {
    let mut log = tempfile::tempfile().at("create", std::env::temp_dir())?;
    let mut running = cmd.start(&log)?;
    let status = loop {
        match running.wait_timeout(POLL)? {
            Some(status) => break status,
            None if interrupted() => {
                running.stop();
                return Err(RunError::Interrupted);
            }
            None => {}
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = Vec::new();
    io::Seek::rewind(&mut log).and_then(|()| log.read_to_end(&mut said)).at("read", std::env::temp_dir())?;
    Err(RunError::Exec(ExecError::Failed {
        command: cmd.display(),
        status: status.to_string(),
        stderr: String::from_utf8_lossy(&said).into_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use proptest::prelude::*;

    fn shell(script: &str) -> Cmd {
        Cmd::new("sh").arg("-c").arg(script)
    }

    #[test]
    fn what_a_program_says_is_logged_and_told() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut log = Log::create(dir.path().join("logs/x.log")).expect("log");
        let mut told = Vec::new();
        let status = log
            .run(&shell("echo one; echo two >&2; exit 3"), || false, &mut |lines| {
                told.extend_from_slice(lines)
            })
            .expect("run");
        assert_eq!(status.code(), Some(3));
        assert_eq!(told, ["one", "two"]);
        assert_eq!(log.text().expect("text"), "$ sh -c 'echo one; echo two >&2; exit 3'\none\ntwo\n");
    }

    #[test]
    fn a_second_program_continues_the_log() {
        let dir = tempfile::tempdir().expect("tempdir");
        let mut log = Log::create(dir.path().join("x.log")).expect("log");
        log.run(&shell("echo one"), || false, &mut |_| ()).expect("run");
        log.run(&shell("echo two"), || false, &mut |_| ()).expect("run");
        assert_eq!(log.text().expect("text"), "$ sh -c 'echo one'\none\n$ sh -c 'echo two'\ntwo\n");
    }

    #[test]
    fn a_new_log_does_not_touch_the_old_one_that_someone_reads() {
        let dir = tempfile::tempdir().expect("tempdir");
        let path = dir.path().join("x.log");
        let old = Log::create(path.clone()).expect("log");
        std::fs::write(&path, "old").expect("write");
        let mut reader = old.reader;
        Log::create(path).expect("log");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("read");
        assert_eq!(text, "old");
    }

    #[test]
    fn an_interrupted_program_is_gone() {
        static SPOKE: AtomicBool = AtomicBool::new(false);
        let dir = tempfile::tempdir().expect("tempdir");
        let mut log = Log::create(dir.path().join("x.log")).expect("log");
        let mut pid = None;
        let spoke = || SPOKE.load(Ordering::Relaxed);
        let error = log.run(&shell("echo $$; exec sleep 1000"), spoke, &mut |lines| {
            pid = lines.first().map(|line| line.parse().expect("pid")).or(pid);
            SPOKE.store(pid.is_some(), Ordering::Relaxed);
        });
        assert!(matches!(error, Err(RunError::Interrupted)), "{error:?}");
        let pid = pid.and_then(rustix::process::Pid::from_raw).expect("pid");
        rustix::process::test_kill_process(pid).expect_err("gone");
    }

    #[test]
    fn a_quiet_program_that_fails_shows_its_last_words() {
        patiently(&shell("echo fine"), || false).expect("fine");
        let error = patiently(&shell("echo no luck; exit 1"), || false).expect_err("fails");
        assert!(error.to_string().ends_with("\n  no luck"), "{error}");
        let error = patiently(&shell("exec sleep 1000"), || true).expect_err("interrupted");
        assert!(matches!(error, RunError::Interrupted), "{error}");
    }

    proptest! {
        #[test]
        fn lines_are_the_same_however_they_arrive(
            text in proptest::collection::vec(proptest::sample::select(vec![b'a', b'\n', 0xc3, 0xa9, 0xff]), 0..40),
            cut in 0usize..40,
        ) {
            let mut whole = text.clone();
            let expected = split_lines(&mut whole);
            let (first, second) = text.split_at(cut.min(text.len()));
            let mut partial = first.to_vec();
            let mut lines = split_lines(&mut partial);
            partial.extend_from_slice(second);
            lines.extend(split_lines(&mut partial));
            prop_assert_eq!(lines, expected);
            prop_assert_eq!(partial, whole);
        }
    }
}
