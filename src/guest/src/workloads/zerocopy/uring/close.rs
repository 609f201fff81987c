//! `uring-zerocopy/close`: rings, processes, sockets and buffers that go while the
//! kernel sends from them.
//!
//! What was sent before arrives unharmed, every notification that somebody can still
//! read comes, and everything that was charged comes back, to the page.

use std::fs;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kregress_wire::{ParamInfo, WorkloadInfo};
use rustix::net::sockopt;
use rustix::process::{Pid, Signal};

use super::super::child::{Child, ended, until_killed};
use super::super::connection::Pair;
use super::super::loopback::{FAMILY, Family};
use super::super::memory::{Pages, page_size};
use super::super::patience::{Limits, Patience};
use super::super::pattern::Pattern;
use super::books::{self, Books};
use super::client::{self, Client, in_words};
use super::ledger::Kind;
use super::road::{Path, Road, Room};
use super::sender::Memory;
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::netns::Home;
use crate::procfs;
use crate::uring::{Operation, Request, Span};
use crate::workloads::netns::{begin_census, expect_all_gone};

const CASES: &[&str] = &["ring", "killed", "socket", "reset", "unregister", "unmap"];

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "uring-zerocopy/close",
    summary: "rings, processes, sockets and buffers that go while notifications are pending",
    params: &[
        ParamInfo::Choice {
            name: "case",
            summary: "what goes: the ring, the process (SIGKILL), the socket, the connection, the \
                      registration of buffers, or their mapping",
            choices: CASES,
            default: "ring",
        },
        FAMILY,
        ParamInfo::Int {
            name: "rounds",
            summary: "how often, each time in a namespace of its own",
            min: 1,
            max: 100_000,
            default: 6,
        },
    ],
    metrics: &[],
    modules: &[],
};

/// Bytes of a request.
const UNIT: usize = 64 << 10;

/// Requests for which there is room with the sender, and not with the receiver.
const PENDING: usize = 8;

/// Bytes of a request more, for which there is no room.
const BLOCKED: usize = 1 << 20;

/// Of the pending requests, the last ones cannot have been sent.
const LATE: usize = PENDING / 2;

const TOTAL: usize = PENDING * UNIT;

const ROOM: Room = Room { send: 512 << 10, ..Room::STALLED };

/// A ring with requests that a peer does not take.
struct Pending {
    client: Client,
    pages: Pages,
    pattern: Pattern,
    memory: Memory,
}

/// Whether there is a request more than there is room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Extra {
    None,
    Blocked,
}

type Case = fn(&Scene<'_, '_>, Memory, u64) -> WorkloadResult;

/// What every round needs.
struct Scene<'a, 'b> {
    ctx: &'a Context<'b>,
    books: &'a Books,
    road: Road,
    patience: Patience<'a>,
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let (family, rounds) = (Family::of(ctx)?, ctx.count("rounds")?);
    let case: Case = match ctx.choice("case")? {
        "ring" => ring,
        "killed" => killed,
        "socket" => socket,
        "reset" => reset,
        "unregister" => unregister,
        "unmap" => unmap,
        other => return Err(Stop::Error(format!("parameter `case` is `{other}`, none of {CASES:?}"))),
    };
    drop(open()?);
    let limits = Limits::of(ctx)?;
    let home = Home::here()?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let books = Books::open()?;
    let mut rng = ctx.rng();
    for round in 0..rounds {
        for memory in [Memory::Plain, Memory::Registered] {
            let road = Road::build(Path::Lo, family, limits.patience())?;
            let scene = Scene { ctx, books: &books, road, patience: limits.patience() };
            let done = case(&scene, memory, rng.u64(..));
            home.back()?;
            done?;
            drop(scene);
            // A ring is freed some time after it is closed; the next round counts anew.
            books.balance(ctx)?;
        }
        ctx.progress(round as u64 + 1, rounds as u64)?;
    }
    drop(expect_all_gone(ctx, &mut census, 2 * rounds)?);
    Ok(())
}

fn open() -> Result<Client, Stop> {
    client::open(32, &[Operation::Send])
}

