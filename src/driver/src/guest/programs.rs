//! The programs of suites: where they are on the host, and what has to come along
//! into a guest that does not see the host's files.
//!
//! A file is at the same path on both sides. A program brings its ELF closure, a
//! script its interpreter; whatever else it starts has to be listed in the suite.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use kregress_wire::{Exec as Planned, Instead};

use super::closure::{ClosureError, elf_closure};
use super::foreign_root::{self, RootError};
use super::selftests;
use crate::kernel::Kernel;
use crate::model::{Backend, Exec, Machine, Program, Selftest, Test};

/// Files that one guest image may carry for programs, and their bytes. From
/// experience: the guest keeps two copies of the image in memory for a moment.
const MAX_FILES: usize = 10_000;
const MAX_BYTES: u64 = 256 << 20;

/// Where programs are looked for in a guest (`guest/src/child.rs`), and here behind `PATH`.
pub const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Why a program cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A name that is nowhere.
    #[error(
        "cannot find the program `{name}` in `PATH`\nhint: write its path, `./{name}` for one beside kregress.yaml"
    )]
    NotFound {
        /// As written.
        name: String,
    },
    /// A file or directory that cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file that nobody may execute.
    #[error("`{}` is not executable\nhint: chmod +x, or name its interpreter: `[sh, ...]`", path.display())]
    NotExecutable {
        /// Which.
        path: PathBuf,
    },
    /// A selftest where the guest has no userland.
    #[error(
        "the kernel's selftests need a shell, iproute2 and other programs, which this guest does not have\n\
         hint: use `--machine backend=virtme-ng` with a kernel for it, such as `--kernel distro-vng`"
    )]
    HostUserland,
    /// A selftest where the guest has another userland than the host, for which it was built.
    #[error(
        "the kernel's selftests are built on this host and for it\n\
         hint: leave out `root=`, and the guest has the root of this host"
    )]
    ForeignRoot,
    /// A program that another root does not have.
    #[error(transparent)]
    Root(#[from] RootError),
    /// KUnit where no modules travel with the guest.
    #[error(
        "KUnit tests are modules of the kernel, which travel with the guest image only\n\
         hint: use `--machine backend=qemu`"
    )]
    Modules,
    /// What it links to cannot be found.
    #[error(transparent)]
    Closure(#[from] ClosureError),
    /// More than a guest can hold.
    #[error(
        "`{}` makes {what} for the guest image, the limit is {limit}\n\
         hint: list what the test needs, or use `--machine backend=virtme-ng`, which needs no image",
        path.display()
    )]
    TooMuch {
        /// The file that was one too many.
        path: PathBuf,
        /// How much.
        what: String,
        /// At most.
        limit: String,
    },
}

/// A test whose program cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("test `{test}`: {source}")]
pub struct TestProgramError {
    test: String,
    source: ProgramError,
}

/// What an interactive guest has of the host's programs, where the host has them.
const TOOLS: [&str; 51] = [
    "sh", "bash", "busybox", "ls", "cat", "cp", "mv", "rm", "mkdir", "ln", "echo", "env", "id", "stty",
    "sleep", "head", "tail", "grep", "sed", "awk", "cut", "seq", "tee", "date", "find", "touch", "tty", "vi",
    "timeout", "wc", "sort", "less", "ps", "kill", "top", "free", "dmesg", "mount", "umount", "uname",
    "sysctl", "ip", "ss", "tc", "ping", "ethtool", "tcpdump", "unshare", "nsenter", "lsns", "strace",
];

/// What programs need in a guest image.
#[derive(Debug, Default)]
pub struct Programs {
    /// Path in the guest, and the file here whose content belongs there.
    pub files: BTreeMap<PathBuf, PathBuf>,
    /// Directories that have to be there, with or without files.
    pub directories: BTreeSet<PathBuf>,
    bytes: u64,
}

