//! What the boots say: how probable it is of each commit that it made the change.

use std::collections::BTreeMap;

use super::dag::Dag;
use super::evidence::{Evidence, Kind};
use super::particle::{Explained, Particle};
use super::{levels, rates};

/// The state of knowledge.
#[derive(Debug, Clone, PartialEq)]
pub struct Posterior {
    suspects: Vec<f64>,
    old: f64,
    new: f64,
    spread: f64,
    particles: Vec<Particle>,
    /// For each suspect its group.
    group_of: Vec<usize>,
    /// For each group how probable each particle is if one of the group is guilty.
    weights: Vec<Vec<f64>>,
}

impl Posterior {
    /// Probability of each commit that it is the one; they sum to 1.
    #[must_use]
    pub fn suspects(&self) -> &[f64] {
        &self.suspects
    }

    /// Expected level (on the scale of analysis) or rate of failures before the change.
    #[must_use]
    pub fn old(&self) -> f64 {
        self.old
    }

    /// The same after it.
    #[must_use]
    #[expect(
        clippy::new_ret_no_self,
        reason = "the counterpart of `old`; a posterior is made by `posterior`"
    )]
    pub fn new(&self) -> f64 {
        self.new
    }

    /// Expected standard deviation between boots of one kernel.
    #[must_use]
    pub fn spread(&self) -> f64 {
        self.spread
    }

    /// The difference in standard deviations of a boot.
    #[must_use]
    pub fn effect_over_spread(&self) -> f64 {
        ((self.new - self.old) / self.spread).abs()
    }

    /// Guesses at levels and spread.
    pub(super) fn particles(&self) -> &[Particle] {
        &self.particles
    }

    /// For each group of suspects that what was measured does not tell apart: how
    /// probable each particle is if one of them is guilty.
    pub(super) fn groups(&self) -> impl Iterator<Item = &[f64]> {
        self.weights.iter().map(Vec::as_slice)
    }

    /// For each group the probability that the guilty one is of it and not in
    /// `commit`, and that it is of it and in `commit`.
    pub(super) fn shares(&self, dag: &Dag, commit: usize) -> Vec<(f64, f64)> {
        let mut shares = vec![(0.0, 0.0); self.weights.len()];
        for (suspect, (&group, &share)) in self.group_of.iter().zip(&self.suspects).enumerate() {
            let (outside, inside) = &mut shares[group];
            *(if dag.contains(commit, suspect) { inside } else { outside }) += share;
        }
        shares
    }
}

