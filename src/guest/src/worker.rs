//! The process that runs one workload: takes the test from stdin, reports
//! through what was stdout, and ends.
//!
//! Its exit code says only that the outcome was reported.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

use kregress_wire::{Event, Instead, Outcome, PlannedTest, Writer};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::stdio::{dup2_stdin, dup2_stdout};

use crate::context::{Context, Sink, Stop, Workload, WorkloadResult};
use crate::deadline::Deadline;
use crate::{clock, session, workloads};

/// Runs the test that stdin holds.
pub(crate) fn run() -> ExitCode {
    match report() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Goes to the output channel; the session tells the host that there
            // is no outcome.
            let _ = io::Write::write_all(&mut io::stderr(), format!("kregress: {error}\n").as_bytes());
            ExitCode::FAILURE
        }
    }
}

fn report() -> io::Result<()> {
    // A session that is gone has no use for its workload.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // When memory runs out it is the workload that has to go. Failing to say so
    // changes only who is killed.
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
    let mut json = Vec::new();
    io::stdin().lock().read_to_end(&mut json)?;
    let test: PlannedTest = serde_json::from_slice(&json)?;
    name_after(&test.workload);
    let mut events = Writer::new(take_stdout()?);
    let start = clock::monotonic_ns();
    let outcome = match workloads::find(&test.workload) {
        Some(workload) => execute(workload, &test, &mut |event| events.send(&event)),
        None => Outcome::Error { message: session::unknown_workload(&test.workload) },
    };
    let elapsed_ns = clock::monotonic_ns().saturating_sub(start);
    events.send(&Event::Finished { test: test.id, outcome, elapsed_ns })
}

/// Gives the process a name that the kernel log can show; `exe` says nothing.
fn name_after(workload: &str) {
    // The kernel cuts it to 15 bytes. A name with a zero in it has no workload.
    if let Ok(name) = CString::new(workload) {
        let _ = rustix::thread::set_name(&name);
    }
}

/// Moves the stream of events out of reach of a workload that prints, and of
/// the programs that it starts.
fn take_stdout() -> io::Result<File> {
    let events = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdout(), 3)?;
    dup2_stdout(rustix::stdio::stderr())?;
    // Without /dev/null stdin stays at the end of its pipe, which is as good.
    if let Ok(null) = OpenOptions::new().read(true).open("/dev/null") {
        dup2_stdin(OwnedFd::from(null))?;
    }
    Ok(File::from(events))
}

/// Runs a workload and turns every way in which it can end into an outcome.
fn execute(workload: &Workload, test: &PlannedTest, sink: &mut Sink<'_>) -> Outcome {
    static PANIC: Mutex<Option<String>> = Mutex::new(None);
    std::panic::set_hook(Box::new(|info| {
        let text = info.to_string();
        let _ = io::Write::write_all(&mut io::stderr(), format!("kregress: {text}\n").as_bytes());
        // The first one is the cause of the others.
        PANIC.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
    }));
    let context = Context::new(test.id, &test.params, test.seed, Deadline::of(test), sink)
        .of_program(test.exec.as_ref());
    let result = catch_unwind(AssertUnwindSafe(|| {
        told_by_the_host(&context, test)?;
        (workload.run)(&context)
    }));
    let checks = context.checks();
    let panic = PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (result, panic) {
        (Ok(Ok(())), None) if checks == 0 => {
            Outcome::Error { message: format!("workload `{}` ended without a single check", test.workload) }
        }
        (Ok(Ok(())), None) => Outcome::Pass { checks },
        (Ok(Err(Stop::Fail(message))), _) => Outcome::Fail { message },
        (Ok(Err(Stop::TimedOut(message))), None) => Outcome::TimedOut { message },
        (Ok(Err(Stop::Skip(reason))), None) => Outcome::Skip { reason },
        (Ok(Err(Stop::Error(message))), None) => Outcome::Error { message },
        // Also where a thread panicked and the workload did not mind.
        (_, panic) => Outcome::Error {
            message: format!(
                "workload `{}` panicked: {}",
                test.workload,
                panic.unwrap_or_else(|| "without a word".into())
            ),
        },
    }
}

