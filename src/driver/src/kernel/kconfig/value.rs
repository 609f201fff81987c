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

/// A line for a message: control characters are escaped, the rest of a long one is
/// cut off.
pub(super) fn excerpt(line: &str) -> String {
    const LONGEST: usize = 120;
    let mut text = String::new();
    for (index, char) in line.chars().enumerate() {
        if index == LONGEST {
            text.push_str("...");
            break;
        }
        if char.is_control() { text.extend(char.escape_default()) } else { text.push(char) }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = ConfigValue> {
        prop_oneof![
            Just(ConfigValue::Yes),
            Just(ConfigValue::Module),
            Just(ConfigValue::No),
            "[^\n\r]{0,12}".prop_map(ConfigValue::Text),
            any::<i64>().prop_map(ConfigValue::Number),
            any::<u64>().prop_map(ConfigValue::Hex),
        ]
    }

    proptest! {
        #[test]
        fn a_value_reads_back_as_it_is_written(value in value()) {
            prop_assert_eq!(ConfigValue::parse(&value.to_string()), Ok(value));
        }

        #[test]
        fn no_text_makes_the_reader_of_values_panic(text in any::<String>()) {
            let _ = ConfigValue::parse(&text);
        }
    }

    #[test]
    fn numbers_are_what_they_count_and_not_how_they_are_spelt() {
        assert_eq!(ConfigValue::parse("0x00fF"), Ok(ConfigValue::Hex(255)));
        assert_eq!(ConfigValue::parse("007"), Ok(ConfigValue::Number(7)));
        assert_eq!(ConfigValue::parse("-12"), Ok(ConfigValue::Number(-12)));
    }

    #[test]
    fn what_is_no_value_is_told_apart() {
        for text in ["", "yes", "Y", "0x", "0xfg", "1k", "-", "1 ", " 1", "\u{0663}"] {
            assert_eq!(ConfigValue::parse(text), Err(BadValue::Unknown), "{text:?}");
        }
        assert_eq!(ConfigValue::parse("99999999999999999999"), Err(BadValue::TooLarge));
        assert_eq!(ConfigValue::parse("0x10000000000000000"), Err(BadValue::TooLarge));
        assert_eq!(ConfigValue::parse("\"a"), Err(BadValue::Unterminated));
        assert_eq!(ConfigValue::parse("\"a\\\""), Err(BadValue::Unterminated));
        assert_eq!(ConfigValue::parse("\"a\" b"), Err(BadValue::Trailing));
    }

    #[test]
    fn an_excerpt_can_be_shown_on_a_terminal() {
        assert_eq!(excerpt("CONFIG_A=\"é\"\r"), "CONFIG_A=\"é\"\\r");
        assert_eq!(excerpt("\u{1b}[31m"), "\\u{1b}[31m");
        assert_eq!(excerpt(&"x".repeat(1000)).len(), 123);
    }

    #[test]
    fn a_symbol_is_made_of_letters_digits_and_underscores() {
        assert_eq!(Symbol::new("60XX_WDT").unwrap().to_string(), "CONFIG_60XX_WDT");
        for name in ["", "A-B", "A B", "É", "A="] {
            assert_eq!(Symbol::new(name), None, "{name:?}");
        }
    }
}
