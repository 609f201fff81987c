//! Whole bisections in worlds of which we know the truth.

mod forecast;
mod resume;
mod world;

use kregress_wire::{Kind, Unit};

use self::world::{World, answer, line, metric};
use super::bisected::{Confirmation, Effect, Ending, Question, Reverted, Rule, State as CommitState};
use super::record;

fn with(mut world: World, does: &[(usize, f64)]) -> World {
    world.does.extend(does.iter().copied());
    world
}

fn failing(world: World, base: f64, does: &[(usize, f64)]) -> World {
    let question = record::Question::Test { test: "smoke/a".to_owned() };
    with(World { question, base, ..world }, does)
}

#[test]
fn a_slow_commit_is_found_confirmed_and_reverted() {
    let (_, found) = with(line(64), &[(40, 1.3)]).bisect();
    assert_eq!(found.ending, Ending::Found);
    assert_eq!(answer(&found), [40]);
    let answer = &found.answers[0];
    assert!(answer.probability >= 0.95, "{}", answer.probability);
    assert!(matches!(answer.confirmation, Confirmation::Confirmed { .. }), "{:?}", answer.confirmation);
    assert!(matches!(answer.reverted, Reverted::Verified { .. }), "{:?}", answer.reverted);
    assert!(answer.explains.is_some_and(|share| (0.8..1.2).contains(&share)), "{:?}", answer.explains);
    assert_eq!((answer.before.subject.as_str(), answer.after.subject.as_str()), ("change 39", "change 40"));
    assert!(found.spent.builds <= 12, "two ends, six steps, a revert: {:?}", found.spent);
    assert_eq!(found.commits[63].state, CommitState::Measured, "the bad endpoint");
}

#[test]
fn the_first_and_the_last_commit_can_be_guilty_and_a_single_one_is_at_once() {
    for guilty in [0, 15] {
        let (_, found) = with(line(16), &[(guilty, 1.5)]).bisect();
        assert_eq!(answer(&found), [guilty]);
    }
    let (_, found) = with(line(1), &[(0, 1.5)]).bisect();
    assert_eq!((answer(&found), found.spent.steps), (vec![0], 0));
}

#[test]
fn virtual_time_takes_one_boot_a_step_and_as_many_steps_as_there_are_halves() {
    for guilty in [0, 7, 20, 31] {
        let (_, found) = with(World { accel: "icount", ..line(32) }, &[(guilty, 1.02)]).bisect();
        assert_eq!(answer(&found), [guilty]);
        assert_eq!(found.spent.steps, 5, "{guilty}");
        // Two ends, five steps, two to confirm, two to revert.
        assert_eq!(found.spent.boots, 11, "{guilty}");
        let Question::Metric { rule, .. } = found.question else { panic!("{:?}", found.question) };
        assert_eq!(rule, Some(Rule::Exact));
    }
}

#[test]
fn a_count_that_never_varies_is_exact_without_virtual_time() {
    let question = metric(Kind::Count, Unit::One);
    let (_, found) = with(World { question, noise: 0.0, base: 1.0, ..line(32) }, &[(20, 2.0)]).bisect();
    assert_eq!((answer(&found), found.spent.steps), (vec![20], 5));
    // Two of each end, five steps, two of each side to confirm and to revert.
    assert_eq!(found.spent.boots, 17);
}

#[test]
fn endpoints_that_do_not_differ_are_refused_and_so_are_two_of_one_image() {
    let (_, found) = line(32).bisect();
    let Ending::NotReproduced { reason, .. } = &found.ending else { panic!("{:?}", found.ending) };
    assert_eq!(reason, "the endpoints do not differ");
    assert_eq!(found.spent.steps, 0);

    let same = World { comments: (0..32).collect(), ..line(32) };
    let (_, found) = same.bisect();
    let Ending::NotReproduced { reason, .. } = &found.ending else { panic!("{:?}", found.ending) };
    assert_eq!(reason, "both endpoints build to the same image");
    assert_eq!(found.spent.boots, 0);
}

