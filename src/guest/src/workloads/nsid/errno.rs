//! `nsid/errno`: what the kernel answers to every request about numbers, right
//! or wrong, to the error number.

use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _};

use kregress_wire::WorkloadInfo;
use netlink_packet_core::DefaultNla;
use netlink_packet_route::nsid::NsidAttribute;
use rustix::io::Errno;
use rustix::process::{WaitId, WaitIdOptions, getpid, waitid};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use super::ledger::{Fate, Line};
use super::marked::Marked;
use super::observer::Observer;
use crate::context::{Context, Stop, WorkloadResult};
use crate::ffi::{self, Fork};
use crate::netlink::nsid::Kind::{Delete, Dump, Get, New};
use crate::netlink::{Reach, Route, nsid};
use crate::netns::Home;
use crate::procfs;
use crate::workloads::netns::{begin_census, expect_all_gone};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "nsid/errno",
    summary: "checks the answer to every right and wrong request about namespace ids",
    params: &[],
    metrics: &[],
    modules: &[],
};

/// `NETNSA_NSID`.
const NETNSA_NSID: u16 = 1;

/// No process has this number: above the largest limit (`PID_MAX_LIMIT`,
/// include/linux/threads.h).
const NO_PROCESS: u32 = (4 << 20) + 1;

/// What a request comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answer {
    /// Done, with these pairs of `NETNSA_NSID` and `NETNSA_CURRENT_NSID`, sorted.
    Numbers(Vec<(i32, Option<i32>)>),
    /// Refused.
    No(Errno),
}

/// Done without words.
fn done() -> Answer {
    Answer::Numbers(Vec::new())
}

/// This number.
fn is(id: i32) -> Answer {
    Answer::Numbers(vec![(id, None)])
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Numbers(numbers) if numbers.is_empty() => f.write_str("success"),
            Self::Numbers(numbers) => write!(f, "{numbers:?}"),
            Self::No(errno) => errno.fmt(f),
        }
    }
}

/// Asks, and collects what is not as it should be: a table tells more when it
/// is whole.
struct Table {
    rows: u64,
    wrong: Vec<String>,
}

impl Table {
    fn row(
        &mut self,
        route: &mut Route,
        name: &str,
        (kind, attributes): (nsid::Kind, Vec<NsidAttribute>),
        expected: Answer,
    ) -> Result<(), Stop> {
        let answer = match nsid::request(route, kind, attributes) {
            Ok(answers) => {
                let pair = |answer| (nsid::id(answer).unwrap_or(i32::MIN), nsid::current_id(answer));
                let mut numbers: Vec<_> = answers.iter().map(pair).collect();
                numbers.sort_unstable();
                Answer::Numbers(numbers)
            }
            Err(error) => match error.errno() {
                Some(errno) => Answer::No(errno),
                None => return Err(error.stop(name)),
            },
        };
        self.rows += 1;
        if answer != expected {
            self.wrong.push(format!("{name}: {expected} was expected, the kernel says {answer}"));
        }
        Ok(())
    }

    fn finish(self, ctx: &Context<'_>) -> Result<(), Stop> {
        ctx.checked(self.rows);
        ctx.check(self.wrong.is_empty(), || self.wrong.join("\n"))
    }
}

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let home = Home::here()?;
    let (mut census, spare) = begin_census(ctx)?;
    drop(spare);
    let mut observer = Observer::create(&home, "the observer".into(), Reach::Own)?;
    let peers: Vec<Marked> = (0..8).map(|nth| Marked::create_away(&home, nth)).collect::<Result<_, _>>()?;
    let mut table = Table { rows: 0, wrong: Vec::new() };
    wrong_peers(&mut table, &mut observer.route)?;
    children(&mut table, &mut observer.route)?;
    let ids = numbers(&mut table, &mut observer, &peers)?;
    others(&mut table, &home, &mut observer, &peers)?;
    without_privilege(&mut table, &mut observer, &peers)?;
    table.finish(ctx)?;
    for (id, peer) in ids.iter().zip(&peers) {
        observer.expect_leads_to(ctx, *id, Some(peer))?;
    }
    // What was refused is not heard of.
    observer.settle(ctx, "while numbers were given")?;
    let peers = reuse(ctx, &home, &mut census, &mut observer, peers, ids)?;
    let count = peers.len() + 1;
    drop((observer, peers));
    census.keep(0);
    expect_all_gone(ctx, &mut census, count).map(drop)
}

fn fd(file: &impl AsFd) -> NsidAttribute {
    NsidAttribute::Fd(u32::try_from(file.as_fd().as_raw_fd()).unwrap_or(u32::MAX))
}

