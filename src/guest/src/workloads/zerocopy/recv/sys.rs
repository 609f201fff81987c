//! What the receive suite asks of the kernel beside plain sockets: parts of the
//! address space, and requests of every shape.
//!
//! Its `unsafe` is here, but for that of [`super::touch`]. It rests on one rule:
//! nobody ever holds a reference into an [`Area`]. What is in one is copied out and
//! in, so the kernel may replace its pages, or write to them, whenever it likes.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use rustix::io::{Errno, Result};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags};

use super::super::memory::page_size;
use super::super::sys::{self, TcpZerocopyReceive};

fn checked(result: i32) -> Result<i32> {
    let error = || Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO);
    if result < 0 { Err(error()) } else { Ok(result) }
}

/// A part of the address space, unmapped when dropped.
#[derive(Debug)]
pub(super) struct Area {
    start: usize,
    len: usize,
}

impl Area {
    /// `mmap` of a socket.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn of(
        file: BorrowedFd<'_>,
        pages: usize,
        access: ProtFlags,
        sharing: MapFlags,
    ) -> Result<Self> {
        let len = pages * page_size();
        // SAFETY: the kernel chooses the place, so that nothing is mapped over.
        let start = unsafe { rustix::mm::mmap(ptr::null_mut(), len, access, sharing, file, 0)? };
        Ok(Self { start: start.expose_provenance(), len })
    }

    /// `mmap` of a socket for reading, as everybody does it.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn window(socket: BorrowedFd<'_>, pages: usize) -> Result<Self> {
        Self::of(socket, pages, ProtFlags::READ, MapFlags::SHARED)
    }

    /// Memory of the usual kind.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub(super) fn anonymous(pages: usize) -> Result<Self> {
        let (len, access) = (pages * page_size(), ProtFlags::READ | ProtFlags::WRITE);
        // SAFETY: the kernel chooses the place, so that nothing is mapped over.
        let start = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), len, access, MapFlags::PRIVATE)? };
        Ok(Self { start: start.expose_provenance(), len })
    }

    /// Maps a socket over a part of this area, which stays one area.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub(super) fn replace(&self, first: usize, pages: usize, socket: BorrowedFd<'_>) -> Result<()> {
        let (start, len) = self.part(first, pages);
        let flags = MapFlags::SHARED | MapFlags::FIXED;
        // SAFETY: what is mapped over is a part of ours, into which nobody holds
        // references.
        unsafe { rustix::mm::mmap(start, len, ProtFlags::READ, flags, socket, 0)? };
        Ok(())
    }

    /// Maps memory over a part of this area, which stays one area.
    ///
    /// # Errors
    ///
    /// Those of `mmap`.
    pub(super) fn replace_by_memory(&self, first: usize, pages: usize) -> Result<()> {
        let (start, len) = self.part(first, pages);
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::FIXED);
        // SAFETY: as in `replace`.
        unsafe { rustix::mm::mmap_anonymous(start, len, access, flags)? };
        Ok(())
    }

    /// `send` of all of it, which nobody needs to have touched.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn send(&self, socket: BorrowedFd<'_>, flags: rustix::net::SendFlags) -> Result<usize> {
        let from = ptr::with_exposed_provenance::<libc::c_void>(self.start);
        // SAFETY: the kernel checks what it can read; nothing of Rust is written.
        let sent = unsafe { libc::send(socket.as_raw_fd(), from, self.len, flags.bits().cast_signed()) };
        usize::try_from(sent)
            .map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }

    fn part(&self, first: usize, pages: usize) -> (*mut libc::c_void, usize) {
        let (offset, len) = (first * page_size(), pages * page_size());
        assert!(
            offset + len <= self.len,
            "pages {first}..{} of an area of {} bytes",
            first + pages,
            self.len
        );
        (ptr::with_exposed_provenance_mut(self.start + offset), len)
    }

    /// Pages in it.
    pub(super) fn pages(&self) -> usize {
        self.len / page_size()
    }

    /// Address of a byte, or of one behind the last.
    pub(super) fn at(&self, offset: usize) -> u64 {
        (self.start + offset) as u64
    }

    /// For each page whether it is there.
    ///
    /// # Errors
    ///
    /// Those of `mincore`; `ENOMEM` where nothing is mapped.
    pub(super) fn populated(&self) -> Result<Vec<bool>> {
        let mut pages = vec![0; self.pages()];
        sys::residency(ptr::with_exposed_provenance_mut(self.start), &mut pages, page_size())?;
        Ok(pages.iter().map(|page| page & 1 != 0).collect())
    }

    /// A copy of some bytes, if all of their pages are there: a kernel that only says
    /// so is a failure and no signal.
    ///
    /// # Errors
    ///
    /// As [`Self::populated`].
    pub(super) fn copy(&self, offset: usize, len: usize) -> Result<Option<Vec<u8>>> {
        let populated = self.populated()?;
        let pages = offset / page_size()..(offset + len).div_ceil(page_size());
        if !populated.get(pages).is_some_and(|pages| pages.iter().all(|there| *there)) {
            return Ok(None);
        }
        let mut bytes = vec![0; len];
        self.read(offset, &mut bytes);
        Ok(Some(bytes))
    }

    /// Copies out what is in it from `offset` on. To read a page that is not
    /// there raises SIGBUS.
    pub(super) fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset + bytes.len() <= self.len, "read behind the end of an area");
        let from = ptr::with_exposed_provenance::<u8>(self.start + offset);
        // SAFETY: the range lies in our mapping, which is readable; `bytes` is
        // memory of Rust and so does not overlap it.
        unsafe { ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), bytes.len()) }
    }

    /// Copies bytes into it; only for anonymous areas.
    pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len, "write behind the end of an area");
        let to = ptr::with_exposed_provenance_mut::<u8>(self.start + offset);
        // SAFETY: as in `read`; to write where one may not raises SIGSEGV.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) }
    }

    /// `write` of a part of it to a file: the kernel reads through the mapping, and
    /// fails where a program would get a signal.
    ///
    /// # Errors
    ///
    /// Those of the call; `EFAULT` where a page is not there.
    pub(super) fn write_out(&self, file: BorrowedFd<'_>, offset: usize, len: usize) -> Result<usize> {
        assert!(offset + len <= self.len, "write from behind the end of an area");
        let from = ptr::with_exposed_provenance::<libc::c_void>(self.start + offset);
        // SAFETY: the kernel checks what it can read; nothing of Rust is written.
        let written = unsafe { libc::write(file.as_raw_fd(), from, len) };
        usize::try_from(written)
            .map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }

    /// Puts a part of it into a pipe, without copying; only for anonymous areas.
    ///
    /// # Errors
    ///
    /// Those of `vmsplice`.
    pub(super) fn vmsplice(&self, pipe: BorrowedFd<'_>, offset: usize, len: usize) -> Result<usize> {
        assert!(offset + len <= self.len, "vmsplice from behind the end of an area");
        let from = ptr::with_exposed_provenance_mut::<libc::c_void>(self.start + offset);
        let part = libc::iovec { iov_base: from, iov_len: len };
        // SAFETY: the kernel takes references to the pages; nobody holds any of
        // Rust's into them.
        let put = unsafe { libc::vmsplice(pipe.as_raw_fd(), &raw const part, 1, 0) };
        usize::try_from(put)
            .map_err(|_| Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO))
    }

    /// `mprotect` of some pages.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn protect(&self, first: usize, pages: usize, access: ProtFlags) -> Result<()> {
        let (start, len) = self.part(first, pages);
        let access = MprotectFlags::from_bits_retain(access.bits());
        // SAFETY: a part of our own mapping, into which nobody holds references.
        unsafe { rustix::mm::mprotect(start, len, access) }
    }

    /// `madvise(MADV_DONTNEED)` of some pages.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn discard(&self, first: usize, pages: usize) -> Result<()> {
        let (start, len) = self.part(first, pages);
        // SAFETY: as in `protect`.
        unsafe { rustix::mm::madvise(start, len, rustix::mm::Advice::LinuxDontNeed) }
    }

    /// `mremap`, which may move it.
    ///
    /// # Errors
    ///
    /// Those of the call; the area is what it was then.
    pub(super) fn resize(&mut self, pages: usize) -> Result<()> {
        let len = pages * page_size();
        let start = ptr::with_exposed_provenance_mut(self.start);
        // SAFETY: our own mapping, into which nobody holds references.
        let moved = unsafe { rustix::mm::mremap(start, self.len, len, rustix::mm::MremapFlags::MAYMOVE)? };
        (self.start, self.len) = (moved.expose_provenance(), len);
        Ok(())
    }

    /// Moves it, with `mremap`, to the place of another area of the same size.
    ///
    /// # Errors
    ///
    /// Those of the call; both areas are what they were then.
    pub(super) fn move_over(&mut self, place: Self) -> Result<()> {
        assert_eq!(self.len, place.len, "areas of different sizes");
        let (from, to) =
            (ptr::with_exposed_provenance_mut(self.start), ptr::with_exposed_provenance_mut(place.start));
        let flags = rustix::mm::MremapFlags::MAYMOVE;
        // SAFETY: both are our own mappings, into which nobody holds references.
        unsafe { rustix::mm::mremap_fixed(from, self.len, self.len, flags, to)? };
        self.start = place.start;
        std::mem::forget(place);
        Ok(())
    }

    /// `munmap`, with its result.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn unmap(self) -> Result<()> {
        let (start, len) = self.part(0, self.pages());
        std::mem::forget(self);
        // SAFETY: the range is ours, and nobody holds references into it.
        unsafe { rustix::mm::munmap(start, len) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let (start, len) = self.part(0, self.pages());
        // SAFETY: as in `unmap`. This is the way out after an error; a second
        // one would say nothing new.
        let _ = unsafe { rustix::mm::munmap(start, len) };
    }
}

