//! Mails, in every form in which people have them.

use std::fs;
use std::path::PathBuf;

use kregress::series::{Fate, Remark, Why};

use crate::repository::{FILE, Repository, listed, told, trees};

/// The trees that all forms of the series come to.
fn expected(repository: &Repository) -> Vec<String> {
    ["topic~2^{tree}", "topic~1^{tree}", "topic^{tree}"].map(|revision| repository.rev(revision)).to_vec()
}

#[test]
fn a_directory_of_format_patch_is_a_series_with_its_cover_letter() {
    let repository = Repository::new();
    let out = repository.format_patch(&["--cover-letter", "-v2", "--cover-from-description=none"]);
    let cover = out.join("v2-0000-cover-letter.patch");
    let text = fs::read_to_string(&cover).expect("a cover letter");
    let text = text.replace("*** SUBJECT HERE ***", "net: three lines").replace("*** BLURB HERE ***", "Why.");
    fs::write(cover, text).expect("a cover letter");
    fs::write(out.join("notes.txt"), "mine").expect("a file");
    let series = repository.mails(&out);
    assert_eq!(trees(&series), expected(&repository));
    assert_eq!(series.base.commit, repository.rev("base"));
    let cover = series.cover.as_ref().expect("cover");
    assert_eq!(cover.subject, "net: three lines");
    assert!(cover.text.starts_with("Why.\n\nA U Thör (3):\n"), "{}", cover.text);
    assert!(cover.text.ends_with(&format!("base-commit: {}", repository.rev("base"))), "{}", cover.text);
    insta::assert_snapshot!(listed(&series), @r"
    1 net: fünf lines — really: net/core/dev.c
    2 net: more: net/core/dev.c new.c
    3 net: the last: net/core/dev.c
    ");
    let first = &series.patches[0];
    assert_eq!(first.author.as_deref(), Some("A U Thör <author@example.org>"));
    assert_eq!(first.date.as_deref(), Some("2026-01-01T01:00:00+01:00"));
    assert_eq!(told(&series), "");
    // Whoever asks again gets the same commits.
    assert_eq!(repository.mails(&out), series);
}

#[test]
fn several_patches_in_one_file_are_a_series() {
    let repository = Repository::new();
    let mbox = repository.write("all.patch", repository.mbox(&[]));
    assert_eq!(trees(&repository.mails(&mbox)), expected(&repository));
}

/// The mails of a thread as b4 writes them: its own first line, headers decoded,
/// and answers between.
fn b4(repository: &Repository, base: &str) -> String {
    let mails = repository.mbox(&["-v3"]);
    let separator = |line: &str| line.starts_with("From ") && line.ends_with(" Mon Sep 17 00:00:00 2001");
    let mut text = format!(
        "From git@z Thu Jan  1 00:00:00 1970\nFrom: A U Thor <author@example.org>\n\
         Subject: [PATCH v3 0/3] net: three lines\nMessage-Id: <0@x>\n\nWhy.\n{base}"
    );
    let mut number = 0;
    for line in mails.lines() {
        if separator(line) {
            number += 1;
            let answer = format!(
                "From git@z Thu Jan  1 00:00:00 1970\nFrom: B <b@example.org>\nMessage-Id: <re-{number}@x>\n\
                 Subject: Re: [PATCH v3 {number}/3] net: it\n\n> diff --git a/x b/x\nReviewed-by: B <b@example.org>\n\n"
            );
            text.push_str(&answer);
            text.push_str(&format!("From git@z Thu Jan  1 00:00:00 1970\nMessage-Id: <{number}@x>\n"));
        } else if !line.starts_with("base-commit: ") {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[test]
fn a_mbox_of_b4_is_a_series_without_its_answers() {
    let repository = Repository::new();
    let base = format!("\nbase-commit: {}\n", repository.rev("base"));
    let mbox = repository.write("v3_x.mbx", b4(&repository, &base));
    let series = repository.mails(&mbox);
    assert_eq!(trees(&series), expected(&repository));
    assert_eq!(series.cover.as_ref().expect("cover").subject, "net: three lines");
    insta::assert_snapshot!(repository.plain(&told(&series)), @r"
    mail 2 of `[DIR]/v3_x.mbx`, `net: it`, is an answer, and left out
    mail 4 of `[DIR]/v3_x.mbx`, `net: it`, is an answer, and left out
    mail 6 of `[DIR]/v3_x.mbx`, `net: it`, is an answer, and left out
    ");
}

#[test]
fn the_cover_letter_that_b4_writes_beside_the_mbox_names_the_base() {
    let repository = Repository::new();
    let all = b4(&repository, "");
    let (cover, mails) = all
        .split_once("From git@z")
        .map(|(_, rest)| rest)
        .and_then(|rest| rest.split_once("From git@z"))
        .expect("mails");
    let (_, cover) = cover.split_once('\n').expect("a first line");
    let mbox = repository.write("v3_x.mbx", format!("From git@z{mails}"));
    assert!(repository.refused(&mbox, None).contains("does not say which commit"), "no base yet");
    repository.write("v3_x.cover", format!("{cover}\nbase-commit: {}\n", repository.rev("base")));
    let series = repository.mails(&mbox);
    assert_eq!(trees(&series), expected(&repository));
    assert_eq!(series.cover.expect("cover").subject, "net: three lines");
}

#[test]
fn a_mail_that_came_twice_counts_once() {
    let repository = Repository::new();
    let base = format!("\nbase-commit: {}\n", repository.rev("base"));
    let all = b4(&repository, &base);
    let mbox = repository.write("x.mbx", format!("{all}{all}"));
    let series = repository.mails(&mbox);
    assert_eq!(trees(&series), expected(&repository));
    let twice = |note: &kregress::series::Note| matches!(note, kregress::series::Note::LeftOut(left) if left.why == Why::Twice);
    assert_eq!(series.notes.iter().filter(|note| twice(note)).count(), 7);
}

#[test]
fn patches_attached_to_one_mail_are_a_series_with_it_as_cover_letter() {
    let repository = Repository::new();
    let out = repository.format_patch(&[]);
    let mut paths: Vec<_> = fs::read_dir(out).expect("out").map(|it| it.expect("a file").path()).collect();
    paths.sort();
    let attached: String = paths
        .iter()
        .map(|path| {
            let text = fs::read_to_string(path).expect("a patch");
            format!(
                "--xx\nContent-Type: text/x-patch; charset=UTF-8\nContent-Disposition: attachment\n\n{text}\n"
            )
        })
        .collect();
    let mail = format!(
        "From: A <a@example.org>\nSubject: net: my lines\nMessage-ID: <1@x>\nMIME-Version: 1.0\n\
         Content-Type: multipart/mixed; boundary=xx\n\n--xx\nContent-Type: text/plain\n\nThree patches.\n\n{attached}--xx--\n"
    );
    let series = repository.mails(&repository.write("mail.eml", mail));
    assert_eq!(trees(&series), expected(&repository));
    let cover = series.cover.expect("cover");
    assert_eq!((cover.subject.as_str(), cover.text.as_str()), ("net: my lines", "Three patches."));
    assert_eq!(series.patches[0].subject, "net: fünf lines — really");
}

#[test]
fn one_patch_of_several_may_be_named_alone() {
    let repository = Repository::new();
    let out = repository.format_patch(&[]);
    let series = repository.mails(&out.join("0001-net-f-nf-lines-really.patch"));
    assert_eq!(trees(&series), expected(&repository)[..1]);
    assert_eq!(told(&series), "this is patch 1 of 3 alone\n");
}

#[test]
fn a_bare_diff_is_a_patch_of_nobody() {
    let repository = Repository::new();
    let diff = repository.git(&["diff", "base", "topic~2"]);
    let path = repository.write("five.patch", format!("{diff}\n"));
    let series = repository.read(&path.display().to_string(), Some("base")).expect("series");
    assert_eq!(trees(&series), expected(&repository)[..1]);
    let patch = &series.patches[0];
    assert_eq!((patch.subject.as_str(), &patch.author, &patch.date), ("five.patch", &None, &None));
}

/// One mail with this transfer encoding for this body.
fn encoded(repository: &Repository, headers: &str, body: &[u8]) -> PathBuf {
    let mut mail = format!(
        "From: =?utf-8?B?QSBVIFRow7Zy?= <author@example.org>\nSubject: =?utf-8?q?=5BPATCH=5D_net=3A_f=C3=BCnf?=\n\
         MIME-Version: 1.0\n{headers}\n\n"
    )
    .into_bytes();
    mail.extend_from_slice(body);
    repository.write("one.eml", mail)
}

/// The first patch, below its message.
fn diff(repository: &Repository) -> String {
    format!("{}\n", repository.git(&["diff", "base", "topic~2"]))
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.as_bytes().chunks(3).flat_map(|chunk| {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        (0..4).map(
            move |at| if at <= chunk.len() { DIGITS[(bits >> (18 - 6 * at)) as usize % 64] } else { b'=' },
        )
    });
    digits.collect::<Vec<_>>().chunks(76).flat_map(|line| [line, b"\n"].concat()).collect()
}

#[test]
fn what_mail_programs_encode_is_decoded() {
    let repository = Repository::new();
    let diff = diff(&repository);
    let quoted = diff.replace('=', "=3D").replace('\t', "=09").replace("five", "fi=\nve");
    for (headers, body) in [
        (
            "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable",
            quoted.into_bytes(),
        ),
        ("Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64", base64(&diff)),
    ] {
        let path = encoded(&repository, headers, &body);
        let series = repository.read(&path.display().to_string(), Some("base")).expect("series");
        assert_eq!(trees(&series), expected(&repository)[..1], "{headers}");
        let patch = &series.patches[0];
        assert_eq!(
            (patch.subject.as_str(), patch.author.as_deref()),
            ("net: fünf", Some("A U Thör <author@example.org>"))
        );
    }
}

#[test]
fn a_file_that_a_mail_program_saved_with_its_own_line_ends_applies() {
    let repository = Repository::new();
    let saved = repository.mbox(&[]).replace('\n', "\r\n");
    assert_eq!(trees(&repository.mails(&repository.write("x.mbox", saved))), expected(&repository));
}

#[test]
fn a_patch_of_a_file_with_such_line_ends_keeps_them() {
    let repository = Repository::new();
    repository.commit(&[("dos.txt", "one\r\ntwo\r\n")], "dos");
    repository.commit(&[("dos.txt", "one\r\n2\r\n")], "change it");
    let series = repository.mails(&repository.format_patch(&[]));
    assert_eq!(trees(&series).last(), Some(&repository.rev("topic^{tree}")));
}

#[test]
fn damage_on_the_way_is_named() {
    let repository = Repository::new();
    let diff = diff(&repository);
    let remark = |headers: &str, body: &[u8]| {
        let path = encoded(&repository, headers, body);
        let series = repository.read(&path.display().to_string(), Some("base")).expect("series");
        match &series.patches[0].fate {
            Fate::Refused(refusal) => refusal.remark,
            other => panic!("{other:?}"),
        }
    };
    let base64_headers = "Content-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: base64";
    let dos = base64(&diff.replace('\n', "\r\n"));
    assert_eq!(remark(base64_headers, &dos), Some(Remark::CarriageReturns));
    let flowed = "Content-Type: text/plain; charset=utf-8; format=flowed";
    assert_eq!(remark(flowed, diff.replace('\t', " ").as_bytes()), Some(Remark::Flowed));
    let plain = "Content-Type: text/plain; charset=utf-8";
    assert_eq!(remark(plain, diff.replace("line 3;", "line\n3;").as_bytes()), Some(Remark::Wrapped));
    assert_eq!(remark(plain, diff.replace('\t', "        ").as_bytes()), Some(Remark::TabsLost));
}

#[test]
fn the_users_settings_for_mails_change_nothing() {
    let repository = Repository::new();
    let mbox = repository.write("x.mbox", repository.mbox(&[]));
    let series = repository.mails(&mbox);
    for (key, value) in [
        ("mailinfo.scissors", "true"),
        ("mailinfo.quotedCr", "strip"),
        ("am.keepcr", "false"),
        ("am.threeWay", "true"),
        ("apply.whitespace", "error"),
        ("i18n.commitEncoding", "latin1"),
        ("commit.gpgSign", "true"),
        ("core.autocrlf", "true"),
        ("user.useConfigOnly", "true"),
    ] {
        repository.git(&["config", key, value]);
    }
    assert_eq!(repository.mails(&mbox), series);
}

#[test]
fn what_git_would_not_take_of_a_mail_stands_in_no_ones_way() {
    let repository = Repository::new();
    let diff = diff(&repository);
    let mail = format!(
        "From: . <>\nDate: Sun, 22 Nov 1026 05:35:55 +0100\nSubject: [PATCH] \n\n\u{0}x\n---\n{diff}"
    );
    let path = repository.write("odd.patch", mail);
    let series = repository.read(&path.display().to_string(), Some("base")).expect("series");
    assert_eq!(trees(&series), expected(&repository)[..1]);
}

#[test]
fn a_patch_may_rename_files_and_change_modes() {
    let repository = Repository::new();
    repository.git(&["mv", "new.c", "renamed.c"]);
    repository.git(&["update-index", "--chmod=+x", FILE]);
    repository.git(&["commit", "--quiet", "-m", "rename"]);
    repository.git(&["checkout", "--quiet", "--force", "topic"]);
    let series = repository.mails(&repository.format_patch(&["-M"]));
    assert_eq!(trees(&series).last(), Some(&repository.rev("topic^{tree}")));
    assert_eq!(series.patches[3].files, [FILE, "new.c", "renamed.c"]);
}
