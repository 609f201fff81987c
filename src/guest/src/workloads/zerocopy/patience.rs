//! How long the ends of a transfer wait, and how one learns that the other
//! has failed.
//!
//! Every wait of these workloads goes through here, so that each is bounded and
//! says what it waited for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::RecvFlags;

use crate::context::{Context, Stop};
use crate::deadline::Deadline;

/// The right to wait until a moment, or until the other end fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience<'a> {
    deadline: &'a Deadline,
    failed: BorrowedFd<'a>,
}

/// What [`Patience`] is made of.
#[derive(Debug)]
pub(super) struct Limits {
    deadline: Deadline,
    failed: OwnedFd,
}

impl Limits {
    /// Waits end when the test's time or the host's patience does.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when no eventfd can be made.
    pub(super) fn of(context: &Context<'_>) -> Result<Self, Stop> {
        Self::new(context.deadline().clone())
    }

    fn new(deadline: Deadline) -> Result<Self, Stop> {
        let failed = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Stop::Error(format!("eventfd: {errno}")))?;
        Ok(Self { deadline, failed })
    }

    /// The right to wait within these limits.
    pub(super) fn patience(&self) -> Patience<'_> {
        Patience { deadline: &self.deadline, failed: self.failed.as_fd() }
    }
}

impl Patience<'_> {
    fn remaining(self) -> Duration {
        self.deadline.remaining()
    }

    /// Waits until one of the events happens to `fd`, and says which did;
    /// [`PollFlags::ERR`] and [`PollFlags::HUP`] are always waited for.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with what was waited for when time runs out; that it is
    /// out is also noticed when something is ready, so that no loop around this
    /// call is endless. [`Stop::Error`] when the other end has failed.
    pub(super) fn wait(
        self,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        what: impl FnOnce() -> String,
    ) -> Result<PollFlags, Stop> {
        self.wait_for(&[(fd, events)], what).map(|ready| ready[0])
    }

    /// As [`Self::wait`], for several files at once.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`].
    pub(super) fn wait_for(
        self,
        files: &[(BorrowedFd<'_>, PollFlags)],
        what: impl FnOnce() -> String,
    ) -> Result<Vec<PollFlags>, Stop> {
        loop {
            let mut fds: Vec<PollFd<'_>> =
                files.iter().map(|(fd, events)| PollFd::from_borrowed_fd(*fd, *events)).collect();
            fds.push(PollFd::from_borrowed_fd(self.failed, PollFlags::IN));
            let left = self.remaining();
            let timeout = Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
            match poll(&mut fds, Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Stop::Error(format!("poll: {errno}"))),
            }
            let mut ready: Vec<PollFlags> = fds.iter().map(PollFd::revents).collect();
            if ready.pop().is_some_and(|failed| !failed.is_empty()) {
                return Err(Stop::Error(format!("the other end failed during the wait for {}", what())));
            }
            if left.is_zero() {
                return Err(Stop::Fail(format!("time ran out while waiting for {}", what())));
            }
            if ready.iter().any(|events| !events.is_empty()) {
                return Ok(ready);
            }
        }
    }

    /// As [`Self::wait`], where nothing tells that something happened.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with what was waited for when time is out.
    pub(super) fn check(self, what: impl FnOnce() -> String) -> Result<(), Stop> {
        if self.remaining().is_zero() {
            return Err(Stop::Fail(format!("time ran out while waiting for {}", what())));
        }
        Ok(())
    }

    /// Waits for data and reads it; 0 is the end of a stream or an empty datagram.
    ///
    /// # Errors
    ///
    /// As [`Self::wait`], and [`Stop::Fail`] when `recv` fails.
    pub(super) fn receive(
        self,
        socket: BorrowedFd<'_>,
        buffer: &mut [u8],
        what: impl Fn() -> String,
    ) -> Result<usize, Stop> {
        loop {
            self.wait(socket, PollFlags::IN, &what)?;
            match retry_on_intr(|| rustix::net::recv(socket, &mut *buffer, RecvFlags::DONTWAIT)) {
                Ok((got, _)) => return Ok(got),
                // A datagram whose checksum is wrong wakes poll, and is dropped here.
                Err(Errno::AGAIN) => {}
                Err(errno) => return Err(Stop::Fail(format!("recv of {}: {errno}", what()))),
            }
        }
    }
}

