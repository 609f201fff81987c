//! From the model's events to what is written to disk. Pure.
//!
//! Bounds every text that a guest can make long, so that one flooding test
//! neither fills the disk nor makes the record unreadable.

use std::collections::BTreeMap;
use std::time::Duration;

use kregress_wire::{Breakdown, BreakdownRow};

use super::format::{
    Allowance, Boot, BootEnd, ComparisonPlan, Event, Evidence, Finding, Frame, Guest, Kernel, Launch,
    Machine, Metric, Noise, Plan, SourceLine, Test, TestResult,
};
use super::sharded::Shard;
use crate::{console, model};

/// Longest message, reason or notice kept, in bytes; the beginning is kept.
pub(crate) const MESSAGE_LIMIT: usize = 16 << 10;

/// Longest excerpt of a log kept with a verdict, in bytes; the end is kept.
/// The whole log is in the boot's directory.
pub(crate) const LOG_LIMIT: usize = 64 << 10;

/// Longest text of one piece of evidence, in bytes; the beginning is kept.
pub(crate) const EVIDENCE_LIMIT: usize = 32 << 10;

/// Note under which samples that are no numbers are counted.
const DROPPED: &str = "samples-dropped";

/// The event as it is written.
pub(crate) fn event(event: &model::RunEvent) -> Event {
    use model::{BuildEvent, RunEvent};
    match event {
        RunEvent::RunStarted(info) => Event::RunStarted(plan(info)),
        RunEvent::Build(BuildEvent::Step { kernel, what }) => {
            Event::KernelStep { kernel: kernel.0.clone(), what: head(what) }
        }
        RunEvent::Build(BuildEvent::Objects { kernel, done, estimated, elapsed, line }) => {
            Event::KernelObjects {
                kernel: kernel.0.clone(),
                done: *done,
                estimated: *estimated,
                compiling_ms: milliseconds(*elapsed),
                line: head(line),
            }
        }
        RunEvent::Build(BuildEvent::Ready(info)) => Event::KernelReady(kernel(info)),
        RunEvent::KernelFailed { kernel, reason } => {
            Event::KernelFailed { kernel: kernel.0.clone(), reason: head(reason) }
        }
        RunEvent::Notice(text) => Event::Notice { text: head(text) },
        RunEvent::TurnsAsked { tests, until, why } => Event::TurnsAsked {
            tests: tests.iter().map(ToString::to_string).collect(),
            until: *until,
            why: head(why),
        },
        RunEvent::BootStarted(info) => Event::BootStarted(launch(info)),
        RunEvent::BootReady { boot, hello, exec_to_hello } => Event::BootReady {
            boot: boot.0,
            guest: guest(hello),
            exec_to_hello_ns: nanoseconds(*exec_to_hello),
        },
        RunEvent::TestStarted { boot, test } => Event::TestStarted { boot: boot.0, test: test.to_string() },
        RunEvent::TestProgress { boot, test, done, total } => {
            Event::TestProgress { boot: boot.0, test: test.to_string(), done: *done, total: *total }
        }
        RunEvent::TestFinished(result) => Event::TestFinished(test_result(result)),
        RunEvent::BootFinding { boot, finding: found } => {
            Event::BootFinding { boot: boot.0, finding: finding(found) }
        }
        RunEvent::BootEvidence { boot, evidence: found } => {
            Event::BootEvidence { boot: boot.0, evidence: evidence(found) }
        }
        RunEvent::BootFinished { boot, end, elapsed } => {
            Event::BootFinished { boot: boot.0, end: boot_end(end), lived_ns: nanoseconds(*elapsed) }
        }
        RunEvent::Compared(overall) => Event::Compared { overall: *overall },
        RunEvent::RunFinished { interrupted, .. } => Event::RunFinished { interrupted: *interrupted },
    }
}

/// Whether the event is only of the moment: told on stdout, not kept.
pub(crate) fn is_transient(event: &Event) -> bool {
    matches!(event, Event::KernelObjects { .. } | Event::TestProgress { .. })
}

fn plan(info: &model::RunInfo) -> Plan {
    Plan {
        id: info.id.0.clone(),
        directory: info.directory.clone(),
        kregress: info.version.clone(),
        command: info.command.clone(),
        started_unix: info.started_unix,
        seed: info.seed,
        machine: machine(&info.machine),
        host: info.host.clone(),
        boots_per_kernel: info.boots,
        retries: info.retries,
        side_by_side: info.side_by_side,
        quiet_host: info.quiet_host,
        kernels: info.kernels.iter().map(|kernel| kernel.0.clone()).collect(),
        tests: info.tests.iter().map(|test| planned(test, info.suite_files.get(&test.id.suite))).collect(),
        comparison: info.comparison.as_ref().map(comparison),
        shard: info.shard.as_ref().map(|shard| Shard {
            plan: shard.plan.clone(),
            number: shard.number,
            of: shard.of,
        }),
        merged: None,
    }
}

