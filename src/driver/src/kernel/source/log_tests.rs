use proptest::prelude::*;

use super::*;
use crate::kernel::testing::{commit, git};

/// A repository that grows file by file.
struct Grown {
    dir: tempfile::TempDir,
}

impl Grown {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("tempdir");
        git(dir.path(), &["init", "-q"]);
        Self { dir }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn git(&self, args: &[&str]) -> String {
        git(self.path(), args)
    }

    /// A commit that writes a file; its message is `what`, and so is its tag.
    fn commit(&self, what: &str, file: &str) {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
        std::fs::write(path, what).expect("write");
        commit(self.path(), what);
        self.git(&["tag", what]);
    }

    fn branch(&self, name: &str, at: &str) {
        self.git(&["checkout", "-q", "-b", name, at]);
    }

    fn merge(&self, what: &str, branches: &[&str]) {
        self.git(&[&["merge", "-q", "--no-ff", "-m", what], branches].concat());
        self.git(&["tag", what]);
    }

    fn ask(
        &self,
        good: &[&str],
        bad: &str,
        paths: &[&str],
        parents: Parents,
    ) -> Result<History, HistoryError> {
        let (good, others) = good.split_first().expect("a good one");
        let others: Vec<_> = others.iter().map(ToString::to_string).collect();
        let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
        let asked =
            Between { repository: self.path(), good, others_good: &others, bad, paths: &paths, parents };
        history(&asked, &Tools::from_environment())
    }

    fn all(&self, good: &str, bad: &str) -> History {
        self.ask(&[good], bad, &[], Parents::All).expect("history")
    }

    fn refused(&self, good: &[&str], bad: &str, paths: &[&str]) -> String {
        let error = self.ask(good, bad, paths, Parents::All).expect_err("refused");
        assert_eq!(error.fault(), Fault::Request);
        let path = std::fs::canonicalize(self.path()).expect("canonical");
        error.to_string().replace(&path.display().to_string(), "TMP")
    }
}

/// `subject <- subjects of parents: files`, one line each.
fn shown(history: &History) -> String {
    let line = |it: &Candidate| {
        let parents: Vec<_> =
            it.parents.iter().map(|&parent| history.commits[parent].commit.subject.as_str()).collect();
        format!("{} <- {}: {}\n", it.commit.subject, parents.join(" "), it.files.join(" "))
    };
    history.commits.iter().map(line).collect()
}

/// good, one, then a side branch with two commits, merged.
fn merged() -> Grown {
    let grown = Grown::new();
    grown.commit("good", "net/a");
    grown.commit("one", "net/a");
    grown.branch("side", "good");
    grown.commit("side-one", "fs/b");
    grown.commit("side-two", "fs/b");
    grown.git(&["checkout", "-q", "master"]);
    grown.merge("merge", &["side"]);
    grown.commit("last", "net/a");
    grown
}

