//! `tcp-zerocopy/tangle`: the threads of one address space receive, map, unmap,
//! move, protect, send and fork at once.
//!
//! The order of the socket's lock and the address space's was wrong in the first
//! version of this interface (fixed by 05255b823a61): lockdep says so when it is
//! there, and a deadlock without it.

pub(super) mod crew;
mod disturb;
mod marks;
mod receive;

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};

use kregress_wire::{ParamInfo, WorkloadInfo};
use rustix::net::Shutdown;

use super::super::connection::Pair;
use super::super::loopback::Family;
use super::super::memory::page_size;
use super::super::patience::{Limits, Patience};
use super::super::pattern::{Load, Pattern};
use super::super::transmit;
use super::bench::{anonymous, assert_supported, window};
use super::place::{Path, Place};
use super::sys::Area;
use crate::context::{Context, Stop, WorkloadResult};
use crate::workloads::netns::{begin_census, expect_all_gone};
use crew::{Crew, Member, Role};
use marks::Marks;

const SHAPES: &[&str] = &["mixed", "one-socket", "one-mapping", "munmap-race"];

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "tcp-zerocopy/tangle",
    summary: "threads of one address space receive, map, unmap, move, protect, send and fork at once",
    params: &[
        ParamInfo::Choice {
            name: "shape",
            summary: "all at once; two threads and one socket; two sockets and one mapping; a mapping that comes and goes",
            choices: SHAPES,
            default: "mixed",
        },
        ParamInfo::Int {
            name: "mebibytes",
            summary: "data per connection in MiB",
            min: 1,
            max: 4096,
            default: 4,
        },
    ],
    metrics: &[],
    modules: &[],
};

/// Pages of a mapping that receivers use.
const PAGES: usize = 64;

/// A connection and what came by it.
struct Line {
    pair: Pair,
    pattern: Pattern,
    marks: Mutex<Marks>,
}

impl Line {
    fn new(place: &Place, seed: u64, bytes: u64, patience: Patience<'_>) -> Result<Self, Stop> {
        let pair = place.connect_warm(patience)?;
        Ok(Self { pair, pattern: Pattern::new(seed, bytes), marks: Mutex::new(Marks::default()) })
    }

    fn receiver(&self) -> BorrowedFd<'_> {
        self.pair.receiver.as_fd()
    }

    /// Sends everything in pages that can be mapped.
    fn feed<'a>(&'a self, patience: Patience<'a>) -> Member<'a> {
        let chunk = 16 * page_size();
        let body = move |_: &Crew| {
            transmit::splice(self.pair.sender.as_fd(), Load::Verified(self.pattern), chunk, patience)
        };
        Member { name: "feed", role: Role::Work, body: Box::new(body) }
    }
}

fn member<'a>(
    name: &'static str,
    role: Role,
    body: impl FnOnce(&Crew) -> Result<(), Stop> + Send + 'a,
) -> Member<'a> {
    Member { name, role, body: Box::new(body) }
}

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let shape = context.choice("shape")?.to_owned();
    let bytes = (context.count("mebibytes")? as u64) << 20;
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let limits = Limits::of(context)?;
    {
        let place = Place::new(Path::Loopback, Family::Ipv4, limits.patience())?;
        assert_supported(&place)?;
        let (patience, mut rng) = (limits.patience(), context.rng());
        let one = Line::new(&place, rng.u64(..), bytes, patience)?;
        let other = Line::new(&place, rng.u64(..), bytes, patience)?;
        let wake = || {
            // Whoever waits for data or room on these finds an end.
            for line in [&one, &other] {
                let _ = rustix::net::shutdown(&line.pair.receiver, Shutdown::Both);
                let _ = rustix::net::shutdown(&line.pair.sender, Shutdown::Both);
            }
        };
        let windows = [window(one.receiver(), PAGES)?, window(one.receiver(), PAGES)?];
        let crew = Crew::default();
        match shape.as_str() {
            "mixed" => {
                let idle = place.connect_warm(patience)?;
                let (a, b, i) = (&one, &other, &idle);
                let mut members = vec![a.feed(patience), b.feed(patience)];
                for (line, area) in [(a, &windows[0]), (b, &windows[1])] {
                    let rng = rng.fork();
                    members.push(member("receive", Role::Work, move |crew| {
                        receive::alone(crew, line, area, rng, patience)
                    }));
                }
                members.extend(disturb::all(i, a.receiver(), &mut rng, patience));
                crew.run(context, members, 2 * bytes, wake)?;
                // Whatever was sent to the idle one is thrown away with it.
            }
            "one-socket" => {
                let line = &one;
                let mut members = vec![line.feed(patience)];
                for area in &windows {
                    let rng = rng.fork();
                    members.push(member("receive", Role::Work, move |crew| {
                        receive::shared(crew, line, area, rng, patience)
                    }));
                }
                crew.run(context, members, bytes, wake)?;
                let missing = line.marks.lock().unwrap_or_else(PoisonError::into_inner).missing(bytes);
                context
                    .check(missing.is_none(), || format!("byte {missing:?} was given to neither thread"))?;
            }
            "one-mapping" => {
                let area = &windows[0];
                let mut members = Vec::new();
                for (line, beside) in [(&one, &other), (&other, &one)] {
                    let rng = rng.fork();
                    members.push(line.feed(patience));
                    members.push(member("receive", Role::Work, move |crew| {
                        receive::over_each_other(crew, line, beside.pattern, area, rng, patience)
                    }));
                }
                crew.run(context, members, 2 * bytes, wake)?;
            }
            "munmap-race" => {
                let (line, area) = (&one, &windows[0]);
                let (first, second) = (rng.fork(), rng.fork());
                let members = vec![
                    line.feed(patience),
                    member("receive", Role::Work, move |crew| {
                        receive::losing(crew, line, area, first, patience)
                    }),
                    member("replace", Role::Disturb, move |crew| {
                        disturb::replace(crew, area, line.receiver(), second)
                    }),
                ];
                crew.run(context, members, bytes, wake)?;
            }
            other => return Err(Stop::Error(format!("parameter `shape` is `{other}`, none of {SHAPES:?}"))),
        }
        for area in windows {
            area.unmap().map_err(|errno| Stop::Fail(format!("munmap of socket pages: {errno}")))?;
        }
    }
    expect_all_gone(context, &mut census, 1).map(drop)
}

/// A place for threads to move a mapping to.
fn spare() -> Result<Area, Stop> {
    anonymous(PAGES)
}
