//! What a namespace wears when it dies: devices, addresses, sockets, policies,
//! rules. Each of it is another part of the kernel's cleanup.
//!
//! Dressing happens on a thread that is inside the namespace, and is verified
//! there: a namespace that silently stayed bare would measure nothing.

mod fallback;
mod timewait;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use std::os::fd::{AsFd as _, AsRawFd as _};

pub(crate) use self::fallback::DEVICES as FALLBACK_DEVICES;
use crate::context::{Context, Stop, WorkloadResult};
use crate::netlink::ip::{self, Via};
use crate::netlink::link::{self, Switch};
use crate::netlink::nft::{self, Nft};
use crate::netlink::xfrm::Xfrm;
use crate::netlink::{RequestError, Route};
use crate::netns::Namespace;
use crate::sysctl::Sysctl;

/// Whether namespaces get the fallback devices of tunnel drivers: 0 all of them
/// do, 1 only the first one.
pub(crate) const TUNNELS: &str = "/proc/sys/net/core/fb_tunnels_only_for_init_net";

/// Modules that dressing needs where the kernel has them as modules.
pub(crate) const MODULES: &[&str] = &[
    "dummy",
    "veth",
    "xfrm_user",
    "nf_tables",
    "nft_counter",
    "ip_gre",
    "ipip",
    "sit",
    "ip6_tunnel",
    "ip6_gre",
    "ip_vti",
    "ip6_vti",
];

/// Names of [`Dress`], as suites say them.
pub(crate) const CHOICES: &[&str] = &["bare", "veth", "routes", "timewait", "xfrm", "nft", "tunnels"];

/// Things of one kind that a namespace gets.
const COUNT: u8 = 8;

/// What a namespace wears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dress {
    /// Nothing but `lo`.
    Bare,
    /// One end of a pair, up; the other end is in the namespace of the start.
    Veth,
    /// A device with addresses and routes of both families.
    Routes,
    /// Sockets in TIME_WAIT.
    Timewait,
    /// Transformation policies.
    Xfrm,
    /// A netfilter table with a chain and rules.
    Nft,
    /// The fallback devices of all tunnel drivers.
    Tunnels,
}

/// A workload's dressing, with what has to be kept as long as it is used.
#[derive(Debug)]
pub(crate) struct Wardrobe {
    dress: Dress,
    home: Namespace,
    devices_at_home: Vec<String>,
    _modules: crate::modules::Loaded,
    _tunnels: Option<Sysctl>,
}

impl Dress {
    /// By its name in a suite.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] for a name that is none.
    pub(crate) fn named(name: &str) -> Result<Self, Stop> {
        match name {
            "bare" => Ok(Self::Bare),
            "veth" => Ok(Self::Veth),
            "routes" => Ok(Self::Routes),
            "timewait" => Ok(Self::Timewait),
            "xfrm" => Ok(Self::Xfrm),
            "nft" => Ok(Self::Nft),
            "tunnels" => Ok(Self::Tunnels),
            other => {
                Err(Stop::Error(format!("parameter `dress` is `{other}`, which is none of its choices")))
            }
        }
    }

    fn modules(self) -> &'static [&'static str] {
        match self {
            Self::Bare | Self::Timewait => &[],
            Self::Veth => &["veth"],
            Self::Routes => &["dummy"],
            Self::Xfrm => &["xfrm_user"],
            Self::Nft => nft::MODULES,
            Self::Tunnels => &["ip_gre", "ipip", "sit", "ip6_tunnel", "ip6_gre", "ip_vti", "ip6_vti"],
        }
    }
}

impl Wardrobe {
    /// Prepares for dressing; called in the namespace of the start.
    ///
    /// # Errors
    ///
    /// Skips where the kernel lacks what is to be worn.
    pub(crate) fn open(dress: Dress) -> Result<Self, Stop> {
        let modules = crate::modules::Loaded::load(dress.modules())?;
        let tunnels = match dress {
            Dress::Tunnels => {
                let mut setting = Sysctl::open(TUNNELS)
                    .map_err(|error| Stop::Skip(format!("{TUNNELS}: {error}; needs CONFIG_PROC_SYSCTL")))?;
                setting.set("0").map_err(|error| Stop::Error(error.to_string()))?;
                Some(setting)
            }
            _ => None,
        };
        let home =
            Namespace::current().map_err(|error| Stop::Error(format!("the own namespace: {error}")))?;
        let devices_at_home = names(&mut Route::here()?)?;
        if dress == Dress::Tunnels {
            fallback::expect_any(&devices_at_home)?;
        }
        Ok(Self { dress, home, devices_at_home, _modules: modules, _tunnels: tunnels })
    }

    /// Notes what the kernel lacks of it, if it has the rest.
    ///
    /// # Errors
    ///
    /// As [`Context::note`].
    pub(crate) fn tell(&self, ctx: &Context<'_>) -> WorkloadResult {
        let lacking = match self.dress {
            Dress::Tunnels => fallback::lacking(&self.devices_at_home),
            _ => Vec::new(),
        };
        match lacking.is_empty() {
            true => Ok(()),
            false => ctx.note("not-worn", lacking.join(", ")),
        }
    }

