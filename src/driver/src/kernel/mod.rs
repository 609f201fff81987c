//! From a kernel entry to something that boots: a tree is identified, configured,
//! gated, built and stored; an image or a package is taken as it is.
//!
//! ```text
//! KernelSpec -> source (identity) -+-> store: was there -------------------> Kernel
//!                                  +-> source (directory) -> make config
//!                                      -> kconfig::gate -> make -> store --> Kernel
//! ```
//!
//! Nothing here writes outside of the cache directory, and nothing here boots.

mod build;
mod cache;
mod compiler;
mod detectors;
mod diagnose;
mod env;
mod error;
mod hash;
mod image;
pub mod kconfig;
mod make;
mod prebuilt;
mod progress;
mod run;
mod running;
pub mod selftests;
mod source;
mod sources;
mod store;
#[cfg(test)]
pub(crate) mod testing;
mod version;
mod warnings;

use std::path::PathBuf;

pub use cache::Cache;
pub use compiler::{ToolsError, check_tools};
pub use diagnose::{Cause, Diagnosis, diagnose};
pub use env::{BuildEnv, Tools};
pub use error::{BuildFailure, Fault, FileError, KernelError, KernelProblem};
pub use image::{ImageError, ImageFormat, ImageInfo, inspect};
pub use kconfig::Lacking;
pub use running::running;
pub use selftests::Selftests;
pub use source::{
    Authored, Bench, Between, Candidate, Change, Commit, History, HistoryError, LineEnds, Mail, Parents,
    Patched, Presence, Pushed, Reverted, Revision, SourceError, Stack, apply, authored, bisecting, history,
    revert,
};
pub use store::Store;
pub use warnings::{Added, Warning, warnings_added};

use crate::model::{BuildEvent, KernelInfo, KernelSpec, Source};

/// A kernel that is ready to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// What to record about it.
    pub info: KernelInfo,
    /// What to boot; the same as in `info`.
    pub image: PathBuf,
    /// How to boot it.
    pub format: ImageFormat,
    /// Its `/lib/modules/RELEASE`, if it has modules. `modules.dep` need not be
    /// in there: packages leave making it to their installation.
    pub modules: Option<PathBuf>,
    /// Its `.config`, where it is known.
    pub config: Option<PathBuf>,
    /// The list that [`Kernel::source_files`] reads, where there is one.
    pub sources: Option<PathBuf>,
    /// What [`warnings_added`] reads; it need not exist. None of a kernel that was
    /// not built by us.
    pub warnings: Option<PathBuf>,
    /// Selftests of its tree, where they were asked for.
    pub selftests: Option<Selftests>,
    /// SHA-256 of everything that boots: of the image and, where there are, the
    /// modules. Two kernels with the same digest and format differ in nothing that
    /// a boot could show. None where the modules were never looked at.
    pub image_digest: Option<String>,
}

/// Builds a kernel, or finds it. A kernel that was built before costs less than
/// a second and runs no make.
///
/// Blocks the calling thread; call it on a thread that lives as long as the
/// build, for the children die with it (see `exec`).
///
/// # Errors
///
/// Says what is wrong, where, and what to do; [`KernelError::fault`] says whose
/// fault it is.
pub fn obtain(
    spec: &KernelSpec,
    env: &BuildEnv,
    progress: &mut dyn FnMut(BuildEvent),
) -> Result<Kernel, KernelError> {
    let kernel = match &spec.source {
        Source::Image { image, modules, config } => {
            prebuilt::image(spec, image, modules.as_deref(), config.as_deref(), env)
        }
        Source::Deb(pattern) => prebuilt::package(spec, pattern, env, progress),
        Source::Git { .. } | Source::Edited { .. } | Source::Directory(_) | Source::Tarball(_) => {
            build::build(spec, env, progress)
        }
    };
    let mut kernel = kernel.map_err(|problem| problem.of(&spec.name))?;
    if !env.selftests.is_empty() {
        let selftests = selftests::obtain(spec, env, progress);
        kernel.selftests = Some(selftests.map_err(|problem| problem.of(&spec.name))?);
    }
    progress(BuildEvent::Ready(kernel.info.clone()));
    Ok(kernel)
}

/// The kernel of an entry if it needs no building: one of the store, or one
/// that was never built by us.
///
/// # Errors
///
/// As [`obtain`].
pub fn stored(spec: &KernelSpec, env: &BuildEnv) -> Result<Option<Kernel>, KernelError> {
    match &spec.source {
        Source::Image { .. } | Source::Deb(_) => obtain(spec, env, &mut |_| ()).map(Some),
        Source::Git { .. } | Source::Edited { .. } | Source::Directory(_) | Source::Tarball(_) => {
            build::stored(spec, env).map_err(|problem| problem.of(&spec.name))
        }
    }
}

/// One word for everything that decides these kernels: the same sources, fragments, base
/// configurations and compiler have the same, so that a cache of the store can be named
/// by it. Entries that are not built here do not count.
///
/// # Errors
///
/// As [`obtain`].
pub fn key(specs: &[KernelSpec], env: &BuildEnv) -> Result<String, KernelError> {
    let mut hasher = hash::Hasher::default();
    for spec in specs {
        match &spec.source {
            Source::Image { .. } | Source::Deb(_) => {}
            Source::Git { .. } | Source::Edited { .. } | Source::Directory(_) | Source::Tarball(_) => {
                hasher.piece(build::request(spec, env).map_err(|problem| problem.of(&spec.name))?);
            }
        }
    }
    Ok(hasher.finish().to_string())
}

impl Kernel {
    /// The compressed image, for those who boot nothing else: the image itself,
    /// or the one that was built along with it.
    #[must_use]
    pub fn bzimage(&self) -> Option<PathBuf> {
        if self.format == ImageFormat::BzImage {
            return Some(self.image.clone());
        }
        let dir = self.image.parent()?;
        ["bzImage", "arch/x86/boot/bzImage"]
            .map(|name| dir.join(name))
            .into_iter()
            .find(|path| path.is_file())
    }
}
