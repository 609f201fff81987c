//! io_uring, as far as the zerocopy workloads need it: a ring whose requests
//! make the kernel read, and never write to this process's memory.
//!
//! All `unsafe` of io_uring is here. That no request writes is what makes the
//! rest safe: a wrong address, a buffer that is unmapped or changed while the
//! kernel sends from it, a message that is gone: each makes the kernel send other
//! bytes or fail, which the workloads want to provoke, and none breaks a rule of
//! the language. So [`Request`] has no constructor for a request that receives.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, RawFd};

use io_uring::{IoUring, Probe, opcode, squeue, types};
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use rustix::net::addr::SocketAddrArg;

/// `IORING_CQE_F_MORE` (include/uapi/linux/io_uring.h): another completion of
/// this request will come.
pub(crate) const MORE: u32 = 1 << 1;

/// `IORING_CQE_F_NOTIF`: the kernel does not need the buffer any more.
pub(crate) const NOTIFICATION: u32 = 1 << 3;

/// `IORING_NOTIF_USAGE_ZC_COPIED`, in the result of a notification.
pub(crate) const COPIED: u32 = 1 << 31;

/// `IORING_SEND_ZC_REPORT_USAGE`: the notification says whether data was copied.
pub(crate) const REPORT_USAGE: u16 = 1 << 3;

/// `IORING_RECVSEND_FIXED_BUF`: the buffer is one that was registered.
const FIXED_BUFFER: u16 = 1 << 2;

/// Memory as a request names it. Need not be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) address: u64,
    /// Bytes.
    pub(crate) len: u32,
}

impl Span {
    /// The memory of a slice.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let address = bytes.as_ptr().expose_provenance() as u64;
        Self { address, len: u32::try_from(bytes.len()).unwrap_or(u32::MAX) }
    }

    /// The same without its first bytes.
    pub(crate) fn from(self, offset: u32) -> Self {
        Self { address: self.address + u64::from(offset), len: self.len.saturating_sub(offset) }
    }

    fn part(self) -> libc::iovec {
        let start = std::ptr::with_exposed_provenance_mut::<libc::c_void>(self.address as usize);
        libc::iovec { iov_base: start, iov_len: self.len as usize }
    }
}

/// A page that can be read, and behind it one that cannot.
#[derive(Debug)]
pub(crate) struct Cliff {
    start: *mut libc::c_void,
    page: usize,
}

impl Cliff {
    /// Maps both.
    ///
    /// # Errors
    ///
    /// Those of `mmap` and `mprotect`.
    pub(crate) fn new() -> rustix::io::Result<Self> {
        let (page, anywhere) = (rustix::param::page_size(), std::ptr::null_mut());
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address where nothing of ours is mapped.
        let start = unsafe { mmap_anonymous(anywhere, 2 * page, access, MapFlags::PRIVATE) }?;
        let cliff = Self { start, page };
        // SAFETY: the second page of what was mapped above, of which nobody knows.
        unsafe { mprotect(start.byte_add(page), page, MprotectFlags::empty()) }?;
        Ok(cliff)
    }

    /// The page that can be read and `beyond` bytes of the other.
    pub(crate) fn span(&self, beyond: u32) -> Span {
        let len = u32::try_from(self.page).unwrap_or(0) + beyond;
        Span { address: self.start.expose_provenance() as u64, len }
    }
}

impl Drop for Cliff {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; there are no references into it. If it
        // fails the pages stay until the process ends.
        let _ = unsafe { munmap(self.start, 2 * self.page) };
    }
}

/// Where a datagram goes, at a place that does not move.
#[derive(Debug)]
pub(crate) struct Destination {
    // Of u64, so that it is aligned as any address is.
    storage: Box<[u64; 4]>,
    len: u32,
}