    /// Dresses the namespace that the calling thread is in, the `nth` of those
    /// that live at the same time.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] where the kernel refuses.
    pub(crate) fn dress(&self, nth: usize) -> Result<(), Stop> {
        match self.dress {
            Dress::Bare => Ok(()),
            Dress::Veth => self.veth(nth),
            Dress::Routes => routes(),
            Dress::Timewait => timewait::leave(COUNT.into()),
            Dress::Xfrm => policies(),
            Dress::Nft => rules(),
            Dress::Tunnels => fallback::expect_all(&self.devices_at_home, &names(&mut Route::here()?)?),
        }
    }

    /// Whether all that was worn is gone from the namespace of the start as
    /// well; called there.
    ///
    /// # Errors
    ///
    /// [`Stop::Fail`] with the devices that are left.
    pub(crate) fn expect_put_away(&self) -> Result<(), Stop> {
        let left: Vec<_> = names(&mut Route::here()?)?
            .into_iter()
            .filter(|name| !self.devices_at_home.contains(name))
            .collect();
        match left.is_empty() {
            true => Ok(()),
            false => Err(Stop::Fail(format!(
                "devices outlived the namespaces of their peers: {}",
                left.join(", ")
            ))),
        }
    }

    fn veth(&self, nth: usize) -> Result<(), Stop> {
        let mut route = Route::here()?;
        let mut peer = LinkMessage::default();
        peer.attributes = vec![
            LinkAttribute::IfName(format!("pair{nth}")),
            LinkAttribute::NetNsFd(self.home.as_fd().as_raw_fd()),
        ];
        let data = InfoData::Veth(InfoVeth::Peer(peer));
        link::create(&mut route, "veth0", "veth", Some(data), Vec::new())
            .map_err(|error| no_kind(&error, "veth", "CONFIG_VETH"))?;
        let index = link::index(&mut route, "veth0").map_err(|error| error.stop("RTM_GETLINK of veth0"))?;
        link::switch(&mut route, index, Switch::Up).map_err(|error| error.stop("veth0 up"))
    }
}

/// The end of a test whose kind of device cannot be made.
pub(crate) fn no_kind(error: &RequestError, kind: &str, symbol: &str) -> Stop {
    match error.errno() {
        Some(rustix::io::Errno::OPNOTSUPP) => {
            Stop::Skip(format!("no devices of kind {kind}; needs {symbol}"))
        }
        _ => error.stop(&format!("RTM_NEWLINK of kind {kind}")),
    }
}

fn names(route: &mut Route) -> Result<Vec<String>, Stop> {
    let links = link::all(route).map_err(|error| error.stop("the dump of devices"))?;
    Ok(links.iter().filter_map(|it| link::name(it)).map(str::to_owned).collect())
}

fn routes() -> Result<(), Stop> {
    let mut route = Route::here()?;
    link::create(&mut route, "dummy0", "dummy", None, Vec::new())
        .map_err(|error| no_kind(&error, "dummy", "CONFIG_DUMMY"))?;
    let index = link::index(&mut route, "dummy0").map_err(|error| error.stop("RTM_GETLINK of dummy0"))?;
    link::switch(&mut route, index, Switch::Up).map_err(|error| error.stop("dummy0 up"))?;
    for n in 1..=COUNT {
        let (v4, v6) = (Ipv4Addr::new(10, 0, n, 1), Ipv6Addr::new(0xfd00, 0, 0, n.into(), 0, 0, 0, 1));
        for (address, prefix) in [(IpAddr::V4(v4), 24), (IpAddr::V6(v6), 64)] {
            ip::add_address(&mut route, index, address, prefix)
                .map_err(|error| error.stop(&format!("the address {address}/{prefix}")))?;
        }
        let (v4, v6) = (Ipv4Addr::new(10, 1, n, 0), Ipv6Addr::new(0xfd01, 0, 0, n.into(), 0, 0, 0, 0));
        for (address, prefix) in [(IpAddr::V4(v4), 24), (IpAddr::V6(v6), 64)] {
            ip::add_route(&mut route, address, prefix, Via::Device(index))
                .map_err(|error| error.stop(&format!("the route to {address}/{prefix}")))?;
        }
    }
    Ok(())
}

fn policies() -> Result<(), Stop> {
    let mut xfrm = Xfrm::policies()?;
    for n in 1..=COUNT {
        let to = Ipv4Addr::new(10, 0, 0, n);
        xfrm.add_policy(to).map_err(|error| error.stop(&format!("the policy for {to}")))?;
    }
    let count = xfrm.count().map_err(|error| error.stop("the dump of policies"))?;
    expect(count, usize::from(COUNT), "policies")
}

fn rules() -> Result<(), Stop> {
    let mut nft = Nft::here()?;
    nft.add_rules(COUNT.into()).map_err(|error| nft::no_rules(&error))?;
    let count = nft.count().map_err(|error| error.stop("the dump of rules"))?;
    expect(count, usize::from(COUNT), "rules")
}

fn expect(found: usize, wanted: usize, what: &str) -> Result<(), Stop> {
    match found == wanted {
        true => Ok(()),
        false => Err(Stop::Fail(format!("{wanted} {what} were added to a namespace, {found} are there"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_choice_is_a_dress_and_its_modules_are_declared() {
        for name in CHOICES {
            let dress = Dress::named(name).expect("a dress");
            let declared = |module: &&&str| MODULES.contains(*module) || nft::MODULES.contains(*module);
            assert_eq!(dress.modules().iter().filter(declared).count(), dress.modules().len(), "{name}");
        }
        assert!(matches!(Dress::named("naked"), Err(Stop::Error(_))));
    }
}
