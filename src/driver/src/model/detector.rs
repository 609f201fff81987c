//! What a kernel may have built in to find bugs, and at what price.

use std::fmt;

/// Something that watches the kernel from within. Times of a kernel that has one
/// are recorded and never compared with a gate: they are times of the detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Detector {
    /// Memory that must not be touched.
    Kasan,
    /// Data races.
    Kcsan,
    /// Undefined behaviour.
    Ubsan,
    /// Lock orders and contexts.
    Lockdep,
    /// Memory that nobody points to.
    Kmemleak,
    /// References to namespaces and devices.
    RefTracker,
    /// Assertions of the memory management.
    DebugVm,
    /// Allocations that fail on purpose.
    FaultInjection,
}

impl Detector {
    /// Every detector, in the order of the declaration.
    pub const ALL: [Self; 8] = [
        Self::Kasan,
        Self::Kcsan,
        Self::Ubsan,
        Self::Lockdep,
        Self::Kmemleak,
        Self::RefTracker,
        Self::DebugVm,
        Self::FaultInjection,
    ];

    /// As written in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Kasan => "kasan",
            Self::Kcsan => "kcsan",
            Self::Ubsan => "ubsan",
            Self::Lockdep => "lockdep",
            Self::Kmemleak => "kmemleak",
            Self::RefTracker => "ref-tracker",
            Self::DebugVm => "debug-vm",
            Self::FaultInjection => "fault-injection",
        }
    }

    /// Options of the kernel of which each switches it on.
    #[must_use]
    pub fn symbols(self) -> &'static [&'static str] {
        match self {
            Self::Kasan => &["KASAN"],
            Self::Kcsan => &["KCSAN"],
            Self::Ubsan => &["UBSAN"],
            Self::Lockdep => &["PROVE_LOCKING", "LOCKDEP"],
            Self::Kmemleak => &["DEBUG_KMEMLEAK"],
            Self::RefTracker => &["NET_NS_REFCNT_TRACKER", "NET_DEV_REFCNT_TRACKER"],
            Self::DebugVm => &["DEBUG_VM"],
            Self::FaultInjection => &["FAULT_INJECTION"],
        }
    }

    /// What it needs on the kernel command line to be of use to more than one test
    /// (Documentation/dev-tools/kasan.rst: by default only the first report is made).
    #[must_use]
    pub fn cmdline(self) -> &'static [&'static str] {
        match self {
            Self::Kasan => &["kasan_multi_shot"],
            Self::Kcsan
            | Self::Ubsan
            | Self::Lockdep
            | Self::Kmemleak
            | Self::RefTracker
            | Self::DebugVm
            | Self::FaultInjection => &[],
        }
    }

    /// How many times longer a test may take with it. Measured under TCG with
    /// `smoke` on 6.12.117 (docs/benchmarks.md) and rounded up generously: these
    /// are for time limits, and a limit that is too long costs nothing as long
    /// as the kernel is well.
    #[must_use]
    pub fn slowdown(self) -> f64 {
        match self {
            Self::Kasan => 5.0,
            Self::Kcsan => 9.0,
            Self::Lockdep => 4.0,
            Self::Kmemleak => 2.0,
            Self::RefTracker => 1.5,
            Self::Ubsan | Self::DebugVm | Self::FaultInjection => 1.0,
        }
    }

    /// Those of a kernel with these options.
    #[must_use]
    pub fn all_of(is_on: &dyn Fn(&str) -> bool) -> Vec<Self> {
        let built_in = |detector: &Self| detector.symbols().iter().any(|symbol| is_on(symbol));
        Self::ALL.into_iter().filter(built_in).collect()
    }
}

impl fmt::Display for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_its_options_tells_of_a_detector() {
        let with = |on: &'static [&'static str]| Detector::all_of(&move |symbol| on.contains(&symbol));
        assert_eq!(with(&[]), []);
        assert_eq!(with(&["LOCKDEP"]), [Detector::Lockdep]);
        assert_eq!(with(&["NET", "UBSAN", "KASAN"]), [Detector::Kasan, Detector::Ubsan]);
    }

    #[test]
    fn no_detector_makes_a_kernel_faster() {
        assert!(Detector::ALL.iter().all(|detector| detector.slowdown() >= 1.0));
    }
}
