//! The roll of things that are there all the time, with which a dump is called
//! over. Pure.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// An entry of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// A device: its index, and its name.
    Link(u32, String),
    /// A device by its name alone.
    Name(String),
    /// An address of the device with this index.
    Address(u32, IpAddr),
    /// A route to the subnet of this address, out of this device.
    Route(u32, IpAddr),
    /// A neighbour that this device leads to.
    Neighbour(u32, IpAddr),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(index, name) => write!(f, "device {index} `{name}`"),
            Self::Name(name) => write!(f, "device `{name}`"),
            Self::Address(index, address) => write!(f, "address {address} of device {index}"),
            Self::Route(index, subnet) => write!(f, "route to {subnet} by device {index}"),
            Self::Neighbour(index, address) => write!(f, "neighbour {address} on device {index}"),
        }
    }
}

/// What has to be in every dump, once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Roll(Vec<Entry>);

impl Roll {
    /// Of these.
    pub(super) fn new(entries: impl IntoIterator<Item = Entry>) -> Self {
        Self(entries.into_iter().collect())
    }

    /// Whether nobody is on it.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls it over. What is in the dump beside it may come and go.
    ///
    /// # Errors
    ///
    /// Says what is missing, and what is there more than once.
    pub(super) fn call(&self, dump: &[Entry]) -> Result<(), String> {
        let mut seen = BTreeMap::new();
        for entry in dump {
            *seen.entry(entry).or_insert(0_u32) += 1;
        }
        let of = |wrong: fn(u32) -> bool| {
            let count = |entry: &Entry| seen.get(entry).copied().unwrap_or(0);
            let found: Vec<_> = self.0.iter().filter(|it| wrong(count(it))).map(Entry::to_string).collect();
            found
        };
        let (missing, repeated) = (of(|count| count == 0), of(|count| count > 1));
        if missing.is_empty() && repeated.is_empty() {
            return Ok(());
        }
        let list = |what: &str, all: &[String]| match all {
            [] => None,
            [one] => Some(format!("{one} is {what}")),
            [one, rest @ ..] => Some(format!("{one} and {} more are {what}", rest.len())),
        };
        let parts = [list("missing", &missing), list("there more than once", &repeated)];
        Err(format!(
            "{} ({} entries in all)",
            parts.into_iter().flatten().collect::<Vec<_>>().join("; "),
            dump.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn link(index: u32) -> Entry {
        Entry::Link(index, format!("p{index}"))
    }

    #[test]
    fn others_may_come_and_go_and_come_twice() {
        let roll = Roll::new([link(1), link(2)]);
        assert_eq!(roll.call(&[link(9), link(2), link(9), link(1)]), Ok(()));
    }

    #[test]
    fn a_device_that_is_passed_over_is_missing() {
        let roll = Roll::new([link(1), link(2), link(3)]);
        assert_eq!(roll.call(&[link(1), link(3)]), Err("device 2 `p2` is missing (2 entries in all)".into()));
        assert_eq!(
            roll.call(&[link(1), link(1)]),
            Err("device 2 `p2` and 1 more are missing; device 1 `p1` is there more than once \
                 (2 entries in all)"
                .into())
        );
    }

    #[test]
    fn a_device_under_another_name_or_index_is_missing() {
        let roll = Roll::new([link(1)]);
        roll.call(&[Entry::Link(1, "p2".into())]).expect_err("another name");
        roll.call(&[Entry::Link(2, "p1".into())]).expect_err("another index");
        roll.call(&[Entry::Name("p1".into())]).expect_err("no index");
    }

    proptest! {
        #[test]
        fn a_dump_is_good_just_when_each_is_there_once(
            dump in proptest::collection::vec(0_u32..6, 0..12),
        ) {
            let entries: Vec<_> = dump.iter().copied().map(link).collect();
            let good = (0..3).all(|index| dump.iter().filter(|it| **it == index).count() == 1);
            prop_assert_eq!(Roll::new((0..3).map(link)).call(&entries).is_ok(), good);
        }
    }
}
