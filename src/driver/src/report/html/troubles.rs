//! What went wrong, for the page: tests that failed with their evidence, and
//! what the kernel log had to say. Pure.

use maud::{Markup, html};

use super::{left_out, text};
use crate::report::cases::{Case, verdict_text};
use crate::report::{allowed, repeat, subtests, text_safety};
use crate::results::format::{Evidence, Finding, Run};
use crate::results::{Standing, health};

/// Tests that are told in full.
const TESTS: usize = 30;
/// Findings of a test that are told with it; all are in the section on the log.
const OF_TEST: usize = 5;
/// Findings that are told.
const FINDINGS: usize = 60;
/// Lines of a log.
const LOG_LINES: usize = 20;
/// Lines of a stack.
const FRAMES: usize = 30;

/// Tests that did not pass, each with its message, evidence, log and command.
pub(super) fn tests(run: &Run, cases: &[Case<'_>]) -> Markup {
    let wrong: Vec<&Case<'_>> = [Standing::Fail, Standing::Error, Standing::Flaky]
        .into_iter()
        .flat_map(|standing| cases.iter().filter(move |case| case.standing() == standing))
        .collect();
    html! {
        @if !wrong.is_empty() {
            section.long {
                h2 { "Tests that did not pass" }
                @for case in wrong.iter().take(TESTS) { (test(run, case)) }
                (left_out(wrong.len(), TESTS, "test"))
            }
        }
    }
}

fn test(run: &Run, case: &Case<'_>) -> Markup {
    let result = case.worst();
    let (kind, message) = verdict_text(&result.verdict);
    let (tone, sign, word) = standing(case.standing());
    let boots = case.boots().map(|boots| format!(", {boots}")).unwrap_or_default();
    let log = text_safety::last_lines(&result.log, LOG_LINES);
    html! {
        details {
            summary {
                span.word.(tone) { (sign) " " (word) } " "
                b { (text_safety::name(&case.test.id)) }
                span.faint { " " (kind) " on " (text_safety::name(case.kernel)) (boots) }
                br;
                (text_safety::title(message))
            }
            (text(message))
            (subtests_of(case))
            @for finding in result.findings.iter().take(OF_TEST) { (stack(finding)) }
            (evidence(&result.evidence))
            @if !log.is_empty() {
                details { summary { "Last lines of its log" } pre { (log.join("\n")) } }
            }
            p.small.faint { "Repeat:" }
            pre.wrap { (text_safety::verbatim(repeat::line(run, result))) }
        }
    }
}

/// Cases that went wrong, each with what was printed before its result.
fn subtests_of(case: &Case<'_>) -> Markup {
    let told = subtests::of_case(case);
    let wrong = subtests::wrong(&told);
    html! {
        @for it in wrong.iter().take(TESTS) {
            p { b { (it.subtest.verdict.word()) } " " (it.name()) " " span.faint { (it.reason()) } }
            @let lines = text_safety::last_lines(&it.subtest.diagnostics, LOG_LINES);
            @if !lines.is_empty() { pre { (lines.join("\n")) } }
        }
        (left_out(wrong.len(), TESTS, "subtests"))
    }
}

/// Sign and word of where a test stands.
pub(super) fn standing(standing: Standing) -> (&'static str, char, &'static str) {
    match standing {
        Standing::Fail => ("bad", '✗', "fail"),
        Standing::Error => ("bad", '!', "error"),
        Standing::Flaky => ("open", '~', "flaky"),
        Standing::Skip => ("same", '-', "skip"),
        Standing::Pass => ("good", '✓', "pass"),
    }
}

fn stack(finding: &Finding) -> Markup {
    let trace = finding.trace();
    let lines: Vec<String> = trace.iter().take(FRAMES).map(text_safety::title).collect();
    html! {
        p { b { (finding.kind.name()) } ": " (text_safety::title(&finding.title)) }
        @if !lines.is_empty() { pre { (lines.join("\n")) } }
        @if trace.len() > FRAMES { p.faint.small { "... and " (trace.len() - FRAMES) " more frames" } }
    }
}

fn evidence(evidence: &[Evidence]) -> Markup {
    html! {
        @if !evidence.is_empty() {
            details {
                summary { "What was seen of the guest when its limit had passed" }
                @for it in evidence { p.small { b { (it.source.name()) } } (text(&it.text)) }
            }
        }
    }
}

/// A finding as often as it was seen.
struct Seen<'a> {
    finding: &'a Finding,
    kernel: &'a str,
    times: usize,
    /// Where it was seen first.
    place: String,
}

