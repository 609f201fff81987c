//! The QEMU command line of the default backend. Pure functions.

use std::path::{Path, PathBuf};

use kregress_wire::{CONTROL_PORT, Carrier, OUTPUT_PORT};

use crate::exec::Cmd;
use crate::model::Accel;

/// Oldest QEMU that we drive: the first with `-accel` properties, socket
/// chardevs by path and PVH entry as we use them, and the oldest that we test.
pub const OLDEST: (u32, u32) = (6, 2);

/// Channels of one boot: no TCP port, no name that a second run could take. They
/// are unix sockets on which we listen, or files that QEMU writes; the monitor is a
/// socket in any case, on which QEMU listens.
#[derive(Debug, Clone)]
pub struct ChannelPaths {
    /// Frames.
    pub control: PathBuf,
    /// Raw output of tests.
    pub output: PathBuf,
    /// Kernel log.
    pub console: PathBuf,
    /// QEMU's monitor, on which QEMU listens. Only a guest over its limit makes
    /// us connect.
    pub monitor: PathBuf,
}

impl ChannelPaths {
    /// The channels in a directory of their own.
    #[must_use]
    pub fn within(dir: &Path) -> Self {
        let path = |name: &str| dir.join(name);
        Self {
            control: path("control"),
            output: path("output"),
            console: path("console"),
            monitor: path("monitor"),
        }
    }
}

/// What a boot needs of QEMU.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The QEMU binary.
    pub qemu: &'a Path,
    /// Accelerator, decided.
    pub accel: Accel,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// Bootable image.
    pub kernel: &'a Path,
    /// The guest image.
    pub initrd: &'a Path,
    /// Channels.
    pub channels: &'a ChannelPaths,
    /// Kernel entry's own words for the kernel command line.
    pub cmdline: &'a [String],
    /// Of whatever QEMU draws at random; in virtual time only.
    pub seed: u64,
}

/// What carries the channels of a machine with this accelerator. In virtual time it
/// is UARTs, without any virtio device: the completion of a request depends on when
/// QEMU's other threads run, and the mere presence of a virtio-serial device showed
/// in the guest's clock (52.58 against 52.67 ms, QEMU 7.2).
#[must_use]
pub fn carrier(accel: Accel) -> Carrier {
    match accel {
        Accel::Icount => Carrier::Uart,
        Accel::Kvm | Accel::Tcg | Accel::Native => Carrier::VirtioSerial,
    }
}

/// What every guest has on its kernel command line.
///
/// `panic=-1` with `-no-reboot` turns a panic into QEMU's end at once;
/// `oops=panic` keeps a wounded kernel from giving verdicts. `nokaslr` and
/// `mitigations=off` take away differences between boots. `slab_nomerge` keeps
/// net_namespace a slab of its own. `no_timer_check`: on a loaded host TCG
/// misses the kernel's test of the timer interrupt, which then complains of the
/// BIOS. The sysctl makes a leaked device reference shout after a second rather
/// than ten.
pub(super) const CMDLINE: [&str; 10] = [
    "oops=panic",
    "nokaslr",
    "mitigations=off",
    "slab_nomerge",
    "no_timer_check",
    "printk.devkmsg=on",
    "softlockup_panic=1",
    "unknown_nmi_panic=1",
    "sysctl.net.core.netdev_unregister_timeout_secs=1",
    // Tunnel drivers would put nine devices into every namespace: dressing, not the body.
    "sysctl.net.core.fb_tunnels_only_for_init_net=1",
];

/// What a guest in virtual time has in addition: nothing that the processor or the
/// boot loader calls random, and the three UARTs whatever the kernel would probe.
const OF_VIRTUAL_TIME: [&str; 3] = ["random.trust_cpu=off", "random.trust_bootloader=off", "8250.nr_uarts=4"];

fn kernel_cmdline(accel: Accel, extra: &[String]) -> String {
    // Level 8: lockdep says at level 7 that its tables are full.
    let first = ["console=ttyS0", "loglevel=8", "panic=-1"];
    let virtual_time = match accel {
        Accel::Icount => &OF_VIRTUAL_TIME[..],
        Accel::Kvm | Accel::Tcg | Accel::Native => &[],
    };
    let ours = first.into_iter().chain(CMDLINE).chain(virtual_time.iter().copied());
    let words: Vec<_> = ours.chain(extra.iter().map(String::as_str)).collect();
    words.join(" ")
}

