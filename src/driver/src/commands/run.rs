//! `kregress run`: build or find kernels, boot them, run tests, record.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;

use anyhow::Context as _;

use super::{Context, MessageFormat, unless_reader_left, usage};
use crate::config::Project;
use crate::guest::accel::Decision;
use crate::guest::programs;
use crate::kernel::{self, BuildEnv, Kernel};
use crate::lab::{self, BootNumbers, Host, Lab, Measurement, Quiet, Slots};
use crate::model::{
    Accel, AccelChoice, Backend, BuildEvent, KernelName, KernelSpec, Machine, Observer, RootFs, RunEvent,
    RunInfo, ShardOf, Test, TroubleKind, Turn,
};
use crate::report::{human, json::JsonEvents, look::Look, progress::Progress};
use crate::results::{self, Recorder};
use crate::shards::{self, Plan};
use crate::symbols::Symbolising;
use crate::{chain, clock, config, interrupt, paths};

/// Passes events on to several observers, each of which hears every event.
struct Fan<'a>(Vec<&'a mut dyn Observer>);

impl Observer for Fan<'_> {
    fn observe(&mut self, event: &RunEvent) -> anyhow::Result<()> {
        let mut result = Ok(());
        for observer in &mut self.0 {
            // The first failure counts, but nobody is left out for it.
            let heard = observer.observe(event);
            if result.is_ok() {
                result = heard;
            }
        }
        result
    }
}

/// What the tests run on.
#[derive(Debug, Clone, Copy)]
pub enum On<'a> {
    /// Kernels by name, each in a virtual machine; the default one if there is no name.
    Kernels(&'a [String]),
    /// The kernel of this host, without a virtual machine.
    Local,
}

/// How often, and how.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Boots of each kernel.
    pub boots: u32,
    /// Repetitions of a test that did not pass.
    pub retries: u32,
    /// What boots that measure times are granted.
    pub quiet: Quiet,
}

/// Where a kernel comes from.
pub(super) enum Wanted {
    /// An entry or a path.
    Spec(KernelSpec),
    /// It runs here.
    Running(KernelName),
}

impl Wanted {
    fn name(&self) -> &KernelName {
        match self {
            Self::Spec(spec) => &spec.name,
            Self::Running(name) => name,
        }
    }

    /// What is added to the kernel command line.
    fn cmdline(&self) -> &[String] {
        match self {
            Self::Spec(spec) => &spec.cmdline,
            Self::Running(_) => &[],
        }
    }
}

/// The host as a machine.
fn local_machine() -> Machine {
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kibibytes = total.and_then(|words| words.split_whitespace().next()?.parse::<u64>().ok());
    Machine {
        accel: AccelChoice::Only(Accel::Native),
        backend: Backend::Local,
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory: kibibytes.unwrap_or(0).saturating_mul(1024),
        rootfs: RootFs::Auto,
        root: None,
    }
}

/// A run as it is asked for, with every name resolved.
pub(super) struct Asked {
    /// The machine.
    pub(super) machine: Machine,
    /// Kernels in order.
    pub(super) wanted: Vec<Wanted>,
    /// Tests in order.
    pub(super) tests: Vec<Test>,
    /// How often, and how.
    pub(super) effort: Effort,
    /// Seed of everything random.
    pub(super) seed: u64,
    /// The plan of which it does a shard.
    pub(super) part: Option<(Plan, ShardOf)>,
}

/// Runs the command. Gives the exit code.
///
/// # Errors
///
/// Fails on wrong words, and when the host cannot carry a run at all.
pub fn run(context: &Context, tests: &[String], on: On<'_>, effort: Effort) -> anyhow::Result<u8> {
    let project = context.project()?;
    config::check_expiry(&project.allow, clock::today()).map_err(usage)?;
    let (machine, wanted) = match on {
        On::Kernels(names) => {
            let specs = context.kernels(&project, names)?;
            (context.machine(&project)?, specs.into_iter().map(Wanted::Spec).collect())
        }
        On::Local => {
            check_local(context)?;
            (local_machine(), vec![Wanted::Running(KernelName("local".to_owned()))])
        }
    };
    let tests = super::tests(&project, tests, &machine)?;
    carry_out(context, &project, Asked { machine, wanted, tests, effort, seed: context.seed, part: None })
}

/// Carries out a run and shows it. Gives the exit code.
///
/// # Errors
///
/// Fails when the host cannot carry it at all.
pub(super) fn carry_out(context: &Context, project: &Project, asked: Asked) -> anyhow::Result<u8> {
    let results::Finished { run, saved } = execute(context, project, asked)?;
    let junit = super::save_junit(context, &run);
    if context.messages == MessageFormat::Human {
        unless_reader_left(human::write(&run, Look::of_stdout(), &mut std::io::stdout().lock()))?;
    }
    saved?;
    junit?;
    Ok(results::Summary::of(&run).exit_code())
}

