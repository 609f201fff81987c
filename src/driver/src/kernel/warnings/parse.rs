//! Reads warnings off the log of make, each for the target that was being made.
//! Pure.
//!
//! The log is expected to be in the C locale and grouped by target
//! (`make --output-sync=target`): what a tool says follows the line in which
//! kbuild names what it makes. Forms as gcc 12, clang 14, binutils 2.40, and
//! objtool, modpost and Kconfig of 6.1 and 6.12 write them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::Warning;
use crate::kernel::progress;
use crate::kernel::sources;

/// The target of what is said before anything is made: Kconfig's.
pub(super) const CONFIGURATION: &str = ".config";

/// A message longer than this is cut: it is not for people any more. Bytes.
const LONGEST: usize = 1000;

/// Every target that a log names, with what was said while it was made.
pub(super) type Made = BTreeMap<String, Vec<Warning>>;

/// Where source and objects lie, so that names do not depend on it.
#[derive(Debug, Clone)]
pub(super) struct Roots(Vec<String>);

impl Roots {
    /// Of the source and the build directory; make may follow links on the way to
    /// them.
    pub(super) fn new(source: &Path, build: &Path) -> Self {
        let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let roots = [source.to_owned(), real(source), build.to_owned(), real(build)];
        let mut roots: Vec<_> = roots.iter().map(|root| format!("{}/", root.display())).collect();
        // Of one inside of the other, the inner one counts.
        roots.sort_by_key(|root| std::cmp::Reverse(root.len()));
        roots.dedup();
        Self(roots)
    }

    fn relative(&self, path: &str) -> String {
        let inside = self.0.iter().find_map(|root| path.strip_prefix(root.as_str()));
        match inside {
            Some(inside) => sources::plain(inside).unwrap_or_else(|| inside.to_owned()),
            None => path.strip_prefix("./").unwrap_or(path).to_owned(),
        }
    }

    fn shorten(&self, message: &str) -> String {
        self.0.iter().fold(message.to_owned(), |text, root| text.replace(root, ""))
    }
}

/// Reads a log.
pub(super) fn parse(log: &str, roots: &Roots) -> Made {
    let mut made = Made::from([(CONFIGURATION.to_owned(), Vec::new())]);
    let mut target = CONFIGURATION.to_owned();
    let mut scope = None;
    for line in log.lines() {
        if line.starts_with("$ ") {
            (target, scope) = (CONFIGURATION.to_owned(), None);
        } else if let Some(step) = progress::step(line) {
            // `RUSTC L rust/core.o`.
            let name = step.target.rsplit(' ').next().unwrap_or(step.target);
            (target, scope) = (roots.relative(name), None);
            made.entry(target.clone()).or_default();
        } else if let Some(now) = scope_of(line) {
            scope = now;
        } else if let Some(said) = said(line) {
            let target = if said.is_about_configuration { CONFIGURATION } else { &target };
            let file = cut(&said.file.map_or_else(|| target.to_owned(), |file| roots.relative(file)));
            let (message, flag) = split_flag(said.message);
            let scope = said.function.map(|function| Scope { function, file: None }).or(scope);
            let source = scope.and_then(|scope| Some(cut(&roots.relative(scope.file?))));
            let warning = Warning {
                line: said.line,
                function: scope.map(|scope| cut(scope.function)),
                source: source.filter(|source| *source != file),
                message: cut(&roots.shorten(message)),
                flag: flag.map(cut),
                file,
            };
            let of_target = made.entry(target.to_owned()).or_default();
            if !of_target.contains(&warning) {
                of_target.push(warning);
            }
        }
    }
    made
}

/// The function in which what follows is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Scope<'a> {
    function: &'a str,
    /// Where the function is.
    file: Option<&'a str>,
}

/// Reads a line that says where what follows is: in a function, or (`Some(None)`)
/// in none. It holds until the next one: who says it once does not say it again.
///
/// `a.c: In function 'x':`, `In function 'x',`, `    inlined from 'y' at b.c:1:2:`,
/// ``ld: a.o: in function `x':``, `a.c: At top level:`.
fn scope_of(line: &str) -> Option<Option<Scope<'_>>> {
    if line.ends_with(": At top level:") {
        return Some(None);
    }
    // Of several that it was inlined into, the outermost comes last.
    if let Some(rest) = line.strip_prefix("    inlined from ") {
        let (function, place) = rest.split_once(" at ")?;
        let file = place_of(place.trim_end_matches([',', ':'])).map(|(file, _)| file);
        return Some(Some(Scope { function: unquoted(function), file }));
    }
    let (file, rest) = match line.strip_prefix("In function ") {
        Some(rest) => (None, rest),
        None => {
            let (file, rest) =
                line.split_once(": In function ").or_else(|| line.split_once(": in function "))?;
            (file.rsplit(": ").next(), rest)
        }
    };
    let function = unquoted(rest.strip_suffix(':').or_else(|| rest.strip_suffix(','))?);
    Some(Some(Scope { function, file }))
}

fn unquoted(name: &str) -> &str {
    name.trim_matches(['\'', '`', '"', '\u{2018}', '\u{2019}'])
}

