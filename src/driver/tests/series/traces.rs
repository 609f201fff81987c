//! What is left behind: nothing in the user's repository, however it ends, and
//! only objects in the cache.

use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use kregress::clock;
use kregress::exec::Cmd;
use kregress::kernel::Bench;
use kregress::series::{Asked, read};

use crate::repository::{FILE, Repository, lines, trees};

/// How long a child may take on a busy host before the test is given up.
const PATIENCE: Duration = Duration::from_secs(120);

/// A repository whose user is in the middle of something.
fn at_work() -> Repository {
    let repository = Repository::new();
    repository.write(&format!("linux/{FILE}"), lines(&[(9, "not committed;")]));
    repository.write("linux/staged.c", "int staged;\n");
    repository.git(&["add", "staged.c"]);
    repository.write("linux/untracked.c", "int untracked;\n");
    repository
}

#[test]
fn a_work_tree_with_changes_stays_as_it_is() {
    let repository = at_work();
    let mbox = repository.write("x.mbox", repository.mbox(&[]));
    let before = repository.everything();
    repository.mails(&mbox);
    repository.check_unchanged(&before);
    assert_eq!(repository.left_on_the_bench(), ["objects", "series.lock"]);
}

#[test]
fn a_repository_that_cannot_be_written_will_do() {
    let repository = Repository::new();
    let mbox = repository.write("x.mbox", repository.mbox(&[]));
    let set = |mode: &str| {
        Cmd::new("chmod").args(["-R", mode]).arg(repository.tree()).read().expect("chmod");
    };
    set("a-w");
    let series = repository.read(&mbox.display().to_string(), None);
    set("u+w");
    assert_eq!(trees(&series.expect("series"))[2], repository.rev("topic^{tree}"));
}

#[test]
fn the_second_waits_for_the_first() {
    let repository = Repository::new();
    let mbox = repository.write("x.mbox", repository.mbox(&[]));
    let first = Bench::open(&repository.tree(), &repository.env(), || ()).expect("bench");
    let (tell, told) = mpsc::channel();
    let (asked, tree, env) = (Asked::Mails(mbox), repository.tree(), repository.env());
    let second = std::thread::spawn(move || read(&asked, &tree, None, &env, || tell.send(()).expect("tell")));
    told.recv_timeout(PATIENCE).expect("it waits");
    let stack = first.stack("base").expect("stack");
    assert_eq!(stack.top().commit, repository.rev("base"), "the bench is still ours");
    drop(first);
    let series = second.join().expect("thread").expect("series");
    assert_eq!(trees(&series)[2], repository.rev("topic^{tree}"));
    assert_eq!(repository.left_on_the_bench(), ["objects", "series.lock"]);
}

/// The directory of a repository whose series a child of this test reads, until it
/// is killed.
const CHILD: &str = "KREGRESS_TEST_SERIES_CHILD";

/// A git that hangs where the second commit is made, and says that it does.
const HANGING: &str = r#"#!/bin/sh
here=$(dirname "$0")
case "$1" in commit-tree)
    echo >>"$here/commits"
    [ "$(wc -l <"$here/commits")" = 1 ] || { echo $$ >"$here/hangs.new"; mv "$here/hangs.new" "$here/hangs"; exec sleep 1000; };;
esac
PATH=$(echo "$PATH" | cut -d: -f2-) exec git "$@"
"#;

#[test]
fn whoever_is_killed_in_the_middle_leaves_nothing_that_stays() {
    if let Some(dir) = std::env::var_os(CHILD) {
        let dir = Path::new(&dir);
        let mut env = kregress::kernel::BuildEnv::new(dir.join("cache"), std::collections::BTreeMap::new());
        env.tools = kregress::kernel::Tools::in_path(std::env::var_os("PATH").expect("a path"));
        let _ = read(&Asked::Mails(dir.join("x.mbox")), &dir.join("linux"), None, &env, || ());
        return;
    }
    let repository = at_work();
    let mbox = repository.write("x.mbox", repository.mbox(&[]));
    repository.write("bin/git", HANGING);
    Cmd::new("chmod").arg("+x").arg(repository.path("bin/git")).read().expect("chmod");
    let before = repository.everything();
    let path = std::env::var("PATH").expect("a path");
    let log = tempfile::tempfile().expect("a file");
    let mut child = Cmd::new(std::env::current_exe().expect("ourselves"))
        .args(["--exact", "traces::whoever_is_killed_in_the_middle_leaves_nothing_that_stays"])
        .env(CHILD, repository.path(""))
        .env("PATH", format!("{}:{path}", repository.path("bin").display()))
        .start(&log)
        .expect("a child");
    let started = clock::now();
    let hangs = loop {
        if let Ok(pid) = std::fs::read_to_string(repository.path("bin/hangs")) {
            break pid.trim().parse().expect("a pid");
        }
        assert!(started.elapsed() < PATIENCE, "it never came to the second commit");
        clock::poll_interval(Duration::from_millis(10));
    };
    child.kill();
    repository.check_unchanged(&before);
    let hangs = rustix::process::Pid::from_raw(hangs).expect("a pid");
    while rustix::process::test_kill_process(hangs).is_ok() {
        assert!(started.elapsed() < PATIENCE, "its git is still there");
        clock::poll_interval(Duration::from_millis(10));
    }
    assert_eq!(repository.left_on_the_bench(), ["objects", "series", "series.lock"]);
    let series = repository.mails(&mbox);
    assert_eq!(trees(&series)[2], repository.rev("topic^{tree}"));
    repository.check_unchanged(&before);
    assert_eq!(repository.left_on_the_bench(), ["objects", "series.lock"]);
}
