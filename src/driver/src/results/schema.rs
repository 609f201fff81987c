//! Tests that hold the files against their schemas, and the schemas against
//! what people read of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jsonschema::{Resource, Validator};
use serde_json::{Value, json};

use super::testing::{self, fold, lines};
use super::{convert, format, with_summary};
use crate::model::{
    BootEnd, BootFault, BootId, BuildEvent, Evidence, EvidenceSource, Failure, FailureKind, Overall,
    RunEvent, Subtest, SubtestVerdict, Trouble, TroubleKind, Verdict,
};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn read(path: &str) -> Value {
    let text = std::fs::read_to_string(project(path)).expect(path);
    serde_json::from_str(&text).expect(path)
}

fn validator(path: &str) -> Validator {
    let base = "file:///results/";
    let run = Resource::from_contents(read("results/run.schema.json")).expect("resource");
    jsonschema::options()
        .with_base_uri(format!("{base}self.json"))
        .with_resource(format!("{base}run.schema.json"), run)
        .build(&read(path))
        .expect(path)
}

fn complaints(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path)).collect()
}

fn subtest(verdict: SubtestVerdict) -> Subtest {
    Subtest {
        path: vec!["outer".into(), verdict.word().into()],
        verdict,
        reason: if verdict == SubtestVerdict::Pass { String::new() } else { "why".into() },
        elapsed: (verdict == SubtestVerdict::Pass).then_some(Duration::from_millis(3)),
        diagnostics: String::new(),
    }
}

