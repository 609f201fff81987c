//! Comparisons for tests of reports: what 6.1.192 did to teardown against
//! 6.1.190, one in which nothing happened, and one that wishes us ill.

use kregress_wire::{Better, Kind, Unit};

use super::compared::Compared;
use crate::analysis::{
    BootValue, BreakdownChange, Change, Comparison, Estimate, FunctionChange, MetricChange, Overall, Rule,
    Rules, Share, Side, TestChange, TestClass, Tries, Undecided, Weight,
};
use crate::model::{Accel, BootEnd, RunEvent};
use crate::results::format::{Metric, Run, State};
use crate::results::testing;

/// A comparison that a test owns.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    pub(crate) comparison: Comparison,
    pub(crate) overall: Overall,
}

impl Data {
    pub(crate) fn compared<'a>(&'a self, runs: &'a [&'a Run]) -> Compared<'a> {
        Compared { comparison: &self.comparison, overall: self.overall, runs }
    }
}

const BOOTS: u32 = 12;

fn side(kernel: &str, release: &str) -> Side {
    Side {
        kernel: kernel.to_owned(),
        run: "20261120-231502-k3f9".to_owned(),
        release: Some(release.to_owned()),
        identity: Some("2c216f79a9e9ee18b28c516b2333a52fca809fd9e29140ec2e77dbc5ae3e7f0b".to_owned()),
        accel: Some(Accel::Tcg),
        boots: BOOTS,
    }
}

/// Noise without randomness: a boot is up to 2 % off, always the same.
fn boots(value: f64, first: u32, count: u32, noise: f64) -> Vec<BootValue> {
    (0..count)
        .map(|n| {
            let off = f64::from((n * 7 + first * 3) % 11) / 11.0 - 0.45;
            let median = value * (1.0 + noise * off);
            let spread = median.abs() * noise;
            BootValue {
                boot: 2 * n + first,
                median,
                lowest: median - spread,
                highest: median + 2.0 * spread,
                samples: 5,
            }
        })
        .collect()
}

pub(crate) fn metric(name: &str, unit: Unit, kind: Kind) -> Metric {
    Metric { name: name.to_owned(), summary: format!("what {name} is"), unit, kind, better: Better::Lower }
}

fn noisy(test: &str, name: &str, base: f64, head: f64, change: Change) -> MetricChange {
    let relative = head / base - 1.0;
    let p = match change {
        Change::Regressed | Change::Improved => 2.4e-11,
        _ => 0.41,
    };
    MetricChange {
        test: test.to_owned(),
        metric: metric(name, Unit::Nanoseconds, Kind::Time),
        rule: Rule::Noisy,
        weight: Weight::Gates,
        base: boots(base, 1, BOOTS, 0.04),
        head: boots(head, 2, BOOTS, 0.04),
        change,
        estimate: Some(Estimate {
            base,
            head,
            change: relative,
            low: (1.0 + relative) * 0.985 - 1.0,
            high: (1.0 + relative) * 1.015 - 1.0,
            confidence: 0.95,
        }),
        p: Some(p),
        p_permutation: Some(p),
        p_holm: Some((p * 11.0).min(1.0)),
        floor: 0.05,
        noise: Some(0.02),
        detectable: Some(0.03),
    }
}

fn exact(test: &str, name: &str, base: f64, head: f64, change: Change) -> MetricChange {
    let values = |value: f64, first| boots(value, first, BOOTS, 0.0);
    let estimate = (base != 0.0).then(|| {
        let relative = head / base - 1.0;
        Estimate { base, head, change: relative, low: relative, high: relative, confidence: 1.0 }
    });
    MetricChange {
        test: test.to_owned(),
        metric: metric(name, Unit::One, Kind::Count),
        rule: Rule::Exact,
        weight: Weight::Gates,
        base: values(base, 1),
        head: values(head, 2),
        change,
        estimate,
        p: None,
        p_permutation: None,
        p_holm: None,
        floor: 0.01,
        noise: None,
        detectable: None,
    }
}

fn share(calls: f64, ns: f64, rcu: f64, rtnl: f64) -> Option<Share> {
    Some(Share { calls, ns, rcu_ns: ns * rcu, rtnl_ns: ns * rtnl })
}

