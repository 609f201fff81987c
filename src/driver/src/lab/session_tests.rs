//! Every way in which a guest can behave, as conversations.

use std::collections::BTreeMap;
use std::time::Duration;

use kregress_wire::{Event, Hello, Nonce, Outcome, PROTOCOL, Writer};

use super::exchange::{Action, Input, SessionTest};
use super::record::Judged;
use super::session::Session;
use super::watchdog::Limits;
use crate::model::{BootEnd, BootFault, FailureKind, RootFs, SuiteName, TestId, TroubleKind, Verdict};

pub(super) const SECOND: Duration = Duration::from_secs(1);

pub(super) fn nonce() -> Nonce {
    Nonce::from_bytes([9; 16])
}

pub(super) fn test(id: u32) -> SessionTest {
    SessionTest {
        id,
        name: TestId { suite: SuiteName("suite".to_owned()), test: format!("test{id}"), params: Vec::new() },
        timeout: SECOND * 30,
        known_metrics: vec!["time".to_owned()],
        required_metrics: Vec::new(),
        exec: None,
    }
}

fn hello(nonce: Nonce, protocol: u32) -> Event {
    Event::Hello(Hello {
        protocol,
        nonce,
        kernel_release: "6.12.117".to_owned(),
        kernel_version: "#1 SMP".to_owned(),
        cpus: 2,
        memory_bytes: 1 << 30,
        uptime_ns: 500_000_000,
        facts: BTreeMap::new(),
        features: BTreeMap::new(),
    })
}

/// A guest in our hands, and what the session made of it.
pub(super) struct Talk {
    pub(super) session: Session,
    writer: Writer<Vec<u8>>,
    sent: usize,
    pub(super) at: Duration,
    pub(super) actions: Vec<Action>,
}

impl Talk {
    pub(super) fn new(tests: u32) -> Self {
        Self::with((0..tests).map(test).collect())
    }

    pub(super) fn with(tests: Vec<SessionTest>) -> Self {
        Self {
            session: Session::new(nonce(), tests, Limits::scaled(1.0)),
            writer: Writer::new(Vec::new()),
            sent: 0,
            at: Duration::ZERO,
            actions: Vec::new(),
        }
    }

    pub(super) fn input(&mut self, input: Input<'_>) {
        let actions = self.session.step(self.at, input);
        // What the machine would do: a killed one closes its channels.
        let killed = actions.iter().any(|action| matches!(action, Action::Kill));
        self.actions.extend(actions);
        if killed {
            self.input(Input::ControlClosed);
            self.input(Input::ConsoleClosed);
        }
    }

    pub(super) fn say(&mut self, event: &Event) {
        self.writer.send(event).expect("send to memory");
        let bytes = self.writer.get_ref()[self.sent..].to_vec();
        self.sent += bytes.len();
        self.input(Input::Control(&bytes));
    }

    pub(super) fn hello(&mut self) {
        self.say(&hello(nonce(), PROTOCOL));
    }

    pub(super) fn console(&mut self, text: &str) {
        self.input(Input::Console(text.as_bytes()));
    }

    pub(super) fn start(&mut self, test: u32) {
        self.console(&format!("[    1.000000] kregress: begin {test} smoke/test-{test}\n"));
        self.say(&Event::Started { test });
    }

    pub(super) fn finish(&mut self, test: u32, outcome: Outcome) {
        self.console(&format!("[    2.000000] kregress: end {test} word\n"));
        self.say(&Event::Finished { test, outcome, elapsed_ns: 1 });
    }

    pub(super) fn wait(&mut self, time: Duration) {
        self.at += time;
        self.input(Input::Tick);
    }

    /// Nothing comes any more, until the session ends.
    pub(super) fn give_up_waiting(&mut self) {
        while !self.actions.iter().any(|action| matches!(action, Action::Ended(_))) {
            self.at = self.session.deadline();
            self.input(Input::Tick);
        }
    }

    pub(super) fn die(&mut self) {
        self.input(Input::ControlClosed);
        self.input(Input::ConsoleClosed);
    }

    pub(super) fn judged(&self) -> Vec<&Judged> {
        let mut judged = Vec::new();
        for action in &self.actions {
            if let Action::Judged(it) = action {
                judged.push(&**it);
            }
        }
        judged
    }

