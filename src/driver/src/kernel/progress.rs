//! How far a build has come, read off make's own output. Pure.
//!
//! kbuild says what it does in lines like `  CC      net/core/dev.o`. Only the
//! kinds that cost time are counted.

/// Objects of a build from nothing, where no earlier build tells. From
/// experience: `kconfigs/base.config` on 6.12 makes 1347.
pub(super) const DEFAULT_OBJECTS: u64 = 1350;

/// Kinds that cost time: compilers, assembler, linker.
const COUNTED: [&str; 7] = ["CC", "AS", "LD", "HOSTCC", "HOSTCXX", "HOSTLD", "RUSTC"];

/// A line that kbuild prints for a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step<'a> {
    /// `CC`, `LD`, `GEN`.
    pub(super) kind: &'a str,
    /// What is made.
    pub(super) target: &'a str,
}

/// Reads a line of kbuild's, `None` for every other line.
pub(super) fn step(line: &str) -> Option<Step<'_>> {
    let rest = line.strip_prefix("  ")?;
    let (kind, rest) = rest.split_once(' ')?;
    let is_kind = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    if !kind.starts_with(|c: char| c.is_ascii_uppercase()) || !kind.chars().all(is_kind) {
        return None;
    }
    let rest = rest.trim_start();
    // `[M]` marks what belongs to a module.
    let target = rest.strip_prefix("[M]").map_or(rest, str::trim_start).trim_end();
    (!target.is_empty()).then_some(Step { kind, target })
}

/// Counts objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meter {
    done: u64,
    estimated: u64,
    line: String,
}

impl Meter {
    /// Starts with what an interrupted build had done, and an estimate of all;
    /// 0 when unknown.
    pub(super) fn new(done: u64, estimated: u64) -> Self {
        Self { done, estimated, line: String::new() }
    }

    /// Takes a line of the log.
    pub(super) fn line(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if step(line).is_some_and(|step| COUNTED.contains(&step.kind)) {
            self.done += 1;
        }
        line.trim().clone_into(&mut self.line);
    }

    /// Objects made.
    pub(super) fn done(&self) -> u64 {
        self.done
    }

    /// Estimate of all, 0 when unknown. Never below what was made: an estimate
    /// that was passed was wrong.
    pub(super) fn estimated(&self) -> u64 {
        if self.done > self.estimated { 0 } else { self.estimated }
    }

    /// Last line that was not blank.
    pub(super) fn last_line(&self) -> &str {
        &self.line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn steps_are_read() {
        assert_eq!(step("  CC      net/core/dev.o"), Some(Step { kind: "CC", target: "net/core/dev.o" }));
        assert_eq!(
            step("  CC [M]  net/netfilter/nft_chain.o"),
            Some(Step { kind: "CC", target: "net/netfilter/nft_chain.o" })
        );
        assert_eq!(step("  CHKSHA1 include/linux/atomic.h").map(|step| step.kind), Some("CHKSHA1"));
        assert_eq!(step("  HOSTCC  scripts/kallsyms\r").map(|step| step.target), Some("scripts/kallsyms"));
    }

    #[test]
    fn other_lines_are_not_steps() {
        for line in [
            "",
            "  ",
            "make[1]: Entering directory '/b'",
            "Kernel: arch/x86/boot/bzImage is ready  (#1)",
            "  CC",
            "  CC      ",
            "   CC     three/blanks.o",
            "  412 |         return 0",
            "  a.o: in function `x':",
            "CC net/core/dev.o",
        ] {
            assert_eq!(step(line), None, "{line:?}");
        }
    }

    #[test]
    fn only_what_costs_time_is_counted() {
        let mut meter = Meter::new(0, 10);
        for line in [
            "  GEN     Makefile",
            "  WRAP    arch/x86/include/generated/uapi/asm/errno.h",
            "  HOSTCC  scripts/kallsyms",
            "  CC      init/main.o",
            "  AR      init/built-in.a",
            "  AS      arch/x86/entry/entry.o",
            "  LD      vmlinux.o",
            "",
            "warning: something",
        ] {
            meter.line(line);
        }
        assert_eq!((meter.done(), meter.estimated(), meter.last_line()), (4, 10, "warning: something"));
    }

    #[test]
    fn an_estimate_that_was_passed_becomes_unknown() {
        let mut meter = Meter::new(1, 2);
        meter.line("  CC      a.o");
        assert_eq!((meter.done(), meter.estimated()), (2, 2));
        meter.line("  CC      b.o");
        assert_eq!((meter.done(), meter.estimated()), (3, 0));
    }

    proptest! {
        #[test]
        fn any_line_is_taken(lines in proptest::collection::vec(".*", 0..8)) {
            let mut meter = Meter::new(0, 5);
            lines.iter().for_each(|line| meter.line(line));
            prop_assert!(meter.done() <= lines.len() as u64);
        }
    }
}
