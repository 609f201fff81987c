//! Cut off anywhere, a bisection goes on as if nothing had happened; and every one ends.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::world::{World, line};
use super::{failing, with};
use crate::bisect::bisected::{Confirmation, Ending};
use crate::bisect::record::{self, Line};
use crate::bisect::{Budget, State};

/// Any history of up to 24 commits with any faults.
fn worlds() -> impl Strategy<Value = World> {
    (1_usize..24).prop_flat_map(|commits| {
        let parents =
            prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 1..3), commits);
        let few = || prop::collection::btree_set(0..commits, 0..4);
        let does = prop::collection::btree_map(0..commits, 0.7_f64..1.6, 0..3);
        let shape = (parents, does, any::<u64>());
        (shape, few(), few(), few(), few(), 0_usize..4).prop_map(
            move |((parents, does, seed), unbuildable, dead, comments, conflicts, sort)| {
                let graph = parents.iter().enumerate().map(|(at, parents)| {
                    let before = parents.iter().filter(|_| at > 0).map(|parent| parent.index(at));
                    before.collect::<BTreeSet<usize>>().into_iter().collect::<Vec<usize>>()
                });
                let mut parents: Vec<Vec<usize>> = graph.collect();
                // Everything is an ancestor of the last one.
                let heads: Vec<usize> =
                    (0..commits - 1).filter(|at| !parents.iter().any(|others| others.contains(at))).collect();
                let last = parents.last_mut().expect("a commit");
                last.extend(heads);
                last.sort_unstable();
                last.dedup();
                let accel = if sort == 1 { "icount" } else { "tcg" };
                let world =
                    World { parents, unbuildable, dead, comments, conflicts, accel, seed, ..line(commits) };
                let does: Vec<(usize, f64)> = does.into_iter().collect();
                if sort < 2 {
                    return with(world, &does);
                }
                let rates: Vec<(usize, f64)> =
                    does.into_iter().map(|(at, factor)| (at, factor - 0.6)).collect();
                failing(world, if sort == 2 { 0.0 } else { 0.2 }, &rates)
            },
        )
    })
}

fn restored(world: &World, lines: &[Line]) -> State {
    let mut text = record::write(&Line::Plan(Box::new(world.plan()))).expect("a line");
    for line in lines {
        text.extend(record::write(line).expect("a line"));
    }
    let read = record::read(&text).expect("a record");
    let mut state = State::new(read.plan);
    for line in read.lines {
        state.take(line);
    }
    state
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_bisection_that_was_cut_off_anywhere_ends_the_same_without_a_boot_more(
        world in worlds(),
        cut in any::<prop::sample::Index>(),
    ) {
        let (lines, found) = world.bisect();
        let cut = cut.index(lines.len() + 1);
        let mut state = restored(&world, &lines[..cut]);
        let more = world.go_on(&mut state, &Budget::default());
        prop_assert_eq!(&lines[cut..], &more[..]);
        prop_assert_eq!(found, world.outcome_of(&state, &Budget::default()));
    }

    #[test]
    fn an_answer_that_was_confirmed_stays_one_whatever_comes_after_it(world in worlds()) {
        let (lines, _) = world.bisect();
        let mut state = State::new(world.plan());
        let mut before = Vec::new();
        for line in lines {
            state.take(line);
            // Half of the boots that were asked for may say what all of them do not.
            if state.missing().is_some() {
                continue;
            }
            let answers = world.outcome_of(&state, &Budget::default()).answers;
            let confirmed = answers.into_iter().filter(|it| matches!(it.confirmation, Confirmation::Confirmed { .. }));
            let now: Vec<_> = confirmed.map(|it| (it.commits, it.confirmation)).collect();
            prop_assert!(now.starts_with(&before), "{before:?} became {now:?}");
            before = now;
        }
    }

    #[test]
    fn every_bisection_ends_and_who_was_not_measured_is_not_blamed_alone(world in worlds()) {
        let (_, found) = world.bisect();
        prop_assert!(!matches!(found.ending, Ending::Unfinished | Ending::BudgetSpent));
        for answer in &found.answers {
            prop_assert!(!answer.commits.is_empty());
            prop_assert!(answer.probability >= 0.95 - 1e-9);
        }
        let sum: f64 = found.commits.iter().map(|row| row.probability).sum();
        prop_assert!(sum == 0.0 || (sum - 1.0).abs() < 1e-6, "{}", sum);
    }

    #[test]
    fn any_bytes_are_no_record_or_one_that_can_be_read(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = record::read(&bytes);
        let mut torn = record::write(&Line::Plan(Box::new(line(3).plan()))).expect("a line");
        let whole = torn.len() as u64;
        torn.extend(bytes.iter().filter(|byte| **byte != b'\n'));
        let read = record::read(&torn).expect("what was being written does not count");
        prop_assert_eq!((read.whole, read.lines.len()), (whole, 0));
    }
}

