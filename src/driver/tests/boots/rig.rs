//! Runs the real binary and reads what it left behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;

use serde_json::Value;

/// Where the results of tests that fail are kept; without it they go with the rest.
const KEEP: &str = "KREGRESS_TEST_KEEP";

/// A results directory of its own, and a place for configuration files.
pub(crate) struct Rig {
    dir: tempfile::TempDir,
}

/// Such a failure may not come again: what the machine did is all there is to look at.
#[expect(clippy::disallowed_methods, clippy::print_stderr, reason = "a test that fails says where to look")]
impl Drop for Rig {
    fn drop(&mut self) {
        let (true, Some(keep)) = (thread::panicking(), std::env::var_os(KEEP)) else { return };
        let name = thread::current().name().unwrap_or("test").replace("::", "-");
        let kept = PathBuf::from(keep).join(format!("{name}-{}", std::process::id()));
        let copied = Command::new("cp").arg("-a").arg(self.path()).arg(&kept).status();
        eprintln!("results kept in {}: {copied:?}", kept.display());
    }
}

/// What one invocation left.
pub(crate) struct Ran {
    pub(crate) output: Output,
    pub(crate) run_dir: PathBuf,
    pub(crate) run: Value,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("directory") }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.dir.path().join("results")
    }

    #[expect(clippy::disallowed_methods, reason = "a test starts the binary under test")]
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kregress"));
        command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."));
        command.arg("--results").arg(self.results()).args(args).stdin(Stdio::null());
        command
    }

    /// Runs `kregress` to its end and reads the newest run.
    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("start kregress");
        let run_dir = self.newest_run().unwrap_or_else(|| panic!("no run\n{}", text(&output)));
        let run = read_json(&run_dir.join("run.json"));
        Ran { output, run_dir, run }
    }

    pub(crate) fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("start kregress")
    }

    pub(crate) fn newest_run(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(self.results()).ok()?;
        entries.flatten().map(|entry| entry.path()).filter(|path| path.join("run.json").is_file()).max()
    }
}

pub(crate) fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("status: {}\n--- stdout\n{out}\n--- stderr\n{err}", output.status)
}

/// Descendants of a process whose command line contains `needle`: other runs on
/// this machine are not ours to touch.
pub(crate) fn descendants_with(root: u32, needle: &str) -> Vec<u32> {
    let processes: Vec<u32> = std::fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    // One that ends meanwhile has neither parent nor command line.
    let parent = |pid: u32| -> Option<u32> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
    };
    let is_ours = |pid: u32| std::iter::successors(Some(pid), |pid| parent(*pid)).any(|pid| pid == root);
    let says_so = |pid: u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(needle)
    };
    processes.into_iter().filter(|pid| says_so(*pid) && is_ours(*pid)).collect()
}
