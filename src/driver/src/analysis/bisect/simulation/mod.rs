//! The truth of the bisection: what it answers on histories of which we know the
//! guilty commit, and what that costs.
//!
//! `KREGRESS_TRIALS=10` multiplies the histories of the table; `--nocapture` shows it.

mod search;
mod shapes;
mod world;

use std::ops::Range;

use search::{End, Run, bayes, threshold};
use world::{Broken, Metric, Slow, World};
pub(in crate::analysis::bisect) use world::{line, merges};

use super::super::stats::median;

/// The first seed of the table. The constants of the method were found with others, from 100000 on.
const SEED: u64 = 1;

/// Histories of one kind.
struct Case {
    name: &'static str,
    commits: usize,
    metric: Metric,
    broken: Broken,
    trials: u64,
    wanted: Wanted,
}

/// What the method has to reach.
#[derive(Clone, Copy)]
struct Wanted {
    /// Share of right ones among the answers.
    right: f64,
    /// What it cost in the simulation that the method was taken from, in boots; of
    /// failures, which that did not have, what it cost here at first.
    cost: f64,
}

/// How many runs were right, and what they cost.
#[derive(Debug, Clone, Copy)]
struct Score {
    runs: usize,
    refused: usize,
    unknown: usize,
    right: usize,
    /// Medians.
    cost: f64,
    builds: f64,
}

impl Score {
    fn of(runs: &[(Run, bool)]) -> Self {
        let ended = |end: &End| runs.iter().filter(|(run, _)| run.end == *end).count();
        let middle = |value: fn(&Run) -> f64| {
            median(&runs.iter().map(|(run, _)| value(run)).collect::<Vec<_>>()).expect("runs")
        };
        Self {
            runs: runs.len(),
            refused: ended(&End::Refused),
            unknown: ended(&End::Unknown),
            right: runs.iter().filter(|(_, right)| *right).count(),
            cost: middle(Run::cost),
            builds: middle(|run| run.builds as f64),
        }
    }

    fn answers(&self) -> usize {
        self.runs - self.refused - self.unknown
    }

    /// Share of right ones among the answers.
    fn right(&self) -> f64 {
        self.right as f64 / self.answers() as f64
    }

    /// Whether the share of right answers may be `wanted` or more, with the two
    /// standard errors that so many histories leave open.
    fn reaches(&self, wanted: f64) -> bool {
        self.right() >= wanted - 2.0 * (wanted * (1.0 - wanted) / self.answers() as f64).sqrt()
    }
}

fn score(worlds: impl Iterator<Item = World>, search: impl Fn(&mut World) -> Run) -> Score {
    let runs: Vec<(Run, bool)> = worlds
        .map(|mut world| {
            let run = search(&mut world);
            let right = world.guilty.iter().any(|(guilty, _)| run.names(*guilty));
            (run, right)
        })
        .collect();
    Score::of(&runs)
}

impl Case {
    fn worlds(&self, seeds: Range<u64>) -> impl Iterator<Item = World> {
        seeds.map(|seed| World::line(self.commits, self.metric, self.broken, seed))
    }
}

fn cases() -> Vec<Case> {
    let plain = |name, effect, trials, right, cost| Case {
        name,
        commits: 128,
        metric: Metric::time(effect),
        broken: Broken::Nothing,
        trials,
        wanted: Wanted { right, cost },
    };
    let rough = |name, effect, layout, right, cost| Case {
        name,
        commits: 128,
        metric: Metric::Time { effect, layout, slow: Slow::Somewhat },
        broken: Broken::Some,
        trials: 60,
        wanted: Wanted { right, cost },
    };
    let fails = |name, old, new, broken, cost| Case {
        name,
        commits: 128,
        metric: Metric::Failure { old, new },
        broken,
        trials: 30,
        wanted: Wanted { right: 0.95, cost },
    };
    vec![
        plain("d = 5", 5.0, 40, 0.98, 116.0),
        plain("d = 3", 3.0, 200, 0.98, 129.0),
        plain("d = 2", 2.0, 200, 0.98, 154.0),
        plain("d = 1", 1.0, 100, 0.93, 253.0),
        rough("d = 2, rough", 2.0, 0.0, 0.97, 171.0),
        rough("d = 3, rough, layout", 3.0, 0.15, 0.97, 226.0),
        rough("d = 2, rough, layout", 2.0, 0.15, 0.97, 281.0),
        Case { commits: 1024, trials: 40, ..rough("d = 3, rough, 1024 commits", 3.0, 0.0, 0.97, 178.0) },
        fails("fails always", 0.0, 1.0, Broken::Nothing, 107.0),
        fails("fails 3 in 10", 0.0, 0.3, Broken::Nothing, 220.0),
        fails("fails 6 in 10, before 1", 0.1, 0.6, Broken::Some, 200.0),
    ]
}

fn multiplier() -> u64 {
    std::env::var("KREGRESS_TRIALS").ok().and_then(|value| value.parse().ok()).unwrap_or(1)
}

#[test]
#[expect(clippy::print_stdout, reason = "the table is there to be read")]
fn table() {
    let (mut answers, mut right) = (0, 0);
    println!("| history | `git bisect run`, 1 boot | median of 5 | kregress | refused, open | builds |");
    println!("|---|---|---|---|---|---|");
    for case in cases() {
        let seeds = SEED..SEED + case.trials * multiplier();
        let one = score(case.worlds(seeds.clone()), |world| threshold(world, 1));
        let five = score(case.worlds(seeds.clone()), |world| threshold(world, 5));
        let ours = score(case.worlds(seeds), bayes);
        let cell = |score: &Score| {
            let share = 100.0 * score.right as f64 / (score.runs - score.refused - score.unknown) as f64;
            format!("{share:.1} %, {:.0}", score.cost)
        };
        println!(
            "| {} ({}) | {} | {} | {} | {}, {} | {:.0} |",
            case.name,
            ours.runs,
            cell(&one),
            cell(&five),
            cell(&ours),
            ours.refused,
            ours.unknown,
            ours.builds,
        );
        answers += ours.answers();
        right += ours.right;
        assert!(ours.reaches(case.wanted.right), "{}: {ours:?}", case.name);
        assert!(ours.cost <= 1.1 * case.wanted.cost, "{}: {ours:?}", case.name);
        assert!(ours.unknown * 20 <= ours.runs, "{}: {ours:?}", case.name);
        assert!(
            ours.right() >= one.right() && ours.right() + 0.02 >= five.right(),
            "{}: {five:?}",
            case.name
        );
    }
    // Answers are given at 95 %.
    assert!(right as f64 >= 0.93 * f64::from(answers as u32), "{right} of {answers}");
}
