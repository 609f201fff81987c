//! Workloads for tests, whose ranges and words must not change when the guest's do.

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};

use super::workloads::Workloads;

const fn int(name: &'static str, max: i64, default: i64) -> ParamInfo {
    ParamInfo::Int { name, summary: "a number", min: 1, max, default }
}

const fn choice(name: &'static str, choices: &'static [&'static str]) -> ParamInfo {
    ParamInfo::Choice { name, summary: "a word", choices, default: choices[0] }
}

const fn metric(name: &'static str, unit: Unit, kind: Kind, better: Better) -> MetricInfo {
    MetricInfo { name, summary: "something that is observed", unit, kind, better }
}

const fn time(name: &'static str) -> MetricInfo {
    metric(name, Unit::Nanoseconds, Kind::Time, Better::Lower)
}

const FAMILY: ParamInfo = choice("family", &["ipv4", "ipv6"]);
const THROUGHPUT: MetricInfo = metric("throughput", Unit::BytesPerSecond, Kind::Rate, Better::Higher);

static DRAIN: WorkloadInfo = WorkloadInfo {
    name: "netns/drain",
    summary: "waits until namespaces are gone",
    params: &[
        int("namespaces", 400, 50),
        int("rounds", 1_000_000, 5),
        choice("completion", &["auto", "tracepoints", "ucount"]),
    ],
    metrics: &[
        time("create_time"),
        time("drain_time"),
        metric("rounds", Unit::One, Kind::Count, Better::Lower),
    ],
    modules: &[],
};

static CHURN: WorkloadInfo = WorkloadInfo {
    name: "netns/churn",
    summary: "creates and destroys namespaces",
    params: &[
        choice("mode", &["unshare", "fork", "threads-create", "threads-destroy"]),
        int("count", 100_000, 500),
        int("rounds", 10_000, 3),
    ],
    metrics: &[
        metric("rate", Unit::PerSecond, Kind::Rate, Better::Higher),
        time("create_time"),
        time("drain_time"),
    ],
    modules: &[],
};

static RECEIVE: WorkloadInfo = WorkloadInfo {
    name: "tcp-zerocopy/receive",
    summary: "receives by mapping pages",
    params: &[choice("sender", &["msg-zerocopy", "splice", "send"]), FAMILY, int("mebibytes", 4096, 16)],
    metrics: &[metric("mapped_share", Unit::Percent, Kind::Ratio, Better::Higher), THROUGHPUT],
    modules: &[],
};

static SEND: WorkloadInfo = WorkloadInfo {
    name: "msg-zerocopy/send",
    summary: "sends without a copy",
    params: &[
        choice("protocol", &["tcp", "udp"]),
        FAMILY,
        int("count", 1_000_000, 2000),
        int("bytes", 1 << 20, 16_384),
    ],
    metrics: &[THROUGHPUT, time("completion_latency")],
    modules: &[],
};

pub(crate) fn workloads() -> Workloads {
    Workloads::new([&CHURN, &DRAIN, &RECEIVE, &SEND])
}
