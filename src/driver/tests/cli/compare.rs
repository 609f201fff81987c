//! Two kernels in turns, and what is said of the difference.

use crate::fake_kernel::{Behaviour, Boot, FakeKernel, Farewell, SampleRule, Splat};
use crate::record::{Record, list};
use crate::rig::{MEASURED, Rig, Seen};
use rustix::process::Signal;

/// Noise between boots with a standard deviation of about one per cent.
const NOISE: [f64; 8] = [1.0, 1.012, 0.991, 1.004, 0.988, 1.008, 0.996, 1.001];
/// The same, each boot another.
const OTHER_NOISE: [f64; 8] = [0.993, 1.006, 1.011, 0.99, 1.0, 0.997, 1.009, 0.995];

/// Noise over all boots that there may be, so much larger.
fn noise(of: &[f64; 8], times: f64) -> Vec<f64> {
    (0..24).map(|boot| 1.0 + (of[boot * 5 % 8] - 1.0) * times).collect()
}

/// A kernel whose metric has this median in each boot, give or take.
fn kernel(metric: &str, median: f64) -> FakeKernel {
    let spread = if median.fract() == 0.0 { 0.0 } else { 0.01 };
    FakeKernel::new().samples(SampleRule {
        test: "c/*".to_owned(),
        metric: metric.to_owned(),
        median,
        spread,
        count: 5,
    })
}

fn base() -> FakeKernel {
    kernel("drain_time", 5e6 + 0.5).factors(&noise(&NOISE, 1.0))
}

fn head(median: f64) -> FakeKernel {
    kernel("drain_time", median + 0.5).factors(&noise(&OTHER_NOISE, 1.0)).release("6.13.0-fake")
}

/// `fake` is base, `other` is head.
fn rig(base: &FakeKernel, head: &FakeKernel) -> Rig {
    let rig = Rig::with(base);
    head.write(&rig.path("project/kernels/other")).expect("a kernel");
    rig.write("project/suites/c.yaml", MEASURED);
    rig
}

/// Boots of each kernel.
fn boots(record: &Record, kernel: &str) -> usize {
    list(&record.json["boots"]).iter().filter(|boot| boot["kernel"] == kernel).count()
}

/// Results of a test, on both sides together.
fn turns(record: &Record, test: &str) -> usize {
    list(&record.json["results"]).iter().filter(|result| result["test"] == test).count()
}

