//! What one line of KTAP says, taken for itself.

use std::time::Duration;

use super::time;
use crate::model::SubtestVerdict;

/// Longest name and reason that are kept, in characters.
const MAX_TEXT: usize = 200;

/// A line and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    /// Spaces and `# ` before it, in columns: nesting is written either way.
    pub(super) column: usize,
    /// Whether a `# ` is among them.
    pub(super) prefix: Prefix,
    pub(super) kind: Kind,
    /// The line without them, for people.
    pub(super) text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    Spaces,
    Hashes,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// `KTAP version 1` and its like.
    Version,
    /// `# Subtest: name`.
    Subtest(String),
    /// `1..4`, `1..0 # SKIP why`.
    Plan {
        count: u64,
        skip: Option<String>,
    },
    Result(Said),
    BailOut(String),
    Text,
}

/// A result line.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    pub(super) number: Option<u64>,
    /// Empty where there is none.
    pub(super) name: String,
    pub(super) verdict: SubtestVerdict,
    pub(super) reason: String,
    pub(super) elapsed: Option<Duration>,
}

impl Line {
    /// Reads a line; every line is one of the kinds.
    pub(super) fn read(line: &str) -> Self {
        let (mut column, mut prefix, mut rest) = (0, Prefix::Spaces, line);
        loop {
            if let Some(name) = rest.strip_prefix("# Subtest: ") {
                let kind = Kind::Subtest(bounded(name.trim()));
                return Self { column, prefix, kind, text: bounded(rest) };
            }
            if let Some(behind) = rest.strip_prefix("# ") {
                (column, prefix, rest) = (column + 2, Prefix::Hashes, behind);
            } else if let Some(behind) = rest.strip_prefix(' ') {
                (column, rest) = (column + 1, behind);
            } else if let Some(behind) = rest.strip_prefix('\t') {
                (column, rest) = (column + 8, behind);
            } else {
                break;
            }
        }
        let rest = rest.trim_end();
        Self { column, prefix, kind: kind(rest), text: rest.strip_prefix('#').unwrap_or(rest).to_owned() }
    }
}

/// At most so much of a text as is kept.
fn bounded(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}

fn kind(text: &str) -> Kind {
    let version = text.strip_prefix("KTAP version ").or_else(|| text.strip_prefix("TAP version "));
    if version.is_some_and(is_number) {
        return Kind::Version;
    }
    if let Some(reason) = text.strip_prefix("Bail out!") {
        return Kind::BailOut(bounded(reason.trim()));
    }
    plan(text).or_else(|| result(text)).unwrap_or(Kind::Text)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// One that is too large for anybody is the largest.
fn number(text: &str) -> Option<u64> {
    is_number(text).then(|| text.parse().unwrap_or(u64::MAX))
}

fn plan(text: &str) -> Option<Kind> {
    let rest = text.strip_prefix("1..")?;
    let (count, comment) = match rest.split_once('#') {
        Some((count, comment)) => (count.trim_end(), comment.trim()),
        None => (rest, ""),
    };
    let skip = match directive(comment) {
        Some((Directive::Skip, reason)) => Some(bounded(reason)),
        _ => None,
    };
    Some(Kind::Plan { count: number(count)?, skip })
}

/// Words behind a `#` that change what a result means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Skip,
    Todo,
    Xfail,
    Xpass,
    Timeout,
    Error,
}

/// A directive at the beginning of a comment, and what stands behind it. TAP takes
/// `skip` in any case; what only the kernel has is written in capitals.
fn directive(comment: &str) -> Option<(Directive, &str)> {
    let comment = comment.trim_start();
    let end = comment.find(|char: char| char == ':' || char.is_whitespace()).unwrap_or(comment.len());
    let (word, rest) = comment.split_at(end);
    let directive = match (word.to_ascii_uppercase().as_str(), word) {
        ("SKIP" | "SKIPPED", _) => Directive::Skip,
        ("TODO", _) => Directive::Todo,
        ("XFAIL", _) => Directive::Xfail,
        ("XPASS", _) => Directive::Xpass,
        (_, "TIMEOUT") => Directive::Timeout,
        (_, "ERROR") => Directive::Error,
        _ => return None,
    };
    Some((directive, rest.strip_prefix(':').unwrap_or(rest).trim()))
}