impl Destination {
    /// An Internet address.
    pub(crate) fn new(address: SocketAddr) -> Self {
        let mut bytes = [0_u8; 32];
        // SAFETY: the kernel is not called; the closure only copies the bytes of the
        // address, which are there for as long as it runs.
        let len = unsafe {
            address.with_sockaddr(|start, len| {
                let len = usize::try_from(len).unwrap_or(0).min(bytes.len());
                std::ptr::copy_nonoverlapping(start.cast::<u8>(), bytes.as_mut_ptr(), len);
                len
            })
        };
        let mut storage = Box::new([0_u64; 4]);
        for (word, part) in storage.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_ne_bytes(*part);
        }
        Self { storage, len: u32::try_from(len).unwrap_or(0) }
    }

    /// The same with a length that is not its own.
    pub(crate) fn with_len(mut self, len: u32) -> Self {
        self.len = len;
        self
    }

    fn pointer(&self) -> *const libc::sockaddr {
        self.storage.as_ptr().cast()
    }
}

/// A `msghdr` and what it points to. The kernel reads it when the request is
/// submitted, so it has to live until then.
#[derive(Debug)]
pub(crate) struct Message {
    header: Box<libc::msghdr>,
    /// Only the memory of these is of use.
    _parts: Box<[libc::iovec]>,
    _destination: Option<Destination>,
}

impl Message {
    /// A message of these parts.
    pub(crate) fn new(parts: &[Span], destination: Option<Destination>) -> Self {
        let mut parts: Box<[libc::iovec]> = parts.iter().map(|part| part.part()).collect();
        // SAFETY: a plain C structure for which zeros are valid.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { std::mem::zeroed() });
        header.msg_iov = parts.as_mut_ptr();
        // The type differs between C libraries.
        header.msg_iovlen = parts.len() as _;
        if let Some(destination) = &destination {
            header.msg_name = destination.pointer().cast_mut().cast();
            header.msg_namelen = destination.len;
        }
        Self { header, _parts: parts, _destination: destination }
    }

    /// The same with parts at a place that need not be there.
    pub(crate) fn with_parts_at(mut self, address: u64, count: usize) -> Self {
        self.header.msg_iov = std::ptr::with_exposed_provenance_mut(address as usize);
        self.header.msg_iovlen = count as _;
        self
    }
}

/// Fields of a request that belong to other requests, by their place in
/// `struct io_uring_sqe`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Foreign {
    /// `addr2`.
    Address2,
    /// `file_index`, and the half of it that is the padding of `addr_len`.
    FileIndex,
    /// `addr3`.
    Address3,
    /// `__pad2`.
    Padding,
}

/// How a request depends on its neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tie {
    /// The next one begins when this one has succeeded.
    Link,
    /// The next one begins when this one has ended.
    HardLink,
    /// It begins when all earlier ones have ended, and later ones after it.
    Drain,
    /// It runs in a worker of the kernel from the beginning.
    Async,
    /// A success has no completion.
    SkipSuccess,
    /// The buffer is chosen from a group.
    BufferSelect,
}

/// A request. None of them lets the kernel write to our memory.
#[derive(Debug, Clone)]
pub(crate) struct Request(squeue::Entry);

impl Request {
    /// Does nothing.
    pub(crate) fn nop() -> Self {
        Self(opcode::Nop::new().build())
    }

    /// `SEND_ZC`. The descriptor need not be open.
    pub(crate) fn send(socket: RawFd, bytes: Span) -> Self {
        let start = std::ptr::with_exposed_provenance(bytes.address as usize);
        Self(opcode::SendZc::new(types::Fd(socket), start, bytes.len).build())
    }

    /// `SEND_ZC` of a datagram. `destination` has to live until it is submitted.
    pub(crate) fn send_to(socket: RawFd, bytes: Span, destination: &Destination) -> Self {
        let start = std::ptr::with_exposed_provenance(bytes.address as usize);
        let request = opcode::SendZc::new(types::Fd(socket), start, bytes.len);
        Self(request.dest_addr(destination.pointer()).dest_addr_len(destination.len).build())
    }

