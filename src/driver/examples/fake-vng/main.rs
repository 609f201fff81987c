//! A stand-in for `vng` of virtme-ng: it takes the options of the version that it
//! claims to have, makes of them a line for a shell as that version does, quoted or
//! not, and of that the command line of QEMU, which it starts.
//!
//! The driver takes it in place of vng where `KREGRESS_VNG` names it.
//! `FAKE_VNG_VERSION` is the version that it claims to have, any text. `FAKE_VNG`
//! has it misbehave:
//!
//! | value | what it does |
//! |---|---|
//! | `dies` | ends before QEMU, with the words of a broken installation |
//! | `hangs` | starts nothing and says nothing |
//! | `exit-N` | ends with this exit code, whatever the guest did |
//! | `dies-late` | the same, after it was asked for its version |
//! | `late-virtiofsd` | its virtiofsd does not come up, so that it falls back to 9p without a word |
//! | `early-qemu` | QEMU wants virtiofsd before that listens |
//! | `abandons` | leaves QEMU and a daemon behind, both in sessions of their own |

mod options;
mod qemu;
mod shell;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use options::Options;

/// First argument of the second program of virtme-ng, which the first one starts.
const RUN: &str = "virtme-run";

/// First argument of a daemon that outlives everything that is not killed.
const LINGER: &str = "linger";

const NEWEST: &str = "1.42";

/// No test waits as long as this, so a fake that is this old was forgotten.
const LIFETIME: Duration = Duration::from_secs(300);

#[expect(clippy::disallowed_methods, reason = "the fake is a program of its own, as vng is")]
fn program(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.split_first() {
        Some((first, rest)) if first == RUN => run(rest),
        Some((first, _)) if first == LINGER => linger(),
        _ => vng(&args),
    }
}

fn say(text: &str) {
    // Without stderr there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn misbehaviour() -> String {
    std::env::var("FAKE_VNG").unwrap_or_default()
}

fn version() -> String {
    std::env::var("FAKE_VNG_VERSION").unwrap_or_else(|_| NEWEST.to_owned())
}

/// What `vng` does: options to a line for a shell.
fn vng(args: &[String]) -> ExitCode {
    let version = version();
    if args.iter().any(|arg| arg == "--version") {
        if misbehaviour() == "dies" {
            return broken();
        }
        let text = if version.starts_with(|c: char| c.is_ascii_digit()) {
            format!("virtme-ng {version}\n")
        } else {
            version
        };
        let _ = std::io::stdout().write_all(text.as_bytes());
        return ExitCode::SUCCESS;
    }
    let mut options = match Options::parse(args, &version) {
        Ok(options) => options,
        Err(error) => {
            say(&format!("usage: vng [-h] [--version]\nvng: error: {error}"));
            return ExitCode::from(2);
        }
    };
    options.obey(&configuration());
    // It makes what is not there, of what it downloads.
    if let Some(root) = options.value("root").filter(|root| !Path::new(root).exists())
        && let Err(error) = fs::create_dir_all(root)
    {
        say(&format!("vng: error: {error}"));
    }
    match misbehaviour().as_str() {
        "hangs" => linger(),
        "dies-late" => broken(),
        _ => {
            let own = std::env::current_exe().unwrap_or_default();
            let line = format!("{} {RUN} {}", shell::quoted(&own.to_string_lossy()), options.line(&version));
            let mut child = program("/bin/sh");
            child.args(["-c", &line]);
            status(child.spawn())
        }
    }
}

/// What the user wrote into the configuration of virtme-ng: it has the last word.
fn configuration() -> serde_json::Value {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let file = Path::new(&home).join(".config/virtme-ng/virtme-ng.conf");
    let text = fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// The words of a Python that does not find what belongs to vng.
fn broken() -> ExitCode {
    say("Traceback (most recent call last):\n  File \"/usr/bin/vng\", line 5, in <module>\n    \
         from virtme_ng.run import main\nModuleNotFoundError: No module named 'virtme_ng'");
    ExitCode::FAILURE
}

fn status(child: std::io::Result<Child>) -> ExitCode {
    let status = child.and_then(|mut child| child.wait());
    match status {
        Ok(status) => ExitCode::from(u8::try_from(status.code().unwrap_or(255)).unwrap_or(255)),
        Err(error) => {
            say(&format!("the fake cannot start a process: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// What `virtme-run` does: a line for a shell to QEMU's, and QEMU.
fn run(args: &[String]) -> ExitCode {
    say("virtme-run: words from before QEMU");
    let mut machine = match qemu::Machine::parse(args) {
        Ok(machine) => machine,
        Err(error) => {
            say(&format!("usage: virtme-run\nvirtme-run: error: {error}"));
            return ExitCode::from(2);
        }
    };
    if misbehaviour() == "late-virtiofsd" {
        machine.root = qemu::Root::NineP;
    }
    let mut qemu = program(&machine.qemu);
    qemu.args(machine.command_line());
    match misbehaviour().as_str() {
        "abandons" => {
            for mut child in [qemu, daemon()] {
                use std::os::unix::process::CommandExt as _;
                // A group of its own, to which no signal for ours goes.
                let _ = child.process_group(0).stdin(Stdio::null()).spawn();
            }
            ExitCode::SUCCESS
        }
        "early-qemu" if machine.root == qemu::Root::Virtiofs => {
            say(
                "qemu-system-x86_64: -chardev socket,id=charvirtfs5,path=/tmp/virtmeabc: Failed to connect to \
                 '/tmp/virtmeabc': Connection refused",
            );
            ExitCode::FAILURE
        }
        other => {
            let ended = status(qemu.spawn());
            match other.strip_prefix("exit-").and_then(|code| code.parse::<u8>().ok()) {
                Some(code) => ExitCode::from(code),
                // Nothing was written where the guest leaves its exit code.
                None if ended == ExitCode::SUCCESS => ExitCode::from(255),
                None => ended,
            }
        }
    }
}

fn daemon() -> Command {
    let own = std::env::current_exe().unwrap_or_default();
    let mut daemon = program(own);
    // The directory tells the tests whose it is.
    daemon.args([OsString::from(LINGER), std::env::var_os("TMPDIR").unwrap_or_default()]);
    daemon
}

/// Outlives every signal that can be ignored.
fn linger() -> ExitCode {
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT, signal_hook::consts::SIGHUP] {
        let flag = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let _ = signal_hook::flag::register(signal, flag);
    }
    kregress::clock::poll_interval(LIFETIME);
    say("the fake was forgotten");
    ExitCode::from(99)
}
