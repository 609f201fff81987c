//! A project, a cache and a home of their own for one test, and what is held
//! against every run whatever it is about: each planned test has exactly one
//! verdict, files are as their schemas say, nothing raw is shown, and neither a
//! process nor a socket is left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use kregress::clock;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Rlimit, Signal, kill_process, pidfd_open, setrlimit};
use tempfile::TempDir;

use crate::fake_kernel::{FakeKernel, fake_qemu, find_or_build};
use crate::record::{Record, check_harmless};

/// How long a command may take on a busy host before the test is given up.
const PATIENCE: Duration = Duration::from_secs(150);

/// The suite of most tests. Limits are generous: nothing comes near them.
const SUITE: &str = "\
version: 1
summary: three tests
tests:
  first:
    workload: netns/drain
    timeout: 60s
  middle:
    workload: netns/drain
    timeout: 60s
    metrics:
      - {name: drain_time, unit: ns, better: lower, kind: time}
  last:
    workload: netns/drain
    timeout: 60s
";

/// The same with a middle test of little patience, for guests that hang.
const HASTY: &str = "\
version: 1
summary: three tests, one of which is expected to hang
tests:
  first:
    workload: netns/drain
    timeout: 60s
  middle:
    workload: netns/drain
    timeout: 250ms
  last:
    workload: netns/drain
    timeout: 60s
";

