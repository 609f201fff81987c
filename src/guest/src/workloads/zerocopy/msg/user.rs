//! A user whose pinned memory is counted: the calling thread under another user
//! id, without `CAP_IPC_LOCK`, and with a limit on locked memory.
//!
//! The kernel counts per real user id (`mm_account_pinned_pages()` in
//! net/core/skbuff.c), so an id that nobody else has gives an exact count.

use rustix::io::Errno;
use rustix::process::Uid;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::set_thread_res_uid;

use crate::context::Stop;

/// Nobody in the guest has this id.
const ID: u32 = 54_321;

/// The calling thread is that user as long as this lives.
#[derive(Debug)]
pub(super) struct Commoner {
    before: Rlimit,
}

impl Commoner {
    /// Becomes the user. `RLIMIT_MEMLOCK` is of the process, everything else of
    /// the thread.
    ///
    /// # Errors
    ///
    /// [`Stop::Skip`] in a user namespace without that id, [`Stop::Error`] when it is
    /// not permitted.
    pub(super) fn become_one() -> Result<Self, Stop> {
        let before = getrlimit(Resource::Memlock);
        let id = Uid::from_raw(ID);
        // Root stays the saved id, so that there is a way back; the effective
        // capabilities go all the same.
        set_thread_res_uid(id, id, Uid::ROOT).map_err(|errno| match errno {
            Errno::INVAL => Stop::Skip(format!("user `{ID}` does not exist in this user namespace")),
            _ => Stop::Error(format!("setresuid to `{ID}`: {errno}")),
        })?;
        Ok(Self { before })
    }

    /// Limits locked memory to whole pages.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when the limit cannot be set.
    pub(super) fn allow(&self, pages: usize) -> Result<(), Stop> {
        let bytes = pages as u64 * super::super::memory::page_size() as u64;
        let limit = Rlimit { current: Some(bytes), maximum: self.before.maximum };
        setrlimit(Resource::Memlock, limit)
            .map_err(|errno| Stop::Error(format!("setrlimit RLIMIT_MEMLOCK to `{bytes}`: {errno}")))
    }
}

impl Drop for Commoner {
    fn drop(&mut self) {
        // Both were so before; a failure would show in the next thing that needs
        // root.
        let _ = set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT);
        let _ = setrlimit(
            Resource::Memlock,
            Rlimit { current: self.before.current, maximum: self.before.maximum },
        );
    }
}

/// Pages that a call of so many bytes is charged with. `headers` are bytes that
/// the protocol counts in: eight for UDP, which hands its header down with the
/// data (`__ip_append_data()` in net/ipv4/ip_output.c).
pub(super) fn pages_of(bytes: usize, headers: usize) -> usize {
    (bytes + headers) / super::super::memory::page_size() + 2
}

/// Most bytes that are charged with no more than `pages` pages.
pub(super) fn most_bytes(pages: usize, headers: usize) -> usize {
    (pages.saturating_sub(1) * super::super::memory::page_size()).saturating_sub(1 + headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_bytes_fit_and_one_more_does_not() {
        for headers in [0, 8] {
            for pages in 3..100 {
                let most = most_bytes(pages, headers);
                assert_eq!(pages_of(most, headers), pages);
                assert_eq!(pages_of(most + 1, headers), pages + 1);
            }
        }
    }

    #[test]
    fn two_pages_are_the_least_that_is_charged() {
        assert_eq!(pages_of(1, 0), 2);
        assert_eq!(most_bytes(1, 8), 0);
    }
}