    /// The verdict of the only test that was judged.
    pub(super) fn verdict(&self) -> &Verdict {
        let judged = self.judged();
        assert_eq!(judged.len(), 1, "{:?}", self.actions);
        &judged[0].verdict
    }

    pub(super) fn end(&self) -> &BootEnd {
        let mut ends = Vec::new();
        for action in &self.actions {
            if let Action::Ended(end) = action {
                ends.push(end);
            }
        }
        assert_eq!(ends.len(), 1, "{:?}", self.actions);
        ends[0]
    }

    pub(super) fn trouble(&self) -> TroubleKind {
        match self.verdict() {
            Verdict::Error(trouble) => trouble.kind,
            other => panic!("an error was expected, not {other:?}"),
        }
    }

    pub(super) fn failure(&self) -> (FailureKind, &str) {
        match self.verdict() {
            Verdict::Fail(failure) => (failure.kind, &failure.message),
            other => panic!("a failure was expected, not {other:?}"),
        }
    }
}

pub(super) const PASS: Outcome = Outcome::Pass { checks: 3 };

#[test]
fn a_well_behaved_guest_passes_and_ends_clean() {
    let mut talk = Talk::new(2);
    talk.hello();
    for id in 0..2 {
        talk.start(id);
        talk.say(&Event::Samples { test: id, metric: "time".to_owned(), values: vec![1.0, 2.0] });
        talk.say(&Event::Note { test: id, key: "completion".to_owned(), value: "tracepoints".to_owned() });
        talk.finish(id, PASS);
    }
    talk.say(&Event::Bye);
    talk.die();
    let judged = talk.judged();
    assert_eq!(judged.iter().map(|judged| judged.id).collect::<Vec<_>>(), [0, 1]);
    assert!(judged.iter().all(|judged| judged.verdict == Verdict::Pass { checks: 3 }));
    assert_eq!(judged[0].samples["time"], [1.0, 2.0]);
    assert_eq!(judged[0].notes["completion"], "tracepoints");
    assert_eq!(talk.end(), &BootEnd::Clean);
}

#[test]
fn a_pass_without_any_assertion_is_an_error() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.finish(0, Outcome::Pass { checks: 0 });
    assert_eq!(talk.trouble(), TroubleKind::Workload);
}

#[test]
fn a_pass_without_a_sample_of_a_named_metric_is_an_error() {
    let mut talk = Talk::with(vec![SessionTest { required_metrics: vec!["time".to_owned()], ..test(0) }]);
    talk.hello();
    talk.start(0);
    talk.finish(0, PASS);
    assert_eq!(talk.trouble(), TroubleKind::Workload);
}

#[test]
fn a_warning_between_the_markers_turns_a_pass_into_a_failure() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.console(
        "[    1.500000] ------------[ cut here ]------------\n\
         [    1.500000] WARNING: CPU: 0 PID: 7 at net/core/dev.c:11 unregister_netdevice_many+0x1/0x2\n\
         [    1.500000] Call Trace:\n\
         [    1.500000]  cleanup_net+0x1/0x2\n\
         [    1.500000] ---[ end trace 0000000000000000 ]---\n",
    );
    talk.finish(0, PASS);
    let (kind, message) = talk.failure();
    assert_eq!(kind, FailureKind::Finding);
    assert!(message.contains("unregister_netdevice_many"), "{message}");
    assert_eq!(talk.judged()[0].findings.len(), 1);
}

#[test]
fn a_warning_that_the_console_shows_after_the_report_still_counts() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.say(&Event::Finished { test: 0, outcome: PASS, elapsed_ns: 1 });
    assert!(talk.judged().is_empty(), "the verdict waits for the end marker");
    talk.console("[    1.500000] WARNING: CPU: 0 PID: 7 at net/core/dev.c:11 f+0x1/0x2\n");
    talk.console("[    1.600000] ---[ end trace 0 ]---\n[    2.000000] kregress: end 0 pass\n");
    assert_eq!(talk.failure().0, FailureKind::Finding);
}