/// A suite with a test that takes times, one that counts, and one that does neither.
pub(crate) const MEASURED: &str = "\
version: 1
summary: what is measured
tests:
  timed:
    workload: netns/drain
    timeout: 60s
    metrics:
      - {name: drain_time, unit: ns, better: lower, kind: time}
  counted:
    workload: netns/drain
    timeout: 60s
    metrics:
      - {name: synchronize_rcu, unit: \"1\", better: lower, kind: count}
  plain:
    workload: netns/drain
    timeout: 60s
";

const CONFIG: &str = "\
version: 1
machine: {accel: tcg, backend: qemu, cpus: 2, memory: 512M}
default-kernel: fake
kernels:
  fake:
    image: kernels/fake
  other:
    image: kernels/other
";

/// A place to type commands in. The kernels `fake`, which is the default, and
/// `other` are images; the suites are `t` and `hasty` beside those built in.
pub(crate) struct Rig {
    dir: TempDir,
    env: BTreeMap<OsString, OsString>,
}

impl Rig {
    /// With a kernel that boots and passes everything as `other`, and this one
    /// as `fake`.
    pub(crate) fn with(kernel: &FakeKernel) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let rig = Self { dir, env: BTreeMap::new() };
        for sub in ["home", "cache", "tmp", "bin", "project/kernels", "project/suites"] {
            fs::create_dir_all(rig.path(sub)).expect("a directory");
        }
        rig.write("project/kregress.yaml", CONFIG);
        rig.write("project/suites/t.yaml", SUITE);
        rig.write("project/suites/hasty.yaml", HASTY);
        kernel.write(&rig.path("project/kernels/fake")).expect("a kernel");
        FakeKernel::new().release("6.1.0-other").write(&rig.path("project/kernels/other")).expect("a kernel");
        let env = [
            ("HOME", rig.path("home").into_os_string()),
            ("KREGRESS_CACHE", rig.path("cache").into_os_string()),
            ("TMPDIR", rig.path("tmp").into_os_string()),
            ("PATH", rig.path("bin").into_os_string()),
            ("KREGRESS_QEMU", fake_qemu().into_os_string()),
        ];
        env.into_iter().fold(rig, |rig, (key, value)| rig.env(key, value))
    }

    /// Sets a variable of the environment.
    pub(crate) fn env(mut self, key: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// Has the backend virtme-ng take the fake vng, of this version.
    pub(crate) fn vng(self, version: &str) -> Self {
        static FAKE: OnceLock<PathBuf> = OnceLock::new();
        let fake = FAKE.get_or_init(|| find_or_build("fake-vng"));
        self.env("KREGRESS_VNG", fake).env("FAKE_VNG_VERSION", version)
    }

    /// Puts the host's own programs behind those in `bin`.
    pub(crate) fn host_programs(self) -> Self {
        let mut path = self.path("bin").into_os_string();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()));
        self.env("PATH", path)
    }

    /// A path below the test's own directory.
    pub(crate) fn path(&self, below: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(below)
    }

    /// Writes a file.
    pub(crate) fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn command(&self, args: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the one place of this crate that starts the command")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_kregress"));
        command.args(args);
        // What comes first must not depend on how many processors this host has.
        let boots = ["run", "compare", "selfcheck", "bisect"];
        if args.first().is_some_and(|first| boots.contains(first)) && !args.contains(&"--jobs") {
            command.args(["--jobs", "1"]);
        }
        command.env_clear().envs(&self.env).current_dir(self.path("project")).stdin(Stdio::null());
        command
    }

    fn capture(&self, name: &str) -> (PathBuf, File) {
        let number = fs::read_dir(self.dir.path()).expect("a directory").count();
        let path = self.path(format!("{name}-{number}"));
        let file = File::create(&path).expect("a file");
        (path, file)
    }

    /// Starts a command; what it says on stdout can be followed.
    pub(crate) fn start(&self, args: &[&str]) -> Started<'_> {
        let (stderr, file) = self.capture("stderr");
        let before = Before::of(self);
        let mut child = self.command(args).stdout(Stdio::piped()).stderr(file).spawn().expect("kregress");
        let stdout = child.stdout.take().expect("a pipe");
        Started { rig: self, child, stdout, stderr, before }
    }

    /// Runs a command to its end.
    pub(crate) fn kregress(&self, args: &[&str]) -> Ended<'_> {
        self.run(self.command(args), PATIENCE)
    }

    /// Runs a command that takes long, with no more than this much memory for
    /// itself (`RLIMIT_DATA` of setrlimit(2)); what it starts may have as much.
    pub(crate) fn kregress_within(&self, args: &[&str], bytes: u64, patience: Duration) -> Ended<'_> {
        use std::os::unix::process::CommandExt as _;
        let mut command = self.command(args);
        let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
        // SAFETY: the closure runs between fork and exec and makes one system call.
        unsafe {
            command.pre_exec(move || Ok(setrlimit(rustix::process::Resource::Data, limit)?));
        }
        self.run(command, patience)
    }

    fn run(&self, mut command: Command, patience: Duration) -> Ended<'_> {
        let ((stdout, out), (stderr, err)) = (self.capture("stdout"), self.capture("stderr"));
        let before = Before::of(self);
        let mut child = command.stdout(out).stderr(err).spawn().expect("kregress");
        let status = wait(&mut child, patience);
        let read = |path| String::from_utf8(fs::read(path).expect("captured")).expect("UTF-8");
        Ended { rig: self, status, stdout: read(stdout), stderr: read(stderr), before }
    }

    /// Run directories, oldest first.
    pub(crate) fn runs(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.path("project/results")) else { return Vec::new() };
        let entries = entries.map(|entry| entry.expect("an entry").path());
        let mut runs: Vec<_> = entries.filter(|path| path.join("events.jsonl").exists()).collect();
        runs.sort();
        runs
    }

    /// Directories of bisections, oldest first.
    pub(crate) fn sessions(&self) -> Vec<PathBuf> {
        let all = self.names("project/results/bisect").into_iter();
        let all = all.map(|name| self.path("project/results/bisect").join(name));
        all.filter(|path| path.join("bisect.jsonl").exists()).collect()
    }

    /// Directories of series, oldest first.
    pub(crate) fn series(&self) -> Vec<PathBuf> {
        let all = self.names("project/results/series").into_iter();
        let all = all.map(|name| self.path("project/results/series").join(name));
        all.filter(|path| path.join("series.json").exists()).collect()
    }

    /// What a command is told by its surroundings.
    pub(crate) fn environment(&self) -> impl Iterator<Item = (OsString, OsString)> {
        self.env.iter().map(|(key, value)| (key.clone(), value.clone()))
    }

    /// Commands of processes that have anything to do with this directory.
    pub(crate) fn processes(&self) -> Vec<String> {
        let own = self.dir.path().to_str().expect("UTF-8");
        let entries = fs::read_dir("/proc").expect("/proc").flatten();
        // A process may end while we look.
        let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
        lines.filter(|line| line.contains(own)).collect()
    }

    /// Waits until a process with this word that has to do with this directory runs.
    pub(crate) fn wait_for_process(&self, word: &str) {
        let started = clock::now();
        while !self.processes().iter().any(|line| line.contains(word)) {
            assert!(started.elapsed() < PATIENCE, "`{word}` never ran");
            clock::poll_interval(Duration::from_millis(10));
        }
    }

    /// Waits until nothing runs that has to do with this directory.
    pub(crate) fn wait_for_no_process(&self) {
        let started = clock::now();
        while !self.processes().is_empty() {
            assert!(started.elapsed() < PATIENCE, "left behind: {:?}", self.processes());
            clock::poll_interval(Duration::from_millis(10));
        }
    }

    /// Names of what lies in a directory, sorted.
    pub(crate) fn names(&self, below: impl AsRef<Path>) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(below)) else { return Vec::new() };
        let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
        let mut names: Vec<_> = entries.map(|entry| name(entry.expect("an entry"))).collect();
        names.sort();
        names
    }
}

