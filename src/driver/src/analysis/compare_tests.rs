use kregress_wire::{Breakdown, BreakdownRow, Phase};

use super::*;
use crate::model::{
    BootEnd, BootId, BootInfo, Failure, FailureKind, KernelInfo, RunEvent, TestResult as Result_, Turn,
};
use crate::results::format::State;
use crate::results::{testing, to_event};

const TEST: &str = "smoke/a";

/// Medians of one per cent of noise.
const NOISE: [f64; 8] = [1.0, 1.012, 0.991, 1.004, 0.988, 1.008, 0.996, 1.001];

/// A comparison under way: turn after turn of both kernels.
struct Story {
    events: Vec<RunEvent>,
    boots: u32,
}

impl Story {
    fn new(tests: &[&str]) -> Self {
        Self::with(tests, |_| ())
    }

    fn with(tests: &[&str], change: impl FnOnce(&mut crate::model::RunInfo)) -> Self {
        let mut info = testing::info(&["old", "new"], tests, 0);
        let mut plan = testing::comparison("old", "new");
        plan.noise.clear();
        info.comparison = Some(plan);
        change(&mut info);
        let mut events = vec![RunEvent::RunStarted(info)];
        events.extend(["old", "new"].map(testing::kernel_ready));
        Self { events, boots: 0 }
    }

    fn ask(&mut self, tests: &[&str], until: u32) -> &mut Self {
        let tests = tests.iter().map(|test| testing::test_id(test)).collect();
        self.events.push(RunEvent::TurnsAsked { tests, until, why: String::new() });
        self
    }

    /// One boot of a kernel with these results.
    fn boot(&mut self, kernel: &str, repeat: u32, results: Vec<Result_>) -> &mut Self {
        self.boots += 1;
        let id = self.boots;
        let turn = Turn::first(repeat);
        self.events.push(RunEvent::BootStarted(BootInfo { turn, ..testing::boot_info(id, kernel) }));
        self.events.push(testing::ready(id));
        for result in results {
            let (boot, kernel) = (Some(BootId(id)), testing::kernel(kernel));
            self.events.push(RunEvent::TestFinished(Result_ { boot, kernel, turn, ..result }));
        }
        self.events.push(testing::ended(id, BootEnd::Clean));
        self
    }

    /// Turns of one test on both sides, with these medians of its drain time.
    fn turns(&mut self, turns: std::ops::RangeInclusive<u32>, old: f64, new: f64) -> &mut Self {
        self.ask(&[TEST], *turns.end());
        for turn in turns {
            let noise = |shift: u32| NOISE[((turn + shift) * 3 % 8) as usize];
            self.boot("old", turn, vec![timed(old * noise(0))]);
            self.boot("new", turn, vec![timed(new * noise(5))]);
        }
        self
    }

    fn run(&self) -> Run {
        testing::fold(&self.events).run().clone()
    }

    fn comparison(&self) -> Comparison {
        of_run(&self.run()).expect("a comparison")
    }

    fn next(&self) -> Option<Request> {
        next(&self.run())
    }
}

fn timed(median: f64) -> Result_ {
    let mut result = testing::pass(TEST, "old", 1);
    result.samples.insert("drain_time".to_owned(), vec![median * 0.99, median, median * 1.02]);
    result.samples.insert("rounds".to_owned(), vec![4.0; 5]);
    result
}

fn failed(test: &str) -> Result_ {
    let failure = Failure { kind: FailureKind::Assertion, message: "it broke\nbadly".to_owned() };
    testing::result(test, "old", None, Verdict::Fail(failure))
}

fn change<'a>(comparison: &'a Comparison, metric: &str) -> &'a Change {
    &comparison.metrics.iter().find(|it| it.metric.name == metric).expect(metric).change
}

#[test]
fn it_begins_with_two_boots_a_side_of_every_test() {
    let story = Story::new(&[TEST, "smoke/b"]);
    let request = story.next().expect("a request");
    assert_eq!(request.tests, [TEST, "smoke/b"]);
    assert_eq!((request.from, request.until, request.why.as_str()), (1, 2, "2 boots a side to begin with"));
    assert_eq!(story.comparison().overall(), Overall::Failed);
}

#[test]
fn a_metric_that_is_the_same_is_unchanged_at_the_first_look_and_nothing_more_is_asked() {
    let mut story = Story::new(&[TEST]);
    story.turns(1..=2, 140e6, 140e6);
    let request = story.next().expect("more boots");
    assert_eq!((request.from, request.until), (3, 6));
    assert_eq!(request.why, "2 boots a side: 1 metric undecided");
    story.turns(3..=6, 140e6, 140e6);
    assert_eq!(story.next(), None);
    let comparison = story.comparison();
    assert_eq!(change(&comparison, "drain_time"), &Change::Unchanged);
    assert_eq!(change(&comparison, "rounds"), &Change::Unchanged);
    assert_eq!(comparison.overall(), Overall::Unchanged);
    assert_eq!((comparison.base.boots, comparison.head.boots), (6, 6));
    assert_eq!(comparison.base.release.as_deref(), Some("6.12.117"));
    assert_eq!(comparison.rules.looks, [6, 12, 24]);
}

