//! `setns/readers`: processes that go to and fro between two namespaces, and
//! threads that look at them all the while, by every way there is.
//!
//! All of it goes through `task_lock` of the one who is looked at. Whatever a
//! reader sees has to be one of the two namespaces; never another, never none,
//! unless the process has ended.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use netlink_packet_route::link::LinkAttribute;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, waitpid};
use rustix::thread::ThreadNameSpaceType;

use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::ffi::{self, Fork, SharedNumber};
use crate::netlink::nsid::{self, Peer};
use crate::netlink::{RequestError, Route, link};
use crate::netns::{Home, Namespace};
use crate::workloads::netns::{begin_census, expect_all_gone, ns};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "setns/readers",
    summary: "looks at processes that change their namespace all the while",
    params: &[
        ParamInfo::Int {
            name: "flippers",
            summary: "processes that go to and fro; one more does so and ends",
            min: 1,
            max: 256,
            default: 2,
        },
        ParamInfo::Int { name: "readers", summary: "threads that look", min: 1, max: 256, default: 2 },
        ParamInfo::Int {
            name: "looks",
            summary: "how often each thread looks at each process in every way",
            min: 1,
            max: 1_000_000,
            default: 60,
        },
    ],
    metrics: &[
        MetricInfo {
            name: "looks",
            summary: "looks per second by all threads",
            unit: Unit::PerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
        MetricInfo {
            name: "flips",
            summary: "calls of setns per second by all processes, meanwhile",
            unit: Unit::PerSecond,
            kind: Kind::Rate,
            better: Better::Higher,
        },
    ],
    modules: &["dummy"],
};

/// Flips of the process that ends.
const MORTAL: u64 = 200;

/// Devices that are made in the namespace of a flipper, wherever it is just then.
const DEVICES: usize = 8;

/// A process under observation.
struct Flipper {
    process: Pid,
    fate: Fate,
    pidfd: OwnedFd,
    flips: SharedNumber,
}

/// Whether a process may end while it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    Ends,
}

/// What all readers know.
struct Truth<'a> {
    places: &'a [Namespace; 2],
    inodes: [u64; 2],
    ids: [i32; 2],
    /// Namespaces that no flipper leaves: path below `/proc/PID`, inode.
    constant: Vec<(&'static str, u64)>,
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (flippers, readers, looks) = (ctx.count("flippers")?, ctx.count("readers")?, ctx.count("looks")?);
    let _modules = crate::modules::Loaded::load(INFO.modules)?;
    let home = Home::here()?;
    let (mut census, first) = begin_census(ctx)?;
    let second = Namespace::create().map_err(|error| error.stop(1))?;
    home.back()?;
    let places = [first.fresh, second];
    let truth = truth(&places)?;
    let mut herd = Vec::new();
    for number in 0..=flippers {
        let fate = if number == flippers { Fate::Ends } else { Fate::Lives };
        herd.push(release(&places, fate)?);
    }
    let looked = observe(ctx, &herd, &truth, readers, looks);
    let made = looked.and_then(|()| devices(ctx, &herd, &truth, &home));
    // Whatever came out, no process stays.
    for flipper in &herd {
        let _ = kill_process(flipper.process, Signal::KILL);
        let _ = waitpid(Some(flipper.process), WaitOptions::empty());
    }
    made?;
    drop((truth, herd));
    drop(places);
    expect_all_gone(ctx, &mut census, 2).map(drop)
}

fn truth(places: &[Namespace; 2]) -> Result<Truth<'_>, Stop> {
    let inode = |namespace: &Namespace| {
        namespace.inode().map_err(|error| Stop::Error(format!("fstat of a namespace: {error}")))
    };
    let mut route = Route::here()?;
    let mut id = |namespace: &Namespace| {
        let peer = Peer::Fd(namespace.as_fd());
        nsid::assign(&mut route, peer, nsid::NOT_ASSIGNED).map_err(|error| error.stop("RTM_NEWNSID"))?;
        let id = nsid::number(&mut route, peer).map_err(|error| error.stop("RTM_GETNSID"))?;
        id.ok_or_else(|| Stop::Fail("a namespace has no number after RTM_NEWNSID".into()))
    };
    let constant = ["ns/uts", "ns/ipc", "ns/mnt", "ns/user"];
    let constant = constant.into_iter().filter_map(|file| {
        let file_inode = rustix::fs::stat(format!("/proc/self/{file}")).ok()?.st_ino;
        Some((file, file_inode))
    });
    Ok(Truth {
        places,
        inodes: [inode(&places[0])?, inode(&places[1])?],
        ids: [id(&places[0])?, id(&places[1])?],
        constant: constant.collect(),
    })
}

