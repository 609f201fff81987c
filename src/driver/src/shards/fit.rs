//! Whether a plan is of what is found here: the same program, tests and kernels. Pure.
//!
//! Files behind a kernel's entry are not looked at, for a shard may have to build it
//! first: `join` compares what was booted.

use std::collections::BTreeMap;
use std::path::Path;

use super::plan::{Entry, Work, hex};
use crate::config::Project;
use crate::lab::Quiet;
use crate::model::{AllowRule, Edit, KernelSpec, Machine, Source, Test};
use crate::results::format;
use crate::results::{to_machine, to_test};

/// What is to be done here.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// The configuration.
    pub project: &'a Project,
    /// The machine as asked for.
    pub machine: &'a Machine,
    /// Kernels in order.
    pub kernels: &'a [KernelSpec],
    /// Tests in order.
    pub tests: &'a [Test],
    /// Boots of each kernel.
    pub boots: u32,
    /// Repetitions of a test that did not pass.
    pub retries: u32,
    /// What boots that measure times are granted.
    pub quiet: Quiet,
    /// Seed of everything random.
    pub seed: u64,
}

/// That work in the words of a plan.
#[must_use]
pub fn work(here: &Here<'_>) -> Work {
    let files: BTreeMap<_, _> = here.project.suites.iter().map(|suite| (&suite.name, &suite.file)).collect();
    let entry = |spec: &KernelSpec| Entry {
        name: spec.name.0.clone(),
        entry: digest(&kernel_lines(spec, here.project)),
    };
    Work {
        kregress: env!("CARGO_PKG_VERSION").to_owned(),
        seed: here.seed,
        machine: to_machine(here.machine),
        boots_per_kernel: here.boots,
        retries: here.retries,
        quiet_host: here.quiet == Quiet::Alone,
        kernels: here.kernels.iter().map(entry).collect(),
        allowed: digest(&allow_lines(&here.project.allow)),
        tests: here.tests.iter().map(|test| to_test(test, files.get(&test.id.suite).copied())).collect(),
    }
}

/// Each line with its length, so that no two sequences are the same bytes.
fn digest(lines: &[String]) -> String {
    let bytes: String = lines.iter().map(|line| format!("{}:{line}\n", line.len())).collect();
    hex(bytes.as_bytes(), 64)
}

/// What the configuration says of a kernel. Paths are shortened to what is the same in
/// another checkout or home directory.
fn kernel_lines(spec: &KernelSpec, project: &Project) -> Vec<String> {
    let path = |path: &Path| {
        let below =
            |root: &Path, name: &str| Some(format!("{name}/{}", path.strip_prefix(root).ok()?.display()));
        let home = project.home.as_deref().and_then(|home| below(home, "~"));
        below(&project.root, ".").or(home).unwrap_or_else(|| path.display().to_string())
    };
    let optional = |it: &Option<std::path::PathBuf>| it.as_deref().map_or("-".to_owned(), path);
    let mut lines = match &spec.source {
        Source::Git { repository, revision } => vec!["git".to_owned(), path(repository), revision.clone()],
        Source::Edited { repository, revision, edits } => {
            let edit = |edit: &Edit| match edit {
                Edit::Fix(patch) => format!("fix {}", path(patch)),
                Edit::Revert(commit) => format!("revert {commit}"),
            };
            let head = ["edited".to_owned(), path(repository), revision.clone()];
            head.into_iter().chain(edits.iter().map(edit)).collect()
        }
        Source::Directory(directory) => vec!["directory".to_owned(), path(directory)],
        Source::Tarball(pattern) => vec!["tarball".to_owned(), path(Path::new(pattern))],
        Source::Image { image, modules, config } => {
            vec!["image".to_owned(), path(image), optional(modules), optional(config)]
        }
        Source::Deb(pattern) => vec!["deb".to_owned(), path(Path::new(pattern))],
    };
    lines.push(format!("base-config {}", optional(&spec.base_config)));
    lines.extend(spec.cmdline.iter().map(|word| format!("cmdline {word}")));
    for name in &spec.fragments {
        let text = project.fragments.get(name).map_or("", |file| file.text.as_str());
        lines.push(format!("fragment {name}: {text}"));
    }
    lines
}

fn allow_lines(rules: &[AllowRule]) -> Vec<String> {
    let line = |rule: &AllowRule| {
        let AllowRule { finding, kernels, tests, allowance, place: _ } = rule;
        [
            finding.clone(),
            kernels.join(" "),
            tests.join(" "),
            allowance.reason.clone(),
            allowance.expires.to_string(),
        ]
    };
    rules.iter().flat_map(line).collect()
}

