//! What can be wrong with the configuration, in the words that the user reads.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::nearest::{hint, list};
use super::value::ValueError;

/// A place in a file of the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As the user would name it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Why there is no project to work with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or directory cannot be read.
    #[error("cannot read `{}`: {source}{}", path.display(), read_hint(source))]
    Read {
        /// Which one.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file has an ending that nobody would look for.
    #[error("`{}` is not read: only files named `*.yaml` are\nhint: rename it to `{}`",
            path.display(), path.with_extension("yaml").display())]
    Extension {
        /// The file.
        path: PathBuf,
    },
    /// A suite or fragment file has a name that cannot be used on a command line.
    #[error(
        "`{}` has a bad name: {} cannot name a {what}\n\
         hint: {}",
        path.display(), quoted(name), NAME_RULE
    )]
    FileName {
        /// The file.
        path: PathBuf,
        /// Its stem.
        name: String,
        /// What it would name.
        what: &'static str,
    },
    /// Something is wrong inside of a file.
    #[error("{place}: {problem}")]
    Content {
        /// Where.
        place: Place,
        /// What; in a box, for results carry it everywhere.
        problem: Box<Problem>,
    },
}

impl ConfigError {
    pub(super) fn content(place: Place, problem: Problem) -> Self {
        Self::Content { place, problem: Box::new(problem) }
    }
}

/// What the grammar of names is, for hints.
pub(super) const NAME_RULE: &str = "a name is made of letters, digits, `-`, `_` and `.`, \
     begins with a letter or digit and has 64 characters at most";

