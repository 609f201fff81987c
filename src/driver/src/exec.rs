//! The only room that spawns processes.
//!
//! Every child leads a process group of its own, is killed as a group, and dies
//! with us even when we are killed: the kernel signals it when the thread that
//! started it ends (`PR_SET_PDEATHSIG`). Children that have children of their
//! own (make, vng) run under [`supervise`], which takes the whole group with it.
//! Whoever starts a long-lived child must therefore do so on the thread that
//! also waits for it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Output;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group, set_parent_process_death_signal};

/// First argument that turns this binary into the supervisor of a process tree.
pub const SUPERVISE: &str = "__supervise";

/// The binary that understands [`SUPERVISE`].
static SUPERVISOR: OnceLock<PathBuf> = OnceLock::new();

/// Says which binary understands [`SUPERVISE`]; called once by `main`.
pub fn set_supervisor(binary: PathBuf) {
    // A second call could only repeat the first.
    let _ = SUPERVISOR.set(binary);
}

/// How long a group may take to obey SIGTERM before it gets SIGKILL. From
/// experience: make needs a few tenths of a second to remove half-written files.
const GRACE: Duration = Duration::from_secs(3);

/// How long a supervisor may take to end its tree, its own grace included.
const SUPERVISOR_GRACE: Duration = Duration::from_secs(10);

/// Interval at which a group on its way out is looked at.
const POLL: Duration = Duration::from_millis(20);

/// Why a process did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ExecError {
    /// It could not be started.
    #[error("cannot start `{program}`: {source}{}", hint_for(program, source))]
    Start {
        /// Program as given.
        program: String,
        /// The system's words.
        source: io::Error,
    },
    /// It ran and failed.
    #[error("`{command}` failed with {status}{}", tail(stderr))]
    Failed {
        /// Whole command line.
        command: String,
        /// Exit status or signal.
        status: String,
        /// Everything it wrote to stderr.
        stderr: String,
    },
    /// Waiting or reading failed.
    #[error("cannot wait for `{program}`: {source}")]
    Wait {
        /// Program as given.
        program: String,
        /// The system's words.
        source: io::Error,
    },
}

fn hint_for(program: &str, source: &io::Error) -> String {
    if source.kind() == io::ErrorKind::NotFound {
        format!("\nhint: install `{program}`; `kregress doctor` lists what is missing")
    } else {
        String::new()
    }
}

fn tail(stderr: &str) -> String {
    let lines: Vec<_> = stderr.trim_end().lines().collect();
    let from = lines.len().saturating_sub(5);
    lines[from..].iter().map(|line| format!("\n  {line}")).collect()
}

/// Whether children of a command have children of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Single,
    Tree,
}

/// A command line, not yet started.
#[derive(Debug, Clone)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    env_remove: Vec<OsString>,
    dir: Option<PathBuf>,
    input: Option<PathBuf>,
    shape: Shape,
    worth: Worth,
}

/// Whom the kernel should kill when the host runs out of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    /// As it sees fit.
    Own,
    /// Rather the child than us: its death is one error, ours ends the run.
    Expendable,
}

/// What makes a process the OOM killer's first choice (proc_pid_oom_score_adj(5));
/// 1000 would be beyond all others of the host.
const EXPENDABLE: &[u8] = b"800";

/// Makes the calling process expendable. Only system calls: it runs between fork
/// and exec.
fn become_expendable() -> io::Result<()> {
    let mode = rustix::fs::Mode::empty();
    let file = rustix::fs::open(c"/proc/self/oom_score_adj", rustix::fs::OFlags::WRONLY, mode)?;
    rustix::io::write(&file, EXPENDABLE)?;
    Ok(())
}

impl Cmd {
    /// A program, found by `PATH` if it has no slash.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            env_remove: Vec::new(),
            dir: None,
            input: None,
            shape: Shape::Single,
            worth: Worth::Own,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl Into<OsString>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: Into<OsString>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of the environment.
    #[must_use]
    pub fn env(mut self, key: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((key.into(), value.into()));
        self
    }

