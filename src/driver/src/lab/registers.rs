//! Reads the registers that QEMU's monitor shows, and tells from two looks
//! whether a guest's CPUs get on. Pure.

use std::fmt::Write as _;

/// First address of the kernel's half of the address space on x86-64.
const KERNEL: u64 = 0xffff_8000_0000_0000;

/// Bit of the flags that lets interrupts in.
const INTERRUPTS: u64 = 1 << 9;

/// CPUs that are told of; more of them say nothing new.
const MAX_CPUS: usize = 256;

/// Longest dump that is kept, in bytes.
const DUMP: usize = 12 << 10;

/// One CPU at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Cpu {
    place: u64,
    flags: u64,
    ring: u64,
    halted: bool,
}

/// What two looks tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Motion {
    /// First line: the sum. Then a line for each CPU, then the second look.
    pub(super) text: String,
    /// Where CPUs stand that neither move nor rest, inside the kernel.
    pub(super) stuck: Vec<(usize, u64)>,
}

/// Compares two looks; none if they do not show registers.
pub(super) fn compare(first: &str, second: &str) -> Option<Motion> {
    let (before, after) = (cpus(first), cpus(second));
    if before.is_empty() || before.len() != after.len() {
        return None;
    }
    let pairs = || before.iter().zip(&after).enumerate();
    let stands = |(before, after): (&Cpu, &Cpu)| before.place == after.place && !after.halted;
    let standing: Vec<usize> = pairs().filter(|(_, pair)| stands(*pair)).map(|(at, _)| at).collect();
    let sum = if after.iter().all(|cpu| cpu.halted) {
        "every CPU is halted and waits for an interrupt".to_owned()
    } else if standing.is_empty() {
        "the CPUs move".to_owned()
    } else {
        let place = |at: &usize| format!("CPU {at} stands still at {:016x}", after[*at].place);
        let more = standing.len().saturating_sub(4);
        let more = if more > 0 { format!(", and {more} more") } else { String::new() };
        standing.iter().take(4).map(place).collect::<Vec<_>>().join(", ") + &more
    };
    let mut text = sum + "\n";
    for (at, (before, after)) in pairs() {
        let moved = if before.place == after.place {
            format!("{:016x} twice", after.place)
        } else {
            format!("{:016x}, then {:016x}", before.place, after.place)
        };
        let mode = if after.ring == 0 { "kernel" } else { "user" };
        let state = if after.halted { "halted" } else { "running" };
        let interrupts = if after.flags & INTERRUPTS == 0 { "off" } else { "on" };
        let _ = writeln!(text, "CPU {at}: {moved}; {mode} mode, {state}, interrupts {interrupts}");
    }
    let dump = without_vectors(second);
    text.push_str(&dump[..dump.floor_char_boundary(DUMP)]);
    let in_kernel = |at: &usize| after[*at].ring == 0 && after[*at].place >= KERNEL;
    let stuck = standing.into_iter().filter(in_kernel).map(|at| (at, after[at].place)).collect();
    Some(Motion { text, stuck })
}

fn cpus(text: &str) -> Vec<Cpu> {
    let mut cpus: Vec<Cpu> = Vec::new();
    for line in text.lines() {
        let Some(place) = value(line, "RIP=").or_else(|| value(line, "EIP=")) else { continue };
        if cpus.len() == MAX_CPUS {
            break;
        }
        let flags = value(line, "RFL=").or_else(|| value(line, "EFL=")).unwrap_or_default();
        let ring = value(line, "CPL=").unwrap_or_default();
        cpus.push(Cpu { place, flags, ring, halted: value(line, "HLT=") == Some(1) });
    }
    cpus
}

/// The hexadecimal number behind `name`.
fn value(line: &str, name: &str) -> Option<u64> {
    let digits = line.split_once(name)?.1;
    let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
    u64::from_str_radix(&digits[..end], 16).ok()
}

/// Without the registers of the FPU, which are most of the text and say nothing
/// of the kernel.
fn without_vectors(text: &str) -> String {
    const VECTORS: [&str; 7] = ["FCW=", "FPR", "XMM", "YMM", "ZMM", "Opmask", "MXCSR"];
    let kept = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
    let kept = kept.filter(|line| !VECTORS.iter().any(|name| line.starts_with(name)));
    kept.flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    // As QEMU 7.2 shows it.
    fn look(cpus: &[(u64, u64, u64)]) -> String {
        let cpu = |(at, (rip, ring, halted)): (usize, &(u64, u64, u64))| {
            format!(
                "\r\nCPU#{at}\r\nRAX=0000000000000000 RBX=ffff888004a3c000\r\n\
                 RIP={rip:016x} RFL=00000246 [---Z-P-] CPL={ring} II=0 A20=1 SMM=0 HLT={halted}\r\n\
                 FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80\r\nXMM00=0000 0000\r\n"
            )
        };
        cpus.iter().enumerate().map(cpu).collect()
    }

    const LOOP: u64 = 0xffff_ffff_8100_0000;

    #[test]
    fn a_cpu_that_stands_still_in_the_kernel_is_stuck() {
        let motion = compare(&look(&[(LOOP, 0, 0), (5, 3, 0)]), &look(&[(LOOP, 0, 0), (9, 3, 0)]));
        let motion = motion.expect("registers");
        insta::assert_snapshot!(motion.text, @r"
        CPU 0 stands still at ffffffff81000000
        CPU 0: ffffffff81000000 twice; kernel mode, running, interrupts on
        CPU 1: 0000000000000005, then 0000000000000009; user mode, running, interrupts on
        CPU#0
        RAX=0000000000000000 RBX=ffff888004a3c000
        RIP=ffffffff81000000 RFL=00000246 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT=0
        CPU#1
        RAX=0000000000000000 RBX=ffff888004a3c000
        RIP=0000000000000009 RFL=00000246 [---Z-P-] CPL=3 II=0 A20=1 SMM=0 HLT=0
        ");
        assert_eq!(motion.stuck, [(0, LOOP)]);
    }

    #[test]
    fn a_cpu_that_rests_is_not_stuck() {
        let halted = look(&[(LOOP, 0, 1), (LOOP, 0, 1)]);
        let motion = compare(&halted, &halted).expect("registers");
        assert!(motion.text.starts_with("every CPU is halted"), "{}", motion.text);
        assert!(motion.stuck.is_empty());
    }

    #[test]
    fn a_cpu_that_moves_or_stands_outside_of_the_kernel_is_not_stuck() {
        let motion = compare(&look(&[(LOOP, 0, 0)]), &look(&[(LOOP + 4, 0, 0)])).expect("registers");
        assert!(motion.text.starts_with("the CPUs move\n"), "{}", motion.text);
        assert!(motion.stuck.is_empty());
        let firmware = look(&[(0xe_05b7, 0, 0)]);
        let motion = compare(&firmware, &firmware).expect("registers");
        assert!(motion.text.starts_with("CPU 0 stands still at 00000000000e05b7"), "{}", motion.text);
        assert!(motion.stuck.is_empty());
    }

    #[test]
    fn text_without_registers_tells_nothing() {
        assert_eq!(compare("", ""), None);
        assert_eq!(compare("unknown command: 'info registers'\r\n", "x"), None);
        assert_eq!(compare(&look(&[(1, 0, 0)]), &look(&[])), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(first in "(RIP=|EFL=|HLT=|[0-9a-fg \n]|\\PC){0,60}", second in "(RIP=|CPL=|[0-9a-f \n]){0,60}") {
            let _ = compare(&first, &second);
        }
    }
}
