use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::series::checked::{Change, Tested, Trouble};

fn tested(standing: Standing) -> Tested {
    let missed = u32::from(standing != Standing::Pass);
    Tested {
        standing,
        kind: String::new(),
        message: "no DELNSID for nsid 3".to_owned(),
        missed,
        attempts: 1,
        elapsed_ms: 100,
    }
}

/// A revision of which nothing is wrong.
fn good(number: Option<u32>) -> Revision {
    let tests = ["nsid/a", "nsid/b"].map(|name| (name.to_owned(), tested(Standing::Pass)));
    Revision {
        number,
        subject: "net: x".to_owned(),
        author: None,
        date: None,
        files: Vec::new(),
        commit: Some("0".repeat(40)),
        apply: Apply::Applies,
        build: Build::Built { seconds: 12.0 },
        warnings: match number {
            None => Warnings::NoneToCompare,
            Some(_) => Warnings::Compared { new: Vec::new(), gone: Vec::new() },
        },
        image: Image::Own,
        troubles: Vec::new(),
        tests: BTreeMap::from(tests),
    }
}

/// A base and so many patches, all good.
fn series(patches: u32) -> Vec<Revision> {
    std::iter::once(good(None)).chain((1..=patches).map(|number| good(Some(number)))).collect()
}

fn unbuilt(revision: &mut Revision) {
    let reason = "compiling failed: drivers/net/dummy.c:41: `dummy_stats` undeclared".to_owned();
    revision.build = Build::Failed { reason, place: None, log: None, seconds: 4.0 };
    revision.image = Image::Missing;
    revision.warnings = Warnings::NoneToCompare;
    revision.tests.clear();
}

fn fails(revision: &mut Revision, test: &str) {
    revision.tests.insert(test.to_owned(), tested(Standing::Fail));
}

fn same_image(revisions: &mut [Revision], at: usize, of: usize) {
    revisions[at].image = Image::SameAs { revision: of };
    revisions[at].tests.clear();
}

fn warning(identity: &str) -> Warning {
    Warning {
        place: Some(Place { file: "net/8021q/vlan.c".to_owned(), line: Some(12) }),
        message: "unused variable 'id' [-Wunused-variable]".to_owned(),
        identity: identity.to_owned(),
    }
}

const UNMEASURED: Performance = Performance::NotAsked;

/// What, since which patches, until which: the rest is words.
fn told(revisions: &[Revision]) -> Vec<(What, String, Since, Option<usize>)> {
    let all = defects(revisions, &UNMEASURED);
    all.into_iter().map(|it| (it.what, it.name, it.since, it.until)).collect()
}

fn by(revisions: &[usize]) -> Since {
    Since::Patches { revisions: revisions.to_vec(), probability: 1.0 }
}

fn ends(revisions: &[Revision], performance: &Performance) -> Outcome {
    outcome(revisions, &defects(revisions, performance), performance, Course::Whole)
}

#[test]
fn a_series_of_which_nothing_is_wrong_is_good() {
    assert_eq!(told(&series(3)), []);
    assert_eq!(ends(&series(3), &UNMEASURED), Outcome::Good);
}

#[test]
fn a_test_that_fails_from_a_patch_on_is_that_patchs() {
    let mut it = series(4);
    (2..=4).for_each(|at| fails(&mut it[at], "nsid/a"));
    assert_eq!(told(&it), [(What::Test, "nsid/a".to_owned(), by(&[2]), None)]);
    assert_eq!(ends(&it, &UNMEASURED), Outcome::Broken);
}

#[test]
fn what_a_later_patch_repairs_is_a_defect_with_an_end() {
    let mut it = series(5);
    (3..=4).for_each(|at| fails(&mut it[at], "nsid/a"));
    assert_eq!(told(&it), [(What::Test, "nsid/a".to_owned(), by(&[3]), Some(5))]);
    assert_eq!(ends(&it, &UNMEASURED), Outcome::Repaired);
}

