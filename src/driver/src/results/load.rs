//! Reads a run back, whatever became of the process that made it.
//!
//! `events.jsonl` is believed up to its first line that is torn or does not
//! follow; `run.json` only where it knows more. What is missing then is an
//! error, never a pass. Nothing on disk is changed.

use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::ResultsError;
use super::dir::{EVENTS_FILE, RUN_FILE, is_live};
use super::fold::{Fold, FoldError};
use super::format::{Line, Run, State, VERSION};

/// Reads the run in `dir`. Its results are complete: what has no verdict gets
/// an error that says whether the run still goes on or died.
///
/// # Errors
///
/// Fails when there is no record, or one that this version cannot read.
pub fn load(dir: &Path) -> Result<Run, ResultsError> {
    // Asked before the files are read: a run that ends in between was live
    // then, and its files are complete now.
    let state = if is_live(dir)? { State::Running } else { State::Unfinished };
    load_files(dir, state, &OnDisk(dir))
}

/// The files of a record, wherever they come from; none of what is not there.
pub(crate) trait Files {
    /// The file of this name.
    ///
    /// # Errors
    ///
    /// Fails where it is there and cannot be read.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ResultsError>;
}

struct OnDisk<'a>(&'a Path);

impl Files for OnDisk<'_> {
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, ResultsError> {
        let path = self.0.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(ResultsError::Read { path, source }),
        }
    }
}

/// Reads the run of these files, which are those of `dir`. `state` is that of a run
/// which does not say how it ended.
///
/// # Errors
///
/// As [`load`].
pub(crate) fn load_files(dir: &Path, state: State, files: &dyn Files) -> Result<Run, ResultsError> {
    let folded = match files.read(EVENTS_FILE)? {
        Some(bytes) => fold_lines(&dir.join(EVENTS_FILE), &bytes)?,
        None => None,
    };
    let known = folded.as_ref().map_or(0, |folded| folded.fold.run().events);
    let stored = match &folded {
        Some(folded) if folded.fold.run().state != State::Running => None,
        // A record that is damaged is no loss beside events that can be read.
        Some(_) => read_run(dir, files).ok().flatten().filter(|run| run.events > known),
        None => read_run(dir, files)?,
    };
    let mut run = match (stored, folded) {
        (Some(run), _) => run,
        (None, Some(folded)) => {
            let mut run = folded.fold.close(state);
            run.notices.extend(folded.damage.filter(|_| state != State::Running));
            run
        }
        (None, None) => return Err(ResultsError::NoRecord { path: dir.to_owned() }),
    };
    if run.state == State::Running {
        let damaged =
            |error: FoldError| ResultsError::Damaged { path: dir.join(RUN_FILE), reason: error.to_string() };
        run = Fold::resume(run).map_err(damaged)?.close(state);
    }
    run.plan.directory = dir.to_owned();
    Ok(run)
}

/// The part of every line and file that no version changes.
#[derive(Deserialize)]
struct Stamp {
    version: u32,
}

fn check_version(path: &Path, bytes: &[u8]) -> Result<(), ResultsError> {
    match serde_json::from_slice(bytes) {
        Ok(Stamp { version }) if !(1..=VERSION).contains(&version) => {
            Err(ResultsError::Version { path: path.to_owned(), found: version })
        }
        _ => Ok(()),
    }
}

struct Folded {
    fold: Fold,
    /// What is wrong with the rest of the file.
    damage: Option<String>,
}

/// `None` when not even the plan is there.
fn fold_lines(path: &Path, bytes: &[u8]) -> Result<Option<Folded>, ResultsError> {
    let mut fold: Option<Fold> = None;
    let mut damage = None;
    for (number, line) in (1_u64..).zip(bytes.split_inclusive(|byte| *byte == b'\n')) {
        let Some(whole) = line.strip_suffix(b"\n") else {
            damage =
                Some(format!("line {number} of `{EVENTS_FILE}` is torn: the run was killed in mid-word"));
            break;
        };
        check_version(path, whole)?;
        let parsed = serde_json::from_slice::<Line>(whole).map_err(|error| error.to_string());
        let taken = parsed.and_then(|line| match &mut fold {
            Some(fold) => fold.apply(line).map_err(|error| error.to_string()),
            None => Fold::begin(line).map(|begun| fold = Some(begun)).map_err(|error| error.to_string()),
        });
        if let Err(reason) = taken {
            damage = Some(format!(
                "line {number} of `{EVENTS_FILE}` cannot be used, nor what follows it: {reason}"
            ));
            break;
        }
    }
    match (fold, damage) {
        (Some(fold), damage) => Ok(Some(Folded { fold, damage })),
        (None, _) => Ok(None),
    }
}

