//! A bisection as `git bisect log` writes it, for `git bisect replay`: the
//! measured commits as good or bad where the search is sure of them. What git has no
//! word for is a comment. Pure.

use std::fmt::Write as _;

use super::course::{self, Standing};
use super::words;
use crate::bisect::bisected::{Bisected, Commit, Ending, State};
use crate::report::text_safety;

/// The log.
#[must_use]
pub fn of_bisection(bisected: &Bisected) -> String {
    let mut out = String::from("git bisect start\n");
    comment(&mut out, &format!("kregress bisect: {}", words::question(bisected)));
    // Of endpoints that were not told apart, git must not believe the contrary.
    if matches!(bisected.ending, Ending::NotReproduced { .. } | Ending::EndpointFailed { .. }) {
        comment(&mut out, &words::headline(bisected));
        return out;
    }
    mark(&mut out, "bad", &bisected.bad);
    mark(&mut out, "good", &bisected.good);
    if bisected.answers.len() > 1 {
        comment(&mut out, "more than one commit is to blame: no single line of good and bad tells them");
        for answer in &bisected.answers {
            answer.commits.iter().for_each(|it| told(&mut out, "one of several bad commits", it));
        }
        return out;
    }
    let standing = |at: usize| course::standing(&bisected.commits, at);
    let rows = || bisected.commits.iter().enumerate().filter(|(_, row)| row.commit.hash != bisected.bad.hash);
    // Git knows one bad commit, the last that it is told: children first, then.
    for (at, row) in rows().rev() {
        if row.state == State::Measured && standing(at) == Standing::With {
            mark(&mut out, "bad", &row.commit);
        }
    }
    for (at, row) in rows() {
        match &row.state {
            State::Measured => match standing(at) {
                Standing::With => {}
                Standing::Without => mark(&mut out, "good", &row.commit),
                Standing::Open => told(&mut out, "undecided", &row.commit),
            },
            State::SetAside { .. } => mark(&mut out, "skip", &row.commit),
            State::Untouched | State::SameImage { .. } => {}
        }
    }
    for answer in &bisected.answers {
        let confirmed = words::is_confirmed(answer);
        match answer.commits.as_slice() {
            [one] if confirmed => told(&mut out, "first bad commit", one),
            many => many.iter().for_each(|it| told(&mut out, "possible first bad commit", it)),
        }
    }
    out
}

fn mark(out: &mut String, term: &str, commit: &Commit) {
    told(out, term, commit);
    // Git is given nothing but a hash.
    let hash: String = commit.hash.chars().filter(char::is_ascii_hexdigit).collect();
    let _ = writeln!(out, "git bisect {term} {hash}");
}

fn told(out: &mut String, term: &str, commit: &Commit) {
    let hash = text_safety::name(&commit.hash);
    comment(out, &format!("{term}: [{hash}] {}", text_safety::title(&commit.subject)));
}

fn comment(out: &mut String, text: &str) {
    let _ = writeln!(out, "# {text}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing::git;
    use crate::report::bisected::testdata;

    #[test]
    fn git_replays_the_log_and_comes_to_the_same_answer() {
        let repository = tempfile::tempdir().expect("a directory");
        let path = repository.path();
        git(path, &["init", "-q"]);
        let make = |n: usize| {
            let subject = format!("change {n}\t\"quoted\" ]");
            git(path, &["commit", "-q", "--allow-empty", "-m", &subject]);
            (git(path, &["rev-parse", "HEAD"]), subject)
        };
        let mut it = testdata::confirmed();
        let good = make(0);
        (it.good.hash, it.good.subject) = good;
        for at in 0..it.commits.len() {
            (it.commits[at].commit.hash, it.commits[at].commit.subject) = make(at + 1);
        }
        it.bad = it.commits.last().expect("commits").commit.clone();
        let place = it.commits.iter().position(|row| row.probability > 0.5).expect("a culprit");
        it.answers[0].commits = vec![it.commits[place].commit.clone()];
        let log = path.join("log");
        std::fs::write(&log, of_bisection(&it)).expect("written");
        let said = git(path, &["bisect", "replay", log.to_str().expect("a path")]);
        let expected = format!("{} is the first bad commit", it.commits[place].commit.hash);
        assert!(said.contains(&expected), "{said}");
        let log = git(path, &["bisect", "log"]);
        assert!(log.contains(&format!("# skip: [{}]", it.commits[18].commit.hash)), "{log}");
    }

    #[test]
    fn what_the_search_is_not_sure_of_is_a_comment() {
        let mut it = testdata::budget_spent();
        // Of the measured ones the last before the suspects' end may be either.
        it.commits[15].probability = 0.0;
        let log = of_bisection(&it);
        assert!(log.contains("# undecided: ["), "{log}");
        assert!(!log.contains("first bad commit"), "{log}");
    }

    #[test]
    fn a_class_is_what_may_be_the_first_bad_commit() {
        assert_eq!(of_bisection(&testdata::class()).matches("# possible first bad commit: [").count(), 3);
    }

    #[test]
    fn endpoints_that_do_not_differ_are_not_called_good_and_bad() {
        insta::assert_snapshot!(of_bisection(&testdata::not_reproduced()), @"
        git bisect start
        # kregress bisect: netns-teardown/drain[namespaces=200]:drain_time
        # not reproduced: the endpoints do not surely differ
        ");
    }

    #[test]
    fn no_subject_becomes_an_order_to_git() {
        let mut it = testdata::hostile();
        it.commits[4].commit.subject = "x\ngit bisect reset\r\ngit bisect run rm".to_owned();
        it.commits[10].commit.hash = "$(reboot)\nf00".to_owned();
        let log = of_bisection(&it);
        for line in log.lines().filter(|line| !line.starts_with("# ")) {
            let words: Vec<&str> = line.split(' ').collect();
            let known = matches!(words.as_slice(), ["git", "bisect", "start"])
                || matches!(words.as_slice(), ["git", "bisect", "good" | "bad" | "skip", hash]
                    if hash.chars().all(|c| c.is_ascii_hexdigit()));
            assert!(known, "{line}");
        }
    }
}
