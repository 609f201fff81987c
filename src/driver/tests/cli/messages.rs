//! What machines read, and what is shown again: JSON, reports, lists, the doctor.

use serde_json::Value;

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::record::{Record, check_events, list, word};
use crate::rig::Rig;

fn failing() -> Rig {
    Rig::with(&FakeKernel::new().test("t/middle", Behaviour::Fail("it leaks".to_owned())))
}

#[test]
fn every_line_of_the_json_format_is_an_event_and_they_are_those_on_disk() {
    let rig = failing();
    let seen = rig.kregress(&["run", "t", "--message-format", "json"]).exits(1);
    let told = check_events(&seen.stdout);
    let numbers: Vec<_> = told.iter().map(|event| event["seq"].as_u64().expect("a number")).collect();
    assert_eq!(numbers, (0..told.len() as u64).collect::<Vec<_>>());
    let names = |events: &[Value]| {
        let names = events.iter().map(|event| word(&event["event"]).to_owned());
        names.filter(|name| !["kernel-objects", "test-progress"].contains(&name.as_str())).collect::<Vec<_>>()
    };
    let kept = check_events(&seen.record().text("events.jsonl"));
    assert_eq!(names(&told), names(&kept));
    // A verdict waits for the end of its part of the kernel log, so the next test
    // may begin before it comes.
    let (of_tests, others): (Vec<_>, Vec<_>) =
        names(&told).into_iter().partition(|name| name.starts_with("test-"));
    insta::assert_snapshot!(others.join(" "), @"run-started kernel-ready notice boot-started boot-ready boot-finished run-finished");
    assert_eq!(of_tests.len(), 6);
    for test in ["t/first", "t/middle", "t/last"] {
        let at = |name: &str| told.iter().position(|event| event["event"] == name && event["test"] == test);
        assert!(at("test-started").expect("started") < at("test-finished").expect("finished"), "{test}");
    }
}

#[test]
fn progress_goes_to_stderr_line_by_line_where_nobody_watches() {
    for (key, value) in [("NO_COLOR", "1"), ("TERM", "dumb"), ("TERM", "xterm-256color")] {
        let rig = failing().env(key, value);
        // That there is no escape byte is looked at for every command.
        let seen = rig.kregress(&["run", "t"]).exits(1);
        assert!(seen.stderr.contains("t/middle"), "{}", seen.stderr);
        assert!(!seen.stdout.contains("\r") && !seen.stderr.contains('\r'));
    }
}

#[test]
fn a_run_is_shown_again_as_it_was() {
    let rig = failing();
    let seen = rig.kregress(&["run", "t"]).exits(1);
    let record = seen.record();
    let again = rig.kregress(&["report"]).exits(0);
    assert_eq!(again.stdout().replace("[DIR]/project/", ""), seen.stdout().replace("[DIR]/project/", ""));
    let junit = rig.kregress(&["report", "--format", "junit"]).exits(0);
    assert_eq!(junit.stdout, record.text("junit.xml"));
    let json = rig.kregress(&["report", "--format", "json"]).exits(0);
    // Where it was read from is told in place of where it was made.
    let (mut shown, mut made) = (Record::of(&record.dir, &json.stdout).json, record.json);
    shown["plan"]["directory"] = Value::Null;
    made["plan"]["directory"] = Value::Null;
    assert_eq!(shown, made);
}

#[test]
fn a_run_is_found_by_the_beginning_of_its_name_and_by_its_path() {
    let rig = failing();
    let dir = rig.kregress(&["run", "t"]).exits(1).record().dir;
    let other = rig.kregress(&["run", "t", "-k", "other"]).exits(0).record().dir;
    let shown = |which: &str| {
        let json = rig.kregress(&["report", which, "--format", "json"]).exits(0).stdout;
        let json: Value = serde_json::from_str(&json).expect("JSON");
        word(&json["plan"]["kernels"][0]).to_owned()
    };
    for (dir, kernel) in [(&dir, "fake"), (&other, "other")] {
        let name = dir.file_name().expect("a name").to_str().expect("UTF-8");
        for which in [name, &name[..name.len() - 1], dir.to_str().expect("UTF-8")] {
            assert_eq!(shown(which), kernel, "{which}");
        }
    }
    let ambiguous = rig.kregress(&["report", "20"]).exits(3);
    assert_eq!(ambiguous.stdout, "");
    assert!(ambiguous.stderr.contains("`20`"), "{}", ambiguous.stderr);
}

#[test]
fn a_report_without_a_run_says_what_to_do() {
    let rig = failing();
    insta::assert_snapshot!(rig.kregress(&["report"]).exits(3).stderr(), @r"
    error: there are no runs in `results`
    hint: `kregress run` makes one; `--results DIR` looks elsewhere
    ");
    rig.kregress(&["run", "t"]).exits(1);
    insta::assert_snapshot!(rig.kregress(&["report", "1999"]).exits(3).stderr(), @r"
    error: there is no run `1999` in `results`; the latest ones are
      [RUN]
    hint: name one of them, a beginning of its name, or the path of a run's directory
    ");
}

#[test]
fn what_there_is_can_be_listed() {
    let rig = failing();
    insta::assert_snapshot!(rig.kregress(&["list", "kernels"]).exits(0).stdout(), @r"
    fake   *  image  [DIR]/project/kernels/fake
    other     image  [DIR]/project/kernels/other
    ");
    let all = rig.kregress(&["list"]).exits(0).stdout();
    assert!(all.contains("t/middle") && all.contains("smoke") && all.contains("drain_time"), "{all}");
    let json = rig.kregress(&["list", "--message-format", "json"]).exits(0).stdout;
    assert_eq!(json.lines().count(), 1);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert!(!list(&json["tests"]).is_empty());
    assert!(rig.runs().is_empty());
}

#[test]
fn the_doctor_looks_at_everything_and_says_what_to_install() {
    let rig = failing();
    // Nothing is on its path, so what builds need is missing.
    let human = rig.kregress(&["doctor"]).exits(3);
    assert!(human.stdout.contains("missing  gcc "), "{}", human.stdout);
    assert!(human.stdout.contains("to install: apt-get install"), "{}", human.stdout);
    assert!(human.stdout.contains("QEMU emulator version 8.2.0 (fake)"), "{}", human.stdout);
    let json = rig.kregress(&["doctor", "--message-format", "json"]).exits(3);
    let lines: Vec<Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let state = |what: &str| {
        let found = lines.iter().find(|line| line["check"] == what);
        word(&found.unwrap_or_else(|| panic!("no `{what}`"))["state"]).to_owned()
    };
    assert_eq!((state("qemu"), state("make"), state("git")), ("ok".into(), "missing".into(), "note".into()));
    assert_ne!(state("accelerator"), "missing");
}

#[test]
fn the_doctor_of_this_host_gives_its_verdict_by_its_exit_code() {
    let rig = failing().host_programs();
    let (code, seen) = rig.kregress(&["doctor", "--message-format", "json"]).ends();
    let missing = seen.stdout.lines().any(|line| line.contains(r#""state":"missing""#));
    assert_eq!(code, if missing { 3 } else { 0 });
}

#[test]
fn help_and_version_are_no_errors_and_nothing_at_all_is() {
    let rig = failing();
    assert!(rig.kregress(&["--help"]).exits(0).stdout.contains("Exit codes:"));
    assert!(rig.kregress(&["--version"]).exits(0).stdout.starts_with("kregress "));
    assert_eq!(rig.kregress(&[]).exits(2).stdout, "");
    assert_eq!(rig.kregress(&["rum"]).exits(2).stdout, "");
}
