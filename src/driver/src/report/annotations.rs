//! `--format annotations`: what matters most of a run, as workflow commands for the
//! log of a GitHub workflow. Pure.
//!
//! GitHub shows ten annotations of a kind for each step and drops the others, so they
//! are chosen here, and what does not fit is counted. Escaping is that of the runner:
//! `%`, CR and LF in the text, `:` and `,` too in what stands before it. Text of guests
//! has passed [`text_safety`] before, so that no command in it is one.

use std::fmt::Write as _;

use super::cases::{cases, verdict_text};
use super::compared::{self, Compared, Verdict};
use super::series::words;
use super::text_safety;
use super::troubles::groups;
use crate::analysis::{Overall, TestClass, Weight};
use crate::results::format::{Finding, Run};
use crate::results::{Standing, health};
use crate::series::checked::{Checked, Defect, Outcome, Since};

/// Annotations of a report: GitHub shows no more of a kind, and people read no more.
const MOST: usize = 10;

/// Tests that are named behind the first of those that failed alike.
const ALIKE: usize = 3;

/// How much it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
}

impl Level {
    fn command(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// A line of a file of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    file: String,
    line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Annotation {
    level: Level,
    place: Option<Place>,
    title: String,
    text: String,
}

/// The annotations of a run, one a line; nothing where all is well.
#[must_use]
pub fn of_run(run: &Run) -> String {
    written(&[in_run(run), told_by_nobody(run)].concat())
}

/// The annotations of a comparison.
#[must_use]
pub fn of_comparison(compared: &Compared<'_>) -> String {
    let mut all = Vec::new();
    let regressed = |it: &&&crate::analysis::MetricChange| {
        it.weight == Weight::Gates && compared::verdict(&it.change) == Verdict::Regressed
    };
    for metric in compared.metrics().iter().filter(regressed) {
        let [base, head] = compared::value_texts(metric);
        all.push(Annotation {
            level: Level::Error,
            place: None,
            title: format!("regressed: {}", text_safety::name(&metric.test)),
            text: format!(
                "{} {}: {base} on base, {head} on head ({})",
                text_safety::name(&metric.metric.name),
                compared::effect(metric),
                compared.accel()
            ),
        });
    }
    for test in compared.changed_tests() {
        let level = match test.class {
            TestClass::NewFailure | TestClass::WorseFlaky => Level::Error,
            TestClass::Suspect | TestClass::NotComparable => Level::Warning,
            TestClass::Same | TestClass::Fixed | TestClass::KnownOnBase => continue,
        };
        all.push(Annotation {
            level,
            place: None,
            title: format!("{}: {}", compared::class(test.class).1, text_safety::name(&test.test)),
            text: format!(
                "base {}, head {}. {}",
                compared::tries(test.base),
                compared::tries(test.head),
                test.message.as_ref().map(text_safety::title).unwrap_or_default()
            ),
        });
    }
    if matches!(compared.overall, Overall::Failed | Overall::Inconclusive) {
        let level = if compared.overall == Overall::Failed { Level::Error } else { Level::Warning };
        let lacking = compared.comparison.not_measured.iter().take(ALIKE).map(text_safety::title);
        all.push(Annotation {
            level,
            place: None,
            title: compared::overall(compared.overall).1.to_owned(),
            text: [compared.headline()].into_iter().chain(lacking).collect::<Vec<_>>().join("\n"),
        });
    }
    written(&all)
}

/// The annotations of a series: what its patches break, and what of it is not known.
#[must_use]
pub fn of_series(checked: &Checked) -> String {
    let ours = checked.defects.iter().filter(|defect| defect.since != Since::Base);
    let of_defect = |defect: &Defect| {
        let by = match &defect.since {
            Since::Patches { revisions, .. } => revisions.last().map(|at| words::label(checked, *at)),
            Since::Base | Since::NotKnown { .. } => None,
        };
        let place = defect
            .place
            .as_ref()
            .and_then(|place| Some(Place { file: text_safety::name(&place.file), line: place.line? }));
        Annotation {
            level: Level::Error,
            place,
            title: by.map_or_else(|| "series".to_owned(), |by| format!("patch {by}")),
            text: words::sentence(checked, defect),
        }
    };
    let mut all: Vec<Annotation> = ours.map(of_defect).collect();
    if matches!(checked.outcome, Outcome::Inconclusive | Outcome::NotKnown | Outcome::Interrupted) {
        let level = if checked.outcome == Outcome::Inconclusive { Level::Warning } else { Level::Error };
        let title = checked.outcome.word().to_owned();
        all.push(Annotation { level, place: None, title, text: words::headline(checked) });
    }
    written(&all)
}

/// Tests that did not pass; those that failed alike make one annotation.
fn in_run(run: &Run) -> Vec<Annotation> {
    let cases = cases(run);
    let mut all = Vec::new();
    for group in groups(&cases) {
        let case = group.first;
        let result = case.worst();
        let (kind, message) = verdict_text(&result.verdict);
        let level = if case.standing() == Standing::Flaky { Level::Warning } else { Level::Error };
        let boots = case.boots().map(|boots| format!(", {boots}")).unwrap_or_default();
        let mut text =
            format!("{kind} on {}{boots}: {}", text_safety::name(case.kernel), text_safety::title(message));
        if !group.others.is_empty() {
            let names = group.others.iter().take(ALIKE).map(|case| text_safety::name(&case.test.id));
            let more = group.others.len().saturating_sub(ALIKE);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let _ = write!(text, "\nalso {}{more}", names.collect::<Vec<_>>().join(", "));
        }
        let findings = result.findings.iter().filter(|finding| finding.allowed.is_none());
        all.push(Annotation {
            level,
            place: findings.filter_map(place).next(),
            title: format!("{}: {}", case.standing().word(), text_safety::name(&case.test.id)),
            text,
        });
    }
    all
}

/// What went wrong outside of tests.
fn told_by_nobody(run: &Run) -> Vec<Annotation> {
    let mut all = Vec::new();
    for health in health(run) {
        for problem in health.problems.iter().filter(|problem| problem.told_by.is_none()) {
            all.push(Annotation {
                level: Level::Error,
                place: place_in(&problem.message),
                title: format!("{} outside of tests: {}", problem.kind, text_safety::name(&health.kernel)),
                text: text_safety::title(&problem.message),
            });
        }
    }
    all
}

/// Where in the kernel a finding is: by its title, or by its innermost frame.
fn place(finding: &Finding) -> Option<Place> {
    let frame = || {
        let line = finding.frames.iter().flat_map(|frame| &frame.lines).next()?;
        is_relative(&line.file).then(|| Place { file: line.file.clone(), line: line.line })
    };
    place_in(&finding.title).or_else(frame)
}

/// `net/core/dev.c:123` in `WARNING: net/core/dev.c:123 at dev_close`.
fn place_in(title: &str) -> Option<Place> {
    let place = |word: &str| {
        let (file, line) = word.trim_end_matches([',', ';', '!']).rsplit_once(':')?;
        let line = line.parse().ok().filter(|line| *line > 0)?;
        let of_source = [".c", ".h", ".S", ".rs"].iter().any(|end| file.ends_with(end));
        (of_source && is_relative(file)).then(|| Place { file: file.to_owned(), line })
    };
    title.split_ascii_whitespace().find_map(place)
}

/// Nothing else is a file of the kernel: a guest wrote it.
fn is_relative(file: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-+/".contains(c);
    file.contains('/')
        && !file.starts_with('/')
        && file.chars().all(plain)
        && !file.split('/').any(|it| it == "..")
}

/// The first of them, errors before warnings; of the others, how many there are.
fn written(all: &[Annotation]) -> String {
    let of = |level| all.iter().filter(move |it| it.level == level);
    let all: Vec<&Annotation> = of(Level::Error).chain(of(Level::Warning)).collect();
    let shown = if all.len() > MOST { MOST - 1 } else { all.len() };
    let mut text = String::new();
    for it in &all[..shown] {
        text.push_str(&line(it));
    }
    if let Some(next) = all.get(shown) {
        let left = all.len() - shown;
        text.push_str(&line(&Annotation {
            level: next.level,
            place: None,
            title: format!("{left} more"),
            text: "they are in the summary of the job and in its JUnit".to_owned(),
        }));
    }
    text
}

fn line(it: &Annotation) -> String {
    let place = match &it.place {
        Some(place) => format!("file={},line={},", property(&place.file), place.line),
        None => String::new(),
    };
    format!("::{} {place}title={}::{}\n", it.level.command(), property(&it.title), data(&it.text))
}

/// The text of a workflow command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A value before it.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
#[path = "annotations_tests.rs"]
mod tests;
