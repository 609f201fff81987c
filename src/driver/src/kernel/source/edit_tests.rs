use super::*;
use crate::kernel::testing::{Fixture, commit, git};
use crate::kernel::{Fault, KernelError, obtain, stored};
use crate::model::{Edit, Source};

const FILE: &str = "net/core/dev.c";

/// `first`, `culprit` that changes a line of ten, `later` that changes another.
struct Edited {
    fixture: Fixture,
    repository: PathBuf,
}

fn lines(changed: &[(usize, &str)]) -> String {
    (0..10)
        .map(|n| match changed.iter().find(|(at, _)| *at == n) {
            Some((_, text)) => format!("{text}\n"),
            None => format!("line {n};\n"),
        })
        .collect()
}

impl Edited {
    fn new() -> Self {
        let fixture = Fixture::new();
        let repository = fixture.kernel_tree("linux");
        git(&repository, &["init", "-q"]);
        let edited = Self { fixture, repository };
        edited.commit("first", FILE, &lines(&[]));
        edited.commit("culprit", FILE, &lines(&[(1, "synchronize_rcu();")]));
        edited.commit("later", FILE, &lines(&[(1, "synchronize_rcu();"), (8, "later")]));
        edited
    }

    fn commit(&self, what: &str, file: &str, text: &str) {
        fs::write(self.repository.join(file), text).expect("write");
        commit(&self.repository, what);
        git(&self.repository, &["tag", what]);
    }

    fn patch(&self, text: &str) -> PathBuf {
        let path = self.fixture.path().join("fix.patch");
        fs::write(&path, text).expect("write");
        path
    }

    /// The patch that leads from one revision to another.
    fn patch_of(&self, from: &str, to: &str) -> PathBuf {
        self.patch(&format!("{}\n", git(&self.repository, &["diff", from, to])))
    }

    fn apply(&self, revision: &str, patch: &Path) -> Patched {
        apply(&self.repository, revision, patch, &self.fixture.env).expect("apply")
    }

    fn revert(&self, revision: &str, culprit: &str) -> Reverted {
        revert(&self.repository, revision, culprit, &self.fixture.env).expect("revert")
    }

    /// A file of a tree that may have objects of ours.
    fn file(&self, tree: &str, file: &str) -> String {
        let repository = Repository::open(&self.fixture.env.tools, &self.repository).expect("open");
        let editor = Editor::new(&repository, &self.fixture.env).expect("editor");
        editor.git().args(["cat-file", "blob", &format!("{tree}:{file}")]).read().expect("file")
    }

    fn source(&self, revision: &str, edits: Vec<Edit>) -> Source {
        Source::Edited { repository: self.repository.clone(), revision: revision.to_owned(), edits }
    }

    fn get(&self, source: Source) -> Result<crate::kernel::Kernel, KernelError> {
        obtain(&self.fixture.spec(source), &self.fixture.env, &mut |_| ())
    }
}

#[test]
fn a_patch_is_applied_where_it_applies() {
    let edited = Edited::new();
    let patch = edited.patch_of("culprit", "later");
    let Patched::Applied(tree) = edited.apply("first", &patch) else { panic!("it applies") };
    assert_eq!(edited.file(&tree, FILE), lines(&[(8, "later")]));
    assert_eq!(edited.apply("later", &patch), Patched::NotNeeded);
    edited.commit("rewritten", FILE, "all is new\n");
    assert_eq!(
        edited.apply("rewritten", &patch),
        Patched::DoesNotApply("patch failed: net/core/dev.c:6".to_owned())
    );
    git(&edited.repository, &["rm", "-q", FILE]);
    commit(&edited.repository, "gone");
    assert_eq!(
        edited.apply("HEAD", &patch),
        Patched::DoesNotApply("net/core/dev.c: does not exist in index".to_owned())
    );
}

#[test]
fn a_patch_from_a_mail_is_a_patch() {
    let edited = Edited::new();
    let mail = git(&edited.repository, &["format-patch", "--stdout", "-1", "later"]);
    let patch = edited.patch(&format!("{mail}\n"));
    assert!(matches!(edited.apply("first", &patch), Patched::Applied(_)));
}

