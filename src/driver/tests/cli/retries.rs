//! Tests that did not pass, tried again in a fresh boot.

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::rig::Rig;

fn fails_once() -> Behaviour {
    Behaviour::InTurn(vec![Behaviour::Fail("the first time".to_owned()), Behaviour::Pass])
}

#[test]
fn what_passes_on_retry_is_flaky_and_both_results_stand() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", fails_once()));
    let seen = rig.kregress(&["run", "t", "--retries", "2"]).exits(0);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    1 t/middle fail: assertion: the first time
    1 t/last pass
    2 t/middle pass
    ");
    assert_eq!(record.json["summary"]["verdicts"]["flaky"], 1);
    assert_eq!(record.json["summary"]["verdicts"]["pass"], 2);
    assert_eq!(record.json["boots"][1]["attempt"], 2);
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 2 boots
              metric       median  lowest .. highest  of
      pass    t/first
      FLAKY   t/middle  passed at attempt 2
              drain_time  4.92 ms  4.85 .. 5.20 ms    5 samples
      pass    t/last

    FLAKY t/middle
      assertion on fake, passed at attempt 2
      the first time
      log:    [DIR]/project/results/[RUN]/boots/1/console.log
      repeat: kregress run t/middle --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    note: fake: TCG as asked for
    2 passed, 1 flaky
    3 tests, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
    let junit = record.text("junit.xml");
    assert!(junit.contains("<flakyFailure message=\"the first time\" type=\"assertion\">"), "{junit}");
    assert!(!junit.contains("<failure"), "{junit}");
}

#[test]
fn without_retries_a_failure_is_a_failure() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", fails_once()));
    let record = rig.kregress(&["run", "t"]).exits(1).record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    1 t/middle fail: assertion: the first time
    1 t/last pass
    ");
}

#[test]
fn what_never_passes_fails_after_all_attempts_and_the_others_run_once() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::Fail("it broke".to_owned())));
    let seen = rig.kregress(&["run", "t", "--retries", "2"]).exits(1);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    1 t/middle fail: assertion: it broke
    1 t/last pass
    2 t/middle fail: assertion: it broke
    3 t/middle fail: assertion: it broke
    ");
    assert!(seen.stdout.contains("FAIL    t/middle  in 3 attempts\n"), "{}", seen.stdout);
    let junit = record.text("junit.xml");
    assert_eq!(junit.matches("<rerunFailure ").count(), 2, "{junit}");
    assert_eq!(junit.matches("<failure ").count(), 1, "{junit}");
}

#[test]
fn a_guest_that_dies_in_a_test_is_tried_again_and_the_rest_is_not_lost() {
    let dies_once = Behaviour::InTurn(vec![Behaviour::Die(3), Behaviour::Pass]);
    let rig = Rig::with(&FakeKernel::new().test("t/middle", dies_once));
    let record = rig.kregress(&["run", "t", "--retries", "1"]).exits(3).record();
    let verdicts = record.verdicts();
    assert_eq!(verdicts.matches("t/last pass").count(), 1, "{verdicts}");
    assert_eq!(verdicts.matches("t/middle error: lost").count(), 1, "{verdicts}");
    assert_eq!(verdicts.matches("t/middle pass").count(), 1, "{verdicts}");
    assert_eq!(record.json["summary"]["verdicts"]["flaky"], 1);
}

#[test]
fn what_the_kernel_lacks_is_not_tried_again() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::Skip("no XFRM".to_owned())));
    let record = rig.kregress(&["run", "t", "--retries", "3"]).exits(0).record();
    assert_eq!(record.verdicts().lines().count(), 3);
}

#[test]
fn each_boot_asked_for_has_its_own_attempts() {
    let turns = vec![Behaviour::Fail("one".to_owned()), Behaviour::Pass, Behaviour::Pass];
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::InTurn(turns)));
    let record = rig.kregress(&["run", "t/middle", "--boots", "2", "--retries", "1"]).exits(0).record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/middle fail: assertion: one
    2 t/middle pass
    3 t/middle pass
    ");
    let counts = &record.json["summary"]["verdicts"];
    assert_eq!((&counts["flaky"], &counts["pass"]), (&1.into(), &1.into()));
}
