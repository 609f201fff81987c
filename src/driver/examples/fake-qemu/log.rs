//! The serial console of the fake guest: lines with time stamps that look like
//! a kernel's and are the same in every run.

use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use kregress_wire::MARKER;

/// The console, shared by the guest and by QMP.
#[derive(Clone)]
pub(crate) struct Log(Arc<Mutex<State>>);

struct State {
    out: Box<dyn Write + Send>,
    microseconds: u64,
    /// A kernel whose command line names no console prints nothing.
    visible: bool,
}

impl Log {
    /// A console at the beginning of time. Only a kernel with `console=ttyS0`
    /// on its command line prints there.
    pub(crate) fn new(out: Box<dyn Write + Send>, cmdline: &str) -> Self {
        let names_it = |word: &str| word == "console=ttyS0" || word.starts_with("console=ttyS0,");
        let visible = cmdline.split_whitespace().any(names_it);
        Self(Arc::new(Mutex::new(State { out, microseconds: 0, visible })))
    }

    /// Prints lines as the kernel does, each with a stamp.
    pub(crate) fn print(&self, text: &str) {
        let mut state = self.lock();
        for line in text.lines() {
            state.microseconds += 137;
            let (seconds, rest) = (state.microseconds / 1_000_000, state.microseconds % 1_000_000);
            state.write(format!("[{seconds:5}.{rest:06}] {line}\r\n").as_bytes());
        }
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) {
        self.lock().write(bytes);
    }

    /// Lets time pass.
    pub(crate) fn advance(&self, microseconds: u64) {
        self.lock().microseconds += microseconds;
    }

    /// Guest time in nanoseconds.
    pub(crate) fn now_ns(&self) -> u64 {
        self.lock().microseconds * 1000
    }

    /// Marks the beginning of a test.
    pub(crate) fn begin(&self, id: u32, name: &str) {
        self.print(&format!("{MARKER}begin {id} {name}"));
    }

    /// Marks the end of a test.
    pub(crate) fn end(&self, id: u32, word: &str) {
        self.print(&format!("{MARKER}end {id} {word}"));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, bytes: &[u8]) {
        if self.visible {
            // QEMU drops what nobody takes, too.
            let _ = self.out.write_all(bytes).and_then(|()| self.out.flush());
        }
    }
}
