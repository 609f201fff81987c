//! `kregress.yaml`: kernels, the default kernel, the default machine; what it
//! allows is read by `allow`.
//!
//! Pure: from text to model. Whether a tree exists is seen when it is needed.

use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::allow::{self, RawAllow};
use super::error::{ConfigError, PathError, Problem};
use super::is_name;
use super::machine::MachineOptions;
use super::paths::Base;
use super::value::{self, ValueError};
use super::yaml::{Document, Entries, Path, Scalar};
use crate::model::{AllowRule, FragmentName, KernelName, KernelSpec, Machine, Source};

/// Merged where an entry names no fragments.
pub(super) const DEFAULT_FRAGMENT: &str = "base";

/// Kinds of kernels that are built, for messages.
const BUILT: &str = "`git`, `directory` and `tarball`";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a mapping with `version` and `kernels`")]
pub(super) struct RawProject {
    #[expect(dead_code, reason = "judged by `Document` before the struct is filled")]
    version: IgnoredAny,
    machine: Option<RawMachine>,
    default_kernel: Option<String>,
    kernels: Entries<RawKernel>,
    #[serde(default)]
    allow: Vec<RawAllow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", expecting = "a mapping like `{cpus: 2, memory: 1G}`")]
pub(super) struct RawMachine {
    accel: Option<Scalar>,
    backend: Option<Scalar>,
    cpus: Option<Scalar>,
    memory: Option<Scalar>,
    rootfs: Option<Scalar>,
    root: Option<Scalar>,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    expecting = "a mapping with a source, like `{git: ~/src/linux}`"
)]
pub(super) struct RawKernel {
    git: Option<Scalar>,
    revision: Option<Scalar>,
    directory: Option<Scalar>,
    tarball: Option<Scalar>,
    image: Option<Scalar>,
    modules: Option<Scalar>,
    config: Option<Scalar>,
    deb: Option<Scalar>,
    fragments: Option<Vec<Scalar>>,
    base_config: Option<Scalar>,
    cmdline: Option<Vec<Scalar>>,
}

/// What `kregress.yaml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ProjectFile {
    pub(super) kernels: Vec<KernelSpec>,
    pub(super) default_kernel: KernelName,
    pub(super) machine: Machine,
    pub(super) allow: Vec<AllowRule>,
}

/// Reads `kregress.yaml`; `fragments` are the names of those that exist.
///
/// # Errors
///
/// The first thing that is wrong, with its place.
pub(super) fn parse(
    file: &str,
    text: &str,
    base: &Base,
    fragments: &[String],
) -> Result<ProjectFile, ConfigError> {
    let document = Document::read(file, text)?;
    let raw: RawProject = document.parse()?;
    let reader = Reader { document: &document, base, fragments };
    let machine = raw.machine.as_ref().map_or(Ok(MachineOptions::default()), |raw| reader.machine(raw))?;
    let kernels =
        raw.kernels.0.iter().map(|(name, raw)| reader.kernel(name, raw)).collect::<Result<Vec<_>, _>>()?;
    if kernels.is_empty() {
        let problem = Problem::NothingIn { path: "kernels".into(), hint: "name at least one kernel" };
        return Err(document.error(&Path::root().key("kernels"), problem));
    }
    let default_kernel = default_kernel(&document, raw.default_kernel, &kernels)?;
    let allow = allow::rules(&document, &raw.allow)?;
    Ok(ProjectFile { kernels, default_kernel, machine: machine.over(Machine::default()), allow })
}

fn property<T>(
    document: &Document<'_>,
    at: &Path,
    raw: &Option<Scalar>,
    parse: fn(&str) -> Result<T, ValueError>,
) -> Result<Option<T>, ConfigError> {
    let parsed = raw.as_ref().map(|Scalar(text)| parse(text)).transpose();
    parsed.map_err(|error| document.error(at, Problem::Value { path: at.to_string(), error }))
}

