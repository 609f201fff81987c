//! A series in sentences that every form of report shares. Pure; judges nothing.

use crate::analysis::MetricChange;
use crate::exec::shell_line;
use crate::report::bisected::words::probability;
use crate::report::compared;
use crate::report::quantity::{count, more, seconds};
use crate::report::text_safety;
use crate::results::{Counts, Standing};
use crate::series::checked::{
    Apply, Blame, Build, Change, Checked, Defect, Found, Image, Outcome, Performance, Place, Revision, Since,
    Tested, Verdict, Warnings, What,
};

/// Digits of a commit that people compare.
const SHORT: usize = 12;
/// Patches that are named in a row.
const NAMED: usize = 8;

/// How a revision stands, for its sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// Nothing is wrong with it.
    Good,
    /// It may have brought something bad that stays.
    Bad,
    /// It may have brought something bad that a later one takes away.
    Repaired,
    /// Something that the harness should know is not known.
    Open,
}

impl Mark {
    pub(crate) fn sign(self) -> char {
        match self {
            Self::Good => '✓',
            Self::Bad => '✗',
            Self::Repaired => '!',
            Self::Open => '?',
        }
    }

    /// One word.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "broken",
            Self::Repaired => "broken for a while",
            Self::Open => "not known",
        }
    }

    /// The verdict whose style it has.
    pub(crate) fn verdict(self) -> &'static str {
        match self {
            Self::Good => "pass",
            Self::Bad => "fail",
            Self::Repaired => "flaky",
            Self::Open => "error",
        }
    }
}

/// What is to be seen while it goes on: what is checked.
#[must_use]
pub fn begins(checked: &Checked) -> String {
    let base = &checked.revisions[0];
    let cover = checked.cover.as_ref().map(|it| format!(" `{}`", text_safety::title(it))).unwrap_or_default();
    format!("series{cover}: {} on {}", patches(checked), title(base))
}

/// What is to be seen while it goes on: a revision whose build is over.
#[must_use]
pub fn built(revision: &Revision) -> String {
    let number = revision.number.map_or_else(|| "base".to_owned(), |number| format!("patch {number}"));
    let mut told = vec![build(revision)];
    told.extend(match &revision.warnings {
        Warnings::Compared { new, .. } if !new.is_empty() => Some(count(new.len(), "new warning")),
        _ => None,
    });
    format!("{number}: {}", told.join(", "))
}

fn patches(checked: &Checked) -> String {
    count(checked.revisions.len() - 1, "patch")
}

/// `base`, or `3/6`.
pub(crate) fn label(checked: &Checked, at: usize) -> String {
    match checked.revisions[at].number {
        None => "base".to_owned(),
        Some(number) => format!("{number}/{}", total(checked)),
    }
}

/// Of how many patches the numbers are.
fn total(checked: &Checked) -> u32 {
    let last = checked.revisions.iter().filter_map(|it| it.number).max().unwrap_or(0);
    last.max(u32::try_from(checked.revisions.len() - 1).unwrap_or(u32::MAX))
}

/// `acf2b87fd99b subject`, or only the subject of what was not applied.
pub(crate) fn title(revision: &Revision) -> String {
    let subject = text_safety::title(&revision.subject);
    match &revision.commit {
        Some(commit) => format!("{} {subject}", short(commit)),
        None => subject,
    }
}

/// The digits of a commit that people compare.
pub(crate) fn short(commit: &str) -> String {
    text_safety::name(commit.get(..SHORT).unwrap_or(commit))
}

/// `3/6`, `3/6 or 4/6`.
fn any_of(checked: &Checked, revisions: &[usize]) -> String {
    let mut labels: Vec<String> = revisions.iter().take(NAMED).map(|at| label(checked, *at)).collect();
    if revisions.len() > NAMED {
        labels.push(format!("{} others", revisions.len() - NAMED));
    }
    match labels.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} or {last}", before.join(", ")),
        _ => labels.join(""),
    }
}

/// Things in a row: `a, b and c`.
fn row(things: &[String]) -> String {
    match things.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => things.join(""),
    }
}

/// Defects that patches brought, or that nobody knows the origin of.
fn ours(checked: &Checked) -> impl Iterator<Item = &Defect> {
    checked.defects.iter().filter(|defect| defect.since != Since::Base)
}

