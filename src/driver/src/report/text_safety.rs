//! The one sanitiser: whatever a kernel, a guest or a user wrote becomes text
//! that can be put into XML, on a terminal and into a workflow log. Pure.
//!
//! * Broken UTF-8 becomes U+FFFD.
//! * Terminal escape sequences go, whole. One that has no end keeps its text:
//!   an unterminated title sequence must not hide the panic behind it.
//! * Other control characters, bidirectional overrides and what XML 1.0 cannot
//!   hold are shown as `\x07` or `\u{202e}`.
//! * `]]>` is broken up, for junit-report writes CDATA without looking inside.
//! * Workflow commands (`::error::`, `##[group]`, `##vso[task...]`) are broken
//!   up, so that no guest gives orders to a CI runner.
//! * Length is bounded.

/// Longest title in characters. Consumers of JUnit show it on one line.
pub const TITLE_LIMIT: usize = 200;

/// Longest name of a suite, class or test in characters.
pub const NAME_LIMIT: usize = 400;

/// Longest explanation in bytes; the beginning is kept.
pub const BODY_LIMIT: usize = 16 << 10;

/// Longest output in bytes; the end is kept, where the trouble is.
pub const OUTPUT_LIMIT: usize = 64 << 10;

/// How much more than the limit is looked at. Escape sequences shrink, so a
/// little more than the limit must be read to fill it; 10 MB need not be.
const READ_AHEAD: usize = 8;

/// Longest escape sequence with parameters, and longest with text in it, that
/// is believed to be one. From experience: real ones are far shorter.
const CSI_LIMIT: usize = 64;
const STRING_LIMIT: usize = 1024;

/// Width of a tab stop.
const TAB: usize = 8;

/// All of it on one line, for names.
#[must_use]
pub fn name(text: impl AsRef<[u8]>) -> String {
    let raw = head(text.as_ref(), NAME_LIMIT * READ_AHEAD);
    one_line(&clean(&lossy(raw)), NAME_LIMIT)
}

/// All of it on one line with its spaces as they are, for what is copied:
/// paths and commands.
#[must_use]
pub fn verbatim(text: impl AsRef<[u8]>) -> String {
    clean(&lossy(head(text.as_ref(), BODY_LIMIT))).replace('\n', " ")
}

/// The first line that says something, for messages.
#[must_use]
pub fn title(text: impl AsRef<[u8]>) -> String {
    let raw = head(text.as_ref(), BODY_LIMIT);
    let text = clean(&lossy(raw));
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    one_line(line, TITLE_LIMIT)
}

/// Several lines of which the first matter most.
#[must_use]
pub fn body(text: impl AsRef<[u8]>) -> String {
    let bytes = text.as_ref();
    let raw = head(bytes, BODY_LIMIT * READ_AHEAD);
    let text = clean(&lossy(raw));
    if text.len() <= BODY_LIMIT && raw.len() == bytes.len() {
        return text;
    }
    let end = text.floor_char_boundary(BODY_LIMIT);
    format!("{}\n[... cut; {} bytes in all]", &text[..end], bytes.len())
}

/// Several lines of which the last matter most.
#[must_use]
pub fn output(text: impl AsRef<[u8]>) -> String {
    let bytes = text.as_ref();
    let raw = tail(bytes, OUTPUT_LIMIT * READ_AHEAD);
    let text = clean(&lossy(raw));
    if text.len() <= OUTPUT_LIMIT && raw.len() == bytes.len() {
        return text;
    }
    let start = text.ceil_char_boundary(text.len().saturating_sub(OUTPUT_LIMIT));
    // A line that was cut may begin in the middle of what its beginning disarmed.
    let start = text[start..].find('\n').map_or(start, |newline| start + newline + 1);
    clean(&format!("[{} bytes in all; cut ...]\n{}", bytes.len(), &text[start..]))
}

/// The last lines of a log, at most so many, without empty ones.
#[must_use]
pub fn last_lines(text: impl AsRef<[u8]>, count: usize) -> Vec<String> {
    let text = output(text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].iter().map(|line| (*line).to_owned()).collect()
}

fn head(bytes: &[u8], limit: usize) -> &[u8] {
    &bytes[..bytes.len().min(limit)]
}

fn tail(bytes: &[u8], limit: usize) -> &[u8] {
    &bytes[bytes.len().saturating_sub(limit)..]
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

fn one_line(text: &str, limit: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(limit) {
        None => line,
        Some(_) => line.chars().take(limit - 1).chain(['…']).collect(),
    }
}

/// Everything but the length.
fn clean(text: &str) -> String {
    disarmed(&visible(text).replace("]]>", "]] >"))
}

/// Without escape sequences and control characters other than newlines.
fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut column = 0;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let before = out.len();
        match c {
            '\u{1b}' => match escape_length(rest) {
                Some(length) => rest = &rest[length..],
                None => out.push_str("\\x1b"),
            },
            '\n' => out.push('\n'),
            '\r' if rest.starts_with('\n') => {}
            // Lines that are drawn over each other, as progress bars are.
            '\r' => out.push('\n'),
            '\t' => out.extend(std::iter::repeat_n(' ', TAB - column % TAB)),
            c if is_shown(c) => out.push(c),
            c if u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
        }
        column = match out[before..].rfind('\n') {
            Some(_) => 0,
            None => column + out[before..].chars().count(),
        };
    }
    out
}

