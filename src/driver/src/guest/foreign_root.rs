//! A directory that is the root of a guest of virtme-ng in place of the host's: what
//! it has to have, and what our binary brings along because it cannot count on it.
//!
//! Nothing is written to the directory. Symbolic links in it mean to the guest what they
//! mean to nobody here: they are followed with the directory as `/`.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::closure::{elf_closure, loader};
use super::programs::USUAL_PATH;
use super::tools::RUNNING_BINARY;
use super::virtme::{AGENT, GUEST_DIR};

/// What virtme-ng needs before its own tools are there: it puts a line of shell in
/// place of init (virtme/commands/run.py, 1.25 to 1.42).
const OF_ITS_INIT: [&str; 2] = ["mount", "mkdir"];

/// Where it mounts something.
const MOUNTED: [&str; 5] = ["dev", "proc", "run", "sys", "tmp"];

/// Links that a kernel follows on one path (`MAXSYMLINKS`, include/linux/namei.h).
const MAX_LINKS: u32 = 40;

/// Name of our loader beside our binary. Short, for it takes the place of
/// `/lib64/ld-linux-x86-64.so.2` in the binary.
const LOADER: &str = "ld.so";

/// Directory of our libraries beside it.
const LIBRARIES: &str = "lib";

/// Why a directory cannot be the root of a guest.
#[derive(Debug, thiserror::Error)]
pub enum RootError {
    /// Not there, or no directory.
    #[error("`{}` cannot be the root of a guest: {source}\nhint: `debootstrap --variant=minbase stable DIR` makes one", root.display())]
    Unusable {
        /// Which.
        root: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Something that virtme-ng needs is not in it.
    #[error("`{}` cannot be the root of a guest: it has no {what}\nhint: virtme-ng starts such a guest with the `sh`, `mount` and `mkdir` of its root", root.display())]
    Lacks {
        /// Which.
        root: PathBuf,
        /// What.
        what: String,
    },
    /// A program of a test.
    #[error("there is no program `{program}` in `{}`\nhint: with `root=` a test runs what it finds there", root.display())]
    NoProgram {
        /// As written.
        program: String,
        /// Where it was looked for.
        root: PathBuf,
    },
}

/// Whether a directory can be the root of a guest, as far as the host can see.
///
/// # Errors
///
/// The first thing that stands against it.
pub fn check(root: &Path) -> Result<(), RootError> {
    let unusable = |source| RootError::Unusable { root: root.to_owned(), source };
    // Reading it tells one that is no directory from one that is not there.
    fs::read_dir(root).map_err(unusable)?;
    let lacks = |what: String| RootError::Lacks { root: root.to_owned(), what };
    for directory in MOUNTED {
        if !is_directory(root, Path::new(directory)) {
            return Err(lacks(format!("directory `/{directory}`")));
        }
    }
    if !is_program(root, Path::new("bin/sh")) {
        return Err(lacks("`/bin/sh`".to_owned()));
    }
    for program in OF_ITS_INIT {
        if !find(root, program) {
            return Err(lacks(format!("program `{program}`")));
        }
    }
    Ok(())
}

/// Whether a test finds its program in it.
///
/// # Errors
///
/// [`RootError::NoProgram`] if not.
pub fn check_program(root: &Path, program: &Path) -> Result<(), RootError> {
    let found = match program.is_absolute() {
        true => is_program(root, program),
        false => find(root, &program.to_string_lossy()),
    };
    match found {
        true => Ok(()),
        false => Err(RootError::NoProgram { program: program.display().to_string(), root: root.to_owned() }),
    }
}

fn find(root: &Path, program: &str) -> bool {
    std::env::split_paths(USUAL_PATH).any(|dir| is_program(root, &dir.join(program)))
}

fn is_program(root: &Path, path: &Path) -> bool {
    resolve(root, path).is_some_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

fn is_directory(root: &Path, path: &Path) -> bool {
    resolve(root, path).is_some_and(|it| it.is_dir())
}

/// What a path of the guest leads to, as the guest would follow it (path_resolution(7)).
fn resolve(root: &Path, path: &Path) -> Option<fs::Metadata> {
    let parts = |path: &Path| -> Vec<OsString> {
        path.components().rev().map(|part| part.as_os_str().to_owned()).collect()
    };
    let (mut left, mut at, mut links) = (parts(path), PathBuf::new(), 0);
    while let Some(part) = left.pop() {
        match part.as_bytes() {
            b"/" => at = PathBuf::new(),
            b"." => {}
            // Above the root there is the root.
            b".." => drop(at.pop()),
            _ => {
                let next = at.join(&part);
                if fs::symlink_metadata(root.join(&next)).ok()?.is_symlink() {
                    links += 1;
                    if links > MAX_LINKS {
                        return None;
                    }
                    left.extend(parts(&fs::read_link(root.join(&next)).ok()?));
                } else {
                    at = next;
                }
            }
        }
    }
    fs::symlink_metadata(root.join(at)).ok()
}

/// Puts our binary with its own loader and libraries into a directory that the guest
/// sees as [`GUEST_DIR`]: the root may have another libc, an older one, or none. Gives
/// the variable that has to be set where it starts, as a shell takes it.
///
/// # Errors
///
/// Fails when a file cannot be read or written, and with a binary whose loader has
/// too short a name.
pub fn pack(share: &Path) -> io::Result<String> {
    let closure = elf_closure(Path::new(RUNNING_BINARY), Path::new(AGENT)).map_err(io::Error::other)?;
    let libraries = share.join(LIBRARIES);
    fs::create_dir_all(&libraries)?;
    let bytes = fs::read(RUNNING_BINARY)?;
    let loader = loader(&bytes).map_err(io::Error::other)?;
    for (guest, host) in &closure {
        let target = match guest.file_name() {
            _ if guest == Path::new(AGENT) => continue,
            _ if loader.as_ref().is_some_and(|loader| loader.path == *guest) => share.join(LOADER),
            Some(name) => libraries.join(name),
            None => continue,
        };
        fs::copy(host, &target)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    }
    let own = format!("{GUEST_DIR}/{LOADER}");
    let bytes = match loader {
        Some(loader) => loader.replaced(bytes, &own).map_err(io::Error::other)?,
        None => bytes,
    };
    let agent = share.join(AGENT);
    fs::write(&agent, bytes)?;
    fs::set_permissions(&agent, fs::Permissions::from_mode(0o755))?;
    Ok(format!("{}={GUEST_DIR}/{LIBRARIES}", kregress_guest::LIBRARY_PATH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(path: &Path) {
        fs::write(path, "").expect("a file");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("executable");
    }

    fn link(target: &str, at: &Path) {
        std::os::unix::fs::symlink(target, at).expect("a link");
    }

    /// A root of empty files, with a shell that is a link as Alpine has it.
    fn root() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for directory in ["bin", "dev", "proc", "run", "sys", "tmp", "usr/bin"] {
            fs::create_dir_all(root.path().join(directory)).expect("a directory");
        }
        for name in ["bin/busybox-of-the-guest", "bin/mount", "usr/bin/mkdir", "usr/bin/ls"] {
            program(&root.path().join(name));
        }
        link("/bin/busybox-of-the-guest", &root.path().join("bin/sh"));
        root
    }

    fn refused(root: &Path) -> String {
        check(root).expect_err("refused").to_string()
    }

    #[test]
    fn a_root_has_what_the_line_of_shell_needs_that_virtme_ng_begins_with() {
        let root = root();
        check(root.path()).expect("a root");
        fs::remove_dir(root.path().join("sys")).expect("removed");
        assert!(refused(root.path()).contains("it has no directory `/sys`"));
        fs::create_dir(root.path().join("sys")).expect("made");
        fs::remove_file(root.path().join("usr/bin/mkdir")).expect("removed");
        assert!(refused(root.path()).contains("it has no program `mkdir`"));
        fs::remove_file(root.path().join("bin/sh")).expect("removed");
        assert!(refused(root.path()).contains("it has no `/bin/sh`"));
    }

    #[test]
    fn what_is_no_directory_is_no_root() {
        let root = root();
        assert!(refused(&root.path().join("bin/mount")).contains("Not a directory"));
        assert!(refused(&root.path().join("none")).contains("No such file or directory"));
    }

    #[test]
    fn a_program_is_looked_for_in_the_root_and_nowhere_else() {
        let root = root();
        for program in ["ls", "/usr/bin/ls", "/bin/sh"] {
            check_program(root.path(), Path::new(program)).expect(program);
        }
        fs::write(root.path().join("usr/bin/text"), "").expect("a file");
        for program in ["cargo", "/usr/bin/env", "/proc/self/exe", "text", "/usr/bin"] {
            let error = check_program(root.path(), Path::new(program)).expect_err(program).to_string();
            assert!(error.starts_with(&format!("there is no program `{program}` in `")), "{error}");
        }
    }

    #[test]
    fn a_link_leads_where_the_guest_would_go() {
        let root = root();
        let at = |name: &str| root.path().join(name);
        link("/usr/bin", &at("programs"));
        link("../../../programs/ls", &at("usr/bin/list"));
        link("/usr/bin/env", &at("bin/env"));
        link("loop", &at("bin/loop"));
        for program in ["/programs/ls", "list", "/../programs/./list"] {
            assert!(check_program(root.path(), Path::new(program)).is_ok(), "{program}");
        }
        // The host has one, the guest none.
        assert!(Path::new("/usr/bin/env").exists());
        for program in ["/bin/env", "/bin/loop", "/programs/env"] {
            assert!(check_program(root.path(), Path::new(program)).is_err(), "{program}");
        }
    }

    #[test]
    fn our_binary_comes_with_its_loader_its_libraries_and_the_variable_that_names_them() {
        let share = tempfile::tempdir().expect("a directory");
        assert_eq!(pack(share.path()).expect("packed"), "LD_LIBRARY_PATH=/run/kregress/lib");
        let own = fs::read(share.path().join(AGENT)).expect("a binary");
        let loader = loader(&own).expect("an ELF file").expect("a dynamic program");
        assert_eq!(loader.path, Path::new("/run/kregress/ld.so"));
        for file in ["ld.so", "lib/libc.so.6", AGENT] {
            let metadata = fs::metadata(share.path().join(file)).expect(file);
            assert_eq!(metadata.permissions().mode() & 0o111, 0o111, "{file}");
        }
    }
}
