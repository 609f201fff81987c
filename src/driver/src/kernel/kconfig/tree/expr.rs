//! Expressions of the Kconfig language: their form, their text, and what they
//! come to under given values.
//!
//! What only a compiler or another tool of the build can tell, `$(cc-option,...)`
//! and the like, is never guessed: such a term may be anything, and every result
//! is the range of values that is left.

use std::cmp::Ordering;
use std::fmt;

use super::super::value::Tristate;

/// An expression. `And` and `Or` are flat: their terms are of another kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Expr {
    /// A single term.
    Term(Term),
    /// Two terms compared as kconfig does: as logic, as numbers or as text.
    Compare(Comparison, Term, Term),
    /// `!`.
    Not(Box<Expr>),
    /// `&&`.
    And(Vec<Expr>),
    /// `||`.
    Or(Vec<Expr>),
}

/// The smallest part of an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Term {
    /// A symbol, or one of the constants `y`, `m`, `n`, or a bare number.
    Symbol(String),
    /// A quoted string.
    Text(String),
    /// A macro that the build expands and we do not.
    Macro(String),
}

/// How two terms are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Comparison {
    /// `=`.
    Equal,
    /// `!=`.
    Unequal,
    /// `<`.
    Less,
    /// `<=`.
    LessOrEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterOrEqual,
}

/// Values of symbols, as an evaluation needs them.
pub(in super::super) trait Values {
    /// The symbol as logic; `n` where it has no such value.
    fn tristate(&self, symbol: &str) -> Tristate;
    /// The symbol as text; its own name where no such symbol exists.
    fn text(&self, symbol: &str) -> String;
    /// Whether the kernel can have modules; if not, the constant `m` is `n`.
    fn modules(&self) -> Tristate;
}

/// Values that an expression may have, from lowest to highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Range {
    /// The least.
    pub low: Tristate,
    /// The most.
    pub high: Tristate,
}

impl Range {
    const UNKNOWN: Self = Self { low: Tristate::No, high: Tristate::Yes };

    fn only(value: Tristate) -> Self {
        Self { low: value, high: value }
    }

    fn truth(holds: bool) -> Self {
        Self::only(if holds { Tristate::Yes } else { Tristate::No })
    }
}

impl Expr {
    /// `left && right`, flat.
    pub(super) fn and(self, other: Self) -> Self {
        let mut terms = self.into_conjuncts();
        terms.extend(other.into_conjuncts());
        Self::And(terms)
    }

    /// `left || right`, flat.
    pub(super) fn or(self, other: Self) -> Self {
        let alternatives = |expr| match expr {
            Self::Or(terms) => terms,
            other => vec![other],
        };
        let mut terms = alternatives(self);
        terms.extend(alternatives(other));
        Self::Or(terms)
    }

    /// y where the expression is n, and n where it is m or y: other than `!`, this
    /// does not let m through.
    pub(super) fn equals_no(self) -> Self {
        match self {
            Self::Term(term) => Self::Compare(Comparison::Equal, term, Term::Symbol("n".to_owned())),
            Self::Compare(..) => Self::Not(Box::new(self)),
            Self::Not(inner) => inner.exceeds_no(),
            Self::And(terms) => joined(terms.into_iter().map(Self::equals_no), Self::or),
            Self::Or(terms) => joined(terms.into_iter().map(Self::equals_no), Self::and),
        }
    }

    fn exceeds_no(self) -> Self {
        match self {
            Self::Term(term) => Self::Compare(Comparison::Unequal, term, Term::Symbol("n".to_owned())),
            Self::Compare(..) => self,
            Self::Not(inner) => inner.equals_no(),
            Self::And(terms) => joined(terms.into_iter().map(Self::exceeds_no), Self::and),
            Self::Or(terms) => joined(terms.into_iter().map(Self::exceeds_no), Self::or),
        }
    }

    fn into_conjuncts(self) -> Vec<Self> {
        match self {
            Self::And(terms) => terms,
            other => vec![other],
        }
    }

    /// Terms that must all hold for the expression to hold.
    pub(in super::super) fn conjuncts(&self) -> &[Self] {
        match self {
            Self::And(terms) => terms,
            other => std::slice::from_ref(other),
        }
    }

    /// What the expression comes to.
    pub(in super::super) fn evaluate(&self, values: &impl Values) -> Range {
        match self {
            Self::Term(Term::Macro(_)) => Range::UNKNOWN,
            Self::Term(Term::Symbol(name) | Term::Text(name)) if is_constant(name) => {
                Range::only(match name.as_str() {
                    "y" => Tristate::Yes,
                    "m" => Tristate::Module.min(values.modules()),
                    _ => Tristate::No,
                })
            }
            Self::Term(Term::Text(_)) => Range::only(Tristate::No),
            Self::Term(Term::Symbol(name)) => Range::only(values.tristate(name)),
            Self::Compare(comparison, left, right) => {
                match (left.comparable(values), right.comparable(values)) {
                    (Some(left), Some(right)) => Range::truth(comparison.holds(&left, &right)),
                    _ => Range::UNKNOWN,
                }
            }
            Self::Not(inner) => {
                let inner = inner.evaluate(values);
                Range { low: not(inner.high), high: not(inner.low) }
            }
            Self::And(terms) => terms.iter().fold(Range::only(Tristate::Yes), |all, term| {
                let term = term.evaluate(values);
                Range { low: all.low.min(term.low), high: all.high.min(term.high) }
            }),
            Self::Or(terms) => terms.iter().fold(Range::only(Tristate::No), |any, term| {
                let term = term.evaluate(values);
                Range { low: any.low.max(term.low), high: any.high.max(term.high) }
            }),
        }
    }