/// A place in memory that the kernel is told to write to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room<'a> {
    /// Where.
    pub(super) area: &'a Area,
    /// Bytes to skip there.
    pub(super) offset: usize,
    /// Bytes that may be written.
    pub(super) len: usize,
}

/// `TCP_RECEIVE_ZEROCOPY_FLAG_TLB_CLEAN_HINT`: the caller says that nothing is mapped
/// where data shall be.
pub(super) const CLEAN_HINT: u32 = 1;

/// One request of `TCP_ZEROCOPY_RECEIVE`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Request<'a> {
    /// Where data shall be mapped. May be any number: the kernel has to refuse
    /// what is no mapping of a TCP socket, and all of those are [`Area`]s.
    pub(super) address: u64,
    /// Bytes that may be mapped.
    pub(super) length: u32,
    /// Where the rest may be copied.
    pub(super) copy: Option<Room<'a>>,
    /// Where control messages may be put.
    pub(super) control: Option<Room<'a>>,
    /// `TCP_RECEIVE_ZEROCOPY_FLAG_*`.
    pub(super) flags: u32,
    /// `TCP_CMSG_TS` or nothing.
    pub(super) msg_flags: u32,
    /// Nothing.
    pub(super) reserved: u32,
}

/// What the kernel answers in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Answer {
    /// Bytes mapped.
    pub(super) length: u32,
    /// Bytes to be read with `recv`.
    pub(super) skip: u32,
    /// Bytes queued, the FIN included.
    pub(super) inq: u32,
    /// Error of the socket, negative.
    pub(super) err: i32,
    /// Bytes copied, or a negative error number.
    pub(super) copied: i32,
    /// `TCP_CMSG_TS` where there is a control message.
    pub(super) msg_flags: u32,
    /// Room that is left for control messages.
    pub(super) control: u64,
}