/// A warning in the tool's words.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said<'a> {
    file: Option<&'a str>,
    line: Option<u64>,
    function: Option<&'a str>,
    message: &'a str,
    is_about_configuration: bool,
}

impl<'a> Said<'a> {
    fn new(file: Option<&'a str>, message: &'a str) -> Self {
        Self { file, line: None, function: None, message, is_about_configuration: false }
    }
}

/// Reads a line as a warning, `None` if it is none.
fn said(line: &str) -> Option<Said<'_>> {
    // What the compiler shows of the source.
    if line.starts_with(' ') {
        return None;
    }
    if let Some(message) = line.strip_prefix("WARNING: ") {
        return Some(capital(message));
    }
    if let Some(message) = line.strip_prefix("warning: ") {
        return Some(Said::new(None, message));
    }
    if let Some((place, message)) = line.split_once(":warning: ")
        && let Some((file, number)) = place_of(place)
    {
        let said = Said { line: Some(number), ..Said::new(Some(file), message) };
        return Some(Said { is_about_configuration: true, ..said });
    }
    let (place, message) = line.split_once(": warning: ").or_else(|| line.split_once(": Warning: "))?;
    if let Some(message) = message.strip_prefix("objtool: ") {
        return Some(objtool(place, message));
    }
    // What make warns of, as of clocks and jobs, is about the host.
    if place.starts_with("make") && !place.contains(['/', ':']) {
        return None;
    }
    // `ld: a.o: warning: x`.
    let place = place.rsplit(": ").next().unwrap_or(place);
    if let Some((file, number)) = place_of(place) {
        let file = (file != "{standard input}").then_some(file);
        return Some(Said { line: Some(number).filter(|_| file.is_some()), ..Said::new(file, message) });
    }
    if place.is_empty() || place.contains(' ') {
        return None;
    }
    // `net/core/dev.c:(.text+0x12): warning: x`.
    if let Some((file, _)) = place.split_once(":(") {
        return Some(Said::new(Some(file), message));
    }
    if place.ends_with(".o") || place.ends_with(".ko") || place.ends_with(".a") {
        return Some(Said::new(Some(place), message));
    }
    // A program: `ld: warning: a.o: missing .note.GNU-stack section`.
    Some(match message.split_once(": ") {
        Some((file, message)) if file.ends_with(".o") => Said::new(Some(file), message),
        _ => Said::new(None, message),
    })
}

/// Splits `FILE:LINE[:COLUMN]`.
fn place_of(place: &str) -> Option<(&str, u64)> {
    let (rest, last) = place.rsplit_once(':')?;
    let last = last.parse().ok()?;
    let (file, number) = match rest.rsplit_once(':').map(|(file, number)| (file, number.parse())) {
        Some((file, Ok(number))) => (file, number),
        _ => (rest, last),
    };
    (!file.is_empty() && !file.contains(": ")).then_some((file, number))
}

/// `netif_rx+0x1c: unreachable instruction`, `netif_rx()+0x1c: x`, `netif_rx() falls through`.
fn objtool<'a>(object: &'a str, message: &'a str) -> Said<'a> {
    let said = Said::new(Some(object), message);
    let end = message.find(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c)));
    let (name, rest) = message.split_at(end.unwrap_or(message.len()));
    let after = rest.strip_prefix("()").unwrap_or(rest);
    let offset = after.strip_prefix("+0x").and_then(|rest| rest.split_once(": "));
    match offset {
        Some((hex, message)) if hex.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Said { function: Some(name), message, ..said }
        }
        _ if after.len() < rest.len() && !name.is_empty() => {
            Said { function: Some(name), message: after.trim_start_matches([':', ' ']), ..said }
        }
        _ => said,
    }
}

/// `modpost: vmlinux: section mismatch in reference: x`, `modpost: missing
/// MODULE_LICENSE() in a.o`, `vmlinux.o(.text+0x12): Section mismatch in x`,
/// `unmet direct dependencies detected for FOO`.
fn capital(message: &str) -> Said<'_> {
    if message.starts_with("unmet direct dependencies") {
        return Said { is_about_configuration: true, ..Said::new(None, message) };
    }
    let message = message.strip_prefix("modpost: ").unwrap_or(message);
    match message.split_once(": ") {
        Some((file, rest)) if !file.contains(' ') => {
            Said::new(Some(file.split('(').next().unwrap_or(file)), rest)
        }
        _ => Said::new(None, message),
    }
}

/// Takes `[-Wunused-function]` off the end.
fn split_flag(message: &str) -> (&str, Option<&str>) {
    let flag = message.strip_suffix(']').and_then(|rest| rest.rsplit_once(" [-"));
    match flag {
        Some((rest, flag)) if !flag.contains([' ', ']']) => {
            (rest, message.get(rest.len() + 2..message.len() - 1))
        }
        _ => (message, None),
    }
}

/// Without control characters, and not longer than people read.
fn cut(text: &str) -> String {
    let text = text.trim();
    text[..text.floor_char_boundary(LONGEST)].chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
