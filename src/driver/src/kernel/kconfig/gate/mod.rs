//! Whether everything that was asked for survived `olddefconfig`, and why not.

use super::dotconfig::DotConfig;
use super::merge::{Merged, Origin};
use super::tree::{KconfigTree, TreeError};
use super::value::{ConfigValue, Symbol};

/// What a configuration that passed the gate should be remembered for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GateReport {
    /// Symbols that came out as asked.
    pub kept: usize,
    /// Optional symbols that this kernel does not know.
    pub absent: Vec<Absent>,
}

/// An optional symbol that a kernel does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// Which.
    pub symbol: Symbol,
    /// What its fragment says about that.
    pub why: String,
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
}

/// Why a configuration does not pass.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// Symbols did not survive.
    #[error("{} symbols did not survive", problems.len())]
    Lost {
        /// All of them, sorted by symbol.
        problems: Vec<Problem>,
    },
    /// Symbols did not survive, and the tree that could tell why cannot be read.
    #[error("{} symbols did not survive; {source}", problems.len())]
    Unexplained {
        /// All of them, sorted by symbol.
        problems: Vec<Problem>,
        /// What is wrong with the tree.
        source: TreeError,
    },
}

/// Checks a resolved configuration against what was asked for. The tree is only
/// asked for when there is something to explain.
///
/// # Errors
///
/// Fails when a symbol did not come out as asked, with all that did not.
pub fn gate(
    merged: &Merged,
    resolved: &DotConfig,
    tree: impl FnOnce() -> Result<KconfigTree, TreeError>,
) -> Result<GateReport, GateError> {
    let problems: Vec<_> = merged
        .wants()
        .iter()
        .filter(|(symbol, want)| resolved.get(symbol.name()).unwrap_or(&ConfigValue::No) != &want.value)
        .map(|(symbol, want)| Problem {
            symbol: symbol.clone(),
            asked: want.value.clone(),
            got: resolved.get(symbol.name()).cloned(),
            origin: want.origin.clone(),
        })
        .collect();
    if problems.is_empty() {
        return Ok(GateReport { kept: merged.wants().len(), absent: Vec::new() });
    }
    match tree() {
        Ok(_) => Err(GateError::Lost { problems }),
        Err(source) => Err(GateError::Unexplained { problems, source }),
    }
}
