//! The way that a search took over the commits, as every form of report shows
//! it: which commits were measured, what came out, on which side each stands. Pure.

use super::words;
use crate::bisect::bisected::{Bisected, Question, Row, State};
use crate::report::cases::median;
use crate::report::quantity::Scale;
use crate::report::text_safety;

/// Probability from which a commit is called one of a side. That of most answers.
const SURE: f64 = 0.95;

/// Where a commit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As the good endpoint.
    Without,
    /// As the bad endpoint.
    With,
    /// Not sure enough for either.
    Open,
}

/// Where the commit at `at` stands by the first search: it has the change if one of
/// its ancestors or itself is the culprit.
pub(crate) fn standing(commits: &[Row], at: usize) -> Standing {
    let whole: f64 = commits.iter().map(|row| row.probability).sum();
    // Without a search there is nothing to stand on.
    if whole < SURE {
        return Standing::Open;
    }
    match ancestry(commits, at) / whole {
        with if with >= SURE => Standing::With,
        with if with <= 1.0 - SURE => Standing::Without,
        _ => Standing::Open,
    }
}

/// Sum of the probabilities of a commit and its ancestors in the range.
fn ancestry(commits: &[Row], at: usize) -> f64 {
    let mut seen = vec![false; commits.len()];
    let mut ahead = vec![at];
    let mut sum = 0.0;
    while let Some(next) = ahead.pop() {
        let (Some(row), Some(seen)) = (commits.get(next), seen.get_mut(next)) else { continue };
        if !std::mem::replace(seen, true) {
            sum += row.probability;
            ahead.extend(&row.parents);
        }
    }
    sum
}

/// How probable each commit is the culprit, by the last search that went over it.
pub(crate) fn probabilities(bisected: &Bisected) -> Vec<f64> {
    let mut all: Vec<f64> = bisected.commits.iter().map(|row| row.probability).collect();
    for (at, probability) in bisected.later.iter().flat_map(|search| &search.probabilities) {
        if let Some(place) = all.get_mut(*at) {
            *place = *probability;
        }
    }
    all
}

/// Whether a commit belongs to an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It is one of the suspects of an answer.
    Answer,
    /// It is not.
    Other,
}

/// A commit that was looked at, as a row of a table. All texts are made safe.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// Twelve digits.
    pub(crate) hash: String,
    pub(crate) subject: String,
    /// How many count; empty where it was not booted itself.
    pub(crate) boots: String,
    /// Median, `3 of 6 failed`, or why there is none.
    pub(crate) outcome: String,
    /// By the last search that went over it.
    pub(crate) probability: String,
    /// Why it was set aside, or whose image it has.
    pub(crate) reason: Option<String>,
    pub(crate) standing: Standing,
    pub(crate) part: Part,
}

/// At most so many of the commits that were looked at or answer, parents first, and
/// how many more there are. Those nearest to the answer stay.
pub(crate) fn steps(bisected: &Bisected, limit: usize) -> (Vec<Step>, usize) {
    let part = |row: &Row| {
        let mut of_answers = bisected.answers.iter().flat_map(|answer| &answer.commits);
        if of_answers.any(|it| it.hash == row.commit.hash) { Part::Answer } else { Part::Other }
    };
    let mut chosen: Vec<usize> = (0..bisected.commits.len())
        .filter(|at| {
            let row = &bisected.commits[*at];
            row.state != State::Untouched || part(row) == Part::Answer
        })
        .collect();
    let all = chosen.len();
    let middle = focus(bisected).unwrap_or(0);
    chosen.sort_by_key(|at| at.abs_diff(middle));
    chosen.truncate(limit);
    chosen.sort_unstable();
    let probabilities = probabilities(bisected);
    let steps: Vec<Step> = chosen
        .into_iter()
        .map(|at| {
            let row = &bisected.commits[at];
            let boots = if row.values.is_empty() { String::new() } else { row.values.len().to_string() };
            let reason = match &row.state {
                State::SetAside { reason } => Some(text_safety::title(reason)),
                State::SameImage { of } => Some(format!("the image of {}", words::short(of))),
                State::Untouched | State::Measured => None,
            };
            Step {
                hash: words::short(&row.commit.hash),
                subject: text_safety::title(&row.commit.subject),
                boots,
                outcome: outcome(bisected, row),
                probability: words::probability(probabilities[at]),
                reason,
                standing: standing(&bisected.commits, at),
                part: part(row),
            }
        })
        .collect();
    let left_out = all - steps.len();
    (steps, left_out)
}

