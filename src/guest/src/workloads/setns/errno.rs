//! `setns/errno`: what setns and the files of `/proc/PID/ns` say to every right
//! and wrong request, and what a namespace is bound to.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use kregress_wire::WorkloadInfo;
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, mount_bind, unmount};
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions, pidfd_open, waitid, waitpid};
use rustix::thread::{CapabilitySet, LinkNameSpaceType, ThreadNameSpaceType, capabilities, set_capabilities};

use crate::context::{Context, Stop, WorkloadResult};
use crate::ffi::{self, Fork};
use crate::netns::{Home, Namespace};
use crate::ucount::Census;
use crate::workloads::netns::{begin_census, expect_all_gone, expect_left};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "setns/errno",
    summary: "checks the answer to every right and wrong way into a namespace",
    params: &[],
    metrics: &[],
    modules: &[],
};

fn check(
    ctx: &Context<'_>,
    what: &str,
    result: rustix::io::Result<()>,
    expected: Result<(), Errno>,
) -> WorkloadResult {
    ctx.check(result == expected, || {
        let word = |result: &Result<(), Errno>| match result {
            Ok(()) => "success".to_owned(),
            Err(error) => error.to_string(),
        };
        format!("{what} should come to `{}`, and came to `{}`", word(&expected), word(&result))
    })
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    let other = fresh.fresh;
    descriptors(ctx, &other)?;
    home.back()?;
    sockets(ctx, &home)?;
    unprivileged(ctx, &other)?;
    drop(other);
    drop(expect_all_gone(ctx, &mut census, 2)?);
    census.open()?;
    dead(ctx, &mut census)?;
    holders(ctx, &home, &mut census)?;
    expect_all_gone(ctx, &mut census, 1).map(drop)
}

fn enter(fd: BorrowedFd<'_>, kind: LinkNameSpaceType) -> rustix::io::Result<()> {
    rustix::thread::move_into_link_name_space(fd, Some(kind))
}

fn open(path: &str) -> Result<File, Stop> {
    File::open(path).map_err(|error| Stop::Error(format!("cannot open {path}: {error}")))
}

/// Descriptors of all sorts, right and wrong.
fn descriptors(ctx: &Context<'_>, other: &Namespace) -> WorkloadResult {
    let net = LinkNameSpaceType::Network;
    check(ctx, "setns to a network namespace", enter(other.as_fd(), net), Ok(()))?;
    let any = rustix::thread::move_into_link_name_space(other.as_fd(), None);
    check(ctx, "setns to a network namespace without saying its type", any, Ok(()))?;
    if let Ok(uts) = File::open("/proc/thread-self/ns/uts") {
        let result = enter(uts.as_fd(), net);
        check(ctx, "setns(uts descriptor, CLONE_NEWNET)", result, Err(Errno::INVAL))?;
    }
    let result = enter(open("/dev/null")?.as_fd(), net);
    check(ctx, "setns(/dev/null, CLONE_NEWNET)", result, Err(Errno::INVAL))?;
    check(ctx, "setns of a bad descriptor", ffi::setns_bad_descriptor(), Err(Errno::BADF))?;
    match pidfd_open(rustix::process::getpid(), PidfdFlags::empty()) {
        Ok(own) => {
            let result =
                rustix::thread::move_into_thread_name_spaces(own.as_fd(), ThreadNameSpaceType::empty());
            check(ctx, "setns(pidfd, 0)", result, Err(Errno::INVAL))?;
            let result =
                rustix::thread::move_into_thread_name_spaces(own.as_fd(), ThreadNameSpaceType::NETWORK);
            check(ctx, "setns(pidfd, CLONE_NEWNET)", result, Ok(()))
        }
        Err(error) => Err(Stop::Error(format!("pidfd_open: {error}"))),
    }
}

fn socket() -> Result<OwnedFd, Stop> {
    socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| Stop::Error(format!("socket: {error}")))
}

