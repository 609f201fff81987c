//! Runs for tests: short ways to write down what an engine would tell.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use kregress_wire::{Better, Hello, Kind, MetricInfo, Nonce, Unit, Value};

use super::convert;
use super::fold::Fold;
use super::format::{Line, VERSION};
use crate::console::{Finding, FindingKind, Frame, Place, PlaceKind, SourceLine};
use crate::model::{
    Accel, BootEnd, BootId, BootInfo, BuildEvent, ComparisonPlan, Failure, FailureKind, KernelInfo,
    KernelName, Machine, NoiseOf, RunEvent, RunId, RunInfo, SuiteName, Test, TestId, TestResult, Trouble,
    TroubleKind, Turn, Verdict,
};

/// A time metric and a count, as `netns/drain` has them.
pub(crate) const METRICS: [MetricInfo; 2] = [
    MetricInfo {
        name: "drain_time",
        summary: "from the close of the last descriptor to the end of the last round",
        unit: Unit::Nanoseconds,
        kind: Kind::Time,
        better: Better::Lower,
    },
    MetricInfo {
        name: "rounds",
        summary: "executions of cleanup_net",
        unit: Unit::One,
        kind: Kind::Count,
        better: Better::Lower,
    },
];

pub(crate) fn kernel(name: &str) -> KernelName {
    KernelName(name.to_owned())
}

/// `suite/test[param=value]`; a number becomes one.
pub(crate) fn test_id(text: &str) -> TestId {
    let (suite, short) = text.split_once('/').expect("suite/test");
    let (test, params) = short.split_once('[').unwrap_or((short, "]"));
    let params = params.trim_end_matches(']').split(',').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').expect("name=value");
        let number = value.parse().map(Value::Int);
        (name.to_owned(), number.unwrap_or_else(|_| Value::Text(value.to_owned())))
    });
    TestId { suite: SuiteName(suite.to_owned()), test: test.to_owned(), params: params.collect() }
}

pub(crate) fn info(kernels: &[&str], tests: &[&str], boots: u32) -> RunInfo {
    let ids: Vec<TestId> = tests.iter().map(|test| test_id(test)).collect();
    let planned = |(index, id): (usize, &TestId)| Test {
        id: id.clone(),
        workload: "netns/drain".to_owned(),
        params: id.params.iter().cloned().collect(),
        timeout: Duration::from_secs(30),
        metrics: METRICS.to_vec(),
        exec: None,
        line: 10 + index,
    };
    RunInfo {
        id: RunId("20261120-231502-k3f9".to_owned()),
        directory: PathBuf::from("/project/results/20261120-231502-k3f9"),
        command: ["kregress", "run", "smoke"].map(str::to_owned).to_vec(),
        version: "0.1.0".to_owned(),
        started_unix: 1_795_216_502,
        seed: 17,
        machine: Machine::default(),
        kernels: kernels.iter().map(|name| kernel(name)).collect(),
        suite_files: ids.iter().map(|id| (id.suite.clone(), format!("suites/{}.yaml", id.suite))).collect(),
        tests: ids.iter().enumerate().map(planned).collect(),
        boots,
        retries: 0,
        side_by_side: 1,
        quiet_host: false,
        host: BTreeMap::from([("cpu".to_owned(), "Some CPU".to_owned())]),
        comparison: None,
        shard: None,
    }
}

/// A comparison with looks at 6, 12 and 24 boots.
pub(crate) fn comparison(base: &str, head: &str) -> ComparisonPlan {
    let noise =
        NoiseOf { test: "smoke/a".to_owned(), metric: "drain_time".to_owned(), relative_sd: 0.01, boots: 12 };
    ComparisonPlan {
        base: kernel(base),
        head: kernel(head),
        looks: vec![6, 12, 24],
        floor: 0.05,
        exact_floor: 0.01,
        profile: None,
        allowed: vec!["host".to_owned()],
        noise: vec![noise],
    }
}

pub(crate) fn started(kernels: &[&str], tests: &[&str], boots: u32) -> Vec<RunEvent> {
    vec![RunEvent::RunStarted(info(kernels, tests, boots))]
}

pub(crate) fn kernel_ready(name: &str) -> RunEvent {
    RunEvent::Build(BuildEvent::Ready(KernelInfo {
        name: kernel(name),
        image: PathBuf::from("/cache/store/abc/vmlinux"),
        identity: "abc".to_owned(),
        release: Some("6.12.117".to_owned()),
        detectors: Vec::new(),
        facts: BTreeMap::from([("compiler".to_owned(), "gcc 12.2.0".to_owned())]),
    }))
}

pub(crate) fn boot_info(id: u32, name: &str) -> BootInfo {
    BootInfo {
        id: BootId(id),
        kernel: kernel(name),
        turn: Turn::first(id),
        accel: Accel::Tcg,
        machine: Machine::default(),
        command: ["qemu-system-x86_64", "-kernel", "vmlinux"].map(str::to_owned).to_vec(),
        tests: Vec::new(),
        directory: PathBuf::from(format!("boots/{id}")),
        slowdown: 5.0,
    }
}

pub(crate) fn boot(id: u32, name: &str) -> RunEvent {
    RunEvent::BootStarted(boot_info(id, name))
}

pub(crate) fn ready(boot: u32) -> RunEvent {
    RunEvent::BootReady {
        boot: BootId(boot),
        hello: Hello {
            protocol: 1,
            nonce: Nonce::from_bytes([7; 16]),
            kernel_release: "6.12.117".to_owned(),
            kernel_version: "#1 SMP".to_owned(),
            cpus: 2,
            memory_bytes: 1 << 30,
            uptime_ns: 812_000_000,
            facts: BTreeMap::from([("clocksource".to_owned(), "tsc".to_owned())]),
            features: BTreeMap::from([("net-ns".to_owned(), "yes".to_owned())]),
        },
        exec_to_hello: Duration::from_millis(900),
    }
}

