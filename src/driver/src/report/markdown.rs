//! `--format markdown`: for a pull request. Pure.
//!
//! Text of guests, kernels and users stands in code only, as a span or a
//! fenced block: there, GitHub and its like make nothing of tags, `@names`,
//! `#123` or emphasis. GitHub refuses comments of more than 65536 characters,
//! so parts that do not fit are left out whole, and named.

use super::cases::{Case, cases, measures, verdict_text};
use super::compared::{self, Compared, Verdict};
use super::environment::{self, Environment};
use super::families::{self, Line};
use super::{quantity, repeat, subtests, text, text_safety, unmeasured};
use crate::analysis::{BreakdownChange, MetricChange, Overall, Weight};
use crate::exec::shell_line;
use crate::results::format::Run;
use crate::results::{Counts, Standing};

/// Most characters of a report; below GitHub's limit, for whoever puts a line
/// of their own above it.
const LIMIT: usize = 60_000;
/// Characters kept back for saying what was left out.
const RESERVE: usize = 1_000;
/// Rows of a table.
const ROWS: usize = 100;
/// Tests that are told in full.
const TESTS: usize = 20;
/// Lines of a log.
const LOG_LINES: usize = 12;
/// Functions of a breakdown.
const FUNCTIONS: usize = 12;

/// The report of a comparison.
#[must_use]
pub fn of_comparison(compared: &Compared<'_>) -> String {
    let comparison = compared.comparison;
    let (_, word) = compared::overall(compared.overall);
    let kernel = |side: &crate::analysis::Side| {
        let release = side.release.as_ref().map(|it| format!(" {}", code(it))).unwrap_or_default();
        format!("{}{release}", code(&side.kernel))
    };
    let mut head = format!("## {} {word}\n\n{}.\n\n", sign(compared.overall), sentence(&compared.headline()));
    if let Some(culprit) = compared.culprit() {
        head.push_str(&format!("{}\n\n", code(&culprit)));
    }
    let machine = match compared.run_of(&comparison.head) {
        Some(run) => environment::machine(run, &compared.accel()),
        None => compared.accel(),
    };
    head.push_str(&format!(
        "Base {}, {} boots. Head {}, {} boots. On {}.\n",
        kernel(&comparison.base),
        comparison.base.boots,
        kernel(&comparison.head),
        comparison.head.boots,
        code(machine)
    ));
    let mut out = Parts::new(head);
    out.add(
        "reservations",
        list("**Under reservation**, the sides differ in more than the kernel:", &comparison.reservations),
    );
    let metrics = compared.metrics();
    let (changed, unchanged): (Vec<&MetricChange>, Vec<&MetricChange>) =
        metrics.iter().partition(|it| compared::verdict(&it.change) != Verdict::Unchanged);
    out.add("table of metrics", table(&changed, &compared.accel()));
    out.add("tests", tests(compared));
    out.add("not measured", not_measured(&comparison.not_measured));
    out.add("slopes", slopes(compared));
    for breakdown in &comparison.breakdowns {
        out.add(
            "breakdown",
            folded("Where teardown spends its time", &breakdown_table(breakdown, &compared.accel())),
        );
    }
    if !unchanged.is_empty() {
        let title = format!("{} unchanged metrics", unchanged.len());
        out.add("unchanged metrics", folded(&title, &table(&unchanged, &compared.accel())));
    }
    for run in compared.runs {
        out.add("failures", failures(run, &cases(run)));
    }
    let commands: String = compared.runs.iter().map(|run| fence(&shell_line(&run.plan.command))).collect();
    out.add("commands", section("To repeat it", &commands));
    out.add("rules", folded("How the metrics were judged", &list("", &compared::rules(comparison))));
    out.add("environment", environment_part(&environment::of_comparison(compared)));
    out.finish()
}

