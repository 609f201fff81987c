//! What the lab is equipped with, and how it turns a measurement into a machine
//! that can be started: guest image, command line, sockets, logs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kregress_wire::{Carrier, KUNIT, Nonce, PROTOCOL, Plan, Value};

use super::Measurement;
use super::boot::{Boot, BootError, Seat};
use super::channels::Channels;
use super::exchange::Action;
use super::scratch::Scratch;
use super::session::Session;
use super::watchdog::Limits;
use crate::exec::{Cmd, shell_line};
use crate::guest::accel::{self, CANARY_LIMIT, Canary, Decision, Device, KvmUnavailable, Memory};
use crate::guest::foreign_root::{self, RootError};
use crate::guest::initramfs::{self, Contents, InitramfsError};
use crate::guest::local;
use crate::guest::modules::{self, ModulesError, Selection};
use crate::guest::programs::{ProgramError, Programs};
use crate::guest::qemu::{self, ChannelPaths};
use crate::guest::tools::{self, Qemu, ToolError, Vng};
use crate::guest::tsc;
use crate::guest::virtiofsd::{NoVirtiofs, Virtiofsd};
use crate::guest::virtme::{self, OtherRoot};
use crate::kernel::Kernel;
use crate::model::{Accel, Backend, BootEnd, BootId, Exec, GuestRoot, Machine, first_line};
use crate::results::{BootDir, ResultsError};

/// Everything that boots need from the host.
#[derive(Debug)]
pub struct Lab {
    own: PathBuf,
    qemu: Option<Qemu>,
    vng: Option<(Vng, Virtiofsd)>,
    cache: PathBuf,
}

