//! A run in shards: planned, run one by one or at once, merged; and everything that can
//! become of a shard on the way.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::fake_kernel::{Behaviour, FakeKernel, SampleRule, Splat};
use crate::record::{Record, check_events, list, word};
use crate::rig::{Ended, Rig};

/// A suite whose middle test fails, planned in three shards of one test each.
fn planned() -> Rig {
    let kernel = FakeKernel::new()
        .test("t/middle", Behaviour::Fail("expected 4 namespaces, seen 5".to_owned()))
        .samples(SampleRule {
            test: "*".to_owned(),
            metric: "drain_time".to_owned(),
            median: 5e6,
            spread: 0.0,
            count: 5,
        });
    let rig = Rig::with(&kernel);
    rig.kregress(&["plan", "t", "--shards", "3"]).exits(0);
    rig
}

fn shard<'a>(rig: &'a Rig, number: &str) -> Ended<'a> {
    rig.kregress(&["run", "--plan", "plan.json", "--shard", number])
}

/// Runs all three shards, one after the other; gives their directories.
fn three(rig: &Rig) -> Vec<PathBuf> {
    let mut directories = Vec::new();
    for (number, code) in [("1", 0), ("2", 1), ("3", 0)] {
        directories.push(shard(rig, number).exits(code).record().dir);
    }
    directories
}

/// Verdicts without the numbers of boots.
fn verdicts(record: &Record) -> Vec<String> {
    let text = record.verdicts();
    let mut lines: Vec<_> =
        text.lines().map(|line| line.split_once(' ').expect("a boot").1.to_owned()).collect();
    lines.sort();
    lines
}

