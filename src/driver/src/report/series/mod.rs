//! How a series is shown: on the screen, as a reply to the list, in a pull request, as
//! a page (`html::series`), as JUnit (`junit::series`), and for programs.
//!
//! Reads [`Checked`](crate::series::checked::Checked) and decides nothing about it.
//! `words` has the sentences that the forms share. Whatever patches, compilers and
//! kernels say goes through `text_safety`.

mod human;
mod markdown;
#[cfg(test)]
pub(crate) mod testdata;
mod text;
pub(crate) mod words;

use std::io::{self, Write};

pub use human::write as human;
pub use markdown::of_series as markdown;
pub use text::of_series as text;
pub use words::{basis, begins, built, change_text};

pub use super::annotations::of_series as annotations;
pub use super::html::of_series as html;
use super::indented;
pub use super::junit::of_series as junit;
use crate::series::checked::Checked;

/// Writes it for programs; `results/series.schema.json` describes it.
///
/// # Errors
///
/// Fails when `out` does.
pub fn json(checked: &Checked, out: impl Write) -> io::Result<()> {
    indented::write(checked, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(checked: &Checked) -> serde_json::Value {
        let mut out = Vec::new();
        json(checked, &mut out).expect("written");
        assert!(!String::from_utf8_lossy(&out).contains(['\u{1b}', '\u{202e}']), "acts on a terminal");
        serde_json::from_slice(&out).expect("JSON")
    }

    fn schema() -> jsonschema::Validator {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../results/series.schema.json");
        let text = std::fs::read_to_string(path).expect("a schema");
        jsonschema::validator_for(&serde_json::from_str(&text).expect("JSON")).expect("a schema")
    }

    #[test]
    fn every_outcome_satisfies_the_schema_and_comes_back_as_it_was() {
        let schema = schema();
        for (name, checked) in testdata::all() {
            let value = document(&checked);
            let complaints: Vec<String> =
                schema.iter_errors(&value).map(|it| format!("{}: {it}", it.instance_path)).collect();
            assert_eq!(complaints, Vec::<String>::new(), "{name}");
            let read: Checked = serde_json::from_value(value).expect("a series");
            assert_eq!(read, checked, "{name}");
        }
    }

    #[test]
    fn the_schema_refuses_what_is_not_in_the_format() {
        let schema = schema();
        let good = document(&testdata::six());
        for path in [
            "/surprise",
            "/version",
            "/outcome",
            "/revisions/0/surprise",
            "/revisions/1/image/image",
            "/revisions/2/warnings/surprise",
            "/revisions/3/build/place/surprise",
            "/defects/0/what",
            "/defects/0/since/surprise",
            "/performance/verdict",
            "/performance/changes/0/found/found",
        ] {
            let mut bad = good.clone();
            let (parent, key) = path.rsplit_once('/').expect("path");
            bad.pointer_mut(parent).expect(path)[key] = "else".into();
            assert!(!schema.is_valid(&bad), "{path} was let through");
        }
    }
}
