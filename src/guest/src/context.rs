//! What a workload sees of the harness: its parameters, its clock, and the
//! places where samples, notes and assertions go.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use kregress_wire::{Event, Exec, Value, WorkloadInfo};

use crate::clock;
use crate::deadline::Deadline;

/// Why a workload ended before its last line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stop {
    /// The kernel broke an assertion.
    #[error("{0}")]
    Fail(String),
    /// What was run did not end in time.
    #[error("{0}")]
    TimedOut(String),
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
    exec: Option<&'a Exec>,
    deadline: Deadline,
    state: RefCell<State<'a>>,
}

struct State<'a> {
    sink: &'a mut Sink<'a>,
    phases: fastrand::Rng,
    checks: u64,
    last_progress_ns: Option<u64>,
}

/// Tells the phases of a test apart from whatever else it draws.
const PHASES: u64 = 0x7068_6173_6573;

/// Least time between two reports of progress: each one wakes the session,
/// which costs the workload a processor for a moment.
const PROGRESS_INTERVAL_NS: u64 = 500_000_000;

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("test", &self.test)
            .field("params", self.params)
            .finish_non_exhaustive()
    }
}

impl<'a> Context<'a> {
    /// Prepares an execution whose own waits should end at `deadline`.
    pub fn new(
        test: u32,
        params: &'a BTreeMap<String, Value>,
        seed: u64,
        deadline: Deadline,
        sink: &'a mut Sink<'a>,
    ) -> Self {
        Self {
            test,
            params,
            seed,
            exec: None,
            deadline,
            state: RefCell::new(State {
                sink,
                phases: fastrand::Rng::with_seed(seed ^ PHASES),
                checks: 0,
                last_progress_ns: None,
            }),
        }
    }

    /// The same for a test that runs a program.
    #[must_use]
    pub fn of_program(self, exec: Option<&'a Exec>) -> Self {
        Self { exec, ..self }
    }

    /// The program that the test is.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the plan names none.
    pub fn program(&self) -> Result<&'a Exec, Stop> {
        self.exec.ok_or_else(|| Stop::Error("the plan names no program for this test".to_owned()))
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

    /// Moves to another place between two ticks of the kernel, drawn from the seed. To
    /// be called before each round that is timed: what waits for ticks, such as a grace
    /// period, would otherwise always be met at the same place, which another command
    /// line or one instruction more shifts, and with it every number.
    pub fn dither(&self) {
        let tick = clock::tick_ns().max(1);
        let phase = self.state.borrow_mut().phases.u64(..tick);
        clock::poll_interval(Duration::from_nanos(phase));
    }

