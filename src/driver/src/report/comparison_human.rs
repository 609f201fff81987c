//! A comparison as text: what stands at the end of `kregress compare`.
//!
//! The verdict first, then every metric by test, the tests whose verdicts
//! changed, where the time went, and what the numbers do not say. Made for 80
//! columns.

use std::io::{self, Write};

use super::compared::{self, what_grew};
use super::human::write_wrapped;
use super::look::{FAINT, HEADING, Look, verdict_style};
use super::quantity::{self, Scale, count};
use super::{columns, text_safety};
use crate::analysis::{
    BootValue, BreakdownChange, Change, Comparison, MetricChange, Overall, Rule, Share, Side, TestChange,
    TestClass, Tries, Undecided, Weight,
};
use crate::exec::shell_line;
use crate::results::JUNIT_FILE;
use crate::results::format::{Run, State};

/// Functions of a breakdown that are shown.
const FUNCTIONS: usize = 6;
/// Columns that the name of a metric has at least.
const NAME: usize = 12;

/// Writes a comparison, with the run that it was made of if it was made of one.
///
/// # Errors
///
/// Fails when `out` does.
pub fn write(comparison: &Comparison, run: Option<&Run>, look: Look, out: &mut dyn Write) -> io::Result<()> {
    write_verdict(comparison, run, look, out)?;
    for (name, side) in [("base", &comparison.base), ("head", &comparison.head)] {
        writeln!(out, "{}", columns::fit(&format!("{name}  {}", side_text(side)), look.width))?;
    }
    write_metrics(comparison, look, out)?;
    write_tests(comparison, look, out)?;
    for breakdown in &comparison.breakdowns {
        write_breakdown(breakdown, look, out)?;
    }
    writeln!(out)?;
    for reservation in &comparison.reservations {
        write_wrapped("reservation: ", &text_safety::body(reservation), look, out)?;
    }
    for sentence in &comparison.not_measured {
        write_wrapped("not measured: ", &text_safety::body(sentence), look, out)?;
    }
    write_detectable(comparison, look, out)?;
    write_end(comparison, run, look, out)
}

fn write_verdict(
    comparison: &Comparison,
    run: Option<&Run>,
    look: Look,
    out: &mut dyn Write,
) -> io::Result<()> {
    let overall = comparison.overall();
    let style = match overall {
        Overall::Regressed => verdict_style("fail"),
        Overall::Failed => verdict_style("error"),
        Overall::Inconclusive => verdict_style("skip"),
        Overall::Improved | Overall::Unchanged => verdict_style("pass"),
    };
    let text = format!("{}: {}", overall.name().to_uppercase(), summary(comparison));
    for (at, line) in columns::wrap(&text, look.width).into_iter().enumerate() {
        writeln!(out, "{}", if at == 0 { look.paint(style, line) } else { line })?;
    }
    let state = match run.map(|run| run.state) {
        Some(State::Running) => "the run still goes on; this is what is known so far",
        Some(State::Unfinished) => "the run did not come to its end; this is what is known of it",
        Some(State::Interrupted) => "the run was interrupted; this is what is known of it",
        Some(State::Finished) | None => return Ok(()),
    };
    writeln!(out, "warning: {state}")
}

/// What the verdict is made of, in words.
fn summary(comparison: &Comparison) -> String {
    let gating: Vec<&MetricChange> =
        comparison.metrics.iter().filter(|metric| metric.weight == Weight::Gates).collect();
    let metrics = |wanted: fn(&Change) -> bool| gating.iter().filter(|it| wanted(&it.change)).count();
    let tests =
        |wanted: &[TestClass]| comparison.tests.iter().filter(|it| wanted.contains(&it.class)).count();
    let parts = [
        (metrics(|it| *it == Change::Regressed), "metric", "regressed"),
        (tests(&[TestClass::NewFailure]), "test", "newly failing"),
        (tests(&[TestClass::WorseFlaky]), "test", "failing more often"),
        (metrics(is_open), "metric", "without a verdict"),
        (metrics(has_no_value), "metric", "without a value"),
        (tests(&[TestClass::Suspect]), "test", "under suspicion"),
        (tests(&[TestClass::NotComparable]), "test", "not comparable"),
        (metrics(|it| *it == Change::Improved), "metric", "improved"),
        (tests(&[TestClass::Fixed]), "test", "fixed"),
        (metrics(|it| *it == Change::Unchanged), "metric", "unchanged"),
    ];
    let text = |(count, noun, what): (usize, &str, &str)| {
        let plural = if count == 1 { "" } else { "s" };
        (count > 0).then(|| format!("{count} {noun}{plural} {what}"))
    };
    let parts: Vec<String> = parts.into_iter().filter_map(text).collect();
    if parts.is_empty() {
        let same = tests(&[TestClass::Same]);
        return format!("{same} tests with the same verdict, no number to judge by");
    }
    parts.join(", ")
}

