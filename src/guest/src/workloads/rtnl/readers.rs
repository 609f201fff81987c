//! `rtnl/readers`: tables of devices, addresses, routes and neighbours are dumped
//! while others make, change, rename and delete devices. What is there all the
//! time is in every dump, once.
//!
//! What the kernel promises is a different thing for each table:
//!
//! - Devices and addresses: a dump comes in several pieces, between which the
//!   table may change; then it is marked as interrupted (`NLM_F_DUMP_INTR`), and
//!   without the mark it is whole (`nl_dump_check_consistent`). Kernels that go
//!   by the index (`for_each_netdev_dump`) miss nothing even then; others, which
//!   count places in a chain of a hash table, do.
//! - IPv4 routes: never marked; the trie is walked by the key of the last one
//!   (`fib_table_dump`), so that what stays is not passed over.
//! - `/proc/net/dev`: no mark either. Where places in a chain are counted, only
//!   a device that has its chain for itself is safe.
//! - Neighbours: no mark, and places are counted. They are compared when nothing
//!   changes, as is all the rest.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::kind::create;
use super::place::enter;
use super::roll::{Entry, Roll};
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::no_kind;
use crate::modules::Loaded;
use crate::netlink::link::{self, Switch};
use crate::netlink::neigh;
use crate::netlink::{Consistency, RequestError, Route, ip};
use crate::netns::{Home, Namespace};
use crate::workloads::netns::{begin_census, expect_all_gone, ns};
use crate::{clock, procfs};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "rtnl/readers",
    summary: "dumps tables while devices are made, changed, renamed and deleted",
    params: &[
        ParamInfo::Int {
            name: "devices",
            summary: "devices that are there all the time",
            min: 2,
            max: 90,
            default: 60,
        },
        ParamInfo::Int {
            name: "rounds",
            summary: "whole dumps of each table that each reader takes",
            min: 1,
            max: 100_000,
            default: 15,
        },
    ],
    metrics: &[
        MetricInfo {
            name: "dump_rate",
            summary: "dumps per second of all readers, whole or not",
            unit: Unit::PerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
        MetricInfo {
            name: "interrupted",
            summary: "share of dumps that a change interrupted, of tables that tell",
            unit: Unit::Percent,
            kind: Kind::Ratio,
            better: Better::Lower,
        },
    ],
    modules: &["dummy"],
};

/// Threads that dump, and threads that change things.
const READERS: usize = 2;
const WRITERS: usize = 2;

/// Index of the first device. They fill 90 chains of the table of indexes at
/// most, of 256 (`NETDEV_HASHENTRIES`), beginning with the hundredth.
const FIRST: u32 = 1024 + 100;

/// Devices that come and go have indexes that belong to the same chains as the
/// first half of the others.
const CHAINS: u32 = 256;

/// Between two devices of a writer. Without it hardly a dump is whole.
const PACE: Duration = Duration::from_millis(2);

/// Dumps after which a reader is content with none that is whole.
const ATTEMPTS: u32 = 40;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let devices = u8::try_from(ctx.count("devices")?).map_err(|error| Stop::Error(error.to_string()))?;
    let rounds = ctx.count("rounds")?;
    let _modules = Loaded::load(INFO.modules)?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let namespace = create()?;
    let mut route = Route::here()?;
    let result = furnish(&mut route, devices).and_then(|()| quiet(ctx, &mut route, devices));
    let result = result.and_then(|()| busy(ctx, &namespace, devices, rounds));
    let result = result.and_then(|()| quiet(ctx, &mut route, devices));
    home.back()?;
    result?;
    drop((route, namespace));
    drop(expect_all_gone(ctx, &mut census, 1)?);
    census.open()
}

/// A table that can be dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Table {
    Links,
    Addresses4,
    Addresses6,
    Routes4,
    Neighbours4,
    Neighbours6,
    Proc,
}

impl Table {
    const ALL: [Self; 7] = [
        Self::Links,
        Self::Addresses4,
        Self::Addresses6,
        Self::Routes4,
        Self::Neighbours4,
        Self::Neighbours6,
        Self::Proc,
    ];

