//! "Did you mean": the known name that is nearest to a mistyped one.

/// Names shown in a list of known ones; more would bury the message.
const SHOWN: usize = 12;

/// Characters compared. Longer names are nobody's typing mistake.
const COMPARED: usize = 80;

/// The nearest of the known names, if one is near enough to be meant.
///
/// Near is a third of the characters wrong at most, swapped neighbours counting
/// once, or one name being the beginning of the other; case and `_` for `-` do
/// not count. Of equals the first wins.
pub(crate) fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let word = plain(word);
    let length = word.chars().count();
    if length == 0 {
        return None;
    }
    let distance = |name: &str| {
        let name = plain(name);
        let distance = strsim::osa_distance(&word, &name);
        let begins = length >= 3 && name.starts_with(&word) || name.len() >= 3 && word.starts_with(&name);
        let limit = (length.max(name.chars().count()) / 3).max(1);
        // A single letter is not a misspelling of another one.
        let near = distance <= limit && distance < length;
        // Beginnings come behind every real neighbour.
        near.then_some(distance).or_else(|| begins.then_some(distance + COMPARED))
    };
    known
        .into_iter()
        .filter_map(|name| Some((distance(name)?, name)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn plain(name: &str) -> String {
    name.chars().take(COMPARED).map(|c| if c == '_' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The hint of a message about an unknown name: a new line, or nothing.
///
/// `what` is the plural of what is known: `keys`, `kernels`.
pub(crate) fn hint(word: &str, what: &str, known: &[String]) -> String {
    let meant = nearest(word, known.iter().map(String::as_str)).map(|name| format!("did you mean `{name}`?"));
    let list = (!known.is_empty()).then(|| format!("known {what}: {}", list(known)));
    match (meant, list) {
        (None, None) => String::new(),
        (Some(meant), Some(list)) => format!("\nhint: {meant} {list}"),
        (Some(text), None) | (None, Some(text)) => format!("\nhint: {text}"),
    }
}

/// Names in backticks, the first dozen of them.
pub(crate) fn list(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(&format!(" and {} more", names.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYS: [&str; 6] = ["git", "revision", "directory", "tarball", "fragments", "base-config"];

    #[test]
    fn typing_mistakes_find_the_key_that_was_meant() {
        for (typed, meant) in [
            ("tarbal", "tarball"),
            ("tar-ball", "tarball"),
            ("tarblal", "tarball"),
            ("Directory", "directory"),
            ("dir", "directory"),
            ("rev", "revision"),
            ("base_config", "base-config"),
            ("fragment", "fragments"),
            ("gti", "git"),
        ] {
            assert_eq!(nearest(typed, KEYS), Some(meant), "{typed}");
        }
    }

    #[test]
    fn a_strange_word_is_near_to_nothing() {
        for typed in ["", "x", "banana", "zzzzzzzz", "ab"] {
            assert_eq!(nearest(typed, KEYS), None, "{typed}");
        }
    }

    #[test]
    fn a_near_name_wins_over_a_beginning() {
        assert_eq!(nearest("drain", ["drain-slope", "drains"]), Some("drains"));
    }

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<_> = (0..15).map(|i| format!("n{i}")).collect();
        assert!(list(&names).ends_with("`n11` and 3 more"), "{}", list(&names));
    }

    #[test]
    fn nothing_known_is_no_hint() {
        assert_eq!(hint("x", "kernels", &[]), "");
    }

    proptest! {
        #[test]
        fn a_known_name_is_nearest_to_itself(name in "[a-z][a-z0-9-]{2,20}") {
            prop_assert_eq!(nearest(&name, ["other", &name, "more"]), Some(name.as_str()));
        }

        #[test]
        fn no_word_makes_it_panic(word: String, name: String) {
            let _ = nearest(&word, [name.as_str()]);
            let _ = hint(&word, "keys", &[name]);
        }
    }
}
