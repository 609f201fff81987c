//! Whether everything that was asked for survived `olddefconfig`, and why not.
//!
//! What survived is decided by comparing the requests with `.config`, and by
//! nothing else; the tree is consulted to tell unknown symbols from lost ones and
//! to explain. Nothing is asked for in vain without being reported.

mod explain;
mod plan;
#[cfg(test)]
mod tests;

use std::fmt;

pub use explain::Cause;

use super::dotconfig::{DotConfig, Header};
use super::merge::{Merged, Origin, Override, Want};
use super::tree::{KconfigTree, TreeError};
use super::value::{ConfigValue, Symbol};
use explain::View;

/// What becomes of a symbol that is asked for, is not optional, and that the
/// tree does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lacking {
    /// It is lost, and the gate says so.
    Refused,
    /// It is treated as if it were optional: for trees of long ago, of which
    /// nobody chose the fragments.
    Recorded,
}

/// What a configuration that passed the gate should be remembered for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GateReport {
    /// How many symbols came out as asked.
    pub kept: usize,
    /// Symbols that this kernel does not know and that it may lack, sorted.
    pub absent: Vec<Absent>,
    /// Symbols that are off as asked, but perhaps only because they do not exist:
    /// the tree that could tell cannot be read. In words.
    pub unverified: Option<String>,
}

impl GateReport {
    /// What had to be asked for to get this report: the same comes of the
    /// stricter question where nothing was lacking that it would refuse.
    #[must_use]
    pub fn needs(&self) -> Lacking {
        let lacks = self.absent.iter().any(|absent| absent.why == Excuse::Lacking);
        if lacks { Lacking::Recorded } else { Lacking::Refused }
    }
}

/// Why a kernel may lack a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Excuse {
    /// Its fragment says so, in these words.
    Optional(String),
    /// Whoever asked for the kernel takes it as it is.
    Lacking,
}

impl fmt::Display for Excuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Optional(why) => f.write_str(why),
            Self::Lacking => f.write_str("lacking in this revision"),
        }
    }
}

/// A symbol that a kernel does not know and may lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Which.
    pub symbol: Symbol,
    /// Why it may.
    pub why: Excuse,
    /// Where it was asked for.
    pub origin: Origin,
}

/// A symbol that did not come out as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which.
    pub symbol: Symbol,
    /// The value asked for.
    pub asked: ConfigValue,
    /// The value in the resolved configuration.
    pub got: Option<ConfigValue>,
    /// Where it was asked for.
    pub origin: Origin,
    /// What earlier fragments asked for.
    pub overridden: Vec<Override>,
    /// Why; none where the tree that could tell cannot be read.
    pub cause: Option<Cause>,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let got = self.got.as_ref().unwrap_or(&ConfigValue::No);
        write!(f, "{}: asked {}, got {got}", self.symbol, self.asked)?;
        if let Some(cause) = &self.cause {
            write!(f, "; {cause}")?;
        }
        write!(f, " ({}", self.origin)?;
        for earlier in &self.overridden {
            write!(f, ", overriding {} of {}", earlier.value, earlier.origin)?;
        }
        f.write_str(")")?;
        match &self.hint {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Why a configuration does not pass.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Symbols did not come out as asked.
    #[error("{}", listing(problems, kernel.as_ref()))]
    Lost {
        /// The kernel, as far as its configuration tells.
        kernel: Option<Header>,
        /// All of them, sorted by symbol.
        problems: Vec<Problem>,
    },
    /// Symbols did not come out as asked, and the tree that could tell why cannot be read.
    #[error("{}\nwhy is not known: {source}", listing(problems, kernel.as_ref()))]
    Unexplained {
        /// The kernel, as far as its configuration tells.
        kernel: Option<Header>,
        /// All of them, sorted by symbol.
        problems: Vec<Problem>,
        /// What is wrong with the tree.
        source: Box<TreeError>,
    },
}

impl GateError {
    /// Every symbol that did not come out as asked, sorted.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        match self {
            Self::Lost { problems, .. } | Self::Unexplained { problems, .. } => problems,
        }
    }
}

