//! The guest alone, without the driver: an init for experiments with kernels.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    kregress_guest::dispatch(&args).unwrap_or(ExitCode::from(2))
}
