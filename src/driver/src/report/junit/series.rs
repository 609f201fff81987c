//! A series as JUnit: a suite for each patch with a case for each thing that it has to
//! do, one for base against tip, and one for the whole. Red is what a patch may have brought, where it was
//! seen; what fails on the base too says nothing of a patch, and is skipped.

use junit_report::{Duration, TestCase};

use super::stand::Stand;
use super::{ROOT, Rest, Suite, suite};
use crate::report::series::words::{self, Wrong};
use crate::report::text_safety;
use crate::results::Standing;
use crate::series::checked::{
    Apply, Blame, Build, Checked, Defect, Outcome, Performance, Revision, Since, Tested, Verdict, Warnings,
    What,
};
use crate::series::judge;

/// What all of its suites are of.
pub(super) const SERIES: &str = "series";

/// The suites of a series.
pub(super) fn suites(checked: &Checked) -> Vec<Suite> {
    let mut suites: Vec<Suite> = (0..checked.revisions.len()).map(|at| of_revision(checked, at)).collect();
    suites.push(of_tip(checked));
    suites.push(of_whole(checked));
    suites
}

/// What is said of all patches together: what one breaks and a later one repairs is red
/// here, for nobody can bisect across it, however well the tip does.
fn of_whole(checked: &Checked) -> Suite {
    let class = text_safety::name(format!("{ROOT}.series.whole"));
    let Wrong { stays, repaired, undated } = words::wrong(checked);
    let told = words::headline(checked);
    // Where something was not seen, nothing is known of what it might have broken.
    let stopped = checked.outcome == Outcome::Interrupted;
    let not_booted = |at: usize| checked.revisions[at].is_built() && checked.booted(at).tests.is_empty();
    let dark = stopped
        || checked.revisions.iter().any(judge::is_in_the_dark)
        || (0..checked.revisions.len()).any(not_booted);
    let not_reached = checked.revisions.iter().any(|it| it.apply == Apply::NotReached);
    let unseen = || Stand::Error("not-known", "not every patch was seen to its end".to_owned());
    let stays: Vec<String> = stays.into_iter().chain(undated).collect();
    let stays = match (stays.as_slice(), checked.outcome) {
        ([], _) if dark || matches!(checked.performance, Performance::NotMeasured { .. }) => unseen(),
        ([], Outcome::Good | Outcome::Broken | Outcome::Repaired) => Stand::Good,
        ([], Outcome::Inconclusive) => Stand::Skipped("inconclusive", told.clone()),
        ([], Outcome::NotKnown | Outcome::Interrupted) => Stand::Error("not-known", told.clone()),
        (stays, _) => Stand::Failure("Broken", stays.join("; ")),
    };
    let between = match repaired.as_slice() {
        [] if dark => unseen(),
        [] if not_reached => Stand::Skipped("not-reached", "a patch does not apply".to_owned()),
        [] => Stand::Good,
        repaired => Stand::Failure("BrokenAndRepaired", repaired.join("; ")),
    };
    let cases = vec![
        case(&class, "nothing-stays-broken", 0, &stays, &told),
        case(&class, "nothing-breaks-in-between", 0, &between, &told),
    ];
    new_suite(checked, "the whole series", &class, cases)
}

fn new_suite(checked: &Checked, name: &str, class: &str, cases: Vec<TestCase>) -> Suite {
    let mut xml = suite(checked.started_unix, &text_safety::name(name), class);
    let rest = cases.iter().map(|_| Rest::default()).collect();
    xml.add_testcases(cases);
    Suite { of: SERIES.to_owned(), xml, file: None, cases: rest }
}

fn of_revision(checked: &Checked, at: usize) -> Suite {
    let revision = &checked.revisions[at];
    let short = revision.number.map_or_else(|| "base".to_owned(), |number| format!("patch-{number}"));
    let class = text_safety::name(format!("{ROOT}.series.{short}"));
    let new = |what: What, name: &str| new_defect(checked, at, what, name);
    let mut cases = Vec::new();
    let mut add = |name: &str, milliseconds: u64, stand: Stand, told: &str| {
        cases.push(case(&class, name, milliseconds, &stand, told));
    };
    let facts = words::facts(checked, at);
    if revision.number.is_some() {
        add("applies", 0, applies(revision), "");
    }
    let seconds = match revision.build {
        Build::Built { seconds } | Build::Failed { seconds, .. } => seconds,
        Build::Stored | Build::NotTried | Build::NotKnown { .. } => 0.0,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time that passed")]
    let milliseconds = (seconds * 1000.0).max(0.0) as u64;
    add("builds", milliseconds, builds(revision, new(What::Build, "")), &facts);
    if revision.number.is_some() {
        add("no-new-warning", 0, warns(checked, at), "");
    }
    add("boots", 0, boots(checked, at, new(What::Boot, "")), &facts);
    let booted = checked.booted(at);
    for (name, tested) in &booted.tests {
        let own = std::ptr::eq(booted, revision);
        let elapsed = if own { tested.elapsed_ms } else { 0 };
        let told = if own { "" } else { facts.as_str() };
        add(name, elapsed, passes(tested, new(What::Test, name)), told);
    }
    new_suite(checked, &format!("{} {}", words::label(checked, at), revision.subject), &class, cases)
}

/// A defect that a patch may have brought and that was seen with it.
fn new_defect<'a>(checked: &'a Checked, at: usize, what: What, name: &str) -> Option<&'a Defect> {
    checked.defects.iter().find(|defect| {
        let seen = match &defect.since {
            Since::Patches { revisions, .. } => revisions.last() == Some(&at),
            Since::Base | Since::NotKnown { .. } => false,
        };
        seen && defect.what == what && defect.name == name
    })
}