fn breakdown() -> BreakdownChange {
    let row = |function: &str, base: Option<Share>, head: Option<Share>| {
        let ns = |share: Option<Share>| share.map_or(0.0, |share| share.ns);
        // One boot a side: all of the difference counts.
        let certain_ns = ns(head) - ns(base);
        FunctionChange { function: function.to_owned(), base, head, certain_ns }
    };
    let mut functions = vec![
        row("xfrm_net_exit", share(1.0, 41_000.0, 0.0, 0.0), share(1.0, 15_480_000.0, 0.96, 0.0)),
        row(
            "default_device_exit_batch",
            share(0.04, 310_000.0, 0.3, 0.25),
            share(0.04, 336_000.0, 0.3, 0.27),
        ),
        row("rcu_barrier", share(0.08, 120_000.0, 1.0, 0.0), share(0.08, 118_000.0, 1.0, 0.0)),
        row("gone_exit", share(1.0, 9_000.0, 0.0, 0.0), None),
    ];
    functions.extend((0..16).map(|n| {
        let ns = 30_000.0 / f64::from(n + 1);
        row(&format!("small_{n}_net_exit"), share(1.0, ns, 0.0, 0.1), share(1.0, ns * 1.02, 0.0, 0.1))
    }));
    BreakdownChange {
        test: "netns-teardown/profile".to_owned(),
        base_round_ns: 12.4e6,
        head_round_ns: 402.0e6,
        functions,
    }
}

fn rules() -> Rules {
    Rules {
        looks: vec![6, 12, 24],
        thresholds: vec![0.001, 0.003, 0.006],
        floor: 0.05,
        exact_floor: 0.01,
        gating: 11,
    }
}

fn passes(test: &str) -> TestChange {
    let tries = Tries { passed: BOOTS, ..Tries::default() };
    TestChange { test: test.to_owned(), base: tries, head: tries, class: TestClass::Same, message: None }
}

/// 6.1.190 against 6.1.192: a grace period for each namespace that dies.
pub(crate) fn regression() -> Data {
    let drain = |n: u32| format!("netns-teardown/drain[namespaces={n}]");
    let metrics = vec![
        noisy(&drain(1), "drain_time", 52.6e6, 52.9e6, Change::Unchanged),
        noisy(&drain(10), "drain_time", 61.0e6, 198.0e6, Change::Regressed),
        noisy(&drain(50), "drain_time", 99.0e6, 842.0e6, Change::Regressed),
        noisy(&drain(200), "drain_time", 250.0e6, 3.2e9, Change::Regressed),
        noisy(&drain(200), "create_time", 141.0e6, 140.2e6, Change::Unchanged),
        noisy("netns-teardown/slope", "slope", 0.99e6, 15.84e6, Change::Regressed),
        exact("netns-teardown/slope", "synchronize_rcu_slope", 0.0, 1.0, Change::Regressed),
        noisy("netns-teardown/profile", "rcu_wait", 8.1e6, 391.0e6, Change::Regressed),
        noisy("netns-churn/unshare", "create_p99", 4.4e6, 4.1e6, Change::Improved),
        noisy(
            "netns-churn/kill-storm",
            "create_p99",
            9.1e6,
            9.9e6,
            Change::Inconclusive(Undecided::NeedsBoots(14)),
        ),
        exact("setns/ping-pong", "synchronize_rcu", 4.0, 4.0, Change::Unchanged),
        noisy("rtnl/readers", "dump_time", 1.2e6, 1.21e6, Change::Unchanged),
    ];
    let mut tests: Vec<TestChange> = metrics.iter().map(|it| passes(&it.test)).collect();
    tests.dedup_by(|a, b| a.test == b.test);
    tests.push(TestChange {
        test: "rtnl/leak[kind=vxlan]".to_owned(),
        base: Tries { passed: BOOTS, ..Tries::default() },
        head: Tries { failed: BOOTS, ..Tries::default() },
        class: TestClass::NewFailure,
        message: Some("expected 0 devices after the drain, seen 3".to_owned()),
    });
    tests.push(TestChange {
        test: "msg-zerocopy/limits[protocol=udp]".to_owned(),
        base: Tries { passed: BOOTS - 1, failed: 1, ..Tries::default() },
        head: Tries { passed: BOOTS, ..Tries::default() },
        class: TestClass::KnownOnBase,
        message: Some("completion 17 came twice".to_owned()),
    });
    let comparison = Comparison {
        base: side("good", "6.1.0-54-cloud-amd64"),
        head: side("bad", "6.1.0-56-cloud-amd64"),
        rules: rules(),
        metrics,
        tests,
        breakdowns: vec![breakdown()],
        reservations: vec![],
        not_measured: vec![
            "memory not returned after the drain: CONFIG_SLUB_DEBUG is not set in either kernel".to_owned(),
            "KVM: /dev/kvm opens here but boots nothing".to_owned(),
        ],
    };
    Data { comparison, overall: Overall::Regressed }
}

