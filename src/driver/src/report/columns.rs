//! Text in columns: widths as a terminal counts them. Pure.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Columns that a line takes.
#[must_use]
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The line, cut to so many columns, with an ellipsis where it was cut.
#[must_use]
pub(crate) fn fit(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = columns.saturating_sub(1);
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        out.push(c);
    }
    if columns > 0 {
        out.push('…');
    }
    out
}

/// Cut or filled with spaces on the right to exactly so many columns.
#[must_use]
pub(crate) fn left(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    let fill = columns.saturating_sub(width(&text));
    text + &" ".repeat(fill)
}

/// Cut or filled with spaces on the left to exactly so many columns.
#[must_use]
pub(crate) fn right(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    " ".repeat(columns.saturating_sub(width(&text))) + &text
}

/// Words in lines of at most so many columns; a longer word has its own line.
#[must_use]
pub(crate) fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().map_or(0, |line| width(line));
        if line > 0 && line + 1 + width(word) > columns {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(width("内核"), 4);
        assert_eq!(left("内核", 5), "内核 ");
        assert_eq!(right("内核", 5), " 内核");
    }

    #[test]
    fn what_is_too_long_ends_in_an_ellipsis() {
        assert_eq!(fit("namespaces", 5), "name…");
        assert_eq!(fit("内核内核", 5), "内核…");
        assert_eq!(fit("内核内核", 4), "内…");
        assert_eq!(fit("namespaces", 0), "");
    }

    #[test]
    fn words_wrap_and_a_long_word_stands_alone() {
        assert_eq!(wrap("a bb ccc dddddddd e", 6), ["a bb", "ccc", "dddddddd", "e"]);
    }

    proptest! {
        #[test]
        fn a_column_is_as_wide_as_asked_for(text: String, columns in 0_usize..50) {
            prop_assert_eq!(width(&left(&text, columns)), columns);
            prop_assert_eq!(width(&right(&text, columns)), columns);
        }
    }
}
