//! What the kernel's tests print, and what is read of it. Written by the formats of
//! `kselftest/runner.sh`, `kselftest.h`, `kselftest_harness.h`, `ktap_helpers.sh`,
//! `net/lib/py/ksft.py`, `net/mptcp/mptcp_lib.sh` and `lib/kunit/test.c`.

use super::{Dialect, Ending, Parser, Report};

fn read_as(dialect: Dialect, ending: Ending, text: &str) -> Report {
    let mut parser = Parser::new(dialect);
    parser.push(text.as_bytes());
    parser.finish(ending)
}

fn told(report: &Report) -> String {
    let mut text = String::new();
    if let Some(reason) = &report.skipped {
        text.push_str(&format!("all skipped: {reason}\n"));
    }
    for subtest in &report.subtests {
        text.push_str(&format!("{} {}", subtest.verdict.word(), subtest.name()));
        if !subtest.reason.is_empty() {
            text.push_str(&format!(": {}", subtest.reason));
        }
        if let Some(elapsed) = subtest.elapsed {
            text.push_str(&format!(" [{elapsed:?}]"));
        }
        text.push('\n');
        text.extend(subtest.diagnostics.lines().map(|line| format!("  | {line}\n")));
    }
    text
}

fn output(text: &str) -> String {
    told(&read_as(Dialect::Output, Ending::Complete, text))
}

fn kernel_log(text: &str) -> String {
    told(&read_as(Dialect::KernelLog, Ending::Complete, text))
}

