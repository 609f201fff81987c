//! One thin file per subcommand: resolve what the user named, call the part
//! that does it, turn the outcome into an exit code.

pub mod bisect;
pub mod build;
pub mod compare;
pub mod doctor;
pub mod list;
pub mod merge;
mod noise;
pub mod pair;
pub mod plan;
pub mod report;
pub mod run;
pub mod selfcheck;
pub mod series;
pub mod shell;
mod watch;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use crate::config::{self, MachineOptions, Project};
use crate::guest::{foreign_root, programs};
use crate::kernel::BuildEnv;
use crate::kernel::selftests::Wanted;
use crate::model::{Accel, AccelChoice, Backend, KernelSpec, Machine, Test};
use crate::report::junit;
use crate::results::ResultsError;
use crate::results::format::Run;
use crate::{chain, paths};

/// Exit code of a run in which everything passed.
pub const PASSED: u8 = 0;
/// Exit code for wrong words and wrong configuration.
pub const USAGE: u8 = 2;
/// Exit code when the harness or its host failed.
pub const HOST: u8 = 3;
/// Exit code where nothing was found out.
pub const INCONCLUSIVE: u8 = 4;
/// Exit code of an interrupted command.
pub const INTERRUPTED: u8 = 130;

/// What every command is told.
#[derive(Debug, Clone)]
pub struct Context {
    /// As typed, program first.
    pub argv: Vec<String>,
    /// `--machine`.
    pub machine: Option<String>,
    /// `--results`.
    pub results: PathBuf,
    /// `--config`.
    pub config: Option<PathBuf>,
    /// `--message-format`.
    pub messages: MessageFormat,
    /// `--junit`.
    pub junit: Option<PathBuf>,
    /// `--jobs`.
    pub jobs: Option<NonZeroUsize>,
    /// `--seed`.
    pub seed: u64,
}

/// What stdout carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageFormat {
    /// Text.
    Human,
    /// One JSON event per line.
    Json,
}

/// An error that is the user's to mend: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{}", chain::text(.0.as_ref()))]
pub struct Usage(pub anyhow::Error);

/// What was asked for cannot be decided here, and nobody has done anything wrong: exit
/// code 4.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Undecidable(pub anyhow::Error);

/// Marks an error as one of usage or configuration.
pub fn usage(error: impl Into<anyhow::Error>) -> anyhow::Error {
    anyhow::Error::new(Usage(error.into()))
}

impl Context {
    /// Reads the configuration that applies here.
    ///
    /// # Errors
    ///
    /// Fails with a [`Usage`] error when it is missing or wrong.
    pub fn project(&self) -> anyhow::Result<Project> {
        let here = std::env::current_dir()?;
        config::load(self.config.as_deref(), &here).map_err(usage)
    }

    /// The machine: the configuration's, changed by `--machine`.
    ///
    /// # Errors
    ///
    /// Fails with a [`Usage`] error when `--machine` cannot be read.
    pub fn machine(&self, project: &Project) -> anyhow::Result<Machine> {
        let options: MachineOptions = match &self.machine {
            Some(text) => text.parse().map_err(usage)?,
            None => MachineOptions::default(),
        };
        let machine = options.over(project.machine.clone());
        if let Some(root) = &machine.root {
            if machine.backend != Backend::VirtmeNg {
                return Err(usage(anyhow::anyhow!(
                    "`root={}` and `backend={}` contradict each other: its guests bring their own files\n\
                     hint: `backend=virtme-ng` with a kernel for it, such as `distro-vng`",
                    root,
                    machine.backend
                )));
            }
            foreign_root::check(root.path()).map_err(usage)?;
        }
        if machine.accel == AccelChoice::Only(Accel::Icount) && machine.backend != Backend::Qemu {
            return Err(usage(anyhow::anyhow!(
                "`accel=icount` and `backend={}` contradict each other: virtual time bears no virtio \
                 device\nhint: leave out the backend, or take `accel=tcg`",
                machine.backend
            )));
        }
        Ok(machine)
    }

