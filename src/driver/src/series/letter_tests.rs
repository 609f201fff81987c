use proptest::prelude::*;

use super::*;

fn mail(headers: &str, text: &str, diff: &str) -> Mail {
    Mail { place: 1, raw: Vec::new(), headers: headers.into(), text: text.into(), diff: diff.into() }
}

fn letter(mail: &Mail) -> Letter {
    Letter::new(mail, Place { file: "dir/0001-x.patch".into(), mail: None })
}

fn named(id: &str) -> Identity {
    Identity::Name(id.to_owned())
}

const HEADERS: &str = "Author: A U Thör\nEmail: a@b\nSubject: [PATCH v2 1/2] net: x\n\
                       Date: Sun, 22 Nov 2026 05:35:55 +0100\n\n";

const SEPARATOR: &str = "From b6d9896e8a06886fcafdf5127e45412088e27357 Mon Sep 17 00:00:00 2001\n";

#[test]
fn a_letter_is_what_git_decoded() {
    let letter = letter(&mail(HEADERS, "Because.\n\nMessage-ID: <1@b>\n", "---\ndiff --git a/x b/x\n"));
    assert_eq!(letter.title(), "net: x");
    assert_eq!(letter.author, Some(Author { name: "A U Thör".into(), email: "a@b".into() }));
    let date = letter.date.expect("date");
    assert_eq!((date.iso.as_str(), date.seconds.as_str()), ("2026-11-22T05:35:55+01:00", "1795322155 +0100"));
    assert_eq!((&letter.identity, letter.text.as_str()), (&named("<1@b>"), "Because.\n\n"));
    assert_eq!(letter.content, Content::Diff);
}

#[test]
fn a_bare_diff_is_called_like_its_file() {
    let letter = letter(&mail("\n", "", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"));
    assert_eq!((letter.title().as_str(), letter.content), ("0001-x.patch", Content::Diff));
    assert_eq!((letter.author, letter.date, letter.identity), (None, None, Identity::Bytes(Vec::new())));
}

#[test]
fn a_date_that_git_would_not_take_is_none() {
    for date in ["yesterday", "Sun, 22 Nov 1026 05:35:55 +0100", "Sat, 99 Nov 2026 05:35:55 +0100"] {
        assert_eq!(letter(&mail(&format!("Date: {date}\n"), "", "")).date, None, "{date}");
    }
}

#[test]
fn what_is_below_a_line_of_dashes_is_still_of_the_cover_letter() {
    let letter =
        letter(&mail(HEADERS, "Why.\n\n", "---\nChanges: none\n\nbase-commit: 1234567\n-- \n2.47.3\n"));
    assert_eq!(letter.content, Content::Words);
    assert_eq!(letter.words(), "Why.\n---\nChanges: none\n\nbase-commit: 1234567");
}

#[test]
fn a_mail_that_may_be_wrapped_says_so_in_its_headers() {
    let flow = |raw: &str| flow(raw.as_bytes());
    assert_eq!(flow("Subject: x\nContent-Type: text/plain; Format=Flowed\n\ntext\n"), Flow::Flowed);
    assert_eq!(flow("Subject: x\r\n\r\nformat=flowed\r\n"), Flow::Fixed);
}

#[test]
fn files_of_mail_programs_are_told_by_their_first_line() {
    assert_eq!(line_ends(b"From: x\r\n+a\n"), LineEnds::Dos);
    assert_eq!(line_ends(b"From: x\n+a\r\n"), LineEnds::Unix);
    assert_eq!(line_ends(b"\n"), LineEnds::Unix);
}

#[test]
fn attached_mails_are_taken_off() {
    let patch = format!("{SEPARATOR}From: A <a@b>\nSubject: [PATCH 1/1] x\n\n");
    let mut in_text =
        mail(HEADERS, &format!("Two patches.\n\n{patch}Message-ID: <1@b>\n"), "---\n x | 1 +\n");
    let enclosed = take_enclosed(&mut in_text).expect("enclosed");
    assert_eq!(String::from_utf8_lossy(&enclosed), format!("{patch}---\n x | 1 +\n"));
    assert_eq!(letter(&in_text).identity, named("<1@b>"));
    assert_eq!((letter(&in_text).text.as_str(), in_text.diff.len()), ("Two patches.\n\n", 0));

    let mut in_diff = mail(HEADERS, "One.\n", &format!("diff --git a/x b/x\n{patch}"));
    assert_eq!(take_enclosed(&mut in_diff), Some(patch.into_bytes()));
    assert_eq!(in_diff.diff, b"diff --git a/x b/x\n");

    assert_eq!(take_enclosed(&mut mail(HEADERS, "From here on Mon Sep 17 00:00:00 2001\n", "")), None);
}

#[test]
fn a_cover_letter_is_beside_what_b4_wrote() {
    assert_eq!(cover_beside(Path::new("d/v2_x.mbx")), Some("d/v2_x.cover".into()));
    assert_eq!(cover_beside(Path::new("d/v2_x.mbox")), None);
}

proptest! {
    #[test]
    fn any_bytes_are_a_letter(
        headers in proptest::collection::vec(any::<u8>(), 0..80),
        text in proptest::collection::vec(any::<u8>(), 0..80),
        diff in proptest::collection::vec(any::<u8>(), 0..80),
        after in any::<bool>(),
    ) {
        let mut mail = Mail { place: 1, raw: text.clone(), headers, text, diff };
        if after {
            mail.headers.extend_from_slice(b"\nDate: Sun, 22 Nov 2026 05:35:55 +0100\n");
            mail.text.extend_from_slice(b"\nMessage-ID: <1@b>\n");
            mail.diff.extend_from_slice(SEPARATOR.as_bytes());
        }
        let all = mail.text.len() + mail.diff.len();
        let enclosed = take_enclosed(&mut mail);
        let taken = enclosed.map_or(0, |enclosed| enclosed.len());
        prop_assert_eq!(mail.text.len() + mail.diff.len() + taken, all, "nothing is lost");
        let letter = letter(&mail);
        prop_assert!(!after || letter.identity == named("<1@b>"));
        prop_assert!(!letter.title().is_empty());
        line_ends(&letter.diff);
        letter.words();
    }
}