fn comparison(plan: &model::ComparisonPlan) -> ComparisonPlan {
    let noise = |it: &model::NoiseOf| Noise {
        test: it.test.clone(),
        metric: it.metric.clone(),
        relative_sd: it.relative_sd,
        boots: it.boots,
    };
    ComparisonPlan {
        base: plan.base.0.clone(),
        head: plan.head.0.clone(),
        looks: plan.looks.clone(),
        floor: plan.floor,
        exact_floor: plan.exact_floor,
        profile: plan.profile.clone(),
        allowed: plan.allowed.clone(),
        noise: plan.noise.iter().map(noise).collect(),
    }
}

/// A test, and the file of its suite if it is known.
pub(crate) fn planned(test: &model::Test, file: Option<&String>) -> Test {
    Test {
        id: test.id.to_string(),
        suite: test.id.suite.0.clone(),
        name: test.id.short(),
        workload: test.workload.clone(),
        params: test.params.clone(),
        timeout_ms: milliseconds(test.timeout),
        metrics: test.metrics.iter().map(metric).collect(),
        file: file.cloned(),
        line: u64::try_from(test.line).unwrap_or(u64::MAX),
    }
}

pub(crate) fn metric(metric: &model::Metric) -> Metric {
    Metric {
        name: metric.name.to_owned(),
        summary: metric.summary.to_owned(),
        unit: metric.unit,
        kind: metric.kind,
        better: metric.better,
    }
}

pub(crate) fn machine(machine: &model::Machine) -> Machine {
    Machine {
        accel: machine.accel,
        backend: machine.backend,
        cpus: machine.cpus,
        memory_bytes: machine.memory,
        rootfs: machine.rootfs,
        root: machine.root.clone(),
    }
}

/// The machine that was written down.
pub(crate) fn from_machine(machine: &Machine) -> model::Machine {
    model::Machine {
        accel: machine.accel,
        backend: machine.backend,
        cpus: machine.cpus,
        memory: machine.memory_bytes,
        rootfs: machine.rootfs,
        root: machine.root.clone(),
    }
}

fn kernel(info: &model::KernelInfo) -> Kernel {
    Kernel {
        name: info.name.0.clone(),
        image: info.image.to_string_lossy().into_owned(),
        identity: info.identity.clone(),
        release: info.release.clone(),
        detectors: info.detectors.iter().map(|detector| detector.name().to_owned()).collect(),
        facts: info.facts.clone(),
    }
}

fn launch(info: &model::BootInfo) -> Launch {
    Launch {
        id: info.id.0,
        kernel: info.kernel.0.clone(),
        repeat: info.turn.repeat,
        attempt: info.turn.attempt,
        accel: info.accel,
        machine: machine(&info.machine),
        command: info.command.clone(),
        tests: info.tests.iter().map(ToString::to_string).collect(),
        directory: info.directory.to_string_lossy().into_owned(),
        slowdown: Some(info.slowdown).filter(|factor| factor.is_finite()),
    }
}

fn guest(hello: &kregress_wire::Hello) -> Guest {
    Guest {
        kernel_release: head(&hello.kernel_release),
        kernel_version: head(&hello.kernel_version),
        cpus: hello.cpus,
        memory_bytes: hello.memory_bytes,
        uptime_ns: hello.uptime_ns,
        facts: bounded(&hello.facts),
        features: bounded(&hello.features),
    }
}

fn finding(finding: &console::Finding) -> Finding {
    Finding {
        kind: finding.kind,
        title: head(&finding.title),
        stack: finding.stack.iter().map(|function| head(function)).collect(),
        frames: frames(&finding.frames),
        start: finding.start,
        end: finding.end,
        allowed: finding.allowed.as_ref().map(|allowance| Allowance {
            reason: head(&allowance.reason),
            expires: allowance.expires.to_string(),
        }),
    }
}

fn evidence(evidence: &model::Evidence) -> Evidence {
    Evidence { source: evidence.source, text: cut(&evidence.text, EVIDENCE_LIMIT) }
}

/// Empty if nothing is known of any of them.
fn frames(frames: &[console::Frame]) -> Vec<Frame> {
    if frames.iter().all(|frame| frame.place.is_none() && frame.lines.is_empty()) {
        return Vec::new();
    }
    let line = |line: &console::SourceLine| SourceLine {
        function: head(&line.function),
        file: head(&line.file),
        line: line.line,
    };
    let frame = |frame: &console::Frame| Frame {
        at: frame.place.as_ref().map(ToString::to_string),
        lines: frame.lines.iter().map(line).collect(),
    };
    frames.iter().map(frame).collect()
}

fn boot_end(end: &model::BootEnd) -> BootEnd {
    match end {
        model::BootEnd::Clean => BootEnd::Clean,
        model::BootEnd::Panicked { title } => BootEnd::Panicked { reason: head(title) },
        model::BootEnd::Lost { reason } => BootEnd::Lost { reason: head(reason) },
        model::BootEnd::Killed { reason } => BootEnd::Killed { reason: head(reason) },
        model::BootEnd::NotBooted { reason, fault } => {
            BootEnd::NotBooted { reason: head(reason), fault: *fault }
        }
        model::BootEnd::Hung { reason } => BootEnd::Hung { reason: head(reason) },
    }
}

