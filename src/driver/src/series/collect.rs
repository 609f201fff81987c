//! Reads a series: files and git are asked here, and the pure modules beside this
//! one say what it comes to.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::asked::{Asked, Range};
use super::error::SeriesError;
use super::letter::{Letter, Place, cover_beside, line_ends, take_enclosed};
use super::order::{Bundle, Ordered, order};
use super::refusal::Refusal;
use super::{Base, Cover, Fate, Note, Patch, Series};
use crate::kernel::{
    self, Bench, Between, BuildEnv, Candidate, Change, Commit, Fault, HistoryError, LineEnds, Mail, Parents,
    Pushed, Stack,
};

/// First bytes of compressed files, and what unpacks those.
const COMPRESSED: [(&[u8], &str); 4] =
    [(b"\x1f\x8b", "gunzip"), (b"\xfd7zXZ", "unxz"), (b"BZh", "bunzip2"), (b"\x28\xb5\x2f\xfd", "unzstd")];

/// A commit of a patch of which nobody says when it was written.
const NO_DATE: &str = "0 +0000";

/// Reads the series that the user named, and makes its patches commits where they
/// are none. `tree` is the user's repository; nothing in it is written. `waiting`
/// is called once when another kregress reads mails for the same repository.
///
/// A patch that does not apply is no error: its [`Fate`] says so.
///
/// # Errors
///
/// Fails when there is no series, or not all of one, or no base for it.
pub fn read(
    asked: &Asked,
    tree: &Path,
    base: Option<&str>,
    env: &BuildEnv,
    waiting: impl FnOnce(),
) -> Result<Series, SeriesError> {
    match (asked, base) {
        (Asked::Range(range), None) => of_range(range, tree, env),
        (Asked::Range(range), Some(base)) => {
            Err(SeriesError::BaseOfRange { range: range.clone(), base: base.to_owned() })
        }
        (Asked::Mails(path), base) => {
            // Nobody should wait to hear that there is no such file.
            let (bundle, files) = files(path)?;
            let bench = Bench::open(tree, env, waiting)?;
            of_mails(&bench, bundle, &files, path, base)
        }
    }
}

/// The commits of a range. Merges are refused: what a patch of a series changes is
/// what it changes to the one before, and of a merge that is all of another branch.
fn of_range(range: &Range, tree: &Path, env: &BuildEnv) -> Result<Series, SeriesError> {
    let history = |base: &str| {
        let between = Between {
            repository: tree,
            good: base,
            others_good: &[],
            bad: &range.tip,
            paths: &[],
            parents: Parents::All,
        };
        kernel::history(&between, &env.tools)
    };
    let mut notes = Vec::new();
    let history = match history(&range.base) {
        Err(HistoryError::Apart { base: fork, .. }) => {
            notes.push(Note::BaseMoved { base: range.base.clone(), fork: fork.clone() });
            history(&fork)
        }
        other => other,
    };
    let history = match history {
        Err(HistoryError::Same { .. } | HistoryError::Swapped { .. }) => {
            return Err(SeriesError::EmptyRange { range: range.clone() });
        }
        other => other?,
    };
    let mut hashes = vec![history.good.hash.clone()];
    hashes.extend(history.commits.iter().map(|it| it.commit.hash.clone()));
    let mut authored = kernel::authored(tree, &hashes, &env.tools)?.into_iter();
    let base_tree = authored.next().map(|it| it.tree).unwrap_or_default();
    let commits: Vec<(Candidate, kernel::Authored)> = history.commits.into_iter().zip(authored).collect();
    if let Some((merge, _)) = commits.iter().find(|(_, authored)| authored.parents > 1) {
        let Commit { hash, subject, .. } = merge.commit.clone();
        return Err(SeriesError::Merge { range: range.clone(), commit: hash, subject });
    }
    let patch = |(number, (it, authored)): (u32, (Candidate, kernel::Authored))| Patch {
        number,
        subject: it.commit.subject,
        author: Some(it.commit.author),
        date: Some(authored.date),
        files: it.files,
        fate: Fate::Committed { commit: it.commit.hash, tree: authored.tree },
    };
    Ok(Series {
        base: Base { commit: history.good.hash, tree: base_tree, subject: history.good.subject },
        cover: None,
        patches: (1..).zip(commits).map(patch).collect(),
        notes,
    })
}

/// The files to read, in the order of their names.
fn files(path: &Path) -> Result<(Bundle, Vec<PathBuf>), SeriesError> {
    let unreadable = |source| SeriesError::Unreadable { path: path.to_owned(), source };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    if metadata.is_file() {
        // b4 writes the cover letter, which may name the base, to a file of its own.
        let cover = cover_beside(path).filter(|cover| cover.is_file());
        return Ok((Bundle::File, cover.into_iter().chain([path.to_owned()]).collect()));
    }
    if !metadata.is_dir() {
        return Err(SeriesError::NotFile { path: path.to_owned() });
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(unreadable)?;
    let mut files: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "patch") && file.is_file());
    if files.is_empty() {
        return Err(SeriesError::NoPatchFiles { path: path.to_owned() });
    }
    files.sort();
    Ok((Bundle::Directory, files))
}

