//! Reads a QEMU command line as far as the fake has to: channels, kernel,
//! accelerator. Refuses what the real one refuses, in its words (taken from
//! QEMU 7.2), so that a wrong command line does not pass a test.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kregress_wire::{CONTROL_PORT, OUTPUT_PORT};

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Command {
    /// Print the version.
    Version,
    /// Boot.
    Run(Box<Machine>),
}

/// A virtual machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Machine {
    /// Where the virtio console leads, or the first serial line without one.
    pub(crate) console: Option<Channel>,
    /// Where the port named [`CONTROL_PORT`] leads, if there is one.
    pub(crate) control: Option<Channel>,
    /// The same of [`OUTPUT_PORT`].
    pub(crate) output: Option<Channel>,
    /// Socket on which to listen for QMP.
    pub(crate) qmp: Option<PathBuf>,
    /// `-kernel`.
    pub(crate) kernel: Option<PathBuf>,
    /// `-initrd`.
    pub(crate) initrd: Option<PathBuf>,
    /// `-append`, as much of it as a kernel takes.
    pub(crate) cmdline: String,
    /// Files that QEMU opens for writing, and truncates, whoever uses them.
    pub(crate) truncates: Vec<PathBuf>,
    /// Directories of the host by the tags that the guest mounts them with.
    pub(crate) shares: BTreeMap<String, PathBuf>,
    /// Whether KVM was asked for.
    pub(crate) accel: Accel,
    /// Virtual CPUs.
    pub(crate) cpus: u32,
    /// Memory in bytes.
    pub(crate) memory: u64,
    /// What a reset of the guest does.
    pub(crate) reset: Reset,
}

/// What happens when the guest resets its machine, as it does after a panic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reset {
    /// It boots again.
    #[default]
    Reboot,
    /// QEMU exits (`-no-reboot`).
    Exit,
}

/// Accelerator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Accel {
    /// The default.
    #[default]
    Tcg,
    /// KVM, and no other.
    Kvm,
}

/// Other end of a channel, with the argument that asked for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Channel {
    /// `-chardev socket,id=x,path=y`.
    pub(crate) argument: String,
    /// What it is.
    pub(crate) target: Target,
}

/// What a channel is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// A unix socket on which somebody listens.
    Connect(PathBuf),
    /// A file, truncated.
    File(PathBuf),
    /// A file, appended to.
    Append(PathBuf),
    /// Nothing.
    Null,
}

/// Why the real QEMU would not start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{argument}: {reason}")]
pub(crate) struct ArgError {
    argument: String,
    reason: String,
}

fn refuse<T>(argument: impl Into<String>, reason: impl Into<String>) -> Result<T, ArgError> {
    Err(ArgError { argument: argument.into(), reason: reason.into() })
}

/// What an x86 kernel keeps of its command line, in bytes with the last one zero
/// (arch/x86/include/asm/setup.h). The rest is lost without a word.
const COMMAND_LINE_SIZE: usize = 2048;

/// Options without value.
const FLAGS: &[&str] = &[
    "S",
    "daemonize",
    "enable-kvm",
    "mem-prealloc",
    "no-acpi",
    "no-hpet",
    "no-reboot",
    "no-shutdown",
    "no-user-config",
    "nodefaults",
    "nographic",
    "only-migratable",
    "s",
    "snapshot",
    "usb",
];

/// Options with a value that means nothing to the fake.
const IGNORED: &[&str] = &[
    "D",
    "L",
    "action",
    "add-fd",
    "audiodev",
    "bios",
    "blockdev",
    "boot",
    "cpu",
    "d",
    "display",
    "drive",
    "fw_cfg",
    "gdb",
    "global",
    "icount",
    "mon",
    "monitor",
    "msg",
    "name",
    "net",
    "netdev",
    "nic",
    "numa",
    "object",
    "overcommit",
    "parallel",
    "pidfile",
    "rtc",
    "run-with",
    "sandbox",
    "seed",
    "set",
    "smbios",
    "trace",
    "uuid",
    "vga",
    "virtfs",
    "vnc",
    "watchdog-action",
];

/// A device of the command line, resolved when everything has been read.
struct Device {
    argument: String,
    model: String,
    properties: BTreeMap<String, String>,
}

