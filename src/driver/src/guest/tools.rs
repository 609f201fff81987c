//! The programs that carry guests: which QEMU, which virtme-ng, our own binary.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::qemu::{OLDEST, parse_version};
use super::virtme;
use crate::exec::{Cmd, ExecError};

/// Variable that names another QEMU.
pub const QEMU_VARIABLE: &str = "KREGRESS_QEMU";

/// Variable that names another vng.
pub const VNG_VARIABLE: &str = "KREGRESS_VNG";

/// Why a tool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is no QEMU, or it does not run.
    #[error(
        "cannot run QEMU: {0}\nhint: `apt-get install qemu-system-x86` on Debian and Ubuntu; `{QEMU_VARIABLE}` names another binary"
    )]
    Qemu(ExecError),
    /// Its version cannot be read.
    #[error(
        "cannot read the version of `{program}` from `{output}`\nhint: `{QEMU_VARIABLE}` must name a QEMU system emulator for x86-64"
    )]
    QemuVersion {
        /// The binary.
        program: PathBuf,
        /// First line of its output.
        output: String,
    },
    /// It is too old.
    #[error("QEMU {}.{} is too old, {}.{} or later is needed\nhint: install a newer qemu-system-x86 and name it with `{QEMU_VARIABLE}`", found.0, found.1, OLDEST.0, OLDEST.1)]
    QemuTooOld {
        /// What is there.
        found: (u32, u32),
    },
    /// There is no vng.
    #[error(
        "cannot find `vng`, which the virtme-ng backend needs\nhint: `make virtme-ng` installs it for kregress, `pip install virtme-ng` for you; `{VNG_VARIABLE}` names another one"
    )]
    Vng,
    /// It does not run.
    #[error(
        "cannot run virtme-ng: {error}\nhint: `make virtme-ng` installs it for kregress; `{VNG_VARIABLE}` names another one"
    )]
    VngBroken {
        /// What it said.
        error: ExecError,
    },
    /// Its version cannot be read.
    #[error(
        "cannot read the version of `{program}` from `{output}`\nhint: `{VNG_VARIABLE}` must name the `vng` of virtme-ng"
    )]
    VngVersion {
        /// The program.
        program: PathBuf,
        /// First line of its output.
        output: String,
    },
    /// It is too old.
    #[error("virtme-ng {}.{} is too old, {}.{} or later is needed\nhint: `make virtme-ng` installs one for kregress; `{VNG_VARIABLE}` names another one", found.0, found.1, virtme::OLDEST.0, virtme::OLDEST.1)]
    VngTooOld {
        /// What is there.
        found: (u32, u32),
    },
    /// Our own binary cannot be found.
    #[error("cannot find the running binary: {0}")]
    Own(std::io::Error),
}

/// A QEMU that was asked for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qemu {
    /// The binary.
    pub path: PathBuf,
    /// First line of `--version`.
    pub version: String,
}

/// Asks the QEMU of this host for its version.
///
/// # Errors
///
/// Fails when it is missing, broken or too old.
pub fn qemu() -> Result<Qemu, ToolError> {
    let name = variable(QEMU_VARIABLE).unwrap_or_else(|| PathBuf::from("qemu-system-x86_64"));
    let output = Cmd::new(&name).arg("--version").read().map_err(ToolError::Qemu)?;
    let first = output.lines().next().unwrap_or_default().to_owned();
    let Some(found) = parse_version(&output) else {
        return Err(ToolError::QemuVersion { program: name, output: first });
    };
    if found < OLDEST {
        return Err(ToolError::QemuTooOld { found });
    }
    let path = on_path(&name).unwrap_or(name);
    Ok(Qemu { path, version: first })
}

/// A vng that was asked for its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vng {
    /// The program.
    pub path: PathBuf,
    /// Its version as a number.
    pub number: (u32, u32),
    /// First line of `--version`.
    pub version: String,
}

/// The vng of this host, asked for its version: the one that the variable names, that
/// of the project's own virtual environment, or that of the `PATH`, in this order.
///
/// # Errors
///
/// Fails when there is none, or it is broken or too old.
pub fn vng(cache: &Path) -> Result<Vng, ToolError> {
    let own = own_vng(cache);
    let path = variable(VNG_VARIABLE)
        .or_else(|| own.is_file().then_some(own))
        .or_else(|| on_path(Path::new("vng")))
        .ok_or(ToolError::Vng)?;
    let output = Cmd::new(&path).arg("--version").read();
    let output = output.map_err(|error| ToolError::VngBroken { error })?;
    let version = output.lines().next().unwrap_or_default().trim().to_owned();
    let Some(number) = virtme::parse_version(&output) else {
        return Err(ToolError::VngVersion { program: path, output: version });
    };
    if number < virtme::OLDEST {
        return Err(ToolError::VngTooOld { found: number });
    }
    Ok(Vng { path, number, version })
}

/// Where the user's Python packages are, whatever home a program is given:
/// `PYTHONUSERBASE`, or what stands for it (site.getuserbase of Python).
#[must_use]
pub fn python_user_base() -> Option<OsString> {
    variable("PYTHONUSERBASE").or_else(|| variable("HOME").map(|home| home.join(".local"))).map(Into::into)
}

/// Where `make virtme-ng` puts it.
#[must_use]
pub fn own_vng(cache: &Path) -> PathBuf {
    cache.join("virtme-ng/bin/vng")
}

/// Our own binary, by the name that it has in the file system.
///
/// # Errors
///
/// Fails when the system does not tell.
pub fn own_binary() -> Result<PathBuf, ToolError> {
    std::env::current_exe().map_err(ToolError::Own)
}

/// Our own binary as it runs, even if its file was replaced meanwhile: the
/// guest must be the same program as the host.
pub const RUNNING_BINARY: &str = "/proc/self/exe";

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Our `PATH` with the directory of `program` in front.
#[must_use]
pub fn path_with(program: &Path) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let own = program.parent().filter(|dir| !dir.as_os_str().is_empty()).map(Path::to_owned);
    let dirs = own.into_iter().chain(std::env::split_paths(&path));
    // Only a directory with `:` in its name cannot be joined; then there is
    // nothing to put in front.
    std::env::join_paths(dirs).unwrap_or(path)
}

/// Finds a program as a shell would.
#[must_use]
pub fn on_path(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.is_file().then(|| name.to_owned());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file())
}
