//! Every kind of network device, how it is made, and what becomes of it when it
//! moves and when the namespace of its birth dies: the table that the tests
//! compare the kernel with.

use crate::netlink::raw;

/// A kind of device.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    /// The kernel's word for it (`struct rtnl_link_ops::kind`).
    pub(super) name: &'static str,
    /// Option that brings it.
    pub(super) symbol: &'static str,
    /// Module that has it, where it is one.
    pub(super) module: &'static str,
    /// How it is made.
    pub(super) made: Made,
    /// Attributes that belong to the kind.
    pub(super) data: &'static [Attribute],
    /// Attributes that can be changed afterwards.
    pub(super) change: &'static [Attribute],
    /// What it is to other devices.
    pub(super) role: Role,
    /// Whether it may be moved.
    pub(super) move_away: Move,
}

/// How a device is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// By itself.
    Alone,
    /// On top of another one (`IFLA_LINK`).
    Above,
    /// With another one, which is named in this attribute.
    Pair(u16),
    /// On two others, which are named in these attributes.
    Ring(u16, u16),
    /// Not by this interface: the kernel refuses with `EOPNOTSUPP`.
    Elsewhere,
}

/// What a device is to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Takes ports.
    Master,
    /// Can be a port of every master.
    Port,
    /// Neither, in these tests.
    Single,
}

/// What a move to another namespace comes to, and what becomes of a device
/// there when the namespace dies that it was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Move {
    /// It can move, and stays when its birthplace dies.
    Stays,
    /// It can move, and dies with its birthplace: its lower device, its peer or
    /// its sockets were there.
    Dies,
    /// It cannot: `EINVAL`, "The interface netns is immutable".
    Immutable,
}

/// An attribute of a kind: its number, and a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attribute {
    /// One byte.
    U8(u16, u8),
    /// Two bytes.
    U16(u16, u16),
    /// Two bytes in the order of the network.
    Be16(u16, u16),
    /// Four bytes.
    U32(u16, u32),
    /// Four bytes in the order of the network.
    Be32(u16, u32),
    /// An address: 10.9.0.N.
    V4(u16, u8),
    /// An address: fd09::N.
    V6(u16, u8),
    /// Index of the device below.
    Below(u16),
}

use Attribute::{Be16, Be32, Below, U8, U16, U32, V4, V6};
use Made::{Above, Alone, Elsewhere, Pair, Ring};
use Move::{Dies, Immutable, Stays};
use Role::{Master, Port, Single};

/// `GRE_KEY | GRE_SEQ` (include/uapi/linux/if_tunnel.h).
const KEY_AND_SEQUENCE: u16 = 0x3000;

const fn kind(
    name: &'static str,
    symbol: &'static str,
    module: &'static str,
    made: Made,
    move_away: Move,
) -> Kind {
    Kind { name, symbol, module, made, data: &[], change: &[], role: Single, move_away }
}

const fn with(kind: Kind, data: &'static [Attribute]) -> Kind {
    Kind { data, ..kind }
}

const fn changed(kind: Kind, change: &'static [Attribute]) -> Kind {
    Kind { change, ..kind }
}

const fn role(kind: Kind, role: Role) -> Kind {
    Kind { role, ..kind }
}

