//! What the workflows come to: when all is well, and when it is not.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use kregress::exec::Cmd;
use serde_json::{Value, json};

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::history::{self, Commit, History};
use crate::rig::{MEASURED, Rig};
use crate::runner::{Outcome, StepName, load, own};
use crate::services::commands;
use crate::stage::{Seen, Stage};

/// What a guest says that wants to give orders to the runner.
const HOSTILE: &str = "::error title=pwned::x\n##[set-env name=PATH]x\n::add-mask::e\n::stop-commands::x";

/// A repository whose kernel `fake` is this one; its suites are `t` and `m`.
fn repository(kernel: &FakeKernel) -> Rig {
    let rig = Rig::with(kernel);
    rig.write("project/suites/m.yaml", MEASURED);
    rig
}

/// What most cases ask for.
fn three_shards() -> Value {
    json!({ "kernel": "fake", "suites": "t", "shards": 3, "retries": 0 })
}

fn with(mut inputs: Value, more: &Value) -> Value {
    for (key, value) in more.as_object().expect("inputs") {
        inputs[key] = value.clone();
    }
    inputs
}

fn kernel_workflow(kernel: &FakeKernel, inputs: &Value, lost: &[&str]) -> Seen {
    let rig = repository(kernel);
    let mut stage = Stage::new(vec![rig.path("project")]);
    stage.world.lost = lost.iter().map(|name| (*name).to_owned()).collect();
    stage.run("kernel.yml", "workflow_call", inputs)
}

static GREEN: LazyLock<Seen> = LazyLock::new(|| {
    let compared = json!({ "base": "other", "gate": "m/counted m/plain", "gate-machine": "" });
    kernel_workflow(&FakeKernel::new(), &with(three_shards(), &compared), &[])
});

static RED: LazyLock<Seen> = LazyLock::new(|| {
    let kernel = FakeKernel::new()
        .test("t/middle", Behaviour::Fail(HOSTILE.to_owned()))
        // Into the kernel log too.
        .test("t/last", Behaviour::HostileText);
    kernel_workflow(&kernel, &with(three_shards(), &json!({ "retries": 1 })), &[])
});

static LOST: LazyLock<Seen> =
    LazyLock::new(|| kernel_workflow(&FakeKernel::new(), &three_shards(), &["kregress-shard-2"]));

static ABSENT: LazyLock<Seen> = LazyLock::new(|| {
    let rig = repository(&FakeKernel::new());
    fs::remove_file(rig.path("project/kernels/fake")).expect("removed");
    Stage::new(vec![rig.path("project")]).run("kernel.yml", "workflow_call", &three_shards())
});

static TIMES: LazyLock<Seen> = LazyLock::new(|| {
    let compared = json!({ "base": "other", "gate": "m", "gate-machine": "accel=tcg" });
    kernel_workflow(&FakeKernel::new(), &with(three_shards(), &compared), &[])
});

static SELFCHECK: LazyLock<Seen> = LazyLock::new(|| {
    let rig = of_ours();
    // Those of the schedule, of which only counts are left: the times of a fake are no times.
    for (suite, test) in [("netns-teardown", "slope"), ("netns-work", "drain")] {
        let text = format!(
            "version: 1\nsummary: counts\ntests:\n  {test}:\n    workload: netns/drain\n    timeout: 60s\n    \
             metrics:\n      - {{name: synchronize_rcu, unit: \"1\", better: lower, kind: count}}\n"
        );
        rig.write(&format!("project/suites/{suite}.yaml"), &text);
    }
    Stage::new(vec![rig.path("own"), rig.path("project")]).run("selfcheck.yml", "schedule", &json!({}))
});