/// A kernel against itself.
pub(crate) fn unchanged() -> Data {
    let mut data = regression();
    data.comparison.metrics = vec![
        noisy("netns-teardown/slope", "slope", 0.99e6, 0.993e6, Change::Unchanged),
        exact("netns-teardown/slope", "synchronize_rcu_slope", 0.0, 0.0, Change::Unchanged),
    ];
    data.comparison.tests = vec![passes("netns-teardown/slope")];
    data.comparison.not_measured = vec![];
    data.overall = Overall::Unchanged;
    data
}

/// A comparison of nothing.
pub(crate) fn empty() -> Data {
    let mut data = unchanged();
    data.comparison.metrics.clear();
    data.comparison.tests.clear();
    data.comparison.breakdowns.clear();
    data.comparison.base.accel = None;
    data.comparison.head.release = None;
    data.overall = Overall::Failed;
    data
}

/// As many metrics as anyone may ask for.
pub(crate) fn huge(tests: u32) -> Data {
    let mut data = regression();
    let name = |n: u32| format!("netns-teardown/dressed[dress=number-{n}]");
    data.comparison.metrics = (0..tests)
        .flat_map(|n| {
            ["drain_time", "queue_delay", "create_time"]
                .map(|metric| noisy(&name(n), metric, 1e6, 2e6, Change::Regressed))
        })
        .collect();
    data.comparison.tests = (0..tests).map(|n| passes(&name(n))).collect();
    data
}

