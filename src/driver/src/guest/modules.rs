//! Which kernel modules travel with a guest: those that it needs before it can
//! talk to us, in the order in which they must be loaded, and those that its
//! workloads load when they need them.
//!
//! Pure over the texts of depmod's tables; the shell around it reads them.

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

/// What travels with a guest. Paths are those of the host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Loaded by the guest's init, in this order.
    pub boot: Vec<PathBuf>,
    /// Loaded when a workload, or the kernel itself, asks for one.
    pub on_demand: Vec<OnDemand>,
    /// Other names by which the kernel asks for modules that travel, each with
    /// the module's name: `rtnl-link-gre`, `ip_gre`.
    pub aliases: Vec<(String, String)>,
}

/// A module that travels, and what has to be loaded before it, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OnDemand {
    /// Its file.
    pub file: PathBuf,
    /// Files of what it depends on.
    pub before: Vec<PathBuf>,
}

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

/// depmod's tables, as text.
#[derive(Debug, Default)]
struct Tables {
    dep: String,
    alias: String,
    softdep: String,
}

/// A module's file and its dependencies, by name.
type Index<'a> = BTreeMap<String, (&'a str, Vec<&'a str>)>;

impl Tables {
    fn read(directory: &Path) -> Result<Self, ModulesError> {
        if !directory.join("modules.dep").is_file() {
            return Ok(Self::split(&depmod(directory)?));
        }
        let optional = |name: &str| match std::fs::read_to_string(directory.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            other => other.map_err(|source| ModulesError::Read { path: directory.join(name), source }),
        };
        Ok(Self {
            dep: optional("modules.dep")?,
            alias: optional("modules.alias")?,
            softdep: optional("modules.softdep")?,
        })
    }

    /// Takes the output of `depmod -n` apart: one table after the other, each
    /// but the first with a heading.
    fn split(text: &str) -> Self {
        let mut tables = Self::default();
        for line in text.lines() {
            let table = match line.split_whitespace().next() {
                Some("alias") => &mut tables.alias,
                Some("softdep") => &mut tables.softdep,
                Some(first) if first.ends_with(':') && first.contains(".ko") => &mut tables.dep,
                _ => continue,
            };
            table.push_str(line);
            table.push('\n');
        }
        tables
    }

    fn index(&self) -> Index<'_> {
        let entries = self.dep.lines().filter_map(|line| {
            let (path, needs) = line.split_once(':')?;
            // modules.dep lists all dependencies, the deepest one last.
            Some((module_name(path), (path, needs.split_whitespace().rev().collect())))
        });
        entries.collect()
    }

    /// Aliases without wildcards, normalised, with the modules that they mean.
    /// Those with wildcards are of hardware.
    fn aliases(&self) -> impl Iterator<Item = (String, String)> {
        self.alias.lines().filter_map(|line| {
            let mut words = line.split_whitespace();
            let (Some("alias"), Some(alias), Some(module)) = (words.next(), words.next(), words.next())
            else {
                return None;
            };
            let exact = !alias.contains(['*', '?', '[', ':']);
            exact.then(|| (alias.replace('-', "_"), module_name(module)))
        })
    }

    /// Modules and aliases that a module wants beside it.
    fn soft<'a>(&'a self, module: &'a str) -> impl Iterator<Item = &'a str> {
        let lines = self.softdep.lines().filter_map(move |line| {
            let mut words = line.split_whitespace();
            let ours = words.next() == Some("softdep") && words.next().map(module_name)? == module;
            ours.then_some(words)
        });
        lines.flatten().filter(|word| !word.ends_with(':'))
    }

    /// Modules to take along for these names or aliases, and for whatever they
    /// want beside them; names that the kernel does not have as modules are left
    /// out.
    fn closure(&self, index: &Index<'_>, names: &BTreeSet<&str>) -> BTreeSet<String> {
        let aliases: BTreeMap<String, String> = self.aliases().collect();
        let mut open: Vec<String> = names.iter().map(|name| module_name(name)).collect();
        let mut found = BTreeSet::new();
        while let Some(name) = open.pop() {
            let name = match index.contains_key(&name) {
                true => name,
                false => match aliases.get(&name) {
                    Some(module) if index.contains_key(module) => module.clone(),
                    _ => continue,
                },
            };
            if found.contains(&name) {
                continue;
            }
            open.extend(self.soft(&name).map(module_name));
            if let Some((_, needs)) = index.get(&name) {
                open.extend(needs.iter().map(|path| module_name(path)));
            }
            found.insert(name);
        }
        found
    }
}

/// Paths of `wanted` and of everything they depend on, each after its
/// dependencies; names that are built in or unknown are left out.
fn load_order<'a>(index: &Index<'a>, wanted: &[&str]) -> Vec<&'a str> {
    let mut order = Vec::new();
    for name in wanted {
        let Some((path, needs)) = index.get(&module_name(name)) else { continue };
        for path in needs.iter().chain([path]) {
            if !order.contains(path) {
                order.push(*path);
            }
        }
    }
    order
}

/// What depmod's tables would hold. Packages leave making them to their
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
    command.read().map_err(|source| ModulesError::Depmod { directory: directory.to_owned(), source })
}