    /// Whether its dumps say that they were interrupted.
    fn tells(self) -> bool {
        matches!(self, Self::Links | Self::Addresses4 | Self::Addresses6)
    }

    /// What has to be in it, of so many devices, as long as nothing changes.
    fn roll(self, devices: u8) -> Roll {
        Roll::new((0..devices).map(|n| self.entry(n)))
    }

    /// What has to be in it whatever changes beside.
    fn roll_of_busy(self, devices: u8) -> Roll {
        let first = match self {
            // Others share the chains of the first half.
            Self::Proc => devices / 2,
            Self::Neighbours4 | Self::Neighbours6 => devices,
            Self::Links | Self::Addresses4 | Self::Addresses6 | Self::Routes4 => 0,
        };
        Roll::new((first..devices).map(|n| self.entry(n)))
    }

    fn entry(self, n: u8) -> Entry {
        let index = index(n);
        match self {
            Self::Links => Entry::Link(index, name(n)),
            Self::Proc => Entry::Name(name(n)),
            Self::Addresses4 => Entry::Address(index, IpAddr::V4(four(n, 1))),
            Self::Addresses6 => Entry::Address(index, IpAddr::V6(six(n, 1))),
            Self::Routes4 => Entry::Route(index, IpAddr::V4(four(n, 0))),
            Self::Neighbours4 => Entry::Neighbour(index, IpAddr::V4(four(n, 2))),
            Self::Neighbours6 => Entry::Neighbour(index, IpAddr::V6(six(n, 2))),
        }
    }
}

fn index(n: u8) -> u32 {
    FIRST + u32::from(n)
}

fn name(n: u8) -> String {
    format!("stays{n}")
}

fn four(n: u8, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, n, host)
}

fn six(n: u8, host: u8) -> Ipv6Addr {
    Ipv6Addr::new(0xfd09, 0, 0, n.into(), 0, 0, 0, host.into())
}

/// Makes a dummy with an index.
fn dummy(route: &mut Route, name: &str, index: u32) -> Result<(), Stop> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Dummy)]),
    ];
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    route
        .act(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL)
        .map_err(|error| no_kind(&error, "dummy", "CONFIG_DUMMY"))
}

/// Makes everything that stays.
fn furnish(route: &mut Route, devices: u8) -> Result<(), Stop> {
    for n in 0..devices {
        dummy(route, &name(n), index(n))?;
        for (address, prefix) in [(IpAddr::V4(four(n, 1)), 24), (IpAddr::V6(six(n, 1)), 64)] {
            ip::add_address(route, index(n), address, prefix)
                .map_err(|error| error.stop(&format!("the address {address}/{prefix}")))?;
        }
        for address in [IpAddr::V4(four(n, 2)), IpAddr::V6(six(n, 2))] {
            neigh::add(route, index(n), address, neigh::Entry::Permanent([2, 0, 0, 0, 0, n]))
                .map_err(|error| error.stop(&format!("the neighbour {address}")))?;
        }
    }
    Ok(())
}

/// Every table is whole when nothing changes.
fn quiet(ctx: &Context<'_>, route: &mut Route, devices: u8) -> WorkloadResult {
    for table in Table::ALL {
        let (entries, consistency) = dump(route, table)?;
        ctx.check(consistency == Consistency::Whole, || {
            format!("a dump of {table:?} was interrupted while nothing changed")
        })?;
        let broken = table.roll(devices).call(&entries).err();
        ctx.check(broken.is_none(), || {
            format!("a dump of {table:?} while nothing changed: {}", broken.unwrap_or_default())
        })?;
    }
    Ok(())
}

/// Takes a table once.
fn dump(route: &mut Route, table: Table) -> Result<(Vec<Entry>, Consistency), Stop> {
    if table == Table::Proc {
        return proc().map(|entries| (entries, Consistency::Whole));
    }
    let (answers, consistency) =
        route.dump_once(request(table)).map_err(|error| error.stop(&format!("a dump of {table:?}")))?;
    let entries = answers.iter().map(entry).collect::<Result<Vec<_>, _>>();
    let entries = entries.map_err(|error| error.stop(&format!("a dump of {table:?}")))?;
    Ok((entries.into_iter().flatten().collect(), consistency))
}

