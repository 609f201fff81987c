//! Which kernel modules a guest needs before it can talk to us, in the order
//! in which they must be loaded.
//!
//! Pure over the texts of `modules.dep`, `modules.builtin`; the shell around it
//! reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::exec::{Cmd, ExecError};

/// Without these there is no control channel; a kernel that has them neither
/// built in nor as modules cannot be used.
const REQUIRED: [&str; 2] = ["virtio_pci", "virtio_console"];

/// Taken along and loaded where the kernel has them as modules. `virtio_rng`
/// ends the wait for entropy; the devices are for workloads.
const WANTED: [&str; 3] = ["virtio_rng", "dummy", "veth"];

/// Why a modules directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ModulesError {
    /// A file of it cannot be read.
    #[error(
        "cannot read `{path}`: {source}\nhint: the directory must be the `lib/modules/RELEASE` of the kernel, with `modules.dep` in it; `depmod` makes it"
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The dependencies are not known, and cannot be found out.
    #[error(
        "cannot find out how the modules in `{directory}` depend on each other: {source}\nhint: install kmod, or run depmod for that kernel"
    )]
    Depmod {
        /// The modules directory.
        directory: PathBuf,
        /// Why.
        source: ExecError,
    },
    /// The directory is not where depmod looks.
    #[error(
        "`{0}` has no `modules.dep`, and is not named `.../lib/modules/RELEASE`, so depmod cannot make one\nhint: run `depmod` for that kernel, or give the directory in its place below `lib/modules`"
    )]
    Misplaced(PathBuf),
    /// A driver that the guest needs is not there.
    #[error(
        "the kernel has `{module}` neither built in nor as a module in `{directory}`\nhint: it needs {config}=y or =m"
    )]
    Missing {
        /// The module.
        module: String,
        /// The modules directory.
        directory: PathBuf,
        /// Option that brings it.
        config: String,
    },
}

/// Name of a module as the kernel compares it: without directory and suffix,
/// with underscores.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

/// Paths of `wanted` and of everything they depend on, each after its
/// dependencies; names that are built in or unknown are left out.
fn load_order(dep: &str, wanted: &[&str]) -> Vec<String> {
    let mut by_name = BTreeMap::new();
    for line in dep.lines() {
        if let Some((path, needs)) = line.split_once(':') {
            by_name.insert(module_name(path), (path, needs));
        }
    }
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    for name in wanted {
        let Some((path, needs)) = by_name.get(&module_name(name)) else { continue };
        // modules.dep lists all dependencies, the deepest one last.
        for path in needs.split_whitespace().rev().chain(std::iter::once(*path)) {
            if seen.insert(path.to_owned()) {
                order.push(path.to_owned());
            }
        }
    }
    order
}

/// What `modules.dep` would hold. Packages leave making it to their
/// installation; the directory may be read-only, so nothing is written.
fn depmod(directory: &Path) -> Result<String, ModulesError> {
    let misplaced = || ModulesError::Misplaced(directory.to_owned());
    let release = directory.file_name().ok_or_else(misplaced)?;
    let base = directory
        .parent()
        .and_then(|dir| dir.to_str()?.strip_suffix("/lib/modules"))
        .ok_or_else(misplaced)?;
    let base = if base.is_empty() { "/" } else { base };
    let program = ["/usr/sbin/depmod", "/sbin/depmod"].into_iter().find(|path| Path::new(path).is_file());
    let command = Cmd::new(program.unwrap_or("depmod")).args(["-n", "-b", base]).arg(release);
    let text =
        command.read().map_err(|source| ModulesError::Depmod { directory: directory.to_owned(), source })?;
    // The other tables follow, each with a heading.
    let end = text.find("\n# ").map_or(text.len(), |at| at + 1);
    Ok(text[..end].to_owned())
}

/// Absolute paths of the modules to pack and load, in order.
///
/// # Errors
///
/// Fails when the directory is no modules directory, or when the kernel lacks
/// a driver without which the guest cannot speak.
pub fn plan(directory: &Path) -> Result<Vec<PathBuf>, ModulesError> {
    let read = |name: &str| {
        let path = directory.join(name);
        std::fs::read_to_string(&path).map_err(|source| ModulesError::Read { path, source })
    };
    let dep = match directory.join("modules.dep").is_file() {
        true => read("modules.dep")?,
        false => depmod(directory)?,
    };
    let builtin: BTreeSet<_> = read("modules.builtin")?.lines().map(module_name).collect();
    let known: BTreeSet<_> =
        dep.lines().filter_map(|line| Some(module_name(line.split_once(':')?.0))).collect();
    for module in REQUIRED {
        if !builtin.contains(module) && !known.contains(module) {
            return Err(ModulesError::Missing {
                module: module.to_owned(),
                directory: directory.to_owned(),
                config: format!("CONFIG_{}", module.to_uppercase()),
            });
        }
    }
    let all: Vec<_> = REQUIRED.into_iter().chain(WANTED).collect();
    Ok(load_order(&dep, &all).into_iter().map(|path| directory.join(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEP: &str = "\
kernel/drivers/virtio/virtio.ko:
kernel/drivers/virtio/virtio_ring.ko: kernel/drivers/virtio/virtio.ko
kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/char/virtio_console.ko.xz: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/char/hw_random/virtio-rng.ko:
";

    #[test]
    fn dependencies_come_first_and_once() {
        let order = load_order(DEP, &["virtio_console", "virtio_pci", "virtio_rng", "veth"]);
        assert_eq!(
            order.iter().map(|path| module_name(path)).collect::<Vec<_>>(),
            ["virtio", "virtio_ring", "virtio_console", "virtio_pci", "virtio_rng",]
        );
    }

    fn directory(dep: &str, builtin: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join("modules.dep"), dep).expect("write");
        std::fs::write(dir.path().join("modules.builtin"), builtin).expect("write");
        dir
    }

    #[test]
    fn what_is_built_in_needs_no_file() {
        let builtin = "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/char/virtio_console.ko\n";
        assert_eq!(plan(directory("", builtin).path()).expect("plan"), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_kernel_without_virtio_console_is_refused_with_the_option_it_lacks() {
        let dir = directory("", "kernel/drivers/virtio/virtio_pci.ko\n");
        let text = plan(dir.path()).expect_err("missing").to_string();
        assert!(text.contains("has `virtio_console` neither built in nor as a module"), "{text}");
        assert!(text.contains("CONFIG_VIRTIO_CONSOLE=y"), "{text}");
    }

    #[test]
    fn a_directory_without_modules_dep_in_an_odd_place_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let text = plan(dir.path()).expect_err("empty").to_string();
        assert!(text.contains("has no `modules.dep`, and is not named `.../lib/modules/RELEASE`"), "{text}");
    }
}
