//! The project's configuration: `kregress.yaml`, `suites/*.yaml`, `kconfigs/`,
//! and what the command line says about kernels, machines and tests.
//!
//! Owns the way from text to the model. Everything is checked before anything
//! is done; whoever holds a [`Project`] holds no contradiction. Must not build,
//! boot or spawn. serde_yaml is named in `yaml` only, files are read in `files`
//! only; the rest is pure.

mod allow;
mod embedded;
mod error;
mod files;
mod fragments;
mod kernels;
mod machine;
mod nearest;
mod paths;
mod request;
mod select;
pub(crate) mod suite;
mod suite_exec;
mod suite_kunit;
mod suite_program;
mod suite_selftests;
mod value;
mod workloads;
mod yaml;

#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod documents;
#[cfg(test)]
pub(crate) mod fixtures;

use std::path::{Path, PathBuf};

pub use allow::{Expired, check_expiry};
pub use error::{ConfigError, PathError, Place, Problem};
pub use fragments::{FragmentFile, Fragments};
pub use machine::{MachineError, MachineOptions, machine_text};
pub use request::{RequestError, source_kind};
pub use select::{DEFAULT_SUITE, SelectError, select};
pub use value::{
    CPUS, LONGEST_TIMEOUT, MEMORY, ValueError, accel_text, better_text, kind_text, memory_text, timeout_text,
};
pub use workloads::Workloads;

use crate::model::{AllowRule, KernelName, KernelSpec, Machine, Suite};
use paths::Base;

/// Everything that the files say, checked.
#[derive(Debug, Clone)]
pub struct Project {
    /// Entries of `kregress.yaml` in its order.
    pub kernels: Vec<KernelSpec>,
    /// The kernel where none is asked for; one of `kernels`.
    pub default_kernel: KernelName,
    /// The machine where nothing else is asked for.
    pub machine: Machine,
    /// Findings that turn nothing red, in the order of the file.
    pub allow: Vec<AllowRule>,
    /// In alphabetical order; the project's own hide built-in ones of the same name.
    pub suites: Vec<Suite>,
    /// What `fragments:` may name.
    pub fragments: Fragments,
    /// Absolute directory of the config file, or the current one without it.
    pub root: PathBuf,
    /// Absolute path of the config file; `None` for the built-in one.
    pub file: Option<PathBuf>,
    /// Where relative paths of the command line start from; absolute.
    pub cwd: PathBuf,
    /// What `~` is in paths of the command line.
    pub home: Option<PathBuf>,
}

impl Project {
    /// The entry of this name.
    #[must_use]
    pub fn kernel(&self, name: &str) -> Option<&KernelSpec> {
        self.kernels.iter().find(|kernel| kernel.name.0 == name)
    }

    /// Config file as the user would name it here.
    #[must_use]
    pub fn file_text(&self) -> String {
        self.file.as_ref().map_or_else(|| BUILT_IN.into(), |file| files::shown(file, &self.cwd))
    }
}

/// The built-in config file in messages.
const BUILT_IN: &str = "kregress.yaml (built in)";

/// Reads the project of a directory, for the workloads of our own guest.
///
/// `path` is that of `--config`; without it `kregress.yaml` is looked for in
/// `cwd` and the directories above, and the built-in one is taken if there is
/// none. `cwd` must be absolute.
///
/// # Errors
///
/// The first thing that is wrong with any file of the project, with its place.
pub fn load(path: Option<&Path>, cwd: &Path) -> Result<Project, ConfigError> {
    let file = match path {
        Some(path) => Some(cwd.join(path)),
        None => files::search(cwd)?,
    };
    let root = file.as_deref().and_then(Path::parent).unwrap_or(cwd).to_owned();
    let project = file.as_ref().map(|_| root.as_path());
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let base = Base { directory: root.clone(), home: home.clone() };

    let fragments = Fragments::load(project, cwd)?;
    let names: Vec<_> = fragments.names().map(str::to_owned).collect();
    let kernels::ProjectFile { kernels, default_kernel, machine, allow } = match &file {
        Some(file) => kernels::parse(&files::shown(file, cwd), &files::read(file, cwd)?, &base, &names)?,
        None => kernels::parse(BUILT_IN, embedded::CONFIG, &base, &names)?,
    };
    let suites = suite::load(project, cwd, &Workloads::guest().with_programs(base))?;
    let cwd = cwd.to_owned();
    Ok(Project { kernels, default_kernel, machine, allow, suites, fragments, root, file, cwd, home })
}