/// What is wrong inside of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Not YAML.
    #[error("not YAML: {message}{}", with_hint(hint))]
    Syntax {
        /// The parser's words.
        message: String,
        /// What to do, or nothing.
        hint: &'static str,
    },
    /// Not text.
    #[error("not UTF-8 text")]
    NotText,
    /// Nothing but comments.
    #[error("the file is empty\nhint: the least that it needs is `version: 1`")]
    Empty,
    /// The format of another version of kregress.
    #[error(
        "version {} of the format is not known\n\
         hint: this kregress reads `version: 1`",
        quoted(found)
    )]
    Version {
        /// As written.
        found: String,
    },
    /// A key that nobody reads.
    #[error("unknown key {}{}{}", quoted(key), within_text(within), hint(key, "keys", known))]
    UnknownKey {
        /// As written.
        key: String,
        /// Path of the mapping; empty for the top level.
        within: String,
        /// Keys that are read there.
        known: Vec<String>,
    },
    /// A key that must be there.
    #[error("missing key `{key}`{}{}", within_text(within), with_hint(&example(key)))]
    MissingKey {
        /// Its name.
        key: String,
        /// Path of the mapping; empty for the top level.
        within: String,
    },
    /// A key given twice; YAML lets the last one win in silence.
    #[error("key {}{} is given twice, first on line {first}", quoted(key), within_text(within))]
    DuplicateKey {
        /// As written.
        key: String,
        /// Path of the mapping; empty for the top level.
        within: String,
        /// Line of the first one.
        first: usize,
    },
    /// A key with nothing behind it, which would count as absent.
    #[error(
        "{} has no value\n\
         hint: give it a value or remove it; YAML takes a bare `~` for no value, quote it: `\"~\"`",
        quoted(path)
    )]
    NoValue {
        /// Path of the key.
        path: String,
    },
    /// A list where a word is due, and the like.
    #[error("{}{}", path_prefix(path), clipped(message))]
    WrongType {
        /// Path of the value; empty for the whole file.
        path: String,
        /// What is there and what is expected.
        message: String,
    },
    /// A word that is none of a fixed choice.
    #[error("unknown word {} for {}{}", quoted(word), quoted(path), hint(word, "words", known))]
    UnknownWord {
        /// As written.
        word: String,
        /// Path of the value.
        path: String,
        /// The choice.
        known: Vec<String>,
    },
    /// A machine, size or duration that cannot be.
    #[error("{}{error}", path_prefix(path))]
    Value {
        /// Path of the value.
        path: String,
        /// What is wrong.
        error: ValueError,
    },
    /// A name that cannot be used on a command line.
    #[error("{} cannot name a {what}\nhint: {}", quoted(name), NAME_RULE)]
    Name {
        /// What it would name.
        what: &'static str,
        /// As written.
        name: String,
    },
    /// A name of something that does not exist.
    #[error(
        "unknown {what} {}{}{}",
        quoted(name), owner_text(owner), hint(name, &plural(what), known)
    )]
    Unknown {
        /// What it would be, singular.
        what: &'static str,
        /// As written.
        name: String,
        /// Whose it would be: `workload `netns/drain``; empty for nobody's.
        owner: String,
        /// Those that exist.
        known: Vec<String>,
    },
    /// The same thing twice in a list.
    #[error("{what} {} is listed twice, first on line {first}", quoted(name))]
    Repeated {
        /// What it is.
        what: &'static str,
        /// As written.
        name: String,
        /// Line of the first one.
        first: usize,
    },
    /// Two tests of the same name, made by one matrix.
    #[error("the matrix makes test {} twice: `{param}` has this value on line {first} already", quoted(test))]
    RepeatedTest {
        /// Name of both.
        test: String,
        /// The parameter with the same value twice.
        param: &'static str,
        /// Line of the first value.
        first: usize,
    },
    /// A list or mapping without entries.
    #[error("{} is empty{}", quoted(path), with_hint(hint))]
    NothingIn {
        /// Path of the collection.
        path: String,
        /// What to do.
        hint: &'static str,
    },
    /// A kernel from nowhere.
    #[error(
        "kernel {} has no source\nhint: give it one of `git`, `directory`, `tarball`, `image`, `deb`",
        quoted(kernel)
    )]
    NoSource {
        /// Name of the entry.
        kernel: String,
    },
    /// A kernel from two places.
    #[error(
        "kernel {} has more than one source: {}\nhint: keep one; a second source is a second entry",
        quoted(kernel),
        list(found)
    )]
    ManySources {
        /// Name of the entry.
        kernel: String,
        /// Keys found.
        found: Vec<String>,
    },
    /// A key that says nothing about this kind of source.
    #[error("`{key}` goes with {needs} only, kernel {} is of kind `{kind}`", quoted(kernel))]
    Misplaced {
        /// Name of the entry.
        kernel: String,
        /// The key.
        key: &'static str,
        /// Kinds that it goes with, in backticks.
        needs: &'static str,
        /// Kind of the entry.
        kind: &'static str,
    },
    /// A kernel that would be `allnoconfig`.
    #[error(
        "kernel {} has neither fragments nor a `base-config`: `allnoconfig` alone does not boot\n\
         hint: write `fragments: [base]`",
        quoted(kernel)
    )]
    NoFragments {
        /// Name of the entry.
        kernel: String,
    },
    /// Several kernels and none of them the default.
    #[error(
        "missing key `default-kernel`: there are {} kernels\n\
         hint: name one of {}",
        known.len(), list(known)
    )]
    NoDefaultKernel {
        /// Names of the entries.
        known: Vec<String>,
    },
    /// A path that cannot be resolved.
    #[error("{}{error}", path_prefix(path))]
    Path {
        /// Path of the value.
        path: String,
        /// What is wrong.
        error: PathError,
    },
    /// Text that would garble a terminal or a command line.
    #[error("{}{} {reason}", path_prefix(path), quoted(text))]
    Text {
        /// Path of the value.
        path: String,
        /// As written.
        text: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// A value that the workload would not take.
    #[error(
        "parameter `{param}` of workload `{workload}` cannot be {}: {expected}{}",
        quoted(value),
        hint(value, "words", choices)
    )]
    Param {
        /// Name of the parameter.
        param: &'static str,
        /// Name of the workload.
        workload: &'static str,
        /// As written.
        value: String,
        /// What it takes.
        expected: String,
        /// The choice, if it is one.
        choices: Vec<String>,
    },
    /// A parameter that is fixed and varied.
    #[error(
        "parameter {} is in `matrix` and in `params` (line {first})\nhint: keep one of the two",
        quoted(param)
    )]
    FixedAndVaried {
        /// Name of the parameter.
        param: String,
        /// Line in `params`.
        first: usize,
    },
    /// A matrix that nobody could wait for.
    #[error(
        "the matrix makes {count} tests, the limit is {limit}\n\
         hint: fix a parameter in `params`, or list fewer values"
    )]
    MatrixTooBig {
        /// How many, as far as they can be counted.
        count: u64,
        /// At most.
        limit: u64,
    },
    /// Two keys of which there may be one.
    #[error("`{one}` and `{other}`{} exclude each other\nhint: keep one of the two", within_text(path))]
    Exclusive {
        /// Path of the mapping.
        path: String,
        /// One of them.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A metric declared otherwise than the workload does.
    #[error(
        "`{key}` of metric `{metric}` is `{written}` here, but workload `{workload}` reports it as `{declared}`\n\
         hint: write `{key}: {declared}` or leave it out"
    )]
    MetricDiffers {
        /// Which key.
        key: &'static str,
        /// Name of the metric.
        metric: &'static str,
        /// Name of the workload.
        workload: &'static str,
        /// Here.
        written: &'static str,
        /// There.
        declared: &'static str,
    },
}

