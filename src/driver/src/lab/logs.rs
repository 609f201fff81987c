//! The logs of a boot: bounded files, and what QEMU or virtme-ng itself says, on its
//! way through a pipe into one of them.
//!
//! A pipe and no file: virtme-ng opens its stdout and stderr again, several times and
//! without `O_APPEND`. In a regular file each of these would truncate what was said
//! before, and write over what the others say.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::PathBuf;

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::{PipeFlags, pipe_with};

use super::boot::BootError;

/// Largest log on disk, in bytes. From experience: an honest boot with debug options
/// writes less than 5 MB.
const LOG_CAP: u64 = 64 << 20;

/// As much of a machine's words as is looked through for the last line, in bytes.
const TAIL: usize = 4 << 10;

/// A log on disk with a bound.
pub(super) struct CappedLog {
    file: File,
    written: u64,
}

impl CappedLog {
    pub(super) fn create(path: PathBuf) -> Result<Self, BootError> {
        let file = File::create(&path).map_err(|source| BootError::Create { path, source })?;
        Ok(Self { file, written: 0 })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.written >= LOG_CAP {
            return Ok(());
        }
        let room = usize::try_from(LOG_CAP - self.written).unwrap_or(usize::MAX);
        let part = &bytes[..bytes.len().min(room)];
        self.file.write_all(part)?;
        self.written += part.len() as u64;
        if self.written >= LOG_CAP {
            self.file.write_all(b"\n[kregress: the log reached its limit, the rest is not kept]\n")?;
        }
        Ok(())
    }
}

/// Our end of the pipe into which the machine's programs speak.
pub(super) struct MachineLog {
    /// `None` when all of them have closed it.
    pipe: Option<File>,
    log: CappedLog,
    tail: Vec<u8>,
}

impl MachineLog {
    /// Makes the log, and the end that the machine gets.
    ///
    /// # Errors
    ///
    /// Fails when the file or the pipe cannot be made.
    pub(super) fn create(path: PathBuf) -> Result<(Self, File), BootError> {
        let pipe_error =
            |source: rustix::io::Errno| BootError::Create { path: path.clone(), source: source.into() };
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(pipe_error)?;
        fcntl_setfl(&ours, OFlags::NONBLOCK).map_err(pipe_error)?;
        let log = CappedLog::create(path)?;
        Ok((Self { pipe: Some(File::from(ours)), log, tail: Vec::new() }, File::from(theirs)))
    }

    /// What to wait on, while somebody may say something.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(|pipe| pipe.as_fd())
    }

    /// Takes what there is, and does not wait for more: a process that was left
    /// behind may hold the other end for ever.
    ///
    /// # Errors
    ///
    /// Fails when the log cannot be written.
    pub(super) fn receive(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 << 10];
        // As much as a pipe holds, so that one who floods it does not keep us here.
        for _ in 0..4 {
            let Some(pipe) = &mut self.pipe else { return Ok(()) };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.tail.extend_from_slice(&buffer[..count]);
                    let beyond = self.tail.len().saturating_sub(TAIL);
                    self.tail.drain(..beyond);
                    self.log.write(&buffer[..count])?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(_) => self.pipe = None,
            }
        }
        Ok(())
    }

    /// Last line of what was said, which explains an early end.
    pub(super) fn last_words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.tail);
        let last = text.lines().rev().find(|line| !line.trim().is_empty())?;
        Some(last.trim().chars().take(300).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> (tempfile::TempDir, MachineLog, File) {
        let dir = tempfile::tempdir().expect("a directory");
        let (log, theirs) = MachineLog::create(dir.path().join("machine.log")).expect("a log");
        (dir, log, theirs)
    }

    #[test]
    fn the_last_line_that_says_something_is_the_last_word() {
        let (dir, mut log, mut theirs) = log();
        log.receive().expect("nothing yet");
        assert_eq!(log.last_words(), None);
        theirs.write_all(b"first\nsecond  \n\n").expect("written");
        log.receive().expect("received");
        assert_eq!(log.last_words().as_deref(), Some("second"));
        assert!(log.fd().is_some());
        drop(theirs);
        log.receive().expect("received");
        assert!(log.fd().is_none(), "nobody is left who could say something");
        assert_eq!(std::fs::read(dir.path().join("machine.log")).expect("a file"), b"first\nsecond  \n\n");
    }

    #[test]
    fn whoever_opens_its_end_again_truncates_nothing() {
        use std::os::fd::AsRawFd as _;
        let (_dir, mut log, mut theirs) = log();
        theirs.write_all(b"before\n").expect("written");
        let again = format!("/proc/self/fd/{}", theirs.as_raw_fd());
        // As QEMU opens the file of a chardev.
        File::create(again).expect("opened").write_all(b"after\n").expect("written");
        log.receive().expect("received");
        assert_eq!(log.tail, b"before\nafter\n");
    }

    #[test]
    fn a_flood_is_bounded_in_memory() {
        let (_dir, mut log, mut theirs) = log();
        for _ in 0..8 {
            theirs.write_all(&[b'x'; 32 << 10]).expect("written");
            log.receive().expect("received");
        }
        assert_eq!(log.tail.len(), TAIL);
    }
}
