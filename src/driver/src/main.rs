//! One binary, both sides: the host's command line, and the guest's PID 1.

use std::ffi::OsString;
use std::process::ExitCode;

use kregress::{cli, exec};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = kregress_guest::dispatch(&args) {
        return code;
    }
    if args.get(1).is_some_and(|arg| arg == exec::SUPERVISE) {
        return match exec::supervise(&args[2..]) {
            Ok(code) => ExitCode::from(code),
            Err(error) => {
                // Goes to the log of whoever started the tree.
                anstream::eprintln!("cannot start {:?}: {error}", args.get(2).cloned().unwrap_or_default());
                ExitCode::from(127)
            }
        };
    }
    // By this name it is the running binary even if its file was replaced.
    exec::set_supervisor("/proc/self/exe".into());
    ExitCode::from(cli::main(args))
}