/// Everything that the kernel log said: within tests and outside, equal ones
/// told once for each kernel; then boots that ended badly.
pub(super) fn findings(run: &Run, kernels: &[&str]) -> Markup {
    let seen = seen(run, kernels);
    let boots = run.boots.iter().filter(|boot| kernels.contains(&boot.launch.kernel.as_str()));
    let problems: Vec<_> = health(run)
        .into_iter()
        .filter(|health| kernels.contains(&health.kernel.as_str()))
        .flat_map(|health| health.problems.into_iter().map(move |problem| (health.kernel.clone(), problem)))
        // Findings are told above.
        .filter(|(_, problem)| !seen.iter().any(|it| it.finding.title == problem.message))
        .collect();
    html! {
        @if !seen.is_empty() || !problems.is_empty() {
            section.long {
                h2 { "Kernel log" }
                @for it in seen.iter().take(FINDINGS) { (told(it)) }
                (left_out(seen.len(), FINDINGS, "finding"))
                @for (kernel, problem) in problems.iter().take(FINDINGS) {
                    details {
                        summary {
                            span.word.bad { "✗ " (problem.kind) } " " (text_safety::title(&problem.message))
                            span.faint { " on " (text_safety::name(kernel))
                                @if let Some(boot) = problem.boot { ", boot " (boot) } }
                        }
                        (text(&problem.message))
                        @if !problem.stack.is_empty() {
                            pre { (problem.stack.iter().take(FRAMES).map(text_safety::title).collect::<Vec<_>>().join("\n")) }
                        }
                    }
                }
                (left_out(problems.len(), FINDINGS, "problem of boots"))
                @for boot in boots.filter(|boot| !boot.evidence.is_empty()).take(FINDINGS) {
                    p { "Boot " (boot.launch.id) ", between tests:" }
                    (evidence(&boot.evidence))
                }
            }
        }
    }
}

fn told(it: &Seen<'_>) -> Markup {
    let times = if it.times == 1 { String::new() } else { format!(", {} times", it.times) };
    html! {
        details {
            summary {
                @match &it.finding.allowed {
                    Some(_) => span.word.same { "= allowed " (it.finding.kind.name()) },
                    None => span.word.bad { "✗ " (it.finding.kind.name()) },
                }
                " " (text_safety::title(&it.finding.title))
                span.faint { " on " (text_safety::name(it.kernel)) ", " (it.place) (times) }
            }
            @if let Some(allowance) = &it.finding.allowed { p.small { "Allowed: " (allowed::reason(allowance)) } }
            (stack(it.finding))
        }
    }
}

fn seen<'a>(run: &'a Run, kernels: &[&str]) -> Vec<Seen<'a>> {
    let of_boots = run.boots.iter().flat_map(|boot| {
        let place = move || format!("outside of tests, boot {}", boot.launch.id);
        boot.findings.iter().map(move |finding| (boot.launch.kernel.as_str(), finding, place()))
    });
    let of_tests = run.results.iter().flat_map(|result| {
        let place = move || format!("in {}", text_safety::name(&result.test));
        result.findings.iter().map(move |finding| (result.kernel.as_str(), finding, place()))
    });
    let mut seen: Vec<Seen<'_>> = Vec::new();
    for (kernel, finding, place) in of_tests.chain(of_boots).filter(|it| kernels.contains(&it.0)) {
        let alike = |it: &&mut Seen<'_>| {
            it.kernel == kernel
                && it.finding.title == finding.title
                && it.finding.stack == finding.stack
                && it.finding.allowed.is_some() == finding.allowed.is_some()
        };
        match seen.iter_mut().find(alike) {
            Some(it) => it.times += 1,
            None => seen.push(Seen { finding, kernel, times: 1, place }),
        }
    }
    seen.sort_by_key(|it| it.finding.allowed.is_some());
    seen
}
