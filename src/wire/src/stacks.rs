//! The text in which the guest tells of tasks and their stacks, for both sides:
//! how a task is written, and how the worker that cleans up network namespaces
//! is found again in it. Pure.
//!
//! A report has for each task a line that begins with `task `, and below it the
//! frames of its stack, innermost first, indented by four blanks.

use std::fmt::Write as _;
use std::time::Duration;

/// First word of a task's line.
const TASK: &str = "task ";

/// In front of each frame.
const INDENT: &str = "    ";

/// In the line of a task that was looked at twice and had not got on.
const STILL: &str = ", still there after ";

/// The work function that takes network namespaces down (net/core/net_namespace.c).
const CLEANUP: &str = "cleanup_net";

/// What calls the work functions (kernel/workqueue.c).
const CALLER: &str = "process_one_work";

/// First words of a message that says that [`CLEANUP`] is stuck.
const UNFINISHED: &str = "cleanup_net has not finished for ";

/// Functions that are named in one line.
const BRIEF: usize = 5;

/// What is known of a task.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// Its name; for a worker with the queue that it serves.
    pub comm: &'a str,
    /// Process id.
    pub process: i32,
    /// Thread id.
    pub thread: i32,
    /// `R`, `S`, `D` and so on.
    pub state: char,
    /// Function that it waits in; empty or `0` if it does not.
    pub wchan: &'a str,
    /// `/proc/PID/stack`.
    pub stack: &'a str,
    /// For how long it has been seen not to get on.
    pub still: Option<Duration>,
}

impl Task<'_> {
    /// The task as a part of a report.
    #[must_use]
    pub fn describe(&self) -> String {
        let Self { comm, process, thread, state, wchan, stack, still } = self;
        let mut text = format!("{TASK}{comm} (process {process}, thread {thread}) state {state}");
        if !matches!(*wchan, "" | "0") {
            let _ = write!(text, " in {wchan}");
        }
        if let Some(work) = work(stack.lines().map(symbol)) {
            let _ = write!(text, ", runs {work}");
        }
        if let Some(still) = still {
            let _ = write!(text, "{STILL}{still:.0?}");
        }
        text.push('\n');
        for frame in stack.lines() {
            let _ = writeln!(text, "{INDENT}{}", frame.trim_start().trim_start_matches("[<0>] "));
        }
        text
    }
}

/// The name in a frame such as `[<0>] rcu_barrier+0x1b6/0x2f0`.
fn symbol(frame: &str) -> &str {
    let frame = frame.trim_start().trim_start_matches("[<0>] ");
    frame.split(['+', ' ']).next().unwrap_or_default()
}

/// The function that a worker was given.
fn work<'a>(mut functions: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut inner = None;
    functions.find(|function| {
        let found = *function == CALLER;
        if !found {
            inner = Some(*function);
        }
        found
    })?;
    inner.filter(|function| !function.is_empty())
}

/// Whether something is known to have got on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Motion {
    /// It was looked at twice and had not.
    Still,
    /// It had, or was looked at once.
    Unknown,
}

/// The worker that cleans up network namespaces, as a report has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleanup<'a> {
    /// Innermost first, `cleanup_net` last.
    pub functions: Vec<&'a str>,
    /// Whether it gets on.
    pub motion: Motion,
}

/// Finds the worker that is inside `cleanup_net`.
#[must_use]
pub fn cleanup(report: &str) -> Option<Cleanup<'_>> {
    let mut motion = Motion::Unknown;
    let mut functions = Vec::new();
    for line in report.lines() {
        match line.strip_prefix(INDENT) {
            Some(frame) => {
                functions.push(symbol(frame));
                if functions.last() == Some(&CLEANUP) {
                    return Some(Cleanup { functions, motion });
                }
            }
            None => {
                let still = line.starts_with(TASK) && line.contains(STILL);
                motion = if still { Motion::Still } else { Motion::Unknown };
                functions.clear();
            }
        }
    }
    None
}

/// Whether a stack, innermost first, is that of a worker inside `cleanup_net`.
#[must_use]
pub fn is_cleanup<S: AsRef<str>>(stack: &[S]) -> bool {
    stack.iter().any(|function| function.as_ref() == CLEANUP)
}

