//! Loads the kernel modules that came with the guest image.
//!
//! Distribution kernels have the virtio drivers as modules, so this comes
//! before the channels to the host exist: what goes wrong is kept as a fact
//! and told to the kernel log.

use std::collections::BTreeMap;
use std::fs;

use crate::{kmsg, modules};

/// Paths of modules, one in a line, each after those that it depends on.
const LIST: &str = "/kregress/modules.list";

/// Loads all of the list. Without a list there is nothing to do.
pub(crate) fn load(facts: &mut BTreeMap<String, String>) {
    let Ok(list) = fs::read_to_string(LIST) else { return };
    let mut loaded = 0_usize;
    for path in paths(&list) {
        match modules::insert(path) {
            Ok(_) => loaded += 1,
            Err(error) => {
                kmsg::log(kmsg::Level::Warning, &format!("cannot load module `{path}`: {error}"));
                facts.insert(format!("module:{}", modules::name_of(path)), format!("not loaded: {error}"));
            }
        }
    }
    facts.insert("modules-loaded".into(), loaded.to_string());
}

fn paths(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_and_comments_of_the_list_are_no_modules() {
        let list = "# made by the driver\n\n/m/a.ko\n  /m/b.ko.xz \n";
        assert_eq!(paths(list).collect::<Vec<_>>(), ["/m/a.ko", "/m/b.ko.xz"]);
    }
}