/// The report of a run.
#[must_use]
pub fn of_run(run: &Run) -> String {
    let cases = cases(run);
    let mut counts = Counts::default();
    cases.iter().for_each(|case| counts.add(case.standing()));
    let word = text::run_word(run);
    let sign = match word {
        "passed" => '✓',
        "failed" => '✗',
        _ => '?',
    };
    let mut out =
        Parts::new(format!("## {sign} {}\n\n{}.\n", sentence(word), sentence(&text::counted(counts))));
    out.add("notes", list("", &run.notices));
    out.add("failures", failures(run, &cases));
    out.add("not measured", not_measured(&unmeasured::of_cases(&cases)));
    let mut kernels: Vec<&String> = Vec::new();
    for kernel in &run.plan.kernels {
        if !kernels.contains(&kernel) {
            kernels.push(kernel);
            let of_kernel: Vec<&Case<'_>> = cases.iter().filter(|case| case.kernel == kernel).collect();
            out.add("table of tests", run_table(run, kernel, &of_kernel));
        }
    }
    out.add("commands", section("To repeat it", &fence(&shell_line(&run.plan.command))));
    out.add("environment", environment_part(&environment::of_run(run)));
    out.finish()
}

fn sign(overall: Overall) -> char {
    compared::overall(overall).0
}

/// Parts of a report up to its limit.
pub(super) struct Parts {
    text: String,
    characters: usize,
    left_out: Vec<&'static str>,
}

impl Parts {
    pub(super) fn new(head: String) -> Self {
        let characters = head.chars().count();
        Self { text: head, characters, left_out: Vec::new() }
    }

    /// The part, if there is room for it.
    pub(super) fn add(&mut self, name: &'static str, part: String) {
        if part.is_empty() {
            return;
        }
        let characters = part.chars().count() + 1;
        if self.characters + characters > LIMIT - RESERVE {
            if !self.left_out.contains(&name) {
                self.left_out.push(name);
            }
            return;
        }
        self.characters += characters;
        self.text.push('\n');
        self.text.push_str(&part);
    }

    pub(super) fn finish(mut self) -> String {
        if !self.left_out.is_empty() {
            self.text.push_str(&format!(
                "\nLeft out, for it does not fit into a comment: {}. `--format html` has it.\n",
                self.left_out.join(", ")
            ));
        }
        self.text
    }
}