// Numbers of attributes are those of include/uapi/linux/if_link.h, if_tunnel.h,
// veth.h and can/vxcan.h. Outcomes were seen on 6.1.192 and 6.12.117.
/// All kinds.
pub(super) const KINDS: &[Kind] = &[
    role(kind("dummy", "CONFIG_DUMMY", "dummy", Alone, Stays), Port),
    kind("ifb", "CONFIG_IFB", "ifb", Alone, Stays),
    kind("nlmon", "CONFIG_NLMON", "nlmon", Alone, Stays),
    kind("vsockmon", "CONFIG_VSOCKMON", "vsockmon", Alone, Stays),
    kind("wireguard", "CONFIG_WIREGUARD", "wireguard", Alone, Stays),
    kind("vcan", "CONFIG_CAN_VCAN", "vcan", Alone, Stays),
    role(kind("veth", "CONFIG_VETH", "veth", Pair(1), Dies), Port),
    kind("netkit", "CONFIG_NETKIT", "netkit", Pair(1), Dies),
    kind("vxcan", "CONFIG_CAN_VXCAN", "vxcan", Pair(1), Dies),
    with(kind("vlan", "CONFIG_VLAN_8021Q", "8021q", Above, Dies), &[U16(1, 7)]),
    role(with(kind("macvlan", "CONFIG_MACVLAN", "macvlan", Above, Dies), &[U32(1, 4)]), Port),
    with(kind("macvtap", "CONFIG_MACVTAP", "macvtap", Above, Dies), &[U32(1, 4)]),
    changed(with(kind("ipvlan", "CONFIG_IPVLAN", "ipvlan", Above, Dies), &[U16(1, 1)]), &[U16(1, 0)]),
    with(kind("ipvtap", "CONFIG_IPVTAP", "ipvtap", Above, Dies), &[U16(1, 1)]),
    kind("macsec", "CONFIG_MACSEC", "macsec", Above, Dies),
    with(kind("xfrm", "CONFIG_XFRM_INTERFACE", "xfrm_interface", Above, Dies), &[Below(1), U32(2, 7)]),
    role(
        changed(
            with(
                kind("vxlan", "CONFIG_VXLAN", "vxlan", Alone, Dies),
                &[U32(1, 7), V4(2, 2), V4(4, 1), Be16(15, 4789)],
            ),
            &[U32(1, 7), U8(5, 9)],
        ),
        Port,
    ),
    with(kind("geneve", "CONFIG_GENEVE", "geneve", Alone, Dies), &[U32(1, 7), V4(2, 2)]),
    changed(
        with(kind("gre", "CONFIG_NET_IPGRE", "ip_gre", Alone, Dies), &[V4(6, 1), V4(7, 2)]),
        &[V4(6, 1), V4(7, 2), U8(8, 9)],
    ),
    with(kind("gretap", "CONFIG_NET_IPGRE", "ip_gre", Alone, Dies), &[V4(6, 1), V4(7, 2)]),
    with(
        kind("erspan", "CONFIG_NET_IPGRE", "ip_gre", Alone, Dies),
        &[Be16(2, KEY_AND_SEQUENCE), Be16(3, KEY_AND_SEQUENCE), Be32(4, 7), Be32(5, 7), V4(6, 1), V4(7, 2)],
    ),
    with(kind("ip6gre", "CONFIG_IPV6_GRE", "ip6_gre", Alone, Dies), &[V6(6, 1), V6(7, 2)]),
    with(kind("ip6gretap", "CONFIG_IPV6_GRE", "ip6_gre", Alone, Dies), &[V6(6, 1), V6(7, 2)]),
    with(
        kind("ip6erspan", "CONFIG_IPV6_GRE", "ip6_gre", Alone, Dies),
        &[Be16(2, KEY_AND_SEQUENCE), Be16(3, KEY_AND_SEQUENCE), Be32(4, 7), Be32(5, 7), V6(6, 1), V6(7, 2)],
    ),
    with(kind("ipip", "CONFIG_NET_IPIP", "ipip", Alone, Dies), &[V4(2, 1), V4(3, 2)]),
    with(kind("sit", "CONFIG_IPV6_SIT", "sit", Alone, Dies), &[V4(2, 1), V4(3, 2)]),
    changed(
        with(kind("ip6tnl", "CONFIG_IPV6_TUNNEL", "ip6_tunnel", Alone, Dies), &[V6(2, 1), V6(3, 2)]),
        &[V6(2, 1), V6(3, 2), U8(4, 9)],
    ),
    with(kind("vti", "CONFIG_NET_IPVTI", "ip_vti", Alone, Dies), &[V4(4, 1), V4(5, 2)]),
    with(kind("vti6", "CONFIG_IPV6_VTI", "ip6_vti", Alone, Dies), &[V6(4, 1), V6(5, 2)]),
    with(kind("bareudp", "CONFIG_BAREUDP", "bareudp", Alone, Dies), &[Be16(1, 6635), Be16(2, 0x8847)]),
    with(
        kind("amt", "CONFIG_AMT", "amt", Above, Immutable),
        &[U32(1, 0), Be16(2, 2268), Be16(3, 2268), Below(4), V4(5, 1), V4(7, 2)],
    ),
    role(kind("bridge", "CONFIG_BRIDGE", "bridge", Alone, Immutable), Master),
    role(
        changed(
            with(kind("bond", "CONFIG_BONDING", "bonding", Alone, Immutable), &[U8(1, 1)]),
            &[U32(3, 100)],
        ),
        Master,
    ),
    role(kind("team", "CONFIG_NET_TEAM", "team", Alone, Immutable), Master),
    role(with(kind("vrf", "CONFIG_NET_VRF", "vrf", Alone, Immutable), &[U32(1, 100)]), Master),
    kind("hsr", "CONFIG_HSR", "hsr", Ring(1, 2), Immutable),
    kind("batadv", "CONFIG_BATMAN_ADV", "batman_adv", Alone, Immutable),
    kind("tun", "CONFIG_TUN", "tun", Elsewhere, Stays),
];

