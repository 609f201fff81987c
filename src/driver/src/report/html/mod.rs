//! `--format html`: one file that needs nothing beside it and no script.
//!
//! The verdict stands first, then what changed, then what it was seen on. All
//! text of kernels, guests and users goes through `text_safety` and through
//! `maud`, which escapes whatever it puts into a page. Pure: a report is a
//! function of the record. A plot is for reading, so there are as many as one
//! reads; what was left out is said.

mod bisected;
mod breakdown;
mod comparison;
mod environment;
mod history;
mod plots;
mod run;
mod series;
mod svg;
mod troubles;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::compared::{Compared, Verdict};
use super::quantity::{count, more};
use super::text_safety;
use crate::bisect::bisected::Bisected;
use crate::results::format::Run;
use crate::series::checked::Checked;

const STYLE: &str = include_str!("style.css");

/// Rows of a table. More is no reading; the JSON has all of them.
const ROWS: usize = 400;
/// Plots of a section; each takes about 3 KiB.
const PLOTS: usize = 60;

/// The report of a run.
#[must_use]
pub fn of_run(run: &Run) -> String {
    run::page(run).into_string()
}

/// The report of a comparison.
#[must_use]
pub fn of_comparison(compared: &Compared<'_>) -> String {
    comparison::page(compared).into_string()
}

/// The report of a bisection.
#[must_use]
pub fn of_bisection(bisected: &Bisected) -> String {
    bisected::page(bisected).into_string()
}

/// The report of a series.
#[must_use]
pub fn of_series(checked: &Checked) -> String {
    series::page(checked).into_string()
}

fn page(title: &str, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // No page of ours loads anything, and no text in it shall.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    }
}

/// The accelerator of the numbers that follow.
fn badge(accel: &str) -> Markup {
    html! { span.badge { (accel) } }
}

/// CSS class of a verdict; its sign and word stand beside it.
fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "bad",
        Verdict::Inconclusive => "open",
        Verdict::Improved => "good",
        Verdict::Unchanged => "same",
    }
}

/// Says how many rows are not shown; nothing where all are.
fn left_out(all: usize, shown: usize, one: &str) -> Markup {
    html! {
        @if all > shown {
            p.faint { "... and " (more(all, shown, one)) "; " code { "--format json" } " has all of them." }
        }
    }
}

/// Lines of whatever a guest wrote.
fn text(text: &str) -> Markup {
    html! { pre.wrap { (text_safety::body(text)) } }
}

/// Sentences, where there are any.
fn notes(title: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            div.note {
                p { b { (title) } }
                ul {
                    @for line in lines.iter().take(ROWS) { li { (text_safety::body(line)) } }
                }
                (left_out(lines.len(), ROWS, "note"))
            }
        }
    }
}

/// With a capital letter.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
