//! The guest as a place to type commands in: one command in a pseudoterminal, whose
//! other end is a port of the machine.
//!
//! Ends with the command. Judges nothing.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use kregress_wire::shell::{Shell, ShellEvent, ShellRequest, ShellStatus, Size};
use kregress_wire::{Decoder, Writer};
use rustix::process::{Pid, WaitOptions, ioctl_tiocsctty, setsid, waitpid};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::ports::Ports;

/// How long the host may take to see what was printed, before the machine goes off
/// without its word.
const FAREWELL: Duration = Duration::from_secs(10);

/// Runs the command to its end.
///
/// # Errors
///
/// Fails when there is no way to the user. A command that does not start is told to
/// the host and is no error.
pub(crate) fn run(shell: &Shell, ports: Ports) -> Result<(), String> {
    let lost = |error: io::Error| format!("cannot reach the user: {error}");
    let Ports { control, output, .. } = ports;
    let output = output.ok_or("an interactive guest needs a port for its output")?;
    let mut events = Writer::new(control.try_clone().map_err(lost)?);
    let (master, child) = match start(shell) {
        Ok(started) => started,
        Err(reason) => {
            events.send(&ShellEvent::Failed { reason }).map_err(lost)?;
            let (leave, left) = mpsc::channel();
            obey(control, None, leave);
            wait_for_leave(&left);
            return Ok(());
        }
    };
    events.send(&ShellEvent::Ready).map_err(lost)?;
    let (leave, left) = mpsc::channel();
    obey(control, Some(master.try_clone().map_err(lost)?), leave);
    if shell.terminal.is_some() {
        let (typed, keyboard) = (output.try_clone().map_err(lost)?, master.try_clone().map_err(lost)?);
        std::thread::spawn(move || forward(typed, keyboard));
    }
    // The end of the command hangs up the terminal, which ends this, too.
    let shown = std::thread::spawn(move || forward(master, output));
    let status = wait(child).map_err(|error| format!("cannot wait for the command: {error}"))?;
    let shown = shown.join().unwrap_or(0);
    events.send(&ShellEvent::Ended { status, shown }).map_err(lost)?;
    wait_for_leave(&left);
    Ok(())
}

/// A host that is gone will end the machine itself.
fn wait_for_leave(left: &Receiver<()>) {
    let _ = left.recv_timeout(FAREWELL);
}

/// Does what the host asks for, on a thread that ends with the process.
fn obey(mut control: File, master: Option<File>, leave: Sender<()>) {
    std::thread::spawn(move || {
        let mut decoder = Decoder::new();
        let mut buffer = [0; 512];
        while let Ok(count @ 1..) = control.read(&mut buffer) {
            decoder.push(&buffer[..count]);
            while let Ok(Some(request)) = decoder.next_message::<ShellRequest>() {
                match (request, &master) {
                    // A terminal that is gone needs no size.
                    (ShellRequest::Resize(size), Some(master)) => {
                        let _ = tcsetwinsize(master, window(size));
                    }
                    (ShellRequest::Resize(_), None) => {}
                    (ShellRequest::Leave, _) => {
                        let _ = leave.send(());
                    }
                }
            }
        }
    });
}

/// Moves bytes until there are no more, and counts them. A terminal that was hung up
/// ends with an error.
fn forward(mut from: File, mut to: File) -> u64 {
    let mut buffer = [0; 4096];
    let mut moved = 0;
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return moved,
            Ok(count) => {
                if to.write_all(&buffer[..count]).is_err() {
                    return moved;
                }
                moved += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return moved,
        }
    }
}

fn window(size: Size) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Starts the command in a terminal of its own; gives the other end of it.
fn start(shell: &Shell) -> Result<(File, Pid), String> {
    let Some((program, args)) = shell.command.split_first() else {
        return Err("the plan names a command without a name".to_owned());
    };
    let no_terminal =
        |error: io::Error| format!("no pseudoterminal: {error}\nhint: the kernel needs CONFIG_UNIX98_PTYS=y");
    let (master, slave) = terminal(shell.terminal).map_err(no_terminal)?;
    let copy = |fd: &OwnedFd| fd.try_clone().map(Stdio::from).map_err(no_terminal);
    let stdin = match shell.terminal {
        Some(_) => copy(&slave)?,
        None => Stdio::null(),
    };
    #[expect(clippy::disallowed_methods, reason = "the command is what the user asked for")]
    let mut command = Command::new(program);
    command.args(args).env_remove(crate::LIBRARY_PATH).envs(&shell.environment).current_dir("/");
    command.stdin(stdin).stdout(copy(&slave)?).stderr(copy(&slave)?);
    // SAFETY: the closure runs between fork and exec and makes two system calls.
    unsafe {
        command.pre_exec(move || {
            setsid()?;
            Ok(ioctl_tiocsctty(&slave)?)
        });
    }
    let child = command.spawn().map_err(|error| {
        format!("cannot start `{program}`: {error}\nhint: the guest of `backend=qemu` has a shell and few programs; that of `backend=virtme-ng` has the host's")
    })?;
    // With the command go our copies of the terminal, without which it could not end.
    drop(command);
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    Ok((master, pid.ok_or("the command has no process id")?))
}

