//! Which mails are the patches, in which order, and which are not. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::error::SeriesError;
use super::letter::{Content, Letter, Place};
use super::trailer::Trailers;
use super::{LeftOut, Why};

/// What the mails of a series came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bundle {
    File,
    Directory,
}

/// A series that is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ordered {
    pub(super) cover: Option<Letter>,
    /// Numbers count from 1, but of a patch that is alone it is its own.
    pub(super) patches: Vec<(u32, Letter)>,
    pub(super) left_out: Vec<LeftOut>,
    /// Where the mails say that the series begins.
    pub(super) base: Option<Named>,
    pub(super) prerequisites: Vec<String>,
    /// How many patches the series has of which this one patch is alone.
    pub(super) alone_of: Option<u32>,
}

/// A `base-commit:` and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// As it is written there.
    pub commit: String,
    /// Where it is written.
    pub place: Place,
}

/// Puts the mails of a file or directory in order. `what` is that.
pub(super) fn order(letters: Vec<Letter>, bundle: Bundle, what: &Path) -> Result<Ordered, SeriesError> {
    let lone_mail = bundle == Bundle::File && letters.len() == 1;
    let Sorted { cover, patches, left_out } = sort(letters)?;
    if patches.is_empty() {
        return Err(SeriesError::NoPatches { what: what.to_owned(), left_out });
    }
    check_versions(cover.iter().chain(&patches), what)?;
    let (base, prerequisites) = trailers(cover.iter().chain(&patches))?;
    let alone_of = match (&patches[..], &cover) {
        ([patch], None) if lone_mail => patch.subject.number.map(|number| number.total),
        _ => None,
    };
    let patches = if alone_of.is_some() {
        patches.into_iter().map(|patch| (patch.subject.number.map_or(1, |it| it.of), patch)).collect()
    } else {
        number(patches, cover.as_ref(), what)?
    };
    let alone_of = alone_of.filter(|total| *total > 1);
    Ok(Ordered { cover, patches, left_out, base, prerequisites, alone_of })
}

struct Sorted {
    cover: Option<Letter>,
    /// As they come.
    patches: Vec<Letter>,
    left_out: Vec<LeftOut>,
}

fn sort(letters: Vec<Letter>) -> Result<Sorted, SeriesError> {
    let mut seen = BTreeSet::new();
    let mut sorted = Sorted { cover: None, patches: Vec::new(), left_out: Vec::new() };
    let mut introduction = None;
    for (at, letter) in letters.into_iter().enumerate() {
        let mut leave_out = |letter: &Letter, why| {
            let left = LeftOut { subject: letter.title(), place: letter.place.clone(), why };
            sorted.left_out.push(left);
        };
        if !seen.insert(letter.identity.clone()) {
            leave_out(&letter, Why::Twice);
        } else if letter.is_reply() {
            leave_out(&letter, Why::Reply);
        } else if letter.is_cover() {
            if let Some(first) = sorted.cover.replace(letter.clone()) {
                return Err(doubled(0, &first, &letter));
            }
        } else if letter.content == Content::Diff {
            sorted.patches.push(letter);
        } else if letter.subject.number.is_some() {
            return Err(SeriesError::NoDiff { subject: letter.title(), place: letter.place });
        } else if at == 0 {
            introduction = Some(letter);
        } else {
            leave_out(&letter, Why::NoDiff);
        }
    }
    // Patches that are attached to a mail have it for a cover letter.
    match introduction {
        Some(letter) if sorted.cover.is_none() && !sorted.patches.is_empty() => sorted.cover = Some(letter),
        Some(letter) => {
            let (subject, place) = (letter.title(), letter.place);
            sorted.left_out.insert(0, LeftOut { subject, place, why: Why::NoDiff });
        }
        None => {}
    }
    Ok(sorted)
}

fn doubled(number: u32, first: &Letter, second: &Letter) -> SeriesError {
    SeriesError::Doubled { number, first: first.place.clone(), second: second.place.clone() }
}

fn check_versions<'a>(letters: impl Iterator<Item = &'a Letter>, what: &Path) -> Result<(), SeriesError> {
    let versions: BTreeSet<_> = letters.map(|letter| letter.subject.version.unwrap_or(1)).collect();
    if versions.len() > 1 {
        let versions = versions.into_iter().collect();
        return Err(SeriesError::SeveralVersions { what: what.to_owned(), versions });
    }
    Ok(())
}

fn number(
    patches: Vec<Letter>,
    cover: Option<&Letter>,
    what: &Path,
) -> Result<Vec<(u32, Letter)>, SeriesError> {
    if patches.iter().all(|patch| patch.subject.number.is_none()) {
        return Ok((1..).zip(patches).collect());
    }
    // `[PATCH 0/0]` counts nothing.
    let cover = cover.filter(|cover| cover.subject.number.is_some_and(|number| number.total > 0));
    let mut total = None;
    for letter in cover.into_iter().chain(&patches) {
        let Some(number) = letter.subject.number else {
            return Err(SeriesError::Unnumbered { subject: letter.title(), place: letter.place.clone() });
        };
        let total = *total.get_or_insert(number.total);
        if number.total != total {
            return Err(SeriesError::Totals {
                first: total,
                second: number.total,
                place: letter.place.clone(),
            });
        }
        if number.of > total {
            let (number, place) = (number.of, letter.place.clone());
            return Err(SeriesError::Beyond { number, total, place });
        }
    }
    let mut numbered: BTreeMap<u32, Letter> = BTreeMap::new();
    for patch in patches {
        let number = patch.subject.number.map_or(0, |number| number.of);
        if let Some(first) = numbered.get(&number) {
            return Err(doubled(number, first, &patch));
        }
        numbered.insert(number, patch);
    }
    let total = total.unwrap_or(0);
    let missing = numbered.len() as u64 != u64::from(total);
    if missing {
        let lacks = |number: &u32| !numbered.contains_key(number);
        // Anybody can write that there are four thousand million.
        let numbers = (1..=total).filter(lacks).take(MOST_MISSING).collect();
        return Err(SeriesError::Missing { what: what.to_owned(), numbers, total });
    }
    Ok(numbered.into_iter().collect())
}

/// How many missing patches are named.
const MOST_MISSING: usize = 20;

fn trailers<'a>(
    letters: impl Iterator<Item = &'a Letter>,
) -> Result<(Option<Named>, Vec<String>), SeriesError> {
    let mut base: Option<Named> = None;
    let mut prerequisites = Vec::new();
    for letter in letters {
        let found = Trailers::find(&format!("{}\n{}", letter.text, String::from_utf8_lossy(&letter.diff)));
        prerequisites.extend(found.prerequisites);
        for commit in found.bases {
            let named = Named { commit, place: letter.place.clone() };
            match &base {
                // One of them may be cut short.
                Some(first)
                    if first.commit.starts_with(&named.commit) || named.commit.starts_with(&first.commit) => {
                }
                Some(first) => {
                    let (first, second) = (Box::new(first.clone()), Box::new(named));
                    return Err(SeriesError::Bases { first, second });
                }
                None => base = Some(named),
            }
        }
    }
    Ok((base, prerequisites))
}

#[cfg(test)]
#[path = "order_tests.rs"]
mod tests;
