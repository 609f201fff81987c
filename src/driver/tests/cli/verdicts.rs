//! Tests that end in every way: which verdict, which exit code, what is shown.

use crate::fake_kernel::{Behaviour, FakeKernel, SampleRule, Splat};
use crate::record::list;
use crate::rig::Rig;

/// Runs the three tests with a middle one that behaves so.
fn middle(behaviour: Behaviour) -> Rig {
    Rig::with(&FakeKernel::new().test("t/middle", behaviour))
}

#[test]
fn a_kernel_that_passes_everything_is_a_success_with_a_table() {
    let kernel = FakeKernel::new().samples(SampleRule {
        test: "*".to_owned(),
        metric: "drain_time".to_owned(),
        median: 5e6,
        spread: 0.0,
        count: 5,
    });
    let rig = Rig::with(&kernel);
    let seen = rig.kregress(&["run", "t"]).exits(0);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    1 t/middle pass
    1 t/last pass
    ");
    insta::assert_snapshot!(record.boots(), @"1 fake clean");
    assert_eq!(record.json["state"], "finished");
    assert_eq!(record.json["summary"]["exit_code"], 0);
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 1 boot
              metric       median  lowest .. highest  of
      pass    t/first
      pass    t/middle
              drain_time  5.00 ms  5.00 .. 5.00 ms    5 samples
      pass    t/last

    note: fake: TCG as asked for
    3 passed
    3 tests, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
    insta::assert_snapshot!(rig.names(record.dir.join("boots/1")).join(" "), @"console.log events.jsonl machine.log output.log plan.json qemu.cmd samples.jsonl");
    insta::assert_snapshot!(rig.names(&record.dir).join(" "), @"boots events.jsonl junit.xml run.json");
    assert!(record.text("boots/1/console.log").contains("Linux version 6.12.0-fake"));
    assert!(record.text("boots/1/output.log").contains("t/middle: working"));
    assert_eq!(list(&record.result("t/middle")["samples"]["drain_time"]).len(), 5);
}