/// What differs between a plan and the same words taken here, in sentences; tests and
/// kernels that `here` lacks are not here.
#[must_use]
pub fn differences(plan: &Work, here: &Work) -> Vec<String> {
    let mut found = Vec::new();
    if plan.kregress != here.kregress {
        found.push(format!("kregress is {} here, {} in the plan", here.kregress, plan.kregress));
    }
    if plan.machine != here.machine {
        found.push("the machine is another one".to_owned());
    }
    for kernel in &plan.kernels {
        match here.kernels.iter().find(|it| it.name == kernel.name) {
            None => found.push(format!("there is no kernel `{}` here", kernel.name)),
            Some(it) if it.entry != kernel.entry => {
                found.push(format!(
                    "the entry of kernel `{}`, or a fragment of it, is another one",
                    kernel.name
                ));
            }
            Some(_) => {}
        }
    }
    if plan.allowed != here.allowed {
        found.push("other findings are allowed".to_owned());
    }
    let tests: BTreeMap<&str, &format::Test> =
        here.tests.iter().map(|test| (test.id.as_str(), test)).collect();
    for test in &plan.tests {
        match tests.get(test.id.as_str()) {
            None => found.push(format!("there is no test `{}` here", test.id)),
            Some(it) => {
                found.extend(test_difference(test, it).map(|what| format!("test `{}` has {what}", test.id)))
            }
        }
    }
    found
}

fn test_difference(plan: &format::Test, here: &format::Test) -> Option<&'static str> {
    // Where it stands in its file is for reports, and no reason not to run it.
    if plan.workload != here.workload {
        Some("another workload")
    } else if plan.params != here.params {
        Some("other parameters")
    } else if plan.timeout_ms != here.timeout_ms {
        Some("another time limit")
    } else if plan.metrics != here.metrics {
        Some("other metrics")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::model::{Allowance, FragmentName, KernelName};

    fn found(change: impl FnOnce(&mut Work)) -> String {
        let plan = testing::plan(&["fake", "other"], &["t/a", "t/b"], 1, 2);
        let mut here = plan.work().clone();
        change(&mut here);
        differences(plan.work(), &here).join("\n")
    }

    #[test]
    fn what_is_the_same_has_no_difference() {
        assert_eq!(found(|_| {}), "");
        assert_eq!(found(|here| here.tests[0].line += 7), "");
    }

    #[test]
    fn everything_that_differs_is_named() {
        let text = found(|here| {
            here.kregress = "9.9.9".to_owned();
            here.machine.cpus += 1;
            here.kernels.remove(1);
            here.kernels[0].entry = "x".to_owned();
            here.allowed = "x".to_owned();
            here.tests[1].timeout_ms += 1;
            here.tests.remove(0);
        });
        insta::assert_snapshot!(text, @r"
        kregress is 9.9.9 here, 0.1.0 in the plan
        the machine is another one
        the entry of kernel `fake`, or a fragment of it, is another one
        there is no kernel `other` here
        other findings are allowed
        there is no test `t/a` here
        test `t/b` has another time limit
        ");
    }

    fn project(root: &str) -> Project {
        let dir = tempfile::tempdir().expect("a directory");
        let mut project = crate::config::load(None, dir.path()).expect("the built-in project");
        project.root = root.into();
        project.home = Some(Path::new(root).join("home"));
        project
    }

    fn spec(root: &str) -> KernelSpec {
        KernelSpec {
            name: KernelName("k".to_owned()),
            source: Source::Git { repository: Path::new(root).join("linux"), revision: "v6.12".to_owned() },
            fragments: vec![FragmentName("base".to_owned())],
            base_config: None,
            cmdline: Vec::new(),
        }
    }

    #[test]
    fn the_same_entry_in_another_checkout_is_the_same() {
        let lines = |root: &str| kernel_lines(&spec(root), &project(root));
        assert_eq!(lines("/home/one/x"), lines("/srv/two"));
        assert_eq!(&lines("/srv")[..3], ["git", "./linux", "v6.12"]);
    }

    #[test]
    fn an_entry_with_another_revision_word_or_fragment_is_another_one() {
        let same = kernel_lines(&spec("/p"), &project("/p"));
        let changed = |change: &dyn Fn(&mut KernelSpec)| {
            let mut spec = spec("/p");
            change(&mut spec);
            digest(&kernel_lines(&spec, &project("/p")))
        };
        assert_eq!(changed(&|_| {}), digest(&same));
        assert_ne!(changed(&|spec| spec.cmdline.push("quiet".to_owned())), digest(&same));
        assert_ne!(changed(&|spec| spec.fragments.clear()), digest(&same));
        assert_ne!(changed(&|spec| spec.source = Source::Deb("/p/linux".to_owned())), digest(&same));
    }

    #[test]
    fn a_rule_that_allows_more_is_another_one_and_its_line_does_not_matter() {
        let rule = |finding: &str, place: &str| AllowRule {
            finding: finding.to_owned(),
            kernels: Vec::new(),
            tests: Vec::new(),
            allowance: Allowance { reason: "known".to_owned(), expires: jiff::civil::date(2027, 1, 31) },
            place: place.to_owned(),
        };
        let lines = |rule: AllowRule| allow_lines(&[rule]);
        assert_eq!(lines(rule("WARNING: x", "a:1")), lines(rule("WARNING: x", "a:2")));
        assert_ne!(lines(rule("WARNING: x", "a:1")), lines(rule("WARNING: *", "a:1")));
    }
}
