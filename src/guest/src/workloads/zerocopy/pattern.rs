//! Bytes that know their place: a generator whose output depends on the
//! position in the stream, and the checker for it.
//!
//! Pure. Every aligned word is an invertible function of its index, so a page
//! that was swapped, repeated, shifted or left over from another stream is not
//! only seen: the checker can say which bytes stand there instead.

use std::fmt;

const WORD: usize = 8;

// The finaliser of MurmurHash3: bijective, and cheap enough for software CPUs.
const FACTOR_A: u64 = 0xff51_afd7_ed55_8ccd;
const FACTOR_B: u64 = 0xc4ce_b9fe_1a85_ec53;

fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(FACTOR_A);
    x ^= x >> 33;
    x = x.wrapping_mul(FACTOR_B);
    x ^ (x >> 33)
}

// A shift by more than half of the width undoes itself; an odd factor has an
// inverse modulo 2^64.
fn unmix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(const { inverse(FACTOR_B) });
    x ^= x >> 33;
    x = x.wrapping_mul(const { inverse(FACTOR_A) });
    x ^ (x >> 33)
}

const fn inverse(odd: u64) -> u64 {
    // Newton's iteration doubles the number of right bits; an odd number is its
    // own inverse in the lowest three.
    let (mut x, mut bits) = (odd, 3);
    while bits < 64 {
        x = x.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(x)));
        bits *= 2;
    }
    x
}

/// The content of one stream of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pattern {
    seed: u64,
    length: u64,
}

/// The first byte that is not the one that belongs there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {position} is wrong: expected `{expected:#04x}`, found `{found:#04x}`{origin}")]
pub(super) struct Mismatch {
    /// Position in the stream.
    pub(super) position: u64,
    /// The byte that belongs there.
    pub(super) expected: u8,
    /// The byte that stands there.
    pub(super) found: u8,
    /// Where the wrong data comes from.
    pub(super) origin: Origin,
}

/// Where wrong data comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// Another place of the same stream.
    Position(u64),
    /// A page, or part of one, that was cleared.
    Zeros,
    /// Behind the last byte of the stream nothing belongs.
    BeyondEnd,
    /// Damaged, or of another stream.
    Unknown,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => write!(f, "; the data of byte {position} stands there"),
            Self::Zeros => f.write_str("; zeros stand there"),
            Self::BeyondEnd => f.write_str("; the stream ends before it"),
            Self::Unknown => f.write_str("; that is no data of this stream, or damaged"),
        }
    }
}

impl Pattern {
    /// The stream of `length` bytes that belongs to `seed`.
    pub(super) fn new(seed: u64, length: u64) -> Self {
        // Seeds of neighbouring streams differ in few bits; spread them, so that
        // the data of one is never taken for data of the other.
        Self { seed: mix(seed ^ FACTOR_A), length }
    }

    /// Bytes in the stream.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    fn word(&self, index: u64) -> [u8; WORD] {
        mix(index ^ self.seed).to_le_bytes()
    }

    fn byte(&self, position: u64) -> u8 {
        self.word(position / WORD as u64)[(position % WORD as u64) as usize]
    }

    /// Bytes up to the next aligned word.
    fn head(position: u64, len: usize) -> usize {
        let into = (position % WORD as u64) as usize;
        ((WORD - into) % WORD).min(len)
    }

    /// Writes what belongs at `position`.
    pub(super) fn fill(&self, bytes: &mut [u8], position: u64) {
        let (head, rest) = bytes.split_at_mut(Self::head(position, bytes.len()));
        for (byte, at) in head.iter_mut().zip(position..) {
            *byte = self.byte(at);
        }
        let position = position + head.len() as u64;
        let (words, tail) = rest.as_chunks_mut::<WORD>();
        for (word, index) in words.iter_mut().zip(position / WORD as u64..) {
            *word = self.word(index);
        }
        let position = position + (words.len() * WORD) as u64;
        for (byte, at) in tail.iter_mut().zip(position..) {
            *byte = self.byte(at);
        }
    }

    /// Whether `bytes` are exactly those that belong at `position`.
    ///
    /// # Errors
    ///
    /// The first byte that is not.
    pub(super) fn check(&self, bytes: &[u8], position: u64) -> Result<(), Mismatch> {
        let inside = usize::try_from(self.length.saturating_sub(position)).unwrap_or(usize::MAX);
        let belongs = &bytes[..inside.min(bytes.len())];
        if let Some(offset) = self.first_difference(belongs, position) {
            let at = position + offset as u64;
            return Err(Mismatch {
                position: at,
                expected: self.byte(at),
                found: bytes[offset],
                origin: self.origin(&bytes[offset..], at),
            });
        }
        match bytes.get(inside) {
            None => Ok(()),
            Some(&found) => {
                let origin = Origin::BeyondEnd;
                Err(Mismatch { position: self.length, expected: self.byte(self.length), found, origin })
            }
        }
    }

    fn first_difference(&self, bytes: &[u8], position: u64) -> Option<usize> {
        let differs = |part: &[u8], start: usize| {
            let at = (start..).zip(part).find(|(at, byte)| self.byte(position + *at as u64) != **byte);
            at.map(|(at, _)| at)
        };
        let head = Self::head(position, bytes.len());
        if let Some(at) = differs(&bytes[..head], 0) {
            return Some(at);
        }
        let first = (position + head as u64) / WORD as u64;
        let (words, tail) = bytes[head..].as_chunks::<WORD>();
        if let Some(n) = (first..).zip(words).position(|(index, word)| self.word(index) != *word) {
            return differs(&words[n], head + n * WORD);
        }
        differs(tail, bytes.len() - tail.len())
    }

    /// Reads the wrong data as words of the stream, at each of the eight
    /// alignments, and asks which of them say where they come from.
    fn origin(&self, wrong: &[u8], position: u64) -> Origin {
        let words = wrong.windows(WORD).take(WORD);
        if wrong.first_chunk::<WORD>() == Some(&[0; WORD]) {
            return Origin::Zeros;
        }
        for (shift, window) in (0_u64..).zip(words) {
            let Some(word) = window.first_chunk::<WORD>() else { break };
            let index = unmix(u64::from_le_bytes(*word)) ^ self.seed;
            if index >= self.length.div_ceil(WORD as u64) {
                continue;
            }
            // Words behind a damaged byte are in their right place.
            match (index * WORD as u64).checked_sub(shift) {
                Some(origin) if origin != position => return Origin::Position(origin),
                _ => {}
            }
        }
        Origin::Unknown
    }
}

