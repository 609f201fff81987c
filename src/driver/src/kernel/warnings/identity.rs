//! What makes two warnings the same one. Pure.

use super::Warning;

/// Flags of warnings whose numbers change with every line of the function.
const SIZES: [&str; 2] = ["-Wframe-larger-than", "-Wstack-usage"];

/// What stays of a warning when the code around it moves.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Identity {
    file: String,
    function: Option<String>,
    source: Option<String>,
    message: String,
    flag: Option<String>,
}

impl Warning {
    /// What stays of it when the code around it moves.
    pub(super) fn identity(&self) -> Identity {
        let is_size = self.flag.as_deref().is_some_and(|flag| SIZES.iter().any(|it| flag.starts_with(it)));
        Identity {
            file: self.file.clone(),
            function: self.function.as_deref().map(plain_name),
            source: self.source.clone(),
            message: if is_size { without_digits(&self.message) } else { without_places(&self.message) },
            flag: self.flag.clone(),
        }
    }
}

/// `foo` of `foo.constprop.0`: which copies of a function there are depends on
/// its callers.
fn plain_name(function: &str) -> String {
    function.split('.').next().unwrap_or(function).to_owned()
}

fn without_digits(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Takes out numbers that are places: `+0x1c`, `dev.c:412:8`, `line 412`,
/// `foo.isra.0` and the number in `__UNIQUE_ID_x412`. All other numbers are what
/// the warning is about.
fn without_places(text: &str) -> String {
    let mut before = "";
    text.split_inclusive(' ').map(|word| without_place(std::mem::replace(&mut before, word), word)).collect()
}

fn without_place(before: &str, word: &str) -> String {
    if before.trim_start_matches(['(', '[']) == "line " || word.contains("__UNIQUE_ID") {
        return without_digits(word);
    }
    let mut kept = String::with_capacity(word.len());
    let mut rest = word;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        let is_number_apart = !kept.ends_with(|c: char| c.is_ascii_alphanumeric());
        if let Some(offset) = rest.strip_prefix("0x").filter(|_| is_number_apart) {
            kept.push_str("0x");
            rest = offset.trim_start_matches(|c: char| c.is_ascii_hexdigit());
            continue;
        }
        let is_before_place = c == ':' && !kept.is_empty();
        let is_before_copy = c == '.' && kept.ends_with(|c: char| c.is_ascii_alphabetic());
        kept.push(c);
        rest = match is_before_place || is_before_copy {
            true => after.trim_start_matches(|c: char| c.is_ascii_digit()),
            false => after,
        };
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places_in_a_message_are_taken_out() {
        for (message, same) in [
            (
                "section mismatch in reference: foo+0x1c (section: .text)",
                "section mismatch in reference: foo+0x (section: .text)",
            ),
            ("defined at net/core/dev.c:412:8, unused", "defined at net/core/dev.c::, unused"),
            ("shadowed at line 412 of it", "shadowed at line  of it"),
            ("foo.isra.0+0xff: unreachable", "foo.isra.+0x: unreachable"),
            ("__UNIQUE_ID_x412 -> y", "__UNIQUE_ID_x -> y"),
        ] {
            assert_eq!(without_places(message), same);
        }
    }

    #[test]
    fn numbers_that_a_warning_is_about_stay() {
        for message in [
            "array subscript 5 is above array bounds of 'int[4]'",
            "C99 forbids 2.5 and v6.12",
            "unused variable 'x0x1'",
            ": 12",
            "'%d' expects 'int', but argument 3 has type 'long int'",
        ] {
            assert_eq!(without_places(message), message);
        }
    }

    proptest! {
        #[test]
        fn any_message_has_an_identity_and_it_is_stable(message in ".{0,60}") {
            let once = without_places(&message);
            prop_assert!(once.len() <= message.len());
            prop_assert_eq!(without_places(&once), once);
        }

        #[test]
        fn lines_and_offsets_never_matter(line in 1u64..99999, offset: u32, other in 1u64..99999) {
            let warning = |line: u64, offset: u32| Warning {
                file: "a.c".into(),
                line: Some(line),
                function: None,
                source: None,
                message: format!("foo+{offset:#x} at a.c:{line}:7 (line {line})"),
                flag: None,
            };
            prop_assert_eq!(warning(line, offset).identity(), warning(other, 0).identity());
        }
    }
}
