//! From raw console bytes to clean lines with their place in the log.
//!
//! Owns everything that a serial line does to text: chunks cut anywhere, CRLF,
//! terminal escapes, NULs, broken UTF-8, lines without end. Does not know what
//! a line means.

use std::ops::Range;

use super::work;

/// Longest piece of a line that is looked at, in bytes. The kernel's own limit
/// for a line is below 1 KiB plus prefix; what is longer is no kernel message,
/// but one may be glued to its end.
pub(super) const MAX_LINE: usize = 4096;

/// Cuts a byte stream into lines. Holds less than [`MAX_LINE`] bytes.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    /// Bytes of the unfinished line.
    raw: Vec<u8>,
    /// Offset of `raw` in the stream.
    start: u64,
    /// The last byte was a CR, so that an LF still belongs to the line.
    after_cr: bool,
    /// `raw` continues a line whose beginning was too long and is gone.
    continued: bool,
    /// Reused for the clean text of every line.
    text: String,
}

/// A line without its terminator and without anything that is not text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Printable characters and spaces only.
    pub(super) text: &'a str,
    /// Bytes of the stream, terminator included.
    pub(super) span: Range<u64>,
    /// Whether `text` is the beginning of a line.
    pub(super) beginning: Beginning,
}

/// Whether a piece of text begins a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// It follows a line end or the beginning of the stream.
    Line,
    /// It is a further piece of a line longer than [`MAX_LINE`].
    Middle,
}

impl Splitter {
    /// Bytes that are kept from call to call.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.raw.capacity() + self.text.capacity()
    }

    /// Takes bytes and hands every line that they complete to `each`.
    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        let mut rest = bytes;
        while let Some(first) = rest.first() {
            if self.after_cr {
                let lf = usize::from(*first == b'\n');
                rest = &rest[lf..];
                self.complete(1 + lf, Beginning::Line, &mut each);
                continue;
            }
            let room = MAX_LINE - self.raw.len();
            let window = &rest[..rest.len().min(room)];
            let end = window.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let taken = end.unwrap_or(window.len());
            self.raw.extend_from_slice(&window[..taken]);
            rest = &rest[taken..];
            if end.is_some() {
                self.after_cr = rest[0] == b'\r';
                rest = &rest[1..];
                if !self.after_cr {
                    self.complete(1, Beginning::Line, &mut each);
                }
            } else if self.raw.len() == MAX_LINE {
                self.complete(0, Beginning::Middle, &mut each);
            }
        }
    }

    /// Hands out the unfinished line, if there is one.
    pub(super) fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if self.after_cr || !self.raw.is_empty() {
            self.complete(usize::from(self.after_cr), Beginning::Line, &mut each);
        }
    }

    fn complete(&mut self, terminator: usize, next: Beginning, each: &mut impl FnMut(Line<'_>)) {
        let end = self.start + (self.raw.len() + terminator) as u64;
        clean(&self.raw, &mut self.text);
        let beginning = if self.continued { Beginning::Middle } else { Beginning::Line };
        each(Line { text: &self.text, span: self.start..end, beginning });
        self.raw.clear();
        self.start = end;
        self.after_cr = false;
        self.continued = next == Beginning::Middle;
    }
}

/// Writes the readable part of `raw` to `text`: no escape sequences, no control
/// characters, tabs as spaces, broken UTF-8 as replacement characters.
fn clean(raw: &[u8], text: &mut String) {
    work::looked_at(raw.len());
    text.clear();
    if raw.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        // Nearly every line; the long way costs ten times as much.
        text.extend(raw.iter().map(|byte| char::from(*byte)));
        return;
    }
    let plain = strip_escapes(raw);
    for c in String::from_utf8_lossy(&plain).chars() {
        match c {
            '\t' => text.push(' '),
            c if c.is_control() => {}
            // Text that runs backwards or hides is for no log reader's good.
            '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {}
            c => text.push(c),
        }
    }
}

/// Removes terminal escape sequences (ECMA-48 CSI, OSC and two-byte ones). One
/// that the line end cuts off goes up to there.
fn strip_escapes(raw: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(raw.len());
    let mut bytes = raw.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != 0x1b {
            plain.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'[') => {
                // Parameters and intermediates up to one final byte.
                bytes.find(|byte| !matches!(byte, 0x20..=0x3f));
            }
            Some(b']' | b'P' | b'X' | b'^' | b'_') => {
                // A string, ended by BEL or by ESC and a backslash.
                if bytes.find(|byte| matches!(byte, 0x07 | 0x1b)) == Some(0x1b) {
                    bytes.next();
                }
            }
            Some(0x20..=0x2f) => {
                bytes.find(|byte| !matches!(byte, 0x20..=0x2f));
            }
            Some(_) | None => {}
        }
    }
    plain
}

