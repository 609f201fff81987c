//! An interactive guest on both backends: a terminal with everything that belongs to
//! one, typed at by a test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::rig::{Rig, text};

const BACKENDS: [(&str, &str); 2] =
    [("backend=qemu,accel=tcg", "distro"), ("backend=virtme-ng,accel=tcg", "distro-vng")];

/// Longest silence of a guest that boots on a loaded host.
const PATIENCE: Duration = Duration::from_secs(150);

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A terminal with somebody at it.
struct Terminal {
    master: File,
    slave: File,
    child: Child,
    seen: String,
}

impl Terminal {
    fn with(rig: &Rig, words: &[&str]) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal");
        tcsetwinsize(&master, size(33, 99)).expect("a size");
        let name = ptsname(&master, Vec::new()).expect("a name");
        let slave = File::options().read(true).write(true).open(name.to_str().expect("UTF-8"));
        let slave = slave.expect("the other end");
        let copy = || Stdio::from(slave.try_clone().expect("a copy"));
        let child = rig.command(words).stdin(copy()).stdout(copy()).stderr(copy()).spawn().expect("started");
        Self { master: File::from(master), slave, child, seen: String::new() }
    }

    fn types(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("typed");
    }

    /// Reads on until there is this text, and forgets all up to its end.
    fn shows(&mut self, words: &str) {
        // We hold the other end, too: an end of kregress would not be heard.
        let child = pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).expect("a handle");
        let patience = Timespec::try_from(PATIENCE).expect("a time");
        while !self.seen.contains(words) {
            let mut fds = [PollFd::new(&self.master, PollFlags::IN), PollFd::new(&child, PollFlags::IN)];
            let ready = poll(&mut fds, Some(&patience)).expect("a wait");
            let said = fds[0].revents().contains(PollFlags::IN);
            assert!(ready > 0 && said, "no `{words}` in:\n{}", self.seen);
            let mut bytes = [0; 4096];
            let count = self.master.read(&mut bytes).expect("readable");
            self.seen.push_str(&String::from_utf8_lossy(&bytes[..count]));
        }
        let (_, rest) = self.seen.split_once(words).expect("seen");
        self.seen = rest.to_owned();
    }

    /// Its exit code, once the terminal is as it was before.
    fn ends(mut self) -> Option<i32> {
        let status = self.child.wait().expect("a status");
        let modes = tcgetattr(&self.slave).expect("modes").local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO), "the terminal is not given back");
        status.code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // A test that failed half-way leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_shell_has_a_terminal_with_job_control_and_a_size() {
    for (machine, kernel) in BACKENDS {
        let rig = Rig::new();
        let mut terminal = Terminal::with(&rig, &["shell", "--kernel", kernel, "--machine", machine]);
        terminal.shows("ends the guest");
        // What is typed is shown, so that what is waited for must not be typed.
        terminal.shows("# ");
        terminal.types("stty size; echo be''gun\n");
        terminal.shows("33 99");
        terminal.shows("begun");
        terminal.types("sh -c \"echo slee''ping; exec sleep 1000\"\n");
        terminal.shows("sleeping");
        terminal.types("\x03");
        terminal.shows("# ");
        terminal.types("echo code $((100 + $?))\n");
        terminal.shows("code 230");
        tcsetwinsize(&terminal.master, size(44, 111)).expect("a size");
        terminal.types("until [ \"$(stty size)\" = '44 111' ]; do :; done; echo re''sized\n");
        terminal.shows("resized");
        terminal.types("exit 9\n");
        assert_eq!(terminal.ends(), Some(0), "{machine}: what was typed last is no verdict on the shell");
    }
}

#[test]
fn a_guest_that_hears_nothing_any_more_is_left_with_one_key() {
    let rig = Rig::new();
    let mut terminal = Terminal::with(&rig, &["shell", "--machine", "accel=tcg"]);
    terminal.shows("# ");
    terminal.types("trap '' INT; echo de''af; while :; do :; done\n");
    terminal.shows("deaf");
    terminal.types("\x03\x1d");
    terminal.shows("the guest was ended");
    assert_eq!(terminal.ends(), Some(0));
}

#[test]
fn a_command_prints_every_byte_and_its_failure_is_told() {
    for (machine, kernel) in BACKENDS {
        let rig = Rig::new();
        let script = "head -c 300000 /dev/zero | tr '\\0' 'x'; echo; uname -s; cat; exit 3";
        let script = if kernel == "distro" {
            script.replace("tr '\\0' 'x'", "sed 's/\\x00/x/g'")
        } else {
            script.to_owned()
        };
        let words = ["shell", "--kernel", kernel, "--machine", machine, "--", "sh", "-c", &script];
        let output = rig.command(&words).stdin(Stdio::null()).output().expect("start");
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        let expected = format!("{}\nLinux\n", "x".repeat(300_000));
        assert!(output.stdout == expected.as_bytes(), "{} bytes: {machine}", output.stdout.len());
        assert!(text(&output).contains("the command exited with code 3"), "{}", text(&output));
    }
}
