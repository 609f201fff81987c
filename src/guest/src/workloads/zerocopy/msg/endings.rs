//! `msg-zerocopy/endings`: sockets, processes, mappings and namespaces that end
//! while the kernel still has their pages.
//!
//! What is taken for granted elsewhere is looked at here: data that was accepted
//! arrives, and locked memory, sockets, pages and namespaces come back.

use std::fs;
use std::os::fd::OwnedFd;
use std::time::Duration;

use kregress_wire::{ParamInfo, WorkloadInfo};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::SendFlags;
use rustix::process::Signal;

use super::super::child::{Child, close_in_child, ended, until_killed};
use super::super::connection;
use super::super::inflight::ZEROCOPY;
use super::super::loopback::{FAMILY, Family};
use super::super::memory::Pages;
use super::super::patience::{Limits, Patience};
use super::super::pattern::Pattern;
use super::line::Line;
use super::place::{self, Neighbour, Path, Place, Room};
use super::stuck::{self, Stuck};
use super::user::{Commoner, most_bytes};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::procfs;
use crate::workloads::netns::{begin_census, expect_all_gone};

const ENDS: &[&str] =
    &["close", "close-udp", "reset", "unread", "namespace", "munmap", "fork", "kill", "memory"];

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "msg-zerocopy/endings",
    summary: "ends sockets, processes, mappings and namespaces while the kernel has their pages",
    params: &[
        ParamInfo::Choice {
            name: "end",
            summary: "close of a tcp or udp socket; reset by the receiver; completions never read; the namespace; \
                      the mapping; a copy of the process; the process; many of them by the memory that is left",
            choices: ENDS,
            default: "close",
        },
        FAMILY,
        ParamInfo::Int { name: "rounds", summary: "repetitions", min: 1, max: 10_000, default: 3 },
    ],
    metrics: &[],
    modules: place::MODULES,
};

/// Pages that the user may lock.
const LOCKED: usize = 12;

/// Pause between two looks at something that comes back.
const PAUSE: Duration = Duration::from_millis(2);

/// Room for everything.
const ROOMY: Room = Room { sender: 4 << 20, receiver: 4 << 20 };

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let _modules = Loaded::load(place::MODULES)?;
    let family = Family::of(context)?;
    let end = context.choice("end")?;
    let rounds = context.count("rounds")? as u64;
    let limits = Limits::of(context)?;
    let patience = limits.patience();
    let mut rng = context.rng();
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    for round in 0..rounds {
        let scene = Scene { context, family, seed: rng.u64(..), patience };
        match end {
            "close" => scene.close()?,
            "close-udp" => scene.close_udp()?,
            "reset" => scene.reset()?,
            "unread" => scene.unread()?,
            "namespace" => scene.namespace()?,
            "munmap" => scene.in_flight(Fate::Unmapped)?,
            "fork" => scene.in_flight(Fate::Copied)?,
            "kill" => scene.kill()?,
            "memory" => scene.memory()?,
            other => return Err(Stop::Error(format!("parameter `end` is `{other}`, none of {ENDS:?}"))),
        }
        drop(expect_all_gone(context, &mut census, 1)?);
        census.open()?;
        context.progress(round + 1, rounds)?;
    }
    Ok(())
}

/// What becomes of a buffer whose data waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is unmapped.
    Unmapped,
    /// A child process gets a copy, writes to it, and does so again when it is the
    /// only one who maps it.
    Copied,
}

/// Data in pages of its own.
struct Data {
    pattern: Pattern,
    pages: Pages,
    bytes: usize,
}

impl Data {
    fn new(seed: u64, bytes: usize) -> Result<Self, Stop> {
        let mut pages =
            Pages::new(bytes).map_err(|errno| Stop::Error(format!("mmap of `{bytes}` bytes: {errno}")))?;
        let pattern = Pattern::new(seed, bytes as u64);
        pattern.fill(&mut pages[..bytes], 0);
        Ok(Self { pattern, pages, bytes })
    }

    fn bytes(&self) -> &[u8] {
        &self.pages[..self.bytes]
    }
}

#[derive(Clone, Copy)]
struct Scene<'a, 'c> {
    context: &'a Context<'c>,
    family: Family,
    seed: u64,
    patience: Patience<'a>,
}

