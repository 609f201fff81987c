//! Results of the kernel's shell tests that print no KTAP. Pure.
//!
//! | read | printed by |
//! |---|---|
//! | `PASS: name`, `FAIL: name`, `SKIP: name`, `XFAIL: name` | net/rtnetlink.sh |
//! | `TEST: name    [ OK ]`, `[PASS]`, `[FAIL]`, `[SKIP]`, `[XFAIL]` | net/lib.sh, net/fib_tests.sh, net/netns-name.sh |
//!
//! Nothing announces them, so they say nothing where KTAP was printed, and a program
//! is judged by its exit code beside them.

use std::collections::{HashMap, VecDeque};

use super::MAX_SUBTESTS;
use crate::model::{Subtest, SubtestVerdict};

/// Longest name that is kept, in characters.
const MAX_NAME: usize = 200;

/// Lines before a result that is no pass, for people.
const LINES: usize = 20;

/// What has been read.
#[derive(Debug, Default)]
pub(super) struct Shell {
    subtests: Vec<Subtest>,
    before: VecDeque<String>,
    /// How often each name was seen.
    names: HashMap<String, usize>,
    beyond: usize,
}

impl Shell {
    /// Takes a line without its end.
    pub(super) fn take(&mut self, line: &str) {
        let Some((name, verdict)) = result(line) else {
            if !line.trim().is_empty() {
                self.before.push_back(line.chars().take(MAX_NAME).collect());
            }
            if self.before.len() > LINES {
                self.before.pop_front();
            }
            return;
        };
        let before = std::mem::take(&mut self.before);
        if self.subtests.len() >= MAX_SUBTESTS {
            self.beyond += usize::from(verdict == SubtestVerdict::Fail);
            return;
        }
        let diagnostics = match verdict {
            SubtestVerdict::Pass => String::new(),
            _ => before.into_iter().map(|line| line + "\n").collect(),
        };
        let count = self.names.entry(name.clone()).or_insert(0);
        *count += 1;
        let path = vec![if *count > 1 { format!("{name} ({count})") } else { name }];
        let subtest = Subtest { path, verdict, reason: String::new(), elapsed: None, diagnostics };
        self.subtests.push(subtest);
    }

    /// The results in their order.
    pub(super) fn finish(mut self) -> Vec<Subtest> {
        if self.beyond > 0 {
            self.subtests.push(Subtest {
                path: vec!["(the rest)".to_owned()],
                verdict: SubtestVerdict::Fail,
                reason: format!("{} more failures are not kept", self.beyond),
                elapsed: None,
                diagnostics: String::new(),
            });
        }
        self.subtests
    }
}

/// Name and verdict of a line that is a result.
fn result(line: &str) -> Option<(String, SubtestVerdict)> {
    let line = line.trim();
    let (name, word) = in_brackets(line).or_else(|| in_front(line))?;
    let verdict = match word {
        "OK" | "PASS" => SubtestVerdict::Pass,
        "FAIL" => SubtestVerdict::Fail,
        "SKIP" => SubtestVerdict::Skip,
        "XFAIL" => SubtestVerdict::Xfail,
        _ => return None,
    };
    let name = name.trim().trim_start_matches("TEST:").trim();
    let name: String = name.chars().take(MAX_NAME).collect();
    (!name.is_empty()).then_some((name, verdict))
}

/// `name   [ OK ]`.
fn in_brackets(line: &str) -> Option<(&str, &str)> {
    let (name, word) = line.strip_suffix(']')?.rsplit_once('[')?;
    Some((name, word.trim()))
}

/// `PASS: name`. `OK: name` is what programs say who get on with it.
fn in_front(line: &str) -> Option<(&str, &str)> {
    let (word, name) = line.split_once(": ")?;
    (word != "OK").then_some((name, word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use SubtestVerdict::{Fail, Pass, Skip, Xfail};

    fn read(text: &str) -> Vec<(String, SubtestVerdict)> {
        let mut shell = Shell::default();
        text.lines().for_each(|line| shell.take(line));
        shell.finish().into_iter().map(|it| (it.name(), it.verdict)).collect()
    }

    #[test]
    fn words_in_front_and_in_brackets_are_results() {
        for (line, name, verdict) in [
            ("PASS: policy routing", "policy routing", Pass),
            ("FAIL: can't add fou port 7777, skipping test", "can't add fou port 7777, skipping test", Fail),
            ("SKIP: macsec: iproute2 too old", "macsec: iproute2 too old", Skip),
            ("XFAIL: known", "known", Xfail),
            ("    TEST: IPv4 fib rule     [ OK ]", "IPv4 fib rule", Pass),
            ("TEST: ping                 [FAIL]", "ping", Fail),
            ("netns-name.sh \t\t\t\t[  OK  ]", "netns-name.sh", Pass),
            ("TEST: vlan  [SKIP]", "vlan", Skip),
            ("TEST: slow [XFAIL]", "slow", Xfail),
        ] {
            assert_eq!(read(line), [(name.to_owned(), verdict)], "{line}");
        }
    }

    #[test]
    fn what_programs_say_by_the_way_is_no_result() {
        for line in
            ["OK: got it", "ok", "PASS", "PASSED: 4", "[ OK ]", "Tests passed:  3", "INFO: a [1]", "pass: x"]
        {
            assert_eq!(read(line), [], "{line}");
        }
    }

    #[test]
    fn a_failure_is_told_with_what_was_printed_before_it() {
        let mut shell = Shell::default();
        ["one", "PASS: a", "two", "", "FAIL: b"].iter().for_each(|line| shell.take(line));
        let found = shell.finish();
        assert_eq!((found[0].diagnostics.as_str(), found[1].diagnostics.as_str()), ("", "two\n"));
    }

    #[test]
    fn a_flood_is_bounded_and_hides_no_failure() {
        let mut shell = Shell::default();
        (0..MAX_SUBTESTS).for_each(|_| shell.take("PASS: a"));
        shell.take("FAIL: b");
        let found = shell.finish();
        assert_eq!(found.len(), MAX_SUBTESTS + 1);
        assert_eq!(found.last().map(|it| it.verdict), Some(Fail));
    }

    proptest! {
        #[test]
        fn any_line_is_read(line in "\\PC{0,300}") {
            for (name, _) in read(&line) {
                prop_assert!(!name.is_empty() && name.chars().count() <= MAX_NAME);
            }
        }
    }
}