#[test]
fn a_regression_and_an_improvement_are_told_apart_by_the_direction_of_the_metric() {
    for (new, expected) in [(160e6, Overall::Regressed), (120e6, Overall::Improved)] {
        let mut story = Story::new(&[TEST]);
        story.turns(1..=6, 140e6, new);
        assert_eq!(story.next(), None);
        assert_eq!(story.comparison().overall(), expected);
    }
}

#[test]
fn a_test_that_is_decided_stays_at_home_while_others_go_on() {
    let mut story = Story::new(&[TEST, "smoke/b"]);
    story.ask(&[TEST, "smoke/b"], 6);
    for turn in 1..=6 {
        let restless = 1.0 + f64::from(turn % 3) * 0.2;
        let other = |median: f64| Result_ { test: testing::test_id("smoke/b"), ..timed(median) };
        let noise = NOISE[turn as usize];
        story.boot("old", turn, vec![timed(140e6 * noise), other(140e6 * restless)]);
        story.boot("new", turn, vec![timed(140e6 * noise), other(150e6 * (2.0 - restless))]);
    }
    let request = story.next().expect("more boots");
    assert_eq!(request.tests, ["smoke/b"]);
    assert_eq!((request.from, request.until), (7, 12));
    assert_eq!(request.why, "look 1 of 3: 6 boots a side: 1 metric undecided");
}

#[test]
fn after_the_last_look_nothing_is_asked_and_the_metric_says_how_many_boots_are_missing() {
    let mut story = Story::with(&[TEST], |info| {
        if let Some(plan) = &mut info.comparison {
            plan.looks = vec![3];
        }
    });
    story.ask(&[TEST], 3);
    for turn in 1..=3 {
        story.boot("old", turn, vec![timed(140e6 * f64::from(turn))]);
        story.boot("new", turn, vec![timed(150e6 * f64::from(4 - turn))]);
    }
    assert_eq!(story.next(), None);
    let comparison = story.comparison();
    assert!(matches!(change(&comparison, "drain_time"), Change::Inconclusive(Undecided::NeedsBoots(_))));
    assert_eq!(comparison.overall(), Overall::Inconclusive);
}

#[test]
fn failures_are_repeated_on_both_sides_up_to_six_times() {
    let plain = |info: &mut crate::model::RunInfo| info.tests[0].metrics.clear();
    let mut story = Story::with(&[TEST], plain);
    story.ask(&[TEST], 2);
    for turn in 1..=2 {
        story.boot("old", turn, vec![testing::pass(TEST, "old", 1)]);
        story.boot("new", turn, vec![failed(TEST)]);
    }
    let request = story.next().expect("repeats");
    assert_eq!((request.from, request.until), (3, 6));
    assert_eq!(request.why, "2 boots a side: 1 test not certain to fail or pass");
    assert_eq!(story.comparison().overall(), Overall::Inconclusive);
    story.ask(&[TEST], 6);
    for turn in 3..=6 {
        story.boot("old", turn, vec![testing::pass(TEST, "old", 1)]);
        story.boot("new", turn, vec![failed(TEST)]);
    }
    assert_eq!(story.next(), None);
    let comparison = story.comparison();
    assert_eq!(comparison.overall(), Overall::Regressed);
    assert_eq!(comparison.tests[0].class, TestClass::NewFailure);
    assert_eq!(comparison.tests[0].message.as_deref(), Some("it broke"));
}

/// Two boots of old that pass and two of new that fail, with a time in each.
fn new_fails_with(kind: FailureKind) -> Comparison {
    let mut story = Story::new(&[TEST]);
    story.ask(&[TEST], 2);
    for turn in 1..=2 {
        story.boot("old", turn, vec![timed(140e6)]);
        let verdict = Verdict::Fail(Failure { kind, message: "it broke".to_owned() });
        let samples = timed(900e6).samples;
        story.boot("new", turn, vec![Result_ { samples, verdict, ..failed(TEST) }]);
    }
    story.comparison()
}

#[test]
fn samples_of_boots_with_a_complaint_of_the_kernel_do_not_count() {
    let comparison = new_fails_with(FailureKind::Finding);
    let why = change(&comparison, "drain_time");
    assert!(matches!(why, Change::Inconclusive(Undecided::NoValue { .. })), "{why:?}");
    assert_eq!(comparison.metrics[0].head, []);
}