/// Why a machine cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A tool is missing.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// The guest image cannot be made.
    #[error(transparent)]
    Initramfs(#[from] InitramfsError),
    /// The kernel's modules cannot be used.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// A program of a suite cannot be packed.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The boot could not be carried out.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A file or directory cannot be made.
    #[error("cannot create `{path}`: {source}")]
    Create {
        /// Which.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// The directory of the boot cannot be made.
    #[error(transparent)]
    Results(#[from] ResultsError),
    /// The kernel does not fit the backend.
    #[error(
        "the kernel `{kernel}` has no bzImage, and virtme-ng boots nothing else\nhint: use `--machine backend=qemu`, or name the bzImage instead of `{image}`"
    )]
    NoBzImage {
        /// Name of the kernel.
        kernel: String,
        /// What it has.
        image: PathBuf,
    },
    /// The boot cannot be put into words for virtme-ng.
    #[error(transparent)]
    Unfit(#[from] virtme::Unfit),
    /// Its root cannot be one.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A root file system was demanded.
    #[error(transparent)]
    RootFs(#[from] NoVirtiofs),
    /// A boot on a lab that was equipped for the host's own kernel.
    #[error("this lab has no QEMU: it was equipped for --local")]
    NotEquipped,
    /// KVM was demanded.
    #[error(transparent)]
    Kvm(#[from] KvmUnavailable),
}

/// A machine that can be started.
#[derive(Debug)]
pub(super) struct Prepared {
    /// The exact command.
    pub(super) command: Cmd,
    pub(super) channels: Channels,
    pub(super) dir: BootDir,
    pub(super) scratch: Scratch,
}

impl Lab {
    /// Looks for what the backend needs.
    ///
    /// # Errors
    ///
    /// Fails when a tool is missing or too old.
    pub fn equip(backend: Backend, cache: &Path) -> Result<Self, ToolError> {
        let (qemu, vng) = match backend {
            Backend::Qemu => (Some(tools::qemu()?), None),
            Backend::VirtmeNg => {
                (Some(tools::qemu()?), Some((tools::vng(cache)?, Virtiofsd::of_this_host())))
            }
            Backend::Local => (None, None),
        };
        Ok(Self { own: tools::own_binary()?, qemu, vng, cache: cache.to_owned() })
    }

    /// First line of `qemu --version`, for the record.
    #[must_use]
    pub fn qemu_version(&self) -> &str {
        self.qemu.as_ref().map_or("none", |qemu| &qemu.version)
    }

    /// First line of `vng --version`, where virtme-ng is used.
    #[must_use]
    pub fn vng_version(&self) -> Option<&str> {
        self.vng.as_ref().map(|(vng, _)| vng.version.as_str())
    }

    fn qemu(&self) -> Result<&Qemu, LabError> {
        self.qemu.as_ref().ok_or(LabError::NotEquipped)
    }

    pub(super) fn nonce(&self) -> Nonce {
        let mut bytes = [0; 16];
        // Not a secret from an attacker on this host, but unlike any other boot's.
        let mut rng = fastrand::Rng::new();
        bytes.fill_with(|| rng.u8(..));
        Nonce::from_bytes(bytes)
    }

    /// Where things are kept between runs.
    pub(super) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Time limits of a boot.
    pub(super) fn limits(&self, measurement: &Measurement<'_>) -> Limits {
        let mut limits = Limits::scaled(measurement.slowdown());
        if qemu::carrier(measurement.decision.accel) == Carrier::Uart {
            limits.diagnosis = None;
        }
        match measurement.machine.backend {
            Backend::Qemu => limits,
            Backend::Local => Limits { monitor: None, ..limits },
            // The host's userland over 9p takes eight to twenty times our boot
            // time, but tests run as fast as elsewhere.
            Backend::VirtmeNg => Limits { boot: limits.boot * 2, ..limits },
        }
    }

    /// Writes the guest image and the plan, opens the sockets, makes the command.
    pub(super) fn prepare(
        &self,
        measurement: &Measurement<'_>,
        plan: &Plan,
        dir: &BootDir,
    ) -> Result<Prepared, LabError> {
        let create_error = |path: &Path| {
            let path = path.to_owned();
            move |source| LabError::Create { path, source }
        };
        dir.create()?;
        let run = self.cache.join("run");
        let scratch = Scratch::new(&run).map_err(create_error(&run))?;
        let channels = ChannelPaths::within(scratch.path());
        let ends = Channels::make(&channels, plan.carrier).map_err(BootError::from)?;
        let plan_path = dir.plan();
        let text =
            serde_json::to_vec_pretty(plan).map_err(io::Error::other).map_err(create_error(&plan_path))?;
        std::fs::write(&plan_path, text).map_err(create_error(&plan_path))?;
        let Machine { cpus, memory, backend, .. } = *measurement.machine;
        let kernel = measurement.kernel;
        let accel = measurement.decision.accel;
        let of_detectors = kernel.info.detectors.iter().flat_map(|detector| detector.cmdline());
        let of_detectors = of_detectors.map(|word| (*word).to_owned());
        let of_limits = hung_task(self.limits(measurement).no_output);
        let of_clock = if accel == Accel::Tcg { tsc::cmdline() } else { None };
        // What the entry says comes last and counts.
        let cmdline: Vec<String> = of_limits
            .into_iter()
            .chain(of_clock)
            .chain(of_detectors)
            .chain(measurement.cmdline.iter().cloned())
            .collect();
        let command = match backend {
            Backend::Qemu => {
                let initrd = scratch.path().join("initrd");
                self.write_initrd(measurement, plan, &initrd)?;
                let launch = qemu::Launch {
                    qemu: &self.qemu()?.path,
                    accel,
                    cpus,
                    memory,
                    kernel: &kernel.image,
                    initrd: &initrd,
                    channels: &channels,
                    cmdline: &cmdline,
                    seed: plan.seed,
                };
                qemu::command(&launch)
            }
            Backend::VirtmeNg => {
                let image = kernel.bzimage().ok_or_else(|| LabError::NoBzImage {
                    kernel: kernel.info.name.to_string(),
                    image: kernel.image.clone(),
                })?;
                let (vng, virtiofsd) = self.vng.as_ref().ok_or(ToolError::Vng)?;
                let (home, share) = (scratch.path().join("home"), scratch.path().join("guest"));
                furnish(&home).map_err(create_error(&home))?;
                let root = measurement.machine.root.as_ref();
                if let Some(root) = root {
                    // It may come from a plan or a session of another host, and virtme-ng makes
                    // a root that is not there.
                    foreign_root::check(root.path())?;
                }
                let environment = pack(&share, &plan_path, root).map_err(create_error(&share))?;
                let (path, user_base) = (tools::path_with(&vng.path), tools::python_user_base());
                let launch = virtme::Launch {
                    vng: &vng.path,
                    version: vng.number,
                    home: &home,
                    user_base: user_base.as_deref(),
                    path: &path,
                    qemu: &self.qemu()?.path,
                    share: &share,
                    rootfs: virtiofsd.choose(measurement.machine.rootfs)?,
                    root: root.map(|root| OtherRoot { root, environment: &environment }),
                    accel,
                    cpus,
                    memory,
                    kernel: &image,
                    channels: &channels,
                    cmdline: &cmdline,
                };
                virtme::command(&launch)?
            }
            Backend::Local => local::command(&self.own, &plan_path, &channels),
        };
        let path = dir.command();
        let line = format!("{}\n", shell_line(&command.argv()));
        std::fs::write(&path, line).map_err(create_error(&path))?;
        let command = command.expendable();
        Ok(Prepared { command, channels: ends, dir: dir.clone(), scratch })
    }

    fn write_initrd(&self, measurement: &Measurement<'_>, plan: &Plan, path: &Path) -> Result<(), LabError> {
        let create_error = |source| LabError::Create { path: path.to_owned(), source };
        let mut programs = Programs::default();
        for planned in &plan.tests {
            let test = measurement.tests.get(planned.id as usize);
            if let Some(Exec::Program(program)) = test.and_then(|test| test.exec.as_ref()) {
                programs.add(program)?;
            }
        }
        if let Some(shell) = &plan.shell {
            programs.add_shell(&shell.command)?;
        }
        let modules = match &measurement.kernel.modules {
            Some(dir) => modules::plan(dir, &wanted_modules(plan))?,
            None => Selection::default(),
        };
        let mut out = BufWriter::new(File::create(path).map_err(create_error)?);
        let init = Path::new(tools::RUNNING_BINARY);
        initramfs::write(&Contents { init, modules: &modules, programs: &programs, plan }, &mut out)?;
        out.flush().map_err(create_error)
    }

    /// Starts the machine and feeds the session until it ends. Gives the time
    /// from start to end.
    pub(super) fn carry_out(
        &self,
        prepared: Prepared,
        seat: Seat,
        session: &mut Session,
        act: &mut dyn FnMut(Duration, Action) -> anyhow::Result<()>,
    ) -> Result<Duration, BootError> {
        let Prepared { command, channels, dir, scratch } = prepared;
        let result = Boot::start(&command, channels, &dir, seat)?.run(session, act);
        drop(scratch);
        result
    }

    /// Chooses the accelerator for a kernel, by booting it where that matters.
    ///
    /// # Errors
    ///
    /// Fails when KVM was demanded and does not work, or when the canary could
    /// not even be started.
    pub fn decide(&self, kernel: &Kernel, machine: &Machine) -> Result<Decision, LabError> {
        let decision =
            accel::decide(machine.accel, &Device::of_this_host(), || self.canary(kernel, machine))?;
        Ok(decision?)
    }

    /// Boots the kernel under KVM with an empty plan, or recalls that this was done.
    fn canary(&self, kernel: &Kernel, machine: &Machine) -> Result<Canary, LabError> {
        let memory = Memory::within(&self.cache);
        let Qemu { path, version } = self.qemu()?;
        let qemu = format!("{} {version}", path.display());
        let key = Memory::key(&accel::host_boot(), &qemu, &kernel.info.identity);
        if let Some(canary) = memory.recall(&key) {
            return Ok(canary);
        }
        let canary = self.fly_canary(kernel, machine)?;
        // Only a hello and a silence speak of KVM; a full disk or Ctrl-C does not.
        // A verdict that cannot be kept is asked for again, nothing worse.
        if canary.speaks_of_kvm() && !crate::interrupt::requested() {
            let _ = memory.keep(&key, &canary);
        }
        Ok(canary)
    }

    fn fly_canary(&self, kernel: &Kernel, machine: &Machine) -> Result<Canary, LabError> {
        let run = self.cache.join("run");
        let logs = Scratch::new(&run).map_err(|source| LabError::Create { path: run, source })?;
        // Of KVM, nobody's files are needed.
        let machine = Machine { backend: Backend::Qemu, root: None, ..machine.clone() };
        let measurement = Measurement {
            kernel,
            cmdline: &[],
            allow: &[],
            tests: &[],
            turns: 1..=1,
            retries: 0,
            machine: &machine,
            decision: Decision { accel: Accel::Kvm, reason: String::new() },
            seed: 0,
            run_dir: logs.path(),
        };
        let patience_ms = u64::try_from(CANARY_LIMIT.as_millis()).unwrap_or(u64::MAX);
        let plan = Plan {
            protocol: PROTOCOL,
            nonce: self.nonce(),
            seed: 0,
            patience_ms,
            carrier: Carrier::VirtioSerial,
            tests: Vec::new(),
            shell: None,
        };
        let dir = BootDir::new(logs.path(), BootId(0));
        let prepared = self.prepare(&measurement, &plan, &dir)?;
        // A canary that does not sing is buried at once: KVM is known not to work.
        let limits = Limits {
            boot: CANARY_LIMIT,
            last_words: Duration::from_millis(200),
            monitor: None,
            terminate: Duration::ZERO,
            ..Limits::scaled(1.0)
        };
        let mut session = Session::new(plan.nonce.clone(), Vec::new(), limits);
        let (mut hello, mut end) = (None, None);
        self.carry_out(prepared, Seat::Any, &mut session, &mut |at, action| {
            match action {
                Action::Hello(_) => hello = Some(at),
                Action::Ended(how) => end = Some(how),
                _ => {}
            }
            Ok(())
        })?;
        Ok(match (hello, end) {
            (Some(at), _) => Canary::Sang { after_ms: u64::try_from(at.as_millis()).unwrap_or(u64::MAX) },
            (None, Some(BootEnd::NotBooted { reason, .. })) => Canary::Died { reason: first_line(&reason) },
            (None, _) => Canary::Died { reason: "it ended before it said hello".to_owned() },
        })
    }
}

/// Makes a home for virtme-ng in which its configuration says nothing.
fn furnish(home: &Path) -> io::Result<()> {
    let (path, text) = virtme::CONFIGURATION;
    let path = home.join(path);
    std::fs::create_dir_all(path.parent().unwrap_or(home))?;
    std::fs::write(path, text)
}

/// Puts together what a guest of virtme-ng needs of us: the binary that runs, even if
/// its file was replaced meanwhile, and the plan. Gives what has to be set where it starts.
fn pack(share: &Path, plan: &Path, root: Option<&GuestRoot>) -> io::Result<String> {
    use rustix::fs::{AtFlags, CWD, linkat};
    std::fs::create_dir_all(share)?;
    std::fs::copy(plan, share.join(virtme::PLAN))?;
    if root.is_some() {
        return foreign_root::pack(share);
    }
    let agent = share.join(virtme::AGENT);
    // A link costs nothing; a copy works where the binary is elsewhere or gone.
    match linkat(CWD, tools::RUNNING_BINARY, CWD, &agent, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => {}
        Err(_) => drop(std::fs::copy(tools::RUNNING_BINARY, &agent)?),
    }
    Ok(String::new())
}

/// Has the kernel complain of a task that is stuck before we lose patience: the
/// limit of silence is the longest that a task may sleep where nothing wakes it.
/// `khungtaskd` looks every so many seconds (kernel/hung_task.c).
fn hung_task(no_output: Duration) -> [String; 2] {
    let timeout = (no_output.as_secs() * 6 / 10).max(1);
    [
        format!("sysctl.kernel.hung_task_timeout_secs={timeout}"),
        format!("sysctl.kernel.hung_task_check_interval_secs={}", (timeout / 4).max(1)),
    ]
}

/// Kernel modules that the workloads of a plan name, and those with KUnit tests.
fn wanted_modules(plan: &Plan) -> BTreeSet<&str> {
    let workloads = plan.tests.iter().filter_map(|test| kregress_guest::workloads::find(&test.workload));
    let of_kunit = plan.tests.iter().filter(|test| test.workload == KUNIT);
    let of_kunit = of_kunit.filter_map(|test| match test.params.get("module") {
        Some(Value::Text(module)) => Some(module.as_str()),
        Some(Value::Int(_)) | None => None,
    });
    workloads.flat_map(|workload| workload.info.modules).copied().chain(of_kunit).collect()
}