/// Weighs the commits of the range by the boots there are.
///
/// `prior` has a weight for each commit; commits beyond its end weigh 1, what is
/// no positive number weighs nothing, and weights that come to nothing
/// altogether count as equal.
///
/// A commit is old or new by who is guilty, so the likelihood of its boots is one
/// of two under each particle; what is summed over the particles is the product
/// over all commits. Boots of the last commit are boots of the bad endpoint.
#[must_use]
pub fn posterior(dag: &Dag, kind: Kind, prior: &[f64], evidence: &Evidence) -> Posterior {
    let bad: Vec<f64> = evidence.bad.iter().chain(evidence.of(dag.tip())).copied().collect();
    let particles = match kind {
        Kind::Levels { layout } => levels::particles(&evidence.good, &bad, layout),
        Kind::Rates => rates::particles(&evidence.good, &bad),
    };
    let measured: Vec<(usize, Vec<Explained>)> = evidence
        .boots
        .iter()
        .filter(|(commit, boots)| **commit < dag.tip() && !boots.is_empty())
        .map(|(&commit, boots)| match kind {
            Kind::Levels { layout } => (commit, levels::explain(&particles, boots, layout)),
            Kind::Rates => (commit, rates::explain(&particles, boots)),
        })
        .collect();
    let prior = sane(prior, dag.len());
    let alike = told_apart(dag, &measured, &prior);

    // Logarithms of weights at first: a row for each group, a column for each particle.
    let mut weights: Vec<Vec<f64>> =
        alike.groups.iter().map(|group| row(&particles, &measured, group)).collect();
    let most = weights.iter().flatten().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut of_particles = vec![0.0; particles.len()];
    let mut of_groups = Vec::with_capacity(weights.len());
    for (row, group) in weights.iter_mut().zip(&alike.groups) {
        for (of_particle, weight) in of_particles.iter_mut().zip(row.iter_mut()) {
            *weight = (*weight - most).exp();
            *of_particle += group.prior * *weight;
        }
        let sum: f64 = row.iter().sum();
        row.iter_mut().filter(|_| sum > 0.0).for_each(|weight| *weight /= sum);
        of_groups.push(sum);
    }
    let total: f64 = of_particles.iter().sum();
    let mean = |of: fn(&Particle) -> f64| {
        particles.iter().zip(&of_particles).map(|(particle, weight)| of(particle) * weight / total).sum()
    };
    // Both sums are of the same numbers in another order, and round differently.
    let share = |(group, prior): (&usize, &f64)| (prior * of_groups[*group] / total).clamp(0.0, 1.0);
    let suspects = alike.of_commit.iter().zip(&prior).map(share);
    Posterior {
        suspects: suspects.collect(),
        old: mean(|particle| particle.old),
        new: mean(|particle| particle.new),
        spread: mean(|particle| particle.spread),
        particles,
        group_of: alike.of_commit,
        weights,
    }
}

/// Suspects by the measured commits that contain them.
struct Alike {
    of_commit: Vec<usize>,
    groups: Vec<Group>,
}

struct Group {
    /// Whether each of the measured commits, in their order, contains these suspects.
    inside: Vec<bool>,
    prior: f64,
}

fn told_apart(dag: &Dag, measured: &[(usize, Vec<Explained>)], prior: &[f64]) -> Alike {
    let mut of_commit = vec![0; dag.len()];
    for (commit, _) in measured {
        let mut numbers = BTreeMap::new();
        for (suspect, group) in of_commit.iter_mut().enumerate() {
            let next = numbers.len();
            *group = *numbers.entry((*group, dag.contains(*commit, suspect))).or_insert(next);
        }
    }
    // Groups are numbered in the order of their first suspects.
    let mut groups: Vec<Group> = Vec::new();
    for (suspect, &group) in of_commit.iter().enumerate() {
        if group == groups.len() {
            let inside = measured.iter().map(|(commit, _)| dag.contains(*commit, suspect)).collect();
            groups.push(Group { inside, prior: 0.0 });
        }
        groups[group].prior += prior[suspect];
    }
    Alike { of_commit, groups }
}

fn row(particles: &[Particle], measured: &[(usize, Vec<Explained>)], group: &Group) -> Vec<f64> {
    // Nobody of them can be guilty: what they would say must not drown the others.
    if group.prior == 0.0 {
        return vec![f64::NEG_INFINITY; particles.len()];
    }
    let mut row: Vec<f64> = particles.iter().map(|particle| particle.log_weight).collect();
    for ((_, explained), &inside) in measured.iter().zip(&group.inside) {
        for (sum, explained) in row.iter_mut().zip(explained) {
            *sum += if inside { explained.as_new } else { explained.as_old };
        }
    }
    row
}