static CI: LazyLock<Seen> = LazyLock::new(|| {
    let rig = of_ours();
    // The real suites take a while, even where nothing is measured.
    for suite in ["smoke", "netns-churn", "setns"] {
        fs::copy(rig.path("project/suites/t.yaml"), rig.path(format!("project/suites/{suite}.yaml")))
            .expect("a suite");
    }
    Stage::new(vec![rig.path("own"), rig.path("project")]).run("ci.yml", "push", &json!({}))
});

/// Our own repository, with a kernel `distro` that is a fake.
fn of_ours() -> Rig {
    let rig = repository(&FakeKernel::new());
    let config = fs::read_to_string(rig.path("project/kregress.yaml")).expect("a file");
    rig.write(
        "project/kregress.yaml",
        &config.replace("  fake:", "  distro:").replace("kernel: fake", "kernel: distro"),
    );
    let own = own();
    fs::create_dir(rig.path("own")).expect("a directory");
    for name in ["action.yml", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "kregress.yaml"] {
        fs::copy(own.join(name), rig.path("own").join(name)).expect("a file");
    }
    for name in ["scripts", "kconfigs", "suites", "src/wire"] {
        crate::services::copy(&own.join(name), &rig.path("own").join(name));
    }
    rig
}

/// A kernel repository whose kernels a fake compiler builds, and the programs for it.
fn built(history: &History) -> Stage {
    let rig = &history.rig;
    fs::rename(rig.path("project/kconfigs/tiny.config"), rig.path("project/kconfigs/base.config"))
        .expect("renamed");
    rig.write("project/kconfigs/more.config", "# Of tests.\n\n# Needed too.\nCONFIG_NET=y\n");
    let config = "version: 1\nmachine: {accel: tcg, backend: qemu, cpus: 2, memory: 512M}\n\
                  default-kernel: x\nkernels:\n  x: {image: x}\n";
    rig.write("project/kregress.yaml", config);
    let stage = Stage::new(vec![rig.path("linux"), rig.path("project")]);
    let stubs = stage.world.stubs.clone();
    crate::services::copy(&rig.path("bin"), &stubs);
    crate::services::copy(&rig.path("images"), &stubs.join("../images"));
    stage
}

/// The same request twice: a push and its repetition. With how often was compiled.
static REPEATED: LazyLock<([Seen; 2], [usize; 2])> = LazyLock::new(|| {
    let history = History::new(&[("few", history::counts(3.0))], &history::harmless(2));
    let stage = built(&history);
    let inputs = json!({ "kernel": ".@HEAD", "suites": "b/counted b/plain", "shards": 2 });
    let made = || fs::read_to_string(stage.world.root.join("made")).unwrap_or_default().lines().count();
    let first = stage.run("kernel.yml", "workflow_call", &inputs);
    let after_first = made();
    let inputs = with(inputs, &json!({ "base": ".@HEAD^1", "gate": "b/counted", "gate-machine": "" }));
    let second = stage.run("kernel.yml", "workflow_call", &inputs);
    ([first, second], [after_first, made()])
});

/// The first of two runs of a bisection, which runs out of boots, and the second.
static BISECTED: LazyLock<[Seen; 2]> = LazyLock::new(|| {
    let history = History::new(
        &[("fast", history::counts(3.0)), ("slow", history::counts(9.0))],
        &history::line(8, 5, "slow"),
    );
    let (good, bad) = (history.good().to_owned(), history.bad().to_owned());
    let mut stage = built(&history);
    let words = |budget: &str, more: &Value| {
        with(
            json!({ "tree": ".+more", "budget": budget, "machine": "accel=tcg", "metric": "b/counted:synchronize_rcu" }),
            more,
        )
    };
    let first =
        stage.run("bisect.yml", "workflow_dispatch", &words("3boots", &json!({ "good": good, "bad": bad })));
    stage.world.run = "4712".to_owned();
    let second =
        stage.run("bisect.yml", "workflow_dispatch", &words("60boots", &json!({ "continue": "4711" })));
    [first, second]
});