/// Device that carries the kernel log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConsoleDevice {
    /// The first UART, which works from the first line of the kernel on.
    Uart,
    /// A virtio console, for machines whose first UART is not ours: the 8250
    /// driver registers one console only. It shows the whole log, but only once
    /// the kernel has found it.
    Virtio,
}

/// A path as a value of an option: a comma is doubled (qemu(1)).
fn value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// Options that attach our channels to UARTs, in the order of their numbers. Files
/// take every byte at once; a socket that is full would make the guest wait.
fn uart_args(channels: &ChannelPaths) -> Vec<String> {
    let of = |id: &str, path: &Path| {
        let chardev = format!("file,id={id},path={}", value(path));
        ["-chardev".to_owned(), chardev, "-serial".to_owned(), format!("chardev:{id}")]
    };
    let mut args = Vec::new();
    args.extend(of("kregress-console", &channels.console));
    args.extend(of("kregress-control", &channels.control));
    args.extend(of("kregress-output", &channels.output));
    args.extend(monitor_args(channels));
    args
}

fn monitor_args(channels: &ChannelPaths) -> [String; 2] {
    ["-qmp".to_owned(), format!("unix:{},server=on,wait=off", value(&channels.monitor))]
}

/// Options that attach our channels to virtio-serial ports.
#[must_use]
pub fn channel_args(channels: &ChannelPaths, console: ConsoleDevice) -> Vec<String> {
    let chardev =
        |id: &str, path: &Path| ["-chardev".to_owned(), format!("socket,id={id},path={}", value(path))];
    let port = |id: &str, name: &str| {
        ["-device".to_owned(), format!("virtserialport,bus=kregress.0,chardev={id},name={name}")]
    };
    let mut args = Vec::new();
    args.extend(chardev("kregress-console", &channels.console));
    if console == ConsoleDevice::Uart {
        args.extend(["-serial", "chardev:kregress-console"].map(str::to_owned));
    }
    args.extend(chardev("kregress-control", &channels.control));
    args.extend(chardev("kregress-output", &channels.output));
    args.extend(["-device", "virtio-serial-pci,id=kregress"].map(str::to_owned));
    if console == ConsoleDevice::Virtio {
        args.extend(["-device", "virtconsole,bus=kregress.0,chardev=kregress-console"].map(str::to_owned));
    }
    args.extend(port("kregress-control", CONTROL_PORT));
    args.extend(port("kregress-output", OUTPUT_PORT));
    args.extend(monitor_args(channels));
    args
}

/// Options of the clock, and what belongs to it. Virtual time: an instruction takes
/// a nanosecond, time passes for nobody while nothing runs (`sleep=off`), the date is
/// always the same, and QEMU's own random numbers come from a seed. The CPU model
/// is fixed, so that hosts do not differ.
///
/// `rr=record` is there for its lock, and its record goes to nobody: QEMU's main loop
/// moves the clock on when every CPU has halted, and a CPU is marked as halted (`do_hlt`
/// in target/i386/tcg/sysemu/misc_helper.c) before its last instructions are counted
/// (`icount_process_data` in accel/tcg/tcg-accel-ops-icount.c). Where the main loop
/// runs in between (`icount_start_warp_timer` in softmmu/icount.c), the clock is that
/// many instructions ahead for ever. While it records, `replay_mutex_lock` keeps the main
/// loop out from the first instruction of a slice until its last is counted.
fn clock_args(launch: &Launch<'_>) -> Vec<String> {
    let (accel, cpu) = match launch.accel {
        Accel::Kvm => ("kvm", "host"),
        Accel::Icount => ("tcg", "qemu64"),
        // Distributions that compile for x86-64-v3 need more than qemu64.
        // Never native: there is no QEMU then.
        Accel::Tcg | Accel::Native => ("tcg", "max"),
    };
    let mut args = ["-accel", accel, "-cpu", cpu].map(str::to_owned).to_vec();
    if launch.accel == Accel::Icount {
        args.extend(["-icount", "shift=0,sleep=off,rr=record,rrfile=/dev/null"].map(str::to_owned));
        args.extend(["-rtc", "base=2026-01-01T00:00:00,clock=vm"].map(str::to_owned));
        args.extend(["-seed".to_owned(), launch.seed.to_string()]);
    }
    args
}