    /// Time left for a wait during which the host hears nothing, so that a wait
    /// that fails can say what it waited for before the host ends the guest.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.remaining()
    }

    /// The same as something that can be given away.
    #[must_use]
    pub fn deadline(&self) -> &Deadline {
        &self.deadline
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
    /// [`Stop::Error`] for a value that is no number, which JSON cannot carry,
    /// and when the way to the host is gone.
    pub fn samples(&self, metric: &str, values: Vec<f64>) -> WorkloadResult {
        if let Some(value) = values.iter().find(|value| !value.is_finite()) {
            return Err(Stop::Error(format!("metric `{metric}` has a sample `{value}`")));
        }
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

    /// Reports where the time went.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the way to the host is gone.
    pub fn breakdown(&self, breakdown: kregress_wire::Breakdown) -> WorkloadResult {
        self.send(Event::Breakdown { test: self.test, breakdown })
    }

    /// Says that the test is alive and how far it is. May be called at every
    /// step: most calls do nothing, the one for the last step always tells.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the way to the host is gone.
    pub fn progress(&self, done: u64, total: u64) -> WorkloadResult {
        let now = clock::monotonic_ns();
        let last = self.state.borrow().last_progress_ns;
        if done < total && last.is_some_and(|last| now.saturating_sub(last) < PROGRESS_INTERVAL_NS) {
            return Ok(());
        }
        self.state.borrow_mut().last_progress_ns = Some(now);
        self.send(Event::Progress { test: self.test, done, total })
    }

    fn send(&self, event: Event) -> WorkloadResult {
        (self.state.borrow_mut().sink)(event)
            .map_err(|error| Stop::Error(format!("the way to the host is gone: {error}")))?;
        self.deadline.heard();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(entries: &[(&str, Value)]) -> BTreeMap<String, Value> {
        entries.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    /// Runs `body` in a context; what it returned and the events it sent.
    fn with<R>(params: &BTreeMap<String, Value>, body: impl FnOnce(&Context<'_>) -> R) -> (R, Vec<Event>) {
        let mut events = Vec::new();
        let mut sink = |event| {
            events.push(event);
            Ok(())
        };
        let result = body(&Context::new(
            3,
            params,
            9,
            Deadline::new(Duration::from_secs(3600), Duration::from_secs(3600)),
            &mut sink,
        ));
        (result, events)
    }

    #[test]
    fn a_parameter_of_the_wrong_kind_is_an_error_of_the_plan() {
        let params = params(&[("count", Value::Int(-1)), ("mode", Value::Text("fork".into()))]);
        let ((), _) = with(&params, |context| {
            assert_eq!(context.int("count"), Ok(-1));
            assert_eq!(context.choice("mode"), Ok("fork"));
            let error = |name| context.count(name).expect_err("wrong").to_string();
            assert_eq!(error("count"), "parameter `count` is -1, which is below 0");
            assert_eq!(error("mode"), r#"parameter `mode` is Some(Text("fork")), a number was expected"#);
            assert_eq!(error("none"), "parameter `none` is None, a number was expected");
            context.choice("count").expect_err("a number is no word");
        });
    }

    #[test]
    fn checks_are_counted_whether_they_hold_or_not() {
        let (checks, _) = with(&params(&[]), |context| {
            context.check(true, String::new).expect("holds");
            let broken = context.check(false, || "broken".into());
            assert_eq!(broken, Err(Stop::Fail("broken".into())));
            context.checked(5);
            context.checks()
        });
        assert_eq!(checks, 7);
    }

    #[test]
    fn many_samples_travel_in_order_in_frames_that_fit() {
        let all: Vec<f64> = (0..40_000).map(f64::from).collect();
        let (result, events) = with(&params(&[]), |context| context.samples("time", all.clone()));
        result.expect("sent");
        let mut seen = Vec::new();
        for event in events {
            assert!(serde_json::to_vec(&event).expect("serialise").len() <= kregress_wire::MAX_PAYLOAD);
            let Event::Samples { test: 3, values, .. } = event else { panic!("{event:?}") };
            seen.extend(values);
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn a_sample_that_is_no_number_never_reaches_the_wire() {
        for value in [f64::NAN, f64::INFINITY] {
            let (result, events) = with(&params(&[]), |context| context.sample("time", value));
            assert!(matches!(result, Err(Stop::Error(_))), "{result:?}");
            assert_eq!(events, []);
        }
    }

    #[test]
    fn the_first_and_the_last_step_are_told_and_a_flood_between_is_not() {
        let (result, events) =
            with(&params(&[]), |context| (1..=1000).try_for_each(|done| context.progress(done, 1000)));
        result.expect("sent");
        let progress = |done| Event::Progress { test: 3, done, total: 1000 };
        assert_eq!((events.first(), events.last()), (Some(&progress(1)), Some(&progress(1000))));
        assert!(events.len() < 1000, "{}", events.len());
    }

    #[test]
    fn a_host_that_is_gone_stops_the_workload() {
        let params = params(&[]);
        let mut sink = |_| Err(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let context = Context::new(3, &params, 9, Deadline::new(Duration::ZERO, Duration::ZERO), &mut sink);
        let result = context.note("key", "value");
        assert_eq!(result, Err(Stop::Error("the way to the host is gone: broken pipe".into())));
        assert_eq!(context.remaining(), Duration::ZERO);
    }

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw = |context: &Context<'_>| context.rng().u64(..);
        assert_eq!(with(&params(&[]), draw).0, with(&params(&[]), draw).0);
    }
}
