//! `suites/*.yaml`: tests with their matrix multiplied out. The format is
//! described in `suites/README.md`; a test keeps the two together.

use std::collections::BTreeMap;
use std::path::Path as FilePath;
use std::time::Duration;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, Value, WorkloadInfo};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::{ConfigError, Problem};
use super::suite_exec::RawExec;
use super::suite_kunit::RawKunit;
use super::suite_selftests::RawSelftests;
use super::value;
use super::workloads::Workloads;
use super::yaml::{Document, Entries, Path, Scalar};
use super::{embedded, files, is_name};
use crate::model::{Metric, Suite, SuiteName, Test, TestId};

/// Tests that one matrix may make. Nobody waits for more, and a slip of the
/// finger must not fill the memory.
const MATRIX_LIMIT: u64 = 1000;

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a mapping with `version`, `summary` and `tests`"
)]
pub(super) struct RawSuite {
    #[expect(dead_code, reason = "judged by `Document` before the struct is filled")]
    version: IgnoredAny,
    summary: Scalar,
    paths: Option<Vec<Scalar>>,
    tests: Entries<RawTest>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a mapping with `workload`, `exec`, `selftests` or `kunit`, and `timeout`"
)]
pub(super) struct RawTest {
    workload: Option<Scalar>,
    exec: Option<RawExec>,
    selftests: Option<RawSelftests>,
    kunit: Option<RawKunit>,
    pub(super) params: Option<Entries<Scalar>>,
    pub(super) matrix: Option<Entries<Vec<Scalar>>>,
    timeout: Scalar,
    pub(super) metrics: Option<Vec<RawMetric>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a mapping like `{name: drain_time}`")]
pub(super) struct RawMetric {
    name: Scalar,
    unit: Option<Unit>,
    better: Option<Better>,
    kind: Option<Kind>,
}

/// Suites of the project, and those of the binary that it does not replace.
///
/// # Errors
///
/// The first thing that is wrong with any of them.
pub(super) fn load(
    project: Option<&FilePath>,
    cwd: &FilePath,
    workloads: &Workloads,
) -> Result<Vec<Suite>, ConfigError> {
    let mut texts = BTreeMap::new();
    for (name, text) in embedded::SUITES {
        texts.insert((*name).to_owned(), (format!("suites/{name}.yaml (built in)"), (*text).to_owned()));
    }
    if let Some(project) = project {
        for file in files::in_directory(&project.join("suites"), "yaml", "suite")? {
            let text = files::read(&file.path, cwd)?;
            texts.insert(file.stem, (files::shown(&file.path, cwd), text));
        }
    }
    texts.iter().map(|(name, (shown, text))| parse(name, shown, text, workloads)).collect()
}

/// Reads one suite; `shown` is its file in messages.
///
/// # Errors
///
/// The first thing that is wrong, with its place.
pub(crate) fn parse(
    name: &str,
    shown: &str,
    text: &str,
    workloads: &Workloads,
) -> Result<Suite, ConfigError> {
    let document = Document::read(shown, text)?;
    let raw: RawSuite = document.parse()?;
    let summary = raw.summary.0.trim().to_owned();
    if summary.is_empty() || summary.chars().any(char::is_control) {
        let reason = "is no summary: one line of plain text is expected";
        let problem = Problem::Text { path: "summary".into(), text: summary, reason };
        return Err(document.error(&Path::root().key("summary"), problem));
    }
    let paths = paths(&document, raw.paths.as_deref())?;
    let all = Path::root().key("tests");
    if raw.tests.0.is_empty() {
        let problem = Problem::NothingIn { path: all.to_string(), hint: "name at least one test" };
        return Err(document.error(&all, problem));
    }
    let suite = SuiteName(name.to_owned());
    let mut tests = Vec::new();
    for (test, raw) in &raw.tests.0 {
        if !is_name(test) {
            let problem = Problem::Name { what: "test", name: test.clone() };
            return Err(document.error_at_key(&all, test, problem));
        }
        let reader = Reader { document: &document, workloads, at: all.key(test) };
        tests.extend(reader.test(&suite, test, raw)?);
    }
    Ok(Suite { name: suite, summary, file: format!("suites/{name}.yaml"), paths, tests })
}

/// The places of a kernel tree that a suite is about.
fn paths(document: &Document<'_>, list: Option<&[Scalar]>) -> Result<Vec<String>, ConfigError> {
    let at = Path::root().key("paths");
    let Some(list) = list else { return Ok(Vec::new()) };
    if list.is_empty() {
        let problem = Problem::NothingIn {
            path: at.to_string(),
            hint: "name what the suite is about, or leave it out",
        };
        return Err(document.error(&at, problem));
    }
    let mut paths: Vec<String> = Vec::new();
    for (i, Scalar(text)) in list.iter().enumerate() {
        let item = at.item(i);
        let path = text.strip_suffix('/').unwrap_or(text);
        let is_part = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(char::is_control);
        if !path.split('/').all(is_part) {
            let reason = "is no place in a kernel tree: one like `net/core` is expected, without `..`";
            let problem = Problem::Text { path: item.to_string(), text: text.clone(), reason };
            return Err(document.error(&item, problem));
        }
        if let Some(first) = paths.iter().position(|earlier| earlier == path) {
            let first = document.place(&at.item(first)).line;
            let problem = Problem::Repeated { what: "path", name: text.clone(), first };
            return Err(document.error(&item, problem));
        }
        paths.push(path.to_owned());
    }
    Ok(paths)
}

/// Reads one entry of `tests`.
pub(super) struct Reader<'a> {
    pub(super) document: &'a Document<'a>,
    pub(super) workloads: &'a Workloads,
    pub(super) at: Path,
}