/// Who printed a line, where the kernel says so (`CONFIG_PRINTK_CALLER`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// The kernel does not tell.
    Unknown,
    /// A task.
    Task(u32),
    /// A CPU in interrupt context.
    Cpu(u32),
}

/// Splits `<6>[   12.345678][   T123] text` into its caller and text. The text
/// keeps its indentation. `None` when nothing in front of it is the kernel's.
pub(super) fn prefix(line: &str) -> Option<(Caller, &str)> {
    let mut rest = line;
    let mut caller = Caller::Unknown;
    let mut found = false;
    if let Some(after) = level(rest) {
        (rest, found) = (after, true);
    }
    if let Some(after) = stamp(rest) {
        (rest, found) = (after, true);
    }
    // Without time stamps the caller stands alone.
    if let Some((who, after)) = caller_field(rest.strip_prefix(' ').unwrap_or(rest)) {
        (caller, rest, found) = (who, after, true);
    }
    found.then(|| (caller, rest.strip_prefix(' ').unwrap_or(rest)))
}

/// `<6>`, as the kernel prints on `/dev/kmsg` and on some early consoles.
fn level(text: &str) -> Option<&str> {
    let (digits, after) = text.strip_prefix('<')?.split_once('>')?;
    (matches!(digits.len(), 1..=3) && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(after)
}

/// `[   12.345678]`: seconds and six digits (`print_time()` in `printk.c`).
fn stamp(text: &str) -> Option<&str> {
    // Twelve digits of seconds are thirty thousand years.
    let inside = text.strip_prefix('[')?;
    let seconds = inside.trim_start_matches(' ');
    work::looked_at(inside.len() - seconds.len() + 20);
    let whole = seconds.bytes().take(13).take_while(u8::is_ascii_digit).count();
    let fraction = seconds.get(whole..)?.strip_prefix('.')?;
    let digits = fraction.bytes().take(7).take_while(u8::is_ascii_digit).count();
    (whole > 0 && digits == 6).then(|| fraction[6..].strip_prefix(']')).flatten()
}

/// `[   T123]` or `[     C0]` (`print_caller()` in `printk.c`).
fn caller_field(text: &str) -> Option<(Caller, &str)> {
    let (field, after) = text.strip_prefix('[')?.split_once(']')?;
    let field = field.trim_start_matches(' ');
    let number = || field.get(1..)?.parse().ok();
    let caller = match field.as_bytes().first()? {
        b'T' => Caller::Task(number()?),
        b'C' => Caller::Cpu(number()?),
        _ => return None,
    };
    Some((caller, after))
}

/// Pieces of a line that each begin with a kernel time stamp, after a first
/// one that may not. What a program writes to the console without a line end
/// stands in front of the next kernel message.
pub(super) fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let whole = rest?;
        let next = next_stamp(whole);
        let (piece, after) = next.map_or((whole, None), |at| (&whole[..at], Some(&whole[at..])));
        rest = after;
        Some(piece)
    })
}

