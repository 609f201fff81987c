//! Why a symbol did not come out as asked: what the tree says about it, evaluated
//! under the resolved configuration.

use std::fmt;

use super::super::dotconfig::DotConfig;
use super::super::merge::{Merged, Want};
use super::super::tree::{
    Definition, Expr, KconfigTree, Kind, Limits, Need, SymbolInfo, Term, Values, is_constant, number,
};
use super::super::value::{ConfigValue, Symbol, Tristate};

/// How many names a list in a message has before it says `and N more`. From
/// experience: more are not read.
const LISTED: usize = 5;

/// Why a symbol did not come out as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The tree defines no such symbol.
    Unknown,
    /// The value is of another type than the symbol.
    WrongKind {
        /// Type of the symbol: `bool`, `tristate`, `int`, `hex` or `string`.
        kind: &'static str,
    },
    /// A dependency of the symbol or of its prompt does not hold.
    Unmet {
        /// One sentence for each term that fails; all of them must hold.
        needs: Vec<String>,
    },
    /// Users cannot set it; it is selected or computed.
    NoPrompt {
        /// Symbols that select it.
        selected_by: Vec<String>,
        /// Where it is defined, as `file:line`.
        place: String,
    },
    /// Other symbols turn it on.
    Selected {
        /// Those that do so in this configuration.
        by: Vec<String>,
    },
    /// Another member of its choice is on.
    Taken {
        /// That member.
        by: Symbol,
    },
    /// It is what is left of a choice.
    LastOfChoice,
    /// A number outside of the limits that the tree sets.
    OutOfRange {
        /// The least value, as the tree has it.
        low: String,
        /// The greatest value, as the tree has it.
        high: String,
    },
    /// Asked for as a module of a kernel without modules.
    NoModules,
    /// Nothing that we understand of the tree explains it.
    Unexplained {
        /// Where it is defined, as `file:line`.
        place: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("unknown to this kernel"),
            Self::WrongKind { kind } => write!(f, "its type is {kind}"),
            Self::Unmet { needs } => f.write_str(&needs.join("; ")),
            Self::NoPrompt { selected_by, place } if selected_by.is_empty() => {
                write!(f, "has no prompt and nothing selects it: computed at {place}")
            }
            Self::NoPrompt { selected_by, .. } => {
                write!(f, "has no prompt; selected only by {}", list(selected_by, "or"))
            }
            Self::Selected { by } => write!(f, "selected by {}", list(by, "and")),
            Self::Taken { by } => write!(f, "{} of the same choice is y", by.name()),
            Self::LastOfChoice => f.write_str("one member of its choice has to be y"),
            Self::OutOfRange { low, high } => write!(f, "its range is {low} to {high}"),
            Self::NoModules => f.write_str("this kernel has no modules"),
            Self::Unexplained { place } => write!(f, "no reason found in its definition at {place}"),
        }
    }
}

/// `A, B or C`; long lists are cut.
fn list(names: &[String], last: &str) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        _ if names.len() > LISTED => {
            format!("{} and {} more", names[..LISTED].join(", "), names.len() - LISTED)
        }
        [first @ .., end] => format!("{} {last} {end}", first.join(", ")),
    }
}

/// The line that turns a symbol off.
fn name_off(name: &str) -> String {
    format!("# CONFIG_{name} is not set")
}

fn drop_it() -> String {
    "drop the line: its value follows from other symbols".to_owned()
}

/// A tree under a configuration.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) merged: &'a Merged,
    pub(super) config: &'a DotConfig,
    pub(super) tree: &'a KconfigTree,
}

impl Values for View<'_> {
    fn tristate(&self, symbol: &str) -> Tristate {
        if self.tree.knows(symbol) { self.config.tristate(symbol) } else { Tristate::No }
    }

    fn text(&self, symbol: &str) -> String {
        let Some(info) = self.tree.symbol(symbol) else { return symbol.to_owned() };
        match self.config.get(symbol) {
            Some(ConfigValue::Text(text)) => text.clone(),
            Some(value) => value.to_string(),
            None if matches!(info.kind, Some(Kind::Int | Kind::Hex | Kind::Text)) => String::new(),
            None => Tristate::No.to_string(),
        }
    }

    fn modules(&self) -> Tristate {
        self.config.tristate(self.tree.modules())
    }
}