/// Whether a text can name a kernel, fragment, suite or test: it must stand on a
/// command line without quotes, in a file name, and beside `/`, `@`, `[`, `:`
/// and `*` without ambiguity.
fn is_name(text: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::model::{FragmentName, Source};

    const CONFIG: &str = "version: 1\nkernels:\n  mine: {git: linux, fragments: [base, own]}\n";
    const SMOKE: &str = "version: 1\nsummary: mine\ntests:\n  t: {workload: netns/drain, timeout: 1s}\n";

    /// A project with a suite and a fragment of its own, and an empty directory in it.
    fn project() -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a temporary directory");
        for directory in ["suites", "kconfigs", "deep/er"] {
            fs::create_dir_all(root.path().join(directory)).expect("mkdir");
        }
        for (file, text) in [
            ("kregress.yaml", CONFIG),
            ("suites/smoke.yaml", SMOKE),
            ("kconfigs/base.config", "# mine\n"),
            ("kconfigs/own.config", "# own\n"),
        ] {
            fs::write(root.path().join(file), text).expect("write");
        }
        root
    }

    fn load_in(path: Option<&str>, cwd: &Path) -> Result<Project, ConfigError> {
        load(path.map(Path::new), cwd)
    }

    #[test]
    fn a_project_is_found_from_below_and_its_paths_start_at_its_file() {
        let root = project();
        let project = load_in(None, &root.path().join("deep/er")).expect("a good project");
        assert_eq!(project.root, root.path());
        assert_eq!(project.file, Some(root.path().join("kregress.yaml")));
        let repository = root.path().join("linux");
        assert_eq!(project.kernels[0].source, Source::Git { repository, revision: "HEAD".into() });
        assert_eq!(project.default_kernel, project.kernels[0].name);
    }

    #[test]
    fn a_config_file_can_be_named() {
        let root = project();
        fs::rename(root.path().join("kregress.yaml"), root.path().join("other.yaml")).expect("rename");
        let cwd = root.path().join("deep");
        let project = load_in(Some("../other.yaml"), &cwd).expect("a good project");
        assert_eq!(project.file_text(), "../other.yaml");
        assert!(project.suites.iter().any(|suite| suite.summary == "mine"));
    }

    #[test]
    fn suites_and_fragments_of_the_project_replace_built_in_ones() {
        let root = project();
        let project = load_in(None, root.path()).expect("a good project");
        let smoke: Vec<_> = project.suites.iter().filter(|suite| suite.name.0 == "smoke").collect();
        assert_eq!(smoke.len(), 1);
        assert_eq!((smoke[0].summary.as_str(), smoke[0].file.as_str()), ("mine", "suites/smoke.yaml"));
        let fragment = |name: &str| project.fragments.get(&FragmentName(name.into())).expect("a fragment");
        assert_eq!(
            (fragment("base").text.as_str(), fragment("base").origin.as_str()),
            ("# mine\n", "kconfigs/base.config")
        );
        assert_eq!(fragment("own").text, "# own\n");
    }

    #[test]
    fn a_project_without_suites_and_fragments_has_the_built_in_ones() {
        let root = project();
        fs::remove_dir_all(root.path().join("suites")).expect("remove");
        fs::remove_dir_all(root.path().join("kconfigs")).expect("remove");
        fs::write(root.path().join("kregress.yaml"), "version: 1\nkernels: {a: {git: x}}\n").expect("write");
        let project = load_in(None, root.path()).expect("a good project");
        assert!(project.suites.iter().any(|suite| suite.name.0 == "smoke" && suite.summary != "mine"));
        let base = project.fragments.get(&FragmentName("base".into())).expect("a fragment");
        assert_eq!(base.origin, "kconfigs/base.config (built in)");
    }

    #[test]
    fn a_broken_suite_is_an_error_whatever_is_asked_for() {
        let root = project();
        fs::write(root.path().join("suites/other.yaml"), "version: 1\n").expect("write");
        let error = load_in(None, &root.path().join("deep")).expect_err("broken").to_string();
        // Seen from below, the file has its whole name.
        assert!(
            error.starts_with(&format!("{}/suites/other.yaml:1:1: missing key", root.path().display())),
            "{error}"
        );
        let error = load_in(None, root.path()).expect_err("broken").to_string();
        assert!(error.starts_with("suites/other.yaml:1:1: missing key"), "{error}");
    }

    #[test]
    fn a_named_file_that_is_missing_is_not_replaced_by_another() {
        let root = project();
        let error = load_in(Some("missing.yaml"), root.path()).expect_err("missing").to_string();
        assert!(error.contains("missing.yaml`: No such file"), "{error}");
        let error = load_in(Some("suites"), root.path()).expect_err("a directory").to_string();
        assert!(error.contains("\nhint: name the file, not its directory"), "{error}");
    }

    #[test]
    fn names_stand_on_a_command_line_without_quotes() {
        for good in ["a", "6.12", "linux-6.12_rc1", "Debian", &"x".repeat(64)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "-a", ".a", "a/b", "a@b", "a:b", "a[b", "a*", "a b", "ä", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