/// Requests that do not say whom they mean, or say it wrongly.
fn wrong_peers(table: &mut Table, route: &mut Route) -> Result<(), Stop> {
    let open = |path: &str| File::open(path).map_err(|error| Stop::Error(format!("{path}: {error}")));
    let (other, null) = (open("/proc/thread-self/ns/mnt")?, open("/dev/null")?);
    let own = open("/proc/thread-self/ns/net")?;
    let id = || NsidAttribute::Id(5);
    let closed = NsidAttribute::Fd(1 << 20);
    let never = NsidAttribute::Fd(u32::MAX);
    let rows = [
        ("RTM_NEWNSID without a number", (New, vec![fd(&own)]), Errno::INVAL),
        ("RTM_NEWNSID without a namespace", (New, vec![id()]), Errno::INVAL),
        ("RTM_NEWNSID with nothing", (New, vec![]), Errno::INVAL),
        ("RTM_NEWNSID with a closed descriptor", (New, vec![id(), closed.clone()]), Errno::BADF),
        ("RTM_NEWNSID with descriptor -1", (New, vec![id(), never.clone()]), Errno::BADF),
        ("RTM_NEWNSID with another kind of namespace", (New, vec![id(), fd(&other)]), Errno::INVAL),
        ("RTM_NEWNSID with a descriptor of no namespace", (New, vec![id(), fd(&null)]), Errno::INVAL),
        ("RTM_NEWNSID with no process", (New, vec![id(), NsidAttribute::Pid(NO_PROCESS)]), Errno::SRCH),
        ("RTM_NEWNSID with process 0", (New, vec![id(), NsidAttribute::Pid(0)]), Errno::SRCH),
        (
            "RTM_NEWNSID with a number of two bytes",
            (New, vec![NsidAttribute::Other(DefaultNla::new(NETNSA_NSID, vec![5, 0])), fd(&own)]),
            Errno::RANGE,
        ),
        ("RTM_GETNSID with nothing", (Get, vec![]), Errno::INVAL),
        ("RTM_GETNSID with a closed descriptor", (Get, vec![closed]), Errno::BADF),
        ("RTM_GETNSID with descriptor -1", (Get, vec![never]), Errno::BADF),
        ("RTM_GETNSID with another kind of namespace", (Get, vec![fd(&other)]), Errno::INVAL),
        ("RTM_GETNSID with a descriptor of no namespace", (Get, vec![fd(&null)]), Errno::INVAL),
        ("RTM_GETNSID with no process", (Get, vec![NsidAttribute::Pid(NO_PROCESS)]), Errno::SRCH),
        ("RTM_GETNSID with process 0", (Get, vec![NsidAttribute::Pid(0)]), Errno::SRCH),
        ("RTM_DELNSID", (Delete, vec![id()]), Errno::OPNOTSUPP),
    ];
    for (name, request, errno) in rows {
        table.row(route, name, request, Answer::No(errno))?;
    }
    for unknown in [0, 1, 77, -1, -2, i32::MIN, i32::MAX] {
        let name = format!("RTM_GETNSID with number {unknown}, which nobody has");
        table.row(route, &name, (Get, vec![NsidAttribute::Id(unknown)]), Answer::No(Errno::NOENT))?;
    }
    table.row(route, "a dump where there is no number", (Dump, vec![]), done())
}

/// Processes that are on their way out have no namespace any more.
fn children(table: &mut Table, route: &mut Route) -> Result<(), Stop> {
    let own = getpid().as_raw_nonzero();
    let threads = procfs::threads(own.get()).len();
    if threads != 1 {
        return Err(Stop::Error(format!("the workload's process has {threads} threads, it needs to have 1")));
    }
    // SAFETY: this process has one thread, as was just checked.
    let forked = unsafe { ffi::fork() }.map_err(|error| Stop::Error(format!("fork: {error}")))?;
    let child = match forked {
        Fork::Child => ffi::exit_now(0),
        Fork::Parent(child) => child,
    };
    let wait = |options| {
        waitid(WaitId::Pid(child), options).map_err(|error| Stop::Error(format!("waitid: {error}")))
    };
    wait(WaitIdOptions::EXITED | WaitIdOptions::NOWAIT)?;
    let pid = NsidAttribute::Pid(child.as_raw_nonzero().get().unsigned_abs());
    let no = Answer::No(Errno::SRCH);
    for state in ["a zombie", "a process that was there"] {
        let request = (New, vec![NsidAttribute::Id(5), pid.clone()]);
        table.row(route, &format!("RTM_NEWNSID with {state}"), request, no.clone())?;
        table.row(route, &format!("RTM_GETNSID with {state}"), (Get, vec![pid.clone()]), no.clone())?;
        if state == "a zombie" {
            wait(WaitIdOptions::EXITED)?;
        }
    }
    Ok(())
}

