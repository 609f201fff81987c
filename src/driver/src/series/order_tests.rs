use proptest::prelude::*;

use super::super::letter::{Author, Flow, Identity};
use super::super::subject::Subject;
use super::*;

/// The mails of a mbox, each a subject and whether there is a diff in it.
fn letters(mails: &[(&str, Content)]) -> Vec<Letter> {
    let letter = |(at, (subject, content)): (usize, &(&str, Content))| Letter {
        place: Place { file: "x.mbx".into(), mail: Some(at + 1) },
        subject: Subject::parse(subject),
        author: Some(Author { name: "a".into(), email: "a@b".into() }),
        date: None,
        identity: Identity::Name(format!("<{at}@b>")),
        text: String::new(),
        diff: Vec::new(),
        content: *content,
        flow: Flow::Fixed,
    };
    mails.iter().enumerate().map(letter).collect()
}

fn diffs(subjects: &[&str]) -> Vec<Letter> {
    letters(&subjects.iter().map(|subject| (*subject, Content::Diff)).collect::<Vec<_>>())
}

fn file(letters: Vec<Letter>) -> Result<Ordered, SeriesError> {
    order(letters, Bundle::File, Path::new("x.mbx"))
}

fn titles(ordered: &Ordered) -> Vec<(u32, String)> {
    ordered.patches.iter().map(|(number, letter)| (*number, letter.title())).collect()
}

#[track_caller]
fn refused(letters: Vec<Letter>) -> String {
    file(letters).expect_err("no series").to_string()
}

fn named(patches: &[(u32, &str)]) -> Vec<(u32, String)> {
    patches.iter().map(|(number, title)| (*number, (*title).to_owned())).collect()
}

#[test]
fn patches_come_by_their_numbers() {
    let mut letters = diffs(&["[PATCH v2 2/3] b", "[PATCH v2 3/3] c", "[PATCH v2 1/3] a"]);
    letters.extend(self::letters(&[("[PATCH v2 0/3] why", Content::Words)]));
    letters[3].identity = Identity::Bytes(b"why".to_vec());
    let ordered = file(letters).expect("series");
    assert_eq!(titles(&ordered), named(&[(1, "a"), (2, "b"), (3, "c")]));
    assert_eq!(ordered.cover.expect("cover").title(), "why");
    assert_eq!((ordered.left_out, ordered.alone_of), (vec![], None));
}

#[test]
fn patches_without_numbers_come_as_they_are() {
    let ordered = file(diffs(&["[PATCH] b", "a"])).expect("series");
    assert_eq!(titles(&ordered), named(&[(1, "b"), (2, "a")]));
}

#[test]
fn a_cover_letter_may_show_a_difference_and_is_still_no_patch() {
    let ordered = file(diffs(&["[PATCH 0/1] why", "[PATCH 1/1] a"])).expect("series");
    assert_eq!((ordered.patches.len(), ordered.cover.is_some()), (1, true));
}

#[test]
fn what_is_no_patch_is_left_out_and_told() {
    let mut letters = letters(&[
        ("[PATCH 0/1] why", Content::Words),
        ("[PATCH 1/1] a", Content::Diff),
        ("Re: [PATCH 1/1] a", Content::Diff),
        ("[syzbot] a crash", Content::Words),
        ("[PATCH 1/1] a", Content::Diff),
    ]);
    letters[4].identity = letters[1].identity.clone();
    let ordered = file(letters).expect("series");
    let told: Vec<_> = ordered.left_out.iter().map(ToString::to_string).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    mail 3 of `x.mbx`, `a`, is an answer
    mail 4 of `x.mbx`, `a crash`, is no patch
    mail 5 of `x.mbx`, `a`, is there before
    ");
}

#[test]
fn a_mail_with_patches_attached_is_their_cover_letter() {
    let mails = [("net: my patches", Content::Words), ("[PATCH] a", Content::Diff)];
    let ordered = file(letters(&mails)).expect("series");
    assert_eq!(ordered.cover.expect("cover").title(), "net: my patches");
    // Behind a patch it is talk about it.
    let mails = [("[PATCH] a", Content::Diff), ("net: my patches", Content::Words)];
    assert_eq!(file(letters(&mails)).expect("series").left_out.len(), 1);
}

#[test]
fn a_patch_that_is_named_alone_may_be_one_of_several() {
    let one = || diffs(&["[PATCH 2/5] b"]);
    let ordered = file(one()).expect("series");
    assert_eq!((titles(&ordered), ordered.alone_of), (named(&[(2, "b")]), Some(5)));
    assert_eq!(file(diffs(&["[PATCH 1/1] b"])).expect("series").alone_of, None);
    // Of a directory all files are meant.
    let error = order(one(), Bundle::Directory, Path::new("out")).expect_err("others are missing");
    assert!(error.to_string().starts_with("patches 1, 3, 4 and 5 of 5 are missing in `out`\n"), "{error}");
}

