//! Asks the running kernel what it can do. Never by version: stable kernels
//! carry backports, distributions switch things off.
//!
//! Probes are cheap, because every boot waits for them: they look for files
//! and make single calls, and leave nothing behind.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with};

use crate::{ffi, trace};

/// A feature that is there when a file is.
struct File {
    feature: &'static str,
    path: &'static str,
    symbol: &'static str,
}

const FILES: &[File] = &[
    File { feature: "net-ns", path: "/proc/self/ns/net", symbol: "CONFIG_NET_NS" },
    File { feature: "user-ns", path: "/proc/self/ns/user", symbol: "CONFIG_USER_NS" },
    File { feature: "pid-ns", path: "/proc/self/ns/pid", symbol: "CONFIG_PID_NS" },
    File { feature: "uts-ns", path: "/proc/self/ns/uts", symbol: "CONFIG_UTS_NS" },
    File { feature: "ipc-ns", path: "/proc/self/ns/ipc", symbol: "CONFIG_IPC_NS" },
    File { feature: "ucount", path: crate::ucount::LIMIT, symbol: "CONFIG_PROC_SYSCTL" },
    File { feature: "ipv6", path: "/proc/net/if_inet6", symbol: "CONFIG_IPV6" },
    File { feature: "xfrm", path: "/proc/sys/net/core/xfrm_acq_expires", symbol: "CONFIG_XFRM" },
    File { feature: "slabinfo", path: "/proc/slabinfo", symbol: "CONFIG_SLUB_DEBUG" },
    File { feature: "modules", path: "/proc/modules", symbol: "CONFIG_MODULES" },
    File { feature: "stacks", path: "/proc/self/stack", symbol: "CONFIG_STACKTRACE" },
    File { feature: "sysrq", path: "/proc/sysrq-trigger", symbol: "CONFIG_MAGIC_SYSRQ" },
    File { feature: "cgroup2", path: "/sys/fs/cgroup/cgroup.controllers", symbol: "CONFIG_CGROUPS" },
    File { feature: "lockdep", path: "/proc/lockdep_stats", symbol: "CONFIG_LOCKDEP" },
    File { feature: "kmemleak", path: "/sys/kernel/debug/kmemleak", symbol: "CONFIG_DEBUG_KMEMLEAK" },
    File { feature: "fault-injection", path: "/proc/self/make-it-fail", symbol: "CONFIG_FAULT_INJECTION" },
    File {
        feature: "net-ref-tracker",
        path: "/sys/kernel/debug/ref_tracker",
        symbol: "CONFIG_NET_NS_REFCNT_TRACKER",
    },
];

/// Probes everything. `yes`, or `no: ` with the reason.
pub(crate) fn probe() -> BTreeMap<String, String> {
    let files = FILES.iter().map(|file| {
        let found = if Path::new(file.path).exists() { Ok(()) } else { Err(missing(file)) };
        (file.feature, found)
    });
    let calls = [
        ("tracing", trace::available()),
        (
            "tcp-zerocopy-receive",
            tcp_zerocopy_receive().map_err(|error| no_call("mmap", "CONFIG_MMU", &error)),
        ),
        ("so-zerocopy", so_zerocopy().map_err(|error| no_call("SO_ZEROCOPY", "CONFIG_INET", &error))),
        (
            "io-uring",
            ffi::probe_io_uring().map_err(|error| no_call("io_uring_setup", "CONFIG_IO_URING", &error)),
        ),
        (
            "netns-cookie",
            netns_cookie().map_err(|error| no_call("SO_NETNS_COOKIE", "Linux 5.14 and CONFIG_INET", &error)),
        ),
    ];
    files.chain(calls).map(|(feature, found)| (feature.to_owned(), answer(found))).collect()
}

fn answer(found: Result<(), String>) -> String {
    match found {
        Ok(()) => "yes".into(),
        Err(reason) => format!("no: {reason}"),
    }
}

fn missing(file: &File) -> String {
    format!("{} does not exist; needs {}", file.path, file.symbol)
}

fn no_call(call: &str, symbol: &str, error: &io::Error) -> String {
    format!("{call}: {error}; needs {symbol}")
}

fn tcp_socket() -> rustix::io::Result<rustix::fd::OwnedFd> {
    socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::TCP))
}

/// A TCP socket that can be mapped can be received from without copying
/// (`tcp_mmap`, net/ipv4/tcp.c).
fn tcp_zerocopy_receive() -> io::Result<()> {
    ffi::probe_mmap(tcp_socket()?)
}

fn so_zerocopy() -> io::Result<()> {
    ffi::set_zerocopy(tcp_socket()?)
}

fn netns_cookie() -> io::Result<()> {
    match ffi::netns_cookie(tcp_socket()?)? {
        0 => Err(Errno::NODATA.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_feature_names_the_kernel_option() {
        let file = File { feature: "x", path: "/proc/no-such-file", symbol: "CONFIG_X" };
        assert_eq!(answer(Err(missing(&file))), "no: /proc/no-such-file does not exist; needs CONFIG_X");
        assert_eq!(answer(Ok(())), "yes");
    }

    #[test]
    fn every_feature_is_answered_with_yes_or_a_reason() {
        let features = probe();
        assert_eq!(features.len(), FILES.len() + 5);
        for (feature, found) in &features {
            assert!(found == "yes" || found.starts_with("no: "), "{feature}: {found}");
        }
    }
}