fn case(class: &str, name: &str, milliseconds: u64, stand: &Stand, told: &str) -> TestCase {
    let name = text_safety::name(name);
    let time = Duration::milliseconds(i64::try_from(milliseconds).unwrap_or(i64::MAX));
    let mut builder = stand.case(&name, time);
    builder.set_classname(class);
    if let Stand::Failure(_, text) | Stand::Error(_, text) = stand {
        builder.set_trace(&text_safety::body(text));
    }
    if !told.is_empty() {
        builder.set_system_out(&text_safety::output(told));
    }
    builder.build()
}

fn applies(revision: &Revision) -> Stand {
    match &revision.apply {
        Apply::Applies => Stand::Good,
        Apply::Refused { reason } => Stand::Failure("Apply", reason.clone()),
        Apply::NotReached => Stand::Skipped("not-reached", "one before it does not apply".to_owned()),
    }
}

fn builds(revision: &Revision, new: Option<&Defect>) -> Stand {
    match (&revision.build, new) {
        (Build::Built { .. } | Build::Stored, _) => Stand::Good,
        (Build::Failed { reason, .. }, Some(_)) => Stand::Failure("Build", reason.clone()),
        (Build::Failed { reason, .. }, None) => {
            Stand::Skipped("known", format!("does not build since an earlier revision: {reason}"))
        }
        (Build::NotTried, _) => Stand::Skipped("not-reached", "it was not built".to_owned()),
        (Build::NotKnown { reason }, _) => Stand::Error("host", reason.clone()),
    }
}

fn warns(checked: &Checked, at: usize) -> Stand {
    match &checked.revisions[at].warnings {
        Warnings::Compared { new, .. } if new.is_empty() => Stand::Good,
        Warnings::Compared { new, .. } => {
            let all: Vec<String> = new
                .iter()
                .map(|warning| match &warning.place {
                    Some(place) => {
                        let line = place.line.map(|line| format!(":{line}")).unwrap_or_default();
                        format!("{}{line}: {}", place.file, warning.message)
                    }
                    None => warning.message.clone(),
                })
                .collect();
            Stand::Failure("Warning", all.join("\n"))
        }
        Warnings::NoneToCompare => Stand::Skipped("not-built", "it has no build".to_owned()),
        Warnings::NotKnown { reason } => Stand::Skipped("not-known", reason.clone()),
    }
}

fn boots(checked: &Checked, at: usize, new: Option<&Defect>) -> Stand {
    let booted = checked.booted(at);
    if !checked.revisions[at].is_built() {
        return Stand::Skipped("not-built", "there is no kernel to boot".to_owned());
    }
    let of = |blame: Blame| booted.troubles.iter().find(|trouble| trouble.blame == blame);
    match (new, of(Blame::Kernel), of(Blame::Harness)) {
        (Some(defect), _, _) => Stand::Failure("Boot", defect.message.clone()),
        (None, Some(known), _) => Stand::Skipped("known", format!("not new with it: {}", known.message)),
        (None, None, Some(trouble)) => Stand::Error("not-known", trouble.message.clone()),
        (None, None, None) if booted.tests.is_empty() => {
            Stand::Error("not-reached", "it was not booted".to_owned())
        }
        (None, None, None) => Stand::Good,
    }
}

fn passes(tested: &Tested, new: Option<&Defect>) -> Stand {
    match (tested.standing, new) {
        (Standing::Pass | Standing::Flaky, _) => Stand::Good,
        (Standing::Skip, _) => Stand::Skipped("skipped", tested.message.clone()),
        (Standing::Fail, Some(_)) => Stand::Failure("NewFailure", tested.message.clone()),
        (Standing::Fail, None) => {
            Stand::Skipped("known", format!("fails since an earlier revision: {}", tested.message))
        }
        (Standing::Error, _) => Stand::Error("not-known", tested.message.clone()),
    }
}

/// Base against tip: a case for each metric that changed, and one for the whole.
fn of_tip(checked: &Checked) -> Suite {
    let class = text_safety::name(format!("{ROOT}.series.base-against-tip"));
    let told = words::performance(checked);
    let whole = match &checked.performance {
        Performance::NotAsked | Performance::SameImage => Stand::Skipped("not-measured", told.clone()),
        Performance::Undecided { .. } => Stand::Skipped("inconclusive", told.clone()),
        Performance::NotMeasured { .. } => Stand::Error("not-measured", told.clone()),
        Performance::Measured { verdict, .. } => match verdict {
            Verdict::Regressed => Stand::Failure("PerfRegression", told.clone()),
            Verdict::Improved | Verdict::Unchanged => Stand::Good,
            Verdict::Inconclusive => Stand::Skipped("inconclusive", told.clone()),
            Verdict::NotMeasured => Stand::Error("not-measured", told.clone()),
        },
    };
    let mut cases = vec![case(&class, "performance", 0, &whole, &told)];
    for change in words::changes(checked) {
        let by = words::found(checked, change).join("\n");
        let stand = match change.verdict {
            Verdict::Regressed => {
                Stand::Failure("PerfRegression", format!("{}, {}\n{by}", change.text, change.basis))
            }
            Verdict::Improved | Verdict::Unchanged => Stand::Good,
            Verdict::Inconclusive => Stand::Skipped("inconclusive", change.text.clone()),
            Verdict::NotMeasured => Stand::Error("not-measured", change.text.clone()),
        };
        cases.push(case(&class, &format!("{}:{}", change.test, change.metric), 0, &stand, &by));
    }
    new_suite(checked, "base against tip", &class, cases)
}

#[cfg(test)]
#[path = "series_tests.rs"]
mod tests;
