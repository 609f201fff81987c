//! Counts calls of a few kernel functions, by the task that makes them: the
//! function tracer in a trace instance of our own.
//!
//! Never together with a measurement of time.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};

use crate::alone::Alone;

use super::buffer::Buffer;
use super::line::{self, FUNCTION, Point};
use super::root;

/// Per processor, in KiB. A call takes 24 bytes.
const BUFFER_KB: &str = "1024";

/// The events that enclose a round of cleanup.
const EVENTS: [&str; 2] = ["workqueue_execute_start", "workqueue_execute_end"];

/// Whose calls are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// A task, by its thread number.
    Task(i32),
    /// Whoever runs `cleanup_net`, while it does.
    Cleanup,
}

/// Why nothing is counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CounterError {
    /// The kernel has no such thing; the text names the option that brings it.
    #[error("{0}")]
    Lacks(String),
    /// It has, and does not let us.
    #[error("{0}")]
    Failed(String),
}

/// Counts calls as long as it lives.
#[derive(Debug)]
pub(crate) struct Counter {
    buffer: Buffer,
    hooked: Vec<&'static str>,
    refused: Vec<&'static str>,
    tally: Tally,
}

impl Counter {
    /// Begins to count calls of those of `functions` that the kernel has.
    ///
    /// # Errors
    ///
    /// Says what the kernel lacks.
    pub(crate) fn start(functions: &[&'static str], caller: Caller) -> Result<Self, CounterError> {
        use CounterError::{Failed, Lacks};
        let root = root().map_err(Lacks)?;
        let tracers = fs::read_to_string(root.join("available_tracers")).unwrap_or_default();
        if !tracers.split_whitespace().any(|tracer| tracer == "function") {
            return Err(Lacks("no function tracer; needs CONFIG_FUNCTION_TRACER".into()));
        }
        if !root.join("set_ftrace_filter").exists() {
            return Err(Lacks("functions cannot be chosen; needs CONFIG_DYNAMIC_FTRACE".into()));
        }
        let buffer = Buffer::create(root, "calls", BUFFER_KB).map_err(Failed)?;
        let (hooked, refused, tally) = (Vec::new(), Vec::new(), Tally::new(caller));
        let mut counter = Self { buffer, hooked, refused, tally };
        for function in functions {
            // One that the kernel does not have, or has inlined, is refused.
            let mut filter = OpenOptions::new();
            let filter = filter.append(true).open(counter.buffer.file("set_ftrace_filter"));
            if filter.and_then(|mut file| file.write_all(function.as_bytes())).is_ok() {
                counter.hooked.push(*function);
            } else {
                counter.refused.push(*function);
            }
        }
        if counter.hooked.is_empty() {
            // With an empty filter everything would be traced.
            return Err(Failed(format!("the kernel can trace none of {}", functions.join(", "))));
        }
        if caller == Caller::Cleanup {
            for event in EVENTS {
                let event = format!("events/workqueue/{event}");
                // See `Instance::start`.
                let _ = counter
                    .buffer
                    .set(&format!("{event}/filter"), &format!("function.function == {FUNCTION}"));
                counter.buffer.set(&format!("{event}/enable"), "1").map_err(Failed)?;
            }
        }
        // Before the pipe is opened: a tracer that is being read cannot be changed.
        let alone = Alone::now();
        counter.buffer.set("current_tracer", "function").map_err(Failed)?;
        drop(alone);
        counter.buffer.open().map_err(Failed)?;
        Ok(counter)
    }

    /// The functions that are counted.
    pub(crate) fn functions(&self) -> &[&'static str] {
        &self.hooked
    }

    /// How calls are counted, and which are not.
    pub(crate) fn describe(&self) -> String {
        let hooked = format!("function tracer: {}", self.hooked.join(" "));
        match self.refused.as_slice() {
            [] => hooked,
            refused => format!("{hooked}; not traceable: {}", refused.join(" ")),
        }
    }

    /// Whether these are counted, without which the others say nothing.
    ///
    /// # Errors
    ///
    /// Names the one that the kernel does not let us trace.
    pub(crate) fn expect(&self, functions: &[&str]) -> Result<(), String> {
        match functions.iter().find(|function| !self.hooked.contains(function)) {
            None => Ok(()),
            Some(missing) => Err(format!("calls of `{missing}` cannot be counted: the tracer refused it")),
        }
    }

    /// Forgets what was counted so far.
    ///
    /// # Errors
    ///
    /// As [`Self::read`].
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        self.read()?;
        self.tally = Tally::new(self.tally.caller);
        Ok(())
    }

    /// What was counted since the last reset.
    ///
    /// # Errors
    ///
    /// Fails when the trace cannot be read, and when the kernel had to drop
    /// some of it.
    pub(crate) fn read(&mut self) -> io::Result<&Tally> {
        for line in self.buffer.lines()?.lines() {
            self.tally.push(line);
        }
        match self.tally.lost {
            true => Err(io::Error::other("the kernel dropped events: the buffer is too small")),
            false => Ok(&self.tally),
        }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        // A tracer that is being read cannot be changed.
        self.buffer.close();
        let _alone = Alone::now();
        let _ = self.buffer.set("current_tracer", "nop");
    }
}

