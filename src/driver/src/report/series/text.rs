//! A series as a reply to the list: at most 72 columns, ASCII but for what authors
//! wrote. Only what is wrong is told in full. Pure.

use super::words::{self, Mark};
use crate::report::text::Lines;
use crate::report::{quantity, text_safety};
use crate::series::checked::{Checked, Defect, Since, What};

/// Defects that are told.
const DEFECTS: usize = 30;
/// Lines of what a compiler or a kernel said.
const DETAILS: usize = 6;
/// Metrics of base against tip.
const CHANGES: usize = 12;

/// The text of a mail.
#[must_use]
pub fn of_series(checked: &Checked) -> String {
    let mut out = Lines::default();
    out.wrapped("", &format!("kregress: {}", words::headline(checked)));
    out.blank();
    for at in 0..checked.revisions.len() {
        let sign = match words::mark(checked, at) {
            Mark::Good => "ok",
            Mark::Bad => "BAD",
            Mark::Repaired => "bad",
            Mark::Open => "?",
        };
        let label = words::label(checked, at);
        out.labelled(&format!("{sign:>3}  {label:<5} "), &words::title(&checked.revisions[at]));
    }
    // Numbers are told below, with whoever changed them.
    let told: Vec<&Defect> =
        checked.defects.iter().filter(|it| it.since != Since::Base && it.what != What::Metric).collect();
    for defect in told.iter().take(DEFECTS) {
        out.blank();
        write_defect(checked, defect, &mut out);
    }
    out.more(told.len(), DEFECTS, "defect");
    write_performance(checked, &mut out);
    out.blank();
    out.wrapped("", &format!("Base: {}.", words::title(&checked.revisions[0])));
    out.wrapped("", &format!("Checked on {}.", words::environment(checked)));
    for note in &checked.notes {
        out.wrapped("", &format!("Note: {}.", text_safety::title(note)));
    }
    out.line("Reproduce with:");
    out.command(&checked.command);
    out.text
}

fn write_defect(checked: &Checked, defect: &Defect, out: &mut Lines) {
    let label = match &defect.since {
        Since::Patches { revisions, .. } => revisions.last().map(|at| words::label(checked, *at)),
        Since::Base | Since::NotKnown { .. } => None,
    };
    let label = label.unwrap_or_else(|| "series".to_owned());
    out.wrapped(&label, &words::sentence(checked, defect));
    let details = words::details(defect).unwrap_or_default();
    for line in details.lines().take(DETAILS) {
        out.line(&format!("       {line}"));
    }
}

fn write_performance(checked: &Checked, out: &mut Lines) {
    out.blank();
    out.wrapped("", &format!("Base against tip: {}.", words::performance(checked)));
    let changes = words::changes(checked);
    for change in changes.iter().take(CHANGES) {
        out.line(&format!("  {}:{}", change.test, change.metric));
        out.indented(4, &format!("{} ({})", change.text, change.basis));
        for line in words::found(checked, change) {
            out.indented(4, &line);
        }
    }
    if changes.len() > CHANGES {
        out.line(&format!("  ... and {}", quantity::more(changes.len(), CHANGES, "metric")));
    }
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