/// A pull request of four commits, one of which does not build and is mended by the next.
static SERIES: LazyLock<Seen> = LazyLock::new(|| {
    let commits = [Commit::code(1), Commit::code(2).breaks(), Commit::code(3).mends(), Commit::code(4)];
    let history = History::new(&[("few", history::counts(3.0))], &commits);
    let range = format!("{}..{}", history.good(), history.bad());
    let inputs = json!({
        "kernel": ".@HEAD", "suites": "b/counted", "shards": 1, "machine": "accel=tcg", "series": range,
        "series-tree": ".+more",
    });
    built(&history).run("kernel.yml", "workflow_call", &inputs)
});

#[test]
fn where_all_is_well_every_job_is_green_and_the_report_is_there() {
    let seen = &*GREEN;
    for (name, job) in &seen.ran.jobs {
        assert_eq!(job.outcome, Outcome::Success, "{name}: {:?}", job.steps);
        assert_eq!(job.commands(), Vec::<&str>::new(), "{name}");
    }
    let names: Vec<&str> = seen.ran.jobs.keys().map(String::as_str).collect();
    assert_eq!(names, ["compare", "merge", "plan", "shard 1", "shard 2", "shard 3"]);
    let merge = seen.ran.job("merge");
    assert!(merge.summary.starts_with("## ✓ Passed\n\n3 passed."), "{}", merge.summary);
    assert!(
        seen.ran.job("compare").summary.starts_with("## = unchanged"),
        "{}",
        seen.ran.job("compare").summary
    );
    let junit = seen.file("kregress-report/report/junit-reports/TEST-t.xml");
    assert!(junit.contains("tests=\"3\" failures=\"0\" errors=\"0\""), "{junit}");
    assert!(seen.file("kregress-report/report/report.html").ends_with("</html>"));
    seen.file("kregress-report/results/*/run.json");
    seen.file("kregress-comparison/report/junit-reports/TEST-m.xml");
}

#[test]
fn a_failing_test_is_annotated_and_nothing_that_its_guest_says_is_obeyed() {
    let seen = &*RED;
    let outcomes = ["shard 1", "shard 2", "shard 3", "merge"].map(|name| seen.ran.job(name).outcome);
    assert_eq!(outcomes.iter().filter(|it| **it == Outcome::Failure).count(), 3, "{outcomes:?}");
    let merge = seen.ran.job("merge");
    assert_eq!(merge.outcome, Outcome::Failure);
    let commands = merge.commands();
    assert_eq!(commands.len(), 2, "{commands:?}");
    assert!(commands[0].starts_with("::error title=fail%3A t/middle::assertion on fake"), "{commands:?}");
    for (name, job) in &seen.ran.jobs {
        let all = job.commands();
        assert!(
            all.iter().all(|it| !it.contains("pwned") || it.starts_with("::error title=fail%3A")),
            "{name}: {all:?}"
        );
        assert!(!job.summary.contains("\n::error"), "{name}");
    }
    assert!(merge.summary.starts_with("## ✗ Failed\n\n2 failed, 1 passed."), "{}", merge.summary);
    let junit = seen.file("kregress-report/report/junit-reports/TEST-t.xml");
    assert!(junit.contains("tests=\"3\" failures=\"2\" errors=\"0\""), "{junit}");
}

#[test]
fn what_a_command_prints_under_guard_is_no_command_and_its_exit_code_stays() {
    let guarded = |script: &str| {
        let guard = own().join("scripts/actions/guarded");
        Cmd::new(guard).args(["sh", "-c", script]).run().expect("a script")
    };
    let done = guarded(
        "echo '::error::x' >&2; printf '##[error]y\\n::stop-commands::mine\\n::mine::\\n::error::z'; exit 7",
    );
    let log = String::from_utf8(done.stdout).expect("UTF-8");
    assert_eq!(done.status.code(), Some(7));
    assert_eq!(commands(&log), Vec::<&str>::new(), "{log}");
    assert!(log.contains("::error::x\n") && log.contains("::error::z\n"), "{log}");
    // Who has seen one token does not know the next.
    let other = String::from_utf8(guarded(":").stdout).expect("UTF-8");
    assert_ne!(log.lines().next(), other.lines().next());
}

