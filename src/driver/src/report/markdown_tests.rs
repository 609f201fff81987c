use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;
use crate::report::testdata;

/// What is left of Markdown when its code is taken out: by the rules of
/// CommonMark, spans of equal runs of backticks and fenced blocks.
pub(in crate::report) fn outside_of_code(text: &str) -> String {
    let mut out = String::new();
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        let ticks = &line[..line.len() - line.trim_start_matches('`').len()];
        match fence {
            Some(open) if line == open => fence = None,
            Some(_) => {}
            None if ticks.len() >= 3 && !line[ticks.len()..].contains('`') => fence = Some(ticks),
            None => {
                out.push_str(&without_spans(line));
                out.push('\n');
            }
        }
    }
    assert_eq!(fence, None, "a block without an end: {text}");
    out
}

fn without_spans(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        out.push_str(&rest[..start]);
        let ticks = rest[start..].len() - rest[start..].trim_start_matches('`').len();
        let inner = &rest[start + ticks..];
        let mut at = 0;
        let end = loop {
            let Some(next) = inner[at..].find('`').map(|next| at + next) else { break None };
            let run = inner[next..].len() - inner[next..].trim_start_matches('`').len();
            if run == ticks {
                break Some(next + run);
            }
            at = next + run;
        };
        match end {
            Some(end) => rest = &inner[end..],
            None => {
                out.push_str(&rest[start..start + ticks]);
                rest = inner;
            }
        }
    }
    out + rest
}

fn reports() -> Vec<String> {
    let (data, run) = testdata::hostile();
    let runs = [&run];
    vec![
        of_comparison(&data.compared(&runs)),
        of_run(&run),
        of_comparison(&testdata::regression().compared(&[&testdata::run()])),
        of_comparison(&testdata::empty().compared(&[])),
        of_comparison(&testdata::huge(500).compared(&runs)),
    ]
}

#[test]
fn a_comparison_reads_like_this_in_a_pull_request() {
    let data = testdata::regression();
    let mut run = testdata::run();
    // The environment is long, and tested where it is made.
    run.boots.truncate(4);
    let text = of_comparison(&data.compared(&[&run]));
    let (shown, _) = text.split_once("<details><summary>Environment").expect("environment");
    assert_snapshot!(shown);
}

#[test]
fn hostile_text_stands_in_code_only() {
    for report in reports() {
        let rest = outside_of_code(&report);
        for bad in ["<script", "@torvalds", "#123", "onload", "`"] {
            assert!(!rest.contains(bad), "{bad} in {rest}");
        }
    }
}

#[test]
fn rows_of_a_table_have_as_many_cells_as_its_heading() {
    for report in reports() {
        let mut cells = None;
        for line in report.lines() {
            if !line.starts_with('|') {
                cells = None;
                continue;
            }
            let count = line.replace("\\|", "").matches('|').count();
            assert_eq!(*cells.get_or_insert(count), count, "{line}");
        }
    }
}

#[test]
fn a_report_fits_into_a_comment_and_says_what_did_not() {
    for report in reports() {
        assert!(report.chars().count() < LIMIT, "{}", report.chars().count());
        // Nor is it too long for the summary of a GitHub job, whatever its characters.
        const { assert!(LIMIT * 4 < 1 << 20) };
    }
    let mut parts = Parts::new(String::new());
    parts.add("small", "x".to_owned());
    parts.add("large", "x".repeat(LIMIT));
    assert!(parts.finish().contains("does not fit into a comment: large."));
}

#[test]
fn what_is_folded_is_unfolded() {
    for report in reports() {
        let rest = outside_of_code(&report);
        assert_eq!(rest.matches("<details>").count(), rest.matches("</details>").count());
    }
}

proptest! {
    #[test]
    fn no_text_gets_out_of_its_code(text in "[`|\\\\ <>@#a-c\\n]{0,30}") {
        let span = without_spans(&code(&text));
        prop_assert_eq!(span.trim(), "");
        let block = outside_of_code(&fence(&text));
        prop_assert_eq!(block.trim(), "");
    }
}
