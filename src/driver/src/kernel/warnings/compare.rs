//! Which warnings a kernel has that its parent does not, and whether that can be
//! said. Pure.

use std::collections::BTreeMap;

use super::{Identity, Snapshot, Warning};

/// One of the two kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Parent,
    Child,
}

/// What two snapshots say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Comparison {
    /// All warnings that are new, and those that are known to be gone.
    Settled { new: Vec<Warning>, gone: Vec<Warning> },
    /// Too little is known of this one.
    Lacks(Side),
}

/// Compares what is known of two kernels.
pub(super) fn compare(parent: Option<&Snapshot>, child: Option<&Snapshot>) -> Comparison {
    let Some(child) = child else { return Comparison::Lacks(Side::Child) };
    let Some(parent) = parent else {
        // A kernel without warnings has no new ones.
        return match child.unheard.is_empty() && child.warnings.is_empty() {
            true => Comparison::Settled { new: Vec::new(), gone: Vec::new() },
            false => Comparison::Lacks(Side::Parent),
        };
    };
    // An object that was not compiled since before both is the same in both.
    let is_same_epoch = parent.epoch == child.epoch;
    let is_old = |object: &String| is_same_epoch && parent.unheard.contains(object);
    if !child.unheard.iter().all(is_old) {
        return Comparison::Lacks(if is_same_epoch { Side::Child } else { Side::Parent });
    }
    let (before, now) = (identities(parent), identities(child));
    let added = child.warnings.iter().filter_map(|(object, said)| {
        let added: Vec<_> = said.iter().filter(|it| !before.contains_key(&it.identity())).collect();
        (!added.is_empty()).then_some((object, added))
    });
    let mut new = BTreeMap::new();
    for (object, warnings) in added {
        if parent.unheard.contains(object) {
            return Comparison::Lacks(Side::Parent);
        }
        // One of a header is said once for each object.
        warnings.into_iter().for_each(|it| _ = new.entry(it.identity()).or_insert(it));
    }
    let gone = before.into_iter().filter(|(identity, _)| !now.contains_key(identity));
    Comparison::Settled { new: in_order(new.into_values()), gone: in_order(gone.map(|(_, it)| it)) }
}

fn identities(snapshot: &Snapshot) -> BTreeMap<Identity, &Warning> {
    snapshot.warnings.values().flatten().map(|warning| (warning.identity(), warning)).collect()
}

/// By file and line.
fn in_order<'a>(warnings: impl Iterator<Item = &'a Warning>) -> Vec<Warning> {
    let mut warnings: Vec<_> = warnings.cloned().collect();
    warnings.sort();
    warnings
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
