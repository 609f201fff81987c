//! A mail as git decoded it, and what it is to a series. Pure.

use std::path::{Path, PathBuf};

use super::subject::{Kind, Subject};
use crate::kernel::{LineEnds, Mail};

/// A mail that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) place: Place,
    pub(super) subject: Subject,
    pub(super) author: Option<Author>,
    pub(super) date: Option<Stamp>,
    pub(super) identity: Identity,
    /// What comes before the diff, without the line for the name of the mail.
    pub(super) text: String,
    /// As `git apply` reads it, with whatever surrounds the diffs in it.
    pub(super) diff: Vec<u8>,
    pub(super) content: Content,
    pub(super) flow: Flow,
}

/// Where a mail is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// In which file.
    pub file: PathBuf,
    /// Which mail of it, from 1; none where the file is one mail.
    pub mail: Option<usize>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.mail {
            Some(mail) => write!(f, "mail {mail} of `{}`", self.file.display()),
            None => write!(f, "`{}`", self.file.display()),
        }
    }
}

/// Who wrote a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) name: String,
    pub(super) email: String,
}

/// When a mail was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp {
    /// As in ISO 8601.
    pub(super) iso: String,
    /// Seconds since 1970 and the offset: `1767225600 +0100`.
    pub(super) seconds: String,
}

/// Equal for a mail and its copies.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Identity {
    /// What its `Message-ID` says: copies take different ways and collect other
    /// headers.
    Name(String),
    /// Git tells the name only of a mail that has a patch.
    Bytes(Vec<u8>),
}

/// Whether there is something to apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    Diff,
    Words,
}

/// Whether whoever shows a mail may break its lines anew (RFC 3676).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// No.
    Fixed,
    /// `format=flowed`: git joins the lines again, and patches rarely survive it.
    Flowed,
}

impl Letter {
    pub(super) fn new(mail: &Mail, place: Place) -> Self {
        let headers = String::from_utf8_lossy(&mail.headers);
        let header = |name: &str| {
            let value = headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned)
        };
        let mut text = String::from_utf8_lossy(&mail.text).into_owned();
        let name = take_message_id(&mut text);
        let author = match (header("Author"), header("Email")) {
            (None, None) => None,
            (name, email) => {
                Some(Author { name: name.unwrap_or_default(), email: email.unwrap_or_default() })
            }
        };
        Self {
            place,
            subject: Subject::parse(&header("Subject").unwrap_or_default()),
            author,
            date: header("Date").and_then(|date| stamp(&date)),
            identity: name.map_or_else(|| Identity::Bytes(mail.raw.clone()), Identity::Name),
            content: if has_diff(&mail.diff) { Content::Diff } else { Content::Words },
            text,
            diff: mail.diff.clone(),
            flow: flow(&mail.raw),
        }
    }

    /// Its title, or the name of the file that it is in.
    pub(super) fn title(&self) -> String {
        if self.subject.title.is_empty() {
            self.place.file.file_name().unwrap_or_default().to_string_lossy().into_owned()
        } else {
            self.subject.title.clone()
        }
    }

    pub(super) fn is_reply(&self) -> bool {
        self.subject.kind == Kind::Reply
    }

    pub(super) fn is_cover(&self) -> bool {
        self.subject.number.is_some_and(|number| number.of == 0)
    }

    /// All that people wrote in it, where nothing of it is a patch: git takes what
    /// follows `---` for one.
    pub(super) fn words(&self) -> String {
        let all = format!("{}\n{}", self.text.trim_end(), String::from_utf8_lossy(&self.diff));
        without_signature(&all).trim().to_owned()
    }
}

/// `git mailinfo --message-id` puts it into the last line, where a patch follows.
fn take_message_id(text: &mut String) -> Option<String> {
    let last = text.trim_end().lines().next_back()?;
    let id = last.strip_prefix("Message-ID: ").or_else(|| last.strip_prefix("Message-Id: "))?.trim();
    let id = (!id.is_empty()).then(|| id.to_owned());
    let end = text.trim_end().len() - last.len();
    text.truncate(end);
    id
}

/// Without what `git format-patch` puts under everything: its version.
fn without_signature(text: &str) -> &str {
    text.rfind("\n-- \n").map_or(text, |at| &text[..at])
}

fn stamp(date: &str) -> Option<Stamp> {
    let date = jiff::fmt::rfc2822::parse(date).ok()?;
    let seconds = date.timestamp().as_second();
    // Git has no commits before 1970.
    (seconds >= 0).then(|| Stamp {
        iso: date.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
        seconds: format!("{seconds} {}", date.strftime("%z")),
    })
}

fn has_diff(diff: &[u8]) -> bool {
    let mut lines = diff.split(|&byte| byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let traditional =
            line.starts_with(b"--- ") && lines.peek().is_some_and(|next| next.starts_with(b"+++ "));
        if line.starts_with(b"diff --git ") || traditional {
            return true;
        }
    }
    false
}

/// Only tells what may have happened to a patch that does not apply, so that what
/// no mail program writes (a folded parameter in quotes) need not be understood.
fn flow(raw: &[u8]) -> Flow {
    let raw = String::from_utf8_lossy(raw);
    let mut headers = raw.lines().take_while(|line| !line.trim().is_empty());
    if headers.any(|line| line.to_ascii_lowercase().contains("format=flowed")) {
        Flow::Flowed
    } else {
        Flow::Fixed
    }
}

/// How lines of a file end, by its first one.
pub(super) fn line_ends(file: &[u8]) -> LineEnds {
    match file.iter().position(|&byte| byte == b'\n') {
        Some(end) if end > 0 && file[end - 1] == b'\r' => LineEnds::Dos,
        _ => LineEnds::Unix,
    }
}

/// Takes off the mails that are attached to a mail or pasted into it, each as `git
/// format-patch` writes it: what git decoded of the mail is a mbox from their
/// first line on.
pub(super) fn take_enclosed(mail: &mut Mail) -> Option<Vec<u8>> {
    let start = |bytes: &[u8]| {
        let mut at = 0;
        bytes.split_inclusive(|&byte| byte == b'\n').find_map(|line| {
            let here = at;
            at += line.len();
            is_separator(line).then_some(here)
        })
    };
    if let Some(at) = start(&mail.text) {
        let mut text = mail.text.split_off(at);
        let id = message_id_line(&mut text);
        mail.text.extend(id);
        text.append(&mut mail.diff);
        return Some(text);
    }
    let at = start(&mail.diff)?;
    Some(mail.diff.split_off(at))
}

/// Cuts the line for the message's name off the end of its text.
fn message_id_line(text: &mut Vec<u8>) -> Vec<u8> {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let last = body.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    if text[last..].to_ascii_lowercase().starts_with(b"message-id: ") {
        text.split_off(last)
    } else {
        Vec::new()
    }
}

/// `From `, a commit, and the date that is the same in all of them (in git's
/// log-tree.c): what `git format-patch` begins a mail with.
fn is_separator(line: &[u8]) -> bool {
    let Some(rest) = line.strip_prefix(b"From ") else { return false };
    let hash = rest.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    matches!(hash, 40 | 64) && rest[hash..].starts_with(b" Mon Sep 17 00:00:00 2001")
}

/// The file that `b4 am` writes the cover letter to when it writes this mbox.
pub(super) fn cover_beside(mbox: &Path) -> Option<PathBuf> {
    (mbox.extension()? == "mbx").then(|| mbox.with_extension("cover"))
}

#[cfg(test)]
#[path = "letter_tests.rs"]
mod tests;
