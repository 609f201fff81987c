//! What the XML of runs looks like, and that it is XML whatever is in them.

use std::collections::BTreeMap;

use proptest::prelude::*;
use quick_xml::Reader;

use super::*;
use crate::console::FindingKind;
use crate::model::{
    BootEnd, BuildEvent, Failure, FailureKind, KernelInfo, RunEvent, SuiteName, TestId, Trouble, TroubleKind,
};
use crate::results::format::State;
use crate::results::testing::{self, fold};

type Attributes = BTreeMap<String, String>;

#[derive(Debug, Default)]
pub(super) struct Element {
    tag: String,
    pub(super) attributes: Attributes,
    children: Vec<Element>,
    text: String,
}

impl Element {
    pub(super) fn all(&self, tag: &str) -> Vec<&Element> {
        self.children.iter().filter(|child| child.tag == tag).collect()
    }

    pub(super) fn number(&self, attribute: &str) -> usize {
        self.attributes[attribute].parse().expect(attribute)
    }
}

/// The root of a document; panics when it is no well-formed XML 1.0.
pub(super) fn parse(xml: &str) -> Element {
    let char_of_xml = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    assert!(xml.chars().all(char_of_xml), "a character that XML cannot hold");
    let mut reader = Reader::from_str(xml);
    let mut open = vec![Element::default()];
    let element = |tag: &BytesStart<'_>| {
        let attribute = |attribute: quick_xml::events::attributes::Attribute<'_>| {
            let value =
                attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).expect("value").into_owned();
            (String::from_utf8(attribute.key.as_ref().to_vec()).expect("key"), value)
        };
        Element {
            tag: String::from_utf8(tag.name().as_ref().to_vec()).expect("tag"),
            attributes: tag.attributes().map(|it| attribute(it.expect("attribute"))).collect(),
            ..Element::default()
        }
    };
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Start(tag) => open.push(element(&tag)),
            Event::Empty(tag) => {
                let empty = element(&tag);
                open.last_mut().expect("open").children.push(empty);
            }
            Event::End(_) => {
                let done = open.pop().expect("open");
                open.last_mut().expect("a parent").children.push(done);
            }
            Event::CData(data) => {
                let text = data.decode().expect("utf-8");
                open.last_mut().expect("open").text.push_str(&text);
            }
            Event::Text(text) => {
                let text = text.decode().expect("utf-8");
                assert!(text.trim().is_empty(), "text outside of CDATA: {text:?}");
            }
            Event::Eof => break,
            Event::Decl(_) => {}
            other => panic!("{other:?} has no place in a report"),
        }
    }
    assert_eq!(open.len(), 1, "an element is left open");
    let mut top = open.remove(0);
    assert_eq!(top.children.len(), 1, "one root");
    top.children.remove(0)
}

fn xml(run: &Run) -> String {
    let mut bytes = Vec::new();
    write(run, &mut bytes).expect("write");
    String::from_utf8(bytes).expect("utf-8")
}

/// Checks what every reader relies on, and gives all test cases.
fn checked(root: &Element, run: &Run) -> usize {
    assert_eq!(root.tag, "testsuites");
    let mut total = Counts::default();
    let count = |tag: &str, cases: &[&Element]| cases.iter().filter(|case| !case.all(tag).is_empty()).count();
    for suite in &root.children {
        assert_eq!(suite.tag, "testsuite");
        assert!(suite.attributes.contains_key("name") && suite.attributes.contains_key("time"));
        let cases = suite.all("testcase");
        assert_eq!(suite.children.len(), cases.len(), "one level of suites with nothing but test cases");
        let (failures, errors, skipped) =
            (count("failure", &cases), count("error", &cases), count("skipped", &cases));
        assert_eq!(suite.number("tests"), cases.len());
        assert_eq!(suite.number("failures"), failures);
        assert_eq!(suite.number("errors"), errors);
        assert_eq!(suite.number("skipped"), skipped);
        for case in &cases {
            let verdicts = ["failure", "error", "skipped"].map(|tag| case.all(tag).len());
            assert!(verdicts.iter().sum::<usize>() <= 1, "{case:?}");
            for attribute in ["name", "classname", "time"] {
                assert!(case.attributes.contains_key(attribute), "{case:?}");
            }
            for child in &case.children {
                assert!(child.text.len() <= text_safety::OUTPUT_LIMIT + 64);
                if let Some(message) = child.attributes.get("message") {
                    assert!(message.chars().count() <= text_safety::TITLE_LIMIT && !message.contains('\n'));
                    assert!(child.text.len() <= text_safety::BODY_LIMIT + 64);
                }
            }
        }
        total.fail += failures as u64;
        total.error += errors as u64;
        total.skip += skipped as u64;
        total.pass += (cases.len() - failures - errors - skipped) as u64;
    }
    assert_eq!(total, counts(run));
    let attributes = ["tests", "failures", "errors", "skipped"].map(|name| root.number(name) as u64);
    assert_eq!(attributes, [total.total(), total.fail, total.error, total.skip]);
    root.children.iter().map(|suite| suite.children.len()).sum()
}

