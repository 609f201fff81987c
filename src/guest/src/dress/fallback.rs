//! Fallback devices of tunnel drivers: which there are, and whether a namespace
//! got all of them.
//!
//! The first namespace has those of every driver that the kernel has
//! (`net_has_fallback_tunnels`, include/linux/netdevice.h), whatever others get.

use crate::context::{Stop, WorkloadResult};

/// Every one, with the option that brings its driver.
pub(crate) const DEVICES: [(&str, &str); 9] = [
    ("tunl0", "CONFIG_NET_IPIP"),
    ("gre0", "CONFIG_NET_IPGRE"),
    ("gretap0", "CONFIG_NET_IPGRE"),
    ("erspan0", "CONFIG_NET_IPGRE"),
    ("ip_vti0", "CONFIG_NET_IPVTI"),
    ("sit0", "CONFIG_IPV6_SIT"),
    ("ip6tnl0", "CONFIG_IPV6_TUNNEL"),
    ("ip6gre0", "CONFIG_IPV6_GRE"),
    ("ip6_vti0", "CONFIG_IPV6_VTI"),
];

fn has(devices: &[String], name: &str) -> bool {
    devices.iter().any(|device| device == name)
}

/// Those that the first namespace does not have, each with its option.
pub(super) fn lacking(at_home: &[String]) -> Vec<String> {
    let lacking = DEVICES.iter().filter(|(name, _)| !has(at_home, name));
    lacking.map(|(name, option)| format!("{name} ({option})")).collect()
}

/// Whether there are any, seen from the first namespace.
///
/// # Errors
///
/// [`Stop::Skip`] with the options.
pub(super) fn expect_any(at_home: &[String]) -> WorkloadResult {
    let lacking = lacking(at_home);
    match lacking.len() < DEVICES.len() {
        true => Ok(()),
        false => {
            Err(Stop::Skip(format!("no fallback devices of tunnels; needs one of {}", lacking.join(", "))))
        }
    }
}

/// Whether a namespace has all that the first one has.
///
/// # Errors
///
/// [`Stop::Fail`] with those that are not there.
pub(super) fn expect_all(at_home: &[String], here: &[String]) -> WorkloadResult {
    let missing: Vec<_> =
        DEVICES.iter().map(|(name, _)| *name).filter(|name| has(at_home, name) && !has(here, name)).collect();
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Stop::Fail(format!(
            "a fresh network namespace has no fallback device {}, and the first one does",
            missing.join(", ")
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_namespace_has_to_have_what_the_first_one_has() {
        let home = devices(&["lo", "gre0", "sit0", "eth0"]);
        expect_all(&home, &devices(&["lo", "sit0", "gre0"])).expect("all");
        let stop = expect_all(&home, &devices(&["lo", "gre0"])).expect_err("one is missing");
        assert!(matches!(&stop, Stop::Fail(text) if text.contains(" sit0,")), "{stop}");
    }

    #[test]
    fn a_driver_that_is_not_there_is_named_with_its_option() {
        let all: Vec<String> = DEVICES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(lacking(&all), Vec::<String>::new());
        assert_eq!(lacking(&all[1..]), ["tunl0 (CONFIG_NET_IPIP)"]);
    }

    #[test]
    fn without_any_driver_nothing_can_be_worn() {
        expect_any(&devices(&["lo", "sit0"])).expect("one");
        assert!(matches!(expect_any(&devices(&["lo"])), Err(Stop::Skip(_))));
    }
}
