//! `selftests` of a test: programs of `tools/testing/selftests` of the tree that
//! the kernel is built from. What that tree has is not known here.

use std::collections::BTreeMap;

use kregress_wire::Value;
use serde::Deserialize;

use super::error::{ConfigError, Problem};
use super::yaml::{Document, Path, Scalar};
use crate::exec::shell_line;
use crate::model::Selftest;

/// The parameter that tells the tests of one entry apart.
const PROGRAM: &str = "program";

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a mapping like `{collection: net, programs: [rtnetlink.sh]}`"
)]
pub(super) struct RawSelftests {
    collection: Scalar,
    programs: Vec<Scalar>,
    command: Option<Vec<Scalar>>,
}

/// What is varied in the name of a test, and the test.
type Varied = (Vec<(String, Value)>, Selftest);

impl RawSelftests {
    /// One test for each program, or a single one where a command starts them.
    pub(super) fn read(&self, document: &Document<'_>, at: &Path) -> Result<Vec<Varied>, ConfigError> {
        let Scalar(collection) = &self.collection;
        if !collection.split('/').all(is_plain) {
            let reason =
                "is no directory of tools/testing/selftests: one like `net` or `net/forwarding` is expected";
            return Err(refused(document, &at.key("collection"), collection, reason));
        }
        let list = at.key("programs");
        let mut programs: Vec<String> = Vec::new();
        for (i, Scalar(program)) in self.programs.iter().enumerate() {
            let item = list.item(i);
            if !is_plain(program) {
                let reason = "is no program of a collection: a name like `rtnetlink.sh` is expected";
                return Err(refused(document, &item, program, reason));
            }
            if let Some(first) = programs.iter().position(|earlier| earlier == program) {
                let first = document.place(&list.item(first)).line;
                let problem = Problem::Repeated { what: "program", name: program.clone(), first };
                return Err(document.error(&item, problem));
            }
            programs.push(program.clone());
        }
        if programs.is_empty() {
            let hint = "name the programs, like this: `[netns-name.sh, rtnetlink.sh]`";
            return Err(document.error(&list, Problem::NothingIn { path: list.to_string(), hint }));
        }
        let collection = collection.clone();
        let Some(command) = &self.command else {
            let each = programs.into_iter().map(|program| {
                let varied = vec![(PROGRAM.to_owned(), Value::Text(program.clone()))];
                let collection = collection.clone();
                (varied, Selftest { collection, programs: vec![program], command: Vec::new() })
            });
            return Ok(each.collect());
        };
        let words = at.key("command");
        for (i, Scalar(word)) in command.iter().enumerate() {
            if word.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\t')) {
                return Err(refused(document, &words.item(i), word, "holds control characters"));
            }
        }
        if command.is_empty() {
            let hint = "name what starts the programs, or leave it out";
            return Err(document.error(&words, Problem::NothingIn { path: words.to_string(), hint }));
        }
        let command = command.iter().map(|word| word.0.clone()).collect();
        Ok(vec![(Vec::new(), Selftest { collection, programs, command })])
    }
}

/// A name that stays where it is put, and is no word of make or of a shell.
fn is_plain(name: &str) -> bool {
    let is_plain = |char: char| char.is_ascii_alphanumeric() || "._-+".contains(char);
    !name.is_empty() && name.len() <= 64 && !name.starts_with(['.', '-', '+']) && name.chars().all(is_plain)
}

fn refused(document: &Document<'_>, at: &Path, text: &str, reason: &'static str) -> ConfigError {
    document.error(at, Problem::Text { path: at.to_string(), text: text.to_owned(), reason })
}

/// What the record of a run says of it.
pub(super) fn params(selftest: &Selftest) -> BTreeMap<String, Value> {
    let text = |text: String| Value::Text(text);
    let mut params = BTreeMap::from([
        ("collection".to_owned(), text(selftest.collection.clone())),
        (PROGRAM.to_owned(), text(selftest.programs.join(" "))),
    ]);
    if !selftest.command.is_empty() {
        params.insert("command".to_owned(), text(shell_line(&selftest.command)));
    }
    params
}

#[cfg(test)]
mod tests {
    use crate::config::{fixtures, suite};
    use crate::model::{Exec, Test};

    fn read(selftests: &str) -> Result<Vec<Test>, String> {
        let text =
            format!("version: 1\nsummary: x\ntests:\n  t:\n    timeout: 5s\n    selftests: {selftests}\n");
        let suite = suite::parse("s", "suites/s.yaml", &text, &fixtures::workloads());
        suite.map(|suite| suite.tests).map_err(|error| error.to_string())
    }

    #[test]
    fn every_program_is_a_test_of_its_own() {
        let tests = read("{collection: net, programs: [netns-name.sh, tls]}").expect("a good suite");
        let names: Vec<_> = tests.iter().map(|test| test.id.to_string()).collect();
        assert_eq!(names, ["s/t[program=netns-name.sh]", "s/t[program=tls]"]);
        let Some(Exec::Selftest(selftest)) = &tests[1].exec else { panic!("no selftest") };
        assert_eq!(
            (selftest.collection.as_str(), selftest.programs.as_slice()),
            ("net", &["tls".to_owned()][..])
        );
        assert!(selftest.command.is_empty());
    }

    #[test]
    fn a_command_makes_one_test_of_its_programs() {
        let tests = read("{collection: net, programs: [tcp_mmap], command: [sh, -c, ./tcp_mmap -s]}");
        let tests = tests.expect("a good suite");
        let [test] = tests.as_slice() else { panic!("{tests:?}") };
        assert_eq!(test.id.to_string(), "s/t");
        assert_eq!(test.params["command"].to_string(), "sh -c './tcp_mmap -s'");
    }

    #[test]
    fn what_leaves_the_collection_is_refused_with_its_place() {
        let refused = |selftests: &str| read(selftests).expect_err("refused");
        insta::assert_snapshot!(refused("{collection: ../../x, programs: [a]}"), @"suites/s.yaml:6:29: `tests.t.selftests.collection`: `../../x` is no directory of tools/testing/selftests: one like `net` or `net/forwarding` is expected");
        insta::assert_snapshot!(refused("{collection: net, programs: [a/b]}"), @"suites/s.yaml:6:45: `tests.t.selftests.programs[0]`: `a/b` is no program of a collection: a name like `rtnetlink.sh` is expected");
        insta::assert_snapshot!(refused("{collection: net, programs: [a, a]}"), @"suites/s.yaml:6:48: program `a` is listed twice, first on line 6");
        insta::assert_snapshot!(refused("{collection: net, programs: []}"), @"
        suites/s.yaml:6:34: `tests.t.selftests.programs` is empty
        hint: name the programs, like this: `[netns-name.sh, rtnetlink.sh]`
        ");
        insta::assert_snapshot!(refused("{collection: net, programs: [a], command: []}"), @"
        suites/s.yaml:6:49: `tests.t.selftests.command` is empty
        hint: name what starts the programs, or leave it out
        ");
        insta::assert_snapshot!(refused("{collection: net, programs: [a]}\n    metrics: [{name: x}]"), @"
        suites/s.yaml:7:5: `selftests` and `metrics` in `tests.t` exclude each other
        hint: keep one of the two
        ");
    }
}