fn request(memory: Memory, socket: i32, bytes: Span) -> Request {
    match memory {
        Memory::Plain => Request::send(socket, bytes),
        Memory::Registered => Request::send(socket, bytes).registered(0),
    }
}

impl Pending {
    /// Sends to a peer that does not read.
    fn begin(
        sender: &OwnedFd,
        memory: Memory,
        seed: u64,
        extra: Extra,
        patience: Patience<'_>,
    ) -> Result<Self, Stop> {
        let len = TOTAL + BLOCKED;
        let mut pages =
            Pages::new(len).map_err(|errno| Stop::Error(format!("mmap of `{len}` bytes: {errno}")))?;
        let pattern = Pattern::new(seed, len as u64);
        pattern.fill(&mut pages, 0);
        let whole = Span::of(&pages);
        let mut client = open()?;
        if memory == Memory::Registered {
            client.register(&[whole])?;
        }
        let mut ids = Vec::new();
        let at = |number: usize| u32::try_from(number * UNIT).unwrap_or(u32::MAX);
        for number in 0..PENDING {
            let bytes = Span { len: at(1), ..whole.from(at(number)) };
            let id = client.submit_one(Kind::Zerocopy, request(memory, sender.as_raw_fd(), bytes))?;
            let outcome = client.result(id, patience)?;
            if usize::try_from(outcome.result) != Ok(UNIT) {
                return Err(Stop::Fail(format!(
                    "request {number} of {UNIT} bytes, for which there is room, came to {}",
                    in_words(outcome.result)
                )));
            }
            ids.push(id);
        }
        if extra == Extra::Blocked {
            let big = request(memory, sender.as_raw_fd(), whole.from(at(PENDING)));
            let id =
                client.submit_one(Kind::Zerocopy, big.message_flags(libc::MSG_WAITALL.cast_unsigned()))?;
            if let Some(outcome) = client.ledger().outcome(id) {
                return Err(Stop::Fail(format!(
                    "a request of {BLOCKED} bytes, for which there is no room, came to {}",
                    in_words(outcome.result)
                )));
            }
        }
        client.collect();
        match ids[PENDING - LATE..].iter().find(|id| client.ledger().notice(**id).is_some()) {
            None => Ok(Self { client, pages, pattern, memory }),
            Some(id) => Err(Stop::Fail(format!(
                "request {id} was notified before its data was sent: the peer has read nothing"
            ))),
        }
    }

    /// Asserts that all this is charged, so that it can be seen to come back.
    fn charged(&self, scene: &Scene<'_, '_>) -> WorkloadResult {
        let page = page_size();
        let least = match self.memory {
            // Each page and two more (io_notif_account_mem).
            Memory::Plain => LATE * (UNIT / page + 2),
            Memory::Registered => self.pages.len() / page,
        };
        let charged = scene.books.charged_with(least)?;
        scene.ctx.check(charged, || {
            let pages = scene.books.charged().unwrap_or(0);
            format!("pending requests need {least} pages of locked memory or more, and {pages} are charged")
        })?;
        if self.memory == Memory::Registered {
            let (pinned, due) = (books::pinned()?, least as u64);
            scene
                .ctx
                .check(pinned == due, || format!("{due} pages are registered, and VmPin is {pinned}"))?;
        }
        Ok(())
    }
}

/// Reads to the end of the stream: it has at least `least` bytes, and all are right.
fn read(receiver: &impl AsFd, pattern: Pattern, least: usize, patience: Patience<'_>) -> WorkloadResult {
    let mut buffer = vec![0; UNIT];
    let mut at = 0;
    loop {
        let what = || format!("byte {at} of {least}, or the end of the stream");
        let got = patience.receive(receiver.as_fd(), &mut buffer, what)?;
        if got == 0 {
            break;
        }
        let checked = pattern.check(&buffer[..got], at);
        checked.map_err(|mismatch| Stop::Fail(format!("in the stream received, {mismatch}")))?;
        at += got as u64;
    }
    if at < least as u64 {
        return Err(Stop::Fail(format!("the stream ended after `{at}` of `{least}` bytes")));
    }
    Ok(())
}

