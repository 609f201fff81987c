//! A stand-in for `qemu-system-x86_64` that boots fake kernels: it speaks the
//! guest's protocol, and can pass, fail, oops, panic, hang, die, babble and
//! flood, as a script in the kernel image says.
//!
//! An example and no binary, so that `cargo test` builds it and `cargo install`
//! does not ship it. The driver takes it in place of QEMU where `KREGRESS_QEMU`
//! names it. Kernels for it are written by `tests/cli/fake_kernel.rs`.
//!
//! `FAKE_QEMU_VERSION` changes the version that it claims to have.

mod args;
mod chaos;
mod cpio;
mod exec_word;
mod guest;
mod link;
mod log;
mod qmp;
mod samples;
#[path = "../../tests/cli/fake_script.rs"]
mod script;
mod session;
mod splats;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use args::{Accel, Channel, Command, Machine, Target};
use guest::{End, Guest};
use link::Link;
use log::Log;
use qmp::{Cpus, OnNmi, Server};
use script::{Boot, SCRIPT_AT, SCRIPT_MAGIC, Script};

const NAME: &str = "qemu-system-x86_64";
const VERSION: &str = "8.2.0";

/// No test waits as long as this, so a fake that is this old was forgotten.
const LIFETIME: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    let version = std::env::var("FAKE_QEMU_VERSION").unwrap_or_else(|_| VERSION.to_owned());
    let args: Vec<String> =
        std::env::args_os().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
    let machine = match args::parse(&args) {
        Ok(Command::Version) => {
            let text = format!("QEMU emulator version {version} (fake)\n");
            return match io::stdout().write_all(text.as_bytes()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(_) => ExitCode::FAILURE,
            };
        }
        Ok(Command::Run(machine)) => *machine,
        Err(error) => return fail(&format!("{NAME}: {error}")),
    };
    let mut guest = match power_on(machine, version) {
        Ok(guest) => guest,
        Err(Refusal { code, text }) => {
            fail(&text);
            return ExitCode::from(code);
        }
    };
    // The channels of a guest that hangs stay open.
    let how = guest.as_mut().map_or(End::Hang, Guest::run);
    end(how)
}

/// Why the machine does not start.
struct Refusal {
    code: u8,
    text: String,
}

fn refusal(text: String) -> Refusal {
    Refusal { code: 1, text }
}

fn fail(text: &str) -> ExitCode {
    // Without stderr there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
    ExitCode::FAILURE
}

/// Opens everything that the command line names. `None` is a machine without a
/// kernel, whose firmware finds nothing to boot.
fn power_on(machine: Machine, version: String) -> Result<Option<Guest>, Refusal> {
    std::thread::spawn(|| {
        kregress::clock::poll_interval(LIFETIME);
        fail(&format!("{NAME}: the fake was forgotten for {} s", LIFETIME.as_secs()));
        leave(99);
    });
    let qmp = machine.qmp.as_deref().map(listen).transpose()?;
    let console = machine.console.as_ref().map(open).transpose()?;
    let control = machine.control.as_ref().map(open).transpose()?;
    let output = machine.output.as_ref().map(open).transpose()?;
    for path in &machine.truncates {
        File::create(path).map_err(|error| {
            refusal(format!("{NAME}: -chardev file: Failed to open '{}': {error}", path.display()))
        })?;
    }
    let Some(kernel) = machine.kernel else { return Ok(None) };
    let mut script = read_kernel(&kernel)?;
    let account = script.chaos.map(|seed| {
        script = chaos::roll(seed, &kernel, &script);
        let mut name = kernel.as_os_str().to_owned();
        name.push(".account");
        PathBuf::from(name)
    });
    match &script.boot {
        Boot::KvmRefused if machine.accel == Accel::Kvm => {
            return Err(refusal(format!(
                "Could not access KVM kernel module: No such file or directory\n\
                 {NAME}: -accel kvm: failed to initialize kvm: No such file or directory"
            )));
        }
        Boot::Exit { code, stderr } => return Err(Refusal { code: *code, text: stderr.clone() }),
        _ => {}
    }
    let initrd = match &machine.initrd {
        None => None,
        Some(path) => Some(fs::read(path).map_err(|error| {
            let path = path.display();
            refusal(format!(
                "qemu: error reading initrd {path}: Failed to open file \u{201c}{path}\u{201d}: {error}"
            ))
        })?),
    };
    let log = Log::new(
        console.map_or_else(|| Box::new(io::sink()) as Box<dyn Write + Send>, Ends::writer),
        &machine.cmdline,
    );
    let cpus = Arc::new(Cpus::default());
    if let Some(listener) = qmp {
        let text = splats::panic("NMI: Not continuing", &script.release);
        let on_nmi = match (panics_on_nmi(&machine.cmdline), guest::reboots_after_panic(&machine.cmdline)) {
            (false, _) => OnNmi::Wonder,
            (true, false) => OnNmi::Panic(text),
            (true, true) => OnNmi::PanicAndExit(text),
        };
        let server =
            Server { cpus: Arc::clone(&cpus), log: log.clone(), version, processors: machine.cpus, on_nmi };
        std::thread::spawn(move || server.serve(&listener));
    }
    let (requests, control) = control.map(|ends| (ends.input, Link::new(ends.output))).unzip();
    Ok(Some(Guest {
        script,
        kernel,
        cmdline: machine.cmdline,
        shares: machine.shares,
        accel: machine.accel,
        processors: machine.cpus,
        memory: machine.memory,
        reset: machine.reset,
        initrd,
        log,
        control,
        requests,
        output: output.map(Ends::writer),
        cpus,
        account,
    }))
}