fn verdict(seen: &Seen<'_>) -> String {
    seen.stdout.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn a_kernel_is_unchanged_against_itself() {
    let rig = rig(&base(), &base());
    let seen = rig.kregress(&["compare", "fake", "fake", "c"]).exits(0);
    assert_eq!(verdict(&seen), "UNCHANGED: 2 metrics unchanged");
    let record = seen.record();
    assert_eq!(record.json["overall"], "unchanged");
    assert_eq!(record.json["plan"]["kernels"], serde_json::json!(["fake", "fake (again)"]));
    // Two boots tell of tests without times, six of those with them.
    assert_eq!(turns(&record, "c/timed"), 12);
    assert_eq!(turns(&record, "c/counted"), 4);
    assert_eq!(turns(&record, "c/plain"), 4);
}

#[test]
fn boots_of_the_sides_take_turns_over_all_looks() {
    let rig = rig(&base(), &base());
    let record = rig.kregress(&["compare", "fake", "other", "c/timed"]).exits(0).record();
    let order: Vec<&str> = list(&record.json["boots"])
        .iter()
        .map(|boot| if boot["kernel"] == "fake" { "A" } else { "B" })
        .collect();
    assert_eq!(order.concat(), "ABBAABBAABBA");
    let numbers: Vec<u64> =
        list(&record.json["boots"]).iter().map(|boot| boot["id"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
}

#[test]
fn a_regression_is_named_and_is_1() {
    let rig = rig(&base(), &head(6e6));
    let seen = rig.kregress(&["compare", "fake", "other", "c/timed"]).exits(1);
    let record = seen.record();
    assert_eq!(record.json["overall"], "regressed");
    assert_eq!(record.json["summary"]["exit_code"], 1);
    assert_eq!(turns(&record, "c/timed"), 12);
    // Where the time goes that teardown takes more is asked three times of each.
    assert_eq!(turns(&record, "netns-teardown/profile"), 6);
    assert_eq!((boots(&record, "fake"), boots(&record, "other")), (9, 9));
    insta::assert_snapshot!(seen.stdout(), @r"
    REGRESSED: 1 metric regressed
    base  fake, 6.12.0-fake, tcg, 9 boots, run [RUN]
    head  other, 6.13.0-fake, tcg, 9 boots, run [RUN]

      metric      base     head  change (95 %)     chance  boots  verdict
    c/timed
      drain_time  5.00  6.01 ms  +20 % (+19..+22)  p<.001      6  REGRESSED

    not measured: Where the time of teardown went was not measured on both sides.
    not measured: No time is that of hardware: under tcg every instruction is
                  emulated, so that only proportions say something.
    could be seen: 5.5 % or more
    18 boots, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    repeat:  [KREGRESS] compare fake other c/timed --jobs 1
    ");
    let junit = record.text("junit.xml");
    assert!(junit.contains("type=\"PerfRegression\""), "{junit}");
}

#[test]
fn an_improvement_is_0() {
    let rig = rig(&base(), &head(4e6));
    let seen = rig.kregress(&["compare", "fake", "other", "c/timed"]).exits(0);
    assert_eq!(verdict(&seen), "IMPROVED: 1 metric improved");
}

#[test]
fn noise_that_hides_a_change_is_inconclusive_after_the_last_look() {
    let base = kernel("drain_time", 5e6 + 0.5).factors(&noise(&NOISE, 15.0));
    let head = kernel("drain_time", 5.6e6 + 0.5).factors(&noise(&OTHER_NOISE, 15.0));
    let rig = rig(&base, &head);
    let seen = rig.kregress(&["compare", "fake", "other", "c", "--floor", "10", "--boots", "8"]).exits(4);
    let record = seen.record();
    // Up to the limit, and those that have their verdict stayed at home.
    assert_eq!(turns(&record, "c/timed"), 16);
    assert_eq!(turns(&record, "c/plain"), 4);
    assert!(seen.stderr.contains("look 1 of 2: 6 boots a side: 1 metric undecided"), "{}", seen.stderr);
    assert!(seen.stdout.contains("more boots a side would tell"), "{}", seen.stdout);
    let junit = record.text("junit.xml");
    assert!(junit.contains("<skipped"), "{junit}");
    assert!(!junit.contains("<failure"), "{junit}");
}

#[test]
fn a_count_is_judged_by_its_value() {
    let rig = rig(&kernel("synchronize_rcu", 0.0), &kernel("synchronize_rcu", 52.0));
    let seen = rig.kregress(&["compare", "fake", "other", "c/counted"]).exits(1);
    assert_eq!(verdict(&seen), "REGRESSED: 1 metric regressed");
    assert!(seen.stdout.contains("exact"), "{}", seen.stdout);
    // Samples that agree in two boots are enough.
    assert_eq!(boots(&seen.record(), "other"), 2);
}

#[test]
fn a_new_failure_is_repeated_on_both_sides_before_it_counts() {
    let failing = FakeKernel::new().test("c/plain", Behaviour::Fail("it broke".to_owned()));
    let rig = rig(&FakeKernel::new(), &failing);
    let seen = rig.kregress(&["compare", "fake", "other", "c/plain"]).exits(1);
    assert_eq!(verdict(&seen), "REGRESSED: 1 test newly failing");
    assert!(seen.stdout.contains("base: 6 passed; head: 6 failed\n  it broke"), "{}", seen.stdout);
    let record = seen.record();
    assert_eq!((boots(&record, "fake"), boots(&record, "other")), (6, 6));
    let junit = record.text("junit.xml");
    assert_eq!(junit.matches("<failure ").count(), 1, "{junit}");
}

#[test]
fn what_is_fixed_and_what_always_failed_is_no_regression() {
    let failing = || FakeKernel::new().test("c/plain", Behaviour::Fail("it broke".to_owned()));
    let rig_fixed = rig(&failing(), &FakeKernel::new());
    let seen = rig_fixed.kregress(&["compare", "fake", "other", "c/plain"]).exits(0);
    assert_eq!(verdict(&seen), "IMPROVED: 1 test fixed");
    let rig_known = rig(&failing(), &failing());
    let seen = rig_known.kregress(&["compare", "fake", "other", "c/plain"]).exits(0);
    assert!(seen.stdout.contains("fails on base too  c/plain"), "{}", seen.stdout);
    let junit = seen.record().text("junit.xml");
    assert!(!junit.contains("<failure"), "{junit}");
}

#[test]
fn a_test_that_failed_once_is_under_suspicion_and_no_regression() {
    let once = Behaviour::InTurn(vec![Behaviour::Fail("once".to_owned()), Behaviour::Pass]);
    let rig = rig(&FakeKernel::new(), &FakeKernel::new().test("c/plain", once));
    let seen = rig.kregress(&["compare", "fake", "other", "c/plain"]).exits(4);
    assert_eq!(verdict(&seen), "INCONCLUSIVE: 1 test under suspicion");
}

#[test]
fn a_head_that_does_not_boot_is_its_own_failure_and_a_base_is_not() {
    let dark = || FakeKernel::new().boot(Boot::PanicEarly);
    let rig_head = rig(&FakeKernel::new(), &dark());
    let seen = rig_head.kregress(&["compare", "fake", "other", "c/plain"]).exits(1);
    assert!(seen.stdout.contains("NEW FAILURE  kernel-health"), "{}", seen.stdout);
    // Two boots are enough to know that it does not come up.
    assert_eq!(boots(&seen.record(), "other"), 2);
    let rig_base = rig(&dark(), &FakeKernel::new());
    let seen = rig_base.kregress(&["compare", "fake", "other", "c/plain"]).exits(3);
    assert!(verdict(&seen).starts_with("FAILED: "), "{}", seen.stdout);
    assert!(seen.stdout.contains("not measured: Nothing was measured on base, `fake`: "), "{}", seen.stdout);
}

#[test]
fn a_kernel_that_is_not_there_is_3_on_either_side() {
    let rig = rig(&FakeKernel::new(), &FakeKernel::new());
    std::fs::remove_file(rig.path("project/kernels/other")).expect("removed");
    for sides in [["fake", "other"], ["other", "fake"]] {
        let seen = rig.kregress(&["compare", sides[0], sides[1], "c/plain"]).exits(3);
        assert!(verdict(&seen).starts_with("FAILED: "), "{}", seen.stdout);
    }
}

#[test]
fn a_splat_outside_of_tests_on_head_only_is_a_regression_of_its_health() {
    let splat = FakeKernel::new().farewell(Farewell::LateSplat(Splat::Warning));
    let rig = rig(&FakeKernel::new(), &splat);
    let seen = rig.kregress(&["compare", "fake", "other", "c/plain"]).exits(1);
    assert!(seen.stdout.contains("NEW FAILURE  kernel-health"), "{}", seen.stdout);
    assert_eq!(boots(&seen.record(), "other"), 6);
}

#[test]
fn what_is_skipped_on_one_side_is_told_and_not_judged() {
    let skipping = FakeKernel::new().test("c/plain", Behaviour::Skip("no CONFIG_XFRM".to_owned()));
    let rig = rig(&FakeKernel::new(), &skipping);
    let seen = rig.kregress(&["compare", "fake", "other", "c/plain"]).exits(4);
    assert!(seen.stdout.contains("`c/plain` was skipped on head: no CONFIG_XFRM."), "{}", seen.stdout);
}

#[test]
fn boots_are_capped() {
    let rig = rig(&base(), &head(6e6));
    let record = rig.kregress(&["compare", "fake", "other", "c/timed", "--boots", "3"]).ends().1.record();
    assert_eq!(turns(&record, "c/timed"), 6);
    assert_eq!(record.json["plan"]["comparison"]["looks"], serde_json::json!([3]));
}

#[test]
fn runs_are_compared_as_they_were_stored() {
    let rig = rig(&base(), &head(6e6));
    let run = |kernel: &str| {
        let record = rig.kregress(&["run", "c/timed", "--kernel", kernel, "--boots", "6"]).exits(0).record();
        record.dir.to_str().expect("UTF-8").to_owned()
    };
    let (old, new) = (run("fake"), run("other"));
    let seen = rig.kregress(&["compare", &old, &new]).exits(1);
    assert_eq!(verdict(&seen), "REGRESSED: 1 metric regressed");
    let seen = rig.kregress(&["compare", &new, &old, "c/timed"]).exits(0);
    assert_eq!(verdict(&seen), "IMPROVED: 1 metric improved");
    rig.kregress(&["compare", &old, &old]).exits(0);
    let seen = rig.kregress(&["compare", &old, "other"]).exits(2);
    assert!(seen.stderr.contains("kernels are compared with kernels, runs with runs"), "{}", seen.stderr);
}

#[test]
fn a_comparison_is_shown_in_every_form_at_once_later_and_of_two_runs() {
    let rig = rig(&base(), &head(6e6));
    let live = rig.kregress(&["compare", "fake", "other", "c/timed", "--format", "text"]).exits(1);
    assert!(live.stdout.starts_with("kregress: regressed: 1 metric is worse\n"), "{}", live.stdout);
    let dir = live.record().dir;
    let name = dir.to_str().expect("UTF-8");
    let sides = [format!("{name}:fake"), format!("{name}:other")];
    for (form, start) in [
        ("human", "REGRESSED: "),
        ("html", "<!DOCTYPE html>"),
        ("markdown", "## "),
        ("text", "kregress: regressed"),
        ("ktap", "KTAP version 1\n"),
        ("json", "{"),
    ] {
        let later = rig.kregress(&["report", name, "--format", form]).exits(0);
        let two = rig.kregress(&["compare", &sides[0], &sides[1], "--format", form]).exits(1);
        for text in [&later.stdout, &two.stdout] {
            assert!(text.starts_with(start) && text.contains("drain_time"), "{form}: {text}");
            assert!(text.to_lowercase().contains("regressed"), "{form}: {text}");
        }
    }
    let file = rig.path("page.html");
    let path = file.to_str().expect("UTF-8");
    let seen = rig.kregress(&["compare", &sides[0], &sides[1], "--format", "html", "-o", path]).exits(1);
    assert_eq!(seen.stdout, "");
    assert!(std::fs::read_to_string(&file).expect("a page").ends_with("</html>"));
}

#[test]
fn a_form_that_cannot_be_is_refused() {
    let rig = rig(&base(), &head(6e6));
    let dir = rig.kregress(&["compare", "fake", "other", "c/counted"]).exits(0).record().dir;
    let sides = ["fake", "other"].map(|kernel| format!("{}:{kernel}", dir.display()));
    let seen = rig.kregress(&["compare", &sides[0], &sides[1], "--format", "junit"]).exits(2);
    insta::assert_snapshot!(seen.stderr.trim(), @r"
    error: JUnit is of one run, and these are two
    hint: `kregress report RUN --format junit` writes that of each; `ktap` is there for both
    ");
    let events = ["compare", "fake", "other", "--message-format", "json", "--format", "text"];
    let seen = rig.kregress(&events).exits(2);
    insta::assert_snapshot!(seen.stderr.trim(), @r"
    error: standard output cannot carry events and a report
    hint: write the report to a file: --output FILE
    ");
}

#[test]
fn runs_of_different_machines_are_refused_unless_that_is_allowed() {
    let rig = rig(&base(), &head(6e6));
    let run = |machine: &str, seed: &str| {
        let args = ["run", "c/timed", "--boots", "6", "--machine", machine, "--seed", seed];
        rig.kregress(&args).exits(0).record().dir.to_str().expect("UTF-8").to_owned()
    };
    let (old, new) = (run("cpus=2", "1"), run("cpus=4,memory=1G", "2"));
    let seen = rig.kregress(&["compare", &old, &new]).exits(2);
    insta::assert_snapshot!(seen.stderr(), @r"
    error: the sides differ in more than their kernels, so a difference of numbers would say nothing
      virtual CPUs: `2` on base, `4` on head
      memory: `512 MiB` on base, `1024 MiB` on head
      seed: `1` on base, `2` on head
    hint: measure both alike, or take it with a reservation: --allow-different cpus,memory,seed
    ");
    let allowed = ["compare", &old, &new, "--allow-different", "cpus,memory,seed"];
    let seen = rig.kregress(&allowed).ends().1;
    assert!(seen.stdout.contains("reservation: virtual CPUs: `2` on base, `4` on head"), "{}", seen.stdout);
}

#[test]
fn a_comparison_that_was_killed_is_read_with_a_verdict_for_all_that_was_asked() {
    let rig = rig(&base(), &base().test("c/timed", Behaviour::Slow(200)));
    let mut started = rig.start(&["compare", "fake", "other", "c", "--message-format", "json"]);
    started.follow("\"boot\":5");
    started.signal(Signal::KILL);
    let _ = started.end().dies_of(Signal::KILL);
    rig.wait_for_no_process();
    let seen = rig.kregress(&["report", "--format", "json"]).exits(0);
    let comparison: serde_json::Value = serde_json::from_str(&seen.stdout).expect("JSON");
    assert_eq!(comparison["kind"], "comparison");
    let tests = comparison["tests"].as_array().expect("tests");
    let timed = tests.iter().find(|test| test["test"] == "c/timed").expect("a verdict");
    let tries =
        |side: &str| timed[side].as_object().expect("tries").values().filter_map(|n| n.as_u64()).sum::<u64>();
    assert!(tries("base") >= 2 && tries("head") >= 2, "{timed}");
    // Of what the kill left open, the harness is to blame and not the kernel.
    assert!(
        timed["base"]["errors"].as_u64() >= Some(1) || timed["head"]["errors"].as_u64() >= Some(1),
        "{timed}"
    );
    let seen = rig.kregress(&["report"]).exits(0);
    assert!(seen.stdout.contains("warning: the run did not come to its end"), "{}", seen.stdout);
}

#[test]
fn events_tell_what_was_asked_and_what_came_of_it() {
    let rig = rig(&FakeKernel::new(), &FakeKernel::new());
    let seen = rig.kregress(&["compare", "fake", "other", "c/plain", "--message-format", "json"]).exits(0);
    let events = crate::record::check_events(&seen.stdout);
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).collect::<Vec<_>>();
    assert_eq!(of("turns-asked")[0]["until"], 2);
    assert_eq!(of("compared")[0]["overall"], "unchanged");
    assert_eq!(of("kernel-ready").len(), 2);
}

#[test]
fn wrong_words_are_2() {
    let rig = rig(&FakeKernel::new(), &FakeKernel::new());
    for args in [
        &["compare", "fake"][..],
        &["compare", "fake", "nowhere"],
        &["compare", "fake", "other", "nothing"],
        &["compare", "fake", "other", "--allow-different", "weather"],
        &["compare", "fake", "other", "--floor", "much"],
        &["compare", "fake", "other", "--boots", "0"],
        &["compare", "20261120-2", "20261120-3"],
    ] {
        rig.kregress(args).exits(2);
        assert_eq!(rig.runs().len(), 0, "{args:?}");
    }
}

#[test]
fn selfcheck_measures_noise_keeps_it_and_compare_takes_it() {
    let rig = rig(&base(), &base());
    let seen = rig.kregress(&["selfcheck", "c", "--kernel", "fake", "--boots", "6"]).exits(0);
    assert!(seen.stdout.starts_with("no metric differs between boots of one kernel\n"), "{}", seen.stdout);
    assert!(seen.stdout.contains("false alarms: 0 of 2000 random splits"), "{}", seen.stdout);
    assert!(seen.stdout.contains("drain_time"), "{}", seen.stdout);
    assert_eq!(turns(&seen.record(), "c/timed"), 12);
    let record = rig.kregress(&["compare", "fake", "other", "c/timed"]).ends().1.record();
    let noise = &record.json["plan"]["comparison"]["noise"][0];
    assert_eq!((noise["test"].as_str(), noise["metric"].as_str()), (Some("c/timed"), Some("drain_time")));
    let sd = noise["relative_sd"].as_f64().expect("a number");
    assert!((0.004..0.02).contains(&sd), "{sd}");
    // Of another machine nothing is known.
    let args = ["compare", "fake", "other", "c/timed", "--machine", "cpus=1"];
    let record = rig.kregress(&args).ends().1.record();
    assert_eq!(record.json["plan"]["comparison"]["noise"], serde_json::json!([]));
}

#[test]
fn where_no_emulated_time_may_decide_nothing_is_measured_and_counts_still_are() {
    let rig = rig(&base(), &head(6e6));
    let seen = rig.kregress(&["compare", "fake", "other", "c", "--no-emulated-times"]).exits(4);
    insta::assert_snapshot!(seen.stderr(), @r"
    inconclusive: 1 of the tests decide by time, `c/timed` for one (`drain_time`), and under `tcg` every instruction is emulated
    hint: `--machine accel=icount` decides by instructions, on any host; or name tests that only count; or leave out `--no-emulated-times`
    ");
    assert!(rig.runs().is_empty());
    rig.kregress(&["compare", "fake", "other", "c/counted", "c/plain", "--no-emulated-times"]).exits(0);
}
