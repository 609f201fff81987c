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
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, WaitOptions, kill_process, pidfd_open,
    pidfd_send_signal, waitid, waitpid,
};
use rustix::thread::ThreadNameSpaceType;

use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::no_kind;
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
            min: 10,
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

/// Devices by which the two places are known in `/proc/PID/net/dev`.
const MARKS: [&str; 2] = ["mark0", "mark1"];

/// Names by which a process goes, turn and turn about, as `/proc/PID/comm` has
/// them.
const NAMES: [&[u8]; 2] = [b"flip\n", b"flop\n"];

/// A process under observation. It has ended when this is dropped.
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
    mark(&places, &home)?;
    let truth = truth(&places)?;
    let mut herd = Vec::new();
    for number in 0..=flippers {
        let fate = if number == flippers { Fate::Ends } else { Fate::Lives };
        herd.push(release(ctx, &places, fate)?);
    }
    let looked = observe(ctx, &herd, &truth, readers, looks);
    let made = looked.and_then(|()| devices(ctx, &herd, &truth, &home));
    // First who ended by himself: it explains what was seen of him.
    herd.iter().map(Flipper::end).fold(Ok(()), Result::and)?;
    made?;
    drop((truth, herd));
    drop(places);
    expect_all_gone(ctx, &mut census, 2).map(drop)
}

/// Puts a device into each place that the other does not have.
fn mark(places: &[Namespace; 2], home: &Home) -> WorkloadResult {
    for (place, mark) in places.iter().zip(MARKS) {
        place.enter().map_err(|error| Stop::Fail(format!("setns: {error}")))?;
        let made = Route::here().map(|mut route| link::create(&mut route, mark, "dummy", None, Vec::new()));
        home.back()?;
        made?.map_err(|error| no_kind(&error, "dummy", "CONFIG_DUMMY"))?;
    }
    Ok(())
}

/// Whether `/proc/PID/net/dev` is that of one place, and not of the other.
fn of_one_place(text: &str) -> bool {
    crate::procfs::net_devices(text).is_some_and(|names| {
        names.contains(&"lo") && MARKS.iter().filter(|mark| names.contains(mark)).count() == 1
    })
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
    let constant = ["ns/uts", "ns/ipc", "ns/mnt", "ns/user", "ns/cgroup"];
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
fn release(ctx: &Context<'_>, places: &[Namespace; 2], fate: Fate) -> Result<Flipper, Stop> {
    let failed = |what: &str, error: &dyn std::fmt::Display| Stop::Error(format!("{what}: {error}"));
    let flips = SharedNumber::new().map_err(|error| failed("mmap", &error))?;
    // SAFETY: this process has one thread yet, and the child makes system calls
    // only.
    match unsafe { ffi::fork() }.map_err(|error| failed("fork", &error))? {
        Fork::Child => {
            let mut done = 0;
            loop {
                for place in places {
                    if let Err(error) = place.enter() {
                        ffi::exit_now(error.raw_os_error().unwrap_or(libc::EINVAL));
                    }
                    done += 1;
                    // Writes the name of the task under the same lock.
                    let _ = rustix::thread::set_name(if done % 4 < 2 { c"flip" } else { c"flop" });
                    flips.set(done);
                }
                if fate == Fate::Ends && done >= MORTAL {
                    ffi::exit_now(0);
                }
            }
        }
        Fork::Parent(process) => {
            let pidfd = pidfd_open(process, PidfdFlags::empty()).map_err(|error| {
                let _ = kill_process(process, Signal::KILL);
                let _ = waitpid(Some(process), WaitOptions::empty());
                failed("pidfd_open", &error)
            })?;
            let flipper = Flipper { process, fate, pidfd, flips };
            while flipper.flips.get() == 0 {
                expect_no_error(flipper.wait(WaitIdOptions::EXITED | WaitIdOptions::NOHANG)?)?;
                if ctx.remaining().is_zero() {
                    return Err(Stop::Fail("a process does not come back from its first setns".into()));
                }
                thread::yield_now();
            }
            Ok(flipper)
        }
    }
}

impl Flipper {
    /// Waits for its end.
    fn wait(&self, options: WaitIdOptions) -> Result<Option<WaitIdStatus>, Stop> {
        rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(self.pidfd.as_fd()), options))
            .map_err(|error| Stop::Error(format!("waitid: {error}")))
    }

    /// Ends it, unless it has ended by itself; that it did because of an error is
    /// the kernel's failure.
    fn end(&self) -> WorkloadResult {
        // Fails where there is nothing to do.
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        expect_no_error(self.wait(WaitIdOptions::EXITED)?)
    }
}

impl Drop for Flipper {
    fn drop(&mut self) {
        // One that is reaped is left alone: a descriptor never means another process.
        let _ = self.end();
    }
}

fn expect_no_error(ended: Option<WaitIdStatus>) -> WorkloadResult {
    match ended.and_then(|status| status.exit_status()) {
        None | Some(0) => Ok(()),
        Some(code) => Err(Stop::Fail(format!(
            "setns of a process that goes to and fro: {}",
            Errno::from_raw_os_error(code)
        ))),
    }
}

fn observe(
    ctx: &Context<'_>,
    herd: &[Flipper],
    truth: &Truth<'_>,
    readers: usize,
    looks: usize,
) -> WorkloadResult {
    let flips = || herd.iter().map(|flipper| flipper.flips.get()).collect::<Vec<_>>();
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
    let meanwhile: Vec<u64> =
        flips().into_iter().zip(before).map(|(now, before)| now.saturating_sub(before)).collect();
    ctx.sample("flips", ns(meanwhile.iter().sum()) * 1e9 / ns(elapsed_ns))?;
    for (flipper, flips) in herd.iter().zip(meanwhile) {
        ctx.check(flipper.fate == Fate::Ends || flips > 0, || {
            "a process came back from no setns while it was looked at".into()
        })?;
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
        Ok(false) => Err(Stop::Fail(format!("{what} of a process that goes to and fro fits neither place"))),
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
    seen("/proc/PID/net/dev", devices.map(|text| of_one_place(&text)))?;
    // Half of one name and half of another would be neither.
    let comm = fs::read(format!("/proc/{process}/comm"));
    seen("/proc/PID/comm", comm.map(|comm| NAMES.contains(&comm.as_slice())))?;
    let mounts = fs::read_to_string(format!("/proc/{process}/mounts"));
    seen("/proc/PID/mounts", mounts.map(|text| text.contains(" /proc ")))?;
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
        link::create(&mut route, &format!("made{number}"), "dummy", None, there)
            .map_err(|error| error.stop("RTM_NEWLINK with IFLA_NET_NS_PID"))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(names: &[&str]) -> String {
        let lines = names.iter().map(|name| format!("{name:>6}:       0       0\n"));
        format!("Inter-|   Receive |  Transmit\n face |bytes |bytes\n{}", lines.collect::<String>())
    }

    #[test]
    fn devices_are_those_of_exactly_one_place() {
        assert!(of_one_place(&devices(&["lo", "mark0"])));
        assert!(of_one_place(&devices(&["lo", "sit0", "mark1"])));
        assert!(!of_one_place(&devices(&["lo"])), "of a third place");
        assert!(!of_one_place(&devices(&["lo", "mark0", "mark1"])), "of both");
        assert!(!of_one_place(&devices(&["mark0"])), "without `lo`");
        assert!(!of_one_place(""));
    }
}
