//! Carries out one boot: starts the machine, moves bytes between its channels
//! and the session, writes its logs, and leaves no process behind.
//!
//! Decides nothing: what bytes and deaths mean is the session's business. All
//! of it happens on one thread, because the machine dies with the thread that
//! started it.

use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use kregress_wire::{Event, Request, Writer};

use super::channels::{BindError, Channels, Received, Role};
use super::exchange::{Action, Input};
use super::heard_time::HeardTime;
use super::logs::{CappedLog, MachineLog};
use super::pin;
use super::qmp::{Answer, Monitor, Query};
use super::session::Session;
use crate::exec::{Cmd, ExecError, Running};
use crate::interrupt;
use crate::results::BootDir;
use crate::{chain, clock};

/// Longest time between two looks at the process and at Ctrl-C while no channel
/// says anything.
const LOOK: Duration = Duration::from_millis(50);

/// Longest wait for the status of a machine whose channel closed. It is on its
/// way out, which takes the kernel a moment on a loaded host; only one that
/// closed a channel and lives on is waited for so long.
const REAPING: Duration = Duration::from_secs(1);

/// Time that was not listened to and is worth a word. From experience: below it,
/// a loaded host.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// Most that is taken at once out of the channel of a machine that is gone, in
/// pieces of 64 KiB: far more than a socket holds, and an end where a part of
/// the machine lives on and floods.
const REST: u32 = 64;

/// Why a boot could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The machine could not be started.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A channel cannot be made.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A file of the boot cannot be made.
    #[error("cannot create `{path}`: {source}")]
    Create {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Waiting on the channels failed.
    #[error("cannot wait for the guest's channels: {0}")]
    Wait(io::Error),
}

/// Where the threads of a machine run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    /// Wherever the host puts them.
    Any,
    /// So many virtual CPUs have processors of their own.
    Own(u32),
}

/// A machine that is running, with its channels and logs.
pub(super) struct Boot {
    machine: Running,
    channels: Channels,
    requests: Option<Writer<UnixStream>>,
    monitor: Option<Monitor>,
    /// Answer to a question that could not even be put.
    monitor_gone: Option<Answer>,
    console_log: CappedLog,
    output_log: CappedLog,
    event_log: CappedLog,
    sample_log: CappedLog,
    machine_log: MachineLog,
    time: HeardTime,
    seat: Seat,
    exited: bool,
    /// Its status, told when everything was heard that it left in files.
    departed: Option<String>,
}

impl Boot {
    /// Starts the machine; its logs go to `dir`.
    ///
    /// # Errors
    ///
    /// Fails when a log cannot be made or the program cannot be started.
    pub(super) fn start(
        command: &Cmd,
        channels: Channels,
        dir: &BootDir,
        seat: Seat,
    ) -> Result<Self, BootError> {
        let (machine_log, theirs) = MachineLog::create(dir.machine())?;
        let console_log = CappedLog::create(dir.console())?;
        let output_log = CappedLog::create(dir.output())?;
        let event_log = CappedLog::create(dir.events())?;
        let sample_log = CappedLog::create(dir.samples())?;
        let time = HeardTime::begin(clock::now());
        let machine = command.start(&theirs)?;
        Ok(Self {
            machine,
            channels,
            requests: None,
            monitor: None,
            monitor_gone: None,
            console_log,
            output_log,
            event_log,
            sample_log,
            machine_log,
            time,
            seat,
            exited: false,
            departed: None,
        })
    }

    /// Time since the start of the machine in which it was listened to.
    #[must_use]
    pub(super) fn elapsed(&self) -> Duration {
        self.time.now(clock::now())
    }

    /// Pins the machine if it is to have processors of its own.
    fn take_seat(&self) -> Option<String> {
        let Seat::Own(cpus) = self.seat else { return None };
        Some(match pin::pin(self.machine.pid(), cpus) {
            Ok(done) => done,
            Err(reason) => format!("it could not be pinned: {reason}"),
        })
    }

