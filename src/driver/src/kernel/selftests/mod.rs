//! Selftests of the tree that a kernel is built from: made once for a tree, a
//! compiler and a list of programs, and kept beside the kernels.
//!
//! The selftests' Makefiles write wherever they like, some of them beside their
//! sources. So what they need of a tree is copied first, and the copy is built in
//! place: the tree is read and never written, and scripts find their neighbours.
//!
//! Only what is asked for is built: a collection holds programs that need
//! libraries, compilers or generators that few hosts have. What cannot be built is
//! remembered with its first error, and stops nothing else.
//!
//! ```text
//! selftests/KEY/meta.json  build.log  tools/testing/selftests/COLLECTION/  tools/net/ynl/  Documentation/netlink/
//! ```

mod lacking;
mod needs;
mod outcome;
mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::cache::{self, Lock, Locked};
use super::compiler::{self, Compiler};
use super::diagnose;
use super::env::BuildEnv;
use super::error::{At as _, BuildFailure, KernelProblem};
use super::hash::Digest;
use super::make::{self, Make};
use super::run::{Log, RunError};
use super::source::{self, Tree};
use crate::model::{BuildEvent, KernelSpec, Source};
pub use lacking::lacking;
use needs::Makes;
use shelf::{Key, Shelf};

/// Where selftests lie in a tree.
const SELFTESTS: &str = "tools/testing/selftests";

/// What the selftests' Makefiles read of a tree, apart from themselves.
const BESIDES: [&str; 8] = [
    "tools/arch",
    "tools/build",
    "tools/include",
    "tools/lib",
    "tools/net",
    "tools/scripts",
    "scripts",
    "Documentation/netlink",
];

/// What of it is of no use any more when all is built. Tests in Python read
/// `tools/net/ynl` and the specifications that belong to it.
const SPENT: [&str; 7] =
    ["tools/arch", "tools/build", "tools/include", "tools/lib", "tools/scripts", "scripts", "usr"];

/// Programs by their collection.
pub type Wanted = BTreeMap<String, BTreeSet<String>>;

/// Selftests of one kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selftests {
    collections: BTreeMap<String, Collection>,
}

/// A collection, as far as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    /// Where its programs lie, and run.
    pub directory: PathBuf,
    /// What has become of each.
    pub programs: BTreeMap<String, Standing>,
}

/// What has become of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is there. Programs that it seems to start, and that are not, by their
    /// names with the first error.
    Ready(BTreeMap<String, String>),
    /// The tree has no such program.
    Unknown,
    /// It could not be built: the first error.
    Failed(String),
}

impl FromIterator<(String, Collection)> for Selftests {
    fn from_iter<T: IntoIterator<Item = (String, Collection)>>(collections: T) -> Self {
        Self { collections: collections.into_iter().collect() }
    }
}

impl Selftests {
    /// A collection, if the tree has it.
    #[must_use]
    pub fn collection(&self, name: &str) -> Option<&Collection> {
        self.collections.get(name)
    }
}

/// Builds what is wanted, or finds it.
pub(super) fn obtain(
    spec: &KernelSpec,
    env: &BuildEnv,
    progress: &mut dyn FnMut(BuildEvent),
) -> Result<Selftests, KernelProblem> {
    if matches!(spec.source, Source::Image { .. } | Source::Deb(_)) {
        return Err(KernelProblem::NoSelftests);
    }
    env.cache.create()?;
    let tree = source::identify(&spec.source, env)?;
    let compiler = Compiler::probe(&env.tools, &env.cache.hasher())?;
    let mut selftests = Selftests::default();
    for (collection, programs) in &env.selftests {
        let mut order = Order { spec, env, tree: &tree, compiler: &compiler, collection, programs };
        if let Some(found) = order.obtain(progress)? {
            selftests.collections.insert(collection.clone(), found);
        }
    }
    Ok(selftests)
}

/// One collection of one tree.
struct Order<'a> {
    spec: &'a KernelSpec,
    env: &'a BuildEnv,
    tree: &'a Tree,
    compiler: &'a Compiler,
    collection: &'a str,
    programs: &'a BTreeSet<String>,
}

