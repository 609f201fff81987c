//! Findings that are allowed, detectors that are off, and kernels that settle, as
//! conversations.

use kregress_wire::{Event, Outcome};

use super::exchange::Action;
use super::session::Session;
use super::session_tests::{SECOND, Talk, nonce, test};
use super::watchdog::Limits;
use crate::model::{AllowRule, Allowance, Allowances, BootEnd, FailureKind, Verdict};

/// A guest that warns in its only test and after it, under a rule for `tests`.
fn warns_under(tests: &[&str]) -> Talk {
    let rule = AllowRule {
        finding: "WARNING: net/core/dev.c:".to_owned(),
        kernels: Vec::new(),
        tests: tests.iter().map(|name| (*name).to_owned()).collect(),
        allowance: Allowance { reason: "known".to_owned(), expires: jiff::civil::date(2027, 1, 31) },
        place: "kregress.yaml:1".to_owned(),
    };
    let mut talk = Talk::new(1);
    talk.session = Session::new(nonce(), vec![test(0)], Limits::scaled(1.0))
        .allowing(Allowances::of_kernel(&[rule], "stable"));
    let warning = "[    1.500000] ------------[ cut here ]------------\n\
                   [    1.500001] WARNING: CPU: 0 PID: 9 at net/core/dev.c:10870 free_netdev+0x1f0/0x210\n\
                   [    1.500002] ---[ end trace 0000000000000000 ]---\n";
    talk.hello();
    talk.start(0);
    talk.console(warning);
    talk.finish(0, Outcome::Pass { checks: 1 });
    talk.console(warning);
    talk
}

#[test]
fn an_allowed_finding_stays_with_a_test_that_passes() {
    let talk = warns_under(&[]);
    let judged = talk.judged();
    assert_eq!(judged[0].verdict, Verdict::Pass { checks: 1 });
    let reasons = judged[0].findings.iter().map(|it| it.allowed.as_ref().map(|it| it.reason.as_str()));
    assert_eq!(reasons.collect::<Vec<_>>(), [Some("known")]);
}

#[test]
fn a_rule_for_other_tests_allows_nothing_here() {
    let talk = warns_under(&["suite/other"]);
    assert!(
        matches!(&talk.judged()[0].verdict, Verdict::Fail(failure) if failure.kind == FailureKind::Finding)
    );
}

const RECURSIVE: &str = "[    1.500000] WARNING: possible recursive locking detected\n\
                         [    1.500001] Call Trace:\n[    1.500002]  <TASK>\n\
                         [    1.500003]  foo+0x1/0x2\n[    1.500004]  </TASK>\n";

#[test]
fn a_test_that_switches_lockdep_off_is_the_last_of_its_boot() {
    let mut talk = Talk::new(3);
    talk.hello();
    talk.start(0);
    talk.console(RECURSIVE);
    talk.finish(0, Outcome::Pass { checks: 1 });
    assert!(matches!(talk.verdict(), Verdict::Fail(failure) if failure.kind == FailureKind::Finding));
    let BootEnd::Killed { reason } = talk.end() else { panic!("{:?}", talk.end()) };
    assert!(
        reason.starts_with("ended for a fresh boot, a detector of the kernel was off: WARNING: possible")
    );
}

#[test]
fn a_test_whose_log_comes_before_its_report_has_its_verdict_when_lockdep_is_off() {
    let mut talk = Talk::new(3);
    talk.hello();
    talk.start(0);
    talk.say(&Event::Finished { test: 0, outcome: Outcome::Pass { checks: 1 }, elapsed_ns: 1 });
    talk.say(&Event::Started { test: 1 });
    let end = |test: u32| format!("[    1.600000] kregress: end {test} word\n");
    let begin = "[    1.400000] kregress: begin 1 smoke/test-1\n";
    talk.console(&format!("{}{begin}{RECURSIVE}{}", end(0), end(1)));
    talk.say(&Event::Finished { test: 1, outcome: Outcome::Pass { checks: 1 }, elapsed_ns: 1 });
    let judged = talk.judged();
    assert_eq!(judged.len(), 2, "{:?}", talk.actions);
    assert_eq!(judged[0].verdict, Verdict::Pass { checks: 1 });
    assert!(matches!(&judged[1].verdict, Verdict::Fail(failure) if failure.kind == FailureKind::Finding));
    assert!(matches!(talk.end(), BootEnd::Killed { .. }));
}

#[test]
fn a_test_that_runs_when_lockdep_was_found_to_be_off_runs_again_elsewhere() {
    let mut talk = Talk::new(2);
    talk.hello();
    talk.start(0);
    // The guest is ahead of its kernel's log.
    talk.say(&Event::Finished { test: 0, outcome: Outcome::Pass { checks: 1 }, elapsed_ns: 1 });
    talk.say(&Event::Started { test: 1 });
    talk.console(RECURSIVE);
    talk.console("[    2.000000] kregress: end 0 pass\n");
    assert_eq!(talk.judged().len(), 1);
    assert!(matches!(talk.end(), BootEnd::Killed { .. }));
}

