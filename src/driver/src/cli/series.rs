//! Words of `kregress series`.

use clap::Args;

use super::Shape;
use super::judged::JudgedWords;
use crate::commands::Context;
use crate::commands::report::Form;
use crate::commands::series::{Request, run};

#[derive(Debug, Args)]
pub(super) struct SeriesWords {
    /// BASE..TIP of the tree; or an mbox, a patch, or a directory of `git format-patch`
    #[arg(value_name = "RANGE|MBOX")]
    series: String,
    /// Suites, tests, or patterns with `*` [default: smoke]
    #[arg(value_name = "SUITE|TEST")]
    tests: Vec<String>,
    /// A kernel of kind git of kregress.yaml, or the path of a repository
    #[arg(long, value_name = "TREE", default_value = ".")]
    tree: String,
    /// What patches of mails are put on [default: the `base-commit:` that they name]
    #[arg(long, value_name = "REV")]
    base: Option<String>,
    /// Repeat a test that did not pass up to so often, each time in a fresh boot; passed then, it is flaky
    #[arg(long, value_name = "N", default_value_t = 2)]
    retries: u32,
    #[command(flatten)]
    judged: JudgedWords,
    #[command(flatten)]
    shape: Shape,
}

impl SeriesWords {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<u8> {
        let form = Form { format: self.shape.format.format(), output: self.shape.output.as_deref() };
        let request = Request {
            series: self.series,
            tree: self.tree,
            base: self.base,
            tests: self.tests,
            retries: self.retries,
            judged: self.judged.asked(Vec::new()),
        };
        run(context, &request, form)
    }
}
