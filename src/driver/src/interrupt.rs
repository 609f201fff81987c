//! Ctrl-C and SIGTERM.
//!
//! The first one asks the engine to end in good order; everything that waits
//! looks at [`requested`]. The second one ends the process at once; children
//! die with it (see `exec`).

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

static REQUESTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Whether somebody listens.
static LISTENING: Mutex<bool> = Mutex::new(false);

fn flag() -> &'static Arc<AtomicBool> {
    REQUESTED.get_or_init(|| Arc::new(AtomicBool::new(false)))
}

/// Exit code of an interrupted run, as the design fixes it.
pub const EXIT_CODE: i32 = 130;

/// Starts to listen, if nobody does: a command that is made of others is told of a
/// signal once. With handlers twice the second ones would take the first signal for
/// the second.
///
/// # Errors
///
/// Fails when the system refuses a signal handler.
pub fn listen() -> io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut listening = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    if *listening {
        return Ok(());
    }
    // `nohup` means it. A shell that starts us in the background ignores SIGINT
    // too, but whoever sends one there by hand wants us to stop.
    let hangup = (!is_ignored(SIGHUP)).then_some(SIGHUP);
    for signal in [SIGINT, SIGTERM].into_iter().chain(hangup) {
        // In this order: the handlers run as registered, so the first signal
        // only sets the flag and the second finds it set.
        signal_hook::flag::register_conditional_shutdown(signal, EXIT_CODE, Arc::clone(flag()))?;
        signal_hook::flag::register(signal, Arc::clone(flag()))?;
    }
    *listening = true;
    Ok(())
}

/// Whether whoever started us has set a signal to be ignored (`SigIgn` in
/// proc_pid_status(5)).
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0) & (1 << (signal - 1)) != 0
}

/// Whether the user asked to stop.
#[must_use]
pub fn requested() -> bool {
    flag().load(Ordering::Relaxed)
}
