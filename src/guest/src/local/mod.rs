//! The guest without a machine of its own: as a process of the host that tries
//! a workload on the kernel that runs there.
//!
//! Owns the enclosure that keeps the host as it was; what may run in it, `rules`
//! says. Everything else is as in a virtual machine.
//!
//! The enclosure is made of namespaces: a user namespace, so that the count and
//! limit of network namespaces (`user.max_net_namespaces`) are our own and the
//! kernel refuses clocks and whatever else belongs to the machine; a network
//! namespace; and a mount namespace in which the tracers, debugfs, control groups,
//! SysRq and `/run` of the host do not exist and settings outside of `net` and
//! `user` cannot be written.

mod rules;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind, mount_bind_recursive, mount_change, mount_remount,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit};

pub(crate) use self::rules::Host;
use crate::session::{Channels, Place};
use crate::{ffi, plan, session};

/// Paths that the command line names.
#[derive(Debug, PartialEq, Eq)]
struct Paths<'a> {
    plan: &'a Path,
    control: &'a Path,
    output: &'a Path,
    console: &'a Path,
}

impl<'a> Paths<'a> {
    fn of(args: &'a [OsString]) -> Result<Self, String> {
        let [plan, control, output, console] = args else {
            return Err(format!(
                "`{}` needs the paths of a plan and of three sockets, not {} words",
                crate::LOCAL,
                args.len()
            ));
        };
        Ok(Self {
            plan: Path::new(plan),
            control: Path::new(control),
            output: Path::new(output),
            console: Path::new(console),
        })
    }
}

/// Runs a plan on this very kernel; the words after the first are the paths of
/// the plan and of the sockets for control, output and kernel log.
pub(crate) fn run(args: &[OsString]) -> ExitCode {
    match Paths::of(args).and_then(|paths| run_session(&paths)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            // Our standard error is the log of the machine that we stand for.
            let _ = io::stderr().write_all(format!("error: {text}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn run_session(paths: &Paths<'_>) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("--local needs root\nhint: run it with sudo".into());
    }
    let plan = plan::read(paths.plan).map_err(|error| error.to_string())?;
    let connect = |path: &Path| {
        UnixStream::connect(path).map_err(|error| format!("cannot connect to `{}`: {error}", path.display()))
    };
    let mut facts = BTreeMap::from([("enclosure".to_owned(), "user, net and mount namespaces".to_owned())]);
    // While we are still allowed to: reading needs CAP_SYSLOG of the machine.
    let log = match follow_kernel_log() {
        Ok(log) => Some(log),
        Err(error) => {
            facts.insert("kernel-log".into(), format!("not read: {error}"));
            None
        }
    };
    let control = connect(paths.control)?;
    let output = connect(paths.output)?;
    let console = connect(paths.console)?;
    limits(&mut facts);
    // Its modules are hidden afterwards.
    let host = Host::look();
    enclose()?;
    let requests = control.try_clone().map_err(|error| format!("cannot copy a socket: {error}"))?;
    let channels = Channels {
        requests: Box::new(requests),
        events: Box::new(control),
        output: Some(OwnedFd::from(output)),
        // A socket keeps what was written until it is read.
        end: session::End::Done,
    };
    let relay = log.map(|log| Relay::start(log, console)).transpose();
    let relay = relay.map_err(|error| format!("cannot follow the kernel log: {error}"))?;
    let result = session::run(&plan, facts, channels, Place::Host(&host)).map_err(|error| error.to_string());
    if let Some(relay) = relay {
        relay.finish();
    }
    result
}

/// What pins memory asks for a capability of the machine, or for this limit; a
/// container may have neither, and little can be pinned then.
fn limits(facts: &mut BTreeMap<String, String>) {
    for (name, resource, limit) in
        [("locked-memory", Resource::Memlock, None), ("core-size", Resource::Core, Some(0))]
    {
        if let Err(error) = setrlimit(resource, Rlimit { current: limit, maximum: limit }) {
            facts.insert(format!("limit:{name}"), format!("not set: {error}"));
        }
    }
    // Namespaces are held by descriptors, up to the limit that the host allows.
    let allowed = getrlimit(Resource::Nofile).maximum;
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: allowed, maximum: allowed }) {
        facts.insert("limit:open-files".into(), format!("not set: {error}"));
    }
}

/// Moves this process, which has one thread yet, into namespaces of its own.
fn enclose() -> Result<(), String> {
    let failed = |what: &'static str| move |error: io::Error| format!("cannot {what}: {error}");
    ffi::unshare_user_net_and_mounts().map_err(|error| {
        format!(
            "cannot make a user namespace: {error}\n\
             hint: sysctl user.max_user_namespaces must not be 0, and AppArmor must allow it \
             (kernel.apparmor_restrict_unprivileged_userns)"
        )
    })?;
    // The new credentials took both away.
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| failed("ask for a signal")(error.into()))?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| failed("become the reaper of orphans")(error.into()))?;
    mounts().map_err(|(path, error)| format!("cannot shut `{path}` off: {error}"))?;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| failed("open a socket")(error.into()))?;
    ffi::bring_up(&socket, "lo").map_err(failed("bring `lo` up"))
}

