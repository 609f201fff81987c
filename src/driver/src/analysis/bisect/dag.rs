//! The commits of the range: who descends from whom, and nothing of what they contain.

/// More commits than this are refused: what each contains is kept as one bit for
/// each pair, which comes to 200 MB here.
const MOST: usize = 60_000;

/// Commits of the range, numbered so that parents come before their children. The
/// last is the bad endpoint and descends from all others. Parents outside of the
/// range, which are reachable from a good endpoint, are left out: a commit
/// without parents here sits on a good one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dag {
    parents: Vec<Vec<usize>>,
    /// For each commit one bit for each that it contains, itself included; only as long as needed.
    contents: Vec<Box<[u64]>>,
}

/// Why commits are no range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// No commit at all.
    #[error(
        "there is no commit between good and bad\nhint: the good revision has to be an ancestor of the bad one"
    )]
    Empty,
    /// More than can be kept in memory.
    #[error(
        "there are `{commits}` commits between good and bad, more than {MOST}\nhint: name a good revision nearer to the bad one, or follow first parents only"
    )]
    TooMany {
        /// How many.
        commits: usize,
    },
    /// A commit that comes before one of its parents.
    #[error(
        "commit `{commit}` of the range comes before its parent `{parent}`\nhint: list commits in topological order, the oldest first"
    )]
    Order {
        /// Position of the commit.
        commit: usize,
        /// Position of its parent, or beyond the range.
        parent: usize,
    },
    /// A commit that the bad endpoint does not contain.
    #[error(
        "commit `{commit}` of the range is not part of its last commit\nhint: list the ancestors of the bad revision only, with the bad revision last"
    )]
    Stray {
        /// Position of the commit.
        commit: usize,
    },
}

impl Dag {
    /// Commits by the positions of their parents.
    ///
    /// # Errors
    ///
    /// No commit, too many, a parent that does not come before its child, or a
    /// commit that is no ancestor of the last one.
    pub fn new(parents: Vec<Vec<usize>>) -> Result<Self, DagError> {
        let Some(tip) = parents.len().checked_sub(1) else { return Err(DagError::Empty) };
        if parents.len() > MOST {
            return Err(DagError::TooMany { commits: parents.len() });
        }
        let mut contents: Vec<Box<[u64]>> = Vec::with_capacity(parents.len());
        for (commit, of_commit) in parents.iter().enumerate() {
            let mut row = vec![0_u64; commit / 64 + 1];
            for &parent in of_commit {
                if parent >= commit {
                    return Err(DagError::Order { commit, parent });
                }
                for (word, inherited) in row.iter_mut().zip(&contents[parent]) {
                    *word |= inherited;
                }
            }
            row[commit / 64] |= 1 << (commit % 64);
            contents.push(row.into_boxed_slice());
        }
        let dag = Self { parents, contents };
        match (0..tip).find(|&commit| !dag.contains(tip, commit)) {
            Some(commit) => Err(DagError::Stray { commit }),
            None => Ok(dag),
        }
    }