/// The first line of a failure whose cause is a `cleanup_net` that is stuck.
/// Guest and host say it in the same words, whoever notices first.
#[must_use]
pub fn unfinished<S: AsRef<str>>(waited: Duration, stack: &[S]) -> String {
    let end = stack.iter().position(|function| function.as_ref() == CLEANUP).map_or(stack.len(), |at| at + 1);
    format!("{UNFINISHED}{waited:.0?}: it sits in {}", chain(&stack[..end]))
}

/// Whether a message says what [`unfinished`] does.
#[must_use]
pub fn is_unfinished(message: &str) -> bool {
    message.starts_with(UNFINISHED)
}

/// The innermost functions in one line.
#[must_use]
pub fn chain<S: AsRef<str>>(functions: &[S]) -> String {
    functions.iter().take(BRIEF).map(AsRef::as_ref).collect::<Vec<_>>().join(" < ")
}

/// The innermost functions of the report's first stack; none without a stack.
#[must_use]
pub fn brief(report: &str) -> Option<String> {
    let frames = report.lines().skip_while(|line| !line.starts_with(INDENT));
    let frames: Vec<&str> =
        frames.map_while(|line| line.strip_prefix(INDENT)).map(symbol).take(BRIEF).collect();
    (!frames.is_empty()).then(|| chain(&frames))
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

    const WORKER: Task<'_> = Task {
        comm: "kworker/u8:0+netns",
        process: 12,
        thread: 12,
        state: 'D',
        wchan: "rcu_barrier",
        stack: STACK,
        still: None,
    };

    #[test]
    fn a_worker_is_described_with_its_work_and_its_stack() {
        let text = WORKER.describe();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "task kworker/u8:0+netns (process 12, thread 12) state D in rcu_barrier, runs cleanup_net"
        );
        assert_eq!(lines[1], "    rcu_barrier+0x1b6/0x2f0");
        assert_eq!(lines.len(), 8);
    }

    #[test]
    fn a_task_that_runs_has_neither_a_place_nor_a_stack() {
        let task =
            Task { comm: "guest", process: 7, thread: 9, state: 'R', wchan: "0", stack: "", still: None };
        assert_eq!(task.describe(), "task guest (process 7, thread 9) state R\n");
    }

    #[test]
    fn the_worker_inside_cleanup_net_is_found_behind_other_tasks() {
        let other = Task { comm: "ip", wchan: "", stack: "[<0>] rtnl_lock+0x1/0x2\n", ..WORKER };
        let still = Task { still: Some(Duration::from_millis(300)), ..WORKER };
        let report = format!("no test is running\n{}{}", other.describe(), still.describe());
        let found = cleanup(&report).expect("the worker");
        assert_eq!(found, Cleanup { functions: vec!["rcu_barrier", "cleanup_net"], motion: Motion::Still });
        let report = format!("{}{}", still.describe().replace("cleanup_net", "other"), WORKER.describe());
        assert_eq!(cleanup(&report).map(|found| found.motion), Some(Motion::Unknown));
        assert_eq!(cleanup(&other.describe()), None);
    }

    #[test]
    fn a_stuck_cleanup_is_told_with_the_functions_up_to_it() {
        let stack = ["rcu_barrier", "netdev_run_todo", "cleanup_net", "process_one_work"];
        let text = unfinished(Duration::from_secs(60), &stack);
        assert_eq!(
            text,
            "cleanup_net has not finished for 60s: it sits in rcu_barrier < netdev_run_todo < cleanup_net"
        );
        assert!(is_unfinished(&text));
        assert!(!is_unfinished("expected 1, seen 2"));
    }

    #[test]
    fn the_brief_form_names_the_innermost_functions() {
        assert_eq!(
            brief(&WORKER.describe()).as_deref(),
            Some("rcu_barrier < cleanup_net < process_one_work < worker_thread < kthread")
        );
        assert_eq!(brief("task x\n"), None);
    }

    #[test]
    fn text_that_is_no_report_holds_no_worker() {
        for text in ["", "\n\n", "    ", "cleanup_net", "    cleanup_net_x+0x1/0x2"] {
            assert_eq!(cleanup(text), None, "{text:?}");
        }
    }
}