fn proc() -> Result<Vec<Entry>, Stop> {
    const DEVICES: &str = "/proc/thread-self/net/dev";
    let text = fs::read_to_string(DEVICES).map_err(|error| Stop::Fail(format!("{DEVICES}: {error}")))?;
    let names = procfs::net_devices(&text)
        .ok_or_else(|| Stop::Fail(format!("{DEVICES} has a line without a device")))?;
    Ok(names.into_iter().map(|name| Entry::Name(name.to_owned())).collect())
}

fn request(table: Table) -> RouteNetlinkMessage {
    let address = |family| {
        let mut message = AddressMessage::default();
        message.header.family = family;
        RouteNetlinkMessage::GetAddress(message)
    };
    let neighbour = |family| {
        let mut message = NeighbourMessage::default();
        message.header.family = family;
        RouteNetlinkMessage::GetNeighbour(message)
    };
    match table {
        Table::Links | Table::Proc => RouteNetlinkMessage::GetLink(LinkMessage::default()),
        Table::Addresses4 => address(AddressFamily::Inet),
        Table::Addresses6 => address(AddressFamily::Inet6),
        Table::Neighbours4 => neighbour(AddressFamily::Inet),
        Table::Neighbours6 => neighbour(AddressFamily::Inet6),
        Table::Routes4 => {
            let mut message = RouteMessage::default();
            message.header.address_family = AddressFamily::Inet;
            RouteNetlinkMessage::GetRoute(message)
        }
    }
}

/// What a message of a dump says; nothing for routes of the local table.
fn entry(message: &RouteNetlinkMessage) -> Result<Option<Entry>, RequestError> {
    let lacking = |what: &str| RequestError::Garbled(format!("{what}: {message:?}"));
    match message {
        RouteNetlinkMessage::NewLink(link) => {
            let name = link::name(link).ok_or_else(|| lacking("a device without a name"))?;
            Ok(Some(Entry::Link(link.header.index, name.to_owned())))
        }
        RouteNetlinkMessage::NewAddress(found) => {
            let address = found.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            });
            let address = address.ok_or_else(|| lacking("an address without an address"))?;
            Ok(Some(Entry::Address(found.header.index, address)))
        }
        RouteNetlinkMessage::NewRoute(found) if found.header.table != RouteHeader::RT_TABLE_MAIN => Ok(None),
        RouteNetlinkMessage::NewRoute(found) => {
            let (mut device, mut subnet) = (None, None);
            for attribute in &found.attributes {
                match attribute {
                    RouteAttribute::Oif(index) => device = Some(*index),
                    RouteAttribute::Destination(RouteAddress::Inet(address)) => subnet = Some(*address),
                    _ => {}
                }
            }
            Ok(device.zip(subnet).map(|(device, subnet)| Entry::Route(device, IpAddr::V4(subnet))))
        }
        RouteNetlinkMessage::NewNeighbour(found) => {
            let address = found.attributes.iter().find_map(|attribute| match attribute {
                NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => {
                    Some(IpAddr::V4(*address))
                }
                NeighbourAttribute::Destination(NeighbourAddress::Inet6(address)) => {
                    Some(IpAddr::V6(*address))
                }
                _ => None,
            });
            Ok(address.map(|address| Entry::Neighbour(found.header.ifindex, address)))
        }
        _ => Err(lacking("another message than was asked for")),
    }
}

/// What readers have seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Tally {
    /// Dumps of every kind.
    dumps: u64,
    /// Those of tables that tell of interruptions.
    telling: u64,
    /// Those of them that were interrupted.
    interrupted: u64,
    /// Rolls that were called over.
    called: u64,
    /// The tables that they were of.
    tables: BTreeSet<Table>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.dumps += other.dumps;
        self.telling += other.telling;
        self.interrupted += other.interrupted;
        self.called += other.called;
        self.tables.extend(other.tables);
    }

    /// A dump that was called over. An empty roll says nothing.
    fn called(&mut self, table: Table, roll: &Roll) {
        if !roll.is_empty() {
            self.called += 1;
            self.tables.insert(table);
        }
    }

    /// The first table of which something is promised beside changes, and no dump
    /// was whole.
    fn never_whole(&self, devices: u8) -> Option<Table> {
        let promised = |table: &Table| !table.roll_of_busy(devices).is_empty();
        Table::ALL.into_iter().filter(promised).find(|table| !self.tables.contains(table))
    }
}