/// Description, directive, and what stands behind it. A description has no `#`
/// by the rules; where it has one, the first directive counts.
fn split(text: &str) -> (&str, Option<Directive>, &str) {
    let mut hashes = text.match_indices('#').map(|(at, _)| at);
    let found = hashes.find_map(|at| Some((at, directive(&text[at + 1..])?)));
    if let Some((at, (directive, reason))) = found {
        return (text[..at].trim_end(), Some(directive), reason);
    }
    match text.split_once("# ") {
        Some((before, reason)) if before.is_empty() || before.ends_with(' ') => {
            (before.trim_end(), None, reason.trim())
        }
        _ => (text.trim_end(), None, ""),
    }
}

fn result(text: &str) -> Option<Kind> {
    let (ok, rest) = match text.strip_prefix("not ok") {
        Some(rest) => (false, rest),
        None => (true, text.strip_prefix("ok")?),
    };
    if !rest.is_empty() && !rest.starts_with([' ', '\t']) {
        return None;
    }
    let rest = rest.trim_start();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let (number, rest) = match number(&rest[..end]) {
        Some(number) => (Some(number), rest[end..].trim_start()),
        // `ok, then` is text, and so is `ok then`; a failure is taken at its word.
        None if ok && !rest.is_empty() && !rest.starts_with("- ") => return None,
        None => (None, rest),
    };
    let (name, directive, reason) = split(rest);
    let name = name.strip_prefix("- ").unwrap_or(if name == "-" { "" } else { name }).trim();
    let (name, at_the_end) = match time::at_the_end(name) {
        Some((name, time)) => (name, Some(time)),
        None => (name, None),
    };
    let elapsed = time::behind_a_key(reason).or(at_the_end);
    let (verdict, said) = match (ok, directive) {
        (true, None) => (SubtestVerdict::Pass, ""),
        (false, None) => (SubtestVerdict::Fail, ""),
        (_, Some(Directive::Skip)) => (SubtestVerdict::Skip, ""),
        (_, Some(Directive::Todo)) => (SubtestVerdict::Todo, ""),
        (_, Some(Directive::Xfail)) => (SubtestVerdict::Xfail, ""),
        (_, Some(Directive::Xpass)) => (SubtestVerdict::Fail, "XPASS: it passed, and was expected to fail"),
        (false, Some(Directive::Timeout)) => (SubtestVerdict::Fail, "TIMEOUT"),
        (false, Some(Directive::Error)) => (SubtestVerdict::Error, "ERROR"),
        (true, Some(Directive::Timeout)) => (SubtestVerdict::Error, "it says `ok` and TIMEOUT"),
        (true, Some(Directive::Error)) => (SubtestVerdict::Error, "it says `ok` and ERROR"),
    };
    // `ksft_test_result_skip()` and its like have the name behind the directive.
    let name = bounded(if name.is_empty() { reason } else { name });
    // A reason that is a time is none.
    let reason = if elapsed.is_some() && !reason.contains(' ') { "" } else { reason };
    let reason = bounded([said, reason].join(" ").trim());
    Some(Kind::Result(Said { number, name, verdict, reason, elapsed }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> (Option<u64>, String, SubtestVerdict, String) {
        match Line::read(line).kind {
            Kind::Result(said) => (said.number, said.name, said.verdict, said.reason),
            other => panic!("{line}: {other:?}"),
        }
    }

    fn is_text(line: &str) -> bool {
        Line::read(line).kind == Kind::Text
    }

    #[test]
    fn results_are_read_in_every_way_in_which_the_kernel_writes_them() {
        use SubtestVerdict::{Error, Fail, Pass, Skip, Todo, Xfail};
        for (line, number, name, verdict, reason) in [
            ("ok 1 plain name", 1, "plain name", Pass, ""),
            ("ok 2 - with a dash", 2, "with a dash", Pass, ""),
            ("not ok 3 selftests: net: a.sh # exit=1", 3, "selftests: net: a.sh", Fail, "exit=1"),
            ("not ok 4 slow # TIMEOUT 45 seconds", 4, "slow", Fail, "TIMEOUT 45 seconds"),
            ("ok 5 none # SKIP no such device", 5, "none", Skip, "no such device"),
            ("not ok 6 none # SKIP", 6, "none", Skip, ""),
            ("ok 7 # SKIP needs root", 7, "needs root", Skip, "needs root"),
            ("ok 8 # XFAIL known", 8, "known", Xfail, "known"),
            ("not ok 9 later # TODO not yet", 9, "later", Todo, "not yet"),
            ("not ok 10 broken # ERROR no memory", 10, "broken", Error, "ERROR no memory"),
            ("ok 11 odd # ERROR no memory", 11, "odd", Error, "it says `ok` and ERROR no memory"),
            ("ok 12 odd # TIMEOUT", 12, "odd", Error, "it says `ok` and TIMEOUT"),
            ("ok 13 x # XPASS", 13, "x", Fail, "XPASS: it passed, and was expected to fail"),
            ("ok 14 return code # rcode=0", 14, "return code", Pass, "rcode=0"),
            ("ok 15 issue #2 is gone", 15, "issue #2 is gone", Pass, ""),
            ("ok 16 a # b # SKIP c", 16, "a # b", Skip, "c"),
            ("ok 17", 17, "", Pass, ""),
            ("ok 18 lower # skip: why", 18, "lower", Skip, "why"),
            ("ok 19 timing # timeout was not reached", 19, "timing", Pass, "timeout was not reached"),
        ] {
            assert_eq!(said(line), (Some(number), name.to_owned(), verdict, reason.to_owned()), "{line}");
        }
        assert_eq!(said("not ok"), (None, String::new(), Fail, String::new()));
        assert_eq!(said("ok - no number").0, None);
    }

    #[test]
    fn what_only_looks_like_a_result_is_text() {
        for line in
            ["okay 1", "ok, 1 done", "ok then", "notok 1", "OK 1 a", "not okay", "1..x", "TAP version"]
        {
            assert!(is_text(line), "{line}");
        }
    }

    #[test]
    fn a_line_begins_behind_spaces_and_hashes() {
        let place = |line: &str| (Line::read(line).column, Line::read(line).prefix);
        assert_eq!(place("ok 1"), (0, Prefix::Spaces));
        assert_eq!(place("    ok 1"), (4, Prefix::Spaces));
        assert_eq!(place("# ok 1"), (2, Prefix::Hashes));
        assert_eq!(place("# #   1..2"), (6, Prefix::Hashes));
        assert_eq!(Line::read("    # Subtest: a b").kind, Kind::Subtest("a b".into()));
        assert_eq!(Line::read("    # Subtest: a b").column, 4);
    }

    #[test]
    fn plans_and_the_end_of_all_are_known() {
        let plan = |count, skip: Option<&str>| Kind::Plan { count, skip: skip.map(str::to_owned) };
        assert_eq!(Line::read("1..4").kind, plan(4, None));
        assert_eq!(Line::read("# 1..0 # SKIP no net").kind, plan(0, Some("no net")));
        assert_eq!(Line::read("1..99999999999999999999999").kind, plan(u64::MAX, None));
        assert_eq!(Line::read("1..4 of them").kind, Kind::Text);
        assert_eq!(Line::read("Bail out! no root").kind, Kind::BailOut("no root".into()));
    }
}
