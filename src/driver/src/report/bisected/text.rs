//! A bisection as a mail: at most 72 columns, ASCII but for what authors wrote. The
//! first line proposes a subject. Only an answer that fresh boots confirmed is handed
//! to regzbot. Pure.

use super::words::{self, Outcome};
use crate::bisect::bisected::{Bisected, Confirmation, Effect};
use crate::report::markdown::sentence;
use crate::report::text::Lines;
use crate::report::text_safety;

/// Suspects that are named.
const SUSPECTS: usize = 10;
/// Notes that are told.
const NOTES: usize = 8;

/// The text of a mail.
#[must_use]
pub fn of_bisection(bisected: &Bisected) -> String {
    let mut out = Lines::default();
    out.line(&format!("Subject: {}", subject(bisected)));
    out.blank();
    write_answers(bisected, &mut out);
    out.blank();
    write_facts(bisected, &mut out);
    out.blank();
    out.line("Reproduce with:");
    out.command(&bisected.command);
    if let Some(command) = words::resume(bisected) {
        out.line("Go on with:");
        out.line(&format!("$ {command}"));
    }
    if let Some(hash) = introduced(bisected) {
        out.blank();
        out.line(&format!("#regzbot introduced: {hash}"));
    }
    out.text
}

/// What a list would want to see: the effect first, for subjects are cut at their end.
fn subject(bisected: &Bisected) -> String {
    let first = bisected.answers.first();
    let confirmed = first.and_then(|answer| match &answer.confirmation {
        Confirmation::Confirmed { effect } => Some((answer, effect)),
        _ => None,
    });
    match (words::outcome(bisected), confirmed) {
        (Outcome::Found, Some((answer, effect))) => {
            let size = words::size(&bisected.question, effect);
            match answer.commits.as_slice() {
                [one] => format!("[REGRESSION] {size}: {}", text_safety::title(&one.subject)),
                many => format!("[REGRESSION] {size}: one of {} commits", many.len()),
            }
        }
        _ => format!("kregress bisect: {}", words::headline(bisected)),
    }
}

/// The hash for regzbot: one commit, confirmed.
fn introduced(bisected: &Bisected) -> Option<String> {
    let first = bisected.answers.first().filter(|answer| words::is_confirmed(answer))?;
    match first.commits.as_slice() {
        [one] => Some(text_safety::name(&one.hash)),
        _ => None,
    }
}

fn write_answers(bisected: &Bisected, out: &mut Lines) {
    for (at, answer) in bisected.answers.iter().enumerate() {
        if at > 0 {
            out.blank();
            out.line("and besides it");
        }
        match words::class(answer) {
            Some(class) => {
                out.wrapped("", &class);
                answer.commits.iter().take(SUSPECTS).for_each(|it| out.authored(2, &words::quoted(it)));
                out.more(answer.commits.len(), SUSPECTS, "commit");
            }
            None => answer.commits.iter().for_each(|commit| {
                out.authored(0, &words::quoted(commit));
                out.authored(2, &words::byline(commit));
            }),
        }
        out.wrapped("", &format!("{}.", words::claim(&bisected.question, answer)));
        for finding in words::findings(&bisected.question, answer) {
            out.wrapped("", &format!("{}.", sentence(&finding)));
        }
    }
    if bisected.answers.is_empty() {
        out.wrapped("", &format!("{}.", words::headline(bisected)));
    }
    for line in words::ending(bisected) {
        out.wrapped("", &format!("{}.", sentence(&line)));
    }
    for suspect in bisected.suspects.iter().take(SUSPECTS) {
        let probability = words::probability(suspect.probability);
        out.authored(2, &format!("{probability}: {}", words::quoted(&suspect.commit)));
    }
    out.more(bisected.suspects.len(), SUSPECTS, "suspect");
}

fn write_facts(bisected: &Bisected, out: &mut Lines) {
    let confirmed = bisected.answers.first().and_then(|answer| match &answer.confirmation {
        Confirmation::Confirmed { effect } => Some(effect),
        _ => None,
    });
    let what = words::question(bisected);
    out.wrapped("what", &what);
    let levels = |it: &Effect| words::levels(&bisected.question, it);
    if let Some(levels) = confirmed.and_then(levels) {
        out.wrapped("level", &levels);
    }
    out.wrapped("good", &format!("{}, {}", words::quoted(&bisected.good), words::day(&bisected.good)));
    out.wrapped("bad", &format!("{}, {}", words::quoted(&bisected.bad), words::day(&bisected.bad)));
    if let Some(effect) = words::endpoints(bisected) {
        out.wrapped("ends", &effect);
    }
    out.wrapped("how", &words::method(bisected));
    let facts: Vec<String> = bisected
        .environment
        .iter()
        .map(|(name, value)| format!("{} {}", text_safety::name(name), text_safety::name(value)))
        .collect();
    if !facts.is_empty() {
        out.wrapped("on", &facts.join("; "));
    }
    out.wrapped("cost", &words::cost(&bisected.spent));
    for note in bisected.notes.iter().take(NOTES) {
        out.wrapped("note", &text_safety::title(note));
    }
    out.more(bisected.notes.len(), NOTES, "note");
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