/// Both ends of a terminal: ours, and that of the command.
fn terminal(size: Option<Size>) -> io::Result<(File, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let slave = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty())?;
    match size {
        Some(size) => tcsetwinsize(&master, window(size))?,
        None => {
            let mut modes = tcgetattr(&slave)?;
            modes.make_raw();
            tcsetattr(&slave, OptionalActions::Now, &modes)?;
        }
    }
    Ok((File::from(master), slave))
}

/// Waits for the command; as PID 1, reaps whoever comes to us as an orphan meanwhile.
fn wait(child: Pid) -> io::Result<ShellStatus> {
    let next = || match rustix::process::getpid().is_init() {
        true => rustix::process::wait(WaitOptions::empty()),
        false => waitpid(Some(child), WaitOptions::empty()),
    };
    loop {
        match next() {
            Ok(Some((pid, status))) if pid == child => {
                let status = ExitStatus::from_raw(status.as_raw());
                return Ok(match status.code() {
                    Some(code) => ShellStatus::Code(code),
                    None => ShellStatus::Signal(status.signal().unwrap_or_default()),
                });
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use kregress_wire::Carrier;

    use super::*;

    /// Runs a command with sockets for ports; gives what it printed, and the events.
    fn ran(command: &[&str], terminal: Option<Size>, typed: &[u8]) -> (String, Vec<ShellEvent>) {
        let (control, host_control) = UnixStream::pair().expect("a pair");
        let (output, mut host_output) = UnixStream::pair().expect("a pair");
        let shell = Shell {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            environment: [("GREETING".to_owned(), "hello".to_owned())].into(),
            terminal,
        };
        let file = |socket: UnixStream| File::from(OwnedFd::from(socket));
        let ports =
            Ports { control: file(control), output: Some(file(output)), carrier: Carrier::VirtioSerial };
        host_output.write_all(typed).expect("typed");
        let mut requests = Writer::new(host_control.try_clone().expect("a copy"));
        requests.send(&ShellRequest::Leave).expect("sent");
        run(&shell, ports).expect("a shell");
        let mut decoder = Decoder::new();
        let read = |mut from: UnixStream| {
            from.set_nonblocking(true).expect("set");
            let mut bytes = Vec::new();
            let _ = from.read_to_end(&mut bytes);
            bytes
        };
        decoder.push(&read(host_control));
        let mut events = Vec::new();
        while let Ok(Some(event)) = decoder.next_message() {
            events.push(event);
        }
        (String::from_utf8(read(host_output)).expect("text"), events)
    }

    #[test]
    fn without_a_terminal_output_is_as_it_is_and_nothing_is_read() {
        let (text, events) = ran(&["sh", "-c", "echo $GREETING; cat; exit 7"], None, b"");
        assert_eq!(text, "hello\n");
        let ended = ShellEvent::Ended { status: ShellStatus::Code(7), shown: 6 };
        assert_eq!(events, [ShellEvent::Ready, ended]);
    }

    #[test]
    fn in_a_terminal_what_is_typed_is_read_and_its_size_is_known() {
        let size = Size { rows: 33, columns: 77 };
        let (text, events) =
            ran(&["sh", "-c", "stty size; read line; echo got $line"], Some(size), b"words\n");
        assert!(text.contains("33 77\r\n"), "{text}");
        assert!(text.ends_with("got words\r\n"), "{text}");
        assert!(matches!(events[1], ShellEvent::Ended { status: ShellStatus::Code(0), .. }), "{events:?}");
    }

    #[test]
    fn a_command_that_is_killed_is_told_by_its_signal() {
        let (_, events) = ran(&["sh", "-c", "kill -KILL $$"], None, b"");
        assert_eq!(events[1], ShellEvent::Ended { status: ShellStatus::Signal(9), shown: 0 });
    }

    #[test]
    fn a_program_that_is_not_there_is_told_with_what_helps() {
        let (_, events) = ran(&["no-such-program-here"], None, b"");
        let [ShellEvent::Failed { reason }] = events.as_slice() else { panic!("{events:?}") };
        assert!(reason.starts_with("cannot start `no-such-program-here`: "), "{reason}");
        assert!(reason.contains("\nhint: "), "{reason}");
    }
}