fn wait(child: &mut Child, patience: Duration) -> ExitStatus {
    let pid = Pid::from_child(child);
    let ended = pidfd_open(pid, PidfdFlags::empty()).expect("a handle of the process");
    let limit = Timespec::try_from(patience).expect("a time");
    let mut fds = [PollFd::new(&ended, PollFlags::IN)];
    while let Err(error) = poll(&mut fds, Some(&limit)) {
        assert_eq!(error, rustix::io::Errno::INTR, "waiting");
    }
    if fds[0].revents().is_empty() {
        let _ = child.kill();
        let _ = child.wait();
        panic!("kregress did not end within {patience:?}");
    }
    child.wait().expect("a status")
}

/// What was there before a command.
#[derive(Clone)]
struct Before {
    /// What one that was killed left in the cache.
    scratch: Vec<String>,
    runs: Vec<PathBuf>,
}

impl Before {
    fn of(rig: &Rig) -> Self {
        Self { scratch: rig.names("cache/run"), runs: rig.runs() }
    }
}

/// A command that runs.
pub(crate) struct Started<'a> {
    rig: &'a Rig,
    child: Child,
    stdout: ChildStdout,
    stderr: PathBuf,
    before: Before,
}

impl<'a> Started<'a> {
    /// Reads stdout up to a line with these words, and gives everything so far.
    pub(crate) fn follow(&mut self, words: &str) -> String {
        let mut text = String::new();
        while !(text.ends_with('\n') && text.contains(words)) {
            let more = self.read();
            assert!(!more.is_empty(), "kregress ended without `{words}`:\n{text}");
            text.push_str(&more);
        }
        text
    }

    fn read(&mut self) -> String {
        let stdout = &mut self.stdout;
        let patience = Timespec::try_from(PATIENCE).expect("a time");
        let mut fds = [PollFd::from_borrowed_fd(stdout.as_fd(), PollFlags::IN)];
        assert_ne!(poll(&mut fds, Some(&patience)), Ok(0), "kregress said nothing for {PATIENCE:?}");
        let mut bytes = vec![0; 64 << 10];
        let count = std::io::Read::read(stdout, &mut bytes).expect("readable");
        String::from_utf8(bytes[..count].to_vec()).expect("UTF-8")
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("signalled");
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended<'a> {
        let mut stdout = String::new();
        loop {
            let more = self.read();
            if more.is_empty() {
                break;
            }
            stdout.push_str(&more);
        }
        let status = wait(&mut self.child, PATIENCE);
        let stderr = fs::read_to_string(&self.stderr).expect("captured");
        let before = self.before.clone();
        Ended { rig: self.rig, status, stdout, stderr, before }
    }
}

impl Drop for Started<'_> {
    fn drop(&mut self) {
        // A test that failed half-way leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A command that ended. How it ended has to be said before anything is seen.
#[must_use = "say how it ended"]
pub(crate) struct Ended<'a> {
    rig: &'a Rig,
    status: ExitStatus,
    stdout: String,
    stderr: String,
    before: Before,
}

impl<'a> Ended<'a> {
    /// It ended with this exit code.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Seen<'a> {
        let Self { rig, status, stdout, stderr, before } = self;
        assert_eq!(status.code(), Some(code), "{status}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        let seen = Seen { rig, stdout, stderr, before };
        seen.check_streams();
        assert_eq!(rig.processes(), Vec::<String>::new(), "left behind");
        let left = rig.names("cache/run");
        assert!(left.iter().all(|name| seen.before.scratch.contains(name)), "left behind: {left:?}");
        assert_eq!(rig.names("tmp"), Vec::<String>::new(), "left behind");
        for series in rig.series() {
            for file in ["series.json", "junit.xml", "report.html"] {
                let text = fs::read(series.join(file)).unwrap_or_default();
                check_harmless(file, &String::from_utf8_lossy(&text));
            }
        }
        for session in rig.sessions() {
            for file in ["bisect.jsonl", "bisect.json", "bisect.log", "report.html"] {
                let text = fs::read(session.join(file)).unwrap_or_default();
                check_harmless(file, &String::from_utf8_lossy(&text));
            }
        }
        seen
    }

