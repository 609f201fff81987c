//! What a test says of its parts, where it reports them (KTAP).

use std::time::Duration;

/// One case that a test reported, or should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subtest {
    /// Its name, behind the names of the tests that it is nested in; never empty.
    pub path: Vec<String>,
    /// How it ended.
    pub verdict: SubtestVerdict,
    /// What was said behind the directive, or what does not add up; may be empty.
    pub reason: String,
    /// Time that it took, where it says so.
    pub elapsed: Option<Duration>,
    /// Last lines that were printed before its result, for people.
    pub diagnostics: String,
}

impl Subtest {
    /// The names joined, for people.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.join(" / ")
    }
}

/// How a case ended, in the words of KTAP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubtestVerdict {
    /// `ok`.
    Pass,
    /// `not ok`, or passed where it said that it would fail.
    Fail,
    /// `SKIP`.
    Skip,
    /// `XFAIL`: expected to fail.
    Xfail,
    /// `TODO`: known to fail.
    Todo,
    /// It could not be carried out, or what was said of it does not add up.
    Error,
}

impl SubtestVerdict {
    /// Every verdict.
    pub const ALL: [Self; 6] = [Self::Pass, Self::Fail, Self::Skip, Self::Xfail, Self::Todo, Self::Error];

    /// As written in results.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Skip => "skip",
            Self::Xfail => "xfail",
            Self::Todo => "todo",
            Self::Error => "error",
        }
    }
}

/// How many cases ended how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SubtestCounts {
    /// [`SubtestVerdict::Pass`].
    pub pass: usize,
    /// [`SubtestVerdict::Fail`].
    pub fail: usize,
    /// [`SubtestVerdict::Skip`].
    pub skip: usize,
    /// [`SubtestVerdict::Xfail`] and [`SubtestVerdict::Todo`].
    pub expected: usize,
    /// [`SubtestVerdict::Error`].
    pub error: usize,
}

impl SubtestCounts {
    /// Counts verdicts.
    pub fn of(verdicts: impl IntoIterator<Item = SubtestVerdict>) -> Self {
        let mut counts = Self::default();
        for verdict in verdicts {
            *match verdict {
                SubtestVerdict::Pass => &mut counts.pass,
                SubtestVerdict::Fail => &mut counts.fail,
                SubtestVerdict::Skip => &mut counts.skip,
                SubtestVerdict::Xfail | SubtestVerdict::Todo => &mut counts.expected,
                SubtestVerdict::Error => &mut counts.error,
            } += 1;
        }
        counts
    }

    /// All of them.
    #[must_use]
    pub fn total(self) -> usize {
        self.pass + self.fail + self.skip + self.expected + self.error
    }

    /// `7 subtests: 5 passed, 1 failed, 1 skipped`; those that are 0 are left out.
    #[must_use]
    pub fn text(self) -> String {
        let parts = [
            (self.pass, "passed"),
            (self.fail, "failed"),
            (self.error, "in error"),
            (self.skip, "skipped"),
            (self.expected, "xfail"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        let total = self.total();
        format!("{total} subtest{}: {}", if total == 1 { "" } else { "s" }, parts.join(", "))
    }
}
