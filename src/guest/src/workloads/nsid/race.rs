//! `nsid/race`: numbers are given, asked for and listed while the namespaces
//! that they are for die. No number may ever lead to another namespace.
//!
//! Threads that name hold a namespace by its descriptor, or by the id of a
//! thread that leaves it this moment; threads that read hold nothing. Some
//! namespaces have one end of a veth pair, so that messages about links give
//! numbers as well: one for a namespace about to die would stay for ever
//! (kernel commit 0c06bea919f3).

use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use kregress_wire::{Better, Kind, MetricInfo, ParamInfo, Unit, WorkloadInfo};
use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rustix::io::Errno;

use super::ledger::balance;
use super::marked::{Marked, leads_to};
use super::observer::Observer;
use super::sample;
use crate::clock;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::netlink::{Reach, RequestError, Route, link, nsid};
use crate::netns::Home;
use crate::workloads::netns::{begin_census, expect_all_gone};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "nsid/race",
    summary: "gives, asks for and lists ids of namespaces that die, and checks that none leads astray",
    params: &[
        ParamInfo::Int {
            name: "namespaces",
            summary: "namespaces that each destroyer makes",
            min: 1,
            max: 1_000_000,
            default: 60,
        },
        ParamInfo::Int {
            name: "destroyers",
            summary: "threads that make and drop namespaces",
            min: 1,
            max: 64,
            default: 2,
        },
        ParamInfo::Int { name: "namers", summary: "threads that give ids", min: 1, max: 64, default: 2 },
        ParamInfo::Int { name: "readers", summary: "threads that ask for ids", min: 1, max: 64, default: 1 },
    ],
    metrics: &[MetricInfo {
        name: "requests",
        summary: "requests of all threads together",
        unit: Unit::PerSecond,
        kind: Kind::Rate,
        better: Better::Higher,
    }],
    modules: &["veth"],
};

/// Namespaces that are held at the same time: few, so that they die soon.
const HELD: usize = 12;

/// So many numbers are fought for.
const CONTESTED: i32 = 4;

/// From here on the number tells whose it is: its mark on top of this.
const PERSONAL: i32 = 1 << 28;

/// Pause between two looks of the main thread whether all is over.
const LOOK: Duration = Duration::from_millis(20);

/// What the threads share.
struct Arena<'a> {
    observer: &'a Marked,
    held: Mutex<Vec<Arc<Marked>>>,
    /// Threads that leave one namespace for the next, by their ids.
    movers: Mutex<Vec<u32>>,
    over: AtomicBool,
    made: AtomicU64,
}

/// What a thread did.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    requests: u64,
    /// Numbers that were given on request.
    given: u64,
    checks: u64,
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            given: self.given + other.given,
            checks: self.checks + other.checks,
        }
    }
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let namespaces = ctx.count("namespaces")?;
    let (destroyers, namers, readers) =
        (ctx.count("destroyers")?, ctx.count("namers")?, ctx.count("readers")?);
    let _modules = Loaded::load(INFO.modules)?;
    let home = Home::here()?;
    let (mut census, spare) = begin_census(ctx)?;
    drop(spare);
    let mut observer = Observer::create(&home, "the observer".into(), Reach::Own)?;
    let pairs = pairs_possible(ctx, &home)?;
    let arena = Arena {
        observer: &observer.place,
        held: Mutex::default(),
        movers: Mutex::default(),
        over: AtomicBool::new(false),
        made: AtomicU64::new(0),
    };
    let started_ns = clock::monotonic_ns();
    let roles = [Role::Destroy { namespaces, pairs }, Role::Name, Role::Read];
    let roles: Vec<Role> = roles
        .into_iter()
        .zip([destroyers, namers, readers])
        .flat_map(|(role, count)| std::iter::repeat_n(role, count))
        .collect();
    let total = u64::try_from(namespaces.saturating_mul(destroyers)).unwrap_or(u64::MAX);
    let tally = play(ctx, &arena, &roles, total)?;
    let elapsed_ns = clock::monotonic_ns().saturating_sub(started_ns).max(1);
    drop(arena);
    census.keep(1);
    drop(expect_all_gone(ctx, &mut census, namespaces.saturating_mul(destroyers))?);
    let heard = observer.take()?;
    let heard = balance(&heard)
        .map_err(|wrong| Stop::Fail(format!("notices in {} do not come out even: {wrong}", observer.name)))?;
    // Messages about links give numbers too.
    let given = usize::try_from(tally.given).unwrap_or(usize::MAX);
    let exact = pairs == Pairs::None;
    ctx.check(if exact { heard == given } else { heard >= given }, || {
        format!("{given} numbers were given on request, RTM_NEWNSID was heard {heard} times")
    })?;
    observer.expect_listed(ctx, vec![])?;
    ctx.checked(tally.checks);
    ctx.note("given", format!("{given} on request, {heard} in all"))?;
    let seconds = sample(usize::try_from(elapsed_ns).unwrap_or(usize::MAX)) / 1e9;
    ctx.sample("requests", sample(usize::try_from(tally.requests).unwrap_or(usize::MAX)) / seconds)?;
    drop(observer);
    census.keep(0);
    expect_all_gone(ctx, &mut census, 1).map(drop)
}

