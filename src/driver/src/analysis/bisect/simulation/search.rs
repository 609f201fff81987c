//! Whole bisections of a known history: ours from the endpoints to the answer,
//! and `git bisect run` with a threshold.

use std::collections::{BTreeMap, BTreeSet};

use kregress_wire::{Better, Kind as MetricKind};

use super::world::{At, Metric, World};
use crate::analysis::bisect::{
    Class, Costs, Evidence, ExactStep, Side, Standing, choose, difference, exact_next, posterior, standing,
};
use crate::analysis::comparison::{BootValue, Change, Weight};
use crate::analysis::stats::{fisher, median};
use crate::analysis::{Boot, FAILURE_THRESHOLD, Family, Gate, LOOKS, Look, Subject};
use crate::model::Accel;

/// What building costs, in boots.
pub(super) const BUILD: f64 = 10.0;

/// Boots of an endpoint at most.
const ENDPOINT: usize = 40;

/// The search gives up after so many boots between the endpoints.
const SEARCH: usize = 600;

/// How a bisection ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    /// The endpoints do not differ.
    Refused,
    /// No answer within the boots, or nothing to test any more.
    Unknown,
    /// An answer.
    Named(Class),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub(super) end: End,
    /// Kernels that were built or tried.
    pub(super) builds: usize,
    pub(super) boots: usize,
}

impl Run {
    /// In boots.
    pub(super) fn cost(&self) -> f64 {
        BUILD * self.builds as f64 + self.boots as f64
    }

    pub(super) fn names(&self, commit: usize) -> bool {
        matches!(&self.end, End::Named(class) if class.suspects.contains(&commit))
    }
}

/// Ours, at 95 %.
pub(super) fn bayes(world: &mut World) -> Run {
    let kind = world.metric.kind();
    let mut evidence = Evidence::default();
    let different = endpoints(world, &mut evidence);
    let mut run = Run { end: End::Refused, builds: 2, boots: evidence.good.len() + evidence.bad.len() };
    if !different {
        return run;
    }
    run.end = End::Unknown;
    let prior = vec![1.0; world.dag.len()];
    let mut costs = Costs { boot: 1.0, build: BUILD, cached: BTreeSet::new() };
    let most = run.boots + SEARCH;
    while run.boots < most {
        let state = posterior(&world.dag, kind, &prior, &evidence);
        let next = match standing(&world.dag, kind, &state, &evidence, 0.95) {
            Standing::Settled(class) => {
                run.end = End::Named(class);
                return run;
            }
            Standing::Open { wanting } => {
                wanting.or_else(|| choose(&world.dag, kind, &state, &evidence, &costs))
            }
        };
        let Some(choice) = next else { return run };
        run.builds += usize::from(costs.cached.insert(choice.commit));
        if world.broken.contains(&choice.commit) {
            evidence.set_aside.insert(choice.commit);
            continue;
        }
        run.boots += choice.boots as usize;
        let boots = (0..choice.boots).map(|_| world.boot(At::Commit(choice.commit)));
        evidence.boots.entry(choice.commit).or_default().extend(boots);
    }
    run
}

/// `git bisect run`: a commit is bad where the median of so many boots lies beyond the middle between
/// the endpoints, or, of failures, where any boot fails.
pub(super) fn threshold(world: &mut World, boots: usize) -> Run {
    const OF_ENDPOINT: usize = 5;
    let tip = world.dag.tip();
    let measure = |world: &mut World, at: At, boots: usize| {
        let values: Vec<f64> = (0..boots).map(|_| world.boot(at)).collect();
        match world.metric {
            Metric::Time { .. } => median(&values).expect("a boot"),
            Metric::Failure { .. } => values.into_iter().fold(0.0, f64::max),
        }
    };
    let good = measure(world, At::Good, OF_ENDPOINT);
    let bad = measure(world, At::Commit(tip), OF_ENDPOINT);
    let limit = match world.metric {
        Metric::Time { .. } => f64::midpoint(good, bad),
        Metric::Failure { .. } => 0.5,
    };
    let mut run = Run { end: End::Unknown, builds: 2, boots: 2 * OF_ENDPOINT };
    let (mut sides, mut skipped) = (BTreeMap::new(), BTreeSet::new());
    loop {
        match exact_next(&world.dag, &sides, &skipped, &BTreeSet::new()) {
            ExactStep::Found(class) => {
                run.end = End::Named(class);
                return run;
            }
            ExactStep::Contradiction(_) => return run,
            ExactStep::Measure(commit) => {
                run.builds += 1;
                if world.broken.contains(&commit) {
                    skipped.insert(commit);
                    continue;
                }
                run.boots += boots;
                let new = measure(world, At::Commit(commit), boots) > limit;
                sides.insert(commit, if new { Side::New } else { Side::Old });
            }
        }
    }
}

/// Boots of the endpoints in turn until their difference is known to a sixth and
/// the gate of `compare` says that there is one; whether it does.
fn endpoints(world: &mut World, evidence: &mut Evidence) -> bool {
    let tip = world.dag.tip();
    let pair = |evidence: &mut Evidence, world: &mut World| {
        evidence.good.push(world.boot(At::Good));
        evidence.bad.push(world.boot(At::Commit(tip)));
    };
    if let Metric::Failure { .. } = world.metric {
        return loop {
            pair(evidence, world);
            let failed = |boots: &[f64]| boots.iter().sum::<f64>() as u32;
            let n = evidence.good.len() as u32;
            let p = fisher((failed(&evidence.good), n), (failed(&evidence.bad), n)).more;
            if p <= FAILURE_THRESHOLD || n as usize >= ENDPOINT {
                break p <= FAILURE_THRESHOLD;
            }
        };
    }
    let mut looks = LOOKS.to_vec();
    looks.push(Look { boots: ENDPOINT as u32, threshold: 0.006 });
    let mut family = Family::new(Gate { looks, floor: 0.005, exact_floor: 0.005 });
    let mut different = false;
    loop {
        pair(evidence, world);
        let n = evidence.good.len();
        if family.next_look(n as u32 - 1).is_some_and(|look| look as usize == n) {
            let (base, head) = (as_boots(&evidence.good), as_boots(&evidence.bad));
            let subject = Subject {
                kind: MetricKind::Time,
                better: Better::Lower,
                weight: Weight::Gates,
                accel: Accel::Tcg,
                noise: Some(0.0),
                base: &base,
                head: &head,
            };
            different = family.look(&[subject])[0].change == Change::Regressed;
        }
        let apart = difference(&evidence.good, &evidence.bad);
        if (different && apart.error <= apart.difference.abs() / 6.0) || n >= ENDPOINT {
            return different;
        }
    }
}

fn as_boots(values: &[f64]) -> Vec<Boot> {
    let boot = |value: f64| {
        let median = value.exp();
        Boot { value: BootValue { boot: 1, median, lowest: median, highest: median, samples: 1 }, error: 0.0 }
    };
    values.iter().copied().map(boot).collect()
}
