//! Gives the virtual CPUs of a machine processors of their own, so that neither
//! the host's scheduler nor QEMU's other threads come between two readings of a
//! clock.

use std::path::Path;

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Where each thread of a machine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    /// A processor for each virtual CPU.
    cpus: Vec<usize>,
    /// Processors for all other threads.
    others: Vec<usize>,
}

/// Divides the processors that we may use: the last ones for virtual CPUs, since
/// interrupts tend to go to the first. None if there are too few.
fn divide(allowed: &[usize], cpus: usize) -> Option<Places> {
    let at = allowed.len().checked_sub(cpus)?;
    let (others, cpus) = allowed.split_at(at);
    // With none left over, the other threads share; they sleep while nothing is printed.
    let others = if others.is_empty() { cpus } else { others };
    Some(Places { cpus: cpus.to_vec(), others: others.to_vec() })
}

/// Which virtual CPU a thread is, by the name that QEMU gives it with
/// `debug-threads=on` (accel/tcg/tcg-accel-ops-mttcg.c, accel/kvm/kvm-accel-ops.c).
fn virtual_cpu(comm: &str) -> Option<usize> {
    let (number, kind) = comm.trim().strip_prefix("CPU ")?.split_once('/')?;
    matches!(kind, "TCG" | "KVM").then(|| number.parse().ok())?
}

fn set(processors: &[usize]) -> CpuSet {
    let mut set = CpuSet::new();
    processors.iter().for_each(|processor| set.set(*processor));
    set
}

/// Pins the threads of a QEMU process; says what was done, or why it was not.
pub(super) fn pin(pid: i32, cpus: u32) -> Result<String, String> {
    let own = sched_getaffinity(None).map_err(|error| format!("cannot read our own processors: {error}"))?;
    let allowed: Vec<usize> = (0..CpuSet::MAX_CPU).filter(|processor| own.is_set(*processor)).collect();
    let count = cpus as usize;
    let places = divide(&allowed, count)
        .ok_or_else(|| format!("{count} virtual CPUs do not fit on {} processors", allowed.len()))?;
    let tasks = Path::new("/proc").join(pid.to_string()).join("task");
    let entries = std::fs::read_dir(&tasks).map_err(|error| format!("cannot list its threads: {error}"))?;
    let mut pinned = 0;
    for entry in entries.flatten() {
        let thread = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        // A thread may end while we look.
        let Ok(comm) = std::fs::read_to_string(entry.path().join("comm")) else { continue };
        let processors = match virtual_cpu(&comm).and_then(|cpu| places.cpus.get(cpu)) {
            Some(processor) => {
                pinned += 1;
                std::slice::from_ref(processor)
            }
            None => &places.others,
        };
        if let Some(thread) = thread {
            sched_setaffinity(Some(thread), &set(processors))
                .map_err(|error| format!("cannot place its thread `{}`: {error}", comm.trim()))?;
        }
    }
    if pinned < count {
        return Err(format!("only {pinned} of its {count} virtual CPUs have a thread with a name"));
    }
    let names: Vec<String> = places.cpus.iter().map(ToString::to_string).collect();
    Ok(format!("its virtual CPUs have processor{} {}", if count == 1 { "" } else { "s" }, names.join(", ")))
}

/// The load of this host before anything was started, where it is not quiet.
#[must_use]
pub fn unquiet() -> Option<String> {
    /// Runnable tasks on average over a minute. From experience: a desktop without
    /// work is at 0.1 to 0.3.
    const QUIET: f64 = 0.5;
    let loadavg = std::fs::read_to_string("/proc/loadavg").ok()?;
    let load: f64 = loadavg.split_whitespace().next()?.parse().ok()?;
    (load > QUIET).then(|| {
        format!("the host is not quiet: its load is {load}\nhint: times will be noisier than they have to be")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_cpus_have_the_last_processors_and_nothing_else_runs_there() {
        let places = divide(&[0, 1, 4, 5], 2).expect("room");
        assert_eq!(places, Places { cpus: vec![4, 5], others: vec![0, 1] });
    }

    #[test]
    fn without_spare_processors_the_other_threads_share() {
        assert_eq!(divide(&[0, 1], 2), Some(Places { cpus: vec![0, 1], others: vec![0, 1] }));
        assert_eq!(divide(&[0], 2), None);
    }

    #[test]
    fn threads_are_told_by_their_names() {
        assert_eq!(virtual_cpu("CPU 0/KVM\n"), Some(0));
        assert_eq!(virtual_cpu("CPU 12/TCG\n"), Some(12));
        for other in ["qemu-system-x86", "call_rcu", "CPU x/TCG", "IO mon_iothread", "CPU 1/XEN"] {
            assert_eq!(virtual_cpu(other), None, "{other}");
        }
    }
}