/// Values of one parameter, in the order of the file.
type Axis = (&'static str, Vec<Value>);

impl Reader<'_> {
    fn test(&self, suite: &SuiteName, name: &str, raw: &RawTest) -> Result<Vec<Test>, ConfigError> {
        let given = [
            ("workload", raw.workload.is_some()),
            ("exec", raw.exec.is_some()),
            ("selftests", raw.selftests.is_some()),
            ("kunit", raw.kunit.is_some()),
        ];
        let mut given = given.into_iter().filter(|(_, given)| *given);
        if let (Some((one, _)), Some((other, _))) = (given.next(), given.next()) {
            return Err(self.exclusive(one, other));
        }
        if let Some(workload) = &raw.workload {
            self.tests_of(&workload.0, suite, name, raw)
        } else if let Some(exec) = &raw.exec {
            Ok(vec![self.program(exec, suite, name, raw)?])
        } else if let Some(selftests) = &raw.selftests {
            self.selftests(selftests, suite, name, raw)
        } else if let Some(kunit) = &raw.kunit {
            self.kunit(kunit, suite, name, raw)
        } else {
            let problem = Problem::MissingKey { key: "workload".into(), within: self.at.to_string() };
            Err(self.document.error(&self.at, problem))
        }
    }

    pub(super) fn timeout(&self, raw: &RawTest) -> Result<Duration, ConfigError> {
        value::timeout(&raw.timeout.0).map_err(|error| {
            let at = self.at.key("timeout");
            self.document.error(&at, Problem::Value { path: at.to_string(), error })
        })
    }

    fn tests_of(
        &self,
        workload: &str,
        suite: &SuiteName,
        name: &str,
        raw: &RawTest,
    ) -> Result<Vec<Test>, ConfigError> {
        let workload = self.workload(workload)?;
        let timeout = self.timeout(raw)?;
        let metrics = self.metrics(workload, raw.metrics.as_deref().unwrap_or_default())?;
        let fixed = self.fixed(workload, raw)?;
        let axes = self.axes(workload, name, raw)?;
        let line = self.document.place(&self.at).line;
        let tests = multiply(&axes).into_iter().map(|varied| Test {
            id: TestId { suite: suite.clone(), test: name.to_owned(), params: varied.clone() },
            workload: workload.name.to_owned(),
            params: defaults(workload).chain(fixed.iter().cloned()).chain(varied).collect(),
            timeout,
            metrics: metrics.clone(),
            exec: None,
            line,
        });
        Ok(tests.collect())
    }

    fn workload(&self, name: &str) -> Result<&'static WorkloadInfo, ConfigError> {
        self.workloads.find(name).ok_or_else(|| {
            let (name, known) = (name.to_owned(), self.workloads.names());
            let problem = Problem::Unknown { what: "workload", name, owner: String::new(), known };
            self.document.error(&self.at.key("workload"), problem)
        })
    }

    fn fixed(&self, workload: &WorkloadInfo, raw: &RawTest) -> Result<Vec<(String, Value)>, ConfigError> {
        let at = self.at.key("params");
        let entries = raw.params.iter().flat_map(|entries| &entries.0);
        let read = entries.map(|(name, text)| {
            let info = self.param(workload, &at, name)?;
            Ok((name.clone(), self.value(workload, info, &at.key(name), text)?))
        });
        read.collect()
    }

    fn axes(&self, workload: &WorkloadInfo, test: &str, raw: &RawTest) -> Result<Vec<Axis>, ConfigError> {
        let at = self.at.key("matrix");
        let mut axes = Vec::new();
        let mut count = 1_u64;
        for (name, list) in raw.matrix.iter().flat_map(|entries| &entries.0) {
            let info = self.param(workload, &at, name)?;
            if raw.params.iter().flat_map(|entries| &entries.0).any(|(fixed, _)| fixed == name) {
                let first = self.document.place_of_key(&self.at.key("params"), name).line;
                let problem = Problem::FixedAndVaried { param: name.clone(), first };
                return Err(self.document.error_at_key(&at, name, problem));
            }
            let at = at.key(name);
            if list.is_empty() {
                let problem = Problem::NothingIn {
                    path: at.to_string(),
                    hint: "list the values, like this: `[1, 10]`",
                };
                return Err(self.document.error(&at, problem));
            }
            axes.push((info.name(), self.values(workload, info, test, &at, list)?));
            count = count.saturating_mul(list.len() as u64);
        }
        if count > MATRIX_LIMIT {
            return Err(self.document.error(&at, Problem::MatrixTooBig { count, limit: MATRIX_LIMIT }));
        }
        Ok(axes)
    }

    fn values(
        &self,
        workload: &WorkloadInfo,
        info: &ParamInfo,
        test: &str,
        at: &Path,
        list: &[Scalar],
    ) -> Result<Vec<Value>, ConfigError> {
        let mut values = Vec::new();
        for (i, text) in list.iter().enumerate() {
            let value = self.value(workload, info, &at.item(i), text)?;
            if let Some(first) = values.iter().position(|earlier| *earlier == value) {
                let first = self.document.place(&at.item(first)).line;
                let test = format!("{test}[{}={value}]", info.name());
                let problem = Problem::RepeatedTest { test, param: info.name(), first };
                return Err(self.document.error(&at.item(i), problem));
            }
            values.push(value);
        }
        Ok(values)
    }

    fn param(
        &self,
        workload: &WorkloadInfo,
        at: &Path,
        name: &str,
    ) -> Result<&'static ParamInfo, ConfigError> {
        workload.params.iter().find(|info| info.name() == name).ok_or_else(|| {
            let known = workload.params.iter().map(|info| info.name().to_owned()).collect();
            let problem = unknown("parameter", name, workload, known);
            self.document.error_at_key(at, name, problem)
        })
    }

    fn value(
        &self,
        workload: &WorkloadInfo,
        info: &ParamInfo,
        at: &Path,
        Scalar(text): &Scalar,
    ) -> Result<Value, ConfigError> {
        let refuse = |expected, choices| {
            let (param, workload, value) = (info.name(), workload.name, text.clone());
            self.document.error(at, Problem::Param { param, workload, value, expected, choices })
        };
        match info {
            ParamInfo::Int { min, max, .. } => {
                let number = text.parse().ok().filter(|number| (min..=max).contains(&number));
                number.map(Value::Int).ok_or_else(|| {
                    refuse(format!("a whole number from {min} to {max} is expected"), Vec::new())
                })
            }
            ParamInfo::Choice { choices, .. } if choices.contains(&text.as_str()) => {
                Ok(Value::Text(text.clone()))
            }
            ParamInfo::Choice { choices, .. } => {
                let choices = choices.iter().map(|&word| word.to_owned()).collect();
                Err(refuse("one word of a choice is expected".into(), choices))
            }
        }
    }

    fn metrics(&self, workload: &WorkloadInfo, list: &[RawMetric]) -> Result<Vec<Metric>, ConfigError> {
        let all = self.at.key("metrics");
        let mut metrics: Vec<Metric> = Vec::new();
        for (i, raw) in list.iter().enumerate() {
            let at = all.item(i);
            let name = &raw.name.0;
            let info = workload.metrics.iter().find(|info| info.name == name).ok_or_else(|| {
                let known = workload.metrics.iter().map(|info| info.name.to_owned()).collect();
                self.document.error(&at.key("name"), unknown("metric", name, workload, known))
            })?;
            if let Some(first) = metrics.iter().position(|earlier| earlier.name == info.name) {
                let first = self.document.place(&all.item(first).key("name")).line;
                let problem = Problem::Repeated { what: "metric", name: name.clone(), first };
                return Err(self.document.error(&at.key("name"), problem));
            }
            if let Some((key, written, declared)) = difference(raw, info) {
                let (metric, workload) = (info.name, workload.name);
                let problem = Problem::MetricDiffers { key, metric, workload, written, declared };
                return Err(self.document.error(&at.key(key), problem));
            }
            metrics.push(*info);
        }
        Ok(metrics)
    }
}

