//! The guest from its first boot message to its end, as its script has it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use kregress::clock;
use kregress_wire::{CONTROL_PORT, MARKER, PLAN_PATH, Plan};

use crate::args::{Accel, Reset};
use crate::link::Link;
use crate::log::Log;
use crate::qmp::Cpus;
use crate::script::{Boot, Script};
use crate::{cpio, exec_word, session, splats};

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The guest powered off, or panicked with `panic=-1` and `-no-reboot`: QEMU
    /// exits with 0 in either case.
    Off,
    /// Nothing happens any more.
    Hang,
    /// The same, and SIGTERM does not end it.
    HangStubborn,
    /// QEMU exits with this code.
    Exit(u8),
    /// QEMU dies of SIGKILL.
    Kill,
}

/// The machine as the guest sees it.
pub(crate) struct Guest {
    pub(crate) script: Script,
    pub(crate) kernel: PathBuf,
    pub(crate) cmdline: String,
    /// Directories of the host by their tags.
    pub(crate) shares: BTreeMap<String, PathBuf>,
    pub(crate) accel: Accel,
    pub(crate) processors: u32,
    pub(crate) memory: u64,
    pub(crate) reset: Reset,
    pub(crate) initrd: Option<Vec<u8>>,
    pub(crate) log: Log,
    pub(crate) control: Option<Link>,
    pub(crate) requests: Option<Box<dyn Read + Send>>,
    pub(crate) output: Option<Box<dyn Write + Send>>,
    pub(crate) cpus: Arc<Cpus>,
    /// Where passes that were sent whole are written down.
    pub(crate) account: Option<PathBuf>,
}

impl Guest {
    /// Runs it. Its channels stay open as long as `self` lives.
    pub(crate) fn run(&mut self) -> End {
        let end = self.boot().and_then(|plan| session::hold(self, &plan)).unwrap_or_else(|end| end);
        if end == End::HangStubborn {
            crate::ignore_signals();
            self.cpus.ignore_nmi();
        }
        if matches!(end, End::Hang | End::HangStubborn) {
            self.cpus.freeze();
        }
        end
    }

    /// Boots up to the plan.
    fn boot(&mut self) -> Result<Plan, End> {
        let boot = self.script.boot.clone();
        match &boot {
            Boot::Silent => return Err(End::Hang),
            Boot::HangUnderKvm if self.accel == Accel::Kvm => return Err(End::Hang),
            _ => {}
        }
        let messages = self.boot_messages();
        let (first, rest) = messages.split_at(messages.len() / 2);
        self.log.print(&first.join("\n"));
        match boot {
            Boot::HangEarly => return Err(End::Hang),
            Boot::PanicEarly => return Err(self.panic("corrupted stack end detected inside scheduler")),
            _ => {}
        }
        self.log.advance(700_000);
        self.log.print(&rest.join("\n"));
        if boot == Boot::NoInitrdSupport {
            return Err(self.no_root());
        }
        let plan = self.find_plan()?;
        self.log.print("Run /init as init process");
        match boot {
            Boot::NoPort => {
                self.log.print(&format!(
                    "{MARKER}no virtio-serial port `{CONTROL_PORT}`: the kernel has no /sys/class/virtio-ports\n\
                     {MARKER}hint: it needs CONFIG_VIRTIO_CONSOLE=y and CONFIG_VIRTIO_PCI=y, or these modules in the guest image"
                ));
                return Err(self.power_off());
            }
            Boot::PowerOff => return Err(self.power_off()),
            Boot::Slow(ms) => {
                clock::poll_interval(Duration::from_millis(ms));
                self.log.advance(ms * 1000);
            }
            _ => {}
        }
        Ok(plan)
    }

    fn boot_messages(&self) -> Vec<String> {
        let Script { release, .. } = &self.script;
        let (clock, processors, cmdline) = (self.clocksource(), self.processors, &self.cmdline);
        let kib = self.memory >> 10;
        let text = format!(
            "Linux version {release} (kregress@kregress) (gcc (Debian 12.2.0-14+deb12u1) 12.2.0) #1 SMP PREEMPT_DYNAMIC\n\
             Command line: {cmdline}\n\
             x86/fpu: x87 FPU will use FXSAVE\n\
             BIOS-provided physical RAM map:\n\
             DMI: QEMU Standard PC (i440FX + PIIX, 1996), BIOS 1.16.3-debian-1.16.3-2 04/01/2014\n\
             Memory: {kib}K/{kib}K available (14336K kernel code, 2150K rwdata, 4096K rodata, 1024K init, 512K bss)\n\
             rcu: Preemptible hierarchical RCU implementation.\n\
             Spectre V2 : Mitigation: Retpolines\n\
             smp: Bringing up secondary CPUs ...\n\
             smp: Brought up 1 node, {processors} CPUs\n\
             NET: Registered PF_NETLINK/PF_ROUTE protocol family\n\
             clocksource: Switched to clocksource {clock}\n\
             NET: Registered PF_INET protocol family\n\
             TCP: Hash tables configured (established 8192 bind 8192)\n\
             NET: Registered PF_UNIX/PF_LOCAL protocol family\n\
             Unpacking initramfs...\n\
             Serial: 8250/16550 driver, 4 ports, IRQ sharing enabled\n\
             NET: Registered PF_INET6 protocol family\n\
             NET: Registered PF_PACKET protocol family\n\
             Freeing unused kernel image (initmem) memory: 1024K"
        );
        text.lines().map(str::to_owned).collect()
    }

