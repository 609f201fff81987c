//! Builds a kernel from source, unless it was built before.
//!
//! Two questions are asked of the store. Was *this request* answered before: the
//! same source, fragments, base and compiler? Then nothing is run. If not, the
//! tree is configured, and the second question is whether *this kernel* is there:
//! other words may have come to the same configuration.

mod again;
mod recipe;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

pub(super) use again::make_again;
use recipe::Recipe;

use super::cache::{self, Lock, Locked};
use super::compiler::{self, Compiler};
use super::detectors;
use super::diagnose;
use super::env::BuildEnv;
use super::error::{At as _, BuildFailure, FileError, KernelProblem};
use super::hash::{self, Digest};
use super::image::{self, ImageFormat};
use super::kconfig::{self, ConfigValue, DotConfig, KconfigTree, Lacking};
use super::make::{self, Make};
use super::progress::{DEFAULT_OBJECTS, Meter};
use super::run::{Log, RunError};
use super::source::{self, Tree};
use super::store::{Answer, Asked, Entry, Inputs, Meta, Modules, SOURCES};
use super::warnings::{Ledger, Snapshot, WARNINGS};
use super::{ImageError, Kernel, sources};
use crate::clock;
use crate::model::{BuildEvent, KernelInfo, KernelSpec};

/// The architecture's name in the kernel tree.
const SRCARCH: &str = "x86";

/// Builds the kernel of an entry, or finds it in the store.
pub(super) fn build(
    spec: &KernelSpec,
    env: &BuildEnv,
    progress: &mut dyn FnMut(BuildEvent),
) -> Result<Kernel, KernelProblem> {
    let mut build = Build::ask(spec, env, progress)?;
    if let Some(kernel) = build.stored() {
        return Ok(kernel);
    }
    compiler::check_tools(&env.tools)?;
    let (_lock, was_busy) = build.lock()?;
    if was_busy && let Some(kernel) = build.stored() {
        // The one that we waited for has built just this.
        return Ok(kernel);
    }
    build.build()
}

/// Finds the kernel of an entry in the store, and builds nothing.
pub(super) fn stored(spec: &KernelSpec, env: &BuildEnv) -> Result<Option<Kernel>, KernelProblem> {
    Ok(Build::ask(spec, env, &mut |_| ())?.stored())
}

/// Name of the request that an entry comes to.
pub(super) fn request(spec: &KernelSpec, env: &BuildEnv) -> Result<String, KernelProblem> {
    Ok(Build::ask(spec, env, &mut |_| ())?.request.to_string())
}

/// Where a kernel came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    Stored,
    Built,
}

struct Build<'a> {
    spec: &'a KernelSpec,
    env: &'a BuildEnv,
    progress: &'a mut dyn FnMut(BuildEvent),
    recipe: Recipe,
    tree: Tree,
    compiler: Compiler,
    /// Its name if no symbol may be lacking.
    request: Digest,
    /// Its name if symbols may be lacking.
    lenient: Digest,
}

impl<'a> Build<'a> {
    /// Finds out what is asked for, without building anything.
    fn ask(
        spec: &'a KernelSpec,
        env: &'a BuildEnv,
        progress: &'a mut dyn FnMut(BuildEvent),
    ) -> Result<Self, KernelProblem> {
        let recipe = Recipe::read(spec, env)?;
        env.cache.create()?;
        let tree = source::identify(&spec.source, env)?;
        let compiler = Compiler::probe(&env.tools, &env.cache.hasher())?;
        let (fragments, base, identity) = (recipe.asked(), recipe.base_digest(), compiler.identity());
        let request = |lacking| {
            let (fragments, base, compiler) = (fragments.as_str(), base.as_deref(), identity.as_str());
            Asked { source: &tree.identity, fragments, base, compiler, flags: &make::FLAGS, lacking }
                .request()
        };
        let (request, lenient) = (request(None), request(Some("recorded")));
        Ok(Self { spec, env, progress, recipe, tree, compiler, request, lenient })
    }

