//! `tcp-zerocopy/accounting`: what is left of pages that were mapped when nobody
//! cleans up behind them.

mod ledger;
mod memcg;

use std::os::fd::OwnedFd;
use std::time::Duration;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use rustix::process::{Signal, WaitStatus};

use super::super::child::{Child, Voice, ended};
use super::super::loopback::Family;
use super::super::memory::page_size;
use super::super::patience::{Limits, Patience};
use super::bench::{anonymous, assert_supported, mapped, window};
use super::place::{Path, Place};
use super::sys::{Area, Request};
use super::talk::Talk;
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::workloads::netns::{begin_census, expect_all_gone};
use ledger::{Ledger, Sockets, resident_file_bytes, rss_slack_now, sockets_now};

const WAYS: &[&str] = &["map-without-consuming", "forget-munmap", "kill", "memcg"];

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "tcp-zerocopy/accounting",
    summary: "pages that are mapped and never released, by processes that exit or are killed: all memory comes back",
    params: &[
        ParamInfo::Choice {
            name: "way",
            summary: "queues that are never read; an exit with all mapped; SIGKILL; the limit of a memory cgroup",
            choices: WAYS,
            default: "map-without-consuming",
        },
        ParamInfo::Int {
            name: "rounds",
            summary: "how often it is done; what is left grows with them",
            min: 1,
            max: 10_000,
            default: 5,
        },
        ParamInfo::Int {
            name: "connections",
            summary: "connections per round, each with 24 pages, of which 16 are mapped",
            min: 1,
            max: MOST_CONNECTIONS as i64,
            default: 16,
        },
    ],
    metrics: &[MetricInfo {
        name: "unaccounted_growth",
        summary: "memory that is counted as nothing after all rounds, less that after the first",
        unit: Unit::Bytes,
        kind: Kind::Bytes,
        better: Better::Lower,
    }],
    modules: &[],
};

/// Pages that are sent on each connection: less than the smallest window of a
/// connection whose segments hold whole pages.
const SENT: usize = 24;

/// Those that are mapped; the others stay queued.
const MAPPED: usize = 16;

/// Connections at a time.
const MOST_CONNECTIONS: usize = 200;

/// Pages that one request asks for, so that there are many: what is lost with
/// each has to exceed what processors may have reserved.
const ASKED: usize = 1;

/// Pause between two looks at what is not told when it changes.
const POLL: Duration = Duration::from_millis(2);

/// Pages that each processor may have reserved for TCP without the sum telling
/// (`SK_MEMORY_PCPU_RESERVE`, include/net/sock.h: 1 MiB).
const RESERVE: u64 = 1 << 20;

/// Bytes that the kernel may hold for later in places that nothing counts: per
/// processor a fragment of 32 KiB for headers, one for small packets, and one of
/// each task; pipes keep two pages. From experience less than half of it.
const IN_CACHES: u64 = 256 << 10;

/// How much the small objects may grow: those of all processors' lists, which
/// fill and empty by whole slabs. From experience a third of it.
const SLAB_SLACK: u64 = 1 << 20;

/// A connection with mapped pages and queued ones.
struct Held<'a> {
    talk: Talk<'a>,
    area: Area,
    begin: u64,
}

/// Opens a connection, maps a part of what it carries and leaves the rest.
fn hold<'a>(place: &Place, seed: u64, patience: Patience<'a>) -> Result<Held<'a>, Stop> {
    let mut talk = Talk::new(place, seed, patience)?;
    let area = window(talk.receiver(), MAPPED)?;
    talk.send_pages(SENT)?;
    let begin = talk.at();
    for first in (0..MAPPED).step_by(ASKED) {
        let answer = talk.ask(&Request::to(&area, first * page_size(), ASKED * page_size()));
        let length = answer.map_or(0, |answer| answer.length);
        if length != mapped(ASKED * page_size()).length {
            return Err(Stop::Fail(format!("`{length}` bytes of {ASKED} pages that are queued were mapped")));
        }
    }
    Ok(Held { talk, area, begin })
}

