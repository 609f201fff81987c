//! The table at the end of a run, and of `kregress report`.
//!
//! Per kernel: every test with its verdict and metrics; then what went wrong,
//! each with the command that repeats it; then what it adds up to and where
//! the results are. Made for 80 columns.

use std::io::{self, Write};

use super::cases::{Case, Measure, cases, measures};
use super::look::{FAINT, HEADING, Look, verdict_style};
use super::{allowed, breakdown, columns, quantity, subtests, text_safety, troubles};
use crate::model::{Accel, Verdict};
use crate::results::format::{Run, State};
use crate::results::{Counts, Health, JUNIT_FILE, Summary, health};

/// Writes the table of a run.
///
/// # Errors
///
/// Fails when `out` does.
pub fn write(run: &Run, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let cases = cases(run);
    let mut kernels: Vec<&String> = Vec::new();
    for kernel in &run.plan.kernels {
        if !kernels.contains(&kernel) {
            kernels.push(kernel);
            let of_kernel: Vec<&Case<'_>> = cases.iter().filter(|case| case.kernel == kernel).collect();
            write_kernel(run, kernel, &of_kernel, look, out)?;
        }
    }
    troubles::write(run, &cases, look, out)?;
    let allowed = allowed::of_run(run);
    for finding in allowed.iter().take(ALLOWED) {
        let line = columns::fit(&format!("allowed: {}", finding.text()), look.width);
        writeln!(out, "{}", look.paint(FAINT, line))?;
    }
    if allowed.len() > ALLOWED {
        writeln!(out, "... and {} more allowed findings", allowed.len() - ALLOWED)?;
    }
    for notice in &run.notices {
        write_wrapped("note: ", &text_safety::body(notice), look, out)?;
    }
    write_end(run, &cases, look, out)
}

/// Allowed findings that are told of.
const ALLOWED: usize = 10;
/// Cases of a test that are named where they went wrong.
const SUBTESTS: usize = 5;
/// Where metrics begin: behind the verdict.
const INDENT: usize = 10;
/// Columns that a metric's name has at least.
const NAME: usize = 12;

fn write_kernel(
    run: &Run,
    kernel: &str,
    cases: &[&Case<'_>],
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    let heading = text_safety::name(kernel);
    let facts = columns::wrap(&facts(run, kernel).join(", "), look.width.saturating_sub(2));
    writeln!(out, "{}", look.paint(HEADING, columns::fit(&heading, look.width)))?;
    for line in facts {
        writeln!(out, "  {}", look.paint(FAINT, line))?;
    }
    let of_case: Vec<Vec<Measure<'_>>> = cases.iter().map(|case| measures(run, case)).collect();
    // Different accelerators in one table are told apart; one is in the heading.
    let mut accels: Vec<Accel> = of_case.iter().flatten().map(|measure| measure.accel).collect();
    accels.sort_unstable();
    accels.dedup();
    let name = |measure: &Measure<'_>| match accels.len() {
        0 | 1 => text_safety::name(&measure.metric.name),
        _ => text_safety::name(format!("{} ({})", measure.metric.name, measure.accel)),
    };
    let rows: Vec<Vec<[String; 4]>> = of_case
        .iter()
        .map(|measures| {
            let row = |measure: &Measure<'_>| {
                let [median, spread, over] = measure.texts();
                [name(measure), median, spread, over]
            };
            measures.iter().map(row).collect()
        })
        .collect();
    let heading = ["metric", "median", "lowest .. highest", "of"].map(str::to_owned);
    let mut widths = [0; 4];
    for row in rows.iter().flatten().chain([&heading]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns::width(cell).max(*width);
        }
    }
    // Numbers are not cut; names give way, but not below what tells them apart.
    let numbers: usize = widths[1..].iter().map(|width| width + 2).sum();
    widths[0] = widths[0].min(look.width.saturating_sub(INDENT + numbers).max(NAME));
    let line = |[name, median, spread, over]: &[String; 4]| {
        let cells = [
            columns::left(name, widths[0]),
            columns::right(median, widths[1]),
            columns::left(spread, widths[2]),
            over.clone(),
        ];
        let line = format!("{:INDENT$}{}", "", cells.join("  "));
        columns::fit(line.trim_end(), look.width)
    };
    if rows.iter().any(|rows| !rows.is_empty()) {
        writeln!(out, "{}", look.paint(FAINT, line(&heading)))?;
    }
    for (case, rows) in cases.iter().zip(&rows) {
        write_case(case, look, out)?;
        write_subtests(case, look, out)?;
        for row in rows {
            writeln!(out, "{}", line(row))?;
        }
        if let Some(breakdown) = &case.worst().breakdown {
            breakdown::write(breakdown, 4, look, out)?;
        }
    }
    writeln!(out)
}

