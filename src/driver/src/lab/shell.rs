//! An interactive guest: what the user types goes in, what the guest shows comes out,
//! until its command ends, the machine does, or the user leaves.
//!
//! Knows no terminal: that is the [`User`]. Judges nothing.

use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use kregress_wire::shell::{Shell, ShellEvent, ShellRequest, ShellStatus, Size};
use kregress_wire::{Carrier, Decoder, PROTOCOL, Plan, Writer};

use super::Measurement;
use super::boot::BootError;
use super::channels::{Channels, Received, Role};
use super::logs::MachineLog;
use super::machine::{Lab, LabError, Prepared};
use super::scratch::Scratch;
use crate::exec::Running;
use crate::guest::accel::Decision;
use crate::kernel::Kernel;
use crate::model::{BootId, Machine};
use crate::results::BootDir;
use crate::{clock, interrupt};

/// Longest time between two looks at the machine, at Ctrl-C and at the size of the
/// terminal.
const LOOK: Duration = Duration::from_millis(50);

/// How long a machine may take to go off when its command has ended.
const GOODBYE: Duration = Duration::from_secs(10);

/// As much of the kernel log as is kept for a guest that dies, in bytes.
const TAIL: usize = 16 << 10;

/// Whoever types and looks on.
pub trait User {
    /// Where to wait for what is typed; `None` if nothing is.
    fn keyboard(&self) -> Option<BorrowedFd<'_>>;
    /// Takes what was typed, of which there is some. [`Typed::Left`]: the user has
    /// had enough.
    ///
    /// # Errors
    ///
    /// Fails when reading does.
    fn typed(&mut self) -> io::Result<Typed>;
    /// Shows what came.
    ///
    /// # Errors
    ///
    /// Fails when it cannot be shown.
    fn show(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The command runs.
    ///
    /// # Errors
    ///
    /// Fails when the terminal cannot be prepared.
    fn begin(&mut self) -> io::Result<()>;
    /// Present size of the terminal.
    fn size(&self) -> Option<Size>;
}

/// What a user typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// For the guest.
    Bytes(Vec<u8>),
    /// Nothing more will come.
    Nothing,
    /// The guest is to be ended.
    Left,
}

/// How an interactive guest ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellEnd {
    /// Its command did.
    Ended(ShellStatus),
    /// Its command could not be started.
    Failed(String),
    /// The user left it.
    Left,
    /// A signal told us to stop.
    Interrupted,
    /// The machine went away, or never came up.
    Lost {
        /// What was seen.
        reason: String,
        /// End of the kernel log, as it came: not for a terminal.
        log: Vec<u8>,
    },
}

impl Lab {
    /// Boots a kernel for a user.
    ///
    /// # Errors
    ///
    /// Fails when the machine cannot be prepared or started, or the user be reached.
    pub fn shell(
        &self,
        kernel: &Kernel,
        cmdline: &[String],
        machine: &Machine,
        decision: Decision,
        shell: Shell,
        user: &mut dyn User,
    ) -> Result<ShellEnd, LabError> {
        let run = self.cache().join("run");
        let logs = Scratch::new(&run).map_err(|source| LabError::Create { path: run, source })?;
        let measurement = Measurement {
            kernel,
            cmdline,
            allow: &[],
            tests: &[],
            turns: 1..=1,
            retries: 0,
            machine,
            decision,
            seed: 0,
            run_dir: logs.path(),
        };
        let limit = self.limits(&measurement).boot;
        let plan = Plan {
            protocol: PROTOCOL,
            nonce: self.nonce(),
            seed: 0,
            patience_ms: u64::try_from(limit.as_millis() * 2 / 3).unwrap_or(u64::MAX),
            carrier: Carrier::VirtioSerial,
            tests: Vec::new(),
            shell: Some(shell),
        };
        let prepared = self.prepare(&measurement, &plan, &BootDir::new(logs.path(), BootId(0)))?;
        let Prepared { command, channels, dir, scratch } = prepared;
        let (log, theirs) = MachineLog::create(dir.machine())?;
        let running = command.expendable().start(&theirs).map_err(BootError::from)?;
        drop(theirs);
        let guest = Guest {
            running,
            channels,
            log,
            console: Vec::new(),
            decoder: Decoder::new(),
            requests: None,
            keyboard: None,
            pending: Vec::new(),
            size: None,
            shown: 0,
            begun: false,
        };
        let end = guest.attend(user, limit);
        drop(scratch);
        Ok(end.map_err(BootError::Wait)?)
    }
}

/// A guest that runs, and how far it has come.
struct Guest {
    running: Running,
    channels: Channels,
    log: MachineLog,
    console: Vec<u8>,
    decoder: Decoder,
    requests: Option<Writer<UnixStream>>,
    keyboard: Option<UnixStream>,
    /// Typed, and not yet taken by the guest.
    pending: Vec<u8>,
    size: Option<Size>,
    /// Bytes that came out of the guest.
    shown: u64,
    begun: bool,
}

