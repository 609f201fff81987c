//! A resolved `.config`, as kconfig writes it.

use std::collections::HashMap;

use super::value::{ConfigValue, Symbol, Tristate, excerpt};

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
    /// The line, or its beginning.
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
            config.line(line).ok_or_else(|| DotConfigError { line: index + 1, text: excerpt(line) })?;
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_kind_of_line_is_read() {
        let config = DotConfig::parse(
            "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.12.117 Kernel Configuration\n#\n\
             CONFIG_CC_VERSION_TEXT=\"gcc (Debian 12.2.0) 12.2.0\"\nCONFIG_SMP=y\nCONFIG_VETH=m\n\
             CONFIG_NR_CPUS=64\nCONFIG_PHYSICAL_START=0x1000000\nCONFIG_EMPTY=\n\n#\n# Networking\n#\n\
             # CONFIG_IFB is not set\n# end of Networking\n",
        )
        .unwrap();
        assert_eq!(config.header(), Some(&Header { arch: "x86".into(), version: "6.12.117".into() }));
        assert_eq!(
            config.get("CC_VERSION_TEXT"),
            Some(&ConfigValue::Text("gcc (Debian 12.2.0) 12.2.0".into()))
        );
        assert_eq!(config.get("NR_CPUS"), Some(&ConfigValue::Number(64)));
        assert_eq!(config.get("PHYSICAL_START"), Some(&ConfigValue::Hex(0x100_0000)));
        assert_eq!(config.get("EMPTY"), Some(&ConfigValue::Text(String::new())));
        assert_eq!(config.get("IFB"), Some(&ConfigValue::No));
        assert_eq!(config.get("AMT"), None);
        let tristates = ["SMP", "VETH", "IFB", "AMT", "NR_CPUS"].map(|name| config.tristate(name));
        use Tristate::{Module, No, Yes};
        assert_eq!(tristates, [Yes, Module, No, No, No]);
        assert_eq!(config.symbols().count(), 7);
    }

    #[test]
    fn a_configuration_need_not_have_a_title() {
        assert_eq!(DotConfig::parse("CONFIG_A=y\n").unwrap().header(), None);
        assert_eq!(DotConfig::parse("").unwrap(), DotConfig::default());
    }

    #[test]
    fn the_last_value_counts() {
        let config = DotConfig::parse("CONFIG_A=y\n# CONFIG_A is not set\n").unwrap();
        assert_eq!(config.get("A"), Some(&ConfigValue::No));
    }

    #[test]
    fn a_line_that_kconfig_did_not_write_is_named() {
        let error = DotConfig::parse("CONFIG_A=y\nCONFIG_B\n").unwrap_err();
        insta::assert_snapshot!(error, @"
    line 2 of the kernel configuration is none of kconfig's: `CONFIG_B`
    hint: let `make olddefconfig` write the file again
    ");
        for line in
            ["A=y", "CONFIG_=y", "CONFIG_A=yes", "CONFIG_A=\"x", "# CONFIG_A-B is not set", "\u{7f}ELF"]
        {
            assert_eq!(DotConfig::parse(line).unwrap_err().line, 1, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in any::<String>()) {
            let _ = DotConfig::parse(&text);
        }
    }
}