    /// Every symbol and macro in it, in order, each once.
    pub(in super::super) fn terms(&self) -> Vec<&Term> {
        let mut terms = Vec::new();
        self.collect(&mut terms);
        terms
    }

    fn collect<'a>(&'a self, terms: &mut Vec<&'a Term>) {
        let mut add = |term: &'a Term| {
            let counts = match term {
                Term::Symbol(name) => name == "m" || !is_literal(name),
                Term::Macro(_) => true,
                Term::Text(_) => false,
            };
            if counts && !terms.contains(&term) {
                terms.push(term);
            }
        };
        match self {
            Self::Term(term) => add(term),
            Self::Compare(_, left, right) => {
                add(left);
                add(right);
            }
            Self::Not(inner) => inner.collect(terms),
            Self::And(inner) | Self::Or(inner) => inner.iter().for_each(|expr| expr.collect(terms)),
        }
    }
}

/// Joins terms with [`Expr::and`] or [`Expr::or`]; a lone term stays as it is.
pub(super) fn joined(terms: impl IntoIterator<Item = Expr>, join: impl Fn(Expr, Expr) -> Expr) -> Expr {
    terms.into_iter().reduce(join).unwrap_or_else(|| Expr::Term(Term::Symbol("y".to_owned())))
}

fn not(value: Tristate) -> Tristate {
    match value {
        Tristate::No => Tristate::Yes,
        Tristate::Module => Tristate::Module,
        Tristate::Yes => Tristate::No,
    }
}

/// Whether a name is one of `y`, `m`, `n`.
pub(in super::super) fn is_constant(name: &str) -> bool {
    matches!(name, "y" | "m" | "n")
}

/// Whether a name is a constant or a bare number.
fn is_literal(name: &str) -> bool {
    is_constant(name) || number(name).is_some()
}

impl Term {
    /// The text of a macro.
    pub(in super::super) fn as_macro(&self) -> Option<&str> {
        match self {
            Self::Macro(text) => Some(text),
            Self::Symbol(_) | Self::Text(_) => None,
        }
    }

    /// The text that a comparison looks at; none where only the build can tell.
    fn comparable(&self, values: &impl Values) -> Option<String> {
        match self {
            Self::Symbol(name) if is_literal(name) => Some(name.clone()),
            Self::Symbol(name) => Some(values.text(name)),
            Self::Text(text) => Some(text.clone()),
            Self::Macro(_) => None,
        }
    }
}

impl Comparison {
    fn holds(self, left: &str, right: &str) -> bool {
        let order = match (rank(left), rank(right)) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => match (number(left), number(right)) {
                (Some(left), Some(right)) => left.cmp(&right),
                _ => left.cmp(right),
            },
        };
        match self {
            Self::Equal => order == Ordering::Equal,
            Self::Unequal => order != Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessOrEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterOrEqual => order != Ordering::Less,
        }
    }

    fn sign(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

/// Place of a constant of logic in the order n, m, y.
fn rank(text: &str) -> Option<u8> {
    match text {
        "n" => Some(0),
        "m" => Some(1),
        "y" => Some(2),
        _ => None,
    }
}

/// A number, decimal or with `0x`.
pub(in super::super) fn number(text: &str) -> Option<i128> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            i128::from_str_radix(digits, 16).ok()
        }
        Some(_) => None,
        None => {
            let digits = text.strip_prefix('-').unwrap_or(text);
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(name) | Self::Macro(name) => f.write_str(name),
            Self::Text(text) => write!(f, "\"{text}\""),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let joined = |f: &mut fmt::Formatter<'_>, terms: &[Self], sign: &str| {
            for (index, term) in terms.iter().enumerate() {
                if index > 0 {
                    write!(f, " {sign} ")?;
                }
                match term {
                    Self::Or(_) | Self::And(_) => write!(f, "({term})")?,
                    _ => write!(f, "{term}")?,
                }
            }
            Ok(())
        };
        match self {
            Self::Term(term) => write!(f, "{term}"),
            Self::Compare(comparison, left, right) => write!(f, "{left} {} {right}", comparison.sign()),
            Self::Not(inner) => match **inner {
                Self::Term(_) | Self::Not(_) => write!(f, "!{inner}"),
                _ => write!(f, "!({inner})"),
            },
            Self::And(terms) => joined(f, terms, "&&"),
            Self::Or(terms) => joined(f, terms, "||"),
        }
    }
}
