//! One conversation with one guest, as a state machine: bytes, deaths and the
//! passage of time go in, verdicts and orders come out.
//!
//! Pure: it reads no clock, owns no socket and starts no process, so every way
//! in which a guest can misbehave is a unit test. The guest is not trusted:
//! whatever breaks the protocol ends the session, and no test passes that did
//! not send a complete, well-formed pass.

use std::time::Duration;

use kregress_wire::{Decoder, Event, Nonce, PROTOCOL};

use super::boot_hint::boot_hint;
use super::console_text::ConsoleText;
use super::exchange::{Action, Input, SessionTest};
use super::record::Record;
use super::watchdog::{Limits, Watchdog};
use crate::console::{self, Finding, FindingKind, Item, Marker, Scanner};
use crate::guest::accel::NO_HELLO;
use crate::model::{Allowances, BootEnd, Failure, FailureKind, Trouble, TroubleKind, Verdict};

/// Longest that a kernel is given to settle after its tests at once, and how
/// often: for what is dying, and for leaks.
const LONGEST_SETTLING: Duration = Duration::from_secs(60);
const SETTLINGS: u32 = 2;

/// Why a guest that has not said goodbye comes to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    Lost {
        status: Option<String>,
    },
    BootTimeout,
    TestTimeout {
        test: u32,
        what: String,
    },
    Protocol(String),
    Host(String),
    Interrupted,
    /// A detector of the kernel is off, and other tests are to come.
    Blinded {
        title: String,
    },
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
    allowances: Allowances,
    watchdog: Watchdog,
    phase: Phase,
    running: Option<usize>,
    /// Test whose markers enclose the current place in the kernel log.
    console_test: Option<usize>,
    /// Test that reported after its limit had passed.
    late: Option<usize>,
    cause: Option<Cause>,
    diagnosis: Option<String>,
    last_words: Option<String>,
    /// A detector of the kernel is off since this finding.
    blinded: Option<Blinded>,
    /// How often the kernel was given time to settle.
    settled: u32,
    fatal: Option<Finding>,
    decoder: Decoder,
    scanner: Scanner,
    console_open: bool,
    console_marks: Marks,
    console_text: ConsoleText,
    actions: Vec<Action>,
}

/// Since when a detector of the kernel is off.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Blinded {
    title: String,
    since: Since,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Since {
    /// Its start: another boot would end no better.
    Boot,
    /// A test, or the time after one.
    Tests,
}

