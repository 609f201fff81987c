//! Memory that the kernel does not give back after a drain.

use std::fs;

use super::super::ns;
use crate::procfs;

/// Memory of the kernel after the first and the last drain. The first one fills
/// the kernel's caches; what grows after it is not given back.
#[derive(Debug, Default)]
pub(super) struct Memory {
    first: Option<u64>,
    last: Option<u64>,
}

impl Memory {
    pub(super) fn look(&mut self) {
        let now = fs::read_to_string("/proc/meminfo").ok().and_then(|text| kernel_memory(&text));
        match self.first {
            None => self.first = now,
            Some(_) => self.last = now,
        }
    }

    pub(super) fn kept(&self) -> Option<f64> {
        Some(ns(self.last?) - ns(self.first?))
    }
}

/// Bytes in slab caches and per-processor areas: where namespaces live.
fn kernel_memory(meminfo: &str) -> Option<u64> {
    let bytes = |key| procfs::meminfo_bytes(meminfo, key);
    Some(bytes("Slab")? + bytes("Percpu")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_memory_is_slabs_and_areas_of_processors() {
        let meminfo = "MemTotal: 9 kB\nSlab:  100 kB\nSReclaimable: 40 kB\nPercpu:   7 kB\n";
        assert_eq!(kernel_memory(meminfo), Some(107 * 1024));
        assert_eq!(kernel_memory("Slab: 100 kB\n"), None);
    }

    #[test]
    fn memory_that_came_back_counts_below_zero() {
        assert_eq!(Memory { first: Some(5000), last: Some(4000) }.kept(), Some(-1000.0));
        assert_eq!(Memory { first: Some(5000), last: None }.kept(), None);
    }
}
