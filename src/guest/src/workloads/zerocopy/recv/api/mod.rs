//! `tcp-zerocopy/api`: what `mmap` of a TCP socket and `TCP_ZEROCOPY_RECEIVE`
//! promise, fact by fact.
//!
//! The facts are those of `tcp_mmap()`, `tcp_zerocopy_receive()` and
//! `do_tcp_getsockopt()` in net/ipv4/tcp.c, and alike on 6.1 and 6.12.

mod data;
mod endings;
mod mapping;
mod structure;

use kregress_wire::WorkloadInfo;
use rustix::io::Errno;

use super::super::loopback::{FAMILY, Family};
use super::super::patience::Limits;
use super::super::table::Table;
use super::bench::{Bench, Row, assert_supported, window};
use super::place::{MODULES, PATH, Path, Place};
use super::talk::Talk;
use crate::context::{Context, Stop, WorkloadResult};
use crate::modules::Loaded;
use crate::netns::Home;
use crate::ucount::Census;
use crate::workloads::netns::{begin_census, expect_all_gone, expect_left};

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "tcp-zerocopy/api",
    summary: "what mmap of a TCP socket and TCP_ZEROCOPY_RECEIVE promise, fact by fact",
    params: &[PATH, FAMILY],
    metrics: &[],
    modules: MODULES,
};

const ROWS: &[&[Row]] = &[mapping::ROWS, structure::ROWS, data::ROWS, endings::ROWS];

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let _loaded = Loaded::load(INFO.modules)?;
    let (path, family) = (Path::of(context)?, Family::of(context)?);
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let limits = Limits::of(context)?;
    let mut table = Table::default();
    {
        let place = Place::new(path, family, limits.patience())?;
        assert_supported(&place)?;
        let bench = Bench { place: &place, patience: limits.patience(), seed: context.rng().u64(..) };
        bench.run(context, ROWS, &mut table)?;
        table.begin("the connections afterwards");
        table.take(place.settle(limits.patience()))?;
    }
    table.begin("the namespaces afterwards");
    let gone = expect_all_gone(context, &mut census, 2).map(drop);
    let all_gone = gone.is_ok();
    table.take(gone)?;
    census.open()?;
    // With others alive one could not tell which namespace is kept.
    if all_gone {
        table.begin("a mapping whose socket is closed");
        let row = pinned(context, path, &limits, &mut census, &mut table);
        table.take(row)?;
    }
    table.verdict(context)
}

/// The namespace of a socket lives as long as a mapping of it.
fn pinned(
    context: &Context<'_>,
    path: Path,
    limits: &Limits,
    census: &mut Census,
    table: &mut Table,
) -> Result<(), Stop> {
    let home = Home::here()?;
    let make = |path| Place::new(path, Family::Ipv4, limits.patience());
    let area = {
        let talk = Talk::fresh(&make(path)?, 1, limits.patience())?;
        let area = window(talk.receiver(), 1)?;
        let (sender, receiver) = talk.into_ends();
        // Without a peer that answers, a connection would keep its namespace for
        // itself when it is closed.
        endings::reset_and_wait(limits.patience(), sender, &receiver)?;
        area
    };
    // A cleanup that is begun later is over later: when this one is gone, the
    // other would be too, had it been begun.
    drop(make(Path::Loopback)?);
    expect_left(context, census, 1)?;
    census.close()?;
    let more = crate::ffi::unshare_net();
    home.back()?;
    census.open()?;
    table.call("a namespace more than without that of the mapping", &more, Err(Errno::NOSPC));
    table.call("munmap", &area.unmap(), Ok(()));
    expect_all_gone(context, census, 1).map(drop)
}
