//! PID 1: makes the bare kernel a place where tests can run, runs them, and
//! powers off.
//!
//! Never returns and never panics: the end of PID 1 is a kernel panic, which
//! would be taken for a finding.

mod modules;
pub(crate) mod mounts;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use kregress_wire::PLAN_PATH;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::system::{RebootCommand, reboot};

use crate::{facts, ffi, kmsg, plan, ports, session, shell};

/// Namespaces are held by descriptors, thousands of them.
const OPEN_FILES: u64 = 65_536;

/// Runs the guest from the first to the last instruction of user space.
pub(crate) fn run() -> ! {
    std::panic::set_hook(Box::new(|info| {
        kmsg::log(kmsg::Level::Critical, &format!("the guest's init panicked: {info}"));
        power_off();
    }));
    if let Err(text) = run_session() {
        kmsg::log(kmsg::Level::Critical, &text);
    }
    power_off()
}

fn run_session() -> Result<(), String> {
    let mut facts = BTreeMap::new();
    // First of all: without /dev there is not even a kernel log to write to.
    mounts::as_init(&mut facts).map_err(|error| error.to_string())?;
    facts::prepare_kernel_log(&mut facts);
    limits(&mut facts);
    modules::load(&mut facts);
    crate::modules::serve();
    if let Err(error) = loopback_up() {
        facts.insert("lo".into(), format!("not up: {error}"));
    }
    let plan = plan::read(Path::new(PLAN_PATH)).map_err(|error| error.to_string())?;
    let ports = ports::open(plan.carrier, plan.patience()).map_err(|error| error.to_string())?;
    if let Some(shell) = &plan.shell {
        mounts::for_shell(&mut facts).map_err(|error| error.to_string())?;
        return shell::run(shell, ports);
    }
    let channels = session::Channels::over(ports, &mut facts).map_err(|error| error.to_string())?;
    session::run(&plan, facts, channels, session::Place::Machine).map_err(|error| error.to_string())
}

fn loopback_up() -> io::Result<()> {
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    ffi::bring_up(&socket, "lo")
}

fn limits(facts: &mut BTreeMap<String, String>) {
    let limits = [
        ("open-files", Resource::Nofile, Some(OPEN_FILES)),
        ("processes", Resource::Nproc, None),
        ("locked-memory", Resource::Memlock, None),
        // A core file would fill the guest's memory.
        ("core-size", Resource::Core, Some(0)),
    ];
    for (name, resource, limit) in limits {
        if let Err(error) = setrlimit(resource, Rlimit { current: limit, maximum: limit }) {
            facts.insert(format!("limit:{name}"), format!("not set: {error}"));
        }
    }
}

/// Ends the virtual machine.
fn power_off() -> ! {
    let error = reboot(RebootCommand::PowerOff);
    // Only reached when the kernel refuses, for instance in a container.
    kmsg::log(kmsg::Level::Critical, &format!("cannot power off: {error:?}"));
    loop {
        rustix::event::pause();
    }
}
