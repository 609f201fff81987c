use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::model::{RunEvent, TroubleKind};
use crate::report::testdata;
use crate::results::format::State;
use crate::results::testing;

fn annotations(events: Vec<RunEvent>, tests: &[&str]) -> String {
    let mut all = testing::started(&["stable"], tests, 1);
    all.extend([testing::kernel_ready("stable"), testing::boot(1, "stable")]);
    all.extend(events);
    of_run(&testing::fold(&all).close(State::Finished))
}

fn finished(result: crate::model::TestResult) -> RunEvent {
    RunEvent::TestFinished(result)
}

#[test]
fn nothing_is_said_of_a_run_that_passed() {
    let events = testing::whole_run(&["stable"], &["smoke/a", "smoke/b"], 2);
    assert_eq!(of_run(&testing::fold(&events).close(State::Finished)), "");
}

#[test]
fn a_failure_names_the_line_of_the_kernel_that_complained() {
    let mut failed = testing::fail("smoke/a", "stable", 1, "WARNING: net/core/dev.c:12044 at unregister");
    failed.findings.push(testing::finding("WARNING: net/core/dev.c:12044 at unregister"));
    let text = annotations(
        vec![
            finished(testing::fail("smoke/b", "stable", 1, "expected 4, seen 5: 80 %\nmore")),
            finished(failed),
        ],
        &["smoke/a", "smoke/b"],
    );
    let lines: Vec<&str> = text.lines().take(2).collect();
    assert_snapshot!(lines.join("\n"), @r"
    ::error file=net/core/dev.c,line=12044,title=fail%3A smoke/a::assertion on stable: WARNING: net/core/dev.c:12044 at unregister
    ::error title=fail%3A smoke/b::assertion on stable: expected 4, seen 5: 80 %25
    ");
}

#[test]
fn tests_that_failed_alike_make_one_annotation() {
    let names = ["t/a", "t/b", "t/c", "t/d", "t/e", "t/f"];
    let lost = |name: &&str| finished(testing::error(name, "stable", None, TroubleKind::Host));
    let text = annotations(names.iter().map(lost).collect(), &names);
    assert!(text.starts_with("::error title=error%3A t/a::host on stable: the guest went away%0Aalso t/b, t/c, t/d and 2 more\n"), "{text}");
}

#[test]
fn there_are_never_more_than_ten_and_the_rest_is_counted() {
    let names: Vec<String> = (0..40).map(|n| format!("t/x[n={n}]")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let fail = |name: &&str| finished(testing::fail(name, "stable", 1, &format!("of {name}")));
    let text = annotations(names.iter().map(fail).collect(), &names);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), MOST);
    assert!(lines[MOST - 1].starts_with("::error title=3"), "{}", lines[MOST - 1]);
    assert!(lines[MOST - 1].contains(" more::they are in the summary"), "{}", lines[MOST - 1]);
}

#[test]
fn what_a_flaky_test_is_told_as_comes_after_the_errors() {
    let note =
        |level, title: &str| Annotation { level, place: None, title: title.to_owned(), text: String::new() };
    let text = written(&[note(Level::Warning, "flaky"), note(Level::Error, "fail")]);
    assert_eq!(text, "::error title=fail::\n::warning title=flaky::\n");
}

#[test]
fn a_comparison_tells_what_got_worse() {
    let data = testdata::regression();
    let text = of_comparison(&data.compared(&[&testdata::run()]));
    assert!(text.starts_with("::error title=regressed%3A "), "{text}");
    assert!(text.lines().count() <= MOST, "{text}");
    assert_eq!(of_comparison(&testdata::unchanged().compared(&[])), "");
}

