use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;

use super::super::testing::{closed, events, plan, run};
use super::*;
use crate::model::{BootEnd, RunEvent};
use crate::results::{Standing, Summary, testing, turns};

fn asked() -> Asked {
    Asked {
        id: "20261122-060000-abcd".to_owned(),
        directory: PathBuf::from("/results/20261122-060000-abcd"),
        command: ["kregress", "merge"].map(str::to_owned).to_vec(),
        now_unix: 7,
    }
}

fn given(plan: &Plan, numbers: &[u32]) -> BTreeMap<u32, Run> {
    numbers.iter().map(|number| (*number, run(plan, *number))).collect()
}

/// The joined run, as a reader of its record sees it.
fn joined(plan: &Plan, given: &BTreeMap<u32, Run>) -> Run {
    let joined = join(plan, given, &BTreeMap::new(), Vec::new(), asked());
    let fold = fold(joined.events.into_iter()).expect("a run that follows").expect("a run");
    fold.close(State::Unfinished)
}

fn verdicts(run: &Run) -> Vec<String> {
    let line = |it: &TestResult| {
        let boot = it.boot.map_or("-".to_owned(), |boot| boot.to_string());
        let message = match &it.verdict {
            Verdict::Error(trouble) => format!(": {}: {}", trouble.kind.name(), trouble.message),
            _ => String::new(),
        };
        format!("{} {boot} {} {}{message}", it.kernel, it.test, it.verdict.word())
    };
    run.results.iter().map(line).collect()
}

/// What is said of the first shard of two after a change of its record.
fn complaint(change: impl FnOnce(&mut Run)) -> String {
    let plan = plan(&["fake"], &["t/a", "t/b"], 2, 2);
    let mut run = run(&plan, 1);
    change(&mut run);
    check(&plan, &plan.shards()[0], &run).expect_err("a complaint")
}