/// What it comes to: `broken at 2/6 and 6/6; broken at 3/6, repaired by 4/6`. Without a
/// word of others.
pub(crate) fn headline(checked: &Checked) -> String {
    match checked.outcome {
        Outcome::Good => format!("good: {}", good(checked)),
        Outcome::Broken | Outcome::Repaired => broken(checked),
        Outcome::Inconclusive => format!("inconclusive: {}", open(checked)),
        Outcome::NotKnown => {
            "error: the harness or its host failed, and no patch is known to be wrong".to_owned()
        }
        Outcome::Interrupted => match broken(checked) {
            seen if seen.is_empty() => "interrupted: it was stopped before its end".to_owned(),
            seen => format!("interrupted: so far {seen}"),
        },
    }
}

fn good(checked: &Checked) -> String {
    let slower = match &checked.performance {
        Performance::Measured { .. } => ", and the last is not slower than the base",
        Performance::SameImage => ", and the last boots the image of the base",
        Performance::NotAsked | Performance::NotMeasured { .. } | Performance::Undecided { .. } => "",
    };
    let (each, builds) = match checked.revisions.len() {
        2 => ("the patch", ["applies", "builds", "boots", "fails"]),
        _ => ("all patches", ["apply", "build", "boot", "fail"]),
    };
    let [applies, builds, boots, fails] = builds;
    let not_known = |it: &Revision| matches!(it.warnings, Warnings::NotKnown { .. });
    let warning = if checked.revisions.iter().any(not_known) { "" } else { " without a new warning" };
    let slower =
        if checked.revisions.len() == 2 { slower.replace("the last", "it") } else { slower.to_owned() };
    format!("{each} {applies}, {builds}{warning}, {boots}, and {fails} no test that passed before{slower}")
}

/// What is wrong with a series, in parts of a sentence.
pub(crate) struct Wrong {
    /// `broken at 2/6 and 6/6`: what stays so.
    pub(crate) stays: Option<String>,
    /// `broken at 3/6, repaired by 4/6`.
    pub(crate) repaired: Vec<String>,
    /// `1 defect of which it is not known since when`.
    pub(crate) undated: Option<String>,
}

/// What is wrong with a series by its own fault.
pub(crate) fn wrong(checked: &Checked) -> Wrong {
    let mut stays: Vec<String> = Vec::new();
    let mut repaired: Vec<String> = Vec::new();
    let mut undated = 0_usize;
    for defect in ours(checked) {
        let Since::Patches { revisions, .. } = &defect.since else {
            undated += 1;
            continue;
        };
        let at = any_of(checked, revisions);
        let (list, text) = match defect.until {
            None => (&mut stays, at),
            Some(until) => (&mut repaired, format!("broken at {at}, repaired by {}", label(checked, until))),
        };
        if !list.contains(&text) {
            list.push(text);
        }
    }
    Wrong {
        stays: (!stays.is_empty()).then(|| format!("broken at {}", row(&stays))),
        repaired,
        undated: (undated > 0)
            .then(|| format!("{} of which it is not known since when", count(undated, "defect"))),
    }
}

/// `broken at 2/6 and 6/6; broken at 3/6, repaired by 4/6`.
fn broken(checked: &Checked) -> String {
    let Wrong { stays, repaired, undated } = wrong(checked);
    stays.into_iter().chain(repaired).chain(undated).collect::<Vec<_>>().join("; ")
}

fn open(checked: &Checked) -> String {
    match &checked.performance {
        Performance::Measured { verdict: Verdict::Inconclusive, unknown, .. } => {
            format!(
                "{} of base and tip {} not known yet; --boots allows more",
                count(*unknown, "number"),
                if *unknown == 1 { "is" } else { "are" }
            )
        }
        Performance::Undecided { reason } => {
            format!("whether the tip is slower is not known: {}", text_safety::title(reason))
        }
        _ => "every test was skipped".to_owned(),
    }
}