fn has_no_value(change: &Change) -> bool {
    matches!(change, Change::Inconclusive(Undecided::NoValue { .. }))
}

fn is_open(change: &Change) -> bool {
    matches!(change, Change::Inconclusive(_)) && !has_no_value(change)
}

fn side_text(side: &Side) -> String {
    let mut parts = vec![text_safety::name(&side.kernel)];
    parts.extend(side.release.as_ref().map(text_safety::name));
    parts.extend(side.accel.map(|accel| accel.to_string()));
    parts.push(match side.boots {
        0 => "never booted".to_owned(),
        1 => "1 boot".to_owned(),
        boots => format!("{boots} boots"),
    });
    parts.push(format!("run {}", text_safety::name(&side.run)));
    parts.join(", ")
}

/// Cells of a metric: name, base, head, change with interval, p, boots, verdict.
fn cells(metric: &MetricChange) -> [String; 7] {
    let typical = metric.estimate.map(|it| it.base).or(metric.base.first().map(|boot| boot.median));
    let typical = typical.or(metric.head.first().map(|boot| boot.median)).unwrap_or(0.0);
    let scale = Scale::of(metric.metric.unit, typical);
    let value = |estimate: Option<f64>, boots: &[BootValue]| estimate.or(boots.first().map(|it| it.median));
    let base = value(metric.estimate.map(|it| it.base), &metric.base);
    let head = value(metric.estimate.map(|it| it.head), &metric.head);
    // The unit stands once, behind the last of them.
    let base = match (base, head) {
        (None, _) => "-".to_owned(),
        (Some(base), Some(_)) => scale.number(base),
        (Some(base), None) => scale.quantity(base),
    };
    let change = match metric.estimate {
        None => String::new(),
        Some(it) if it.low == it.high => percent(it.change),
        Some(it) if is_factor(it.change) => {
            format!("{} ({:.1}..{:.1})", percent(it.change), it.low + 1.0, it.high + 1.0)
        }
        Some(it) => format!("{} ({}..{})", percent(it.change), number(it.low), number(it.high)),
    };
    let boots = match (metric.base.len(), metric.head.len()) {
        (base, head) if base == head => base.to_string(),
        (base, head) => format!("{base}/{head}"),
    };
    let verdict = match &metric.change {
        Change::Regressed => "REGRESSED",
        Change::Improved => "improved",
        Change::Unchanged => "unchanged",
        Change::Inconclusive(Undecided::NoValue { .. }) => "no value",
        Change::Inconclusive(_) => "unknown",
    };
    let verdict = match metric.weight {
        Weight::Gates => verdict.to_owned(),
        Weight::Informs => format!("({})", verdict.to_lowercase()),
    };
    [
        text_safety::name(&metric.metric.name),
        base,
        head.map_or("-".to_owned(), |head| scale.quantity(head)),
        change,
        chance(metric),
        boots,
        verdict,
    ]
}

/// `+4.2 %`; as a factor where it is more than tenfold.
pub(super) fn percent(change: f64) -> String {
    if is_factor(change) { format!("x {:.1}", change + 1.0) } else { format!("{} %", number(change)) }
}

pub(super) fn is_factor(change: f64) -> bool {
    change >= 9.0
}

/// A share in hundredths with its sign.
pub(super) fn number(change: f64) -> String {
    let hundredths = change * 100.0;
    // No minus before a zero.
    let rounded = (hundredths * 10.0).round() / 10.0 + 0.0;
    if rounded.abs() < 10.0 { format!("{rounded:+.1}") } else { format!("{hundredths:+.0}") }
}

/// How probable such a difference is without a cause, in words.
fn chance(metric: &MetricChange) -> String {
    match (metric.rule, metric.p_holm.or(metric.p)) {
        (Rule::Exact, _) => "exact".to_owned(),
        (Rule::Noisy, None) => String::new(),
        (Rule::Noisy, Some(p)) if p < 0.001 => "p<.001".to_owned(),
        (Rule::Noisy, Some(p)) if p < 0.01 => format!("p={p:.3}").replace("0.", "."),
        (Rule::Noisy, Some(p)) => format!("p={p:.2}").replace("0.", "."),
    }
}