#[derive(Default)]
struct Parser {
    machine: Machine,
    chardevs: BTreeMap<String, Channel>,
    serials: Vec<(String, String)>,
    devices: Vec<Device>,
    directories: BTreeMap<String, PathBuf>,
}

/// Reads the arguments behind the program's name.
pub(crate) fn parse(args: &[String]) -> Result<Command, ArgError> {
    let mut parser =
        Parser { machine: Machine { cpus: 1, memory: 128 << 20, ..Machine::default() }, ..Parser::default() };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let Some(option) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|o| !o.is_empty())
        else {
            return refuse(arg, format!("Could not open '{arg}': No such file or directory"));
        };
        if option == "version" {
            return Ok(Command::Version);
        }
        match option {
            "enable-kvm" => parser.machine.accel = Accel::Kvm,
            "no-reboot" => parser.machine.reset = Reset::Exit,
            _ => {}
        }
        if FLAGS.contains(&option) {
            continue;
        }
        if !IGNORED.contains(&option) && !Parser::TAKEN.contains(&option) {
            return refuse(arg, "invalid option");
        }
        let Some(value) = args.next() else { return refuse(arg, "requires an argument") };
        parser.option(option, value, format!("{arg} {value}"))?;
    }
    parser.finish().map(|machine| Command::Run(Box::new(machine)))
}

impl Parser {
    const TAKEN: &[&str] = &[
        "M", "accel", "append", "chardev", "device", "fsdev", "initrd", "kernel", "m", "machine", "qmp",
        "serial", "smp",
    ];

    fn option(&mut self, option: &str, value: &str, argument: String) -> Result<(), ArgError> {
        match option {
            "kernel" => self.machine.kernel = Some(value.into()),
            "initrd" => self.machine.initrd = Some(value.into()),
            "append" => self.machine.cmdline = value.chars().take(COMMAND_LINE_SIZE - 1).collect(),
            "accel" => self.machine.accel = accel(value, &argument)?,
            "machine" | "M" => {
                if let Some(names) = properties(value).1.get("accel") {
                    // `-machine` takes a list where `-accel` does not.
                    self.machine.accel = accel(names.split(':').next().unwrap_or(names), &argument)?;
                }
            }
            "m" => self.machine.memory = memory(value, &argument)?,
            "smp" => {
                let (first, properties) = properties(value);
                let cpus = properties.get("cpus").map_or(first.as_str(), String::as_str);
                match cpus.parse() {
                    Ok(cpus) if cpus > 0 => self.machine.cpus = cpus,
                    _ => return refuse(argument, "Parameter 'smp.cpus' expects integer"),
                }
            }
            "chardev" => self.chardev(value, argument)?,
            "serial" => self.serials.push((value.to_owned(), argument)),
            "qmp" => self.machine.qmp = Some(listener(value, &argument)?),
            "fsdev" => {
                let (_, mut properties) = properties(value);
                let id = properties.remove("id").unwrap_or_default();
                self.directories.insert(id, properties.remove("path").unwrap_or_default().into());
            }
            "device" => {
                let (model, properties) = properties(value);
                self.devices.push(Device { argument, model, properties });
            }
            _ => {}
        }
        Ok(())
    }

    fn chardev(&mut self, value: &str, argument: String) -> Result<(), ArgError> {
        let (kind, mut properties) = properties(value);
        let Some(id) = properties.remove("id") else {
            return refuse(argument, "chardev: no id specified");
        };
        let path = properties.remove("path").map(PathBuf::from);
        let target = match (kind.as_str(), path) {
            ("socket", Some(path)) => {
                if properties.remove("server").is_some_and(|word| word != "off") {
                    return refuse(argument, "the fake only connects; server=on is not for it");
                }
                for harmless in ["reconnect", "reconnect-ms", "wait", "logfile", "logappend"] {
                    properties.remove(harmless);
                }
                Target::Connect(path)
            }
            ("file", Some(path)) => match properties.remove("append") {
                Some(word) if word == "on" => Target::Append(path),
                _ => Target::File(path),
            },
            ("null", None) | ("stdio", None) => {
                properties.remove("signal");
                Target::Null
            }
            ("socket" | "file", None) => {
                return refuse(argument, format!("chardev: {kind}: no filename given"));
            }
            _ => return refuse(argument, format!("'{kind}' is not a valid char driver name")),
        };
        properties.remove("mux");
        if let Some(unknown) = properties.keys().next() {
            return refuse(argument, format!("Invalid parameter '{unknown}'"));
        }
        let channel = Channel { argument: argument.clone(), target };
        match self.chardevs.insert(id.clone(), channel) {
            None => Ok(()),
            Some(_) => refuse(argument, format!("Duplicate ID '{id}' for chardev")),
        }
    }

