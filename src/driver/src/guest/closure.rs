//! Which files an ELF program needs to run: its interpreter and its shared
//! libraries, and theirs.
//!
//! Reads files, decides nothing else. Follows what the dynamic linker does
//! (ld.so(8)): `DT_RUNPATH` or `DT_RPATH`, then the directories of
//! `/etc/ld.so.conf`, then the default ones. `LD_LIBRARY_PATH` is left out: programs
//! of tests do not have it in the guest.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{Dyn as _, ElfFile64, FileHeader as _, ProgramHeader as _};
use object::{ReadCache, ReadRef};

/// Directories that the dynamic linker searches without being told.
const DEFAULT_DIRS: [&str; 6] =
    ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"];

/// Why a program cannot be packed.
#[derive(Debug, thiserror::Error)]
pub enum ClosureError {
    /// A file cannot be read.
    #[error("cannot read `{path}`: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file is no ELF program for x86-64.
    #[error("`{path}` is not an x86-64 ELF file: {reason}")]
    NotElf {
        /// The file.
        path: PathBuf,
        /// The parser's words.
        reason: String,
    },
    /// A library is nowhere to be found.
    #[error(
        "`{wanted_by}` needs `{library}`, which is in none of the linker's directories\nhint: `ldd {wanted_by}` shows where it comes from"
    )]
    MissingLibrary {
        /// `DT_NEEDED` entry.
        library: String,
        /// File that has it.
        wanted_by: PathBuf,
    },
}

/// What one ELF file asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Needs {
    interpreter: Option<PathBuf>,
    libraries: Vec<String>,
    search: Vec<PathBuf>,
}

