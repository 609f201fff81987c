//! Runs the plan and tells the host: hello, the tests one by one, goodbye.
//!
//! Knows nothing of what the channels are made of; any stream of bytes will
//! do. Never waits for the host to say anything.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kregress_wire::output::{self, Edge};
use kregress_wire::{Carrier, Decoder, Event, Outcome, Plan, PlannedTest, Request, WorkloadInfo, Writer};
use rustix::process::Pid;

use crate::child::{self, Launcher, Surroundings};
use crate::last_look::LastLook;
use crate::ports::Ports;
use crate::{clock, diagnose, facts, kmsg, local, relay, tidy, workloads};

/// The streams between guest and host.
pub(crate) struct Channels {
    /// Frames of [`Request`].
    pub(crate) requests: Box<dyn Read + Send>,
    /// Frames of [`Event`].
    pub(crate) events: Box<dyn Write + Send>,
    /// Raw output of tests. Handed to their processes and never polled here:
    /// a poll takes over the completions that a blocked writer of a
    /// virtio-serial port waits for, and both sleep for ever.
    pub(crate) output: Option<OwnedFd>,
    /// What must be done so that the last of it is not lost when the guest powers off.
    pub(crate) end: End,
}

/// How a channel of events is brought to its end.
#[derive(Debug)]
pub(crate) enum End {
    /// What was written is the host's.
    Done,
    /// So many writes may wait in the device until the host reads them.
    InFlight(usize),
    /// The bytes wait in the driver until the device took them.
    Drain(OwnedFd),
}

/// Twice the size of a virtio-serial queue in QEMU (`hw/char/virtio-serial-bus.c`),
/// of which every write takes an entry until the host has taken it over.
const VIRTIO_QUEUE: usize = 256;

impl Channels {
    /// Channels over what the machine has.
    pub(crate) fn over(ports: Ports, facts: &mut BTreeMap<String, String>) -> io::Result<Self> {
        let Ports { control, output, carrier } = ports;
        if output.is_none() {
            facts.insert("output".into(), "lost: there is no port for it".into());
        }
        let output = output.map(OwnedFd::from);
        Ok(match carrier {
            Carrier::VirtioSerial => Self {
                requests: Box::new(control.try_clone()?),
                events: Box::new(control),
                output,
                end: End::InFlight(VIRTIO_QUEUE),
            },
            Carrier::Uart => Self {
                // The host cannot ask anything without disturbing the clock.
                requests: Box::new(io::empty()),
                end: End::Drain(control.try_clone()?.into()),
                events: Box::new(control),
                output,
            },
        })
    }
}

/// The session cannot go on.
#[derive(Debug, thiserror::Error)]
#[error("the way to the host is gone: {0}")]
pub(crate) struct Lost(#[from] io::Error);

/// Whose kernel this is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// Ours: booted for these tests.
    Machine,
    /// The host's, which has to be left as it was.
    Host(&'a local::Host),
}

/// What a session does besides talking; replaced in tests.
struct Hands<'a> {
    launcher: Launcher,
    mark: &'a dyn Fn(Mark<'_>),
    /// Marks the output of a test.
    edge: &'a dyn Fn(u32, Edge),
    tidy: &'a mut dyn FnMut() -> Vec<(String, String)>,
    /// Why a workload must not run here.
    refusal: &'a dyn Fn(&PlannedTest, &WorkloadInfo) -> Option<String>,
}