#[test]
fn samples_of_a_test_that_found_an_assertion_broken_count() {
    let comparison = new_fails_with(FailureKind::Assertion);
    let values: Vec<f64> = comparison.metrics[0].head.iter().map(|boot| boot.median).collect();
    assert_eq!(values, [900e6, 900e6]);
}

#[test]
fn under_icount_one_boot_a_side_is_all_there_is() {
    assert_eq!(looks(Accel::Icount, None), [1]);
    assert_eq!(looks(Accel::Icount, Some(24)), [1]);
    let mut story = Story::with(&[TEST], |info| {
        if let Some(plan) = &mut info.comparison {
            plan.looks = vec![1];
        }
    });
    assert_eq!(story.next().expect("a request").until, 1);
    story.ask(&[TEST], 1);
    story.boot("old", 1, vec![timed(140e6)]);
    story.boot("new", 1, vec![failed(TEST)]);
    for event in &mut story.events {
        if let RunEvent::BootStarted(info) = event {
            info.accel = Accel::Icount;
        }
    }
    assert_eq!(story.next(), None);
    let comparison = story.comparison();
    // It would fail every time.
    assert_eq!(comparison.tests[0].class, TestClass::NewFailure);
    assert_eq!(comparison.overall(), Overall::Regressed);
}

#[test]
fn boots_may_be_capped_below_between_and_above_the_looks() {
    let of = |most| looks(Accel::Tcg, most);
    assert_eq!(of(None), [6, 12, 24]);
    assert_eq!(of(Some(1)), [1]);
    assert_eq!(of(Some(6)), [6]);
    assert_eq!(of(Some(8)), [6, 8]);
    assert_eq!(of(Some(23)), [6, 12, 23]);
    assert_eq!(of(Some(100)), [6, 12, 24]);
}

fn profiled(extra_ns: u64) -> Result_ {
    let mut result = testing::pass("smoke/profile", "old", 1);
    let rows = vec![BreakdownRow {
        phase: Phase::Exit,
        function: "xfrm_net_exit".to_owned(),
        calls: 50,
        total_ns: 1000 + extra_ns,
        rcu_ns: extra_ns,
        rtnl_ns: 0,
    }];
    result.breakdown = Some(Breakdown { rounds: 1, namespaces: 50, total_ns: 2000 + extra_ns, rows });
    result
}

#[test]
fn a_teardown_that_did_not_change_has_nothing_to_explain() {
    let mut story = Story::with(&[TEST, "smoke/profile"], |info| {
        info.tests[1].workload = PROFILE.to_owned();
        if let Some(plan) = &mut info.comparison {
            plan.profile = Some("smoke/profile".to_owned());
        }
    });
    let profiles = |story: &mut Story| {
        story.ask(&["smoke/profile"], 1);
        story.boot("old", 1, vec![profiled(0)]);
        story.boot("new", 1, vec![profiled(9_000_000)]);
    };
    profiles(&mut story);
    assert_eq!(story.comparison().breakdowns.len(), 1, "it is all that was asked for");
    assert_eq!(story.next().expect("a request").tests, [TEST]);
    story.turns(1..=6, 140e6, 140e6);
    assert_eq!(story.comparison().breakdowns, []);
}

#[test]
fn a_teardown_that_changed_is_profiled_three_times_on_each_side() {
    let mut story = Story::with(&[TEST, "smoke/profile"], |info| {
        info.tests[1].workload = PROFILE.to_owned();
        if let Some(plan) = &mut info.comparison {
            plan.profile = Some("smoke/profile".to_owned());
        }
    });
    assert_eq!(story.next().expect("a request").tests, [TEST]);
    story.turns(1..=6, 140e6, 190e6);
    let missing = "Where the time of teardown went was not measured on both sides.";
    assert!(story.comparison().not_measured.iter().any(|it| it == missing));
    let request = story.next().expect("the profile");
    assert_eq!(
        (request.tests.as_slice(), request.from, request.until),
        (&["smoke/profile".to_owned()][..], 1, 3)
    );
    story.ask(&["smoke/profile"], 3);
    for turn in 1..=3 {
        story.boot("old", turn, vec![profiled(0)]);
        story.boot("new", turn, vec![profiled(9_000_000)]);
    }
    assert_eq!(story.next(), None);
    let comparison = story.comparison();
    assert_eq!(comparison.breakdowns[0].functions[0].function, "xfrm_net_exit");
    assert!(!comparison.not_measured.iter().any(|it| it == missing));
    // The tracer's times are no numbers to judge.
    assert!(comparison.metrics.iter().all(|metric| metric.test == TEST));
}