impl<'a> Request<'a> {
    /// To map up to `length` bytes from `offset` of an area on.
    pub(super) fn to(area: &'a Area, offset: usize, length: usize) -> Self {
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        Self { address: area.at(offset), length, ..Self::default() }
    }

    fn encode(&self) -> TcpZerocopyReceive {
        let address = |room: Option<Room<'_>>| room.map_or(0, |room| room.area.at(room.offset));
        let len = |room: Option<Room<'_>>| room.map_or(0, |room| room.len);
        TcpZerocopyReceive {
            address: self.address,
            length: self.length,
            copybuf_address: address(self.copy),
            copybuf_len: i32::try_from(len(self.copy)).unwrap_or(i32::MAX),
            flags: self.flags,
            msg_control: address(self.control),
            msg_controllen: len(self.control) as u64,
            msg_flags: self.msg_flags,
            reserved: self.reserved,
            ..TcpZerocopyReceive::default()
        }
    }

    /// Makes the request.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn ask(&self, socket: BorrowedFd<'_>) -> Result<Answer> {
        let mut request = self.encode();
        // SAFETY: everything that the kernel may write to, or replace the pages
        // of, is an `Area`, into which nobody holds references.
        unsafe { sys::zerocopy_receive(socket.as_raw_fd(), &mut request)? };
        Ok(Answer {
            length: request.length,
            skip: request.recv_skip_hint,
            inq: request.inq,
            err: request.err,
            copied: request.copybuf_len,
            msg_flags: request.msg_flags,
            control: request.msg_controllen,
        })
    }

    /// Makes the request with another length of the structure, which lies in
    /// `buffer` with what follows it; returns the length that the kernel gave back.
    ///
    /// # Errors
    ///
    /// Those of the call.
    pub(super) fn ask_sized(&self, socket: BorrowedFd<'_>, len: i32, buffer: &Area) -> Result<i32> {
        self.put(buffer, 0);
        let mut len = len;
        let value = ptr::with_exposed_provenance_mut(self.room_for(buffer));
        // SAFETY: `len` outlives the call; the structure lies in an `Area`, as
        // does everything that it names.
        let done = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_ZEROCOPY_RECEIVE,
                value,
                (&raw mut len).cast(),
            )
        };
        checked(done).map(|_| len)
    }

    fn room_for(&self, buffer: &Area) -> usize {
        assert!(buffer.len >= size_of::<TcpZerocopyReceive>(), "no room for a request");
        buffer.start
    }

    /// Writes the structure, as the kernel reads it, into an area.
    pub(super) fn put(&self, area: &Area, offset: usize) {
        let request = self.encode();
        // SAFETY: the structure has no padding: its size is the sum of its
        // fields, as `sys` asserts.
        let bytes: [u8; size_of::<TcpZerocopyReceive>()] = unsafe { std::mem::transmute(request) };
        area.write(offset, &bytes);
    }
}

