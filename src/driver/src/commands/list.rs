//! `kregress list`: what can be booted, run and measured here.

use std::collections::BTreeSet;
use std::io::Write;

use serde_json::{Map, Value as Json, json};
use unicode_width::UnicodeWidthStr as _;

use crate::config::{Project, better_text, kind_text, machine_text, source_kind, timeout_text};
use crate::model::{KernelSpec, Source, Suite, Test};

/// Columns of the screen that tables keep to. Names are never cut for it: they
/// are there to be copied.
const WIDTH: usize = 80;

/// Version of the JSON output.
const VERSION: u32 = 1;

/// Which part of the project to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListKind {
    /// All of them, each under its heading.
    All,
    /// Entries of `kregress.yaml`.
    Kernels,
    /// Suites with their summaries.
    Suites,
    /// Every single test.
    Tests,
    /// What tests measure, as `kregress bisect --metric` takes it.
    Metrics,
}

/// For whom to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Tables.
    Human,
    /// One JSON object on one line, with `version` and the parts asked for.
    Json,
}

/// Writes the list.
///
/// # Errors
///
/// Fails when `out` does.
pub fn run(project: &Project, what: ListKind, format: Format, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        Format::Human => human(project, what, out),
        Format::Json => json(project, what, out),
    }
}

fn human(project: &Project, what: ListKind, out: &mut dyn Write) -> anyhow::Result<()> {
    let sections = [
        (ListKind::Kernels, format!("kernels of {}", project.file_text()), kernel_rows(project)),
        (ListKind::Suites, "suites".into(), suite_rows(project)),
        (ListKind::Tests, "tests".into(), test_rows(project)),
        (ListKind::Metrics, "metrics".into(), metric_rows(project)),
    ];
    if what != ListKind::All {
        // Alone it stands without heading and indentation, for grep and cut.
        let mut asked = sections.iter().filter(|(kind, ..)| *kind == what);
        return asked.try_for_each(|(_, _, rows)| table(rows, 0, out));
    }
    for (kind, heading, rows) in &sections {
        writeln!(out, "{heading}")?;
        table(rows, 2, out)?;
        if *kind == ListKind::Kernels {
            writeln!(out, "  (*) the default\n\nmachine\n  {}", machine_text(&project.machine))?;
        }
        if *kind != ListKind::Metrics {
            writeln!(out)?;
        }
    }
    Ok(())
}

fn kernel_rows(project: &Project) -> Vec<Vec<String>> {
    let row = |kernel: &KernelSpec| {
        let mark = if kernel.name == project.default_kernel { "*" } else { "" };
        vec![kernel.name.to_string(), mark.into(), source_kind(&kernel.source).into(), kernel_text(kernel)]
    };
    project.kernels.iter().map(row).collect()
}

/// Source and configuration of a kernel.
fn kernel_text(kernel: &KernelSpec) -> String {
    let mut text = match &kernel.source {
        Source::Git { repository, revision } | Source::Edited { repository, revision, .. } => {
            format!("{} at {revision}", repository.display())
        }
        Source::Directory(path) => path.display().to_string(),
        Source::Tarball(pattern) | Source::Deb(pattern) => pattern.clone(),
        Source::Image { image, modules, .. } => match modules {
            Some(modules) => format!("{}, modules {}", image.display(), modules.display()),
            None => image.display().to_string(),
        },
    };
    let fragments: Vec<_> = kernel.fragments.iter().map(ToString::to_string).collect();
    match &kernel.base_config {
        Some(base) => text
            .push_str(&format!(", {}", [vec![base.display().to_string()], fragments].concat().join(" + "))),
        None if fragments.is_empty() => {}
        None => text.push_str(&format!(", {}", fragments.join(" + "))),
    }
    if !kernel.cmdline.is_empty() {
        text.push_str(&format!(", booted with {}", kernel.cmdline.join(" ")));
    }
    text
}

fn suite_rows(project: &Project) -> Vec<Vec<String>> {
    let row = |suite: &Suite| {
        let tests = match suite.tests.len() {
            1 => "1 test".into(),
            n => format!("{n} tests"),
        };
        vec![suite.name.to_string(), tests, suite.summary.clone()]
    };
    project.suites.iter().map(row).collect()
}