    /// Removes a variable of the environment.
    #[must_use]
    pub fn env_remove(mut self, key: impl Into<OsString>) -> Self {
        self.env_remove.push(key.into());
        self
    }

    /// Runs in this directory.
    #[must_use]
    pub fn current_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// Reads this file as its standard input, which is empty otherwise.
    #[must_use]
    pub fn input(mut self, file: impl Into<PathBuf>) -> Self {
        self.input = Some(file.into());
        self
    }

    /// Says that the program starts processes of its own, so that all of them
    /// are ended together even if we are killed.
    #[must_use]
    pub fn tree(mut self) -> Self {
        self.shape = Shape::Tree;
        self
    }

    /// Says that the host may rather kill this than us when memory runs out.
    #[must_use]
    pub fn expendable(mut self) -> Self {
        self.worth = Worth::Expendable;
        self
    }

    /// Program and arguments, for records.
    #[must_use]
    pub fn argv(&self) -> Vec<String> {
        std::iter::once(&self.program)
            .chain(&self.args)
            .map(|word| word.to_string_lossy().into_owned())
            .collect()
    }

    /// As one would type it.
    #[must_use]
    pub fn display(&self) -> String {
        shell_line(&self.argv())
    }

    fn program_name(&self) -> String {
        self.program.to_string_lossy().into_owned()
    }

    fn expression(&self) -> Result<duct::Expression, ExecError> {
        let (program, args) = match self.shape {
            // Only our own binary knows how to supervise; under a test harness
            // the process group has to do.
            Shape::Tree if SUPERVISOR.get().is_some() => {
                let own = SUPERVISOR.get().map(OsString::from).unwrap_or_default();
                let mut args = vec![OsString::from(SUPERVISE), self.program.clone()];
                args.extend(self.args.iter().cloned());
                (own, args)
            }
            Shape::Single | Shape::Tree => (self.program.clone(), self.args.clone()),
        };
        #[expect(clippy::disallowed_methods, reason = "this is the room for it")]
        let expression = duct::cmd(program, args);
        let expression = match &self.input {
            Some(file) => expression.stdin_path(file),
            None => expression.stdin_null(),
        };
        let mut expression = expression.unchecked();
        for (key, value) in &self.env {
            expression = expression.env(key, value);
        }
        for key in &self.env_remove {
            expression = expression.env_remove(key);
        }
        if let Some(dir) = &self.dir {
            expression = expression.dir(dir);
        }
        let signal = match self.shape {
            Shape::Single => Signal::KILL,
            // The supervisor needs a moment to end its group.
            Shape::Tree => Signal::TERM,
        };
        let worth = self.worth;
        Ok(expression.before_spawn(move |command| {
            command.process_group(0);
            let parent = rustix::process::getpid();
            // SAFETY: the closure runs between fork and exec and makes a few
            // system calls; it neither allocates nor takes locks.
            unsafe {
                command.pre_exec(move || {
                    set_parent_process_death_signal(Some(signal))?;
                    if worth == Worth::Expendable {
                        // A host that forbids it is no reason not to boot.
                        let _ = become_expendable();
                    }
                    // We may have died before the line above.
                    if rustix::process::getppid() == Some(parent) {
                        Ok(())
                    } else {
                        Err(io::Error::from(rustix::io::Errno::SRCH))
                    }
                });
            }
            Ok(())
        }))
    }

    fn start_error(&self, source: io::Error) -> ExecError {
        ExecError::Start { program: self.program_name(), source }
    }

    /// Runs to the end and gives stdout, stderr and status, whatever it is.
    ///
    /// # Errors
    ///
    /// Fails when the program cannot be started.
    pub fn run(&self) -> Result<Output, ExecError> {
        self.expression()?.stdout_capture().stderr_capture().run().map_err(|source| self.start_error(source))
    }