/// Starts a process that goes to and fro. It is in one of the two places when
/// this returns.
fn release(places: &[Namespace; 2], fate: Fate) -> Result<Flipper, Stop> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Stop::Error(format!("{what}: {error}"));
    let flips = SharedNumber::new().map_err(|error| failed("mmap", &error))?;
    // SAFETY: this process has one thread yet, and the child makes system calls
    // only.
    match unsafe { ffi::fork() }.map_err(|error| failed("fork", &error))? {
        Fork::Child => {
            let mut done = 0;
            loop {
                for place in places {
                    if place.enter().is_err() {
                        ffi::exit_now(1);
                    }
                    done += 1;
                    flips.set(done);
                    // Writes the name of the task under the same lock.
                    let _ = rustix::thread::set_name(if done % 4 < 2 { c"flip" } else { c"flop" });
                }
                if fate == Fate::Ends && done >= MORTAL {
                    ffi::exit_now(0);
                }
            }
        }
        Fork::Parent(process) => {
            let pidfd =
                pidfd_open(process, PidfdFlags::empty()).map_err(|error| failed("pidfd_open", &error))?;
            while flips.get() == 0 {
                thread::yield_now();
            }
            Ok(Flipper { process, fate, pidfd, flips })
        }
    }
}

fn observe(
    ctx: &Context<'_>,
    herd: &[Flipper],
    truth: &Truth<'_>,
    readers: usize,
    looks: usize,
) -> WorkloadResult {
    let flips = || herd.iter().map(|flipper| flipper.flips.get()).sum::<u64>();
    let (before, started_ns) = (flips(), clock::monotonic_ns());
    // The first failure ends all.
    let over = AtomicBool::new(false);
    let made = thread::scope(|scope| {
        let threads: Vec<_> = (0..readers)
            .map(|_| {
                scope.spawn(|| {
                    let result = read_all(herd, truth, looks, &over);
                    if result.is_err() {
                        over.store(true, Ordering::Relaxed);
                    }
                    result
                })
            })
            .collect();
        let mut made = 0;
        for thread in threads {
            made += thread.join().map_err(|_| Stop::Error("a thread panicked".into()))??;
        }
        Ok::<u64, Stop>(made)
    })?;
    let elapsed_ns = clock::monotonic_ns().saturating_sub(started_ns).max(1);
    ctx.checked(made);
    ctx.sample("looks", ns(made) * 1e9 / ns(elapsed_ns))?;
    ctx.sample("flips", ns(flips().saturating_sub(before)) * 1e9 / ns(elapsed_ns))?;
    for flipper in herd.iter().filter(|flipper| flipper.fate == Fate::Lives) {
        let flips = flipper.flips.get();
        ctx.check(flips > 2, || format!("a process made {flips} calls of setns while it was looked at"))?;
    }
    Ok(())
}

fn read_all(herd: &[Flipper], truth: &Truth<'_>, looks: usize, over: &AtomicBool) -> Result<u64, Stop> {
    let home = Home::here()?;
    let mut route = Route::here()?;
    let mut made = 0;
    for _ in 0..looks {
        for flipper in herd {
            if over.load(Ordering::Relaxed) {
                return Ok(made);
            }
            made += look(flipper, truth, &mut route, &home)?;
        }
    }
    Ok(made)
}

/// Whether a look that failed may fail: the process has ended.
fn excused(flipper: &Flipper, error: Option<i32>) -> bool {
    flipper.fate == Fate::Ends && matches!(error, Some(libc::ENOENT | libc::ESRCH | libc::EINVAL))
}