#[test]
fn a_difference_that_noise_may_have_made_is_refused_with_the_boots_that_it_needs() {
    let (_, found) = with(World { noise: 0.3, ..line(32) }, &[(9, 1.1)]).bisect();
    let Ending::NotReproduced { reason, needs_boots } = &found.ending else { panic!("{:?}", found.ending) };
    assert_eq!(reason, "the endpoints may differ, but not surely");
    assert!(needs_boots.is_some_and(|boots| boots > 0), "{needs_boots:?}");
}

#[test]
fn an_endpoint_that_cannot_be_built_or_dies_ends_it_at_once() {
    for (world, words) in [
        (World { unbuildable: [31].into(), ..line(32) }, "net/file.c:12: error"),
        (World { dead: [31].into(), ..line(32) }, "panic: it died"),
    ] {
        let (_, found) = world.bisect();
        let Ending::EndpointFailed { commit, reason } = &found.ending else { panic!("{:?}", found.ending) };
        assert_eq!(*commit, world::hash(31));
        assert!(reason.starts_with(words), "{reason}");
        assert_eq!(found.spent.steps, 0);
    }
}

#[test]
fn commits_that_cannot_be_built_or_die_stay_suspects_and_the_answer_is_their_class() {
    let guilty = 20;
    let world = World { unbuildable: [19, 20].into(), dead: [21].into(), ..line(32) };
    let (_, found) = with(world, &[(guilty, 1.4)]).bisect();
    assert_eq!(found.ending, Ending::Found);
    assert_eq!(answer(&found), [19, 20, 21, 22]);
    let answer = &found.answers[0];
    assert!(matches!(answer.confirmation, Confirmation::Confirmed { .. }));
    assert!(matches!(&answer.reverted, Reverted::NotTried { .. }), "{:?}", answer.reverted);
    assert!(found.notes.iter().any(|note| note.contains("change 20 was set aside and stays a suspect")));
}

#[test]
fn a_commit_that_leaves_the_image_as_it_was_is_neither_booted_nor_blamed() {
    // All but three change comments only.
    let comments = (0..32).filter(|at| ![5, 17, 31].contains(at)).collect();
    let (_, found) = with(World { comments, ..line(32) }, &[(17, 1.4)]).bisect();
    assert_eq!(answer(&found), [17]);
    let booted = found.commits.iter().filter(|row| row.state == CommitState::Measured).count();
    assert!(booted <= 4, "three images beside the good one: {booted}");
}

#[test]
fn a_merge_or_a_commit_of_its_side_branch_can_be_guilty() {
    // 0 - 1 - 2 - 3 --------- 8 - 9 - 10
    //      \- 4 - 5 - 6 - 7 -/
    let parents: Vec<Vec<usize>> = vec![
        vec![],
        vec![0],
        vec![1],
        vec![2],
        vec![1],
        vec![4],
        vec![5],
        vec![6],
        vec![3, 7],
        vec![8],
        vec![9],
    ];
    for guilty in [2, 5, 8] {
        for accel in ["tcg", "icount"] {
            let world = World { parents: parents.clone(), accel, ..line(11) };
            let (_, found) = with(world, &[(guilty, 1.4)]).bisect();
            assert_eq!(answer(&found), [guilty], "{accel}");
        }
    }
}

#[test]
fn a_commit_that_does_not_come_out_says_which_files_are_in_the_way() {
    let (_, found) = with(World { conflicts: [9].into(), ..line(16) }, &[(9, 1.5)]).bisect();
    assert_eq!(found.answers[0].reverted, Reverted::Conflicts { files: vec!["net/file.c".to_owned()] });
}

