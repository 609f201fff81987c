//! Base against tip, and the patches that made the tip slower.

use std::collections::BTreeMap;
use std::path::Path;

use super::Check;
use super::kernels::Bank;
use crate::analysis::compare::{self, decides};
use crate::analysis::{self, Comparison, EXACT_FLOOR, MetricChange, Weight};
use crate::bisect::bisected::{self, Bisected, Confirmation, Ending};
use crate::bisect::record::Candidate;
use crate::commands::Undecidable;
use crate::commands::bisect::{self, CONFIDENCE, LAYOUT_NOISE, Range, Search, Stopped, Want};
use crate::commands::compare::Looking;
use crate::commands::pair::{self, Pair, Profile};
use crate::kernel::Parents;
use crate::model::{Overall, Test};
use crate::report::bisected::words;
use crate::report::compared::Compared;
use crate::report::series::{basis, change_text, words as words_of_series};
use crate::results::format::State;
use crate::results::{Finished, Standing};
use crate::series::checked::{Answer, Change, Found, Image, Performance, Revision, Verdict, booted};

/// Measures base against tip, and searches for whoever made the tip worse. A test that
/// fails on the tip says nothing of its speed: it is measured up to the last patch with
/// which it passes.
///
/// # Errors
///
/// Fails where the host cannot carry the boots.
pub(super) fn measure(check: &mut Check<'_>, bank: &Bank) -> anyhow::Result<()> {
    let tests: Vec<Test> = check.tests.iter().filter(|test| decides(test)).cloned().collect();
    if tests.is_empty() {
        check.checked.performance = Performance::NotAsked;
        return Ok(());
    }
    let revisions = &check.checked.revisions;
    let reach = reach(revisions, tests);
    if reach.is_empty() {
        let reason = match (revisions[0].is_built(), revisions[1..].iter().any(Revision::is_built)) {
            (false, _) => "the base has no kernel",
            (true, false) => "no patch has a kernel",
            (true, true) => "nothing that measures passes on the base and with a patch",
        };
        check.checked.performance = Performance::NotMeasured { reason: reason.to_owned() };
        return Ok(());
    }
    let mut found: Option<Performance> = None;
    for (head, tests) in reach {
        note_reach(check, head, &tests);
        if same_image(&check.checked.revisions[head]) {
            found.get_or_insert(Performance::SameImage);
            continue;
        }
        let more = against(check, bank, head, tests)?;
        let whole = match found.take() {
            Some(before) => together(before, more),
            None => more,
        };
        // What is known is kept: the next part may be cut off.
        check.checked.performance = whole.clone();
        found = Some(whole);
        if crate::interrupt::requested() {
            break;
        }
    }
    if let Some(found) = found {
        check.checked.performance = found;
    }
    Ok(())
}

fn same_image(revision: &Revision) -> bool {
    revision.image == (Image::SameAs { revision: 0 })
}

/// The last revision with which each test passes, of tests that pass on the base: tests
/// by that revision. What passes on the base only is measured nowhere.
fn reach(revisions: &[Revision], tests: Vec<Test>) -> BTreeMap<usize, Vec<Test>> {
    let passes = |at: usize, test: &Test| {
        let tested = booted(revisions, at).tests.get(&test.id.to_string());
        tested.is_some_and(|it| matches!(it.standing, Standing::Pass | Standing::Flaky))
    };
    let mut reach: BTreeMap<usize, Vec<Test>> = BTreeMap::new();
    for test in tests.into_iter().filter(|test| passes(0, test)) {
        if let Some(last) = (1..revisions.len()).rev().find(|at| passes(*at, &test)) {
            reach.entry(last).or_default().push(test);
        }
    }
    reach
}

/// Says which tests are not measured on the tip.
fn note_reach(check: &mut Check<'_>, head: usize, tests: &[Test]) {
    if head + 1 == check.checked.revisions.len() {
        return;
    }
    let label = words_of_series::label(&check.checked, head);
    let named: Vec<String> = tests.iter().take(3).map(|test| format!("`{}`", test.id)).collect();
    let more = tests.len().saturating_sub(named.len());
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let note = format!("{}{more} do not pass on the tip: measured on {label}", named.join(", "));
    check.checked.notes.push(note);
}

