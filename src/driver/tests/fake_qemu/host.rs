//! A host for the fake: listens on its channels, collects what it says.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use kregress::console::{Item, Marker, Scanner};
use kregress::exec::{Cmd, Running};
use kregress_wire::{
    Carrier, Decoder, Event, FrameError, Nonce, Outcome, PROTOCOL, Plan, PlannedTest, Request, Writer,
};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::fake_kernel::{FakeKernel, fake_qemu};
use crate::qmp::Monitor;

/// How long anything may take on a busy host before the test is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Code(i32),
    Signal(i32),
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        status.code().map_or_else(|| Self::Signal(status.signal().unwrap_or(0)), Self::Code)
    }
}

/// What is in the initramfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Image {
    Whole,
    Compressed,
    WithoutInit,
    WithoutPlan,
    BrokenPlan,
}

/// What was seen of a boot.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) events: Vec<Event>,
    /// Why the decoder stopped.
    pub(crate) error: Option<FrameError>,
    /// Bytes of an unfinished frame.
    pub(crate) pending: usize,
    pub(crate) console: Vec<u8>,
    pub(crate) output: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) exit: Exit,
}

impl Run {
    /// The console as text.
    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&self.console).into_owned()
    }

    /// What the classifier makes of the console, in words.
    pub(crate) fn console(&self) -> String {
        let mut scanner = Scanner::new();
        scanner.push(&self.console);
        scanner.finish();
        let word = |item| match item {
            Item::Finding(finding) => finding.kind.name().to_owned(),
            Item::Marker(Marker::Begin { id, name, .. }) => format!("begin {id} {name}"),
            Item::Marker(Marker::End { id, word, .. }) => format!("end {id} {word}"),
            Item::Marker(Marker::Other(text)) | Item::GaveUp(text) => format!("other {text}"),
        };
        scanner.drain().into_iter().map(word).collect::<Vec<_>>().join("|")
    }

    /// How a test ended, by the first frame that says so.
    pub(crate) fn outcome(&self, id: u32) -> Option<&Outcome> {
        self.events.iter().find_map(|event| match event {
            Event::Finished { test, outcome, .. } if *test == id => Some(outcome),
            _ => None,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Control,
    Output,
    Console,
}

enum News {
    Connected(Channel, UnixStream),
    Bytes(Channel, Vec<u8>),
    End,
}

/// A fake that runs.
pub(crate) struct Host {
    directory: TempDir,
    child: Running,
    news: Receiver<News>,
    decoder: Decoder,
    control: Option<Writer<UnixStream>>,
    open: usize,
    run: Run,
}

/// The nonce of every plan.
pub(crate) fn nonce() -> Nonce {
    Nonce::from_bytes(*b"a fake of a boot")
}

/// Prepares a directory with everything that a boot needs.
fn prepare(kernel: &FakeKernel, tests: &[&str], image: Image) -> TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    kernel.write(&directory.path().join("bzImage")).expect("a kernel");
    let plan = Plan {
        protocol: PROTOCOL,
        nonce: nonce(),
        seed: 7,
        patience_ms: 1000,
        carrier: Carrier::VirtioSerial,
        tests: (1..).zip(tests).map(|(id, name)| planned(id, name)).collect(),
        shell: None,
    };
    let plan = serde_json::to_vec(&plan).expect("a plan");
    let archive = match image {
        Image::Whole => cpio(&[("init", b"#!"), ("kregress/plan.json", &plan)]),
        Image::Compressed => b"\x1f\x8b\x08\x00compressed".to_vec(),
        Image::WithoutInit => cpio(&[("kregress/plan.json", &plan)]),
        Image::WithoutPlan => cpio(&[("init", b"#!")]),
        Image::BrokenPlan => cpio(&[("init", b"#!"), ("kregress/plan.json", b"no JSON")]),
    };
    fs::write(directory.path().join("initrd"), archive).expect("an initramfs");
    directory
}

fn planned(id: u32, name: &str) -> PlannedTest {
    PlannedTest {
        id,
        name: name.to_owned(),
        workload: "no/workload".to_owned(),
        params: [].into(),
        timeout_ms: 1000,
        silence_ms: 1000,
        seed: u64::from(id),
        exec: None,
    }
}

/// A `newc` archive of these files.
fn cpio(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, data) in files.iter().copied().chain([("TRAILER!!!", &b""[..])]) {
        let (mode, links, size, name_size) = (0o100_755, 1, data.len(), name.len() + 1);
        let fields = [0, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        let header: String = fields.iter().map(|field| format!("{field:08x}")).collect();
        archive.extend_from_slice(format!("070701{header}{name}\0").as_bytes());
        archive.resize(archive.len().next_multiple_of(4), 0);
        archive.extend_from_slice(data);
        archive.resize(archive.len().next_multiple_of(4), 0);
    }
    archive
}

/// A command line like the driver's, without this flag, with more arguments at
/// its end.
fn command(directory: &Path, channels: &[String], without: &str, extra: &[&str]) -> Cmd {
    let path = |name: &str| directory.join(name).display().to_string();
    let (kernel, initrd) = (path("bzImage"), path("initrd"));
    let qmp = format!("unix:{},server=on,wait=off", path("qmp"));
    let fixed = [
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        "-no-reboot",
        "-machine",
        "pc",
        "-accel",
        "tcg",
    ];
    let rest = [
        "-smp",
        "2",
        "-m",
        "1G",
        "-kernel",
        &kernel,
        "-initrd",
        &initrd,
        "-append",
        "console=ttyS0 panic=-1",
    ];
    Cmd::new(fake_qemu())
        .env_remove("FAKE_QEMU_VERSION")
        .args(fixed.into_iter().filter(|word| *word != without))
        .args(rest)
        .args(["-qmp", &qmp])
        .args(channels)
        .args(extra.iter().copied())
}

fn socket_channels(directory: &Path) -> Vec<String> {
    let mut words = vec!["-device".to_owned(), "virtio-serial-pci".to_owned()];
    for name in ["control", "output"] {
        let path = directory.join(name);
        words.extend(["-chardev".to_owned(), format!("socket,id={name},path={}", path.display())]);
        words.extend([
            "-device".to_owned(),
            format!("virtserialport,chardev={name},name=org.kregress.{name}"),
        ]);
    }
    let path = directory.join("console");
    words.extend(["-chardev".to_owned(), format!("socket,id=console,path={}", path.display())]);
    words.extend(["-serial".to_owned(), "chardev:console".to_owned()]);
    words
}

/// Runs a fake that is expected not to start; what it says to that.
pub(crate) fn refused(kernel: &FakeKernel, extra: &[&str]) -> (Exit, String) {
    let directory = prepare(kernel, &[], Image::Whole);
    let output = command(directory.path(), &[], "", extra).run().expect("the fake runs");
    (output.status.into(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What `--version` prints.
pub(crate) fn version(number: Option<&str>) -> String {
    let command = Cmd::new(fake_qemu()).arg("--version").env_remove("FAKE_QEMU_VERSION");
    let command = match number {
        Some(number) => command.env("FAKE_QEMU_VERSION", number),
        None => command,
    };
    command.read().expect("a version")
}

impl Host {
    /// Boots a kernel with a plan of tests with the ids 1, 2 and so on.
    pub(crate) fn start(kernel: &FakeKernel, tests: &[&str]) -> Self {
        Self::start_with(kernel, tests, Image::Whole, &[])
    }

    /// The same with another initramfs and more arguments.
    pub(crate) fn start_with(kernel: &FakeKernel, tests: &[&str], image: Image, extra: &[&str]) -> Self {
        Self::launch(prepare(kernel, tests, image), "", extra)
    }

    /// The same without a flag of the command line.
    pub(crate) fn start_without(kernel: &FakeKernel, tests: &[&str], flag: &str) -> Self {
        Self::launch(prepare(kernel, tests, Image::Whole), flag, &[])
    }

    /// Boots again what was booted before.
    pub(crate) fn start_in(directory: &TempDir, extra: &[&str]) -> Self {
        let copy = tempfile::tempdir_in(directory.path()).expect("a directory");
        let kernel = directory.path().join("bzImage");
        fs::copy(directory.path().join("initrd"), copy.path().join("initrd")).expect("copied");
        let kernel = kernel.display().to_string();
        Self::launch(copy, "", &[&["-kernel", kernel.as_str()], extra].concat())
    }

    /// Boots with a console and no other channel.
    pub(crate) fn without_ports(kernel: &FakeKernel, tests: &[&str]) -> Run {
        let directory = prepare(kernel, tests, Image::Whole);
        let console = directory.path().join("console.log");
        let serial = format!("file:{}", console.display());
        let output = command(directory.path(), &[], "", &["-serial", &serial]).run().expect("the fake runs");
        Run {
            console: fs::read(&console).expect("a console"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            exit: output.status.into(),
            ..Run::empty()
        }
    }

    fn launch(directory: TempDir, without: &str, extra: &[&str]) -> Self {
        let (sender, news) = channel();
        for (channel, name) in
            [(Channel::Control, "control"), (Channel::Output, "output"), (Channel::Console, "console")]
        {
            let listener = UnixListener::bind(directory.path().join(name)).expect("a socket");
            let sender = sender.clone();
            std::thread::spawn(move || collect(channel, &listener, &sender));
        }
        let log = File::create(directory.path().join("stderr")).expect("a file");
        let command = command(directory.path(), &socket_channels(directory.path()), without, extra);
        let child = command.start(&log).expect("the fake starts");
        Self { directory, child, news, decoder: Decoder::new(), control: None, open: 3, run: Run::empty() }
    }

    /// Waits until what was seen is enough.
    ///
    /// # Panics
    ///
    /// Panics when all channels end before that.
    pub(crate) fn until(&mut self, enough: impl Fn(&Run) -> bool) {
        while !enough(&self.run) {
            assert!(self.open > 0, "the fake ended too early: {:?}", self.run);
            self.take();
        }
    }

    fn take(&mut self) {
        match self.news.recv_timeout(PATIENCE).expect("the fake goes on") {
            News::Connected(Channel::Control, stream) => self.control = Some(Writer::new(stream)),
            News::Connected(..) => {}
            News::Bytes(Channel::Control, bytes) => {
                self.decoder.push(&bytes);
                while self.run.error.is_none() {
                    match self.decoder.next_message() {
                        Ok(Some(event)) => self.run.events.push(event),
                        Ok(None) => break,
                        Err(error) => self.run.error = Some(error),
                    }
                }
            }
            News::Bytes(Channel::Output, bytes) => self.run.output.extend(bytes),
            News::Bytes(Channel::Console, bytes) => self.run.console.extend(bytes),
            News::End => self.open -= 1,
        }
    }

    /// Sends a request to the guest's agent.
    pub(crate) fn request(&mut self, request: &Request) {
        self.control.as_mut().expect("a connection").send(request).expect("sent");
    }

    /// Connects to QMP.
    pub(crate) fn monitor(&mut self) -> Monitor {
        // The fake listens for QMP before it connects its channels.
        while self.control.is_none() {
            self.take();
        }
        Monitor::connect(&self.directory.path().join("qmp"))
    }

    /// Sends SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGKILL.
    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.pid()).expect("a process");
        kill_process(pid, signal).expect("signalled");
    }

    /// Waits for the end.
    pub(crate) fn finish(self) -> Run {
        self.finish_and_keep().0
    }

    /// Waits for the end and keeps the files.
    pub(crate) fn finish_and_keep(mut self) -> (Run, TempDir) {
        while self.open > 0 {
            self.take();
        }
        let status = self.child.wait_timeout(PATIENCE).expect("waited").expect("the fake ends");
        self.run.exit = status.into();
        self.run.pending = self.decoder.pending();
        self.run.stderr = fs::read_to_string(self.directory.path().join("stderr")).expect("read");
        (self.run, self.directory)
    }
}

impl Run {
    fn empty() -> Self {
        Self {
            events: vec![],
            error: None,
            pending: 0,
            console: vec![],
            output: vec![],
            stderr: String::new(),
            exit: Exit::Code(0),
        }
    }
}

/// Takes the one connection of a channel and reads it to its end.
fn collect(channel: Channel, listener: &UnixListener, news: &Sender<News>) {
    let (mut stream, _) = listener.accept().expect("a connection");
    // The receiver is gone when its test has failed.
    let _ = news.send(News::Connected(channel, stream.try_clone().expect("cloned")));
    let mut chunk = vec![0; 1 << 16];
    while let Ok(count @ 1..) = stream.read(&mut chunk) {
        if news.send(News::Bytes(channel, chunk[..count].to_vec())).is_err() {
            return;
        }
    }
    let _ = news.send(News::End);
}