fn test_rows(project: &Project) -> Vec<Vec<String>> {
    let row = |test: &Test| vec![test.id.to_string(), timeout_text(test.timeout), test.workload.clone()];
    tests(project).map(row).collect()
}

fn metric_rows(project: &Project) -> Vec<Vec<String>> {
    let row = |(name, metric): (String, &crate::model::Metric)| {
        let (unit, better) = (metric.unit.symbol().into(), better_text(metric.better).into());
        vec![name, unit, better, kind_text(metric.kind).into(), metric.summary.into()]
    };
    metrics(project).map(row).collect()
}

fn tests(project: &Project) -> impl Iterator<Item = &Test> {
    project.suites.iter().flat_map(|suite| &suite.tests)
}

/// `SUITE/TEST:METRIC`, once for all of a test's matrix.
fn metrics(project: &Project) -> impl Iterator<Item = (String, &crate::model::Metric)> {
    let mut seen = BTreeSet::new();
    let all = tests(project).flat_map(|test| {
        let name = format!("{}/{}", test.id.suite, test.id.test);
        test.metrics.iter().map(move |metric| (format!("{name}:{}", metric.name), metric))
    });
    all.filter(move |(name, _)| seen.insert(name.clone()))
}

/// Rows with aligned columns. The last column is wrapped at [`WIDTH`]; where the
/// others leave it too little room for that, it stands below them.
fn table(rows: &[Vec<String>], indent: usize, out: &mut dyn Write) -> anyhow::Result<()> {
    /// Less room than this makes a column of single words.
    const LEAST: usize = 40;
    let split = |row: &[String]| row.split_last().map(|(last, cells)| (last.clone(), cells.to_vec()));
    let rows: Vec<_> = rows.iter().filter_map(|row| split(row)).collect();
    let columns = rows.first().map_or(0, |(_, cells)| cells.len());
    let widths: Vec<_> = (0..columns)
        .map(|i| rows.iter().map(|(_, cells)| cells[i].width()).max().unwrap_or_default())
        .collect();
    let left = indent + widths.iter().map(|width| width + 2).sum::<usize>();
    let room = WIDTH.saturating_sub(left);
    let below = room < LEAST && rows.iter().any(|(last, _)| last.width() > room);
    for (last, cells) in &rows {
        let mut line = " ".repeat(indent);
        for (cell, width) in cells.iter().zip(&widths) {
            line.push_str(&format!("{cell}{:1$}", "", width + 2 - cell.width()));
        }
        let margin = if below { indent + 4 } else { left };
        if below {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(margin);
        }
        for part in wrap(last, WIDTH.saturating_sub(margin)) {
            line.push_str(&part);
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(margin);
        }
    }
    Ok(())
}

/// Lines of at most this width, unless a single word is wider.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.width() + 1 + word.width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn json(project: &Project, what: ListKind, out: &mut dyn Write) -> anyhow::Result<()> {
    let wants = |part| what == ListKind::All || what == part;
    let mut object = Map::new();
    object.insert("version".into(), VERSION.into());
    if wants(ListKind::Kernels) {
        object.insert("config".into(), project.file.as_ref().map(|file| file.display().to_string()).into());
        object.insert("machine".into(), machine_text(&project.machine).into());
        object.insert("default-kernel".into(), project.default_kernel.to_string().into());
        object.insert("kernels".into(), project.kernels.iter().map(kernel_json).collect());
    }
    if wants(ListKind::Suites) {
        object.insert("suites".into(), project.suites.iter().map(suite_json).collect());
    }
    if wants(ListKind::Tests) {
        object.insert("tests".into(), project.suites.iter().flat_map(tests_json).collect());
    }
    if wants(ListKind::Metrics) {
        let row = |(name, metric): (String, &crate::model::Metric)| {
            json!({
                "name": name,
                "unit": metric.unit.symbol(),
                "better": better_text(metric.better),
                "kind": kind_text(metric.kind),
                "summary": metric.summary,
            })
        };
        object.insert("metrics".into(), metrics(project).map(row).collect());
    }
    writeln!(out, "{}", Json::Object(object))?;
    Ok(())
}