fn table(metrics: &[&MetricChange], accel: &str) -> String {
    if metrics.is_empty() {
        return "No metric changed.\n".to_owned();
    }
    let mut out = format!(
        "| {} | metric | base | head | change | by chance | boots |\n|---|---|--:|--:|--:|---|--:|\n",
        code(accel)
    );
    for metric in metrics.iter().take(ROWS) {
        let verdict = compared::verdict(&metric.change);
        let why = compared::why(&metric.change).map(|why| format!(", {}", code(why))).unwrap_or_default();
        let weight = if metric.weight == Weight::Informs { ", shown only" } else { "" };
        let [base, head] = compared::value_texts(metric);
        let interval = compared::interval(metric.estimate.as_ref());
        let interval = interval.map(|it| format!(" ({it})")).unwrap_or_default();
        let cells = [
            format!("{} {}{why}{weight}", verdict.sign(), verdict.word()),
            format!("{} {}", code(&metric.test), code(&metric.metric.name)),
            base,
            head,
            format!("{}{interval}", compared::effect(metric)),
            compared::evidence(metric),
            compared::boots(metric),
        ];
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out.push_str(&more(metrics.len(), ROWS, "metric"));
    out
}

fn tests(compared: &Compared<'_>) -> String {
    let tests = compared.changed_tests();
    if tests.is_empty() {
        return String::new();
    }
    let mut out = "| tests | | base | head | |\n|---|---|---|---|---|\n".to_owned();
    for test in tests.iter().take(ROWS) {
        let (sign, word) = compared::class(test.class);
        let message = test.message.as_ref().map(|it| code(text_safety::title(it))).unwrap_or_default();
        out.push_str(&format!(
            "| {sign} {word} | {} | {} | {} | {message} |\n",
            code(&test.test),
            compared::tries(test.base),
            compared::tries(test.head)
        ));
    }
    out.push_str(&more(tests.len(), ROWS, "test"));
    out
}

fn slopes(compared: &Compared<'_>) -> String {
    let families = families::of_comparison(compared);
    let line = |family: &families::Family| {
        let slope = |side: &Vec<families::Point>| {
            Line::through(side)
                .map_or_else(|| "not known".to_owned(), |it| compared::quantity(family.metric.unit, it.slope))
        };
        let slopes: Vec<String> = family.sides.iter().map(slope).collect();
        let one = family.parameter.strip_suffix('s').unwrap_or(family.parameter);
        format!(
            "{}: each {one} more costs {} ({}).\n\n",
            code(&family.name),
            slopes.join(" → "),
            compared.accel()
        )
    };
    families.iter().take(ROWS).map(line).collect()
}

fn breakdown_table(breakdown: &BreakdownChange, accel: &str) -> String {
    let time = |share: Option<crate::analysis::Share>| {
        share.map_or_else(
            || "not called".to_owned(),
            |it| compared::quantity(kregress_wire::Unit::Nanoseconds, it.ns),
        )
    };
    let part = |share: Option<crate::analysis::Share>, of: fn(&crate::analysis::Share) -> f64| match share {
        Some(it) if it.ns > 0.0 && of(&it) > 0.0 => format!("{:.0} %", of(&it) / it.ns * 100.0),
        _ => String::new(),
    };
    let mut out = format!(
        "{}, {}, time for each namespace that died, with the tracer\n\n\
         | function | base | head | RCU wait on head | RTNL wait on head |\n|---|--:|--:|--:|--:|\n",
        code(&breakdown.test),
        code(accel)
    );
    for function in breakdown.functions.iter().take(FUNCTIONS) {
        out.push_str(&format!(
            "| {} | {} | {} | {} | {} |\n",
            code(&function.function),
            time(function.base),
            time(function.head),
            part(function.head, |it| it.rcu_ns),
            part(function.head, |it| it.rtnl_ns)
        ));
    }
    out.push_str(&more(breakdown.functions.len(), FUNCTIONS, "function"));
    out
}

fn run_table(run: &Run, kernel: &str, cases: &[&Case<'_>]) -> String {
    let mut out = format!(
        "| | test on {} | metric | median | lowest to highest | of |\n|---|---|---|--:|--:|--:|\n",
        code(kernel)
    );
    for case in cases.iter().take(ROWS) {
        let parts = subtests::counted(&subtests::of_case(case)).map(|text| format!(", {text}"));
        let start =
            format!("| {} | {}{}", case.standing().word(), code(&case.test.id), parts.unwrap_or_default());
        let measures = measures(run, case);
        if measures.is_empty() {
            out.push_str(&format!("{start} | | | | |\n"));
        }
        for (at, measure) in measures.iter().enumerate() {
            let [median, spread, over] = measure.texts();
            let start = if at == 0 { start.as_str() } else { "| | " };
            out.push_str(&format!(
                "{start} | {} ({}) | {median} | {spread} | {over} |\n",
                code(&measure.metric.name),
                measure.accel
            ));
        }
    }
    out.push_str(&more(cases.len(), ROWS, "test"));
    out
}

/// Tests that did not pass, folded, each with its evidence and its command.
fn failures(run: &Run, cases: &[Case<'_>]) -> String {
    let wrong: Vec<&Case<'_>> = cases
        .iter()
        .filter(|case| matches!(case.standing(), Standing::Fail | Standing::Error | Standing::Flaky))
        .collect();
    let mut out = String::new();
    for case in wrong.iter().take(TESTS) {
        let result = case.worst();
        let (kind, message) = verdict_text(&result.verdict);
        let boots = case.boots().map(|boots| format!(", {boots}")).unwrap_or_default();
        let mut body = format!(
            "{} on {}: {kind}{boots}\n\n{}",
            code(&case.test.id),
            code(case.kernel),
            fence(&text_safety::body(message))
        );
        body.push_str(&subtests_part(case));
        for finding in result.findings.iter().take(TESTS) {
            let trace = finding.trace();
            let trace: Vec<String> = trace.iter().take(LOG_LINES).map(text_safety::title).collect();
            let lines = format!("{}\n  {}", text_safety::title(&finding.title), trace.join("\n  "));
            body.push_str(&fence(&lines));
        }
        for evidence in &result.evidence {
            body.push_str(&format!(
                "- {}: {}\n",
                evidence.source.name(),
                code(text_safety::title(&evidence.text))
            ));
        }
        let log = text_safety::last_lines(&result.log, LOG_LINES);
        if !log.is_empty() {
            body.push('\n');
            body.push_str(&fence(&log.join("\n")));
        }
        body.push_str(&fence(&repeat::line(run, result)));
        let word = case.standing().word();
        out.push_str(&folded(&format!("{word}: {kind}, test {}", position(&case.test.id, run)), &body));
    }
    out.push_str(&more(wrong.len(), TESTS, "tests that did not pass"));
    out
}

/// The cases of a test that went wrong, each with what was printed before it.
fn subtests_part(case: &Case<'_>) -> String {
    let told = subtests::of_case(case);
    let wrong = subtests::wrong(&told);
    let mut out = String::new();
    for it in wrong.iter().take(TESTS) {
        let reason = it.reason();
        let reason = if reason.is_empty() { reason } else { format!(", {}", code(reason)) };
        out.push_str(&format!("- {}: {}{reason}\n", it.subtest.verdict.word(), code(it.name())));
        let lines = text_safety::last_lines(&it.subtest.diagnostics, LOG_LINES);
        if !lines.is_empty() {
            out.push_str(&format!("\n{}\n", fence(&lines.join("\n"))));
        }
    }
    out.push_str(&more(wrong.len(), TESTS, "subtests"));
    if out.is_empty() { out } else { out + "\n" }
}

/// Which test of the plan it is: a summary is no code, so the name stands below.
fn position(test: &str, run: &Run) -> String {
    let at = run.plan.tests.iter().position(|it| it.id == test).map_or(0, |at| at + 1);
    // A name of nothing but harmless signs can stand for itself.
    let harmless = |c: char| c.is_ascii_alphanumeric() || "/-=,[].".contains(c);
    if test.len() <= 120 && test.chars().all(harmless) && !test.contains("](") {
        test.to_owned()
    } else {
        format!("{at} of the plan")
    }
}

fn not_measured(sentences: &[String]) -> String {
    if sentences.is_empty() {
        return "Not measured: nothing that was asked for.\n".to_owned();
    }
    list("**Not measured:**", sentences)
}

fn environment_part(environment: &Environment) -> String {
    if environment.columns.is_empty() {
        return String::new();
    }
    let mut body = String::new();
    let columns: String = environment.columns.iter().map(|it| format!(" {} |", code(it))).collect();
    body.push_str(&format!("| |{columns}\n|---|{}\n", "---|".repeat(environment.columns.len())));
    for group in &environment.groups {
        for row in group.rows.iter().take(ROWS) {
            let values = row.values.iter().map(|it| it.as_deref().map(code).unwrap_or_default());
            body.push_str(&format!(
                "| {} {} | {} |\n",
                group.name,
                code(&row.name),
                values.collect::<Vec<_>>().join(" | ")
            ));
        }
    }
    folded("Environment", &body)
}

pub(super) fn section(title: &str, body: &str) -> String {
    if body.is_empty() { String::new() } else { format!("{title}:\n\n{body}") }
}

/// Folded away; the title is ours.
pub(super) fn folded(title: &str, body: &str) -> String {
    format!("<details><summary>{title}</summary>\n\n{body}\n</details>\n")
}

pub(super) fn list(title: &str, lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let items: String =
        lines.iter().take(ROWS).map(|line| format!("- {}\n", code(text_safety::title(line)))).collect();
    let title = if title.is_empty() { String::new() } else { format!("{title}\n\n") };
    format!("{title}{items}{}", more(lines.len(), ROWS, "line"))
}

pub(super) fn more(all: usize, shown: usize, one: &str) -> String {
    if all > shown { format!("\n... and {}\n", quantity::more(all, shown, one)) } else { String::new() }
}

/// One line as a code span, also within a table.
pub(super) fn code(text: impl AsRef<str>) -> String {
    // A backslash before a bar would undo the bar's own.
    let text = text_safety::name(text.as_ref()).replace("\\|", "\\ |").replace('|', "\\|");
    if text.is_empty() {
        return String::new();
    }
    let ticks = "`".repeat(longest_run(&text) + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{space}{text}{space}{ticks}")
}

/// Several lines as they are.
pub(super) fn fence(text: &str) -> String {
    let text = text_safety::body(text);
    let ticks = "`".repeat((longest_run(&text) + 1).max(3));
    format!("{ticks}text\n{}\n{ticks}\n", text.trim_end())
}

/// Backticks that stand together.
fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
#[path = "markdown_tests.rs"]
pub(super) mod tests;