/// Looks whether the programs of tests are there, before anything is booted. A test
/// that needs another guest than this is skipped there, for who asks for every test
/// asks for it too; one that is asked for alone is refused.
///
/// # Errors
///
/// The first one that is not, or that cannot be packed where that is needed, and the
/// first one that needs another guest where all of them do.
pub fn check(tests: &[Test], machine: &Machine) -> Result<(), TestProgramError> {
    let of = |test: &Test| {
        let test = test.id.to_string();
        move |source| TestProgramError { test, source }
    };
    for test in tests {
        let Some(Exec::Program(program)) = &test.exec else { continue };
        let checked = match (machine.backend, &machine.root) {
            (Backend::Qemu, _) => Programs::default().add(program),
            (Backend::VirtmeNg, Some(root)) => {
                foreign_root::check_program(root.path(), &program.program).map_err(Into::into)
            }
            (Backend::VirtmeNg, None) => locate(&program.program).and_then(|path| executable(&path)),
            // It is refused there whatever it is.
            (Backend::Local, _) => Ok(()),
        };
        checked.map_err(of(test))?;
    }
    check_places(tests, machine)
}

/// Looks whether any of these tests finds something to run in the guests of this machine.
///
/// # Errors
///
/// The first one, where all of them need other guests.
pub fn check_places(tests: &[Test], machine: &Machine) -> Result<(), TestProgramError> {
    let misplaced = |test: &Test| {
        let source = test.exec.as_ref().and_then(|exec| misplaced(exec, machine))?;
        Some(TestProgramError { test: test.id.to_string(), source })
    };
    let mut misplaced = tests.iter().map(misplaced);
    match misplaced.next() {
        Some(Some(first)) if misplaced.all(|it| it.is_some()) => Err(first),
        _ => Ok(()),
    }
}

/// Why a test finds nothing to run in the guests of this machine.
fn misplaced(exec: &Exec, machine: &Machine) -> Option<ProgramError> {
    match (exec, machine.backend) {
        (Exec::Program(_), _) | (Exec::Kunit, Backend::Qemu) => None,
        (Exec::Selftest(_), Backend::VirtmeNg) => machine.root.is_some().then_some(ProgramError::ForeignRoot),
        (Exec::Selftest(_), Backend::Qemu | Backend::Local) => Some(ProgramError::HostUserland),
        (Exec::Kunit, Backend::VirtmeNg | Backend::Local) => Some(ProgramError::Modules),
    }
}

/// Selftests of these tests that the guests of this machine can run.
pub fn selftests<'a>(tests: &'a [Test], machine: &Machine) -> impl Iterator<Item = &'a Selftest> {
    let of = |test: &'a Test| match test.exec.as_ref()? {
        exec @ Exec::Selftest(selftest) => Some((exec, selftest)),
        Exec::Program(_) | Exec::Kunit => None,
    };
    tests.iter().filter_map(of).filter(|(exec, _)| misplaced(exec, machine).is_none()).map(|(_, it)| it)
}

/// What a guest runs, as it is told of it; none where it runs no program.
#[must_use]
pub fn planned(exec: &Exec, kernel: &Kernel, machine: &Machine) -> Option<Planned> {
    if let Some(reason) = misplaced(exec, machine) {
        return Some(Planned {
            command: Vec::new(),
            directory: "/".to_owned(),
            result: exec.result(),
            instead: Some(Instead::Skip(reason.to_string())),
            notes: BTreeMap::new(),
        });
    }
    match exec {
        Exec::Program(program) => Some(match machine.root {
            Some(_) => told(program, &program.program),
            // One that is not there is told as written: the guest then says so.
            None => told(program, &locate(&program.program).unwrap_or_else(|_| program.program.clone())),
        }),
        Exec::Selftest(selftest) => {
            let built = kernel.selftests.as_ref();
            Some(selftests::planned(selftest, built, kernel.config.as_deref()))
        }
        Exec::Kunit => None,
    }
}

fn told(exec: &Program, program: &Path) -> Planned {
    let program = [program.to_string_lossy().into_owned()];
    Planned {
        command: program.into_iter().chain(exec.args.iter().cloned()).collect(),
        directory: exec.directory.to_string_lossy().into_owned(),
        result: exec.result,
        instead: None,
        notes: BTreeMap::new(),
    }
}