#[test]
fn a_line_is_read_from_the_oldest_to_the_bad_end() {
    let grown = Grown::new();
    for (what, file) in [("good", "a"), ("one", "a"), ("two", "b/c"), ("three", "b/d e")] {
        grown.commit(what, file);
    }
    let history = grown.all("good", "HEAD");
    insta::assert_snapshot!(shown(&history), @r"
    one <- : a
    two <- one: b/c
    three <- two: b/d e
    ");
    assert_eq!(history.good.hash, grown.git(&["rev-parse", "good"]));
    assert_eq!(history.good.subject, "good");
    assert_eq!(history.bad.hash, grown.git(&["rev-parse", "HEAD"]));
    assert_eq!(history.bad.hash, history.commits[2].commit.hash);
    assert_eq!(history.commits[0].commit.author, "a <a@b>");
    assert_eq!(history.commits[0].commit.date, grown.git(&["log", "-1", "--format=%cI", "one"]));
}

#[test]
fn a_merge_changed_only_what_none_of_its_parents_has() {
    let grown = merged();
    let history = grown.all("good", "last");
    let text = shown(&history);
    assert!(text.contains("merge <- one side-two: \n"), "{text}");
    assert!(text.ends_with("last <- merge: net/a\n"), "{text}");

    // And one that resolved a conflict in its own way.
    grown.branch("other", "good");
    grown.commit("other-one", "net/a");
    grown.git(&["checkout", "-q", "master"]);
    grown.git(&["merge", "-q", "--no-commit", "-s", "ours", "other"]);
    std::fs::write(grown.path().join("net/a"), "of neither").expect("write");
    std::fs::write(grown.path().join("\nnew"), "of neither").expect("write");
    commit(grown.path(), "evil");
    let history = grown.all("good", "HEAD");
    let evil = history.commits.last().expect("evil");
    assert_eq!(
        (evil.commit.subject.as_str(), &evil.files[..]),
        ("evil", &["\nnew".to_owned(), "net/a".to_owned()][..])
    );
}

#[test]
fn a_merge_stands_for_its_branch_where_first_parents_are_followed() {
    let history = merged().ask(&["good"], "last", &[], Parents::First).expect("history");
    insta::assert_snapshot!(shown(&history), @r"
    one <- : net/a
    merge <- one: fs/b
    last <- merge: net/a
    ");
}

#[test]
fn paths_leave_out_commits_and_their_children_go_to_the_next_ancestor() {
    let grown = merged();
    let history = grown.ask(&["good"], "last", &["fs"], Parents::All).expect("history");
    insta::assert_snapshot!(shown(&history), @r"
    side-one <- : fs/b
    side-two <- side-one: fs/b
    ");
    assert_eq!(history.bad.subject, "last", "the bad end stays what it is");
    assert_eq!(
        grown.git(&["rev-parse", "side-two:fs"]),
        grown.git(&["rev-parse", "last:fs"]),
        "and the last commit has the same files below the paths"
    );
    // All files of a commit that is kept, not only those below the path.
    std::fs::write(grown.path().join("fs/b"), "both").expect("write");
    grown.commit("both", "net/a");
    let history = grown.ask(&["good"], "both", &["fs/b"], Parents::All).expect("history");
    assert_eq!(history.commits.last().expect("both").files, ["fs/b", "net/a"]);
}

#[test]
fn paths_are_names_and_no_patterns() {
    let grown = merged();
    grown.commit("star", "net/*");
    let history = grown.ask(&["good"], "star", &["net/*"], Parents::All).expect("history");
    assert_eq!(shown(&history), "star <- : net/*\n");
}

#[test]
fn criss_cross_merges_keep_all_their_parents() {
    let grown = Grown::new();
    grown.commit("good", "a");
    grown.commit("left", "l");
    grown.branch("other", "good");
    grown.commit("right", "r");
    grown.git(&["checkout", "-q", "master"]);
    grown.merge("left-merge", &["right"]);
    grown.git(&["checkout", "-q", "other"]);
    grown.merge("right-merge", &["left"]);
    grown.git(&["checkout", "-q", "master"]);
    grown.merge("top", &["other"]);
    let history = grown.all("good", "top");
    let parents = |subject: &str| {
        let it = history.commits.iter().find(|it| it.commit.subject == subject).expect("there");
        let names = it.parents.iter().map(|&parent| history.commits[parent].commit.subject.clone());
        names.collect::<Vec<_>>()
    };
    assert_eq!(parents("left-merge"), ["left", "right"]);
    assert_eq!(parents("right-merge"), ["right", "left"]);
    assert_eq!(parents("top"), ["left-merge", "right-merge"]);
    assert!(history.commits.iter().enumerate().all(|(at, it)| it.parents.iter().all(|&parent| parent < at)));
}

#[test]
fn an_octopus_and_a_root_are_read_like_others() {
    let grown = Grown::new();
    grown.commit("good", "a");
    for name in ["b", "c"] {
        grown.branch(&format!("branch-{name}"), "good");
        grown.commit(name, name);
    }
    grown.git(&["checkout", "-q", "--orphan", "lonely"]);
    grown.git(&["rm", "-q", "-r", "--cached", "."]);
    std::fs::remove_file(grown.path().join("a")).expect("remove");
    std::fs::remove_file(grown.path().join("c")).expect("remove");
    grown.commit("root", "d");
    grown.git(&["checkout", "-q", "master"]);
    grown.merge("octopus", &["b", "c"]);
    grown.merge("unrelated", &["--allow-unrelated-histories", "root"]);
    let history = grown.all("good", "unrelated");
    let text = shown(&history);
    assert!(text.contains("octopus <- b c: \n"), "{text}");
    assert!(text.contains("root <- : d\n"), "{text}");
    assert!(text.ends_with("unrelated <- octopus root: \n"), "{text}");
}

#[test]
fn several_good_revisions_take_more_away() {
    let grown = merged();
    let history = grown.ask(&["good", "side-one"], "last", &[], Parents::All).expect("history");
    let text = shown(&history);
    assert!(!text.contains("side-one") && text.contains("side-two <- : fs/b\n"), "{text}");
    assert_eq!(history.good.subject, "good");
    assert_eq!(history.others_good.len(), 1);
    assert_eq!(history.others_good[0].subject, "side-one");
}

#[test]
fn whatever_a_subject_holds_it_ends_where_it_ends() {
    let grown = Grown::new();
    grown.commit("good", "a");
    let hostile = "\u{1}\u{1b}[31m\u{fffd} \"|%x00\u{85}::stop-commands::";
    std::fs::write(grown.path().join("a"), "1").expect("write");
    commit(grown.path(), hostile);
    grown.git(&["commit", "-q", "--allow-empty", "--allow-empty-message", "-m", ""]);
    // `git commit` mends what is no UTF-8; other programs do not.
    let raw = grown.path().join("raw");
    let (tree, parent) = (grown.git(&["rev-parse", "HEAD^{tree}"]), grown.git(&["rev-parse", "HEAD"]));
    let head =
        format!("tree {tree}\nparent {parent}\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\ncaf");
    std::fs::write(&raw, [head.as_bytes(), b"\xe9\n"].concat()).expect("write");
    let raw = grown.git(&["hash-object", "-t", "commit", "-w", "raw"]);
    grown.git(&["reset", "-q", "--hard", &raw]);
    let history = grown.all("good", "HEAD");
    let subjects: Vec<_> = history.commits.iter().map(|it| it.commit.subject.as_str()).collect();
    assert_eq!(subjects, [hostile, "", "caf\u{fffd}"]);
    assert_eq!(history.commits[0].files, ["a"]);
}

#[test]
fn the_users_settings_for_logs_change_nothing() {
    let grown = merged();
    let plain = grown.all("good", "last");
    for (key, value) in [
        ("log.showSignature", "true"),
        ("log.decorate", "full"),
        ("log.diffMerges", "separate"),
        ("diff.relative", "true"),
        ("diff.renames", "copies"),
        ("color.ui", "always"),
        ("format.notes", "*"),
        ("core.quotePath", "true"),
    ] {
        grown.git(&["config", key, value]);
    }
    grown.git(&["notes", "add", "-m", "a note", "one"]);
    assert_eq!(grown.all("good", "last"), plain);
}

#[test]
fn ends_that_are_the_wrong_way_round_or_apart_say_what_to_do() {
    let grown = merged();
    insta::assert_snapshot!(grown.refused(&["last"], "good", &[]), @r"
    `last` comes after `good`, and the good one has to come before
    hint: are they swapped?
    ");
    let text = grown.refused(&["one"], "side-two", &[]);
    insta::assert_snapshot!(text.replace(&grown.git(&["rev-parse", "good"]), "BASE"), @r"
    `one` is not an ancestor of `side-two`
    hint: measure from `BASE`, the newest commit that both have
    ");
    let hash = grown.git(&["rev-parse", "last"]);
    insta::assert_snapshot!(grown.refused(&["good", "last"], "master", &[]).replace(&hash, "HASH"), @r"
    `last` and `master` are the same commit HASH
    hint: the good one has to be an older one
    ");
    grown.git(&["checkout", "-q", "--orphan", "lonely"]);
    grown.commit("root", "d");
    insta::assert_snapshot!(grown.refused(&["good"], "root", &[]), @r"
    `good` and `root` have no commit in common
    hint: both have to be of one history
    ");
}

#[test]
fn revisions_that_are_none_and_paths_without_commits_are_named() {
    let grown = merged();
    insta::assert_snapshot!(grown.refused(&["god"], "last", &[]), @r"
    `god` is no revision of `TMP`
    hint: there is `good`
    ");
    insta::assert_snapshot!(grown.refused(&["good^{tree}"], "last", &[]), @r"
    `good^{tree}` is a tree without a commit
    hint: name a commit, a branch or a tag
    ");
    insta::assert_snapshot!(grown.refused(&["good"], "last", &["mm", "kernel/fork.c"]), @r"
    no commit between `good` and `last` changes anything below `mm`, `kernel/fork.c`
    hint: paths are relative to the top of the tree
    ");
}

#[test]
fn a_directory_without_repository_is_named() {
    let dir = tempfile::tempdir().expect("tempdir");
    let asked = Between {
        repository: dir.path(),
        good: "x",
        others_good: &[],
        bad: "y",
        paths: &[],
        parents: Parents::All,
    };
    let error = history(&asked, &Tools::from_environment()).expect_err("no repository").to_string();
    assert!(error.contains("` is not a git repository\nhint: "), "{error}");
}

#[test]
fn a_history_that_is_cut_off_is_refused_only_where_it_is_missing() {
    let origin = merged();
    for what in ["more", "most"] {
        origin.commit(what, "net/a");
    }
    let shallow = Grown { dir: tempfile::tempdir().expect("tempdir") };
    let url = format!("file://{}", origin.path().display());
    shallow.git(&["clone", "-q", "--depth=3", &url, "."]);
    shallow.git(&["fetch", "-q", "--depth=1", "origin", "tag", "good"]);
    insta::assert_snapshot!(shallow.refused(&["good"], "most", &[]), @r"
    `TMP` is shallow: commits between `good` and `most` are missing
    hint: `git fetch --unshallow` brings the rest of its history, in a workflow a larger `fetch-depth`
    ");
    assert_eq!(shallow.all("last", "most").commits.len(), 2);

    // One branch reaches the good end, and another one is cut off.
    let side = origin.git(&["rev-parse", "side-two"]);
    std::fs::write(origin.path().join(".git/shallow"), format!("{side}\n")).expect("write");
    assert!(origin.refused(&["good"], "most", &[]).starts_with("`TMP` is shallow: "));
    assert_eq!(origin.all("merge", "most").commits.len(), 3);
}

#[test]
fn of_a_shallow_merge_whose_fork_is_there_the_fork_is_told() {
    let origin = Grown::new();
    for what in ["first", "second", "fork"] {
        origin.commit(what, "net/a");
    }
    origin.branch("topic", "fork");
    for what in ["patch-one", "patch-two"] {
        origin.commit(what, "net/b");
    }
    origin.branch("target", "fork");
    origin.commit("moved", "net/a");
    origin.merge("pull", &["topic"]);
    let clone = |depth: &str| {
        let shallow = Grown { dir: tempfile::tempdir().expect("tempdir") };
        let url = format!("file://{}", origin.path().display());
        shallow.git(&["clone", "-q", "--depth", depth, "--branch", "target", &url, "."]);
        shallow
    };
    let fork = origin.git(&["rev-parse", "fork"]);
    let enough = clone("4");
    assert!(enough.refused(&["HEAD^1"], "HEAD^2", &[]).contains(fork.trim()), "the fork, not the cut");
    assert_eq!(enough.all(fork.trim(), "HEAD^2").commits.len(), 2);
    // The merge, and what it joins.
    assert!(clone("2").refused(&["HEAD^1"], "HEAD^2", &[]).starts_with("`TMP` is shallow: "));
}

#[test]
fn ten_thousand_commits_are_read_at_once() {
    let grown = Grown::new();
    let stream: String = (0..10_000)
        .map(|n| {
            format!(
                "commit refs/heads/long\ncommitter a <a@b> {n} +0000\ndata <<E\nn{n}\nE\nM 644 inline d/f{}\ndata <<E\n{n}\nE\n\n",
                n % 100
            )
        })
        .collect();
    std::fs::write(grown.path().join("stream"), stream).expect("write");
    Cmd::new("sh")
        .args(["-c", "git -C \"$0\" fast-import --quiet <\"$0/stream\""])
        .arg(grown.path())
        .read()
        .expect("fast-import");
    let history = grown.all("long~9999", "long");
    assert_eq!(history.commits.len(), 9_999);
    assert!(history.commits.iter().enumerate().skip(1).all(|(at, it)| it.parents == [at - 1]));
    assert!(history.commits.iter().all(|commit| commit.files.len() == 1));
}

#[test]
fn words_of_another_form_are_no_record() {
    assert_eq!(records(b""), Some(Vec::new()));
    let torn: [&[u8]; 6] = [
        b"x",
        b"\0\0",
        b"\0\0ab\0\0a\0d\0s",
        b"\0\0xy\0\0a\0d\0s\0",
        b"\0\0ab\0xy\0a\0d\0s\0",
        b"\0\0ab\0\0a\0d\0s\0\nfile",
    ];
    for text in torn {
        assert_eq!(records(text), None, "{}", text.escape_ascii());
    }
}

proptest! {
    #[test]
    fn every_record_comes_back_as_it_was_written(
        all in proptest::collection::vec(
            (
                "[0-9a-f]{40}",
                proptest::collection::vec("[0-9a-f]{40}", 0..3),
                "[^\0]{0,8}",
                "[^\0]{0,8}",
                "[^\0]{0,8}",
                proptest::collection::vec("[^\0]{1,8}", 0..3),
            ),
            0..4,
        )
    ) {
        let mut bytes = Vec::new();
        let mut expected = Vec::new();
        for (hash, parents, author, date, subject, files) in all {
            for field in ["", "", &hash, &parents.join(" "), &author, &date, &subject] {
                bytes.extend_from_slice(field.as_bytes());
                bytes.push(0);
            }
            if !files.is_empty() {
                bytes.push(if parents.len() > 1 { 0 } else { b'\n' });
            }
            for file in &files {
                bytes.extend_from_slice(file.as_bytes());
                bytes.push(0);
            }
            expected.push(Record { hash, parents, author, date, subject, files });
        }
        prop_assert_eq!(records(&bytes), Some(expected));
    }

    #[test]
    fn no_bytes_make_reading_fail_other_than_by_saying_so(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        if let Some(records) = records(&bytes) {
            prop_assert!(records.len() <= bytes.len());
        }
    }
}