#[test]
fn what_breaks_twice_is_two_defects() {
    let mut it = series(4);
    fails(&mut it[1], "nsid/a");
    fails(&mut it[3], "nsid/a");
    let one = |at: usize| (What::Test, "nsid/a".to_owned(), by(&[at]), Some(at + 1));
    assert_eq!(told(&it), [one(1), one(3)]);
}

#[test]
fn what_fails_on_the_base_is_no_patchs() {
    let mut it = series(2);
    it.iter_mut().for_each(|revision| fails(revision, "nsid/a"));
    assert_eq!(told(&it), [(What::Test, "nsid/a".to_owned(), Since::Base, None)]);
    assert_eq!(ends(&it, &UNMEASURED), Outcome::Good);
}

#[test]
fn what_cannot_be_built_is_passed_over_and_stays_a_suspect() {
    let mut it = series(4);
    unbuilt(&mut it[2]);
    (3..=4).for_each(|at| fails(&mut it[at], "nsid/a"));
    assert_eq!(
        told(&it),
        [
            (What::Build, String::new(), by(&[2]), Some(3)),
            (What::Test, "nsid/a".to_owned(), by(&[2, 3]), None),
        ]
    );
}

#[test]
fn a_patch_with_the_image_of_the_one_before_has_its_verdicts_and_no_blame() {
    let mut it = series(4);
    unbuilt(&mut it[1]);
    same_image(&mut it, 2, 0);
    (3..=4).for_each(|at| fails(&mut it[at], "nsid/a"));
    same_image(&mut it, 4, 3);
    // Patch 2 is known to be well, by the base's boots.
    assert_eq!(told(&it)[1], (What::Test, "nsid/a".to_owned(), by(&[3]), None));
}

#[test]
fn going_back_to_the_image_of_the_base_repairs_what_was_broken() {
    let mut it = series(3);
    fails(&mut it[1], "nsid/a");
    same_image(&mut it, 2, 0);
    same_image(&mut it, 3, 0);
    assert_eq!(told(&it), [(What::Test, "nsid/a".to_owned(), by(&[1]), Some(2))]);
}

#[test]
fn a_skipped_test_neither_breaks_nor_repairs() {
    let mut it = series(4);
    let skip = |it: &mut Revision| {
        it.tests.insert("nsid/a".to_owned(), tested(Standing::Skip));
    };
    skip(&mut it[0]);
    fails(&mut it[1], "nsid/a");
    skip(&mut it[2]);
    fails(&mut it[3], "nsid/a");
    fails(&mut it[4], "nsid/a");
    // A test that a patch makes possible, and that fails with it, is its own.
    assert_eq!(told(&it), [(What::Test, "nsid/a".to_owned(), by(&[1]), None)]);
}

#[test]
fn what_the_harness_did_not_see_blames_nobody() {
    let mut it = series(2);
    for revision in &mut it {
        revision.tests.insert("nsid/a".to_owned(), tested(Standing::Error));
    }
    assert_eq!(told(&it), []);
    assert_eq!(ends(&it, &UNMEASURED), Outcome::NotKnown);
    fails(&mut it[2], "nsid/a");
    assert!(matches!(told(&it)[0].2, Since::NotKnown { .. }), "the base is not known");
    assert_eq!(ends(&it, &UNMEASURED), Outcome::Broken);
}

#[test]
fn a_kernel_that_does_not_boot_is_a_defect_of_its_own() {
    let mut it = series(2);
    let panic = Trouble {
        blame: Blame::Kernel,
        kind: "panic".to_owned(),
        message: "Kernel panic - not syncing: x".to_owned(),
    };
    it[2].troubles.push(panic);
    it[2].tests.values_mut().for_each(|test| *test = tested(Standing::Error));
    assert_eq!(told(&it), [(What::Boot, String::new(), by(&[2]), None)]);
    assert_eq!(ends(&it, &UNMEASURED), Outcome::Broken);
}

