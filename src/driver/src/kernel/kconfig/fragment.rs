//! One file of `kconfigs/`: requests, each with its reason.
//!
//! The format is a subset of what `scripts/kconfig/merge_config.sh` takes, so that
//! a fragment works without us; `kconfigs/README.md` has the rules. Reading files
//! is the caller's.

use std::collections::BTreeMap;

use super::value::{BadValue, ConfigValue, Symbol, excerpt};
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
        let mut reader =
            Reader { requests: Vec::new(), lines: BTreeMap::new(), comments: Comments::None, head: true };
        let mut last = 0;
        for (index, line) in text.strip_suffix('\n').unwrap_or(text).split('\n').enumerate() {
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
    /// None.
    None,
    /// One: a reason, if a request follows.
    One(String),
    /// More than one.
    Many(String),
}

struct Reader {
    requests: Vec<Request>,
    /// Where each symbol was asked for first.
    lines: BTreeMap<Symbol, usize>,
    comments: Comments,
    /// Nothing but comments so far: they are about the file, if a blank line follows.
    head: bool,
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
            return Err(FragmentErrorKind::Malformed { text: excerpt(line) });
        };
        let comment = comment.trim();
        if comment.starts_with("CONFIG_") && comment.contains('=') {
            let symbol = comment.split('=').next().unwrap_or_default().trim();
            return Err(FragmentErrorKind::CommentedOut { text: excerpt(line), symbol: excerpt(symbol) });
        }
        if comment.starts_with("CONFIG_") && comment.contains("is not set") {
            return Err(FragmentErrorKind::Malformed { text: excerpt(line) });
        }
        if comment.starts_with("-- ") {
            return self.flush();
        }
        self.comments = match std::mem::replace(&mut self.comments, Comments::None) {
            Comments::None => Comments::One(comment.to_owned()),
            Comments::One(_) | Comments::Many(_) => Comments::Many(comment.to_owned()),
        };
        Ok(())
    }

    fn request(&mut self, line: usize, symbol: Symbol, value: ConfigValue) -> Result<(), FragmentErrorKind> {
        self.head = false;
        let reason = match std::mem::replace(&mut self.comments, Comments::None) {
            Comments::One(reason) if !reason.is_empty() => reason,
            Comments::Many(_) => return Err(FragmentErrorKind::LongReason { symbol }),
            Comments::None | Comments::One(_) => {
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
        let head = std::mem::replace(&mut self.head, false);
        match std::mem::replace(&mut self.comments, Comments::None) {
            Comments::None => Ok(()),
            Comments::One(_) | Comments::Many(_) if head => Ok(()),
            Comments::One(text) | Comments::Many(text) => {
                Err(FragmentErrorKind::Stray { text: excerpt(&text) })
            }
        }
    }
}

/// Reads a line that asks for a symbol; none if it is something else.
fn request(line: &str) -> Result<Option<(Symbol, ConfigValue)>, FragmentErrorKind> {
    let malformed = || FragmentErrorKind::Malformed { text: excerpt(line) };
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
            value: excerpt(value),
            problem: match problem {
                BadValue::Unknown => "no value of kconfig",
                BadValue::TooLarge => "a number of more than 64 bits",
                BadValue::Unterminated => "a string without its closing quote",
                BadValue::Trailing => "something stands behind the closing quote",
            },
        }),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Fragment, FragmentError> {
        Fragment::parse(FragmentName("links".to_owned()), text)
    }

    fn refused(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn a_request_has_a_symbol_a_value_and_a_reason() {
        let fragment = parse(
            "# What this file is for,\n# in two lines.\n\n# -- links -----\n# Two namespaces joined.\nCONFIG_VETH=y\n\n\
             # Not needed.\n# CONFIG_BLOCK is not set\n# Tables.\nCONFIG_NR_CPUS=64\n# Where.\nCONFIG_START=0x1000000\n\
             # Name.\nCONFIG_LOCALVERSION=\"-kregress\"\n",
        )
        .unwrap();
        let lines: Vec<_> = fragment
            .requests
            .iter()
            .map(|request| {
                format!("{}: {} ({})", request.line, request.value.line(&request.symbol), request.reason)
            })
            .collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
    6: CONFIG_VETH=y (Two namespaces joined.)
    9: # CONFIG_BLOCK is not set (Not needed.)
    11: CONFIG_NR_CPUS=64 (Tables.)
    13: CONFIG_START=0x1000000 (Where.)
    15: CONFIG_LOCALVERSION="-kregress" (Name.)
    "#);
    }

    #[test]
    fn a_file_may_be_empty_or_begin_with_a_request() {
        assert_eq!(parse("").unwrap().requests, []);
        assert_eq!(parse("# Only a head.\n").unwrap().requests, []);
        assert_eq!(parse("# Why.\nCONFIG_A=y").unwrap().requests.len(), 1);
    }

    #[test]
    fn an_optional_symbol_says_why_it_may_be_absent() {
        let optional = |reason: &str| {
            let request = parse(&format!("# {reason}\nCONFIG_NETKIT=y\n")).unwrap().requests.remove(0);
            (request.reason, request.optional)
        };
        assert_eq!(optional("optional: since 6.7; pairs."), ("pairs.".into(), Some("since 6.7".into())));
        assert_eq!(optional("optional: since 6.7"), ("since 6.7".into(), Some("since 6.7".into())));
        assert_eq!(optional("an optional: one"), ("an optional: one".into(), None));
    }

    #[test]
    fn a_section_is_no_reason() {
        insta::assert_snapshot!(refused("# -- links ---\nCONFIG_VETH=y\n"), @"
    kconfigs/links.config:2: `CONFIG_VETH` has no reason
    hint: put one comment line directly above it: what needs this symbol?
    ");
    }

    #[test]
    fn broken_rules_are_errors_with_line_and_hint() {
        let broken = [
            "CONFIG_VETH=y\n",
            "\n#\nCONFIG_VETH=y\n",
            "# Why.\nCONFIG_VETH=y\nCONFIG_DUMMY=y\n",
            "# Two\n# lines.\nCONFIG_VETH=y\n",
            "# Why.\n\nCONFIG_VETH=y\n",
            "\n# Nothing follows.\n\n",
            "\n# Nothing follows.\n",
            "\n# CONFIG_VETH=y\n",
            "# optional:\nCONFIG_VETH=y\n",
            "# optional: since 6.7;\nCONFIG_VETH=y\n",
            "# Why.\nCONFIG_VETH=y\n# Why.\n# CONFIG_VETH is not set\n",
            "# Why.\nCONFIG_VETH=n\n",
            "# Why.\nCONFIG_VETH=yes\n",
            "# Why.\nCONFIG_VETH=y # as a comment\n",
            "# Why.\nCONFIG_VETH=y \n",
            "# Why.\nCONFIG_VETH=y\r\n",
            "# Why.\nCONFIG_VETH=\n",
            "# Why.\nCONFIG_START=99999999999999999999\n",
            "# Why.\nCONFIG_NAME=\"abc\n",
            "# Why.\nCONFIG_NAME=\"abc\"def\n",
            "# Why.\n CONFIG_VETH=y\n",
            "# Why.\nCONFIG_VETH y\n",
            "# Why.\nCONFIG_VE-TH=y\n",
            "# Why.\nCONFIG_=y\n",
            "# Why.\n# CONFIG_VE TH is not set\n",
            "# Why.\n# CONFIG_VETH is not set.\n",
            "VETH=y\n",
        ];
        let errors: Vec<_> = broken.iter().map(|text| refused(text)).collect();
        insta::assert_snapshot!(errors.join("\n"), @r#"
    kconfigs/links.config:1: `CONFIG_VETH` has no reason
    hint: put one comment line directly above it: what needs this symbol?
    kconfigs/links.config:3: `CONFIG_VETH` has no reason
    hint: put one comment line directly above it: what needs this symbol?
    kconfigs/links.config:3: `CONFIG_DUMMY` has no reason
    hint: put one comment line directly above it: what needs this symbol?
    kconfigs/links.config:3: the reason of `CONFIG_VETH` has more than one line
    hint: keep the line directly above the symbol, drop the others
    kconfigs/links.config:3: `CONFIG_VETH` has no reason
    hint: put one comment line directly above it: what needs this symbol?
    kconfigs/links.config:3: the comment `Nothing follows.` belongs to no symbol
    hint: remove it, or make it a section: `# -- name ---`
    kconfigs/links.config:2: the comment `Nothing follows.` belongs to no symbol
    hint: remove it, or make it a section: `# -- name ---`
    kconfigs/links.config:2: `# CONFIG_VETH=y` is commented out
    hint: remove the line, or write `# CONFIG_VETH is not set` to turn it off
    kconfigs/links.config:2: `CONFIG_VETH` is optional without saying why
    hint: `# optional: since 6.7; what it is good for`
    kconfigs/links.config:2: `CONFIG_VETH` is optional without saying why
    hint: `# optional: since 6.7; what it is good for`
    kconfigs/links.config:4: `CONFIG_VETH` was asked for on line 2 already
    hint: keep one of the two
    kconfigs/links.config:2: `CONFIG_VETH=n` is not how a `.config` says no
    hint: write `# CONFIG_VETH is not set`
    kconfigs/links.config:2: `CONFIG_VETH=yes`: no value of kconfig
    hint: y, m, a number, 0x and hex digits, or a string in double quotes
    kconfigs/links.config:2: `CONFIG_VETH=y # as a comment`: no value of kconfig
    hint: y, m, a number, 0x and hex digits, or a string in double quotes
    kconfigs/links.config:2: `CONFIG_VETH=y `: no value of kconfig
    hint: y, m, a number, 0x and hex digits, or a string in double quotes
    kconfigs/links.config:2: `CONFIG_VETH=y\r`: no value of kconfig
    hint: y, m, a number, 0x and hex digits, or a string in double quotes
    kconfigs/links.config:2: `CONFIG_VETH=`: no value of kconfig
    hint: y, m, a number, 0x and hex digits, or a string in double quotes
    kconfigs/links.config:2: `CONFIG_START=99999999999999999999`: a number of more than 64 bits
    hint: y, m, a number, 0x and hex digits, or a string in double quotes
    kconfigs/links.config:2: `CONFIG_NAME="abc`: a string without its closing quote
    hint: y, m, a number, 0x and hex digits, or a string in double quotes
    kconfigs/links.config:2: `CONFIG_NAME="abc"def`: something stands behind the closing quote
    hint: y, m, a number, 0x and hex digits, or a string in double quotes
    kconfigs/links.config:2: cannot read ` CONFIG_VETH=y`
    hint: `CONFIG_NAME=value` or `# CONFIG_NAME is not set`, and nothing else on the line
    kconfigs/links.config:2: cannot read `CONFIG_VETH y`
    hint: `CONFIG_NAME=value` or `# CONFIG_NAME is not set`, and nothing else on the line
    kconfigs/links.config:2: cannot read `CONFIG_VE-TH=y`
    hint: `CONFIG_NAME=value` or `# CONFIG_NAME is not set`, and nothing else on the line
    kconfigs/links.config:2: cannot read `CONFIG_=y`
    hint: `CONFIG_NAME=value` or `# CONFIG_NAME is not set`, and nothing else on the line
    kconfigs/links.config:2: cannot read `# CONFIG_VE TH is not set`
    hint: `CONFIG_NAME=value` or `# CONFIG_NAME is not set`, and nothing else on the line
    kconfigs/links.config:2: cannot read `# CONFIG_VETH is not set.`
    hint: `CONFIG_NAME=value` or `# CONFIG_NAME is not set`, and nothing else on the line
    kconfigs/links.config:1: cannot read `VETH=y`
    hint: `CONFIG_NAME=value` or `# CONFIG_NAME is not set`, and nothing else on the line
    "#);
    }

    const LINES: &[&str] = &[
        "",
        "#",
        "# why",
        "# optional:",
        "# -- s ---",
        "CONFIG_A=y",
        "CONFIG_B=\"",
        "# CONFIG_C is not set",
        "CONFIG_",
    ];

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = parse(&text);
        }

        #[test]
        fn no_order_of_lines_makes_the_parser_panic(
            lines in proptest::collection::vec(proptest::sample::select(LINES), 0..12)
        ) {
            let text = lines.join("\n");
            match parse(&text) {
                Ok(fragment) => prop_assert_eq!(
                    fragment.requests.len(),
                    lines.iter().filter(|line| line.starts_with("CONFIG_") || line.ends_with("not set")).count()
                ),
                Err(error) => prop_assert!(error.line >= 1 && error.line <= lines.len()),
            }
        }
    }
}
