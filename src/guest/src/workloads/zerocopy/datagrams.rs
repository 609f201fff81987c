//! Which datagrams of a sequence have arrived: each exactly once, unharmed.
//!
//! Pure. UDP promises no order even on loopback, where a sender that moves to
//! another CPU queues its next datagram there. So a datagram is recognised by
//! its content, among those that can be on their way.

use std::collections::BTreeSet;

use super::pattern::{Load, Mismatch};

/// Why a datagram is not one of those that are due.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DatagramError {
    /// Cut, or joined with another.
    #[error("a datagram of `{found}` bytes arrived, each has `{expected}`")]
    Length {
        /// Bytes that every datagram has.
        expected: usize,
        /// Bytes that this one has.
        found: usize,
    },
    /// It equals none of them; compared with the oldest.
    #[error("a datagram arrived that is none of those on their way; as number {number}, {mismatch}")]
    Content {
        /// The oldest that is due.
        number: u64,
        /// How it differs from that.
        mismatch: Mismatch,
    },
    /// All have arrived.
    #[error("a datagram arrived after all {0} were taken")]
    Surplus(u64),
}

/// The receiving end of a sequence of datagrams of one size.
#[derive(Debug, Clone)]
pub(super) struct Datagrams {
    load: Load,
    bytes: usize,
    /// Datagrams in all.
    count: u64,
    /// How many can be on their way at once.
    ahead: u64,
    /// The lowest number that has not arrived.
    next: u64,
    /// Higher numbers that have.
    early: BTreeSet<u64>,
}

impl Datagrams {
    /// Awaits the load in datagrams of `bytes` bytes, which divides its length.
    pub(super) fn new(load: Load, bytes: usize, ahead: u64) -> Self {
        let count = load.length() / bytes.max(1) as u64;
        Self { load, bytes, count, ahead, next: 0, early: BTreeSet::new() }
    }

    /// Datagrams in all.
    pub(super) fn total(&self) -> u64 {
        self.count
    }

    /// Datagrams that have arrived.
    pub(super) fn taken(&self) -> u64 {
        self.next + self.early.len() as u64
    }

    /// Whether all have.
    pub(super) fn complete(&self) -> bool {
        self.next == self.count
    }

    /// Takes a datagram, and returns its number.
    ///
    /// # Errors
    ///
    /// Any [`DatagramError`]; nothing is taken then.
    pub(super) fn take(&mut self, datagram: &[u8]) -> Result<u64, DatagramError> {
        if self.complete() {
            return Err(DatagramError::Surplus(self.count));
        }
        if datagram.len() != self.bytes {
            return Err(DatagramError::Length { expected: self.bytes, found: datagram.len() });
        }
        // The sender has not gone further than this.
        let end = self.count.min(self.taken() + self.ahead);
        let mut first = None;
        for number in (self.next..end).filter(|number| !self.early.contains(number)) {
            match self.load.check(datagram, number * self.bytes as u64) {
                Ok(()) => {
                    self.arrived(number);
                    return Ok(number);
                }
                Err(mismatch) => {
                    first.get_or_insert((number, mismatch));
                }
            }
        }
        match first {
            Some((number, mismatch)) => Err(DatagramError::Content { number, mismatch }),
            None => Err(DatagramError::Surplus(self.taken())),
        }
    }

    fn arrived(&mut self, number: u64) {
        self.early.insert(number);
        while self.early.remove(&self.next) {
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::workloads::zerocopy::pattern::{Origin, Pattern};

    const BYTES: usize = 48;

    fn awaiting(count: u64, ahead: u64) -> (Pattern, Datagrams) {
        let pattern = Pattern::new(11, count * BYTES as u64);
        (pattern, Datagrams::new(Load::Verified(pattern), BYTES, ahead))
    }

    fn datagram(pattern: &Pattern, number: u64) -> Vec<u8> {
        let mut bytes = vec![0; BYTES];
        pattern.fill(&mut bytes, number * BYTES as u64);
        bytes
    }

    #[test]
    fn datagrams_may_overtake_each_other_within_the_window() {
        let (pattern, mut due) = awaiting(6, 3);
        for number in [2, 0, 1, 4, 3, 5] {
            assert_eq!(due.take(&datagram(&pattern, number)), Ok(number));
        }
        assert!(due.complete());
        assert_eq!(due.taken(), 6);
    }

    #[test]
    fn a_doubled_datagram_is_named_by_its_origin() {
        let (pattern, mut due) = awaiting(6, 3);
        due.take(&datagram(&pattern, 0)).expect("due");
        let error = due.take(&datagram(&pattern, 0)).expect_err("again");
        let DatagramError::Content { number: 1, mismatch } = &error else { panic!("{error}") };
        assert_eq!((mismatch.position, mismatch.origin), (BYTES as u64, Origin::Position(0)));
        assert_eq!(due.taken(), 1);
    }

    #[test]
    fn a_datagram_that_was_not_sent_yet_is_refused() {
        let (pattern, mut due) = awaiting(6, 3);
        let error = due.take(&datagram(&pattern, 3)).expect_err("beyond the window");
        assert!(matches!(error, DatagramError::Content { number: 0, .. }), "{error}");
    }

    #[test]
    fn a_cut_datagram_and_one_too_many_are_refused() {
        let (pattern, mut due) = awaiting(1, 3);
        let whole = datagram(&pattern, 0);
        let error = due.take(&whole[1..]).expect_err("cut");
        assert_eq!(error, DatagramError::Length { expected: BYTES, found: BYTES - 1 });
        due.take(&whole).expect("due");
        assert_eq!(due.take(&whole), Err(DatagramError::Surplus(1)));
    }

    #[test]
    fn unchecked_datagrams_are_counted() {
        let mut due = Datagrams::new(Load::Timed(30), 10, 1);
        for number in 0..3 {
            assert_eq!(due.take(&[0; 10]), Ok(number));
        }
        assert!(due.complete());
    }

    proptest! {
        #[test]
        fn any_order_that_the_window_allows_is_taken(
            count in 1_u64..60, ahead in 1_u64..8, picks in prop::collection::vec(any::<prop::sample::Index>(), 60),
            bytes in 1_usize..40,
        ) {
            let pattern = Pattern::new(5, count * bytes as u64);
            let mut due = Datagrams::new(Load::Verified(pattern), bytes, ahead);
            let (mut sent, mut flying) = (0, Vec::new());
            for pick in picks.iter().cycle().take(count as usize) {
                while sent < count && (flying.len() as u64) < ahead {
                    let mut one = vec![0; bytes];
                    pattern.fill(&mut one, sent * bytes as u64);
                    flying.push(one);
                    sent += 1;
                }
                let one = flying.remove(pick.index(flying.len()));
                prop_assert!(due.take(&one).is_ok());
            }
            prop_assert!(due.complete());
        }
    }
}
