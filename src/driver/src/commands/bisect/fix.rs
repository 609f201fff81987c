//! The patch of `--fix-build`: a kernel with it, or without it where it does harm.
//!
//! A patch that mends one revision may well apply to others, older ones that had nothing
//! to mend and newer ones that have what it brings, and break them.

use crate::bisect::record::FixUse;
use crate::commands::watch::Watch;
use crate::kernel::{self, BuildEnv, Fault, Kernel, KernelError, Patched};
use crate::model::{Edit, KernelSpec, RunEvent, Source};

/// Builds the kernel of an entry or finds it, and says what became of the patch. Where it
/// applies and nothing builds with it, the revision is built as it is.
///
/// # Errors
///
/// As [`kernel::obtain`]; where neither builds, of the one with the patch.
pub(super) fn obtain(
    spec: &KernelSpec,
    env: &BuildEnv,
    watch: &mut Watch,
) -> Result<(Kernel, FixUse), KernelError> {
    let failed = match build(spec, env, watch) {
        Ok(kernel) => return Ok((kernel, FixUse::WhereItApplies)),
        Err(failed) => failed,
    };
    let Some((without, patch)) = without(spec).filter(|_| failed.fault() == Fault::Tree) else {
        return Err(failed);
    };
    // Where it does not apply, the very same build would fail once more.
    let Source::Edited { repository, revision, .. } = &spec.source else { return Err(failed) };
    if !matches!(kernel::apply(repository, revision, &patch, env), Ok(Patched::Applied(_))) {
        return Err(failed);
    }
    match build(&without, env, watch) {
        Ok(kernel) => {
            let name = &spec.name;
            watch.show(&RunEvent::Notice(format!(
                "kernel {name} builds without the patch and not with it: it is left out there"
            )));
            Ok((kernel, FixUse::LeftOut))
        }
        Err(other) if other.fault() == Fault::Tree => Err(failed),
        Err(other) => Err(other),
    }
}

/// Builds the kernel of an entry or finds it.
///
/// # Errors
///
/// As [`kernel::obtain`].
pub(super) fn build(spec: &KernelSpec, env: &BuildEnv, watch: &mut Watch) -> Result<Kernel, KernelError> {
    kernel::obtain(spec, env, &mut |event| watch.show(&RunEvent::Build(event)))
}

/// The same entry without the patch, and the patch; none where there is no patch.
fn without(spec: &KernelSpec) -> Option<(KernelSpec, std::path::PathBuf)> {
    let Source::Edited { repository, revision, edits } = &spec.source else { return None };
    let (fixes, others): (Vec<Edit>, Vec<Edit>) =
        edits.iter().cloned().partition(|edit| matches!(edit, Edit::Fix(_)));
    let Some(Edit::Fix(patch)) = fixes.into_iter().next() else { return None };
    let (repository, revision) = (repository.clone(), revision.clone());
    let source = if others.is_empty() {
        Source::Git { repository, revision }
    } else {
        Source::Edited { repository, revision, edits: others }
    };
    Some((KernelSpec { source, ..spec.clone() }, patch))
}

/// The entry as it was built before.
pub(super) fn as_built(spec: KernelSpec, fix: FixUse) -> KernelSpec {
    match fix {
        FixUse::WhereItApplies => spec,
        FixUse::LeftOut => without(&spec).map_or(spec, |(without, _)| without),
    }
}
