//! One conversation with one guest, as a state machine: bytes, deaths and the
//! passage of time go in, verdicts and orders come out.
//!
//! Pure: it reads no clock, owns no socket and starts no process, so every way
//! in which a guest can misbehave is a unit test. The guest is not trusted:
//! whatever breaks the protocol ends the session, and no test passes that did
//! not send a complete, well-formed pass.

use std::collections::BTreeMap;
use std::time::Duration;

use kregress_wire::{Decoder, Event, Hello, Nonce, Outcome, PROTOCOL};

use super::record::{Judged, Record};
use super::watchdog::{Limits, Watchdog};
use crate::console::{Finding, FindingKind, Item, Marker, Scanner};
use crate::model::{BootEnd, Failure, FailureKind, Trouble, TroubleKind, Verdict};

/// A test as the session needs it.
#[derive(Debug, Clone)]
pub struct SessionTest {
    /// Number in the plan.
    pub id: u32,
    /// Full name, for messages.
    pub name: String,
    /// Time limit, already scaled.
    pub timeout: Duration,
    /// Metrics that the workload may report.
    pub known_metrics: Vec<String>,
    /// Metrics of which a pass must have reported a sample.
    pub required_metrics: Vec<String>,
}

/// What reaches the session.
#[derive(Debug)]
pub enum Input<'a> {
    /// Bytes of the control channel.
    Control(&'a [u8]),
    /// Bytes of the kernel log.
    Console(&'a [u8]),
    /// Bytes of the output channel.
    Output(&'a [u8]),
    /// The other end of the control channel is gone.
    ControlClosed,
    /// The other end of the kernel log is gone.
    ConsoleClosed,
    /// The process that carries the guest ended.
    Exited {
        /// Its status and last words.
        status: String,
    },
    /// The user wants to stop.
    Interrupt,
    /// The host can no longer carry the boot, for instance on a full disk.
    HostTrouble(String),
    /// Nothing happened, but time passed.
    Tick,
}

/// What the session wants done or known.
#[derive(Debug)]
pub enum Action {
    /// The guest said hello.
    Hello(Box<Hello>),
    /// A test began.
    Started(u32),
    /// A test goes on.
    Progress {
        /// Number in the plan.
        test: u32,
        /// Steps done.
        done: u64,
        /// Steps in all.
        total: u64,
    },
    /// A test has its verdict.
    Judged(Box<Judged>),
    /// The kernel log holds something outside of every test.
    BootFinding(Finding),
    /// Something that the user should know.
    Notice(String),
    /// Ask the guest for stacks.
    Diagnose,
    /// End the guest now.
    Kill,
    /// Nothing more will come. Tests that were not judged were not reached.
    Ended(BootEnd),
}

/// Why a guest that has not said goodbye comes to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    Lost { status: Option<String> },
    BootTimeout,
    TestTimeout { test: u32, what: String },
    Protocol(String),
    Host(String),
    Interrupted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Waiting for the hello.
    Booting,
    /// Hello said; a test may be running, see [`Session::running`].
    Talking,
    /// A limit passed, stacks were asked for.
    Diagnosing,
    /// Goodbye said; waiting for the machine to go.
    Leaving,
    /// Killed or dead; waiting for the last bytes of the kernel log.
    Dying,
    Ended,
}

/// See the module's words.
pub struct Session {
    nonce: Nonce,
    records: Vec<Record>,
    limits: Limits,
    watchdog: Watchdog,
    phase: Phase,
    running: Option<usize>,
    /// Test whose markers enclose the current place in the kernel log.
    console_test: Option<usize>,
    cause: Option<Cause>,
    diagnosis: Option<String>,
    last_words: Option<String>,
    fatal: Option<Finding>,
    decoder: Decoder,
    scanner: Scanner,
    console_open: bool,
    console_marks: Marks,
    console_text: ConsoleText,
    actions: Vec<Action>,
}

/// Kernel log that is not yet given to a test.
#[derive(Debug, Default)]
struct ConsoleText {
    bytes: Vec<u8>,
    /// Offset of the first of them in the log.
    start: u64,
}

impl ConsoleText {
    /// Longest line that is kept together.
    const LONGEST: usize = 4 << 10;

    fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Offset behind the last whole line: what follows may become a marker.
    fn whole_lines(&self) -> u64 {
        let lines = self.bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let end = if self.bytes.len() - lines > Self::LONGEST { self.bytes.len() } else { lines };
        self.start + end as u64
    }

    fn take_until(&mut self, until: u64) -> Vec<u8> {
        let count = usize::try_from(until.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let rest = self.bytes.split_off(count.min(self.bytes.len()));
        let taken = std::mem::replace(&mut self.bytes, rest);
        self.start += taken.len() as u64;
        taken
    }
}

/// Whether the kernel log shows our markers; a console that never shows one is
/// not waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    Expected,
    Missing,
}

impl Session {
    /// Starts to wait for a hello with `nonce`; time 0 is the start of QEMU.
    #[must_use]
    pub fn new(nonce: Nonce, tests: Vec<SessionTest>, limits: Limits) -> Self {
        Self {
            nonce,
            records: tests.into_iter().map(Record::new).collect(),
            watchdog: Watchdog::new(limits.boot),
            limits,
            phase: Phase::Booting,
            running: None,
            console_test: None,
            cause: None,
            diagnosis: None,
            last_words: None,
            fatal: None,
            decoder: Decoder::new(),
            scanner: Scanner::new(),
            console_open: true,
            console_marks: Marks::Expected,
            console_text: ConsoleText::default(),
            actions: Vec::new(),
        }
    }

    /// When the session wants a [`Input::Tick`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let judging = self.records.iter().filter_map(|record| record.wait_for_console(&self.limits));
        judging.chain([self.watchdog.deadline()]).min().unwrap_or(Duration::MAX)
    }

    /// Takes one input at a time since the start, and says what follows from it.
    #[must_use]
    pub fn step(&mut self, at: Duration, input: Input<'_>) -> Vec<Action> {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        match input {
            Input::Control(bytes) => self.control(at, bytes),
            Input::Console(bytes) => {
                self.watchdog.sign_of_life(at);
                self.scanner.push(bytes);
                self.console_text.push(bytes);
                self.console_items();
                let whole = self.console_text.whole_lines();
                self.log_console(whole);
            }
            Input::Output(bytes) => {
                self.watchdog.sign_of_life(at);
                if let Some(at) = self.running {
                    self.records[at].log.push(bytes);
                }
            }
            Input::ControlClosed => self.gone(at, None),
            Input::ConsoleClosed => {
                self.console_open = false;
                self.scanner.finish();
                self.console_items();
                self.gone(at, None);
            }
            Input::Exited { status } => self.gone(at, Some(status)),
            Input::Interrupt => self.end_with(at, Cause::Interrupted),
            Input::HostTrouble(reason) => self.end_with(at, Cause::Host(reason)),
            Input::Tick => {}
        }
        if self.watchdog.deadline() <= at {
            self.limit_passed(at);
        }
        self.judge_reported(at);
        if self.phase == Phase::Dying && !self.console_open {
            self.finish(at);
        }
        std::mem::take(&mut self.actions)
    }

    fn control(&mut self, at: Duration, bytes: &[u8]) {
        self.watchdog.sign_of_life(at);
        self.decoder.push(bytes);
        while matches!(self.phase, Phase::Booting | Phase::Talking | Phase::Diagnosing | Phase::Leaving) {
            match self.decoder.next_message::<Event>() {
                Ok(None) => return,
                Ok(Some(event)) => {
                    if let Err(reason) = self.event(at, event) {
                        self.end_with(at, Cause::Protocol(reason));
                    }
                }
                Err(error) => self.end_with(at, Cause::Protocol(error.to_string())),
            }
        }
    }

    /// Index of a test that is running under this number.
    fn running_test(&self, test: u32) -> Result<usize, String> {
        match self.running {
            Some(at) if self.records[at].test.id == test => Ok(at),
            Some(at) => {
                Err(format!("it spoke of test {test} while test {} was running", self.records[at].test.id))
            }
            None => Err(format!("it spoke of test {test} while no test was running")),
        }
    }

    fn event(&mut self, at: Duration, event: Event) -> Result<(), String> {
        match event {
            Event::Hello(hello) => {
                if self.phase != Phase::Booting {
                    return Err("it said hello twice".to_owned());
                }
                if hello.protocol != PROTOCOL {
                    return Err(format!("it speaks protocol {}, we speak {PROTOCOL}", hello.protocol));
                }
                if hello.nonce != self.nonce {
                    return Err("its hello carries the nonce of another boot".to_owned());
                }
                self.phase = Phase::Talking;
                self.watchdog.between_tests(at, self.limits.no_output);
                self.actions.push(Action::Hello(Box::new(hello)));
            }
            _ if self.phase == Phase::Booting => return Err("it spoke before its hello".to_owned()),
            _ if self.phase == Phase::Leaving => return Err("it spoke after its goodbye".to_owned()),
            Event::Started { test } => {
                if let Some(at) = self.running {
                    let other = self.records[at].test.id;
                    return Err(format!("it started test {test} while test {other} was running"));
                }
                let next = self.records.iter().position(|record| record.is_planned());
                let Some(next) = next.filter(|next| self.records[*next].test.id == test) else {
                    return Err(format!("it started test {test}, which is not the next of its plan"));
                };
                self.records[next].start(at);
                self.running = Some(next);
                self.watchdog.test(at, self.records[next].test.timeout, self.limits.no_output);
                self.actions.push(Action::Started(test));
            }
            Event::Samples { test, metric, values } => {
                let at = self.running_test(test)?;
                self.records[at].add_samples(&metric, values)?;
            }
            Event::Note { test, key, value } => {
                let at = self.running_test(test)?;
                self.records[at].add_note(key, value)?;
            }
            Event::Progress { test, done, total } => {
                self.running_test(test)?;
                self.actions.push(Action::Progress { test, done, total });
            }
            Event::Finished { test, outcome, elapsed_ns: _ } => {
                let index = self.running_test(test)?;
                self.records[index].report(at, outcome);
                self.running = None;
                // A verdict that came while stacks were being fetched is late,
                // but the limit was the test's: it stands as passed over.
                if self.phase == Phase::Talking {
                    self.watchdog.between_tests(at, self.limits.no_output);
                }
            }
            Event::Diagnosis { text } => {
                self.diagnosis = Some(text);
                if self.phase == Phase::Diagnosing {
                    self.die(at);
                }
            }
            Event::Bye => {
                if let Some(at) = self.running {
                    let test = self.records[at].test.id;
                    return Err(format!("it said goodbye while test {test} was running"));
                }
                if let Some(record) = self.records.iter().find(|record| record.is_planned()) {
                    return Err(format!("it said goodbye without starting test {}", record.test.id));
                }
                self.phase = Phase::Leaving;
                self.watchdog.leaving(at, self.limits.leaving);
            }
        }
        Ok(())
    }

    fn console_items(&mut self) {
        for item in self.scanner.drain() {
            match item {
                Item::Marker(Marker::Begin { id, at, .. }) => {
                    self.log_console(at);
                    self.console_test = self.records.iter().position(|record| record.test.id == id);
                }
                Item::Marker(Marker::End { id, at, .. }) => {
                    self.log_console(at);
                    self.console_marks = Marks::Expected;
                    if let Some(record) = self.records.iter_mut().find(|record| record.test.id == id) {
                        record.console_ended = true;
                    }
                    self.console_test = None;
                }
                Item::Marker(Marker::Other(words)) => self.last_words(words),
                Item::Finding(finding) => self.finding(finding),
            }
        }
    }

    /// Keeps what our own init says when it gives up; a hint belongs to the line
    /// before it.
    fn last_words(&mut self, words: String) {
        self.last_words = Some(match self.last_words.take() {
            Some(before) if words.starts_with("hint: ") => format!("{before}\n{words}"),
            _ => words,
        });
    }

    /// Gives the kernel log up to this offset to the test that it belongs to.
    fn log_console(&mut self, until: u64) {
        let text = self.console_text.take_until(until);
        if let Some(at) = self.console_test {
            self.records[at].log.push(&text);
        }
    }

    fn finding(&mut self, finding: Finding) {
        let fatal = matches!(finding.kind, FindingKind::Panic | FindingKind::Oops | FindingKind::Bug);
        // A panic that only repeats what led to it (`Fatal exception`) does not
        // displace the first cause.
        if fatal && self.fatal.is_none() {
            self.fatal = Some(finding.clone());
        }
        match self.console_test {
            Some(at) if !self.records[at].is_judged() => self.records[at].findings.push(finding),
            _ => self.actions.push(Action::BootFinding(finding)),
        }
    }

    /// Gives verdicts to tests that reported and whose part of the kernel log is complete.
    fn judge_reported(&mut self, at: Duration) {
        for index in 0..self.records.len() {
            let record = &self.records[index];
            if !record.is_reported() {
                continue;
            }
            let waited = record.wait_for_console(&self.limits).is_none_or(|until| until <= at);
            let ended = record.console_ended;
            let missing = waited && !ended && self.console_open;
            if ended || !self.console_open || waited || self.console_marks == Marks::Missing {
                if missing && self.console_marks == Marks::Expected {
                    self.console_marks = Marks::Missing;
                    let text = "the kernel log does not show our markers, so findings are attributed by time\n\
                                hint: the kernel needs CONFIG_SERIAL_8250_CONSOLE=y";
                    self.actions.push(Action::Notice(text.to_owned()));
                }
                let judged = self.records[index].judge();
                self.actions.extend(judged.map(|judged| Action::Judged(Box::new(judged))));
            }
        }
    }

    fn limit_passed(&mut self, at: Duration) {
        match self.phase {
            Phase::Booting => self.end_with(at, Cause::BootTimeout),
            Phase::Talking => {
                let Some(running) = self.running else {
                    let text = "it was silent between two tests";
                    return self.end_with(at, Cause::Lost { status: Some(text.to_owned()) });
                };
                let (test, what) = (self.records[running].test.id, self.watchdog.what_passed());
                self.cause = Some(Cause::TestTimeout { test, what });
                self.phase = Phase::Diagnosing;
                self.watchdog.one_limit(at, self.limits.diagnosis);
                self.actions.push(Action::Diagnose);
            }
            Phase::Diagnosing | Phase::Leaving => self.die(at),
            Phase::Dying => self.finish(at),
            Phase::Ended => {}
        }
    }

    /// A channel or the process is gone.
    fn gone(&mut self, at: Duration, status: Option<String>) {
        match self.phase {
            Phase::Booting | Phase::Talking => self.end_with(at, Cause::Lost { status }),
            Phase::Diagnosing | Phase::Leaving => self.die(at),
            Phase::Dying => {
                if let (Some(Cause::Lost { status: known @ None }), Some(status)) = (&mut self.cause, status)
                {
                    *known = Some(status);
                }
            }
            Phase::Ended => {}
        }
    }

    fn end_with(&mut self, at: Duration, cause: Cause) {
        if self.cause.is_none() && self.phase != Phase::Leaving {
            self.cause = Some(cause);
        }
        self.die(at);
    }

    /// Kills the guest and waits a moment for the rest of its log.
    fn die(&mut self, at: Duration) {
        if !matches!(self.phase, Phase::Dying | Phase::Ended) {
            self.phase = Phase::Dying;
            self.watchdog.one_limit(at, self.limits.last_words);
            self.actions.push(Action::Kill);
        }
    }

    /// Last verdicts and the end.
    fn finish(&mut self, at: Duration) {
        if self.console_open {
            self.console_open = false;
            self.scanner.finish();
            self.console_items();
        }
        self.judge_reported(at);
        let running = self.running.take();
        let verdict = running.map(|_| self.verdict_of_the_dead());
        if let (Some(index), Some(verdict)) = (running, verdict) {
            let judged = self.records[index].judge_as(at, verdict);
            self.actions.push(Action::Judged(Box::new(judged)));
        }
        let end = self.end();
        // Tests that a lying goodbye left out would be left out again.
        if let Some(Cause::Protocol(reason)) = &self.cause
            && self.records.iter().any(|record| !record.is_planned())
            && running.is_none()
            && let Some(record) = self.records.iter_mut().find(|record| record.is_planned())
        {
            let message = format!("the guest broke the protocol: {reason}");
            let verdict = Verdict::Error(Trouble { kind: TroubleKind::Protocol, message });
            self.actions.push(Action::Judged(Box::new(record.judge_as(at, verdict))));
        }
        self.phase = Phase::Ended;
        self.actions.push(Action::Ended(end));
    }

    /// Verdict of the test that was running when the guest ended.
    fn verdict_of_the_dead(&self) -> Verdict {
        let trouble = |kind, message: String| Verdict::Error(Trouble { kind, message });
        let lost = |status: Option<&str>| {
            let status = status.map_or(String::new(), |status| format!(": {status}"));
            trouble(
                TroubleKind::Lost,
                format!(
                    "the guest went away without a word from its kernel{status}\nhint: console.log has what it said before"
                ),
            )
        };
        if let Some(finding) = &self.fatal
            && !matches!(self.cause, Some(Cause::Interrupted | Cause::Host(_)))
        {
            return Verdict::Fail(Failure { kind: FailureKind::Panic, message: finding.title.clone() });
        }
        match &self.cause {
            Some(Cause::TestTimeout { what, .. }) => {
                let diagnosis = match &self.diagnosis {
                    Some(text) => format!("\n{}", text.trim_end()),
                    None => "\nthe guest did not answer when asked for stacks".to_owned(),
                };
                Verdict::Fail(Failure { kind: FailureKind::Timeout, message: format!("{what}{diagnosis}") })
            }
            Some(Cause::Protocol(reason)) => {
                trouble(TroubleKind::Protocol, format!("the guest broke the protocol: {reason}"))
            }
            Some(Cause::Host(reason)) => trouble(TroubleKind::Host, reason.clone()),
            Some(Cause::Interrupted) => {
                trouble(TroubleKind::Interrupted, "interrupted by the user".to_owned())
            }
            Some(Cause::Lost { status }) => lost(status.as_deref()),
            Some(Cause::BootTimeout) | None => lost(None),
        }
    }

    fn end(&self) -> BootEnd {
        let said_hello = self.watchdog.reached_hello();
        let status = match &self.cause {
            None => return BootEnd::Clean,
            Some(Cause::Interrupted) => {
                return BootEnd::Killed { reason: "interrupted by the user".to_owned() };
            }
            Some(Cause::Host(reason)) => return BootEnd::Killed { reason: reason.clone() },
            Some(Cause::Lost { status: Some(status) }) if !said_hello => {
                Some(format!("the machine ended before the hello of its guest: {status}"))
            }
            Some(Cause::Lost { status }) => status.clone(),
            Some(Cause::Protocol(reason)) => Some(format!("it broke the protocol: {reason}")),
            Some(Cause::BootTimeout) => Some(format!("it said no hello within {:.0?}", self.limits.boot)),
            Some(Cause::TestTimeout { what, .. }) => Some(what.clone()),
        };
        let status = status.unwrap_or_else(|| "its channels closed".to_owned());
        if !said_hello {
            let mut reason = match (&self.fatal, &self.last_words) {
                (Some(finding), _) => finding.title.clone(),
                (None, Some(words)) => words.clone(),
                (None, None) => status,
            };
            if !reason.contains("\nhint: ")
                && let Some(hint) = boot_hint(&reason)
            {
                reason = format!("{reason}\nhint: {hint}");
            }
            return BootEnd::NotBooted { reason };
        }
        match (&self.fatal, &self.cause) {
            (Some(finding), _) => BootEnd::Panicked { title: finding.title.clone() },
            (None, Some(Cause::TestTimeout { .. } | Cause::Protocol(_))) => {
                BootEnd::Killed { reason: status }
            }
            (None, _) => BootEnd::Lost { reason: status },
        }
    }
}

