//! The senders of a TCP stream that need no completion: `splice` from a pipe,
//! and plain `send`.

use std::os::fd::BorrowedFd;

use rustix::event::PollFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{SendFlags, Shutdown};
use rustix::pipe::{PipeFlags, SpliceFlags};

use super::memory::Pages;
use super::patience::Patience;
use super::pattern::Load;
use crate::context::Stop;

/// Sends the load through a pipe: its pages travel to the receiver.
///
/// # Errors
///
/// [`Stop::Fail`] when `splice` fails or the socket takes nothing any more,
/// [`Stop::Error`] when the pipe cannot be had.
pub(super) fn splice(
    socket: BorrowedFd<'_>,
    load: Load,
    chunk: usize,
    patience: Patience<'_>,
) -> Result<(), Stop> {
    let (reader, writer) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| Stop::Error(format!("pipe: {errno}")))?;
    rustix::pipe::fcntl_setpipe_size(&writer, chunk)
        .map_err(|errno| Stop::Error(format!("fcntl F_SETPIPE_SZ to `{chunk}`: {errno}")))?;
    each_chunk(load, chunk, |bytes, position| {
        // The pipe is empty and has room for a chunk: this never blocks.
        let written = retry_on_intr(|| rustix::io::write(&writer, bytes));
        let written = written.map_err(|errno| Stop::Error(format!("write to the pipe: {errno}")))?;
        if written != bytes.len() {
            let len = bytes.len();
            return Err(Stop::Error(format!("the pipe took `{written}` of `{len}` bytes")));
        }
        // SIGPIPE, which a broken connection would raise here, is ignored by
        // the runtime of every Rust program.
        all("splice to the socket", socket, written, position, patience, |offset| {
            rustix::pipe::splice(&reader, None, socket, None, written - offset, SpliceFlags::empty())
        })
    })?;
    finish(socket)
}

/// Sends the load from one buffer; the kernel copies.
///
/// # Errors
///
/// [`Stop::Fail`] when `send` fails or the socket takes nothing any more.
pub(super) fn copy(
    socket: BorrowedFd<'_>,
    load: Load,
    chunk: usize,
    patience: Patience<'_>,
) -> Result<(), Stop> {
    each_chunk(load, chunk, |bytes, position| {
        all("send", socket, bytes.len(), position, patience, |offset| {
            rustix::net::send(socket, &bytes[offset..], SendFlags::DONTWAIT | SendFlags::NOSIGNAL)
        })
    })?;
    finish(socket)
}

fn each_chunk(
    load: Load,
    chunk: usize,
    mut send: impl FnMut(&[u8], u64) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut buffer = Pages::new(chunk)
        .map_err(|errno| Stop::Error(format!("mmap of `{chunk}` bytes to send: {errno}")))?;
    buffer.fill(1);
    let mut position = 0;
    while position < load.length() {
        let left = usize::try_from(load.length() - position).unwrap_or(usize::MAX);
        let bytes = &mut buffer[..left.min(chunk)];
        load.fill(bytes, position);
        send(bytes, position)?;
        position += bytes.len() as u64;
    }
    Ok(())
}

/// Calls until `len` bytes are sent; waits where the socket is full.
fn all(
    call: &str,
    socket: BorrowedFd<'_>,
    len: usize,
    position: u64,
    patience: Patience<'_>,
    mut send: impl FnMut(usize) -> rustix::io::Result<usize>,
) -> Result<(), Stop> {
    let mut offset = 0;
    while offset < len {
        let at = position + offset as u64;
        match retry_on_intr(|| send(offset)) {
            Ok(sent) if (1..=len - offset).contains(&sent) => offset += sent,
            Ok(sent) => {
                let asked = len - offset;
                return Err(Stop::Fail(format!("{call} of `{asked}` bytes at byte {at} claims `{sent}`")));
            }
            Err(Errno::AGAIN) => {
                patience
                    .wait(socket, PollFlags::OUT, || format!("room in the sending socket, at byte {at}"))?;
            }
            Err(errno) => return Err(Stop::Fail(format!("{call} at byte {at}: {errno}"))),
        }
    }
    Ok(())
}

fn finish(socket: BorrowedFd<'_>) -> Result<(), Stop> {
    rustix::net::shutdown(socket, Shutdown::Write)
        .map_err(|errno| Stop::Fail(format!("shutdown of the sending end: {errno}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::zerocopy::pattern::Pattern;

    #[test]
    fn chunks_cover_the_load_in_order_and_the_last_is_shorter() {
        let pattern = Pattern::new(3, 10_000);
        let mut seen = Vec::new();
        each_chunk(Load::Verified(pattern), 4096, |bytes, position| {
            assert_eq!(pattern.check(bytes, position), Ok(()));
            seen.push((position, bytes.len()));
            Ok(())
        })
        .expect("nothing fails");
        assert_eq!(seen, [(0, 4096), (4096, 4096), (8192, 1808)]);
    }

    #[test]
    fn the_first_failure_ends_the_chunks() {
        let mut calls = 0;
        let error = each_chunk(Load::Timed(10_000), 4096, |_, _| {
            calls += 1;
            Err(Stop::Fail("no".into()))
        });
        assert_eq!((error, calls), (Err(Stop::Fail("no".into())), 1));
    }
}