impl Programs {
    /// Adds a program with everything that it needs.
    ///
    /// # Errors
    ///
    /// Fails when a part of it is not there.
    pub fn add(&mut self, exec: &Program) -> Result<(), ProgramError> {
        let program = locate(&exec.program)?;
        executable(&program)?;
        self.directories.insert(exec.directory.clone());
        self.pack(&program)?;
        for file in &exec.files {
            self.pack(&locate(file)?)?;
        }
        Ok(())
    }

    /// Adds a command that is typed, and what else one would want to type.
    ///
    /// # Errors
    ///
    /// Fails when the command is not there; the others come where this host has them.
    pub fn add_shell(&mut self, command: &[String]) -> Result<(), ProgramError> {
        if let Some(program) = command.first() {
            self.pack(&locate(Path::new(program))?)?;
        }
        let found: Vec<PathBuf> = TOOLS.iter().filter_map(|name| locate(Path::new(name)).ok()).collect();
        found.iter().try_for_each(|path| self.pack(path))
    }

    fn pack(&mut self, path: &Path) -> Result<(), ProgramError> {
        let read_error = |source| ProgramError::Read { path: path.to_owned(), source };
        let metadata = fs::metadata(path).map_err(read_error)?;
        if metadata.is_dir() {
            if !self.directories.insert(path.to_owned()) {
                return Ok(());
            }
            let mut entries = Vec::new();
            for entry in fs::read_dir(path).map_err(read_error)? {
                entries.push(entry.map_err(read_error)?.path());
            }
            entries.sort();
            // A link that leads nowhere, or a socket, is nobody's file.
            let is_there = |path: &&PathBuf| path.is_file() || path.is_dir() && !path.is_symlink();
            return entries.iter().filter(is_there).try_for_each(|path| self.pack(path));
        }
        if self.files.contains_key(path) {
            return Ok(());
        }
        self.keep(path.to_owned(), path.to_owned())?;
        let mut head = [0; 256];
        let count = File::open(path).and_then(|mut file| file.read(&mut head)).map_err(read_error)?;
        let head = head.get(..count).unwrap_or_default();
        if head.starts_with(b"\x7fELF") {
            match elf_closure(path, path) {
                Ok(files) => files.into_iter().try_for_each(|(guest, host)| self.keep(guest, host))?,
                // For another machine, such as BPF: the test knows what to do with it.
                Err(ClosureError::NotElf { path: other, .. }) if other == path => {}
                Err(error) => return Err(error.into()),
            }
        }
        interpreters(head).iter().try_for_each(|name| self.pack(&locate(Path::new(name))?))
    }

    fn keep(&mut self, guest: PathBuf, host: PathBuf) -> Result<(), ProgramError> {
        let length = fs::metadata(&host).map(|metadata| metadata.len()).unwrap_or(0);
        if self.files.insert(guest, host.clone()).is_none() {
            self.bytes += length;
        }
        let too_much =
            |what: String, limit: String| Err(ProgramError::TooMuch { path: host.clone(), what, limit });
        if self.files.len() > MAX_FILES {
            return too_much(format!("{} files", self.files.len()), MAX_FILES.to_string());
        }
        if self.bytes > MAX_BYTES {
            return too_much(format!("{} MiB", self.bytes >> 20), format!("{} MiB", MAX_BYTES >> 20));
        }
        Ok(())
    }
}

/// Where a program is: a path as it is, a name by `PATH`.
fn locate(path: &Path) -> Result<PathBuf, ProgramError> {
    if path.components().any(|part| part == Component::ParentDir) {
        // The guest has no directories to go back from.
        return fs::canonicalize(path).map_err(|source| ProgramError::Read { path: path.to_owned(), source });
    }
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let directories = std::env::split_paths(&own).chain(std::env::split_paths(OsStr::new(USUAL_PATH)));
    let found = directories.filter(|dir| dir.is_absolute()).map(|dir| dir.join(path));
    let mut found = found.filter(|file| file.is_file() && executable(file).is_ok());
    found.next().ok_or_else(|| ProgramError::NotFound { name: path.to_string_lossy().into_owned() })
}

fn executable(path: &Path) -> Result<(), ProgramError> {
    let metadata =
        fs::metadata(path).map_err(|source| ProgramError::Read { path: path.to_owned(), source })?;
    match metadata.is_file() && metadata.permissions().mode() & 0o111 != 0 {
        true => Ok(()),
        false => Err(ProgramError::NotExecutable { path: path.to_owned() }),
    }
}

