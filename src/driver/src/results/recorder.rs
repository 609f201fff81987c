//! Keeps a run as it happens.
//!
//! Every event is appended to `events.jsonl` before anything else is done with
//! it: that file is the truth, and a process killed at any moment leaves it
//! whole but for its last line. `run.json` is the same in one piece, for
//! readers who do not want to fold events; it is rewritten (by rename) at the
//! beginning, at the end, and in between as often as [`Pace`] finds cheap.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::convert;
use super::dir::{EVENTS_FILE, RUN_FILE, RunDir};
use super::disk::{self, LineLog};
use super::fold::Fold;
use super::format::{Event, Line, Run, State, VERSION};
use super::summary::Summary;
use super::{FoldError, ResultsError};
use crate::clock;
use crate::model::{Observer, RunEvent};

/// Records a run in its directory.
#[derive(Debug)]
pub struct Recorder {
    dir: RunDir,
    log: LineLog<File>,
    started: Instant,
    fold: Option<Fold>,
    pace: Pace,
}

/// A run that is over, as far as this process is concerned.
#[derive(Debug)]
pub struct Finished {
    /// The whole record, with a verdict for everything that was planned.
    pub run: Run,
    /// Whether all of it is on disk.
    pub saved: Result<(), ResultsError>,
}

impl Recorder {
    /// Opens the record of a new run.
    ///
    /// # Errors
    ///
    /// Fails when the directory cannot be written to.
    pub fn new(dir: RunDir) -> Result<Self, ResultsError> {
        let path = dir.path().join(EVENTS_FILE);
        let file = OpenOptions::new().append(true).create_new(true).open(&path);
        let file = file.map_err(|source| ResultsError::Write { path, source })?;
        let pace = Pace::default();
        Ok(Self { dir, log: LineLog::new(file), started: clock::now(), fold: None, pace })
    }

    /// The directory, for the paths of boots.
    #[must_use]
    pub fn dir(&self) -> &RunDir {
        &self.dir
    }

    /// The record so far; none before the first event.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        self.fold.as_ref().map(Fold::run)
    }

    /// Takes one event; see [`Observer::observe`].
    ///
    /// # Errors
    ///
    /// Fails when the event does not follow from those before it, or cannot be
    /// written. In the second case it is part of the record all the same, and
    /// every later call tries again to write it.
    pub fn record(&mut self, event: &RunEvent) -> Result<(), ResultsError> {
        let elapsed_ms = convert::milliseconds(self.since_start());
        self.keep(convert::event(event), elapsed_ms)
    }

    /// Takes one event of which it is known when it happened: so many milliseconds after
    /// the start of the run.
    ///
    /// # Errors
    ///
    /// As [`Recorder::record`].
    pub(crate) fn keep(&mut self, event: Event, elapsed_ms: u64) -> Result<(), ResultsError> {
        if convert::is_transient(&event) {
            return Ok(());
        }
        let matters = Weight::of(&event);
        let seq = self.fold.as_ref().map_or(0, |fold| fold.run().events);
        let line = Line { version: VERSION, seq, elapsed_ms, event };
        let mut bytes =
            serde_json::to_vec(&line).map_err(|error| self.write_error(EVENTS_FILE, error.into()))?;
        bytes.push(b'\n');
        match &mut self.fold {
            Some(fold) => fold.apply(line)?,
            None => self.fold = Some(Fold::begin(line)?),
        }
        self.log.append(&bytes).map_err(|source| self.write_error(EVENTS_FILE, source))?;
        if self.pace.is_due(matters, self.since_start()) { self.checkpoint() } else { Ok(()) }
    }

    /// Ends the record: verdicts that never came become errors, everything is
    /// written, the lock is given back.
    ///
    /// # Errors
    ///
    /// Fails when no run ever began. Trouble with the disk is in
    /// [`Finished::saved`], for the record can still be shown.
    pub fn finish(mut self) -> Result<Finished, ResultsError> {
        let Some(fold) = self.fold.take() else { return Err(FoldError::NotStarted.into()) };
        let run = fold.close(State::Unfinished);
        let saved = self
            .log
            .sync()
            .map_err(|source| self.write_error(EVENTS_FILE, source))
            .and_then(|()| write_run(&self.path(RUN_FILE), &run));
        self.dir.unlock();
        Ok(Finished { run, saved })
    }

    fn checkpoint(&mut self) -> Result<(), ResultsError> {
        let Some(fold) = &self.fold else { return Ok(()) };
        let begun = self.since_start();
        self.log.sync().map_err(|source| self.write_error(EVENTS_FILE, source))?;
        write_run(&self.path(RUN_FILE), fold.run())?;
        let now = self.since_start();
        self.pace.written(now, now.saturating_sub(begun));
        Ok(())
    }

    fn since_start(&self) -> Duration {
        clock::now().saturating_duration_since(self.started)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write_error(&self, name: &str, source: std::io::Error) -> ResultsError {
        ResultsError::Write { path: self.path(name), source }
    }
}

