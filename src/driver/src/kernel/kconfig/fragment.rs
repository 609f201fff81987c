//! One file of `kconfigs/`: requests, each with its reason.
//!
//! The format is a subset of what `scripts/kconfig/merge_config.sh` takes, so that
//! a fragment works without us; `kconfigs/README.md` has the rules. Reading files
//! is the caller's.

use super::value::{BadValue, ConfigValue, Symbol};
use crate::model::FragmentName;

/// Prefix of a reason whose symbol some kernel versions do not know.
const OPTIONAL: &str = "optional:";

/// A fragment, read and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Stem of its file.
    pub name: FragmentName,
    /// In the order of the file.
    pub requests: Vec<Request>,
}

/// One symbol that a fragment asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Which.
    pub symbol: Symbol,
    /// The value asked for.
    pub value: ConfigValue,
    /// What it is good for.
    pub reason: String,
    /// Why a kernel may lack the symbol, where it may.
    pub optional: Option<String>,
    /// Line in the file, from 1.
    pub line: usize,
}

/// Why a fragment cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("kconfigs/{fragment}.config:{line}: {kind}")]
pub struct FragmentError {
    /// Which fragment.
    pub fragment: FragmentName,
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong there.
    pub kind: FragmentErrorKind,
}

/// What can be wrong with a line of a fragment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FragmentErrorKind {
    /// A request with nothing above it.
    #[error(
        "`{symbol}` has no reason\nhint: put one comment line directly above it: what needs this symbol?"
    )]
    NoReason {
        /// The symbol.
        symbol: Symbol,
    },
    /// A reason of several lines.
    #[error(
        "the reason of `{symbol}` has more than one line\nhint: keep the line directly above the symbol, drop the others"
    )]
    LongReason {
        /// The symbol.
        symbol: Symbol,
    },
    /// A comment that is neither head, nor section, nor reason.
    #[error(
        "the comment `{text}` belongs to no symbol\nhint: remove it, or make it a section: `# -- name ---`"
    )]
    Stray {
        /// The comment.
        text: String,
    },
    /// `# CONFIG_X=y`.
    #[error(
        "`{text}` is commented out\nhint: remove the line, or write `# {symbol} is not set` to turn it off"
    )]
    CommentedOut {
        /// The line.
        text: String,
        /// Its symbol.
        symbol: String,
    },
    /// `optional:` and nothing else.
    #[error("`{symbol}` is optional without saying why\nhint: `# optional: since 6.7; what it is good for`")]
    EmptyOptional {
        /// The symbol.
        symbol: Symbol,
    },
    /// Asked for twice in one file.
    #[error("`{symbol}` was asked for on line {first} already\nhint: keep one of the two")]
    Duplicate {
        /// The symbol.
        symbol: Symbol,
        /// Line of the first request.
        first: usize,
    },
    /// A value that kconfig would not take.
    #[error(
        "`{symbol}={value}`: {problem}\nhint: y, m, a number, 0x and hex digits, or a string in double quotes"
    )]
    BadValue {
        /// The symbol.
        symbol: Symbol,
        /// The text behind `=`.
        value: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// `CONFIG_X=n`.
    #[error("`{symbol}=n` is not how a `.config` says no\nhint: write `# {symbol} is not set`")]
    SpeltNo {
        /// The symbol.
        symbol: Symbol,
    },
    /// Something else.
    #[error(
        "cannot read `{text}`\nhint: `CONFIG_NAME=value` or `# CONFIG_NAME is not set`, and nothing else on the line"
    )]
    Malformed {
        /// The line.
        text: String,
    },
}

impl Fragment {
    /// Reads a fragment.
    ///
    /// # Errors
    ///
    /// Fails on the first line that breaks a rule of the format.
    pub fn parse(name: FragmentName, text: &str) -> Result<Self, FragmentError> {
        let mut reader = Reader {
            requests: Vec::new(),
            lines: std::collections::BTreeMap::new(),
            comments: Comments::Head,
        };
        let mut last = 0;
        for (index, line) in text.lines().enumerate() {
            last = index + 1;
            if let Err(kind) = reader.line(last, line) {
                return Err(FragmentError { fragment: name, line: last, kind });
            }
        }
        match reader.flush() {
            Ok(()) => Ok(Self { name, requests: reader.requests }),
            Err(kind) => Err(FragmentError { fragment: name, line: last, kind }),
        }
    }
}

