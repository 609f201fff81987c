//! Names and values of configuration symbols, as kconfig writes them.

use std::borrow::Borrow;
use std::fmt;

/// Name of a symbol, without its `CONFIG_`; shown with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Symbol(String);

impl Symbol {
    /// Takes a name without `CONFIG_`; none unless it is made of ASCII letters,
    /// digits and underscores.
    #[must_use]
    pub fn new(name: &str) -> Option<Self> {
        let valid = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        valid.then(|| Self(name.to_owned()))
    }

    /// The name as `Kconfig` files spell it: without `CONFIG_`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CONFIG_{}", self.0)
    }
}

impl Borrow<str> for Symbol {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// Kconfig's logic: no, module, yes, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tristate {
    /// Not there.
    No,
    /// A module.
    Module,
    /// Built in.
    Yes,
}

impl fmt::Display for Tristate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::No => "n",
            Self::Module => "m",
            Self::Yes => "y",
        })
    }
}

/// Value of a symbol. Numbers are equal when their values are, however they are spelt.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigValue {
    /// `=y`.
    Yes,
    /// `=m`.
    Module,
    /// `# CONFIG_X is not set`.
    No,
    /// A string, unquoted and unescaped.
    Text(String),
    /// A decimal number.
    Number(i64),
    /// A number written with `0x`.
    Hex(u64),
}

impl ConfigValue {
    /// The line that gives `symbol` this value in a `.config`.
    #[must_use]
    pub fn line(&self, symbol: &Symbol) -> String {
        match self {
            Self::No => format!("# {symbol} is not set"),
            _ => format!("{symbol}={self}"),
        }
    }

    /// The value as logic sees it; none for strings and numbers.
    #[must_use]
    pub fn tristate(&self) -> Option<Tristate> {
        match self {
            Self::Yes => Some(Tristate::Yes),
            Self::Module => Some(Tristate::Module),
            Self::No => Some(Tristate::No),
            Self::Text(_) | Self::Number(_) | Self::Hex(_) => None,
        }
    }

    /// Reads what stands behind `=` in a `.config`.
    pub(super) fn parse(text: &str) -> Result<Self, BadValue> {
        match text {
            "y" => return Ok(Self::Yes),
            "m" => return Ok(Self::Module),
            "n" => return Ok(Self::No),
            _ => {}
        }
        if let Some(rest) = text.strip_prefix('"') {
            return unquote(rest).map(Self::Text);
        }
        if let Some(digits) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
            let hex = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            return if hex {
                u64::from_str_radix(digits, 16).map(Self::Hex).map_err(|_| BadValue::TooLarge)
            } else {
                Err(BadValue::Unknown)
            };
        }
        let digits = text.strip_prefix('-').unwrap_or(text);
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return text.parse().map(Self::Number).map_err(|_| BadValue::TooLarge);
        }
        Err(BadValue::Unknown)
    }
}

impl fmt::Display for ConfigValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yes => f.write_str("y"),
            Self::Module => f.write_str("m"),
            Self::No => f.write_str("n"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Hex(number) => write!(f, "{number:#x}"),
            Self::Text(text) => {
                f.write_str("\"")?;
                for part in text.split_inclusive(['"', '\\']) {
                    match part.strip_suffix(['"', '\\']) {
                        Some(clean) => write!(f, "{clean}\\{}", &part[clean.len()..])?,
                        None => f.write_str(part)?,
                    }
                }
                f.write_str("\"")
            }
        }
    }
}

/// Why a text is no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadValue {
    /// Neither logic nor number nor string.
    Unknown,
    /// A number that needs more than 64 bits.
    TooLarge,
    /// A string without its closing quote.
    Unterminated,
    /// Something behind the closing quote.
    Trailing,
}

/// Reads a string up to its closing quote; the opening one is gone already.
fn unquote(text: &str) -> Result<String, BadValue> {
    let mut value = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        match char {
            '"' if chars.as_str().is_empty() => return Ok(value),
            '"' => return Err(BadValue::Trailing),
            '\\' => value.push(chars.next().ok_or(BadValue::Unterminated)?),
            _ => value.push(char),
        }
    }
    Err(BadValue::Unterminated)
}
