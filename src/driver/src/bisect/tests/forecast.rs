//! What is said to be still to come, held against what came.

use super::world::{World, line};
use super::{failing, with};
use crate::bisect::bisected::Remaining;
use crate::bisect::record::{Line, Phase, Plan};
use crate::bisect::{Budget, State};

/// Before each request for boots of a whole bisection: what they are for, what was said to
/// be still to come then, and the kernels and boots that came.
fn course(world: &World, plan: Plan) -> Vec<(Phase, Remaining, [usize; 2])> {
    let lines = world.go_on(&mut State::new(plan.clone()), &Budget::default());
    let mut state = State::new(plan);
    let mut course = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        if let Line::Asked(asked) = line {
            let remaining = world.outcome_of(&state, &Budget::default()).remaining.expect("a forecast");
            let kernels = lines[at..].iter().filter(|it| matches!(it, Line::Kernel(_))).count();
            let boots = lines[at..].iter().filter(|it| matches!(it, Line::Boot(_))).count();
            course.push((asked.phase, remaining, [kernels, boots]));
        }
        state.take(line.clone());
    }
    course
}

fn rounded(remaining: Remaining) -> [f64; 2] {
    [remaining.builds, remaining.boots]
}

#[test]
fn with_an_answer_the_forecast_is_what_confirming_and_reverting_takes() {
    let world = with(World { accel: "icount", ..line(32) }, &[(20, 1.1)]);
    let plan = Plan { profile: Some("netns-teardown/profile".to_owned()), ..world.plan() };
    let after: Vec<_> = course(&world, plan).into_iter().filter(|it| it.0 > Phase::Search).collect();
    let phases: Vec<Phase> = after.iter().map(|it| it.0).collect();
    assert_eq!(phases, [Phase::Confirm, Phase::Revert, Phase::Profile]);
    // Two boots of each; the kernel of the revert is built before its boots are asked for.
    let said: Vec<[f64; 2]> = after.iter().map(|it| rounded(it.1)).collect();
    assert_eq!(said, [[1.0, 6.0], [0.0, 4.0], [0.0, 2.0]]);
    let came: Vec<[usize; 2]> = after.iter().map(|it| it.2).collect();
    assert_eq!(came, [[1, 6], [0, 4], [0, 2]]);
}

#[test]
fn a_revert_that_cannot_be_is_not_waited_for() {
    let world = World { accel: "icount", unbuildable: [19, 20].into(), ..line(32) };
    let course = course(&with(world.clone(), &[(20, 1.1)]), world.plan());
    let (_, said, came) = course.iter().find(|it| it.0 == Phase::Confirm).expect("fresh boots");
    assert_eq!((rounded(*said), *came), ([0.0, 2.0], [0, 2]));
}

#[test]
fn until_the_end_there_is_never_nothing_to_come() {
    for world in [
        with(line(64), &[(40, 1.3)]),
        with(World { noise: 0.01, ..line(64) }, &[(15, 1.35), (47, 1.35)]),
        failing(line(32), 0.0, &[(11, 1.0)]),
    ] {
        for (phase, said, [_, boots]) in course(&world, world.plan()) {
            assert!(said.boots >= 1.0 && said.seconds > 0.0, "{phase:?} {said:?}: {boots} came");
        }
    }
}

#[test]
fn before_the_first_boot_the_ends_and_what_follows_an_answer_are_counted() {
    let world = with(line(64), &[(40, 1.3)]);
    let state = State::new(world.plan());
    let said = world.outcome_of(&state, &Budget::default()).remaining.expect("a forecast");
    // Two ends, six steps, a revert; six boots of each of six kernels beside the search.
    assert_eq!(said.builds.ceil(), 9.0);
    assert!(said.boots > 36.0, "{said:?}");
    let (_, found) = world.bisect();
    assert!((0.5..2.0).contains(&(f64::from(found.spent.boots) / said.boots)), "{said:?} {:?}", found.spent);
}