#[test]
fn a_series_that_is_not_whole_says_what_it_lacks() {
    insta::assert_snapshot!(refused(diffs(&["[PATCH 1/3] a", "[PATCH 3/3] c"])), @r"
    patch 2 of 3 is missing in `x.mbx`
    hint: `b4 am` fetches a series from the list; a part of one can be checked as a range of commits
    ");
    insta::assert_snapshot!(refused(diffs(&["[PATCH 1/2] a", "[PATCH 2/2] b", "[PATCH 2/2] b again"])), @r"
    patch 2 is there twice: mail 2 of `x.mbx`, mail 3 of `x.mbx`
    hint: take out the one that does not belong to the series
    ");
    insta::assert_snapshot!(refused(diffs(&["[PATCH 0/1] x", "[PATCH 0/1] y", "[PATCH 1/1] a"])), @r"
    the cover letter is there twice: mail 1 of `x.mbx`, mail 2 of `x.mbx`
    hint: take out the one that does not belong to the series
    ");
    insta::assert_snapshot!(refused(diffs(&["[PATCH 1/2] a", "[PATCH 2/3] b"])), @r"
    mail 2 of `x.mbx` is of 3 patches, and others are of 2
    hint: take out what is of another series
    ");
    insta::assert_snapshot!(refused(diffs(&["[PATCH 1/2] a", "[PATCH 4/2] b"])), @r"
    mail 2 of `x.mbx` says that it is patch 4 of 2
    hint: correct its subject
    ");
    insta::assert_snapshot!(refused(diffs(&["[PATCH 1/1] a", "[PATCH] fix of it"])), @r"
    mail 2 of `x.mbx`, `fix of it`, has no number, and others have
    hint: take it out, or give it a number as in `[PATCH 2/3]`
    ");
    insta::assert_snapshot!(refused(letters(&[("[PATCH 1/2] a", Content::Diff), ("[PATCH 2/2] b", Content::Words)])), @r"
    mail 2 of `x.mbx`, `b`, has no diff in it
    hint: was it cut off, or made by `git commit --allow-empty`?
    ");
}

#[test]
fn several_versions_are_not_mixed() {
    insta::assert_snapshot!(refused(diffs(&["[PATCH 1/1] a", "[PATCH v3 1/1] a", "[PATCH v2 1/1] a"])), @r"
    `x.mbx` has versions v1 and v2 and v3 of a series in it
    hint: `b4 am` takes the newest only, and `b4 am -v N` another
    ");
}

#[test]
fn mails_without_a_patch_are_told_apart() {
    let mails = [("Re: [PATCH] a", Content::Diff), ("hello", Content::Words)];
    insta::assert_snapshot!(refused(letters(&mails)), @r"
    there is no patch in `x.mbx`
      mail 1 of `x.mbx`, `a`, is an answer
      mail 2 of `x.mbx`, `hello`, is no patch
    hint: answers are no patches, whatever they quote; `b4 am` fetches what they answer
    ");
    insta::assert_snapshot!(refused(letters(&[("hello", Content::Words)])), @r"
    there is no patch in `x.mbx`
      mail 1 of `x.mbx`, `hello`, is no patch
    hint: a patch is what `git diff` or `git format-patch` writes
    ");
}

#[test]
fn trailers_are_taken_from_wherever_they_are() {
    let mut letters = diffs(&["[PATCH 0/2] why", "[PATCH 1/2] a", "[PATCH 2/2] b"]);
    letters[0].text = "base-commit: 0123456789ab\n".into();
    letters[2].diff = b"base-commit: 0123456789abcdef\nprerequisite-patch-id: 00000000000000000001\n".into();
    let ordered = file(letters.clone()).expect("series");
    let base = ordered.base.expect("base");
    assert_eq!((base.commit.as_str(), base.place.mail), ("0123456789ab", Some(1)));
    assert_eq!(ordered.prerequisites, ["00000000000000000001"]);
    letters[2].diff = b"base-commit: fedcba9876543\n".into();
    insta::assert_snapshot!(refused(letters), @r"
    mail 1 of `x.mbx` is for commit 0123456789ab, mail 3 of `x.mbx` for fedcba987654
    hint: name the right one with `--base REV`
    ");
}

fn any_mail() -> impl Strategy<Value = (String, Content)> {
    let subject = (0u32..5, 0u32..4, 0u32..3, "(Re: )?", any::<bool>());
    let subject = subject.prop_map(|(of, total, version, re, plain)| match plain {
        true => format!("{re}[PATCH] x"),
        false => format!("{re}[PATCH v{version} {of}/{total}] x"),
    });
    (subject, prop_oneof![3 => Just(Content::Diff), 1 => Just(Content::Words)])
}

proptest! {
    #[test]
    fn mails_in_any_order_are_a_whole_series_or_an_error_with_a_hint(
        mails in proptest::collection::vec(any_mail(), 0..7),
    ) {
        let mails: Vec<_> = mails.iter().map(|(subject, content)| (subject.as_str(), *content)).collect();
        match file(letters(&mails)) {
            Ok(ordered) => {
                let numbers: Vec<_> = ordered.patches.iter().map(|(number, _)| *number).collect();
                if mails.len() > 1 {
                    prop_assert_eq!(&numbers, &(1..=ordered.patches.len() as u32).collect::<Vec<_>>());
                }
                let told = numbers.len() + ordered.left_out.len() + usize::from(ordered.cover.is_some());
                prop_assert_eq!(told, mails.len(), "every mail is accounted for");
            }
            Err(error) => prop_assert!(error.to_string().contains("\nhint: "), "{}", error),
        }
    }

    #[test]
    fn the_order_of_the_mails_does_not_matter(
        order in Just((1..=6).collect::<Vec<u32>>()).prop_shuffle(),
    ) {
        let subjects: Vec<_> = order.iter().map(|number| format!("[PATCH {number}/6] x{number}")).collect();
        let ordered = file(diffs(&subjects.iter().map(String::as_str).collect::<Vec<_>>())).expect("series");
        let titles: Vec<_> = titles(&ordered).into_iter().map(|(_, title)| title).collect();
        prop_assert_eq!(titles, ["x1", "x2", "x3", "x4", "x5", "x6"]);
    }
}