pub(crate) fn begun(boot: u32, test: &str) -> RunEvent {
    RunEvent::TestStarted { boot: BootId(boot), test: test_id(test) }
}

/// A result of the boot asked for that has the number of the boot.
pub(crate) fn result(test: &str, name: &str, boot: Option<u32>, verdict: Verdict) -> TestResult {
    TestResult {
        test: test_id(test),
        boot: boot.map(BootId),
        kernel: kernel(name),
        turn: Turn::first(boot.unwrap_or(1)),
        verdict,
        elapsed: Duration::from_millis(1500),
        samples: BTreeMap::new(),
        notes: BTreeMap::new(),
        breakdown: None,
        subtests: Vec::new(),
        findings: Vec::new(),
        evidence: Vec::new(),
        log: String::new(),
    }
}

/// A pass with samples that depend on the boot.
pub(crate) fn pass(test: &str, name: &str, boot: u32) -> TestResult {
    let mut result = result(test, name, Some(boot), Verdict::Pass { checks: 3 });
    let base = 140.0e6 + f64::from(boot) * 1e6;
    result.samples.insert("drain_time".to_owned(), vec![base - 2e6, base, base + 9e6]);
    result.samples.insert("rounds".to_owned(), vec![4.0, 4.0, 4.0]);
    result
}

pub(crate) fn fail(test: &str, name: &str, boot: u32, message: &str) -> TestResult {
    let failure = Failure { kind: FailureKind::Assertion, message: message.to_owned() };
    let mut result = result(test, name, Some(boot), Verdict::Fail(failure));
    result.log = "[    4.1] kregress: start\n[    4.2] unregister_netdevice: waiting for lo\n".to_owned();
    result
}

pub(crate) fn error(test: &str, name: &str, boot: Option<u32>, kind: TroubleKind) -> TestResult {
    let trouble = Trouble { kind, message: "the guest went away".to_owned() };
    result(test, name, boot, Verdict::Error(trouble))
}

pub(crate) fn skip(test: &str, name: &str, boot: u32, reason: &str) -> TestResult {
    result(test, name, Some(boot), Verdict::Skip { reason: reason.to_owned() })
}

pub(crate) fn finding(title: &str) -> Finding {
    Finding {
        kind: FindingKind::Warning,
        title: title.to_owned(),
        stack: ["free_netdev", "cleanup_net"].map(str::to_owned).to_vec(),
        frames: vec![],
        start: 100,
        end: 900,
        allowed: None,
    }
}

/// A finding of which the lines are known.
pub(crate) fn traced(title: &str) -> Finding {
    let line = |function: &str, line| SourceLine {
        function: function.to_owned(),
        file: "net/core/dev.c".to_owned(),
        line,
    };
    let place = Place::parse("free_netdev+0x1f0/0x210", PlaceKind::Return);
    let inner = Frame { place, lines: vec![line("netdev_freemem", 11), line("free_netdev", 11044)] };
    Finding { frames: vec![inner, Frame::default()], ..finding(title) }
}

pub(crate) fn allowed(title: &str) -> Finding {
    let expires = jiff::civil::date(2027, 1, 31);
    let reason = "fixed by abcdef, not yet in this tree".to_owned();
    Finding { allowed: Some(crate::model::Allowance { reason, expires }), ..finding(title) }
}

pub(crate) fn boot_finding(boot: u32, title: &str) -> RunEvent {
    RunEvent::BootFinding { boot: BootId(boot), finding: finding(title) }
}

pub(crate) fn ended(boot: u32, end: BootEnd) -> RunEvent {
    RunEvent::BootFinished { boot: BootId(boot), end, elapsed: Duration::from_secs(7) }
}

pub(crate) fn finished() -> RunEvent {
    RunEvent::RunFinished { elapsed: Duration::from_secs(42), interrupted: false }
}

/// Every kernel boots, every test passes.
pub(crate) fn whole_run(kernels: &[&str], tests: &[&str], boots: u32) -> Vec<RunEvent> {
    let mut events = started(kernels, tests, boots);
    let mut id = 0;
    for name in kernels {
        events.push(kernel_ready(name));
        for repeat in 1..=boots {
            id += 1;
            let turn = Turn::first(repeat);
            events.extend([RunEvent::BootStarted(BootInfo { turn, ..boot_info(id, name) }), ready(id)]);
            for test in tests {
                let result = TestResult { turn, ..pass(test, name, id) };
                events.extend([begun(id, test), RunEvent::TestFinished(result)]);
            }
            events.push(ended(id, BootEnd::Clean));
        }
    }
    events.push(finished());
    events
}

/// The lines that a recorder would write, one second apart.
pub(crate) fn lines(events: &[RunEvent]) -> Vec<Line> {
    let kept = events.iter().map(convert::event).filter(|event| !convert::is_transient(event));
    let line = |(seq, event)| Line { version: VERSION, seq, elapsed_ms: seq * 1000, event };
    (0..).zip(kept).map(line).collect()
}

pub(crate) fn fold(events: &[RunEvent]) -> Fold {
    let mut lines = lines(events).into_iter();
    let mut fold = Fold::begin(lines.next().expect("a line")).expect("run-started");
    for line in lines {
        fold.apply(line).expect("a line that follows");
    }
    fold
}
