//! Explains a hang: what the test's tasks and the kernel's namespace workers
//! are doing at this moment.

use std::fmt::Write as _;
use std::fs;

use crate::procfs::{self, Stat};

/// Longest report in bytes; a frame holds four times as much even if every
/// byte had to be escaped.
const LIMIT: usize = 200_000;

/// Whose the kernel log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Log {
    /// This run's.
    Ours,
    /// That of a host, where nothing is printed for our sake.
    Foreign,
}

/// Reports on the processes below `test` and on the kernel's workers, and has
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
    let Some(pid) = test else {
        text.push_str("no test is running\n");
        return text + &workers(&processes);
    };
    for process in procfs::descendants(&processes, pid) {
        for thread in procfs::threads(process.pid) {
            text.push_str(&task(&format!("/proc/{}/task/{thread}", process.pid), process.pid, thread));
            if text.len() > LIMIT {
                text.push_str("more tasks are left out\n");
                return text;
            }
        }
    }
    text + &workers(&processes)
}

/// Reports on the kernel's workers that clean up network namespaces.
pub(crate) fn netns_workers() -> String {
    workers(&procfs::processes())
}

fn workers(processes: &[Stat]) -> String {
    let mut text = String::new();
    for worker in processes.iter().filter(|stat| is_worker_of_interest(stat)) {
        text.push_str(&task(&format!("/proc/{}", worker.pid), worker.pid, worker.pid));
    }
    if text.is_empty() {
        text.push_str("no kernel worker is busy with network namespaces or blocked\n");
    }
    text
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

/// One task: its name and state, where it waits, its stack in the kernel.
fn task(directory: &str, pid: i32, thread: i32) -> String {
    let read = |file: &str| fs::read_to_string(format!("{directory}/{file}")).unwrap_or_default();
    let stat = procfs::parse_stat(&read("stat"));
    let comm = read("comm");
    let state = stat.map_or('?', |stat| stat.state);
    let wchan = read("wchan");
    let stack = read("stack");
    describe(comm.trim_end(), (pid, thread), state, &wchan, &stack)
}

fn describe(comm: &str, (pid, thread): (i32, i32), state: char, wchan: &str, stack: &str) -> String {
    let mut text = format!("task {comm} (process {pid}, thread {thread}) state {state}");
    if !matches!(wchan, "" | "0") {
        let _ = write!(text, " in {wchan}");
    }
    text.push('\n');
    for frame in stack.lines() {
        let _ = writeln!(text, "    {}", frame.trim_start_matches("[<0>] "));
    }
    text
}

/// The functions of the innermost frames of a report's first stack that say
/// something, for a message of one line.
pub(crate) fn brief(report: &str) -> String {
    let frames: Vec<&str> = report
        .lines()
        .skip_while(|line| !line.starts_with("    "))
        .take_while(|line| line.starts_with("    "))
        .filter_map(|line| line.trim().split('+').next())
        .take(5)
        .collect();
    if frames.is_empty() { "no stack".into() } else { frames.join(" < ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From 6.12.117 with a drain under way.
    const STACK: &str = "\
[<0>] rcu_barrier+0x1b6/0x2f0
[<0>] cleanup_net+0x1b6/0x2d0
[<0>] process_one_work+0x156/0x300
[<0>] worker_thread+0x184/0x2e0
[<0>] kthread+0xac/0xe0
[<0>] ret_from_fork+0x28/0x40
[<0>] ret_from_fork_asm+0x11/0x20
";

    #[test]
    fn a_task_is_described_with_its_stack() {
        let text = describe("kworker/u8:0+netns", (12, 12), 'D', "rcu_barrier", STACK);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "task kworker/u8:0+netns (process 12, thread 12) state D in rcu_barrier");
        assert_eq!(lines[1], "    rcu_barrier+0x1b6/0x2f0");
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn a_task_that_runs_has_no_place_to_wait_in() {
        assert_eq!(describe("guest", (7, 9), 'R', "0", ""), "task guest (process 7, thread 9) state R\n");
    }

    #[test]
    fn the_brief_form_names_the_innermost_functions() {
        let text = describe("kworker/u8:0+netns", (12, 12), 'D', "", STACK);
        assert_eq!(brief(&text), "rcu_barrier < cleanup_net < process_one_work < worker_thread < kthread");
        assert_eq!(brief("task x\n"), "no stack");
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
        let text = task("/proc/self", own, own);
        assert!(text.starts_with("task "), "{text}");
        assert!(text.contains(&format!("(process {own}, thread {own}) state ")), "{text}");
    }
}
