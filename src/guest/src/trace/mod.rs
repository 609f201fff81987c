//! The kernel's own record of its namespace cleanup: workqueue tracepoints in
//! a trace instance of our own.
//!
//! Events and their text are the same from 6.1 to 6.18. Needs no tracer, only
//! `CONFIG_ENABLE_DEFAULT_TRACERS` or any tracer at all.

mod buffer;
mod calls;
mod graph;
mod line;
mod profiler;
mod rounds;
mod waits;

use std::fs;
use std::io;
use std::path::Path;

use self::buffer::Buffer;
use crate::alone::Alone;

pub(crate) use calls::{Caller, Counter, CounterError};
pub(crate) use graph::{Call, Graph};
pub(crate) use line::Point;
pub(crate) use profiler::{Profiler, Scope, switch_off};
pub(crate) use rounds::{Drain, Rounds};
pub(crate) use waits::Waits;

/// Where tracefs may be; the second place is that of kernels and systems where
/// only debugfs is mounted.
const ROOTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/// Our instances begin with this, so that those of the dead are found.
const PREFIX: &str = "kregress-";

/// The events that tell a round of cleanup.
const EVENTS: [&str; 3] = ["workqueue_queue_work", "workqueue_execute_start", "workqueue_execute_end"];

/// Per processor. A round takes three lines of a hundred bytes; without a
/// filter all other work of the kernel comes on top.
const BUFFER_KB: &str = "512";

/// Whether there is what an instance needs; if not, why.
pub(crate) fn available() -> Result<(), String> {
    root().map(drop)
}

fn root() -> Result<&'static Path, String> {
    let has = |root: &&str, rest: &str| Path::new(root).join(rest).exists();
    let Some(root) = ROOTS.iter().find(|root| has(root, "instances")) else {
        return Err(format!("{}/instances does not exist; needs CONFIG_FTRACE", ROOTS[0]));
    };
    match EVENTS.iter().find(|event| !has(root, &format!("events/workqueue/{event}"))) {
        Some(event) => {
            Err(format!("no tracepoint `{event}`; needs CONFIG_ENABLE_DEFAULT_TRACERS or a tracer"))
        }
        None => Ok(Path::new(root)),
    }
}

/// Removes the instances of processes that died; their names.
pub(crate) fn remove_leftovers() -> Vec<String> {
    let Ok(root) = root() else { return Vec::new() };
    let Ok(entries) = fs::read_dir(root.join("instances")) else { return Vec::new() };
    entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            // One whose tracer still runs cannot be removed.
            if name.starts_with(PREFIX) {
                let tracer = root.join("instances").join(&name).join("current_tracer");
                if fs::read_to_string(&tracer).is_ok_and(|tracer| tracer.trim() != "nop") {
                    let _alone = Alone::now();
                    let _ = fs::write(tracer, "nop");
                }
            }
            (name.starts_with(PREFIX) && fs::remove_dir(root.join("instances").join(&name)).is_ok())
                .then_some(name)
        })
        .collect()
}

/// A trace instance that records cleanup rounds. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Instance {
    buffer: Buffer,
    filtered: bool,
}

impl Instance {
    /// Begins to record.
    ///
    /// # Errors
    ///
    /// Says what the kernel lacks.
    pub(crate) fn start() -> Result<Self, String> {
        let root = root()?;
        let mut buffer = Buffer::create(root, "rounds", BUFFER_KB)?;
        let mut filtered = true;
        for event in EVENTS {
            let event = format!("events/workqueue/{event}");
            // Understood since 6.3, in this form without quotes. Older kernels
            // record all work; the reader picks ours.
            let filter = format!("function.function == {}", line::FUNCTION);
            filtered &= buffer.set(&format!("{event}/filter"), &filter).is_ok();
            buffer.set(&format!("{event}/enable"), "1")?;
        }
        buffer.open()?;
        Ok(Self { buffer, filtered })
    }

    /// Whether the kernel records nothing but our events.
    pub(crate) fn filtered(&self) -> bool {
        self.filtered
    }

    /// Gives what was recorded since the last call, without waiting.
    ///
    /// # Errors
    ///
    /// Fails when the pipe does.
    pub(crate) fn read(&mut self) -> io::Result<Vec<Point>> {
        Ok(line::points_of(&self.buffer.lines()?))
    }
}