    fn finish(mut self) -> Result<Machine, ArgError> {
        let serials = std::mem::take(&mut self.serials);
        for (at, (value, argument)) in serials.into_iter().enumerate() {
            let channel = self.serial(&value, argument)?;
            if at == 0 {
                self.machine.console = channel;
            }
        }
        let devices = std::mem::take(&mut self.devices);
        let has_bus = devices.iter().any(|device| {
            matches!(device.model.as_str(), "virtio-serial" | "virtio-serial-pci" | "virtio-serial-device")
        });
        for device in devices.iter().filter(|device| device.model == "virtio-9p-pci") {
            let property = |name: &str| device.properties.get(name).cloned().unwrap_or_default();
            let Some(directory) = self.directories.get(&property("fsdev")) else {
                let reason = format!("9pfs device couldn't find fsdev with the id = {}", property("fsdev"));
                return refuse(&device.argument, reason);
            };
            self.machine.shares.insert(property("mount_tag"), directory.clone());
        }
        for device in devices.iter().filter(|device| device.model == "virtconsole") {
            let id = device.properties.get("chardev").map_or("", String::as_str);
            let Some(channel) = self.chardevs.get(id) else {
                return refuse(
                    &device.argument,
                    format!("Property 'virtconsole.chardev' can't find value '{id}'"),
                );
            };
            self.machine.console = Some(channel.clone());
        }
        for device in devices.iter().filter(|device| device.model == "virtserialport") {
            if !has_bus {
                let reason = "No 'virtio-serial-bus' bus found for device 'virtserialport'";
                return refuse(&device.argument, reason);
            }
            let id = device.properties.get("chardev").map_or("", String::as_str);
            let Some(channel) = self.chardevs.get(id) else {
                let reason = format!("Property 'virtserialport.chardev' can't find value '{id}'");
                return refuse(&device.argument, reason);
            };
            match device.properties.get("name").map(String::as_str) {
                Some(CONTROL_PORT) => self.machine.control = Some(channel.clone()),
                Some(OUTPUT_PORT) => self.machine.output = Some(channel.clone()),
                _ => {}
            }
        }
        let used: Vec<_> = [&self.machine.console, &self.machine.control, &self.machine.output]
            .into_iter()
            .flatten()
            .map(|channel| channel.argument.clone())
            .collect();
        for Channel { argument, target } in self.chardevs.values() {
            if let Target::File(path) = target
                && !used.contains(argument)
            {
                self.machine.truncates.push(path.clone());
            }
        }
        if self.machine.kernel.is_none() {
            if self.machine.initrd.is_some() {
                return refuse("-initrd", "only allowed with -kernel option");
            }
            if !self.machine.cmdline.is_empty() {
                return refuse("-append", "only allowed with -kernel option");
            }
        }
        Ok(self.machine)
    }

    fn serial(&self, value: &str, argument: String) -> Result<Option<Channel>, ArgError> {
        if let Some(id) = value.strip_prefix("chardev:") {
            return match self.chardevs.get(id) {
                Some(channel) => Ok(Some(channel.clone())),
                None => refuse(
                    argument,
                    format!("could not connect serial device to character backend 'chardev:{id}'"),
                ),
            };
        }
        if let Some(path) = value.strip_prefix("file:") {
            return Ok(Some(Channel { argument, target: Target::File(path.into()) }));
        }
        match value {
            "none" | "null" => Ok(None),
            _ => refuse(argument, format!("'{value}' is not a valid char driver")),
        }
    }
}

