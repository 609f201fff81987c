//! `setns/routers`: a farm of namespaces as a network node has it, one router
//! after the other, each with a name, a cable to a bridge, addresses, a default
//! route, a setting and a rule; and its end, all at once.

use std::fs::{self, File};
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::no_kind;
use crate::modules::Loaded;
use crate::netlink::Route;
use crate::netlink::ip::{self, Via};
use crate::netlink::link::{self, Switch};
use crate::netlink::nft::{Nft, no_rules};
use crate::netns::{CreateError, Home, Namespace};
use crate::quantile::quantile;
use crate::workloads::netns::{begin_census, expect_all_gone, ns, time};
use crate::{clock, ffi};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "setns/routers",
    summary: "builds a farm of routers and takes it down at once",
    params: &[ParamInfo::Int {
        name: "routers",
        summary: "how many of them",
        min: 2,
        max: 2_000,
        default: 40,
    }],
    metrics: &[
        time("router_time", "one router, from its namespace to its rule"),
        MetricInfo {
            name: "late_cost",
            summary: "median time of the last tenth of the routers as a share of that of the first",
            unit: Unit::Percent,
            kind: Kind::Ratio,
            better: Better::Lower,
        },
        time("drain_time", "from the last reference dropped until every router is gone"),
    ],
    modules: &["bridge", "veth", "nf_tables", "nft_counter"],
};

/// Where routers have their names, as `ip netns` does it.
const NAMES: &str = "/run/netns";
const BRIDGE: &str = "br0";
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const PREFIX: u8 = 16;

/// A packet over a bridge is there at once; this is for hosts that are busy.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let count = ctx.count("routers")?;
    let _modules = Loaded::load(INFO.modules)?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let mut route = Route::here()?;
    let devices = device_names(&mut route)?;
    let bridge = build_bridge(&mut route)?;
    let farm = Farm { home: &home, bridge, names: Vec::new() };
    let built = build(ctx, farm, &mut route, count)?;
    let (mut early, mut late) = (built.times.clone(), built.times);
    let tenth = count.div_ceil(10);
    early.truncate(tenth);
    late.drain(..count - tenth);
    ctx.samples("router_time", early.iter().chain(&late).copied().map(ns).collect())?;
    if let (Some(early), Some(late)) = (quantile(&mut early, 500), quantile(&mut late, 500)) {
        ctx.sample("late_cost", ns(late) / ns(early.max(1)) * 100.0)?;
    }
    census.close()?;
    ctx.dither();
    let dropped_ns = clock::monotonic_ns();
    built.farm.take_down()?;
    let gone = expect_all_gone(ctx, &mut census, count)?;
    ctx.sample("drain_time", ns(gone.at_ns.saturating_sub(dropped_ns)))?;
    census.open()?;
    link::delete(&mut route, bridge).map_err(|error| error.stop("RTM_DELLINK of the bridge"))?;
    let left = device_names(&mut route)?;
    ctx.check(left == devices, || {
        format!("the farm left devices: there were {devices:?}, there are {left:?}")
    })
}

/// What stands so far. Taken down when dropped, as far as it goes.
struct Farm<'a> {
    home: &'a Home,
    bridge: u32,
    names: Vec<String>,
}

struct Built<'a> {
    farm: Farm<'a>,
    times: Vec<u64>,
}

impl Farm<'_> {
    fn take_down(mut self) -> Result<(), Stop> {
        for name in std::mem::take(&mut self.names) {
            unmount(name.as_str(), UnmountFlags::DETACH)
                .map_err(|error| Stop::Error(format!("umount {name}: {error}")))?;
            let _ = fs::remove_file(&name);
        }
        Ok(())
    }
}

impl Drop for Farm<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = unmount(name.as_str(), UnmountFlags::DETACH);
            let _ = fs::remove_file(name);
        }
    }
}

fn device_names(route: &mut Route) -> Result<Vec<String>, Stop> {
    let links = link::all(route).map_err(|error| error.stop("the dump of devices"))?;
    Ok(links.iter().filter_map(|it| link::name(it)).map(str::to_owned).collect())
}

fn build_bridge(route: &mut Route) -> Result<u32, Stop> {
    link::create(route, BRIDGE, "bridge", None, Vec::new())
        .map_err(|error| no_kind(&error, "bridge", "CONFIG_BRIDGE"))?;
    let bridge = link::index(route, BRIDGE).map_err(|error| error.stop("RTM_GETLINK of the bridge"))?;
    link::switch(route, bridge, Switch::Up).map_err(|error| error.stop("the bridge up"))?;
    ip::add_address(route, bridge, IpAddr::V4(GATEWAY), PREFIX)
        .map_err(|error| error.stop("the bridge's address"))?;
    Ok(bridge)
}

fn build<'a>(
    ctx: &Context<'_>,
    mut farm: Farm<'a>,
    route: &mut Route,
    count: usize,
) -> Result<Built<'a>, Stop> {
    fs::create_dir_all(NAMES).map_err(|error| Stop::Error(format!("cannot create {NAMES}: {error}")))?;
    let inbox = UdpSocket::bind((GATEWAY, 0))
        .and_then(|socket| socket.set_read_timeout(Some(PATIENCE)).map(|()| socket))
        .map_err(|error| Stop::Error(format!("a socket at the bridge: {error}")))?;
    let mut times = Vec::with_capacity(count);
    for number in 0..count {
        let before = clock::monotonic_ns();
        let result = router(&mut farm, route, number);
        times.push(clock::monotonic_ns().saturating_sub(before));
        farm.home.back()?;
        let (namespace, address) = result?;
        answers(ctx, &farm, &namespace, &inbox, address)?;
        ctx.progress(u64::try_from(number + 1).unwrap_or(0), u64::try_from(count).unwrap_or(0))?;
    }
    Ok(Built { farm, times })
}

