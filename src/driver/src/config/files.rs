//! Finding and reading the files of a project. All reading of `config` is here.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{ConfigError, Place, Problem};
use super::is_name;

/// Name of the project's file.
pub(super) const CONFIG: &str = "kregress.yaml";

/// A file of a directory, by its stem.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) stem: String,
    pub(super) path: PathBuf,
}

/// The project's file here or in a directory above.
///
/// # Errors
///
/// Fails on a `kregress.yml`, which someone wrote and would wonder about.
pub(super) fn search(cwd: &Path) -> Result<Option<PathBuf>, ConfigError> {
    for directory in cwd.ancestors() {
        let path = directory.join(CONFIG);
        if path.is_file() {
            return Ok(Some(path));
        }
        let misnamed = path.with_extension("yml");
        if misnamed.is_file() {
            return Err(ConfigError::Extension { path: misnamed });
        }
    }
    Ok(None)
}

/// Files of a directory that have this extension, in alphabetical order; none
/// if there is no such directory. Hidden files belong to editors.
///
/// # Errors
///
/// Fails when the directory cannot be read, on a stem that is no name, and on
/// `.yml` where `.yaml` is looked for.
pub(super) fn in_directory(
    directory: &Path,
    extension: &str,
    what: &'static str,
) -> Result<Vec<Found>, ConfigError> {
    let failed = |source| ConfigError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with('.') || !path.is_file() {
            continue;
        }
        match path.extension() {
            Some(found) if extension == "yaml" && found == "yml" => {
                return Err(ConfigError::Extension { path });
            }
            Some(found) if found == extension => {}
            _ => continue,
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if !is_name(&stem) {
            return Err(ConfigError::FileName { path, name: stem, what });
        }
        found.push(Found { stem, path });
    }
    found.sort_by(|a, b| a.stem.cmp(&b.stem));
    Ok(found)
}

/// Text of a file.
///
/// # Errors
///
/// Fails when it cannot be read or is no text.
pub(super) fn read(path: &Path, cwd: &Path) -> Result<String, ConfigError> {
    let bytes = fs::read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
        let last = valid.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let column = String::from_utf8_lossy(last).chars().count() + 1;
        ConfigError::content(Place { file: shown(path, cwd), line, column }, Problem::NotText)
    })
}

/// A path as the user would type it here.
pub(super) fn shown(path: &Path, cwd: &Path) -> String {
    path.strip_prefix(cwd).unwrap_or(path).display().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    #[test]
    fn the_config_file_is_found_in_a_parent() {
        let root = directory();
        let deep = root.path().join("a/b");
        fs::create_dir_all(&deep).expect("mkdir");
        fs::write(root.path().join(CONFIG), "").expect("write");
        assert_eq!(search(&deep).expect("search"), Some(root.path().join(CONFIG)));
        fs::write(deep.join(CONFIG), "").expect("write");
        assert_eq!(search(&deep).expect("search"), Some(deep.join(CONFIG)));
    }

    #[test]
    fn a_config_file_with_the_other_extension_is_not_passed_over() {
        let root = directory();
        fs::write(root.path().join("kregress.yml"), "").expect("write");
        let error = search(root.path()).expect_err("misnamed").to_string();
        assert!(error.ends_with("kregress.yaml`"), "{error}");
    }

    #[test]
    fn files_come_in_order_without_strangers() {
        let root = directory();
        for name in ["b.yaml", "a.yaml", ".#a.yaml", "README.md", "c.config", "none"] {
            fs::write(root.path().join(name), "").expect("write");
        }
        fs::create_dir(root.path().join("d.yaml")).expect("mkdir");
        let found = in_directory(root.path(), "yaml", "suite").expect("list");
        assert_eq!(found.iter().map(|file| file.stem.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert!(in_directory(&root.path().join("missing"), "yaml", "suite").expect("none").is_empty());
    }

    #[test]
    fn a_file_that_cannot_name_a_suite_is_refused() {
        let root = directory();
        fs::write(root.path().join("my suite.yaml"), "").expect("write");
        let error = in_directory(root.path(), "yaml", "suite").expect_err("bad name").to_string();
        assert!(error.contains("`my suite` cannot name a suite\nhint: "), "{error}");
    }

    #[test]
    fn a_file_that_is_no_text_names_the_byte() {
        let root = directory();
        let path = root.path().join(CONFIG);
        fs::write(&path, b"version: 1\nsummary: \xc3\xa4\xff\n").expect("write");
        let error = read(&path, root.path()).expect_err("no text").to_string();
        assert_eq!(error, "kregress.yaml:2:11: not UTF-8 text");
    }

    #[test]
    fn a_missing_file_says_what_happens_without_it() {
        let root = directory();
        let error = read(&root.path().join("x.yaml"), root.path()).expect_err("missing").to_string();
        assert!(error.contains("No such file") && error.contains("\nhint: without `--config`"), "{error}");
    }
}