fn mixed() -> Vec<RunEvent> {
    let tests = ["smoke/netns-churn[mode=unshare]", "smoke/netns-drain[namespaces=50]", "smoke/xfrm"];
    let mut events = testing::started(&["stable"], &tests, 2);
    events.push(testing::kernel_ready("stable"));
    for boot in [1, 2] {
        events.extend([
            testing::boot(boot, "stable"),
            testing::ready(boot),
            RunEvent::TestFinished(testing::pass(tests[0], "stable", boot)),
        ]);
    }
    let mut failed = testing::fail(tests[1], "stable", 2, "57 namespaces are left, 7 were expected\nof 100");
    failed.findings.push(testing::finding("WARNING: CPU: 0 PID: 9 at net/core/dev.c:123"));
    events.extend([
        RunEvent::TestFinished(testing::pass(tests[1], "stable", 1)),
        RunEvent::TestFinished(failed),
        RunEvent::TestFinished(testing::skip(tests[2], "stable", 1, "CONFIG_XFRM is not set")),
        RunEvent::TestFinished(testing::skip(tests[2], "stable", 2, "CONFIG_XFRM is not set")),
        testing::boot_finding(2, "BUG: sleeping function called from invalid context"),
        testing::ended(1, BootEnd::Clean),
        testing::ended(2, BootEnd::Clean),
        testing::finished(),
    ]);
    events
}

fn run_of(events: &[RunEvent]) -> Run {
    fold(events).close(State::Unfinished)
}