/// Whether namespaces can be tied to the observer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pairs {
    Some,
    None,
}

fn pairs_possible(ctx: &Context<'_>, home: &Home) -> Result<Pairs, Stop> {
    let place = Marked::create(0)?;
    let route = Route::here();
    home.back()?;
    match tie(&mut route?, &place) {
        Ok(()) => Ok(Pairs::Some),
        Err(error) if error.errno() == Some(Errno::OPNOTSUPP) => {
            ctx.note("pairs", "none; they need CONFIG_VETH")?;
            Ok(Pairs::None)
        }
        Err(error) => Err(error.stop("creation of a veth pair")),
    }
}

/// Makes a pair with one end in the namespace of the connection, the other there.
fn tie(route: &mut Route, place: &Marked) -> Result<(), RequestError> {
    let mut peer = LinkMessage::default();
    peer.attributes =
        vec![LinkAttribute::IfName("krg0".into()), LinkAttribute::NetNsFd(place.as_fd().as_raw_fd())];
    let name = format!("krg{}", place.mark());
    link::create(route, &name, "veth", Some(InfoData::Veth(InfoVeth::Peer(peer))), vec![])
}

/// What a thread does.
#[derive(Debug, Clone, Copy)]
enum Role {
    Destroy { namespaces: usize, pairs: Pairs },
    Name,
    Read,
}

/// Runs all threads to their end; the main one tells that the test is alive.
fn play(ctx: &Context<'_>, arena: &Arena<'_>, roles: &[Role], total: u64) -> Result<Tally, Stop> {
    let mut rng = ctx.rng();
    thread::scope(|scope| {
        let mut threads: Vec<ScopedJoinHandle<'_, Result<Tally, Stop>>> = Vec::new();
        let mut refused = None;
        for role in roles {
            let rng = rng.fork();
            let work = move || {
                let result = arena.work(*role, rng);
                if result.is_err() {
                    arena.over.store(true, Ordering::Relaxed);
                }
                result
            };
            match thread::Builder::new().spawn_scoped(scope, work) {
                Ok(thread) => threads.push(thread),
                Err(error) => refused = Some(Stop::Error(format!("cannot start a thread: {error}"))),
            }
        }
        let mut told = Ok(());
        while refused.is_none() && told.is_ok() && !arena.over.load(Ordering::Relaxed) {
            let made = arena.made.load(Ordering::Relaxed);
            if made >= total {
                break;
            }
            if ctx.remaining() == Duration::ZERO {
                refused = Some(Stop::Fail(format!("only {made} of {total} namespaces were made in time")));
            }
            told = ctx.progress(made, total);
            clock::poll_interval(LOOK);
        }
        arena.over.store(true, Ordering::Relaxed);
        let join = |thread: ScopedJoinHandle<'_, Result<Tally, Stop>>| {
            thread.join().unwrap_or_else(|_| Err(Stop::Error("a thread panicked".into())))
        };
        // All are joined before the first error is told.
        let tallies: Vec<_> = threads.into_iter().map(join).collect();
        told?;
        let sum = tallies.into_iter().try_fold(Tally::default(), |sum, tally| Ok(sum + tally?));
        match refused {
            Some(stop) => sum.and(Err(stop)),
            None => sum,
        }
    })
}