/// How a revision stands.
pub(crate) fn mark(checked: &Checked, at: usize) -> Mark {
    let of_this = |defect: &&Defect| match &defect.since {
        Since::Patches { revisions, .. } => revisions.contains(&at),
        Since::Base => false,
        Since::NotKnown { .. } => false,
    };
    let mine: Vec<&Defect> = checked.defects.iter().filter(of_this).collect();
    if mine.iter().any(|defect| defect.until.is_none()) {
        return Mark::Bad;
    }
    if !mine.is_empty() {
        return Mark::Repaired;
    }
    let booted = checked.booted(at);
    let spoilt = booted.troubles.iter().any(|it| it.blame == Blame::Harness)
        || booted.tests.values().any(|it| it.standing == Standing::Error)
        || matches!(checked.revisions[at].build, Build::NotKnown { .. } | Build::NotTried)
        || booted.tests.is_empty();
    if spoilt { Mark::Open } else { Mark::Good }
}

/// What became of a build.
fn build(revision: &Revision) -> String {
    match (&revision.apply, &revision.build) {
        (Apply::Refused { .. }, _) => "does not apply".to_owned(),
        (Apply::NotReached, _) => "not reached: one before it does not apply".to_owned(),
        (Apply::Applies, Build::Built { seconds: time }) => format!("built in {}", duration(*time)),
        (Apply::Applies, Build::Stored) => "built before".to_owned(),
        (Apply::Applies, Build::Failed { seconds: time, .. }) => format!("failed after {}", duration(*time)),
        (Apply::Applies, Build::NotTried) => "not built".to_owned(),
        (Apply::Applies, Build::NotKnown { reason }) => {
            format!("the host could not build it: {}", text_safety::title(reason))
        }
    }
}

fn duration(time: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time that passed")]
    seconds((time * 1000.0).max(0.0) as u64)
}

/// What was seen of a revision, without what is wrong: how it was built, and its tests.
pub(crate) fn facts(checked: &Checked, at: usize) -> String {
    let revision = &checked.revisions[at];
    // That it does not apply is what is wrong with it.
    let applies = !matches!(revision.apply, Apply::Refused { .. });
    let mut told: Vec<String> = applies.then(|| build(revision)).into_iter().collect();
    if let Image::SameAs { revision } = revision.image {
        told.push(format!("same image as {}, whose boots stand for it", label(checked, revision)));
    } else if revision.image == Image::Own {
        told.push(tests(revision));
    }
    told.join("; ")
}

fn tests(revision: &Revision) -> String {
    let mut counts = Counts::default();
    revision.tests.values().for_each(|tested| counts.add(tested.standing));
    if counts.total() == 0 { "not booted".to_owned() } else { super::super::text::counted(counts) }
}

/// What is wrong with a revision, or no more wrong with it: one sentence each, with
/// defects that it may have brought first. A defect of several suspects is told where it
/// was seen.
pub(crate) fn findings(checked: &Checked, at: usize) -> Vec<String> {
    let mut told = Vec::new();
    let mut metrics = Vec::new();
    for defect in &checked.defects {
        let Since::Patches { revisions, .. } = &defect.since else { continue };
        if revisions.last() == Some(&at) {
            if defect.what == What::Metric {
                metrics.push(defect);
            } else {
                told.push(sentence(checked, defect));
            }
        } else if revisions.contains(&at) {
            let seen = revisions.last().map(|last| label(checked, *last)).unwrap_or_default();
            told.push(format!("may be to blame for what is seen at {seen}"));
        }
    }
    if let Some((first, others)) = metrics.split_first() {
        told.push(sentence(checked, first));
        if !others.is_empty() {
            let are = if others.len() == 1 { "is" } else { "are" };
            let others = more(metrics.len(), 1, "metric");
            told.push(format!("and {others} {are} worse, see base against tip"));
        }
    }
    for defect in checked.defects.iter().filter(|defect| defect.until == Some(at)) {
        told.push(format!("repairs: {}", short_name(checked, defect)));
    }
    told.extend(before(checked, at));
    if let Warnings::NotKnown { reason } = &checked.revisions[at].warnings {
        told.push(format!("whether it warns of anything new is not known: {}", text_safety::title(reason)));
    }
    let booted = &checked.revisions[at];
    let flaky = |(_, tested): &(&String, &Tested)| tested.standing == Standing::Flaky;
    for (name, tested) in booted.tests.iter().filter(flaky).take(NAMED) {
        told.push(format!(
            "flaky: {} failed in {} of {} boots: {}",
            text_safety::name(name),
            tested.missed,
            tested.attempts,
            text_safety::title(&tested.message)
        ));
    }
    for trouble in booted.troubles.iter().filter(|it| it.blame == Blame::Harness).take(NAMED) {
        told.push(format!("not known: {}: {}", trouble.kind, text_safety::title(&trouble.message)));
    }
    let errors = |(_, tested): &(&String, &Tested)| tested.standing == Standing::Error;
    for (name, tested) in booted.tests.iter().filter(errors).take(NAMED) {
        told.push(format!("not known: {}: {}", text_safety::name(name), text_safety::title(&tested.message)));
    }
    told
}