    /// Kernels as named, or the default one.
    ///
    /// # Errors
    ///
    /// Fails with a [`Usage`] error for a name that means nothing.
    pub fn kernels(&self, project: &Project, names: &[String]) -> anyhow::Result<Vec<KernelSpec>> {
        let default = [project.default_kernel.to_string()];
        let names = if names.is_empty() { &default } else { names };
        let resolve = |name: &String| {
            let request = project.parse_request(name)?;
            project.resolve(&request)
        };
        names.iter().map(|name| resolve(name).map_err(usage)).collect()
    }

    /// What builds need.
    ///
    /// # Errors
    ///
    /// Fails when there is no cache directory.
    pub fn build_env(&self, project: &Project) -> anyhow::Result<BuildEnv> {
        let fragments = project.fragments.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
        let mut env = BuildEnv::new(paths::cache()?, fragments);
        env.jobs = self.jobs.unwrap_or(env.jobs);
        Ok(env)
    }

    /// The same, where kernels come with the selftests that tests need.
    ///
    /// # Errors
    ///
    /// As [`Context::build_env`].
    pub fn build_env_for(
        &self,
        project: &Project,
        tests: &[Test],
        machine: &Machine,
    ) -> anyhow::Result<BuildEnv> {
        let selftests = wanted_selftests(project, tests, machine);
        Ok(BuildEnv { selftests, ..self.build_env(project)? })
    }
}

/// Tests by the words of the user. What was named must find what it needs in the guests of
/// this machine; what a pattern brings along may be skipped there.
pub(super) fn tests(project: &Project, words: &[String], machine: &Machine) -> anyhow::Result<Vec<Test>> {
    let select = |words: &[String]| config::select(&project.suites, words).map_err(usage);
    for word in words.iter().filter(|word| !word.contains('*')) {
        programs::check_places(&select(std::slice::from_ref(word))?, machine).map_err(usage)?;
    }
    select(words)
}

/// Selftests to build for these tests: of each of their collections all that any
/// suite names, so that another choice of tests builds nothing again.
fn wanted_selftests(project: &Project, tests: &[Test], machine: &Machine) -> Wanted {
    let mut wanted = Wanted::new();
    for selftest in programs::selftests(tests, machine) {
        wanted.entry(selftest.collection.clone()).or_default().extend(selftest.programs.iter().cloned());
    }
    for selftest in project.suites.iter().flat_map(|suite| programs::selftests(&suite.tests, machine)) {
        if let Some(programs) = wanted.get_mut(&selftest.collection) {
            programs.extend(selftest.programs.iter().cloned());
        }
    }
    wanted
}

/// Says what went wrong and gives the exit code.
#[must_use]
pub fn fail(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<Undecidable>()) {
        anstream::eprintln!("inconclusive: {}", chain::text(error.as_ref()));
        return INCONCLUSIVE;
    }
    anstream::eprintln!("error: {}", chain::text(error.as_ref()));
    if error.chain().any(|cause| cause.is::<Usage>()) { USAGE } else { HOST }
}

/// Writes the JUnit of a run that has ended: into its directory, and where `--junit` says.
///
/// # Errors
///
/// Fails when the disk does; one failure does not keep the other file from being written.
fn save_junit(context: &Context, run: &Run) -> Result<(), ResultsError> {
    let own = junit::save(run);
    let each = context.junit.as_deref().map_or(Ok(Vec::new()), |directory| junit::save_each(run, directory));
    own.and(each).map(|_| ())
}

/// Takes the result of writing to stdout. A reader who has seen enough and went
/// away, for instance `head`, changes nothing about the outcome.
///
/// # Errors
///
/// Every other failure.
pub fn unless_reader_left(written: std::io::Result<()>) -> std::io::Result<()> {
    match written {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
