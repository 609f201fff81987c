//! One conversation with one guest, as a state machine: bytes, deaths and the
//! passage of time go in, verdicts and orders come out.
//!
//! Pure: it reads no clock, owns no socket and starts no process, so every way
//! in which a guest can misbehave is a unit test. The guest is not trusted:
//! whatever breaks the protocol ends the session, and no test passes that did
//! not send a complete, well-formed pass.

use std::time::Duration;

use kregress_wire::output::{Edge, Marks as OutputMarks, Piece};
use kregress_wire::{Decoder, Event, Nonce};

mod blind;
mod ending;
mod hello;

use self::blind::Blinded;
use self::ending::is_complaint;
use super::console_text::ConsoleText;
use super::exchange::{Action, Input, SessionTest};
use super::ladder::{Ladder, Next, Order, Subject};
use super::record::Record;
use super::watchdog::{Limits, Watchdog};
use crate::console::{Finding, Item, Marker, Scanner};
use crate::ktap::Ending;
use crate::model::{Allowances, RootFs, Trouble, TroubleKind, Verdict};

/// Why a guest that has not said goodbye comes to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    Lost {
        status: Option<String>,
    },
    BootTimeout,
    /// Nothing was said between two tests.
    Silence,
    TestTimeout {
        what: String,
        limit: Duration,
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
    /// A limit passed: the guest is looked at, see [`Ladder`].
    Climbing,
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
    root: RootFs,
    watchdog: Watchdog,
    /// Time of the input that is being taken.
    now: Duration,
    phase: Phase,
    running: Option<usize>,
    /// Test whose markers enclose the current place in the kernel log.
    console_test: Option<usize>,
    /// Tells what belongs to which program in the output.
    output_marks: OutputMarks,
    /// Test whose marks enclose the current place in the output.
    output_test: Option<usize>,
    /// Test that reported after its limit had passed.
    late: Option<usize>,
    cause: Option<Cause>,
    /// There from the moment at which a limit passed.
    ladder: Option<Ladder>,
    last_words: Option<String>,
    /// A detector of the kernel is off since this finding.
    blinded: Option<Blinded>,
    /// How often the kernel was given time to settle.
    settled: u32,
    /// What ended the kernel.
    fatal: Option<Finding>,
    /// The last report before it, in which its cause may lie.
    recent: Option<Finding>,
    decoder: Decoder,
    scanner: Scanner,
    console_open: bool,
    console_marks: Marks,
    console_text: ConsoleText,
    actions: Vec<Action>,
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
            output_marks: OutputMarks::new(nonce.clone()),
            output_test: None,
            nonce,
            records: tests.into_iter().map(Record::new).collect(),
            watchdog: Watchdog::new(limits.boot),
            now: Duration::ZERO,
            limits,
            allowances: Allowances::default(),
            root: RootFs::Auto,
            phase: Phase::Booting,
            running: None,
            console_test: None,
            late: None,
            cause: None,
            ladder: None,
            last_words: None,
            blinded: None,
            settled: 0,
            fatal: None,
            recent: None,
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

    /// The same, where the root of the guest was asked for.
    #[must_use]
    pub fn on_root(self, root: RootFs) -> Self {
        Self { root, ..self }
    }

    /// When the session wants a [`Input::Tick`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let (console, output) = (self.console_patience(), self.limits.late_console);
        let judging = self.records.iter().filter(|record| !self.runs_again(record));
        let judging = judging.filter_map(|record| record.wait_for_logs(console, output));
        judging.chain([self.watchdog.deadline()]).min().unwrap_or(Duration::MAX)
    }

    /// Takes one input at a time since the start, and says what follows from it.
    #[must_use]
    pub fn step(&mut self, at: Duration, input: Input<'_>) -> Vec<Action> {
        if self.phase == Phase::Ended {
            return Vec::new();
        }
        self.now = at;
        match input {
            Input::Control(bytes) => self.control(at, bytes),
            Input::Console(bytes) => {
                self.watchdog.sign_of_life(at);
                self.scanner.push(bytes);
                self.console_text.push(bytes);
                if let Some(ladder) = &mut self.ladder {
                    ladder.console(bytes);
                }
                self.console_items();
                let whole = self.console_text.whole_lines();
                self.log_console(whole);
            }
            Input::Output(bytes) => {
                self.watchdog.sign_of_life(at);
                self.output(bytes);
            }
            Input::ControlClosed => self.gone(at, None),
            Input::ConsoleClosed => {
                self.console_open = false;
                self.scanner.finish();
                self.console_items();
                self.gone(at, None);
            }
            Input::Exited { status } => self.gone(at, Some(status)),
            Input::Monitor(answer) => {
                if self.phase == Phase::Climbing
                    && let Some(next) = self.ladder.as_mut().and_then(|ladder| ladder.monitor_said(answer))
                {
                    self.climb(at, next);
                }
            }
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
        while matches!(self.phase, Phase::Booting | Phase::Talking | Phase::Climbing | Phase::Leaving) {
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

    /// Gives output to the test between whose marks it stands; that of workloads,
    /// which nobody marks, to the one that is running.
    fn output(&mut self, bytes: &[u8]) {
        for piece in self.output_marks.push(bytes) {
            match piece {
                Piece::Bytes(bytes) => {
                    if let Some(at) = self.output_test.or(self.running) {
                        self.records[at].printed(&bytes);
                    }
                }
                Piece::Mark(test, edge) => {
                    let marked = self.records.iter().position(|record| record.test.id == test);
                    self.output_test = marked.filter(|_| edge == Edge::Begin);
                    if let (Some(at), Edge::End) = (marked, edge) {
                        self.records[at].output_ends(Ending::Complete);
                    }
                }
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
            Event::Hello(_) if self.phase == Phase::Climbing && !self.watchdog.reached_hello() => {
                self.heard_too_late(at, "the guest said hello");
            }
            Event::Hello(hello) => {
                if self.phase != Phase::Booting {
                    return Err("it said hello twice".to_owned());
                }
                hello::of_this_boot(&hello, &self.nonce)?;
                self.phase = Phase::Talking;
                self.watchdog.between_tests(at, self.limits.no_output);
                let refused = hello::other_root(self.root, &hello);
                self.actions.push(Action::Hello(Box::new(hello)));
                if let Some(reason) = refused {
                    self.end_with(at, Cause::Host(reason));
                }
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
                    // The test was over its limit all the same, and the next one
                    // must not begin in a guest that is about to be killed.
                    self.late = Some(index);
                    self.heard_too_late(at, "the test reported its end");
                }
            }
            Event::Diagnosis { text } => {
                if self.phase == Phase::Climbing
                    && let Some(ladder) = &mut self.ladder
                {
                    let next = ladder.agent_said(text);
                    self.climb(at, next);
                }
            }
            Event::Settling { limit_ms } => self.settling(at, Duration::from_millis(limit_ms))?,
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
                    // What the kernel survived so far did not end it.
                    (self.fatal, self.recent) = (None, None);
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
                        record.log_ends();
                    }
                    self.console_test = None;
                }
                Item::Marker(Marker::Other(words)) => self.last_words(words),
                Item::Finding(finding) => self.finding(finding),
                Item::GaveUp(words) => {
                    self.last_words(words);
                    if self.phase == Phase::Booting {
                        self.end_with(self.now, Cause::Lost { status: None });
                    }
                }
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
            self.records[at].logged(&text);
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
        if self.ladder.as_mut().is_some_and(|ladder| ladder.is_ours(&finding)) {
            return;
        }
        self.note_cause(&finding);
        let by_time = self.running.filter(|_| self.console_marks == Marks::Missing);
        let owner = self.console_test.or(by_time).filter(|at| !self.records[*at].is_judged());
        self.note_blindness(&finding, owner);
        if owner.is_some() && owner == self.running && is_complaint(&finding) {
            self.watchdog.complaint(self.now);
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
        let (console, output) = (self.console_patience(), self.limits.late_console);
        for index in 0..self.records.len() {
            let record = &self.records[index];
            if !record.is_reported() || self.late == Some(index) || self.runs_again(record) {
                continue;
            }
            let waited = record.wait_for_logs(console, output).is_none_or(|until| until <= at);
            let missing = waited && !record.console_ended && self.console_open;
            if !waited && self.console_open {
                // Verdicts come in the order of the tests.
                return;
            }
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

    fn limit_passed(&mut self, at: Duration) {
        match self.phase {
            Phase::Booting => self.look_at_guest(at, Subject::Booting, Cause::BootTimeout),
            Phase::Talking if self.running.is_none() => {
                self.look_at_guest(at, Subject::Guest, Cause::Silence)
            }
            Phase::Talking => {
                let (what, limit) = (self.watchdog.what_passed(), self.watchdog.limit_in_force());
                self.look_at_guest(at, Subject::Guest, Cause::TestTimeout { what, limit });
            }
            Phase::Climbing => {
                let next = self.ladder.as_mut().map(Ladder::limit_passed);
                self.climb(at, next.unwrap_or(Next { order: Order::Kill, limit: Duration::ZERO }));
            }
            Phase::Leaving => {
                let text = "the guest did not power off after its goodbye and was killed";
                self.actions.push(Action::Notice(text.to_owned()));
                self.die(at);
            }
            Phase::Dying => self.finish(at),
            Phase::Ended => {}
        }
    }

    /// Begins to find out what is wrong with a guest that will be killed.
    fn look_at_guest(&mut self, at: Duration, subject: Subject, cause: Cause) {
        self.cause = Some(cause);
        self.phase = Phase::Climbing;
        let (ladder, next) = Ladder::begin(subject, self.limits);
        self.ladder = Some(ladder);
        self.climb(at, next);
    }

    fn climb(&mut self, at: Duration, next: Next) {
        self.watchdog.one_limit(at, next.limit);
        match next.order {
            Order::AskAgent => self.actions.push(Action::Diagnose),
            Order::AskMonitor(query) => self.actions.push(Action::AskMonitor(query)),
            Order::Wait => {}
            Order::Terminate => self.actions.push(Action::Terminate),
            Order::Kill => self.die(at),
        }
    }

    /// What was waited for came while the guest was being looked at.
    fn heard_too_late(&mut self, at: Duration, what: &str) {
        if let Some(ladder) = &mut self.ladder {
            ladder.heard(what);
        }
        self.die(at);
    }

    /// A channel or the process is gone.
    fn gone(&mut self, at: Duration, status: Option<String>) {
        match self.phase {
            Phase::Booting | Phase::Talking => self.end_with(at, Cause::Lost { status }),
            Phase::Climbing => {
                if let Some(ladder) = &mut self.ladder {
                    ladder.machine_ended(status.as_deref());
                }
                self.die(at);
            }
            Phase::Leaving => self.die(at),
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
        if let Some(ladder) = &mut self.ladder {
            ladder.cut(match &cause {
                Cause::Interrupted => "the user interrupted the run",
                Cause::Host(_) => "the host could not go on",
                _ => "the guest broke the protocol",
            });
        }
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
        // What was cut off by us, and by no fault of its own, runs again.
        let running = self.running.take().or(self.late.take()).filter(|_| !self.was_cut_off());
        let (verdict, end) = (running.map(|index| self.verdict_of_the_dead(index)), self.end());
        let evidence = self.ladder.take().map(Ladder::into_evidence).unwrap_or_default();
        match (running, verdict) {
            (Some(index), Some(verdict)) => {
                self.records[index].evidence = evidence;
                let judged = self.records[index].judge_as(at, verdict);
                self.actions.push(Action::Judged(Box::new(judged)));
            }
            _ => self.actions.extend(evidence.into_iter().map(Action::BootEvidence)),
        }
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
}
