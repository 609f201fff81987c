//! When patience ends: the limits of a boot, and which one passed. Pure.

use std::time::Duration;

/// Every limit of one boot, already scaled.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the start of QEMU to the hello.
    pub boot: Duration,
    /// Without a byte on any channel.
    pub no_output: Duration,
    /// For the answer to a request for stacks; none where nothing can be asked of
    /// the guest.
    pub diagnosis: Option<Duration>,
    /// For each answer of QEMU's monitor; none where there is no QEMU.
    pub monitor: Option<Duration>,
    /// From an NMI to the end of the machine, which the kernel's panic brings.
    pub backtrace: Duration,
    /// From SIGTERM to the end of the machine; with 0 it is killed at once.
    pub terminate: Duration,
    /// From the goodbye to the end of QEMU.
    pub leaving: Duration,
    /// For the rest of the kernel log of a guest that is dead.
    pub last_words: Duration,
    /// For a test's end marker in the kernel log after its report, where no
    /// marker was seen yet: there may be none.
    pub console: Duration,
    /// The same where markers were seen: it will come.
    pub late_console: Duration,
}

impl Limits {
    /// Limits for a machine that is `slowdown` times slower than a KVM guest on
    /// an idle host. The figures are from experience: a boot takes 1 s under
    /// TCG, a loaded CI host takes ten times as long.
    #[must_use]
    pub fn scaled(slowdown: f64) -> Self {
        let seconds = |base: f64| Duration::from_secs_f64(base * slowdown.max(1.0));
        Self {
            boot: seconds(15.0),
            no_output: seconds(15.0),
            // The agent may watch a worker for 1.5 s of it.
            diagnosis: Some(seconds(3.0)),
            // QEMU itself is as fast as ever.
            monitor: Some(Duration::from_millis(1500)),
            backtrace: seconds(2.0),
            terminate: Duration::from_secs(2),
            leaving: seconds(5.0),
            last_words: seconds(1.0),
            console: seconds(0.5),
            late_console: seconds(10.0),
        }
    }
}

/// How long a test may still end well after the kernel has complained that
/// something of it makes no progress: the kernel has waited long before it spoke.
/// Not scaled, for the test is red in any case.
pub(super) const AFTER_COMPLAINT: Duration = Duration::from_secs(4);

/// The timers of one session.
#[derive(Debug, Clone)]
pub(super) struct Watchdog {
    /// Absolute end of the current phase.
    until: Duration,
    limit: Duration,
    /// Silence allowed, and the last sign of life.
    silence: Option<Duration>,
    last_sign: Duration,
    hello: bool,
    complained: bool,
    /// When the test began.
    began: Duration,
}

impl Watchdog {
    pub(super) fn new(boot: Duration) -> Self {
        Self {
            until: boot,
            limit: boot,
            silence: None,
            last_sign: Duration::ZERO,
            hello: false,
            complained: false,
            began: Duration::ZERO,
        }
    }

    pub(super) fn sign_of_life(&mut self, at: Duration) {
        self.last_sign = at;
    }

    /// One test runs: its own limit and the limit of silence hold together.
    pub(super) fn test(&mut self, at: Duration, limit: Duration, silence: Duration) {
        (self.last_sign, self.began, self.complained) = (at, at, false);
        (self.until, self.limit, self.silence) = (at + limit, limit, Some(silence));
    }

    /// No test runs. A guest that only prints is not alive here: the next test
    /// must begin within the limit.
    pub(super) fn between_tests(&mut self, at: Duration, limit: Duration) {
        self.hello = true;
        self.one_limit(at, limit);
    }

    pub(super) fn leaving(&mut self, at: Duration, limit: Duration) {
        self.one_limit(at, limit);
    }

    /// The kernel said that something is stuck while a test runs.
    pub(super) fn complaint(&mut self, at: Duration) {
        if self.silence.is_some() && at + AFTER_COMPLAINT < self.deadline() {
            (self.until, self.limit, self.complained) = (at + AFTER_COMPLAINT, AFTER_COMPLAINT, true);
        }
    }

    /// A phase with a limit of its own in which silence does not count.
    pub(super) fn one_limit(&mut self, at: Duration, limit: Duration) {
        self.complained = false;
        (self.until, self.limit, self.silence) = (at + limit, limit, None);
    }

    pub(super) fn deadline(&self) -> Duration {
        let silent = self.silence.map_or(Duration::MAX, |silence| self.last_sign.saturating_add(silence));
        self.until.min(silent)
    }

    pub(super) fn reached_hello(&self) -> bool {
        self.hello
    }

    /// The limit that the deadline belongs to; after a complaint, how long the test
    /// has run.
    pub(super) fn limit_in_force(&self) -> Duration {
        if self.complained {
            return self.deadline().saturating_sub(self.began);
        }
        match self.silence {
            Some(silence) if self.last_sign.saturating_add(silence) < self.until => silence,
            _ => self.limit,
        }
    }

    /// Which limit the deadline belongs to, in words.
    pub(super) fn what_passed(&self) -> String {
        match self.silence {
            Some(silence) if self.last_sign.saturating_add(silence) < self.until => {
                format!("no sign of life for {silence:.0?}")
            }
            _ if self.complained => format!("no end {:.0?} after the kernel complained", self.limit),
            _ => format!("no end after {:.0?}", self.limit),
        }
    }
}
