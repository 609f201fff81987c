//! `rtnl/kind`: the life of one kind of device: made, up, changed, enslaved,
//! moved, and what is left of it when either namespace dies.

use std::os::fd::AsFd as _;

use kregress_wire::{ParamInfo, WorkloadInfo};
use netlink_packet_route::link::{InfoData, LinkAttribute, LinkFlags, LinkMessage};
use rustix::io::Errno;

use super::kinds::{self, Attribute, Kind, Made, Move, Role};
use super::place::{Place, enter};
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::no_kind;
use crate::modules::Loaded;
use crate::netlink::link::{self, Switch};
use crate::netlink::raw::{Raw, RawRoute};
use crate::netlink::{RequestError, Route};
use crate::netns::{CreateError, Home, Namespace};
use crate::ucount::Census;
use crate::workloads::netns::{begin_census, expect_all_gone, expect_left};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "rtnl/kind",
    summary: "leads one kind of device through its life, and through the death of its namespaces",
    params: &[ParamInfo::Choice {
        name: "kind",
        summary: "the kernel's word for the kind",
        choices: kinds::NAMES,
        default: "dummy",
    }],
    metrics: &[],
    modules: kinds::MODULES,
};

/// The device under test.
const DEVICE: &str = "x0";
/// Its peer, if it is one of a pair.
const PEER: &str = "x1";
/// Devices that it is made on.
const BELOW: [&str; 2] = ["p0", "p1"];

/// Kinds of masters, in which a port is tried.
const MASTERS: [&str; 4] = ["bridge", "bond", "team", "vrf"];

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let name = ctx.choice("kind")?;
    let kind = kinds::find(name)
        .ok_or_else(|| Stop::Error(format!("parameter `kind` is `{name}`, which is none of its choices")))?;
    let _modules = Loaded::load(&["dummy", kind.module])?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let mut start = Place::here("the namespace of the start")?;
    if kind.made == Made::Elsewhere {
        return refused(ctx, kind, &mut start);
    }
    life(ctx, kind, &home)?;
    settle(ctx, &mut census, &mut start)?;
    if kind.move_away == Move::Immutable {
        bound(ctx, kind, &home)?;
    } else {
        birthplace_dies(ctx, kind, &home, &mut census)?;
        settle(ctx, &mut census, &mut start)?;
        dies_abroad(ctx, kind, &home, &mut census)?;
    }
    settle(ctx, &mut census, &mut start)
}

/// A kind that is made by other means is refused here.
fn refused(ctx: &Context<'_>, kind: &Kind, start: &mut Place) -> WorkloadResult {
    let result = link::create(&mut start.route, DEVICE, kind.name, None, Vec::new());
    let errno = result.as_ref().err().and_then(RequestError::errno);
    ctx.check(errno == Some(Errno::OPNOTSUPP) || errno == Some(Errno::INVAL), || {
        format!("RTM_NEWLINK of kind {} should be refused, and was answered with {result:?}", kind.name)
    })?;
    if let Err(RequestError::Refused(refusal)) = &result
        && refusal.text.as_deref().is_none_or(|text| text.contains("Unknown device type"))
    {
        return Err(Stop::Skip(format!("no devices of kind {}; needs {}", kind.name, kind.symbol)));
    }
    start.expect(ctx, &[])
}

/// Every namespace of the test is gone, and nothing of them came to the first one.
pub(super) fn settle(ctx: &Context<'_>, census: &mut Census, start: &mut Place) -> WorkloadResult {
    drop(expect_all_gone(ctx, census, 2)?);
    census.open()?;
    start.expect(ctx, &[])
}

