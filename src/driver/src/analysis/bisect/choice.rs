//! What to measure next: the commit and the number of boots that tell most for
//! what they cost.

use std::collections::BTreeMap;

use super::dag::Dag;
use super::evidence::{Choice, Costs, Evidence, Kind};
use super::information::{Normal, of_normals, of_outcomes};
use super::particle::Particle;
use super::posterior::Posterior;

/// Numbers of boots that are considered.
const BOOTS: [u32; 4] = [1, 2, 3, 5];

/// Less information than this (in nats) is none: what is left open is not worth a boot.
const LEAST: f64 = 1e-3;

/// What is less probable than this does not matter for the choice.
const NEGLIGIBLE: f64 = 1e-4;

/// The commit to measure next and how many boots more of it; none where no
/// commit that can be tested tells anything.
///
/// A measurement tells of the guilty commit not only by the side of what was
/// measured, but also by what it shows of the levels: so the last commit may be
/// chosen too, and a kernel of which more boots would show nothing new is left alone.
///
/// Of commits that cost the same and were booted as often, the one that splits
/// what is suspected most evenly is considered; of equals the oldest. A
/// commit that was booted has its kernel.
#[must_use]
pub fn choose(
    dag: &Dag,
    kind: Kind,
    posterior: &Posterior,
    evidence: &Evidence,
    costs: &Costs,
) -> Option<Choice> {
    let sums = dag.sums(posterior.suspects());
    let mut most_even: BTreeMap<(usize, Ready), (f64, usize)> = BTreeMap::new();
    for (commit, &new) in sums.iter().enumerate() {
        let boots = booted(dag, evidence, commit);
        if evidence.set_aside.contains(&commit) && commit != dag.tip() {
            continue;
        }
        let ready = boots > 0 || commit == dag.tip() || costs.cached.contains(&commit);
        let key = (boots, if ready { Ready::Yes } else { Ready::No });
        let uneven = (new - 0.5).abs();
        let best = most_even.entry(key).or_insert((uneven, commit));
        if uneven < best.0 {
            *best = (uneven, commit);
        }
    }
    let of_groups = posterior.shares(dag, dag.tip());
    let prospects: Vec<Option<Prospect>> = posterior
        .groups()
        .zip(of_groups)
        .map(|(weights, (_, share))| (share > NEGLIGIBLE).then(|| Prospect::of(kind, posterior, weights)))
        .collect();
    let mut chosen: Option<(f64, Choice)> = None;
    for (&(before, ready), &(_, commit)) in &most_even {
        let build = if ready == Ready::Yes { 0.0 } else { costs.build.max(0.0) };
        // The guilty one is of a group, and in the commit or not.
        let shares = posterior.shares(dag, commit);
        for (index, boots) in BOOTS.into_iter().enumerate() {
            let told = match kind {
                Kind::Levels { layout } => of_levels(&shares, &prospects, layout, before, boots),
                Kind::Rates => of_rates(&shares, &prospects, index),
            };
            let cost = (f64::from(boots) * costs.boot + build).max(f64::MIN_POSITIVE);
            let worth = told / cost;
            let better = chosen.is_none_or(|(most, _)| worth > most);
            if told >= LEAST && better && !worth.is_nan() {
                chosen = Some((worth, Choice { commit, boots }));
            }
        }
    }
    chosen.map(|(_, choice)| choice)
}

/// Whether the kernel of a commit is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ready {
    Yes,
    No,
}

fn booted(dag: &Dag, evidence: &Evidence, commit: usize) -> usize {
    let between = evidence.of(commit).len();
    if commit == dag.tip() { between + evidence.bad.len() } else { between }
}