/// Names of the kinds, as suites say them.
pub(super) const NAMES: &[&str] = &{
    let mut names = [""; KINDS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = KINDS[at].name;
        at += 1;
    }
    names
};

/// Modules of all kinds, of their lower devices, and of the ciphers that macsec and
/// wireguard ask for.
pub(super) const MODULES: &[&str] = &[
    "dummy",
    "ifb",
    "nlmon",
    "vsockmon",
    "wireguard",
    "vcan",
    "veth",
    "netkit",
    "vxcan",
    "8021q",
    "macvlan",
    "macvtap",
    "ipvlan",
    "ipvtap",
    "macsec",
    "gcm",
    "aes_generic",
    "ghash_generic",
    "ctr",
    "xfrm_interface",
    "vxlan",
    "geneve",
    "ip_gre",
    "ip6_gre",
    "ipip",
    "sit",
    "ip6_tunnel",
    "ip_vti",
    "ip6_vti",
    "bareudp",
    "amt",
    "bridge",
    "bonding",
    "team",
    "team_mode_roundrobin",
    "vrf",
    "hsr",
    "batman_adv",
    "tun",
];

/// The kind of this name.
pub(super) fn find(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

impl Attribute {
    /// Its number, and its value as it travels. `below` is the index of the device
    /// below.
    fn travels(self, below: u32) -> (u16, Vec<u8>) {
        match self {
            U8(number, value) => (number, vec![value]),
            U16(number, value) => (number, value.to_ne_bytes().into()),
            Be16(number, value) => (number, value.to_be_bytes().into()),
            U32(number, value) => (number, value.to_ne_bytes().into()),
            Be32(number, value) => (number, value.to_be_bytes().into()),
            V4(number, last) => (number, vec![10, 9, 0, last]),
            V6(number, last) => {
                let mut address = [0; 16];
                address[0] = 0xfd;
                address[1] = 0x09;
                address[15] = last;
                (number, address.into())
            }
            Below(number) => (number, below.to_ne_bytes().into()),
        }
    }
}

/// Attributes as they travel, one after the other.
pub(super) fn encode(attributes: &[Attribute], below: u32) -> Vec<u8> {
    attributes
        .iter()
        .flat_map(|it| {
            let (number, value) = it.travels(below);
            raw::attribute(number, &value)
        })
        .collect()
}

/// What a description of a device says of its kind (`IFLA_INFO_DATA` within
/// `IFLA_LINKINFO`); `attributes` are those of an `RTM_NEWLINK`.
pub(super) fn info_data(attributes: &[u8]) -> Option<&[u8]> {
    const LINKINFO: u16 = 18;
    const DATA: u16 = 2;
    let find = |bytes, wanted| raw::attributes(bytes).find(|(number, _)| *number == wanted);
    let (_, info) = find(attributes, LINKINFO)?;
    find(info, DATA).map(|(_, data)| data)
}

/// Those of the wanted attributes that are not there with their value.
pub(super) fn missing(wanted: &[Attribute], data: &[u8]) -> Vec<Attribute> {
    let there = |it: &&Attribute| {
        let (number, value) = it.travels(0);
        raw::attributes(data).any(|found| found == (number, &value[..]))
    };
    wanted.iter().filter(|it| !there(it)).copied().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_kind_is_there_once_and_can_be_found() {
        let names: BTreeSet<_> = NAMES.iter().collect();
        assert_eq!(names.len(), KINDS.len());
        assert!(KINDS.iter().all(|kind| find(kind.name).is_some_and(|found| found.name == kind.name)));
    }

    #[test]
    fn every_kind_has_an_option_and_a_module_that_travels() {
        for kind in KINDS {
            assert!(kind.symbol.starts_with("CONFIG_"), "{}", kind.name);
            assert!(MODULES.contains(&kind.module), "{}", kind.name);
        }
    }

    #[test]
    fn what_is_made_from_others_dies_with_them_or_is_bound_to_them() {
        for kind in KINDS {
            if !matches!(kind.made, Alone | Elsewhere) {
                assert_ne!(kind.move_away, Stays, "{}", kind.name);
            }
        }
    }

    #[test]
    fn a_change_is_missing_from_what_the_device_was_made_with() {
        for kind in KINDS.iter().filter(|kind| !kind.change.is_empty()) {
            let missing_before = missing(kind.change, &encode(kind.data, 0));
            assert!(!missing_before.is_empty(), "{}", kind.name);
            assert_eq!(missing(kind.change, &encode(kind.change, 0)), [], "{}", kind.name);
        }
    }

    #[test]
    fn another_value_of_an_attribute_is_not_the_wanted_one() {
        let wanted = [U8(5, 9), V4(2, 2)];
        assert_eq!(missing(&wanted, &encode(&[U8(5, 8), V4(2, 2)], 0)), [U8(5, 9)]);
        assert_eq!(missing(&wanted, &encode(&[U16(5, 9), V4(4, 2)], 0)), wanted);
    }

    #[test]
    fn what_belongs_to_the_kind_is_found_in_its_nest() {
        let data = encode(&[U8(5, 9)], 0);
        let info = [raw::attribute(1, b"vxlan\0"), raw::attribute(2, &data)].concat();
        let link = [raw::attribute(3, b"x0\0"), raw::attribute(18 | 0x8000, &info)].concat();
        assert_eq!(info_data(&link), Some(&data[..]));
        assert_eq!(info_data(&raw::attribute(18, &raw::attribute(1, b"bridge\0"))), None);
        assert_eq!(info_data(&[]), None);
    }

    #[test]
    fn attributes_are_padded_to_four_bytes() {
        let bytes = encode(&[U8(5, 9), Be16(15, 0x1234), Below(1)], 3);
        let mut expected = [5_u16.to_ne_bytes(), 5_u16.to_ne_bytes()].concat();
        expected.extend([9, 0, 0, 0]);
        expected.extend([6_u16.to_ne_bytes(), 15_u16.to_ne_bytes()].concat());
        expected.extend([0x12, 0x34, 0, 0]);
        expected.extend([8_u16.to_ne_bytes(), 1_u16.to_ne_bytes()].concat());
        expected.extend(3_u32.to_ne_bytes());
        assert_eq!(bytes, expected);
    }
}