/// Makes the device, and what it is made on, in the connection's namespace. Gives
/// the names of all.
pub(super) fn make(route: &mut Route, kind: &Kind) -> Result<Vec<&'static str>, Stop> {
    let below = match kind.made {
        Made::Above => 1,
        Made::Ring(..) => 2,
        _ => 0,
    };
    let mut names = Vec::new();
    for name in BELOW.iter().take(below) {
        link::create(route, name, "dummy", None, Vec::new())
            .map_err(|error| no_kind(&error, "dummy", "CONFIG_DUMMY"))?;
        let index =
            link::index(route, name).map_err(|error| error.stop("RTM_GETLINK of the device below"))?;
        link::switch(route, index, Switch::Up).map_err(|error| error.stop("the device below up"))?;
        names.push(*name);
    }
    let index = |route: &mut Route, name: &str| {
        link::index(route, name).map_err(|error| error.stop("RTM_GETLINK of the device below"))
    };
    let mut more = Vec::new();
    let lower = if below > 0 { index(route, BELOW[0])? } else { 0 };
    let mut data = kinds::encode(kind.data, lower);
    match kind.made {
        Made::Above => more.push(LinkAttribute::Link(lower)),
        Made::Ring(first, second) => {
            let other = index(route, BELOW[1])?;
            data.extend(kinds::encode(&[Attribute::U32(first, lower), Attribute::U32(second, other)], 0));
        }
        Made::Alone | Made::Elsewhere | Made::Pair(_) => {}
    }
    let data = match kind.made {
        Made::Pair(_) => Some(pair(kind.name)),
        _ if data.is_empty() => None,
        _ => Some(InfoData::Other(data)),
    };
    link::create(route, DEVICE, kind.name, data, more)
        .map_err(|error| no_kind(&error, kind.name, kind.symbol))?;
    if let Made::Pair(_) = kind.made {
        names.push(PEER);
    }
    names.push(DEVICE);
    Ok(names)
}

/// What names the other one of a pair.
fn pair(kind: &str) -> InfoData {
    use netlink_packet_route::link::{InfoNetkit, InfoVeth, InfoVxcan};
    let mut peer = LinkMessage::default();
    peer.attributes = vec![LinkAttribute::IfName(PEER.to_owned())];
    match kind {
        "netkit" => InfoData::Netkit(vec![InfoNetkit::Peer(peer)]),
        "vxcan" => InfoData::Vxcan(InfoVxcan::Peer(peer)),
        _ => InfoData::Veth(InfoVeth::Peer(peer)),
    }
}

/// Made, up, changed, down, enslaved, deleted.
fn life(ctx: &Context<'_>, kind: &Kind, home: &Home) -> WorkloadResult {
    let namespace = create()?;
    let mut place = Place::here("its namespace")?;
    let names = make(&mut place.route, kind)?;
    place.expect(ctx, &names)?;
    let index = place.index(DEVICE)?;
    for (way, up) in [(Switch::Up, true), (Switch::Down, false), (Switch::Up, true)] {
        link::switch(&mut place.route, index, way)
            .map_err(|error| error.stop(&format!("{} {way:?}", kind.name)))?;
        let link = link::find(&mut place.route, DEVICE).map_err(|error| error.stop("RTM_GETLINK"))?;
        ctx.check(link.header.flags.contains(LinkFlags::Up) == up, || {
            format!("{} was switched {way:?} and has the flags {:?}", kind.name, link.header.flags)
        })?;
    }
    if !kind.change.is_empty() {
        change(ctx, kind, &mut place.route, index)?;
    }
    match kind.role {
        Role::Master => port_of(ctx, &mut place, kind.name, index)?,
        Role::Port => masters_of(ctx, &mut place, index, &names)?,
        Role::Single => {}
    }
    place.expect(ctx, &names)?;
    link::delete(&mut place.route, index).map_err(|error| error.stop("RTM_DELLINK"))?;
    let left: Vec<_> = names.iter().copied().filter(|name| BELOW.contains(name)).collect();
    place.expect(ctx, &left)?;
    drop((namespace, place));
    home.back()
}

/// Changes what belongs to the kind. The device tells it.
fn change(ctx: &Context<'_>, kind: &Kind, route: &mut Route, index: u32) -> WorkloadResult {
    let mut raw = RawRoute::raw()?;
    if lacking(kind, &mut raw, index)?.is_empty() {
        return Err(Stop::Error(format!("a new {} is already what a change would make it", kind.name)));
    }
    link::switch(route, index, Switch::Down).map_err(|error| error.stop(&format!("{} down", kind.name)))?;
    link::change_kind(route, index, kind.name, InfoData::Other(kinds::encode(kind.change, 0)))
        .map_err(|error| error.stop(&format!("a change of {}", kind.name)))?;
    let lacking = lacking(kind, &mut raw, index)?;
    ctx.check(lacking.is_empty(), || {
        format!("{} was changed, and RTM_GETLINK does not tell {lacking:?}", kind.name)
    })
}