#[test]
fn a_failed_test_is_told_with_the_command_that_repeats_it() {
    let rig = middle(Behaviour::Fail("expected 4 namespaces, seen 5".to_owned()));
    let seen = rig.kregress(&["run", "t"]).exits(1);
    insta::assert_snapshot!(seen.record().verdicts(), @r"
    1 t/first pass
    1 t/middle fail: assertion: expected 4 namespaces, seen 5
    1 t/last pass
    ");
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 1 boot
      pass    t/first
      FAIL    t/middle
      pass    t/last

    FAIL t/middle
      assertion on fake
      expected 4 namespaces, seen 5
      log:    [DIR]/project/results/[RUN]/boots/1/console.log
      repeat: kregress run t/middle --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    note: fake: TCG as asked for
    2 passed, 1 failed
    3 tests, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
}

#[test]
fn a_run_of_which_every_test_was_skipped_is_no_success() {
    let rig = Rig::with(&FakeKernel::new().test("*", Behaviour::Skip("no CONFIG_NET_NS".to_owned())));
    let seen = rig.kregress(&["run", "t"]).exits(4);
    insta::assert_snapshot!(seen.record().verdicts(), @r"
    1 t/first skip: no CONFIG_NET_NS
    1 t/middle skip: no CONFIG_NET_NS
    1 t/last skip: no CONFIG_NET_NS
    ");
}

#[test]
fn a_skipped_test_beside_passed_ones_is_counted_and_no_failure() {
    let rig = middle(Behaviour::Skip("no CONFIG_NET_NS".to_owned()));
    let seen = rig.kregress(&["run", "t"]).exits(0);
    insta::assert_snapshot!(seen.record().verdicts(), @r"
    1 t/first pass
    1 t/middle skip: no CONFIG_NET_NS
    1 t/last pass
    ");
}

#[test]
fn a_workload_that_could_not_do_its_work_is_an_error_and_no_failure() {
    let rig = middle(Behaviour::Error("cannot open /proc/slabinfo".to_owned()));
    let seen = rig.kregress(&["run", "t"]).exits(3);
    insta::assert_snapshot!(seen.record().verdicts(), @r"
    1 t/first pass
    1 t/middle error: workload: cannot open /proc/slabinfo
    1 t/last pass
    ");
}

#[test]
fn a_failure_outweighs_an_error() {
    let kernel = FakeKernel::new()
        .test("t/first", Behaviour::Error("no memory".to_owned()))
        .test("t/last", Behaviour::Fail("it leaks".to_owned()));
    let rig = Rig::with(&kernel);
    let seen = rig.kregress(&["run", "t"]).exits(1);
    insta::assert_snapshot!(seen.record().verdicts(), @r"
    1 t/first error: workload: no memory
    1 t/middle pass
    1 t/last fail: assertion: it leaks
    ");
}

#[test]
fn a_pass_without_a_check_or_without_its_metric_is_an_error() {
    let kernel = FakeKernel::new()
        .test("t/first", Behaviour::PassWithoutChecks)
        .test("t/middle", Behaviour::PassWithoutSamples);
    let rig = Rig::with(&kernel);
    let seen = rig.kregress(&["run", "t"]).exits(3);
    insta::assert_snapshot!(seen.record().verdicts(), @r"
    1 t/first error: workload: the workload reported a pass without any assertion
    1 t/middle error: workload: the workload passed but reported no sample of `drain_time`
    1 t/last pass
    ");
}

#[test]
fn a_warning_between_the_markers_of_a_test_fails_that_test_and_no_other() {
    for splat in [
        Splat::Warning,
        Splat::WarningNewOrder,
        Splat::Lockdep,
        Splat::Kasan,
        Splat::HungTask,
        Splat::NetdevLeak,
    ] {
        let rig = middle(Behaviour::Splat(splat));
        let record = rig.kregress(&["run", "t"]).exits(1).record();
        assert_eq!(record.result("t/first")["verdict"], "pass", "{splat:?}");
        assert_eq!(record.result("t/last")["verdict"], "pass", "{splat:?}");
        let result = record.result("t/middle");
        let kind = if splat == Splat::HungTask { "hang" } else { "finding" };
        assert_eq!((&result["verdict"], &result["kind"]), (&"fail".into(), &kind.into()), "{splat:?}");
        assert_eq!(list(&result["findings"]).len(), 1, "{splat:?}: {result}");
        // Lockdep reports once and is off from then on.
        let boots = if matches!(splat, Splat::Lockdep) { 2 } else { 1 };
        assert_eq!(list(&record.json["boots"]).len(), boots, "{splat:?}");
    }
}

/// Adds a rule to the project of a rig.
fn allow(rig: &Rig, finding: &str, expires: &str) {
    let path = rig.path("project/kregress.yaml");
    let text = std::fs::read_to_string(&path).expect("the project file");
    let rule = format!("allow:\n  - {{finding: '{finding}', reason: known, expires: {expires}}}\n");
    std::fs::write(&path, text + &rule).expect("written");
}

#[test]
fn an_allowed_warning_stays_in_the_results_and_fails_nothing() {
    let rig = middle(Behaviour::Splat(Splat::Warning));
    allow(&rig, "WARNING: ", "9999-12-31");
    let seen = rig.kregress(&["run", "t"]).exits(0);
    let record = seen.record();
    let result = record.result("t/middle");
    assert_eq!(result["verdict"], "pass");
    assert_eq!(result["findings"][0]["allowed"]["reason"], "known", "{result}");
    assert!(seen.stdout().contains("\nallowed: WARNING: "), "{}", seen.stdout());
}

#[test]
fn an_expired_rule_ends_a_run_before_anything_boots_and_nothing_else() {
    let rig = middle(Behaviour::Pass);
    rig.kregress(&["run", "t"]).exits(0);
    allow(&rig, "WARNING: ", "2020-01-31");
    let seen = rig.kregress(&["run", "t"]).exits(2);
    let message = seen.stderr();
    let (_, rest) = message.split_once("error: kregress.yaml:").expect("a place");
    let (_, rest) = rest.split_once(": ").expect("a line");
    insta::assert_snapshot!(rest, @r"
    the allowance of `WARNING: ` expired on 2020-01-31: known
    hint: look whether the kernel still does it, then remove the rule or move its date
    ");
    assert_eq!(rig.runs().len(), 1);
    rig.kregress(&["report"]).exits(0);
    rig.kregress(&["list", "tests"]).exits(0);
}

#[test]
fn messages_that_look_bad_and_are_not_fail_nothing() {
    let rig = middle(Behaviour::Splat(Splat::Harmless));
    let record = rig.kregress(&["run", "t"]).exits(0).record();
    assert_eq!(list(&record.result("t/middle")["findings"]).len(), 0);
}

#[test]
fn a_panic_fails_the_test_that_ran_and_the_rest_runs_in_another_boot() {
    let rig = middle(Behaviour::Panic);
    let seen = rig.kregress(&["run", "t"]).exits(1);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    1 t/middle fail: panic: Kernel panic - not syncing: Fatal exception
    2 t/last pass
    ");
    insta::assert_snapshot!(record.boots(), @r"
    1 fake panicked Kernel panic - not syncing: Fatal exception
    2 fake clean
    ");
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 2 boots
      pass    t/first
      FAIL    t/middle
      pass    t/last

    FAIL t/middle
      panic on fake
      Kernel panic - not syncing: Fatal exception
          net_ns_barrier
          cleanup_net
          process_one_work
          worker_thread
          kthread
          ret_from_fork
      log:    [DIR]/project/results/[RUN]/boots/1/console.log
      repeat: kregress run t/middle --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    note: fake: TCG as asked for
    note: stack traces of kernel fake have no source lines: there is no debug
          information
          hint: build the kernel with the fragment `debuginfo`, or put its
          unstripped `vmlinux` beside the image
    2 passed, 1 failed
    3 tests, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
}

#[test]
fn an_oops_or_a_bug_fails_its_test() {
    for splat in [Splat::Bug, Splat::NullDereference] {
        let rig = middle(Behaviour::Splat(splat));
        let record = rig.kregress(&["run", "t"]).exits(1).record();
        assert_eq!(record.result("t/first")["verdict"], "pass", "{splat:?}");
        assert_eq!(record.result("t/middle")["verdict"], "fail", "{splat:?}");
        assert_eq!(record.result("t/last")["verdict"], "pass", "{splat:?}");
    }
}

#[test]
fn a_guest_that_goes_away_without_a_word_is_an_error_of_the_test_that_ran() {
    for behaviour in [Behaviour::Die(1), Behaviour::Die(0), Behaviour::Kill9, Behaviour::PowerOff] {
        let rig = middle(behaviour.clone());
        let record = rig.kregress(&["run", "t"]).exits(3).record();
        let verdicts = record.verdicts();
        let lines: Vec<_> = verdicts.lines().collect();
        assert_eq!((lines[0], lines[2]), ("1 t/first pass", "2 t/last pass"), "{behaviour:?}");
        let lost = "1 t/middle error: lost: the guest went away without a word from its kernel";
        assert!(lines[1].starts_with(lost), "{behaviour:?}: {}", lines[1]);
        assert!(record.boots().starts_with("1 fake lost "), "{behaviour:?}: {}", record.boots());
    }
}

#[test]
fn the_status_of_a_qemu_that_died_is_told() {
    let rig = middle(Behaviour::Kill9);
    let record = rig.kregress(&["run", "t"]).exits(3).record();
    let message = record.result("t/middle")["message"].as_str().expect("a message").to_owned();
    insta::assert_snapshot!(message, @r"
    the guest went away without a word from its kernel: signal: 9 (SIGKILL)
    hint: console.log has what it said before
    ");
    insta::assert_snapshot!(record.boots(), @r"
    1 fake lost signal: 9 (SIGKILL)
    2 fake clean
    ");
}

#[test]
fn a_test_that_killed_its_guest_gets_no_second_try() {
    let rig = middle(Behaviour::InTurn(vec![Behaviour::Die(1), Behaviour::Pass]));
    let record = rig.kregress(&["run", "t"]).exits(3).record();
    assert_eq!(record.result("t/middle")["verdict"], "error");
}
