//! The function_graph tracer on `cleanup_net`. It has the kernel's own trace
//! buffer: instances cannot have this tracer on older kernels.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::alone::Alone;

use super::calls::CounterError;
use super::graph::{self, Graph};
use super::line::FUNCTION;
use super::root;

/// Per processor, in KiB: some ten thousand calls.
const BUFFER_KB: &str = "4096";

/// Options of the tracer and what they have to be: tasks are shown, interrupts are
/// not.
const OPTIONS: [(&str, &str); 5] = [
    ("funcgraph-tail", "1"),
    ("funcgraph-proc", "1"),
    ("funcgraph-irqs", "0"),
    ("funcgraph-duration", "1"),
    ("sleep-time", "1"),
];

/// Which functions are traced below the root.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// All of them, so many levels deep. Hooks the whole kernel: other processors
    /// stay offline as long as this lasts.
    Everything(u32),
    /// These, so many levels of them deep.
    Only(&'a [String], u32),
}

/// Traces as long as it lives. Everything is put back when it is dropped.
#[derive(Debug)]
pub(crate) struct Profiler {
    root: PathBuf,
    alone: Option<Alone>,
}

impl Profiler {
    /// Begins to trace.
    ///
    /// # Errors
    ///
    /// Says what the kernel lacks.
    pub(crate) fn start(scope: Scope<'_>) -> Result<Self, CounterError> {
        use CounterError::{Failed, Lacks};
        let root = root().map_err(Lacks)?;
        let tracers = fs::read_to_string(root.join("available_tracers")).unwrap_or_default();
        if !tracers.split_whitespace().any(|tracer| tracer == "function_graph") {
            return Err(Lacks("no function_graph tracer; needs CONFIG_FUNCTION_GRAPH_TRACER".into()));
        }
        if !root.join("set_graph_function").exists() {
            return Err(Lacks("functions cannot be chosen; needs CONFIG_DYNAMIC_FTRACE".into()));
        }
        let mut profiler = Self { root: root.to_owned(), alone: Some(Alone::now()) };
        profiler.begin(scope).map_err(Failed)?;
        if matches!(scope, Scope::Only(..)) {
            profiler.alone = None;
        }
        Ok(profiler)
    }

    fn begin(&mut self, scope: Scope<'_>) -> Result<(), String> {
        self.set("tracing_on", "0")?;
        // See `Buffer::create`.
        let _ = self.set("options/record-cmd", "0");
        // The worker changes processors, and the usual clock is one of each.
        self.set("trace_clock", "mono")?;
        self.set("buffer_size_kb", BUFFER_KB)?;
        self.set("set_graph_function", FUNCTION)?;
        match scope {
            Scope::Everything(levels) => {
                self.set("set_ftrace_filter", "")?;
                self.set("max_graph_depth", &levels.to_string())?;
            }
            Scope::Only(functions, levels) => {
                self.set("max_graph_depth", &levels.to_string())?;
                self.set("set_ftrace_filter", FUNCTION)?;
                let path = self.root.join("set_ftrace_filter");
                for function in functions {
                    // One that cannot be traced was no more than a name.
                    let file = OpenOptions::new().append(true).open(&path);
                    let _ = file.and_then(|mut file| file.write_all(function.as_bytes()));
                }
            }
        }
        self.set("current_tracer", "function_graph")?;
        for (option, value) in OPTIONS {
            // Kernels that lack one do what it would say.
            let _ = self.set(&format!("options/{option}"), value);
        }
        self.set("trace", "")?;
        self.set("tracing_on", "1")
    }

    /// Stops and gives what was traced.
    ///
    /// # Errors
    ///
    /// Says so when the trace cannot be read.
    pub(crate) fn finish(self) -> Result<Graph, String> {
        self.set("tracing_on", "0")?;
        let path = self.root.join("trace");
        let text =
            fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        let mut graph = graph::parse(&text, FUNCTION);
        graph.lost |= self.overrun();
        Ok(graph)
    }

    /// Whether a processor's buffer was too small.
    fn overrun(&self) -> bool {
        let Ok(cpus) = fs::read_dir(self.root.join("per_cpu")) else { return false };
        let stats = cpus.flatten().filter_map(|cpu| fs::read_to_string(cpu.path().join("stats")).ok());
        stats.into_iter().any(|stats| {
            stats.lines().any(|line| line.strip_prefix("overrun:").is_some_and(|count| count.trim() != "0"))
        })
    }

    fn set(&self, file: &str, value: &str) -> Result<(), String> {
        set(&self.root, file, value)
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        let _alone = self.alone.take().unwrap_or_else(Alone::now);
        put_back(&self.root);
    }
}

fn set(root: &Path, file: &str, value: &str) -> Result<(), String> {
    let path = root.join(file);
    fs::write(&path, value).map_err(|error| format!("cannot write `{value}` to {}: {error}", path.display()))
}

/// Switches a tracer off that a test left running; whether there was one.
pub(crate) fn switch_off() -> bool {
    let Ok(root) = root() else { return false };
    let running = fs::read_to_string(root.join("current_tracer")).is_ok_and(|tracer| tracer.trim() != "nop");
    if running {
        let _alone = Alone::now();
        put_back(root);
    }
    running
}

/// As the kernel comes up. What does not work here does not work at all.
fn put_back(root: &Path) {
    for (file, value) in [
        ("tracing_on", "0"),
        ("current_tracer", "nop"),
        ("set_ftrace_filter", ""),
        ("set_graph_function", ""),
        ("max_graph_depth", "0"),
        ("trace_clock", "local"),
        ("trace", ""),
        ("tracing_on", "1"),
    ] {
        let _ = set(root, file, value);
    }
}
