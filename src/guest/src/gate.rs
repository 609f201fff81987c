//! A starting line: threads gather, then all begin at the same time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ScopedJoinHandle};

use crate::context::Stop;
use crate::{affinity, clock};

/// From the signal to the start. Sleeping threads need that long to be awake
/// even on a busy host under TCG; they spin for the rest of it.
const LEAD_NS: u64 = 1_000_000;

/// Where threads gather.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    arrived: usize,
    signal: Option<Signal>,
}

#[derive(Debug, Clone, Copy)]
enum Signal {
    /// At this time of the monotonic clock.
    StartAt(u64),
    /// Not all could come.
    Abort,
}

/// A thread's right to pass, which counts as arrived also when it is lost: a
/// thread that fails on its way keeps nobody waiting.
#[derive(Debug)]
pub(crate) struct Ticket<'a> {
    gate: &'a Gate,
    arrived: bool,
}

impl Gate {
    /// A ticket for one thread.
    pub(crate) fn ticket(&self) -> Ticket<'_> {
        Ticket { gate: self, arrived: false }
    }

    /// Waits until that many have arrived, and starts them; when they start.
    pub(crate) fn start(&self, threads: usize) -> u64 {
        let mut state = self.lock();
        while state.arrived < threads {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let at = clock::monotonic_ns() + LEAD_NS;
        state.signal = Some(Signal::StartAt(at));
        self.changed.notify_all();
        at
    }

    /// Sends everybody home.
    pub(crate) fn abort(&self) {
        self.lock().signal = Some(Signal::Abort);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between any two statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Arrives and waits for the start.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when it does not take place.
    pub(crate) fn pass(mut self) -> Result<(), Stop> {
        self.arrive();
        let mut state = self.gate.lock();
        let signal = loop {
            match state.signal {
                Some(signal) => break signal,
                None => state = self.gate.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        };
        drop(state);
        match signal {
            Signal::Abort => Err(Stop::Error("the other threads could not be started".into())),
            Signal::StartAt(at) => {
                while clock::monotonic_ns() < at {
                    std::hint::spin_loop();
                }
                Ok(())
            }
        }
    }

    fn arrive(&mut self) {
        if !std::mem::replace(&mut self.arrived, true) {
            self.gate.lock().arrived += 1;
            self.gate.changed.notify_all();
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.arrive();
    }
}

/// Runs `work` on a thread of every processor named, which passes when all have
/// come; when they started, and what each one gave, in the order of processors.
///
/// # Errors
///
/// The first error of a thread, when all of them have ended; [`Stop::Error`] when
/// one cannot be started, or pinned to its processor.
pub(crate) fn on_all<T, F>(cpus: &[usize], work: F) -> Result<(u64, Vec<T>), Stop>
where
    T: Send,
    F: Fn(Ticket<'_>) -> Result<T, Stop> + Sync,
{
    let gate = Gate::default();
    thread::scope(|scope| {
        let mut threads: Vec<ScopedJoinHandle<'_, Result<T, Stop>>> = Vec::new();
        for cpu in cpus {
            let (ticket, work) = (gate.ticket(), &work);
            let member = move || {
                affinity::pin(*cpu).map_err(|error| {
                    Stop::Error(format!("cannot pin a thread to processor {cpu}: {error}"))
                })?;
                work(ticket)
            };
            match thread::Builder::new().name(format!("cpu{cpu}")).spawn_scoped(scope, member) {
                Ok(thread) => threads.push(thread),
                Err(error) => {
                    gate.abort();
                    return Err(Stop::Error(format!("cannot start a thread: {error}")));
                }
            }
        }
        let started_ns = gate.start(threads.len());
        let join = |thread: ScopedJoinHandle<'_, Result<T, Stop>>| {
            thread.join().unwrap_or_else(|_| Err(Stop::Error("a thread panicked".into())))
        };
        // All are joined before the first error is told.
        let results: Vec<_> = threads.into_iter().map(join).collect();
        Ok((started_ns, results.into_iter().collect::<Result<_, _>>()?))
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn nobody_starts_before_the_last_one_has_arrived() {
        let gate = Gate::default();
        let (at, started) = std::thread::scope(|scope| {
            let run = |_| {
                let ticket = gate.ticket();
                scope.spawn(|| ticket.pass().map(|()| clock::monotonic_ns()))
            };
            let threads: Vec<_> = (0..4).map(run).collect();
            let at = gate.start(4);
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| thread.join().expect("join");
            (at, threads.into_iter().map(join).collect::<Vec<Result<u64, Stop>>>())
        });
        assert_eq!(started.len(), 4);
        assert!(
            started.iter().all(|time| time.as_ref().is_ok_and(|time| *time >= at)),
            "{started:?} from {at}"
        );
    }

    #[test]
    fn a_thread_that_fails_on_its_way_keeps_nobody_waiting() {
        let gate = Gate::default();
        let passed = std::thread::scope(|scope| {
            let (lost, ticket) = (gate.ticket(), gate.ticket());
            scope.spawn(|| drop(lost));
            let good = scope.spawn(|| ticket.pass());
            gate.start(2);
            good.join().expect("join")
        });
        assert_eq!(passed, Ok(()));
    }

    #[test]
    fn an_abort_sends_those_home_who_wait_and_those_who_come_later() {
        let gate = Gate::default();
        let passed = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.ticket().pass());
            gate.abort();
            waiting.join().expect("join")
        });
        assert!(matches!(passed, Err(Stop::Error(_))), "{passed:?}");
        let later = gate.ticket().pass();
        assert!(matches!(later, Err(Stop::Error(_))), "{later:?}");
    }

    #[test]
    fn work_runs_once_on_every_processor_named() {
        let cpu = affinity::cpus().expect("affinity")[0];
        let (started_ns, ended_ns) = on_all(&[cpu, cpu], |ticket| {
            ticket.pass()?;
            Ok(clock::monotonic_ns())
        })
        .expect("ran");
        assert_eq!(ended_ns.len(), 2);
        assert!(ended_ns.iter().all(|ended_ns| *ended_ns >= started_ns));
    }

    #[test]
    fn an_error_of_one_thread_is_told_and_no_thread_is_left_behind() {
        let cpu = affinity::cpus().expect("affinity")[0];
        let turn = AtomicBool::new(false);
        let result = on_all(&[cpu, cpu], |ticket| {
            if turn.swap(true, Ordering::Relaxed) {
                return Err(Stop::Fail("broken".into()));
            }
            ticket.pass()
        });
        assert_eq!(result.expect_err("broken"), Stop::Fail("broken".into()));
    }

    #[test]
    fn a_processor_that_is_not_there_is_named() {
        let error = on_all(&[1023], |_| Ok(())).expect_err("no such processor");
        let Stop::Error(message) = error else { panic!("{error:?}") };
        assert!(message.starts_with("cannot pin a thread to processor 1023: "), "{message}");
    }
}