fn write_case(case: &Case<'_>, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let word = case.standing().word();
    let shown = match word {
        "fail" => "FAIL",
        "error" => "ERROR",
        "flaky" => "FLAKY",
        word => word,
    };
    let boots = case.boots().map(|boots| {
        let of = if boots.starts_with(|c: char| c.is_ascii_digit()) { "in " } else { "" };
        format!("  {of}{boots}")
    });
    let boots = boots.unwrap_or_default();
    let test = text_safety::name(&case.test.id);
    let room = look.width - INDENT;
    // The name is what one copies: the boots give way to it.
    let test = if columns::width(&test) + columns::width(&boots) > room {
        columns::fit(&test, room)
    } else {
        test + &boots
    };
    let word = look.paint(verdict_style(word), columns::left(shown, INDENT - 4));
    writeln!(out, "  {word}  {test}")?;
    if let Verdict::Skip { reason } = &case.worst().verdict {
        let reason = text_safety::title(reason);
        for line in columns::wrap(&reason, look.width - INDENT) {
            writeln!(out, "{:INDENT$}{}", "", look.paint(FAINT, columns::fit(&line, look.width - INDENT)))?;
        }
    }
    Ok(())
}

/// How the cases of a test went, and which of them went wrong.
fn write_subtests(case: &Case<'_>, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let told = subtests::of_case(case);
    let Some(counted) = subtests::counted(&told) else { return Ok(()) };
    let room = look.width.saturating_sub(INDENT);
    writeln!(out, "{:INDENT$}{}", "", look.paint(FAINT, columns::fit(&counted, room)))?;
    let wrong = subtests::wrong(&told);
    for it in wrong.iter().take(SUBTESTS) {
        let word = it.subtest.verdict.word();
        let reason = it.reason();
        let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
        let text = columns::fit(&format!("{}{reason}", it.name()), room.saturating_sub(word.len() + 2));
        writeln!(out, "{:INDENT$}{}  {text}", "", look.paint(verdict_style(word), word))?;
    }
    if wrong.len() > SUBTESTS {
        writeln!(out, "{:INDENT$}... and {} more", "", wrong.len() - SUBTESTS)?;
    }
    Ok(())
}

/// What the numbers of a kernel were taken on.
fn facts(run: &Run, kernel: &str) -> Vec<String> {
    let boots: Vec<_> = run.boots.iter().filter(|boot| boot.launch.kernel == kernel).collect();
    let mut facts = Vec::new();
    let booted = boots.iter().find_map(|boot| boot.guest.as_ref()).map(|guest| guest.kernel_release.clone());
    if let Some(release) = booted.or_else(|| run.kernel(kernel).and_then(|it| it.release.clone())) {
        facts.push(text_safety::name(release));
    }
    let mut accels: Vec<&str> = boots.iter().map(|boot| boot.launch.accel.name()).collect();
    accels.sort_unstable();
    accels.dedup();
    if !accels.is_empty() {
        facts.push(accels.join(" and "));
    }
    let machine = &run.plan.machine;
    facts.push(machine.backend.to_string());
    facts.push(format!("{} CPU{}", machine.cpus, if machine.cpus == 1 { "" } else { "s" }));
    facts.push(quantity::memory(machine.memory_bytes));
    let detectors = run.kernel(kernel).map(|it| it.detectors.join(", ")).unwrap_or_default();
    if !detectors.is_empty() {
        facts.push(format!(
            "with {} (its times are worth nothing beside others)",
            text_safety::name(detectors)
        ));
    }
    facts.push(match boots.len() {
        0 => "never booted".to_owned(),
        1 => "1 boot".to_owned(),
        boots => format!("{boots} boots"),
    });
    facts
}

