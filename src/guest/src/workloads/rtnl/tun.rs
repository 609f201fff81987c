//! `rtnl/tun`: a device of the tun driver, which a descriptor makes and not
//! RTM_NEWLINK. It moves; it goes when its descriptor is closed, or when the
//! namespace dies that it is in; and the descriptor keeps alive the namespace in
//! which it was opened.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;

use kregress_wire::{ParamInfo, WorkloadInfo};

use super::kind::{create, moved, settle};
use super::place::{Place, enter};
use crate::context::{Context, Stop, WorkloadResult};
use crate::ffi::{self, TunLayer};
use crate::modules::Loaded;
use crate::netlink::link::{self, Switch};
use crate::netns::{Home, Namespace};
use crate::ucount::Census;
use crate::workloads::netns::{begin_census, expect_left};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "rtnl/tun",
    summary: "leads a device of the tun driver through moves, and through the end of its descriptor",
    params: &[ParamInfo::Choice {
        name: "layer",
        summary: "what goes through it: packets (tun) or frames (tap)",
        choices: &["tun", "tap"],
        default: "tun",
    }],
    metrics: &[],
    modules: &["tun"],
};

/// The device, as `kind::moved` names it.
const DEVICE: &str = "x0";

/// Where the driver is found.
const NODE: &str = "/dev/net/tun";

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let layer = match ctx.choice("layer")? {
        "tun" => TunLayer::Packets,
        "tap" => TunLayer::Frames,
        other => {
            return Err(Stop::Error(format!("parameter `layer` is `{other}`, which is none of its choices")));
        }
    };
    let _modules = Loaded::load(INFO.modules)?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let mut start = Place::here("the namespace of the start")?;
    closed_abroad(ctx, layer, &home)?;
    settle(ctx, &mut census, &mut start)?;
    kept(ctx, layer, &home, &mut census)?;
    settle(ctx, &mut census, &mut start)?;
    dies_abroad(ctx, layer, &home, &mut census)?;
    settle(ctx, &mut census, &mut start)?;
    held(ctx, layer, &home, &mut census)?;
    settle(ctx, &mut census, &mut start)
}

/// A descriptor of the driver with the device, in the namespace of the calling
/// thread.
fn attach(layer: TunLayer) -> Result<File, Stop> {
    let file = File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(NODE);
    let file = file.map_err(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => {
            Stop::Skip(format!("{NODE}: {error}; needs CONFIG_TUN"))
        }
        _ => Stop::Fail(format!("{NODE}: {error}")),
    })?;
    ffi::tun_attach(&file, DEVICE, layer).map_err(|error| failed("TUNSETIFF", &error))?;
    Ok(file)
}

fn failed(what: &str, error: &io::Error) -> Stop {
    Stop::Fail(format!("{what}: {error}"))
}

/// The namespace in which the device is made, another one, and the device's
/// descriptor.
struct Pair {
    a: Namespace,
    in_a: Place,
    b: Namespace,
    in_b: Place,
    file: File,
}

impl Pair {
    /// Leaves the calling thread at home, and the device in A, up.
    fn set(ctx: &Context<'_>, layer: TunLayer, home: &Home) -> Result<Self, Stop> {
        let b = create()?;
        let in_b = Place::here("the other namespace")?;
        let a = create()?;
        let mut in_a = Place::here("its birthplace")?;
        let file = attach(layer);
        home.back()?;
        let file = file?;
        in_a.expect(ctx, &[DEVICE])?;
        let index = in_a.index(DEVICE)?;
        link::switch(&mut in_a.route, index, Switch::Up).map_err(|error| error.stop("a tun up"))?;
        Ok(Self { a, in_a, b, in_b, file })
    }

    /// The device moves to B, back, and to B again.
    fn travel(&mut self, ctx: &Context<'_>) -> WorkloadResult {
        moved(ctx, &mut self.in_a, (&mut self.in_b, &self.b), &[], &[DEVICE])?;
        moved(ctx, &mut self.in_b, (&mut self.in_a, &self.a), &[], &[DEVICE])?;
        moved(ctx, &mut self.in_a, (&mut self.in_b, &self.b), &[], &[DEVICE])
    }
}