/// Runs both ends of a transfer, the sending one on a thread of its own.
///
/// # Errors
///
/// The failure that came first; what the other end says after it is only its
/// consequence. A panic of either end is a failure too.
pub(super) fn both_ends<S: Send, R>(
    limits: &Limits,
    send: impl FnOnce(Patience<'_>) -> Result<S, Stop> + Send,
    receive: impl FnOnce(Patience<'_>) -> Result<R, Stop>,
) -> Result<(S, R), Stop> {
    let first = OnceLock::new();
    let report = |stop: Stop| {
        // Whoever comes second has nothing to add.
        let _ = first.set(stop);
        // Fails only when the counter is full, and then it is readable already.
        let _ = rustix::io::write(&limits.failed, &1_u64.to_ne_bytes());
    };
    let patience = limits.patience();
    let ends = thread::scope(|scope| {
        let sending = thread::Builder::new()
            .name("sender".into())
            .spawn_scoped(scope, || caught("the sending end", || send(patience)).map_err(report));
        let sending = match sending {
            Ok(sending) => sending,
            Err(error) => {
                report(Stop::Error(format!("the sending thread cannot be started: {error}")));
                return None;
            }
        };
        let received = caught("the receiving end", || receive(patience)).map_err(report);
        let sent = sending.join().ok()?.ok()?;
        Some((sent, received.ok()?))
    });
    ends.ok_or_else(|| {
        first.into_inner().unwrap_or_else(|| Stop::Error("one end of the transfer vanished".into()))
    })
}

/// Makes a panic an error: it must not leave those waiting who wait for `who`.
///
/// # Errors
///
/// Those of `run`, and [`Stop::Error`] when it panics.
pub(super) fn caught<T>(who: &str, run: impl FnOnce() -> Result<T, Stop>) -> Result<T, Stop> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<&str>().map(ToString::to_string);
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        let text = text.unwrap_or_else(|| "no message".into());
        Err(Stop::Error(format!("{who} panicked: {text}")))
    })
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn limits(left: Duration) -> Limits {
        Limits::new(Deadline::new(left, left)).expect("an eventfd")
    }

    #[test]
    fn a_wait_ends_with_its_event() {
        let limits = limits(LONG);
        let (reader, writer) = pipe().expect("a pipe");
        rustix::io::write(&writer, b"x").expect("room in the pipe");
        let ready = limits.patience().wait(reader.as_fd(), PollFlags::IN, || "a byte".into());
        assert_eq!(ready, Ok(PollFlags::IN));
    }

    #[test]
    fn of_several_files_each_tells_what_is_ready() {
        let limits = limits(LONG);
        let (reader, writer) = pipe().expect("a pipe");
        let files = [(reader.as_fd(), PollFlags::IN), (writer.as_fd(), PollFlags::OUT)];
        let ready = limits.patience().wait_for(&files, || "anything".into());
        assert_eq!(ready, Ok(vec![PollFlags::empty(), PollFlags::OUT]));
    }

    #[test]
    fn a_wait_that_fails_says_what_it_waited_for() {
        let limits = limits(Duration::ZERO);
        let (reader, _writer) = pipe().expect("a pipe");
        let error = limits.patience().wait(reader.as_fd(), PollFlags::IN, || "the byte 7".into());
        assert_eq!(error, Err(Stop::Fail("time ran out while waiting for the byte 7".into())));
    }

    #[test]
    fn time_runs_out_even_when_something_is_always_ready() {
        let limits = limits(Duration::ZERO);
        let (_reader, writer) = pipe().expect("a pipe");
        let error = limits.patience().wait(writer.as_fd(), PollFlags::OUT, || "progress".into());
        error.expect_err("time is out");
    }

    #[test]
    fn both_results_come_back() {
        let ends = both_ends(&limits(LONG), |_| Ok(1), |_| Ok("two"));
        assert_eq!(ends, Ok((1, "two")));
    }

    #[test]
    fn a_failing_sender_wakes_the_receiver_and_is_the_cause() {
        let (reader, _writer) = pipe().expect("a pipe");
        let ends = both_ends::<(), _>(
            &limits(LONG),
            |_| Err(Stop::Fail("send: broken".into())),
            |patience| patience.wait(reader.as_fd(), PollFlags::IN, || "data".into()),
        );
        assert_eq!(ends, Err(Stop::Fail("send: broken".into())));
    }

    #[test]
    fn a_failing_receiver_wakes_the_sender_and_is_the_cause() {
        let (reader, _writer) = pipe().expect("a pipe");
        let ends = both_ends::<_, ()>(
            &limits(LONG),
            |patience| patience.wait(reader.as_fd(), PollFlags::IN, || "room".into()),
            |_| Err(Stop::Skip("no such option".into())),
        );
        assert_eq!(ends, Err(Stop::Skip("no such option".into())));
    }

    #[test]
    fn a_panicking_sender_is_an_error_and_wakes_the_receiver() {
        let (reader, _writer) = pipe().expect("a pipe");
        let ends = both_ends::<(), _>(
            &limits(LONG),
            |_| panic!("index {}", 7),
            |patience| patience.wait(reader.as_fd(), PollFlags::IN, || "data".into()),
        );
        assert_eq!(ends, Err(Stop::Error("the sending end panicked: index 7".into())));
    }

    #[test]
    fn a_panicking_receiver_is_an_error_and_wakes_the_sender() {
        let (reader, _writer) = pipe().expect("a pipe");
        let ends = both_ends::<_, ()>(
            &limits(LONG),
            |patience| patience.wait(reader.as_fd(), PollFlags::IN, || "room".into()),
            |_| panic!("index 8"),
        );
        assert_eq!(ends, Err(Stop::Error("the receiving end panicked: index 8".into())));
    }
}
