//! The guest as an ordinary process: another tool has booted the kernel with
//! the host's userland, started us as root, and will power off when we end.
//!
//! Mounts only what is missing, and changes no setting but those of the kernel
//! log.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;

use crate::init::mounts;
use crate::{facts, kmsg, plan, ports, session, shell};

/// Runs the plan in the file. The exit code only corroborates what the control
/// channel said: 0 when all of it was said.
pub(crate) fn run(plan: &OsStr) -> ExitCode {
    match run_session(Path::new(plan)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            kmsg::log(kmsg::Level::Critical, &text);
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("error: {text}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Type of the file system that is mounted last at `/`, as proc_pid_mounts(5) has it.
fn root_file_system() -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut words = mounts.lines().rev().map(|line| line.split(' ').skip(1));
    let root = words.find_map(|mut words| (words.next()? == "/").then(|| words.next()).flatten());
    root.unwrap_or("unknown").to_owned()
}

fn run_session(path: &Path) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("the agent is not root\nhint: virtme-ng needs `--user root`".into());
    }
    // Orphans of a test come to us and not to the init of somebody else.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| format!("cannot become the reaper of orphans: {error}"))?;
    let plan = plan::read(path).map_err(|error| error.to_string())?;
    let mut facts = BTreeMap::new();
    mounts::as_agent(&mut facts).map_err(|error| error.to_string())?;
    facts.insert("root".into(), root_file_system());
    facts::prepare_kernel_log(&mut facts);
    let ports = ports::open(plan.carrier, plan.patience()).map_err(|error| error.to_string())?;
    if let Some(shell) = &plan.shell {
        return shell::run(shell, ports);
    }
    let channels = session::Channels::over(ports, &mut facts).map_err(|error| error.to_string())?;
    session::run(&plan, facts, channels, session::Place::Machine).map_err(|error| error.to_string())
}
