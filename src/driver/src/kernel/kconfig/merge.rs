//! Several fragments become one set of requests. Later fragments win, and what
//! they overrode is kept for messages.

use std::collections::BTreeMap;

use super::fragment::{Fragment, Request};
use super::value::{ConfigValue, Symbol};
use crate::model::FragmentName;

/// Where a request stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Its fragment.
    pub fragment: FragmentName,
    /// Line in the file, from 1.
    pub line: usize,
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "kconfigs/{}.config:{}", self.fragment, self.line)
    }
}

/// What is asked for, in the end, of one symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The value asked for.
    pub value: ConfigValue,
    /// What it is good for.
    pub reason: String,
    /// Why a kernel may lack the symbol, where it may.
    pub optional: Option<String>,
    /// The last fragment that asked.
    pub origin: Origin,
    /// Other values that earlier fragments asked for, in their order.
    pub overridden: Vec<Override>,
}

/// A request that a later fragment contradicted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// The value asked for.
    pub value: ConfigValue,
    /// Where.
    pub origin: Origin,
}

/// Why fragments do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// The same fragment more than once.
    #[error(
        "fragment `{fragment}` is listed twice\nhint: list it once, where its values should be overridden last"
    )]
    Twice {
        /// Which.
        fragment: FragmentName,
    },
}

/// Everything that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    wants: BTreeMap<Symbol, Want>,
}

/// Merges fragments in their order.
///
/// # Errors
///
/// Fails when a fragment is listed twice.
pub fn merge(fragments: &[Fragment]) -> Result<Merged, MergeError> {
    let mut seen = std::collections::BTreeSet::new();
    let mut merged = Merged::default();
    for fragment in fragments {
        if !seen.insert(&fragment.name) {
            return Err(MergeError::Twice { fragment: fragment.name.clone() });
        }
        for request in &fragment.requests {
            merged.ask(&fragment.name, request);
        }
    }
    Ok(merged)
}

impl Merged {
    fn ask(&mut self, fragment: &FragmentName, request: &Request) {
        let origin = Origin { fragment: fragment.clone(), line: request.line };
        let mut want = Want {
            value: request.value.clone(),
            reason: request.reason.clone(),
            optional: request.optional.clone(),
            origin,
            overridden: Vec::new(),
        };
        if let Some(earlier) = self.wants.remove(&request.symbol) {
            want.overridden = earlier.overridden;
            if earlier.value != want.value {
                want.overridden.push(Override { value: earlier.value, origin: earlier.origin });
            } else if earlier.optional.is_none() {
                // Someone cannot do without it.
                want.optional = None;
            }
        }
        self.wants.insert(request.symbol.clone(), want);
    }

    /// Everything asked for, by symbol.
    #[must_use]
    pub fn wants(&self) -> &BTreeMap<Symbol, Want> {
        &self.wants
    }

    /// What is asked of one symbol.
    #[must_use]
    pub fn get(&self, symbol: &str) -> Option<&Want> {
        self.wants.get(symbol)
    }

    /// A file for `KCONFIG_ALLCONFIG`, or to append to a base `.config`.
    #[must_use]
    pub fn to_allconfig(&self) -> String {
        self.wants.iter().map(|(symbol, want)| want.value.line(symbol) + "\n").collect()
    }

    /// What decides the kernel, for hashing: equal for equal requests, however
    /// they were spelt, ordered, split into fragments or reasoned.
    #[must_use]
    pub fn canonical(&self) -> String {
        self.wants.iter().map(|(symbol, want)| format!("{}={}\n", symbol.name(), want.value)).collect()
    }
}
