use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use rustix::fs::{FileType, mknodat};
use tempfile::TempDir;

use super::super::testing::{events, plan};
use super::super::{Asked, Collected, Joined, Refused, collect, join};
use super::*;
use crate::results::testing;

/// A results directory with a run for each of these shards, named by their numbers.
fn shelf(plan: &Plan, numbers: &[u32]) -> TempDir {
    let shelf = tempfile::tempdir().expect("a directory");
    for number in numbers {
        let dir = shelf.path().join(number.to_string());
        fs::create_dir_all(dir.join("boots/1")).expect("a directory");
        fs::write(dir.join("boots/1/console.log"), format!("log of shard {number}\n")).expect("a log");
        fs::write(dir.join(EVENTS_FILE), lines(plan, *number)).expect("events");
        plan.write(&dir.join(COPY_FILE)).expect("a plan");
    }
    shelf
}

fn lines(plan: &Plan, number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in testing::lines(&events(plan, number)) {
        serde_json::to_writer(&mut bytes, &line).expect("serialise");
        bytes.push(b'\n');
    }
    bytes
}

fn two() -> Plan {
    plan(&["fake"], &["t/a", "t/b"], 1, 2)
}

fn found(shelf: &TempDir) -> Vec<Found> {
    search(&[shelf.path().to_owned()]).expect("a directory")
}

fn named(shelf: &TempDir, names: &[&str]) -> Vec<Found> {
    let paths: Vec<PathBuf> = names.iter().map(|name| shelf.path().join(name)).collect();
    search(&paths).expect("directories")
}

fn refused(plan: Option<Plan>, shelf: &TempDir, found: Vec<Found>) -> String {
    let error: Refused = collect(plan, found).expect_err("refused");
    error.to_string().replace(shelf.path().to_str().expect("UTF-8"), "[DIR]")
}

/// What is set aside and why, without the place of the test.
fn notices(shelf: &TempDir, collected: &Collected) -> String {
    collected.notices.join("\n").replace(shelf.path().to_str().expect("UTF-8"), "[DIR]")
}

