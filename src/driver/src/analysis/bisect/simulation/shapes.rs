//! Histories of other shapes than one culprit on a line.

use super::search::{BUILD, End, bayes};
use super::world::{At, Broken, Metric, World, line, merges};
use super::{Score, score};
use crate::analysis::bisect::{Choice, Class, Standing};
use crate::analysis::bisect::{Costs, Dag, Evidence, Kind, choose, posterior, standing};
use std::collections::BTreeSet;

const CLEAR: f64 = 4.0;

fn world(dag: Dag, guilty: usize, broken: &[usize], seed: u64) -> World {
    let mut world = World::new(dag, Metric::time(CLEAR), Broken::Nothing, seed);
    world.guilty = vec![(guilty, 1.0)];
    world.broken = broken.iter().copied().collect();
    world
}

fn answer(world: &mut World) -> Class {
    match bayes(world).end {
        End::Named(class) => class,
        end => panic!("{end:?}"),
    }
}

#[test]
fn histories_with_merges_are_bisected_as_well_as_lines() {
    let worlds = (1..=60)
        .map(|seed| World::new(merges(60 + seed as usize, seed), Metric::time(3.0), Broken::Nothing, seed));
    let score: Score = score(worlds, bayes);
    assert!(score.reaches(0.98) && score.unknown == 0 && score.cost < 145.0, "{score:?}");
}

#[test]
fn a_culprit_in_a_side_branch_is_found_there() {
    // 0 - 1 - 2 ------- 6 - 7, and 3 - 4 - 5 from 0.
    let dag = Dag::new(vec![vec![], vec![0], vec![1], vec![0], vec![3], vec![4], vec![2, 5], vec![6]])
        .expect("a range");
    let found = answer(&mut world(dag, 4, &[], 1));
    assert_eq!((found.suspects, found.before, found.after), (vec![4], Some(3), 4));
}

#[test]
fn a_merge_is_blamed_after_all_its_parents_were_booted() {
    // An octopus: 0, 1 and 2 sit on the good endpoint, 3 merges them.
    let dag = Dag::new(vec![vec![], vec![], vec![], vec![0, 1, 2], vec![3]]).expect("a range");
    let found = answer(&mut world(dag, 3, &[], 1));
    assert_eq!((found.suspects, found.before, found.after), (vec![3], Some(0), 3));
    assert_eq!(found.beside, [1, 2]);
}

#[test]
fn a_culprit_that_does_not_build_is_in_the_class_that_is_named() {
    for seed in 1..=10 {
        let found = answer(&mut world(line(32), 17, &[15, 16, 17, 18], seed));
        assert_eq!((found.suspects, found.before, found.after), (vec![15, 16, 17, 18, 19], Some(14), 19));
    }
}

#[test]
fn a_range_of_which_nothing_builds_is_one_class() {
    let found = answer(&mut world(line(16), 7, &(0..15).collect::<Vec<_>>(), 1));
    assert_eq!((found.suspects.len(), found.before, found.after), (16, None, 15));
    assert!(found.probability > 0.999);
}

#[test]
fn of_two_culprits_one_is_found() {
    let worlds = (1..=40).map(|seed| {
        let mut world = world(line(64), 20, &[], seed);
        world.guilty = vec![(20, 0.7), (45, 0.3)];
        world
    });
    let score = score(worlds, bayes);
    assert!(score.right >= 36, "{score:?}");
}

#[test]
fn endpoints_that_do_not_differ_are_refused() {
    let worlds = (1..=300).map(|seed| World::line(64, Metric::time(0.0), Broken::Nothing, seed));
    let runs = score(worlds, bayes);
    // The looks of the gate allow for 0.8 % of false alarms in this direction.
    assert!(runs.refused >= 295, "{runs:?}");
    assert!(runs.cost <= 2.0 * (BUILD + 40.0));
}

#[test]
fn a_range_of_one_commit_needs_no_boot_beside_the_endpoints() {
    let mut one = World::line(1, Metric::time(3.0), Broken::Nothing, 1);
    let run = bayes(&mut one);
    assert!(run.names(0) && run.builds == 2, "{run:?}");
}

/// The next step after these boots of a line.
fn next(commits: usize, kind: Kind, evidence: &Evidence, build: f64) -> Option<Choice> {
    let dag = line(commits);
    let state = posterior(&dag, kind, &[], evidence);
    match standing(&dag, kind, &state, evidence, 0.95) {
        Standing::Settled(class) => panic!("{class:?}"),
        Standing::Open { wanting } => wanting.or_else(|| {
            let costs = Costs { boot: 1.0, build, cached: BTreeSet::new() };
            choose(&dag, kind, &state, evidence, &costs)
        }),
    }
}

#[test]
fn ten_thousand_commits_are_halved() {
    let mut world = World::line(10_000, Metric::time(3.0), Broken::Some, 1);
    let mut boots = |at| (0..8).map(|_| world.boot(at)).collect::<Vec<f64>>();
    let (good, bad) = (boots(At::Good), boots(At::Commit(9999)));
    let mut evidence = Evidence { good, bad, ..Evidence::default() };
    let kind = Kind::Levels { layout: 0.0 };
    assert_eq!(next(10_000, kind, &evidence, BUILD).map(|choice| choice.commit), Some(4999));
    evidence.set_aside = (4990..=5005).collect();
    assert_eq!(next(10_000, kind, &evidence, BUILD).map(|choice| choice.commit), Some(5006));
    let run = bayes(&mut world);
    assert!(run.names(world.guilty[0].0) && run.builds <= 25, "{run:?}");
}

#[test]
fn a_failure_that_always_shows_needs_one_boot_a_step() {
    let mut evidence = Evidence { good: vec![0.0; 3], bad: vec![1.0; 3], ..Evidence::default() };
    let mut boots = 0;
    while let Some(choice) = next(128, Kind::Rates, &evidence, 1.0).filter(|_| boots < 40) {
        let failed = if choice.commit >= 77 { 1.0 } else { 0.0 };
        let of_commit = evidence.boots.entry(choice.commit).or_default();
        of_commit.extend(vec![failed; choice.boots as usize]);
        boots += choice.boots;
        let dag = line(128);
        let state = posterior(&dag, Kind::Rates, &[], &evidence);
        if let Standing::Settled(class) = standing(&dag, Kind::Rates, &state, &evidence, 0.95) {
            assert_eq!((class.suspects, evidence.boots.len()), (vec![77], 7));
            assert!(boots <= 12, "{boots}");
            return;
        }
    }
    panic!("no answer after {boots} boots: {evidence:?}");
}
