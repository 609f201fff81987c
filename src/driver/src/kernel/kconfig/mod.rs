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
pub use gate::{Absent, GateError, GateReport, Problem, gate};
pub use merge::{MergeError, Merged, Origin, Override, Want, merge};
pub use tree::{KconfigTree, TreeError};
pub use value::{ConfigValue, Symbol, Tristate};
