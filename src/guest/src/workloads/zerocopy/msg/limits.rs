//! `msg-zerocopy/limits`: sends that the kernel refuses for want of memory, and
//! that it gives back exactly what it took.
//!
//! Both limits are set so that a page, or a structure, that is not given back
//! makes the same send fail in the next round.

use std::fs;
use std::time::Duration;

use kregress_wire::{ParamInfo, WorkloadInfo};
use rustix::io::Errno;
use rustix::net::SendFlags;

use super::super::inflight::ZEROCOPY;
use super::super::loopback::{FAMILY, Family};
use super::super::memory::Pages;
use super::super::patience::{Limits, Patience};
use super::line::Line;
use super::place::{self, Neighbour, Path, Place};
use super::stuck::{self, Far, Stuck};
use super::sys;
use super::user::{Commoner, most_bytes, pages_of};
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::sysctl::Sysctl;
use crate::workloads::netns::{begin_census, expect_all_gone};

const PROTOCOLS: &[&str] = &["tcp", "udp"];

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "msg-zerocopy/limits",
    summary: "ENOBUFS by RLIMIT_MEMLOCK and net.core.optmem_max, to the byte, and that everything is given back",
    params: &[
        ParamInfo::Choice {
            name: "protocol",
            summary: "transport protocol",
            choices: PROTOCOLS,
            default: "tcp",
        },
        FAMILY,
        ParamInfo::Int {
            name: "rounds",
            summary: "how often each limit is reached and left again",
            min: 2,
            max: 100_000,
            default: 8,
        },
    ],
    metrics: &[],
    modules: place::MODULES,
};

/// Of a namespace since 6.8 (f5769faeec36), of the machine before.
const OPTMEM: &str = "/proc/sys/net/core/optmem_max";

/// Where nobody can set it.
const UNSEEN: &str = "not tested: this kernel has net.core.optmem_max in the first network namespace only";

/// Pages that the user may lock: fewer than a datagram has.
const LOCKED: usize = 12;

/// More than the kernel charges for a notification.
const ENOUGH: u32 = 20_480;

/// What is enough for several notifications and not for many.
const SEVERAL: u32 = 8192;

/// Bytes of a call that shares no notification with its neighbours: two of them
/// are more than one notification of a stream covers (`byte_limit` in
/// `msg_zerocopy_realloc()`).
const APART: usize = (256 << 10) + 1;

/// Pause before a send is tried again, and how often: the last of several merged
/// notifications is freed a moment after it can be read (`__msg_zerocopy_callback()`).
const PAUSE: Duration = Duration::from_millis(2);
const ATTEMPTS: usize = 500;

/// Sockets whose sends stay under way.
enum Held {
    Stream(Stuck),
    /// The neighbour is not known.
    Datagrams(Line),
}

impl Held {
    fn line(&mut self) -> &mut Line {
        match self {
            Self::Stream(stuck) => &mut stuck.line,
            Self::Datagrams(line) => line,
        }
    }

    /// Bytes of each call that are counted besides its data.
    fn headers(&self) -> usize {
        if matches!(self, Self::Stream(_)) { 0 } else { 8 }
    }

    /// Lets everything go its way, waits for the completions, and holds again.
    fn release(&mut self, place: &Place, bytes: usize, patience: Patience<'_>) -> WorkloadResult {
        match self {
            Self::Stream(stuck) => {
                drain(&stuck.far, bytes, patience)?;
                stuck.line.settle(patience)?;
                stuck.plug()
            }
            Self::Datagrams(line) => {
                place.resolve()?;
                line.settle(patience)?;
                place.forget()
            }
        }
    }
}

fn drain(far: &Far, bytes: usize, patience: Patience<'_>) -> WorkloadResult {
    far.pull(patience)?;
    far.read(bytes, patience).map(drop)
}

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let _modules = Loaded::load(place::MODULES)?;
    let family = Family::of(context)?;
    let stream = context.choice("protocol")? == "tcp";
    let rounds = context.count("rounds")? as u64;
    let limits = Limits::of(context)?;
    let patience = limits.patience();
    let mut rng = context.rng();
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let place = if stream {
        Place::build(context, Path::Loopback, family, stuck::MTU, Neighbour::Known)?
    } else {
        Place::build(context, Path::Dummy, family, 65_535, Neighbour::Unknown)?
    };
    let mut held = if stream {
        Held::Stream(Stuck::open(&place, family, rng.u64(..), patience)?)
    } else {
        Held::Datagrams(Line::open(place.udp(4 << 20)?.0, family)?)
    };
    for round in 0..rounds {
        locked(context, &place, &mut held, patience)?;
        context.progress(round + 1, 2 * rounds)?;
    }
    // On the same socket: what a refusal above forgot to give back counts there.
    optmem(context, &place, &mut held, family, rounds, patience)?;
    drop((held, place));
    expect_all_gone(context, &mut census, 2).map(drop)
}