impl Order<'_> {
    fn obtain(&mut self, progress: &mut dyn FnMut(BuildEvent)) -> Result<Option<Collection>, KernelProblem> {
        let shelf = Shelf::new(self.env.cache.selftests());
        let key = Key {
            source: &self.tree.identity,
            compiler: &self.compiler.identity(),
            flags: &make::FLAGS,
            collection: self.collection,
            programs: self.programs,
        }
        .digest();
        if let Some(found) = shelf.lookup(key) {
            return Ok(self.placed(&shelf.entry(key), found));
        }
        compiler::check_tools(&self.env.tools)?;
        let mut step = |what: String| progress(BuildEvent::Step { kernel: self.spec.name.clone(), what });
        let _lock = self.lock(&shelf.lock(key), &mut step)?;
        if let Some(found) = shelf.lookup(key) {
            return Ok(self.placed(&shelf.entry(key), found));
        }
        let made = self.make(&shelf, key, &mut step)?;
        self.tree.check_unchanged()?;
        let (staged, found) = made;
        shelf.commit(staged, key, &found)?;
        Ok(self.placed(&shelf.entry(key), found))
    }

    fn lock(&self, path: &Path, step: &mut dyn FnMut(String)) -> Result<Lock, KernelProblem> {
        let waiting = "waiting for another build of this tree";
        match cache::lock(path, self.env.interrupted, || step(waiting.to_owned()))? {
            Locked::AtOnce(lock) | Locked::AfterWaiting(lock) => Ok(lock),
            Locked::Interrupted => Err(RunError::Interrupted.while_doing(waiting)),
        }
    }

    fn placed(&self, entry: &Path, found: Option<BTreeMap<String, Standing>>) -> Option<Collection> {
        Some(Collection { directory: entry.join(SELFTESTS).join(self.collection), programs: found? })
    }

    /// Copies and builds. The second is none where the tree has no such collection.
    fn make(
        &self,
        shelf: &Shelf,
        key: Digest,
        step: &mut dyn FnMut(String),
    ) -> Result<(tempfile::TempDir, Option<BTreeMap<String, Standing>>), KernelProblem> {
        let Self { env, tree, collection, .. } = self;
        let family = env.cache.family(&tree.family).join("lock");
        // A kernel may be built meanwhile, for minutes, from a tree that stays as it is.
        let _lock = tree.shares_its_directory().then(|| self.lock(&family, step)).transpose()?;
        let source = tree.prepare(env, step)?;
        let staged = shelf.stage()?;
        if !source.join(SELFTESTS).join(collection).join("Makefile").is_file() {
            return Ok((staged, None));
        }
        step(format!("building selftests of `{collection}`"));
        let plain = collection.replace('/', "_");
        let log = env.cache.logs().join(format!("selftests-{plain}-{}.log", key.short()));
        let mut log = Log::create(log)?;
        let root = staged.path().join("tree");
        self.copy(&source, &root, &mut log)?;
        self.headers(&source, &root, &mut log)?;
        let directory = root.join(SELFTESTS).join(collection);
        let lists = self.lists(&directory)?;
        let makes = Makes::of(self.programs, &lists, |name| {
            fs::read(directory.join(name)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        });
        let failures = self.compile(&directory, &makes.targets, &mut log)?;
        for spent in SPENT {
            cache::remove(&root.join(spent))?;
        }
        let is_there = |name: &str| directory.join(name).is_file();
        let found = outcome::standings(self.programs, &makes, &failures, is_there);
        for part in ["tools", "Documentation"] {
            if root.join(part).exists() {
                fs::rename(root.join(part), staged.path().join(part)).at("create", staged.path())?;
            }
        }
        cache::remove(&root)?;
        fs::copy(log.path(), staged.path().join("build.log")).at("copy", log.path())?;
        Ok((staged, Some(found)))
    }

    /// Copies what is built and what is read for it.
    fn copy(&self, source: &Path, root: &Path, log: &mut Log) -> Result<(), KernelProblem> {
        for part in BESIDES.into_iter().chain([SELFTESTS]) {
            let (from, to) = (source.join(part), root.join(part));
            let Some(above) = to.parent().filter(|_| from.exists()) else { continue };
            cache::create_dir(above)?;
            let cmd = self.env.tools.cmd("cp").args(["-a", "--reflink=auto"]).arg(from).arg(above);
            let status = log.run(&cmd, self.env.interrupted, &mut |_| ());
            let status = status.map_err(|error| error.while_doing("copying selftests"))?;
            self.check(status, "copying selftests", source, log)?;
        }
        // Some Makefiles ask the tree for its version.
        fs::copy(source.join("Makefile"), root.join("Makefile")).at("copy", source.join("Makefile"))?;
        Ok(())
    }

    /// Puts the kernel's headers for user space to where selftests look for them.
    fn headers(&self, source: &Path, root: &Path, log: &mut Log) -> Result<(), KernelProblem> {
        let build = root.join("headers");
        cache::create_dir(&build)?;
        let make = Make { env: self.env, compiler: self.compiler, source, build: &build };
        let status = make.headers(log).map_err(|error| error.while_doing("making headers"))?;
        self.check(status, "making headers", source, log)?;
        let usr = root.join("usr");
        fs::rename(build.join("usr"), &usr).at("create", &usr)?;
        cache::remove(&build)?;
        Ok(())
    }

    /// What the collection's Makefile says that it makes.
    fn lists(&self, directory: &Path) -> Result<needs::Lists, KernelProblem> {
        let cmd = make::selftests(self.env, self.compiler, directory)
            .arg(format!("--eval={}", needs::PRINT))
            .arg(needs::GOAL);
        // A Makefile that cannot even be read makes nothing.
        Ok(needs::Lists::parse(&cmd.read().unwrap_or_default()))
    }

    /// Builds each target that can be built. Gives the first error of each other one.
    fn compile(
        &self,
        directory: &Path,
        targets: &BTreeSet<String>,
        log: &mut Log,
    ) -> Result<BTreeMap<String, String>, KernelProblem> {
        if targets.is_empty() {
            return Ok(BTreeMap::new());
        }
        let output = directory.display();
        let cmd = make::selftests(self.env, self.compiler, directory)
            .args(["--keep-going", "--output-sync=target"])
            .arg(format!("-j{}", self.env.jobs))
            .args(targets.iter().map(|target| format!("{output}/{target}")));
        let mut lines = Vec::new();
        let status = log.run(&cmd, self.env.interrupted, &mut |more| lines.extend_from_slice(more));
        let status = status.map_err(|error| error.while_doing("building selftests"))?;
        match status.code() {
            Some(_) => Ok(outcome::failures(&lines)),
            // Killed: nothing is known of any of them.
            None => self.check(status, "building selftests", directory, log).map(|()| BTreeMap::new()),
        }
    }

    fn check(
        &self,
        status: std::process::ExitStatus,
        doing: &'static str,
        source: &Path,
        log: &Log,
    ) -> Result<(), KernelProblem> {
        if status.success() {
            return Ok(());
        }
        let diagnosis = diagnose::diagnose(&log.text()?, source, source);
        let log = log.path().to_owned();
        Err(KernelProblem::Build(Box::new(BuildFailure { doing, diagnosis, status, log })))
    }
}
