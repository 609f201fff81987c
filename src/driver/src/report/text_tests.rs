use insta::assert_snapshot;

use super::*;
use crate::report::testdata;

#[test]
fn a_regression_reads_like_this_in_a_commit_message() {
    let data = testdata::regression();
    let run = testdata::run();
    assert_snapshot!(of_comparison(&data.compared(&[&run])));
}

#[test]
fn a_run_reads_like_this() {
    assert_snapshot!(of_run(&testdata::run()));
}

#[test]
fn no_line_is_longer_than_72_columns_and_all_is_ascii() {
    let (data, run) = testdata::hostile();
    let runs = [&run];
    let huge = testdata::huge(300);
    let texts = [
        of_comparison(&data.compared(&runs)),
        of_comparison(&huge.compared(&[])),
        of_comparison(&testdata::empty().compared(&[])),
        of_run(&run),
    ];
    for text in texts {
        assert!(text.chars().all(|c| c == '\n' || (' '..='~').contains(&c)));
        // A word of a command is not cut, for it would be another one then.
        let commands = |line: &&str| line.starts_with('$') || line.starts_with("    '");
        for line in text.lines().filter(|line| !commands(line)) {
            assert!(line.len() <= WIDTH && line.trim_end() == line, "{line:?}");
        }
    }
}

#[test]
fn a_report_of_thousands_is_still_one_for_a_mail() {
    let text = of_comparison(&testdata::huge(3000).compared(&[]));
    assert!(text.contains("... and 8960 more metrics"), "{text}");
    assert!(text.lines().count() < 250);
}

#[test]
fn nothing_measured_is_said() {
    let text = of_comparison(&testdata::empty().compared(&[]));
    assert!(text.starts_with("kregress: not measured: nothing was compared\n"), "{text}");
}