impl Observer for Recorder {
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        Ok(self.record(event)?)
    }
}

/// `run.json`: the record, and what it adds up to for readers without a fold.
fn write_run(path: &std::path::Path, run: &Run) -> Result<(), ResultsError> {
    disk::replace(path, |file| {
        serde_json::to_writer(&mut *file, &with_summary(run))?;
        file.write_all(b"\n")
    })
}

/// A record with what it adds up to, as `run.json` has it.
#[derive(Debug, serde::Serialize)]
pub(crate) struct RunFile<'a> {
    #[serde(flatten)]
    run: &'a Run,
    summary: Summary,
}

/// The content of `run.json`, to be serialised.
pub(crate) fn with_summary(run: &Run) -> RunFile<'_> {
    RunFile { run, summary: Summary::of(run) }
}

/// What an event means for the age of `run.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// It can wait.
    Light,
    /// Readers want to see it soon.
    Heavy,
    /// Must be there at once.
    Decisive,
}

impl Weight {
    fn of(event: &Event) -> Self {
        match event {
            Event::RunStarted(_) | Event::Compared { .. } | Event::RunFinished { .. } => Self::Decisive,
            Event::KernelReady(_)
            | Event::KernelFailed { .. }
            | Event::BootStarted(_)
            | Event::TestFinished(_)
            | Event::BootFinished { .. } => Self::Heavy,
            Event::KernelStep { .. }
            | Event::KernelObjects { .. }
            | Event::Notice { .. }
            | Event::TurnsAsked { .. }
            | Event::BootReady { .. }
            | Event::TestStarted { .. }
            | Event::TestProgress { .. }
            | Event::BootFinding { .. }
            | Event::BootEvidence { .. } => Self::Light,
        }
    }
}

/// When `run.json` is rewritten. The file grows with the run, so a rewrite per
/// test would cost time with the square of their number; this bounds the cost
/// to one part in [`Pace::SHARE`] of the run, whatever the disk.
#[derive(Debug, Default)]
struct Pace {
    not_before: Duration,
}

impl Pace {
    /// At most this often, so that a quick run does not wear out the disk.
    const INTERVAL: Duration = Duration::from_secs(1);
    const SHARE: u32 = 20;

    fn is_due(&self, weight: Weight, now: Duration) -> bool {
        match weight {
            Weight::Light => false,
            Weight::Heavy => now >= self.not_before,
            Weight::Decisive => true,
        }
    }

