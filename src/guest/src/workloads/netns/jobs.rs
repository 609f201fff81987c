//! `netns/jobs`: processes side by side, each of which makes one child after the
//! other with a namespace of its own.
//!
//! The load by which namespace setup and dismantle were sped up in 4.15 and 5.18
//! (8ca712c373a4, 4caaf75888d8), there as a loop of shells around `unshare -n`.

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};

use super::{begin_census, expect_all_gone, ns, time};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::ffi::{self, Fork};
use crate::netns::CreateError;

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "netns/jobs",
    summary: "forks, unshares and exits in several processes at once",
    params: &[
        ParamInfo::Int { name: "jobs", summary: "processes side by side", min: 1, max: 1000, default: 4 },
        ParamInfo::Int {
            name: "count",
            summary: "namespaces that each of them makes",
            min: 1,
            max: 100_000,
            default: 25,
        },
        ParamInfo::Choice {
            name: "lo",
            summary: "whether the loopback device is brought up before the end",
            choices: &["down", "up"],
            default: "down",
        },
    ],
    metrics: &[
        MetricInfo {
            name: "rate",
            summary: "namespaces per second by all processes",
            unit: Unit::PerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
        time("elapsed", "from the first fork to the end of the last process"),
        time("drain_time", "from there until every namespace is gone"),
    ],
    modules: &[],
};

/// Exit code of a child whose device could not be brought up; above all error
/// numbers of creation that are told by exit code.
const NOT_UP: i32 = 250;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (jobs, count) = (ctx.count("jobs")?, ctx.count("count")?);
    let up = match ctx.choice("lo")? {
        "down" => false,
        "up" => true,
        other => {
            return Err(Stop::Error(format!("parameter `lo` is `{other}`, which is none of its choices")));
        }
    };
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    drop(expect_all_gone(ctx, &mut census, 1)?);
    census.open()?;
    ctx.dither();
    let started_ns = clock::monotonic_ns();
    let mut children = Vec::new();
    for _ in 0..jobs {
        // SAFETY: this process has one thread, and its children make system calls
        // only.
        match unsafe { ffi::fork() }.map_err(|error| Stop::Fail(format!("fork failed: {error}")))? {
            Fork::Child => ffi::exit_now(work(count, up)),
            Fork::Parent(child) => children.push(child),
        }
    }
    for child in children {
        let code = reap(child).map_err(|error| Stop::Error(format!("waitpid: {error}")))?;
        ctx.check(code == 0, || match code {
            NOT_UP => "`lo` of a fresh namespace cannot be brought up".to_owned(),
            code => CreateError::Unshare(Errno::from_raw_os_error(code)).stop(0).to_string(),
        })?;
    }
    let ended_ns = clock::monotonic_ns();
    let gone = expect_all_gone(ctx, &mut census, jobs * count)?;
    let elapsed_ns = ended_ns.saturating_sub(started_ns).max(1);
    let made = u64::try_from(jobs * count).map_err(|error| Stop::Error(error.to_string()))?;
    ctx.checked(made);
    ctx.sample("rate", ns(made) * 1e9 / ns(elapsed_ns))?;
    ctx.sample("elapsed", ns(elapsed_ns))?;
    ctx.sample("drain_time", ns(gone.at_ns.saturating_sub(ended_ns)))
}

/// What one job does; its exit code.
fn work(count: usize, up: bool) -> i32 {
    for _ in 0..count {
        // SAFETY: a child of a process with one thread has one thread.
        match unsafe { ffi::fork() } {
            Ok(Fork::Child) => ffi::exit_now(one(up)),
            Ok(Fork::Parent(child)) => match reap(child) {
                Ok(0) => {}
                Ok(code) => return code,
                Err(error) => return error.raw_os_error(),
            },
            Err(error) => return error.raw_os_error().unwrap_or(libc::EIO),
        }
    }
    0
}

fn one(up: bool) -> i32 {
    if let Err(error) = ffi::unshare_net() {
        return error.raw_os_error();
    }
    if !up {
        return 0;
    }
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0));
    match socket.and_then(|socket| ffi::bring_up(&socket, "lo")) {
        Ok(()) => 0,
        Err(_) => NOT_UP,
    }
}

/// Waits for the end of a child: its exit code, or that of a signal.
fn reap(child: Pid) -> rustix::io::Result<i32> {
    loop {
        match waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => return Ok(status.exit_status().unwrap_or(libc::EINTR)),
            Ok(None) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}