/// The record in one piece; `None` when it is missing.
fn read_run(dir: &Path, files: &dyn Files) -> Result<Option<Run>, ResultsError> {
    let Some(bytes) = files.read(RUN_FILE)? else { return Ok(None) };
    let path = dir.join(RUN_FILE);
    check_version(&path, &bytes)?;
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| ResultsError::Damaged { path, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::model::Verdict;
    use crate::results::{testing, with_summary};

    const TESTS: [&str; 2] = ["smoke/a", "smoke/b[n=1]"];

    /// `events.jsonl` of a whole run with two boots.
    fn events() -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in testing::lines(&testing::whole_run(&["stable"], &TESTS, 2)) {
            serde_json::to_writer(&mut bytes, &line).expect("serialise");
            bytes.push(b'\n');
        }
        bytes
    }

    /// `run.json` after so many events.
    fn run_file(count: usize) -> Vec<u8> {
        let events = testing::whole_run(&["stable"], &TESTS, 2);
        let fold = testing::fold(&events[..count]);
        serde_json::to_vec(&with_summary(fold.run())).expect("serialise")
    }

    fn load_from(events: Option<&[u8]>, run: Option<&[u8]>) -> Result<Run, ResultsError> {
        let dir = tempfile::tempdir().expect("dir");
        for (name, bytes) in [(EVENTS_FILE, events), (RUN_FILE, run)] {
            if let Some(bytes) = bytes {
                fs::write(dir.path().join(name), bytes).expect("write");
            }
        }
        load(dir.path())
    }

    fn error_from(events: Option<&[u8]>, run: Option<&[u8]>) -> String {
        load_from(events, run).expect_err("unreadable").to_string()
    }

    fn count(run: &Run) -> BTreeMap<&str, usize> {
        let mut count = BTreeMap::new();
        for result in &run.results {
            *count.entry(result.verdict.word()).or_insert(0) += 1;
        }
        count
    }

    #[test]
    fn events_alone_are_enough() {
        let run = load_from(Some(&events()), None).expect("load");
        assert_eq!(run.state, State::Finished);
        assert_eq!(count(&run), BTreeMap::from([("pass", 4)]));
    }

    #[test]
    fn a_run_file_alone_is_enough_and_its_missing_verdicts_are_errors() {
        let run = load_from(None, Some(&run_file(6))).expect("load");
        assert_eq!(run.state, State::Unfinished);
        assert_eq!(count(&run), BTreeMap::from([("error", 3), ("pass", 1)]));
    }

    #[test]
    fn events_that_went_on_after_the_last_run_file_are_read() {
        let run = load_from(Some(&events()), Some(&run_file(3))).expect("load");
        assert_eq!(run.state, State::Finished);
    }

    #[test]
    fn a_run_file_that_knows_more_than_damaged_events_is_read() {
        let mut damaged = events();
        let middle = damaged.len() / 3;
        damaged[middle..].fill(0);
        let whole = testing::whole_run(&["stable"], &TESTS, 2).len();
        let run = load_from(Some(&damaged), Some(&run_file(whole))).expect("load");
        assert_eq!(count(&run), BTreeMap::from([("pass", 4)]));
    }

    #[test]
    fn a_run_file_that_is_garbage_is_no_loss_beside_events() {
        let some = &events()[..events().len() / 2];
        assert_eq!(load_from(Some(some), Some(b"{")).expect("load").state, State::Unfinished);
    }

    #[test]
    fn zeros_at_the_end_as_after_a_power_cut_end_the_record_and_are_told() {
        let mut bytes = events();
        let end = bytes.len() / 2;
        let end = bytes[..end].iter().rposition(|byte| *byte == b'\n').expect("newline") + 1;
        bytes.truncate(end);
        bytes.extend_from_slice(&[0; 4096]);
        bytes.push(b'\n');
        let run = load_from(Some(&bytes), None).expect("load");
        assert_eq!(run.state, State::Unfinished);
        let notice = run.notices.last().expect("notice");
        assert!(notice.contains("of `events.jsonl` cannot be used, nor what follows it"), "{notice}");
    }

    #[test]
    fn a_line_that_is_missing_in_the_middle_ends_the_record() {
        let text = String::from_utf8(events()).expect("text");
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        let without: String = lines[..5].iter().chain(&lines[6..]).copied().collect();
        let run = load_from(Some(without.as_bytes()), None).expect("load");
        insta::assert_snapshot!(
            run.notices.last().expect("notice"),
            @"line 6 of `events.jsonl` cannot be used, nor what follows it: line 6 stands where line 5 is due"
        );
        assert_eq!(count(&run).get("error"), Some(&4));
    }

    #[test]
    fn a_newer_version_is_refused_with_a_hint() {
        let newer = String::from_utf8(events()).expect("text").replace("\"version\":2", "\"version\":3");
        let error = error_from(Some(newer.as_bytes()), None);
        assert!(
            error.contains("has version 3 of the format; this kregress reads up to 2\nhint: "),
            "{error}"
        );
        let error = error_from(None, Some(b"{\"version\":7}"));
        assert!(error.contains("has version 7"), "{error}");
    }

    #[test]
    fn a_record_of_the_first_version_is_read_as_it_was() {
        let of = |version: &str| {
            let text = String::from_utf8(events()).expect("text").replace("\"version\":2", version);
            load_from(Some(text.as_bytes()), None).expect("load")
        };
        assert_eq!(of("\"version\":1").results, of("\"version\":2").results);
    }

    #[test]
    fn a_directory_without_a_record_says_so() {
        for (events, run) in [(None, None), (Some(&b""[..]), None), (Some(&b"{\"versi"[..]), None)] {
            let error = error_from(events, run);
            assert!(error.contains("holds no record of a run: it was killed before it wrote"), "{error}");
        }
    }

    #[test]
    fn a_record_that_is_garbage_everywhere_says_where() {
        let error = error_from(None, Some(b"garbage"));
        assert!(error.contains("run.json` is damaged: expected value at line 1 column 1"), "{error}");
    }

    proptest! {
        #[test]
        fn a_run_killed_at_any_byte_is_read_with_a_verdict_for_everything(at: prop::sample::Index) {
            let whole = events();
            let plan = whole.iter().position(|byte| *byte == b'\n').expect("newline") + 1;
            let cut = plan + at.index(whole.len() - plan);
            let run = load_from(Some(&whole[..cut]), Some(&run_file(1))).expect("load");
            prop_assert_eq!(run.results.len(), 4);
            prop_assert_eq!(run.state, State::Unfinished);
            let told = whole[..cut].windows(16).filter(|bytes| *bytes == b"\"verdict\":\"pass\"").count();
            let passed = run.results.iter().filter(|result| matches!(result.verdict, Verdict::Pass { .. })).count();
            // The last one may be in the torn line.
            prop_assert!(passed == told || passed + 1 == told, "{} of {}", passed, told);
        }

        #[test]
        fn damage_anywhere_is_never_a_panic_and_never_hides_a_planned_verdict(
            at: prop::sample::Index,
            bytes in prop::collection::vec(any::<u8>(), 1..40),
        ) {
            let mut damaged = events();
            let at = at.index(damaged.len());
            let end = (at + bytes.len()).min(damaged.len());
            damaged[at..end].copy_from_slice(&bytes[..end - at]);
            if let Ok(run) = load_from(Some(&damaged), None) {
                let tests: BTreeSet<_> = run.plan.tests.iter().map(|test| &test.id).collect();
                let kernels: BTreeSet<_> = run.plan.kernels.iter().collect();
                let planned = tests.len() * kernels.len() * run.plan.boots_per_kernel as usize;
                prop_assert_eq!(run.results.len(), planned);
            }
        }
    }
}
