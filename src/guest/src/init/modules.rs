//! Loads the kernel modules that came with the guest image.
//!
//! Distribution kernels have the virtio drivers as modules, so this comes
//! before the channels to the host exist: what goes wrong is kept as a fact
//! and told to the kernel log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::io::Errno;
use rustix::system::finit_module;

use crate::kmsg;

/// Paths of modules, one in a line, each after those that it depends on.
const LIST: &str = "/kregress/modules.list";

/// `MODULE_INIT_COMPRESSED_FILE` (`include/uapi/linux/module.h`, 5.17): the
/// kernel unpacks the module itself.
const COMPRESSED_FILE: i32 = 4;

/// Loads all of the list. Without a list there is nothing to do.
pub(crate) fn load(facts: &mut BTreeMap<String, String>) {
    let Ok(list) = fs::read_to_string(LIST) else { return };
    let mut loaded = 0_usize;
    for path in paths(&list) {
        match insert(path) {
            Ok(()) => loaded += 1,
            Err(error) => {
                kmsg::log(kmsg::Level::Warning, &format!("cannot load module `{path}`: {error}"));
                facts.insert(format!("module:{}", name(path)), format!("not loaded: {error}"));
            }
        }
    }
    facts.insert("modules-loaded".into(), loaded.to_string());
}

fn paths(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// `virtio_pci` of `/lib/modules/6.1/kernel/drivers/virtio/virtio_pci.ko.xz`.
fn name(path: &str) -> &str {
    let file = Path::new(path).file_name().and_then(|name| name.to_str()).unwrap_or(path);
    file.split_once(".ko").map_or(file, |(stem, _)| stem)
}

fn flags(path: &str) -> i32 {
    if path.ends_with(".ko") { 0 } else { COMPRESSED_FILE }
}

fn insert(path: &str) -> io::Result<()> {
    let file = File::open(path)?;
    match finit_module(&file, c"", flags(path)) {
        // Loaded already, or built in.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_and_comments_of_the_list_are_no_modules() {
        let list = "# made by the driver\n\n/m/a.ko\n  /m/b.ko.xz \n";
        assert_eq!(paths(list).collect::<Vec<_>>(), ["/m/a.ko", "/m/b.ko.xz"]);
    }

    #[test]
    fn a_module_is_named_without_directory_and_suffixes() {
        assert_eq!(name("/lib/modules/6.1/kernel/net/core/failover.ko.zst"), "failover");
        assert_eq!(name("odd"), "odd");
    }

    #[test]
    fn only_compressed_modules_are_left_to_the_kernel_to_unpack() {
        assert_eq!(flags("/m/a.ko"), 0);
        assert_eq!(flags("/m/a.ko.xz"), COMPRESSED_FILE);
    }
}