fn panics_on_nmi(cmdline: &str) -> bool {
    cmdline.split_whitespace().any(|word| word == "unknown_nmi_panic=1" || word == "unknown_nmi_panic")
}

fn listen(path: &Path) -> Result<UnixListener, Refusal> {
    // QEMU removes what is there, too.
    let _ = fs::remove_file(path);
    UnixListener::bind(path).map_err(|error| {
        let path = path.display();
        refusal(format!(
            "{NAME}: -qmp unix:{path},server=on,wait=off: Failed to bind socket to {path}: {error}"
        ))
    })
}

/// Both directions of a channel.
struct Ends {
    input: Box<dyn Read + Send>,
    output: Box<dyn Write + Send>,
}

impl Ends {
    fn writer(self) -> Box<dyn Write + Send> {
        self.output
    }
}

fn open(channel: &Channel) -> Result<Ends, Refusal> {
    let one_way = |file: File| Ends { input: Box::new(io::empty()), output: Box::new(file) };
    let (path, ends) = match &channel.target {
        Target::Null => return Ok(Ends { input: Box::new(io::empty()), output: Box::new(io::sink()) }),
        Target::Connect(path) => {
            let socket = UnixStream::connect(path).and_then(|socket| Ok((socket.try_clone()?, socket)));
            (path, socket.map(|(input, output)| Ends { input: Box::new(input), output: Box::new(output) }))
        }
        Target::File(path) => (path, File::create(path).map(one_way)),
        Target::Append(path) => (path, OpenOptions::new().create(true).append(true).open(path).map(one_way)),
    };
    ends.map_err(|error| {
        let verb = if matches!(channel.target, Target::Connect(_)) { "connect to" } else { "open" };
        refusal(format!("{NAME}: {}: Failed to {verb} '{}': {error}", channel.argument, path.display()))
    })
}

fn read_kernel(path: &Path) -> Result<Script, Refusal> {
    let name = path.display();
    let image = fs::read(path)
        .map_err(|error| refusal(format!("qemu: could not open kernel file '{name}': {error}")))?;
    if image.get(0x202..0x206) != Some(b"HdrS") {
        return Err(refusal("qemu: linux kernel too old to load a ram disk".to_owned()));
    }
    let script = image.get(SCRIPT_AT..).and_then(|rest| rest.strip_prefix(SCRIPT_MAGIC.as_bytes()));
    let script =
        script.ok_or_else(|| refusal(format!("{NAME}: '{name}' is no kernel that the fake can boot")))?;
    serde_json::from_slice(script)
        .map_err(|error| refusal(format!("{NAME}: the script in '{name}': {error}")))
}

fn end(end: End) -> ExitCode {
    match end {
        End::Off => ExitCode::SUCCESS,
        End::Exit(code) => ExitCode::from(code),
        End::Kill => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            ExitCode::FAILURE
        }
        End::Hang | End::HangStubborn => wait_for_ever(),
    }
}

/// From now on only SIGKILL ends the process.
fn ignore_signals() {
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        // A handler that only sets a flag keeps the signal from killing.
        let _ = signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)));
    }
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Ends the process from any of its threads.
#[expect(
    clippy::disallowed_methods,
    clippy::exit,
    reason = "the machine goes off whatever its threads are doing"
)]
fn leave(code: i32) -> ! {
    std::process::exit(code)
}