    /// The answer to just this request, if it was given before.
    fn stored(&self) -> Option<Kernel> {
        let store = self.env.cache.store();
        // What passed the stricter gate passes both.
        let (entry, answer) = store.recall(self.request).or_else(|| match self.env.lacking {
            Lacking::Refused => None,
            Lacking::Recorded => store.recall(self.lenient),
        })?;
        Some(self.kernel(&entry, &answer, Found::Stored))
    }

    fn step(&mut self, what: impl Into<String>) {
        (self.progress)(BuildEvent::Step { kernel: self.spec.name.clone(), what: what.into() });
    }

    fn family(&self) -> PathBuf {
        self.env.cache.family(&self.tree.family)
    }

    /// One build at a time in a family: the work tree is shared.
    fn lock(&mut self) -> Result<(Lock, bool), KernelProblem> {
        let path = self.family().join("lock");
        let waiting = format!("waiting for another build in `{}`", self.family().display());
        let locked = cache::lock(&path, self.env.interrupted, || self.step(waiting.clone()))?;
        match locked {
            Locked::AtOnce(lock) => Ok((lock, false)),
            Locked::AfterWaiting(lock) => Ok((lock, true)),
            Locked::Interrupted => Err(RunError::Interrupted.while_doing(waiting)),
        }
    }

    fn build(mut self) -> Result<Kernel, KernelProblem> {
        let path = self.log_path();
        self.with_make(path, Self::answer)
    }