    /// Feeds the session until it ends; every action but those that are for the
    /// machine is handed to `act`. The machine is dead when this returns.
    ///
    /// # Errors
    ///
    /// Fails when waiting does. What `act` returns as an error is told to the
    /// session as trouble of the host, and the session then ends in good order.
    pub(super) fn run(
        mut self,
        session: &mut Session,
        act: &mut dyn FnMut(Duration, Action) -> anyhow::Result<()>,
    ) -> Result<Duration, BootError> {
        let mut queue: Vec<Action> = Vec::new();
        let mut trouble: Option<String> = None;
        let mut asked_to_stop = false;
        loop {
            let mut ended = false;
            for action in std::mem::take(&mut queue) {
                match action {
                    Action::Kill => {
                        self.machine.kill();
                        self.exited = true;
                        self.channels.machine_ended();
                    }
                    Action::Terminate => self.machine.terminate(),
                    Action::Diagnose => self.ask(&Request::Diagnose),
                    Action::AskMonitor(query) => self.ask_monitor(query),
                    Action::Heard(event) => {
                        if let Err(error) = self.log_event(&event) {
                            trouble.get_or_insert(format!("cannot write the logs of the boot: {error}"));
                        }
                    }
                    action => {
                        // All threads of the virtual CPUs are there now.
                        let seat = matches!(action, Action::Hello(_)).then(|| self.take_seat()).flatten();
                        queue.extend(seat.map(Action::Notice));
                        ended |= matches!(action, Action::Ended(_));
                        if let Err(error) = act(self.elapsed(), action)
                            && trouble.is_none()
                        {
                            trouble = Some(chain::text(error.as_ref()));
                        }
                    }
                }
            }
            if ended {
                self.machine.kill();
                // Its last words; that they cannot be kept changes nothing any more.
                let _ = self.machine_log.receive();
                return Ok(self.elapsed());
            }
            if let Some(reason) = trouble.take() {
                queue.extend(session.step(self.elapsed(), Input::HostTrouble(reason)));
                continue;
            }
            if interrupt::requested() && !asked_to_stop {
                asked_to_stop = true;
                queue.extend(session.step(self.elapsed(), Input::Interrupt));
                continue;
            }
            let wait = session.deadline().saturating_sub(self.elapsed()).min(LOOK);
            let all_heard = self.listen(wait)?;
            let lost = self.time.look(clock::now());
            if let Some(lost) = lost.filter(|lost| *lost >= WORTH_TELLING) {
                let text = format!(
                    "{} s in which nothing could be heard are not counted: kregress or the host stood still",
                    lost.as_secs()
                );
                queue.push(Action::Notice(text));
            }
            for heard in all_heard {
                let at = self.elapsed();
                let input = match &heard {
                    Heard::Bytes(Role::Control, bytes) => Input::Control(bytes),
                    Heard::Bytes(Role::Output, bytes) => Input::Output(bytes),
                    Heard::Bytes(Role::Console, bytes) => Input::Console(bytes),
                    Heard::LogFailed(reason) => Input::HostTrouble(reason.clone()),
                    Heard::Monitor(answer) => Input::Monitor(answer.clone()),
                    Heard::Exited(status) => Input::Exited { status: status.clone() },
                    Heard::Closed(Role::Control) => Input::ControlClosed,
                    Heard::Closed(Role::Console) => Input::ConsoleClosed,
                    Heard::Closed(Role::Output) => Input::Tick,
                };
                queue.extend(session.step(at, input));
            }
            // A machine that ended before it opened its console will never close it.
            if self.exited && !self.channels.is_open(Role::Console) {
                queue.extend(session.step(self.elapsed(), Input::ConsoleClosed));
            }
            queue.extend(session.step(self.elapsed(), Input::Tick));
        }
    }

    /// One line per message, with the time since the start of the machine.
    fn log_event(&mut self, event: &Event) -> io::Result<()> {
        let at_ms = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut line = serde_json::to_vec(&serde_json::json!({ "at_ms": at_ms, "message": event }))?;
        line.push(b'\n');
        self.event_log.write(&line)?;
        // Without a time of the host: virtual time gives the same bytes in every run.
        if let Event::Samples { .. } = event {
            let mut line = serde_json::to_vec(event)?;
            line.push(b'\n');
            self.sample_log.write(&line)?;
        }
        Ok(())
    }

    fn ask(&mut self, request: &Request) {
        // A guest that does not read is why we ask; it is then simply not
        // answered, and the session's own limit ends the wait.
        if self.requests.is_none() {
            self.requests = self.channels.requests();
        }
        if let Some(writer) = &mut self.requests {
            let _ = writer.send(request);
        }
    }

    /// Puts a question to QEMU, to which the first one makes us connect.
    fn ask_monitor(&mut self, query: Query) {
        let asked = match &mut self.monitor {
            Some(monitor) => monitor.ask(query),
            None => Monitor::connect(self.channels.monitor()).and_then(|mut monitor| {
                monitor.ask(query)?;
                self.monitor = Some(monitor);
                Ok(())
            }),
        };
        if let Err(error) = asked {
            self.monitor_gone = Some(Answer::Gone(error.to_string()));
        }
    }

