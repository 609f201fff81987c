//! What the notifications of one namespace say: which devices are there. Pure.

use std::collections::BTreeSet;

/// What a notification says of a device, by its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// It is there (`RTM_NEWLINK`): it has come, or has changed.
    There(u32),
    /// It has gone (`RTM_DELLINK`).
    Gone(u32),
}

/// Devices of a namespace as its listener knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Ledger {
    there: BTreeSet<u32>,
}

impl Ledger {
    /// Begins with the devices of a dump.
    pub(super) fn new(there: impl IntoIterator<Item = u32>) -> Self {
        Self { there: there.into_iter().collect() }
    }

    /// Takes a notification.
    ///
    /// # Errors
    ///
    /// Says so when a device goes that was not there.
    pub(super) fn enter(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::There(index) => {
                self.there.insert(index);
                Ok(())
            }
            Entry::Gone(index) if self.there.remove(&index) => Ok(()),
            Entry::Gone(index) => {
                Err(format!("RTM_DELLINK for device {index}, which was not announced or went before"))
            }
        }
    }

    /// Compares with a dump.
    ///
    /// # Errors
    ///
    /// Says which devices only one of the two knows.
    pub(super) fn compare(&self, dump: &BTreeSet<u32>) -> Result<(), String> {
        let unannounced: Vec<_> = dump.difference(&self.there).collect();
        let unretracted: Vec<_> = self.there.difference(dump).collect();
        if unannounced.is_empty() && unretracted.is_empty() {
            return Ok(());
        }
        Err(format!(
            "notifications and devices differ: without RTM_NEWLINK {unannounced:?}, without RTM_DELLINK {unretracted:?}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Entry::{Gone, There};
    use super::*;

    #[test]
    fn a_device_that_comes_and_goes_leaves_nothing() {
        let mut ledger = Ledger::new([1]);
        for entry in [There(2), There(2), Gone(2)] {
            ledger.enter(entry).expect("in order");
        }
        assert_eq!(ledger.compare(&[1].into()), Ok(()));
    }

    #[test]
    fn a_device_cannot_go_twice() {
        let mut ledger = Ledger::new([2]);
        ledger.enter(Gone(2)).expect("there");
        ledger.enter(Gone(2)).expect_err("gone");
    }

    #[test]
    fn a_device_that_came_or_went_in_silence_is_found() {
        let text = Ledger::new([1, 3]).compare(&[1, 2].into()).expect_err("differ");
        assert_eq!(
            text,
            "notifications and devices differ: without RTM_NEWLINK [2], without RTM_DELLINK [3]"
        );
    }

    proptest! {
        #[test]
        fn it_knows_what_a_set_knows(steps in proptest::collection::vec((any::<bool>(), 1_u32..6), 0..60)) {
            let (mut ledger, mut set) = (Ledger::default(), BTreeSet::new());
            for (there, index) in steps {
                let entry = if there { There(index) } else { Gone(index) };
                let expected = there || set.contains(&index);
                prop_assert_eq!(ledger.enter(entry).is_ok(), expected);
                if there { set.insert(index); } else { set.remove(&index); }
            }
            prop_assert_eq!(ledger.compare(&set), Ok(()));
        }
    }
}