/// Every kind of event, verdict, finding and end.
fn everything() -> Vec<RunEvent> {
    let kinds = [
        TroubleKind::Workload,
        TroubleKind::Lost,
        TroubleKind::NotReached,
        TroubleKind::Protocol,
        TroubleKind::Host,
        TroubleKind::Unfinished,
        TroubleKind::Interrupted,
    ];
    let failures = [
        FailureKind::Assertion,
        FailureKind::Finding,
        FailureKind::Panic,
        FailureKind::Oops,
        FailureKind::Hang,
        FailureKind::Timeout,
    ];
    let mut verdicts = vec![Verdict::Pass { checks: 4 }, Verdict::Skip { reason: "no XFRM".into() }];
    verdicts
        .extend(failures.map(|kind| Verdict::Fail(Failure { kind, message: "expected 1, seen 2".into() })));
    verdicts.extend(kinds.map(|kind| Verdict::Error(Trouble { kind, message: "x".into() })));
    let names: Vec<String> = (0..verdicts.len()).map(|n| format!("smoke/t{n}[mode=fork,n={n}]")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut info = testing::info(&["stable", "next"], &names, 1);
    info.comparison = Some(testing::comparison("stable", "next"));
    let mut events = vec![RunEvent::RunStarted(info)];
    let kernel = testing::kernel("stable");
    events.extend([
        RunEvent::Build(BuildEvent::Step { kernel: kernel.clone(), what: "unpacking".into() }),
        RunEvent::Build(BuildEvent::Objects {
            kernel,
            done: 10,
            estimated: 100,
            elapsed: Duration::from_secs(3),
            line: "  CC      net/core/net_namespace.o".into(),
        }),
        testing::kernel_ready("stable"),
        RunEvent::KernelFailed { kernel: testing::kernel("next"), reason: "no such revision".into() },
        RunEvent::Notice("KVM opens but boots nothing: TCG is used".into()),
        testing::boot(1, "stable"),
        testing::ready(1),
        testing::begun(1, names[0]),
        RunEvent::TestProgress { boot: BootId(1), test: testing::test_id(names[0]), done: 1, total: 2 },
    ]);
    for (name, verdict) in names.iter().zip(verdicts) {
        let mut result = testing::pass(name, "stable", 1);
        result.verdict = verdict;
        result.notes.insert("completion".into(), "tracepoints".into());
        result.breakdown = Some(kregress_wire::Breakdown {
            rounds: 1,
            namespaces: 2,
            total_ns: 5,
            rows: vec![kregress_wire::BreakdownRow {
                phase: kregress_wire::Phase::Exit,
                function: "xfrm_net_exit".into(),
                calls: 2,
                total_ns: 4,
                rcu_ns: 3,
                rtnl_ns: 0,
            }],
        });
        result.subtests = SubtestVerdict::ALL.map(subtest).to_vec();
        result.findings.push(testing::finding("WARNING: x"));
        let text = "the agent answered: rcu_barrier < cleanup_net".to_owned();
        result.evidence = EvidenceSource::ALL.map(|source| Evidence { source, text: text.clone() }).to_vec();
        result.findings.push(testing::allowed("WARNING: y"));
        result.findings.push(testing::traced("WARNING: z"));
        events.push(RunEvent::TestFinished(result));
    }
    events.push(testing::boot_finding(1, "BUG: y"));
    let evidence = Evidence { source: EvidenceSource::Nmi, text: "the machine was still there".into() };
    events.push(RunEvent::BootEvidence { boot: BootId(1), evidence });
    let ends = [
        BootEnd::Clean,
        BootEnd::Panicked { title: "panic".into() },
        BootEnd::Lost { reason: "gone".into() },
        BootEnd::Killed { reason: "limit".into() },
        BootEnd::NotBooted { reason: "dark".into(), fault: BootFault::Unknown },
        BootEnd::NotBooted { reason: "panic".into(), fault: BootFault::Kernel },
        BootEnd::Hung { reason: "still".into() },
    ];
    for (id, end) in (1..).zip(ends) {
        if id > 1 {
            events.push(testing::boot(id, "stable"));
        }
        events.push(testing::ended(id, end));
    }
    // One that stays without an end.
    events.push(testing::boot(8, "stable"));
    let tests = vec![testing::test_id(names[0])];
    events.push(RunEvent::TurnsAsked { tests, until: 2, why: "one metric is undecided".into() });
    events.extend(Overall::ALL.map(RunEvent::Compared));
    events.push(testing::finished());
    events
}

fn run_file(run: &format::Run) -> Value {
    serde_json::to_value(with_summary(run)).expect("serialise")
}

#[test]
fn a_run_file_of_everything_that_can_happen_satisfies_the_schema() {
    let validator = validator("results/run.schema.json");
    let events = everything();
    for cut in 1..=events.len() {
        let run = fold(&events[..cut]);
        assert_eq!(complaints(&validator, &run_file(run.run())), Vec::<String>::new());
        let closed = run.close(format::State::Unfinished);
        assert_eq!(complaints(&validator, &run_file(&closed)), Vec::<String>::new());
    }
}

#[test]
fn every_event_line_satisfies_the_schema_and_is_read_back() {
    let validator = validator("results/event.schema.json");
    for (seq, event) in (0..).zip(everything()) {
        let line =
            format::Line { version: format::VERSION, seq, elapsed_ms: 5, event: convert::event(&event) };
        let value = serde_json::to_value(&line).expect("serialise");
        assert_eq!(complaints(&validator, &value), Vec::<String>::new(), "{value}");
        assert_eq!(serde_json::from_value::<format::Line>(value).expect("parse"), line);
    }
}

#[test]
fn the_schemas_refuse_what_is_not_in_the_format() {
    let validator_of_runs = validator("results/run.schema.json");
    let good = run_file(fold(&everything()).run());
    for (path, value) in [
        ("/surprise", json!(1)),
        ("/version", json!(1)),
        ("/results/0/surprise", json!(1)),
        ("/results/0/verdict", json!("unknown")),
        ("/boots/0/surprise", json!(1)),
        ("/plan/tests/0/metrics/0/unit", json!("furlong")),
        ("/plan/surprise", json!(1)),
        ("/kernels/0/surprise", json!(1)),
    ] {
        let mut bad = good.clone();
        let (parent, key) = path.rsplit_once('/').expect("path");
        bad.pointer_mut(parent).expect(path)[key] = value;
        assert!(!validator_of_runs.is_valid(&bad), "{path} was let through");
    }
    let validator_of_events = validator("results/event.schema.json");
    let line = serde_json::to_value(&lines(&everything())[0]).expect("serialise");
    for (key, value) in [("surprise", json!(1)), ("event", json!("unheard-of")), ("seq", json!(-1))] {
        let mut bad = line.clone();
        bad[key] = value;
        assert!(!validator_of_events.is_valid(&bad), "{key} was let through");
    }
}

#[test]
fn the_words_on_disk_are_the_words_of_the_model() {
    let run = fold(&everything()).close(format::State::Unfinished);
    let file = run_file(&run);
    for (result, stored) in run.results.iter().zip(file["results"].as_array().expect("results")) {
        assert_eq!(stored["verdict"], result.verdict.word());
        match &result.verdict {
            Verdict::Fail(failure) => assert_eq!(stored["kind"], failure.kind.name()),
            Verdict::Error(trouble) => assert_eq!(stored["kind"], trouble.kind.name()),
            Verdict::Pass { .. } | Verdict::Skip { .. } => {}
        }
    }
    let subtests = file["results"][0]["subtests"].as_array().expect("subtests");
    let words: Vec<_> = subtests.iter().map(|it| it["verdict"].as_str().expect("verdict")).collect();
    assert_eq!(words, SubtestVerdict::ALL.map(SubtestVerdict::word));
    let sources = file["results"][0]["evidence"].as_array().expect("evidence");
    let sources: Vec<_> =
        sources.iter().map(|evidence| evidence["source"].as_str().expect("source")).collect();
    assert_eq!(sources, EvidenceSource::ALL.map(EvidenceSource::name));
    let boot = &file["boots"][0];
    assert_eq!(boot["accel"], crate::model::Accel::Tcg.name());
    assert_eq!(boot["machine"]["backend"], crate::model::Backend::Qemu.name());
    assert_eq!(file["plan"]["tests"][0]["metrics"][0]["unit"], kregress_wire::Unit::Nanoseconds.symbol());
}

/// Names in the first column of the table under this heading of the README.
fn table(heading: &str) -> Vec<String> {
    let text = std::fs::read_to_string(project("results/README.md")).expect("results/README.md");
    let section = text.split(&format!("\n## {heading}\n")).nth(1).expect(heading);
    let section = section.split("\n## ").next().expect("section");
    let cell =
        |line: &str| line.strip_prefix("| `").and_then(|rest| rest.split('`').next()).map(str::to_owned);
    section.lines().filter_map(cell).collect()
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

#[test]
fn the_readme_lists_the_keys_of_a_run_file() {
    let schema = read("results/run.schema.json");
    let mut keys = Vec::new();
    let properties = |value: &Value| -> Vec<String> {
        value["properties"].as_object().expect("properties").keys().cloned().collect()
    };
    keys.extend(properties(&schema));
    for (prefix, part) in
        [("plan", "plan"), ("boots[]", "boot"), ("boots[]", "launch"), ("results[]", "result")]
    {
        keys.extend(properties(&schema["$defs"][part]).iter().map(|key| format!("{prefix}.{key}")));
    }
    assert_eq!(sorted(table("run.json")), sorted(keys));
}

#[test]
fn the_readme_lists_the_keys_of_a_bisection() {
    let schema = read("results/bisection.schema.json");
    let keys = |value: &Value, prefix: &str| -> Vec<String> {
        let properties = value["properties"].as_object().expect("properties");
        properties.keys().map(|key| format!("{prefix}{key}")).collect()
    };
    let mut all = keys(&schema, "");
    all.extend(keys(&schema["$defs"]["row"], "commits[]."));
    all.extend(keys(&schema["$defs"]["answer"], "answers[]."));
    // What a row says of its commit is what every commit has.
    all.retain(|key| key != "commits[].commit");
    let text = std::fs::read_to_string(project("results/README.md")).expect("results/README.md");
    let section = text.split("\n## Bisections\n").nth(1).and_then(|it| it.split("\n## ").next());
    let rows = section.expect("a section").lines().filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" |").next());
    let names = cells.flat_map(|cell| cell.split('`').filter(|it| !it.trim_matches([',', ' ']).is_empty()));
    assert_eq!(sorted(names.map(str::to_owned).collect()), sorted(all));
}

