//! The workflows and the action of this repository, executed without GitHub: every `run:`
//! of every job, in order, with the files and variables that GitHub gives it, against the
//! fake QEMU. `scripts/test-workflows` has linters look at the same files.

mod cases;
mod expression;
#[expect(dead_code, reason = "shared with the tests of the command line, which use all of it")]
#[path = "../cli/fake_kernel.rs"]
mod fake_kernel;
#[expect(dead_code, reason = "shared with the tests of the command line, which use all of it")]
#[path = "../cli/history.rs"]
mod history;
#[cfg(feature = "real-boots")]
mod real;
#[expect(dead_code, reason = "shared with the tests of the command line, which use all of it")]
#[path = "../cli/record.rs"]
mod record;
#[expect(dead_code, reason = "shared with the tests of the command line, which use all of it")]
#[path = "../cli/rig.rs"]
mod rig;
mod runner;
mod services;
mod stage;