    fn written(&mut self, now: Duration, cost: Duration) {
        self.not_before = now + Self::INTERVAL.max(cost * Self::SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Verdict;
    use crate::results::{load, testing};

    fn recorder(results: &std::path::Path) -> Recorder {
        Recorder::new(RunDir::create(results).expect("create")).expect("open")
    }

    fn record(recorder: &mut Recorder, events: &[RunEvent]) {
        for event in events {
            recorder.record(event).expect("record");
        }
    }

    #[test]
    fn a_recorded_run_is_read_back_as_it_was() {
        let results = tempfile::tempdir().expect("results");
        let mut recorder = recorder(results.path());
        record(&mut recorder, &testing::whole_run(&["stable"], &["smoke/a", "smoke/b[n=1]"], 2));
        let path = recorder.dir().path().to_owned();
        let finished = recorder.finish().expect("finish");
        finished.saved.expect("saved");
        let mut expected = finished.run;
        expected.plan.directory = path.clone();
        assert_eq!(load(&path).expect("load"), expected);
        let json = std::fs::read(path.join(RUN_FILE)).expect("run.json");
        let mut stored: Run = serde_json::from_slice(&json).expect("parse");
        stored.plan.directory = path;
        assert_eq!(stored, expected);
    }

    #[test]
    fn a_run_is_live_while_it_is_recorded_and_its_missing_verdicts_say_so() {
        let results = tempfile::tempdir().expect("results");
        let mut recorder = recorder(results.path());
        record(&mut recorder, &testing::started(&["stable"], &["smoke/a"], 1));
        let run = load(recorder.dir().path()).expect("load");
        assert_eq!(run.state, State::Running);
        let Verdict::Error(trouble) = &run.results[0].verdict else { panic!("{:?}", run.results) };
        assert_eq!(trouble.message, "the run still goes on; no boot has come to this test");
    }

    #[test]
    fn a_recorder_that_is_dropped_in_mid_run_leaves_a_dead_run_with_errors() {
        let results = tempfile::tempdir().expect("results");
        let mut recorder = recorder(results.path());
        let events = testing::whole_run(&["stable"], &["smoke/a"], 1);
        record(&mut recorder, &events[..4]);
        let path = recorder.dir().path().to_owned();
        drop(recorder);
        let run = load(&path).expect("load");
        assert_eq!(run.state, State::Unfinished);
        assert_eq!(run.results[0].verdict.word(), "error");
    }

    #[test]
    fn an_engine_that_stops_without_an_end_is_recorded_as_unfinished() {
        let results = tempfile::tempdir().expect("results");
        let mut recorder = recorder(results.path());
        record(&mut recorder, &testing::started(&["stable"], &["smoke/a"], 2));
        let finished = recorder.finish().expect("finish");
        assert_eq!(finished.run.state, State::Unfinished);
        assert_eq!(finished.run.results.len(), 2);
    }

    #[test]
    fn progress_is_not_kept() {
        let results = tempfile::tempdir().expect("results");
        let mut recorder = recorder(results.path());
        record(&mut recorder, &testing::started(&["stable"], &["smoke/a"], 1));
        record(&mut recorder, &[testing::boot(1, "stable")]);
        let before = recorder.run().expect("run").events;
        let progress = RunEvent::TestProgress {
            boot: crate::model::BootId(1),
            test: testing::test_id("smoke/a"),
            done: 1,
            total: 2,
        };
        record(&mut recorder, &[progress]);
        assert_eq!(recorder.run().expect("run").events, before);
    }

    #[test]
    fn an_event_that_does_not_follow_is_refused_and_not_written() {
        let results = tempfile::tempdir().expect("results");
        let mut recorder = recorder(results.path());
        record(&mut recorder, &testing::started(&["stable"], &["smoke/a"], 1));
        let error = recorder.record(&testing::boot(1, "other")).expect_err("unknown kernel");
        assert_eq!(
            error.to_string(),
            "the record of the run refuses an event: kernel `other` is not part of the run"
        );
        let events = std::fs::read_to_string(recorder.dir().path().join(EVENTS_FILE)).expect("events");
        assert_eq!(events.lines().count(), 1);
    }

    #[test]
    fn a_disk_that_takes_no_more_run_files_is_an_error_but_the_events_are_there() {
        let results = tempfile::tempdir().expect("results");
        let mut recorder = recorder(results.path());
        let path = recorder.dir().path().to_owned();
        record(&mut recorder, &testing::started(&["stable"], &["smoke/a"], 1));
        // No file can be created where a directory lies.
        std::fs::create_dir(path.join(".run.json.tmp")).expect("mkdir");
        let error = recorder.record(&testing::finished()).expect_err("cannot write");
        assert!(error.to_string().starts_with("cannot write `"), "{error}");
        let finished = recorder.finish().expect("finish");
        finished.saved.expect_err("still cannot write");
        assert_eq!(load(&path).expect("load").state, State::Finished);
    }

    #[test]
    fn rewrites_take_a_bounded_share_of_the_run() {
        let mut pace = Pace::default();
        let (mut now, mut spent) = (Duration::ZERO, Duration::ZERO);
        for test in 0..5000_u32 {
            now += Duration::from_millis(50);
            if pace.is_due(Weight::Heavy, now) {
                // The file grows with the number of tests.
                let cost = Duration::from_micros(40) * test;
                now += cost;
                spent += cost;
                pace.written(now, cost);
            }
        }
        assert!(spent * (Pace::SHARE - 1) < now, "{spent:?} of {now:?}");
    }

    #[test]
    fn the_first_and_the_last_event_are_in_the_file_at_once() {
        let mut pace = Pace::default();
        pace.written(Duration::ZERO, Duration::from_secs(60));
        assert!(pace.is_due(Weight::Decisive, Duration::ZERO));
        assert!(!pace.is_due(Weight::Heavy, Duration::from_secs(1199)));
        assert!(pace.is_due(Weight::Heavy, Duration::from_secs(1200)));
        assert!(!pace.is_due(Weight::Light, Duration::from_secs(9999)));
    }
}
