//! Processor time of the kernel's workers: what a cleanup costs, without what it
//! waits for.
//!
//! Workers are those of workqueues, by their names; where a trace tells which of
//! them did it, only those. Whatever else they do in the meantime counts as well.

use std::collections::BTreeMap;

use crate::{ffi, procfs};

/// First part of the name of each worker (`create_worker`, kernel/workqueue.c).
const WORKER: &str = "kworker/";

/// Whose work is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Workers {
    /// That of every worker: it is not known which of them did it.
    All,
    /// That of workers with these process ids.
    These(Vec<i32>),
}

/// What the workers had used up at a moment, in nanoseconds, by process id.
#[derive(Debug, Clone, Default)]
pub(crate) struct WorkTime(BTreeMap<i32, u64>);

impl WorkTime {
    /// Of this moment. Reading it takes milliseconds: not within what is timed.
    pub(crate) fn now() -> Self {
        let workers = procfs::processes().into_iter().filter(|stat| stat.comm.starts_with(WORKER));
        Self(workers.filter_map(|stat| Some((stat.pid, ffi::cpu_time_of(stat.pid)?))).collect())
    }

    /// What these workers used since `earlier`, in nanoseconds. A worker that is new began with
    /// nothing; what one used that is gone is not known and was little, for only idle
    /// ones go.
    pub(crate) fn since(&self, earlier: &Self, workers: &Workers) -> u64 {
        let used = |(pid, now): (&i32, &u64)| now.saturating_sub(earlier.0.get(pid).copied().unwrap_or(0));
        let meant = |(pid, _): &(&i32, &u64)| match workers {
            Workers::All => true,
            Workers::These(pids) => pids.contains(pid),
        };
        self.0.iter().filter(meant).map(used).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work(times: &[(i32, u64)]) -> WorkTime {
        WorkTime(times.iter().copied().collect())
    }

    #[test]
    fn workers_that_come_and_go_do_not_spoil_the_sum() {
        let earlier = work(&[(7, 100), (8, 50), (9, 1_000)]);
        assert_eq!(work(&[(7, 140), (8, 50), (10, 5)]).since(&earlier, &Workers::All), 45);
    }

    #[test]
    fn others_than_those_that_are_meant_do_not_count() {
        let (earlier, now) = (work(&[(7, 100), (8, 50)]), work(&[(7, 140), (8, 90)]));
        assert_eq!(now.since(&earlier, &Workers::These(vec![8, 11])), 40);
        assert_eq!(now.since(&earlier, &Workers::These(vec![])), 0);
    }

    #[test]
    fn a_number_that_was_given_again_counts_no_less_than_nothing() {
        assert_eq!(work(&[(7, 10)]).since(&work(&[(7, 100)]), &Workers::All), 0);
    }

    #[test]
    fn the_time_of_a_process_is_that_of_its_own_clock() {
        let own = rustix::process::getpid().as_raw_nonzero().get();
        let before = crate::clock::process_cpu_ns();
        let told = ffi::cpu_time_of(own).expect("a process that runs");
        assert!((before..=crate::clock::process_cpu_ns()).contains(&told));
        // PID_MAX_LIMIT, include/linux/threads.h: no process has it.
        assert_eq!(ffi::cpu_time_of(4 << 20), None);
    }
}
