//! What the user named: a range of commits, or patches in files. Pure.

use std::fmt;
use std::path::{Path, PathBuf};

use super::error::SeriesError;

/// What a series is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The commits that are in one revision and not in the other.
    Range(Range),
    /// A file of mails, or a directory with such files.
    Mails(PathBuf),
}

/// `BASE..TIP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    /// Anything that `git rev-parse` takes.
    pub base: String,
    /// The same.
    pub tip: String,
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.base, self.tip)
    }
}

impl Asked {
    /// Reads a word of the command line. What `exists` is a path, and so is what
    /// looks like one; of a range a side that is left out is `HEAD`, as for git.
    ///
    /// # Errors
    ///
    /// Fails for what is neither.
    pub fn parse(word: &str, exists: impl Fn(&Path) -> bool) -> Result<Self, SeriesError> {
        let path = Path::new(word);
        // No revision begins like these, but `../x.mbox` has two dots.
        let is_path = ["/", "./", "../", "~/"].iter().any(|start| word.starts_with(start));
        if is_path || exists(path) {
            return Ok(Self::Mails(path.to_owned()));
        }
        let Some((base, tip)) = word.split_once("..") else {
            return Err(SeriesError::NeitherRangeNorFile { word: word.to_owned() });
        };
        let or_head = |side: &str| if side.is_empty() { "HEAD".to_owned() } else { side.to_owned() };
        if let Some(tip) = tip.strip_prefix('.') {
            let meant = Range { base: or_head(base), tip: or_head(tip) };
            return Err(SeriesError::ThreeDots { word: word.to_owned(), meant });
        }
        // Git would take it for an option, or the other way round for a range of its own.
        if [base, tip].iter().any(|side| side.starts_with('-') || side.contains("..")) {
            return Err(SeriesError::NeitherRangeNorFile { word: word.to_owned() });
        }
        if base.is_empty() && tip.is_empty() {
            return Err(SeriesError::NeitherRangeNorFile { word: word.to_owned() });
        }
        Ok(Self::Range(Range { base: or_head(base), tip: or_head(tip) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(word: &str) -> Result<Asked, String> {
        let there = |path: &Path| path == Path::new("v2..final.mbox");
        Asked::parse(word, there).map_err(|error| error.to_string())
    }

    fn range(base: &str, tip: &str) -> Result<Asked, String> {
        Ok(Asked::Range(Range { base: base.to_owned(), tip: tip.to_owned() }))
    }

    #[test]
    fn two_revisions_are_a_range() {
        assert_eq!(parse("net-next/main..my-topic"), range("net-next/main", "my-topic"));
        assert_eq!(parse("HEAD~3.."), range("HEAD~3", "HEAD"));
        assert_eq!(parse("..topic"), range("HEAD", "topic"));
    }

    #[test]
    fn what_exists_or_looks_like_a_path_is_one() {
        for word in ["v2..final.mbox", "../series.mbox", "./a..b", "/tmp/x", "~/x"] {
            assert_eq!(parse(word), Ok(Asked::Mails(word.into())));
        }
    }

    #[test]
    fn what_is_neither_is_told_what_to_write() {
        insta::assert_snapshot!(parse("my-topic").expect_err("a branch"), @r"
        `my-topic` is neither a range of commits nor a file
        hint: a range is `BASE..my-topic`; patches are a mbox, a `.patch` file, or a directory of `git format-patch`
        ");
        insta::assert_snapshot!(parse("main...topic").expect_err("three dots"), @r"
        `main...topic` is no range that has a base: three dots mean the commits of both sides
        hint: write `main..topic`
        ");
        for word in ["", "..", "a..b..c", "--all..x", "x..--all"] {
            let error = parse(word).expect_err("neither");
            assert!(error.starts_with(&format!("`{word}` is neither ")), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_word_is_something_or_told_what_it_lacks(word in any::<String>()) {
            match Asked::parse(&word, |_| false) {
                Ok(Asked::Range(range)) => {
                    prop_assert!(!range.base.is_empty() && !range.tip.is_empty());
                    prop_assert!(!range.base.starts_with('-') && !range.tip.starts_with('-'));
                }
                Ok(Asked::Mails(path)) => prop_assert_eq!(path, PathBuf::from(word)),
                Err(error) => prop_assert!(error.to_string().contains("\nhint: ")),
            }
        }
    }
}
