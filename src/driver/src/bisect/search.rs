//! One step of a search: what is known of its commits, and which of them is booted
//! next. Decides nothing itself: the method is that of `analysis::bisect`.

use super::leg::{Known, Leg, known};
use super::pair::{Judge, Scale};
use super::record::{Target, short};
use super::state::State;
use crate::analysis::bisect::{
    Class, Contradiction, Costs, Exact, ExactStep, Forecast, Kind, Posterior, Standing, choose, credible_set,
    exact_next, forecast, posterior, standing,
};
use crate::analysis::stats::median;

/// Boots from which a member may be at a level of its own.
const FEWEST: usize = 5;

/// Standard errors from both levels that this takes: with normal noise one member in
/// 30,000 is mistaken, and half of the difference is six of them by the precision of
/// the endpoints.
const APART: f64 = 4.0;

/// Part of the way from the old level to the new one that is neither of them.
const MIDDLE: std::ops::RangeInclusive<f64> = 0.25..=0.75;

/// Boots of a member after which more of them are in vain. From experience: the weakest
/// effect that passes the gate needs some forty.
const ENOUGH: usize = 60;

/// Probabilities to be on the bad side that say nothing.
const UNSURE: std::ops::Range<f64> = 0.02..0.98;

/// Where a search stands.
#[derive(Debug)]
pub(super) struct Search {
    /// What is known of its commits.
    pub(super) known: Known,
    /// How probable each member is; adds up to 1.
    pub(super) probabilities: Vec<f64>,
    /// What comes next.
    pub(super) step: Step,
    /// What it still costs, roughly.
    pub(super) remaining: Option<Forecast>,
}

/// What comes next.
#[derive(Debug)]
pub(super) enum Step {
    /// So many more boots of a target.
    Boot {
        /// What is booted.
        target: Target,
        /// How many more.
        boots: u32,
        /// Why, in one line.
        why: String,
    },
    /// It is one of these.
    Found(Class),
    /// This member is at a level of its own: there is a change before it and another one
    /// behind.
    Between(usize),
    /// Nothing that can be tested tells more.
    Exhausted,
    /// What was measured has no single culprit.
    Contradiction(String),
}

/// Looks at a search.
pub(super) fn look(state: &State, leg: &Leg, judge: Judge) -> Search {
    let known = known(state, leg, judge);
    match judge {
        Judge::Exact { old, new } => exact(state, leg, known, old, new),
        Judge::Noisy(scale) => {
            let layout = match scale {
                Scale::Logarithms => state.plan.layout_noise,
                // A share of the level of the side that is nearer to zero.
                Scale::Plain => state.plan.layout_noise * nearer_level(&known),
            };
            probable(state, leg, known, Kind::Levels { layout })
        }
        Judge::Rates => probable(state, leg, known, Kind::Rates),
    }
}

fn nearer_level(known: &Known) -> f64 {
    let level = |values: &[f64]| median(values).unwrap_or(0.0).abs();
    level(&known.evidence.good).min(level(&known.evidence.bad))
}

/// The commits of a class that may be it: one that left the image as it was is none.
fn possible(class: Class, prior: &[f64]) -> Class {
    let suspects: Vec<usize> = class.suspects.iter().copied().filter(|it| prior[*it] > 0.0).collect();
    if suspects.is_empty() { class } else { Class { suspects, ..class } }
}

fn probable(state: &State, leg: &Leg, mut known: Known, kind: Kind) -> Search {
    let dag = &leg.dag;
    let mut now = posterior(dag, kind, &known.prior, &known.evidence);
    if let Some(member) = between(&known, kind, &now) {
        let probabilities = now.suspects().to_vec();
        return Search { probabilities, known, step: Step::Between(member), remaining: None };
    }
    for member in undecided(leg, &known, &now) {
        known.aside.insert(member, format!("{ENOUGH} boots do not say which side it is on"));
        known.evidence.set_aside.insert(member);
        now = posterior(dag, kind, &known.prior, &known.evidence);
    }
    let costs = known.costs(leg, state);
    let step = match standing(dag, kind, &now, &known.evidence, state.plan.confidence) {
        Standing::Settled(class) => Step::Found(possible(class, &known.prior)),
        Standing::Open { wanting } => {
            let why = match wanting {
                Some(_) => "a neighbour of the answer has too few boots",
                None => "it tells most for what it costs",
            };
            match wanting.or_else(|| choose(dag, kind, &now, &known.evidence, &costs)) {
                Some(choice) => boot(state, leg, choice.commit, choice.boots, why),
                None => Step::Exhausted,
            }
        }
    };
    let effect = Some(now.effect_over_spread()).filter(|it| it.is_finite());
    let remaining = forecast(now.suspects(), kind, effect, &costs, state.plan.confidence);
    Search { probabilities: now.suspects().to_vec(), known, step, remaining: Some(remaining) }
}