/// Readers and writers at once, until the readers have had enough.
fn busy(ctx: &Context<'_>, namespace: &Namespace, devices: u8, rounds: usize) -> WorkloadResult {
    let enough = AtomicBool::new(false);
    let start_ns = clock::monotonic_ns();
    // The rest is for what comes after.
    let patience = ctx.remaining() / 4 * 3;
    let deadline_ns = start_ns.saturating_add(u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX));
    let stop = &enough;
    let failed = |error: io::Error| {
        // Writers that run would be waited for.
        stop.store(true, Ordering::Relaxed);
        Stop::Error(format!("cannot start a thread: {error}"))
    };
    let result = thread::scope(|scope| {
        let (mut writers, mut readers) = (Vec::new(), Vec::new());
        for number in 0..WRITERS {
            let work = move || change(namespace, number, devices, stop);
            writers.push(thread::Builder::new().spawn_scoped(scope, work).map_err(failed)?);
        }
        for _ in 0..READERS {
            let work = move || read(namespace, devices, rounds, deadline_ns);
            readers.push(thread::Builder::new().spawn_scoped(scope, work).map_err(failed)?);
        }
        let mut total = Ok(Tally::default());
        for reader in readers {
            let tally = reader.join().map_err(|_| Stop::Error("a thread panicked".into())).flatten();
            total = total.and_then(|mut total: Tally| {
                total.add(tally?);
                Ok(total)
            });
        }
        let elapsed_ns = clock::monotonic_ns().saturating_sub(start_ns).max(1);
        enough.store(true, Ordering::Relaxed);
        let mut changed = Ok(0);
        for writer in writers {
            let made = writer.join().map_err(|_| Stop::Error("a thread panicked".into())).flatten();
            changed = changed.and_then(|sum: u64| Ok(sum + made?));
        }
        Ok::<_, Stop>((total?, changed?, elapsed_ns))
    });
    let (tally, changed, elapsed_ns) = result?;
    ctx.checked(tally.called);
    ctx.note("devices-that-came-and-went", changed.to_string())?;
    ctx.note("dumps", format!("{}, {} interrupted of {}", tally.dumps, tally.interrupted, tally.telling))?;
    ctx.check(changed > 0, || "no device came and went beside the dumps".into())?;
    let never_whole = tally.never_whole(devices);
    ctx.check(never_whole.is_none(), || {
        let table = never_whole.map(|table| format!("{table:?}")).unwrap_or_default();
        format!("of {table} no dump was whole, {ATTEMPTS} times in each of {rounds} rounds")
    })?;
    ctx.sample("dump_rate", ns(tally.dumps) * 1e9 / ns(elapsed_ns))?;
    ctx.sample("interrupted", ns(tally.interrupted) / ns(tally.telling.max(1)) * 100.0)
}

/// Dumps every table, and calls over those that came whole; until the deadline, in
/// nanoseconds of the monotonic clock.
fn read(namespace: &Namespace, devices: u8, rounds: usize, deadline_ns: u64) -> Result<Tally, Stop> {
    enter(namespace)?;
    let mut route = Route::here()?;
    let mut tally = Tally::default();
    for round in 0..rounds {
        for table in Table::ALL {
            let roll = table.roll_of_busy(devices);
            for _ in 0..ATTEMPTS {
                if clock::monotonic_ns() >= deadline_ns {
                    return Err(Stop::Error(format!(
                        "time is up in round {round} of {rounds}, after {} dumps of which {} were interrupted\n\
                         hint: give the test fewer `rounds` or a longer `timeout`",
                        tally.dumps, tally.interrupted
                    )));
                }
                let (entries, consistency) = dump(&mut route, table)?;
                tally.dumps += 1;
                tally.telling += u64::from(table.tells());
                if consistency == Consistency::Changed {
                    tally.interrupted += 1;
                    continue;
                }
                tally.called(table, &roll);
                roll.call(&entries).map_err(|broken| {
                    Stop::Fail(format!(
                        "a dump of {table:?} in round {round} that was not interrupted: {broken}"
                    ))
                })?;
                break;
            }
        }
    }
    Ok(tally)
}

