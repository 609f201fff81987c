//! Our ends of a machine's channels: sockets to which it connects, or files that
//! it appends to and that are followed.
//!
//! Files are for machines whose clock counts instructions. A socket that is full
//! makes a UART wait until the host has read it, and the guest sees that wait; a
//! file takes every byte at once.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kregress_wire::{Carrier, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FallocateFlags, fallocate, inotify};

use crate::guest::qemu::ChannelPaths;

/// Piece in which channels are read.
const PIECE: usize = 64 << 10;

/// What is read of a file is given back to its file system in pieces of this
/// size: a guest that floods a channel does not fill the disk.
const GIVE_BACK: u64 = 1 << 20;

/// What a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Frames.
    Control,
    /// Raw output of tests.
    Output,
    /// The kernel log.
    Console,
}

impl Role {
    pub(super) const ALL: [Self; 3] = [Self::Control, Self::Output, Self::Console];
}

/// An end cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot create `{path}`: {source}")]
pub struct BindError {
    /// Which.
    path: PathBuf,
    /// The system's words.
    source: io::Error,
}

/// The ends of the three channels, and the place of a fourth where QEMU listens.
#[derive(Debug)]
pub(super) struct Channels {
    /// Sockets to which nobody connected yet.
    awaited: Vec<(Role, UnixListener)>,
    open: Vec<(Role, Stream)>,
    /// Tells that something was written to a file.
    writes: Option<OwnedFd>,
    monitor: PathBuf,
}

#[derive(Debug)]
enum Stream {
    Socket(UnixStream),
    File(Followed),
}

/// A file that grows.
#[derive(Debug)]
struct Followed {
    file: File,
    read: u64,
    given_back: u64,
    /// Nobody writes to it any more.
    complete: bool,
}

/// What came out of a channel.
#[derive(Debug)]
pub(super) enum Received {
    /// Bytes, and perhaps more of them.
    Bytes(Vec<u8>),
    /// Nothing for now.
    Nothing,
    /// Its end: the channel is closed.
    End,
}

impl Channels {
    /// Makes the ends, before the machine is started.
    ///
    /// # Errors
    ///
    /// Fails when a socket or file cannot be made.
    pub(super) fn make(paths: &ChannelPaths, carrier: Carrier) -> Result<Self, BindError> {
        let mut channels =
            Self { awaited: Vec::new(), open: Vec::new(), writes: None, monitor: paths.monitor.clone() };
        for role in Role::ALL {
            let path = match role {
                Role::Control => &paths.control,
                Role::Output => &paths.output,
                Role::Console => &paths.console,
            };
            let made = match carrier {
                Carrier::VirtioSerial => channels.listen(role, path),
                Carrier::Uart => channels.follow(role, path),
            };
            made.map_err(|source| BindError { path: path.clone(), source })?;
        }
        Ok(channels)
    }

    fn listen(&mut self, role: Role, path: &Path) -> io::Result<()> {
        let listener = UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        self.awaited.push((role, listener));
        Ok(())
    }

    fn follow(&mut self, role: Role, path: &Path) -> io::Result<()> {
        let file = OpenOptions::new().read(true).write(true).create_new(true).open(path)?;
        let writes = match &self.writes {
            Some(writes) => writes,
            None => {
                let flags = inotify::CreateFlags::NONBLOCK | inotify::CreateFlags::CLOEXEC;
                self.writes.insert(inotify::init(flags)?)
            }
        };
        inotify::add_watch(writes, path, inotify::WatchFlags::MODIFY)?;
        self.open.push((role, Stream::File(Followed { file, read: 0, given_back: 0, complete: false })));
        Ok(())
    }

    /// Where QEMU's monitor listens.
    pub(super) fn monitor(&self) -> &Path {
        &self.monitor
    }

    /// Whether the other end of this channel is there, or was and may have left something.
    pub(super) fn is_open(&self, role: Role) -> bool {
        self.open.iter().any(|(open, _)| *open == role)
    }

    /// The machine is gone: what is in its files is all there will be.
    pub(super) fn machine_ended(&mut self) {
        for (_, stream) in &mut self.open {
            if let Stream::File(followed) = stream {
                followed.complete = true;
            }
        }
    }

