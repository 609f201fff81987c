//! What is run: suites, tests, parameters, kernels, boots.

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::record::{list, word};
use crate::rig::Rig;

/// Names of the tests that a selection runs.
fn selected(rig: &Rig, words: &[&str]) -> String {
    let record = rig.kregress(&[&["run"], words].concat()).exits(0).record();
    let names: Vec<_> = list(&record.json["results"]).iter().map(|result| word(&result["test"])).collect();
    names.join("\n")
}

fn passes() -> Rig {
    Rig::with(&FakeKernel::new())
}

#[test]
fn without_a_word_the_smoke_suite_runs() {
    let names = selected(&passes(), &[]);
    assert!(names.lines().all(|name| name.starts_with("smoke/")), "{names}");
    assert!(names.lines().count() > 10, "{names}");
}

#[test]
fn a_test_is_selected_by_name_by_parameter_and_by_pattern() {
    let rig = passes();
    assert_eq!(selected(&rig, &["t/last"]), "t/last");
    assert_eq!(selected(&rig, &["t/*st"]), "t/first\nt/last");
    let one = "smoke/netns-drain[namespaces=10]";
    assert_eq!(selected(&rig, &[one]), one);
    insta::assert_snapshot!(selected(&rig, &["smoke/netns-drain", "t/middle"]), @r"
    smoke/netns-drain[namespaces=1]
    smoke/netns-drain[namespaces=10]
    smoke/netns-drain[namespaces=50]
    t/middle
    ");
    // Named twice is run once.
    assert_eq!(selected(&rig, &["t/last", "t/last", "t/la*"]), "t/last");
}

#[test]
fn the_hosts_own_kernel_is_tried_without_kernels_boots_and_machines() {
    let rig = Rig::with(&FakeKernel::new());
    for words in [["--kernel", "x"], ["--boots", "2"]] {
        let ran = rig.kregress(&[&["run", "--local"][..], &words].concat()).exits(2);
        assert!(ran.stderr().contains("cannot be used with"), "{}", ran.stderr());
    }
    let ran = rig.kregress(&["run", "--local", "--machine", "cpus=1"]).exits(2);
    // Whoever is not root hears of that first.
    let reasons = ["contradict each other", "--local needs root"];
    assert!(reasons.iter().any(|reason| ran.stderr().contains(reason)), "{}", ran.stderr());
}

#[test]
fn a_selection_of_nothing_is_wrong_and_never_a_success() {
    let rig = passes();
    let say = |words: &[&str]| rig.kregress(&[&["run"], words].concat()).exits(2).stderr();
    insta::assert_snapshot!(say(&["nosuch"]), @r"
    error: unknown suite `nosuch`
    hint: known suites: `hasty`, `kunit`, `msg-zerocopy`, `netns-churn`, `netns-teardown`, `netns-work`, `nsid`, `rtnl`, `selftests`, `setns`, `smoke`, `t` and 2 more
    ");
    insta::assert_snapshot!(say(&["t/nosuch"]), @r"
    error: unknown test `t/nosuch`
    hint: known tests: `t/first`, `t/middle`, `t/last`
    ");
    insta::assert_snapshot!(say(&["t/z*"]), @r"
    error: unknown test `t/z*`
    hint: known tests: `t/first`, `t/middle`, `t/last`
    ");
    insta::assert_snapshot!(say(&["t/"]), @r"
    error: `t/` does not name a test: a name is missing beside the `/`
    hint: like this: `smoke`, `smoke/drain`, `smoke/drain[namespaces=10]`, `*/drain`
    ");
    insta::assert_snapshot!(say(&["smoke/netns-drain[namespaces=11]"]), @r"
    error: no test is named `smoke/netns-drain[namespaces=11]`
    hint: there are `smoke/netns-drain[namespaces=1]`, `smoke/netns-drain[namespaces=10]`, `smoke/netns-drain[namespaces=50]`
    ");
    insta::assert_snapshot!(say(&[""]), @r"
    error: `` does not name a test: it is empty
    hint: like this: `smoke`, `smoke/drain`, `smoke/drain[namespaces=10]`, `*/drain`
    ");
    assert!(rig.runs().is_empty());
}

#[test]
fn every_test_has_a_verdict_for_each_boot_and_each_kernel() {
    let flaky = Behaviour::InTurn(vec![Behaviour::Pass, Behaviour::Fail("the second time".to_owned())]);
    let rig = Rig::with(&FakeKernel::new().test("t/middle", flaky));
    let seen = rig.kregress(&["run", "t", "--boots", "2", "-k", "fake", "-k", "other"]).exits(1);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    1 t/middle pass
    1 t/last pass
    2 t/first pass
    2 t/middle pass
    2 t/last pass
    3 t/first pass
    3 t/middle pass
    3 t/last pass
    4 t/first pass
    4 t/middle fail: assertion: the second time
    4 t/last pass
    ");
    // Kernels take turns, every second time backwards, so that neither a slow
    // minute of the host nor one that warms up falls on one of them alone.
    insta::assert_snapshot!(record.boots(), @r"
    1 fake clean
    2 other clean
    3 other clean
    4 fake clean
    ");
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 2 boots
              metric       median  lowest .. highest  of
      pass    t/first
      FAIL    t/middle  in 1 of 2 boots (4)
              drain_time  4.92 ms  4.85 .. 5.20 ms    5 samples
      pass    t/last

    other
      6.1.0-other, tcg, qemu, 2 CPUs, 512 MiB, 2 boots
              metric       median  lowest .. highest  of
      pass    t/first
      pass    t/middle
              drain_time  4.93 ms  4.92 .. 4.95 ms    2 boots
      pass    t/last

    FAIL t/middle
      assertion on fake, 1 of 2 boots (4)
      the second time
      log:    [DIR]/project/results/[RUN]/boots/4/console.log
      repeat: kregress run t/middle --kernel fake --boots 2 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    note: fake: TCG as asked for
    note: other: TCG as asked for
    5 passed, 1 failed
    6 tests on 2 kernels, 2 boots each, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
}

#[test]
fn a_kernel_that_cannot_be_had_costs_only_its_own_verdicts() {
    let rig = passes();
    std::fs::remove_file(rig.path("project/kernels/fake")).expect("removed");
    let seen = rig.kregress(&["run", "t", "-k", "fake", "-k", "other"]).exits(3);
    insta::assert_snapshot!(seen.record().verdicts().replace(rig.path("").to_str().expect("UTF-8"), "[DIR]/"), @r"
    - t/first error: not-reached: there is no kernel to boot: kernel `fake`: cannot read `[DIR]/project/kernels/fake`: No such file or directory (os error 2)
    - t/middle error: not-reached: there is no kernel to boot: kernel `fake`: cannot read `[DIR]/project/kernels/fake`: No such file or directory (os error 2)
    - t/last error: not-reached: there is no kernel to boot: kernel `fake`: cannot read `[DIR]/project/kernels/fake`: No such file or directory (os error 2)
    1 t/first pass
    1 t/middle pass
    1 t/last pass
    ");
}