/// The value that dependencies of a symbol must have for it to get a value. Only
/// a tristate tells m from y.
pub(super) fn needed(kind: Option<Kind>, value: &ConfigValue) -> Tristate {
    match (kind, value) {
        (Some(Kind::Tristate), ConfigValue::Yes) => Tristate::Yes,
        _ => Tristate::Module,
    }
}

impl View<'_> {
    /// Why a symbol did not come out as asked, and what to do about it.
    pub(super) fn explain(&self, symbol: &Symbol, want: &Want) -> (Cause, Option<String>) {
        let Some(info) = self.tree.symbol(symbol.name()) else {
            return (Cause::Unknown, Some(self.unknown_hint(symbol)));
        };
        if let Some((cause, hint)) = self.wrong_kind(info, want) {
            return (cause, Some(hint));
        }
        let got = self.config.get(symbol.name()).unwrap_or(&ConfigValue::No);
        match (want.value.tristate(), got.tristate()) {
            (Some(asked), Some(got)) if got > asked => self.too_much(symbol, info, want),
            _ => self.too_little(symbol, info, want),
        }
    }

    fn unknown_hint(&self, symbol: &Symbol) -> String {
        let optional = "if only some kernels have it, begin its reason with `optional: since VERSION;`";
        match self.tree.nearest(symbol.name()) {
            Some(nearest) => format!("is it `{nearest}`? {optional}"),
            None => format!("check the spelling; {optional}"),
        }
    }

    fn wrong_kind(&self, info: &SymbolInfo, want: &Want) -> Option<(Cause, String)> {
        let kind = info.kind?;
        let hint = match (kind, &want.value) {
            (Kind::Bool, ConfigValue::Module) => "ask for y or `is not set`: it cannot be a module",
            (
                Kind::Bool | Kind::Tristate,
                ConfigValue::Text(_) | ConfigValue::Number(_) | ConfigValue::Hex(_),
            ) => "ask for y, m or `is not set`",
            (Kind::Int, ConfigValue::Number(_))
            | (Kind::Hex, ConfigValue::Hex(_))
            | (Kind::Text, ConfigValue::Text(_))
            | (Kind::Bool | Kind::Tristate, _) => return None,
            (Kind::Int, _) => "ask for a decimal number",
            (Kind::Hex, _) => "ask for a number that begins with 0x",
            (Kind::Text, _) => "ask for a string in double quotes",
        };
        Some((Cause::WrongKind { kind: kind.name() }, hint.to_owned()))
    }

    /// On although it was asked to be off, or y instead of m.
    fn too_much(&self, symbol: &Symbol, info: &SymbolInfo, want: &Want) -> (Cause, Option<String>) {
        let selectors = self.selectors(info, want.value.tristate().unwrap_or(Tristate::No));
        if !selectors.is_empty() {
            let hint = self.selected_hint(symbol, &selectors);
            return (Cause::Selected { by: selectors }, Some(hint));
        }
        if want.value == ConfigValue::Module && self.modules() == Tristate::No {
            return self.no_modules();
        }
        let Some(definition) = self.best(info, Tristate::Module) else {
            let place = self.first_place(info);
            return (Cause::NoPrompt { selected_by: Vec::new(), place }, Some(drop_it()));
        };
        let needs = self.unmet(definition, Tristate::Module);
        if !needs.is_empty() {
            return (Cause::Unmet { needs }, self.remedy(symbol, Tristate::Module));
        }
        if definition.choice.is_some() {
            return (Cause::LastOfChoice, Some("ask for another member of the choice".to_owned()));
        }
        self.unexplained(definition)
    }

    /// Off, or another value than the one asked for.
    fn too_little(&self, symbol: &Symbol, info: &SymbolInfo, want: &Want) -> (Cause, Option<String>) {
        let level = needed(info.kind, &want.value);
        let Some(definition) = self.best(info, level) else {
            let mut selected_by: Vec<_> = info.selected_by.iter().map(|select| select.by.clone()).collect();
            selected_by.sort();
            selected_by.dedup();
            let place = self.first_place(info);
            let remedy = self.remedy(symbol, level).or_else(|| selected_by.is_empty().then(drop_it));
            return (Cause::NoPrompt { selected_by, place }, remedy);
        };
        let needs = self.unmet(definition, level);
        if !needs.is_empty() {
            return (Cause::Unmet { needs }, self.remedy(symbol, level));
        }
        if want.value == ConfigValue::Module && self.modules() == Tristate::No {
            return self.no_modules();
        }
        if let Some(by) = self.chosen(symbol, definition) {
            let hint = self.chosen_hint(&by);
            return (Cause::Taken { by }, Some(hint));
        }
        if let Some(limits) = self.exceeded(info, &want.value) {
            let (low, high) = (self.shown(&limits.low), self.shown(&limits.high));
            return (Cause::OutOfRange { low, high }, Some("ask for a value within its range".to_owned()));
        }
        self.unexplained(definition)
    }

    fn unexplained(&self, definition: &Definition) -> (Cause, Option<String>) {
        let hint = "was the configuration resolved from these very fragments?".to_owned();
        (Cause::Unexplained { place: self.tree.place(definition.place) }, Some(hint))
    }

    fn no_modules(&self) -> (Cause, Option<String>) {
        let hint = format!("ask for y, or add `CONFIG_{}=y`", self.tree.modules());
        (Cause::NoModules, Some(hint))
    }

    /// The definition with a prompt that the fewest terms keep invisible.
    fn best<'a>(&self, info: &'a SymbolInfo, level: Tristate) -> Option<&'a Definition> {
        info.definitions
            .iter()
            .filter(|definition| definition.prompt.is_some())
            .min_by_key(|definition| self.unmet(definition, level).len())
    }

    fn first_place(&self, info: &SymbolInfo) -> String {
        info.definitions.first().map_or_else(String::new, |definition| self.tree.place(definition.place))
    }

    /// A sentence for each term that keeps a definition below `level`. Terms that
    /// only the build can decide are named when no other fails.
    pub(super) fn unmet(&self, definition: &Definition, level: Tristate) -> Vec<String> {
        let short: Vec<_> = self
            .tree
            .conditions(definition)
            .map(|(need, expr)| (need, expr, expr.evaluate(self)))
            .filter(|(_, _, range)| range.low < level)
            .collect();
        let certain = short.iter().any(|(_, _, range)| range.high < level);
        let mut sentences: Vec<String> = Vec::new();
        for (need, expr, range) in short {
            if certain && range.high >= level {
                continue;
            }
            let sentence = self.sentence(need, expr, level, range.high < level);
            if !sentences.contains(&sentence) {
                sentences.push(sentence);
            }
        }
        sentences
    }

    fn sentence(&self, need: Need, expr: &Expr, level: Tristate, certain: bool) -> String {
        let verb = match need {
            Need::Depends => "depends on",
            Need::Visible => "can be set only if",
        };
        if !certain {
            return format!("{verb} {expr}, which only the build can tell");
        }
        if let Expr::Term(Term::Symbol(name)) = expr
            && !is_constant(name)
        {
            return format!("{verb} {name}, which is {}", self.state(name));
        }
        let mut terms = Vec::new();
        self.blame(expr, level, &mut terms);
        format!("{verb} {expr}, of which {}", list(&terms, "and"))
    }

    /// Terms that keep `expr` below `level`.
    fn blame(&self, expr: &Expr, level: Tristate, terms: &mut Vec<String>) {
        match expr {
            Expr::And(inner) => {
                inner
                    .iter()
                    .filter(|term| term.evaluate(self).high < level)
                    .for_each(|term| self.blame(term, level, terms));
            }
            Expr::Or(inner) => inner.iter().for_each(|term| self.blame(term, level, terms)),
            Expr::Not(inner) => self.credit(inner, terms),
            Expr::Term(_) | Expr::Compare(..) => self.name(expr, terms),
        }
    }

    /// Terms that keep `expr` above n.
    fn credit(&self, expr: &Expr, terms: &mut Vec<String>) {
        match expr {
            Expr::And(inner) => inner.iter().for_each(|term| self.credit(term, terms)),
            Expr::Or(inner) => {
                let holding = |term: &&Expr| term.evaluate(self).high > Tristate::No;
                inner.iter().filter(holding).for_each(|term| self.credit(term, terms));
            }
            Expr::Not(inner) => self.blame(inner, Tristate::Yes, terms),
            Expr::Term(_) | Expr::Compare(..) => self.name(expr, terms),
        }
    }

    /// Adds the values of what `expr` names.
    fn name(&self, expr: &Expr, terms: &mut Vec<String>) {
        for term in expr.terms() {
            let text = match term {
                Term::Symbol(name) if name == "m" => {
                    format!("{}={}", self.tree.modules(), self.modules())
                }
                Term::Symbol(name) => format!("{name}={}", self.state(name)),
                Term::Text(_) | Term::Macro(_) => continue,
            };
            if !terms.contains(&text) {
                terms.push(text);
            }
        }
    }

    /// Value of a symbol, for messages.
    fn state(&self, name: &str) -> String {
        match self.tree.symbol(name) {
            None => "n (unknown to this kernel)".to_owned(),
            Some(SymbolInfo { kind: Some(Kind::Text), .. }) => format!("\"{}\"", self.text(name)),
            Some(_) => self.text(name),
        }
    }

    /// Symbols that, as they stand, select this one above `level`.
    fn selectors(&self, info: &SymbolInfo, level: Tristate) -> Vec<String> {
        let active = |condition: &Option<Expr>| {
            condition.as_ref().map_or(Tristate::Yes, |condition| condition.evaluate(self).high)
        };
        let mut names: Vec<_> = info
            .selected_by
            .iter()
            .filter(|select| self.tristate(&select.by).min(active(&select.condition)) > level)
            .map(|select| select.by.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    }

    fn selected_hint(&self, symbol: &Symbol, selectors: &[String]) -> String {
        let asked = |name: &String| Some((name.clone(), self.merged.get(name)?));
        let asked: Vec<_> = selectors.iter().filter_map(asked).collect();
        match asked.iter().find(|(_, want)| want.value != ConfigValue::No).or(asked.first()) {
            Some((name, want)) if want.value == ConfigValue::No => {
                format!("it needs `{}` of {}, which is lost as well", name_off(name), want.origin)
            }
            Some((name, want)) => {
                format!("`CONFIG_{name}` is asked for at {}: drop one of the two requests", want.origin)
            }
            None => format!("turn off what selects it, or drop `{symbol}` from the fragment"),
        }
    }

    /// The member of the definition's choice that is on in place of `symbol`.
    fn chosen(&self, symbol: &Symbol, definition: &Definition) -> Option<Symbol> {
        self.tree
            .choice(definition.choice?)
            .iter()
            .find(|member| *member != symbol.name() && self.tristate(member) == Tristate::Yes)
            .and_then(|member| Symbol::new(member))
    }

    fn chosen_hint(&self, by: &Symbol) -> String {
        match self.merged.get(by.name()) {
            Some(want) => {
                format!("`{by}` is asked for at {}: override it with `{}`", want.origin, name_off(by.name()))
            }
            None => format!("add `{}`", name_off(by.name())),
        }
    }

    /// The limits in force, if `value` is outside of them.
    fn exceeded<'a>(&self, info: &'a SymbolInfo, value: &ConfigValue) -> Option<&'a Limits> {
        let value = match value {
            ConfigValue::Number(number) => i128::from(*number),
            ConfigValue::Hex(number) => i128::from(*number),
            _ => return None,
        };
        let limits = info.definitions.iter().flat_map(|definition| &definition.limits).find(|limits| {
            limits.condition.as_ref().is_none_or(|condition| condition.evaluate(self).low > Tristate::No)
        })?;
        let low = number(&self.shown(&limits.low))?;
        let high = number(&self.shown(&limits.high))?;
        (!(low..=high).contains(&value)).then_some(limits)
    }

    /// Value of a limit.
    fn shown(&self, term: &Term) -> String {
        match term {
            Term::Symbol(name) => self.text(name),
            Term::Text(text) | Term::Macro(text) => text.clone(),
        }
    }
}
