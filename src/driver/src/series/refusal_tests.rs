use proptest::prelude::*;

use super::*;

const DIFF: &str = "\
diff --git a/net/a.c b/net/a.c
--- a/net/a.c
+++ b/net/a.c
@@ -10,3 +10,3 @@ int f(void)
 \tone
-\ttwo
+\t2
 \tthree
@@ -30,1 +30,1 @@ int g(void)
-\tfour
+\t4
diff --git a/net/b.c b/net/b.c
--- a/net/b.c
+++ b/net/b.c
@@ -10,1 +10,1 @@ int h(void)
-\tfive
+\t5
";

fn refusal(said: &str) -> Refusal {
    Refusal::new(said, Presence::NotThere, DIFF.as_bytes(), Flow::Fixed)
}

#[test]
fn the_hunk_that_git_means_is_found() {
    let refusal = refusal(
        "error: patch failed: net/a.c:30\nerror: net/a.c: patch does not apply\n\
         error: patch failed: net/b.c:10\nerror: net/b.c: patch does not apply\n\
         error: net/c.c: does not exist in index\n",
    );
    insta::assert_snapshot!(refusal, @"`net/a.c`: patch does not apply: `@@ -30,1 +30,1 @@ int g(void)`; `net/b.c`: patch does not apply: `@@ -10,1 +10,1 @@ int h(void)`; `net/c.c`: does not exist in index");
    let hunk = refusal.troubles[0].hunk.as_ref().expect("hunk");
    assert_eq!((hunk.line, hunk.patch_line), (30, 9));
    assert_eq!(hunk.lines, ["-\tfour", "+\t4"]);
}

#[test]
fn a_corrupt_patch_is_shown_where_it_is_corrupt() {
    for place in ["line 13", "patch:13"] {
        let refusal = refusal(&format!("error: corrupt patch at {place}\n"));
        insta::allow_duplicates! {
            insta::assert_snapshot!(refusal, @r"
            `net/a.c`: corrupt patch at line 13: `@@ -30,1 +30,1 @@ int g(void)`
            hint: a line of it is none of a patch: a mail program wrapped it, or it was cut off; `b4 am` fetches it as it was sent
            ");
        }
    }
}

#[test]
fn words_of_git_that_are_not_known_are_passed_on() {
    insta::assert_snapshot!(refusal("error: No valid patches in input (allow with \"--allow-empty\")\n"), @r#"No valid patches in input (allow with "--allow-empty")"#);
    insta::assert_snapshot!(refusal("fatal: something\n"), @"fatal: something");
    insta::assert_snapshot!(refusal(""), @"git names no reason");
}

#[test]
fn what_is_there_already_is_called_so() {
    let said = "error: patch failed: net/a.c:10\nerror: net/a.c: patch does not apply\n";
    let refusal = Refusal::new(said, Presence::There, DIFF.as_bytes(), Flow::Flowed);
    assert_eq!(refusal.remark, Some(Remark::AlreadyThere));
}

#[test]
fn damage_is_recognised_and_a_patch_without_any_is_not_accused() {
    let said = "error: patch failed: net/a.c:10\nerror: net/a.c: patch does not apply\n";
    let remark = |diff: &str, flow| Refusal::new(said, Presence::NotThere, diff.as_bytes(), flow).remark;
    assert_eq!(remark(DIFF, Flow::Fixed), None);
    assert_eq!(remark(DIFF, Flow::Flowed), Some(Remark::Flowed));
    assert_eq!(remark(&DIFF.replace('\n', "\r\n"), Flow::Fixed), Some(Remark::CarriageReturns));
    assert_eq!(remark(&DIFF.replace('\t', "        "), Flow::Fixed), Some(Remark::TabsLost));
    assert_eq!(remark(&DIFF.replace('\t', ""), Flow::Fixed), None);
}

proptest! {
    #[test]
    fn whatever_git_says_has_a_reason(
        said in any::<String>(),
        line in any::<u64>(),
        diff in proptest::collection::vec(any::<u8>(), 0..200),
        damaged in any::<bool>(),
    ) {
        let diff = if damaged { diff } else { DIFF.as_bytes().to_vec() };
        let said = format!("{said}\nerror: patch failed: net/a.c:{line}\nerror: corrupt patch at line {line}\nerror: {said}");
        let refusal = Refusal::new(&said, Presence::NotThere, &diff, Flow::Fixed);
        prop_assert!(!refusal.troubles.is_empty());
        prop_assert!(refusal.troubles.iter().any(|it| it.file.as_deref() == Some("net/a.c")));
    }
}