/// A socket belongs to the namespace of its birth, a new one to where its maker is.
fn sockets(ctx: &Context<'_>, home: &Home) -> WorkloadResult {
    let cookie = |socket: &OwnedFd| ffi::netns_cookie(socket);
    let old = socket()?;
    let before = match cookie(&old) {
        Ok(cookie) => cookie,
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {
            return ctx.note("cookies", "none: needs Linux 5.14");
        }
        Err(error) => return Err(Stop::Error(format!("getsockopt(SO_NETNS_COOKIE): {error}"))),
    };
    let read = |what: &str, socket: &OwnedFd| {
        cookie(socket).map_err(|error| Stop::Fail(format!("the cookie of {what}: {error}")))
    };
    let other = Namespace::create().map_err(|error| error.stop(0))?;
    // Nobody has come here by setns yet.
    let native = socket()?;
    home.back()?;
    let its = read("a socket made after unshare", &native)?;
    ctx.check(its != before, || {
        format!("a namespace that was just made has the cookie {before} of another")
    })?;
    other.enter().map_err(|error| Stop::Fail(format!("setns: {error}")))?;
    let new = socket()?;
    let (kept, there) = (read("an old socket", &old)?, read("a new socket", &new)?);
    home.back()?;
    let back = read("a socket after the return", &socket()?)?;
    ctx.check(kept == before, || format!("a socket changed its namespace from {before} to {kept}"))?;
    ctx.check(there == its, || format!("a socket made after setns to {its} is of {there}"))?;
    ctx.check(back == before, || format!("after the return a socket is of {back} instead of {before}"))
}

/// Without the right to administer, the door is closed.
fn unprivileged(ctx: &Context<'_>, other: &Namespace) -> WorkloadResult {
    let failed = |what: &str, error: Errno| Stop::Error(format!("{what}: {error}"));
    let mut sets = capabilities(None).map_err(|error| failed("capget", error))?;
    let all = sets.effective;
    sets.effective.remove(CapabilitySet::SYS_ADMIN);
    set_capabilities(None, sets).map_err(|error| failed("capset", error))?;
    let result = enter(other.as_fd(), LinkNameSpaceType::Network);
    sets.effective = all;
    set_capabilities(None, sets).map_err(|error| failed("capset", error))?;
    check(ctx, "setns without CAP_SYS_ADMIN", result, Err(Errno::PERM))
}

/// A process that has ended has no namespaces, before and after it is reaped; and
/// a zombie keeps none alive.
fn dead(ctx: &Context<'_>, census: &mut Census) -> WorkloadResult {
    let failed = |what: &str, error: &dyn std::fmt::Display| Stop::Error(format!("{what}: {error}"));
    // SAFETY: this process has one thread, and the child makes system calls only.
    let child = match unsafe { ffi::fork() }.map_err(|error| failed("fork", &error))? {
        Fork::Child => {
            let created = ffi::unshare_net();
            ffi::exit_now(created.map_or_else(Errno::raw_os_error, |()| 0));
        }
        Fork::Parent(child) => child,
    };
    let pidfd = pidfd_open(child, PidfdFlags::empty()).map_err(|error| failed("pidfd_open", &error))?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    waitid(WaitId::Pid(child), options).map_err(|error| failed("waitid", &error))?;
    let through =
        || rustix::thread::move_into_thread_name_spaces(pidfd.as_fd(), ThreadNameSpaceType::NETWORK);
    check(ctx, "setns(pidfd of a zombie, CLONE_NEWNET)", through(), Err(Errno::SRCH))?;
    for file in ["ns/net", "net/dev"] {
        let result = read(child, file);
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        ctx.check(errno == Some(libc::ENOENT), || {
            format!("/proc/PID/{file} of a zombie should not be there, and opened as {result:?}")
        })?;
    }
    // It is not reaped, and yet its namespace goes.
    drop(expect_all_gone(ctx, census, 1)?);
    census.open()?;
    let status = waitpid(Some(child), WaitOptions::empty()).map_err(|error| failed("waitpid", &error))?;
    let code = status.and_then(|(_, status)| status.exit_status());
    ctx.check(code == Some(0), || format!("a child that makes a namespace ended with {code:?}"))?;
    check(ctx, "setns(pidfd of a reaped process, CLONE_NEWNET)", through(), Err(Errno::SRCH))
}