/// What to do about a kernel that did not come up, where its words tell.
fn boot_hint(reason: &str) -> Option<&'static str> {
    let known = [
        (
            "No working init found",
            "the kernel needs CONFIG_BLK_DEV_INITRD=y and CONFIG_BINFMT_ELF=y to run our init",
        ),
        (
            "Unable to mount root fs",
            "the qemu backend needs CONFIG_BLK_DEV_INITRD=y; the virtme-ng backend needs the fragment `virtme-ng`",
        ),
        (
            "no virtio-serial port",
            "the kernel needs CONFIG_VIRTIO_PCI=y and CONFIG_VIRTIO_CONSOLE=y, or its modules directory must be given",
        ),
        (
            "it said no hello",
            "console.log shows how far it came; an empty one means no CONFIG_SERIAL_8250_CONSOLE or an accelerator that does not work",
        ),
    ];
    known.iter().find(|(words, _)| reason.contains(words)).map(|(_, hint)| *hint)
}

/// Verdict from what a workload said and what the kernel log shows.
pub(super) fn verdict(
    outcome: &Outcome,
    findings: &[Finding],
    required: &[String],
    samples: &BTreeMap<String, Vec<f64>>,
) -> Verdict {
    let trouble = |message: String| Verdict::Error(Trouble { kind: TroubleKind::Workload, message });
    if let Outcome::Fail { message } = outcome {
        return Verdict::Fail(Failure { kind: FailureKind::Assertion, message: message.clone() });
    }
    let valid: Vec<_> = findings.iter().filter(|finding| finding.kind != FindingKind::Blind).collect();
    if let Some(first) = valid.first() {
        let more = match valid.len() {
            1 => String::new(),
            n => format!(" (and {} more)", n - 1),
        };
        let kind = if first.kind == FindingKind::Panic { FailureKind::Panic } else { FailureKind::Finding };
        return Verdict::Fail(Failure { kind, message: format!("{}{more}", first.title) });
    }
    if let Some(blind) = findings.first() {
        return trouble(format!(
            "the result is not valid, a detector of the kernel gave up: {}",
            blind.title
        ));
    }
    match outcome {
        Outcome::Pass { checks: 0 } => {
            trouble("the workload reported a pass without any assertion".to_owned())
        }
        Outcome::Pass { checks } => {
            match required.iter().find(|metric| samples.get(*metric).is_none_or(Vec::is_empty)) {
                Some(metric) => trouble(format!("the workload passed but reported no sample of `{metric}`")),
                None => Verdict::Pass { checks: *checks },
            }
        }
        Outcome::Skip { reason } => Verdict::Skip { reason: reason.clone() },
        Outcome::Error { message } => trouble(message.clone()),
        Outcome::Fail { message } => {
            Verdict::Fail(Failure { kind: FailureKind::Assertion, message: message.clone() })
        }
    }
}
