//! What may run on a kernel that belongs to somebody else.
//!
//! A test is refused unless its workload is known to be harmless, the kernel need
//! not load a module for it, and it keeps no more namespaces at once than a host can
//! spare. Decides only; what the host is like is found out by [`Host::look`].

use std::collections::BTreeSet;
use std::fs;

use kregress_wire::{PlannedTest, Value, WorkloadInfo};

/// Workloads that leave a host as it was: they work inside of namespaces of
/// their own, with processes and memory of an ordinary size. Whoever is not
/// here is refused, so that a new workload is until somebody has thought of it.
const HARMLESS: &[&str] = &[
    "netns/churn",
    "netns/drain",
    "netns/jobs",
    "netns/limit",
    "nsid/errno",
    "nsid/dump",
    "nsid/notify",
    "nsid/lost",
    "nsid/race",
    "nsid/scale",
    "nsid/bystander",
    "setns/errno",
    "setns/readers",
    "rtnl/readers",
    "tcp-zerocopy/receive",
    "tcp-zerocopy/api",
    "tcp-zerocopy/integrity",
    "tcp-zerocopy/options",
    "tcp-zerocopy/tangle",
    "tcp-zerocopy/scaling",
    "msg-zerocopy/send",
    "msg-zerocopy/paths",
    "msg-zerocopy/order",
    "msg-zerocopy/limits",
    "msg-zerocopy/reuse",
    "msg-zerocopy/errno",
    "msg-zerocopy/endings",
    "uring-zerocopy/send",
    "uring-zerocopy/errors",
    "uring-zerocopy/links",
];

/// Namespaces that may exist at once. Each takes some 400 KiB, most of it for
/// counters of every processor; they wait for one queue that containers share.
const NAMESPACES: i64 = 2048;

/// What matters of a host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Host {
    /// Modules that the kernel would load as soon as somebody asks for what they
    /// are for. They stay, and `dummy` brings a device into the host's namespace.
    loadable: BTreeSet<String>,
    processors: i64,
}

impl Host {
    /// Looks at the host that this process runs on. A host whose modules cannot be
    /// read has none that could be loaded.
    pub(crate) fn look() -> Self {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let index = fs::read_to_string(format!("/lib/modules/{release}/modules.dep")).unwrap_or_default();
        let loaded = fs::read_to_string("/proc/modules").unwrap_or_default();
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Self {
            loadable: loadable(&index, &loaded),
            processors: i64::try_from(processors).unwrap_or(i64::MAX),
        }
    }

    /// Why a test does not run here; `None` if it may.
    pub(crate) fn refusal(&self, test: &PlannedTest, info: &WorkloadInfo) -> Option<String> {
        let workload = &test.workload;
        if !HARMLESS.contains(&workload.as_str()) {
            return Some(format!(
                "refused outside of a virtual machine: `{workload}` is not known to leave the host as it was\n\
                 hint: run it without --local"
            ));
        }
        let missing: Vec<_> =
            info.modules.iter().copied().filter(|name| self.loadable.contains(*name)).collect();
        if !missing.is_empty() {
            let names = missing.join(" ");
            return Some(format!(
                "refused outside of a virtual machine: the kernel would load `{names}` and keep it\n\
                 hint: run it without --local, or load it yourself: modprobe -a {names}"
            ));
        }
        let held = self.held(test);
        (held > NAMESPACES).then(|| {
            format!(
                "refused outside of a virtual machine: {held} network namespaces at once, and {NAMESPACES} are \
                 what a host can spare\n\
                 hint: run it without --local, or with smaller parameters"
            )
        })
    }

    /// Namespaces that a test has at once, for workloads with a parameter for it.
    fn held(&self, test: &PlannedTest) -> i64 {
        let number = |name: &str| match test.params.get(name) {
            Some(Value::Int(number)) => *number,
            _ => 0,
        };
        let mode = match test.params.get("mode") {
            Some(Value::Text(word)) => word.as_str(),
            _ => "",
        };
        match test.workload.as_str() {
            "netns/churn" if mode.starts_with("threads-") => {
                let threads = match number("threads") {
                    0 => self.processors,
                    threads => threads,
                };
                threads.saturating_mul(number("count"))
            }
            "netns/drain" => number("namespaces"),
            "netns/jobs" => number("jobs"),
            _ => 0,
        }
    }
}