    /// `SEND_ZC` to an address that need not be there.
    pub(crate) fn send_to_address_at(socket: RawFd, bytes: Span, place: Span) -> Self {
        let start = std::ptr::with_exposed_provenance(bytes.address as usize);
        let name = std::ptr::with_exposed_provenance(place.address as usize);
        let request = opcode::SendZc::new(types::Fd(socket), start, bytes.len);
        Self(request.dest_addr(name).dest_addr_len(place.len).build())
    }

    /// `SENDMSG_ZC`. `message` has to live until it is submitted.
    pub(crate) fn sendmsg(socket: RawFd, message: &Message) -> Self {
        Self(opcode::SendMsgZc::new(types::Fd(socket), &raw const *message.header).build())
    }

    /// `SENDMSG_ZC` of a message that need not be there.
    pub(crate) fn sendmsg_at(socket: RawFd, address: u64) -> Self {
        let message = std::ptr::with_exposed_provenance(address as usize);
        Self(opcode::SendMsgZc::new(types::Fd(socket), message).build())
    }

    /// Waits until the file can be read.
    pub(crate) fn poll_readable(file: RawFd) -> Self {
        Self(opcode::PollAdd::new(types::Fd(file), libc::POLLIN as u32).build())
    }

    /// Cancels the request with this number.
    pub(crate) fn cancel(id: u64) -> Self {
        Self(opcode::AsyncCancel::new(id).build())
    }

    /// Cancels the request that it is linked behind when the time is over. `limit`
    /// has to live until it is submitted.
    pub(crate) fn timeout(limit: &Limit) -> Self {
        Self(opcode::LinkTimeout::new(&raw const *limit.0).build())
    }

    /// Number by which its completions are known.
    pub(crate) fn number(self, id: u64) -> Self {
        Self(self.0.user_data(id))
    }

    /// Depends on its neighbours; each call adds a tie.
    pub(crate) fn tie(self, tie: Tie) -> Self {
        Self(self.0.flags(match tie {
            Tie::Link => squeue::Flags::IO_LINK,
            Tie::HardLink => squeue::Flags::IO_HARDLINK,
            Tie::Drain => squeue::Flags::IO_DRAIN,
            Tie::Async => squeue::Flags::ASYNC,
            Tie::SkipSuccess => squeue::Flags::SKIP_SUCCESS,
            Tie::BufferSelect => squeue::Flags::BUFFER_SELECT,
        }))
    }

    /// Adds flags of `SEND_ZC` and `SENDMSG_ZC`, known to the kernel or not.
    pub(crate) fn zerocopy_flags(self, flags: u16) -> Self {
        let old = self.field::<2>(2);
        self.with_field(2, (u16::from_ne_bytes(old) | flags).to_ne_bytes())
    }

    /// Sends from the registered buffer of this index.
    pub(crate) fn registered(self, index: u16) -> Self {
        self.zerocopy_flags(FIXED_BUFFER).with_field(40, index.to_ne_bytes())
    }

    /// Flags as `send` takes them.
    pub(crate) fn message_flags(self, flags: u32) -> Self {
        self.with_field(28, flags.to_ne_bytes())
    }

    /// Puts a number where this request has to have 0.
    pub(crate) fn foreign(self, field: Foreign, value: u16) -> Self {
        let long = u64::from(value).to_ne_bytes();
        match field {
            Foreign::Address2 => self.with_field(8, long),
            // Its upper half: the lower one is the length of an address.
            Foreign::FileIndex => self.with_field(46, value.to_ne_bytes()),
            Foreign::Address3 => self.with_field(48, long),
            Foreign::Padding => self.with_field(56, long),
        }
    }

    fn bytes(&self) -> [u8; SQE] {
        // SAFETY: an entry is a C structure of integers without padding, of the size
        // asserted below.
        unsafe { std::mem::transmute_copy(&self.0) }
    }

