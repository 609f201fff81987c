//! `--format text`: for a commit message or a cover letter. Plain ASCII, for
//! mail goes through programs that know nothing else; at most 72 columns, for
//! `git log` indents. Pure.

use super::cases::{Case, cases, measures};
use super::compared::{self, Compared, Verdict};
use super::families::{self, Family, Line};
use super::{columns, environment, quantity, text_safety, unmeasured};
use crate::analysis::{MetricChange, Rule, TestClass};
use crate::exec::shell_line;
use crate::results::format::{Run, State};
use crate::results::{Counts, Standing, Summary};

/// Columns of a line.
pub(super) const WIDTH: usize = 72;
/// Metrics of a verdict, and tests, that are listed. A commit message of more
/// is read by nobody.
const ROWS: usize = 40;
/// Sentences on what was not measured.
const NOTES: usize = 8;
/// Columns of a label in front of what it names.
const LABEL: usize = 6;

/// The report of a comparison.
#[must_use]
pub fn of_comparison(compared: &Compared<'_>) -> String {
    let comparison = compared.comparison;
    let mut out = Lines::default();
    let (_, word) = compared::overall(compared.overall);
    out.wrapped("", &format!("kregress: {word}: {}", compared.headline()));
    out.blank();
    for (label, side) in [("base", &comparison.base), ("head", &comparison.head)] {
        let boots = match side.boots {
            1 => "1 boot".to_owned(),
            boots => format!("{boots} boots"),
        };
        let kernel = environment::kernel(&side.kernel, side.release.as_deref());
        out.wrapped(label, &format!("{kernel}, {boots}"));
    }
    match compared.run_of(&comparison.head) {
        Some(run) => out.wrapped("on", &environment::machine(run, &compared.accel())),
        None => out.wrapped("on", &compared.accel()),
    }
    for reservation in comparison.reservations.iter().take(NOTES) {
        out.wrapped("but", &text_safety::title(reservation));
    }
    let metrics = compared.metrics();
    for verdict in [Verdict::Regressed, Verdict::Inconclusive, Verdict::Improved, Verdict::Unchanged] {
        let of: Vec<&MetricChange> =
            metrics.iter().copied().filter(|it| compared::verdict(&it.change) == verdict).collect();
        if !of.is_empty() {
            out.blank();
            write_metrics(verdict, &of, &compared.accel(), &mut out);
        }
    }
    let families = families::of_comparison(compared);
    if !families.is_empty() || compared.culprit().is_some() {
        out.blank();
    }
    families.iter().take(NOTES).for_each(|family| out.wrapped("", &slopes(family)));
    if let Some(culprit) = compared.culprit() {
        out.wrapped("", &format!("{culprit}."));
    }
    let tests = compared.changed_tests();
    if !tests.is_empty() {
        out.blank();
        for test in tests.iter().take(ROWS) {
            let (_, word) = compared::class(test.class);
            out.wrapped("", &format!("{word}: {}", text_safety::name(&test.test)));
            let tries = format!("base {}; head {}", compared::tries(test.base), compared::tries(test.head));
            out.indented(4, &tries);
            if let Some(message) = test.message.as_ref().filter(|_| test.class != TestClass::Fixed) {
                out.indented(4, &text_safety::title(message));
            }
        }
        out.more(tests.len(), ROWS, "test");
    }
    out.blank();
    write_not_measured(comparison.not_measured.iter().map(text_safety::title).collect(), &mut out);
    for run in compared.runs {
        out.command(&run.plan.command);
    }
    out.text
}

/// Rows of one verdict, in the manner of benchstat; a test is named once.
fn write_metrics(verdict: Verdict, metrics: &[&MetricChange], accel: &str, out: &mut Lines) {
    let mut tests: Vec<&str> = Vec::new();
    for metric in metrics {
        if !tests.contains(&metric.test.as_str()) {
            tests.push(&metric.test);
        }
    }
    let mut metrics = metrics.to_vec();
    metrics.sort_by_key(|metric| tests.iter().position(|test| *test == metric.test));
    out.row(&heading(verdict.word(), accel), ["base", "head", "change"].map(str::to_owned), "");
    let mut before = None;
    for metric in metrics.iter().take(ROWS) {
        if before != Some(&metric.test) {
            out.line(&format!("  {}", text_safety::name(&metric.test)));
            before = Some(&metric.test);
        }
        let [base, head] = compared::value_texts(metric);
        let name = format!("    {}", text_safety::name(&metric.metric.name));
        out.row(&name, [base, head, compared::effect(metric)], &proof(metric));
        if let Some(why) = compared::why(&metric.change) {
            out.indented(6, &why);
        }
    }
    out.more(metrics.len(), ROWS, "metric");
}

