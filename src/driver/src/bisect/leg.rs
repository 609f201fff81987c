//! One search: its two ends, the commits between, and what was measured of them.
//!
//! The first goes over the whole range. Where its answer explains too little, the next
//! goes over what lies before or behind that answer.

use std::collections::{BTreeMap, BTreeSet};

use super::pair::{Judge, Scale, shows, silent, values};
use super::record::{BootLine, KernelOutcome, Target, Touched};
use super::state::State;
use crate::analysis::bisect::{Costs, Dag, DagError, Evidence, Side, Touch, prior};
use crate::analysis::stats::median;
use crate::model::first_line;

/// Boots without a number after which a member that mostly has none is set aside. From
/// experience: who wants five numbers of it would boot it for hours.
const MUTE: usize = 8;

/// A search over a part of the range.
#[derive(Debug, Clone)]
pub(super) struct Leg {
    /// From 0.
    pub(super) number: u32,
    /// The end without the change.
    pub(super) good: Target,
    /// The end with it.
    pub(super) bad: Target,
    /// Numbers of its commits among the candidates, parents before children; the last
    /// one is measured as `bad`.
    pub(super) members: Vec<usize>,
    /// The same as a graph.
    pub(super) dag: Dag,
}

impl Leg {
    /// The whole range.
    pub(super) fn whole(state: &State) -> Result<Self, DagError> {
        let plan = &state.plan;
        let ends = (Target::Commit(plan.good.hash.clone()), Target::Commit(plan.bad.hash.clone()));
        Self::over(state, 0, ends, (0..plan.commits.len()).collect())
    }

    fn over(
        state: &State,
        number: u32,
        (good, bad): (Target, Target),
        members: Vec<usize>,
    ) -> Result<Self, DagError> {
        let position: BTreeMap<usize, usize> =
            members.iter().enumerate().map(|(at, member)| (*member, at)).collect();
        let parents = members.iter().map(|member| {
            let parents = &state.plan.commits[*member].parents;
            parents.iter().filter_map(|parent| position.get(parent).copied()).collect()
        });
        let dag = Dag::new(parents.collect())?;
        Ok(Self { number, good, bad, members, dag })
    }

    /// What lies before a member: a search that ends there.
    pub(super) fn before(&self, state: &State, member: usize, number: u32) -> Result<Self, DagError> {
        let inside = (0..self.members.len()).filter(|it| self.dag.contains(member, *it));
        let members = inside.map(|it| self.members[it]).collect();
        let ends = (self.good.clone(), self.target(state, member));
        Self::over(state, number, ends, members)
    }

    /// What lies behind a member: a search that begins there.
    pub(super) fn behind(&self, state: &State, member: usize, number: u32) -> Result<Self, DagError> {
        let outside = (0..self.members.len()).filter(|it| !self.dag.contains(member, *it));
        let members = outside.map(|it| self.members[it]).collect();
        let ends = (self.target(state, member), self.bad.clone());
        Self::over(state, number, ends, members)
    }

    /// What is booted for a member.
    pub(super) fn target(&self, state: &State, member: usize) -> Target {
        if member == self.dag.tip() {
            return self.bad.clone();
        }
        Target::Commit(state.plan.commits[self.members[member]].commit.hash.clone())
    }

    /// What is booted for a boundary; without one, that is the good end.
    pub(super) fn boundary(&self, state: &State, member: Option<usize>) -> Target {
        member.map_or_else(|| self.good.clone(), |member| self.target(state, member))
    }
}

/// What is known of the members of a leg.
#[derive(Debug)]
pub(super) struct Known {
    /// Boots, on the scale of the analysis.
    pub(super) evidence: Evidence,
    /// Members whose image is that of another target.
    pub(super) same: BTreeMap<usize, Target>,
    /// Why members were set aside.
    pub(super) aside: BTreeMap<usize, String>,
    /// How probable each member is before it is measured; not normalised.
    pub(super) prior: Vec<f64>,
}

