//! Two kernels measured in turns in one run: what `compare` and `selfcheck`
//! have in common. What is measured next is asked of whoever calls.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;

use super::run::{Wanted, host_facts, obtain};
use super::{Context, MessageFormat, Undecidable, usage};
use crate::analysis::compare::{self, Request};
use crate::analysis::refuse::{self, What};
use crate::analysis::refuse_emulated_times;
use crate::config::Project;
use crate::guest::accel::Decision;
use crate::guest::programs;
use crate::kernel::Kernel;
use crate::lab::{self, BootNumbers, Host, Lab, Measurement, Quiet, Slots};
use crate::model::{
    AGAIN, Accel, AllowRule, BuildEvent, ComparisonPlan, KernelName, KernelSpec, Machine, NoiseOf, Observer,
    RunEvent, RunInfo, Suite, Test, TroubleKind, Turn,
};
use crate::report::{json::JsonEvents, look::Look, progress::Progress};
use crate::results::format::Run;
use crate::results::{self, Finished, Recorder};
use crate::symbols::Symbolising;
use crate::{clock, config, interrupt, paths};

/// The test that finds out where the time of a teardown goes.
pub(super) const PROFILE: &str = "netns-teardown/profile";

/// What is measured, and how.
pub(super) struct Pair<'a> {
    /// They may be the same.
    pub(super) kernels: [KernelSpec; 2],
    pub(super) tests: Vec<Test>,
    /// Boots of a side at most.
    pub(super) boots: Option<u32>,
    pub(super) floor: f64,
    pub(super) exact_floor: f64,
    pub(super) allowed: &'a [What],
    pub(super) quiet: Quiet,
    pub(super) profile: Profile,
    pub(super) emulated: Emulated,
}

/// Whether times decide where every instruction is emulated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emulated {
    /// By their proportions.
    Decides,
    /// It is refused before anything is measured.
    Refused,
}

/// Whether it is found out where the time of a teardown that changed goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Profile {
    OnDemand,
    Never,
}

/// What the boots run on: numbers of different places have different noise.
pub(super) struct Place<'a> {
    pub(super) host: &'a BTreeMap<String, String>,
    pub(super) accel: Accel,
    pub(super) machine: &'a Machine,
}

