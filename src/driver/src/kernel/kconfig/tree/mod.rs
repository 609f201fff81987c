//! The kernel's `Kconfig` files, parsed as far as explanations need.
//!
//! The language is described in `Documentation/kbuild/kconfig-language.rst`. What
//! a symbol's value is, is never computed here: `.config` says so. Parsing is a
//! pure function of the files' text; only [`KconfigTree::load`] reads them.

mod expr;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub(super) use expr::{Comparison, Expr, Term, Values, is_constant, number};

use super::value::Symbol;

/// What a kernel tree says about its symbols.
#[derive(Debug, Clone, Default)]
pub struct KconfigTree {
    files: Vec<String>,
    symbols: HashMap<String, SymbolInfo>,
    scopes: Vec<Scope>,
    choices: Vec<Choice>,
    modules: Option<String>,
}

/// Why a tree's `Kconfig` files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}\nhint: is this a kernel tree, and complete?", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A file is not in the language, as far as we know it.
    #[error("{file}:{line}: {problem}")]
    Syntax {
        /// Relative to the tree.
        file: String,
        /// From 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
}

/// Everything known of one symbol.
#[derive(Debug, Clone, Default)]
pub(super) struct SymbolInfo {
    /// Its type, from whichever definition gives one.
    pub kind: Option<Kind>,
    /// Any of them can make it visible. Empty for a symbol that is only referred to.
    pub definitions: Vec<Definition>,
    /// Symbols that turn it on without asking.
    pub selected_by: Vec<Select>,
}

/// Type of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// n or y.
    Bool,
    /// n, m or y.
    Tristate,
    /// A decimal number.
    Int,
    /// A hexadecimal number.
    Hex,
    /// A string.
    Text,
}

impl Kind {
    /// As `Kconfig` files spell it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Tristate => "tristate",
            Self::Int => "int",
            Self::Hex => "hex",
            Self::Text => "string",
        }
    }
}

/// One `config` or `menuconfig` block.
#[derive(Debug, Clone)]
pub(super) struct Definition {
    /// Where it stands.
    pub place: Place,
    scope: usize,
    depends: Vec<Expr>,
    /// Users can set it, if the prompt is visible.
    pub prompt: Option<Prompt>,
    /// In order; the first whose condition holds counts.
    pub defaults: Vec<Default>,
    /// In order; the first whose condition holds counts.
    pub limits: Vec<Limits>,
    /// The choice that it is a member of.
    pub choice: Option<usize>,
}

/// The question that lets a user set a symbol.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    condition: Option<Expr>,
}

/// A value that a symbol has when nobody sets it.
#[derive(Debug, Clone)]
pub(super) struct Default {
    /// The value, which for logic may be any expression.
    pub value: Expr,
    /// When it applies.
    pub condition: Option<Expr>,
}

/// Least and greatest value of a number.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// The least.
    pub low: Term,
    /// The greatest.
    pub high: Term,
    /// When they apply.
    pub condition: Option<Expr>,
}

/// A `select` as seen from its target.
#[derive(Debug, Clone)]
pub(super) struct Select {
    /// The symbol that selects.
    pub by: String,
    /// When it does.
    pub condition: Option<Expr>,
}

/// Symbols of which one is y.
#[derive(Debug, Clone, Default)]
pub(super) struct Choice {
    /// In order.
    pub members: Vec<String>,
}

/// Conditions that everything in an `if`, `menu` or `choice` inherits.
#[derive(Debug, Clone, Default)]
struct Scope {
    parent: Option<usize>,
    conditions: Vec<(Need, Expr)>,
}

/// What an expression is a condition of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    /// Of having a value at all.
    Depends,
    /// Of being asked about.
    Visible,
}

/// Line of a file of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    file: usize,
    line: usize,
}

impl KconfigTree {
    /// Reads `Kconfig` of a kernel tree and everything that it sources, as for
    /// `make ARCH=<srcarch>`.
    ///
    /// # Errors
    ///
    /// Fails when a file is missing or cannot be parsed.
    pub fn load(source_dir: &Path, srcarch: &str) -> Result<Self, TreeError> {
        Self::parse(srcarch, |file| {
            let path = source_dir.join(file);
            match std::fs::read(&path) {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(source) => Err(TreeError::Read { path, source }),
            }
        })
    }

    /// Parses the file `Kconfig` and everything that it sources; `read` gives the
    /// text of a file by its path in the tree.
    ///
    /// # Errors
    ///
    /// Fails when `read` does and when a file cannot be parsed.
    pub fn parse(
        srcarch: &str,
        read: impl FnMut(&str) -> Result<String, TreeError>,
    ) -> Result<Self, TreeError> {
        parser::parse(srcarch, read)
    }

    /// Whether the tree defines a symbol, named without `CONFIG_`.
    #[must_use]
    pub fn knows(&self, symbol: &str) -> bool {
        self.symbols.get(symbol).is_some_and(|info| !info.definitions.is_empty())
    }

    /// How many symbols the tree defines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.symbols.values().filter(|info| !info.definitions.is_empty()).count()
    }

    /// Whether the tree defines no symbol at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The defined symbol whose name is nearest, if any is near.
    #[must_use]
    pub fn nearest(&self, symbol: &str) -> Option<Symbol> {
        let limit = (symbol.len() / 4).max(1);
        self.symbols
            .iter()
            .filter(|(name, info)| !info.definitions.is_empty() && name.len().abs_diff(symbol.len()) <= limit)
            .map(|(name, _)| (strsim::osa_distance(name, symbol), name))
            .filter(|(distance, _)| *distance <= limit)
            .min()
            .and_then(|(_, name)| Symbol::new(name))
    }

    /// A defined symbol.
    pub(super) fn symbol(&self, name: &str) -> Option<&SymbolInfo> {
        self.symbols.get(name).filter(|info| !info.definitions.is_empty())
    }

    /// Name of the symbol that turns modules on.
    pub(super) fn modules(&self) -> &str {
        self.modules.as_deref().unwrap_or("MODULES")
    }

    /// Members of a choice.
    pub(super) fn choice(&self, choice: usize) -> &[String] {
        self.choices.get(choice).map_or(&[], |choice| &choice.members)
    }

    /// Everything that a definition depends on, and that its prompt does, term by
    /// term: all of them must hold. Its own conditions come first, then those of
    /// what it stands in, from the inside out.
    pub(super) fn conditions<'a>(
        &'a self,
        definition: &'a Definition,
    ) -> impl Iterator<Item = (Need, &'a Expr)> {
        let own = definition.depends.iter().map(|expr| (Need::Depends, expr));
        let prompt = definition.prompt.iter().filter_map(|prompt| prompt.condition.as_ref());
        let scopes = std::iter::successors(self.scopes.get(definition.scope), |scope| {
            scope.parent.and_then(|parent| self.scopes.get(parent))
        });
        own.chain(prompt.map(|expr| (Need::Visible, expr)))
            .chain(scopes.flat_map(|scope| scope.conditions.iter().map(|(need, expr)| (*need, expr))))
            .flat_map(|(need, expr)| expr.conjuncts().iter().map(move |term| (need, term)))
    }

    /// A place as `file:line`.
    pub(super) fn place(&self, place: Place) -> String {
        format!("{}:{}", self.files.get(place.file).map_or("?", String::as_str), place.line)
    }
}
