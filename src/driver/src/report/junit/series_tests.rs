use std::collections::BTreeSet;

use super::super::of_series;
use super::super::tests::{Element, parse};
use crate::report::series::testdata;
use crate::series::checked::Checked;

fn xml(checked: &Checked) -> Element {
    let mut out = Vec::new();
    of_series(checked, &mut out).expect("written");
    parse(&String::from_utf8(out).expect("utf-8"))
}

/// `suite: case` of everything with this element.
fn with(root: &Element, tag: &str) -> Vec<String> {
    let mut found = Vec::new();
    for suite in root.all("testsuite") {
        for case in suite.all("testcase") {
            if !case.all(tag).is_empty() {
                found.push(format!("{}: {}", case.attributes["classname"], case.attributes["name"]));
            }
        }
    }
    found
}

#[test]
fn what_a_patch_may_have_brought_is_red_with_the_patch_where_it_was_seen() {
    let root = xml(&testdata::six());
    assert_eq!(
        with(&root, "failure"),
        [
            "kregress.series.patch-2: no-new-warning",
            "kregress.series.patch-3: builds",
            "kregress.series.patch-6: smoke/nsid-notify",
            "kregress.series.base-against-tip: performance",
            "kregress.series.base-against-tip: smoke/netns-drain[namespaces=10]:drain_time",
            "kregress.series.base-against-tip: smoke/netns-drain[namespaces=1]:drain_time",
            "kregress.series.whole: nothing-stays-broken",
            "kregress.series.whole: nothing-breaks-in-between",
        ]
    );
    assert_eq!(with(&root, "error"), [""; 0]);
    assert_eq!(
        with(&root, "skipped"),
        ["kregress.series.patch-3: no-new-warning", "kregress.series.patch-3: boots"]
    );
}

#[test]
fn what_fails_on_the_base_too_is_skipped_and_what_the_harness_missed_is_an_error() {
    let root = xml(&testdata::murky());
    assert_eq!(with(&root, "failure"), [""; 0]);
    assert_eq!(
        with(&root, "error"),
        [
            "kregress.series.patch-2: boots",
            "kregress.series.patch-2: smoke/nsid-notify",
            "kregress.series.whole: nothing-stays-broken",
            "kregress.series.whole: nothing-breaks-in-between",
        ]
    );
    let skipped = with(&root, "skipped");
    for patch in ["base", "patch-1", "patch-2"] {
        assert!(skipped.contains(&format!("kregress.series.{patch}: smoke/tcp")), "{skipped:?}");
    }
    assert!(skipped.contains(&"kregress.series.patch-1: no-new-warning".to_owned()), "{skipped:?}");
}

#[test]
fn a_patch_that_does_not_apply_is_a_failure_and_those_behind_it_were_not_reached() {
    let root = xml(&testdata::refused());
    assert_eq!(
        with(&root, "failure"),
        ["kregress.series.patch-2: applies", "kregress.series.whole: nothing-stays-broken"]
    );
    assert!(with(&root, "skipped").contains(&"kregress.series.patch-3: applies".to_owned()));
}

#[test]
fn suites_count_what_is_in_them_and_every_case_has_a_name_of_its_own() {
    for (name, checked) in testdata::all() {
        let root = xml(&checked);
        let mut seen = BTreeSet::new();
        for suite in root.all("testsuite") {
            let cases = suite.all("testcase");
            assert_eq!(suite.number("tests"), cases.len(), "{name}");
            for tag in ["failure", "error", "skipped"] {
                let attribute = if tag == "skipped" { tag.to_owned() } else { format!("{tag}s") };
                let counted = cases.iter().filter(|case| !case.all(tag).is_empty()).count();
                assert_eq!(suite.number(&attribute), counted, "{name}, {tag}");
            }
            for case in cases {
                let id = (case.attributes["classname"].clone(), case.attributes["name"].clone());
                assert!(seen.insert(id.clone()), "{name}: {id:?} twice");
            }
        }
    }
}

#[test]
fn what_one_patch_breaks_and_a_later_one_repairs_is_a_case_of_its_own() {
    let root = xml(&testdata::repaired());
    assert_eq!(
        with(&root, "failure"),
        ["kregress.series.patch-1: smoke/nsid-notify", "kregress.series.whole: nothing-breaks-in-between"]
    );
    let whole = root.all("testsuite").into_iter().last().expect("a suite");
    let case = whole.all("testcase")[1].all("failure")[0];
    assert_eq!(case.attributes["type"], "BrokenAndRepaired");
    assert_eq!(case.attributes["message"], "broken at 1/2, repaired by 2/2");
}