#[test]
fn the_example_of_the_documentation() {
    let text = "\
KTAP version 1
1..1
  KTAP version 1
  1..3
    KTAP version 1
    1..1
    # test_1: initializing test_1
    ok 1 test_1
  ok 1 example_test_1
    KTAP version 1
    1..2
    ok 1 test_1 # SKIP test_1 skipped
    ok 2 test_2
  ok 2 example_test_2
    KTAP version 1
    1..3
    ok 1 test_1
    # test_2: FAIL
    not ok 2 test_2
    ok 3 test_3 # SKIP test_3 skipped
  not ok 3 example_test_3
not ok 1 main_test
";
    insta::assert_snapshot!(output(text), @"
    pass main_test / example_test_1 / test_1
      | test_1: initializing test_1
    skip main_test / example_test_2 / test_1: test_1 skipped
    pass main_test / example_test_2 / test_2
    pass main_test / example_test_3 / test_1
    fail main_test / example_test_3 / test_2
      | test_2: FAIL
    skip main_test / example_test_3 / test_3: test_3 skipped
    ");
}

#[test]
fn the_runner_of_kselftest_with_nested_programs() {
    let text = "\
TAP version 13
1..5
# timeout set to 45
# selftests: net: reuseport_bpf
# ---- IPv4 UDP ----
# Testing EBPF mod 10...
ok 1 selftests: net: reuseport_bpf
# selftests: net: tls
# TAP version 13
# 1..3
# # Starting 3 tests from 1 test cases.
# #  RUN           tls.12.sendfile ...
# #            OK  tls.12.sendfile
# ok 1 tls.12.sendfile
# # tls.c:123:recv:Expected -1 (-1) != 0 (0)
# #          FAIL  tls.12.recv
# not ok 2 tls.12.recv
# ok 3 # SKIP tls.12.no_fips
# # FAILED: 2 / 3 tests passed.
# # Totals: pass:1 fail:1 xfail:0 xpass:0 skip:1 error:0
not ok 2 selftests: net: tls # exit=1
# selftests: net: slow.sh
#
not ok 3 selftests: net: slow.sh # TIMEOUT 45 seconds
# selftests: net: nope.sh
# 1..0 # SKIP Need root privileges
ok 4 selftests: net: nope.sh # SKIP
# selftests: net: mptcp: mptcp_connect.sh
# INFO: set ns3-0-x dev
#
# TAP version 13
# 1..2
# ok 1 - mptcp_connect: ns1 MPTCP -> ns1 (10.0.1.1:10000) MPTCP # time=74ms
# ok 2 - mptcp_connect: ns1 MPTCP -> ns1 TCP # SKIP time=1ms
ok 5 selftests: net: mptcp: mptcp_connect.sh
";
    insta::assert_snapshot!(output(text), @"
    pass selftests: net: reuseport_bpf
      | timeout set to 45
      | selftests: net: reuseport_bpf
      | ---- IPv4 UDP ----
      | Testing EBPF mod 10...
    pass selftests: net: tls / tls.12.sendfile
      | selftests: net: tls
      | Starting 3 tests from 1 test cases.
      | RUN           tls.12.sendfile ...
      | OK  tls.12.sendfile
    fail selftests: net: tls / tls.12.recv
      | tls.c:123:recv:Expected -1 (-1) != 0 (0)
      | FAIL  tls.12.recv
    skip selftests: net: tls / tls.12.no_fips: tls.12.no_fips
    fail selftests: net: slow.sh: TIMEOUT 45 seconds
      | selftests: net: slow.sh
    skip selftests: net: nope.sh: Need root privileges
      | selftests: net: nope.sh
    pass selftests: net: mptcp: mptcp_connect.sh / mptcp_connect: ns1 MPTCP -> ns1 (10.0.1.1:10000) MPTCP [74ms]
      | selftests: net: mptcp: mptcp_connect.sh
      | INFO: set ns3-0-x dev
    skip selftests: net: mptcp: mptcp_connect.sh / mptcp_connect: ns1 MPTCP -> ns1 TCP [1ms]
    ");
}

#[test]
fn a_python_test_of_the_network_stack() {
    let text = "\
KTAP version 1
1..3
ok 1 nl_netdev.empty_check
# At /root/./net/nl_netdev.py line 23:
# Check failed 1 != 2
not ok 2 nl_netdev.lo_check
ok 3 nl_netdev.page_pool_check # XFAIL no netdevsim
# Totals: pass:1 fail:1 xfail:1 xpass:0 skip:0 error:0
";
    insta::assert_snapshot!(output(text), @"
    pass nl_netdev.empty_check
    fail nl_netdev.lo_check
      | At /root/./net/nl_netdev.py line 23:
      | Check failed 1 != 2
    xfail nl_netdev.page_pool_check: no netdevsim
    ");
}

#[test]
fn kunit_in_the_kernel_log_among_other_lines() {
    let text = "\
[    0.901234] KTAP version 1\r
[    0.901300] 1..2\r
[    0.901400]     KTAP version 1\r
[    0.901500]     # Subtest: example\r
[    0.901510]     # module: kunit_example_test\r
[    0.901600]     1..3\r
[    0.901700] clocksource: tsc: mask: 0xffffffffffffffff\r
[    0.902000]     # example_simple_test: initializing\r
[    0.903000]     ok 1 example_simple_test\r
[    0.904000]         KTAP version 1\r
[    0.904100]         # Subtest: example_params_test\r
[    0.905000]         ok 1 example value 3\r
[    0.906000]         ok 2 example value 0 # SKIP unsupported param value\r
[    0.907000]     # example_params_test: pass:1 fail:0 skip:1 total:2\r
[    0.908000]     ok 2 example_params_test\r
[    0.909000]     # example_fail: EXPECTATION FAILED at lib/kunit/example.c:42\r
[    0.910000]     not ok 3 example_fail\r
[    0.911000] # example: pass:2 fail:1 skip:0 total:3\r
[    0.912000] not ok 1 example\r
<6>[    0.913000][    T1]     # Subtest: older
<6>[    0.913000][    T1]     1..1
<6>[    0.914000][    T1]     ok 1 - only
<6>[    0.915000][    T1] ok 2 - older
";
    insta::assert_snapshot!(kernel_log(text), @"
    pass example / example_simple_test
      | module: kunit_example_test
      | clocksource: tsc: mask: 0xffffffffffffffff
      | example_simple_test: initializing
    pass example / example_params_test / example value 3
    skip example / example_params_test / example value 0: unsupported param value
    fail example / example_fail
      | example_fail: EXPECTATION FAILED at lib/kunit/example.c:42
    pass older / only
    ");
}

#[test]
fn kunit_of_a_module_that_prints_no_version() {
    let text = "\
[   20.1]     # Subtest: resource
[   20.2]     1..1
[   20.3]     ok 1 - resource_test_union
[   20.4] ok 1 - resource
";
    insta::assert_snapshot!(kernel_log(text), @"pass resource / resource_test_union");
}

#[test]
fn lines_of_the_kernel_log_are_no_results_of_a_program() {
    let text = "TAP version 13\n1..1\n[    1.234567] not ok 1 theirs\n[    1.3] ok 2 theirs\nok 1 mine\n";
    insta::assert_snapshot!(output(text), @"
    pass mine
      | [    1.234567] not ok 1 theirs
      | [    1.3] ok 2 theirs
    ");
}

#[test]
fn tap_with_subtests_yaml_and_times() {
    let text = "\
TAP version 14
# Subtest: foo.tap
    ok 1 - this passed
    not ok 2 - this did not
      ---
      message: \"values differ\"
      duration_ms: 12.5
      ...
    1..2
not ok 1 - foo.tap (53ms)
ok 2 - bar 1.250s
ok - without a number
1..3
";
    insta::assert_snapshot!(output(text), @r#"
    pass foo.tap / this passed
    fail foo.tap / this did not [12.5ms]
      | message: "values differ"
      | duration_ms: 12.5
    pass bar [1.25s]
    pass without a number
    "#);
}

#[test]
fn a_plan_that_says_skip_skips_everything() {
    insta::assert_snapshot!(output("TAP version 13\n1..0 # SKIP no network device\n"), @"all skipped: no network device");
    insta::assert_snapshot!(output("1..0 # Skipped: not root\n"), @"all skipped: not root");
    insta::assert_snapshot!(output("TAP version 13\n1..0\n"), @"");
}

#[test]
fn numbers_that_do_not_add_up_are_errors() {
    let text = "1..6\nok 1 a\nok 3 c\nok 3 again\nnot ok 3 thrice\nok 8 h\n";
    insta::assert_snapshot!(output(text), @"
    pass a
    pass c
    error again: number 3 was reported before
    fail thrice
    error h: number 8 is beyond the plan of 6
    error 2: planned, and not reported
    error 4..7: not reported
    ");
    insta::assert_snapshot!(output("TAP version 13\nok 1 a\nok 2 b\n1..3\n"), @"
    pass a
    pass b
    error 3: planned, and not reported
    ");
    insta::assert_snapshot!(output("1..2\nok 1 a\n1..3\nok 2 b\nok 3 c\n"), @"
    pass a
    error (plan): a second plan of 3, the first was of 2
    pass b
    error c: number 3 is beyond the plan of 2
    ");
}

#[test]
fn results_in_another_order_are_all_there() {
    insta::assert_snapshot!(output("1..3\nok 2 b\nok 3 c\nok 1 a\n"), @"
    pass b
    pass c
    pass a
    ");
}

#[test]
fn giving_up_is_an_error_and_explains_what_is_missing() {
    insta::assert_snapshot!(output("TAP version 13\n1..4\nok 1 a\nBail out! no memory\n# Totals: pass:1\n"), @"
    pass a
    error Bail out!: no memory
    ");
    let nested = "TAP version 13\n1..2\n# Bail out! no device\nnot ok 1 a # exit=1\n";
    insta::assert_snapshot!(output(nested), @"
    error a / Bail out!: no device
    error 2: planned, and not reported
    ");
}

#[test]
fn an_output_that_was_cut_off_says_so_whatever_it_held() {
    let cut = |text: &str| told(&read_as(Dialect::Output, Ending::CutOff, text));
    insta::assert_snapshot!(cut("TAP version 13\nok 1 a\nok 2 b # SK"), @"
    pass a
    error (output): it was cut off
    ");
    insta::assert_snapshot!(cut("KTAP version 1\n1..1\n    # Subtest: inner\n    1..2\n    ok 1 a\n"), @"
    pass inner / a
    error inner / 2: planned, and not reported
    error inner: its own result was not reported
    error 1: planned, and not reported
    error (output): it was cut off
    ");
}

#[test]
fn a_test_that_contains_others_speaks_for_itself_where_they_do_not() {
    let text = "\
KTAP version 1
1..4
  KTAP version 1
  1..1
  ok 1 fine
not ok 1 outer # exit=1
  KTAP version 1
  1..1
  ok 1 fine
not ok 2 silent
  KTAP version 1
  1..1
  not ok 1 known
not ok 3 expected # XFAIL not yet
  KTAP version 1
  1..1
  not ok 1 hidden
ok 4 too good
";
    insta::assert_snapshot!(output(text), @"
    pass outer / fine
    fail outer: exit=1
    pass silent / fine
    fail silent: it failed, and nothing in it did
    xfail expected / known
    xfail expected: not yet
    fail too good / hidden
    ");
}

#[test]
fn what_nobody_announced_is_no_result() {
    insta::assert_snapshot!(output("ok 1 looks like it\nnot ok 2 as well\n"), @"");
    insta::assert_snapshot!(output("1..1\n# ok 1 is what the program said\n    ok 2 indented\nok 1 a\n"), @"
    pass a
      | ok 2 indented
      | ok 1 is what the program said
    ");
}

#[test]
fn programs_after_one_another_are_read_one_after_the_other() {
    let text = "TAP version 13\n1..1\nok 1 a\nTAP version 13\n1..1\nok 1 a\n1..1\nok 1 b\n";
    insta::assert_snapshot!(output(text), @"
    pass a
    pass a (2)
    pass b
    ");
}

#[test]
fn colours_crlf_and_missing_line_ends_change_nothing() {
    insta::assert_snapshot!(output("TAP version 13\r\n1..2\r\n\x1b[32mok 1 a\x1b[0m\r\nnot ok 2 b"), @"
    pass a
    fail b
    ");
}

#[test]
fn a_result_whose_end_is_missing_is_an_error() {
    let text = format!("1..1\nok 1 {} # SKIP why\n", "x".repeat(5000));
    assert!(output(&text).contains("its line is too long to know what it says"), "{}", output(&text));
}
