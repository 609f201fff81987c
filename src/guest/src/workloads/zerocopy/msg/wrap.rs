//! What the numbers of sends do at 2^32, on a model of the kernel.
//!
//! No call sets `sk_zckey`, and to count so far takes hours: the arithmetic of
//! `msg_zerocopy_realloc()` and `skb_zerocopy_notify_extend()` (net/core/skbuff.c)
//! is done here, and its reports are given to the ledger that the workloads use.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::completions::Completions;

/// A socket of the kernel: its counter, notifications that are under way, and the
/// error queue.
#[derive(Debug, Default)]
struct Kernel {
    key: u32,
    /// First number and count.
    under_way: VecDeque<(u32, u16)>,
    queue: VecDeque<(u32, u32)>,
}

impl Kernel {
    fn send(&mut self, together: bool) {
        if together
            && let Some((id, len)) = self.under_way.back_mut()
            && *len < u16::MAX - 1
            && id.wrapping_add(u32::from(*len)) == self.key
        {
            *len += 1;
        } else {
            self.under_way.push_back((self.key, 1));
        }
        self.key = self.key.wrapping_add(1);
    }

    fn complete(&mut self, which: usize) {
        let Some((id, len)) = self.under_way.remove(which) else { return };
        if let Some((first, last)) = self.queue.back_mut() {
            let sum = u64::from(last.wrapping_sub(*first)) + 1 + u64::from(len);
            if sum < 1 << 32 && id == last.wrapping_add(1) {
                *last = last.wrapping_add(u32::from(len));
                return;
            }
        }
        self.queue.push_back((id, id.wrapping_add(u32::from(len) - 1)));
    }
}

proptest! {
    #[test]
    fn whatever_the_kernel_merges_at_the_wrap_completes_everything_once(
        before in 0_u64..40,
        steps in prop::collection::vec((0_u8..4, any::<prop::sample::Index>()), 1..200),
    ) {
        let base = (1 << 32) - before;
        let mut kernel = Kernel { key: base as u32, ..Kernel::default() };
        let mut ledger = Completions::beginning_at(base);
        for (step, which) in steps {
            match step {
                0 | 1 => {
                    kernel.send(step == 0);
                    ledger.sent();
                }
                2 if !kernel.under_way.is_empty() => kernel.complete(which.index(kernel.under_way.len())),
                _ => {
                    if let Some((first, last)) = kernel.queue.pop_front() {
                        prop_assert!(ledger.completed(first, last).is_ok());
                    }
                }
            }
        }
        while !kernel.under_way.is_empty() {
            kernel.complete(0);
        }
        while let Some((first, last)) = kernel.queue.pop_front() {
            prop_assert!(ledger.completed(first, last).is_ok());
            prop_assert!(ledger.completed(first, last).is_err(), "a second time");
        }
        prop_assert_eq!(ledger.outstanding(), 0);
    }

    #[test]
    fn a_number_that_is_one_off_at_the_wrap_is_refused_or_leaves_a_gap(
        before in 1_u64..5, after in 1_u64..5,
    ) {
        let mut ledger = Completions::beginning_at((1 << 32) - before);
        for _ in 0..before + after {
            ledger.sent();
        }
        let first = (before as u32).wrapping_neg();
        let last = after as u32 - 1;
        prop_assert!(ledger.clone().completed(first, last.wrapping_add(1)).is_err());
        prop_assert!(ledger.clone().completed(first.wrapping_sub(1), last).is_err());
        prop_assert!(ledger.completed(first.wrapping_add(1), last).is_ok());
        prop_assert_eq!(ledger.outstanding(), 1);
    }
}