/// One router. The calling thread may be left in it.
fn router(farm: &mut Farm<'_>, route: &mut Route, number: usize) -> Result<(Namespace, Ipv4Addr), Stop> {
    let namespace = Namespace::create().map_err(|error: CreateError| error.stop(number))?;
    let name = format!("{NAMES}/r{number}");
    File::create(&name).map_err(|error| Stop::Error(format!("cannot create {name}: {error}")))?;
    mount_bind("/proc/thread-self/ns/net", name.as_str())
        .map_err(|error| Stop::Error(format!("a bind mount at {name}: {error}")))?;
    farm.names.push(name);
    farm.home.back()?;
    let mut peer = LinkMessage::default();
    peer.attributes =
        vec![LinkAttribute::IfName("eth0".into()), LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd())];
    let cable = format!("cable{number}");
    let under = vec![LinkAttribute::Controller(farm.bridge)];
    link::create(route, &cable, "veth", Some(InfoData::Veth(InfoVeth::Peer(peer))), under)
        .map_err(|error| no_kind(&error, "veth", "CONFIG_VETH"))?;
    let index = link::index(route, &cable).map_err(|error| error.stop("RTM_GETLINK of a cable"))?;
    link::switch(route, index, Switch::Up).map_err(|error| error.stop("a cable up"))?;
    namespace.enter().map_err(|error| Stop::Fail(format!("setns to router {number}: {error}")))?;
    let mut inside = Route::here()?;
    for device in ["lo", "eth0"] {
        let index =
            link::index(&mut inside, device).map_err(|error| error.stop("RTM_GETLINK in a router"))?;
        link::switch(&mut inside, index, Switch::Up).map_err(|error| error.stop("a router's device up"))?;
    }
    let address = address(number);
    let index = link::index(&mut inside, "eth0").map_err(|error| error.stop("RTM_GETLINK of eth0"))?;
    ip::add_address(&mut inside, index, IpAddr::V4(address), PREFIX)
        .map_err(|error| error.stop("a router's address"))?;
    ip::add_route(&mut inside, IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0, Via::Gateway(IpAddr::V4(GATEWAY)))
        .map_err(|error| error.stop("a router's default route"))?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")
        .map_err(|error| Stop::Fail(format!("net.ipv4.ip_forward of router {number}: {error}")))?;
    match Nft::here()?.add_rules(1) {
        Ok(()) => {}
        // The first one shows what the kernel has.
        Err(error) if number == 0 => return Err(no_rules(&error)),
        Err(error) => return Err(error.stop("a router's rule")),
    }
    Ok((namespace, address))
}

/// Address of a router: those of the bridge and of broadcasts are left out.
fn address(number: usize) -> Ipv4Addr {
    let high = u8::try_from(number / 250 + 1).unwrap_or(u8::MAX);
    let low = u8::try_from(number % 250 + 2).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 77, high, low)
}

/// The router is whole: its name leads to it, and a packet from it arrives.
fn answers(
    ctx: &Context<'_>,
    farm: &Farm<'_>,
    namespace: &Namespace,
    inbox: &UdpSocket,
    address: Ipv4Addr,
) -> WorkloadResult {
    let name = farm.names.last().map_or("", String::as_str);
    let named = rustix::fs::stat(name).map_err(|error| Stop::Fail(format!("{name}: {error}")))?.st_ino;
    let inode = namespace.inode().map_err(|error| Stop::Error(format!("fstat of a namespace: {error}")))?;
    ctx.check(named == inode, || format!("{name} leads to namespace {named} instead of {inode}"))?;
    let to = inbox.local_addr().map_err(|error| Stop::Error(format!("the bridge's socket: {error}")))?;
    namespace.enter().map_err(|error| Stop::Fail(format!("setns to a router: {error}")))?;
    let sent = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        let cookie = ffi::netns_cookie(&socket).unwrap_or_default();
        socket.send_to(&cookie.to_ne_bytes(), to).map(|_| cookie)
    });
    farm.home.back()?;
    let cookie = sent.map_err(|error| Stop::Fail(format!("a packet from a router: {error}")))?;
    let mut bytes = [0; 8];
    let (_, from) = inbox.recv_from(&mut bytes).map_err(|error| {
        Stop::Fail(format!("no packet came from router {address} to the bridge: {error}"))
    })?;
    ctx.check(from.ip() == IpAddr::V4(address) && u64::from_ne_bytes(bytes) == cookie, || {
        format!("a packet of router {address} came from {from}")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_router_has_an_address_of_its_own() {
        let addresses: BTreeSet<_> = (0..2000).map(address).collect();
        assert_eq!(addresses.len(), 2000);
        assert!(!addresses.contains(&GATEWAY));
        assert!(addresses.iter().all(|address| !matches!(address.octets()[3], 0 | 255)));
    }
}