#[test]
fn what_is_no_patch_is_refused_and_not_taken_for_one_that_does_not_apply() {
    let edited = Edited::new();
    let said = |patch: &Path| {
        let error = apply(&edited.repository, "first", patch, &edited.fixture.env).expect_err("refused");
        assert_eq!(error.fault(), Fault::Request);
        error.to_string().replace(&edited.fixture.path().display().to_string(), "TMP")
    };
    let text = said(&edited.patch("hello\n"));
    assert!(text.starts_with("`TMP/fix.patch` is no patch that git reads:\n  error: "), "{text}");
    assert!(text.ends_with("\nhint: make one with `git diff` or `git format-patch`"), "{text}");
    let text = said(&edited.patch("--- a/x\n+++ b/x\n@@ -1,9 +1,9 @@\n-a\n"));
    assert!(
        text.starts_with("`TMP/fix.patch` is no patch that git reads:\n  error: corrupt patch"),
        "{text}"
    );
    let text = said(&edited.fixture.path().join("gone"));
    assert!(text.starts_with("cannot find the patch `TMP/gone`: "), "{text}");
}

#[test]
fn a_patch_reaches_nothing_outside_of_the_tree() {
    let edited = Edited::new();
    let patch = edited.patch("--- /dev/null\n+++ b/../../evil\n@@ -0,0 +1 @@\n+evil\n");
    let outcome = apply(&edited.repository, "first", &patch, &edited.fixture.env);
    assert!(!matches!(outcome, Ok(Patched::Applied(_) | Patched::NotNeeded)), "{outcome:?}");
}

#[test]
fn a_commit_is_taken_back_below_later_changes() {
    let edited = Edited::new();
    let Reverted::Reverted(tree) = edited.revert("later", "culprit") else { panic!("it reverts") };
    assert_eq!(edited.file(&tree, FILE), lines(&[(8, "later")]));
    // Where it never was there is nothing to take back.
    assert_eq!(edited.revert("first", "culprit"), Reverted::NotNeeded);
}

#[test]
fn a_commit_that_was_built_upon_conflicts() {
    let edited = Edited::new();
    edited.commit("upon", FILE, &lines(&[(1, "synchronize_rcu_expedited();")]));
    assert_eq!(edited.revert("upon", "culprit"), Reverted::Conflicts(vec![FILE.to_owned()]));
    git(&edited.repository, &["rm", "-q", FILE]);
    commit(&edited.repository, "gone");
    assert_eq!(edited.revert("HEAD", "culprit"), Reverted::Conflicts(vec![FILE.to_owned()]));
}

#[test]
fn of_a_merge_all_that_it_brought_is_taken_back() {
    let edited = Edited::new();
    git(&edited.repository, &["checkout", "-q", "-b", "side", "first"]);
    edited.commit("side-one", "Kconfig", "one\n");
    edited.commit("side-two", "new.bin", "\u{0}\u{1}binary");
    git(&edited.repository, &["checkout", "-q", "master"]);
    git(&edited.repository, &["merge", "-q", "--no-ff", "-m", "merge", "side"]);
    let bad = git(&edited.repository, &["rev-parse", "HEAD"]);
    let tree = git(&edited.repository, &["rev-parse", "later^{tree}"]);
    assert_eq!(edited.revert(&bad, &bad), Reverted::Reverted(tree));
}

#[test]
fn the_first_commit_can_be_taken_back_and_a_tree_cannot() {
    let edited = Edited::new();
    let Reverted::Reverted(tree) = edited.revert("first", "first") else { panic!("it reverts") };
    assert_eq!(tree, "4b825dc642cb6eb9a060e54bf8d69288fbee4904", "the empty tree");
    let error = revert(&edited.repository, "later", "first^{tree}", &edited.fixture.env).expect_err("tree");
    assert!(error.to_string().starts_with("`first^{tree}` is a tree without a commit"), "{error}");
}

