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
use crate::{clock, ffi};

/// The limit, per user and user namespace.
pub(crate) const LIMIT: &str = "/proc/sys/user/max_net_namespaces";

/// Pause between two probes. The resolution of times measured by probing; a
/// probe that fails takes some microseconds.
const POLL: Duration = Duration::from_micros(100);

/// How long somebody else's namespaces may take to go away before they count
/// as there to stay. Ten times the slowest teardown seen of a single one.
const SETTLE: Duration = Duration::from_secs(5);

/// Most foreign namespaces that are tolerated.
const MOST: u64 = 4096;

/// Watches the count. Used on one thread, which is back in its namespace after
/// every call.
#[derive(Debug)]
pub(crate) struct Census {
    limit: Sysctl,
    home: Home,
    baseline: u64,
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
    /// Waits until earlier teardowns are over, finds out how many namespaces
    /// belong to others, and gives the fresh one that proved it.
    ///
    /// # Errors
    ///
    /// Skips where the kernel does not count; stops as
    /// [`CreateError::stop`] does.
    pub(crate) fn begin(patience: Duration) -> Result<(Self, Gone), Stop> {
        let limit = match Sysctl::open(LIMIT) {
            Ok(limit) => limit,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Stop::Skip(format!("{LIMIT} does not exist; needs CONFIG_PROC_SYSCTL")));
            }
            Err(error) => return Err(Stop::Error(format!("cannot read {LIMIT}: {error}"))),
        };
        let mut census = Self { limit, home: Home::here()?, baseline: 0 };
        if let Some(gone) = census.wait(SETTLE.min(patience))? {
            census.open()?;
            return Ok((census, gone));
        }
        for baseline in 1..=MOST {
            census.baseline = baseline;
            if let Some(gone) = census.probe()? {
                census.open()?;
                return Ok((census, gone));
            }
        }
        Err(Stop::Error(format!("more than {MOST} network namespaces are alive before the test begins")))
    }

    /// Namespaces of others, which never go away.
    pub(crate) fn baseline(&self) -> u64 {
        self.baseline
    }

    /// Allows creation again, up to the limit that was there before.
    pub(crate) fn open(&mut self) -> Result<(), Stop> {
        self.limit.restore().map_err(|error| Stop::Error(error.to_string()))
    }

    /// Forbids creation as long as one namespace more than the baseline lives.
    pub(crate) fn close(&mut self) -> Result<(), Stop> {
        let limit = (self.baseline + 1).to_string();
        self.limit.set(&limit).map_err(|error| Stop::Error(error.to_string()))
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