fn unknown(what: &'static str, name: &str, workload: &WorkloadInfo, known: Vec<String>) -> Problem {
    let owner = format!("workload `{}`", workload.name);
    Problem::Unknown { what, name: name.to_owned(), owner, known }
}

/// Where a suite contradicts the workload: key, word there, word of the workload.
fn difference(raw: &RawMetric, info: &MetricInfo) -> Option<(&'static str, &'static str, &'static str)> {
    let pairs = [
        ("unit", raw.unit.map(Unit::symbol), info.unit.symbol()),
        ("better", raw.better.map(value::better_text), value::better_text(info.better)),
        ("kind", raw.kind.map(value::kind_text), value::kind_text(info.kind)),
    ];
    pairs.into_iter().find_map(|(key, written, declared)| {
        let written = written.filter(|written| *written != declared)?;
        Some((key, written, declared))
    })
}

fn defaults(workload: &WorkloadInfo) -> impl Iterator<Item = (String, Value)> {
    workload.params.iter().map(|info| match info {
        ParamInfo::Int { name, default, .. } => ((*name).to_owned(), Value::Int(*default)),
        ParamInfo::Choice { name, default, .. } => ((*name).to_owned(), Value::Text((*default).to_owned())),
    })
}

/// Every combination; the last parameter changes fastest. No axis is one empty
/// combination.
fn multiply(axes: &[Axis]) -> Vec<Vec<(String, Value)>> {
    axes.iter().fold(vec![Vec::new()], |made, (name, values)| {
        let longer = made.iter().flat_map(|combination: &Vec<_>| {
            values.iter().map(move |value| {
                let next = ((*name).to_owned(), value.clone());
                combination.iter().cloned().chain([next]).collect()
            })
        });
        longer.collect()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::fixtures;

    const SUITE: &str = "\
version: 1
summary: two tests
tests:
  # Comments and blank lines do not move the lines of tests.

  drain:
    workload: netns/drain
    params: {rounds: 2}
    matrix:
      namespaces: [1, 10]
      completion: [tracepoints, ucount]
    timeout: 1m30s
    metrics:
      - {name: drain_time, unit: ns, better: lower, kind: time}
      - name: rounds
  \"quoted\": {workload: netns/drain, timeout: 5s}
";

    fn suite() -> Suite {
        parse("net", "suites/net.yaml", SUITE, &fixtures::workloads()).expect("a good suite")
    }

    #[test]
    fn a_matrix_is_multiplied_out_in_the_order_of_the_file() {
        let names: Vec<_> = suite().tests.iter().map(|test| test.id.to_string()).collect();
        assert_eq!(
            names,
            [
                "net/drain[namespaces=1,completion=tracepoints]",
                "net/drain[namespaces=1,completion=ucount]",
                "net/drain[namespaces=10,completion=tracepoints]",
                "net/drain[namespaces=10,completion=ucount]",
                "net/quoted",
            ]
        );
    }

    #[test]
    fn a_suite_says_which_places_of_the_tree_it_is_about() {
        assert_eq!(suite().paths, Vec::<String>::new());
        let text = SUITE.replace("tests:\n", "paths: [net/core/, kernel/nsproxy.c]\ntests:\n");
        let suite = parse("net", "suites/net.yaml", &text, &fixtures::workloads()).expect("a good suite");
        assert_eq!(suite.paths, ["net/core", "kernel/nsproxy.c"]);
        for (file, expected) in [
            ("net/core/dev.c", true),
            ("kernel/nsproxy.c", true),
            ("net/core_of/dev.c", false),
            ("kernel/nsproxy.c.orig", false),
            ("net/ipv4/tcp.c", false),
        ] {
            assert_eq!(suite.is_about(file), expected, "{file}");
        }
    }

    #[test]
    fn every_suite_of_the_project_says_what_it_is_about() {
        let workloads = Workloads::guest();
        for (name, text) in embedded::SUITES {
            let suite = parse(name, name, text, &workloads).expect("a good suite");
            assert!(!suite.paths.is_empty(), "{name}");
        }
    }

    #[test]
    fn every_parameter_has_its_value() {
        let suite = suite();
        let text = |test: &Test| {
            test.params.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(text(&suite.tests[1]), "completion=ucount namespaces=1 rounds=2");
        assert_eq!(text(&suite.tests[4]), "completion=auto namespaces=50 rounds=5");
    }

    #[test]
    fn timeout_and_metrics_come_with_every_test() {
        let suite = suite();
        assert_eq!(suite.tests[3].timeout.as_secs(), 90);
        let metrics: Vec<_> = suite.tests[3].metrics.iter().map(|metric| metric.name).collect();
        assert_eq!(metrics, ["drain_time", "rounds"]);
        assert!(suite.tests[4].metrics.is_empty());
    }

    #[test]
    fn every_test_knows_the_line_of_its_name() {
        let lines: Vec<_> = suite().tests.iter().map(|test| test.line).collect();
        assert_eq!(lines, [6, 6, 6, 6, 16]);
    }

    #[test]
    fn a_suite_knows_its_file_and_summary() {
        let suite = suite();
        assert_eq!((suite.file.as_str(), suite.summary.as_str()), ("suites/net.yaml", "two tests"));
    }

    #[test]
    fn numbers_may_be_quoted_and_words_may_look_like_something_else() {
        let text = "version: 1\nsummary: yes\ntests:\n  \
                    1: {workload: netns/drain, timeout: 1s, params: {rounds: \"3\"}}\n";
        let suite = parse("s", "s", text, &fixtures::workloads()).expect("a good suite");
        assert_eq!((suite.summary.as_str(), suite.tests[0].id.test.as_str()), ("yes", "1"));
        assert_eq!(suite.tests[0].params["rounds"], Value::Int(3));
    }

    #[test]
    fn anchors_spare_repetition() {
        let text = "\
version: 1
summary: anchors
tests:
  a:
    workload: netns/drain
    timeout: &long 1m
    metrics: &all [{name: drain_time}]
  b: {workload: netns/drain, timeout: *long, metrics: *all}
";
        let suite = parse("s", "s", text, &fixtures::workloads()).expect("a good suite");
        assert_eq!(suite.tests[1].timeout, suite.tests[0].timeout);
        assert_eq!(suite.tests[1].metrics, suite.tests[0].metrics);
    }

    proptest! {
        #[test]
        fn as_many_tests_as_the_product_of_the_matrix(
            namespaces in proptest::collection::btree_set(1_i64..400, 1..8),
            rounds in proptest::collection::btree_set(1_i64..20, 1..8),
        ) {
            let text = format!(
                "version: 1\nsummary: x\ntests:\n  t:\n    workload: netns/drain\n    timeout: 1s\n    \
                 matrix:\n      rounds: {rounds:?}\n      namespaces: {namespaces:?}\n"
            ).replace('{', "[").replace('}', "]");
            let suite = parse("s", "s", &text, &fixtures::workloads()).expect("a good suite");
            prop_assert_eq!(suite.tests.len(), namespaces.len() * rounds.len());
            let ids: std::collections::BTreeSet<_> = suite.tests.iter().map(|test| &test.id).collect();
            prop_assert_eq!(ids.len(), suite.tests.len());
        }
    }
}
