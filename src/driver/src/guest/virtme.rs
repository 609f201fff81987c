//! The virtme-ng command line of the second backend. Pure functions.
//!
//! vng brings the host's userland as the guest's root; our binary runs in it as
//! one command. Traps that shape this line (virtme-ng 1.42, seen by running it):
//!
//! - Its exit status and output are no verdict: verdicts come over our own
//!   virtio-serial port, added with `--qemu-opts`.
//! - With a KVM that opens but does not work it waits for ever: KVM is switched
//!   off unless our own probe saw a kernel boot.
//! - It sends the kernel log of the first UART to `/dev/null`: a virtio console of
//!   ours gets it, and `ignore_loglevel` overrides the `loglevel=0` that it puts on
//!   the command line.
//! - It truncates a regular file given as its stdout: it gets a pipe or a log
//!   that nobody else writes to.
//! - virtiofsd may or may not be there: 9p always is.

use std::ffi::OsStr;
use std::path::Path;

use super::qemu::{CMDLINE, ChannelPaths, ConsoleDevice, channel_args};
use crate::exec::{Cmd, shell_line};
use crate::model::Accel;

/// Argument that makes our binary the agent of such a guest.
const AGENT: &str = "__agent";

/// What a boot needs of virtme-ng.
#[derive(Debug, Clone)]
pub struct Launch<'a> {
    /// The `vng` program.
    pub vng: &'a Path,
    /// `PATH` of vng: it starts its parts by name, and they lie beside it.
    pub path: &'a OsStr,
    /// The QEMU binary that it shall use.
    pub qemu: &'a Path,
    /// Our own binary, at the same path in the guest.
    pub agent: &'a Path,
    /// The plan, at the same path in the guest.
    pub plan: &'a Path,
    /// Accelerator, decided.
    pub accel: Accel,
    /// Virtual CPUs.
    pub cpus: u32,
    /// Memory in bytes.
    pub memory: u64,
    /// A bzImage; vng takes no ELF file.
    pub kernel: &'a Path,
    /// Channels.
    pub channels: &'a ChannelPaths,
    /// Kernel entry's own words for the kernel command line.
    pub cmdline: &'a [String],
}

/// The kernel command line that is added to vng's own.
fn append(extra: &[String]) -> String {
    let first = ["console=hvc0", "ignore_loglevel"];
    let words: Vec<_> = first.into_iter().chain(CMDLINE).chain(extra.iter().map(String::as_str)).collect();
    words.join(" ")
}

/// The whole command.
#[must_use]
pub fn command(launch: &Launch<'_>) -> Cmd {
    let mebibytes = launch.memory >> 20;
    let agent = [launch.agent.to_string_lossy(), AGENT.into(), launch.plan.to_string_lossy()];
    let mut command = Cmd::new(launch.vng)
        .tree()
        .env("PATH", launch.path)
        .args(["--run".as_ref(), launch.kernel.as_os_str()])
        .args(["--qemu".as_ref(), launch.qemu.as_os_str()])
        .args(["--user", "root", "--force-9p", "--disable-microvm", "--disable-monitor"])
        .args(["--cwd".to_owned(), "/".to_owned()])
        .args(["--cpus".to_owned(), launch.cpus.to_string(), "--memory".to_owned(), format!("{mebibytes}M")])
        .arg(format!("--append={}", append(launch.cmdline)))
        .arg(format!("--qemu-opts={}", shell_line(&channel_args(launch.channels, ConsoleDevice::Virtio))));
    if launch.accel == Accel::Tcg {
        command = command.arg("--disable-kvm");
    }
    command.args(["--exec".to_owned(), shell_line(&agent)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(accel: Accel) -> Vec<String> {
        let channels = ChannelPaths::within(Path::new("/s"));
        let launch = Launch {
            vng: Path::new("vng"),
            path: OsStr::new("/venv/bin:/usr/bin"),
            qemu: Path::new("qemu-system-x86_64"),
            agent: Path::new("/bin/kregress"),
            plan: Path::new("/run dir/plan.json"),
            accel,
            cpus: 2,
            memory: 1 << 30,
            kernel: Path::new("/store/bzImage"),
            channels: &channels,
            cmdline: &[],
        };
        command(&launch).argv()
    }

    #[test]
    fn the_command_line_under_tcg() {
        insta::assert_snapshot!(argv(Accel::Tcg).join("\n"), @r#"
        vng
        --run
        /store/bzImage
        --qemu
        qemu-system-x86_64
        --user
        root
        --force-9p
        --disable-microvm
        --disable-monitor
        --cwd
        /
        --cpus
        2
        --memory
        1024M
        --append=console=hvc0 ignore_loglevel oops=panic nokaslr mitigations=off slab_nomerge no_timer_check printk.devkmsg=on softlockup_panic=1 unknown_nmi_panic=1 sysctl.net.core.netdev_unregister_timeout_secs=1 sysctl.net.core.fb_tunnels_only_for_init_net=1
        --qemu-opts=-chardev socket,id=kregress-console,path=/s/console -chardev socket,id=kregress-control,path=/s/control -chardev socket,id=kregress-output,path=/s/output -device virtio-serial-pci,id=kregress -device virtconsole,bus=kregress.0,chardev=kregress-console -device virtserialport,bus=kregress.0,chardev=kregress-control,name=org.kregress.control -device virtserialport,bus=kregress.0,chardev=kregress-output,name=org.kregress.output -qmp unix:/s/monitor,server=on,wait=off
        --disable-kvm
        --exec
        /bin/kregress __agent '/run dir/plan.json'
        "#);
    }

    #[test]
    fn kvm_is_switched_off_unless_it_was_seen_to_work() {
        assert!(argv(Accel::Tcg).contains(&"--disable-kvm".to_owned()));
        assert!(!argv(Accel::Kvm).contains(&"--disable-kvm".to_owned()));
    }
}
