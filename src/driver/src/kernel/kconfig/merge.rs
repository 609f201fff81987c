//! Several fragments become one set of requests. Later fragments win, and what
//! they overrode is kept for messages.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

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

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
    let mut seen = BTreeSet::new();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::dotconfig::DotConfig;
    use super::*;

    fn fragment(name: &str, text: &str) -> Fragment {
        Fragment::parse(FragmentName(name.to_owned()), text).unwrap()
    }

    #[test]
    fn later_fragments_win_and_the_loser_is_remembered() {
        let merged = merge(&[
            fragment("base", "# No disk.\n# CONFIG_BLOCK is not set\n# Queues.\nCONFIG_RPS=y\n"),
            fragment("virtme-ng", "# The root.\nCONFIG_BLOCK=y\n"),
        ])
        .unwrap();
        let block = merged.get("BLOCK").unwrap();
        assert_eq!(block.value, ConfigValue::Yes);
        assert_eq!(block.reason, "The root.");
        assert_eq!(block.origin.to_string(), "kconfigs/virtme-ng.config:2");
        assert_eq!(block.overridden.len(), 1);
        assert_eq!(block.overridden[0].value, ConfigValue::No);
        assert_eq!(block.overridden[0].origin.to_string(), "kconfigs/base.config:2");
        assert_eq!(merged.get("RPS").unwrap().overridden, []);
        assert_eq!(merged.get("XPS"), None);
    }

    #[test]
    fn agreement_is_no_contradiction() {
        let text = "# Why.\nCONFIG_A=y\n";
        let merged = merge(&[fragment("a", text), fragment("b", text)]).unwrap();
        assert_eq!(merged.get("A").unwrap().overridden, []);
    }

    #[test]
    fn a_symbol_is_optional_only_if_nobody_insists_on_it() {
        let optional = "# optional: since 6.7; x\nCONFIG_A=y\n";
        let insists = "# x\nCONFIG_A=y\n";
        let optional_after = |first, second| {
            merge(&[fragment("a", first), fragment("b", second)]).unwrap().wants["A"].optional.clone()
        };
        assert_eq!(optional_after(optional, optional).as_deref(), Some("since 6.7"));
        assert_eq!(optional_after(optional, insists), None);
        assert_eq!(optional_after(insists, optional), None);
        let other = "# optional: until 6.9; x\n# CONFIG_A is not set\n";
        assert_eq!(optional_after(insists, other).as_deref(), Some("until 6.9"));
    }

    #[test]
    fn the_same_fragment_twice_is_an_error() {
        let error = merge(&[fragment("a", ""), fragment("b", ""), fragment("a", "")]).unwrap_err();
        insta::assert_snapshot!(error, @"
    fragment `a` is listed twice
    hint: list it once, where its values should be overridden last
    ");
    }

    #[test]
    fn the_result_is_a_file_for_kconfig() {
        let merged = merge(&[fragment(
            "a",
            "# 1\nCONFIG_TEXT=\"a \\\"b\\\"\"\n# 2\n# CONFIG_OFF is not set\n# 3\nCONFIG_HEX=0xFF\n# 4\nCONFIG_M=m\n",
        )])
        .unwrap();
        insta::assert_snapshot!(merged.to_allconfig(), @r#"
    CONFIG_HEX=0xff
    CONFIG_M=m
    # CONFIG_OFF is not set
    CONFIG_TEXT="a \"b\""
    "#);
        insta::assert_snapshot!(merged.canonical(), @r#"
    HEX=0xff
    M=m
    OFF=n
    TEXT="a \"b\""
    "#);
    }

    #[test]
    fn the_hash_input_ignores_reasons_order_and_spelling() {
        let one = merge(&[fragment("a", "# x\nCONFIG_A=y\n# y\nCONFIG_B=0x0F\n")]).unwrap();
        let two = merge(&[
            fragment("b", "# other\nCONFIG_B=0xf\n# z\n# CONFIG_A is not set\n"),
            fragment("c", "# optional: old; words\nCONFIG_A=y\n"),
        ])
        .unwrap();
        assert_eq!(one.canonical(), two.canonical());
        let three = merge(&[fragment("a", "# x\nCONFIG_A=y\n# y\nCONFIG_B=15\n")]).unwrap();
        assert_ne!(one.canonical(), three.canonical());
    }

    fn requests() -> impl Strategy<Value = BTreeMap<u8, ConfigValue>> {
        let value = prop_oneof![
            Just(ConfigValue::Yes),
            Just(ConfigValue::No),
            "[ -~]{0,8}".prop_map(ConfigValue::Text),
            any::<i64>().prop_map(ConfigValue::Number),
            any::<u64>().prop_map(ConfigValue::Hex),
        ];
        proptest::collection::btree_map(0_u8..20, value, 0..10)
    }

    fn text(requests: &BTreeMap<u8, ConfigValue>) -> String {
        let line = |(index, value): (&u8, &ConfigValue)| {
            format!("# Reason.\n{}\n", value.line(&Symbol::new(&format!("S{index}")).unwrap()))
        };
        requests.iter().map(line).collect()
    }

    proptest! {
        #[test]
        fn kconfig_is_told_the_last_value_of_each_symbol(first in requests(), second in requests()) {
            let merged = merge(&[fragment("a", &text(&first)), fragment("b", &text(&second))]).unwrap();
            let written = DotConfig::parse(&merged.to_allconfig()).unwrap();
            let mut expected = first;
            expected.extend(second);
            prop_assert_eq!(merged.wants().len(), expected.len());
            for (index, value) in &expected {
                prop_assert_eq!(written.get(&format!("S{index}")), Some(value));
            }
        }
    }
}
