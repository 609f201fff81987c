//! Commits of the user's own.

use kregress::kernel::Fault;
use kregress::series::{Fate, Note};

use crate::repository::{FILE, Repository, lines, listed, told, trees};

#[test]
fn a_range_is_the_commits_that_are_there() {
    let repository = Repository::new();
    let before = repository.everything();
    let series = repository.read("base..topic", None).expect("series");
    insta::assert_snapshot!(listed(&series), @r"
    1 net: fünf lines — really: net/core/dev.c
    2 net: more: net/core/dev.c new.c
    3 net: the last: net/core/dev.c
    ");
    let commits = ["topic~2", "topic~1", "topic"].map(|revision| Fate::Committed {
        commit: repository.rev(revision),
        tree: repository.rev(&format!("{revision}^{{tree}}")),
    });
    assert_eq!(series.patches.iter().map(|patch| patch.fate.clone()).collect::<Vec<_>>(), commits);
    assert_eq!(
        (&series.base.commit, &series.base.tree),
        (&repository.rev("base"), &repository.rev("base^{tree}"))
    );
    assert_eq!((series.base.subject.as_str(), &series.cover), ("start", &None));
    let first = &series.patches[0];
    assert_eq!(first.author.as_deref(), Some("A U Thör <author@example.org>"));
    assert_eq!(first.date.as_deref(), Some("2026-01-01T01:00:00+01:00"));
    repository.check_unchanged(&before);
}

#[test]
fn a_side_that_is_left_out_is_what_is_checked_out() {
    let repository = Repository::new();
    assert_eq!(repository.read("base..", None).expect("series").patches.len(), 3);
}

#[test]
fn a_base_that_moved_on_is_left_where_the_series_begins() {
    let repository = Repository::new();
    repository.git(&["checkout", "--quiet", "main"]);
    repository.commit(&[("Kconfig", "config B\n")], "meanwhile");
    let series = repository.read("main..topic", None).expect("series");
    assert_eq!(series.base.commit, repository.rev("base"));
    assert_eq!(series.patches.len(), 3);
    let fork = repository.rev("base");
    assert_eq!(series.notes, [Note::BaseMoved { base: "main".into(), fork: fork.clone() }]);
    assert_eq!(told(&series), format!("`main` has moved on: the series begins at {}\n", &fork[..12]));
}

#[test]
fn a_merge_is_no_patch() {
    let repository = Repository::new();
    repository.git(&["checkout", "--quiet", "-b", "side", "base"]);
    repository.commit(&[("Kconfig", "config B\n")], "side");
    repository.git(&["checkout", "--quiet", "topic"]);
    repository.git(&["merge", "--quiet", "--no-ff", "-m", "Merge side", "side"]);
    let error = repository.read("base..topic", None).expect_err("a merge").to_string();
    let error = error.replace(&repository.rev("topic")[..12], "[MERGE]");
    insta::assert_snapshot!(error, @r"
    `base..topic` has the merge [MERGE] `Merge side` in it, and a series is one patch after the other
    hint: `git rebase base` makes it one; `kregress bisect` searches histories with merges
    ");
}

#[test]
fn what_is_no_series_is_told() {
    let repository = Repository::new();
    let refused = |word: &str, base| {
        let error = repository.read(word, base).expect_err("no series");
        assert_eq!(error.fault(), Fault::Request);
        repository.plain(&error.to_string())
    };
    insta::assert_snapshot!(refused("topic..base", None), @r"
    there is no commit in `topic..base`: `topic` has all of `base`
    hint: are they swapped?
    ");
    insta::assert_snapshot!(refused("topic..topic", None), @r"
    there is no commit in `topic..topic`: `topic` has all of `topic`
    hint: are they swapped?
    ");
    insta::assert_snapshot!(refused("bose..topic", None), @r"
    `bose` is no revision of `[DIR]/linux`
    hint: there is `base`
    ");
    insta::assert_snapshot!(refused("base..topic", Some("main")), @r"
    `base..topic` has its base in it, and `main` is given too
    hint: leave `--base` out
    ");
}

#[test]
fn a_range_and_its_mails_come_to_the_same_trees() {
    let repository = Repository::new();
    repository.commit(&[("old.c", "int old;\n"), (FILE, &lines(&[(1, "one;")]))], "a fourth");
    repository.git(&["mv", "old.c", "moved.c"]);
    repository.commit(&[], "moved");
    let range = repository.read("base..topic", None).expect("series");
    let mails = repository.mails(&repository.format_patch(&["-M"]));
    assert_eq!(trees(&mails), trees(&range));
    assert_eq!(listed(&mails), listed(&range));
}