impl Arena<'_> {
    fn work(&self, role: Role, mut rng: fastrand::Rng) -> Result<Tally, Stop> {
        let home = Home::here()?;
        self.observer.enter()?;
        let route = Route::here();
        home.back()?;
        let mut route = route?;
        let mut tally = Tally::default();
        match role {
            Role::Destroy { namespaces, pairs } => {
                // It ends where it is. Back home it would get a number there by
                // one who asks for its namespace a moment too late.
                self.destroy(&mut route, namespaces, pairs, &mut rng)?;
            }
            Role::Name => {
                while !self.over.load(Ordering::Relaxed) {
                    self.name_one(&mut route, &mut rng, &mut tally)?;
                }
            }
            Role::Read => {
                while !self.over.load(Ordering::Relaxed) {
                    self.read(&mut route, &mut rng, &mut tally)?;
                }
            }
        }
        Ok(tally)
    }

    /// Makes namespaces, stays in each until the next is made, and leaves it to
    /// the others for a while.
    fn destroy(
        &self,
        route: &mut Route,
        namespaces: usize,
        pairs: Pairs,
        rng: &mut fastrand::Rng,
    ) -> Result<(), Stop> {
        let own = rustix::thread::gettid().as_raw_nonzero().get().unsigned_abs();
        for nth in 0..namespaces {
            if self.over.load(Ordering::Relaxed) {
                return Ok(());
            }
            let place = Arc::new(Marked::create(nth)?);
            if nth == 0 {
                self.movers.lock().unwrap_or_else(PoisonError::into_inner).push(own);
            }
            if pairs == Pairs::Some && nth % 4 == 0 {
                tie(route, &place).map_err(|error| error.stop("creation of a veth pair"))?;
            }
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let dropped = if held.len() < HELD {
                held.push(place);
                None
            } else {
                let nth = rng.usize(..held.len());
                held.get_mut(nth).map(|slot| std::mem::replace(slot, place))
            };
            drop(held);
            // Dies here unless one who names has it in hand.
            drop(dropped);
            self.made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Gives a number to one that is held, and looks where it leads.
    fn name_one(&self, route: &mut Route, rng: &mut fastrand::Rng, tally: &mut Tally) -> Result<(), Stop> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = rng.choice(held.iter()).cloned() else {
            drop(held);
            thread::yield_now();
            return Ok(());
        };
        drop(held);
        let wish = match rng.u8(..3) {
            0 => nsid::NOT_ASSIGNED,
            1 => rng.i32(0..CONTESTED),
            _ => personal(place.mark()),
        };
        let given = allowed("RTM_NEWNSID", nsid::assign(route, place.peer(), wish), &[Errno::EXIST])?;
        tally.given += u64::from(given.is_some());
        let mut ask = || {
            nsid::number(route, place.peer()).map_err(|error| error.stop("RTM_GETNSID of a living namespace"))
        };
        let (first, second) = (ask()?, ask()?);
        tally.requests += 3;
        tally.checks += 2;
        let changed = first.is_some() && first != second;
        if changed || (given.is_some() && (first.is_none() || (wish >= 0 && first != Some(wish)))) {
            return Err(Stop::Fail(format!(
                "number {wish} was asked for, answered with {given:?}, and has become {first:?} and {second:?}"
            )));
        }
        if let Some(id) = first {
            // It is in hand: it lives, and so does its number.
            expect_leads(route, id, |mark| mark == Some(place.mark()))?;
            tally.requests += 1;
            tally.checks += 1;
        }
        self.name_mover(route, rng, tally)
    }

    /// The same for a namespace that its only thread may leave meanwhile.
    fn name_mover(&self, route: &mut Route, rng: &mut fastrand::Rng, tally: &mut Tally) -> Result<(), Stop> {
        let movers = self.movers.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mover) = rng.choice(movers.iter()).copied() else { return Ok(()) };
        drop(movers);
        let peer = nsid::Peer::Pid(mover);
        // It ends before the others do.
        let gone = Errno::SRCH;
        if rng.bool() {
            let given = nsid::assign(route, peer, nsid::NOT_ASSIGNED);
            let given = allowed("RTM_NEWNSID of a thread's", given, &[Errno::EXIST, gone])?;
            tally.given += u64::from(given.is_some());
        } else {
            allowed("RTM_GETNSID of a thread's", nsid::number(route, peer), &[gone])?;
        }
        tally.requests += 1;
        tally.checks += 1;
        Ok(())
    }

    /// Lists numbers and looks where they lead, without holding anything.
    fn read(&self, route: &mut Route, rng: &mut fastrand::Rng, tally: &mut Tally) -> Result<(), Stop> {
        let mut ids = nsid::all(route).map_err(|error| error.stop("dump of RTM_GETNSID"))?;
        // The kernel goes on in a dump by counting (`s_idx` in `rtnl_net_dumpid`):
        // what comes and goes meanwhile makes it repeat a number or pass over one.
        ids.sort_unstable();
        ids.dedup();
        rng.shuffle(&mut ids);
        for id in ids {
            let answer = nsid::number(route, nsid::Peer::Id(id));
            let answer = allowed("RTM_GETNSID of a number", answer, &[Errno::NOENT])?;
            if answer.is_some_and(|answer| answer != Some(id)) {
                return Err(Stop::Fail(format!("RTM_GETNSID of number {id} is answered with {answer:?}")));
            }
            expect_leads(route, id, |mark| mark.is_none_or(|mark| id < PERSONAL || id == personal(mark)))?;
            tally.requests += 2;
            tally.checks += 2;
        }
        // Messages about links name the namespaces of the other ends, some of
        // which die this moment. That the table changes meanwhile is no news.
        match link::all(route) {
            Ok(_) | Err(RequestError::Interrupted(_)) => {}
            Err(error) => return Err(error.stop("dump of RTM_GETLINK")),
        }
        tally.requests += 2;
        tally.checks += 1;
        Ok(())
    }
}

