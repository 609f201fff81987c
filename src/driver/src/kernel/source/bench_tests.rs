use super::*;
use crate::kernel::obtain;
use crate::kernel::testing::{Fixture, commit, git};
use crate::model::Source;

const CHANGE: Change<'static> = Change {
    diff: b"--- a/net/core/dev.c\n+++ b/net/core/dev.c\n@@ -1 +1 @@\n-int x;\n+int y;\n",
    message: "net: y",
    name: "",
    email: "",
    date: "0 +0000",
};

fn repository(fixture: &Fixture) -> PathBuf {
    let repository = fixture.kernel_tree("linux");
    git(&repository, &["init", "-q"]);
    commit(&repository, "first");
    repository
}

#[test]
fn a_patch_on_a_revision_is_a_revision_that_is_built() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let bench = Bench::open(&repository, &fixture.env, || ()).expect("bench");
    let mut stack = bench.stack("HEAD").expect("stack");
    let Pushed::Made(made) = stack.push(&CHANGE).expect("push") else { panic!("it applies") };
    assert_eq!(bench.subject(&made).expect("subject"), "net: y");
    drop(bench);

    let source = Source::Git { repository: repository.clone(), revision: made.commit.clone() };
    let kernel = obtain(&fixture.spec(source), &fixture.env, &mut |_| ()).expect("kernel");
    assert_eq!((&kernel.info.facts["commit"], &kernel.info.facts["tree"]), (&made.commit, &made.tree));
    let family = fs::read_dir(fixture.env.cache.root().join("trees")).expect("trees");
    let families: Vec<_> = family.map(|entry| entry.expect("entry").path()).collect();
    assert_eq!(families.len(), 1, "the directory that the user's own revisions are built in");
    let built = fs::read_to_string(families[0].join("source/net/core/dev.c")).expect("source");
    assert_eq!(built, "int y;\n");

    // A series can go on where another one ends.
    let bench = Bench::open(&repository, &fixture.env, || ()).expect("bench");
    assert_eq!(bench.stack(&made.commit[..12]).expect("stack").top(), &made);
}

#[test]
fn a_patch_that_does_not_apply_changes_nothing() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let bench = Bench::open(&repository, &fixture.env, || ()).expect("bench");
    let mut stack = bench.stack("HEAD").expect("stack");
    let base = stack.top().clone();
    assert!(matches!(stack.push(&CHANGE), Ok(Pushed::Made(_))));
    let top = stack.top().clone();
    let Pushed::Refused { presence, .. } = stack.push(&CHANGE).expect("push") else { panic!("it is there") };
    assert_eq!((presence, stack.top()), (Presence::There, &top));
    assert_eq!(stack.changed_since(&base).expect("files"), ["net/core/dev.c"]);
    let Pushed::Refused { said, presence } =
        stack.push(&Change { diff: b"no patch", ..CHANGE }).expect("push")
    else {
        panic!("it is none")
    };
    assert_eq!(presence, Presence::NotThere);
    assert!(said.starts_with("error: "), "{said}");
}

#[test]
fn a_tree_without_a_commit_is_no_base() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let bench = Bench::open(&repository, &fixture.env, || ()).expect("bench");
    let error = bench.stack("HEAD^{tree}").expect_err("a tree");
    assert!(error.to_string().starts_with("`HEAD^{tree}` is a tree without a commit"), "{error}");
}

#[test]
fn who_has_asked_to_stop_waits_for_nothing() {
    let fixture = Fixture::new();
    let repository = repository(&fixture);
    let bench = Bench::open(&repository, &fixture.env, || ()).expect("bench");
    let stopped = BuildEnv { interrupted: || true, ..fixture.env.clone() };
    let error = Bench::open(&repository, &stopped, || ()).expect_err("stopped");
    assert!(error.to_string().starts_with("interrupted while waiting for another series"), "{error}");
    drop(bench);
    let bench = Bench::open(&repository, &stopped, || ()).expect("nobody has it");
    let error = bench.stack("HEAD").expect("stack").push(&CHANGE).expect_err("stopped");
    assert!(error.to_string().starts_with("interrupted while putting patches on"), "{error}");
}