/// Carries out a run.
///
/// # Errors
///
/// Fails when the host cannot carry it at all.
pub(super) fn execute(
    context: &Context,
    project: &Project,
    asked: Asked,
) -> anyhow::Result<results::Finished> {
    let Asked { machine, wanted, tests, effort, seed, part } = asked;
    let Effort { boots, retries, quiet } = effort;
    programs::check(&tests, &machine).map_err(usage)?;
    let cache = paths::cache()?;
    let lab = Lab::equip(machine.backend, &cache)?;
    interrupt::listen().context("cannot listen for Ctrl-C")?;
    let jobs = context.jobs.map(NonZeroUsize::get);
    let (slots, fewer) = Slots::of(&machine, jobs, quiet, Host::now());

    let started = clock::now();
    let directory = results::RunDir::create(&context.results)?;
    if let Some((plan, _)) = &part {
        plan.write(&directory.path().join(shards::COPY_FILE))?;
    }
    let info = RunInfo {
        id: directory.id().clone(),
        directory: directory.path().to_owned(),
        command: context.argv.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_unix: clock::unix_seconds(),
        seed,
        machine: machine.clone(),
        kernels: wanted.iter().map(|kernel| kernel.name().clone()).collect(),
        tests,
        suite_files: project.suites.iter().map(|suite| (suite.name.clone(), suite.file.clone())).collect(),
        boots,
        retries,
        side_by_side: u32::try_from(slots.side_by_side).unwrap_or(u32::MAX),
        quiet_host: quiet == Quiet::Alone,
        host: host_facts(&lab),
        comparison: None,
        shard: part.map(|(_, shard)| shard),
    };
    let mut recorder = Recorder::new(directory)?;
    let mut progress = Progress::new(Look::of_stderr());
    let mut events = JsonEvents::new(std::io::stdout());
    let mut observers: Vec<&mut dyn Observer> = vec![&mut recorder, &mut progress];
    if context.messages == MessageFormat::Json {
        observers.push(&mut events);
    }
    let mut fan = Fan(observers);
    let mut fan = Symbolising::new(&mut fan);
    fan.observe(&RunEvent::RunStarted(info.clone()))?;
    let unquiet = if quiet == Quiet::Alone { lab::unquiet() } else { None };
    for notice in fewer.into_iter().chain(unquiet) {
        fan.observe(&RunEvent::Notice(notice))?;
    }

    let env = context.build_env_for(project, &info.tests, &machine)?;
    let mut ready = Vec::new();
    for kernel in &wanted {
        match obtain(&lab, &env, kernel, &machine, &mut fan)? {
            Ok(ready_kernel) => ready.push((kernel, ready_kernel)),
            Err(reason) => {
                let name = kernel.name();
                fan.observe(&RunEvent::KernelFailed { kernel: name.clone(), reason: reason.clone() })?;
                let kind = match interrupt::requested() {
                    true => TroubleKind::Interrupted,
                    false => TroubleKind::NotReached,
                };
                for repeat in 1..=boots {
                    let message = format!("there is no kernel to boot: {reason}");
                    lab::not_run(&info.tests, name, Turn::first(repeat), kind, &message, &mut fan)?;
                }
            }
        }
    }
    let mut measurements = Vec::new();
    for (wanted, (kernel, decision)) in &ready {
        measurements.push(Measurement {
            kernel,
            cmdline: wanted.cmdline(),
            allow: &project.allow,
            tests: &info.tests,
            turns: 1..=boots,
            retries,
            machine: &machine,
            decision: decision.clone(),
            seed,
            run_dir: &info.directory,
        });
    }
    lab::measure(&lab, &measurements, slots, &mut BootNumbers::default(), &mut fan)?;
    let elapsed = clock::now().saturating_duration_since(started);
    fan.observe(&RunEvent::RunFinished { elapsed, interrupted: interrupt::requested() })?;
    drop(fan);
    Ok(recorder.finish()?)
}

/// A kernel with the accelerator that it boots under, or the reason why not.
pub(super) fn obtain(
    lab: &Lab,
    env: &BuildEnv,
    wanted: &Wanted,
    machine: &Machine,
    observer: &mut dyn Observer,
) -> anyhow::Result<Result<(Kernel, Decision), String>> {
    let mut lost = None;
    let mut observe = |event: BuildEvent| {
        if let Err(error) = observer.observe(&RunEvent::Build(event)) {
            lost.get_or_insert(error);
        }
    };
    let kernel = match wanted {
        Wanted::Spec(spec) => kernel::obtain(spec, env, &mut observe).map_err(|error| chain::text(&error)),
        Wanted::Running(_) => match kernel::running() {
            Ok(kernel) => {
                observe(BuildEvent::Ready(kernel.info.clone()));
                Ok(kernel)
            }
            Err(error) => Err(format!("cannot read what kernel this is: {error}")),
        },
    };
    if let Some(error) = lost {
        return Err(error.context("cannot record the build"));
    }
    let kernel = match kernel {
        Ok(kernel) => kernel,
        Err(reason) => return Ok(Err(reason)),
    };
    let decision = match lab.decide(&kernel, machine) {
        Ok(decision) => decision,
        Err(error) => return Ok(Err(chain::text(&error))),
    };
    observer.observe(&RunEvent::Notice(format!("{}: {}", wanted.name(), decision.reason)))?;
    Ok(Ok((kernel, decision)))
}

/// What `--local` cannot do without, and what it does without.
fn check_local(context: &Context) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(usage(anyhow::anyhow!("--local needs root\nhint: run it with sudo")));
    }
    match &context.machine {
        None => Ok(()),
        Some(text) => Err(usage(anyhow::anyhow!(
            "`--machine {text}` and --local contradict each other\nhint: leave one of them out"
        ))),
    }
}

/// Facts about this host that every number is recorded with.
pub(super) fn host_facts(lab: &Lab) -> BTreeMap<String, String> {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = file("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map(|(_, name)| name);
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let facts = [
        ("cpu", model.unwrap_or("unknown").to_owned()),
        ("cpus", cpus.to_string()),
        ("kernel", file("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("qemu", lab.qemu_version().to_owned()),
    ];
    let vng = lab.vng_version().map(|version| ("vng", version.to_owned()));
    facts.into_iter().chain(vng).map(|(key, value)| (key.to_owned(), value)).collect()
}