fn heading(word: &str, accel: &str) -> String {
    format!("{word} ({accel})")
}

/// `p<.001 n=12+12`, or that there is no chance in it.
fn proof(metric: &MetricChange) -> String {
    let boots = compared::boots(metric);
    match (metric.rule, metric.p_holm.or(metric.p)) {
        (Rule::Exact, _) => format!("exact n={boots}"),
        (Rule::Noisy, Some(p)) if p < 0.001 => format!("p<.001 n={boots}"),
        (Rule::Noisy, Some(p)) if p < 0.995 => format!("p=.{:03.0} n={boots}", p * 1000.0),
        (Rule::Noisy, Some(_)) => format!("p=1 n={boots}"),
        (Rule::Noisy, None) => format!("n={boots}"),
    }
}

fn slopes(family: &Family) -> String {
    let slope = |side: &Vec<families::Point>| match Line::through(side) {
        Some(line) => compared::quantity(family.metric.unit, line.slope),
        None => "not known".to_owned(),
    };
    let slopes: Vec<String> = family.sides.iter().map(slope).collect();
    let one = family.parameter.strip_suffix('s').unwrap_or(family.parameter);
    let name = text_safety::name(&family.name);
    format!("{name}: each {one} more costs {}.", slopes.join(" -> "))
}

fn write_not_measured(sentences: Vec<String>, out: &mut Lines) {
    match sentences.as_slice() {
        [] => out.line("Not measured: nothing that was asked for."),
        sentences => {
            out.line("Not measured:");
            sentences.iter().take(NOTES).for_each(|sentence| out.indented(2, sentence));
            out.more(sentences.len(), NOTES, "sentence");
        }
    }
}

/// The report of a run.
#[must_use]
pub fn of_run(run: &Run) -> String {
    let cases = cases(run);
    let mut counts = Counts::default();
    cases.iter().for_each(|case| counts.add(case.standing()));
    let mut out = Lines::default();
    out.wrapped("", &format!("kregress: {}: {}", run_word(run), counted(counts)));
    out.blank();
    let mut kernels: Vec<&String> = Vec::new();
    for kernel in &run.plan.kernels {
        if kernels.contains(&kernel) {
            continue;
        }
        kernels.push(kernel);
        let boots: Vec<_> = run.boots.iter().filter(|boot| boot.launch.kernel == *kernel).collect();
        let release = boots.iter().find_map(|boot| Some(boot.guest.as_ref()?.kernel_release.as_str()));
        let mut accels: Vec<&str> = boots.iter().map(|boot| boot.launch.accel.name()).collect();
        accels.sort_unstable();
        accels.dedup();
        let accel = if accels.is_empty() { "never booted".to_owned() } else { accels.join(" and ") };
        out.wrapped("kernel", &format!("{}, {} boots", environment::kernel(kernel, release), boots.len()));
        out.wrapped("on", &environment::machine(run, &accel));
        out.blank();
        let of_kernel: Vec<&Case<'_>> = cases.iter().filter(|case| case.kernel == kernel).collect();
        write_cases(run, &of_kernel, &accel, &mut out);
        if accels.len() == 1 {
            families::of_cases(&of_kernel).iter().take(NOTES).for_each(|it| out.wrapped("", &slopes(it)));
        }
        out.blank();
    }
    write_not_measured(unmeasured::of_cases(&cases), &mut out);
    out.command(&run.plan.command);
    out.line(&format!("seed {}, took {}", run.plan.seed, quantity::seconds(run.elapsed_ms)));
    out.text
}

fn write_cases(run: &Run, cases: &[&Case<'_>], accel: &str, out: &mut Lines) {
    const TESTS: usize = 200;
    out.row(&heading("test", accel), ["median", "lowest", "highest"].map(str::to_owned), "");
    for case in cases.iter().take(TESTS) {
        out.line(&format!("{:5}  {}", case.standing().word(), text_safety::name(&case.test.id)));
        let (_, message) = super::cases::verdict_text(&case.worst().verdict);
        if !message.is_empty() && case.standing() != Standing::Pass {
            out.indented(7, &text_safety::title(message));
        }
        for measure in measures(run, case) {
            let number = |value| compared::quantity(measure.metric.unit, value);
            let [_, _, over] = measure.texts();
            let name = format!("    {}", text_safety::name(&measure.metric.name));
            let over = if accel.contains(" and ") { format!("{over}, {}", measure.accel) } else { over };
            out.row(&name, [measure.median, measure.low, measure.high].map(number), &over);
        }
    }
    out.more(cases.len(), TESTS, "test");
}

/// What a run comes to, in a word or a few.
pub(super) fn run_word(run: &Run) -> &'static str {
    match (run.state, Summary::of(run).exit_code()) {
        (State::Running, _) => "still going on",
        (State::Interrupted, _) => "interrupted",
        (_, 0) => "passed",
        (_, 1) => "failed",
        (_, 4) => "nothing was learned of the kernel",
        _ => "the harness or its host failed",
    }
}

