//! Suites and tests, with the matrix already multiplied out.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use kregress_wire::{ExecResult, MetricInfo, Value};

/// Name of a suite: the stem of its file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SuiteName(pub String);

impl fmt::Display for SuiteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A suite file, validated.
#[derive(Debug, Clone)]
pub struct Suite {
    /// Stem of the file.
    pub name: SuiteName,
    /// One line for `kregress list`.
    pub summary: String,
    /// Where it was read, for JUnit's `file`; relative to the project.
    pub file: String,
    /// Files and directories of the kernel tree that its tests exercise, relative
    /// to its top, without a slash at the end; empty where nobody said. A guess
    /// at where a change of its numbers comes from, and no more.
    pub paths: Vec<String>,
    /// In the order of the file, the matrix multiplied out in place.
    pub tests: Vec<Test>,
}

impl Suite {
    /// Whether a file of the kernel tree is one of its `paths` or below one.
    #[must_use]
    pub fn is_about(&self, file: &str) -> bool {
        let is_at = |rest: &str| rest.is_empty() || rest.starts_with('/');
        self.paths.iter().any(|path| file.strip_prefix(path.as_str()).is_some_and(is_at))
    }
}

/// A workload with parameters, a time limit and the metrics to show.
#[derive(Debug, Clone)]
pub struct Test {
    /// Its full name.
    pub id: TestId,
    /// Name in the guest's registry.
    pub workload: String,
    /// Every parameter of the workload, defaults filled in.
    pub params: BTreeMap<String, Value>,
    /// On an unloaded machine with KVM; scaled by the boot's slowdown.
    pub timeout: Duration,
    /// Those that a passing test must have reported, in the order of the file.
    pub metrics: Vec<Metric>,
    /// What the workload [`kregress_wire::Exec::WORKLOAD`] runs; none of others.
    pub exec: Option<Exec>,
    /// Line of the test in the suite file.
    pub line: usize,
}

/// What a test runs that is no workload of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exec {
    /// A program of the host.
    Program(Program),
    /// A program of the kernel's own tree.
    Selftest(Selftest),
    /// A kernel module with KUnit tests, which the parameter `module` names.
    Kunit,
}

impl Exec {
    /// What says how it went.
    #[must_use]
    pub fn result(&self) -> ExecResult {
        match self {
            Self::Program(program) => program.result,
            Self::Selftest(_) => ExecResult::Selftest,
            Self::Kunit => ExecResult::KernelLog,
        }
    }
}

/// A program that is a test, at the same paths on the host and in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The program: an absolute path, or a name that is looked up in `PATH`.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// What comes with it into a guest that does not see the host's files: files,
    /// directories, programs by name.
    pub files: Vec<PathBuf>,
    /// Where it runs: the project's directory, absolute.
    pub directory: PathBuf,
    /// What says how it went.
    pub result: ExecResult,
}

/// A program of `tools/testing/selftests` of the tree that the kernel is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selftest {
    /// Directory of the collection below `tools/testing/selftests`: `net`.
    pub collection: String,
    /// Programs of the collection that have to be there: the test itself, or what
    /// its command starts.
    pub programs: Vec<String>,
    /// What runs in the directory of the collection; the program itself if empty.
    pub command: Vec<String>,
}

/// A metric of a test.
pub type Metric = MetricInfo;

/// `suite/test[param=value]`; only parameters of the matrix are in the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TestId {
    /// The suite.
    pub suite: SuiteName,
    /// Name within the suite.
    pub test: String,
    /// Matrix parameters in the order of the file.
    pub params: Vec<(String, Value)>,
}

impl TestId {
    /// The name without its suite: `test[param=value]`.
    #[must_use]
    pub fn short(&self) -> String {
        if self.params.is_empty() {
            return self.test.clone();
        }
        let params: Vec<_> = self.params.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{}[{}]", self.test, params.join(","))
    }
}

impl fmt::Display for TestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.suite, self.short())
    }
}