fn default_kernel(
    document: &Document<'_>,
    name: Option<String>,
    kernels: &[KernelSpec],
) -> Result<KernelName, ConfigError> {
    let known = || kernels.iter().map(|kernel| kernel.name.0.clone()).collect();
    let Some(name) = name else {
        if let [only] = kernels {
            return Ok(only.name.clone());
        }
        let problem = Problem::NoDefaultKernel { known: known() };
        return Err(document.error(&Path::root().key("kernels"), problem));
    };
    if kernels.iter().any(|kernel| kernel.name.0 == name) {
        return Ok(KernelName(name));
    }
    let problem = Problem::Unknown { what: "kernel", name, owner: String::new(), known: known() };
    Err(document.error(&Path::root().key("default-kernel"), problem))
}

struct Reader<'a> {
    document: &'a Document<'a>,
    base: &'a Base,
    fragments: &'a [String],
}

impl Reader<'_> {
    fn kernel(&self, name: &str, raw: &RawKernel) -> Result<KernelSpec, ConfigError> {
        let kernels = Path::root().key("kernels");
        if !is_name(name) {
            let problem = Problem::Name { what: "kernel", name: name.to_owned() };
            return Err(self.document.error_at_key(&kernels, name, problem));
        }
        let at = kernels.key(name);
        let (source, kind) = self.source(name, &at, raw)?;
        let built = matches!(kind, "git" | "directory" | "tarball");
        let misplaced = [
            ("revision", raw.revision.is_some() && kind != "git", "`git`"),
            ("modules", raw.modules.is_some() && kind != "image", "`image`"),
            ("config", raw.config.is_some() && kind != "image", "`image`"),
            ("fragments", raw.fragments.is_some() && !built, BUILT),
            ("base-config", raw.base_config.is_some() && !built, BUILT),
        ];
        if let Some((key, _, needs)) = misplaced.into_iter().find(|(_, wrong, _)| *wrong) {
            let problem = Problem::Misplaced { kernel: name.to_owned(), key, needs, kind };
            return Err(self.document.error_at_key(&at, key, problem));
        }
        let base_config = self.path(&at, "base-config", &raw.base_config)?;
        let fragments = match &raw.fragments {
            None if built => vec![FragmentName(DEFAULT_FRAGMENT.into())],
            None => Vec::new(),
            Some(list) if list.is_empty() && base_config.is_none() => {
                let problem = Problem::NoFragments { kernel: name.to_owned() };
                return Err(self.document.error_at_key(&at, "fragments", problem));
            }
            Some(list) => self.fragments(&at.key("fragments"), list)?,
        };
        let cmdline = raw.cmdline.as_deref().unwrap_or_default();
        let cmdline = self.cmdline(&at.key("cmdline"), cmdline)?;
        Ok(KernelSpec { name: KernelName(name.into()), source, fragments, base_config, cmdline })
    }

    /// The one source of an entry, and the key that names its kind.
    fn source(&self, name: &str, at: &Path, raw: &RawKernel) -> Result<(Source, &'static str), ConfigError> {
        let kinds = [
            ("git", &raw.git),
            ("directory", &raw.directory),
            ("tarball", &raw.tarball),
            ("image", &raw.image),
            ("deb", &raw.deb),
        ];
        let given: Vec<_> =
            kinds.into_iter().filter_map(|(kind, text)| Some((kind, text.as_ref()?.0.as_str()))).collect();
        let (kind, text) = match given[..] {
            [one] => one,
            [] => return Err(self.document.error(at, Problem::NoSource { kernel: name.to_owned() })),
            [_, (second, _), ..] => {
                let found = given.iter().map(|(kind, _)| (*kind).to_owned()).collect();
                let problem = Problem::ManySources { kernel: name.to_owned(), found };
                return Err(self.document.error_at_key(at, second, problem));
            }
        };
        let at_source = at.key(kind);
        let path = || self.base.resolve(text).map_err(|error| self.bad_path(&at_source, error));
        let pattern = || self.base.resolve_pattern(text).map_err(|error| self.bad_path(&at_source, error));
        let source = match kind {
            "git" => Source::Git { repository: path()?, revision: self.revision(at, &raw.revision)? },
            "directory" => Source::Directory(path()?),
            "tarball" => Source::Tarball(pattern()?),
            "image" => Source::Image {
                image: path()?,
                modules: self.path(at, "modules", &raw.modules)?,
                config: self.path(at, "config", &raw.config)?,
            },
            _ => Source::Deb(pattern()?),
        };
        Ok((source, kind))
    }

    fn machine(&self, raw: &RawMachine) -> Result<MachineOptions, ConfigError> {
        let (document, at) = (self.document, Path::root().key("machine"));
        let (accel, backend, cpus, memory) = (&raw.accel, &raw.backend, &raw.cpus, &raw.memory);
        let root = self.path(&at, "root", &raw.root)?;
        let root = root.map(|root| value::root(&root.to_string_lossy())).transpose();
        let root_at = at.key("root");
        let root = root
            .map_err(|error| document.error(&root_at, Problem::Value { path: root_at.to_string(), error }))?;
        Ok(MachineOptions {
            accel: property(document, &at.key("accel"), accel, value::accel)?,
            backend: property(document, &at.key("backend"), backend, value::backend)?,
            cpus: property(document, &at.key("cpus"), cpus, value::cpus)?,
            memory: property(document, &at.key("memory"), memory, value::memory)?,
            rootfs: property(document, &at.key("rootfs"), &raw.rootfs, value::rootfs)?,
            root,
        })
    }

    fn revision(&self, at: &Path, raw: &Option<Scalar>) -> Result<String, ConfigError> {
        let Some(Scalar(revision)) = raw else { return Ok("HEAD".into()) };
        match bad_revision(revision) {
            None => Ok(revision.clone()),
            Some(reason) => Err(self.bad_text(&at.key("revision"), revision, reason)),
        }
    }

    fn path(&self, at: &Path, key: &str, raw: &Option<Scalar>) -> Result<Option<PathBuf>, ConfigError> {
        let resolved = raw.as_ref().map(|Scalar(text)| self.base.resolve(text)).transpose();
        resolved.map_err(|error| self.bad_path(&at.key(key), error))
    }

    fn bad_path(&self, at: &Path, error: PathError) -> ConfigError {
        self.document.error(at, Problem::Path { path: at.to_string(), error })
    }

    fn bad_text(&self, at: &Path, text: &str, reason: &'static str) -> ConfigError {
        let problem = Problem::Text { path: at.to_string(), text: text.to_owned(), reason };
        self.document.error(at, problem)
    }

    fn fragments(&self, at: &Path, list: &[Scalar]) -> Result<Vec<FragmentName>, ConfigError> {
        let mut names = Vec::new();
        for (i, Scalar(name)) in list.iter().enumerate() {
            if !self.fragments.contains(name) {
                let (name, known) = (name.clone(), self.fragments.to_vec());
                let problem = Problem::Unknown { what: "fragment", name, owner: String::new(), known };
                return Err(self.document.error(&at.item(i), problem));
            }
            if let Some(first) = list[..i].iter().position(|earlier| earlier.0 == *name) {
                let first = self.document.place(&at.item(first)).line;
                let problem = Problem::Repeated { what: "fragment", name: name.clone(), first };
                return Err(self.document.error(&at.item(i), problem));
            }
            names.push(FragmentName(name.clone()));
        }
        Ok(names)
    }

    fn cmdline(&self, at: &Path, words: &[Scalar]) -> Result<Vec<String>, ConfigError> {
        for (i, Scalar(word)) in words.iter().enumerate() {
            // A quoted blank is legal: `dyndbg="file net/core/* +p"`.
            let open_blank = word.split('"').step_by(2).any(|outside| outside.contains(' '));
            let reason = if word.is_empty() {
                "is no word of a kernel command line"
            } else if word.chars().any(char::is_control) {
                "cannot stand in a kernel command line: it holds control characters"
            } else if open_blank {
                "is more than one word of a kernel command line\n\
                 hint: one item of the list per word: `[quiet, nokaslr]`"
            } else {
                continue;
            };
            return Err(self.bad_text(&at.item(i), word, reason));
        }
        Ok(words.iter().map(|Scalar(word)| word.clone()).collect())
    }
}

/// Why a text cannot be handed to git as a revision.
pub(super) fn bad_revision(revision: &str) -> Option<&'static str> {
    if revision.is_empty() {
        Some("names no revision")
    } else if revision.starts_with('-') {
        Some("is no revision: git would take it for an option")
    } else if revision.chars().any(char::is_control) {
        Some("is no revision: it holds control characters")
    } else {
        None
    }
}