/// Comments since the last line of another kind.
enum Comments {
    /// We are in the head of the file: comments up to the first blank line are free.
    Head,
    /// None.
    None,
    /// One: a reason, if a request follows.
    One(String),
    /// More than one.
    Many(String),
}

struct Reader {
    requests: Vec<Request>,
    lines: std::collections::BTreeMap<Symbol, usize>,
    comments: Comments,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) -> Result<(), FragmentErrorKind> {
        if line.is_empty() {
            return self.flush();
        }
        if let Some((symbol, value)) = request(line)? {
            return self.request(number, symbol, value);
        }
        let Some(comment) = line.strip_prefix('#') else {
            return Err(FragmentErrorKind::Malformed { text: line.to_owned() });
        };
        let comment = comment.trim();
        if comment.starts_with("CONFIG_") && comment.contains('=') {
            let symbol = comment.split('=').next().unwrap_or_default().trim().to_owned();
            return Err(FragmentErrorKind::CommentedOut { text: line.to_owned(), symbol });
        }
        if comment.starts_with("-- ") {
            return self.flush();
        }
        self.comments = match std::mem::replace(&mut self.comments, Comments::None) {
            Comments::Head => Comments::Head,
            Comments::None => Comments::One(comment.to_owned()),
            Comments::One(_) | Comments::Many(_) => Comments::Many(comment.to_owned()),
        };
        Ok(())
    }

    fn request(&mut self, line: usize, symbol: Symbol, value: ConfigValue) -> Result<(), FragmentErrorKind> {
        let reason = match std::mem::replace(&mut self.comments, Comments::None) {
            Comments::One(reason) if !reason.is_empty() => reason,
            Comments::Many(_) => return Err(FragmentErrorKind::LongReason { symbol }),
            Comments::Head | Comments::None | Comments::One(_) => {
                return Err(FragmentErrorKind::NoReason { symbol });
            }
        };
        if let Some(&first) = self.lines.get(&symbol) {
            return Err(FragmentErrorKind::Duplicate { symbol, first });
        }
        let (reason, optional) = match reason.strip_prefix(OPTIONAL) {
            None => (reason, None),
            Some(rest) => {
                let (why, what) = rest.split_once(';').unwrap_or((rest, rest));
                let (why, what) = (why.trim(), what.trim());
                if why.is_empty() || what.is_empty() {
                    return Err(FragmentErrorKind::EmptyOptional { symbol });
                }
                (what.to_owned(), Some(why.to_owned()))
            }
        };
        self.lines.insert(symbol.clone(), line);
        self.requests.push(Request { symbol, value, reason, optional, line });
        Ok(())
    }

    /// Ends a block of comments that no request followed.
    fn flush(&mut self) -> Result<(), FragmentErrorKind> {
        match std::mem::replace(&mut self.comments, Comments::None) {
            Comments::Head | Comments::None => Ok(()),
            Comments::One(text) | Comments::Many(text) => Err(FragmentErrorKind::Stray { text }),
        }
    }
}

/// Reads a line that asks for a symbol; none if it is something else.
fn request(line: &str) -> Result<Option<(Symbol, ConfigValue)>, FragmentErrorKind> {
    let malformed = || FragmentErrorKind::Malformed { text: line.to_owned() };
    if let Some(rest) = line.strip_prefix("# CONFIG_") {
        return match rest.strip_suffix(" is not set") {
            Some(name) => Ok(Some((Symbol::new(name).ok_or_else(malformed)?, ConfigValue::No))),
            None => Ok(None),
        };
    }
    let Some(rest) = line.strip_prefix("CONFIG_") else { return Ok(None) };
    let (name, value) = rest.split_once('=').ok_or_else(malformed)?;
    let symbol = Symbol::new(name).ok_or_else(malformed)?;
    match ConfigValue::parse(value) {
        Ok(ConfigValue::No) => Err(FragmentErrorKind::SpeltNo { symbol }),
        Ok(value) => Ok(Some((symbol, value))),
        Err(problem) => Err(FragmentErrorKind::BadValue {
            symbol,
            value: value.to_owned(),
            problem: match problem {
                BadValue::Unknown => "no value of kconfig",
                BadValue::TooLarge => "a number of more than 64 bits",
                BadValue::Unterminated => "a string without its closing quote",
                BadValue::Trailing => "something stands behind the closing quote",
            },
        }),
    }
}