/// What to take along from a modules directory: the guest's own needs, and those
/// of `names` that the kernel has as modules.
///
/// # Errors
///
/// Fails when the directory is no modules directory, or when the kernel lacks
/// a driver without which the guest cannot speak.
pub fn plan(directory: &Path, names: &BTreeSet<&str>) -> Result<Selection, ModulesError> {
    let tables = Tables::read(directory)?;
    let path = directory.join("modules.builtin");
    let builtin =
        std::fs::read_to_string(&path).map_err(|source| ModulesError::Read { path: path.clone(), source })?;
    let builtin: BTreeSet<_> = builtin.lines().map(module_name).collect();
    let index = tables.index();
    for module in REQUIRED {
        if !builtin.contains(module) && !index.contains_key(module) {
            return Err(ModulesError::Missing {
                module: module.to_owned(),
                directory: directory.to_owned(),
                config: format!("CONFIG_{}", module.to_uppercase()),
            });
        }
    }
    let own: Vec<_> = REQUIRED.into_iter().chain(WANTED).collect();
    let boot = load_order(&index, &own);
    let travelling = tables.closure(&index, names);
    let on_demand = travelling.iter().filter_map(|name| {
        let (path, needs) = index.get(name)?;
        let before = needs.iter().map(|path| directory.join(path)).collect();
        Some(OnDemand { file: directory.join(path), before })
    });
    Ok(Selection {
        boot: boot.into_iter().map(|path| directory.join(path)).collect(),
        on_demand: on_demand.collect(),
        aliases: tables.aliases().filter(|(_, module)| travelling.contains(module)).collect(),
    })
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
        let tables = Tables { dep: DEP.to_owned(), ..Tables::default() };
        let order = load_order(&tables.index(), &["virtio_console", "virtio_pci", "virtio_rng", "veth"]);
        assert_eq!(
            order.iter().map(|path| module_name(path)).collect::<Vec<_>>(),
            ["virtio", "virtio_ring", "virtio_console", "virtio_pci", "virtio_rng"]
        );
    }

    /// As `depmod -n` prints it.
    const DEPMOD: &str = "\
kernel/net/ipv4/gre.ko:
kernel/net/ipv4/ip_tunnel.ko:
kernel/net/ipv4/ip_gre.ko: kernel/net/ipv4/ip_tunnel.ko kernel/net/ipv4/gre.ko
kernel/drivers/net/macsec.ko:
kernel/crypto/gcm.ko: kernel/crypto/ctr.ko
kernel/crypto/ctr.ko:
# Aliases extracted from modules themselves.
alias rtnl-link-gre ip_gre
alias rtnl-link-gretap ip_gre
alias rtnl-link-macsec macsec
alias crypto-gcm gcm
alias pci:v00001AF4d*sv*sd*bc*sc*i* virtio_pci
# Soft dependencies extracted from modules themselves.
softdep macsec pre: crypto-gcm post: absent
# Aliases for symbols, used by symbol_request().
alias symbol:gre_add_protocol gre
";

    fn travelling(names: &[&str]) -> Vec<String> {
        let tables = Tables::split(DEPMOD);
        tables.closure(&tables.index(), &names.iter().copied().collect()).into_iter().collect()
    }

    #[test]
    fn a_module_travels_with_all_that_it_depends_on() {
        assert_eq!(travelling(&["ip_gre"]), ["gre", "ip_gre", "ip_tunnel"]);
    }

    #[test]
    fn what_a_module_wants_beside_it_travels_too() {
        assert_eq!(travelling(&["macsec"]), ["ctr", "gcm", "macsec"]);
    }

    #[test]
    fn a_name_that_the_kernel_has_not_as_a_module_is_left_out() {
        assert_eq!(travelling(&["dummy", "no_such_module"]), Vec::<String>::new());
    }

    #[test]
    fn soft_dependencies_that_go_in_a_circle_end() {
        let dep = "a.ko:\nb.ko:\n".to_owned();
        let softdep = "softdep a pre: b\nsoftdep b pre: a\n".to_owned();
        let tables = Tables { dep, softdep, ..Tables::default() };
        assert_eq!(tables.closure(&tables.index(), &["a"].into()).len(), 2);
    }

    #[test]
    fn aliases_travel_with_their_modules_and_those_of_hardware_stay() {
        let dir = directory(
            "kernel/net/ipv4/ip_gre.ko:\nkernel/net/x.ko:\n",
            "kernel/drivers/virtio/virtio_pci.ko\nkernel/drivers/char/virtio_console.ko\n",
        );
        std::fs::write(dir.path().join("modules.alias"), DEPMOD).expect("write");
        let selection = plan(dir.path(), &["ip-gre"].into()).expect("plan");
        let ip_gre = dir.path().join("kernel/net/ipv4/ip_gre.ko");
        assert_eq!(selection.on_demand, [OnDemand { file: ip_gre, before: vec![] }]);
        let alias = |name: &str| (name.to_owned(), "ip_gre".to_owned());
        assert_eq!(selection.aliases, [alias("rtnl_link_gre"), alias("rtnl_link_gretap")]);
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
        assert_eq!(
            plan(directory("", builtin).path(), &BTreeSet::new()).expect("plan"),
            Selection::default()
        );
    }

    #[test]
    fn a_kernel_without_virtio_console_is_refused_with_the_option_it_lacks() {
        let dir = directory("", "kernel/drivers/virtio/virtio_pci.ko\n");
        let text = plan(dir.path(), &BTreeSet::new()).expect_err("missing").to_string();
        assert!(text.contains("has `virtio_console` neither built in nor as a module"), "{text}");
        assert!(text.contains("CONFIG_VIRTIO_CONSOLE=y"), "{text}");
    }

    #[test]
    fn a_directory_without_modules_dep_in_an_odd_place_is_refused() {
        let dir = tempfile::tempdir().expect("dir");
        let text = plan(dir.path(), &BTreeSet::new()).expect_err("empty").to_string();
        assert!(text.contains("has no `modules.dep`, and is not named `.../lib/modules/RELEASE`"), "{text}");
    }
}