#[test]
fn the_users_settings_for_patches_change_nothing() {
    let edited = Edited::new();
    let plain = edited.revert("later", "culprit");
    for (key, value) in [
        ("diff.noprefix", "true"),
        ("diff.renames", "copies"),
        ("apply.whitespace", "error"),
        ("core.autocrlf", "true"),
        ("diff.external", "false"),
    ] {
        git(&edited.repository, &["config", key, value]);
    }
    assert_eq!(edited.revert("later", "culprit"), plain);
}

#[test]
fn editing_writes_nothing_to_the_repository() {
    let edited = Edited::new();
    let list = || {
        let entries = walkdir::WalkDir::new(&edited.repository).sort_by_file_name();
        let describe =
            |entry: walkdir::DirEntry| (entry.path().to_owned(), entry.metadata().expect("it").len());
        entries.into_iter().map(|entry| describe(entry.expect("entry"))).collect::<Vec<_>>()
    };
    let patch = edited.patch_of("culprit", "later");
    let before = list();
    edited.apply("first", &patch);
    edited.revert("later", "culprit");
    assert_eq!(list(), before);
    let family = fs::read_dir(edited.fixture.env.cache.root().join("trees")).expect("trees");
    let family = family.map(|entry| entry.expect("entry").path()).next().expect("one family");
    let left: Vec<_> = fs::read_dir(family).expect("family").map(|it| it.expect("it").file_name()).collect();
    assert_eq!(left, ["objects"], "nothing but objects is left");
}

#[test]
fn a_kernel_of_an_edited_revision_is_built_beside_the_others() {
    let edited = Edited::new();
    let plain = edited
        .get(Source::Git { repository: edited.repository.clone(), revision: "later".into() })
        .expect("kernel");
    let source = edited.source("later", vec![Edit::Revert("culprit".into())]);
    assert_eq!(stored(&edited.fixture.spec(source.clone()), &edited.fixture.env).expect("look"), None);
    let kernel = edited.get(source.clone()).expect("kernel");
    assert_ne!(kernel.info.identity, plain.info.identity);
    assert_eq!(kernel.info.facts["edits"], "`culprit` reverted");
    assert_eq!(kernel.info.facts["commit"], plain.info.facts["commit"]);
    let family = fs::read_dir(edited.fixture.env.cache.root().join("trees")).expect("trees").count();
    assert_eq!(family, 1, "one family, so that only what differs is compiled");
    let again = stored(&edited.fixture.spec(source), &edited.fixture.env).expect("look").expect("found");
    assert_eq!(again.info.identity, kernel.info.identity);
}

#[test]
fn edits_come_one_after_the_other_and_say_what_they_came_to() {
    let edited = Edited::new();
    let fix = edited.patch_of("culprit", "later");
    let edits = vec![Edit::Fix(fix.clone()), Edit::Revert("culprit".into())];
    let both = edited.get(edited.source("culprit", edits.clone())).expect("kernel");
    let tree = git(&edited.repository, &["rev-parse", "later^{tree}"]);
    let reverted = edited.get(edited.source("later", edits)).expect("kernel");
    assert_eq!(both.info.identity, reverted.info.identity);
    let name = fix.display();
    assert_eq!(both.info.facts["edits"], format!("patch `{name}` applied; `culprit` reverted"));
    assert_eq!(reverted.info.facts["edits"], format!("patch `{name}` not needed; `culprit` reverted"));

    // A patch that changes nothing is the revision itself.
    let same = edited.get(edited.source("later", vec![Edit::Fix(fix)])).expect("kernel");
    assert_eq!(same.info.facts["tree"], tree);
}

#[test]
fn a_commit_that_cannot_be_taken_back_makes_no_kernel() {
    let edited = Edited::new();
    edited.commit("upon", FILE, &lines(&[(1, "synchronize_rcu_expedited();")]));
    let error =
        edited.get(edited.source("upon", vec![Edit::Revert("culprit".into())])).expect_err("conflict");
    assert_eq!(error.fault(), Fault::Tree);
    insta::assert_snapshot!(error, @"kernel `default`: `culprit` cannot be reverted on `upon`: later changes are in the way in `net/core/dev.c`");
}
