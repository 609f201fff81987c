//! The words of the design as types: kernel, machine, suite, test, metric,
//! verdict, and the events of a run.
//!
//! No serialisation and no I/O: what is read from YAML is turned into these in
//! `config`, what is written to disk is made from these in `results`.

mod allow;
mod comparison;
mod detector;
mod event;
mod evidence;
mod kernel;
mod machine;
pub(crate) mod pattern;
mod subtest;
mod suite;
mod verdict;

pub use allow::{AllowRule, Allowance, Allowances, can_be_allowed};
pub use comparison::{AGAIN, ComparisonPlan, NoiseOf, Overall};
pub use detector::Detector;
pub use event::{
    BootEnd, BootFault, BootId, BootInfo, BuildEvent, KernelInfo, Observer, RunEvent, RunId, RunInfo,
    ShardOf, TestResult, Turn,
};
pub use evidence::{Evidence, EvidenceSource};
pub use kernel::{Edit, FragmentName, KernelName, KernelRequest, KernelSpec, Source};
pub use machine::{Accel, AccelChoice, Backend, GuestRoot, Machine, RootFs};
pub use subtest::{Subtest, SubtestCounts, SubtestVerdict};
pub use suite::{Exec, Metric, Program, Selftest, Suite, SuiteName, Test, TestId};
pub use verdict::{Failure, FailureKind, Trouble, TroubleKind, Verdict, first_line};
