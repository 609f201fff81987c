//! Trouble of the host while machines run: it ends in errors for what it touched,
//! and in a true account for the rest.

use rustix::process::Signal;

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::rig::Rig;

const BEGUN: &str = r#""event":"test-started","boot":1,"test":"t/middle""#;

#[test]
fn a_results_directory_that_is_deleted_ends_the_run_with_the_reason_and_leaves_nothing_running() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::EndlessProgress));
    let mut run = rig.start(&["run", "t", "--message-format", "json"]);
    run.follow(BEGUN);
    std::fs::remove_dir_all(rig.path("project/results")).expect("deleted");
    // It goes on as long as nothing has to be written there.
    run.signal(Signal::TERM);
    let (code, seen) = run.end().ends();
    assert!([3, 130].contains(&code), "{code}: {}", seen.stderr);
    assert!(seen.stderr.contains("cannot write"), "{}", seen.stderr);
}

#[test]
fn a_machine_that_is_killed_from_outside_is_an_error_of_its_test_and_no_other() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::Kill9));
    let record = rig.kregress(&["run", "t"]).exits(3).record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    1 t/middle error: lost: the guest went away without a word from its kernel: signal: 9 (SIGKILL)
    2 t/last pass
    ");
}

#[test]
fn a_run_that_is_stopped_and_goes_on_blames_no_guest_for_it() {
    // Its limit is four seconds of listening; the stop is longer.
    let rig = Rig::with(&FakeKernel::new().test("brief/middle", Behaviour::Slow(3000)));
    let suite =
        "version: 1\nsummary: a test of some haste\ntests:\n  middle: {workload: netns/drain, timeout: 1s}\n";
    rig.write("project/suites/brief.yaml", suite);
    let mut run = rig.start(&["run", "brief", "--message-format", "json"]);
    run.follow(r#""event":"test-started","boot":1,"test":"brief/middle""#);
    run.signal(Signal::STOP);
    // Nothing tells that time has passed but time itself.
    kregress::clock::poll_interval(std::time::Duration::from_secs(6));
    run.signal(Signal::CONT);
    let record = run.end().exits(0).record();
    assert_eq!(record.verdicts(), "1 brief/middle pass");
    let notices = record.json["notices"].to_string();
    assert!(notices.contains("nothing could be heard are not counted"), "{notices}");
}
