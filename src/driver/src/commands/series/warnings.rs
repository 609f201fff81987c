//! Warnings of a build that the one before it does not have.

use crate::commands::watch::Watch;
use crate::kernel::{BuildEnv, Kernel};
use crate::model::KernelSpec;
use crate::series::checked::Warnings;

/// Compares the warnings of a kernel with those of the last one before it.
pub(super) fn added(
    before: Option<&(KernelSpec, Kernel)>,
    _kernel: (&KernelSpec, &Kernel),
    _env: &BuildEnv,
    _watch: &mut Watch,
) -> Warnings {
    if before.is_none() { Warnings::NoneToCompare } else { Warnings::NotKnown { reason: "".to_owned() } }
}
