//! Starts the process that runs one workload, and listens to it until it is
//! gone.
//!
//! The only place in the guest that starts a program of ours; the workload `exec`
//! starts those of suites. A workload has a process
//! of its own so that its crash, its leaks and its namespaces end with it.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use kregress_wire::{Event, Outcome, PlannedTest, WorkloadInfo};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::procfs::Toll;
use crate::relay::{End, Relay};

/// What to run for a workload.
#[derive(Debug, Clone)]
pub(crate) struct Launcher {
    /// The program.
    pub(crate) program: PathBuf,
    /// Its arguments.
    pub(crate) args: Vec<String>,
}

impl Launcher {
    /// This very program in its role as workload.
    pub(crate) fn own() -> Self {
        Self { program: "/proc/self/exe".into(), args: vec![crate::WORKLOAD.into()] }
    }
}

/// What a session gives to the test that it runs.
pub(crate) struct Surroundings<'a> {
    /// Takes stdout and stderr; without it they are lost.
    pub(crate) output: Option<&'a OwnedFd>,
    /// Told of the process as long as it lives, for a diagnosis.
    pub(crate) watch: &'a dyn Fn(Option<Pid>),
    /// Takes the events.
    pub(crate) forward: &'a mut dyn FnMut(Event) -> io::Result<()>,
}

/// Runs a test to its end. The outcome tells everything that went wrong with
/// the test itself.
///
/// # Errors
///
/// Fails when events cannot be forwarded: then nobody is left to report to.
/// The process is killed.
pub(crate) fn run(
    launcher: &Launcher,
    test: &PlannedTest,
    info: &'static WorkloadInfo,
    around: &mut Surroundings<'_>,
) -> io::Result<Outcome> {
    let before = Toll::now();
    let failed = |what: &str, error: io::Error| Outcome::Error { message: format!("{what}: {error}") };
    let mut running = match start(launcher, around.output) {
        Ok(running) => running,
        Err(error) => return Ok(failed("cannot start the workload", error)),
    };
    (around.watch)(Some(running.pid));
    // A child that is gone already cannot read its test; how it ended says more
    // than the failure to write.
    let order = serde_json::to_vec(test).map_err(io::Error::other);
    let ordered = order.and_then(|bytes| running.order(&bytes));
    let mut relay = Relay::new(test.id, info);
    let status = running.listen(&mut relay, around.forward);
    (around.watch)(None);
    let end = match status {
        Ok(status) => status.signal().map_or_else(|| End::Exited(status.code().unwrap_or(-1)), End::Killed),
        Err(ListenError::Forward(error)) => return Err(error),
        Err(ListenError::Child(error)) => return Ok(failed("cannot listen to the workload", error)),
    };
    match (ordered, relay.conclude(end, before, Toll::now())) {
        (Err(error), Outcome::Error { message }) => {
            Ok(Outcome::Error { message: format!("{message}; it could not be told its test: {error}") })
        }
        (_, outcome) => Ok(outcome),
    }
}

/// A started process. Dropping it kills it.
struct Running {
    child: Child,
    pid: Pid,
    exit: OwnedFd,
    events: File,
}

enum ListenError {
    /// The events have nowhere to go.
    Forward(io::Error),
    /// The process cannot be heard or waited for.
    Child(io::Error),
}