fn read(process: Pid, file: &str) -> io::Result<File> {
    File::open(format!("/proc/{}/{file}", process.as_raw_nonzero()))
}

/// What keeps a namespace alive: a socket, a mount of it, a descriptor. Each by
/// itself: while it lives the namespace does, then it is gone.
fn holders(ctx: &Context<'_>, home: &Home, census: &mut Census) -> WorkloadResult {
    type Hold = fn() -> Result<Holder, Stop>;
    for hold in [Holder::socket as Hold, Holder::mount, Holder::descriptor] {
        let namespace = Namespace::create().map_err(|error| error.stop(0))?;
        let cookie = ffi::netns_cookie(socket()?).ok();
        let held = hold();
        home.back()?;
        let held = held?;
        drop(namespace);
        // What the first wait gave died after the namespace would have. Namespaces
        // are taken down in that order or together, so by the end of the second
        // wait one that is not held has lost its devices.
        drop(expect_left(ctx, census, 1)?);
        drop(expect_left(ctx, census, 1)?);
        let seen = held.look(home)?;
        ctx.check(seen == (Ok(1), cookie), || {
            let holder = held.name();
            match seen.0 {
                Ok(index) => format!(
                    "{holder} of the namespace with cookie {cookie:?} leads to {:?}, whose `lo` has index {index}",
                    seen.1
                ),
                Err(error) => format!("a namespace was taken down while {holder} held it: `lo`: {error}"),
            }
        })?;
        drop(held);
        drop(expect_all_gone(ctx, census, 1)?);
        census.open()?;
    }
    Ok(())
}

/// All that is left of a namespace.
#[derive(Debug)]
enum Holder {
    Socket(OwnedFd),
    Mount(Bound),
    Descriptor(Namespace),
}

impl Holder {
    /// These three hold the namespace that the calling thread is in.
    fn socket() -> Result<Self, Stop> {
        socket().map(Self::Socket)
    }

    fn mount() -> Result<Self, Stop> {
        Bound::here().map(Self::Mount)
    }

    fn descriptor() -> Result<Self, Stop> {
        let own = Namespace::current();
        own.map(Self::Descriptor).map_err(|error| Stop::Error(format!("the own namespace: {error}")))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Socket(_) => "a socket",
            Self::Mount(_) => "a mount",
            Self::Descriptor(_) => "a descriptor",
        }
    }

    /// Index of `lo` and cookie of the namespace, by the holder alone.
    fn look(&self, home: &Home) -> Result<(rustix::io::Result<u32>, Option<u64>), Stop> {
        let look = |socket: &OwnedFd| (name_to_index(socket, "lo"), ffi::netns_cookie(socket).ok());
        let through = |namespace: BorrowedFd<'_>| {
            enter(namespace, LinkNameSpaceType::Network).map_err(|error| {
                Stop::Fail(format!("setns to a namespace that only {} holds: {error}", self.name()))
            })?;
            let socket = socket();
            home.back()?;
            Ok(look(&socket?))
        };
        match self {
            Self::Socket(socket) => Ok(look(socket)),
            Self::Mount(bound) => through(open(&bound.0)?.as_fd()),
            Self::Descriptor(namespace) => through(namespace.as_fd()),
        }
    }
}

/// A file that the namespace of its making is mounted on. Both are gone when
/// this is dropped.
#[derive(Debug)]
struct Bound(String);

impl Bound {
    fn here() -> Result<Self, Stop> {
        let path = format!("/run/kregress-netns-{}", std::process::id());
        fs::create_dir_all("/run")
            .and_then(|()| File::create(&path))
            .map_err(|error| Stop::Error(format!("cannot create {path}: {error}")))?;
        let bound = Self(path);
        mount_bind("/proc/thread-self/ns/net", bound.0.as_str())
            .map_err(|error| Stop::Error(format!("a bind mount of a namespace at {}: {error}", bound.0)))?;
        Ok(bound)
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // A mount that stays keeps its namespace, which is then waited for.
        let _ = unmount(self.0.as_str(), UnmountFlags::DETACH);
        let _ = fs::remove_file(&self.0);
    }
}