/// Names come from a trace of the guest: bounded like all its words.
fn breakdown(breakdown: &Breakdown) -> Breakdown {
    let row = |row: &BreakdownRow| BreakdownRow { function: head(&row.function), ..row.clone() };
    Breakdown { rows: breakdown.rows.iter().map(row).collect(), ..breakdown.clone() }
}

fn test_result(result: &model::TestResult) -> TestResult {
    let mut notes = bounded(&result.notes);
    // JSON has no word for infinity; such a sample must not become a number.
    let mut dropped = 0;
    let samples = result.samples.iter().map(|(metric, values)| {
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        dropped += values.len() - finite.len();
        (metric.clone(), finite)
    });
    let samples: BTreeMap<_, _> = samples.collect();
    if dropped > 0 {
        notes.insert(DROPPED.to_owned(), format!("{dropped} samples were no finite numbers"));
    }
    TestResult {
        test: result.test.to_string(),
        kernel: result.kernel.0.clone(),
        boot: result.boot.map(|boot| boot.0),
        repeat: result.turn.repeat,
        attempt: result.turn.attempt,
        verdict: verdict(&result.verdict),
        elapsed_ns: nanoseconds(result.elapsed),
        samples,
        notes,
        breakdown: result.breakdown.as_ref().map(breakdown),
        subtests: result.subtests.iter().map(Into::into).collect(),
        findings: result.findings.iter().map(finding).collect(),
        evidence: result.evidence.iter().map(evidence).collect(),
        // Of thousands of passes nobody reads it, and the record of a run is kept in
        // memory; the boot's directory has it all.
        log: match result.verdict {
            model::Verdict::Pass { .. } => String::new(),
            _ => tail(&result.log),
        },
    }
}

fn verdict(verdict: &model::Verdict) -> model::Verdict {
    use model::Verdict;
    let mut verdict = verdict.clone();
    match &mut verdict {
        Verdict::Pass { .. } => {}
        Verdict::Fail(failure) => failure.message = head(&failure.message),
        Verdict::Error(trouble) => trouble.message = head(&trouble.message),
        Verdict::Skip { reason } => *reason = head(reason),
    }
    verdict
}

/// A boot of which nothing is known but its launch.
pub(crate) fn new_boot(launch: Launch) -> Boot {
    Boot {
        launch,
        guest: None,
        exec_to_hello_ns: None,
        running: None,
        findings: Vec::new(),
        evidence: Vec::new(),
        end: None,
        lived_ns: None,
    }
}

/// Whole milliseconds.
pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn bounded(facts: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    facts.iter().map(|(key, value)| (head(key), head(value))).collect()
}

/// The first [`MESSAGE_LIMIT`] bytes, with a word on what is missing.
fn head(text: &str) -> String {
    cut(text, MESSAGE_LIMIT)
}

fn cut(text: &str, limit: usize) -> String {
    if text.len() <= limit {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(limit);
    format!("{}\n[... {} bytes cut]", &text[..end], text.len() - end)
}

/// The last [`LOG_LIMIT`] bytes, with a word on what is missing.
fn tail(text: &str) -> String {
    if text.len() <= LOG_LIMIT {
        return text.to_owned();
    }
    let start = text.ceil_char_boundary(text.len() - LOG_LIMIT);
    format!("[{start} bytes cut ...]\n{}", &text[start..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::testing;

    #[test]
    fn a_flood_of_log_keeps_its_end_and_says_what_is_missing() {
        let text = format!("{}the end", "µ".repeat(LOG_LIMIT));
        let cut = tail(&text);
        assert!(cut.starts_with("[65544 bytes cut ...]\nµ"), "{}", &cut[..40]);
        assert!(cut.ends_with("µthe end"));
        assert!(cut.len() < LOG_LIMIT + 40);
    }

    #[test]
    fn a_flood_of_message_keeps_its_beginning_and_says_what_is_missing() {
        let text = format!("title\n{}", "µ".repeat(MESSAGE_LIMIT));
        let cut = head(&text);
        assert!(cut.starts_with("title\nµ"));
        assert!(cut.ends_with("µ\n[... 16390 bytes cut]"), "{}", &cut[cut.len() - 40..]);
    }

    #[test]
    fn samples_that_are_no_numbers_are_dropped_and_counted() {
        let mut result = testing::pass("smoke/netns-churn", "stable", 1);
        result.samples.insert("create_time".into(), vec![1.0, f64::NAN, 2.0, f64::INFINITY]);
        let stored = test_result(&result);
        assert_eq!(stored.samples["create_time"], [1.0, 2.0]);
        assert_eq!(stored.notes[DROPPED], "2 samples were no finite numbers");
    }

    #[test]
    fn durations_beyond_the_field_saturate() {
        assert_eq!(nanoseconds(Duration::MAX), u64::MAX);
        assert_eq!(milliseconds(Duration::from_micros(1999)), 1);
    }
}