    /// Whether everything was read that a machine that is gone left in files.
    pub(super) fn is_drained(&self) -> bool {
        self.open.iter().all(|(_, stream)| matches!(stream, Stream::Socket(_)))
    }

    /// A way for requests to the guest, where there is one.
    pub(super) fn requests(&self) -> Option<Writer<UnixStream>> {
        self.open.iter().find_map(|(role, stream)| match stream {
            Stream::Socket(stream) if *role == Role::Control => stream.try_clone().ok().map(Writer::new),
            _ => None,
        })
    }

    /// A way for what is typed, where there is one.
    pub(super) fn keyboard(&self) -> Option<UnixStream> {
        self.open.iter().find_map(|(role, stream)| match stream {
            Stream::Socket(stream) if *role == Role::Output => stream.try_clone().ok(),
            _ => None,
        })
    }

    /// Waits until a channel or `also` has something, and accepts connections on
    /// the way. Gives the channels that may have bytes.
    ///
    /// # Errors
    ///
    /// Fails when waiting does.
    pub(super) fn wait(&mut self, limit: Duration, also: &[BorrowedFd<'_>]) -> io::Result<Vec<Role>> {
        // What is left in files needs no waiting for.
        let limit = if self.has_complete_files() { Duration::ZERO } else { limit };
        let timeout = Timespec::try_from(limit).unwrap_or(Timespec { tv_sec: 0, tv_nsec: 0 });
        let awaited = self.awaited.iter().map(|(_, listener)| listener.as_fd());
        let sockets = self.open.iter().filter_map(|(_, stream)| match stream {
            Stream::Socket(stream) => Some(stream.as_fd()),
            Stream::File(_) => None,
        });
        let fds =
            awaited.chain(sockets).chain(self.writes.iter().map(AsFd::as_fd)).chain(also.iter().copied());
        let mut fds: Vec<_> = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let awake: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let (awaited, open) = awake.split_at(self.awaited.len());
        let mut open = open.iter();
        let mut ready = Vec::new();
        for (role, stream) in &self.open {
            let is_ready = match stream {
                Stream::Socket(_) => open.next() == Some(&true),
                // Looking costs one read, and needs no trust in announcements.
                Stream::File(_) => true,
            };
            ready.extend(is_ready.then_some(*role));
        }
        self.forget_announcements();
        self.accept(awaited)?;
        Ok(ready)
    }

    fn has_complete_files(&self) -> bool {
        self.open.iter().any(|(_, stream)| matches!(stream, Stream::File(followed) if followed.complete))
    }

    /// Files are read to their end after each wake: what was announced until now is known.
    fn forget_announcements(&self) {
        let Some(writes) = &self.writes else { return };
        let mut events = [0; 4096];
        while rustix::io::read(writes, &mut events).is_ok_and(|count| count > 0) {}
    }

    fn accept(&mut self, awake: &[bool]) -> io::Result<()> {
        let mut still = Vec::new();
        for ((role, listener), awake) in std::mem::take(&mut self.awaited).into_iter().zip(awake) {
            // Only where poll saw someone: whoever connects a moment later is
            // accepted in the next round, and not dropped in this one.
            match if *awake { listener.accept().ok() } else { None } {
                Some((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    self.open.push((role, Stream::Socket(stream)));
                }
                None => still.push((role, listener)),
            }
        }
        self.awaited = still;
        Ok(())
    }

    /// Takes one piece out of a channel.
    pub(super) fn receive(&mut self, role: Role) -> Received {
        let Some(at) = self.open.iter().position(|(open, _)| *open == role) else {
            return Received::Nothing;
        };
        let mut buffer = vec![0; PIECE];
        let received = loop {
            let read = match &mut self.open[at].1 {
                Stream::Socket(stream) => stream.read(&mut buffer),
                Stream::File(followed) => match followed.read(&mut buffer) {
                    Ok(0) if !followed.complete => return Received::Nothing,
                    read => read,
                },
            };
            match read {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match received {
            Ok(count) if count > 0 => {
                buffer.truncate(count);
                Received::Bytes(buffer)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Received::Nothing,
            // A reset is an end like any other.
            Ok(_) | Err(_) => {
                self.open.remove(at);
                Received::End
            }
        }
    }
}

impl Followed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.read += count as u64;
        if self.read - self.given_back >= GIVE_BACK {
            let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // A file system that cannot do this keeps the file until the boot ends.
            let _ = fallocate(&self.file, flags, self.given_back, self.read - self.given_back);
            self.given_back = self.read;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    struct Place {
        _dir: tempfile::TempDir,
        paths: ChannelPaths,
    }

    fn place() -> Place {
        let dir = tempfile::tempdir().expect("a directory");
        let paths = ChannelPaths::within(dir.path());
        Place { _dir: dir, paths }
    }

    fn followed() -> (Place, Channels, File) {
        let place = place();
        let channels = Channels::make(&place.paths, Carrier::Uart).expect("channels");
        // As QEMU does it.
        let writer = OpenOptions::new().write(true).truncate(true).create(true).open(&place.paths.control);
        (place, channels, writer.expect("the other end"))
    }

    fn text(received: &Received) -> &str {
        match received {
            Received::Bytes(bytes) => std::str::from_utf8(bytes).expect("text"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_appended_to_a_file_wakes_and_is_read_once() {
        let (_place, mut channels, mut writer) = followed();
        writer.write_all(b"one").expect("written");
        let ready = channels.wait(Duration::from_secs(60), &[]).expect("a wait");
        assert!(ready.contains(&Role::Control));
        assert_eq!(text(&channels.receive(Role::Control)), "one");
        assert!(matches!(channels.receive(Role::Control), Received::Nothing));
        writer.write_all(b"two").expect("written");
        channels.wait(Duration::from_secs(60), &[]).expect("a wait");
        assert_eq!(text(&channels.receive(Role::Control)), "two");
    }

    #[test]
    fn a_file_ends_when_its_machine_has_and_all_of_it_was_read() {
        let (_place, mut channels, mut writer) = followed();
        writer.write_all(b"last words").expect("written");
        channels.machine_ended();
        assert!(!channels.is_drained());
        assert_eq!(text(&channels.receive(Role::Control)), "last words");
        for role in Role::ALL {
            assert!(matches!(channels.receive(role), Received::End), "{role:?}");
            assert!(matches!(channels.receive(role), Received::Nothing), "{role:?}");
        }
        assert!(channels.is_drained());
    }

    #[test]
    fn a_flood_into_a_file_does_not_stay_on_the_disk() {
        let (place, mut channels, mut writer) = followed();
        let piece = vec![7; 1 << 20];
        for _ in 0..8 {
            writer.write_all(&piece).expect("written");
            while let Received::Bytes(_) = channels.receive(Role::Control) {}
        }
        let file = std::fs::metadata(&place.paths.control).expect("the file");
        assert_eq!(file.len(), 8 << 20);
        // Blocks of 512 bytes. A file system without holes would keep 16384.
        assert!(file.blocks() < 4 << 11, "{} blocks", file.blocks());
    }

    #[test]
    fn a_machine_that_cannot_be_asked_has_no_way_for_requests() {
        let (_place, channels, _writer) = followed();
        assert!(channels.requests().is_none());
    }

    #[test]
    fn a_socket_opens_when_somebody_connects_and_ends_when_they_leave() {
        let place = place();
        let mut channels = Channels::make(&place.paths, Carrier::VirtioSerial).expect("channels");
        assert!(!channels.is_open(Role::Console));
        let mut stream = UnixStream::connect(&place.paths.console).expect("connected");
        stream.write_all(b"hello").expect("written");
        while !channels.is_open(Role::Console) {
            channels.wait(Duration::from_secs(60), &[]).expect("a wait");
        }
        assert_eq!(channels.wait(Duration::from_secs(60), &[]).expect("a wait"), [Role::Console]);
        assert_eq!(text(&channels.receive(Role::Console)), "hello");
        assert!(matches!(channels.receive(Role::Console), Received::Nothing));
        drop(stream);
        channels.wait(Duration::from_secs(60), &[]).expect("a wait");
        assert!(matches!(channels.receive(Role::Console), Received::End));
        assert!(!channels.is_open(Role::Console));
    }
}
