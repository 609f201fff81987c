//! Network namespaces: making them, going there and back, and looking whether
//! one is whole.
//!
//! A namespace belongs to a thread. Whoever creates or enters one does it on a
//! thread of his own, or under a [`Home`] that leads back.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::context::Stop;
use crate::ffi;

/// The calling thread's own namespace; `/proc/self` would be the main thread's.
const OWN: &str = "/proc/thread-self/ns/net";

/// A namespace that lives at least as long as this value.
#[derive(Debug)]
pub(crate) struct Namespace(File);

impl Namespace {
    /// The one that the calling thread is in.
    pub(crate) fn current() -> io::Result<Self> {
        File::open(OWN).map(Self)
    }

    /// Makes one and leaves the calling thread in it.
    pub(crate) fn create() -> Result<Self, CreateError> {
        ffi::unshare_net().map_err(CreateError::Unshare)?;
        Self::hold()
    }

    /// Holds the one that the calling thread has just made.
    pub(crate) fn hold() -> Result<Self, CreateError> {
        Self::current().map_err(CreateError::Open)
    }

    /// The one that another process is in.
    pub(crate) fn of(process: Pid) -> io::Result<Self> {
        File::open(format!("/proc/{}/ns/net", process.as_raw_nonzero())).map(Self)
    }

    /// Moves the calling thread there.
    pub(crate) fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?)
    }

    /// Inode number: differs between namespaces that live at the same time.
    pub(crate) fn inode(&self) -> io::Result<u64> {
        Ok(rustix::fs::fstat(&self.0)?.st_ino)
    }
}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Why there is no new namespace.
#[derive(Debug)]
pub(crate) enum CreateError {
    /// The kernel did not make it.
    Unshare(Errno),
    /// It was made but cannot be held.
    Open(io::Error),
}

impl CreateError {
    /// What the failure means for a test that was making its `nth` namespace,
    /// counted from 0.
    pub(crate) fn stop(&self, nth: usize) -> Stop {
        match self {
            Self::Unshare(Errno::INVAL | Errno::NOSYS) => {
                Stop::Skip("the kernel has no network namespaces; needs CONFIG_NET_NS".into())
            }
            Self::Unshare(Errno::PERM) => {
                Stop::Error("unshare(CLONE_NEWNET) is not permitted; the guest has to be root".into())
            }
            Self::Unshare(Errno::NOSPC) => Stop::Error(format!(
                "unshare(CLONE_NEWNET) number {nth}: the limit of {} is reached",
                crate::ucount::LIMIT
            )),
            Self::Unshare(error) => Stop::Fail(format!("unshare(CLONE_NEWNET) number {nth} failed: {error}")),
            Self::Open(error) => Stop::Error(format!("cannot open {OWN} of namespace number {nth}: {error}")),
        }
    }
}

/// The namespace that a thread returns to.
#[derive(Debug)]
pub(crate) struct Home(Namespace);

impl Home {
    /// Remembers where the calling thread is.
    pub(crate) fn here() -> Result<Self, Stop> {
        match Namespace::current() {
            Ok(namespace) => Ok(Self(namespace)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(Stop::Skip(format!("{OWN} does not exist; needs CONFIG_NET_NS")))
            }
            Err(error) => Err(Stop::Error(format!("cannot open {OWN}: {error}"))),
        }
    }

    /// Goes back.
    pub(crate) fn back(&self) -> Result<(), Stop> {
        self.0.enter().map_err(|error| Stop::Fail(format!("setns to the namespace of the start: {error}")))
    }
}

/// What tells a namespace from all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    /// Inode number.
    pub(crate) inode: u64,
    /// Never given twice during one boot; `None` before Linux 5.14.
    pub(crate) cookie: Option<u64>,
}

/// How close to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Through one socket. Leaves no trace in the namespace.
    Socket,
    /// Also into `/proc`, which then holds entries of the namespace until it
    /// is gone: part of what its teardown has to do.
    Proc,
}

impl Look {
    /// How many assertions one look makes, distinctness included.
    pub(crate) fn checks(self) -> u64 {
        match self {
            Self::Socket => 2,
            Self::Proc => 4,
        }
    }
}

/// Looks whether the namespace that the calling thread has made or entered is
/// whole: `lo` is its first device, and its files in `/proc` can be read.
pub(crate) fn inspect(namespace: &Namespace, look: Look) -> Result<Identity, Stop> {
    let harness = |what: &str, error: io::Error| Stop::Error(format!("{what}: {error}"));
    // A datagram socket that is never bound is freed when it is closed; one of
    // netlink would hold the namespace for another grace period.
    let socket = match socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None) {
        Ok(socket) => socket,
        Err(Errno::AFNOSUPPORT) => return Err(Stop::Skip("no AF_INET sockets; needs CONFIG_INET".into())),
        Err(error) => {
            return Err(Stop::Fail(format!("socket(AF_INET) in a fresh network namespace failed: {error}")));
        }
    };
    match name_to_index(&socket, "lo") {
        Ok(1) => {}
        Ok(index) => return Err(Stop::Fail(format!("`lo` has interface index {index} instead of 1"))),
        Err(error) => return Err(Stop::Fail(format!("a fresh network namespace has no `lo`: {error}"))),
    }
    let cookie = match ffi::netns_cookie(&socket) {
        Ok(cookie) => Some(cookie),
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => None,
        Err(error) => return Err(harness("getsockopt(SO_NETNS_COOKIE)", error)),
    };
    drop(socket);
    if look == Look::Proc {
        inspect_proc()?;
    }
    let inode = namespace.inode().map_err(|error| harness("fstat of a namespace", error))?;
    Ok(Identity { inode, cookie })
}

