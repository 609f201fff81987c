//! One processor only, for a moment.
//!
//! Switching tracers patches the kernel's code, in some of its hottest places: the
//! function tracer hooks the scheduler to learn the names of tasks. QEMU's TCG with
//! several threads may go on running the breakpoint that stands there meanwhile, or
//! never finish the patch: `int3` in `__schedule`, or a lockup in
//! `text_poke_bp_batch`, in one boot of twenty. With one processor online nobody
//! runs the code that is being patched.

use std::fs;
use std::path::{Path, PathBuf};

const CPUS: &str = "/sys/devices/system/cpu";

/// Other processors are offline as long as this lives. Does nothing where they
/// cannot be taken offline.
#[derive(Debug)]
pub(crate) struct Alone(Vec<PathBuf>);

impl Alone {
    /// Takes all processors but the first offline.
    pub(crate) fn now() -> Self {
        // The first one has no such file where it cannot go.
        let others = (1..).map(|cpu| Path::new(CPUS).join(format!("cpu{cpu}/online")));
        let others = others.take_while(|path| path.exists());
        let off = |path: &PathBuf| {
            let online = fs::read_to_string(path).is_ok_and(|text| text.trim() == "1");
            online && fs::write(path, "0").is_ok()
        };
        Self(others.filter(off).collect())
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = fs::write(path, "1");
        }
    }
}

/// Brings back processors that a test left offline; their names.
pub(crate) fn bring_back() -> Vec<String> {
    let all = (1..).map(|cpu| (format!("cpu{cpu}"), Path::new(CPUS).join(format!("cpu{cpu}/online"))));
    let offline = all.take_while(|(_, path)| path.exists()).filter(|(_, path)| {
        fs::read_to_string(path).is_ok_and(|text| text.trim() == "0") && fs::write(path, "1").is_ok()
    });
    offline.map(|(name, _)| name).collect()
}
