//! KUnit: the tests of a kernel module, which run while it is loaded. Their KTAP is
//! in the kernel log, and the host reads it there.

use kregress_wire::{KUNIT, WorkloadInfo};

use crate::context::{Context, Stop, Workload, WorkloadResult};
use crate::modules::{self, Loaded};

pub(super) const TESTS: Workload = Workload {
    info: &WorkloadInfo {
        name: KUNIT,
        summary: "the KUnit tests of a kernel module",
        params: &[],
        metrics: &[],
        modules: &[],
    },
    run,
};

fn run(context: &Context<'_>) -> WorkloadResult {
    let module = context.choice("module")?;
    if modules::file(module).is_none() {
        return Err(Stop::Skip(format!(
            "this kernel has no module `{module}`\n\
             hint: it needs CONFIG_KUNIT=m and the tests as modules, as kconfigs/kunit.config has them"
        )));
    }
    // Unloaded when it is dropped: loading it is what runs the tests.
    let _loaded = Loaded::load(&[module])?;
    context.checked(1);
    Ok(())
}
