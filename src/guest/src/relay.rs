//! Judges what a workload's process says of itself, and how it ended.
//!
//! Pure: bytes and an exit status go in, events and an outcome come out. There
//! is no outcome by default; whatever is missing or does not fit together is
//! an error of the harness, except where the kernel itself left evidence.

use kregress_wire::{Decoder, Event, Outcome, WorkloadInfo};
use rustix::process::Signal;

use crate::procfs::{TAINT_DIE, Toll};

/// How the process of a workload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// It returned from main.
    Exited(i32),
    /// A signal killed it.
    Killed(i32),
}

/// One test's stream of events on its way through the guest's session.
#[derive(Debug)]
pub(crate) struct Relay {
    test: u32,
    info: &'static WorkloadInfo,
    decoder: Decoder,
    outcome: Option<Outcome>,
    /// Why nothing that arrives is believed any more.
    broken: Option<String>,
}

impl Relay {
    /// Starts before the first byte.
    pub(crate) fn new(test: u32, info: &'static WorkloadInfo) -> Self {
        Self { test, info, decoder: Decoder::new(), outcome: None, broken: None }
    }

    /// Takes bytes of the process and gives the events that may go on to the
    /// host. The outcome stays here until the process has ended.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        self.decoder.push(bytes);
        let mut events = Vec::new();
        while self.broken.is_none() {
            match self.decoder.next_message::<Event>() {
                Ok(None) => break,
                Ok(Some(event)) => match self.accept(event) {
                    Ok(event) => events.extend(event),
                    Err(reason) => self.broken = Some(reason),
                },
                Err(error) => self.broken = Some(format!("it cannot be read: {error}")),
            }
        }
        events
    }

    fn accept(&mut self, event: Event) -> Result<Option<Event>, String> {
        if self.outcome.is_some() {
            return Err("it went on reporting after its outcome".into());
        }
        let test = match &event {
            Event::Samples { test, metric, .. } => {
                if !self.info.metrics.iter().any(|info| info.name == metric) {
                    return Err(format!("it reported metric `{metric}`, which it does not declare"));
                }
                *test
            }
            Event::Note { test, .. }
            | Event::Breakdown { test, .. }
            | Event::Progress { test, .. }
            | Event::Finished { test, .. } => *test,
            Event::Hello(_)
            | Event::Started { .. }
            | Event::Diagnosis { .. }
            | Event::Settling { .. }
            | Event::Bye => {
                return Err("it sent an event that only the session sends".into());
            }
        };
        if test != self.test {
            return Err(format!("it reported about test {test}"));
        }
        if let Event::Finished { outcome, .. } = event {
            self.outcome = Some(outcome);
            return Ok(None);
        }
        Ok(Some(event))
    }

    /// The outcome, when the process is gone and all its bytes were pushed.
    /// `before` and `after` are the kernel's tolls round its life.
    pub(crate) fn conclude(mut self, end: End, before: Toll, after: Toll) -> Outcome {
        if self.broken.is_none() && self.decoder.pending() > 0 {
            self.broken = Some("it breaks off in the middle of a message".into());
        }
        let clean = end == End::Exited(0);
        match (self.outcome, self.broken) {
            // The kernel was caught; how the process fared afterwards takes
            // nothing from that.
            (Some(outcome @ Outcome::Fail { .. }), _) => outcome,
            (Some(Outcome::Pass { checks: 0 }), None) if clean => {
                Outcome::Error { message: "the workload passed without a single check".into() }
            }
            (Some(outcome), None) if clean => outcome,
            (Some(outcome), broken) => {
                let why = broken.unwrap_or_else(|| describe(end));
                Outcome::Error { message: format!("the workload said {}, then {why}", word(&outcome)) }
            }
            (None, broken) => without_outcome(end, broken, before, after),
        }
    }
}

fn without_outcome(end: End, broken: Option<String>, before: Toll, after: Toll) -> Outcome {
    let killed_by = |signal: Signal| end == End::Killed(signal.as_raw());
    if killed_by(Signal::KILL) && after.oom_kills > before.oom_kills {
        // A workload is a few megabytes; what it makes the kernel hold counts.
        return Outcome::Fail {
            message: "the kernel ran out of memory and killed the workload\n\
                      hint: the kernel keeps what the test released, or the machine needs more memory"
                .into(),
        };
    }
    if matches!(end, End::Killed(_)) && after.taint & !before.taint & TAINT_DIE != 0 {
        return Outcome::Fail {
            message: format!(
                "the kernel oopsed under the workload, which {}; the kernel log has the rest",
                describe(end)
            ),
        };
    }
    let mut message = match broken {
        Some(reason) => format!("the workload's report is no use: {reason}; then it {}", describe(end)),
        None => format!("the workload {} without an outcome", describe(end)),
    };
    if [Signal::SEGV, Signal::BUS, Signal::ILL, Signal::FPE, Signal::ABORT].into_iter().any(killed_by) {
        message.push_str("\nhint: its own code crashed, the kernel shows no oops; its output may say more");
    }
    Outcome::Error { message }
}

