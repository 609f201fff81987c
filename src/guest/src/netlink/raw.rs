//! Messages for which the packet crates have no type: a fixed header, and
//! attributes after it.

use std::io;

use netlink_packet_core::{
    NLM_F_CREATE, NLM_F_EXCL, NetlinkDeserializable, NetlinkHeader, NetlinkSerializable,
};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::{Connection, RequestError};
use crate::context::Stop;

/// A connection of the routing family that sends such messages.
pub(crate) type RawRoute = Connection<Raw>;

/// A message in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raw {
    kind: u16,
    bytes: Vec<u8>,
}

impl Raw {
    /// `kind` is the kernel's number of the message (`RTM_...`), `header` what
    /// comes before the attributes.
    pub(crate) fn new(kind: u16, header: &[&[u8]]) -> Self {
        Self { kind, bytes: header.concat() }
    }

    /// With one attribute more.
    pub(crate) fn with(mut self, number: u16, value: &[u8]) -> Self {
        self.bytes.extend(attribute(number, value));
        self
    }

    /// What comes after so many bytes of header.
    pub(crate) fn after(&self, header: usize) -> &[u8] {
        self.bytes.get(header..).unwrap_or_default()
    }

    /// Four bytes of the message, as a number.
    pub(crate) fn u32_at(&self, at: usize) -> Option<u32> {
        self.bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
    }
}

/// Attributes one after the other: the number of each without its flags
/// (`NLA_TYPE_MASK`), and its value. Ends where the bytes make no sense.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// `NLA_F_NESTED | NLA_F_NET_BYTEORDER`.
    const FLAGS: u16 = 0xc000;
    std::iter::from_fn(move || {
        let (header, _) = bytes.split_first_chunk::<4>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let number = u16::from_ne_bytes([header[2], header[3]]) & !FLAGS;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((number, value))
    })
}

/// An attribute as it travels: `struct nlattr`, the value, padding to four bytes.
pub(crate) fn attribute(number: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), number.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

impl RawRoute {
    /// Opens one in the namespace of the calling thread.
    pub(crate) fn raw() -> Result<Self, Stop> {
        Self::open(NETLINK_ROUTE).map_err(|error| Stop::Error(format!("socket(NETLINK_ROUTE): {error}")))
    }

    /// Asks for something new.
    ///
    /// # Errors
    ///
    /// What the kernel says against it.
    pub(crate) fn create(&mut self, message: Raw) -> Result<(), RequestError> {
        self.act(message, NLM_F_CREATE | NLM_F_EXCL)
    }
}

impl NetlinkSerializable for Raw {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.bytes.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        if let Some(room) = buffer.get_mut(..self.bytes.len()) {
            room.copy_from_slice(&self.bytes);
        }
    }
}

impl NetlinkDeserializable for Raw {
    type Error = io::Error;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, io::Error> {
        Ok(Self { kind: header.message_type, bytes: payload.to_vec() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_attribute_has_its_length_without_the_padding() {
        assert_eq!(attribute(3, b"fq\0"), [7, 0, 3, 0, b'f', b'q', 0, 0]);
        assert_eq!(attribute(3, &[]), [4, 0, 3, 0]);
    }

    #[test]
    fn an_attribute_that_is_longer_than_the_rest_is_the_end() {
        let mut bytes = attribute(1, b"whole");
        bytes.extend([9, 0, 2, 0, 1]);
        assert_eq!(attributes(&bytes).collect::<Vec<_>>(), [(1, &b"whole"[..])]);
        // Shorter than its own header.
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
    }

    #[test]
    fn flags_are_no_part_of_a_number() {
        assert_eq!(attributes(&attribute(0x8012, &[])).collect::<Vec<_>>(), [(0x12, &[][..])]);
    }

    proptest! {
        #[test]
        fn attributes_are_found_as_they_were_put_together(
            all in proptest::collection::vec(
                (0_u16..0x4000, proptest::collection::vec(any::<u8>(), 0..20)), 0..6,
            ),
        ) {
            let bytes: Vec<u8> = all.iter().flat_map(|(number, value)| attribute(*number, value)).collect();
            let found: Vec<_> = attributes(&bytes).map(|(number, value)| (number, value.to_vec())).collect();
            prop_assert_eq!(found, all);
        }

        #[test]
        fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4);
        }
    }

    #[test]
    fn a_message_is_its_header_and_its_attributes() {
        let message = Raw::new(104, &[&[2, 0], &[0, 0], &7_u32.to_ne_bytes()]).with(1, &9_u32.to_ne_bytes());
        assert_eq!(message.u32_at(4), Some(7));
        assert_eq!(message.u32_at(12), Some(9));
        assert_eq!((message.u32_at(13), message.u32_at(usize::MAX)), (None, None));
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        let mut header = NetlinkHeader::default();
        header.message_type = 104;
        assert_eq!(Raw::deserialize(&header, &bytes).expect("any bytes"), message);
    }
}
