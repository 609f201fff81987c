//! Words that `compare` and `series` share: how two kernels are judged.

use clap::Args;

use super::percent;
use crate::analysis::refuse::What;
use crate::commands::compare::Asked;
use crate::commands::pair::Emulated;
use crate::lab::Quiet;

#[derive(Debug, Args)]
pub(super) struct JudgedWords {
    /// Boots of each of the two kernels at most; without it up to 24, as many as the numbers need
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    boots: Option<u32>,
    /// Smallest change of a noisy metric that counts [default: 5, with --quiet-host 2]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    floor: Option<f64>,
    /// Boots that measure times run alone, on processors of their own
    #[arg(long)]
    quiet_host: bool,
    /// Let no time decide under TCG: where tests take times that decide, nothing is measured, which is no verdict (4)
    #[arg(long)]
    no_emulated_times: bool,
}

impl JudgedWords {
    /// What is asked for, where these things may differ beside the kernels.
    pub(super) fn asked(self, allowed: Vec<What>) -> Asked {
        Asked {
            boots: self.boots,
            floor: self.floor,
            allowed,
            quiet: if self.quiet_host { Quiet::Alone } else { Quiet::Shared },
            emulated: if self.no_emulated_times { Emulated::Refused } else { Emulated::Decides },
        }
    }
}