fn describe(end: End) -> String {
    match end {
        End::Exited(code) => format!("exited with code {code}"),
        End::Killed(signal) => match signal_name(signal) {
            Some(name) => format!("was killed by {name}"),
            None => format!("was killed by signal {signal}"),
        },
    }
}

pub(crate) fn signal_name(signal: i32) -> Option<&'static str> {
    const NAMES: &[(Signal, &str)] = &[
        (Signal::ABORT, "SIGABRT"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::HUP, "SIGHUP"),
        (Signal::ILL, "SIGILL"),
        (Signal::INT, "SIGINT"),
        (Signal::KILL, "SIGKILL"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::SYS, "SIGSYS"),
        (Signal::TERM, "SIGTERM"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
    ];
    NAMES.iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| *name)
}

/// How an outcome is called in the kernel log.
pub(crate) fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Pass { .. } => "pass",
        Outcome::Fail { .. } | Outcome::TimedOut { .. } => "fail",
        Outcome::Skip { .. } => "skip",
        Outcome::Error { .. } => "error",
    }
}

#[cfg(test)]
mod tests {
    use kregress_wire::{Better, Kind, MetricInfo, Unit, Writer};
    use proptest::prelude::*;

    use super::*;

    const INFO: WorkloadInfo = WorkloadInfo {
        name: "test/relay",
        summary: "",
        params: &[],
        metrics: &[MetricInfo {
            name: "time",
            summary: "",
            unit: Unit::Nanoseconds,
            kind: Kind::Time,
            better: Better::Lower,
        }],
        modules: &[],
    };

    const QUIET: Toll = Toll { taint: 0, oom_kills: 0 };

    fn stream(events: &[Event]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(&mut bytes);
        for event in events {
            writer.send(event).expect("send to memory");
        }
        bytes
    }

    fn samples(metric: &str) -> Event {
        Event::Samples { test: 4, metric: metric.into(), values: vec![1.5] }
    }

    fn finished(outcome: Outcome) -> Event {
        Event::Finished { test: 4, outcome, elapsed_ns: 1 }
    }

    fn pass() -> Event {
        finished(Outcome::Pass { checks: 2 })
    }

    /// What reaches the host and how it ends, after these events and this end.
    fn run(events: &[Event], end: End) -> (Vec<Event>, Outcome) {
        run_bytes(&stream(events), end, QUIET)
    }

    fn run_bytes(bytes: &[u8], end: End, after: Toll) -> (Vec<Event>, Outcome) {
        let mut relay = Relay::new(4, &INFO);
        let events = relay.push(bytes);
        (events, relay.conclude(end, QUIET, after))
    }

    fn error(outcome: Outcome) -> String {
        match outcome {
            Outcome::Error { message } => message,
            other => panic!("an error was expected, got {other:?}"),
        }
    }

    #[test]
    fn events_pass_in_order_and_the_outcome_waits_for_the_end() {
        let note = Event::Note { test: 4, key: "a".into(), value: "b".into() };
        let (events, outcome) = run(&[samples("time"), note.clone(), pass()], End::Exited(0));
        assert_eq!(events, [samples("time"), note]);
        assert_eq!(outcome, Outcome::Pass { checks: 2 });
    }

    #[test]
    fn a_process_that_says_nothing_is_an_error_even_with_exit_code_0() {
        let (_, outcome) = run(&[samples("time")], End::Exited(0));
        assert_eq!(error(outcome), "the workload exited with code 0 without an outcome");
    }

    #[test]
    fn a_pass_without_checks_is_an_error() {
        let (_, outcome) = run(&[finished(Outcome::Pass { checks: 0 })], End::Exited(0));
        assert_eq!(error(outcome), "the workload passed without a single check");
    }

    #[test]
    fn a_pass_does_not_survive_a_bad_end() {
        let (_, outcome) = run(&[pass()], End::Exited(101));
        assert_eq!(error(outcome), "the workload said pass, then exited with code 101");
        let (_, outcome) = run(&[pass()], End::Killed(11));
        assert_eq!(error(outcome), "the workload said pass, then was killed by SIGSEGV");
    }

    #[test]
    fn a_failure_survives_a_bad_end() {
        let fail = Outcome::Fail { message: "lo is 2".into() };
        assert_eq!(run(&[finished(fail.clone())], End::Killed(9)).1, fail);
    }

    #[test]
    fn a_crash_of_the_workload_is_no_failure_of_the_kernel() {
        let (_, outcome) = run(&[], End::Killed(7));
        assert_eq!(
            error(outcome),
            "the workload was killed by SIGBUS without an outcome\n\
             hint: its own code crashed, the kernel shows no oops; its output may say more"
        );
    }