fn start(launcher: &Launcher, output: Option<&OwnedFd>) -> io::Result<Running> {
    let stderr = match output {
        Some(output) => Stdio::from(output.try_clone()?),
        None => Stdio::null(),
    };
    #[expect(clippy::disallowed_methods, reason = "this is the room for it")]
    let mut command = Command::new(&launcher.program);
    command
        .args(&launcher.args)
        // The test goes in through stdin, events come out through stdout: the
        // only descriptors that need no number to be agreed upon. The worker
        // moves both away before the workload can see them.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .process_group(0);
    if std::env::var_os("PATH").is_none() {
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    }
    let mut child = command.spawn()?;
    let attach = |child: &mut Child| {
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the process has no id"))?;
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("the process has no stdout"))?;
        Ok::<_, io::Error>((pid, pidfd_open(pid, PidfdFlags::empty())?, File::from(OwnedFd::from(stdout))))
    };
    match attach(&mut child) {
        Ok((pid, exit, events)) => Ok(Running { child, pid, exit, events }),
        Err(error) => {
            // Without these it cannot be watched.
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

impl Running {
    fn order(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.child.stdin.take() {
            Some(mut stdin) => stdin.write_all(bytes),
            None => Err(io::Error::other("the process has no stdin")),
        }
    }

    /// Forwards events until the process is gone and its pipe is empty. The end
    /// of the pipe alone says nothing: what the workload forked may hold it open
    /// for long.
    fn listen(
        &mut self,
        relay: &mut Relay,
        forward: &mut dyn FnMut(Event) -> io::Result<()>,
    ) -> Result<ExitStatus, ListenError> {
        let child_error = |error: Errno| ListenError::Child(error.into());
        rustix::io::ioctl_fionbio(&self.events, true).map_err(child_error)?;
        let mut open = true;
        loop {
            let flags = |fd: &PollFd<'_>| !fd.revents().is_empty();
            let gone = {
                let mut fds = vec![PollFd::new(&self.exit, PollFlags::IN)];
                if open {
                    fds.push(PollFd::from_borrowed_fd(self.events.as_fd(), PollFlags::IN));
                }
                match poll(&mut fds, None) {
                    Ok(_) => {}
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(child_error(error)),
                }
                fds.first().is_some_and(flags)
            };
            if open {
                open = drain(&mut self.events, relay, forward)?;
            }
            if gone {
                // What was written before the end is in the pipe, and was
                // drained after the end was seen.
                return self.child.wait().map_err(ListenError::Child);
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Nothing happens where it has been waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Forwards what is in the pipe. False at its end.
fn drain(
    events: &mut File,
    relay: &mut Relay,
    forward: &mut dyn FnMut(Event) -> io::Result<()>,
) -> Result<bool, ListenError> {
    let mut chunk = [0; 65_536];
    loop {
        match events.read(&mut chunk) {
            Ok(0) => return Ok(false),
            Ok(count) => {
                for event in relay.push(chunk.get(..count).unwrap_or_default()) {
                    forward(event).map_err(ListenError::Forward)?;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(ListenError::Child(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Seek as _;
    use std::sync::Mutex;

    use kregress_wire::Writer;

    use super::*;

    const INFO: WorkloadInfo =
        WorkloadInfo { name: "test/child", summary: "", params: &[], metrics: &[], modules: &[] };

    fn test() -> PlannedTest {
        PlannedTest {
            id: 4,
            name: "suite/test".into(),
            workload: INFO.name.into(),
            params: BTreeMap::new(),
            timeout_ms: 1000,
            silence_ms: 1000,
            seed: 0,
            exec: None,
        }
    }

    /// A file that holds these events as frames, for scripts to `cat`.
    fn frames(events: &[Event]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().expect("file");
        let mut writer = Writer::new(&mut file);
        for event in events {
            writer.send(event).expect("send");
        }
        file
    }

    fn pass() -> Event {
        Event::Finished { test: 4, outcome: Outcome::Pass { checks: 1 }, elapsed_ns: 1 }
    }

    fn note(key: &str) -> Event {
        Event::Note { test: 4, key: key.into(), value: String::new() }
    }

    struct Seen {
        outcome: io::Result<Outcome>,
        events: Vec<Event>,
        watched: Vec<bool>,
    }

    /// Runs a shell script in the place of a workload; `$1` is a file of frames.
    fn run_script(script: &str, events: &[Event]) -> Seen {
        run_script_to(script, events, None, |_| Ok(()))
    }

    fn run_script_to(
        script: &str,
        events: &[Event],
        output: Option<&OwnedFd>,
        sink: fn(&Event) -> io::Result<()>,
    ) -> Seen {
        let file = frames(events);
        let path = file.path().to_str().expect("path").to_owned();
        let args = vec!["-c".to_owned(), script.to_owned(), "fake".to_owned(), path];
        let launcher = Launcher { program: "/bin/sh".into(), args };
        let (mut seen, watched) = (Vec::new(), Mutex::new(Vec::new()));
        let watch = |pid: Option<Pid>| watched.lock().expect("lock").push(pid.is_some());
        let mut forward = |event: Event| {
            sink(&event)?;
            seen.push(event);
            Ok(())
        };
        let mut around = Surroundings { output, watch: &watch, forward: &mut forward };
        let outcome = run(&launcher, &test(), &INFO, &mut around);
        Seen { outcome, events: seen, watched: watched.into_inner().expect("lock") }
    }

    fn outcome(seen: Seen) -> Outcome {
        seen.outcome.expect("events were forwarded")
    }

    fn error(seen: Seen) -> String {
        match outcome(seen) {
            Outcome::Error { message } => message,
            other => panic!("an error was expected, got {other:?}"),
        }
    }

    #[test]
    fn events_are_forwarded_and_the_outcome_is_returned() {
        let seen = run_script("cat >/dev/null; cat $1", &[note("a"), note("b"), pass()]);
        assert_eq!(seen.events, [note("a"), note("b")]);
        assert_eq!(seen.watched, [true, false]);
        assert_eq!(outcome(seen), Outcome::Pass { checks: 1 });
    }

    #[test]
    fn the_test_arrives_on_standard_input_as_json() {
        let mut copy = tempfile::NamedTempFile::new().expect("file");
        let script = format!("cat >{}; cat $1", copy.path().display());
        assert_eq!(outcome(run_script(&script, &[pass()])), Outcome::Pass { checks: 1 });
        let mut json = String::new();
        copy.rewind().and_then(|()| copy.read_to_string(&mut json)).expect("read");
        assert_eq!(serde_json::from_str::<PlannedTest>(&json).expect("a test"), test());
    }

    #[test]
    fn a_death_by_signal_is_told_as_such() {
        let seen = run_script("cat >/dev/null; kill -TERM $$", &[]);
        assert_eq!(error(seen), "the workload was killed by SIGTERM without an outcome");
    }

    #[test]
    fn what_was_written_right_before_the_end_is_not_lost() {
        let many: Vec<Event> = (0..2000).map(|n| note(&format!("{n:0100}"))).collect();
        let seen = run_script("cat >/dev/null; cat $1; kill -KILL $$", &many);
        assert_eq!(seen.events.len(), many.len());
    }

    #[test]
    fn a_grandchild_that_holds_the_pipe_does_not_delay_the_end() {
        // The grandchild ends only when this file is gone, that is after the
        // outcome; its own limit keeps it from outliving a broken test.
        let hold = tempfile::NamedTempFile::new().expect("file");
        let script = format!(
            "cat >/dev/null; (n=0; while [ -e {} ] && [ $n -lt 300 ]; do sleep 0.1; n=$((n+1)); done) & cat $1",
            hold.path().display()
        );
        assert_eq!(outcome(run_script(&script, &[pass()])), Outcome::Pass { checks: 1 });
        drop(hold);
    }

    #[test]
    fn a_closed_pipe_is_not_taken_for_the_end() {
        let seen = run_script("cat >/dev/null; cat $1; exec >&-; kill -SEGV $$", &[pass()]);
        assert_eq!(error(seen), "the workload said pass, then was killed by SIGSEGV");
    }

    #[test]
    fn a_process_that_never_reads_its_test_is_told_by_its_end() {
        assert_eq!(
            error(run_script("exec <&-; exit 3", &[])).split(';').next(),
            Some("the workload exited with code 3 without an outcome")
        );
    }

    #[test]
    fn a_missing_program_is_an_error_of_the_harness() {
        let launcher = Launcher { program: "/no/such/program".into(), args: vec![] };
        let mut forward = |_| Ok(());
        let mut around = Surroundings { output: None, watch: &|_| (), forward: &mut forward };
        let outcome = run(&launcher, &test(), &INFO, &mut around).expect("outcome");
        let Outcome::Error { message } = outcome else { panic!("{outcome:?}") };
        assert!(message.starts_with("cannot start the workload: No such file"), "{message}");
    }

    #[test]
    fn a_lost_host_ends_the_process() {
        let refuse = |_: &Event| Err(io::Error::from(io::ErrorKind::BrokenPipe));
        let seen = run_script_to("cat >/dev/null; cat $1; exec sleep 1000", &[note("a")], None, refuse);
        assert_eq!(seen.outcome.expect_err("lost").kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn standard_error_goes_to_the_output_channel() {
        let mut file = tempfile::tempfile().expect("file");
        let output = OwnedFd::from(file.try_clone().expect("clone"));
        let script = "cat >/dev/null; echo oh dear >&2; cat $1";
        let seen = run_script_to(script, &[pass()], Some(&output), |_| Ok(()));
        assert_eq!(outcome(seen), Outcome::Pass { checks: 1 });
        let mut text = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut text)).expect("read");
        assert_eq!(text, "oh dear\n");
    }
}