impl Scene<'_, '_> {
    fn loopback(&self) -> Result<Place, Stop> {
        Place::build(self.context, Path::Loopback, self.family, stuck::MTU, Neighbour::Known)
    }

    fn right(&self, data: &[u8], pattern: Pattern, after: &str) -> WorkloadResult {
        let seen = pattern.check(data, 0);
        self.context.check(seen.is_ok(), || {
            format!("after {after}, {}", seen.err().map_or_else(String::new, |it| it.to_string()))
        })
    }

    /// Sends, as the user, all that he may lock.
    fn lock(&self, line: &mut Line, headers: usize) -> Result<Data, Stop> {
        let data = Data::new(self.seed ^ 2, most_bytes(LOCKED, headers))?;
        let user = Commoner::become_one()?;
        user.allow(LOCKED)?;
        line.send_all(data.bytes(), SendFlags::empty())?;
        Ok(data)
    }

    /// Asserts that nothing is left of what the user may lock.
    fn locked(&self, probe: &mut Line, why: &str) -> WorkloadResult {
        let user = Commoner::become_one()?;
        user.allow(LOCKED)?;
        let result = probe.send(&[1; 10], SendFlags::empty());
        self.context.check(result == Err(Errno::NOBUFS), || {
            format!("{why} the locked memory of its pages is given back: a send came to {result:?}")
        })
    }

    /// Waits until all that the user may lock is there again.
    fn unlocked(&self, probe: &mut Line, after: &str) -> WorkloadResult {
        let data = Data::new(self.seed ^ 3, most_bytes(LOCKED, 0))?;
        loop {
            let user = Commoner::become_one()?;
            user.allow(LOCKED)?;
            match probe.send(data.bytes(), SendFlags::empty()) {
                Ok(sent) if sent == data.bytes => break,
                Err(Errno::NOBUFS) if !self.context.remaining().is_zero() => {}
                other => {
                    return Err(Stop::Fail(format!(
                        "after {after} not all locked memory came back: a send of `{}` bytes came to {other:?}",
                        data.bytes
                    )));
                }
            }
            drop(user);
            self.context.progress(0, 1)?;
            clock::poll_interval(PAUSE);
        }
        self.context.checked(1);
        probe.settle(self.patience)
    }

    /// A connection on which nothing stands still, for looking at the limit.
    fn probe(&self, place: &Place) -> Result<(Line, OwnedFd), Stop> {
        let pair = place.tcp(ROOMY, self.patience)?;
        Ok((Line::open(pair.sender, self.family)?, pair.receiver))
    }

    fn close(&self) -> WorkloadResult {
        let place = self.loopback()?;
        let (mut probe, other) = self.probe(&place)?;
        let mut stuck = Stuck::open(&place, self.family, self.seed, self.patience)?;
        let data = self.lock(&mut stuck.line, 0)?;
        stuck.line.assert_pending("their receiver has no room for them")?;
        stuck.line.close();
        self.locked(&mut probe, "as soon as a socket is closed that has data to send,")?;
        stuck.far.pull(self.patience)?;
        let arrived = stuck.far.read(data.bytes, self.patience)?;
        self.right(&arrived, data.pattern, "the close of the sending socket")?;
        stuck.far.end(self.patience)?;
        self.unlocked(&mut probe, "the end of a closed socket")?;
        drop((stuck.far, probe, other));
        self.no_sockets(&place)
    }

    fn close_udp(&self) -> WorkloadResult {
        let dummy = Place::build(self.context, Path::Dummy, self.family, 65_535, Neighbour::Unknown)?;
        let place = self.loopback()?;
        let (mut probe, _other) = self.probe(&place)?;
        let mut line = Line::open(dummy.udp(1 << 20)?.0, self.family)?;
        let _data = self.lock(&mut line, 8)?;
        line.assert_pending("their neighbour is not known")?;
        line.close();
        self.locked(&mut probe, "as soon as a socket is closed whose datagram waits,")?;
        dummy.resolve()?;
        self.unlocked(&mut probe, "the end of a closed socket")
    }