/// Gives numbers of every sort; which are given, by the place of the namespace.
fn numbers(table: &mut Table, observer: &mut Observer, peers: &[Marked]) -> Result<Vec<i32>, Stop> {
    let [a, ..] = peers else { return Err(Stop::Error("a namespace is needed".into())) };
    let exists = || Answer::No(Errno::EXIST);
    // Asked for, and what has to come of it: below 0 the lowest that is free.
    let asked = [
        (-1, 0),
        (2, 2),
        (i32::MIN, 1),
        (i32::MAX, i32::MAX),
        (-1, 3),
        (0x1000_0000, 0x1000_0000),
        (-2, 4),
        (i32::MAX - 1, i32::MAX - 1),
    ];
    let mut given = Vec::new();
    for (peer, (id, becomes)) in peers.iter().zip(asked) {
        let route = &mut observer.route;
        table.row(route, "RTM_GETNSID without a number yet", (Get, vec![fd(peer)]), is(-1))?;
        for taken in &given {
            let name = format!("RTM_NEWNSID with number {taken}, which another has");
            table.row(route, &name, (New, vec![NsidAttribute::Id(*taken), fd(peer)]), exists())?;
        }
        let request = (New, vec![NsidAttribute::Id(id), fd(peer)]);
        table.row(route, &format!("RTM_NEWNSID with number {id}"), request, done())?;
        let name = format!("RTM_GETNSID after number {id} was asked for");
        table.row(route, &name, (Get, vec![fd(peer)]), is(becomes))?;
        table.row(
            route,
            "RTM_GETNSID with a number",
            (Get, vec![NsidAttribute::Id(becomes)]),
            is(becomes),
        )?;
        for second in [6, -1, becomes] {
            let name = format!("RTM_NEWNSID with number {second} for one that has {becomes}");
            table.row(route, &name, (New, vec![NsidAttribute::Id(second), fd(peer)]), exists())?;
        }
        observer.ledger.expect(Line { from: None, id: becomes }, Fate::Given);
        given.push(becomes);
    }
    let route = &mut observer.route;
    // A process says more than a descriptor, and that more than a number.
    let own = NsidAttribute::Pid(getpid().as_raw_nonzero().get().unsigned_abs());
    table.row(route, "RTM_GETNSID with a process and a descriptor", (Get, vec![own, fd(a)]), is(-1))?;
    let both = vec![fd(a), NsidAttribute::Id(2)];
    table.row(route, "RTM_GETNSID with a descriptor and a number", (Get, both), is(0))?;
    let target = |id, target| vec![NsidAttribute::Id(id), NsidAttribute::TargetNsid(target)];
    for bad in [99, -1, i32::MIN] {
        let name = format!("RTM_GETNSID about namespace {bad}, which there is not");
        table.row(route, &name, (Get, target(0, bad)), Answer::No(Errno::INVAL))?;
    }
    // That one knows nobody yet.
    let unknown_there = Answer::Numbers(vec![(-1, Some(0))]);
    table.row(route, "RTM_GETNSID about namespace 2", (Get, target(0, 2)), unknown_there)?;
    let listed = given.iter().map(|id| (*id, None));
    let mut listed: Vec<_> = listed.collect();
    listed.sort_unstable();
    table.row(route, "a dump", (Dump, vec![]), Answer::Numbers(listed))?;
    Ok(given)
}

