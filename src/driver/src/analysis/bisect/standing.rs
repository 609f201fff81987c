//! Whether there is an answer: suspects that cannot be told apart as classes, and
//! the rule by which a class is named.

use super::dag::Dag;
use super::evidence::{Choice, Evidence, Kind};
use super::posterior::Posterior;
use super::rates::Tries;

/// Boots that each boundary of the answer has at least where boots are numbers. With
/// three, one answer in fifty was wrong where old and new are two standard deviations
/// apart; with five, one in a hundred, for three boots more altogether (by experience).
const BOUNDARY: u32 = 5;

/// Suspects that no commit that can be tested tells apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Class {
    /// The commits, the oldest first.
    pub suspects: Vec<usize>,
    /// That it is one of them.
    pub probability: f64,
    /// The testable commit with none of them that has most of what `after` has; none:
    /// the good endpoint.
    pub before: Option<usize>,
    /// Other testable commits that `after` was merged from and that have none of them.
    pub beside: Vec<usize>,
    /// The nearest testable commit that has all of them.
    pub after: usize,
}

/// How the bisection stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Standing {
    /// No answer yet.
    Open {
        /// Boots that the boundary of the probable answer lacks; none where no
        /// answer is probable enough.
        wanting: Option<Choice>,
    },
    /// The answer.
    Settled(Class),
}

/// Whether a class is at least as probable as `confidence` and its boundary was
/// measured. Boots of the endpoints are the caller's; they count as measured.
///
/// Of levels, the commits on both sides of the answer need five boots each. Of
/// rates, those before need a boot, and the one after a boot that failed: nobody is
/// blamed for a failure that was not seen.
#[must_use]
pub fn standing(
    dag: &Dag,
    kind: Kind,
    posterior: &Posterior,
    evidence: &Evidence,
    confidence: f64,
) -> Standing {
    let class = most_probable(dag, posterior.suspects(), evidence);
    if class.probability < confidence {
        return Standing::Open { wanting: None };
    }
    let older = class.before.iter().chain(&class.beside).map(|&commit| (commit, Expected::Old));
    let mut boundary = older.chain([(class.after, Expected::New)]);
    let wanting = boundary.find_map(|(commit, expected)| {
        let boots = lacking(kind, evidence.of(commit), expected);
        (commit != dag.tip() && boots > 0).then_some(Choice { commit, boots })
    });
    match wanting {
        Some(choice) => Standing::Open { wanting: Some(choice) },
        None => Standing::Settled(class),
    }
}

/// The most probable suspects that together have at least `share` of the
/// probability, the most probable first.
#[must_use]
pub fn credible_set(suspects: &[f64], share: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..suspects.len()).filter(|&commit| suspects[commit] > 0.0).collect();
    order.sort_by(|&a, &b| suspects[b].total_cmp(&suspects[a]).then(a.cmp(&b)));
    let mut sum = 0.0;
    order
        .into_iter()
        .take_while(|&commit| {
            let open = sum < share;
            sum += suspects[commit];
            open
        })
        .collect()
}

#[derive(Debug, Clone, Copy)]
enum Expected {
    Old,
    New,
}

/// Boots that a commit of the boundary lacks.
fn lacking(kind: Kind, boots: &[f64], expected: Expected) -> u32 {
    let tries = Tries::of(boots);
    match (kind, expected) {
        (Kind::Levels { .. }, _) => BOUNDARY.saturating_sub(tries.failed + tries.passed),
        (Kind::Rates, Expected::Old) => 1_u32.saturating_sub(tries.failed + tries.passed),
        (Kind::Rates, Expected::New) => 1_u32.saturating_sub(tries.failed),
    }
}

fn most_probable(dag: &Dag, suspects: &[f64], evidence: &Evidence) -> Class {
    let classes = Classes::of(dag, evidence);
    let mut probabilities = vec![0.0; dag.len()];
    for (commit, &name) in classes.names.iter().enumerate() {
        probabilities[name] += suspects[commit];
    }
    let best = |best: usize, name: usize| if probabilities[name] > probabilities[best] { name } else { best };
    let name = (0..dag.len()).reduce(best).unwrap_or(dag.tip());
    classes.describe(dag, name, probabilities[name].clamp(0.0, 1.0))
}