#[test]
fn a_shard_that_never_arrives_is_an_error_for_its_tests_and_the_summary_says_so() {
    let seen = &*LOST;
    let merge = seen.ran.job("merge");
    assert_eq!(merge.outcome, Outcome::Failure);
    assert_eq!(merge.step("Merge").outcome, Outcome::Success, "{}", merge.step("Merge").log);
    assert!(merge.summary.contains("shard 2 of 3 left no results"), "{}", merge.summary);
    let junit = seen.file("kregress-report/report/junit-reports/TEST-t.xml");
    assert!(junit.contains("tests=\"3\" failures=\"0\" errors=\"1\""), "{junit}");
    let commands = merge.commands().join("\n");
    assert!(commands.contains("::error title=error%3A t/"), "{commands}");
    assert!(commands.contains("shard 2 of 3 left no results"), "{commands}");
}

#[test]
fn of_a_kernel_that_cannot_be_had_every_test_is_an_error_and_no_shard_is_started() {
    let seen = &*ABSENT;
    let names: Vec<&str> = seen.ran.jobs.keys().map(String::as_str).collect();
    assert_eq!(names, ["merge", "plan"]);
    assert_eq!(seen.ran.job("plan").step("Build kernels").outcome, Outcome::Failure);
    let junit = seen.file("kregress-report/report/junit-reports/TEST-t.xml");
    assert!(junit.contains("tests=\"3\" failures=\"0\" errors=\"3\""), "{junit}");
}

#[test]
fn times_under_emulation_decide_nothing_and_say_so_without_turning_red() {
    let job = TIMES.ran.job("compare");
    assert_eq!(job.outcome, Outcome::Success);
    assert_eq!(job.commands(), ["::warning title=kregress::inconclusive: see the log"]);
    let log = &job.step("Compare").log;
    assert!(log.contains("inconclusive: 1 of the tests decide by time, `m/timed` for one"), "{log}");
    assert_eq!(job.summary, "kregress began no run: its log says why.\n");
}

#[test]
fn a_bisection_that_runs_out_goes_on_in_the_next_run_and_finds_its_commit() {
    let [first, second] = &*BISECTED;
    let job = first.ran.job("bisect");
    assert!(job.summary.contains("`continue` = `4711`"), "{}\n{}", job.summary, job.step("Bisect").log);
    assert_eq!(job.outcome, Outcome::Success, "inconclusive is no failure");
    let job = second.ran.job("bisect");
    assert_eq!(job.outcome, Outcome::Success, "{}", job.step("Bisect").log);
    assert!(job.summary.contains("change 5") || job.summary.contains("be slow"), "{}", job.summary);
    assert!(!job.summary.contains("To go on"), "{}", job.summary);
    let boots = |seen: &Seen| {
        seen.file("kregress-bisect/bisect/*/bisect.jsonl").matches("\"record\":\"boot\"").count()
    };
    assert!(boots(first) >= 3 && boots(second) > boots(first), "{} {}", boots(first), boots(second));
}

#[test]
fn of_a_series_each_commit_is_told_apart_and_the_summary_is_that_of_the_series() {
    let job = SERIES.ran.job("series");
    assert_eq!(job.outcome, Outcome::Failure, "{}\n{:?}", job.summary, job.steps);
    assert!(job.summary.contains("Broken at 2/4, repaired by 3/4"), "{}", job.summary);
    let annotations = commands(&job.step("Check the series").log);
    assert!(annotations.iter().any(|line| line.contains("2/4")), "{annotations:?}");
    let junit = SERIES.file("kregress-series/report/junit-reports/*");
    assert!(junit.contains("message=\"broken at 2/4, repaired by 3/4\""), "{junit}");
    // The suites of the tip are another matter.
    assert_eq!(SERIES.ran.job("merge").outcome, Outcome::Success);
}

