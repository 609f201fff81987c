//! Words of `kregress plan` and `kregress merge`.

use std::num::NonZeroU32;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::Shape;
use super::run::WorkWords;
use crate::commands::plan::{PlanFormat, Wish};
use crate::commands::report::Form;
use crate::commands::{self, Context};

#[derive(Debug, Args)]
pub(super) struct PlanWords {
    #[command(flatten)]
    work: WorkWords,
    /// Shards; fewer where there is no more to do
    #[arg(long, value_name = "N")]
    shards: NonZeroU32,
    /// What stdout carries; the plan itself goes to a file
    #[arg(long, value_enum, default_value_t = PlanForm::Human)]
    format: PlanForm,
    /// The plan
    #[arg(long, short = 'o', value_name = "FILE", default_value = "plan.json")]
    output: PathBuf,
}

impl PlanWords {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let wish = Wish { shards: self.shards, format: self.format.format(), output: self.output };
        commands::plan::run(context, &self.work.tests, &self.work.kernels, self.work.effort(), &wish)
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PlanForm {
    /// A line for each shard
    Human,
    /// The plan itself
    Json,
    /// `matrix={"include":[{"shard":1,...}]}`, for $GITHUB_OUTPUT
    Github,
}

impl PlanForm {
    fn format(self) -> PlanFormat {
        match self {
            Self::Human => PlanFormat::Human,
            Self::Json => PlanFormat::Json,
            Self::Github => PlanFormat::Github,
        }
    }
}

#[derive(Debug, Args)]
pub(super) struct MergeWords {
    /// Runs of shards, or directories with such in them [default: the results directory]
    #[arg(value_name = "DIR")]
    directories: Vec<PathBuf>,
    /// The plan [default: the one that the shards have a copy of]
    #[arg(long, value_name = "FILE")]
    plan: Option<PathBuf>,
    #[command(flatten)]
    shape: Shape,
}

impl MergeWords {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let form = Form { format: self.shape.format.format(), output: self.shape.output.as_deref() };
        commands::merge::run(context, &self.directories, self.plan.as_deref(), form)
    }
}