#[test]
fn a_run_with_every_verdict_looks_like_this() {
    let run = run_of(&mixed());
    checked(&parse(&xml(&run)), &run);
    insta::assert_snapshot!(xml(&run), @r#"
    <?xml version="1.0" encoding="utf-8"?>
    <testsuites name="kregress" tests="4" failures="2" errors="0" skipped="1" time="9.000">
     <testsuite id="0" name="smoke on stable" package="kregress.smoke.stable" tests="3" errors="0" failures="1" hostname="localhost" timestamp="2026-11-20T23:15:02Z" time="9" skipped="1" file="suites/smoke.yaml">
      <testcase name="netns-churn[mode=unshare]" time="3" classname="kregress.smoke.stable" file="suites/smoke.yaml" line="10">
       <system-out><![CDATA[drain_time: median of boot medians 141.5 ms, 141.0 .. 142.0 ms, 2 boots, tcg
    rounds: median of boot medians 4, always the same, 2 boots, tcg
    ]]></system-out>
      </testcase>
      <testcase name="netns-drain[namespaces=50]" time="3" classname="kregress.smoke.stable" file="suites/smoke.yaml" line="11">
       <failure type="assertion" message="1 of 2 boots (2): 57 namespaces are left, 7 were expected"><![CDATA[boot 2 (tcg): assertion
    57 namespaces are left, 7 were expected
    of 100
    warning: WARNING: CPU: 0 PID: 9 at net/core/dev.c:123
        free_netdev
        cleanup_net
    log: boots/2/console.log

    repeat: kregress run 'smoke/netns-drain[namespaces=50]' --kernel stable --boots 2 --seed 17 --machine accel=tcg,backend=qemu,cpus=2,memory=1G
    ]]></failure>
       <system-out><![CDATA[drain_time: median 141.0 ms, 139.0 .. 150.0 ms, 3 samples, tcg
    rounds: median 4, always the same, 3 samples, tcg
    --- boot 2 (tcg)
    [    4.1] kregress: start
    [    4.2] unregister_netdevice: waiting for lo
    ]]></system-out>
      </testcase>
      <testcase name="xfrm" time="3" classname="kregress.smoke.stable" file="suites/smoke.yaml" line="12">
       <skipped type="skip" message="2 of 2 boots (1, 2): CONFIG_XFRM is not set"/>
      </testcase>
     </testsuite>
     <testsuite id="1" name="kernel-health on stable" package="kregress.kernel-health.stable" tests="1" errors="0" failures="1" hostname="localhost" timestamp="2026-11-20T23:15:02Z" time="0" skipped="0">
      <testcase name="kernel-health" time="0" classname="kregress.kernel-health.stable">
       <failure type="warning" message="BUG: sleeping function called from invalid context"><![CDATA[warning: BUG: sleeping function called from invalid context
        free_netdev
        cleanup_net
    log: boots/2/console.log

    ]]></failure>
      </testcase>
     </testsuite>
    </testsuites>
    "#);
}

#[test]
fn names_do_not_depend_on_boots_times_or_verdicts() {
    let names = |events: &[RunEvent]| {
        let root = parse(&xml(&run_of(events)));
        let name = |case: &Element| (case.attributes["classname"].clone(), case.attributes["name"].clone());
        let cases = root.children.iter().flat_map(|suite| &suite.children).map(name);
        cases.collect::<Vec<_>>()
    };
    let all = mixed();
    assert_eq!(names(&all), names(&all[..1]));
    assert_eq!(names(&all)[1], ("kregress.smoke.stable".to_owned(), "netns-drain[namespaces=50]".to_owned()));
}

#[test]
fn each_suite_and_kernel_is_a_suite_and_each_kernel_has_its_health() {
    let run = run_of(&testing::whole_run(&["a", "b"], &["smoke/x", "nsid/x", "smoke/y"], 1));
    let root = parse(&xml(&run));
    assert_eq!(checked(&root, &run), 8);
    let names: Vec<_> = root.children.iter().map(|suite| suite.attributes["name"].as_str()).collect();
    assert_eq!(
        names,
        ["smoke on a", "nsid on a", "smoke on b", "nsid on b", "kernel-health on a", "kernel-health on b"]
    );
}

#[test]
fn a_run_without_tests_is_still_a_report() {
    let run = run_of(&testing::started(&[], &[], 1));
    insta::assert_snapshot!(xml(&run), @r#"
    <?xml version="1.0" encoding="utf-8"?>
    <testsuites name="kregress" tests="0" failures="0" errors="0" skipped="0" time="0.000"/>
    "#);
}

#[test]
fn lines_of_a_suite_file_go_with_their_tests() {
    let root = parse(&xml(&run_of(&testing::whole_run(&["a"], &["smoke/x", "smoke/y"], 1))));
    let case = &root.children[0].children[1];
    assert_eq!((case.attributes["file"].as_str(), case.number("line")), ("suites/smoke.yaml", 11));
}

#[test]
fn ten_megabytes_of_console_are_cut_and_say_so() {
    let mut events = testing::started(&["a"], &["smoke/x"], 1);
    let mut result = testing::fail("smoke/x", "a", 1, &"\0]]>\x1b[31m".repeat(1 << 20));
    result.log = "\u{1b}[1;31mfloods\u{1b}[0m\0 the console ]]>\n".repeat(300_000);
    result.findings = vec![testing::finding(&"]]>".repeat(100_000)); 100];
    events.extend([testing::boot(1, "a"), RunEvent::TestFinished(result), testing::finished()]);
    let run = run_of(&events);
    let xml = xml(&run);
    checked(&parse(&xml), &run);
    assert!(xml.len() < 200_000, "{}", xml.len());
}

#[test]
fn a_start_outside_of_all_calendars_does_no_harm() {
    for started_unix in [i64::MIN, -1, i64::MAX] {
        let mut run = run_of(&testing::whole_run(&["a"], &["smoke/x"], 1));
        run.plan.started_unix = started_unix;
        checked(&parse(&xml(&run)), &run);
    }
}

#[test]
fn an_endless_test_does_not_overflow_the_time() {
    let mut run = run_of(&testing::whole_run(&["a"], &["smoke/x"], 3));
    for result in &mut run.results {
        result.elapsed_ns = u64::MAX;
    }
    checked(&parse(&xml(&run)), &run);
}

#[test]
fn the_file_is_replaced_as_a_whole() {
    let dir = tempfile::tempdir().expect("dir");
    let mut run = run_of(&mixed());
    run.plan.directory = dir.path().to_owned();
    let path = save(&run).expect("save");
    assert_eq!(path, dir.path().join("junit.xml"));
    assert_eq!(std::fs::read_to_string(path).expect("read"), xml(&run));
    assert_eq!(std::fs::read_dir(dir.path()).expect("list").count(), 1);
}

/// Text that is likely to break XML.
fn nasty() -> impl Strategy<Value = String> {
    let scraps = prop::sample::select(vec![
        "\x1b[31m",
        "\x1b]0;",
        "\x1b",
        "]]>",
        "]]",
        "\0",
        "\u{ffff}",
        "\u{fffe}",
        "\u{9b}",
        "\r",
        "\n",
        "\t",
        "<",
        "&",
        "\"",
        "'",
        "&#27;",
        "<![CDATA[",
        "-->",
        "/",
        "[",
        "=",
        "\u{202e}",
        "µ",
        "内",
    ]);
    let bytes = any::<Vec<u8>>().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let piece = prop_oneof![3 => scraps.prop_map(str::to_owned), 1 => bytes];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// A run in which every text is one of `texts`.
fn hostile(texts: &[String]) -> Run {
    let mut next = texts.iter().cycle().cloned();
    let mut text = || next.next().expect("endless");
    let (suite, kernel) = (SuiteName(text()), testing::kernel(&text()));
    let mut info = testing::info(&[], &["x/a", "x/b", "x/c", "x/d"], 2);
    for test in &mut info.tests {
        test.id = TestId { suite: suite.clone(), test: text(), params: test.id.params.clone() };
        test.workload = text();
    }
    info.suite_files = BTreeMap::from([(suite, text())]);
    info.kernels = vec![kernel.clone()];
    info.command = vec![text(), "--config".to_owned(), text()];
    let ids: Vec<TestId> = info.tests.iter().map(|test| test.id.clone()).collect();
    let mut events = vec![
        RunEvent::RunStarted(info),
        RunEvent::Build(BuildEvent::Ready(KernelInfo {
            name: kernel.clone(),
            image: text().into(),
            identity: text(),
            release: Some(text()),
            detectors: vec![crate::model::Detector::Kasan],
            facts: BTreeMap::from([(text(), text())]),
        })),
        RunEvent::Notice(text()),
    ];
    for id in [1, 2] {
        let mut boot = testing::boot_info(id, &kernel.0);
        boot.directory = text().into();
        boot.command = vec![text()];
        events.push(RunEvent::BootStarted(boot));
    }
    let verdicts = [
        Verdict::Pass { checks: 1 },
        Verdict::Fail(Failure { kind: FailureKind::Finding, message: text() }),
        Verdict::Skip { reason: text() },
        Verdict::Error(Trouble { kind: TroubleKind::Protocol, message: text() }),
    ];
    for (id, verdict) in ids.iter().zip(verdicts) {
        let mut result = testing::result("x/a", &kernel.0, Some(1), verdict);
        result.test = id.clone();
        result.samples = BTreeMap::from([(text(), vec![1.0, f64::NAN]), ("rounds".to_owned(), vec![4.0])]);
        result.notes = BTreeMap::from([(text(), text())]);
        result.findings = vec![crate::console::Finding {
            kind: FindingKind::Oops,
            title: text(),
            stack: vec![text(), text()],
            frames: vec![],
            start: 0,
            end: 1,
            allowed: None,
        }];
        result.log = text();
        // Names may collide; then one of them has all its verdicts.
        events.push(RunEvent::TestFinished(result));
    }
    events.push(testing::boot_finding(1, &text()));
    events.push(testing::ended(1, BootEnd::Panicked { title: text() }));
    events.push(testing::ended(
        2,
        BootEnd::NotBooted { reason: text(), fault: crate::model::BootFault::Unknown },
    ));
    let mut lines = testing::lines(&events).into_iter();
    let mut fold = crate::results::Fold::begin(lines.next().expect("a line")).expect("begin");
    for mut line in lines {
        line.seq = fold.run().events;
        let _ = fold.apply(line);
    }
    fold.close(State::Unfinished)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_a_run_says_its_report_is_xml_with_the_right_counts(
        texts in prop::collection::vec(nasty(), 1..12),
    ) {
        let run = hostile(&texts);
        let root = parse(&xml(&run));
        checked(&root, &run);
    }
}

/// The record that `make test` turns into XML for junitparser and
/// xunit-viewer. It was written by version 1 of the format and stays as it is.
#[test]
fn the_hostile_record_of_the_repository_is_read_and_its_report_is_xml() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/report/testdata/hostile");
    let run = crate::results::load(&dir).expect("load");
    assert_eq!(run.state, State::Finished);
    checked(&parse(&xml(&run)), &run);
    assert_eq!(counts(&run), Counts { pass: 5, fail: 3, skip: 2, error: 2, flaky: 0 });
}

#[test]
fn what_was_allowed_is_in_the_output_of_a_pass() {
    let mut events = testing::started(&["stable"], &["smoke/a"], 1);
    let mut result = testing::pass("smoke/a", "stable", 1);
    result.findings.push(testing::allowed("WARNING: x"));
    let outside =
        RunEvent::BootFinding { boot: crate::model::BootId(1), finding: testing::allowed("BUG: y") };
    events.extend([testing::boot(1, "stable"), outside, RunEvent::TestFinished(result)]);
    events.push(testing::ended(1, crate::model::BootEnd::Clean));
    let mut bytes = Vec::new();
    write(&fold(&events).close(State::Finished), &mut bytes).expect("a report");
    let xml = String::from_utf8(bytes).expect("utf-8");
    for title in ["WARNING: x", "BUG: y"] {
        let line = format!("allowed: {title}: fixed by abcdef, not yet in this tree (until 2027-01-31)");
        assert!(xml.contains(&line), "{xml}");
    }
    assert!(xml.contains("failures=\"0\"") && !xml.contains("<failure"), "{xml}");
}
