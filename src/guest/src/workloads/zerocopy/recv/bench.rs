//! What the rows of a table work with, and the answers that they expect.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;

use super::super::patience::Patience;
use super::super::table::Table;
use super::place::Place;
use super::sys::{Answer, Area, Request};
use super::talk::Talk;
use crate::context::{Context, Stop};

/// What a row works with.
pub(super) struct Bench<'a> {
    /// Where connections live.
    pub(super) place: &'a Place,
    /// For every wait.
    pub(super) patience: Patience<'a>,
    /// Of the data.
    pub(super) seed: u64,
}

/// A row of a table: its name, and what finds out.
pub(super) type Row = (&'static str, fn(&Bench<'_>, &mut Table) -> Result<(), Stop>);

impl Bench<'_> {
    /// Finds out about each row.
    ///
    /// # Errors
    ///
    /// Those that end a table; what does not hold is in it.
    pub(super) fn run(&self, context: &Context<'_>, rows: &[&[Row]], table: &mut Table) -> Result<(), Stop> {
        let total: usize = rows.iter().map(|rows| rows.len()).sum();
        for (done, (name, row)) in rows.iter().copied().flatten().enumerate() {
            table.begin(name);
            let result = row(self, table);
            table.take(result)?;
            context.progress(done as u64 + 1, total as u64)?;
        }
        Ok(())
    }
}

/// Nothing was mapped, copied or left to read.
pub(super) const NOTHING: Answer =
    Answer { length: 0, skip: 0, inq: 0, err: 0, copied: 0, msg_flags: 0, control: 0 };

/// Everything is mapped and nothing is left.
pub(super) fn mapped(bytes: usize) -> Answer {
    Answer { length: number(bytes), ..NOTHING }
}

/// Nothing is mapped, and so much is queued that can only be read.
pub(super) fn skip(bytes: usize) -> Answer {
    Answer { skip: number(bytes), inq: number(bytes), ..NOTHING }
}

/// A number of bytes as requests have it.
pub(super) fn number(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

impl<'a> Bench<'a> {
    /// A connection with segments of whole pages.
    pub(super) fn talk(&self) -> Result<Talk<'a>, Stop> {
        Talk::new(self.place, self.seed, self.patience)
    }

    /// A second one, whose data is different.
    pub(super) fn other_talk(&self) -> Result<Talk<'a>, Stop> {
        Talk::new(self.place, self.seed ^ 1, self.patience)
    }

    /// A connection that shall be broken before long.
    pub(super) fn fresh(&self) -> Result<Talk<'a>, Stop> {
        Talk::fresh(self.place, self.seed, self.patience)
    }
}

/// Maps a socket for reading, as everybody does it.
///
/// # Errors
///
/// [`Stop::Fail`] when it cannot be mapped.
pub(super) fn window(socket: BorrowedFd<'_>, pages: usize) -> Result<Area, Stop> {
    Area::window(socket, pages)
        .map_err(|errno| Stop::Fail(format!("mmap of `{pages}` pages of a TCP socket to read: {errno}")))
}

/// Memory of the usual kind.
///
/// # Errors
///
/// [`Stop::Error`] when there is none.
pub(super) fn anonymous(pages: usize) -> Result<Area, Stop> {
    Area::anonymous(pages).map_err(|errno| Stop::Error(format!("mmap of `{pages}` pages: {errno}")))
}

/// Asks for nothing, to learn whether the kernel knows the request.
///
/// # Errors
///
/// [`Stop::Skip`] when it does not.
pub(super) fn assert_supported(place: &Place) -> Result<(), Stop> {
    let socket = place.socket()?;
    Request::default().ask(socket.as_fd()).map(drop).map_err(|errno| match errno {
        Errno::NOPROTOOPT => {
            Stop::Skip("the kernel lacks TCP_ZEROCOPY_RECEIVE; it is there with CONFIG_MMU".into())
        }
        _ => Stop::Fail(format!("getsockopt TCP_ZEROCOPY_RECEIVE of length 0 on a new socket: {errno}")),
    })
}