/// What was wrong before the first patch: told with the base.
fn before(checked: &Checked, at: usize) -> Vec<String> {
    if at != 0 {
        return Vec::new();
    }
    let of_base = checked.defects.iter().filter(|defect| !matches!(defect.since, Since::Patches { .. }));
    of_base
        .filter(|defect| defect.what != What::Metric)
        .map(|defect| match &defect.since {
            Since::NotKnown { reason } => format!("{} ({reason})", sentence(checked, defect)),
            Since::Base | Since::Patches { .. } => {
                format!("before the first patch: {}", sentence(checked, defect))
            }
        })
        .collect()
}

/// What is wrong, who may have done it, and who repairs it.
pub(crate) fn sentence(checked: &Checked, defect: &Defect) -> String {
    let message = text_safety::title(&defect.message);
    let mut text = match defect.what {
        What::Apply => format!("does not apply: {message}"),
        What::Build => format!("does not build: {}", at_place(defect.place.as_ref(), &message)),
        What::Warning => format!("new warning: {}", at_place(defect.place.as_ref(), &message)),
        What::Boot => format!("kernel: {message}"),
        What::Test => format!("{} fails: {message}", text_safety::name(&defect.name)),
        What::Metric => format!("{}: {message}", text_safety::name(&defect.name)),
    };
    if let Since::Patches { revisions, probability: p } = &defect.since {
        match revisions.as_slice() {
            [_] => {}
            [others @ .., _] => text.push_str(&format!(" (by this one or {})", any_of(checked, others))),
            [] => {}
        }
        if *p < 1.0 {
            text.push_str(&format!(", with {}", probability(*p)));
        }
    }
    if let Some(until) = defect.until {
        text.push_str(&format!("; repaired by {}", label(checked, until)));
    }
    text
}

/// A message behind its place, unless it names it already.
fn at_place(place: Option<&Place>, message: &str) -> String {
    match place {
        Some(Place { file, line }) if !message.contains(file.as_str()) => {
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            format!("{}{line}: {message}", text_safety::name(file))
        }
        _ => message.to_owned(),
    }
}

/// A defect in a few words.
fn short_name(checked: &Checked, defect: &Defect) -> String {
    let of = match &defect.since {
        Since::Patches { revisions, .. } => format!(" of {}", any_of(checked, revisions)),
        Since::Base => " of the base".to_owned(),
        Since::NotKnown { .. } => String::new(),
    };
    match defect.what {
        What::Apply => format!("what does not apply{of}"),
        What::Build => format!("the build{of}"),
        What::Warning => format!("a warning{of}, {}", text_safety::name(&defect.name)),
        What::Boot => format!("the kernel{of}"),
        What::Test | What::Metric => format!("{}{of}", text_safety::name(&defect.name)),
    }
}

/// More of what a defect is than its title: the lines below it, where there are any.
pub(crate) fn details(defect: &Defect) -> Option<String> {
    let (_, more) = defect.message.split_once('\n')?;
    let more = text_safety::body(more);
    (!more.trim().is_empty()).then(|| more.trim_end().to_owned())
}

/// What compilers and kernels said of what a revision may have brought, line by line.
pub(crate) fn said(checked: &Checked, at: usize) -> Vec<String> {
    let of_this = checked.defects.iter().filter(|defect| match &defect.since {
        Since::Patches { revisions, .. } => revisions.last() == Some(&at),
        Since::Base | Since::NotKnown { .. } => false,
    });
    let details: Vec<String> = of_this.filter_map(details).collect();
    details.iter().flat_map(|it| it.lines()).map(str::to_owned).collect()
}

