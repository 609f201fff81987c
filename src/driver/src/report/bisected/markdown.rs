//! A bisection for a pull request or the summary of a workflow. By the rules of
//! `report::markdown`: text of others stands in code only, and what does not fit is
//! left out whole. Pure.

use super::course::{self, Part};
use super::words::{self, Outcome};
use crate::bisect::bisected::{Answer, Bisected};
use crate::report::markdown::{Parts, code, fence, folded, list, section, sentence};

/// Rows of the table.
const ROWS: usize = 100;
/// Suspects that are named.
const SUSPECTS: usize = 20;

/// The report.
#[must_use]
pub fn of_bisection(bisected: &Bisected) -> String {
    let sign = match words::outcome(bisected) {
        Outcome::Found => '✓',
        Outcome::Open => '?',
        Outcome::Unfinished => '…',
    };
    let headline = words::headline(bisected);
    let (word, what) = headline.split_once(": ").unwrap_or((headline.as_str(), ""));
    let mut head = format!("## {sign} {}\n\n", sentence(word));
    if bisected.answers.is_empty() {
        head.push_str(&format!("{}\n\n", code(what)));
    }
    let mut out = Parts::new(head + &code(words::question(bisected)) + "\n");
    for answer in &bisected.answers {
        out.add("answer", of_answer(bisected, answer));
    }
    out.add("ending", list("", &words::ending(bisected)));
    out.add("suspects", suspects(bisected));
    out.add("endpoints", endpoints(bisected));
    out.add("table of commits", table(bisected));
    out.add(
        "cost",
        format!(
            "{}. {}.\n",
            words::method(bisected).trim_end_matches('.'),
            sentence(&words::cost(&bisected.spent))
        ),
    );
    out.add("notes", list("**Notes:**", &bisected.notes));
    if let Some(command) = words::resume(bisected) {
        out.add("command", section("Go on with", &fence(&command)));
    }
    out.add("command", section("Reproduce with", &fence(&words::command(bisected))));
    out.add("environment", environment(bisected));
    out.finish()
}

fn of_answer(bisected: &Bisected, answer: &Answer) -> String {
    let mut body = String::new();
    if let Some(class) = words::class(answer) {
        body.push_str(&format!("{}\n\n", sentence(&class)));
    }
    for commit in answer.commits.iter().take(SUSPECTS) {
        let bold = if words::is_confirmed(answer) { "**" } else { "" };
        body.push_str(&format!(
            "- {bold}{}{bold} {}\n",
            code(words::title(commit)),
            code(words::byline(commit))
        ));
    }
    if answer.commits.len() > SUSPECTS {
        body.push_str(&format!("- ... and {} more\n", answer.commits.len() - SUSPECTS));
    }
    body.push('\n');
    let mut sentences = vec![words::claim(&bisected.question, answer)];
    sentences.extend(words::findings(&bisected.question, answer));
    body.push_str(&list("", &sentences));
    body
}

fn suspects(bisected: &Bisected) -> String {
    let rows: String = bisected
        .suspects
        .iter()
        .take(SUSPECTS)
        .map(|it| {
            format!("| {} | {} |\n", words::probability(it.probability), code(words::title(&it.commit)))
        })
        .collect();
    if rows.is_empty() { rows } else { format!("| probable | suspect |\n|--:|---|\n{rows}") }
}

fn endpoints(bisected: &Bisected) -> String {
    let effect = words::endpoints(bisected).unwrap_or_else(|| "not measured yet".to_owned());
    format!(
        "Good {}, bad {}: {}.\n",
        code(words::title(&bisected.good)),
        code(words::title(&bisected.bad)),
        code(effect)
    )
}

fn table(bisected: &Bisected) -> String {
    let (steps, more) = course::steps(bisected, ROWS);
    if steps.is_empty() {
        return String::new();
    }
    let mut out = "| commit | boots | came to | probable | subject |\n|---|--:|--:|--:|---|\n".to_owned();
    for step in &steps {
        let bold = if step.part == Part::Answer { "**" } else { "" };
        let cells = [
            format!("{bold}{}{bold}", code(&step.hash)),
            step.boots.clone(),
            step.outcome.clone(),
            step.probability.clone(),
            code(&step.subject),
        ];
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out + &crate::report::markdown::more(steps.len() + more, steps.len(), "commit farther from it")
}

fn environment(bisected: &Bisected) -> String {
    let rows: String = bisected
        .environment
        .iter()
        .take(ROWS)
        .map(|(name, value)| format!("| {} | {} |\n", code(name), code(value)))
        .collect();
    if rows.is_empty() { rows } else { folded("Environment", &format!("| | |\n|---|---|\n{rows}")) }
}

#[cfg(test)]
#[path = "markdown_tests.rs"]
mod tests;