/// Which suspects no testable commit tells apart.
pub(super) struct Classes<'a> {
    evidence: &'a Evidence,
    /// For each commit the one that its class is named by: the testable one of
    /// them, of which a class has one at most, or else the oldest.
    names: Vec<usize>,
}

impl<'a> Classes<'a> {
    pub(super) fn of(dag: &Dag, evidence: &'a Evidence) -> Self {
        let mut classes = Self { evidence, names: (0..dag.len()).collect() };
        let testable: Vec<usize> = (0..dag.len()).filter(|&commit| classes.testable(dag, commit)).collect();
        // Classes without a testable commit: who has them, and the name.
        let mut hidden: Vec<(Vec<usize>, usize)> = Vec::new();
        let untestable: Vec<usize> =
            (0..dag.len()).filter(|&commit| !classes.testable(dag, commit)).collect();
        for suspect in untestable {
            let first = testable.partition_point(|&commit| commit < suspect);
            let having: Vec<usize> =
                testable[first..].iter().copied().filter(|&commit| dag.contains(commit, suspect)).collect();
            // Whoever has the testable commit of the class has the suspect too; the reverse makes them one.
            let nearest = having.first().copied().unwrap_or(dag.tip());
            classes.names[suspect] = if having.iter().all(|&commit| dag.contains(commit, nearest)) {
                nearest
            } else if let Some((_, name)) = hidden.iter().find(|(others, _)| *others == having) {
                *name
            } else {
                hidden.push((having, suspect));
                suspect
            };
        }
        classes
    }

    /// The bad endpoint was measured as such.
    fn testable(&self, dag: &Dag, commit: usize) -> bool {
        commit == dag.tip() || !self.evidence.set_aside.contains(&commit)
    }

    pub(super) fn describe(&self, dag: &Dag, name: usize, probability: f64) -> Class {
        let suspects: Vec<usize> = (0..dag.len()).filter(|&commit| self.names[commit] == name).collect();
        let has_all = |commit: usize| suspects.iter().all(|&suspect| dag.contains(commit, suspect));
        let after =
            (0..dag.len()).find(|&commit| self.testable(dag, commit) && has_all(commit)).unwrap_or(dag.tip());
        let mut beside = self.boundary(dag, &suspects);
        let size = dag.counts(&(0..dag.len()).collect::<Vec<_>>());
        let before = (0..beside.len()).reduce(|a, b| if size[beside[b]] > size[beside[a]] { b } else { a });
        let before = before.map(|index| beside.remove(index));
        Class { suspects, probability, before, beside, after }
    }

    /// The name of the class of a commit.
    pub(super) fn name(&self, commit: usize) -> usize {
        self.names[commit]
    }

    /// The nearest testable commits behind the suspects, over those that cannot be tested.
    fn boundary(&self, dag: &Dag, suspects: &[usize]) -> Vec<usize> {
        let mut seen = vec![false; dag.len()];
        let mut ahead: Vec<usize> = suspects.iter().rev().copied().collect();
        let mut found = Vec::new();
        while let Some(commit) = ahead.pop() {
            for &parent in dag.parents(commit).iter().rev() {
                if std::mem::replace(&mut seen[parent], true) || suspects.contains(&parent) {
                    continue;
                }
                if self.testable(dag, parent) {
                    found.push(parent);
                } else {
                    ahead.push(parent);
                }
            }
        }
        // One that another contains says nothing that the other does not say.
        let inner: Vec<bool> = found
            .iter()
            .map(|&commit| found.iter().any(|&other| other != commit && dag.contains(other, commit)))
            .collect();
        let mut outer: Vec<usize> =
            found.iter().zip(inner).filter(|(_, inner)| !inner).map(|(&commit, _)| commit).collect();
        outer.sort_unstable();
        outer
    }
}

#[cfg(test)]
mod tests {
    use super::super::posterior::posterior;
    use super::super::simulation::line;
    use super::*;

    const LEVELS: Kind = Kind::Levels { layout: 0.0 };

    fn evidence(boots: &[(usize, &[f64])], set_aside: &[usize]) -> Evidence {
        Evidence {
            good: vec![0.0, 0.1, -0.1, 0.05, 0.0, -0.05],
            bad: vec![1.0, 1.1, 0.9, 1.05, 1.0, 0.95],
            boots: boots.iter().map(|(commit, boots)| (*commit, boots.to_vec())).collect(),
            set_aside: set_aside.iter().copied().collect(),
        }
    }

