//! From the tree of results to a list of cases.

use std::collections::HashMap;

use super::group::Node;
use crate::model::{Subtest, SubtestVerdict};

/// The cases of a tree. A result that holds others is among them only where it
/// says something that they do not.
pub(super) fn flatten(roots: Vec<Node>) -> Vec<Subtest> {
    let mut flat = Flat { subtests: Vec::new(), names: HashMap::new() };
    for root in roots {
        flat.take(root, &[], None);
    }
    flat.subtests
}

struct Flat {
    subtests: Vec<Subtest>,
    /// How often each name was seen.
    names: HashMap<Vec<String>, usize>,
}

/// Whether something is wrong within.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Within {
    Clean,
    Wrong,
}

impl Flat {
    /// `expected` is what a test around it says of failures within.
    fn take(&mut self, node: Node, outer: &[String], expected: Option<SubtestVerdict>) -> Within {
        let Node { name, verdict: said, mut reason, elapsed, diagnostics, children, .. } = node;
        let mut path = outer.to_vec();
        path.push(name);
        let count = self.names.entry(path.clone()).or_insert(0);
        *count += 1;
        if let (Some(name), true) = (path.last_mut(), *count > 1) {
            name.push_str(&format!(" ({count})"));
        }
        let verdict = match (said, expected) {
            (SubtestVerdict::Fail, Some(expected)) => expected,
            (verdict, _) => verdict,
        };
        let expects = match said {
            SubtestVerdict::Xfail | SubtestVerdict::Todo => Some(said),
            _ => expected,
        };
        let is_leaf = children.is_empty();
        let mut within = Within::Clean;
        for child in children {
            within = within.max(self.take(child, &path, expects));
        }
        let is_told_within = match verdict {
            SubtestVerdict::Pass => true,
            SubtestVerdict::Fail => within == Within::Wrong && !reason.starts_with("TIMEOUT"),
            _ => false,
        };
        if is_leaf || !is_told_within {
            if !is_leaf && verdict == SubtestVerdict::Fail && within == Within::Clean && reason.is_empty() {
                "it failed, and nothing in it did".clone_into(&mut reason);
            }
            self.subtests.push(Subtest { path, verdict, reason, elapsed, diagnostics });
        }
        match verdict {
            SubtestVerdict::Fail | SubtestVerdict::Error => Within::Wrong,
            _ => within,
        }
    }
}
