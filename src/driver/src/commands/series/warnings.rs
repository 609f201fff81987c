//! Warnings of a build that the one before it does not have.

use crate::chain;
use crate::commands::usage;
use crate::commands::watch::Watch;
use crate::kernel::{self, Added, BuildEnv, Fault, Kernel, warnings_added};
use crate::model::{KernelSpec, RunEvent};
use crate::series::checked::{Place, Warning, Warnings};

/// Compares the warnings of a kernel with those of the last one before it.
///
/// # Errors
///
/// Fails where what was asked for cannot be built at all.
pub(super) fn added(
    before: Option<&(KernelSpec, Kernel)>,
    kernel: (&KernelSpec, &Kernel),
    env: &BuildEnv,
    watch: &mut Watch,
) -> anyhow::Result<Warnings> {
    let Some((spec, parent)) = before else { return Ok(Warnings::NoneToCompare) };
    let added = warnings_added((spec, parent), kernel, env, &mut |event| watch.show(&RunEvent::Build(event)));
    Ok(match added {
        Ok(Added::Known { new, gone }) => Warnings::Compared { new: warnings(new), gone: warnings(gone) },
        Ok(Added::Unknown { why }) => Warnings::NotKnown { reason: why },
        Err(error) if error.fault() == Fault::Request => return Err(usage(error)),
        Err(error) => Warnings::NotKnown { reason: chain::text(&error) },
    })
}

fn warnings(found: Vec<kernel::Warning>) -> Vec<Warning> {
    found.into_iter().map(warning).collect()
}

fn warning(found: kernel::Warning) -> Warning {
    let line = found.line.and_then(|line| u32::try_from(line).ok());
    let place = Some(Place { file: found.file.clone(), line });
    let anywhere = kernel::Warning { line: None, ..found };
    let identity = anywhere.to_string();
    let message = identity.strip_prefix(&format!("{}: ", anywhere.file)).unwrap_or(&identity).to_owned();
    Warning { place, message, identity }
}