impl Held<'_> {
    fn check(&self) -> Result<(), Stop> {
        match self.talk.look(&self.area, 0, MAPPED * page_size(), self.begin).as_str() {
            "right" => Ok(()),
            wrong => Err(Stop::Fail(format!("in pages that are held: {wrong}"))),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Unread,
    Forget,
    Kill,
    Memcg,
}

impl Way {
    fn of(context: &Context<'_>) -> Result<Self, Stop> {
        match context.choice("way")? {
            "map-without-consuming" => Ok(Self::Unread),
            "forget-munmap" => Ok(Self::Forget),
            "kill" => Ok(Self::Kill),
            "memcg" => Ok(Self::Memcg),
            other => Err(Stop::Error(format!("parameter `way` is `{other}`, none of {WAYS:?}"))),
        }
    }
}

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let way = Way::of(context)?;
    let (rounds, connections) = (context.count("rounds")?, context.count("connections")?);
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let limits = Limits::of(context)?;
    let mut group = if way == Way::Memcg { Some(memcg::Group::new()?) } else { None };
    {
        let place = Place::new(Path::Loopback, Family::Ipv4, limits.patience())?;
        assert_supported(&place)?;
        let job = Job { context, place: &place, patience: limits.patience(), connections };
        let before = sockets_now()?;
        let mut first = None;
        let mut last = Ledger::default();
        // One round more: the first fills the caches.
        for round in 0..=rounds {
            match (way, &mut group) {
                (Way::Unread, _) => job.unread(round)?,
                (Way::Forget, _) => job.forget()?,
                (Way::Kill, _) => job.kill()?,
                (Way::Memcg, Some(group)) => job.memcg(group)?,
                (Way::Memcg, None) => return Err(Stop::Error("there is no memory cgroup".into())),
            }
            job.settle(before)?;
            last = Ledger::now()?;
            first.get_or_insert(last);
            context.progress(round as u64 + 1, rounds as u64 + 1)?;
        }
        let first = first.unwrap_or(last);
        verdict(context, first, last, (rounds * connections * MAPPED * page_size()) as u64)?;
    }
    drop(group);
    expect_all_gone(context, &mut census, 1).map(drop)
}

/// All memory is where it was after the first round.
fn verdict(context: &Context<'_>, first: Ledger, last: Ledger, moved: u64) -> Result<(), Stop> {
    let growth = last.unaccounted.saturating_sub(first.unaccounted);
    context.sample("unaccounted_growth", growth as f64)?;
    let slab = last.slab.saturating_sub(first.slab);
    let lost = first.available.saturating_sub(last.available);
    context.note("slab-growth", format!("{} KiB", slab >> 10))?;
    context.note("available-less", format!("{} KiB", lost >> 10))?;
    context.check(growth <= IN_CACHES, || {
        format!(
            "`{}` KiB of memory are neither free nor counted as anything, and were after the first round; \
             {} KiB were mapped since; caches may hold {} KiB",
            growth >> 10,
            moved >> 10,
            IN_CACHES >> 10
        )
    })?;
    context.check(slab <= SLAB_SLACK, || {
        format!("small objects of the kernel grew by `{}` KiB since the first round", slab >> 10)
    })
}

struct Job<'a, 'c> {
    context: &'a Context<'c>,
    place: &'a Place,
    patience: Patience<'a>,
    connections: usize,
}