/// Collects what is known of a leg.
pub(super) fn known(state: &State, leg: &Leg, judge: Judge) -> Known {
    let numbers = |target: &Target| numbers(&state.boots_to_search(leg.number, target), judge);
    let mut known = Known {
        evidence: Evidence {
            good: numbers(&leg.good),
            bad: numbers(&leg.bad),
            boots: BTreeMap::new(),
            set_aside: BTreeSet::new(),
        },
        same: BTreeMap::new(),
        aside: BTreeMap::new(),
        prior: Vec::new(),
    };
    // Who was the first to have an image: the good end is nobody's member.
    let mut images: BTreeMap<&str, (Option<usize>, Target)> = BTreeMap::new();
    let mut alike = Vec::new();
    let tip = leg.dag.tip();
    let ends = [(None, leg.good.clone()), (Some(tip), leg.bad.clone())];
    for (member, target) in &ends {
        if let Some(image) = state.image(target) {
            images.entry(image).or_insert((*member, target.clone()));
        }
    }
    // Of kernels with the same image one that has a number stands for the others.
    let (booted, others): (Vec<_>, Vec<_>) =
        state.kernels_to_search(leg.number).partition(|(target, _)| !numbers(target).is_empty());
    let position: BTreeMap<usize, usize> =
        leg.members.iter().enumerate().map(|(at, member)| (*member, at)).collect();
    for (target, outcome) in booted.into_iter().chain(others) {
        let Target::Commit(hash) = target else { continue };
        let candidate = state.candidate(hash).and_then(|it| position.get(&it));
        let Some(member) = candidate.copied().filter(|member| *member != tip) else { continue };
        match outcome {
            KernelOutcome::Unbuildable { reason, .. } => {
                known.aside.insert(member, format!("cannot be built: {}", first_line(reason)));
            }
            KernelOutcome::Ready { image: Some(image), .. } => match images.get(image.as_str()) {
                Some((other, of)) => {
                    alike.push((*other, Some(member)));
                    known.same.insert(member, of.clone());
                }
                None => {
                    images.insert(image, (Some(member), target.clone()));
                }
            },
            KernelOutcome::Ready { image: None, .. } => {}
        }
        let boots = state.boots_to_search(leg.number, target);
        let numbers = self::numbers(&boots, judge);
        if let Some(reason) = in_vain(&boots, &numbers) {
            known.aside.insert(member, reason);
        }
        if !numbers.is_empty() && !known.same.contains_key(&member) {
            known.evidence.boots.insert(member, numbers);
        }
    }
    // Who has the image of one that says nothing will say nothing either.
    for (member, of) in &known.same {
        let candidate = state.candidate(of.hash()).and_then(|it| position.get(&it));
        if let Some(reason) = candidate.and_then(|it| known.aside.get(it)).cloned() {
            known.aside.entry(*member).or_insert(reason);
        }
    }
    known.evidence.set_aside = known.aside.keys().chain(known.same.keys()).copied().collect();
    let touches: Vec<Touch> = leg
        .members
        .iter()
        .map(|member| match state.touched(*member) {
            Touched::Suite => Touch::SuitePaths,
            Touched::Elsewhere => Touch::Elsewhere,
            Touched::NotInKernel => Touch::NotInKernel,
        })
        .collect();
    known.prior = prior(&touches, &alike, &leg.dag);
    known
}

/// Why more boots of a member are in vain, if they are.
fn in_vain(boots: &[&BootLine], numbers: &[f64]) -> Option<String> {
    if let Some(reason) = silent(boots) {
        return Some(format!("says nothing: {reason}"));
    }
    let without = boots.len().saturating_sub(numbers.len());
    (without >= MUTE && without > 2 * numbers.len())
        .then(|| format!("{without} of {} boots gave nothing that can be compared", boots.len()))
}

/// Boots as the analysis takes them.
fn numbers(boots: &[&BootLine], judge: Judge) -> Vec<f64> {
    let plain = || values(boots).into_iter().map(|boot| boot.value.median);
    match judge {
        Judge::Noisy(Scale::Logarithms) => plain().filter(|it| *it > 0.0).map(f64::ln).collect(),
        Judge::Noisy(Scale::Plain) | Judge::Exact { .. } => plain().collect(),
        Judge::Rates => shows(boots),
    }
}

impl Known {
    /// Which side every measured member is on, for exact metrics.
    pub(super) fn sides(&self, leg: &Leg, state: &State, old: f64, new: f64) -> BTreeMap<usize, Side> {
        let nearer = |value: f64| {
            if (value - old).abs() < (value - new).abs() { Side::Old } else { Side::New }
        };
        let measured = self.evidence.boots.iter();
        let mut sides: BTreeMap<usize, Side> =
            measured.filter_map(|(member, boots)| Some((*member, nearer(median(boots)?)))).collect();
        for (member, of) in &self.same {
            let side = if *of == leg.good {
                Some(Side::Old)
            } else if *of == leg.bad {
                Some(Side::New)
            } else {
                let boots = state.boots_to_search(leg.number, of);
                median(&values(&boots).iter().map(|boot| boot.value.median).collect::<Vec<_>>()).map(nearer)
            };
            if let Some(side) = side {
                sides.insert(*member, side);
            }
        }
        sides
    }

    /// What the next steps cost, and which kernels need no build.
    pub(super) fn costs(&self, leg: &Leg, state: &State) -> Costs {
        let cached = (0..leg.members.len()).filter(|member| {
            let built = state.kernel(&leg.target(state, *member)).is_some();
            built || state.was_stored(leg.members[*member])
        });
        Costs { boot: state.boot_seconds(), build: state.build_seconds(), cached: cached.collect() }
    }
}