    /// It ended with this exit code, while another command works on.
    #[track_caller]
    pub(crate) fn exits_beside(self, other: &Started<'_>, code: i32) -> Seen<'a> {
        let Self { rig, status, stdout, stderr, before } = self;
        assert_eq!(status.code(), Some(code), "{status}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        let other = other.child.id().to_string();
        assert!(Path::new("/proc").join(other).join("exe").exists(), "the other one has ended");
        let seen = Seen { rig, stdout, stderr, before };
        seen.check_streams();
        seen
    }

    /// It ended with one of the exit codes that there are.
    #[track_caller]
    pub(crate) fn ends(self) -> (i32, Seen<'a>) {
        let code = self.status.code().unwrap_or_else(|| panic!("{}\n{}", self.status, self.stderr));
        assert!([0, 1, 2, 3, 4, 130].contains(&code), "{code}\n{}", self.stderr);
        (code, self.exits(code))
    }

    /// It was ended by this signal.
    #[track_caller]
    pub(crate) fn dies_of(self, signal: Signal) -> Seen<'a> {
        let Self { rig, status, stdout, stderr, before } = self;
        assert_eq!(status.signal(), Some(signal.as_raw()), "{status}\nstdout:\n{stdout}\nstderr:\n{stderr}");
        let seen = Seen { rig, stdout, stderr, before };
        seen.check_streams();
        seen
    }
}

/// What a command said.
pub(crate) struct Seen<'a> {
    rig: &'a Rig,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    before: Before,
}

impl Seen<'_> {
    /// Nothing that a terminal or a CI would obey.
    #[track_caller]
    fn check_streams(&self) {
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            check_harmless(name, text);
            for line in text.lines() {
                assert!(!line.trim_start().starts_with("::"), "a workflow command on {name}: {line}");
                assert!(!line.contains("##["), "a workflow command on {name}: {line}");
            }
        }
        assert!(!self.stderr.contains("panicked at"), "{}", self.stderr);
    }

    /// The record of the run that was made.
    #[track_caller]
    pub(crate) fn record(&self) -> Record {
        let mut runs = self.rig.runs();
        runs.retain(|run| !self.before.runs.contains(run));
        assert_eq!(runs.len(), 1, "{runs:?}");
        Record::read(&runs[0])
    }

    /// Stdout without what differs from run to run.
    pub(crate) fn stdout(&self) -> String {
        self.plain(&self.stdout)
    }

    /// Stderr without what differs from run to run.
    pub(crate) fn stderr(&self) -> String {
        self.plain(&self.stderr)
    }

    fn plain(&self, text: &str) -> String {
        let mut text = text.replace(self.rig.dir.path().to_str().expect("UTF-8"), "[DIR]");
        for run in self.rig.runs() {
            let name = run.file_name().expect("a name").to_string_lossy().into_owned();
            text = text.replace(&name, "[RUN]");
        }
        for series in self.rig.series() {
            let name = series.file_name().expect("a name").to_string_lossy().into_owned();
            text = text.replace(&name, "[SERIES]");
        }
        for session in self.rig.sessions() {
            let name = session.file_name().expect("a name").to_string_lossy().into_owned();
            text = text.replace(&name, "[SESSION]");
        }
        text = text
            .replace(fake_qemu().to_str().expect("UTF-8"), "[QEMU]")
            .replace(env!("CARGO_BIN_EXE_kregress"), "[KREGRESS]");
        text.lines().filter(|line| !line.starts_with("  | ")).map(without_time).collect()
    }
}

/// A line of the screen whose duration does not matter. The logs of tests are
/// left out before: kernel log and raw output come through channels of their
/// own, so how they are interleaved is chance.
fn without_time(line: &str) -> String {
    match line.split_once(", in ") {
        Some((before, time)) if time.ends_with(" s") => format!("{before}, in [TIME]\n"),
        _ => format!("{line}\n"),
    }
}
