use std::collections::BTreeSet;

use super::*;

fn warning(file: &str, line: u64, function: Option<&str>, message: &str) -> Warning {
    Warning {
        file: file.into(),
        line: Some(line),
        function: function.map(str::to_owned),
        source: None,
        message: message.into(),
        flag: Some("-Wall".into()),
    }
}

fn snapshot(epoch: &str, unheard: &[&str], warnings: &[(&str, Warning)]) -> Snapshot {
    let mut said: BTreeMap<String, Vec<Warning>> = BTreeMap::new();
    for (object, warning) in warnings {
        said.entry((*object).to_owned()).or_default().push(warning.clone());
    }
    let unheard: BTreeSet<_> = unheard.iter().map(|&name| name.to_owned()).collect();
    Snapshot { epoch: epoch.into(), unheard, warnings: said }
}

/// Those that are new and those that are gone, of two kernels of which all is known.
fn settled(parent: &[(&str, Warning)], child: &[(&str, Warning)]) -> (Vec<Warning>, Vec<Warning>) {
    let (parent, child) = (snapshot("1", &[], parent), snapshot("2", &[], child));
    match compare(Some(&parent), Some(&child)) {
        Comparison::Settled { new, gone } => (new, gone),
        Comparison::Lacks(side) => panic!("lacks {side:?}"),
    }
}

fn lacks(parent: Option<&Snapshot>, child: Option<&Snapshot>) -> Option<Side> {
    match compare(parent, child) {
        Comparison::Lacks(side) => Some(side),
        Comparison::Settled { .. } => None,
    }
}

#[test]
fn a_warning_that_moved_is_not_new() {
    let old = ("a.o", warning("a.c", 1, Some("f"), "unused variable 'x'"));
    let moved = ("a.o", warning("a.c", 99, Some("f"), "unused variable 'x'"));
    assert_eq!(settled(&[old], &[moved]), (vec![], vec![]));
}

#[test]
fn another_message_file_or_function_is_new_also_where_the_count_stays() {
    let old = warning("a.c", 1, Some("f"), "unused variable 'x'");
    for new in [
        warning("a.c", 1, Some("f"), "unused variable 'y'"),
        warning("a.c", 1, Some("g"), "unused variable 'x'"),
        warning("a.c", 1, None, "unused variable 'x'"),
        warning("b.c", 1, Some("f"), "unused variable 'x'"),
        Warning { flag: None, ..old.clone() },
        Warning { source: Some("b.c".into()), ..old.clone() },
    ] {
        let expected = (vec![new.clone()], vec![old.clone()]);
        assert_eq!(settled(&[("a.o", old.clone())], &[("a.o", new)]), expected);
    }
}

#[test]
fn a_second_warning_in_the_same_file_is_new_and_the_first_is_not() {
    let first = ("a.o", warning("a.c", 1, None, "one"));
    let second = ("a.o", warning("a.c", 2, None, "two"));
    assert_eq!(
        settled(std::slice::from_ref(&first), &[first.clone(), second.clone()]),
        (vec![second.1], vec![])
    );
}

#[test]
fn a_warning_of_a_header_is_one_however_many_include_it() {
    let of_header = |object| (object, warning("x.h", 1, None, "one"));
    let child: Vec<_> = ["a.o", "b.o", "c.o"].map(of_header).into();
    assert_eq!(settled(&[], &child).0.len(), 1);
    // One more that includes it makes nothing new, one less makes nothing gone.
    assert_eq!(settled(&child[..1], &child), (vec![], vec![]));
    assert_eq!(settled(&child, &child[..1]), (vec![], vec![]));
}

#[test]
fn new_warnings_come_by_file_and_line() {
    let child = [
        ("z.o", warning("b.c", 10, None, "x")),
        ("y.o", warning("b.c", 9, None, "y")),
        ("x.o", warning("a.c", 99, None, "z")),
    ];
    let new = settled(&[], &child).0;
    let places: Vec<_> = new.iter().map(|it| (it.file.as_str(), it.line)).collect();
    assert_eq!(places, [("a.c", Some(99)), ("b.c", Some(9)), ("b.c", Some(10))]);
}

#[test]
fn nothing_is_asked_of_a_parent_when_the_child_has_no_warnings() {
    assert_eq!(lacks(None, Some(&snapshot("1", &[], &[]))), None);
    let with = snapshot("1", &[], &[("a.o", warning("a.c", 1, None, "x"))]);
    assert_eq!(lacks(None, Some(&with)), Some(Side::Parent));
    assert_eq!(lacks(None, Some(&snapshot("1", &["a.o"], &[]))), Some(Side::Parent));
    assert_eq!(lacks(None, None), Some(Side::Child));
}

#[test]
fn an_object_that_neither_compiled_is_the_same_in_both_only_within_one_epoch() {
    let child = snapshot("1", &["a.o"], &[]);
    assert_eq!(lacks(Some(&snapshot("1", &["a.o", "b.o"], &[])), Some(&child)), None);
    assert_eq!(lacks(Some(&snapshot("2", &["a.o", "b.o"], &[])), Some(&child)), Some(Side::Parent));
    // It was compiled for the parent, but not for the child.
    assert_eq!(lacks(Some(&snapshot("1", &["b.o"], &[])), Some(&child)), Some(Side::Child));
}

#[test]
fn a_warning_is_new_only_if_the_object_is_known_of_the_parent() {
    let child = snapshot("1", &["z.o"], &[("a.o", warning("a.c", 1, None, "x"))]);
    assert_eq!(lacks(Some(&snapshot("1", &["a.o", "z.o"], &[])), Some(&child)), Some(Side::Parent));
    // An object that the parent does not have has no warnings there.
    let Comparison::Settled { new, .. } = compare(Some(&snapshot("1", &["z.o"], &[])), Some(&child)) else {
        panic!("lacks")
    };
    assert_eq!(new.len(), 1);
    // And one that the parent has in another object is not new in any case.
    let parent = snapshot("1", &["a.o", "z.o"], &[("b.o", warning("a.c", 7, None, "x"))]);
    assert_eq!(lacks(Some(&parent), Some(&child)), None);
}
