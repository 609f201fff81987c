//! A starting line: threads gather, then all begin at the same time.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::clock;

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

/// The run does not take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Aborted;

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
    pub(crate) fn pass(mut self) -> Result<(), Aborted> {
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
            Signal::Abort => Err(Aborted),
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

#[cfg(test)]
mod tests {
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
            (at, threads.into_iter().map(join).collect::<Vec<Result<u64, Aborted>>>())
        });
        assert_eq!(started.len(), 4);
        assert!(started.iter().all(|time| time.is_ok_and(|time| time >= at)), "{started:?} from {at}");
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
        assert_eq!(passed, Err(Aborted));
        assert_eq!(gate.ticket().pass(), Err(Aborted));
    }
}
