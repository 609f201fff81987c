//! The page of a comparison. Pure.

use maud::{Markup, html};

use super::plots::{self, Difference, Distribution, Row};
use super::svg::Ink;
use super::{
    PLOTS, ROWS, badge, breakdown, count, environment as environment_section, left_out, notes, sentence,
    tone, troubles,
};
use crate::analysis::{Comparison, MetricChange, Overall, Rule, Side, TestChange, Weight};
use crate::exec::shell_line;
use crate::report::cases::cases;
use crate::report::compared::{self, Compared, Verdict};
use crate::report::families::{self, Family, Line};
use crate::report::{environment, text_safety};

pub(super) fn page(compared: &Compared<'_>) -> Markup {
    let comparison = compared.comparison;
    let (sign, word) = compared::overall(compared.overall);
    let (base, head) =
        (text_safety::name(&comparison.base.kernel), text_safety::name(&comparison.head.kernel));
    super::page(
        &format!("{sign} {word}: {head} against {base}"),
        &html! {
            (header(compared))
            (changes(compared))
            (changed_plots(compared))
            (growth(compared))
            (breakdown::of_comparison(compared))
            (tests(compared))
            @for run in compared.runs {
                @let kernels: Vec<&str> = sides(comparison).iter().map(|(_, side)| side.kernel.as_str()).collect();
                (troubles::tests(run, &cases(run)))
                (troubles::findings(run, &kernels))
            }
            (other_plots(compared))
            (limits(comparison))
            (environment_section::section(&environment::of_comparison(compared)))
            (repeat(compared))
            (values(compared))
        },
    )
}

