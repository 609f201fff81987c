//! One revision for `git bisect run`, and a whole bisection of git's with it.

use kregress::exec::Cmd;

use crate::fake_kernel::{Behaviour, FakeKernel};
use crate::history::{Commit, History, TIMED, fast_and_slow, git, line};

/// The middle between fast and slow.
const BEYOND: &[&str] = &["--threshold", "5.5ms"];

fn once<'a>(revision: &'a str, words: &[&'a str]) -> Vec<&'a str> {
    [&["bisect", "--git-bisect", "--tree", "linux", "--bad", revision], words].concat()
}

#[test]
fn the_exit_code_is_that_of_git() {
    let mut commits = line(4, 2, "slow");
    commits[2] = Commit::code(3).breaks();
    let history = History::new(&fast_and_slow(), &commits);
    let rig = &history.rig;
    let timed = [TIMED, BEYOND].concat();
    let seen = rig.kregress(&once("main~4", &timed)).exits(0);
    assert!(seen.stdout.starts_with("good: "), "{}", seen.stdout);
    let seen = rig.kregress(&once("main~2", &timed)).exits(1);
    assert!(seen.stdout.starts_with("bad: "), "{}", seen.stdout);
    let seen = rig.kregress(&once("main~1", &timed)).exits(125);
    assert!(seen.stdout.starts_with("skip: "), "{}", seen.stdout);
    // What is wrong with the words or the host is no fault of a commit.
    for (revision, words) in [
        ("main", &["--metric", "b/created:weather", "--threshold", "1"][..]),
        ("main", TIMED),
        ("main", &["--metric", "b/created:create_time", "--threshold", "much"]),
        ("nowhere", &timed),
        ("main", &[]),
        ("main", &["--metrik", "b/created:create_time"]),
        ("main", &["--test", "b/plain", "--boots", "none"]),
    ] {
        let seen = rig.kregress(&once(revision, words)).exits(128);
        assert!(seen.stderr.starts_with("error: "), "{}", seen.stderr);
    }
    assert_eq!(rig.sessions().len(), 0);
}

#[test]
fn without_a_revision_and_without_a_bisection_of_gits_nothing_is_measured() {
    let history = History::new(&fast_and_slow(), &line(4, 2, "slow"));
    let rig = &history.rig;
    let words = [&["bisect", "--git-bisect", "--tree", "linux"], TIMED, BEYOND].concat();
    let seen = rig.kregress(&words).exits(128);
    assert!(seen.stderr.contains("has a bisection of git's under way"), "{}", seen.stderr);
    assert!(seen.stderr.contains("hint: "), "{}", seen.stderr);
}

#[test]
fn of_a_kernel_that_dies_nothing_is_said() {
    let history = History::new(
        &[("whole", FakeKernel::new()), ("dying", FakeKernel::new().test("b/plain", Behaviour::Die(1)))],
        &line(2, 2, "dying"),
    );
    history.rig.kregress(&once("main~1", &["--test", "b/plain"])).exits(0);
    history.rig.kregress(&once("main", &["--test", "b/plain"])).exits(125);
}

#[test]
fn git_finds_the_commit_with_it() {
    let mut commits = line(12, 8, "slow");
    commits[2] = Commit::code(3).breaks();
    commits[3] = Commit::code(4).mends();
    let history = History::new(&fast_and_slow(), &commits);
    let rig = &history.rig;
    git(rig, &["bisect", "start", history.bad(), history.good()]);
    let config = rig.path("project/kregress.yaml");
    let results = rig.path("project/results");
    let git_runs = Cmd::new("git")
        .args(["bisect", "run", env!("CARGO_BIN_EXE_kregress"), "bisect", "--git-bisect", "--jobs", "1"])
        .arg("--config")
        .arg(config)
        .arg("--results")
        .arg(results)
        .args(["--tree", "linux", "--boots", "3"])
        .args([TIMED, BEYOND].concat())
        .current_dir(rig.path("linux"));
    let git_runs = rig.environment().fold(git_runs, |cmd, (key, value)| cmd.env(key, value));
    let said = git_runs.read().expect("git bisect run");
    assert!(said.contains(&format!("{} is the first bad commit", history.hashes[8])), "{said}");
    assert_eq!(rig.processes(), Vec::<String>::new(), "left behind");
}
