//! A series for a pull request or the summary of a workflow. By the rules of
//! `report::markdown`: text of others stands in code only, and what does not fit is
//! left out whole. Pure.

use super::words;
use crate::report::markdown::{Parts, code, fence, folded, list, more, section, sentence};
use crate::series::checked::{Checked, Outcome, Since};

/// Rows of a table.
const ROWS: usize = 100;
/// Defects that are told with what was said about them.
const DETAILS: usize = 20;

/// The report.
#[must_use]
pub fn of_series(checked: &Checked) -> String {
    let sign = match checked.outcome {
        Outcome::Good => '✓',
        Outcome::Broken => '✗',
        Outcome::Repaired => '!',
        Outcome::Inconclusive | Outcome::Interrupted => '?',
        Outcome::NotKnown => '!',
    };
    let head = format!("## {sign} {}\n", sentence(&words::headline(checked)));
    let mut out = Parts::new(head);
    out.add("table of patches", table(checked));
    out.add("details", details(checked));
    out.add("base against tip", performance(checked));
    out.add("notes", list("**Notes:**", &checked.notes));
    out.add("command", section("Reproduce with", &fence(&words::command(checked))));
    out.add("environment", folded("Environment", &format!("{}\n", code(words::environment(checked)))));
    out.finish()
}

fn table(checked: &Checked) -> String {
    let mut out = "| | patch | subject | | |\n|---|---|---|---|---|\n".to_owned();
    for at in 0..checked.revisions.len().min(ROWS) {
        let mark = words::mark(checked, at);
        let findings: Vec<String> = words::findings(checked, at).iter().map(code).collect();
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            mark.sign(),
            words::label(checked, at),
            code(words::title(&checked.revisions[at])),
            code(words::facts(checked, at)),
            findings.join("<br>")
        ));
    }
    out + &more(checked.revisions.len(), ROWS, "patch")
}

/// What compilers and kernels said, folded away.
fn details(checked: &Checked) -> String {
    let ours = checked.defects.iter().filter(|defect| defect.since != Since::Base);
    let told: Vec<String> = ours
        .filter_map(|defect| {
            let details = words::details(defect)?;
            Some(format!("{}\n\n{}", code(words::sentence(checked, defect)), fence(&details)))
        })
        .collect();
    if told.is_empty() {
        return String::new();
    }
    let shown = told.iter().take(DETAILS).cloned().collect::<Vec<_>>().join("\n");
    folded("Details", &(shown + &more(told.len(), DETAILS, "defect")))
}

fn performance(checked: &Checked) -> String {
    let mut out = format!("Base against tip: {}.\n", code(words::performance(checked)));
    let changes = words::changes(checked);
    if changes.is_empty() {
        return out;
    }
    out.push_str("\n| | metric | change | by |\n|---|---|---|---|\n");
    for change in changes.iter().take(ROWS) {
        let found: Vec<String> = words::found(checked, change).iter().map(code).collect();
        out.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            words::verdict_word(change.verdict),
            code(format!("{}:{}", change.test, change.metric)),
            code(format!("{} ({})", change.text, change.basis)),
            found.join("<br>")
        ));
    }
    out + &more(changes.len(), ROWS, "metric")
}

#[cfg(test)]
#[path = "markdown_tests.rs"]
mod tests;