/// Parses an ELF image; `origin` is its directory, for `$ORIGIN`.
fn needs<'data>(data: impl ReadRef<'data>, origin: &Path) -> Result<Needs, Box<dyn Error>> {
    let file = ElfFile64::<object::Endianness, _>::parse(data)?;
    let endian = file.endian();
    let header = file.elf_header();
    let interpreter = loader_of(&file, data)?.map(|loader| loader.path);
    let mut found = Needs { interpreter, ..Needs::default() };
    let sections = header.sections(endian, data)?;
    let Some((dynamic, strings_index)) = sections.dynamic(endian, data)? else { return Ok(found) };
    let strings = sections.strings(endian, data, strings_index)?;
    for entry in dynamic {
        let tag = entry.tag32(endian);
        let text = || {
            let text = entry.val32(endian).and_then(|offset| strings.get(offset).ok());
            text.map(|text| String::from_utf8_lossy(text).into_owned())
                .ok_or("a name lies outside of its table")
        };
        match tag {
            Some(elf::DT_NEEDED) => found.libraries.push(text()?),
            Some(elf::DT_RUNPATH | elf::DT_RPATH) => {
                let origin = origin.to_string_lossy();
                found.search.extend(
                    text()?.split(':').filter(|dir| !dir.is_empty()).map(|dir| {
                        PathBuf::from(dir.replace("$ORIGIN", &origin).replace("${ORIGIN}", &origin))
                    }),
                );
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The loader that a program names, and where in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loader {
    /// Its path.
    pub path: PathBuf,
    /// Where that is written, with the zeros behind it.
    place: Range<usize>,
}

/// A loader's path that does not fit into a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the loader `{new}` has too long a path to stand in place of `{}`", old.display())]
pub struct TooLong {
    old: PathBuf,
    new: String,
}

impl Loader {
    /// The same file with another loader, as `patchelf --set-interpreter` would have it
    /// for a path that is no longer.
    ///
    /// # Errors
    ///
    /// Fails for one that is.
    pub fn replaced(self, mut file: Vec<u8>, new: &str) -> Result<Vec<u8>, TooLong> {
        let (length, bytes) = (self.place.len(), new.as_bytes());
        match file.get_mut(self.place) {
            // A zero has to end it.
            Some(place) if bytes.len() < length => {
                place.fill(0);
                place[..bytes.len()].copy_from_slice(bytes);
                Ok(file)
            }
            _ => Err(TooLong { old: self.path, new: new.to_owned() }),
        }
    }
}

/// The loader of a program; none of one that is static.
///
/// # Errors
///
/// Fails when it is no ELF program for x86-64, in the parser's words.
pub fn loader(file: &[u8]) -> Result<Option<Loader>, object::Error> {
    loader_of(&ElfFile64::parse(file)?, file)
}

fn loader_of<'data, R: ReadRef<'data>>(
    file: &ElfFile64<'data, object::Endianness, R>,
    data: R,
) -> Result<Option<Loader>, object::Error> {
    let endian = file.endian();
    for segment in file.elf_header().program_headers(endian, data)? {
        if let Some(path) = segment.interpreter(endian, data)? {
            let path = path.strip_suffix(b"\0").unwrap_or(path);
            let path = PathBuf::from(String::from_utf8_lossy(path).into_owned());
            // A file that is in memory has no places beyond it.
            let at = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
            let (start, length) = (at(segment.p_offset(endian)), at(segment.p_filesz(endian)));
            return Ok(Some(Loader { path, place: start..start.saturating_add(length) }));
        }
    }
    Ok(None)
}

/// Directories named by `/etc/ld.so.conf` and the files that it includes. A
/// file that includes itself is read once.
fn configured_dirs(conf: &Path) -> Vec<PathBuf> {
    let (mut dirs, mut seen) = (Vec::new(), BTreeSet::new());
    read_configured_dirs(conf, &mut seen, &mut dirs);
    dirs
}

fn read_configured_dirs(conf: &Path, seen: &mut BTreeSet<PathBuf>, dirs: &mut Vec<PathBuf>) {
    if !seen.insert(conf.to_owned()) {
        return;
    }
    let Ok(text) = std::fs::read_to_string(conf) else { return };
    for line in text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()) {
        if let Some(pattern) = line.strip_prefix("include").map(str::trim) {
            for path in glob::glob(pattern).into_iter().flatten().flatten() {
                read_configured_dirs(&path, seen, dirs);
            }
        } else if line.starts_with('/') {
            dirs.push(PathBuf::from(line));
        }
    }
}

/// Where a library goes in the guest, which has neither `ld.so.conf` nor
/// `ld.so.cache`: where it is, if its linker looks there unasked, else beside
/// libc, where it certainly does.
fn guest_place(found: &Path, library: &str) -> PathBuf {
    let defaults = DEFAULT_DIRS.map(Path::new);
    if found.parent().is_some_and(|dir| defaults.contains(&dir)) {
        return found.to_owned();
    }
    let libc = defaults.into_iter().find(|dir| dir.join("libc.so.6").is_file());
    libc.unwrap_or(Path::new("/lib64")).join(library)
}

/// Every file that `program` needs at run time, itself included: the path in
/// the guest, and the path here whose content belongs there.
///
/// # Errors
///
/// Fails when a file cannot be read or a library cannot be found.
pub fn elf_closure(program: &Path, guest_path: &Path) -> Result<BTreeMap<PathBuf, PathBuf>, ClosureError> {
    let system = configured_dirs(Path::new("/etc/ld.so.conf"));
    let mut files = BTreeMap::from([(guest_path.to_owned(), program.to_owned())]);
    let mut queue = VecDeque::from([program.to_owned()]);
    while let Some(path) = queue.pop_front() {
        let read_error = |source| ClosureError::Read { path: path.clone(), source };
        // Of a large program only a few pages are looked at, and several boots may
        // be prepared at once.
        let data = ReadCache::new(File::open(&path).map_err(read_error)?);
        // A running binary whose file is gone has no directory any more.
        let real = std::fs::canonicalize(&path).unwrap_or(path.clone());
        let origin = real.parent().unwrap_or(Path::new("/"));
        let wanted = needs(&data, origin)
            .map_err(|error| ClosureError::NotElf { path: path.clone(), reason: error.to_string() })?;
        if let Some(interpreter) = wanted.interpreter
            && !files.contains_key(&interpreter)
        {
            files.insert(interpreter.clone(), interpreter.clone());
            queue.push_back(interpreter);
        }
        for library in wanted.libraries {
            let dirs = wanted.search.iter().chain(&system).cloned().chain(DEFAULT_DIRS.map(PathBuf::from));
            let found = dirs.map(|dir| dir.join(&library)).find(|candidate| candidate.is_file());
            let found = found.ok_or_else(|| ClosureError::MissingLibrary {
                library: library.clone(),
                wanted_by: path.clone(),
            })?;
            let target = guest_place(&found, &library);
            if let Entry::Vacant(place) = files.entry(target) {
                place.insert(found.clone());
                queue.push_back(found);
            }
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closure_of_a_dynamic_program_has_its_interpreter_and_libc() {
        let own = std::env::current_exe().expect("own path");
        let files = elf_closure(&own, Path::new("/init")).expect("closure");
        assert_eq!(files.get(Path::new("/init")), Some(&own));
        let names: Vec<_> = files.keys().filter_map(|path| path.file_name()?.to_str()).collect();
        assert!(names.iter().any(|name| name.starts_with("ld-linux")), "{names:?}");
        assert!(names.contains(&"libc.so.6"), "{names:?}");
    }

    #[test]
    fn a_text_file_is_not_a_program() {
        let file = tempfile::NamedTempFile::new().expect("file");
        std::fs::write(file.path(), "#!/bin/sh\n").expect("write");
        let error = elf_closure(file.path(), Path::new("/init")).expect_err("text");
        assert!(error.to_string().contains("is not an x86-64 ELF file"), "{error}");
    }

    #[test]
    fn included_files_of_the_linker_configuration_are_followed() {
        let dir = tempfile::tempdir().expect("dir");
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("a.conf"), "/opt/a\n# /opt/comment\n").expect("write");
        std::fs::write(
            path("ld.so.conf"),
            format!("include {}/*.conf\n/opt/b # why\n", dir.path().display()),
        )
        .expect("write");
        assert_eq!(configured_dirs(&path("ld.so.conf")), [PathBuf::from("/opt/a"), PathBuf::from("/opt/b")]);
    }

    #[test]
    fn a_program_gets_another_loader_whose_path_is_no_longer() {
        let own = std::fs::read("/proc/self/exe").expect("own program");
        let before = loader(&own).expect("an ELF file").expect("a dynamic program");
        assert!(before.path.starts_with("/lib64"), "{before:?}");
        let changed = before.clone().replaced(own.clone(), "/run/x/ld.so").expect("it fits");
        assert_eq!(
            loader(&changed).expect("still an ELF file").expect("a loader").path,
            Path::new("/run/x/ld.so")
        );
        let differing = own.iter().zip(&changed).filter(|(old, new)| old != new).count();
        assert!(changed.len() == own.len() && differing <= before.place.len(), "{differing}");
        let long = "/".repeat(before.place.len());
        let error = before.replaced(own, &long).expect_err("too long").to_string();
        assert!(error.contains("too long a path"), "{error}");
        assert!(loader(b"no program").is_err());
    }
}
