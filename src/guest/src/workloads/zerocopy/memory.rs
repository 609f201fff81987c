//! Memory of the two kinds that zerocopy needs: pages to send from, and a part
//! of the address space into which a TCP socket maps what it received.

use std::ops::{Deref, DerefMut};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::{Errno, Result};
use rustix::mm::{Advice, MapFlags, ProtFlags};

use super::sys::{self, TcpZerocopyReceive};

/// Size of a page in bytes.
pub(super) fn page_size() -> usize {
    rustix::param::page_size()
}

/// Anonymous pages, zero at first.
///
/// The kernel may go on reading them after a send with `MSG_ZEROCOPY` and even
/// after they are dropped: it holds the pages, not the mapping.
#[derive(Debug)]
pub(super) struct Pages {
    start: *mut u8,
    len: usize,
}

impl Pages {
    /// At least `len` bytes, which must not be 0.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub(super) fn new(len: usize) -> Result<Self> {
        let len = len.next_multiple_of(page_size());
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the place, so that nothing is mapped over.
        let start =
            unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, protection, MapFlags::PRIVATE)? };
        Ok(Self { start: start.cast(), len })
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the mapping is ours, readable, initialised to zero by the
        // kernel, and lives as long as `self`; writers need `&mut self`.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and writable; `&mut self` makes it exclusive.
        // The kernel only reads, for sends that are under way.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: the range was mapped by `new` and no slice outlives `self`.
        // It can fail only for a range that is none.
        let _ = unsafe { rustix::mm::munmap(self.start.cast(), self.len) };
    }
}

/// What one call of `TCP_ZEROCOPY_RECEIVE` did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Received {
    /// Bytes that the kernel claims to have mapped.
    pub(super) mapped: usize,
    /// Bytes behind them that have to be read with `recv`.
    pub(super) skip: usize,
    /// What is wrong with the socket.
    pub(super) error: Option<Errno>,
}

/// Whether the pages of a range are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Populated {
    /// All of them.
    All,
    /// None of them.
    None,
    /// Some; the number is that of the first that is not.
    Without(usize),
}

impl Populated {
    fn of(pages: &[u8]) -> Self {
        let there = |page: &u8| page & 1 != 0;
        match pages.iter().position(|page| !there(page)) {
            None => Self::All,
            Some(_) if !pages.iter().any(there) => Self::None,
            Some(hole) => Self::Without(hole),
        }
    }
}

/// A part of the address space that belongs to a TCP socket, with nothing in it
/// until [`Self::receive`] puts pages there.
#[derive(Debug)]
pub(super) struct Window {
    start: *mut u8,
    len: usize,
    /// Bytes at the start that hold data of the latest `receive`.
    filled: usize,
}

impl Window {
    /// `mmap` of the socket; `len` is a multiple of the page size and not 0.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn new(socket: BorrowedFd<'_>, len: usize) -> Result<Self> {
        // SAFETY: the kernel chooses the place, so that nothing is mapped over.
        let start =
            unsafe { rustix::mm::mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, socket, 0)? };
        Ok(Self { start: start.cast(), len, filled: 0 })
    }

    /// Maps what the socket has received, as far as it can be mapped, in place
    /// of what is in the window.
    ///
    /// # Errors
    ///
    /// Those of the call: `EIO` at the end of the stream.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<Received> {
        self.filled = 0;
        let mut request = TcpZerocopyReceive {
            address: self.start.expose_provenance() as u64,
            length: u32::try_from(self.len).unwrap_or(u32::MAX),
            ..TcpZerocopyReceive::default()
        };
        // SAFETY: the range is this window's own, `&mut self` means that nobody
        // holds a slice of it, and no other place is named.
        unsafe { sys::zerocopy_receive(socket.as_raw_fd(), &mut request)? };
        let mapped = request.length as usize;
        self.filled = mapped.min(self.len);
        let error = (request.err != 0).then(|| Errno::from_raw_os_error(request.err.wrapping_neg()));
        Ok(Received { mapped, skip: request.recv_skip_hint as usize, error })
    }

    /// Size in bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes that the latest [`Self::receive`] mapped. To touch a page that
    /// is not [`Populated`] raises SIGBUS.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the range lies in our mapping, which is readable and lives as
        // long as `self`; mapping other pages there needs `&mut self`. The pages
        // left the sender for good. A kernel that lets anybody write to them is
        // what these tests are looking for, and shows as wrong bytes.
        unsafe { std::slice::from_raw_parts(self.start, self.filled) }
    }

    /// Whether the pages of the first `len` bytes of the window are there.
    ///
    /// # Errors
    ///
    /// Those of `mincore`.
    pub(super) fn populated(&self, len: usize) -> Result<Populated> {
        let mut pages = vec![0; len.min(self.len).div_ceil(page_size())];
        sys::residency(self.start, &mut pages, page_size())?;
        Ok(Populated::of(&pages))
    }

    /// Gives the pages back with `madvise`.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn discard(&mut self) -> Result<()> {
        self.filled = 0;
        // SAFETY: the range is ours and nobody holds a slice of it.
        unsafe { rustix::mm::madvise(self.start.cast(), self.len, Advice::LinuxDontNeed) }
    }

    /// `munmap`, with its result.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn unmap(self) -> Result<()> {
        let (start, len) = (self.start, self.len);
        std::mem::forget(self);
        // SAFETY: the range was mapped by `new`, `self` is gone, and so is every
        // slice of it.
        unsafe { rustix::mm::munmap(start.cast(), len) }
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: as in `unmap`. This is the way out after an error; a second
        // one would say nothing new.
        let _ = unsafe { rustix::mm::munmap(self.start.cast(), self.len) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_whole_empty_and_writable() {
        let mut pages = Pages::new(1).expect("a page");
        assert_eq!(pages.len(), page_size());
        assert!(pages.iter().all(|byte| *byte == 0));
        pages[page_size() - 1] = 7;
        assert_eq!(pages.last(), Some(&7));
    }

    #[test]
    fn pages_of_no_bytes_cannot_be_had() {
        assert_eq!(Pages::new(0).map(drop), Err(Errno::INVAL));
    }

    #[test]
    fn the_first_missing_page_is_named() {
        assert_eq!(Populated::of(&[1, 1, 0xff]), Populated::All);
        assert_eq!(Populated::of(&[0, 0, 0xfe]), Populated::None);
        assert_eq!(Populated::of(&[1, 1, 0, 1]), Populated::Without(2));
        assert_eq!(Populated::of(&[]), Populated::All);
    }

    #[test]
    fn an_untouched_page_is_not_there_and_a_written_one_is() {
        let mut pages = Pages::new(2 * page_size()).expect("two pages");
        pages[0] = 1;
        let mut there = [0; 2];
        sys::residency(pages.start, &mut there, page_size()).expect("mincore of our own pages");
        assert_eq!(there[0] & 1, 1);
        assert_eq!(there[1] & 1, 0);
    }
}