/// Information about the guilty one in `boots` more of a kernel that was booted `before` times.
fn of_levels(
    shares: &[(f64, f64)],
    prospects: &[Option<Prospect>],
    layout: f64,
    before: usize,
    boots: u32,
) -> f64 {
    let mut answers = Vec::new();
    for (&(outside, inside), prospect) in shares.iter().zip(prospects) {
        if let Some(Prospect::Levels { old, new }) = prospect {
            answers.push(old.predict(outside, layout, before, boots));
            answers.push(new.predict(inside, layout, before, boots));
        }
    }
    answers.retain(|answer| answer.share > NEGLIGIBLE);
    of_normals(&answers)
}

/// The same of the number of failures in `BOOTS[index]` boots.
fn of_rates(shares: &[(f64, f64)], prospects: &[Option<Prospect>], index: usize) -> f64 {
    let mut answers = Vec::new();
    for (&(outside, inside), prospect) in shares.iter().zip(prospects) {
        if let Some(Prospect::Rates { old, new }) = prospect {
            answers.extend([(outside, old[index].as_slice()), (inside, new[index].as_slice())]);
        }
    }
    answers.retain(|(share, _)| *share > NEGLIGIBLE);
    of_outcomes(&answers)
}

/// What boots would show if one of a group of suspects is guilty, for each number of boots.
enum Prospect {
    Levels { old: Moments, new: Moments },
    Rates { old: [Vec<f64>; BOOTS.len()], new: [Vec<f64>; BOOTS.len()] },
}

impl Prospect {
    fn of(kind: Kind, posterior: &Posterior, weights: &[f64]) -> Self {
        match kind {
            Kind::Levels { .. } => Self::Levels {
                old: Moments::of(posterior, |particle| particle.old, weights),
                new: Moments::of(posterior, |particle| particle.new, weights),
            },
            Kind::Rates => Self::Rates {
                old: BOOTS.map(|boots| failures(posterior, |particle| particle.old, weights, boots)),
                new: BOOTS.map(|boots| failures(posterior, |particle| particle.new, weights, boots)),
            },
        }
    }
}

/// Expectation and variance of a level, and the variance of a boot around it.
#[derive(Debug, Clone, Copy)]
struct Moments {
    mean: f64,
    variance: f64,
    spread: f64,
}

impl Moments {
    fn of(posterior: &Posterior, level: fn(&Particle) -> f64, weights: &[f64]) -> Self {
        let weighted = || posterior.particles().iter().zip(weights);
        let mean: f64 = weighted().map(|(particle, weight)| weight * level(particle)).sum();
        let variance = weighted().map(|(particle, weight)| weight * (level(particle) - mean).powi(2)).sum();
        let spread = weighted().map(|(particle, weight)| weight * particle.spread.powi(2)).sum();
        Self { mean, variance, spread }
    }

    /// The mean of `boots` more boots of a kernel that was booted `before` times.
    ///
    /// What its build adds (variance `layout` squared) is drawn once. The boots there are say
    /// something of level and build together, so that what is left to learn of the level shrinks
    /// by `left`.
    fn predict(self, share: f64, layout: f64, before: usize, boots: u32) -> Normal {
        let layout = layout * layout;
        let left = if before == 0 {
            1.0
        } else {
            let noise = self.spread / before as f64;
            if noise > 0.0 { noise / (layout + noise) } else { 0.0 }
        };
        let variance = left * left * self.variance + left * layout + self.spread / f64::from(boots);
        Normal { share, mean: left * self.mean, variance }
    }
}

/// Probabilities of each number of failures in so many boots.
fn failures(posterior: &Posterior, rate: fn(&Particle) -> f64, weights: &[f64], boots: u32) -> Vec<f64> {
    let mut outcomes = vec![0.0; boots as usize + 1];
    for (particle, weight) in posterior.particles().iter().zip(weights) {
        let rate = rate(particle);
        let mut ways = *weight;
        for (failed, outcome) in (0..=boots).zip(&mut outcomes) {
            let passed = boots - failed;
            *outcome += ways * rate.powi(failed.cast_signed()) * (1.0 - rate).powi(passed.cast_signed());
            ways *= f64::from(passed) / f64::from(failed + 1);
        }
    }
    outcomes
}

