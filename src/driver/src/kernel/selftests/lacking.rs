//! What a kernel lacks of what a collection asks for in its `config`. Pure.

use super::super::kconfig::{ConfigValue, DotConfig};

/// Options of a collection's `config` that are off in a kernel, in the order of that
/// file. A module is as good as built in, and the other way round.
#[must_use]
pub fn lacking(wanted: &str, kernel: &DotConfig) -> Vec<String> {
    let symbols = wanted.lines().filter_map(|line| {
        let (symbol, value) = line.trim().strip_prefix("CONFIG_")?.split_once('=')?;
        matches!(value, "y" | "m").then_some(symbol)
    });
    let is_on = |symbol: &&str| matches!(kernel.get(symbol), Some(ConfigValue::Yes | ConfigValue::Module));
    let mut lacking: Vec<String> = Vec::new();
    for symbol in symbols.filter(|symbol| !is_on(symbol)) {
        let symbol = format!("CONFIG_{symbol}");
        if !lacking.contains(&symbol) {
            lacking.push(symbol);
        }
    }
    lacking
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_and_built_in_are_both_on() {
        let kernel = "CONFIG_VETH=y\nCONFIG_IFB=m\n# CONFIG_VXLAN is not set\nCONFIG_HZ=1000\n";
        let kernel = DotConfig::parse(kernel).expect("a configuration");
        let wanted = "# comment\nCONFIG_VETH=m\nCONFIG_IFB=y\nCONFIG_VXLAN=m\nCONFIG_AMT=m\nCONFIG_AMT=m\nCONFIG_HZ=100\nnonsense\n";
        assert_eq!(lacking(wanted, &kernel), ["CONFIG_VXLAN", "CONFIG_AMT"]);
    }
}
