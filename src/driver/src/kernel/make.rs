//! The kernel's own make: how it is called, so that the result depends on the
//! tree, the configuration and the compiler, and on nothing else.

use std::path::Path;
use std::process::ExitStatus;

use super::compiler::Compiler;
use super::env::BuildEnv;
use super::run::{Log, RunError};
use super::store::Modules;
use crate::exec::Cmd;

/// Variables that show in the kernel; they are part of its key.
///
/// Who built a kernel, where and when would make every build another one. An
/// empty `LOCALVERSION` keeps the `+` of trees between two tags out of the
/// release, so that it does not change with each commit.
pub(super) const FLAGS: [(&str, &str); 6] = [
    ("ARCH", "x86_64"),
    ("LOCALVERSION", ""),
    ("KBUILD_BUILD_TIMESTAMP", "Thu Jan  1 00:00:00 UTC 1970"),
    ("KBUILD_BUILD_USER", "kregress"),
    ("KBUILD_BUILD_HOST", "kregress"),
    ("KBUILD_BUILD_VERSION", "1"),
];

/// Variables with which a user's shell, or a make above us, would change what is
/// built or where.
const FOREIGN: [&str; 33] = [
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "MAKEFILES",
    "GNUMAKEFLAGS",
    "KBUILD_OUTPUT",
    "KBUILD_VERBOSE",
    "KBUILD_EXTMOD",
    "KBUILD_EXTRA_WARN",
    "KBUILD_MODPOST_WARN",
    "KBUILD_SIGN_PIN",
    "KCONFIG_CONFIG",
    "KCONFIG_ALLCONFIG",
    "KCONFIG_SEED",
    "KCONFIG_PROBABILITY",
    "KCONFIG_WERROR",
    "KCFLAGS",
    "KCPPFLAGS",
    "KAFLAGS",
    "KRUSTFLAGS",
    "KERNELRELEASE",
    "CROSS_COMPILE",
    "LLVM",
    "LLVM_IAS",
    "HOSTCFLAGS",
    "HOSTLDFLAGS",
    "CFLAGS",
    "CPPFLAGS",
    "LDFLAGS",
    "INSTALL_PATH",
    "INSTALL_MOD_PATH",
    "V",
    "W",
];

/// A source directory, a build directory and a compiler.
#[derive(Debug)]
pub(super) struct Make<'a> {
    pub(super) env: &'a BuildEnv,
    pub(super) compiler: &'a Compiler,
    pub(super) source: &'a Path,
    pub(super) build: &'a Path,
}

/// `make` as a user's shell would not change it.
fn plain(env: &BuildEnv) -> Cmd {
    let cmd = FOREIGN.iter().fold(env.tools.cmd("make"), |cmd, name| cmd.env_remove(*name));
    // The kernel's Makefile takes LC_ALL away, and then these decide the quotes in
    // messages.
    cmd.env("LANG", "C").env("LC_CTYPE", "C").env("LC_MESSAGES", "C").tree()
}

/// `make` in the directory of a collection of selftests, which is built in place.
pub(super) fn selftests(env: &BuildEnv, compiler: &Compiler, directory: &Path) -> Cmd {
    plain(env)
        .arg("-C")
        .arg(directory)
        .arg(format!("OUTPUT={}", directory.display()))
        .args(["ARCH=x86_64".to_owned(), format!("CC={}", compiler.command())])
}

impl Make<'_> {
    fn command(&self) -> Cmd {
        let cmd = plain(self.env);
        let cc = self.compiler.command();
        // The output of parallel compilers is kept apart, so that an error and
        // its explanation stand together.
        cmd.arg("-C")
            .arg(self.source)
            .arg(format!("O={}", self.build.display()))
            .args(FLAGS.iter().map(|(name, value)| format!("{name}={value}")))
            .args([format!("CC={cc}"), format!("HOSTCC={cc}")])
            .arg(format!("-j{}", self.env.jobs))
            .arg("--output-sync=target")
            // A compiler that was updated in place must not get old results.
            .env("CCACHE_COMPILERCHECK", "content")
            // The release must not depend on the repository that happens to
            // contain the source or the cache (scripts/setlocalversion).
            .env("GIT_DIR", "/dev/null")
    }

    /// `allnoconfig` with everything in `wanted` set.
    pub(super) fn allnoconfig(&self, wanted: &Path, log: &mut Log) -> Result<ExitStatus, RunError> {
        let cmd = self.command().env("KCONFIG_ALLCONFIG", wanted).arg("allnoconfig");
        log.run(&cmd, self.env.interrupted, &mut |_| ())
    }

    /// Completes the `.config` in the build directory.
    pub(super) fn olddefconfig(&self, log: &mut Log) -> Result<ExitStatus, RunError> {
        log.run(&self.command().arg("olddefconfig"), self.env.interrupted, &mut |_| ())
    }

    /// Compiles.
    pub(super) fn images(
        &self,
        modules: Modules,
        log: &mut Log,
        lines: &mut dyn FnMut(&[String]),
    ) -> Result<ExitStatus, RunError> {
        let targets: &[&str] = match modules {
            Modules::None => &["vmlinux", "bzImage"],
            Modules::Some => &["vmlinux", "bzImage", "modules"],
        };
        log.run(&self.command().args(targets.iter().copied()), self.env.interrupted, lines)
    }

    /// Makes the headers for user space, below `usr` of the build directory.
    pub(super) fn headers(&self, log: &mut Log) -> Result<ExitStatus, RunError> {
        log.run(&self.command().arg("headers"), self.env.interrupted, &mut |_| ())
    }

    /// Copies stripped modules to `root/lib/modules/RELEASE`.
    pub(super) fn install_modules(&self, root: &Path, log: &mut Log) -> Result<ExitStatus, RunError> {
        let cmd = self
            .command()
            .arg(format!("INSTALL_MOD_PATH={}", root.display()))
            .args(["INSTALL_MOD_STRIP=1", "modules_install"]);
        log.run(&cmd, self.env.interrupted, &mut |_| ())
    }
}
