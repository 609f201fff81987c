//! A series as text: what stands on the terminal at its end. What it comes to first,
//! then patch by patch, then base against tip. Made for 80 columns.

use std::io::{self, Write};

use super::words::{self, Mark};
use crate::report::human::write_wrapped;
use crate::report::look::{FAINT, HEADING, Look, verdict_style};
use crate::report::{columns, quantity, text_safety};
use crate::series::checked::{Checked, Verdict};

/// Sentences on one patch.
const FINDINGS: usize = 12;
/// Lines of what a compiler or a kernel said of one patch.
const SAID: usize = 6;
/// Metrics of base against tip.
const CHANGES: usize = 20;

/// Writes what became of a series.
///
/// # Errors
///
/// Fails when `out` does.
pub fn write(checked: &Checked, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let headline = words::headline(checked);
    for line in columns::wrap(&headline, look.width) {
        writeln!(out, "{}", look.paint(HEADING, line))?;
    }
    if let Some(cover) = &checked.cover {
        writeln!(out, "{}", columns::fit(&text_safety::title(cover), look.width))?;
    }
    writeln!(out)?;
    for at in 0..checked.revisions.len() {
        write_revision(checked, at, look, out)?;
    }
    writeln!(out)?;
    write_wrapped("base against tip: ", &words::performance(checked), look, out)?;
    let changes = words::changes(checked);
    for change in changes.iter().take(CHANGES) {
        let (sign, style) = match change.verdict {
            Verdict::Regressed => ('✗', verdict_style("fail")),
            Verdict::Improved => ('✓', verdict_style("pass")),
            Verdict::Unchanged | Verdict::Inconclusive | Verdict::NotMeasured => ('?', verdict_style("skip")),
        };
        let name = text_safety::name(format!("{}:{}", change.test, change.metric));
        writeln!(out, "{}", look.paint(style, columns::fit(&format!("{sign} {name}"), look.width)))?;
        write_wrapped("    ", &format!("{} ({})", change.text, change.basis), look, out)?;
        for line in words::found(checked, change) {
            write_wrapped("    ", &line, look, out)?;
        }
    }
    if changes.len() > CHANGES {
        writeln!(out, "... and {}", quantity::more(changes.len(), CHANGES, "metric"))?;
    }
    writeln!(out)?;
    for note in &checked.notes {
        write_wrapped("note: ", &text_safety::body(note), look, out)?;
    }
    writeln!(out, "checked in {}", quantity::seconds(checked.elapsed_ms))?;
    writeln!(out, "results: {}", text_safety::verbatim(&checked.directory))
}

fn write_revision(checked: &Checked, at: usize, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let mark = words::mark(checked, at);
    let label = words::label(checked, at);
    let sign = if mark == Mark::Good { ' ' } else { mark.sign() };
    let lead = format!("{sign} {label:<5} ");
    let title = columns::fit(&format!("{lead}{}", words::title(&checked.revisions[at])), look.width);
    let style = verdict_style(mark.verdict());
    writeln!(out, "{}", if mark == Mark::Good { title } else { look.paint(style, title) })?;
    let indent = " ".repeat(columns::width(&lead));
    let facts = words::facts(checked, at);
    for line in
        columns::wrap(&facts, look.width.saturating_sub(indent.len())).iter().filter(|it| !it.is_empty())
    {
        writeln!(out, "{}", look.paint(FAINT, format!("{indent}{line}")))?;
    }
    let findings = words::findings(checked, at);
    for finding in findings.iter().take(FINDINGS) {
        write_wrapped(&indent, finding, look, out)?;
    }
    if findings.len() > FINDINGS {
        writeln!(out, "{indent}... and {}", quantity::more(findings.len(), FINDINGS, "finding"))?;
    }
    for line in words::said(checked, at).iter().take(SAID) {
        writeln!(out, "{}", columns::fit(&format!("{indent}{line}"), look.width))?;
    }
    if let Some(log) = words::log(&checked.revisions[at]) {
        writeln!(out, "{indent}full log: {log}")?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "human_tests.rs"]
mod tests;