#[test]
fn a_console_without_markers_delays_one_verdict_and_is_told() {
    let mut talk = Talk::new(2);
    talk.hello();
    for id in 0..2 {
        talk.say(&Event::Started { test: id });
        talk.say(&Event::Finished { test: id, outcome: PASS, elapsed_ns: 1 });
        if id == 0 {
            assert!(talk.judged().is_empty());
            talk.wait(SECOND);
        }
        assert_eq!(talk.judged().len(), id as usize + 1);
    }
    let notices = talk.actions.iter().filter(|action| matches!(action, Action::Notice(_))).count();
    assert_eq!(notices, 1);
}

#[test]
fn a_warning_outside_of_every_test_belongs_to_the_boot() {
    let mut talk = Talk::new(1);
    talk.console("[    0.100000] WARNING: CPU: 0 PID: 1 at kernel/x.c:1 early+0x1/0x2\n[    0.100000] ---[ end trace 0 ]---\n");
    talk.hello();
    talk.start(0);
    talk.finish(0, PASS);
    assert_eq!(talk.verdict(), &Verdict::Pass { checks: 3 });
    assert!(talk.actions.iter().any(|action| matches!(action, Action::BootFinding(_))));
}

#[test]
fn a_panic_is_a_failure_of_the_running_test_only() {
    let mut talk = Talk::new(3);
    talk.hello();
    talk.start(0);
    talk.finish(0, PASS);
    talk.start(1);
    talk.console("[    3.000000] Kernel panic - not syncing: Fatal exception\n");
    talk.die();
    let judged = talk.judged();
    assert_eq!(judged.len(), 2, "the third test was never reached");
    assert!(matches!(&judged[1].verdict, Verdict::Fail(failure) if failure.kind == FailureKind::Panic));
    assert!(matches!(talk.end(), BootEnd::Panicked { .. }), "{:?}", talk.end());
}

#[test]
fn a_guest_that_goes_without_a_word_is_lost() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.input(Input::Exited { status: "signal: 9 (SIGKILL)".to_owned() });
    talk.die();
    assert_eq!(talk.trouble(), TroubleKind::Lost);
    assert!(matches!(talk.end(), BootEnd::Lost { reason } if reason.contains("SIGKILL")), "{:?}", talk.end());
}

#[test]
fn a_report_that_the_kernel_survived_is_not_the_reason_of_a_later_death() {
    let mut talk = Talk::new(2);
    talk.hello();
    talk.start(0);
    talk.console("[    1.500000] BUG: Bad page state in process x  pfn:1\n");
    talk.finish(0, PASS);
    talk.start(1);
    talk.input(Input::Exited { status: "signal: 9 (SIGKILL)".to_owned() });
    talk.die();
    let judged = talk.judged();
    assert!(matches!(&judged[0].verdict, Verdict::Fail(failure) if failure.kind == FailureKind::Finding));
    assert!(matches!(&judged[1].verdict, Verdict::Error(trouble) if trouble.kind == TroubleKind::Lost));
}

#[test]
fn a_guest_that_only_prints_between_two_tests_is_not_waited_for_for_ever() {
    let mut talk = Talk::new(1);
    talk.hello();
    for _ in 0..30 {
        talk.wait(SECOND);
        if talk.actions.iter().any(|action| matches!(action, Action::Ended(_))) {
            break;
        }
        talk.console("[    5.000000] unrelated chatter\n");
    }
    assert!(matches!(talk.end(), BootEnd::Lost { .. }), "{:?}", talk.end());
}

#[test]
fn the_last_words_of_a_dying_kernel_are_kept_with_the_test() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.console("[    2.000000] whole line\n[    2.000001] half a li");
    talk.die();
    assert!(talk.judged()[0].log.ends_with("half a li"), "{}", talk.judged()[0].log);
}

#[test]
fn a_late_marker_is_waited_for_where_markers_come() {
    let mut talk = Talk::new(2);
    talk.hello();
    talk.start(0);
    talk.finish(0, PASS);
    talk.start(1);
    talk.say(&Event::Finished { test: 1, outcome: PASS, elapsed_ns: 1 });
    talk.wait(SECOND * 2);
    assert_eq!(talk.judged().len(), 1);
    talk.console("[    3.000000] kregress: end 1 pass\n");
    assert_eq!(talk.judged().len(), 2);
}

