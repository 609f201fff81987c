//! The compiler of the host and everything else that a kernel build needs:
//! what identifies it, and what is missing, said before make starts.

use std::path::{Path, PathBuf};

use super::env::Tools;
use super::error::{At as _, FileError};
use super::hash::{Digest, FileHasher};
use crate::exec::ExecError;

/// Programs that every x86 kernel build runs, with their Debian packages.
const PROGRAMS: [(&str, &str); 10] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("as", "binutils"),
    ("objcopy", "binutils"),
    ("strip", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("awk", "mawk"),
];

/// Programs that only some builds run, for hints.
const MORE_PROGRAMS: [(&str, &str); 12] = [
    ("pahole", "pahole"),
    ("python3", "python3"),
    ("perl", "perl"),
    ("rsync", "rsync"),
    ("tar", "tar"),
    ("cpio", "cpio"),
    ("xz", "xz-utils"),
    ("zstd", "zstd"),
    ("lz4", "lz4"),
    ("bzip2", "bzip2"),
    ("depmod", "kmod"),
    ("openssl", "openssl"),
];

/// objtool, which every x86-64 build runs, is linked with libelf.
const HEADER: (&str, &str) = ("gelf.h", "libelf-dev");

/// Debian's package of a program; the program's own name if we know none.
pub(super) fn package_of(program: &str) -> &str {
    PROGRAMS
        .iter()
        .chain(&MORE_PROGRAMS)
        .find(|(known, _)| *known == program)
        .map_or(program, |(_, package)| package)
}

/// Why this host cannot build kernels.
#[derive(Debug, thiserror::Error)]
pub enum ToolsError {
    /// Programs or headers are not installed.
    #[error(
        "this host cannot build kernels: {} missing\nhint: apt-get install {}",
        listed(missing),
        packages(missing)
    )]
    Missing {
        /// Name of a program or header, and its Debian package.
        missing: Vec<(&'static str, &'static str)>,
    },
    /// A program that is there does not work.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A program that is there cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
}

fn listed(missing: &[(&str, &str)]) -> String {
    let names: Vec<_> = missing.iter().map(|(name, _)| format!("`{name}`")).collect();
    format!("{} {}", names.join(", "), if missing.len() == 1 { "is" } else { "are" })
}

fn packages(missing: &[(&str, &str)]) -> String {
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages.join(" ")
}

/// Checks that everything is installed that a build needs.
///
/// # Errors
///
/// Names all that is missing, and how to install it.
pub fn check_tools(tools: &Tools) -> Result<(), ToolsError> {
    let mut missing: Vec<_> =
        PROGRAMS.into_iter().filter(|(program, _)| tools.find(program).is_none()).collect();
    let has_compiler = tools.find("gcc").is_some();
    if has_compiler && !has_header(tools, HEADER.0)? {
        missing.push(HEADER);
    }
    if missing.is_empty() { Ok(()) } else { Err(ToolsError::Missing { missing }) }
}

fn has_header(tools: &Tools, header: &str) -> Result<bool, ExecError> {
    let preprocess = tools.cmd("gcc").args(["-E", "-include", header, "-x", "c", "/dev/null"]);
    Ok(preprocess.run()?.status.success())
}

/// The compiler and linker of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Compiler {
    /// First line of `gcc --version`.
    pub(super) version: String,
    /// First line of `ld --version`.
    linker: String,
    /// Of the program that compiles, not of the driver `gcc`, which may be ccache.
    digest: Digest,
    /// Makes a second compilation of the same thing cheap.
    ccache: Option<PathBuf>,
}

impl Compiler {
    /// Asks the host's gcc and ld who they are.
    pub(super) fn probe(tools: &Tools, hasher: &FileHasher) -> Result<Self, ToolsError> {
        let needed = |program: &str| tools.find(program).is_none();
        let missing: Vec<_> = PROGRAMS
            .into_iter()
            .filter(|(program, _)| ["gcc", "ld"].contains(program) && needed(program))
            .collect();
        if !missing.is_empty() {
            // Whoever lacks a compiler lacks more: say all of it at once.
            check_tools(tools)?;
            return Err(ToolsError::Missing { missing });
        }
        let first_line = |program: &str| -> Result<String, ExecError> {
            let said = tools.cmd(program).arg("--version").read()?;
            Ok(said.lines().next().unwrap_or_default().trim().to_owned())
        };
        let version = first_line("gcc")?;
        let cc1 = tools.cmd("gcc").arg("-print-prog-name=cc1").read()?;
        let cc1 = Path::new(cc1.trim());
        let gcc = tools.find("gcc").unwrap_or_default();
        let program = if cc1.is_absolute() && cc1.is_file() { cc1 } else { &gcc };
        let digest = hasher.hash(program).at("read", program)?;
        Ok(Self { version, linker: first_line("ld")?, digest, ccache: tools.find("ccache") })
    }

