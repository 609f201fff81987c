//! The user stops a run, and somebody kills it.

use rustix::process::Signal;

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::record::{Record, check_events};
use crate::rig::Rig;

/// A kernel whose middle test never ends; its limit is minutes away.
fn endless() -> Rig {
    Rig::with(&FakeKernel::new().test("t/middle", Behaviour::Hang))
}

const RUN: &[&str] = &["run", "t", "--message-format", "json"];
/// What is on stdout when the middle test has begun.
const BEGUN: &str = r#""event":"test-started","boot":1,"test":"t/middle""#;

/// The same when the verdict of the first is there.
const FIRST: &str = r#""event":"test-finished","test":"t/first""#;

fn interrupted_by(signal: Signal) {
    let rig = endless();
    let mut run = rig.start(RUN);
    run.follow(BEGUN);
    run.signal(signal);
    let seen = run.end().exits(130);
    let record = seen.record();
    assert_eq!(record.json["state"], "interrupted");
    insta::allow_duplicates! {
        insta::assert_snapshot!(record.verdicts(), @r"
        1 t/first pass
        1 t/middle error: interrupted: interrupted by the user
        - t/last error: interrupted: interrupted by the user
        ");
        insta::assert_snapshot!(record.boots(), @"1 fake killed interrupted by the user");
    }
}

#[test]
fn ctrl_c_ends_a_run_in_good_order() {
    interrupted_by(Signal::INT);
}

#[test]
fn sigterm_ends_a_run_in_good_order() {
    interrupted_by(Signal::TERM);
}

#[test]
fn ctrl_c_in_the_first_of_several_boots_ends_them_all() {
    let rig = endless();
    let mut run =
        rig.start(&["run", "t", "--boots", "3", "-k", "fake", "-k", "other", "--message-format", "json"]);
    run.follow(BEGUN);
    run.signal(Signal::INT);
    let record = run.end().exits(130).record();
    assert_eq!(record.verdicts().matches(": interrupted: ").count(), 17, "{}", record.verdicts());
}

#[test]
fn a_run_that_is_killed_leaves_no_qemu_and_a_record_that_can_be_read() {
    let rig = endless();
    let mut run = rig.start(RUN);
    let mut told = run.follow(BEGUN);
    if !told.contains(FIRST) {
        told += &run.follow(FIRST);
    }
    assert!(rig.processes().iter().any(|line| line.contains("-kernel")), "{:?}", rig.processes());
    run.signal(Signal::KILL);
    let seen = run.end().dies_of(Signal::KILL);
    assert_eq!(seen.stdout, "");
    check_events(&told);
    // The kernel kills the fake because its parent died, at its own pace.
    rig.wait_for_no_process();
    let dir = rig.runs().pop().expect("a run");
    let report = rig.kregress(&["report", "--format", "json"]).exits(0);
    let record = Record::of(&dir, &report.stdout);
    assert_eq!(record.json["state"], "unfinished");
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    1 t/middle error: unfinished: the run ended in mid-work (killed, or out of disk); boot 1 was at this test
    - t/last error: unfinished: the run ended in mid-work (killed, or out of disk); no boot has come to this test
    ");
    let human = rig.kregress(&["report"]).exits(0);
    insta::assert_snapshot!(human.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 1 boot
      pass    t/first
      ERROR   t/middle
      ERROR   t/last

    ERROR t/middle
      unfinished on fake
      the run ended in mid-work (killed, or out of disk); boot 1 was at this test
      log:    results/[RUN]/boots/1/console.log
      repeat: kregress run t/middle --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    ERROR t/last
      unfinished on fake
      the run ended in mid-work (killed, or out of disk); no boot has come to this
      test
      repeat: kregress run t/last --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    note: fake: TCG as asked for
    warning: this run did not come to its end; what has no verdict is shown as an
             error
    1 passed, 2 with errors
    3 tests, in [TIME]
    results: results/[RUN]
    ");
    // What it left in the cache goes with the next run.
    assert_eq!(rig.names("cache/run").len(), 1);
    let other = rig.kregress(&["run", "t", "-k", "other"]).exits(0);
    assert_eq!(other.record().json["state"], "finished");
    assert_eq!(rig.names("cache/run").len(), 0);
}