#[test]
fn what_one_commit_does_not_explain_is_searched_for_once_more() {
    let (_, found) = with(World { noise: 0.01, ..line(64) }, &[(15, 1.35), (47, 1.35)]).bisect();
    assert_eq!(found.ending, Ending::Found);
    let numbers: Vec<&str> = found.answers.iter().map(|it| it.commits[0].subject.as_str()).collect();
    assert_eq!(numbers.len(), 2, "{numbers:?}");
    assert!(numbers.contains(&"change 15") && numbers.contains(&"change 47"), "{numbers:?}");
    let explained: f64 = found.answers.iter().filter_map(|it| it.explains).sum();
    assert!((0.85..1.15).contains(&explained), "{explained}");
    for (search, at) in found.later.iter().zip([15, 47]) {
        let sum: f64 = search.probabilities.iter().map(|(_, probability)| probability).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        assert!(search.probabilities.iter().any(|it| it.0 == at && it.1 > 0.9), "{at}: {search:?}");
    }
    assert_eq!(found.later.len(), 2, "one before and one behind what is between both levels");
}

#[test]
fn what_was_found_before_it_was_seen_to_be_half_of_it_is_not_looked_for_again() {
    // Noise in which five boots do not tell the level between from both others, and
    // those of the next search do.
    for seed in 1..=12 {
        let world = with(World { noise: 0.28, seed, ..line(32) }, &[(7, 3.0), (26, 2.3)]);
        let (lines, found) = world.bisect();
        let of = |line: &record::Line| match line {
            record::Line::Asked(asked) if asked.phase == record::Phase::Confirm => Some(asked.leg),
            _ => None,
        };
        let looked: std::collections::BTreeSet<u32> = lines.iter().filter_map(of).collect();
        assert_eq!(looked.len(), found.answers.len(), "seed {seed}: {:?}", found.answers);
    }
}

#[test]
fn what_does_not_vary_and_is_at_neither_level_lies_between_two_changes() {
    let world = World { accel: "icount", noise: 0.0, ..line(32) };
    let (lines, found) = with(world, &[(4, 6.0), (26, 2.0)]).bisect();
    assert_eq!(found.ending, Ending::Found);
    let mut numbers: Vec<&str> = found.answers.iter().map(|it| it.commits[0].subject.as_str()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, ["change 26", "change 4"]);
    let is_boot = |line: &&record::Line| matches!(line, record::Line::Boot(_));
    assert!(lines.iter().filter(is_boot).count() <= 28, "a boot a step");
}

#[test]
fn a_test_that_always_fails_needs_about_a_boot_a_step() {
    let (_, found) = failing(line(64), 0.0, &[(23, 1.0)]).bisect();
    assert_eq!(answer(&found), [23]);
    let Some(Effect::Rate { old_failed, new_failed, new, .. }) = found.endpoints else {
        panic!("{:?}", found.endpoints)
    };
    assert_eq!((old_failed, new_failed), (0, new));
    assert!(found.spent.boots <= 36, "{:?}", found.spent);
}

#[test]
fn a_test_that_fails_in_a_third_of_its_boots_is_found_with_more_of_them() {
    let (_, found) = failing(World { seed: 7, ..line(32) }, 0.0, &[(11, 0.35)]).bisect();
    assert_eq!(answer(&found), [11], "{:?} {:?}", found.ending, found.endpoints);
}

#[test]
fn a_test_that_fails_on_both_ends_alike_is_refused() {
    let (_, found) = failing(line(32), 1.0, &[]).bisect();
    assert!(matches!(found.ending, Ending::NotReproduced { .. }), "{:?}", found.ending);
}

#[test]
fn an_image_that_was_built_twice_and_booted_once_has_one_boot_and_two_commits_know_its_side() {
    // Every other commit changes comments only: a kernel that was built and given up for
    // another must not stand for one that was booted.
    for guilty in (0..24).step_by(2) {
        let comments = (0..24).filter(|at| at % 2 == 1).collect();
        let (_, found) = with(World { comments, accel: "icount", ..line(24) }, &[(guilty, 1.1)]).bisect();
        assert_eq!(answer(&found), [guilty]);
    }
}