/// Whether a character is shown as it is. Every one of them is a `Char` of
/// XML 1.0, section 2.2.
pub(super) fn is_shown(c: char) -> bool {
    let bidirectional =
        matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}');
    // Two names that differ only here would look the same.
    let invisible = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
        || matches!(c, '\u{e0000}'..='\u{e007f}');
    let line_breaking = matches!(c, '\u{2028}' | '\u{2029}');
    let not_xml = matches!(c, '\u{fffe}' | '\u{ffff}');
    !(c.is_control() || bidirectional || invisible || line_breaking || not_xml)
}

/// Length of an escape sequence behind its ESC (ECMA-48); `None` if it is none
/// or has no end.
fn escape_length(rest: &str) -> Option<usize> {
    let bytes = rest.as_bytes();
    match *bytes.first()? {
        b'[' => {
            let body = head(&bytes[1..], CSI_LIMIT);
            let parameters = body.iter().take_while(|b| matches!(b, 0x30..=0x3f)).count();
            let intermediates = body[parameters..].iter().take_while(|b| matches!(b, 0x20..=0x2f)).count();
            let end = parameters + intermediates;
            body.get(end).filter(|b| matches!(b, 0x40..=0x7e)).map(|_| 1 + end + 1)
        }
        b']' | b'P' | b'X' | b'^' | b'_' => {
            let body = head(&bytes[1..], STRING_LIMIT);
            let end = body.iter().position(|b| *b < 0x20)?;
            match &body[end..] {
                [0x07, ..] => Some(1 + end + 1),
                [0x1b, b'\\', ..] => Some(1 + end + 2),
                _ => None,
            }
        }
        0x20..=0x2f => {
            let intermediates =
                head(bytes, CSI_LIMIT).iter().take_while(|b| matches!(b, 0x20..=0x2f)).count();
            bytes.get(intermediates).filter(|b| matches!(b, 0x30..=0x7e)).map(|_| intermediates + 1)
        }
        0x30..=0x7e => Some(1),
        _ => None,
    }
}

