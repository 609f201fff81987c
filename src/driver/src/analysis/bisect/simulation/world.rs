//! Histories of which the guilty commit is known, and the boots of their kernels.

use std::collections::BTreeSet;

use crate::analysis::bisect::{Dag, Kind};

/// Standard deviation of boots: 2 % of a time.
pub(super) const SPREAD: f64 = 0.02;

/// What boots show, and what disturbs them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Metric {
    /// A time whose logarithm the guilty commit raises.
    Time {
        /// By so many standard deviations of a boot.
        effect: f64,
        /// Standard deviation of what a build adds, as a share of the effect.
        layout: f64,
        /// Boots that something slows down.
        slow: Slow,
    },
    /// A failure.
    Failure {
        /// How often before the guilty commit.
        old: f64,
        /// How often after it.
        new: f64,
    },
}

/// One boot in twenty that something slows down.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slow {
    Never,
    /// By 6 to 16 %: three to eight standard deviations.
    Somewhat,
}

impl Slow {
    /// What it adds to the logarithm: at least, and at most.
    fn by(self) -> (f64, f64) {
        match self {
            Self::Never => (0.0, 0.0),
            Self::Somewhat => (1.06_f64.ln(), 1.16_f64.ln()),
        }
    }
}

impl Metric {
    /// A time without disturbances.
    pub(super) fn time(effect: f64) -> Self {
        Self::Time { effect, layout: 0.0, slow: Slow::Never }
    }

    /// What the bisection is told.
    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Time { effect, layout, .. } => Kind::Levels { layout: layout * effect * SPREAD },
            Self::Failure { .. } => Kind::Rates,
        }
    }
}

/// Which commits do not build.
#[derive(Debug, Clone, Copy)]
pub(super) enum Broken {
    Nothing,
    /// One in twenty, and six in a row.
    Some,
}

/// A kernel that can be booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Good,
    Commit(usize),
}

pub(super) struct World {
    pub(super) dag: Dag,
    /// Commits of which each adds a step of this share of the effect.
    pub(super) guilty: Vec<(usize, f64)>,
    pub(super) broken: BTreeSet<usize>,
    pub(super) metric: Metric,
    shifts: Vec<f64>,
    rng: fastrand::Rng,
}

impl World {
    /// A history with one guilty commit, anywhere.
    pub(super) fn new(dag: Dag, metric: Metric, broken: Broken, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let tip = dag.tip();
        let guilty = vec![(rng.usize(..=tip), 1.0)];
        let mut unbuildable = BTreeSet::new();
        if let Broken::Some = broken {
            unbuildable.extend((0..tip).filter(|_| rng.f64() < 0.05));
            let start = rng.usize(..tip - 6);
            unbuildable.extend(start..start + 6);
        }
        let mut world = Self { dag, guilty, broken: unbuildable, metric, shifts: Vec::new(), rng };
        if let Metric::Time { effect, layout, .. } = metric {
            let size = layout * effect * SPREAD;
            world.shifts = (0..=tip + 1).map(|_| size * world.normal()).collect();
        }
        world
    }

    /// One commit after the other.
    pub(super) fn line(commits: usize, metric: Metric, broken: Broken, seed: u64) -> Self {
        Self::new(line(commits), metric, broken, seed)
    }

    /// One boot.
    pub(super) fn boot(&mut self, at: At) -> f64 {
        let share: f64 = match at {
            At::Good => 0.0,
            At::Commit(commit) => {
                let inside = self.guilty.iter().filter(|(guilty, _)| self.dag.contains(commit, *guilty));
                inside.map(|(_, share)| share).sum()
            }
        };
        match self.metric {
            Metric::Failure { old, new } => {
                if self.rng.f64() < old + share * (new - old) {
                    1.0
                } else {
                    0.0
                }
            }
            Metric::Time { effect, slow, .. } => {
                let kernel = if let At::Commit(commit) = at { commit } else { self.dag.len() };
                let mut value = SPREAD * (share * effect + self.normal()) + self.shifts[kernel];
                if self.rng.f64() < 0.05 {
                    let (least, most) = slow.by();
                    value += least + (most - least) * self.rng.f64();
                }
                value
            }
        }
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.rng.f64()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.rng.f64()).cos()
    }
}

pub(in crate::analysis::bisect) fn line(commits: usize) -> Dag {
    let parents = (0..commits).map(|commit| commit.checked_sub(1).into_iter().collect());
    Dag::new(parents.collect()).expect("a line")
}

/// A main line with side branches that fork from it or from before the range, some of
/// them merged several at once.
pub(in crate::analysis::bisect) fn merges(commits: usize, seed: u64) -> Dag {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut parents: Vec<Vec<usize>> = vec![Vec::new()];
    let mut main = vec![0];
    while parents.len() < commits {
        let head = main[main.len() - 1];
        let mut tips = vec![head];
        if rng.f64() < 0.25 {
            for _ in 0..=rng.usize(..3) / 2 {
                let fork = main.len().checked_sub(rng.usize(..8) + 1).map(|index| main[index]);
                let mut before: Vec<usize> = fork.into_iter().collect();
                for _ in 0..=rng.usize(..8) {
                    parents.push(before);
                    before = vec![parents.len() - 1];
                }
                tips.extend(before);
            }
        }
        main.push(parents.len());
        parents.push(tips);
    }
    Dag::new(parents).expect("every branch was merged")
}