fn listing(problems: &[Problem], kernel: Option<&Header>) -> String {
    let kernel = kernel.map_or_else(
        || "this kernel".to_owned(),
        |header| format!("Linux {} ({})", header.version, header.arch),
    );
    let symbols = if problems.len() == 1 { "symbol" } else { "symbols" };
    let mut text = format!("{} {symbols} did not come out as asked from {kernel}:", problems.len());
    for problem in problems {
        text.push_str("\n  ");
        text.push_str(&problem.to_string().replace('\n', "\n    "));
    }
    text
}

/// Checks a resolved configuration against what was asked for. The tree is only
/// asked for when there is something to explain or to tell apart.
///
/// # Errors
///
/// Fails when a symbol did not come out as asked, with all that did not.
pub fn gate(
    merged: &Merged,
    resolved: &DotConfig,
    lacking: Lacking,
    tree: impl FnOnce() -> Result<KconfigTree, TreeError>,
) -> Result<GateReport, GateError> {
    // Off and not even mentioned: invisible, or a typing error.
    let (doubtful, lost): (Vec<_>, Vec<_>) = merged
        .wants()
        .iter()
        .filter(|(symbol, want)| want.value == ConfigValue::No || !kept(symbol, want, resolved))
        .filter(|(symbol, want)| resolved.get(symbol.name()).is_none() || !kept(symbol, want, resolved))
        .partition(|(symbol, want)| kept(symbol, want, resolved));
    let mut report = GateReport { kept: merged.wants().len() - lost.len(), ..GateReport::default() };
    if doubtful.is_empty() && lost.is_empty() {
        return Ok(report);
    }
    let kernel = resolved.header().cloned();
    let tree = match tree() {
        Ok(tree) => tree,
        Err(source) if lost.is_empty() => {
            let names: Vec<_> = doubtful.iter().map(|(symbol, _)| format!("`{symbol}`")).collect();
            report.unverified = Some(format!(
                "cannot tell whether {} exist in this kernel or are misspelt: {source}",
                names.join(", ")
            ));
            return Ok(report);
        }
        Err(source) => {
            let problems = lost.iter().map(|(symbol, want)| problem(symbol, want, resolved, None)).collect();
            return Err(GateError::Unexplained { kernel, problems, source: Box::new(source) });
        }
    };
    let view = View { merged, config: resolved, tree: &tree };
    let mut problems = Vec::new();
    for (symbol, want) in doubtful.into_iter().chain(lost) {
        let kept = kept(symbol, want, resolved);
        let is_known = tree.knows(symbol.name());
        if is_known && kept {
            continue;
        }
        match excuse(want, lacking).filter(|_| !is_known) {
            Some(why) => {
                report.kept -= usize::from(kept);
                let (symbol, origin) = (symbol.clone(), want.origin.clone());
                report.absent.push(Absent { symbol, why, origin });
            }
            None => problems.push(problem(symbol, want, resolved, Some(&view))),
        }
    }
    report.absent.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    problems.sort_by(|a, b| a.symbol.cmp(&b.symbol));
    if problems.is_empty() { Ok(report) } else { Err(GateError::Lost { kernel, problems }) }
}

/// Why a kernel that does not know a symbol may lack it.
fn excuse(want: &Want, lacking: Lacking) -> Option<Excuse> {
    match (&want.optional, lacking) {
        (Some(why), _) => Some(Excuse::Optional(why.clone())),
        (None, Lacking::Recorded) => Some(Excuse::Lacking),
        (None, Lacking::Refused) => None,
    }
}

/// Whether a symbol has the value asked for. Off and absent are the same.
fn kept(symbol: &Symbol, want: &Want, resolved: &DotConfig) -> bool {
    resolved.get(symbol.name()).unwrap_or(&ConfigValue::No) == &want.value
}

fn problem(symbol: &Symbol, want: &Want, resolved: &DotConfig, view: Option<&View<'_>>) -> Problem {
    let (cause, hint) = match view {
        Some(view) => {
            let (cause, hint) = view.explain(symbol, want);
            (Some(cause), hint)
        }
        None => (None, None),
    };
    Problem {
        symbol: symbol.clone(),
        asked: want.value.clone(),
        got: resolved.get(symbol.name()).cloned(),
        origin: want.origin.clone(),
        overridden: want.overridden.clone(),
        cause,
        hint,
    }
}