#[test]
fn shards_are_found_in_a_directory_of_runs_and_by_their_own_names() {
    let plan = two();
    let shelf = shelf(&plan, &[1, 2]);
    let within = collect(None, found(&shelf)).expect("shards");
    assert_eq!(within.runs.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert_eq!((&within.plan, within.notices.len()), (&plan, 0));
    let by_name = collect(None, named(&shelf, &["2", "1"])).expect("shards");
    assert_eq!(by_name.runs, within.runs);
}

#[test]
fn a_copy_of_the_plan_in_one_shard_is_enough() {
    let plan = two();
    let shelf = shelf(&plan, &[1, 2]);
    fs::remove_file(shelf.path().join("1").join(COPY_FILE)).expect("removed");
    assert_eq!(collect(None, named(&shelf, &["1", "2"])).expect("shards").runs.len(), 2);
    fs::remove_file(shelf.path().join("2").join(COPY_FILE)).expect("removed");
    insta::assert_snapshot!(refused(None, &shelf, named(&shelf, &["1", "2"])), @r"
    no directory knows the plan of its shards
      `[DIR]/1` has no `shards.json`
      `[DIR]/2` has no `shards.json`
    hint: name the plan with `--plan FILE`
    ");
    assert_eq!(collect(Some(plan), named(&shelf, &["1", "2"])).expect("shards").runs.len(), 2);
}

#[test]
fn a_shard_that_is_there_twice_is_refused() {
    let plan = two();
    let shelf = shelf(&plan, &[1, 2]);
    fs::create_dir(shelf.path().join("3")).expect("a directory");
    for name in [EVENTS_FILE, COPY_FILE] {
        fs::copy(shelf.path().join("2").join(name), shelf.path().join("3").join(name)).expect("copied");
    }
    insta::assert_snapshot!(refused(None, &shelf, found(&shelf)), @r"
    shard 2 is there twice: `[DIR]/2` and `[DIR]/3`
    hint: name only the one that is to count
    ");
    assert_eq!(collect(None, named(&shelf, &["1", "3"])).expect("shards").runs.len(), 2);
}

#[test]
fn a_run_of_another_plan_is_refused_by_name_and_left_alone_beside_others() {
    let (plan, other) = (two(), super::super::testing::plan(&["fake"], &["t/a", "t/b"], 3, 2));
    let shelf = shelf(&plan, &[1]);
    fs::create_dir(shelf.path().join("2")).expect("a directory");
    fs::write(shelf.path().join("2").join(EVENTS_FILE), lines(&other, 2)).expect("events");
    other.write(&shelf.path().join("2").join(COPY_FILE)).expect("a plan");
    let text = refused(Some(plan.clone()), &shelf, named(&shelf, &["1", "2"]));
    let expected =
        format!("`[DIR]/2` is no shard of the plan `{}`: it is of the plan `{}`", plan.id(), other.id());
    assert!(text.starts_with(&expected), "{text}");
    assert!(refused(None, &shelf, found(&shelf)).starts_with("these are shards of different plans: `"));
    let collected = collect(Some(plan), found(&shelf)).expect("shards");
    assert_eq!((collected.runs.len(), collected.notices.len()), (1, 0));
}

#[test]
fn a_record_that_is_a_link_a_pipe_or_a_directory_is_not_read() {
    let plan = two();
    let complaint = |make: &dyn Fn(&Path)| {
        let shelf = shelf(&plan, &[1, 2]);
        let record = shelf.path().join("2").join(EVENTS_FILE);
        let moved = shelf.path().join("record");
        fs::rename(&record, &moved).expect("moved");
        make(&record);
        let collected = collect(None, found(&shelf)).expect("the other shard");
        assert_eq!(collected.runs.keys().copied().collect::<Vec<_>>(), [1]);
        notices(&shelf, &collected)
    };
    // It would be a perfect record, if it lay where a record lies.
    insta::assert_snapshot!(
        complaint(&|at| symlink("../record", at).expect("a link")),
        @"`[DIR]/2` is set aside: `[DIR]/2/events.jsonl` is damaged: `[DIR]/2/events.jsonl` is a symbolic link, which no run makes there: it is not read"
    );
    insta::assert_snapshot!(
        complaint(&|at| mknodat(CWD, at, FileType::Fifo, Mode::RWXU, 0).expect("a pipe")),
        @"`[DIR]/2` is set aside: `[DIR]/2/events.jsonl` is damaged: `[DIR]/2/events.jsonl` is no regular file, which no run makes there: it is not read"
    );
    insta::assert_snapshot!(
        complaint(&|at| fs::create_dir(at).expect("a directory")),
        @"`[DIR]/2` is set aside: `[DIR]/2/events.jsonl` is damaged: `[DIR]/2/events.jsonl` is no regular file, which no run makes there: it is not read"
    );
    insta::assert_snapshot!(
        complaint(&|at| File::create(at).and_then(|file| file.set_len(1 << 40)).expect("a hole")),
        @"`[DIR]/2` is set aside: `[DIR]/2/events.jsonl` is damaged: `[DIR]/2/events.jsonl` is longer than 268435456 bytes, which is the most that is read of it"
    );
}

#[test]
fn a_directory_that_is_a_link_is_no_run_of_the_results() {
    let plan = two();
    let (shelf, elsewhere) = (shelf(&plan, &[1]), shelf(&plan, &[2]));
    symlink(elsewhere.path().join("2"), shelf.path().join("2")).expect("a link");
    let collected = collect(None, found(&shelf)).expect("a shard");
    assert_eq!(collected.runs.keys().copied().collect::<Vec<_>>(), [1]);
    // Whoever names it means it.
    assert_eq!(named(&shelf, &["2"]).len(), 1);
}

#[test]
fn a_record_with_a_boot_outside_of_it_is_set_aside_and_its_shard_says_why() {
    let plan = two();
    let shelf = shelf(&plan, &[1, 2]);
    let record = shelf.path().join("2").join(EVENTS_FILE);
    let text = fs::read_to_string(&record).expect("a record").replace("\"boots/1\"", "\"../../1\"");
    fs::write(&record, text).expect("a record");
    let collected = collect(None, found(&shelf)).expect("shards");
    insta::assert_snapshot!(
        notices(&shelf, &collected),
        @"`[DIR]/2` is set aside: the record in `[DIR]/2` has boot 1 in `../../1`, which is not its place"
    );
    assert!(collected.absent[&2].ends_with("which is not its place"), "{:?}", collected.absent);
}

/// Copies boot 1 of a shard, and gives what is kept and what is told.
fn copied(shelf: &TempDir, quota: &mut Quota) -> (BTreeMap<String, String>, String) {
    let ours = tempfile::tempdir().expect("a directory");
    let to = BootDir::new(ours.path(), BootId(7));
    let found = named(shelf, &["1"]).remove(0);
    let cuts = found.copy_boot(BootId(1), &to, quota).expect("copied");
    let entries = fs::read_dir(to.path()).expect("a directory").map(|entry| entry.expect("an entry"));
    let kept = entries.map(|entry| {
        let text = fs::read_to_string(entry.path()).expect("a file");
        (entry.file_name().to_string_lossy().into_owned(), text)
    });
    let told: Vec<_> = cuts.iter().map(|cut| format!("{}: {}", cut.path.display(), cut.why)).collect();
    (kept.collect(), told.join("\n").replace(shelf.path().to_str().expect("UTF-8"), "[DIR]"))
}

#[test]
fn of_a_boot_only_its_own_files_come_along_and_no_link_is_followed() {
    let shelf = shelf(&two(), &[1]);
    let boot = shelf.path().join("1/boots/1");
    fs::write(shelf.path().join("secret"), "secret\n").expect("a file");
    fs::write(boot.join("evil.sh"), "rm\n").expect("a file");
    symlink("../../../secret", boot.join("output.log")).expect("a link");
    let (kept, told) = copied(&shelf, &mut Quota::default());
    assert_eq!(kept, BTreeMap::from([("console.log".to_owned(), "log of shard 1\n".to_owned())]));
    insta::assert_snapshot!(
        told,
        @"[DIR]/1/boots/1/output.log: `[DIR]/1/boots/1/output.log` is a symbolic link, which no run makes there: it is not read"
    );
}

#[test]
fn boots_behind_a_link_are_left_where_they_are() {
    let shelf = shelf(&two(), &[1]);
    let boots = shelf.path().join("1/boots");
    fs::rename(&boots, shelf.path().join("boots")).expect("moved");
    symlink("../boots", &boots).expect("a link");
    let (kept, told) = copied(&shelf, &mut Quota::default());
    assert_eq!(kept, BTreeMap::new());
    insta::assert_snapshot!(
        told,
        @"[DIR]/1/boots/1: `[DIR]/1/boots` is no directory, which no run makes there: it is not read"
    );
}

#[test]
fn logs_take_no_more_of_the_disk_than_they_are_granted() {
    let shelf = shelf(&two(), &[1]);
    fs::write(shelf.path().join("1/boots/1/output.log"), "0123456789").expect("a log");
    let mut quota = Quota { file: 6, left: 8 };
    let (kept, told) = copied(&shelf, &mut quota);
    assert_eq!((kept["console.log"].as_str(), kept["output.log"].as_str()), ("log of", "01"));
    assert_eq!(quota.left, 0);
    insta::assert_snapshot!(told, @r"
    [DIR]/1/boots/1/console.log: only its first 6 bytes are kept
    [DIR]/1/boots/1/output.log: only its first 2 bytes are kept
    ");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damage_anywhere_in_a_shard_is_never_a_panic_and_hides_no_planned_verdict(
        name in prop::sample::select(vec![EVENTS_FILE, COPY_FILE, RUN_FILE]),
        at: prop::sample::Index,
        bytes in prop::collection::vec(any::<u8>(), 1..60),
        cut: bool,
    ) {
        let plan = plan(&["fake"], &["t/a", "t/b", "t/c"], 2, 2);
        let shelf = shelf(&plan, &[1, 2]);
        let file = shelf.path().join("2").join(name);
        let mut content = fs::read(&file).unwrap_or_else(|_| b"{\"version\":2}".to_vec());
        let at = at.index(content.len());
        let end = (at + bytes.len()).min(content.len());
        content[at..end].copy_from_slice(&bytes[..end - at]);
        if cut {
            content.truncate(end);
        }
        fs::write(&file, content).expect("written");
        // A record of another plan is refused, and only that.
        let Ok(collected) = collect(Some(plan.clone()), named(&shelf, &["1", "2"])) else { return Ok(()) };
        prop_assert!(collected.runs.contains_key(&1));
        let asked = Asked {
            id: "20261122-060000-abcd".to_owned(),
            directory: PathBuf::from("/results"),
            command: Vec::new(),
            now_unix: 0,
        };
        let Collected { runs, absent, notices, .. } = collected;
        let Joined { events, .. } = join(&plan, &runs, &absent, notices, asked);
        {
            let results = tempfile::tempdir().expect("a directory");
            let dir = results::RunDir::create(results.path()).expect("a run");
            let mut recorder = results::Recorder::new(dir).expect("a record");
            for (elapsed_ms, event) in events {
                recorder.keep(event, elapsed_ms).expect("follows");
            }
            let run = recorder.finish().expect("a run").run;
            let mut first: Vec<_> = run.results.iter().filter(|it| it.attempt == 1)
                .map(|it| (&it.test, it.repeat)).collect();
            first.sort();
            first.dedup();
            prop_assert_eq!(first.len(), 6);
            prop_assert_eq!(run.results.len(), 6);
        }
    }
}
