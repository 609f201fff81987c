//! What a bisection found, from its record. Pure.

use super::bisected::{
    Answer, Bisected, Commit, Ending, Question, Remaining, Row, Rule, Search, State as CommitState, Suspect,
};
use super::leg::Leg;
use super::pair::{Judge, shows, values};
use super::record::{self, FixUse, KernelOutcome, Phase, Target};
use super::search;
use super::state::State;
use super::walk::{Budget, End, Found, Walk, Walked, walk};
use crate::analysis::bisect::Forecast;
use crate::analysis::{BreakdownChange, breakdown_change};

/// What is known so far.
#[must_use]
pub fn outcome(state: &State, budget: &Budget, directory: &str) -> Bisected {
    let walk = walk(state);
    let plan = &state.plan;
    let first = walk.legs.first();
    let judge = first.and_then(|leg| leg.judge);
    Bisected {
        session: plan.id.clone(),
        directory: directory.to_owned(),
        command: plan.command.clone(),
        tree: plan.tree.clone(),
        question: question(state, judge),
        environment: state.place(),
        good: plan.good.clone(),
        good_values: numbers(state, &Target::Commit(plan.good.hash.clone())),
        bad: plan.bad.clone(),
        commits: rows(state, first),
        later: walk.legs.iter().skip(1).filter_map(later).collect(),
        endpoints: first.and_then(|leg| leg.ends),
        ending: ending(state, &walk, budget),
        answers: walk.legs.iter().filter_map(|leg| answer(state, leg)).collect(),
        suspects: suspects(state, &walk),
        spent: state.spent(),
        remaining: walk.remaining.map(remaining),
        notes: notes(state, first),
    }
}

fn question(state: &State, judge: Option<Judge>) -> Question {
    match &state.plan.question {
        record::Question::Metric { test, metric } => Question::Metric {
            test: test.clone(),
            metric: metric.clone(),
            rule: judge.and_then(|judge| match judge {
                Judge::Noisy(_) => Some(Rule::Noisy),
                Judge::Exact { .. } => Some(Rule::Exact),
                Judge::Rates => None,
            }),
            layout_noise: matches!(judge, Some(Judge::Noisy(_))).then_some(state.plan.layout_noise),
        },
        record::Question::Test { test } => Question::Test { test: test.clone() },
        record::Question::Finding { test, title } => {
            Question::Finding { test: test.clone(), title: title.clone() }
        }
    }
}

fn rows(state: &State, first: Option<&Walked>) -> Vec<Row> {
    let tip = state.plan.commits.len().saturating_sub(1);
    let bad = Target::Commit(state.plan.bad.hash.clone());
    let row = |(at, candidate): (usize, &record::Candidate)| {
        let target = if at == tip { bad.clone() } else { Target::Commit(candidate.commit.hash.clone()) };
        let search = first.and_then(|leg| leg.search.as_ref());
        let numbers = numbers(state, &target);
        let known = search.map(|it| &it.known);
        let same = known.and_then(|it| it.same.get(&at));
        let became = match (same, known.and_then(|it| it.aside.get(&at))) {
            (Some(of), _) => CommitState::SameImage { of: of.hash().to_owned() },
            (None, Some(reason)) => CommitState::SetAside { reason: reason.clone() },
            (None, None) if !numbers.is_empty() => CommitState::Measured,
            (None, None) => CommitState::Untouched,
        };
        Row {
            commit: candidate.commit.clone(),
            parents: candidate.parents.clone(),
            probability: search.and_then(|it| it.probabilities.get(at)).copied().unwrap_or(0.0),
            values: numbers,
            state: became,
        }
    };
    state.plan.commits.iter().enumerate().map(row).collect()
}

fn later(walked: &Walked) -> Option<Search> {
    let leg = &walked.leg;
    let probabilities = &walked.search.as_ref()?.probabilities;
    Some(Search {
        good: leg.good.hash().to_owned(),
        bad: leg.bad.hash().to_owned(),
        probabilities: leg.members.iter().copied().zip(probabilities.iter().copied()).collect(),
    })
}

/// Boots of a target for the searches, as people read them.
fn numbers(state: &State, target: &Target) -> Vec<f64> {
    let boots = state.boots_of_searches(target);
    values(&boots).iter().map(|boot| boot.value.median).chain(shows(&boots)).collect()
}

fn ending(state: &State, walk: &Walk, budget: &Budget) -> Ending {
    if state.missing().is_some() {
        return Ending::Unfinished;
    }
    if walk.wants.is_some() {
        return if budget.is_spent(state) { Ending::BudgetSpent } else { Ending::Unfinished };
    }
    match &walk.end {
        End::Open => Ending::Unfinished,
        End::Found => Ending::Found,
        End::NotReproduced { reason, needs } => {
            Ending::NotReproduced { reason: reason.clone(), needs_boots: *needs }
        }
        End::EndpointFailed { target, reason } => {
            Ending::EndpointFailed { commit: target.hash().to_owned(), reason: reason.clone() }
        }
        End::Contradiction(reason) => Ending::Contradiction { reason: reason.clone() },
        End::Exhausted => Ending::Exhausted,
    }
}