/// The ring is closed; then the socket, whose data the peer still gets.
fn ring(scene: &Scene<'_, '_>, memory: Memory, seed: u64) -> WorkloadResult {
    let pair = scene.road.tcp(ROOM, scene.patience)?;
    let pending = Pending::begin(&pair.sender, memory, seed, Extra::Blocked, scene.patience)?;
    pending.charged(scene)?;
    let Pending { mut client, pages, pattern, .. } = pending;
    client.collect();
    scene.ctx.checked(client.faultless()?);
    drop(client);
    drop(pages);
    drop(pair.sender);
    read(&pair.receiver, pattern, TOTAL, scene.patience)
}

/// The process is killed: ring, socket and memory go at once.
fn killed(scene: &Scene<'_, '_>, memory: Memory, seed: u64) -> WorkloadResult {
    let Pair { sender, receiver } = scene.road.tcp(ROOM, scene.patience)?;
    let mut child = Child::run(|voice| {
        let _pending = Pending::begin(&sender, memory, seed, Extra::Blocked, scene.patience)?;
        voice.done();
        until_killed()
    })?;
    drop(sender);
    child.hear(scene.patience, "sent to a peer that does not read")?;
    let charged = scene.books.charged_with(1)?;
    child.kill()?;
    let status = child.wait(scene.patience, "the end of a child that was killed")?;
    scene.ctx.check(status.terminating_signal() == Some(Signal::KILL.as_raw()), || {
        format!("a child that was killed {}", ended(status))
    })?;
    scene.ctx.check(charged, || "a process that sends is charged with nothing".into())?;
    let pattern = Pattern::new(seed, (TOTAL + BLOCKED) as u64);
    read(&receiver, pattern, TOTAL, scene.patience)
}

/// That no notification of the last requests has come, and then all do, once.
fn expect_notified(scene: &Scene<'_, '_>, mut client: Client, when: &str) -> WorkloadResult {
    client.settle(scene.patience).map_err(|stop| match stop {
        Stop::Fail(text) => Stop::Fail(format!("{when}: {text}")),
        other => other,
    })?;
    scene.ctx.checked(client.faultless()?);
    Ok(())
}

/// The socket is closed: the kernel sends what it has, and notifies when it has.
fn socket(scene: &Scene<'_, '_>, memory: Memory, seed: u64) -> WorkloadResult {
    let pair = scene.road.tcp(ROOM, scene.patience)?;
    let pending = Pending::begin(&pair.sender, memory, seed, Extra::None, scene.patience)?;
    pending.charged(scene)?;
    let Pending { mut client, pages, pattern, .. } = pending;
    drop(pair.sender);
    client.collect();
    scene.ctx.check(!client.ledger().all_done(), || {
        "closing a socket notified requests whose data was not sent".into()
    })?;
    read(&pair.receiver, pattern, TOTAL, scene.patience)?;
    expect_notified(scene, client, "after a closed socket has sent all")?;
    drop(pages);
    Ok(())
}

/// The connection is reset, by either end: what was not sent never will be, and its
/// buffers are free.
fn reset(scene: &Scene<'_, '_>, memory: Memory, seed: u64) -> WorkloadResult {
    let pair = scene.road.tcp(ROOM, scene.patience)?;
    let pending = Pending::begin(&pair.sender, memory, seed, Extra::None, scene.patience)?;
    let Pending { client, pages, .. } = pending;
    drop(pair.receiver);
    expect_notified(scene, client, "after the peer has reset the connection")?;
    drop((pair.sender, pages));
    let pair = scene.road.tcp(ROOM, scene.patience)?;
    let pending = Pending::begin(&pair.sender, memory, seed, Extra::None, scene.patience)?;
    let Pending { client, pages, .. } = pending;
    sockopt::set_socket_linger(&pair.sender, Some(Duration::ZERO))
        .map_err(|errno| Stop::Error(format!("setsockopt SO_LINGER: {errno}")))?;
    drop(pair.sender);
    expect_notified(scene, client, "after the sender has reset the connection")?;
    drop((pair.receiver, pages));
    Ok(())
}