/// `getsockopt(TCP_ZEROCOPY_RECEIVE)` with pointers that may lead nowhere; `None`
/// is a null pointer.
///
/// # Errors
///
/// Those of the call.
pub(super) fn ask_at(
    socket: BorrowedFd<'_>,
    value: Option<(&Area, usize)>,
    len: Option<(&Area, usize)>,
) -> Result<()> {
    let pointer = |place: Option<(&Area, usize)>| {
        place.map_or(ptr::null_mut(), |(area, offset)| {
            ptr::with_exposed_provenance_mut::<libc::c_void>(area.start + offset)
        })
    };
    let (level, name) = (libc::IPPROTO_TCP, libc::TCP_ZEROCOPY_RECEIVE);
    // SAFETY: both lie in areas or are null; the kernel checks both. What the
    // structure names was put there by `Request::put`.
    let done =
        unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, pointer(value), pointer(len).cast()) };
    checked(done).map(drop)
}

/// Bytes that a socket has queued (`SIOCINQ`), without the FIN.
///
/// # Errors
///
/// Those of the call.
pub(super) fn queued(socket: BorrowedFd<'_>) -> Result<usize> {
    rustix::io::ioctl_fionread(socket).map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX))
}

/// Bytes that a socket has sent and its peer not acknowledged (`SIOCOUTQ`).
///
/// # Errors
///
/// Those of the call.
pub(super) fn unacknowledged(socket: BorrowedFd<'_>) -> Result<usize> {
    let mut bytes = 0_i32;
    // SAFETY: the request writes an `int`, which outlives the call. Its name is
    // that of the terminals' one with the same number.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ as _, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}