#[test]
fn a_teardown_that_did_not_change_is_not_profiled() {
    let mut story = Story::with(&[TEST, "smoke/profile"], |info| {
        info.tests[1].workload = PROFILE.to_owned();
        if let Some(plan) = &mut info.comparison {
            plan.profile = Some("smoke/profile".to_owned());
        }
    });
    story.turns(1..=6, 140e6, 140e6);
    assert_eq!(story.next(), None);
    let comparison = story.comparison();
    assert_eq!(comparison.tests.len(), 1, "what was never asked for is no part of it");
    assert_eq!(comparison.overall(), Overall::Unchanged);
}

#[test]
fn detectors_on_a_side_take_the_weight_of_all_numbers() {
    let mut story = Story::new(&[TEST]);
    story.turns(1..=6, 140e6, 190e6);
    for event in &mut story.events {
        if let RunEvent::Build(crate::model::BuildEvent::Ready(info)) = event {
            *info = KernelInfo { detectors: vec![crate::model::Detector::Kasan], ..info.clone() };
        }
    }
    let comparison = story.comparison();
    assert!(comparison.metrics.iter().all(|metric| metric.weight == Weight::Informs));
    assert_eq!(comparison.overall(), Overall::Unchanged);
    assert!(comparison.not_measured[0].starts_with("No number can decide: base has"), "{comparison:?}");
}

#[test]
fn what_was_killed_in_mid_look_is_judged_by_what_is_there() {
    let mut story = Story::new(&[TEST]);
    story.turns(1..=6, 140e6, 190e6);
    story.ask(&[TEST], 12);
    let run = testing::fold(&story.events).close(State::Unfinished);
    assert_eq!(run.results.len(), 24, "each turn that was asked for has a verdict");
    let comparison = of_run(&run).expect("a comparison");
    assert_eq!(comparison.overall(), Overall::Regressed);
}

fn plain_run(kernel: &str, median: f64, change: impl FnOnce(&mut crate::model::RunInfo)) -> Run {
    let mut info = testing::info(&[kernel], &[TEST], 6);
    change(&mut info);
    let mut story =
        Story { events: vec![RunEvent::RunStarted(info), testing::kernel_ready(kernel)], boots: 0 };
    for turn in 1..=6 {
        story.boot(kernel, turn, vec![timed(median * NOISE[turn as usize])]);
    }
    story.run()
}

fn offline(base: &Run, head: &Run) -> Comparison {
    let (base, head) = (Measured { run: base, kernel: "old" }, Measured { run: head, kernel: "new" });
    of_runs(base, head, &Terms::default()).expect("comparable")
}

#[test]
fn stored_runs_are_judged_by_the_look_that_they_reach() {
    let base = plain_run("old", 140e6, |_| ());
    let slow = offline(&base, &plain_run("new", 190e6, |_| ()));
    assert_eq!((slow.overall(), slow.rules.looks.as_slice()), (Overall::Regressed, &[6][..]));
    let same = offline(&base, &plain_run("new", 140e6, |_| ()));
    assert_eq!(same.overall(), Overall::Unchanged);
}

#[test]
fn a_test_that_means_something_else_on_the_other_side_is_not_compared() {
    let base = plain_run("old", 140e6, |_| ());
    let head = plain_run("new", 190e6, |info| {
        info.tests[0].params.insert("namespaces".to_owned(), kregress_wire::Value::Int(9));
    });
    let comparison = offline(&base, &head);
    assert_eq!((comparison.metrics.len(), comparison.tests.len()), (0, 0));
    let told = "`smoke/a` is another test on head: its workload or parameters differ.";
    assert!(comparison.not_measured.iter().any(|it| it == told), "{:?}", comparison.not_measured);
    assert_eq!(comparison.overall(), Overall::Inconclusive);
}

#[test]
fn noise_that_was_measured_before_raises_the_floor() {
    let base = plain_run("old", 140e6, |_| ());
    let head = plain_run("new", 160e6, |_| ());
    let noise = Noise { test: TEST.to_owned(), metric: "drain_time".to_owned(), relative_sd: 0.2, boots: 24 };
    let terms = Terms { noise: vec![noise], ..Terms::default() };
    let sides = (Measured { run: &base, kernel: "old" }, Measured { run: &head, kernel: "new" });
    let comparison = of_runs(sides.0, sides.1, &terms).expect("comparable");
    assert_eq!(change(&comparison, "drain_time"), &Change::Unchanged);
    assert!(comparison.metrics[0].floor > 0.35, "{}", comparison.metrics[0].floor);
}

#[test]
fn a_comparison_of_the_same_record_is_the_same() {
    let mut story = Story::new(&[TEST]);
    story.turns(1..=6, 140e6, 150e6);
    let json = serde_json::to_string(&story.run()).expect("a record");
    let read: Run = serde_json::from_str(&json).expect("read back");
    assert_eq!(of_run(&read), Some(story.comparison()));
    assert!(matches!(to_event(&story.events[0]), crate::results::format::Event::RunStarted(_)));
}