    fn reset(&self) -> WorkloadResult {
        let place = self.loopback()?;
        let (mut probe, other) = self.probe(&place)?;
        let mut stuck = Stuck::open(&place, self.family, self.seed, self.patience)?;
        let _data = self.lock(&mut stuck.line, 0)?;
        stuck.line.assert_pending("their receiver has no room for them")?;
        // With data that nobody read.
        drop(stuck.far);
        stuck.line.settle(self.patience)?;
        self.context.checked(stuck.line.made());
        self.unlocked(&mut probe, "a reset of the connection")?;
        stuck.line.close();
        drop((probe, other));
        self.no_sockets(&place)
    }

    /// Completions that nobody reads end with their socket.
    fn unread(&self) -> WorkloadResult {
        let place = self.loopback()?;
        let (mut probe, other) = self.probe(&place)?;
        let pair = place.tcp(ROOMY, self.patience)?;
        let mut line = Line::open(pair.sender, self.family)?;
        let data = self.lock(&mut line, 0)?;
        let events = rustix::event::PollFlags::empty();
        self.patience.wait(line.socket(), events, || "the completion of a send".into())?;
        line.close();
        let arrived = stuck::read(&pair.receiver, data.bytes, self.patience)?;
        self.right(&arrived, data.pattern, "the close of the sending socket")?;
        self.unlocked(&mut probe, "the close of a socket with unread completions")?;
        drop((pair.receiver, probe, other));
        self.no_sockets(&place)?;
        let datagrams = place.udp(1 << 20)?;
        let mut line = Line::open(datagrams.0, self.family)?;
        for _ in 0..4 {
            line.send_all(&[1; 1000], SendFlags::empty())?;
        }
        self.patience.wait(line.socket(), events, || "the completion of a datagram".into())?;
        Ok(())
    }

    /// Everything ends that refers to the namespace, but for a datagram.
    fn namespace(&self) -> WorkloadResult {
        let place = self.loopback()?;
        let (mut probe, _other) = self.probe(&place)?;
        let dummy = Place::build(self.context, Path::Dummy, self.family, 65_535, Neighbour::Unknown)?;
        let mut line = Line::open(dummy.udp(1 << 20)?.0, self.family)?;
        let _data = self.lock(&mut line, 8)?;
        line.assert_pending("their neighbour is not known")?;
        dummy.give_up()?;
        drop(dummy);
        line.close();
        self.unlocked(&mut probe, "the end of a namespace with a datagram that waits")
    }

    /// The buffer changes, its data does not.
    fn in_flight(&self, fate: Fate) -> WorkloadResult {
        let place = self.loopback()?;
        let mut stuck = Stuck::open(&place, self.family, self.seed, self.patience)?;
        let mut data = Data::new(self.seed ^ 2, 200_000)?;
        stuck.line.send_all(data.bytes(), SendFlags::empty())?;
        let (pattern, bytes) = (data.pattern, data.bytes);
        let after = match fate {
            Fate::Unmapped => {
                drop(data);
                // Whoever gets those pages now writes to them.
                let mut others = Data::new(!self.seed, 4 * bytes)?;
                others.pages.fill(0xee);
                "the buffer was unmapped"
            }
            Fate::Copied => {
                let (reader, writer) =
                    rustix::pipe::pipe().map_err(|errno| Stop::Error(format!("pipe: {errno}")))?;
                let mut child = Child::run(|voice| {
                    close_in_child(&writer);
                    data.pages[..bytes / 2].fill(0xee);
                    voice.done();
                    // Until the parent has unmapped its own.
                    let ended = retry_on_intr(|| rustix::io::read(&reader, &mut [0; 1]));
                    data.pages.fill(0xee);
                    Ok(i32::from(ended != Ok(0)))
                })?;
                // While both have the pages.
                child.hear(self.patience, "wrote to its copy of a buffer")?;
                drop(data);
                drop(writer);
                let status = child.wait(self.patience, "the end of a child with a copy of a buffer")?;
                self.context.check(status.exit_status() == Some(0), || {
                    format!("a process that writes to its copy of a buffer {}", ended(status))
                })?;
                "a copy of the process wrote to its copy of the buffer"
            }
        };
        stuck.line.assert_pending("their receiver has no room for them")?;
        stuck.far.pull(self.patience)?;
        let arrived = stuck.far.read(bytes, self.patience)?;
        self.right(&arrived, pattern, after)?;
        stuck.line.settle(self.patience)
    }