    /// Number of commits; at least one.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(&self) -> usize {
        self.parents.len()
    }

    /// The bad endpoint.
    #[must_use]
    pub fn tip(&self) -> usize {
        self.len() - 1
    }

    /// Parents of a commit that are in the range; none of a commit beyond it.
    #[must_use]
    pub fn parents(&self, commit: usize) -> &[usize] {
        self.parents.get(commit).map_or(&[], Vec::as_slice)
    }

    /// Whether the tree of `commit` has the change of `suspect`: it is the same
    /// commit or an ancestor of it.
    #[must_use]
    pub fn contains(&self, commit: usize, suspect: usize) -> bool {
        let word = self.contents.get(commit).and_then(|row| row.get(suspect / 64));
        word.is_some_and(|word| word >> (suspect % 64) & 1 == 1)
    }

    /// For each commit the sum of `weights` over what it contains.
    #[must_use]
    pub fn sums(&self, weights: &[f64]) -> Vec<f64> {
        let mut sums: Vec<f64> = Vec::with_capacity(self.len());
        for commit in 0..self.len() {
            // Few commits are merges, and most of what a merge contains is in one of its parents.
            let nearest = self.parents(commit).iter().copied().max();
            let inherited = nearest.map_or(0.0, |parent| sums[parent]);
            let own = match (nearest, self.parents(commit).len()) {
                (Some(parent), 2..) => self.beyond(commit, parent).map(|suspect| weights[suspect]).sum(),
                _ => weights[commit],
            };
            sums.push(inherited + own);
        }
        sums
    }

    /// For each commit how many of `chosen` it contains.
    pub(super) fn counts(&self, chosen: &[usize]) -> Vec<usize> {
        let mut mask = vec![0_u64; self.len() / 64 + 1];
        for &suspect in chosen {
            mask[suspect / 64] |= 1 << (suspect % 64);
        }
        let common = |row: &[u64]| row.iter().zip(&mask).map(|(a, b)| (a & b).count_ones() as usize).sum();
        self.contents.iter().map(|row| common(row)).collect()
    }

    /// What `commit` contains and its ancestor `parent` does not.
    fn beyond(&self, commit: usize, parent: usize) -> impl Iterator<Item = usize> {
        let inherited = self.contents[parent].iter().copied().chain(std::iter::repeat(0));
        self.contents[commit].iter().zip(inherited).enumerate().flat_map(|(word, (own, inherited))| {
            let mut left = own & !inherited;
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.checked_sub(1)?;
                Some(word * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{line, merges};
    use super::*;
    use insta::assert_snapshot;
    use proptest::prelude::*;

    fn refused(parents: &[&[usize]]) -> DagError {
        Dag::new(parents.iter().map(|parents| parents.to_vec()).collect()).expect_err("no range")
    }

    #[test]
    fn what_is_no_range_is_refused_with_a_hint() {
        assert_snapshot!(refused(&[]), @r"
        there is no commit between good and bad
        hint: the good revision has to be an ancestor of the bad one
        ");
        assert_snapshot!(refused(&[&[], &[2], &[1]]), @r"
        commit `1` of the range comes before its parent `2`
        hint: list commits in topological order, the oldest first
        ");
        assert_snapshot!(refused(&[&[], &[], &[0]]), @r"
        commit `1` of the range is not part of its last commit
        hint: list the ancestors of the bad revision only, with the bad revision last
        ");
        assert_snapshot!(refused(&vec![&[][..]; MOST + 1]), @r"
        there are `60001` commits between good and bad, more than 60000
        hint: name a good revision nearer to the bad one, or follow first parents only
        ");
    }

    #[test]
    fn a_commit_contains_itself_and_what_was_before_it() {
        // 0 and 1 sit on the good endpoint, 2 merges them.
        let dag = Dag::new(vec![vec![], vec![], vec![0, 1], vec![2]]).expect("a range");
        let contents: Vec<Vec<usize>> =
            (0..4).map(|commit| (0..4).filter(|&suspect| dag.contains(commit, suspect)).collect()).collect();
        assert_eq!(contents, [vec![0], vec![1], vec![0, 1, 2], vec![0, 1, 2, 3]]);
        assert_eq!((dag.len(), dag.tip(), dag.parents(2), dag.parents(9)), (4, 3, &[0, 1][..], &[][..]));
        assert!(!dag.contains(3, 4) && !dag.contains(4, 3));
    }

    /// By walking from child to parent.
    fn reaches(dag: &Dag, from: usize, to: usize) -> bool {
        let mut reached = vec![false; dag.len()];
        reached[from] = true;
        for commit in (0..=from).rev().filter(|&commit| commit >= to) {
            if reached[commit] {
                dag.parents(commit).iter().for_each(|&parent| reached[parent] = true);
            }
        }
        reached[to]
    }

    proptest! {
        #[test]
        fn containing_is_being_reached_by_way_of_parents(commits in 1..150_usize, seed: u64) {
            let dag = merges(commits, seed);
            for commit in 0..dag.len() {
                for suspect in 0..dag.len() {
                    prop_assert_eq!(dag.contains(commit, suspect), reaches(&dag, commit, suspect));
                }
            }
        }

        #[test]
        fn sums_and_counts_are_those_over_what_is_contained(commits in 1..150_usize, seed: u64) {
            let dag = merges(commits, seed);
            let weights: Vec<f64> = (0..dag.len()).map(|commit| (commit * 7 % 11) as f64).collect();
            let chosen: Vec<usize> = (0..dag.len()).filter(|commit| commit % 3 == 0).collect();
            let (sums, counts) = (dag.sums(&weights), dag.counts(&chosen));
            for commit in 0..dag.len() {
                let inside: Vec<usize> = (0..dag.len()).filter(|&suspect| dag.contains(commit, suspect)).collect();
                prop_assert_eq!(sums[commit], inside.iter().map(|&suspect| weights[suspect]).sum::<f64>());
                prop_assert_eq!(counts[commit], inside.iter().filter(|suspect| *suspect % 3 == 0).count());
            }
        }
    }

    #[test]
    fn a_line_sums_up_from_its_beginning() {
        assert_eq!(line(4).sums(&[1.0, 2.0, 3.0, 4.0]), [1.0, 3.0, 6.0, 10.0]);
    }
}
