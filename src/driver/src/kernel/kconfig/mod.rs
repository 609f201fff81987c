//! Kernel configuration: fragments are merged, the kernel's own tools resolve
//! them, and a gate checks that every symbol asked for is still there.
//!
//! ```text
//! kconfigs/*.config -> Fragment -> Merged -> (make olddefconfig) -> DotConfig -> gate
//!                                                    KconfigTree -----------------^
//! ```
//!
//! Everything here is a pure function of text, except [`KconfigTree::load`], which
//! reads `Kconfig` files. Running make is not done here. The tree is only ever
//! used to explain: what a symbol's value is, the kernel's own tools have decided.

mod dotconfig;
mod fragment;
mod gate;
mod merge;
mod tree;
mod value;

pub use dotconfig::{DotConfig, DotConfigError, Header};
pub use fragment::{Fragment, FragmentError, FragmentErrorKind, Request};
pub use gate::{Absent, Cause, Excuse, GateError, GateReport, Lacking, Problem, gate};
pub use merge::{MergeError, Merged, Origin, Override, Want, merge};
pub use tree::{KconfigTree, TreeError};
pub use value::{ConfigValue, Symbol, Tristate};

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::FragmentName;

    const KCONFIGS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../kconfigs");

    fn fragment(path: &Path) -> Fragment {
        let name = FragmentName(path.file_stem().unwrap().to_string_lossy().into_owned());
        match Fragment::parse(name, &std::fs::read_to_string(path).unwrap()) {
            Ok(fragment) => fragment,
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn every_fragment_of_the_project_keeps_the_rules() {
        let files = std::fs::read_dir(KCONFIGS).unwrap().map(|entry| entry.unwrap().path());
        let fragments: Vec<_> = files
            .filter(|path| path.extension().is_some_and(|extension| extension == "config"))
            .map(|path| fragment(&path))
            .collect();
        assert!(fragments.iter().any(|fragment| fragment.name.0 == "base"));
        assert!(fragments.iter().all(|fragment| !fragment.requests.is_empty()));
    }

    #[test]
    fn virtme_ng_turns_on_what_base_leaves_out() {
        let file = |name: &str| fragment(&Path::new(KCONFIGS).join(name));
        let merged = merge(&[file("base.config"), file("virtme-ng.config")]).unwrap();
        assert_eq!(merged.get("BLOCK").unwrap().value, ConfigValue::Yes);
    }

    #[test]
    fn the_examples_of_the_format_are_true() {
        let text = std::fs::read_to_string(Path::new(KCONFIGS).join("README.md")).unwrap();
        let examples: Vec<_> = text
            .split("```config\n")
            .skip(1)
            .map(|rest| rest.split("```").next().unwrap_or_default())
            .map(|example| Fragment::parse(FragmentName("README".to_owned()), example))
            .collect();
        assert!(!examples.is_empty());
        assert!(examples.iter().all(Result::is_ok), "{examples:?}");
    }
}
