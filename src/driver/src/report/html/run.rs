//! The page of a run. Pure.

use maud::{Markup, html};

use super::plots::{self, Distribution, Row};
use super::svg::Ink;
use super::{
    PLOTS, ROWS, badge, breakdown, count, environment as environment_section, left_out, notes, sentence,
    troubles,
};
use crate::exec::shell_line;
use crate::model::{Accel, Verdict};
use crate::report::cases::{Case, Measure, cases, measures, median};
use crate::report::compared::quantity;
use crate::report::families::{self, Family, Line};
use crate::report::subtests::Told;
use crate::report::{environment, quantity as quantities, subtests, text_safety};
use crate::results::format::{Run, State};
use crate::results::{Counts, Summary};

pub(super) fn page(run: &Run) -> Markup {
    let cases = cases(run);
    let (_, sign, word) = verdict(run);
    let mut kernels: Vec<&str> = Vec::new();
    for kernel in &run.plan.kernels {
        if !kernels.contains(&kernel.as_str()) {
            kernels.push(kernel);
        }
    }
    super::page(
        &format!("{sign} {word}: kregress run {}", text_safety::name(&run.plan.id)),
        &html! {
            (header(run, &cases, &kernels))
            (troubles::tests(run, &cases))
            (troubles::findings(run, &kernels))
            @for kernel in &kernels {
                @let of_kernel: Vec<&Case<'_>> = cases.iter().filter(|case| case.kernel == *kernel).collect();
                (table(run, kernel, &of_kernel))
                (growth(run, kernel, &of_kernel))
                (breakdown::of_run(run, kernel, &accels(run, kernel)))
                (metric_plots(run, kernel, &of_kernel))
            }
            (not_measured(&cases))
            (environment_section::section(&environment::of_run(run)))
            section {
                h2 { "Repeat it" }
                pre.wrap { (text_safety::verbatim(shell_line(&run.plan.command))) }
                p.faint.small { "The seed was " (run.plan.seed) "." }
            }
        },
    )
}

/// What a run comes to: CSS class, sign and word.
fn verdict(run: &Run) -> (&'static str, char, &'static str) {
    match (run.state, Summary::of(run).exit_code()) {
        (State::Running, _) => ("open", '~', "still going on"),
        (State::Interrupted, _) => ("open", '?', "interrupted"),
        (_, 0) => ("good", '✓', "passed"),
        (_, 1) => ("bad", '✗', "failed"),
        (_, 4) => ("open", '?', "nothing was learned of the kernel"),
        _ => ("bad", '!', "the harness or its host failed"),
    }
}

