//! The page of a series. Pure.

use maud::{Markup, html};

use super::{ROWS, left_out, notes, sentence, text};
use crate::report::quantity::seconds;
use crate::report::series::words::{self, Mark};
use crate::report::text_safety;
use crate::series::checked::{Checked, Outcome, Verdict, Warnings};

/// Tests of a patch that are listed.
const TESTS: usize = 400;

pub(super) fn page(checked: &Checked) -> Markup {
    let headline = words::headline(checked);
    super::page(
        &headline,
        &html! {
            (header(checked, &headline))
            (patches(checked))
            (performance(checked))
            (tests(checked))
            (environment(checked))
        },
    )
}

fn header(checked: &Checked, headline: &str) -> Markup {
    let (tone, sign) = match checked.outcome {
        Outcome::Good => ("good", "✓"),
        Outcome::Broken => ("bad", "✗"),
        Outcome::Repaired => ("bad", "!"),
        Outcome::Inconclusive | Outcome::Interrupted | Outcome::NotKnown => ("open", "?"),
    };
    let (word, what) = headline.split_once(": ").unwrap_or((headline, ""));
    html! {
        header {
            p.over { "kregress series, " (text_safety::name(&checked.id)) }
            h1.verdict.(tone) {
                span.sign aria-hidden="true" { (sign) }
                span { (sentence(word)) }
            }
            @if !what.is_empty() { p.lead { (sentence(what)) "." } }
            @if let Some(cover) = &checked.cover { p { b { (text_safety::title(cover)) } } }
            p.faint.small { "Checked in " (seconds(checked.elapsed_ms)) ", " (words::environment(checked)) "." }
        }
        (notes("Notes", &checked.notes))
    }
}

fn tone(mark: Mark) -> &'static str {
    match mark {
        Mark::Good => "good",
        Mark::Bad | Mark::Repaired => "bad",
        Mark::Open => "open",
    }
}

fn patches(checked: &Checked) -> Markup {
    html! {
        section {
            h2 { "Patch by patch" }
            @for at in 0..checked.revisions.len().min(ROWS) { (patch(checked, at)) }
            (left_out(checked.revisions.len(), ROWS, "patch"))
        }
    }
}

fn patch(checked: &Checked, at: usize) -> Markup {
    let revision = &checked.revisions[at];
    let mark = words::mark(checked, at);
    let defects = checked.defects.iter().filter(|defect| match &defect.since {
        crate::series::checked::Since::Patches { revisions, .. } => revisions.last() == Some(&at),
        crate::series::checked::Since::Base | crate::series::checked::Since::NotKnown { .. } => false,
    });
    let details: Vec<(String, String)> = defects
        .filter_map(|defect| Some((words::sentence(checked, defect), words::details(defect)?)))
        .collect();
    html! {
        div.answer.sure[mark == Mark::Good].broken[matches!(mark, Mark::Bad | Mark::Repaired)] {
            p {
                span.(tone(mark)) { (mark.sign()) " " b { (words::label(checked, at)) } " " (mark.word()) }
                " "
                @if let Some(commit) = &revision.commit { code { (words::short(commit)) } " " }
                b { (text_safety::title(&revision.subject)) }
            }
            @if let Some(author) = &revision.author { p.faint.small { (text_safety::title(author)) } }
            p.small { (sentence(&words::facts(checked, at))) "." }
            @for line in words::findings(checked, at) { p { (line) } }
            @if let Warnings::Compared { gone, .. } = &revision.warnings {
                @if !gone.is_empty() {
                    details {
                        summary { (super::count(gone.len(), "warning")) " of the base or of a patch before gone" }
                        ul { @for warning in gone.iter().take(ROWS) { li { (text_safety::title(&warning.message)) } } }
                    }
                }
            }
            @for (title, body) in &details {
                details { summary { "What was said of: " (title) } (text(body)) }
            }
            @if let Some(log) = words::log(revision) { p.faint.small { "Full log: " code { (log) } } }
        }
    }
}

fn performance(checked: &Checked) -> Markup {
    let changes = words::changes(checked);
    html! {
        section {
            h2 { "Base against tip" }
            p { (sentence(&words::performance(checked))) "." }
            @if !changes.is_empty() {
                div.scroll {
                    table {
                        thead { tr { th { "verdict" } th { "metric" } th { "change" } th { "by" } } }
                        tbody {
                            @for change in changes.iter().take(ROWS) {
                                tr {
                                    td.(of_verdict(change.verdict)) { (words::verdict_word(change.verdict)) }
                                    td { code { (text_safety::name(format!("{}:{}", change.test, change.metric))) } }
                                    td { (change.text) p.faint.small { (change.basis) } }
                                    td { @for line in words::found(checked, change) { p { (line) } } }
                                }
                            }
                        }
                    }
                }
                (left_out(changes.len(), ROWS, "metric"))
            }
        }
    }
}

fn of_verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "bad",
        Verdict::Improved => "good",
        Verdict::Unchanged => "same",
        Verdict::Inconclusive | Verdict::NotMeasured => "open",
    }
}

/// Every test against every kernel that was booted.
fn tests(checked: &Checked) -> Markup {
    let booted: Vec<usize> =
        (0..checked.revisions.len()).filter(|at| !checked.revisions[*at].tests.is_empty()).collect();
    let mut names: Vec<&String> = booted.iter().flat_map(|at| checked.revisions[*at].tests.keys()).collect();
    names.sort_unstable();
    names.dedup();
    html! {
        @if !names.is_empty() {
            section {
                h2 { "Tests" }
                p.faint.small { "Of every kernel that was booted; others have the image of one before." }
                div.scroll {
                    table {
                        thead { tr { th { "test" } @for at in &booted { th { (words::label(checked, *at)) } } } }
                        tbody {
                            @for name in names.iter().take(TESTS) {
                                tr {
                                    td { code { (text_safety::name(name)) } }
                                    @for at in &booted {
                                        @let tested = checked.revisions[*at].tests.get(*name);
                                        @let word = tested.map_or("", |it| it.standing.word());
                                        td.(of_word(word)) { (word) }
                                    }
                                }
                            }
                        }
                    }
                }
                (left_out(names.len(), TESTS, "test"))
            }
        }
    }
}

fn of_word(word: &str) -> &'static str {
    match word {
        "fail" => "bad",
        "pass" => "good",
        "error" | "flaky" => "open",
        _ => "same",
    }
}

fn environment(checked: &Checked) -> Markup {
    html! {
        section {
            h2 { "Made of" }
            ul {
                @for (what, path) in checked.made_of.iter().take(ROWS) {
                    li { (text_safety::title(what)) ": " code { (text_safety::name(path)) } }
                }
            }
        }
        section {
            h2 { "Reproduce with" }
            pre.wrap { (words::command(checked)) }
        }
    }
}