#[cfg(test)]
mod tests {
    use super::super::posterior::posterior;
    use super::super::simulation::line;
    use super::*;

    const LEVELS: Kind = Kind::Levels { layout: 0.0 };

    fn evidence(boots: &[(usize, &[f64])]) -> Evidence {
        Evidence {
            good: vec![0.0, 0.3, -0.3, 0.1, -0.1, 0.2],
            bad: vec![1.0, 1.3, 0.7, 1.1, 0.9, 1.2],
            boots: boots.iter().map(|(commit, boots)| (*commit, boots.to_vec())).collect(),
            ..Evidence::default()
        }
    }

    fn chosen(kind: Kind, commits: usize, evidence: &Evidence, costs: &Costs) -> Option<Choice> {
        let dag = line(commits);
        choose(&dag, kind, &posterior(&dag, kind, &[], evidence), evidence, costs)
    }

    fn costs(build: f64, cached: &[usize]) -> Costs {
        Costs { boot: 1.0, build, cached: cached.iter().copied().collect() }
    }

    #[test]
    fn a_line_is_halved() {
        let choice = chosen(LEVELS, 64, &evidence(&[]), &costs(10.0, &[])).expect("a choice");
        assert_eq!(choice.commit, 31);
    }

    #[test]
    fn a_kernel_that_is_there_is_worth_an_uneven_split() {
        let choice = chosen(LEVELS, 64, &evidence(&[]), &costs(10.0, &[20])).expect("a choice");
        assert_eq!(choice.commit, 20);
        let free = chosen(LEVELS, 64, &evidence(&[]), &costs(0.0, &[20])).expect("a choice");
        assert_eq!(free.commit, 31);
    }

    #[test]
    fn a_kernel_that_was_built_is_booted_until_its_side_is_clear() {
        let open = chosen(LEVELS, 64, &evidence(&[(31, &[0.5])]), &costs(10.0, &[])).expect("a choice");
        assert_eq!(open.commit, 31);
        let clear = chosen(LEVELS, 64, &evidence(&[(31, &[1.0; 5])]), &costs(10.0, &[])).expect("a choice");
        assert_eq!(clear.commit, 15);
    }

    #[test]
    fn more_boots_of_a_build_that_lies_halfway_are_not_asked_for_for_ever() {
        let kind = Kind::Levels { layout: 0.3 };
        let choice = chosen(kind, 64, &evidence(&[(31, &[0.5; 40])]), &costs(10.0, &[])).expect("a choice");
        assert_ne!(choice.commit, 31);
    }

    #[test]
    fn a_rate_that_may_be_either_side_is_not_asked_of_the_same_kernel_again() {
        // Three in ten, where the endpoints leave open which of them that is.
        let halfway: Vec<f64> = (0..400).map(|boot| if boot % 10 < 3 { 1.0 } else { 0.0 }).collect();
        let all = Evidence {
            good: vec![0.0; 7],
            bad: vec![1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0],
            boots: [(31, halfway)].into(),
            ..Evidence::default()
        };
        let choice = chosen(Kind::Rates, 64, &all, &costs(10.0, &[])).expect("a choice");
        assert_ne!(choice.commit, 31);
    }

    #[test]
    fn nothing_is_chosen_where_nothing_tells_more() {
        assert_eq!(chosen(LEVELS, 1, &evidence(&[]), &costs(10.0, &[])), None);
        let all = Evidence { set_aside: (0..3).collect(), ..evidence(&[]) };
        assert_eq!(chosen(LEVELS, 4, &all, &costs(10.0, &[])), None);
    }

    #[test]
    fn costs_of_nothing_are_no_division_by_zero() {
        let choice = chosen(LEVELS, 8, &evidence(&[]), &Costs::default()).expect("a choice");
        assert_eq!(choice.commit, 3);
    }
}
