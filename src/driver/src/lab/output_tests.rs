//! Programs that print KTAP: what of the output is theirs, and when they are judged.

use kregress_wire::output::{Edge, mark};
use kregress_wire::{Event, ExecResult, Outcome};

use super::exchange::{Input, SessionTest};
use super::session_tests::{PASS, SECOND, Talk, nonce, test};
use crate::model::{FailureKind, SubtestVerdict, TroubleKind, Verdict};

fn program(id: u32) -> SessionTest {
    SessionTest { exec: Some(ExecResult::Ktap), ..test(id) }
}

fn print(talk: &mut Talk, text: &str) {
    // In small pieces, as a channel may deliver it.
    for piece in text.as_bytes().chunks(7) {
        talk.input(Input::Output(piece));
    }
}

fn begun(tests: u32) -> Talk {
    let mut talk = Talk::with((0..tests).map(program).collect());
    talk.hello();
    talk.start(0);
    print(&mut talk, &mark(&nonce(), 0, Edge::Begin));
    talk
}

#[test]
fn a_program_is_judged_when_the_end_of_its_output_is_there() {
    let mut talk = begun(1);
    print(&mut talk, "TAP version 13\n1..2\nok 1 a\n");
    talk.finish(0, PASS);
    assert!(talk.judged().is_empty());
    // The channels are not in step.
    print(&mut talk, "ok 2 b");
    print(&mut talk, &mark(&nonce(), 0, Edge::End));
    assert_eq!(talk.verdict(), &Verdict::Pass { checks: 2 });
    let names: Vec<String> = talk.judged()[0].subtests.iter().map(|it| it.name()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(talk.judged()[0].log.contains("ok 1 a"), "{}", talk.judged()[0].log);
}

#[test]
fn an_end_that_does_not_come_is_an_error_after_a_while() {
    let mut talk = begun(1);
    print(&mut talk, "TAP version 13\nok 1 a\n");
    talk.finish(0, PASS);
    talk.wait(SECOND * 20);
    assert_eq!(talk.trouble(), TroubleKind::Workload);
    let last = talk.judged()[0].subtests.last().expect("a case");
    assert_eq!((last.verdict, last.reason.as_str()), (SubtestVerdict::Error, "it was cut off"));
}

#[test]
fn what_stands_between_marks_belongs_to_that_test_whoever_is_running() {
    let mut talk = begun(2);
    print(&mut talk, "TAP version 13\n1..1\n");
    talk.finish(0, PASS);
    talk.start(1);
    print(&mut talk, "not ok 1 a\n");
    print(&mut talk, &mark(&nonce(), 0, Edge::End));
    let failed = talk.failure();
    assert_eq!(failed, (FailureKind::Assertion, "1 of 1 subtests failed: a"));
    print(&mut talk, &mark(&nonce(), 1, Edge::Begin));
    print(&mut talk, "TAP version 13\n1..1\nok 1 b\n");
    print(&mut talk, &mark(&nonce(), 1, Edge::End));
    talk.finish(1, PASS);
    assert_eq!(talk.judged()[1].verdict, Verdict::Pass { checks: 1 });
}

#[test]
fn a_program_over_its_limit_keeps_the_cases_that_it_reported() {
    let mut talk = begun(1);
    print(&mut talk, "TAP version 13\n1..2\nok 1 a\n");
    print(&mut talk, &mark(&nonce(), 0, Edge::End));
    talk.finish(0, Outcome::TimedOut { message: "`sleep` was ended after 4.0s, its time limit".into() });
    assert_eq!(talk.failure().0, FailureKind::Timeout);
    let verdicts: Vec<_> = talk.judged()[0].subtests.iter().map(|it| it.verdict).collect();
    assert_eq!(verdicts, [SubtestVerdict::Pass, SubtestVerdict::Error]);
}

#[test]
fn a_guest_that_dies_under_a_program_leaves_what_it_reported() {
    let mut talk = begun(1);
    print(&mut talk, "TAP version 13\nok 1 a\nok 2 b # SK");
    talk.say(&Event::Progress { test: 0, done: 1, total: 2 });
    talk.die();
    assert_eq!(talk.trouble(), TroubleKind::Lost);
    let words: Vec<_> = talk.judged()[0].subtests.iter().map(|it| it.verdict.word()).collect();
    assert_eq!(words, ["pass", "error"]);
}