/// Requests about the numbers of another namespace, and strict ones.
fn others(table: &mut Table, home: &Home, observer: &mut Observer, peers: &[Marked]) -> Result<(), Stop> {
    let [a, b, c, ..] = peers else { return Err(Stop::Error("three namespaces are needed".into())) };
    b.enter()?;
    let mut there = Route::here()?;
    table.row(&mut there, "RTM_NEWNSID elsewhere", (New, vec![NsidAttribute::Id(50), fd(a)]), done())?;
    // One that the observer has no number for: itself.
    let itself = vec![NsidAttribute::Id(51), fd(&observer.place)];
    table.row(&mut there, "RTM_NEWNSID of the observer elsewhere", (New, itself), done())?;
    drop(there);
    observer.place.enter()?;
    let strict = Route::here()?.strict();
    let mut strict = strict.map_err(|error| Stop::Error(format!("NETLINK_GET_STRICT_CHK: {error}")))?;
    home.back()?;
    let target = NsidAttribute::TargetNsid(2);
    let pairs = |pairs: &[(i32, Option<i32>)]| Answer::Numbers(pairs.to_vec());
    for (word, route) in [("", &mut observer.route), ("strict ", &mut strict)] {
        let name = |what: &str| format!("{word}RTM_GETNSID {what}");
        let about = |peer: &Marked| (Get, vec![fd(peer), target.clone()]);
        table.row(route, &name("about a number of both"), about(a), pairs(&[(50, Some(0))]))?;
        table.row(route, &name("about a number of the first"), about(c), pairs(&[(-1, Some(1))]))?;
        let own = about(&observer.place);
        table.row(route, &name("about a number of the second"), own, pairs(&[(51, Some(-1))]))?;
    }
    let invalid = || Answer::No(Errno::INVAL);
    let route = &mut strict;
    table.row(
        route,
        "a strict dump of another's",
        (Dump, vec![target]),
        pairs(&[(50, Some(0)), (51, Some(-1))]),
    )?;
    let unknown = vec![NsidAttribute::TargetNsid(99)];
    table.row(route, "a strict dump of nobody's", (Dump, unknown), invalid())?;
    let number = vec![NsidAttribute::Id(0)];
    table.row(route, "a strict dump with a number", (Dump, number), invalid())?;
    let current = vec![fd(a), NsidAttribute::CurrentNsid(0)];
    table.row(route, "a strict RTM_GETNSID with NETNSA_CURRENT_NSID", (Get, current), invalid())
}

/// The same thread without `CAP_NET_ADMIN`, on a socket that was opened with it.
fn without_privilege(table: &mut Table, observer: &mut Observer, peers: &[Marked]) -> Result<(), Stop> {
    let [a, ..] = peers else { return Err(Stop::Error("a namespace is needed".into())) };
    let failed = |what: &str, error: Errno| Stop::Error(format!("{what}: {error}"));
    let full = capabilities(None).map_err(|error| failed("capget", error))?;
    let mut less = full;
    less.effective.remove(CapabilitySet::NET_ADMIN);
    let route = &mut observer.route;
    let denied = |errno| Answer::No(errno);
    let rows = [
        ("RTM_NEWNSID", (New, vec![NsidAttribute::Id(6), fd(&observer.place)]), denied(Errno::PERM)),
        ("RTM_DELNSID", (Delete, vec![NsidAttribute::Id(0)]), denied(Errno::PERM)),
        ("RTM_GETNSID", (Get, vec![fd(a)]), is(0)),
        (
            "RTM_GETNSID about another namespace",
            (Get, vec![fd(a), NsidAttribute::TargetNsid(2)]),
            denied(Errno::ACCESS),
        ),
    ];
    set_capabilities(None, less).map_err(|error| failed("capset", error))?;
    let mut asked = Ok(());
    for (name, request, expected) in rows {
        asked = asked
            .and_then(|()| table.row(route, &format!("{name} without CAP_NET_ADMIN"), request, expected));
    }
    set_capabilities(None, full).map_err(|error| failed("capset", error))?;
    asked
}

/// Numbers of the dead are free, and the lowest one is given next.
fn reuse(
    ctx: &Context<'_>,
    home: &Home,
    census: &mut crate::ucount::Census,
    observer: &mut Observer,
    mut peers: Vec<Marked>,
    mut ids: Vec<i32>,
) -> Result<Vec<Marked>, Stop> {
    // Numbers 1 and 2, of which 2 belongs to one with numbers of its own.
    let (dead, gone) = (peers.drain(1..3).collect::<Vec<_>>(), ids.drain(1..3).collect::<Vec<_>>());
    for id in &gone {
        observer.ledger.expect(Line { from: None, id: *id }, Fate::Ended);
    }
    drop(dead);
    census.keep(peers.len() + 1);
    let fresh = expect_all_gone(ctx, census, gone.len())?.fresh;
    census.open()?;
    observer.settle(ctx, "when two namespaces died")?;
    for id in &gone {
        observer.expect_free(ctx, *id)?;
    }
    observer.expect_listed(ctx, ids.clone())?;
    let first = Marked::adopt(fresh, home)?;
    let second = Marked::create_away(home, 9)?;
    for (peer, lowest) in [(first, 1), (second, 2)] {
        let given = observer.assign(ctx, &peer, None)?;
        ctx.check(given == lowest, || format!("number {given} is given, {lowest} is the lowest one free"))?;
        observer.expect_leads_to(ctx, lowest, Some(&peer))?;
        peers.push(peer);
        ids.push(given);
    }
    observer.expect_listed(ctx, ids)?;
    observer.settle(ctx, "when numbers were given again")?;
    Ok(peers)
}