/// Measures base against one of the patches.
fn against(check: &mut Check<'_>, bank: &Bank, head: usize, tests: Vec<Test>) -> anyhow::Result<Performance> {
    let (Some(base), Some(spec)) = (bank.spec(0), bank.spec(head)) else {
        return Ok(Performance::NotMeasured { reason: "a kernel is gone".to_owned() });
    };
    let judged = &check.request.judged;
    let pair = Pair {
        kernels: [base.clone(), spec.clone()],
        tests,
        boots: judged.boots,
        floor: judged.floor(),
        exact_floor: EXACT_FLOOR,
        allowed: &judged.allowed,
        quiet: judged.quiet,
        profile: Profile::OnDemand,
        emulated: judged.emulated,
    };
    let Finished { run, saved } = match pair::measure(check.context, &check.project, pair, &Looking) {
        Ok(finished) => finished,
        Err(error) if error.is::<Undecidable>() => {
            return Ok(Performance::Undecided { reason: format!("{error:#}") });
        }
        Err(error) => return Err(error),
    };
    let label = words_of_series::label(&check.checked, head);
    check.made_of(&format!("base against {label}"), &run.plan.directory);
    saved?;
    crate::report::junit::save(&run)?;
    let Some(comparison) = compare::of_run(&run).filter(|_| run.state == State::Finished) else {
        return Ok(Performance::NotMeasured { reason: "it was stopped before its end".to_owned() });
    };
    let mut performance = performance(&comparison, head);
    let question = |change: &Change| format!("{}:{}", change.test, change.metric);
    for group in groups(&comparison) {
        let Some(first) = group.first() else { continue };
        if crate::interrupt::requested() {
            break;
        }
        let name = format!("{}:{}", first.test, first.metric.name);
        let found = search(check, head, &name)?;
        let Performance::Measured { changes, .. } = &mut performance else { continue };
        for change in changes.iter_mut() {
            if question(change) == name {
                change.found = found.clone();
            } else if group.iter().any(|it| it.test == change.test && it.metric.name == change.metric) {
                change.found = Found::With { name: name.clone() };
            }
        }
    }
    Ok(performance)
}

/// Two parts as one.
fn together(one: Performance, other: Performance) -> Performance {
    match (one, other) {
        (
            Performance::Measured { verdict, mut changes, unchanged, unknown },
            Performance::Measured { verdict: verdict_2, changes: more, unchanged: same, unknown: open },
        ) => {
            changes.extend(more);
            changes.sort_by_key(|change| change.verdict != Verdict::Regressed);
            Performance::Measured {
                verdict: verdict.max(verdict_2),
                changes,
                unchanged: unchanged + same,
                unknown: unknown + open,
            }
        }
        // What could not be measured must not be lost behind what could.
        (Performance::Measured { verdict, changes, unchanged, unknown }, Performance::NotMeasured { .. })
        | (Performance::NotMeasured { .. }, Performance::Measured { verdict, changes, unchanged, unknown }) => {
            Performance::Measured { verdict: verdict.max(Verdict::NotMeasured), changes, unchanged, unknown }
        }
        (Performance::SameImage | Performance::NotAsked, other) => other,
        (one, _) => one,
    }
}

fn performance(comparison: &Comparison, head: usize) -> Performance {
    let gates = || comparison.metrics.iter().filter(|metric| metric.weight == Weight::Gates);
    let verdict = |metric: &MetricChange| match metric.change {
        analysis::Change::Regressed => Verdict::Regressed,
        analysis::Change::Improved => Verdict::Improved,
        analysis::Change::Unchanged => Verdict::Unchanged,
        analysis::Change::Inconclusive(_) => Verdict::Inconclusive,
    };
    let count = |wanted| {
        let count = gates().filter(|metric| verdict(metric) == wanted).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    };
    Performance::Measured {
        verdict: match comparison.overall() {
            // A test that fails is told by the patch that fails it.
            Overall::Regressed if count(Verdict::Regressed) > 0 => Verdict::Regressed,
            Overall::Regressed if count(Verdict::Inconclusive) > 0 => Verdict::Inconclusive,
            Overall::Regressed | Overall::Unchanged => Verdict::Unchanged,
            Overall::Improved => Verdict::Improved,
            Overall::Inconclusive => Verdict::Inconclusive,
            Overall::Failed => Verdict::NotMeasured,
        },
        changes: in_order(comparison)
            .filter(|metric| matches!(verdict(metric), Verdict::Regressed | Verdict::Improved))
            .map(|metric| Change {
                test: metric.test.clone(),
                metric: metric.metric.name.clone(),
                head,
                verdict: verdict(metric),
                text: change_text(metric),
                basis: basis(metric),
                found: Found::NotSearched,
            })
            .collect(),
        unchanged: count(Verdict::Unchanged),
        unknown: count(Verdict::Inconclusive),
    }
}

