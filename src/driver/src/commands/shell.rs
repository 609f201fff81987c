//! `kregress shell`: a guest to type commands in.
//!
//! Owns the user's terminal: takes it over, gives it back.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};

use anyhow::Context as _;
use kregress_wire::shell::{Shell, ShellStatus, Size};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::{Context, HOST, INTERRUPTED, PASSED, usage};
use crate::guest::programs::USUAL_PATH;
use crate::kernel;
use crate::lab::Lab;
use crate::lab::shell::{ShellEnd, Typed, User};
use crate::model::{Accel, AccelChoice, BuildEvent, Machine, Observer as _, RunEvent};
use crate::report::look::Look;
use crate::report::progress::Progress;
use crate::report::text_safety;
use crate::{interrupt, paths};

/// Exit code where the command in the guest failed.
const FAILED: u8 = 1;

/// What ends a guest that no longer listens: Ctrl-], as in telnet.
const LEAVE: u8 = 0x1d;

/// Lines of the kernel log that are shown of a guest that died.
const LAST_LINES: usize = 25;

/// Runs the command. Gives the exit code: 0 when the guest's command ended well, or
/// the user of a shell left it; 1 when it did not.
///
/// # Errors
///
/// Fails on wrong words, and where nothing can be booted.
pub fn run(context: &Context, kernel: Option<&str>, command: &[String]) -> anyhow::Result<u8> {
    let is_terminal = io::stdin().is_terminal() && io::stdout().is_terminal();
    if command.is_empty() && !is_terminal {
        return Err(usage(anyhow::anyhow!(
            "a shell needs a terminal on stdin and stdout\nhint: `kregress shell -- COMMAND` runs a command without one"
        )));
    }
    let project = context.project()?;
    let names: Vec<String> = kernel.map(str::to_owned).into_iter().collect();
    let specs = context.kernels(&project, &names)?;
    let machine = context.machine(&project)?;
    if machine.accel == AccelChoice::Only(Accel::Icount) {
        return Err(usage(anyhow::anyhow!(
            "`accel=icount` and a shell contradict each other: nobody types in virtual time\nhint: `--machine accel=auto`"
        )));
    }
    let spec = specs.first().context("no kernel is named")?;
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let lab = Lab::equip(machine.backend, &paths::cache()?)?;
    let env = context.build_env(&project)?;
    let mut progress = Progress::new(Look::of_stderr());
    let mut lost = None;
    let built = kernel::obtain(spec, &env, &mut |event: BuildEvent| {
        if let Err(error) = progress.observe(&RunEvent::Build(event)) {
            lost.get_or_insert(error);
        }
    });
    drop(progress);
    if let Some(error) = lost {
        return Err(error);
    }
    let kernel = match built {
        Ok(kernel) => kernel,
        Err(_) if interrupt::requested() => return Ok(INTERRUPTED),
        Err(error) => return Err(error.into()),
    };
    let decision = lab.decide(&kernel, &machine)?;
    anstream::eprintln!("{}: {}", spec.name, decision.reason);
    let mut user = match is_terminal {
        true => {
            anstream::eprintln!("Ctrl-] ends the guest, whatever it is doing");
            Somebody::at_a_terminal()
        }
        false => Somebody::without_one(),
    };
    let shell = Shell {
        command: if command.is_empty() { vec![shell_of(&machine)] } else { command.to_vec() },
        environment: environment(),
        terminal: user.size(),
    };
    let is_shell = command.is_empty();
    let end = lab.shell(&kernel, &spec.cmdline, &machine, decision, shell, &mut user);
    drop(user);
    Ok(match end? {
        // A shell ends with the code of whatever was typed last.
        ShellEnd::Ended(_) if is_shell => PASSED,
        ShellEnd::Ended(ShellStatus::Code(0)) => PASSED,
        ShellEnd::Left => {
            // What the guest showed last has no end of line.
            anstream::eprintln!("\nthe guest was ended");
            PASSED
        }
        ShellEnd::Ended(ShellStatus::Code(code)) => {
            anstream::eprintln!("the command exited with code {code}");
            FAILED
        }
        ShellEnd::Ended(ShellStatus::Signal(signal)) => {
            anstream::eprintln!("the command was killed by signal {signal}");
            FAILED
        }
        ShellEnd::Interrupted => INTERRUPTED,
        ShellEnd::Failed(reason) => {
            anstream::eprintln!("error: {}", text_safety::body(reason));
            HOST
        }
        ShellEnd::Lost { reason, log } => {
            for line in text_safety::last_lines(log, LAST_LINES) {
                anstream::eprintln!("  {line}");
            }
            anstream::eprintln!("error: {}", text_safety::body(reason));
            HOST
        }
    })
}

/// The shell that a guest gets: where the host has none that people like, `sh`.
fn shell_of(machine: &Machine) -> String {
    let bash = match &machine.root {
        Some(root) => root.path().join("bin/bash"),
        None => "/bin/bash".into(),
    };
    if bash.is_file() { "/bin/bash".to_owned() } else { "/bin/sh".to_owned() }
}

fn environment() -> BTreeMap<String, String> {
    let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
    let variables =
        [("HOME", "/root"), ("PATH", USUAL_PATH), ("PS1", "guest:\\w# "), ("TERM", term.as_str())];
    variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The user: at a terminal, which is given back on drop, or at none.
struct Somebody {
    stdin: Option<io::Stdin>,
    before: Option<Termios>,
}

impl Somebody {
    fn at_a_terminal() -> Self {
        Self { stdin: Some(io::stdin()), before: None }
    }

    fn without_one() -> Self {
        Self { stdin: None, before: None }
    }
}

impl User for Somebody {
    fn keyboard(&self) -> Option<BorrowedFd<'_>> {
        self.stdin.as_ref().map(|stdin| stdin.as_fd())
    }

    fn typed(&mut self) -> io::Result<Typed> {
        let Some(stdin) = &self.stdin else { return Ok(Typed::Nothing) };
        let mut buffer = [0; 1024];
        // Past the buffer of the standard library, of which poll knows nothing.
        let count = rustix::io::read(stdin, &mut buffer)?;
        let typed = &buffer[..count];
        if typed.contains(&LEAVE) {
            return Ok(Typed::Left);
        }
        if typed.is_empty() {
            // The terminal is gone.
            return Ok(Typed::Left);
        }
        Ok(Typed::Bytes(typed.to_vec()))
    }

    fn show(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        super::unless_reader_left(out.write_all(bytes).and_then(|()| out.flush()))
    }

    fn begin(&mut self) -> io::Result<()> {
        if let Some(stdin) = &self.stdin {
            let before = tcgetattr(stdin)?;
            let mut raw = before.clone();
            raw.make_raw();
            tcsetattr(stdin, OptionalActions::Drain, &raw)?;
            self.before = Some(before);
        }
        Ok(())
    }

    fn size(&self) -> Option<Size> {
        let size = tcgetwinsize(self.stdin.as_ref()?).ok()?;
        // A terminal that does not know its size has the usual one.
        let or = |value: u16, usual: u16| if value == 0 { usual } else { value };
        Some(Size { rows: or(size.ws_row, 24), columns: or(size.ws_col, 80) })
    }
}

impl Drop for Somebody {
    fn drop(&mut self) {
        if let (Some(stdin), Some(before)) = (&self.stdin, &self.before) {
            // Nothing can be done for a terminal that is gone.
            let _ = tcsetattr(stdin, OptionalActions::Drain, before);
        }
    }
}