    fn stands(dag: &Dag, evidence: &Evidence) -> Standing {
        standing(dag, LEVELS, &posterior(dag, LEVELS, &[], evidence), evidence, 0.95)
    }

    #[test]
    fn an_answer_waits_for_the_boots_of_its_boundary() {
        let wanting = |boots: &[(usize, &[f64])]| match stands(&line(4), &evidence(boots, &[])) {
            Standing::Open { wanting } => wanting,
            Standing::Settled(class) => panic!("{class:?}"),
        };
        assert_eq!(wanting(&[(0, &[0.0])]), None);
        assert_eq!(wanting(&[(0, &[0.0, 0.0]), (1, &[1.0; 2])]), Some(Choice { commit: 0, boots: 3 }));
        assert_eq!(wanting(&[(0, &[0.0; 5]), (1, &[1.0; 2])]), Some(Choice { commit: 1, boots: 3 }));
        let Standing::Settled(class) = stands(&line(4), &evidence(&[(0, &[0.0; 5]), (1, &[1.0; 5])], &[]))
        else {
            panic!("an answer")
        };
        assert_eq!((class.suspects, class.before, class.after), (vec![1], Some(0), 1));
    }

    #[test]
    fn the_endpoints_are_boundaries_that_were_measured() {
        let settled = |boots: &[(usize, &[f64])]| match stands(&line(2), &evidence(boots, &[])) {
            Standing::Settled(class) => (class.suspects, class.before, class.after),
            open => panic!("{open:?}"),
        };
        assert_eq!(settled(&[(0, &[1.0; 5])]), (vec![0], None, 0));
        assert_eq!(settled(&[(0, &[0.0; 5])]), (vec![1], Some(0), 1));
    }

    #[test]
    fn what_cannot_be_tested_is_in_a_class_with_what_follows() {
        let Standing::Settled(class) =
            stands(&line(6), &evidence(&[(1, &[0.0; 5]), (4, &[1.0; 5])], &[2, 3]))
        else {
            panic!("an answer")
        };
        assert_eq!((class.suspects, class.before, class.after), (vec![2, 3, 4], Some(1), 4));
        assert!(class.probability > 0.99);
    }

    #[test]
    fn a_fork_that_cannot_be_tested_is_a_class_of_its_own() {
        // 1 is set aside; 2 and 3 both have it, and nothing else in common but 0.
        let dag = Dag::new(vec![vec![], vec![0], vec![1], vec![1], vec![2, 3]]).expect("a range");
        let all = evidence(&[(0, &[0.0; 5]), (2, &[1.0; 5]), (3, &[1.0; 5])], &[1]);
        let Standing::Settled(class) = stands(&dag, &all) else { panic!("an answer") };
        assert_eq!((class.suspects, class.before, class.after), (vec![1], Some(0), 2));
    }

    #[test]
    fn nobody_is_blamed_for_a_failure_that_was_not_seen() {
        let all = Evidence {
            good: vec![0.0; 30],
            bad: [vec![1.0; 15], vec![0.0; 15]].concat(),
            ..evidence(&[(0, &[0.0; 12])], &[])
        };
        let stands = |all: &Evidence| {
            let prior = [0.5, 0.499, 0.001];
            standing(&line(3), Kind::Rates, &posterior(&line(3), Kind::Rates, &prior, all), all, 0.95)
        };
        assert_eq!(stands(&all), Standing::Open { wanting: Some(Choice { commit: 1, boots: 1 }) });
        let seen = Evidence { boots: [(0, vec![0.0; 12]), (1, vec![1.0])].into(), ..all };
        assert!(matches!(stands(&seen), Standing::Settled(class) if class.suspects == [1]));
    }

    #[test]
    fn the_credible_set_is_the_shortest_with_that_share() {
        let suspects = [0.125, 0.375, 0.0, 0.5];
        assert_eq!(credible_set(&suspects, 0.5), [3]);
        assert_eq!(credible_set(&suspects, 0.75), [3, 1]);
        assert_eq!(credible_set(&suspects, 1.0), [3, 1, 0]);
        assert_eq!(credible_set(&suspects, 0.0), [0_usize; 0]);
        assert_eq!(credible_set(&[0.25; 4], 0.5), [0, 1], "of equals the oldest");
    }
}
