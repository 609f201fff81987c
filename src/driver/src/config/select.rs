//! Tests as the command line names them: `smoke`, `smoke/drain`,
//! `smoke/drain[namespaces=10]`, each with `*` for any text. Pure.

use std::collections::BTreeSet;

use super::error::quoted;
use super::nearest::{hint, list};
use crate::model::pattern::fits as matches;
use crate::model::{Suite, Test};

/// The suite where nothing is asked for.
pub const DEFAULT_SUITE: &str = "smoke";

/// Why a text selects no test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// Not of the form `SUITE/TEST[param=value]`.
    #[error(
        "{} does not name a test: {reason}\n\
         hint: like this: `smoke`, `smoke/drain`, `smoke/drain[namespaces=10]`, `*/drain`",
        quoted(text)
    )]
    Syntax {
        /// As typed.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No suite of this name.
    #[error("unknown suite {}{}", quoted(name), hint(name, "suites", known))]
    Suite {
        /// As typed.
        name: String,
        /// All suites.
        known: Vec<String>,
    },
    /// No suite, but a test of this name.
    #[error(
        "unknown suite {}\n\
         hint: a test is named with its suite: {}",
        quoted(name),
        list(tests)
    )]
    BareTest {
        /// As typed.
        name: String,
        /// Full names of the tests that may be meant.
        tests: Vec<String>,
    },
    /// No test of this name in the suite.
    #[error("unknown test {}{}", quoted(name), hint(name, "tests", known))]
    Test {
        /// As typed, with the suite.
        name: String,
        /// All tests of the suite.
        known: Vec<String>,
    },
    /// A parameter that is not in the test's name.
    #[error(
        "test {} has no parameter {} in its name{}",
        quoted(test),
        quoted(param),
        params_hint(param, known)
    )]
    Param {
        /// Name of the test.
        test: String,
        /// As typed.
        param: String,
        /// Parameters of its matrix.
        known: Vec<String>,
    },
    /// A combination that the matrix does not make.
    #[error("no test is named {}\nhint: there are {}", quoted(text), list(known))]
    Instance {
        /// As typed.
        text: String,
        /// All tests of this name.
        known: Vec<String>,
    },
}

fn params_hint(param: &str, known: &[String]) -> String {
    if known.is_empty() {
        return "\nhint: it has no matrix; name it without brackets".into();
    }
    hint(param, "parameters", known)
}

/// What one argument asks for.
#[derive(Debug)]
struct Pattern<'a> {
    text: &'a str,
    suite: &'a str,
    test: Option<&'a str>,
    params: Vec<(&'a str, &'a str)>,
}

impl<'a> Pattern<'a> {
    fn parse(text: &'a str) -> Result<Self, SelectError> {
        let refuse = |reason| SelectError::Syntax { text: text.to_owned(), reason };
        let Some((suite, rest)) = text.split_once('/') else {
            return match text {
                "" => Err(refuse("it is empty")),
                _ if text.contains('[') => Err(refuse("brackets follow the name of a test, not of a suite")),
                suite => Ok(Self { text, suite, test: None, params: Vec::new() }),
            };
        };
        let (test, params) = match rest.split_once('[') {
            None => (rest, Vec::new()),
            Some((test, rest)) => {
                let inside =
                    rest.strip_suffix(']').ok_or_else(|| refuse("the bracket is not closed at its end"))?;
                let pairs = inside.split(',').map(|pair| pair.split_once('='));
                let pairs = pairs.collect::<Option<Vec<_>>>();
                (test, pairs.ok_or_else(|| refuse("`param=value` is expected in the brackets"))?)
            }
        };
        if suite.is_empty() || test.is_empty() {
            return Err(refuse("a name is missing beside the `/`"));
        }
        Ok(Self { text, suite, test: Some(test), params })
    }

    fn takes(&self, test: &Test) -> bool {
        let params = &test.id.params;
        let same = |(name, value): &(&str, &str)| {
            params.iter().any(|(known, found)| known == name && matches(value, &found.to_string()))
        };
        self.takes_name(test) && self.params.iter().all(same)
    }

    fn takes_name(&self, test: &Test) -> bool {
        matches(self.suite, &test.id.suite.0) && self.test.is_none_or(|name| matches(name, &test.id.test))
    }

    /// Why nothing is taken: the first of suite, test, parameter and value that
    /// does not exist.
    fn nothing(&self, suites: &[Suite]) -> SelectError {
        let all = || suites.iter().flat_map(|suite| &suite.tests);
        let full = |test: &Test| format!("{}/{}", test.id.suite, test.id.test);
        let in_suite: Vec<_> = all().filter(|test| matches(self.suite, &test.id.suite.0)).collect();
        let named: Vec<_> = in_suite.iter().copied().filter(|test| self.takes_name(test)).collect();
        let name = match self.test {
            Some(test) => format!("{}/{test}", self.suite),
            None => self.suite.to_owned(),
        };
        if in_suite.is_empty() {
            let tests = unique(all().filter(|test| test.id.test == self.suite).map(full));
            if self.test.is_none() && !tests.is_empty() {
                return SelectError::BareTest { name, tests };
            }
            let known = suites.iter().map(|suite| suite.name.0.clone()).collect();
            return SelectError::Suite { name: self.suite.to_owned(), known };
        }
        if named.is_empty() {
            return SelectError::Test { name, known: unique(in_suite.into_iter().map(full)) };
        }
        let params = |test: &&Test| test.id.params.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let known = unique(named.iter().flat_map(params));
        let strange = self.params.iter().find(|(param, _)| !known.iter().any(|known| known == param));
        if let Some((param, _)) = strange {
            return SelectError::Param { test: name, param: (*param).to_owned(), known };
        }
        let known = named.into_iter().map(|test| test.id.to_string()).collect();
        SelectError::Instance { text: self.text.to_owned(), known }
    }
}