/// Why a path cannot be resolved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No text.
    #[error("an empty path names nothing")]
    Empty,
    /// `~` without a home.
    #[error("cannot resolve {}: `HOME` is not set\nhint: write the path in full", quoted(.0))]
    NoHome(String),
    /// `~somebody`.
    #[error(
        "cannot resolve {}: only your own home, `~/`, is known\n\
         hint: write the path in full",
        quoted(.0)
    )]
    OtherHome(String),
    /// NUL bytes and the like.
    #[error("{} is no path: it holds control characters", quoted(.0))]
    Control(String),
    /// A pattern that is none.
    #[error("{} is no glob pattern: {reason}", quoted(text))]
    Pattern {
        /// As written.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A pattern below a directory whose name is not text.
    #[error(
        "cannot resolve {} below `{}`, which is not UTF-8\n\
         hint: write the path in full",
        quoted(text), directory.display()
    )]
    NotText {
        /// As written.
        text: String,
        /// Where it is below.
        directory: PathBuf,
    },
}

/// The user's text as messages show it: in backticks, control characters
/// escaped, the middle of long texts left out.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", clipped(text))
}

fn clipped(text: &str) -> String {
    const SHOWN: usize = 200;
    // Debug's idea of printable, which knows of marks that reverse a line; but
    // quotes and backslashes are harmless here.
    let escape = |c: char| match c {
        '"' | '\'' | '\\' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    let count = text.chars().count();
    if count <= SHOWN {
        return text.chars().map(escape).collect();
    }
    let head: String = text.chars().take(SHOWN / 2).map(escape).collect();
    let tail: String = text.chars().skip(count - SHOWN / 2).map(escape).collect();
    format!("{head} ... {tail}")
}

/// What a missing key looks like.
fn example(key: &str) -> String {
    let line = match key {
        "version" => "version: 1",
        "kernels" => "kernels: {linux: {git: ~/src/linux}}",
        "summary" => "summary: what these tests are about",
        "tests" => "tests: {drain: {workload: netns/drain, timeout: 30s}}",
        "workload" => "workload: netns/drain",
        "timeout" => "timeout: 30s",
        "name" => "name: drain_time",
        "finding" => "finding: \"WARNING: net/core/dev.c:* at dev_close\"",
        "reason" => "reason: fixed by abcdef, not yet in this tree",
        "expires" => "expires: 2027-01-31",
        _ => return String::new(),
    };
    format!("like this: `{line}`")
}

fn with_hint(hint: &impl AsRef<str>) -> String {
    let hint = hint.as_ref();
    if hint.is_empty() { String::new() } else { format!("\nhint: {hint}") }
}

fn within_text(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!(" in {}", quoted(path)) }
}

fn owner_text(owner: &str) -> String {
    if owner.is_empty() { String::new() } else { format!(" of {owner}") }
}

fn path_prefix(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{}: ", quoted(path)) }
}

fn plural(what: &str) -> String {
    format!("{what}s")
}

fn read_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound => {
            "\nhint: without `--config`, kregress looks for `kregress.yaml` here and above, \
             then takes its built-in one"
        }
        io::ErrorKind::IsADirectory => "\nhint: name the file, not its directory",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn control_characters_never_reach_the_terminal() {
        assert_eq!(quoted("a\u{1b}[2Jb\0\n\u{202e}"), r"`a\u{1b}[2Jb\0\n\u{202e}`");
        assert_eq!(quoted(r#"it's "C:\x" ä"#), r#"`it's "C:\x" ä`"#);
    }

    #[test]
    fn a_long_text_loses_its_middle() {
        let text = quoted(&"x".repeat(10_000));
        assert_eq!(text.len(), 207);
        assert!(text.contains("xx ... xx"), "{text}");
    }
}
