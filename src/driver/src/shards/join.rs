//! From the runs of shards to one run. Pure.
//!
//! Holds the rule that nothing goes missing in silence: every test of the plan has a
//! verdict for each kernel and boot, and what no shard left is an error of the host that
//! names the shard. A record is believed only as far as its plan and the fold of
//! `results` go: what was never planned, or comes twice, is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::plan::{Part, Plan};
use crate::model::{BootId, Trouble, TroubleKind, Verdict};
use crate::report::text_safety;
use crate::results::format::{self, Boot, Event, Kernel, Line, Run, State, TestResult, VERSION};
use crate::results::{BootDir, Fold, FoldError, Merged, MergedShard, Shard};

/// Seconds since 1970 of the last moment that RFC 3339 has a word for.
const LATEST: i64 = 253_402_300_799;

/// A run that is no shard of the plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Elsewhere {
    /// It did no shard of any plan.
    #[error("it is no run of a shard")]
    Whole,
    /// It did one of another plan.
    #[error("it is of the plan `{}`", text_safety::name(.0))]
    OtherPlan(String),
}

/// Shards booted different kernels under one name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "kernel `{kernel}` is not the same in all shards: `{}` in shard {}, `{}` in shard {}\n\
     hint: numbers of different kernels do not belong into one run; build it from the same tree, configuration and compiler \
     everywhere",
    text_safety::name(&one.1), one.0, text_safety::name(&other.1), other.0
)]
pub struct KernelsDiffer {
    kernel: String,
    one: (u32, String),
    other: (u32, String),
}

/// The shard that a run did.
///
/// # Errors
///
/// Fails when it is none of this plan.
pub(super) fn number(plan: &Plan, run: &Run) -> Result<u32, Elsewhere> {
    match &run.plan.shard {
        None => Err(Elsewhere::Whole),
        Some(Shard { plan: id, .. }) if id != plan.id() => Err(Elsewhere::OtherPlan(id.clone())),
        Some(Shard { number, .. }) => Ok(*number),
    }
}

/// Whether a record is one of this shard, or what is wrong with it.
///
/// # Errors
///
/// What does not fit, in the end of a sentence that begins with the record.
pub(super) fn check(plan: &Plan, shard: &Part, run: &Run) -> Result<(), String> {
    let (work, told) = (plan.work(), &run.plan);
    let tests = plan.tests_of(shard);
    let same = told.kregress == work.kregress
        && told.seed == work.seed
        && told.machine == work.machine
        && told.boots_per_kernel == work.boots_per_kernel
        && told.retries == work.retries
        && told.quiet_host == work.quiet_host
        && told.kernels.iter().eq(work.kernels.iter().map(|kernel| &kernel.name))
        && told.tests.iter().eq(tests);
    if !same || told.shard.as_ref().is_none_or(|it| it.of != plan.count() || it.number != shard.number) {
        return Err("does not say what the plan says".to_owned());
    }
    if told.comparison.is_some() || run.overall.is_some() || !run.turns.is_empty() {
        return Err("is one of a comparison, which no plan asks for".to_owned());
    }
    if !(0..=LATEST).contains(&told.started_unix) {
        return Err(format!("begins at `{}`, which is no time", told.started_unix));
    }
    for boot in &run.boots {
        let launch = &boot.launch;
        if launch.directory != place(launch.id) {
            let directory = text_safety::name(&launch.directory);
            return Err(format!("has boot {} in `{directory}`, which is not its place", launch.id));
        }
    }
    let begin = Event::RunStarted(told.clone());
    let lines = std::iter::once(begin).chain(kernels(run)).chain(boots(run, &|id| Some(id)));
    fold(lines.map(|event| (0, event)))
        .map(|_| ())
        .map_err(|error| format!("contradicts itself: {}", text_safety::title(error.to_string())))
}

fn fold(events: impl Iterator<Item = (u64, Event)>) -> Result<Option<Fold>, FoldError> {
    let mut fold: Option<Fold> = None;
    for (seq, (elapsed_ms, event)) in (0..).zip(events) {
        let line = Line { version: VERSION, seq, elapsed_ms, event };
        match &mut fold {
            Some(fold) => fold.apply(line)?,
            None => fold = Some(Fold::begin(line)?),
        }
    }
    Ok(fold)
}

