//! Programs as tests: packed, judged by exit code and by KTAP, shown with their cases.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::record::list;
use crate::rig::Rig;

const SUITE: &str = "\
version: 1
summary: a program
tests:
  cases:
    exec: {command: [./cases.sh, -v], files: [cat], result: ktap}
    timeout: 60s
  code:
    exec: {command: [./cases.sh]}
    timeout: 60s
";

/// Runs both tests with programs that behave so.
fn rig(cases: Behaviour, code: Behaviour) -> Rig {
    let kernel = FakeKernel::new().test("p/cases", cases).test("p/code", code);
    let rig = Rig::with(&kernel).host_programs();
    rig.write("project/suites/p.yaml", SUITE);
    rig.write("project/cases.sh", "#!/bin/sh\necho hello\n");
    let script = rig.path("project/cases.sh");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).expect("executable");
    rig
}

fn prints(text: &str, code: i32) -> Behaviour {
    Behaviour::Prints { text: text.to_owned(), code }
}

const TAP: &str = "\
TAP version 13
1..4
ok 1 bind # time=12ms
# expected 1
not ok 2 listen
ok 3 # SKIP fips
not ok 4 later # TODO
";

#[test]
fn each_case_that_a_program_reports_is_kept_and_shown() {
    let rig = rig(prints(TAP, 1), prints("", 0));
    let seen = rig.kregress(&["run", "p"]).exits(1);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts(), @"
    1 p/cases fail: assertion: 1 of 4 subtests failed: listen
    1 p/code pass
    ");
    let result = record.result("p/cases");
    let told: Vec<String> = list(&result["subtests"]).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    {"elapsed_ns":12000000,"path":["bind"],"verdict":"pass"}
    {"diagnostics":"expected 1\n","path":["listen"],"verdict":"fail"}
    {"path":["fips"],"reason":"fips","verdict":"skip"}
    {"path":["later"],"verdict":"todo"}
    "#);
    insta::assert_snapshot!(seen.stdout(), @r"
    fake
      6.12.0-fake, tcg, qemu, 2 CPUs, 512 MiB, 1 boot
      FAIL    p/cases
              4 subtests: 1 passed, 1 failed, 1 skipped, 1 xfail
              fail  listen
      pass    p/code

    FAIL p/cases
      assertion on fake
      1 of 4 subtests failed: listen
      the program exited with code 1
      log:    [DIR]/project/results/[RUN]/boots/1/console.log
      repeat: kregress run p/cases --kernel fake --boots 1 --seed 1 \
                --machine accel=tcg,backend=qemu,cpus=2,memory=512M

    note: fake: TCG as asked for
    1 passed, 1 failed
    2 tests, in [TIME]
    results: [DIR]/project/results/[RUN]
    junit:   [DIR]/project/results/[RUN]/junit.xml
    ");
    let junit = record.text("junit.xml");
    assert!(junit.contains(r#"name="cases / bind" time="0.012""#), "{junit}");
    assert!(junit.contains(r#"name="cases / listen""#), "{junit}");
    let plan = record.text("boots/1/plan.json");
    assert!(plan.contains("/project/cases.sh"), "{plan}");
}

#[test]
fn exit_codes_are_verdicts() {
    let verdict = |(code, exit)| {
        let rig = rig(prints("1..1\nok 1 a\n", 0), prints("", code));
        rig.kregress(&["run", "p/code"]).exits(exit).record().verdicts()
    };
    insta::assert_snapshot!([(0, 0), (4, 4), (3, 1)].map(verdict).join("\n"), @"
    1 p/code pass
    1 p/code skip: the program exited with code 4
    1 p/code fail: assertion: the program exited with code 3
    ");
}

#[test]
fn what_a_program_reports_is_never_a_pass_by_default() {
    let verdict = |(behaviour, exit)| {
        let rig = rig(behaviour, prints("", 0));
        rig.kregress(&["run", "p/cases"]).exits(exit).record().verdicts()
    };
    let all = [
        (prints("1..2\nok 1 a\nok 2 b\n", 0), 0),
        (prints("1..2\nok 1 a\nok 2 b\n", 2), 1),
        (prints("1..2\nok 1 a\n", 0), 3),
        (prints("all is well\n", 0), 3),
        (prints("1..0 # SKIP no device\n", 4), 4),
        (prints("TAP version 13\nok 1 a # SKIP no\n1..1\n", 0), 4),
        (Behaviour::PrintsCutOff("TAP version 13\nok 1 a\n".to_owned()), 3),
    ];
    insta::assert_snapshot!(all.map(verdict).join("\n"), @"
    1 p/cases pass
    1 p/cases fail: assertion: the program exited with code 2
    1 p/cases error: workload: 1 of 2 subtests in error: 2
    1 p/cases error: workload: the program reported no subtest
    1 p/cases skip: no device
    1 p/cases skip: all subtests were skipped: no
    1 p/cases error: workload: 1 of 1 subtests in error: (output)
    ");
}

#[test]
fn a_program_that_is_not_there_is_told_before_anything_is_booted() {
    let rig = rig(prints("", 0), prints("", 0));
    fs::remove_file(rig.path("project/cases.sh")).expect("removed");
    let seen = rig.kregress(&["run", "p"]).exits(2);
    insta::assert_snapshot!(seen.stderr(), @"error: test `p/cases`: cannot read `[DIR]/project/cases.sh`: No such file or directory (os error 2)");
    assert!(rig.runs().is_empty());
}