/// The whole command.
#[must_use]
pub fn command(launch: &Launch<'_>) -> Cmd {
    let mebibytes = launch.memory >> 20;
    let fixed = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"];
    let command = Cmd::new(launch.qemu)
        .args(fixed)
        // Threads with names can be told apart and pinned.
        .args(["-name", "kregress,debug-threads=on"])
        .args(["-machine", "pc"])
        .args(clock_args(launch))
        .args(["-smp".to_owned(), launch.cpus.to_string(), "-m".to_owned(), format!("{mebibytes}M")])
        .args(["-kernel".as_ref(), launch.kernel.as_os_str(), "-initrd".as_ref(), launch.initrd.as_os_str()])
        .args(["-append".to_owned(), kernel_cmdline(launch.accel, launch.cmdline)]);
    match carrier(launch.accel) {
        Carrier::VirtioSerial => {
            let channels = channel_args(launch.channels, ConsoleDevice::Uart);
            command.args(channels).args(["-device", "virtio-rng-pci"])
        }
        Carrier::Uart => command.args(uart_args(launch.channels)),
    }
}

/// Version in the output of `qemu-system-x86_64 --version`.
#[must_use]
pub fn parse_version(output: &str) -> Option<(u32, u32)> {
    let version = output.lines().next()?.split_once("version ")?.1;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(accel: Accel, cmdline: &[String]) -> String {
        let channels = ChannelPaths::within(Path::new("/s,1"));
        let launch = Launch {
            qemu: Path::new("qemu-system-x86_64"),
            accel,
            cpus: 2,
            memory: 1 << 30,
            kernel: Path::new("/store/vmlinux"),
            initrd: Path::new("/run/initrd"),
            channels: &channels,
            cmdline,
            seed: 17,
        };
        command(&launch).argv().join("\n")
    }

    #[test]
    fn the_command_line_under_tcg() {
        insta::assert_snapshot!(line(Accel::Tcg, &["quiet".to_owned()]), @r#"
        qemu-system-x86_64
        -nodefaults
        -no-user-config
        -display
        none
        -no-reboot
        -name
        kregress,debug-threads=on
        -machine
        pc
        -accel
        tcg
        -cpu
        max
        -smp
        2
        -m
        1024M
        -kernel
        /store/vmlinux
        -initrd
        /run/initrd
        -append
        console=ttyS0 loglevel=8 panic=-1 oops=panic nokaslr mitigations=off slab_nomerge no_timer_check printk.devkmsg=on softlockup_panic=1 unknown_nmi_panic=1 sysctl.net.core.netdev_unregister_timeout_secs=1 sysctl.net.core.fb_tunnels_only_for_init_net=1 quiet
        -chardev
        socket,id=kregress-console,path=/s,,1/console
        -serial
        chardev:kregress-console
        -chardev
        socket,id=kregress-control,path=/s,,1/control
        -chardev
        socket,id=kregress-output,path=/s,,1/output
        -device
        virtio-serial-pci,id=kregress
        -device
        virtserialport,bus=kregress.0,chardev=kregress-control,name=org.kregress.control
        -device
        virtserialport,bus=kregress.0,chardev=kregress-output,name=org.kregress.output
        -qmp
        unix:/s,,1/monitor,server=on,wait=off
        -device
        virtio-rng-pci
        "#);
    }

    #[test]
    fn kvm_takes_the_hosts_cpu() {
        let line = line(Accel::Kvm, &[]);
        assert!(line.contains("-accel\nkvm\n-cpu\nhost\n"), "{line}");
    }

    #[test]
    fn versions_of_qemu_are_read() {
        let debian = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright (c) ...";
        assert_eq!(parse_version(debian), Some((7, 2)));
        assert_eq!(parse_version("QEMU emulator version 10.0.2"), Some((10, 0)));
        assert_eq!(parse_version("something else"), None);
    }
}
