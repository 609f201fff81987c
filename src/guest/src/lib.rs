//! Everything of kregress that runs inside the virtual machine.
//!
//! Linux only, no async runtime, no YAML, no command line of its own. Every
//! system call is checked, and what went wrong is said with the call's name.

mod affinity;
mod agent;
mod alone;
mod child;
pub mod clock;
pub mod context;
pub mod deadline;
mod diagnose;
mod dress;
mod facts;
mod features;
mod ffi;
mod gate;
mod init;
mod kmsg;
mod last_look;
mod local;
mod modules;
mod netlink;
mod netns;
mod plan;
mod ports;
mod procfs;
mod quantile;
mod relay;
mod session;
mod shell;
mod sysctl;
mod tidy;
mod trace;
mod ucount;
mod uring;
mod work_time;
mod worker;
pub mod workloads;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

pub use context::{Context, Stop, Workload, WorkloadResult};

/// First argument of a guest that is not PID 1; the second one is the path of
/// the plan.
pub const AGENT: &str = "__agent";

/// Variable with which this program finds its libraries where the root has others. Not
/// for programs of tests, which have those of the root.
pub const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// First argument of a guest that runs on the host's own kernel; paths follow.
pub const LOCAL: &str = "__local";

/// First argument of the process that runs one workload.
pub(crate) const WORKLOAD: &str = "__workload";

/// What this process is.
#[derive(Debug, PartialEq, Eq)]
enum Role<'a> {
    Host,
    Init,
    Agent(Option<&'a OsStr>),
    Local(&'a [OsString]),
    Workload,
    Modprobe(&'a OsStr),
}

/// Does the work of the guest if this process is one; `None` on the host. The
/// first thing that main does, with the arguments as they are, program first.
///
/// As PID 1 of a guest it does not return: the machine is powered off.
#[must_use]
pub fn dispatch(args: &[OsString]) -> Option<ExitCode> {
    let is_init = rustix::process::getpid().is_init() && Path::new(kregress_wire::PLAN_PATH).exists();
    match role(args, is_init) {
        Role::Host => None,
        Role::Init => init::run(),
        Role::Agent(Some(plan)) => Some(agent::run(plan)),
        Role::Agent(None) => {
            let text = format!("error: `{AGENT}` needs the path of a plan\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
            Some(ExitCode::from(2))
        }
        Role::Local(paths) => Some(local::run(paths)),
        Role::Workload => Some(worker::run()),
        Role::Modprobe(name) => match modules::answer(&name.to_string_lossy()) {
            true => Some(ExitCode::SUCCESS),
            false => Some(ExitCode::FAILURE),
        },
    }
}

/// An init takes no arguments: whatever the kernel did not understand of its
/// command line arrives there.
fn role(args: &[OsString], is_init: bool) -> Role<'_> {
    let word = |at: usize| args.get(at).map(OsString::as_os_str);
    if is_init {
        Role::Init
    } else if word(1) == Some(OsStr::new(AGENT)) {
        Role::Agent(word(2))
    } else if word(1) == Some(OsStr::new(LOCAL)) {
        Role::Local(args.get(2..).unwrap_or_default())
    } else if word(1) == Some(OsStr::new(WORKLOAD)) {
        Role::Workload
    } else if let [program, quiet, end, name] = args
        && program == modules::MODPROBE
        && quiet == "-q"
        && end == "--"
    {
        Role::Modprobe(name)
    } else {
        Role::Host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn an_ordinary_command_line_is_the_hosts() {
        for words in [&["kregress"][..], &["kregress", "run", "smoke"], &["kregress", "run", AGENT], &[]] {
            assert_eq!(role(&args(words), false), Role::Host, "{words:?}");
        }
    }

    #[test]
    fn init_ignores_what_the_kernel_passes_on() {
        assert_eq!(role(&args(&["/init", WORKLOAD]), true), Role::Init);
    }

    #[test]
    fn an_agent_has_a_plan() {
        let words = args(&["kregress", AGENT, "/run/plan.json"]);
        assert_eq!(role(&words, false), Role::Agent(Some(OsStr::new("/run/plan.json"))));
        assert_eq!(role(&args(&["kregress", AGENT]), false), Role::Agent(None));
    }

    #[test]
    fn a_guest_on_the_hosts_kernel_is_given_paths() {
        let words = args(&["kregress", LOCAL, "a", "b"]);
        assert_eq!(role(&words, false), Role::Local(&args(&["a", "b"])));
        assert_eq!(role(&args(&["kregress", LOCAL]), false), Role::Local(&[]));
    }

    #[test]
    fn a_workload_is_told_by_its_first_argument() {
        assert_eq!(role(&args(&["kregress", WORKLOAD]), false), Role::Workload);
    }

    #[test]
    fn the_kernel_asks_for_a_module_in_its_own_words() {
        let words = args(&["/init", "-q", "--", "rtnl-link-veth"]);
        assert_eq!(role(&words, false), Role::Modprobe(OsStr::new("rtnl-link-veth")));
        assert_eq!(role(&args(&["kregress", "-q", "--", "run"]), false), Role::Host);
    }
}
