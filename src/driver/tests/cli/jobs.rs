//! Several boots side by side.

use std::collections::BTreeSet;

use rustix::process::Signal;

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::record::{Record, list, word};
use crate::rig::Rig;

/// Twelve tests that only pass or fail, and two that measure times.
fn suite() -> String {
    let mut text = String::from("version: 1\nsummary: many tests\ntests:\n");
    for number in 1..=12 {
        text.push_str(&format!("  f{number:02}: {{workload: netns/drain, timeout: 60s}}\n"));
    }
    for number in 1..=2 {
        text.push_str(&format!(
            "  t{number}:\n    workload: netns/drain\n    timeout: 60s\n    metrics:\n      \
             - {{name: drain_time, unit: ns, better: lower, kind: time}}\n"
        ));
    }
    text
}

/// A rig that believes each test to take 10 s, so that spreading them pays.
fn rig(kernel: &FakeKernel) -> Rig {
    let rig = Rig::with(kernel);
    rig.write("project/suites/many.yaml", &suite());
    let names = (1..=12).map(|n| format!("many/f{n:02}")).chain((1..=2).map(|n| format!("many/t{n}")));
    let known: serde_json::Map<_, _> = names.map(|name| (name, 2500.into())).collect();
    rig.write("cache/estimates/tests.json", &serde_json::Value::from(known).to_string());
    rig
}

/// Verdicts without the boots that gave them. Messages may tell of a place in the
/// boot, the number of a frame for instance.
fn verdicts(record: &Record) -> BTreeSet<(String, String)> {
    let line = |result: &serde_json::Value| {
        (word(&result["test"]).to_owned(), format!("{} {}", word(&result["verdict"]), result["kind"]))
    };
    list(&record.json["results"]).iter().map(line).collect()
}

fn hostile() -> FakeKernel {
    FakeKernel::new()
        .test("many/f02", Behaviour::Fail("it broke".to_owned()))
        .test("many/f05", Behaviour::Die(3))
        .test("many/f07", Behaviour::Panic)
        .test("many/f09", Behaviour::Babble)
        .test("many/t1", Behaviour::Skip("no XFRM".to_owned()))
}

#[test]
fn the_same_plan_gives_the_same_verdicts_with_any_number_of_jobs() {
    let mut all = Vec::new();
    for jobs in ["1", "2", "4", "8"] {
        let record = rig(&hostile()).kregress(&["run", "many", "--jobs", jobs]).exits(1).record();
        all.push(verdicts(&record));
    }
    assert_eq!(all[0].len(), 14);
    assert!(all.iter().all(|verdicts| *verdicts == all[0]), "{all:#?}");
}

#[test]
fn boots_that_measure_times_come_first_and_hold_nothing_else() {
    let record = rig(&FakeKernel::new()).kregress(&["run", "many", "--jobs", "4"]).exits(0).record();
    let timed = |boot: &serde_json::Value| {
        list(&boot["tests"]).iter().map(|test| word(test).starts_with("many/t")).collect::<BTreeSet<_>>()
    };
    let boots = list(&record.json["boots"]);
    assert!(boots.len() > 2, "{}", record.boots());
    for boot in boots {
        assert_eq!(timed(boot).len(), 1, "{boot}");
    }
    let first = boots.iter().min_by_key(|boot| boot["id"].as_u64()).expect("a boot");
    assert_eq!(timed(first), BTreeSet::from([true]));
    assert_eq!(record.json["plan"]["side_by_side"], 4);
}

#[test]
fn one_job_means_one_boot_in_the_order_of_the_plan() {
    let record = rig(&FakeKernel::new()).kregress(&["run", "many", "--jobs", "1"]).exits(0).record();
    assert_eq!(record.boots(), "1 fake clean");
}

#[test]
fn two_boots_really_run_at_the_same_time() {
    // Each waits for ever; were they not side by side, the second would never begin.
    let kernel = FakeKernel::new().test("many/*", Behaviour::EndlessProgress);
    let rig = rig(&kernel);
    let mut run = rig.start(&[
        "run",
        "many/f01",
        "many/f02",
        "many/f03",
        "many/f04",
        "--jobs",
        "2",
        "--message-format",
        "json",
    ]);
    // Whichever is first.
    let (one, two) = (r#""event":"test-started","boot":1"#, r#""event":"test-started","boot":2"#);
    let mut told = run.follow(two);
    if !told.contains(one) {
        told += &run.follow(one);
    }
    assert!(!told.contains("boot-finished"), "{told}");
    run.signal(Signal::INT);
    let record = run.end().exits(130).record();
    assert_eq!(record.verdicts().matches(": interrupted: ").count(), 4, "{}", record.verdicts());
}

#[test]
fn a_run_of_little_tests_is_not_spread() {
    let record = Rig::with(&FakeKernel::new()).kregress(&["run", "t", "--jobs", "4"]).exits(0).record();
    assert_eq!(record.boots(), "1 fake clean");
}

#[test]
fn a_quiet_host_is_recorded() {
    let record =
        rig(&FakeKernel::new()).kregress(&["run", "many", "--jobs", "4", "--quiet-host"]).exits(0).record();
    assert_eq!(record.json["plan"]["quiet_host"], true);
}
