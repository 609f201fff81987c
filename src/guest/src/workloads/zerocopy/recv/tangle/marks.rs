//! Which parts of a stream have arrived, when nobody knows in which order: each
//! exactly once.
//!
//! Pure.

use std::collections::BTreeMap;

use super::super::super::pattern::{Origin, Pattern};

/// Bytes that are told apart without fail.
pub(super) const PIECE: usize = 64;

/// Position of bytes in the stream, if all of them are one part of it.
pub(super) fn locate(pattern: &Pattern, bytes: &[u8]) -> Option<u64> {
    let position = match pattern.check(bytes, 0) {
        Ok(()) => 0,
        Err(mismatch) => match mismatch.origin {
            // The first byte that differs from the beginning of the stream may
            // be a later one by chance.
            Origin::Position(position) => position.checked_sub(mismatch.position)?,
            _ => return None,
        },
    };
    pattern.check(bytes, position).ok().map(|()| position)
}

/// Parts that have arrived.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Ends by beginnings, of parts that do not touch.
    parts: BTreeMap<u64, u64>,
}

impl Marks {
    /// Takes a part; the first byte of it that was there before, if any.
    pub(super) fn take(&mut self, begin: u64, bytes: usize) -> Option<u64> {
        let mut begin = begin;
        let mut end = begin + bytes as u64;
        if let Some((&from, &to)) = self.parts.range(..end).next_back()
            && to > begin
        {
            return Some(from.max(begin));
        }
        if let Some(to) = self.parts.remove(&end) {
            end = to;
        }
        if let Some((&from, &to)) = self.parts.range(..begin).next_back()
            && to == begin
        {
            begin = from;
        }
        self.parts.insert(begin, end);
        None
    }

    /// Whether everything has arrived; else the first byte that has not.
    pub(super) fn missing(&self, total: u64) -> Option<u64> {
        let first = match self.parts.first_key_value() {
            Some((0, end)) => *end,
            _ => 0,
        };
        (first < total).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(pattern: &Pattern, position: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        pattern.fill(&mut bytes, position);
        bytes
    }

    #[test]
    fn parts_in_any_order_make_the_whole() {
        let mut marks = Marks::default();
        for (begin, len) in [(4, 4), (0, 4), (12, 4), (8, 4)] {
            assert_eq!(marks.take(begin, len), None);
        }
        assert_eq!(marks.missing(16), None);
        assert_eq!(marks.missing(17), Some(16));
    }

    #[test]
    fn a_part_that_comes_twice_is_told_by_its_first_byte() {
        for (begin, len, first) in [(4, 4, 4), (0, 5, 4), (7, 4, 7), (0, 20, 4), (5, 1, 5)] {
            let mut marks = Marks::default();
            marks.take(4, 4);
            assert_eq!(marks.take(begin, len), Some(first), "{begin}, {len}");
        }
    }

    #[test]
    fn a_hole_is_found() {
        let mut marks = Marks::default();
        assert_eq!(marks.missing(1), Some(0));
        marks.take(8, 8);
        assert_eq!(marks.missing(16), Some(0));
        marks.take(0, 4);
        assert_eq!(marks.missing(16), Some(4));
    }

    #[test]
    fn data_of_another_stream_has_no_place() {
        let (one, other) = (Pattern::new(1, 1 << 20), Pattern::new(2, 1 << 20));
        assert_eq!(locate(&one, &bytes(&other, 4096, PIECE)), None);
        assert_eq!(locate(&one, &[0; PIECE]), None);
        let mut torn = bytes(&one, 4096, PIECE);
        torn[PIECE / 2..].copy_from_slice(&bytes(&other, 4096, PIECE / 2));
        assert_eq!(locate(&one, &torn), None);
    }

    proptest! {
        #[test]
        fn every_piece_is_found_where_it_belongs(seed: u64, position in 0_u64..(1 << 20) - 64, len in 64_usize..65) {
            let pattern = Pattern::new(seed, 1 << 20);
            prop_assert_eq!(locate(&pattern, &bytes(&pattern, position, len)), Some(position));
        }

        #[test]
        fn whatever_arrives_the_marks_say_what_is_missing(
            parts in prop::collection::vec((0_u64..60, 1_usize..6), 0..40),
        ) {
            let mut marks = Marks::default();
            let mut have = [false; 66];
            for (begin, len) in parts {
                let range = begin as usize..begin as usize + len;
                let twice = range.clone().find(|at| have[*at]);
                let told = marks.take(begin, len);
                prop_assert_eq!(told.is_some(), twice.is_some());
                if twice.is_none() {
                    have[range].fill(true);
                }
            }
            let missing = have.iter().position(|there| !there).map(|at| at as u64);
            prop_assert_eq!(marks.missing(66), missing);
        }
    }
}