#[test]
fn a_test_that_was_over_before_lockdep_was_found_to_be_off_runs_again_elsewhere() {
    let mut talk = Talk::new(2);
    talk.hello();
    talk.start(0);
    for event in [
        Event::Finished { test: 0, outcome: Outcome::Pass { checks: 1 }, elapsed_ns: 1 },
        Event::Started { test: 1 },
        Event::Finished { test: 1, outcome: Outcome::Pass { checks: 1 }, elapsed_ns: 1 },
        Event::Bye,
    ] {
        talk.say(&event);
    }
    let rest = "[    2.000000] kregress: end 0 pass\n[    2.000001] kregress: begin 1 suite/test1\n\
                [    2.000002] kregress: end 1 pass\n";
    talk.console(&format!("{RECURSIVE}{rest}"));
    talk.die();
    let judged: Vec<u32> = talk.judged().iter().map(|judged| judged.id).collect();
    assert_eq!(judged, [0]);
}

#[test]
fn the_last_test_of_a_plan_ends_no_boot_early() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.console(RECURSIVE);
    talk.finish(0, Outcome::Pass { checks: 1 });
    talk.say(&Event::Bye);
    talk.die();
    assert_eq!(talk.end(), &BootEnd::Clean);
}

#[test]
fn nothing_passes_in_a_boot_that_was_blind_from_its_start() {
    let mut talk = Talk::new(2);
    talk.hello();
    talk.console("[    0.900000] INFO: lockdep is turned off.\n");
    for test in [0, 1] {
        talk.start(test);
        let outcome =
            if test == 0 { Outcome::Pass { checks: 1 } } else { Outcome::Skip { reason: "x".into() } };
        talk.finish(test, outcome);
    }
    let [first, second] = talk.judged()[..] else { panic!("{:?}", talk.actions) };
    let Verdict::Error(trouble) = &first.verdict else { panic!("{:?}", first.verdict) };
    assert!(trouble.message.starts_with("the result is not valid, a detector of the kernel gave up: INFO: "));
    assert!(matches!(second.verdict, Verdict::Skip { .. }));
    talk.say(&Event::Bye);
    talk.die();
    assert_eq!(talk.end(), &BootEnd::Clean);
}

#[test]
fn a_hole_in_the_log_blinds_only_the_test_that_it_is_in() {
    let mut talk = Talk::new(2);
    talk.hello();
    talk.start(0);
    talk.console("[    1.500000] ** 12 printk messages dropped **\n");
    talk.finish(0, Outcome::Pass { checks: 1 });
    talk.start(1);
    talk.finish(1, Outcome::Pass { checks: 1 });
    let [first, second] = talk.judged()[..] else { panic!("{:?}", talk.actions) };
    assert!(matches!(first.verdict, Verdict::Error(_)));
    assert_eq!(second.verdict, Verdict::Pass { checks: 1 });
}

#[test]
fn a_guest_that_lets_its_kernel_settle_is_waited_for_as_long_as_it_said() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.finish(0, Outcome::Pass { checks: 1 });
    talk.say(&Event::Settling { limit_ms: 25_000 });
    talk.wait(SECOND * 39);
    talk.console("[   40.000000] unregister_netdevice: waiting for lo to become free. Usage count = 2\n");
    talk.say(&Event::Bye);
    talk.die();
    assert_eq!(talk.end(), &BootEnd::Clean);
    let late = |action: &Action| matches!(action, Action::BootFinding(finding) if finding.title.contains("lo to become free"));
    assert!(talk.actions.iter().any(late), "{:?}", talk.actions);
}

#[test]
fn a_guest_that_never_settles_is_lost() {
    let mut talk = Talk::new(1);
    talk.hello();
    talk.start(0);
    talk.finish(0, Outcome::Pass { checks: 1 });
    talk.say(&Event::Settling { limit_ms: u64::MAX });
    talk.wait(SECOND * 90);
    talk.say(&Event::Diagnosis { text: "no test is running".to_owned() });
    talk.wait(SECOND * 2);
    assert!(matches!(talk.end(), BootEnd::Lost { .. }), "{:?}", talk.end());
}

#[test]
fn a_guest_that_settles_before_its_tests_are_over_or_too_often_breaks_the_protocol() {
    let mut early = Talk::new(1);
    early.hello();
    early.say(&Event::Settling { limit_ms: 1 });
    assert!(
        matches!(early.end(), BootEnd::Killed { reason } if reason.contains("before its tests were over"))
    );
    let mut often = Talk::new(1);
    often.hello();
    often.start(0);
    often.finish(0, Outcome::Pass { checks: 1 });
    for _ in 0..3 {
        often.say(&Event::Settling { limit_ms: 1 });
    }
    assert!(matches!(often.end(), BootEnd::Killed { reason } if reason.contains("once too often")));
}
