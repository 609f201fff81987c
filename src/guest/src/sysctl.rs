//! Changes a kernel setting for as long as a value lives.

use std::fs;
use std::io;

/// A setting that goes back to what it was. If the process dies before that,
/// the session puts it back (`tidy`).
#[derive(Debug)]
pub(crate) struct Sysctl {
    path: &'static str,
    original: String,
    current: String,
}

impl Sysctl {
    /// Takes charge of a setting without changing it.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be read.
    pub(crate) fn open(path: &'static str) -> io::Result<Self> {
        let original = fs::read_to_string(path)?.trim_end().to_owned();
        Ok(Self { path, current: original.clone(), original })
    }

    /// Changes it.
    ///
    /// # Errors
    ///
    /// Fails when the kernel refuses, with the setting's name.
    pub(crate) fn set(&mut self, value: &str) -> io::Result<()> {
        if self.current != value {
            let explain = |error: io::Error| {
                io::Error::new(error.kind(), format!("cannot write `{value}` to {}: {error}", self.path))
            };
            fs::write(self.path, value).map_err(explain)?;
            value.clone_into(&mut self.current);
        }
        Ok(())
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        // The session looks after it and can say so where we cannot.
        let original = std::mem::take(&mut self.original);
        let _ = self.set(&original);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn setting(value: &str) -> (tempfile::NamedTempFile, &'static str) {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        file.write_all(value.as_bytes()).expect("write");
        let path = file.path().to_str().expect("path").to_owned();
        (file, Box::leak(path.into_boxed_str()))
    }

    #[test]
    fn a_setting_goes_back_to_what_it_was() {
        let (_file, path) = setting("63432\n");
        let mut sysctl = Sysctl::open(path).expect("open");
        sysctl.set("1").expect("set");
        assert_eq!(fs::read_to_string(path).expect("read"), "1");
        drop(sysctl);
        assert_eq!(fs::read_to_string(path).expect("read"), "63432");
    }

    #[test]
    fn a_setting_that_was_not_changed_is_not_written() {
        let (_file, path) = setting("7\n");
        drop(Sysctl::open(path).expect("open"));
        assert_eq!(fs::read_to_string(path).expect("read"), "7\n");
    }

    #[test]
    fn a_refused_change_names_setting_and_value() {
        let (file, path) = setting("7\n");
        let mut sysctl = Sysctl::open(path).expect("open");
        drop(file);
        fs::create_dir(path).expect("directory in its place");
        let error = sysctl.set("8").expect_err("not writable").to_string();
        assert!(error.starts_with(&format!("cannot write `8` to {path}: ")), "{error}");
        drop(sysctl);
        fs::remove_dir(path).expect("clean up");
    }
}
