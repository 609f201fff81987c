//! KUnit, read from the kernel log, and selftests where they cannot be run.

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::record::list;
use crate::rig::Rig;

/// As 6.12 logs it, with a message of another task in between.
const KTAP: &str = "\
KTAP version 1
1..1
    KTAP version 1
    # Subtest: dev-addr-list-test
    # module: dev_addr_lists_test
    1..3
    ok 1 dev_addr_test_basic
veth0: entered promiscuous mode
    # dev_addr_test_sync_one: EXPECTATION FAILED at net/core/dev_addr_lists_test.c:80
    not ok 2 dev_addr_test_sync_one
    ok 3 dev_addr_test_add_del # SKIP not here
# dev-addr-list-test: pass:1 fail:1 skip:1 total:3
not ok 1 dev-addr-list-test
";

fn rig(behaviour: Behaviour) -> Rig {
    let kernel = FakeKernel::new().test("u/net*", behaviour);
    let rig = Rig::with(&kernel);
    rig.write(
        "project/suites/u.yaml",
        "version: 1\nsummary: a module\ntests:\n  net:\n    kunit: {modules: [dev_addr_lists_test]}\n    timeout: 60s\n",
    );
    rig
}

#[test]
fn each_case_that_the_kernel_logs_is_kept_and_shown() {
    let rig = rig(Behaviour::Logs(KTAP.to_owned()));
    let seen = rig.kregress(&["run", "u"]).exits(1);
    let record = seen.record();
    insta::assert_snapshot!(record.verdicts(), @"1 u/net[module=dev_addr_lists_test] fail: assertion: 1 of 3 subtests failed: dev-addr-list-test / dev_addr_test_sync_one");
    let result = record.result("u/net[module=dev_addr_lists_test]");
    let told: Vec<String> = list(&result["subtests"]).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    {"diagnostics":"module: dev_addr_lists_test\n","path":["dev-addr-list-test","dev_addr_test_basic"],"verdict":"pass"}
    {"diagnostics":"veth0: entered promiscuous mode\ndev_addr_test_sync_one: EXPECTATION FAILED at net/core/dev_addr_lists_test.c:80\n","path":["dev-addr-list-test","dev_addr_test_sync_one"],"verdict":"fail"}
    {"path":["dev-addr-list-test","dev_addr_test_add_del"],"reason":"not here","verdict":"skip"}
    "#);
    let junit = record.text("junit.xml");
    assert!(junit.contains("dev-addr-list-test / dev_addr_test_basic"), "{junit}");
}

#[test]
fn what_the_kernel_logs_is_never_a_pass_by_default() {
    let verdict = |(text, exit): (&str, i32)| {
        let rig = rig(Behaviour::Logs(text.to_owned()));
        let seen = rig.kregress(&["run", "u"]).exits(exit);
        seen.record().verdicts()
    };
    let all = [
        ("KTAP version 1\n1..2\nok 1 a\nok 2 b\n", 0),
        ("KTAP version 1\n1..2\nok 1 a\n", 3),
        ("kunit: disabled\n", 3),
        ("KTAP version 1\n1..1\nok 1 a # SKIP no\n", 4),
    ];
    insta::assert_snapshot!(all.map(verdict).join("\n"), @"
    1 u/net[module=dev_addr_lists_test] pass
    1 u/net[module=dev_addr_lists_test] error: workload: 1 of 2 subtests in error: 2
    1 u/net[module=dev_addr_lists_test] error: workload: the kernel log has no KTAP
    1 u/net[module=dev_addr_lists_test] skip: all subtests were skipped: no
    ");
}

#[test]
fn a_panic_among_the_cases_keeps_those_before_it() {
    let text = "KTAP version 1\n1..2\nok 1 a\n";
    let rig = rig(Behaviour::LogsAndPanics(text.to_owned()));
    let seen = rig.kregress(&["run", "u"]).exits(1);
    let record = seen.record();
    let result = record.result("u/net[module=dev_addr_lists_test]");
    let told: Vec<String> = list(&result["subtests"]).iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    {"path":["a"],"verdict":"pass"}
    {"path":["2"],"reason":"planned, and not reported","verdict":"error"}
    {"path":["(output)"],"reason":"it was cut off","verdict":"error"}
    "#);
}

#[test]
fn selftests_ask_for_the_host_s_userland_before_anything_is_booted() {
    let rig = Rig::with(&FakeKernel::new());
    let seen = rig.kregress(&["run", "selftests"]).exits(2);
    insta::assert_snapshot!(seen.stderr(), @"
    error: test `selftests/nsfs[program=owner]`: the kernel's selftests need a shell, iproute2 and other programs, which this guest does not have
    hint: use `--machine backend=virtme-ng` with a kernel for it, such as `--kernel distro-vng`
    ");
    assert!(rig.runs().is_empty());
}

#[test]
fn who_asks_for_every_test_asks_for_none_that_this_guest_cannot_have() {
    let kernel = FakeKernel::new();
    let skipped = |rig: &Rig, pattern: &str, machine: &str| {
        let record = rig.kregress(&["run", "t", pattern, "--machine", machine]).exits(0).record();
        let verdicts = record.verdicts();
        assert_eq!(verdicts.lines().filter(|line| line.ends_with(" pass")).count(), 3, "{verdicts}");
        let skipped = verdicts.lines().filter(|line| line.contains(" skip: ")).map(str::to_owned);
        skipped.collect::<Vec<_>>()
    };
    let on_qemu = skipped(&Rig::with(&kernel), "selftest*", "backend=qemu");
    let reasons = on_qemu.iter().filter(|line| line.contains("which this guest does not have"));
    assert_eq!(reasons.count(), 10, "{on_qemu:?}");
    let on_vng = skipped(&Rig::with(&kernel).vng("1.42"), "kunit*", "backend=virtme-ng");
    let modules = on_vng.iter().filter(|line| line.contains("travel with the guest image only"));
    assert_eq!(modules.count(), 3, "{on_vng:?}");
    // What is named is wanted.
    let rig = Rig::with(&kernel);
    let seen = rig.kregress(&["run", "t", "selftests"]).exits(2);
    assert!(seen.stderr().contains("hint: use `--machine backend=virtme-ng`"), "{}", seen.stderr());
}
