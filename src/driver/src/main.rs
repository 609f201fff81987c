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
            Err(_) => ExitCode::from(127),
        };
    }
    if let Ok(own) = std::env::current_exe() {
        exec::set_supervisor(own);
    }
    ExitCode::from(cli::main(args))
}