/// What the device does not tell of the change of its kind.
fn lacking(kind: &Kind, raw: &mut RawRoute, index: u32) -> Result<Vec<Attribute>, Stop> {
    const GET_LINK: u16 = 18;
    /// `struct ifinfomsg`, with the index at 4.
    const HEADER: usize = 16;
    let answers = raw
        .get(Raw::new(GET_LINK, &[&[0; 4], &index.to_ne_bytes(), &[0; 8]]))
        .map_err(|error| error.stop("RTM_GETLINK"))?;
    let data = answers.first().and_then(|it| kinds::info_data(it.after(HEADER)));
    Ok(kinds::missing(kind.change, data.unwrap_or_default()))
}

/// A port is put under the device and taken away.
fn port_of(ctx: &Context<'_>, place: &mut Place, kind: &str, master: u32) -> WorkloadResult {
    const PORT: &str = "port";
    link::create(&mut place.route, PORT, "dummy", None, Vec::new())
        .map_err(|error| no_kind(&error, "dummy", "CONFIG_DUMMY"))?;
    let port = place.index(PORT)?;
    enslave_and_release(ctx, place, PORT, port, kind, master)?;
    link::delete(&mut place.route, port).map_err(|error| error.stop("RTM_DELLINK of a port"))
}

/// The device is put under masters of every kind that the kernel has, by turns.
fn masters_of(ctx: &Context<'_>, place: &mut Place, port: u32, names: &[&str]) -> WorkloadResult {
    for name in MASTERS {
        let Some(kind) = kinds::find(name) else { continue };
        let _modules = Loaded::load(&[kind.module, "team_mode_roundrobin"])?;
        let data = kinds::encode(kind.data, 0);
        let data = (!data.is_empty()).then_some(InfoData::Other(data));
        match link::create(&mut place.route, "master", kind.name, data, Vec::new()) {
            Ok(()) => {}
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
                ctx.note(&format!("no-{name}"), format!("needs {}", kind.symbol))?;
                continue;
            }
            Err(error) => return Err(error.stop(&format!("RTM_NEWLINK of kind {name}"))),
        }
        let master = place.index("master")?;
        // Bonds take only ports that are down.
        link::switch(&mut place.route, port, Switch::Down).map_err(|error| error.stop("a port down"))?;
        enslave_and_release(ctx, place, DEVICE, port, name, master)?;
        link::delete(&mut place.route, master).map_err(|error| error.stop("RTM_DELLINK of a master"))?;
        place.expect(ctx, names)?;
    }
    Ok(())
}

fn enslave_and_release(
    ctx: &Context<'_>,
    place: &mut Place,
    name: &str,
    port: u32,
    kind: &str,
    master: u32,
) -> WorkloadResult {
    link::enslave(&mut place.route, port, master)
        .map_err(|error| error.stop(&format!("a port for a {kind}")))?;
    expect_master(ctx, place, name, Some(master))?;
    link::release(&mut place.route, port)
        .map_err(|error| error.stop(&format!("the release of a port of a {kind}")))?;
    expect_master(ctx, place, name, None)
}

fn expect_master(ctx: &Context<'_>, place: &mut Place, port: &str, expected: Option<u32>) -> WorkloadResult {
    let link = link::find(&mut place.route, port).map_err(|error| error.stop("RTM_GETLINK of a port"))?;
    let found = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) if *index != 0 => Some(*index),
        _ => None,
    });
    ctx.check(found == expected, || format!("the master of {port} should be {expected:?}, and is {found:?}"))
}

/// A new namespace, with the calling thread in it.
pub(super) fn create() -> Result<Namespace, Stop> {
    Namespace::create().map_err(|error: CreateError| error.stop(0))
}

/// Moves the device from where it is to another place, and asserts that it has
/// arrived.
pub(super) fn moved(
    ctx: &Context<'_>,
    from: &mut Place,
    to: (&mut Place, &Namespace),
    left: &[&str],
    there: &[&str],
) -> WorkloadResult {
    let index = from.index(DEVICE)?;
    link::move_to(&mut from.route, index, to.1.as_fd())
        .map_err(|error| error.stop("a move to another namespace"))?;
    from.expect(ctx, left)?;
    to.0.expect(ctx, there)
}