/// Whether the kernel log shows our markers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    /// None was due yet.
    Unknown,
    /// They come; a late one is waited for.
    Seen,
    /// One did not come: the log is attributed by time, and not waited for.
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
            allowances: Allowances::default(),
            phase: Phase::Booting,
            running: None,
            console_test: None,
            late: None,
            cause: None,
            diagnosis: None,
            last_words: None,
            blinded: None,
            settled: 0,
            fatal: None,
            decoder: Decoder::new(),
            scanner: Scanner::new(),
            console_open: true,
            console_marks: Marks::Unknown,
            console_text: ConsoleText::default(),
            actions: Vec::new(),
        }
    }

    /// The same, with findings that turn nothing red.
    #[must_use]
    pub fn allowing(self, allowances: Allowances) -> Self {
        Self { allowances, ..self }
    }

    /// When the session wants a [`Input::Tick`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let patience = self.console_patience();
        let judging = self.records.iter().filter(|record| !self.runs_again(record));
        let judging = judging.filter_map(|record| record.wait_for_console(patience));
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
                    self.actions.push(Action::Heard(Box::new(event.clone())));
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
            Event::Breakdown { test, breakdown } => {
                let at = self.running_test(test)?;
                self.records[at].set_breakdown(breakdown)?;
            }
            Event::Progress { test, done, total } => {
                self.running_test(test)?;
                self.actions.push(Action::Progress { test, done, total });
            }
            Event::Finished { test, outcome, elapsed_ns: _ } => {
                let index = self.running_test(test)?;
                self.records[index].report(at, outcome);
                self.running = None;
                if self.phase == Phase::Talking {
                    self.watchdog.between_tests(at, self.limits.no_output);
                } else {
                    // It came while stacks were being fetched. The test was over
                    // its limit all the same, and the next one must not begin in
                    // a guest that is about to be killed.
                    self.late = Some(index);
                    self.die(at);
                }
            }
            Event::Diagnosis { text } => {
                self.diagnosis = Some(text);
                if self.phase == Phase::Diagnosing {
                    self.die(at);
                }
            }
            Event::Settling { limit_ms } => {
                self.settling(at, Duration::from_millis(limit_ms))?;
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

    /// Gives the kernel time to complain after the last test. The guest says how
    /// long, within bounds that are ours.
    fn settling(&mut self, at: Duration, limit: Duration) -> Result<(), String> {
        if self.running.is_some() || self.records.iter().any(Record::is_planned) {
            return Err("it waited for the kernel to settle before its tests were over".to_owned());
        }
        if self.phase != Phase::Talking || self.settled == SETTLINGS {
            return Err("it waited for the kernel to settle once too often".to_owned());
        }
        self.settled += 1;
        self.watchdog.between_tests(at, limit.min(LONGEST_SETTLING) + self.limits.no_output);
        Ok(())
    }

    fn console_items(&mut self) {
        for item in self.scanner.drain() {
            match item {
                Item::Marker(Marker::Begin { id, at, .. }) => {
                    self.log_console(at);
                    // What the kernel survived so far did not end it.
                    self.fatal = None;
                    self.console_test = self.records.iter().position(|record| record.test.id == id);
                    let blinded = self.blinded.as_ref().map(|blinded| blinded.title.clone());
                    if let Some(at) = self.console_test {
                        self.records[at].blinded = blinded;
                    }
                }
                Item::Marker(Marker::End { id, at, .. }) => {
                    self.log_console(at);
                    self.console_marks = Marks::Seen;
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

    /// How long a reported test waits for the end of its kernel log.
    fn console_patience(&self) -> Duration {
        match self.console_marks {
            Marks::Unknown => self.limits.console,
            Marks::Seen => self.limits.late_console,
            Marks::Missing => Duration::ZERO,
        }
    }

    fn finding(&mut self, mut finding: Finding) {
        // What our command line (`oops=panic`) makes the end of the kernel.
        let fatal = matches!(finding.kind, FindingKind::Panic | FindingKind::Oops);
        // A panic that only repeats what led to it (`Fatal exception`) does not
        // displace the first cause.
        if fatal && self.fatal.is_none() {
            self.fatal = Some(finding.clone());
        }
        let by_time = self.running.filter(|_| self.console_marks == Marks::Missing);
        let owner = self.console_test.or(by_time).filter(|at| !self.records[*at].is_judged());
        if self.blinded.is_none() && console::switches_off(finding.kind, &finding.title) {
            let in_tests = owner.is_some() || self.console_marks == Marks::Seen;
            let since = if in_tests { Since::Tests } else { Since::Boot };
            self.blinded = Some(Blinded { title: finding.title.clone(), since });
        }
        let test = owner.map(|at| &self.records[at].test.name);
        finding.allowed = self.allowances.find(&finding, test).cloned();
        match owner {
            Some(at) => self.records[at].findings.push(finding),
            None => self.actions.push(Action::BootFinding(finding)),
        }
    }

    /// Gives verdicts to tests that reported and whose part of the kernel log is complete.
    fn judge_reported(&mut self, at: Duration) {
        let patience = self.console_patience();
        for index in 0..self.records.len() {
            let record = &self.records[index];
            if !record.is_reported() || self.late == Some(index) || self.runs_again(record) {
                continue;
            }
            let waited = record.wait_for_console(patience).is_none_or(|until| until <= at);
            let missing = waited && !record.console_ended && self.console_open;
            if waited || !self.console_open {
                if missing && self.console_marks != Marks::Missing {
                    self.console_marks = Marks::Missing;
                    let text = "the kernel log does not show our markers, so findings are attributed by time\n\
                                hint: the kernel needs CONFIG_SERIAL_8250_CONSOLE=y";
                    self.actions.push(Action::Notice(text.to_owned()));
                }
                let judged = self.records[index].judge();
                self.actions.extend(judged.map(|judged| Action::Judged(Box::new(judged))));
                self.end_if_blinded(at);
            }
        }
    }

    /// Whether a test began when one before it had switched a detector off: the
    /// guest is ahead of its kernel's log. What it says does not count.
    fn runs_again(&self, record: &Record) -> bool {
        let since = self.blinded.as_ref().map(|blinded| blinded.since);
        record.blinded.is_some() && since == Some(Since::Tests)
    }

    /// Ends a boot in which a test switched a detector off: what still runs, and
    /// what is to come, would prove less than it seems. It runs in a fresh one.
    fn end_if_blinded(&mut self, at: Duration) {
        let more = self.running.is_some()
            || self.records.iter().any(|it| it.is_planned() || it.is_reported() && self.runs_again(it));
        if let Some(Blinded { title, since: Since::Tests }) = &self.blinded
            && more
            && self.phase == Phase::Talking
        {
            let title = title.clone();
            self.end_with(at, Cause::Blinded { title });
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
            Phase::Leaving => {
                let text = "the guest did not power off after its goodbye and was killed";
                self.actions.push(Action::Notice(text.to_owned()));
                self.die(at);
            }
            Phase::Diagnosing => self.die(at),
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
        let rest = self.console_text.end();
        self.log_console(rest);
        self.judge_reported(at);
        let mut running = self.running.take().or(self.late.take());
        if matches!(self.cause, Some(Cause::Blinded { .. })) && self.fatal.is_none() {
            // Cut off by us and by no fault of its own: it runs again.
            running = None;
        }
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
            Some(Cause::TestTimeout { test, what }) => {
                let diagnosis = match (&self.diagnosis, self.is_late(*test)) {
                    (Some(text), _) => format!("\n{}", text.trim_end()),
                    (None, true) => "\nit ended while the guest was asked for stacks".to_owned(),
                    (None, false) => "\nthe guest did not answer when asked for stacks".to_owned(),
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
            Some(Cause::BootTimeout | Cause::Blinded { .. }) | None => lost(None),
        }
    }

    fn is_late(&self, test: u32) -> bool {
        self.records.iter().any(|record| record.test.id == test && record.is_reported())
    }

    fn end(&self) -> BootEnd {
        let said_hello = self.watchdog.reached_hello();
        let status = match &self.cause {
            None => {
                return match &self.fatal {
                    Some(finding) => BootEnd::Panicked { title: finding.title.clone() },
                    None => BootEnd::Clean,
                };
            }
            Some(Cause::Interrupted) => {
                return BootEnd::Killed { reason: "interrupted by the user".to_owned() };
            }
            Some(Cause::Host(reason)) => return BootEnd::Killed { reason: reason.clone() },
            Some(Cause::Blinded { title }) if self.fatal.is_none() => {
                let reason = format!("ended for a fresh boot, a detector of the kernel was off: {title}");
                return BootEnd::Killed { reason };
            }
            Some(Cause::Blinded { .. }) => None,
            Some(Cause::Lost { status: Some(status) }) if !said_hello => {
                Some(format!("the machine ended before the hello of its guest: {status}"))
            }
            Some(Cause::Lost { status }) => status.clone(),
            Some(Cause::Protocol(reason)) => Some(format!("it broke the protocol: {reason}")),
            Some(Cause::BootTimeout) => Some(format!("{NO_HELLO} within {:.0?}", self.limits.boot)),
            Some(Cause::TestTimeout { what, .. }) => Some(what.clone()),
        };
        let status = status.unwrap_or_else(|| "its channels closed".to_owned());
        if !said_hello {
            let mut reason = match (&self.fatal, &self.last_words) {
                // The guest's own words know what is missing.
                (_, Some(words)) => words.clone(),
                (Some(finding), None) => finding.title.clone(),
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
