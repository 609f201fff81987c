use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::report::testdata;

/// As a parser of KTAP sees a test: name, whether it is ok, its directive's word.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    name: String,
    ok: bool,
    directive: Option<String>,
    children: Vec<Seen>,
}

/// A small parser, strict where the specification is: version and plan stand
/// first, numbers count, nothing else but diagnostics is between.
fn parse(lines: &mut std::iter::Peekable<std::str::Lines<'_>>, depth: usize) -> Result<Vec<Seen>, String> {
    let indent = "  ".repeat(depth);
    let mut next = || lines.next().ok_or_else(|| "ends too early".to_owned());
    let version = next()?;
    if version != format!("{indent}KTAP version 1") {
        return Err(format!("no version: {version:?}"));
    }
    let mut plan = next()?;
    if plan.starts_with(&format!("{indent}# Subtest: ")) {
        plan = next()?;
    }
    let count: usize = plan
        .strip_prefix(&format!("{indent}1.."))
        .and_then(|count| count.parse().ok())
        .ok_or_else(|| format!("no plan: {plan:?}"))?;
    let mut seen = Vec::new();
    let mut children = Vec::new();
    while seen.len() < count {
        let line = *lines.peek().ok_or("ends before its plan is fulfilled")?;
        if line.starts_with(&format!("{indent}  ")) {
            children = parse(lines, depth + 1)?;
            continue;
        }
        lines.next();
        let rest = line.strip_prefix(&indent).ok_or_else(|| format!("goes back: {line:?}"))?;
        if rest.starts_with("# ") {
            continue;
        }
        let (ok, rest) = match (rest.strip_prefix("ok "), rest.strip_prefix("not ok ")) {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => return Err(format!("is no result: {line:?}")),
        };
        let (number, rest) = rest.split_once(' ').ok_or_else(|| format!("has no name: {line:?}"))?;
        if number.parse() != Ok(seen.len() + 1) {
            return Err(format!("is number {}: {line:?}", seen.len() + 1));
        }
        let (name, directive) = match rest.split_once(" # ") {
            Some((name, directive)) => (name, directive.split(' ').next().map(str::to_owned)),
            None => (rest, None),
        };
        seen.push(Seen { name: name.to_owned(), ok, directive, children: std::mem::take(&mut children) });
    }
    Ok(seen)
}

fn read(text: &str) -> Vec<Seen> {
    let mut lines = text.lines().peekable();
    let seen = parse(&mut lines, 0).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(lines.next(), None, "{text}");
    seen
}

fn expected(nodes: &[Node]) -> Vec<Seen> {
    let see = |node: &Node| Seen {
        name: node.name.clone(),
        ok: node.outcome.is_ok(),
        directive: match node.outcome {
            Outcome::Ok | Outcome::NotOk => None,
            Outcome::Skip(_) => Some("SKIP".to_owned()),
            Outcome::Timeout => Some("TIMEOUT".to_owned()),
            Outcome::Todo(_) => Some("TODO".to_owned()),
            Outcome::Xfail(_) => Some("XFAIL".to_owned()),
            Outcome::Error(_) => Some("ERROR".to_owned()),
        },
        children: expected(&node.children),
    };
    nodes.iter().map(see).collect()
}

#[test]
fn a_run_looks_like_this() {
    assert_snapshot!(of_run(&testdata::run()));
}

#[test]
fn a_comparison_looks_like_this() {
    assert_snapshot!(of_comparison(&testdata::regression().compared(&[])));
}

#[test]
fn a_parser_reads_the_verdicts_of_a_run() {
    let run = testdata::run();
    let seen = read(&of_run(&run));
    let names: Vec<_> = seen.iter().map(|it| (it.name.as_str(), it.ok)).collect();
    assert_eq!(names, [("good", true), ("bad", false)]);
    let suites: Vec<_> = seen[1].children.iter().map(|it| (it.name.as_str(), it.ok)).collect();
    assert_eq!(suites, [("netns-teardown", true), ("rtnl", false), ("kernel-health", false)]);
    assert_eq!(seen, expected(&nodes_of_run(&run)));
}

#[test]
fn hostile_names_and_messages_change_no_verdict() {
    let (data, run) = testdata::hostile();
    assert_eq!(read(&of_run(&run)), expected(&nodes_of_run(&run)));
    let runs = [&run];
    let compared = data.compared(&runs);
    assert_eq!(read(&of_comparison(&compared)), expected(&nodes_of_comparison(&compared)));
}

#[test]
fn what_is_not_known_is_skipped_and_what_decides_nothing_is_todo() {
    let mut data = testdata::regression();
    data.comparison.metrics[1].weight = Weight::Informs;
    let text = of_comparison(&data.compared(&[]));
    assert!(text.contains("create_p99 # SKIP inconclusive, needs about 14 more boots a side"), "{text}");
    assert!(text.contains("drain_time # TODO regressed, shown only"), "{text}");
    assert!(text.contains("limits[protocol=udp] # TODO known on base"), "{text}");
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let why = "[ -~]{0,20}".prop_map(|why| reason(&why));
    prop_oneof![
        Just(Outcome::Ok),
        Just(Outcome::NotOk),
        Just(Outcome::Timeout),
        why.clone().prop_map(Outcome::Skip),
        why.clone().prop_map(Outcome::Todo),
        why.clone().prop_map(Outcome::Xfail),
        why.prop_map(Outcome::Error),
    ]
}

fn tree() -> impl Strategy<Value = Node> {
    let leaf = (any::<String>(), outcome(), prop::collection::vec(any::<String>(), 0..3)).prop_map(
        |(name, outcome, said)| {
            let mut node = Node::leaf(&name, outcome);
            said.iter().for_each(|line| node.say(line));
            node
        },
    );
    leaf.prop_recursive(3, 24, 4, |inner| {
        (any::<String>(), prop::collection::vec(inner, 0..4))
            .prop_map(|(name, nodes)| Node::suite(name, nodes))
    })
}

proptest! {
    #[test]
    fn a_parser_reads_back_whatever_was_written(nodes in prop::collection::vec(tree(), 0..4)) {
        prop_assert_eq!(read(&text(&nodes)), expected(&nodes));
    }
}
