//! The threads that only disturb: each does one thing to the address space, or
//! makes the kernel touch it with a socket's lock held, over and over.

use std::os::fd::{AsFd, BorrowedFd};

use fastrand::Rng;
use rustix::io::Errno;
use rustix::mm::ProtFlags;
use rustix::net::{RecvFlags, SendFlags};

use super::super::super::child::fork_and_end;
use super::super::super::connection::Pair;
use super::super::super::memory::page_size;
use super::super::super::patience::Patience;
use super::super::sys::Area;
use super::{Crew, Member, PAGES, Role, member, spare, window};
use crate::context::Stop;

fn failed(call: &'static str) -> impl Fn(Errno) -> Stop {
    move |errno| Stop::Fail(format!("{call}, while other threads do other things: {errno}"))
}

/// All of them; `idle` is a connection that nobody else uses.
pub(super) fn all<'a>(
    idle: &'a Pair,
    busy: BorrowedFd<'a>,
    rng: &mut Rng,
    patience: Patience<'a>,
) -> Vec<Member<'a>> {
    let rng = rng.fork();
    vec![
        member("map", Role::Disturb, move |crew| map(crew, busy, idle.receiver.as_fd())),
        member("send", Role::Disturb, move |crew| send(crew, idle)),
        member("take", Role::Disturb, move |crew| take(crew, idle, patience)),
        member("change", Role::Disturb, move |crew| change(crew, busy, rng)),
        member("fork", Role::Disturb, move |crew| fork(crew, patience)),
    ]
}

/// `mmap` and `munmap` of sockets, one of which is being received from.
fn map(crew: &Crew, busy: BorrowedFd<'_>, idle: BorrowedFd<'_>) -> Result<(), Stop> {
    while !crew.is_over() {
        for socket in [busy, idle] {
            window(socket, PAGES)?.unmap().map_err(failed("munmap of a socket"))?;
        }
        crew.checked(2);
    }
    Ok(())
}

/// Sends from memory that nobody has touched: the kernel takes the faults with
/// the lock of the socket held.
fn send(crew: &Crew, idle: &Pair) -> Result<(), Stop> {
    while !crew.is_over() {
        let memory = spare()?;
        match memory.send(idle.sender.as_fd(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Ok(_) => crew.checked(1),
            Err(Errno::AGAIN) => std::thread::yield_now(),
            Err(errno) => return Err(failed("send from untouched memory")(errno)),
        }
    }
    Ok(())
}

/// Takes what [`send`] sent, which is zeros.
fn take(crew: &Crew, idle: &Pair, patience: Patience<'_>) -> Result<(), Stop> {
    let mut buffer = vec![1; 16 * page_size()];
    while !crew.is_over() {
        match rustix::net::recv(&idle.receiver, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((got, _)) if buffer[..got].iter().all(|byte| *byte == 0) => crew.checked(1),
            Ok(_) => return Err(Stop::Fail("untouched memory was sent as something else than zeros".into())),
            Err(Errno::AGAIN) => {
                // Bounded: only the test's own time ends the wait of an idle one.
                patience.check(|| "data of an idle connection".into())?;
                std::thread::yield_now();
            }
            Err(errno) => return Err(failed("recv")(errno)),
        }
    }
    Ok(())
}

/// `madvise`, `mprotect` and `mremap` of an own mapping of a socket.
fn change(crew: &Crew, busy: BorrowedFd<'_>, mut rng: Rng) -> Result<(), Stop> {
    let mut area = window(busy, PAGES)?;
    while !crew.is_over() {
        let first = rng.usize(..PAGES);
        let pages = rng.usize(1..=PAGES - first);
        area.discard(first, pages).map_err(failed("madvise"))?;
        // All of it: the kernel never joins such mappings again, and moves one.
        area.protect(0, PAGES, ProtFlags::empty()).map_err(failed("mprotect"))?;
        area.protect(0, PAGES, ProtFlags::READ).map_err(failed("mprotect"))?;
        area.move_over(spare()?).map_err(failed("mremap"))?;
        if area.protect(0, PAGES, ProtFlags::READ | ProtFlags::WRITE) != Err(Errno::ACCESS) {
            return Err(Stop::Fail("a mapping that was moved may be made writable".into()));
        }
        crew.checked(5);
    }
    area.unmap().map_err(failed("munmap of a socket"))
}

/// Copies the address space with all that is mapped.
fn fork(crew: &Crew, patience: Patience<'_>) -> Result<(), Stop> {
    while !crew.is_over() {
        fork_and_end(patience)?;
        crew.checked(1);
    }
    Ok(())
}

/// Puts memory in the place of a mapping, and the mapping in the place of memory.
pub(super) fn replace(crew: &Crew, area: &Area, socket: BorrowedFd<'_>, mut rng: Rng) -> Result<(), Stop> {
    while !crew.is_over() {
        let first = rng.usize(..PAGES);
        let pages = rng.usize(1..=PAGES - first);
        area.replace_by_memory(first, pages).map_err(failed("mmap of memory over a socket"))?;
        area.replace(first, pages, socket).map_err(failed("mmap of a socket over memory"))?;
        crew.checked(2);
    }
    area.replace(0, PAGES, socket).map_err(failed("mmap of a socket over itself"))
}
