//! `netns/storm`: how long a creation takes while others destroy, and while the
//! list of pernet operations changes.
//!
//! Creation and cleanup share `pernet_ops_rwsem`. Whoever wants it for writing, as
//! the loading of a module does, stops all creation until a cleanup that runs has
//! ended: the fear of the net_mutex thread, and still true.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use super::{begin_census, expect_all_gone, ns, time};
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::{self, Loaded};
use crate::netns::{CreateError, Home, Namespace};
use crate::quantile::quantile;
use crate::{clock, ffi};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/storm",
    summary: "creates namespaces while others are destroyed",
    params: &[
        ParamInfo::Int {
            name: "count",
            summary: "creations that are timed",
            min: 1,
            max: 1_000_000,
            default: 150,
        },
        ParamInfo::Int {
            name: "destroyers",
            summary: "threads that make namespaces and drop them at once",
            min: 1,
            max: 256,
            default: 2,
        },
        ParamInfo::Int {
            name: "batch",
            summary: "namespaces that a destroyer drops together",
            min: 1,
            max: 10_000,
            default: 10,
        },
        ParamInfo::Choice {
            name: "writer",
            summary: "who changes the list of pernet operations meanwhile: nobody, a module, a netdevsim device",
            choices: &["none", "module", "netdevsim"],
            default: "none",
        },
    ],
    metrics: &[
        time("create_p50", "half of the creations take no longer"),
        time("create_p99", "99 of a hundred creations take no longer"),
        time("create_max", "the longest creation"),
        MetricInfo {
            name: "destroyed",
            summary: "namespaces per second that the destroyers made and dropped meanwhile",
            unit: Unit::PerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
        MetricInfo {
            name: "writes",
            summary: "changes per second by the writer",
            unit: Unit::PerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
    ],
    modules: &[MODULE, "netdevsim"],
};

/// A module that registers pernet operations when it is loaded, and needs nothing.
const MODULE: &str = "xfrm_interface";

const NEW_DEVICE: &str = "/sys/bus/netdevsim/new_device";
const DEL_DEVICE: &str = "/sys/bus/netdevsim/del_device";

/// Who changes the list of pernet operations.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Writer {
    Nobody,
    /// File of the module.
    Module(String),
    Device,
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let count = ctx.count("count")?;
    let (destroyers, batch) = (ctx.count("destroyers")?, ctx.count("batch")?);
    let (writer, _loaded) = writer(ctx.choice("writer")?)?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let over = AtomicBool::new(false);
    let (destroyed, writes) = (AtomicU64::new(0), AtomicU64::new(0));
    let destroyer = || destroy(batch, &over, &destroyed);
    let changer = || write(&writer, &over, &writes);
    let mut works: Vec<&(dyn Fn() -> WorkloadResult + Sync)> = vec![&destroyer; destroyers];
    if writer != Writer::Nobody {
        works.push(&changer);
    }
    ctx.dither();
    let started_ns = clock::monotonic_ns();
    let times = thread::scope(|scope| {
        let mut others = Vec::new();
        for work in works {
            match thread::Builder::new().spawn_scoped(scope, work) {
                Ok(thread) => others.push(thread),
                Err(error) => {
                    // Those that run would be waited for.
                    over.store(true, Ordering::Relaxed);
                    return Err(Stop::Error(format!("cannot start a thread: {error}")));
                }
            }
        }
        let times = create(ctx, count);
        over.store(true, Ordering::Relaxed);
        for other in others {
            other.join().map_err(|_| Stop::Error("a thread panicked".into()))??;
        }
        times
    });
    let elapsed_ns = clock::monotonic_ns().saturating_sub(started_ns).max(1);
    let mut times = times?;
    for (metric, per_mille) in [("create_p50", 500), ("create_p99", 990), ("create_max", 1000)] {
        if let Some(value) = quantile(&mut times, per_mille) {
            ctx.sample(metric, ns(value))?;
        }
    }
    let per_second = |events: &AtomicU64| ns(events.load(Ordering::Relaxed)) * 1e9 / ns(elapsed_ns);
    ctx.sample("destroyed", per_second(&destroyed))?;
    if writer != Writer::Nobody {
        ctx.sample("writes", per_second(&writes))?;
        let writes = writes.load(Ordering::Relaxed);
        ctx.check(writes > 0, || "the writer came to no change while namespaces were created".into())?;
    }
    expect_all_gone(ctx, &mut census, count).map(drop)
}

fn writer(choice: &str) -> Result<(Writer, Loaded), Stop> {
    match choice {
        "none" => Ok((Writer::Nobody, Loaded::default())),
        "module" => match modules::file(MODULE) {
            Some(file) => Ok((Writer::Module(file), Loaded::load(&[MODULE])?)),
            None => Err(Stop::Skip(format!(
                "the kernel has {MODULE} not as a module; needs CONFIG_MODULES and CONFIG_XFRM_INTERFACE=m"
            ))),
        },
        "netdevsim" => {
            let loaded = Loaded::load(&["netdevsim"])?;
            match fs::exists(NEW_DEVICE) {
                Ok(true) => Ok((Writer::Device, loaded)),
                _ => Err(Stop::Skip(format!("{NEW_DEVICE} does not exist; needs CONFIG_NETDEVSIM"))),
            }
        }
        other => Err(Stop::Error(format!("parameter `writer` is `{other}`, which is none of its choices"))),
    }
}

/// The creations that are timed; each drops the namespace of the one before.
fn create(ctx: &Context<'_>, count: usize) -> Result<Vec<u64>, Stop> {
    let home = Home::here()?;
    let mut times = Vec::with_capacity(count);
    for step in 0..count {
        let before = clock::monotonic_ns();
        let created = ffi::unshare_net();
        times.push(clock::monotonic_ns().saturating_sub(before));
        created.map_err(|error| CreateError::Unshare(error).stop(step))?;
        ctx.progress(u64::try_from(step + 1).unwrap_or(0), u64::try_from(count).unwrap_or(0))?;
    }
    ctx.checked(u64::try_from(count).unwrap_or(0));
    home.back()?;
    Ok(times)
}

fn destroy(batch: usize, over: &AtomicBool, destroyed: &AtomicU64) -> Result<(), Stop> {
    let home = Home::here()?;
    while !over.load(Ordering::Relaxed) {
        let mut held = Vec::with_capacity(batch);
        for nth in 0..batch {
            held.push(Namespace::create().map_err(|error| error.stop(nth))?);
        }
        home.back()?;
        destroyed.fetch_add(u64::try_from(held.len()).unwrap_or(0), Ordering::Relaxed);
        drop(held);
    }
    Ok(())
}

fn write(writer: &Writer, over: &AtomicBool, writes: &AtomicU64) -> Result<(), Stop> {
    const DEVICE: &str = "77 1";
    let failed = |what: &str, error: std::io::Error| Stop::Fail(format!("{what}: {error}"));
    while !over.load(Ordering::Relaxed) {
        match writer {
            Writer::Nobody => return Ok(()),
            Writer::Module(file) => {
                modules::remove(MODULE).map_err(|error| failed("delete_module of xfrm_interface", error))?;
                modules::insert(file).map_err(|error| failed("finit_module of xfrm_interface", error))?;
            }
            Writer::Device => {
                fs::write(NEW_DEVICE, DEVICE).map_err(|error| failed(NEW_DEVICE, error))?;
                fs::write(DEL_DEVICE, "77").map_err(|error| failed(DEL_DEVICE, error))?;
            }
        }
        writes.fetch_add(2, Ordering::Relaxed);
    }
    Ok(())
}
