//! `nsid/lost`: the harness notices when the kernel drops notifications.
//!
//! All that the other workloads conclude from what was not heard rests on this.

use kregress_wire::{ParamInfo, WorkloadInfo};
use netlink_packet_route::RouteNetlinkMessage;

use super::marked::Marked;
use super::{count, sample};
use crate::context::{Context, Stop, WorkloadResult};
use crate::netlink::{Listener, Reach, RequestError, Route, nsid};
use crate::netns::Home;
use crate::workloads::netns::{begin_census, expect_all_gone};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "nsid/lost",
    summary: "checks that a listener whose buffer overflows is told so, and another is not",
    params: &[ParamInfo::Int {
        name: "namespaces",
        summary: "namespaces that get an id and die",
        min: 8,
        max: 10_000,
        default: 20,
    }],
    metrics: &[count("notices", "notifications that a listener with room enough hears")],
    modules: &[],
};

/// Bytes; the kernel makes it the least it allows, `SOCK_MIN_RCVBUF`, which holds
/// two or three notifications.
const SMALL: u32 = 1;

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let namespaces = ctx.count("namespaces")?;
    let home = Home::here()?;
    let (mut census, spare) = begin_census(ctx)?;
    let place = Marked::adopt(spare.fresh, &home)?;
    place.enter()?;
    let mut route = Route::here()?;
    let mut deaf = Listener::join_with(&[nsid::GROUP], Reach::Own, SMALL)?;
    let mut good = Listener::join(&[nsid::GROUP])?;
    home.back()?;
    let mut held = Vec::with_capacity(namespaces);
    for nth in 0..namespaces {
        let peer = Marked::create_away(&home, nth)?;
        let assigned = nsid::assign(&mut route, peer.peer(), nsid::NOT_ASSIGNED);
        assigned.map_err(|error| error.stop("RTM_NEWNSID"))?;
        held.push(peer);
    }
    drop(held);
    census.keep(1);
    drop(expect_all_gone(ctx, &mut census, namespaces)?);
    // A listener that heard all of it says how much there was to hear. What died
    // with the probe of the census had no number.
    let heard = good.take().map_err(|error| error.stop("notifications of numbers"))?;
    let ended = heard.iter().filter(|notice| matches!(notice.message, RouteNetlinkMessage::DelNsId(_)));
    let ended = ended.count();
    ctx.check((ended, heard.len()) == (namespaces, 2 * namespaces), || {
        format!(
            "{namespaces} namespaces got a number and died: {} notices were heard, {ended} of an end",
            heard.len()
        )
    })?;
    expect_noticed(&mut deaf, heard.len())?;
    ctx.checked(1);
    ctx.sample("notices", sample(heard.len()))?;
    drop((route, deaf, good, place));
    census.keep(0);
    expect_all_gone(ctx, &mut census, 1).map(drop)
}

/// This test passes when the harness notices, so that it does not is its error.
fn expect_noticed(deaf: &mut Listener, sent: usize) -> Result<(), Stop> {
    for attempt in ["first", "second"] {
        match deaf.take() {
            Err(error @ RequestError::Lost) => match error.stop("notifications of numbers") {
                Stop::Error(_) => {}
                other => return Err(Stop::Error(format!("a loss ends a test with {other:?}"))),
            },
            Err(error) => return Err(error.stop("notifications of numbers")),
            Ok(heard) => {
                return Err(Stop::Error(format!(
                    "a listener with a buffer of {SMALL} B was sent {sent} notices, heard {} and was not told \
                     of a loss when asked for the {attempt} time",
                    heard.len()
                )));
            }
        }
    }
    Ok(())
}
