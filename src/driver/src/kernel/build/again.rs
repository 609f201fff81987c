//! Makes a kernel that is in the store once more, for what its compiler says of
//! it. The entry stays as it is but for that.

use super::{Build, DotConfig, KernelProblem, modules_of};
use crate::kernel::Kernel;
use crate::kernel::compiler;
use crate::kernel::env::BuildEnv;
use crate::kernel::sources;
use crate::kernel::warnings::Snapshot;
use crate::model::{BuildEvent, KernelSpec};

/// Makes in the build directory what differs from what was made there last, and
/// gives what is then known of the warnings of `kernel`. None if its entry comes
/// to another kernel by now: a source directory may have changed.
pub(in crate::kernel) fn make_again(
    spec: &KernelSpec,
    kernel: &Kernel,
    env: &BuildEnv,
    progress: &mut dyn FnMut(BuildEvent),
) -> Result<Option<Snapshot>, KernelProblem> {
    let mut build = Build::ask(spec, env, progress)?;
    compiler::check_tools(&env.tools)?;
    let _lock = build.lock()?;
    build.step("making it once more, for its warnings");
    // The log of its own build stays.
    let log = build.log_path().with_extension("again.log");
    build.with_make(log, |build, make, heard| {
        let config = build.configure(make, heard)?;
        if build.key(&config).to_string() != kernel.info.identity {
            return Ok(None);
        }
        let resolved = DotConfig::parse(&config)
            .map_err(|source| KernelProblem::Config { path: make.build.join(".config"), source })?;
        let modules = modules_of(&resolved);
        build.compile(make, modules, heard)?;
        build.tree.check_unchanged()?;
        let linked = sources::linked(make.build, modules);
        let snapshot = Snapshot::of(&heard.ledger, linked.as_ref());
        if let Some(path) = &kernel.warnings {
            snapshot.write(path)?;
        }
        Ok(Some(snapshot))
    })
}
