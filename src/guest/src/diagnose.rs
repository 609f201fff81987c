//! Explains a hang: what the kernel's namespace workers and the test's tasks
//! are doing at this moment, in the words of [`kregress_wire::stacks`].

use std::fmt::Write as _;
use std::fs;
use std::time::Duration;

use kregress_wire::stacks::{self, Task};

use crate::clock;
use crate::procfs::{self, Stat};

/// Longest report in bytes; a frame holds four times as much even if every
/// byte had to be escaped.
const LIMIT: usize = 200_000;

/// Time between two looks at a worker inside `cleanup_net`, and how many more
/// looks it gets to be seen getting on. On a loaded host `rcu_barrier` may take
/// a second under TCG.
const PAUSE: Duration = Duration::from_millis(300);
const LOOKS: u32 = 5;

/// A loop in which `cleanup_net` waits for references to a device: it wakes up
/// all the time and never gets on (net/core/dev.c; `_any` since 5.18).
const REFERENCES: &str = "netdev_wait_allrefs";

/// Whose the kernel log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// This run's.
    Ours,
    /// That of a host, where nothing is printed for our sake.
    Foreign,
}

/// Reports on the kernel's workers and on the processes below `test`, and has
/// the kernel print blocked tasks and all processors' stacks into its log.
pub(crate) fn report(test: Option<i32>, log: Log) -> String {
    // First, so that the log is complete when the answer arrives. `w`: blocked
    // tasks. `l`: a backtrace of every processor that is not idle.
    let mut text = String::new();
    let keys: &[&str] = match log {
        Log::Ours => &["w", "l"],
        Log::Foreign => &[],
    };
    for key in keys {
        if let Err(error) = fs::write("/proc/sysrq-trigger", key) {
            let _ = writeln!(text, "no sysrq-{key} in the kernel log: {error}; needs CONFIG_MAGIC_SYSRQ");
        }
    }
    let processes = procfs::processes();
    text.push_str(&workers(&processes));
    let Some(pid) = test else {
        text.push_str("no test is running\n");
        return text;
    };
    for process in procfs::descendants(&processes, pid) {
        for thread in procfs::threads(process.pid) {
            let look = Look::at(&format!("/proc/{}/task/{thread}", process.pid));
            text.push_str(&look.describe((process.pid, thread), None));
            if text.len() > LIMIT {
                text.push_str("more tasks are left out\n");
                return text;
            }
        }
    }
    text
}

/// Reports on the kernel's workers that clean up network namespaces.
pub(crate) fn netns_workers() -> String {
    workers(&procfs::processes())
}

/// The worker inside `cleanup_net` comes first: it is what a test waits for.
fn workers(processes: &[Stat]) -> String {
    let of_interest = processes.iter().filter(|stat| is_worker_of_interest(stat));
    let mut looks: Vec<(i32, Look)> = of_interest.map(|stat| (stat.pid, Look::of_worker(stat.pid))).collect();
    let mut text = String::new();
    // Its queue runs one work at a time.
    if let Some(at) = looks.iter().position(|(_, look)| look.is_cleanup()) {
        let (pid, first) = looks.remove(at);
        let (last, still) = watch(pid, &first);
        text.push_str(&last.describe((pid, pid), still));
    }
    for (pid, look) in looks {
        text.push_str(&look.describe((pid, pid), None));
    }
    if text.is_empty() {
        text.push_str("no kernel worker is busy with network namespaces or blocked\n");
    }
    text
}

/// Looks at a worker until it is seen to get on, or for so long that it does not
/// seem to.
fn watch(pid: i32, first: &Look) -> (Look, Option<Duration>) {
    let mut looks = 1;
    loop {
        clock::poll_interval(PAUSE);
        let later = Look::of_worker(pid);
        if !first.has_not_got_on(&later) {
            return (later, None);
        }
        if looks == LOOKS {
            return (later, Some(PAUSE * LOOKS));
        }
        looks += 1;
    }
}

/// A worker's name ends in the queue that it serves, `kworker/u4:1+netns`, and
/// with a minus after it is done (`wq_worker_comm`, kernel/workqueue.c). The
/// rescuer of the queue is named after it: `netns`, `kworker/R-netns` since 6.9;
/// it is idle nearly always.
fn is_worker_of_interest(stat: &Stat) -> bool {
    let of_netns = stat.comm.contains("netns") && stat.state != 'I';
    let blocked = stat.comm.starts_with("kworker/") && stat.state == 'D';
    stat.parent == 2 && (of_netns || blocked)
}

/// A task at one moment.
#[derive(Debug, Default)]
struct Look {
    comm: String,
    state: Option<char>,
    wchan: String,
    stack: String,
    /// How often it has given up a processor; empty if the kernel does not say.
    switches: String,
}

