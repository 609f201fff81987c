//! A bisection while it goes on, in a line: what lies ahead before it begins, and
//! where it stands after each step. Pure.

use super::words;
use crate::bisect::bisected::Bisected;
use crate::report::quantity::count;

/// What is searched, among how much, and what that will cost.
#[must_use]
pub fn begins(bisected: &Bisected) -> String {
    let commits = count(bisected.commits.len(), "commit");
    let range = format!("{}..{}", words::short(&bisected.good.hash), words::short(&bisected.bad.hash));
    let cost = words::remaining(bisected).map(|it| format!(", {it}")).unwrap_or_default();
    format!("{}: {commits} in {range}{cost}", words::question(bisected))
}

/// What is known so far, what it has cost, and what is still to come.
#[must_use]
pub fn stands(bisected: &Bisected) -> String {
    let ahead = words::remaining(bisected).map(|it| format!("; ahead: {it}")).unwrap_or_default();
    format!("{}; {}{ahead}", words::headline(bisected), words::cost(&bisected.spent))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::report::bisected::testdata;

    #[test]
    fn before_it_begins_it_says_what_it_will_cost() {
        assert_snapshot!(begins(&testdata::unfinished()), @"
        netns-teardown/drain[namespaces=200]:drain_time: 40 commits in 0c5a7f6e1d22..b1d0e7aa4c01, about 2 kernels, 14 boots, 21 min 00 s
        ");
    }

    #[test]
    fn on_its_way_it_says_where_it_stands() {
        assert_snapshot!(stands(&testdata::unfinished()), @"
        unfinished: one of 2 commits with 96.0 %; 7 kernels built, 2 from the store, 1 that cannot be built, 58 boots, 8 steps, 2 h 13 min; ahead: about 2 kernels, 14 boots, 21 min 00 s
        ");
    }

    #[test]
    fn it_is_one_safe_line_whatever_commits_say() {
        let it = testdata::hostile();
        for line in [begins(&it), stands(&it)] {
            assert!(!line.contains(['\n', '\u{1b}', '\u{202e}']), "{line}");
        }
    }
}