#[test]
fn a_guest_that_never_says_hello_did_not_boot() {
    let mut talk = Talk::new(1);
    talk.wait(SECOND * 15);
    talk.give_up_waiting();
    assert!(talk.judged().is_empty());
    let BootEnd::NotBooted { reason, fault: BootFault::Unknown } = talk.end() else {
        panic!("{:?}", talk.end())
    };
    assert!(reason.starts_with("it said no hello within 15s\nhint: console.log"), "{reason}");
}

#[test]
fn a_panic_before_the_hello_is_the_reason_and_has_its_hint() {
    let mut talk = Talk::new(1);
    talk.console(
        "[    0.500000] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n",
    );
    talk.die();
    let BootEnd::NotBooted { reason, fault: BootFault::Unknown } = talk.end() else {
        panic!("{:?}", talk.end())
    };
    assert!(reason.contains("Unable to mount root fs"), "{reason}");
    assert!(reason.contains("hint: the qemu backend needs CONFIG_BLK_DEV_INITRD=y"), "{reason}");
}

#[test]
fn what_the_guest_says_of_a_missing_port_is_the_reason() {
    let mut talk = Talk::new(1);
    talk.console("[    0.900000] kregress: no virtio-serial port org.kregress.control\n");
    talk.die();
    let BootEnd::NotBooted { reason, fault: BootFault::Unknown } = talk.end() else {
        panic!("{:?}", talk.end())
    };
    assert!(reason.contains("no virtio-serial port"), "{reason}");
    assert!(reason.contains("CONFIG_VIRTIO_CONSOLE=y"), "{reason}");
}

#[test]
fn a_hello_with_the_wrong_nonce_or_protocol_is_refused() {
    for event in [hello(Nonce::from_bytes([1; 16]), PROTOCOL), hello(nonce(), PROTOCOL + 1)] {
        let mut talk = Talk::new(1);
        talk.say(&event);
        assert!(matches!(talk.end(), BootEnd::NotBooted { .. }), "{:?}", talk.end());
        assert!(!talk.actions.iter().any(|action| matches!(action, Action::Hello(_))));
    }
}

#[test]
fn garbage_on_the_control_channel_is_an_error_of_the_running_test() {
    let mut talk = Talk::new(2);
    talk.hello();
    talk.start(0);
    talk.input(Input::Control(b"\x1b[31mbabble"));
    assert_eq!(talk.trouble(), TroubleKind::Protocol);
    assert!(matches!(talk.end(), BootEnd::Killed { .. }), "{:?}", talk.end());
}

#[test]
fn no_message_out_of_turn_gives_a_test_a_verdict() {
    let forged = [
        Event::Finished { test: 1, outcome: PASS, elapsed_ns: 1 },
        Event::Started { test: 1 },
        Event::Finished { test: 77, outcome: PASS, elapsed_ns: 1 },
        Event::Samples { test: 1, metric: "time".to_owned(), values: vec![1.0] },
        Event::Samples { test: 0, metric: "invented".to_owned(), values: vec![1.0] },
        Event::Bye,
        hello(nonce(), PROTOCOL),
    ];
    for event in forged {
        let mut talk = Talk::new(2);
        talk.hello();
        talk.start(0);
        talk.say(&event);
        assert_eq!(talk.trouble(), TroubleKind::Protocol, "{event:?}");
        assert_eq!(talk.judged()[0].id, 0, "{event:?}");
    }
}

#[test]
fn a_second_verdict_for_the_same_test_is_refused() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.finish(0, Outcome::Fail { message: "wrong".to_owned() });
    talk.finish(0, PASS);
    assert_eq!(talk.failure(), (FailureKind::Assertion, "wrong"));
}

#[test]
fn a_goodbye_that_leaves_tests_out_is_an_error_of_the_first_of_them() {
    let mut talk = Talk::new(3);
    talk.hello();
    talk.start(0);
    talk.finish(0, PASS);
    talk.say(&Event::Bye);
    let judged = talk.judged();
    assert_eq!(judged.len(), 2);
    assert_eq!(judged[1].id, 1);
    assert!(matches!(&judged[1].verdict, Verdict::Error(trouble) if trouble.kind == TroubleKind::Protocol));
}

