//! Makes the process cheap to fork: each mapping that a child has no use for
//! costs time in `dup_mmap`, at the child's end, and where one of them writes.
//! A program in C has a quarter of ours.

use std::io;

use crate::context::Stop;
use crate::ffi;

/// A line of `/proc/self/maps`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    start: usize,
    end: usize,
    name: String,
}

fn mappings(maps: &str) -> Vec<Mapping> {
    let mapping = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let address = |text| usize::from_str_radix(text, 16).ok();
        let name = words.nth(4).unwrap_or_default().to_owned();
        Some(Mapping { start: address(start)?, end: address(end)?, name })
    };
    maps.lines().filter_map(mapping).collect()
}

/// Whether a child that only makes system calls needs it: our program, the C
/// library and the loader, the stack, the kernel's pages, and the memory of the
/// thread.
fn is_needed(mapping: &Mapping, program: &str, thread: usize) -> bool {
    let library = |name: &str| {
        let file = name.rsplit('/').next().unwrap_or_default();
        file.starts_with("libc.") || file.starts_with("ld-")
    };
    mapping.name == program
        || library(&mapping.name)
        || mapping.name == "[stack]"
        || mapping.name.starts_with("[v")
        || (mapping.start..mapping.end).contains(&thread)
}

/// What children can do without. The zeroed part of a program or library follows
/// its file without a name of its own.
fn idle<'a>(all: &'a [Mapping], program: &str, thread: usize) -> Vec<&'a Mapping> {
    let mut idle = Vec::new();
    let mut needed_until = None;
    for mapping in all {
        let continues = mapping.name.is_empty() && needed_until == Some(mapping.start);
        if continues || is_needed(mapping, program, thread) {
            needed_until = Some(mapping.end);
        } else {
            idle.push(mapping);
        }
    }
    idle
}

/// Children have nothing but what a system call needs from now on: above all no
/// heap.
pub(super) fn slim_down() -> Result<(), Stop> {
    let failed = |error: io::Error| Stop::Error(format!("cannot keep memory from children: {error}"));
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(failed)?;
    let program = std::fs::read_link("/proc/self/exe").map_err(failed)?;
    let (program, thread) = (program.to_string_lossy(), ffi::thread_local_address());
    for mapping in idle(&mappings(&maps), &program, thread) {
        // SAFETY: the children of this loop make system calls and end. They
        // allocate nothing, and read nothing but their stack and constants.
        unsafe { ffi::keep_from_children(mapping.start, mapping.end - mapping.start) }.map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
55d0c0000000-55d0c0100000 r-xp 00000000 fe:00 99 /init
55d0c0100000-55d0c0104000 rw-p 00000000 00:00 0
55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0 [heap]
7f0000000000-7f0000200000 r-xp 00000000 fe:00 12 /lib/x86_64-linux-gnu/libc.so.6
7f0000300000-7f0000320000 r-xp 00000000 fe:00 13 /lib/x86_64-linux-gnu/libgcc_s.so.1
7f0000400000-7f0000401000 rw-p 00000000 00:00 0
7f0000500000-7f0000600000 rw-p 00000000 00:00 0
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0 [stack]
7ffc00100000-7ffc00102000 r-xp 00000000 00:00 0 [vdso]
";

    #[test]
    fn a_child_keeps_code_stack_and_thread_and_loses_the_rest() {
        let all = mappings(MAPS);
        assert_eq!(all.len(), 9);
        let thread = 0x7f00_0040_0e80;
        let lost: Vec<_> = idle(&all, "/init", thread).iter().map(|mapping| mapping.start).collect();
        assert_eq!(lost, [0x55d0_c100_0000, 0x7f00_0030_0000, 0x7f00_0050_0000]);
    }

    #[test]
    fn this_process_has_a_thread_and_a_stack() {
        let all = mappings(&std::fs::read_to_string("/proc/self/maps").expect("maps"));
        assert!(all.iter().any(|mapping| mapping.name == "[stack]"));
        let thread = ffi::thread_local_address();
        assert_eq!(all.iter().filter(|mapping| (mapping.start..mapping.end).contains(&thread)).count(), 1);
    }

    #[test]
    fn lines_that_are_none_are_passed_over() {
        assert_eq!(mappings("\n zz-yy r--p\nhello\n"), []);
    }
}