/// The commit of which a reader wants to see the surroundings: the first answer, or
/// the most probable one.
pub(crate) fn focus(bisected: &Bisected) -> Option<usize> {
    let answer = bisected.answers.first().and_then(|answer| answer.commits.last());
    let place = answer.and_then(|it| bisected.commits.iter().position(|row| row.commit.hash == it.hash));
    place.or_else(|| {
        let rows = bisected.commits.iter().enumerate();
        rows.max_by(|(_, a), (_, b)| a.probability.total_cmp(&b.probability)).map(|(at, _)| at)
    })
}

/// What its boots came to.
fn outcome(bisected: &Bisected, row: &Row) -> String {
    match &row.state {
        State::Untouched => String::new(),
        State::SameImage { .. } => "same image".to_owned(),
        State::SetAside { .. } => "set aside".to_owned(),
        State::Measured => middle(&bisected.question, &row.values),
    }
}

/// Median of boots with its unit, or how many show it.
pub(crate) fn middle(question: &Question, values: &[f64]) -> String {
    match question {
        Question::Metric { metric, .. } => {
            median(values).map_or_else(String::new, |middle| Scale::of(metric.unit, middle).quantity(middle))
        }
        Question::Test { .. } | Question::Finding { .. } => {
            let shown = values.iter().filter(|value| **value > 0.5).count();
            format!("{shown} of {} {}", values.len(), words::verb(question))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::bisected::testdata;

    #[test]
    fn what_comes_after_the_culprit_has_the_change_and_what_comes_before_has_not() {
        let it = testdata::confirmed();
        let at = |hash: &str| it.commits.iter().position(|row| row.commit.hash.starts_with(hash));
        let culprit = at(testdata::CULPRIT).expect("in the range");
        assert_eq!(standing(&it.commits, culprit), Standing::With);
        assert_eq!(standing(&it.commits, culprit - 1), Standing::Without);
        assert_eq!(standing(&it.commits, it.commits.len() - 1), Standing::With);
    }

    #[test]
    fn a_commit_beside_the_culprit_does_not_have_the_change() {
        let mut commits = testdata::line(3, 0.0);
        commits[0].probability = 1.0;
        commits[1].parents = vec![];
        commits[2].parents = vec![0, 1];
        let all: Vec<Standing> = (0..3).map(|at| standing(&commits, at)).collect();
        assert_eq!(all, [Standing::With, Standing::Without, Standing::With]);
    }

    #[test]
    fn without_a_search_no_commit_stands_anywhere() {
        assert_eq!(standing(&testdata::line(5, 0.0), 4), Standing::Open);
    }

    #[test]
    fn parents_that_go_in_circles_or_nowhere_do_no_harm() {
        let mut commits = testdata::line(3, 1.0 / 3.0);
        commits[0].parents = vec![2, 99];
        assert_eq!(standing(&commits, 1), Standing::With);
    }

    #[test]
    fn a_short_table_keeps_what_is_near_the_answer() {
        let it = testdata::confirmed();
        let (all, none) = steps(&it, 1000);
        let (few, more) = steps(&it, 3);
        assert_eq!((few.len(), more, none), (3, all.len() - 3, 0));
        assert!(few.iter().any(|step| step.part == Part::Answer));
    }
}