#[test]
fn only_files_of_a_kernel_are_annotated() {
    let place = |file: &str, line| Some(Place { file: file.to_owned(), line });
    assert_eq!(place_in("WARNING: net/core/dev.c:12 at f+0x1/0x2"), place("net/core/dev.c", 12));
    assert_eq!(place_in("kernel BUG at include/linux/skbuff.h:2500!"), place("include/linux/skbuff.h", 2500));
    for none in [
        "WARNING: /etc/passwd.c:1",
        "WARNING: ../../x/y.c:1",
        "WARNING: net/core/dev.c:0",
        "WARNING: net/core/dev.c:99999999999",
        "WARNING: net/core/d,title=x.c:5",
        "at a.b.C(file:12)",
        "INFO: task x:1 blocked",
    ] {
        assert_eq!(place_in(none), None, "{none}");
    }
}

/// The title and the text of a command, as the runner reads them.
fn read(line: &str) -> (String, String) {
    let (head, text) = line.strip_prefix("::").expect("a command").split_once("::").expect("an end");
    let title = head.split_once("title=").expect("a title").1;
    let back = |text: &str| {
        text.replace("%0D", "\r")
            .replace("%0A", "\n")
            .replace("%3A", ":")
            .replace("%2C", ",")
            .replace("%25", "%")
    };
    (back(title), back(text))
}

proptest! {
    #[test]
    fn whatever_stands_in_them_they_are_one_command_each(title in ".{0,40}", text in "(?s).{0,80}") {
        let note = Annotation { level: Level::Error, place: None, title: title.clone(), text: text.clone() };
        let line = line(&note);
        prop_assert_eq!(line.matches('\n').count(), 1);
        prop_assert!(!line.contains('\r'));
        prop_assert_eq!(read(line.trim_end_matches('\n')), (title, text));
    }

    #[test]
    fn no_message_of_a_guest_becomes_a_command(message in "[:#%a-z\\[\\]= \n\r]{0,60}") {
        let message = format!("{message}\n::error::x\n##[error]y");
        let text = annotations(vec![finished(testing::fail("t/a", "stable", 1, &message))], &["t/a"]);
        for line in text.lines() {
            prop_assert!(line.starts_with("::error title=") || line.starts_with("::error file="), "{}", line);
            prop_assert!(!line.contains("##["), "{}", line);
        }
    }
}

#[test]
fn findings_without_a_place_in_their_title_have_that_of_their_innermost_frame() {
    let mut failed = testing::fail("smoke/a", "stable", 1, "x");
    failed.findings.push(testing::traced("BUG: KASAN: slab-use-after-free in free_netdev"));
    let text = annotations(vec![finished(failed)], &["smoke/a"]);
    assert!(text.starts_with("::error file=net/core/dev.c,line=11,title="), "{text}");
}

#[test]
fn a_series_has_an_annotation_for_each_defect_with_its_line_where_it_has_one() {
    insta::assert_snapshot!(of_series(&crate::report::series::testdata::six()), @"
    ::error file=net/8021q/vlan.c,line=214,title=patch 2/6::new warning: net/8021q/vlan.c:214: unused variable 'id' [-Wunused-variable]
    ::error file=drivers/net/dummy.c,line=61,title=patch 3/6::does not build: drivers/net/dummy.c:61: 'struct dummy_stats' has no member named 'drops'; repaired by 4/6
    ::error title=patch 5/6::smoke/netns-drain[namespaces=10]:drain_time: 15.1 ms to 56.0 ms, x3.71, with >99.9 %25
    ::error title=patch 5/6::smoke/netns-drain[namespaces=1]:drain_time: 15.1 ms to 56.0 ms, x3.71, with >99.9 %25
    ::error title=patch 6/6::smoke/nsid-notify fails: no RTM_DELNSID for 4 of 4 ids
    ");
}

#[test]
fn a_series_of_which_nothing_is_wrong_has_none_and_a_hostile_one_no_command_but_ours() {
    assert_eq!(of_series(&crate::report::series::testdata::good()), "");
    let hostile = of_series(&crate::report::series::testdata::hostile());
    for line in hostile.lines() {
        assert!(
            line.starts_with("::error ") || line.starts_with("::warning ") || line.starts_with("::notice"),
            "{line}"
        );
        assert_eq!(line.matches("::error").count() + line.matches("::warning").count(), 1, "{line}");
    }
}