/// Whoever says what is measured and when it is enough.
pub(super) trait Planner {
    /// Noise that was measured before.
    fn noise(&self, place: &Place<'_>) -> Vec<NoiseOf>;
    /// What is missing, by what is known so far.
    fn next(&self, run: &Run) -> Option<Request>;
}

/// One of the two kernels.
struct Side {
    spec: KernelSpec,
    allow: Vec<AllowRule>,
}

/// The kernels of these names, for [`Pair`].
///
/// # Errors
///
/// Fails with a usage error for a name that means nothing.
pub(super) fn named(
    context: &Context,
    project: &Project,
    names: [&str; 2],
) -> anyhow::Result<[KernelSpec; 2]> {
    let [base, head] = names.map(|name| context.kernels(project, &[name.to_owned()]));
    let only = |mut specs: Vec<KernelSpec>| specs.pop().context("a kernel was named and none is meant");
    Ok([only(base?)?, only(head?)?])
}

/// Measures two kernels until nothing more is asked for.
///
/// # Errors
///
/// Fails on wrong words, when the sides differ in more than their kernels, and
/// when the host cannot carry a run at all.
pub(super) fn measure(
    context: &Context,
    project: &Project,
    pair: Pair<'_>,
    planner: &dyn Planner,
) -> anyhow::Result<Finished> {
    config::check_expiry(&project.allow, clock::today()).map_err(usage)?;
    let machine = context.machine(project)?;
    let sides = sides(pair.kernels, &project.allow);
    let (tests, profile) = with_profile(pair.tests, &project.suites, pair.profile);
    programs::check(&tests, &machine).map_err(usage)?;
    let lab = Lab::equip(machine.backend, &paths::cache()?)?;
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let asked = context.jobs.map(NonZeroUsize::get);
    let (slots, fewer) = Slots::of(&machine, asked, pair.quiet, Host::now());
    let started = clock::now();

    let recorder = Arc::new(Mutex::new(None));
    let mut watch = Watch {
        recorder: Arc::clone(&recorder),
        progress: Progress::new(Look::of_stderr()),
        events: (context.messages == MessageFormat::Json).then(|| JsonEvents::new(std::io::stdout())),
        held: Some(Vec::new()),
    };
    let mut told = Symbolising::new(&mut watch);
    let env = context.build_env_for(project, &tests, &machine)?;
    let mut kernels = Vec::new();
    for side in &sides {
        let wanted = Wanted::Spec(side.spec.clone());
        kernels.push(obtain(&lab, &env, &wanted, &machine, &mut told)?);
    }
    if let [Ok((base, on_base)), Ok((head, on_head))] = kernels.as_slice() {
        // Refused before there is a run.
        let of = |kernel: &Kernel, on: &Decision| refuse::of_kernel(&kernel.info, on.accel, &machine);
        let differences = refuse::differences(&of(base, on_base), &of(head, on_head));
        refuse::check(&differences, pair.allowed).map_err(usage)?;
    }
    if pair.emulated == Emulated::Refused {
        for (_, decision) in kernels.iter().flatten() {
            refuse_emulated_times(decision.accel, &tests).map_err(|refused| Undecidable(refused.into()))?;
        }
    }
    let accel = kernels.iter().flatten().map(|(_, decision)| decision.accel).next().unwrap_or(Accel::Tcg);
    let host = host_facts(&lab);
    let noise = planner.noise(&Place { host: &host, accel, machine: &machine });
    let directory = results::RunDir::create(&context.results)?;
    let info = RunInfo {
        id: directory.id().clone(),
        directory: directory.path().to_owned(),
        command: context.argv.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix: clock::unix_seconds(),
        seed: context.seed,
        machine: machine.clone(),
        kernels: sides.iter().map(|side| side.spec.name.clone()).collect(),
        tests,
        suite_files: project.suites.iter().map(|suite| (suite.name.clone(), suite.file.clone())).collect(),
        boots: 0,
        retries: 0,
        side_by_side: u32::try_from(slots.side_by_side).unwrap_or(u32::MAX),
        quiet_host: pair.quiet == Quiet::Alone,
        host,
        comparison: Some(ComparisonPlan {
            base: sides[0].spec.name.clone(),
            head: sides[1].spec.name.clone(),
            looks: compare::looks(accel, pair.boots),
            floor: pair.floor,
            exact_floor: pair.exact_floor,
            profile: profile.clone(),
            allowed: pair.allowed.iter().map(|what| what.word().to_owned()).collect(),
            noise,
        }),
        shard: None,
    };
    *lock(&recorder) = Some(Recorder::new(directory)?);
    told.observe(&RunEvent::RunStarted(info.clone()))?;
    let unquiet = if pair.quiet == Quiet::Alone { lab::unquiet() } else { None };
    for notice in fewer.into_iter().chain(unquiet) {
        told.observe(&RunEvent::Notice(notice))?;
    }
    for (side, kernel) in sides.iter().zip(&kernels) {
        if let Err(reason) = kernel {
            let kernel = side.spec.name.clone();
            told.observe(&RunEvent::KernelFailed { kernel, reason: reason.clone() })?;
        }
    }

    let mut numbers = BootNumbers::default();
    while !interrupt::requested() {
        let request = lock(&recorder).as_ref().and_then(Recorder::run).and_then(|run| planner.next(run));
        let Some(request) = request else { break };
        let wanted = |test: &&Test| request.tests.contains(&test.id.to_string());
        let tests: Vec<Test> = info.tests.iter().filter(wanted).cloned().collect();
        let ids = tests.iter().map(|test| test.id.clone()).collect();
        told.observe(&RunEvent::TurnsAsked { tests: ids, until: request.until, why: request.why })?;
        let turns = request.from..=request.until;
        let [Ok(base), Ok(head)] = kernels.as_slice() else {
            for turn in turns.map(Turn::first) {
                missing(&sides, &kernels, &tests, turn, &mut told)?;
            }
            break;
        };
        let mut measurements = Vec::new();
        for (side, (kernel, decision)) in sides.iter().zip([base, head]) {
            measurements.push(Measurement {
                kernel,
                cmdline: &side.spec.cmdline,
                allow: &side.allow,
                tests: &tests,
                turns: turns.clone(),
                retries: 0,
                machine: &machine,
                decision: decision.clone(),
                seed: context.seed,
                run_dir: &info.directory,
            });
        }
        // Nothing runs beside a profile, not even another one.
        let alone = profile.as_ref().is_some_and(|profile| request.tests == [profile.as_str()]);
        let slots = if alone { Slots { side_by_side: 1, ..slots } } else { slots };
        lab::measure(&lab, &measurements, slots, &mut numbers, &mut told)?;
    }
    if !interrupt::requested() {
        let comparison = lock(&recorder).as_ref().and_then(Recorder::run).and_then(compare::of_run);
        if let Some(comparison) = comparison {
            told.observe(&RunEvent::Compared(comparison.overall()))?;
        }
    }
    let elapsed = clock::now().saturating_duration_since(started);
    told.observe(&RunEvent::RunFinished { elapsed, interrupted: interrupt::requested() })?;
    drop(told);
    let recorder = lock(&recorder).take().context("the record of the run is gone")?;
    Ok(recorder.finish()?)
}

/// The sides with names and rules of their own. A kernel may be compared with
/// itself; its second name is no other kernel to the rules of the project.
fn sides(specs: [KernelSpec; 2], allow: &[AllowRule]) -> Vec<Side> {
    let mut sides: Vec<Side> = Vec::new();
    for mut spec in specs {
        let of_this = allow.iter().filter(|rule| rule.is_of(&spec.name.0));
        let allow = of_this.map(|rule| AllowRule { kernels: Vec::new(), ..rule.clone() }).collect();
        if sides.iter().any(|side| side.spec.name == spec.name) {
            spec.name = KernelName(spec.name.0 + AGAIN);
        }
        sides.push(Side { spec, allow });
    }
    sides
}

/// The tests with the profile behind them, and its name, if it is to be made on
/// demand and was not asked for anyway.
fn with_profile(mut tests: Vec<Test>, suites: &[Suite], profile: Profile) -> (Vec<Test>, Option<String>) {
    let tears_down = tests.iter().any(compare::times_teardown);
    let selected = tests.iter().any(|test| test.id.to_string() == PROFILE);
    if profile == Profile::Never || selected || !tears_down {
        return (tests, None);
    }
    // A project with suites of its own may have no such test.
    match config::select(suites, &[PROFILE.to_owned()]) {
        Ok(found) if found.len() == 1 => {
            tests.extend(found);
            (tests, Some(PROFILE.to_owned()))
        }
        Ok(_) | Err(_) => (tests, None),
    }
}

/// Says of every test of a turn that it did not run because a kernel is missing.
fn missing(
    sides: &[Side],
    kernels: &[Result<(Kernel, Decision), String>],
    tests: &[Test],
    turn: Turn,
    observer: &mut dyn Observer,
) -> anyhow::Result<()> {
    let kind = match interrupt::requested() {
        true => TroubleKind::Interrupted,
        false => TroubleKind::NotReached,
    };
    for (side, kernel) in sides.iter().zip(kernels) {
        let message = match kernel {
            Err(reason) => format!("there is no kernel to boot: {reason}"),
            Ok(_) => "it was not booted, for there is no kernel to compare it with".to_owned(),
        };
        lab::not_run(tests, &side.spec.name, turn, kind, &message, observer)?;
    }
    Ok(())
}

/// The record, whatever became of a thread that held it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Records and shows. What happens before there is a run is held back and told
/// when the run begins, but for the progress of builds, which is shown at once.
struct Watch {
    recorder: Arc<Mutex<Option<Recorder>>>,
    progress: Progress,
    events: Option<JsonEvents<std::io::Stdout>>,
    held: Option<Vec<RunEvent>>,
}

/// Whether people are to see it although there is no run yet.
fn is_progress(event: &RunEvent) -> bool {
    matches!(event, RunEvent::Build(BuildEvent::Step { .. } | BuildEvent::Objects { .. }))
}

impl Watch {
    fn keep(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        let recorded = match lock(&self.recorder).as_mut() {
            Some(recorder) => recorder.observe(event),
            None => Err(anyhow::anyhow!("there is no record of the run")),
        };
        // The first failure counts, but nobody is left out for it.
        let told = self.events.as_mut().map_or(Ok(()), |events| events.observe(event));
        recorded.and(told)
    }
}

impl Observer for Watch {
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        match (&mut self.held, event) {
            (Some(_), RunEvent::RunStarted(_)) => {
                self.progress.observe(event)?;
                self.keep(event)?;
                for event in self.held.take().unwrap_or_default() {
                    if !is_progress(&event) {
                        self.progress.observe(&event)?;
                    }
                    self.keep(&event)?;
                }
                Ok(())
            }
            (Some(held), _) => {
                held.push(event.clone());
                if is_progress(event) { self.progress.observe(event) } else { Ok(()) }
            }
            (None, _) => {
                let shown = self.progress.observe(event);
                self.keep(event).and(shown)
            }
        }
    }
}
