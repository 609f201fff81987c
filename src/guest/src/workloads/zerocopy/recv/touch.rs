//! Touching memory that this process had better not, in a child.

use std::ptr;

use super::super::child::{Child, ended};
use super::super::patience::Patience;
use crate::context::Stop;
use crate::ffi;

/// How a byte is touched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touch {
    /// A load.
    Read,
    /// A store.
    Write,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touched {
    /// Nothing.
    Fine,
    /// A signal, with its `si_code`.
    Signal(i32, i32),
}

/// Load or store where a mapping has no page, or one that may not be written.
pub(super) const NO_PAGE: Touched = Touched::Signal(libc::SIGBUS, libc::BUS_ADRERR);
/// Access that the mapping forbids (`SEGV_ACCERR`, which the crate lacks).
pub(super) const FORBIDDEN: Touched = Touched::Signal(libc::SIGSEGV, 2);
/// Access where nothing is mapped (`SEGV_MAPERR`).
pub(super) const NOTHING_MAPPED: Touched = Touched::Signal(libc::SIGSEGV, 1);

/// Bits of an exit code that hold the signal; `si_code` is above.
const SIGNAL_BITS: u32 = 5;

extern "C" fn tell_signal(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler with SA_SIGINFO a valid `info`.
    let code = unsafe { (*info).si_code };
    ffi::exit_now(signal | (code & 7) << SIGNAL_BITS)
}

/// Touches an address in a child, which catches what it gets for that: so the
/// kernel does not log it.
///
/// # Errors
///
/// As [`Child::run`] and [`Child::wait`].
pub(super) fn touch(address: u64, how: Touch, patience: Patience<'_>) -> Result<Touched, Stop> {
    let child = Child::run(|_| {
        // SAFETY: zeros are an empty mask and no flags.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_flags = libc::SA_SIGINFO;
        action.sa_sigaction = tell_signal as *const () as usize;
        for signal in [libc::SIGBUS, libc::SIGSEGV] {
            // SAFETY: the handler only ends the process.
            if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
                let error = std::io::Error::last_os_error();
                return Err(Stop::Error(format!("sigaction: {error}")));
            }
        }
        let byte = ptr::with_exposed_provenance_mut::<u8>(usize::try_from(address).unwrap_or(0));
        match how {
            // SAFETY: the worst is a signal. The address is that of an area, and
            // this process ends now.
            Touch::Read => drop(unsafe { byte.read_volatile() }),
            // SAFETY: as above.
            Touch::Write => unsafe { byte.write_volatile(1) },
        }
        Ok(0)
    })?;
    let status = child.wait(patience, "the end of a child that touches a byte")?;
    match status.exit_status() {
        Some(0) => Ok(Touched::Fine),
        Some(code) => Ok(Touched::Signal(code & ((1 << SIGNAL_BITS) - 1), code >> SIGNAL_BITS)),
        None => Err(Stop::Error(format!("the child that touched `{address:#x}` {}", ended(status)))),
    }
}
