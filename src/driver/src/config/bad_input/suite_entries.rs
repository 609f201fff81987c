//! Contradictions in suites.

use insta::assert_snapshot;

use super::{suite, test};

#[test]
fn an_unknown_workload_names_its_neighbour() {
    assert_snapshot!(test("workload: netns/drian"), @r"
    suites/net.yaml:6:15: unknown workload `netns/drian`
    hint: did you mean `netns/drain`? known workloads: `netns/churn`, `netns/drain`, `tcp-zerocopy/receive`, `msg-zerocopy/send`
    ");
}

#[test]
fn an_unknown_parameter_names_its_neighbour() {
    assert_snapshot!(test("workload: netns/drain\nparams: {namespace: 1}"), @r"
    suites/net.yaml:7:14: unknown parameter `namespace` of workload `netns/drain`
    hint: did you mean `namespaces`? known parameters: `namespaces`, `rounds`, `completion`
    ");
    assert_snapshot!(test("workload: netns/drain\nmatrix:\n  round: [1, 2]"), @r"
    suites/net.yaml:8:7: unknown parameter `round` of workload `netns/drain`
    hint: did you mean `rounds`? known parameters: `namespaces`, `rounds`, `completion`
    ");
}

#[test]
fn a_parameter_out_of_range_says_the_range() {
    assert_snapshot!(
        test("workload: netns/drain\nparams: {namespaces: 0}"),
        @"suites/net.yaml:7:26: parameter `namespaces` of workload `netns/drain` cannot be `0`: a whole number from 1 to 400 is expected"
    );
    assert_snapshot!(
        test("workload: netns/drain\nmatrix:\n  namespaces: [1, 401]"),
        @"suites/net.yaml:8:23: parameter `namespaces` of workload `netns/drain` cannot be `401`: a whole number from 1 to 400 is expected"
    );
    assert_snapshot!(
        test("workload: netns/drain\nparams: {namespaces: 99999999999999999999}"),
        @"suites/net.yaml:7:26: parameter `namespaces` of workload `netns/drain` cannot be `99999999999999999999`: a whole number from 1 to 400 is expected"
    );
}

#[test]
fn a_parameter_of_the_wrong_type_says_what_is_expected() {
    assert_snapshot!(
        test("workload: netns/drain\nparams: {namespaces: many}"),
        @"suites/net.yaml:7:26: parameter `namespaces` of workload `netns/drain` cannot be `many`: a whole number from 1 to 400 is expected"
    );
    assert_snapshot!(
        test("workload: netns/drain\nparams: {rounds: 1.5}"),
        @"suites/net.yaml:7:22: parameter `rounds` of workload `netns/drain` cannot be `1.5`: a whole number from 1 to 1000000 is expected"
    );
    assert_snapshot!(test("workload: netns/drain\nparams: {completion: tracepoint}"), @r"
    suites/net.yaml:7:26: parameter `completion` of workload `netns/drain` cannot be `tracepoint`: one word of a choice is expected
    hint: did you mean `tracepoints`? known words: `auto`, `tracepoints`, `ucount`
    ");
}

#[test]
fn a_parameter_is_fixed_or_varied_not_both() {
    assert_snapshot!(test("workload: netns/drain\nparams: {rounds: 1}\nmatrix: {rounds: [1, 2]}"), @r"
    suites/net.yaml:8:14: parameter `rounds` is in `matrix` and in `params` (line 7)
    hint: keep one of the two
    ");
}

#[test]
fn a_matrix_that_makes_a_test_twice_names_both_lines() {
    assert_snapshot!(
        test("workload: netns/drain\nmatrix:\n  namespaces:\n    - 10\n    - 50\n    - 10"),
        @"suites/net.yaml:11:11: the matrix makes test `drain[namespaces=10]` twice: `namespaces` has this value on line 9 already"
    );
}

#[test]
fn a_number_written_in_two_ways_is_the_same_number() {
    assert_snapshot!(
        test("workload: netns/drain\nmatrix: {namespaces: [1, 01]}"),
        @"suites/net.yaml:7:30: the matrix makes test `drain[namespaces=1]` twice: `namespaces` has this value on line 7 already"
    );
}

#[test]
fn an_empty_list_of_values_is_refused() {
    assert_snapshot!(test("workload: netns/drain\nmatrix: {rounds: []}"), @r"
    suites/net.yaml:7:14: `tests.drain.matrix.rounds` is empty
    hint: list the values, like this: `[1, 10]`
    ");
}

#[test]
fn a_matrix_without_end_is_refused() {
    let values: Vec<_> = (1..=100).collect();
    let text = format!("workload: netns/drain\nmatrix:\n  namespaces: {values:?}\n  rounds: {values:?}");
    assert_snapshot!(test(&text), @r"
    suites/net.yaml:7:5: the matrix makes 10000 tests, the limit is 1000
    hint: fix a parameter in `params`, or list fewer values
    ");
}

#[test]
fn timeouts_need_a_unit() {
    assert_snapshot!(suite("version: 1\nsummary: x\ntests:\n  a: {workload: netns/drain, timeout: 30}\n"), @r"
    suites/net.yaml:4:39: `tests.a.timeout`: `30` is no timeout
    hint: whole numbers with `ms`, `s`, `m` or `h`, up to `24h`: `30s`, `500ms`, `1m30s`
    ");
    assert_snapshot!(suite("version: 1\nsummary: x\ntests:\n  a: {workload: netns/drain, timeout: 0s}\n"), @r"
    suites/net.yaml:4:39: `tests.a.timeout`: `0s` is no timeout
    hint: whole numbers with `ms`, `s`, `m` or `h`, up to `24h`: `30s`, `500ms`, `1m30s`
    ");
}

#[test]
fn an_unknown_metric_names_its_neighbour() {
    assert_snapshot!(test("workload: netns/drain\nmetrics: [{name: draintime}]"), @r"
    suites/net.yaml:7:22: unknown metric `draintime` of workload `netns/drain`
    hint: did you mean `drain_time`? known metrics: `create_time`, `drain_time`, `rounds`
    ");
}

#[test]
fn a_metric_listed_twice_names_both_lines() {
    assert_snapshot!(
        test("workload: netns/drain\nmetrics:\n  - name: rounds\n  - name: rounds"),
        @"suites/net.yaml:9:15: metric `rounds` is listed twice, first on line 8"
    );
}

#[test]
fn a_metric_must_agree_with_its_workload() {
    assert_snapshot!(test("workload: netns/drain\nmetrics: [{name: drain_time, unit: \"1\"}]"), @r"
    suites/net.yaml:7:40: `unit` of metric `drain_time` is `1` here, but workload `netns/drain` reports it as `ns`
    hint: write `unit: ns` or leave it out
    ");
    assert_snapshot!(test("workload: netns/drain\nmetrics: [{name: drain_time, better: higher}]"), @r"
    suites/net.yaml:7:42: `better` of metric `drain_time` is `higher` here, but workload `netns/drain` reports it as `lower`
    hint: write `better: lower` or leave it out
    ");
    assert_snapshot!(test("workload: netns/drain\nmetrics: [{name: rounds, kind: time}]"), @r"
    suites/net.yaml:7:36: `kind` of metric `rounds` is `time` here, but workload `netns/drain` reports it as `count`
    hint: write `kind: count` or leave it out
    ");
}

#[test]
fn an_unknown_unit_lists_the_units() {
    assert_snapshot!(test("workload: netns/drain\nmetrics: [{name: drain_time, unit: sec}]"), @r"
    suites/net.yaml:7:40: unknown word `sec` for `tests.drain.metrics[0].unit`
    hint: known words: `ns`, `1`, `B`, `1/s`, `B/s`, `%`
    ");
}

#[test]
fn a_suite_without_tests_is_refused() {
    assert_snapshot!(suite("version: 1\nsummary: x\ntests: {}\n"), @r"
    suites/net.yaml:3:1: `tests` is empty
    hint: name at least one test
    ");
}

#[test]
fn a_summary_is_one_line_of_text() {
    assert_snapshot!(
        suite("version: 1\nsummary: \"a\\eb\"\ntests: {}\n"),
        @r"suites/net.yaml:2:10: `summary`: `a\u{1b}b` is no summary: one line of plain text is expected"
    );
    assert_snapshot!(
        suite("version: 1\nsummary: \"\"\ntests: {}\n"),
        @"suites/net.yaml:2:10: `summary`: `` is no summary: one line of plain text is expected"
    );
}

#[test]
fn a_test_must_be_nameable_on_the_command_line() {
    assert_snapshot!(
        suite("version: 1\nsummary: x\ntests:\n  \"drain[1]\": {workload: netns/drain, timeout: 1s}\n"),
        @r"
        suites/net.yaml:4:3: `drain[1]` cannot name a test
        hint: a name is made of letters, digits, `-`, `_` and `.`, begins with a letter or digit and has 64 characters at most
        "
    );
}

#[test]
fn paths_are_places_of_a_kernel_tree() {
    let paths = |list: &str| {
        suite(&format!(
            "version: 1\nsummary: x\npaths: {list}\ntests:\n  a: {{workload: netns/drain, timeout: 1s}}\n"
        ))
    };
    assert_snapshot!(
        paths("[net, ../linux]"),
        @"suites/net.yaml:3:14: `paths[1]`: `../linux` is no place in a kernel tree: one like `net/core` is expected, without `..`"
    );
    for bad in ["/net", "net//core", "net/../mm", "./net", "net/core//", "\"\"", "/", "\"a\\eb\""] {
        let text = paths(&format!("[{bad}]"));
        assert!(text.contains(" is no place in a kernel tree: "), "{bad}: {text}");
    }
    assert_snapshot!(paths("[]"), @r"
    suites/net.yaml:3:1: `paths` is empty
    hint: name what the suite is about, or leave it out
    ");
    assert_snapshot!(
        paths("[net/core, net, net/core/]"),
        @"suites/net.yaml:3:24: path `net/core/` is listed twice, first on line 3"
    );
    assert_snapshot!(paths("net"), @r#"suites/net.yaml:3:8: `paths`: invalid type: string "net", expected a list"#);
}