    /// Runs to the end and gives stdout, lossily decoded.
    ///
    /// # Errors
    ///
    /// Fails when the program cannot be started or exits other than with 0.
    pub fn read(&self) -> Result<String, ExecError> {
        let output = self.run()?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(ExecError::Failed {
            command: self.display(),
            status: output.status.to_string(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Starts it with stdout and stderr going to `log`.
    ///
    /// # Errors
    ///
    /// Fails when the program cannot be started.
    pub fn start(&self, log: &File) -> Result<Running, ExecError> {
        let out = log.try_clone().map_err(|source| self.start_error(source))?;
        let handle = self
            .expression()?
            .stderr_to_stdout()
            .stdout_file(out)
            .start()
            .map_err(|source| self.start_error(source))?;
        Running::new(handle, self.program_name(), self.shape)
    }
}

/// Quotes a command for a POSIX shell.
#[must_use]
pub fn shell_line<S: AsRef<str>>(argv: &[S]) -> String {
    argv.iter().map(|word| shell_word(word.as_ref())).collect::<Vec<_>>().join(" ")
}

fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,@%+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A child that runs. Dropping it ends its whole group.
#[derive(Debug)]
pub struct Running {
    handle: duct::Handle,
    group: Pid,
    program: String,
    shape: Shape,
    ended: bool,
}

impl Running {
    fn new(handle: duct::Handle, program: String, shape: Shape) -> Result<Self, ExecError> {
        let pid =
            handle.pids().first().copied().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        match pid {
            Some(group) => Ok(Self { handle, group, program, shape, ended: false }),
            None => Err(ExecError::Start { program, source: io::Error::other("it has no process id") }),
        }
    }

    /// Process id, also of its group.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.group.as_raw_nonzero().get()
    }

    /// Status if it ended within `limit`.
    ///
    /// # Errors
    ///
    /// Fails when waiting does.
    pub fn wait_timeout(&mut self, limit: Duration) -> Result<Option<std::process::ExitStatus>, ExecError> {
        let wait_error = |source| ExecError::Wait { program: self.program.clone(), source };
        let status = self.handle.wait_timeout(limit).map_err(wait_error)?.map(|output| output.status);
        if status.is_some() {
            self.ended = true;
        }
        Ok(status)
    }

    /// Tells the group to end, and does not wait for it.
    pub fn terminate(&mut self) {
        if !self.ended {
            let _ = kill_process_group(self.group, Signal::TERM);
        }
    }

    /// Ends the group: SIGTERM, a moment of grace, SIGKILL. Returns when the
    /// child is reaped.
    pub fn stop(&mut self) {
        if self.ended {
            // The leader is gone; whatever it left behind goes too.
            let _ = kill_process_group(self.group, Signal::KILL);
            return;
        }
        let grace = match self.shape {
            Shape::Single => GRACE,
            Shape::Tree => SUPERVISOR_GRACE,
        };
        let _ = kill_process_group(self.group, Signal::TERM);
        if !matches!(self.handle.wait_timeout(grace), Ok(None)) {
            self.ended = true;
        }
        self.kill_group();
    }

    /// Ends the group with SIGKILL and reaps the child. A tree is ended by its
    /// supervisor, which therefore gets SIGTERM first.
    pub fn kill(&mut self) {
        match self.shape {
            Shape::Single => self.kill_group(),
            Shape::Tree => self.stop(),
        }
    }

    fn kill_group(&mut self) {
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.handle.wait();
        self.ended = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a command as the head of a process tree and ends the whole tree when
/// the command ends, when we are told to stop, or when our parent dies.
///
/// This is what `kregress __supervise COMMAND...` does. Returns the command's
/// exit code, or 128 plus the signal.
///
/// # Errors
///
/// Fails when the command cannot be started or waited for.
pub fn supervise(argv: &[OsString]) -> io::Result<u8> {
    let (program, args) = argv.split_first().ok_or_else(|| io::Error::other("no command to supervise"))?;
    // Orphans of the tree become ours, so that none escapes the last kill.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let mut signals = signal_hook::iterator::Signals::new([
        signal_hook::consts::SIGTERM,
        signal_hook::consts::SIGINT,
        signal_hook::consts::SIGHUP,
        signal_hook::consts::SIGCHLD,
    ])?;
    #[expect(clippy::disallowed_methods, reason = "this is the room for it")]
    let mut command = std::process::Command::new(program);
    command.args(args).process_group(0);
    // SAFETY: the closure runs between fork and exec and makes one system call.
    unsafe {
        command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
    }
    let mut child = command.spawn()?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let group = group.ok_or_else(|| io::Error::other("the command has no process id"))?;
    let end = |signal| {
        let _ = kill_process_group(group, signal);
    };
    for signal in signals.forever() {
        if signal == signal_hook::consts::SIGCHLD {
            if let Some(status) = child.try_wait()? {
                end(Signal::KILL);
                reap_orphans();
                use std::os::unix::process::ExitStatusExt as _;
                let code =
                    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(255);
                return Ok(u8::try_from(code).unwrap_or(255));
            }
        } else {
            end(Signal::TERM);
            let deadline = crate::clock::now() + GRACE;
            while crate::clock::now() < deadline && child.try_wait()?.is_none() {
                crate::clock::poll_interval(POLL);
            }
            end(Signal::KILL);
            reap_orphans();
            return Ok(143);
        }
    }
    Ok(255)
}

/// Kills and reaps what was left to us as subreaper: processes that put
/// themselves into other groups.
fn reap_orphans() {
    let children = || -> Vec<Pid> {
        let Ok(own) = std::fs::read_to_string("/proc/thread-self/children") else { return Vec::new() };
        own.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect()
    };
    loop {
        let left = children();
        if left.is_empty() {
            return;
        }
        for pid in left {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_only_where_a_shell_needs_it() {
        assert_eq!(shell_line(&["make", "O=/b", "-j2"]), "make O=/b -j2");
        assert_eq!(shell_line(&["a b", "", "it's"]), r"'a b' '' 'it'\''s'");
    }

    #[test]
    fn output_of_a_command_is_read() {
        assert_eq!(Cmd::new("printf").arg("%s").arg("x y").read().expect("printf"), "x y");
    }

    #[test]
    fn a_failed_command_shows_its_command_status_and_last_words() {
        let error = Cmd::new("sh").arg("-c").arg("echo no luck >&2; exit 7").read().expect_err("fails");
        let text = error.to_string();
        assert!(text.starts_with("`sh -c 'echo no luck >&2; exit 7'` failed with exit status: 7"), "{text}");
        assert!(text.ends_with("\n  no luck"), "{text}");
    }

    #[test]
    fn an_expendable_child_dies_before_us_when_memory_runs_out() {
        let score = || Cmd::new("cat").arg("/proc/self/oom_score_adj");
        assert_eq!(score().expendable().read().expect("cat").trim(), "800");
        assert_ne!(score().read().expect("cat").trim(), "800");
    }

    #[test]
    fn a_missing_program_is_named_with_a_hint() {
        let error = Cmd::new("no-such-program-here").read().expect_err("missing");
        let text = error.to_string();
        assert!(text.contains("cannot start `no-such-program-here`"), "{text}");
        assert!(text.contains("hint: install"), "{text}");
    }

    #[test]
    fn dropping_a_child_ends_its_group() {
        let log = tempfile::tempfile().expect("log");
        let child = Cmd::new("sh").arg("-c").arg("sleep 1000 & wait").start(&log).expect("start");
        let group = child.pid();
        assert!(alive_in_group(group) > 0);
        drop(child);
        // The leader is reaped; whoever else was killed may need a moment to die.
        while alive_in_group(group) > 0 {
            crate::clock::poll_interval(POLL);
        }
    }

    /// Processes of a group that are not yet dead; an orphan that nobody has
    /// reaped does not count (proc_pid_stat(5)).
    fn alive_in_group(group: i32) -> usize {
        let alive = |entry: std::fs::DirEntry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let mut fields = stat.rsplit_once(") ")?.1.split(' ');
            let (state, group_of) = (fields.next()?, fields.nth(1)?);
            (state != "Z" && state != "X" && group_of.parse() == Ok(group)).then_some(())
        };
        std::fs::read_dir("/proc").expect("proc").flatten().filter_map(alive).count()
    }
}