fn kernel_json(kernel: &KernelSpec) -> Json {
    let mut object = Map::new();
    let mut put = |key: &str, value: Json| object.insert(key.into(), value);
    put("name", kernel.name.to_string().into());
    let kind = source_kind(&kernel.source);
    put("kind", kind.into());
    match &kernel.source {
        // No entry of a configuration is edited.
        Source::Git { repository, revision } | Source::Edited { repository, revision, .. } => {
            put(kind, repository.display().to_string().into());
            put("revision", revision.as_str().into());
        }
        Source::Directory(path) => {
            put(kind, path.display().to_string().into());
        }
        Source::Tarball(pattern) | Source::Deb(pattern) => {
            put(kind, pattern.as_str().into());
        }
        Source::Image { image, modules, config } => {
            put(kind, image.display().to_string().into());
            for (key, path) in [("modules", modules), ("config", config)] {
                put(key, path.as_ref().map(|path| path.display().to_string()).into());
            }
        }
    }
    put("fragments", kernel.fragments.iter().map(ToString::to_string).collect());
    put("base-config", kernel.base_config.as_ref().map(|path| path.display().to_string()).into());
    put("cmdline", kernel.cmdline.clone().into());
    Json::Object(object)
}

fn suite_json(suite: &Suite) -> Json {
    json!({
        "name": suite.name.to_string(),
        "summary": suite.summary,
        "file": suite.file,
        "paths": suite.paths,
        "tests": suite.tests.len(),
    })
}