fn write_metrics(comparison: &Comparison, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let heading =
        ["metric", "base", "head", "change (95 %)", "chance", "boots", "verdict"].map(str::to_owned);
    let rows: Vec<(&MetricChange, [String; 7])> =
        comparison.metrics.iter().map(|metric| (metric, cells(metric))).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut widths = [0; 7];
    for row in rows.iter().map(|(_, row)| row).chain([&heading]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns::width(cell).max(*width);
        }
    }
    // Numbers are not cut; names give way, but not below what tells them apart.
    let others: usize = widths[1..].iter().map(|width| width + 2).sum();
    widths[0] = widths[0].min(look.width.saturating_sub(2 + others).max(NAME));
    let line = |cells: &[String; 7]| {
        let [name, base, head, change, chance, boots, verdict] = cells;
        let cells = [
            columns::left(name, widths[0]),
            columns::right(base, widths[1]),
            columns::right(head, widths[2]),
            columns::left(change, widths[3]),
            columns::left(chance, widths[4]),
            columns::right(boots, widths[5]),
            verdict.clone(),
        ];
        columns::fit(&format!("  {}", cells.join("  ").trim_end()), look.width)
    };
    writeln!(out)?;
    writeln!(out, "{}", look.paint(FAINT, line(&heading)))?;
    let mut test = "";
    for (metric, row) in &rows {
        if metric.test != test {
            test = &metric.test;
            writeln!(out, "{}", look.paint(HEADING, columns::fit(&text_safety::name(test), look.width)))?;
        }
        let text = line(row);
        let text = match (&metric.change, metric.weight) {
            (Change::Regressed, Weight::Gates) => look.paint(verdict_style("fail"), text),
            (Change::Improved, Weight::Gates) => look.paint(verdict_style("pass"), text),
            (Change::Unchanged, _) | (_, Weight::Informs) => text,
            (Change::Inconclusive(_), Weight::Gates) => look.paint(verdict_style("skip"), text),
        };
        writeln!(out, "{text}")?;
        if let Change::Inconclusive(Undecided::NeedsBoots(more)) = metric.change
            && metric.weight == Weight::Gates
        {
            writeln!(out, "    about {more} more boots a side would tell")?;
        }
    }
    Ok(())
}

fn write_tests(comparison: &Comparison, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let told: Vec<&TestChange> =
        comparison.tests.iter().filter(|test| test.class != TestClass::Same).collect();
    if told.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    for test in told {
        let (word, style) = match test.class {
            TestClass::NewFailure => ("NEW FAILURE", "fail"),
            TestClass::WorseFlaky => ("FAILS MORE OFTEN", "fail"),
            TestClass::Fixed => ("fixed", "pass"),
            TestClass::KnownOnBase => ("fails on base too", "skip"),
            TestClass::Suspect => ("under suspicion", "skip"),
            TestClass::NotComparable => ("not comparable", "error"),
            TestClass::Same => ("same", "pass"),
        };
        let test_name = columns::fit(&text_safety::name(&test.test), look.width.saturating_sub(20));
        writeln!(out, "{}  {test_name}", look.paint(verdict_style(style), word))?;
        let counts = format!("base: {}; head: {}", tries(test.base), tries(test.head));
        writeln!(out, "  {}", columns::fit(&counts, look.width.saturating_sub(2)))?;
        if let Some(message) = &test.message {
            for line in columns::wrap(&text_safety::title(message), look.width.saturating_sub(2)) {
                writeln!(out, "  {}", columns::fit(&line, look.width.saturating_sub(2)))?;
            }
        }
    }
    Ok(())
}

