//! Which detectors a kernel has built in, by its configuration.

use std::collections::HashSet;
use std::path::Path;

use crate::model::Detector;

/// The detectors of a kernel with this configuration; none where it is not known,
/// for nothing can be said of it then.
pub(super) fn of(config: Option<&Path>) -> Vec<Detector> {
    let text = config.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    in_text(&text)
}

fn in_text(config: &str) -> Vec<Detector> {
    let on: HashSet<&str> =
        config.lines().filter_map(|line| line.strip_prefix("CONFIG_")?.strip_suffix("=y")).collect();
    Detector::all_of(&|symbol| on.contains(symbol))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_built_in_counts() {
        let config = "CONFIG_KASAN=y\n# CONFIG_KCSAN is not set\nCONFIG_UBSAN=m\nCONFIG_KASAN_INLINE=y\n";
        assert_eq!(in_text(config), [Detector::Kasan]);
        assert_eq!(of(None), []);
    }
}