impl Look {
    fn at(directory: &str) -> Self {
        let read = |file: &str| fs::read_to_string(format!("{directory}/{file}")).unwrap_or_default();
        let stat = procfs::parse_stat(&read("stat"));
        Self {
            comm: read("comm").trim_end().to_owned(),
            state: stat.map(|stat| stat.state),
            wchan: read("wchan"),
            stack: read("stack"),
            switches: switches(&read("status")),
        }
    }

    fn of_worker(pid: i32) -> Self {
        Self::at(&format!("/proc/{pid}"))
    }

    fn describe(&self, (process, thread): (i32, i32), still: Option<Duration>) -> String {
        let (comm, wchan, stack) = (&self.comm, &self.wchan, &self.stack);
        Task { comm, process, thread, state: self.state.unwrap_or('?'), wchan, stack, still }.describe()
    }

    fn is_cleanup(&self) -> bool {
        stacks::cleanup(&self.describe((0, 0), None)).is_some()
    }

    /// Whether a task that was seen so later has done nothing meanwhile.
    fn has_not_got_on(&self, later: &Self) -> bool {
        let waits = |look: &Self| look.stack.contains(REFERENCES);
        let slept = self.state == Some('D') && !self.switches.is_empty() && self.switches == later.switches;
        later.is_cleanup() && (slept || waits(self) && waits(later))
    }
}

/// The lines of `/proc/PID/status` that count context switches.
fn switches(status: &str) -> String {
    status.lines().filter(|line| line.contains("ctxt_switches:")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STACK: &str = "[<0>] rcu_barrier+0x1b6/0x2f0\n[<0>] cleanup_net+0x1b6/0x2d0\n\
                         [<0>] process_one_work+0x156/0x300\n";

    fn look(switches: &str, stack: &str) -> Look {
        Look {
            comm: "kworker/u8:0+netns".into(),
            state: Some('D'),
            wchan: String::new(),
            stack: stack.into(),
            switches: switches.into(),
        }
    }

    #[test]
    fn a_worker_that_did_not_run_has_not_got_on() {
        assert!(look("5 0", STACK).has_not_got_on(&look("5 0", STACK)));
        assert!(!look("5 0", STACK).has_not_got_on(&look("6 0", STACK)));
        assert!(!look("5 0", STACK).has_not_got_on(&look("5 0", "")), "it has left cleanup_net");
        assert!(!look("", STACK).has_not_got_on(&look("", STACK)), "the kernel does not count");
        let busy = Look { state: Some('R'), ..look("5 0", STACK) };
        assert!(!busy.has_not_got_on(&look("5 0", STACK)), "it was running");
    }

    #[test]
    fn a_worker_that_wakes_up_to_wait_for_references_has_not_got_on() {
        let stack = format!("[<0>] msleep+0x2d/0x40\n[<0>] {REFERENCES}_any+0x1/0x2\n{STACK}");
        assert!(look("5 0", &stack).has_not_got_on(&look("9 0", &stack)));
        assert!(!look("5 0", &stack).has_not_got_on(&look("9 0", STACK)));
    }

    #[test]
    fn context_switches_are_found_in_the_status() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t12\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(switches(status), "voluntary_ctxt_switches:\t12nonvoluntary_ctxt_switches:\t3");
        assert_eq!(switches("Name:\tx\n"), "");
    }

    #[test]
    fn only_kernel_workers_of_interest_are_taken() {
        let stat = |comm: &str, state, parent| Stat { pid: 9, comm: comm.into(), state, parent };
        assert!(is_worker_of_interest(&stat("kworker/u4:1+netns", 'D', 2)));
        assert!(is_worker_of_interest(&stat("kworker/R-netns", 'R', 2)));
        assert!(!is_worker_of_interest(&stat("kworker/u4:1-netns", 'I', 2)));
        assert!(!is_worker_of_interest(&stat("kworker/R-netns", 'I', 2)));
        assert!(is_worker_of_interest(&stat("kworker/0:1+rcu_gp", 'D', 2)));
        assert!(!is_worker_of_interest(&stat("kworker/0:1-events", 'I', 2)));
        assert!(!is_worker_of_interest(&stat("netns", 'S', 1)));
    }

    #[test]
    fn a_report_on_this_process_names_its_threads() {
        let own = i32::try_from(std::process::id()).expect("pid");
        let text = Look::at("/proc/self").describe((own, own), None);
        assert!(text.starts_with("task "), "{text}");
        assert!(text.contains(&format!("(process {own}, thread {own}) state ")), "{text}");
    }
}