/// `34 passed, 1 failed`.
pub(super) fn counted(counts: Counts) -> String {
    let parts = [
        (counts.fail, "failed"),
        (counts.error, "with errors"),
        (counts.flaky, "flaky"),
        (counts.pass, "passed"),
        (counts.skip, "skipped"),
    ];
    let shown: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
    if shown.is_empty() { "no tests".to_owned() } else { shown.join(", ") }
}

/// Lines of ASCII that are no longer than they may be.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) text: String,
}

impl Lines {
    /// One line, cut where it is too long.
    pub(super) fn line(&mut self, line: &str) {
        let mut line = ascii(line);
        if line.len() > WIDTH {
            line.truncate(WIDTH - 3);
            line.push_str("...");
        }
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    pub(super) fn blank(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Words in as many lines as they need, behind a label where there is one.
    pub(super) fn wrapped(&mut self, label: &str, text: &str) {
        let indent = if label.is_empty() { 0 } else { LABEL + 1 };
        for (at, line) in columns::wrap(&ascii(text), WIDTH - indent).iter().enumerate() {
            let label = if at == 0 { label } else { "" };
            self.line(&format!("{label:indent$}{line}"));
        }
    }

    /// What an author wrote: names of people and subjects keep their letters.
    pub(super) fn authored(&mut self, indent: usize, text: &str) {
        for line in columns::wrap(text, WIDTH - indent) {
            let line = format!("{:indent$}{line}", "");
            self.text.push_str(columns::fit(&line, WIDTH).trim_end());
            self.text.push('\n');
        }
    }

    /// What an author wrote, behind a label as wide as it is.
    pub(super) fn labelled(&mut self, label: &str, text: &str) {
        let indent = columns::width(label);
        for (at, line) in columns::wrap(text, WIDTH - indent).iter().enumerate() {
            let lead = if at == 0 { label } else { "" };
            let line = format!("{lead:indent$}{line}");
            self.text.push_str(columns::fit(&line, WIDTH).trim_end());
            self.text.push('\n');
        }
    }

    pub(super) fn indented(&mut self, indent: usize, text: &str) {
        for line in columns::wrap(&ascii(text), WIDTH - indent) {
            self.line(&format!("{:indent$}{line}", ""));
        }
    }

    /// A name, three numbers, and what they stand on.
    fn row(&mut self, name: &str, numbers: [String; 3], rest: &str) {
        const NAME: usize = 25;
        const NUMBER: usize = 9;
        let name = ascii(name);
        let numbers: String = numbers.iter().map(|it| format!(" {:>NUMBER$}", ascii(it))).collect();
        if name.len() > NAME {
            // A long name has a line of its own rather than being cut.
            self.line(&name);
            self.line(&format!("{:NAME$}{numbers}  {rest}", ""));
        } else {
            self.line(&format!("{name:NAME$}{numbers}  {rest}"));
        }
    }

    pub(super) fn more(&mut self, all: usize, shown: usize, one: &str) {
        if all > shown {
            self.line(&format!("  ... and {}", quantity::more(all, shown, one)));
        }
    }

    /// A command, broken where a shell lets it be.
    pub(super) fn command(&mut self, command: &[String]) {
        const ARGUMENTS: usize = 60;
        let mut line = "$".to_owned();
        for word in command.iter().take(ARGUMENTS) {
            // Cut words would not be the command any more: they stand alone, and may be long.
            let word = ascii(&text_safety::verbatim(shell_line(std::slice::from_ref(word))));
            if line.len() + 1 + word.len() + 2 > WIDTH && line.trim().len() > 1 {
                self.text.push_str(&format!("{line} \\\n"));
                line = "   ".to_owned();
            }
            line.push(' ');
            line.push_str(&word);
        }
        self.text.push_str(&line);
        self.text.push('\n');
        self.more(command.len(), ARGUMENTS, "word");
    }
}

/// Signs that have a spelling of their own, and `?` for what has none.
fn ascii(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' => out.push(c),
            'µ' => out.push('u'),
            '…' => out.push_str("..."),
            '→' => out.push_str("->"),
            '×' => out.push('x'),
            _ => out.push('?'),
        }
    }
    out
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