/// The device moves to B, back, and to B again; then A dies, where it was made.
fn birthplace_dies(ctx: &Context<'_>, kind: &Kind, home: &Home, census: &mut Census) -> WorkloadResult {
    let a = create()?;
    let mut in_a = Place::here("its birthplace")?;
    let names = make(&mut in_a.route, kind)?;
    let rest: Vec<&str> = names.iter().copied().filter(|name| *name != DEVICE).collect();
    let b = create()?;
    let mut in_b = Place::here("the other namespace")?;
    home.back()?;
    in_a.expect(ctx, &names)?;
    moved(ctx, &mut in_a, (&mut in_b, &b), &rest, &[DEVICE])?;
    moved(ctx, &mut in_b, (&mut in_a, &a), &[], &names)?;
    moved(ctx, &mut in_a, (&mut in_b, &b), &rest, &[DEVICE])?;
    let index = in_b.index(DEVICE)?;
    link::switch(&mut in_b.route, index, Switch::Up)
        .map_err(|error| error.stop("up in the other namespace"))?;
    drop((in_a, a));
    drop(expect_left(ctx, census, 1)?);
    let survivors: &[&str] = if kind.move_away == Move::Stays { &[DEVICE] } else { &[] };
    in_b.expect(ctx, survivors)?;
    drop((in_b, b));
    Ok(())
}

/// The namespace dies in which the device is, and which is not that of its birth.
fn dies_abroad(ctx: &Context<'_>, kind: &Kind, home: &Home, census: &mut Census) -> WorkloadResult {
    let a = create()?;
    let mut in_a = Place::here("its birthplace")?;
    let names = make(&mut in_a.route, kind)?;
    let b = create()?;
    home.back()?;
    let index = in_a.index(DEVICE)?;
    link::move_to(&mut in_a.route, index, b.as_fd())
        .map_err(|error| error.stop("a move to another namespace"))?;
    drop(b);
    drop(expect_left(ctx, census, 1)?);
    // What is below stays; a peer has gone with its other one.
    let below: Vec<_> = names.iter().copied().filter(|name| BELOW.contains(name)).collect();
    in_a.expect(ctx, &below)?;
    drop((in_a, a));
    Ok(())
}

/// A device that cannot move says so, stays, and dies with its namespace.
fn bound(ctx: &Context<'_>, kind: &Kind, home: &Home) -> WorkloadResult {
    let a = create()?;
    let mut in_a = Place::here("its birthplace")?;
    let names = make(&mut in_a.route, kind)?;
    let b = create()?;
    let mut in_b = Place::here("the other namespace")?;
    enter(&a)?;
    let index = in_a.index(DEVICE)?;
    let result = link::move_to(&mut in_a.route, index, b.as_fd());
    let errno = result.as_ref().err().and_then(RequestError::errno);
    ctx.check(errno == Some(Errno::INVAL), || {
        format!("a move of a {} should be refused with EINVAL, and was answered with {result:?}", kind.name)
    })?;
    if let Err(RequestError::Refused(refusal)) = &result
        && let Some(text) = &refusal.text
    {
        ctx.check(text.contains("immutable"), || format!("a move of a {} was refused: {text}", kind.name))?;
    }
    in_a.expect(ctx, &names)?;
    in_b.expect(ctx, &[])?;
    if let Made::Ring(..) = kind.made {
        ports_leave(ctx, &mut in_a, (&mut in_b, &b))?;
    }
    home.back()?;
    drop((in_a, in_b, a, b));
    Ok(())
}

/// Both ports of a ring move away, one after the other. It stays with one, and goes
/// with the last (`hsr_netdev_notify`, net/hsr/hsr_main.c).
fn ports_leave(ctx: &Context<'_>, from: &mut Place, to: (&mut Place, &Namespace)) -> WorkloadResult {
    let [first, second] = BELOW;
    for (port, left, there) in
        [(first, &[second, DEVICE][..], &[first][..]), (second, &[][..], &[first, second][..])]
    {
        let index = from.index(port)?;
        link::move_to(&mut from.route, index, to.1.as_fd())
            .map_err(|error| error.stop("a move of a port"))?;
        from.expect(ctx, left)?;
        to.0.expect(ctx, there)?;
    }
    Ok(())
}
