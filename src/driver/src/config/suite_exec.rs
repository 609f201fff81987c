//! `exec` of a test: a program, what it brings along, and what says how it went.

use std::collections::BTreeMap;
use std::path::PathBuf;

use kregress_wire::{ExecResult, Value};
use serde::Deserialize;

use super::error::{ConfigError, Problem};
use super::paths::Base;
use super::yaml::{Document, Path, Scalar};
use crate::exec::shell_line;
use crate::model::Program;

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a mapping like `{command: [tests/route.sh, -v], result: ktap}`"
)]
pub(super) struct RawExec {
    command: Vec<Scalar>,
    files: Option<Vec<Scalar>>,
    result: Option<ExecResult>,
}

impl RawExec {
    /// The program, with paths that start at `base`. Nothing is looked up: what is
    /// not there yet may be built before it is run.
    pub(super) fn read(
        &self,
        document: &Document<'_>,
        at: &Path,
        base: &Base,
    ) -> Result<Program, ConfigError> {
        let words = at.key("command");
        for (i, Scalar(word)) in self.command.iter().enumerate() {
            // A script may stand in the suite: `[sh, -c, ...]`.
            if word.chars().any(|char| char.is_control() && !matches!(char, '\n' | '\t')) {
                let item = words.item(i);
                let reason = "holds control characters";
                let problem = Problem::Text { path: item.to_string(), text: word.clone(), reason };
                return Err(document.error(&item, problem));
            }
        }
        let Some((program, args)) = self.command.split_first() else {
            let hint = "name the program, like this: `[tests/route.sh, -v]`";
            return Err(document.error(&words, Problem::NothingIn { path: words.to_string(), hint }));
        };
        let files = self.files.iter().flatten().enumerate();
        let files = files.map(|(i, file)| path(document, &at.key("files").item(i), base, file));
        Ok(Program {
            program: path(document, &words.item(0), base, program)?,
            args: args.iter().map(|word| word.0.clone()).collect(),
            files: files.collect::<Result<_, _>>()?,
            directory: base.directory.clone(),
            result: self.result.unwrap_or(ExecResult::ExitCode),
        })
    }
}

/// A path, or a name without a slash as it stands: that is looked up in `PATH`.
fn path(
    document: &Document<'_>,
    at: &Path,
    base: &Base,
    Scalar(text): &Scalar,
) -> Result<PathBuf, ConfigError> {
    if !text.is_empty() && !text.contains(['/', '~']) && !text.chars().any(char::is_control) {
        return Ok(PathBuf::from(text));
    }
    base.resolve(text).map_err(|error| document.error(at, Problem::Path { path: at.to_string(), error }))
}

/// What the record of a run says of it.
pub(super) fn params(exec: &Program) -> BTreeMap<String, Value> {
    let program = [exec.program.to_string_lossy().into_owned()];
    let words: Vec<String> = program.into_iter().chain(exec.args.iter().cloned()).collect();
    let text = |text: String| Value::Text(text);
    BTreeMap::from([
        ("command".to_owned(), text(shell_line(&words))),
        ("result".to_owned(), text(exec.result.word().to_owned())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{fixtures, suite};
    use crate::model::Exec;

    fn read(exec: &str) -> Result<Program, String> {
        let text = format!("version: 1\nsummary: x\ntests:\n  t:\n    timeout: 5s\n    exec: {exec}\n");
        let base = Base { directory: "/project".into(), home: Some("/home/me".into()) };
        let workloads = fixtures::workloads().with_programs(base);
        let suite =
            suite::parse("s", "suites/s.yaml", &text, &workloads).map_err(|error| error.to_string())?;
        match suite.tests[0].exec.clone() {
            Some(Exec::Program(program)) => Ok(program),
            other => panic!("no program: {other:?}"),
        }
    }

    #[test]
    fn paths_start_at_the_project_and_names_are_left_to_path() {
        let exec = read("{command: [tests/a.sh, -v, x/y], files: [ip, ./data, ~/b, /etc/c], result: ktap}");
        let exec = exec.expect("a good suite");
        assert_eq!(exec.program, PathBuf::from("/project/tests/a.sh"));
        assert_eq!(exec.args, ["-v", "x/y"]);
        let files = ["ip", "/project/data", "/home/me/b", "/etc/c"].map(PathBuf::from);
        assert_eq!(exec.files, files);
        assert_eq!((exec.directory, exec.result), (PathBuf::from("/project"), ExecResult::Ktap));
    }

    #[test]
    fn a_script_may_stand_in_the_suite() {
        let exec = read("{command: [sh, -c, \"echo a\\necho b\"]}").expect("a good suite");
        assert_eq!(exec.args, ["-c", "echo a\necho b"]);
        assert_eq!(exec.result, ExecResult::ExitCode);
        assert_eq!(params(&exec)["result"], Value::Text("exit-code".into()));
    }

    #[test]
    fn what_cannot_be_run_is_refused_with_its_place() {
        let refused = |exec: &str| read(exec).expect_err("refused");
        insta::assert_snapshot!(refused("{command: []}"), @"
        suites/s.yaml:6:12: `tests.t.exec.command` is empty
        hint: name the program, like this: `[tests/route.sh, -v]`
        ");
        insta::assert_snapshot!(refused("{command: [a, \"\\e[0m\"]}"), @r"suites/s.yaml:6:25: `tests.t.exec.command[1]`: `\u{1b}[0m` holds control characters");
        insta::assert_snapshot!(refused("{command: [a], result: tap}"), @"
        suites/s.yaml:6:34: unknown word `tap` for `tests.t.exec.result`
        hint: did you mean `ktap`? known words: `exit-code`, `ktap`, `selftest`, `kernel-log`
        ");
        insta::assert_snapshot!(refused("{command: [a], file: [b]}"), @"
        suites/s.yaml:6:26: unknown key `file` in `tests.t.exec`
        hint: did you mean `files`? known keys: `command`, `files`, `result`
        ");
        insta::assert_snapshot!(refused("{command: [a]}\n    workload: netns/drain"), @"
        suites/s.yaml:6:5: `workload` and `exec` in `tests.t` exclude each other
        hint: keep one of the two
        ");
        insta::assert_snapshot!(refused("{command: [a]}\n    metrics: [{name: drain_time}]"), @"
        suites/s.yaml:7:5: `exec` and `metrics` in `tests.t` exclude each other
        hint: keep one of the two
        ");
    }
}
