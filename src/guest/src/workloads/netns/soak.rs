//! `netns/soak`: everything at once, for a while, and then nothing is left.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use super::killer::Killer;
use super::{begin_census, expect_all_gone, ns};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::{Dress, Wardrobe};
use crate::ffi;
use crate::netlink::Route;
use crate::netlink::nsid::{self, Peer};
use crate::netns::{CreateError, Home, Look, Namespace, inspect};
use std::os::fd::AsFd as _;

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/soak",
    summary: "creates, destroys, dresses, numbers and reads namespaces and kills their makers, all at once",
    params: &[
        ParamInfo::Int {
            name: "milliseconds",
            summary: "length of a round",
            min: 1,
            max: 86_400_000,
            default: 300,
        },
        ParamInfo::Int {
            name: "rounds",
            summary: "rounds, each of which ends when every namespace is gone",
            min: 1,
            max: 100_000,
            default: 10,
        },
    ],
    metrics: &[MetricInfo {
        name: "steps",
        summary: "steps per second of all kinds of work",
        unit: Unit::PerSecond,
        kind: Kind::Rate,
        better: Better::Higher,
    }],
    modules: crate::dress::MODULES,
};

/// Work of one kind, repeated until the round is over. Each is done by one
/// thread; beside them a process kills others that make namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Makes one namespace after the other.
    Churn,
    /// Makes ten and drops them together.
    Batch,
    /// Makes one with rules, policies or addresses.
    Dressed(Dress),
    /// Gives numbers to namespaces that die.
    Number,
    /// Looks into a fresh one.
    Look,
    /// Reads what the kernel says of namespaces and devices.
    Read,
}

const ALL: [Work; 10] = [
    Work::Churn,
    Work::Batch,
    Work::Dressed(Dress::Routes),
    Work::Dressed(Dress::Timewait),
    Work::Dressed(Dress::Veth),
    Work::Dressed(Dress::Xfrm),
    Work::Dressed(Dress::Nft),
    Work::Number,
    Work::Look,
    Work::Read,
];

/// Namespaces of a batch.
const BATCH: usize = 10;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let rounds = ctx.count("rounds")?;
    let length = Duration::from_millis(u64::try_from(ctx.count("milliseconds")?).unwrap_or(u64::MAX));
    let (works, wardrobes) = prepare(ctx)?;
    let mut rng = ctx.rng();
    let mut killed = 0;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    for done in 1..=rounds {
        let over = AtomicBool::new(false);
        let killer = Killer::start(&mut rng)?;
        let steps = thread::scope(|scope| {
            let threads: Vec<_> = works
                .iter()
                .copied()
                .enumerate()
                .map(|(number, work)| {
                    let wardrobe = match work {
                        Work::Dressed(dress) => {
                            wardrobes.iter().find(|(of, _)| *of == dress).map(|(_, wardrobe)| wardrobe)
                        }
                        _ => None,
                    };
                    let over = &over;
                    scope.spawn(move || repeat(work, number, wardrobe, over))
                })
                .collect();
            clock::poll_interval(length);
            over.store(true, Ordering::Relaxed);
            let mut steps = 0;
            for thread in threads {
                steps += thread.join().map_err(|_| Stop::Error("a thread panicked".into()))??;
            }
            Ok::<u64, Stop>(steps)
        })?;
        let victims = killer.stop()?;
        killed += victims;
        let steps = steps + victims;
        ctx.checked(steps);
        drop(expect_all_gone(ctx, &mut census, works.len())?);
        census.open()?;
        for (_, wardrobe) in &wardrobes {
            wardrobe.expect_put_away()?;
            ctx.checked(1);
        }
        ctx.sample("steps", ns(steps) / length.as_secs_f64())?;
        ctx.progress(u64::try_from(done).unwrap_or(0), u64::try_from(rounds).unwrap_or(0))?;
    }
    ctx.note("killed", killed.to_string())
}

type Wardrobes = Vec<(Dress, Wardrobe)>;

/// Tries on every dress, while there is one thread yet: the work that this kernel
/// can do, and what it needs. What it lacks is left out, and noted.
fn prepare(ctx: &Context<'_>) -> Result<(Vec<Work>, Wardrobes), Stop> {
    let home = Home::here()?;
    let (mut works, mut wardrobes, mut lacking) = (Vec::new(), Vec::new(), Vec::new());
    for (number, work) in ALL.into_iter().enumerate() {
        if let Work::Dressed(dress) = work {
            let worn = Wardrobe::open(dress).and_then(|wardrobe| {
                let namespace = Namespace::create().map_err(|error| error.stop(number))?;
                let dressed = wardrobe.dress(number);
                home.back()?;
                drop(namespace);
                dressed.map(|()| wardrobe)
            });
            match worn {
                Ok(wardrobe) => wardrobes.push((dress, wardrobe)),
                Err(Stop::Skip(reason)) => {
                    lacking.push(reason);
                    continue;
                }
                Err(stop) => return Err(stop),
            }
        }
        works.push(work);
    }
    if !lacking.is_empty() {
        ctx.note("left-out", lacking.join("; "))?;
    }
    Ok((works, wardrobes))
}

fn repeat(work: Work, number: usize, wardrobe: Option<&Wardrobe>, over: &AtomicBool) -> Result<u64, Stop> {
    let home = Home::here()?;
    let mut route = Route::here()?;
    let mut steps = 0;
    while !over.load(Ordering::Relaxed) {
        match work {
            Work::Churn => ffi::unshare_net().map_err(|error| CreateError::Unshare(error).stop(number))?,
            Work::Batch => {
                let mut held = Vec::with_capacity(BATCH);
                for nth in 0..BATCH {
                    held.push(Namespace::create().map_err(|error| error.stop(nth))?);
                }
                home.back()?;
            }
            Work::Dressed(_) => {
                let namespace = Namespace::create().map_err(|error| error.stop(number))?;
                // Names of peers in the namespace of the start go by this number; the
                // one of the step before may still be there.
                let nth = number + ALL.len() * usize::try_from(steps).unwrap_or(0);
                let dressed = wardrobe.map_or(Ok(()), |wardrobe| wardrobe.dress(nth));
                home.back()?;
                drop(namespace);
                dressed?;
            }
            Work::Number => {
                let namespace = Namespace::create().map_err(|error| error.stop(number))?;
                home.back()?;
                let peer = Peer::Fd(namespace.as_fd());
                nsid::assign(&mut route, peer, nsid::NOT_ASSIGNED)
                    .map_err(|error| error.stop("RTM_NEWNSID"))?;
                let id = nsid::number(&mut route, peer).map_err(|error| error.stop("RTM_GETNSID"))?;
                if id.is_none() {
                    return Err(Stop::Fail("a namespace has no number after RTM_NEWNSID".into()));
                }
            }
            Work::Look => {
                let namespace = Namespace::create().map_err(|error| error.stop(number))?;
                let looked = inspect(&namespace, Look::Proc);
                home.back()?;
                looked?;
            }
            Work::Read => {
                for file in ["/proc/self/net/dev", "/proc/self/mounts", "/proc/self/net/unix"] {
                    fs::read_to_string(file).map_err(|error| Stop::Fail(format!("{file}: {error}")))?;
                }
                nsid::all(&mut route).map_err(|error| error.stop("a dump of numbers"))?;
            }
        }
        steps += 1;
    }
    home.back()?;
    Ok(steps)
}
