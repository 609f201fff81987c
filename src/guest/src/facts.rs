//! The circumstances of a boot that belong beside every number measured in it.

use std::collections::BTreeMap;
use std::fs;

use kregress_wire::{Hello, Nonce, PROTOCOL};

use crate::{clock, features, procfs};

const CLOCK_SOURCE: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";

/// Facts that are the first line of a file.
const FILES: &[(&str, &str)] = &[
    ("cmdline", "/proc/cmdline"),
    ("clocksource", CLOCK_SOURCE),
    ("rcu-expedited", "/sys/kernel/rcu_expedited"),
    ("rcu-normal", "/sys/kernel/rcu_normal"),
    ("tainted", "/proc/sys/kernel/tainted"),
    // Decides how many tunnel devices every namespace is born with.
    ("fb-tunnels-only-for-init-net", "/proc/sys/net/core/fb_tunnels_only_for_init_net"),
    ("netdev-unregister-timeout-secs", "/proc/sys/net/core/netdev_unregister_timeout_secs"),
    ("transparent-hugepage", "/sys/kernel/mm/transparent_hugepage/enabled"),
    // PREEMPT_DYNAMIC kernels show the model in force.
    ("preempt", "/sys/kernel/debug/sched/preempt"),
];

/// Sets the kernel log up so that no marker of ours is lost.
pub(crate) fn prepare_kernel_log(facts: &mut BTreeMap<String, String>) {
    let settings = [
        // By default the kernel drops all but ten messages in five seconds. It
        // takes the word only with its line feed.
        ("printk-devkmsg", "/proc/sys/kernel/printk_devkmsg", "on\n"),
        // Markers are notices (5); `quiet` would keep them from the console.
        ("console-loglevel", "/proc/sys/kernel/printk", "7\n"),
    ];
    for (name, path, value) in settings {
        if let Err(error) = fs::write(path, value) {
            facts.insert(name.into(), format!("not set: {error}"));
        }
    }
}

/// The clock source in use. The kernel may change it in mid-session: the TSC is
/// calibrated for a second after boot.
pub(crate) fn clock_source() -> Option<String> {
    first_line(CLOCK_SOURCE)
}

/// The first message of the session.
pub(crate) fn hello(nonce: &Nonce, mut facts: BTreeMap<String, String>) -> Hello {
    collect(&mut facts);
    let uname = rustix::system::uname();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    Hello {
        protocol: PROTOCOL,
        nonce: nonce.clone(),
        kernel_release: uname.release().to_string_lossy().into_owned(),
        kernel_version: uname.version().to_string_lossy().into_owned(),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory_bytes: procfs::meminfo_bytes(&memory, "MemTotal").unwrap_or(0),
        uptime_ns: clock::monotonic_ns(),
        facts,
        features: features::probe(),
    }
}

fn collect(facts: &mut BTreeMap<String, String>) {
    for (name, path) in FILES {
        if let Some(line) = first_line(path) {
            facts.insert((*name).into(), line);
        }
    }
    facts.insert("hz".into(), hertz(clock::tick_ns()));
    if let Some(cpu) = cpu_model(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()) {
        facts.insert("cpu".into(), cpu);
    }
    facts.insert("mitigations".into(), mitigations());
}

fn first_line(path: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&fs::read(path).ok()?).into_owned();
    let line = text.lines().next()?.trim();
    (!line.is_empty()).then(|| line.to_owned())
}

/// `CONFIG_HZ` from the length of a tick. Lengths are rounded by the kernel, so
/// the result is too: 300 Hz has ticks of 3333333 ns.
fn hertz(tick_ns: u64) -> String {
    if tick_ns == 0 {
        return "unknown".into();
    }
    ((1_000_000_000 + tick_ns / 2) / tick_ns).to_string()
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find_map(|line| line.strip_prefix("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// What the kernel does against flaws of the processor, by flaw: these cost
/// time at every entry into the kernel.
fn mitigations() -> String {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else {
        return "unknown: the kernel lacks CONFIG_GENERIC_CPU_VULNERABILITIES".into();
    };
    let mut all: Vec<(String, String)> = entries
        .filter_map(|entry| {
            let path = entry.ok()?.path();
            let state = first_line(path.to_str()?)?;
            Some((path.file_name()?.to_str()?.to_owned(), state))
        })
        .collect();
    all.sort();
    summary(&all)
}

fn summary(flaws: &[(String, String)]) -> String {
    let active: Vec<String> = flaws
        .iter()
        .filter_map(|(flaw, state)| Some(format!("{flaw}: {}", state.strip_prefix("Mitigation: ")?)))
        .collect();
    if active.is_empty() { "none active".into() } else { active.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tick_tells_the_frequency() {
        let frequencies = [1_000_000, 4_000_000, 3_333_333, 10_000_000, 999_848].map(hertz);
        assert_eq!(frequencies, ["1000", "250", "300", "100", "1000"]);
        assert_eq!(hertz(0), "unknown");
    }

    #[test]
    fn only_active_mitigations_are_told() {
        let flaw = |name: &str, state: &str| (name.to_owned(), state.to_owned());
        let flaws = [
            flaw("l1tf", "Not affected"),
            flaw("meltdown", "Mitigation: PTI"),
            flaw("mds", "Vulnerable"),
            flaw("spectre_v2", "Mitigation: Retpolines; STIBP: disabled"),
        ];
        assert_eq!(summary(&flaws), "meltdown: PTI; spectre_v2: Retpolines; STIBP: disabled");
        assert_eq!(summary(&flaws[..1]), "none active");
    }

    #[test]
    fn the_processor_is_named_without_the_padding() {
        let text = "processor\t: 0\nmodel name\t: QEMU Virtual CPU version 2.5+\nmodel name\t: other\n";
        assert_eq!(cpu_model(text), Some("QEMU Virtual CPU version 2.5+".into()));
        assert_eq!(cpu_model(""), None);
    }

    #[test]
    fn a_hello_carries_the_nonce_and_the_protocol() {
        let nonce = Nonce::from_bytes([3; 16]);
        let hello = hello(&nonce, BTreeMap::from([("lo".to_owned(), "not up".to_owned())]));
        assert_eq!((hello.protocol, &hello.nonce), (PROTOCOL, &nonce));
        assert_eq!(hello.facts.get("lo").map(String::as_str), Some("not up"));
        assert!(hello.cpus > 0 && hello.memory_bytes > 0 && !hello.kernel_release.is_empty());
    }
}