    /// Puts the source into place, and keeps what is heard of its warnings while
    /// `work` runs make, however that ends.
    fn with_make<T>(
        &mut self,
        log: PathBuf,
        work: impl FnOnce(&mut Self, &Make<'_>, &mut Heard) -> Result<T, KernelProblem>,
    ) -> Result<T, KernelProblem> {
        let (env, spec) = (self.env, self.spec);
        let progress = &mut *self.progress;
        let source = self.tree.prepare(env, &mut |what| {
            progress(BuildEvent::Step { kernel: spec.name.clone(), what });
        })?;
        let directory = self.family().join(format!("{}{}", self.compiler.directory(), self.recipe.apart()));
        cache::create_dir(&directory)?;
        let log = Log::create(log)?;
        let mut heard = Heard { log, ledger: Ledger::begin(&source, &directory)? };
        let compiler = self.compiler.clone();
        let make = Make { env, compiler: &compiler, source: &source, build: &directory };
        let done = work(self, &make, &mut heard);
        heard.ledger.end();
        done
    }

    /// Configures, and compiles unless just this kernel is there.
    fn answer(&mut self, make: &Make<'_>, heard: &mut Heard) -> Result<Kernel, KernelProblem> {
        self.step("configuring");
        let config = self.configure(make, heard)?;
        let resolved = DotConfig::parse(&config)
            .map_err(|source| KernelProblem::Config { path: make.build.join(".config"), source })?;
        let load = || KconfigTree::load(make.source, SRCARCH);
        let report = kconfig::gate(&self.recipe.merged, &resolved, self.env.lacking, load)?;
        let request = match report.needs() {
            Lacking::Refused => self.request,
            Lacking::Recorded => self.lenient,
        };
        let absent = report.absent.iter().map(|it| format!("{}: {}", it.symbol, it.why)).collect();
        let answer = Answer { key: self.key(&config), absent, unverified: report.unverified };
        let store = self.env.cache.store();
        let (entry, found) = match store.lookup(answer.key) {
            Some(entry) => (entry, Found::Stored),
            None => (self.make(make, &resolved, &config, answer.key, heard)?, Found::Built),
        };
        store.remember(request, &answer)?;
        Ok(self.kernel(&entry, &answer, found))
    }

    /// Key of the kernel that a configuration of this source comes to.
    fn key(&self, config: &str) -> Digest {
        let compiler = self.compiler.identity();
        Inputs { source: &self.tree.identity, config, compiler: &compiler, flags: &make::FLAGS }.key()
    }

    /// One log per request: a later failure of another kernel does not hide it.
    fn log_path(&self) -> PathBuf {
        let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' };
        let name: String = self.spec.name.0.chars().map(plain).take(60).collect();
        self.env.cache.logs().join(format!("{name}-{}.log", self.request.short()))
    }

    /// Writes the `.config` and gives its text.
    fn configure(&self, make: &Make<'_>, heard: &mut Heard) -> Result<String, KernelProblem> {
        let configured = self.configured(make, &mut heard.log);
        heard.listen()?;
        configured
    }

    fn configured(&self, make: &Make<'_>, log: &mut Log) -> Result<String, KernelProblem> {
        let wanted = self.recipe.merged.to_allconfig();
        let dot_config = make.build.join(".config");
        if let Some(base) = &self.recipe.base {
            // The last of several lines for a symbol counts.
            fs::write(&dot_config, format!("{}\n{wanted}", base.text)).at("write", &dot_config)?;
        } else {
            let path = make.build.with_extension("wanted");
            fs::write(&path, wanted).at("write", &path)?;
            let status = make.allnoconfig(&path, log).map_err(|error| error.while_doing("configuring"))?;
            self.check(status, "configuring", make, log)?;
        }
        let status = make.olddefconfig(log).map_err(|error| error.while_doing("configuring"))?;
        self.check(status, "configuring", make, log)?;
        let text = fs::read(&dot_config).at("read", &dot_config)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Turns make's failure into its first error.
    fn check(
        &self,
        status: ExitStatus,
        doing: &'static str,
        make: &Make<'_>,
        log: &Log,
    ) -> Result<(), KernelProblem> {
        if status.success() {
            return Ok(());
        }
        let diagnosis = diagnose::diagnose(&log.text()?, make.source, make.build);
        let log = log.path().to_owned();
        Err(KernelProblem::Build(Box::new(BuildFailure { doing, diagnosis, status, log })))
    }

    /// Compiles and stores.
    fn make(
        &mut self,
        make: &Make<'_>,
        resolved: &DotConfig,
        config: &str,
        key: Digest,
        heard: &mut Heard,
    ) -> Result<Entry, KernelProblem> {
        let is_set = |symbol: &str| resolved.get(symbol) == Some(&ConfigValue::Yes);
        let modules = modules_of(resolved);
        let elapsed = self.compile(make, modules, heard)?;
        self.tree.check_unchanged()?;

        self.step("storing");
        let (ledger, log) = (&heard.ledger, &mut heard.log);
        let staged = self.env.cache.store().stage()?;
        let strip = if is_set("DEBUG_INFO") { Strip::Debug } else { Strip::Nothing };
        self.copy_vmlinux(make, staged.path(), strip, log)?;
        copy_made(&make.build.join("arch/x86/boot/bzImage"), &staged.path().join("bzImage"), log)?;
        fs::write(staged.path().join("config"), config).at("write", staged.path())?;
        if let Some(files) = sources::of_build(make.build, make.source, modules) {
            let path = staged.path().join(SOURCES);
            fs::write(&path, sources::to_text(&files)).at("write", &path)?;
        }
        let linked = sources::linked(make.build, modules);
        Snapshot::of(ledger, linked.as_ref()).write(&staged.path().join(WARNINGS))?;
        let release = read_release(make.build, log)?;
        let modules = match modules {
            Modules::Some => self.install_modules(make, staged.path(), &release, log)?,
            Modules::None => Modules::None,
        };
        let format = match image::inspect(&staged.path().join(ImageFormat::Vmlinux.name())) {
            Ok(info) => info.format,
            // Without CONFIG_PVH only the other one boots.
            Err(ImageError::NoPvh { .. }) => {
                image::inspect(&staged.path().join(ImageFormat::BzImage.name()))?.format
            }
            Err(error) => return Err(error.into()),
        };
        let image = staged.path().join(format.name());
        let image = hash::of_file(&image).at("read", &image)?;
        fs::copy(log.path(), staged.path().join("build.log")).at("copy", log.path())?;
        let modules_digest = match modules {
            Modules::Some => Some(hash::of_tree(&staged.path().join("lib/modules"))?),
            Modules::None => None,
        };
        let meta = Meta {
            release,
            format,
            modules,
            modules_digest,
            compiler: self.compiler.identity(),
            config: Digest::of(config),
            image,
            seconds: elapsed.as_secs(),
        };
        Ok(self.env.cache.store().commit(staged, key, &meta)?)
    }

    fn compile(
        &mut self,
        make: &Make<'_>,
        modules: Modules,
        heard: &mut Heard,
    ) -> Result<Duration, KernelProblem> {
        self.step("compiling");
        let history = History::new(self.env, make.build, &self.recipe);
        let mut meter = history.meter();
        let start = clock::now();
        let kernel = self.spec.name.clone();
        let progress = &mut *self.progress;
        let below_build = format!("{}/", make.build.display());
        let mut told = None;
        let made = make.images(modules, &mut heard.log, &mut |lines| {
            lines.iter().for_each(|line| meter.line(line));
            let elapsed = start.elapsed();
            // The clock on the screen goes on while the linker is silent.
            let news = (meter.done(), elapsed.as_secs());
            if told.replace(news) != Some(news) {
                progress(BuildEvent::Objects {
                    kernel: kernel.clone(),
                    done: meter.done(),
                    estimated: meter.estimated(),
                    elapsed,
                    line: meter.last_line().replace(&below_build, ""),
                });
            }
        });
        let ended_well = matches!(&made, Ok(status) if status.success());
        history.record(&meter, if ended_well { Ended::Well } else { Ended::Early });
        heard.listen()?;
        let status = made.map_err(|error| error.while_doing("compiling"))?;
        self.check(status, "compiling", make, &heard.log)?;
        Ok(start.elapsed())
    }

    fn copy_vmlinux(
        &self,
        make: &Make<'_>,
        entry: &Path,
        strip: Strip,
        log: &Log,
    ) -> Result<(), KernelProblem> {
        let (from, to) = (make.build.join("vmlinux"), entry.join("vmlinux"));
        match strip {
            Strip::Nothing => copy_made(&from, &to, log),
            // Ten times the size, and QEMU would have to read past it.
            Strip::Debug if from.exists() => {
                let cmd = self.env.tools.cmd("strip").arg("--strip-debug").arg("-o").arg(&to).arg(&from);
                cmd.read()?;
                copy_made(&from, &entry.join(DEBUG_INFO), log)
            }
            Strip::Debug => Err(KernelProblem::Unmade { path: from, log: log.path().to_owned() }),
        }
    }

    fn install_modules(
        &mut self,
        make: &Make<'_>,
        entry: &Path,
        release: &str,
        log: &mut Log,
    ) -> Result<Modules, KernelProblem> {
        let status =
            make.install_modules(entry, log).map_err(|error| error.while_doing("installing modules"))?;
        self.check(status, "installing modules", make, log)?;
        let directory = entry.join("lib/modules").join(release);
        if !directory.is_dir() {
            return Ok(Modules::None);
        }
        // They lead into the build directory, which will soon hold another kernel.
        for link in ["build", "source"] {
            cache::remove(&directory.join(link))?;
        }
        Ok(Modules::Some)
    }

    fn kernel(&self, entry: &Entry, answer: &Answer, found: Found) -> Kernel {
        let mut facts = self.tree.facts.clone();
        let mut fact = |name: &str, value: String| facts.insert(name.to_owned(), value);
        fact("compiler", self.compiler.version.clone());
        fact("config", entry.meta.config.to_string());
        fact("image-sha256", entry.meta.image.to_string());
        fact("format", entry.meta.format.name().to_owned());
        fact("build-seconds", entry.meta.seconds.to_string());
        fact(
            "store",
            match found {
                Found::Stored => "hit",
                Found::Built => "built",
            }
            .to_owned(),
        );
        let fragments: Vec<_> = self.spec.fragments.iter().map(ToString::to_string).collect();
        fact("fragments", fragments.join(" "));
        fact("config-asked", self.recipe.shape().short());
        if !answer.absent.is_empty() {
            fact("config-absent", answer.absent.join("; "));
        }
        if let Some(unverified) = &answer.unverified {
            fact("config-unverified", unverified.clone());
        }
        if let Some(base) = &self.recipe.base {
            fact("base-config", base.path.display().to_string());
        }
        let image = entry.image();
        Kernel {
            info: KernelInfo {
                name: self.spec.name.clone(),
                image: image.clone(),
                identity: entry.key.to_string(),
                release: Some(entry.meta.release.clone()),
                detectors: detectors::of(Some(&entry.config())),
                facts,
            },
            image,
            format: entry.meta.format,
            modules: entry.modules(),
            config: Some(entry.config()),
            sources: entry.sources(),
            warnings: Some(entry.warnings()),
            selftests: None,
            image_digest: entry.boots().map(|digest| digest.to_string()),
        }
    }
}

/// A log of make, and what was heard in it.
#[derive(Debug)]
struct Heard {
    log: Log,
    ledger: Ledger,
}

impl Heard {
    fn listen(&mut self) -> Result<(), FileError> {
        self.ledger.hear(&self.log.text()?);
        Ok(())
    }
}

fn modules_of(resolved: &DotConfig) -> Modules {
    match resolved.get("MODULES") {
        Some(ConfigValue::Yes) => Modules::Some,
        _ => Modules::None,
    }
}

/// `vmlinux` with its debug information, beside the one that is booted: for the
/// lines of stack traces.
const DEBUG_INFO: &str = "vmlinux.debug";

/// What is taken out of `vmlinux`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strip {
    Nothing,
    Debug,
}

/// Copies something that make made.
fn copy_made(from: &Path, to: &Path, log: &Log) -> Result<(), KernelProblem> {
    match fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(KernelProblem::Unmade { path: from.to_owned(), log: log.path().to_owned() })
        }
        Err(source) => Err(FileError { action: "copy", path: from.to_owned(), source }.into()),
    }
}