    pub(crate) fn clocksource(&self) -> &'static str {
        match self.accel {
            Accel::Kvm => "kvm-clock",
            Accel::Tcg => "tsc",
        }
    }

    fn find_plan(&self) -> Result<Plan, End> {
        let Some(initrd) = &self.initrd else { return self.plan_of_agent() };
        let find = |path| {
            cpio::find(initrd, path).map_err(|error| {
                self.log.print(&format!("Initramfs unpacking failed: {error}"));
                self.no_root()
            })
        };
        if find("init")?.is_none() {
            return Err(self.no_root());
        }
        let plan = find(PLAN_PATH.trim_start_matches('/'))?;
        let plan = plan.ok_or_else(|| "No such file or directory (os error 2)".to_owned());
        let plan = plan.and_then(|json| serde_json::from_slice(json).map_err(|error| error.to_string()));
        plan.map_err(|reason| {
            self.log.print(&format!("{MARKER}cannot read {PLAN_PATH}: {reason}"));
            self.power_off()
        })
    }

    /// The plan of a guest of virtme-ng, which has the files of the host: its init
    /// starts the agent that the kernel command line names.
    fn plan_of_agent(&self) -> Result<Plan, End> {
        if !self.cmdline.split_whitespace().any(|word| word.starts_with("rootfstype=")) {
            return Err(self.no_root());
        }
        if !self.cmdline.split_whitespace().any(|word| word.starts_with("init=")) {
            return Err(self.panic("No working init found.  Try passing init= option to kernel."));
        }
        let command = exec_word::find(&self.cmdline).unwrap_or_default();
        // In another root there is no libc that we could count on: whoever is there has
        // to bring all of his own.
        let other_root = self.cmdline.contains("virtme.guesttools");
        let (variables, command): (Vec<&String>, Vec<&String>) =
            command.iter().partition(|word| word.starts_with("LD_LIBRARY_PATH="));
        let brought = variables.iter().filter_map(|variable| variable.split_once('='));
        let brought: Vec<PathBuf> =
            brought.map(|(_, dir)| self.on_host(&format!("{dir}/libc.so.6"))).collect();
        if other_root && !brought.iter().any(|libc| libc.is_file()) {
            self.log.print("/bin/sh: /run/kregress/kregress: not found");
            return Err(self.power_off());
        }
        let command: Vec<&str> = command.iter().map(|word| word.as_str()).collect();
        let plan = match command.as_slice() {
            [agent, word, plan] if *word == "__agent" && self.on_host(agent).is_file() => {
                fs::read(self.on_host(plan))
            }
            _ => {
                self.log.print(&format!("virtme-ng-init: cannot run {command:?}"));
                return Err(self.power_off());
            }
        };
        let plan = plan.map_err(|error| error.to_string());
        let plan = plan.and_then(|json| serde_json::from_slice(&json).map_err(|error| error.to_string()));
        plan.map_err(|reason| {
            self.log.print(&format!("{MARKER}cannot read the plan: {reason}"));
            self.power_off()
        })
    }

    /// Where a file of a guest of virtme-ng really is: below a directory that its init
    /// mounts, or at the same place of the host. What is hidden there by a tmpfs is
    /// nowhere.
    fn on_host(&self, path: &str) -> PathBuf {
        for word in self.cmdline.split_whitespace() {
            let Some((at, below)) =
                word.strip_prefix("virtme_initmount").and_then(|word| word.split_once('='))
            else {
                continue;
            };
            let share = self.shares.get(&format!("virtme.initmount{at}"));
            if let (Some(share), Ok(rest)) = (share, Path::new(path).strip_prefix(below)) {
                return share.join(rest);
            }
        }
        match ["/run/", "/tmp/"].iter().any(|hidden| path.starts_with(hidden)) {
            true => PathBuf::new(),
            false => path.into(),
        }
    }

    pub(crate) fn power_off(&self) -> End {
        self.log.print("reboot: Power down");
        End::Off
    }

    pub(crate) fn panic(&self, cause: &str) -> End {
        self.log.print(&splats::panic(cause, &self.script.release));
        match (reboots_after_panic(&self.cmdline), self.reset) {
            (true, Reset::Exit) => End::Off,
            (true, Reset::Reboot) => {
                // Once is enough to be noticed.
                self.log.print(&self.boot_messages().join("\n"));
                End::Hang
            }
            (false, _) => End::Hang,
        }
    }

    fn no_root(&self) -> End {
        self.log.print(
            "VFS: Cannot open root device \"\" or unknown-block(0,0): error -6\n\
             Please append a correct \"root=\" boot option; here are the available partitions:",
        );
        self.panic("VFS: Unable to mount root fs on unknown-block(0,0)")
    }
}

/// Whether the kernel resets the machine when it has panicked: not without
/// `panic=` on its command line.
pub(crate) fn reboots_after_panic(cmdline: &str) -> bool {
    cmdline.split_whitespace().any(|word| word.strip_prefix("panic=").is_some_and(|seconds| seconds != "0"))
}
