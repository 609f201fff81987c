//! `--message-format json`: what happens, one event per line, on stdout.
//!
//! The lines are those of `events.jsonl` (`results/event.schema.json`), with
//! the events of the moment besides. They are JSON that is also safe to print:
//! what a terminal or a CI runner could take for a command is written as
//! `\u....`, which a reader of JSON turns back.

use std::io::{self, Write};
use std::time::Instant;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};

use super::compared::Compared;
use super::text_safety;
use crate::analysis::{Comparison, Overall};
use crate::clock;
use crate::model::{Observer, RunEvent};
use crate::results::format::{Event, Line, Run, VERSION};
use crate::results::{self, milliseconds, to_event};

/// Writes events as they come.
#[derive(Debug)]
pub struct JsonEvents<W> {
    out: W,
    started: Instant,
    lines: u64,
}

impl<W: Write> JsonEvents<W> {
    /// Writes to `out`, which is flushed after every line.
    pub fn new(out: W) -> Self {
        Self { out, started: clock::now(), lines: 0 }
    }

    fn write(&mut self, event: &RunEvent) -> io::Result<()> {
        let elapsed_ms = milliseconds(clock::now().saturating_duration_since(self.started));
        self.tell(elapsed_ms, to_event(event))
    }

    /// Writes an event of which it is known when it happened, in milliseconds since the
    /// start of the run.
    ///
    /// # Errors
    ///
    /// Fails when the writer does.
    pub(crate) fn tell(&mut self, elapsed_ms: u64, event: Event) -> io::Result<()> {
        let line = Line { version: VERSION, seq: self.lines, elapsed_ms, event };
        // One write per line, so that lines of several writers do not mix.
        self.out.write_all(&self::line(&line)?)?;
        self.out.flush()?;
        self.lines += 1;
        Ok(())
    }
}

impl<W: Write + Send> Observer for JsonEvents<W> {
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        self.write(event)
            .map_err(|error| anyhow::anyhow!("cannot write an event to standard output: {error}"))
    }
}

/// Writes the record of a run as `run.json` has it, on one line.
///
/// # Errors
///
/// Fails when `out` does.
pub fn write(run: &Run, mut out: impl Write) -> io::Result<()> {
    out.write_all(&line(&results::with_summary(run))?)
}

/// A document on one line, with its end.
///
/// # Errors
///
/// Fails where the document cannot be JSON.
pub fn line(document: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    document.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Printable))?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// A comparison as `report --format json` writes it
/// (`results/comparison.schema.json`).
#[derive(Debug, Serialize)]
pub(crate) struct ComparisonDocument<'a> {
    version: u32,
    kind: &'static str,
    overall: Overall,
    #[serde(flatten)]
    comparison: &'a Comparison,
}

impl<'a> ComparisonDocument<'a> {
    pub(crate) fn of(compared: &Compared<'a>) -> Self {
        let Compared { comparison, overall, .. } = *compared;
        Self { version: COMPARISON_VERSION, kind: "comparison", overall, comparison }
    }
}

/// Version of the document; its rules are those of [`VERSION`].
const COMPARISON_VERSION: u32 = 1;

/// Writes a comparison on one line.
///
/// # Errors
///
/// Fails when `out` does.
pub fn write_comparison(compared: &Compared<'_>, mut out: impl Write) -> io::Result<()> {
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, Printable);
    ComparisonDocument::of(compared).serialize(&mut serializer)?;
    out.write_all(b"\n")
}

/// Compact JSON in which strings hold nothing that acts on who prints it.
pub(super) struct Printable;