    /// What decides the code that it makes.
    pub(super) fn identity(&self) -> String {
        format!("{}; {}; {}", self.version, self.linker, self.digest)
    }

    /// Name for the build directory of this compiler.
    pub(super) fn directory(&self) -> String {
        format!("build-{}", Digest::of(self.identity()).short())
    }

    /// Value of make's `CC` and `HOSTCC`.
    pub(super) fn command(&self) -> &'static str {
        if self.ccache.is_some() { "ccache gcc" } else { "gcc" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::Fixture;

    #[test]
    fn everything_that_is_missing_is_named_at_once() {
        let fixture = Fixture::new();
        for program in ["flex", "bc", "ld"] {
            fixture.remove_tool(program);
        }
        let tools = fixture.only_own_tools();
        insta::assert_snapshot!(check_tools(&tools).expect_err("missing"), @"
        this host cannot build kernels: `ld`, `flex`, `bc` are missing
        hint: apt-get install bc binutils flex
        ");
    }

    #[test]
    fn missing_headers_of_libelf_are_named_with_their_package() {
        let fixture = Fixture::new();
        fixture.tool("gcc", "case \"$*\" in *gelf.h*) exit 1;; esac");
        insta::assert_snapshot!(check_tools(&fixture.only_own_tools()).expect_err("missing"), @"
        this host cannot build kernels: `gelf.h` is missing
        hint: apt-get install libelf-dev
        ");
    }

    #[test]
    fn a_host_with_everything_can_build() {
        let fixture = Fixture::new();
        check_tools(&fixture.only_own_tools()).expect("everything");
    }

    #[test]
    fn without_compiler_the_other_missing_tools_are_named_too() {
        let fixture = Fixture::new();
        for program in ["gcc", "bison"] {
            fixture.remove_tool(program);
        }
        let error =
            Compiler::probe(&fixture.only_own_tools(), &fixture.env.cache.hasher()).expect_err("missing");
        insta::assert_snapshot!(error, @"
        this host cannot build kernels: `gcc`, `bison` are missing
        hint: apt-get install bison gcc
        ");
    }

    #[test]
    fn a_compiler_is_its_version_its_linker_and_its_code() {
        let fixture = Fixture::new();
        let probe = || Compiler::probe(&fixture.env.tools, &fixture.env.cache.hasher()).expect("probe");
        let first = probe();
        assert_eq!(first.version, "gcc (Fake 12.2.0-1) 12.2.0");
        assert_eq!(probe().identity(), first.identity());
        assert_eq!(probe().directory(), first.directory());

        fixture.tool("ld", "echo 'GNU ld 2.99'");
        assert_ne!(probe().identity(), first.identity());
        let second = probe();
        fixture.set_cc1("other code");
        assert_ne!(probe().identity(), second.identity());
    }

    #[test]
    fn ccache_is_used_where_there_is_one_and_changes_no_identity() {
        let fixture = Fixture::new();
        fixture.remove_tool("ccache");
        let probe =
            || Compiler::probe(&fixture.only_own_tools(), &fixture.env.cache.hasher()).expect("probe");
        let without = probe();
        assert_eq!(without.command(), "gcc");
        fixture.tool("ccache", "");
        assert_eq!(probe().command(), "ccache gcc");
        assert_eq!(probe().identity(), without.identity());
    }

    #[test]
    fn packages_of_programs_are_known_or_guessed() {
        assert_eq!(package_of("ld"), "binutils");
        assert_eq!(package_of("xz"), "xz-utils");
        assert_eq!(package_of("frobnicate"), "frobnicate");
    }
}