/// The program behind `#!`, and the one that `env` looks for.
fn interpreters(head: &[u8]) -> Vec<String> {
    let Some(line) = head.strip_prefix(b"#!") else { return Vec::new() };
    let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let mut words = line.split_whitespace();
    let Some(program) = words.next().filter(|program| program.starts_with('/')) else { return Vec::new() };
    let mut found = vec![program.to_owned()];
    if program.ends_with("/env") {
        found.extend(words.find(|word| !word.starts_with('-') && !word.contains('=')).map(str::to_owned));
    }
    found
}

#[cfg(test)]
mod tests {
    use kregress_wire::ExecResult;

    use super::*;

    fn exec(program: &Path, files: &[&Path]) -> Program {
        Program {
            program: program.to_owned(),
            args: vec!["-v".into()],
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            directory: "/project".into(),
            result: ExecResult::Ktap,
        }
    }

    fn script(dir: &Path, name: &str, text: &str) -> PathBuf {
        let path = dir.join(name);
        fs::write(&path, text).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
        path
    }

    #[test]
    fn a_script_brings_its_interpreter_with_what_that_links_to() {
        let dir = tempfile::tempdir().expect("directory");
        let path = script(dir.path(), "t.sh", "#!/bin/sh -e\necho hello\n");
        let mut programs = Programs::default();
        programs.add(&exec(&path, &[])).expect("packed");
        assert_eq!(programs.files.get(&path), Some(&path));
        assert!(programs.files.contains_key(Path::new("/bin/sh")), "{programs:?}");
        let libc = |path: &PathBuf| path.ends_with("libc.so.6");
        assert!(programs.files.keys().any(libc), "{programs:?}");
        assert!(programs.directories.contains(Path::new("/project")));
    }

    #[test]
    fn files_and_directories_come_along_at_their_places() {
        let dir = tempfile::tempdir().expect("directory");
        let data = dir.path().join("data");
        fs::create_dir_all(data.join("empty")).expect("directories");
        fs::write(data.join("a.txt"), "a").expect("write");
        std::os::unix::fs::symlink("/no/such/file", data.join("dangling")).expect("link");
        let mut programs = Programs::default();
        programs.add(&exec(Path::new("sh"), &[&data, Path::new("cat")])).expect("packed");
        assert!(programs.files.contains_key(&data.join("a.txt")));
        assert!(!programs.files.contains_key(&data.join("dangling")));
        assert!(programs.directories.contains(&data.join("empty")));
        assert!(programs.files.keys().any(|path| path.ends_with("cat")));
    }

    #[test]
    fn interpreters_are_read_from_the_first_line() {
        assert_eq!(interpreters(b"#! /bin/sh -e\n"), ["/bin/sh"]);
        assert_eq!(interpreters(b"#!/usr/bin/env -S A=1 python3 -u\nx"), ["/usr/bin/env", "python3"]);
        assert_eq!(interpreters(b"# comment"), [""; 0]);
        assert_eq!(interpreters(b"#!relative\n"), [""; 0]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let text = |path: &str| {
            Programs::default().add(&exec(Path::new(path), &[])).expect_err("not there").to_string()
        };
        insta::assert_snapshot!(text("no-such-program"), @"
        cannot find the program `no-such-program` in `PATH`
        hint: write its path, `./no-such-program` for one beside kregress.yaml
        ");
        insta::assert_snapshot!(text("/no/such"), @"cannot read `/no/such`: No such file or directory (os error 2)");
        insta::assert_snapshot!(text("/etc/passwd"), @"
        `/etc/passwd` is not executable
        hint: chmod +x, or name its interpreter: `[sh, ...]`
        ");
    }

    #[test]
    fn a_program_by_name_is_told_to_the_guest_by_its_path() {
        let exec = exec(Path::new("sh"), &[]);
        let planned = told(&exec, &locate(&exec.program).expect("a shell"));
        assert!(planned.command[0].starts_with('/') && planned.command[0].ends_with("/sh"), "{planned:?}");
        assert_eq!(planned.command[1], "-v");
    }
}
