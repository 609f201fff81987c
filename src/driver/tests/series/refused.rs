//! Patches that do not apply, and files that are no series.

use kregress::kernel::Fault;
use kregress::series::{Fate, Patch};

use crate::repository::{FILE, Repository, lines, told, trees};

/// What became of each patch.
fn fates(repository: &Repository, patches: &[Patch]) -> String {
    let line = |patch: &Patch| match &patch.fate {
        Fate::Committed { .. } => format!("{} {}: applied\n", patch.number, patch.subject),
        Fate::NotReached => format!("{} {}: not reached\n", patch.number, patch.subject),
        Fate::Refused(refusal) => format!("{} {}: {refusal}\n", patch.number, patch.subject),
    };
    repository.plain(&patches.iter().map(line).collect::<String>())
}

#[test]
fn a_patch_that_does_not_apply_is_shown_at_its_hunk_and_those_behind_it_are_not_reached() {
    let repository = Repository::new();
    let mbox = repository.write("x.mbox", repository.mbox(&[]));
    repository.git(&["checkout", "--quiet", "-b", "other", "base"]);
    repository.commit(&[(FILE, &lines(&[(21, "changed;")]))], "in the way");
    let before = repository.everything();
    let series = repository.read(&mbox.display().to_string(), Some("other")).expect("series");
    insta::assert_snapshot!(fates(&repository, &series.patches), @r"
    1 net: fünf lines — really: applied
    2 net: more: `net/core/dev.c`: patch does not apply: `@@ -17,7 +17,7 @@`
    3 net: the last: not reached
    ");
    let Fate::Refused(refusal) = &series.patches[1].fate else { panic!("refused") };
    let hunk = refusal.troubles[0].hunk.as_ref().expect("hunk");
    assert_eq!((hunk.file.as_str(), hunk.line, hunk.lines.len()), (FILE, 17, 8));
    assert_eq!(hunk.lines[3..5], ["-\tline 20;", "+\ttwenty;"]);
    assert_eq!(series.patches[1].files, [FILE, "new.c"]);
    assert_eq!(series.patches[2].files, [FILE]);
    repository.check_unchanged(&before);
    let base = repository.rev("base");
    assert_eq!(
        repository.plain(&told(&series)),
        format!("mail 1 of `[DIR]/x.mbox` is for commit {}, and another one was asked for\n", &base[..12])
    );
}

#[test]
fn a_series_that_is_there_already_says_so() {
    let repository = Repository::new();
    let mbox = repository.write("x.mbox", repository.mbox(&[]));
    let series = repository.read(&mbox.display().to_string(), Some("topic")).expect("series");
    insta::assert_snapshot!(fates(&repository, &series.patches), @r"
    1 net: fünf lines — really: `net/core/dev.c`: patch does not apply: `@@ -2,7 +2,7 @@`
    hint: everything in it is in the tree already: is the base too new?
    2 net: more: not reached
    3 net: the last: not reached
    ");
}

#[test]
fn a_patch_for_what_is_not_there_and_one_that_is_cut_off_are_refused() {
    let repository = Repository::new();
    let one = |text: &str| {
        let path = repository.write("one.patch", format!("Subject: [PATCH] x\n\n---\n{text}"));
        let series = repository.read(&path.display().to_string(), Some("base")).expect("series");
        fates(&repository, &series.patches)
    };
    insta::assert_snapshot!(one("--- a/gone.c\n+++ b/gone.c\n@@ -1 +1 @@\n-a\n+b\n"), @"1 x: `gone.c`: does not exist in index");
    insta::assert_snapshot!(one("--- /dev/null\n+++ b/../../evil\n@@ -0,0 +1 @@\n+evil\n"), @"1 x: invalid path '../../evil'");
    insta::assert_snapshot!(one("--- a/Kconfig\n+++ b/Kconfig\n@@ -1,7 +1,7 @@\n-config A\n+config B\n"), @r"
    1 x: `Kconfig`: corrupt patch at line 7: `@@ -1,7 +1,7 @@`
    hint: a line of it is none of a patch: a mail program wrapped it, or it was cut off; `b4 am` fetches it as it was sent
    ");
}

#[test]
fn a_series_without_a_base_or_with_one_that_is_not_there_is_told_what_to_do() {
    let repository = Repository::new();
    let mails = repository.mbox(&[]);
    let base = repository.rev("base");
    let without = mails.replace("base-commit: ", "base: ");
    let path = repository.write("x.mbox", without);
    insta::assert_snapshot!(repository.refused(&path, None), @r"
    `[DIR]/x.mbox` does not say which commit its patches are for
    hint: name it with `--base REV`; `git format-patch --base=auto` and b4 write it down
    ");
    let path = repository.write("x.mbox", mails.replace(&base, "0123456789012345678901234567890123456789"));
    insta::assert_snapshot!(repository.refused(&path, None), @r"
    mail 1 of `[DIR]/x.mbox` is for commit 012345678901, which `[DIR]/linux` does not have
    hint: `git fetch` it, or name another one with `--base REV`
    ");
    insta::assert_snapshot!(repository.refused(&path, Some("bose")), @r"
    `bose` is no revision of `[DIR]/linux`
    hint: there is `base`
    ");
    let series = repository.read(&path.display().to_string(), Some("base")).expect("series");
    assert_eq!(trees(&series)[2], repository.rev("topic^{tree}"));
}

#[test]
fn patches_that_are_needed_first_are_told() {
    let repository = Repository::new();
    let out = repository.path("out");
    let out_arg = format!("--output-directory={}", out.display());
    repository.git(&["format-patch", "--quiet", &out_arg, "--base=base", "topic~1..topic"]);
    let series = repository.mails(&out);
    let told = told(&series);
    assert!(told.starts_with("the series needs 2 patches that it does not have: patch-id "), "{told}");
}

#[test]
fn two_versions_in_one_directory_are_not_mixed() {
    let repository = Repository::new();
    repository.format_patch(&[]);
    let out = repository.format_patch(&["-v2"]);
    insta::assert_snapshot!(repository.refused(&out, None), @r"
    `[DIR]/out` has versions v1 and v2 of a series in it
    hint: `git format-patch -o` a new directory, or remove the files of the others
    ");
}

#[test]
fn a_patch_that_is_missing_from_a_directory_is_named() {
    let repository = Repository::new();
    let out = repository.format_patch(&[]);
    std::fs::remove_file(out.join("0002-net-more.patch")).expect("a patch");
    insta::assert_snapshot!(repository.refused(&out, None), @r"
    patch 2 of 3 is missing in `[DIR]/out`
    hint: `b4 am` fetches a series from the list; a part of one can be checked as a range of commits
    ");
}

#[test]
fn files_that_are_no_mails_are_told_apart() {
    let repository = Repository::new();
    let refused = |name: &str, contents: &[u8]| repository.refused(&repository.write(name, contents), None);
    insta::assert_snapshot!(refused("x.mbox.gz", b"\x1f\x8b\x08\x00"), @r"
    `[DIR]/x.mbox.gz` is compressed
    hint: `gunzip [DIR]/x.mbox.gz` unpacks it
    ");
    insta::assert_snapshot!(refused("empty", b"\n \n"), @"cannot read `[DIR]/empty`: it is empty");
    insta::assert_snapshot!(refused("text", b"hello\n"), @r"
    there is no patch in `[DIR]/text`
      `[DIR]/text`, `text`, is no patch
    hint: a patch is what `git diff` or `git format-patch` writes
    ");
    insta::assert_snapshot!(repository.refused(&repository.path("home"), None), @r"
    `[DIR]/home` has no file `*.patch` in it
    hint: name a directory that `git format-patch -o` wrote to, or a mbox
    ");
    insta::assert_snapshot!(repository.refused(&repository.path("gone.mbox"), None), @"cannot read `[DIR]/gone.mbox`: No such file or directory (os error 2)");
    insta::assert_snapshot!(repository.refused("/dev/null".as_ref(), None), @r"
    `/dev/null` is neither a file nor a directory
    hint: write what it gives to a file first
    ");
}

#[test]
fn a_tree_that_is_no_repository_is_named() {
    let repository = Repository::new();
    let mbox = repository.write("x.mbox", repository.mbox(&[]));
    std::fs::remove_dir_all(repository.tree().join(".git")).expect("a repository");
    let error = repository.read(&mbox.display().to_string(), None).expect_err("no repository");
    assert_eq!(error.fault(), Fault::Request);
    assert!(error.to_string().contains("is not a git repository"), "{error}");
}
