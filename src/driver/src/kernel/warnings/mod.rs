//! What the tools of a build warn of, and which warnings of a kernel its parent
//! does not have: by identity, never by line and never by count.
//!
//! Builds are incremental, so the log of one says little: an object that make had
//! no reason to compile again has the warnings of its last compilation. They are
//! kept beside the build directory ([`Ledger`]), and with each kernel of the store
//! ([`Snapshot`]). Two snapshots are compared ([`compare`]); where they say too
//! little, kernels are made once more ([`warnings_added`]), never stored again.
//!
//! ```text
//! log -> parse -> Ledger -> Snapshot -> compare -> Added
//! ```

mod added;
mod compare;
mod identity;
mod ledger;
mod parse;
mod snapshot;

use std::fmt;

pub use added::{Added, warnings_added};
use compare::{Comparison, Side, compare};
use identity::Identity;
pub(super) use ledger::Ledger;
pub(super) use snapshot::{Snapshot, WARNINGS};

/// A warning of a compiler, the assembler, the linker, objtool, modpost or
/// Kconfig. Two are the same warning if they differ in nothing but `line`, and in
/// numbers of the message that are places.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Warning {
    /// Relative to the tree, or to the build directory for what is made there. The
    /// object where the tool names no file.
    pub file: String,
    /// From 1, where the tool names one: the place at the last compilation.
    pub line: Option<u64>,
    /// Where the tool names one. For code that was inlined: what it was inlined
    /// into.
    pub function: Option<String>,
    /// Where that function is, if not in `file`: a macro or an inline function of a
    /// header is warned of for everyone who uses it.
    pub source: Option<String>,
    /// In the tool's words, without control characters, cut where it is too long.
    pub message: String,
    /// What turns it on: `-Wunused-function`.
    pub flag: Option<String>,
}

impl fmt::Display for Warning {
    /// `net/8021q/vlan.c:412: in vlan_open(): unused variable 'x' [-Wunused-variable]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        f.write_str(": ")?;
        if let Some(function) = &self.function {
            write!(f, "in {function}()")?;
            if let Some(source) = &self.source {
                write!(f, " of {source}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        match &self.flag {
            Some(flag) => write!(f, " [{flag}]"),
            None => Ok(()),
        }
    }
}