impl Guest {
    /// Carries bytes until there is an end. Nothing of the machine runs then.
    fn attend(mut self, user: &mut dyn User, limit: Duration) -> io::Result<ShellEnd> {
        let started = clock::now();
        let mut awaited: Option<(ShellEnd, u64, Duration)> = None;
        loop {
            if interrupt::requested() {
                self.running.kill();
                return Ok(ShellEnd::Interrupted);
            }
            if let Some(end) = self.listen(user)? {
                let (end, shown) = end;
                awaited = Some((end, shown, started.elapsed() + GOODBYE));
            }
            if let Some((end, shown, until)) = awaited.take() {
                if self.shown >= shown || started.elapsed() >= until {
                    self.say(ShellRequest::Leave);
                    self.goodbye(user)?;
                    return Ok(end);
                }
                awaited = Some((end, shown, until));
            }
            if self.type_in(user)? == Typed::Left {
                self.running.kill();
                return Ok(ShellEnd::Left);
            }
            let status = self.running.wait_timeout(Duration::ZERO).map_err(io::Error::other)?;
            if let Some(status) = status {
                // What it left in its channels comes first.
                self.listen(user)?;
                let words = self.log.last_words().map(|words| format!(", its last words: {words}"));
                let reason = format!("the machine ended: {status}{}", words.unwrap_or_default());
                return Ok(ShellEnd::Lost { reason, log: self.console });
            }
            if !self.begun && started.elapsed() >= limit {
                self.running.kill();
                let reason = format!("no shell within {limit:.0?}");
                return Ok(ShellEnd::Lost { reason, log: self.console });
            }
        }
    }

    /// Lets the machine go off, and ends it if it does not.
    fn goodbye(&mut self, user: &mut dyn User) -> io::Result<()> {
        let until = clock::now() + GOODBYE;
        while clock::now() < until {
            self.listen(user)?;
            if self.running.wait_timeout(Duration::ZERO).map_err(io::Error::other)?.is_some() {
                return Ok(());
            }
        }
        self.running.kill();
        Ok(())
    }

    /// Waits a moment, and takes what the guest says. Gives its end, with the number
    /// of bytes that it has printed.
    fn listen(&mut self, user: &mut dyn User) -> io::Result<Option<(ShellEnd, u64)>> {
        let keyboard = if self.begun && self.pending.is_empty() { user.keyboard() } else { None };
        let also: Vec<_> = keyboard.into_iter().chain(self.log.fd()).collect();
        let ready = self.channels.wait(LOOK, &also)?;
        self.log.receive()?;
        let mut end = None;
        for role in ready {
            let Received::Bytes(bytes) = self.channels.receive(role) else { continue };
            match role {
                Role::Output => {
                    self.shown += bytes.len() as u64;
                    user.show(&bytes)?;
                }
                Role::Console => {
                    self.console.extend_from_slice(&bytes);
                    let beyond = self.console.len().saturating_sub(TAIL);
                    self.console.drain(..beyond);
                }
                Role::Control => {
                    self.decoder.push(&bytes);
                    while let Some(event) = self.decoder.next_message().map_err(io::Error::other)? {
                        match event {
                            ShellEvent::Ready => {
                                self.begun = true;
                                user.begin()?;
                            }
                            ShellEvent::Failed { reason } => end = Some((ShellEnd::Failed(reason), 0)),
                            ShellEvent::Ended { status, shown } => {
                                end = Some((ShellEnd::Ended(status), shown));
                            }
                        }
                    }
                }
            }
        }
        Ok(end)
    }

    /// Passes on what was typed, and the size of the terminal where it has changed.
    fn type_in(&mut self, user: &mut dyn User) -> io::Result<Typed> {
        if !self.begun {
            return Ok(Typed::Nothing);
        }
        let size = user.size();
        if size != self.size
            && let Some(new) = size
        {
            self.size = size;
            self.say(ShellRequest::Resize(new));
        }
        if self.pending.is_empty() && user.keyboard().is_some_and(has_something) {
            match user.typed()? {
                Typed::Bytes(bytes) => self.pending = bytes,
                other => return Ok(other),
            }
        }
        if self.keyboard.is_none() {
            self.keyboard = self.channels.keyboard();
        }
        if let Some(keyboard) = &mut self.keyboard {
            while !self.pending.is_empty() {
                match keyboard.write(&self.pending) {
                    Ok(count) => drop(self.pending.drain(..count)),
                    // The guest takes it when it gets round to it, or is gone.
                    Err(_) => break,
                }
            }
        }
        Ok(Typed::Nothing)
    }

    fn say(&mut self, request: ShellRequest) {
        if self.requests.is_none() {
            self.requests = self.channels.requests();
        }
        // A guest that is gone is noticed elsewhere.
        if let Some(requests) = &mut self.requests {
            let _ = requests.send(&request);
        }
    }
}

fn has_something(fd: BorrowedFd<'_>) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
}