/// `first,key=value,flag` as QEMU reads it; a doubled comma stands for one.
fn properties(value: &str) -> (String, BTreeMap<String, String>) {
    const COMMA: char = '\0';
    let value = value.replace(",,", &COMMA.to_string());
    let plain = |text: &str| text.replace(COMMA, ",");
    let mut first = String::new();
    let mut properties = BTreeMap::new();
    for (at, word) in value.split(',').enumerate() {
        match word.split_once('=') {
            Some((key, value)) => properties.insert(plain(key), plain(value)),
            None if at == 0 => {
                first = plain(word);
                None
            }
            // Old short forms: `server`, `nowait`.
            None => match word.strip_prefix("no") {
                Some(key) => properties.insert(plain(key), "off".to_owned()),
                None => properties.insert(plain(word), "on".to_owned()),
            },
        };
    }
    (first, properties)
}

fn accel(value: &str, argument: &str) -> Result<Accel, ArgError> {
    match properties(value).0.as_str() {
        "tcg" => Ok(Accel::Tcg),
        "kvm" => Ok(Accel::Kvm),
        other => refuse(argument, format!("invalid accelerator {other}")),
    }
}

/// Bytes; MiB without suffix.
fn memory(value: &str, argument: &str) -> Result<u64, ArgError> {
    let (first, properties) = properties(value);
    let size = properties.get("size").unwrap_or(&first);
    let (digits, shift) = match size.char_indices().last() {
        Some((at, 'k' | 'K')) => (&size[..at], 10),
        Some((at, 'm' | 'M')) => (&size[..at], 20),
        Some((at, 'g' | 'G')) => (&size[..at], 30),
        Some((at, 'b' | 'B')) => (&size[..at], 0),
        _ => (size.as_str(), 20),
    };
    match digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << shift)) {
        Some(bytes) => Ok(bytes),
        None => refuse(argument, "Parameter 'size' expects a non-negative number below 2^64"),
    }
}

