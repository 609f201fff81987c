//! Marks in the channel of raw output: where the output of one test begins and
//! ends. The guest writes them when nothing of the test is running.
//!
//! A mark is a line with the nonce of the boot, and the end of line before it is
//! its own: what stands between two marks is what was printed, to the byte.

use crate::MARKER;
use crate::plan::Nonce;

/// A place in the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    /// Nothing of the test has been printed.
    Begin,
    /// Nothing more of it will be.
    End,
}

impl Edge {
    fn word(self) -> &'static str {
        match self {
            Self::Begin => "begins",
            Self::End => "ends",
        }
    }
}

/// First bytes of every mark.
fn prefix() -> String {
    format!("\n{MARKER}output of test ")
}

/// The mark of a test.
#[must_use]
pub fn mark(nonce: &Nonce, test: u32, edge: Edge) -> String {
    format!("{}{test} {}, boot {nonce}\n", prefix(), edge.word())
}

/// Longest mark behind its first bytes: a number, the longer word, a nonce.
const MAX_REST: usize = 64;

/// What was found in the channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// Printed.
    Bytes(Vec<u8>),
    /// A mark.
    Mark(u32, Edge),
}

/// Tells marks from what was printed.
#[derive(Debug)]
pub struct Marks {
    nonce: Nonce,
    prefix: Vec<u8>,
    kept: Vec<u8>,
}

impl Marks {
    /// Starts before the first byte of a boot.
    #[must_use]
    pub fn new(nonce: Nonce) -> Self {
        Self { nonce, prefix: prefix().into_bytes(), kept: Vec::new() }
    }

    /// Takes bytes of any number; keeps back those that may begin a mark.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        self.kept.extend_from_slice(bytes);
        let kept = std::mem::take(&mut self.kept);
        let (mut pieces, mut printed) = (Vec::new(), Vec::new());
        let mut rest = kept.as_slice();
        while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
            let (before, candidate) = rest.split_at(at);
            printed.extend_from_slice(before);
            match self.read(candidate) {
                Read::Mark(test, edge, length) => {
                    if !printed.is_empty() {
                        pieces.push(Piece::Bytes(std::mem::take(&mut printed)));
                    }
                    pieces.push(Piece::Mark(test, edge));
                    rest = candidate.get(length..).unwrap_or_default();
                }
                Read::Other => {
                    printed.push(b'\n');
                    rest = candidate.get(1..).unwrap_or_default();
                }
                Read::MayBecome => {
                    self.kept = candidate.to_vec();
                    rest = &[];
                }
            }
        }
        printed.extend_from_slice(rest);
        if !printed.is_empty() {
            pieces.push(Piece::Bytes(printed));
        }
        pieces
    }

    fn read(&self, candidate: &[u8]) -> Read {
        let Some(rest) = candidate.strip_prefix(self.prefix.as_slice()) else {
            return if self.prefix.starts_with(candidate) { Read::MayBecome } else { Read::Other };
        };
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return if rest.len() <= MAX_REST { Read::MayBecome } else { Read::Other };
        };
        let line = rest.get(..end).unwrap_or_default();
        let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let number = line.get(..digits).and_then(|digits| std::str::from_utf8(digits).ok());
        let Some(test) = number.and_then(|number| number.parse().ok()) else { return Read::Other };
        let length = self.prefix.len() + end + 1;
        let is = |edge: &Edge| candidate.get(..length) == Some(mark(&self.nonce, test, *edge).as_bytes());
        match [Edge::Begin, Edge::End].into_iter().find(is) {
            Some(edge) => Read::Mark(test, edge, length),
            None => Read::Other,
        }
    }
}

enum Read {
    Mark(u32, Edge, usize),
    Other,
    MayBecome,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonce() -> Nonce {
        Nonce::from_bytes(*b"0123456789abcdef")
    }

    /// Neighbouring bytes put together.
    fn read(text: &[u8], size: usize) -> Vec<Piece> {
        let mut marks = Marks::new(nonce());
        let mut pieces: Vec<Piece> = Vec::new();
        for piece in text.chunks(size).flat_map(|chunk| marks.push(chunk)) {
            match (pieces.last_mut(), piece) {
                (Some(Piece::Bytes(before)), Piece::Bytes(bytes)) => before.extend(bytes),
                (_, piece) => pieces.push(piece),
            }
        }
        pieces
    }

    #[test]
    fn what_was_printed_is_kept_to_the_byte_in_pieces_of_any_size() {
        let mut text = b"boot\n".to_vec();
        text.extend(mark(&nonce(), 7, Edge::Begin).bytes());
        text.extend(b"\n\nkregress: output of test x\nno end of line");
        text.extend(mark(&nonce(), 7, Edge::End).bytes());
        text.extend(mark(&nonce(), 8, Edge::Begin).bytes());
        text.extend(mark(&nonce(), 8, Edge::End).bytes());
        let expected = [
            Piece::Bytes(b"boot\n".to_vec()),
            Piece::Mark(7, Edge::Begin),
            Piece::Bytes(b"\n\nkregress: output of test x\nno end of line".to_vec()),
            Piece::Mark(7, Edge::End),
            Piece::Mark(8, Edge::Begin),
            Piece::Mark(8, Edge::End),
        ];
        for size in 1..=text.len() {
            assert_eq!(read(&text, size), expected, "{size}");
        }
    }

    #[test]
    fn a_mark_of_another_boot_is_what_was_printed() {
        let other = mark(&Nonce::from_bytes([1; 16]), 7, Edge::End);
        let text = format!("{other}more");
        assert_eq!(read(text.as_bytes(), 5), [Piece::Bytes(text.into_bytes())]);
    }

    #[test]
    fn little_is_kept_back_whatever_comes() {
        let mut marks = Marks::new(nonce());
        for text in ["\n", "\nkregress: output of test ", "12345678901234567890", &"x".repeat(1000)] {
            let _ = marks.push(text.as_bytes());
            assert!(marks.kept.len() <= marks.prefix.len() + MAX_REST, "{text}");
        }
    }
}
