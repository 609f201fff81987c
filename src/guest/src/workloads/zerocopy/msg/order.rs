//! `msg-zerocopy/order`: sends that are completed in another order than they were
//! made.
//!
//! Datagrams to a neighbour that is not known wait while those to another one
//! overtake them. The kernel may merge the completions of neighbouring numbers and
//! of no others.

use kregress_wire::{ParamInfo, WorkloadInfo};
use rustix::net::SendFlags;

use super::super::errqueue::Notification;
use super::super::loopback::{FAMILY, Family};
use super::super::patience::{Limits, Patience};
use super::line::Line;
use super::place::{self, Neighbour, Path, Place};
use crate::context::{Context, WorkloadResult};
use crate::modules::Loaded;
use crate::workloads::netns::{begin_census, expect_all_gone};

pub(super) static INFO: WorkloadInfo = WorkloadInfo {
    name: "msg-zerocopy/order",
    summary: "completions out of order: merged where numbers are neighbours, and nowhere else",
    params: &[
        FAMILY,
        ParamInfo::Int { name: "rounds", summary: "rounds of sends", min: 1, max: 100_000, default: 20 },
    ],
    metrics: &[],
    modules: place::MODULES,
};

/// Sends of a round: `net.core.optmem_max` was 20480 before 6.8.
const SENDS: usize = 16;

pub(super) fn run(context: &Context<'_>) -> WorkloadResult {
    let _modules = Loaded::load(place::MODULES)?;
    let family = Family::of(context)?;
    let rounds = context.count("rounds")? as u64;
    let limits = Limits::of(context)?;
    let mut rng = context.rng();
    let (mut census, fresh) = begin_census(context)?;
    drop(fresh);
    let place = Place::build(context, Path::Dummy, family, 1500, Neighbour::Unknown)?;
    let mut line = Line::open(place.udp(1 << 20)?.0, family)?;
    for number in 0..rounds {
        // At least one of each.
        let mut late: Vec<bool> = (0..SENDS).map(|_| rng.bool()).collect();
        (late[0], late[SENDS - 1]) = (number % 2 == 0, number % 2 == 1);
        round(context, &place, &mut line, &late, limits.patience())?;
        context.progress(number + 1, rounds)?;
    }
    drop((line, place));
    expect_all_gone(context, &mut census, 1).map(drop)
}

fn round(
    context: &Context<'_>,
    place: &Place,
    line: &mut Line,
    late: &[bool],
    patience: Patience<'_>,
) -> WorkloadResult {
    let base = line.made() as u32;
    let data = vec![1; 1000];
    for late in late {
        if *late {
            line.send_all(&data, SendFlags::empty())?;
        } else {
            line.send_to(&data, &place.group())?;
        }
    }
    let waiting = late.iter().filter(|late| **late).count() as u64;
    for early in [true, false] {
        line.seen.clear();
        if !early {
            place.resolve()?;
        }
        line.wait(if early { waiting } else { 0 }, patience)?;
        let found: Vec<(u32, u32)> =
            line.seen.iter().map(|Notification { first, last, .. }| (*first, *last)).collect();
        let expected = runs(late.iter().map(|late| *late != early), base);
        context.check(covers(&found, &expected), || {
            let which = if early { "overtook others" } else { "were overtaken" };
            format!("completions of sends that {which} are {found:?}, they have to lie within {expected:?}")
        })?;
    }
    line.settle(patience)?;
    place.forget()
}

/// Longest ranges of consecutive numbers that are in.
fn runs(is_in: impl Iterator<Item = bool>, base: u32) -> Vec<(u32, u32)> {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for (offset, _) in (0_u32..).zip(is_in).filter(|(_, is_in)| *is_in) {
        let number = base.wrapping_add(offset);
        match runs.last_mut() {
            Some((_, last)) if last.wrapping_add(1) == number => *last = number,
            _ => runs.push((number, number)),
        }
    }
    runs
}

/// Whether each range that was found lies within one that may be.
fn covers(found: &[(u32, u32)], expected: &[(u32, u32)]) -> bool {
    found.iter().all(|(first, last)| expected.iter().any(|(from, to)| from <= first && last <= to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_make_a_run_and_a_gap_ends_it() {
        let late = [true, true, false, true, false, false, true];
        assert_eq!(runs(late.into_iter(), 10), [(10, 11), (13, 13), (16, 16)]);
        assert_eq!(runs([false].into_iter(), 0), []);
    }

    #[test]
    fn a_range_over_a_gap_is_not_covered_and_a_part_of_a_run_is() {
        let runs = [(10, 11), (13, 13)];
        assert!(covers(&[(10, 10), (11, 11), (13, 13)], &runs));
        assert!(!covers(&[(10, 13)], &runs));
        assert!(!covers(&[(12, 12)], &runs));
    }
}