    /// What QEMU says to what it was asked.
    fn hear_monitor(&mut self, heard: &mut Vec<Heard>) {
        let answer = self.monitor.as_mut().filter(|monitor| monitor.is_asked()).and_then(Monitor::receive);
        let answer = self.monitor_gone.take().or(answer);
        if matches!(answer, Some(Answer::Gone(_))) {
            self.monitor = None;
        }
        heard.extend(answer.map(Heard::Monitor));
    }

    /// What the machine's own programs say goes to the log.
    fn hear_machine(&mut self, heard: &mut Vec<Heard>) {
        if let Err(error) = self.machine_log.receive() {
            heard.push(Heard::LogFailed(format!("cannot write the logs of the boot: {error}")));
        }
    }

    /// Waits until a channel has something, the machine speaks, or the monitor where
    /// it was asked.
    fn wait_for_bytes(&mut self, limit: Duration) -> Result<Vec<Role>, BootError> {
        // Unless it is asked something, it may say what it likes.
        let monitor = self.monitor.as_ref().filter(|monitor| monitor.is_asked());
        let monitor = monitor.map(|monitor| monitor.as_fd());
        let also: Vec<_> = monitor.into_iter().chain(self.machine_log.fd()).collect();
        self.channels.wait(limit, &also).map_err(BootError::Wait)
    }

    /// Everything that there is to hear within `limit`.
    ///
    /// A machine that is gone left its last words in its channels. They come
    /// first, then its status, then the ends of its channels: a verdict that was
    /// sent is not lost to an end that was noticed sooner.
    fn listen(&mut self, limit: Duration) -> Result<Vec<Heard>, BootError> {
        let mut heard = Vec::new();
        let limit = if self.monitor_gone.is_some() { Duration::ZERO } else { limit };
        for role in self.wait_for_bytes(limit)? {
            self.receive(role, &mut heard);
        }
        self.hear_monitor(&mut heard);
        self.hear_machine(&mut heard);
        let closed = heard.iter().any(|it| matches!(it, Heard::Closed(Role::Control | Role::Console)));
        let status = match self.exited {
            true => None,
            // A machine whose channel closed is about to end, and knows why.
            false => self.machine.wait_timeout(if closed { REAPING } else { Duration::ZERO })?,
        };
        if let Some(status) = &status {
            self.exited = true;
            self.hear_machine(&mut heard);
            let words = self.machine_log.last_words();
            let words = words.map(|words| format!(", its last words: {words}")).unwrap_or_default();
            self.departed = Some(format!("{status}{words}"));
            self.channels.machine_ended();
        }
        if closed || self.departed.is_some() {
            // It may have connected after we last looked.
            self.wait_for_bytes(Duration::ZERO)?;
            for role in [Role::Control, Role::Output, Role::Console] {
                let mut pieces = 0..REST;
                while pieces.next().is_some() && self.receive(role, &mut heard) == Rest::MayHaveMore {}
            }
        }
        if self.channels.is_drained() {
            heard.extend(self.departed.take().map(Heard::Exited));
        }
        heard.sort_by_key(Heard::order);
        Ok(heard)
    }

    /// Takes one piece out of a channel, if there is one.
    fn receive(&mut self, role: Role, heard: &mut Vec<Heard>) -> Rest {
        match self.channels.receive(role) {
            Received::Bytes(bytes) => {
                let logged = match role {
                    Role::Console => self.console_log.write(&bytes),
                    Role::Output => self.output_log.write(&bytes),
                    Role::Control => Ok(()),
                };
                heard.push(Heard::Bytes(role, bytes));
                if let Err(error) = logged {
                    heard.push(Heard::LogFailed(format!("cannot write the logs of the boot: {error}")));
                }
                Rest::MayHaveMore
            }
            Received::Nothing => Rest::Empty,
            Received::End => {
                if role == Role::Control {
                    self.requests = None;
                }
                heard.push(Heard::Closed(role));
                Rest::Empty
            }
        }
    }
}

/// Whether another piece may be waiting in a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    MayHaveMore,
    Empty,
}

/// What came of a machine.
enum Heard {
    Bytes(Role, Vec<u8>),
    LogFailed(String),
    Monitor(Answer),
    Exited(String),
    Closed(Role),
}

impl Heard {
    /// Place among what was heard at the same time.
    fn order(&self) -> u8 {
        match self {
            Self::Bytes(..) | Self::LogFailed(_) | Self::Monitor(_) => 0,
            Self::Exited(_) => 1,
            Self::Closed(_) => 2,
        }
    }
}