/// What the host knows of a test, and what it comes to where the host knows that too.
fn told_by_the_host(context: &Context<'_>, test: &PlannedTest) -> WorkloadResult {
    let Some(exec) = &test.exec else { return Ok(()) };
    for (key, value) in &exec.notes {
        context.note(key, value)?;
    }
    match &exec.instead {
        Some(Instead::Skip(reason)) => Err(Stop::Skip(reason.clone())),
        Some(Instead::Error(reason)) => Err(Stop::Error(reason.clone())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use kregress_wire::WorkloadInfo;

    use super::*;

    const INFO: WorkloadInfo =
        WorkloadInfo { name: "test/worker", summary: "", params: &[], metrics: &[], modules: &[] };

    // The hook that catches panics belongs to the whole process, so tests that
    // go through it take turns.
    static TURN: Mutex<()> = Mutex::new(());

    fn outcome(run: fn(&Context<'_>) -> WorkloadResult) -> (Outcome, Vec<Event>) {
        let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let test = PlannedTest {
            id: 1,
            name: "suite/test".into(),
            workload: INFO.name.into(),
            params: BTreeMap::new(),
            timeout_ms: 1000,
            silence_ms: 1000,
            seed: 0,
            exec: None,
        };
        let hook = std::panic::take_hook();
        let mut events = Vec::new();
        let outcome = execute(&Workload { info: &INFO, run }, &test, &mut |event| {
            events.push(event);
            Ok(())
        });
        std::panic::set_hook(hook);
        (outcome, events)
    }

    #[test]
    fn a_workload_that_comes_to_its_end_passes_with_its_checks() {
        let (outcome, events) = outcome(|context| {
            context.note("key", "value")?;
            context.checked(2);
            context.check(true, String::new)
        });
        assert_eq!(outcome, Outcome::Pass { checks: 3 });
        assert_eq!(events, [Event::Note { test: 1, key: "key".into(), value: "value".into() }]);
    }

    #[test]
    fn a_workload_that_checks_nothing_does_not_pass() {
        let (outcome, _) = outcome(|_| Ok(()));
        let message = "workload `test/worker` ended without a single check".to_owned();
        assert_eq!(outcome, Outcome::Error { message });
    }

    #[test]
    fn a_broken_check_is_a_failure_with_its_message() {
        let (outcome, _) = outcome(|context| context.check(1 > 2, || "1 is not above 2".into()));
        assert_eq!(outcome, Outcome::Fail { message: "1 is not above 2".into() });
    }

    #[test]
    fn stops_keep_their_kind() {
        let (skip, _) = outcome(|_| Err(Stop::Skip("needs CONFIG_X".into())));
        assert_eq!(skip, Outcome::Skip { reason: "needs CONFIG_X".into() });
        let (error, _) = outcome(|_| Err(Stop::Error("no luck".into())));
        assert_eq!(error, Outcome::Error { message: "no luck".into() });
    }

    #[test]
    fn a_panic_is_an_error_with_message_and_place() {
        let (outcome, _) = outcome(|_| panic!("the moon is full"));
        let Outcome::Error { message } = outcome else { panic!("{outcome:?}") };
        assert!(message.starts_with("workload `test/worker` panicked: panicked at "), "{message}");
        assert!(message.contains("worker.rs:") && message.ends_with("the moon is full"), "{message}");
    }

    #[test]
    fn a_panic_of_a_thread_is_an_error_even_if_nobody_joins_it() {
        let (outcome, _) = outcome(|context| {
            context.checked(1);
            let _ = std::thread::spawn(|| panic!("on a thread")).join();
            Ok(())
        });
        let Outcome::Error { message } = outcome else { panic!("{outcome:?}") };
        assert!(message.ends_with("on a thread"), "{message}");
    }
}
