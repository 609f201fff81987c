//! Finds the warnings of a kernel that its parent does not have, and makes
//! kernels once more where too little is known.

use super::{Comparison, Side, Snapshot, Warning, compare};
use crate::kernel::{BuildEnv, Kernel, KernelError, build};
use crate::model::{BuildEvent, KernelSpec};

/// One kernel after the other, and the first again: then every object in which
/// they differ was compiled for both, in one epoch. More is needed only if
/// somebody else is killed in the same build directory meanwhile.
const ROUNDS: usize = 4;

/// What a kernel warns of beyond its parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Added {
    /// Enough is known of both.
    Known {
        /// Warnings of the child that the parent has nowhere, each once, by file
        /// and line.
        new: Vec<Warning>,
        /// Warnings of the parent that the child has nowhere, as far as they are
        /// known: nothing is made to find those.
        gone: Vec<Warning>,
    },
    /// It cannot be found out: one of them was not built here, or its source is not
    /// what it was.
    Unknown {
        /// A clause with the kernel's name: `` `x` was not built here: what its
        /// compiler said is not known``.
        why: String,
    },
}

/// Finds the warnings of a kernel that its parent does not have. Both were
/// obtained with these entries and with this environment.
///
/// Nothing is run where the store knows enough. It may not, of kernels from before
/// warnings were kept, or that were made in a build directory after a build that
/// was killed: then they are made once more, as a rule incrementally, in the
/// build directory of their family. The store keeps what was found. Of a series
/// the least is made when each kernel is asked about before the next is built.
///
/// # Errors
///
/// As [`obtain`](crate::kernel::obtain).
pub fn warnings_added(
    parent: (&KernelSpec, &Kernel),
    child: (&KernelSpec, &Kernel),
    env: &BuildEnv,
    progress: &mut dyn FnMut(BuildEvent),
) -> Result<Added, KernelError> {
    if parent.1.info.identity == child.1.info.identity {
        return Ok(Added::Known { new: Vec::new(), gone: Vec::new() });
    }
    let read = |kernel: &Kernel| kernel.warnings.as_deref().and_then(Snapshot::read);
    let (mut of_parent, mut of_child) = (read(parent.1), read(child.1));
    for _ in 0..ROUNDS {
        let ((spec, kernel), known) = match compare(of_parent.as_ref(), of_child.as_ref()) {
            Comparison::Settled { new, gone } => return Ok(Added::Known { new, gone }),
            Comparison::Lacks(Side::Parent) => (parent, &mut of_parent),
            Comparison::Lacks(Side::Child) => (child, &mut of_child),
        };
        if kernel.warnings.is_none() {
            return Ok(unknown(format!(
                "`{}` was not built here: what its compiler said is not known",
                spec.name
            )));
        }
        let again = build::make_again(spec, kernel, env, progress);
        match again.map_err(|problem| problem.of(&spec.name))? {
            Some(snapshot) => *known = Some(snapshot),
            None => {
                return Ok(unknown(format!(
                    "the source of `{}` is not what it was built from any more",
                    spec.name
                )));
            }
        }
    }
    Ok(unknown(format!(
        "`{}` and `{}` were made again and again while other builds were killed",
        parent.0.name, child.0.name
    )))
}

fn unknown(why: String) -> Added {
    Added::Unknown { why }
}
