//! What a run left on disk, and what is true of every run: files are as their
//! schemas say, each planned test has its verdicts and no other, JUnit says the
//! same, and nothing in it would be obeyed by a terminal.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use jsonschema::{Resource, Validator};
use serde_json::Value;

/// No character that moves a cursor, turns text around or hides.
#[track_caller]
pub(crate) fn check_harmless(name: &str, text: &str) {
    let obeyed = |c: char| {
        let bidi = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}');
        (c.is_control() && c != '\n' && c != '\t') || bidi
    };
    if let Some(at) = text.find(obeyed) {
        let from = text.floor_char_boundary(at.saturating_sub(80));
        panic!("{name} has {:?} behind {:?}", text[at..].chars().next(), &text[from..at]);
    }
}

fn schema(name: &str) -> Validator {
    let read = |name: &str| -> Value {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../results").join(name);
        serde_json::from_slice(&fs::read(path).expect("a schema")).expect("JSON")
    };
    let resource = |name: &str| Resource::from_contents(read(name)).expect("a schema");
    jsonschema::options()
        .with_base_uri("file:///results/self.json")
        .with_resource("file:///results/run.schema.json", resource("run.schema.json"))
        .with_resource("file:///results/comparison.schema.json", resource("comparison.schema.json"))
        .build(&read(name))
        .expect("a schema")
}

/// Holds what a bisection found against its schema.
#[track_caller]
pub(crate) fn check_bisection(found: &Value) {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| schema("bisection.schema.json"));
    let complaints: Vec<_> = schema.iter_errors(found).map(|error| error.to_string()).collect();
    assert!(complaints.is_empty(), "{complaints:?}: {found}");
}

/// Holds what became of a series against its schema.
#[track_caller]
pub(crate) fn check_series(found: &Value) {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| schema("series.schema.json"));
    let complaints: Vec<_> = schema.iter_errors(found).map(|error| error.to_string()).collect();
    assert!(complaints.is_empty(), "{complaints:?}: {found}");
}

/// Holds every line against the schema of events, and gives the lines.
#[track_caller]
pub(crate) fn check_events(text: &str) -> Vec<Value> {
    static SCHEMA: OnceLock<Validator> = OnceLock::new();
    let schema = SCHEMA.get_or_init(|| schema("event.schema.json"));
    let line = |line| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let complaints: Vec<_> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(complaints.is_empty(), "{complaints:?}: {line}");
        value
    };
    text.lines().map(line).collect()
}

/// A `run.json`.
pub(crate) struct Record {
    pub(crate) dir: PathBuf,
    pub(crate) json: Value,
}

impl Record {
    /// Reads the record of a run that came to its end, and holds against it
    /// what is true of all of them.
    #[track_caller]
    pub(crate) fn read(dir: &Path) -> Self {
        let text = fs::read(dir.join("run.json")).expect("run.json");
        let record = Self { dir: dir.to_owned(), json: serde_json::from_slice(&text).expect("JSON") };
        record.check();
        check_events(&record.text("events.jsonl"));
        record.check_junit(&record.text("junit.xml"));
        record
    }

    /// A record that did not come from its file.
    #[track_caller]
    pub(crate) fn of(dir: &Path, json: &str) -> Self {
        let record = Self { dir: dir.to_owned(), json: serde_json::from_str(json).expect("JSON") };
        record.check();
        record
    }

    #[track_caller]
    fn check(&self) {
        static SCHEMA: OnceLock<Validator> = OnceLock::new();
        let schema = SCHEMA.get_or_init(|| schema("run.schema.json"));
        let complaints: Vec<_> = schema.iter_errors(&self.json).map(|error| error.to_string()).collect();
        assert!(complaints.is_empty(), "{complaints:?}: {}", self.json);
        // Every planned kernel, boot and test has exactly one verdict, and one more
        // for each attempt that followed one that did not pass.
        let plan = &self.json["plan"];
        let number = |value: &Value| value.as_u64().expect("a number");
        let mut expected = BTreeMap::new();
        for kernel in list(&plan["kernels"]) {
            for test in list(&plan["tests"]) {
                let turns = self.json["turns"][word(&test["id"])].as_u64().unwrap_or(0);
                for repeat in 1..=turns.max(number(&plan["boots_per_kernel"])) {
                    expected.insert((word(kernel), word(&test["id"]), repeat, 1), 1);
                }
            }
        }
        let mut seen = BTreeMap::new();
        let mut passed = BTreeMap::new();
        for result in list(&self.json["results"]) {
            let (repeat, attempt) = (number(&result["repeat"]), number(&result["attempt"]));
            let key = (word(&result["kernel"]), word(&result["test"]), repeat);
            *seen.entry((key.0, key.1, key.2, attempt)).or_insert(0) += 1;
            if attempt > 1 {
                assert!(attempt <= number(&plan["retries"]) + 1, "{result}");
                assert_eq!(passed.get(&(key, attempt - 1)), Some(&false), "{result}");
                expected.insert((key.0, key.1, key.2, attempt), 1);
            }
            passed.insert((key, attempt), matches!(word(&result["verdict"]), "pass" | "skip"));
        }
        assert_eq!(seen, expected, "verdicts of {}", self.json);
    }

