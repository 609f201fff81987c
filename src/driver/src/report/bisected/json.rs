//! A bisection for programs: what was found as it is, with a version. Printable
//! as all JSON of ours (`report::json`), and indented, for people look into it.

use std::io::{self, Write};

use serde::Serialize;

use crate::bisect::bisected::Bisected;
use crate::report::indented;

/// Version of the document. Its rules are those of `run.json`.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    kind: &'static str,
    #[serde(flatten)]
    bisected: &'a Bisected,
}

/// Writes the document, with a newline at its end.
///
/// # Errors
///
/// Fails when `out` does.
pub fn write(bisected: &Bisected, out: impl Write) -> io::Result<()> {
    indented::write(&Document { version: VERSION, kind: "bisection", bisected }, out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::bisected::testdata;

    fn text(bisected: &Bisected) -> String {
        let mut bytes = Vec::new();
        write(bisected, &mut bytes).expect("written");
        String::from_utf8(bytes).expect("utf-8")
    }

    #[test]
    fn the_document_says_what_it_is_and_holds_all_that_was_found() {
        let json: serde_json::Value = serde_json::from_str(&text(&testdata::confirmed())).expect("json");
        assert_eq!((&json["version"], &json["kind"]), (&1.into(), &"bisection".into()));
        assert_eq!(json["ending"]["ending"], "found");
        assert_eq!(json["answers"][0]["confirmation"]["confirmation"], "confirmed");
        assert_eq!(json["commits"].as_array().map(Vec::len), Some(40));
        assert_eq!(json["question"]["metric"]["name"], "drain_time");
    }

    #[test]
    fn strings_come_back_as_they_were_and_hold_nothing_that_acts_on_a_terminal() {
        let it = testdata::hostile();
        let text = text(&it);
        assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
        let json: serde_json::Value = serde_json::from_str(&text).expect("json");
        assert_eq!(json["good"]["subject"].as_str(), Some(it.good.subject.as_str()));
    }

    fn schema() -> jsonschema::Validator {
        let read = |name: &str| -> serde_json::Value {
            let path = format!("{}/../../results/{name}", env!("CARGO_MANIFEST_DIR"));
            serde_json::from_str(&std::fs::read_to_string(path).expect(name)).expect(name)
        };
        let other = |name: &str| jsonschema::Resource::from_contents(read(name)).expect("resource");
        jsonschema::options()
            .with_base_uri("file:///results/bisection.schema.json")
            .with_resource("file:///results/run.schema.json", other("run.schema.json"))
            .with_resource("file:///results/comparison.schema.json", other("comparison.schema.json"))
            .build(&read("bisection.schema.json"))
            .expect("a schema")
    }

    #[test]
    fn every_end_can_be_written_and_satisfies_the_schema() {
        let schema = schema();
        let others = [testdata::exact(), testdata::pass_fail(), testdata::hostile()];
        let others = others.into_iter().map(|it| ("others", it));
        for (name, it) in testdata::all().into_iter().chain(others) {
            let text = text(&it);
            assert!(text.starts_with("{\n  \"version\": 1,\n"), "{name}");
            let value: serde_json::Value = serde_json::from_str(&text).expect("json");
            let complaint =
                |error: jsonschema::ValidationError<'_>| format!("{}: {error}", error.instance_path);
            let complaints: Vec<String> = schema.iter_errors(&value).map(complaint).collect();
            assert_eq!(complaints, Vec::<String>::new(), "{name}");
        }
    }

    #[test]
    fn the_schema_refuses_what_is_not_in_the_format() {
        let schema = schema();
        let good: serde_json::Value = serde_json::from_str(&text(&testdata::two())).expect("json");
        for path in [
            "/surprise",
            "/version",
            "/kind",
            "/question/surprise",
            "/question/metric/unit",
            "/question/of",
            "/commits/0/probability",
            "/commits/0/state/surprise",
            "/later/0/surprise",
            "/endpoints/kind",
            "/ending/reason",
            "/answers/0/confirmation/surprise",
            "/answers/0/reverted/reverted",
            "/answers/0/breakdown/surprise",
            "/spent/boots",
            "/remaining",
        ] {
            let mut bad = good.clone();
            let (parent, key) = path.rsplit_once('/').expect("path");
            bad.pointer_mut(parent).expect(path)[key] = "else".into();
            assert!(!schema.is_valid(&bad), "{path} was let through");
        }
    }
}