    #[test]
    fn an_oops_under_the_workload_is_a_failure_of_the_kernel() {
        let after = Toll { taint: TAINT_DIE | 1 << 9, oom_kills: 0 };
        let (_, outcome) = run_bytes(&[], End::Killed(11), after);
        let Outcome::Fail { message } = outcome else { panic!("{outcome:?}") };
        assert!(message.starts_with("the kernel oopsed under the workload, which was killed by SIGSEGV"));
    }

    #[test]
    fn a_kill_by_the_oom_killer_is_a_failure_and_another_kill_is_not() {
        let after = Toll { taint: 0, oom_kills: 1 };
        assert!(matches!(run_bytes(&[], End::Killed(9), after).1, Outcome::Fail { .. }));
        let (_, outcome) = run(&[], End::Killed(9));
        assert_eq!(error(outcome), "the workload was killed by SIGKILL without an outcome");
    }

    #[test]
    fn an_oops_of_an_earlier_test_is_not_blamed_on_this_one() {
        let toll = Toll { taint: TAINT_DIE, oom_kills: 3 };
        for signal in [9, 11] {
            let outcome = Relay::new(4, &INFO).conclude(End::Killed(signal), toll, toll);
            assert!(matches!(outcome, Outcome::Error { .. }), "{outcome:?}");
        }
    }

    #[test]
    fn a_metric_that_is_not_declared_is_an_error_and_stays_here() {
        let (events, outcome) = run(&[samples("speed"), pass()], End::Exited(0));
        assert_eq!(events, []);
        assert_eq!(
            error(outcome),
            "the workload's report is no use: it reported metric `speed`, which it does not declare; \
             then it exited with code 0"
        );
    }

    #[test]
    fn a_workload_speaks_of_its_own_test_only() {
        let other = Event::Progress { test: 5, done: 1, total: 2 };
        let message = error(run(&[other, pass()], End::Exited(0)).1);
        assert!(message.contains(": it reported about test 5; "), "{message}");
    }

    #[test]
    fn a_workload_cannot_speak_for_the_session() {
        for event in [Event::Bye, Event::Started { test: 4 }, Event::Diagnosis { text: String::new() }] {
            let (events, outcome) = run(&[event, pass()], End::Exited(0));
            assert_eq!(events, []);
            assert!(error(outcome).contains(": it sent an event that only the session sends; "));
        }
    }

    #[test]
    fn nothing_comes_after_the_outcome() {
        let (events, outcome) = run(&[pass(), samples("time")], End::Exited(0));
        assert_eq!(events, []);
        assert_eq!(error(outcome), "the workload said pass, then it went on reporting after its outcome");
    }

    #[test]
    fn a_report_that_breaks_off_is_an_error() {
        let bytes = stream(&[samples("time"), pass()]);
        let (events, outcome) = run_bytes(&bytes[..bytes.len() - 1], End::Killed(15), QUIET);
        assert_eq!(events, [samples("time")]);
        assert_eq!(
            error(outcome),
            "the workload's report is no use: it breaks off in the middle of a message; \
             then it was killed by SIGTERM"
        );
    }

    #[test]
    fn printed_text_in_place_of_frames_is_named() {
        let (_, outcome) = run_bytes(b"hello, world", End::Exited(0), QUIET);
        let message = error(outcome);
        assert!(message.contains("it cannot be read: frame 0 does not begin with the magic"));
    }

    #[test]
    fn a_signal_without_a_name_is_told_by_number() {
        let (_, outcome) = run(&[], End::Killed(40));
        assert_eq!(error(outcome), "the workload was killed by signal 40 without an outcome");
    }

    fn any_end() -> impl Strategy<Value = End> {
        prop_oneof![(0..256).prop_map(End::Exited), (1..65).prop_map(End::Killed)]
    }

    proptest! {
        #[test]
        fn only_an_intact_pass_with_a_clean_exit_passes(cut in 0_usize..400, end in any_end()) {
            let bytes = stream(&[samples("time"), pass()]);
            let cut = cut.min(bytes.len());
            let (_, outcome) = run_bytes(&bytes[..cut], end, QUIET);
            let intact = cut == bytes.len() && end == End::Exited(0);
            prop_assert_eq!(matches!(outcome, Outcome::Pass { .. }), intact);
        }

        #[test]
        fn chunks_of_any_size_give_the_same_events(size in 1_usize..64) {
            let bytes = stream(&[samples("time"), samples("time"), pass()]);
            let mut relay = Relay::new(4, &INFO);
            let events: Vec<Event> = bytes.chunks(size).flat_map(|chunk| relay.push(chunk)).collect();
            prop_assert_eq!(events.len(), 2);
            prop_assert_eq!(relay.conclude(End::Exited(0), QUIET, QUIET), Outcome::Pass { checks: 2 });
        }

        #[test]
        fn garbage_never_passes(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let (_, outcome) = run_bytes(&bytes, End::Exited(0), QUIET);
            let is_error = matches!(outcome, Outcome::Error { .. });
            prop_assert!(is_error, "{outcome:?}");
        }
    }
}