/// `unix:PATH,server=on,wait=off`.
fn listener(value: &str, argument: &str) -> Result<PathBuf, ArgError> {
    let Some(rest) = value.strip_prefix("unix:") else {
        return refuse(argument, "the fake speaks QMP only on `unix:PATH,server=on,wait=off`");
    };
    let (path, properties) = properties(rest);
    if properties.get("server").map(String::as_str) != Some("on") {
        return refuse(argument, "the fake speaks QMP only on `unix:PATH,server=on,wait=off`");
    }
    Ok(path.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn machine(line: &str) -> Machine {
        match parse(&words(line)) {
            Ok(Command::Run(machine)) => *machine,
            other => panic!("{other:?}"),
        }
    }

    fn error(line: &str) -> String {
        parse(&words(line)).expect_err("refused").to_string()
    }

    const CHANNELS: &str = "-chardev socket,id=c,path=/s/c -chardev socket,id=o,path=/s/o \
        -chardev socket,id=k,path=/s/k -device virtio-serial-pci -serial chardev:k \
        -device virtserialport,chardev=c,name=org.kregress.control \
        -device virtserialport,chardev=o,name=org.kregress.output";

    fn target(channel: Option<Channel>) -> Target {
        channel.expect("a channel").target
    }

    #[test]
    fn a_line_like_the_drivers_is_understood() {
        let machine = machine(&format!(
            "-nodefaults -no-user-config -display none -no-reboot -machine pc -accel kvm -cpu host -smp 2 -m 1G \
             -kernel /k -initrd /i -append console=ttyS0 {CHANNELS} -qmp unix:/s/q,server=on,wait=off \
             -device virtio-rng-pci -name guest,debug-threads=on"
        ));
        let control = machine.control.expect("a control port");
        assert_eq!(control.argument, "-chardev socket,id=c,path=/s/c");
        assert_eq!(control.target, Target::Connect("/s/c".into()));
        assert_eq!(target(machine.output), Target::Connect("/s/o".into()));
        assert_eq!(target(machine.console), Target::Connect("/s/k".into()));
        assert_eq!(machine.qmp, Some("/s/q".into()));
        assert_eq!((machine.kernel, machine.initrd), (Some("/k".into()), Some("/i".into())));
        assert_eq!((machine.cmdline.as_str(), machine.accel), ("console=ttyS0", Accel::Kvm));
        assert_eq!((machine.cpus, machine.memory, machine.reset), (2, 1 << 30, Reset::Exit));
    }

    #[test]
    fn the_version_is_asked_for_with_one_dash_or_two() {
        for line in ["-version", "--version", "-nodefaults --version -nonsense"] {
            assert_eq!(parse(&words(line)), Ok(Command::Version));
        }
    }

    #[test]
    fn a_port_is_known_by_its_name_and_not_by_its_chardev() {
        let machine = machine(
            "-chardev null,id=control -device virtio-serial -device virtserialport,chardev=control,name=other",
        );
        assert_eq!(machine.control, None);
    }

    #[test]
    fn memory_is_in_mebibytes_unless_it_says_otherwise() {
        for (line, bytes) in
            [("512", 512 << 20), ("2G", 2 << 30), ("size=64M", 64 << 20), ("1073741824B", 1 << 30)]
        {
            assert_eq!(machine(&format!("-m {line}")).memory, bytes, "{line}");
        }
    }

    #[test]
    fn the_last_accelerator_counts_and_a_machine_may_name_it() {
        assert_eq!(machine("-M q35,accel=kvm:tcg").accel, Accel::Kvm);
        assert_eq!(machine("-enable-kvm").accel, Accel::Kvm);
        assert_eq!(machine("-accel kvm -accel tcg,thread=multi").accel, Accel::Tcg);
        assert_eq!(machine("-nodefaults").accel, Accel::Tcg);
    }

    #[test]
    fn a_doubled_comma_is_part_of_a_path() {
        let machine = machine("-chardev file,id=k,path=/a,,b,append=on -serial chardev:k");
        assert_eq!(target(machine.console), Target::Append("/a,b".into()));
    }

    #[test]
    fn what_qemu_refuses_is_refused_in_its_words() {
        let cases = [
            ("-foo", "-foo: invalid option"),
            ("stray", "stray: Could not open 'stray': No such file or directory"),
            ("-m", "-m: requires an argument"),
            ("-m lots", "-m lots: Parameter 'size' expects a non-negative number below 2^64"),
            ("-smp x", "-smp x: Parameter 'smp.cpus' expects integer"),
            ("-accel kvm:tcg", "-accel kvm:tcg: invalid accelerator kvm:tcg"),
            ("-chardev socket,path=/x", "-chardev socket,path=/x: chardev: no id specified"),
            ("-chardev blah,id=x", "-chardev blah,id=x: 'blah' is not a valid char driver name"),
            ("-chardev null,id=x,b=1", "-chardev null,id=x,b=1: Invalid parameter 'b'"),
            ("-chardev null,id=x -chardev null,id=x", "-chardev null,id=x: Duplicate ID 'x' for chardev"),
            ("-serial foo", "-serial foo: 'foo' is not a valid char driver"),
            (
                "-serial chardev:k",
                "-serial chardev:k: could not connect serial device to character backend 'chardev:k'",
            ),
            (
                "-device virtserialport,chardev=x",
                "-device virtserialport,chardev=x: No 'virtio-serial-bus' bus found for device 'virtserialport'",
            ),
            (
                "-device virtio-serial -device virtserialport,chardev=x",
                "-device virtserialport,chardev=x: Property 'virtserialport.chardev' can't find value 'x'",
            ),
            ("-append x", "-append: only allowed with -kernel option"),
            ("-initrd x", "-initrd: only allowed with -kernel option"),
        ];
        for (line, expected) in cases {
            assert_eq!(error(line), expected);
        }
    }

    #[test]
    fn what_the_fake_cannot_do_is_refused_and_not_ignored() {
        assert!(error("-chardev socket,id=c,path=/c,server=on,wait=off").contains("server=on is not for it"));
        assert!(error("-qmp tcp:localhost:4444").contains("only on `unix:PATH"));
        assert!(error("-qmp unix:/q").contains("only on `unix:PATH"));
    }

    proptest! {
        #[test]
        fn no_words_make_the_parser_panic(
            words in prop::collection::vec("-{0,2}(chardev|device|m|smp|serial|[a-z,=0-9:]{0,12})", 0..8),
        ) {
            let _ = parse(&words);
        }
    }
}