/// A line in the kernel log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark<'a> {
    Begin(u32, &'a str),
    End(u32, &'static str),
}

/// Runs the whole plan.
///
/// # Errors
///
/// Fails when the host cannot be told any more.
pub(crate) fn run(
    plan: &Plan,
    facts: BTreeMap<String, String>,
    channels: Channels,
    place: Place<'_>,
) -> Result<(), Lost> {
    let Channels { requests, events, output, end } = channels;
    let link = Link::new(events);
    link.send(&Event::Hello(facts::hello(&plan.nonce, facts)))?;
    let current = Arc::new(AtomicI32::new(0));
    // Begins after the hello has gone out, because a virtio-serial port reads
    // as at its end until the host has connected.
    let (answering, watched) = (link.clone(), Arc::clone(&current));
    let log = match place {
        Place::Machine => diagnose::Log::Ours,
        Place::Host(_) => diagnose::Log::Foreign,
    };
    std::thread::Builder::new()
        .name("diagnosis".into())
        .spawn(move || serve(requests, &answering, &watched, |test| diagnose::report(test, log)))?;
    let room = tidy::Room::as_found(place);
    let mut clock_source = facts::clock_source();
    let mut hands = Hands {
        launcher: Launcher::own(),
        mark: &|mark| match mark {
            Mark::Begin(id, name) => kmsg::begin(id, name),
            Mark::End(id, word) => kmsg::end(id, word),
        },
        edge: &|test, edge| {
            // Without a channel there is no output either; the host misses the mark.
            let _ =
                output.as_ref().map(|port| write_all(port, output::mark(&plan.nonce, test, edge).as_bytes()));
        },
        tidy: &mut || {
            let mut notes = room.restore();
            let now = facts::clock_source();
            if now != clock_source {
                let change = [&clock_source, &now].map(|source| source.as_deref().unwrap_or("unknown"));
                notes.push(("clocksource".to_owned(), change.join(" -> ")));
                clock_source = now;
            }
            notes
        },
        refusal: &|test, info| match place {
            Place::Machine => None,
            Place::Host(host) => host.refusal(test, info),
        },
    };
    let last_look = LastLook::begin();
    run_tests(&plan.tests, &link, output.as_ref(), &current, &mut hands)?;
    if matches!(place, Place::Machine) && !plan.tests.is_empty() {
        last_look.take(&mut |limit| {
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            link.send(&Event::Settling { limit_ms })
        })?;
    }
    link.send(&Event::Bye)?;
    link.settle(end)?;
    Ok(())
}

fn run_tests(
    tests: &[PlannedTest],
    link: &Link,
    output: Option<&OwnedFd>,
    current: &AtomicI32,
    hands: &mut Hands<'_>,
) -> io::Result<()> {
    for test in tests {
        (hands.mark)(Mark::Begin(test.id, &test.name));
        link.send(&Event::Started { test: test.id })?;
        if test.exec.is_some() {
            (hands.edge)(test.id, Edge::Begin);
        }
        let start = clock::monotonic_ns();
        let outcome = run_test(test, link, output, current, hands)?;
        // What a test leaves behind is cleared away on its own account: a
        // process that cannot be killed then hangs the test that made it.
        for (key, value) in (hands.tidy)() {
            link.send(&Event::Note { test: test.id, key, value })?;
        }
        let elapsed_ns = clock::monotonic_ns().saturating_sub(start);
        if test.exec.is_some() {
            // Nothing is left that could print.
            (hands.edge)(test.id, Edge::End);
        }
        (hands.mark)(Mark::End(test.id, relay::word(&outcome)));
        link.send(&Event::Finished { test: test.id, outcome, elapsed_ns })?;
    }
    Ok(())
}

fn run_test(
    test: &PlannedTest,
    link: &Link,
    output: Option<&OwnedFd>,
    current: &AtomicI32,
    hands: &Hands<'_>,
) -> io::Result<Outcome> {
    let Some(workload) = workloads::find(&test.workload) else {
        return Ok(Outcome::Error { message: unknown_workload(&test.workload) });
    };
    if let Some(reason) = (hands.refusal)(test, workload.info) {
        return Ok(Outcome::Skip { reason });
    }
    let watch = |pid: Option<Pid>| {
        current.store(pid.map_or(0, |pid| pid.as_raw_nonzero().get()), Ordering::Relaxed);
    };
    let mut forward = |event| link.send(&event);
    let mut around = Surroundings { output, watch: &watch, forward: &mut forward };
    child::run(&hands.launcher, test, workload.info, &mut around)
}

/// Writes to a channel that is shared with processes of tests, without a buffer of ours.
fn write_all(port: &OwnedFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(port, bytes))?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Says that the registry lacks a workload.
pub(crate) fn unknown_workload(name: &str) -> String {
    format!(
        "this guest has no workload `{name}`\n\
         hint: the guest image holds another version of kregress than the one that wrote the plan"
    )
}

/// The stream of events, shared by the session and the answers to requests.
#[derive(Clone)]
struct Link(Arc<Mutex<EventWriter>>);

type EventWriter = Writer<Box<dyn Write + Send>>;

impl Link {
    fn new(events: Box<dyn Write + Send>) -> Self {
        Self(Arc::new(Mutex::new(Writer::new(events))))
    }

    fn send(&self, event: &Event) -> io::Result<()> {
        self.lock().send(event)
    }

    /// Returns when the host has everything that was sent.
    fn settle(&self, end: End) -> io::Result<()> {
        let mut writer = self.lock();
        match end {
            End::Done => Ok(()),
            End::InFlight(writes) => writer.pad(writes),
            End::Drain(line) => Ok(rustix::termios::tcdrain(line)?),
        }
    }

    fn lock(&self) -> MutexGuard<'_, EventWriter> {
        // A frame is written or not; a panic elsewhere leaves no half of one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers requests until the host closes its side. Only ever reads the
/// stream, for the reason told at [`Channels::output`].
fn serve(mut requests: impl Read, link: &Link, current: &AtomicI32, report: impl Fn(Option<i32>) -> String) {
    let mut decoder = Decoder::new();
    let mut chunk = [0; 4096];
    loop {
        match requests.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => decoder.push(chunk.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return complain(&format!("cannot read requests: {error}")),
        }
        loop {
            match decoder.next_message() {
                Ok(None) => break,
                Ok(Some(Request::Diagnose)) => {
                    let pid = Some(current.load(Ordering::Relaxed)).filter(|pid| *pid != 0);
                    if let Err(error) = link.send(&Event::Diagnosis { text: report(pid) }) {
                        return complain(&format!("cannot answer a request: {error}"));
                    }
                }
                Err(error) => return complain(&format!("cannot understand requests: {error}")),
            }
        }
    }
}

/// Tests do not depend on requests, so the session goes on without them.
fn complain(text: &str) {
    kmsg::log(kmsg::Level::Warning, text);
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A stream that keeps what is written to it.
    #[derive(Clone, Default)]
    struct Tape(Arc<Mutex<Vec<u8>>>);

    impl Write for Tape {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("lock").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Tape {
        fn events(&self) -> Vec<Event> {
            let mut decoder = Decoder::new();
            decoder.push(&self.0.lock().expect("lock"));
            std::iter::from_fn(|| decoder.next_message().expect("frames")).collect()
        }
    }

    fn planned(id: u32, workload: &str) -> PlannedTest {
        PlannedTest {
            id,
            name: format!("suite/test{id}"),
            workload: workload.into(),
            params: BTreeMap::new(),
            timeout_ms: 1000,
            silence_ms: 1000,
            seed: 0,
            exec: None,
        }
    }

    /// Runs tests with a script as every workload; events and marks in order.
    fn run_with(
        tests: &[PlannedTest],
        script: &str,
        notes: &[(String, String)],
    ) -> (Vec<Event>, Vec<String>) {
        let tape = Tape::default();
        let marks = RefCell::new(Vec::new());
        let mut hands = Hands {
            launcher: Launcher { program: "/bin/sh".into(), args: vec!["-c".into(), script.into()] },
            mark: &|mark| marks.borrow_mut().push(format!("{mark:?} after {}", tape.events().len())),
            edge: &|_, _| {},
            tidy: &mut || notes.to_vec(),
            refusal: &|test, _| (test.workload == "netns/profile").then(|| "not here".to_owned()),
        };
        let link = Link::new(Box::new(tape.clone()));
        run_tests(tests, &link, None, &AtomicI32::new(0), &mut hands).expect("a tape takes everything");
        (tape.events(), marks.into_inner())
    }

    #[test]
    fn markers_enclose_everything_between_started_and_finished() {
        let note = ("leftovers".to_owned(), "2 processes".to_owned());
        let (events, marks) = run_with(&[planned(7, "netns/drain")], "exit 0", &[note]);
        assert_eq!(events.len(), 3);
        assert_eq!(events[0], Event::Started { test: 7 });
        assert_eq!(events[1], Event::Note { test: 7, key: "leftovers".into(), value: "2 processes".into() });
        assert!(matches!(events[2], Event::Finished { test: 7, outcome: Outcome::Error { .. }, .. }));
        assert_eq!(marks, [r#"Begin(7, "suite/test7") after 0"#, r#"End(7, "error") after 2"#]);
    }

    #[test]
    fn a_dead_workload_does_not_keep_the_next_test_from_running() {
        let tests = [planned(1, "netns/drain"), planned(2, "netns/churn")];
        let (events, _) = run_with(&tests, "kill -KILL $$", &[]);
        let finished = |event: &&Event| matches!(event, Event::Finished { .. });
        assert_eq!(events.iter().filter(finished).count(), 2);
    }

    #[test]
    fn a_workload_that_is_refused_is_not_started() {
        let (events, _) = run_with(&[planned(1, "netns/profile")], "kill -KILL $PPID", &[]);
        let outcome = Outcome::Skip { reason: "not here".into() };
        assert!(matches!(&events[1], Event::Finished { outcome: found, .. } if *found == outcome));
    }

    #[test]
    fn an_unknown_workload_is_an_error_with_a_hint() {
        let (events, _) = run_with(&[planned(1, "netns/dance")], "exit 0", &[]);
        let Some(Event::Finished { outcome: Outcome::Error { message }, .. }) = events.last() else {
            panic!("{events:?}");
        };
        assert!(message.starts_with("this guest has no workload `netns/dance`\nhint: "), "{message}");
    }

    fn requests(count: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for _ in 0..count {
            writer.send(&Request::Diagnose).expect("send to memory");
        }
        bytes
    }

    #[test]
    fn every_request_is_answered_with_the_process_of_the_moment() {
        let tape = Tape::default();
        let link = Link::new(Box::new(tape.clone()));
        serve(&requests(2)[..], &link, &AtomicI32::new(42), |pid| format!("{pid:?}"));
        let answer = Event::Diagnosis { text: "Some(42)".into() };
        assert_eq!(tape.events(), [answer.clone(), answer]);
    }

    #[test]
    fn between_tests_a_diagnosis_has_no_process() {
        let tape = Tape::default();
        let link = Link::new(Box::new(tape.clone()));
        serve(&requests(1)[..], &link, &AtomicI32::new(0), |pid| format!("{pid:?}"));
        assert_eq!(tape.events(), [Event::Diagnosis { text: "None".into() }]);
    }
}