fn read_release(build: &Path, log: &Log) -> Result<String, KernelProblem> {
    let path = build.join("include/config/kernel.release");
    match fs::read_to_string(&path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(_) => Err(KernelProblem::Unmade { path, log: log.path().to_owned() }),
    }
}

/// How a build ended, as far as counting objects goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    Early,
}

/// Objects of earlier builds, for the estimate. That it cannot be read or
/// written costs the estimate and nothing else.
#[derive(Debug)]
struct History {
    /// Objects of the last whole build with this configuration.
    whole: PathBuf,
    /// Objects of the unfinished build in this directory.
    unfinished: PathBuf,
    /// Whether the directory holds nothing that was finished.
    is_cold: bool,
    default: u64,
}

impl History {
    fn new(env: &BuildEnv, build: &Path, recipe: &Recipe) -> Self {
        Self {
            whole: env.cache.estimates().join(recipe.shape().short()),
            unfinished: build.with_extension("objects"),
            is_cold: !build.join("vmlinux").exists(),
            // Nobody knows the size of somebody else's configuration.
            default: if recipe.base.is_none() { DEFAULT_OBJECTS } else { 0 },
        }
    }

    fn meter(&self) -> Meter {
        let number = |path: &Path| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
        if self.is_cold {
            Meter::new(number(&self.unfinished).unwrap_or(0), number(&self.whole).unwrap_or(self.default))
        } else {
            // How much of a finished build a change touches, only make knows.
            Meter::new(0, 0)
        }
    }

    fn record(&self, meter: &Meter, ended: Ended) {
        if !self.is_cold {
            return;
        }
        let write = |path: &Path, number: u64| {
            if let Some(parent) = path.parent() {
                let _ = fs::create_dir_all(parent);
            }
            let _ = fs::write(path, format!("{number}\n"));
        };
        match ended {
            Ended::Well => {
                write(&self.whole, meter.done());
                let _ = fs::remove_file(&self.unfinished);
            }
            Ended::Early => write(&self.unfinished, meter.done()),
        }
    }
}

#[cfg(test)]
mod tests;