/// One look in every way; how many assertions that were.
fn look(flipper: &Flipper, truth: &Truth<'_>, route: &mut Route, home: &Home) -> Result<u64, Stop> {
    let process = flipper.process.as_raw_nonzero();
    let mut made = 0;
    let mut seen = |what: &str, result: io::Result<bool>| match result {
        Ok(true) => {
            made += 1;
            Ok(())
        }
        Ok(false) => Err(Stop::Fail(format!("{what} of a process that goes to and fro is of neither place"))),
        Err(error) if excused(flipper, error.raw_os_error()) => Ok(()),
        Err(error) => Err(Stop::Fail(format!("{what} of a live process: {error}"))),
    };
    let inode = |file: &str| -> io::Result<u64> {
        let file = File::open(format!("/proc/{process}/{file}"))?;
        Ok(rustix::fs::fstat(&file)?.st_ino)
    };
    seen("/proc/PID/ns/net", inode("ns/net").map(|inode| truth.inodes.contains(&inode)))?;
    for (file, expected) in &truth.constant {
        seen(&format!("/proc/PID/{file}"), inode(file).map(|inode| inode == *expected))?;
    }
    let devices = fs::read_to_string(format!("/proc/{process}/net/dev"));
    let lo = |text: String| crate::procfs::net_devices(&text).is_some_and(|names| names.contains(&"lo"));
    seen("/proc/PID/net/dev", devices.map(lo))?;
    let mounts = fs::read_to_string(format!("/proc/{process}/mounts"));
    seen("/proc/PID/mounts", mounts.map(|text| text.contains(" /proc ") || text.contains("proc")))?;
    match nsid::number(route, Peer::Pid(process.get().unsigned_abs())) {
        Ok(id) => seen("RTM_GETNSID", Ok(id.is_some_and(|id| truth.ids.contains(&id))))?,
        Err(RequestError::Refused(refusal)) => {
            seen("RTM_GETNSID", Err(io::Error::from_raw_os_error(refusal.errno.raw_os_error())))?;
        }
        Err(other) => return Err(other.stop("RTM_GETNSID")),
    }
    let through =
        rustix::thread::move_into_thread_name_spaces(flipper.pidfd.as_fd(), ThreadNameSpaceType::NETWORK);
    let entered = match through {
        Ok(()) => {
            let here = Namespace::current().and_then(|namespace| namespace.inode());
            home.back()?;
            here.map(|inode| truth.inodes.contains(&inode))
        }
        Err(error) => Err(error.into()),
    };
    seen("the namespace behind a pidfd", entered)?;
    Ok(made)
}

/// Makes devices in the namespace of a process, by its number; all of them are
/// then in one of the two places.
fn devices(ctx: &Context<'_>, herd: &[Flipper], truth: &Truth<'_>, home: &Home) -> WorkloadResult {
    let Some(flipper) = herd.iter().find(|flipper| flipper.fate == Fate::Lives) else { return Ok(()) };
    let process = flipper.process.as_raw_nonzero().get().unsigned_abs();
    let mut route = Route::here()?;
    for number in 0..DEVICES {
        let there = vec![LinkAttribute::NetNsPid(process)];
        match link::create(&mut route, &format!("made{number}"), "dummy", None, there) {
            Ok(()) => {}
            Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
                return ctx.note("devices", "none: needs CONFIG_DUMMY");
            }
            Err(error) => return Err(error.stop("RTM_NEWLINK with IFLA_NET_NS_PID")),
        }
    }
    let mut found = 0;
    for place in truth.places {
        place.enter().map_err(|error| Stop::Fail(format!("setns: {error}")))?;
        let links = link::all(&mut Route::here()?).map_err(|error| error.stop("the dump of devices"));
        home.back()?;
        found +=
            links?.iter().filter(|it| link::name(it).is_some_and(|name| name.starts_with("made"))).count();
    }
    ctx.check(found == DEVICES, || {
        format!("{DEVICES} devices were made in the namespace of a process, {found} are in the two that it can be in")
    })
}