#[test]
fn shards_that_are_all_there_are_one_run_with_boots_numbered_through() {
    let plan = plan(&["fake", "other"], &["t/a", "t/b", "t/c"], 1, 3);
    let run = joined(&plan, &given(&plan, &[1, 2, 3]));
    assert_eq!(run.state, State::Finished);
    assert_eq!(Summary::of(&run).exit_code(), 0);
    insta::assert_snapshot!(verdicts(&run).join("\n"), @r"
    fake 1 t/a pass
    other 2 t/a pass
    fake 3 t/b pass
    other 4 t/b pass
    fake 5 t/c pass
    other 6 t/c pass
    ");
    let directories: Vec<&str> = run.boots.iter().map(|boot| boot.launch.directory.as_str()).collect();
    assert_eq!(directories, ["boots/1", "boots/2", "boots/3", "boots/4", "boots/5", "boots/6"]);
    assert_eq!(run.notices, ["TCG as asked for"]);
    assert_eq!(run.plan.host["cpu"], "CPU 1 (shard 1); CPU 2 (shards 2, 3)");
    assert_eq!(run.kernels.len(), 2);
    let merged = run.plan.merged.as_ref().expect("where it comes from");
    assert_eq!((merged.of, merged.shards[2].first_boot, merged.shards[2].boots), (3, 5, 2));
    // The first began at its second 1, the last at its second 3.
    assert_eq!(run.plan.started_unix, testing::info(&[], &[], 1).started_unix + 1);
    assert!(run.elapsed_ms >= 2000, "{}", run.elapsed_ms);
}

#[test]
fn every_test_of_a_shard_that_is_missing_is_an_error_and_says_which_shard() {
    let plan = plan(&["fake"], &["t/a", "t/b", "t/c", "t/d"], 2, 3);
    let run = joined(&plan, &given(&plan, &[1, 3]));
    insta::assert_snapshot!(verdicts(&run).join("\n"), @r"
    fake 1 t/a pass
    fake 1 t/d pass
    fake 2 t/a pass
    fake 2 t/d pass
    fake - t/b error: host: shard 2 of 3 left no results: no directory is of it
    fake - t/b error: host: shard 2 of 3 left no results: no directory is of it
    fake 3 t/c pass
    fake 4 t/c pass
    ");
    assert_eq!(run.state, State::Unfinished);
    assert_eq!(Summary::of(&run).exit_code(), 3);
    assert!(run.notices.iter().any(|it| it.starts_with("shard 2 of 3 left no results")), "{:?}", run.notices);
}

#[test]
fn without_any_shard_everything_is_an_error() {
    let plan = plan(&["fake"], &["t/a", "t/b"], 1, 2);
    let run = joined(&plan, &BTreeMap::new());
    assert_eq!(Summary::of(&run).verdicts.error, 2);
    assert_eq!(Summary::of(&run).exit_code(), 3);
    assert_eq!(run.plan.started_unix, 7);
}

#[test]
fn what_a_shard_that_was_cut_off_lacks_is_an_error_and_what_it_has_counts() {
    let plan = plan(&["fake"], &["t/a", "t/b", "t/c"], 1, 2);
    // Ends behind the verdict of the first of its two tests.
    let whole = events(&plan, 1);
    let cut = whole.iter().position(|event| matches!(event, RunEvent::TestFinished(_))).expect("a verdict");
    let mut shards = given(&plan, &[2]);
    shards.insert(1, closed(&whole[..=cut + 1]));
    let run = joined(&plan, &shards);
    insta::assert_snapshot!(verdicts(&run).join("\n"), @r"
    fake 1 t/a pass
    fake 1 t/c error: unfinished: shard 1 of 2 was cut off in mid-work (killed, or out of disk); boot 1 was at this test
    fake 2 t/b pass
    ");
    assert_eq!(run.state, State::Unfinished);
    assert_eq!(Summary::of(&run).exit_code(), 3);
    assert_eq!(run.boots[0].running.as_deref(), Some("t/c"));
}

#[test]
fn a_record_that_says_it_is_whole_and_is_not_gets_its_errors_all_the_same() {
    let plan = plan(&["fake"], &["t/a", "t/b"], 1, 2);
    let mut shards = given(&plan, &[1, 2]);
    if let Some(shard) = shards.get_mut(&2) {
        shard.results.clear();
    }
    assert_eq!(check(&plan, &plan.shards()[1], &shards[&2]), Ok(()));
    let run = joined(&plan, &shards);
    assert_eq!(verdicts(&run)[1], "fake - t/b error: host: shard 2 of 2 left no verdict of this test");
    assert_eq!(Summary::of(&run).exit_code(), 3);
}

#[test]
fn a_failure_in_one_shard_is_a_failure_of_the_whole_though_another_is_lost() {
    let plan = plan(&["fake"], &["t/a", "t/b"], 1, 2);
    let mut failed = events(&plan, 1);
    for event in &mut failed {
        if let RunEvent::TestFinished(result) = event {
            *result = testing::fail("t/a", "fake", 1, "seen 5");
        }
    }
    let run = joined(&plan, &BTreeMap::from([(1, closed(&failed))]));
    assert_eq!(Summary::of(&run).exit_code(), 1);
}

#[test]
fn different_kernels_under_one_name_are_refused() {
    let plan = plan(&["fake"], &["t/a", "t/b"], 1, 2);
    let mut shards = given(&plan, &[1, 2]);
    if let Some(shard) = shards.get_mut(&2) {
        shard.kernels[0].identity = "d\u{1b}[1mef".to_owned();
    }
    let error = same_kernels(&shards).expect_err("two kernels");
    let text = error.to_string();
    assert!(
        text.starts_with("kernel `fake` is not the same in all shards: `abc` in shard 1, `def` in"),
        "{text}"
    );
}

#[test]
fn a_run_of_something_else_is_no_shard() {
    let plan = plan(&["fake"], &["t/a", "t/b"], 1, 2);
    let mut run = run(&plan, 1);
    assert_eq!(number(&plan, &run), Ok(1));
    run.plan.shard.as_mut().expect("a shard").plan = "x".to_owned();
    assert_eq!(number(&plan, &run), Err(Elsewhere::OtherPlan("x".to_owned())));
    run.plan.shard = None;
    assert_eq!(number(&plan, &run), Err(Elsewhere::Whole));
}

#[test]
fn a_record_that_does_not_follow_from_the_plan_is_refused() {
    assert_eq!(complaint(|run| run.plan.boots_per_kernel = 9), "does not say what the plan says");
    assert_eq!(complaint(|run| run.plan.tests[0].timeout_ms = 9), "does not say what the plan says");
    assert_eq!(
        complaint(|run| run.plan.shard.as_mut().expect("a shard").of = 9),
        "does not say what the plan says"
    );
    assert_eq!(
        complaint(|run| run.turns = BTreeMap::from([("t/a".to_owned(), 9)])),
        "is one of a comparison, which no plan asks for"
    );
    assert_eq!(
        complaint(|run| run.plan.started_unix = i64::MIN),
        "begins at `-9223372036854775808`, which is no time"
    );
}

#[test]
fn a_notice_of_a_boot_has_its_new_number_and_one_of_some_shards_says_which() {
    let plan = plan(&["fake"], &["t/a", "t/b"], 1, 2);
    let mut shards = given(&plan, &[1, 2]);
    for run in shards.values_mut() {
        run.notices.push("boot 1: the host stood still".to_owned());
        run.notices.push("boot 99: x".to_owned());
    }
    if let Some(shard) = shards.get_mut(&2) {
        shard.notices.remove(0);
    }
    insta::assert_snapshot!(joined(&plan, &shards).notices.join("\n"), @r"
    shard 1: TCG as asked for
    shard 1: boot 1: the host stood still
    boot 99: x
    shard 2: boot 2: the host stood still
    ");
}

#[test]
fn no_boot_leads_out_of_its_run() {
    for directory in ["../../etc", "/etc", "boots/../../x", "boots/1/", "boots/01", "", "boots/2"] {
        let text = complaint(|run| run.boots[0].launch.directory = directory.to_owned());
        assert!(text.ends_with("which is not its place") && text.starts_with("has boot 1 in `"), "{text}");
    }
}

#[test]
fn verdicts_and_boots_that_nobody_asked_for_are_refused() {
    insta::assert_snapshot!(
        complaint(|run| run.results[0].test = "t/b".to_owned()),
        @"contradicts itself: test `t/b` is not part of the run"
    );
    insta::assert_snapshot!(
        complaint(|run| run.results.push(run.results[0].clone())),
        @"contradicts itself: `t/a` on `fake` already has the verdict of its turn 1, attempt 1"
    );
    insta::assert_snapshot!(
        complaint(|run| run.boots.push(run.boots[0].clone())),
        @"contradicts itself: boot 1 was already started"
    );
    insta::assert_snapshot!(
        complaint(|run| run.results[0].boot = Some(77)),
        @"contradicts itself: boot 77 was never started"
    );
}

#[test]
fn boots_of_a_shard_keep_their_end_findings_and_guest() {
    let plan = plan(&["fake"], &["t/a", "t/b"], 1, 2);
    let mut events = events(&plan, 2);
    let at = events.iter().position(|event| matches!(event, RunEvent::BootFinished { .. })).expect("an end");
    events[at] = testing::ended(1, BootEnd::Panicked { title: "BUG: y".to_owned() });
    events.insert(at, testing::boot_finding(1, "BUG: y"));
    let mut shards = given(&plan, &[1]);
    shards.insert(2, closed(&events));
    let (run, shard) = (joined(&plan, &shards), &shards[&2].boots[0]);
    let boot = run.boot(2).expect("boot 2");
    assert_eq!((&boot.end, &boot.findings, &boot.guest), (&shard.end, &shard.findings, &shard.guest));
    assert_eq!((boot.lived_ns, boot.exec_to_hello_ns), (shard.lived_ns, shard.exec_to_hello_ns));
    assert_eq!(Summary::of(&run).exit_code(), 1);
}

proptest! {
    #[test]
    fn whatever_is_lost_or_cut_off_every_planned_verdict_is_there_once_and_nothing_lost_is_a_pass(
        tests in 1_usize..7,
        shards in 1_u32..5,
        boots in 1_u32..3,
        cuts in prop::collection::vec(prop::option::of(any::<prop::sample::Index>()), 4),
    ) {
        let names: Vec<String> = (0..tests).map(|n| format!("t/x[n={n}]")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let plan = plan(&["a", "b"], &names, boots, shards);
        let mut given = BTreeMap::new();
        let mut passed = 0;
        for (shard, cut) in plan.shards().iter().zip(&cuts) {
            if let Some(cut) = cut {
                let whole = events(&plan, shard.number);
                let told = &whole[..=cut.index(whole.len())];
                passed += told.iter().filter(|event| matches!(event, RunEvent::TestFinished(_))).count();
                let run = closed(told);
                prop_assert_eq!(check(&plan, shard, &run), Ok(()));
                given.insert(shard.number, run);
            }
        }
        let run = joined(&plan, &given);
        let mut of: BTreeMap<(&str, &str), Vec<&TestResult>> = BTreeMap::new();
        for result in &run.results {
            of.entry((&result.kernel, &result.test)).or_default().push(result);
        }
        prop_assert_eq!(of.len(), 2 * tests);
        let turns: Vec<_> = of.values().flat_map(|results| turns(results)).collect();
        prop_assert_eq!(turns.len(), 2 * tests * boots as usize);
        prop_assert_eq!(turns.iter().filter(|turn| turn.standing == Standing::Pass).count(), passed);
        let whole = passed == turns.len();
        let code = Summary::of(&run).exit_code();
        prop_assert!(code == 0 && whole || code == 3, "{} of {}: {}", passed, turns.len(), code);
    }
}