impl Formatter for Printable {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut safe = CompactFormatter;
        let mut plain = 0;
        let mut before = ' ';
        for (at, c) in fragment.char_indices() {
            // `##[command]` is an order to GitHub's runner wherever it stands.
            let order = c == '#' && before == '#';
            before = c;
            if !order && text_safety::is_shown(c) {
                continue;
            }
            safe.write_string_fragment(writer, &fragment[plain..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + c.len_utf8();
        }
        safe.write_string_fragment(writer, &fragment[plain..])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::testdata;
    use crate::results::testing;

    fn written(events: &[RunEvent]) -> String {
        let mut out = JsonEvents::new(Vec::new());
        for event in events {
            out.observe(event).expect("to memory");
        }
        String::from_utf8(out.out).expect("utf-8")
    }

    #[test]
    fn each_event_is_one_line_with_version_and_number() {
        let mut events = testing::started(&["stable"], &["smoke/a"], 1);
        events.push(testing::boot(1, "stable"));
        events.push(RunEvent::TestProgress {
            boot: crate::model::BootId(1),
            test: testing::test_id("smoke/a"),
            done: 1,
            total: 10,
        });
        let text = written(&events);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).expect("json")).collect();
        let names: Vec<_> = lines.iter().map(|line| line["event"].as_str().expect("event")).collect();
        assert_eq!(names, ["run-started", "boot-started", "test-progress"]);
        for (number, line) in lines.iter().enumerate() {
            assert_eq!(
                (line["version"].as_u64(), line["seq"].as_u64()),
                (Some(u64::from(VERSION)), Some(number as u64))
            );
        }
    }

    #[test]
    fn a_notice_looks_like_this() {
        let text = written(&[RunEvent::Notice("KVM hangs: \u{9b}2J ##[error] \"TCG\" is used".into())]);
        let expected = r#""event":"notice","text":"KVM hangs: \u009b2J #\u0023[error] \"TCG\" is used"}"#;
        assert!(text.trim_end().ends_with(expected), "{text}");
    }

    #[test]
    fn a_closed_pipe_is_an_error() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let error = JsonEvents::new(Closed).observe(&testing::finished()).expect_err("closed");
        assert_eq!(error.to_string(), "cannot write an event to standard output: broken pipe");
    }

    #[test]
    fn a_comparison_satisfies_its_schema_and_the_schema_refuses_the_rest() {
        let read = |name: &str| -> serde_json::Value {
            let path = format!("{}/../../results/{name}", env!("CARGO_MANIFEST_DIR"));
            serde_json::from_str(&std::fs::read_to_string(path).expect(name)).expect(name)
        };
        let run = jsonschema::Resource::from_contents(read("run.schema.json")).expect("resource");
        let validator = jsonschema::options()
            .with_base_uri("file:///results/comparison.schema.json")
            .with_resource("file:///results/run.schema.json", run)
            .build(&read("comparison.schema.json"))
            .expect("a schema");
        let (hostile, _) = testdata::hostile();
        for data in [testdata::regression(), testdata::unchanged(), testdata::empty(), hostile] {
            let mut bytes = Vec::new();
            write_comparison(&data.compared(&[]), &mut bytes).expect("to memory");
            assert!(bytes.iter().all(|byte| *byte == b'\n' || !byte.is_ascii_control()));
            let value: serde_json::Value = serde_json::from_slice(&bytes).expect("json");
            let errors: Vec<String> = validator
                .iter_errors(&value)
                .map(|error| format!("{}: {error}", error.instance_path))
                .collect();
            assert_eq!(errors, Vec::<String>::new());
            for key in ["surprise", "version", "kind", "overall"] {
                let mut bad = value.clone();
                bad[key] = serde_json::json!("else");
                assert!(!validator.is_valid(&bad), "{key} was let through");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_said_is_printable_and_comes_back_as_it_was(text in "(\\PC|\\pC|#|\\[|\u{9b}){0,40}") {
            let json = written(&[RunEvent::Notice(text.clone())]);
            prop_assert!(json.trim_end().chars().all(|c| !c.is_control()), "{:?}", json);
            prop_assert!(!json.contains("##["));
            let value: serde_json::Value = serde_json::from_str(&json).expect("json");
            prop_assert_eq!(value["text"].as_str().expect("text"), text);
        }
    }
}
