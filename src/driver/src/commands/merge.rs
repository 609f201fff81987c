//! `kregress merge`: run directories of shards into one run directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::report::{Form, show_run};
use super::{Context, MessageFormat, unless_reader_left, usage};
use crate::lab::{self, Took};
use crate::model::{BootId, Verdict};
use crate::report::json::JsonEvents;
use crate::results::format::{Event, Run};
use crate::results::{self, Recorder, RunDir};
use crate::shards::{self, Asked, Collected, Cut, Joined, Plan, Quota};
use crate::{clock, paths};

/// Runs the command: gives the exit code that the run would have had in one piece, with
/// an error for everything that no shard left.
///
/// # Errors
///
/// Fails where it is not clear what is to be merged, and where the results cannot be
/// written.
pub fn run(
    context: &Context,
    directories: &[PathBuf],
    plan: Option<&Path>,
    form: Form<'_>,
) -> anyhow::Result<u8> {
    let plan = plan.map(Plan::read).transpose().map_err(usage)?;
    let default = [context.results.clone()];
    let directories = if directories.is_empty() { &default } else { directories };
    let found = shards::search(directories).map_err(usage)?;
    let Collected { plan, runs, places, absent, notices } = shards::collect(plan, found).map_err(usage)?;

    let directory = RunDir::create(&context.results)?;
    let asked = Asked {
        id: directory.id().0.clone(),
        directory: directory.path().to_owned(),
        command: context.argv.clone(),
        now_unix: clock::unix_seconds(),
    };
    let Joined { events, boots } = shards::join(&plan, &runs, &absent, notices, asked);
    let mut scribe = Scribe {
        recorder: Recorder::new(directory)?,
        told: (context.messages == MessageFormat::Json).then(|| JsonEvents::new(std::io::stdout())),
    };
    // The plan comes first: whatever happens to this process, there is a run then that
    // lacks everything that was to follow.
    let mut events = events.into_iter();
    scribe.take(events.by_ref().take(1))?;
    let mut quota = Quota::default();
    for boot in &boots {
        let Some(place) = places.get(&boot.shard) else { continue };
        let to = scribe.recorder.dir().boot(BootId(boot.to));
        for Cut { path, why } in place.copy_boot(BootId(boot.from), &to, &mut quota)? {
            let text = format!("`{}`: {why}", path.display());
            scribe.take([(0, Event::Notice { text })])?;
        }
    }
    scribe.take(events)?;
    let results::Finished { run, saved } = scribe.recorder.finish()?;
    if let Ok(cache) = paths::cache() {
        lab::learn(took(&run), &cache);
    }
    let junit = super::save_junit(context, &run);
    if context.messages == MessageFormat::Human || form.output.is_some() {
        show_run(&run, form)?;
    }
    saved?;
    junit?;
    Ok(results::Summary::of(&run).exit_code())
}

/// What its tests took, which balances the shards of the next plan.
fn took(run: &Run) -> impl Iterator<Item = Took<'_>> {
    let passed = run.results.iter().filter(|result| matches!(result.verdict, Verdict::Pass { .. }));
    passed.filter_map(|result| {
        let slowdown = run.boot(result.boot?)?.launch.slowdown?;
        Some(Took { test: &result.test, elapsed: Duration::from_nanos(result.elapsed_ns), slowdown })
    })
}

/// Writes events down, and tells them where that was asked for.
struct Scribe {
    recorder: Recorder,
    told: Option<JsonEvents<std::io::Stdout>>,
}

impl Scribe {
    fn take(&mut self, events: impl IntoIterator<Item = (u64, Event)>) -> anyhow::Result<()> {
        for (elapsed_ms, event) in events {
            if let Some(told) = &mut self.told {
                unless_reader_left(told.tell(elapsed_ms, event.clone()))?;
            }
            self.recorder.keep(event, elapsed_ms)?;
        }
        Ok(())
    }
}