/// Text that no CI runner takes for a command: GitHub's `::name::` at the
/// beginning of a line, and of every word, for lines are wrapped later; its
/// older `##[name]` and Azure's `##vso[name]` anywhere.
fn disarmed(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let rest = &text[at + c.len_utf8()..];
        let colons = c == ':' && rest.starts_with(':') && before.is_whitespace();
        let hashes = c == '#' && rest.starts_with('#') && {
            let word = rest[1..].trim_start_matches(|c: char| c.is_ascii_alphanumeric());
            word.starts_with('[')
        };
        out.push(c);
        before = c;
        if colons || hashes {
            out.push(' ');
            before = ' ';
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_go_whole_and_leave_no_half_sequence() {
        assert_eq!(body("\x1b[1;31mBUG\x1b[0m: \x1b[38;5;9mbad\x1b[m page"), "BUG: bad page");
    }

    #[test]
    fn titles_links_and_character_sets_go() {
        assert_eq!(
            body("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\ \x1b(B\x1b=b\x1bPq\x1b\\"),
            "alink b"
        );
    }

    #[test]
    fn a_sequence_without_an_end_hides_nothing() {
        assert_eq!(
            body("\x1b]0;Kernel panic - not syncing\nOops"),
            "\\x1b]0;Kernel panic - not syncing\nOops"
        );
        assert_eq!(body("cut here \x1b[31"), "cut here \\x1b[31");
        assert_eq!(body("\x1b"), "\\x1b");
        let long = format!("\x1b]0;{}\x07", "x".repeat(2000));
        assert!(body(&long).starts_with("\\x1b]0;xxx"));
    }

    #[test]
    fn control_characters_are_shown() {
        assert_eq!(body("a\0b\x07c\x08d\x7fe\u{9b}31m"), "a\\x00b\\x07c\\x08d\\x7fe\\x9b31m");
    }

    #[test]
    fn text_that_runs_backwards_is_shown() {
        assert_eq!(body("ok\u{202e}liaf\u{2066}\u{ffff}"), "ok\\u{202e}liaf\\u{2066}\\u{ffff}");
    }

    #[test]
    fn characters_without_a_width_are_shown() {
        assert_eq!(body("a\u{200b}b\u{feff}c\u{61c}"), "a\\u{200b}b\\u{feff}c\\u{61c}");
    }

    #[test]
    fn broken_utf_8_is_replaced() {
        assert_eq!(body(b"a\xff\xfeb\xc3"), "a\u{fffd}\u{fffd}b\u{fffd}");
    }

    #[test]
    fn ends_of_lines_become_newlines() {
        assert_eq!(body("a\r\nb\rc\n"), "a\nb\nc\n");
    }

    #[test]
    fn tabs_become_columns() {
        assert_eq!(body("ab\tc\n\td"), "ab      c\n        d");
    }

    #[test]
    fn the_end_of_cdata_is_broken_up_also_when_an_escape_hid_it() {
        assert_eq!(body("a]]>b]]]]>"), "a]] >b]]]] >");
        assert_eq!(body("]]\x1b[0m>"), "]] >");
    }

    #[test]
    fn workflow_commands_are_broken_up() {
        assert_eq!(body("::error::x\n  ::set-output name=a::b"), ": :error::x\n  : :set-output name=a::b");
        // Where a line is wrapped is not known here.
        assert_eq!(body("words ::error::x"), "words : :error::x");
        assert_eq!(body("x ##[group]y ###[error]z"), "x # #[group]y ## #[error]z");
        assert_eq!(body("##vso[task.setvariable]"), "# #vso[task.setvariable]");
        assert_eq!(body("\x1b[0m::add-mask::x"), ": :add-mask::x");
        assert_eq!(body("std::fmt ## heading # x"), "std::fmt ## heading # x");
    }

    #[test]
    fn a_title_is_the_first_line_that_says_something() {
        assert_eq!(title("\n  \n  expected 7,\tseen 57 \nmore"), "expected 7, seen 57");
        assert_eq!(title(""), "");
        assert_eq!(title("x".repeat(201)), format!("{}…", "x".repeat(199)));
        assert_eq!(title("µ".repeat(200)), "µ".repeat(200));
    }

    #[test]
    fn what_is_copied_keeps_its_spaces() {
        assert_eq!(verbatim(" /my  results/\x1b[1mx\ny "), " /my  results/x y ");
    }

    #[test]
    fn a_name_is_one_line() {
        assert_eq!(name("smoke\n/a\r\n b"), "smoke /a b");
    }

    #[test]
    fn a_body_keeps_its_beginning_and_output_its_end() {
        let text = format!("first\n{}last", "µ filler\n".repeat(1 << 20));
        let body = body(&text);
        assert!(body.starts_with("first\nµ filler"));
        assert!(body.ends_with("\n[... cut; 10485770 bytes in all]"));
        let output = output(&text);
        assert!(output.starts_with("[10485770 bytes in all; cut ...]\nµ filler"));
        assert!(output.ends_with("µ filler\nlast"));
        assert!(body.len() < BODY_LIMIT + 64 && output.len() < OUTPUT_LIMIT + 64);
    }

    #[test]
    fn the_last_lines_of_a_log_are_those_that_say_something() {
        assert_eq!(last_lines("a\n\nb\n  \nc\n", 2), ["b", "c"]);
        assert_eq!(last_lines("", 2), Vec::<String>::new());
    }

    /// Bytes that are likely to be trouble.
    fn nasty() -> impl Strategy<Value = Vec<u8>> {
        let scraps = prop::sample::select(vec![
            &b"\x1b["[..],
            b"\x1b]",
            b"\x1b",
            b"31m",
            b"]]>",
            b"]]",
            b">",
            b"\0",
            b"\xff",
            b"##",
            b"[",
            b"::",
            b"error",
            b"\n",
            b"\r",
            b"\t",
            b" ",
            b"\xc2\x9b",
            b"\xe2\x80\xae",
            b"\xef\xbf\xbf",
            b"&amp;",
            b"<",
            b"x",
        ]);
        let piece = prop_oneof![scraps.prop_map(<[u8]>::to_vec), any::<Vec<u8>>()];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    fn is_safe(text: &str) -> bool {
        let xml = |c: char| matches!(c, '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
        text.chars().all(|c| xml(c) && (c == '\n' || !c.is_control()))
            && !text.contains("]]>")
            && !text.contains("##[")
            && !text.contains("##vso[")
            && !text.split_whitespace().any(|word| word.starts_with("::"))
    }

    proptest! {
        #[test]
        fn whatever_comes_in_what_goes_out_is_safe(bytes in nasty()) {
            for text in [name(&bytes), title(&bytes), body(&bytes), output(&bytes)] {
                prop_assert!(is_safe(&text), "{:?}", text);
            }
            prop_assert!(!name(&bytes).contains('\n') && !title(&bytes).contains('\n'));
            prop_assert!(is_safe(&verbatim(&bytes)) && !verbatim(&bytes).contains('\n'));
        }

        #[test]
        fn plain_text_comes_through_unchanged(text in "[a-zA-Z0-9 .,;µ]{0,100}") {
            prop_assert_eq!(body(&text), text.clone());
        }

        #[test]
        fn cleaning_twice_is_cleaning_once(bytes in nasty()) {
            let once = body(&bytes);
            prop_assert_eq!(body(&once), once);
        }
    }
}