fn write_end(run: &Run, cases: &[Case<'_>], look: Look, out: &mut dyn Write) -> io::Result<()> {
    let summary = Summary::of(run);
    if let Some(warning) = warning(run, &summary) {
        write_wrapped("warning: ", &warning, look, out)?;
    }
    let mut tests = Counts::default();
    for case in cases {
        tests.add(case.standing());
    }
    let kernels = match summary.kernels.total() {
        0 | 1 => String::new(),
        kernels => format!(" on {kernels} kernels"),
    };
    let boots = match run.plan.boots_per_kernel {
        1 => String::new(),
        boots => format!(", {boots} boots each"),
    };
    let elapsed = quantity::seconds(run.elapsed_ms);
    let total = match tests.total() {
        1 => "1 test".to_owned(),
        total => format!("{total} tests"),
    };
    writeln!(out, "{}", counted(tests, look))?;
    writeln!(out, "{total}{kernels}{boots}, in {elapsed}")?;
    let troubled = |health: &Health| health.problems.iter().any(|problem| problem.told_by.is_none());
    match health(run).iter().filter(|health| troubled(health)).count() {
        0 => {}
        1 => writeln!(out, "1 kernel had trouble outside of tests")?,
        kernels => writeln!(out, "{kernels} kernels had trouble outside of tests")?,
    }
    writeln!(out, "results: {}", text_safety::verbatim(run.plan.directory.to_string_lossy().as_bytes()))?;
    let junit = run.plan.directory.join(JUNIT_FILE);
    if run.state == State::Finished || run.state == State::Interrupted {
        writeln!(out, "junit:   {}", text_safety::verbatim(junit.to_string_lossy().as_bytes()))?;
    }
    Ok(())
}

/// `34 passed, 1 failed`; what there is none of is left out, but for passes.
fn counted(counts: Counts, look: Look) -> String {
    let parts = [
        ("pass", "passed", counts.pass),
        ("fail", "failed", counts.fail),
        ("error", "with errors", counts.error),
        ("flaky", "flaky", counts.flaky),
        ("skip", "skipped", counts.skip),
    ];
    let shown = parts.into_iter().filter(|(word, _, count)| *count > 0 || *word == "pass");
    let texts = shown.map(|(word, text, count)| match count {
        0 => format!("{count} {text}"),
        _ => look.paint(verdict_style(word), format!("{count} {text}")),
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn warning(run: &Run, summary: &Summary) -> Option<String> {
    let verdicts = summary.verdicts;
    let text = match run.state {
        State::Running => "this run still goes on; what has no verdict yet is shown as an error",
        State::Unfinished => "this run did not come to its end; what has no verdict is shown as an error",
        State::Interrupted => "this run was interrupted",
        State::Finished if verdicts.total() == 0 => "this run had no tests",
        State::Finished if verdicts.skip == verdicts.total() => {
            "every test was skipped: nothing was learned of the kernel"
        }
        State::Finished => return None,
    };
    Some(text.to_owned())
}

pub(super) fn write_wrapped(label: &str, text: &str, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let room = look.width.saturating_sub(columns::width(label));
    let mut lead = label.to_owned();
    for line in text.lines().flat_map(|line| columns::wrap(line, room)) {
        writeln!(out, "{lead}{line}")?;
        lead = " ".repeat(columns::width(label));
    }
    Ok(())
}

#[cfg(test)]
#[path = "human_tests.rs"]
mod tests;
