//! `--machine accel=auto,backend=qemu,cpus=2,memory=1G`: what the user wants
//! otherwise than `kregress.yaml` says.

use std::str::FromStr;

use super::error::quoted;
use super::nearest::hint;
use super::value::{self, ValueError};
use crate::model::{Accel, AccelChoice, Backend, GuestRoot, Machine, RootFs};

const KEYS: [&str; 6] = ["accel", "backend", "cpus", "memory", "root", "rootfs"];

/// Some properties of a machine; the others stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineOptions {
    /// How instructions are executed.
    pub accel: Option<AccelChoice>,
    /// Who builds the QEMU command line and the root file system.
    pub backend: Option<Backend>,
    /// Virtual CPUs.
    pub cpus: Option<u32>,
    /// Guest memory in bytes.
    pub memory: Option<u64>,
    /// What the root of a guest of virtme-ng is made of.
    pub rootfs: Option<RootFs>,
    /// Directory that is the root of a guest of virtme-ng.
    pub root: Option<GuestRoot>,
}

/// Why a text is no machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MachineError {
    /// Nothing, or nothing between two commas.
    #[error("a property of the machine is missing\nhint: like this: `accel=tcg,cpus=4,memory=2G`")]
    Empty,
    /// A word without `=`.
    #[error("{} has no value\nhint: like this: `accel=tcg,cpus=4,memory=2G`", quoted(.0))]
    NoValue(String),
    /// A property that machines do not have.
    #[error("unknown property {} of a machine{}", quoted(key), hint(key, "properties", &keys()))]
    UnknownKey {
        /// As written.
        key: String,
    },
    /// A property given twice.
    #[error("property `{0}` is given twice")]
    Twice(&'static str),
    /// A value that cannot be.
    #[error("`{key}`: {error}")]
    Value {
        /// Which property.
        key: &'static str,
        /// What is wrong.
        error: ValueError,
    },
}

fn keys() -> Vec<String> {
    KEYS.map(str::to_owned).to_vec()
}

impl MachineOptions {
    /// The machine with these properties put over its own. Who asks for virtual time
    /// and says nothing of CPUs gets one, for only then is it exact (`guest::qemu`).
    #[must_use]
    pub fn over(self, machine: Machine) -> Machine {
        let cpus = match self.accel {
            Some(AccelChoice::Only(Accel::Icount)) => 1,
            _ => machine.cpus,
        };
        let backend = self.backend.unwrap_or(machine.backend);
        Machine {
            accel: self.accel.unwrap_or(machine.accel),
            backend,
            cpus: self.cpus.unwrap_or(cpus),
            memory: self.memory.unwrap_or(machine.memory),
            rootfs: self.rootfs.unwrap_or(machine.rootfs),
            // Who asks for another backend does not want what only this one has.
            root: self.root.or(machine.root.filter(|_| backend == Backend::VirtmeNg)),
        }
    }
}

impl FromStr for MachineOptions {
    type Err = MachineError;

    fn from_str(text: &str) -> Result<Self, MachineError> {
        let mut options = Self::default();
        for part in text.split(',') {
            if part.is_empty() {
                return Err(MachineError::Empty);
            }
            let (key, word) = part.split_once('=').ok_or_else(|| MachineError::NoValue(part.to_owned()))?;
            let unknown = || MachineError::UnknownKey { key: key.to_owned() };
            let key = KEYS.into_iter().find(|known| *known == key).ok_or_else(unknown)?;
            match key {
                "accel" => set(&mut options.accel, key, value::accel(word))?,
                "backend" => set(&mut options.backend, key, value::backend(word))?,
                "cpus" => set(&mut options.cpus, key, value::cpus(word))?,
                "root" => set(&mut options.root, key, value::root(word))?,
                "rootfs" => set(&mut options.rootfs, key, value::rootfs(word))?,
                _ => set(&mut options.memory, key, value::memory(word))?,
            }
        }
        Ok(options)
    }
}

fn set<T>(
    place: &mut Option<T>,
    key: &'static str,
    value: Result<T, ValueError>,
) -> Result<(), MachineError> {
    let value = value.map_err(|error| MachineError::Value { key, error })?;
    match place.replace(value) {
        Some(_) => Err(MachineError::Twice(key)),
        None => Ok(()),
    }
}

