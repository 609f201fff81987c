//! From bytes to lines: bounded, without escape sequences and control characters,
//! and without the stamps of the kernel log.

/// Longest line that is kept. `ksft_test_result*()` prints no name above a few
/// hundred bytes.
const MAX_LINE: usize = 4096;

/// Whether a line is there from its first to its last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Whole,
    /// Too long: its end is missing.
    Cut,
}

/// The bytes of one line.
#[derive(Debug, Default)]
pub(super) struct Raw {
    bytes: Vec<u8>,
    cut: usize,
}

impl Raw {
    pub(super) fn length(&self) -> Length {
        if self.cut == 0 { Length::Whole } else { Length::Cut }
    }

    /// The line as a terminal without colours would show it.
    pub(super) fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        let mut clean = String::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '\u{1b}' => skip_escape(&mut chars),
                '\t' => clean.push('\t'),
                control if control.is_control() => {}
                char => clean.push(char),
            }
        }
        clean
    }
}

/// Passes over an escape sequence (ECMA-48): CSI up to its final byte, OSC up to
/// BEL or ST, another one with its intermediate bytes.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            while let Some(char) = chars.next_if(|char| ('\u{20}'..='\u{7e}').contains(char)) {
                if ('\u{40}'..='\u{7e}').contains(&char) {
                    return;
                }
            }
        }
        Some(']') => {
            while let Some(char) = chars.next() {
                match char {
                    '\u{7}' => return,
                    '\u{1b}' => {
                        chars.next_if_eq(&'\\');
                        return;
                    }
                    _ => {}
                }
            }
        }
        Some('\u{20}'..='\u{2f}') => {
            while chars.next_if(|char| ('\u{20}'..='\u{2f}').contains(char)).is_some() {}
            chars.next();
        }
        _ => {}
    }
}

/// Cuts a stream into lines. A carriage return ends one too: it is part of CRLF,
/// or a progress bar begins anew.
#[derive(Debug, Default)]
pub(super) struct Lines {
    current: Raw,
}

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8], line: &mut dyn FnMut(&Raw)) {
        let mut pieces = bytes.split(|byte| matches!(byte, b'\n' | b'\r')).peekable();
        while let Some(piece) = pieces.next() {
            let room = MAX_LINE.saturating_sub(self.current.bytes.len()).min(piece.len());
            let (kept, cut) = piece.split_at(room);
            self.current.bytes.extend_from_slice(kept);
            self.current.cut = self.current.cut.saturating_add(cut.len());
            if pieces.peek().is_some() {
                line(&self.current);
                self.current.bytes.clear();
                self.current.cut = 0;
            }
        }
    }

    /// What stands behind the last end of a line.
    pub(super) fn rest(self) -> Option<Raw> {
        Some(self.current).filter(|raw| !raw.bytes.is_empty())
    }
}

/// A line of the kernel log without `<6>[   12.345678] ` and `[  T123] `
/// (`CONFIG_PRINTK_TIME`, `CONFIG_PRINTK_CALLER`); none of one that has no stamp.
pub(super) fn unstamped(line: &str) -> Option<&str> {
    let line = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((level, rest)) if !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit()) => rest,
        _ => line,
    };
    let (stamp, rest) = line.strip_prefix('[')?.split_once(']')?;
    let (seconds, fraction) = stamp.trim_start().split_once('.')?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(seconds) || !digits(fraction) {
        return None;
    }
    let caller = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let rest = match caller {
        Some((caller, rest)) if caller.trim_start().starts_with(['T', 'C']) => rest,
        _ => rest,
    };
    Some(rest.strip_prefix(' ').unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        Raw { bytes: bytes.to_vec(), cut: 0 }.text()
    }

    #[test]
    fn escape_sequences_and_control_characters_are_left_out() {
        assert_eq!(text(b"\x1b[1;32mok 1 a\x1b[0m"), "ok 1 a");
        assert_eq!(text(b"\x1b]0;title\x07ok\x1b(B 2\x00\x08"), "ok 2");
        assert_eq!(text(b"not\x1b"), "not");
        assert_eq!(text(b"caf\xc3\xa9 \xff"), "caf\u{e9} \u{fffd}");
    }

    #[test]
    fn a_line_is_kept_up_to_a_bound_and_says_so() {
        let mut lines = Lines::default();
        let mut seen = Vec::new();
        let mut long = vec![b'x'; MAX_LINE * 3];
        long.extend(b"\r\nshort\n");
        for piece in long.chunks(1000) {
            lines.push(piece, &mut |raw| seen.push((raw.text().len(), raw.length())));
        }
        assert_eq!(seen, [(MAX_LINE, Length::Cut), (0, Length::Whole), (5, Length::Whole)]);
    }

    #[test]
    fn stamps_of_the_kernel_log_are_known_by_their_shape() {
        assert_eq!(unstamped("[    1.234567] ok 1 - a"), Some("ok 1 - a"));
        assert_eq!(unstamped("<6>[   12.345678][  T1]     1..2"), Some("    1..2"));
        assert_eq!(unstamped("[12] ok"), None);
        assert_eq!(unstamped("[ OK ] fine"), None);
        assert_eq!(unstamped("ok 1"), None);
    }
}
