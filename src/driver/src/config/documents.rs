//! Keeps what people read true: `suites/README.md`, the commented
//! `kregress.yaml`, and the suites of the repository.

use std::collections::BTreeSet;
use std::path::Path;

use super::allow::RawAllow;
use super::kernels::{self, RawKernel, RawMachine, RawProject};
use super::paths::Base;
use super::suite::{self, RawMetric, RawSuite, RawTest};
use super::suite_exec::RawExec;
use super::suite_kunit::RawKunit;
use super::suite_selftests::RawSelftests;
use super::yaml::keys_of;
use super::{Workloads, embedded, load};
use crate::model::{Accel, AccelChoice, Machine, Source};

const README: &str = include_str!("../../../../suites/README.md");

/// First cells of the table below a heading, and whether the second says yes.
fn table(heading: &str) -> Vec<(String, bool)> {
    let (_, section) = README.split_once(&format!("\n## {heading}\n")).expect("the heading");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let mut cells = row.split(" | ");
        let key = cells.next().expect("a key").trim_end_matches('`').to_owned();
        (key, cells.next() == Some("yes"))
    })
    .collect()
}

/// Fenced YAML blocks.
fn examples() -> Vec<&'static str> {
    README.split("\n```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

fn keys(heading: &str) -> Vec<String> {
    table(heading).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn the_readme_has_every_key_of_a_suite_and_no_other() {
    assert_eq!(keys("Suite"), keys_of::<RawSuite>());
    assert_eq!(keys("Test"), keys_of::<RawTest>());
    assert_eq!(keys("Program"), keys_of::<RawExec>());
    assert_eq!(keys("Selftests"), keys_of::<RawSelftests>());
    assert_eq!(keys("KUnit"), keys_of::<RawKunit>());
    assert_eq!(keys("Metric"), keys_of::<RawMetric>());
}

#[test]
fn keys_that_the_readme_calls_needed_are_needed() {
    let example = examples()[0];
    for heading in ["Suite", "Test", "Metric"] {
        for (key, needed) in table(heading) {
            // The key and everything below it.
            let Some(start) = example.lines().position(|line| {
                let key = format!("{key}:");
                line.trim_start().trim_start_matches("- {").starts_with(&key)
            }) else {
                // Another example has what excludes a key of the first.
                let line = format!("\n    {key}:");
                let elsewhere = examples().iter().any(|example| example.contains(&line));
                assert!(heading == "Metric" || elsewhere && !needed, "the example lacks `{key}`");
                continue;
            };
            if heading == "Metric" {
                continue;
            }
            let depth = |line: &str| line.len() - line.trim_start().len();
            let lines: Vec<_> = example.lines().collect();
            let end = (start + 1..lines.len()).find(|i| depth(lines[*i]) <= depth(lines[start]));
            let rest: Vec<_> =
                lines[..start].iter().chain(&lines[end.unwrap_or(lines.len())..]).copied().collect();
            let parsed = suite::parse("x", "x", &rest.join("\n"), &Workloads::guest());
            assert_eq!(parsed.is_err(), needed, "without `{key}`: {parsed:?}");
        }
    }
}

#[test]
fn every_example_of_the_readme_is_a_suite() {
    let examples = examples();
    assert_eq!(examples.len(), 6);
    for example in examples {
        suite::parse("example", "README.md", example, &Workloads::guest())
            .unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn the_readme_names_the_tests_that_its_examples_make() {
    for example in [0, 2, 3, 4].map(|at| examples()[at]) {
        let suite = suite::parse("NAME", "README.md", example, &Workloads::guest()).expect("checked above");
        for test in [suite.tests.first(), suite.tests.last()].into_iter().flatten() {
            assert!(README.contains(&format!("`{}`", test.id)), "{}", test.id);
        }
    }
}

#[test]
fn the_built_in_project_loads() {
    let nowhere = tempfile::tempdir().expect("a temporary directory");
    let project = load(None, nowhere.path()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(project.file, None);
    assert_eq!(project.default_kernel.0, "distro");
    assert_eq!(project.machine, Machine::default());
    let pattern = "/usr/src/linux-source-*.tar.*".to_owned();
    let kernels: Vec<_> =
        project.kernels.iter().map(|kernel| (kernel.name.0.as_str(), &kernel.source)).collect();
    assert_eq!(
        kernels,
        [("distro", &Source::Tarball(pattern.clone())), ("distro-vng", &Source::Tarball(pattern))]
    );
    let fragments =
        |i: usize| project.kernels[i].fragments.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(fragments(0), ["base", "netns"]);
    assert_eq!(fragments(1), ["base", "netns", "virtme-ng", "selftests"]);
    assert!(project.suites.iter().any(|suite| suite.name.0 == "smoke"));
}

#[test]
fn every_suite_and_fragment_of_the_repository_is_built_in() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (directory, extension, built_in) in
        [("suites", "yaml", embedded::SUITES), ("kconfigs", "config", embedded::FRAGMENTS)]
    {
        let entries = std::fs::read_dir(root.join(directory)).expect("the directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let files: BTreeSet<_> = paths
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .map(|path| path.file_stem().expect("a stem").to_string_lossy().into_owned())
            .collect();
        assert_eq!(files, built_in.iter().map(|(name, _)| (*name).to_owned()).collect());
    }
}

/// The template with its commented entries switched on. Prose is behind `# `,
/// entries are behind `#` alone or with their own indentation.
fn switched_on() -> String {
    let line = |line: &str| match line.trim_start().strip_prefix('#') {
        Some(rest) if rest.starts_with("  ") || !rest.starts_with(' ') && !rest.is_empty() => {
            format!("{}{rest}\n", &line[..line.len() - line.trim_start().len()])
        }
        _ => format!("{line}\n"),
    };
    embedded::CONFIG.lines().map(line).collect()
}

#[test]
fn every_commented_entry_of_the_template_works() {
    let base = Base { directory: "/net".into(), home: Some("/home/me".into()) };
    let fragments = ["base", "netns", "virtme-ng", "selftests"].map(str::to_owned);
    let file = kernels::parse("kregress.yaml", &switched_on(), &base, &fragments)
        .unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<_> = file.kernels.iter().map(|kernel| kernel.name.0.as_str()).collect();
    assert_eq!(names, ["distro", "distro-vng", "linux", "work", "prebuilt", "debian"]);
    let work = &file.kernels[3];
    assert_eq!(work.source, Source::Directory("/net/../linux".into()));
    assert_eq!(work.base_config.as_deref(), Some(Path::new("/net/my.config")));
    assert_eq!(work.cmdline, ["slub_debug=FZ"]);
    let modules = Some("/home/me/kernels/lib/modules/6.12.0".into());
    let config = Some("/home/me/kernels/config-6.12.0".into());
    let image = Source::Image { image: "/home/me/kernels/bzImage".into(), modules, config };
    assert_eq!(file.kernels[4].source, image);
}

#[test]
fn the_template_shows_every_key() {
    let text = switched_on();
    let keys =
        [keys_of::<RawProject>(), keys_of::<RawMachine>(), keys_of::<RawKernel>(), keys_of::<RawAllow>()];
    for key in keys.concat() {
        let line_of_key = |line: &str| line.trim_start_matches([' ', '-']).starts_with(&format!("{key}:"));
        let shown = text.lines().any(line_of_key);
        assert!(shown, "`{key}` is not in kregress.yaml");
    }
}

#[test]
fn a_project_file_overrides_the_machine_in_part() {
    let base = Base { directory: "/net".into(), home: None };
    let text = "version: 1\nmachine: {accel: tcg, memory: 512M}\nkernels: {a: {image: /boot/vmlinuz}}\n";
    let file = kernels::parse("kregress.yaml", text, &base, &[]).expect("a good file");
    let machine = Machine { accel: AccelChoice::Only(Accel::Tcg), memory: 512 << 20, ..Machine::default() };
    assert_eq!((file.machine, file.default_kernel.0.as_str()), (machine, "a"));
    assert!(file.kernels[0].fragments.is_empty());
}