/// What is known of the joined run beside its shards.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Its name.
    pub id: String,
    /// Its directory.
    pub directory: PathBuf,
    /// Command line as typed.
    pub command: Vec<String>,
    /// Now, in seconds since 1970: its start, where no shard has one.
    pub now_unix: i64,
}

/// One run out of several.
#[derive(Debug, Clone)]
pub struct Joined {
    /// What happened, with milliseconds since the first shard began.
    pub events: Vec<(u64, Event)>,
    /// Where the boots' files come from and go to.
    pub boots: Vec<Moved>,
}

/// A boot with a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moved {
    /// The shard that made it.
    pub shard: u32,
    /// Its number there.
    pub from: u32,
    /// Its number in the joined run.
    pub to: u32,
}

/// Joins runs of shards that were collected. `absent` says why one is not among them,
/// where that is known; `notices` come first of all.
#[must_use]
pub fn join(
    plan: &Plan,
    given: &BTreeMap<u32, Run>,
    absent: &BTreeMap<u32, String>,
    notices: Vec<String>,
    asked: Asked,
) -> Joined {
    let boots = moved(given);
    let first = given.values().map(|run| run.plan.started_unix).min().unwrap_or(asked.now_unix);
    let ended = |run: &Run| {
        let begun = u64::try_from(run.plan.started_unix.saturating_sub(first)).unwrap_or(0);
        begun.saturating_mul(1000).saturating_add(run.elapsed_ms)
    };
    let mut events = vec![(0, Event::RunStarted(whole_plan(plan, given, &boots, first, asked)))];
    let told = notices.into_iter().chain(common_notices(given, &boots));
    events.extend(told.map(|text| (0, Event::Notice { text })));
    events.extend(kernels_once(given).into_iter().map(|kernel| (0, Event::KernelReady(kernel))));
    let mut end = 0;
    for shard in plan.shards() {
        let Some(run) = given.get(&shard.number) else {
            let why = absent.get(&shard.number).map_or("no directory is of it", String::as_str);
            let message = format!("shard {} of {} left no results: {why}", shard.number, plan.count());
            events.push((end, Event::Notice { text: message.clone() }));
            events.extend(lost(plan, shard, &BTreeSet::new(), &message).map(|event| (end, event)));
            continue;
        };
        let at = ended(run);
        end = end.max(at);
        for failed in &run.failed_kernels {
            let reason = format!("shard {}: {}", shard.number, failed.reason);
            events.push((at, Event::KernelFailed { kernel: failed.kernel.clone(), reason }));
        }
        let of_shard = boots.iter().filter(|boot| boot.shard == shard.number);
        let numbers: BTreeMap<u32, u32> = of_shard.map(|boot| (boot.from, boot.to)).collect();
        let to = |from: u32| numbers.get(&from).copied();
        let renamed = self::boots(run, &to).map(|event| of_shard_number(event, shard.number, plan.count()));
        events.extend(renamed.map(|event| (at, event)));
        let seen = run.results.iter().filter(|it| it.attempt == 1);
        let seen = seen.map(|it| (it.kernel.as_str(), it.test.as_str(), it.repeat)).collect();
        let message = format!("shard {} of {} left no verdict of this test", shard.number, plan.count());
        events.extend(lost(plan, shard, &seen, &message).map(|event| (at, event)));
    }
    // What a shard was prevented from is told by its verdicts; the joined run is whole
    // only where all of them came to their end.
    let whole = plan
        .shards()
        .iter()
        .all(|shard| given.get(&shard.number).is_some_and(|run| run.state == State::Finished));
    if whole {
        events.push((end, Event::RunFinished { interrupted: false }));
    }
    Joined { events, boots }
}

/// Boots in the order of the shards, numbered through.
fn moved(given: &BTreeMap<u32, Run>) -> Vec<Moved> {
    let all = given.iter().flat_map(|(shard, run)| run.boots.iter().map(|boot| (*shard, boot.launch.id)));
    (1..).zip(all).map(|(to, (shard, from))| Moved { shard, from, to }).collect()
}

/// Whether all shards booted the same kernels.
///
/// # Errors
///
/// The first kernel of which there are two.
pub(super) fn same_kernels(given: &BTreeMap<u32, Run>) -> Result<(), KernelsDiffer> {
    let mut known: BTreeMap<&str, (u32, &str)> = BTreeMap::new();
    for (shard, run) in given {
        for Kernel { name, identity, .. } in &run.kernels {
            let (first, one) = *known.entry(name).or_insert((*shard, identity));
            if one != identity {
                return Err(KernelsDiffer {
                    kernel: name.clone(),
                    one: (first, one.to_owned()),
                    other: (*shard, identity.clone()),
                });
            }
        }
    }
    Ok(())
}