/// File systems that reach beyond the enclosure, where they are mounted.
const HIDDEN: &[&str] =
    &["/sys/kernel/tracing", "/sys/kernel/debug", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/sys/module"];

/// Makes settings of the machine unwritable and its tools invisible.
fn mounts() -> Result<(), (&'static str, io::Error)> {
    let at = |path: &'static str| move |error: rustix::io::Errno| (path, io::Error::from(error));
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(at("/"))?;
    for path in HIDDEN.iter().filter(|path| Path::new(path).is_dir()) {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        mount("tmpfs", *path, "tmpfs", flags, None).map_err(at(path))?;
    }
    // For whoever keeps something there; what is the host's stays untouched.
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("tmpfs", "/run", "tmpfs", flags, None).map_err(at("/run"))?;
    // Its mode asks for nothing but root, and the answer would be in the host's log.
    if Path::new("/proc/sysrq-trigger").exists() {
        mount_bind("/dev/null", "/proc/sysrq-trigger").map_err(at("/proc/sysrq-trigger"))?;
    }
    // `net` shows the settings of the namespace of whoever looks, `user` those of
    // the user namespace; both are ours. The rest belongs to the machine.
    let flags =
        MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for path in ["/proc/sys", "/proc/sys/net", "/proc/sys/user"] {
        mount_bind_recursive(path, path).map_err(at(path))?;
    }
    for path in fs::read_dir("/proc/sys").map_err(|error| ("/proc/sys", error))? {
        let path = path.map_err(|error| ("/proc/sys", error))?.path();
        if path.is_dir() && !matches!(path.file_name().and_then(|name| name.to_str()), Some("net" | "user")) {
            let inside = |error: rustix::io::Errno| ("/proc/sys", io::Error::from(error));
            mount_bind_recursive(&path, &path).map_err(inside)?;
            mount_remount(&path, flags, c"").map_err(inside)?;
        }
    }
    Ok(())
}

/// The kernel log from now on.
fn follow_kernel_log() -> io::Result<File> {
    let mut log = OpenOptions::new().read(true).open("/dev/kmsg")?;
    log.seek(SeekFrom::End(0))?;
    rustix::io::ioctl_fionbio(&log, true)?;
    Ok(log)
}

/// Passes the kernel log on as a serial console would show it.
#[derive(Debug)]
struct Relay {
    stop: OwnedFd,
    thread: std::thread::JoinHandle<()>,
}

impl Relay {
    fn start(log: File, console: UnixStream) -> io::Result<Self> {
        let (end, stop) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let thread = std::thread::Builder::new()
            .name("kernel-log".into())
            .spawn(move || pass_on(log, console, &end))?;
        Ok(Self { stop, thread })
    }

    /// Passes on what the log holds by now, and ends.
    fn finish(self) {
        drop(self.stop);
        // It cannot panic, and a log that ends early was said so by its socket.
        let _ = self.thread.join();
    }
}

/// Until the other end of `stop` is closed and the log is read to its end.
fn pass_on(mut log: File, mut console: UnixStream, stop: &OwnedFd) {
    // Longer than any record: `PRINTKRB_RECORD_MAX` and `CONSOLE_EXT_LOG_MAX`
    // of kernel/printk are 8 KiB at most.
    let mut record = vec![0; 16 << 10];
    loop {
        match log.read(&mut record) {
            Ok(count) => {
                let text = console_line(&String::from_utf8_lossy(record.get(..count).unwrap_or_default()));
                if console.write_all(text.as_bytes()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(&log, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
                let woken = poll(&mut fds, None);
                let [log, stop] = &fds;
                let quiet = log.revents().is_empty();
                if quiet && !stop.revents().is_empty() {
                    return;
                }
                if woken.is_err_and(|error| error != rustix::io::Errno::INTR) {
                    return;
                }
            }
            // EPIPE: records were overwritten before they could be read; the next
            // read gives the oldest that is left (Documentation/ABI/testing/dev-kmsg).
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                let _ = console.write_all(b"** printk messages dropped **\n");
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}

/// A record of `/dev/kmsg` as lines of a console.
///
/// A record is `level,sequence,microseconds,flags;text`, a newline, and lines of
/// properties that begin with a space; in the text, bytes that could do harm are
/// written as `\x1b` (Documentation/ABI/testing/dev-kmsg).
fn console_line(record: &str) -> String {
    let (head, text) = record.split_once(';').unwrap_or(("", record));
    let microseconds: u64 = head.split(',').nth(2).and_then(|word| word.parse().ok()).unwrap_or(0);
    let text = text.lines().next().unwrap_or_default();
    let stamp = format!("[{:5}.{:06}] ", microseconds / 1_000_000, microseconds % 1_000_000);
    // A line feed within a record is escaped, and a console shows each line with
    // a time of its own.
    text.split("\\x0a").map(|line| format!("{stamp}{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_command_line_has_four_paths() {
        let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
        let args = words(&["plan", "control", "output", "console"]);
        assert_eq!(Paths::of(&args).expect("paths").console, Path::new("console"));
        let error = Paths::of(&words(&["plan"])).expect_err("too few");
        assert!(error.ends_with("not 1 words"), "{error}");
    }

    #[test]
    fn a_record_becomes_a_line_of_a_console() {
        let record = "5,1234,61000042,-;kregress: begin 1 smoke/x\n SUBSYSTEM=net\n DEVICE=n1\n";
        assert_eq!(console_line(record), "[   61.000042] kregress: begin 1 smoke/x\n");
    }

    #[test]
    fn an_escaped_line_feed_ends_a_line() {
        assert_eq!(console_line("4,1,7,-;a\\x0ab\n"), "[    0.000007] a\n[    0.000007] b\n");
    }

    proptest! {
        #[test]
        fn no_record_makes_it_panic_or_break_out_of_its_lines(record in "\\PC{0,200}(\n\\PC{0,20})?") {
            let text = console_line(&record);
            prop_assert!(text.ends_with('\n'));
            prop_assert!(text.lines().all(|line| line.starts_with('[')));
        }
    }
}
