//! Writing files so that a reader never sees half of one: whole files by
//! rename, and a log of lines that is cut back when a line did not fit.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use super::ResultsError;

/// Replaces the file at `path` by what `content` writes. On any error the file
/// that was there stays. One writer per path.
///
/// # Errors
///
/// Fails when the disk does.
pub fn replace<F>(path: &Path, content: F) -> Result<(), ResultsError>
where
    F: FnOnce(&mut BufWriter<File>) -> io::Result<()>,
{
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let written = write_synced(&temporary, content).and_then(|()| {
        fs::rename(&temporary, path)?;
        // The rename itself must survive a power cut. A bare name has an empty parent.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    });
    written.map_err(|source| {
        let _ = fs::remove_file(&temporary);
        ResultsError::Write { path: path.to_owned(), source }
    })
}

fn write_synced<F>(path: &Path, content: F) -> io::Result<()>
where
    F: FnOnce(&mut BufWriter<File>) -> io::Result<()>,
{
    let mut writer = BufWriter::new(File::create(path)?);
    content(&mut writer)?;
    writer.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}

/// What [`LineLog`] needs of a file that is open for appending.
pub(crate) trait AppendFile {
    /// Writes at the end; what is written before an error may stay.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts off everything behind `len`.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Returns when the content is on the disk.
    fn sync(&mut self) -> io::Result<()>;
}

impl AppendFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A file of lines. A line that did not fit leaves nothing behind; it is kept
/// and tried again before the next one, so that lines never go missing in the
/// middle.
#[derive(Debug)]
pub(crate) struct LineLog<F> {
    file: F,
    /// Length up to the last whole line.
    whole: u64,
    waiting: Vec<u8>,
}

impl<F: AppendFile> LineLog<F> {
    /// Goes on with an empty file.
    pub(crate) fn new(file: F) -> Self {
        Self::after(file, 0)
    }

    /// Goes on with a file of so many bytes, all of whole lines.
    pub(crate) fn after(file: F, whole: u64) -> Self {
        Self { file, whole, waiting: Vec::new() }
    }

    /// Appends a line, which brings its own newline.
    pub(crate) fn append(&mut self, line: &[u8]) -> io::Result<()> {
        self.waiting.extend_from_slice(line);
        self.flush()
    }

    /// Writes what did not fit before.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.append(&self.waiting) {
            // If this fails too, the rest of a line stays at the end, where
            // readers expect it after a crash; the next flush cuts it first.
            self.file.truncate(self.whole)?;
            return Err(error);
        }
        self.whole += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    /// Returns when all lines are on the disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.flush()?;
        self.file.sync()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of so many bytes.
    struct SmallDisk {
        content: Vec<u8>,
        room: usize,
    }

    impl AppendFile for SmallDisk {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let fits = bytes.len().min(self.room - self.content.len());
            self.content.extend_from_slice(&bytes[..fits]);
            if fits < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
        }

        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.content.truncate(usize::try_from(len).expect("small"));
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_does_not_fit_leaves_no_half_line() {
        let mut log = LineLog::new(SmallDisk { content: Vec::new(), room: 8 });
        log.append(b"one\n").expect("fits");
        let error = log.append(b"second\n").expect_err("full");
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert_eq!(log.file.content, b"one\n");
    }

    #[test]
    fn a_line_that_did_not_fit_comes_before_the_next_one_when_there_is_room_again() {
        let mut log = LineLog::new(SmallDisk { content: Vec::new(), room: 8 });
        log.append(b"one\n").expect("fits");
        log.append(b"second\n").expect_err("full");
        log.file.room = 100;
        log.append(b"third\n").expect("room again");
        assert_eq!(log.file.content, b"one\nsecond\nthird\n");
    }

    #[test]
    fn a_replacement_that_fails_leaves_the_old_file_and_no_scraps() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("run.json");
        replace(&path, |file| file.write_all(b"old")).expect("first");
        let full = |file: &mut BufWriter<File>| {
            file.write_all(b"half of the new one")?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let error = replace(&path, full).expect_err("full").to_string();
        assert!(error.contains("hint: make room"), "{error}");
        assert_eq!(fs::read(&path).expect("old"), b"old");
        assert_eq!(fs::read_dir(dir.path()).expect("list").count(), 1);
    }

    #[test]
    fn a_full_device_is_an_error_and_not_a_panic() {
        let Ok(full) = File::options().append(true).open("/dev/full") else { return };
        let mut log = LineLog::new(full);
        log.append(b"line\n").expect_err("full");
    }
}
