//! `netns/kill`: tasks that are killed in the middle of making a namespace.
//!
//! `copy_net_ns` waits killably for locks; whoever dies there leaves a namespace
//! that is half made, which has to be undone to the last count.

use std::time::Duration;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use super::{begin_census, expect_all_gone, ns};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::ffi::{self, Fork, SharedNumber};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/kill",
    summary: "kills tasks in the middle of making a namespace",
    params: &[
        ParamInfo::Int { name: "tasks", summary: "tasks side by side", min: 1, max: 256, default: 4 },
        ParamInfo::Int {
            name: "rounds",
            summary: "how often all of them are started and killed",
            min: 1,
            max: 100_000,
            default: 25,
        },
    ],
    metrics: &[MetricInfo {
        name: "killed_inside",
        summary: "tasks that died within unshare",
        unit: Unit::One,
        kind: Kind::Count,
        better: Better::Higher,
    }],
    modules: &[],
};

/// Longest time that tasks run before they are killed: some creations on a fast
/// machine, a part of one on a slow one.
const LONGEST: Duration = Duration::from_millis(12);

/// Rounds after which everything has to be gone.
const SETTLE: usize = 8;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (tasks, rounds) = (ctx.count("tasks")?, ctx.count("rounds")?);
    let mut rng = ctx.rng();
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let mut inside = 0_u64;
    for round in 0..rounds {
        let mut herd = Vec::new();
        for _ in 0..tasks {
            herd.push(release()?);
        }
        let wait = Duration::from_nanos(rng.u64(..u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX)));
        clock::poll_interval(wait);
        for (task, _) in &herd {
            kill_process(*task, Signal::KILL).map_err(|error| Stop::Error(format!("kill: {error}")))?;
        }
        for (task, stage) in &herd {
            let error = reap(*task)?;
            ctx.check(error.is_none(), || {
                format!(
                    "a task that makes namespaces ended with `{}`",
                    error.map_or_else(String::new, |it| it.to_string())
                )
            })?;
            // Odd within the call.
            inside += stage.get() % 2;
        }
        if round % SETTLE == SETTLE - 1 || round + 1 == rounds {
            drop(expect_all_gone(ctx, &mut census, tasks)?);
            census.open()?;
        }
        ctx.progress(u64::try_from(round + 1).unwrap_or(0), u64::try_from(rounds).unwrap_or(0))?;
    }
    drop(expect_all_gone(ctx, &mut census, tasks)?);
    if inside == 0 {
        return Err(Stop::Error("no task was killed within unshare: nothing was tested".into()));
    }
    ctx.sample("killed_inside", ns(inside))
}

/// A task that makes namespaces until it is killed, and the count of its entries
/// into and exits from unshare.
fn release() -> Result<(Pid, SharedNumber), Stop> {
    let stage = SharedNumber::new().map_err(|error| Stop::Error(format!("mmap: {error}")))?;
    // SAFETY: this process has one thread, and the child makes system calls only.
    match unsafe { ffi::fork() }.map_err(|error| Stop::Fail(format!("fork failed: {error}")))? {
        Fork::Child => {
            let mut entries = 0;
            loop {
                entries += 1;
                stage.set(entries);
                if let Err(error) = ffi::unshare_net() {
                    ffi::exit_now(error.raw_os_error());
                }
                entries += 1;
                stage.set(entries);
            }
        }
        Fork::Parent(task) => Ok((task, stage)),
    }
}

/// Waits for a task; the error with which it ended by itself.
fn reap(task: Pid) -> Result<Option<Errno>, Stop> {
    loop {
        match waitpid(Some(task), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status.exit_status().map(Errno::from_raw_os_error)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(Stop::Error(format!("waitpid: {error}"))),
        }
    }
}