    fn field<const N: usize>(&self, at: usize) -> [u8; N] {
        let bytes = self.bytes();
        std::array::from_fn(|n| bytes.get(at + n).copied().unwrap_or(0))
    }

    fn with_field<const N: usize>(self, at: usize, value: [u8; N]) -> Self {
        let mut bytes = self.bytes();
        for (to, from) in bytes.iter_mut().skip(at).zip(value) {
            *to = from;
        }
        // SAFETY: as in `bytes`; every bit pattern is valid. What was changed neither
        // makes it another request nor one that writes: the callers above name fields
        // that the kernel reads as numbers, or refuses.
        Self(unsafe { std::mem::transmute::<[u8; SQE], squeue::Entry>(bytes) })
    }
}

/// Size of `struct io_uring_sqe`.
const SQE: usize = 64;

const _: () = assert!(size_of::<squeue::Entry>() == SQE, "the kernel's struct has 64 bytes");

/// A time limit at a place that does not move.
pub(crate) struct Limit(Box<types::Timespec>);

impl Limit {
    /// From nanoseconds below a second.
    pub(crate) fn new(nanoseconds: u32) -> Self {
        Self(Box::new(types::Timespec::new().nsec(nanoseconds)))
    }
}

/// A completion as the kernel wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Completion {
    /// Number of the request.
    pub(crate) id: u64,
    /// What came of it, or a negative error number.
    pub(crate) result: i32,
    /// `IORING_CQE_F_*`.
    pub(crate) flags: u32,
}

/// What a kernel may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// `IORING_OP_SEND_ZC`.
    Send,
    /// `IORING_OP_SENDMSG_ZC`.
    SendMsg,
}

