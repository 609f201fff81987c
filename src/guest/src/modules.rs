//! Kernel modules that travel with the guest image: loading them on demand with
//! what they depend on, and unloading what was loaded.
//!
//! A kernel that has a feature built in has no module of it here, and neither
//! has one that lacks it; which of the two it is shows when the feature is used.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::system::{delete_module, finit_module};

use crate::context::Stop;

/// Lines `path: path path`: a module, and all that have to be loaded before it,
/// in that order; and lines `alias NAME MODULE`, names with underscores.
const INDEX: &str = "/kregress/modules.index";

/// The program that the kernel asks for modules: ours.
pub(crate) const MODPROBE: &str = "/init";

/// `MODULE_INIT_COMPRESSED_FILE` (`include/uapi/linux/module.h`, 5.17): the
/// kernel unpacks the module itself.
const COMPRESSED_FILE: i32 = 4;

/// `O_NONBLOCK` of `delete_module`: do not wait for users of the module.
const DO_NOT_WAIT: i32 = libc::O_NONBLOCK;

/// Modules that a workload has loaded. Those that nothing uses any more are
/// unloaded when this is dropped, so that later tests of the boot find the
/// kernel as it was.
#[derive(Debug, Default)]
pub(crate) struct Loaded(Vec<String>);

impl Loaded {
    /// Loads those of `names` that travelled with the image.
    ///
    /// # Errors
    ///
    /// [`Stop::Error`] when a module is there and the kernel does not take it.
    pub(crate) fn load(names: &[&str]) -> Result<Self, Stop> {
        let Ok(text) = fs::read_to_string(INDEX) else { return Ok(Self::default()) };
        let index = Index::parse(&text);
        let mut loaded = Self::default();
        for name in names {
            for path in index.order(name) {
                match insert(path) {
                    Ok(Inserted::Now) => loaded.0.push(name_of(path)),
                    Ok(Inserted::Before) => {}
                    Err(error) => {
                        return Err(Stop::Error(format!("cannot load kernel module `{path}`: {error}")));
                    }
                }
            }
        }
        Ok(loaded)
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        // Those that others depend on were loaded first. One that is still in
        // use stays, which is its own right.
        for name in self.0.iter().rev() {
            let _ = remove(name);
        }
    }
}

/// Whether a module was new to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inserted {
    /// It was loaded by this call.
    Now,
    /// It was loaded already, or is built in.
    Before,
}

/// Loads the module in this file.
///
/// # Errors
///
/// What the kernel says against it.
pub(crate) fn insert(path: &str) -> io::Result<Inserted> {
    let file = File::open(path)?;
    match finit_module(&file, c"", flags(path)) {
        Ok(()) => Ok(Inserted::Now),
        Err(Errno::EXIST) => Ok(Inserted::Before),
        Err(error) => Err(error.into()),
    }
}

/// Unloads a module that nothing uses.
///
/// # Errors
///
/// `EWOULDBLOCK` when something does, `ENOENT` when it is not loaded.
pub(crate) fn remove(name: &str) -> io::Result<()> {
    Ok(delete_module(&CString::new(name)?, DO_NOT_WAIT)?)
}

/// File of a module that travelled with the image.
pub(crate) fn file(name: &str) -> Option<String> {
    let text = fs::read_to_string(INDEX).ok()?;
    Index::parse(&text).order(name).last().map(|path| (*path).to_owned())
}

/// `virtio_pci` of `/lib/modules/6.1/kernel/drivers/virtio/virtio-pci.ko.xz`.
pub(crate) fn name_of(path: &str) -> String {
    let file = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path);
    file.split_once(".ko").map_or(file, |(stem, _)| stem).replace('-', "_")
}

fn flags(path: &str) -> i32 {
    if path.ends_with(".ko") { 0 } else { COMPRESSED_FILE }
}

/// Lets the kernel ask this very program for modules (`request_module`), if any
/// travelled with the image. It is started as `/init -q -- NAME`
/// (`call_modprobe`, kernel/module/kmod.c).
pub(crate) fn serve() {
    if Path::new(INDEX).exists() {
        // A kernel without modules has no such file.
        let _ = fs::write("/proc/sys/kernel/modprobe", MODPROBE);
    }
}

/// Loads what the kernel asks for: whether it could be.
pub(crate) fn answer(name: &str) -> bool {
    let Ok(text) = fs::read_to_string(INDEX) else { return false };
    let index = Index::parse(&text);
    let order = index.order(name);
    !order.is_empty() && order.iter().all(|path| insert(path).is_ok())
}

/// What travelled with the image.
#[derive(Debug, Default)]
struct Index<'a> {
    orders: BTreeMap<String, Vec<&'a str>>,
    aliases: BTreeMap<&'a str, &'a str>,
}

impl<'a> Index<'a> {
    fn parse(text: &'a str) -> Self {
        let mut index = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if let Some((path, before)) = line.split_once(':') {
                let order = before.split_whitespace().chain([path.trim()]);
                index.orders.insert(name_of(path.trim()), order.collect());
            } else if let (Some("alias"), Some(alias), Some(module)) =
                (words.next(), words.next(), words.next())
            {
                index.aliases.insert(alias, module);
            }
        }
        index
    }

    /// Files to load, in order, for a module of this name or alias; none if it is
    /// not there.
    fn order(&self, name: &str) -> &[&'a str] {
        let name = name.replace('-', "_");
        let name = self.aliases.get(name.as_str()).copied().unwrap_or(&name);
        self.orders.get(name).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
/m/net/ipv4/gre.ko:
/m/net/ipv4/ip_gre.ko.xz: /m/net/ipv4/gre.ko /m/net/ipv4/ip_tunnel.ko
/m/drivers/net/xfrm-interface.ko: /m/net/xfrm.ko
alias rtnl_link_gretap ip_gre
";

    #[test]
    fn the_kernel_asks_by_alias_with_dashes() {
        let index = Index::parse(TEXT);
        assert_eq!(index.order("rtnl-link-gretap"), index.order("ip_gre"));
        assert_eq!(index.order("rtnl-link-gretap").len(), 3);
        assert!(index.order("rtnl-link-veth").is_empty());
    }

    #[test]
    fn a_module_comes_after_what_it_depends_on() {
        let index = Index::parse(TEXT);
        assert_eq!(
            index.order("ip_gre"),
            ["/m/net/ipv4/gre.ko", "/m/net/ipv4/ip_tunnel.ko", "/m/net/ipv4/ip_gre.ko.xz"]
        );
        assert_eq!(index.order("gre"), ["/m/net/ipv4/gre.ko"]);
    }

    #[test]
    fn a_module_that_is_not_there_needs_nothing() {
        assert!(Index::parse(TEXT).order("sit").is_empty());
        assert!(Index::parse("").order("gre").is_empty());
    }

    #[test]
    fn dashes_and_underscores_are_the_same() {
        assert_eq!(Index::parse(TEXT).order("xfrm_interface").len(), 2);
        assert_eq!(name_of("/lib/modules/6.1/kernel/net/core/failover.ko.zst"), "failover");
        assert_eq!(name_of("odd"), "odd");
    }

    #[test]
    fn only_compressed_modules_are_left_to_the_kernel_to_unpack() {
        assert_eq!(flags("/m/a.ko"), 0);
        assert_eq!(flags("/m/a.ko.xz"), COMPRESSED_FILE);
    }
}
