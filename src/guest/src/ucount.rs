//! Counts network namespaces by the limit that the kernel puts on them.
//!
//! The count of a user goes down at the very end of a teardown, after the last
//! grace period (`dec_net_namespaces` in `cleanup_net`,
//! net/core/net_namespace.c), and a creation above the limit fails with ENOSPC
//! before anything is allocated. So a creation that succeeds under a limit of
//! one more than there were proves that every other one is gone. Works since
//! Linux 4.9 and needs no option beyond `CONFIG_PROC_SYSCTL`.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

use crate::context::Stop;
use crate::netns::{CreateError, Home, Namespace};
use crate::sysctl::Sysctl;
use crate::{clock, ffi, procfs};

/// The limit, per user and user namespace.
pub(crate) const LIMIT: &str = "/proc/sys/user/max_net_namespaces";

/// Pause between two probes. The resolution of times measured by probing; a
/// probe that fails takes some microseconds.
const POLL: Duration = Duration::from_micros(100);

/// Pause between two looks at a cleanup that is not ours.
const SETTLE_POLL: Duration = Duration::from_millis(20);

/// So many looks in a row have to find no cleanup before what is left counts as
/// there to stay: between queueing and start of a cleanup nothing shows.
const SETTLED: u32 = 10;

/// Most foreign namespaces that are tolerated.
const MOST: u64 = 4096;

/// In place of the usual limit, which depends on the size of memory: memory
/// itself shall be the limit.
const OPEN: &str = "2147483647";

/// Watches the count. Used on one thread, which is back in its namespace after
/// every call.
#[derive(Debug)]
pub(crate) struct Census {
    limit: Sysctl,
    home: Home,
    baseline: u64,
    kept: u64,
}

/// All namespaces but those of others are gone.
#[derive(Debug)]
pub(crate) struct Gone {
    /// Right before the probe that succeeded, monotonic.
    pub(crate) at_ns: u64,
    /// How long that creation took.
    pub(crate) create_ns: u64,
    /// What that probe made: a fresh namespace, to be used or dropped.
    pub(crate) fresh: Namespace,
}

impl Census {
    /// Waits until earlier teardowns are over, at most `patience` long, finds
    /// out how many namespaces belong to others, and gives the fresh one that
    /// proved it. Creation is allowed afterwards.
    ///
    /// # Errors
    ///
    /// Skips where the kernel does not count; an error when it is still busy
    /// with what was there before; otherwise as [`CreateError::stop`].
    pub(crate) fn begin(patience: Duration) -> Result<(Self, Gone), Stop> {
        let limit = match Sysctl::open(LIMIT) {
            Ok(limit) => limit,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Stop::Skip(format!("{LIMIT} does not exist; needs CONFIG_PROC_SYSCTL")));
            }
            Err(error) => return Err(Stop::Error(format!("cannot read {LIMIT}: {error}"))),
        };
        let mut census = Self { limit, home: Home::here()?, baseline: 0, kept: 0 };
        let gone = match census.settle(patience)? {
            Some(gone) => gone,
            None => census.count_others()?,
        };
        census.open()?;
        Ok((census, gone))
    }

    /// Waits until nothing is left, or nothing that is being cleaned up.
    fn settle(&mut self, patience: Duration) -> Result<Option<Gone>, Stop> {
        let limit_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        let start = clock::monotonic_ns();
        let mut idle = 0;
        while idle < SETTLED {
            if let Some(gone) = self.probe()? {
                return Ok(Some(gone));
            }
            idle = if cleanup_runs() { 0 } else { idle + 1 };
            if clock::monotonic_ns().saturating_sub(start) >= limit_ns {
                return Err(Stop::Error(format!(
                    "the kernel still cleans up namespaces from before the test, after {:.1} s\n\
                     hint: an earlier test of this boot left them",
                    patience.as_secs_f64()
                )));
            }
            clock::poll_interval(SETTLE_POLL);
        }
        Ok(None)
    }

    fn count_others(&mut self) -> Result<Gone, Stop> {
        for baseline in 1..=MOST {
            self.baseline = baseline;
            if let Some(gone) = self.probe()? {
                return Ok(gone);
            }
        }
        Err(Stop::Error(format!("more than {MOST} network namespaces are alive before the test begins")))
    }

    /// Namespaces of others, which never go away.
    pub(crate) fn baseline(&self) -> u64 {
        self.baseline
    }

    /// From now on, "all gone" is to leave so many of the test's own namespaces
    /// out: they live on.
    pub(crate) fn keep(&mut self, count: usize) {
        self.kept = u64::try_from(count).unwrap_or(u64::MAX);
    }

    /// Allows creation again.
    pub(crate) fn open(&mut self) -> Result<(), Stop> {
        self.limit.set(OPEN).map_err(|error| Stop::Error(error.to_string()))
    }

    /// Forbids creation as long as one namespace more lives than the baseline
    /// and those that are kept.
    pub(crate) fn close(&mut self) -> Result<(), Stop> {
        let limit = self.baseline.saturating_add(self.kept).saturating_add(1).to_string();
        self.limit.set(&limit).map_err(|error| Stop::Error(error.to_string()))
    }

    /// Allows so many namespaces beside those of others.
    pub(crate) fn allow(&mut self, count: usize) -> Result<(), Stop> {
        let limit = self.baseline.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        self.limit.set(&limit.to_string()).map_err(|error| Stop::Error(error.to_string()))
    }

    /// Whether everything is gone at this moment; closes the limit.
    fn probe(&mut self) -> Result<Option<Gone>, Stop> {
        self.close()?;
        let at_ns = clock::monotonic_ns();
        let created = ffi::unshare_net();
        let create_ns = clock::monotonic_ns().saturating_sub(at_ns);
        match created {
            Ok(()) => {
                let fresh = Namespace::hold().map_err(|error| error.stop(0))?;
                self.home.back()?;
                Ok(Some(Gone { at_ns, create_ns, fresh }))
            }
            Err(Errno::NOSPC) => Ok(None),
            Err(error) => Err(CreateError::Unshare(error).stop(0)),
        }
    }

    /// Waits until everything is gone, at most `patience` long; `None` if it
    /// is not. The limit stays closed until [`Self::open`].
    pub(crate) fn wait(&mut self, patience: Duration) -> Result<Option<Gone>, Stop> {
        let limit_ns = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        let start = clock::monotonic_ns();
        loop {
            if let Some(gone) = self.probe()? {
                return Ok(Some(gone));
            }
            if clock::monotonic_ns().saturating_sub(start) >= limit_ns {
                return Ok(None);
            }
            clock::poll_interval(POLL);
        }
    }
}

/// Whether a worker of the kernel is in the middle of a cleanup. The name of
/// one that runs something of the queue ends in `+netns`.
pub(crate) fn cleanup_runs() -> bool {
    procfs::processes().iter().any(|stat| stat.comm.ends_with("+netns"))
}