    fn kill(&self) -> WorkloadResult {
        let place = self.loopback()?;
        let (mut probe, other) = self.probe(&place)?;
        let stuck = Stuck::open(&place, self.family, self.seed, self.patience)?;
        let data = Data::new(self.seed ^ 2, most_bytes(LOCKED, 0))?;
        let user = Commoner::become_one()?;
        user.allow(LOCKED)?;
        let mut child = Child::run(|voice| {
            match rustix::net::send(stuck.line.socket(), data.bytes(), ZEROCOPY) {
                Ok(sent) if sent == data.bytes => voice.done(),
                other => {
                    let bytes = data.bytes;
                    return Err(Stop::Fail(format!(
                        "in a child, a send of `{bytes}` bytes came to {other:?}"
                    )));
                }
            }
            until_killed()
        })?;
        drop(user);
        // From now on the socket is the child's.
        stuck.line.close();
        child.hear(self.patience, "sent all that it may lock")?;
        child.kill()?;
        let status = child.wait(self.patience, "the end of a child that was killed")?;
        self.context.check(status.terminating_signal() == Some(Signal::KILL.as_raw()), || {
            format!("a child that was killed {}", ended(status))
        })?;
        self.locked(&mut probe, "as soon as a process is killed whose data waits,")?;
        stuck.far.pull(self.patience)?;
        let arrived = stuck.far.read(data.bytes, self.patience)?;
        self.right(&arrived, data.pattern, "the death of the sender")?;
        stuck.far.end(self.patience)?;
        self.unlocked(&mut probe, "the death of the sender")?;
        drop((stuck.far, probe, other));
        self.no_sockets(&place)
    }

    /// So many pages that a leak of each of them shows in what is left.
    fn memory(&self) -> WorkloadResult {
        const BUFFER: usize = 2 << 20;
        const BUFFERS: u64 = 24;
        const LEAK: u64 = BUFFER as u64 * BUFFERS / 2;
        let available = || -> Result<u64, Stop> {
            let text = fs::read_to_string("/proc/meminfo")
                .map_err(|error| Stop::Error(format!("cannot read /proc/meminfo: {error}")))?;
            procfs::meminfo_bytes(&text, "MemAvailable")
                .ok_or_else(|| Stop::Error("/proc/meminfo has no `MemAvailable`".into()))
        };
        let place = self.loopback()?;
        let before = available()?;
        for number in 0..BUFFERS {
            let pair = place.tcp(ROOMY, self.patience)?;
            let mut line = Line::open(pair.sender, self.family)?;
            let data = Data::new(self.seed ^ number, BUFFER)?;
            line.send_all(data.bytes(), SendFlags::empty())?;
            let (pattern, bytes) = (data.pattern, data.bytes);
            drop(data);
            let arrived = stuck::read(&pair.receiver, bytes, self.patience)?;
            self.right(&arrived, pattern, "the buffer was unmapped")?;
            if number % 2 == 0 {
                line.settle(self.patience)?;
            }
            self.context.progress(number, BUFFERS)?;
        }
        let mut left;
        loop {
            left = available()?;
            if left + LEAK > before || self.context.remaining() < Duration::from_secs(2) {
                break;
            }
            self.context.progress(BUFFERS - 1, BUFFERS)?;
            clock::poll_interval(PAUSE);
        }
        self.context.check(left + LEAK > before, || {
            format!(
                "of `{}` bytes that were sent and unmapped, `{}` did not come back",
                BUFFER as u64 * BUFFERS,
                before.saturating_sub(left)
            )
        })?;
        self.no_sockets(&place)
    }

    /// Waits until the namespace that sends has no TCP socket.
    fn no_sockets(&self, place: &Place) -> WorkloadResult {
        place.within(|| connection::wait_until_over(self.patience))?;
        self.context.checked(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::zerocopy::test_params::{choices, with_params};

    #[test]
    fn every_family_is_understood() {
        for (name, word) in choices(&INFO) {
            let family = with_params(&INFO, &[(name, word.into())], Family::of);
            assert!(family.is_ok(), "{name} = {word}");
        }
    }
}
