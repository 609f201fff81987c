//! A resolved `.config`, as kconfig writes it.

use std::collections::HashMap;

use super::value::{ConfigValue, Symbol, Tristate};

/// A parsed `.config`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DotConfig {
    header: Option<Header>,
    values: HashMap<Symbol, ConfigValue>,
}

/// The title that kconfig writes: `# Linux/x86 6.12.117 Kernel Configuration`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// As kconfig calls it: `x86`, `arm64`.
    pub arch: String,
    /// `KERNELVERSION`, for instance `6.12.117`.
    pub version: String,
}

/// Why a `.config` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} of the kernel configuration is none of kconfig's: `{text}`\nhint: let `make olddefconfig` write the file again"
)]
pub struct DotConfigError {
    /// Line, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl DotConfig {
    /// Reads a `.config`.
    ///
    /// # Errors
    ///
    /// Fails on the first line that is neither an assignment nor a comment nor blank.
    pub fn parse(text: &str) -> Result<Self, DotConfigError> {
        let mut config = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim_end();
            config.line(line).ok_or_else(|| DotConfigError { line: index + 1, text: line.to_owned() })?;
        }
        Ok(config)
    }

    fn line(&mut self, line: &str) -> Option<()> {
        if let Some(comment) = line.strip_prefix('#') {
            let comment = comment.trim();
            if let Some(name) =
                comment.strip_prefix("CONFIG_").and_then(|rest| rest.strip_suffix(" is not set"))
            {
                self.values.insert(Symbol::new(name)?, ConfigValue::No);
            } else if self.header.is_none() {
                self.header = header(comment);
            }
            return Some(());
        }
        if line.is_empty() {
            return Some(());
        }
        let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
        // kconfig writes a number without default like this.
        let value = if value.is_empty() {
            ConfigValue::Text(String::new())
        } else {
            ConfigValue::parse(value).ok()?
        };
        self.values.insert(Symbol::new(name)?, value);
        Some(())
    }

    /// The title, if there is one.
    #[must_use]
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Value of a symbol, named without `CONFIG_`. None where the file does not
    /// mention it: it is unknown, or invisible and off.
    #[must_use]
    pub fn get(&self, symbol: &str) -> Option<&ConfigValue> {
        self.values.get(symbol)
    }

    /// Value of a symbol as logic sees it: absent symbols, strings and numbers are `n`.
    #[must_use]
    pub fn tristate(&self, symbol: &str) -> Tristate {
        self.get(symbol).and_then(ConfigValue::tristate).unwrap_or(Tristate::No)
    }

    /// Every symbol that the file mentions, in no particular order.
    pub fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.values.keys()
    }
}

fn header(comment: &str) -> Option<Header> {
    let title = comment.strip_suffix(" Kernel Configuration")?;
    let (arch, version) = title.strip_prefix("Linux/")?.split_once(' ')?;
    Some(Header { arch: arch.to_owned(), version: version.to_owned() })
}
