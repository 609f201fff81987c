//! Words for a shell, as Python's `shlex` makes and reads them.

/// `shlex.quote`.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\"'\"'"))
    }
}

/// `shlex.split`, for lines whose quotes are closed.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, ' ' | '\t' | '\n') => words.extend(word.take()),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(open), c) if c == open => quote = None,
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_are_taken_off_and_backslashes_obeyed() {
        assert_eq!(split(r#"a 'b c' d"e f"g h\ i ''"#), ["a", "b c", "de fg", "h i", ""]);
    }

    #[test]
    fn what_is_quoted_is_one_word_again() {
        for word in ["plain", "a b", "it's", "$(x)", ""] {
            assert_eq!(split(&quoted(word)), [word], "{word}");
        }
    }
}
