//! Guests that lie, babble and flood: never a pass that was not said, never a
//! disk that fills.

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::record::{Record, check_harmless, list};
use crate::rig::Rig;

/// Verdicts of a run whose middle test behaves so, and the exit code.
fn run(behaviour: Behaviour, code: i32) -> (Rig, Record, String) {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", behaviour));
    let record = rig.kregress(&["run", "t"]).exits(code).record();
    let verdicts = relative(&record.verdicts());
    (rig, record, verdicts)
}

/// A text whose frame numbers count from the first one that it names: how many
/// frames came before depends on the metrics of the workloads.
fn relative(text: &str) -> String {
    let mut parts = text.split("frame ");
    let mut relative = parts.next().unwrap_or_default().to_owned();
    let mut first = None;
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        relative += "frame ";
        relative += &match part[..digits].parse::<u64>() {
            Err(_) => String::new(),
            Ok(number) => match number - *first.get_or_insert(number) {
                0 => "N".to_owned(),
                more => format!("N+{more}"),
            },
        };
        relative += &part[digits..];
    }
    relative
}

#[test]
fn bytes_that_are_no_frames_are_an_error_of_the_test_that_sent_them() {
    insta::assert_snapshot!(run(Behaviour::Babble, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: frame N does not begin with the magic but with [00, ff, 1b, 5b]
    2 t/last pass
    ");
}

#[test]
fn a_frame_that_is_cut_off_is_no_verdict() {
    insta::assert_snapshot!(run(Behaviour::HalfFrame, 3).2, @r"
    1 t/first pass
    1 t/middle error: lost: the guest went away without a word from its kernel: exit status: 1
    2 t/last pass
    ");
}

#[test]
fn a_frame_that_comes_twice_is_an_error() {
    insta::assert_snapshot!(run(Behaviour::DuplicateFrame, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: frame N arrived where frame N+1 was due
    2 t/last pass
    ");
}

#[test]
fn a_damaged_frame_is_an_error() {
    insta::assert_snapshot!(run(Behaviour::DamagedFrame, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: frame N has a wrong checksum
    2 t/last pass
    ");
}

#[test]
fn a_frame_of_a_gigabyte_is_an_error_and_not_waited_for() {
    insta::assert_snapshot!(run(Behaviour::HugeFrame, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: frame N announces 1073741824 bytes, the limit is 1048576
    2 t/last pass
    ");
}

#[test]
fn a_frame_that_holds_no_message_is_an_error() {
    insta::assert_snapshot!(run(Behaviour::StrangeMessage, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: frame N is not a message: unknown variant `promise`, expected one of `hello`, `started`, `samples`, `note`, `breakdown`, `progress`, `finished`, `diagnosis`, `settling`, `bye` at line 1 column 10
    2 t/last pass
    ");
}

#[test]
fn a_pass_of_a_test_that_does_not_run_is_an_error_and_no_pass() {
    insta::assert_snapshot!(run(Behaviour::Forged, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: it spoke of test 2 while test 1 was running
    2 t/last pass
    ");
}

#[test]
fn a_pass_of_a_test_that_nobody_planned_is_an_error() {
    insta::assert_snapshot!(run(Behaviour::UnknownTestId, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: it spoke of test 1002 while test 1 was running
    2 t/last pass
    ");
}

#[test]
fn a_test_that_ends_twice_is_an_error() {
    let (_rig, record, verdicts) = run(Behaviour::FinishedTwice, 3);
    insta::assert_snapshot!(verdicts, @r"
    1 t/first pass
    1 t/middle pass
    1 t/last error: protocol: the guest broke the protocol: it spoke of test 1 while no test was running
    ");
    insta::assert_snapshot!(record.boots(), @"1 fake killed it broke the protocol: it spoke of test 1 while no test was running");
}

#[test]
fn samples_behind_the_end_of_their_test_are_an_error() {
    insta::assert_snapshot!(run(Behaviour::LateSamples, 3).2, @r"
    1 t/first pass
    1 t/middle pass
    1 t/last error: protocol: the guest broke the protocol: it spoke of test 1 while no test was running
    ");
}

#[test]
fn samples_of_a_metric_that_its_workload_does_not_have_are_an_error() {
    insta::assert_snapshot!(run(Behaviour::UnknownMetric, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: it reported the metric `no-such-metric`, which its workload does not have
    2 t/last pass
    ");
}

#[test]
fn a_goodbye_in_the_middle_of_a_test_is_an_error() {
    insta::assert_snapshot!(run(Behaviour::ByeWithoutFinish, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: it said goodbye while test 1 was running
    2 t/last pass
    ");
}

#[test]
fn a_test_that_is_left_out_is_an_error() {
    insta::assert_snapshot!(run(Behaviour::LeftOut, 3).2, @r"
    1 t/first pass
    1 t/middle error: protocol: the guest broke the protocol: it started test 2, which is not the next of its plan
    2 t/last pass
    ");
}

#[test]
fn a_guest_that_always_breaks_the_protocol_is_not_booted_for_ever() {
    let rig = Rig::with(&FakeKernel::new().test("*", Behaviour::LeftOut));
    let record = rig.kregress(&["run", "t"]).exits(3).record();
    insta::assert_snapshot!(record.verdicts(), @r"
    2 t/first error: not-reached: 2 boots in a row ended before a test had a verdict, the last: it broke the protocol: it said goodbye without starting test 0
    2 t/middle error: not-reached: 2 boots in a row ended before a test had a verdict, the last: it broke the protocol: it said goodbye without starting test 0
    2 t/last error: not-reached: 2 boots in a row ended before a test had a verdict, the last: it broke the protocol: it said goodbye without starting test 0
    ");
    insta::assert_snapshot!(record.boots(), @r"
    1 fake killed it broke the protocol: it said goodbye without starting test 0
    2 fake killed it broke the protocol: it said goodbye without starting test 0
    ");
}

#[test]
fn markers_that_a_test_forges_cannot_make_a_pass_of_a_failure() {
    let (_rig, record, _) = run(Behaviour::ForgedMarkers, 1);
    let results = list(&record.json["results"]);
    assert!(results.iter().any(|result| result["verdict"] == "fail"), "{}", record.verdicts());
}

#[test]
fn a_frame_that_drips_byte_by_byte_is_a_frame() {
    assert_eq!(run(Behaviour::SlowDrip(1), 0).2.matches(" pass").count(), 3);
}

/// Sizes of everything in the run directory, in bytes.
fn size(record: &Record) -> u64 {
    let files = walkdir::WalkDir::new(&record.dir).into_iter();
    files.map(|file| file.expect("an entry").metadata().expect("metadata").len()).sum()
}

#[test]
fn a_flood_on_the_console_is_bounded_on_disk_and_changes_no_verdict() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::FloodConsole(100)));
    let record = rig.kregress(&["run", "t"]).exits(0).record();
    assert_eq!(record.verdicts().matches(" pass").count(), 3);
    assert!(size(&record) < 70 << 20, "{} bytes", size(&record));
    let log = std::fs::read(record.dir.join("boots/1/console.log")).expect("a log");
    let end = String::from_utf8_lossy(&log[log.len() - 70..]).into_owned();
    assert!(end.contains("reached its limit"), "{end}");
}

#[test]
fn a_line_without_end_is_bounded_and_changes_no_verdict() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::FloodLine(20)));
    let record = rig.kregress(&["run", "t"]).exits(0).record();
    assert_eq!(record.verdicts().matches(" pass").count(), 3);
}

#[test]
fn a_flood_of_output_is_bounded_on_disk_and_changes_no_verdict() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::FloodOutput(100)));
    let record = rig.kregress(&["run", "t"]).exits(0).record();
    assert_eq!(record.verdicts().matches(" pass").count(), 3);
    assert!(size(&record) < 70 << 20, "{} bytes", size(&record));
    assert!(std::fs::metadata(record.dir.join("junit.xml")).expect("junit").len() < 1 << 20);
}

#[test]
fn a_flood_of_samples_or_notes_is_cut_off_and_no_pass() {
    for behaviour in [Behaviour::FloodSamples(20_000), Behaviour::FloodNotes(20_000)] {
        let (_rig, record, verdicts) = run(behaviour.clone(), 3);
        let lines: Vec<_> = verdicts.lines().collect();
        assert!(lines[1].starts_with("1 t/middle error: protocol: "), "{behaviour:?}: {verdicts}");
        assert!(lines[2].ends_with(" t/last pass"), "{behaviour:?}: {verdicts}");
        assert!(size(&record) < 40 << 20, "{behaviour:?}: {} bytes", size(&record));
    }
}

#[test]
fn hostile_text_of_a_guest_is_never_shown_raw() {
    let rig = Rig::with(&FakeKernel::new().test("t/middle", Behaviour::HostileText));
    // What is looked at for every command is looked at here, too: no escape
    // sequence, no workflow command, neither on the streams nor in the JUnit.
    let seen = rig.kregress(&["run", "t"]).exits(1);
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 1 boot
      pass    t/first
      FAIL    t/middle
      pass    t/last

    FAIL t/middle
      assertion on fake
      \x9b31m
      : :error file=x::not yours
      : :set-env name=PATH::/tmp
      # #[group]x
      ]] ></failure></testcase><!-- \u{202e}desrever\u{200b} &amp; &#0; \x00
      \u{fffe} \x85 ../../etc/passwd $(id) `id`
      log:    [DIR]/project/results/[RUN]/boots/1/console.log
      repeat: kregress run t/middle --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    note: fake: TCG as asked for
    2 passed, 1 failed
    3 tests, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
    let record = seen.record();
    for format in ["human", "junit"] {
        let report = rig.kregress(&["report", "--format", format]).exits(0);
        check_harmless(format, &report.stdout);
    }
    let json = rig.kregress(&["report", "--format", "json"]).exits(0);
    assert_eq!(Record::of(&record.dir, &json.stdout).verdicts(), record.verdicts());
    let events = rig.kregress(&["run", "t", "--message-format", "json"]).exits(1);
    check_harmless("events", &events.stdout);
}