fn tries(tries: Tries) -> String {
    let parts = [
        (tries.passed, "passed"),
        (tries.failed, "failed"),
        (tries.skipped, "skipped"),
        (tries.errors, "with errors"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if parts.is_empty() { "never run".to_owned() } else { parts.join(", ") }
}

fn write_breakdown(change: &BreakdownChange, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let time = |ns: f64| Scale::of(kregress_wire::Unit::Nanoseconds, ns).quantity(ns);
    writeln!(out)?;
    let head = format!(
        "{}: a round took {} on base, {} on head, traced",
        text_safety::name(&change.test),
        time(change.base_round_ns),
        time(change.head_round_ns)
    );
    writeln!(out, "{}", look.paint(HEADING, columns::fit(&head, look.width)))?;
    let mut rows =
        vec![["for each namespace", "base", "head", "more", "of it RCU", "RTNL"].map(str::to_owned)];
    for function in change.functions.iter().take(FUNCTIONS) {
        let part = |part: fn(&Share) -> f64| {
            let of = |share: &Option<Share>| share.as_ref().map_or(0.0, part);
            of(&function.head) - of(&function.base)
        };
        let side = |share: &Option<Share>| share.as_ref().map_or("-".to_owned(), |share| time(share.ns));
        rows.push([
            text_safety::name(&function.function),
            side(&function.base),
            side(&function.head),
            signed(part(|share| share.ns)),
            signed(part(|share| share.rcu_ns)),
            signed(part(|share| share.rtnl_ns)),
        ]);
    }
    let mut widths = [0; 6];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = columns::width(cell).max(*width);
        }
    }
    let others: usize = widths[1..].iter().map(|width| width + 2).sum();
    widths[0] = widths[0].min(look.width.saturating_sub(2 + others).max(NAME));
    for (at, row) in rows.iter().enumerate() {
        let [name, numbers @ ..] = row;
        let mut cells = vec![columns::left(name, widths[0])];
        cells.extend(numbers.iter().zip(&widths[1..]).map(|(cell, width)| columns::right(cell, *width)));
        let line = columns::fit(&format!("  {}", cells.join("  ").trim_end()), look.width);
        writeln!(out, "{}", if at == 0 { look.paint(FAINT, line) } else { line })?;
    }
    write_culprit(change, look, out)
}

/// The function that makes most of the difference that is certain, in a sentence.
fn write_culprit(change: &BreakdownChange, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let Some(text) = what_grew(change) else { return Ok(()) };
    for line in columns::wrap(&text, look.width.saturating_sub(2)) {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn signed(ns: f64) -> String {
    let scale = Scale::of(kregress_wire::Unit::Nanoseconds, ns);
    let sign = if ns > 0.0 { "+" } else { "" };
    if ns == 0.0 { String::new() } else { format!("{sign}{}", scale.quantity(ns)) }
}

/// The smallest effect that could have been seen, of the metrics that gate.
fn write_detectable(comparison: &Comparison, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let gates = |metric: &&MetricChange| metric.weight == Weight::Gates && metric.detectable.is_some();
    let gating: Vec<&MetricChange> = comparison.metrics.iter().filter(gates).collect();
    let seen: Vec<f64> = gating.iter().filter_map(|metric| compared::detectable(metric)).collect();
    let unsigned = |share: f64| number(share).trim_start_matches('+').to_owned();
    let ends = seen.iter().copied().reduce(f64::min).zip(seen.iter().copied().reduce(f64::max));
    let range = ends.map(|(low, high)| match (unsigned(low), unsigned(high)) {
        (low, high) if low == high => format!("{low} % or more"),
        (low, high) => format!("{low} to {high} % or more, depending on the metric"),
    });
    let beyond = format!("only a change beyond {}", percent(compared::TELLING));
    let text = match (range, gating.len() - seen.len()) {
        (None, 0) => return Ok(()),
        (None, _) => beyond,
        (Some(range), 0) => range,
        (Some(range), blind) => format!("{range}; of {} {beyond}", count(blind, "metric")),
    };
    write_wrapped("could be seen: ", &text, look, out)
}

fn write_end(comparison: &Comparison, run: Option<&Run>, look: Look, out: &mut dyn Write) -> io::Result<()> {
    let Some(run) = run else {
        let hint = (comparison.overall() == Overall::Inconclusive)
            .then_some("compare the kernels themselves for more boots: kregress compare BASE HEAD");
        return hint.map_or(Ok(()), |hint| write_wrapped("next: ", hint, look, out));
    };
    writeln!(out, "{} boots, in {}", run.boots.len(), quantity::seconds(run.elapsed_ms))?;
    let directory = text_safety::verbatim(run.plan.directory.to_string_lossy().as_bytes());
    writeln!(out, "results: {directory}")?;
    if run.state == State::Finished || run.state == State::Interrupted {
        let junit = run.plan.directory.join(JUNIT_FILE);
        writeln!(out, "junit:   {}", text_safety::verbatim(junit.to_string_lossy().as_bytes()))?;
    }
    let command = text_safety::verbatim(shell_line(&run.plan.command).as_bytes());
    writeln!(out, "repeat:  {command}")
}

#[cfg(test)]
#[path = "comparison_human_tests.rs"]
mod tests;