/// A member whose boots are at neither level, if there is one: by five boots or more, in
/// the middle half of the way, and [`APART`] standard errors from both ends.
fn between(known: &Known, kind: Kind, now: &Posterior) -> Option<usize> {
    let Kind::Levels { layout } = kind else { return None };
    let level = |boots: &[f64]| median(boots);
    let error = |boots: &[f64]| {
        // The median of normal boots has 1.57 times the variance of their mean.
        (layout.powi(2) + 1.57 * now.spread().powi(2) / boots.len() as f64).sqrt()
    };
    let evidence = &known.evidence;
    let (old, new) = (level(&evidence.good)?, level(&evidence.bad)?);
    let (old_error, new_error) = (error(&evidence.good), error(&evidence.bad));
    evidence.boots.iter().filter(|(_, boots)| boots.len() >= FEWEST).find_map(|(member, boots)| {
        let (here, own) = (level(boots)?, error(boots));
        let way = (here - old) / (new - old);
        let apart = (here - old).abs() > APART * own.hypot(old_error)
            && (here - new).abs() > APART * own.hypot(new_error);
        (MIDDLE.contains(&way) && apart).then_some(*member)
    })
}

/// Members whose boots do not say which side they are on, however many there are.
fn undecided(leg: &Leg, known: &Known, now: &Posterior) -> Vec<usize> {
    let inside = leg.dag.sums(now.suspects());
    let many = known.evidence.boots.iter().filter(|(_, boots)| boots.len() >= ENOUGH);
    many.map(|(member, _)| *member).filter(|member| UNSURE.contains(&inside[*member])).collect()
}

fn boot(state: &State, leg: &Leg, member: usize, boots: u32, why: &str) -> Step {
    let target = leg.target(state, member);
    let subject = &state.plan.commits[leg.members[member]].commit.subject;
    let why = format!("{} {subject}: {why}", target.name());
    Step::Boot { target, boots, why }
}

fn exact(state: &State, leg: &Leg, known: Known, old: f64, new: f64) -> Search {
    // A number that does not vary needs no other boot to be a level of its own.
    let way = |boots: &[f64]| median(boots).map(|here| (here - old) / (new - old));
    let mut measured = known.evidence.boots.iter();
    if let Some((member, _)) = measured.find(|(_, boots)| way(boots).is_some_and(|it| MIDDLE.contains(&it))) {
        let (member, all) = (*member, leg.members.len());
        let probabilities = spread(&(0..all).collect::<Vec<_>>(), &known.prior, all);
        return Search { known, probabilities, step: Step::Between(member), remaining: None };
    }
    let sides = known.sides(leg, state, old, new);
    // One with the image of another is not booted for itself, but counts where that one
    // has a number.
    let unknown = known.same.keys().filter(|member| !sides.contains_key(*member));
    let aside = known.aside.keys().chain(unknown).copied().collect();
    let costs = known.costs(leg, state);
    let found = exact_next(&leg.dag, &sides, &aside, &costs.cached);
    let all = leg.members.len();
    let feasible = Exact::of(&leg.dag, &sides).feasible;
    let probabilities = spread(&feasible, &known.prior, all);
    let left = feasible.len().max(1) as f64;
    let step = match found {
        ExactStep::Measure(member) => boot(state, leg, member, 1, "it halves what is left"),
        ExactStep::Found(class) => Step::Found(possible(class, &known.prior)),
        ExactStep::Contradiction(what) => Step::Contradiction(contradiction(state, leg, &what)),
    };
    let steps = left.log2().ceil();
    let remaining = Forecast { builds: steps, boots: steps, seconds: steps * (costs.boot + costs.build) };
    Search { known, probabilities, step, remaining: Some(remaining) }
}

/// Equal shares for those that are still possible.
fn spread(feasible: &[usize], prior: &[f64], all: usize) -> Vec<f64> {
    let mut possible: Vec<usize> = feasible.iter().copied().filter(|it| prior[*it] > 0.0).collect();
    if possible.is_empty() {
        possible = feasible.to_vec();
    }
    let mut shares = vec![0.0; all];
    for member in &possible {
        shares[*member] = 1.0 / possible.len() as f64;
    }
    shares
}

fn contradiction(state: &State, leg: &Leg, what: &Contradiction) -> String {
    let name = |member: usize| {
        let target = leg.target(state, member);
        let subject = &state.plan.commits[leg.members[member]].commit.subject;
        format!("{} ({subject})", target.name())
    };
    match what {
        Contradiction::Returned { new, old } => format!(
            "{} is as the bad endpoint is, and {}, which contains it, is as the good one: \
             something between them took it back, or the metric changes in more than one step",
            name(*new),
            name(*old)
        ),
        Contradiction::Several { new } => {
            let all: Vec<String> = new.iter().map(|member| name(*member)).collect();
            format!("no commit is in all of these, which are as the bad endpoint is: {}", all.join(", "))
        }
    }
}

/// The most probable suspects until they hold the confidence that was asked for, as
/// numbers of the plan.
pub(super) fn suspects(state: &State, leg: &Leg, probabilities: &[f64]) -> Vec<(usize, f64)> {
    credible_set(probabilities, state.plan.confidence)
        .into_iter()
        .map(|member| (leg.members[member], probabilities[member]))
        .collect()
}

/// What a search costs before anything is known of the effect.
pub(super) fn before_the_first_boot(state: &State, leg: &Leg) -> Forecast {
    let shares = vec![1.0 / leg.members.len() as f64; leg.members.len()];
    let costs =
        Costs { boot: state.boot_seconds(), build: state.build_seconds(), cached: Default::default() };
    forecast(&shares, Kind::Levels { layout: 0.0 }, None, &costs, state.plan.confidence)
}

/// A commit for one line.
pub(super) fn line(hash: &str, subject: &str) -> String {
    format!("{} {subject}", short(hash))
}