/// Where the next time stamp begins, not counting one at the very beginning.
fn next_stamp(text: &str) -> Option<usize> {
    let begins = |at: usize| stamp(&text[at..]).is_some();
    // A level or a first stamp belongs to the piece itself.
    let skip = level(text).map_or(0, |after| text.len() - after.len()) + 1;
    let found = text
        .char_indices()
        .skip_while(|(at, _)| *at < skip)
        .find(|(at, c)| *c == '[' && begins(*at))
        .map(|(at, _)| at);
    work::looked_at(found.unwrap_or(text.len()));
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(String, Range<u64>)> {
        let mut splitter = Splitter::default();
        let mut seen = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |line| seen.push((line.text.to_owned(), line.span)));
        }
        splitter.finish(|line| seen.push((line.text.to_owned(), line.span)));
        seen
    }

    fn texts(bytes: &[u8]) -> Vec<String> {
        lines(&[bytes]).into_iter().map(|(text, _)| text).collect()
    }

    #[test]
    fn lines_end_with_lf_cr_or_both() {
        assert_eq!(texts(b"a\nb\r\nc\rd\n\ne"), ["a", "b", "c", "d", "", "e"]);
    }

    #[test]
    fn spans_cover_the_stream_without_gaps() {
        let seen = lines(&[b"ab\r", b"\ncd\r", b"e", b"f"]);
        let expected = [("ab", 0..4), ("cd", 4..7), ("ef", 7..9)];
        assert_eq!(seen, expected.map(|(text, span)| (text.to_owned(), span)));
    }

    #[test]
    fn terminal_escapes_and_control_characters_are_gone() {
        assert_eq!(texts(b"\x1bc\x1b[?7l\x1b[2J\x1b[1;31mred\x1b[0m\0\x07!"), ["red!"]);
        assert_eq!(texts(b"a\x1b]0;title\x07b\x1b]8;;x\x1b\\c\x1b(Bd"), ["abcd"]);
        assert_eq!(texts(b"tab\there\x1b["), ["tab here"]);
    }

    #[test]
    fn characters_that_turn_or_hide_text_are_gone() {
        assert_eq!(texts("a\u{202e}b\u{200b}c\u{9b}d".as_bytes()), ["abcd"]);
    }

    #[test]
    fn broken_utf8_is_replaced() {
        assert_eq!(texts(b"x\xff\xfey\xc3\xa9"), ["x\u{fffd}\u{fffd}y\u{e9}"]);
    }

    #[test]
    fn a_long_line_comes_in_pieces_of_which_only_the_first_begins_a_line() {
        let mut bytes = vec![b'x'; 2 * MAX_LINE + 1];
        bytes.extend_from_slice(b"\nnext\n");
        let mut splitter = Splitter::default();
        let mut seen = Vec::new();
        splitter.push(&bytes, |line| seen.push((line.text.len(), line.beginning)));
        let expected = [
            (MAX_LINE, Beginning::Line),
            (MAX_LINE, Beginning::Middle),
            (1, Beginning::Middle),
            (4, Beginning::Line),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn prefixes_are_told_from_text() {
        let cases = [
            ("[    1.234567] text", Some((Caller::Unknown, "text"))),
            ("[  100.000000]  ? indented", Some((Caller::Unknown, " ? indented"))),
            ("<6>[   12.345678] text", Some((Caller::Unknown, "text"))),
            ("[   12.345678][  T123] text", Some((Caller::Task(123), "text"))),
            ("[   12.345678] [    C1] text", Some((Caller::Cpu(1), "text"))),
            ("[    T1] text", Some((Caller::Task(1), "text"))),
            ("[12345678.000001] text", Some((Caller::Unknown, "text"))),
            ("[ BUG: Invalid wait context ]", None),
            ("[Tea] time", None),
            ("[1.23] text", None),
            ("[.234567] text", None),
            ("[   12.3456789] text", None),
            ("plain", None),
            ("<nothing> here", None),
            ("[", None),
            ("[]", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(prefix(line), expected, "{line}");
        }
    }

    #[test]
    fn a_kernel_message_behind_a_programs_output_is_a_piece_of_its_own() {
        let line = "half a sentence[    7.000001] BUG: one[    7.000002] two";
        let expected = ["half a sentence", "[    7.000001] BUG: one", "[    7.000002] two"];
        assert_eq!(pieces(line).collect::<Vec<_>>(), expected);
        assert_eq!(pieces("<3>[    7.000001] one").collect::<Vec<_>>(), ["<3>[    7.000001] one"]);
        assert_eq!(pieces("").collect::<Vec<_>>(), [""]);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_the_chunks(bytes: Vec<u8>, sizes in prop::collection::vec(1_usize..9, 1..20)) {
            let mut chunks = Vec::new();
            let mut rest = &bytes[..];
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (chunk, after) = rest.split_at((*size).min(rest.len()));
                chunks.push(chunk);
                rest = after;
            }
            prop_assert_eq!(lines(&chunks), lines(&[&bytes]));
        }

        #[test]
        fn clean_text_holds_no_control_character(bytes in "(\\PC|[\\x00-\\x1f\\x7f]|\x1b\\[[0-9;]{0,4}m){0,40}") {
            for text in texts(bytes.as_bytes()) {
                prop_assert!(!text.chars().any(char::is_control));
            }
        }

        #[test]
        fn pieces_put_together_are_the_line(line in "([a-z ]|\\[ {0,4}[0-9]{1,3}\\.[0-9]{6}\\]|\u{e9}){0,20}") {
            prop_assert_eq!(pieces(&line).collect::<String>(), line);
        }

        #[test]
        fn no_text_makes_the_prefix_parser_panic(line in "[\\[\\]<>TC0-9. \u{e9}]{0,30}") {
            let _ = prefix(&line);
        }
    }
}
