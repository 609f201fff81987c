//! What holds for every input.

use proptest::prelude::*;

use super::{Dialect, Ending, MAX_SUBTESTS, Parser, Report};
use crate::model::SubtestVerdict;

fn read(dialect: Dialect, ending: Ending, bytes: &[u8], size: usize) -> Report {
    let mut parser = Parser::new(dialect);
    bytes.chunks(size).for_each(|chunk| parser.push(chunk));
    parser.finish(ending)
}

fn passes(report: &Report) -> usize {
    report.subtests.iter().filter(|it| it.verdict == SubtestVerdict::Pass).count()
}

/// Pieces of which lines are made, so that much of what comes is KTAP.
fn any_text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("ok ".to_owned()),
        Just("not ok ".to_owned()),
        (0_u64..9).prop_map(|number| number.to_string()),
        Just("\n".to_owned()),
        Just("\n".to_owned()),
        Just("  ".to_owned()),
        Just("# ".to_owned()),
        Just("TAP version 13\n".to_owned()),
        Just("    KTAP version 1\n".to_owned()),
        Just("# Subtest: s\n".to_owned()),
        Just("1..".to_owned()),
        Just(" # SKIP ".to_owned()),
        Just(" # TODO ".to_owned()),
        Just(" # TIMEOUT 3".to_owned()),
        Just("Bail out!\n".to_owned()),
        Just("  ---\n".to_owned()),
        Just("  ...\n".to_owned()),
        Just("[    1.5] ".to_owned()),
        Just("\r\x1b[0m".to_owned()),
        "\\PC{0,6}",
    ];
    proptest::collection::vec(piece, 0..80).prop_map(|pieces| pieces.concat())
}

fn any_dialect() -> impl Strategy<Value = Dialect> {
    prop_oneof![Just(Dialect::Output), Just(Dialect::KernelLog)]
}

proptest! {
    #[test]
    fn pieces_of_any_size_give_the_same(text in any_text(), dialect in any_dialect(), size in 1_usize..40) {
        let whole = read(dialect, Ending::Complete, text.as_bytes(), usize::MAX);
        prop_assert_eq!(read(dialect, Ending::Complete, text.as_bytes(), size), whole);
    }

    #[test]
    fn rubbish_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600), dialect in any_dialect()) {
        for ending in [Ending::Complete, Ending::CutOff] {
            prop_assert!(read(dialect, ending, &bytes, 7).subtests.len() <= bytes.len() + 1);
        }
    }

    #[test]
    fn no_more_passes_than_lines_that_say_ok(text in any_text(), dialect in any_dialect()) {
        let report = read(dialect, Ending::Complete, text.as_bytes(), 64);
        let mut said = 0;
        for line in text.split(['\n', '\r']) {
            said += usize::from(line.contains("ok") && !line.contains("not ok"));
        }
        prop_assert!(passes(&report) <= said, "{report:?}");
    }

    #[test]
    fn every_case_has_a_name_and_no_two_have_the_same(text in any_text()) {
        let report = read(Dialect::Output, Ending::Complete, text.as_bytes(), 64);
        for subtest in &report.subtests {
            prop_assert!(!subtest.path.is_empty() && subtest.path.iter().all(|name| !name.is_empty()));
        }
    }

    #[test]
    fn what_is_cut_off_is_never_all_well(text in any_text()) {
        let report = read(Dialect::Output, Ending::CutOff, text.as_bytes(), 64);
        prop_assert!(report.subtests.iter().any(|it| it.verdict == SubtestVerdict::Error));
    }

    #[test]
    fn a_line_that_is_lost_from_a_planned_list_is_missed(count in 1_u64..30, lost in any::<prop::sample::Index>()) {
        let lost = lost.index(usize::try_from(count).expect("small")) as u64 + 1;
        let results = (1..=count).filter(|number| *number != lost);
        let text = results.fold(format!("1..{count}\n"), |text, number| format!("{text}ok {number} n{number}\n"));
        let report = read(Dialect::Output, Ending::Complete, text.as_bytes(), 64);
        let errors: Vec<_> =
            report.subtests.iter().filter(|it| it.verdict == SubtestVerdict::Error).collect();
        prop_assert_eq!(errors.len(), 1);
        prop_assert_eq!(errors[0].name(), lost.to_string());
    }
}

#[test]
fn megabytes_of_rubbish_around_results_are_passed_over_in_bounded_memory() {
    let mut parser = Parser::new(Dialect::Output);
    parser.push(b"TAP version 13\n1..2\n");
    for _ in 0..200 {
        parser.push(&[b'#'; 64 << 10]);
        parser.push(b"\nsomething else\n\x00\xff");
    }
    parser.push(b"\nok 1 a\nnot ok 2 b\n");
    let report = parser.finish(Ending::Complete);
    let words: Vec<_> = report.subtests.iter().map(|it| it.verdict.word()).collect();
    assert_eq!(words, ["pass", "fail"]);
    assert!(report.subtests.iter().all(|it| it.diagnostics.len() <= 4 << 10));
}

#[test]
fn more_results_than_are_kept_are_counted_and_never_a_pass() {
    for (last, verdict) in [("ok", SubtestVerdict::Error), ("not ok", SubtestVerdict::Fail)] {
        let mut parser = Parser::new(Dialect::Output);
        parser.push(b"TAP version 13\n");
        for number in 1..=MAX_SUBTESTS + 10 {
            let ok = if number > MAX_SUBTESTS { last } else { "ok" };
            parser.push(format!("# words of it\n{ok} {number} n\n").as_bytes());
        }
        let report = parser.finish(Ending::Complete);
        assert_eq!(report.subtests.len(), MAX_SUBTESTS + 1);
        assert_eq!(report.subtests.last().map(|it| it.verdict), Some(verdict));
    }
}

#[test]
fn a_flood_of_plans_and_of_levels_is_bounded() {
    let mut parser = Parser::new(Dialect::Output);
    for level in 0..200_usize {
        parser.push(format!("{}KTAP version 1\n", " ".repeat(level)).as_bytes());
    }
    for _ in 0..3 * MAX_SUBTESTS {
        parser.push(b"1..1\nKTAP version 1\n");
    }
    let report = parser.finish(Ending::Complete);
    assert!(report.subtests.len() <= MAX_SUBTESTS + 64, "{}", report.subtests.len());
    assert!(report.subtests.iter().all(|it| it.verdict != SubtestVerdict::Pass));
}
