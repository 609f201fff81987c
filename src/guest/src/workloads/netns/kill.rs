//! `netns/kill`: tasks that are killed in the middle of making a namespace.
//!
//! `copy_net_ns` waits killably for locks; whoever dies there leaves a namespace
//! that is half made, which has to be undone to the last count. Half of the tasks
//! get there by `unshare`, the others by `clone3`, which has a half-made process
//! to undo as well.

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
        summary: "tasks that died within unshare or clone3",
        unit: Unit::One,
        kind: Kind::Count,
        better: Better::Higher,
    }],
    modules: &[],
};

/// Longest time that tasks run before they are killed: some creations on a fast
/// machine, a part of one on a slow one.
pub(super) const LONGEST: Duration = Duration::from_millis(12);

/// Rounds after which everything has to be gone.
const SETTLE: usize = 8;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (tasks, rounds) = (ctx.count("tasks")?, ctx.count("rounds")?);
    let mut rng = ctx.rng();
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let ways = match ffi::probe_clone3() {
        Ok(()) => vec![Way::Unshare, Way::Clone],
        Err(error) => {
            ctx.note("clone3", format!("not tried: {error}; needs Linux 5.3"))?;
            vec![Way::Unshare]
        }
    };
    let mut inside = vec![0_u64; ways.len()];
    for round in 0..rounds {
        let mut herd = Vec::new();
        for number in 0..tasks {
            // By turns also where there is one task only.
            let nth = (round + number) % ways.len();
            let (task, stage) = release(ways[nth])?;
            herd.push((task, stage, nth));
        }
        let wait = Duration::from_nanos(rng.u64(..u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX)));
        clock::poll_interval(wait);
        for (task, ..) in &herd {
            kill_process(*task, Signal::KILL).map_err(|error| Stop::Error(format!("kill: {error}")))?;
        }
        for (task, stage, nth) in &herd {
            let code = reap(*task)?;
            ctx.check(code.is_none(), || {
                let error = code.filter(|code| *code > 0).map(Errno::from_raw_os_error);
                format!("a task that makes namespaces ended by itself: {error:?}")
            })?;
            // Odd within the call.
            inside[*nth] += stage.get() % 2;
        }
        reap_siblings()?;
        if round % SETTLE == SETTLE - 1 || round + 1 == rounds {
            drop(expect_all_gone(ctx, &mut census, tasks)?);
            census.open()?;
        }
        ctx.progress(u64::try_from(round + 1).unwrap_or(0), u64::try_from(rounds).unwrap_or(0))?;
    }
    drop(expect_all_gone(ctx, &mut census, tasks)?);
    let killed: Vec<_> =
        ways.iter().zip(&inside).map(|(way, inside)| format!("{inside} in {}", way.name())).collect();
    ctx.note("killed", killed.join(", "))?;
    let inside = inside.iter().sum();
    if inside == 0 {
        return Err(Stop::Error("no task was killed within unshare or clone3: nothing was tested".into()));
    }
    ctx.sample("killed_inside", ns(inside))
}

/// How a task makes namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// For itself.
    Unshare,
    /// For a process that is made with it, and ends at once.
    Clone,
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Unshare => "unshare",
            Self::Clone => "clone3",
        }
    }

    /// Makes one. Called by a task that makes system calls only.
    fn make(self) -> Result<(), i32> {
        match self {
            Self::Unshare => ffi::unshare_net().map_err(Errno::raw_os_error),
            // SAFETY: this process has one thread, and the child ends at once.
            Self::Clone => match unsafe { ffi::sibling_in_new_net() } {
                Ok(Fork::Child) => ffi::exit_now(0),
                Ok(Fork::Parent(_)) => Ok(()),
                Err(error) => Err(error.raw_os_error().unwrap_or(libc::EINVAL)),
            },
        }
    }
}

/// A task that makes namespaces until it is killed, and the count of its entries
/// into and exits from the call.
fn release(way: Way) -> Result<(Pid, SharedNumber), Stop> {
    let stage = SharedNumber::new().map_err(|error| Stop::Error(format!("mmap: {error}")))?;
    // SAFETY: this process has one thread, and the child makes system calls only.
    match unsafe { ffi::fork() }.map_err(|error| Stop::Fail(format!("fork failed: {error}")))? {
        Fork::Child => {
            let mut entries = 0;
            loop {
                entries += 1;
                stage.set(entries);
                if let Err(code) = way.make() {
                    ffi::exit_now(code);
                }
                entries += 1;
                stage.set(entries);
            }
        }
        Fork::Parent(task) => Ok((task, stage)),
    }
}

/// Waits for a task; its exit code, if it ended by itself.
pub(super) fn reap(task: Pid) -> Result<Option<i32>, Stop> {
    loop {
        match waitpid(Some(task), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status.exit_status()),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(Stop::Error(format!("waitpid: {error}"))),
        }
    }
}

/// Waits for the processes that [`Way::Clone`] has made. All other children are
/// reaped before.
fn reap_siblings() -> Result<(), Stop> {
    loop {
        match waitpid(None, WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(Stop::Error(format!("waitpid: {error}"))),
        }
    }
}
