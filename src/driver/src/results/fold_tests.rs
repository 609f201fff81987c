use proptest::prelude::*;

use super::*;
use crate::model::{BootEnd, RunEvent};
use crate::results::convert;
use crate::results::testing::{self, fold, lines};

fn messages(run: &Run) -> Vec<String> {
    let text = |result: &TestResult| {
        let message = match &result.verdict {
            Verdict::Error(trouble) => format!("{}: {}", trouble.kind.name(), trouble.message),
            other => other.word().to_owned(),
        };
        let boot = result.boot.map_or("-".to_owned(), |boot| boot.to_string());
        format!("{} {} {boot} {message}", result.kernel, result.test)
    };
    run.results.iter().map(text).collect()
}

#[test]
fn a_killed_run_has_an_error_for_each_verdict_that_never_came() {
    let mut events = testing::started(&["stable"], &["smoke/a", "smoke/b"], 2);
    events.extend([
        testing::boot(1, "stable"),
        testing::begun(1, "smoke/a"),
        RunEvent::TestFinished(testing::pass("smoke/a", "stable", 1)),
        testing::begun(1, "smoke/b"),
    ]);
    let run = fold(&events).close(State::Unfinished);
    assert_eq!(run.state, State::Unfinished);
    insta::assert_snapshot!(messages(&run).join("\n"), @r"
    stable smoke/a 1 pass
    stable smoke/a - unfinished: the run ended in mid-work (killed, or out of disk); 1 of 2 boots have come to this test
    stable smoke/b 1 unfinished: the run ended in mid-work (killed, or out of disk); boot 1 was at this test
    stable smoke/b - unfinished: the run ended in mid-work (killed, or out of disk); no boot has come to this test
    ");
}

#[test]
fn a_run_that_ends_in_good_order_but_forgot_a_test_has_an_error_for_it() {
    let mut events = testing::started(&["stable"], &["smoke/a"], 1);
    events.push(testing::finished());
    let run = fold(&events).close(State::Unfinished);
    assert_eq!(run.state, State::Finished);
    insta::assert_snapshot!(
        messages(&run).join("\n"),
        @"stable smoke/a - unfinished: the run ended without a verdict; no boot has come to this test"
    );
}

#[test]
fn the_tests_of_a_kernel_that_cannot_be_had_say_why() {
    let mut events = testing::started(&["stable"], &["smoke/a"], 1);
    events.push(RunEvent::KernelFailed { kernel: testing::kernel("stable"), reason: "no flex".into() });
    let run = fold(&events).close(State::Unfinished);
    insta::assert_snapshot!(
        messages(&run).join("\n"),
        @"stable smoke/a - unfinished: kernel `stable` cannot be had: no flex"
    );
}

#[test]
fn a_second_verdict_of_one_boot_is_refused_and_changes_nothing() {
    let mut events = testing::started(&["stable"], &["smoke/a"], 3);
    events.push(testing::boot(1, "stable"));
    events.push(RunEvent::TestFinished(testing::pass("smoke/a", "stable", 1)));
    let mut fold = fold(&events);
    let before = fold.run().clone();
    let mut again = lines(&[RunEvent::TestFinished(testing::fail("smoke/a", "stable", 1, "x"))]).remove(0);
    again.seq = before.events;
    let error = fold.apply(again).expect_err("second verdict");
    assert_eq!(error.to_string(), "`smoke/a` on `stable` already has the verdict of its turn 1, attempt 1");
    assert_eq!(*fold.run(), before);
}

/// What is said to one more result after these.
fn one_more(retries: u32, results: &[TestResult], more: TestResult) -> Result<(), String> {
    let mut info = testing::info(&["stable"], &["smoke/a"], 1);
    info.retries = retries;
    let mut events = vec![RunEvent::RunStarted(info)];
    events.extend((1..=4).map(|id| testing::boot(id, "stable")));
    let mut fold = fold(&events);
    for result in results.iter().cloned().chain([more]) {
        let line = Line {
            version: VERSION,
            seq: fold.run().events,
            elapsed_ms: 0,
            event: Event::TestFinished(result),
        };
        fold.apply(line).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn attempt(repeat: u32, attempt: u32, verdict: &str) -> TestResult {
    let event = match verdict {
        "pass" => testing::pass("smoke/a", "stable", attempt),
        _ => testing::fail("smoke/a", "stable", attempt, "x"),
    };
    let Event::TestFinished(result) = convert::event(&RunEvent::TestFinished(event)) else {
        unreachable!("a result")
    };
    TestResult { repeat, attempt, ..result }
}

#[test]
fn turns_and_attempts_that_nobody_asked_for_are_refused() {
    let why = |retries, before: &[TestResult], more| one_more(retries, before, more).expect_err("refused");
    insta::assert_snapshot!(
        why(0, &[], attempt(2, 1, "pass")),
        @"`smoke/a` on `stable` has no turn 2, attempt 1: fewer boots were asked for"
    );
    insta::assert_snapshot!(
        why(0, &[attempt(1, 1, "fail")], attempt(1, 2, "pass")),
        @"`smoke/a` on `stable` has no turn 1, attempt 2: the plan asks for fewer retries"
    );
    insta::assert_snapshot!(
        why(3, &[attempt(1, 1, "fail")], attempt(1, 3, "pass")),
        @"`smoke/a` on `stable` has no turn 1, attempt 3: the attempt before it has no verdict"
    );
    insta::assert_snapshot!(
        why(3, &[attempt(1, 1, "pass")], attempt(1, 2, "pass")),
        @"`smoke/a` on `stable` has no turn 1, attempt 2: the attempt before it needed no other"
    );
    insta::assert_snapshot!(
        why(3, &[attempt(1, 1, "fail")], TestResult { attempt: 0, ..attempt(1, 2, "pass") }),
        @"`smoke/a` on `stable` has no turn 1, attempt 0: the attempt before it has no verdict"
    );
    assert_eq!(one_more(1, &[attempt(1, 1, "fail")], attempt(1, 2, "pass")), Ok(()));
}

#[test]
fn a_gap_in_the_lines_is_refused() {
    let mut fold = fold(&testing::started(&["stable"], &["smoke/a"], 1));
    let mut line = lines(&[testing::finished()]).remove(0);
    line.seq = 5;
    let error = fold.apply(line).expect_err("gap");
    assert_eq!(error, FoldError::Sequence { expected: 1, found: 5 });
}

#[test]
fn what_is_not_in_the_plan_is_refused() {
    let start = testing::started(&["stable"], &["smoke/a"], 1);
    let stray = |event: RunEvent| {
        let mut fold = fold(&start);
        let mut line = lines(&[event]).remove(0);
        line.seq = 1;
        fold.apply(line).expect_err("stray").to_string()
    };
    assert_eq!(stray(testing::boot(1, "other")), "kernel `other` is not part of the run");
    assert_eq!(stray(testing::begun(4, "smoke/a")), "boot 4 was never started");
    assert_eq!(stray(testing::begun(4, "smoke/z")), "test `smoke/z` is not part of the run");
    assert_eq!(stray(start[0].clone()), "the run has already begun");
}

#[test]
fn a_plan_beyond_all_reason_is_refused_before_memory_is_taken() {
    let line = lines(&testing::started(&["stable"], &["smoke/a"], u32::MAX)).remove(0);
    let error = Fold::begin(line).expect_err("too much");
    assert_eq!(error.to_string(), "the plan asks for 4294967295 verdicts, the limit is 1048576");
}

#[test]
fn nothing_follows_the_end() {
    let mut events = testing::started(&["stable"], &["smoke/a"], 1);
    events.push(testing::finished());
    let mut fold = fold(&events);
    let mut line = lines(&[testing::boot(1, "stable")]).remove(0);
    line.seq = 2;
    assert_eq!(fold.apply(line).expect_err("over"), FoldError::Over);
}

#[test]
fn a_boot_keeps_what_the_guest_said_and_how_it_ended() {
    let mut events = testing::started(&["stable"], &["smoke/a"], 1);
    events.extend([
        testing::boot(1, "stable"),
        testing::ready(1),
        testing::boot_finding(1, "WARNING: CPU: 0 PID: 9 at net/core/dev.c:123"),
        testing::ended(1, BootEnd::Clean),
    ]);
    let run = fold(&events).close(State::Unfinished);
    let boot = run.boot(1).expect("boot 1");
    assert_eq!(boot.guest.as_ref().expect("hello").kernel_release, "6.12.117");
    assert_eq!(boot.findings[0].title, "WARNING: CPU: 0 PID: 9 at net/core/dev.c:123");
    assert_eq!(boot.end, Some(super::super::format::BootEnd::Clean));
}

proptest! {
    #[test]
    fn wherever_a_run_is_cut_each_planned_verdict_is_there_once(cut in 1_usize..40, boots in 1_u32..4) {
        let events = testing::whole_run(&["a", "b"], &["smoke/x", "smoke/y[n=1]"], boots);
        let cut = cut.min(events.len());
        let run = fold(&events[..cut]).close(State::Unfinished);
        let mut count = BTreeMap::new();
        for result in &run.results {
            *count.entry((result.kernel.clone(), result.test.clone())).or_insert(0) += 1;
        }
        prop_assert_eq!(count.len(), 4);
        prop_assert!(count.values().all(|n| *n == boots), "{:?}", count);
    }
}