/// Metrics that decide: what is worse first, and large changes before small ones.
fn in_order(comparison: &Comparison) -> impl Iterator<Item = &MetricChange> {
    let compared = Compared { comparison, overall: comparison.overall(), runs: &[] };
    compared.metrics().into_iter().filter(|metric| metric.weight == Weight::Gates)
}

/// Metrics that are worse, by the test without its parameters: of each such group the
/// one that is searched for stands first. What can be told best is found with the
/// fewest boots: where counts or virtual time decide, one does.
fn groups(comparison: &Comparison) -> Vec<Vec<&MetricChange>> {
    let worse = in_order(comparison).filter(|metric| metric.change == analysis::Change::Regressed);
    let mut groups: Vec<Vec<&MetricChange>> = Vec::new();
    let family = |test: &str| test.split('[').next().unwrap_or(test).to_owned();
    for metric in worse {
        match groups.iter_mut().find(|group| family(&group[0].test) == family(&metric.test)) {
            Some(group) => group.push(metric),
            None => groups.push(vec![metric]),
        }
    }
    for group in &mut groups {
        // Of those that are as certain the larger change stays in front.
        group.sort_by(|a, b| {
            let exact = |it: &MetricChange| it.rule == analysis::Rule::Exact;
            let chance = |it: &MetricChange| it.p.unwrap_or(0.0);
            exact(b).cmp(&exact(a)).then(chance(a).total_cmp(&chance(b)))
        });
    }
    groups
}

/// Searches among the patches up to one of them.
fn search(check: &mut Check<'_>, head: usize, metric: &str) -> anyhow::Result<Found> {
    let commits = &check.checked.revisions[1..=head];
    let known: Vec<bisected::Commit> = commits.iter().filter_map(commit).collect();
    let (Some(good), Some(bad)) = (commit(&check.checked.revisions[0]), known.last().cloned()) else {
        return Ok(Found::Nobody { reason: "a patch has no commit".to_owned() });
    };
    let search = Search {
        tree: check.request.tree.clone(),
        good: good.hash.clone(),
        others_good: Vec::new(),
        bad: bad.hash.clone(),
        want: Want::Metric(metric.to_owned()),
        paths: Vec::new(),
        parents: Parents::All,
        confidence: CONFIDENCE,
        floor: check.request.judged.floor(),
        layout_noise: LAYOUT_NOISE,
        fix_build: None,
        quiet: check.request.judged.quiet,
    };
    let candidate = |(at, commit): (usize, &bisected::Commit)| Candidate {
        commit: commit.clone(),
        parents: at.checked_sub(1).into_iter().collect(),
        files: commits[at].files.clone(),
    };
    let commits = known.iter().enumerate().map(candidate).collect();
    let range = Range { good, others_good: Vec::new(), bad, commits };
    let (found, stopped) = bisect::among(check.context, &check.project, &search, range)?;
    check.made_of(&format!("search for {metric}"), Path::new(&found.directory));
    Ok(match stopped {
        Stopped::Interrupted => Found::NotSearched,
        Stopped::Done => answer(&found, &check.checked.revisions),
    })
}

/// A patch as a commit that can be searched.
fn commit(revision: &Revision) -> Option<bisected::Commit> {
    Some(bisected::Commit {
        hash: revision.commit.clone()?,
        subject: revision.subject.clone(),
        author: revision.author.clone().unwrap_or_default(),
        date: revision.date.clone().unwrap_or_default(),
    })
}

/// What a search found, in places of the series.
fn answer(found: &Bisected, revisions: &[Revision]) -> Found {
    let place = |commit: &bisected::Commit| {
        revisions.iter().position(|revision| revision.commit.as_deref() == Some(&commit.hash))
    };
    let confirmed = found.answers.iter().filter(|answer| match answer.confirmation {
        Confirmation::Confirmed { .. } => true,
        Confirmation::Pending | Confirmation::NotConfirmed { .. } | Confirmation::NoOp => false,
    });
    let answers: Vec<Answer> = confirmed
        .map(|answer| Answer {
            revisions: answer.commits.iter().filter_map(place).collect(),
            probability: answer.probability,
            claim: words::claim(&found.question, answer),
        })
        .collect();
    if answers.is_empty() {
        let reason = match &found.ending {
            Ending::NotReproduced { reason, .. } => {
                format!("the search did not see the difference again: {reason}")
            }
            _ => words::headline(found),
        };
        return Found::Nobody { reason };
    }
    Found::Patches { answers }
}
