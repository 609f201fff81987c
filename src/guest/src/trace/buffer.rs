//! A trace instance of our own: its settings, and what it has recorded.
//!
//! Knows nothing of what the lines mean.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::PREFIX;

/// An instance; removed when dropped.
#[derive(Debug)]
pub(super) struct Buffer {
    directory: PathBuf,
    pipe: Option<File>,
    partial: Vec<u8>,
}

impl Buffer {
    /// Makes one that records nothing yet, with times of the monotonic clock and
    /// `size` KiB for each processor. `purpose` tells those of one process apart.
    ///
    /// # Errors
    ///
    /// Says what cannot be done.
    pub(super) fn create(root: &Path, purpose: &str, size: &str) -> Result<Self, String> {
        // Names of tasks are of no use to us, and recording them hooks the
        // scheduler: patching its code while it runs costs time, and QEMU's TCG
        // with several threads may run a breakpoint that was already patched
        // away (`int3` in `__schedule`). Instances copy the option when they are
        // made; a kernel without it has nothing to switch off.
        let _ = fs::write(root.join("options/record-cmd"), "0");
        let name = format!("{PREFIX}{}-{purpose}", std::process::id());
        let directory = root.join("instances").join(name);
        fs::create_dir(&directory)
            .map_err(|error| format!("cannot create {}: {error}", directory.display()))?;
        let buffer = Self { directory, pipe: None, partial: Vec::new() };
        buffer.set("trace_clock", "mono")?;
        buffer.set("buffer_size_kb", size)?;
        Ok(buffer)
    }

    /// Path of one of its files.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes to one of its files.
    ///
    /// # Errors
    ///
    /// Names the file and the value.
    pub(super) fn set(&self, file: &str, value: &str) -> Result<(), String> {
        let path = self.file(file);
        fs::write(&path, value)
            .map_err(|error| format!("cannot write `{value}` to {}: {error}", path.display()))
    }

    /// Begins to read. A tracer cannot be changed from here to [`Self::close`].
    ///
    /// # Errors
    ///
    /// Fails when the pipe cannot be opened.
    pub(super) fn open(&mut self) -> Result<(), String> {
        let path = self.file("trace_pipe");
        let flags = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or(0);
        let pipe = OpenOptions::new().read(true).custom_flags(flags).open(&path);
        self.pipe = Some(pipe.map_err(|error| format!("cannot open {}: {error}", path.display()))?);
        Ok(())
    }

    /// Ends reading.
    pub(super) fn close(&mut self) {
        self.pipe = None;
    }

    /// Whole lines that were recorded since the last call, without waiting.
    ///
    /// # Errors
    ///
    /// Fails when the pipe does.
    pub(super) fn lines(&mut self) -> io::Result<String> {
        let mut chunk = [0; 16_384];
        while let Some(pipe) = &mut self.pipe {
            match pipe.read(&mut chunk) {
                Ok(0) => break,
                Ok(count) => self.partial.extend(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(whole_lines(&mut self.partial))
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // One with an open file cannot be removed.
        self.close();
        // The session removes what is left.
        let _ = fs::remove_dir(&self.directory);
    }
}

/// Takes all up to the last end of a line.
fn whole_lines(bytes: &mut Vec<u8>) -> String {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let rest = bytes.split_off(end);
    String::from_utf8_lossy(&std::mem::replace(bytes, rest)).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_beginning_of_a_line_waits_for_its_end() {
        let mut bytes = b"one\ntwo\nthr".to_vec();
        assert_eq!(whole_lines(&mut bytes), "one\ntwo\n");
        assert_eq!(whole_lines(&mut bytes), "");
        bytes.extend(b"ee\n");
        assert_eq!(whole_lines(&mut bytes), "three\n");
        assert_eq!(bytes, b"");
    }

    proptest! {
        #[test]
        fn chunks_of_any_size_give_the_same_lines(text in "[a-c\n]{0,60}", size in 1_usize..20) {
            let (mut bytes, mut lines) = (Vec::new(), String::new());
            for chunk in text.as_bytes().chunks(size) {
                bytes.extend_from_slice(chunk);
                lines += &whole_lines(&mut bytes);
            }
            prop_assert_eq!(lines + std::str::from_utf8(&bytes).expect("text"), text);
            prop_assert!(!bytes.contains(&b'\n'));
        }
    }
}