#[test]
fn a_budget_ends_with_who_is_suspected_and_more_of_it_goes_on() {
    let world = with(line(64), &[(40, 1.3)]);
    let mut state = State::new(world.plan());
    let small = Budget { boots: Some(15), seconds: None };
    let lines = world.go_on(&mut state, &small);
    let found = world.outcome_of(&state, &small);
    assert_eq!(found.ending, Ending::BudgetSpent);
    let held: f64 = found.suspects.iter().map(|it| it.probability).sum();
    assert!(held >= 0.95 && !found.suspects.is_empty(), "{held}");
    assert!(found.suspects.iter().any(|it| it.commit.subject == "change 40"));
    assert!(found.remaining.is_some());

    let mut all = lines;
    all.extend(world.go_on(&mut state, &Budget::default()));
    assert_eq!(all, world.bisect().0, "a budget changes when it stops, and nothing else");
    let time = Budget { boots: None, seconds: Some(1.0) };
    assert_eq!(world.outcome_of(&state, &time).ending, Ending::Found);
}

#[test]
fn a_record_that_is_none_is_refused_with_its_line() {
    let read = |text: &str| record::read(text.as_bytes()).expect_err("no record").to_string();
    assert_eq!(read(""), "it does not begin with the plan of a bisection");
    assert_eq!(read("{\"record\":\"boot\"}\n"), "it does not begin with the plan of a bisection");
    assert_eq!(
        read("{\"record\":\"plan\",\"version\":9}\n"),
        "it has version 9; this kregress reads up to 1"
    );
    let mut text = record::write(&Line::Plan(Box::new(line(3).plan()))).expect("a line");
    text.extend(b"{\"record\":\"boot\"}\n");
    let error = record::read(&text).expect_err("no boot").to_string();
    assert!(error.starts_with("line 2: missing field"), "{error}");
}

#[test]
fn another_confidence_judges_the_same_boots_again() {
    let world = with(line(64), &[(40, 1.3)]);
    let mut state = State::new(world.plan());
    world.go_on(&mut state, &Budget { boots: Some(15), seconds: None });
    let plan = record::Plan { confidence: 0.5, ..world.plan() };
    let bold = state.clone().with_plan(plan);
    let (bold, shy) = (
        world.outcome_of(&bold, &Budget::default()).suspects.len(),
        world.outcome_of(&state, &Budget::default()).suspects.len(),
    );
    assert!(bold < shy, "{bold} {shy}");
}

#[test]
fn failed_builds_cost_time_where_the_record_says_how_much() {
    let failed = |more: &str| {
        let mut text = record::write(&Line::Plan(Box::new(line(3).plan()))).expect("a line");
        let told = r#""record":"kernel","target":{"commit":"1000"},"kernel":"unbuildable","reason":"x""#;
        text.extend(format!("{{{told}{more}}}\n").bytes());
        let read = record::read(&text).expect("a record");
        let mut state = State::new(read.plan);
        read.lines.into_iter().for_each(|line| state.take(line));
        state
    };
    let (old, new) = (failed(""), failed(r#","failed_in":42.0"#));
    assert_eq!((old.spent().failed_builds, old.spent().seconds), (1, 0.0));
    assert_eq!((new.spent().failed_builds, new.spent().seconds), (1, 42.0));
    let budget = Budget { boots: None, seconds: Some(40.0) };
    assert!(budget.is_spent(&new) && !budget.is_spent(&old));
}
