//! What a workload sees of the harness: its parameters, its clock, and the
//! places where samples, notes and assertions go.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use kregress_wire::{Event, Value, WorkloadInfo};

use crate::clock;

/// Why a workload ended before its last line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The kernel broke an assertion.
    #[error("{0}")]
    Fail(String),
    /// The kernel lacks something; the text names the option that brings it.
    #[error("{0}")]
    Skip(String),
    /// The workload could not do its work; says nothing of the kernel.
    #[error("{0}")]
    Error(String),
}

/// How a workload ends: `Ok` when it came to its end with every check held.
pub type WorkloadResult = Result<(), Stop>;

/// A workload: what it says of itself, and its code.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Name, parameters, metrics.
    pub info: &'static WorkloadInfo,
    /// Runs in a process of its own, as root, with the initial namespaces.
    pub run: fn(&Context<'_>) -> WorkloadResult,
}

/// Takes the events of a workload on their way to the host.
pub type Sink<'a> = dyn FnMut(Event) -> std::io::Result<()> + 'a;

/// One execution of a workload. Shared by reference with everything the
/// workload calls, on the thread that runs it.
pub struct Context<'a> {
    test: u32,
    params: &'a BTreeMap<String, Value>,
    seed: u64,
    deadline_ns: u64,
    state: RefCell<State<'a>>,
}

struct State<'a> {
    sink: &'a mut Sink<'a>,
    checks: u64,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("test", &self.test)
            .field("params", self.params)
            .finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    /// Prepares an execution whose own waits should end within `limit`.
    pub fn new(
        test: u32,
        params: &'a BTreeMap<String, Value>,
        seed: u64,
        limit: Duration,
        sink: &'a mut Sink<'a>,
    ) -> Self {
        let limit = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let deadline_ns = clock::monotonic_ns().saturating_add(limit);
        Self { test, params, seed, deadline_ns, state: RefCell::new(State { sink, checks: 0 }) }
    }

    /// A parameter that the workload declares as a number.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the plan lacks it or holds a word: then the plan
    /// was not made from this registry.
    pub fn int(&self, name: &str) -> Result<i64, Stop> {
        match self.params.get(name) {
            Some(Value::Int(value)) => Ok(*value),
            other => Err(Stop::Error(format!("parameter `{name}` is {other:?}, a number was expected"))),
        }
    }

    /// A parameter that the workload declares as a number that is never negative.
    ///
    /// # Errors
    ///
    /// As [`Self::int`], and for a negative number.
    pub fn count(&self, name: &str) -> Result<usize, Stop> {
        let value = self.int(name)?;
        usize::try_from(value)
            .map_err(|_| Stop::Error(format!("parameter `{name}` is {value}, which is below 0")))
    }

    /// A parameter that the workload declares as a choice.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the plan lacks it or holds a number.
    pub fn choice(&self, name: &str) -> Result<&str, Stop> {
        match self.params.get(name) {
            Some(Value::Text(value)) => Ok(value),
            other => Err(Stop::Error(format!("parameter `{name}` is {other:?}, a word was expected"))),
        }
    }

    /// Source of everything random in this execution.
    #[must_use]
    pub fn rng(&self) -> fastrand::Rng {
        fastrand::Rng::with_seed(self.seed)
    }

    /// Time left for waits, so that a wait that fails can say what it waited for
    /// before the host ends the guest.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        Duration::from_nanos(self.deadline_ns.saturating_sub(clock::monotonic_ns()))
    }

    /// Asserts something about the kernel.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with the message when it does not hold.
    pub fn check(&self, holds: bool, message: impl FnOnce() -> String) -> WorkloadResult {
        self.state.borrow_mut().checks += 1;
        if holds { Ok(()) } else { Err(Stop::Fail(message())) }
    }

    /// Counts assertions that were made elsewhere, for instance on other threads.
    pub fn checked(&self, checks: u64) {
        self.state.borrow_mut().checks += checks;
    }

    /// Assertions made so far.
    #[must_use]
    pub fn checks(&self) -> u64 {
        self.state.borrow().checks
    }

    /// Reports one observation, in the unit that the metric declares.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the way to the host is gone.
    pub fn sample(&self, metric: &str, value: f64) -> WorkloadResult {
        self.samples(metric, vec![value])
    }

    /// Reports observations in the order in which they were made.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the way to the host is gone.
    pub fn samples(&self, metric: &str, values: Vec<f64>) -> WorkloadResult {
        // Far below the limit of a frame: a number takes at most 25 bytes of JSON.
        const BATCH: usize = 16_384;
        for batch in values.chunks(BATCH) {
            self.send(Event::Samples { test: self.test, metric: metric.to_owned(), values: batch.to_vec() })?;
        }
        Ok(())
    }

    /// Reports a fact about how the test was run.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the way to the host is gone.
    pub fn note(&self, key: &str, value: impl Into<String>) -> WorkloadResult {
        self.send(Event::Note { test: self.test, key: key.to_owned(), value: value.into() })
    }

    /// Says that the test is alive and how far it is.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the way to the host is gone.
    pub fn progress(&self, done: u64, total: u64) -> WorkloadResult {
        self.send(Event::Progress { test: self.test, done, total })
    }

    fn send(&self, event: Event) -> WorkloadResult {
        (self.state.borrow_mut().sink)(event)
            .map_err(|error| Stop::Error(format!("the way to the host is gone: {error}")))
    }
}