fn inspect_proc() -> Result<(), Stop> {
    const DEVICES: &str = "/proc/thread-self/net/dev";
    const SETTING: &str = "/proc/sys/net/ipv4/ip_forward";
    let read = |path: &str| {
        fs::read_to_string(path).map_err(|error| {
            Stop::Fail(format!("{path} of a fresh network namespace cannot be read: {error}"))
        })
    };
    let devices = read(DEVICES)?;
    let listed = crate::procfs::net_devices(&devices).is_some_and(|names| names.contains(&"lo"));
    if !listed {
        return Err(Stop::Fail(format!(
            "{DEVICES} of a fresh network namespace does not list `lo`: {devices:?}"
        )));
    }
    let setting = read(SETTING)?;
    if setting.trim().parse::<u8>().is_err() {
        return Err(Stop::Fail(format!("{SETTING} of a fresh network namespace holds {setting:?}")));
    }
    Ok(())
}

/// Sees to it that namespaces which live at the same time differ.
#[derive(Debug, Default)]
pub(crate) struct Register {
    inodes: HashSet<u64>,
    cookies: HashSet<u64>,
}

impl Register {
    /// Enters a namespace.
    pub(crate) fn enter(&mut self, identity: Identity) -> Result<(), Stop> {
        if !self.inodes.insert(identity.inode) {
            return Err(Stop::Fail(format!("two live network namespaces have inode {}", identity.inode)));
        }
        self.enter_cookie(identity)
    }

    /// Enters a namespace that need not live as long as the others, so that its
    /// inode number may be given again.
    pub(crate) fn enter_cookie(&mut self, identity: Identity) -> Result<(), Stop> {
        match identity.cookie {
            Some(0) => Err(Stop::Fail("a network namespace has cookie 0".into())),
            Some(cookie) if !self.cookies.insert(cookie) => {
                Err(Stop::Fail(format!("two network namespaces of this boot have cookie {cookie}")))
            }
            _ => Ok(()),
        }
    }

    /// Forgets the inodes when those namespaces are gone; cookies stay.
    pub(crate) fn all_gone(&mut self) {
        self.inodes.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(result: Result<(), Stop>) -> String {
        match result {
            Err(Stop::Fail(message)) => message,
            other => panic!("a failure was expected, got {other:?}"),
        }
    }

    #[test]
    fn two_live_namespaces_with_one_inode_are_a_failure() {
        let mut register = Register::default();
        register.enter(Identity { inode: 4, cookie: Some(1) }).expect("new");
        let message = fail(register.enter(Identity { inode: 4, cookie: Some(2) }));
        assert_eq!(message, "two live network namespaces have inode 4");
    }

    #[test]
    fn an_inode_may_come_again_and_a_cookie_may_not() {
        let mut register = Register::default();
        register.enter(Identity { inode: 4, cookie: Some(1) }).expect("new");
        register.all_gone();
        register.enter(Identity { inode: 4, cookie: Some(2) }).expect("a new one");
        let message = fail(register.enter(Identity { inode: 5, cookie: Some(1) }));
        assert_eq!(message, "two network namespaces of this boot have cookie 1");
        assert_eq!(
            fail(register.enter_cookie(Identity { inode: 5, cookie: Some(0) })),
            "a network namespace has cookie 0"
        );
    }

    #[test]
    fn kernels_without_cookies_are_told_apart_by_inode_alone() {
        let mut register = Register::default();
        register.enter(Identity { inode: 4, cookie: None }).expect("new");
        register.enter(Identity { inode: 5, cookie: None }).expect("new");
    }

    #[test]
    fn a_kernel_without_namespaces_is_skipped_with_its_option() {
        let stop = CreateError::Unshare(Errno::INVAL).stop(0);
        assert_eq!(stop, Stop::Skip("the kernel has no network namespaces; needs CONFIG_NET_NS".into()));
    }

    #[test]
    fn running_out_of_memory_is_the_kernels_failure_and_the_limit_is_not() {
        let Stop::Fail(message) = CreateError::Unshare(Errno::NOMEM).stop(7) else { panic!("a failure") };
        assert!(message.starts_with("unshare(CLONE_NEWNET) number 7 failed: "), "{message}");
        assert!(matches!(CreateError::Unshare(Errno::NOSPC).stop(7), Stop::Error(_)));
    }
}
