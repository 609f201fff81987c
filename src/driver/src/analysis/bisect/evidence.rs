//! What goes into a bisection: what the numbers are, what was measured, what it
//! costs. Plain data, no rule.

use std::collections::{BTreeMap, BTreeSet};

/// What the boots of a commit are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Levels: each boot is one number on the scale of analysis (the logarithm of
    /// a time, or a plain number). The levels before and after the change are unknown.
    Levels {
        /// Standard deviation that a build as such adds, on the same scale: code
        /// that lies elsewhere in memory is faster or slower without being other code.
        layout: f64,
    },
    /// Each boot is 1 (it shows the failure) or 0 (it does not). How often boots
    /// fail before and after the change is unknown, only that it is more after it.
    Rates,
}

/// The boots there are. Numbers that are not finite do not count.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evidence {
    /// Boots of the good endpoint.
    pub good: Vec<f64>,
    /// Boots of the bad endpoint, the last commit of the range.
    pub bad: Vec<f64>,
    /// Boots of the commits between.
    pub boots: BTreeMap<usize, Vec<f64>>,
    /// Commits that cannot be built or booted. They are not tested again, and stay suspects.
    pub set_aside: BTreeSet<usize>,
}

impl Evidence {
    /// Boots of a commit between the endpoints.
    pub(super) fn of(&self, commit: usize) -> &[f64] {
        self.boots.get(&commit).map_or(&[], Vec::as_slice)
    }
}

/// What measuring costs, in seconds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Costs {
    /// One boot.
    pub boot: f64,
    /// One kernel.
    pub build: f64,
    /// Commits whose kernels are there already.
    pub cached: BTreeSet<usize>,
}

/// What to measure next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// The commit.
    pub commit: usize,
    /// How many boots more of it.
    pub boots: u32,
}