#[test]
fn a_plan_says_what_each_shard_does_and_how_to_go_on() {
    let rig = Rig::with(&FakeKernel::new());
    let seen = rig.kregress(&["plan", "t", "--shards", "2", "--boots", "3"]).exits(0);
    let plan: serde_json::Value =
        serde_json::from_slice(&fs::read(rig.path("project/plan.json")).expect("a plan")).expect("JSON");
    let id = word(&plan["id"]);
    insta::assert_snapshot!(seen.stdout().replace(id, "[ID]"), @r"
    shard 1      1.2 s  2 tests
    shard 2      0.6 s  t/middle
    plan:   plan.json, id [ID]
    each:   kregress run --plan plan.json --shard N
    then:   kregress merge --plan plan.json DIRECTORY...
    ");
    assert_eq!(seen.stderr(), "");
    // The same words make the same plan.
    rig.kregress(&["plan", "t", "--shards", "2", "--boots", "3", "-o", "again.json"]).exits(0);
    let read = |name: &str| fs::read(rig.path("project").join(name)).expect("a plan");
    assert_eq!(read("plan.json"), read("again.json"));
    let other = rig.kregress(&["plan", "t", "--shards", "2", "--format", "json"]).exits(0);
    let other: serde_json::Value = serde_json::from_str(&other.stdout).expect("JSON");
    assert_ne!(other["id"], plan["id"]);
}

#[test]
fn the_matrix_for_github_is_one_line_and_fewer_shards_are_told() {
    let rig = Rig::with(&FakeKernel::new());
    let seen = rig.kregress(&["plan", "t", "--shards", "9", "--format", "github"]).exits(0);
    assert_eq!(
        seen.stdout,
        "matrix={\"include\":[{\"of\":3,\"shard\":1},{\"of\":3,\"shard\":2},{\"of\":3,\"shard\":3}]}\n"
    );
    assert_eq!(seen.stderr(), "note: 3 shards in place of 9: there are no more tests\n");
    let seen = rig.kregress(&["plan", "t", "--shards", "257", "--format", "github"]).exits(2);
    assert!(seen.stderr.contains("`--shards 257` is more than a matrix"), "{}", seen.stderr);
}

#[test]
fn three_shards_at_once_make_the_run_that_one_piece_would_have_been() {
    let rig = planned();
    let whole = rig.kregress(&["run", "t"]).exits(1).record();
    let words = |number| ["run", "--plan", "plan.json", "--shard", number];
    let started = ["1", "2", "3"].map(|number| rig.start(&words(number)));
    let ended = started.map(|shard| shard.end());
    for (ended, code) in ended.into_iter().zip([0, 1, 0]) {
        assert_eq!(ended.exits(code).stderr().matches("error").count(), 0);
    }
    // The whole run lies beside them, and is none of the plan.
    let seen = rig.kregress(&["merge"]).exits(1);
    let record = seen.record();
    assert_eq!(verdicts(&record), verdicts(&whole));
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    2 t/middle fail: assertion: expected 4 namespaces, seen 5
    3 t/last pass
    ");
    insta::assert_snapshot!(record.boots(), @r"
    1 fake clean
    2 fake clean
    3 fake clean
    ");
    assert_eq!(record.json["state"], "finished");
    assert_eq!(record.json["summary"]["verdicts"], whole.json["summary"]["verdicts"]);
    assert_eq!(record.json["plan"]["tests"], whole.json["plan"]["tests"]);
    assert_eq!(record.json["plan"]["merged"]["of"], 3);
    assert_eq!(list(&record.json["plan"]["merged"]["shards"]).len(), 3);
    // The logs have come along, under the new numbers.
    assert!(record.text("boots/2/output.log").contains("t/middle: working"));
    assert!(record.text("boots/3/output.log").contains("t/last: working"));
    assert!(seen.stdout.contains("FAIL    t/middle") && seen.stdout.contains("2 passed, 1 failed"));
    assert!(record.text("junit.xml").contains("expected 4 namespaces, seen 5"));
    let name = record.dir.file_name().expect("a name").to_str().expect("UTF-8");
    for format in ["human", "html", "markdown", "text", "junit", "ktap", "json"] {
        let report = rig.kregress(&["report", name, "--format", format]).exits(0);
        assert!(report.stdout.contains("middle"), "{format}: {}", report.stdout);
    }
}

#[test]
fn a_shard_says_in_its_record_which_one_it_is() {
    let rig = planned();
    let record = shard(&rig, "3").exits(0).record();
    let plan: serde_json::Value =
        serde_json::from_slice(&fs::read(rig.path("project/plan.json")).expect("a plan")).expect("JSON");
    assert_eq!(record.json["plan"]["shard"], serde_json::json!({ "plan": plan["id"], "number": 3, "of": 3 }));
    insta::assert_snapshot!(record.verdicts(), @"1 t/last pass");
    insta::assert_snapshot!(
        rig.names(&record.dir).join(" "),
        @"boots events.jsonl junit.xml run.json shards.json"
    );
}

#[test]
fn every_test_of_a_lost_shard_is_an_error_in_the_merged_run_and_its_junit() {
    let rig = planned();
    shard(&rig, "1").exits(0);
    shard(&rig, "3").exits(0);
    let seen = rig.kregress(&["merge", "--plan", "plan.json"]).exits(3);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    - t/middle error: host: shard 2 of 3 left no results: no directory is of it
    2 t/last pass
    ");
    assert!(record.text("junit.xml").contains("shard 2 of 3 left no results"));
    let told = rig.kregress(&["merge", "--message-format", "json"]).exits(3);
    assert_eq!(check_events(&told.stdout).len(), record.json["events"].as_u64().expect("a number") as usize);
    // Its own copy of the plan is enough for a shard to tell what the others lack.
    // Runs of the same second are in no order.
    let is_shard = |run: &std::path::PathBuf| run.join("shards.json").exists();
    let only = rig.runs().into_iter().find(is_shard).expect("a shard");
    let seen = rig.kregress(&["merge", only.to_str().expect("UTF-8")]).exits(3);
    assert_eq!(seen.record().verdicts().matches("left no results").count(), 2);
}

#[test]
fn a_merge_teaches_the_next_plan_what_tests_took() {
    let rig = planned();
    three(&rig);
    // What a host has learned of its own shard stays with it.
    fs::remove_dir_all(rig.path("cache/estimates")).expect("forgotten");
    rig.kregress(&["merge"]).exits(1);
    let learned = fs::read_to_string(rig.path("cache/estimates/tests.json")).expect("learned");
    let learned: serde_json::Value = serde_json::from_str(&learned).expect("JSON");
    let names: Vec<&String> = learned.as_object().expect("tests").keys().collect();
    assert_eq!(names, ["t/first", "t/last"], "what failed took no time that says anything");
}

#[test]
fn each_suite_has_a_file_of_junit_where_ci_looks_for_it() {
    let rig = planned();
    for (number, code) in [("1", 0), ("2", 1), ("3", 0)] {
        let words = ["run", "--plan", "plan.json", "--shard", number, "--junit", "junit-reports"];
        rig.kregress(&words).exits(code);
    }
    rig.kregress(&["merge", "--junit", "merged"]).exits(1);
    assert_eq!(
        rig.names("project/junit-reports").join(" "),
        "TEST-kernel-health-1.xml TEST-kernel-health-2.xml TEST-kernel-health-3.xml TEST-t-1.xml TEST-t-2.xml TEST-t-3.xml"
    );
    assert_eq!(rig.names("project/merged").join(" "), "TEST-kernel-health.xml TEST-t.xml");
    let text = fs::read_to_string(rig.path("project/merged/TEST-t.xml")).expect("a file");
    assert!(text.contains("<testsuites name=\"kregress\" tests=\"3\" failures=\"1\" errors=\"0\""), "{text}");
    // The results are there all the same, and the exit code is not that of a verdict.
    rig.write("project/file", "");
    let seen = rig.kregress(&["merge", "--junit", "file"]).exits(3);
    assert!(seen.stderr.contains("`file`"), "{}", seen.stderr);
}

/// Where the merged run below is left for programs of others to read: `scripts/test-junit`.
const JUNIT: &str = "KREGRESS_TEST_JUNIT";

#[test]
fn a_merged_run_with_everything_that_can_become_of_a_test_adds_up() {
    let flaky = Behaviour::InTurn(vec![Behaviour::Fail("the first time".to_owned()), Behaviour::Pass]);
    let kernel = FakeKernel::new()
        .test("mix/fails", Behaviour::HostileText)
        .test("mix/warns", Behaviour::Splat(Splat::Warning))
        .test("mix/skips", Behaviour::Skip("no CONFIG_XFRM".to_owned()))
        .test("mix/flaky", flaky)
        .test("mix/errs", Behaviour::Error("no memory for it".to_owned()));
    let rig = Rig::with(&kernel);
    // Every third one is of the shard that is lost.
    let names = ["fails", "warns", "lost-1", "skips", "flaky", "lost-2", "errs", "plain", "lost-3"];
    let tests: String =
        names.iter().map(|name| format!("  {name}: {{workload: netns/drain, timeout: 60s}}\n")).collect();
    rig.write("project/suites/mix.yaml", &format!("version: 1\nsummary: all kinds\ntests:\n{tests}"));
    rig.kregress(&["plan", "mix", "--shards", "3", "--retries", "1"]).exits(0);
    for number in ["1", "2"] {
        shard(&rig, number).exits(1);
    }
    let seen = rig.kregress(&["merge", "--plan", "plan.json", "--junit", "junit-reports"]).exits(1);
    let record = seen.record();
    let counts = &record.json["summary"]["verdicts"];
    let count = |word: &str| counts[word].as_u64().expect("a number");
    // A test that did not pass has a verdict for each of its attempts; what was lost has one.
    assert_eq!((count("flaky"), count("skip")), (1, 1), "{counts}");
    let xml = fs::read_to_string(rig.path("project/junit-reports/TEST-mix.xml")).expect("a file");
    assert!(xml.contains("tests=\"9\" failures=\"2\" errors=\"4\" skipped=\"1\""), "{xml}");
    assert_eq!(xml.matches("<flakyFailure ").count(), 1, "{xml}");
    if let Some(keep) = std::env::var_os(JUNIT) {
        let keep = PathBuf::from(keep);
        for (from, to) in [
            (rig.path("project/junit-reports/TEST-mix.xml"), "TEST-mix.xml"),
            (rig.path("project/junit-reports/TEST-kernel-health.xml"), "TEST-kernel-health.xml"),
            (record.dir.join("junit.xml"), "junit.xml"),
            (record.dir.join("run.json"), "run.json"),
        ] {
            fs::copy(from, keep.join(to)).expect("kept");
        }
    }
}

#[test]
fn a_plan_of_which_nothing_came_back_is_all_errors() {
    let rig = planned();
    fs::create_dir(rig.path("project/nothing")).expect("a directory");
    let seen = rig.kregress(&["merge", "nothing", "--plan", "plan.json"]).exits(3);
    assert_eq!(seen.record().verdicts().matches("error: host").count(), 3);
    let seen = rig.kregress(&["merge", "nothing"]).exits(2);
    insta::assert_snapshot!(seen.stderr(), @r"
    error: no directory knows the plan of its shards
    hint: name the plan with `--plan FILE`
    ");
}

#[test]
fn a_shard_that_ran_twice_is_not_chosen_from() {
    let rig = planned();
    let directories = three(&rig);
    let again = shard(&rig, "2").exits(1).record().dir;
    let seen = rig.kregress(&["merge"]).exits(2);
    insta::assert_snapshot!(seen.stderr(), @r"
    error: shard 2 is there twice: `results/[RUN]` and `results/[RUN]`
    hint: name only the one that is to count
    ");
    let paths = [&directories[0], &again, &directories[2]].map(|path| path.to_str().expect("UTF-8"));
    rig.kregress(&[&["merge"][..], &paths].concat()).exits(1);
}

#[test]
fn a_shard_that_was_killed_is_refused_while_it_runs_and_an_error_for_what_it_lacks_then() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::Hang));
    rig.kregress(&["plan", "t", "--shards", "2"]).exits(0);
    // first and last.
    shard(&rig, "1").exits(0);
    let mut second = rig.start(&["run", "--plan", "plan.json", "--shard", "2", "--message-format", "json"]);
    second.follow(r#""event":"test-started","boot":1,"test":"t/middle""#);
    let seen = rig.kregress(&["merge"]).exits_beside(&second, 2);
    insta::assert_snapshot!(seen.stderr(), @r"
    error: shard 2 still goes on in `results/[RUN]`
    hint: merge when it has ended
    ");
    second.signal(Signal::KILL);
    second.end().dies_of(Signal::KILL);
    rig.wait_for_no_process();
    let left = rig.names("cache/run");
    let seen = rig.kregress(&["merge"]).exits(3);
    assert_eq!(rig.names("cache/run"), left);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts(), @r"
    1 t/first pass
    1 t/last pass
    2 t/middle error: unfinished: shard 2 of 2 was cut off in mid-work (killed, or out of disk); boot 2 was at this test
    ");
    assert_eq!(record.json["state"], "unfinished");
}

#[test]
fn a_run_of_something_else_is_refused_by_name() {
    let rig = planned();
    let other = rig.kregress(&["run", "t/last"]).exits(0).record().dir;
    let seen = rig.kregress(&["merge", "--plan", "plan.json", other.to_str().expect("UTF-8")]).exits(2);
    assert!(seen.stderr().contains("is no shard of the plan"), "{}", seen.stderr);
    assert!(seen.stderr().contains("it is no run of a shard\nhint: leave it out"), "{}", seen.stderr);
    assert_eq!(rig.runs().len(), 1);
}

#[test]
fn a_plan_that_is_not_of_what_is_here_is_refused_with_what_differs() {
    let rig = planned();
    let suite = rig.path("project/suites/t.yaml");
    let text = fs::read_to_string(&suite).expect("a suite");
    fs::write(&suite, text.replacen("timeout: 60s", "timeout: 61s", 1).replace("  last:", "  final:"))
        .expect("a suite");
    let config = rig.path("project/kregress.yaml");
    let text = fs::read_to_string(&config).expect("a config");
    fs::write(&config, text.replace("    image: kernels/fake", "    image: kernels/other"))
        .expect("a config");
    let seen = shard(&rig, "1").exits(2);
    insta::assert_snapshot!(seen.stderr(), @r"
    error: the plan `plan.json` is not of what is found here:
      the entry of kernel `fake`, or a fragment of it, is another one
      test `t/first` has another time limit
      there is no test `t/last` here
    hint: run its shards with the kregress and the files that it was made with, or make it again with `kregress plan`
    ");
    assert!(rig.runs().is_empty());
}

#[test]
fn words_that_contradict_a_plan_are_wrong_usage() {
    let rig = planned();
    for words in [
        &["run", "--plan", "plan.json"][..],
        &["run", "--shard", "1"],
        &["run", "t", "--plan", "plan.json", "--shard", "1"],
        &["run", "--plan", "plan.json", "--shard", "1", "--boots", "2"],
        &["run", "--plan", "plan.json", "--shard", "1", "--machine", "cpus=4"],
        &["run", "--plan", "plan.json", "--shard", "1", "--seed", "2"],
        &["run", "--plan", "plan.json", "--shard", "0"],
        &["run", "--plan", "plan.json", "--shard", "4"],
        &["run", "--plan", "missing.json", "--shard", "1"],
        &["plan", "t"],
        &["plan", "t", "--shards", "0"],
        &["plan", "nonsense", "--shards", "2"],
        &["merge", "missing"],
    ] {
        rig.kregress(words).exits(2);
    }
    assert!(rig.runs().is_empty());
}

#[test]
fn different_kernels_under_one_name_are_not_one_run() {
    let rig = planned();
    shard(&rig, "1").exits(0);
    FakeKernel::new().release("6.13.0").write(&rig.path("project/kernels/fake")).expect("a kernel");
    shard(&rig, "3").exits(0);
    let before = rig.names("project/results");
    let seen = rig.kregress(&["merge"]).exits(2);
    assert!(seen.stderr.contains("kernel `fake` is not the same in all shards"), "{}", seen.stderr);
    assert_eq!(rig.names("project/results"), before);
}

fn replace(path: &Path, target: &Path) {
    fs::remove_file(path).expect("removed");
    symlink(target, path).expect("a link");
}

#[test]
fn a_hostile_directory_turns_its_own_tests_red_and_nothing_of_it_is_obeyed() {
    let rig = planned();
    let directories = three(&rig);
    rig.write("secret", "secret\n");
    // A log that is a link is left behind; a record that leads out of its directory is
    // none, nor is one that is a link.
    replace(&directories[0].join("boots/1/console.log"), &rig.path("secret"));
    fs::write(directories[0].join("boots/1/evil"), "x").expect("a file");
    let record = directories[1].join("events.jsonl");
    let text = fs::read_to_string(&record).expect("a record");
    fs::write(&record, text.replace("\"boots/1\"", "\"../../../secret\"")).expect("a record");
    fs::remove_file(directories[1].join("run.json")).expect("removed");
    replace(&directories[2].join("events.jsonl"), &rig.path("secret"));
    let seen = rig.kregress(&["merge"]).exits(3);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts().replace(rig.path("").to_str().expect("UTF-8"), "[DIR]/").replace(directories[1].file_name().expect("a name").to_str().expect("UTF-8"), "[SHARD]"), @r"
    1 t/first pass
    - t/middle error: host: shard 2 of 3 left no results: the record in `results/[SHARD]` has boot 1 in `../../../secret`, which is not its place
    - t/last error: host: shard 3 of 3 left no results: no directory is of it
    ");
    let notices = record.json["notices"].to_string();
    assert!(notices.contains("console.log` is a symbolic link"), "{notices}");
    assert!(notices.contains("events.jsonl` is a symbolic link"), "{notices}");
    assert_eq!(
        rig.names(record.dir.join("boots/1")).join(" "),
        "events.jsonl machine.log output.log plan.json qemu.cmd samples.jsonl"
    );
}

#[test]
fn words_of_a_hostile_record_reach_no_screen_and_no_report_unescaped() {
    let rig = planned();
    let directories = three(&rig);
    let evil = "\u{1b}[2J::error::x\u{202e}";
    for directory in &directories {
        fs::remove_file(directory.join("run.json")).expect("removed");
        let record = directory.join("events.jsonl");
        let text = fs::read_to_string(&record).expect("a record");
        let escaped = serde_json::to_string(evil).expect("JSON");
        let escaped = escaped.trim_matches('"');
        let changed = text
            .replace("6.12.0-fake", escaped)
            .replace("TCG as asked for", escaped)
            .replace("seen 5", escaped);
        assert_ne!(changed, text);
        fs::write(&record, changed).expect("a record");
    }
    // What is checked of all that is shown is checked by the rig.
    let record = rig.kregress(&["merge"]).exits(1).record();
    let name = record.dir.file_name().expect("a name").to_str().expect("UTF-8");
    for format in ["human", "html", "markdown", "text", "junit", "ktap"] {
        rig.kregress(&["report", name, "--format", format]).exits(0);
    }
}