/// Registered buffers are taken back, and their memory is used for other data. Some
/// kernels wait for the notifications first: the peer reads when that is seen, or
/// when it is over.
fn unregister(scene: &Scene<'_, '_>, memory: Memory, seed: u64) -> WorkloadResult {
    if memory == Memory::Plain {
        return Ok(());
    }
    let pair = scene.road.tcp(ROOM, scene.patience)?;
    let pending = Pending::begin(&pair.sender, memory, seed, Extra::None, scene.patience)?;
    pending.charged(scene)?;
    let Pending { client, pages, pattern, .. } = pending;
    let Pair { sender, receiver } = pair;
    rustix::net::shutdown(&sender, rustix::net::Shutdown::Write)
        .map_err(|errno| Stop::Fail(format!("shutdown: {errno}")))?;
    let (patience, caller, over) = (scene.patience, rustix::thread::gettid(), AtomicBool::new(false));
    let limit = scene.ctx.remaining();
    let (taken, reused, arrived) = thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let begin_ns = clock::monotonic_ns();
            while !over.load(Ordering::Acquire) && !sleeps(caller) {
                if u128::from(clock::monotonic_ns().saturating_sub(begin_ns)) > limit.as_nanos() {
                    return Err(Stop::Fail("taking registered buffers back neither waits nor ends".into()));
                }
                clock::poll_interval(Duration::from_micros(200));
            }
            read(&receiver, pattern, TOTAL, patience)
        });
        let taken = client.ring().unregister();
        let reused = reuse(pages);
        over.store(true, Ordering::Release);
        let arrived = reader.join();
        (taken, reused, arrived.unwrap_or_else(|_| Err(Stop::Error("the reading thread panicked".into()))))
    });
    arrived?;
    drop(reused?);
    scene.ctx.check(taken.is_ok(), || format!("taking back buffers in use came to {taken:?}"))?;
    expect_notified(scene, client, "after the buffers were taken back")?;
    let pinned = books::pinned()?;
    scene.ctx.check(pinned == 0, || format!("all buffers were taken back, and VmPin is {pinned} pages"))
}

/// Whether a thread of this process waits for something.
fn sleeps(thread: Pid) -> bool {
    let path = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
    let stat = fs::read_to_string(path).ok();
    stat.and_then(|line| procfs::parse_stat(&line)).is_some_and(|stat| stat.state == 'S')
}

/// Unmaps memory, and takes as much again for other data: the same pages, if somebody
/// has given them back.
fn reuse(pages: Pages) -> Result<Pages, Stop> {
    let len = pages.len();
    drop(pages);
    let mut other = Pages::new(len).map_err(|errno| Stop::Error(format!("mmap: {errno}")))?;
    other.fill(0xa5);
    Ok(other)
}

/// The buffers are unmapped, and their place is used for other data.
fn unmap(scene: &Scene<'_, '_>, memory: Memory, seed: u64) -> WorkloadResult {
    let pair = scene.road.tcp(ROOM, scene.patience)?;
    let pending = Pending::begin(&pair.sender, memory, seed, Extra::None, scene.patience)?;
    let Pending { client, pages, pattern, .. } = pending;
    let other = reuse(pages)?;
    rustix::net::shutdown(&pair.sender, rustix::net::Shutdown::Write)
        .map_err(|errno| Stop::Fail(format!("shutdown: {errno}")))?;
    read(&pair.receiver, pattern, TOTAL, scene.patience)?;
    let intact = other.iter().all(|byte| *byte == 0xa5);
    scene.ctx.check(intact, || "memory that was never sent from has changed".into())?;
    expect_notified(scene, client, "after the buffers were unmapped")
}

#[cfg(test)]
mod tests {
    use super::super::books::LIMIT;
    use super::*;

    #[test]
    fn what_is_pending_fits_into_the_limit_of_locked_memory() {
        let page = page_size();
        assert!(PENDING * (UNIT / page + 2) + BLOCKED / page + 2 < LIMIT);
        assert!((TOTAL + BLOCKED) / page < LIMIT);
    }
}