/// Names of modules in a `modules.dep` that are not in a `/proc/modules`. The kernel
/// takes `-` for `_`.
fn loadable(index: &str, loaded: &str) -> BTreeSet<String> {
    let loaded: BTreeSet<&str> = loaded.lines().filter_map(|line| line.split(' ').next()).collect();
    let names = index.lines().filter_map(|line| {
        let file = line.split(':').next()?.rsplit('/').next()?;
        let (name, _) = file.split_once(".ko")?;
        Some(name.replace('-', "_"))
    });
    names.filter(|name| !loaded.contains(name.as_str())).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn test(workload: &str, params: &[(&str, Value)]) -> PlannedTest {
        PlannedTest {
            id: 1,
            name: "suite/test".into(),
            workload: workload.into(),
            params: params
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone()))
                .collect::<BTreeMap<_, _>>(),
            timeout_ms: 1,
            silence_ms: 1,
            seed: 1,
            exec: None,
        }
    }

    fn info(name: &'static str, modules: &'static [&'static str]) -> WorkloadInfo {
        WorkloadInfo { name, summary: "", params: &[], metrics: &[], modules }
    }

    fn refusal(host: &Host, test: &PlannedTest) -> Option<String> {
        host.refusal(test, &info("any", &[]))
    }

    #[test]
    fn every_harmless_workload_exists() {
        for name in HARMLESS {
            assert!(crate::workloads::find(name).is_some(), "{name}");
        }
    }

    #[test]
    fn what_switches_the_machine_is_refused() {
        for name in ["netns/profile", "netns/fail-nth", "netns/storm", "rtnl/kind", "unheard/of"] {
            let refusal = refusal(&Host::default(), &test(name, &[])).expect("refused");
            assert!(refusal.contains(name) && refusal.contains("\nhint: "), "{refusal}");
        }
        assert_eq!(refusal(&Host::default(), &test("netns/churn", &[])), None);
    }

    #[test]
    fn a_module_that_would_be_loaded_is_a_reason_and_a_loaded_one_is_not() {
        let index = "kernel/drivers/net/dummy.ko.xz:\nkernel/drivers/net/veth.ko: kernel/a.ko\n\
                     kernel/net/xfrm/xfrm-user.ko.zst:\n";
        let host = Host { loadable: loadable(index, "veth 36864 0 - Live 0x0\nnft 1 2\n"), processors: 2 };
        let of = |modules| host.refusal(&test("netns/drain", &[]), &info("netns/drain", modules));
        let refused = of(&["veth", "dummy", "xfrm_user"]).expect("refused");
        assert!(refused.contains("`dummy xfrm_user`"), "{refused}");
        assert_eq!(of(&["veth", "not_there"]), None);
    }

    #[test]
    fn a_host_is_not_filled_with_namespaces() {
        let host = Host { processors: 256, ..Host::default() };
        let (int, text) = (Value::Int, |word: &str| Value::Text(word.into()));
        let churn = |mode, threads, count| {
            let params = [("mode", text(mode)), ("threads", int(threads)), ("count", int(count))];
            refusal(&host, &test("netns/churn", &params))
        };
        assert!(churn("threads-create", 0, 30).expect("refused").contains("7680"));
        assert_eq!(churn("threads-create", 4, 30), None);
        assert_eq!(churn("unshare", 0, 100_000), None);
        assert!(refusal(&host, &test("netns/drain", &[("namespaces", int(20_000))])).is_some());
        assert_eq!(refusal(&host, &test("netns/drain", &[("namespaces", int(200))])), None);
        assert!(churn("threads-destroy", i64::MAX, i64::MAX).is_some());
    }
}