/// Where everything stands that a build which failed has said.
pub(crate) fn log(revision: &Revision) -> Option<String> {
    match &revision.build {
        Build::Failed { log: Some(log), .. } => Some(text_safety::verbatim(log)),
        _ => None,
    }
}

/// Base against tip, in a sentence.
pub(crate) fn performance(checked: &Checked) -> String {
    match &checked.performance {
        Performance::NotAsked => "not measured: none of the tests has a number that decides".to_owned(),
        Performance::SameImage => "not measured: the tip boots the image of the base".to_owned(),
        Performance::NotMeasured { reason } | Performance::Undecided { reason } => {
            format!("not measured: {}", text_safety::title(reason))
        }
        Performance::Measured { verdict, changes, unchanged, unknown } => {
            if *verdict == Verdict::Unchanged && *unchanged > 0 {
                return format!("unchanged in {}", count(*unchanged, "metric"));
            }
            let of = |wanted| changes.iter().filter(|it| it.verdict == wanted).count();
            let parts = [
                (of(Verdict::Regressed), "worse"),
                (of(Verdict::Improved), "better"),
                (*unknown as usize, "not known yet"),
                (*unchanged as usize, "unchanged"),
            ];
            let parts: Vec<String> = parts
                .iter()
                .filter(|(many, _)| *many > 0)
                .map(|(many, word)| format!("{many} {word}"))
                .collect();
            let parts = if parts.is_empty() { "no number".to_owned() } else { parts.join(", ") };
            format!("{}: {parts}", verdict_word(*verdict))
        }
    }
}

/// In words.
pub(crate) fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regressed => "regressed",
        Verdict::Improved => "improved",
        Verdict::Unchanged => "unchanged",
        Verdict::Inconclusive => "inconclusive",
        Verdict::NotMeasured => "not measured",
    }
}

/// Changes that are shown.
pub(crate) fn changes(checked: &Checked) -> &[Change] {
    match &checked.performance {
        Performance::Measured { changes, .. } => changes,
        Performance::NotAsked
        | Performance::SameImage
        | Performance::NotMeasured { .. }
        | Performance::Undecided { .. } => &[],
    }
}

/// Who changed a metric, in sentences.
pub(crate) fn found(checked: &Checked, change: &Change) -> Vec<String> {
    match &change.found {
        Found::NotSearched => Vec::new(),
        Found::With { name } => vec![format!("see {}", text_safety::name(name))],
        Found::Nobody { reason } => vec![format!("no patch can be blamed: {}", text_safety::title(reason))],
        Found::Patches { answers } => answers
            .iter()
            .map(|answer| {
                format!("{} {}", any_of(checked, &answer.revisions), text_safety::title(&answer.claim))
            })
            .collect(),
    }
}

/// A metric of a comparison: `128.5 ms to 960.1 ms, x7.47`.
#[must_use]
pub fn change_text(metric: &MetricChange) -> String {
    let [base, head] = compared::value_texts(metric);
    format!("{base} to {head}, {}", compared::effect(metric))
}

/// What its change stands on.
#[must_use]
pub fn basis(metric: &MetricChange) -> String {
    let chance = match compared::evidence(metric).as_str() {
        "exact" => "exact".to_owned(),
        chance => format!("by chance {chance}"),
    };
    let boots = format!("{} boots", compared::boots(metric));
    let parts = compared::interval(metric.estimate.as_ref()).into_iter().chain([chance, boots]);
    parts.collect::<Vec<_>>().join(", ")
}

/// The command that made it.
pub(crate) fn command(checked: &Checked) -> String {
    text_safety::verbatim(shell_line(&checked.command))
}

/// What it was checked with.
pub(crate) fn environment(checked: &Checked) -> String {
    let facts = checked.environment.iter().map(|(name, value)| match name.as_str() {
        "machine" => text_safety::name(value),
        name => format!("{} {}", text_safety::name(name), text_safety::name(value)),
    });
    facts.collect::<Vec<_>>().join(", ")
}