impl<'a> Job<'a, '_> {
    fn hold_all(&self, connections: usize) -> Result<Vec<Held<'a>>, Stop> {
        (0..connections).map(|n| hold(self.place, n as u64 + 1, self.patience)).collect()
    }

    /// Queues that are never read to their end, and mappings that outlive their
    /// sockets, or sockets that outlive their mappings.
    fn unread(&self, round: usize) -> Result<(), Stop> {
        let slack = rss_slack_now()?;
        let connections = enough_for_rss(slack).map(|enough| enough.max(self.connections));
        if connections.is_none() && round == 0 {
            let text = format!("not tested: of so many processors they are off by up to `{slack}` pages");
            self.context.note("resident-pages", text)?;
        }
        let slack = slack * page_size() as u64;
        // Pages of our own program are of a file too: each is touched before it counts.
        for held in self.hold_all(1)? {
            held.check()?;
        }
        let before = resident_file_bytes()?;
        let all = self.hold_all(connections.unwrap_or(self.connections))?;
        for held in &all {
            held.check()?;
        }
        let mapped = (all.len() * MAPPED * page_size()) as u64;
        let resident = resident_file_bytes()?.saturating_sub(before);
        let is_right = mapped.abs_diff(resident) <= slack;
        self.context.check(connections.is_none() || is_right, || {
            format!(
                "RssFile grew by `{resident}` bytes when `{mapped}` were mapped, and may be off by `{slack}`"
            )
        })?;
        let mut kept: Vec<Area> = Vec::new();
        let mut open: Vec<(OwnedFd, OwnedFd)> = Vec::new();
        for held in all {
            if round.is_multiple_of(2) {
                drop(held.talk);
                kept.push(held.area);
            } else {
                open.push(held.talk.into_ends());
                held.area.unmap().map_err(|errno| Stop::Fail(format!("munmap of socket pages: {errno}")))?;
            }
        }
        drop((kept, open));
        let resident = resident_file_bytes()?;
        self.context.check(connections.is_none() || resident <= before + slack, || {
            format!("RssFile is `{resident}` when all is unmapped, and was `{before}` before")
        })
    }

    /// In a child, which tells what went wrong there.
    fn child(&self, body: impl FnOnce(&Voice, Vec<Held<'a>>) -> Result<i32, Stop>) -> Result<Child, Stop> {
        Child::run(|voice| {
            let all = self.hold_all(self.connections)?;
            for held in &all {
                held.check()?;
            }
            body(voice, all)
        })
    }

    /// A process that ends with everything open and mapped.
    fn forget(&self) -> Result<(), Stop> {
        let child = self.child(|_, all| {
            std::mem::forget(all);
            Ok(0)
        })?;
        let status = child.wait(self.patience, "the end of a child that leaves all open and mapped")?;
        self.context.check(status.exit_status() == Some(0), || {
            format!("a child that leaves all open and mapped {}", ended(status))
        })
    }

    /// A process that is killed while it receives.
    fn kill(&self) -> Result<(), Stop> {
        let mut child = self.child(|voice, all| {
            // Goes on until it is killed.
            loop {
                drop(hold(self.place, 0, self.patience)?);
                voice.done();
                std::hint::black_box(&all);
            }
        })?;
        for _ in 0..2 {
            child.hear(self.patience, "received")?;
        }
        child.kill()?;
        let status = child.wait(self.patience, "the end of a child that was killed")?;
        self.context.check(is_killed(status), || format!("a child that was killed {}", ended(status)))
    }

    /// A process that goes beyond the limit of its memory cgroup, and one beside
    /// it that does not.
    fn memcg(&self, group: &mut memcg::Group) -> Result<(), Stop> {
        let bystander = hold(self.place, 99, self.patience)?;
        let kills = group.kills()?;
        let limit_pages = memcg::LIMIT / page_size();
        let tasks = group.tasks();
        let child = Child::run(|_| {
            // The kernel's log names it; see the console's allowances.
            let _ = rustix::thread::set_name(memcg::VICTIM);
            std::fs::write(&tasks, "0")
                .map_err(|error| Stop::Error(format!("a child could not join its memory cgroup: {error}")))?;
            let all = self.hold_all(self.connections)?;
            let hog = anonymous(4 * limit_pages)?;
            for page in 0..hog.pages() {
                hog.write(page * page_size(), &[1]);
            }
            drop(all);
            Ok(0)
        })?;
        let status = child.wait(self.patience, "the end of a child beyond the limit of its memory cgroup")?;
        self.context.check(is_killed(status), || {
            format!("a child beyond the limit of its memory cgroup {}", ended(status))
        })?;
        let now = group.kills()?;
        self.context.check(now == kills + 1, || {
            format!("the cgroup counts `{}` kills for one process that went beyond its limit", now - kills)
        })?;
        bystander.check()?;
        drop(bystander);
        // What pages of pipes are charged with goes when the last mapping does.
        let most = memcg::SLACK * processors();
        loop {
            let left = group.current()?;
            self.context.progress(0, 1)?;
            if left <= most {
                self.context.checked(1);
                return Ok(());
            }
            self.patience.check(|| {
                format!(
                    "a memory cgroup to be empty: `{left}` bytes are charged to it, and no process is in it"
                )
            })?;
            clock::poll_interval(POLL);
        }
    }

    /// Waits until no socket is left but those from before, and what they were
    /// charged with is given back.
    fn settle(&self, before: Sockets) -> Result<(), Stop> {
        let most = before.pages + RESERVE * processors() / page_size() as u64;
        loop {
            let now = sockets_now()?;
            // Only tells that the test is alive.
            self.context.progress(0, 1)?;
            if now.in_use <= before.in_use && now.orphans <= before.orphans && now.pages <= most {
                self.context.checked(1);
                return Ok(());
            }
            self.patience.check(|| {
                format!(
                    "sockets to be gone: {} in use, {} orphans and `{}` pages, of which `{most}` may be left",
                    now.in_use, now.orphans, now.pages
                )
            })?;
            clock::poll_interval(POLL);
        }
    }
}

/// Connections whose mapped pages are clearly more than what counters are off by, if
/// that are not too many.
fn enough_for_rss(slack_pages: u64) -> Option<usize> {
    let connections = usize::try_from(4 * slack_pages).ok()?.div_ceil(MAPPED);
    (connections <= MOST_CONNECTIONS).then_some(connections)
}

fn is_killed(status: WaitStatus) -> bool {
    status.terminating_signal() == Some(Signal::KILL.as_raw())
}

fn processors() -> u64 {
    crate::affinity::cpus().map_or(1, |cpus| cpus.len().max(1) as u64)
}

#[cfg(test)]
mod tests {
    use super::ledger::rss_slack_pages;
    use super::*;

    #[test]
    fn what_is_held_is_clearly_more_than_what_counters_are_off_by_or_is_not_looked_at() {
        for processors in 1..=512 {
            let slack = rss_slack_pages(processors);
            if let Some(connections) = enough_for_rss(slack) {
                assert!((connections * MAPPED) as u64 >= 4 * slack, "{processors}");
            }
        }
        assert_eq!(enough_for_rss(rss_slack_pages(2)), Some(32));
        assert!(enough_for_rss(rss_slack_pages(8)).is_some());
        assert_eq!(enough_for_rss(rss_slack_pages(512)), None);
    }
}
