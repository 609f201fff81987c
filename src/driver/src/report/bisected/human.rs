//! A bisection as text: what stands on the terminal at its end. The answer
//! first, then between what it was searched, the commits that were measured, what it
//! cost, and how to do it again. Made for 80 columns.

use std::io::{self, Write};

use anstyle::Style;

use super::course::{self, Part, Standing, Step};
use super::words::{self, Outcome};
use crate::bisect::bisected::{Answer, Bisected, Commit};
use crate::report::human::write_wrapped;
use crate::report::look::{FAINT, HEADING, Look, verdict_style};
use crate::report::{columns, quantity, text_safety};

/// Rows of the table. A search of a few thousand commits takes about as many.
const ROWS: usize = 30;
/// Suspects that are named.
const SUSPECTS: usize = 10;
/// Columns of a subject that is worth its place.
const SUBJECT: usize = 16;

/// Writes what a bisection found.
///
/// # Errors
///
/// Fails when `out` does.
pub fn write(bisected: &Bisected, look: Look, out: &mut dyn Write) -> io::Result<()> {
    write_answers(bisected, look, out)?;
    write_ending(bisected, look, out)?;
    writeln!(out)?;
    write_endpoints(bisected, look, out)?;
    write_steps(bisected, look, out)?;
    writeln!(out)?;
    write_wrapped("cost:  ", &words::cost(&bisected.spent), look, out)?;
    if let Some(more) = words::remaining(bisected) {
        write_wrapped("ahead: ", &more, look, out)?;
    }
    for note in &bisected.notes {
        write_wrapped("note:  ", &text_safety::body(note), look, out)?;
    }
    let directory = text_safety::verbatim(&bisected.directory);
    writeln!(out, "session: {directory}")?;
    if let Some(command) = words::resume(bisected) {
        writeln!(out, "Go on with:\n  {command}")?;
    }
    writeln!(out, "Reproduce with:\n  {}", words::command(bisected))
}

fn write_answers(bisected: &Bisected, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let style = match words::outcome(bisected) {
        Outcome::Found => verdict_style("fail"),
        Outcome::Open | Outcome::Unfinished => verdict_style("skip"),
    };
    for (at, answer) in bisected.answers.iter().enumerate() {
        if at > 0 {
            writeln!(out, "\nand besides it")?;
        }
        let style = if words::is_confirmed(answer) { style } else { verdict_style("skip") };
        write_answer(bisected, answer, style, look, out)?;
    }
    Ok(())
}

fn write_answer(
    bisected: &Bisected,
    answer: &Answer,
    style: Style,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    if let Some(class) = words::class(answer) {
        write_wrapped("", &class, look, out)?;
        for commit in answer.commits.iter().take(SUSPECTS) {
            write_suspect(commit, "  ", style, look, out)?;
        }
        write_more(answer.commits.len(), SUSPECTS, "commit", out)?;
    } else {
        for commit in &answer.commits {
            for line in columns::wrap(&words::title(commit), look.width) {
                writeln!(out, "{}", look.paint(style, columns::fit(&line, look.width)))?;
            }
            write_wrapped("  ", &words::byline(commit), look, out)?;
        }
    }
    write_wrapped("", &words::claim(&bisected.question, answer), look, out)?;
    for sentence in words::findings(&bisected.question, answer) {
        write_wrapped("", &sentence, look, out)?;
    }
    Ok(())
}

fn write_suspect(
    commit: &Commit,
    lead: &str,
    style: Style,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    let line = columns::fit(&format!("{lead}{}", words::title(commit)), look.width);
    writeln!(out, "{}", look.paint(style, line))
}

fn write_more(all: usize, shown: usize, one: &str, out: &mut dyn Write) -> io::Result<()> {
    if all > shown { writeln!(out, "  ... and {}", quantity::more(all, shown, one)) } else { Ok(()) }
}

/// How it ended, where the answers do not say it.
fn write_ending(bisected: &Bisected, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let sentences = words::ending(bisected);
    if bisected.answers.is_empty() {
        let headline = words::headline(bisected);
        for line in columns::wrap(&headline, look.width) {
            writeln!(out, "{}", look.paint(verdict_style("skip"), line))?;
        }
    }
    for sentence in &sentences {
        write_wrapped("", sentence, look, out)?;
    }
    for suspect in bisected.suspects.iter().take(SUSPECTS) {
        let lead = format!("{:>9}  ", words::probability(suspect.probability));
        write_suspect(&suspect.commit, &lead, Style::new(), look, out)?;
    }
    write_more(bisected.suspects.len(), SUSPECTS, "suspect", out)
}

fn write_endpoints(bisected: &Bisected, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let what = words::question(bisected);
    writeln!(out, "{}", look.paint(HEADING, columns::fit(&what, look.width)))?;
    for (name, commit) in [("good", &bisected.good), ("bad", &bisected.bad)] {
        let line = format!("  {name:4}  {}, {}", words::title(commit), words::day(commit));
        writeln!(out, "{}", columns::fit(&line, look.width))?;
    }
    match words::endpoints(bisected) {
        Some(effect) => write_wrapped("        ", &effect, look, out),
        None => writeln!(out, "        not measured yet"),
    }
}

fn write_steps(bisected: &Bisected, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let (steps, more) = course::steps(bisected, ROWS);
    if steps.is_empty() {
        return Ok(());
    }
    let heading = ["commit", "boots", "came to", "probable"].map(str::to_owned);
    let cells =
        |step: &Step| [step.hash.clone(), step.boots.clone(), step.outcome.clone(), step.probability.clone()];
    let rows: Vec<[String; 4]> = steps.iter().map(cells).collect();
    let mut widths = [0; 4];
    for row in rows.iter().chain([&heading]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns::width(cell).max(*width);
        }
    }
    let subject =
        look.width.saturating_sub(widths.iter().map(|width| width + 2).sum::<usize>() + 2).max(SUBJECT);
    let line = |mark: &str, [hash, boots, outcome, probability]: &[String; 4], text: &str| {
        let cells = [
            columns::left(hash, widths[0]),
            columns::right(boots, widths[1]),
            columns::right(outcome, widths[2]),
            columns::right(probability, widths[3]),
            columns::fit(text, subject),
        ];
        columns::fit(&format!("{mark:2}{}", cells.join("  ").trim_end()), look.width)
    };
    writeln!(out)?;
    writeln!(out, "{}", look.paint(FAINT, line("", &heading, "subject")))?;
    for (step, row) in steps.iter().zip(&rows) {
        let mark = if step.part == Part::Answer { ">" } else { "" };
        let text = line(mark, row, &step.subject);
        let text = match (step.boots.is_empty(), step.standing) {
            (true, _) => look.paint(FAINT, text),
            (false, Standing::With) => look.paint(verdict_style("fail"), text),
            (false, Standing::Without) => look.paint(verdict_style("pass"), text),
            (false, Standing::Open) => text,
        };
        writeln!(out, "{text}")?;
    }
    write_more(steps.len() + more, steps.len(), "commit farther from it", out)
}

#[cfg(test)]
#[path = "human_tests.rs"]
mod tests;
