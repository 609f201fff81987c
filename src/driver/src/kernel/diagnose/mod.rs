//! What went wrong in a kernel build, read off its log: the *first* error, with
//! file and line, and what to do about it. Pure.
//!
//! The last lines of a parallel make say only that something failed; the cause
//! is further up. The log is expected to be in the C locale and grouped by
//! target (`make --output-sync=target`).

mod hint;
mod recognise;

use std::fmt;
use std::path::Path;

pub(super) use hint::not_clean as not_clean_hint;
use recognise::Recognised;

/// Lines of a compiler's excerpt that are kept: the source line, the caret, a suggestion.
const EXCERPT: usize = 3;

/// Lines before an error in which its place may have been shown. From experience:
/// gcc repeats itself at most a few times for one place.
const NEAR: usize = 12;

/// Who or what is at fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The source does not compile or assemble.
    Code,
    /// The pieces do not link.
    Link,
    /// Makefiles or Kconfig files of the tree.
    BuildSystem,
    /// The compiler cannot compile this tree at all.
    Compiler,
    /// The host lacks a program.
    MissingProgram,
    /// The host lacks a library, or its headers, that a tool of the kernel's build needs.
    MissingLibrary,
    /// No space left.
    DiskFull,
    /// The host ran out of memory.
    OutOfMemory,
    /// The tree was built in.
    NotClean,
    /// An earlier build was killed while it wrote a file.
    Damaged,
    /// Make failed and said no more.
    Unknown,
}

impl Cause {
    /// Whether the tree is at fault, not the host: another tree might build.
    #[must_use]
    pub fn is_tree(self) -> bool {
        match self {
            Self::Code | Self::Link | Self::BuildSystem | Self::Unknown => true,
            Self::Compiler
            | Self::MissingProgram
            | Self::MissingLibrary
            | Self::DiskFull
            | Self::OutOfMemory
            | Self::NotClean
            | Self::Damaged => false,
        }
    }
}

/// The first error of a build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// Relative to the tree where it is of the tree.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<u32>,
    /// In the tool's words.
    pub message: String,
    /// What the compiler shows of the source.
    pub excerpt: Vec<String>,
    /// For an error in a header: the source that includes it, with its line.
    pub included_from: Option<String>,
    /// Who is at fault.
    pub cause: Cause,
    /// What can be done.
    pub hint: Option<String>,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)?;
        for line in &self.excerpt {
            write!(f, "\n  {line}")?;
        }
        if let Some(from) = &self.included_from {
            write!(f, "\n  included from {from}")?;
        }
        Ok(())
    }
}

/// Finds the first error in a log. Paths below `source` or `build` are made
/// relative to it. `None` if nothing in the log is an error.
#[must_use]
pub fn diagnose(log: &str, source: &Path, build: &Path) -> Option<Diagnosis> {
    let lines: Vec<&str> = log.lines().collect();
    // A full disk shows as many errors; only this one is the cause.
    if let Some(line) = lines.iter().find(|line| line.contains("No space left on device")) {
        return Some(finish(
            Recognised::new(Cause::DiskFull, line.trim()),
            Surroundings { lines: &[], at: 0 },
            source,
            build,
        ));
    }
    let found = (0..lines.len()).find_map(|at| {
        let surroundings = Surroundings { lines: &lines, at };
        recognise::line(lines[at], surroundings).map(|found| (found, surroundings))
    });
    let (found, surroundings) = match found {
        Some(found) => found,
        None => (0..lines.len()).find_map(|at| {
            let surroundings = Surroundings { lines: &lines, at };
            recognise::failed_target(surroundings).map(|found| (found, surroundings))
        })?,
    };
    Some(finish(found, surroundings, source, build))
}

/// The log around a line.
#[derive(Debug, Clone, Copy)]
struct Surroundings<'a> {
    lines: &'a [&'a str],
    at: usize,
}

impl<'a> Surroundings<'a> {
    /// Lines before, nearest first.
    fn before(self) -> impl Iterator<Item = &'a str> {
        self.lines[..self.at].iter().rev().copied()
    }

    /// Lines after, nearest first.
    fn after(self) -> impl Iterator<Item = &'a str> {
        self.lines.iter().skip(self.at + 1).copied()
    }
}

fn finish(found: Recognised, around: Surroundings<'_>, source: &Path, build: &Path) -> Diagnosis {
    let relative = |path: &str| relative(path, source, build);
    let is_located = found.line.is_some();
    let file = found.file.as_deref().map(relative);
    // An error without a file is at least an error of some target.
    let file = file.or_else(|| {
        let of_a_file = matches!(found.cause, Cause::Code | Cause::OutOfMemory);
        of_a_file.then(|| around.after().find_map(recognise::target_of).map(relative)).flatten()
    });
    let hint = hint::for_error(found.cause, &found.message, source, build);
    Diagnosis {
        line: found.line,
        message: found.message.replace(&format!("{}/", source.display()), ""),
        excerpt: if is_located { excerpt(around) } else { Vec::new() },
        included_from: if is_located { included_from(around).map(|from| relative(&from)) } else { None },
        cause: found.cause,
        hint,
        file,
    }
}

fn relative(path: &str, source: &Path, build: &Path) -> String {
    let below = |root: &Path| Path::new(path).strip_prefix(root).ok().and_then(Path::to_str);
    below(source)
        .or_else(|| below(build))
        .unwrap_or_else(|| path.strip_prefix("./").unwrap_or(path))
        .to_owned()
}

/// What gcc shows of the source, as in `  412 |         return x`. It shows each
/// place once, so that it may stand with an earlier warning of the same place.
fn excerpt(around: Surroundings<'_>) -> Vec<String> {
    let own = excerpt_at(around);
    let Some(place) = around.lines.get(around.at).and_then(|line| line.split(": ").next()) else {
        return own;
    };
    let earlier = (around.at.saturating_sub(NEAR)..around.at).rev().map(|at| Surroundings { at, ..around });
    let same_place = earlier.filter(|it| it.lines[it.at].split(": ").next() == Some(place));
    std::iter::once(own).chain(same_place.map(excerpt_at)).find(|lines| !lines.is_empty()).unwrap_or_default()
}

fn excerpt_at(around: Surroundings<'_>) -> Vec<String> {
    let is_excerpt = |line: &&str| {
        let number = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        line.starts_with(' ') && number.trim_start().starts_with('|')
    };
    around.after().take_while(is_excerpt).take(EXCERPT).map(str::to_owned).collect()
}

/// The outermost file of `In file included from a.h:1,\n  from b.c:2:`.
fn included_from(around: Surroundings<'_>) -> Option<String> {
    // Between the chain and the error gcc may name the function.
    let outermost = around.before().find(|line| !line.contains(": In function "))?;
    let continued =
        outermost.starts_with(' ').then(|| outermost.trim_start().strip_prefix("from ")).flatten();
    let place = continued.or_else(|| outermost.strip_prefix("In file included from "))?;
    let mut parts = place.trim_end_matches([':', ',']).splitn(3, ':');
    let (file, line) = (parts.next()?, parts.next()?);
    line.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!("{file}:{line}"))
}

#[cfg(test)]
mod tests;