fn of_mails(
    bench: &Bench,
    bundle: Bundle,
    files: &[PathBuf],
    what: &Path,
    asked_base: Option<&str>,
) -> Result<Series, SeriesError> {
    let mut letters = Vec::new();
    for file in files {
        letters.extend(read_letters(bench, file)?);
    }
    let ordered = order(letters, bundle, what)?;
    let mut notes = notes(&ordered);
    let mut stack = match (asked_base, &ordered.base) {
        (Some(asked), named) => {
            let stack = bench.stack(asked)?;
            notes.extend(named.iter().filter(|named| !stack.top().commit.starts_with(&named.commit)).map(
                |named| Note::BaseOverridden { commit: named.commit.clone(), place: named.place.clone() },
            ));
            stack
        }
        (None, Some(named)) => bench.stack(&named.commit).map_err(|problem| match problem.fault() {
            Fault::Request => SeriesError::BaseAbsent {
                commit: named.commit.clone(),
                place: named.place.clone(),
                repository: bench.repository().to_owned(),
            },
            _ => problem.into(),
        })?,
        (None, None) => return Err(SeriesError::NoBase { what: what.to_owned() }),
    };
    let base = Base {
        subject: bench.subject(stack.top())?,
        commit: stack.top().commit.clone(),
        tree: stack.top().tree.clone(),
    };
    let mut patches: Vec<Patch> = Vec::new();
    for (number, letter) in &ordered.patches {
        let stopped = patches.last().is_some_and(|last| !matches!(last.fate, Fate::Committed { .. }));
        patches.push(if stopped {
            patch(*number, letter, bench.files(&letter.diff)?, Fate::NotReached)
        } else {
            put_on(bench, &mut stack, *number, letter)?
        });
    }
    let cover = ordered.cover.map(|letter| Cover { subject: letter.title(), text: letter.words() });
    Ok(Series { base, cover, patches, notes })
}

fn notes(ordered: &Ordered) -> Vec<Note> {
    let mut notes: Vec<_> = ordered.left_out.iter().cloned().map(Note::LeftOut).collect();
    if let (Some(total), [(number, _)]) = (ordered.alone_of, &ordered.patches[..]) {
        notes.push(Note::Alone { number: *number, total });
    }
    if !ordered.prerequisites.is_empty() {
        notes.push(Note::Prerequisites(ordered.prerequisites.clone()));
    }
    notes
}

/// Tries a patch on those before it.
fn put_on(bench: &Bench, stack: &mut Stack<'_>, number: u32, letter: &Letter) -> Result<Patch, SeriesError> {
    let before = stack.top().clone();
    let author = letter.author.as_ref();
    let message = format!("{}\n\n{}", letter.title(), letter.text.trim());
    let change = Change {
        diff: &letter.diff,
        message: &message,
        name: author.map_or("", |author| &author.name),
        email: author.map_or("", |author| &author.email),
        date: letter.date.as_ref().map_or(NO_DATE, |date| &date.seconds),
    };
    Ok(match stack.push(&change)? {
        Pushed::Made(made) => {
            let fate = Fate::Committed { commit: made.commit, tree: made.tree };
            patch(number, letter, stack.changed_since(&before)?, fate)
        }
        Pushed::Refused { said, presence } => {
            let refusal = Refusal::new(&said, presence, &letter.diff, letter.flow);
            patch(number, letter, bench.files(&letter.diff)?, Fate::Refused(refusal))
        }
    })
}

fn patch(number: u32, letter: &Letter, files: Vec<String>, fate: Fate) -> Patch {
    Patch {
        number,
        subject: letter.title(),
        author: letter.author.as_ref().map(|author| format!("{} <{}>", author.name, author.email)),
        date: letter.date.as_ref().map(|date| date.iso.clone()),
        files,
        fate,
    }
}

/// The mails of a file, and those that are attached to them.
fn read_letters(bench: &Bench, file: &Path) -> Result<Vec<Letter>, SeriesError> {
    let bytes = fs::read(file).map_err(|source| SeriesError::Unreadable { path: file.to_owned(), source })?;
    if let Some((_, program)) = COMPRESSED.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(SeriesError::Compressed { path: file.to_owned(), program });
    }
    if bytes.trim_ascii().is_empty() {
        let source = io::Error::other("it is empty");
        return Err(SeriesError::Unreadable { path: file.to_owned(), source });
    }
    let of_file = |problem| SeriesError::Mail { path: file.to_owned(), problem };
    let mut mails = bench.mails(&bytes, line_ends(&bytes)).map_err(of_file)?;
    let several = mails.len() > 1;
    let mut letters = Vec::new();
    for mail in &mut mails {
        let enclosed = take_enclosed(mail);
        let place = Place { file: file.to_owned(), mail: several.then_some(mail.place) };
        letters.push(Letter::new(mail, place.clone()));
        if let Some(enclosed) = enclosed {
            let inner: Vec<Mail> = bench.mails(&enclosed, LineEnds::Unix).map_err(of_file)?;
            letters.extend(inner.iter().map(|mail| Letter::new(mail, place.clone())));
        }
    }
    Ok(letters)
}