/// Calls of one caller. Pure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    caller: Caller,
    calls: BTreeMap<String, u64>,
    /// Who is inside a round.
    cleaner: Option<i32>,
    begun: u64,
    ended: u64,
    lost: bool,
}

impl Tally {
    fn new(caller: Caller) -> Self {
        Self { caller, calls: BTreeMap::new(), cleaner: None, begun: 0, ended: 0, lost: false }
    }

    /// Calls of a function.
    pub(crate) fn calls(&self, function: &str) -> u64 {
        self.calls.get(function).copied().unwrap_or(0)
    }

    /// Rounds of cleanup that were begun, and that came to their end.
    pub(crate) fn rounds(&self) -> (u64, u64) {
        (self.begun, self.ended)
    }

    fn push(&mut self, text: &str) {
        match line::parse(text) {
            Some(Point::Lost) => self.lost = true,
            Some(Point::Started { .. }) => {
                self.begun += 1;
                self.cleaner = task(text);
            }
            // A round that was running when the count began has no start here.
            Some(Point::Ended(_)) if self.begun > self.ended => {
                self.ended += 1;
                self.cleaner = None;
            }
            Some(_) => {}
            None => {
                let ours = match self.caller {
                    Caller::Task(task) => Some(task),
                    Caller::Cleanup => self.cleaner,
                };
                if ours.is_some()
                    && ours == task(text)
                    && let Some(function) = called(text)
                {
                    *self.calls.entry(function.to_owned()).or_default() += 1;
                }
            }
        }
    }
}

/// The thread of a line: `comm-33 [000]`. A name may hold anything, so the last
/// bracket before the time counts.
pub(super) fn task(line: &str) -> Option<i32> {
    let head = line.split(": ").next()?;
    let (head, _) = head.rsplit_once('[')?;
    head.trim_end().rsplit_once('-')?.1.parse().ok()
}

/// The function of a line of the tracer: `12.345678: rtnl_lock <-caller`.
fn called(line: &str) -> Option<&str> {
    let (head, _) = line.rsplit_once(" <-")?;
    head.rsplit_once(": ").map(|(_, function)| function)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // Captured from an instance on 6.12 with `trace_clock` mono.
    const TRACE: &str = "\
     kworker/u8:0-12      [000] .....     0.900000: rtnl_lock <-linkwatch_event
     kworker/u8:0-12      [000] .....     0.911112: workqueue_execute_start: work struct 0: function cleanup_net
     kworker/u8:0-12      [000] .....     0.912000: synchronize_rcu_expedited <-ops_undo_list
            <...>-71      [001] .....     0.912100: rtnl_lock <-rtnetlink_rcv_msg
     kworker/u8:0-12      [000] .....     0.912200: rtnl_lock <-default_device_exit_batch
     kworker/u8:0-12      [001] .....     0.912300: rtnl_lock <-ip_tunnel_delete_nets
     kworker/u8:0-12      [001] .....     0.949846: workqueue_execute_end: work struct 0: function cleanup_net
     kworker/u8:0-12      [001] .....     0.949900: rtnl_lock <-linkwatch_event
";

    fn tally(caller: Caller, text: &str) -> Tally {
        let mut tally = Tally::new(caller);
        for line in text.lines() {
            tally.push(line);
        }
        tally
    }

    #[test]
    fn only_what_the_worker_calls_within_a_round_counts() {
        let tally = tally(Caller::Cleanup, TRACE);
        assert_eq!(tally.calls("rtnl_lock"), 2);
        assert_eq!(tally.calls("synchronize_rcu_expedited"), 1);
        assert_eq!(tally.calls("synchronize_rcu"), 0);
        assert_eq!(tally.rounds(), (1, 1));
    }

    #[test]
    fn a_task_is_counted_wherever_it_is() {
        assert_eq!(tally(Caller::Task(71), TRACE).calls("rtnl_lock"), 1);
        assert_eq!(tally(Caller::Task(12), TRACE).calls("rtnl_lock"), 4);
        assert_eq!(tally(Caller::Task(13), TRACE).calls("rtnl_lock"), 0);
    }

    #[test]
    fn a_round_that_ran_before_the_count_began_is_not_one_of_it() {
        let rest: String = TRACE.lines().skip(2).flat_map(|line| [line, "\n"]).collect();
        let tally = tally(Caller::Cleanup, &rest);
        assert_eq!((tally.rounds(), tally.calls("rtnl_lock")), ((0, 0), 0));
    }

    #[test]
    fn lost_events_are_not_overlooked() {
        assert!(tally(Caller::Cleanup, "CPU:1 [LOST 12 EVENTS]\n").lost);
    }

    #[test]
    fn names_of_tasks_may_look_like_anything() {
        let line = " a: [b]-7 <-x-12      [000] .....     0.912200: rtnl_lock <-f";
        assert_eq!(called(line), Some("rtnl_lock"));
        assert_eq!(task("kworker/u8:0-events-12      [000] .....     0.9: rtnl_lock <-f"), Some(12));
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(text in "[ -~\\[\\]<:.-]{0,80}") {
            tally(Caller::Cleanup, &text);
        }
    }
}
