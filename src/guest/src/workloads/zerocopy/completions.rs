//! Which zerocopy sends have been reported as completed: each exactly once.
//!
//! Pure. The kernel numbers the successful calls of a socket from 0 with 32 bits
//! that wrap, and reports ranges of numbers, in any order, neighbours merged
//! (`skb_zerocopy_notify_extend()` in net/core/skbuff.c).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

const IDS: u64 = 1 << 32;

/// A range that the kernel must not report.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RangeError {
    /// It names a call that was not made, or failed.
    #[error("the completion of sends {first}..={last} names sends that were never made: {made} were")]
    NeverMade {
        /// First number as reported.
        first: u32,
        /// Last number as reported.
        last: u32,
        /// Successful calls so far.
        made: u64,
    },
    /// It names a call that was completed before.
    #[error("send {send} is reported as completed twice, now with the range {first}..={last}")]
    Twice {
        /// The call, counted without wrapping.
        send: u64,
        /// First number as reported.
        first: u32,
        /// Last number as reported.
        last: u32,
    },
}

/// The sends of one socket and their completions.
#[derive(Debug, Clone, Default)]
pub(super) struct Completions {
    /// Calls before the first one counted here.
    base: u64,
    /// Number of the next call, without wrapping.
    next: u64,
    /// Completed ranges that do not touch, by their first number.
    done: BTreeMap<u64, u64>,
    /// Sum of their sizes.
    done_count: u64,
}

impl Completions {
    /// A socket on which no send was made yet.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// A socket after `base` sends that are all completed.
    #[cfg(test)]
    pub(super) fn beginning_at(base: u64) -> Self {
        Self { base, next: base, ..Self::default() }
    }

