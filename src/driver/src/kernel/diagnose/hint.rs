//! What can be done about an error.

use std::path::Path;

use super::Cause;
use crate::kernel::compiler::package_of;

/// Debian packages of libraries, by how the name of the library or of its header
/// begins.
const LIBRARY_PACKAGES: [(&str, &str); 14] = [
    ("openssl/", "libssl-dev"),
    ("ssl", "libssl-dev"),
    ("crypto", "libssl-dev"),
    ("libelf.h", "libelf-dev"),
    ("gelf.h", "libelf-dev"),
    ("elf.h", "libc6-dev"),
    ("elf", "libelf-dev"),
    ("zstd", "libzstd-dev"),
    ("z", "zlib1g-dev"),
    ("gmp", "libgmp-dev"),
    ("mpc", "libmpc-dev"),
    ("ncurses", "libncurses-dev"),
    ("dw", "libdw-dev"),
    ("gcc-plugin.h", "gcc-$(gcc -dumpversion)-plugin-dev"),
];

pub(super) fn for_error(cause: Cause, message: &str, source: &Path, build: &Path) -> Option<String> {
    match cause {
        Cause::Code if message.contains("[-Werror") => Some(
            "the configuration turns warnings into errors: a fragment with `# CONFIG_WERROR is not set` stops that"
                .to_owned(),
        ),
        Cause::Link if message.starts_with("undefined") => Some(
            "code is built in whose other half is not: the option needs a `depends on` or `select`, or a fragment \
             must turn the missing half on"
                .to_owned(),
        ),
        Cause::BuildSystem if message.contains("certs/") => Some(
            "the configuration names certificates that the tree lacks: set `CONFIG_SYSTEM_TRUSTED_KEYS=\"\"` and \
             `CONFIG_SYSTEM_REVOCATION_KEYS=\"\"` in a fragment"
                .to_owned(),
        ),
        Cause::Code | Cause::Link | Cause::BuildSystem => None,
        Cause::Compiler => Some("this tree and this compiler do not go together; try another gcc".to_owned()),
        Cause::MissingProgram => {
            let program = quoted_word(message)?;
            Some(format!("apt-get install {}", package_of(program)))
        }
        Cause::MissingLibrary => {
            let library = quoted_word(message)?;
            let (_, package) = LIBRARY_PACKAGES.iter().find(|(known, _)| library.starts_with(known))?;
            Some(format!("apt-get install {package}"))
        }
        Cause::DiskFull => Some(format!(
            "free a few GiB in the file systems of `{}` and of the temporary directory; the build then goes on where it stopped",
            build.display()
        )),
        Cause::OutOfMemory => Some("run fewer compilers at once: `--jobs 1`".to_owned()),
        Cause::NotClean => Some(not_clean(source)),
        Cause::Damaged => Some(format!(
            "an earlier build was killed while it wrote this file: `rm -r {}` and build again",
            build.display()
        )),
        Cause::Unknown => None,
    }
}

/// What to do about a tree that was built in.
pub(in crate::kernel) fn not_clean(source: &Path) -> String {
    format!(
        "`make -C {} mrproper` removes what an earlier build left there, its `.config` included",
        source.display()
    )
}

fn quoted_word(message: &str) -> Option<&str> {
    message.split('`').nth(1)
}
