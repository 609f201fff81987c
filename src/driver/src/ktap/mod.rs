//! KTAP (Documentation/dev-tools/ktap.rst) as the kernel's tests really print it,
//! read into cases. Pure; never panics, whatever the bytes are.
//!
//! | read | printed by |
//! |---|---|
//! | `TAP version 13`, `14`, `KTAP version 1`, or none where a plan stands for it | all of them |
//! | nesting by indentation, opened by a version, `# Subtest:` or a plan | KUnit, TAP 14 |
//! | nesting by `# ` before each line | `kselftest/runner.sh` |
//! | `ok 3 name # SKIP why`, and `ok 3 # SKIP name why` | `kselftest.h` |
//! | SKIP, TODO, XFAIL, XPASS, TIMEOUT, ERROR behind a `#` | kselftest |
//! | `# time=234ms`, `# time=0.234s`, `duration_ms`, and `(1.5s)` behind a name | MPTCP, TAP 13 |
//! | `Bail out!`, `1..0 # SKIP why` | `kselftest.h` |
//!
//! What does not add up becomes an error among the cases: a number that is
//! missing, doubled or beyond the plan, a nested test without a result of its
//! own, an output that was cut off. It never becomes a pass, and never hides a
//! failure. What is not announced as KTAP is no result, however it looks.
//!
//! Memory is bounded: [`MAX_SUBTESTS`] cases, and some kilobytes of each.

mod flat;
mod group;
mod line;
mod lines;
mod shell;
mod time;
mod tree;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod properties;

use crate::model::Subtest;

/// Cases that are kept. From experience: the largest collections of selftests
/// report some hundreds; KUnit in full some thousands.
pub const MAX_SUBTESTS: usize = 10_000;

/// Where the bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// What a program printed. Lines of the kernel log in it are no results.
    Output,
    /// What a selftest of the kernel printed: KTAP like that, or else the lines of
    /// shell tests, `PASS: name` and `name [ OK ]`.
    Selftest,
    /// The kernel log: stamps before each line are passed over.
    KernelLog,
}

/// Whether the last byte that was pushed is the last that was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is.
    Complete,
    /// Nobody knows.
    CutOff,
}

/// What was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The cases in the order of their results. Tests that contain others are
    /// among them only where they say something that the others do not.
    pub subtests: Vec<Subtest>,
    /// Why all of it was skipped: `1..0 # SKIP why`.
    pub skipped: Option<String>,
}

/// Reads KTAP in pieces of any size.
#[derive(Debug)]
pub struct Parser {
    lines: lines::Lines,
    tree: tree::Tree,
    shell: shell::Shell,
    dialect: Dialect,
}

impl Parser {
    /// Starts before the first byte.
    #[must_use]
    pub fn new(dialect: Dialect) -> Self {
        let shell = shell::Shell::default();
        Self { lines: lines::Lines::default(), tree: tree::Tree::default(), shell, dialect }
    }

    /// Takes what was printed next.
    pub fn push(&mut self, bytes: &[u8]) {
        let Self { lines, tree, shell, dialect } = self;
        lines.push(bytes, &mut |raw| take(tree, shell, *dialect, raw));
    }

    /// What was read.
    #[must_use]
    pub fn finish(self, ending: Ending) -> Report {
        let Self { lines, mut tree, mut shell, dialect } = self;
        // A line without an end says what it says only if nothing is missing of it.
        if let (Some(raw), Ending::Complete) = (lines.rest(), ending) {
            take(&mut tree, &mut shell, dialect, &raw);
        }
        let (roots, skipped) = tree.finish(ending);
        let mut subtests = flat::flatten(roots);
        if skipped.is_none() && subtests.iter().all(|it| it.path == [tree::CUT_OFF]) {
            let ktap = std::mem::replace(&mut subtests, shell.finish());
            subtests.extend(ktap);
        }
        Report { subtests, skipped }
    }
}

fn take(tree: &mut tree::Tree, shell: &mut shell::Shell, dialect: Dialect, raw: &lines::Raw) {
    let text = raw.text();
    let text = match dialect {
        Dialect::KernelLog => lines::unstamped(&text).unwrap_or(&text),
        Dialect::Output | Dialect::Selftest => &text,
    };
    if dialect == Dialect::Selftest {
        shell.take(text);
    }
    if !text.trim().is_empty() {
        tree.take(&line::Line::read(text), raw.length());
    }
}
