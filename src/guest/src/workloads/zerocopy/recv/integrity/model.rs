//! What each page of a mapping has to hold.
//!
//! Pure. The kernel does not say how much was queued when it began, so of pages
//! that were asked for and not filled one does not know whether they were removed:
//! they hold what they held, or nothing.

use std::ops::Range;

/// What is known of one page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    /// Nothing is there.
    Empty,
    /// The data of this position in the stream.
    Holds(u64),
    /// That, or nothing.
    Maybe(u64),
}

impl Slot {
    /// Whether this may be the state of a page.
    pub(super) fn allows(self, populated: bool) -> bool {
        match self {
            Self::Empty => !populated,
            Self::Holds(_) => populated,
            Self::Maybe(_) => true,
        }
    }

    /// Position of what is in it, if something is.
    pub(super) fn position(self) -> Option<u64> {
        match self {
            Self::Empty => None,
            Self::Holds(position) | Self::Maybe(position) => Some(position),
        }
    }
}

/// The pages of one mapping.
#[derive(Debug, Clone)]
pub(super) struct Model {
    slots: Vec<Slot>,
    page: usize,
}

impl Model {
    /// A mapping in which nothing is.
    pub(super) fn new(pages: usize, page: usize) -> Self {
        Self { slots: vec![Slot::Empty; pages], page }
    }

    /// All pages, in order.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The kernel was asked to map `asked` pages from `first` on, and says that
    /// it mapped `mapped` of them, with the data from `at` on.
    pub(super) fn received(&mut self, first: usize, asked: usize, mapped: usize, at: u64) {
        let pages = self.slots.len();
        for (slot, number) in self.slots.iter_mut().zip(0..).take(pages).skip(first).take(asked.max(mapped)) {
            let nth = number - first;
            *slot = match *slot {
                _ if nth < mapped => Slot::Holds(at + (nth * self.page) as u64),
                Slot::Holds(position) => Slot::Maybe(position),
                other => other,
            };
        }
    }

    /// The pages were given back.
    pub(super) fn discarded(&mut self, pages: Range<usize>) {
        if let Some(slots) = self.slots.get_mut(pages) {
            slots.fill(Slot::Empty);
        }
    }

    /// What was found cures doubts, unless it contradicts: then it is told.
    pub(super) fn seen(&mut self, populated: &[bool]) -> Option<String> {
        for (number, (slot, there)) in self.slots.iter_mut().zip(populated).enumerate() {
            if !slot.allows(*there) {
                return Some(match slot {
                    Slot::Empty => format!("page {number} is there, and nobody put one there"),
                    Slot::Holds(position) | Slot::Maybe(position) => {
                        format!("page {number}, which holds byte {position} and on, is not there")
                    }
                });
            }
            if let (Slot::Maybe(position), there) = (*slot, *there) {
                *slot = if there { Slot::Holds(position) } else { Slot::Empty };
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PAGE: usize = 4096;

    #[test]
    fn pages_that_were_mapped_hold_their_part_of_the_stream() {
        let mut model = Model::new(4, PAGE);
        model.received(1, 3, 2, 100);
        assert_eq!(model.slots(), [Slot::Empty, Slot::Holds(100), Slot::Holds(4196), Slot::Empty]);
    }

    #[test]
    fn old_pages_that_were_asked_for_and_not_filled_may_be_gone() {
        let mut model = Model::new(4, PAGE);
        model.received(0, 4, 4, 0);
        model.received(0, 3, 1, 1 << 20);
        assert_eq!(model.slots()[0], Slot::Holds(1 << 20));
        assert_eq!(model.slots()[1..3], [Slot::Maybe(4096), Slot::Maybe(8192)]);
        assert_eq!(model.slots()[3], Slot::Holds(12288));
        assert_eq!(model.seen(&[true, false, true, true]), None);
        assert_eq!(model.slots()[1..3], [Slot::Empty, Slot::Holds(8192)]);
    }

    #[test]
    fn a_page_too_many_and_one_too_few_are_told() {
        let mut model = Model::new(3, PAGE);
        model.received(0, 3, 2, 0);
        let many = model.seen(&[true, true, true]);
        assert_eq!(many.as_deref(), Some("page 2 is there, and nobody put one there"));
        let few = model.seen(&[true, false, false]);
        assert_eq!(few.as_deref(), Some("page 1, which holds byte 4096 and on, is not there"));
    }

    #[test]
    fn a_kernel_that_claims_more_than_there_is_cannot_break_the_model() {
        let mut model = Model::new(2, PAGE);
        model.received(1, 1, 100, 0);
        assert_eq!(model.slots(), [Slot::Empty, Slot::Holds(0)]);
        model.discarded(0..100);
        assert_eq!(model.slots()[1], Slot::Holds(0));
    }

    proptest! {
        #[test]
        fn whatever_the_kernel_says_the_model_keeps_its_size(
            calls in prop::collection::vec((0_usize..20, 0_usize..20, 0_usize..20, any::<u32>()), 0..30),
        ) {
            let mut model = Model::new(16, PAGE);
            for (first, asked, mapped, at) in calls {
                model.received(first, asked, mapped, u64::from(at));
                prop_assert_eq!(model.slots().len(), 16);
                for number in first..first + mapped.min(16_usize.saturating_sub(first)) {
                    let position = u64::from(at) + ((number - first) * PAGE) as u64;
                    prop_assert_eq!(model.slots()[number], Slot::Holds(position));
                }
            }
        }

        #[test]
        fn what_was_seen_leaves_no_doubt(
            calls in prop::collection::vec((0_usize..16, 0_usize..16, 0_usize..16), 1..20),
            there: [bool; 16],
        ) {
            let mut model = Model::new(16, PAGE);
            for (first, asked, mapped) in calls {
                model.received(first, asked, mapped, 0);
            }
            let populated: Vec<bool> =
                model.slots().iter().zip(there).map(|(slot, there)| match slot {
                    Slot::Empty => false,
                    Slot::Holds(_) => true,
                    Slot::Maybe(_) => there,
                }).collect();
            prop_assert_eq!(model.seen(&populated), None);
            prop_assert!(!model.slots().iter().any(|slot| matches!(slot, Slot::Maybe(_))));
            prop_assert_eq!(model.seen(&populated), None);
        }
    }
}