#[test]
fn the_readme_lists_the_verdicts_and_their_kinds() {
    let schema = read("results/run.schema.json");
    let text = std::fs::read_to_string(project("results/README.md")).expect("results/README.md");
    let mut verdicts = Vec::new();
    for verdict in schema["$defs"]["verdict"]["oneOf"].as_array().expect("oneOf") {
        let word = verdict["properties"]["verdict"]["const"].as_str().expect("verdict");
        let row = text.lines().find(|line| line.starts_with(&format!("| `{word}` |"))).expect(word);
        let kinds = verdict["properties"]["kind"]["enum"].as_array().into_iter().flatten();
        for kind in kinds.map(|kind| kind.as_str().expect("kind")) {
            assert!(row.contains(&format!("`{kind}`")), "{kind} is missing in: {row}");
        }
        verdicts.push(word.to_owned());
    }
    assert_eq!(
        sorted(table("Verdicts").into_iter().filter(|name| name != "verdict").collect()),
        sorted(verdicts)
    );
}

#[test]
fn the_readme_lists_the_events() {
    let schema = read("results/event.schema.json");
    let events = schema["oneOf"].as_array().expect("oneOf").iter();
    let events =
        events.map(|event| event["properties"]["event"]["const"].as_str().expect("event").to_owned());
    assert_eq!(sorted(table("events.jsonl")), sorted(events.collect()));
}

#[test]
fn the_readme_lists_the_exit_codes() {
    assert_eq!(table("Exit code"), ["130", "1", "3", "4", "0"]);
}