/// A pair of queues. Closed when dropped.
pub(crate) struct Ring(IoUring);

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Ring").field(&self.as_fd()).finish()
    }
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Ring {
    /// Room for so many requests at once, and four times as many completions. All
    /// requests that are submitted together are begun, also behind one that is
    /// refused.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_setup`.
    pub(crate) fn new(entries: u32) -> io::Result<Self> {
        IoUring::builder().setup_submit_all().setup_cqsize(4 * entries).dontfork().build(entries).map(Self)
    }

    /// Whether the kernel knows the operation (`IORING_REGISTER_PROBE`).
    ///
    /// # Errors
    ///
    /// Those of `io_uring_register`.
    pub(crate) fn knows(&self, operation: Operation) -> io::Result<bool> {
        let mut probe = Probe::new();
        self.0.submitter().register_probe(&mut probe)?;
        Ok(probe.is_supported(match operation {
            Operation::Send => opcode::SendZc::CODE,
            Operation::SendMsg => opcode::SendMsgZc::CODE,
        }))
    }

    /// Registers buffers, which the kernel pins. Others read them only.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_register`; `ENOMEM` beyond `RLIMIT_MEMLOCK`.
    pub(crate) fn register(&self, buffers: &[Span]) -> io::Result<()> {
        let parts: Vec<libc::iovec> = buffers.iter().map(|buffer| buffer.part()).collect();
        // SAFETY: no request of this ring lets the kernel write to a registered buffer,
        // and it holds their pages, whatever becomes of the mapping.
        unsafe { self.0.submitter().register_buffers(&parts) }
    }

    /// Takes the registered buffers back. Some kernels wait until no request uses
    /// them.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_register`.
    pub(crate) fn unregister(&self) -> io::Result<()> {
        self.0.submitter().unregister_buffers()
    }

    /// Queues a request. False if the queue is full.
    pub(crate) fn push(&mut self, request: &Request) -> bool {
        // SAFETY: the kernel only reads for it, so nothing that it names has to be
        // valid for the language's sake.
        unsafe { self.0.submission().push(&request.0) }.is_ok()
    }

    /// Submits what is queued: how many requests the kernel took.
    ///
    /// # Errors
    ///
    /// Those of `io_uring_enter`.
    pub(crate) fn submit(&self) -> io::Result<usize> {
        self.0.submit()
    }

    /// The next completion, if one is there.
    pub(crate) fn next(&mut self) -> Option<Completion> {
        let entry = self.0.completion().next()?;
        Some(Completion { id: entry.user_data(), result: entry.result(), flags: entry.flags() })
    }

    /// Completions that found no room, and requests that the kernel could not read:
    /// both 0 when nothing went wrong.
    pub(crate) fn lost(&mut self) -> (u32, u32) {
        let waiting = self.0.submission().cq_overflow();
        let dropped = self.0.submission().dropped();
        (self.0.completion().overflow() + u32::from(waiting), dropped)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn fields_are_where_the_kernel_has_them() {
        let request = Request::send(7, Span { address: 0x1_0000, len: 5 });
        let request = request.number(9).registered(3).message_flags(0x40).tie(Tie::Link);
        let bytes = request.bytes();
        assert_eq!((bytes[0], bytes[1]), (opcode::SendZc::CODE, 1 << 2));
        assert_eq!(request.field::<2>(2), FIXED_BUFFER.to_ne_bytes());
        assert_eq!(request.field::<4>(4), 7_i32.to_ne_bytes());
        assert_eq!(request.field::<8>(16), 0x1_0000_u64.to_ne_bytes());
        assert_eq!(request.field::<4>(24), 5_u32.to_ne_bytes());
        assert_eq!(request.field::<4>(28), 0x40_u32.to_ne_bytes());
        assert_eq!(request.field::<8>(32), 9_u64.to_ne_bytes());
        assert_eq!(request.field::<2>(40), 3_u16.to_ne_bytes());
    }

    #[test]
    fn flags_add_up_and_foreign_fields_leave_the_others() {
        let request =
            Request::nop().zerocopy_flags(REPORT_USAGE).registered(0).tie(Tie::Drain).tie(Tie::Async);
        assert_eq!(request.field::<2>(2), (REPORT_USAGE | FIXED_BUFFER).to_ne_bytes());
        assert_eq!(request.bytes()[1], 1 << 1 | 1 << 4);
        for (field, at) in [(Foreign::Address2, 8), (Foreign::Address3, 48), (Foreign::Padding, 56)] {
            let changed = request.clone().foreign(field, 0x102);
            assert_eq!(changed.field::<8>(at), 0x102_u64.to_ne_bytes());
            let (old, new) = (request.bytes(), changed.bytes());
            let others = (0..SQE).filter(|n| !(at..at + 8).contains(n));
            assert!(others.into_iter().all(|n| old[n] == new[n]), "{field:?}");
        }
        assert_eq!(request.foreign(Foreign::FileIndex, 1).field::<4>(44), [0, 0, 1, 0]);
    }

    #[test]
    fn an_address_is_laid_out_as_the_kernel_reads_it() {
        let v4 = Destination::new((Ipv4Addr::new(10, 1, 2, 3), 258).into());
        assert_eq!(v4.len, 16);
        let bytes: Vec<u8> = v4.storage.iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(bytes[..2], (libc::AF_INET as u16).to_ne_bytes());
        assert_eq!(bytes[2..8], [1, 2, 10, 1, 2, 3]);
        let v6 = Destination::new((Ipv6Addr::LOCALHOST, 258).into());
        assert_eq!(v6.len, 28);
        assert_eq!(v6.with_len(3).len, 3);
    }

    #[test]
    fn a_message_points_to_its_own_parts() {
        let bytes = [0_u8; 10];
        let message = Message::new(&[Span::of(&bytes), Span::of(&bytes).from(4)], None);
        assert_eq!(message.header.msg_iov.cast_const(), message._parts.as_ptr());
        assert_eq!((message._parts.len(), message._parts[1].iov_len), (2, 6));
        assert!(message.header.msg_name.is_null());
        let message = message.with_parts_at(0x1000, 5);
        assert_eq!(message.header.msg_iov.addr(), 0x1000);
    }
}
