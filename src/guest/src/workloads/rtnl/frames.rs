//! Frames as they travel, for what no socket would send by itself: a connection
//! that is never completed, and fragments without the rest. Pure.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A hardware address.
pub(super) type Mac = [u8; 6];

/// `ETH_P_IP`.
pub(super) const IPV4: u16 = 0x0800;
/// `ETH_P_IPV6`.
pub(super) const IPV6: u16 = 0x86dd;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// The header of a fragment, in IPv6.
const FRAGMENT: u8 = 44;

/// More fragments follow, in IPv4.
const MORE: u16 = 0x2000;

/// Length of a fragment without the rest: a multiple of eight.
const PART: [u8; 16] = [0; 16];

/// An Ethernet frame.
pub(super) fn ethernet(to: Mac, from: Mac, protocol: u16, payload: &[u8]) -> Vec<u8> {
    [&to[..], &from, &protocol.to_be_bytes(), payload].concat()
}

/// The first packet of a connection.
pub(super) fn syn(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Vec<u8> {
    let mut header = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    // A number to begin with, and one to acknowledge.
    header.extend([0, 0, 0, 7, 0, 0, 0, 0]);
    // Five words, SYN, a window; the sum, and no urgent data.
    header.extend([0x50, 0x02, 0x20, 0x00, 0, 0, 0, 0]);
    let pseudo = [&from.0.octets()[..], &to.0.octets(), &[0, TCP, 0, 20]].concat();
    let sum = checksum(&[&pseudo[..], &header].concat());
    if let Some(room) = header.get_mut(16..18) {
        room.copy_from_slice(&sum.to_be_bytes());
    }
    ipv4(TCP, 1, 0, (from.0, to.0), &header)
}

/// The first fragment of a datagram.
pub(super) fn fragment4(number: u16, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    ipv4(UDP, number, MORE, (from, to), &PART)
}

/// The same in IPv6.
pub(super) fn fragment6(number: u32, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let length = u16::try_from(8 + PART.len()).unwrap_or_default();
    let mut packet = [&[0x60, 0, 0, 0][..], &length.to_be_bytes(), &[FRAGMENT, 255]].concat();
    packet.extend(from.octets());
    packet.extend(to.octets());
    // What follows, nothing, offset 0 with more to come, the number.
    packet.extend([UDP, 0, 0, 1]);
    packet.extend(number.to_be_bytes());
    packet.extend(PART);
    packet
}

fn ipv4(protocol: u8, number: u16, flags: u16, ends: (Ipv4Addr, Ipv4Addr), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).unwrap_or_default();
    let mut packet = [&[0x45, 0][..], &length.to_be_bytes(), &number.to_be_bytes()].concat();
    packet.extend(flags.to_be_bytes());
    packet.extend([64, protocol, 0, 0]);
    packet.extend(ends.0.octets());
    packet.extend(ends.1.octets());
    let sum = checksum(&packet);
    if let Some(room) = packet.get_mut(10..12) {
        room.copy_from_slice(&sum.to_be_bytes());
    }
    packet.extend(payload);
    packet
}

/// The checksum of the internet (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
            [high] => u32::from(*high) << 8,
            _ => 0,
        })
        .sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    !u16::try_from(folded & 0xffff).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FROM: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 77);
    const TO: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

    #[test]
    fn a_header_has_the_checksum_of_its_example() {
        // The example of RFC 1071, section 3.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), !0xff00);
    }

    #[test]
    fn the_first_packet_of_a_connection_is_sound() {
        let packet = syn((FROM, 1000), (TO, 2000));
        assert_eq!(packet.len(), 40);
        assert_eq!(checksum(&packet[..20]), 0, "of the header");
        let pseudo = [&FROM.octets()[..], &TO.octets(), &[0, 6, 0, 20]].concat();
        assert_eq!(checksum(&[&pseudo[..], &packet[20..]].concat()), 0, "of the rest");
        assert_eq!(packet[20..24], [3, 232, 7, 208]);
    }

    #[test]
    fn a_fragment_says_that_more_is_to_come_and_ends_at_eight_bytes() {
        let four = fragment4(9, FROM, TO);
        assert_eq!((four[6], four.len() - 20, checksum(&four[..20])), (0x20, PART.len(), 0));
        let six = fragment6(9, Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
        assert_eq!((six[6], six[43] & 1, six.len() - 48), (FRAGMENT, 1, PART.len()));
        assert_eq!(usize::from(u16::from_be_bytes([six[4], six[5]])), six.len() - 40);
        assert_eq!(PART.len() % 8, 0);
    }

    #[test]
    fn a_frame_begins_with_where_it_goes() {
        assert_eq!(ethernet([1; 6], [2; 6], IPV4, &[9])[..], [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 8, 0, 9]);
    }

    proptest! {
        #[test]
        fn the_sum_over_a_sum_is_nothing(mut bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            bytes.resize(bytes.len().next_multiple_of(2), 0);
            let sum = checksum(&bytes);
            bytes.extend(sum.to_be_bytes());
            prop_assert_eq!(checksum(&bytes), 0);
        }
    }
}