fn header(run: &Run, cases: &[Case<'_>], kernels: &[&str]) -> Markup {
    let (tone, sign, word) = verdict(run);
    let mut counts = Counts::default();
    for case in cases {
        counts.add(case.standing());
    }
    let started =
        jiff::Timestamp::from_second(run.plan.started_unix).map(|it| it.strftime("%F %H:%M UTC").to_string());
    let all: Vec<String> = kernels.iter().map(|kernel| accels(run, kernel)).collect();
    let mut accel: Vec<&str> = all.iter().map(String::as_str).collect();
    accel.dedup();
    html! {
        header {
            p.over {
                "kregress run " (text_safety::name(&run.plan.id))
                @if let Ok(started) = started { ", " (started) }
                ", took " (quantities::seconds(run.elapsed_ms))
            }
            h1.verdict.(tone) { span.sign aria-hidden="true" { (sign) } span { (sentence(word)) } }
            p.lead {
                @for (number, (count, tone, word)) in shown(counts).into_iter().enumerate() {
                    @if number > 0 { ", " }
                    span.word.(tone) { (count) " " (word) }
                }
                "."
            }
            div.sides {
                @for kernel in kernels {
                    @let boots = run.boots.iter().filter(|boot| boot.launch.kernel == *kernel);
                    @let release = boots.clone().find_map(|boot| Some(&boot.guest.as_ref()?.kernel_release));
                    div.side {
                        p.faint.small { "kernel" }
                        p { b { (text_safety::name(kernel)) } }
                        @if let Some(release) = release { p { (text_safety::name(release)) } }
                        p.faint.small { (count(boots.count(), "boot")) ", " (badge(&accels(run, kernel))) }
                        @let detectors = run.kernel(kernel).map(|it| it.detectors.join(", ")).unwrap_or_default();
                        @if !detectors.is_empty() {
                            p.small { "with " (text_safety::name(detectors)) ": its times are worth nothing beside others" }
                        }
                    }
                }
            }
            p.faint.small style="margin-top:.75rem" { (environment::machine(run, &accel.join(" and "))) }
            (notes("Notes", &run.notices))
        }
    }
}

fn shown(counts: Counts) -> Vec<(u64, &'static str, &'static str)> {
    let parts = [
        (counts.fail, "bad", "failed"),
        (counts.error, "bad", "with errors"),
        (counts.flaky, "open", "flaky"),
        (counts.pass, "good", "passed"),
        (counts.skip, "same", "skipped"),
    ];
    parts.into_iter().filter(|(count, _, word)| *count > 0 || *word == "passed").collect()
}

/// The accelerators of a kernel's boots.
fn accels(run: &Run, kernel: &str) -> String {
    let boots = run.boots.iter().filter(|boot| boot.launch.kernel == kernel);
    let mut names: Vec<&str> = boots.map(|boot| boot.launch.accel.name()).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() { "never booted".to_owned() } else { names.join(" and ") }
}

/// Every test with its verdict and its metrics.
fn table(run: &Run, kernel: &str, cases: &[&Case<'_>]) -> Markup {
    html! {
        section.long {
            h2 { "Tests on " (text_safety::name(kernel)) " " (badge(&accels(run, kernel))) }
            div.scroll {
                table.cards {
                    thead {
                        tr {
                            th { "verdict" } th { "test" } th { "metric" } th.number { "median" }
                            th.number { "lowest to highest" } th.number { "of" }
                        }
                    }
                    tbody { @for case in cases.iter().take(ROWS) { (case_rows(run, case)) } }
                }
            }
            (left_out(cases.len(), ROWS, "test"))
        }
    }
}

fn case_rows(run: &Run, case: &Case<'_>) -> Markup {
    let measures = measures(run, case);
    let told = subtests::of_case(case);
    let (tone, sign, word) = troubles::standing(case.standing());
    let said = match &case.worst().verdict {
        Verdict::Skip { reason } => Some(text_safety::title(reason)),
        Verdict::Fail(failure) => Some(text_safety::title(&failure.message)),
        Verdict::Error(trouble) => Some(text_safety::title(&trouble.message)),
        Verdict::Pass { .. } => None,
    };
    html! {
        tr {
            td.all { span.word.(tone) { (sign) " " (word) } }
            th.name scope="row" {
                (text_safety::name(&case.test.id))
                @if let Some(said) = said { span.faint { (said) } }
                @if let Some(counted) = subtests::counted(&told) { (subtests_of(&told, &counted)) }
            }
            @match measures.split_first() {
                Some((first, _)) => (measure(first, &measures)),
                None => { td {} td {} td {} td {} },
            }
        }
        @for more in measures.iter().skip(1) {
            tr.more { td {} td {} (measure(more, &measures)) }
        }
    }
}

/// The cases of a test, folded.
fn subtests_of(told: &[Told<'_>], counted: &str) -> Markup {
    html! {
        details {
            summary { (counted) }
            ul.small {
                @for it in told.iter().take(ROWS) {
                    li {
                        (it.subtest.verdict.word()) " " b { (it.name()) }
                        @let reason = it.reason();
                        @if !reason.is_empty() { span.faint { " " (reason) } }
                        @if let Some(ns) = it.subtest.elapsed_ns {
                            span.faint { ", " (quantity(kregress_wire::Unit::Nanoseconds, ns as f64)) }
                        }
                    }
                }
            }
            (left_out(told.len(), ROWS, "subtests"))
        }
    }
}

fn measure(measure: &Measure<'_>, all: &[Measure<'_>]) -> Markup {
    let [median, spread, over] = measure.texts();
    html! {
        td data-label="metric" {
            (text_safety::name(&measure.metric.name))
            // One accelerator is in the heading; several are told apart.
            @if all.iter().any(|other| other.accel != measure.accel) { " " (badge(measure.accel.name())) }
        }
        td.number data-label="median" { b { (median) } }
        td.number data-label="range" { (spread) }
        td.number data-label="of" { (over) }
    }
}

/// A point for each boot, of every metric, folded.
fn metric_plots(run: &Run, kernel: &str, cases: &[&Case<'_>]) -> Markup {
    let mut figures: Vec<Markup> = Vec::new();
    let mut all = 0;
    for case in cases {
        for measure in measures(run, case) {
            all += 1;
            if figures.len() < PLOTS {
                figures.push(plot(run, case, &measure));
            }
        }
    }
    html! {
        @if all > 0 {
            section.long {
                h2 { "Boot by boot on " (text_safety::name(kernel)) " " (badge(&accels(run, kernel))) }
                details {
                    summary { (count(all, "metric")) ", a point for each boot and a line for their median" }
                    div.plots { @for figure in &figures { (figure) } }
                    (left_out(all, PLOTS, "plot"))
                }
            }
        }
    }
}

fn plot(run: &Run, case: &Case<'_>, measure: &Measure<'_>) -> Markup {
    let values = values(run, case, measure.metric.name.as_str(), measure.accel);
    let name = text_safety::name(&measure.metric.name);
    let [median, _, over] = measure.texts();
    let label = format!("{name}: {median}, {over}");
    let rows = vec![Row { name: "boots", ink: Ink::Base, values }];
    let drawn = Distribution { label, unit: measure.metric.unit, rows, difference: None };
    let unit = drawn.unit();
    html! {
        figure {
            figcaption {
                h3 { (name) @if !unit.is_empty() { span.faint { ", " (unit) } } " " (badge(measure.accel.name())) }
                p.faint { (text_safety::name(&case.test.id)) }
            }
            (plots::distribution(&drawn))
        }
    }
}

/// The median of each boot that passed under this accelerator.
fn values(run: &Run, case: &Case<'_>, metric: &str, accel: Accel) -> Vec<f64> {
    let passed = case.results.iter().filter(|result| matches!(result.verdict, Verdict::Pass { .. }));
    passed
        .filter(|result| result.boot.and_then(|id| run.boot(id)).is_some_and(|it| it.launch.accel == accel))
        .filter_map(|result| median(result.samples.get(metric)?))
        .collect()
}

fn growth(run: &Run, kernel: &str, cases: &[&Case<'_>]) -> Markup {
    // A line through points of several accelerators would mean nothing.
    let accel = accels(run, kernel);
    let families = if accel.contains(" and ") { Vec::new() } else { families::of_cases(cases) };
    html! {
        @if !families.is_empty() {
            section.long {
                h2 { "Time against number on " (text_safety::name(kernel)) " " (badge(&accel)) }
                div.plots.large { @for family in families.iter().take(PLOTS) { (grows(family)) } }
            }
        }
    }
}

fn grows(family: &Family) -> Markup {
    let one = family.parameter.strip_suffix('s').unwrap_or(family.parameter);
    let slope = family.sides.first().and_then(|side| Line::through(side));
    let slope = slope.map_or("not known".to_owned(), |line| quantity(family.metric.unit, line.slope));
    let told = format!("Each {one} more costs {slope}.");
    let unit = plots::unit_of(family);
    html! {
        figure {
            figcaption {
                h3 { (text_safety::name(&family.metric.name)) span.faint { ", " (unit) ", against " (family.parameter) } }
                p.faint { (text_safety::name(&family.name)) }
                p { (told) }
            }
            (plots::growth(family, &[Ink::Base], &told))
        }
    }
}

/// What the run set out to learn and did not.
fn not_measured(cases: &[Case<'_>]) -> Markup {
    let lines = crate::report::unmeasured::of_cases(cases);
    html! {
        section {
            h2 { "What was not measured" }
            @if lines.is_empty() {
                p { "Nothing that was asked for." }
            } @else {
                ul { @for line in lines.iter().take(ROWS) { li { (line) } } }
                (left_out(lines.len(), ROWS, "test"))
            }
        }
    }
}
