//! What went wrong in a run, for people: each failure with its evidence and
//! the command that repeats it. Failures that say the same are told once.

use std::io::{self, Write};

use super::cases::{Case, verdict_text};
use super::columns;
use super::look::{FAINT, Look, verdict_style};
use super::{repeat, text_safety};
use crate::exec::shell_line;
use crate::results::format::{Evidence, Finding, Run, TestResult};
use crate::results::{Blame, HealthProblem, Standing, health};

/// Groups that are told of; the rest is counted. Enough to see a pattern, few
/// enough that the end of the run stays on the screen.
const GROUPS: usize = 10;
/// Other tests of a group that are named.
const ALIKE: usize = 3;
/// Lines of a message.
const MESSAGE_LINES: usize = 6;
/// Lines of the log.
const LOG_LINES: usize = 6;
/// Findings of a test, and functions of a stack.
const FINDINGS: usize = 3;
const FRAMES: usize = 6;

/// Tests that failed alike on one kernel.
pub(super) struct Group<'a> {
    pub(super) first: &'a Case<'a>,
    pub(super) others: Vec<&'a Case<'a>>,
}

/// Writes everything that went wrong; nothing if nothing did.
pub(super) fn write(run: &Run, cases: &[Case<'_>], look: Look, out: &mut dyn Write) -> io::Result<()> {
    let mut told = 0;
    let mut left = 0;
    for group in groups(cases) {
        if told == GROUPS {
            left += 1;
            continue;
        }
        told += 1;
        write_group(run, &group, look, out)?;
    }
    for kernel in health(run) {
        // What a test already told is not told again.
        for problem in kernel.problems.iter().filter(|problem| problem.told_by.is_none()) {
            if told >= 2 * GROUPS {
                left += 1;
                continue;
            }
            told += 1;
            write_problem(run, &kernel.kernel, problem, look, out)?;
        }
    }
    if left > 0 {
        writeln!(out, "... and {left} more kinds of trouble; all of them are in the JUnit report\n")?;
    }
    Ok(())
}

/// Failures before errors before flaky passes, each in the order of the cases.
pub(super) fn groups<'a>(cases: &'a [Case<'a>]) -> Vec<Group<'a>> {
    let mut groups: Vec<Group<'a>> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for standing in [Standing::Fail, Standing::Error, Standing::Flaky] {
        for case in cases.iter().filter(|case| case.standing() == standing) {
            let key = (case.kernel, standing, verdict_text(&case.worst().verdict));
            match index.get(&key) {
                Some(at) => {
                    let group: &mut Group<'_> = &mut groups[*at];
                    group.others.push(case);
                }
                None => {
                    index.insert(key, groups.len());
                    groups.push(Group { first: case, others: Vec::new() });
                }
            }
        }
    }
    groups
}

fn write_group(run: &Run, group: &Group<'_>, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let case = group.first;
    let result = case.worst();
    let (kind, message) = verdict_text(&result.verdict);
    let word = match case.standing() {
        Standing::Fail => "FAIL",
        Standing::Error => "ERROR",
        Standing::Flaky | Standing::Skip | Standing::Pass => "FLAKY",
    };
    let boots = case.boots().map(|boots| format!(", {boots}")).unwrap_or_default();
    let test = text_safety::name(&case.test.id);
    let kernel = text_safety::name(case.kernel);
    let style = verdict_style(case.standing().word());
    writeln!(out, "{} {test}", look.paint(style, word))?;
    write_line(&format!("{kind} on {kernel}{boots}"), look, out)?;
    write_lines(&text_safety::body(message), MESSAGE_LINES, look, out)?;
    for finding in result.findings.iter().filter(|finding| finding.allowed.is_none()).take(FINDINGS) {
        // The message often is the title of the first finding.
        if text_safety::title(message) != text_safety::title(&finding.title) {
            write_line(&text_safety::title(&finding.title), look, out)?;
        }
        write_stack(finding, look, out)?;
    }
    write_evidence(&result.evidence, look, out)?;
    for line in text_safety::last_lines(&result.log, LOG_LINES) {
        let line = columns::fit(&line, look.width - 4);
        writeln!(out, "  {} {line}", look.paint(FAINT, "|"))?;
    }
    if !group.others.is_empty() {
        let names: Vec<String> =
            group.others.iter().take(ALIKE).map(|case| text_safety::name(&case.test.id)).collect();
        let more = group.others.len().saturating_sub(ALIKE);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        write_line(&format!("also {}{more}", names.join(", ")), look, out)?;
    }
    if let Some(boot) = result.boot.and_then(|id| run.boot(id)) {
        let path = run.console_log(boot);
        writeln!(out, "  log:    {}", text_safety::verbatim(path.to_string_lossy().as_bytes()))?;
    }
    write_repeat(run, result, look, out)?;
    writeln!(out)
}

fn write_problem(
    run: &Run,
    kernel: &str,
    problem: &HealthProblem,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (word, style) = match problem.blame {
        Blame::Kernel => ("FAIL", verdict_style("fail")),
        Blame::Harness => ("ERROR", verdict_style("error")),
    };
    let kernel = text_safety::name(kernel);
    writeln!(out, "{} {kernel}, outside of tests: {}", look.paint(style, word), problem.kind)?;
    write_lines(&text_safety::body(&problem.message), MESSAGE_LINES, look, out)?;
    write_frames(&problem.stack, look, out)?;
    let ended_so = matches!(problem.kind, "boot" | "hang" | "lost");
    if let Some(boot) = problem.boot.and_then(|id| run.boot(id)).filter(|_| ended_so) {
        write_evidence(&boot.evidence, look, out)?;
    }
    if let Some(boot) = problem.boot.and_then(|id| run.boot(id)) {
        let path = run.console_log(boot);
        writeln!(out, "  log:    {}", text_safety::verbatim(path.to_string_lossy().as_bytes()))?;
    }
    writeln!(out)
}

/// The first lines of a text, each wrapped.
fn write_lines(text: &str, count: usize, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    for line in lines.iter().take(count) {
        write_line(line, look, out)?;
    }
    if lines.len() > count {
        write_line(&format!("... {} more lines", lines.len() - count), look, out)?;
    }
    Ok(())
}

fn write_line(line: &str, look: Look, out: &mut dyn Write) -> io::Result<()> {
    for part in columns::wrap(line, look.width - 2) {
        writeln!(out, "  {part}")?;
    }
    Ok(())
}

/// What each step of looking at a guest came to; the whole is in the record.
fn write_evidence(evidence: &[Evidence], look: Look, out: &mut dyn Write) -> io::Result<()> {
    for evidence in evidence {
        let label = format!("{:10}", format!("{}:", evidence.source.name()));
        let title = text_safety::title(&evidence.text);
        for (at, line) in columns::wrap(&title, look.width - 14).into_iter().enumerate() {
            let label = if at == 0 { label.as_str() } else { "" };
            writeln!(out, "  {} {line}", look.paint(FAINT, format!("{label:10}")))?;
        }
    }
    Ok(())
}

fn write_stack(finding: &Finding, look: Look, out: &mut dyn Write) -> io::Result<()> {
    write_frames(&finding.trace(), look, out)
}

fn write_frames(stack: &[String], look: Look, out: &mut dyn Write) -> io::Result<()> {
    for function in stack.iter().take(FRAMES) {
        let function = columns::fit(&text_safety::title(function), look.width - 6);
        writeln!(out, "      {}", look.paint(FAINT, function))?;
    }
    Ok(())
}

/// The command, broken between its options as a shell lets it be.
fn write_repeat(run: &Run, result: &TestResult, look: Look, out: &mut dyn Write) -> io::Result<()> {
    const LABEL: &str = "  repeat: ";
    let words = repeat::arguments(run, result);
    // The program, its subcommand and the test; then options with their values.
    let (start, options) = words.split_at(words.len().min(3));
    let shown = |words: &[String]| text_safety::verbatim(shell_line(words));
    let mut line = format!("{LABEL}{}", shown(start));
    for option in options.chunks(2).map(shown) {
        // Room for the option, and for ` \` behind it.
        if columns::width(&line) + 1 + columns::width(&option) + 2 > look.width {
            writeln!(out, "{line} \\")?;
            line = " ".repeat(LABEL.len() + 2);
        } else {
            line.push(' ');
        }
        line.push_str(&option);
    }
    writeln!(out, "{line}")
}