/// Weights that sum to 1.
pub(super) fn sane(prior: &[f64], commits: usize) -> Vec<f64> {
    let weight = |commit: usize| match prior.get(commit) {
        None => 1.0,
        Some(weight) if weight.is_finite() => weight.max(0.0),
        Some(_) => 0.0,
    };
    let weights: Vec<f64> = (0..commits).map(weight).collect();
    let sum: f64 = weights.iter().sum();
    if sum > 0.0 && sum.is_finite() {
        weights.into_iter().map(|weight| weight / sum).collect()
    } else {
        vec![1.0 / commits as f64; commits]
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{line, merges};
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    const LEVELS: Kind = Kind::Levels { layout: 0.0 };

    fn evidence(good: &[f64], bad: &[f64], boots: &[(usize, &[f64])]) -> Evidence {
        Evidence {
            good: good.to_vec(),
            bad: bad.to_vec(),
            boots: boots.iter().map(|(commit, boots)| (*commit, boots.to_vec())).collect(),
            set_aside: BTreeSet::new(),
        }
    }

    fn endpoints() -> Evidence {
        evidence(&[0.0, 0.1, -0.1, 0.05], &[1.0, 1.1, 0.9, 1.05], &[])
    }

    #[test]
    fn endpoints_alone_leave_the_prior_as_it_is() {
        let found = posterior(&line(4), LEVELS, &[1.0, 1.0, 2.0, 4.0], &endpoints());
        for (ours, expected) in found.suspects().iter().zip([0.125, 0.125, 0.25, 0.5]) {
            assert!((ours - expected).abs() < 1e-12, "{ours}");
        }
        assert!(found.old().abs() < 0.1 && (found.new() - 1.0).abs() < 0.1 && found.spread() < 0.3);
    }

    #[test]
    fn a_commit_that_measures_new_acquits_what_came_after_it() {
        let found = posterior(&line(4), LEVELS, &[], &evidence_with(&[(1, &[1.02, 0.98])]));
        assert!(found.suspects()[2] + found.suspects()[3] < 1e-3, "{:?}", found.suspects());
        let found = posterior(&line(4), LEVELS, &[], &evidence_with(&[(1, &[0.02, -0.03])]));
        assert!(found.suspects()[0] + found.suspects()[1] < 1e-3, "{:?}", found.suspects());
    }

    fn evidence_with(boots: &[(usize, &[f64])]) -> Evidence {
        let Evidence { good, bad, .. } = endpoints();
        evidence(&good, &bad, boots)
    }

    #[test]
    fn one_outlier_does_not_convict() {
        // Three boots say old; the fourth was disturbed.
        let found = posterior(&line(2), LEVELS, &[], &evidence_with(&[(0, &[0.02, -0.03, 0.05, 1.6])]));
        assert!(found.suspects()[1] > 0.9, "{:?}", found.suspects());
    }

    #[test]
    fn a_build_that_shifts_the_numbers_makes_boots_of_it_say_less() {
        let halfway = evidence_with(&[(0, &[0.4; 20])]);
        let sure = posterior(&line(2), LEVELS, &[], &halfway);
        let careful = posterior(&line(2), Kind::Levels { layout: 0.2 }, &[], &halfway);
        assert!(sure.suspects()[1] > careful.suspects()[1] && careful.suspects()[1] > 0.5);
        assert!(careful.suspects()[0] > 0.05, "{:?}", careful.suspects());
    }

    #[test]
    fn boots_that_are_all_the_same_give_numbers() {
        for (good, bad) in [(0.0, 1.0), (1.0, 1.0), (0.0, 0.0), (1e9, 2e9), (-3.0, -4.0)] {
            for layout in [0.0, 0.1] {
                let all = evidence(&[good; 4], &[bad; 4], &[(1, &[bad; 3]), (0, &[good; 3])]);
                let found = posterior(&line(3), Kind::Levels { layout }, &[], &all);
                assert_sane(&found);
                assert!(good == bad || found.suspects()[1] > 0.9 || layout > 0.0, "{:?}", found.suspects());
            }
        }
    }

    #[test]
    fn endpoints_of_one_boot_or_none_say_little_and_give_numbers() {
        for (good, bad) in
            [(vec![0.0], vec![1.0]), (vec![0.0; 4], vec![1.0]), (vec![], vec![]), (vec![], vec![1.0])]
        {
            for kind in [LEVELS, Kind::Levels { layout: 0.1 }, Kind::Rates] {
                let found = posterior(&line(3), kind, &[], &evidence(&good, &bad, &[(1, &[1.0])]));
                assert_sane(&found);
            }
        }
    }

    #[test]
    fn numbers_that_are_none_do_not_count() {
        let with = evidence_with(&[(1, &[1.0, f64::NAN, f64::INFINITY])]);
        let without = evidence_with(&[(1, &[1.0])]);
        for kind in [LEVELS, Kind::Levels { layout: 0.1 }, Kind::Rates] {
            let found = posterior(&line(3), kind, &[], &with);
            assert_eq!(found.suspects(), posterior(&line(3), kind, &[], &without).suspects());
        }
    }

    #[test]
    fn who_weighs_nothing_stays_at_nothing() {
        let found = posterior(&line(3), LEVELS, &[0.0, 1.0, f64::NAN], &evidence_with(&[(0, &[1.0; 5])]));
        assert_eq!(found.suspects(), [0.0, 1.0, 0.0]);
        let nobody = posterior(&line(4), LEVELS, &[0.0; 4], &endpoints());
        assert_eq!(nobody.suspects(), [0.25; 4]);
    }

    #[test]
    fn boots_of_the_last_commit_are_those_of_the_bad_endpoint() {
        let together = evidence(&[0.0, 0.1], &[1.0, 1.1, 0.9], &[(0, &[0.3])]);
        let apart = evidence(&[0.0, 0.1], &[1.0], &[(0, &[0.3]), (2, &[1.1, 0.9])]);
        for kind in [LEVELS, Kind::Levels { layout: 0.1 }, Kind::Rates] {
            assert_eq!(posterior(&line(3), kind, &[], &together), posterior(&line(3), kind, &[], &apart));
        }
    }

    #[test]
    fn a_failure_seen_in_every_boot_is_convicted_by_one_boot_a_side() {
        let all = evidence(&[0.0; 5], &[1.0; 5], &[(0, &[0.0]), (1, &[1.0])]);
        let found = posterior(&line(3), Kind::Rates, &[], &all);
        assert!(found.suspects()[1] > 0.85, "{:?}", found.suspects());
        assert!(found.old() < 0.1 && found.new() > 0.9);
    }

    #[test]
    fn one_boot_without_a_rare_failure_says_little() {
        let rare = evidence(&[0.0; 20], &[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0], &[(0, &[0.0])]);
        let found = posterior(&line(2), Kind::Rates, &[], &rare);
        assert!((0.35..0.5).contains(&found.suspects()[0]), "{:?}", found.suspects());
    }

    fn assert_sane(found: &Posterior) {
        assert!(found.suspects().iter().all(|it| (0.0..=1.0).contains(it)), "{:?}", found.suspects());
        assert!((found.suspects().iter().sum::<f64>() - 1.0).abs() < 1e-9, "{:?}", found.suspects());
        assert!(
            [found.old(), found.new(), found.spread()].iter().all(|number| number.is_finite()),
            "{found:?}"
        );
    }

    proptest! {
        #[test]
        fn whatever_was_measured_the_probabilities_are_probabilities(
            commits in 1..40_usize, seed: u64, layout in 0.0..2.0_f64,
            good in proptest::collection::vec(-1e6..1e6_f64, 0..6), bad in proptest::collection::vec(-1e6..1e6_f64, 0..6),
            boots in proptest::collection::btree_map(0..50_usize, proptest::collection::vec(-1e6..1e6_f64, 0..4), 0..6),
        ) {
            let dag = merges(commits, seed);
            let all = Evidence { good, bad, boots, set_aside: BTreeSet::new() };
            for kind in [Kind::Levels { layout }, LEVELS, Kind::Rates] {
                let found = posterior(&dag, kind, &[], &all);
                assert_sane(&found);
                prop_assert_eq!(&found, &posterior(&dag, kind, &[], &all));
            }
        }
    }
}