#[test]
fn a_kernel_is_compiled_once_for_all_shards_and_not_again_for_a_repetition() {
    let ([first, second], made) = &*REPEATED;
    for (name, job) in first.ran.jobs.iter().chain(&second.ran.jobs) {
        assert_eq!(job.outcome, Outcome::Success, "{name}: {:?}", job.steps);
    }
    // The comparison of the second run needs base and head under a key of their own.
    assert_eq!(*made, [1, 3]);
    assert!(first.ran.job("shard 1").step("Restore kernels").log.contains("kregress-store-"));
    assert!(second.ran.job("compare").summary.starts_with("## = unchanged"));
}

#[test]
fn the_weekly_check_runs_the_action_alone() {
    let job = SELFCHECK.ran.job("selfcheck");
    assert_eq!(job.outcome, Outcome::Success, "{:?}", job.steps);
    SELFCHECK.file("selfcheck/report/junit-reports/TEST-netns-work.xml");
    assert!(job.summary.starts_with("## = unchanged"), "{}", job.summary);
}

#[test]
fn our_own_ci_asks_make_for_everything_and_boots_through_the_workflow_that_others_call() {
    let seen = &*CI;
    for target in ["make lint", "make workflows", "make rings"] {
        assert!(seen.asked.contains(target), "{:?}", seen.asked);
    }
    let merge = seen.ran.job("boots / merge");
    assert_eq!(merge.outcome, Outcome::Success, "{:?}", merge.steps);
    assert!(merge.summary.contains("9 passed"), "{}", merge.summary);
}

#[test]
fn what_would_change_the_host_is_asked_of_the_package_manager_alone() {
    let asked = &GREEN.asked;
    assert!(
        asked.iter().any(|line| line.contains("install") && line.contains("qemu-system-x86")),
        "{asked:?}"
    );
    assert!(asked.iter().all(|line| !line.contains("linux-source")), "{asked:?}");
}

/// Every `run:` of a file.
fn steps(file: &str, path: &Path) -> BTreeSet<StepName> {
    let yaml = load(path);
    let of = |job: &str, steps: &Value| -> Vec<StepName> {
        let steps = steps.as_array().into_iter().flatten();
        let steps = steps.filter(|step| step.get("run").is_some());
        steps
            .map(|step| (file.to_owned(), job.to_owned(), step["name"].as_str().expect("a name").to_owned()))
            .collect()
    };
    match yaml["jobs"].as_object() {
        Some(jobs) => jobs.iter().flat_map(|(id, job)| of(id, &job["steps"])).collect(),
        None => of("action", &yaml["runs"]["steps"]).into_iter().collect(),
    }
}

#[test]
fn every_script_of_every_workflow_is_executed_by_a_case() {
    let mut all = steps("action.yml", &own().join("action.yml"));
    let workflows: Vec<PathBuf> = fs::read_dir(own().join(".github/workflows"))
        .expect("workflows")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    assert!(workflows.len() >= 4, "{workflows:?}");
    for path in &workflows {
        let file = path.file_name().and_then(|name| name.to_str()).expect("a name");
        all.extend(steps(file, path));
    }
    let [first, second] = &*BISECTED;
    let cases = [&*GREEN, &*RED, &*LOST, &*ABSENT, &*TIMES, &*SELFCHECK, &*CI, &*SERIES, first, second];
    let executed: BTreeSet<&StepName> = cases.iter().flat_map(|seen| &seen.ran.executed).collect();
    let never: Vec<&StepName> = all.iter().filter(|step| !executed.contains(step)).collect();
    assert_eq!(never, Vec::<&StepName>::new(), "never executed");
}