/// A machine as `--machine` takes it.
#[must_use]
pub fn machine_text(machine: &Machine) -> String {
    let Machine { accel, backend, cpus, memory, rootfs, root } = machine;
    let (accel, memory) = (value::accel_text(*accel), value::memory_text(*memory));
    let rootfs = match rootfs {
        RootFs::Auto => String::new(),
        chosen => format!(",rootfs={chosen}"),
    };
    let root = root.as_ref().map_or(String::new(), |root| format!(",root={root}"));
    format!("accel={accel},backend={backend},cpus={cpus},memory={memory}{rootfs}{root}")
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn error(text: &str) -> String {
        text.parse::<MachineOptions>().expect_err("must be refused").to_string()
    }

    #[test]
    fn what_is_not_said_stays_as_it_is() {
        let options: MachineOptions = "accel=tcg,memory=512M".parse().expect("a machine");
        let machine = options.over(Machine::default());
        let expected =
            Machine { accel: AccelChoice::Only(Accel::Tcg), memory: 512 << 20, ..Machine::default() };
        assert_eq!(machine, expected);
        assert_eq!(MachineOptions::default().over(machine.clone()), machine);
    }

    #[test]
    fn virtual_time_is_of_one_cpu_unless_more_are_asked_for() {
        let cpus =
            |text: &str, machine| text.parse::<MachineOptions>().expect("a machine").over(machine).cpus;
        let two = Machine::default();
        assert_eq!(cpus("accel=icount", two.clone()), 1);
        assert_eq!(cpus("accel=icount,cpus=2", two.clone()), 2);
        let icount = Machine { accel: AccelChoice::Only(Accel::Icount), ..two.clone() };
        assert_eq!(cpus("memory=2G", icount), 2, "asked for elsewhere");
        assert_eq!(cpus("accel=tcg", two), 2);
    }

    #[test]
    fn a_machine_is_read_back_as_it_is_written() {
        let text = machine_text(&Machine::default());
        assert_eq!(text, "accel=auto,backend=qemu,cpus=2,memory=1G");
        let other = Machine {
            cpus: 64,
            backend: Backend::VirtmeNg,
            accel: AccelChoice::Only(Accel::Kvm),
            memory: 64 << 20,
            rootfs: RootFs::Auto,
            root: None,
        };
        let options: MachineOptions = text.parse().expect("own text");
        assert_eq!(options.over(other), Machine::default());
    }

    #[test]
    fn a_root_file_system_is_written_where_one_was_chosen() {
        let options: MachineOptions = "backend=virtme-ng,rootfs=9p".parse().expect("a machine");
        let machine = options.over(Machine::default());
        assert_eq!(machine.rootfs, RootFs::NineP);
        let text = machine_text(&machine);
        assert_eq!(text, "accel=auto,backend=virtme-ng,cpus=2,memory=1G,rootfs=9p");
        assert_eq!(text.parse::<MachineOptions>().expect("own text").over(Machine::default()), machine);
        let text = format!("{text},root=/srv/trixie");
        let machine = text.parse::<MachineOptions>().expect("a machine").over(Machine::default());
        assert_eq!(machine_text(&machine), text);
        let options: MachineOptions = "backend=qemu".parse().expect("a machine");
        assert_eq!(options.over(machine).root, None);
        assert_snapshot!(error("root=/my roots/trixie"), @r"
        `root`: `/my roots/trixie` cannot be a root file system
        hint: the path of a directory, all of it of letters, digits and `/._+@-`, for virtme-ng quotes nothing
        ");
        assert_snapshot!(error("rootfs=virtio"), @r"
        `rootfs`: unknown root file system `virtio`
        hint: did you mean `virtiofs`? known root file systems: `auto`, `9p`, `virtiofs`
        ");
    }

    #[test]
    fn an_unknown_property_names_its_neighbour() {
        assert_snapshot!(error("acel=tcg"), @r"
        unknown property `acel` of a machine
        hint: did you mean `accel`? known properties: `accel`, `backend`, `cpus`, `memory`, `root`, `rootfs`
        ");
    }

    #[test]
    fn an_unknown_accelerator_names_the_choice() {
        assert_snapshot!(error("accel=kmv"), @r"
        `accel`: unknown accelerator `kmv`
        hint: did you mean `kvm`? known accelerators: `auto`, `kvm`, `tcg`, `icount`
        ");
    }

    #[test]
    fn a_property_without_a_value_shows_how_it_is_done() {
        assert_snapshot!(error("cpus"), @r"
        `cpus` has no value
        hint: like this: `accel=tcg,cpus=4,memory=2G`
        ");
    }

    #[test]
    fn an_empty_value_is_no_value() {
        assert_snapshot!(error("cpus="), @r"
        `cpus`: `` is no number of CPUs
        hint: a whole number from 1 to 256
        ");
    }

    #[test]
    fn a_comma_too_many_is_refused() {
        assert_snapshot!(error("cpus=2,"), @r"
        a property of the machine is missing
        hint: like this: `accel=tcg,cpus=4,memory=2G`
        ");
        assert_eq!(error(""), error("cpus=2,"));
    }

    #[test]
    fn a_property_given_twice_is_refused() {
        assert_snapshot!(error("cpus=2,cpus=4"), @"property `cpus` is given twice");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "([a-z]{0,6}[=,]{0,2}[0-9A-Za-z]{0,4}){0,5}|\\PC*") {
            let _ = text.parse::<MachineOptions>();
        }
    }
}