/// Names once each, in their order.
fn unique(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    names.filter(|name| seen.insert(name.clone())).collect()
}

/// Tests that are asked for, in the order of the arguments, each once. No
/// argument asks for [`DEFAULT_SUITE`].
///
/// # Errors
///
/// Fails on the first argument that selects nothing: whoever names a test wants
/// it run, and success without tests would be a lie.
pub fn select(suites: &[Suite], wanted: &[String]) -> Result<Vec<Test>, SelectError> {
    let default = [DEFAULT_SUITE.to_owned()];
    let wanted = if wanted.is_empty() { &default[..] } else { wanted };
    let mut seen = BTreeSet::new();
    let mut tests = Vec::new();
    for text in wanted {
        let pattern = Pattern::parse(text)?;
        let mut taken =
            suites.iter().flat_map(|suite| &suite.tests).filter(|test| pattern.takes(test)).peekable();
        if taken.peek().is_none() {
            return Err(pattern.nothing(suites));
        }
        tests.extend(taken.filter(|test| seen.insert(&test.id)).cloned());
    }
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;
    use crate::config::{fixtures, suite};

    fn suites() -> Vec<Suite> {
        let smoke = "\
version: 1
summary: quick
tests:
  drain:
    workload: netns/drain
    matrix: {namespaces: [1, 10, 50], completion: [tracepoints, ucount]}
    timeout: 10s
  send: {workload: msg-zerocopy/send, timeout: 10s}
";
        let teardown = "\
version: 1
summary: slow
tests:
  drain: {workload: netns/drain, timeout: 10s}
  drain-slope: {workload: netns/drain, matrix: {namespaces: [100, 200]}, timeout: 10s}
";
        let parse =
            |name, text| suite::parse(name, name, text, &fixtures::workloads()).expect("a good suite");
        vec![parse("netns-teardown", teardown), parse("smoke", smoke)]
    }

    fn selected(wanted: &[&str]) -> Vec<String> {
        let wanted: Vec<_> = wanted.iter().map(|&text| text.to_owned()).collect();
        let tests = select(&suites(), &wanted).expect("something");
        tests.iter().map(|test| test.id.to_string()).collect()
    }

    fn error(text: &str) -> String {
        select(&suites(), &[text.to_owned()]).expect_err("must be refused").to_string()
    }

    #[test]
    fn nothing_asked_for_is_smoke() {
        assert_eq!(selected(&[]), selected(&["smoke"]));
        assert_eq!(selected(&[]).len(), 7);
    }

    #[test]
    fn a_test_is_all_of_its_matrix() {
        assert_eq!(selected(&["smoke/drain"]).len(), 6);
    }

    #[test]
    fn some_of_the_parameters_select_what_agrees_with_them() {
        assert_eq!(
            selected(&["smoke/drain[namespaces=10]"]),
            [
                "smoke/drain[namespaces=10,completion=tracepoints]",
                "smoke/drain[namespaces=10,completion=ucount]"
            ]
        );
        assert_eq!(
            selected(&["smoke/drain[completion=ucount,namespaces=10]"]),
            ["smoke/drain[namespaces=10,completion=ucount]"]
        );
    }

    #[test]
    fn every_name_selects_exactly_itself() {
        for suite in suites() {
            for test in suite.tests {
                let name = test.id.to_string();
                let found = selected(&[&name]);
                // A test without a matrix has nothing but its name.
                assert_eq!(found, [name]);
            }
        }
    }

    #[test]
    fn a_star_stands_for_any_text() {
        assert_eq!(selected(&["*"]).len(), 10);
        assert_eq!(selected(&["*/drain"]).len(), 7);
        assert_eq!(selected(&["netns-*/*slope"]).len(), 2);
        assert_eq!(selected(&["smoke/*[namespaces=*0]"]).len(), 4);
    }

    #[test]
    fn the_order_is_that_of_the_arguments_and_each_test_comes_once() {
        let names = selected(&["smoke/send", "netns-teardown/drain", "smoke/send", "*/drain[namespaces=1]"]);
        assert_eq!(
            names,
            [
                "smoke/send",
                "netns-teardown/drain",
                "smoke/drain[namespaces=1,completion=tracepoints]",
                "smoke/drain[namespaces=1,completion=ucount]"
            ]
        );
    }

    #[test]
    fn an_unknown_suite_names_its_neighbour() {
        assert_snapshot!(error("smok"), @r"
        unknown suite `smok`
        hint: did you mean `smoke`? known suites: `netns-teardown`, `smoke`
        ");
    }

    #[test]
    fn a_test_without_its_suite_is_named_in_full() {
        assert_snapshot!(error("drain"), @r"
        unknown suite `drain`
        hint: a test is named with its suite: `netns-teardown/drain`, `smoke/drain`
        ");
    }

    #[test]
    fn an_unknown_test_names_its_neighbour() {
        assert_snapshot!(error("netns-teardown/drain-slop"), @r"
        unknown test `netns-teardown/drain-slop`
        hint: did you mean `netns-teardown/drain-slope`? known tests: `netns-teardown/drain`, `netns-teardown/drain-slope`
        ");
    }

    #[test]
    fn an_unknown_test_of_an_unknown_suite_is_about_the_suite() {
        assert_snapshot!(error("smoky/drain"), @r"
        unknown suite `smoky`
        hint: did you mean `smoke`? known suites: `netns-teardown`, `smoke`
        ");
    }

    #[test]
    fn an_unknown_parameter_names_its_neighbour() {
        assert_snapshot!(error("smoke/drain[namespace=1]"), @r"
        test `smoke/drain` has no parameter `namespace` in its name
        hint: did you mean `namespaces`? known parameters: `namespaces`, `completion`
        ");
    }

    #[test]
    fn a_parameter_of_a_test_without_matrix_is_refused() {
        assert_snapshot!(error("smoke/send[protocol=tcp]"), @r"
        test `smoke/send` has no parameter `protocol` in its name
        hint: it has no matrix; name it without brackets
        ");
    }

    #[test]
    fn a_value_outside_of_the_matrix_shows_those_inside() {
        assert_snapshot!(error("netns-teardown/drain-slope[namespaces=20]"), @r"
        no test is named `netns-teardown/drain-slope[namespaces=20]`
        hint: there are `netns-teardown/drain-slope[namespaces=100]`, `netns-teardown/drain-slope[namespaces=200]`
        ");
    }

    #[test]
    fn a_star_that_fits_nothing_is_refused() {
        assert_snapshot!(error("tcp-*"), @r"
        unknown suite `tcp-*`
        hint: known suites: `netns-teardown`, `smoke`
        ");
        assert_snapshot!(error("smoke/tcp*"), @r"
        unknown test `smoke/tcp*`
        hint: known tests: `smoke/drain`, `smoke/send`
        ");
    }

    #[test]
    fn malformed_names_say_what_is_wrong_with_them() {
        assert_snapshot!(error(""), @r"
        `` does not name a test: it is empty
        hint: like this: `smoke`, `smoke/drain`, `smoke/drain[namespaces=10]`, `*/drain`
        ");
        assert_snapshot!(error("smoke/"), @r"
        `smoke/` does not name a test: a name is missing beside the `/`
        hint: like this: `smoke`, `smoke/drain`, `smoke/drain[namespaces=10]`, `*/drain`
        ");
        assert_snapshot!(error("smoke/drain[namespaces=1"), @r"
        `smoke/drain[namespaces=1` does not name a test: the bracket is not closed at its end
        hint: like this: `smoke`, `smoke/drain`, `smoke/drain[namespaces=10]`, `*/drain`
        ");
        assert_snapshot!(error("smoke/drain[namespaces]"), @r"
        `smoke/drain[namespaces]` does not name a test: `param=value` is expected in the brackets
        hint: like this: `smoke`, `smoke/drain`, `smoke/drain[namespaces=10]`, `*/drain`
        ");
        assert_snapshot!(error("smoke[namespaces=1]"), @r"
        `smoke[namespaces=1]` does not name a test: brackets follow the name of a test, not of a suite
        hint: like this: `smoke`, `smoke/drain`, `smoke/drain[namespaces=10]`, `*/drain`
        ");
    }

    #[test]
    fn no_suites_select_nothing() {
        assert_snapshot!(select(&[], &[]).expect_err("nothing"), @"unknown suite `smoke`");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_selection_panic(text in "(smoke|\\*|[a-z]{0,3})?/?(drain|\\*)?(\\[[a-z=,1*]*\\]?)?|\\PC*") {
            if let Ok(tests) = select(&suites(), &[text]) {
                prop_assert!(!tests.is_empty());
            }
        }

        #[test]
        fn a_star_matches_as_the_textbook_says(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            fn textbook(pattern: &[u8], text: &[u8]) -> bool {
                match (pattern.split_first(), text.split_first()) {
                    (None, _) => text.is_empty(),
                    (Some((b'*', rest)), _) if textbook(rest, text) => true,
                    (Some((b'*', _)), Some((_, text))) => textbook(pattern, text),
                    (Some((p, pattern)), Some((t, text))) => p == t && textbook(pattern, text),
                    _ => false,
                }
            }
            prop_assert_eq!(matches(&pattern, &text), textbook(pattern.as_bytes(), text.as_bytes()));
        }
    }
}