#[test]
fn a_patch_that_does_not_apply_ends_the_series() {
    let mut it = series(3);
    it[2].apply = Apply::Refused { reason: "`net/core/dev.c`: patch does not apply".to_owned() };
    it[3].apply = Apply::NotReached;
    for at in [2, 3] {
        it[at].build = Build::NotTried;
        it[at].image = Image::Missing;
        it[at].tests.clear();
    }
    assert_eq!(told(&it), [(What::Apply, String::new(), by(&[2]), None)]);
    let unmeasured = Performance::NotMeasured { reason: "the last patch has no kernel".to_owned() };
    assert_eq!(ends(&it, &unmeasured), Outcome::Broken);
}

#[test]
fn a_new_warning_is_a_defect_until_the_same_one_is_gone() {
    let mut it = series(4);
    let compared = |new: &[&str], gone: &[&str]| Warnings::Compared {
        new: new.iter().map(|it| warning(it)).collect(),
        gone: gone.iter().map(|it| warning(it)).collect(),
    };
    it[1].warnings = compared(&["a", "b"], &[]);
    it[3].warnings = compared(&[], &["b", "other"]);
    let place = || "net/8021q/vlan.c:12".to_owned();
    assert_eq!(
        told(&it),
        [(What::Warning, place(), by(&[1]), None), (What::Warning, place(), by(&[1]), Some(3))]
    );
}

#[test]
fn a_warning_behind_a_patch_that_does_not_build_may_be_of_either() {
    let mut it = series(3);
    unbuilt(&mut it[2]);
    it[3].warnings = Warnings::Compared { new: vec![warning("a")], gone: Vec::new() };
    assert_eq!(told(&it)[1], (What::Warning, "net/8021q/vlan.c:12".to_owned(), by(&[2, 3]), None));
}

fn measured(verdict: Verdict, changes: &[(&str, Verdict, Found)]) -> Performance {
    Performance::Measured {
        verdict,
        changes: changes
            .iter()
            .map(|(name, verdict, found)| Change {
                test: (*name).to_owned(),
                metric: "drain_time".to_owned(),
                head: 3,
                verdict: *verdict,
                text: "128 ms to 960 ms".to_owned(),
                basis: "6+6 boots".to_owned(),
                found: found.clone(),
            })
            .collect(),
        unchanged: 1,
        unknown: 0,
    }
}

#[test]
fn a_number_that_is_worse_is_the_patchs_that_the_search_names() {
    let answers = vec![Answer { revisions: vec![2], probability: 0.999, claim: "is it".to_owned() }];
    let performance = measured(
        Verdict::Regressed,
        &[
            ("s/t[n=50]", Verdict::Regressed, Found::Patches { answers }),
            ("s/t[n=1]", Verdict::Regressed, Found::With { name: "s/t[n=50]:drain_time".to_owned() }),
            ("s/u", Verdict::Improved, Found::NotSearched),
        ],
    );
    let found = defects(&series(3), &performance);
    let names: Vec<&str> = found.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["s/t[n=50]:drain_time", "s/t[n=1]:drain_time"]);
    assert!(found.iter().all(|it| it.since == Since::Patches { revisions: vec![2], probability: 0.999 }));
    assert_eq!(ends(&series(3), &performance), Outcome::Broken);
}

#[test]
fn a_number_that_is_worse_and_that_nobody_is_blamed_for_is_a_defect_all_the_same() {
    let nobody = Found::Nobody { reason: "it was not seen again".to_owned() };
    let performance = measured(Verdict::Regressed, &[("s/t", Verdict::Regressed, nobody)]);
    assert!(matches!(defects(&series(2), &performance)[0].since, Since::NotKnown { .. }));
    assert_eq!(ends(&series(2), &performance), Outcome::Broken);
}

