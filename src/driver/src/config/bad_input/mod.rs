//! What the user reads when a file is wrong: one test per way of being wrong,
//! and the promise that no text makes the parsers panic.

mod any_file;
mod kernel_entries;
mod suite_entries;

use std::path::PathBuf;

use proptest::prelude::*;

use super::paths::Base;
use super::{fixtures, kernels, suite};

fn base() -> Base {
    Base { directory: "/net".into(), home: Some(PathBuf::from("/home/me")) }
}

/// The message for a `kregress.yaml`.
fn config(text: &str) -> String {
    let fragments = ["base".to_owned(), "virtme-ng".to_owned()];
    kernels::parse("kregress.yaml", text, &base(), &fragments).expect_err("must be refused").to_string()
}

/// The message for a `kregress.yaml` with this entry of `kernels`.
fn kernel(lines: &str) -> String {
    config(&format!("version: 1\nkernels:\n  mine:\n{}", indented(lines, 4)))
}

/// The message for a suite.
fn suite(text: &str) -> String {
    suite::parse("net", "suites/net.yaml", text, &fixtures::workloads())
        .expect_err("must be refused")
        .to_string()
}

/// The message for a suite with this test, its timeout given.
fn test(lines: &str) -> String {
    suite(&format!("version: 1\nsummary: x\ntests:\n  drain:\n    timeout: 5s\n{}", indented(lines, 4)))
}

fn indented(lines: &str, by: usize) -> String {
    lines.lines().map(|line| format!("{:by$}{line}\n", "")).collect()
}

/// Text that is nearly a file of ours, so that it gets past the parser of YAML.
fn nearly() -> impl Strategy<Value = String> {
    let words = prop::sample::select(vec![
        "version",
        "1",
        "kernels",
        "git",
        "fragments",
        "base",
        "tests",
        "workload",
        "netns/drain",
        "timeout",
        "5s",
        "matrix",
        "rounds",
        "metrics",
        "name",
        "summary",
        "machine",
        "cpus",
        "~",
        "*a",
        "&a",
        "!x",
        "\"q\"",
        "'s'",
        "|",
        ">",
        "ä",
        "\u{2028}",
        "\u{feff}",
        "\0",
        "<<",
        "? ",
        "0x1",
        "-1",
        "1.5",
        ".inf",
    ]);
    let glue = prop::sample::select(vec![
        ": ", ":\n  ", "\n", "\n  ", "\n    ", "\r\n", "- ", "[", "]", "{", "}", ", ", " ", "\t", "#",
        "---\n",
    ]);
    prop::collection::vec((words, glue), 0..40)
        .prop_map(|parts| parts.into_iter().map(|(word, glue)| format!("{word}{glue}")).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_makes_the_parsers_panic(text in prop_oneof![nearly(), any::<String>()]) {
        let fragments = ["base".to_owned()];
        let messages = [
            kernels::parse("k", &text, &base(), &fragments).err().map(|error| error.to_string()),
            suite::parse("s", "s", &text, &fixtures::workloads()).err().map(|error| error.to_string()),
        ];
        for message in messages.into_iter().flatten() {
            // No control character of the file reaches the terminal.
            prop_assert!(!message.chars().any(|c| c.is_control() && c != '\n'), "{:?}", message);
        }
    }

    #[test]
    fn no_change_of_a_good_file_makes_the_parsers_panic(at in 0_usize..4000, text in "\\PC{0,3}|[\\n:\\[\\]{}]") {
        let mut good = super::embedded::CONFIG.to_owned();
        let at = (0..=at % good.len()).rev().find(|at| good.is_char_boundary(*at)).expect("0 is one");
        good.insert_str(at, &text);
        let fragments = ["base".to_owned(), "virtme-ng".to_owned()];
        if let Ok(file) = kernels::parse("k", &good, &base(), &fragments) {
            prop_assert!(file.kernels.iter().any(|kernel| kernel.name == file.default_kernel));
        }
    }
}