    /// Counts a successful call with the flag, and returns its number.
    pub(super) fn sent(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    /// Successful calls so far.
    pub(super) fn made(&self) -> u64 {
        self.next - self.base
    }

    /// Calls whose completion has not been reported.
    pub(super) fn outstanding(&self) -> u64 {
        self.made() - self.done_count
    }

    /// Takes a reported range, and returns it without wrapping.
    ///
    /// # Errors
    ///
    /// Any number in it that was never sent, or completed before. The range is
    /// not taken then.
    pub(super) fn completed(&mut self, first: u32, last: u32) -> Result<RangeInclusive<u64>, RangeError> {
        let made = self.made();
        let never = RangeError::NeverMade { first, last, made };
        let Some(newest) = self.next.checked_sub(1) else { return Err(never) };
        // Of all numbers that look like `last`, the newest that was sent.
        let back = newest.wrapping_sub(u64::from(last)) % IDS;
        let span = u64::from(last.wrapping_sub(first));
        let Some(start) = newest.checked_sub(back + span).filter(|start| *start >= self.base) else {
            return Err(never);
        };
        let end = start + span;
        let below = self.done.range(..=end).next_back().map(|(a, b)| (*a, *b));
        if let Some((a, b)) = below
            && b >= start
        {
            return Err(RangeError::Twice { send: a.max(start), first, last });
        }
        self.insert(start, end);
        Ok(start..=end)
    }

    fn insert(&mut self, mut start: u64, mut end: u64) {
        self.done_count += end - start + 1;
        if let Some(after) = self.done.remove(&(end + 1)) {
            end = after;
        }
        if let Some((&before, &until)) = self.done.range(..start).next_back()
            && until + 1 == start
        {
            start = before;
        }
        self.done.insert(start, end);
    }

    /// The calls that wait for their completion, in words.
    pub(super) fn missing(&self) -> String {
        const SHOWN: usize = 4;
        let mut gaps = Vec::new();
        let mut at = self.base;
        for (&start, &end) in &self.done {
            if at < start {
                gaps.push((at, start - 1));
            }
            at = end + 1;
        }
        if at < self.next {
            gaps.push((at, self.next - 1));
        }
        let mut shown: Vec<String> =
            gaps.iter().take(SHOWN).map(|(start, end)| in_words(*start, *end)).collect();
        if gaps.len() > SHOWN {
            shown.push("...".into());
        }
        let noun = if self.outstanding() == 1 { "send" } else { "sends" };
        format!("{noun} {} ({} of {})", shown.join(", "), self.outstanding(), self.made())
    }
}

fn in_words(start: u64, end: u64) -> String {
    if start == end { start.to_string() } else { format!("{start}..={end}") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(base: u64, sends: u64) -> Completions {
        let mut completions = Completions::beginning_at(base);
        for n in 0..sends {
            assert_eq!(completions.sent(), base + n);
        }
        completions
    }

    #[test]
    fn numbers_are_given_from_zero() {
        let mut completions = Completions::new();
        assert_eq!((completions.sent(), completions.sent()), (0, 1));
        assert_eq!((completions.made(), completions.outstanding()), (2, 2));
    }

    #[test]
    fn ranges_in_any_order_complete_everything() {
        let mut completions = after(0, 10);
        for (first, last) in [(7, 9), (0, 0), (3, 6), (1, 2)] {
            let range = completions.completed(first, last).expect("new range");
            assert_eq!(range, u64::from(first)..=u64::from(last));
        }
        assert_eq!(completions.outstanding(), 0);
        assert_eq!(completions.done, BTreeMap::from([(0, 9)]));
    }

    #[test]
    fn a_lost_completion_is_named() {
        let mut completions = after(0, 10);
        completions.completed(0, 3).expect("new range");
        completions.completed(5, 9).expect("new range");
        assert_eq!(completions.missing(), "send 4 (1 of 10)");
    }

    #[test]
    fn many_gaps_are_shortened() {
        let mut completions = after(0, 20);
        for n in (1..18).step_by(3) {
            completions.completed(n, n).expect("new range");
        }
        assert_eq!(completions.missing(), "sends 0, 2..=3, 5..=6, 8..=9, ... (14 of 20)");
        assert_eq!(after(0, 3).missing(), "sends 0..=2 (3 of 3)");
    }

    #[test]
    fn a_completion_reported_twice_is_refused_in_every_overlap() {
        for (first, last, send) in [(3, 5, 3), (2, 3, 3), (5, 6, 5), (4, 4, 4), (0, 9, 3)] {
            let mut completions = after(0, 10);
            completions.completed(3, 5).expect("new range");
            let error = completions.completed(first, last).expect_err("an overlap");
            assert_eq!(error, RangeError::Twice { send, first, last });
            assert_eq!(completions.outstanding(), 7, "the bad range is not taken");
        }
    }

    #[test]
    fn a_send_that_was_never_made_is_refused() {
        let error = Completions::new().completed(0, 0).expect_err("nothing was sent");
        assert_eq!(error, RangeError::NeverMade { first: 0, last: 0, made: 0 });
        let mut completions = after(0, 10);
        for (first, last) in [(10, 10), (9, 10), (11, 20), (u32::MAX, u32::MAX), (u32::MAX, 0), (5, 4)] {
            let error = completions.completed(first, last).expect_err("not sent");
            assert_eq!(error, RangeError::NeverMade { first, last, made: 10 });
        }
        assert_eq!(completions.outstanding(), 10);
        let text = completions.completed(9, 10).expect_err("not sent").to_string();
        assert_eq!(text, "the completion of sends 9..=10 names sends that were never made: 10 were");
    }

    #[test]
    fn a_range_may_lie_across_the_wrap() {
        let mut completions = after(IDS - 3, 6);
        assert_eq!(completions.completed(u32::MAX - 1, 1), Ok(IDS - 2..=IDS + 1));
        assert_eq!(completions.completed(2, 2), Ok(IDS + 2..=IDS + 2));
        assert_eq!(completions.completed(u32::MAX - 2, u32::MAX - 2), Ok(IDS - 3..=IDS - 3));
        assert_eq!(completions.outstanding(), 0);
    }

    #[test]
    fn after_the_wrap_a_number_means_its_newest_send() {
        let mut completions = after(0, 0);
        completions.base = IDS;
        completions.next = IDS + 4;
        assert_eq!(completions.completed(0, 3), Ok(IDS..=IDS + 3));
        let error = completions.completed(u32::MAX, u32::MAX).expect_err("before the first");
        assert!(matches!(error, RangeError::NeverMade { .. }), "{error}");
    }

    /// Cuts `0..sends` at `cuts`, and puts the pieces in the order of `keys`.
    fn pieces(sends: u64, cuts: &[u64], keys: &[u32]) -> Vec<(u64, u64)> {
        let mut edges: Vec<u64> = cuts.iter().map(|cut| cut % sends).chain([0, sends]).collect();
        edges.sort_unstable();
        edges.dedup();
        let mut pieces: Vec<(u64, u64)> = edges.windows(2).map(|pair| (pair[0], pair[1] - 1)).collect();
        let mut order: Vec<usize> = (0..pieces.len()).collect();
        order.sort_by_key(|n| keys.get(*n).copied().unwrap_or(0));
        pieces = order.into_iter().map(|n| pieces[n]).collect();
        pieces
    }

    proptest! {
        #[test]
        fn every_partition_completes_exactly_once(
            base in prop_oneof![Just(0_u64), IDS - 300..IDS + 300],
            sends in 1_u64..300,
            cuts in prop::collection::vec(any::<u64>(), 0..20),
            keys in prop::collection::vec(any::<u32>(), 22),
            again: prop::sample::Index,
            lost: prop::sample::Index,
        ) {
            let all = pieces(sends, &cuts, &keys);
            let lost = lost.index(all.len());
            let mut completions = after(base, sends);
            for (n, (start, end)) in all.iter().map(|(a, b)| (base + a, base + b)).enumerate() {
                if n != lost {
                    prop_assert_eq!(completions.completed(start as u32, end as u32), Ok(start..=end));
                }
            }
            let (start, end) = (base + all[lost].0, base + all[lost].1);
            prop_assert_eq!(completions.outstanding(), end - start + 1);
            prop_assert!(completions.missing().contains(&start.to_string()));
            prop_assert_eq!(completions.completed(start as u32, end as u32), Ok(start..=end));
            prop_assert_eq!(completions.outstanding(), 0);

            let (start, end) = all[again.index(all.len())];
            let (first, last) = ((base + start) as u32, (base + end) as u32);
            let error = completions.completed(first, last).expect_err("again");
            prop_assert_eq!(error, RangeError::Twice { send: base + start, first, last });
        }

        #[test]
        fn no_report_makes_it_panic_or_count_wrong(
            base in prop_oneof![Just(0_u64), IDS - 5..IDS + 5],
            sends in 0_u64..20,
            reports in prop::collection::vec((any::<u32>(), 0_u32..30), 0..50),
        ) {
            let mut completions = after(base, sends);
            for (near, span) in reports {
                let first = if span % 2 == 0 { near } else { near % 32 };
                let before = completions.outstanding();
                let taken = completions.completed(first, first.wrapping_add(span / 2));
                let size = taken.map_or(0, |range| range.end() - range.start() + 1);
                prop_assert_eq!(completions.outstanding(), before - size);
            }
        }
    }
}
