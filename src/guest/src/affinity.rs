//! Which processors there are, and tying threads to them.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Numbers of the processors that the calling thread may run on.
pub(crate) fn cpus() -> rustix::io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    Ok((0..CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect())
}

/// Ties the calling thread to one processor.
pub(crate) fn pin(cpu: usize) -> rustix::io::Result<()> {
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_has_one_processor() {
        let last = *cpus().expect("affinity").last().expect("a processor");
        let pinned = std::thread::spawn(move || pin(last).and_then(|()| cpus())).join().expect("join");
        assert_eq!(pinned, Ok(vec![last]));
        assert!(cpus().expect("affinity").contains(&last));
    }
}