fn buffer(bytes: usize) -> Result<Pages, Stop> {
    let mut pages = Pages::new(bytes)
        .map_err(|errno| Stop::Error(format!("mmap of `{bytes}` bytes to send: {errno}")))?;
    // Untouched pages would all be the same page of zeros.
    pages.fill(1);
    Ok(pages)
}

/// One round against `RLIMIT_MEMLOCK`.
fn locked(context: &Context<'_>, place: &Place, held: &mut Held, patience: Patience<'_>) -> WorkloadResult {
    let headers = held.headers();
    let most = most_bytes(LOCKED, headers);
    // The first call takes so many that the second takes all that are left.
    let first = 5000;
    let second = most_bytes(LOCKED - pages_of(first, headers), headers);
    let data = buffer(most + 1)?;
    let refused = |held: &mut Held, bytes: usize, why: &str| {
        let result = held.line().send(&data[..bytes], SendFlags::empty());
        context.check(result == Err(Errno::NOBUFS), || {
            format!("send of `{bytes}` bytes with {why} came to {result:?}, `{}` was expected", Errno::NOBUFS)
        })
    };
    let user = Commoner::become_one()?;
    user.allow(LOCKED)?;
    refused(held, most + 1, "one byte more than RLIMIT_MEMLOCK allows")?;
    // What fails for another reason is given back at once.
    let result = sys::send_from(held.line().socket(), 0, most, ZEROCOPY.bits().cast_signed());
    context.check(result == Err(Errno::FAULT), || {
        format!("send of `{most}` bytes from nowhere came to {result:?}, `{}` was expected", Errno::FAULT)
    })?;
    held.line().send_all(&data[..most], SendFlags::empty())?;
    refused(held, 1, "all pages that RLIMIT_MEMLOCK allows under way")?;
    drop(user);
    held.line().assert_pending("nothing can take them")?;
    held.release(place, most, patience)?;
    let user = Commoner::become_one()?;
    user.allow(LOCKED)?;
    held.line().send_all(&data[..first], SendFlags::empty())?;
    refused(held, second + 1, "one byte more than what RLIMIT_MEMLOCK leaves")?;
    held.line().send_all(&data[..second], SendFlags::empty())?;
    refused(held, 1, "all pages that RLIMIT_MEMLOCK allows under way")?;
    drop(user);
    // The limit is not for those with CAP_IPC_LOCK.
    held.line().send_all(&data[..most], SendFlags::empty())?;
    context.checked(4);
    held.release(place, first + second + most, patience)
}

/// `net.core.optmem_max`, wherever it is.
enum Optmem<'a> {
    Namespace(&'a Place),
    Machine(Sysctl),
}

impl<'a> Optmem<'a> {
    /// `None` where it is that of the machine, and this process is in a namespace
    /// that does not see it.
    fn of(place: &'a Place) -> Result<Option<Self>, Stop> {
        if place.within(|| Ok(fs::exists(OPTMEM).unwrap_or(false)))? {
            return Ok(Some(Self::Namespace(place)));
        }
        match Sysctl::open(OPTMEM) {
            Ok(setting) => Ok(Some(Self::Machine(setting))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Stop::Error(format!("cannot read {OPTMEM}: {error}"))),
        }
    }

    fn set(&mut self, bytes: u32) -> Result<(), Stop> {
        let value = bytes.to_string();
        match self {
            Self::Namespace(place) => place.within(|| {
                fs::write(OPTMEM, &value)
                    .map_err(|error| Stop::Error(format!("cannot write `{value}` to {OPTMEM}: {error}")))
            }),
            Self::Machine(sysctl) => sysctl.set(&value).map_err(|error| Stop::Error(error.to_string())),
        }
    }
}

