//! Words of `kregress run`, and those that it shares with `kregress plan`: what is to
//! be booted and tested, and how often.

use std::path::PathBuf;

use clap::Args;

use crate::commands::run::{Effort, On, run};
use crate::commands::{self, Context};
use crate::lab::Quiet;

#[derive(Debug, Args)]
pub(super) struct WorkWords {
    /// Suites, tests, or patterns with `*` [default: smoke]
    #[arg(value_name = "SUITE|TEST")]
    pub(super) tests: Vec<String>,
    /// Kernel to boot, K or K+FRAGMENT, may be given several times [default: the default kernel]
    #[arg(long = "kernel", short = 'k', value_name = "KERNEL")]
    pub(super) kernels: Vec<String>,
    /// Boots of each kernel; the boot is the unit of all statistics
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    boots: u32,
    /// Repeat a test that did not pass up to so often, each time in a fresh boot; passed then, it is flaky
    #[arg(long, value_name = "N", default_value_t = 0)]
    retries: u32,
    /// Boots that measure times run alone, on processors of their own
    #[arg(long)]
    quiet_host: bool,
}

impl WorkWords {
    pub(super) fn effort(&self) -> Effort {
        let quiet = if self.quiet_host { Quiet::Alone } else { Quiet::Shared };
        Effort { boots: self.boots, retries: self.retries, quiet }
    }
}

#[derive(Debug, Args)]
pub(super) struct RunWords {
    #[command(flatten)]
    work: WorkWords,
    /// Boot nothing: try the tests on the kernel that runs here, as root, in namespaces of their own
    #[arg(long, conflicts_with_all = ["kernels", "boots"])]
    local: bool,
    /// Do a shard of this plan, which says everything else
    #[arg(long, value_name = "FILE", requires = "shard", conflicts_with_all = ["tests", "kernels", "local", "boots", "retries", "quiet_host", "machine", "seed"])]
    plan: Option<PathBuf>,
    /// Number of the shard
    #[arg(long, value_name = "K", requires = "plan", value_parser = clap::value_parser!(u32).range(1..))]
    shard: Option<u32>,
}

impl RunWords {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        if let (Some(plan), Some(shard)) = (self.plan, self.shard) {
            return commands::plan::shard(context, &plan, shard);
        }
        let on = if self.local { On::Local } else { On::Kernels(&self.work.kernels) };
        run(context, &self.work.tests, on, self.work.effort())
    }
}