fn sides(comparison: &Comparison) -> [(&'static str, &Side); 2] {
    [("base", &comparison.base), ("head", &comparison.head)]
}

/// The verdict in words, what is behind it, and between whom.
fn header(compared: &Compared<'_>) -> Markup {
    let comparison = compared.comparison;
    let (sign, word) = compared::overall(compared.overall);
    let tone = match compared.overall {
        Overall::Regressed | Overall::Failed => "bad",
        Overall::Inconclusive => "open",
        Overall::Improved => "good",
        Overall::Unchanged => "same",
    };
    let run = compared.run_of(&comparison.head);
    let machine = run.map(|run| environment::machine(run, &compared.accel()));
    html! {
        header {
            p.over { "kregress compare, run " (text_safety::name(&comparison.head.run)) }
            h1.verdict.(tone) {
                span.sign aria-hidden="true" { (sign) }
                span { (sentence(word)) }
            }
            p.lead { (sentence(&compared.headline())) "." }
            @if let Some(culprit) = compared.culprit() { p.lead { (culprit) "." } }
            div.sides {
                @for (name, side) in sides(comparison) {
                    div.side.{ "of-" (name) } {
                        p.faint.small { (name) }
                        p { b { (text_safety::name(&side.kernel)) } }
                        @if let Some(release) = &side.release { p { (text_safety::name(release)) } }
                        p.faint.small {
                            (count(side.boots, "boot")) ", "
                            (badge(side.accel.map_or("never booted", crate::model::Accel::name)))
                        }
                    }
                }
            }
            @if let Some(machine) = machine { p.faint.small style="margin-top:.75rem" { (machine) } }
            (notes("These numbers stand under a reservation: the sides differ in more than the kernel.", &comparison.reservations))
        }
    }
}

/// The table of metrics, what matters first.
fn changes(compared: &Compared<'_>) -> Markup {
    let metrics = compared.metrics();
    let (changed, unchanged): (Vec<&MetricChange>, Vec<&MetricChange>) =
        metrics.iter().partition(|it| compared::verdict(&it.change) != Verdict::Unchanged);
    html! {
        section.long {
            h2 { "Metrics " (badge(&compared.accel())) }
            @if metrics.is_empty() {
                p { "No metric was compared." }
            } @else if changed.is_empty() {
                p { "No metric changed." }
            } @else {
                (table(&changed))
            }
            @if !unchanged.is_empty() {
                details open[changed.is_empty()] {
                    summary { (count(unchanged.len(), "unchanged metric")) }
                    (table(&unchanged))
                }
            }
        }
    }
}

fn table(metrics: &[&MetricChange]) -> Markup {
    html! {
        div.scroll {
            table.cards {
                thead {
                    tr {
                        th { "verdict" } th { "metric" } th.number { "base" } th.number { "head" }
                        th.number { "change" } th { "by chance" } th.number { "boots" }
                    }
                }
                tbody { @for metric in metrics.iter().take(ROWS) { (row(metric)) } }
            }
        }
        (left_out(metrics.len(), ROWS, "metric"))
    }
}

fn row(metric: &MetricChange) -> Markup {
    let verdict = compared::verdict(&metric.change);
    let [base, head] = compared::value_texts(metric);
    html! {
        tr {
            td.all {
                span.word.(tone(verdict)) { (verdict.sign()) " " (verdict.word()) }
                @if let Some(why) = compared::why(&metric.change) { span.why { (why) } }
                @if metric.weight == Weight::Informs { span.why { "shown only, decides nothing" } }
            }
            th.name scope="row" {
                b { (text_safety::name(&metric.metric.name)) }
                span.faint { (text_safety::name(&metric.test)) }
            }
            td.number data-label="base" { (base) }
            td.number data-label="head" { (head) }
            td.number data-label="change" {
                b { (compared::effect(metric)) }
                @if let Some(interval) = compared::interval(metric.estimate.as_ref()) { span.why { (interval) } }
            }
            td data-label="by chance" {
                (compared::evidence(metric))
                @if verdict == Verdict::Unchanged || verdict == Verdict::Inconclusive {
                    @if let Some(least) = compared::detectable(metric) {
                        span.why { "would have seen " (compared::change_text(least)) }
                    }
                }
            }
            td.number data-label="boots" { (compared::boots(metric)) }
        }
    }
}

/// Plots of what changed, in sight.
fn changed_plots(compared: &Compared<'_>) -> Markup {
    let mut changed = compared.metrics();
    changed.retain(|it| compared::verdict(&it.change) != Verdict::Unchanged);
    html! {
        @if !changed.is_empty() {
            section.long {
                h2 { "Changed or not known, boot by boot " (badge(&compared.accel())) }
                p.faint.small {
                    "A point is a boot (the median of its samples), a line the median of the boots. Below: where the "
                    "difference lies, out of the picture where it is not known well; the grey range around base does not count."
                }
                div.plots { @for metric in changed.iter().take(PLOTS) { (plot(metric)) } }
                (left_out(changed.len(), PLOTS, "plot"))
            }
        }
    }
}

/// Plots of the rest, folded.
fn other_plots(compared: &Compared<'_>) -> Markup {
    let mut others = compared.metrics();
    others.retain(|it| compared::verdict(&it.change) == Verdict::Unchanged);
    html! {
        @if !others.is_empty() {
            section.long {
                h2 { "Unchanged, boot by boot " (badge(&compared.accel())) }
                details {
                    summary { "Show the plots" }
                    div.plots { @for metric in others.iter().take(PLOTS) { (plot(metric)) } }
                    (left_out(others.len(), PLOTS, "plot"))
                }
            }
        }
    }
}

fn plot(metric: &MetricChange) -> Markup {
    let medians = |boots: &[crate::analysis::BootValue]| boots.iter().map(|it| it.median).collect();
    let row = |name, ink, boots| Row { name, ink, values: medians(boots) };
    let verdict = compared::verdict(&metric.change);
    let name = text_safety::name(&metric.metric.name);
    let [base, head] = compared::value_texts(metric);
    let rows = vec![row("base", Ink::Base, &metric.base), row("head", Ink::Head, &metric.head)];
    let difference = metric.estimate.filter(|_| metric.rule == Rule::Noisy).map(|it| Difference {
        base: it.base,
        change: it.change,
        low: it.low,
        high: it.high,
        floor: metric.floor,
    });
    let label = format!("{name}: base {base}, head {head}, {}", verdict.word());
    let drawn = Distribution { label, unit: metric.metric.unit, rows, difference };
    let unit = drawn.unit();
    html! {
        figure {
            figcaption {
                h3 { (name) @if !unit.is_empty() { span.faint { ", " (unit) } } }
                p.faint { (text_safety::name(&metric.test)) }
                p {
                    span.word.(tone(verdict)) { (verdict.sign()) " " (verdict.word()) }
                    ": " (base) " → " (head) ", " (compared::effect(metric))
                    @if let Some(interval) = compared::interval(metric.estimate.as_ref()) { " (" (interval) ")" }
                }
            }
            (plots::distribution(&drawn))
        }
    }
}

/// Time over a number of namespaces.
fn growth(compared: &Compared<'_>) -> Markup {
    let families = families::of_comparison(compared);
    html! {
        @if !families.is_empty() {
            section.long {
                h2 { "Time against number " (badge(&compared.accel())) }
                p {
                    span.key.of-base { i.dot {} "base" }
                    span.key.of-head { i.dot {} "head" }
                }
                div.plots.large { @for family in families.iter().take(PLOTS) { (grows(family)) } }
            }
        }
    }
}

fn grows(family: &Family) -> Markup {
    let slope = |side: &Vec<families::Point>| match Line::through(side) {
        Some(line) => compared::quantity(family.metric.unit, line.slope),
        None => "not known".to_owned(),
    };
    let slopes: Vec<String> = family.sides.iter().map(slope).collect();
    let one = family.parameter.strip_suffix('s').unwrap_or(family.parameter);
    let told = format!("each {one} more costs {}", slopes.join(" → "));
    let unit = plots::unit_of(family);
    let name = text_safety::name(&family.name);
    html! {
        figure {
            figcaption {
                h3 { (text_safety::name(&family.metric.name)) span.faint { ", " (unit) ", against " (family.parameter) } }
                p.faint { (name) }
                p { (sentence(&told)) "." }
            }
            (plots::growth(family, &[Ink::Base, Ink::Head], &format!("{name}: {told}")))
        }
    }
}

/// Tests whose verdicts differ.
fn tests(compared: &Compared<'_>) -> Markup {
    let changed = compared.changed_tests();
    let same = compared.comparison.tests.len() - changed.len();
    html! {
        section {
            h2 { "Tests" }
            @if !changed.is_empty() {
                div.scroll {
                    table.cards {
                        thead { tr { th { "verdict" } th { "test" } th { "base" } th { "head" } } }
                        tbody { @for test in changed.iter().take(ROWS) { (test_row(test)) } }
                    }
                }
                (left_out(changed.len(), ROWS, "test"))
            }
            p.faint { (count(same, "test")) " with the same verdict on both sides." }
        }
    }
}

fn test_row(test: &TestChange) -> Markup {
    let (sign, word) = compared::class(test.class);
    html! {
        tr {
            td.all { span.word.(tone(compared::grade(test.class))) { (sign) " " (word) } }
            th.name scope="row" {
                b { (text_safety::name(&test.test)) }
                @if let Some(message) = &test.message { span.faint { (text_safety::title(message)) } }
            }
            td data-label="base" { (compared::tries(test.base)) }
            td data-label="head" { (compared::tries(test.head)) }
        }
    }
}

/// What is not known, and by which rules the rest is.
fn limits(comparison: &Comparison) -> Markup {
    html! {
        section {
            h2 { "What was not measured" }
            @if comparison.not_measured.is_empty() {
                p { "Nothing that was asked for." }
            } @else {
                ul { @for line in comparison.not_measured.iter().take(ROWS) { li { (text_safety::body(line)) } } }
                (left_out(comparison.not_measured.len(), ROWS, "sentence"))
            }
            details {
                summary { "How the metrics were judged" }
                ul { @for rule in compared::rules(comparison) { li { (rule) } } }
            }
        }
    }
}

fn repeat(compared: &Compared<'_>) -> Markup {
    html! {
        @if !compared.runs.is_empty() {
            section {
                h2 { "Repeat it" }
                @for run in compared.runs {
                    pre.wrap { (text_safety::verbatim(shell_line(&run.plan.command))) }
                    @if !run.plan.command.iter().any(|word| word.starts_with("--seed")) {
                        p.faint.small { "The seed was " (run.plan.seed) "." }
                    }
                }
            }
        }
    }
}

/// Every boot's value, folded: for those who want to calculate.
fn values(compared: &Compared<'_>) -> Markup {
    let metrics = compared.metrics();
    let list = |boots: &[crate::analysis::BootValue]| {
        let shown = boots.iter().take(ROWS).map(|it| format!("{}", it.median));
        shown.collect::<Vec<_>>().join(" ")
    };
    html! {
        @if !metrics.is_empty() {
            section.long {
                h2 { "Values " (badge(&compared.accel())) }
                details {
                    summary { "Medians of the boots, in the metric's unit" }
                    div.scroll {
                        table.facts {
                            thead { tr { th { "metric" } th { "unit" } th { "base" } th { "head" } } }
                            tbody {
                                @for metric in metrics.iter().take(ROWS / 4) {
                                    tr {
                                        th scope="row" { (text_safety::name(&metric.test)) " " (text_safety::name(&metric.metric.name)) }
                                        td { (metric.metric.unit.symbol()) }
                                        td.mono { (list(&metric.base)) }
                                        td.mono { (list(&metric.head)) }
                                    }
                                }
                            }
                        }
                    }
                    (left_out(metrics.len(), ROWS / 4, "metric"))
                }
            }
        }
    }
}