/// The run in which [`regression`] was measured, with a failure, a finding and
/// a finding outside of tests.
pub(crate) fn run() -> Run {
    let tests = ["netns-teardown/slope", "rtnl/leak[kind=vxlan]", "netns-teardown/drain[namespaces=50]"];
    let mut info = testing::info(&["good", "bad"], &tests, 2);
    info.command = ["kregress", "compare", "good", "bad", "netns-teardown", "--config", "deb.yaml"]
        .map(str::to_owned)
        .to_vec();
    info.host = [
        ("cpu", "AMD EPYC 7763"),
        ("cpus", "2"),
        ("kernel", "6.18.44"),
        ("qemu", "QEMU emulator version 7.2.22"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let mut events = vec![RunEvent::RunStarted(info)];
    events.extend([testing::kernel_ready("good"), testing::kernel_ready("bad")]);
    for (boot, kernel) in [(1, "good"), (2, "bad"), (3, "bad"), (4, "good")] {
        let mut launch = testing::boot_info(boot, kernel);
        launch.turn = crate::model::Turn::first(boot.div_ceil(2));
        events.extend([RunEvent::BootStarted(launch), testing::ready(boot)]);
        for test in tests {
            let mut result = testing::pass(test, kernel, boot);
            if test.starts_with("rtnl/") && kernel == "bad" {
                result = testing::fail(
                    test,
                    kernel,
                    boot,
                    "expected 0 devices after the drain, seen 3\nvxlan0\nvxlan1",
                );
                result.findings.push(testing::traced("WARNING: CPU: 1 at net/core/dev.c:11044 free_netdev"));
                result.evidence.push(crate::model::Evidence {
                    source: crate::model::EvidenceSource::Agent,
                    text: "the agent answered: kworker/u4:2 in rcu_barrier < cleanup_net".to_owned(),
                });
            }
            result.turn = crate::model::Turn::first(boot.div_ceil(2));
            if test == "netns-teardown/slope" {
                result.breakdown = Some(wire_breakdown());
            }
            events.push(RunEvent::TestFinished(result));
        }
        if boot == 3 {
            events.push(testing::boot_finding(
                boot,
                "unregister_netdevice: waiting for lo to become free. Usage count = 2",
            ));
        }
        events.push(testing::ended(boot, BootEnd::Clean));
    }
    events.push(RunEvent::Notice("KVM opens but boots nothing: TCG is used".to_owned()));
    events.push(testing::finished());
    testing::fold(&events).close(State::Unfinished)
}

fn wire_breakdown() -> kregress_wire::Breakdown {
    let row = |function: &str, calls, total_ns, rcu_ns| kregress_wire::BreakdownRow {
        phase: kregress_wire::Phase::Exit,
        function: function.to_owned(),
        calls,
        total_ns,
        rcu_ns,
        rtnl_ns: total_ns / 20,
    };
    kregress_wire::Breakdown {
        rounds: 2,
        namespaces: 100,
        total_ns: 1_700_000_000,
        rows: vec![
            row("xfrm_net_exit", 100, 1_548_000_000, 1_486_000_000),
            row("default_device_exit_batch", 4, 33_600_000, 10_000_000),
        ],
    }
}

/// Text that would be an order, a tag or an attribute somewhere.
pub(crate) const HOSTILE: &str = "<script>alert(1)</script>\" onload=\"x' `code` | @torvalds #123 </details> \u{1b}[31m ::error::x \u{202e}";

/// [`regression`] and [`run`] with [`HOSTILE`] wherever a guest, a kernel or a
/// user can put text.
pub(crate) fn hostile() -> (Data, Run) {
    let mut data = regression();
    let it = &mut data.comparison;
    for side in [&mut it.base, &mut it.head] {
        side.kernel = HOSTILE.to_owned();
        side.release = Some(HOSTILE.to_owned());
        side.identity = Some(HOSTILE.to_owned());
    }
    it.metrics.iter_mut().for_each(|metric| {
        metric.test.push_str(HOSTILE);
        metric.metric.name.push_str(HOSTILE);
        metric.metric.summary = HOSTILE.to_owned();
    });
    it.metrics[0].change = Change::Inconclusive(Undecided::NoValue { reason: HOSTILE.to_owned() });
    for test in &mut it.tests {
        test.test.push_str(HOSTILE);
        test.message = Some(HOSTILE.to_owned());
        test.class = TestClass::NewFailure;
    }
    for breakdown in &mut it.breakdowns {
        breakdown.test = HOSTILE.to_owned();
        breakdown.functions.iter_mut().for_each(|function| function.function.push_str(HOSTILE));
    }
    it.reservations = vec![HOSTILE.to_owned()];
    it.not_measured = vec![HOSTILE.to_owned()];
    (data, hostile_run())
}

/// [`run`] with [`HOSTILE`] in every text; names still match each other.
pub(crate) fn hostile_run() -> Run {
    let mut run = run();
    let all = |text: &mut String| *text = HOSTILE.to_owned();
    let name = |text: &mut String| text.push_str(HOSTILE);
    let finding = |finding: &mut crate::results::format::Finding| {
        all(&mut finding.title);
        finding.stack.iter_mut().for_each(all);
        for frame in &mut finding.frames {
            frame.at = Some(HOSTILE.to_owned());
            frame.lines.iter_mut().for_each(|line| {
                all(&mut line.function);
                all(&mut line.file);
            });
        }
    };
    let facts = |facts: &mut std::collections::BTreeMap<String, String>| {
        facts.values_mut().for_each(all);
        facts.insert(HOSTILE.to_owned(), HOSTILE.to_owned());
    };
    run.notices = vec![HOSTILE.to_owned()];
    run.plan.command.iter_mut().for_each(all);
    run.plan.kernels.iter_mut().for_each(name);
    facts(&mut run.plan.host);
    for test in &mut run.plan.tests {
        name(&mut test.id);
        test.metrics.iter_mut().for_each(|metric| {
            name(&mut metric.name);
            all(&mut metric.summary);
        });
    }
    for kernel in &mut run.kernels {
        name(&mut kernel.name);
        all(&mut kernel.image);
        all(&mut kernel.identity);
        kernel.release = Some(HOSTILE.to_owned());
        kernel.detectors = vec![HOSTILE.to_owned()];
        facts(&mut kernel.facts);
    }
    for boot in &mut run.boots {
        name(&mut boot.launch.kernel);
        boot.launch.command.iter_mut().for_each(all);
        boot.findings.iter_mut().for_each(finding);
        if let Some(guest) = &mut boot.guest {
            all(&mut guest.kernel_release);
            all(&mut guest.kernel_version);
            facts(&mut guest.facts);
            facts(&mut guest.features);
        }
    }
    for result in &mut run.results {
        name(&mut result.kernel);
        name(&mut result.test);
        all(&mut result.log);
        facts(&mut result.notes);
        result.findings.iter_mut().for_each(finding);
        result.evidence.iter_mut().for_each(|evidence| all(&mut evidence.text));
        result.samples =
            std::mem::take(&mut result.samples).into_iter().map(|(key, it)| (key + HOSTILE, it)).collect();
        if let Some(breakdown) = &mut result.breakdown {
            breakdown.rows.iter_mut().for_each(|row| name(&mut row.function));
        }
        match &mut result.verdict {
            crate::model::Verdict::Pass { .. } => {}
            crate::model::Verdict::Fail(failure) => all(&mut failure.message),
            crate::model::Verdict::Skip { reason } => all(reason),
            crate::model::Verdict::Error(trouble) => all(&mut trouble.message),
        }
    }
    run
}