/// Makes devices, gives them addresses, renames and deletes them; how many.
fn change(namespace: &Namespace, number: usize, devices: u8, enough: &AtomicBool) -> Result<u64, Stop> {
    let stop = |what: &'static str| move |error: RequestError| error.stop(what);
    enter(namespace)?;
    let mut route = Route::here()?;
    let own = u32::try_from(number + 1).map_err(|error| Stop::Error(error.to_string()))?;
    let subnet = u8::try_from(number).map_err(|error| Stop::Error(error.to_string()))?;
    let mut done = 0;
    // The chains of the first half, one after the other.
    for n in (0..devices / 2).cycle() {
        if enough.load(Ordering::Relaxed) {
            return Ok(done);
        }
        let index = index(n) + CHAINS * own;
        dummy(&mut route, &format!("comes{number}"), index)?;
        let addresses = [
            (IpAddr::V4(Ipv4Addr::new(10, 10 + subnet, n, 1)), 24),
            (IpAddr::V6(Ipv6Addr::new(0xfd0a, subnet.into(), 0, n.into(), 0, 0, 0, 1)), 64),
        ];
        for (address, prefix) in addresses {
            ip::add_address(&mut route, index, address, prefix).map_err(stop("an address"))?;
        }
        link::change(&mut route, index, vec![LinkAttribute::Mtu(1400)]).map_err(stop("another MTU"))?;
        // Not every kernel renames a device that is up.
        link::switch(&mut route, index, Switch::Down).map_err(stop("a device down"))?;
        let name = LinkAttribute::IfName(format!("goes{number}"));
        link::change(&mut route, index, vec![name]).map_err(stop("another name"))?;
        link::delete(&mut route, index).map_err(stop("RTM_DELLINK"))?;
        done += 1;
        clock::poll_interval(PACE);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_come_and_go_share_chains_with_the_first_half_only() {
        let chain = |index: u32| index % CHAINS;
        for devices in [2, 60, 90_u8] {
            let coming: Vec<_> = (0..devices / 2).map(|n| chain(index(n) + CHAINS * 2)).collect();
            for n in 0..devices {
                assert_eq!(coming.contains(&chain(index(n))), n < devices / 2, "{n} of {devices}");
            }
            // The last chain of all is one without changes: a dump of devices
            // cannot end with a piece that is empty but for a change.
            assert!(coming.iter().all(|it| *it < chain(index(devices - 1))));
        }
    }

    #[test]
    fn a_roll_of_a_busy_table_is_what_the_kernel_promises() {
        assert_eq!(Table::Links.roll_of_busy(60), Table::Links.roll(60));
        assert_eq!(Table::Neighbours4.roll_of_busy(60), Roll::default());
        assert_eq!(Table::Proc.roll_of_busy(4), Roll::new([2, 3].map(|n| Entry::Name(name(n)))));
    }

    #[test]
    fn a_table_that_was_never_whole_is_named() {
        let mut tally = Tally::default();
        for table in Table::ALL {
            tally.called(table, &table.roll_of_busy(60));
        }
        // Nothing is promised of neighbours.
        assert_eq!((tally.called, tally.never_whole(60)), (5, None));
        tally.tables.remove(&Table::Addresses6);
        assert_eq!(tally.never_whole(60), Some(Table::Addresses6));
        let mut other = Tally::default();
        other.called(Table::Addresses6, &Table::Addresses6.roll_of_busy(60));
        tally.add(other);
        assert_eq!((tally.called, tally.never_whole(60)), (6, None));
    }

    #[test]
    fn a_message_that_was_not_asked_for_is_garbled() {
        let message = RouteNetlinkMessage::DelLink(LinkMessage::default());
        assert!(matches!(entry(&message), Err(RequestError::Garbled(_))));
        let mut route = RouteMessage::default();
        route.header.table = 255;
        assert!(matches!(entry(&RouteNetlinkMessage::NewRoute(route)), Ok(None)));
    }
}
