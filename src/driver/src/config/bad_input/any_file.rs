//! Wrong keys, wrong types, wrong YAML: in every file of ours.

use insta::assert_snapshot;

use super::{config, kernel, suite, test};

#[test]
fn an_unknown_key_of_the_project_names_its_neighbour() {
    assert_snapshot!(config("version: 1\nkernel:\n  a: {git: x}\n"), @r"
    kregress.yaml:2:1: unknown key `kernel`
    hint: did you mean `kernels`? known keys: `version`, `machine`, `default-kernel`, `kernels`, `allow`
    ");
}

#[test]
fn an_unknown_key_of_the_machine_names_its_neighbour() {
    assert_snapshot!(config("version: 1\nmachine: {acel: tcg}\nkernels: {}\n"), @r"
    kregress.yaml:2:11: unknown key `acel` in `machine`
    hint: did you mean `accel`? known keys: `accel`, `backend`, `cpus`, `memory`, `rootfs`, `root`
    ");
}

#[test]
fn an_unknown_key_of_a_kernel_names_its_neighbour() {
    assert_snapshot!(config("version: 1\nkernels:\n  distro:\n    tarbal: /usr/src/linux.tar.xz\n"), @r"
    kregress.yaml:4:5: unknown key `tarbal` in `kernels.distro`
    hint: did you mean `tarball`? known keys: `git`, `revision`, `directory`, `tarball`, `image`, `modules`, `config`, `deb`, `fragments`, `base-config`, `cmdline`
    ");
}

#[test]
fn an_unknown_key_of_a_suite_names_its_neighbour() {
    assert_snapshot!(suite("version: 1\nsumary: x\ntests: {}\n"), @r"
    suites/net.yaml:2:1: unknown key `sumary`
    hint: did you mean `summary`? known keys: `version`, `summary`, `paths`, `tests`
    ");
}

#[test]
fn an_unknown_key_of_a_test_names_its_neighbour() {
    assert_snapshot!(test("workload: netns/drain\nparam: {rounds: 1}"), @r"
    suites/net.yaml:7:5: unknown key `param` in `tests.drain`
    hint: did you mean `params`? known keys: `workload`, `exec`, `selftests`, `kunit`, `params`, `matrix`, `timeout`, `metrics`
    ");
}

#[test]
fn an_unknown_key_of_a_metric_names_its_neighbour() {
    assert_snapshot!(test("workload: netns/drain\nmetrics:\n  - name: drain_time\n    units: ns"), @r"
    suites/net.yaml:9:9: unknown key `units` in `tests.drain.metrics[0]`
    hint: did you mean `unit`? known keys: `name`, `unit`, `better`, `kind`
    ");
}

#[test]
fn a_key_that_is_like_nothing_known_lists_what_is() {
    assert_snapshot!(test("workload: netns/drain\nbanana: 1"), @r"
    suites/net.yaml:7:5: unknown key `banana` in `tests.drain`
    hint: known keys: `workload`, `exec`, `selftests`, `kunit`, `params`, `matrix`, `timeout`, `metrics`
    ");
}

#[test]
fn a_merge_key_is_an_unknown_key() {
    assert_snapshot!(kernel("<<: {git: x}"), @r"
    kregress.yaml:4:5: unknown key `<<` in `kernels.mine`
    hint: known keys: `git`, `revision`, `directory`, `tarball`, `image`, `modules`, `config`, `deb`, `fragments`, `base-config`, `cmdline`
    ");
}

#[test]
fn a_key_full_of_quotes_and_escapes_is_shown_harmlessly() {
    assert_snapshot!(kernel("\"a`, expected `b\\e[2J\": 1"), @r"
    kregress.yaml:4:5: unknown key `a`, expected `b\u{1b}[2J` in `kernels.mine`
    hint: known keys: `git`, `revision`, `directory`, `tarball`, `image`, `modules`, `config`, `deb`, `fragments`, `base-config`, `cmdline`
    ");
}

#[test]
fn a_key_given_twice_names_both_lines() {
    assert_snapshot!(
        kernel("git: a\nrevision: v6.1\ngit: b"),
        @"kregress.yaml:6:5: key `git` in `kernels.mine` is given twice, first on line 4"
    );
}

#[test]
fn a_kernel_given_twice_names_both_lines() {
    assert_snapshot!(
        config("version: 1\nkernels:\n  a: {git: x}\n  b: {git: x}\n\n  a: {git: y}\n"),
        @"kregress.yaml:6:3: key `a` in `kernels` is given twice, first on line 3"
    );
}

#[test]
fn a_test_given_twice_names_both_lines() {
    assert_snapshot!(
        suite("version: 1\nsummary: x\ntests:\n  drain:\n    workload: netns/drain\n    timeout: 5s\n  drain:\n    workload: netns/drain\n    timeout: 6s\n"),
        @"suites/net.yaml:7:3: key `drain` in `tests` is given twice, first on line 4"
    );
}

#[test]
fn a_section_given_twice_names_both_lines() {
    assert_snapshot!(
        config("version: 1\nkernels: {a: {git: x}}\nversion: 1\n"),
        @"kregress.yaml:3:1: key `version` is given twice, first on line 1"
    );
}

#[test]
fn a_missing_key_is_named_with_the_place_that_lacks_it() {
    assert_snapshot!(config("version: 1\n"), @r"
    kregress.yaml:1:1: missing key `kernels`
    hint: like this: `kernels: {linux: {git: ~/src/linux}}`
    ");
    assert_snapshot!(config("kernels: {}\n"), @r"
    kregress.yaml:1:1: missing key `version`
    hint: like this: `version: 1`
    ");
    assert_snapshot!(test("params: {rounds: 1}"), @r"
    suites/net.yaml:4:3: missing key `workload` in `tests.drain`
    hint: like this: `workload: netns/drain`
    ");
    assert_snapshot!(suite("version: 1\nsummary: x\ntests:\n  drain: {workload: netns/drain}\n"), @r"
    suites/net.yaml:4:10: missing key `timeout` in `tests.drain`
    hint: like this: `timeout: 30s`
    ");
    assert_snapshot!(test("workload: netns/drain\nmetrics: [{unit: ns}]"), @r"
    suites/net.yaml:7:15: missing key `name` in `tests.drain.metrics[0]`
    hint: like this: `name: drain_time`
    ");
}

#[test]
fn a_key_without_a_value_does_not_count_as_absent() {
    assert_snapshot!(kernel("git: ~/src/linux\nrevision:"), @r#"
    kregress.yaml:5:14: `kernels.mine.revision` has no value
    hint: give it a value or remove it; YAML takes a bare `~` for no value, quote it: `"~"`
    "#);
}

#[test]
fn a_bare_tilde_is_explained() {
    assert_snapshot!(kernel("directory: ~"), @r#"
    kregress.yaml:4:16: `kernels.mine.directory` has no value
    hint: give it a value or remove it; YAML takes a bare `~` for no value, quote it: `"~"`
    "#);
}

#[test]
fn a_file_of_a_later_version_is_not_searched_for_mistakes() {
    assert_snapshot!(config("version: 2\nkernel-groups: {}\n"), @r"
    kregress.yaml:1:10: version `2` of the format is not known
    hint: this kregress reads `version: 1`
    ");
    assert_snapshot!(suite("version: [1]\n"), @"suites/net.yaml:1:1: `version`: a number is expected");
}

#[test]
fn an_empty_file_says_what_it_lacks() {
    assert_snapshot!(config("# nothing\n"), @r"
    kregress.yaml:1:1: the file is empty
    hint: the least that it needs is `version: 1`
    ");
    assert_eq!(config(""), config("# nothing\n"));
}

#[test]
fn a_file_that_is_a_word_or_a_list_is_refused() {
    assert_snapshot!(
        config("hello\n"),
        @r#"kregress.yaml:1:1: invalid type: string "hello", expected a mapping with `version` and `kernels`"#
    );
    assert_snapshot!(
        suite("- a\n- b\n"),
        @"suites/net.yaml:1:1: invalid type: list, expected a mapping with `version`, `summary` and `tests`"
    );
}

#[test]
fn broken_yaml_names_its_place() {
    assert_snapshot!(
        config("version: 1\nkernels:\n  a: {git: x\n"),
        @"kregress.yaml:4:1: not YAML: did not find expected ',' or '}'"
    );
    assert_snapshot!(config("version: 1\nkernels:\n  a: b: c\n"), @r"
    kregress.yaml:3:7: not YAML: mapping values are not allowed in this context
    hint: quote a value that holds a colon and a space, and check the indentation
    ");
    assert_snapshot!(config("version: 1\nkernels:\n\ta: {git: x}\n"), @r"
    kregress.yaml:3:1: not YAML: found character that cannot start any token
    hint: indent with spaces; YAML takes no tabs
    ");
}

#[test]
fn an_unquoted_percent_sign_is_explained() {
    assert_snapshot!(test("workload: netns/drain\nmetrics:\n  - name: mapped_share\n    unit: %"), @r#"
    suites/net.yaml:9:15: not YAML: found character that cannot start any token
    hint: quote a value that begins with one of `@`, `%` and the backtick, like this: `"%"`
    "#);
}

#[test]
fn a_second_document_is_refused() {
    assert_snapshot!(config("version: 1\nkernels: {a: {git: x}}\n---\nversion: 1\n"), @r"
    kregress.yaml:3:1: not YAML: deserializing from YAML containing more than one document is not supported
    hint: remove the line `---`: one file is one document
    ");
}

#[test]
fn a_tag_is_refused() {
    assert_snapshot!(
        kernel("git: !tree x"),
        @"kregress.yaml:4:10: `kernels.mine.git`: invalid type: tag, expected a value without a tag"
    );
}

#[test]
fn a_raw_control_character_names_its_place() {
    assert_snapshot!(config("version: 1\nkernels:\n  \u{e4}: \u{1b}[2J\n"), @r#"
    kregress.yaml:3:6: not YAML: the character U+001B is not allowed
    hint: remove it, or write it as an escape in double quotes, like `"\e"`
    "#);
}

#[test]
fn a_hidden_end_of_line_names_its_place() {
    assert_snapshot!(config("version: 1 # a\u{2028}kernels: {}\n"), @r"
    kregress.yaml:1:15: not YAML: the character U+2028 would end a line for YAML, but not for your editor
    hint: remove it; lines end with a line feed
    ");
    assert_snapshot!(config("version: 1\rkernels: {}\n"), @r"
    kregress.yaml:1:11: not YAML: the character U+000D would end a line for YAML, but not for your editor
    hint: remove it; lines end with a line feed
    ");
}

#[test]
fn an_alias_to_nothing_is_refused() {
    assert_snapshot!(kernel("git: *linux"), @r"
    kregress.yaml:4:10: not YAML: unknown anchor
    hint: quote a value that begins with `*`
    ");
}

#[test]
fn aliases_that_multiply_are_stopped() {
    let mut text = String::from("version: 1\na0: &a0 [x, x]\n");
    for i in 1..40 {
        text.push_str(&format!("a{i}: &a{i} [*a{0}, *a{0}]\n", i - 1));
    }
    assert_snapshot!(config(&text), @"kregress.yaml:1:1: not YAML: repetition limit exceeded");
}

#[test]
fn nesting_without_end_is_stopped() {
    assert_snapshot!(config(&"[".repeat(10_000)), @"kregress.yaml:1:129: not YAML: recursion limit exceeded");
}

#[test]
fn a_list_where_a_word_is_due_is_refused() {
    assert_snapshot!(
        kernel("git: [a, b]"),
        @"kregress.yaml:4:10: `kernels.mine.git`: invalid type: list, expected one word or number"
    );
}

#[test]
fn a_word_where_a_list_is_due_is_refused() {
    assert_snapshot!(
        kernel("git: a\nfragments: base"),
        @r#"kregress.yaml:5:16: `kernels.mine.fragments`: invalid type: string "base", expected a list"#
    );
}

#[test]
fn a_word_where_a_mapping_is_due_is_refused() {
    assert_snapshot!(
        config("version: 1\nkernels:\n  mine: ~/src/linux\n"),
        @r#"kregress.yaml:3:9: `kernels.mine`: invalid type: string "~/src/linux", expected a mapping with a source, like `{git: ~/src/linux}`"#
    );
    assert_snapshot!(
        suite("version: 1\nsummary: x\ntests: drain\n"),
        @r#"suites/net.yaml:3:8: `tests`: invalid type: string "drain", expected a mapping"#
    );
    assert_snapshot!(
        test("workload: netns/drain\nmetrics: [drain_time]"),
        @r#"suites/net.yaml:7:15: `tests.drain.metrics[0]`: invalid type: string "drain_time", expected a mapping like `{name: drain_time}`"#
    );
}

#[test]
fn a_list_of_tests_is_refused() {
    assert_snapshot!(
        suite("version: 1\nsummary: x\ntests:\n  - workload: netns/drain\n"),
        @"suites/net.yaml:4:3: `tests`: invalid type: list, expected a mapping"
    );
}

#[test]
fn several_values_belong_into_the_matrix() {
    assert_snapshot!(
        test("workload: netns/drain\nparams: {rounds: [1, 2]}"),
        @"suites/net.yaml:7:22: `tests.drain.params.rounds`: invalid type: list, expected one word or number"
    );
    assert_snapshot!(
        test("workload: netns/drain\nmatrix: {rounds: 2}"),
        @"suites/net.yaml:7:22: `tests.drain.matrix.rounds`: invalid type: integer `2`, expected a list"
    );
}