#[test]
fn more_samples_than_any_honest_test_has_end_the_boot() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    for _ in 0..101 {
        talk.say(&Event::Samples { test: 0, metric: "time".to_owned(), values: vec![0.5; 10_000] });
    }
    assert_eq!(talk.trouble(), TroubleKind::Protocol);
}

#[test]
fn an_interrupt_ends_the_running_test_as_interrupted() {
    let mut talk = Talk::new(2);
    talk.hello();
    talk.start(0);
    talk.input(Input::Interrupt);
    assert_eq!(talk.trouble(), TroubleKind::Interrupted);
}

#[test]
fn trouble_of_the_host_is_never_a_failure_of_the_kernel() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.console("[    3.000000] Kernel panic - not syncing: whatever\n");
    talk.input(Input::HostTrouble("cannot write run.json: No space left on device".to_owned()));
    assert_eq!(talk.trouble(), TroubleKind::Host);
}

#[test]
fn a_guest_on_another_root_than_was_asked_for_gives_no_verdict_however_fast_it_is() {
    for (root, asked, passed) in
        [("9p", RootFs::Virtiofs, 0), ("virtiofs", RootFs::Virtiofs, 1), ("9p", RootFs::Auto, 1)]
    {
        let mut talk = Talk::new(1);
        talk.session = Session::new(nonce(), vec![test(0)], Limits::scaled(1.0)).on_root(asked);
        let Event::Hello(mut hello) = hello(nonce(), PROTOCOL) else { panic!("no hello") };
        hello.facts.insert("root".to_owned(), root.to_owned());
        let mut writer = Writer::new(Vec::new());
        let finished = Event::Finished { test: 0, outcome: PASS, elapsed_ns: 1 };
        for event in [Event::Hello(hello), Event::Started { test: 0 }, finished, Event::Bye] {
            writer.send(&event).expect("send to memory");
        }
        talk.input(Input::Control(writer.get_ref()));
        talk.give_up_waiting();
        let judged = talk.actions.iter().filter(|action| matches!(action, Action::Judged(_))).count();
        assert_eq!(judged, passed, "{root}, {asked:?}");
        let told = talk.actions.iter().any(|action| matches!(action, Action::Hello(_)));
        assert!(told, "what the guest said of itself is kept");
        if passed == 0 {
            let BootEnd::Killed { reason } = talk.end() else { panic!("{:?}", talk.end()) };
            assert!(reason.contains("the root of the guest is `9p`"), "{reason}");
        }
    }
}

#[test]
fn a_guest_that_stays_after_its_goodbye_is_killed_and_clean() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.finish(0, PASS);
    talk.say(&Event::Bye);
    talk.wait(SECOND * 5);
    assert!(talk.actions.iter().any(|action| matches!(action, Action::Kill)));
    assert_eq!(talk.end(), &BootEnd::Clean);
}

#[test]
fn an_init_that_says_that_it_will_start_nothing_is_not_waited_for() {
    let mut talk = Talk::new(1);
    talk.at = SECOND * 5;
    talk.console(
        "[    5.117638][    T1] virtme-ng-init: virtme-init: cannot find script I/O ports; make sure\n",
    );
    talk.console("   __   _(_)_ __| |_ _ __ ___   ___       _ __   __ _\n");
    let BootEnd::NotBooted { reason, .. } = talk.end() else { panic!("{:?}", talk.end()) };
    assert!(reason.starts_with("the init of virtme-ng cannot find its ports"), "{reason}");
    assert!(reason.contains("\nhint: ") && talk.at == SECOND * 5, "{reason}");
}

#[test]
fn skip_and_error_are_taken_at_their_word() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.finish(0, Outcome::Skip { reason: "no CONFIG_XFRM".to_owned() });
    assert_eq!(talk.verdict(), &Verdict::Skip { reason: "no CONFIG_XFRM".to_owned() });
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.finish(0, Outcome::Error { message: "fork: EAGAIN".to_owned() });
    assert_eq!(talk.trouble(), TroubleKind::Workload);
}

#[test]
fn what_a_test_printed_is_kept_with_it() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.input(Input::Output(b"opened 50 namespaces\n"));
    talk.finish(0, PASS);
    assert!(talk.judged()[0].log.contains("opened 50 namespaces"), "{}", talk.judged()[0].log);
}