#[test]
fn what_is_not_known_of_the_numbers_is_no_pass() {
    let of = |verdict| ends(&series(2), &measured(verdict, &[]));
    assert_eq!(of(Verdict::Inconclusive), Outcome::Inconclusive);
    assert_eq!(of(Verdict::NotMeasured), Outcome::NotKnown);
    assert_eq!(of(Verdict::Unchanged), Outcome::Good);
    assert_eq!(of(Verdict::Improved), Outcome::Good);
    let reason = "the base has no kernel".to_owned();
    assert_eq!(ends(&series(2), &Performance::NotMeasured { reason }), Outcome::NotKnown);
    let reason = "every instruction is emulated".to_owned();
    assert_eq!(ends(&series(2), &Performance::Undecided { reason }), Outcome::Inconclusive);
}

#[test]
fn nothing_but_skipped_tests_is_inconclusive() {
    let mut it = series(2);
    for revision in &mut it {
        revision.tests.values_mut().for_each(|test| *test = tested(Standing::Skip));
    }
    assert_eq!(ends(&it, &UNMEASURED), Outcome::Inconclusive);
}

#[test]
fn a_series_that_was_stopped_is_interrupted_whatever_was_seen() {
    let mut it = series(2);
    fails(&mut it[1], "nsid/a");
    let found = defects(&it, &UNMEASURED);
    assert_eq!(outcome(&it, &found, &UNMEASURED, Course::Stopped), Outcome::Interrupted);
}

#[test]
fn of_a_series_that_the_host_could_not_carry_what_was_seen_counts_and_the_rest_is_not_known() {
    let good = series(2);
    let found = defects(&good, &Performance::NotAsked);
    assert_eq!(outcome(&good, &found, &Performance::NotAsked, Course::Failed), Outcome::NotKnown);
    let mut broken = series(2);
    fails(&mut broken[2], "nsid/a");
    let found = defects(&broken, &UNMEASURED);
    assert_eq!(outcome(&broken, &found, &UNMEASURED, Course::Failed), Outcome::Broken);
}

fn any_seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        3 => Just(Seen::Well),
        1 => Just(Seen::NotWrong),
        2 => Just(Seen::Wrong { message: "x".to_owned(), place: None }),
        1 => Just(Seen::Unknown),
    ]
}

proptest! {
    #[test]
    fn every_wrong_state_is_told_once_and_no_well_one_is(row in proptest::collection::vec(any_seen(), 1..12)) {
        let spells = spells(&row, &|_| false);
        for (at, seen) in row.iter().enumerate() {
            let covers = |spell: &&Spell| {
                let first = match &spell.since {
                    Since::Base => 0,
                    Since::Patches { revisions, .. } => *revisions.last().unwrap_or(&0),
                    Since::NotKnown { .. } => row.iter().position(|it| matches!(it, Seen::Wrong { .. })).unwrap_or(0),
                };
                at >= first && spell.until.is_none_or(|until| at < until)
            };
            let told = spells.iter().filter(covers).count();
            match seen {
                Seen::Wrong { .. } => prop_assert_eq!(told, 1, "at {}", at),
                Seen::Well => prop_assert_eq!(told, 0, "at {}", at),
                Seen::NotWrong | Seen::Unknown => prop_assert!(told <= 1),
            }
        }
    }

    #[test]
    fn suspects_begin_behind_the_last_revision_that_was_not_wrong(row in proptest::collection::vec(any_seen(), 1..12)) {
        for spell in spells(&row, &|_| false) {
            let Since::Patches { revisions, .. } = spell.since else { continue };
            let (first, last) = (revisions[0], *revisions.last().unwrap_or(&0));
            prop_assert!(first >= 1, "the base is no suspect");
            prop_assert!(matches!(row[first - 1], Seen::Well | Seen::NotWrong), "the one before is not wrong");
            let is_wrong = matches!(row[last], Seen::Wrong { .. });
            prop_assert!(is_wrong);
            prop_assert!(row[first..last].iter().all(|it| *it == Seen::Unknown));
        }
    }
}