/// What a transfer carries, and whether the receiver looks at it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Load {
    /// Every byte is generated and checked: for correctness.
    Verified(Pattern),
    /// This many bytes that nobody looks at, so that the time is the kernel's
    /// and not that of generator and checker.
    Timed(u64),
}

impl Load {
    /// Bytes in all.
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::Verified(pattern) => pattern.length(),
            Self::Timed(length) => *length,
        }
    }

    /// Prepares a buffer that will be sent as the bytes from `position` on.
    pub(super) fn fill(&self, bytes: &mut [u8], position: u64) {
        match self {
            Self::Verified(pattern) => pattern.fill(bytes, position),
            Self::Timed(_) => {}
        }
    }

    /// Looks at bytes that arrived as those from `position` on.
    ///
    /// # Errors
    ///
    /// The first byte that does not belong there.
    pub(super) fn check(&self, bytes: &[u8], position: u64) -> Result<(), Mismatch> {
        match self {
            Self::Verified(pattern) => pattern.check(bytes, position),
            Self::Timed(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: usize = 4096;

    fn stream(pattern: &Pattern) -> Vec<u8> {
        let mut bytes = vec![0; pattern.length() as usize];
        pattern.fill(&mut bytes, 0);
        bytes
    }

    fn page(bytes: &mut [u8], number: usize) -> &mut [u8] {
        &mut bytes[number * PAGE..][..PAGE]
    }

    #[test]
    fn the_mixer_can_be_undone() {
        for x in [0, 1, 2, 4095, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(unmix(mix(x)), x);
        }
    }

    #[test]
    fn a_repeated_page_is_named_by_the_place_it_comes_from() {
        let pattern = Pattern::new(7, 8 * PAGE as u64);
        let mut bytes = stream(&pattern);
        let second = page(&mut bytes, 1).to_vec();
        page(&mut bytes, 5).copy_from_slice(&second);
        let mismatch = pattern.check(&bytes, 0).expect_err("page 5 holds page 1");
        assert_eq!(mismatch.position, 5 * PAGE as u64);
        assert_eq!(mismatch.origin, Origin::Position(PAGE as u64));
        let text = mismatch.to_string();
        assert!(text.starts_with("byte 20480 is wrong: expected `0x"), "{text}");
        assert!(text.ends_with("; the data of byte 4096 stands there"), "{text}");
    }

    #[test]
    fn a_cleared_page_is_called_zeros() {
        let pattern = Pattern::new(7, 4 * PAGE as u64);
        let mut bytes = stream(&pattern);
        page(&mut bytes, 2).fill(0);
        let mismatch = pattern.check(&bytes, 0).expect_err("page 2 is empty");
        assert_eq!((mismatch.position, mismatch.origin), (2 * PAGE as u64, Origin::Zeros));
        assert!(mismatch.to_string().ends_with("found `0x00`; zeros stand there"), "{mismatch}");
    }

    #[test]
    fn a_page_of_another_stream_is_no_data_of_this_one() {
        let pattern = Pattern::new(7, 4 * PAGE as u64);
        let mut bytes = stream(&pattern);
        Pattern::new(8, 4 * PAGE as u64).fill(page(&mut bytes, 3), 3 * PAGE as u64);
        let mismatch = pattern.check(&bytes, 0).expect_err("page 3 is stale");
        assert_eq!((mismatch.position, mismatch.origin), (3 * PAGE as u64, Origin::Unknown));
    }

    #[test]
    fn a_byte_behind_the_end_is_refused() {
        let pattern = Pattern::new(7, 100);
        let mut bytes = vec![0; 101];
        pattern.fill(&mut bytes, 0);
        let mismatch = pattern.check(&bytes, 0).expect_err("one byte too many");
        assert_eq!((mismatch.position, mismatch.origin), (100, Origin::BeyondEnd));
        assert_eq!(pattern.check(&bytes[..100], 0), Ok(()));
        assert_eq!(pattern.check(&[], 500), Ok(()));
        pattern.check(&[1], 500).expect_err("far behind the end");
    }

    #[test]
    fn an_unchecked_load_is_neither_written_nor_read() {
        let load = Load::Timed(10);
        let mut bytes = [9; 10];
        load.fill(&mut bytes, 0);
        assert_eq!((bytes, load.length()), ([9; 10], 10));
        assert_eq!(load.check(&bytes, 0), Ok(()));
    }

    proptest! {
        #[test]
        fn the_parts_of_a_stream_are_the_stream(seed: u64, cuts in prop::collection::vec(1_usize..40, 1..20)) {
            let length: usize = cuts.iter().sum();
            let pattern = Pattern::new(seed, length as u64);
            let whole = stream(&pattern);
            let mut at = 0;
            for cut in cuts {
                let mut part = vec![0; cut];
                pattern.fill(&mut part, at as u64);
                prop_assert_eq!(&part[..], &whole[at..at + cut]);
                prop_assert_eq!(pattern.check(&part, at as u64), Ok(()));
                at += cut;
            }
        }

        #[test]
        fn a_flipped_bit_is_found_where_it_is(
            seed: u64, start in 0_u64..5000, len in 1_usize..300, at: prop::sample::Index, bit in 0_u8..8,
        ) {
            let pattern = Pattern::new(seed, 10_000);
            let mut bytes = vec![0; len];
            pattern.fill(&mut bytes, start);
            let at = at.index(len);
            bytes[at] ^= 1 << bit;
            let mismatch = pattern.check(&bytes, start).expect_err("one bit is wrong");
            prop_assert_eq!(mismatch.position, start + at as u64);
            prop_assert_eq!(mismatch.found, bytes[at]);
            prop_assert_eq!(mismatch.expected, bytes[at] ^ (1 << bit));
            prop_assert_eq!(mismatch.origin, Origin::Unknown);
        }

        #[test]
        fn two_swapped_pages_are_seen_and_named(seed: u64, a in 0_usize..16, b in 0_usize..16) {
            prop_assume!(a < b);
            let pattern = Pattern::new(seed, 16 * PAGE as u64);
            let mut bytes = stream(&pattern);
            let (first, second) = (page(&mut bytes, a).to_vec(), page(&mut bytes, b).to_vec());
            page(&mut bytes, a).copy_from_slice(&second);
            page(&mut bytes, b).copy_from_slice(&first);
            let mismatch = pattern.check(&bytes, 0).expect_err("swapped");
            let page_of = mismatch.position / PAGE as u64;
            prop_assert_eq!(page_of, a as u64);
            let within = mismatch.position % PAGE as u64;
            prop_assert_eq!(mismatch.origin, Origin::Position((b * PAGE) as u64 + within));
        }

        #[test]
        fn a_shifted_stream_is_seen_and_its_shift_told(seed: u64, at in 0_usize..5000, shift in 1_usize..5000) {
            let pattern = Pattern::new(seed, 20_000);
            let bytes = stream(&pattern);
            let mut shifted = bytes[..at].to_vec();
            shifted.extend_from_slice(&bytes[at + shift..]);
            let mismatch = pattern.check(&shifted, 0).expect_err("bytes are missing");
            // Bytes behind the cut may equal the lost ones by chance.
            prop_assert!(mismatch.position >= at as u64);
            prop_assert_eq!(mismatch.origin, Origin::Position(mismatch.position + shift as u64));
        }

        #[test]
        fn a_page_of_an_earlier_stream_is_seen(seed: u64, number in 0_usize..8) {
            let (old, new) = (Pattern::new(seed, 8 * PAGE as u64), Pattern::new(seed ^ 1, 8 * PAGE as u64));
            let mut bytes = stream(&new);
            old.fill(page(&mut bytes, number), (number * PAGE) as u64);
            let mismatch = new.check(&bytes, 0).expect_err("stale");
            prop_assert_eq!(mismatch.position / PAGE as u64, number as u64);
            prop_assert_eq!(mismatch.origin, Origin::Unknown);
        }
    }
}
