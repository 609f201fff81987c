//! Why a patch does not apply: git's words about it, and the hunk that they are
//! about. Pure.

use std::fmt;

use super::hunk::{Hunk, hunks};
use super::letter::Flow;
use crate::kernel::Presence;

/// Why a patch does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// At least one, as git names them; of a file the first.
    pub troubles: Vec<Trouble>,
    /// What may be behind all of them.
    pub remark: Option<Remark>,
}

/// Something in the way of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In which file, where git says that.
    pub file: Option<String>,
    /// Which part of the patch.
    pub hunk: Option<Hunk>,
    /// Git's reason.
    pub reason: String,
}

/// What a patch that does not apply looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remark {
    /// Everything in it is there already.
    AlreadyThere,
    /// Its lines end in CR LF.
    CarriageReturns,
    /// Its mail may have been wrapped: it is `format=flowed`.
    Flowed,
    /// A hunk is cut off by a line that is none of a patch, or by the end.
    Wrapped,
    /// It has no tab where kernel source has one in most lines.
    TabsLost,
}

/// Lines of a patch from which on blanks in place of tabs are no accident. From
/// experience: documentation and device trees have single indented lines.
const INDENTED: usize = 3;

impl Refusal {
    /// Finds what git is talking about.
    pub(super) fn new(said: &str, presence: Presence, diff: &[u8], flow: Flow) -> Self {
        let diff = String::from_utf8_lossy(diff);
        let hunks = hunks(&diff);
        let remark = match presence {
            Presence::There => Some(Remark::AlreadyThere),
            Presence::NotThere => remark(said, &hunks, flow),
        };
        Self { troubles: troubles(said, &hunks), remark }
    }
}

fn troubles(said: &str, hunks: &[Hunk]) -> Vec<Trouble> {
    let mut troubles: Vec<Trouble> = Vec::new();
    let lines = || said.lines().filter_map(|line| line.trim_end().strip_prefix("error: "));
    for line in lines() {
        if let Some(place) = line.strip_prefix("patch failed: ") {
            let (file, number) = place.rsplit_once(':').unwrap_or((place, ""));
            let hunk = number.parse().ok().and_then(|number| hunk_at(hunks, file, number));
            let reason = "patch does not apply".to_owned();
            troubles.push(Trouble { file: Some(file.to_owned()), hunk: hunk.cloned(), reason });
        } else if let Some((what, number)) = patch_line(line) {
            let hunk = hunks.iter().rev().find(|hunk| hunk.patch_line <= number);
            let file = hunk.map(|hunk| hunk.file.clone()).filter(|file| !file.is_empty());
            troubles.push(Trouble { file, hunk: hunk.cloned(), reason: format!("{what} at line {number}") });
        } else {
            let (file, reason) = match line.rsplit_once(": ") {
                Some((file, reason)) => (Some(file.to_owned()), reason.to_owned()),
                None => (None, line.to_owned()),
            };
            // After the hunk git names the file once more.
            let told = |it: &Trouble| it.file == file && it.reason == reason;
            if !troubles.iter().any(told) {
                troubles.push(Trouble { file, hunk: None, reason });
            }
        }
    }
    if troubles.is_empty() {
        let reason = said.lines().map(str::trim).find(|line| !line.is_empty());
        let reason = reason.unwrap_or("git names no reason").to_owned();
        troubles.push(Trouble { file: None, hunk: None, reason });
    }
    troubles
}

/// Of hunks at the same line of several files that of the right one; git may call
/// a file in a way that the patch does not.
fn hunk_at<'a>(hunks: &'a [Hunk], file: &str, line: u64) -> Option<&'a Hunk> {
    let here = || hunks.iter().filter(|hunk| hunk.line == line);
    here().find(|hunk| hunk.file == file).or_else(|| if here().count() == 1 { here().next() } else { None })
}

/// `corrupt patch at line 12`, and `corrupt patch at patch:12` of a newer git.
fn patch_line(line: &str) -> Option<(&str, usize)> {
    let (what, place) = line.split_once(" at ")?;
    let digits = place.strip_prefix("line ").or_else(|| place.strip_prefix("patch:"))?;
    let end = digits.bytes().take_while(u8::is_ascii_digit).count();
    Some((what, digits[..end].parse().ok()?))
}

fn remark(said: &str, hunks: &[Hunk], flow: Flow) -> Option<Remark> {
    let lines = || hunks.iter().flat_map(|hunk| &hunk.lines);
    let count = |what: fn(&String) -> bool| lines().filter(|line| what(line)).count();
    let all = lines().count();
    if count(|line| line.ends_with('\r')) * 2 > all {
        Some(Remark::CarriageReturns)
    } else if flow == Flow::Flowed {
        Some(Remark::Flowed)
    } else if said.contains("corrupt patch") || said.contains("patch fragment without header") {
        Some(Remark::Wrapped)
    } else if count(|line| line.contains('\t')) == 0
        && count(|line| line.get(1..).is_some_and(|rest| rest.starts_with("    "))) >= INDENTED
    {
        Some(Remark::TabsLost)
    } else {
        None
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.file, &self.hunk) {
            (Some(file), Some(hunk)) => write!(f, "`{file}`: {}: `{}`", self.reason, hunk.header),
            (Some(file), None) => write!(f, "`{file}`: {}", self.reason),
            (None, _) => f.write_str(&self.reason),
        }
    }
}

impl Remark {
    /// What to do about it.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::AlreadyThere => "everything in it is in the tree already: is the base too new?",
            Self::CarriageReturns => {
                "its lines end in CR LF: a mail program changed it; `b4 am` fetches it as it was sent"
            }
            Self::Flowed => {
                "its mail is `format=flowed`, so its lines may have been wrapped; `git send-email` sends it whole"
            }
            Self::Wrapped => {
                "a line of it is none of a patch: a mail program wrapped it, or it was cut off; \
                 `b4 am` fetches it as it was sent"
            }
            Self::TabsLost => {
                "it has blanks where kernel source has tabs: it was copied from a screen, or a mail program changed it"
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, trouble) in self.troubles.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{trouble}")?;
        }
        self.remark.map_or(Ok(()), |remark| write!(f, "\nhint: {}", remark.hint()))
    }
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