    /// JUnit says the same as the record, in characters that XML has.
    #[track_caller]
    fn check_junit(&self, xml: &str) {
        check_harmless("junit.xml", xml);
        let count = |name: &str| {
            let mut reader = quick_xml::Reader::from_str(xml);
            let mut count = 0;
            loop {
                match reader.read_event().expect("well-formed XML") {
                    quick_xml::events::Event::Eof => return count,
                    quick_xml::events::Event::Start(tag) | quick_xml::events::Event::Empty(tag) => {
                        count += u64::from(tag.name().as_ref() == name.as_bytes());
                    }
                    _ => {}
                }
            }
        };
        if !self.json["plan"]["comparison"].is_null() {
            // Cases are of what changed: `tests/cli/compare.rs` looks at them.
            return;
        }
        // A test is one case however often it was booted, with its worst verdict;
        // each kernel has a case for its health.
        let mut turns: BTreeMap<(&str, &str, u64), Vec<u8>> = BTreeMap::new();
        for result in list(&self.json["results"]) {
            let rank = match word(&result["verdict"]) {
                "fail" => 3,
                "error" => 2,
                "pass" => 1,
                _ => 0,
            };
            let repeat = result["repeat"].as_u64().expect("a number");
            let turn = turns.entry((word(&result["kernel"]), word(&result["test"]), repeat)).or_default();
            turn.push(rank);
        }
        let mut worst: BTreeMap<(&str, &str), u8> = BTreeMap::new();
        for ((kernel, test, _), ranks) in &turns {
            // Passed on a later attempt: neither a failure nor an error.
            let rank = if ranks.contains(&1) { 1 } else { *ranks.iter().max().expect("an attempt") };
            let case = worst.entry((kernel, test)).or_default();
            *case = rank.max(*case);
        }
        let kernels = |word: &str| self.json["summary"]["kernels"][word].as_u64().expect("a number");
        for (tag, rank, word) in [("failure", 3, "fail"), ("error", 2, "error"), ("skipped", 0, "skip")] {
            let tests = worst.values().filter(|found| **found == rank).count() as u64;
            // Tests that report cases are booted once in these tests.
            let all = list(&self.json["results"]).iter();
            let cases = all.filter_map(|result| result["subtests"].as_array()).flatten();
            let cases = cases.filter(|it| it["verdict"] == word).count() as u64;
            assert_eq!(count(tag), tests + cases + kernels(word), "<{tag}> in {xml}");
        }
    }

    /// A file of the run.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        let path = self.dir.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// One line per verdict: boot, test, verdict, first line of the message.
    pub(crate) fn verdicts(&self) -> String {
        let line = |result: &Value| {
            let boot = result["boot"].as_u64().map_or("-".to_owned(), |boot| boot.to_string());
            let mut line = format!("{boot} {} {}", word(&result["test"]), word(&result["verdict"]));
            for key in ["kind", "message", "reason"] {
                if let Some(text) = result.get(key).and_then(Value::as_str) {
                    line = format!("{line}: {}", text.lines().next().unwrap_or_default());
                }
            }
            line.replace(self.dir.to_str().expect("UTF-8"), "[RUN]")
        };
        list(&self.json["results"]).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// One line per boot: number, kernel, how it ended.
    pub(crate) fn boots(&self) -> String {
        let line = |boot: &Value| {
            let end = &boot["end"];
            let reason = end.get("reason").and_then(Value::as_str).unwrap_or_default().replace('\n', "\n  ");
            let line = format!("{} {} {} {reason}", boot["id"], word(&boot["kernel"]), word(&end["how"]));
            line.trim_end().to_owned()
        };
        list(&self.json["boots"]).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    /// The verdict of a test, whole.
    #[track_caller]
    pub(crate) fn result(&self, test: &str) -> &Value {
        let found = list(&self.json["results"]).iter().find(|result| result["test"] == test);
        found.unwrap_or_else(|| panic!("no verdict of {test} in {}", self.json))
    }
}

/// The elements of an array.
#[track_caller]
pub(crate) fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap_or_else(|| panic!("no array: {value}"))
}

/// A text.
#[track_caller]
pub(crate) fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}