fn optmem(
    context: &Context<'_>,
    place: &Place,
    held: &mut Held,
    family: Family,
    rounds: u64,
    patience: Patience<'_>,
) -> WorkloadResult {
    // One at a time, over loopback.
    let lone = Place::build(context, Path::Loopback, family, stuck::MTU, Neighbour::Known)?;
    let (sender, _receiver) = lone.udp(4 << 20)?;
    let mut line = Line::open(sender, family)?;
    let Some(mut setting) = Optmem::of(&lone)? else { return context.note("optmem", UNSEEN) };
    let (mut fails, mut works) = (256, ENOUGH);
    setting.set(fails)?;
    let result = line.send(&[1; 100], SendFlags::empty());
    context.check(result == Err(Errno::NOBUFS), || {
        format!("send with optmem_max at `{fails}` came to {result:?}, `{}` was expected", Errno::NOBUFS)
    })?;
    while works - fails > 1 {
        let middle = fails.midpoint(works);
        setting.set(middle)?;
        match line.send(&[1; 100], SendFlags::empty()) {
            Ok(_) => works = middle,
            Err(Errno::NOBUFS) => fails = middle,
            Err(errno) => return Err(Stop::Fail(format!("send with optmem_max at `{middle}`: {errno}"))),
        }
        line.settle(patience)?;
    }
    context.note("notification-bytes", works.to_string())?;
    context.check(works < ENOUGH, || format!("a send needs more than `{ENOUGH}` bytes of optmem_max"))?;
    for _ in 0..rounds {
        setting.set(works)?;
        line.send_all(&[1; 100], SendFlags::empty())?;
        line.settle(patience)?;
        setting.set(fails)?;
        let result = line.send(&[1; 100], SendFlags::empty());
        context.check(result == Err(Errno::NOBUFS), || {
            format!("send with optmem_max at `{fails}` came to {result:?}, `{works}` is enough")
        })?;
    }
    context.checked(rounds);
    line.close();
    drop(setting);
    drop(lone);

    // Many at a time.
    let Some(mut setting) = Optmem::of(place)? else { return context.note("optmem", UNSEEN) };
    setting.set(SEVERAL)?;
    let bytes = if matches!(held, Held::Stream(_)) { APART } else { 100 };
    let data = buffer(bytes)?;
    let mut usual = 0;
    for round in 0..rounds {
        let fit = fill(held, &data[..bytes], usual)?;
        if round == 0 {
            usual = fit;
            context.note("sends-within-8192", usual.to_string())?;
            context.check((2..64).contains(&fit), || {
                format!("`{fit}` sends were taken with optmem_max at `{SEVERAL}`")
            })?;
        }
        context.check(fit == usual, || {
            format!(
                "in round {round} `{fit}` sends were taken with optmem_max at `{SEVERAL}`, \
                 and `{usual}` at first: their notifications were not given back as they were taken"
            )
        })?;
        held.line().assert_pending("nothing can take them")?;
        held.release(place, fit * bytes, patience)?;
        context.progress(rounds + round + 1, 2 * rounds)?;
    }
    Ok(())
}

/// Sends until that is refused; how many were taken. If there are fewer than
/// usual, a moment is given to what is on its way back.
fn fill(held: &mut Held, data: &[u8], usual: usize) -> Result<usize, Stop> {
    let (mut taken, mut attempts) = (0, 0);
    loop {
        match held.line().send(data, SendFlags::empty()) {
            Ok(sent) if sent == data.len() => taken += 1,
            Ok(sent) => {
                let asked = data.len();
                return Err(Stop::Fail(format!("send of `{asked}` bytes took `{sent}` with room for all")));
            }
            Err(Errno::NOBUFS) if taken < usual && attempts < ATTEMPTS => {
                attempts += 1;
                clock::poll_interval(PAUSE);
            }
            Err(Errno::NOBUFS) => return Ok(taken),
            Err(errno) => return Err(Stop::Fail(format!("send with optmem_max at `{SEVERAL}`: {errno}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workloads::zerocopy::memory::page_size;

    #[test]
    fn both_calls_of_a_round_take_exactly_what_is_allowed() {
        for headers in [0, 8] {
            let first = pages_of(5000, headers);
            let second = most_bytes(LOCKED - first, headers);
            assert_eq!(first + pages_of(second, headers), LOCKED);
        }
    }

    #[test]
    fn the_largest_call_is_one_datagram() {
        assert!(LOCKED * page_size() < 65_507);
    }
}