/// The number that nobody else gets.
fn personal(mark: u32) -> i32 {
    i32::try_from(mark).unwrap_or(i32::MAX).saturating_add(PERSONAL)
}

/// An answer, or one of the refusals that a race excuses.
fn allowed<T>(what: &str, answer: Result<T, RequestError>, excused: &[Errno]) -> Result<Option<T>, Stop> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if error.errno().is_some_and(|errno| excused.contains(&errno)) => Ok(None),
        Err(error) => Err(error.stop(what)),
    }
}

fn expect_leads(route: &mut Route, id: i32, right: impl Fn(Option<u32>) -> bool) -> Result<(), Stop> {
    let mark = leads_to(route, id).map_err(|error| match error.errno() {
        Some(Errno::NODEV) => {
            Stop::Fail(format!("number {id} leads to a namespace that is being taken apart"))
        }
        _ => error.stop("RTM_GETLINK in the namespace of a number"),
    })?;
    if right(mark) {
        return Ok(());
    }
    Err(Stop::Fail(match mark {
        Some(mark) => format!("number {id} leads to another namespace than its own, the one marked {mark}"),
        None => format!("number {id} of a living namespace leads nowhere"),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Refusal;

    #[test]
    fn only_the_refusals_that_a_race_excuses_are_excused() {
        let refused = |errno| Err::<(), _>(RequestError::Refused(Refusal { errno, text: None }));
        let of = |answer| allowed("RTM_NEWNSID", answer, &[Errno::EXIST]);
        assert_eq!((of(Ok(())), of(refused(Errno::EXIST))), (Ok(Some(())), Ok(None)));
        assert!(matches!(of(refused(Errno::INVAL)), Err(Stop::Fail(_))));
        assert!(matches!(of(Err(RequestError::Lost)), Err(Stop::Error(_))));
    }

    #[test]
    fn personal_numbers_tell_their_marks_apart() {
        assert_ne!(personal(1_000_000), personal(1_000_001));
        assert!(personal(1_000_000) > PERSONAL);
        // Far from those that the kernel chooses and those that are fought for.
        const { assert!(CONTESTED < PERSONAL) };
    }
}