/// The descriptor is closed while the device is in another namespace.
fn closed_abroad(ctx: &Context<'_>, layer: TunLayer, home: &Home) -> WorkloadResult {
    let mut pair = Pair::set(ctx, layer, home)?;
    pair.travel(ctx)?;
    named(ctx, &pair.file)?;
    let Pair { a, mut in_a, b, mut in_b, file } = pair;
    drop(file);
    in_b.expect(ctx, &[])?;
    in_a.expect(ctx, &[])?;
    drop((in_a, in_b, a, b));
    Ok(())
}

/// A device that stays without a descriptor, stays without its birthplace, is
/// taken up again where it is, and dies there.
fn kept(ctx: &Context<'_>, layer: TunLayer, home: &Home, census: &mut Census) -> WorkloadResult {
    let mut pair = Pair::set(ctx, layer, home)?;
    ffi::tun_keep(&pair.file).map_err(|error| failed("TUNSETPERSIST", &error))?;
    pair.travel(ctx)?;
    let Pair { a, in_a, b, mut in_b, file } = pair;
    drop(file);
    in_b.expect(ctx, &[DEVICE])?;
    let index = in_b.index(DEVICE)?;
    drop((in_a, a));
    drop(expect_left(ctx, census, 1)?);
    in_b.expect(ctx, &[DEVICE])?;
    enter(&b)?;
    let again = attach(layer);
    home.back()?;
    named(ctx, &again?)?;
    // Another one would have another index.
    let now = in_b.index(DEVICE)?;
    ctx.check(now == index, || format!("TUNSETIFF made device {now}, and there was {index} to take up"))?;
    in_b.expect(ctx, &[DEVICE])?;
    drop((in_b, b));
    Ok(())
}

/// The namespace dies in which the device is; the descriptor knows, and can make
/// another one at home.
fn dies_abroad(ctx: &Context<'_>, layer: TunLayer, home: &Home, census: &mut Census) -> WorkloadResult {
    let mut pair = Pair::set(ctx, layer, home)?;
    pair.travel(ctx)?;
    let Pair { a, mut in_a, b, in_b, mut file } = pair;
    drop((in_b, b));
    drop(expect_left(ctx, census, 1)?);
    in_a.expect(ctx, &[])?;
    let reading = file.read(&mut [0; 16]).map_err(|error| error.raw_os_error());
    let name = ffi::tun_device(&file).map_err(|error| error.raw_os_error());
    ctx.check(reading == Err(Some(libc::EBADFD)) && name == Err(Some(libc::EBADFD)), || {
        format!("the device of a descriptor is gone; a read gave {reading:?}, TUNGETIFF {name:?}, not EBADFD")
    })?;
    ffi::tun_attach(&file, DEVICE, layer)
        .map_err(|error| failed("TUNSETIFF after the device died", &error))?;
    in_a.expect(ctx, &[DEVICE])?;
    drop(file);
    in_a.expect(ctx, &[])?;
    drop((in_a, a));
    Ok(())
}

/// A descriptor keeps the namespace alive in which it was opened.
///
/// Why two more have to come and go is told in `leak::still_there`.
fn held(ctx: &Context<'_>, layer: TunLayer, home: &Home, census: &mut Census) -> WorkloadResult {
    let Pair { a, in_a, b, in_b, file } = Pair::set(ctx, layer, home)?;
    drop((in_a, in_b, a, b));
    drop(expect_left(ctx, census, 1)?);
    drop(expect_left(ctx, census, 1)?);
    named(ctx, &file)
}

/// Asserts that the device of a descriptor is there.
fn named(ctx: &Context<'_>, file: &File) -> WorkloadResult {
    let name = ffi::tun_device(file).map_err(|error| error.to_string());
    ctx.check(name.as_deref() == Ok(DEVICE), || format!("TUNGETIFF should name {DEVICE}, and gave {name:?}"))
}
