//! `rtnl/fallback`: the devices that tunnel drivers put into every namespace. They
//! cannot be moved nor deleted, and die with their namespace.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use kregress_wire::WorkloadInfo;
use rustix::io::Errno;

use super::kind::{create, settle};
use super::place::{Place, dump};
use crate::context::{Context, Stop, WorkloadResult};
use crate::dress::{FALLBACK_DEVICES, TUNNELS};
use crate::modules::Loaded;
use crate::netlink::{RequestError, link};
use crate::netns::Home;
use crate::sysctl::Sysctl;
use crate::workloads::netns::{begin_census, expect_left};

pub(super) const INFO: WorkloadInfo = WorkloadInfo {
    name: "rtnl/fallback",
    summary: "tries to move and to delete the devices that tunnel drivers put into every namespace",
    params: &[],
    metrics: &[],
    modules: &["ip_gre", "ipip", "sit", "ip6_tunnel", "ip6_gre", "ip_vti", "ip6_vti"],
};

pub(super) fn run(ctx: &Context<'_>) -> WorkloadResult {
    let _modules = Loaded::load(INFO.modules)?;
    let home = Home::here()?;
    let mut setting = Sysctl::open(TUNNELS)
        .map_err(|error| Stop::Skip(format!("{TUNNELS}: {error}; needs CONFIG_PROC_SYSCTL")))?;
    setting.set("0").map_err(|error| Stop::Error(error.to_string()))?;
    let (mut census, fresh) = begin_census(ctx)?;
    drop(fresh);
    let mut start = Place::here("the namespace of the start")?;
    let b = create()?;
    let mut in_b = Place::here("the other namespace")?;
    let a = create()?;
    let mut in_a = Place::here("their namespace")?;
    home.back()?;
    let all = dump(&mut in_a.route)?;
    let there = present(&all);
    if there.is_empty() {
        let symbols: Vec<_> = FALLBACK_DEVICES.iter().map(|(_, symbol)| *symbol).collect();
        return Err(Stop::Skip(format!(
            "no tunnel driver with a fallback device; needs one of {}",
            symbols.join(", ")
        )));
    }
    for (name, symbol) in FALLBACK_DEVICES.iter().filter(|(name, _)| !all.contains_key(*name)) {
        ctx.note(&format!("no-{name}"), format!("needs {symbol}"))?;
    }
    for (name, index) in there {
        let result = link::move_to(&mut in_a.route, index, b.as_fd());
        let refused = matches!(&result, Err(RequestError::Refused(refusal))
            if refusal.errno == Errno::INVAL
                && refusal.text.as_deref().is_none_or(|text| text.contains("immutable")));
        ctx.check(refused, || {
            format!("a move of {name} should be refused as that of an immutable device, and was answered with {result:?}")
        })?;
        // Whatever the driver answers: most do nothing, and call it done.
        let result = link::delete(&mut in_a.route, index);
        let now = dump(&mut in_a.route)?;
        ctx.check(now == all, || {
            format!("RTM_DELLINK of {name} gave {result:?}; there were the devices {all:?}, and now {now:?}")
        })?;
    }
    in_a.expect(ctx, &[])?;
    drop((in_a, a));
    drop(expect_left(ctx, &mut census, 1)?);
    in_b.expect(ctx, &[])?;
    drop((in_b, b));
    settle(ctx, &mut census, &mut start)
}

/// Those of them that are there, with their indexes.
fn present(all: &BTreeMap<String, u32>) -> Vec<(&'static str, u32)> {
    FALLBACK_DEVICES.iter().filter_map(|(name, _)| Some((*name, *all.get(*name)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_fallback_devices_are_tried() {
        let all = [("lo", 1), ("gre0", 4), ("gre1", 5)].map(|(name, index)| (name.to_owned(), index));
        assert_eq!(present(&BTreeMap::from(all)), [("gre0", 4)]);
    }

    #[test]
    fn every_device_has_an_option_and_is_there_once() {
        let names: std::collections::BTreeSet<_> = FALLBACK_DEVICES.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), FALLBACK_DEVICES.len());
        assert!(FALLBACK_DEVICES.iter().all(|(_, symbol)| symbol.starts_with("CONFIG_")));
    }
}