fn answer(state: &State, walked: &Walked) -> Option<Answer> {
    let found = walked.found.as_ref()?;
    let candidates = || {
        let members = found.class.suspects.iter().map(|member| walked.leg.members[*member]);
        members.filter_map(|member| state.plan.commits.get(member))
    };
    let commits: Vec<Commit> = candidates().map(|it| it.commit.clone()).collect();
    let files = match commits.len() {
        1 => candidates().flat_map(|it| it.files.clone()).collect(),
        _ => Vec::new(),
    };
    Some(Answer {
        commits,
        probability: found.class.probability,
        before: commit(state, &found.before),
        after: commit(state, &found.after),
        confirmation: found.confirmation.clone(),
        explains: found.explains,
        reverted: found.reverted.clone(),
        breakdown: breakdown(state, &walked.leg, found),
        files,
    })
}

fn commit(state: &State, target: &Target) -> Commit {
    let plan = &state.plan;
    let hash = target.hash();
    if hash == plan.good.hash {
        return plan.good.clone();
    }
    let candidate = state.candidate(hash).and_then(|at| plan.commits.get(at));
    candidate.map_or_else(|| plan.bad.clone(), |it| it.commit.clone())
}

fn breakdown(state: &State, leg: &Leg, found: &Found) -> Option<BreakdownChange> {
    let test = state.plan.profile.as_deref()?;
    let boots = |target| state.boots(leg.number, Phase::Profile, target);
    let (before, after) = (boots(&found.before), boots(&found.after));
    let of = |boots: &[&record::BootLine]| -> Vec<kregress_wire::Breakdown> {
        boots.iter().filter_map(|boot| boot.breakdown.clone()).collect()
    };
    let (before, after) = (of(&before), of(&after));
    breakdown_change(test, &before.iter().collect::<Vec<_>>(), &after.iter().collect::<Vec<_>>())
}

fn suspects(state: &State, walk: &Walk) -> Vec<Suspect> {
    let Some(open) = walk.legs.last().filter(|leg| leg.found.is_none()) else { return Vec::new() };
    let Some(search) = &open.search else { return Vec::new() };
    search::suspects(state, &open.leg, &search.probabilities)
        .into_iter()
        .filter_map(|(at, probability)| {
            let commit = state.plan.commits.get(at)?.commit.clone();
            Some(Suspect { commit, probability })
        })
        .collect()
}

fn remaining(forecast: Forecast) -> Remaining {
    Remaining { builds: forecast.builds, boots: forecast.boots, seconds: forecast.seconds }
}

fn notes(state: &State, first: Option<&Walked>) -> Vec<String> {
    let mut notes = Vec::new();
    for good in &state.plan.others_good {
        let name = search::line(&good.hash, &good.subject);
        notes.push(format!("{name} was taken to be good without a boot."));
    }
    if !state.plan.paths.is_empty() {
        notes.push(format!(
            "only commits that change something below {} were suspects: for another one, the next of \
             them would be named.",
            state.plan.paths.join(", ")
        ));
    }
    if let Some(search) = first.and_then(|leg| leg.search.as_ref()) {
        for (at, reason) in &search.known.aside {
            if let Some(candidate) = state.plan.commits.get(*at) {
                let name = search::line(&candidate.commit.hash, &candidate.commit.subject);
                notes.push(format!("{name} was set aside and stays a suspect: {reason}."));
            }
        }
    }
    let left_out =
        |outcome: &KernelOutcome| matches!(outcome, KernelOutcome::Ready { fix: FixUse::LeftOut, .. });
    match state.kernels().filter(|(_, outcome)| left_out(outcome)).count() {
        0 => {}
        1 => notes.push(
            "the patch of --fix-build was left out of one kernel, which does not build with it.".to_owned(),
        ),
        many => notes.push(format!(
            "the patch of --fix-build was left out of {many} kernels, which do not build with it."
        )),
    }
    let mut lacking: Vec<(String, u32)> = Vec::new();
    for (_, outcome) in state.kernels() {
        let KernelOutcome::Ready { lacks, .. } = outcome else { continue };
        for symbol in lacks {
            match lacking.iter_mut().find(|(name, _)| name == symbol) {
                Some((_, kernels)) => *kernels += 1,
                None => lacking.push((symbol.clone(), 1)),
            }
        }
    }
    for (symbol, kernels) in lacking {
        let revisions = if kernels == 1 { "revision" } else { "revisions" };
        notes.push(format!("{kernels} {revisions} lacked {symbol}."));
    }
    notes
}
