//! Words of `kregress series`.

use clap::Args;

use super::{Shape, percent};
use crate::commands::Context;
use crate::commands::pair::Emulated;
use crate::commands::report::Form;
use crate::commands::series::{Request, run};
use crate::lab::Quiet;

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
    /// Base against tip: boots of each at most; without it up to 24, as many as the numbers need
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    boots: Option<u32>,
    /// Smallest change of a noisy metric that counts [default: 5, with --quiet-host 2]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    floor: Option<f64>,
    /// Boots that measure times run alone, on processors of their own
    #[arg(long)]
    quiet_host: bool,
    /// Base against tip: nothing is measured where instructions are emulated (tcg), whose times are proportions only
    #[arg(long)]
    no_emulated_times: bool,
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
            boots: self.boots,
            floor: self.floor,
            emulated: if self.no_emulated_times { Emulated::Refused } else { Emulated::Decides },
            quiet: if self.quiet_host { Quiet::Alone } else { Quiet::Shared },
        };
        run(context, &request, form)
    }
}