/// Every kernel once, as the first shard that had it tells of it.
fn kernels_once(given: &BTreeMap<u32, Run>) -> Vec<Kernel> {
    let mut once: Vec<Kernel> = Vec::new();
    for kernel in given.values().flat_map(|run| &run.kernels) {
        if !once.iter().any(|it| it.name == kernel.name) {
            once.push(kernel.clone());
        }
    }
    once
}

fn whole_plan(
    plan: &Plan,
    given: &BTreeMap<u32, Run>,
    boots: &[Moved],
    started_unix: i64,
    asked: Asked,
) -> format::Plan {
    let work = plan.work();
    let mut first_boot = 1;
    let mut shards = Vec::new();
    for (number, run) in given {
        let count = boots.iter().filter(|boot| boot.shard == *number).count();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        shards.push(MergedShard {
            number: *number,
            run: run.plan.id.clone(),
            state: run.state,
            host: run.plan.host.clone(),
            first_boot,
            boots: count,
        });
        first_boot = first_boot.saturating_add(count);
    }
    format::Plan {
        id: asked.id,
        directory: asked.directory,
        kregress: work.kregress.clone(),
        command: asked.command,
        started_unix,
        seed: work.seed,
        machine: work.machine.clone(),
        host: hosts(given),
        boots_per_kernel: work.boots_per_kernel,
        retries: work.retries,
        side_by_side: given.values().map(|run| run.plan.side_by_side).max().unwrap_or(0),
        quiet_host: work.quiet_host,
        kernels: work.kernels.iter().map(|kernel| kernel.name.clone()).collect(),
        tests: work.tests.clone(),
        comparison: None,
        shard: None,
        merged: Some(Merged { plan: plan.id().to_owned(), of: plan.count(), shards }),
    }
}

/// Facts about the hosts; where they differ, each value with its shards.
fn hosts(given: &BTreeMap<u32, Run>) -> BTreeMap<String, String> {
    let mut facts: BTreeMap<&str, Vec<(&str, Vec<u32>)>> = BTreeMap::new();
    for (shard, run) in given {
        for (fact, value) in &run.plan.host {
            let values = facts.entry(fact).or_default();
            match values.iter_mut().find(|(known, _)| known == value) {
                Some((_, shards)) => shards.push(*shard),
                None => values.push((value, vec![*shard])),
            }
        }
    }
    let text = |values: Vec<(&str, Vec<u32>)>| match values.as_slice() {
        [(value, shards)] if shards.len() == given.len() => (*value).to_owned(),
        values => {
            let one = |(value, shards): &(&str, Vec<u32>)| format!("{value} ({})", named(shards));
            values.iter().map(one).collect::<Vec<_>>().join("; ")
        }
    };
    facts.into_iter().map(|(fact, values)| (fact.to_owned(), text(values))).collect()
}

/// `shard 2`, `shards 1, 3`.
fn named(shards: &[u32]) -> String {
    let numbers: Vec<String> = shards.iter().map(ToString::to_string).collect();
    format!("{} {}", if shards.len() == 1 { "shard" } else { "shards" }, numbers.join(", "))
}

/// What several shards say is said once.
fn common_notices(given: &BTreeMap<u32, Run>, boots: &[Moved]) -> Vec<String> {
    let mut notices: Vec<String> = Vec::new();
    let mut of: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    for (shard, run) in given {
        for notice in &run.notices {
            let notice = of_moved_boot(notice, *shard, boots).unwrap_or_else(|| notice.clone());
            let shards = of.entry(notice.clone()).or_insert_with(|| {
                notices.push(notice);
                Vec::new()
            });
            if shards.last() != Some(shard) {
                shards.push(*shard);
            }
        }
    }
    let text = |notice: String| match of.get(&notice) {
        Some(shards) if shards.len() < given.len() => format!("{}: {notice}", named(shards)),
        _ => notice,
    };
    notices.into_iter().map(text).collect()
}