fn tests_json(suite: &Suite) -> impl Iterator<Item = Json> {
    suite.tests.iter().map(|test| {
        let value = |value: &kregress_wire::Value| match value {
            kregress_wire::Value::Int(n) => Json::from(*n),
            kregress_wire::Value::Text(text) => Json::from(text.as_str()),
        };
        let params: Map<_, _> =
            test.params.iter().map(|(name, found)| (name.clone(), value(found))).collect();
        json!({
            "name": test.id.to_string(),
            "workload": test.workload,
            "params": params,
            "timeout-ms": u64::try_from(test.timeout.as_millis()).unwrap_or(u64::MAX),
            "metrics": test.metrics.iter().map(|metric| metric.name).collect::<Vec<_>>(),
            "file": suite.file,
            "line": test.line,
        })
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::config::{fixtures, load, suite};

    const CONFIG: &str = "\
version: 1
default-kernel: linux
kernels:
  linux: {git: /src/linux, revision: v6.12}
  work: {directory: /src/net-next, base-config: /src/my.config, cmdline: [slub_debug=FZ, nokaslr]}
  old: {image: /boot/vmlinuz-6.1, modules: /lib/modules/6.1}
";
    const SMOKE: &str = "\
version: 1
summary: what happens to namespaces in a few seconds, told in a summary that is longer than a line of the screen
tests:
  drain:
    workload: netns/drain
    params: {rounds: 3}
    matrix: {namespaces: [1, 50]}
    timeout: 1m30s
    metrics: [{name: drain_time}, {name: rounds}]
  send: {workload: msg-zerocopy/send, timeout: 10s, metrics: [{name: throughput}]}
";

    fn list(what: ListKind, format: Format) -> String {
        let root = tempfile::tempdir().expect("a temporary directory");
        std::fs::write(root.path().join("kregress.yaml"), CONFIG).expect("write");
        let mut project = load(None, root.path()).expect("a good project");
        // The built-in suites come and go, and so do the words of the guest.
        let suite = suite::parse("smoke", "suites/smoke.yaml", SMOKE, &fixtures::workloads());
        project.suites = vec![suite.expect("a good suite")];
        let mut out = Vec::new();
        run(&project, what, format, &mut out).expect("written to memory");
        let text = String::from_utf8(out).expect("text");
        text.replace(&root.path().display().to_string(), "ROOT")
    }

    #[test]
    fn everything_is_shown_under_headings() {
        assert_snapshot!(list(ListKind::All, Format::Human), @r"
        kernels of kregress.yaml
          linux  *  git        /src/linux at v6.12, base
          work      directory  /src/net-next, /src/my.config + base, booted with
                               slub_debug=FZ nokaslr
          old       image      /boot/vmlinuz-6.1, modules /lib/modules/6.1
          (*) the default

        machine
          accel=auto,backend=qemu,cpus=2,memory=1G

        suites
          smoke  3 tests  what happens to namespaces in a few seconds, told in a summary
                          that is longer than a line of the screen

        tests
          smoke/drain[namespaces=1]   1m30s  netns/drain
          smoke/drain[namespaces=50]  1m30s  netns/drain
          smoke/send                  10s    msg-zerocopy/send

        metrics
          smoke/drain:drain_time  ns   lower   time   something that is observed
          smoke/drain:rounds      1    lower   count  something that is observed
          smoke/send:throughput   B/s  higher  rate   something that is observed
        ");
    }

    #[test]
    fn one_section_stands_alone() {
        assert_snapshot!(list(ListKind::Metrics, Format::Human), @r"
        smoke/drain:drain_time  ns   lower   time   something that is observed
        smoke/drain:rounds      1    lower   count  something that is observed
        smoke/send:throughput   B/s  higher  rate   something that is observed
        ");
    }

    #[test]
    fn no_line_is_wider_than_the_screen() {
        for line in list(ListKind::All, Format::Human).lines() {
            assert!(line.width() <= WIDTH, "{line}");
            assert_eq!(line, line.trim_end());
        }
    }

    #[test]
    fn json_is_one_line_with_a_version() {
        let text = list(ListKind::All, Format::Json);
        assert_eq!(text.lines().count(), 1);
        let json: Json = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["version"], VERSION);
        assert_snapshot!(serde_json::to_string_pretty(&json["kernels"][0]).expect("JSON"), @r#"
        {
          "base-config": null,
          "cmdline": [],
          "fragments": [
            "base"
          ],
          "git": "/src/linux",
          "kind": "git",
          "name": "linux",
          "revision": "v6.12"
        }
        "#);
        assert_snapshot!(serde_json::to_string_pretty(&json["suites"]).expect("JSON"), @r#"
        [
          {
            "file": "suites/smoke.yaml",
            "name": "smoke",
            "paths": [],
            "summary": "what happens to namespaces in a few seconds, told in a summary that is longer than a line of the screen",
            "tests": 3
          }
        ]
        "#);
        assert_snapshot!(serde_json::to_string_pretty(&json["tests"][1]).expect("JSON"), @r#"
        {
          "file": "suites/smoke.yaml",
          "line": 4,
          "metrics": [
            "drain_time",
            "rounds"
          ],
          "name": "smoke/drain[namespaces=50]",
          "params": {
            "completion": "auto",
            "namespaces": 50,
            "rounds": 3
          },
          "timeout-ms": 90000,
          "workload": "netns/drain"
        }
        "#);
        assert_snapshot!(serde_json::to_string_pretty(&json["metrics"][0]).expect("JSON"), @r#"
        {
          "better": "lower",
          "kind": "time",
          "name": "smoke/drain:drain_time",
          "summary": "something that is observed",
          "unit": "ns"
        }
        "#);
    }

    #[test]
    fn json_has_only_what_was_asked_for() {
        let json: Json = serde_json::from_str(&list(ListKind::Kernels, Format::Json)).expect("JSON");
        let keys: Vec<_> = json.as_object().expect("an object").keys().collect();
        assert_eq!(keys, ["config", "default-kernel", "kernels", "machine", "version"]);
    }

    #[test]
    fn the_last_column_moves_below_names_that_leave_no_room() {
        let row = |name: &str, text: &str| vec![name.to_owned(), text.to_owned()];
        let mut out = Vec::new();
        table(&[row(&"x".repeat(70), "a long explanation"), row("y", "short")], 2, &mut out).expect("memory");
        assert_snapshot!(String::from_utf8(out).expect("text"), @r"
        xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
            a long explanation
        y
            short
        ");
    }

    #[test]
    fn nothing_is_an_empty_table() {
        let mut out = Vec::new();
        table(&[], 2, &mut out).expect("memory");
        assert!(out.is_empty());
    }

    #[test]
    fn a_name_wider_than_the_screen_is_not_cut() {
        let mut out = Vec::new();
        let name = "x".repeat(100);
        table(&[vec![name.clone(), String::new()]], 2, &mut out).expect("memory");
        assert_eq!(String::from_utf8(out).expect("text"), format!("  {name}\n"));
    }

    #[test]
    fn a_pipe_that_closes_is_an_error_and_no_panic() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
                Err(std::io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let error = table(&[vec!["a".into(), "b".into()]], 0, &mut Closed).expect_err("closed");
        let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        assert_eq!(kind, Some(std::io::ErrorKind::BrokenPipe));
    }
}
