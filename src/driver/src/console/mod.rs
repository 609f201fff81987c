//! From the bytes of a kernel console to findings. Pure: no I/O, no clocks.

/// Something in the kernel log that must not be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which class of wrong.
    pub kind: FindingKind,
    /// The line that names it, without time stamps.
    pub title: String,
    /// Function names of its stack, innermost first; may be empty.
    pub stack: Vec<String>,
    /// Byte offset of its first line in the console log.
    pub start: u64,
    /// Byte offset behind its last line.
    pub end: u64,
}

/// Classes of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FindingKind {
    /// `Kernel panic - not syncing`.
    Panic,
    /// A fault in kernel mode.
    Oops,
    /// `BUG()`, corrupted lists or slabs, bad pages.
    Bug,
    /// `WARN()`.
    Warning,
    /// A lock order or context that may deadlock.
    Lockdep,
    /// A sanitiser's report.
    Sanitizer,
    /// A task, CPU, worker or grace period that makes no progress.
    Hang,
    /// A reference or object that was not given back.
    Leak,
    /// The OOM killer or a failed allocation.
    Memory,
}

impl FindingKind {
    /// As written in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Oops => "oops",
            Self::Bug => "bug",
            Self::Warning => "warning",
            Self::Lockdep => "lockdep",
            Self::Sanitizer => "sanitizer",
            Self::Hang => "hang",
            Self::Leak => "leak",
            Self::Memory => "memory",
        }
    }
}