/// A notice that begins with the boot that it is of, with the new number of that.
fn of_moved_boot(notice: &str, shard: u32, boots: &[Moved]) -> Option<String> {
    let (number, rest) = notice.strip_prefix("boot ")?.split_once(": ")?;
    let number = number.parse().ok()?;
    let moved = boots.iter().find(|boot| (boot.shard, boot.from) == (shard, number))?;
    Some(format!("boot {}: {rest}", moved.to))
}

/// What reading a shard that was cut off has filled in, in words of the joined run.
fn of_shard_number(event: Event, shard: u32, of: u32) -> Event {
    match event {
        Event::TestFinished(mut result) => {
            if let Verdict::Error(Trouble { kind: TroubleKind::Unfinished, message }) = &mut result.verdict {
                *message = match result.boot {
                    Some(boot) => {
                        let end = "was cut off in mid-work (killed, or out of disk)";
                        format!("shard {shard} of {of} {end}; boot {boot} was at this test")
                    }
                    None => format!("shard {shard} of {of}: {message}"),
                };
            }
            Event::TestFinished(result)
        }
        event => event,
    }
}

fn kernels(run: &Run) -> impl Iterator<Item = Event> {
    let ready = run.kernels.iter().cloned().map(Event::KernelReady);
    let failed = run
        .failed_kernels
        .iter()
        .map(|it| Event::KernelFailed { kernel: it.kernel.clone(), reason: it.reason.clone() });
    ready.chain(failed)
}

/// Where the files of a boot are, relative to its run.
fn place(boot: u32) -> String {
    BootDir::new(Path::new(""), BootId(boot)).relative().to_string_lossy().into_owned()
}

/// What became of the boots and tests of a run, with new numbers for the boots. One that
/// has none becomes 0, which is no boot's.
fn boots(run: &Run, to: &dyn Fn(u32) -> Option<u32>) -> impl Iterator<Item = Event> {
    let number = |from: u32| to(from).unwrap_or(0);
    let mut events = Vec::new();
    for boot in &run.boots {
        let (id, mut launch) = (number(boot.launch.id), boot.launch.clone());
        launch.id = id;
        launch.directory = place(id);
        events.push(Event::BootStarted(launch));
        events.extend(begun(boot, id));
    }
    events.extend(
        run.results.iter().map(|result| {
            Event::TestFinished(TestResult { boot: result.boot.map(number), ..result.clone() })
        }),
    );
    for boot in &run.boots {
        let id = number(boot.launch.id);
        // Told again, for a verdict of it ends it.
        events.extend(boot.running.clone().map(|test| Event::TestStarted { boot: id, test }));
        if let Some(end) = boot.end.clone() {
            events.push(Event::BootFinished { boot: id, end, lived_ns: boot.lived_ns.unwrap_or(0) });
        }
    }
    events.into_iter()
}

fn begun(boot: &Boot, id: u32) -> Vec<Event> {
    let mut events = Vec::new();
    if let Some(guest) = boot.guest.clone() {
        let exec_to_hello_ns = boot.exec_to_hello_ns.unwrap_or(0);
        events.push(Event::BootReady { boot: id, guest, exec_to_hello_ns });
    }
    let finding = |finding| Event::BootFinding { boot: id, finding };
    events.extend(boot.findings.iter().cloned().map(finding));
    let evidence = |evidence| Event::BootEvidence { boot: id, evidence };
    events.extend(boot.evidence.iter().cloned().map(evidence));
    events
}

/// An error for each kernel, test and boot of a shard of which there is no verdict.
fn lost<'a>(
    plan: &'a Plan,
    shard: &'a Part,
    seen: &BTreeSet<(&str, &str, u32)>,
    message: &'a str,
) -> impl Iterator<Item = Event> {
    let mut events = Vec::new();
    for kernel in plan.work().kernels.iter().map(|kernel| &kernel.name) {
        for repeat in 1..=plan.work().boots_per_kernel {
            let missing = shard.tests.iter().filter(|test| !seen.contains(&(kernel, test, repeat)));
            events.extend(missing.map(|test| Event::TestFinished(error(kernel, test, repeat, message))));
        }
    }
    events.into_iter()
}

fn error(kernel: &str, test: &str, repeat: u32, message: &str) -> TestResult {
    let why = Trouble { kind: TroubleKind::Host, message: message.to_owned() };
    TestResult::never_came(test, kernel, None, repeat, why)
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
